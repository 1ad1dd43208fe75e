//! Streams that break, and streams that are late.

use super::*;

#[tokio::test]
async fn a_broken_answer_is_resumed() {
    let gets = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&gets);
    let session = session(quick(), move |request, mut stream| {
        let gets = Arc::clone(&log);
        async move {
            if request.method == "POST" {
                raw::events(&mut stream, "").await;
                let primer = b"id: s/0\nretry: 2\ndata:\n\ndata: {\"jsonrpc\":\"2.0\",\"met";
                stream.write_all(primer).await.unwrap();
                return None;
            }
            let turn = {
                let mut gets = gets.lock().unwrap();
                gets.push(request.header("last-event-id").to_owned());
                gets.len()
            };
            match turn {
                1 => return raw::reply(stream, "502 Bad Gateway", "", "").await,
                2 => {
                    raw::events(&mut stream, "").await;
                    let event = "id: s/1\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"n\"}\n\n";
                    stream.write_all(event.as_bytes()).await.unwrap();
                }
                _ => {
                    raw::events(&mut stream, "").await;
                    raw::event(&mut stream, r#"{"jsonrpc":"2.0","id":1,"result":{}}"#).await;
                }
            }
            None
        }
    })
    .await;
    let Reply::Stream(events) = session.send(call(1)).await.unwrap() else { panic!("no stream") };
    let events: Vec<_> = events.map(Result::unwrap).collect().await;
    assert!(matches!(&events[0], Event::Pause { retry: Some(_), .. }));
    assert!(matches!(&events[2], Event::Message { message, .. } if message.is_answer()));
    assert_eq!(*gets.lock().unwrap(), ["s/0", "s/0", "s/1"]);
}

#[tokio::test]
async fn resuming_has_an_end() {
    let gets = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&gets);
    let session = session(quick(), move |request, mut stream| {
        let count = Arc::clone(&count);
        async move {
            if request.method == "GET" {
                count.fetch_add(1, Ordering::SeqCst);
                return raw::reply(stream, "502 Bad Gateway", "", "").await;
            }
            raw::events(&mut stream, "").await;
            stream.write_all(b"id: s/0\ndata:\n\n").await.unwrap();
            None
        }
    })
    .await;
    let error = session.send(call(1)).await.unwrap_err();
    assert_eq!((error.kind(), gets.load(Ordering::SeqCst)), (&ErrorKind::Closed, 5));
    assert!(error.to_string().contains("HTTP 502"), "{error}");
}

/// A server that was started again knows nothing of the stream; but it had the request.
#[tokio::test]
async fn a_stream_that_was_forgotten_does_not_count_as_unsent() {
    let session = session(quick(), async |request, mut stream| {
        match (request.method.as_str(), request.rpc_method_or_none().as_deref()) {
            ("GET", _) => return raw::reply(stream, "404 Not Found", "", "").await,
            (_, Some("initialize")) => return proper(request, stream).await,
            _ => (),
        }
        raw::events(&mut stream, "").await;
        stream.write_all(b"id: s/0\ndata:\n\n").await.unwrap();
        None
    })
    .await;
    single(session.send(request(0, "initialize")).await);
    let error = session.send(call(1)).await.unwrap_err();
    assert!(*error.kind() == ErrorKind::Closed && !error.is_unsent(), "{error}");
}

#[tokio::test]
async fn listening_begins_after_the_handshake_and_survives_breaks() {
    let (heard, mut hear) = mpsc::channel(9);
    let session = session(quick(), move |request, mut stream| {
        let rpc_method = request.rpc_method_or_none().unwrap_or_default();
        heard.try_send(format!("{} {rpc_method}", request.method)).unwrap();
        async move {
            if request.method != "GET" {
                return proper(request, stream).await;
            }
            assert_eq!(request.header("mcp-session-id"), "s-1");
            raw::events(&mut stream, "").await;
            let event = r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#;
            raw::event(&mut stream, event).await;
            None
        }
    })
    .await;
    let mut events = session.listen(None).await.unwrap();
    single(session.send(request(0, "initialize")).await);
    session.send(initialized()).await.unwrap();
    for _ in 0..3 {
        assert!(matches!(events.next().await, Some(Ok(Event::Message { .. }))));
    }
    session.close().await;
    while let Some(event) = events.next().await {
        event.unwrap();
    }
    let order = ["POST initialize", "POST notifications/initialized", "GET ", "GET ", "GET "];
    for expect in order {
        assert_eq!(hear.recv().await.unwrap(), expect);
    }
}

#[tokio::test]
async fn a_server_that_says_nothing_unasked() {
    let session = session(quick(), async |request, stream| match request.method.as_str() {
        "GET" => raw::reply(stream, "405 Method Not Allowed", "", "").await,
        _ => proper(request, stream).await,
    })
    .await;
    let mut early = session.listen(None).await.unwrap();
    single(session.send(request(0, "initialize")).await);
    session.send(initialized()).await.unwrap();
    let Err(error) = session.listen(None).await else { panic!("a stream") };
    assert_eq!(*error.kind(), ErrorKind::Unsupported);
    assert!(early.next().await.is_none());
}

#[tokio::test]
async fn a_server_is_not_waited_for_longer_than_allowed() {
    let short = Duration::from_millis(20);
    let options = ClientOptions { resume_wait_max: short, close_timeout: short, ..quick() };
    let session = session(options, async |request, mut stream| match request.method.as_str() {
        "DELETE" => futures::future::pending().await,
        "GET" => {
            raw::events(&mut stream, "").await;
            raw::event(&mut stream, r#"{"jsonrpc":"2.0","id":1,"result":{}}"#).await;
            None
        }
        _ if request.rpc_method_or_none().as_deref() == Some("initialize") => {
            proper(request, stream).await
        }
        _ => {
            raw::events(&mut stream, "").await;
            stream.write_all(b"id: s/0\nretry: 3600000\ndata:\n\n").await.unwrap();
            None
        }
    })
    .await;
    single(session.send(request(0, "initialize")).await);
    // Where to resume from is nothing that precedes the answer.
    assert_eq!(single(session.send(call(1)).await).id(), Some(&1.into()));
    session.close().await;
}

#[tokio::test]
async fn a_connection_serves_on_after_a_stream_that_ends_late() {
    let (heard, mut hear) = mpsc::channel(99);
    let answered = Arc::new(tokio::sync::Notify::new());
    let told = Arc::clone(&answered);
    let session = session(quick(), move |request, mut stream| {
        let told = Arc::clone(&told);
        heard.try_send(stream.peer_addr().unwrap()).unwrap();
        async move {
            let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
                        transfer-encoding: chunked\r\n\r\n";
            let event = format!("data: {}\n\n", empty_result(&request));
            let chunk = format!("{head}{:x}\r\n{event}\r\n", event.len());
            stream.write_all(chunk.as_bytes()).await.unwrap();
            // The end comes only when the client has its answer.
            told.notified().await;
            stream.write_all(b"0\r\n\r\n").await.ok()?;
            Some(stream)
        }
    })
    .await;
    let mut peers = Vec::new();
    for id in 0..50 {
        single(session.send(call(id)).await);
        answered.notify_one();
        let peer = hear.recv().await.unwrap();
        if peers.contains(&peer) {
            return;
        }
        peers.push(peer);
        for _ in 0..200 {
            tokio::task::yield_now().await;
        }
    }
    panic!("a connection for each of {} calls", peers.len());
}
