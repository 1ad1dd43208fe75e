//! Open sessions: how they begin, lose their stream, get it back, and end.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::StreamExt;
use hyper::{StatusCode, header::HeaderValue};
use mcp_jsonrpc::{
    RpcError,
    transport::{
        Caller, ErrorKind, Event, EventStream, Opening, Session, SessionId, TransportError,
    },
};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use super::{Inner, Setup};
use crate::{
    outbox::{Mark, Outbox, OutboxMax, Overflow},
    refusal::Refusal,
};

/// How long the end of one session is waited for that gives way to another.
const GIVE_WAY_TIMEOUT: Duration = Duration::from_secs(5);

/// How often, at most, what is too old to be kept is looked for.
const SWEEP_INTERVAL_MIN: Duration = Duration::from_secs(1);

/// A session, and the stream it lives on.
pub(super) struct Open {
    pub(super) id: SessionId,
    pub(super) session: Arc<dyn Session>,
    pub(super) caller: Caller,
    /// The transport knows it by this id; else the id is of this server's making.
    pub(super) is_known: bool,
    pub(super) outbox: Arc<Outbox>,
    pub(super) in_flight: AtomicUsize,
    /// How many logs and words of progress found no room.
    dropped: AtomicU64,
    /// How long it is kept without a stream.
    grace: Duration,
    /// Cancelled once it is closed.
    closed: CancellationToken,
}

/// An open session, and how it is reached now.
pub(super) type Found = (Arc<Open>, Arc<dyn Session>);

// === impl Inner ===

impl Inner {
    /// Opens a session.
    pub(super) async fn begin(
        self: &Arc<Self>,
        setup: &Setup,
        caller: Caller,
        messages_path: &str,
        grace: Duration,
    ) -> Result<Arc<Open>, Refusal> {
        self.make_room(setup).map_err(|error| Refusal::of(&error))?;
        let opening =
            || Opening { caller: caller.clone(), version: None, at: Arc::from(messages_path) };
        let session = match setup.transport.open(opening()).await {
            Err(error) if *error.kind() == ErrorKind::Exhausted && self.give_way().await => {
                setup.transport.open(opening()).await
            }
            opened => opened,
        };
        let session = session.map_err(|error| Refusal::of(&error))?;
        let known = session.endpoint().session;
        let is_known = known.is_some();
        let Some(id) = known.or_else(mint) else {
            let words = "this machine gives no random numbers";
            let status = StatusCode::INTERNAL_SERVER_ERROR;
            return Err(Refusal::new(status, RpcError::INTERNAL, words));
        };
        self.enter(setup, (id, is_known), (session, caller), grace)
    }

    /// The session of a client that lost its stream and is there again.
    pub(super) fn come_back(
        self: &Arc<Self>,
        setup: &Setup,
        mark: &Mark,
        caller: &Caller,
    ) -> Result<Arc<Open>, Refusal> {
        match self.session(setup, &mark.session, caller) {
            Ok((open, _)) => {
                debug!(session = open.id.short(), "its client is back");
                Ok(open)
            }
            Err(Some(refusal)) => Err(refusal),
            Err(None) => {
                let words = "the session that this stream belonged to is over; open the stream \
                             without `Last-Event-ID`, and begin with `initialize`";
                Err(Refusal::new(StatusCode::NOT_FOUND, RpcError::INVALID_REQUEST, words))
            }
        }
    }

    /// A caller's session of this id; an error without a refusal where there is none.
    ///
    /// One that the transport alone knows was open before a restart: it waits for its stream.
    pub(super) fn session(
        self: &Arc<Self>,
        setup: &Setup,
        id: &SessionId,
        caller: &Caller,
    ) -> Result<Found, Option<Refusal>> {
        let open = self.open().get(id).cloned();
        if let Some(open) = &open {
            if open.outbox.is_over() {
                return Err(None);
            }
            if !open.is_known {
                let is_own = open.caller.subject == caller.subject;
                return is_own.then(|| (Arc::clone(open), Arc::clone(&open.session))).ok_or(None);
            }
        }
        let session = match (setup.transport.find(id, caller), &open) {
            (Ok(session), _) => session,
            (Err(error), open) if *error.kind() == ErrorKind::NoSession => {
                if let Some(open) = open
                    && open.caller.subject == caller.subject
                {
                    open.outbox.end("session ended");
                }
                return Err(None);
            }
            (Err(error), _) => return Err(Some(Refusal::of(&error))),
        };
        let open = match open {
            Some(open) => open,
            None => {
                self.make_room(setup).map_err(|error| Some(Refusal::of(&error)))?;
                let grace = setup.options.reconnect_timeout;
                let found = (Arc::clone(&session), caller.clone());
                self.enter(setup, (id.clone(), true), found, grace).map_err(Some)?
            }
        };
        Ok((open, session))
    }

    /// Enters a session among those that are open, if there is room.
    fn enter(
        self: &Arc<Self>,
        setup: &Setup,
        (id, is_known): (SessionId, bool),
        (session, caller): (Arc<dyn Session>, Caller),
        grace: Duration,
    ) -> Result<Arc<Open>, Refusal> {
        let options = &setup.options;
        let max = OutboxMax { waiting: options.outbox, kept: options.replay };
        let outbox = Outbox::new(&id, max, !grace.is_zero());
        let (in_flight, closed) = (AtomicUsize::new(0), CancellationToken::new());
        let dropped = AtomicU64::new(0);
        let open =
            Open { id, session, caller, is_known, outbox, in_flight, dropped, grace, closed };
        let open = Arc::new(open);
        let entered = {
            let mut all = self.open();
            if let Some(there) = all.get(&open.id).filter(|it| !it.outbox.is_over()) {
                // Another request of its client was quicker.
                return Ok(Arc::clone(there));
            }
            let room = all.len() < options.session_count_max;
            if room {
                all.insert(open.id.clone(), Arc::clone(&open));
            }
            room
        };
        if !entered {
            // Others were quicker.
            self.tasks.spawn(async move { open.session.close().await });
            return Err(Refusal::of(&too_many_sessions()));
        }
        self.tasks.spawn(attend(Arc::clone(self), Arc::clone(&open)));
        Ok(open)
    }

