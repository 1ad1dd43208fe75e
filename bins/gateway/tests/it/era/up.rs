//! Clients of 2026-07-28 before servers with a handshake.

use serde_json::{Value, json};

use super::{
    House, Wire,
    modern::{Modern, VERSION},
};
use crate::process::until;

const WIRES: [Wire; 4] = [Wire::Inside, Wire::Child, Wire::Sse, Wire::Streamable];

/// An answer to whatever is asked.
fn reply(asked: &Value) -> Value {
    match asked["method"].as_str().unwrap() {
        "elicitation/create" => json!({ "action": "accept", "content": { "name": "Ann" } }),
        "sampling/createMessage" => json!({
            "role": "assistant", "model": "m", "content": { "type": "text", "text": "nobody" },
        }),
        "roots/list" => json!({ "roots": [{ "uri": "file:///srv" }] }),
        other => panic!("{other}"),
    }
}

#[test]
fn everything_is_there_over_every_wire() {
    for wire in WIRES {
        let house = House::new(wire, "2025-11-25");
        let mut client = Modern::new(&house.gateway, "it");
        let found = client.result("server/discover", json!({}));
        assert_eq!(found["supportedVersions"][0], VERSION, "{found}");
        assert!(found["capabilities"]["tools"].is_object(), "{found}");
        assert_eq!(client.text("add", json!({ "a": 2, "b": 3 })), "5", "{wire:?}");
        let list = client.result("tools/list", json!({}));
        assert_eq!((&list["ttlMs"], &list["cacheScope"]), (&json!(0), &json!("private")), "{list}");
        let failed = client.call("fail", json!({}));
        assert_eq!(failed.answer["result"]["isError"], true, "{failed:?}");
        let missing = client.error("resources/read", json!({ "uri": "demo://none" }));
        assert_eq!(missing["code"], -32602, "{missing}");
        assert_eq!(client.error("ping", json!({}))["code"], -32601);
        client.meta = json!({ "progressToken": "mine" });
        let said = client.call("progress", json!({ "steps": 3 }));
        let told = said.told("notifications/progress");
        assert_eq!(told.len(), 3, "{wire:?}: {said:?}");
        assert!(told.iter().all(|it| it["progressToken"] == "mine"), "{said:?}");
    }
}

