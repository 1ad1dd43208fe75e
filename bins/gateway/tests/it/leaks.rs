//! A thousand sessions that come and go leave nothing in the program: no descriptor, no thread, no
//! child, and no memory that grows with them.

#![cfg(target_os = "linux")]

use std::{fs, path::Path};

use serde_json::{Value, json};

use crate::{
    http,
    process::until,
    rig::{Gateway, INITIALIZE, call, demo_child, folder},
};

const PING: &str = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
/// How much memory a second thousand may add, in KiB: what an allocator keeps, and no more.
const GROWTH_MAX: usize = 8 << 10;

/// The processes whose parent this is, and theirs.
fn children(pid: u32) -> usize {
    let all = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let pids = all.split_whitespace().filter_map(|it| it.parse().ok());
    pids.map(|pid| 1 + children(pid)).sum()
}

fn threads(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/task")).unwrap().count()
}

/// One client of Streamable HTTP: closes, or vanishes at once, or half way.
fn streamable(gateway: &Gateway, server: &str, n: usize) {
    let path = format!("/{server}/mcp");
    let id = gateway.begin(&path);
    let session = [("Mcp-Session-Id", &*id)];
    match n % 4 {
        0 => _ = gateway.ask(&format!("DELETE {path}"), &session, ""),
        1 => assert_eq!(gateway.post(&path, &session, PING).status, 200),
        // A listener that goes without a word.
        2 => {
            let fields = [session[0], ("Accept", "text/event-stream")];
            drop(gateway.open(&format!("GET {path}"), &fields, ""));
        }
        // A caller that does not wait for its answer.
        _ => {
            let fields = [session[0], ("Content-Type", "application/json")];
            let body = call(1, "echo", &json!({ "message": "x" }));
            let text = http::request(&format!("POST {path}"), &gateway.at, &fields, &body);
            http::connect(&gateway.at).write_all(text.as_bytes()).unwrap();
        }
    }
}

/// One client of HTTP+SSE: its stream ends with it, before its handshake or after.
fn sse(gateway: &Gateway, server: &str, n: usize) {
    let mut stream = gateway.open(&format!("GET /{server}/sse"), &[], "");
    let endpoint = stream.data();
    if !n.is_multiple_of(3) {
        assert_eq!(gateway.post(&endpoint, &[], INITIALIZE).status, 202);
        stream.data();
    }
}

fn quiet(gateway: &Gateway) {
    for server in ["here", "shared", "own"] {
        gateway.status(server, |it| it["sessions"] == 0 && it["links"] == 0 && it["inFlight"] == 0);
    }
}

#[test]
fn sessions_that_come_and_go_leave_nothing() {
    let dir = folder();
    let child = |isolation: &str| {
        let mut entry: Value = demo_child(Path::new(dir.path()));
        entry["isolation"] = json!(isolation);
        entry["startup"] = json!("lazy");
        entry
    };
    let mut config = json!({ "mcpServers": {
        "here": { "type": "demo", "startup": "lazy" },
        "shared": child("shared"),
        "own": child("session"),
    } });
    config["gateway"] = json!({ "timeouts": {
        "sessionIdle": "1s", "childIdle": "1s", "sseReconnect": "1s", "connectionIdle": "1s",
    } });
    let gateway = Gateway::start(&config);
    let pid = gateway.process.id();
    let round = |times: usize| {
        for n in 0..times {
            for server in ["here", "shared"] {
                streamable(&gateway, server, n);
                sse(&gateway, server, n);
            }
            // A process each.
            if n.is_multiple_of(25) {
                streamable(&gateway, "own", n / 25);
            }
        }
        quiet(&gateway);
    };
    round(100);
    let (fds, _) = gateway.process.usage();
    let (before, memory) = ((threads(pid), children(pid)), gateway.process.usage().1);
    round(250);
    // Connections are let go of in their time.
    until("the descriptors that there were", || (gateway.process.usage().0 <= fds).then_some(()));
    until("the threads and the children that there were", || {
        let (threads, children) = (threads(pid), children(pid));
        (threads <= before.0 && children <= before.1).then_some(())
    });
    let grown = gateway.process.usage().1.saturating_sub(memory);
    assert!(grown < GROWTH_MAX, "{grown} KiB more for a thousand sessions");
    assert_eq!(before.1, 0, "nobody needs a child");
}
