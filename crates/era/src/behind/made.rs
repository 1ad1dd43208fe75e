//! A session with a server that keeps none: what a client says at `initialize` and later is kept
//! here, and goes with each of its requests.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream};
use mcp_jsonrpc::{
    Id, Kind, Message, ProtocolVersion, RpcError,
    params::{Cancelled, Initialize, Resource},
    transport::{
        Caller, Endpoint, ErrorKind, EventId, EventStream, Exchange, Inbox, Reply, Session,
        TransportError,
    },
};
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use translate::modern::down::{self, Said};

use super::{Inner, asking, hub::Hub, unwritten, watched::Held};

/// How grave what a server logs may be (RFC 5424).
const LEVELS: [&str; 8] =
    ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"];

/// A session with a server that keeps none.
pub(super) struct Made(Arc<Talk>);

/// What there is of it.
pub(super) struct Talk {
    pub(super) home: Arc<Inner>,
    pub(super) wire: Held,
    pub(super) caller: Caller,
    state: Mutex<State>,
    questions: Mutex<HashMap<i64, oneshot::Sender<Message>>>,
    running: Mutex<HashMap<Id, CancellationToken>>,
    last: AtomicI64,
    listener: Mutex<Option<Arc<Inbox>>>,
    hub: OnceLock<Arc<Hub>>,
    over: AtomicBool,
}

#[derive(Default)]
struct State {
    hello: Option<Arc<Hello>>,
    log_level: Option<Box<str>>,
    subscribed: BTreeSet<Box<str>>,
}

/// What its client said at `initialize`.
pub(super) struct Hello {
    pub(super) version: ProtocolVersion,
    pub(super) capabilities: Box<RawValue>,
    client_info: Option<Box<RawValue>>,
    /// Whether the server may do a call in the background.
    pub(super) has_tasks: bool,
}

/// A request that is being answered.
struct Running {
    talk: Arc<Talk>,
    id: Id,
    /// Cancelled when its client takes it back.
    over: CancellationToken,
}

// === impl Made ===

impl Made {
    pub(super) fn new(home: &Arc<Inner>, wire: Held, caller: Caller) -> Self {
        Self(Arc::new(Talk {
            home: Arc::clone(home),
            wire,
            caller,
            state: Mutex::default(),
            questions: Mutex::default(),
            running: Mutex::default(),
            last: AtomicI64::new(0),
            listener: Mutex::default(),
            hub: OnceLock::new(),
            over: AtomicBool::new(false),
        }))
    }
}

impl Session for Made {
    fn endpoint(&self) -> Endpoint {
        Endpoint { uri: self.0.wire.endpoint().uri, session: None }
    }

    fn send(&self, exchange: Exchange) -> BoxFuture<'_, Result<Reply, TransportError>> {
        match exchange.message.kind() {
            Kind::Request => Arc::clone(&self.0).run(exchange).boxed(),
            Kind::Notification => {
                self.0.taken_back(&exchange.message);
                async { Ok(Reply::Accepted) }.boxed()
            }
            Kind::Response | Kind::Error => {
                self.0.answered(exchange.message);
                async { Ok(Reply::Accepted) }.boxed()
            }
        }
    }

    fn listen(&self, _: Option<EventId>) -> BoxFuture<'_, Result<EventStream, TransportError>> {
        let inbox = Inbox::new(self.0.home.options.inbox);
        let old = self.0.listener().replace(Arc::clone(&inbox));
        if let Some(old) = old {
            old.finish(Ok(None));
        }
        if !self.is_open() {
            inbox.finish(Ok(None));
        }
        self.0.hub().join(&self.0);
        async { Ok(stream::poll_fn(move |cx| inbox.poll_next(cx)).boxed()) }.boxed()
    }

    fn is_open(&self) -> bool {
        !self.0.over.load(Ordering::Acquire) && self.0.wire.is_open()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.0.end();
        self.0.wire.close()
    }
}

impl fmt::Debug for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Made").field("wire", &self.0.wire).finish_non_exhaustive()
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        self.0.end();
    }
}

// === impl Running ===

impl Drop for Running {
    fn drop(&mut self) {
        self.talk.running().remove(&self.id);
    }
}

// === impl Talk ===

