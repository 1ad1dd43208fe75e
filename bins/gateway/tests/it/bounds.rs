//! Every bound and wait that can be set, set low and gone to: the key counts, and the words say
//! what happened and which key it is.

#![expect(clippy::disallowed_types, reason = "the program does not live in the time of a runtime")]

use std::{
    io::{Read, Write},
    net::TcpListener,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    http,
    rig::{Gateway, INITIALIZE, call, demo, servers},
};

/// The demonstration server with these settings, behind a gateway with those.
fn start(gateway: Value, server: Value) -> Gateway {
    let mut config = demo();
    config["gateway"] = gateway;
    let entry = config["mcpServers"]["demo"].as_object_mut().unwrap();
    entry.extend(server.as_object().unwrap().clone());
    Gateway::start(&config)
}

#[test]
fn sessions() {
    let gateway = start(json!({ "limits": { "sessionMax": 2 } }), json!({}));
    let first = gateway.begin("/demo/mcp");
    let _sse = gateway.open("GET /demo/sse", &[], "");
    let answer = gateway.post("/demo/mcp", &[], INITIALIZE);
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(answer.error().contains("`sessionMax`"), "{answer:?}");
    assert!(answer.field("retry-after").is_some());
    assert_eq!(gateway.open("GET /demo/sse", &[], "").status, 503);
    gateway.ask("DELETE /demo/mcp", &[("Mcp-Session-Id", &*first)], "");
    gateway.begin("/demo/mcp");
}

#[test]
fn sessions_that_nobody_uses() {
    let gateway = start(json!({ "timeouts": { "sessionIdle": "1s" } }), json!({}));
    let id = gateway.begin("/demo/mcp");
    gateway.status("demo", |it| it["sessions"] == 0);
    // It has given up its place; its id stays good.
    let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    assert_eq!(gateway.post("/demo/mcp", &[("Mcp-Session-Id", &*id)], ping).status, 200);
    gateway.status("demo", |it| it["sessions"] == 1);
}

#[test]
fn streams_of_a_session() {
    let gateway = start(json!({ "limits": { "streamMax": 1 } }), json!({}));
    let id = gateway.begin("/demo/mcp");
    let fields = [("Mcp-Session-Id", &*id), ("Accept", "text/event-stream")];
    let mut first = gateway.open("GET /demo/mcp", &fields, "");
    let second = gateway.open("GET /demo/mcp", &fields, "");
    assert_eq!((first.status, second.status), (200, 200));
    while let Ok(Some(event)) = first.event() {
        assert_eq!(event.data, None);
    }
    drop(second);
}

#[test]
fn requests_in_flight() {
    let gateway = start(json!({ "limits": { "inFlightMax": 1 } }), json!({}));
    let id = gateway.begin("/demo/mcp");
    let session = [("Mcp-Session-Id", &*id)];
    let fields =
        [session[0], ("Content-Type", "application/json"), ("Accept", "text/event-stream")];
    let mut wire = http::connect(&gateway.at);
    let sleep = call(1, "sleep", &json!({ "ms": 30_000 }));
    let text = http::request("POST /demo/mcp", &gateway.at, &fields, &sleep);
    wire.write_all(text.as_bytes()).unwrap();
    gateway.status("demo", |it| it["inFlight"] == 1);
    let answer = gateway.post("/demo/mcp", &session, &call(2, "echo", &json!({ "message": "x" })));
    assert!(answer.error().contains("are being answered"), "{answer:?}");
}

/// One more is not refused: it waits until another ends.
#[test]
fn connections() {
    let gateway = start(json!({ "limits": { "connectionMax": 1 } }), json!({}));
    let mut first = http::tcp(&gateway.at);
    first.write_all(b"GET /ping HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    assert_ne!(first.read(&mut [0; 16]).unwrap(), 0);
    let mut second = http::tcp(&gateway.at);
    second.write_all(b"GET /ping HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    second.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    second.read(&mut [0; 16]).unwrap_err();
    drop(first);
    second.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    assert_ne!(second.read(&mut [0; 16]).unwrap(), 0);
}

#[test]
fn a_request_that_takes_too_long() {
    let progress = json!({ "name": "progress", "arguments": { "steps": 100, "ms": 200 }, "_meta": { "progressToken": 1 } });
    let progress = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": progress });
    for (setting, request, key) in [
        ("firstByteTimeout", call(1, "sleep", &json!({ "ms": 60_000 })), "firstByteTimeout"),
        // Progress comes more often than that: only the whole counts.
        ("requestTimeout", progress.to_string(), "requestTimeout"),
    ] {
        let gateway = start(json!({}), json!({ setting: "1s", "idleTimeout": "1s" }));
        let id = gateway.begin("/demo/mcp");
        let answer = gateway.post("/demo/mcp", &[("Mcp-Session-Id", &*id)], &request);
        assert!(answer.body.contains(&format!("`{key}`")), "{answer:?}");
    }
}

#[test]
fn a_request_that_falls_silent() {
    let steps = json!({ "name": "progress", "arguments": { "steps": 2, "ms": 60_000 }, "_meta": { "progressToken": 1 } });
    let steps = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": steps });
    let script = r#"while read -r line; do case "$line" in
        *initialize\"*) echo '{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":"2025-06-18","capabilities":{},"serverInfo":{"name":"s","version":"1"}}}' | sed "s/\"id\":1/\"id\":$(echo "$line" | sed 's/.*"id":\([0-9]*\).*/\1/')/";;
        *progressToken*) echo "$line" | sed 's/.*"progressToken":\([^,}]*\).*/{"jsonrpc":"2.0","method":"notifications\/progress","params":{"progressToken":\1,"progress":1}}/';;
        esac; done"#;
    let child = json!({ "command": "sh", "args": ["-c", script], "idleTimeout": "1s" });
    let gateway = Gateway::start(&servers(json!({ "quiet": child })));
    let id = gateway.begin("/quiet/mcp");
    let answer = gateway.post("/quiet/mcp", &[("Mcp-Session-Id", &*id)], &steps.to_string());
    assert!(answer.body.contains("`idleTimeout`"), "{answer:?}");
}

