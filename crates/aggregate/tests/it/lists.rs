//! What all servers list, as one.

use std::{sync::atomic::Ordering, time::Duration};

use mcp_jsonrpc::{ProtocolVersion, transport::Caller};
use serde_json::json;

use crate::rig::{Client, Peer, all, options, with};

#[tokio::test(start_paused = true)]
async fn many_servers_look_like_one() {
    let a = Peer::new("a", &["same", "add"]);
    let b = Peer::new("b", &["same", "sub"]);
    b.can(json!({ "tools": {}, "resources": { "subscribe": true }, "logging": {} }));
    b.set("resources", json!([{ "uri": "mem://x", "name": "x" }]));
    let mut client = Client::new(&all(&[&a, &b])).await;
    let hello = client.hello.clone();
    assert_eq!(hello["protocolVersion"], "2025-11-25");
    assert_eq!(
        hello["capabilities"],
        json!({
            "tools": { "listChanged": true },
            "resources": { "subscribe": true, "listChanged": true },
            "logging": {},
        })
    );
    assert_eq!(hello["serverInfo"], json!({ "name": "all", "version": "1" }));
    let instructions = hello["instructions"].as_str().unwrap();
    assert!(instructions.contains("# a ") && instructions.contains("How to use b."));
    assert!(hello.get("_meta").is_none());

    assert_eq!(client.tools().await, ["add", "a__same", "b__same", "sub"]);
    assert_eq!(client.list("resources", "resources", "uri").await, ["mem://x"]);
    assert_eq!(client.list("prompts", "prompts", "name").await, [""; 0]);
    assert_eq!(client.call("b__same").await.unwrap(), "b same");
    assert_eq!(client.call("add").await.unwrap(), "a add");
    assert!(client.call("same").await.unwrap_err().contains("a__same"));
    assert_eq!(client.call("rm").await.unwrap_err(), "Unknown tool: rm");
    assert_eq!(a.count("prompts/list"), 0, "it has none");
    assert_eq!(
        a.count("tools/list"),
        1,
        "asked once, and once more is for those who may have more"
    );
}

