//! The fields beside the body.

use hyper::{
    HeaderMap,
    header::{ACCEPT, CONTENT_TYPE, HeaderName, HeaderValue},
};
use mcp_jsonrpc::{
    ProtocolVersion,
    transport::{EventId, SessionId},
};

/// The session, in both directions.
pub const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
/// The revision a request speaks.
pub const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
/// The event to resume after (to 2025-11-25).
pub const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// What tool parameters mirrored into fields start with; passed on unread.
pub const PARAM_PREFIX: &str = "mcp-param-";

/// What the fields of a request say.
#[derive(Debug, Default)]
pub struct Fields {
    /// The revision.
    pub version: Version,
    /// The session.
    pub session: Session,
    /// The event to resume after.
    pub after: Option<EventId>,
    /// The method, as mirrored from the body (2026-07-28).
    pub method: Mirrored,
    /// What the request is about, as mirrored from the body (2026-07-28).
    pub name: Mirrored,
    /// What to pass on unread.
    pub carried: Vec<(Box<str>, Box<str>)>,
}

/// The revision a request names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Version {
    /// None: of 2025-03-26, or of a client that leaves it out.
    #[default]
    Unnamed,
    /// One of ours.
    Known(ProtocolVersion),
    /// Something else, as written.
    Unknown(Box<str>),
}

/// A field that repeats what the body says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Mirrored {
    /// Not there.
    #[default]
    Missing,
    /// As it came, not decoded.
    Text(Box<str>),
    /// There twice, or with what no such field may hold.
    Unreadable,
}

/// The session a request names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Session {
    /// None.
    #[default]
    Unnamed,
    /// One that may exist.
    Named(SessionId),
    /// What cannot be a session's id, and so is nobody's.
    Malformed,
}

/// What a client can take as an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accept {
    /// `application/json`.
    pub json: bool,
    /// `text/event-stream`.
    pub events: bool,
}

// === impl Fields ===

impl Fields {
    /// Reads them; `besides` is one more to pass on.
    pub fn read(headers: &HeaderMap, besides: Option<&HeaderName>) -> Self {
        let mut fields = Self::default();
        for (name, value) in headers {
            // Most of them are of no concern here, and begin otherwise.
            let may_be =
                matches!(name.as_str().as_bytes().first(), Some(b'b' | b'l' | b'm' | b't'));
            if !may_be && besides != Some(name) {
                continue;
            }
            let carries = || value.to_str().ok().map(|it| (name.as_str().into(), it.into()));
            match name.as_str() {
                "mcp-session-id" => {
                    let id = std::str::from_utf8(value.as_bytes()).ok().and_then(SessionId::new);
                    // Two of them are none: the next reader might believe the other one.
                    let id = id.filter(|_| fields.session == Session::Unnamed);
                    fields.session = id.map_or(Session::Malformed, Session::Named);
                }
                "mcp-protocol-version" => {
                    fields.version = fields.version.and(Version::read(value.as_bytes()));
                }
                "mcp-method" => fields.method = fields.method.and(value),
                "mcp-name" => fields.name = fields.name.and(value),
                "last-event-id" => fields.after = value.to_str().ok().and_then(EventId::new),
                "traceparent" | "tracestate" | "baggage" => fields.carried.extend(carries()),
                other if other.starts_with(PARAM_PREFIX) => fields.carried.extend(carries()),
                _ if besides == Some(name) => fields.carried.extend(carries()),
                _ => (),
            }
        }
        fields
    }
}

// === impl Mirrored ===

impl Mirrored {
    /// What this and another field of the name come to.
    fn and(self, value: &HeaderValue) -> Self {
        match (self, value.to_str()) {
            (Self::Missing, Ok(text)) => Self::Text(text.trim().into()),
            _ => Self::Unreadable,
        }
    }
}

// === impl Version ===

impl Version {
    /// What this and another field of the name come to: one that says the same is none.
    fn and(self, other: Self) -> Self {
        match self {
            Self::Unnamed => other,
            one if one == other => one,
            one => Self::Unknown(format!("{}, {}", one.as_str(), other.as_str()).into()),
        }
    }

    /// As written.
    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::Unnamed => "",
            Self::Known(version) => version.as_str(),
            Self::Unknown(text) => text,
        }
    }

    fn read(value: &[u8]) -> Self {
        let text = String::from_utf8_lossy(value);
        let text = text.trim();
        text.parse().map_or_else(|_| Self::Unknown(text.into()), Self::Known)
    }

    /// The revision, if it is one of ours.
    pub fn known(&self) -> Option<ProtocolVersion> {
        match self {
            Self::Known(version) => Some(*version),
            Self::Unnamed | Self::Unknown(_) => None,
        }
    }
}

