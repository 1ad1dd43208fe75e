//! The server half.

mod back;
mod reading;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::{StreamExt, future, stream};
use hyper::{Request, Response};
use mcp_jsonrpc::{
    Id, Message, ProtocolVersion,
    transport::{Caller, ErrorKind, Event, InboxMax, Reply, Session, TransportError},
};
use serde_json::{Value, json};
use tokio::time::Instant;
use transport_sse::{
    body::Outgoing,
    server::{Server, ServerOptions},
};

use self::reading::Stream;
use crate::fake::Fake;

async fn post(server: &Server, uri: &str, body: impl Into<String>) -> Response<Outgoing> {
    post_as(server, uri, body, Caller::anonymous()).await
}

async fn post_as(
    server: &Server,
    uri: &str,
    body: impl Into<String>,
    caller: Caller,
) -> Response<Outgoing> {
    let request = Request::post(uri).header("content-type", "application/json; charset=utf-8");
    let request = request.body(Outgoing::whole(body.into())).unwrap();
    server.handle_message(request, caller).await
}

async fn text(response: Response<Outgoing>) -> String {
    let read = transport_sse::body::read(response.into_body(), 1 << 20, Duration::from_secs(1));
    String::from_utf8(read.await.unwrap().to_vec()).unwrap()
}

fn call(id: i64) -> String {
    json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {} }).to_string()
}

fn note(id: i64) -> Message {
    Message::notification("notifications/message", &json!({ "n": id })).unwrap()
}

fn echo() -> Fake {
    Fake::new(async |exchange| match exchange.message.id() {
        Some(id) => Ok(Reply::Single(Message::response(id, &json!({})).unwrap())),
        None => Ok(Reply::Accepted),
    })
}

fn server(fake: &Fake, options: ServerOptions) -> Server {
    Server::new(Arc::new(fake.clone()), options)
}

#[tokio::test]
async fn answers_come_down_the_stream() {
    let server = server(&echo(), ServerOptions::default());
    let mut stream = Stream::open(&server).await;
    let (path, id) = stream.post_to.split_once("?sessionId=").unwrap();
    assert_eq!((path, id.len()), ("/a/message", 32));

    let response = post(&server, &stream.post_to, call(1)).await;
    let noted = response.body().note().unwrap();
    assert_eq!(noted.rpc_method.as_deref(), Some("tools/call"));
    assert!(noted.session.is_some() && noted.reason.is_none());
    assert_eq!((response.status().as_u16(), text(response).await.as_str()), (202, ""));
    assert_eq!(stream.message().await["id"], 1);

    let other_name = stream.post_to.replace("sessionId", "session_id");
    assert_eq!(post(&server, &other_name, call(2)).await.status(), 202);
    assert_eq!(stream.message().await["id"], 2);
}

#[tokio::test]
async fn a_base_url_makes_the_endpoint_absolute() {
    let base_url = Some(Arc::from("https://mcp.example.org/"));
    let server = server(&echo(), ServerOptions { base_url, ..ServerOptions::default() });
    let stream = Stream::open(&server).await;
    assert!(stream.post_to.starts_with("https://mcp.example.org/a/message?sessionId="));
}

#[tokio::test]
async fn accepted_before_worked_off() {
    let fake = Fake::new(async |_| future::pending().await);
    let server = server(&fake, ServerOptions::default());
    let stream = Stream::open(&server).await;
    assert_eq!(post(&server, &stream.post_to, call(1)).await.status(), 202);
}

#[tokio::test]
async fn sessions_that_are_not_there() {
    let server = server(&echo(), ServerOptions::default());
    let alice = Stream::open_as(&server, Caller::named("alice")).await;
    for (uri, caller, status, words) in [
        ("/a/message", Caller::anonymous(), 400, "open the event stream first"),
        ("/a/message?sessionId=nope", Caller::anonymous(), 404, "open the event stream again"),
        (alice.post_to.as_str(), Caller::named("bob"), 404, "open the event stream again"),
        (alice.post_to.as_str(), Caller::named("alice"), 202, ""),
    ] {
        let response = post_as(&server, uri, call(1), caller).await;
        assert_eq!(response.status(), status, "{uri}");
        assert!(text(response).await.contains(words));
    }
}

