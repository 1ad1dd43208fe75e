//! The client half.

use std::{sync::Arc, time::Duration};

use futures::StreamExt;
use mcp_jsonrpc::{
    Kind, Message,
    transport::{
        Caller, ErrorKind, Event, Exchange, Opening, Reply, Session, Transport, TransportError,
    },
};
use serde_json::json;
use tokio::{io::AsyncWriteExt, net::TcpStream, sync::Mutex};
use transport_sse::{
    client::{ClientOptions, Connect},
    http::{HttpClient, HttpTarget},
};

use crate::raw::{self, RawRequest};

fn connect_with(url: String, options: ClientOptions) -> Connect {
    let headers = [("Authorization", "Bearer t")];
    let target = HttpTarget::new("pg", &url, headers).unwrap();
    Connect::new(target, HttpClient::default(), options)
}

async fn open(connect: &Connect) -> Result<Arc<dyn Session>, TransportError> {
    let at = Arc::from("/");
    connect.open(Opening { caller: Caller::anonymous(), version: None, at }).await
}

fn call(id: i64) -> Exchange {
    let message = Message::request(&id.into(), "tools/call", &json!({ "name": "x" })).unwrap();
    Exchange::new(message, Caller::anonymous())
}

fn single(reply: Reply) -> Message {
    match reply {
        Reply::Single(message) => message,
        other => panic!("{other:?}"),
    }
}

type Streams = Arc<Mutex<Option<TcpStream>>>;

/// A server whose stream is kept in hand, and whose POSTs are answered by `post`.
async fn server<F>(
    endpoint: &'static str,
    post: impl Fn(RawRequest, TcpStream, Streams) -> F + Send + Sync + 'static,
) -> (String, Streams)
where
    F: Future<Output = Option<TcpStream>> + Send + 'static,
{
    let streams = Streams::default();
    let kept = Arc::clone(&streams);
    let address = raw::serve(move |request, mut stream| {
        let kept = Arc::clone(&kept);
        let posted = (request.method == "POST").then(|| request.body.clone());
        let answer = posted.is_some().then_some(&post);
        let (get, answer) = match answer {
            Some(post) => (None, Some(post(request, stream, Arc::clone(&kept)))),
            None => {
                assert_eq!(request.header("accept"), "text/event-stream");
                assert_eq!(request.header("authorization"), "Bearer t");
                assert!(!request.headers.contains_key("origin"));
                (
                    Some(async move {
                        raw::events(&mut stream, "").await;
                        let event = format!(": \n\nevent: endpoint\ndata: {endpoint}\n\n");
                        stream.write_all(event.as_bytes()).await.unwrap();
                        *kept.lock().await = Some(stream);
                    }),
                    None,
                )
            }
        };
        async move {
            if let Some(get) = get {
                get.await;
                return None;
            }
            answer?.await
        }
    })
    .await;
    (format!("http://{address}/a/sse"), streams)
}

/// Answers each request on the stream after accepting it.
async fn echo(request: RawRequest, stream: TcpStream, streams: Streams) -> Option<TcpStream> {
    assert_eq!(request.path, "/a/messages?session_id=s1");
    assert_eq!(request.header("authorization"), "Bearer t");
    assert_eq!(request.header("content-type"), "application/json");
    let stream = raw::reply(stream, "202 Accepted", "", "Accepted").await;
    if request.rpc_method_or_none().as_deref() == Some("tools/call") {
        let text = "x".repeat(200_000);
        let answer = json!({ "jsonrpc": "2.0", "id": 0, "result": { "text": text } }).to_string();
        let answer = answer.replace(":0,", &format!(":{},", request.id()));
        raw::event(streams.lock().await.as_mut().unwrap(), &answer).await;
    }
    stream
}

