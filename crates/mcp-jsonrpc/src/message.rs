//! One message, kept in the bytes it came in.

use std::{fmt, ops::Range};

use bytes::{Bytes, BytesMut};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::{Id, Limits, ParseError, RpcError};

/// What a POST body or a line of stdio may hold.
#[derive(Clone, Debug)]
pub enum Frame {
    /// One message, in every revision.
    One(Message),
    /// Several at once, in 2025-03-26 alone.
    Batch(Vec<Message>),
}

/// A JSON-RPC message: the bytes, and where its envelope lies in them.
///
/// Cloning copies no bytes.  Members of the envelope named twice are refused, because the next
/// reader might believe the other one.
#[derive(Clone)]
pub struct Message {
    raw: Bytes,
    head: Head,
}

/// What a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Asks, and waits for a response under its id.
    Request,
    /// Tells, and waits for nothing.
    Notification,
    /// Answers with a `result`.
    Response,
    /// Answers with an `error`.
    Error,
}

#[derive(Clone)]
struct Head {
    kind: Kind,
    id: Option<(Id, Span)>,
    method: Option<Text>,
    /// `params`, `result` or `error`: whatever the envelope is around.
    body: Option<Span>,
}

type Span = Range<u32>;

/// A JSON string: in place where it is written plainly, apart where it is escaped.
#[derive(Clone)]
enum Text {
    At(Span),
    Apart(Box<str>),
}

// === impl Frame ===

impl Frame {
    /// Reads one message or a batch of them, within the default [`Limits`].
    pub fn parse(raw: impl Into<Bytes>) -> Result<Self, ParseError> {
        Self::parse_within(raw, &Limits::default())
    }

    /// Reads one message or a batch of them.
    ///
    /// A batch with one bad part is bad as a whole: which of the others its sender still meant is
    /// anybody's guess.
    pub fn parse_within(raw: impl Into<Bytes>, limits: &Limits) -> Result<Self, ParseError> {
        let raw = raw.into();
        if raw.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'[') {
            return Message::parse_within(raw, limits).map(Self::One);
        }
        limits.check(&raw)?;
        let parts = read_batch(std::str::from_utf8(&raw)?, limits.batch_len_max)?;
        if parts.is_empty() {
            return Err(ParseError::Envelope("empty batch"));
        }
        let part = |part: &&RawValue| {
            let raw = raw.slice_ref(part.get().as_bytes());
            Ok(Message { head: Head::read(part.get())?, raw })
        };
        parts.iter().map(part).collect::<Result<_, _>>().map(Self::Batch)
    }
}

// === impl Message ===

impl Message {
    /// Reads the envelope of one message, within the default [`Limits`]; no copies.
    pub fn parse(raw: impl Into<Bytes>) -> Result<Self, ParseError> {
        Self::parse_within(raw, &Limits::default())
    }

    /// Reads the envelope of one message; no copies.
    pub fn parse_within(raw: impl Into<Bytes>, limits: &Limits) -> Result<Self, ParseError> {
        let raw = raw.into();
        limits.check(&raw)?;
        let head = Head::read(std::str::from_utf8(&raw)?)?;
        Ok(Self { raw, head })
    }

    /// The id of what is no message, where one can be made out: so that even the refusal of a
    /// malformed request says which request it refuses.
    pub fn salvage_id(raw: &[u8]) -> Option<Id> {
        #[derive(Deserialize)]
        struct Salvage<'a> {
            #[serde(borrow)]
            id: &'a RawValue,
        }
        let text = std::str::from_utf8(raw).ok().filter(|text| is_object(text))?;
        Id::read(serde_json::from_str::<Salvage<'_>>(text).ok()?.id.get())
    }

    /// A request of our own.
    pub fn request(id: &Id, method: &str, params: &impl Serialize) -> Result<Self, ParseError> {
        Self::write(&Asking { jsonrpc: "2.0", id: Some(id), method, params })
    }

    /// A notification of our own.
    pub fn notification(method: &str, params: &impl Serialize) -> Result<Self, ParseError> {
        Self::write(&Asking { jsonrpc: "2.0", id: None, method, params })
    }

