//! What went down a session's streams, kept for a client that loses one.
//!
//! A stream in front (REQUIREMENTS D.2) is read from its source, message by message, and each is
//! kept as it passes.  Whoever comes back with the id of an event takes the stream over: it is
//! told what came after, and goes on.  A stream that answers a request goes on without a reader,
//! since a lost connection cancels nothing (R-A66); one that listens ends with its reader, and
//! what comes meanwhile waits as for any session that nobody listens to.

mod place;
mod rings;

use std::{
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use futures::{Stream, StreamExt, stream};
use mcp_jsonrpc::{
    Id, Message, RpcError,
    transport::{ErrorKind, Event, EventId, EventStream, SessionId, TransportError},
};
use tokio_util::task::TaskTracker;
use tracing::debug;

use place::{Place, Purpose};
use rings::{Found, Rings, Source, Turn};

/// How long a client is asked to wait before it comes back: long enough that two attempts, which
/// is all that some make, outlast a restart of the gateway.
const RETRY: Duration = Duration::from_secs(2);

/// How much of a session's streams is kept for a client that loses one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplayMax {
    /// How many bytes, all streams of the session together; an answer that is longer by itself
    /// is replaced by an error that says so.
    pub bytes_max: usize,
    /// How many messages and streams.
    pub len_max: usize,
    /// For how long, from when it was said, or its stream ended.
    pub timeout: Duration,
}

impl Default for ReplayMax {
    /// 1 MiB, 1,024 messages, 5 minutes.
    fn default() -> Self {
        Self { bytes_max: 1 << 20, len_max: 1024, timeout: Duration::from_secs(300) }
    }
}

/// What went down the streams of one session.
#[derive(Clone)]
pub(crate) struct Log(Arc<Shared>);

struct Shared {
    session: SessionId,
    /// Drawn when the log began, so that ids of an earlier one are known for what they are.
    life: u32,
    max: ReplayMax,
    /// Where the rest of an answer is read when nobody else does.
    detached: TaskTracker,
    rings: Mutex<Rings>,
}

// === impl Log ===

impl Log {
    /// An empty one; none where the system has no randomness.
    pub(crate) fn new(session: &SessionId, max: ReplayMax, detached: &TaskTracker) -> Option<Self> {
        let mut life = [0; 4];
        getrandom::fill(&mut life).ok()?;
        Some(Self(Arc::new(Shared {
            session: session.clone(),
            life: u32::from_be_bytes(life),
            max,
            detached: detached.clone(),
            rings: Mutex::default(),
        })))
    }

    /// A stream that can be gone on with after any of its events: the answers to these requests,
    /// or, where there are none, what is said unasked.
    pub(crate) fn keep(&self, of: &[Id], source: EventStream) -> EventStream {
        let purpose = match of {
            [] => Purpose::Listens,
            ids => Purpose::Answers(ids.into()),
        };
        let Shared { session, life, max, .. } = &*self.0;
        let name = |number, purpose: &_| place::name(session, *life, number, purpose);
        match self.rings().begin(max, purpose, source, name) {
            Some((number, turn)) => self.read(number, turn, 0),
            None => stream::empty().boxed(),
        }
    }

    /// Goes on after an event; `listen` begins to listen anew.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] for what is no event of this session, or is of a stream that is
    /// not kept any more and whose requests are not known.
    pub(crate) fn resume(
        &self,
        after: &EventId,
        listen: impl FnOnce() -> EventStream,
    ) -> Result<EventStream, TransportError> {
        let place = place::read(&self.0.session, after).ok_or_else(unknown)?;
        let is_ours = place.life == self.0.life;
        let taken = is_ours.then(|| self.rings().take_over(place.stream, place.seq)).flatten();
        let Some(turn) = taken else { return self.gone(place, is_ours, listen) };
        let turn = turn.map_err(|()| unknown())?;
        if place.purpose == Purpose::Listens && lock(&turn.source).is_none() {
            let fresh = listen();
            lock(&turn.source).get_or_insert(fresh);
        }
        Ok(self.read(place.stream, turn, place.seq))
    }

    /// What is said to whoever comes too late: an error to each request that waits, or that
    /// something may be missing.
    fn gone(
        &self,
        place: Place,
        is_ours: bool,
        listen: impl FnOnce() -> EventStream,
    ) -> Result<EventStream, TransportError> {
        let ids = match place.purpose {
            Purpose::Listens => {
                let gap = stream::iter([Err(missing("what came after it"))]);
                return Ok(gap.chain(self.keep(&[], listen())).boxed());
            }
            Purpose::Answers(ids) if ids.is_empty() => {
                let error = TransportError::new(
                    ErrorKind::Invalid(RpcError::INVALID_REQUEST),
                    "what came after the event that `Last-Event-ID` names is not kept any more",
                );
                return Err(error.hint("ask again, if that is safe"));
            }
            Purpose::Answers(ids) => ids,
        };
        let words = if is_ours {
            "the connection was lost, and the answer is not kept any more; the request may have \
             been executed: send it again only if that is safe"
        } else {
            "the gateway was restarted while this request was being answered; it may have been \
             executed: send it again only if that is safe"
        };
        debug!(?ids, words, "nothing to go on with");
        let errors: Vec<_> = ids
            .iter()
            .filter_map(|id| {
                Message::error(Some(id), &RpcError::new(RpcError::INTERNAL, words)).ok()
            })
            .map(|message| Ok(Event::from(message)))
            .collect();
        Ok(stream::iter(errors).boxed())
    }

