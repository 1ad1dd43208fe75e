//! What waits to go down one client's stream, and what went down it and may have been lost.

mod kept;

use std::{
    collections::VecDeque,
    fmt::Write,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use futures::Stream;
use mcp_jsonrpc::{
    Message,
    transport::{Event, EventId, InboxMax, SessionId},
};
use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;

use self::kept::Kept;
use crate::{stream::Chunk, wire};

/// What waits to go down one client's stream: bounded in events and bytes.
///
/// Whoever writes into it never waits.  A reader that is so slow that there is no room left misses
/// logs and progress; where they do not suffice, it loses its stream as a whole, and is told so,
/// rather than an answer without a word.
///
/// What was read is kept for a while, for a reader that lost it and comes back.
#[derive(Debug)]
pub(crate) struct Outbox {
    /// What the ids of its events begin with: there is one for each event.
    prefix: Arc<str>,
    /// Drawn when it began: what went down an earlier one is not known here.
    life: u32,
    /// Whether a reader may come back.
    keeps: bool,
    state: Mutex<State>,
    max: OutboxMax,
    /// A reader has come or gone.
    changed: Notify,
    /// Cancelled when nobody reads any more, or nothing more will be said.
    over: CancellationToken,
}

/// How much is in an [`Outbox`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct OutboxMax {
    /// Waiting to be read.
    pub(crate) waiting: InboxMax,
    /// Read, and kept.
    pub(crate) kept: InboxMax,
}

/// The id of an event: which session, which outbox, which event.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) session: SessionId,
    life: u32,
    seq: u64,
}

#[derive(Debug, Default)]
struct State {
    /// What was read, for who comes back.
    kept: Kept,
    /// What was not.
    queue: VecDeque<Message>,
    unread: Count,
    /// The number of the next to be put in; the first is 1.
    next: u64,
    /// Which reader may go on: the last that came.
    turn: u64,
    reader: Option<Waker>,
    /// Since when there is none.
    away_since: Option<Instant>,
    ended: bool,
    /// Why it ended, for the reader.
    last_words: Option<String>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    len: usize,
    bytes: usize,
}

/// There was no room: the stream is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Overflow;

// === impl Mark ===

impl Mark {
    /// Reads an id; none if it is none of ours.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let mut parts = text.rsplitn(3, '.');
        let (seq, life, session) = (parts.next()?, parts.next()?, parts.next()?);
        let life = u32::from_str_radix(life, 16).ok().filter(|_| life.len() == 8)?;
        Some(Self { session: SessionId::new(session)?, life, seq: seq.parse().ok()? })
    }
}

// === impl Outbox ===

impl Outbox {
    /// An empty one, without a reader; `keeps` says whether one that is gone may come back.
    pub(crate) fn new(session: &SessionId, max: OutboxMax, keeps: bool) -> Arc<Self> {
        let mut life = [0; 4];
        let keeps = keeps && getrandom::fill(&mut life).is_ok();
        let state = State { next: 1, away_since: Some(Instant::now()), ..State::default() };
        let life = u32::from_be_bytes(life);
        Arc::new(Self {
            prefix: format!("{}.{life:08x}.", session.as_str()).into(),
            life,
            keeps,
            state: Mutex::new(state),
            max,
            changed: Notify::new(),
            over: CancellationToken::new(),
        })
    }

    /// Adds an event.  What is said to a stream that is over is dropped: nobody can hear it.
    ///
    /// One event is taken however long it is, so that the bound in bytes never stops a message
    /// which is allowed by itself.  Where there is no room, what nobody misses gives way, and news
    /// that wait to be read are not said again; returns how many were dropped that did not wait
    /// already.
    pub(crate) fn push(&self, event: Event) -> Result<u64, Overflow> {
        // Where to resume behind says nothing in front.
        let Event::Message { message, .. } = event else { return Ok(0) };
        let mut state = self.state();
        if state.ended {
            return Ok(0);
        }
        let (max, bytes) = (self.max.waiting, message.as_bytes().len());
        let mut dropped = 0;
        if !state.unread.has_room(max, bytes) {
            if message.is_spare() {
                return Ok(1);
            }
            if state.says(&message) {
                return Ok(0);
            }
            dropped = state.shed(max, bytes);
            if !state.unread.has_room(max, bytes) {
                return Err(Overflow);
            }
        }
        state.unread.add(&message);
        state.next += 1;
        state.queue.push_back(message);
        wake(state);
        Ok(dropped)
    }

    /// Ends the stream: what waits is dropped, and the reader is told why.
    pub(crate) fn end(&self, last_words: impl Into<String>) {
        let mut state = self.state();
        if !state.ended {
            state.ended = true;
            state.last_words = Some(last_words.into());
            (state.kept, state.queue) = (Kept::default(), VecDeque::new());
            state.unread = Count::default();
        }
        wake(state);
        self.over.cancel();
    }

    /// Whether the stream is over.
    pub(crate) fn is_over(&self) -> bool {
        self.over.is_cancelled()
    }

    /// Resolves when the stream is over, whoever ended it.
    pub(crate) async fn over(&self) {
        self.over.cancelled().await;
    }

    /// Since when it has no reader.
    pub(crate) fn away_since(&self) -> Option<Instant> {
        self.state().away_since
    }

