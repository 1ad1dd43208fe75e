//! The requests of one session that are being answered.
//!
//! In here, cancelling is dropping, with one exception: a client of a legacy revision that loses
//! the stream of a request has not cancelled it (REQUIREMENTS R-A66), so what is left of an
//! answer nobody reads any more is read here to its end.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    error::Error,
    fmt,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use futures::{FutureExt, Stream, StreamExt, future::BoxFuture, stream};
use mcp_jsonrpc::{
    Id, Message, RpcError,
    transport::{ErrorKind, Event, EventStream, Inbox, InboxMax, Reply, TransportError, abandon},
};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

/// How long a request may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallTimeouts {
    /// Until the server says anything to it.
    pub first_byte_timeout: Duration,
    /// Between two things the server says to it: progress counts, and the time in which the
    /// client has yet to answer what the server asked does not.
    pub idle_timeout: Duration,
    /// Altogether, whatever progress there is.
    pub total_timeout: Duration,
}

impl Default for CallTimeouts {
    /// 5 minutes, 5 minutes, 1 hour.
    fn default() -> Self {
        Self {
            first_byte_timeout: Duration::from_secs(300),
            idle_timeout: Duration::from_secs(300),
            total_timeout: Duration::from_secs(3600),
        }
    }
}

/// The requests of one session that are being answered, by the client's id.
#[derive(Clone)]
pub(crate) struct Calls(Arc<Table>);

struct Table {
    /// A tree: mostly there is one, and ids are chosen by clients.
    calls: Mutex<BTreeMap<Id, Arc<Call>>>,
    entered: AtomicU64,
    in_flight_max: AtomicUsize,
    inbox: InboxMax,
    /// Where the rest of an answer is read when nobody else reads it.
    detached: TaskTracker,
}

/// A request that is being answered.
pub(crate) struct Call {
    order: u64,
    /// What is said to it from elsewhere than its own reply: questions, and the end.
    inbox: Inbox,
    /// Whether anything is in there: [`SILENT`], [`SPOKEN`] or [`OVER`].
    said: AtomicU8,
    clock: Clock,
}

/// Nothing was said to a call from elsewhere: mostly so to its end, and then nobody locks its inbox.
const SILENT: u8 = 0;
/// Something was.
const SPOKEN: u8 = 1;
/// It was answered before anything was.
const OVER: u8 = 2;

/// When a call began, and when the server last said something to it.
struct Clock {
    began: Instant,
    /// Milliseconds from the beginning; 0 as long as nothing was said.
    last_ms: AtomicU64,
}

/// One request's place among them, until it is dropped.
struct Place {
    calls: Calls,
    id: Id,
    call: Arc<Call>,
}

// === impl Calls ===

impl Calls {
    /// So many may be under way, and so much said to each.  What is left of an answer that nobody
    /// reads any more is read in `detached`, while that is open.
    pub(crate) fn new(in_flight_max: usize, inbox: InboxMax, detached: &TaskTracker) -> Self {
        let (calls, entered) = (Mutex::default(), AtomicU64::new(0));
        let in_flight_max = AtomicUsize::new(in_flight_max);
        let detached = detached.clone();
        Self(Arc::new(Table { calls, entered, in_flight_max, inbox, detached }))
    }

    /// From now on so many may be under way; more that are go on.
    pub(crate) fn set_max(&self, in_flight_max: usize) {
        self.0.in_flight_max.store(in_flight_max, Ordering::Relaxed);
    }