#[test]
fn a_server_that_does_not_start() {
    let child = json!({ "command": "sleep", "args": ["60"], "startTimeout": "1s" });
    let gateway = Gateway::start(&servers(json!({ "mute": child })));
    let answer = gateway.post("/mute/mcp", &[], INITIALIZE);
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(answer.error().contains("within 1 s"), "{answer:?}");
}

/// A port that accepts and says nothing: TLS never comes about.
#[test]
fn a_server_that_cannot_be_connected_to() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/mcp", silent.local_addr().unwrap());
    let remote = json!({ "url": url, "insecureTls": true, "connectTimeout": "300ms" });
    let gateway = Gateway::start(&servers(json!({ "deaf": remote })));
    let began = Instant::now();
    let answer = gateway.post("/deaf/mcp", &[], INITIALIZE);
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

/// Neither the end of its stdin nor SIGTERM moves it.
#[test]
fn a_child_that_does_not_end() {
    let child = json!({ "command": "sh", "args": ["-c", "trap '' TERM; sleep 60 & wait; sleep 60"], "stopTimeout": "200ms" });
    let gateway = Gateway::start(&servers(json!({ "stubborn": child })));
    let status = gateway.status("stubborn", |it| it["pids"].is_array());
    let began = Instant::now();
    let ended = gateway.end();
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    let pid = &status["pids"][0];
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists(), "{pid} {ended:?}");
}

#[test]
fn what_a_child_said_last() {
    let script = "for i in 0 1 2 3 4 5 6 7 8 9; do echo a$i >&2; echo b$i >&2; done; exec sleep 60";
    let child = json!({ "command": "sh", "args": ["-c", script] });
    let gateway = Gateway::start(&servers(json!({ "loud": child })));
    let status = gateway.status("loud", |it| it["stderr"][9] == "b9");
    assert_eq!((&status["stderr"][0], &status["stderr"][10]), (&json!("a5"), &Value::Null));
}

#[test]
fn children() {
    let child = json!({ "command": env!("CARGO_BIN_EXE_gateway"), "args": ["stdio", "x"], "childMax": 1, "childWait": "300ms", "isolation": "session", "startup": "lazy" });
    let mut config = servers(json!({ "one": child }));
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), json!({ "mcpServers": { "x": { "type": "demo" } } }).to_string())
        .unwrap();
    config["mcpServers"]["one"]["args"] = json!(["stdio", "x", "--config", file.path()]);
    let gateway = Gateway::start(&config);
    gateway.begin("/one/mcp");
    let answer = gateway.post("/one/mcp", &[], INITIALIZE);
    assert_eq!(answer.status, 503, "{answer:?}");
}

/// What is on its way to it is more than the kernels between hold.
#[cfg(target_os = "linux")]
#[test]
fn a_client_that_takes_nothing() {
    let gateway = start(json!({ "timeouts": { "write": "1s" } }), json!({}));
    let id = gateway.begin("/demo/mcp");
    let fields = [("Mcp-Session-Id", &*id), ("Content-Type", "application/json")];
    let blob = call(1, "blob", &json!({ "len": 40 << 20 }));
    let mut wire = http::tcp(&gateway.at);
    wire.write_all(http::request("POST /demo/mcp", &gateway.at, &fields, &blob).as_bytes())
        .unwrap();
    // Whether the connection is still there shows when something is said on it.
    crate::process::until("the end of the connection", || {
        wire.write_all(b"\r\n").err().map(|error| error.kind())
    });
}
