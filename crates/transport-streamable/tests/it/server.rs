//! The server half.

mod failures;
mod modern;
mod streams;

use std::{
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use futures::{FutureExt, StreamExt, future, stream};
use hyper::{Request, Response, body::Body};
use mcp_jsonrpc::{
    Id, Message, ProtocolVersion,
    transport::{Caller, ErrorKind, Event, EventId, Exchange, Reply, TransportError},
};
use serde_json::{Value, json};
use tokio::time::Instant;
use transport_sse::body::Outgoing;
use transport_streamable::server::{Server, ServerOptions};

use crate::fake::Fake;

const ID: &str = "0123456789abcdef0123456789abcdef";
const BOTH: &str = "application/json, text/event-stream";

/// A transport whose sessions have an id, and answer by calling `answer`.
fn fake<F>(answer: impl Fn(Exchange) -> F + Send + Sync + 'static) -> Fake
where
    F: Future<Output = Result<Reply, TransportError>> + Send + 'static,
{
    Fake::new(answer).known_as(ID, Caller::anonymous())
}

/// Answers every request with an empty result.
async fn echo(exchange: Exchange) -> Result<Reply, TransportError> {
    Ok(match exchange.message.id() {
        Some(_) if exchange.message.is_answer() => Reply::Accepted,
        Some(id) => Reply::Single(result(id)),
        None => Reply::Accepted,
    })
}

fn result(id: &Id) -> Message {
    Message::response(id, &json!({})).unwrap()
}

fn note(n: i64) -> Event {
    Message::notification("notifications/message", &json!({ "n": n })).unwrap().into()
}

/// Something before the answer.
async fn chatty(exchange: Exchange) -> Result<Reply, TransportError> {
    let Some(id) = exchange.message.id() else { return Ok(Reply::Accepted) };
    let events = [Ok(note(1)), Ok(result(id).into()), Ok(note(2))];
    Ok(Reply::Stream(stream::iter(events).boxed()))
}

struct Rig {
    server: Server,
    fake: Fake,
}

impl Rig {
    /// With a session that has begun.
    async fn new(fake: Fake) -> Self {
        Self::with(fake, ServerOptions::default()).await
    }

    async fn with(fake: Fake, options: ServerOptions) -> Self {
        let rig = Self { server: Server::new(Arc::new(fake.clone()), "/a/mcp", options), fake };
        let _: Response<_> = rig.post(&[("accept", BOTH)], initialize()).await;
        rig
    }

    async fn send(&self, request: Request<Outgoing>) -> Response<Outgoing> {
        self.server.handle(request, Caller::anonymous()).await
    }

    async fn post(&self, fields: &[(&str, &str)], body: impl Into<String>) -> Response<Outgoing> {
        self.request("POST", fields, body.into()).await
    }

    async fn request(
        &self,
        method: &str,
        fields: &[(&str, &str)],
        body: String,
    ) -> Response<Outgoing> {
        let mut request = Request::builder().method(method).uri("/a/mcp");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        if method == "POST" && !fields.iter().any(|(name, _)| *name == "content-type") {
            request = request.header("content-type", "application/json");
        }
        self.send(request.body(Outgoing::whole(body)).unwrap()).await
    }
}

fn initialize() -> String {
    let params = json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {} });
    json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params }).to_string()
}

fn call(id: i64) -> String {
    json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {} }).to_string()
}

async fn next(body: &mut Outgoing) -> Option<String> {
    let frame = future::poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await?;
    Some(String::from_utf8(frame.unwrap().into_data().unwrap().to_vec()).unwrap())
}

async fn text(response: Response<Outgoing>) -> String {
    let mut body = response.into_body();
    let mut text = String::new();
    while let Some(more) = next(&mut body).await {
        text += &more;
    }
    text
}

async fn value(response: Response<Outgoing>) -> Value {
    assert_eq!(response.headers()["content-type"], "application/json");
    serde_json::from_str(&text(response).await).unwrap()
}

