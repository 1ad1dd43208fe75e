//! Where the heads of requests begin and end in what comes in on an HTTP/1 connection.
//!
//! Every head is read before the HTTP library sees it ([`head`](crate::head)): also those that
//! come right behind a body, and with whatever ends of lines a parser puts up with.

mod known;

use memchr::memchr;

use self::known::Known;
use crate::head::{self, HeadMax, Length, Unreadable};

/// How much is kept of a line that came in pieces: no line that matters is longer.
const LINE_KEPT_MAX: usize = 64;

/// What has come of a connection so far.
#[derive(Debug)]
pub(crate) struct Framing {
    stage: Stage,
    max: HeadMax,
    /// What has come of a line that is not complete, at most [`LINE_KEPT_MAX`] bytes.
    line: Vec<u8>,
    /// How much of the beginning of a head was looked at before.
    seen: usize,
    /// How many heads were whole.
    heads: u64,
    /// The last of them, unless it was the first.
    known: Known,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Stage {
    /// A head, or the rest of one that was handed back.
    Head,
    /// So many bytes of a body.
    Body(u64),
    /// The line before a chunk.
    ChunkSize,
    /// So many bytes of a chunk.
    Chunk(u64),
    /// The end of line after a chunk.
    ChunkEnd,
    /// A line after the last chunk.
    Trailer,
    /// Nothing: where the next head would begin is in doubt.
    Over,
}

// === impl Framing ===

impl Framing {
    pub(crate) fn new(max: HeadMax) -> Self {
        let (line, known) = (Vec::new(), Known::default());
        Self { stage: Stage::Head, max, line, seen: 0, heads: 0, known }
    }

    /// Looks at what has come: how many of these bytes are whole heads and parts of bodies.  The
    /// rest is the beginning of a head, to be shown again with what follows it, or behind the end.
    pub(crate) fn look(&mut self, bytes: &[u8]) -> (usize, Option<Box<Unreadable>>) {
        let mut rest = bytes;
        while !rest.is_empty() {
            rest = match self.stage {
                Stage::Over => break,
                Stage::Head => match self.read_head(rest) {
                    Ok(0) => break,
                    Ok(len) => rest.get(len..).unwrap_or_default(),
                    Err(unreadable) => {
                        self.stage = Stage::Over;
                        return (bytes.len() - rest.len(), Some(unreadable));
                    }
                },
                Stage::Body(left) => self.skip(rest, left, Stage::Body, Stage::Head),
                Stage::Chunk(left) => self.skip(rest, left, Stage::Chunk, Stage::ChunkEnd),
                Stage::ChunkSize | Stage::ChunkEnd | Stage::Trailer => self.next_line(rest),
            };
        }
        (bytes.len() - rest.len(), None)
    }

    /// The length of a head that is whole, or none.  It is read again with every line that comes,
    /// but not with every byte; and not at all where it says what the last one said.
    fn read_head(&mut self, bytes: &[u8]) -> Result<usize, Box<Unreadable>> {
        let seen = std::mem::replace(&mut self.seen, bytes.len());
        let new = bytes.get(seen..).unwrap_or_default();
        if 0 < seen && bytes.len() < self.max.len && memchr(b'\n', new).is_none() {
            return Ok(0);
        }
        let (len, length) = match self.known.again(bytes, &self.max) {
            Some(again) => again,
            None => {
                let Some(whole) = head::read(bytes, &self.max)? else { return Ok(0) };
                // Whoever asks but once is not going to ask the same again.
                if 0 < self.heads {
                    self.known.learn(bytes.get(..whole.len).unwrap_or_default(), &whole);
                }
                (whole.len, whole.length)
            }
        };
        self.seen = 0;
        self.heads += 1;
        self.stage = match length {
            Length::Bytes(0) => Stage::Head,
            Length::Bytes(len) => Stage::Body(len),
            Length::Chunked => Stage::ChunkSize,
        };
        Ok(len)
    }

    /// How many heads were whole.
    pub(crate) fn heads(&self) -> u64 {
        self.heads
    }

    /// Whether a head comes next.
    pub(crate) fn is_between(&self) -> bool {
        self.stage == Stage::Head
    }

    /// Whether nothing more is to be taken.
    pub(crate) fn is_over(&self) -> bool {
        self.stage == Stage::Over
    }

    /// Takes no more.
    pub(crate) fn end(&mut self) {
        self.stage = Stage::Over;
    }