    /// A result of our own.
    pub fn response(id: &Id, result: &impl Serialize) -> Result<Self, ParseError> {
        let answer = Answer::Result(result);
        Self::write(&Answering { jsonrpc: "2.0", id: Some(id), answer })
    }

    /// An error of our own; without an id where the request's could not be read.
    pub fn error(id: Option<&Id>, error: &RpcError) -> Result<Self, ParseError> {
        let answer = Answer::<()>::Error(error);
        Self::write(&Answering { jsonrpc: "2.0", id, answer })
    }

    /// What the message is for.
    pub fn kind(&self) -> Kind {
        self.head.kind
    }

    /// The id a request asks under or a response answers to.
    pub fn id(&self) -> Option<&Id> {
        self.head.id.as_ref().map(|(id, _)| id)
    }

    /// The method of a request or notification.
    pub fn method(&self) -> Option<&str> {
        match self.head.method.as_ref()? {
            Text::At(span) => self.text(span),
            Text::Apart(text) => Some(text),
        }
    }

    /// `params`, `result` or `error`, unread.
    pub fn body(&self) -> Option<&str> {
        self.text(self.head.body.as_ref()?)
    }

    /// Reads `params`, `result` or `error` as a type that may borrow from the message.
    pub fn read<'de, T: Deserialize<'de>>(&'de self) -> Result<T, ParseError> {
        let body = self.body().ok_or(ParseError::Envelope("no parameters"))?;
        Ok(serde_json::from_str(body)?)
    }

    /// Whether the bytes hold this text anywhere: a cheap look before a [`read`](Self::read).
    pub fn mentions(&self, text: &str) -> bool {
        memchr::memmem::find(&self.raw, text.as_bytes()).is_some()
    }

    /// Whether this ends an exchange: a result or an error.
    pub fn is_answer(&self) -> bool {
        matches!(self.head.kind, Kind::Response | Kind::Error)
    }

    /// The bytes, as they came.
    pub fn as_bytes(&self) -> &Bytes {
        &self.raw
    }

    /// The same message in bytes of its own.
    ///
    /// The bytes of a message are mostly a slice of what a connection was read into, and keep all
    /// of that in memory.  Who keeps a message for longer than it travels keeps this one.
    #[must_use]
    pub fn detached(mut self) -> Self {
        self.raw = Bytes::copy_from_slice(&self.raw);
        self
    }

    /// The bytes on one line.
    ///
    /// JSON escapes line breaks within strings, so a raw one is insignificant and may become a
    /// space without a look at what surrounds it.
    pub fn to_line(&self) -> Bytes {
        if memchr::memchr2(b'\n', b'\r', &self.raw).is_none() {
            return self.raw.clone();
        }
        let space = |&byte: &u8| {
            if matches!(byte, b'\n' | b'\r') { b' ' } else { byte }
        };
        self.raw.iter().map(space).collect()
    }

    /// The same message under another id; every other byte stays.
    ///
    /// A message that has no id is returned as it is.
    #[must_use]
    pub fn with_id(&self, id: Id) -> Self {
        let Some((_, at)) = self.head.id.clone() else {
            return self.clone();
        };
        let text = match &id {
            Id::Number(number) => number.to_string(),
            Id::Text(_) => id.to_string(),
        };
        let mut edited = self.spliced(&at, text.as_bytes());
        edited.head.id = Some((id, at.start..at.start + text.len() as u32));
        edited
    }

    /// The same message with one part of its body, as [`read`](Self::read) lent it, written anew.
    pub fn with_part(&self, part: &RawValue, with: &impl Serialize) -> Result<Self, ParseError> {
        let body = self.head.body.as_ref().ok_or(ParseError::Envelope("no parameters"))?;
        let inside = self.raw.get(body.start as usize..body.end as usize).unwrap_or_default();
        let part = part.get().as_bytes();
        let range = part.as_ptr_range();
        if !(inside.as_ptr_range().start <= range.start && range.end <= inside.as_ptr_range().end) {
            return Err(ParseError::Envelope("part of another message"));
        }
        let start = (range.start as usize - self.raw.as_ptr() as usize) as u32;
        let at = start..start + part.len() as u32;
        Ok(self.spliced(&at, &serde_json::to_vec(with)?))
    }

