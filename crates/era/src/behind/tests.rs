//! Tests: clients with a handshake, servers of either era.

mod both;
mod greeting;
mod news;
mod tasks;

use std::sync::atomic::{AtomicUsize, Ordering};

use demo_server::DemoServer;
use futures::{StreamExt, stream};
use mcp_jsonrpc::{
    Kind, RpcError,
    transport::{Event, EventId, EventStream, Reply, func::from_fn},
};
use serde_json::Value;

use super::*;

/// A client with a handshake, that answers whatever it is asked.
struct Client {
    session: Arc<dyn Session>,
    asked: Vec<Value>,
    before: Vec<Value>,
}

fn opening(version: Option<ProtocolVersion>) -> Opening {
    Opening { caller: Caller::anonymous(), version, at: Arc::from("/demo/mcp") }
}

/// For a server that does not want to be greeted, though it would take it.
fn modern() -> BehindOptions {
    BehindOptions { pin: Some(Era::Modern), ..BehindOptions::default() }
}

fn behind_of(transport: impl Transport, options: BehindOptions) -> Behind {
    Behind::new(Arc::new(transport), "demo", options)
}

fn value(message: &Message) -> Value {
    serde_json::from_slice(message.as_bytes()).unwrap()
}

impl Client {
    async fn of(behind: &Behind, version: ProtocolVersion, can: Value) -> (Self, Value) {
        let session = behind.open(opening(None)).await.unwrap();
        let mut client = Self { session, asked: Vec::new(), before: Vec::new() };
        let hello = json!({
            "protocolVersion": version.as_str(),
            "capabilities": can,
            "clientInfo": { "name": "test", "version": "1" },
        });
        let answer = client.ask("initialize", hello).await;
        (client, answer)
    }

    async fn send(&self, message: Message) -> Result<Reply, TransportError> {
        self.session.send(Exchange::new(message, Caller::anonymous())).await
    }

    async fn ask(&mut self, method: &str, params: Value) -> Value {
        let message = Message::request(&Id::from("id"), method, &params).unwrap();
        let mut events = match self.send(message).await.unwrap() {
            Reply::Single(answer) => return value(&answer),
            Reply::Stream(events) => events,
            Reply::Accepted => panic!("no answer"),
        };
        loop {
            let said = next(&mut events).await;
            if said.get("method").is_none() {
                assert!(events.next().await.is_none(), "the answer is the last");
                return said;
            }
            if said.get("id").is_some() {
                self.asked.push(said.clone());
                let id: Id = serde_json::from_value(said["id"].clone()).unwrap();
                let answer = match said["method"].as_str().unwrap() {
                    "elicitation/create" => {
                        json!({ "action": "accept", "content": { "name": "x" } })
                    }
                    "sampling/createMessage" => json!({
                        "role": "assistant", "model": "m",
                        "content": { "type": "text", "text": "hi" },
                    }),
                    "roots/list" => json!({ "roots": [{ "uri": "file:///a" }] }),
                    method => panic!("{method}"),
                };
                let answer = Message::response(&id, &answer).unwrap();
                assert!(matches!(self.send(answer).await, Ok(Reply::Accepted)));
            } else {
                self.before.push(said);
            }
        }
    }

    async fn call(&mut self, tool: &str, arguments: Value) -> Value {
        let meta = json!({ "progressToken": "t" });
        self.ask("tools/call", json!({ "name": tool, "arguments": arguments, "_meta": meta })).await
    }
}

async fn next(events: &mut EventStream) -> Value {
    let event = tokio::time::timeout(Duration::from_secs(3600), events.next()).await.unwrap();
    match event {
        Some(Ok(Event::Message { message, .. })) => value(&message),
        other => panic!("{other:?}"),
    }
}

fn text(answer: &Value) -> &str {
    answer["result"]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{answer}"))
}

fn all() -> Value {
    json!({ "roots": { "listChanged": true }, "sampling": {}, "elicitation": {} })
}

