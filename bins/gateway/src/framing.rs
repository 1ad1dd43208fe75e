//! Connections as they are read: what an HTTP parser would have us forget.
//!
//! hyper reads a request that has both `Content-Length` and `Transfer-Encoding` by the latter and
//! drops the former, as RFC 9112 §6.3 allows.  Whoever is in front of us may have read it by the
//! other, and then one request becomes two.  Such a request is refused, so somebody has to see
//! its head before the parser does: every head, also those that come right behind a body, and
//! with whatever ends of lines a parser puts up with.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use memchr::memchr;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How much is kept of a line that came in pieces: no line that matters is longer.
const LINE_KEPT_MAX: usize = 64;
/// The first line of an HTTP/2 connection (RFC 9113 §3.4), which has no lengths to give twice.
const HTTP_2: &[u8] = b"PRI * HTTP/2.0";

/// What was seen of one connection.
#[derive(Clone, Debug, Default)]
pub struct Seen(Arc<AtomicBool>);

impl Seen {
    /// Whether a head came that gives the length of its body twice, or in no readable way.
    pub fn is_ambiguous(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A connection whose request heads are looked at.
#[derive(Debug)]
pub struct Watched<S> {
    /// What was read before, and is to be read again.
    first: Bytes,
    stream: S,
    seen: Seen,
    stage: Stage,
    head: Head,
    /// What has come of a line that is not complete, at most [`LINE_KEPT_MAX`] bytes.
    line: Vec<u8>,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Stage {
    /// A line of a head.
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
    /// Nothing that has to be looked at.
    Anything,
}

/// What is known of a head so far.
#[derive(Clone, Copy, Debug, Default)]
struct Head {
    has_begun: bool,
    length: Option<u64>,
    is_encoded: bool,
    /// Its length is none, or two.
    is_broken: bool,
}

// === impl Watched ===

impl<S> Watched<S> {
    /// Looks at what is read: what was read from `stream` already, and then what still comes.
    pub fn new(first: Bytes, stream: S) -> (Self, Seen) {
        let seen = Seen::default();
        let (stage, head, line) = (Stage::Head, Head::default(), Vec::new());
        (Self { first, stream, seen: seen.clone(), stage, head, line }, seen)
    }

    fn look(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            bytes = match self.stage {
                Stage::Anything => return,
                Stage::Body(left) => self.skip(bytes, left, Stage::Body, Stage::Head),
                Stage::Chunk(left) => self.skip(bytes, left, Stage::Chunk, Stage::ChunkEnd),
                Stage::Head | Stage::ChunkSize | Stage::ChunkEnd | Stage::Trailer => {
                    self.next_line(bytes)
                }
            };
        }
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
            Stage::Head if line.is_empty() && self.head.has_begun => self.end_of_head(),
            Stage::Head if !self.head.has_begun && line.starts_with(HTTP_2) => Stage::Anything,
            Stage::Head => {
                self.head.take(line);
                Stage::Head
            }
            Stage::ChunkSize => match chunk_size(line) {
                Some(0) => Stage::Trailer,
                Some(size) => Stage::Chunk(size),
                None => self.give_up(),
            },
            Stage::ChunkEnd if line.is_empty() => Stage::ChunkSize,
            Stage::ChunkEnd => self.give_up(),
            Stage::Trailer if line.is_empty() => Stage::Head,
            stage => stage,
        };
    }

    fn end_of_head(&mut self) -> Stage {
        let head = std::mem::take(&mut self.head);
        match head.length {
            _ if head.is_broken => self.give_up(),
            Some(_) if head.is_encoded => self.give_up(),
            None if head.is_encoded => Stage::ChunkSize,
            Some(length) if length > 0 => Stage::Body(length),
            _ => Stage::Head,
        }
    }

    /// Where the next head begins is in doubt from here on: all requests are refused.
    fn give_up(&self) -> Stage {
        self.seen.0.store(true, Ordering::Relaxed);
        Stage::Anything
    }
}

// === impl Head ===

impl Head {
    /// Takes the request line, or a field.  Empty lines may come before either (RFC 9112 §2.2).
    fn take(&mut self, line: &[u8]) {
        if !self.has_begun {
            self.has_begun = !line.is_empty();
            return;
        }
        let Some(colon) = memchr(b':', line) else { return };
        let (name, value) = line.split_at(colon);
        let name = name.trim_ascii();
        if name.eq_ignore_ascii_case(b"transfer-encoding") {
            self.is_encoded = true;
        } else if name.eq_ignore_ascii_case(b"content-length") {
            let value = value.get(1..).unwrap_or_default().trim_ascii();
            match number(value, 10) {
                Some(length) if self.length.is_none_or(|before| before == length) => {
                    self.length = Some(length);
                }
                _ => self.is_broken = true,
            }
        }
    }
}

/// The size of a chunk; what follows it on its line means nothing here.
fn chunk_size(line: &[u8]) -> Option<u64> {
    let end = line.iter().position(|byte| !byte.is_ascii_hexdigit()).unwrap_or(line.len());
    number(line.get(..end)?, 16)
}

/// So many digits make 64 bits, in either way.  More would be cut where a line is.
const DIGITS_MAX: usize = 20;

fn number(digits: &[u8], radix: u32) -> Option<u64> {
    // A sign is no digit here.
    let plain = digits.first()?.is_ascii_hexdigit() && digits.len() <= DIGITS_MAX;
    u64::from_str_radix(std::str::from_utf8(digits).ok().filter(|_| plain)?, radix).ok()
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = if self.first.is_empty() {
            Pin::new(&mut self.stream).poll_read(cx, buf)
        } else {
            let len = self.first.len().min(buf.remaining());
            buf.put_slice(&self.first.split_to(len));
            if self.first.is_empty() {
                self.first = Bytes::new();
            }
            Poll::Ready(Ok(()))
        };
        if matches!(read, Poll::Ready(Ok(()))) {
            self.look(buf.filled().get(before..).unwrap_or_default());
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    const BOTH: &str =
        "POST / HTTP/1.1\r\nHost: h\r\ncontent-LENGTH: 3\r\nTransfer-Encoding: chunked\r\n\r\n";
    const NEITHER: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";

    /// Reads all of it, in pieces of every size.
    #[track_caller]
    fn check(wire: &str, expect: bool) {
        for size in (1..=wire.len().min(300)).chain([wire.len().max(1)]) {
            let (mut watched, seen) = Watched::new(Bytes::new(), ());
            wire.as_bytes().chunks(size).for_each(|piece| watched.look(piece));
            assert_eq!(seen.is_ambiguous(), expect, "in pieces of {size}: {wire:?}");
            assert!(watched.line.len() <= LINE_KEPT_MAX);
        }
    }

    #[test]
    fn a_length_given_twice_is_seen_whatever_comes_before_it() {
        let chunks = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n\
                      5;x=\"y\"\r\nhe\r\no\r\nA\r\n0123456789\r\n0\r\nEnd: here\r\n\r\n";
        let long = format!("GET /{0} HTTP/1.1\r\nX: {0}\r\n\r\n", "x".repeat(100_000));
        for before in [
            "",
            "\r\n\r\n",
            NEITHER,
            "POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc",
            "POST / HTTP/1.1\nContent-Length: 0\n\n",
            chunks,
            &long,
        ] {
            check(before, false);
            check(&[before, BOTH].concat(), true);
            check(&[before, NEITHER, &BOTH.replace('\r', "")].concat(), true);
        }
    }

    #[test]
    fn a_body_may_speak_of_both() {
        let len = BOTH.len();
        check(&format!("POST / HTTP/1.1\r\nContent-Length: {len}\r\n\r\n{BOTH}"), false);
        let chunked = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
        check(&format!("{chunked}{len:x}\r\n{BOTH}\r\n0\r\n\r\n{NEITHER}"), false);
    }

    #[test]
    fn a_length_that_cannot_be_read_is_as_bad() {
        let zeros = "0".repeat(100);
        for length in ["-1", "+1", "1, 1", "99999999999999999999", "", &zeros] {
            check(
                &format!("POST / HTTP/1.1\r\nContent-Length: {length}3\r\n\r\nabc"),
                !length.is_empty(),
            );
        }
        // However it is cut, what comes behind is not overlooked.
        let padding = " ".repeat(100);
        check(&format!("POST / HTTP/1.1\r\nContent-Length:{padding}3\r\n\r\nabc{BOTH}"), true);
        let two = "POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: ";
        check(&format!("{two}3\r\n\r\nabc"), false);
        check(&format!("{two}4\r\n\r\nabc"), true);
        let chunked = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
        for size in ["", "x", "-1", &zeros, "0\r\n\r\nGET / HTTP/1.1\r\nContent-Length: x\r\n"] {
            check(&format!("{chunked}{size}\r\n"), true);
        }
    }

    #[test]
    fn http_2_is_not_looked_at() {
        check(&format!("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{BOTH}"), false);
    }

    #[tokio::test]
    async fn what_was_read_before_is_read_again_and_looked_at() {
        let (first, rest) = BOTH.split_at(20);
        let (mut watched, seen) =
            Watched::new(Bytes::from_static(first.as_bytes()), rest.as_bytes());
        let mut read = String::new();
        watched.read_to_string(&mut read).await.unwrap();
        assert_eq!(read, BOTH);
        assert!(seen.is_ambiguous());
    }
}
