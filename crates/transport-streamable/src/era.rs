//! Which form of the protocol a request speaks: the one place that decides it.
//!
//! The body decides.  2026-07-28 names its revision in `params._meta` of every request, the
//! revisions before it begin with `initialize` and name a session after it.  Where the body says
//! neither, the fields do; where both speak and do not agree, the request is refused, because
//! whoever stood between may have believed the other one.

use hyper::StatusCode;
use mcp_jsonrpc::{
    Era, Kind, Message, ProtocolVersion, RpcError,
    modern::{self, DISCOVER},
};
use serde_json::value::RawValue;

use crate::{
    header::{Fields, Mirrored, Session, Version},
    mirror::{self, Mirrors, Subject, ToolFields, View, Written},
    refusal::Refusal,
};

/// The form of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// With a handshake and sessions; in this revision, where the fields say so.
    Legacy(Option<ProtocolVersion>),
    /// Each for itself: 2026-07-28.
    Modern,
}

/// The form a message has.
///
/// Where 2026-07-28 is not served, nothing has its form; such requests are refused, in words that
/// every client which probes for it falls back from.
pub(crate) fn judge(
    fields: &Fields,
    message: &Message,
    serves_modern: bool,
) -> Result<Form, Refusal> {
    if !serves_modern {
        return unserved(fields, message).map(Form::Legacy);
    }
    let asks = |method| message.kind() == Kind::Request && message.method() == Some(method);
    let named = fields.version.known().is_some_and(|version| version.era() == Era::Modern);
    if named && fields.session == Session::Unnamed && !asks("initialize") {
        // Whatever the body says: it is read when it is compared with the fields, and not before.
        return Ok(Form::Modern);
    }
    if says_modern(message) {
        return Ok(Form::Modern);
    }
    if fields.session == Session::Unnamed {
        match &fields.version {
            Version::Known(version) if version.era() == Era::Modern => {
                let words = format!(
                    "`MCP-Protocol-Version: {version}` on an `initialize`, which that revision \
                     does not have"
                );
                return Err(Refusal::mismatch(words));
            }
            Version::Unknown(text) => return Err(Refusal::of_unknown_version(text)),
            Version::Known(_) | Version::Unnamed => (),
        }
    }
    unserved(fields, message).map(Form::Legacy)
}

/// The revision of a message that does not have the form of 2026-07-28, where it says so.
///
/// Half of today's clients ask `server/discover` first, and wait for its answer: without what
/// 2026-07-28 wants of it, it gets one that all of them begin again from with `initialize`.
/// Other requests in a revision without a handshake learn which revisions have one.
pub(crate) fn unserved(
    fields: &Fields,
    message: &Message,
) -> Result<Option<ProtocolVersion>, Refusal> {
    if message.kind() == Kind::Request && message.method() == Some(DISCOVER) {
        let words = "no discovery here; begin with `initialize`";
        return Err(Refusal::new(StatusCode::OK, RpcError::METHOD_NOT_FOUND, words));
    }
    legacy(fields)
}

/// The revision that belongs to a session, where the fields name one.
pub(crate) fn legacy(fields: &Fields) -> Result<Option<ProtocolVersion>, Refusal> {
    match &fields.version {
        Version::Unnamed => Ok(None),
        Version::Known(version) if version.era() == Era::Legacy => Ok(Some(*version)),
        other => Err(Refusal::of_version(other.as_str())),
    }
}

/// Whether a body names a revision as 2026-07-28 does, and one without a handshake.
fn says_modern(message: &Message) -> bool {
    if !message.has(&modern::NAMES_VERSION) {
        return false;
    }
    let params = message.read::<modern::Params<'_>>().unwrap_or_default();
    let Some(version) = params.meta.and_then(|meta| meta.version) else { return false };
    let known = text_of(version).and_then(|text| text.parse::<ProtocolVersion>().ok());
    known.is_none_or(|version| version.era() == Era::Modern)
}

