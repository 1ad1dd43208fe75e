//! One initialised session with the server behind, and whom what it says unasked is for.
//!
//! A link is one session's own, or shared by several.  A shared one was told no client
//! capabilities, so its server has nothing to ask of anybody; what it says all the same goes to
//! the one it is for, or to nobody, but never to a guess.

mod asked;
mod causes;
mod home;
pub(crate) mod tasks;
mod tokens;
mod unasked;

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use mcp_jsonrpc::{
    Id, Kind, Message, ProtocolVersion,
    transport::{Caller, Ear, ErrorKind, Event, Exchange, Session, TransportError},
};
use tokio::time::Instant;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::debug;

use self::{causes::Causes, tasks::Tasks, tokens::Tokens};
use crate::{
    counts::Counts, handshake, load::Load, places::Place, server::Options, session::ClientSession,
    upstream::Upstream,
};

/// How much of what a server says before its answer to `initialize` is kept.
const EARLY_MAX: usize = 64;
/// How long to wait before listening again where a stream ended and its session did not.
const LISTEN_AGAIN_MIN: Duration = Duration::from_secs(1);
/// How long to wait for the last words of one that seems to be dead.
const POST_MORTEM_TIMEOUT: Duration = Duration::from_secs(5);
const LISTEN_AGAIN_MAX: Duration = Duration::from_secs(60);

/// One initialised session with the server behind.
pub(crate) struct Link {
    pub(crate) behind: Arc<dyn Session>,
    /// Its answer to `initialize`, under an id of ours.
    pub(crate) answer: Message,
    /// The revision spoken on it.
    pub(crate) version: ProtocolVersion,
    pub(crate) shared: bool,
    server: Arc<str>,
    members: Mutex<Members>,
    early: Mutex<Vec<Event>>,
    ear: Ear,
    listening: AtomicBool,
    over: AtomicBool,
    /// Whose it is: the server behind, as it was configured when this was opened.
    home: Weak<Upstream>,
    pub(crate) load: Load,
    /// What it carried was not done when it had to be.
    cut: AtomicBool,
    /// Cancelled when it is over.
    ended: CancellationToken,
    /// Why the gateway ended it, where that was not for want of use.
    fate: OnceLock<Box<str>>,
    /// How many failures of its server had been noted when it was opened.
    pub(crate) noted: u64,
    /// Given back when nothing is left of what is behind.
    place: Mutex<Option<Place>>,
    /// How often the server has said anything.
    said: AtomicU64,
    /// How often it had when that was last looked at, and since when it was that often.
    silence: Mutex<(u64, Instant)>,
    probing: AtomicBool,
    causes: Causes,
    tokens: Tokens,
    tasks: Tasks,
    options: Arc<Options>,
    counts: Arc<Counts>,
    tracker: TaskTracker,
}

struct Members {
    sessions: Vec<Weak<ClientSession>>,
    /// The first there was, and whether there was another.
    first: Option<u64>,
    several: bool,
    idle_since: Option<Instant>,
}

/// What every link of a server needs to know.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    /// How many failures of the server have been noted.
    pub(crate) noted: u64,
    pub(crate) server: Arc<str>,
    pub(crate) home: Weak<Upstream>,
    pub(crate) options: Arc<Options>,
    pub(crate) counts: Arc<Counts>,
    pub(crate) tracker: TaskTracker,
}

/// What came of an `initialize`.
pub(crate) enum Opened {
    /// A link.
    Link(Arc<Link>),
    /// The server answered with an error, which is for the client to read.
    Refused(Message),
}

// === impl Link ===