#[tokio::test]
async fn answers_of_more_than_64_kib_come_down_the_stream() {
    let (url, _) = server("messages?session_id=s1", echo).await;
    let session = open(&connect_with(url, ClientOptions::default())).await.unwrap();
    assert_eq!(session.endpoint().session.unwrap().as_str(), "s1");
    for id in [7, 8] {
        let answer = single(session.send(call(id)).await.unwrap());
        assert_eq!(answer.id(), Some(&id.into()));
        assert!(200_000 < answer.as_bytes().len());
    }
    let initialized = Message::notification("notifications/initialized", &json!({})).unwrap();
    let initialized = Exchange::new(initialized, Caller::anonymous());
    assert!(matches!(session.send(initialized).await.unwrap(), Reply::Accepted));
    session.close().await;
    let error = session.send(call(9)).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::NoSession);
}

#[tokio::test]
async fn what_is_said_unasked_is_listened_to() {
    let (url, streams) = server("messages?session_id=s1", echo).await;
    let session = open(&connect_with(url, ClientOptions::default())).await.unwrap();
    let mut events = session.listen(None).await.unwrap();
    let change = r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#;
    // Cut where it hurts.
    for piece in ["da", "ta: ", &change[..20], &change[20..], "\r", "\n\r", "\n"] {
        streams.lock().await.as_mut().unwrap().write_all(piece.as_bytes()).await.unwrap();
    }
    let Some(Ok(Event::Message { message, .. })) = events.next().await else {
        panic!("no message")
    };
    assert_eq!(message.as_bytes(), change);
}

#[tokio::test]
async fn an_end_in_the_middle_of_an_event_fails_what_waits() {
    let (url, streams) = server("messages?session_id=s1", async |_, stream, streams| {
        let stream = raw::reply(stream, "202 Accepted", "", "").await;
        let mut events = streams.lock().await.take().unwrap();
        events.write_all(b"data: {\"jsonrpc\"").await.unwrap();
        stream
    })
    .await;
    let session = open(&connect_with(url, ClientOptions::default())).await.unwrap();
    let error = session.send(call(1)).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Closed);
    let said = error.said().to_string();
    assert!(said.starts_with("server `pg`: its event stream ended before the answer"), "{said}");
    assert!(streams.lock().await.is_none());
    let error = session.send(call(2)).await.unwrap_err();
    assert!(error.is_unsent());
}