/// The messages of an event stream.
async fn messages(response: Response<Outgoing>) -> Vec<Value> {
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    assert_eq!(response.headers()["cache-control"], "no-cache, no-transform");
    assert_eq!(response.headers()["x-accel-buffering"], "no");
    let text = text(response).await;
    assert!(text.starts_with(": \n\n"), "{text}");
    let data = text.lines().filter_map(|line| line.strip_prefix("data: {"));
    data.map(|json| serde_json::from_str(&format!("{{{json}")).unwrap()).collect()
}

#[tokio::test]
async fn a_session_begins_goes_on_and_ends() {
    let rig = Rig {
        server: Server::new(Arc::new(fake(echo)), "/a/mcp", ServerOptions::default()),
        fake: fake(echo),
    };
    let response = rig.post(&[("accept", BOTH)], initialize()).await;
    assert_eq!(
        (response.status().as_u16(), &response.headers()["mcp-session-id"]),
        (200, &ID.parse().unwrap())
    );
    let noted = response.body().note().unwrap();
    assert_eq!(noted.rpc_method.as_deref(), Some("initialize"));
    assert!(noted.session.is_some());
    assert_eq!(value(response).await["id"], 0);

    let session = ("mcp-session-id", ID);
    let initialized = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
    let response = rig.post(&[session, ("accept", BOTH)], initialized).await;
    assert_eq!(response.status(), 202);
    assert_eq!(text(response).await, "");
    let answer = r#"{"jsonrpc":"2.0","id":9,"result":{}}"#;
    assert_eq!(rig.post(&[session], answer).await.status(), 202);

    let version = ("mcp-protocol-version", "2025-06-18");
    let response = rig.post(&[session, version, ("accept", BOTH)], call(1)).await;
    assert!(!response.headers().contains_key("mcp-session-id"));
    assert_eq!(value(response).await, json!({ "jsonrpc": "2.0", "id": 1, "result": {} }));

    assert_eq!(rig.request("DELETE", &[session], String::new()).await.status(), 204);
    for method in ["DELETE", "GET", "POST", "HEAD"] {
        let fields = [session, ("accept", BOTH)];
        let response = rig.request(method, &fields, call(2)).await;
        assert_eq!(response.status(), 404, "{method}");
        assert!(
            value(response).await["error"]["message"].as_str().unwrap().contains("begin again")
        );
    }
}

#[tokio::test]
async fn requests_without_a_session() {
    let rig = Rig::new(fake(echo)).await;
    for (method, fields, status) in [
        ("POST", vec![("accept", BOTH)], 400),
        ("GET", vec![("accept", "text/event-stream")], 400),
        ("DELETE", vec![], 400),
        ("POST", vec![("mcp-session-id", "nope")], 404),
        ("GET", vec![("mcp-session-id", "nope")], 404),
        ("DELETE", vec![("mcp-session-id", "nope")], 404),
        ("POST", vec![("mcp-session-id", "no such")], 404),
    ] {
        let response = rig.request(method, &fields, call(1)).await;
        assert_eq!(response.status(), status, "{method} {fields:?}");
        assert!(response.body().note().unwrap().reason.is_some());
        let answer = value(response).await;
        assert_eq!(answer["id"].as_i64(), (method == "POST").then_some(1));
        assert!(answer["error"]["message"].as_str().unwrap().contains("`initialize`"));
    }
}

#[tokio::test]
async fn a_transport_that_keeps_no_sessions() {
    let fake = Fake::new(chatty);
    let options = ServerOptions { stateless: true, ..ServerOptions::default() };
    let rig = Rig::with(fake, options).await;
    for id in [1, 2] {
        let messages = messages(rig.post(&[("accept", BOTH)], call(id)).await).await;
        assert_eq!(messages[1]["id"], id);
    }
    assert_eq!(rig.fake.opened(), 3);
    let initialized = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
    assert_eq!(rig.post(&[], initialized).await.status(), 202);
    let batch = format!("[{initialized}]");
    assert_eq!(rig.post(&[], batch).await.status(), 202);
    for method in ["GET", "DELETE"] {
        let response = rig.request(method, &[], String::new()).await;
        assert_eq!(
            (response.status().as_u16(), &response.headers()["allow"]),
            (405, &"POST, OPTIONS".parse().unwrap())
        );
    }
    assert_eq!(rig.post(&[("mcp-session-id", "x")], call(1)).await.status(), 404);
}

