//! Clients and servers of 2026-07-28 where many servers are one.

use serde_json::{Value, json};

use super::modern::{Modern, VERSION};
use crate::{
    client::{Client, Front},
    rig::{Gateway, demo_child, folder, servers},
};

/// Servers of both eras, and of both wires.
fn both(dir: &std::path::Path) -> Value {
    let mut child = demo_child(dir);
    child["protocol"] = json!("2025-06-18");
    servers(json!({
        "new": { "type": "demo", "protocol": VERSION },
        "old": { "type": "demo", "protocol": "2025-11-25" },
        "child": child,
    }))
}

#[test]
fn a_client_without_a_session_has_all_servers() {
    let dir = folder();
    let gateway = Gateway::start(&both(dir.path()));
    let mut client = Modern::new(&gateway, "");
    let found = client.result("server/discover", json!({}));
    assert_eq!(found["supportedVersions"][0], VERSION, "{found}");
    let list = client.result("tools/list", json!({}));
    let tools = list["tools"].as_array().unwrap();
    for server in ["new", "old", "child"] {
        let name = format!("{server}__add");
        assert!(tools.iter().any(|it| it["name"] == *name), "{name}: {list}");
        assert_eq!(client.text(&name, json!({ "a": 2, "b": 3 })), "5");
        let uri = format!("mcp-gateway://{server}/demo://note");
        let read = client.result("resources/read", json!({ "uri": uri }));
        assert_eq!(read["contents"][0]["uri"], uri);
    }
    client.meta = json!({ "progressToken": "mine" });
    let said = client.call("old__progress", json!({ "steps": 3 }));
    assert_eq!(said.told("notifications/progress").len(), 3, "{said:?}");
}

#[test]
fn servers_ask_in_mid_call() {
    let dir = folder();
    let gateway = Gateway::start(&both(dir.path()));
    let client = Modern::new(&gateway, "");
    for server in ["new", "old", "child"] {
        let (said, rounds) = client.converse(
            &format!("{server}__ask-sampling"),
            &json!({}),
            |_| json!({ "role": "assistant", "model": "m", "content": { "type": "text", "text": "x" } }),
        );
        assert_eq!((said.text().as_str(), rounds), ("m said: x", 1), "{server}");
    }
}

#[test]
fn a_client_with_a_handshake_has_servers_of_both_eras() {
    let dir = folder();
    let gateway = Gateway::start(&both(dir.path()));
    for front in [Front::Sse, Front::Streamable, Front::Stdio] {
        for revision in ["2024-11-05", "2025-11-25"] {
            let mut client = Client::connect(&gateway, front, "");
            client.initialize(revision, &json!({ "sampling": {} }));
            for server in ["new", "old", "child"] {
                assert_eq!(client.call(&format!("{server}__add"), json!({ "a": 2, "b": 3 })), "5");
                let id =
                    client.begin_call(&format!("{server}__ask-sampling"), json!({ "prompt": "x" }));
                let asked = client.told("sampling/createMessage");
                let content = json!({ "type": "text", "text": "y" });
                client.reply(
                    &asked,
                    json!({ "role": "assistant", "model": "m", "content": content }),
                );
                assert_eq!(client.text(id), "m said: y", "{front:?} {revision} {server}");
            }
        }
    }
}

#[test]
fn changes_are_announced_to_clients_of_both_eras() {
    let dir = folder();
    let gateway = Gateway::start(&both(dir.path()));
    let client = Modern::new(&gateway, "");
    let (mut news, granted) = client.listen(json!({ "toolsListChanged": true }));
    assert_eq!(granted["toolsListChanged"], true, "{granted}");
    let mut other = Client::begin(&gateway, Front::Streamable, "");
    let tools = |client: &Modern| {
        let listed = client.result("tools/list", json!({}));
        listed["tools"].as_array().unwrap().len()
    };
    let before = tools(&client);
    for server in ["new", "old", "child"] {
        let was = tools(&client);
        client.call(&format!("{server}__toggle"), json!({ "kind": "tool" }));
        news.told("notifications/tools/list_changed");
        assert_eq!(tools(&client), was + 1, "{server}");
        if server == "new" {
            other.told("notifications/tools/list_changed");
        }
    }
    assert_eq!(tools(&client), before + 3);
}
