//! The client half.

mod auto;
mod modern;
mod streams;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::StreamExt;
use mcp_jsonrpc::{
    Id, Limits, Message, ProtocolVersion,
    transport::{
        Caller, ErrorKind, Event, Exchange, Opening, Reply, Session, SessionId, Transport,
        TransportError,
    },
};
use serde_json::json;
use tokio::{io::AsyncWriteExt, net::TcpStream, sync::mpsc};
use transport_sse::{
    client as sse,
    http::{HttpClient, HttpTarget},
};
use transport_streamable::client::{Auto, ClientOptions, Connect};

use crate::raw::{self, RawRequest};

const JSON: &str = "content-type: application/json\n";

fn target(url: &str) -> HttpTarget {
    HttpTarget::new("pg", url, [("Authorization", "Bearer t")]).unwrap()
}

fn quick() -> ClientOptions {
    let resume_wait = Duration::from_millis(1);
    ClientOptions { resume_wait, ..ClientOptions::default() }
}

async fn open(connect: &impl Transport) -> Arc<dyn Session> {
    let at = Arc::from("/");
    let opening = Opening { caller: Caller::anonymous(), version: None, at };
    connect.open(opening).await.unwrap()
}

/// A session with a server that answers by `answer`.
async fn session<F>(
    options: ClientOptions,
    answer: impl Fn(RawRequest, TcpStream) -> F + Send + Sync + 'static,
) -> Arc<dyn Session>
where
    F: Future<Output = Option<TcpStream>> + Send + 'static,
{
    let address = raw::serve(answer).await;
    let target = target(&format!("http://{address}/mcp?k=1"));
    open(&Connect::new(target, HttpClient::default(), options)).await
}

fn request(id: i64, method: &str) -> Exchange {
    let message = Message::request(&id.into(), method, &json!({ "name": "x" })).unwrap();
    Exchange::new(message, Caller::anonymous())
}

fn call(id: i64) -> Exchange {
    request(id, "tools/call")
}

fn initialized() -> Exchange {
    let message = Message::notification("notifications/initialized", &json!({})).unwrap();
    Exchange::new(message, Caller::anonymous())
}

fn single(reply: Result<Reply, TransportError>) -> Message {
    match reply {
        Ok(Reply::Single(message)) => message,
        other => panic!("{other:?}"),
    }
}

fn empty_result(request: &RawRequest) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{},"result":{{}}}}"#, request.id())
}

/// Does what a server has to do: a session, a revision, answers in JSON.
async fn proper(request: RawRequest, stream: TcpStream) -> Option<TcpStream> {
    match (request.method.as_str(), request.rpc_method_or_none().as_deref()) {
        ("DELETE", _) => raw::reply(stream, "200 OK", "", "").await,
        (_, Some("initialize")) => {
            let result = r#"{"protocolVersion":"2025-06-18","capabilities":{},"serverInfo":{}}"#;
            let body = empty_result(&request).replace("{}", result);
            let fields = format!("{JSON}mcp-session-id: s-1\n");
            raw::reply(stream, "200 OK", &fields, &body).await
        }
        (_, Some("notifications/initialized" | "notifications/cancelled")) => {
            raw::reply(stream, "202 Accepted", "", "").await
        }
        _ => {
            let body = empty_result(&request);
            raw::reply(stream, "200 OK", JSON, &body).await
        }
    }
}

