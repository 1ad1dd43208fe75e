//! A server behind the gateway, as clients see it: a transport that keeps their sessions.

mod change;

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, OnceLock, Weak, atomic::AtomicBool},
    time::Duration,
};

use arc_swap::{ArcSwap, ArcSwapOption};
use futures::{FutureExt, future::BoxFuture};
use mcp_jsonrpc::{
    Era, ProtocolVersion,
    transport::{Caller, InboxMax, Opening, Session, SessionId, Transport, TransportError},
};
use tokio::time::MissedTickBehavior;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, info};

pub use self::change::Fate;
pub use crate::{call::CallTimeouts, life::Restart, log::ReplayMax};
use crate::{
    keep::{self, Keeping},
    session::{ClientSession, Routed},
    sessions::Sessions,
    stateless::{Passing, Stateless},
    status::{State, Status},
    upstream::Upstream,
};

/// How often idle sessions and late calls are looked for.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// A server behind the gateway, and the sessions clients have with it.
///
/// Dropping the last clone stops the tasks that watch over it; [`shut_down`](Self::shut_down)
/// also ends what is open, and waits.
#[derive(Clone, Debug)]
pub struct Server(Arc<Running>);

#[derive(Debug)]
struct Running {
    inner: Arc<Inner>,
    stop: CancellationToken,
    watched: OnceLock<()>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) name: Arc<str>,
    options: ArcSwap<Options>,
    /// Whether these say that each request has a link to itself: looked at with each of them.
    is_alone: AtomicBool,
    upstream: ArcSwap<Upstream>,
    /// Those before it, as far as they still do something, oldest first.
    leaving: Mutex<VecDeque<Weak<Upstream>>>,
    keeping: ArcSwapOption<Keeping>,
    pub(crate) sessions: Sessions,
    pub(crate) stateless: Stateless,
    /// Answers that nobody reads any more are read here to their end.
    pub(crate) detached: TaskTracker,
    pub(crate) tasks: TaskTracker,
}

/// Who shares a session, or a process, behind (DESIGN: isolation).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolation {
    /// HTTP servers: as `Session`.  Children: as `Caller` for the sessions of clients that a
    /// server can ask nothing, as `Session` for all others.
    #[default]
    Auto,
    /// Everybody, whoever they are.
    Shared,
    /// All sessions of one caller.
    Caller,
    /// Nobody.
    Session,
    /// Not even two requests of one session: each has a link of its own, from `initialize` to the
    /// end.
    Request,
}

/// What a link costs, and who pays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wire {
    /// A child process: ours.
    #[default]
    Child,
    /// A session of an HTTP server: theirs.
    Http,
}

/// When a server is started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Startup {
    /// With the gateway.
    #[default]
    Eager,
    /// With the first request for it.
    Lazy,
}

/// How a server is treated.
#[derive(Clone, Debug)]
pub struct Options {
    /// Who shares a link.
    pub isolation: Isolation,
    /// Whether the transport behind tells servers without a handshake (2026-07-28) from the others,
    /// so that one may be opened in that revision.  No: none is.
    pub modern: bool,
    /// The revision that links are opened in; none: that of the session, or the newest.
    pub version: Option<ProtocolVersion>,
    /// What a link is.
    pub wire: Wire,
    /// When the server is started.
    pub startup: Startup,
    /// How long a start may take, handshake included; requests wait for it as long.
    pub start_timeout: Duration,
    /// When a server that fails is tried again.
    pub restart: Restart,
    /// How long a request may take.
    pub call: CallTimeouts,
    /// How many sessions clients may have open.
    pub session_max: usize,
    /// How many requests that belong to no session may be answered at once (2026-07-28).
    pub stateless_max: usize,
    /// How many of their streams may listen.
    pub listen_max: usize,
    /// How long a session is kept that nobody listens to and nobody uses.  Where sessions
    /// [are kept](Server::keep), its place is given up and its id stays good.
    pub session_idle_timeout: Duration,
    /// How long a session is kept that says nothing, not even `initialize`.
    pub handshake_timeout: Duration,
    /// How many links may be open behind.
    pub link_max: usize,
    /// How many may wait for a link where there are as many as may be.
    pub link_queue_max: usize,
    /// And for how long.
    pub link_wait_timeout: Duration,
    /// How long a shared link is kept that no session uses.
    pub link_idle_timeout: Duration,
    /// How many children are started before anybody needs them; none of an HTTP server.
    pub warm_count: usize,
    /// After how much silence a server that somebody uses is asked whether it is there.
    pub ping_interval: Duration,
    /// How long a child that has nothing to do may take to say so, until it is replaced.
    pub ping_timeout: Duration,
    /// What `roots/list` is answered with on shared links: URIs.
    pub roots: Arc<[Box<str>]>,
    /// How many streams may listen to one session at once; one more ends the oldest.
    pub stream_max: usize,
    /// How many requests of one session may be answered at once.
    pub in_flight_max: usize,
    /// How many subscriptions of one session are kept for when its server comes back.
    pub subscriptions_max: usize,
    /// How much may wait for one stream.
    pub inbox: InboxMax,
    /// How much of a session's streams is kept for a client that loses one.
    pub replay: ReplayMax,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            isolation: Isolation::default(),
            modern: false,
            version: None,
            wire: Wire::default(),
            startup: Startup::default(),
            start_timeout: Duration::from_secs(60),
            restart: Restart::default(),
            call: CallTimeouts::default(),
            session_max: 10_000,
            stateless_max: 10_000,
            listen_max: 10_000,
            session_idle_timeout: Duration::from_secs(30 * 60),
            handshake_timeout: Duration::from_secs(60),
            link_max: 10_000,
            link_queue_max: 100,
            link_wait_timeout: Duration::from_secs(10),
            link_idle_timeout: Duration::from_secs(5 * 60),
            warm_count: 0,
            ping_interval: Duration::from_secs(30),
            ping_timeout: Duration::from_secs(30),
            roots: Arc::from([]),
            stream_max: 16,
            in_flight_max: 256,
            subscriptions_max: 1024,
            inbox: InboxMax::default(),
            replay: ReplayMax::default(),
        }
    }
}

