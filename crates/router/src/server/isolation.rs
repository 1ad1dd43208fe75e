//! Tests of who shares a link, who waits for one, and what a link of one request can do.

use std::{sync::atomic::Ordering, time::Duration};

use futures::{FutureExt, StreamExt};
use mcp_jsonrpc::transport::{ErrorKind, Event, Reply};

use super::*;
use crate::double::{Client, Double};

const NONE: &str = "{}";
const ROOTS: &str = r#"{"roots":{}}"#;

fn with(isolation: Isolation) -> Options {
    Options { isolation, startup: Startup::Lazy, ..Options::default() }
}

fn opened(double: &Double) -> usize {
    double.opened.load(Ordering::Relaxed)
}

#[tokio::test(start_paused = true)]
async fn by_request_nothing_is_left() {
    let double = Double::new();
    let server = double.server(with(Isolation::Request));
    let client = Client::greet(&server, "ann", ROOTS).await;
    for (id, number) in [(1, "1"), (2, "2")] {
        let answer = client.call(id, "echo").await.unwrap();
        assert!(answer.contains(&format!(r#""text":"{number}""#)), "{answer}");
        double.hears(&format!("{number} (close)")).await;
    }
    // Two at once do not meet, and what is lost is one request.
    let (one, two) = tokio::join!(client.call(3, "die"), client.call(4, "echo"));
    assert!(one.unwrap_err().said().to_string().contains("may have been carried out"));
    two.unwrap();
    double.hears("4 (close)").await;
    client.session.close().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!((server.status().links, server.status().sessions), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn by_request_what_a_session_keeps_is_kept_or_refused() {
    let double = Double::new();
    let server = double.server(with(Isolation::Request));
    let client = Client::open(&server, "ann").await;
    let hello = client.initialize("2025-06-18", ROOTS).await.unwrap();
    assert!(hello.contains(r#""tools":{}"#) && !hello.contains("listChanged"), "{hello}");
    let ask = async |text: &str| {
        let Reply::Single(answer) = client.send(text).await.unwrap() else { panic!("no answer") };
        String::from_utf8(answer.as_bytes().to_vec()).unwrap()
    };
    let level = |level| {
        format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"logging/setLevel","params":{{"level":"{level}"}}}}"#
        )
    };
    assert!(ask(&level("loud")).await.contains("-32602"));
    assert!(ask(&level("debug")).await.contains("result"));
    assert!(ask(r#"{"jsonrpc":"2.0","id":2,"method":"ping"}"#).await.contains("result"));
    for (method, params) in [
        ("resources/subscribe", r#"{"uri":"mem://a"}"#),
        ("tasks/list", "{}"),
        ("tools/call", r#"{"name":"echo","task":{"ttl":1}}"#),
    ] {
        let text = format!(r#"{{"jsonrpc":"2.0","id":3,"method":"{method}","params":{params}}}"#);
        let said = ask(&text).await;
        assert!(said.contains("-32601") && said.contains("isolated by request"), "{said}");
    }
    assert_eq!(opened(&double), 1, "none of it needed the server");
    client.call(4, "echo").await.unwrap();
    let heard: Vec<_> = double.heard().into_iter().filter(|it| it.starts_with("1 ")).collect();
    let said = ["1 initialize", "1 notifications/initialized", "1 logging/setLevel"];
    assert_eq!(heard[..3], said);
}

#[tokio::test(start_paused = true)]
async fn by_request_a_question_is_answered_where_it_was_asked() {
    let double = Double::new();
    let server = double.server(with(Isolation::Request));
    let client = Client::greet(&server, "ann", ROOTS).await;
    let mut unasked = client.session.listen(None).await.unwrap();
    let client = &client;
    let call = |id| {
        let text = format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"gate"}}}}"#
        );
        async move { client.send(&text).await.map(drop) }.boxed_local()
    };
    let (mut one, mut two) = (call(1), call(2));
    assert!((&mut one).now_or_never().is_none() && (&mut two).now_or_never().is_none());
    double.hears("2 tools/call gate").await;
    // Both servers count from the same number.
    let mut asked = Vec::new();
    for link in [1, 2] {
        double.talk(link).say("roots/list", Some(0));
        let Event::Message { message, .. } = unasked.next().await.unwrap().unwrap() else {
            panic!("no question")
        };
        asked.push(message);
    }
    assert_ne!(asked[0].id(), asked[1].id());
    for (question, link) in asked.iter().zip([1, 2]).rev() {
        client.reply(question).await;
        double.hears(&format!("{link} (answer)")).await;
    }
    double.gate.notify_waiters();
    one.await.unwrap();
    two.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn who_finds_no_place_waits_for_one() {
    let double = Double::new();
    let options = Options {
        link_max: 1,
        link_queue_max: 1,
        link_wait_timeout: Duration::from_secs(10),
        ..with(Isolation::Session)
    };
    let server = double.server(options);
    let first = Client::greet(&server, "ann", NONE).await;
    let second = Client::open(&server, "bob").await;
    let mut waiting = Box::pin(second.initialize("2025-06-18", NONE));
    assert!((&mut waiting).now_or_never().is_none());
    assert_eq!(server.status().waiting, 1);
    // The queue has an end.
    let third = Client::open(&server, "cid").await;
    let error = third.initialize("2025-06-18", NONE).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Exhausted);
    first.session.close().await;
    waiting.await.unwrap();
    // And so has the wait.
    let began = tokio::time::Instant::now();
    let error = third.initialize("2025-06-18", NONE).await.unwrap_err();
    assert_eq!(began.elapsed(), Duration::from_secs(10));
    assert!(error.said().to_string().contains("raise `childMax`"), "{}", error.said());
    let status = server.status();
    assert_eq!((status.links, status.waiting, status.turned_away), (1, 0, 2));
}

/// Nobody waits for a place at a server of which it was only not known that it wants none.
#[tokio::test(start_paused = true)]
async fn who_finds_no_place_may_need_none() {
    let double = Double::new();
    let server = double.server(Options { link_max: 1, ..with(Isolation::Session) });
    let first = Client::greet(&server, "ann", NONE).await;
    double.settles_light.store(true, Ordering::Relaxed);
    Client::greet(&server, "bob", NONE).await;
    assert!(first.session.is_open() && !double.heard().contains(&"0 (close)".to_owned()));
    // Nor is one opened ahead that was found to be of no use only then.
    let double = Double::new();
    let options = Options { warm_count: 2, link_max: 8, ..with(Isolation::Session) };
    let server = double.server(options);
    let _first = Client::greet(&server, "ann", NONE).await;
    double.start_ms.store(5_000, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(2)).await;
    double.light.store(true, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!((opened(&double), server.status().links), (3, 1));
}

#[tokio::test(start_paused = true)]
async fn what_nobody_uses_makes_room() {
    let double = Double::new();
    let server = double.server(Options { link_max: 1, ..with(Isolation::Caller) });
    let ann = Client::greet(&server, "ann", NONE).await;
    ann.session.close().await;
    assert_eq!(server.status().links, 1, "it is kept for her next session");
    Client::greet(&server, "bob", NONE).await;
    assert!(double.heard().contains(&"0 (close)".to_owned()));
    assert_eq!(server.status().links, 1);
}

#[tokio::test(start_paused = true)]
async fn warm_children_are_there_before_anybody() {
    let double = Double::new();
    let options = Options { warm_count: 2, link_max: 4, ..with(Isolation::Session) };
    let server = double.server(options);
    let ann = Client::greet(&server, "ann", ROOTS).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!((opened(&double), server.status().links), (3, 3));
    assert!(!double.heard().iter().any(|it| it.starts_with("1 ") || it.starts_with("2 ")));
    // Whatever it declares, and whichever revision it speaks.
    let bob = Client::open(&server, "bob").await;
    bob.initialize("2024-11-05", ROOTS).await.unwrap();
    assert!(double.heard().contains(&"1 initialize".to_owned()));
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(server.status().links, 4);
    // They make room.
    for caller in ["cid", "dan"] {
        std::mem::forget(Client::greet(&server, caller, ROOTS).await);
    }
    assert_eq!(server.status().links, 4);
    // One that dies is replaced.
    bob.session.close().await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let last = opened(&double) - 1;
    double.talk(last).die();
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!((opened(&double) - 1, server.status().links), (last + 1, 4));
    drop(ann);
    server.shut_down(Duration::ZERO, "the test ends").await;
    assert_eq!(server.status().links, 0);
}

#[tokio::test(start_paused = true)]
async fn warm_children_of_a_lazy_server_end_when_nobody_comes() {
    let double = Double::new();
    let options = Options { warm_count: 1, ..with(Isolation::Session) };
    let server = double.server(options);
    let ann = Client::greet(&server, "ann", ROOTS).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(server.status().links, 2);
    ann.session.close().await;
    tokio::time::sleep(Duration::from_secs(301)).await;
    assert_eq!(server.status().links, 0);
    tokio::time::sleep(Duration::from_secs(301)).await;
    assert_eq!(opened(&double), 2, "and none is started until somebody does");
}

#[tokio::test(start_paused = true)]
async fn a_hung_child_is_replaced() {
    let double = Double::new();
    let server = double.server(with(Isolation::Session));
    let client = Client::greet(&server, "ann", ROOTS).await;
    let mut unasked = client.listen().await;
    client.call(1, "echo").await.unwrap();
    // One that answers pings is left alone.
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!((opened(&double), server.status().hung), (1, 0));
    double.hung.store(true, Ordering::Relaxed);
    let mut call = Box::pin(client.call(2, "hang"));
    assert!((&mut call).now_or_never().is_none());
    // With work to do it has as long as the work has.
    tokio::time::sleep(Duration::from_secs(200)).await;
    assert_eq!(server.status().hung, 0);
    let error = call.await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Timeout);
    double.hung.store(false, Ordering::Relaxed);
    double.hears("0 (close)").await;
    // Whoever listens has another without asking for it.
    assert_eq!(unasked.next().await.unwrap(), "notifications/tools/list_changed");
    assert_eq!((opened(&double), server.status().hung), (2, 1));
    client.call(3, "echo").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn whoever_listens_is_told_when_a_server_has_come_back() {
    let double = Double::new();
    let server = double.server(with(Isolation::Session));
    let client = Client::greet(&server, "ann", ROOTS).await;
    let other = Client::greet(&server, "ann", ROOTS).await;
    let mut unasked = client.listen().await;
    double.talk(0).say("roots/list", Some(4));
    assert_eq!(unasked.next().await.unwrap(), "roots/list");
    double.talk(1).die();
    double.talk(0).die();
    // Nobody waits for that answer any more, and the lists may have changed.
    assert_eq!(unasked.next().await.unwrap(), "notifications/cancelled");
    assert_eq!(unasked.next().await.unwrap(), "notifications/tools/list_changed");
    // Who does not listen costs nothing until there is something to ask.
    assert_eq!((opened(&double), server.status().links), (3, 1));
    other.call(1, "echo").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn as_many_questions_as_may_be() {
    let double = Double::new();
    let server = double.server(with(Isolation::Session));
    let client = Client::greet(&server, "ann", ROOTS).await;
    let _unasked = client.listen().await;
    for id in 0..260 {
        double.talk(0).say("roots/list", Some(id));
        tokio::task::yield_now().await;
    }
    double.hears("0 (answer)").await;
    while server.status().refused < 4 {
        tokio::task::yield_now().await;
    }
}
