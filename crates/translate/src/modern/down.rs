//! A client with a handshake in front of a server of 2026-07-28: what each hears of the other.
//!
//! What takes more than one message (handshakes, questions that are answered by a retry,
//! subscriptions) is the crate `era`'s; here is what becomes of each message on its own.

mod rows;
mod tasks;

use mcp_jsonrpc::{
    Id, Kind, Message, ParseError, ProtocolVersion, RpcError,
    modern::{self, Discovered},
    object::{Object, raw},
};
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};

pub(crate) use self::rows::*;
pub use self::tasks::{about_task, has_tasks, wants_tasks, with_tasks};
use super::{OF_ONE_HOP, without_tasks};
use crate::{Bridge, Passage};

const VERSION: ProtocolVersion = ProtocolVersion::V2026_07_28;

/// What each request to such a server says about its client.
#[derive(Clone, Copy, Debug)]
pub struct Said<'a> {
    /// What the client can do, as [`capabilities`] made it.
    pub capabilities: &'a RawValue,
    /// What it calls itself.
    pub client_info: Option<&'a RawValue>,
    /// From which level on it wants to hear of the server's log.
    pub log_level: Option<&'a str>,
}

/// A client's request as a server of 2026-07-28 takes it.
///
/// # Errors
///
/// [`ParseError`] where it is no request, or `params` or `_meta` is no object.
pub fn request(message: &Message, said: &Said<'_>) -> Result<Message, ParseError> {
    let body = message.body().filter(|body| *body != "null").unwrap_or("{}");
    let mut params = Object::parse(body)?;
    params.remove(&["task"]);
    let own = params.get("_meta").filter(|own| own.get() != "null").map(ToOwned::to_owned);
    let mut meta = own.as_deref().map(Object::read).transpose()?.unwrap_or_default();
    meta.remove(&OF_ONE_HOP);
    meta.set(modern::PROTOCOL_VERSION, &VERSION.as_str())?;
    meta.set(modern::CLIENT_CAPABILITIES, &said.capabilities)?;
    if let Some(info) = said.client_info {
        meta.set(modern::CLIENT_INFO, &info)?;
    }
    if let Some(level) = said.log_level {
        meta.set(modern::LOG_LEVEL, &level)?;
    }
    let meta = meta.to_raw()?;
    params.set("_meta", &meta)?;
    let (id, method) = (message.id(), message.method());
    let no_request = ParseError::Envelope("no request");
    let (Some(id), Some(method)) = (id, method) else { return Err(no_request) };
    match message.body() {
        Some(_) => message.with_object(id, &params),
        None => Message::request(id, method, &params),
    }
}

/// The same request once more, with the answers to what the server asked and the state it gave.
///
/// # Errors
///
/// [`ParseError`] where it is no request with parameters.
pub fn retry(
    message: &Message,
    responses: &[(Box<str>, Box<RawValue>)],
    state: Option<&RawValue>,
) -> Result<Message, ParseError> {
    let mut params: Object<'_> = message.read()?;
    params.remove(&["inputResponses", "requestState"]);
    if !responses.is_empty() {
        let mut given = Object::default();
        for (key, response) in responses {
            given.set(key, response)?;
        }
        let given = given.to_raw()?;
        params.set("inputResponses", &given)?;
    }
    if let Some(state) = state {
        params.set("requestState", &state)?;
    }
    message.with_body(&params)
}

/// What a client of this revision can do, as a server of 2026-07-28 may use it.
///
/// # Errors
///
/// [`ParseError`] where that is no object.
pub fn capabilities(
    declared: Option<&RawValue>,
    client: ProtocolVersion,
) -> Result<Box<RawValue>, ParseError> {
    let declared = declared.filter(|it| it.get() != "null");
    let mut can = declared.map(Object::read).transpose()?.unwrap_or_default();
    can.remove(&["tasks"]);
    if client < ProtocolVersion::V2025_06_18 {
        can.remove(&["elicitation"]);
    }
    if can.get("roots").is_some() {
        can.set("roots", &json!({}))?;
    }
    if client < ProtocolVersion::V2025_11_25 {
        // What it means there.
        for (name, meant) in [("elicitation", json!({ "form": {} })), ("sampling", json!({}))] {
            if can.get(name).is_some() {
                can.set(name, &meant)?;
            }
        }
    }
    without_tasks(&mut can)?;
    can.to_raw()
}

