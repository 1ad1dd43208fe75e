//! Tasks that a server of 2026-07-28 does a client's call in, where the client knows no such.

use mcp_jsonrpc::{
    Id, Message, ParseError, RpcError,
    modern::{self, Discovered},
    object::Object,
};
use serde::Deserialize;
use serde_json::{json, value::RawValue};

/// Whether a server has the extension.
#[must_use]
pub fn has_tasks(discovered: &Message) -> bool {
    let Ok(said) = discovered.read::<Discovered<'_>>() else { return false };
    said.capabilities.is_some_and(has)
}

fn has(capabilities: &RawValue) -> bool {
    let can = Object::read(capabilities).ok();
    let extensions = can.as_ref().and_then(|can| can.get("extensions"));
    extensions
        .and_then(|it| Object::read(it).ok())
        .is_some_and(|it| it.get(modern::TASKS).is_some())
}

/// Whether a server refuses a request since it answers it with a task alone.  It has not begun it
/// then (2026-07-28, tasks extension: capability negotiation).
#[must_use]
pub fn wants_tasks(answer: &Message) -> bool {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Data<'a> {
        #[serde(borrow)]
        required_capabilities: &'a RawValue,
    }
    let Ok(error) = answer.read::<RpcError>() else { return false };
    let data = error.data.filter(|_| error.code == RpcError::MISSING_CLIENT_CAPABILITY);
    let data = data.as_ref().and_then(|it| serde_json::from_str::<Data<'_>>(it.get()).ok());
    data.is_some_and(|data| has(data.required_capabilities))
}

/// A request that says besides that it may be answered with a task.
///
/// # Errors
///
/// [`ParseError`] where it says nothing about its client.
pub fn with_tasks(request: &Message) -> Result<Message, ParseError> {
    let whole: &RawValue = request.read()?;
    let mut params = Object::read(whole)?;
    let own = params.get("_meta").ok_or(ParseError::Envelope("no `_meta`"))?.to_owned();
    let mut meta = Object::read(&own)?;
    let declared = meta.get(modern::CLIENT_CAPABILITIES).map(ToOwned::to_owned);
    let mut can = declared.as_deref().map(Object::read).transpose()?.unwrap_or_default();
    let extensions = can.get("extensions").filter(|it| it.get().starts_with('{'));
    let extensions = extensions.map(ToOwned::to_owned);
    let mut extensions = extensions.as_deref().map(Object::read).transpose()?.unwrap_or_default();
    extensions.set(modern::TASKS, &json!({}))?;
    let extensions = extensions.to_raw()?;
    can.set("extensions", &extensions)?;
    let can = can.to_raw()?;
    meta.set(modern::CLIENT_CAPABILITIES, &can)?;
    let meta = meta.to_raw()?;
    params.set("_meta", &meta)?;
    request.with_part(whole, &params)
}

/// A request about the task that a call was answered with: it says about its client what the call
/// said.
///
/// # Errors
///
/// [`ParseError`] where the call cannot be read.
pub fn about_task(
    call: &Message,
    (id, method): (&Id, &str),
    task: &str,
    responses: Option<&[(Box<str>, Box<RawValue>)]>,
) -> Result<Message, ParseError> {
    let params: Object<'_> = call.read()?;
    let own = params.get("_meta").map(ToOwned::to_owned);
    let mut meta = own.as_deref().map(Object::read).transpose()?.unwrap_or_default();
    // Of the call alone: nothing of the kind is told about a task.
    meta.remove(&["progressToken", modern::LOG_LEVEL]);
    let meta = meta.to_raw()?;
    let mut params = Object::default();
    params.set("taskId", &task)?;
    if let Some(responses) = responses {
        let mut given = Object::default();
        for (key, response) in responses {
            given.set(key, response)?;
        }
        params.set("inputResponses", &given.to_raw()?)?;
    }
    params.set("_meta", &meta)?;
    Message::request(id, method, &params)
}
