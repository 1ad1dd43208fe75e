//! Halves facing each other over real connections: what one writes, the other reads.

use std::{convert::Infallible, net::SocketAddr, sync::Arc};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream};
use hyper::{Method, Request, Response, body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
};
use mcp_jsonrpc::{
    Message,
    transport::{
        Caller, ErrorKind, Event, Exchange, InboxMax, Opening, Reply, Session, Transport,
        TransportError,
    },
};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};
use tokio_util::task::TaskTracker;
use transport_sse::{
    body::Outgoing,
    client as sse_client,
    http::{HttpClient, HttpTarget},
    server as sse_server,
};
use transport_streamable::{client, server};

use crate::fake::Fake;

const ID: &str = "0123456789abcdef0123456789abcdef";

type Handler = dyn Fn(Request<Incoming>) -> BoxFuture<'static, Response<Outgoing>> + Send + Sync;

async fn listen(handler: Arc<Handler>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let tasks = TaskTracker::new();
    let more = tasks.clone();
    tasks.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let handler = Arc::clone(&handler);
            more.spawn(async move {
                let service = service_fn(move |request| {
                    handler(request).map(Ok::<Response<Outgoing>, Infallible>)
                });
                let connection = Builder::new(TokioExecutor::new());
                let connection = connection.serve_connection(TokioIo::new(stream), service);
                // A client that leaves is no concern of ours.
                drop(connection.await);
            });
        }
    });
    address
}

fn target(address: SocketAddr, path: &str) -> HttpTarget {
    let none: [(&str, &str); 0] = [];
    HttpTarget::new("next", &format!("http://{address}{path}"), none).unwrap()
}

/// A client of Streamable HTTP, before a server of it, before a transport.
async fn over_streamable(transport: Arc<dyn Transport>) -> Arc<dyn Transport> {
    let server = Arc::new(server::Server::new(transport, "/mcp", server::ServerOptions::default()));
    let address = listen(Arc::new(move |request| {
        let server = Arc::clone(&server);
        async move { server.handle(request, Caller::anonymous()).await }.boxed()
    }))
    .await;
    let options = client::ClientOptions::default();
    Arc::new(client::Connect::new(target(address, "/mcp"), HttpClient::default(), options))
}

/// The same over HTTP+SSE.
async fn over_sse(transport: Arc<dyn Transport>) -> Arc<dyn Transport> {
    let address = serve_sse(transport, sse_server::ServerOptions::default()).await;
    let options = sse_client::ClientOptions::default();
    Arc::new(sse_client::Connect::new(target(address, "/sse"), HttpClient::default(), options))
}

async fn serve_sse(
    transport: Arc<dyn Transport>,
    options: sse_server::ServerOptions,
) -> SocketAddr {
    let server = Arc::new(sse_server::Server::new(transport, options));
    listen(Arc::new(move |request| {
        let server = Arc::clone(&server);
        async move {
            match request.uri().path() {
                "/sse" => server.handle_stream(request, Caller::anonymous(), "/message").await,
                _ => server.handle_message(request, Caller::anonymous()).await,
            }
        }
        .boxed()
    }))
    .await
}

/// The last in a row: answers, reports, fails, never ends, and notes what it is told.
fn last(told: mpsc::Sender<Message>) -> Fake {
    let unasked = Message::notification("notifications/tools/list_changed", &json!({})).unwrap();
    let unasked = stream::iter([Ok(unasked.into())]).chain(stream::pending()).boxed();
    let answer = move |exchange: Exchange| {
        let told = told.clone();
        async move {
            let message = exchange.message;
            let Some(id) = message.id().filter(|_| !message.is_answer()) else {
                told.send(message).await.unwrap();
                return Ok(Reply::Accepted);
            };
            let text = json!({ "text": "x".repeat(100_000) });
            let result = Message::response(id, &text).unwrap();
            match message.method() {
                Some("initialize") => {
                    let result = json!({ "protocolVersion": "2025-11-25", "capabilities": {} });
                    Ok(Reply::Single(Message::response(id, &result).unwrap()))
                }
                Some("chatty") => {
                    let params = json!({ "progressToken": "p", "progress": 1 });
                    let progress = Message::notification("notifications/progress", &params);
                    let events = [progress.unwrap(), result].map(|it| Ok(Event::from(it)));
                    Ok(Reply::Stream(stream::iter(events).boxed()))
                }
                Some("endless") => {
                    let started = Message::notification("started", &json!({})).unwrap();
                    told.send(started).await.unwrap();
                    // Dropped with the request.
                    let dropped = Dropped(told.clone());
                    let endless = stream::pending().map(move |event| {
                        let _: &Dropped = &dropped;
                        event
                    });
                    Ok(Reply::Stream(endless.boxed()))
                }
                Some("failing") => Err(TransportError::new(ErrorKind::Closed, "it died")
                    .of(&Arc::from("pg"))
                    .hint("last words")),
                _ => Ok(Reply::Single(result)),
            }
        }
    };
    Fake::new(answer).known_as(ID, Caller::anonymous()).saying(unasked)
}

struct Dropped(mpsc::Sender<Message>);

impl Drop for Dropped {
    fn drop(&mut self) {
        let dropped = Message::notification("dropped", &json!({})).unwrap();
        // The test may be over, and with it who is told.
        drop(self.0.try_send(dropped));
    }
}

fn request(id: i64, method: &str) -> Exchange {
    let params = json!({ "_meta": { "progressToken": "p" } });
    let message = Message::request(&id.into(), method, &params).unwrap();
    Exchange::new(message, Caller::anonymous())
}

