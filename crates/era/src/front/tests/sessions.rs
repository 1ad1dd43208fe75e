//! The sessions that are kept, and which way is taken.

use super::{double::Double, questions::form, *};

#[tokio::test(start_paused = true)]
async fn one_is_opened_for_all_who_wait_and_fails_for_all() {
    let server = Double::new();
    *server.start.lock().unwrap() = Duration::from_secs(10);
    let front = server.front(FrontOptions::default());
    let client = Client::new(&front, "ann", json!({}));
    let asking = (0..50).map(|_| client.call("now", json!({})));
    futures::future::join_all(asking).await;
    assert_eq!(server.count("initialize"), 1);
    // Who leaves while it is opened leaves it to the others.
    let bob = Client::new(&front, "bob", json!({}));
    let leaving = bob.call("now", json!({}));
    tokio::time::timeout(Duration::from_secs(5), leaving).await.unwrap_err();
    let began = Instant::now();
    bob.call("now", json!({})).await;
    assert_eq!(began.elapsed(), Duration::from_secs(5));
    assert_eq!(server.count("initialize"), 2);
    server.broken.store(true, Ordering::Release);
    let carl = Client::new(&front, "carl", json!({}));
    let began = Instant::now();
    let asking = (0..50).map(|_| async {
        let message = carl.message(json!(1), "tools/call", json!({ "name": "now" }));
        carl.send(message).await.err().unwrap()
    });
    for error in futures::future::join_all(asking).await {
        assert!(error.said().to_string().contains("cannot be started"), "{error}");
    }
    assert_eq!(began.elapsed(), Duration::from_secs(10), "nobody tries what has just failed");
    assert_eq!(front.counts().sessions, 2);
}

