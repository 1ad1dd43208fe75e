//! As many children as there may be, between clients of either era.

use serde_json::{Value, json};

use super::modern::Modern;
use crate::{
    client::{Client, Front, capabilities},
    rig::{Gateway, demo_child, folder, servers},
    scripts::script,
};

/// A gateway with one child at most, warm ones included.
fn narrow(protocol: &str, settings: &Value) -> Gateway {
    let dir = folder();
    let mut entry = demo_child(dir.path());
    entry["protocol"] = json!(protocol);
    entry["childMax"] = json!(1);
    entry["childWait"] = json!("200ms");
    entry.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
    Gateway::start_in(dir, &servers(json!({ "it": entry })), &["--listen", "127.0.0.1:0"])
}

fn add(client: &Modern) -> String {
    client.text("add", json!({ "a": 1, "b": 1 }))
}

/// Clients of 2026-07-28 that can do different things have sessions of their own with a server
/// that has a handshake: one that nobody uses makes room.
#[test]
fn a_session_that_nobody_uses_makes_room_for_another() {
    for settings in [json!({}), json!({ "warm": 1 })] {
        let gateway = narrow("2025-11-25", &settings);
        let (able, mute) = (Modern::new(&gateway, "it"), Modern::mute(&gateway, "it"));
        for _ in 0..2 {
            assert_eq!(add(&able), "2");
            assert_eq!(add(&mute), "2");
        }
        let status =
            gateway.status("it", |it| it["pids"].as_array().is_some_and(|it| it.len() == 1));
        assert_eq!((&status["kept"], &status["links"]), (&json!(1), &json!(1)), "{status}");
    }
}

/// Who comes while a server starts begins with the child that was asked for its era: to start
/// another would take as long once more.
#[test]
fn who_comes_at_the_start_waits_for_one_child() {
    let slow = r#"printf '{"jsonrpc":"2.0","id":%s,"result":{}}\n' "$id""#;
    let mut entry = script("sleep 2", slow);
    entry["isolation"] = json!("session");
    let gateway = Gateway::start(&servers(json!({ "it": entry })));
    let mut client = Client::connect(&gateway, Front::Unlistening, "it");
    client.initialize("2025-11-25", &capabilities());
    let log = gateway.process.log();
    let started = log.iter().filter(|line| line.contains(r#""message":"started""#)).count();
    assert_eq!(started, 1, "{log:#?}");
}

/// A child without a handshake is one for everybody, however many sessions are made over it.
#[test]
fn a_child_of_2026_07_28_is_one_for_all() {
    for startup in ["eager", "lazy"] {
        let gateway = narrow("2026-07-28", &json!({ "startup": startup }));
        let mut clients = Vec::new();
        for front in [Front::Sse, Front::Streamable, Front::Unlistening] {
            let mut client = Client::connect(&gateway, front, "it");
            client.initialize("2025-11-25", &capabilities());
            assert_eq!(client.call("add", json!({ "a": 1, "b": 1 })), "2", "{startup} {front:?}");
            clients.push(client);
        }
        assert_eq!(add(&Modern::new(&gateway, "it")), "2");
        let status = gateway.status("it", |_| true);
        assert_eq!(status["pids"].as_array().unwrap().len(), 1, "{status}");
        assert_eq!(status["turnedAway"], 0, "{status}");
    }
}

/// A child of both is either: what nobody uses of the one makes room for the other.
#[test]
fn a_child_of_both_eras_is_one_after_the_other() {
    for startup in ["eager", "lazy"] {
        let gateway = narrow("auto", &json!({ "startup": startup }));
        let modern = Modern::mute(&gateway, "it");
        assert_eq!(add(&modern), "2");
        let id = gateway.begin("/it/mcp");
        let status =
            gateway.status("it", |it| it["pids"].as_array().is_some_and(|it| it.len() == 1));
        assert_eq!(status["protocolVersion"], "2025-06-18", "{status}");
        assert_eq!(gateway.ask("DELETE /it/mcp", &[("Mcp-Session-Id", &id)], "").status, 204);
        assert_eq!(add(&modern), "2");
        assert_eq!(gateway.status("it", |_| true)["turnedAway"], 0);
    }
}

/// All that was started is gone when the gateway is, whoever it was for.
#[test]
fn nothing_is_left_behind() {
    for protocol in ["auto", "2025-11-25", "2026-07-28"] {
        let gateway = narrow(protocol, &json!({ "childMax": 4, "warm": 1 }));
        let able = Modern::new(&gateway, "it");
        assert_eq!(add(&able), "2");
        let (stream, _) = able.listen(json!({ "toolsListChanged": true }));
        let asked = able.call("ask-roots", json!({}));
        assert_eq!(asked.answer["result"]["resultType"], "input_required", "{asked:?}");
        let mut legacy = Client::begin(&gateway, Front::Sse, "it");
        assert_eq!(legacy.call("add", json!({ "a": 1, "b": 1 })), "2");
        let pids = gateway.status("it", |it| it["pids"].is_array())["pids"].clone();
        let ended = gateway.end();
        assert_eq!(ended.code, Some(0), "{protocol}: {}", ended.err);
        let end = stream.end();
        assert_eq!(end["result"]["resultType"], "complete", "{protocol}: {end}");
        for pid in pids.as_array().unwrap() {
            let pid = pid.as_u64().unwrap().try_into().unwrap();
            assert!(!crate::process::is_alive(pid), "{protocol}: {pid} lives");
        }
    }
}
