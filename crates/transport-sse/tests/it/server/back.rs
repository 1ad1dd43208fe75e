//! Clients that lose their stream, and come back or do not.

use std::sync::OnceLock;

use super::*;

const ID: &str = "0123456789abcdef.0123456789abcdef";

async fn post_ok(server: &Server, stream: &Stream, id: i64) {
    assert_eq!(post(server, &stream.post_to, call(id)).await.status(), 202);
}

async fn refused(server: &Server, fields: &[(&str, &str)], caller: Caller) -> (u16, String) {
    let mut request = Request::get("/a/sse");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let request = request.body(Outgoing::empty()).unwrap();
    let response = server.handle_stream(request, caller, "/a/message").await;
    (response.status().as_u16(), text(response).await)
}

#[tokio::test(start_paused = true)]
async fn a_client_that_comes_back_misses_nothing() {
    let (go, gate) = tokio::sync::watch::channel(false);
    let fake = Fake::new(move |exchange| {
        let mut gate = gate.clone();
        async move {
            let id = exchange.message.id().unwrap();
            if id == &Id::from(3) {
                gate.wait_for(|open| *open).await.unwrap();
            }
            Ok(Reply::Single(Message::response(id, &json!({})).unwrap()))
        }
    });
    let server = server(&fake, ServerOptions::default());
    let mut first = Stream::open(&server).await;
    let begun = first.last.clone().unwrap();
    for id in [1, 2] {
        post_ok(&server, &first, id).await;
        assert_eq!(first.message().await["id"], id);
    }
    // A call runs while the stream is lost; what is posted meanwhile is taken.
    post_ok(&server, &first, 3).await;
    let (post_to, last) = (first.post_to.clone(), first.last.clone().unwrap());
    drop(first);
    tokio::time::sleep(Duration::from_secs(59)).await;
    go.send(true).unwrap();
    let mut second = Stream::again(&server, &last).await;
    assert_eq!((&second.post_to, second.last.as_ref()), (&post_to, Some(&last)));
    assert_eq!(second.message().await["id"], 3);
    post_ok(&server, &second, 4).await;
    drop(second);

    // The last answers went down a connection that was dead already: they are said again.
    let mut third = Stream::again(&server, &begun).await;
    for id in 1..=4 {
        assert_eq!(third.message().await["id"], id);
    }
    // It hangs, half open; its client is there again.
    let last = third.last.clone().unwrap();
    let mut fourth = Stream::again(&server, &last).await;
    post_ok(&server, &fourth, 5).await;
    assert_eq!(third.next().await, None);
    drop(third);
    assert_eq!(fourth.message().await["id"], 5);
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert_eq!((server.session_count(), fake.opened(), fake.closed()), (1, 1, 0));
    drop(fourth);
    fake.until_closed(1).await;
}

#[tokio::test]
async fn clients_that_never_come_back_are_not_waited_for() {
    let agents =
        ["python-httpx/0.28.1", "Go-http-client/1.1", "Java-http-client/21.0.1", "mcp-gateway/1"];
    for agent in agents {
        let fake = echo();
        let server = server(&fake, ServerOptions::default());
        let stream = Stream::get(&server, Caller::anonymous(), &[("user-agent", agent)]).await;
        assert_eq!(stream.last, None, "an id for whom it says nothing");
        drop(stream);
        fake.until_closed(1).await;
    }
}

#[tokio::test(start_paused = true)]
async fn marks_that_lead_nowhere() {
    let fake = echo().known_as(ID, Caller::named("ann"));
    let server = server(&fake, ServerOptions::default());
    let stream = Stream::open_as(&server, Caller::named("ann")).await;
    let last = stream.last.clone().unwrap();
    assert!(last.starts_with(ID), "{last}");
    for (last, caller) in
        [(last.clone(), Caller::named("bob")), (last.replace("0123", "4567"), Caller::named("ann"))]
    {
        let (status, words) = refused(&server, &[("last-event-id", &last)], caller).await;
        assert_eq!(status, 404);
        assert!(words.contains("without `Last-Event-ID`"), "{words}");
    }
    drop(stream);
    fake.until_closed(1).await;
    let (status, _) = refused(&server, &[("last-event-id", &last)], Caller::named("ann")).await;
    assert_eq!(status, 404);
    // An id of somebody else's making means nothing: a session begins.
    Stream::get(&server, Caller::named("ann"), &[("last-event-id", "42")]).await;
    assert_eq!(fake.opened(), 2);
}

