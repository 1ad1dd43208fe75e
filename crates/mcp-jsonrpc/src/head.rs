//! The envelope of a message: what it is for, and where its parts lie.

use std::ops::Range;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::{
    Id, Kind, ParseError,
    skim::{DEPTH_MAX, Skim},
};

#[derive(Clone, PartialEq)]
pub(crate) struct Head {
    pub(crate) kind: Kind,
    pub(crate) id: Option<(Id, Span)>,
    pub(crate) method: Option<Text>,
    /// `params`, `result` or `error`: whatever the envelope is around.
    pub(crate) body: Option<Span>,
    /// The member `name` of the parameters, where it was passed by and is there once; empty where
    /// that is not known.
    pub(crate) name: Span,
}

pub(crate) type Span = Range<u32>;

/// A JSON string: in place where it is written plainly, apart where it is escaped.
#[derive(Clone, PartialEq)]
pub(crate) enum Text {
    At(Span),
    /// Rare, and so in a box of its own: every message has room for one.
    Apart(Box<Box<str>>),
}

// === impl Head ===

impl Head {
    /// Reads an envelope as it mostly is; none where anything is wrong or unusual about it.
    pub(crate) fn skim(raw: &str, depth_max: usize) -> Option<Self> {
        let depth_max = depth_max.checked_sub(1)?;
        let mut skim = Skim::new(raw);
        let (mut version, mut id, mut method) = (None, None, None);
        let (mut params, mut result, mut error) = (None, None, None);
        let mut named = None;
        let mut members = skim.open_object()?;
        while let Some(name) = members.name(&mut skim)? {
            let name = raw.get(name)?;
            let value = match name {
                "params" => {
                    let at;
                    (at, named) = params_ahead(&mut skim, raw, depth_max)?;
                    at
                }
                _ => skim.ahead(depth_max)?,
            };
            let member = match name {
                "jsonrpc" => &mut version,
                "id" => &mut id,
                "method" => &mut method,
                "params" => &mut params,
                "result" => &mut result,
                "error" => &mut error,
                // It may be another way to write one of them.
                _ if name.contains('\\') => return None,
                _ => continue,
            };
            if member.replace(value).is_some() {
                return None;
            }
        }
        let text = |at: &Range<usize>| raw.get(at.clone());
        if !skim.is_over() || text(&version?)? != "\"2.0\"" {
            return None;
        }
        let method = match method {
            Some(at) => {
                let plain = text(&at)?.strip_prefix('"')?.strip_suffix('"')?;
                Some(Text::At((!plain.contains('\\')).then(|| span_of(raw, plain))?))
            }
            None => None,
        };
        let id = match id {
            Some(at) => Some((Id::read(text(&at)?)?, span(&at))),
            None => None,
        };
        let (kind, body) = match (&method, result, error) {
            (Some(_), None, None) => {
                let is_object = |at: &Range<usize>| text(at).is_some_and(|it| it.starts_with('{'));
                if !params.as_ref().is_none_or(is_object) {
                    return None;
                }
                let kind = if id.is_some() { Kind::Request } else { Kind::Notification };
                (kind, params)
            }
            (None, Some(result), None) if id.is_some() => (Kind::Response, Some(result)),
            (None, None, Some(error)) if text(&error)?.starts_with('{') => {
                (Kind::Error, Some(error))
            }
            _ => return None,
        };
        let name = named.filter(|_| method.is_some()).as_ref().map_or(0..0, span);
        Some(Self { kind, id, method, body: body.as_ref().map(span), name })
    }

    /// What ended at `end` ends at `now`: what is around it, and behind it, moves.
    pub(crate) fn grow(&mut self, end: u32, now: u32) {
        let place = |at: &mut u32| {
            if end <= *at {
                *at = *at - end + now;
            }
        };
        let place = |span: &mut Span| {
            place(&mut span.start);
            place(&mut span.end);
        };
        if let Some((_, at)) = &mut self.id {
            place(at);
        }
        if let Some(Text::At(at)) = &mut self.method {
            place(at);
        }
        if let Some(at) = &mut self.body {
            place(at);
        }
        place(&mut self.name);
    }

    /// Forgets where the name was if it lies in what is about to be replaced, and is not all of it.
    pub(crate) fn replaces(&mut self, at: &Span) {
        let name = &self.name;
        if name != at && name.start < at.end && at.start < name.end {
            self.name = 0..0;
        }
    }

