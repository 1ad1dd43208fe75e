//! `text/event-stream`, read and written.
//!
//! Nothing here does I/O: [`Decoder`] is fed chunks however they were cut and yields items,
//! [`encode`] yields the bytes of one event.  The rules are those of the HTML standard,
//! "Interpreting an event stream".

use std::{collections::VecDeque, time::Duration};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use mcp_jsonrpc::{
    Frame, Id, Limits, Message, ParseError, Salvaged,
    transport::{Event, EventId},
};

use self::long::Long;

mod long;

/// The content type.
pub const CONTENT_TYPE: &str = "text/event-stream";

/// A comment: keeps a quiet connection open and means nothing.
pub const KEEP_ALIVE: Bytes = Bytes::from_static(b": \n\n");

/// What an event may hold besides its message: names, ids, and the colons between.
const FIELDS_LEN_MAX: usize = 8 << 10;

/// The longest event id kept, in bytes.  Nothing can be resumed after a longer one.
const EVENT_ID_LEN_MAX: usize = 4 << 10;

/// How many digits a number has at most.
const DIGITS_MAX: usize = 20;

/// Up to this size a message is copied beside its fields; a longer one goes out by itself.
const COPY_LEN_MAX: usize = 4 << 10;

/// What a stream holds.
#[derive(Debug)]
pub enum Item {
    /// Where to post, in the server's words: for the one who reads this stream, and no one else.
    Endpoint(Box<str>),
    /// What travels on.
    Event(Event),
    /// A `message` event that holds no message, or one that is too long.  The stream goes on after
    /// it.
    Malformed {
        /// The request it was to answer, where that could be made out.
        id: Option<Id>,
        /// Whether it is certain that it was to answer none.
        asks: bool,
        /// What is wrong with it.
        error: ParseError,
    },
}

/// Turns chunks into items.
///
/// An event whose data is one line within one chunk is not copied: its message is a slice of the
/// chunk.
#[derive(Debug)]
pub struct Decoder {
    limits: Limits,
    /// What is left of what was fed.
    chunk: Bytes,
    /// The beginning of a line whose end has not come.
    partial: BytesMut,
    /// The last line ended in CR, so that an LF right here belongs to the same ending.
    after_cr: bool,
    /// No line has come yet: the first may start with a byte order mark.
    at_start: bool,
    block: Block,
    /// The bytes of the lines of `block`.
    block_len: usize,
    /// The event that is too long, until its end has come.
    long: Option<Long>,
    last_id: Option<EventId>,
    /// The rest of a batch (2025-03-26).
    batch: VecDeque<Message>,
}

/// The fields of an event up to its empty line.
#[derive(Debug, Default)]
struct Block {
    name: Option<Bytes>,
    /// An id, or that there is none from now on.
    id: Option<Option<EventId>>,
    retry: Option<Duration>,
    data: Data,
}

/// The data lines of an event, joined by LF.
#[derive(Debug, Default)]
enum Data {
    #[default]
    None,
    One(Bytes),
    Many(BytesMut),
}

// === impl Decoder ===

