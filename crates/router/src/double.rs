//! A server for tests: it does as the tools it is called by are named, and remembers what it heard.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream};
use mcp_jsonrpc::{
    Id, Kind, Message, ProtocolVersion,
    params::{CallTool, Initialize},
    transport::{
        Caller, Endpoint, ErrorKind, Event, EventId, EventStream, Exchange, Inbox, InboxMax,
        Opening, Reply, Session, SessionId, Transport, TransportError,
    },
};
use serde_json::json;
use tokio::sync::Notify;

use crate::server::{Options, Server};

/// A server, and what it heard.
#[derive(Debug, Default)]
pub(crate) struct Double {
    heard: Mutex<Vec<String>>,
    sessions: Mutex<Vec<Arc<Talk>>>,
    pub(crate) opened: AtomicUsize,
    /// Whether it can be started.
    pub(crate) broken: AtomicBool,
    /// How long a start takes.
    pub(crate) start_ms: AtomicU64,
    /// Whether one process carries all its sessions.
    pub(crate) light: AtomicBool,
    /// Whether it turns out to be, once it is asked.
    pub(crate) settles_light: AtomicBool,
    /// Whether it answers nothing that is asked.
    pub(crate) hung: AtomicBool,
    /// Let go by `release`.
    pub(crate) gate: Notify,
    /// Subscriptions wait at the gate, too.
    pub(crate) slow: AtomicBool,
    /// Told whenever something is heard.
    told: Notify,
}

#[derive(Debug)]
pub(crate) struct Talk {
    number: usize,
    server: Arc<Double>,
    unasked: Arc<Inbox>,
    over: AtomicBool,
    ended: Notify,
}

/// A way to it.
#[derive(Clone, Debug)]
pub(crate) struct Way(pub(crate) Arc<Double>);

impl Double {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    pub(crate) fn server(self: &Arc<Self>, options: Options) -> Server {
        Server::new("double", Arc::new(Way(Arc::clone(self))), options)
    }

    /// What was heard so far, as `SESSION METHOD`.
    pub(crate) fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }

    /// Waits until this was heard.
    pub(crate) async fn hears(&self, what: &str) {
        loop {
            let told = self.told.notified();
            if self.heard().iter().any(|it| it == what) {
                return;
            }
            told.await;
        }
    }

    fn hear(&self, what: String) {
        self.heard.lock().unwrap().push(what);
        self.told.notify_waiters();
    }

    /// The sessions opened so far.
    pub(crate) fn talk(&self, number: usize) -> Arc<Talk> {
        Arc::clone(&self.sessions.lock().unwrap()[number])
    }
}

impl Talk {
    /// Says something unasked.
    pub(crate) fn say(&self, method: &str, id: Option<i64>) {
        self.try_say(method, id).unwrap();
    }

    /// Says news that are like no others.
    pub(crate) fn say_news(&self, n: usize) {
        let method = "notifications/tools/list_changed";
        let message = Message::notification(method, &json!({ "_meta": { "n": n } })).unwrap();
        self.unasked.push(message.into()).unwrap();
    }

    /// As `say`, where there may be no room for it.
    pub(crate) fn try_say(&self, method: &str, id: Option<i64>) -> Result<(), Event> {
        let params = json!({ "uri": "mem://a", "level": "info", "data": 1 });
        let message = match id {
            Some(id) => Message::request(&Id::from(id), method, &params),
            None => Message::notification(method, &params),
        };
        self.unasked.push(message.unwrap().into())
    }

    /// Whether it has ended.
    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    /// Ends, as a process that crashes.
    pub(crate) fn die(&self) {
        self.over.store(true, Ordering::Release);
        self.unasked.finish(Ok(None));
        self.ended.notify_waiters();
    }

    fn died() -> TransportError {
        TransportError::new(ErrorKind::Closed, "the process exited with code 7")
            .hint("its last words: \"ouch\"")
    }