impl Options {
    pub(super) fn is_alone(&self) -> bool {
        self.isolation == Isolation::Request
    }
}

// === impl Server ===

impl Server {
    /// A server called `name`, reached by `behind`.  Nothing is started yet.
    pub fn new(name: &str, behind: Arc<dyn Transport>, options: Options) -> Self {
        let (name, options) = (Arc::from(name), Arc::new(options));
        let (tasks, detached) = (TaskTracker::new(), TaskTracker::new());
        let upstream = Upstream::new(&name, behind, &options, &tasks);
        let sessions = Sessions::new(options.session_max);
        let most = (options.stateless_max, options.listen_max);
        let stateless = Stateless::new(most.0, most.1, options.inbox);
        let is_alone = AtomicBool::new(options.is_alone());
        let (options, upstream) = (ArcSwap::new(options), ArcSwap::new(upstream));
        let keeping = ArcSwapOption::empty();
        let inner = Inner {
            name,
            options,
            is_alone,
            upstream,
            leaving: Mutex::default(),
            keeping,
            sessions,
            stateless,
            detached,
            tasks,
        };
        let inner = Arc::new(inner);
        Self(Arc::new(Running { inner, stop: CancellationToken::new(), watched: OnceLock::new() }))
    }

    /// Starts the server, unless it is to wait for its first request, and watches over it.
    ///
    /// Within a tokio runtime only.  The first [`open`](Transport::open) does it otherwise.
    pub fn start(&self) {
        self.start_and_look_every(SWEEP_INTERVAL);
    }

