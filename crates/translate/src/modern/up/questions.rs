//! Questions of a server with a handshake, and the answers of a client of 2026-07-28.

use mcp_jsonrpc::{Kind, Message, ParseError, RpcError};
use serde::Deserialize;
use serde_json::{json, value::RawValue};

use mcp_jsonrpc::object::{Object, raw};

/// A server's question as an entry of `inputRequests`.
///
/// # Errors
///
/// [`ParseError`] where its parameters cannot be read.
pub fn entry(question: &Message) -> Result<Box<RawValue>, ParseError> {
    let method = question.method().unwrap_or_default();
    let whole: Option<&RawValue> = question.body().map(serde_json::from_str).transpose()?;
    let object = whole.filter(|it| it.get() != "null");
    let mut params = object.map(Object::read).transpose()?.unwrap_or_default();
    params.remove(&["task"]);
    if method == "elicitation/create" {
        params.remove(&["elicitationId"]);
    }
    let own = params.get("_meta").filter(|own| own.get() != "null");
    let mut meta = own.map(Object::read).transpose()?.unwrap_or_default();
    if meta.remove(&["progressToken", super::RELATED_TASK]) {
        let meta = meta.to_raw()?;
        params.set("_meta", &meta)?;
    }
    let mut entry = Object::default();
    entry.set("method", &method)?;
    if method != "roots/list" || !params.is_empty() {
        entry.set("params", &params)?;
    }
    entry.to_raw()
}

/// The questions that the error -32042 stands for (2025-11-25, URL elicitation), as entries of
/// `inputRequests`; none where the answer is no such error.
pub fn url_entries(answer: &Message) -> Option<Vec<Box<RawValue>>> {
    #[derive(Deserialize)]
    struct Required {
        elicitations: Vec<Wanted>,
    }
    #[derive(Deserialize)]
    struct Wanted {
        #[serde(default)]
        message: String,
        url: String,
    }
    let error: RpcError = (answer.kind() == Kind::Error).then(|| answer.read().ok())??;
    if error.code != RpcError::URL_ELICITATION_REQUIRED {
        return None;
    }
    let Required { elicitations } = serde_json::from_str(error.data?.get()).ok()?;
    let entries = elicitations.iter().map(|Wanted { message, url }| {
        let params = json!({ "mode": "url", "message": message, "url": url });
        raw(&json!({ "method": "elicitation/create", "params": params })).ok()
    });
    entries.collect::<Option<Vec<_>>>().filter(|entries| !entries.is_empty())
}

/// A client's answer to a question by this method, as the server takes it.
///
/// # Errors
///
/// What is wrong with it, in words for the client.
pub fn reply(method: &str, answer: &RawValue) -> Result<Box<RawValue>, String> {
    let mut said = Object::read(answer).map_err(|_| "is no object".to_owned())?;
    match method {
        "elicitation/create" => {
            let action = said.text("action").unwrap_or_default();
            if !["accept", "decline", "cancel"].contains(&action.as_str()) {
                return Err("has no `action` that is `accept`, `decline` or `cancel`".to_owned());
            }
        }
        "sampling/createMessage" => {
            for name in ["role", "content", "model"] {
                if said.get(name).is_none() {
                    return Err(format!("is no sample: it has no `{name}`"));
                }
            }
        }
        "roots/list" if !said.get("roots").is_some_and(|roots| roots.get().starts_with('[')) => {
            return Err("has no list of `roots`".to_owned());
        }
        _ => (),
    }
    if !said.remove(&["resultType"]) {
        return Ok(answer.to_owned());
    }
    said.to_raw().map_err(|error| error.to_string())
}

/// What a question is answered where no client can be asked: an elicitation is cancelled, a
/// sample refused, and the roots are these.
///
/// # Errors
///
/// [`ParseError`] where there is no question, or the answer cannot be written.
pub fn refusal(question: &Message, roots: &[Box<str>], why: &str) -> Result<Message, ParseError> {
    let id = question.id().ok_or(ParseError::Envelope("only a request is refused"))?;
    match question.method().unwrap_or_default() {
        "elicitation/create" => {
            let meta = json!({ crate::questions::REASON: why });
            Message::response(id, &json!({ "action": "cancel", "_meta": meta }))
        }
        "roots/list" => {
            let roots: Vec<_> = roots.iter().map(|uri| json!({ "uri": &**uri })).collect();
            Message::response(id, &json!({ "roots": roots }))
        }
        "sampling/createMessage" => {
            let error = RpcError::new(RpcError::USER_REJECTED, why.to_owned());
            Message::error(Some(id), &error)
        }
        method => {
            let words = format!("`{method}` cannot be asked of a client of 2026-07-28");
            Message::error(Some(id), &RpcError::new(RpcError::METHOD_NOT_FOUND, words))
        }
    }
}
