//! All servers as one, and groups of them.

mod shaping;
mod shown;

use std::path::Path;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::{
    client::{Client, Front, capabilities},
    process::{is_alive, until},
    rig::{Gateway, INITIALIZE, call, demo_child, folder, run, servers, write},
    scripts,
};

const FRONTS: [Front; 4] = [Front::Sse, Front::Streamable, Front::Unlistening, Front::Stdio];
const CHANGED: &str = "notifications/tools/list_changed";

/// The names of the tools.
#[track_caller]
fn tools(client: &mut Client) -> Vec<String> {
    let listed = client.ask("tools/list", json!({}));
    let tools = listed["result"]["tools"].as_array().unwrap_or_else(|| panic!("{listed}"));
    tools.iter().map(|it| it["name"].as_str().unwrap().to_owned()).collect()
}

/// Two of the same kind, one of them a child.
fn twins(dir: &Path) -> Value {
    servers(json!({ "a": { "type": "demo" }, "b": demo_child(dir) }))
}

#[test]
fn all_servers_at_one_door_in_every_revision() {
    let dir = folder();
    let gateway = Gateway::start(&twins(dir.path()));
    for front in FRONTS {
        for version in ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"] {
            let mut client = Client::connect(&gateway, front, "");
            let hello = client.initialize(version, &json!({}));
            assert_eq!(hello["protocolVersion"], version);
            assert_eq!(hello["capabilities"]["tools"]["listChanged"], true);
            assert_eq!(hello["serverInfo"]["name"], "mcp-gateway");
            assert!(hello["_meta"].is_null(), "{hello}");
            let tools = tools(&mut client);
            assert!(
                tools.contains(&"a__echo".to_owned()) && tools.contains(&"b__count".to_owned())
            );
            assert_eq!(client.call("a__echo", json!({ "message": "hi" })), "hi", "{front:?}");
            client.call("b__count", json!({}));
            let unknown = client.ask("tools/call", json!({ "name": "echo" }));
            let words = unknown["error"]["message"].as_str().unwrap();
            assert!(words.contains("a__echo") && words.contains("b__echo"), "{words}");
        }
    }
}

#[test]
fn whatever_servers_do_finds_its_way() {
    let dir = folder();
    let gateway = Gateway::start(&twins(dir.path()));
    for front in [Front::Sse, Front::Streamable, Front::Stdio] {
        let mut client = Client::begin(&gateway, front, "");
        for server in ["a", "b"] {
            // Progress and logs come before the answer they belong to.
            let id = client.begin_call(&format!("{server}__progress"), json!({ "steps": 3 }));
            assert_eq!(client.told("notifications/progress")["params"]["progressToken"], "p");
            client.answer(id);
            client.call(&format!("{server}__log"), json!({ "level": "error", "message": "x" }));
            assert_eq!(client.told("notifications/message")["params"]["data"], "x");
            // Questions, and their answers.
            let id =
                client.begin_call(&format!("{server}__ask-sampling"), json!({ "prompt": "hello" }));
            let question = client.told("sampling/createMessage");
            let text = json!({ "type": "text", "text": format!("of {server}") });
            client.reply(&question, json!({ "role": "assistant", "model": "m", "content": text }));
            assert!(client.text(id).contains(&format!("of {server}")), "{front:?}");
            // Resources, which both have, lead back.
            let uri = format!("mcp-gateway://{server}/demo://note");
            client.ask("resources/subscribe", json!({ "uri": uri }));
            client.call(&format!("{server}__touch"), json!({}));
            let updated = client.told("notifications/resources/updated");
            assert_eq!(updated["params"]["uri"], uri, "{front:?}");
            let read = client.ask("resources/read", json!({ "uri": uri }));
            assert_eq!(read["result"]["contents"][0]["uri"], uri);
        }
        let prompts = client.ask("prompts/list", json!({}));
        assert!(prompts.to_string().contains("a__"), "{prompts}");
    }
}