impl Talk {
    /// A request until its answer, or until its client takes it back: then its reply is dropped,
    /// which is how the server learns of it.
    async fn run(self: Arc<Self>, exchange: Exchange) -> Result<Reply, TransportError> {
        let Some(id) = exchange.message.id().cloned() else { return Ok(Reply::Accepted) };
        let over = CancellationToken::new();
        self.running().insert(id.clone(), over.clone());
        let running = Running { talk: Arc::clone(&self), id, over };
        let reply = tokio::select! {
            biased;
            () = running.over.cancelled() => return Err(taken_back()),
            reply = self.request(exchange) => reply?,
        };
        let Reply::Stream(events) = reply else { return Ok(reply) };
        let events = stream::unfold(Some((events, running)), |running| async {
            let (mut events, running) = running?;
            tokio::select! {
                biased;
                () = running.over.cancelled() => Some((Err(taken_back()), None)),
                event = events.next() => event.map(|event| (event, Some((events, running)))),
            }
        });
        Ok(Reply::Stream(events.boxed()))
    }

    fn taken_back(&self, message: &Message) {
        if message.method() == Some("notifications/cancelled")
            && let Ok(Cancelled { request_id, .. }) = message.read()
            && let Some(over) = self.running().get(&request_id)
        {
            over.cancel();
        }
    }

