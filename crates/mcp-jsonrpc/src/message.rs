//! One message, kept in the bytes it came in.

use std::fmt;

use bytes::Bytes;
use bytestring::ByteString;
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::{
    Id, Limits, ParseError, RpcError,
    head::{Head, Span, Text, is_object},
    needle::Needle,
    object::{Object, pick},
};

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
    /// Found to be UTF-8 once, when it came.
    raw: ByteString,
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
        let raw = ByteString::try_from(raw)?;
        let parts = read_batch(&raw, limits.batch_len_max)?;
        if parts.is_empty() {
            return Err(ParseError::Envelope("empty batch"));
        }
        let part = |part: &&RawValue| {
            let raw = raw.slice_ref(part.get());
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
        let raw: Bytes = raw.into();
        limits.check_len(&raw)?;
        let raw = ByteString::try_from(raw)?;
        let head = match Head::skim(&raw, limits.depth_max) {
            Some(head) => head,
            // Something is wrong with it, or unusual: slower, and with words for it.
            None => {
                limits.check(raw.as_bytes())?;
                Head::read(&raw)?
            }
        };
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

    /// A result of our own that `write` puts together, about `len` bytes long, of parts that have
    /// been read as JSON before: it is not read once more.
    ///
    /// # Errors
    /// It is longer than a message may be, or `write` fails.
    pub fn assembled(
        id: &Id,
        len: usize,
        write: impl FnOnce(&mut String) -> Result<(), ParseError>,
    ) -> Result<Self, ParseError> {
        let own = serde_json::to_string(id)?;
        let mut raw = String::with_capacity(len.saturating_add(64 + own.len()));
        raw.push_str("{\"jsonrpc\":\"2.0\",\"id\":");
        let start = raw.len() as u32;
        raw.push_str(&own);
        let id = (id.clone(), start..raw.len() as u32);
        raw.push_str(",\"result\":");
        let start = raw.len() as u32;
        write(&mut raw)?;
        let max = Limits::default().message_len_max.min(i32::MAX as usize);
        if max <= raw.len() {
            return Err(ParseError::TooLarge { len: raw.len(), max });
        }
        let body = Some(start..raw.len() as u32);
        raw.push('}');
        let head = Head { kind: Kind::Response, id: Some(id), method: None, body, name: 0..0 };
        debug_assert!(Self::parse(raw.clone()).is_ok_and(|it| it.head == head), "no JSON");
        Ok(Self { raw: raw.into(), head })
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

    /// The member `name` of the parameters as it is written, where that was found when the message
    /// was read.  None says nothing: it may be there twice, or in escapes, or have been written since;
    /// [`pick`](Self::pick) looks for it.
    pub fn name(&self) -> Option<&str> {
        self.text(&self.head.name).filter(|name| !name.is_empty())
    }

    /// Reads `params`, `result` or `error` as a type that may borrow from the message.
    pub fn read<'de, T: Deserialize<'de>>(&'de self) -> Result<T, ParseError> {
        let body = self.body().ok_or(ParseError::Envelope("no parameters"))?;
        Ok(serde_json::from_str(body)?)
    }

    /// `params`, `result` or `error`, of which no member is read yet.
    ///
    /// # Errors
    ///
    /// [`ParseError`] where it has none, or it is no object.
    pub fn object(&self) -> Result<Object<'_>, ParseError> {
        Object::parse(self.body().ok_or(ParseError::Envelope("no parameters"))?)
    }

    /// The members of `params`, `result` or `error` that have these names; the others are passed
    /// over at the speed of a search.
    ///
    /// # Errors
    ///
    /// [`ParseError`] where it has none, it is no object, or one of them is there twice.
    pub fn pick<const N: usize>(&self, names: [&str; N]) -> Result<[Option<&str>; N], ParseError> {
        pick(self.body().ok_or(ParseError::Envelope("no parameters"))?, names)
    }

    /// Whether the bytes hold this text anywhere, of a text that is looked for often.
    pub fn has(&self, needle: &Needle) -> bool {
        needle.finder().find(self.raw.as_bytes()).is_some()
    }

    /// Whether the bytes hold this text anywhere: a cheap look before a [`read`](Self::read).
    pub fn mentions(&self, text: &str) -> bool {
        memchr::memmem::find(self.raw.as_bytes(), text.as_bytes()).is_some()
    }

    /// Whether this ends an exchange: a result or an error.
    pub fn is_answer(&self) -> bool {
        matches!(self.head.kind, Kind::Response | Kind::Error)
    }

    /// The bytes, as they came.
    pub fn as_bytes(&self) -> &Bytes {
        self.raw.as_bytes()
    }

    /// The same message in bytes of its own.
    ///
    /// The bytes of a message are mostly a slice of what a connection was read into, and keep all
    /// of that in memory.  Who keeps a message for longer than it travels keeps this one.
    #[must_use]
    pub fn detached(mut self) -> Self {
        self.raw = ByteString::from(&*self.raw);
        self
    }

    /// The bytes on one line.
    ///
    /// JSON escapes line breaks within strings, so a raw one is insignificant and may become a
    /// space without a look at what surrounds it.
    pub fn to_line(&self) -> Bytes {
        let raw = self.as_bytes();
        if memchr::memchr2(b'\n', b'\r', raw).is_none() {
            return raw.clone();
        }
        let space = |&byte: &u8| {
            if matches!(byte, b'\n' | b'\r') { b' ' } else { byte }
        };
        raw.iter().map(space).collect()
    }

    /// The same message under another id; every other byte stays.
    ///
    /// A message that has no id, or has this one already, is returned as it is.
    #[must_use]
    pub fn with_id(&self, id: Id) -> Self {
        let Some((_, at)) = self.head.id.clone().filter(|(own, _)| *own != id) else {
            return self.clone();
        };
        let text = id.text();
        // Texts are always written.
        let Ok(mut edited) = self.spliced(&[(at, With::Text(&text))]) else { return self.clone() };
        if let Some((own, _)) = &mut edited.head.id {
            *own = id;
        }
        edited
    }

    /// The same message with other parameters, or another result, under this id if it has any:
    /// both at once, because what is long is copied each time.
    ///
    /// # Errors
    ///
    /// [`ParseError`] where it has no parameters and no result.
    pub fn with_object(&self, id: &Id, with: &Object<'_>) -> Result<Self, ParseError> {
        let body = self.head.body.clone().ok_or(ParseError::Envelope("no parameters"))?;
        let body = (body, With::Object(with));
        let text = id.text();
        let mut edited = match &self.head.id {
            Some((own, at)) if own != id => {
                let id = (at.clone(), With::Text(&text));
                let edits = if at.start < body.0.start { [id, body] } else { [body, id] };
                self.spliced(&edits)?
            }
            _ => return self.spliced(&[body]),
        };
        if let Some((own, _)) = &mut edited.head.id {
            own.clone_from(id);
        }
        Ok(edited)
    }

    /// The same message with one part of its body, as [`read`](Self::read) lent it, written anew.
    ///
    /// # Errors
    ///
    /// [`ParseError`] where the part is none of this message's, or what is written in its place
    /// cannot be.
    pub fn with_part(&self, part: &RawValue, with: &impl Serialize) -> Result<Self, ParseError> {
        self.with_text(part.get(), &serde_json::to_string(with)?)
    }

    /// The same for a part that [`pick`](Self::pick) lent, and JSON that is written already.
    ///
    /// # Errors
    ///
    /// [`ParseError`] where the part is none of this message's.
    pub fn with_text(&self, part: &str, json: &str) -> Result<Self, ParseError> {
        self.with_at(part, With::Text(json))
    }

    /// The same for a name that takes the place of a part: mostly nothing in it is to be escaped.
    ///
    /// # Errors
    ///
    /// As above.
    pub fn with_name(&self, part: &str, name: &str) -> Result<Self, ParseError> {
        if name.bytes().any(|byte| matches!(byte, ..b' ' | b'"' | b'\\')) {
            return self.with_text(part, &serde_json::to_string(name)?);
        }
        self.with_at(part, With::Name(name))
    }

    fn with_at(&self, part: &str, with: With<'_>) -> Result<Self, ParseError> {
        let body = self.head.body.as_ref().ok_or(ParseError::Envelope("no parameters"))?;
        let inside = self.text(body).unwrap_or_default().as_bytes();
        let part = part.as_bytes();
        let range = part.as_ptr_range();
        if !(inside.as_ptr_range().start <= range.start && range.end <= inside.as_ptr_range().end) {
            return Err(ParseError::Envelope("part of another message"));
        }
        let start = (range.start as usize - self.raw.as_ptr() as usize) as u32;
        let at = start..start + part.len() as u32;
        self.spliced(&[(at, with)])
    }

    /// The same message with other parameters, or another result.
    ///
    /// # Errors
    ///
    /// [`ParseError`] where it has none, or they cannot be written.
    pub fn with_body(&self, with: &impl Serialize) -> Result<Self, ParseError> {
        let body = self.head.body.as_ref().ok_or(ParseError::Envelope("no parameters"))?;
        self.spliced(&[(body.clone(), With::Text(&serde_json::to_string(with)?))])
    }

    /// Replaces values, which are named in their order.  Spans around them grow, spans after them
    /// move.
    fn spliced(&self, edits: &[(Span, With<'_>)]) -> Result<Self, ParseError> {
        // Exactly: bytes with room to spare are kept in another way, which costs one more place.
        let old = edits.iter().map(|(at, _)| at.len()).sum::<usize>();
        let new = edits.iter().map(|(_, with)| with.len_about()).sum::<usize>();
        let mut out = String::with_capacity((self.raw.len() + new).saturating_sub(old));
        let mut head = self.head.clone();
        edits.iter().for_each(|(at, _)| head.replaces(at));
        let mut from = 0;
        for (at, with) in edits {
            out.push_str(self.text(&(from..at.start)).unwrap_or_default());
            let start = out.len();
            with.write(&mut out)?;
            from = at.end;
            head.grow(start as u32 + at.end - at.start, out.len() as u32);
        }
        out.push_str(self.raw.get(from as usize..).unwrap_or_default());
        Ok(Self { raw: out.into(), head })
    }

    fn write(outgoing: &impl Serialize) -> Result<Self, ParseError> {
        Self::parse(serde_json::to_string(outgoing)?)
    }

    fn text(&self, span: &Span) -> Option<&str> {
        self.raw.get(span.start as usize..span.end as usize)
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

/// What takes a value's place.
enum With<'a> {
    Text(&'a str),
    /// What stands between quotes.
    Name(&'a str),
    Object(&'a Object<'a>),
}

impl With<'_> {
    fn len_about(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Name(name) => name.len() + 2,
            Self::Object(object) => object.len_about(),
        }
    }

    fn write(&self, out: &mut String) -> Result<(), ParseError> {
        match self {
            Self::Text(text) => {
                out.push_str(text);
                Ok(())
            }
            Self::Name(name) => {
                ["\"", name, "\""].into_iter().for_each(|part| out.push_str(part));
                Ok(())
            }
            Self::Object(object) => object.write(out),
        }
    }
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
