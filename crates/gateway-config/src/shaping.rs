//! Which of a server's things exist for clients, and how they are shown.

use std::{collections::BTreeMap, fmt::Write};

use crate::{
    file::{Node, Value, join},
    reader::{Cx, Object, Read},
    schema::Scope,
};

/// The hints by which tools may be chosen, as `annotations` spells them.
const HINTS: [&str; 4] = ["readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"];

/// Which of a server's things exist for clients, and how they are shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Shaping {
    /// Which tools exist.
    pub tools: Filter,
    /// Which prompts exist.
    pub prompts: Filter,
    /// Which resources and templates exist, by URI.
    pub resources: Filter,
    /// Tools that are shown otherwise, by the names that their server gives them.
    pub overrides: BTreeMap<String, Override>,
}

/// Which of several things exist: what is allowed, or all if nothing says; and nothing blocked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Filter {
    /// These only, if it is given.
    pub allow: Option<Vec<Rule>>,
    /// None of these.
    pub block: Vec<Rule>,
}

/// What is allowed or blocked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rule {
    /// What has a name like this: `*` is any text, `?` any character, `\` takes the next as it is.
    Name(String),
    /// Tools of which their server says this, or leaves it to be assumed.
    Hint {
        /// As `annotations` spells it.
        hint: String,
        /// What is said.
        is: bool,
    },
}

/// How a tool is shown otherwise than its server lists it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Override {
    /// Its name.
    pub name: Option<String>,
    /// Its description.
    pub description: Option<String>,
    /// Its arguments, as far as something about them is otherwise.
    pub arguments: BTreeMap<String, Argument>,
}

/// What becomes of an argument.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Argument {
    /// It is not there.
    Hidden,
    /// It is not there, and the server is told this: JSON.
    Fixed(String),
    /// The server is told this by whoever says nothing else: JSON.
    Default(String),
}

// === impl Shaping ===

impl Shaping {
    /// Whether everything is shown as it is.
    pub fn is_plain(&self) -> bool {
        *self == Self::default()
    }
}

// === impl Filter ===

impl Filter {
    /// Whether everything exists.
    pub fn is_open(&self) -> bool {
        *self == Self::default()
    }

    /// What exists, in words; none if everything does.
    pub(crate) fn shown(&self) -> Option<String> {
        let list = |rules: &[Rule]| rules.iter().map(Rule::shown).collect::<Vec<_>>().join(", ");
        match (&self.allow, self.block.as_slice()) {
            (None, []) => None,
            (None, block) => Some(format!("all but {}", list(block))),
            (Some(allow), []) => Some(format!("only {}", list(allow))),
            (Some(allow), block) => Some(format!("only {}, but not {}", list(allow), list(block))),
        }
    }
}

impl Rule {
    fn shown(&self) -> String {
        match self {
            Self::Name(name) => name.clone(),
            Self::Hint { hint, is } => format!("{hint}={is}"),
        }
    }
}

/// Rules as written. In foreign dialects names are names, whatever is in them.
pub(crate) fn rules(cx: &Cx<'_>, names: &[String]) -> Vec<Rule> {
    let rule = |name: &String| {
        if !cx.is_own() {
            return Rule::Name(exact(name));
        }
        let hint = name.split_once('=').and_then(|(hint, is)| {
            let hint = HINTS.iter().find(|it| **it == hint.trim())?;
            Some(Rule::Hint { hint: (*hint).to_owned(), is: is.trim().parse().ok()? })
        });
        hint.unwrap_or_else(|| Rule::Name(name.clone()))
    };
    names.iter().map(rule).collect()
}

/// A pattern that is this name alone.
fn exact(name: &str) -> String {
    let mut pattern = String::with_capacity(name.len());
    for char in name.chars() {
        if matches!(char, '*' | '?' | '\\') {
            pattern.push('\\');
        }
        pattern.push(char);
    }
    pattern
}

/// `allow` and `block` of an object that may have other keys.
pub(crate) fn filter(cx: &mut Cx<'_>, object: &mut Object<'_>) -> Option<Read<Filter>> {
    let allow = cx.names(object, "allow");
    let block = cx.names(object, "block");
    let said = |how: &str, read: &Option<Read<Vec<String>>>| {
        read.as_ref().map(|it| format!("{how} {}", it.shown))
    };
    let shown: Vec<String> =
        [said("allow", &allow), said("block", &block)].into_iter().flatten().collect();
    let origin = allow.as_ref().or(block.as_ref())?.origin.clone();
    let filter = Filter {
        allow: allow.map(|it| rules(cx, &it.value)),
        block: block.map(|it| rules(cx, &it.value)).unwrap_or_default(),
    };
    Some(Read { value: filter, shown: shown.join("; "), origin })
}

