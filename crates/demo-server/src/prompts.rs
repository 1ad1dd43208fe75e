//! Prompts.

use std::{borrow::Cow, collections::HashMap};

use mcp_jsonrpc::{Message, ProtocolVersion, RpcError};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    completion,
    content::{icons, text},
    page::Paged,
    resources::{NOTE, note},
    revision::{LISTED, fit},
    session::read as params,
    state::Inner,
};

pub(crate) fn list(
    session: &Inner,
    version: ProtocolVersion,
    message: &Message,
) -> Result<Value, RpcError> {
    let name = json!({ "name": "name", "description": "Whom to greet", "required": true });
    let language =
        json!({ "name": "language", "description": "In which language", "required": false });
    let mut entries = vec![
        ("plain", "Plain", "Has no arguments", json!([])),
        ("greeting", "Greeting", "Greets somebody in some language", json!([language, name])),
        ("review", "Review", "Brings a resource along", json!([])),
    ];
    if session.world().extra.prompt {
        entries.push(("extra", "Extra", "There since `toggle` was called", json!([])));
    }
    let entries = entries.into_iter().map(|(name, title, description, arguments)| {
        let entry = json!({
            "name": name,
            "title": title,
            "description": description,
            "arguments": arguments,
            "icons": icons(),
        });
        fit(entry, LISTED, version)
    });
    params::<Paged>(message)?.of("prompts", entries.collect(), session.options().page_len_max)
}

pub(crate) fn get(
    session: &Inner,
    _: ProtocolVersion,
    message: &Message,
) -> Result<Value, RpcError> {
    #[derive(Deserialize)]
    struct Get<'a> {
        #[serde(borrow)]
        name: Cow<'a, str>,
        #[serde(default)]
        arguments: HashMap<String, String>,
    }
    let Get { name, arguments } = params(message)?;
    let user = |content: Value| json!({ "role": "user", "content": content });
    let messages = match name.as_ref() {
        "plain" => json!([user(text("Say something plain."))]),
        "greeting" => {
            let wrong = |what| RpcError::new(RpcError::INVALID_PARAMS, what);
            let name = arguments.get("name").ok_or_else(|| wrong("`name` is required"))?;
            let language = arguments.get("language").map_or("en", String::as_str);
            let hello = completion::LANGUAGES.iter().find(|(known, _)| *known == language);
            let (_, hello) = hello.ok_or_else(|| wrong("`language` is none that is known"))?;
            json!([
                user(text(format!("Greet {name}."))),
                { "role": "assistant", "content": text(format!("{hello}, {name}!")) },
                user(text("And now as a poem.")),
            ])
        }
        "review" => {
            let note = json!({ "uri": NOTE, "mimeType": "text/plain", "text": note(session) });
            json!([
                user(json!({ "type": "resource", "resource": note })),
                user(text("What do you think of this note?")),
            ])
        }
        "extra" if session.world().extra.prompt => json!([user(text("Say something extra."))]),
        name => {
            let what = format!("no prompt `{name}`");
            return Err(RpcError::new(RpcError::INVALID_PARAMS, what));
        }
    };
    Ok(json!({ "description": format!("The prompt `{name}`"), "messages": messages }))
}
