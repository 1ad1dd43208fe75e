//! 2026-07-28: sessions that are none.

use serde_json::Value;
use tokio::io::AsyncReadExt;

use super::*;

const EVENTS: &str = "content-type: text/event-stream\n";

async fn modern(connect: &impl Transport) -> Result<Arc<dyn Session>, TransportError> {
    let version = Some(ProtocolVersion::V2026_07_28);
    let opening = Opening { caller: Caller::anonymous(), version, at: Arc::from("/") };
    connect.open(opening).await
}

/// A session with a server that answers by `answer`.
async fn session<F>(
    answer: impl Fn(RawRequest, TcpStream) -> F + Send + Sync + 'static,
) -> Arc<dyn Session>
where
    F: Future<Output = Option<TcpStream>> + Send + 'static,
{
    let address = raw::serve(answer).await;
    let target = target(&format!("http://{address}/mcp"));
    modern(&Connect::new(target, HttpClient::default(), quick())).await.unwrap()
}

fn ask(method: &str, mut params: Value) -> Exchange {
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": { "x": 1 },
        "progressToken": 1,
    });
    let message = Message::request(&"a".into(), method, &params).unwrap();
    let version = Some(ProtocolVersion::V2026_07_28);
    Exchange { version, ..Exchange::new(message, Caller::anonymous()) }
}

/// What was posted: the method, and the fields of these names.
fn shown(request: &RawRequest, names: &[&str]) -> String {
    let rpc = request.rpc_method_or_none().unwrap_or_default();
    let fields: Vec<&str> = names.iter().map(|name| request.header(name)).collect();
    format!("{} {rpc} {}", request.method, fields.join("|"))
}

fn answer(request: &RawRequest, result: &Value) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{},"result":{result}}}"#, request.id())
}

fn error(request: &RawRequest, code: i64) -> String {
    let id = request.id();
    format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":{code},"message":"its words"}}}}"#)
}

#[tokio::test]
async fn fields_are_made_from_the_body() {
    let (heard, mut hear) = mpsc::channel(9);
    let session = session(move |request, stream| {
        let names = [
            "accept",
            "mcp-protocol-version",
            "mcp-method",
            "mcp-name",
            "mcp-session-id",
            "traceparent",
        ];
        heard.try_send(shown(&request, &names)).unwrap();
        async move {
            let body = empty_result(&request);
            let status = if request.body.contains("\"id\"") { "200 OK" } else { "202 Accepted" };
            raw::reply(stream, status, JSON, &body).await
        }
    })
    .await;
    let both = "application/json, text/event-stream|2026-07-28";
    for (method, params, expect) in [
        ("server/discover", json!({}), "server/discover|||"),
        ("tools/call", json!({ "name": "t" }), "tools/call|t||"),
        ("tools/call", json!({ "name": "Zürich" }), "tools/call|=?base64?WsO8cmljaA==?=||"),
        ("tools/call", json!({ "name": 1 }), "tools/call|||"),
        ("prompts/get", json!({ "name": "a b" }), "prompts/get|a b||"),
        ("resources/read", json!({ "uri": "f:\n" }), "resources/read|=?base64?Zjo=?=||"),
        ("tasks/get", json!({ "taskId": "7" }), "tasks/get|7||"),
    ] {
        let mut asked = ask(method, params);
        // Mirrored by whoever was before: the body counts.
        asked.carried.push(("traceparent".into(), "00-1".into()));
        assert_eq!(single(session.send(asked).await).id(), Some(&"a".into()));
        let expect = expect.replace("=?base64?Zjo=?=", "=?base64?ZjoK?=");
        assert_eq!(hear.recv().await.unwrap(), format!("POST {method} {both}|{expect}00-1"));
    }
    for (method, posted) in [("notifications/cancelled", false), ("notifications/x", true)] {
        let told = Message::notification(method, &json!({ "requestId": "a" })).unwrap();
        let told = session.send(Exchange::new(told, Caller::anonymous())).await;
        assert!(matches!(told, Ok(Reply::Accepted)), "{told:?}");
        let expect = posted.then(|| format!("POST {method} {both}|{method}|||"));
        assert_eq!(hear.try_recv().ok(), expect);
    }
    assert_eq!(session.endpoint().session, None);
    assert_eq!(*session.listen(None).await.err().unwrap().kind(), ErrorKind::Unsupported);
    let answer = Message::response(&1.into(), &json!({})).unwrap();
    let refused = session.send(Exchange::new(answer, Caller::anonymous())).await.unwrap_err();
    assert_eq!(*refused.kind(), ErrorKind::Invalid(-32600));
    let refused = session.send(ask("tools/call", json!({ "name": "x".repeat(9000) }))).await;
    assert_eq!(*refused.unwrap_err().kind(), ErrorKind::Invalid(-32602));
    session.close().await;
    assert!(hear.try_recv().is_err());
}

