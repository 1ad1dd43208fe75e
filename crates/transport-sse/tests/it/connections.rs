//! Connections to servers at `http` URLs: when they are used again, closed, or given up.

use std::{error::Error as _, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use hyper::{Method, Response};
use mcp_jsonrpc::transport::{ErrorKind, TransportError};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::{Semaphore, mpsc},
};
use tokio_util::task::TaskTracker;
use transport_sse::{
    body::{self, ReadError},
    http::{HttpClient, HttpOptions, HttpTarget, Incoming},
};

use crate::raw;

/// A client and its one server.
struct Pair {
    client: HttpClient,
    target: HttpTarget,
}

impl Pair {
    fn new(address: SocketAddr, options: HttpOptions) -> Self {
        let none: [(&str, &str); 0] = [];
        let target = HttpTarget::new("pg", &format!("http://{address}/mcp"), none).unwrap();
        Self { client: HttpClient::new(options), target }
    }

    async fn post(&self, body: impl Into<Bytes>) -> Result<Response<Incoming>, TransportError> {
        let request = self.target.request(Method::POST, self.target.url().clone());
        self.client.send(&self.target, request.body(body.into()).unwrap()).await
    }

    /// What the server says in full.
    async fn said(&self, body: impl Into<Bytes>) -> String {
        text(self.post(body).await.unwrap()).await
    }
}

async fn read(response: Response<Incoming>) -> Result<Bytes, ReadError> {
    body::read(response.into_body(), 64 << 20, Duration::from_secs(60)).await
}

async fn text(response: Response<Incoming>) -> String {
    let body = read(response).await.unwrap();
    String::from_utf8(body.to_vec()).unwrap()
}

/// A server that answers with what it was sent, then takes `{}` for the port of the connection.
async fn echo() -> SocketAddr {
    raw::serve(async |request, mut stream| {
        let port = stream.peer_addr().unwrap().port();
        let answer = request.body.replace("{}", &format!("{port:05}"));
        stream.write_all(answer.as_bytes()).await.unwrap();
        Some(stream)
    })
    .await
}

#[tokio::test]
async fn a_connection_is_used_again_when_its_response_has_ended() {
    let pair = Pair::new(echo().await, HttpOptions::default());
    let length = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n{}";
    let first = pair.said(length).await;
    for raw in [
        length,
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nab",
    ] {
        pair.said(raw).await;
        assert_eq!(pair.said(length).await, first, "after {raw:?}");
    }
    // Unread, and dropped when all of it is there.
    drop(pair.post(length).await.unwrap());
    assert_eq!(pair.said(length).await, first);
}

#[tokio::test]
async fn a_connection_that_may_be_out_of_step_is_not_used_again() {
    let pair = Pair::new(echo().await, HttpOptions::default());
    let length = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n{}";
    for raw in [
        "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nab",
        "HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nab",
        // Something came behind, which might be taken for the next answer.
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nabHTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    ] {
        let first = pair.said(length).await;
        pair.said(raw).await;
        assert_ne!(pair.said(length).await, first, "after {raw:?}");
    }
    // Dropped while more is to come.
    let first = pair.said(length).await;
    drop(pair.post("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nab").await.unwrap());
    assert_ne!(pair.said(length).await, first);
}

#[tokio::test]
async fn responses_that_cannot_be_read_are_errors() {
    let options = HttpOptions { head_len_max: 512, ..HttpOptions::default() };
    let pair = Pair::new(echo().await, options);
    let interim = "HTTP/1.1 100 Continue\r\n\r\n".repeat(33);
    let long = format!("HTTP/1.1 200 OK\r\na: {}\r\n\r\n", "b".repeat(512));
    for (raw, words) in [
        ("SSH-2.0-OpenSSH\r\n", "head cannot be read"),
        ("HTTP/1.1 101 Switching Protocols\r\n\r\n", "another protocol"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 1, 2\r\n\r\n", "no readable length, or two"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n", "encoded"),
        (&*interim, "more than 32 interim"),
        (&*long, "more than 512 bytes"),
    ] {
        let error = pair.post(raw.to_owned()).await.unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::Closed);
        assert!(!error.is_unsent() && error.to_string().contains(words), "{error}");
    }
    let broken = pair.post("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nx\r\n").await;
    let error = read(broken.unwrap()).await.unwrap_err();
    let source = error.source().unwrap().to_string();
    assert!(source.contains("chunk"), "{source}");
}

#[tokio::test]
async fn only_so_many_connections_wait() {
    let (arrived, mut all) = mpsc::channel(8);
    let go = Arc::new(Semaphore::new(0));
    let (gate, said) = (Arc::clone(&go), arrived);
    let address = raw::serve(move |_, stream| {
        let (gate, said) = (Arc::clone(&gate), said.clone());
        async move {
            said.send(stream.peer_addr().unwrap().port()).await.unwrap();
            gate.acquire().await.unwrap().forget();
            raw::reply(stream, "200 OK", "", "{}").await
        }
    })
    .await;
    let options = HttpOptions { idle_per_server_max: 1, ..HttpOptions::default() };
    let pair = Pair::new(address, options);
    let mut ports = Vec::new();
    for _ in 0..2 {
        let both = futures::future::join(pair.said("a"), pair.said("b"));
        let watch = async {
            for _ in 0..2 {
                ports.push(all.recv().await.unwrap());
            }
            go.add_permits(2);
        };
        futures::future::join(both, watch).await;
    }
    ports.sort_unstable();
    ports.dedup();
    assert_eq!(ports.len(), 3, "one of two was kept, and used again");
}

