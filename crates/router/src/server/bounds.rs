//! Tests that go to each bound and wait of a server.

use std::{sync::atomic::Ordering, time::Duration};

use futures::{FutureExt, StreamExt};
use mcp_jsonrpc::transport::{ErrorKind, Event, Reply, func};

use super::*;
use crate::double::{Client, Double};

const NONE: &str = "{}";
const ROOTS: &str = r#"{"roots":{}}"#;

fn lazy() -> Options {
    Options { startup: Startup::Lazy, ..Options::default() }
}

#[tokio::test(start_paused = true)]
async fn one_stream_more_ends_the_oldest() {
    let server = Double::new().server(Options { stream_max: 2, ..lazy() });
    let client = Client::greet(&server, "ann", NONE).await;
    let mut first = client.listen().await;
    let mut second = client.listen().await;
    assert!(first.next().now_or_never().is_none());
    let _third = client.listen().await;
    assert_eq!(first.next().await, None);
    assert!(second.next().now_or_never().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_revision_that_is_pinned_is_the_one_spoken_behind() {
    for (pinned, asked, answered) in [
        (ProtocolVersion::V2025_03_26, "2025-06-18", "2025-03-26"),
        (ProtocolVersion::V2025_11_25, "2025-03-26", "2025-03-26"),
    ] {
        for capabilities in [NONE, ROOTS] {
            let server = Double::new().server(Options { version: Some(pinned), ..lazy() });
            let client = Client::open(&server, "ann").await;
            let answer = client.initialize(asked, capabilities).await.unwrap();
            let expect = format!(r#""protocolVersion":"{answered}""#);
            assert!(answer.contains(&expect), "{pinned} {answer}");
            assert_eq!(server.status().protocol_version, Some(pinned.as_str()));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_that_says_nothing_is_not_kept() {
    let options = Options { handshake_timeout: Duration::from_secs(5), ..lazy() };
    let server = Double::new().server(options);
    let client = Client::open(&server, "ann").await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(server.status().sessions, 1);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(server.status().sessions, 0);
    let id = client.session.endpoint().session.unwrap();
    let error = server.find(&id, &Caller::named("ann")).unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::NoSession);
}

#[tokio::test(start_paused = true)]
async fn as_many_subscriptions_are_kept_as_may_be() {
    let double = Double::new();
    let server = double.server(Options { subscriptions_max: 2, ..lazy() });
    let client = Client::greet(&server, "ann", ROOTS).await;
    for id in 1..=3 {
        let text = format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"resources/subscribe","params":{{"uri":"mem://{id}"}}}}"#
        );
        client.send(&text).await.unwrap();
    }
    double.talk(0).die();
    client.call(5, "echo").await.unwrap();
    let heard = double.heard();
    let again = heard.iter().filter(|it| *it == "1 resources/subscribe").count();
    assert_eq!(again, 2, "{heard:?}");
}

#[tokio::test(start_paused = true)]
async fn as_much_is_kept_for_a_listener_as_may_be() {
    let double = Double::new();
    let server = double.server(lazy());
    let client = Client::greet(&server, "ann", ROOTS).await;
    client.call(1, "echo").await.unwrap();
    for _ in 0..100 {
        double.talk(0).say("notifications/tools/list_changed", None);
    }
    tokio::time::sleep(Duration::from_millis(1)).await;
    let mut unasked = client.listen().await;
    let mut kept = 0;
    while unasked.next().now_or_never().is_some() {
        kept += 1;
    }
    assert_eq!(kept, 64);
}

/// A server hears of a session's subscriptions before it hears of the next call, whoever asks.
#[tokio::test(start_paused = true)]
async fn nothing_overtakes_what_a_new_link_is_told() {
    let double = Double::new();
    let server = double.server(lazy());
    let client = Client::greet(&server, "ann", ROOTS).await;
    let subscribe =
        r#"{"jsonrpc":"2.0","id":1,"method":"resources/subscribe","params":{"uri":"mem://a"}}"#;
    client.send(subscribe).await.unwrap();
    double.talk(0).die();
    double.slow.store(true, Ordering::Relaxed);
    let (one, two) = (client.call(2, "echo"), client.call(3, "echo"));
    let meanwhile = async {
        double.hears("1 resources/subscribe").await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let heard = double.heard();
        assert!(!heard.iter().any(|it| it.starts_with("1 tools/call")), "{heard:?}");
        double.gate.notify_one();
    };
    let (one, two, ()) = tokio::join!(one, two, meanwhile);
    // What the client hears besides comes with one of them.
    one.unwrap();
    two.unwrap();
    assert_eq!(double.heard().iter().filter(|it| **it == "1 tools/call echo").count(), 2);
}

/// Many clients never listen: they hear of it by what they ask next, and once.
#[tokio::test(start_paused = true)]
async fn what_nobody_heard_comes_with_the_next_call() {
    let double = Double::new();
    let server = double.server(lazy());
    let client = Client::greet(&server, "ann", ROOTS).await;
    client.call(1, "echo").await.unwrap();
    double.talk(0).say("notifications/tools/list_changed", None);
    double.talk(0).say("notifications/message", None);
    tokio::time::sleep(Duration::from_millis(1)).await;
    let call = |id| {
        format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"echo"}}}}"#)
    };
    let Ok(Reply::Stream(said)) = client.send(&call(2)).await else { panic!("no stream") };
    let said = said.map(|it| match it.unwrap() {
        Event::Message { message, .. } => message.method().map(str::to_owned),
        Event::Pause { .. } => panic!("a pause"),
    });
    let said: Vec<_> = said.collect().await;
    let news = ["notifications/tools/list_changed", "notifications/message"];
    assert_eq!(said, [Some(news[0].to_owned()), Some(news[1].to_owned()), None]);
    assert!(matches!(client.send(&call(3)).await, Ok(Reply::Single(_))));
    assert_eq!(client.listen().await.next().now_or_never(), None);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_answer_has_not_started() {
    let silent = func::from_fn(|_| std::future::pending());
    let options = Options { start_timeout: Duration::from_secs(7), ..lazy() };
    let server = Server::new("silent", Arc::new(silent), options);
    let began = tokio::time::Instant::now();
    let client = Client::open(&server, "ann").await;
    let error = client.initialize("2025-06-18", NONE).await.unwrap_err();
    assert_eq!(began.elapsed(), Duration::from_secs(7));
    assert!(error.said().to_string().contains("`startTimeout`"), "{}", error.said());
}

