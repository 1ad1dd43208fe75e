//! What the server says unasked, on its way to whoever is there to hear it.

use std::{
    sync::Arc,
    task::{Context, Poll, Waker},
};

use futures::{StreamExt, stream};
use mcp_jsonrpc::{
    Message,
    transport::{ErrorKind, Event, EventId, EventStream, Inbox, InboxMax, TransportError},
};
use tokio::time::Instant;
use tracing::{debug, warn};

use super::ClientSession;
use crate::{call::Answering, log::Log};

/// How much is kept while nobody listens.
const BACKLOG_MAX: InboxMax = InboxMax { queue_len_max: 64, queue_bytes_max: 256 << 10 };

impl ClientSession {
    /// Passes on what the server said unasked.
    ///
    /// What can have been caused by a call goes with that call's reply, since many clients never
    /// open a stream to listen.  News of lists and resources go where somebody listens.
    pub(crate) fn deliver(&self, message: Message) {
        let is_news = matches!(
            message.method(),
            Some(
                "notifications/tools/list_changed"
                    | "notifications/prompts/list_changed"
                    | "notifications/resources/list_changed"
                    | "notifications/resources/updated"
                    | "notifications/tasks/status"
            )
        );
        let mut event = Event::from(message);
        if !is_news {
            event = match self.calls.only().map(|call| call.push(event.clone())) {
                Some(Ok(())) => return,
                Some(Err(event)) => event,
                None => event,
            };
        }
        event = match self.tell_listeners(event) {
            Ok(()) => return,
            Err(event) => event,
        };
        event = match self.calls.oldest().map(|call| call.push(event.clone())) {
            Some(Ok(())) => return,
            Some(Err(event)) => event,
            None => event,
        };
        self.keep_for_later(event);
    }

    /// Keeps an event until somebody listens.
    fn keep_for_later(&self, event: Event) {
        let backlog = {
            let mut state = self.state();
            Arc::clone(state.backlog.get_or_insert_with(|| Inbox::new(BACKLOG_MAX)))
        };
        let dropped = match backlog.press(event) {
            Ok(dropped) => dropped,
            Err(Event::Message { message, .. }) => {
                let server = &self.server.name;
                debug!(%server, ?message, "nobody listens and the backlog is full: dropped");
                1
            }
            Err(Event::Pause { .. }) => 0,
        };
        self.missed(dropped, "nobody listens and the backlog is full: dropped");
    }

    /// Counts what found no room, and says so in the log whenever the count has doubled.
    fn missed(&self, dropped: u64, why: &'static str) {
        if dropped == 0 {
            return;
        }
        let count = self.server.upstream().counts().dropped_more(dropped);
        if count.checked_ilog2() != (count - dropped).checked_ilog2() {
            warn!(server = %self.server.name, count, "{why}");
        }
    }

    /// Gives what nobody was there to hear to a call that begins, where nobody listens: many
    /// clients never open a stream to listen.
    pub(super) fn catch_up(&self, call: &Answering) {
        let kept = {
            let mut state = self.state();
            if state.listeners.is_empty() { state.backlog.take() } else { None }
        };
        if let Some(kept) = kept {
            drain(&kept, |event| call.push(event).unwrap_or_else(|it| self.keep_for_later(it)));
        }
    }

    /// Gives an event to the newest listener that has room.  Where there is none, what nobody
    /// misses gives way; a listener for which that does not suffice is ended, so that its client
    /// learns that it missed something.
    fn tell_listeners(&self, mut event: Event) -> Result<(), Event> {
        let mut state = self.state();
        while let Some(listener) = state.listeners.last() {
            match listener.press(event) {
                Ok(dropped) => {
                    drop(state);
                    self.missed(dropped, "a client reads too slowly: logs and progress dropped");
                    return Ok(());
                }
                Err(back) => event = back,
            }
            if let Some(slow) = state.listeners.pop() {
                let what = "the stream was ended because its client reads too slowly";
                slow.finish(Err(TransportError::new(ErrorKind::Exhausted, what)));
                warn!(server = %self.server.name, "{what}");
            }
        }
        Err(event)
    }

    /// A stream of what comes from now on, and of what nobody was there to hear.
    pub(super) fn listen(self: &Arc<Self>) -> EventStream {
        let inbox = {
            let options = self.server.options();
            let mut state = self.state();
            let max = options.inbox;
            let inbox = match state.backlog.take() {
                Some(kept) => {
                    // Kept within less while nobody was there to read it.
                    kept.set_max(max);
                    kept
                }
                None => Inbox::new(max),
            };
            // Ended since it was found: its client opens another stream, or learns that it is over.
            if state.closed {
                inbox.finish(Ok(None));
                return stream::poll_fn(move |cx| inbox.poll_next(cx)).boxed();
            }
            // A client that lost a stream and opens another must not be kept out by the lost one.
            while options.stream_max.max(1) <= state.listeners.len() {
                state.listeners.remove(0).finish(Ok(None));
            }
            state.listeners.push(Arc::clone(&inbox));
            state.last_used = Instant::now();
            inbox
        };
        let listening = Listening { session: Arc::clone(self), inbox };
        stream::poll_fn(move |cx| listening.inbox.poll_next(cx)).boxed()
    }

    /// Goes on with a stream after one of its events.
    pub(super) fn resume(self: &Arc<Self>, after: &EventId) -> Result<EventStream, TransportError> {
        match self.log() {
            Some(log) => log.resume(after, || self.listen()),
            None => Ok(self.listen()),
        }
    }

    /// What is kept of its streams; none where nothing can be.
    pub(super) fn log(&self) -> Option<&Log> {
        let begin = || Log::new(self.named()?, self.server.options().replay, &self.server.detached);
        self.log.get_or_init(begin).as_ref()
    }

    /// Lets go of what was kept long enough.
    pub(crate) fn sweep_log(&self) {
        if let Some(Some(log)) = self.log.get() {
            log.sweep();
        }
    }
}

#[cfg(test)]
impl ClientSession {
    /// How much of its streams is kept: bytes, and streams and messages.
    pub(crate) fn kept_size(&self) -> (usize, usize) {
        self.log().map_or((0, 0), Log::size)
    }

    /// The links it has.
    pub(crate) fn links(&self) -> Vec<Arc<crate::link::Link>> {
        let state = self.state();
        state.link.iter().chain(&state.leaving).cloned().collect()
    }
}

/// One stream that listens, until it is dropped.
struct Listening {
    session: Arc<ClientSession>,
    inbox: Arc<Inbox>,
}

impl Drop for Listening {
    /// What nobody took is there for the next that listens.
    fn drop(&mut self) {
        let Self { session, inbox } = self;
        {
            let mut state = session.state();
            let count = state.listeners.len();
            state.listeners.retain(|it| !Arc::ptr_eq(it, inbox));
            let was_open = state.listeners.len() < count;
            state.last_used = Instant::now();
            if state.closed || inbox.is_empty() {
                return;
            }
            if was_open && state.listeners.is_empty() && state.backlog.is_none() {
                inbox.set_max(BACKLOG_MAX);
                state.backlog = Some(Arc::clone(inbox));
                return;
            }
        }
        drain(inbox, |event| {
            session.tell_listeners(event).unwrap_or_else(|it| session.keep_for_later(it));
        });
    }
}

/// Takes out all that is there.
fn drain(inbox: &Inbox, mut each: impl FnMut(Event)) {
    let cx = Context::from_waker(Waker::noop());
    while let Poll::Ready(Some(Ok(event))) = inbox.poll_next(&cx) {
        each(event);
    }
}
