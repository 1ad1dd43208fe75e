//! A server with a handshake whose every word is written by the test.

use std::collections::HashMap;
use std::sync::{Mutex, atomic::AtomicBool};

use futures::stream;
use mcp_jsonrpc::{
    Id, Kind,
    transport::{Endpoint, EventId, Inbox},
};
use tokio::sync::Notify;

use super::*;

/// The server, and what it heard.
#[derive(Debug)]
pub(super) struct Double {
    heard: Mutex<Vec<(usize, Value)>>,
    /// The calls of tools: in which session, and under which id.
    called: Mutex<Vec<(usize, i64)>>,
    talks: Mutex<Vec<Arc<Talk>>>,
    told: Notify,
    /// The answer to `initialize`.
    pub(super) greeting: Mutex<Value>,
    /// What an opening fails with.
    pub(super) broken: AtomicBool,
    /// Opening one takes so long.
    pub(super) start: Mutex<Duration>,
    /// Whether it is a server of 2026-07-28 now.
    pub(super) modern: AtomicBool,
}

/// One session with it.
#[derive(Debug)]
pub(super) struct Talk {
    number: usize,
    server: Arc<Double>,
    unasked: Mutex<Arc<Inbox>>,
    calls: Mutex<HashMap<i64, Arc<Inbox>>>,
    over: AtomicBool,
    forgotten: AtomicBool,
}

#[derive(Clone, Debug)]
pub(super) struct Way(pub(super) Arc<Double>);

#[derive(Debug)]
struct Handle(Arc<Talk>);

impl Double {
    pub(super) fn new() -> Arc<Self> {
        let greeting = json!({
            "protocolVersion": "2025-11-25",
            "capabilities": {
                "tools": { "listChanged": true },
                "resources": { "listChanged": true, "subscribe": true },
                "logging": {},
                "tasks": {},
            },
            "serverInfo": { "name": "double", "version": "1" },
            "instructions": "Be kind.",
        });
        Arc::new(Self {
            heard: Mutex::default(),
            called: Mutex::default(),
            talks: Mutex::default(),
            told: Notify::new(),
            greeting: Mutex::new(greeting),
            broken: AtomicBool::new(false),
            start: Mutex::default(),
            modern: AtomicBool::new(false),
        })
    }

    pub(super) fn front(self: &Arc<Self>, options: FrontOptions) -> Front {
        Front::new(Arc::new(Way(Arc::clone(self))), options)
    }

    /// What was heard so far: in which session, and what.
    pub(super) fn heard(&self) -> Vec<(usize, Value)> {
        self.heard.lock().unwrap().clone()
    }

    pub(super) fn count(&self, method: &str) -> usize {
        self.heard().iter().filter(|(_, said)| said["method"] == method).count()
    }

    /// Waits until something like this was heard, for the nth time.
    pub(super) async fn hears(
        &self,
        nth: usize,
        is_it: impl Fn(&Value) -> bool,
    ) -> (Arc<Talk>, Value) {
        loop {
            let told = self.told.notified();
            let heard = self.heard();
            if let Some((talk, said)) = heard.iter().filter(|(_, it)| is_it(it)).nth(nth) {
                return (self.talk(*talk), said.clone());
            }
            told.await;
        }
    }

    /// Waits for the nth call of a tool.
    pub(super) async fn called(&self, nth: usize, tool: &str) -> (Arc<Talk>, i64) {
        let (talk, said) = self
            .hears(nth, |it| it["method"] == "tools/call" && it["params"]["name"] == tool)
            .await;
        (talk, said["id"].as_i64().unwrap())
    }

    /// Waits for the nth call of any tool.
    pub(super) async fn nth_call(&self, nth: usize) -> (Arc<Talk>, i64) {
        loop {
            let told = self.told.notified();
            let call = self.called.lock().unwrap().get(nth).copied();
            if let Some((talk, id)) = call {
                return (self.talk(talk), id);
            }
            told.await;
        }
    }

    /// Waits for the answer to a question of the server's.
    pub(super) async fn answered(&self, id: &str) -> Value {
        self.hears(0, |it| it["id"] == id).await.1
    }

    pub(super) fn talk(&self, number: usize) -> Arc<Talk> {
        Arc::clone(&self.talks.lock().unwrap()[number])
    }
}

impl Talk {
    /// Says something down the stream of a call.
    pub(super) fn say(&self, call: i64, said: Value) {
        let inbox = Arc::clone(&self.calls.lock().unwrap()[&call]);
        inbox.push(Message::parse(said.to_string()).unwrap().into()).unwrap();
    }

    pub(super) fn answer(&self, call: i64, result: Value) {
        let said = json!({ "jsonrpc": "2.0", "id": call, "result": result });
        self.end(call, said);
    }

    pub(super) fn end(&self, call: i64, said: Value) {
        let inbox = self.calls.lock().unwrap().remove(&call).unwrap();
        inbox.finish(Ok(Some(Message::parse(said.to_string()).unwrap())));
    }

    /// Breaks the stream of a call off.
    pub(super) fn break_off(&self, call: i64) {
        let inbox = self.calls.lock().unwrap().remove(&call).unwrap();
        inbox.finish(Err(TransportError::new(ErrorKind::Timeout, "nothing was heard")));
    }

    /// Says something that belongs to no call.
    pub(super) fn unasked(&self, said: Value) {
        let message = Message::parse(said.to_string()).unwrap();
        self.unasked.lock().unwrap().push(message.into()).unwrap();
    }

