//! A client of 2026-07-28 in front of a server with a handshake: what each hears of the other.
//!
//! What takes more than one message (sessions, questions that wait for answers, subscriptions) is
//! the crate `era`'s; here is what becomes of each message on its own.

mod questions;
mod rows;
mod tasks;

use mcp_jsonrpc::{
    Id, Kind, Message, ParseError, ProtocolVersion, RpcError, modern,
    object::{Edit, Object, edit_array, raw},
};
use serde::Deserialize;
use serde_json::{json, value::RawValue};

pub use self::questions::{entry, refusal, reply, url_entries};
pub(crate) use self::rows::*;
pub use self::tasks::{as_task, begun, related, status, task_tools};
use super::{OF_ONE_HOP, RELATED_TASK, without_tasks};

/// Results that say for how long they hold (2026-07-28, caching).
const CACHEABLE: [&str; 6] = [
    modern::DISCOVER,
    "tools/list",
    "prompts/list",
    "resources/list",
    "resources/templates/list",
    "resources/read",
];

/// A client's request as a server with a handshake takes it: without what its session says, under
/// this id, and with it as its token where the client wants to hear of progress.
///
/// # Errors
///
/// [`ParseError`] where `params` or `_meta` is no object.
pub fn request(message: &Message, id: &Id) -> Result<Message, ParseError> {
    let Some(body) = message.body().filter(|body| *body != "null") else {
        return Ok(message.with_id(id.clone()));
    };
    let mut params = Object::parse(body)?;
    let mut edited = params.remove(&["inputResponses", "requestState"]);
    if message.method() == Some("tools/call") {
        edited |= params.remove(&["task"]);
    }
    if let Some(own) = params.get("_meta").filter(|own| own.get() != "null") {
        let mut meta = Object::read(own)?;
        let mut changed = meta.remove(&OF_ONE_HOP);
        if meta.has("progressToken") {
            meta.set("progressToken", id)?;
            changed = true;
        }
        if changed {
            let meta = if meta.is_empty() { None } else { Some(meta.to_raw()?) };
            match meta {
                Some(meta) => params.set("_meta", &meta)?,
                None => _ = params.remove(&["_meta"]),
            }
            edited = true;
        }
    }
    if edited { message.with_object(id, &params) } else { Ok(message.with_id(id.clone())) }
}

/// A server's answer to a request by this method, as a client of 2026-07-28 hears it who has made
/// it under this id.
#[must_use]
pub fn answer(method: &str, answer: &Message, id: &Id, server_info: Option<&RawValue>) -> Message {
    let edited = match answer.kind() {
        Kind::Response => result(method, answer, id, server_info).map(Some),
        Kind::Error => error(answer),
        Kind::Request | Kind::Notification => Ok(None),
    };
    // What cannot be read is malformed in every revision: its reader has the last word.
    let answer = edited.ok().flatten().unwrap_or_else(|| answer.clone());
    answer.with_id(id.clone())
}

fn result(
    method: &str,
    answer: &Message,
    id: &Id,
    server_info: Option<&RawValue>,
) -> Result<Message, ParseError> {
    let mut result = answer.object()?;
    if method == "tools/list"
        && let Some(tools) = result.get("tools")
        && let Some(tools) = edit_array(tools, |_, tool| without_execution(tool))?
    {
        result.set("tools", &tools)?;
    }
    result.set("resultType", &"complete")?;
    if CACHEABLE.contains(&method) {
        for (name, value) in [("ttlMs", json!(0)), ("cacheScope", json!("private"))] {
            if !result.has(name) {
                result.set(name, &value)?;
            }
        }
    }
    let own = result.get("_meta").filter(|own| own.get().starts_with('{'));
    let mut meta = own.map(Object::read).transpose()?.unwrap_or_default();
    let mut changed = meta.remove(&OF_ONE_HOP);
    if let Some(info) = server_info {
        meta.set(modern::SERVER_INFO, &info)?;
        changed = true;
    }
    if changed {
        let meta = meta.to_raw()?;
        result.set("_meta", &meta)?;
    }
    answer.with_object(id, &result)
}

fn without_execution(tool: &RawValue) -> Result<Edit, ParseError> {
    let mut tool = Object::read(tool)?;
    Ok(match tool.remove(&["execution"]) {
        true => Edit::With(vec![tool.to_raw()?]),
        false => Edit::Keep,
    })
}

fn error(answer: &Message) -> Result<Option<Message>, ParseError> {
    #[derive(Deserialize)]
    struct Coded<'a> {
        #[serde(borrow)]
        code: &'a RawValue,
    }
    let said: Coded<'_> = answer.read()?;
    let code = match said.code.get().parse::<i32>() {
        Ok(RpcError::RESOURCE_NOT_FOUND) => RpcError::INVALID_PARAMS,
        Ok(
            RpcError::HEADER_MISMATCH
            | RpcError::MISSING_CLIENT_CAPABILITY
            | RpcError::UNSUPPORTED_VERSION
            | RpcError::URL_ELICITATION_REQUIRED,
        ) => RpcError::INTERNAL,
        _ => return Ok(None),
    };
    answer.with_part(said.code, &code).map(Some)
}

/// The result of `server/discover` of a server that answered `initialize` like this; `versions`
/// are those a client may speak, the newest first.
///
/// # Errors
///
/// [`ParseError`] where the answer is no result of `initialize`.
pub fn discovered(
    answer: &Message,
    versions: &[ProtocolVersion],
) -> Result<Box<RawValue>, ParseError> {
    let whole: &RawValue = answer.read()?;
    let said = Object::read(whole)?;
    let mut result = Object::default();
    result.set("resultType", &"complete")?;
    let versions: Vec<&str> = versions.iter().map(|version| version.as_str()).collect();
    result.set("supportedVersions", &versions)?;
    let declared = said.get("capabilities").filter(|it| it.get().starts_with('{'));
    let mut capabilities = declared.map(Object::read).transpose()?.unwrap_or_default();
    capabilities.remove(&["tasks"]);
    without_tasks(&mut capabilities)?;
    result.set("capabilities", &capabilities)?;
    if let Some(instructions) = said.get("instructions").filter(|it| it.get().starts_with('"')) {
        result.set("instructions", &instructions)?;
    }
    result.set("ttlMs", &0)?;
    result.set("cacheScope", &"private")?;
    if let Some(info) = said.get("serverInfo").filter(|it| it.get().starts_with('{')) {
        let mut meta = Object::default();
        meta.set(modern::SERVER_INFO, &info)?;
        result.set("_meta", &meta)?;
    }
    result.to_raw()
}

/// What a server told of a change, as it goes down the stream of the `subscriptions/listen` that
/// has this id.
///
/// # Errors
///
/// [`ParseError`] where `params` or `_meta` is no object.
pub fn subscribed(message: &Message, id: &Id) -> Result<Message, ParseError> {
    let method = message.method().unwrap_or_default();
    let whole: Option<&RawValue> = message.body().map(serde_json::from_str).transpose()?;
    let object = whole.filter(|it| it.get() != "null");
    let mut params = object.map(Object::read).transpose()?.unwrap_or_default();
    let own = params.get("_meta").filter(|own| own.get() != "null");
    let mut meta = own.map(Object::read).transpose()?.unwrap_or_default();
    meta.remove(&OF_ONE_HOP);
    meta.set(modern::SUBSCRIPTION_ID, id)?;
    let meta = raw(&meta)?;
    params.set("_meta", &meta)?;
    match whole {
        Some(whole) => message.with_part(whole, &params),
        None => Message::notification(method, &params),
    }
}