#[tokio::test(start_paused = true)]
async fn every_revision_with_a_handshake_gets_a_session_of_its_own_kind() {
    for version in ProtocolVersion::LEGACY {
        let behind = behind_of(DemoServer::default(), modern());
        let (mut client, hello) = Client::of(&behind, version, all()).await;
        assert_eq!(behind.era(), Some(Era::Modern));
        assert_eq!(hello["result"]["protocolVersion"], version.as_str());
        assert_eq!(hello["result"]["serverInfo"]["name"], "demo-server");
        assert!(hello["result"].get("resultType").is_none());
        assert_eq!(client.ask("ping", json!({})).await["result"], json!({}));
        let list = client.ask("tools/list", json!({})).await;
        assert!(
            list["result"].get("ttlMs").is_none() && list["result"].get("resultType").is_none()
        );
        let answer = client.call("add", json!({ "a": 1, "b": 2 })).await;
        assert_eq!((&answer["id"], text(&answer)), (&json!("id"), "3"));
        assert!(answer["result"].get("_meta").is_none(), "{answer}");
        client.call("progress", json!({ "steps": 3 })).await;
        assert_eq!(client.before.len(), 3);
        assert_eq!(client.before[0]["params"]["progressToken"], "t");
        let missing = client.ask("resources/read", json!({ "uri": "demo://none" })).await;
        assert_eq!(missing["error"]["code"], -32002, "{missing}");
        assert_eq!(client.ask("tasks/list", json!({})).await["error"]["code"], -32601);
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_server_asks_is_asked_of_the_client() {
    let behind = behind_of(DemoServer::default(), modern());
    let (mut client, _) = Client::of(&behind, ProtocolVersion::V2025_11_25, all()).await;
    assert_eq!(text(&client.call("ask-elicitation", json!({})).await), r#"accepted: {"name":"x"}"#);
    assert_eq!(text(&client.call("ask-sampling", json!({})).await), "m said: hi");
    assert_eq!(text(&client.call("ask-roots", json!({})).await), "1 roots: file:///a");
    assert_eq!(client.asked.len(), 3);
    let (mut old, _) = Client::of(&behind, ProtocolVersion::V2024_11_05, all()).await;
    assert_eq!(text(&old.call("ask-sampling", json!({})).await), "m said: hi");
    let refused = old.call("ask-elicitation", json!({})).await;
    assert_eq!(refused["result"]["isError"], true, "{refused}");
    assert_eq!(old.asked.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_taken_back_is_given_up() {
    let behind = behind_of(DemoServer::default(), modern());
    let (mut client, _) = Client::of(&behind, ProtocolVersion::V2025_11_25, all()).await;
    let began = Instant::now();
    let params = json!({ "name": "sleep", "arguments": { "ms": 60_000 } });
    let call = Message::request(&Id::from("long"), "tools/call", &params).unwrap();
    let asking = async {
        match client.send(call).await? {
            Reply::Stream(mut events) => loop {
                match events.next().await.expect("an end") {
                    Ok(Event::Message { message, .. }) => assert!(!message.is_answer()),
                    Ok(Event::Pause { .. }) => (),
                    Err(error) => break Err::<(), _>(error),
                }
            },
            other => panic!("{other:?}"),
        }
    };
    let taking_back = async {
        for id in ["another", "long"] {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let params = json!({ "requestId": id, "reason": "enough" });
            let cancelled = Message::notification("notifications/cancelled", &params).unwrap();
            assert!(matches!(client.send(cancelled).await, Ok(Reply::Accepted)));
        }
    };
    let (ended, ()) = tokio::join!(asking, taking_back);
    assert!(matches!(ended.unwrap_err().kind(), ErrorKind::Cancelled));
    assert_eq!(began.elapsed().as_secs(), 2);
    assert_eq!(text(&client.call("add", json!({ "a": 1, "b": 2 })).await), "3");
}

#[tokio::test(start_paused = true)]
async fn the_level_of_logging_goes_with_each_request() {
    let behind = behind_of(DemoServer::default(), modern());
    let (mut client, _) = Client::of(&behind, ProtocolVersion::V2025_06_18, all()).await;
    let log = json!({ "level": "warning", "message": "m" });
    client.call("log", log.clone()).await;
    assert_eq!(client.before.len(), 0);
    let wrong = client.ask("logging/setLevel", json!({ "level": "loud" })).await;
    assert_eq!(wrong["error"]["code"], -32602);
    client.ask("logging/setLevel", json!({ "level": "info" })).await;
    client.call("log", log).await;
    assert_eq!(client.before[0]["params"]["data"], "m");
}

#[tokio::test(start_paused = true)]
async fn news_goes_to_those_who_want_it() {
    let behind = behind_of(DemoServer::default(), modern());
    let (mut ann, _) = Client::of(&behind, ProtocolVersion::V2025_11_25, all()).await;
    let (mut bob, _) = Client::of(&behind, ProtocolVersion::V2025_06_18, all()).await;
    let mut of_ann = ann.session.listen(None).await.unwrap();
    let mut of_bob = bob.session.listen(None).await.unwrap();
    let note = json!({ "uri": "demo://note" });
    assert_eq!(ann.ask("resources/subscribe", note.clone()).await["result"], json!({}));
    let refused = ann.ask("resources/subscribe", json!({ "uri": "demo://none" })).await;
    assert_eq!(refused["error"]["code"], -32002);
    bob.call("touch", json!({})).await;
    bob.call("toggle", json!({})).await;
    let updated = next(&mut of_ann).await;
    assert_eq!(updated["params"], note, "no subscription is named");
    for events in [&mut of_ann, &mut of_bob] {
        assert_eq!(next(events).await["method"], "notifications/tools/list_changed");
    }
    ann.ask("resources/unsubscribe", note).await;
    // The stream is opened anew without it.
    tokio::time::sleep(Duration::from_secs(1)).await;
    bob.call("touch", json!({})).await;
    bob.call("toggle", json!({})).await;
    assert_eq!(next(&mut of_ann).await["method"], "notifications/tools/list_changed");
}

#[tokio::test(start_paused = true)]
async fn a_server_with_a_handshake_is_reached_without_anything_in_between() {
    let heard: Arc<Mutex<Vec<String>>> = Arc::default();
    let log = Arc::clone(&heard);
    let legacy = from_fn(move |exchange: Exchange| {
        let message = exchange.message;
        log.lock().unwrap().push(message.method().unwrap_or_default().to_owned());
        async move {
            let id = message.id().unwrap();
            Ok(Reply::Single(match message.method() {
                Some("initialize") => Message::response(id, &json!({})).unwrap(),
                _ => Message::error(Some(id), &RpcError::new(-32601, "no")).unwrap(),
            }))
        }
    });
    let behind = behind_of(legacy, BehindOptions { is_child: true, ..BehindOptions::default() });
    let error = behind.open(opening(Some(VERSION))).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Unsupported);
    let (_, hello) = Client::of(&behind, ProtocolVersion::V2025_06_18, all()).await;
    assert!(hello.get("result").is_some());
    assert_eq!(*heard.lock().unwrap(), ["server/discover", "initialize"], "asked once");
    assert_eq!(behind.era(), Some(Era::Legacy));
}

#[tokio::test(start_paused = true)]
async fn a_pin_wins_over_everything() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let server = from_fn(move |exchange: Exchange| {
        count.fetch_add(1, Ordering::Relaxed);
        async move {
            let error = RpcError::new(-32601, "no");
            Ok(Reply::Single(Message::error(exchange.message.id(), &error).unwrap()))
        }
    });
    let options = BehindOptions { pin: Some(Era::Legacy), ..BehindOptions::default() };
    let pinned = behind_of(server.clone(), options);
    pinned.open(opening(None)).await.unwrap();
    assert_eq!(asked.load(Ordering::Relaxed), 0);
    let error = pinned.open(opening(Some(VERSION))).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Unsupported);
    let options = BehindOptions { pin: Some(Era::Modern), ..BehindOptions::default() };
    let error = behind_of(server, options).open(opening(None)).await.unwrap_err();
    assert!(error.said().to_string().contains("pins it"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn what_goes_wrong_decides_nothing() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let server = from_fn(move |exchange: Exchange| {
        let n = count.fetch_add(1, Ordering::Relaxed);
        async move {
            match n {
                0 => Err(TransportError::new(ErrorKind::Unauthorized(None), "no")),
                1 => Err(TransportError::new(ErrorKind::Status(503), "busy")),
                2 => std::future::pending().await,
                _ => {
                    let found = json!({ "supportedVersions": ["2026-07-28"], "capabilities": {} });
                    let id = exchange.message.id().unwrap();
                    Ok(Reply::Single(Message::response(id, &found).unwrap()))
                }
            }
        }
    });
    let behind = behind_of(server, BehindOptions::default());
    for expect in [ErrorKind::Unauthorized(None), ErrorKind::Status(503), ErrorKind::Timeout] {
        let error = behind.open(opening(None)).await.unwrap_err();
        assert_eq!((error.kind(), behind.era()), (&expect, None));
    }
    behind.open(opening(None)).await.unwrap();
    assert_eq!(behind.era(), Some(Era::Modern));
}

/// A server that asks for ever, or something strange.
fn asking(questions: Value, state: Option<&'static str>) -> impl Transport {
    from_fn(move |exchange: Exchange| {
        let (message, questions) = (exchange.message, questions.clone());
        async move {
            let id = message.id().unwrap();
            let result = match message.method() {
                Some(modern::DISCOVER) => {
                    json!({ "supportedVersions": ["2026-07-28"], "capabilities": {} })
                }
                _ if message.mentions("\"stop\"") => {
                    json!({ "resultType": "complete", "content": [{ "type": "text", "text": message.body() }] })
                }
                _ => {
                    let mut result =
                        json!({ "resultType": "input_required", "inputRequests": questions });
                    if let Some(state) = state {
                        result["requestState"] = json!(state);
                    }
                    result
                }
            };
            Ok(Reply::Single(Message::response(id, &result).unwrap()))
        }
    })
}

#[tokio::test(start_paused = true)]
async fn nobody_is_asked_for_ever_nor_for_what_he_cannot_give() {
    let roots = json!({ "k": { "method": "roots/list" } });
    let options = BehindOptions { rounds_max: 3, ..BehindOptions::default() };
    let behind = behind_of(asking(roots.clone(), Some("s")), options);
    let (mut client, _) = Client::of(&behind, ProtocolVersion::V2025_11_25, all()).await;
    let answer = client.call("x", json!({})).await;
    assert!(text(&answer).contains("more than 3 times"), "{answer}");
    assert_eq!(client.asked.len(), 4);
    let (mut mute, _) = Client::of(&behind, ProtocolVersion::V2025_11_25, json!({})).await;
    assert!(text(&mute.call("x", json!({})).await).contains("did not declare"));
    let listed = mute.ask("tools/list", json!({})).await;
    assert_eq!(listed["error"]["code"], -32603, "{listed}");
    // What the operator says stands for a client that cannot be asked.
    let roots_of = BehindOptions {
        roots: Arc::from([Box::from("file:///stop")]),
        rounds_max: 3,
        ..BehindOptions::default()
    };
    let stop = json!({ "k": { "method": "roots/list" } });
    let behind = behind_of(asking(stop, Some("\"stop\"")), roots_of);
    let (mut mute, _) = Client::of(&behind, ProtocolVersion::V2025_11_25, json!({})).await;
    let answer = mute.call("x", json!({})).await;
    assert!(text(&answer).contains("more than 3 times"), "{answer}");
    for broken in [json!([]), json!({ "k": 1 }), json!({})] {
        let behind = behind_of(asking(broken, None), BehindOptions::default());
        let (mut client, _) = Client::of(&behind, ProtocolVersion::V2025_11_25, all()).await;
        assert_eq!(client.call("x", json!({})).await["result"]["isError"], true);
    }
}

#[tokio::test(start_paused = true)]
async fn a_user_is_sent_to_a_url_once() {
    let rounds = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&rounds);
    let server = from_fn(move |exchange: Exchange| {
        let message = exchange.message;
        let discovers = message.method() == Some(modern::DISCOVER);
        let n = if discovers { 0 } else { count.fetch_add(1, Ordering::Relaxed) };
        async move {
            let id = message.id().unwrap();
            let result = match n {
                _ if discovers => {
                    json!({ "supportedVersions": ["2026-07-28"], "capabilities": {} })
                }
                0..3 => {
                    json!({ "resultType": "input_required", "requestState": "s", "inputRequests": {
                    "k": { "method": "elicitation/create",
                        "params": { "mode": "url", "message": "m", "url": "https://a/b" } } } })
                }
                _ => json!({ "resultType": "complete", "content": [] }),
            };
            Ok(Reply::Single(Message::response(id, &result).unwrap()))
        }
    });
    let behind = behind_of(server, BehindOptions::default());
    let can = json!({ "elicitation": { "url": {} } });
    let (mut client, _) = Client::of(&behind, ProtocolVersion::V2025_11_25, can).await;
    let answer = client.call("x", json!({})).await;
    assert_eq!(answer["result"]["content"], json!([]), "{answer}");
    assert_eq!((client.asked.len(), rounds.load(Ordering::Relaxed)), (1, 4));
    let name = &client.asked[0]["params"]["elicitationId"];
    assert_eq!(client.before[0]["method"], "notifications/elicitation/complete");
    assert_eq!(&client.before[0]["params"]["elicitationId"], name);
}

#[tokio::test(start_paused = true)]
async fn dropping_a_call_that_asks_leaves_nothing_behind() {
    let behind = behind_of(DemoServer::default(), modern());
    let (client, _) = Client::of(&behind, ProtocolVersion::V2025_11_25, all()).await;
    let call = json!({ "name": "ask-roots" });
    let call = Message::request(&Id::from(1), "tools/call", &call).unwrap();
    let Reply::Stream(mut events) = client.send(call).await.unwrap() else { panic!() };
    let asked = next(&mut events).await;
    assert_eq!(asked["method"], "roots/list");
    drop(events);
    let id: Id = serde_json::from_value(asked["id"].clone()).unwrap();
    let late = Message::response(&id, &json!({ "roots": [] })).unwrap();
    assert!(matches!(client.send(late).await, Ok(Reply::Accepted)));
}

/// A server that ends its streams of news, and can be gone.
#[derive(Debug, Default)]
struct Fickle {
    listens: AtomicUsize,
    dead: std::sync::atomic::AtomicBool,
}

#[derive(Debug)]
struct Way(Arc<Fickle>);

impl Transport for Way {
    fn open(&self, _: Opening) -> BoxFuture<'_, Result<Arc<dyn Session>, TransportError>> {
        let session: Arc<dyn Session> = Arc::new(Self(Arc::clone(&self.0)));
        async { Ok(session) }.boxed()
    }

    fn find(&self, _: &SessionId, _: &Caller) -> Result<Arc<dyn Session>, TransportError> {
        Err(TransportError::new(ErrorKind::NoSession, "none"))
    }
}

impl Session for Way {
    fn endpoint(&self) -> mcp_jsonrpc::transport::Endpoint {
        mcp_jsonrpc::transport::Endpoint { uri: Arc::from("x:"), session: None }
    }

    fn send(&self, exchange: Exchange) -> BoxFuture<'_, Result<Reply, TransportError>> {
        let message = exchange.message;
        async move {
            let id = message.id().unwrap();
            if message.method() == Some(modern::LISTEN) {
                let n = self.0.listens.fetch_add(1, Ordering::Relaxed);
                let ack = Message::notification(modern::ACKNOWLEDGED, &json!({})).unwrap();
                let first = stream::iter([Ok(Event::from(ack))]);
                // The first ends at once.
                return Ok(Reply::Stream(match n {
                    0 => first.boxed(),
                    _ => first.chain(stream::pending()).boxed(),
                }));
            }
            assert_eq!(message.kind(), Kind::Request);
            let found = json!({ "supportedVersions": ["2026-07-28"], "capabilities": {} });
            Ok(Reply::Single(Message::response(id, &found).unwrap()))
        }
        .boxed()
    }

    fn listen(&self, _: Option<EventId>) -> BoxFuture<'_, Result<EventStream, TransportError>> {
        async { Err(TransportError::new(ErrorKind::Unsupported, "nothing")) }.boxed()
    }

    fn is_open(&self) -> bool {
        !self.0.dead.load(Ordering::Relaxed)
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        async {}.boxed()
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_news_that_ended_is_opened_again_and_all_is_told() {
    let server = Arc::<Fickle>::default();
    let behind = behind_of(Way(Arc::clone(&server)), BehindOptions::default());
    let (client, _) = Client::of(&behind, ProtocolVersion::V2025_06_18, all()).await;
    let mut events = client.session.listen(None).await.unwrap();
    for list in ["tools", "prompts", "resources"] {
        let expect = format!("notifications/{list}/list_changed");
        assert_eq!(next(&mut events).await["method"], expect);
    }
    assert_eq!(server.listens.load(Ordering::Relaxed), 2);
    // Gone: the session ends, and whoever holds it can have another.
    server.dead.store(true, Ordering::Relaxed);
    assert!(!client.session.is_open());
    drop(client);
    server.dead.store(false, Ordering::Relaxed);
    Client::of(&behind, ProtocolVersion::V2025_06_18, all()).await;
}