#[tokio::test]
async fn fields_of_a_session() {
    let (heard, mut hear) = mpsc::channel(9);
    let session = session(ClientOptions::default(), move |request, stream| {
        let fields = [
            "accept",
            "content-type",
            "mcp-session-id",
            "mcp-protocol-version",
            "authorization",
            "origin",
            "mcp-method",
            "traceparent",
        ];
        let shown = fields.map(|name| request.header(name).to_owned()).join("|");
        heard.try_send(format!("{} {} {shown}", request.method, request.path)).unwrap();
        proper(request, stream)
    })
    .await;
    assert_eq!(session.endpoint().session, None);
    single(session.send(request(0, "initialize")).await);
    assert_eq!(session.endpoint().session, SessionId::new("s-1"));
    session.send(initialized()).await.unwrap();
    let mut named = call(1);
    named.version = Some(ProtocolVersion::V2025_03_26);
    named.carried.push(("traceparent".into(), "00-1".into()));
    assert_eq!(single(session.send(named).await).id(), Some(&1.into()));
    session.close().await;

    let both = "application/json, text/event-stream|application/json";
    for expect in [
        format!("POST /mcp?k=1 {both}|||Bearer t|||"),
        format!("POST /mcp?k=1 {both}|s-1|2025-06-18|Bearer t|||"),
        format!("POST /mcp?k=1 {both}|s-1|2025-03-26|Bearer t|||00-1"),
        "DELETE /mcp?k=1 */*||s-1|2025-06-18|Bearer t|||".to_owned(),
    ] {
        assert_eq!(hear.recv().await.unwrap(), expect);
    }
}

#[tokio::test]
async fn a_session_that_is_let_go_of_is_ended() {
    let (heard, mut hear) = mpsc::channel(9);
    let session = session(ClientOptions::default(), move |request, stream| {
        heard.try_send(request.method.clone()).unwrap();
        proper(request, stream)
    })
    .await;
    single(session.send(request(0, "initialize")).await);
    drop(session);
    assert_eq!(hear.recv().await.unwrap(), "POST");
    assert_eq!(hear.recv().await.unwrap(), "DELETE");
}

