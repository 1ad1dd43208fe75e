//! What goes out to one peer: written at once where the peer takes it, queued where it does not.
//!
//! Whoever has something to say writes it by itself, in its own task, as long as nobody waits.
//! What the stream does not take is left to one task, which writes what has gathered, many
//! messages at once.  A peer that does not read is felt by those who talk to it and no one else.
//!
//! Where others talk to the peer too, it is left to that task at once: whatever else is ready to
//! be said goes out in the same write, and wakes the peer once.

use std::{
    collections::VecDeque,
    fmt,
    io::{self, IoSlice},
    pin::{Pin, pin},
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use bytes::Bytes;
use futures::future;
use mcp_jsonrpc::Message;
use tokio::{
    io::AsyncWrite,
    sync::{Notify, mpsc},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use tracing::debug;

use crate::Limits;

/// How many messages one write takes at most.
const WRITE_LEN_MAX: usize = 32;

/// How many bytes wait at most for others that may be ready: less than a pipe holds.
const GATHERED_BYTES_MAX: usize = 32 << 10;

/// What goes out to one peer.
pub(crate) struct Outbox {
    state: Mutex<State>,
    /// Told once for each message that has gone.
    room: Notify,
    /// Told when nothing waits any more.
    idle: Notify,
    /// When nothing can be written any more, whoever closed it.
    closed: CancellationToken,
    max: Max,
}

#[derive(Clone, Copy)]
struct Max {
    len: usize,
    bytes: usize,
    timeout: Duration,
}

struct State {
    /// None once it is closed.
    write: Option<Pin<Box<dyn AsyncWrite + Send>>>,
    queue: VecDeque<Outgoing>,
    /// How much of the first one is written.
    written: usize,
    bytes: usize,
    last: u64,
    unflushed: bool,
    /// What waits does so for others that are ready to be said, not for the peer.
    gathering: bool,
    /// The peer does not take what waits.
    stuck: bool,
    writer: Option<Waker>,
    broken: Option<io::Error>,
}

struct Outgoing {
    number: u64,
    line: Bytes,
    /// The line break; empty where the line brings its own.
    tail: &'static [u8],
    /// Whom to tell that the peer does not take it.
    asker: Option<Waker>,
}

/// When a message is to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Haste {
    /// At once.
    Now,
    /// With what else is ready to be said.
    Gathered,
}

/// Why the writer is told something.
enum Due {
    /// Something waits for others.
    Gathering,
    /// Nothing can be written any more.
    End(Option<io::Error>),
}

/// How far a message has come.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// It is written.
    Written,
    /// It waits, since the given moment, under a number.
    Queued(u64, Instant),
}

/// Why a message was not taken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unsaid {
    /// The stream is closed.
    Closed,
    /// There was no room in time.
    Timeout,
}

// === impl Outbox ===

impl Outbox {
    /// Writes to this stream.
    pub(crate) fn new(write: impl AsyncWrite + Send + 'static, limits: &Limits) -> Self {
        let state = State {
            write: Some(Box::pin(write)),
            queue: VecDeque::new(),
            written: 0,
            bytes: 0,
            last: 0,
            unflushed: false,
            gathering: false,
            stuck: false,
            writer: None,
            broken: None,
        };
        let max = Max {
            len: limits.write_queue_len_max.max(1),
            bytes: limits.write_queue_bytes_max,
            timeout: limits.write_timeout,
        };
        let (room, idle, closed) = (Notify::new(), Notify::new(), CancellationToken::new());
        Self { state: Mutex::new(state), room, idle, closed, max }
    }

    /// Waits until a message of this length would be taken.
    pub(crate) async fn room(&self, len: usize) -> Result<(), Unsaid> {
        // Mostly there is room, and a timer need not be made.
        if self.has_room(len)? {
            return Ok(());
        }
        let wait = async {
            loop {
                let room = self.room.notified();
                if self.has_room(len)? {
                    // There may be room for one more.
                    self.room.notify_one();
                    return Ok(());
                }
                room.await;
            }
        };
        tokio::select! {
            found = wait => found,
            () = self.closed.cancelled() => Err(Unsaid::Closed),
            () = tokio::time::sleep(self.max.timeout) => Err(Unsaid::Timeout),
        }
    }

    /// Writes a message, or has it written; waits for room.
    pub(crate) async fn say(&self, message: &Message, haste: Haste) -> Result<Said, Unsaid> {
        self.say_line(message.to_line(), haste).await
    }

    /// The same for a line that holds several.
    pub(crate) async fn say_line(&self, line: Bytes, haste: Haste) -> Result<Said, Unsaid> {
        loop {
            let said = |cx: &mut Context<'_>| Poll::Ready(self.try_say(&line, haste, cx));
            if let Some(said) = future::poll_fn(said).await? {
                return Ok(said);
            }
            self.room(line.len()).await?;
        }
    }