    /// The same; `interval` is between two looks at what is over.
    fn start_and_look_every(&self, interval: Duration) {
        if self.0.watched.set(()).is_err() {
            return;
        }
        let inner = Arc::clone(&self.0.inner);
        let stop = self.0.stop.clone();
        if inner.is_eager() {
            inner.upstream().is_to_start();
        }
        self.0.inner.tasks.spawn(stop.run_until_cancelled_owned(async move {
            if inner.is_eager() {
                inner.upstream().warm_up().await;
            }
            let mut tick = tokio::time::interval(interval);
            tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tick.tick().await;
                inner.sweep().await;
            }
        }));
    }

    /// Lets sessions that begin from now on outlive their place in the table, and this process.
    /// Without, they end with either.
    pub fn keep(&self, keeping: Keeping) {
        self.0.inner.keeping.store(Some(Arc::new(keeping)));
    }

    /// The same server for somebody in this process who keeps sessions of its own, and opens those
    /// with this server anew when it begins again: nothing of them outlives the process, nor is
    /// written anywhere, and none is found by an id.
    pub fn unkept(&self) -> Arc<dyn Transport> {
        Arc::new(Unkept(self.clone()))
    }

    /// The server's name.
    pub fn name(&self) -> &Arc<str> {
        &self.0.inner.name
    }

    /// What its life looks like now.
    pub fn status(&self) -> Status {
        let inner = &self.0.inner;
        let upstream = inner.upstream();
        let info = upstream.server_info();
        let of_sessions: usize = inner.sessions.all().iter().map(|it| it.in_flight()).sum();
        let (waiting, turned_away) = upstream.queue();
        let (dropped, refused, hung) = upstream.counts().all();
        let life = upstream.life();
        Status {
            name: Arc::clone(&inner.name),
            state: life.state,
            state_secs: life.since.elapsed().as_secs(),
            last_error: life.last_error.clone(),
            server_info: info.as_ref().map(|(info, _)| Arc::clone(info)),
            protocol_version: info.map(|(_, version)| version.as_str()),
            sessions: inner.sessions.len(),
            links: upstream.links(),
            in_flight: of_sessions + inner.stateless.in_flight(),
            listening: inner.stateless.listening(),
            restarts: life.restarts,
            waiting,
            turned_away,
            dropped,
            refused,
            hung,
        }
    }

    /// Where the server is in its life.
    pub fn state(&self) -> State {
        self.0.inner.upstream().life().state
    }

    /// Opens no more sessions behind, waits up to `grace` for what is being answered, and then
    /// ends every session and the server.
    ///
    /// Whoever comes meanwhile is told `why`.
    pub async fn shut_down(&self, grace: Duration, why: &'static str) {
        let inner = &self.0.inner;
        inner.upstream().stop_opening(why);
        inner.stateless.end_listens();
        let answered = async {
            while inner.stateless.in_flight() > 0
                || inner.sessions.all().iter().any(|session| session.in_flight() > 0)
            {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        if tokio::time::timeout(grace, answered).await.is_err() {
            info!(server = %inner.name, ?grace, "requests were cut off at the end of the grace period");
        }
        self.0.stop.cancel();
        inner.stateless.cancel_all();
        futures::future::join_all(inner.sessions.all().iter().map(|session| session.end())).await;
        inner.upstream().shut_down(why).await;
        for tracker in [&inner.detached, &inner.tasks] {
            tracker.close();
        }
        inner.detached.wait().await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Transport for Server {
    fn open(&self, opening: Opening) -> BoxFuture<'_, Result<Arc<dyn Session>, TransportError>> {
        async move {
            self.start();
            let inner = &self.0.inner;
            inner.ready().await?;
            if opening.version.is_some_and(|version| version.era() == Era::Modern) {
                // A server of the other era says so before anything is sent to it.
                drop(inner.standing(&opening.caller).await?);
                let passing = Passing { server: Arc::clone(inner), at: opening.at };
                return Ok(Arc::new(passing) as Arc<dyn Session>);
            }
            let session = inner.begin(opening)?;
            inner.sessions.enter(&session).map_err(|error| error.of(&inner.name))?;
            Ok(Arc::new(Routed(session)) as Arc<dyn Session>)
        }
        .boxed()
    }

    fn find(&self, id: &SessionId, caller: &Caller) -> Result<Arc<dyn Session>, TransportError> {
        let inner = &self.0.inner;
        let session = match inner.sessions.find(id, caller) {
            Some(session) => session,
            None => {
                let session = inner.take_up(id, caller).map_err(|error| error.of(&inner.name))?;
                self.start();
                session
            }
        };
        Ok(Arc::new(Routed(session)))
    }
}

/// A server for somebody in this process: see [`Server::unkept`].
#[derive(Clone, Debug)]
struct Unkept(Server);

impl Transport for Unkept {
    fn open(&self, opening: Opening) -> BoxFuture<'_, Result<Arc<dyn Session>, TransportError>> {
        async move {
            opening.with_handshake()?;
            self.0.start();
            let inner = &self.0.0.inner;
            inner.ready().await?;
            let session = inner.begin(opening)?;
            session.leave_unkept();
            inner.sessions.enter(&session).map_err(|error| error.of(&inner.name))?;
            Ok(Arc::new(Routed(session)) as Arc<dyn Session>)
        }
        .boxed()
    }

    fn find(&self, _: &SessionId, _: &Caller) -> Result<Arc<dyn Session>, TransportError> {
        Err(crate::sessions::no_session())
    }
}

// === impl Inner ===

impl Inner {
    /// A session that has not been entered.
    fn begin(self: &Arc<Self>, opening: Opening) -> Result<Arc<ClientSession>, TransportError> {
        let now = self.keeping().map(|it| it.keyring.clock().now());
        let begun = (keep::new_key()?, now.unwrap_or_default());
        Ok(ClientSession::new(opening.at, begun, opening.caller, Arc::clone(self)))
    }

    /// Ends the calls and the sessions whose time is over.
    async fn sweep(&self) {
        let options = self.options();
        self.stateless.sweep(&options.call);
        for session in self.sessions.all() {
            if session.questions.keep_waiting() {
                session.calls.wait_for_client();
            }
            session.calls.sweep(&options.call);
            session.sweep_log();
            let Some((since, initialized)) = session.idle_since() else { continue };
            let timeout = match initialized {
                true => options.session_idle_timeout,
                false => options.handshake_timeout,
            };
            if timeout <= since.elapsed() {
                debug!(server = %self.name, session = ?session.named(), "idle for too long: ended");
                session.end().await;
            }
        }
        self.upstream().sweep(self.is_eager()).await;
    }
}

#[cfg(test)]
mod bounds;
#[cfg(test)]
mod changes;
#[cfg(test)]
mod deaths;
#[cfg(test)]
mod idle;
#[cfg(test)]
mod isolation;
#[cfg(test)]
mod kept;
#[cfg(test)]
mod mischief;
#[cfg(test)]
mod modern;
#[cfg(test)]
mod tests;
