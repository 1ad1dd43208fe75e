//! Requests find their servers, and what servers say finds its way back.

use futures::{FutureExt, StreamExt};
use mcp_jsonrpc::{
    Kind, Message,
    transport::{Event, Reply, abandon},
};
use serde_json::{Value, json};

use crate::rig::{Client, Peer, all, options, with};

fn resourceful(name: &str) -> Peer {
    let peer = Peer::new(name, &[]);
    peer.can(json!({ "resources": { "subscribe": true }, "tasks": { "list": {} } }));
    peer.set("resources", json!([{ "uri": "mem://both", "name": "x" }]));
    peer.set("tasks", json!([{ "taskId": "7", "status": "working" }]));
    peer
}

#[tokio::test(start_paused = true)]
async fn resources_and_tasks_lead_back_to_their_server() {
    let (a, b) = (resourceful("a"), resourceful("b"));
    let mut client = Client::new(&all(&[&a, &b])).await;
    let uris = client.list("resources", "resources", "uri").await;
    assert_eq!(uris, ["mcp-gateway://a/mem://both", "mcp-gateway://b/mem://both"]);
    let read = client.ask("resources/read", json!({ "uri": uris[1] })).await.unwrap();
    assert_eq!(read["contents"][0], json!({ "uri": uris[1], "text": "b" }));
    client.ask("resources/subscribe", json!({ "uri": uris[0] })).await.unwrap();
    assert_eq!(a.count("resources/subscribe mem://both"), 1);
    a.talk().say("notifications/resources/updated", json!({ "uri": "mem://both" }));
    let updated: Value = client.next().await.read().unwrap();
    assert_eq!(updated["uri"], uris[0].as_str());

    let tasks = client.ask("tasks/list", json!({})).await.unwrap();
    let ids = json!([
        { "taskId": "mcp-gateway.a.7", "status": "working" },
        { "taskId": "mcp-gateway.b.7", "status": "working" },
    ]);
    assert_eq!(tasks["tasks"], ids);
    let task = client.ask("tasks/get", json!({ "taskId": "mcp-gateway.b.7" })).await.unwrap();
    assert_eq!(task["taskId"], "mcp-gateway.b.7");
    assert_eq!((a.count("tasks/get 7"), b.count("tasks/get 7")), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn equal_questions_of_two_servers_are_told_apart() {
    let (a, b) = (Peer::new("a", &["x"]), Peer::new("b", &["y"]));
    let mut client = Client::new(&all(&[&a, &b])).await;
    let (of_a, of_b) = (a.talk(), b.talk());
    let asked = async {
        tokio::join!(of_a.ask(1, "roots/list", json!({})), of_b.ask(1, "roots/list", json!({})))
    };
    let answered = async {
        let (one, two) = (client.next().await, client.next().await);
        assert_ne!(one.id(), two.id());
        for (question, name) in [(two, "second"), (one, "first")] {
            let roots = json!({ "roots": [{ "uri": format!("file:///{name}") }] });
            let answer = Message::response(question.id().unwrap(), &roots).unwrap();
            client.send(answer).await.unwrap();
        }
    };
    let ((of_a, of_b), ()) = tokio::join!(asked, answered);
    assert!(of_a.id() == of_b.id() && of_a.body() != of_b.body(), "each has an answer of its own");
}

#[tokio::test(start_paused = true)]
async fn a_question_within_a_call_and_its_answer() {
    let a = Peer::new("a", &["ask"]);
    let mut client = Client::new(&all(&[&a])).await;
    let request = client.request("tools/call", json!({ "name": "ask" }));
    let Reply::Stream(mut events) = client.send(request).await.unwrap() else { panic!() };
    let Event::Message { message: question, .. } = events.next().await.unwrap().unwrap() else {
        panic!()
    };
    assert_eq!((question.kind(), question.method()), (Kind::Request, Some("roots/list")));
    let answer = Message::response(question.id().unwrap(), &json!({ "roots": [] })).unwrap();
    client.send(answer).await.unwrap();
    assert_eq!(a.talk().answer().await.id(), Some(&1.into()));
    let Event::Message { message, .. } = events.next().await.unwrap().unwrap() else { panic!() };
    assert!(message.is_answer() && events.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn what_is_said_before_an_answer_is_heard_before_it() {
    let a = Peer::new("a", &["log"]);
    let mut client = Client::new(&all(&[&a])).await;
    for _ in 0..20 {
        client.call("log").await.unwrap();
        let heard = tokio::time::timeout(std::time::Duration::ZERO, client.next()).await;
        assert_eq!(heard.unwrap().method(), Some("notifications/message"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_is_taken_back() {
    let a = Peer::new("a", &["hang", "x"]);
    let mut client = Client::new(&all(&[&a])).await;
    let request = client.request("tools/call", json!({ "name": "hang" }));
    let mut sent = Box::pin(client.send(request));
    assert!((&mut sent).now_or_never().is_none());
    abandon(sent, "the user pressed Escape");
    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    assert_eq!(a.count("notifications/cancelled"), 1);
    client.call("x").await.unwrap();
    assert_eq!(a.count("notifications/cancelled"), 1, "what was answered is not taken back");
}

#[tokio::test(start_paused = true)]
async fn log_levels_and_roots_reach_all() {
    let (a, b) = (Peer::new("a", &["x"]), Peer::new("b", &["y"]));
    a.can(json!({ "tools": {}, "logging": {} }));
    let all = all(&[&a, &b]);
    let mut client = Client::new(&all).await;
    client.ask("logging/setLevel", json!({ "level": "error" })).await.unwrap();
    client.tell("notifications/roots/list_changed", json!({})).await;
    assert_eq!((a.count("logging/setLevel"), b.count("logging/setLevel")), (1, 0));
    let roots = "notifications/roots/list_changed";
    assert_eq!((a.count(roots), b.count(roots)), (1, 1));
    let wrong = client.ask("logging/setLevel", json!({ "level": "loud" })).await.unwrap_err();
    assert!(wrong.contains("`level` is none of debug"), "{wrong}");
    // A session that comes to have a link later tells its level then.
    let mut second = Client::new(&all).await;
    second.ask("logging/setLevel", json!({ "level": "debug" })).await.unwrap();
    assert_eq!(a.count("logging/setLevel"), 1);
    second.call("x").await.unwrap();
    assert_eq!(a.count("logging/setLevel"), 2);
}

#[tokio::test(start_paused = true)]
async fn three_tools_in_the_place_of_all() {
    let (a, b) = (Peer::new("a", &["send_mail"]), Peer::new("b", &["read_file"]));
    let mut options = options();
    options.search = true;
    let mut client = Client::new(&with(&[&a, &b], options)).await;
    assert_eq!(client.tools().await, ["search_tools", "describe_tool", "call_tool"]);
    let found = client
        .ask("tools/call", json!({ "name": "search_tools", "arguments": { "query": "mail" } }))
        .await
        .unwrap();
    assert!(found["content"][0]["text"].as_str().unwrap().contains("send_mail"));
    let called = json!({ "name": "call_tool", "arguments": { "name": "read_file" } });
    let called = client.ask("tools/call", called).await.unwrap();
    assert_eq!(called["content"][0]["text"], "b read_file");
    assert_eq!(client.call("send_mail").await.unwrap(), "a send_mail", "by its own name too");
}

#[tokio::test(start_paused = true)]
async fn what_is_found_is_what_is_there_now() {
    let (a, b) = (Peer::new("a", &["send_mail"]), Peer::new("b", &["readFile"]));
    let mut options = options();
    options.search = true;
    let mut client = Client::new(&with(&[&a, &b], options)).await;
    let found = async |client: &mut Client, query: &str| {
        let wanted = json!({ "name": "search_tools", "arguments": { "query": query } });
        let found = client.ask("tools/call", wanted).await.unwrap();
        let found: Value =
            serde_json::from_str(found["content"][0]["text"].as_str().unwrap()).unwrap();
        let tools = found["tools"].as_array().unwrap().clone();
        tools.iter().map(|it| it["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(found(&mut client, "read a file").await, ["readFile"]);
    assert_eq!(found(&mut client, "paint").await, [""; 0]);
    a.set_tools(&["paint_picture"]);
    a.announce("tools");
    client.hears("notifications/tools/list_changed").await;
    assert_eq!(found(&mut client, "paint").await, ["paint_picture"]);
    assert_eq!(found(&mut client, "mail").await, [""; 0]);
    b.break_down();
    client.hears("notifications/tools/list_changed").await;
    assert_eq!(found(&mut client, "read a file").await, [""; 0], "who is not there is not found");
}

#[tokio::test(start_paused = true)]
async fn what_nobody_knows() {
    let (a, b) = (Peer::new("a", &["x"]), Peer::new("b", &["y"]));
    let mut client = Client::new(&all(&[&a, &b])).await;
    let unknown = client.ask("nobody/knows", json!({})).await.unwrap_err();
    assert_eq!(unknown, "Method not found: nobody/knows");
    assert_eq!(client.ask("ping", json!({})).await.unwrap(), json!({}));
    let again = client.ask("initialize", json!({})).await.unwrap_err();
    assert_eq!(again, "this session is initialized already");
    // Before one server alone nothing is unknown here.
    let mut only = Client::new(&all(&[&a])).await;
    only.ask("nobody/knows", json!({})).await.unwrap();
    assert_eq!(a.count("nobody/knows"), 1);
}
