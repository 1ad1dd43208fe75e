//! A connection as the HTTP library gets to read it: whole heads, each looked at, none that it
//! could not read, and none that is waited for without end.
//!
//! A head that makes no request is replaced by one that does, and noted down: the request that
//! the library then makes of it is answered with what was wrong, like any other.  So a refusal
//! has its place among the answers before it, its line of log, and its words.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};
use transport_sse::alarm::Alarm;

use crate::{
    framing::Framing,
    head::{HeadMax, Unreadable},
};

/// How much of a head that comes in pieces is read at once.
const PIECE_LEN_MAX: usize = 4096;
/// How long, and for how many bytes, a client that is still sending is listened to when all has
/// been said: one that is cut off in the middle may never read why.
const LINGER_TIMEOUT: Duration = Duration::from_millis(500);
const LINGER_LEN_MAX: usize = 4 << 20;

/// What was noted of the requests of one connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Noted(Arc<Notes>);

#[derive(Debug, Default)]
struct Notes {
    /// How many requests were made of it.
    requests: AtomicU64,
    /// Whether the last of them opened a stream that has no end of its own.
    listens: AtomicBool,
    /// The head that makes none, and how many were before it.
    unreadable: OnceLock<(u64, Box<Unreadable>)>,
}

/// How long a client may be silent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// From the first byte of a head to its end.
    pub(crate) head_timeout: Duration,
    /// From one request to the first byte of the next.
    pub(crate) idle_timeout: Duration,
}

/// A connection whose request heads are looked at.
#[derive(Debug)]
pub(crate) struct Watched<S> {
    stream: S,
    /// How it is read; not at all, where it is HTTP/2.
    framing: Option<Framing>,
    /// Looked at, and to be read next.
    ready: Bytes,
    /// The beginning of a head.
    held: BytesMut,
    /// Whether `held` has not been looked at.
    unseen: bool,
    noted: Noted,
    patience: Patience,
    /// When `held` began, or since when nothing came or went.
    since: Option<Instant>,
    alarm: Alarm,
    end: End,
    linger_len: usize,
}

/// How it ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    /// Not yet.
    Open,
    /// With the answer to a head that made no request.
    Refused,
    /// Without a word.
    Silent,
    /// All was said, and what still comes is read and forgotten.
    Lingering,
}

// === impl Noted ===

impl Noted {
    /// Counts a request; what is wrong with it, where it stands in for one that was none.
    pub(crate) fn next(&self) -> Option<&Unreadable> {
        self.0.listens.store(false, Ordering::Relaxed);
        let number = self.0.requests.fetch_add(1, Ordering::Relaxed);
        let (before, unreadable) = self.0.unreadable.get()?;
        (*before == number).then_some(unreadable)
    }

    /// What is answered goes on until the client has had enough.
    pub(crate) fn listens(&self) {
        self.0.listens.store(true, Ordering::Relaxed);
    }
}

// === impl Watched ===

impl<S> Watched<S> {
    /// Looks at what is read: what was read from `stream` already, and then what still comes.
    /// HTTP/2 has bounds of its own, and is only passed on.
    pub(crate) fn new(
        first: &[u8],
        stream: S,
        max: Option<HeadMax>,
        patience: Patience,
    ) -> (Self, Noted) {
        let noted = Noted::default();
        let framing = max.map(Framing::new);
        let watched = Self {
            stream,
            ready: Bytes::new(),
            held: BytesMut::from(first),
            unseen: !first.is_empty(),
            noted: noted.clone(),
            patience,
            since: None,
            alarm: Alarm::default(),
            end: End::Open,
            linger_len: LINGER_LEN_MAX,
            framing,
        };
        (watched, noted)
    }

    /// Looks at what is held, and makes ready what may pass.
    fn look_at_held(&mut self) {
        self.unseen = false;
        let held = std::mem::take(&mut self.held);
        let (passed, unreadable) = match &mut self.framing {
            Some(framing) => framing.look(&held),
            None => (held.len(), None),
        };
        if passed == 0 && unreadable.is_none() {
            self.held = held;
            self.since.get_or_insert_with(Instant::now);
            return;
        }
        let mut held = held.freeze();
        self.ready = held.split_to(passed);
        self.since = None;
        match unreadable {
            Some(unreadable) => self.refuse(unreadable),
            None if held.is_empty() => (),
            None => self.hold(&held),
        }
    }

    fn hold(&mut self, begun: &[u8]) {
        self.held = BytesMut::from(begun);
        self.since = Some(Instant::now());
    }

    /// Puts something readable in the place of a head that is not.
    fn refuse(&mut self, unreadable: Box<Unreadable>) {
        let stand_in = unreadable.stand_in();
        self.ready = match self.ready.is_empty() {
            true => Bytes::from_static(stand_in),
            false => [&*self.ready, stand_in].concat().into(),
        };
        let before = self.framing.as_ref().map_or(0, Framing::heads);
        // The first is the only one: nothing is read behind it.
        self.noted.0.unreadable.set((before, unreadable)).ok();
        self.end = End::Refused;
        self.held = BytesMut::new();
        if let Some(framing) = &mut self.framing {
            framing.end();
        }
    }

