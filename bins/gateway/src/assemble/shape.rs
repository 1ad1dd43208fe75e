//! What is shown of a server, as it is configured.

use std::{collections::BTreeMap, sync::Arc};

use catalogue::{Argument, Filter, Glob, Hint, Override, Rule, Shape};
use gateway_config::{Shaping, TokenEntry};
use serde_json::value::RawValue;

/// What is configured as the shape of something; none if nothing is.
pub(super) fn shape(shaping: &Shaping) -> Option<Arc<Shape>> {
    if shaping.is_plain() {
        return None;
    }
    let overrides = shaping.overrides.iter().map(|(name, it)| (name.clone(), over(it)));
    Some(Arc::new(Shape {
        tools: filter(&shaping.tools),
        prompts: filter(&shaping.prompts),
        resources: filter(&shaping.resources),
        overrides: overrides.collect(),
    }))
}

/// What is shown to who brings a token, by its name.
pub(super) fn of_tokens(tokens: &[TokenEntry]) -> BTreeMap<Box<str>, Arc<Shape>> {
    let shaped = tokens.iter().filter_map(|it| Some((it.name.as_str().into(), shape(&it.shape)?)));
    shaped.collect()
}

fn filter(filter: &gateway_config::Filter) -> Filter {
    let rules = |rules: &[gateway_config::Rule]| rules.iter().map(rule).collect();
    Filter { allow: filter.allow.as_deref().map(rules), deny: rules(&filter.block) }
}

fn rule(rule: &gateway_config::Rule) -> Rule {
    // What this version does not know allows nothing, and blocks nothing that has a name.
    let nothing = || Rule::Name(Glob::exact(""));
    match rule {
        gateway_config::Rule::Name(pattern) => Rule::Name(Glob::new(pattern)),
        gateway_config::Rule::Hint { hint, is } => {
            let known = Hint::ALL.into_iter().find(|it| it.name() == hint);
            known.map_or_else(nothing, |hint| Rule::Hint(hint, *is))
        }
        _ => nothing(),
    }
}

fn over(it: &gateway_config::Override) -> Override {
    let raw = |json: &str| RawValue::from_string(json.to_owned()).ok();
    let argument = |it: &gateway_config::Argument| match it {
        gateway_config::Argument::Fixed(json) => raw(json).map(Argument::Fixed),
        gateway_config::Argument::Default(json) => raw(json).map(Argument::Default),
        _ => Some(Argument::Hidden),
    };
    let arguments = it.arguments.iter();
    Override {
        name: it.name.clone(),
        description: it.description.clone(),
        // What cannot be read as JSON again is not there: it was written as JSON.
        arguments: arguments.filter_map(|(name, it)| Some((name.clone(), argument(it)?))).collect(),
    }
}
