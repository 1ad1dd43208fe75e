//! How a request is turned away over HTTP+SSE.
//!
//! The revision of 2024-11-05 names no status codes.  These are the ones its implementations
//! give, with a JSON-RPC error that says what to do.

use std::time::Duration;

use hyper::{Response, StatusCode};
use mcp_jsonrpc::{
    Id, Message, ParseError, RpcError,
    transport::{ErrorKind, TransportError},
};

use crate::{
    body::{Outgoing, ReadError},
    note::Note,
    respond,
};

/// What is said where the peer does not say when to come back.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// Why, and in what words; the words are for the caller to read.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    id: Option<Id>,
    error: RpcError,
    /// For the log.
    reason: String,
    retry_after: Option<Duration>,
}

// === impl Refusal ===

impl Refusal {
    pub(crate) fn new(status: StatusCode, code: i32, words: impl Into<String>) -> Self {
        let reason = words.into();
        let error = RpcError::new(code, reason.clone());
        Self { status, id: None, error, reason, retry_after: None }
    }

    /// A session could not be opened, or found.
    pub(crate) fn of(error: &TransportError) -> Self {
        let (status, code, retry_after) = match error.kind() {
            ErrorKind::NoSession => (StatusCode::NOT_FOUND, RpcError::INVALID_REQUEST, None),
            ErrorKind::Invalid(code) => (StatusCode::BAD_REQUEST, *code, None),
            ErrorKind::Unavailable { retry_after } => {
                let wait = retry_after.unwrap_or(RETRY_AFTER);
                (StatusCode::SERVICE_UNAVAILABLE, RpcError::INTERNAL, Some(wait))
            }
            ErrorKind::Exhausted => {
                (StatusCode::SERVICE_UNAVAILABLE, RpcError::INTERNAL, Some(RETRY_AFTER))
            }
            _ => (StatusCode::BAD_GATEWAY, RpcError::INTERNAL, None),
        };
        let told = RpcError::new(code, error.said().to_string());
        Self { status, id: None, error: told, reason: error.to_string(), retry_after }
    }

    /// A body could not be read.
    pub(crate) fn of_body(error: &ReadError) -> Self {
        let status = match error {
            ReadError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            ReadError::Timeout { .. } | ReadError::Silent { .. } => StatusCode::REQUEST_TIMEOUT,
            ReadError::Broken(_) => StatusCode::BAD_REQUEST,
        };
        Self::new(status, RpcError::INVALID_REQUEST, error.to_string())
    }

    /// A body is no message.
    pub(crate) fn of_message(raw: &[u8], error: &ParseError) -> Self {
        let refusal = Self::new(StatusCode::BAD_REQUEST, error.code(), error.to_string());
        Self { id: Message::salvage_id(raw), ..refusal }
    }

    pub(crate) fn into_response(self, note: Note) -> Response<Outgoing> {
        let mut response = respond::rpc_error(self.status, self.id.as_ref(), &self.error);
        if let Some(wait) = self.retry_after {
            respond::retry_after(&mut response, wait);
        }
        respond::noted(response, Note { reason: Some(self.reason), refused: true, ..note })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table() {
        let unavailable = ErrorKind::Unavailable { retry_after: Some(Duration::from_millis(1500)) };
        for (kind, status, code, retry_after) in [
            (ErrorKind::NoSession, 404, -32600, None),
            (ErrorKind::Invalid(-32602), 400, -32602, None),
            (unavailable, 503, -32603, Some("2")),
            (ErrorKind::Exhausted, 503, -32603, Some("2")),
            (ErrorKind::Closed, 502, -32603, None),
            (ErrorKind::Timeout, 502, -32603, None),
            (ErrorKind::Unauthorized(None), 502, -32603, None),
            (ErrorKind::Status(418), 502, -32603, None),
        ] {
            let error = TransportError::new(kind.clone(), "it happened");
            let refusal = Refusal::of(&error);
            assert_eq!(refusal.error.code, code, "{kind:?}");
            let response = refusal.into_response(Note::default());
            assert_eq!(response.status().as_u16(), status, "{kind:?}");
            let header = response.headers().get("retry-after").map(|it| it.to_str().unwrap());
            assert_eq!(header, retry_after, "{kind:?}");
        }
    }
}
