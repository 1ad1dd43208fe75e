//! What a server logs just after the answer of the request that it logs about.
//!
//! Sessions with a handshake have a place for it; a request of 2026-07-28 is over with its answer.
//! Servers on the SDK for TypeScript 1.x do that: a log goes down the stream of its session, or is
//! written behind the answer.  So the answer of a request that wants to hear a log waits a moment,
//! where the server logs at all, and is not known to log in time.

use std::{
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::{Poll, ready},
    time::Duration,
};

use mcp_jsonrpc::{
    Kind, Message,
    transport::{Event, Inbox, TransportError},
};
use tokio::time::{Instant, timeout_at};

use super::{
    call::Call,
    pooled::{Place, State},
};

/// For how long nothing must have been logged before an answer is told that logs may follow.
const LATE_LOG_PAUSE: Duration = Duration::from_millis(50);
/// The longest that an answer waits for what is logged after it.
const LATE_LOG_TIMEOUT: Duration = Duration::from_millis(250);
/// After so many answers in a row that no log followed, none waits any more.
const PUNCTUAL_MAX: u32 = 16;
/// How long after an answer that did not wait a log shows that it should have.
const TELLTALE_TIMEOUT: Duration = Duration::from_secs(1);

const LOG: &str = "notifications/message";

/// Whether a server logs after its answers.
#[derive(Debug, Default)]
pub(super) struct Lateness {
    /// How many answers no log has followed, as long as none ever was.
    punctual: AtomicU32,
}

/// An answer that waits for what is logged after it.
pub(super) struct Held {
    answer: Message,
    /// When it is told if nothing is logged until then, and in any case.
    next: Instant,
    until: Instant,
    heard: bool,
}

// === impl Lateness ===

impl Lateness {
    const LATE: u32 = u32::MAX;

    fn is_possible(&self) -> bool {
        let punctual = self.punctual.load(Ordering::Relaxed);
        punctual < PUNCTUAL_MAX || punctual == Self::LATE
    }

    /// It was late: it may always be.
    pub(super) fn was_late(&self) {
        self.punctual.store(Self::LATE, Ordering::Relaxed);
    }

    fn was_punctual(&self) {
        let more = |punctual: u32| (punctual < PUNCTUAL_MAX).then(|| punctual + 1);
        // It fails where it is known already.
        _ = self.punctual.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
    }

    /// Another server is behind.
    pub(super) fn forget(&self) {
        self.punctual.store(0, Ordering::Relaxed);
    }
}

// === impl State ===

impl State {
    /// Notes the end of a request: whether it wanted to hear a log, and was answered.
    pub(super) fn note_end(&mut self, id: i64, answered: bool) {
        let ended = self.calls.remove(&id);
        if answered && ended.is_some_and(|call| call.level.is_some()) {
            self.logs_until = Some(Instant::now() + TELLTALE_TIMEOUT);
        }
    }

    /// Whether a log that comes now was for a request that has just been answered.
    pub(super) fn is_late_log(&self) -> bool {
        self.calls.is_empty() && self.logs_until.is_some_and(|until| Instant::now() < until)
    }
}

// === impl Place ===

impl Place {
    /// Its request is answered, and stays to hear what is logged: nothing is asked because of it.
    fn stay(&self) {
        if let Some(call) = self.pooled.state().calls.get_mut(&self.id) {
            call.parks = false;
        }
    }
}

// === impl Call ===

impl Call {
    /// The answer, if it can be told now.
    pub(super) fn tell_or_hold(&mut self, answer: Message) -> Option<Message> {
        let logs = self.known.as_ref().is_some_and(|known| known.declares.logging);
        let may_be_late = logs && self.wants.level.is_some() && self.front.lateness.is_possible();
        let Some(leg) = self.parked.leg.as_ref().filter(|_| may_be_late) else {
            return Some(answer);
        };
        leg.place.stay();
        let now = Instant::now();
        let (next, until) = (now + LATE_LOG_PAUSE, now + LATE_LOG_TIMEOUT);
        self.held = Some(Box::new(Held { answer, next, until, heard: false }));
        None
    }

    /// What is logged after the answer, and the answer last.
    pub(super) async fn late(&mut self) -> Option<Result<Message, TransportError>> {
        loop {
            let next = self.held.as_ref().map(|held| held.next.min(held.until))?;
            let place = &self.parked.leg.as_ref()?.place;
            let (inbox, pooled) = (Arc::clone(&place.inbox), Arc::clone(&place.pooled));
            let Ok(said) = timeout_at(next, said_to(&inbox)).await else { break };
            if said.kind() == Kind::Request {
                let why = "the request it belongs to was answered";
                pooled.refuse(&self.front, &said, why).await;
                continue;
            }
            let is_log = said.method() == Some(LOG);
            let Some(said) = self.pass(said).await else { continue };
            if let Some(held) = self.held.as_mut().filter(|_| is_log) {
                held.next = Instant::now() + LATE_LOG_PAUSE;
                held.heard = true;
                self.front.lateness.was_late();
            }
            return Some(Ok(said));
        }
        let held = self.held.take()?;
        if !held.heard {
            self.front.lateness.was_punctual();
        }
        self.done = true;
        Some(Ok(held.answer))
    }
}

/// What is said to a request from elsewhere than its own reply, which is over.
async fn said_to(inbox: &Inbox) -> Message {
    poll_fn(|cx| {
        loop {
            match ready!(inbox.poll_next(cx)) {
                Some(Ok(Event::Message { message, .. })) => return Poll::Ready(message),
                Some(Ok(Event::Pause { .. })) => (),
                // Nothing more will come.
                Some(Err(_)) | None => return Poll::Pending,
            }
        }
    })
    .await
}
