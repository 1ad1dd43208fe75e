//! One initialised session with the server behind, and whom what it says unasked is for.
//!
//! A link is one session's own, or shared by several.  A shared one was told no client
//! capabilities, so its server has nothing to ask of anybody; what it says all the same goes to
//! the one it is for, or to nobody, but never to a guess.

mod home;

use std::{
    collections::VecDeque,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::StreamExt;
use mcp_jsonrpc::{
    Id, Kind, Message, ProtocolVersion, RpcError,
    params::Resource,
    transport::{
        Caller, ErrorKind, Event, EventStream, Exchange, Opening, Reply, Session, Transport,
        TransportError,
    },
};
use tokio::time::Instant;
use tracing::{debug, warn};
use translate::Passage;

use crate::{ear::Ear, handshake, load::Load, session::ClientSession, upstream::Upstream};

/// How much of what a server says before its answer to `initialize` is kept.
const EARLY_MAX: usize = 64;
/// How many questions of a server's are remembered while they wait for their answer.
const ASKED_MAX: usize = 256;
/// How long to wait before listening again where a stream ended and its session did not.
const LISTEN_AGAIN_MIN: Duration = Duration::from_secs(1);
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
    /// What the server has asked its client and was not answered yet.
    asked: Mutex<VecDeque<Id>>,
    /// What it carried was not done when it had to be.
    cut: AtomicBool,
}