    fn enter(&self, id: Id, began: Instant) -> Result<Place, TransportError> {
        let inbox = Inbox::empty(self.0.inbox);
        let clock = Clock { began, last_ms: AtomicU64::new(0) };
        let order = self.0.entered.fetch_add(1, Ordering::Relaxed);
        let call = Arc::new(Call { order, inbox, said: AtomicU8::new(SILENT), clock });
        let mut calls = self.lock();
        if self.0.in_flight_max.load(Ordering::Relaxed) <= calls.len() {
            let what = format!("{} requests of this session are being answered", calls.len());
            let error = TransportError::new(ErrorKind::Exhausted, what);
            return Err(error.hint("wait for one to end before you send another"));
        }
        match calls.entry(id.clone()) {
            Entry::Vacant(entry) => entry.insert(Arc::clone(&call)),
            Entry::Occupied(_) => {
                let kind = ErrorKind::Invalid(RpcError::INVALID_REQUEST);
                let what = format!("a request with the id {id} is still being answered");
                return Err(TransportError::new(kind, what));
            }
        };
        drop(calls);
        Ok(Place { calls: self.clone(), id, call })
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    /// Takes a request back, if it is still being answered; the server is told why.
    pub(crate) fn cancel(&self, id: &Id, reason: Option<String>) {
        if let Some(call) = self.get(id) {
            call.finish(Err(match reason {
                Some(reason) => cancelled().because(reason),
                None => cancelled(),
            }));
        }
    }

    /// One of them.
    pub(crate) fn get(&self, id: &Id) -> Option<Arc<Call>> {
        self.lock().get(id).cloned()
    }

    /// Takes all of them back.
    pub(crate) fn cancel_all(&self) {
        let calls: Vec<_> = self.lock().values().cloned().collect();
        for call in calls {
            call.finish(Err(cancelled()));
        }
    }

    /// The only call, where there is exactly one.
    pub(crate) fn only(&self) -> Option<Arc<Call>> {
        let calls = self.lock();
        let mut all = calls.values();
        match (all.next(), all.next()) {
            (Some(call), None) => Some(Arc::clone(call)),
            _ => None,
        }
    }

    /// The call that has been there longest.
    pub(crate) fn oldest(&self) -> Option<Arc<Call>> {
        let calls = self.lock();
        calls.values().min_by_key(|call| call.order).cloned()
    }

    /// Notes that the server waits for the client, not the other way round.  For which of the
    /// calls is not known on most wires, so it is noted for all of them.
    pub(crate) fn wait_for_client(&self) {
        self.lock().values().for_each(|call| call.clock.tick());
    }

    /// Ends the calls whose time is over.
    pub(crate) fn sweep(&self, timeouts: &CallTimeouts) {
        let late: Vec<_> = {
            let calls = self.lock();
            let late = calls
                .values()
                .filter_map(|call| Some((Arc::clone(call), call.clock.late(timeouts)?)));
            late.collect()
        };
        for (call, error) in late {
            call.finish(Err(error));
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Id, Arc<Call>>> {
        self.0.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Calls").field(&self.len()).finish()
    }
}

// === impl Call ===

impl Call {
    /// Says something to it before its answer; hands it back where that is too late or too much.
    pub(crate) fn push(&self, event: Event) -> Result<(), Event> {
        if self.speak() { self.inbox.push(event) } else { Err(event) }
    }

    /// The same where what nobody misses gives way: see [`Inbox::press`].
    pub(crate) fn press(&self, event: Event) -> Result<u64, Event> {
        if self.speak() { self.inbox.press(event) } else { Err(event) }
    }

    /// Says the last word to it.
    pub(crate) fn finish(&self, end: Result<Option<Message>, TransportError>) {
        if self.speak() {
            self.inbox.finish(end);
        }
    }

    /// Before anything is put into its inbox: whether it is not too late for that.
    fn speak(&self) -> bool {
        let said = self.said.compare_exchange(SILENT, SPOKEN, Ordering::AcqRel, Ordering::Acquire);
        said != Err(OVER)
    }

    /// In the name of who reads its answer: whether nothing was said from elsewhere, and nothing
    /// will be any more.
    fn ends_silent(&self) -> bool {
        self.said.compare_exchange(SILENT, OVER, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// What was said from elsewhere and waits.
    fn heard(&self) -> Poll<Said> {
        match self.said.load(Ordering::Acquire) {
            SILENT => Poll::Pending,
            _ => self.inbox.next_now(),
        }
    }
}

// === impl Clock ===

impl Clock {
    fn tick(&self) {
        let ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_ms.store(ms.max(1), Ordering::Relaxed);
    }

    /// The error of a call whose time is over.
    fn late(&self, timeouts: &CallTimeouts) -> Option<TransportError> {
        let elapsed = self.began.elapsed();
        let last = self.last_ms.load(Ordering::Relaxed);
        let quiet = elapsed.saturating_sub(Duration::from_millis(last));
        let (what, limit, key) = match last {
            _ if timeouts.total_timeout <= elapsed => {
                ("not finished", timeouts.total_timeout, "requestTimeout")
            }
            0 if timeouts.first_byte_timeout <= quiet => {
                ("no answer", timeouts.first_byte_timeout, "firstByteTimeout")
            }
            1.. if timeouts.idle_timeout <= quiet => {
                ("nothing more was heard", timeouts.idle_timeout, "idleTimeout")
            }
            _ => return None,
        };
        let what = format!("{what} within {} s; the request was cancelled", limit.as_secs_f32());
        let hint = format!("if the tool is meant to take longer, raise `{key}` of this server");
        Some(TransportError::new(ErrorKind::Timeout, what).hint(hint))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.calls.lock().remove(&self.id);
    }
}

/// A request on its way, and all that is said to it until its answer.
pub(crate) struct Answering {
    behind: Behind,
    place: Option<Place>,
    /// Nobody waits for it any more: it is read to its end for its server's sake.
    is_left: bool,
}

/// What a stream says next.
type Said = Option<Result<Event, TransportError>>;

enum Behind {
    Sent(BoxFuture<'static, Result<Reply, TransportError>>),
    Speaking(EventStream),
    Done,
}

// === impl Answering ===

impl Answering {
    /// Takes a place for the request `sent`, which begins now.
    pub(crate) fn new(
        calls: &Calls,
        id: Id,
        now: Instant,
        sent: BoxFuture<'static, Result<Reply, TransportError>>,
    ) -> Result<Self, TransportError> {
        let place = Some(calls.enter(id, now)?);
        Ok(Self { behind: Behind::Sent(sent), place, is_left: false })
    }

    /// Says something to it before its answer; hands it back where that is too late or too much.
    pub(crate) fn push(&self, event: Event) -> Result<(), Event> {
        match &self.place {
            Some(place) => place.call.push(event),
            None => Err(event),
        }
    }

    /// Waits for the first thing said, which is mostly the answer.
    pub(crate) async fn reply(mut self) -> Result<Reply, TransportError> {
        match self.next().await {
            Some(Ok(Event::Message { message, .. })) if message.is_answer() => {
                Ok(Reply::Single(message))
            }
            Some(Ok(first)) => Ok(Reply::Stream(stream::iter([Ok(first)]).chain(self).boxed())),
            Some(Err(error)) => Err(error),
            None => Err(TransportError::unanswered()),
        }
    }

    fn end(&mut self) {
        self.behind = Behind::Done;
        self.place = None;
    }

    /// Ends it before its answer: what is behind is told why, in the client's own words where it
    /// was the client that took it back.
    fn abandon(&mut self, error: &TransportError) {
        let behind = std::mem::replace(&mut self.behind, Behind::Done);
        self.end();
        match (behind, error.kind(), error.source()) {
            (Behind::Done, _, _) => (),
            (behind, ErrorKind::Cancelled, None) => drop(behind),
            (behind, ErrorKind::Cancelled, Some(reason)) => abandon(behind, &reason.to_string()),
            (behind, _, _) => abandon(behind, &error.said_of_it().to_string()),
        }
    }

    /// What was said to it from elsewhere, or last, which ends it.
    fn hear(&mut self, said: Said) -> Said {
        match &said {
            Some(Ok(Event::Message { message, .. })) if !message.is_answer() => (),
            Some(Err(error)) => self.abandon(error),
            _ => self.end(),
        }
        said
    }
}

impl Behind {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Event, TransportError>> {
        loop {
            match self {
                Self::Sent(sent) => match std::task::ready!(sent.poll_unpin(cx))? {
                    Reply::Single(message) => return Poll::Ready(Ok(message.into())),
                    Reply::Stream(events) => *self = Self::Speaking(events),
                    Reply::Accepted => return Poll::Ready(Err(TransportError::unanswered())),
                },
                Self::Speaking(events) => match std::task::ready!(events.poll_next_unpin(cx)) {
                    // Event ids and pauses are of one hop: they end here.
                    Some(Ok(Event::Message { message, .. })) => {
                        return Poll::Ready(Ok(message.into()));
                    }
                    Some(Ok(Event::Pause { .. })) => (),
                    Some(Err(error)) => return Poll::Ready(Err(error)),
                    None => return Poll::Ready(Err(TransportError::unanswered())),
                },
                Self::Done => return Poll::Ready(Err(TransportError::unanswered())),
            }
        }
    }
}

impl Stream for Answering {
    type Item = Result<Event, TransportError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            let Some(Place { call, .. }) = &this.place else {
                return Poll::Ready(None);
            };
            if let Poll::Ready(said) = call.heard() {
                return Poll::Ready(this.hear(said));
            }
            let end = match this.behind.poll(cx) {
                Poll::Ready(Ok(Event::Message { message, .. })) if message.is_answer() => {
                    Ok(message)
                }
                Poll::Ready(Ok(event)) => {
                    call.clock.tick();
                    return Poll::Ready(Some(Ok(event)));
                }
                Poll::Ready(Err(error)) => Err(error),
                // Only who has to wait is woken for what is said from elsewhere.
                Poll::Pending => {
                    let said = std::task::ready!(call.inbox.poll_next(cx));
                    return Poll::Ready(this.hear(said));
                }
            };
            this.behind = Behind::Done;
            if call.ends_silent() {
                this.place = None;
                return Poll::Ready(Some(end.map(Event::from)));
            }
            // By way of the inbox: what was said to it meanwhile comes first, and whoever has
            // more to say from now on is told that it is too late.
            call.inbox.close(end.map(Some));
        }
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        let Some(place) = self.place.take_if(|_| !self.is_left) else { return };
        let calls = place.calls.clone();
        let detached = &calls.0.detached;
        let behind = std::mem::replace(&mut self.behind, Behind::Done);
        let rest = Self { behind, place: Some(place), is_left: true };
        if !detached.is_closed() && tokio::runtime::Handle::try_current().is_ok() {
            detached.spawn(rest.for_each(|_| std::future::ready(())));
        }
    }
}

fn cancelled() -> TransportError {
    TransportError::new(ErrorKind::Cancelled, "the request was cancelled")
}

#[cfg(test)]
mod tests;
