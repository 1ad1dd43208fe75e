//! 2026-07-28: requests that stand for themselves.

use futures::stream::BoxStream;
use hyper::Request;
use tokio::sync::{mpsc, oneshot};

use super::*;

const META: &str = "io.modelcontextprotocol";

fn body(method: &str, mut params: Value) -> String {
    params["_meta"] = json!({
        format!("{META}/protocolVersion"): "2026-07-28",
        format!("{META}/clientCapabilities"): {},
    });
    json!({ "jsonrpc": "2.0", "id": "a", "method": method, "params": params }).to_string()
}

/// A server of all revisions.
fn rig(fake: Fake) -> Rig {
    let options = ServerOptions { modern: true, ..ServerOptions::default() };
    Rig { server: Server::new(Arc::new(fake.clone()), "/a/mcp", options), fake }
}

async fn ask_as(rig: &Rig, accept: &str, method: &str, params: Value) -> Response<Outgoing> {
    let name = params["name"].as_str().unwrap_or("-").to_owned();
    let fields = [
        ("accept", accept),
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", method),
        ("mcp-name", &*name),
        // Of no meaning here.
        ("mcp-session-id", ID),
        ("last-event-id", "7"),
    ];
    rig.post(&fields, body(method, params)).await
}

async fn ask(rig: &Rig, method: &str, params: Value) -> Response<Outgoing> {
    ask_as(rig, BOTH, method, params).await
}

fn failing(code: i64) -> impl Fn(Exchange) -> future::Ready<Result<Reply, TransportError>> {
    move |exchange| {
        let error = mcp_jsonrpc::RpcError::new(i32::try_from(code).unwrap(), "no");
        let answer = Message::error(exchange.message.id(), &error).unwrap();
        future::ready(Ok(Reply::Single(answer)))
    }
}

fn streaming(
    events: impl Fn() -> BoxStream<'static, Result<Event, TransportError>> + Send + Sync + 'static,
) -> Fake {
    Fake::new(move |_| future::ready(Ok(Reply::Stream(events())))).keeping()
}

fn answer() -> Event {
    result(&"a".into()).into()
}

#[tokio::test]
async fn a_request_is_carried_as_it_came_and_no_session_is_named() {
    let (heard, mut hear) = mpsc::channel(9);
    let rig = rig(Fake::new(move |exchange: Exchange| {
        heard.try_send(exchange.clone()).unwrap();
        echo(exchange)
    })
    .known_as(ID, Caller::anonymous()));
    let fields = [
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", "server/discover"),
        ("mcp-param-x", "1"),
        ("traceparent", "00-1"),
        ("mcp-session-id", "unknown"),
    ];
    let sent = body("server/discover", json!({ "x": 1 }));
    let response = rig.post(&fields, sent.clone()).await;
    assert_eq!(response.status(), 200);
    assert!(!response.headers().contains_key("mcp-session-id"));
    assert_eq!(response.body().note().unwrap().session, None);
    assert_eq!(value(response).await, json!({ "jsonrpc": "2.0", "id": "a", "result": {} }));
    let exchange = hear.recv().await.unwrap();
    assert_eq!(exchange.message.as_bytes(), sent.as_bytes());
    assert_eq!(exchange.version, Some(ProtocolVersion::V2026_07_28));
    let carried = [("mcp-param-x", "1"), ("traceparent", "00-1")];
    assert!(exchange.carried.iter().map(|(name, value)| (&**name, &**value)).eq(carried));
    assert_eq!(rig.fake.closed(), 0);
}

#[tokio::test]
async fn both_eras_at_one_address() {
    let rig = rig(fake(echo));
    assert_eq!(ask(&rig, "tools/list", json!({})).await.status(), 200);
    let response = rig.post(&[("accept", BOTH)], initialize()).await;
    assert_eq!(response.headers()["mcp-session-id"], ID);
    assert_eq!(rig.post(&[("mcp-session-id", ID)], call(1)).await.status(), 200);
    assert_eq!(ask(&rig, "tools/list", json!({})).await.status(), 200);
    let probe = r#"{"jsonrpc":"2.0","id":1,"method":"server/discover"}"#;
    let response = rig.post(&[], probe).await;
    assert_eq!(
        (response.status().as_u16(), &value(response).await["error"]["code"]),
        (200, &json!(-32601))
    );
    for method in ["GET", "DELETE"] {
        assert_eq!(rig.request(method, &[("accept", BOTH)], String::new()).await.status(), 400);
    }
}