fn tools(header: &str) -> Value {
    let tool = |name: &str, header: &str| {
        let region = json!({ "type": "string", "x-mcp-header": header });
        json!({ "name": name, "inputSchema": { "type": "object", "properties": { "region": region } } })
    };
    json!({ "tools": [tool("t", header), tool("bad", "no token")], "resultType": "complete" })
}

#[tokio::test]
async fn parameters_are_mirrored_as_the_lists_say() {
    for as_events in [false, true] {
        let (heard, mut hear) = mpsc::channel(9);
        let session = session(move |request, mut stream| {
            heard.try_send(shown(&request, &["mcp-param-region", "mcp-param-other"])).unwrap();
            async move {
                let lists = request.rpc_method_or_none().as_deref() == Some("tools/list");
                let result = if lists { tools("Region") } else { json!({}) };
                let body = answer(&request, &result);
                if as_events {
                    raw::events(&mut stream, "").await;
                    raw::event(&mut stream, &body).await;
                    return None;
                }
                raw::reply(stream, "200 OK", JSON, &body).await
            }
        })
        .await;
        let call = || {
            let mut call =
                ask("tools/call", json!({ "name": "t", "arguments": { "region": "eu" } }));
            call.carried.push(("mcp-param-region".into(), "us".into()));
            call.carried.push(("mcp-param-other".into(), "1".into()));
            call
        };
        // Nothing is known: what came is passed on.
        single(session.send(call()).await);
        assert_eq!(hear.recv().await.unwrap(), "POST tools/call us|1");
        let list: Value = single(session.send(ask("tools/list", json!({}))).await).read().unwrap();
        assert_eq!(list["tools"].as_array().unwrap().len(), 1);
        assert_eq!(
            (&list["tools"][0]["name"], &list["resultType"]),
            (&json!("t"), &json!("complete"))
        );
        assert_eq!(hear.recv().await.unwrap(), "POST tools/list |");
        single(session.send(call()).await);
        assert_eq!(hear.recv().await.unwrap(), "POST tools/call eu|1");
    }
}

