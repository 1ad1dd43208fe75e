//! How a request is turned away: the one place that turns errors into responses.
//!
//! Clients take any status but 2xx for a dead connection: some never send another request, others
//! leave the caller waiting.  So a request that fails once its session has been found is answered
//! with `200` and a JSON-RPC error; other statuses are for what the transport's rules name.

use std::time::Duration;

use hyper::{Response, StatusCode};
use mcp_jsonrpc::{
    Id, Message, ParseError, ProtocolVersion, RpcError,
    modern::DISCOVER,
    transport::{ErrorKind, TransportError},
};
use serde::{Deserialize, Serialize};
use transport_sse::{
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
    reason: Box<str>,
    retry_after: Option<Box<Duration>>,
    allow: Option<&'static str>,
    /// It is of a revision that nobody has spoken of.
    of_unknown: bool,
}

/// How far a message had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// No session yet: it was being opened, or looked for.
    Opening,
    /// The session was there, and the message is a request.
    Asking,
    /// The session was there, and nobody waits for an answer to the message.
    Telling,
}

// === impl Refusal ===

impl Refusal {
    pub(crate) fn new(status: StatusCode, code: i32, words: impl Into<String>) -> Self {
        let words = words.into();
        let reason = words.as_str().into();
        let error = RpcError::new(code, words);
        Self { status, id: None, error, reason, retry_after: None, allow: None, of_unknown: false }
    }

    /// The table: what failed at which stage, and how the client hears of it.
    pub(crate) fn of(error: &TransportError, stage: Stage) -> Self {
        let (status, code) = match (error.kind(), stage) {
            (ErrorKind::NoSession, _) => (StatusCode::NOT_FOUND, RpcError::INVALID_REQUEST),
            (ErrorKind::Invalid(code), _) => (StatusCode::BAD_REQUEST, *code),
            (_, Stage::Asking) => (StatusCode::OK, RpcError::INTERNAL),
            (ErrorKind::TooLarge, _) => (StatusCode::PAYLOAD_TOO_LARGE, RpcError::INVALID_REQUEST),
            (ErrorKind::Unavailable { .. } | ErrorKind::Exhausted, _) => {
                (StatusCode::SERVICE_UNAVAILABLE, RpcError::INTERNAL)
            }
            _ => (StatusCode::BAD_GATEWAY, RpcError::INTERNAL),
        };
        let wait = match error.kind() {
            ErrorKind::Unavailable { retry_after } => retry_after.unwrap_or(RETRY_AFTER),
            _ => RETRY_AFTER,
        };
        Self {
            status,
            id: None,
            error: RpcError::new(code, error.said().to_string()),
            reason: error.to_string().into(),
            retry_after: (status == StatusCode::SERVICE_UNAVAILABLE).then(|| Box::new(wait)),
            allow: None,
            of_unknown: false,
        }
    }

    /// A body could not be read.
    pub(crate) fn of_body(error: &ReadError) -> Self {
        let status = match error {
            ReadError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            ReadError::Timeout { .. } | ReadError::Silent { .. } => StatusCode::REQUEST_TIMEOUT,
            _ => StatusCode::BAD_REQUEST,
        };
        Self::new(status, RpcError::INVALID_REQUEST, error.to_string())
    }

    /// A body is no message.
    pub(crate) fn of_message(raw: &[u8], error: &ParseError) -> Self {
        let refusal = Self::new(StatusCode::BAD_REQUEST, error.code(), error.to_string());
        Self { id: Message::salvage_id(raw), ..refusal }
    }

    /// The same for a request of 2026-07-28, whose clients know which statuses mean what.
    ///
    /// A client that asks for the first time, what there is or which tools, takes a `4xx` for a
    /// server of another era, and hears with a `5xx` that it is none of its business.  Others keep
    /// what [`Stage::Asking`] has: their clients give up on the connection otherwise.
    pub(crate) fn of_modern(error: &TransportError, method: &str) -> Self {
        let begins = method == DISCOVER || method.ends_with("/list");
        let (status, code) = match error.kind() {
            ErrorKind::Invalid(code) => (status_of(*code), *code),
            _ if !begins => (StatusCode::OK, RpcError::INTERNAL),
            ErrorKind::Unavailable { .. } | ErrorKind::Exhausted => {
                (StatusCode::SERVICE_UNAVAILABLE, RpcError::INTERNAL)
            }
            ErrorKind::Timeout => (StatusCode::GATEWAY_TIMEOUT, RpcError::INTERNAL),
            _ => (StatusCode::BAD_GATEWAY, RpcError::INTERNAL),
        };
        let refusal = Self::of(error, Stage::Telling);
        let error = RpcError::new(code, error.said().to_string());
        let retry_after = refusal.retry_after.filter(|_| status == StatusCode::SERVICE_UNAVAILABLE);
        Self { status, error, retry_after, ..refusal }
    }