#[tokio::test]
async fn where_it_is_not_served_its_clients_begin_again_with_initialize() {
    let unsupported = TransportError::new(ErrorKind::Unsupported, "not this");
    for (method, status, code) in [("server/discover", 200, -32601), ("tools/list", 400, -32022)] {
        let off = Rig::new(fake(echo)).await;
        let behind = rig(fake(echo).refusing(unsupported_again(&unsupported)));
        for rig in [off, behind] {
            let response = ask(&rig, method, json!({})).await;
            assert_eq!(response.status(), status, "{method}");
            let error = &value(response).await["error"];
            assert_eq!(error["code"], code);
            if code == -32022 {
                assert_eq!(error["data"]["supported"].as_array().unwrap().len(), 4);
            }
        }
    }
}

fn unsupported_again(error: &TransportError) -> TransportError {
    TransportError::new(error.kind().clone(), "not this")
}

#[tokio::test]
async fn errors_have_their_status() {
    for (code, status) in [
        (-32601, 404),
        (-32020, 400),
        (-32021, 400),
        (-32022, 400),
        (-32700, 400),
        (-32600, 400),
        (-32602, 200),
        (-32603, 200),
        (-32002, 200),
        (7, 200),
    ] {
        for accept in [BOTH, "application/json"] {
            let rig = rig(Fake::new(failing(code)));
            let response = ask_as(&rig, accept, "tools/list", json!({})).await;
            assert_eq!(response.status(), status, "{code}");
            let answer = value(response).await;
            assert_eq!((&answer["id"], &answer["error"]["code"]), (&json!("a"), &json!(code)));
        }
    }
}

#[tokio::test]
async fn failures_have_their_status() {
    let unavailable = ErrorKind::Unavailable { retry_after: None };
    let down = TransportError::new(unavailable.clone(), "it is down");
    let rig_of = |kind: ErrorKind| {
        rig(Fake::new(move |_| future::ready(Err(TransportError::new(kind.clone(), "it failed")))))
    };
    for (kind, method, status, code) in [
        (unavailable.clone(), "server/discover", 503, -32603),
        (unavailable.clone(), "tools/list", 503, -32603),
        (unavailable, "tools/call", 200, -32603),
        (ErrorKind::Exhausted, "tools/list", 503, -32603),
        (ErrorKind::Timeout, "tools/list", 504, -32603),
        (ErrorKind::Timeout, "tools/call", 200, -32603),
        (ErrorKind::NoSession, "server/discover", 502, -32603),
        (ErrorKind::Status(404), "server/discover", 502, -32603),
        (ErrorKind::Unauthorized(None), "server/discover", 502, -32603),
        (ErrorKind::TooLarge, "tools/list", 502, -32603),
        (ErrorKind::Closed, "tools/call", 200, -32603),
        (ErrorKind::Invalid(-32602), "tools/call", 200, -32602),
        (ErrorKind::Invalid(-32601), "server/discover", 404, -32601),
    ] {
        for accept in [BOTH, "application/json"] {
            let response =
                ask_as(&rig_of(kind.clone()), accept, method, json!({ "name": "t" })).await;
            assert_eq!(response.status(), status, "{kind:?} {method}");
            assert_eq!(response.headers().contains_key("retry-after"), status == 503);
            let answer = value(response).await;
            assert_eq!((&answer["id"], &answer["error"]["code"]), (&json!("a"), &json!(code)));
        }
    }
    let response = ask(&rig(Fake::new(echo).refusing(down)), "server/discover", json!({})).await;
    assert_eq!(response.status(), 503);
    assert_eq!(value(response).await["error"]["message"], "it is down");
}