/// The answer to `initialize` of a client of this revision, made of what was discovered.
///
/// # Errors
///
/// [`ParseError`] where what was discovered cannot be read.
pub fn initialized(
    id: &Id,
    discovered: &Message,
    client: ProtocolVersion,
    name: &str,
) -> Result<Message, ParseError> {
    let said: Discovered<'_> = discovered.read()?;
    let declared = said.capabilities.filter(|it| it.get() != "null");
    let mut can = declared.map(Object::read).transpose()?.unwrap_or_default();
    can.remove(&["tasks"]);
    if client < ProtocolVersion::V2025_03_26 {
        can.remove(&["completions"]);
    }
    without_tasks(&mut can)?;
    let mut result = Object::default();
    result.set("protocolVersion", &client.as_str())?;
    result.set("capabilities", &can)?;
    match said.meta.as_ref().and_then(|meta| meta.server_info) {
        Some(info) => result.set("serverInfo", &info)?,
        None => result.set("serverInfo", &json!({ "name": name, "version": "0" }))?,
    }
    if let Some(instructions) = said.instructions {
        result.set("instructions", &instructions)?;
    }
    Message::response(id, &result)
}

/// The server's answer to a request by this method, as its client hears it who has made it under
/// this id.
#[must_use]
pub fn answer(method: &str, answer: &Message, id: &Id, client: ProtocolVersion) -> Message {
    let edited = match answer.kind() {
        Kind::Response => result(answer, id),
        Kind::Error => error(method, answer),
        Kind::Request | Kind::Notification => return answer.clone(),
    };
    // What cannot be read is malformed in every revision: its reader has the last word.
    let answer = edited.ok().flatten().unwrap_or_else(|| answer.clone());
    let answer = answer.with_id(id.clone());
    match Bridge::between(client, VERSION) {
        Some(bridge) => bridge.answer(method, &answer),
        None => answer,
    }
}

fn result(answer: &Message, id: &Id) -> Result<Option<Message>, ParseError> {
    let mut result = answer.object()?;
    let mut edited = result.remove(&["resultType", "ttlMs", "cacheScope"]);
    edited |= own_meta(&mut result)?;
    if edited { answer.with_object(id, &result).map(Some) } else { Ok(None) }
}

/// Takes out of `_meta` what is of one hop; whether anything was.
fn own_meta(body: &mut Object<'_>) -> Result<bool, ParseError> {
    let own = body.get("_meta").filter(|own| own.get().starts_with('{')).map(ToOwned::to_owned);
    let Some(own) = own else { return Ok(false) };
    let mut meta = Object::read(&own)?;
    if !meta.remove(&OF_ONE_HOP) {
        return Ok(false);
    }
    if meta.values().next().is_none() {
        body.remove(&["_meta"]);
    } else {
        let meta = meta.to_raw()?;
        body.set("_meta", &meta)?;
    }
    Ok(true)
}

fn error(method: &str, answer: &Message) -> Result<Option<Message>, ParseError> {
    #[derive(Deserialize)]
    struct Data<'a> {
        #[serde(borrow)]
        uri: Option<&'a RawValue>,
    }
    let said: RpcError = answer.read()?;
    let id = answer.id();
    match said.code {
        RpcError::INVALID_PARAMS if method == "resources/read" => {
            let data =
                said.data.as_ref().and_then(|it| serde_json::from_str::<Data<'_>>(it.get()).ok());
            if data.is_none_or(|data| data.uri.is_none()) {
                return Ok(None);
            }
            let said = RpcError { code: RpcError::RESOURCE_NOT_FOUND, ..said };
            Message::error(id, &said).map(Some)
        }
        RpcError::MISSING_CLIENT_CAPABILITY => {
            let words = format!(
                "the server needs something that its client did not declare: {}",
                said.message
            );
            match (method, id) {
                ("tools/call", Some(id)) => Message::response(id, &failed(&words)).map(Some),
                _ => Message::error(id, &RpcError::new(RpcError::INTERNAL, words)).map(Some),
            }
        }
        RpcError::HEADER_MISMATCH | RpcError::UNSUPPORTED_VERSION => {
            let words = format!("the server did not take the gateway's request: {}", said.message);
            Message::error(id, &RpcError::new(RpcError::INTERNAL, words)).map(Some)
        }
        _ => Ok(None),
    }
}