    pub(crate) fn read(raw: &str) -> Result<Self, ParseError> {
        let envelope: Envelope<'_> = serde_json::from_str(raw)?;
        // To serde an array of the members in order would do as well.
        if !is_object(raw) {
            return Err(ParseError::Envelope("not an object"));
        }
        if envelope.jsonrpc.is_none_or(|version| version.get() != "\"2.0\"") {
            return Err(ParseError::Envelope("`jsonrpc` is not \"2.0\""));
        }
        let method = envelope.method.map(|method| read_text(raw, method)).transpose()?;
        let id = match envelope.id {
            // An error about a request whose id could not be read: no schema allows the null, but
            // SDKs write it, as JSON-RPC 2.0 tells them to.
            Some(id) if id.get() == "null" && envelope.error.is_some() && method.is_none() => None,
            id => id.map(|id| read_id(raw, id)).transpose()?,
        };
        let (kind, body) = match (&method, envelope.result, envelope.error) {
            (Some(_), None, None) => {
                check_params(envelope.params)?;
                let kind = if id.is_some() { Kind::Request } else { Kind::Notification };
                (kind, envelope.params)
            }
            (None, Some(_), None) if id.is_none() => {
                return Err(ParseError::Envelope("a result needs an `id`"));
            }
            (None, Some(result), None) => (Kind::Response, Some(result)),
            (None, None, Some(error)) if error.get().starts_with('{') => (Kind::Error, Some(error)),
            (None, None, Some(_)) => {
                return Err(ParseError::Envelope("`error` is not an object"));
            }
            _ => {
                return Err(ParseError::Envelope("want one of `method`, `result`, `error`"));
            }
        };
        let body = body.map(|body| span_of(raw, body.get()));
        Ok(Self { kind, id, method, body, name: 0..0 })
    }
}

/// Goes behind the parameters that are ahead: where they lie, and in them the member `name` if it is
/// written plainly, and neither it nor `arguments` twice.
fn params_ahead(
    skim: &mut Skim<'_>,
    raw: &str,
    depth_max: usize,
) -> Option<(Range<usize>, Option<Range<usize>>)> {
    let start = skim.at();
    let Some(mut members) = skim.open_object() else {
        return skim.ahead(depth_max).map(|at| (at, None));
    };
    let depth_max = depth_max.min(DEPTH_MAX).checked_sub(1)?;
    let (mut name, mut arguments, mut is_plain) = (None, None, true);
    while let Some(member) = members.name(skim)? {
        let value = skim.ahead(depth_max)?;
        let seen = match raw.get(member)? {
            "name" => name.replace(value),
            "arguments" => arguments.replace(value),
            other => {
                is_plain &= memchr::memchr(b'\\', other.as_bytes()).is_none();
                None
            }
        };
        is_plain &= seen.is_none();
    }
    Some((start..skim.at(), name.filter(|_| is_plain)))
}

pub(crate) fn is_object(json: &str) -> bool {
    json.trim_start_matches([' ', '\t', '\n', '\r']).starts_with('{')
}

/// MCP's parameters are objects (JSON-RPC 2.0 would take arrays too).
fn check_params(params: Option<&RawValue>) -> Result<(), ParseError> {
    match params {
        // SDKs of some languages write a missing member as null.
        Some(params) if !params.get().starts_with('{') && params.get() != "null" => {
            Err(ParseError::Envelope("`params` is not an object"))
        }
        _ => Ok(()),
    }
}

/// The members JSON-RPC knows.  Each is kept raw: serde refuses a second copy of any of them.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    jsonrpc: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    method: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    params: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    result: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    error: Option<&'a RawValue>,
}

/// Tells a member that is `null` from one that is missing.
fn present<'de: 'a, 'a, D: Deserializer<'de>>(from: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(from).map(Some)
}

fn read_id(raw: &str, id: &RawValue) -> Result<(Id, Span), ParseError> {
    let wrong = ParseError::Envelope("`id` is neither a string nor an integer of 64 bits");
    Id::read(id.get()).map(|read| (read, span_of(raw, id.get()))).ok_or(wrong)
}

fn read_text(raw: &str, text: &RawValue) -> Result<Text, ParseError> {
    let inner = text.get().strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    match inner {
        Some(plain) if !plain.contains('\\') => Ok(Text::At(span_of(raw, plain))),
        Some(_) => serde_json::from_str(text.get())
            .map(|text| Text::Apart(Box::new(text)))
            .map_err(|_| ParseError::Envelope("`method` is not a Unicode text")),
        None => Err(ParseError::Envelope("`method` is not a string")),
    }
}

fn span(at: &Range<usize>) -> Span {
    at.start as u32..at.end as u32
}

fn span_of(whole: &str, part: &str) -> Span {
    let start = part.as_ptr() as usize - whole.as_ptr() as usize;
    start as u32..(start + part.len()) as u32
}