    /// Waits as long as may be, in which case it is over.
    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let between = self.framing.as_ref().is_some_and(Framing::is_between);
        if !between {
            return Poll::Pending;
        }
        let begun = !self.held.is_empty();
        let timeout = if begun { self.patience.head_timeout } else { self.patience.idle_timeout };
        let until = *self.since.get_or_insert_with(Instant::now) + timeout;
        ready!(self.alarm.poll(cx, until));
        if begun {
            self.refuse(Unreadable::slow(&self.held, timeout));
        } else {
            self.end = End::Silent;
        }
        Poll::Ready(())
    }
}

impl<S: AsyncRead + Unpin> Watched<S> {
    /// Reads straight into the reader's buffer; what is the beginning of a head is taken back.
    fn poll_through(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<usize>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        let Some(framing) = &mut self.framing else { return Poll::Ready(Ok(1)) };
        let new = buf.filled().get(before..).unwrap_or_default();
        if new.is_empty() {
            self.end = End::Silent;
            return Poll::Ready(Ok(0));
        }
        let (passed, unreadable) = framing.look(new);
        let over = framing.is_over();
        self.since = None;
        match new.get(passed..) {
            Some(begun) if !begun.is_empty() && !over => self.hold(begun),
            _ => (),
        }
        buf.set_filled(before + passed);
        match unreadable {
            Some(unreadable) => self.refuse(unreadable),
            None if over => self.end = End::Silent,
            None => (),
        }
        Poll::Ready(Ok(passed))
    }

    /// Reads more of a head that has begun.
    fn poll_held(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut piece = [0; PIECE_LEN_MAX];
        let mut piece = ReadBuf::new(&mut piece);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut piece))?;
        if piece.filled().is_empty() {
            // It broke off: there is nobody to be told.
            self.held = BytesMut::new();
            self.end = End::Silent;
        } else {
            self.held.extend_from_slice(piece.filled());
            self.look_at_held();
        }
        Poll::Ready(Ok(()))
    }

    /// Whether a client that listens has gone.
    ///
    /// One that has asked all it wants may close its end and still wait for the answer: the
    /// library does not read on meanwhile.  A stream without an end is no answer to wait for.
    fn is_there(&mut self, cx: &mut Context<'_>) -> Option<io::Error> {
        let listens = self.noted.0.listens.load(Ordering::Relaxed);
        let between = self.framing.as_ref().is_some_and(Framing::is_between);
        // What it sends meanwhile waits for its turn, and then it is seen to be there.
        if !(listens && between && self.held.is_empty() && self.ready.is_empty()) {
            return None;
        }
        let mut piece = [0; 256];
        let mut piece = ReadBuf::new(&mut piece);
        match Pin::new(&mut self.stream).poll_read(cx, &mut piece) {
            Poll::Pending => None,
            Poll::Ready(Err(error)) => Some(error),
            Poll::Ready(Ok(())) if piece.filled().is_empty() => {
                let what = "the client closed its end of a stream";
                Some(io::Error::new(io::ErrorKind::ConnectionAborted, what))
            }
            Poll::Ready(Ok(())) => {
                self.hold(piece.filled());
                self.unseen = true;
                None
            }
        }
    }

    /// Reads what nobody wants, for a while.
    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut piece = [0; PIECE_LEN_MAX];
        while 0 < self.linger_len {
            let mut piece = ReadBuf::new(&mut piece);
            match Pin::new(&mut self.stream).poll_read(cx, &mut piece) {
                Poll::Ready(Ok(())) if !piece.filled().is_empty() => {
                    self.linger_len = self.linger_len.saturating_sub(piece.filled().len());
                }
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => {
                    let until = *self.since.get_or_insert_with(Instant::now) + LINGER_TIMEOUT;
                    return self.alarm.poll(cx, until);
                }
            }
        }
        Poll::Ready(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if this.unseen {
                this.look_at_held();
            }
            if !this.ready.is_empty() {
                let len = this.ready.len().min(buf.remaining());
                buf.put_slice(this.ready.get(..len).unwrap_or_default());
                this.ready.advance(len);
                if this.ready.is_empty() {
                    // Its bytes are kept as long as it is.
                    this.ready = Bytes::new();
                }
                return Poll::Ready(Ok(()));
            }
            match this.end {
                End::Open => (),
                // The library will not ask for more behind what stands in for the last.
                End::Refused | End::Lingering => return Poll::Pending,
                End::Silent => return Poll::Ready(Ok(())),
            }
            let read = if this.held.is_empty() {
                match this.poll_through(cx, buf) {
                    Poll::Ready(Ok(passed)) if 0 < passed => return Poll::Ready(Ok(())),
                    read => read.map_ok(|_| ()),
                }
            } else {
                this.poll_held(cx)
            };
            match read {
                Poll::Ready(read) => read?,
                Poll::Pending => ready!(this.wait(cx)),
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.wrote(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.wrote(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(Pin::new(&mut this.stream).poll_flush(cx))?;
        this.is_there(cx).map_or(Poll::Ready(Ok(())), |gone| Poll::Ready(Err(gone)))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.end != End::Lingering {
            ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
            let is_between = this.framing.as_ref().is_none_or(Framing::is_between);
            if this.end == End::Silent || is_between {
                return Poll::Ready(Ok(()));
            }
            (this.end, this.since) = (End::Lingering, None);
        }
        this.poll_rest(cx).map(Ok)
    }
}

impl<S> Watched<S> {
    /// A client that takes what it is given is not idle.
    fn wrote(&mut self, written: &Poll<io::Result<usize>>) {
        if self.held.is_empty() && matches!(written, Poll::Ready(Ok(_))) {
            self.since = None;
        }
    }
}

#[cfg(test)]
mod tests;