/// A tool's result that says why there is none.
pub fn failed(words: &str) -> Value {
    json!({ "content": [{ "type": "text", "text": words }], "isError": true })
}

/// A notification of the server's, as its client hears it; none where its revision has no such.
pub fn notification(message: &Message, client: ProtocolVersion) -> Option<Message> {
    let mut message = message.clone();
    if message.mentions(modern::SUBSCRIPTION_ID) {
        message = without_subscription(&message).unwrap_or(message);
    }
    match Bridge::between(client, VERSION)?.to_client(&message) {
        Passage::Same => Some(message),
        Passage::Edited(message) => Some(message),
        Passage::Dropped | Passage::Refused(_) => None,
    }
}

fn without_subscription(message: &Message) -> Result<Message, ParseError> {
    let mut params: Object<'_> = message.read()?;
    if own_meta(&mut params)? { message.with_body(&params) } else { Ok(message.clone()) }
}

/// What a server asks in the place of a result, as a request that its client answers.
#[derive(Clone, Debug)]
pub struct Question {
    /// Under which the answer goes back.
    pub key: Box<str>,
    /// What is asked.
    pub method: Box<str>,
    /// Whether its user is sent to a URL, and to which.
    pub url: Option<Box<str>>,
    params: Option<Box<RawValue>>,
}

/// The questions of an `inputRequests`, in the order in which they stand.
///
/// # Errors
///
/// [`ParseError`] where that is no object of requests.
pub fn questions(asked: &RawValue) -> Result<Vec<Question>, ParseError> {
    #[derive(Deserialize)]
    struct Entry<'a> {
        #[serde(borrow)]
        method: std::borrow::Cow<'a, str>,
        #[serde(borrow)]
        params: Option<&'a RawValue>,
    }
    let asked = Object::read(asked)?;
    asked
        .members()
        .map(|(key, entry)| {
            let entry: Entry<'_> = serde_json::from_str(entry.get())?;
            let params = entry.params.map(Object::read).transpose()?;
            let is_url = params.as_ref().and_then(|it| it.text("mode")).as_deref() == Some("url");
            Ok(Question {
                key: key.into(),
                method: entry.method.into(),
                url: params.and_then(|it| it.text("url")).filter(|_| is_url).map(Into::into),
                params: entry.params.map(ToOwned::to_owned),
            })
        })
        .collect()
}

impl Question {
    /// The request under an id of ours, in its client's revision; `elicitation` is what it is
    /// called by afterwards, where its user is sent to a URL.
    ///
    /// # Errors
    ///
    /// [`ParseError`] where its parameters are no object.
    pub fn request(
        &self,
        id: &Id,
        client: ProtocolVersion,
        elicitation: Option<&str>,
    ) -> Result<Passage, ParseError> {
        let mut params = self.params.as_deref().map(Object::read).transpose()?.unwrap_or_default();
        params.remove(&["task"]);
        own_meta(&mut params)?;
        if let (Some(name), Some(_)) = (elicitation, &self.url) {
            params.set("elicitationId", &name)?;
        }
        let message = Message::request(id, &self.method, &raw(&params)?)?;
        let bridge = Bridge::between(client, VERSION);
        Ok(match bridge.map_or(Passage::Same, |bridge| bridge.to_client(&message)) {
            Passage::Same => Passage::Edited(message),
            passage => passage,
        })
    }

    /// Whether a client that declared this much may be asked.
    pub fn is_declared(&self, capabilities: &RawValue) -> bool {
        let Ok(can) = Object::read(capabilities) else { return false };
        match &*self.method {
            "roots/list" => can.get("roots").is_some(),
            "sampling/createMessage" => can.get("sampling").is_some(),
            "elicitation/create" => {
                let Some(modes) = can.get("elicitation") else { return false };
                let Ok(modes) = Object::read(modes) else { return false };
                match self.url {
                    Some(_) => modes.get("url").is_some(),
                    None => modes.get("form").is_some() || modes.values().next().is_none(),
                }
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests;
