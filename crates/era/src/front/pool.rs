//! The sessions that are kept: for each caller, for all clients of his that can do the same, and
//! for each of his conversations where those are told apart.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use mcp_jsonrpc::{
    Message, RpcError,
    transport::{Caller, ErrorKind, Exchange, TransportError},
};
use serde_json::value::RawValue;

use super::{
    Inner,
    pooled::{Known, Place, Pooled, Wanted},
    wants::{Can, Level},
};

/// For how many callers it is known what their server can do, sessions or not.
const KNOWN_MAX: usize = 4096;

/// How long a session's server goes on to log for nobody.
const QUIET_AFTER: Duration = Duration::from_secs(30);

/// How long the name of a conversation may be, in bytes.
pub(super) const AFFINITY_LEN_MAX: usize = 256;

/// Who asks, and where.
#[derive(Clone, Debug)]
pub(super) struct Who {
    pub(super) caller: Caller,
    /// The address of the endpoint in front.
    pub(super) at: Arc<str>,
    /// Which of the caller's conversations asks, where that is to be told apart.
    pub(super) affinity: Option<Affinity>,
}

/// The name that a client gives to one of its conversations; not to be shown.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Affinity(Arc<str>);

/// The sessions that are kept.
#[derive(Default)]
pub(super) struct Pool {
    slots: Mutex<HashMap<Key, Arc<Slot>>>,
    known: Mutex<HashMap<Subject, Arc<Known>>>,
    /// Sessions that are open or being opened.
    open: Arc<AtomicUsize>,
    /// Whether the server has ever asked a client something.
    asks: AtomicBool,
}

type Subject = Option<Arc<str>>;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    subject: Subject,
    can: Arc<str>,
    affinity: Option<Affinity>,
}

/// The sessions of one key.
#[derive(Default)]
struct Slot {
    /// Held by whoever opens one, so that the others wait for that.
    opening: Arc<tokio::sync::Mutex<()>>,
    state: Mutex<SlotState>,
}

#[derive(Default)]
struct SlotState {
    sessions: Vec<Arc<Pooled>>,
    /// How often opening one has failed, and how it did the last time.
    failures: u64,
    failure: Option<(ErrorKind, String)>,
}

/// One session's place among those there may be.
#[derive(Debug)]
pub(super) struct Seat(Arc<AtomicUsize>);

// === impl Pool ===

impl Pool {
    pub(super) fn len(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// What is known of the server without asking it.
    pub(super) fn known(&self, caller: &Caller) -> Option<Arc<Known>> {
        lock(&self.known).get(&caller.subject).cloned()
    }

    fn slot(&self, key: Key) -> Arc<Slot> {
        Arc::clone(lock(&self.slots).entry(key).or_default())
    }

    fn all(&self) -> Vec<Arc<Pooled>> {
        let slots: Vec<_> = lock(&self.slots).values().cloned().collect();
        slots.iter().flat_map(|slot| lock(&slot.state).sessions.clone()).collect()
    }

    /// This session, and all others of its caller whose clients can do the same.
    pub(super) fn beside(&self, session: &Arc<Pooled>) -> Vec<Arc<Pooled>> {
        let key = Key::of(&session.who, &session.can);
        let slot = lock(&self.slots).get(&key).cloned();
        let mut all = slot.map(|slot| lock(&slot.state).sessions.clone()).unwrap_or_default();
        if !all.iter().any(|it| Arc::ptr_eq(it, session)) {
            all.push(Arc::clone(session));
        }
        all
    }

    /// Takes a session out, so that nobody finds it any more.
    pub(super) fn remove(&self, session: &Arc<Pooled>) {
        let key = Key::of(&session.who, &session.can);
        let mut slots = lock(&self.slots);
        let Some(slot) = slots.get(&key) else { return };
        let is_empty = {
            let mut state = lock(&slot.state);
            state.sessions.retain(|it| !Arc::ptr_eq(it, session));
            state.sessions.is_empty()
        };
        // Whoever is opening one holds the slot too.
        if is_empty && Arc::strong_count(slot) == 1 {
            slots.remove(&key);
        }
    }

    /// Notes that the server asks its clients things in mid-call.  Roots are no such thing: they
    /// are asked for when a session begins.
    pub(super) fn note_question(&self, question: &Message) {
        if question.method() != Some("roots/list") {
            self.asks.store(true, Ordering::Relaxed);
        }
    }

    pub(super) async fn close_all(&self) {
        let all = self.all();
        futures::future::join_all(all.iter().map(|session| session.close())).await;
        for session in &all {
            self.remove(session);
        }
    }

    /// Whether anything runs in any of them.
    pub(super) fn is_busy(&self) -> bool {
        self.all().iter().any(|session| !session.state().calls.is_empty())
    }

    pub(super) fn forget_known(&self) {
        lock(&self.known).clear();
    }

    fn take_seat(&self, max: usize) -> Option<Seat> {
        let another = |open: usize| (open < max).then_some(open + 1);
        self.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, another).ok()?;
        Some(Seat(Arc::clone(&self.open)))
    }