#[test]
fn a_call_is_taken_back_where_it_runs() {
    let dir = folder();
    let gateway = Gateway::start(&twins(dir.path()));
    let mut client = Client::begin(&gateway, Front::Streamable, "");
    for server in ["a", "b"] {
        let id = client.begin_call(&format!("{server}__sleep"), json!({ "ms": 600_000 }));
        gateway.status(server, |it| it["in_flight"] == 1 || it["inFlight"] == 1);
        let cancelled = json!({ "requestId": id, "reason": "enough" });
        client.say(
            &json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": cancelled })
                .to_string(),
        );
        gateway.status(server, |it| it["in_flight"] == 0 || it["inFlight"] == 0);
    }
}

#[test]
fn a_server_that_cannot_start_costs_its_own_tools() {
    let gateway = Gateway::start(&servers(json!({
        "demo": { "type": "demo" },
        "gone": { "command": "/no/such/program" },
        "far": { "url": "http://127.0.0.1:9/mcp" },
    })));
    let mut client = Client::connect(&gateway, Front::Unlistening, "");
    let hello = client.initialize("2025-06-18", &json!({}));
    let missing = hello["_meta"]["mcp-gateway/missing"].as_array().unwrap();
    let missing: Vec<_> = missing.iter().map(|it| it["server"].as_str().unwrap()).collect();
    assert_eq!(missing, ["far", "gone"]);
    assert!(tools(&mut client).contains(&"echo".to_owned()));
    assert_eq!(client.call("echo", json!({ "message": "still" })), "still");
    let shown = gateway.get("/status").json();
    assert_eq!(shown["aggregates"][0]["missing"].as_array().unwrap().len(), 2, "{shown}");
    gateway.process.logged("that one is missing", |line| {
        (line.contains("missing") && line.contains("gone")).then_some(())
    });
}

#[test]
fn sessions_with_all_survive_the_gateway() {
    for signal in [Signal::KILL, Signal::TERM] {
        let (state, dir) = (folder(), folder());
        let config = twins(dir.path());
        let args = |at: &str| {
            let state = state.path().to_str().unwrap().to_owned();
            ["--listen".to_owned(), at.to_owned(), "--state-dir".to_owned(), state]
        };
        let start = |at: &str| {
            let args = args(at);
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            Gateway::start_in(folder(), &config, &args)
        };
        let gateway = start("127.0.0.1:0");
        let mut client = Client::begin(&gateway, Front::Streamable, "");
        client.ask("logging/setLevel", json!({ "level": "warning" }));
        let uri = "mcp-gateway://b/demo://note";
        client.ask("resources/subscribe", json!({ "uri": uri }));
        let id = client.session().unwrap();
        let at = gateway.at.clone();
        gateway.process.signal(signal);
        gateway.process.end();
        let _gateway = start(&at);
        client.listen();
        client.told(CHANGED);
        assert_eq!(client.call("b__echo", json!({ "message": "again" })), "again");
        client.call("b__touch", json!({}));
        assert_eq!(client.told("notifications/resources/updated")["params"]["uri"], uri);
        client.call("b__log", json!({ "level": "info", "message": "too little" }));
        client.call("b__log", json!({ "level": "error", "message": "enough" }));
        assert_eq!(client.told("notifications/message")["params"]["data"], "enough");
        assert_eq!(client.session().as_ref(), Some(&id));
    }
}

