//! Tests: what a server's death costs those who used it, and how often it is counted.

use std::{sync::atomic::Ordering, time::Duration};

use mcp_jsonrpc::transport::ErrorKind;
use tokio::time::{Instant, sleep};

use super::*;
use crate::double::{Client, Double};

const ROOTS: &str = r#"{"roots":{}}"#;

fn lazy() -> Options {
    Options { startup: Startup::Lazy, ..Options::default() }
}

/// As many sessions over one process end with it: that it died is one failure, after which it is
/// tried again at once, and not one for each of them, after which all would be refused.
#[tokio::test(start_paused = true)]
async fn one_death_counts_once_for_all_that_it_ends() {
    let double = Double::new();
    let server = double.server(lazy());
    let mut clients = Vec::new();
    for _ in 0..6 {
        let client = Client::greet(&server, "ann", ROOTS).await;
        let listens = client.listen().await;
        clients.push((client, listens));
    }
    // They hear of it while it is being started again.
    double.start_ms.store(10, Ordering::Relaxed);
    for _ in 0..2 {
        let began = Instant::now();
        let opened = double.opened.load(Ordering::Relaxed);
        (0..opened).for_each(|number| double.talk(number).die());
        for (client, _) in &clients {
            client.call(1, "echo").await.unwrap();
        }
        assert!(began.elapsed() < Duration::from_millis(100), "{:?}", began.elapsed());
        assert_eq!(server.state(), State::Ready);
        sleep(Duration::from_secs(1)).await;
    }
}

/// It was well as far as anybody knew: whoever comes at that moment hears nothing of it.
#[tokio::test(start_paused = true)]
async fn what_is_opened_while_the_process_dies_is_opened_again() {
    let double = Double::new();
    double.light.store(true, Ordering::Relaxed);
    let server = double.server(lazy());
    let _first = Client::greet(&server, "ann", ROOTS).await;
    let second = Client::open(&server, "bob").await;
    double.start_ms.store(100, Ordering::Relaxed);
    double.broken.store(true, Ordering::Relaxed);
    let comes_back = async {
        sleep(Duration::from_millis(150)).await;
        double.broken.store(false, Ordering::Relaxed);
    };
    let (answer, ()) = tokio::join!(second.initialize("2025-06-18", ROOTS), comes_back);
    answer.unwrap();
    assert_eq!(double.opened.load(Ordering::Relaxed), 3);
    // But once: it is not looked for here until it is back.
    double.broken.store(true, Ordering::Relaxed);
    let third = Client::open(&server, "bob").await;
    let error = third.initialize("2025-06-18", ROOTS).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Unavailable { .. }), "{error}");
    assert!(error.said().to_string().contains("ouch"), "{}", error.said());
    assert_eq!(double.opened.load(Ordering::Relaxed), 5);
    // Whose process was its own is told why it ended.
    double.light.store(false, Ordering::Relaxed);
    double.start_ms.store(0, Ordering::Relaxed);
    double.broken.store(false, Ordering::Relaxed);
    sleep(Duration::from_secs(2)).await;
    third.initialize("2025-06-18", ROOTS).await.unwrap();
    double.broken.store(true, Ordering::Relaxed);
    let fourth = Client::open(&server, "bob").await;
    fourth.initialize("2025-06-18", ROOTS).await.unwrap_err();
    assert_eq!(double.opened.load(Ordering::Relaxed), 7);
}

/// Who waits while another tries it, and fails, waits for the next try where that is soon.
#[tokio::test(start_paused = true)]
async fn who_waited_for_anothers_try_waits_for_the_next() {
    let double = Double::new();
    let server = double.server(lazy());
    let (ann, bob) =
        (Client::greet(&server, "ann", ROOTS).await, Client::greet(&server, "bob", ROOTS).await);
    double.start_ms.store(100, Ordering::Relaxed);
    double.broken.store(true, Ordering::Relaxed);
    double.talk(0).die();
    double.talk(1).die();
    let comes_back = async {
        sleep(Duration::from_millis(150)).await;
        double.broken.store(false, Ordering::Relaxed);
    };
    let began = Instant::now();
    let (first, second, ()) = tokio::join!(ann.call(1, "echo"), bob.call(1, "echo"), comes_back);
    let error = first.unwrap_err();
    assert!(error.said().to_string().contains("ouch"), "{}", error.said());
    second.unwrap();
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}

/// What nobody starts is not starting.
#[tokio::test(start_paused = true)]
async fn without_a_place_for_it_nothing_is_started() {
    let double = Double::new();
    let server = double.server(Options { link_max: 0, ..Options::default() });
    server.start();
    assert_eq!(server.state(), State::Starting);
    sleep(Duration::from_secs(3)).await;
    assert_eq!(server.state(), State::Idle);
    assert_eq!(double.opened.load(Ordering::Relaxed), 0);
}

/// Nor is what somebody began to start who has gone since.
#[tokio::test(start_paused = true)]
async fn who_leaves_while_it_starts_leaves_nothing_behind() {
    let double = Double::new();
    double.start_ms.store(100, Ordering::Relaxed);
    let server = double.server(lazy());
    let client = Client::open(&server, "ann").await;
    let left = client.initialize("2025-06-18", ROOTS);
    assert!(tokio::time::timeout(Duration::from_millis(50), left).await.is_err());
    assert_eq!(server.state(), State::Idle);
    client.initialize("2025-06-18", ROOTS).await.unwrap();
}