    fn note(&self, caller: &Caller, known: &Arc<Known>) {
        let mut all = lock(&self.known);
        if KNOWN_MAX <= all.len() && !all.contains_key(&caller.subject) {
            all.clear();
        }
        all.insert(caller.subject.clone(), Arc::clone(known));
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("open", &self.len()).finish_non_exhaustive()
    }
}

// === impl Key ===

impl Key {
    fn of(who: &Who, can: &Can) -> Self {
        let (subject, affinity) = (who.caller.subject.clone(), who.affinity.clone());
        Self { subject, can: Arc::clone(&can.declared), affinity }
    }
}

// === impl Affinity ===

impl Affinity {
    /// What this field says, where a request has it and it is not empty.
    ///
    /// # Errors
    ///
    /// What its client is answered: it is too long, or there twice.
    pub(super) fn read(field: &str, exchange: &Exchange) -> Result<Option<Self>, RpcError> {
        let mut all = exchange.carried.iter().filter(|(name, _)| **name == *field);
        let Some((_, value)) = all.next().filter(|(_, value)| !value.is_empty()) else {
            return Ok(None);
        };
        let wrong = |what: &str| {
            RpcError::new(RpcError::INVALID_REQUEST, format!("the field `{field}` {what}"))
        };
        if AFFINITY_LEN_MAX < value.len() {
            return Err(wrong(&format!("has more than {AFFINITY_LEN_MAX} bytes")));
        }
        match all.next() {
            Some(_) => Err(wrong("is there twice")),
            None => Ok(Some(Self(value.as_ref().into()))),
        }
    }
}

impl fmt::Debug for Affinity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Affinity(..)")
    }
}

// === impl Slot ===

impl Slot {
    /// A place for one more request in a session that has one.
    fn enter(&self, max: usize, sole_max: usize, wanted: Wanted) -> Option<Place> {
        let state = lock(&self.state);
        let open = || state.sessions.iter().filter(|session| session.is_open());
        let own = open().find_map(|session| session.enter(max, wanted));
        if own.is_some() || !wanted.sole || open().count() < sole_max {
            return own;
        }
        // There are as many as may be: it has to share one.
        let shared = Wanted { sole: false, ..wanted };
        open().find_map(|session| session.enter(max, shared))
    }
}

// === impl Inner ===

