//! A server with a handshake, for clients that know no session: sessions kept for them, and
//! questions that wait for their answers.
//!
//! A [`Front`] is a transport around a transport.  Openings with a handshake go straight through.
//! One of 2026-07-28 yields a session of the inner transport where its server speaks that too; a
//! session that bridges where it does not (`session.rs`).

mod bound;
mod call;
mod discover;
mod late;
mod leg;
mod listen;
mod parked;
mod pool;
mod pooled;
mod question;
mod session;
mod state;
mod task;
mod unasked;
mod wants;

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use futures::{FutureExt, future::BoxFuture};
use mcp_jsonrpc::{
    Era, ProtocolVersion,
    transport::{
        Caller, ErrorKind, InboxMax, Opening, Session, SessionId, Transport, TransportError,
    },
};
use seal::{Clock, Keyring};
use tokio::time::Instant;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, warn};

use self::{
    bound::Bound, late::Lateness, listen::Listens, parked::Table, pool::Pool, session::Bridged,
    wants::Cans,
};

/// How often sessions that nobody uses are looked for.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// How long servers may take to be told that nobody waits any more, at the end.
const SHUT_DOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// How often it is looked whether what runs has ended, at the end.
const DRAIN_INTERVAL: Duration = Duration::from_millis(20);

/// For how long a server that has a handshake is not asked again whether it still has.
const LEGACY_MS: u64 = 5_000;

/// How a [`Front`] behaves, and how much it takes.
#[derive(Clone, Debug)]
pub struct FrontOptions {
    /// What the server is called: ids of its tasks are good there alone.
    pub server: Arc<str>,
    /// What `requestState` and ids of tasks are sealed with; none: a key of its own, that ends with the process.
    pub keyring: Option<Keyring>,
    /// The field, in lower case, by which a client tells its conversations apart: each has sessions
    /// of its own with the server, so that what that keeps for one is not seen by another.  None:
    /// all that a caller asks shares them.
    pub affinity: Option<Arc<str>>,
    /// How many sessions may be kept with the server.
    pub session_max: usize,
    /// How long a session is kept that nobody uses.
    pub session_idle_timeout: Duration,
    /// How many requests one session carries at once; more of them take another.
    pub calls_per_session_max: usize,
    /// How many sessions clients that can do the same may have so that each carries one request
    /// at a time that can be answered with questions, once the server has asked anything: where
    /// the wire does not say which request a question belongs to, it is that one's.  More of them
    /// share sessions, where a question that can be for several is refused.  0 where the wire
    /// says it.
    pub sole_sessions_max: usize,
    /// How many calls may wait for their clients' answers.
    pub parked_max: usize,
    /// And how many of one caller.
    pub parked_per_caller_max: usize,
    /// For how long.
    pub parked_timeout: Duration,
    /// How often one call may ask.
    pub rounds_max: u32,
    /// How many questions one call may ask at once.
    pub questions_max: usize,
    /// How long to wait for further questions after one, and for the first of a new session.
    pub gather_timeout: Duration,
    /// How long what a client answered to `roots/list` is told to a server that asks again while
    /// no client can be.
    pub roots_timeout: Duration,
    /// How long `roots/list` waits for a request that can be answered with a question.
    pub roots_hold_timeout: Duration,
    /// What `roots/list` is answered where no client can be asked: URIs.
    pub roots: Arc<[Box<str>]>,
    /// How many streams of `subscriptions/listen` there may be.
    pub listen_max: usize,
    /// How many resources one of them may name.
    pub subscriptions_max: usize,
    /// How long a server may take to answer what the gateway itself asks: a level, a subscription.
    pub ask_timeout: Duration,
    /// How much may wait for one stream.
    pub inbox: InboxMax,
}

impl Default for FrontOptions {
    fn default() -> Self {
        Self {
            server: Arc::from(""),
            keyring: None,
            affinity: None,
            session_max: 1024,
            session_idle_timeout: Duration::from_secs(5 * 60),
            calls_per_session_max: 128,
            sole_sessions_max: 16,
            parked_max: 10_000,
            parked_per_caller_max: 256,
            parked_timeout: Duration::from_secs(10 * 60),
            rounds_max: 10,
            questions_max: 16,
            gather_timeout: Duration::from_millis(50),
            roots_timeout: Duration::from_secs(5 * 60),
            roots_hold_timeout: Duration::from_secs(30),
            roots: Arc::from([]),
            listen_max: 1024,
            subscriptions_max: 256,
            ask_timeout: Duration::from_secs(60),
            inbox: InboxMax::default(),
        }
    }
}