#[tokio::test(start_paused = true)]
async fn a_crash_loop_is_left_alone_until_somebody_asks() {
    let double = Double::new();
    double.broken.store(true, Ordering::Relaxed);
    let restart = Restart { crash_loop_count: 3, ..Restart::default() };
    let server = double.server(Options { restart, ..Options::default() });
    server.start();
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(server.state(), State::Parked);
    let tried = double.opened.load(Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!((tried, double.opened.load(Ordering::Relaxed)), (3, 3));
    double.broken.store(false, Ordering::Relaxed);
    Client::greet(&server, "ann", NONE).await;
    assert_eq!(server.state(), State::Ready);
}

/// Whoever looks for what is over comes before whoever listens to what is dying.
#[tokio::test(start_paused = true)]
async fn a_death_is_noted_whoever_finds_it() {
    let double = Double::new();
    let server = double.server(Options::default());
    server.start();
    double.hears("0 notifications/initialized").await;
    double.talk(0).die();
    server.0.inner.sweep().await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!((server.status().restarts, server.state()), (1, State::Ready));
    assert!(!double.talk(1).is_over());

    let client = Client::greet(&server, "ann", NONE).await;
    let mut news = client.listen().await;
    client.call(1, "die").await.unwrap_err();
    server.0.inner.sweep().await;
    assert_eq!(news.next().await.unwrap(), "notifications/tools/list_changed");
    assert_eq!((server.status().restarts, server.state()), (2, State::Ready));
}

/// A tool that kills it now and then, or each session's child, makes no loop of crashes.
#[tokio::test(start_paused = true)]
async fn who_works_between_its_crashes_is_not_left_alone() {
    let double = Double::new();
    let server = double.server(lazy());
    let client = Client::greet(&server, "ann", NONE).await;
    // News of what has begun again go here, and not before an answer.
    let _news = client.listen().await;
    for _ in 0..10 {
        assert!(client.call(1, "who").await.unwrap().contains("content"));
        client.call(2, "die").await.unwrap_err();
    }
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(server.status().restarts, 10);
    let mut crashes = 0;
    // One that can say what it has, and can do none of it, is another matter.
    while server.state() != State::Parked {
        let list = r#"{"jsonrpc":"2.0","id":3,"method":"tools/list"}"#;
        if client.send(list).await.is_ok() {
            client.call(4, "die").await.unwrap_err();
            crashes += 1;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(crashes, 4, "the last of the ten was the first of these");
    tokio::time::sleep(Duration::from_secs(31)).await;
    assert!(client.call(5, "who").await.unwrap().contains("content"));
    assert_eq!(server.state(), State::Ready);
}

#[tokio::test(start_paused = true)]
async fn what_is_said_before_the_handshake_ends_is_kept_within_reason() {
    let chatty = func::from_fn(|exchange: mcp_jsonrpc::transport::Exchange| async move {
        let Some(id) = exchange.message.id().cloned() else { return Ok(Reply::Accepted) };
        let note = r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":1}}"#;
        let note = mcp_jsonrpc::Message::parse(note).unwrap();
        let hello = serde_json::json!({
            "protocolVersion": "2025-06-18", "capabilities": {},
            "serverInfo": { "name": "chatty", "version": "1" },
        });
        let answer = mcp_jsonrpc::Message::response(&id, &hello).unwrap();
        let said = std::iter::repeat_n(note, 1000).chain([answer]);
        let said = said.map(|message| Ok(Event::from(message)));
        Ok(Reply::Stream(futures::stream::iter(said.collect::<Vec<_>>()).boxed()))
    });
    let server = Server::new("chatty", Arc::new(chatty), lazy());
    let client = Client::greet(&server, "ann", ROOTS).await;
    let mut unasked = client.listen().await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    let mut heard = 0;
    while unasked.next().now_or_never().flatten().is_some() {
        heard += 1;
    }
    assert!((1..=64).contains(&heard), "{heard}");
}

/// It is a listener's from then on, and may hold as much as any.
#[tokio::test(start_paused = true)]
async fn what_was_kept_becomes_as_wide_as_a_listener() {
    let double = Double::new();
    let server = double.server(lazy());
    let client = Client::greet(&server, "ann", ROOTS).await;
    client.call(1, "echo").await.unwrap();
    double.talk(0).say("notifications/tools/list_changed", None);
    tokio::time::sleep(Duration::from_millis(1)).await;
    let mut unasked = client.listen().await;
    for _ in 0..200 {
        double.talk(0).say("notifications/tools/list_changed", None);
    }
    tokio::time::sleep(Duration::from_millis(1)).await;
    let mut heard = 0;
    while unasked.next().now_or_never().flatten().is_some() {
        heard += 1;
    }
    assert_eq!(heard, 201);
}

/// Whoever comes while a server starts waits for that start, and causes no other.
#[tokio::test(start_paused = true)]
async fn a_crowd_at_the_start_starts_one() {
    for startup in [Startup::Lazy, Startup::Eager] {
        for breaks in [false, true] {
            let double = Double::new();
            double.start_ms.store(100, Ordering::Relaxed);
            double.broken.store(breaks, Ordering::Relaxed);
            let server = double.server(Options { startup, ..Options::default() });
            let mut opened = 0;
            if breaks {
                let client = Client::open(&server, "ann").await;
                client.initialize("2025-11-25", NONE).await.unwrap_err();
                opened = double.opened.load(Ordering::Relaxed);
                double.broken.store(false, Ordering::Relaxed);
            }
            let crowd = (0..50).map(async |_| {
                let client = Client::open(&server, "ann").await;
                client.initialize("2025-11-25", NONE).await.unwrap();
                client
            });
            let crowd = futures::future::join_all(crowd).await;
            let now = double.opened.load(Ordering::Relaxed);
            assert_eq!(now, opened + 1, "{startup:?}, after a failure: {breaks}");
            assert_eq!(server.status().links, 1);
            drop(crowd);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_listener_that_does_not_read_loses_its_stream_and_nobody_else_anything() {
    let double = Double::new();
    let inbox = InboxMax { queue_len_max: 4, ..InboxMax::default() };
    let server = double.server(Options { inbox, ..lazy() });
    let slow = Client::greet(&server, "ann", NONE).await;
    let quick = Client::greet(&server, "ann", NONE).await;
    let mut unread = slow.session.listen(None).await.unwrap();
    let mut read = quick.listen().await;
    for n in 0..10 {
        double.talk(0).say_news(n);
        assert_eq!(read.next().await.unwrap(), "notifications/tools/list_changed");
    }
    for _ in 0..4 {
        assert!(unread.next().await.unwrap().is_ok());
    }
    let error = unread.next().await.unwrap().unwrap_err();
    assert!(error.said().to_string().contains("reads too slowly"), "{error}");
    assert!(unread.next().await.is_none());
    // What found no room waits for its next stream.
    let mut again = slow.listen().await;
    for _ in 0..6 {
        assert_eq!(again.next().await.unwrap(), "notifications/tools/list_changed");
    }
    assert!(slow.call(1, "who").await.is_ok());
}

/// What nobody misses goes first, and the same news once is enough.
#[tokio::test(start_paused = true)]
async fn a_flood_of_logs_ends_no_listener() {
    let double = Double::new();
    let inbox = InboxMax { queue_len_max: 4, ..InboxMax::default() };
    let server = double.server(Options { inbox, ..lazy() });
    let client = Client::greet(&server, "ann", ROOTS).await;
    client.call(1, "echo").await.unwrap();
    let mut unread = client.listen().await;
    let say = async |method: &str| {
        double.talk(0).say(method, None);
        tokio::time::sleep(Duration::from_millis(1)).await;
    };
    for _ in 0..100 {
        say("notifications/message").await;
    }
    let (changed, asked) =
        ("notifications/tools/list_changed", "notifications/prompts/list_changed");
    for method in [changed, asked, changed, asked] {
        say(method).await;
    }
    let mut heard = Vec::new();
    while let Some(Some(method)) = unread.next().now_or_never() {
        heard.push(method);
    }
    // Room was made for the news, each of which is said once, and for no more.
    let log = "notifications/message";
    assert_eq!(heard, [log, log, changed, asked]);
    assert_eq!(server.status().dropped, 98);
    assert!(unread.next().now_or_never().is_none(), "it goes on");
}