/// Whether a request of 2026-07-28 is whole, and its fields say what its body says.
///
/// The body comes first: what is wrong in it is said before what is wrong beside it.
pub(crate) fn check(
    fields: &Fields,
    message: &Message,
    mirrors: Option<&dyn Mirrors>,
) -> Result<(), Refusal> {
    let method = message.method().unwrap_or_default();
    let view = View::of(message).map_err(|error| invalid(format!("`params`: {error}")))?;
    let meta = view.meta.as_ref();
    let version = meta.and_then(|meta| meta.version).and_then(text_of);
    if message.kind() == Kind::Notification {
        // Nothing is required of their fields but the revision (2026-07-28, transports).
        check_version(fields, version.as_deref().unwrap_or(fields.version.as_str()))?;
        return match &fields.method {
            Mirrored::Missing => Ok(()),
            named => check_field("Mcp-Method", named, method),
        };
    }
    let version = version.ok_or_else(|| missing(modern::PROTOCOL_VERSION, "a text"))?;
    check_version(fields, &version)?;
    let capabilities = meta.and_then(|meta| meta.capabilities);
    if !capabilities.is_some_and(|it| it.get().starts_with('{')) {
        return Err(missing(modern::CLIENT_CAPABILITIES, "an object, which may be empty"));
    }
    let subject = view.subject(method);
    if let Subject::Missing(key) = subject {
        let words = format!("`{method}` needs `params.{key}`, a text that is not empty");
        return Err(Refusal::new(StatusCode::OK, RpcError::INVALID_PARAMS, words));
    }
    check_field("Mcp-Method", &fields.method, method)?;
    let Subject::Named(name) = subject else { return Ok(()) };
    check_field("Mcp-Name", &fields.name, &name)?;
    match mirrors.filter(|_| method == "tools/call").and_then(|it| it.of(&name)) {
        Some(tool) => check_params(fields, &tool, view.arguments),
        None => Ok(()),
    }
}

fn check_version(fields: &Fields, version: &str) -> Result<(), Refusal> {
    if fields.version == Version::Unnamed {
        let words = format!("`MCP-Protocol-Version` is missing, and the body says `{version}`");
        return Err(Refusal::mismatch(words));
    }
    let named = fields.version.as_str();
    if named != version {
        let words = format!("`MCP-Protocol-Version: {named}`, and the body says `{version}`");
        return Err(Refusal::mismatch(words));
    }
    match fields.version.known() {
        Some(known) if known.era() == Era::Modern => Ok(()),
        _ => Err(Refusal::of_unknown_version(version)),
    }
}

fn check_field(name: &str, field: &Mirrored, says: &str) -> Result<(), Refusal> {
    match field {
        Mirrored::Missing => {
            Err(Refusal::mismatch(format!("`{name}` is missing, and the body says `{says}`")))
        }
        // Not shown: it may hold anything.
        Mirrored::Unreadable => Err(Refusal::mismatch(format!(
            "`{name}` cannot be read: it is to be there once, in ASCII"
        ))),
        Mirrored::Text(text) if name == "Mcp-Method" && **text == *says => Ok(()),
        Mirrored::Text(text) if name != "Mcp-Method" && is(text, says) => Ok(()),
        Mirrored::Text(_) => {
            Err(Refusal::mismatch(format!("`{name}` does not say what the body says: `{says}`")))
        }
    }
}

fn check_params(
    fields: &Fields,
    tool: &ToolFields,
    arguments: Option<&str>,
) -> Result<(), Refusal> {
    for (name, value) in tool.values(arguments) {
        let mut all = fields.carried.iter().filter(|(field, _)| **field == *name.as_str());
        let (field, more) = (all.next(), all.next());
        let fits = match (field, value) {
            (Some((_, field)), Some(value)) => more.is_none() && is_value(field, &value),
            (None, None) => true,
            // No value: none is to be mirrored.
            (Some(_), None) | (None, Some(_)) => false,
        };
        if !fits {
            let what =
                if field.is_some() { "does not say what the body says" } else { "is missing" };
            return Err(Refusal::mismatch(format!("`{name}` {what}; ask `tools/list` again")));
        }
    }
    Ok(())
}

/// Whether a field stands for this.
fn is(field: &str, says: &str) -> bool {
    mirror::decode(field).is_some_and(|text| text == says)
}

/// Whether a field stands for the value of a parameter; numbers are compared as such.
fn is_value(field: &str, says: &Written<'_>) -> bool {
    let number = || mirror::integer(field.trim()).is_some_and(|it| it == says.text);
    is(field, &says.text) || says.is_number && number()
}

fn missing(key: &str, what: &str) -> Refusal {
    invalid(format!("`params._meta` needs `{key}`: {what}"))
}

fn invalid(words: String) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, RpcError::INVALID_PARAMS, words)
}

fn text_of(json: &RawValue) -> Option<String> {
    serde_json::from_str(json.get()).ok()
}

#[cfg(test)]
mod tests;