    /// Resolves when it has had no reader for so long.
    pub(crate) async fn deserted(&self, grace: Duration) {
        loop {
            let changed = self.changed.notified();
            let Some(since) = self.away_since() else {
                changed.await;
                continue;
            };
            if tokio::time::timeout_at(since + grace, changed).await.is_err()
                && self.away_since() == Some(since)
            {
                return;
            }
        }
    }

    /// Lets go of what was read so long ago.
    pub(crate) fn sweep(&self, age: Duration) {
        self.state().kept.sweep(age);
    }

    /// The stream for a reader, and the id it stands at: one that comes back goes on after its
    /// mark.  Whoever read it before reads no more.
    pub(crate) fn attach(self: &Arc<Self>, mark: Option<&Mark>) -> (Option<EventId>, Reader) {
        let mut state = self.state();
        state.turn += 1;
        state.away_since = None;
        let gap = mark.filter(|it| it.life == self.life).map_or(0, |mark| state.rewind(mark.seq));
        let (turn, at) = (state.turn, state.at());
        // Whoever read it before learns that its turn is over.
        wake(state);
        self.changed.notify_one();
        let words = format!("{gap} messages are missing: more is not kept");
        let missing = (gap != 0).then(|| Chunk::Encoded(wire::encode_comment(&words)));
        let events = Reader { outbox: Arc::clone(self), turn, missing };
        (self.keeps.then(|| self.id(at)).flatten(), events)
    }

    fn poll_next(&self, turn: u64, cx: &Context<'_>) -> Poll<Option<Chunk>> {
        let mut state = self.state();
        if state.turn != turn {
            return Poll::Ready(None);
        }
        let seq = state.at() + 1;
        if let Some(message) = state.take() {
            if !self.keeps {
                return Poll::Ready(Some(Chunk::Event(message.into())));
            }
            state.kept.keep(&message, self.max.kept);
            let prefix = Arc::clone(&self.prefix);
            return Poll::Ready(Some(Chunk::Numbered { prefix, seq, message }));
        }
        if let Some(words) = state.last_words.take() {
            return Poll::Ready(Some(Chunk::Encoded(wire::encode_comment(&words))));
        }
        if state.ended {
            return Poll::Ready(None);
        }
        match &mut state.reader {
            Some(reader) => reader.clone_from(cx.waker()),
            reader => *reader = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    fn id(&self, seq: u64) -> Option<EventId> {
        let mut id = String::with_capacity(self.prefix.len() + 20);
        id.push_str(&self.prefix);
        write!(id, "{seq}").ok()?;
        EventId::new(&id)
    }

    /// A reader is gone, unless another took its place.
    fn leave(&self, turn: u64) {
        {
            let mut state = self.state();
            if state.turn != turn {
                return;
            }
            state.away_since = Some(Instant::now());
        }
        match self.keeps {
            true => self.changed.notify_one(),
            false => self.end("nobody reads it any more"),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The number of the last that was read.
    fn at(&self) -> u64 {
        self.next - 1 - u64::try_from(self.unread.len).unwrap_or_default()
    }

    /// Takes the next that was not read.
    fn take(&mut self) -> Option<Message> {
        let message = self.queue.pop_front()?;
        self.unread.sub(&message);
        Some(message)
    }

    /// Whether news that wait to be read say this too.
    fn says(&self, news: &Message) -> bool {
        self.queue.iter().any(|waiting| news.repeats(waiting))
    }

    /// Drops of what was not read what nobody misses, the oldest first, until there is room for
    /// so many bytes; returns how many were.  Nobody has seen their numbers, so they are free.
    fn shed(&mut self, max: InboxMax, bytes: usize) -> u64 {
        let Self { queue, unread, .. } = self;
        let before = unread.len;
        queue.retain(|message| {
            let goes = !unread.has_room(max, bytes) && message.is_spare();
            if goes {
                unread.sub(message);
            }
            !goes
        });
        let shed = u64::try_from(before - unread.len).unwrap_or_default();
        self.next -= shed;
        shed
    }

    /// Goes back to where a reader stands; returns how many messages before that are missing.
    fn rewind(&mut self, seq: u64) -> u64 {
        while seq < self.at()
            && let Some(message) = self.kept.take_back()
        {
            self.unread.add(&message);
            self.queue.push_front(message);
        }
        self.at().saturating_sub(seq)
    }
}

impl Count {
    /// Whether so many bytes more may wait; one message may, however long it is.
    fn has_room(self, max: InboxMax, bytes: usize) -> bool {
        self.len == 0 || self.len < max.queue_len_max && self.bytes + bytes <= max.queue_bytes_max
    }

    fn add(&mut self, message: &Message) {
        self.len += 1;
        self.bytes += message.as_bytes().len();
    }

    fn sub(&mut self, message: &Message) {
        self.len = self.len.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(message.as_bytes().len());
    }
}

fn wake(mut state: MutexGuard<'_, State>) {
    let reader = state.reader.take();
    drop(state);
    if let Some(reader) = reader {
        reader.wake();
    }
}

/// What waits and what comes, for one reader.
pub(crate) struct Reader {
    outbox: Arc<Outbox>,
    turn: u64,
    /// What it is told first.
    missing: Option<Chunk>,
}

impl Stream for Reader {
    type Item = Chunk;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Chunk>> {
        match self.missing.take() {
            Some(missing) => Poll::Ready(Some(missing)),
            None => self.outbox.poll_next(self.turn, cx),
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.outbox.leave(self.turn);
    }
}

#[cfg(test)]
mod tests;