struct Members {
    sessions: Vec<Weak<ClientSession>>,
    idle_since: Option<Instant>,
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
    /// Opens a session with the server and says `initialize`.
    pub(crate) async fn open(
        transport: &dyn Transport,
        (server, home): (&Arc<str>, &Weak<Upstream>),
        (opening, initialize): (Opening, Message),
        shared: bool,
    ) -> Result<Opened, TransportError> {
        let caller = opening.caller.clone();
        let behind = transport.open(opening).await?;
        let said = Self::greet(&*behind, Exchange::new(initialize, caller)).await;
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
        let version = match handshake::chosen(&answer) {
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
            server: Arc::clone(server),
            members: Mutex::new(Members { sessions: Vec::new(), idle_since: Some(Instant::now()) }),
            early: Mutex::new(early),
            ear: Ear::default(),
            listening: AtomicBool::new(false),
            over: AtomicBool::new(false),
            home: Weak::clone(home),
            load: Load::default(),
            asked: Mutex::default(),
            cut: AtomicBool::new(false),
        })))
    }

    /// Says `initialize`; returns the answer and what came before it.
    async fn greet(
        behind: &dyn Session,
        exchange: Exchange,
    ) -> Result<(Message, Vec<Event>), TransportError> {
        let mut early = Vec::new();
        let mut events: EventStream = match behind.send(exchange).await? {
            Reply::Single(message) => return Ok((message, early)),
            Reply::Stream(events) => events,
            Reply::Accepted => futures::stream::empty().boxed(),
        };
        while let Some(event) = events.next().await {
            match event? {
                Event::Message { message, .. } if message.is_answer() => {
                    return Ok((message, early));
                }
                event if early.len() < EARLY_MAX => early.push(event),
                _ => debug!("too much was said before the answer to `initialize`: dropped"),
            }
        }
        Err(TransportError::new(ErrorKind::Protocol, "it did not answer `initialize`"))
    }

    /// Whether it can carry exchanges.
    pub(crate) fn is_open(&self) -> bool {
        !self.over.load(Ordering::Acquire) && !self.load.is_closed() && self.behind.is_open()
    }

    /// Says that no more exchanges are carried; whether that is news.
    pub(crate) fn end(&self) -> bool {
        !self.over.swap(true, Ordering::AcqRel)
    }

    pub(crate) fn join(&self, session: &Arc<ClientSession>) {
        let mut members = self.members();
        members.sessions.retain(|it| it.strong_count() > 0);
        members.sessions.push(Arc::downgrade(session));
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
        Self::greet(&*self.behind, exchange).await.map(|(answer, _)| answer)
    }

    /// Passes on what is said unasked, until there is no more.  The first call alone does so.
    pub(crate) async fn listen(&self) {
        if self.listening.swap(true, Ordering::AcqRel) {
            return std::future::pending().await;
        }
        let early = std::mem::take(&mut *self.early.lock().unwrap_or_else(PoisonError::into_inner));
        for event in early {
            self.respond(self.route(event)).await;
        }
        let mut again = LISTEN_AGAIN_MIN;
        while !self.over.load(Ordering::Acquire) {
            match self.behind.listen(None).await {
                Ok(events) => {
                    self.ear.open(events);
                    while let Some(event) = self.ear.hear(|event| self.route(event)).await {
                        self.respond(Some(event)).await;
                    }
                    if self.ear.has_heard() {
                        again = LISTEN_AGAIN_MIN;
                    }
                }
                // Nothing is ever said unasked here; the next exchange will tell of the end.
                Err(error) if *error.kind() == ErrorKind::Unsupported => {
                    return std::future::pending().await;
                }
                Err(error) if *error.kind() == ErrorKind::NoSession => return,
                Err(error) => debug!(server = %self.server, %error, "cannot listen"),
            }
            if !self.behind.is_open() {
                return;
            }
            tokio::time::sleep(again).await;
            again = (again * 2).min(LISTEN_AGAIN_MAX);
        }
    }

    /// Whether somebody listens already.
    pub(crate) fn is_listening(&self) -> bool {
        self.listening.load(Ordering::Acquire)
    }

    /// Lets all that be heard that the server said unasked before it said something else.
    pub(crate) fn catch_up(&self) {
        self.ear.catch_up(|event| self.route(event));
    }

    /// Passes on what is said unasked; hands back what the gateway itself has to answer.
    fn route(&self, event: Event) -> Option<Event> {
        let Event::Message { message, .. } = &event else { return None };
        let method = message.method().unwrap_or_default();
        if message.kind() == Kind::Request && (method == "ping" || self.shared) {
            return Some(event);
        }
        let message = message.clone();
        let sessions = self.sessions();
        if !self.shared {
            self.note_asked(&message);
            let Some(session) = sessions.first() else {
                debug!(server = %self.server, ?message, "for a session that is over");
                return None;
            };
            return self.hand_to(session, message);
        }
        match message.method().unwrap_or_default() {
            "notifications/tools/list_changed"
            | "notifications/prompts/list_changed"
            | "notifications/resources/list_changed" => {
                sessions.iter().for_each(|session| drop(self.hand_to(session, message.clone())));
            }
            "notifications/resources/updated" => {
                let Ok(updated) = message.read::<Resource<'_>>() else { return None };
                let subscribed = sessions.iter().filter(|it| it.is_subscribed(&updated.uri));
                subscribed.for_each(|session| drop(self.hand_to(session, message.clone())));
            }
            _ => self.attribute(&sessions, message),
        }
        None
    }

    /// Gives a message to a session, in the revision of its client; hands back what its server is
    /// answered instead.
    fn hand_to(&self, session: &ClientSession, message: Message) -> Option<Event> {
        let bridge = session.bridge(self.version);
        match bridge.map_or(Passage::Same, |bridge| bridge.to_client(&message)) {
            Passage::Same => session.deliver(message),
            Passage::Edited(message) => session.deliver(message),
            Passage::Dropped => {
                debug!(server = %self.server, ?message, "dropped: unknown to its client's revision");
            }
            Passage::Refused(answer) => return Some(answer.into()),
        }
        None
    }

    /// Answers what is asked of no client.
    async fn respond(&self, asked: Option<Event>) {
        let Some(Event::Message { message, .. }) = asked else { return };
        if message.is_answer() {
            if let Err(error) = self.tell(message).await {
                debug!(server = %self.server, %error, "the server did not hear a refusal");
            }
            return;
        }
        if message.method() == Some("ping") {
            return self.refuse_or_answer(&message, Ok(())).await;
        }
        warn!(server = %self.server, ?message, "asked although nobody declared it could be");
        self.refuse_or_answer(&message, Err(())).await;
    }

    /// Gives a message to the session whose call is the only one that can have caused it.
    fn attribute(&self, sessions: &[Arc<ClientSession>], message: Message) {
        let mut calling = sessions.iter().filter(|session| session.in_flight() > 0);
        match (calling.next(), calling.next()) {
            (Some(session), None) => drop(self.hand_to(session, message)),
            _ => debug!(server = %self.server, ?message, "could be for several sessions: dropped"),
        }
    }

    /// Answers a request of the server's that is for no client.
    async fn refuse_or_answer(&self, request: &Message, answer: Result<(), ()>) {
        let Some(id) = request.id() else { return };
        let message = match answer {
            Ok(()) => Message::response(id, &serde_json::json!({})),
            Err(()) => {
                let words = "no client of this session declared a capability for this";
                Message::error(Some(id), &RpcError::new(RpcError::METHOD_NOT_FOUND, words))
            }
        };
        let told = match message {
            Ok(message) => self.tell(message).await,
            Err(error) => return debug!(%error, "an answer could not be written"),
        };
        if let Err(error) = told {
            debug!(server = %self.server, %error, "the server did not hear an answer");
        }
    }

    /// Why a session that is not open ended, in the server's own last words.
    pub(crate) async fn post_mortem(&self) -> TransportError {
        let ping = Message::request(&Id::from(0), "ping", &serde_json::json!({}));
        let died = || TransportError::new(ErrorKind::Closed, "its session ended").of(&self.server);
        match ping {
            Ok(ping) => match self.ask(ping).await {
                Err(error) => error.of(&self.server),
                Ok(_) => died(),
            },
            Err(_) => died(),
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
