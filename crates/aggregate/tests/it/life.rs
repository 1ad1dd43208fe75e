//! Servers that are slow, gone, or back.

use std::{sync::atomic::Ordering, time::Duration};

use tokio::time::Instant;

use aggregate::Stale;
use serde_json::json;

use crate::rig::{Client, Peer, all, options, with};

const CHANGED: &str = "notifications/tools/list_changed";

#[tokio::test(start_paused = true)]
async fn a_server_that_cannot_be_reached_costs_its_own_tools() {
    let (a, b) = (Peer::new("a", &["x"]), Peer::new("b", &["y"]));
    b.break_down();
    let all = all(&[&a, &b]);
    let began = Instant::now();
    let mut client = Client::new(&all).await;
    assert!(began.elapsed() < Duration::from_secs(1), "nobody waits for what is known");
    assert_eq!(client.tools().await, ["x"]);
    let missing = [("b".to_owned(), "it cannot be started".to_owned())];
    assert_eq!(client.missing().await, missing);
    assert_eq!(client.hello["_meta"]["mcp-gateway/missing"][0]["server"], "b");
    assert_eq!(all.status().missing.len(), 1);
    assert_eq!(client.call("x").await.unwrap(), "a x");
    b.mend();
    client.hears(CHANGED).await;
    assert_eq!(client.tools().await, ["x", "y"]);
    assert_eq!(client.missing().await, []);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_hangs_is_waited_for_once() {
    let (a, b) = (Peer::new("a", &["x"]), Peer::new("b", &["y"]));
    b.0.hung.store(true, Ordering::Release);
    let began = Instant::now();
    let mut client = Client::new(&all(&[&a, &b])).await;
    assert_eq!(began.elapsed(), Duration::from_secs(10));
    let began = Instant::now();
    assert_eq!(client.tools().await, ["x"]);
    assert_eq!(client.missing().await[0].0, "b");
    assert!(began.elapsed() < Duration::from_secs(1));
    assert_eq!(client.call("x").await.unwrap(), "a x");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_slow_comes_later() {
    let (a, b) = (Peer::new("a", &["x"]), Peer::new("b", &["y"]));
    b.0.hung.store(true, Ordering::Release);
    let mut options = options();
    options.open_timeout = Duration::from_secs(20);
    let mut client = Client::new(&with(&[&a, &b], options)).await;
    assert_eq!(client.tools().await, ["x"]);
    assert_eq!(client.missing().await[0].1, "it has not answered yet");
    // What it was asked it never answers, and then it is asked again.
    b.0.hung.store(false, Ordering::Release);
    client.hears(CHANGED).await;
    assert_eq!(client.tools().await, ["x", "y"]);
    assert_eq!(client.missing().await, []);
}

#[tokio::test(start_paused = true)]
async fn a_page_that_never_comes() {
    let (a, b) = (Peer::new("a", &["x"]), Peer::new("b", &["y"]));
    let mut options = options();
    options.page_timeout = Duration::from_secs(20);
    let mut client = Client::new(&with(&[&a, &b], options)).await;
    b.0.hung.store(true, Ordering::Release);
    b.announce("tools");
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(client.tools().await, ["x"]);
    let why = client.missing().await[0].1.clone();
    assert_eq!(why, "no answer to `tools/list` within 20s");
    b.0.hung.store(false, Ordering::Release);
    client.hears(CHANGED).await;
    client.hears(CHANGED).await;
    assert_eq!(client.tools().await, ["x", "y"]);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_dies_and_returns_within_a_moment_is_not_missed() {
    let (a, b) = (Peer::new("a", &["x"]), Peer::new("b", &["y"]));
    let mut client = Client::new(&all(&[&a, &b])).await;
    b.die();
    assert_eq!(client.call("y").await.unwrap(), "b y", "over another session");
    assert_eq!(client.tools().await, ["x", "y"]);
    assert!(client.hears_nothing().await);
    let died = client.call("die").await;
    assert!(died.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_stays_away_is_missed_and_its_return_is_told() {
    let (a, b) = (Peer::new("a", &["x"]), Peer::new("b", &["y", "die"]));
    let mut client = Client::new(&all(&[&a, &b])).await;
    b.0.broken.store(true, Ordering::Release);
    let died = client.call("die").await.unwrap_err();
    assert!(died.contains("server `b`: the process exited with code 7"), "{died}");
    client.hears(CHANGED).await;
    assert_eq!(client.tools().await, ["x"]);
    assert_eq!(client.missing().await.len(), 1);
    // Its name is still its own, and leads to what became of it.
    let gone = client.call("y").await.unwrap_err();
    assert!(gone.contains("server `b`: it cannot be started"), "{gone}");
    tokio::time::sleep(Duration::from_secs(600)).await;
    b.mend();
    let began = Instant::now();
    client.hears(CHANGED).await;
    assert!(began.elapsed() <= Duration::from_secs(61), "{:?}", began.elapsed());
    assert_eq!(client.tools().await, ["x", "die", "y"]);
}

#[tokio::test(start_paused = true)]
async fn what_has_changed_is_waited_for_or_not() {
    for (stale, first) in [(Stale::Wait, ["x", "z"].as_slice()), (Stale::Serve, &["x"])] {
        let a = Peer::new("a", &["x"]);
        a.can(json!({ "tools": {} }));
        let mut options = options();
        options.stale = stale;
        let mut client = Client::new(&with(&[&a], options)).await;
        a.set_tools(&["x", "z"]);
        tokio::time::sleep(Duration::from_secs(301)).await;
        assert_eq!(client.tools().await, first, "{stale:?}");
        client.hears(CHANGED).await;
        assert_eq!(client.tools().await, ["x", "z"]);
    }
}

#[tokio::test(start_paused = true)]
async fn servers_come_and_go_and_clients_are_told() {
    let (a, b, c) = (Peer::new("a", &["x"]), Peer::new("b", &["y"]), Peer::new("c", &["z"]));
    let all = all(&[&a, &b]);
    let mut client = Client::new(&all).await;
    let (of_a, of_c) = (a.member(), c.member());
    let members = || vec![of_a.clone(), of_c.clone()];
    all.reconfigure(members(), options());
    client.hears(CHANGED).await;
    assert_eq!(client.tools().await, ["x", "z"]);
    assert_eq!(client.call("z").await.unwrap(), "c z");
    assert_eq!(client.call("y").await.unwrap_err(), "Unknown tool: y");
    assert_eq!(b.open(), 0, "what is not used any more is closed");
    while client.next_now().await.is_some() {}
    all.reconfigure(members(), options());
    assert!(client.hears_nothing().await, "nothing has changed");
}

#[tokio::test(start_paused = true)]
async fn an_end_leaves_nothing() {
    let (a, b) = (Peer::new("a", &["x"]), Peer::new("b", &["y"]));
    let all = all(&[&a, &b]);
    let client = Client::new(&all).await;
    let other = Client::new(&all).await;
    assert_eq!((a.open(), b.open()), (1, 1));
    client.session.close().await;
    // The other one watches now.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!((a.open(), b.open()), (1, 1));
    drop(other);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!((a.open(), b.open()), (0, 0));
    assert_eq!(all.status().sessions, 0);
    let _last = Client::new(&all).await;
    all.shut_down().await;
    assert_eq!((a.open(), b.open()), (0, 0));
}
