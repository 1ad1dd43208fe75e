//! The server behind: how links to it are opened, shared, watched and given up.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError, Weak,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use mcp_jsonrpc::{
    Message, ProtocolVersion,
    params::Initialized,
    transport::{Caller, ErrorKind, Opening, Transport, TransportError},
};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::{
    handshake::{self, Hello},
    life::Life,
    link::{Link, Opened},
    pool::{Key, Pool},
    server::{Isolation, Options, Wire},
    session::ClientSession,
    status::State,
};

/// The server behind.
#[derive(Debug)]
pub(crate) struct Upstream {
    name: Arc<str>,
    transport: Arc<dyn Transport>,
    options: Arc<Options>,
    life: Mutex<Life>,
    /// Held by whoever tries a server that is not known to be well: one at a time.
    trying: tokio::sync::Mutex<()>,
    pool: Pool,
    links: AtomicUsize,
    server_info: Mutex<Option<(Arc<str>, ProtocolVersion)>>,
    tasks: TaskTracker,
    retired: AtomicBool,
    me: Weak<Self>,
}

/// What came of looking for a link.
pub(crate) enum Acquired {
    /// One that carries the session.
    Link(Arc<Link>),
    /// The server's refusal of `initialize`, for the client to read.
    Refused(Message),
}

/// What a link is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    /// One session.
    Own,
    /// Several, in this revision.
    Shared(ProtocolVersion),
    /// Whoever comes first.
    Spare,
}

/// Who shares what.
enum Share {
    Own,
    With(Key),
}

/// Whoever holds it is counted among the links.
#[derive(Debug)]
struct Counted<'a>(Option<&'a AtomicUsize>);

// === impl Upstream ===

