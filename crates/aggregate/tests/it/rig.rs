//! A server that does as it is told, and a client of many.

mod tricks;

use std::{
    collections::VecDeque,
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use aggregate::{About, Aggregate, Member, Options};
use futures::{FutureExt, StreamExt, future::BoxFuture, stream};
use mcp_jsonrpc::{
    Id, Kind, Message, ProtocolVersion, RpcError,
    transport::{
        Caller, Endpoint, ErrorKind, Event, EventId, EventStream, Exchange, Inbox, InboxMax,
        Opening, Reply, Session, SessionId, Transport, TransportError,
    },
};
use seal::{Clock, Keyring};
use serde_json::{Value, json};
use tokio::sync::Notify;

/// A server that does as it is told.
#[derive(Clone)]
pub(crate) struct Peer(pub(crate) Arc<Inside>);

pub(crate) struct Inside {
    pub(crate) name: String,
    /// What it lists, by the member of the result.
    pub(crate) lists: Mutex<Value>,
    pub(crate) capabilities: Mutex<Value>,
    /// It cannot be reached.
    pub(crate) broken: AtomicBool,
    /// It answers nothing.
    pub(crate) hung: AtomicBool,
    /// The newest revision it speaks.
    pub(crate) version: Mutex<ProtocolVersion>,
    /// How many entries it puts on a page.
    pub(crate) page_len: AtomicUsize,
    /// What it heard: the session's number, then the method.
    pub(crate) heard: Mutex<Vec<String>>,
    pub(crate) talks: Mutex<Vec<Arc<Talk>>>,
    pub(crate) gate: Notify,
    /// The methods that it refuses, with so long an error.
    pub(crate) refuses: Mutex<Option<(&'static str, usize)>>,
}

/// One session with it.
pub(crate) struct Talk {
    number: usize,
    peer: Arc<Inside>,
    pub(crate) unasked: Arc<Inbox>,
    over: AtomicBool,
    answers: Mutex<VecDeque<Message>>,
    answered: Notify,
    /// How often it was listened to.
    pub(crate) listened: AtomicUsize,
    /// Tools that it lists in this session alone.
    pub(crate) unlocked: Mutex<Vec<String>>,
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Peer").field(&self.0.name).finish()
    }
}

impl fmt::Debug for Talk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Talk").field(&self.number).finish()
    }
}

impl Peer {
    /// One with these tools, which announces changes.
    pub(crate) fn new(name: &str, tools: &[&str]) -> Self {
        let peer = Self(Arc::new(Inside {
            name: name.to_owned(),
            lists: Mutex::new(json!({})),
            capabilities: Mutex::new(json!({ "tools": { "listChanged": true } })),
            broken: AtomicBool::new(false),
            hung: AtomicBool::new(false),
            version: Mutex::new(ProtocolVersion::LATEST_LEGACY),
            page_len: AtomicUsize::new(1000),
            heard: Mutex::default(),
            talks: Mutex::default(),
            gate: Notify::new(),
            refuses: Mutex::default(),
        }));
        peer.set_tools(tools);
        peer
    }

    pub(crate) fn set_tools(&self, tools: &[&str]) {
        self.set("tools", tools.iter().map(|it| tool(it)).collect());
    }

    pub(crate) fn set(&self, list: &str, items: Value) {
        self.0.lists.lock().unwrap()[list] = items;
    }

    pub(crate) fn can(&self, capabilities: Value) {
        *self.0.capabilities.lock().unwrap() = capabilities;
    }

    pub(crate) fn member(&self) -> Member {
        Member::new(&self.0.name, Arc::new(self.clone()))
    }

    /// How many sessions it has open.
    pub(crate) fn open(&self) -> usize {
        self.talks().iter().filter(|it| !it.over.load(Ordering::Acquire)).count()
    }

    pub(crate) fn talks(&self) -> Vec<Arc<Talk>> {
        self.0.talks.lock().unwrap().clone()
    }

    /// The session opened last.
    pub(crate) fn talk(&self) -> Arc<Talk> {
        Arc::clone(self.talks().last().unwrap())
    }

    /// Says in every session that a list has changed.
    pub(crate) fn announce(&self, list: &str) {
        for talk in self.talks().iter().filter(|it| !it.over.load(Ordering::Acquire)) {
            talk.say(&format!("notifications/{list}/list_changed"), json!({}));
        }
    }

