//! What can be wrong with a message, and how JSON-RPC says so.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// Why bytes are not a message.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ParseError {
    /// Not UTF-8, which JSON-RPC over MCP has to be.
    #[error("not UTF-8: {0}")]
    Utf8(#[from] std::str::Utf8Error),
    /// Not JSON.
    #[error("not JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// JSON, but no JSON-RPC 2.0 message that MCP allows.
    #[error("not a JSON-RPC message: {0}")]
    Envelope(&'static str),
    /// Longer than allowed.
    #[error("message of {len} bytes; at most {max} are taken")]
    TooLarge {
        /// How long it is, in bytes.
        len: usize,
        /// How long it may be, in bytes.
        max: usize,
    },
    /// Arrays and objects inside each other, deeper than allowed.
    #[error("message nested deeper than {max} levels")]
    TooDeep {
        /// How many levels are taken.
        max: usize,
    },
    /// A batch of more messages than allowed.
    #[error("batch of more than {max} messages")]
    BatchTooLong {
        /// How many messages are taken.
        max: usize,
    },
}

impl ParseError {
    /// The JSON-RPC code for this error: -32700 where it is not JSON, -32600 where it is, but no
    /// message (JSON-RPC 2.0 §5.1).
    pub fn code(&self) -> i32 {
        match self {
            Self::Utf8(_) => RpcError::PARSE,
            Self::Json(error) if error.is_data() => RpcError::INVALID_REQUEST,
            Self::Json(_) => RpcError::PARSE,
            Self::Envelope(_)
            | Self::TooLarge { .. }
            | Self::TooDeep { .. }
            | Self::BatchTooLong { .. } => RpcError::INVALID_REQUEST,
        }
    }
}

/// The `error` member of a response.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RpcError {
    /// A number from the JSON-RPC or MCP ranges.
    pub code: i32,
    /// One sentence for a person.
    pub message: Cow<'static, str>,
    /// Whatever else the peer said, unread.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Box<RawValue>>,
}

impl RpcError {
    /// The bytes were not JSON.
    pub const PARSE: i32 = -32700;
    /// The JSON was no request.
    pub const INVALID_REQUEST: i32 = -32600;
    /// Nobody answers to this method.
    pub const METHOD_NOT_FOUND: i32 = -32601;
    /// The method is known, its parameters are wrong.
    pub const INVALID_PARAMS: i32 = -32602;
    /// Our fault or the server's, not the caller's.
    pub const INTERNAL: i32 = -32603;
    /// No such resource (up to 2025-11-25).
    pub const RESOURCE_NOT_FOUND: i32 = -32002;
    /// The user has to visit a URL first (2025-11-25 alone).
    pub const URL_ELICITATION_REQUIRED: i32 = -32042;
    /// A mirrored header contradicts the body (2026-07-28).
    pub const HEADER_MISMATCH: i32 = -32020;
    /// The request needs a capability its client did not declare (2026-07-28).
    pub const MISSING_CLIENT_CAPABILITY: i32 = -32021;
    /// No revision in common (2026-07-28).
    pub const UNSUPPORTED_VERSION: i32 = -32022;
    /// The user rejected a sampling request (up to 2025-11-25).
    pub const USER_REJECTED: i32 = -1;

    /// An error without data.
    pub fn new(code: i32, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into(), data: None }
    }

    /// Adds data; left out if it cannot be written as JSON.
    #[must_use]
    pub fn with_data(mut self, data: &impl Serialize) -> Self {
        self.data = serde_json::value::to_raw_value(data).ok();
        self
    }
}
