//! Tests: what sessions notice when their server is configured anew.

use std::{sync::atomic::Ordering, time::Duration};

use futures::{FutureExt, StreamExt, future::join_all};
use mcp_jsonrpc::transport::{ErrorKind, Event, Reply};

use super::*;
use crate::double::{Client, Double, Way};

const NONE: &str = "{}";
const ROOTS: &str = r#"{"roots":{}}"#;
const GRACE: Duration = Duration::from_secs(30);
const NEWS: &str = "notifications/tools/list_changed";

fn lazy() -> Options {
    Options { startup: Startup::Lazy, ..Options::default() }
}

fn way(double: &Arc<Double>) -> Arc<dyn Transport> {
    Arc::new(Way(Arc::clone(double)))
}

#[tokio::test(start_paused = true)]
async fn sessions_go_on_with_the_new_server_and_calls_end_with_the_old() {
    for capabilities in [ROOTS, NONE] {
        let (old, new) = (Double::new(), Double::new());
        let server = old.server(lazy());
        let client = Client::greet(&server, "ann", capabilities).await;
        let id = client.session.endpoint().session;
        for text in [
            r#"{"jsonrpc":"2.0","id":1,"method":"logging/setLevel","params":{"level":"debug"}}"#,
            r#"{"jsonrpc":"2.0","id":2,"method":"resources/subscribe","params":{"uri":"mem://a"}}"#,
        ] {
            client.send(text).await.unwrap();
        }
        let mut unasked = client.listen().await;
        let mut running = Box::pin(client.call(3, "gate"));
        assert!((&mut running).now_or_never().is_none());

        let mut left = Box::pin(server.replace(way(&new), lazy(), GRACE));
        assert!((&mut left).now_or_never().is_none(), "the old one has something to do");
        // Nobody asked: the session has gone on by itself, and its client was told.
        assert_eq!(unasked.next().await.unwrap(), NEWS);
        client.call(4, "echo").await.unwrap();
        let heard = new.heard();
        for method in ["initialize", "logging/setLevel", "resources/subscribe", "tools/call echo"] {
            let said = heard.iter().filter(|it| **it == format!("0 {method}")).count();
            assert_eq!(said, 1, "{method} in {heard:?}");
        }
        assert!(!old.heard().contains(&"0 (close)".to_owned()));
        assert!((&mut left).now_or_never().is_none());
        old.gate.notify_one();
        running.await.unwrap();
        left.await;
        assert!(old.heard().contains(&"0 (close)".to_owned()));
        assert!(!old.heard().iter().any(|it| it.ends_with("echo")));
        assert_eq!(client.session.endpoint().session, id);
        assert_eq!((server.status().links, server.status().restarts), (1, 0));
        client.call(5, "echo").await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn what_does_not_end_is_cut_off_and_told_why() {
    for capabilities in [ROOTS, NONE] {
        let (old, new) = (Double::new(), Double::new());
        let server = old.server(lazy());
        let client = Client::greet(&server, "ann", capabilities).await;
        let other = Client::greet(&server, "ann", capabilities).await;
        // Where news go, so that the answer is alone.
        let _unasked = client.listen().await;
        let mut running = Box::pin(client.call(3, "hang"));
        assert!((&mut running).now_or_never().is_none());
        let began = tokio::time::Instant::now();
        server.replace(way(&new), lazy(), GRACE).await;
        assert_eq!(began.elapsed().as_secs(), GRACE.as_secs());
        let error = running.await.unwrap_err();
        let said = error.said().to_string();
        for words in ["configuration was changed", "`timeouts.drain`"] {
            assert!(said.contains(words), "{said}");
        }
        other.call(1, "echo").await.unwrap();
        client.call(3, "echo").await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_goes_to_the_server_that_asked() {
    let (old, new) = (Double::new(), Double::new());
    let server = old.server(lazy());
    let client = Client::greet(&server, "ann", ROOTS).await;
    client.call(1, "echo").await.unwrap();
    let call = r#"{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"gate"}}"#;
    let mut running = Box::pin(client.send(call));
    assert!((&mut running).now_or_never().is_none());
    old.talk(0).say("roots/list", Some(7));
    let Reply::Stream(mut events) = running.await.unwrap() else { panic!("no stream") };
    let Event::Message { message, .. } = events.next().await.unwrap().unwrap() else {
        panic!("no question")
    };
    assert_eq!(message.method(), Some("roots/list"));

    let mut left = Box::pin(server.replace(way(&new), lazy(), GRACE));
    assert!((&mut left).now_or_never().is_none());
    new.hears("0 notifications/initialized").await;
    client.reply(&message).await;
    old.hears("0 (answer)").await;
    old.gate.notify_one();
    while events.next().await.is_some() {}
    left.await;
    assert!(!new.heard().contains(&"0 (answer)".to_owned()));

    new.talk(0).say("roots/list", Some(7));
    let mut unasked = client.session.listen(None).await.unwrap();
    let asked = loop {
        let Event::Message { message, .. } = unasked.next().await.unwrap().unwrap() else {
            continue;
        };
        if message.method() == Some("roots/list") {
            break message;
        }
    };
    // The same question to the server, and another one to the client.
    assert_ne!(asked.id(), message.id());
    client.reply(&message).await;
    assert!(!new.heard().contains(&"0 (answer)".to_owned()));
    client.reply(&asked).await;
    new.hears("0 (answer)").await;
}

#[tokio::test(start_paused = true)]
async fn who_is_being_greeted_goes_on_too() {
    let (old, new) = (Double::new(), Double::new());
    old.start_ms.store(5_000, Ordering::Relaxed);
    let server = old.server(lazy());
    let client = Client::open(&server, "ann").await;
    let mut greeting = Box::pin(client.initialize("2025-06-18", ROOTS));
    assert!((&mut greeting).now_or_never().is_none());
    let (_, answer) = tokio::join!(server.replace(way(&new), lazy(), GRACE), greeting);
    answer.unwrap();
    client.call(1, "echo").await.unwrap();
    assert!(new.heard().contains(&"0 tools/call echo".to_owned()));
    assert!(!old.heard().iter().any(|it| it.ends_with("echo")));
    assert_eq!(server.status().links, 1);
}

/// However often a server is configured anew, only so many of it are there at once.
#[tokio::test(start_paused = true)]
async fn only_so_many_are_leaving() {
    let doubles: Vec<_> = (0..12).map(|_| Double::new()).collect();
    let server = doubles[0].server(lazy());
    let (mut calls, mut left, tasks) = (Vec::new(), Vec::new(), TaskTracker::new());
    for (number, double) in doubles.iter().enumerate() {
        if number > 0 {
            left.push(tasks.spawn(server.replace(way(double), lazy(), GRACE)));
        }
        let client = Client::greet(&server, "ann", ROOTS).await;
        calls.push(tasks.spawn(async move {
            // Where news go, so that the answer is alone.
            let _unasked = client.listen().await;
            client.call(1, "hang").await
        }));
        double.hears("0 tools/call hang").await;
    }
    // Three of eleven that were replaced are too many.
    let began = tokio::time::Instant::now();
    for call in calls.drain(..3) {
        let error = call.await.unwrap().unwrap_err();
        assert!(error.said().to_string().contains("configuration was changed"), "{error}");
    }
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert!(calls.iter().all(|call| !call.is_finished()));
    join_all(left).await;
    assert_eq!(began.elapsed().as_secs(), GRACE.as_secs());
    for double in &doubles[..11] {
        assert!(double.heard().contains(&"0 (close)".to_owned()));
    }
    assert!(!calls.pop().unwrap().is_finished());
    join_all(calls).await;
}

/// Nobody waits for the start of a server that another takes the place of, and nothing of it stays.
#[tokio::test(start_paused = true)]
async fn who_is_being_started_is_not_waited_for() {
    let (old, new) = (Double::new(), Double::new());
    old.start_ms.store(20_000, Ordering::Relaxed);
    let options = || Options { wire: Wire::Child, ..Options::default() };
    let server = old.server(options());
    server.start();
    while old.opened.load(Ordering::Relaxed) == 0 {
        tokio::task::yield_now().await;
    }
    let coming = Client::open(&server, "ann");
    let began = tokio::time::Instant::now();
    let (client, ()) = tokio::join!(coming, server.replace(way(&new), options(), GRACE));
    client.initialize("2025-06-18", NONE).await.unwrap();
    client.call(1, "echo").await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    tokio::time::sleep(GRACE).await;
    assert_eq!(old.heard(), Vec::<String>::new());
    assert_eq!(new.heard().iter().filter(|it| it.ends_with("tools/call echo")).count(), 1);
    assert_eq!(server.status().sessions, 1);
}

/// Whoever asks whether all is ready must not come before the answer can be told.
#[tokio::test(start_paused = true)]
async fn a_server_that_is_to_run_is_starting_from_the_first() {
    let (old, new) = (Double::new(), Double::new());
    let server = old.server(Options::default());
    assert_eq!(server.state(), State::Idle);
    server.start();
    assert_eq!(server.state(), State::Starting);
    tokio::time::sleep(GRACE).await;
    assert_eq!(server.state(), State::Ready);
    let replacing = server.replace(way(&new), Options::default(), GRACE);
    assert_eq!(server.state(), State::Starting);
    replacing.await;
    assert_eq!(server.state(), State::Ready);
    let server = old.server(lazy());
    server.start();
    assert_eq!(server.state(), State::Idle, "it waits for its first request");
}

#[tokio::test(start_paused = true)]
async fn a_change_for_the_worse_can_be_changed_again() {
    let (old, broken, new) = (Double::new(), Double::new(), Double::new());
    broken.broken.store(true, Ordering::Relaxed);
    let server = old.server(Options::default());
    server.start();
    let client = Client::greet(&server, "ann", ROOTS).await;
    let mut unasked = client.listen().await;
    server.replace(way(&broken), Options::default(), GRACE).await;
    assert!(old.heard().contains(&"0 (close)".to_owned()));
    let error = client.call(1, "echo").await.unwrap_err();
    assert!(error.said().to_string().contains("ouch"), "{}", error.said());
    assert!((&mut unasked.next()).now_or_never().is_none());
    server.replace(way(&new), Options::default(), GRACE).await;
    assert_eq!(unasked.next().await.unwrap(), NEWS);
    client.call(2, "echo").await.unwrap();
    assert_eq!(server.state(), State::Ready);
}

#[tokio::test(start_paused = true)]
async fn whose_rights_have_ended_hears_so() {
    let server = Double::new().server(lazy());
    let ann = Client::greet(&server, "ann", ROOTS).await;
    let bob = Client::greet(&server, "bob", NONE).await;
    let cid = Client::greet(&server, "cid", ROOTS).await;
    let (mut of_ann, mut of_bob) =
        (ann.session.listen(None).await.unwrap(), bob.session.listen(None).await.unwrap());
    let mut running = Box::pin(ann.call(1, "hang"));
    assert!((&mut running).now_or_never().is_none());
    let why = "the token was removed";
    let fate = |caller: &Caller| match caller.subject.as_deref() {
        Some("ann") => Fate::Ends,
        Some("bob") => Fate::Reopens,
        _ => Fate::Stays,
    };
    server.review(why, fate).await;
    for stream in [&mut of_ann, &mut of_bob] {
        let error = stream.next().await.unwrap().unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::NoSession);
        assert!(error.to_string().contains(why), "{error}");
    }
    assert_eq!(*running.await.unwrap_err().kind(), ErrorKind::Cancelled);
    assert_eq!(*ann.call(2, "echo").await.unwrap_err().kind(), ErrorKind::NoSession);
    bob.call(2, "echo").await.unwrap();
    let mut again = bob.session.listen(None).await.unwrap();
    assert!((&mut again.next()).now_or_never().is_none());
    cid.call(2, "echo").await.unwrap();
    assert_eq!(server.status().sessions, 2);
    server.announce_tools();
    let news = format!("{:?}", again.next().await.unwrap().unwrap());
    assert!(news.contains(NEWS), "{news}");
}
