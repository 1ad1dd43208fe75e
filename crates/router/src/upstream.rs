//! The server behind: how links to it are opened, shared, watched and given up.

mod gate;
mod standing;
mod warm;
mod watch;

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use mcp_jsonrpc::{
    Message, ProtocolVersion,
    transport::{Caller, ErrorKind, Exchange, Opening, Session, Transport, TransportError},
};
use tokio::time::Instant;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{info, warn};

use self::{standing::Standing, warm::Warm};
use crate::{
    counts::Counts,
    handshake::{self, Hello},
    life::Life,
    link::{Context, Link, Opened},
    places::{Place, Places},
    pool::{Key, Pool},
    server::{Isolation, Options, Wire},
    status::State,
};

/// For how long a session that waited may go first.
const AFTER_YOU: Duration = Duration::from_millis(100);

/// The server behind.
#[derive(Debug)]
pub(crate) struct Upstream {
    name: Arc<str>,
    transport: Arc<dyn Transport>,
    options: Arc<Options>,
    life: Mutex<Life>,
    /// Held by whoever tries a server that is not known to be well: one at a time.
    trying: tokio::sync::Mutex<()>,
    /// Whether a session has waited for who tries it.
    awaited: AtomicBool,
    pool: Pool,
    places: Places,
    warm: Warm,
    standing: Standing,
    /// All that are open, and some that are not any more.
    links: Mutex<Vec<Weak<Link>>>,
    counts: Arc<Counts>,
    server_info: Mutex<Option<(Arc<str>, ProtocolVersion)>>,
    tasks: TaskTracker,
    /// Cancelled when another has taken its place.
    retired: CancellationToken,
    /// Cancelled when too many have taken its place since.
    hurry: CancellationToken,
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
    /// Everybody, without a session.
    Standing,
}

/// What a link is opened with: its place, and what is behind it where that was started ahead.
#[derive(Debug)]
pub(crate) struct Seat {
    place: Place,
    behind: Option<Arc<dyn Session>>,
}