    /// Ends, as a process that crashes.
    pub(super) fn die(&self) {
        self.over.store(true, Ordering::Release);
        for (_, inbox) in self.calls.lock().unwrap().drain() {
            inbox.finish(Err(died()));
        }
        self.unasked.lock().unwrap().finish(Ok(None));
    }

    /// Knows its sessions no more, and does not say so.
    pub(super) fn forget(&self) {
        self.forgotten.store(true, Ordering::Release);
    }

    /// Loses the stream, and goes on.
    pub(super) fn deafen(&self) {
        let another = Inbox::new(InboxMax::default());
        std::mem::replace(&mut *self.unasked.lock().unwrap(), another).finish(Ok(None));
    }

    fn hear(&self, message: &Message) {
        self.server.heard.lock().unwrap().push((self.number, value(message)));
        self.server.told.notify_waiters();
    }

    fn answer_at_once(&self, message: &Message) -> Option<Value> {
        let params: Value = message.read().unwrap_or_default();
        match message.method().unwrap() {
            "initialize" => Some(self.server.greeting.lock().unwrap().clone()),
            "logging/setLevel" | "resources/unsubscribe" => Some(json!({})),
            "resources/subscribe" if params["uri"] != "mem://none" => Some(json!({})),
            "tools/list" => Some(json!({ "tools": [{ "name": "a", "inputSchema": {},
                "execution": { "taskSupport": "optional" } },
                { "name": "bg", "inputSchema": {}, "execution": { "taskSupport": "required" } }] })),
            "tasks/cancel" => Some(json!({ "taskId": params["taskId"], "status": "cancelled" })),
            "tools/call" if params["name"] == "now" => {
                Some(json!({ "content": [{ "type": "text", "text": self.number.to_string() }] }))
            }
            _ => None,
        }
    }
}

fn died() -> TransportError {
    TransportError::new(ErrorKind::Closed, "it died")
}

impl Transport for Way {
    fn open(&self, opening: Opening) -> BoxFuture<'_, Result<Arc<dyn Session>, TransportError>> {
        async move {
            let is_modern = opening.version == Some(ProtocolVersion::V2026_07_28);
            if is_modern && !self.0.modern.load(Ordering::Acquire) {
                return Err(TransportError::new(ErrorKind::Unsupported, "it has a handshake"));
            }
            let start = *self.0.start.lock().unwrap();
            tokio::time::sleep(start).await;
            if self.0.broken.load(Ordering::Acquire) {
                let kind = ErrorKind::Unavailable { retry_after: None };
                return Err(TransportError::new(kind, "it cannot be started"));
            }
            let mut talks = self.0.talks.lock().unwrap();
            let talk = Arc::new(Talk {
                number: talks.len(),
                server: Arc::clone(&self.0),
                unasked: Mutex::new(Inbox::new(InboxMax::default())),
                calls: Mutex::default(),
                over: AtomicBool::new(false),
                forgotten: AtomicBool::new(false),
            });
            talks.push(Arc::clone(&talk));
            Ok(Arc::new(Handle(talk)) as Arc<dyn Session>)
        }
        .boxed()
    }

    fn find(&self, _: &SessionId, _: &Caller) -> Result<Arc<dyn Session>, TransportError> {
        Err(TransportError::new(ErrorKind::NoSession, "it keeps none"))
    }
}

impl Session for Handle {
    fn endpoint(&self) -> Endpoint {
        Endpoint { uri: "double:".into(), session: None }
    }

    fn send(&self, exchange: Exchange) -> BoxFuture<'_, Result<Reply, TransportError>> {
        async move {
            let message = exchange.message;
            if self.0.over.load(Ordering::Acquire) || self.0.forgotten.load(Ordering::Acquire) {
                return Err(TransportError::new(ErrorKind::NoSession, "it forgot the session"));
            }
            self.0.hear(&message);
            let Some(Id::Number(id)) = message.id().filter(|_| message.kind() == Kind::Request)
            else {
                return Ok(Reply::Accepted);
            };
            if let Some(result) = self.0.answer_at_once(&message) {
                return Ok(Reply::Single(Message::response(&Id::from(*id), &result).unwrap()));
            }
            if message.method() == Some("resources/subscribe") {
                let error = mcp_jsonrpc::RpcError::new(-32002, "there is no such resource");
                return Ok(Reply::Single(Message::error(message.id(), &error).unwrap()));
            }
            let inbox = Inbox::new(InboxMax::default());
            self.0.calls.lock().unwrap().insert(*id, Arc::clone(&inbox));
            self.0.server.called.lock().unwrap().push((self.0.number, *id));
            self.0.server.told.notify_waiters();
            Ok(Reply::Stream(stream::poll_fn(move |cx| inbox.poll_next(cx)).boxed()))
        }
        .boxed()
    }

    fn listen(&self, _: Option<EventId>) -> BoxFuture<'_, Result<EventStream, TransportError>> {
        let inbox = Arc::clone(&self.0.unasked.lock().unwrap());
        async move { Ok(stream::poll_fn(move |cx| inbox.poll_next(cx)).boxed()) }.boxed()
    }

    fn is_open(&self) -> bool {
        !self.0.over.load(Ordering::Acquire)
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        async {
            self.0.server.heard.lock().unwrap().push((self.0.number, json!("(close)")));
            self.0.server.told.notify_waiters();
            self.0.die();
        }
        .boxed()
    }
}