#[tokio::test]
async fn a_connection_that_waits_too_long_is_closed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let idle_timeout = Duration::from_millis(20);
    let options = HttpOptions { idle_timeout, ..HttpOptions::default() };
    let pair = Pair::new(listener.local_addr().unwrap(), options);
    let server = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        raw::read_request(&mut stream).await.unwrap();
        stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
        // Though nobody asks for anything any more.
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
    };
    futures::future::join(server, pair.said("")).await;
}

#[tokio::test]
async fn what_was_closed_meanwhile_is_replaced() {
    let (closed, mut when_closed) = mpsc::channel(1);
    let address = raw::serve(move |_, stream| {
        let closed = closed.clone();
        async move {
            // Without a word that it will close.
            drop(raw::reply(stream, "200 OK", "", "fine").await);
            closed.send(()).await.unwrap();
            None
        }
    })
    .await;
    let pair = Pair::new(address, HttpOptions::default());
    for _ in 0..3 {
        assert_eq!(pair.said("{}").await, "fine");
        when_closed.recv().await.unwrap();
        // The kernel knows; the next look at it tells us too.
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn what_may_have_been_seen_is_not_sent_again() {
    let (seen, mut requests) = mpsc::channel(8);
    let address = raw::serve(move |request, stream| {
        let seen = seen.clone();
        async move {
            seen.send(request.body.clone()).await.unwrap();
            if request.body == "die" { None } else { raw::reply(stream, "200 OK", "", "").await }
        }
    })
    .await;
    let pair = Pair::new(address, HttpOptions::default());
    // On a new connection, and on one that has been used.
    for _ in 0..2 {
        let error = pair.post("die").await.unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::Closed);
        assert!(!error.is_unsent() && error.to_string().contains("before the head"), "{error}");
        pair.said("live").await;
    }
    let mut all = Vec::new();
    while let Ok(body) = requests.try_recv() {
        all.push(body);
    }
    assert_eq!(all, ["die", "live", "die", "live"]);
}

#[tokio::test]
async fn a_server_may_answer_before_it_has_read_all() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let pair = Pair::new(listener.local_addr().unwrap(), HttpOptions::default());
    let long = Bytes::from(vec![b'x'; 32 << 20]);
    let accept = async |answer: &'static [u8]| {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = [0; 16];
        stream.read_exact(&mut head).await.unwrap();
        stream.write_all(answer).await.unwrap();
        stream
    };
    // It wants no more of it …
    let refusing = accept(b"HTTP/1.1 413 Too Long\r\ncontent-length: 2\r\n\r\nno");
    let (_stream, response) = futures::future::join(refusing, pair.post(long.clone())).await;
    let response = response.unwrap();
    assert_eq!(response.status(), 413);
    assert_eq!(text(response).await, "no");

    // … or reads on, and all of it comes.
    let reading = accept(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n");
    let (mut stream, response) = futures::future::join(reading, pair.post(long.clone())).await;
    let rest = async {
        let mut left = long.len();
        let mut piece = vec![0; 1 << 16];
        while left > 0 {
            let read = stream.read(&mut piece).await.unwrap();
            left -= piece[..read].iter().filter(|&&byte| byte == b'x').count();
        }
        stream.write_all(b"ok").await.unwrap();
    };
    let ((), said) = futures::future::join(rest, text(response.unwrap())).await;
    assert_eq!(said, "ok");
}

#[tokio::test]
async fn large_bodies_arrive_whole() {
    let part = "0123456789abcdef".repeat(1 << 14);
    let long = part.clone();
    let address = raw::serve(move |_, stream| {
        let long = long.clone();
        async move { raw::reply(stream, "200 OK", "", &long).await }
    })
    .await;
    let pair = Pair::new(address, HttpOptions::default());
    for _ in 0..3 {
        assert!(pair.said("{}").await == part);
    }
}

#[tokio::test]
async fn a_server_that_is_not_there() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let error = Pair::new(free, HttpOptions::default()).post("{}").await.unwrap_err();
    assert!(error.is_unsent());
    let said = error.said().to_string();
    assert!(said.contains(&format!("server `pg`: connection to {free} was refused")), "{said}");
    assert!(said.contains("is the server running"), "{said}");
}

#[tokio::test]
async fn a_target_without_a_client_leaves_nothing_open() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let pair = Pair::new(listener.local_addr().unwrap(), HttpOptions::default());
    let tasks = TaskTracker::new();
    let server = tasks.spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        raw::read_request(&mut stream).await.unwrap();
        stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
        stream.read(&mut [0]).await.unwrap()
    });
    pair.said("").await;
    drop(pair);
    assert_eq!(server.await.unwrap(), 0);
}