    /// Lets go of what was kept long enough.
    pub(crate) fn sweep(&self) {
        self.rings().sweep(&self.0.max);
    }

    /// Lets go of what has been said to its end.
    pub(crate) fn clear(&self) {
        self.rings().clear();
    }

    /// How much is kept: bytes, and streams and messages.
    #[cfg(test)]
    pub(crate) fn size(&self) -> (usize, usize) {
        self.rings().size()
    }

    fn read(&self, stream: u64, turn: Turn, after: u64) -> EventStream {
        let Turn { turn, name, source } = turn;
        let id = place::id(&name, after);
        let priming = Some(Event::Pause { id, retry: Some(RETRY) });
        let log = self.clone();
        Reader { log, at: (stream, turn), name, source, next: after + 1, priming, alone: false }
            .boxed()
    }

    fn rings(&self) -> MutexGuard<'_, Rings> {
        lock(&self.0.rings)
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").field("max", &self.0.max).finish_non_exhaustive()
    }
}

/// One reader of one stream, until another takes its place.
struct Reader {
    log: Log,
    /// The stream, and the turn.
    at: (u64, u64),
    name: Arc<str>,
    source: Source,
    next: u64,
    /// Tells the client where it stands before anything is said.
    priming: Option<Event>,
    /// Nobody hears what it reads: it only keeps it.
    alone: bool,
}

// === impl Reader ===

impl Reader {
    fn step(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Event, TransportError>>> {
        let Self { log, at, name, next, alone, .. } = self;
        // Held from the look into the ring to what is put there, so that the order is kept also
        // where another reader takes over meanwhile.
        let mut source = lock(&self.source);
        match log.rings().find(*at, *next, cx.waker()) {
            Found::Message(message) => return Poll::Ready(Some(Ok(event(name, next, message)))),
            Found::Missing(count) => {
                *next += count;
                let what = format!("{count} messages of this stream");
                return Poll::Ready(Some(Err(missing(&what))));
            }
            Found::Over => return Poll::Ready(None),
            Found::Nothing => (),
        }
        loop {
            let Some(events) = &mut *source else { return Poll::Ready(None) };
            match std::task::ready!(events.poll_next_unpin(cx)) {
                Some(Ok(Event::Message { message, .. })) => {
                    let is_current = log.rings().push(&log.0.max, *at, &message);
                    return Poll::Ready(is_current.then(|| Ok(event(name, next, message))));
                }
                // Event ids and pauses are of one hop: they end here.
                Some(Ok(Event::Pause { .. })) => (),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => {
                    log.rings().end(at.0, !*alone);
                    let spent = source.take();
                    drop(source);
                    drop(spent);
                    return Poll::Ready(None);
                }
            }
        }
    }
}

impl Stream for Reader {
    type Item = Result<Event, TransportError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.priming.take() {
            Some(priming) => Poll::Ready(Some(Ok(priming))),
            None => self.step(cx),
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if self.alone {
            return;
        }
        let goes_on = self.log.rings().lose(self.at);
        let detached = &self.log.0.detached;
        if goes_on && !detached.is_closed() && tokio::runtime::Handle::try_current().is_ok() {
            let rest = Self {
                log: self.log.clone(),
                at: self.at,
                name: Arc::clone(&self.name),
                source: Arc::clone(&self.source),
                next: self.next,
                priming: None,
                alone: true,
            };
            detached.spawn(rest.for_each(|_| std::future::ready(())));
        } else if self.log.rings().is_current(self.at) {
            let source = lock(&self.source).take();
            drop(source);
        }
    }
}

/// The next event of the stream of this name.
fn event(name: &str, next: &mut u64, message: Message) -> Event {
    let id = place::id(name, *next);
    *next += 1;
    Event::Message { id, message }
}

/// Not the last thing said: what can still be told comes after it.
fn missing(what: &str) -> TransportError {
    let what = format!("{what} can be missing: more is not kept for a client that comes back");
    TransportError::new(ErrorKind::Exhausted, what)
}

fn unknown() -> TransportError {
    let kind = ErrorKind::Invalid(RpcError::INVALID_REQUEST);
    let error = TransportError::new(kind, "`Last-Event-ID` names no event of this session");
    error.hint("leave it out to listen from now on")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