    fn skip<'b>(
        &mut self,
        bytes: &'b [u8],
        left: u64,
        more: fn(u64) -> Stage,
        then: Stage,
    ) -> &'b [u8] {
        let len = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
        let left = left.saturating_sub(len as u64);
        self.stage = if left == 0 { then } else { more(left) };
        bytes.get(len..).unwrap_or_default()
    }

    /// Takes a line, or what has come of one; returns what follows.
    fn next_line<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let end = memchr(b'\n', bytes);
        let part = bytes.get(..end.unwrap_or(bytes.len())).unwrap_or_default();
        if end.is_none() || !self.line.is_empty() {
            let room = LINE_KEPT_MAX.saturating_sub(self.line.len()).min(part.len());
            self.line.extend_from_slice(part.get(..room).unwrap_or_default());
        }
        let Some(end) = end else { return &[] };
        if self.line.is_empty() {
            self.take_line(part);
        } else {
            let line = std::mem::take(&mut self.line);
            self.take_line(&line);
        }
        bytes.get(end + 1..).unwrap_or_default()
    }

    fn take_line(&mut self, line: &[u8]) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        self.stage = match self.stage {
            Stage::ChunkSize => match chunk_size(line) {
                Some(0) => Stage::Trailer,
                Some(size) => Stage::Chunk(size),
                None => Stage::Over,
            },
            Stage::ChunkEnd if line.is_empty() => Stage::ChunkSize,
            Stage::ChunkEnd => Stage::Over,
            Stage::Trailer if line.is_empty() => Stage::Head,
            stage => stage,
        };
    }
}

/// The size of a chunk; what follows it on its line means nothing here.
fn chunk_size(line: &[u8]) -> Option<u64> {
    let end = line.iter().position(|byte| !byte.is_ascii_hexdigit()).unwrap_or(line.len());
    head::number(line.get(..end)?, 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: &str =
        "POST / HTTP/1.1\r\nHost: h\r\ncontent-LENGTH: 3\r\nTransfer-Encoding: chunked\r\n\r\n";
    const NEITHER: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
    const CHUNKED: &str = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
    const MAX: HeadMax = HeadMax { len: 200_000, count: 100 };

    /// Reads all of it, in pieces of every size: how much was passed, and whether that was all
    /// that will be.
    #[track_caller]
    fn check(wire: &str, passed: usize, over: bool) {
        let sizes = (1..=wire.len().min(300)).chain([wire.len().max(1)]);
        for size in sizes.filter(|it| wire.len() / it < 300) {
            let (mut framing, mut held, mut total) = (Framing::new(MAX), Vec::new(), 0);
            for piece in wire.as_bytes().chunks(size) {
                held.extend_from_slice(piece);
                let (len, refused) = framing.look(&held);
                total += len;
                held.drain(..len);
                assert!(refused.is_none() || framing.is_over());
                assert!(framing.line.len() <= LINE_KEPT_MAX);
            }
            assert_eq!((total, framing.is_over()), (passed, over), "by {size}: {wire:?}");
        }
    }

    #[test]
    fn a_length_given_twice_is_seen_whatever_comes_before_it() {
        let chunks =
            format!("{CHUNKED}5;x=\"y\"\r\nhe\r\no\r\nA\r\n0123456789\r\n0\r\nEnd: here\r\n\r\n");
        let long = format!("GET /{0} HTTP/1.1\r\nX: {0}\r\n\r\n", "x".repeat(60_000));
        for before in [
            "",
            NEITHER,
            "POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc",
            "POST / HTTP/1.1\nContent-Length: 0\n\n",
            &chunks,
            &long,
        ] {
            check(before, before.len(), false);
            check(&[before, BOTH].concat(), before.len(), true);
            check(&[before, "\r\n", BOTH].concat(), before.len(), true);
            let two = [before, NEITHER].concat();
            check(&[&two, &*BOTH.replace('\r', "")].concat(), two.len(), true);
            check(&[&two, "GET"].concat(), two.len(), false);
        }
    }

    #[test]
    fn a_body_may_speak_of_both() {
        let len = BOTH.len();
        let wire = format!("POST / HTTP/1.1\r\nContent-Length: {len}\r\n\r\n{BOTH}");
        check(&wire, wire.len(), false);
        let wire = format!("{CHUNKED}{len:x}\r\n{BOTH}\r\n0\r\n\r\n{NEITHER}");
        check(&wire, wire.len(), false);
    }

    #[test]
    fn a_chunk_that_cannot_be_read_is_the_end() {
        let zeros = "0".repeat(100);
        for size in ["", "x", "-1", &zeros] {
            let wire = format!("{CHUNKED}{size}\r\n");
            check(&wire, wire.len(), true);
            let (mut framing, wire) = (Framing::new(MAX), [&*wire, NEITHER].concat());
            assert_eq!(framing.look(wire.as_bytes()).0, wire.len() - NEITHER.len());
        }
        check(&format!("{CHUNKED}1\r\nabc\r\n"), CHUNKED.len() + 3 + 5, true);
    }

    #[test]
    fn heads_are_counted() {
        let mut framing = Framing::new(MAX);
        framing.look([NEITHER, CHUNKED, "0\r\n\r\n", NEITHER, BOTH, NEITHER].concat().as_bytes());
        assert_eq!((framing.heads(), framing.is_over()), (3, true));
    }
}