    /// The same message with other parameters, or another result.
    ///
    /// # Errors
    ///
    /// [`ParseError`] where it has none, or they cannot be written.
    pub fn with_body(&self, with: &impl Serialize) -> Result<Self, ParseError> {
        let body = self.head.body.as_ref().ok_or(ParseError::Envelope("no parameters"))?;
        Ok(self.spliced(body, &serde_json::to_vec(with)?))
    }

    /// Replaces one value.  Spans around it grow, spans after it move.
    fn spliced(&self, at: &Span, with: &[u8]) -> Self {
        let grown = with.len() as i64 - i64::from(at.end - at.start);
        let moved = |place: u32| (i64::from(place) + grown) as u32;
        let adjust = |span: &Span| match () {
            () if span.end <= at.start => span.clone(),
            () if at.end <= span.start => moved(span.start)..moved(span.end),
            () => span.start..moved(span.end),
        };
        let mut head = self.head.clone();
        head.id = head.id.map(|(id, span)| (id, adjust(&span)));
        head.body = head.body.as_ref().map(adjust);
        if let Some(Text::At(span)) = &mut head.method {
            *span = adjust(span);
        }
        Self { raw: splice(&self.raw, at, with), head }
    }

    fn write(outgoing: &impl Serialize) -> Result<Self, ParseError> {
        Self::parse(serde_json::to_vec(outgoing)?)
    }

    fn text(&self, span: &Span) -> Option<&str> {
        let bytes = self.raw.get(span.start as usize..span.end as usize)?;
        std::str::from_utf8(bytes).ok()
    }
}

impl fmt::Debug for Message {
    /// Shows the envelope only: bodies hold other people's secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("kind", &self.kind())
            .field("id", &self.id())
            .field("method", &self.method())
            .field("bytes", &self.raw.len())
            .finish()
    }
}

// === impl Head ===

impl Head {
    fn read(raw: &str) -> Result<Self, ParseError> {
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
        Ok(Self { kind, id, method, body: body.map(|body| span_of(raw, body.get())) })
    }
}

fn is_object(json: &str) -> bool {
    json.trim_start_matches([' ', '\t', '\n', '\r']).starts_with('{')
}

/// The parts of a batch, unread.  What is too long is not kept: its parts may be as many as bytes.
fn read_batch(raw: &str, len_max: usize) -> Result<Vec<&RawValue>, ParseError> {
    struct Parts {
        len_max: usize,
        too_long: bool,
    }
    impl<'de> Visitor<'de> for &mut Parts {
        type Value = Vec<&'de RawValue>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a batch of messages")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            let mut parts = Vec::new();
            while let Some(part) = seq.next_element()? {
                if parts.len() == self.len_max {
                    self.too_long = true;
                    break;
                }
                parts.push(part);
            }
            Ok(parts)
        }
    }
    let mut parts = Parts { len_max, too_long: false };
    let mut json = serde_json::Deserializer::from_str(raw);
    let read = json.deserialize_seq(&mut parts);
    if parts.too_long {
        return Err(ParseError::BatchTooLong { max: len_max });
    }
    let read = read?;
    json.end()?;
    Ok(read)
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
            .map(Text::Apart)
            .map_err(|_| ParseError::Envelope("`method` is not a Unicode text")),
        None => Err(ParseError::Envelope("`method` is not a string")),
    }
}

fn span_of(whole: &str, part: &str) -> Span {
    let start = part.as_ptr() as usize - whole.as_ptr() as usize;
    start as u32..(start + part.len()) as u32
}

fn splice(raw: &Bytes, at: &Span, with: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(raw.len() + with.len());
    out.extend_from_slice(&raw.slice(..at.start as usize));
    out.extend_from_slice(with);
    out.extend_from_slice(&raw.slice(at.end as usize..));
    out.freeze()
}

#[derive(Serialize)]
struct Asking<'a, P> {
    jsonrpc: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a Id>,
    method: &'a str,
    params: P,
}

#[derive(Serialize)]
struct Answering<'a, R> {
    jsonrpc: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a Id>,
    #[serde(flatten)]
    answer: Answer<'a, R>,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Answer<'a, R> {
    Result(R),
    Error(&'a RpcError),
}