impl Decoder {
    /// A decoder that takes messages within these limits, and events not much longer.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            chunk: Bytes::new(),
            partial: BytesMut::new(),
            after_cr: false,
            at_start: true,
            block: Block::default(),
            block_len: 0,
            long: None,
            last_id: None,
            batch: VecDeque::new(),
        }
    }

    /// Takes the next chunk.  Cheapest when [`next_item`](Self::next_item) has said none before.
    pub fn feed(&mut self, chunk: Bytes) {
        if self.chunk.is_empty() {
            self.chunk = chunk;
        } else {
            let mut both = BytesMut::with_capacity(self.chunk.len() + chunk.len());
            both.extend_from_slice(&self.chunk);
            both.extend_from_slice(&chunk);
            self.chunk = both.freeze();
        }
    }

    /// Yields the next item, if the chunks so far hold one.
    ///
    /// Of an event that is too long no more is kept than two ends of a few KiB, until it is over.
    pub fn next_item(&mut self) -> Option<Item> {
        if let Some(message) = self.batch.pop_front() {
            return Some(Item::Event(message.into()));
        }
        while let Some((block, long)) = self.next_block() {
            let item = match long {
                Some(long) if 0 < long.len => self.refuse(&block, &long),
                _ => self.read(block),
            };
            if item.is_some() {
                return item;
            }
        }
        None
    }

    /// The id after which the stream can be resumed: the last one named, also by an event that
    /// said nothing else.
    pub fn last_event_id(&self) -> Option<&EventId> {
        self.last_id.as_ref()
    }

    /// Whether the stream stands inside an event, so that its end here would lose something.
    pub fn is_mid_event(&self) -> bool {
        !self.partial.is_empty() || self.block_len != 0 || self.long.is_some()
    }

    /// The next event that says anything at all, and whether it was too long.
    fn next_block(&mut self) -> Option<(Block, Option<Long>)> {
        loop {
            let is_over = match self.long.is_some() {
                true => self.skip_line()?,
                false => match self.next_line()? {
                    // Too long from here on.
                    None => false,
                    Some(line) if line.is_empty() => true,
                    Some(line) => {
                        self.block_len += line.len() + 1;
                        self.block.take(line);
                        false
                    }
                },
            };
            if !is_over {
                continue;
            }
            self.block_len = 0;
            let (block, long) = (std::mem::take(&mut self.block), self.long.take());
            if let Some(id) = &block.id {
                self.last_id.clone_from(id);
            }
            if !block.is_empty() || long.is_some() {
                return Some((block, long));
            }
        }
    }

    /// Cuts the next line off, without its ending: LF, CR or CRLF.  None if its end has not come;
    /// none inside where the event is too long with it.
    fn next_line(&mut self) -> Option<Option<Bytes>> {
        self.skip_lf();
        let found = memchr::memchr2(b'\n', b'\r', &self.chunk);
        let max = self.limits.message_len_max.saturating_add(FIELDS_LEN_MAX);
        if max < self.block_len + self.partial.len() + found.unwrap_or(self.chunk.len()) {
            let mut line: &[u8] = &std::mem::take(&mut self.partial);
            if std::mem::take(&mut self.at_start) {
                line = line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(line);
            }
            self.long = Some(Long::of(std::mem::take(&mut self.block.data), line));
            return Some(None);
        }
        let Some(at) = found else {
            self.partial.extend_from_slice(&self.chunk);
            // Not `clear`, which would keep what the connection was read into.
            self.chunk = Bytes::new();
            return None;
        };
        let mut line = self.cut(at);
        if !self.partial.is_empty() {
            self.partial.extend_from_slice(&line);
            line = std::mem::take(&mut self.partial).freeze();
        }
        if std::mem::take(&mut self.at_start) && line.starts_with("\u{feff}".as_bytes()) {
            line.advance("\u{feff}".len());
        }
        Some(Some(line))
    }

    /// Reads over the next line of an event that is too long; whether that was its last.  None if
    /// the end of the line has not come.
    fn skip_line(&mut self) -> Option<bool> {
        self.skip_lf();
        let Some(at) = memchr::memchr2(b'\n', b'\r', &self.chunk) else {
            self.long.as_mut()?.take(&std::mem::take(&mut self.chunk));
            return None;
        };
        let piece = self.cut(at);
        let long = self.long.as_mut()?;
        long.take(&piece);
        Some(long.end_line(&mut self.block))
    }

    /// Drops the LF of a CRLF that was cut between them.
    fn skip_lf(&mut self) {
        if self.after_cr
            && let Some(&first) = self.chunk.first()
        {
            self.after_cr = false;
            if first == b'\n' {
                self.chunk.advance(1);
            }
        }
    }

    /// Cuts off what is before the end of a line, which is there, and drops that end.
    fn cut(&mut self, at: usize) -> Bytes {
        let line = self.chunk.split_to(at);
        // Whether the LF of a CRLF follows is not waited for: it may come late, or never.
        self.after_cr = self.chunk.first() == Some(&b'\r');
        self.chunk.advance(1);
        line
    }

    /// What an event comes to that is too long.
    fn refuse(&self, block: &Block, long: &Long) -> Option<Item> {
        if !block.is_message() {
            return None;
        }
        let found = long.salvaged();
        let error = ParseError::TooLarge { len: long.len, max: self.limits.message_len_max };
        Some(Item::Malformed { id: found.id.filter(|_| !found.asks), asks: found.asks, error })
    }

    /// What an event means here; none if nothing.
    fn read(&mut self, block: Block) -> Option<Item> {
        let Block { name, id, retry, data } = block;
        let data = data.into_bytes().unwrap_or_default();
        match name.as_deref() {
            None | Some(b"" | b"message") => (),
            Some(b"endpoint") => {
                return Some(Item::Endpoint(String::from_utf8_lossy(&data).into()));
            }
            // Whatever it is for, it is not for us.
            Some(_) => return None,
        }
        let id = id.flatten();
        if data.is_empty() {
            let says = id.is_some() || retry.is_some();
            return says.then_some(Item::Event(Event::Pause { id, retry }));
        }
        match Frame::parse_within(repaired(data.clone()), &self.limits) {
            Ok(Frame::One(message)) => Some(Item::Event(Event::Message { id, message })),
            Ok(Frame::Batch(messages)) => {
                self.batch.extend(messages);
                self.batch.pop_front().map(|message| Item::Event(message.into()))
            }
            Err(error) => {
                let found = Salvaged::from_line(&data);
                let id = Message::salvage_id(&data).or(found.id).filter(|_| !found.asks);
                Some(Item::Malformed { id, asks: found.asks, error })
            }
        }
    }
}

