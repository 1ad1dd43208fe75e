//! Clients with a handshake before servers of 2026-07-28.

use serde_json::json;

use super::{House, Wire, modern::VERSION};
use crate::{
    asked::questions,
    client::{Client, Front, capabilities},
};

const REVISIONS: [&str; 4] = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"];
const WIRES: [Wire; 3] = [Wire::Inside, Wire::Child, Wire::Streamable];

#[test]
fn a_session_is_made_in_every_revision() {
    for wire in WIRES {
        let house = House::new(wire, VERSION);
        for front in [Front::Sse, Front::Streamable, Front::Unlistening, Front::Stdio] {
            for revision in REVISIONS {
                let mut client = Client::connect(&house.gateway, front, "it");
                let hello = client.initialize(revision, &capabilities());
                assert_eq!(hello["protocolVersion"], revision);
                assert_eq!(client.ask("ping", json!({}))["result"], json!({}));
                assert_eq!(client.call("add", json!({ "a": 1, "b": 2 })), "3", "{front:?}");
                let list = client.ask("tools/list", json!({}));
                assert!(list["result"]["tools"].is_array() && list["result"]["ttlMs"].is_null());
                assert!(list["result"]["resultType"].is_null(), "{list}");
                let missing = client.ask("resources/read", json!({ "uri": "demo://none" }));
                assert_eq!(missing["error"]["code"], -32002, "{missing}");
                let id = client.begin_call("progress", json!({ "steps": 2 }));
                assert_eq!(client.told("notifications/progress")["params"]["progressToken"], "p");
                client.answer(id);
            }
        }
        let status = house.gateway.status("it", |_| true);
        assert_eq!(status["protocolVersion"], VERSION, "{status}");
    }
}

#[test]
fn what_the_server_asks_is_asked_of_its_client() {
    for wire in WIRES {
        let house = House::new(wire, VERSION);
        for front in [Front::Sse, Front::Streamable, Front::Unlistening, Front::Stdio] {
            let mut client = Client::begin(&house.gateway, front, "it");
            questions_but_refusals(&mut client);
        }
    }
}

/// As [`questions`], but for what has no form in 2026-07-28: an error in answer to `roots/list`.
fn questions_but_refusals(client: &mut Client) {
    let _same: fn(&mut Client) = questions;
    let id = client.begin_call("ask-sampling", json!({ "prompt": "Who are you?" }));
    let asked = client.told("sampling/createMessage");
    let content = json!({ "type": "text", "text": "nobody" });
    client.reply(&asked, json!({ "role": "assistant", "model": "m", "content": content }));
    assert_eq!(client.text(id), "m said: nobody");
    let id = client.begin_call("ask-elicitation", json!({}));
    let asked = client.told("elicitation/create");
    client.reply(&asked, json!({ "action": "accept", "content": { "name": "Ann" } }));
    assert_eq!(client.text(id), r#"accepted: {"name":"Ann"}"#);
    let id = client.begin_call("ask-roots", json!({}));
    let asked = client.told("roots/list");
    client.reply(&asked, json!({ "roots": [{ "uri": "file:///srv" }] }));
    assert_eq!(client.text(id), "1 roots: file:///srv");
}

#[test]
fn news_reach_every_session_that_wants_them() {
    for wire in WIRES {
        let house = House::new(wire, VERSION);
        for front in [Front::Sse, Front::Streamable, Front::Stdio] {
            if wire != Wire::Streamable && front == Front::Stdio {
                // A process of its own, with a server of its own.
                continue;
            }
            let mut ann = Client::begin(&house.gateway, front, "it");
            let subscribed = ann.ask("resources/subscribe", json!({ "uri": "demo://note" }));
            assert_eq!(subscribed["result"], json!({}));
            let mut bob = Client::begin(&house.gateway, Front::Unlistening, "it");
            bob.call("touch", json!({}));
            let updated = ann.told("notifications/resources/updated");
            assert_eq!(updated["params"], json!({ "uri": "demo://note" }), "{front:?}");
            bob.call("toggle", json!({}));
            ann.told("notifications/tools/list_changed");
        }
    }
}

#[test]
fn the_level_of_a_session_goes_with_its_requests() {
    let house = House::new(Wire::Streamable, VERSION);
    let mut client = Client::begin(&house.gateway, Front::Sse, "it");
    let level = client.ask("logging/setLevel", json!({ "level": "warning" }));
    assert_eq!(level["result"], json!({}));
    let id = client.begin_call("log", json!({ "level": "error", "message": "late" }));
    assert_eq!(client.told("notifications/message")["params"]["level"], "error");
    client.answer(id);
}

/// The error has no meaning to a client with a handshake: it is a result that says why.
#[test]
fn what_a_client_lacks_it_is_told_in_words() {
    let house = House::new(Wire::Streamable, VERSION);
    let mut client = Client::connect(&house.gateway, Front::Streamable, "it");
    client.initialize("2025-11-25", &json!({}));
    let answer = client.ask("tools/call", json!({ "name": "ask-elicitation", "arguments": {} }));
    assert_eq!(answer["result"]["isError"], true, "{answer}");
    let words = answer["result"]["content"][0]["text"].as_str().unwrap();
    assert!(words.contains("did not declare"), "{words}");
}
