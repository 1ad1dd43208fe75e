//! One session's conversation with one server.

mod hear;

use std::{
    fmt,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use futures::StreamExt;
use mcp_jsonrpc::{
    Id, Kind, Message, ProtocolVersion,
    params::Initialized,
    transport::{
        Caller, Ear, ErrorKind, Event, EventStream, Exchange, Opening, Reply, Session,
        TransportError,
    },
};
use serde::Deserialize;
use serde_json::{json, value::RawValue};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use translate::Bridge;

pub(crate) use hear::Passed;

use crate::{member::Member, session::Talk};

/// How much of what a server says of itself in a refusal is passed on, in characters.
pub(crate) const REFUSAL_LEN_MAX: usize = 512;

/// One session's conversation with one server.
pub(crate) struct Link {
    pub(crate) member: Arc<Member>,
    pub(crate) behind: Arc<dyn Session>,
    /// What lies between the revision of the client and the server's, if they differ.
    pub(crate) bridge: Option<Bridge>,
    pub(crate) ear: Ear,
    /// Whose it is.
    session: Weak<Talk>,
    over: AtomicBool,
    /// Cancelled when it is over.
    ended: CancellationToken,
    /// Where what is to be said to the server when nobody waits for that is said.
    tasks: TaskTracker,
    version: ProtocolVersion,
    answer: Message,
    caller: Caller,
    asked: AtomicU64,
    /// Something that the server lists in it has changed since it began.
    has_changed: AtomicBool,
}

/// `initialize`, as a server answers it, for what is kept of it.
#[derive(Default, Deserialize)]
struct Said<'a> {
    #[serde(borrow, default)]
    capabilities: Option<&'a RawValue>,
    #[serde(default)]
    instructions: Option<String>,
}

// === impl Link ===

impl Link {
    /// Opens a session with a server, says to it what the client said, and listens to it.
    pub(crate) async fn open(
        member: Arc<Member>,
        session: &Arc<Talk>,
        hello: &Message,
        version: ProtocolVersion,
    ) -> Result<Arc<Self>, TransportError> {
        let caller = session.caller();
        let opening = Opening { caller: caller.clone(), version: None, at: Arc::from("") };
        let behind = member.transport.open(opening).await;
        let behind = behind.map_err(|error| error.of(&member.name))?;
        match Self::greet(&*behind, caller, hello).await {
            Ok((answer, spoken, events)) => {
                let link = Arc::new(Self {
                    member,
                    behind,
                    bridge: Bridge::between(version, spoken),
                    ear: Ear::default(),
                    session: Arc::downgrade(session),
                    over: AtomicBool::new(false),
                    ended: CancellationToken::new(),
                    tasks: session.tracker().clone(),
                    version: spoken,
                    answer: answer.detached(),
                    caller: caller.clone(),
                    asked: AtomicU64::new(0),
                    has_changed: AtomicBool::new(false),
                });
                link.ear.open(events);
                Ok(link)
            }
            Err(error) => {
                behind.close().await;
                Err(error.of(&member.name))
            }
        }
    }

    async fn greet(
        behind: &dyn Session,
        caller: &Caller,
        hello: &Message,
    ) -> Result<(Message, ProtocolVersion, EventStream), TransportError> {
        let broken = |what: &'static str| TransportError::new(ErrorKind::Protocol, what);
        // Nothing that may precede it is for a client.
        let reply = behind.send(Exchange::new(hello.clone(), caller.clone())).await?;
        let answer = reply.answer(drop).await?;
        if answer.kind() == Kind::Error {
            let hint: String =
                answer.body().unwrap_or_default().chars().take(REFUSAL_LEN_MAX).collect();
            return Err(broken("it refuses `initialize`").hint(hint));
        }
        let malformed = |error| broken("its answer to `initialize` is malformed").because(error);
        let said: Initialized<'_> = answer.read().map_err(malformed)?;
        let spoken = said.version().parse();
        let spoken = spoken.map_err(|_| broken("it speaks a revision that is not known here"))?;
        let events = behind.listen(None).await?;
        let initialized = Message::notification("notifications/initialized", &json!({}));
        let mut initialized = Exchange::new(initialized.map_err(malformed)?, caller.clone());
        initialized.version = Some(spoken);
        behind.send(initialized).await?;
        Ok((answer, spoken, events))
    }