/// What a [`Front`] does at the moment, and has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrontCounts {
    /// Sessions kept with the server.
    pub sessions: usize,
    /// Calls that wait for their clients' answers.
    pub parked: usize,
    /// Streams of `subscriptions/listen`.
    pub listens: usize,
    /// Questions refused because no client could be asked.
    pub refused: u64,
    /// Calls that waited for too long.
    pub expired: u64,
    /// What the server said that was for no request to be known.
    pub dropped: u64,
}

/// Modern clients in front of a server of either era.
///
/// Dropping the last clone ends the sessions that it keeps; [`shut_down`](Self::shut_down) also
/// waits, and tells those who listen.
#[derive(Clone, Debug)]
pub struct Front(Arc<Running>);

#[derive(Debug)]
struct Running(Arc<Inner>);

/// What all sessions of a front have in common.
#[derive(Debug)]
pub(crate) struct Inner {
    behind: Arc<dyn Transport>,
    options: ArcSwap<FrontOptions>,
    pool: Pool,
    cans: Cans,
    parked: Table,
    keyring: OnceLock<Keyring>,
    began: Instant,
    /// Until then, in milliseconds from the beginning, the server has a handshake; asked again
    /// after that, and when a session with it fails.
    legacy_until: AtomicU64,
    watched: OnceLock<()>,
    listens: Listens,
    lateness: Lateness,
    refused: AtomicU64,
    expired: AtomicU64,
    dropped: AtomicU64,
    tasks: TaskTracker,
    stop: CancellationToken,
}

// === impl Front ===

impl Front {
    /// A front before `inner`.  Nothing is opened yet.
    pub fn new(inner: Arc<dyn Transport>, options: FrontOptions) -> Self {
        let keyring = OnceLock::new();
        if let Some(given) = options.keyring.clone() {
            keyring.get_or_init(|| given);
        }
        Self(Arc::new(Running(Arc::new(Inner {
            behind: inner,
            pool: Pool::default(),
            cans: Cans::default(),
            parked: Table::new(),
            options: ArcSwap::from_pointee(options),
            keyring,
            began: Instant::now(),
            legacy_until: AtomicU64::new(0),
            watched: OnceLock::new(),
            listens: Listens::default(),
            lateness: Lateness::default(),
            refused: AtomicU64::new(0),
            expired: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        }))))
    }

    /// What it does at the moment, and has done.
    pub fn counts(&self) -> FrontCounts {
        let inner = &self.0.0;
        FrontCounts {
            sessions: inner.pool.len(),
            parked: inner.parked.len(),
            listens: inner.listens.len(),
            refused: inner.refused.load(Ordering::Relaxed),
            expired: inner.expired.load(Ordering::Relaxed),
            dropped: inner.dropped.load(Ordering::Relaxed),
        }
    }

    /// Behaves so from now on.  What runs goes on as it began; the key stays the one it has.
    pub fn reconfigure(&self, options: FrontOptions) {
        self.0.0.options.store(Arc::new(options));
    }

    /// Seals `requestState` with this from now on, unless it has a key already.
    pub fn seal_with(&self, keyring: &Keyring) {
        self.0.0.keyring.get_or_init(|| keyring.clone());
    }

    /// Another server is behind: what is known of the one before is forgotten.
    pub fn forget(&self) {
        self.0.0.doubt();
        self.0.0.pool.forget_known();
        self.0.0.lateness.forget();
    }

    /// Looks at what callers wait for when somebody's rights have changed.  Streams of those who
    /// may not go on with `listens` end as they should; calls of those of whom nothing `stays` are
    /// taken back where they wait for answers.  The sessions are for the router to end.
    pub fn review(&self, listens: impl Fn(&Caller) -> bool, stays: impl Fn(&Caller) -> bool) {
        self.0.0.listens.review(listens);
        self.0.0.parked.review(stays);
    }