    /// How often it has heard this.
    pub(crate) fn count(&self, method: &str) -> usize {
        let heard = self.0.heard.lock().unwrap();
        heard.iter().filter(|it| it.split_once(' ').unwrap().1 == method).count()
    }

    /// Loses all its sessions, as a process that crashes.
    pub(crate) fn die(&self) {
        self.talks().iter().for_each(|it| it.end());
    }

    pub(crate) fn break_down(&self) {
        self.0.broken.store(true, Ordering::Release);
        self.die();
    }

    pub(crate) fn mend(&self) {
        self.0.broken.store(false, Ordering::Release);
    }
}

impl Talk {
    pub(crate) fn say(&self, method: &str, params: Value) {
        let message = Message::notification(method, &params).unwrap();
        self.unasked.push(message.into()).unwrap();
    }

    /// Asks its client something, and waits for the answer.
    pub(crate) async fn ask(&self, id: i64, method: &str, params: Value) -> Message {
        let message = Message::request(&Id::from(id), method, &params).unwrap();
        self.unasked.push(message.into()).unwrap();
        self.answer().await
    }

    pub(crate) async fn answer(&self) -> Message {
        loop {
            let answered = self.answered.notified();
            if let Some(answer) = self.answers.lock().unwrap().pop_front() {
                return answer;
            }
            answered.await;
        }
    }

    fn end(&self) {
        self.over.store(true, Ordering::Release);
        self.unasked.finish(Ok(None));
    }

    async fn reply(&self, exchange: Exchange) -> Result<Reply, TransportError> {
        let message = &exchange.message;
        if self.over.load(Ordering::Acquire) {
            return Err(TransportError::new(ErrorKind::Closed, "the process exited with code 7"));
        }
        let method = message.method().unwrap_or("(answer)").to_owned();
        let params: Value = message.read().unwrap_or_default();
        let name = params["name"].as_str().or_else(|| params["uri"].as_str());
        let name = name.or_else(|| params["taskId"].as_str()).unwrap_or_default();
        let what = format!("{} {method} {name}", self.number);
        self.peer.heard.lock().unwrap().push(what.trim_end().to_owned());
        if message.is_answer() {
            self.answers.lock().unwrap().push_back(message.clone());
            self.answered.notify_waiters();
        }
        let Some(id) = message.id().filter(|_| message.kind() == Kind::Request) else {
            return Ok(Reply::Accepted);
        };
        if self.peer.hung.load(Ordering::Acquire) {
            return std::future::pending().await;
        }
        let refused = self.peer.refuses.lock().unwrap().filter(|(refused, _)| *refused == method);
        if let Some((_, len)) = refused {
            let error = RpcError::new(RpcError::INTERNAL, "no".repeat(len / 2));
            return Ok(Reply::Single(Message::error(Some(id), &error).unwrap()));
        }
        if let ("tools/call", Some(reply)) = (&*method, self.call(id, name).await) {
            return reply;
        }
        Ok(Reply::Single(Message::response(id, &self.result(&method, name, &params)).unwrap()))
    }

    fn result(&self, method: &str, name: &str, params: &Value) -> Value {
        let page = |member: &str| {
            let items = self.peer.lists.lock().unwrap()[member].clone();
            let mut items = items.as_array().cloned().unwrap_or_default();
            if member == "tools" {
                items.extend(self.unlocked.lock().unwrap().iter().map(|it| tool(it)));
            }
            let at: usize = params["cursor"].as_str().map_or(0, |it| it.parse().unwrap());
            let len = self.peer.page_len.load(Ordering::Relaxed);
            let mut result = json!({ member: items.iter().skip(at).take(len).collect::<Vec<_>>() });
            if let Some(ttl_ms) = self.peer.lists.lock().unwrap().get("ttlMs") {
                result["ttlMs"] = ttl_ms.clone();
            }
            if at + len < items.len() {
                result["nextCursor"] = json!((at + len).to_string());
            }
            result
        };
        match method {
            "initialize" => {
                let asked: ProtocolVersion =
                    params["protocolVersion"].as_str().unwrap().parse().unwrap();
                json!({
                    "protocolVersion": asked.min(*self.peer.version.lock().unwrap()).as_str(),
                    "capabilities": *self.peer.capabilities.lock().unwrap(),
                    "serverInfo": { "name": self.peer.name, "version": "1" },
                    "instructions": format!("How to use {}.", self.peer.name),
                })
            }
            "tools/list" => page("tools"),
            "prompts/list" => page("prompts"),
            "resources/list" => page("resources"),
            "resources/templates/list" => page("resourceTemplates"),
            "tasks/list" => page("tasks"),
            "resources/read" => json!({ "contents": [{ "uri": name, "text": self.peer.name }] }),
            "tasks/get" => json!({ "taskId": name, "status": "working" }),
            _ => {
                json!({ "content": [{ "type": "text", "text": format!("{} {name}", self.peer.name) }] })
            }
        }
    }
}