impl Link {
    /// Says `initialize` in a session with the server, or `server/discover` in one of a revision
    /// that has no handshake, as the exchange says.
    pub(crate) async fn open(
        (behind, place): (Arc<dyn Session>, Place),
        initialize: Exchange,
        shared: bool,
        context: Context,
    ) -> Result<Opened, TransportError> {
        let version = initialize.version;
        let said = Self::greet(&*behind, initialize).await;
        let (answer, early) = match said {
            Ok(said) => said,
            Err(error) => {
                behind.close().await;
                return Err(error);
            }
        };
        if answer.kind() == Kind::Error {
            behind.close().await;
            return Ok(Opened::Refused(answer));
        }
        let version = match handshake::agreed(version, &answer) {
            Ok(version) => version,
            Err(error) => {
                behind.close().await;
                return Err(error);
            }
        };
        Ok(Opened::Link(Arc::new(Self {
            behind,
            answer: answer.detached(),
            version,
            shared,
            server: context.server,
            members: Mutex::new(Members {
                sessions: Vec::new(),
                first: None,
                several: false,
                idle_since: Some(Instant::now()),
            }),
            early: Mutex::new(early),
            ear: Ear::default(),
            listening: AtomicBool::new(false),
            over: AtomicBool::new(false),
            home: context.home,
            load: Load::default(),
            cut: AtomicBool::new(false),
            ended: CancellationToken::new(),
            fate: OnceLock::new(),
            noted: context.noted,
            place: Mutex::new(Some(place)),
            said: AtomicU64::new(0),
            silence: Mutex::new((0, Instant::now())),
            probing: AtomicBool::new(false),
            causes: Causes::new(context.options.call.total_timeout),
            tokens: Tokens::default(),
            tasks: Tasks::default(),
            options: context.options,
            counts: context.counts,
            tracker: context.tracker,
        })))
    }

    /// Says `initialize`; returns the answer and what came before it.
    async fn greet(
        behind: &dyn Session,
        exchange: Exchange,
    ) -> Result<(Message, Vec<Event>), TransportError> {
        let mut early = Vec::new();
        let reply = behind.send(exchange).await?;
        let answer = reply.answer(|message| {
            if early.len() < EARLY_MAX {
                early.push(message.into());
            } else {
                debug!("too much was said before the answer to `initialize`: dropped");
            }
        });
        let answer = answer.await?;
        Ok((answer, early))
    }

    /// Whether it can carry exchanges.
    pub(crate) fn is_open(&self) -> bool {
        !self.over.load(Ordering::Acquire) && !self.load.is_closed() && self.behind.is_open()
    }

    /// Says that no more exchanges are carried; whether that is news.
    pub(crate) fn end(&self) -> bool {
        self.ended.cancel();
        !self.over.swap(true, Ordering::AcqRel)
    }

    /// Whether the gateway has ended it.
    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    /// Notes why it is about to be ended; those who wait for an answer are told.
    pub(crate) fn doom(&self, why: String) {
        self.fate.get_or_init(|| why.into());
    }

    /// Ends what is behind, waits until nothing is left of it, and gives its place back.
    pub(crate) async fn close(&self) {
        self.behind.close().await;
        let place = self.place.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(place);
    }

    /// Ends it without waiting for that.
    pub(crate) fn let_go(self: &Arc<Self>) {
        self.end();
        let link = Arc::clone(self);
        self.tracker.spawn(async move { link.close().await });
    }

    /// Notes that the server has said something.
    fn said(&self) {
        self.said.fetch_add(1, Ordering::Relaxed);
    }

    /// How often it has said something so far.
    pub(crate) fn said_count(&self) -> u64 {
        self.said.load(Ordering::Relaxed)
    }

    pub(crate) fn join(&self, session: &Arc<ClientSession>) {
        let mut members = self.members();
        members.sessions.retain(|it| it.strong_count() > 0);
        members.sessions.push(Arc::downgrade(session));
        match members.first {
            None => members.first = Some(session.number),
            Some(first) => members.several |= first != session.number,
        }
        members.idle_since = None;
    }

    /// Leaves; true if nobody is left.
    pub(crate) fn leave(&self, session: &ClientSession) -> bool {
        let mut members = self.members();
        members.sessions.retain(|it| it.strong_count() > 0 && !std::ptr::eq(it.as_ptr(), session));
        let empty = members.sessions.is_empty();
        if empty {
            members.idle_since.get_or_insert_with(Instant::now);
        }
        empty
    }

    /// Since when nobody is attached.
    pub(crate) fn idle_since(&self) -> Option<Instant> {
        self.members().idle_since
    }

    /// The sessions attached.
    pub(crate) fn sessions(&self) -> Vec<Arc<ClientSession>> {
        self.members().sessions.iter().filter_map(Weak::upgrade).collect()
    }

    /// Forgets who used it so long ago that nothing said from now on can be for them.
    pub(crate) fn sweep(&self) {
        self.causes.sweep();
    }

    /// What it holds: members, traces of them, progress tokens.
    #[cfg(test)]
    pub(crate) fn held(&self) -> (usize, usize, usize) {
        (self.members().sessions.len(), self.causes.len(), self.tokens.len())
    }

