//! Servers that die, change and come back, and gateways that do, between clients and servers of
//! either era.

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::{
    House, Wire,
    modern::{Modern, Stream, VERSION},
};
use crate::{
    client::{Client, Front},
    process::all_gone,
    restart::{again, start},
    rig::{Gateway, call, demo, demo_child, folder, servers},
};

/// Kills the children of `it`, and waits until they are gone.
#[track_caller]
fn kill(gateway: &Gateway) {
    let status = gateway.status("it", |it| it["pids"].is_array());
    let pids = status["pids"].as_array().unwrap();
    let pids: Vec<u32> = pids.iter().map(|pid| pid.as_u64().unwrap().try_into().unwrap()).collect();
    for pid in &pids {
        kill_process(Pid::from_raw(i32::try_from(*pid).unwrap()).unwrap(), Signal::KILL).unwrap();
    }
    all_gone(&pids);
}

/// Gives the gateway another configuration, and waits until that holds.
#[track_caller]
fn reload(gateway: &Gateway, config: &Value) {
    let from = gateway.process.log().len();
    std::fs::write(gateway.dir().join("gateway.json"), config.to_string()).unwrap();
    gateway.process.signal(Signal::HUP);
    let holds = |line: &str| line.contains("the configuration is").then_some(());
    gateway.process.logged_from(from, "another configuration", holds);
}

/// A call that runs for long, as far as its first progress.
#[track_caller]
fn running(client: &Modern) -> Stream {
    let params = json!({ "name": "progress", "arguments": { "steps": 100, "ms": 300 } });
    let mut stream = Stream(client.open(&json!("id"), "tools/call", params));
    assert_eq!(stream.told("notifications/progress")["params"]["progress"], 1);
    stream
}

#[test]
fn a_child_is_killed_before_clients_of_2026_07_28() {
    for protocol in [VERSION, "2025-11-25"] {
        let house = House::new(Wire::Child, protocol);
        let mut client = Modern::new(&house.gateway, "it");
        client.meta = json!({ "progressToken": 1 });
        let (mut news, _) = client.listen(json!({ "toolsListChanged": true }));
        let stream = running(&client);
        kill(&house.gateway);
        let failed = stream.end();
        assert_eq!(failed["error"]["code"], -32603, "{protocol}: {failed}");
        let words = failed["error"]["message"].as_str().unwrap();
        assert!(words.contains("SIGKILL") && words.contains("`it`"), "{protocol}: {words}");
        // The next finds another one.
        assert_eq!(client.text("add", json!({ "a": 1, "b": 1 })), "2", "{protocol}");
        if protocol == VERSION {
            // Whoever listened has been told to begin again: the stream was the server's own.
            let end = news.end();
            assert!(end["error"].is_object(), "{end}");
            continue;
        }
        // Whoever listens is told what may have been missed, and goes on.
        news.told("notifications/tools/list_changed");
        client.text("toggle", json!({}));
        news.told("notifications/tools/list_changed");
    }
}

#[test]
fn a_child_is_killed_that_waits_for_its_client() {
    let house = House::new(Wire::Child, "2025-11-25");
    let client = Modern::new(&house.gateway, "it");
    let ask = json!({ "name": "ask-roots", "arguments": {} });
    let asked = client.ask("tools/call", ask.clone()).answer["result"].clone();
    let key = asked["inputRequests"].as_object().unwrap().keys().next().unwrap().clone();
    kill(&house.gateway);
    let mut retry = ask;
    retry["inputResponses"] = json!({ key: { "roots": [] } });
    retry["requestState"] = asked["requestState"].clone();
    let failed = client.error("tools/call", retry.clone());
    assert!(failed["message"].as_str().unwrap().contains("SIGKILL"), "{failed}");
    // Nothing goes on that was lost, and nothing is carried out again.
    assert_eq!(client.error("tools/call", retry)["code"], -32602);
    let (said, _) = client.converse("ask-roots", &json!({}), |_| json!({ "roots": [] }));
    assert_eq!(said.text(), "0 roots: ");
}

/// Its sessions were never its own: they go on with the next.
#[test]
fn a_child_is_killed_before_clients_with_a_handshake() {
    let house = House::new(Wire::Child, VERSION);
    for front in [Front::Sse, Front::Streamable, Front::Unlistening] {
        let mut client = Client::begin(&house.gateway, front, "it");
        client.ask("resources/subscribe", json!({ "uri": "demo://note" }));
        let id = client.begin_call("progress", json!({ "steps": 100, "ms": 300 }));
        client.told("notifications/progress");
        kill(&house.gateway);
        let failed = client.answer(id);
        let words = failed["error"]["message"].as_str().unwrap_or_default();
        assert!(words.contains("SIGKILL"), "{front:?}: {failed}");
        client.aside.clear();
        assert_eq!(client.call("add", json!({ "a": 1, "b": 1 })), "2", "{front:?}");
        client.call("touch", json!({}));
        if front == Front::Unlistening {
            // Kept for the next that answers.
            client.call("add", json!({ "a": 1, "b": 1 }));
        }
        client.told("notifications/resources/updated");
    }
}