#[tokio::test]
async fn a_mismatch_is_asked_again_once_with_what_the_tools_say_now() {
    // What the list says by then; whether that helps; how often the tool was asked for.
    for (says, code, posts) in [
        ("Region", None, vec!["tools/call ", "tools/list ", "tools/call eu"]),
        ("Other", Some(-32020), vec!["tools/call ", "tools/list ", "tools/call "]),
        ("no token", Some(-32020), vec!["tools/call ", "tools/list "]),
    ] {
        let (heard, mut hear) = mpsc::channel(9);
        let session = session(move |request, stream| {
            heard.try_send(shown(&request, &["mcp-param-region"])).unwrap();
            async move {
                if request.rpc_method_or_none().as_deref() == Some("tools/list") {
                    assert!(
                        request
                            .body
                            .contains(r#""io.modelcontextprotocol/clientCapabilities":{"x":1}"#)
                    );
                    let body = answer(&request, &tools(says));
                    return raw::reply(stream, "200 OK", JSON, &body).await;
                }
                if request.header("mcp-param-region") == "eu" {
                    let body = empty_result(&request);
                    return raw::reply(stream, "200 OK", JSON, &body).await;
                }
                raw::reply(stream, "400 Bad Request", JSON, &error(&request, -32020)).await
            }
        })
        .await;
        let call = ask("tools/call", json!({ "name": "t", "arguments": { "region": "eu" } }));
        let answer = single(session.send(call).await);
        let found = answer.read::<Value>().unwrap()["code"].as_i64();
        assert_eq!(found, code, "{says}");
        for expect in posts {
            assert_eq!(hear.recv().await.unwrap(), format!("POST {expect}"), "{says}");
        }
        assert!(hear.try_recv().is_err());
    }
}

#[tokio::test]
async fn what_a_first_request_finds_out() {
    let rpc = |code: i64| {
        format!(r#"{{"jsonrpc":"2.0","id":"a","error":{{"code":{code},"message":"m"}}}}"#)
    };
    let null = r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"m"}}"#;
    let status = |it| Err(ErrorKind::Status(it));
    let result = r#"{"jsonrpc":"2.0","id":"a","result":{"supportedVersions":[]}}"#;
    for (line, fields, body, discover, list) in [
        ("200 OK", JSON, result.to_owned(), Ok(0), Ok(0)),
        ("200 OK", JSON, rpc(-32601), Ok(-32601), Ok(-32601)),
        ("400 Bad Request", JSON, rpc(-32022), Ok(-32022), Ok(-32022)),
        ("400 Bad Request", JSON, rpc(-32600), Ok(-32600), Ok(-32600)),
        ("400 Bad Request", JSON, null.to_owned(), Ok(-32000), Ok(-32000)),
        ("400 Bad Request", JSON, String::new(), status(400), status(400)),
        (
            "404 Not Found",
            "content-type: text/html\n",
            "<html>".to_owned(),
            status(404),
            status(404),
        ),
        ("405 Method Not Allowed", JSON, "{}".to_owned(), status(405), status(405)),
        ("406 Not Acceptable", JSON, null.to_owned(), Ok(-32000), Ok(-32000)),
        (
            "401 Unauthorized",
            JSON,
            rpc(-32600),
            Err(ErrorKind::Unauthorized(None)),
            Err(ErrorKind::Unauthorized(None)),
        ),
        ("403 Forbidden", JSON, rpc(-32000), status(403), Ok(-32000)),
        ("408 Request Timeout", JSON, rpc(-32000), status(408), Ok(-32000)),
        ("429 Too Many Requests", JSON, rpc(-32000), status(429), status(429)),
        ("500 Oops", JSON, rpc(-32603), status(500), Ok(-32603)),
        ("500 Oops", JSON, rpc(-32022), Ok(-32022), Ok(-32022)),
        ("502 Bad Gateway", "", String::new(), status(502), status(502)),
        ("503 Not Now", JSON, rpc(-32603), status(503), status(503)),
        (
            "200 OK",
            "content-type: text/html\n",
            "<html>".to_owned(),
            Err(ErrorKind::Protocol),
            Err(ErrorKind::Protocol),
        ),
        ("202 Accepted", "", String::new(), Err(ErrorKind::Protocol), Err(ErrorKind::Protocol)),
        ("200 OK", JSON, "[]".to_owned(), Err(ErrorKind::Protocol), Err(ErrorKind::Protocol)),
    ] {
        let shown = format!("{line} {body}");
        let session = session(move |_, stream| {
            let body = body.clone();
            async move { raw::reply(stream, line, fields, &body).await }
        })
        .await;
        for (method, expect) in [("server/discover", discover), ("tools/list", list)] {
            let found = match session.send(ask(method, json!({}))).await {
                Ok(reply) => {
                    let answer = single(Ok(reply));
                    assert_eq!(answer.id(), Some(&"a".into()));
                    Ok(answer.read::<Value>().unwrap()["code"].as_i64().unwrap_or_default())
                }
                Err(error) => Err(error.kind().clone()),
            };
            assert_eq!(found, expect, "{method} {shown}");
        }
    }
}

#[tokio::test]
async fn a_stream_holds_notifications_and_the_answer_and_is_never_resumed() {
    for (ends, last) in [(true, "{}"), (false, "ended before the answer came")] {
        let (heard, mut hear) = mpsc::channel(9);
        let session = session(move |request, mut stream| {
            heard.try_send(request.method.clone()).unwrap();
            async move {
                let progress = r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{}}"#;
                let question = r#"{"jsonrpc":"2.0","id":1,"method":"roots/list"}"#;
                raw::events(&mut stream, "").await;
                stream.write_all(b": \n\nid: 7\nretry: 1\ndata: \n\n").await.unwrap();
                for data in [progress, question, progress] {
                    stream.write_all(format!("id: 8\ndata: {data}\n\n").as_bytes()).await.unwrap();
                }
                if ends {
                    raw::event(&mut stream, &empty_result(&request)).await;
                }
                None
            }
        })
        .await;
        let Ok(Reply::Stream(events)) =
            session.send(ask("tools/call", json!({ "name": "t" }))).await
        else {
            panic!("no stream")
        };
        let said: Vec<_> = events.collect().await;
        assert_eq!(said.len(), 3, "{said:?}");
        for event in &said[..2] {
            let Ok(Event::Message { id: None, message }) = event else { panic!("{event:?}") };
            assert_eq!(message.method(), Some("notifications/progress"));
        }
        match &said[2] {
            Ok(Event::Message { message, .. }) => assert_eq!(message.body(), Some(last)),
            Ok(other) => panic!("{other:?}"),
            Err(error) => {
                assert_eq!(*error.kind(), ErrorKind::Closed);
                let said = error.said().to_string();
                assert!(
                    said.contains(last) && said.contains("may have been carried out"),
                    "{said}"
                );
            }
        }
        assert_eq!((hear.recv().await.as_deref(), hear.try_recv().ok()), (Some("POST"), None));
    }
}