impl Transport for Peer {
    fn open(&self, _: Opening) -> BoxFuture<'_, Result<Arc<dyn Session>, TransportError>> {
        async move {
            if self.0.broken.load(Ordering::Acquire) {
                let kind = ErrorKind::Unavailable { retry_after: None };
                return Err(TransportError::new(kind, "it cannot be started"));
            }
            let mut talks = self.0.talks.lock().unwrap();
            let talk = Arc::new(Talk {
                number: talks.len(),
                peer: Arc::clone(&self.0),
                unasked: Inbox::new(InboxMax::default()),
                over: AtomicBool::new(false),
                answers: Mutex::default(),
                answered: Notify::new(),
                listened: AtomicUsize::new(0),
                unlocked: Mutex::default(),
            });
            talks.push(Arc::clone(&talk));
            Ok(Arc::new(Handle(talk)) as Arc<dyn Session>)
        }
        .boxed()
    }

    fn find(&self, _: &SessionId, _: &Caller) -> Result<Arc<dyn Session>, TransportError> {
        Err(TransportError::new(ErrorKind::NoSession, "a double keeps none"))
    }
}

#[derive(Debug)]
struct Handle(Arc<Talk>);

impl Session for Handle {
    fn endpoint(&self) -> Endpoint {
        Endpoint { uri: "double:".into(), session: None }
    }

    fn send(&self, exchange: Exchange) -> BoxFuture<'_, Result<Reply, TransportError>> {
        self.0.reply(exchange).boxed()
    }

    fn listen(&self, _: Option<EventId>) -> BoxFuture<'_, Result<EventStream, TransportError>> {
        let unasked = Arc::clone(&self.0.unasked);
        self.0.listened.fetch_add(1, Ordering::AcqRel);
        async move { Ok(stream::poll_fn(move |cx| unasked.poll_next(cx)).boxed()) }.boxed()
    }

    fn is_open(&self) -> bool {
        !self.0.over.load(Ordering::Acquire)
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        async { self.0.end() }.boxed()
    }
}

/// A client's session.
pub(crate) struct Client {
    pub(crate) session: Arc<dyn Session>,
    caller: Caller,
    /// What its `initialize` was answered with.
    pub(crate) hello: Value,
    events: EventStream,
    last: i64,
    /// Whoever drops the last one ends it.
    _all: Aggregate,
}

impl Client {
    pub(crate) async fn new(all: &Aggregate) -> Self {
        Self::of(all, Caller::anonymous(), "2025-11-25", json!({ "roots": {} })).await
    }

    pub(crate) async fn of(
        all: &Aggregate,
        caller: Caller,
        version: &str,
        capabilities: Value,
    ) -> Self {
        let opening = Opening { caller: caller.clone(), version: None, at: "/mcp".into() };
        let session = all.open(opening).await.unwrap();
        let events = session.listen(None).await.unwrap();
        let _all = all.clone();
        let mut client = Self { session, caller, hello: Value::Null, events, last: 0, _all };
        let info = json!({ "name": "test", "version": "1" });
        let hello = json!({
            "protocolVersion": version, "capabilities": capabilities, "clientInfo": info,
        });
        client.hello = client.ask("initialize", hello).await.unwrap();
        client.tell("notifications/initialized", json!({})).await;
        client
    }

    pub(crate) async fn send(&self, message: Message) -> Result<Reply, TransportError> {
        self.session.send(Exchange::new(message, self.caller.clone())).await
    }

    pub(crate) async fn tell(&self, method: &str, params: Value) {
        let message = Message::notification(method, &params).unwrap();
        assert!(matches!(self.send(message).await, Ok(Reply::Accepted)));
    }