#[tokio::test]
async fn the_transport_says_whose_session_it_is() {
    let fake = echo().known_as("0123456789abcdef0123456789abcdef", Caller::named("alice"));
    let server = server(&fake, ServerOptions::default());
    let mut stream = Stream::open_as(&server, Caller::named("alice")).await;
    assert!(stream.post_to.ends_with("?sessionId=0123456789abcdef0123456789abcdef"));
    let own = post_as(&server, &stream.post_to, call(1), Caller::named("alice")).await;
    assert_eq!(own.status(), 202);
    let other = post_as(&server, &stream.post_to, call(1), Caller::named("bob")).await;
    assert_eq!(other.status(), 404);
    assert_eq!(stream.message().await["id"], 1);

    // Over for the transport is over for the stream.
    fake.close().await;
    let own = post_as(&server, &stream.post_to, call(2), Caller::named("alice")).await;
    assert_eq!(own.status(), 404);
    assert_eq!(stream.next().await.unwrap(), ": session ended\n\n");
}

#[tokio::test]
async fn methods() {
    let fake = echo();
    let server = server(&fake, ServerOptions::default());
    for (method, stream, status, allow) in [
        ("POST", true, 405, "GET, HEAD, OPTIONS"),
        ("DELETE", true, 405, "GET, HEAD, OPTIONS"),
        ("OPTIONS", true, 204, "GET, HEAD, OPTIONS"),
        ("GET", false, 405, "POST, OPTIONS"),
        ("HEAD", false, 405, "POST, OPTIONS"),
        ("OPTIONS", false, 204, "POST, OPTIONS"),
    ] {
        let request =
            Request::builder().method(method).uri("/a/x").body(Outgoing::empty()).unwrap();
        let response = match stream {
            true => server.handle_stream(request, Caller::anonymous(), "/a/message").await,
            false => server.handle_message(request, Caller::anonymous()).await,
        };
        assert_eq!(response.status(), status, "{method}");
        assert_eq!(response.headers()["allow"], allow, "{method}");
        let noted = response.body().note().unwrap();
        assert_eq!(noted.reason.is_some(), status == 405);
    }
    let request = Request::head("/a/sse").body(Outgoing::empty()).unwrap();
    let response = server.handle_stream(request, Caller::anonymous(), "/a/message").await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    assert_eq!(text(response).await, "");
    assert_eq!(fake.opened(), 0);
}