// === impl Accept ===

impl Accept {
    const BOTH: Self = Self { json: true, events: true };

    /// Reads what a request accepts (RFC 9110 §12.5.1); without a word it accepts everything.
    pub fn read(headers: &HeaderMap) -> Self {
        match headers.get(ACCEPT).map(HeaderValue::as_bytes) {
            // As the SDKs write it.
            None | Some(b"application/json, text/event-stream") => return Self::BOTH,
            Some(_) => (),
        }
        let mut accept = Self { json: false, events: false };
        let values = headers.get_all(ACCEPT).iter().filter_map(|it| it.to_str().ok());
        for range in values.flat_map(|value| value.split(',')) {
            let mut parts = range.split(';').map(str::trim);
            let range = parts.next().unwrap_or_default();
            if parts.any(is_zero) {
                continue;
            }
            let is = |name: &str| range.eq_ignore_ascii_case(name);
            accept.json |= is("application/json") || is("application/*") || is("*/*");
            accept.events |= is("text/event-stream") || is("text/*") || is("*/*");
        }
        accept
    }

    /// Whether both are named outright, as the specification wants it.
    pub fn is_complete(headers: &HeaderMap) -> bool {
        let values = headers.get_all(ACCEPT).iter().filter_map(|it| it.to_str().ok());
        let named: Vec<&str> = values
            .flat_map(|value| value.split(','))
            .map(|range| range.split(';').next().unwrap_or_default().trim())
            .collect();
        let names = |name: &str| named.iter().any(|it| it.eq_ignore_ascii_case(name));
        names("application/json") && names("text/event-stream")
    }
}

/// `q=0` in all its spellings: not acceptable.
fn is_zero(parameter: &str) -> bool {
    let weight = parameter.strip_prefix("q=").or_else(|| parameter.strip_prefix("Q="));
    weight.is_some_and(|weight| weight.parse::<f32>().is_ok_and(|weight| weight == 0.0))
}

/// Whether the body says it is JSON; none if it does not say what it is.
pub fn is_json(headers: &HeaderMap) -> Option<bool> {
    let content = headers.get(CONTENT_TYPE)?;
    if content.as_bytes() == b"application/json" {
        return Some(true);
    }
    let content = content.to_str().unwrap_or_default();
    let essence = content.split(';').next().unwrap_or_default().trim();
    Some(essence.eq_ignore_ascii_case("application/json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let field =
            |&(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value));
        fields.iter().map(field).collect()
    }

    #[test]
    fn what_is_acceptable() {
        for (value, json, events) in [
            ("application/json, text/event-stream", true, true),
            ("text/event-stream;q=0.5,application/json", true, true),
            ("*/*", true, true),
            ("application/*", true, false),
            ("Application/JSON; q=0.9", true, false),
            ("text/event-stream", false, true),
            ("application/json, text/event-stream;q=0.0", true, false),
            ("text/html", false, false),
            ("", false, false),
        ] {
            let found = Accept::read(&headers(&[("accept", value)]));
            assert_eq!(found, Accept { json, events }, "{value}");
        }
        assert_eq!(Accept::read(&headers(&[])), Accept::BOTH);
        let two = headers(&[("accept", "application/json"), ("accept", "text/event-stream")]);
        assert!(Accept::is_complete(&two));
        assert!(!Accept::is_complete(&headers(&[("accept", "*/*")])));
    }

    #[test]
    fn what_fields_say() {
        let besides = HeaderName::from_static("x-conversation");
        let sent = headers(&[
            ("mcp-session-id", "abc"),
            ("mcp-protocol-version", " 2025-06-18 "),
            ("last-event-id", "s/7"),
            ("mcp-param-region", "eu"),
            ("traceparent", "00-1-2-3"),
            ("x-conversation", "c1"),
            ("cookie", "secret"),
        ]);
        let fields = Fields::read(&sent, Some(&besides));
        assert_eq!(fields.version, Version::Known(ProtocolVersion::V2025_06_18));
        assert!(matches!(fields.session, Session::Named(id) if id.as_str() == "abc"));
        assert_eq!(fields.after.unwrap().as_str(), "s/7");
        let carried: Vec<_> = fields.carried.iter().map(|(name, _)| &**name).collect();
        assert_eq!(carried, ["mcp-param-region", "traceparent", "x-conversation"]);
        assert_eq!(Fields::read(&sent, None).carried.len(), 2);

        let odd = Fields::read(
            &headers(&[("mcp-session-id", "a b"), ("mcp-protocol-version", "1")]),
            None,
        );
        assert_eq!(odd.session, Session::Malformed);
        assert_eq!(odd.version, Version::Unknown("1".into()));
    }
}