/// Who shares what.
enum Share {
    Own,
    With(Key),
}

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
            awaited: AtomicBool::new(false),
            pool: Pool::default(),
            places: Places::new(
                options.link_max,
                options.link_queue_max,
                options.link_wait_timeout,
            ),
            warm: Warm::default(),
            standing: Standing::default(),
            links: Mutex::default(),
            counts: Arc::default(),
            server_info: Mutex::default(),
            tasks: tasks.clone(),
            retired: CancellationToken::new(),
            hurry: CancellationToken::new(),
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
        let message = self.own_words(key.version).map_err(unwritten)?;
        let acquired = self.open(message, caller, Purpose::Shared(key.version)).await?;
        if let Acquired::Link(link) = &acquired {
            *slot = Some(Arc::clone(link));
        }
        Ok(acquired)
    }

    /// Opens the first link, so that a server which cannot be used is known before it is needed.
    pub(crate) async fn warm_up(&self) {
        if self.pool.has_spare() {
            // It lives, whatever became of another: who waits for that waits for nothing.
            let mut life = self.life();
            if life.admit().is_ok() {
                life.become_(State::Ready);
            }
            return;
        }
        if self.stand_by().await {
            return;
        }
        if self.awaited.swap(false, Ordering::Relaxed) {
            // A session that came meanwhile begins with what was opened to ask for the era, and
            // need not wait for another process to start.
            tokio::time::sleep(AFTER_YOU).await;
        }
        let offered = self.options.version.unwrap_or(ProtocolVersion::LATEST_LEGACY);
        let message = match self.own_words(offered) {
            Ok(message) => message,
            Err(error) => return warn!(server = %self.name, %error, "cannot greet"),
        };
        let deadline = Instant::now() + self.options.start_timeout;
        // Nothing to be done where whoever came first has found the server well.
        let Ok(Some(trying)) = self.turn(deadline).await else { return };
        // With every place taken somebody is about to find out how it is.
        let Some(place) = self.places.try_take() else { return self.life().untried() };
        let seat = Seat { place, behind: None };
        let nobody = Caller::anonymous();
        let opened = self.reach(message, &nobody, Purpose::Spare, (deadline, seat));
        // Nobody needs to know of what is being replaced how it would have been.
        let Some(opened) = self.unless_retired(opened).await else { return };
        drop(trying);
        match opened {
            Ok(Acquired::Link(link)) if !self.keeps_spare() => self.give_up(link).await,
            Ok(Acquired::Link(_)) => (),
            Ok(Acquired::Refused(answer)) => {
                let body = answer.body().unwrap_or_default().chars().take(512).collect::<String>();
                let what = format!("it refuses `initialize`: {body}");
                self.life_since().failed(&TransportError::new(ErrorKind::Protocol, what));
            }
            // Logged where it happened.
            Err(_) => (),
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
            (Isolation::Auto | Isolation::Session | Isolation::Request, _) => Share::Own,
        }
    }

    /// Whether a link that nobody has asked for may be somebody's later.  A session of an HTTP
    /// server costs that server something and saves us nothing.
    fn keeps_spare(&self) -> bool {
        self.options.wire == Wire::Child
            && matches!(
                self.options.isolation,
                Isolation::Auto | Isolation::Caller | Isolation::Shared
            )
    }

    /// What a link that several sessions may share is opened with.
    fn own_words(&self, version: ProtocolVersion) -> Result<Message, mcp_jsonrpc::ParseError> {
        handshake::own(version, !self.options.roots.is_empty())
    }

    /// What a link needs to know that is opened when so many failures have been noted.
    fn context(&self, noted: u64) -> Context {
        Context {
            noted,
            server: Arc::clone(&self.name),
            home: Weak::clone(&self.me),
            options: Arc::clone(&self.options),
            counts: Arc::clone(&self.counts),
            tracker: self.tasks.clone(),
        }
    }

    async fn open(
        &self,
        initialize: Message,
        caller: &Caller,
        purpose: Purpose,
    ) -> Result<Acquired, TransportError> {
        let hope = self.hope();
        match self.open_once(initialize.clone(), caller, purpose).await {
            Err(error) if self.is_worth_another(hope, &error) => {
                self.open_once(initialize, caller, purpose).await
            }
            opened => opened,
        }
    }

    async fn open_once(
        &self,
        initialize: Message,
        caller: &Caller,
        purpose: Purpose,
    ) -> Result<Acquired, TransportError> {
        self.admit_soon()?;
        let seat = self.seat(caller).await?;
        let deadline = Instant::now() + self.options.start_timeout;
        let _trying = self.turn(deadline).await?;
        // Whoever was waited for may have left one.
        if let Purpose::Shared(version) = purpose
            && let Some(spare) = self.pool.take_spare(version)
        {
            return Ok(Acquired::Link(spare));
        }
        self.reach(initialize, caller, purpose, (deadline, seat)).await
    }

    /// Opens a link, when it is its turn.
    async fn reach(
        &self,
        initialize: Message,
        caller: &Caller,
        purpose: Purpose,
        (deadline, Seat { place, behind }): (Instant, Seat),
    ) -> Result<Acquired, TransportError> {
        let shared = purpose != Purpose::Own;
        let (began, noted) = (Instant::now(), self.life().noted());
        let opening = async {
            let behind = match behind {
                Some(behind) => behind,
                None => self.transport.open(opening_of(caller)).await?,
            };
            let mut initialize = Exchange::new(initialize, caller.clone());
            if purpose == Purpose::Standing {
                initialize.version = Some(ProtocolVersion::V2026_07_28);
            }
            Link::open((behind, place), initialize, shared, self.context(noted)).await
        };
        let error = match tokio::time::timeout_at(deadline, opening).await {
            Ok(Ok(Opened::Link(link))) => {
                self.enter(&link);
                if shared && purpose != Purpose::Standing {
                    self.settle(&link).await;
                }
                // Before anybody hears that the server is well: those who wait need no other.
                if purpose == Purpose::Spare
                    && self.keeps_spare()
                    && let Some(over) = self.pool.put_spare(Arc::clone(&link))
                {
                    over.let_go();
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
        Err(self.ill(error, noted))
    }

    /// Notes that the server was reached.
    fn well(&self, link: &Link, began: Instant) {
        // Over such a server a session is made here, in whatever revision its client wants.
        let version = match self.transport.is_light() {
            true => ProtocolVersion::V2026_07_28,
            false => link.version,
        };
        if let Some(info) = handshake::server_info(&link.answer) {
            let mut known = self.server_info.lock().unwrap_or_else(PoisonError::into_inner);
            *known = Some((info, version));
        }
        let mut life = self.life();
        if !matches!(life.state, State::Ready | State::Closed) {
            life.become_(State::Ready);
            drop(life);
            let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
            info!(server = %self.name, %version, took_ms, "ready");
        }
    }

    /// Notes that the server was not, by a way that was begun when so many failures had been noted,
    /// and words it for the caller.
    fn ill(&self, error: TransportError, noted: u64) -> TransportError {
        let error = error.of(&self.name);
        if *error.kind() == ErrorKind::Exhausted {
            return error;
        }
        warn!(server = %self.name, %error, "cannot be reached");
        self.life_since().not_reached(&error, noted);
        match error.kind() {
            ErrorKind::Unauthorized(_) => error,
            _ => error.unsent(),
        }
    }

    /// How many links there are, spares and those that are ending included.
    pub(crate) fn links(&self) -> usize {
        self.places.taken()
    }

    /// Who waits for a link, and how many were told that there is none.
    pub(crate) fn queue(&self) -> (usize, u64) {
        (self.places.waiting(), self.places.refused())
    }

    /// What was passed on to nobody.
    pub(crate) fn counts(&self) -> &Counts {
        &self.counts
    }

    pub(crate) fn server_info(&self) -> Option<(Arc<str>, ProtocolVersion)> {
        self.server_info.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Its life, which is to hear of a failure, and hears before whether it worked until then.
    fn life_since(&self) -> MutexGuard<'_, Life> {
        let mut life = self.life();
        if self.counts.take_worked() {
            life.worked();
        }
        life
    }

    pub(crate) fn life(&self) -> MutexGuard<'_, Life> {
        self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn opening_of(caller: &Caller) -> Opening {
    Opening { caller: caller.clone(), version: None, at: Arc::from("") }
}

fn unwritten(error: mcp_jsonrpc::ParseError) -> TransportError {
    TransportError::new(ErrorKind::Protocol, "`initialize` could not be written").because(error)
}