impl Inner {
    /// A place for a request in a session of this caller and client; opens one where there is none.
    ///
    /// # Errors
    ///
    /// What opening the session failed with; [`ErrorKind::Exhausted`] where there are as many as
    /// may be, and all are in use.
    pub(super) async fn place(
        self: &Arc<Self>,
        who: &Who,
        can: &Can,
        client: Option<&RawValue>,
        (parks, level): (bool, Option<Level>),
    ) -> Result<Place, TransportError> {
        let slot = self.pool.slot(Key::of(who, can));
        let options = self.options();
        let (max, sole_max) = (options.calls_per_session_max.max(1), options.sole_sessions_max);
        // Most servers never ask, and some keep things in their sessions: they are not to be spread
        // over several for nothing.
        let asks = self.pool.asks.load(Ordering::Relaxed);
        let sole = parks && 0 < sole_max && can.can_be_asked() && asks;
        let wanted = Wanted { parks, level, sole };
        let mut made_room = false;
        loop {
            if let Some(place) = slot.enter(max, sole_max, wanted) {
                return Ok(place);
            }
            if self.stop.is_cancelled() {
                let kind = ErrorKind::Unavailable { retry_after: None };
                return Err(TransportError::new(kind, "the gateway is being shut down"));
            }
            let failures = lock(&slot.state).failures;
            let opening = Arc::clone(&slot.opening).lock_owned().await;
            if let Some(place) = slot.enter(max, sole_max, wanted) {
                return Ok(place);
            }
            {
                let state = lock(&slot.state);
                // Whoever waited while it failed need not try it once more.
                if let (true, Some((kind, what))) = (failures < state.failures, &state.failure) {
                    return Err(TransportError::new(kind.clone(), what.clone()));
                }
            }
            let seat = match self.seat().await {
                Ok(seat) => seat,
                // Better in company than not at all.
                Err(error) => return slot.enter(max, 0, wanted).ok_or(error),
            };
            let (inner, who, can) = (Arc::clone(self), who.clone(), can.clone());
            let client = client.map(ToOwned::to_owned);
            let found = Arc::clone(&slot);
            // A task: whoever began it may leave, and what was begun is to be used by the next.
            let opened = self.tasks.spawn(async move {
                let opened = Pooled::open(&inner, who, can, client, seat).await;
                let mut state = lock(&found.state);
                let opened = match opened {
                    Ok(session) => {
                        inner.pool.note(&session.who.caller, &session.known);
                        state.failure = None;
                        state.sessions.push(session);
                        Ok(())
                    }
                    Err(error) => {
                        state.failures += 1;
                        state.failure = Some((error.kind().clone(), error.said().to_string()));
                        inner.doubt();
                        Err(error)
                    }
                };
                drop(state);
                drop(opening);
                opened
            });
            let opened = opened.await.map_err(|error| {
                let what = "a session could not be opened";
                TransportError::new(ErrorKind::Closed, what).because(error).unsent()
            })?;
            match opened {
                // There are as many behind as may be: one that nobody uses makes room, once.
                Err(error) if *error.kind() == ErrorKind::Exhausted && !made_room => {
                    made_room = true;
                    if !self.retire_idlest().await {
                        return slot.enter(max, 0, wanted).ok_or(error);
                    }
                }
                opened => opened?,
            }
        }
    }

    /// A seat for one more session; where there is none, that of the one that is idle longest.
    async fn seat(&self) -> Result<Seat, TransportError> {
        let max = self.options().session_max.max(1);
        if let Some(seat) = self.pool.take_seat(max) {
            return Ok(seat);
        }
        self.retire_idlest().await;
        self.pool.take_seat(max).ok_or_else(|| {
            let what = format!("{max} sessions are kept with this server, and all are in use");
            TransportError::new(ErrorKind::Exhausted, what)
        })
    }

    /// Closes the session that was idle longest; whether there was one.
    async fn retire_idlest(&self) -> bool {
        let all = self.pool.all();
        let idle = all.iter().filter_map(|it| Some((it.idle_since()?, it)));
        match idle.min_by_key(|(since, _)| *since) {
            Some((_, session)) if session.retire() => {
                self.pool.remove(session);
                session.close().await;
                true
            }
            _ => false,
        }
    }

    /// Closes what nobody has used for long enough, and what has ended.
    pub(super) async fn sweep(self: &Arc<Self>) {
        let timeout = self.options().session_idle_timeout;
        for session in self.pool.all() {
            session.refuse_late(&self.options()).await;
            let Some(since) = session.idle_since() else { continue };
            let is_over = !session.is_open() || timeout <= since.elapsed();
            if is_over && session.retire() {
                self.pool.remove(&session);
                session.close().await;
            } else if QUIET_AFTER <= since.elapsed() {
                session.quieten().await;
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