    /// For how long the server has said nothing, as far as that has been looked at.
    pub(crate) fn quiet_for(&self, now: Instant) -> Duration {
        let said = self.said_count();
        let mut silence = self.silence.lock().unwrap_or_else(PoisonError::into_inner);
        if silence.0 != said {
            *silence = (said, now);
        }
        now.saturating_duration_since(silence.1)
    }

    /// Whether nobody else is asking for a sign of life.
    pub(crate) fn begin_probe(&self) -> bool {
        !self.probing.swap(true, Ordering::AcqRel)
    }

    pub(crate) fn end_probe(&self) {
        self.probing.store(false, Ordering::Release);
    }

    /// How many requests of its sessions are being answered.
    pub(crate) fn in_flight(&self) -> usize {
        self.sessions().iter().map(|session| session.in_flight()).sum()
    }

    /// Whether a client has yet to answer what the server asked.
    pub(crate) fn waits_for_client(self: &Arc<Self>) -> bool {
        !self.shared && self.sessions().iter().any(|session| session.questions.waits(self))
    }

    /// The session that is here, where there never was another.
    fn lone(&self) -> Option<Arc<ClientSession>> {
        let members = self.members();
        members.sessions.first().filter(|_| !members.several).and_then(Weak::upgrade)
    }

    /// Tells the server something that wants no answer.
    pub(crate) async fn tell(&self, message: Message) -> Result<(), TransportError> {
        let mut exchange = Exchange::new(message, Caller::anonymous());
        exchange.version = Some(self.version);
        self.behind.send(exchange).await.map(drop)
    }

    /// Asks the server something on the gateway's own behalf.
    pub(crate) async fn ask(&self, message: Message) -> Result<Message, TransportError> {
        let mut exchange = Exchange::new(message, Caller::anonymous());
        exchange.version = Some(self.version);
        let (answer, _) = Self::greet(&*self.behind, exchange).await?;
        self.said();
        Ok(answer)
    }

    /// Passes on what is said unasked, until there is no more.  For whoever began to.
    pub(crate) async fn listen(self: &Arc<Self>) {
        let early = std::mem::take(&mut *self.early.lock().unwrap_or_else(PoisonError::into_inner));
        for event in early {
            self.answer(self.route(event)).await;
        }
        let mut again = LISTEN_AGAIN_MIN;
        while !self.over.load(Ordering::Acquire) {
            match self.behind.listen(None).await {
                Ok(events) => {
                    self.ear.open(events);
                    while let Some(event) = self.ear.hear(|event| self.route(event)).await {
                        self.answer(Some(event)).await;
                    }
                    if self.ear.has_heard() {
                        again = LISTEN_AGAIN_MIN;
                    }
                }
                // Nothing is ever said unasked here; the next exchange will tell of the end.
                Err(error) if *error.kind() == ErrorKind::Unsupported => {
                    return self.ended.cancelled().await;
                }
                Err(error) if *error.kind() == ErrorKind::NoSession => return,
                Err(error) => debug!(server = %self.server, %error, "cannot listen"),
            }
            if !self.behind.is_open() {
                return;
            }
            if tokio::time::timeout(again, self.ended.cancelled()).await.is_ok() {
                return;
            }
            again = (again * 2).min(LISTEN_AGAIN_MAX);
        }
    }

    async fn answer(&self, asked: Option<Event>) {
        if let Some(Event::Message { message, .. }) = asked {
            self.respond(&message).await;
        }
    }

    /// Whether nobody has begun to listen before.
    pub(crate) fn begin_listening(&self) -> bool {
        !self.listening.swap(true, Ordering::AcqRel)
    }

    /// Whether somebody listens already.
    pub(crate) fn is_listening(&self) -> bool {
        self.listening.load(Ordering::Acquire)
    }

    /// Why a session that is not open ended, in the server's own last words.
    pub(crate) async fn post_mortem(&self) -> TransportError {
        let ping = Message::request(&Id::from(0), "ping", &serde_json::json!({}));
        let died = || TransportError::new(ErrorKind::Closed, "its session ended").of(&self.server);
        let Ok(ping) = ping else { return died() };
        match tokio::time::timeout(POST_MORTEM_TIMEOUT, self.ask(ping)).await {
            Ok(Err(error)) => error.of(&self.server),
            Ok(Ok(_)) | Err(_) => died(),
        }
    }

    fn members(&self) -> MutexGuard<'_, Members> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("server", &self.server)
            .field("version", &self.version)
            .field("shared", &self.shared)
            .field("open", &self.is_open())
            .finish_non_exhaustive()
    }
}