    async fn answer(&self, exchange: Exchange) -> Result<Reply, TransportError> {
        let message = &exchange.message;
        let method = message.method().unwrap_or("(answer)").to_owned();
        if self.over.load(Ordering::Acquire) {
            return Err(Self::died().unsent());
        }
        let call: Option<CallTool<'_>> = message.read().ok();
        let tool = call.as_ref().map(|it| it.name.to_string()).unwrap_or_default();
        let what = format!("{} {method} {tool}", self.number);
        self.server.hear(what.trim_end().to_owned());
        let Some(id) = message.id().filter(|_| message.kind() == Kind::Request) else {
            return Ok(Reply::Accepted);
        };
        if self.server.hung.load(Ordering::Relaxed) {
            return std::future::pending().await;
        }
        let result = |value| Ok(Reply::Single(Message::response(id, &value).unwrap()));
        match (method.as_str(), tool.as_str()) {
            ("initialize", _) => {
                let said: Initialize<'_> = message.read().unwrap();
                let version = ProtocolVersion::negotiate(&said.version());
                result(json!({
                    "protocolVersion": version.as_str(),
                    "capabilities": { "tools": { "listChanged": true } },
                    "serverInfo": { "name": "double", "version": self.number.to_string() },
                }))
            }
            ("tools/list", _) => {
                result(json!({ "tools": [{"name":"echo","x":1}, {"name":"die"}] }))
            }
            ("resources/subscribe", _) if self.server.slow.load(Ordering::Relaxed) => {
                self.server.gate.notified().await;
                result(json!({}))
            }
            (_, "hang") => {
                self.ended.notified().await;
                Err(Self::died())
            }
            (_, "gate") => {
                self.server.gate.notified().await;
                result(json!({ "content": [] }))
            }
            (_, "die") => {
                self.die();
                Err(Self::died())
            }
            (_, "progress") => {
                let progress = json!({ "progressToken": 1, "progress": 1 });
                let progress = Message::notification("notifications/progress", &progress).unwrap();
                let answer = Message::response(id, &json!({ "content": [] })).unwrap();
                let events = [progress, answer].map(|message| Ok(Event::from(message)));
                Ok(Reply::Stream(stream::iter(events).boxed()))
            }
            _ => {
                result(json!({ "content": [{ "type": "text", "text": self.number.to_string() }] }))
            }
        }
    }
}

impl Transport for Way {
    fn open(&self, opening: Opening) -> BoxFuture<'_, Result<Arc<dyn Session>, TransportError>> {
        async move {
            opening.with_handshake()?;
            let number = self.0.opened.fetch_add(1, Ordering::Relaxed);
            match self.0.start_ms.load(Ordering::Relaxed) {
                0 => (),
                ms => tokio::time::sleep(std::time::Duration::from_millis(ms)).await,
            }
            if self.0.broken.load(Ordering::Relaxed) {
                return Err(Talk::died());
            }
            let unasked = Inbox::new(InboxMax::default());
            let server = Arc::clone(&self.0);
            let talk = Arc::new(Talk {
                number,
                server,
                unasked,
                over: AtomicBool::new(false),
                ended: Notify::new(),
            });
            self.0.sessions.lock().unwrap().push(Arc::clone(&talk));
            Ok(Arc::new(Handle(talk)) as Arc<dyn Session>)
        }
        .boxed()
    }

    fn find(&self, _: &SessionId, _: &Caller) -> Result<Arc<dyn Session>, TransportError> {
        Err(TransportError::new(ErrorKind::NoSession, "a double keeps none"))
    }

    fn is_light(&self) -> bool {
        self.0.light.load(Ordering::Relaxed)
    }

    fn settle<'a>(&'a self, _: &'a Caller) -> BoxFuture<'a, ()> {
        if self.0.settles_light.load(Ordering::Relaxed) {
            self.0.light.store(true, Ordering::Relaxed);
        }
        async {}.boxed()
    }
}