/// One that spoke one era, and speaks the other when it was configured anew: nobody has to begin
/// again.
#[test]
fn a_server_changes_its_era() {
    let dir = folder();
    let mut entry = demo_child(dir.path());
    entry["protocol"] = json!("2025-11-25");
    let config = |entry: &Value| servers(json!({ "it": entry }));
    let gateway = Gateway::start_in(dir, &config(&entry), &["--listen", "127.0.0.1:0"]);
    let modern = Modern::new(&gateway, "it");
    let mut legacy = Client::begin(&gateway, Front::Streamable, "it");
    for protocol in [VERSION, "auto", "2025-11-25", VERSION] {
        entry["protocol"] = json!(protocol);
        reload(&gateway, &config(&entry));
        assert_eq!(modern.text("add", json!({ "a": 1, "b": 1 })), "2", "{protocol}");
        let (said, _) = modern.converse("ask-roots", &json!({}), |_| json!({ "roots": [] }));
        assert_eq!(said.text(), "0 roots: ", "{protocol}");
        assert_eq!(legacy.call("add", json!({ "a": 1, "b": 1 })), "2", "{protocol}");
        let id = legacy.begin_call("ask-roots", json!({}));
        let asked = legacy.told("roots/list");
        legacy.reply(&asked, json!({ "roots": [] }));
        assert_eq!(legacy.text(id), "0 roots: ", "{protocol}");
    }
}

/// Sessions outlive the gateway also where they were made by it; a call that waits does not, and is
/// not carried out again.
#[test]
fn the_gateway_is_killed() {
    let (state, server) = (folder(), Gateway::start(&demo()));
    let entry = |protocol: &str| json!({ "type": "streamable-http", "url": server.url("/demo/mcp"), "protocol": protocol });
    let config = servers(json!({ "it": entry(VERSION), "old": entry("2025-11-25") }));
    let gateway = start(&config, "127.0.0.1:0", state.path());
    let legacy = gateway.begin("/it/mcp");
    let modern = Modern::new(&gateway, "old");
    let ask = json!({ "name": "ask-roots", "arguments": {} });
    let asked = modern.ask("tools/call", ask.clone()).answer["result"].clone();
    let gateway = again(gateway, Signal::KILL, &config, state.path());
    let fields = [("Mcp-Session-Id", &*legacy), ("MCP-Protocol-Version", "2025-06-18")];
    let add = call(1, "add", &json!({ "a": 1, "b": 1 }));
    let answer = gateway.post("/it/mcp", &fields, &add);
    // After what it may have missed.
    assert!(answer.body.contains(r#""sum":2"#), "{answer:?}");
    let modern = Modern::new(&gateway, "old");
    let mut retry = ask;
    retry["inputResponses"] = json!({ "q1": { "roots": [] } });
    retry["requestState"] = asked["requestState"].clone();
    let lost = modern.error("tools/call", retry);
    assert!(lost["message"].as_str().unwrap().contains("started again"), "{lost}");
}

/// Whose token is taken away hears the end of what he listens to, and takes nothing up again.
#[test]
fn a_token_is_taken_away() {
    for protocol in [VERSION, "2025-11-25"] {
        let tokens = |names: &[&str]| {
            let of = |name: &&str| {
                ((*name).to_owned(), json!({ "secret": format!("{name}-0123456789") }))
            };
            let tokens: serde_json::Map<_, _> = names.iter().map(of).collect();
            json!({
                "gateway": { "tokens": tokens },
                "mcpServers": { "it": { "type": "demo", "protocol": protocol } },
            })
        };
        let gateway = Gateway::start(&tokens(&["ann", "bob"]));
        let ann = Modern::new(&gateway, "it").with_token("ann-0123456789");
        let bob = Modern::new(&gateway, "it").with_token("bob-0123456789");
        let wanted = json!({ "toolsListChanged": true });
        let ((of_ann, _), (mut of_bob, _)) = (ann.listen(wanted.clone()), bob.listen(wanted));
        reload(&gateway, &tokens(&["bob"]));
        let end = of_ann.end();
        assert_eq!(end["result"]["resultType"], "complete", "{protocol}: {end}");
        bob.text("toggle", json!({}));
        of_bob.told("notifications/tools/list_changed");
        let refused = ann.open(&json!(1), "tools/list", json!({}));
        assert_eq!(refused.status, 401);
    }
}
