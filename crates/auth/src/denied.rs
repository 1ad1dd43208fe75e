//! Why a request is not let in, and what would help.

use std::sync::Arc;

use hyper::StatusCode;

/// Why a request is not let in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Denied {
    /// No token was brought.
    #[error("this needs a token: send `Authorization: Bearer TOKEN` (or `X-API-Key: TOKEN`)")]
    Missing,
    /// What was brought is no bearer token.
    #[error("{0}: send one field `Authorization: Bearer TOKEN`")]
    Malformed(&'static str),
    /// The token is none of ours.
    #[error("this token is not known here: compare it with the gateway's configuration")]
    Unknown,
    /// The token is known, but not good for this.
    #[error("the token `{0}` does not open this server")]
    Forbidden(Arc<str>),
}

impl Denied {
    /// The HTTP status that says so (RFC 6750 §3.1).
    pub fn status(&self) -> StatusCode {
        match self {
            // MCP clients take a 400 for a fault of the message, and only a 401 for one of these.
            Self::Missing | Self::Unknown | Self::Malformed(_) => StatusCode::UNAUTHORIZED,
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
        }
    }

    /// The `WWW-Authenticate` field that says what would help (RFC 6750 §3).
    pub fn challenge(&self) -> &'static str {
        match self {
            Self::Missing => r#"Bearer realm="mcp-gateway""#,
            Self::Malformed(_) => r#"Bearer realm="mcp-gateway", error="invalid_request""#,
            Self::Unknown => r#"Bearer realm="mcp-gateway", error="invalid_token""#,
            Self::Forbidden(_) => r#"Bearer realm="mcp-gateway", error="insufficient_scope""#,
        }
    }
}