#[tokio::test]
async fn what_may_not_be_posted() {
    let rig = rig(Fake::new(echo));
    let version = ("mcp-protocol-version", "2026-07-28");
    let request = body("tools/list", json!({}));
    for (body, status, code) in [
        (r#"{"jsonrpc":"2.0","id":1,"result":{}}"#, 400, -32600),
        (r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":""}}"#, 400, -32600),
        (&format!("[{request}]"), 400, -32600),
        ("{", 400, -32700),
        (r#"{"jsonrpc":"2.0","id":null,"method":"x"}"#, 400, -32600),
    ] {
        let response = rig.post(&[version], body).await;
        assert_eq!(response.status(), status, "{body}");
        assert_eq!(value(response).await["error"]["code"], code, "{body}");
    }
    assert_eq!(rig.fake.opened(), 0);
}

#[tokio::test]
async fn notifications_are_accepted_and_name_no_request() {
    let (heard, mut hear) = mpsc::channel(9);
    let rig = rig(Fake::new(move |exchange: Exchange| {
        heard.try_send(exchange.message.method().unwrap().to_owned()).unwrap();
        echo(exchange)
    }));
    for method in ["notifications/cancelled", "notifications/other"] {
        let body = json!({ "jsonrpc": "2.0", "method": method, "params": { "requestId": 1 } });
        let fields = [("mcp-protocol-version", "2026-07-28")];
        let response = rig.post(&fields, body.to_string()).await;
        assert_eq!(response.status(), 202);
        assert_eq!(text(response).await, "");
    }
    assert_eq!(hear.recv().await.unwrap(), "notifications/other");
}

#[tokio::test]
async fn a_stream_holds_notifications_and_the_answer_and_no_ids() {
    let rig = rig(streaming(|| {
        let id = EventId::new("7");
        let question = Message::request(&1.into(), "roots/list", &json!({})).unwrap();
        let numbered = Event::Message { id: id.clone(), message: note_message(1) };
        let pause = Event::Pause { id, retry: Some(Duration::from_secs(1)) };
        let events = [pause, numbered, question.into(), answer(), note(2)];
        stream::iter(events.map(Ok)).boxed()
    }));
    let response = ask(&rig, "tools/call", json!({ "name": "t" })).await;
    assert_eq!(response.headers()["x-accel-buffering"], "no");
    assert!(!response.headers().contains_key("mcp-session-id"));
    let text = text(response).await;
    assert!(!text.contains("id: ") && !text.contains("retry:") && !text.contains("kept"), "{text}");
    assert!(!text.contains("roots/list") && text.ends_with("\n\n"), "{text}");
    assert_eq!(text.matches("data:").count(), 2, "{text}");

    let response = ask_as(&rig, "application/json", "tools/call", json!({ "name": "t" })).await;
    assert!(response.body().note().unwrap().reason.as_ref().unwrap().starts_with("2 "));
    assert_eq!(value(response).await["id"], "a");
    let response = ask_as(&rig, "text/event-stream", "tools/call", json!({ "name": "t" })).await;
    assert_eq!(messages(response).await.len(), 2);
}

fn note_message(n: i64) -> Message {
    Message::notification("notifications/message", &json!({ "n": n })).unwrap()
}

#[tokio::test]
async fn a_stream_that_is_only_an_answer_is_json() {
    let rig = rig(streaming(|| stream::iter([Ok(answer())]).boxed()));
    assert_eq!(value(ask(&rig, "tools/list", json!({})).await).await["id"], "a");
}

#[tokio::test]
async fn a_stream_that_breaks_ends_with_an_error() {
    for broken in [true, false] {
        let rig = rig(streaming(move || {
            let error = TransportError::new(ErrorKind::Closed, "it broke");
            let rest = broken.then_some(Err(error));
            stream::iter([Ok(note(1))].into_iter().chain(rest)).boxed()
        }));
        let messages = messages(ask(&rig, "tools/call", json!({ "name": "t" })).await).await;
        assert_eq!(messages.len(), 2);
        assert_eq!(
            (&messages[1]["id"], &messages[1]["error"]["code"]),
            (&json!("a"), &json!(-32603))
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_subscription_stays_open_and_is_kept_alive() {
    let rig = rig(streaming(|| stream::iter([Ok(note(1))]).chain(stream::pending()).boxed()));
    let begun = Instant::now();
    let response = ask(&rig, "subscriptions/listen", json!({ "notifications": {} })).await;
    assert_eq!(response.status(), 200);
    let mut body = response.into_body();
    let mut seen = Vec::new();
    for _ in 0..4 {
        seen.push((begun.elapsed().as_secs(), next(&mut body).await.unwrap()));
    }
    assert_eq!((&*seen[0].1, seen[0].0), (": \n\n", 0));
    assert!(seen[1].1.starts_with("data: ") || seen[1].1.contains("event: message"), "{seen:?}");
    let comments: Vec<u64> =
        seen.iter().filter(|(_, text)| text.starts_with(':')).map(|(at, _)| *at).collect();
    assert!(comments.contains(&15), "{seen:?}");

    let response = ask_as(&rig, "application/json", "subscriptions/listen", json!({})).await;
    assert_eq!(response.status(), 406);
}

#[tokio::test(start_paused = true)]
async fn what_takes_long_is_answered_by_a_stream() {
    let rig = rig(Fake::new(async |exchange: Exchange| {
        tokio::time::sleep(Duration::from_secs(20)).await;
        echo(exchange).await
    }));
    let begun = Instant::now();
    let response = ask(&rig, "tools/call", json!({ "name": "t" })).await;
    assert_eq!(begun.elapsed().as_secs(), 15);
    let messages = messages(response).await;
    assert_eq!((begun.elapsed().as_secs(), &messages[0]["id"]), (20, &json!("a")));
}

/// Says so when it is dropped.
struct Dropped(Option<oneshot::Sender<()>>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.take().unwrap().send(()).ok();
    }
}

#[tokio::test]
async fn who_goes_away_takes_the_request_back() {
    // Before anything was said.
    let (gone, went) = oneshot::channel();
    let held = Mutex::new(Some(Dropped(Some(gone))));
    let silent = rig(Fake::new(move |_| {
        let held = held.lock().unwrap().take();
        async move {
            let _held = held;
            future::pending().await
        }
    }));
    let asking = ask(&silent, "tools/call", json!({ "name": "t" }));
    assert!(asking.now_or_never().is_none());
    went.await.unwrap();

    // In the middle of a stream.
    let (gone, went) = oneshot::channel();
    let held = Mutex::new(Some(Dropped(Some(gone))));
    let talking = rig(streaming(move || {
        let held = held.lock().unwrap().take();
        let rest = stream::pending().inspect(move |_: &Result<Event, TransportError>| {
            let _: &Option<Dropped> = &held;
        });
        stream::iter([Ok(note(1))]).chain(rest).boxed()
    }));
    let mut body = ask(&talking, "tools/call", json!({ "name": "t" })).await.into_body();
    next(&mut body).await.unwrap();
    drop(body);
    went.await.unwrap();
}

#[tokio::test]
async fn fields_are_compared_with_the_body() {
    let rig = rig(Fake::new(echo));
    let request = body("tools/call", json!({ "name": "t" }));
    let fields =
        [("mcp-protocol-version", "2026-07-28"), ("mcp-method", "tools/call"), ("mcp-name", "u")];
    let response = rig.post(&fields, request.clone()).await;
    assert_eq!(response.status(), 400);
    let answer = value(response).await;
    assert_eq!((&answer["id"], &answer["error"]["code"]), (&json!("a"), &json!(-32020)));
    assert!(answer["error"]["message"].as_str().unwrap().contains("`Mcp-Name`"), "{answer}");
    // Several parts of one body are one, whoever hands it in.
    let whole = Request::post("/a/mcp").header("content-type", "application/json");
    let response = rig.send(whole.body(Outgoing::whole(request)).unwrap()).await;
    assert_eq!(value(response).await["error"]["code"], -32020);
    assert_eq!(rig.fake.opened(), 0);
}

/// What a server behind has no fields for, over stdio, is compared here.
#[tokio::test]
async fn what_lists_say_of_fields_is_held_against_them() {
    let tools = json!({ "tools": [
        { "name": "t", "inputSchema": { "type": "object", "properties": {
            "region": { "type": "string", "x-mcp-header": "Region" } } } },
        { "name": "bad", "inputSchema": { "type": "object", "properties": {
            "it": { "type": "string", "x-mcp-header": "not a token" } } } },
    ] });
    for accept in [BOTH, "application/json", "text/event-stream"] {
        let tools = tools.clone();
        let rig = rig(Fake::new(move |exchange| {
            let id = exchange.message.id().unwrap().clone();
            let answer = Message::response(&id, &tools).unwrap();
            future::ready(Ok(Reply::Single(answer)))
        }));
        let call = || body("tools/call", json!({ "name": "t", "arguments": { "region": "eu" } }));
        let fields = |region: &'static str| {
            [
                ("accept", BOTH),
                ("mcp-protocol-version", "2026-07-28"),
                ("mcp-method", "tools/call"),
                ("mcp-name", "t"),
                ("mcp-param-region", region),
            ]
        };
        // Not known yet.
        assert_eq!(rig.post(&fields("us"), call()).await.status(), 200);
        let listed = ask_as(&rig, accept, "tools/list", json!({})).await;
        let listed = text(listed).await;
        assert!(listed.contains(r#""name":"t""#) && !listed.contains("bad"), "{listed}");
        let refused = rig.post(&fields("us"), call()).await;
        assert_eq!(refused.status(), 400);
        assert_eq!(value(refused).await["error"]["code"], -32020);
        assert_eq!(rig.post(&fields("=?base64?ZXU=?="), call()).await.status(), 200);
    }
}

/// A client is not told two things.
#[tokio::test]
async fn what_a_server_discovers_is_what_there_is_to_choose_from() {
    let rig = rig(Fake::new(|exchange: Exchange| {
        let versions = json!({ "supportedVersions": ["2026-07-28", "2027-01-01"] });
        let id = exchange.message.id().unwrap().clone();
        future::ready(Ok(Reply::Single(Message::response(&id, &versions).unwrap())))
    }));
    let refused = async || {
        let asked = body("tools/list", json!({})).replace("2026-07-28", "1999-01-01");
        let fields = [("mcp-protocol-version", "1999-01-01"), ("mcp-method", "tools/list")];
        let response = rig.post(&fields, asked).await;
        assert_eq!(response.status(), 400);
        let answer = value(response).await;
        assert_eq!(answer["error"]["code"], -32022, "{answer}");
        answer["error"]["data"]["supported"].as_array().unwrap().len()
    };
    assert_eq!(refused().await, 5);
    ask(&rig, "server/discover", json!({})).await;
    assert_eq!(refused().await, 2);
}
