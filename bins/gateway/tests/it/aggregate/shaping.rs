//! Which tools are there for whom, on a server's own route, in a group, and by token.

use serde_json::{Value, json};

use super::tools;
use crate::{
    client::{Client, Front},
    rig::{Gateway, INITIALIZE, call, servers},
};

/// A tool's entry in a list.
#[track_caller]
fn entry(client: &mut Client, name: &str) -> Value {
    let listed = client.ask("tools/list", json!({}));
    let mut tools = listed["result"]["tools"].as_array().unwrap().iter();
    tools.find(|it| it["name"] == name).unwrap_or_else(|| panic!("{name}: {listed}")).clone()
}

#[test]
fn a_server_shows_what_it_is_configured_to_everywhere() {
    let gateway = Gateway::start(&servers(json!({ "demo": {
        "type": "demo",
        "tools": {
            "block": ["sl*p", "big"],
            "override": { "echo": {
                "name": "say", "description": "Says it again.",
                "arguments": { "message": { "default": "silence" } },
            } },
        },
        "prompts": { "block": ["*"] },
    } })));
    for front in [Front::Sse, Front::Streamable, Front::Stdio] {
        for route in ["demo", ""] {
            let mut client = Client::begin(&gateway, front, route);
            let names = tools(&mut client);
            for hidden in ["sleep", "echo"] {
                assert!(!names.contains(&hidden.to_owned()), "{front:?} {route}: {names:?}");
                let arguments = json!({ "ms": 1, "message": "x" });
                let called =
                    client.ask("tools/call", json!({ "name": hidden, "arguments": arguments }));
                assert_eq!(called["error"]["message"], format!("Unknown tool: {hidden}"));
            }
            assert_eq!(entry(&mut client, "say")["description"], "Says it again.");
            assert_eq!(client.call("say", json!({ "message": "x" })), "x");
            assert_eq!(client.call("say", json!({})), "silence");
            let prompts = client.ask("prompts/list", json!({}));
            assert_eq!(prompts["result"]["prompts"], json!([]), "{front:?} {route}");
        }
    }
}

#[test]
fn groups_are_chosen_parts() {
    let mut config = servers(json!({ "a": { "type": "demo" }, "b": { "type": "demo" } }));
    config["groups"] = json!({
        "some": {
            "servers": { "a": { "alias": "first" }, "b": { "tools": { "allow": ["echo"] } } },
            "tools": { "block": ["sleep"] },
            "prefix": "always", "separator": "-",
        },
        "found": { "servers": ["a", "b"], "search": true },
        "one": { "servers": ["a"] },
    });
    let gateway = Gateway::start(&config);
    for front in [Front::Sse, Front::Streamable, Front::Stdio] {
        let mut client = Client::begin(&gateway, front, "g/some");
        let names = tools(&mut client);
        assert_eq!(names.iter().filter(|it| it.starts_with("b-")).count(), 1, "{names:?}");
        assert!(names.contains(&"first-echo".to_owned()) && names.contains(&"b-echo".to_owned()));
        assert!(!names.contains(&"first-sleep".to_owned()));
        assert_eq!(client.call("first-echo", json!({ "message": "x" })), "x");
        let mut client = Client::begin(&gateway, front, "g/found");
        assert_eq!(tools(&mut client), ["search_tools", "describe_tool", "call_tool"]);
        let found = client.call("search_tools", json!({ "query": "echo" }));
        assert!(found.contains("a__echo"), "{found}");
        let arguments = json!({ "name": "b__echo", "arguments": { "message": "y" } });
        assert_eq!(client.call("call_tool", arguments), "y");
    }
    let mut client = Client::begin(&gateway, Front::Streamable, "g/one");
    assert_eq!(client.call("echo", json!({ "message": "alone" })), "alone");
}

#[test]
fn tokens_open_what_they_open() {
    let mut config = servers(json!({
        "a": { "type": "demo" },
        "b": { "type": "demo", "tokens": ["owner"] },
    }));
    config["gateway"] = json!({ "tokens": {
        "owner": "token-of-the-owner",
        "guest": { "secret": "token-of-a-guest", "tools": { "allow": ["readOnlyHint=true"] } },
    } });
    config["groups"] = json!({ "mine": { "servers": ["a", "b"], "tokens": ["owner"] } });
    let gateway = Gateway::start(&config);
    assert_eq!(gateway.post("/mcp", &[], INITIALIZE).status, 401);
    let ask = |path: &str, token: &str, message: &str| {
        let bearer = format!("Bearer {token}");
        let answer = gateway.post(path, &[("Authorization", &bearer)], INITIALIZE);
        let Some(session) = answer.field("mcp-session-id") else { return answer };
        let fields = [("Authorization", &*bearer), ("Mcp-Session-Id", session)];
        gateway.post(path, &fields, message)
    };
    let list = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" }).to_string();
    let of_owner = ask("/mcp", "token-of-the-owner", &list).body;
    assert!(of_owner.contains("\"b__echo\"") && of_owner.contains("\"a__echo\""));
    for path in ["/mcp", "/a/mcp"] {
        let of_guest = ask(path, "token-of-a-guest", &list).body;
        assert!(!of_guest.contains("b__echo") && of_guest.contains("\"echo\""), "{of_guest}");
        assert!(!of_guest.contains("\"touch\""), "{path}: {of_guest}");
        let called = ask(path, "token-of-a-guest", &call(1, "touch", &json!({}))).body;
        assert!(called.contains("Unknown tool: touch"), "{path}: {called}");
        let called = ask(path, "token-of-a-guest", &call(1, "echo", &json!({ "message": "hi" })));
        assert!(called.body.contains("hi"), "{path}: {called:?}");
    }
    assert_eq!(ask("/g/mine/mcp", "token-of-a-guest", &list).status, 403);
    assert_eq!(ask("/g/mine/mcp", "token-of-the-owner", &list).status, 200);
}