fn notification(method: &str) -> Exchange {
    let message = Message::notification(method, &json!({ "requestId": 5 })).unwrap();
    Exchange::new(message, Caller::anonymous())
}

async fn run(transport: Arc<dyn Transport>, mut told: mpsc::Receiver<Message>, fake: Fake) {
    let opening = Opening { caller: Caller::anonymous(), version: None, at: Arc::from("/") };
    let session = transport.open(opening).await.unwrap();
    let mut unasked = session.listen(None).await.unwrap();
    let Reply::Single(answer) = session.send(request(0, "initialize")).await.unwrap() else {
        panic!("no answer");
    };
    assert!(answer.body().unwrap().contains("2025-11-25"));
    session.send(notification("notifications/initialized")).await.unwrap();
    assert_eq!(told.recv().await.unwrap().method(), Some("notifications/initialized"));
    let Some(Ok(Event::Message { message, .. })) = unasked.next().await else { panic!("silence") };
    assert_eq!(message.method(), Some("notifications/tools/list_changed"));

    calls(&*session).await;

    // Nobody waits any more: the other end hears of it, by whatever its wire has for that.
    let mut waiting = session.send(request(5, "endless"));
    let started = tokio::select! {
        reply = &mut waiting => panic!("{reply:?}"),
        started = told.recv() => started.unwrap(),
    };
    assert_eq!(started.method(), Some("started"));
    drop(waiting);
    let heard = told.recv().await.unwrap();
    assert!(matches!(heard.method(), Some("notifications/cancelled" | "dropped")), "{heard:?}");

    session.close().await;
    fake.until_closed(1).await;
}

async fn calls(session: &dyn Session) {
    for id in 1..4 {
        let Reply::Single(answer) = session.send(request(id, "plain")).await.unwrap() else {
            panic!("no answer");
        };
        assert_eq!(answer.id(), Some(&id.into()));
        assert!(100_000 < answer.as_bytes().len());
    }

    let Reply::Stream(events) = session.send(request(4, "chatty")).await.unwrap() else {
        panic!("no stream");
    };
    let events: Vec<_> = events.map(Result::unwrap).collect().await;
    let methods = events.iter().map(|event| match event {
        Event::Message { message, .. } => message.method().unwrap_or("answer").to_owned(),
        Event::Pause { .. } => "pause".to_owned(),
    });
    assert_eq!(methods.collect::<Vec<_>>(), ["notifications/progress", "answer"]);

    let Reply::Single(answer) = session.send(request(6, "failing")).await.unwrap() else {
        panic!("no answer");
    };
    assert!(answer.body().unwrap().contains("server `pg`: it died; last words"));
}

fn rig() -> (Fake, mpsc::Receiver<Message>) {
    let (told, hear) = mpsc::channel(30);
    (last(told), hear)
}

#[tokio::test]
async fn streamable() {
    let (fake, hear) = rig();
    run(over_streamable(Arc::new(fake.clone())).await, hear, fake).await;
}

#[tokio::test]
async fn sse() {
    let (fake, hear) = rig();
    run(over_sse(Arc::new(fake.clone())).await, hear, fake).await;
}

#[tokio::test]
async fn sse_before_streamable() {
    let (fake, hear) = rig();
    let behind = over_streamable(Arc::new(fake.clone())).await;
    run(over_sse(behind).await, hear, fake).await;
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cut_off_and_nobody_else_notices() {
    // Without an id of its own, so that there may be several sessions.
    let fake = Fake::new(async |exchange: Exchange| {
        let id = exchange.message.id().unwrap();
        let text = json!({ "text": "x".repeat(100_000) });
        Ok(Reply::Single(Message::response(id, &text).unwrap()))
    });
    let outbox = InboxMax { queue_len_max: 1000, queue_bytes_max: 1 << 20 };
    let options = sse_server::ServerOptions { outbox, ..sse_server::ServerOptions::default() };
    let address = serve_sse(Arc::new(fake.clone()), options).await;

    let mut deaf = TcpStream::connect(address).await.unwrap();
    deaf.write_all(b"GET /sse HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut read = String::new();
    let post_to = loop {
        let mut piece = [0; 1000];
        let len = deaf.read(&mut piece).await.unwrap();
        read += std::str::from_utf8(&piece[..len]).unwrap();
        if let Some((_, rest)) = read.split_once("data: ")
            && let Some((uri, _)) = rest.split_once('\n')
        {
            break uri.to_owned();
        }
    };

    let options = sse_client::ClientOptions::default();
    let quick = sse_client::Connect::new(target(address, "/sse"), HttpClient::default(), options);
    let opening = Opening { caller: Caller::anonymous(), version: None, at: Arc::from("/") };
    let quick = quick.open(opening).await.unwrap();
    let (http, deaf_target) = (HttpClient::default(), target(address, &post_to));
    let mut calls = 0;
    loop {
        let body = request(calls, "plain").message.as_bytes().clone();
        let posting = deaf_target.request(Method::POST, deaf_target.url().clone());
        let posting = posting.body(body).unwrap();
        let status = http.send(&deaf_target, posting).await.unwrap().status();
        if status == 404 {
            break;
        }
        assert_eq!(status, 202);
        calls += 1;
        // What sockets and hyper may hold, and the outbox on top.
        assert!(calls < 400, "40 MB went nowhere");
        let Reply::Single(_) = quick.send(request(calls, "plain")).await.unwrap() else {
            panic!("no answer");
        };
    }
    fake.until_closed(1).await;
    assert_eq!(fake.closed(), 1);
    drop(deaf);
}