    /// Its result, or the words of its error.
    pub(crate) async fn ask(&mut self, method: &str, params: Value) -> Result<Value, String> {
        let request = self.request(method, params);
        match self.send(request).await.map_err(|error| error.to_string())? {
            Reply::Single(answer) => read(&answer),
            Reply::Stream(mut events) => loop {
                match events.next().await.unwrap().unwrap() {
                    Event::Message { message, .. } if message.is_answer() => return read(&message),
                    _ => (),
                }
            },
            Reply::Accepted => panic!("no answer"),
        }
    }

    pub(crate) fn request(&mut self, method: &str, params: Value) -> Message {
        self.last += 1;
        Message::request(&Id::from(self.last), method, &params).unwrap()
    }

    /// Calls a tool: its text, or the words of its error.
    pub(crate) async fn call(&mut self, name: &str) -> Result<String, String> {
        let result = self.ask("tools/call", json!({ "name": name, "arguments": {} })).await?;
        Ok(result["content"][0]["text"].as_str().unwrap_or_default().to_owned())
    }

    /// The names on a list, page by page.
    pub(crate) async fn list(&mut self, list: &str, member: &str, key: &str) -> Vec<String> {
        let mut names = Vec::new();
        let mut params = json!({});
        loop {
            let page = self.ask(&format!("{list}/list"), params).await.unwrap();
            let items = page[member].as_array().unwrap();
            names.extend(items.iter().map(|it| it[key].as_str().unwrap().to_owned()));
            match page["nextCursor"].as_str() {
                Some(next) => params = json!({ "cursor": next }),
                None => return names,
            }
        }
    }

    pub(crate) async fn tools(&mut self) -> Vec<String> {
        self.list("tools", "tools", "name").await
    }

    /// The servers that are missing from a list, and why.
    pub(crate) async fn missing(&mut self) -> Vec<(String, String)> {
        let result = self.ask("tools/list", json!({})).await.unwrap();
        let missing = result["_meta"]["mcp-gateway/missing"].as_array().cloned();
        let text = |it: &Value| it.as_str().unwrap().to_owned();
        missing
            .unwrap_or_default()
            .iter()
            .map(|it| (text(&it["server"]), text(&it["reason"])))
            .collect()
    }

    /// What it is told next.
    pub(crate) async fn next(&mut self) -> Message {
        match tokio::time::timeout(Duration::from_secs(3600), self.events.next()).await {
            Ok(Some(Ok(Event::Message { message, .. }))) => message,
            other => panic!("nothing was said: {other:?}"),
        }
    }

    /// Waits until it is told this.
    pub(crate) async fn hears(&mut self, method: &str) -> Message {
        loop {
            let message = self.next().await;
            if message.method() == Some(method) {
                return message;
            }
        }
    }

    /// What it has been told already.
    pub(crate) async fn next_now(&mut self) -> Option<Message> {
        match tokio::time::timeout(Duration::from_secs(2), self.events.next()).await {
            Ok(Some(Ok(Event::Message { message, .. }))) => Some(message),
            _ => None,
        }
    }

    /// Whether it is told nothing for a while.
    pub(crate) async fn hears_nothing(&mut self) -> bool {
        tokio::time::timeout(Duration::from_secs(30), self.events.next()).await.is_err()
    }
}

fn tool(name: &str) -> Value {
    json!({ "name": name, "inputSchema": { "type": "object" } })
}

fn read(answer: &Message) -> Result<Value, String> {
    let body: Value = answer.read().unwrap();
    match answer.kind() {
        Kind::Response => Ok(body),
        _ => Err(body["message"].as_str().unwrap().to_owned()),
    }
}

pub(crate) fn options() -> Options {
    let about = About { name: "all".to_owned(), version: "1".to_owned() };
    Options::new(about)
}

pub(crate) fn all(peers: &[&Peer]) -> Aggregate {
    with(peers, options())
}

pub(crate) fn with(peers: &[&Peer], options: Options) -> Aggregate {
    of(peers.iter().map(|it| it.member()).collect(), options)
}

pub(crate) fn of(members: Vec<Member>, options: Options) -> Aggregate {
    Aggregate::new("all", members, options, Keyring::fresh(Clock::system()).unwrap())
}
