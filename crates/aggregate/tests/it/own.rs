//! What a server lists to one session alone.

use std::time::Duration;

use serde_json::json;

use crate::rig::{Client, Peer, all, options, with};

const CHANGED: &str = "notifications/tools/list_changed";
const UNLOCKED: [&str; 4] = ["lock", "secret", "unlock", "x"];
const LOCKED: [&str; 3] = ["lock", "unlock", "x"];

/// A server whose sessions can unlock a tool, beside one that changes nothing.
fn peers() -> (Peer, Peer) {
    (Peer::new("a", &["lock", "unlock", "x"]), Peer::new("b", &["y"]))
}

async fn tools(client: &mut Client) -> Vec<String> {
    let mut tools = client.tools().await;
    tools.retain(|it| it != "y");
    tools
}

#[tokio::test(start_paused = true)]
async fn what_one_session_unlocks_the_others_do_not_see() {
    let (a, b) = peers();
    let all = all(&[&a, &b]);
    // The first one listens for all; then it is another that unlocks.
    for which in [0, 1] {
        let mut clients = [Client::new(&all).await, Client::new(&all).await];
        clients[1].call("x").await.unwrap();
        clients[which].call("unlock").await.unwrap();
        clients[which].hears(CHANGED).await;
        assert_eq!(tools(&mut clients[which]).await, UNLOCKED);
        assert_eq!(clients[which].call("secret").await.unwrap(), "a secret");
        let other = &mut clients[1 - which];
        assert_eq!(tools(other).await, LOCKED);
        assert_eq!(other.call("secret").await.unwrap_err(), "Unknown tool: secret");
        assert!(other.hears_nothing().await);
        assert_eq!((all.status().deviating, a.count("tools/call secret")), (1, 1 + which));

        clients[which].call("lock").await.unwrap();
        clients[which].hears(CHANGED).await;
        assert_eq!(tools(&mut clients[which]).await, LOCKED);
        assert!(clients[1 - which].hears_nothing().await);
        assert_eq!(all.status().deviating, 0);
        for client in clients {
            client.session.close().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_comes_later_sees_what_a_new_session_does() {
    let (a, b) = peers();
    let all = all(&[&a, &b]);
    let mut first = Client::new(&all).await;
    first.call("unlock").await.unwrap();
    first.hears(CHANGED).await;
    assert_eq!(tools(&mut first).await, UNLOCKED);
    let mut second = Client::new(&all).await;
    assert_eq!(tools(&mut second).await, LOCKED);
    assert_eq!(tools(&mut first).await, UNLOCKED);
    assert!(first.hears_nothing().await && second.hears_nothing().await, "nothing is new to them");
    // And who comes when those have gone.
    first.session.close().await;
    let mut third = Client::new(&all).await;
    assert_eq!(
        (tools(&mut second).await, tools(&mut third).await),
        (LOCKED.map(str::to_owned).to_vec(), LOCKED.map(str::to_owned).to_vec())
    );
    assert_eq!(all.status().deviating, 0);
}

#[tokio::test(start_paused = true)]
async fn a_list_that_is_asked_for_at_once_has_what_was_unlocked() {
    let (a, b) = peers();
    let all = all(&[&a, &b]);
    let (_first, mut second) = (Client::new(&all).await, Client::new(&all).await);
    second.call("unlock").await.unwrap();
    assert_eq!(tools(&mut second).await, UNLOCKED);
}

#[tokio::test(start_paused = true)]
async fn what_changes_for_all_is_seen_by_all() {
    let (a, b) = peers();
    let all = all(&[&a, &b]);
    let mut clients = Vec::new();
    for _ in 0..10 {
        clients.push(Client::new(&all).await);
        clients.last_mut().unwrap().call("x").await.unwrap();
    }
    clients[3].call("unlock").await.unwrap();
    clients[3].hears(CHANGED).await;
    let before = a.count("tools/list");
    a.set_tools(&["lock", "new", "unlock", "x"]);
    a.announce("tools");
    for (at, client) in clients.iter_mut().enumerate() {
        client.hears(CHANGED).await;
        let expect: &[&str] = match at {
            3 => &["lock", "new", "secret", "unlock", "x"],
            _ => &["lock", "new", "unlock", "x"],
        };
        assert_eq!(tools(client).await, expect);
    }
    assert!(a.count("tools/list") <= before + 4, "not once for each session");
    assert!(clients[0].hears_nothing().await && clients[3].hears_nothing().await);
}

#[tokio::test(start_paused = true)]
async fn what_was_unlocked_ends_with_the_session_it_was_unlocked_in() {
    let (a, b) = peers();
    let all = all(&[&a, &b]);
    let (mut first, mut second) = (Client::new(&all).await, Client::new(&all).await);
    second.call("unlock").await.unwrap();
    second.hears(CHANGED).await;
    a.die();
    second.hears(CHANGED).await;
    assert_eq!(tools(&mut second).await, LOCKED);
    assert_eq!(second.call("x").await.unwrap(), "a x");
    assert!(first.hears_nothing().await);
    assert_eq!(all.status().deviating, 0);
}

#[tokio::test(start_paused = true)]
async fn equal_lists_are_kept_once_and_there_may_be_so_many() {
    let (a, b) = peers();
    let mut options = options();
    options.own_max = 2;
    let all = with(&[&a, &b], options);
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(Client::new(&all).await);
    }
    for client in &mut clients[1..] {
        client.call("unlock").await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut seen = Vec::new();
    for client in &mut clients {
        seen.push(tools(client).await.len());
    }
    assert_eq!(seen, [3, 4, 4, 3], "the last one is shown what all are");
    let status = all.status();
    assert_eq!((status.deviating, status.entries), (2, 3 + 4 + 1));
    // Whoever leaves makes room.
    clients.remove(1).session.close().await;
    clients[2].call("unlock").await.unwrap();
    clients[2].hears(CHANGED).await;
    assert_eq!(tools(&mut clients[2]).await, UNLOCKED);
}

#[tokio::test(start_paused = true)]
async fn who_announces_nothing_is_asked_in_the_session_that_wants_to_know() {
    let a = Peer::new("a", &["unlock_silently", "x"]);
    a.can(json!({ "tools": {} }));
    let all = all(&[&a]);
    let (mut first, mut second) = (Client::new(&all).await, Client::new(&all).await);
    second.call("unlock_silently").await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(second.call("secret").await.unwrap(), "a secret");
    assert_eq!(second.tools().await, ["secret", "unlock_silently", "x"]);
    assert_eq!(first.tools().await, ["unlock_silently", "x"]);
    // As long as a list holds that nobody speaks of.
    *a.talk().unlocked.lock().unwrap() = Vec::new();
    tokio::time::sleep(Duration::from_secs(301)).await;
    assert_eq!(second.tools().await, ["unlock_silently", "x"]);
    assert_eq!(all.status().deviating, 0);
}

#[tokio::test(start_paused = true)]
async fn a_search_finds_what_this_session_has() {
    let (a, b) = peers();
    let mut options = options();
    options.search = true;
    let all = with(&[&a, &b], options);
    let (mut first, mut second) = (Client::new(&all).await, Client::new(&all).await);
    second.call("unlock").await.unwrap();
    second.hears(CHANGED).await;
    for (client, of) in [(&mut first, "\"of\":4"), (&mut second, "\"of\":5")] {
        let wanted = json!({ "name": "search_tools", "arguments": { "query": "secret" } });
        let found = client.ask("tools/call", wanted).await.unwrap();
        let text = found["content"][0]["text"].as_str().unwrap().to_owned();
        assert!(text.contains(of), "{text}");
        assert_eq!(text.contains("\"secret\""), of.ends_with('5'));
    }
}