#[tokio::test(start_paused = true)]
async fn who_is_idle_is_closed_and_gives_way() {
    let server = Double::new();
    let front = server.front(FrontOptions { session_max: 2, ..FrontOptions::default() });
    for caller in ["ann", "bob", "carl"] {
        Client::new(&front, caller, json!({})).call("now", json!({})).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let closed = |server: &Double| {
        let heard = server.heard();
        heard.iter().filter(|(_, it)| it == "(close)").map(|(talk, _)| *talk).collect::<Vec<_>>()
    };
    assert_eq!(closed(&server), [0]);
    // Those in use do not.
    let [bob, carl] = ["bob", "carl"].map(|it| Client::new(&front, it, json!({})));
    let one = bob.reply("tools/call", json!({ "name": "slow" }));
    let two = carl.reply("tools/call", json!({ "name": "slow" }));
    let dora = async {
        server.called(1, "slow").await;
        let dora = Client::new(&front, "dora", json!({}));
        let message = dora.message(json!(1), "tools/list", json!({}));
        let error = dora.send(message).await.err().unwrap();
        assert_eq!(error.kind(), &ErrorKind::Exhausted);
    };
    tokio::select! {
        _ = one => panic!("nobody has answered"),
        _ = two => panic!("nobody has answered"),
        () = dora => (),
    }
    tokio::time::sleep(Duration::from_secs(6 * 60)).await;
    let mut all = closed(&server);
    all.sort_unstable();
    assert_eq!(all, [0, 1, 2]);
    assert_eq!(front.counts().sessions, 0);
}

#[tokio::test(start_paused = true)]
async fn a_session_carries_so_many_and_another_the_rest() {
    let server = Double::new();
    let options = FrontOptions { calls_per_session_max: 2, ..FrontOptions::default() };
    let front = server.front(options);
    let client = Client::new(&front, "ann", json!({}));
    let asking = (0..5).map(|_| client.call("slow", json!({})));
    let answering = async {
        for nth in 0..5 {
            let (talk, id) = server.called(nth, "slow").await;
            tokio::time::sleep(Duration::from_secs(1)).await;
            if nth == 4 {
                assert_eq!(server.count("initialize"), 3);
            }
            _ = (talk, id);
        }
        for nth in 0..5 {
            let (talk, id) = server.called(nth, "slow").await;
            talk.answer(id, json!({ "content": [] }));
        }
    };
    tokio::join!(futures::future::join_all(asking), answering);
    assert_eq!(front.counts().sessions, 3);
}

#[tokio::test(start_paused = true)]
async fn what_never_arrived_is_sent_again_and_nothing_else() {
    let server = Double::new();
    let front = server.front(FrontOptions::default());
    let client = Client::new(&front, "ann", json!({}));
    client.call("now", json!({})).await;
    // It looks open, and has forgotten: not sent.
    server.talk(0).forget();
    assert_eq!(client.call("now", json!({})).await["content"][0]["text"], "1");
    // It dies with the call: that may have been carried out.
    let message = client.message(json!(1), "tools/call", json!({ "name": "deadly" }));
    let dying = async {
        let (talk, _) = server.called(0, "deadly").await;
        talk.die();
    };
    let read = async {
        match client.send(message).await {
            Ok(Reply::Stream(mut events)) => events.next().await.unwrap().unwrap_err(),
            Ok(other) => panic!("{other:?}"),
            Err(error) => error,
        }
    };
    let (error, ()) = tokio::join!(read, dying);
    assert_eq!(error.kind(), &ErrorKind::Closed);
    let deadly = |(_, it): &&(usize, Value)| it["params"]["name"] == "deadly";
    assert_eq!(server.heard().iter().filter(deadly).count(), 1);
    assert_eq!(client.call("now", json!({})).await["content"][0]["text"], "2");
}

#[tokio::test(start_paused = true)]
async fn a_server_of_2026_is_asked_itself() {
    let server = Double::new();
    let front = server.front(FrontOptions::default());
    let client = Client::new(&front, "ann", json!({}));
    client.call("now", json!({})).await;
    // It was replaced by a newer one: known when its session fails.
    server.modern.store(true, Ordering::Release);
    client.call("now", json!({})).await;
    assert_eq!(server.count("initialize"), 1);
    server.talk(0).die();
    tokio::time::sleep(Duration::from_secs(1)).await;
    server.broken.store(true, Ordering::Release);
    let message = client.message(json!(1), "tools/list", json!({}));
    client.send(message).await.err().unwrap();
    server.broken.store(false, Ordering::Release);
    client.reply("tools/list", json!({})).await;
    let (_, said) = server.heard().last().unwrap().clone();
    let version = "io.modelcontextprotocol/protocolVersion";
    assert_eq!(said["params"]["_meta"][version], "2026-07-28", "as it came");
    assert_eq!(server.count("initialize"), 1);
}

#[tokio::test(start_paused = true)]
async fn those_with_a_handshake_go_straight_through() {
    let server = Double::new();
    let front = server.front(FrontOptions::default());
    let caller = Caller::anonymous();
    let opening = Opening { caller: caller.clone(), version: None, at: "/x".into() };
    let session = front.open(opening).await.unwrap();
    assert_eq!(&*session.endpoint().uri, "double:");
    let id = SessionId::new("none").unwrap();
    assert_eq!(front.find(&id, &caller).err().unwrap().kind(), &ErrorKind::NoSession);
}

#[tokio::test(start_paused = true)]
async fn two_thousand_calls_wait() {
    let server = Double::new();
    let options = FrontOptions { parked_per_caller_max: 2_000, ..FrontOptions::default() };
    let front = server.front(options);
    let client = Client::new(&front, "ann", json!({ "elicitation": {} }));
    let began = resident();
    let speaking = async {
        for nth in 0..2_000 {
            let (talk, id) = server.nth_call(nth).await;
            talk.say(id, form("q"));
        }
    };
    let asking = async {
        for _ in 0..4 {
            let asking = (0..500).map(|_| client.call("asks", json!({})));
            futures::future::join_all(asking).await;
        }
    };
    tokio::join!(asking, speaking);
    assert_eq!(front.counts().parked, 2_000);
    let bytes = resident().saturating_sub(began);
    println!(
        "2,000 calls that wait: {} KiB each, the double's own notes included",
        bytes / 2_000 / 1024
    );
    assert_eq!(front.counts().sessions, 2_000_usize.div_ceil(128));
    tokio::time::sleep(Duration::from_secs(700)).await;
    assert_eq!(front.counts().parked, 0);
    assert_eq!(front.counts().expired, 2_000);
}

/// What this process holds in memory, in bytes.
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    text.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or_default() * 4096
}
