//! Story 2, stdio servers for an SSE-only world: two of nine are broken, and harm nobody.

use std::{process::Command, sync::Mutex, thread};

use serde_json::{Value, json};

use crate::{
    client::{CLIENTS, Client, over},
    http,
    parts::{Parts, SCRIPTED},
    rig::{Gateway, Scratch, in_state},
};

/// What a child says before it dies.
const LAST_WORDS: &str = "fatal: licence file not found";

/// Nine named servers in the file of that user's proxy, which knew nothing of addresses or tokens.
fn config(parts: &Parts, scratch: &Scratch) -> Value {
    let (everything, memory) = (parts.reference("everything"), parts.reference("memory"));
    let die = format!("console.error('{LAST_WORDS}'); process.exit(3)");
    let server = |name: &str| parts.python("servers", name);
    json!({ "mcpServers": {
        "files": { "command": "node", "args": [parts.reference("filesystem"), scratch.text()],
                   "enabled": true, "timeout": 60, "transportType": "stdio" },
        "everything": { "command": "node", "args": [everything, "stdio"] },
        "memory": { "command": "node", "args": [memory],
                    "env": { "MEMORY_FILE_PATH": format!("{}/memory.jsonl", scratch.text()) } },
        "time": { "command": server("mcp-server-time"), "args": ["--local-timezone", "UTC"] },
        "git": { "command": server("mcp-server-git"), "args": ["--repository", scratch.text()] },
        "fetch": { "command": server("mcp-server-fetch"),
                   "args": ["--allow-private-ips", "--ignore-robots-txt"] },
        // A whole command line where only a program belongs.
        "whole-line": { "command": format!("node '{everything}' stdio") },
        "absent": { "command": "monitoring-server-that-is-not-installed", "args": ["--stdio"] },
        "crashing": { "command": "node", "args": ["-e", die] },
    } })
}

/// A tool of each server that works, and what its answer contains.
fn jobs(scratch: &Scratch, page: &str) -> [(&'static str, &'static str, Value, &'static str); 7] {
    let ann =
        json!({ "entities": [{ "name": "Ann", "entityType": "person", "observations": [] }] });
    let noon =
        json!({ "source_timezone": "UTC", "time": "12:00", "target_timezone": "Asia/Tokyo" });
    [
        ("files", "list_directory", json!({ "path": scratch.text() }), "note.txt"),
        ("everything", "echo", json!({ "message": "grüß dich" }), "Echo: grüß dich"),
        ("memory", "create_entities", ann, "Ann"),
        ("time", "convert_time", noon, "21:00:00+09:00"),
        ("git", "git_status", json!({ "repo_path": scratch.text() }), "note.txt"),
        ("fetch", "fetch", json!({ "url": page, "raw": true }), "the page itself"),
        ("whole-line", "get-sum", json!({ "a": 20, "b": 22 }), "42"),
    ]
}

#[test]
fn two_broken_servers_harm_nobody() {
    let Some(parts) = Parts::need(SCRIPTED) else { return };
    let scratch = Scratch::new();
    scratch.write("note.txt", "here\n");
    let git = Command::new("git").args(["init", "--quiet", scratch.text()]).status().unwrap();
    assert!(git.success());
    let gateway = Gateway::start(&parts, &config(&parts, &scratch), &[]);
    let jobs = jobs(&scratch, &http::page("the page itself"));
    // Two at a time, as many as the smallest machine has cores.
    let left = Mutex::new(jobs.iter().zip(CLIENTS.iter().cycle()));
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let next = left.lock().unwrap().next();
                    let Some(((server, tool, args, words), (sdk, wire))) = next else { return };
                    let url = gateway.url(&format!("servers/{server}"), *wire);
                    let mut client = Client::connect(&parts, *sdk, &over(*wire, &url, None));
                    let answer = client.call(tool, args);
                    assert!(answer.contains(words), "{server}: {tool} answers {answer}");
                    client.close();
                }
            });
        }
    });
    broken_ones_say_why(&gateway);
    for (server, ..) in &jobs {
        gateway.status(server, &[], |it| in_state(it, "ready"));
    }
    // The operator is told that a line was split.
    gateway.logged(&["whole-line", "command"]);
}

fn broken_ones_say_why(gateway: &Gateway) {
    let broken = [("absent", "monitoring-server-that-is-not-installed"), ("crashing", LAST_WORDS)];
    for (server, cause) in broken {
        let answer = gateway.get(&format!("/servers/{server}/sse"), &[]);
        assert_eq!(answer.status, 503, "{answer:?}");
        assert!(answer.json().is_object());
        assert!(answer.body.contains(cause), "{server} does not say why: {answer:?}");
        let entry = gateway.status(server, &[], |it| !in_state(it, "starting"));
        assert!(entry.to_string().contains(cause), "{entry}");
    }
    // A child's own words are in the log, under its name.
    gateway.logged(&["crashing", LAST_WORDS]);
}