#[tokio::test]
async fn an_answer_may_come_before_its_post_is_accepted_or_with_it() {
    // On the stream, while the POST hangs.
    let (url, _) = server("messages?session_id=s1", async |request, stream, streams| {
        let answer = format!(r#"{{"jsonrpc":"2.0","id":{},"result":{{}}}}"#, request.id());
        raw::event(streams.lock().await.as_mut().unwrap(), &answer).await;
        futures::future::pending::<()>().await;
        Some(stream)
    })
    .await;
    let session = open(&connect_with(url, ClientOptions::default())).await.unwrap();
    assert!(single(session.send(call(1)).await.unwrap()).is_answer());

    // In the answer to the POST, against the protocol.
    let (url, _) = server("messages?session_id=s1", async |request, stream, _| {
        let answer = format!(r#"{{"jsonrpc":"2.0","id":{},"result":{{}}}}"#, request.id());
        raw::reply(stream, "200 OK", "content-type: application/json\n", &answer).await
    })
    .await;
    let session = open(&connect_with(url, ClientOptions::default())).await.unwrap();
    assert_eq!(single(session.send(call(5)).await.unwrap()).id(), Some(&5.into()));
}

#[tokio::test]
async fn an_abandoned_request_is_cancelled() {
    let (heard, mut hear) = tokio::sync::mpsc::channel(4);
    let (url, _) = server("messages?session_id=s1", move |request, stream, _| {
        let heard = heard.clone();
        async move {
            heard.send((request.rpc_method_or_none().unwrap(), request.body)).await.unwrap();
            raw::reply(stream, "202 Accepted", "", "").await
        }
    })
    .await;
    let session = open(&connect_with(url, ClientOptions::default())).await.unwrap();
    {
        let mut sending = session.send(call(1));
        tokio::select! {
            reply = &mut sending => panic!("{reply:?}"),
            heard = hear.recv() => assert_eq!(heard.unwrap().0, "tools/call"),
        }
    }
    let (method, body) = hear.recv().await.unwrap();
    assert_eq!(method, "notifications/cancelled");
    assert!(body.contains(r#""requestId":1"#), "{body}");
}

#[tokio::test]
async fn what_is_no_answer_is_answered_for() {
    let (url, _) = server("messages?session_id=s1", async |request, stream, streams| {
        let stream = raw::reply(stream, "202 Accepted", "", "").await;
        let nonsense = format!(r#"{{"id":{},"result":{{}}}}"#, request.id());
        raw::event(streams.lock().await.as_mut().unwrap(), &nonsense).await;
        stream
    })
    .await;
    let session = open(&connect_with(url, ClientOptions::default())).await.unwrap();
    let answer = single(session.send(call(3)).await.unwrap());
    assert_eq!(answer.id(), Some(&3.into()));
    assert!(answer.body().unwrap().contains("server `pg` answered with what is no message"));
}

#[tokio::test]
async fn posts_that_are_refused() {
    for (status, kind, words) in [
        ("404 Not Found", ErrorKind::NoSession, "does not know the session any more; open another"),
        ("403 Forbidden", ErrorKind::Status(403), "forbids this (HTTP 403)"),
        ("405 Method Not Allowed", ErrorKind::Status(405), "does not take this method"),
        ("500 Oops", ErrorKind::Status(500), "its own log says why"),
        ("401 Unauthorized", ErrorKind::Unauthorized(Some("Bearer".into())), "credentials"),
    ] {
        let (url, _) = server("messages?session_id=s1", move |_, stream, _| {
            raw::reply(stream, status, "www-authenticate: Bearer\n", "<html>")
        })
        .await;
        let session = open(&connect_with(url, ClientOptions::default())).await.unwrap();
        let error = session.send(call(1)).await.unwrap_err();
        assert_eq!(*error.kind(), kind);
        let said = error.said().to_string();
        assert!(said.contains("server `pg`") && said.contains(words), "{said}");
    }
}

#[tokio::test]
async fn an_endpoint_elsewhere_is_not_followed() {
    for endpoint in ["http://127.0.0.1:1/steal", "//evil.example/m", "https://user:pass@evil/m"] {
        let (url, _) = server(endpoint, async |_, _, _| panic!("posted")).await;
        let error = open(&connect_with(url, ClientOptions::default())).await.unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::Protocol);
        assert!(error.said().to_string().contains("endpoint event"), "{error}");
    }
}

#[tokio::test]
async fn streams_that_do_not_open() {
    for (answer, kind, words) in [
        ("200 OK\ncontent-type: text/html", ErrorKind::Protocol, "answered with text/html instead"),
        ("404 Not Found", ErrorKind::Status(404), "nothing is at its address (HTTP 404); check"),
        ("307 Moved\nlocation: http://h/x?k=1", ErrorKind::Status(307), "redirects to http://h/x,"),
        ("200 OK\ncontent-type: text/event-stream", ErrorKind::Protocol, "before it said where"),
        (
            "503 Busy\nretry-after: 3",
            ErrorKind::Status(503),
            "takes no requests for now (HTTP 503); try again in 3 s",
        ),
    ] {
        let address = raw::serve(move |_, stream| {
            let (status, fields) = answer.split_once('\n').unwrap_or((answer, ""));
            let fields = if fields.is_empty() { String::new() } else { format!("{fields}\n") };
            async move { raw::reply(stream, status, &fields, "").await }
        })
        .await;
        let connect = connect_with(format!("http://{address}/sse"), ClientOptions::default());
        let error = open(&connect).await.unwrap_err();
        assert_eq!(*error.kind(), kind);
        let said = error.said().to_string();
        assert!(said.starts_with("server `pg`: ") && said.contains(words), "{said}");
    }
}

#[tokio::test]
async fn a_server_that_says_nothing() {
    let address = raw::serve(async |_, stream| {
        futures::future::pending::<()>().await;
        Some(stream)
    })
    .await;
    let endpoint_timeout = Duration::from_millis(50);
    let options = ClientOptions { endpoint_timeout, ..ClientOptions::default() };
    let error = open(&connect_with(format!("http://{address}/sse"), options)).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Timeout);
}

#[tokio::test]
async fn a_stream_that_falls_silent() {
    let idle_timeout = Some(Duration::from_millis(50));
    let options = ClientOptions { idle_timeout, ..ClientOptions::default() };
    let (url, _streams) = server("messages?session_id=s1", async |_, stream, _| {
        raw::reply(stream, "202 Accepted", "", "").await
    })
    .await;
    let session = open(&connect_with(url, options)).await.unwrap();
    let error = session.send(call(1)).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Timeout);
    assert!(error.to_string().contains("silent for too long"), "{error}");
}

#[tokio::test]
async fn a_server_that_does_not_accept() {
    let post_timeout = Duration::from_millis(50);
    let options = ClientOptions { post_timeout, ..ClientOptions::default() };
    let (url, _streams) = server("messages?session_id=s1", async |_, stream, _| {
        futures::future::pending::<()>().await;
        Some(stream)
    })
    .await;
    let session = open(&connect_with(url, options)).await.unwrap();
    let initialized = Message::notification("notifications/initialized", &json!({})).unwrap();
    let error = session.send(Exchange::new(initialized, Caller::anonymous())).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Timeout);
}

#[tokio::test]
async fn a_server_that_is_not_there() {
    let gone = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    };
    for (url, words) in [
        (format!("http://{gone}/sse"), "was refused; is the server running"),
        (
            "http://no-such-host.invalid/sse".to_owned(),
            "the host of no-such-host.invalid is not known",
        ),
    ] {
        let error = open(&connect_with(url, ClientOptions::default())).await.unwrap_err();
        assert!(error.is_unsent(), "{error}");
        assert!(error.said().to_string().contains(words), "{error}");
    }
}

