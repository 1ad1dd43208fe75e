//! What happens at bounds that no other test goes to.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use aggregate::{Rights, Shaped};
use catalogue::{Filter, Hint, Rule, Shape};
use mcp_jsonrpc::{
    Id, Kind, Message,
    transport::{Caller, Exchange, Opening, Reply, Session, Transport},
};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::rig::{Client, Peer, all};

#[tokio::test(start_paused = true)]
async fn tasks_of_so_many_pages_are_listed() {
    let (a, b) = (Peer::new("a", &["x"]), Peer::new("b", &["y"]));
    for peer in [&a, &b] {
        peer.can(json!({ "tools": {}, "tasks": { "list": {} } }));
    }
    let task = |it: usize| json!({ "taskId": it.to_string(), "status": "working" });
    a.set("tasks", (0..60).map(task).collect());
    b.set("tasks", (0..2).map(task).collect());
    a.0.page_len.store(1, Ordering::Relaxed);
    let mut client = Client::new(&all(&[&a, &b])).await;
    let listed = client.ask("tasks/list", json!({})).await.unwrap();
    assert_eq!((listed["tasks"].as_array().unwrap().len(), a.count("tasks/list")), (50 + 2, 50));
    let said = json!([{
        "server": "a", "reason": "tasks of more than 50 pages: the rest is left out",
    }]);
    assert_eq!(listed["_meta"], json!({ "mcp-gateway/incomplete": said }));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_ends_its_stream_is_listened_to_again_and_not_too_often() {
    let a = Peer::new("a", &["x"]);
    let mut client = Client::new(&all(&[&a])).await;
    let talk = a.talk();
    let listened = || talk.listened.load(Ordering::Acquire);
    talk.unasked.finish(Ok(None));
    let ended = Instant::now();
    let pauses = [0, 1, 2, 4, 8, 16, 32, 60, 60, 60];
    let mut at = ended + Duration::from_millis(500);
    for (count, pause) in (1..).zip(pauses) {
        at += Duration::from_secs(pause);
        tokio::time::sleep_until(at).await;
        assert_eq!(listened(), count, "after {:?}", ended.elapsed());
    }
    assert_eq!(client.call("x").await.unwrap(), "a x", "its session goes on");
}

#[tokio::test(start_paused = true)]
async fn so_much_of_a_refusal_is_passed_on() {
    let (a, b, c) = (Peer::new("a", &["x"]), Peer::new("b", &["y"]), Peer::new("c", &["z"]));
    *a.0.refuses.lock().unwrap() = Some(("initialize", 100_000));
    *b.0.refuses.lock().unwrap() = Some(("prompts/list", 100_000));
    b.can(json!({ "tools": {}, "prompts": {} }));
    let mut client = Client::new(&all(&[&a, &b, &c])).await;
    assert_eq!(client.tools().await, ["y", "z"]);
    let listed = client.ask("tools/list", json!({})).await.unwrap();
    let missing = &listed["_meta"]["mcp-gateway/missing"][0];
    assert_eq!(missing["server"], "a");
    let why = missing["reason"].as_str().unwrap();
    assert!(why.contains("it refuses `initialize`") && why.len() < 600, "{why}");
    let cut = &listed["_meta"]["mcp-gateway/incomplete"][0];
    assert_eq!(cut["server"], "b");
    let why = cut["reason"].as_str().unwrap();
    assert_eq!(why, format!("it refuses `prompts/list`: {}", "no".repeat(256)));
}

#[tokio::test(start_paused = true)]
async fn so_much_of_an_unknown_method_is_said_back() {
    let (a, b) = (Peer::new("a", &["x"]), Peer::new("b", &["y"]));
    let mut client = Client::new(&all(&[&a, &b])).await;
    let unknown = client.ask(&"m".repeat(10_000), json!({})).await.unwrap_err();
    assert_eq!(unknown, format!("Method not found: {}", "m".repeat(100)));
}

/// Shows of a server what only reads.
fn read_only(peer: &Peer) -> Shaped {
    let rule = Rule::Hint(Hint::ReadOnly, true);
    let tools = Filter { allow: Some(vec![rule]), deny: Vec::new() };
    let shape = Arc::new(Shape { tools, ..Shape::default() });
    Shaped::new(Arc::new(peer.clone()), vec![shape], Rights::default())
}

fn reading(names: impl Iterator<Item = String>) -> Value {
    let hints = json!({ "readOnlyHint": true });
    names.map(|it| json!({ "name": it, "annotations": hints })).collect()
}

async fn call(session: &dyn Session, caller: &Caller, tool: &str) -> Kind {
    let params = json!({ "name": tool });
    let request = Message::request(&Id::from(1), "tools/call", &params).unwrap();
    match session.send(Exchange::new(request, caller.clone())).await.unwrap() {
        Reply::Single(answer) => answer.kind(),
        other => panic!("{other:?}"),
    }
}

async fn open(shaped: &Shaped) -> Arc<dyn Session> {
    let caller = Caller::anonymous();
    shaped.open(Opening { caller, version: None, at: "/a/mcp".into() }).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_list_is_walked_so_far_for_what_annotations_say() {
    let a = Peer::new("a", &[]);
    a.set("tools", reading((0..250).map(|it| format!("t{it}"))));
    a.0.page_len.store(1, Ordering::Relaxed);
    let shaped = read_only(&a);
    let (session, caller) = (open(&shaped).await, Caller::anonymous());
    assert_eq!(call(&*session, &caller, "t199").await, Kind::Response);
    assert_eq!(a.count("tools/list"), 200);
    assert_eq!(call(&*session, &caller, "t200").await, Kind::Error, "nobody knows what it does");
    assert_eq!(a.count("tools/call t200"), 0);
}

#[tokio::test(start_paused = true)]
async fn of_so_many_callers_it_is_known_what_they_may_call() {
    let a = Peer::new("a", &[]);
    a.set("tools", reading(["t".to_owned()].into_iter()));
    let shaped = read_only(&a);
    let session = open(&shaped).await;
    let caller = |it: usize| Caller::named(it.to_string());
    for it in 0..1000 {
        assert_eq!(call(&*session, &caller(it), "t").await, Kind::Response);
    }
    for it in [0, 500, 999] {
        call(&*session, &caller(it), "t").await;
    }
    assert_eq!(a.count("tools/list"), 1000, "each is asked for once");
    call(&*session, &caller(1000), "t").await;
    call(&*session, &caller(0), "t").await;
    assert_eq!(a.count("tools/list"), 1002, "one more than is remembered");
    tokio::time::sleep(Duration::from_secs(61)).await;
    call(&*session, &caller(0), "t").await;
    assert_eq!(a.count("tools/list"), 1003, "and not for ever");
}