#[tokio::test]
async fn somebody_elses_session_is_none() {
    let rig = Rig::new(fake(echo)).await;
    let request = Request::post("/a/mcp").header("mcp-session-id", ID);
    let request = request.body(Outgoing::whole(call(1))).unwrap();
    assert_eq!(rig.server.handle(request, Caller::named("bob")).await.status(), 404);
}

#[tokio::test]
async fn methods() {
    let rig = Rig::new(fake(echo)).await;
    for (method, status) in [("PUT", 405), ("PATCH", 405), ("OPTIONS", 204)] {
        let response = rig.request(method, &[], String::new()).await;
        assert_eq!(response.status(), status);
        assert_eq!(response.headers()["allow"], "GET, POST, DELETE, HEAD, OPTIONS");
    }
    let response = rig.request("HEAD", &[("mcp-session-id", ID)], String::new()).await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    assert_eq!(text(response).await, "");
    assert!(rig.fake.listened_after().is_empty());
}

#[tokio::test]
async fn revisions() {
    let rig = Rig::new(fake(echo)).await;
    for (version, body, status, code) in [
        ("2025-03-26", call(1), 200, None),
        ("2024-11-05", call(1), 200, None),
        ("2025-06-19", call(1), 400, Some(-32022)),
        ("nonsense", call(1), 400, Some(-32022)),
        ("2026-07-28", call(1), 400, Some(-32022)),
        ("2026-07-28", initialize(), 400, Some(-32022)),
    ] {
        let fields = [("mcp-session-id", ID), ("mcp-protocol-version", version)];
        let response = rig.post(&fields, body).await;
        assert_eq!(response.status(), status, "{version}");
        let answer = value(response).await;
        assert_eq!(answer["error"]["code"].as_i64(), code);
        if code.is_some() {
            assert_eq!(answer["error"]["data"]["requested"], version);
            assert_eq!(answer["error"]["data"]["supported"].as_array().unwrap().len(), 4);
        }
    }
    let fields = [("mcp-session-id", ID), ("mcp-protocol-version", "2099-01-01")];
    assert_eq!(rig.request("GET", &fields, String::new()).await.status(), 400);
}

#[tokio::test]
async fn discovery_is_refused_at_once_and_in_words_all_fall_back_from() {
    let rig = Rig::new(fake(async |exchange: Exchange| match exchange.message.method() {
        Some("initialize") => echo(exchange).await,
        _ => future::pending().await,
    }))
    .await;
    let probe = r#"{"jsonrpc":"2.0","id":"p","method":"server/discover","params":{}}"#;
    for fields in [
        vec![("mcp-protocol-version", "2026-07-28"), ("accept", BOTH)],
        vec![],
        vec![("mcp-session-id", ID)],
        vec![("mcp-session-id", "unknown")],
    ] {
        let response = rig.post(&fields, probe).await;
        assert_eq!(response.status(), 200);
        let answer = value(response).await;
        assert_eq!((&answer["id"], &answer["error"]["code"]), (&json!("p"), &json!(-32601)));
    }
}

#[tokio::test]
async fn a_stream_as_soon_as_anything_precedes_the_answer() {
    let rig = Rig::new(fake(chatty)).await;
    let response = rig.post(&[("mcp-session-id", ID), ("accept", BOTH)], call(7)).await;
    let messages = messages(response).await;
    // What comes after the answer is not waited for.
    assert_eq!(messages.len(), 2);
    assert_eq!((&messages[0]["params"]["n"], &messages[1]["id"]), (&json!(1), &json!(7)));
}