/// Only that one: the session goes on.
#[tokio::test]
async fn an_answer_that_is_too_long_is_an_error_for_whoever_asked() {
    let (url, _streams) = server("messages?session_id=s1", async |request, stream, streams| {
        let stream = raw::reply(stream, "202 Accepted", "", "").await;
        let id = request.id();
        let len = if request.body.contains("long") { 20_000 } else { 10 };
        let text = "x".repeat(len);
        let answer = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"text":"{text}"}}}}"#);
        let mut streams = streams.lock().await;
        let events = streams.as_mut().unwrap();
        let noise = json!({ "jsonrpc": "2.0", "method": "m", "params": ["x".repeat(20_000)] });
        raw::event(events, &noise.to_string()).await;
        raw::event(events, &answer).await;
        stream
    })
    .await;
    let limits = mcp_jsonrpc::Limits { message_len_max: 1000, ..Default::default() };
    let options = ClientOptions { limits, ..ClientOptions::default() };
    let session = open(&connect_with(url, options)).await.unwrap();
    let ask = |name| {
        let message = Message::request(&1.into(), "tools/call", &json!({ "name": name }));
        session.send(Exchange::new(message.unwrap(), Caller::anonymous()))
    };
    let answer = single(ask("long").await.unwrap());
    let said = String::from_utf8_lossy(answer.as_bytes()).into_owned();
    assert!(said.contains("longer than `messageLenMax`; at most 1000 bytes"), "{said}");
    assert_eq!(single(ask("short").await.unwrap()).kind(), Kind::Response);
    assert!(session.is_open());
}

/// Whose it was cannot be told, so all who wait are.
#[tokio::test]
async fn an_event_that_is_too_long_ends_the_session_with_a_reason() {
    let (url, streams) = server("messages?session_id=s1", async |_, stream, streams| {
        let stream = raw::reply(stream, "202 Accepted", "", "").await;
        raw::event(streams.lock().await.as_mut().unwrap(), &"x".repeat(20_000)).await;
        stream
    })
    .await;
    let limits = mcp_jsonrpc::Limits { message_len_max: 1000, ..Default::default() };
    let options = ClientOptions { limits, ..ClientOptions::default() };
    let session = open(&connect_with(url, options)).await.unwrap();
    let error = session.send(call(1)).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::TooLarge);
    let said = error.said().to_string();
    assert!(said.contains("longer than `messageLenMax`; at most 1000 bytes"), "{said}");
    assert!(streams.lock().await.is_some());
}