    /// Ends those who listen with a result, takes back the calls that wait for answers, lets what
    /// runs end for up to `grace`, closes the sessions that are kept, and waits for all that.
    pub async fn shut_down(&self, grace: Duration) {
        let inner = &self.0.0;
        inner.stop.cancel();
        inner.tasks.close();
        // The servers whose questions are taken back hear of it first.
        if tokio::time::timeout(SHUT_DOWN_TIMEOUT, inner.tasks.wait()).await.is_err() {
            debug!("servers take too long to be told that clients are gone");
        }
        let answered = async {
            while inner.pool.is_busy() {
                tokio::time::sleep(DRAIN_INTERVAL).await;
            }
        };
        if tokio::time::timeout(grace, answered).await.is_err() {
            debug!(?grace, "requests were cut off at the end of the grace period");
        }
        inner.pool.close_all().await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.stop.cancel();
    }
}

impl Transport for Front {
    fn open(&self, opening: Opening) -> BoxFuture<'_, Result<Arc<dyn Session>, TransportError>> {
        async move {
            let inner = &self.0.0;
            if opening.version.map(ProtocolVersion::era) != Some(Era::Modern) {
                return inner.behind.open(opening).await;
            }
            let now = u64::try_from(inner.began.elapsed().as_millis()).unwrap_or(u64::MAX);
            if inner.legacy_until.load(Ordering::Acquire) <= now {
                match inner.behind.open(opening.clone()).await {
                    Err(error) if *error.kind() == ErrorKind::Unsupported => {
                        debug!(%error, "the server has a handshake: sessions are kept for clients");
                        inner.legacy_until.store(now + LEGACY_MS, Ordering::Release);
                    }
                    // Whose task it is matters where there is more than one caller.
                    Ok(session) if opening.caller.subject.is_some() => {
                        return Ok(Arc::new(Bound::new(session, inner)) as Arc<dyn Session>);
                    }
                    opened => return opened,
                }
            }
            inner.watch();
            Ok(Arc::new(Bridged::new(Arc::clone(inner), opening)) as Arc<dyn Session>)
        }
        .boxed()
    }

    fn find(&self, id: &SessionId, caller: &Caller) -> Result<Arc<dyn Session>, TransportError> {
        self.0.0.behind.find(id, caller)
    }
}

// === impl Inner ===

impl Inner {
    /// Forgets which era the server is of: the next opening finds out.
    fn doubt(&self) {
        self.legacy_until.store(0, Ordering::Release);
    }

    fn options(&self) -> Arc<FrontOptions> {
        self.options.load_full()
    }

    /// What seals `requestState`, and ids of tasks.
    fn keyring(&self) -> Result<&Keyring, TransportError> {
        if let Some(keyring) = self.keyring.get() {
            return Ok(keyring);
        }
        let fresh = Keyring::fresh(Clock::system()).map_err(|error| {
            let what = "there is no key to seal with";
            TransportError::new(ErrorKind::Exhausted, what).because(error)
        })?;
        Ok(self.keyring.get_or_init(|| fresh))
    }

    /// Sees to it that what nobody uses is closed, from the first use on.
    fn watch(self: &Arc<Self>) {
        if self.watched.set(()).is_err() {
            return;
        }
        let (inner, stop) = (Arc::downgrade(self), self.stop.clone());
        self.tasks.spawn(stop.run_until_cancelled_owned(async move {
            loop {
                tokio::time::sleep(SWEEP_INTERVAL).await;
                let Some(inner) = inner.upgrade() else { return };
                inner.sweep().await;
            }
        }));
    }

    /// Counts a question that no client can be asked, and says so in the log, less and less often.
    fn refused(&self, method: &str, why: &str) {
        let count = self.refused.fetch_add(1, Ordering::Relaxed) + 1;
        if count.is_power_of_two() {
            warn!(method, count, "a question of the server's was refused: {why}");
        } else {
            debug!(method, "a question of the server's was refused: {why}");
        }
    }

    /// Counts what the server said that is for nobody.
    fn dropped(&self, method: &str, why: &str) {
        let count = self.dropped.fetch_add(1, Ordering::Relaxed) + 1;
        if count.is_power_of_two() {
            warn!(method, count, "what the server said was dropped: {why}");
        } else {
            debug!(method, "what the server said was dropped: {why}");
        }
    }
}

#[cfg(test)]
mod tests;