/// `prompts` and `resources` of an object; `ours` is its path in our schema.
pub(crate) fn others(cx: &mut Cx<'_>, object: &mut Object<'_>, ours: &str, shape: &mut Shaping) {
    for (key, slot) in [("prompts", &mut shape.prompts), ("resources", &mut shape.resources)] {
        if let Some(mut inner) = cx.inner(object, key) {
            let read = filter(cx, &mut inner);
            cx.set(&format!("{ours}.{key}"), slot, read);
            cx.finish(inner, Scope::Filter);
        }
    }
}

/// `tools`, `prompts` and `resources` of an object.
pub(crate) fn all(cx: &mut Cx<'_>, object: &mut Object<'_>, ours: &str, shape: &mut Shaping) {
    if let Some(mut inner) = cx.inner(object, "tools") {
        let read = filter(cx, &mut inner);
        cx.set(&format!("{ours}.tools"), &mut shape.tools, read);
        overrides(cx, &mut inner, ours, shape);
        cx.finish(inner, Scope::Tools);
    }
    others(cx, object, ours, shape);
}

/// `override` of `tools`.
pub(crate) fn overrides(cx: &mut Cx<'_>, tools: &mut Object<'_>, ours: &str, shape: &mut Shaping) {
    let Some((node, path)) = tools.take("override") else { return };
    let Some(mut object) = cx.object(node, &path) else { return };
    let mut found = BTreeMap::new();
    for member in object.take_all() {
        let at = join(&path, &member.key);
        let Some(mut inner) = cx.object(&member.node, &at) else { continue };
        let mut it = Override::default();
        it.name = cx.plain(&mut inner, "name").map(|it| it.value);
        it.description = cx.plain(&mut inner, "description").map(|it| it.value);
        if let Some(mut all) = cx.inner(&mut inner, "arguments") {
            for member in all.take_all() {
                let at = join(&all.path, &member.key);
                if let Some(argument) = argument(cx, &member.node, &at) {
                    it.arguments.insert(member.key.clone(), argument);
                }
            }
        }
        cx.finish(inner, Scope::Override);
        found.insert(member.key.clone(), it);
    }
    let shown = json(node);
    let origin =
        crate::problem::Origin::File { key: path, place: node.place, variables: Vec::new() };
    let read = Read { value: found, shown, origin };
    cx.set(&format!("{ours}.tools.override"), &mut shape.overrides, Some(read));
}

fn argument(cx: &mut Cx<'_>, node: &Node, path: &str) -> Option<Argument> {
    let mut object = cx.object(node, path)?;
    let hide = cx.flag(&mut object, "hide").filter(|it| it.value).map(|_| Argument::Hidden);
    let fixed = object.take("value").map(|(node, _)| Argument::Fixed(json(node)));
    let default = object.take("default").map(|(node, _)| Argument::Default(json(node)));
    cx.finish(object, Scope::Argument);
    let mut said = [hide, fixed, default].into_iter().flatten();
    match (said.next(), said.next()) {
        (Some(argument), None) => Some(argument),
        _ => {
            let what = "want one of `hide`, `value` and `default`";
            cx.problem((path, Some(node.place)), what, None);
            None
        }
    }
}

/// A value as JSON, as deep as the parser goes.
fn json(node: &Node) -> String {
    let mut out = String::new();
    write(node, &mut out);
    out
}

fn write(node: &Node, out: &mut String) {
    // Writing to a string cannot fail.
    let text = |text: &str, out: &mut String| {
        write!(out, "{}", serde_json::Value::from(text)).unwrap_or_default();
    };
    match &node.value {
        Value::Null => out.push_str("null"),
        Value::Bool(flag) => out.push_str(if *flag { "true" } else { "false" }),
        Value::Number(number) => out.push_str(number),
        Value::Text(it) => text(it, out),
        Value::List(nodes) => {
            out.push('[');
            for (at, node) in nodes.iter().enumerate() {
                out.push_str(if at == 0 { "" } else { "," });
                write(node, out);
            }
            out.push(']');
        }
        Value::Object(members) => {
            out.push('{');
            for (at, member) in members.iter().enumerate() {
                out.push_str(if at == 0 { "" } else { "," });
                text(&member.key, out);
                out.push(':');
                write(&member.node, out);
            }
            out.push('}');
        }
    }
}