#[tokio::test]
async fn bodies_that_are_no_message() {
    let options = ServerOptions { body_len_max: 100, ..ServerOptions::default() };
    let server = server(&echo().speaking(ProtocolVersion::V2025_11_25), options);
    let stream = Stream::open(&server).await;
    for (body, status, code, id) in [
        ("{".to_owned(), 400, -32700, Value::Null),
        (r#"{"id":7,"method":"x"}"#.to_owned(), 400, -32600, json!(7)),
        (format!("[{}]", call(1)), 400, -32600, Value::Null),
        ("x".repeat(101), 413, -32600, Value::Null),
    ] {
        let response = post(&server, &stream.post_to, body.clone()).await;
        assert_eq!(response.status(), status, "{body}");
        assert!(response.body().note().unwrap().reason.is_some());
        let answer: Value = serde_json::from_str(&text(response).await).unwrap();
        assert_eq!((&answer["error"]["code"], &answer["id"]), (&json!(code), &id), "{body}");
    }
    let request = Request::post(&stream.post_to).header("content-type", "text/plain");
    let request = request.body(Outgoing::whole(call(1))).unwrap();
    assert_eq!(server.handle_message(request, Caller::anonymous()).await.status(), 415);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_given_up() {
    let server = server(&echo(), ServerOptions::default());
    let stream = Stream::open(&server).await;
    let silent = http_body_util::StreamBody::new(stream::pending::<
        Result<hyper::body::Frame<bytes::Bytes>, std::io::Error>,
    >());
    let start = Instant::now();
    let request = Request::post(&stream.post_to).body(silent).unwrap();
    let response = server.handle_message(request, Caller::anonymous()).await;
    assert_eq!((response.status().as_u16(), start.elapsed().as_secs()), (408, 30));
}

#[tokio::test]
async fn batches_of_2025_03_26() {
    for version in ProtocolVersion::LEGACY {
        let fake = echo().speaking(version);
        let server = server(&fake, ServerOptions::default());
        let mut stream = Stream::open(&server).await;
        let batch = format!("[{},{}]", call(1), call(2));
        let response = post(&server, &stream.post_to, batch).await;
        if version == ProtocolVersion::V2025_03_26 {
            assert_eq!(response.status(), 202);
            assert_eq!(stream.message().await["id"], 1);
            assert_eq!(stream.message().await["id"], 2);
            let opens = r#"[{"jsonrpc":"2.0","id":3,"method":"initialize","params":{}}]"#;
            let response = post(&server, &stream.post_to, opens).await;
            assert_eq!(response.status(), 400);
        } else {
            assert_eq!(response.status(), 400, "{version}");
        }
        // Nothing of what was refused was asked.
        assert_eq!(post(&server, &stream.post_to, call(4)).await.status(), 202);
        assert_eq!(stream.message().await["id"], 4);
    }
}

#[tokio::test]
async fn failures_are_answered() {
    let fake = Fake::new(async |exchange| {
        let server = Arc::from("pg");
        match exchange.message.id() {
            Some(Id::Number(1)) => Err(TransportError::new(ErrorKind::Closed, "it died")
                .of(&server)
                .hint("last words")),
            Some(Id::Number(2)) => Err(TransportError::new(ErrorKind::Invalid(-32602), "no")),
            Some(Id::Number(3)) => {
                let broken = TransportError::new(ErrorKind::Timeout, "too slow");
                Ok(Reply::Stream(stream::iter([Ok(note(1).into()), Err(broken)]).boxed()))
            }
            _ => Ok(Reply::Stream(stream::empty().boxed())),
        }
    });
    let server = server(&fake, ServerOptions::default());
    let mut stream = Stream::open(&server).await;
    for (id, code, words) in [
        (1, -32603, "server `pg`: it died; last words"),
        (2, -32602, "no"),
        (3, -32603, "too slow"),
        (4, -32603, "no answer came"),
    ] {
        assert_eq!(post(&server, &stream.post_to, call(id)).await.status(), 202);
        let mut answer = stream.message().await;
        if answer.get("method").is_some() {
            answer = stream.message().await;
        }
        let error = json!({ "code": code, "message": words });
        assert_eq!((&answer["id"], &answer["error"]), (&json!(id), &error));
    }
}

#[tokio::test]
async fn what_was_taken_back_is_not_answered() {
    let fake = Fake::new(async |exchange| match exchange.message.id() {
        Some(Id::Number(1)) => Err(TransportError::new(ErrorKind::Cancelled, "taken back")),
        Some(id) => Ok(Reply::Single(Message::response(id, &json!({})).unwrap())),
        None => Ok(Reply::Accepted),
    });
    let server = server(&fake, ServerOptions::default());
    let mut stream = Stream::open(&server).await;
    for id in [1, 2] {
        assert_eq!(post(&server, &stream.post_to, call(id)).await.status(), 202);
    }
    assert_eq!(stream.message().await["id"], 2);
}

#[tokio::test]
async fn discovery_is_answered_at_once() {
    let fake = Fake::new(async |_| future::pending().await);
    let server = server(&fake, ServerOptions::default());
    let mut stream = Stream::open(&server).await;
    let probe = r#"{"jsonrpc":"2.0","id":"p","method":"server/discover"}"#;
    assert_eq!(post(&server, &stream.post_to, probe).await.status(), 202);
    let answer = stream.message().await;
    assert_eq!((&answer["id"], &answer["error"]["code"]), (&json!("p"), &json!(-32601)));
}

#[tokio::test]
async fn a_notification_is_not_overtaken() {
    let order = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&order);
    let fake = Fake::new(move |exchange| {
        let log = Arc::clone(&log);
        async move {
            let id = exchange.message.id().cloned();
            if id.is_none() {
                // Takes several turns of the runtime.
                for _ in 0..10 {
                    tokio::task::yield_now().await;
                }
            }
            log.lock().unwrap().push(id.clone());
            match id {
                Some(id) => Ok(Reply::Single(Message::response(&id, &json!({})).unwrap())),
                None => Ok(Reply::Accepted),
            }
        }
    });
    let server = server(&fake, ServerOptions::default());
    let mut stream = Stream::open(&server).await;
    let initialized = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
    assert_eq!(post(&server, &stream.post_to, initialized).await.status(), 202);
    assert_eq!(post(&server, &stream.post_to, call(1)).await.status(), 202);
    stream.message().await;
    assert_eq!(*order.lock().unwrap(), [None, Some(Id::from(1))]);
}

#[tokio::test(start_paused = true)]
async fn a_stuck_notification_does_not_hold_its_post() {
    let fake = Fake::new(async |_| future::pending().await);
    let server = server(&fake, ServerOptions::default());
    let stream = Stream::open(&server).await;
    let start = Instant::now();
    let body = note(1).as_bytes().clone();
    let response = post(&server, &stream.post_to, String::from_utf8(body.to_vec()).unwrap()).await;
    assert_eq!((response.status().as_u16(), start.elapsed().as_secs()), (202, 1));
}

#[tokio::test]
async fn a_slow_reader_loses_its_session_and_nobody_else_notices() {
    let fake = Fake::new(async |exchange| {
        let id = exchange.message.id().unwrap();
        let result = json!({ "text": "x".repeat(1000) });
        Ok(Reply::Single(Message::response(id, &result).unwrap()))
    });
    let outbox = InboxMax { queue_len_max: 1000, queue_bytes_max: 10_000 };
    let server = server(&fake, ServerOptions { outbox, ..ServerOptions::default() });
    let mut slow = Stream::open(&server).await;
    let mut quick = Stream::open(&server).await;
    let mut statuses = Vec::new();
    for id in 0..12 {
        statuses.push(post(&server, &slow.post_to, call(id)).await.status().as_u16());
        assert_eq!(post(&server, &quick.post_to, call(id)).await.status(), 202);
        assert_eq!(quick.message().await["id"], id);
    }
    assert!(statuses.starts_with(&[202; 9]) && statuses.ends_with(&[404]), "{statuses:?}");
    assert_eq!(slow.next().await.unwrap(), ": session ended: too much waits to be read\n\n");
    assert_eq!(slow.next().await, None);
    fake.until_closed(1).await;
    assert_eq!(server.session_count(), 1);
}

#[tokio::test]
async fn notifications_count_too() {
    let (say, said) = tokio::sync::mpsc::channel::<Event>(1);
    let said = stream::unfold(said, async |mut said| Some((Ok(said.recv().await?), said)));
    let fake = echo().saying(said.boxed());
    let outbox = InboxMax { queue_len_max: 3, queue_bytes_max: 1 << 20 };
    let server = server(&fake, ServerOptions { outbox, ..ServerOptions::default() });
    let mut stream = Stream::open(&server).await;
    say.send(note(1).into()).await.unwrap();
    assert_eq!(stream.message().await["params"]["n"], 1);
    for n in 0..4 {
        let news = Message::notification("notifications/tasks/status", &json!({ "n": n }));
        say.send(news.unwrap().into()).await.unwrap();
    }
    fake.until_closed(1).await;
    assert_eq!(fake.listened_after(), [None]);
    assert!(stream.next().await.unwrap().contains("too much waits"));
}

#[tokio::test]
async fn a_session_that_is_over_ends_its_stream() {
    let over = TransportError::new(ErrorKind::NoSession, "idle for too long");
    let fake = echo().saying(stream::iter([Ok(note(1).into()), Err(over)]).boxed());
    let server = server(&fake, ServerOptions::default());
    let mut stream = Stream::open(&server).await;
    assert_eq!(stream.next().await.unwrap(), ": session ended: idle for too long\n\n");
    assert_eq!(stream.next().await, None);
    fake.until_closed(1).await;
}

#[tokio::test]
async fn a_shut_down_tells_every_stream_why() {
    let fake = echo();
    let server = server(&fake, ServerOptions::default());
    let mut stream = Stream::open(&server).await;
    server.shut_down("the gateway stops").await;
    assert_eq!(stream.next().await.unwrap(), ": the gateway stops\n\n");
    assert_eq!((stream.next().await, fake.closed()), (None, 1));
}

#[tokio::test]
async fn bounds_on_messages_and_sessions() {
    let fake = Fake::new(async |_| future::pending().await);
    let options =
        ServerOptions { in_flight_max: 2, session_count_max: 1, ..ServerOptions::default() };
    let server = server(&fake, options);
    let stream = Stream::open(&server).await;
    for (id, status) in [(1, 202), (2, 202), (3, 503)] {
        assert_eq!(post(&server, &stream.post_to, call(id)).await.status(), status);
    }
    let request = Request::get("/a/sse").body(Outgoing::empty()).unwrap();
    let response = server.handle_stream(request, Caller::anonymous(), "/a/message").await;
    assert_eq!(response.status(), 503);
    assert!(response.headers().contains_key("retry-after"));
    assert!(text(response).await.contains("too many sessions"));
}

#[tokio::test]
async fn a_server_that_is_not_there() {
    let kind = ErrorKind::Unavailable { retry_after: Some(Duration::from_secs(9)) };
    let error = TransportError::new(kind, "still starting").of(&Arc::from("pg"));
    let server = server(&echo().refusing(error), ServerOptions::default());
    let request = Request::get("/a/sse").body(Outgoing::empty()).unwrap();
    let response = server.handle_stream(request, Caller::anonymous(), "/a/message").await;
    assert_eq!(
        (response.status().as_u16(), &response.headers()["retry-after"]),
        (503, &"9".parse().unwrap())
    );
    assert!(text(response).await.contains("server `pg`: still starting"));
}

#[tokio::test(start_paused = true)]
async fn comments_keep_the_stream_alive() {
    let server = server(&echo(), ServerOptions::default());
    let mut stream = Stream::open(&server).await;
    for beat in 1..=3 {
        let start = Instant::now();
        assert_eq!(stream.next().await.unwrap(), ": \n\n");
        assert_eq!(start.elapsed().as_secs(), 15, "beat {beat}");
    }
}