#[tokio::test(start_paused = true)]
async fn every_revision_before_servers_of_every_revision() {
    for version in ProtocolVersion::LEGACY {
        let peers: Vec<Peer> = ProtocolVersion::LEGACY
            .iter()
            .map(|it| {
                let peer = Peer::new(&format!("s{it}"), &[&format!("t{it}")]);
                *peer.0.version.lock().unwrap() = *it;
                peer
            })
            .collect();
        let peers: Vec<&Peer> = peers.iter().collect();
        let all = all(&peers);
        let mut client = Client::of(&all, Caller::anonymous(), version.as_str(), json!({})).await;
        assert_eq!(client.hello["protocolVersion"], version.as_str());
        assert_eq!(client.tools().await.len(), 4);
        for it in ProtocolVersion::LEGACY {
            assert!(client.call(&format!("t{it}")).await.unwrap().contains(it.as_str()));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn pages_behind_and_in_front() {
    let names: Vec<String> = (0..25).map(|it| format!("t{it:02}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let peer = Peer::new("a", &names);
    peer.0.page_len.store(10, Ordering::Relaxed);
    let mut options = options();
    options.view.pages.items_max = 7;
    let mut client = Client::new(&with(&[&peer], options)).await;
    assert_eq!(client.tools().await, names);
    assert_eq!(peer.count("tools/list"), 3);
    let wrong = client.ask("tools/list", json!({ "cursor": "made up" })).await.unwrap_err();
    assert!(wrong.contains("list from the start"), "{wrong}");
}

#[tokio::test(start_paused = true)]
async fn a_change_is_announced_once() {
    let (a, b) = (Peer::new("a", &["x"]), Peer::new("b", &["y"]));
    let all = all(&[&a, &b]);
    let (mut one, mut two) = (Client::new(&all).await, Client::new(&all).await);
    a.set_tools(&["x", "z"]);
    for _ in 0..20 {
        a.announce("tools");
    }
    one.hears("notifications/tools/list_changed").await;
    two.hears("notifications/tools/list_changed").await;
    assert_eq!(one.tools().await, ["x", "z", "y"]);
    assert!(one.hears_nothing().await && two.hears_nothing().await);
    assert!(a.count("tools/list") <= 3, "many announcements are one change");
    assert_eq!(b.count("tools/list"), 1);
    // What was announced and is the same is no news.
    a.announce("tools");
    assert!(one.hears_nothing().await);
}

#[tokio::test(start_paused = true)]
async fn lists_of_who_announces_nothing_are_asked_for_again_in_time() {
    let a = Peer::new("a", &["x"]);
    a.can(json!({ "tools": {} }));
    let mut client = Client::new(&all(&[&a])).await;
    assert_eq!(client.tools().await, ["x"]);
    a.set_tools(&["x", "late"]);
    assert_eq!(client.tools().await, ["x"], "still fresh");
    // A name that nobody knows is looked for, since it may have come.
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(client.call("late").await.unwrap(), "a late");
    client.hears("notifications/tools/list_changed").await;
    a.set_tools(&["x"]);
    tokio::time::sleep(Duration::from_secs(301)).await;
    assert_eq!(client.tools().await, ["x"]);
}

#[tokio::test(start_paused = true)]
async fn a_server_says_for_how_long_a_list_holds() {
    let a = Peer::new("a", &["x"]);
    a.set("ttlMs", json!(5000));
    let mut client = Client::new(&all(&[&a])).await;
    a.set_tools(&["x", "new"]);
    tokio::time::sleep(Duration::from_millis(4900)).await;
    assert_eq!(client.tools().await, ["x"]);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(client.tools().await, ["new", "x"], "though it announces changes, and has not");
    assert_eq!(a.count("tools/list"), 2);
}

#[tokio::test(start_paused = true)]
async fn a_list_of_who_announces_changes_holds_until_it_does() {
    let a = Peer::new("a", &["x"]);
    let mut client = Client::new(&all(&[&a])).await;
    assert_eq!(client.tools().await, ["x"]);
    tokio::time::sleep(Duration::from_secs(3000)).await;
    assert_eq!(client.tools().await, ["x"]);
    assert_eq!(a.count("tools/list"), 1, "it would have announced a change");
}

#[tokio::test(start_paused = true)]
async fn what_refuses_one_list_has_the_others() {
    let a = Peer::new("a", &["x"]);
    a.can(json!({ "tools": {}, "prompts": {} }));
    a.set("prompts", json!("no list"));
    let mut client = Client::new(&all(&[&a])).await;
    assert_eq!(client.tools().await, ["x"]);
}

#[tokio::test(start_paused = true)]
async fn too_much_is_left_out_and_said() {
    let (a, b) = (Peer::new("a", &["x", "y", "z"]), Peer::new("b", &["one"]));
    let mut options = options();
    options.limits.items_max = 2;
    let mut client = Client::new(&with(&[&a, &b], options)).await;
    assert_eq!(client.tools().await, ["x", "y", "one"]);
    let listed = client.ask("tools/list", json!({})).await.unwrap();
    let said = &listed["_meta"]["mcp-gateway/incomplete"][0];
    assert_eq!(said["server"], "a");
    assert!(said["reason"].as_str().unwrap().contains("more than 2 entries"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn fifty_servers_of_a_hundred_tools() {
    let names: Vec<String> = (0..100).map(|it| format!("tool_{it:03}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let peers: Vec<Peer> = (0..50).map(|it| Peer::new(&format!("s{it:02}"), &names)).collect();
    let peers: Vec<&Peer> = peers.iter().collect();
    let all = all(&peers);
    let mut client = Client::new(&all).await;
    let tools = client.tools().await;
    assert_eq!(tools.len(), 5000);
    assert!(tools.is_sorted() && tools[0] == "s00__tool_000");
    assert_eq!(client.call("s49__tool_099").await.unwrap(), "s49 tool_099");
    let status = all.status();
    assert_eq!((status.sessions, status.scopes, status.entries), (1, 1, 5000));
    let mut other = Client::new(&all).await;
    assert_eq!(other.tools().await.len(), 5000);
    assert_eq!(all.status().scopes, 1);
    assert!(peers.iter().all(|it| it.open() == 1), "the second opens none before it needs one");
}