    /// Lets the session go first whose stream was lost first, where there are too many.
    fn make_room(&self, setup: &Setup) -> Result<(), TransportError> {
        if self.open().len() < setup.options.session_count_max {
            return Ok(());
        }
        let away = self.longest_away().ok_or_else(too_many_sessions)?;
        self.leave(&away);
        away.outbox.end(GAVE_WAY);
        Ok(())
    }

    /// Ends the session whose stream was lost first, and waits until that is done; false if all
    /// have theirs.
    pub(super) async fn give_way(&self) -> bool {
        let Some(away) = self.longest_away() else { return false };
        info!(session = away.id.short(), "{GAVE_WAY}");
        away.outbox.end(GAVE_WAY);
        tokio::time::timeout(GIVE_WAY_TIMEOUT, away.closed.cancelled()).await.is_ok()
    }

    fn longest_away(&self) -> Option<Arc<Open>> {
        let all = self.open();
        let away = all.values().filter_map(|open| Some((open.outbox.away_since()?, open)));
        away.min_by_key(|(since, _)| *since).map(|(_, open)| Arc::clone(open))
    }

    fn leave(&self, open: &Arc<Open>) {
        let mut all = self.open();
        if all.get(&open.id).is_some_and(|it| Arc::ptr_eq(it, open)) {
            all.remove(&open.id);
        }
    }
}

const GAVE_WAY: &str = "session ended: its stream was lost, and others need the room";

// === impl Open ===

impl Open {
    /// Puts an event on the stream, or ends it: never drops one in silence.
    pub(super) fn say(&self, event: Event) {
        match self.outbox.push(event) {
            Ok(0) => (),
            Ok(dropped) => self.missed(dropped),
            Err(Overflow) => {
                info!(session = self.id.short(), "session ended: its client reads too slowly");
                self.outbox.end("session ended: too much waits to be read");
            }
        }
    }

    /// Notes that so many lines of log and words of progress more found no room: a line whenever
    /// the count has doubled.
    fn missed(&self, dropped: u64) {
        let before = self.dropped.fetch_add(dropped, Ordering::Relaxed);
        let count = before + dropped;
        if before.checked_ilog2() != count.checked_ilog2() {
            info!(session = self.id.short(), count, "its client reads too slowly: logs dropped");
        }
    }

    /// Resolves when the client has stayed away for too long.
    async fn deserted(&self) {
        if self.grace.is_zero() {
            return std::future::pending().await;
        }
        let pace = self.grace.max(SWEEP_INTERVAL_MIN);
        let mut old = tokio::time::interval_at(Instant::now() + pace, pace);
        old.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let sweeping = async {
            loop {
                old.tick().await;
                self.outbox.sweep(self.grace);
            }
        };
        tokio::select! {
            () = sweeping => (),
            () = self.outbox.deserted(self.grace) => (),
        }
    }
}

/// Puts what the session says unasked on its stream, and closes it when the stream is over.
async fn attend(inner: Arc<Inner>, open: Arc<Open>) {
    let unasked = async {
        match open.session.listen(None).await {
            Ok(events) => announce(&open, events).await,
            // Servers that say nothing unasked are none the worse.
            Err(error) => debug!(%error, session = open.id.short(), "nothing to listen to"),
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = unasked => (),
        () = open.outbox.over() => (),
        () = open.deserted() => {
            debug!(session = open.id.short(), "session ended: its stream is gone");
            open.outbox.end("nobody reads it any more");
        }
    }
    inner.leave(&open);
    open.session.close().await;
    open.closed.cancel();
}

async fn announce(open: &Open, mut events: EventStream) {
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Message { message, .. }) => open.say(message.into()),
            // Ids of what is behind are of its hop.
            Ok(Event::Pause { .. }) => (),
            Err(error) if *error.kind() == ErrorKind::NoSession => {
                info!(%error, session = open.id.short(), "session ended");
                open.outbox.end(format!("session ended: {}", error.said()));
                return;
            }
            // The session may well answer on.
            Err(error) => info!(%error, session = open.id.short(), "nothing more to listen to"),
        }
    }
}

/// Whether a client ends its session with its stream: the SDKs for Python, Go and Java, by the
/// names of what they do HTTP with, and another gateway.  What is kept for others until they come back, such as a
/// child process, is free at once.
pub(super) fn never_comes_back(agent: &HeaderValue) -> bool {
    let agents: [&[u8]; 4] =
        [b"python-httpx/", b"Go-http-client/", b"Java-http-client/", b"mcp-gateway/"];
    agents.iter().any(|it| agent.as_bytes().starts_with(it))
}

fn too_many_sessions() -> TransportError {
    TransportError::new(ErrorKind::Exhausted, "too many sessions are open")
        .hint("close one, or try again later")
}

/// An id for a session whose transport gives it none: 128 random bits.
fn mint() -> Option<SessionId> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).ok()?;
    SessionId::new(&format!("{:032x}", u128::from_be_bytes(bytes)))
}