#[tokio::test]
async fn answers_in_whatever_the_client_takes() {
    let rig = Rig::new(fake(echo)).await;
    let session = ("mcp-session-id", ID);
    for (accept, kind) in [
        ("*/*", "application/json"),
        ("application/json", "application/json"),
        ("application/*", "application/json"),
        ("text/event-stream", "text/event-stream"),
    ] {
        let response = rig.post(&[session, ("accept", accept)], call(1)).await;
        assert_eq!(response.headers()["content-type"], kind, "{accept}");
        assert!(text(response).await.contains(r#""id":1"#));
    }
    let response = rig.post(&[session, ("accept", "text/html")], call(1)).await;
    assert_eq!(response.status(), 406);
    assert_eq!(
        rig.request("GET", &[session, ("accept", "application/json")], String::new())
            .await
            .status(),
        406
    );
    assert_eq!(rig.post(&[session, ("content-type", "text/plain")], call(1)).await.status(), 415);
}

#[tokio::test]
async fn strictness_by_option() {
    let options = ServerOptions { strict_accept: true, ..ServerOptions::default() };
    let rig = Rig::with(fake(echo), options).await;
    let session = ("mcp-session-id", ID);
    for (accept, status) in [(BOTH, 200), ("*/*", 406), ("application/json", 406)] {
        assert_eq!(rig.post(&[session, ("accept", accept)], call(1)).await.status(), status);
    }
    assert_eq!(rig.request("GET", &[session], String::new()).await.status(), 406);
}

#[tokio::test]
async fn json_alone_waits_for_the_answer_and_declines_questions() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&told);
    let rig = Rig::new(fake(move |exchange: Exchange| {
        log.lock().unwrap().push(exchange.message.clone());
        async move {
            if exchange.message.method() != Some("tools/call") {
                return echo(exchange).await;
            }
            let question = Message::request(&"q".into(), "roots/list", &json!({})).unwrap();
            let answer = result(exchange.message.id().unwrap());
            let events = [Ok(note(1)), Ok(question.into()), Ok(answer.into())];
            Ok(Reply::Stream(stream::iter(events).boxed()))
        }
    }))
    .await;
    let fields = [("mcp-session-id", ID), ("accept", "application/json")];
    let response = rig.post(&fields, call(1)).await;
    let reason = response.body().note().unwrap().reason.clone().unwrap();
    assert!(reason.contains("2 messages"), "{reason}");
    assert_eq!(value(response).await["id"], 1);
    let told = told.lock().unwrap();
    let declined = told.last().unwrap();
    assert_eq!((declined.id(), declined.is_answer()), (Some(&"q".into()), true));
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_comes_as_a_stream() {
    let rig = Rig::new(fake(async |exchange: Exchange| {
        if exchange.message.method() == Some("tools/call") {
            tokio::time::sleep(Duration::from_secs(40)).await;
        }
        echo(exchange).await
    }))
    .await;
    let fields = [("mcp-session-id", ID), ("accept", BOTH)];
    let start = Instant::now();
    let response = rig.post(&fields, call(1)).await;
    assert_eq!(start.elapsed().as_secs(), 15);
    let mut body = response.into_body();
    let mut seen = Vec::new();
    while let Some(chunk) = next(&mut body).await {
        seen.push((start.elapsed().as_secs(), chunk));
    }
    let answer = "event: message\ndata: {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}\n\n";
    let comment = ": \n\n".to_owned();
    assert_eq!(seen, [(15, comment.clone()), (30, comment), (40, answer.to_owned())]);

    // Who takes JSON alone has to wait, and so has `initialize`, whose answer has a field.
    let start = Instant::now();
    let json = [("mcp-session-id", ID), ("accept", "application/json")];
    assert_eq!(value(rig.post(&json, call(2)).await).await["id"], 2);
    assert_eq!(start.elapsed().as_secs(), 40);
}

#[tokio::test]
async fn batches_of_2025_03_26() {
    let rig = Rig::new(fake(async |exchange: Exchange| match exchange.message.id() {
        Some(Id::Number(9)) => chatty(exchange).await,
        _ => echo(exchange).await,
    }))
    .await;
    let session = ("mcp-session-id", ID);
    let told = r#"{"jsonrpc":"2.0","method":"notifications/x"}"#;
    let both = [session, ("accept", BOTH)];

    let response = rig.post(&both, format!("[{},{told},{}]", call(1), call(2))).await;
    let answers = value(response).await;
    let mut ids: Vec<_> = answers.as_array().unwrap().iter().map(|it| it["id"].as_i64()).collect();
    ids.sort_unstable();
    assert_eq!(ids, [Some(1), Some(2)]);

    let response = rig.post(&both, format!("[{},{}]", call(1), call(9))).await;
    assert_eq!(messages(response).await.len(), 3);
    let json = [session, ("accept", "application/json")];
    let response = rig.post(&json, format!("[{},{}]", call(1), call(9))).await;
    assert_eq!(value(response).await.as_array().unwrap().len(), 2);

    assert_eq!(rig.post(&both, format!("[{told}]")).await.status(), 202);
    let named = [session, ("mcp-protocol-version", "2025-03-26")];
    assert_eq!(rig.post(&named, format!("[{}]", call(1))).await.status(), 200);

    for (fields, body) in [
        (vec![session, ("mcp-protocol-version", "2025-06-18")], format!("[{}]", call(1))),
        (vec![session], format!("[{}]", initialize())),
        (vec![], format!("[{}]", call(1))),
        (vec![session], "[]".to_owned()),
        (vec![session], format!("[{}]", vec![told; 101].join(","))),
    ] {
        assert_eq!(rig.post(&fields, body).await.status(), 400, "{fields:?}");
    }
}

/// What was agreed on counts, whatever a request says.
#[tokio::test]
async fn batches_of_a_session_that_has_none() {
    for (agreed, status) in [
        (ProtocolVersion::V2024_11_05, 400),
        (ProtocolVersion::V2025_03_26, 200),
        (ProtocolVersion::V2025_06_18, 400),
        (ProtocolVersion::V2025_11_25, 400),
    ] {
        let rig = Rig::new(fake(echo).speaking(agreed)).await;
        let session = ("mcp-session-id", ID);
        for fields in [vec![session], vec![session, ("mcp-protocol-version", "2025-03-26")]] {
            let response = rig.post(&fields, format!("[{}]", call(1))).await;
            assert_eq!(response.status(), status, "{agreed}, {fields:?}");
        }
    }
}

#[tokio::test]
async fn what_is_said_unasked_and_where_to_go_on() {
    let pause = Event::Pause { id: EventId::new("s/2"), retry: Some(Duration::from_millis(500)) };
    let Event::Message { message, .. } = note(1) else { panic!("no message") };
    let events = [Ok(Event::Message { id: EventId::new("s/1"), message }), Ok(pause)];
    for (version, primes) in [("2025-11-25", true), ("2025-06-18", false)] {
        let unasked = stream::iter(events.clone().map(|it: Result<_, &str>| Ok(it.unwrap())));
        let rig = Rig::new(fake(echo).saying(unasked.boxed())).await;
        let fields =
            [("mcp-session-id", ID), ("last-event-id", "s/0"), ("mcp-protocol-version", version)];
        let text = text(rig.request("GET", &fields, String::new()).await).await;
        assert!(text.contains("id: s/1\ndata: {"), "{text}");
        assert_eq!(text.contains("id: s/2\nretry: 500\ndata: \n\n"), primes, "{text}");
        assert_eq!(rig.fake.listened_after(), [EventId::new("s/0")]);
    }
}

#[tokio::test]
async fn dropping_a_response_drops_what_was_asked() {
    let (alive, dropped) = tokio::sync::oneshot::channel::<()>();
    let alive = Mutex::new(Some(alive));
    let rig = Rig::new(fake(move |exchange: Exchange| {
        let is_call = exchange.message.method() == Some("tools/call");
        let alive = if is_call { alive.lock().unwrap().take() } else { None };
        async move {
            let Some(alive) = alive else { return echo(exchange).await };
            let held = stream::pending().map(move |event| {
                let _ = &alive;
                event
            });
            Ok(Reply::Stream(stream::iter([Ok(note(1))]).chain(held).boxed()))
        }
    }))
    .await;
    let response = rig.post(&[("mcp-session-id", ID), ("accept", BOTH)], call(1)).await;
    let mut body = response.into_body();
    assert_eq!(next(&mut body).await.unwrap(), ": \n\n");
    assert!(next(&mut body).await.unwrap().contains("notifications/message"));
    drop(body);
    dropped.await.unwrap_err();
}