impl Upstream {
    pub(crate) fn new(
        name: &Arc<str>,
        transport: Arc<dyn Transport>,
        options: &Arc<Options>,
        tasks: &TaskTracker,
    ) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            name: Arc::clone(name),
            transport,
            options: Arc::clone(options),
            life: Mutex::new(Life::new(options.restart)),
            trying: tokio::sync::Mutex::default(),
            pool: Pool::default(),
            links: AtomicUsize::new(0),
            server_info: Mutex::default(),
            tasks: tasks.clone(),
            retired: AtomicBool::new(false),
            me: Weak::clone(me),
        })
    }

    /// Finds or opens the link for a session that begins, or goes on, with `hello`.
    pub(crate) async fn acquire(
        &self,
        hello: &Hello,
        caller: &Caller,
    ) -> Result<Acquired, TransportError> {
        let key = match self.share(hello, caller) {
            Share::Own => {
                let message = hello.forwarded(self.offered(hello)).map_err(unwritten)?;
                return self.open(message, caller, Purpose::Own).await;
            }
            Share::With(key) => key,
        };
        let slot = self.pool.slot(&key);
        let mut slot = slot.lock().await;
        if let Some(link) = slot.as_ref().filter(|link| link.is_open()) {
            return Ok(Acquired::Link(Arc::clone(link)));
        }
        if let Some(spare) = self.pool.take_spare(key.version) {
            return Ok(Acquired::Link(Arc::clone(slot.insert(spare))));
        }
        let message = handshake::own(key.version).map_err(unwritten)?;
        let acquired = self.open(message, caller, Purpose::Shared(key.version)).await?;
        if let Acquired::Link(link) = &acquired {
            *slot = Some(Arc::clone(link));
        }
        Ok(acquired)
    }

    /// Opens the first link, so that a server which cannot be used is known before it is needed.
    pub(crate) async fn warm_up(&self) {
        if self.pool.has_spare() {
            return;
        }
        let offered = self.options.version.unwrap_or(ProtocolVersion::LATEST_LEGACY);
        let message = match handshake::own(offered) {
            Ok(message) => message,
            Err(error) => return warn!(server = %self.name, %error, "cannot greet"),
        };
        let deadline = Instant::now() + self.options.start_timeout;
        // Nothing to be done where whoever came first has found the server well.
        let Ok(Some(trying)) = self.turn(deadline).await else { return };
        let opened = self.reach(message, &Caller::anonymous(), Purpose::Spare, deadline).await;
        drop(trying);
        match opened {
            // A session of an HTTP server costs that server something and saves us nothing.
            Ok(Acquired::Link(link)) if self.options.wire == Wire::Http => self.give_up(link).await,
            Ok(Acquired::Link(_)) => (),
            Ok(Acquired::Refused(answer)) => {
                let body = answer.body().unwrap_or_default().chars().take(512).collect::<String>();
                let what = format!("it refuses `initialize`: {body}");
                self.life().failed(&TransportError::new(ErrorKind::Protocol, what));
            }
            // Logged where it happened.
            Err(_) => (),
        }
    }

    /// Waits for a server that is starting, and tries one that has failed: so that a session is
    /// not opened only to learn at its first request that there is nobody.
    pub(crate) async fn ready(&self) -> Result<(), TransportError> {
        let deadline = Instant::now() + self.options.start_timeout;
        let state = self.life().state;
        match state {
            State::Ready | State::Idle => return Ok(()),
            State::Closed => return self.admit(),
            State::Starting => match tokio::time::timeout_at(deadline, self.trying.lock()).await {
                Ok(trying) => drop(trying),
                Err(_) => return Err(self.too_slow()),
            },
            State::Backoff | State::Parked => {
                let patience = self.life().patience();
                if let Some(wait) = patience {
                    tokio::time::sleep(wait).await;
                }
                self.admit()?;
                self.warm_up().await;
            }
        }
        let life = self.life();
        match life.state {
            State::Ready | State::Idle | State::Starting => Ok(()),
            _ => Err(life.failure().of(&self.name)),
        }
    }

    /// The revision that a link for this session is opened in.
    fn offered(&self, hello: &Hello) -> ProtocolVersion {
        self.options.version.unwrap_or(hello.version)
    }

    /// Whether a link of several sessions' may carry this one, and which.
    fn share(&self, hello: &Hello, caller: &Caller) -> Share {
        let key = |subject| Share::With(Key { subject, version: self.offered(hello) });
        match (self.options.isolation, self.options.wire) {
            (Isolation::Shared, _) => key(None),
            (Isolation::Caller, _) => key(caller.subject.clone()),
            (Isolation::Auto, Wire::Child) if !hello.can_be_asked => key(caller.subject.clone()),
            (Isolation::Auto | Isolation::Session, _) => Share::Own,
        }
    }

    /// Confirms a link of the gateway's own greeting, and listens to it.
    async fn settle(&self, link: &Arc<Link>) {
        if let Ok(message) = handshake::initialized()
            && let Err(error) = link.tell(message).await
        {
            warn!(server = %self.name, %error, "the server did not hear `initialized`");
        }
        self.watch(link);
    }

    async fn open(
        &self,
        initialize: Message,
        caller: &Caller,
        purpose: Purpose,
    ) -> Result<Acquired, TransportError> {
        let deadline = Instant::now() + self.options.start_timeout;
        let _trying = self.turn(deadline).await?;
        // Whoever was waited for may have left one.
        if let Purpose::Shared(version) = purpose
            && let Some(spare) = self.pool.take_spare(version)
        {
            return Ok(Acquired::Link(spare));
        }
        self.reach(initialize, caller, purpose, deadline).await
    }

    /// Opens a link, when it is its turn.
    async fn reach(
        &self,
        initialize: Message,
        caller: &Caller,
        purpose: Purpose,
        deadline: Instant,
    ) -> Result<Acquired, TransportError> {
        let counted = self.count()?;
        let shared = purpose != Purpose::Own;
        let opening = Opening { caller: caller.clone(), version: None, at: Arc::from("") };
        let began = Instant::now();
        let opening =
            Link::open(&*self.transport, (&self.name, &self.me), (opening, initialize), shared);
        let error = match tokio::time::timeout_at(deadline, opening).await {
            Ok(Ok(Opened::Link(link))) => {
                if shared {
                    self.settle(&link).await;
                }
                counted.keep();
                // Before anybody hears that the server is well: those who wait need no other.
                if purpose == Purpose::Spare
                    && self.options.wire == Wire::Child
                    && let Some(old) = self.pool.put_spare(Arc::clone(&link))
                {
                    self.give_up(old).await;
                }
                self.well(&link, began);
                return Ok(Acquired::Link(link));
            }
            Ok(Ok(Opened::Refused(answer))) => {
                self.life().become_(State::Ready);
                return Ok(Acquired::Refused(answer));
            }
            Ok(Err(error)) => error,
            Err(_) => self.too_slow(),
        };
        Err(self.ill(error))
    }

    /// Notes that the server was reached.
    fn well(&self, link: &Link, began: Instant) {
        let version = link.version;
        let info = link
            .answer
            .read::<Initialized<'_>>()
            .map(|it| Arc::from(format!("{} {}", it.server_info.name, it.server_info.version)));
        if let Ok(info) = info {
            let mut known = self.server_info.lock().unwrap_or_else(PoisonError::into_inner);
            *known = Some((info, version));
        }
        let mut life = self.life();
        if life.state != State::Ready {
            life.become_(State::Ready);
            drop(life);
            let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
            info!(server = %self.name, %version, took_ms, "ready");
        }
    }

    /// Notes that the server was not, and words it for the caller.
    fn ill(&self, error: TransportError) -> TransportError {
        let error = error.of(&self.name);
        if *error.kind() == ErrorKind::Exhausted {
            return error;
        }
        warn!(server = %self.name, %error, "cannot be reached");
        self.life().failed(&error);
        match error.kind() {
            ErrorKind::Unauthorized(_) => error,
            _ => error.unsent(),
        }
    }

    fn too_slow(&self) -> TransportError {
        let secs = self.options.start_timeout.as_secs_f32();
        let what = format!("it did not answer `initialize` within {secs} s");
        let error = TransportError::new(ErrorKind::Timeout, what).of(&self.name);
        error.hint("if it needs longer to start, raise its `startTimeout`")
    }

    /// Waits for the right to try, so long.
    async fn turn(
        &self,
        deadline: Instant,
    ) -> Result<Option<tokio::sync::MutexGuard<'_, ()>>, TransportError> {
        let turn = tokio::time::timeout_at(deadline, self.gate()).await;
        turn.unwrap_or_else(|_| Err(self.too_slow()))
    }

    /// Waits for the right to try: at once for a server that is well, in turn for one that is not.
    async fn gate(&self) -> Result<Option<tokio::sync::MutexGuard<'_, ()>>, TransportError> {
        let patience = self.life().patience();
        if let Some(wait) = patience {
            tokio::time::sleep(wait).await;
        }
        self.admit()?;
        if self.life().state == State::Ready {
            return Ok(None);
        }
        let trying = self.trying.lock().await;
        self.admit()?;
        let mut life = self.life();
        if life.state == State::Ready {
            return Ok(None);
        }
        if life.state == State::Idle {
            life.become_(State::Starting);
        }
        drop(life);
        Ok(Some(trying))
    }

    fn admit(&self) -> Result<(), TransportError> {
        self.life().admit().map_err(|error| error.of(&self.name))
    }

    fn count(&self) -> Result<Counted<'_>, TransportError> {
        let before = self.links.fetch_add(1, Ordering::Relaxed);
        let counted = Counted(Some(&self.links));
        if before < self.options.link_max {
            return Ok(counted);
        }
        let what = format!("{before} of its processes or sessions are in use");
        let error = TransportError::new(ErrorKind::Exhausted, what).of(&self.name);
        Err(error.hint("try again when another client has left, or raise `childMax`"))
    }

    /// Listens to a link for as long as it is open; notes its end.
    pub(crate) fn watch(&self, link: &Arc<Link>) {
        if link.is_listening() {
            return;
        }
        let (link, me) = (Arc::clone(link), Weak::clone(&self.me));
        self.tasks.spawn(async move {
            link.listen().await;
            let error = link.post_mortem().await;
            if let Some(upstream) = me.upgrade() {
                upstream.lost(&link, &error);
            }
        });
    }

    /// Notes that a link ended that nobody gave up.
    pub(crate) fn lost(&self, link: &Arc<Link>, error: &TransportError) {
        if !link.end() {
            return;
        }
        self.links.fetch_sub(1, Ordering::Relaxed);
        // A server that forgot a session is well: the next one is opened at once.
        if *error.kind() != ErrorKind::NoSession {
            warn!(server = %self.name, %error, "lost");
            self.life().failed(error);
        }
        let link = Arc::clone(link);
        self.tasks.spawn(async move { link.behind.close().await });
    }

    /// A session needs this link no more.
    pub(crate) async fn leave(&self, link: &Arc<Link>, session: &ClientSession) {
        let is_last = link.leave(session);
        if is_last && !link.shared {
            self.give_up(Arc::clone(link)).await;
        }
    }

    pub(crate) async fn give_up(&self, link: Arc<Link>) {
        if link.end() {
            self.links.fetch_sub(1, Ordering::Relaxed);
        }
        link.behind.close().await;
    }

    /// Closes what nobody has used for long; starts again what should run and does not.
    pub(crate) async fn sweep(&self, eager: bool) {
        let now = Instant::now();
        let is_over = |link: &Link| {
            let idle =
                link.idle_since().is_some_and(|it| self.options.link_idle_timeout <= now - it);
            idle || !link.is_open()
        };
        for link in self.pool.sweep(is_over) {
            self.give_up(link).await;
        }
        let retry = self.life().retry_at().is_some_and(|at| at <= now);
        if eager && retry {
            self.warm_up().await;
        }
    }

    /// Opens no more links, and closes those that are shared.
    pub(crate) async fn shut_down(&self, why: &'static str) {
        self.stop_opening(why);
        let closing = self.pool.drain().await.into_iter().map(|link| self.give_up(link));
        futures::future::join_all(closing).await;
    }

    /// Opens no more links.
    pub(crate) fn stop_opening(&self, why: &'static str) {
        self.life().close(why);
    }

    /// Opens no more links: another takes its place, and what the links of this one still do is
    /// done to its end.
    pub(crate) fn retire(&self) {
        self.retired.store(true, Ordering::Release);
        self.stop_opening("its configuration is being changed");
    }

    /// Closes the shared links as soon as they carry nothing more, or at the deadline.
    pub(crate) async fn drain(&self, deadline: Instant) {
        let closing = self.pool.drain().await.into_iter().map(async |link| {
            link.drain(deadline).await;
            self.give_up(link).await;
        });
        futures::future::join_all(closing).await;
    }

    /// Whether another has taken its place.
    pub(crate) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Acquire)
    }

    pub(crate) fn links(&self) -> usize {
        self.links.load(Ordering::Relaxed)
    }

    pub(crate) fn server_info(&self) -> Option<(Arc<str>, ProtocolVersion)> {
        self.server_info.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn life(&self) -> MutexGuard<'_, Life> {
        self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counted<'_> {
    fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        if let Some(links) = self.0 {
            links.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

fn unwritten(error: mcp_jsonrpc::ParseError) -> TransportError {
    TransportError::new(ErrorKind::Protocol, "`initialize` could not be written").because(error)
}
