//! What might be meant by what is typed so far.

use std::{borrow::Cow, collections::HashMap};

use mcp_jsonrpc::{Message, ProtocolVersion, RpcError};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{resources::NUMBER_MAX, session::read as params, state::Inner};

/// Languages and how one says hello in them.
pub(crate) const LANGUAGES: [(&str, &str); 3] = [("de", "Hallo"), ("en", "Hello"), ("fr", "Salut")];

/// Languages and names that are common among those who speak them.
pub(crate) const NAMES: [(&str, &str); 6] = [
    ("de", "Anna"),
    ("de", "Jonas"),
    ("en", "Alice"),
    ("en", "Oliver"),
    ("fr", "Camille"),
    ("fr", "Olivier"),
];

/// The most values one answer holds (server/utilities/completion).
const VALUE_COUNT_MAX: usize = 100;

#[derive(Deserialize)]
struct Complete<'a> {
    #[serde(borrow, rename = "ref")]
    of: Reference<'a>,
    #[serde(borrow)]
    argument: Argument<'a>,
    #[serde(default)]
    context: Context,
}

#[derive(Deserialize)]
#[serde(tag = "type")]
enum Reference<'a> {
    #[serde(rename = "ref/prompt")]
    Prompt { name: Cow<'a, str> },
    #[serde(rename = "ref/resource")]
    Resource { uri: Cow<'a, str> },
}

#[derive(Deserialize)]
struct Argument<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    value: Cow<'a, str>,
}

/// What is decided already (from 2025-06-18).
#[derive(Default, Deserialize)]
struct Context {
    #[serde(default)]
    arguments: HashMap<String, String>,
}

pub(crate) fn complete(
    _: &Inner,
    version: ProtocolVersion,
    message: &Message,
) -> Result<Value, RpcError> {
    let asked: Complete<'_> = params(message)?;
    let language = asked.context.arguments.get("language");
    let language = language.filter(|_| ProtocolVersion::V2025_06_18 <= version);
    let values = match (&asked.of, asked.argument.name.as_ref()) {
        (Reference::Prompt { name }, argument) if name == "greeting" => {
            greeting(argument, language)
        }
        (Reference::Resource { uri }, argument) if uri == "demo://greeting/{language}/{name}" => {
            greeting(argument, language)
        }
        (Reference::Resource { uri }, "n") if uri == "demo://number/{n}" => {
            Some((1..=NUMBER_MAX).map(|n| n.to_string()).collect())
        }
        _ => None,
    };
    let values = values.ok_or_else(|| {
        RpcError::new(RpcError::INVALID_PARAMS, "no such prompt, template or argument")
    })?;
    let typed = asked.argument.value.as_ref();
    let mut values: Vec<_> = values.into_iter().filter(|it| it.starts_with(typed)).collect();
    let total = values.len();
    values.truncate(VALUE_COUNT_MAX);
    let has_more = values.len() < total;
    Ok(json!({ "completion": { "values": values, "total": total, "hasMore": has_more } }))
}

fn greeting(argument: &str, language: Option<&String>) -> Option<Vec<String>> {
    let speaks = |of: &str| language.is_none_or(|language| language == of);
    match argument {
        "language" => Some(LANGUAGES.iter().map(|(name, _)| (*name).to_owned()).collect()),
        "name" => {
            let names = NAMES.iter().filter(|(of, _)| speaks(of));
            Some(names.map(|(_, name)| (*name).to_owned()).collect())
        }
        _ => None,
    }
}