    fn running(&self) -> MutexGuard<'_, HashMap<Id, CancellationToken>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn request(self: Arc<Self>, exchange: Exchange) -> Result<Reply, TransportError> {
        let message = &exchange.message;
        let Some(id) = message.id() else { return Ok(Reply::Accepted) };
        let answer = match message.method().unwrap_or_default() {
            "initialize" => self.initialize(id, message).await?,
            "ping" => Message::response(id, &json!({})).map_err(unwritten)?,
            "logging/setLevel" => self.set_level(id, message).map_err(unwritten)?,
            "resources/subscribe" => self.subscribe(id, message).await?,
            "resources/unsubscribe" => self.unsubscribe(id, message)?,
            method if method.starts_with("tasks/") => {
                let words = "tasks of this revision are not known to the server";
                let error = RpcError::new(RpcError::METHOD_NOT_FOUND, words);
                Message::error(Some(id), &error).map_err(unwritten)?
            }
            _ => {
                let hello = self.hello().ok_or_else(uninitialized)?;
                return asking::ask(self, hello, exchange).await;
            }
        };
        Ok(Reply::Single(answer))
    }

    async fn initialize(&self, id: &Id, message: &Message) -> Result<Message, TransportError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Declared<'a> {
            #[serde(borrow)]
            capabilities: Option<&'a RawValue>,
            #[serde(borrow)]
            client_info: Option<&'a RawValue>,
        }
        let wrong = |error: mcp_jsonrpc::ParseError| {
            let kind = ErrorKind::Invalid(RpcError::INVALID_PARAMS);
            TransportError::new(kind, "`initialize` cannot be read").because(error)
        };
        let said: Initialize<'_> = message.read().map_err(wrong)?;
        let declared: Declared<'_> = message.read().map_err(wrong)?;
        let version = ProtocolVersion::negotiate(&said.version());
        let capabilities = down::capabilities(declared.capabilities, version).map_err(wrong)?;
        let client_info = declared.client_info.map(ToOwned::to_owned);
        let discovered = self.wire.discovered(&self.caller).await?;
        let answer = down::initialized(id, &discovered, version, &self.home.name);
        let answer = answer.map_err(unwritten)?;
        let has_tasks = down::has_tasks(&discovered);
        let hello = Hello { version, capabilities, client_info, has_tasks };
        self.state().hello = Some(Arc::new(hello));
        Ok(answer)
    }

    fn set_level(&self, id: &Id, message: &Message) -> Result<Message, mcp_jsonrpc::ParseError> {
        #[derive(Deserialize)]
        struct SetLevel {
            level: String,
        }
        match message.read::<SetLevel>() {
            Ok(SetLevel { level }) if LEVELS.contains(&&*level) => {
                self.state().log_level = Some(level.into());
                Message::response(id, &json!({}))
            }
            _ => {
                let error = RpcError::new(RpcError::INVALID_PARAMS, "`level` is no level");
                Message::error(Some(id), &error)
            }
        }
    }

    async fn subscribe(&self, id: &Id, message: &Message) -> Result<Message, TransportError> {
        let Ok(resource) = message.read::<Resource<'_>>() else { return no_uri(id) };
        let uri: Box<str> = resource.uri.as_ref().into();
        let is_new = self.state().subscribed.insert(uri.clone());
        if is_new && let Err(error) = self.hub().subscribe(&uri).await {
            self.state().subscribed.remove(&uri);
            return match error {
                Ok(refused) => Message::error(Some(id), &refused).map_err(unwritten),
                Err(error) => Err(error),
            };
        }
        Message::response(id, &json!({})).map_err(unwritten)
    }

    fn unsubscribe(&self, id: &Id, message: &Message) -> Result<Message, TransportError> {
        let Ok(resource) = message.read::<Resource<'_>>() else { return no_uri(id) };
        if self.state().subscribed.remove(&*resource.uri) {
            self.hub().unsubscribe(&resource.uri);
        }
        Message::response(id, &json!({})).map_err(unwritten)
    }

    /// What the server is told about its client with each request.
    pub(super) fn saying<T>(&self, hello: &Hello, say: impl FnOnce(&Said<'_>) -> T) -> T {
        let level = self.state().log_level.clone();
        say(&Said {
            capabilities: &hello.capabilities,
            client_info: hello.client_info.as_deref(),
            log_level: level.as_deref(),
        })
    }

    /// An id for a question of ours, and where its answer comes.
    pub(super) fn question(&self) -> (i64, oneshot::Receiver<Message>) {
        let id = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        let (sender, answer) = oneshot::channel();
        self.questions().insert(id, sender);
        (id, answer)
    }

    /// Nobody waits for an answer to these any more.
    pub(super) fn forget(&self, questions: impl Iterator<Item = i64>) {
        let mut all = self.questions();
        for id in questions {
            all.remove(&id);
        }
    }

    fn answered(&self, message: Message) {
        let Some(Id::Number(id)) = message.id() else { return };
        let waiting = self.questions().remove(id);
        if let Some(waiting) = waiting {
            // Who asked may be gone: then nobody minds.
            drop(waiting.send(message));
        }
    }

    /// Passes on news, if they are for this session.
    pub(super) fn hear(&self, message: &Message) {
        if message.method() == Some("notifications/resources/updated") {
            let resource: Option<Resource<'_>> = message.read().ok();
            let is_ours = |it: Resource<'_>| self.state().subscribed.contains(&*it.uri);
            if !resource.is_some_and(is_ours) {
                return;
            }
        }
        self.tell(message);
    }

    fn tell(&self, message: &Message) {
        let Some(hello) = self.hello() else { return };
        let Some(message) = down::notification(message, hello.version) else { return };
        if let Some(listener) = &*self.listener() {
            // A listener that is too slow misses this one: its inbox counts it.
            drop(listener.push(message.into()));
        }
    }

    /// Tells of all lists, whose changes may have been missed.
    pub(super) fn missed_lists(&self) {
        for list in ["tools", "prompts", "resources"] {
            let method = format!("notifications/{list}/list_changed");
            if let Ok(message) = Message::notification(&method, &json!({})) {
                self.tell(&message);
            }
        }
    }

    /// Tells of all resources it is subscribed to.
    pub(super) fn missed_resources(&self) {
        for uri in self.state().subscribed.clone() {
            let params: Value = json!({ "uri": uri });
            if let Ok(message) = Message::notification("notifications/resources/updated", &params) {
                self.tell(&message);
            }
        }
    }

    /// The server is gone.
    pub(super) fn lost(&self) {
        if let Some(listener) = &*self.listener() {
            listener.finish(Ok(None));
        }
    }

    fn end(&self) {
        if self.over.swap(true, Ordering::AcqRel) {
            return;
        }
        self.lost();
        self.questions().clear();
        let subscribed = std::mem::take(&mut self.state().subscribed);
        if let Some(hub) = self.hub.get() {
            subscribed.iter().for_each(|uri| hub.unsubscribe(uri));
        }
    }

    fn hub(&self) -> &Arc<Hub> {
        self.hub.get_or_init(|| self.home.hubs.of(&self.home, self.wire.wire(), &self.caller))
    }

    pub(super) fn hello(&self) -> Option<Arc<Hello>> {
        self.state().hello.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn questions(&self) -> MutexGuard<'_, HashMap<i64, oneshot::Sender<Message>>> {
        self.questions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn listener(&self) -> MutexGuard<'_, Option<Arc<Inbox>>> {
        self.listener.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        if let Some(hub) = self.hub.get() {
            hub.leave();
        }
    }
}

fn no_uri(id: &Id) -> Result<Message, TransportError> {
    let error = RpcError::new(RpcError::INVALID_PARAMS, "`uri` is missing");
    Message::error(Some(id), &error).map_err(unwritten)
}

fn taken_back() -> TransportError {
    TransportError::new(ErrorKind::Cancelled, "the request was cancelled")
}

fn uninitialized() -> TransportError {
    let kind = ErrorKind::Invalid(RpcError::INVALID_REQUEST);
    TransportError::new(kind, "this session is not initialized").hint("send `initialize`")
}
