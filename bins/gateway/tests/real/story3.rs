//! Story 3, the pitfalls of bridges: what is wrong is said, what can be tolerated is, and a child
//! that dies is replaced.

use std::fs;

use serde_json::{Value, json};

use crate::{
    client::{CLIENTS, Client, Sdk, over},
    http,
    parts::{Part, Parts, SCRIPTED},
    process::{START_TIMEOUT, send},
    rig::{Gateway, Scratch},
};

fn initialize() -> Value {
    json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-06-18", "capabilities": {},
        "clientInfo": { "name": "by-hand", "version": "1" } } })
}

fn everything(parts: &Parts) -> Gateway {
    let entry = json!({ "command": "node", "args": [parts.reference("everything")] });
    Gateway::start(parts, &json!({ "mcpServers": { "everything": entry } }), &[])
}

#[test]
fn a_missing_accept_is_tolerated() {
    let Some(parts) = Parts::need(&[Part::Node]) else { return };
    let gateway = everything(&parts);
    for accept in [None, Some("*/*"), Some("application/json"), Some("text/event-stream")] {
        let fields: Vec<_> = accept.map(|it| ("Accept", it)).into_iter().collect();
        let answer = gateway.post("/everything/mcp", &fields, &initialize());
        assert_eq!(answer.status, 200, "{accept:?}: {answer:?}");
        assert!(answer.body.contains("\"protocolVersion\":\"2025-06-18\""), "{answer:?}");
        assert!(answer.field("mcp-session-id").is_some(), "{answer:?}");
        if accept != Some("text/event-stream") {
            assert_eq!(answer.json()["id"], 1, "plain JSON, where nothing precedes the answer");
        }
    }
}

#[test]
fn a_call_before_initialize_is_explained() {
    let Some(parts) = Parts::need(&[Part::Node]) else { return };
    let gateway = everything(&parts);
    let list = json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/list" });
    let answer = gateway.post("/everything/mcp", &[], &list);
    assert_eq!(answer.status, 400, "{answer:?}");
    assert!(answer.json().is_object());
    assert!(answer.body.contains("initialize"), "it does not say what to send: {answer:?}");
    gateway.logged(&["/everything/mcp", "400"]);

    let mut stream = http::open(gateway.addr, "GET /everything/sse", &[], "");
    let said = stream.until("data:");
    let path = said.lines().find_map(|it| it.strip_prefix("data:")).unwrap().trim();
    let accepted = gateway.post(path, &[], &list);
    // Refused at once or on the stream: but answered, with its id, and with the reason.
    let answer = if accepted.status == 202 { stream.until("\"id\":7") } else { accepted.body };
    assert!(answer.contains("error") && answer.contains("initialize"), "{answer}");
}

#[test]
fn an_unknown_session_is_not_found() {
    let Some(parts) = Parts::need(&[Part::Node]) else { return };
    let gateway = everything(&parts);
    let unknown = "0123456789abcdef0123456789abcdef";
    let list = json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/list" });
    let mcp = gateway.post("/everything/mcp", &[("Mcp-Session-Id", unknown)], &list);
    let mut answers = vec![mcp];
    for name in ["sessionId", "session_id"] {
        for route in ["message", "messages"] {
            let path = format!("/everything/{route}?{name}={unknown}");
            answers.push(gateway.post(&path, &[], &list));
        }
    }
    for answer in answers {
        assert_eq!(answer.status, 404, "{answer:?}");
        assert!(answer.json().is_object());
        assert!(answer.body.contains("session"), "{answer:?}");
    }
    assert!(!gateway.process.said().contains(unknown), "the log shows a whole session id");
}

/// The child is killed under a client's hands; the client notices nothing but the time it takes.
#[test]
fn a_killed_child_is_replaced() {
    let Some(parts) = Parts::need(SCRIPTED) else { return };
    for (sdk, wire) in CLIENTS {
        let scratch = Scratch::new();
        let file = scratch.write("note.txt", "still here");
        let entry =
            json!({ "command": "node", "args": [parts.reference("filesystem"), scratch.text()] });
        let gateway = Gateway::start(&parts, &json!({ "mcpServers": { "files": entry } }), &[]);
        let url = gateway.url("files", wire);
        let mut client = Client::connect(&parts, sdk, &over(wire, &url, None));
        let args = json!({ "path": file });
        assert_eq!(client.call("read_text_file", &args), "still here");
        let before = children(scratch.text());
        assert!(!before.is_empty(), "the server runs nowhere");
        // Once the server alone, as a crash would; once with whatever watches over it.
        let all = sdk == Sdk::Python;
        for pid in before.iter().filter(|pid| all || Some(*pid) == before.iter().max()) {
            send("KILL", *pid);
        }
        // A call sent before the gateway knows is answered with the child's end, never repeated.
        gateway.logged(&["gone: ", "files"]);
        assert_eq!(client.call("read_text_file", &args), "still here", "{sdk:?} over {wire:?}");
        assert!(client.tools().contains(&"read_text_file".to_owned()));
        client.close();
    }
}

/// Whatever the gateway started is gone when it is.
#[test]
fn nothing_survives_the_gateway() {
    let Some(parts) = Parts::need(SCRIPTED) else { return };
    for signal in ["TERM", "KILL"] {
        let scratch = Scratch::new();
        let package = "@modelcontextprotocol/server-filesystem";
        let entry = json!({ "command": "npx", "args": ["-y", package, scratch.text()] });
        let mut gateway = Gateway::start(&parts, &json!({ "mcpServers": { "files": entry } }), &[]);
        let (sdk, wire) = CLIENTS[1];
        let mut client =
            Client::connect(&parts, sdk, &over(wire, &gateway.url("files", wire), None));
        assert!(!client.tools().is_empty());
        let below = children(scratch.text());
        assert!(1 < below.len(), "npx and its grandchild: {below:?}");
        let code = gateway.end_with(signal);
        if signal == "TERM" {
            assert_eq!(code, Some(0), "{}", gateway.process.said());
        }
        reaped(&gateway, &below);
    }
}

/// The processes below the gateway whose command line names this folder, which only this test has.
fn children(folder: &str) -> Vec<u32> {
    let own = std::process::id();
    let pids = fs::read_dir("/proc").unwrap().flatten();
    let pids = pids.filter_map(|it| it.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| *pid != own && names(*pid, folder)).collect()
}

fn names(pid: u32, folder: &str) -> bool {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    line.split(|it| *it == 0).any(|it| it == folder.as_bytes() || contains(it, folder))
}

/// `sh -c` has the folder in the middle of an argument.
fn contains(argument: &[u8], folder: &str) -> bool {
    std::str::from_utf8(argument).is_ok_and(|it| it.contains(folder))
}

/// Waits until these processes are gone; a zombie is not.
fn reaped(gateway: &Gateway, pids: &[u32]) {
    let step = std::time::Duration::from_millis(20);
    let mut left = START_TIMEOUT;
    for pid in pids {
        // A reparented zombie belongs to nobody of ours.
        while fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|it| alive(&it)) {
            assert!(!left.is_zero(), "process {pid} is still there");
            gateway.process.breathe(step);
            left = left.saturating_sub(step);
        }
    }
}

fn alive(stat: &str) -> bool {
    let state = stat.rsplit_once(')').map(|it| it.1.trim_start());
    state.is_some_and(|it| !it.starts_with(['Z', 'X']))
}
