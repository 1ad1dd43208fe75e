//! `text/event-stream` cut into events, cheaply: the generator reads millions of them.

use std::ops::Range;

use bytes::{Bytes, BytesMut};

use crate::error::{Failure, Result};

/// An event may hold this many bytes.
pub(crate) const EVENT_BYTES_MAX: usize = 64 * 1024 * 1024;

/// One event: its name (`message` when none was given) and its data.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Event {
    /// The `event:` field.
    pub(crate) name: Bytes,
    /// The `data:` lines, joined by line feeds.
    pub(crate) data: Bytes,
    /// The `id:` field.
    pub(crate) id: Option<Bytes>,
}

/// Cuts chunks of a body into events.
///
/// Lines end with LF or CRLF (a bare CR, which no MCP server sends, is not a line end here).
#[derive(Debug, Default)]
pub(crate) struct Splitter {
    buffer: BytesMut,
    /// Up to here no blank line was found.
    seen: usize,
}

impl Splitter {
    /// Adds a chunk.
    ///
    /// # Errors
    /// [`Failure::Peer`] when an unfinished event is beyond [`EVENT_BYTES_MAX`].
    pub(crate) fn push(&mut self, chunk: &[u8]) -> Result<()> {
        if EVENT_BYTES_MAX < self.buffer.len().saturating_add(chunk.len()) {
            return Err(Failure::Peer(format!("an event beyond {EVENT_BYTES_MAX} bytes")));
        }
        self.buffer.extend_from_slice(chunk);
        Ok(())
    }

    /// The next whole event that has data; comments and empty events are skipped.
    pub(crate) fn next_event(&mut self) -> Option<Event> {
        while let Some(block) = self.block() {
            if let Some(event) = event(&block) {
                return Some(event);
            }
        }
        None
    }

    /// Everything up to and with the next blank line.
    fn block(&mut self) -> Option<Bytes> {
        let mut at = self.seen;
        while let Some(feed) = self.buffer.get(at..).and_then(|it| find(b'\n', it)) {
            let next = at + feed + 1;
            match (self.buffer.get(next), self.buffer.get(next + 1)) {
                (Some(b'\n'), _) => return Some(self.take(next + 1)),
                (Some(b'\r'), Some(b'\n')) => return Some(self.take(next + 2)),
                // A blank line may be cut here: look at this line end again.
                (None, _) | (Some(b'\r'), None) => {
                    self.seen = at + feed;
                    return None;
                }
                _ => at = next,
            }
        }
        self.seen = self.buffer.len();
        None
    }

    fn take(&mut self, end: usize) -> Bytes {
        self.seen = 0;
        self.buffer.split_to(end).freeze()
    }
}

fn event(block: &Bytes) -> Option<Event> {
    let mut name = Bytes::from_static(b"message");
    let (mut data, mut id) = (None::<Bytes>, None);
    for line in lines(block) {
        let line = block.slice(line);
        if let Some(value) = field(&line, b"data:") {
            data = Some(match data {
                None => value,
                Some(before) => [before, value].join(&b'\n').into(),
            });
        } else if let Some(value) = field(&line, b"event:") {
            name = value;
        } else if let Some(value) = field(&line, b"id:") {
            id = Some(value);
        }
    }
    data.map(|data| Event { name, data, id })
}

fn field(line: &Bytes, name: &[u8]) -> Option<Bytes> {
    let value = line.strip_prefix(name)?;
    let value = value.strip_prefix(b" ").unwrap_or(value);
    Some(line.slice_ref(value))
}

/// Line by line, without their ends.
fn lines(block: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = block.get(at..)?;
        let feed = find(b'\n', rest)?;
        let line = rest.get(..feed)?;
        let length = line.strip_suffix(b"\r").unwrap_or(line).len();
        let range = at..at + length;
        at += feed + 1;
        Some(range)
    })
}

fn find(byte: u8, bytes: &[u8]) -> Option<usize> {
    memchr::memchr(byte, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &[u8] = b": hello\n\nevent: endpoint\ndata: /m?id=1\n\n\
        data:{\"a\":1}\r\n\r\nid: 7\ndata\n\nevent: message\ndata: x\ndata: y\n\n";

    fn expected() -> Vec<(String, String)> {
        [("endpoint", "/m?id=1"), ("message", "{\"a\":1}"), ("message", "x\ny")]
            .map(|(name, data)| (name.to_owned(), data.to_owned()))
            .into()
    }

    fn split(stream: &[u8], chunk: usize) -> Vec<(String, String)> {
        let mut splitter = Splitter::default();
        let mut found = Vec::new();
        for chunk in stream.chunks(chunk) {
            splitter.push(chunk).unwrap();
            while let Some(event) = splitter.next_event() {
                let text = |bytes: Bytes| String::from_utf8(bytes.into()).unwrap();
                found.push((text(event.name), text(event.data)));
            }
        }
        found
    }

    #[test]
    fn every_way_of_cutting_gives_the_same_events() {
        for chunk in 1..=STREAM.len() {
            assert_eq!(split(STREAM, chunk), expected(), "chunks of {chunk}");
        }
    }

    #[test]
    fn an_unfinished_event_waits() {
        let mut splitter = Splitter::default();
        splitter.push(b"data: x\n").unwrap();
        assert_eq!(splitter.next_event(), None);
        splitter.push(b"\n").unwrap();
        assert_eq!(splitter.next_event().unwrap().data, "x");
        assert_eq!(splitter.next_event(), None);
    }

    #[test]
    fn an_endless_event_is_cut_off() {
        let mut splitter = Splitter::default();
        let chunk = vec![b'x'; EVENT_BYTES_MAX / 4];
        for _ in 0..4 {
            splitter.push(&chunk).unwrap();
        }
        assert!(matches!(splitter.push(b"x"), Err(Failure::Peer(_))));
    }
}