#[test]
fn the_server_asks_in_mid_call_and_is_answered() {
    for wire in WIRES {
        let house = House::new(wire, "2025-11-25");
        let client = Modern::new(&house.gateway, "it");
        for (tool, expect) in [
            ("ask-elicitation", r#"accepted: {"name":"Ann"}"#),
            ("ask-sampling", "m said: nobody"),
            ("ask-roots", "1 roots: file:///srv"),
        ] {
            let (said, rounds) = client.converse(tool, &json!({}), reply);
            assert_eq!((said.text().as_str(), rounds), (expect, 1), "{wire:?} {tool}");
        }
        let status = house.gateway.status("it", |it| it["parked"] == 0);
        assert_eq!((&status["refused"], &status["expired"]), (&json!(0), &json!(0)), "{status}");
        assert!(status["kept"].as_u64().unwrap() >= 1, "{status}");
    }
}

/// A state is good for its caller, for its request, once, and for a while.
#[test]
fn a_state_opens_one_call_once() {
    let settings = json!({
        "tokens": { "ann": { "secret": "of-ann-0123456789" }, "bob": { "secret": "of-bob-0123456789" } },
        "timeouts": { "parked": "2s" },
    });
    let house = House::with(Wire::Child, "2025-11-25", &settings);
    let ann = Modern::new(&house.gateway, "it").with_token("of-ann-0123456789");
    let bob = ann.with_token("of-bob-0123456789");
    let call = json!({ "name": "ask-roots", "arguments": {} });
    let begin = || ann.ask("tools/call", call.clone()).answer["result"].clone();
    let retry = |result: &Value, tool: &str| {
        let asked = result["inputRequests"].as_object().unwrap();
        let answers: serde_json::Map<_, _> =
            asked.iter().map(|(key, asked)| (key.clone(), reply(asked))).collect();
        json!({
            "name": tool, "arguments": {},
            "inputResponses": answers, "requestState": result["requestState"],
        })
    };
    let asked = begin();
    assert_eq!(asked["resultType"], "input_required", "{asked}");
    // Nobody else's.
    let foreign = bob.error("tools/call", retry(&asked, "ask-roots"));
    assert_eq!(foreign["code"], -32602, "{foreign}");
    // Not of another call.
    let other = ann.error("tools/call", retry(&asked, "ask-sampling"));
    assert_eq!(other["code"], -32602, "{other}");
    // Not altered.
    let mut altered = retry(&asked, "ask-roots");
    let mut state = asked["requestState"].as_str().unwrap().to_owned();
    let last = state.pop().unwrap();
    state.push(if last == 'A' { 'B' } else { 'A' });
    altered["requestState"] = json!(state);
    assert_eq!(ann.error("tools/call", altered)["code"], -32602);
    // It still waits, and goes on.
    let said = ann.ask("tools/call", retry(&asked, "ask-roots"));
    assert_eq!(said.text(), "1 roots: file:///srv");
    // Not twice.
    let again = ann.error("tools/call", retry(&asked, "ask-roots"));
    assert!(again["message"].as_str().unwrap().contains("used already"), "{again}");
    // Not too late.
    let late = begin();
    until("the end of its time", || {
        let bearer = [("Authorization", "Bearer of-ann-0123456789")];
        let status = house.gateway.ask("GET /status", &bearer, "").json()["servers"][0].clone();
        (status["expired"] == 1 && status["parked"] == 0).then_some(())
    });
    let late = ann.error("tools/call", retry(&late, "ask-roots"));
    assert_eq!(late["code"], -32602, "{late}");
}

#[test]
fn who_listens_hears_of_changes_over_every_wire() {
    for wire in WIRES {
        let house = House::new(wire, "2025-11-25");
        let client = Modern::mute(&house.gateway, "it");
        let wanted = json!({ "toolsListChanged": true, "resourceSubscriptions": ["demo://note"] });
        let (mut stream, honoured) = client.listen(wanted.clone());
        assert_eq!(honoured, wanted, "{wire:?}");
        client.text("touch", json!({}));
        client.text("toggle", json!({}));
        let updated = stream.told("notifications/resources/updated");
        assert_eq!(updated["params"]["uri"], "demo://note", "{wire:?}");
        stream.told("notifications/tools/list_changed");
        assert_eq!(house.gateway.status("it", |_| true)["listening"], 1);
        drop(stream);
        house.gateway.status("it", |it| it["listening"] == 0);
    }
}

#[test]
fn who_wants_to_hear_the_log_hears_it() {
    for wire in WIRES {
        let house = House::new(wire, "2025-11-25");
        let mut client = Modern::mute(&house.gateway, "it");
        let levels = json!({ "level": "warning", "message": "careful" });
        let silent = client.call("log", levels.clone());
        assert!(silent.told("notifications/message").is_empty(), "{wire:?}: {silent:?}");
        client.meta = json!({ "io.modelcontextprotocol/logLevel": "info" });
        let said = client.call("log", levels.clone());
        let told = said.told("notifications/message");
        assert!(told.iter().any(|it| it["level"] == "warning"), "{wire:?}: {said:?}");
        client.meta = json!({ "io.modelcontextprotocol/logLevel": "error" });
        let said = client.call("log", levels);
        assert!(said.told("notifications/message").is_empty(), "{wire:?}: {said:?}");
    }
}

/// To close the stream is to cancel, and the session goes on.
#[test]
fn who_leaves_has_cancelled() {
    for wire in WIRES {
        let house = House::new(wire, "2025-11-25");
        let mut client = Modern::mute(&house.gateway, "it");
        client.text("add", json!({ "a": 1, "b": 1 }));
        client.meta = json!({ "progressToken": 1 });
        let arguments = json!({ "name": "progress", "arguments": { "steps": 100, "ms": 250 } });
        let open = client.open(&json!(1), "tools/call", arguments);
        house.gateway.status("it", |it| it["inFlight"] == 1);
        drop(open);
        house.gateway.status("it", |it| it["inFlight"] == 0);
        assert_eq!(client.text("add", json!({ "a": 1, "b": 1 })), "2", "{wire:?}");
        assert_eq!(house.gateway.status("it", |_| true)["kept"], 1, "{wire:?}");
    }
}

/// What a server keeps for a session is all its caller's; where clients tell their conversations
/// apart, it is each conversation's.
#[test]
fn conversations_are_told_apart_by_a_field() {
    let settings = json!({ "affinityHeader": "X-Conversation" });
    let house = House::with(Wire::Child, "2025-11-25", &settings);
    let plain = Modern::new(&house.gateway, "it");
    let said = |name: &str| plain.with_field("x-conversation", name);
    let count = |client: &Modern| client.text("count", json!({}));
    assert_eq!((count(&plain), count(&plain)), ("1".into(), "2".into()));
    let (one, two) = (said("one"), said("two"));
    assert_eq!((count(&one), count(&two), count(&one)), ("1".into(), "1".into(), "2".into()));
    assert_eq!(count(&said("")), "3", "an empty field is none");
    // A call that waits goes on where it began.
    let (answer, rounds) = one.converse("ask-roots", &json!({}), reply);
    assert_eq!((answer.text().as_str(), rounds), ("1 roots: file:///srv", 1));
    assert_eq!(count(&one), "3");
    let long = said(&"x".repeat(257)).error("tools/call", json!({ "name": "count" }));
    assert_eq!(long["code"], -32600, "{long}");
    assert!(long["message"].as_str().unwrap().contains("x-conversation"), "{long}");
    assert_eq!(house.gateway.status("it", |it| it["kept"] == 3)["kept"], 3);
}