    /// Whether it can carry exchanges.
    pub(crate) fn is_open(&self) -> bool {
        !self.over.load(Ordering::Acquire) && self.behind.is_open()
    }

    /// Notes that it carries no more.
    pub(crate) fn end(&self) {
        self.over.store(true, Ordering::Release);
        self.ended.cancel();
    }

    /// Says something to the server that nobody waits for.
    pub(crate) fn spawn(&self, saying: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(saying);
    }

    /// Whose it is, if that one is still there.
    pub(crate) fn session(&self) -> Option<Arc<Talk>> {
        self.session.upgrade()
    }

    /// Notes that something changed that the server lists in it.
    pub(crate) fn note_change(&self) {
        self.has_changed.store(true, Ordering::Release);
    }

    /// Whether the server lists something else in it, perhaps, than in one that has just begun.
    pub(crate) fn has_changed(&self) -> bool {
        self.has_changed.load(Ordering::Acquire)
    }

    /// Ends the session with the server.
    pub(crate) async fn close(&self) {
        self.end();
        self.behind.close().await;
    }

    /// What the server says it can do, unread.
    pub(crate) fn capabilities(&self) -> Option<&RawValue> {
        self.answer.read::<Said<'_>>().ok()?.capabilities
    }

    /// What the server says of itself to a model.
    pub(crate) fn instructions(&self) -> Option<String> {
        self.answer.read::<Said<'_>>().ok()?.instructions
    }

    /// Whether the server says that it has a capability.
    pub(crate) fn can(&self, capability: &str) -> bool {
        let said = self.capabilities().and_then(|it| {
            serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(it.get()).ok()
        });
        said.is_some_and(|it| it.get(capability).is_some_and(|it| !it.is_null()))
    }

    /// Tells the server something, or answers it.
    pub(crate) async fn tell(&self, message: Message) -> Result<(), TransportError> {
        let mut exchange = Exchange::new(message, self.caller.clone());
        exchange.version = Some(self.version);
        self.behind.send(exchange).await.map(drop)
    }

    /// Asks the server something on the aggregate's own behalf.  Whatever it says to that before
    /// its answer is heard as if it were said unasked.
    pub(crate) async fn ask(
        self: &Arc<Self>,
        method: &str,
        params: &(impl serde::Serialize + ?Sized),
    ) -> Result<Message, TransportError> {
        let number = self.asked.fetch_add(1, Ordering::Relaxed);
        let id = Id::Text(format!("mcp-gateway:{number}").into());
        let unwritten = |error| {
            TransportError::new(ErrorKind::Protocol, "a request could not be written")
                .because(error)
        };
        let message = Message::request(&id, method, &params).map_err(unwritten)?;
        let mut events = match self.send(Exchange::new(message, self.caller.clone())).await? {
            Reply::Single(answer) => return Ok(answer),
            Reply::Stream(events) => events,
            Reply::Accepted => futures::stream::empty().boxed(),
        };
        while let Some(event) = events.next().await {
            match event? {
                Event::Message { message, .. } if message.is_answer() => return Ok(message),
                event => self.respond(self.route(event)).await,
            }
        }
        Err(TransportError::new(ErrorKind::Protocol, "it did not answer").of(&self.member.name))
    }

    /// Sends a client's message on.
    pub(crate) async fn send(&self, mut exchange: Exchange) -> Result<Reply, TransportError> {
        exchange.version = Some(self.version);
        self.behind.send(exchange).await.map_err(|error| error.of(&self.member.name))
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("server", &self.member.name)
            .field("version", &self.version)
            .field("open", &self.is_open())
            .finish_non_exhaustive()
    }
}