#[tokio::test]
async fn to_drop_a_reply_closes_it() {
    // In the middle of a stream, and before anything is said.
    for begins in [true, false] {
        let (heard, mut hear) = mpsc::channel(9);
        let session = session(move |_, mut stream| {
            let heard = heard.clone();
            async move {
                heard.send("asked").await.unwrap();
                if begins {
                    raw::events(&mut stream, "").await;
                    raw::event(&mut stream, r#"{"jsonrpc":"2.0","method":"n"}"#).await;
                }
                let rest = stream.read(&mut [0; 9]).await;
                heard
                    .send(if rest.is_ok_and(|len| 0 < len) { "more" } else { "closed" })
                    .await
                    .unwrap();
                None
            }
        })
        .await;
        let sending = session.send(ask("subscriptions/listen", json!({ "notifications": {} })));
        if begins {
            drop(sending.await.unwrap());
            assert_eq!(hear.recv().await, Some("asked"));
        } else {
            tokio::select! {
                reply = sending => panic!("{reply:?}"),
                asked = hear.recv() => assert_eq!(asked, Some("asked")),
            }
        }
        assert_eq!(hear.recv().await, Some("closed"));
    }
}

#[tokio::test]
async fn a_session_nobody_asked_for_is_ended() {
    let (heard, mut hear) = mpsc::channel(9);
    let session = session(move |request, stream| {
        heard.try_send(shown(&request, &["mcp-session-id"])).unwrap();
        async move {
            let fields = format!("{JSON}mcp-session-id: stray\n");
            raw::reply(stream, "400 Bad Request", &fields, &error(&request, -32600)).await
        }
    });
    let session = session.await;
    single(session.send(ask("server/discover", json!({}))).await);
    assert_eq!(hear.recv().await.unwrap(), "POST server/discover ");
    assert_eq!(hear.recv().await.unwrap(), "DELETE  stray");
}

#[tokio::test]
async fn bounds() {
    for (fields, len, kind) in
        [(JSON, 2000, ErrorKind::TooLarge), (EVENTS, 200_000, ErrorKind::TooLarge)]
    {
        let address = raw::serve(move |_, stream| async move {
            raw::reply(stream, "200 OK", fields, &format!("data: {}\n\n", "x".repeat(len))).await
        })
        .await;
        let limits = Limits { message_len_max: 1000, ..Limits::default() };
        let options = ClientOptions { limits, ..quick() };
        let target = target(&format!("http://{address}/mcp"));
        let connect = Connect::new(target, HttpClient::default(), options);
        let session = modern(&connect).await.unwrap();
        let error = session.send(ask("tools/list", json!({}))).await.unwrap_err();
        assert_eq!(*error.kind(), kind, "{error}");
    }
}

#[tokio::test]
async fn a_list_without_an_end_is_walked_so_far() {
    let lists = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&lists);
    let session = session(move |request, stream| {
        let count = Arc::clone(&count);
        async move {
            if request.rpc_method_or_none().as_deref() != Some("tools/list") {
                return raw::reply(stream, "400 Bad Request", JSON, &error(&request, -32020)).await;
            }
            let page = count.fetch_add(1, Ordering::SeqCst);
            assert_eq!(request.body.contains(r#""cursor":"more""#), 0 < page);
            let body = answer(&request, &json!({ "tools": [], "nextCursor": "more" }));
            raw::reply(stream, "200 OK", JSON, &body).await
        }
    })
    .await;
    single(session.send(ask("tools/call", json!({ "name": "t" }))).await);
    assert_eq!(lists.load(Ordering::SeqCst), 64);
}

#[tokio::test]
async fn where_only_the_url_is_known_nothing_else_is_tried() {
    let (heard, mut hear) = mpsc::channel(9);
    let address = raw::serve(move |request, mut stream| {
        heard.try_send(request.method.clone()).unwrap();
        async move {
            if request.method == "GET" {
                raw::events(&mut stream, "").await;
                stream.write_all(b"event: endpoint\ndata: /m\n\n").await.unwrap();
                return Some(stream);
            }
            raw::reply(stream, "405 Method Not Allowed", "", "").await
        }
    })
    .await;
    let target = || target(&format!("http://{address}/x"));
    let http = HttpClient::default();
    let sse = sse::Connect::new(target(), http.clone(), sse::ClientOptions::default());
    let auto = Auto::new(Connect::new(target(), http, quick()), sse);
    let session = modern(&auto).await.unwrap();
    let error = session.send(ask("server/discover", json!({}))).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Status(405));
    assert_eq!((hear.recv().await.as_deref(), hear.try_recv().ok()), (Some("POST"), None));
    // A handshake finds out that it is the other one, which has no such revision.
    let legacy = open(&auto).await;
    assert!(legacy.send(request(0, "initialize")).await.is_err());
    assert_eq!(*modern(&auto).await.unwrap_err().kind(), ErrorKind::Unsupported);
}