#[test]
fn servers_that_come_and_go_are_announced() {
    let dir = folder();
    let config = |names: &[&str]| {
        let all = names.iter().map(|it| ((*it).to_owned(), json!({ "type": "demo" })));
        servers(Value::Object(all.collect()))
    };
    let gateway = Gateway::start_in(dir, &config(&["a", "b"]), &["--listen", "127.0.0.1:0"]);
    let mut client = Client::begin(&gateway, Front::Streamable, "");
    let two = tools(&mut client).len();
    let change = |config: &Value| {
        std::fs::write(gateway.dir().join("gateway.json"), config.to_string()).unwrap();
        gateway.process.signal(Signal::HUP);
    };
    change(&config(&["a", "b", "c"]));
    client.told(CHANGED);
    assert_eq!(tools(&mut client).len(), two / 2 * 3);
    assert_eq!(client.call("c__echo", json!({ "message": "new" })), "new");
    change(&config(&["a"]));
    until("only one is left", || {
        client.told(CHANGED);
        (tools(&mut client).len() == two / 2).then_some(())
    });
    assert_eq!(client.call("echo", json!({ "message": "alone" })), "alone");
    let gone = client.ask("tools/call", json!({ "name": "c__echo" }));
    assert_eq!(gone["error"]["message"], "Unknown tool: c__echo");
}

#[test]
fn members_die_and_return_during_load() {
    let dir = folder();
    let gateway = Gateway::start(&twins(dir.path()));
    let mut client = Client::begin(&gateway, Front::Streamable, "");
    // One that lives: who was killed is listed until its end has been seen.
    let pid = |gateway: &Gateway| {
        let living = |it: &Value| {
            let pids = it["pids"].as_array()?.iter();
            let mut pids = pids.filter_map(|pid| u32::try_from(pid.as_u64()?).ok());
            pids.find(|pid| is_alive(*pid))
        };
        let status = gateway.status("b", |it| living(it).is_some());
        i32::try_from(living(&status).unwrap()).unwrap()
    };
    client.call("b__echo", json!({ "message": "0" }));
    for round in 0..5 {
        let victim = rustix::process::Pid::from_raw(pid(&gateway)).unwrap();
        rustix::process::kill_process(victim, Signal::KILL).unwrap();
        let mut right = 0;
        for at in 0..20 {
            let message = format!("{round}-{at}");
            assert_eq!(client.call("a__echo", json!({ "message": message })), message);
            let id = client.send(
                "tools/call",
                json!({ "name": "b__echo", "arguments": { "message": message } }),
            );
            let answer = client.answer(id);
            match answer["result"]["content"][0]["text"].as_str() {
                Some(text) => {
                    assert_eq!(text, message);
                    right += 1;
                }
                None => assert!(answer["error"]["message"].as_str().unwrap().contains("`b`")),
            }
        }
        assert!(right > 0, "it never came back");
    }
    assert!(tools(&mut client).contains(&"b__echo".to_owned()));
}

#[test]
fn fifty_servers() {
    let names: Vec<String> = (0..50).map(|it| format!("s{it:02}")).collect();
    let all = names.iter().map(|it| (it.clone(), json!({ "type": "demo" })));
    let gateway = Gateway::start(&servers(Value::Object(all.collect())));
    let mut client = Client::begin(&gateway, Front::Streamable, "");
    let tools = tools(&mut client);
    assert_eq!(tools.len() % 50, 0);
    for name in &names {
        assert_eq!(client.call(&format!("{name}__echo"), json!({ "message": name })), *name);
    }
    let status = gateway.get("/status").json();
    assert_eq!(status["aggregates"][0]["scopes"], 1, "{status}");
}

#[test]
fn a_server_alone_is_called_by_its_own_names() {
    let gateway = Gateway::start(&servers(json!({ "only": scripts::says_pid() })));
    let mut client = Client::begin(&gateway, Front::Streamable, "");
    let tools = tools(&mut client);
    assert!(tools.iter().all(|it| !it.contains("__")), "{tools:?}");
}

