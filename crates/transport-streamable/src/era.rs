//! Which form of the protocol a request speaks: the one place that decides it.
//!
//! So far there is one, with a handshake and sessions.  The form of 2026-07-28 is to be told
//! apart here, too, when it comes.

use hyper::StatusCode;
use mcp_jsonrpc::{Era, Kind, Message, ProtocolVersion, RpcError};

use crate::{
    header::{Fields, Version},
    refusal::Refusal,
};

/// The revision a request is in, where it says so.
///
/// Half of today's clients ask `server/discover` first, and wait for its answer: it gets one that
/// all of them begin again from with `initialize`.  Other requests in a revision without a
/// handshake learn which revisions there are.
pub(crate) fn judge(
    fields: &Fields,
    message: Option<&Message>,
) -> Result<Option<ProtocolVersion>, Refusal> {
    if let Some(message) = message
        && message.kind() == Kind::Request
        && message.method() == Some("server/discover")
    {
        let words = "no discovery here; begin with `initialize`";
        return Err(Refusal::new(StatusCode::OK, RpcError::METHOD_NOT_FOUND, words));
    }
    match &fields.version {
        Version::Unnamed => Ok(None),
        Version::Known(version) if version.era() == Era::Legacy => Ok(Some(*version)),
        Version::Known(version) => Err(Refusal::of_version(version.as_str())),
        Version::Unknown(text) => Err(Refusal::of_version(text)),
    }
}
