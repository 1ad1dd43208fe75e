//! One connection to a server, and one exchange on it.
//!
//! There is no task per connection and no buffer while nothing comes: whoever waits for a response
//! reads it.  A session that listens is a socket and little more.

use std::{
    future, io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes, BytesMut};
use hyper::{Response, StatusCode};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_util::io::poll_read_buf;

use super::{fault::Fault, head};

/// How much is read at once to begin with, and as long as little comes, in bytes.
const READ_LEN_MIN: usize = 4 << 10;

/// How much is read at once when much comes, in bytes.
const READ_LEN_MAX: usize = 256 << 10;

/// How many interim responses (1xx) may come before the real one.
const INTERIM_COUNT_MAX: usize = 32;

/// A connection to a server.
#[derive(Debug)]
pub(super) struct Connection {
    io: TcpStream,
    /// What has been read and not been taken.
    read: BytesMut,
    /// How much is read at once.
    read_len: usize,
    /// What is to be written: a head, perhaps with its body, and a body.
    unwritten: [Bytes; 2],
    /// Nothing of the request has been taken by the kernel.
    is_unsent: bool,
}

/// Why there is no response.
#[derive(Debug)]
pub(super) enum Failed {
    /// Nothing was sent: the request may be sent again.
    Unsent(io::Error),
    /// The server may have seen it.
    Broken(Fault),
}

// === impl Connection ===

impl Connection {
    pub(super) fn new(io: TcpStream) -> Self {
        Self {
            io,
            read: BytesMut::new(),
            read_len: READ_LEN_MIN,
            unwritten: [Bytes::new(), Bytes::new()],
            is_unsent: true,
        }
    }

    /// Sends a request and waits for the head of its response.
    ///
    /// A server may answer before it has read all: what is unwritten then is written while the
    /// body of the response is read.
    pub(super) async fn exchange(
        &mut self,
        request: [Bytes; 2],
        head_len_max: usize,
    ) -> Result<Response<()>, Failed> {
        (self.unwritten, self.is_unsent) = (request, true);
        let mut interim_count = 0;
        future::poll_fn(|cx| self.poll_answer(cx, head_len_max, &mut interim_count)).await
    }

    fn poll_answer(
        &mut self,
        cx: &mut Context<'_>,
        head_len_max: usize,
        interim_count: &mut usize,
    ) -> Poll<Result<Response<()>, Failed>> {
        if let Poll::Ready(Err(error)) = self.poll_write(cx) {
            if self.is_unsent {
                return Poll::Ready(Err(Failed::Unsent(error)));
            }
            // Who stops to listen may still have said why.
            self.stop_writing();
        }
        loop {
            match head::read(&mut self.read, head_len_max).map_err(Failed::Broken)? {
                Some(head) if head.status() == StatusCode::SWITCHING_PROTOCOLS => {
                    return Poll::Ready(Err(Failed::Broken(Fault::Switched)));
                }
                Some(head) if head.status().is_informational() => {
                    *interim_count += 1;
                    if INTERIM_COUNT_MAX < *interim_count {
                        let error = Fault::TooManyInterim { max: INTERIM_COUNT_MAX };
                        return Poll::Ready(Err(Failed::Broken(error)));
                    }
                    continue;
                }
                Some(head) => return Poll::Ready(Ok(head)),
                None => (),
            }
            match ready!(self.poll_fill(cx)) {
                Ok(0) => return Poll::Ready(Err(Failed::Broken(Fault::NoHead))),
                Ok(_) => (),
                Err(error) => return Poll::Ready(Err(Failed::Broken(error.into()))),
            }
        }
    }

    /// Writes what is unwritten.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(next) = self.unwritten.iter().find(|it| !it.is_empty()) {
            let mut written = ready!(Pin::new(&mut self.io).poll_write(cx, next))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.is_unsent = false;
            for piece in &mut self.unwritten {
                let taken = written.min(piece.len());
                piece.advance(taken);
                written -= taken;
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Gives up writing: nobody listens.
    pub(super) fn stop_writing(&mut self) {
        self.unwritten = [Bytes::new(), Bytes::new()];
    }

    /// Reads some more; nothing at the end.  While there is nothing to be read, there is no buffer.
    pub(super) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let ready = self.io.poll_read_ready(cx)?;
        let io = Pin::new(&mut self.io) as Pin<&mut (dyn AsyncRead + Send)>;
        if ready.is_pending() {
            self.forget_room();
            return Poll::Pending;
        }
        if self.read.capacity() - self.read.len() < READ_LEN_MIN / 4 {
            self.read.reserve(self.read_len);
        }
        let room = self.read.capacity() - self.read.len();
        let Poll::Ready(read) = poll_read_buf(io, cx, &mut self.read) else {
            self.forget_room();
            return Poll::Pending;
        };
        let read = read?;
        self.read_len = match read {
            _ if room <= read => (self.read_len * 2).min(READ_LEN_MAX),
            _ if read < self.read_len / 4 => (self.read_len / 2).max(READ_LEN_MIN),
            _ => self.read_len,
        };
        Poll::Ready(Ok(read))
    }

    fn forget_room(&mut self) {
        if self.read.is_empty() {
            self.read = BytesMut::new();
        }
    }

    /// What has been read and not been taken.
    pub(super) fn read_mut(&mut self) -> &mut BytesMut {
        &mut self.read
    }

    /// Makes it ready to wait for its next request, if all of the last one and of its response is
    /// through, and nothing came behind.
    pub(super) fn rest(&mut self) -> bool {
        self.forget_room();
        self.read_len = READ_LEN_MIN;
        self.read.is_empty() && self.unwritten.iter().all(Bytes::is_empty)
    }

    /// Whether a connection that rests can be used: it has not been closed, and the server has
    /// not said anything unasked.
    pub(super) fn is_usable(&self) -> bool {
        let nothing = self.io.try_read(&mut [0]);
        nothing.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }
}