#[derive(Debug)]
struct Handle(Arc<Talk>);

impl Session for Handle {
    fn endpoint(&self) -> Endpoint {
        Endpoint { uri: "double:".into(), session: None }
    }

    fn send(&self, exchange: Exchange) -> BoxFuture<'_, Result<Reply, TransportError>> {
        self.0.answer(exchange).boxed()
    }

    fn listen(&self, _: Option<EventId>) -> BoxFuture<'_, Result<EventStream, TransportError>> {
        let inbox = Arc::clone(&self.0.unasked);
        async move { Ok(stream::poll_fn(move |cx| inbox.poll_next(cx)).boxed()) }.boxed()
    }

    fn is_open(&self) -> bool {
        !self.0.over.load(Ordering::Acquire)
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        async {
            self.0.server.hear(format!("{} (close)", self.0.number));
            self.0.die();
        }
        .boxed()
    }
}

/// A client of the router.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) session: Arc<dyn Session>,
    caller: Caller,
}

impl Client {
    /// Opens a session.
    pub(crate) async fn open(server: &Server, caller: &str) -> Self {
        let caller = Caller::named(caller);
        let opening = Opening { caller: caller.clone(), version: None, at: "/double/mcp".into() };
        Self { session: server.open(opening).await.unwrap(), caller }
    }

    /// Goes on with a session.
    pub(crate) fn of(session: Arc<dyn Session>, caller: &str) -> Self {
        Self { session, caller: Caller::named(caller) }
    }

    /// Opens a session and shakes hands; `capabilities` are the client's.
    pub(crate) async fn greet(server: &Server, caller: &str, capabilities: &str) -> Self {
        let client = Self::open(server, caller).await;
        let answer = client.initialize("2025-06-18", capabilities).await.unwrap();
        assert!(answer.contains(r#""protocolVersion":"2025-06-18""#), "{answer}");
        let initialized = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
        client.send(initialized).await.unwrap();
        client
    }

    pub(crate) async fn initialize(
        &self,
        version: &str,
        caps: &str,
    ) -> Result<String, TransportError> {
        let text = format!(
            r#"{{"jsonrpc":"2.0","id":0,"method":"initialize","params":{{"protocolVersion":"{version}","capabilities":{caps},"clientInfo":{{"name":"c","version":"1"}}}}}}"#
        );
        self.send(&text).await.map(|reply| text_of(&reply))
    }

    pub(crate) async fn send(&self, text: &str) -> Result<Reply, TransportError> {
        let message = Message::parse(text.to_owned()).unwrap();
        self.session.send(Exchange::new(message, self.caller.clone())).await
    }

    /// Answers a question of the server's.
    pub(crate) async fn reply(&self, question: &Message) {
        let answer = Message::response(question.id().unwrap(), &json!({ "roots": [] })).unwrap();
        let exchange = Exchange::new(answer, self.caller.clone());
        self.session.send(exchange).await.unwrap();
    }

    /// Calls a tool and returns the text of the answer.
    pub(crate) async fn call(&self, id: i64, tool: &str) -> Result<String, TransportError> {
        let text = format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"{tool}"}}}}"#
        );
        self.send(&text).await.map(|reply| text_of(&reply))
    }

    /// What the session is told unasked, by method.
    pub(crate) async fn listen(&self) -> impl futures::Stream<Item = String> + Unpin + use<> {
        let events = self.session.listen(None).await.unwrap();
        events
            .map(|event| match event.unwrap() {
                Event::Message { message, .. } => message.method().unwrap_or("answer").to_owned(),
                Event::Pause { .. } => "pause".to_owned(),
            })
            .boxed()
    }
}

fn text_of(reply: &Reply) -> String {
    match reply {
        Reply::Single(message) => String::from_utf8(message.as_bytes().to_vec()).unwrap(),
        Reply::Accepted => "accepted".to_owned(),
        Reply::Stream(_) => "stream".to_owned(),
    }
}