#[tokio::test]
async fn answers_of_every_kind() {
    // What the server writes; what comes of it.
    for (fields, body, expect) in [
        (JSON, r#"{"jsonrpc":"2.0","id":1,"result":{}}"#, "single"),
        ("", r#"{"jsonrpc":"2.0","id":1,"result":{}}"#, "single"),
        (JSON, r#"{"jsonrpc":"2.0","error":{"code":-1,"message":"m"}}"#, "single"),
        (
            JSON,
            r#"[{"jsonrpc":"2.0","method":"n"},{"jsonrpc":"2.0","id":1,"result":{}}]"#,
            "n,single",
        ),
        (JSON, r#"{"jsonrpc":"2.0","id":2,"result":{}}"#, "it answered another request"),
        (JSON, "{", "no JSON-RPC message"),
        (JSON, "", "without answering it"),
        ("content-type: text/html\n", "<html>", "answered with text/html instead"),
        (
            "content-type: text/event-stream\n",
            "data: {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}\n\n",
            "single",
        ),
        (
            "content-type: text/event-stream\n",
            "data: {\"jsonrpc\":\"2.0\",\"method\":\"n\"}\n\ndata: {\"jsonrpc\":\"2.0\",\"id\":9,\"result\":{}}\n\n\
             data: {\"jsonrpc\":\"2.0\",\"id\":\"server-error\",\"error\":{\"code\":-1,\"message\":\"m\"}}\n\n",
            "n,single",
        ),
        ("content-type: text/event-stream\n", "data: nonsense\n\n", "what is no message"),
        (
            "content-type: text/event-stream\n",
            ": \n\ndata: {\"json",
            "ended before the answer came",
        ),
    ] {
        let session =
            session(quick(), move |_, stream| raw::reply(stream, "200 OK", fields, body)).await;
        let found = match session.send(call(1)).await {
            Ok(Reply::Stream(events)) => {
                let events = events.map(|event| match event.unwrap() {
                    Event::Message { message, .. } if message.is_answer() => {
                        assert_eq!(message.id(), Some(&Id::from(1)));
                        "single".to_owned()
                    }
                    Event::Message { message, .. } => message.method().unwrap().to_owned(),
                    Event::Pause { .. } => "pause".to_owned(),
                });
                events.collect::<Vec<_>>().await.join(",")
            }
            Ok(Reply::Single(message)) => {
                assert_eq!(message.id(), Some(&Id::from(1)));
                "single".to_owned()
            }
            Ok(Reply::Accepted) => "accepted".to_owned(),
            Err(error) => error.to_string(),
        };
        assert!(found.contains(expect), "{body}: {found}");
    }
}

#[tokio::test]
async fn refusals() {
    let rpc = r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"no such tool"}}"#;
    let no_id = r#"{"jsonrpc":"2.0","error":{"code":-32600,"message":"odd"},"id":null}"#;
    for (status, body, kind, words) in [
        ("404 Not Found", "", Some(ErrorKind::NoSession), "open another"),
        ("404 Not Found", rpc, Some(ErrorKind::NoSession), "open another"),
        (
            "400 Bad Request",
            "Bad Request: no valid SESSION id",
            Some(ErrorKind::NoSession),
            "open another",
        ),
        ("400 Bad Request", rpc, None, "no such tool"),
        ("500 Oops", no_id, None, "odd"),
        ("500 Oops", "<html>", Some(ErrorKind::Status(500)), "its own log"),
        (
            "401 Unauthorized",
            rpc,
            Some(ErrorKind::Unauthorized(Some("Bearer".into()))),
            "credentials",
        ),
        ("403 Forbidden", "", Some(ErrorKind::Status(403)), "forbids"),
        ("308 Moved", "", Some(ErrorKind::Status(308)), "redirects are not followed"),
        ("503 Busy", no_id, Some(ErrorKind::Status(503)), "it says: odd"),
        ("429 Slow", rpc, Some(ErrorKind::Status(429)), "it says: no such tool"),
    ] {
        let session = session(quick(), move |request, stream| async move {
            match request.rpc_method_or_none().as_deref() {
                Some("initialize") => proper(request, stream).await,
                _ => raw::reply(stream, status, "www-authenticate: Bearer\n", body).await,
            }
        })
        .await;
        single(session.send(request(0, "initialize")).await);
        match session.send(call(1)).await {
            Ok(Reply::Single(message)) => {
                assert_eq!((message.id(), &kind), (Some(&Id::from(1)), &None), "{status} {body}");
                assert!(message.body().unwrap().contains(words));
            }
            Err(error) => {
                assert_eq!(Some(error.kind()), kind.as_ref(), "{status} {body}");
                assert!(error.said().to_string().contains(words), "{}", error.said());
            }
            Ok(other) => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_400_is_taken_for_the_end_of_the_session_once() {
    let session = session(quick(), async |request, stream| {
        if request.rpc_method_or_none().as_deref() == Some("initialize") {
            return proper(request, stream).await;
        }
        raw::reply(stream, "400 Bad Request", "", "session missing").await
    })
    .await;
    single(session.send(request(0, "initialize")).await);
    assert_eq!(*session.send(call(1)).await.unwrap_err().kind(), ErrorKind::NoSession);
    assert_eq!(*session.send(call(2)).await.unwrap_err().kind(), ErrorKind::Status(400));
}

#[tokio::test]
async fn an_abandoned_request_is_cancelled() {
    let (heard, mut hear) = mpsc::channel(9);
    let session = session(quick(), move |request, mut stream| {
        heard.try_send((request.rpc_method_or_none(), request.body.clone())).unwrap();
        async move {
            match request.rpc_method_or_none().as_deref() {
                Some("tools/call") => {
                    if request.id() == "2" {
                        raw::events(&mut stream, "").await;
                        raw::event(&mut stream, r#"{"jsonrpc":"2.0","method":"n"}"#).await;
                    }
                    futures::future::pending().await
                }
                _ => proper(request, stream).await,
            }
        }
    })
    .await;
    for id in [1, 2] {
        let mut sending = session.send(call(id));
        let reply = tokio::select! {
            reply = &mut sending => Some(reply.unwrap()),
            heard = hear.recv(), if id == 1 => {
                assert_eq!(heard.unwrap().0.unwrap(), "tools/call");
                None
            }
        };
        assert_eq!(matches!(reply, Some(Reply::Stream(_))), id == 2);
        drop((sending, reply));
        if id == 2 {
            hear.recv().await.unwrap();
        }
        let (method, body) = hear.recv().await.unwrap();
        assert_eq!(method.unwrap(), "notifications/cancelled");
        assert!(body.contains(&format!(r#""requestId":{id}"#)), "{body}");
    }
}

/// Several clients may share a session: each hears of its own id, the server of no two alike.
#[tokio::test]
async fn equal_ids_are_told_apart() {
    let (heard, mut hear) = mpsc::channel(9);
    let both = Arc::new(tokio::sync::Barrier::new(2));
    let session = session(quick(), move |request, mut stream| {
        let (heard, both) = (heard.clone(), Arc::clone(&both));
        async move {
            if request.rpc_method_or_none().as_deref() != Some("tools/call") {
                return proper(request, stream).await;
            }
            heard.try_send(request.id()).unwrap();
            both.wait().await;
            if request.id() == "7" {
                return proper(request, stream).await;
            }
            raw::events(&mut stream, "").await;
            raw::event(&mut stream, r#"{"jsonrpc":"2.0","method":"n"}"#).await;
            raw::event(&mut stream, &empty_result(&request)).await;
            Some(stream)
        }
    })
    .await;
    for round in 1..=2 {
        let (one, other) = tokio::join!(session.send(call(7)), session.send(call(7)));
        for reply in [one.unwrap(), other.unwrap()] {
            let answer = match reply {
                Reply::Stream(events) => match events.collect::<Vec<_>>().await.pop() {
                    Some(Ok(Event::Message { message, .. })) => message,
                    other => panic!("{other:?}"),
                },
                reply => single(Ok(reply)),
            };
            assert_eq!(answer.id(), Some(&Id::from(7)));
        }
        let mut ids = [hear.recv().await.unwrap(), hear.recv().await.unwrap()];
        ids.sort();
        // The client's own is free again; of ours none is used twice.
        assert_eq!(ids, [format!("\"gateway-{round}\""), "7".to_owned()]);
    }
}

#[tokio::test]
async fn bounds_on_answers_and_on_patience() {
    let limits = Limits { message_len_max: 1000, ..Limits::default() };
    let options = ClientOptions { limits, ..quick() };
    for fields in [JSON, "content-type: text/event-stream\n"] {
        // The second is within what an event's fields may have besides.
        for len in [20_000, 1001] {
            let session = session(options.clone(), move |_, stream| async move {
                let body = format!("data: {}\n\n", "x".repeat(len));
                raw::reply(stream, "200 OK", fields, &body).await
            })
            .await;
            let error = session.send(call(1)).await.unwrap_err();
            assert_eq!(*error.kind(), ErrorKind::TooLarge, "{error}");
            let said = error.said().to_string();
            assert!(said.contains("`messageLenMax`; at most 1000 bytes"), "{said}");
        }
    }

    // What is no answer is read over.
    let fields = "content-type: text/event-stream\n";
    let going_on = session(options.clone(), move |request, stream| async move {
        let note =
            format!(r#"{{"jsonrpc":"2.0","method":"m","params":["{}"]}}"#, "x".repeat(20_000));
        let answer = format!(r#"{{"jsonrpc":"2.0","id":{},"result":{{}}}}"#, request.id());
        let body = format!("data: {note}\n\ndata: {answer}\n\n");
        raw::reply(stream, "200 OK", fields, &body).await
    })
    .await;
    assert!(matches!(going_on.send(call(1)).await.unwrap(), Reply::Single(_)));

    let short = Duration::from_millis(30);
    let options = ClientOptions {
        tell_timeout: short,
        body_timeout: short,
        idle_timeout: Some(short),
        ..quick()
    };
    let session = session(options, async |request, mut stream| {
        let head = match request.rpc_method_or_none().as_deref() {
            Some("tools/call") => "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{",
            Some("tools/list") => "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n",
            _ => "",
        };
        stream.write_all(head.as_bytes()).await.unwrap();
        futures::future::pending().await
    })
    .await;
    assert_eq!(*session.send(initialized()).await.unwrap_err().kind(), ErrorKind::Timeout);
    assert_eq!(*session.send(call(1)).await.unwrap_err().kind(), ErrorKind::Timeout);
    let error = session.send(request(2, "tools/list")).await.unwrap_err();
    assert!(error.to_string().contains("silent for too long"), "{error}");
}

#[tokio::test]
async fn a_connection_that_breaks() {
    let session = session(quick(), async |_, _| None).await;
    let error = session.send(call(1)).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Closed);
    assert!(!error.is_unsent());
    assert!(error.said().to_string().starts_with("server `pg`: the connection broke"), "{error}");
}
