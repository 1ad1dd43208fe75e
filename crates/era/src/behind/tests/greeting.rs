//! Tests: servers that take a handshake, or do not, and do not say so.

use super::{
    both::{Manners, Server, To, modern_call},
    *,
};

const LEGACY: ProtocolVersion = ProtocolVersion::V2025_11_25;

/// A server that names 2026-07-28 alone.
fn hiding(speaks: &[&'static str]) -> Arc<Server> {
    let server = Server::that_speaks(speaks);
    server.hides.store(true, Ordering::Relaxed);
    server
}

fn to(server: &Arc<Server>, is_child: bool) -> Behind {
    let options = BehindOptions { is_child, ..BehindOptions::default() };
    behind_of(To(Arc::clone(server)), options)
}

fn greetings(server: &Server) -> usize {
    server.heard().iter().filter(|it| *it == "initialize").count()
}

/// Lets everything end that ends by itself.
async fn breathe() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_is_greeted_that_does_not_say_that_it_takes_it() {
    for is_child in [true, false] {
        let server = hiding(&["2026-07-28", "2025-11-25"]);
        let behind = to(&server, is_child);
        let standing = behind.open(opening(Some(VERSION))).await.unwrap();
        modern_call(&standing).await.unwrap();
        assert_eq!(server.heard(), ["server/discover", "tools/call"], "nobody needs it yet");
        assert!(!behind.is_light(), "it may be that a session is its own");
        assert_eq!(behind.speaks(), Some("2026-07-28"));
        let (_one, hello) = Client::of(&behind, LEGACY, all()).await;
        assert_eq!(hello["result"]["protocolVersion"], "2025-11-25");
        assert_eq!(server.heard(), ["initialize", "initialize"], "tried, then the client's");
        assert_eq!(behind.speaks(), Some("2026-07-28, and revisions with a handshake"));
        let (_other, _) = Client::of(&behind, LEGACY, all()).await;
        assert_eq!(server.heard(), ["initialize"]);
        // For those that need none, all is as it was.
        modern_call(&standing).await.unwrap();
        assert_eq!((server.heard(), behind.era()), (vec!["tools/call".into()], Some(Era::Modern)));
        breathe().await;
        assert_eq!(server.counts(), (4, 1));
    }
}

/// What was asked for its era when nobody else wanted it is ended, as what was greeted.
#[tokio::test(start_paused = true)]
async fn what_was_started_to_find_out_ends() {
    let server = hiding(&["2026-07-28", "2025-11-25"]);
    let behind = to(&server, true);
    let (client, _) = Client::of(&behind, LEGACY, all()).await;
    breathe().await;
    assert_eq!(server.counts(), (3, 2));
    assert_eq!(server.heard(), ["server/discover", "initialize", "initialize"]);
    client.session.close().await;
    behind.shut_down().await;
    assert_eq!(server.counts(), (3, 3));
}

#[tokio::test(start_paused = true)]
async fn what_is_configured_is_not_tried() {
    let server = hiding(&["2026-07-28", "2025-11-25"]);
    let options = BehindOptions { pin: Some(Era::Modern), ..BehindOptions::default() };
    let behind = behind_of(To(Arc::clone(&server)), options);
    let (_made, _) = Client::of(&behind, LEGACY, all()).await;
    behind.settle(&Caller::anonymous()).await;
    assert_eq!(greetings(&server), 0);
    assert!(behind.is_light());
}

/// A server that says nothing is waited for as long as its answer to a discovery would have it,
/// within bounds, and never again.
#[tokio::test(start_paused = true)]
async fn silence_is_waited_for_once_and_not_long() {
    for (took_ms, at_most_s, waited_ms) in
        [(0, 20, 5_000), (2_000, 20, 8_000), (4_900, 20, 19_600), (4_900, 7, 7_000)]
    {
        let server = hiding(&["2026-07-28"]);
        *server.manners.lock().unwrap() = Manners::SaysNothing;
        server.took_ms.store(took_ms, Ordering::Relaxed);
        let options = BehindOptions {
            is_child: true,
            greeting_timeout: Duration::from_secs(at_most_s),
            ..BehindOptions::default()
        };
        let behind = behind_of(To(Arc::clone(&server)), options);
        let _standing = behind.open(opening(Some(VERSION))).await.unwrap();
        // From now on it is quick at everything else.
        server.took_ms.store(0, Ordering::Relaxed);
        for (client, waited_ms) in [waited_ms, 0, 0].into_iter().enumerate() {
            let began = Instant::now();
            let (_client, hello) = Client::of(&behind, LEGACY, all()).await;
            assert_eq!(hello["result"]["protocolVersion"], "2025-11-25", "it is made");
            assert_eq!(began.elapsed(), Duration::from_millis(waited_ms), "{client}: {took_ms}");
        }
        breathe().await;
        assert_eq!((greetings(&server), server.counts()), (1, (2, 1)));
        assert!(behind.is_light());
        assert_eq!(behind.speaks(), Some("2026-07-28"));
    }
}

/// What it refuses, or ends at, costs no wait.
#[tokio::test(start_paused = true)]
async fn a_refusal_is_heard_at_once() {
    let status = ErrorKind::Status(400);
    for manners in [Manners::Answers, Manners::Ends, Manners::Fails(status)] {
        let server = hiding(&["2026-07-28"]);
        *server.manners.lock().unwrap() = manners.clone();
        let behind = to(&server, true);
        let began = Instant::now();
        for _ in 0..3 {
            let (_client, hello) = Client::of(&behind, LEGACY, all()).await;
            assert_eq!(hello["result"]["protocolVersion"], "2025-11-25", "{manners:?}");
        }
        assert_eq!(began.elapsed(), Duration::ZERO, "{manners:?}");
        assert_eq!(greetings(&server), 1, "{manners:?}");
        assert!(behind.is_light(), "{manners:?}");
    }
}

/// Over HTTP a server may answer each request by itself: then it cannot ask, and what is made over
/// 2026-07-28 can.  Where it is a process, that is its session.
#[tokio::test(start_paused = true)]
async fn a_handshake_without_a_session_is_none() {
    for (is_child, speaks) in
        [(false, "2026-07-28"), (true, "2026-07-28, and revisions with a handshake")]
    {
        let server = hiding(&["2026-07-28", "2025-11-25"]);
        server.keeps_none.store(true, Ordering::Relaxed);
        let behind = to(&server, is_child);
        for _ in 0..2 {
            Client::of(&behind, LEGACY, all()).await;
        }
        assert_eq!(behind.speaks(), Some(speaks));
        assert_eq!(
            (greetings(&server), behind.is_light()),
            (if is_child { 3 } else { 1 }, !is_child)
        );
    }
}

/// A server that cannot be reached just then has said nothing: it is tried again, but not by each.
#[tokio::test(start_paused = true)]
async fn what_is_no_answer_is_tried_again_after_a_while() {
    let server = hiding(&["2026-07-28", "2025-11-25"]);
    *server.manners.lock().unwrap() = Manners::Fails(ErrorKind::Status(503));
    let behind = to(&server, false);
    let _standing = behind.open(opening(Some(VERSION))).await.unwrap();
    for _ in 0..3 {
        Client::of(&behind, LEGACY, all()).await;
        assert!(behind.is_light(), "until then what is known holds");
    }
    assert_eq!(greetings(&server), 1);
    *server.manners.lock().unwrap() = Manners::Answers;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let (_client, hello) = Client::of(&behind, LEGACY, all()).await;
    assert_eq!(hello["result"]["protocolVersion"], "2025-11-25");
    assert_eq!(greetings(&server), 2);
    assert_eq!(behind.speaks(), Some("2026-07-28, and revisions with a handshake"));
}

/// However many come at once, one attempt is made; it goes on where who began it does not wait.
#[tokio::test(start_paused = true)]
async fn all_wait_for_one_attempt() {
    let server = hiding(&["2026-07-28", "2025-11-25"]);
    server.took_ms.store(1_000, Ordering::Relaxed);
    let behind = to(&server, true);
    let standing = behind.open(opening(Some(VERSION))).await.unwrap();
    let gone = tokio::time::timeout(Duration::from_millis(10), behind.open(opening(None))).await;
    assert!(gone.is_err());
    let began = Instant::now();
    let all = futures::future::join_all((0..8).map(|_| behind.open(opening(None)))).await;
    assert!(all.iter().all(Result::is_ok));
    assert_eq!(began.elapsed(), Duration::from_millis(990));
    assert_eq!(greetings(&server), 1);
    // Those that need no handshake do not wait for it.
    assert!(standing.is_open());
    breathe().await;
    assert_eq!(server.counts(), (2 + 8, 1));
}

/// Who needs no handshake is served while one is tried.
#[tokio::test(start_paused = true)]
async fn nobody_else_waits() {
    let server = hiding(&["2026-07-28"]);
    *server.manners.lock().unwrap() = Manners::SaysNothing;
    let behind = to(&server, true);
    let mut waiting = std::pin::pin!(behind.open(opening(None)));
    assert!(tokio::time::timeout(Duration::from_secs(1), &mut waiting).await.is_err());
    let began = Instant::now();
    let session = behind.open(opening(Some(VERSION))).await.unwrap();
    modern_call(&session).await.unwrap();
    assert_eq!(began.elapsed(), Duration::ZERO);
    waiting.await.unwrap();
}

/// One that is of another era now is found out about anew.
#[tokio::test(start_paused = true)]
async fn what_is_known_goes_with_the_era() {
    let server = hiding(&["2026-07-28"]);
    let behind = to(&server, true);
    Client::of(&behind, LEGACY, all()).await;
    assert!(behind.is_light());
    let session = behind.open(opening(Some(VERSION))).await.unwrap();
    let other = RpcError::new(RpcError::UNSUPPORTED_VERSION, "not any more");
    *server.refuses.lock().unwrap() = Some(other);
    modern_call(&session).await.unwrap_err();
    *server.refuses.lock().unwrap() = None;
    *server.speaks.lock().unwrap() = vec!["2026-07-28", "2025-11-25"];
    Client::of(&behind, LEGACY, all()).await;
    assert_eq!(behind.speaks(), Some("2026-07-28, and revisions with a handshake"));
}
