//! A client's session, and how it finds the link that carries it.
//!
//! The session outlives its links: what the client said at `initialize`, its log level and its
//! subscriptions are kept, so that a server which died or forgot can be told them again.

mod alone;
mod bridged;
mod deliver;
mod kept;
mod moved;
mod replay;
mod tell;

use std::{
    collections::BTreeSet,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use futures::{FutureExt, StreamExt, future::BoxFuture};
use mcp_jsonrpc::{
    Id, Kind, Message, ProtocolVersion, RpcError,
    params::Resource,
    transport::{
        Caller, Endpoint, ErrorKind, EventId, EventStream, Exchange, Inbox, Reply, Session,
        SessionId, TransportError,
    },
};
use serde_json::json;
use store::RecordKey;
use tokio::time::Instant;
use tracing::debug;

use self::{replay::Telling, tell::still_lost};
use crate::{
    call::{Answering, Calls},
    handshake::{self, Hello},
    link::Link,
    load::Carried,
    log::Log,
    questions::Questions,
    server::Inner,
    upstream::Acquired,
};

/// A client's session with one server.
pub(crate) struct ClientSession {
    /// Its own among all there ever were in this process.
    pub(crate) number: u64,
    /// Where its client posts to.
    at: Arc<str>,
    /// Its id, once somebody has asked for it.
    id: OnceLock<Option<SessionId>>,
    /// What its record is kept under, and when it began: in its id too.
    pub(crate) key: RecordKey,
    issued: u64,
    pub(crate) caller: Caller,
    server: Arc<Inner>,
    pub(crate) calls: Calls,
    pub(crate) questions: Questions,
    /// What the client was told to speak.
    version: OnceLock<ProtocolVersion>,
    /// Whoever uses it keeps what would outlive this process.
    unkept: OnceLock<()>,
    /// What went down its streams; begun with the first of them.
    log: OnceLock<Option<Log>>,
    state: Mutex<State>,
    /// Held by whoever looks for a link, so that one is opened and not many.
    attaching: tokio::sync::Mutex<()>,
    /// Whether whoever holds that tells a new link what the last one knew.
    telling: AtomicBool,
    /// Held by whoever writes its record.
    saving: tokio::sync::Mutex<()>,
}

struct State {
    hello: Option<Arc<Hello>>,
    /// Whether what was said at `initialize` is in a record, since the id does not say it.
    is_recorded: bool,
    link: Option<Arc<Link>>,
    /// Links of a server that was configured anew since, for as long as they carry anything.
    leaving: Vec<Arc<Link>>,
    listeners: Vec<Arc<Inbox>>,
    /// What came while nobody listened and no call could carry it.
    backlog: Option<Arc<Inbox>>,
    /// The client's last `logging/setLevel`.
    log_level: Option<Message>,
    subscriptions: BTreeSet<Box<str>>,
    last_used: Instant,
    closed: bool,
}

/// The number of the session that is opened next.
static NUMBERS: AtomicU64 = AtomicU64::new(1);

// === impl ClientSession ===

impl ClientSession {
    /// A session that begins, at a path, under a key, at a time.
    pub(crate) fn new(
        at: Arc<str>,
        (key, issued): (RecordKey, u64),
        caller: Caller,
        server: Arc<Inner>,
    ) -> Arc<Self> {
        let options = server.options();
        let calls = Calls::new(options.in_flight_max, options.inbox, &server.detached);
        let state = State {
            hello: None,
            is_recorded: false,
            link: None,
            leaving: Vec::new(),
            listeners: Vec::new(),
            backlog: None,
            log_level: None,
            subscriptions: BTreeSet::new(),
            last_used: Instant::now(),
            closed: false,
        };
        let (attaching, saving) = (tokio::sync::Mutex::default(), tokio::sync::Mutex::default());
        Arc::new(Self {
            number: NUMBERS.fetch_add(1, Ordering::Relaxed),
            at,
            id: OnceLock::new(),
            key,
            issued,
            caller,
            server,
            calls,
            questions: Questions::new(),
            version: OnceLock::new(),
            unkept: OnceLock::new(),
            log: OnceLock::new(),
            state: Mutex::new(state),
            attaching,
            telling: AtomicBool::new(false),
            saving,
        })
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.calls.len()
    }

    pub(crate) fn is_subscribed(&self, uri: &str) -> bool {
        self.state().subscriptions.contains(uri)
    }

    /// What it is subscribed to.
    pub(crate) fn subscribed(&self) -> Vec<Box<str>> {
        self.state().subscriptions.iter().cloned().collect()
    }

    /// Since when nothing happened here and nobody listened; none while something does.
    pub(crate) fn idle_since(&self) -> Option<(Instant, bool)> {
        let state = self.state();
        let idle = state.listeners.is_empty() && self.calls.len() == 0;
        idle.then_some((state.last_used, state.hello.is_some()))
    }

    async fn initialize(self: &Arc<Self>, message: Message) -> Result<Reply, TransportError> {
        let mut hello = Hello::read(message)?;
        let _attaching = self.attaching.lock().await;
        if self.state().hello.is_some() {
            let kind = ErrorKind::Invalid(RpcError::INVALID_REQUEST);
            let error = TransportError::new(kind, "this session is initialized already");
            return Err(error.hint("open a new session to start anew"));
        }
        match self.server.acquire(&hello, &self.caller).await? {
            Acquired::Refused(answer) => {
                let id = hello.message.id().cloned();
                Ok(Reply::Single(id.map_or_else(|| answer.clone(), |id| answer.with_id(id))))
            }
            Acquired::Link(link) => {
                let answer = handshake::answer(&link.answer, &hello, link.version);
                let answer = answer.map_err(|error| {
                    TransportError::new(ErrorKind::Protocol, "its answer cannot be passed on")
                        .because(error)
                })?;
                // What it was told is what it speaks, whatever link comes next.
                hello.version = hello.version.min(link.version);
                self.version.get_or_init(|| hello.version);
                let hello = Arc::new(hello);
                let answer = match self.is_alone() {
                    true => self.begin_alone(link, &hello, &answer)?,
                    false => {
                        self.attach(link, Some(Arc::clone(&hello))).await;
                        answer
                    }
                };
                self.keep_hello(&hello).await;
                Ok(Reply::Single(answer))
            }
        }
    }

    /// Takes a link; leaves it again if the session was closed meanwhile.
    async fn attach(self: &Arc<Self>, link: Arc<Link>, hello: Option<Arc<Hello>>) {
        link.join(self);
        let closed = {
            let mut state = self.state();
            if let Some(hello) = hello {
                state.hello = Some(hello);
            }
            if !state.closed {
                state.link = Some(Arc::clone(&link));
            }
            state.closed
        };
        if closed {
            link.quit(self).await;
        }
        // The server may have been configured anew just now.
        self.let_go();
    }

    /// The link that carries this session: the one it has, or a new one where that has ended.
    pub(crate) async fn link(self: &Arc<Self>) -> Result<Carried, TransportError> {
        self.link_at(Instant::now()).await
    }

    /// The same for who knows what time it is.
    async fn link_at(self: &Arc<Self>, now: Instant) -> Result<Carried, TransportError> {
        loop {
            let link = match self.open_link(now)? {
                Some(link) => {
                    if self.telling.load(Ordering::Acquire) {
                        // What the last one knew it is told before anything else, and the client
                        // hears that there is another.
                        drop(self.attaching.lock().await);
                    }
                    link
                }
                // In a box: rare, and large beside the future of a call.
                None => Box::pin(self.another_link()).await?,
            };
            if let Some(carried) = Carried::by(link) {
                return Ok(carried);
            }
        }
    }

    async fn another_link(self: &Arc<Self>) -> Result<Arc<Link>, TransportError> {
        let _attaching = self.attaching.lock().await;
        if let Some(link) = self.open_link(Instant::now())? {
            return Ok(link);
        }
        let (hello, last) = {
            let mut state = self.state();
            (state.hello.clone(), state.link.take())
        };
        let hello = hello.ok_or_else(uninitialized)?;
        if let Some(last) = last {
            if !last.is_over() {
                let error = last.post_mortem().await;
                last.lost(&error);
            }
            last.quit(self).await;
        }
        match self.server.acquire(&hello, &self.caller).await? {
            Acquired::Refused(answer) => {
                let what = "it was started again and now refuses `initialize`";
                let hint = answer.body().unwrap_or_default().chars().take(512).collect::<String>();
                let kind = ErrorKind::Unavailable { retry_after: None };
                Err(TransportError::new(kind, what).hint(hint))
            }
            Acquired::Link(link) => {
                let _telling = Telling::begin(&self.telling);
                self.attach(Arc::clone(&link), None).await;
                self.replay(&link, &hello).await;
                Ok(link)
            }
        }
    }

    fn open_link(&self, now: Instant) -> Result<Option<Arc<Link>>, TransportError> {
        let mut state = self.state();
        state.last_used = state.last_used.max(now);
        if state.closed {
            return Err(TransportError::new(ErrorKind::NoSession, "this session is closed"));
        }
        if state.hello.is_none() {
            return Err(uninitialized());
        }
        Ok(state.link.clone().filter(|link| link.is_open()))
    }

    async fn ask(self: &Arc<Self>, exchange: Exchange) -> Result<Reply, TransportError> {
        let method = exchange.message.method().unwrap_or_default();
        match method {
            "initialize" => return Box::pin(self.initialize(exchange.message)).await,
            "server/discover" => return Err(no_discovery()),
            "ping" if self.state().hello.is_none() => return pong(&exchange.message),
            _ => (),
        }
        let id = exchange.message.id().cloned().ok_or_else(uninitialized)?;
        let now = Instant::now();
        let sent = Box::pin(Arc::clone(self).carry(exchange, now));
        let answering = Answering::new(&self.calls, id, now, sent)?;
        self.catch_up(&answering);
        answering.reply().await
    }

    /// Sends a request to the server; once more over a new link where it certainly never arrived.
    async fn carry(
        self: Arc<Self>,
        mut exchange: Exchange,
        now: Instant,
    ) -> Result<Reply, TransportError> {
        if self.is_alone() {
            return Box::pin(self.carry_alone(exchange)).await;
        }
        let mut link = self.link_at(now).await?;
        if !link.is_listening() {
            link.watch();
        }
        if let Some(answer) = self.answer_here(&link, &exchange.message)? {
            Box::pin(self.record()).await;
            return Ok(Reply::Single(answer));
        }
        let remembered = replay::is_remembered(&exchange.message).then(|| exchange.message.clone());
        if link.shared && exchange.message.method() == Some("logging/setLevel") {
            exchange.message = self.common_level(&link, &exchange.message);
        }
        let reply = match self.send_over(&link, exchange.clone()).await {
            Err(error) if error.is_unsent() => {
                // In a box: rare, and large beside the future of a call.
                let again = Box::pin(self.send_again(&link, exchange, error)).await;
                let reply;
                (link, reply) = again?;
                reply
            }
            reply => reply?,
        };
        let is_granted = matches!(&reply, Reply::Single(answer) if answer.kind() == Kind::Response);
        if let Some(message) = remembered.filter(|_| is_granted) {
            self.remember(message);
            Box::pin(self.record()).await;
        }
        Ok(match reply {
            // The link carries it to its end.
            Reply::Stream(events) => Reply::Stream(events.inspect(move |_| _ = &link).boxed()),
            reply => reply,
        })
    }

    /// Sends over a new link what certainly never arrived over the last one.
    async fn send_again(
        self: &Arc<Self>,
        last: &Arc<Link>,
        exchange: Exchange,
        error: TransportError,
    ) -> Result<(Carried, Reply), TransportError> {
        debug!(server = %self.server.name, %error, "not sent: once more over a new link");
        last.lost(&error);
        let link = self.link().await?;
        link.watch();
        match self.send_over(&link, exchange).await {
            Ok(reply) => Ok((link, reply)),
            Err(error) => Err(still_lost(&link, error)),
        }
    }

    /// What must not reach a server that several sessions share.
    fn answer_here(
        &self,
        link: &Link,
        message: &Message,
    ) -> Result<Option<Message>, TransportError> {
        if !link.shared || message.method() != Some("resources/unsubscribe") {
            return Ok(None);
        }
        let Ok(resource) = message.read::<Resource<'_>>() else { return Ok(None) };
        let others = link.sessions();
        let mut others = others.iter().filter(|it| !std::ptr::eq(Arc::as_ptr(it), self));
        if !others.any(|other| other.is_subscribed(&resource.uri)) {
            return Ok(None);
        }
        self.state().subscriptions.remove(&*resource.uri);
        let Some(id) = message.id() else { return Ok(None) };
        let answer = Message::response(id, &json!({}));
        answer.map(Some).map_err(|error| {
            TransportError::new(ErrorKind::Protocol, "an answer could not be written")
                .because(error)
        })
    }

    /// Ends the session and whatever it waits for.  Where sessions are kept, its id may take it up
    /// again: see [`close`](Self::close).
    pub(crate) async fn end(&self) {
        self.server.sessions.remove(self);
        self.calls.cancel_all();
        if let Some(Some(log)) = self.log.get() {
            log.clear();
        }
        let (links, listeners) = {
            let mut state = self.state();
            state.closed = true;
            let mut links = std::mem::take(&mut state.leaving);
            links.extend(state.link.take());
            (links, std::mem::take(&mut state.listeners))
        };
        for listener in listeners {
            listener.finish(Ok(None));
        }
        futures::future::join_all(links.iter().map(|link| link.quit(self))).await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The session as server halves hold it.
#[derive(Clone, Debug)]
pub(crate) struct Routed(pub(crate) Arc<ClientSession>);

impl Session for Routed {
    fn endpoint(&self) -> Endpoint {
        Endpoint { uri: Arc::clone(&self.0.at), session: self.0.name(None).cloned() }
    }

    fn send(&self, exchange: Exchange) -> BoxFuture<'_, Result<Reply, TransportError>> {
        let named = |error: TransportError| error.of(&self.0.server.name);
        // Each in a box of its own size: that of a call is copied with each call.
        match exchange.message.kind() {
            Kind::Request => async move { self.0.ask(exchange).await.map_err(named) }.boxed(),
            Kind::Notification | Kind::Response | Kind::Error => {
                async move { self.0.tell(exchange).await.map_err(named) }.boxed()
            }
        }
    }

    fn listen(&self, after: Option<EventId>) -> BoxFuture<'_, Result<EventStream, TransportError>> {
        let events = match after {
            Some(after) => self.0.resume(&after).map_err(|error| error.of(&self.0.server.name)),
            None => Ok(self.0.listen()),
        };
        self.0.wake();
        async { events }.boxed()
    }

    fn keep(&self, of: &[Id], events: EventStream) -> EventStream {
        match self.0.log() {
            Some(log) => log.keep(of, events),
            None => events,
        }
    }

    fn version(&self) -> Option<ProtocolVersion> {
        self.0.version.get().copied()
    }

    fn is_open(&self) -> bool {
        !self.0.state().closed
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.0.close().boxed()
    }
}

impl fmt::Debug for ClientSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientSession")
            .field("server", &self.server.name)
            .field("id", &self.named())
            .field("calls", &self.calls)
            .finish_non_exhaustive()
    }
}

fn pong(ping: &Message) -> Result<Reply, TransportError> {
    let id = ping.id().ok_or_else(uninitialized)?;
    let answer = Message::response(id, &json!({}));
    answer.map(Reply::Single).map_err(|error| {
        TransportError::new(ErrorKind::Protocol, "an answer could not be written").because(error)
    })
}

fn uninitialized() -> TransportError {
    let kind = ErrorKind::Invalid(RpcError::INVALID_REQUEST);
    let error = TransportError::new(kind, "this session is not initialized");
    error.hint("send `initialize`, wait for its answer, then send `notifications/initialized`")
}

fn no_discovery() -> TransportError {
    let kind = ErrorKind::Invalid(RpcError::METHOD_NOT_FOUND);
    let error = TransportError::new(kind, "`server/discover` is not served here");
    error.hint("send `initialize`")
}
