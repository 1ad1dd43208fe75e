//! Who shares what with whom.

use std::{sync::Arc, time::Duration};

use aggregate::Rights;
use catalogue::{Filter, Glob, Rule, Shape};
use mcp_jsonrpc::transport::Caller;
use serde_json::json;

use crate::rig::{Client, Peer, all, of, options, with};

#[tokio::test(start_paused = true)]
async fn lists_are_shared_by_scope_and_no_further() {
    let a = Peer::new("a", &["x"]);
    let all = all(&[&a]);
    let opened = async |caller: &str, version: &str, capabilities| {
        Client::of(&all, Caller::named(caller), version, capabilities).await
    };
    let _one = opened("ann", "2025-11-25", json!({})).await;
    let _same = opened("ann", "2025-11-25", json!({})).await;
    assert_eq!(a.count("tools/list"), 1);
    let _other = opened("bob", "2025-11-25", json!({})).await;
    let _older = opened("ann", "2025-06-18", json!({})).await;
    let _able = opened("ann", "2025-11-25", json!({ "sampling": {} })).await;
    assert_eq!(a.count("tools/list"), 4);
    let status = all.status();
    assert_eq!((status.scopes, status.entries), (4, 1), "what is the same is kept once");
}

#[tokio::test(start_paused = true)]
async fn whoever_watches_last_watches_for_all() {
    let a = Peer::new("a", &["x"]);
    let all = all(&[&a]);
    let first = Client::new(&all).await;
    let mut second = Client::new(&all).await;
    assert_eq!(a.open(), 1);
    first.session.close().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    a.set_tools(&["x", "y"]);
    a.announce("tools");
    second.hears("notifications/tools/list_changed").await;
    assert_eq!(second.tools().await, ["x", "y"]);
}

#[tokio::test(start_paused = true)]
async fn lists_outlive_their_sessions_for_a_while() {
    let a = Peer::new("a", &["x"]);
    let all = all(&[&a]);
    Client::new(&all).await.session.close().await;
    assert_eq!(all.status().scopes, 1);
    tokio::time::sleep(Duration::from_secs(299)).await;
    assert_eq!(all.status().scopes, 1);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(all.status().scopes, 0);
}

#[tokio::test(start_paused = true)]
async fn scopes_that_nobody_uses_are_bounded() {
    let a = Peer::new("a", &["x"]);
    let mut options = options();
    options.scope_max = 3;
    let all = with(&[&a], options);
    for caller in 0..10 {
        let caller = Caller::named(caller.to_string());
        let client = Client::of(&all, caller, "2025-06-18", json!({})).await;
        client.session.close().await;
    }
    assert_eq!(all.status().scopes, 3);
}

#[tokio::test(start_paused = true)]
async fn a_caller_sees_what_it_may_and_calls_nothing_else() {
    let (a, b) = (Peer::new("a", &["read", "write"]), Peer::new("b", &["secret"]));
    let read_only = Arc::new(Shape {
        tools: Filter { allow: Some(vec![Rule::Name(Glob::new("read*"))]), deny: Vec::new() },
        ..Shape::default()
    });
    let (mut of_a, mut of_b) = (a.member(), b.member());
    of_a.rights = Rights::new(move |caller| {
        let is_guest = caller.subject.as_deref() == Some("guest");
        Some(if is_guest { vec![Arc::clone(&read_only)] } else { Vec::new() })
    });
    of_b.rights = Rights::new(|caller| (caller.subject.as_deref() != Some("guest")).then(Vec::new));
    let all = of(vec![of_a, of_b], options());
    let mut guest = Client::of(&all, Caller::named("guest"), "2025-06-18", json!({})).await;
    assert_eq!(guest.tools().await, ["read"]);
    for hidden in ["write", "a__write", "secret", "b__secret"] {
        let error = guest.call(hidden).await.unwrap_err();
        assert_eq!(error, format!("Unknown tool: {hidden}"));
    }
    let mut owner = Client::of(&all, Caller::named("owner"), "2025-06-18", json!({})).await;
    assert_eq!(owner.tools().await, ["read", "write", "secret"]);
    assert_eq!((a.count("tools/call write"), b.open()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_news_ends_nothing() {
    let a = Peer::new("a", &["x"]);
    let mut options = options();
    options.inbox.queue_len_max = 10;
    let mut client = Client::new(&with(&[&a], options)).await;
    for _ in 0..100 {
        a.talk().say("notifications/message", json!({ "level": "info", "data": 1 }));
    }
    assert_eq!(client.call("x").await.unwrap(), "a x");
    for _ in 0..10 {
        client.hears("notifications/message").await;
    }
    assert!(client.hears_nothing().await, "the rest found no room");
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_questions_is_refused() {
    let a = Peer::new("a", &["x"]);
    let mut options = options();
    options.questions_max = 2;
    let mut client = Client::new(&with(&[&a], options)).await;
    let talk = a.talk();
    for id in 1..=3 {
        let question = mcp_jsonrpc::Message::request(&id.into(), "roots/list", &json!({})).unwrap();
        talk.unasked.push(question.into()).unwrap();
    }
    let refused = talk.answer().await;
    assert_eq!((refused.id(), refused.kind()), (Some(&3.into()), mcp_jsonrpc::Kind::Error));
    for _ in 0..2 {
        assert_eq!(client.next().await.method(), Some("roots/list"));
    }
    assert!(client.hears_nothing().await);
}