/// UTF-8 decoded as the standard says: what is none becomes U+FFFD.
fn repaired(data: Bytes) -> Bytes {
    match std::str::from_utf8(&data) {
        Ok(_) => data,
        Err(_) => String::from_utf8_lossy(&data).into_owned().into(),
    }
}

// === impl Block ===

impl Block {
    /// Takes one line that is not empty.
    fn take(&mut self, line: Bytes) {
        let colon = memchr::memchr(b':', &line).unwrap_or(line.len());
        let mut value = line.slice((colon + 1).min(line.len())..);
        if value.first() == Some(&b' ') {
            value.advance(1);
        }
        match line.get(..colon).unwrap_or_default() {
            b"data" => self.data.push(value),
            b"event" => self.name = Some(value),
            b"id" if !value.contains(&0) && value.len() <= EVENT_ID_LEN_MAX => {
                self.id = Some(match std::str::from_utf8(&value) {
                    Ok(id) => EventId::new(id),
                    Err(_) => EventId::new(&String::from_utf8_lossy(&value)),
                });
            }
            b"retry" if !value.is_empty() && value.iter().all(u8::is_ascii_digit) => {
                let millis = std::str::from_utf8(&value).ok().and_then(|it| it.parse().ok());
                self.retry = millis.map(Duration::from_millis).or(self.retry);
            }
            // Comments, whose field is empty, and fields yet to be invented.
            _ => (),
        }
    }

    /// Whether its data is a message; it is of another kind otherwise.
    fn is_message(&self) -> bool {
        matches!(self.name.as_deref(), None | Some(b"" | b"message"))
    }

    fn is_empty(&self) -> bool {
        self.id.is_none() && self.retry.is_none() && matches!(self.data, Data::None)
    }
}

// === impl Data ===

impl Data {
    fn push(&mut self, line: Bytes) {
        *self = match std::mem::take(self) {
            Self::None => Self::One(line),
            Self::One(first) => {
                let mut many = BytesMut::with_capacity(first.len() + 1 + line.len());
                many.extend_from_slice(&first);
                Self::Many(many).plus(&line)
            }
            many @ Self::Many(_) => many.plus(&line),
        };
    }

    fn plus(mut self, line: &[u8]) -> Self {
        if let Self::Many(many) = &mut self {
            many.put_u8(b'\n');
            many.extend_from_slice(line);
        }
        self
    }