#[tokio::test(start_paused = true)]
async fn as_much_waits_for_who_is_away_as_for_anybody() {
    let outbox = InboxMax { queue_len_max: 2, queue_bytes_max: 1 << 20 };
    let fake = echo();
    let server = server(&fake, ServerOptions { outbox, ..ServerOptions::default() });
    let stream = Stream::open(&server).await;
    let (post_to, last) = (stream.post_to.clone(), stream.last.clone().unwrap());
    drop(stream);
    let mut statuses = Vec::new();
    for id in 0..4 {
        statuses.push(post(&server, &post_to, call(id)).await.status().as_u16());
    }
    assert_eq!(statuses, [202, 202, 202, 404]);
    fake.until_closed(1).await;
    let (status, _) = refused(&server, &[("last-event-id", &last)], Caller::anonymous()).await;
    assert_eq!(status, 404);
}

#[tokio::test(start_paused = true)]
async fn who_is_away_gives_way() {
    // To a client that finds no session free here …
    let options = ServerOptions { session_count_max: 2, ..ServerOptions::default() };
    let fake = echo();
    let server_of_two = server(&fake, options);
    let away = Stream::open(&server_of_two).await;
    let post_to = away.post_to.clone();
    let stays = Stream::open(&server_of_two).await;
    let (status, _) = refused(&server_of_two, &[], Caller::anonymous()).await;
    assert_eq!(status, 503, "nobody is away");
    drop(away);
    let comes = Stream::open(&server_of_two).await;
    fake.until_closed(1).await;
    assert_eq!(post(&server_of_two, &post_to, call(1)).await.status(), 404);
    for stream in [&stays, &comes] {
        post_ok(&server_of_two, stream, 1).await;
    }

    // … or whose server has no room for it.
    let itself = Arc::new(OnceLock::<Fake>::new());
    let it = Arc::clone(&itself);
    let fake = Fake::new(move |exchange| {
        let full = it.get().unwrap().closed() == 0;
        async move {
            if full && exchange.message.method() == Some("initialize") {
                return Err(TransportError::new(ErrorKind::Exhausted, "64 processes are in use"));
            }
            let id = exchange.message.id().unwrap();
            Ok(Reply::Single(Message::response(id, &json!({})).unwrap()))
        }
    });
    itself.set(fake.clone()).unwrap();
    let server = server(&fake, ServerOptions::default());
    let away = Stream::open(&server).await;
    let mut stream = Stream::open(&server).await;
    let initialize = call(1).replace("tools/call", "initialize");
    post(&server, &stream.post_to, initialize.clone()).await;
    assert!(stream.message().await["error"]["message"].as_str().unwrap().contains("64 processes"));
    drop(away);
    assert_eq!(post(&server, &stream.post_to, initialize).await.status(), 202);
    assert!(stream.message().await["result"].is_object());
    assert_eq!((fake.closed(), server.session_count()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_session_outlives_the_server_where_its_transport_does() {
    let fake = echo().known_as(ID, Caller::anonymous());
    let before = server(&fake, ServerOptions::default());
    let stream = Stream::open(&before).await;
    let (post_to, last) = (stream.post_to.clone(), stream.last.clone().unwrap());
    // Gone without a word.
    std::mem::forget((before, stream));

    // The post may come first, or the stream.
    for post_first in [true, false] {
        let after = server(&fake, ServerOptions::default());
        if post_first {
            assert_eq!(post(&after, &post_to, call(7)).await.status(), 202);
        }
        let mut stream = Stream::again(&after, &last).await;
        assert_eq!(stream.post_to, post_to);
        if !post_first {
            post_ok(&after, &stream, 7).await;
        }
        assert_eq!(stream.message().await["id"], 7);
        assert_eq!(after.session_count(), 1);
        std::mem::forget((after, stream));
    }
    assert_eq!(fake.opened(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_stream_is_the_end_of_the_session_after_a_while() {
    let (started, mut starts) = tokio::sync::mpsc::channel(1);
    let (alive, dropped) = tokio::sync::oneshot::channel::<()>();
    let alive = Mutex::new(Some(alive));
    let fake = Fake::new(move |_| {
        let (started, alive) = (started.clone(), alive.lock().unwrap().take());
        async move {
            started.send(()).await.unwrap();
            let _alive = alive;
            future::pending().await
        }
    });
    let server = server(&fake, ServerOptions::default());
    let stream = Stream::open(&server).await;
    let post_to = stream.post_to.clone();
    post(&server, &post_to, call(1)).await;
    starts.recv().await.unwrap();
    let left = Instant::now();
    drop(stream);
    fake.until_closed(1).await;
    assert_eq!(left.elapsed().as_secs(), 60);
    dropped.await.unwrap_err();
    assert_eq!(post(&server, &post_to, call(2)).await.status(), 404);
    assert_eq!(server.session_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_nobody_can_close_holds_nobody_up() {
    let fake = echo().never_closed();
    let server = server(&fake, ServerOptions::default());
    drop(Stream::open(&server).await);
    fake.until_closed(1).await;
    assert_eq!(server.session_count(), 0);
}
