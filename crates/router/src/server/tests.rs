use std::{sync::atomic::Ordering, time::Duration};

use futures::{FutureExt, StreamExt};
use mcp_jsonrpc::{
    Id,
    transport::{Caller, ErrorKind, Event, Reply, Transport},
};

use super::*;
use crate::double::{Client, Double};

const NONE: &str = "{}";
const ROOTS: &str = r#"{"roots":{}}"#;

fn lazy() -> Options {
    Options { startup: Startup::Lazy, ..Options::default() }
}

#[tokio::test(start_paused = true)]
async fn a_session_is_its_callers_own() {
    let server = Double::new().server(lazy());
    let ann = Client::greet(&server, "ann", NONE).await;
    let id = ann.session.endpoint().session.unwrap();
    assert_eq!(id.as_str().len(), 32);
    server.find(&id, &Caller::named("ann")).unwrap();
    for other in [Caller::named("bob"), Caller::anonymous()] {
        let error = server.find(&id, &other).unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::NoSession);
    }
    ann.session.close().await;
    server.find(&id, &Caller::named("ann")).unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn clients_that_can_be_asked_share_with_nobody() {
    let double = Double::new();
    let server = double.server(lazy());
    let mut numbers = Vec::new();
    for (caller, capabilities) in
        [("ann", NONE), ("ann", NONE), ("bob", NONE), ("ann", ROOTS), ("ann", ROOTS)]
    {
        let client = Client::greet(&server, caller, capabilities).await;
        let answer = client.call(1, "who").await.unwrap();
        let (_, text) = answer.split_once(r#""text":""#).unwrap();
        numbers.push(text.split('"').next().unwrap().to_owned());
        std::mem::forget(client);
    }
    assert_eq!(numbers, ["0", "0", "1", "2", "3"]);
}

#[tokio::test(start_paused = true)]
async fn order_is_kept_and_explained() {
    let server = Double::new().server(lazy());
    let client = Client::open(&server, "ann").await;
    let error = client.call(1, "echo").await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Invalid(-32600));
    assert!(error.said().to_string().contains("send `initialize`"), "{}", error.said());
    let pong = client.send(r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#).await.unwrap();
    assert!(matches!(pong, Reply::Single(_)));
    let discover = r#"{"jsonrpc":"2.0","id":1,"method":"server/discover","params":{}}"#;
    let error = client.send(discover).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Invalid(-32601));
    client.initialize("2025-06-18", NONE).await.unwrap();
    let error = client.initialize("2025-06-18", NONE).await.unwrap_err();
    assert!(error.to_string().contains("initialized already"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_dead_server_is_replaced_and_no_call_is_repeated() {
    let double = Double::new();
    let server = double.server(lazy());
    let client = Client::greet(&server, "ann", ROOTS).await;
    let mut unasked = client.listen().await;

    let error = client.call(1, "die").await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Closed);
    let said = error.said().to_string();
    assert!(said.contains("server `double`") && said.contains("ouch"), "{said}");

    let answer = client.call(2, "echo").await.unwrap();
    assert!(answer.contains(r#""text":"1""#), "{answer}");
    assert_eq!(unasked.next().await.unwrap(), "notifications/tools/list_changed");
    let heard = double.heard();
    assert_eq!(heard.iter().filter(|it| it.ends_with(" die")).count(), 1, "{heard:?}");
    assert!(heard.contains(&"1 notifications/initialized".to_owned()), "{heard:?}");
    assert_eq!(server.status().restarts, 1);
}

#[tokio::test(start_paused = true)]
async fn a_new_link_is_told_what_the_last_one_knew() {
    let double = Double::new();
    let server = double.server(lazy());
    let client = Client::greet(&server, "ann", ROOTS).await;
    for (id, method, params) in [
        (1, "logging/setLevel", r#"{"level":"debug"}"#),
        (2, "resources/subscribe", r#"{"uri":"mem://a"}"#),
        (3, "resources/subscribe", r#"{"uri":"mem://b"}"#),
        (4, "resources/unsubscribe", r#"{"uri":"mem://b"}"#),
    ] {
        let text =
            format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{params}}}"#);
        client.send(&text).await.unwrap();
    }
    double.talk(0).die();
    client.call(5, "echo").await.unwrap();
    let again: Vec<_> = double.heard().into_iter().filter(|it| it.starts_with("1 ")).collect();
    assert_eq!(
        again,
        [
            "1 initialize",
            "1 notifications/initialized",
            "1 logging/setLevel",
            "1 resources/subscribe",
            "1 tools/call echo",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_broken_server_says_why_and_is_tried_again() {
    let double = Double::new();
    double.broken.store(true, Ordering::Relaxed);
    let server = double.server(lazy());
    let client = Client::open(&server, "ann").await;
    for _ in 0..2 {
        let error = client.initialize("2025-06-18", NONE).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Unavailable { .. }), "{error}");
        assert!(error.said().to_string().contains("ouch"), "{}", error.said());
    }
    let opened = double.opened.load(Ordering::Relaxed);
    let error = client.initialize("2025-06-18", NONE).await.unwrap_err();
    assert!(error.said().to_string().contains("tried again in 1 s"), "{}", error.said());
    assert_eq!(double.opened.load(Ordering::Relaxed), opened, "it was tried during its pause");

    double.broken.store(false, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(1)).await;
    client.initialize("2025-06-18", NONE).await.unwrap();
    assert_eq!(server.state(), State::Ready);
}

#[tokio::test(start_paused = true)]
async fn an_eager_server_comes_back_by_itself() {
    let double = Double::new();
    double.broken.store(true, Ordering::Relaxed);
    let server = double.server(Options::default());
    server.start();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(server.state(), State::Backoff);
    double.broken.store(false, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(server.state(), State::Ready);
    // Its first link is whose it is needed by.
    let client = Client::open(&server, "ann").await;
    client.initialize("2025-11-25", NONE).await.unwrap();
    assert_eq!(server.status().links, 1);
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_call_ends_and_its_id_is_free() {
    let double = Double::new();
    let server = double.server(lazy());
    let client = Client::greet(&server, "ann", NONE).await;
    let hanging = client.call(1, "hang");
    tokio::pin!(hanging);
    assert!(hanging.as_mut().now_or_never().is_none());
    let error = client.call(1, "echo").await.unwrap_err();
    assert!(error.to_string().contains("id 1 is still being answered"), "{error}");
    let cancel = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#;
    client.send(cancel).await.unwrap();
    assert_eq!(*hanging.await.unwrap_err().kind(), ErrorKind::Cancelled);
    client.call(1, "echo").await.unwrap();
    assert!(!double.heard().iter().any(|it| it.contains("cancelled")));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_not_answered_ends_in_time() {
    let server = Double::new().server(lazy());
    let client = Client::greet(&server, "ann", NONE).await;
    let began = tokio::time::Instant::now();
    let error = client.call(1, "hang").await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Timeout);
    assert!(error.said().to_string().contains("`firstByteTimeout`"), "{}", error.said());
    let took = began.elapsed().as_secs();
    assert!((300..=302).contains(&took), "{took}");
}

/// A person may have to be found: until then it is not the server that is silent.
#[tokio::test(start_paused = true)]
async fn a_call_whose_client_is_asked_waits_for_it_but_not_for_ever() {
    const HANG: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"hang"}}"#;
    for (thinks, took) in [(Some(590), 890), (None, 900)] {
        let double = Double::new();
        let server = double.server(Options { isolation: Isolation::Session, ..lazy() });
        let client = Client::greet(&server, "ann", ROOTS).await;
        let began = tokio::time::Instant::now();
        let ask = async {
            double.hears("0 tools/call hang").await;
            double.talk(0).say("roots/list", Some(7));
        };
        let (reply, ()) = tokio::join!(client.send(HANG), ask);
        let Reply::Stream(mut events) = reply.unwrap() else { panic!("no question") };
        let Some(Ok(Event::Message { message: question, .. })) = events.next().await else {
            panic!("no question")
        };
        if let Some(secs) = thinks {
            tokio::time::sleep(Duration::from_secs(secs)).await;
            assert!(events.next().now_or_never().is_none(), "it goes on");
            client.reply(&question).await;
        }
        let error = events.next().await.unwrap().unwrap_err();
        assert!(error.said().to_string().contains("`idleTimeout`"), "{}", error.said());
        let secs = began.elapsed().as_secs();
        assert!((took - 1..=took + 2).contains(&secs), "{secs}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_stream_is_no_cancellation() {
    let double = Double::new();
    let server = double.server(lazy());
    let client = Client::greet(&server, "ann", NONE).await;
    assert!(client.call(1, "gate").now_or_never().is_none());
    assert_eq!(server.status().in_flight, 1);
    double.hears("0 tools/call gate").await;
    double.gate.notify_one();
    while server.status().in_flight > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn as_many_calls_as_may_be() {
    let server = Double::new().server(Options { in_flight_max: 2, ..lazy() });
    let client = Client::greet(&server, "ann", NONE).await;
    for id in 1..=2 {
        assert!(client.call(id, "hang").now_or_never().is_none());
    }
    let error = client.call(3, "echo").await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Exhausted);
}

#[tokio::test(start_paused = true)]
async fn as_many_sessions_and_links_as_may_be() {
    let options = Options { session_max: 2, link_max: 1, ..lazy() };
    let server = Double::new().server(options);
    let first = Client::greet(&server, "ann", ROOTS).await;
    let second = Client::open(&server, "ann").await;
    let error = second.initialize("2025-06-18", ROOTS).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Exhausted);
    let opening = Opening { caller: Caller::anonymous(), version: None, at: "/double/mcp".into() };
    let error = server.open(opening).await.unwrap_err();
    assert!(error.to_string().contains("`sessionMax`"), "{error}");
    first.session.close().await;
    second.initialize("2025-06-18", ROOTS).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn idle_sessions_end_and_idle_links_after_them() {
    let double = Double::new();
    let server = double.server(lazy());
    let idle = Client::greet(&server, "ann", NONE).await;
    let listening = Client::greet(&server, "ann", NONE).await;
    let unasked = listening.listen().await;
    tokio::time::sleep(Duration::from_secs(31 * 60)).await;
    let status = server.status();
    assert_eq!((status.sessions, status.links), (1, 1));
    assert_eq!(*idle.call(1, "echo").await.unwrap_err().kind(), ErrorKind::NoSession);
    drop(unasked);
    tokio::time::sleep(Duration::from_secs(36 * 60)).await;
    let status = server.status();
    assert_eq!((status.sessions, status.links), (0, 0));
    assert!(double.heard().contains(&"0 (close)".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn what_is_said_unasked_goes_where_it_belongs() {
    let double = Double::new();
    let server = double.server(lazy());
    let client = Client::greet(&server, "ann", ROOTS).await;
    client.call(1, "echo").await.unwrap();
    let talk = double.talk(0);

    // Nobody listens, nothing runs: kept for whoever listens first.
    talk.say("notifications/tools/list_changed", None);
    tokio::task::yield_now().await;
    let mut unasked = client.listen().await;
    assert_eq!(unasked.next().await.unwrap(), "notifications/tools/list_changed");

    // One call runs: what it may have caused goes with its reply, news does not.
    let call = r#"{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"gate"}}"#;
    let reply = client.send(call);
    tokio::pin!(reply);
    assert!(reply.as_mut().now_or_never().is_none());
    talk.say("notifications/resources/updated", None);
    talk.say("roots/list", Some(7));
    assert_eq!(unasked.next().await.unwrap(), "notifications/resources/updated");
    let Reply::Stream(mut events) = reply.await.unwrap() else { panic!("no stream") };
    let Event::Message { message: asked, .. } = events.next().await.unwrap().unwrap() else {
        panic!("no question")
    };
    assert_eq!(asked.method(), Some("roots/list"));
    // An answer to another question, which an earlier link may have asked, goes nowhere.
    assert_ne!(asked.id(), Some(&Id::from(7)));
    client.send(r#"{"jsonrpc":"2.0","id":7,"result":{"roots":[]}}"#).await.unwrap();
    assert!(!double.heard().contains(&"0 (answer)".to_owned()));
    client.reply(&asked).await;
    double.hears("0 (answer)").await;
    double.gate.notify_one();
    let last = format!("{:?}", events.next().await.unwrap().unwrap());
    assert!(last.contains("Response"), "{last}");
    assert!(events.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn nobody_hears_what_is_anothers() {
    let double = Double::new();
    let server = double.server(lazy());
    let (one, two) =
        (Client::greet(&server, "ann", NONE).await, Client::greet(&server, "ann", NONE).await);
    let subscribe =
        r#"{"jsonrpc":"2.0","id":1,"method":"resources/subscribe","params":{"uri":"mem://a"}}"#;
    one.send(subscribe).await.unwrap();
    let (mut of_one, mut of_two) = (one.listen().await, two.listen().await);
    let talk = double.talk(0);
    for method in [
        "notifications/message",
        "notifications/resources/updated",
        "notifications/tools/list_changed",
    ] {
        talk.say(method, None);
    }
    talk.say("sampling/createMessage", Some(3));
    assert_eq!(of_one.next().await.unwrap(), "notifications/resources/updated");
    assert_eq!(of_one.next().await.unwrap(), "notifications/tools/list_changed");
    assert_eq!(of_two.next().await.unwrap(), "notifications/tools/list_changed");
    // The question nobody may be asked is refused.
    double.hears("0 (answer)").await;

    // With one call running, a log can only be about that.
    let mut reply = Box::pin(one.call(2, "gate"));
    assert!((&mut reply).now_or_never().is_none());
    talk.say("notifications/message", None);
    assert_eq!(reply.await.unwrap(), "stream");
    assert!(of_two.next().now_or_never().is_none());
}

#[tokio::test(start_paused = true)]
async fn an_end_waits_for_what_runs() {
    let double = Double::new();
    let server = double.server(lazy());
    let client = Client::greet(&server, "ann", ROOTS).await;
    let call = client.call(1, "gate");
    tokio::pin!(call);
    assert!(call.as_mut().now_or_never().is_none());
    let end = server.shut_down(Duration::from_secs(5), "it ends");
    tokio::pin!(end);
    assert!(end.as_mut().now_or_never().is_none());
    let opening = Opening { caller: Caller::anonymous(), version: None, at: "/a".into() };
    let error = server.open(opening).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Unavailable { .. }), "{error}");
    double.gate.notify_one();
    call.await.unwrap();
    end.await;
    assert!(double.heard().contains(&"0 (close)".to_owned()));
    assert_eq!((server.status().sessions, server.status().links), (0, 0));
}