    fn into_bytes(self) -> Option<Bytes> {
        match self {
            Self::None => None,
            Self::One(line) => Some(line),
            Self::Many(many) => Some(many.freeze()),
        }
    }
}

/// Writes one event in one piece.
pub fn encode(event: &Event) -> Bytes {
    let (mut pieces, mut rest) = (VecDeque::new(), BytesMut::new());
    encode_onto(event, &mut rest, &mut pieces);
    let len = pieces.iter().map(Bytes::len).sum::<usize>() + rest.len();
    let mut out = BytesMut::with_capacity(len);
    pieces.iter().for_each(|piece| out.extend_from_slice(piece));
    out.extend_from_slice(&rest);
    out.freeze()
}

/// Writes one event behind what is in `head`; a long message uncopied, by way of `out`.
pub fn encode_onto(event: &Event, head: &mut BytesMut, out: &mut VecDeque<Bytes>) {
    match event {
        Event::Message { id, message } => {
            let id = id.as_ref().map_or("", EventId::as_str);
            put_message(message, id.len(), |head| put_id(head, id), (head, out));
        }
        Event::Pause { id, retry } => {
            put_id(head, id.as_ref().map_or("", EventId::as_str));
            if let Some(retry) = retry {
                head.extend_from_slice(format!("retry: {}\n", retry.as_millis()).as_bytes());
            }
            // Without a data line no client would be told of the id; with one but without an id
            // old clients would take it for an empty message.
            head.extend_from_slice(if id.is_some() { b"data: \n\n" } else { b"\n" });
        }
    }
}

/// Writes a message whose id is a text and a number.
pub(crate) fn encode_numbered(
    (prefix, seq): (&str, u64),
    message: &Message,
    head: &mut BytesMut,
    out: &mut VecDeque<Bytes>,
) {
    let put_id = |head: &mut BytesMut| {
        head.extend_from_slice(b"id: ");
        head.extend_from_slice(prefix.as_bytes());
        head.extend_from_slice(seq.to_string().as_bytes());
        head.put_u8(b'\n');
    };
    put_message(message, prefix.len() + DIGITS_MAX, put_id, (head, out));
}

fn put_message(
    message: &Message,
    id_len: usize,
    put_id: impl FnOnce(&mut BytesMut),
    (head, out): (&mut BytesMut, &mut VecDeque<Bytes>),
) {
    let line = message.to_line();
    let long = COPY_LEN_MAX < line.len();
    head.reserve(32 + id_len + if long { 0 } else { line.len() });
    head.extend_from_slice(b"event: message\n");
    put_id(head);
    head.extend_from_slice(b"data: ");
    if long {
        out.extend([head.split().freeze(), line]);
    } else {
        head.extend_from_slice(&line);
    }
    head.extend_from_slice(b"\n\n");
}

fn put_id(out: &mut BytesMut, id: &str) {
    if !id.is_empty() {
        out.extend_from_slice(b"id: ");
        out.extend_from_slice(id.as_bytes());
        out.put_u8(b'\n');
    }
}

/// Writes where to post, where to go on from after a disconnection, and after how long.
pub fn encode_endpoint(uri: &str, id: Option<&EventId>, retry: Duration) -> Bytes {
    // The data first: there are clients that read this event by its first two lines.
    let mut out = BytesMut::from(&b"event: endpoint\ndata: "[..]);
    out.extend_from_slice(uri.as_bytes());
    out.put_u8(b'\n');
    if let Some(id) = id {
        put_id(&mut out, id.as_str());
        out.extend_from_slice(format!("retry: {}\n", retry.as_millis()).as_bytes());
    }
    out.put_u8(b'\n');
    out.freeze()
}

/// Writes what a person reading the stream should know, and no program need.
pub fn encode_comment(text: &str) -> Bytes {
    let line = text.replace(['\n', '\r'], " ");
    format!(": {line}\n\n").into()
}

#[cfg(test)]
mod tests;
