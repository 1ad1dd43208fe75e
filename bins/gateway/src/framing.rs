//! Connections as they are read: what an HTTP parser would have us forget.
//!
//! hyper reads a request that has both `Content-Length` and `Transfer-Encoding` by the latter and
//! drops the former, as RFC 9112 §6.3 allows.  Whoever is in front of us may have read it by the
//! other, and then one request becomes two.  Such a request is refused, so somebody has to see
//! its head before the parser does.

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
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The longest head that is looked at across reads; hyper's own bound refuses longer ones.
const HEAD_LEN_MAX: usize = 64 << 10;

/// What was seen of one connection.
#[derive(Clone, Debug, Default)]
pub struct Seen(Arc<AtomicBool>);

impl Seen {
    /// Whether a head came that gives the length of its body twice.
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
    /// What has come of a head that came in pieces.
    head: Vec<u8>,
}

#[derive(Debug, PartialEq)]
enum Stage {
    Head,
    Body,
}

// === impl Watched ===

impl<S> Watched<S> {
    /// Looks at what is read: what was read from `stream` already, and then what still comes.
    pub fn new(first: Bytes, stream: S) -> (Self, Seen) {
        let seen = Seen::default();
        (Self { first, stream, seen: seen.clone(), stage: Stage::Head, head: Vec::new() }, seen)
    }

    fn look(&mut self, bytes: &[u8]) {
        if self.stage == Stage::Body || bytes.is_empty() {
            return;
        }
        let end = if self.head.is_empty() { head_end(bytes) } else { None };
        match end.and_then(|end| bytes.get(..end)) {
            Some(head) => self.judge_head(is_ambiguous(head)),
            None => {
                self.head.extend_from_slice(bytes);
                match head_end(&self.head) {
                    Some(end) => {
                        let head = self.head.get(..end).unwrap_or_default();
                        let ambiguous = is_ambiguous(head);
                        self.judge_head(ambiguous);
                    }
                    None if HEAD_LEN_MAX < self.head.len() => self.judge_head(false),
                    None => (),
                }
            }
        }
    }

    fn judge_head(&mut self, ambiguous: bool) {
        self.stage = Stage::Body;
        self.head = Vec::new();
        if ambiguous {
            self.seen.0.store(true, Ordering::Relaxed);
        }
    }
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

/// An answer begins: what is read next is a head again.
impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.stage = Stage::Head;
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stage = Stage::Head;
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

fn head_end(bytes: &[u8]) -> Option<usize> {
    memchr::memmem::find(bytes, b"\r\n\r\n").map(|at| at + 2)
}

/// Whether a head gives the length of its body in two ways.
fn is_ambiguous(head: &[u8]) -> bool {
    let (mut length, mut encoding) = (false, false);
    for line in memchr::memchr_iter(b'\n', head).filter_map(|at| head.get(at + 1..)) {
        length |= starts_with(line, b"content-length");
        encoding |= starts_with(line, b"transfer-encoding");
    }
    length && encoding
}

fn starts_with(line: &[u8], name: &[u8]) -> bool {
    let after = line.get(name.len());
    matches!(after, Some(b':' | b' ' | b'\t'))
        && line.get(..name.len()).is_some_and(|it| it.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const BOTH: &[u8; 75] =
        b"POST / HTTP/1.1\r\nHost: h\r\ncontent-LENGTH: 3\r\nTransfer-Encoding: chunked\r\n\r\n";

    /// Reads requests in pieces of `size` bytes, with an answer after each.
    async fn seen(requests: &[&[u8]], size: usize) -> bool {
        let (mut client, server) = tokio::io::duplex(4096);
        let (mut watched, seen) = Watched::new(Bytes::new(), server);
        for request in requests {
            for piece in request.chunks(size) {
                client.write_all(piece).await.unwrap();
                let mut read = [0; 4096];
                watched.read_exact(&mut read[..piece.len()]).await.unwrap();
            }
            watched.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        }
        seen.is_ambiguous()
    }

    #[tokio::test]
    async fn a_length_given_twice_is_seen_however_it_is_cut() {
        let one = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\n";
        for size in [1, 2, 3, 7, 50, 4096] {
            assert!(seen(&[BOTH], size).await, "{size}");
            assert!(seen(&[one, BOTH], size).await, "{size}");
            assert!(!seen(&[one, one], size).await, "{size}");
        }
    }

    #[tokio::test]
    async fn what_was_read_before_is_looked_at_too() {
        let (mut client, server) = tokio::io::duplex(4096);
        let (first, rest) = BOTH.split_at(40);
        let (mut watched, seen) = Watched::new(Bytes::from_static(first), server);
        client.write_all(rest).await.unwrap();
        let mut read = [0; BOTH.len()];
        watched.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, BOTH);
        assert!(seen.is_ambiguous());
    }

    #[tokio::test]
    async fn a_body_may_speak_of_both() {
        let mut request = b"POST / HTTP/1.1\r\nContent-Length: 90\r\n\r\n".to_vec();
        request.extend_from_slice(BOTH);
        assert!(!seen(&[&request], 4096).await);
    }
}