    /// A field contradicts the body, or is not there.
    pub(crate) fn mismatch(words: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, RpcError::HEADER_MISMATCH, words)
    }

    /// A revision that nobody has spoken of: those that are served, the newest first.
    pub(crate) fn of_unknown_version(requested: &str) -> Self {
        let mut supported = ProtocolVersion::ALL.map(ProtocolVersion::as_str);
        supported.reverse();
        let words = format!(
            "protocol revision `{requested}` is not spoken here; {} are, those before 2026-07-28 \
             after `initialize`",
            supported.join(", ")
        );
        Self { of_unknown: true, ..Self::versions(requested, &supported, words) }
    }

    /// The same of a server that itself names these revisions: its clients are not to be told two
    /// things.
    pub(crate) fn among(self, supported: &[Box<str>]) -> Self {
        #[derive(Deserialize)]
        struct Data {
            requested: String,
        }
        let data = self.error.data.as_deref().filter(|_| self.of_unknown);
        let data = data.and_then(|data| serde_json::from_str::<Data>(data.get()).ok());
        match data {
            Some(Data { requested }) if !supported.iter().any(|it| **it == *requested) => {
                let supported: Vec<&str> = supported.iter().map(|it| &**it).collect();
                let words = format!(
                    "protocol revision `{requested}` is not spoken here; {} are",
                    supported.join(", ")
                );
                Self::versions(&requested, &supported, words)
            }
            _ => self,
        }
    }

    /// A revision that is not spoken here, or not in a session: those that are, for the client to
    /// choose from.
    pub(crate) fn of_version(requested: &str) -> Self {
        let supported = ProtocolVersion::LEGACY.map(ProtocolVersion::as_str);
        let words = format!(
            "protocol revision `{requested}` is not spoken here; begin with `initialize`, in one \
             of {}",
            supported.join(", ")
        );
        Self::versions(requested, &supported, words)
    }

    fn versions(requested: &str, supported: &[&str], words: String) -> Self {
        #[derive(Serialize)]
        struct Data<'a> {
            supported: &'a [&'a str],
            requested: &'a str,
        }
        let refusal = Self::new(StatusCode::BAD_REQUEST, RpcError::UNSUPPORTED_VERSION, words);
        let error = refusal.error.with_data(&Data { supported, requested });
        Self { error, ..refusal }
    }

    /// What a client sees first.
    #[cfg(test)]
    pub(crate) fn code(&self) -> (u16, i32) {
        (self.status.as_u16(), self.error.code)
    }

    /// `405 Method Not Allowed`.
    pub(crate) fn not_allowed(allow: &'static str, words: &str) -> Self {
        let status = StatusCode::METHOD_NOT_ALLOWED;
        let refusal = Self::new(status, RpcError::INVALID_REQUEST, words);
        Self { allow: Some(allow), ..refusal }
    }

    /// Says which request is refused, where that is known.
    pub(crate) fn about(mut self, id: Option<&Id>) -> Self {
        self.id = self.id.or_else(|| id.cloned());
        self
    }

    /// What goes down a stream in its stead, when the head has gone out.
    pub(crate) fn into_message(self) -> Result<Message, ParseError> {
        Message::error(self.id.as_ref(), &self.error)
    }

    pub(crate) fn into_response(self, note: Note) -> Response<Outgoing> {
        let mut response = match self.allow {
            Some(allow) => respond::not_allowed(allow, &self.error),
            None => respond::rpc_error(self.status, self.id.as_ref(), &self.error),
        };
        if let Some(wait) = self.retry_after {
            respond::retry_after(&mut response, *wait);
        }
        let reason = Some(self.reason.into());
        respond::noted(response, Note { reason, refused: true, ..note })
    }
}

/// The status of an answer in 2026-07-28 that is an error of this code.
pub(crate) fn status_of(code: i32) -> StatusCode {
    match code {
        // Only the body tells it from an address where there is nothing.
        RpcError::METHOD_NOT_FOUND => StatusCode::NOT_FOUND,
        RpcError::HEADER_MISMATCH
        | RpcError::MISSING_CLIENT_CAPABILITY
        | RpcError::UNSUPPORTED_VERSION
        | RpcError::PARSE
        | RpcError::INVALID_REQUEST => StatusCode::BAD_REQUEST,
        _ => StatusCode::OK,
    }
}

#[cfg(test)]
mod tests;
