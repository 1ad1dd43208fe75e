//! What is shown of it: in `check` and `/status`, to whom a server lists something alone, and where
//! a configuration is of another schema.

use serde_json::{Value, json};

use super::{CHANGED, tools};
use crate::{
    client::{Client, Front},
    rig::{Gateway, demo_child, folder, run, servers, write},
    scripts,
};

#[test]
fn groups_are_shown_in_check_and_status() {
    let dir = folder();
    let mut config = servers(json!({ "a": { "type": "demo" }, "b": { "type": "demo" } }));
    config["groups"] = json!({
        "two": { "servers": ["a", "b"], "prefix": "always", "tools": { "block": ["sl*"] } },
        "found": { "servers": ["a"], "search": true },
    });
    let file = write(&dir, &config);
    let checked = run(&["check", &file]);
    for words in ["group two", "/g/two/mcp  /g/two/sse", "a, b", "all but sl*", "prefix always"] {
        assert!(checked.out.contains(words), "{words} is not in {}", checked.out);
    }
    let checked: Value = serde_json::from_str(&run(&["check", &file, "--json"]).out).unwrap();
    let group = |name: &str| {
        let mut groups = checked["groups"].as_array().unwrap().iter();
        groups.find(|it| it["name"] == name).unwrap().clone()
    };
    assert_eq!(group("two")["servers"], json!(["a", "b"]));
    assert_eq!(group("two")["tools"], "all but sl*");
    assert_eq!(group("found")["search"], true);

    let gateway = Gateway::start(&config);
    let mut client = Client::begin(&gateway, Front::Streamable, "g/two");
    let count = tools(&mut client).len();
    let status = gateway.get("/status").json();
    let shown = |name: &str| {
        let mut all = status["aggregates"].as_array().unwrap().iter();
        all.find(|it| it["name"] == name).unwrap_or_else(|| panic!("{name}: {status}")).clone()
    };
    assert_eq!(shown("g/two")["routes"], json!(["/g/two/mcp", "/g/two/sse"]));
    assert_eq!((&shown("g/two")["sessions"], &shown("g/two")["scopes"]), (&json!(1), &json!(1)));
    assert!(usize::try_from(shown("g/two")["entries"].as_u64().unwrap()).unwrap() >= count);
    assert_eq!(shown("g/found")["sessions"], 0);
    assert_eq!(shown("(all)")["routes"][0], "/mcp");
}

/// A server that begins to list a tool once another has been called in this session.
fn unlocks() -> Value {
    let mut server = scripts::greets_and(
        r#"
        case $line in
            *tools/list*)
                printf '{"jsonrpc":"2.0","id":%s,"result":{"tools":[{"name":"unlock","inputSchema":{"type":"object"}}%s]}}\n' "$id" "$more" ;;
            *'"unlock"'*)
                more=',{"name":"secret","inputSchema":{"type":"object"}}'
                echo '{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}'
                printf '{"jsonrpc":"2.0","id":%s,"result":{"content":[{"type":"text","text":"unlocked"}]}}\n' "$id" ;;
            *)
                printf '{"jsonrpc":"2.0","id":%s,"result":{"content":[{"type":"text","text":"%s"}]}}\n' "$id" "${more:+open}" ;;
        esac"#,
    );
    server["isolation"] = json!("session");
    server
}

#[test]
fn what_one_session_unlocks_is_its_own() {
    let gateway = Gateway::start(&servers(json!({ "a": unlocks(), "demo": { "type": "demo" } })));
    for front in [Front::Sse, Front::Streamable, Front::Stdio] {
        let mut clients = [0; 2].map(|_| Client::begin(&gateway, front, ""));
        assert_eq!(clients[1].call("unlock", json!({})), "unlocked");
        clients[1].told(CHANGED);
        let has = |client: &mut Client| tools(client).contains(&"secret".to_owned());
        assert!(has(&mut clients[1]) && !has(&mut clients[0]), "{front:?}");
        assert_eq!(clients[1].call("secret", json!({})), "open");
        let unknown = clients[0].ask("tools/call", json!({ "name": "secret" }));
        assert_eq!(unknown["error"]["message"], "Unknown tool: secret", "{front:?}");
        assert!(!has(&mut Client::begin(&gateway, front, "")), "{front:?}: who comes later");
    }
}

#[test]
fn what_other_schemas_hide_is_hidden() {
    let dir = folder();
    let child = |more: Value| {
        let mut child = demo_child(dir.path());
        let more = more.as_object().unwrap().clone();
        child.as_object_mut().unwrap().extend(more);
        child
    };
    let filtered = |mode: &str| {
        let filter = json!({ "mode": mode, "list": ["echo", "sleep"] });
        json!({
            "mcpProxy": { "baseURL": "http://localhost", "addr": ":0", "name": "x", "version": "1" },
            "mcpServers": { "it": child(json!({ "options": { "toolFilter": filter } })) },
        })
    };
    let disabled = json!({
        "mcpServers": { "it": child(json!({ "disabledTools": ["echo", "sleep"] })) },
    });
    for (config, shows_two) in
        [(filtered("block"), false), (filtered("allow"), true), (disabled, false)]
    {
        let gateway = Gateway::start(&config);
        for route in ["", "it"] {
            let mut client = Client::begin(&gateway, Front::Streamable, route);
            let names = tools(&mut client);
            let has = |name: &str| names.contains(&name.to_owned());
            assert_eq!((has("echo"), has("sleep"), has("add")), (shows_two, shows_two, !shows_two));
            let hidden = if shows_two { "add" } else { "echo" };
            let called = client.ask("tools/call", json!({ "name": hidden, "arguments": {} }));
            assert_eq!(called["error"]["message"], format!("Unknown tool: {hidden}"), "{config}");
        }
        let listed = run(&["tools", "--config", &write(&dir, &config), "--json"]);
        let listed: Value = serde_json::from_str(&listed.out).unwrap();
        let mut rows = listed["tools"].as_array().unwrap().iter();
        let echo = rows.find(|it| it["original"] == "echo").unwrap();
        assert_eq!(echo["hidden"], !shows_two, "{echo}");
    }
}