#[test]
fn paths_and_methods_are_those_of_every_server() {
    let gateway = Gateway::start(&servers(json!({ "demo": { "type": "demo" } })));
    for path in ["/mcp", "/mcp/", "/stream"] {
        gateway.begin(path);
    }
    let lost = gateway.post("/g/nobody/mcp", &[], INITIALIZE);
    assert!(lost.status == 404 && lost.error().contains("there is no group `nobody`"), "{lost:?}");
    assert!(lost.body.contains("\"/mcp\""), "{lost:?}");
    let session = gateway.begin("/mcp");
    let fields = [("Mcp-Session-Id", &*session)];
    let elsewhere = gateway.post("/demo/mcp", &fields, &call(1, "echo", &json!({})));
    assert_eq!(elsewhere.status, 404, "an id is good at its own door alone");
    let ended = gateway.ask("DELETE /mcp", &fields, "");
    assert_eq!(ended.status, 204);
}

/// Off where it is not wanted.
#[test]
fn all_as_one_can_be_left_out() {
    let mut config = servers(json!({
        "a": { "type": "demo" }, "b": { "type": "demo", "aggregate": false },
    }));
    let gateway = Gateway::start(&config);
    let mut client = Client::begin(&gateway, Front::Unlistening, "");
    assert!(
        tools(&mut client).contains(&"echo".to_owned()),
        "of one there is nothing to tell apart"
    );
    config["gateway"] = json!({ "aggregate": { "enabled": false } });
    let gateway = Gateway::start(&config);
    assert_eq!(gateway.post("/mcp", &[], INITIALIZE).status, 404);
}

#[test]
fn tools_are_listed_on_the_command_line() {
    let dir = folder();
    let mut config = twins(dir.path());
    config["mcpServers"]["a"]["tools"] = json!({ "block": ["sleep"] });
    config["mcpServers"]["gone"] = json!({ "command": "/no/such/program" });
    config["groups"] = json!({ "two": { "servers": ["a", "b"], "prefix": "always" } });
    let file = write(&dir, &config);
    let ended = run(&["tools", "--config", &file, "--json"]);
    assert_eq!(ended.code, Some(1), "one is missing: {ended:?}");
    let said: Value = serde_json::from_str(&ended.out).unwrap();
    let row = |server: &str, original: &str| {
        let mut rows = said["tools"].as_array().unwrap().iter();
        rows.find(|it| it["server"] == server && it["original"] == original).unwrap().clone()
    };
    assert_eq!(row("a", "echo")["name"], "a__echo");
    assert_eq!(row("a", "sleep")["hidden"], true);
    assert_eq!(row("b", "sleep")["name"], "sleep", "nobody else has one");
    assert_eq!(said["collisions"]["echo"], json!(["a", "b"]));
    assert_eq!(said["missing"][0]["server"], "gone");
    let table = run(&["tools", "--config", &file, "--group", "two", "--server", "b"]);
    assert_eq!(table.code, Some(0), "{table:?}");
    assert!(table.out.contains("b__sleep") && !table.out.contains("a__echo"), "{}", table.out);
    let wrong = run(&["tools", "--config", &file, "--group", "tow"]);
    assert!(wrong.code == Some(2) && wrong.err.contains("there is two"), "{wrong:?}");
}

/// What a client can be asked decides what it is shown, where servers say so.
#[test]
fn what_clients_can_do_is_told_to_every_server() {
    let dir = folder();
    let gateway = Gateway::start(&twins(dir.path()));
    let mut mute = Client::connect(&gateway, Front::Unlistening, "");
    mute.initialize("2025-11-25", &json!({}));
    let id = mute
        .send("tools/call", json!({ "name": "a__ask-sampling", "arguments": { "prompt": "x" } }));
    let answer = mute.answer(id);
    assert!(answer["error"].is_object() || answer["result"]["isError"] == true, "{answer}");
    let mut able = Client::connect(&gateway, Front::Unlistening, "");
    able.initialize("2025-11-25", &capabilities());
    let id = able.begin_call("a__ask-sampling", json!({ "prompt": "x" }));
    let question = able.told("sampling/createMessage");
    let content = json!({ "type": "text", "text": "y" });
    able.reply(&question, json!({ "role": "assistant", "model": "m", "content": content }));
    assert!(able.text(id).contains('y'));
}
