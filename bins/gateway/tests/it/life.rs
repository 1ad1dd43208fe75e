//! Servers and the gateway: how they start, fail, die and end.

use std::{
    fs,
    io::{ErrorKind, Write},
    net::Shutdown,
    process::Command,
};

use rustix::process::Signal;
use serde_json::json;

use crate::{
    client::{Client, Front},
    http,
    process::{all_gone, is_alive},
    rig::{Gateway, INITIALIZE, call, demo, demo_child, folder, servers},
    scripts,
};

const LISTEN: [&str; 2] = ["--listen", "127.0.0.1:0"];

/// The door is open before the servers are ready, and who comes early waits inside.
#[test]
fn a_request_waits_for_a_server_that_is_starting() {
    let dir = folder();
    let gate = dir.path().join("gate");
    assert!(Command::new("mkfifo").arg(&gate).status().unwrap().success());
    let script = format!("read -r _ < '{}'", gate.display());
    let entry =
        scripts::script(&script, r#"printf '{"jsonrpc":"2.0","id":%s,"result":{}}\n' "$id""#);
    let gateway = Gateway::start_in(dir, &servers(json!({ "slow": entry })), &LISTEN);
    assert_eq!(gateway.get("/healthz").status, 200);
    gateway.status("slow", |it| it["state"] == "starting");

    let fields = [("Content-Type", "application/json")];
    let early = [("POST /slow/mcp", &fields[..], INITIALIZE), ("GET /slow/sse", &[], "")];
    let early = early.map(|(line, fields, body)| {
        let mut wire = http::tcp(&gateway.at);
        wire.write_all(http::request(line, &gateway.at, fields, body).as_bytes()).unwrap();
        wire
    });
    gateway.status("slow", |it| it["state"] == "starting");
    for wire in &early {
        wire.set_nonblocking(true).unwrap();
        let answered = wire.peek(&mut [0; 1]).map_err(|error| error.kind());
        assert_eq!(answered, Err(ErrorKind::WouldBlock));
        wire.set_nonblocking(false).unwrap();
    }
    fs::write(&gate, "go\n").unwrap();
    let [post, get] = early.map(|wire| http::read_head(Box::new(wire), false).unwrap());
    assert_eq!(post.read().json()["result"]["serverInfo"]["name"], "script");
    assert_eq!(get.status, 200);
    // And nobody was so impatient as to start another.
    gateway.status("slow", |it| it["links"] == 1);
}

/// Never 404, never silence: why it failed, in its own last words.
#[test]
fn a_server_that_fails_says_why() {
    let mut entry = scripts::script("echo 'cannot find the moon' >&2; exit 7", ":");
    entry["restart"] = json!({ "crashLoopCount": 1 });
    let gateway = Gateway::start(&servers(json!({
        "bad": entry,
        "gone": { "command": "no-such-program-here" },
        "far": { "url": "http://127.0.0.1:9/mcp" },
    })));
    gateway.status("bad", |it| it["state"] == "parked");
    let streamable = gateway.post("/bad/mcp", &[], INITIALIZE);
    let sse = gateway.ask("GET /bad/sse", &[], "");
    for answer in [streamable, sse] {
        assert_eq!(answer.status, 503, "{answer:?}");
        let error = answer.error();
        assert!(error.contains("`bad`") && error.contains("cannot find the moon"), "{error}");
        assert!(answer.field("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
        gateway.request_line(0, &[("status", json!(503)), ("server", json!("bad"))]);
    }
    for (server, words) in [("gone", "no-such-program-here"), ("far", "127.0.0.1:9")] {
        gateway.status(server, |it| it["state"] != "starting" && it["state"] != "idle");
        let answer = gateway.post(&format!("/{server}/mcp"), &[], INITIALIZE);
        assert_eq!(answer.status, 503, "{answer:?}");
        assert!(answer.error().contains(words), "{answer:?}");
    }
    let status = gateway.status("bad", |_| true);
    assert!(status["lastError"].as_str().unwrap().contains("cannot find the moon"), "{status}");
}

/// Whoever was waiting hears what happened; the session goes on with a new process.
#[test]
fn a_child_that_dies_in_the_middle_of_a_call() {
    let does = r#"case $line in
        *die*) echo 'ouch, my memory' >&2; kill -KILL $$ ;;
        *) printf '{"jsonrpc":"2.0","id":%s,"result":{"content":[{"type":"text","text":"%s"}]}}\n' "$id" "$$" ;;
    esac"#;
    let gateway = Gateway::start(&servers(json!({ "it": scripts::greets_and(does) })));
    for front in [Front::Sse, Front::Streamable, Front::Unlistening] {
        let mut client = Client::begin(&gateway, front, "it");
        let session = client.session().unwrap();
        let before: u32 = client.call("pid", json!({})).parse().unwrap();
        let answer = client.ask("tools/call", json!({ "name": "die" }));
        let words = answer["error"]["message"].as_str().unwrap();
        assert!(words.contains("`it`") && words.contains("ouch, my memory"), "{front:?}: {answer}");
        let after: u32 = client.call("pid", json!({})).parse().unwrap();
        assert!(before != after && !is_alive(before) && is_alive(after), "{before} {after}");
        assert_eq!(client.session().unwrap(), session);
    }
    let status = gateway.status("it", |it| it["restarts"].as_u64().is_some_and(|it| 3 <= it));
    assert_eq!(status["state"], "ready");
}

/// What runs is answered, what is new is not begun, and nothing is left.
#[test]
fn the_gateway_ends_when_it_is_told_to() {
    let dir = folder();
    let config = servers(json!({ "it": demo_child(dir.path()) }));
    let gateway = Gateway::start_in(dir, &config, &LISTEN);
    let mut clients = [Front::Sse, Front::Streamable].map(|it| Client::begin(&gateway, it, "it"));
    let ids = clients.each_mut().map(|it| it.begin_call("sleep", json!({ "ms": 1500 })));
    let status = gateway.status("it", |it| it["inFlight"] == 2);
    let pids: Vec<u32> = serde_json::from_value(status["pids"].clone()).unwrap();
    assert!(!pids.is_empty() && pids.iter().all(|&pid| is_alive(pid)), "{status}");

    gateway.process.signal(Signal::TERM);
    gateway.process.logged("the end", |line| line.contains("no new work is taken").then_some(()));
    for answer in [gateway.post("/it/mcp", &[], INITIALIZE), gateway.ask("GET /it/sse", &[], "")] {
        assert_eq!(answer.status, 503, "{answer:?}");
        assert!(answer.error().contains("shutting down"), "{answer:?}");
    }
    assert_eq!(gateway.get("/readyz").status, 503);
    assert_eq!(gateway.get("/healthz").status, 200);
    for (client, id) in clients.iter_mut().zip(ids) {
        assert_eq!(client.text(id), "slept 1500 ms");
    }
    let ended = gateway.process.end();
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert!(ended.err.contains(r#""message":"ended""#), "{}", ended.err);
    all_gone(&pids);
}

/// Who is told twice does not wait for what runs.
#[test]
fn told_twice_it_ends_at_once() {
    let gateway = Gateway::start(&demo());
    let mut client = Client::begin(&gateway, Front::Sse, "demo");
    client.begin_call("sleep", json!({ "ms": 3_000_000 }));
    gateway.status("demo", |it| it["inFlight"] == 1);
    gateway.process.signal(Signal::TERM);
    gateway.process.logged("the end", |line| line.contains("no new work is taken").then_some(()));
    gateway.process.signal(Signal::INT);
    let ended = gateway.process.end();
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert!(ended.err.contains("ending at once"), "{}", ended.err);
}

/// A gateway that is killed takes everything with it: children that do not care that their
/// stdin is closed, and their children, also those in sessions of their own.
#[test]
fn nothing_survives_a_gateway_that_is_killed() {
    let first = r#"trap '' TERM HUP
        setsid sleep 1000 </dev/null >/dev/null 2>&1 &
        echo "pids $! $$" >&2"#;
    let mut entry =
        scripts::script(first, r#"printf '{"jsonrpc":"2.0","id":%s,"result":{}}\n' "$id""#);
    let args = entry["args"][1].as_str().unwrap().to_owned();
    entry["args"][1] = json!(args + "\nwhile :; do sleep 1; done");
    let gateway = Gateway::start(&servers(json!({ "it": entry })));
    let status = gateway.status("it", |it| it["state"] == "ready");
    let mut pids: Vec<u32> = serde_json::from_value(status["pids"].clone()).unwrap();
    // What a child says on stderr is logged.
    let said = gateway.process.logged("the grandchild", |line| {
        let (_, pids) = line.split_once("pids ")?;
        pids.split('"').next().map(str::to_owned)
    });
    let said = said.split(' ').map(|it| it.parse::<u32>().unwrap());
    pids.extend(said);
    assert!(pids.len() == 3 && pids.iter().all(|&pid| is_alive(pid)), "{pids:?}");
    gateway.process.signal(Signal::KILL);
    gateway.process.end();
    all_gone(&pids);
}

/// Some clients say all they have to say, close their side, and read on.
#[test]
fn a_client_that_half_closes_gets_its_answer() {
    let gateway = Gateway::start(&demo());
    let id = gateway.begin("/demo/mcp");
    let fields = [("Content-Type", "application/json"), ("Mcp-Session-Id", &*id)];
    let body = call(1, "sleep", &json!({ "ms": 300 }));
    let wire = http::tcp(&gateway.at);
    let text = http::request("POST /demo/mcp", &gateway.at, &fields, &body);
    (&wire).write_all(text.as_bytes()).unwrap();
    wire.shutdown(Shutdown::Write).unwrap();
    let answer = http::read_head(Box::new(wire), false).unwrap().read();
    assert!(answer.body.contains("slept 300 ms"), "{answer:?}");
}

/// A server that the gateway is not to run without.
#[test]
fn a_required_server_that_fails_ends_the_gateway() {
    let mut entry = scripts::script("echo 'no licence' >&2; exit 3", ":");
    entry["startup"] = json!("required");
    let gateway = Gateway::start(&servers(json!({ "must": entry, "demo": { "type": "demo" } })));
    let ended = gateway.process.end();
    assert_eq!(ended.code, Some(1), "{}", ended.err);
    assert!(ended.err.contains("server `must` is required"), "{}", ended.err);
    assert!(ended.err.contains("no licence"), "{}", ended.err);
}

/// A lazy server is started by the first who asks for it.
#[test]
fn a_lazy_server_starts_when_it_is_asked() {
    let mut entry = scripts::says_pid();
    entry["startup"] = json!("lazy");
    let gateway = Gateway::start(&servers(json!({ "it": entry })));
    let status = gateway.status("it", |_| true);
    assert_eq!((&status["state"], &status["links"]), (&json!("idle"), &json!(0)));
    assert_eq!(gateway.get("/readyz").status, 200);
    Client::begin(&gateway, Front::Unlistening, "it");
    gateway.status("it", |it| it["state"] == "ready" && it["links"] == 1);
}
