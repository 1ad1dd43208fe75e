//! Responses both server halves give.

use hyper::{
    Response, StatusCode,
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER},
};
use mcp_jsonrpc::{Id, Message, RpcError};

use crate::{body::Outgoing, note::Note, stream::EventBody, wire};

/// What keeps proxies from holding a stream back.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// A response that is a status and no more.
pub fn empty(status: StatusCode) -> Response<Outgoing> {
    let mut response = Response::new(Outgoing::empty());
    *response.status_mut() = status;
    response
}

/// A message as JSON.
pub fn json(status: StatusCode, message: &Message) -> Response<Outgoing> {
    let mut response = Response::new(Outgoing::whole(message.as_bytes().clone()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response
}

/// A JSON-RPC error, about the request of this id if one is known.
pub fn rpc_error(status: StatusCode, id: Option<&Id>, error: &RpcError) -> Response<Outgoing> {
    match Message::error(id, error) {
        Ok(message) => json(status, &message),
        // An id and two strings can always be written; should that change, the status remains.
        Err(_) => empty(status),
    }
}

/// `405 Method Not Allowed`, with what is allowed and what to do instead.
pub fn method_not_allowed(allow: &'static str, words: &'static str) -> Response<Outgoing> {
    let response = not_allowed(allow, &RpcError::new(RpcError::INVALID_REQUEST, words));
    noted(response, Note { reason: Some(words.to_owned()), refused: true, ..Note::default() })
}

/// `405 Method Not Allowed`, with what is allowed.
pub fn not_allowed(allow: &'static str, error: &RpcError) -> Response<Outgoing> {
    let mut response = rpc_error(StatusCode::METHOD_NOT_ALLOWED, None, error);
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    response
}

/// What OPTIONS is answered: the methods of an address.
pub fn options(allow: &'static str) -> Response<Outgoing> {
    let mut response = empty(StatusCode::NO_CONTENT);
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    response
}

/// A stream of events.
pub fn events(body: EventBody) -> Response<Outgoing> {
    event_stream(body.into())
}

/// What HEAD is answered where GET opens a stream: the head of one, and nothing is opened.
pub fn events_head() -> Response<Outgoing> {
    event_stream(Outgoing::empty())
}

fn event_stream(body: Outgoing) -> Response<Outgoing> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(wire::CONTENT_TYPE));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform"));
    headers.insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
    response
}

/// Says after how many seconds it may be worth another try.
pub fn retry_after(response: &mut Response<Outgoing>, wait: std::time::Duration) {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() != 0);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
}

/// Attaches what the log line should say.
#[must_use]
pub fn noted(mut response: Response<Outgoing>, note: Note) -> Response<Outgoing> {
    response.body_mut().set_note(note);
    response
}