    /// Takes one message that has waited for too long back: true if its peer has seen none of it.
    ///
    /// Waits for ever if the message gets under way before.
    pub(crate) async fn overdue(&self, number: u64, since: Instant) {
        // Mostly it waits for no more than its turn, and a timer need not be made.
        future::poll_fn(|cx| self.state().poll_stuck(number, cx)).await;
        tokio::time::sleep_until(since + self.max.timeout).await;
        let withdrawn = self.state().withdraw(number);
        if !withdrawn {
            future::pending::<()>().await;
        }
        self.room.notify_one();
    }

    /// Writes what others leave behind and what comes down `cancellations`, until closed.
    pub(crate) async fn run(
        &self,
        mut cancellations: mpsc::Receiver<Box<Message>>,
    ) -> io::Result<()> {
        let mut more = true;
        loop {
            let due = future::poll_fn(|cx| self.poll_run(&mut cancellations, &mut more, cx));
            if let Due::End(broken) = due.await {
                return broken.map_or(Ok(()), Err);
            }
            // All that is ready to run does so before us.
            tokio::task::yield_now().await;
            self.state().gathering = false;
        }
    }

    fn poll_run(
        &self,
        cancellations: &mut mpsc::Receiver<Box<Message>>,
        more: &mut bool,
        cx: &mut Context<'_>,
    ) -> Poll<Due> {
        loop {
            let mut state = self.state();
            if state.write.is_none() {
                return Poll::Ready(Due::End(state.broken.take()));
            }
            match &mut state.writer {
                Some(writer) => writer.clone_from(cx.waker()),
                writer => *writer = Some(cx.waker().clone()),
            }
            if state.gathering {
                return Poll::Ready(Due::Gathering);
            }
            let drained = self.drain(&mut state, cx);
            drop(state);
            match drained {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(_)) => continue,
                Poll::Ready(Ok(())) if !*more => return Poll::Pending,
                Poll::Ready(Ok(())) => (),
            }
            match ready!(cancellations.poll_recv(cx)) {
                Some(message) => {
                    self.state().enqueue(message.to_line());
                }
                None => *more = false,
            }
        }
    }

    /// Closes the stream.  What waits is written as far as the peer takes it at once.
    pub(crate) fn close(&self) {
        let mut state = self.state();
        let mut cx = Context::from_waker(Waker::noop());
        if let Poll::Ready(Ok(())) = self.drain(&mut state, &mut cx)
            && let Some(write) = &mut state.write
        {
            // Over a socket it is this that the peer sees; over a pipe it is the drop.
            if let Poll::Ready(Err(error)) = write.as_mut().poll_shutdown(&mut cx) {
                debug!(%error, "peer is gone already");
            }
        }
        self.end(&mut state, None);
    }

    /// Waits until nothing can be written any more.
    pub(crate) async fn closed(&self) {
        self.closed.cancelled().await;
    }

    /// Waits until all that was said is written, or nothing can be any more.
    pub(crate) async fn written(&self) {
        loop {
            let mut idle = pin!(self.idle.notified());
            idle.as_mut().enable();
            if self.state().is_idle() {
                return;
            }
            idle.await;
        }
    }

    /// How many messages wait.
    pub(crate) fn waiting(&self) -> usize {
        self.state().queue.len()
    }

    /// How long a message waits.
    pub(crate) fn timeout(&self) -> Duration {
        self.max.timeout
    }

    fn has_room(&self, len: usize) -> Result<bool, Unsaid> {
        let state = self.state();
        if state.write.is_none() { Err(Unsaid::Closed) } else { Ok(self.fits(&state, len)) }
    }

    fn fits(&self, state: &State, len: usize) -> bool {
        let waiting = state.queue.len();
        waiting == 0
            || (waiting < self.max.len && state.bytes.saturating_add(len) <= self.max.bytes)
    }

    /// None if there is no room now.
    fn try_say(
        &self,
        line: &Bytes,
        haste: Haste,
        cx: &mut Context<'_>,
    ) -> Result<Option<Said>, Unsaid> {
        let mut state = self.state();
        if state.write.is_none() {
            return Err(Unsaid::Closed);
        }
        if !self.fits(&state, line.len()) {
            return Ok(None);
        }
        let nobody_waits = state.queue.is_empty();
        let number = state.enqueue(line.clone());
        // Without a writer nobody would come to write it.
        let begins = nobody_waits && haste == Haste::Gathered && state.writer.is_some();
        state.gathering |= begins;
        let due = if state.gathering { state.is_enough() } else { nobody_waits };
        // Only the writer is woken for the rest; that the asker is once, too, harms nobody.
        if due && matches!(self.drain(&mut state, cx), Poll::Ready(Ok(()))) {
            return Ok(Some(Said::Written));
        }
        if state.write.is_none() {
            return Err(Unsaid::Closed);
        }
        let writer = if nobody_waits { state.writer.clone() } else { None };
        drop(state);
        if let Some(writer) = writer {
            writer.wake();
        }
        Ok(Some(Said::Queued(number, Instant::now())))
    }

    fn drain(&self, state: &mut State, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let waiting = state.queue.len();
        let drained = state.poll_write(cx);
        for _ in state.queue.len()..waiting {
            self.room.notify_one();
        }
        state.stuck = drained.is_pending();
        if state.stuck {
            state.queue.iter_mut().filter_map(|it| it.asker.take()).for_each(Waker::wake);
        }
        if let Poll::Ready(Err(error)) = drained {
            self.end(state, Some(error));
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if drained.is_ready() {
            self.idle.notify_waiters();
        }
        drained
    }

    fn end(&self, state: &mut State, broken: Option<io::Error>) {
        state.write = None;
        state.queue.clear();
        state.bytes = 0;
        state.broken = broken;
        self.closed.cancel();
        self.idle.notify_waiters();
        if let Some(writer) = state.writer.take() {
            writer.wake();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox").field("waiting", &self.waiting()).finish_non_exhaustive()
    }
}

// === impl State ===

impl State {
    fn enqueue(&mut self, line: Bytes) -> u64 {
        self.last += 1;
        self.bytes += line.len();
        let vectored = self.write.as_ref().is_some_and(|write| write.is_write_vectored());
        let (line, tail): (_, &[u8]) = match vectored {
            true => (line, b"\n"),
            false => (Bytes::from([&line, b"\n".as_slice()].concat()), b""),
        };
        self.queue.push_back(Outgoing { number: self.last, line, tail, asker: None });
        self.last
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(write) = &mut self.write else { return Poll::Ready(Ok(())) };
        while !self.queue.is_empty() {
            let mut slices = [IoSlice::new(&[]); 2 * WRITE_LEN_MAX];
            let parts = self.queue.iter().flat_map(|it| [&*it.line, it.tail]);
            let mut skip = self.written;
            let mut used = 0;
            for (slice, part) in slices.iter_mut().zip(parts) {
                *slice = IoSlice::new(part.get(skip.min(part.len())..).unwrap_or_default());
                skip = skip.saturating_sub(part.len());
                used += 1;
            }
            let slices = slices.get(..used).unwrap_or_default();
            let len = ready!(write.as_mut().poll_write_vectored(cx, slices))?;
            if len == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.unflushed = true;
            self.written += len;
            while let Some(first) = self.queue.front()
                && first.line.len() + first.tail.len() <= self.written
            {
                self.written -= first.line.len() + first.tail.len();
                self.bytes = self.bytes.saturating_sub(first.counted());
                self.queue.pop_front();
            }
        }
        if self.unflushed {
            ready!(write.as_mut().poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Whether as much has gathered as one write takes.
    fn is_enough(&self) -> bool {
        WRITE_LEN_MAX <= self.queue.len() || GATHERED_BYTES_MAX <= self.bytes
    }

    /// Resolves when the peer does not take a message; never once it is written.
    fn poll_stuck(&mut self, number: u64, cx: &Context<'_>) -> Poll<()> {
        if self.stuck {
            return Poll::Ready(());
        }
        let at = self.queue.binary_search_by_key(&number, |it| it.number);
        if let Some(waiting) = at.ok().and_then(|at| self.queue.get_mut(at)) {
            match &mut waiting.asker {
                Some(asker) => asker.clone_from(cx.waker()),
                asker => *asker = Some(cx.waker().clone()),
            }
        }
        Poll::Pending
    }

    /// Whether there is nothing to write, or nothing can be written.
    fn is_idle(&self) -> bool {
        self.write.is_none() || (self.queue.is_empty() && !self.unflushed)
    }

    /// Takes a message out of the queue, unless some of it is written.
    fn withdraw(&mut self, number: u64) -> bool {
        let Ok(at) = self.queue.binary_search_by_key(&number, |it| it.number) else {
            return false;
        };
        if at == 0 && 0 < self.written {
            return false;
        }
        if let Some(withdrawn) = self.queue.remove(at) {
            self.bytes = self.bytes.saturating_sub(withdrawn.counted());
        }
        true
    }
}

// === impl Outgoing ===

impl Outgoing {
    /// What it counts for against the bound: the message without its line break.
    fn counted(&self) -> usize {
        self.line.len() - usize::from(self.tail.is_empty())
    }
}

#[cfg(test)]
mod tests;
