//! What the aggregate itself answers.

use mcp_jsonrpc::{
    Id, Message, ParseError, RpcError,
    transport::{ErrorKind, Reply, TransportError},
};
use serde::Serialize;

/// A result of ours.
pub(crate) fn result(id: &Id, result: &impl Serialize) -> Result<Reply, TransportError> {
    Message::response(id, result).map(Reply::Single).map_err(unwritten)
}

/// An error of ours.
pub(crate) fn error(id: &Id, code: i32, words: impl Into<String>) -> Result<Reply, TransportError> {
    refusal(id, &RpcError::new(code, words.into()))
}

/// The same with whatever else it says.
pub(crate) fn refusal(id: &Id, error: &RpcError) -> Result<Reply, TransportError> {
    Message::error(Some(id), error).map(Reply::Single).map_err(unwritten)
}

/// What a caller hears of a server that cannot answer: an error of this one request, since the
/// session is one with others too.
pub(crate) fn failed(id: &Id, error: &TransportError) -> Result<Reply, TransportError> {
    let code = match error.kind() {
        ErrorKind::Invalid(code) => *code,
        _ => RpcError::INTERNAL,
    };
    self::error(id, code, error.said().to_string())
}

pub(crate) fn unwritten(error: ParseError) -> TransportError {
    TransportError::new(ErrorKind::Protocol, "an answer could not be written").because(error)
}

/// A session that has to begin with `initialize`, and has not.
pub(crate) fn uninitialized() -> TransportError {
    let kind = ErrorKind::Invalid(RpcError::INVALID_REQUEST);
    let error = TransportError::new(kind, "this session is not initialized");
    error.hint("send `initialize`, wait for its answer, then send `notifications/initialized`")
}
