//! What is written down of who asked what, and what happens where it cannot be.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf};

use serde_json::{Value, json};

use crate::{
    client::{Client, Front},
    process::until,
    rig::{Gateway, INITIALIZE, call, folder, run, servers, write},
};

const SECRET: &str = "s3cret-of-the-laptop";

/// A gateway with an audit log in its folder, and a token; `file` is where it is to be instead.
struct Audited {
    gateway: Gateway,
    file: PathBuf,
}

impl Audited {
    #[track_caller]
    fn start(entries: Value, file: Option<&str>) -> Self {
        let dir = folder();
        let mut config = servers(entries);
        let audit = json!({ "file": file.unwrap_or("audit.jsonl"), "wait": "100ms" });
        config["gateway"] = json!({ "audit": audit, "tokens": { "laptop": SECRET } });
        let file = dir.path().join(file.unwrap_or("audit.jsonl"));
        let gateway = Gateway::start_in(dir, &config, &["--listen", "127.0.0.1:0"]);
        Self { gateway, file }
    }

    /// The lines as they are, once one of them is as it is wanted.
    #[track_caller]
    fn lines(&self, wanted: impl Fn(&Value) -> bool) -> Vec<Value> {
        until("a line of the audit log", || {
            let lines = self.read();
            lines.iter().any(&wanted).then_some(lines)
        })
    }

    fn read(&self) -> Vec<Value> {
        let text = fs::read_to_string(&self.file).unwrap_or_default();
        // The last one may be half there.
        let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        whole.map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The one line that has these members; what is to be left out is null.
    #[track_caller]
    fn line(&self, members: &Value) -> Value {
        let members = members.as_object().unwrap();
        let fits = |line: &Value| members.iter().all(|(name, value)| line[name] == *value);
        let lines = self.lines(fits);
        let mut found = lines.iter().filter(|line| fits(line));
        let line = found.next().unwrap().clone();
        assert_eq!(found.next(), None, "written twice: {line}");
        let time = line["time"].as_str().unwrap();
        assert!(time.len() == 27 && time.ends_with('Z'), "{line}");
        line
    }

    #[track_caller]
    fn post(&self, path: &str, fields: &[(&str, &str)], body: &str) -> (u16, String, String) {
        let token = format!("Bearer {SECRET}");
        let mut all = vec![("Authorization", token.as_str())];
        all.extend(fields);
        let answer = self.gateway.post(path, &all, body);
        let session = answer.field("mcp-session-id").unwrap_or_default().to_owned();
        (answer.status, answer.body, session)
    }

    #[track_caller]
    fn begin(&self, path: &str) -> String {
        let (status, body, session) = self.post(path, &[], INITIALIZE);
        assert_eq!(status, 200, "{body}");
        session
    }

    /// What a call is answered with.
    #[track_caller]
    fn call(&self, path: &str, session: &str, tool: &str, arguments: &Value) -> Value {
        let (status, body, _) =
            self.post(path, &[("Mcp-Session-Id", session)], &call(7, tool, arguments));
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).unwrap()
    }
}

/// Who, from where, with which client, what, and what came of it; never what was said.
#[test]
fn a_call_is_a_line() {
    let it = Audited::start(json!({ "demo": { "type": "demo" } }), None);
    let session = it.begin("/demo/mcp");
    let begun = it.line(&json!({ "event": "session_begun" }));
    let end = session.get(session.len() - 6..).unwrap();
    assert_eq!(
        (&begun["server"], &begun["caller"], &begun["address"], &begun["session"]),
        (&json!("demo"), &json!("laptop"), &json!("127.0.0.1"), &json!(end))
    );
    assert_eq!(begun["client"], "it/1");
    let asked = call(7, "echo", &json!({ "message": "a word that is nobody's business" }));
    it.call(
        "/demo/mcp",
        &session,
        "echo",
        &json!({ "message": "a word that is nobody's business" }),
    );
    let line = it.line(&json!({ "event": "request", "outcome": "ok" }));
    assert_eq!(
        (&line["server"], &line["caller"], &line["address"], &line["session"]),
        (&json!("demo"), &json!("laptop"), &json!("127.0.0.1"), &json!(end))
    );
    assert_eq!((&line["method"], &line["target"]), (&json!("tools/call"), &json!("echo")));
    assert_eq!(line["in"], asked.len());
    assert!(line["out"].as_u64() > Some(50) && line["us"].as_u64() > Some(0), "{line}");

    it.call("/demo/mcp", &session, "fail", &json!({}));
    it.line(&json!({ "target": "fail", "outcome": "tool_error" }));
    it.call("/demo/mcp", &session, "no\"such\ntool", &json!({}));
    it.line(&json!({ "target": "no\"such\ntool", "outcome": "error", "code": -32602 }));
    let long = "ü".repeat(300);
    it.call("/demo/mcp", &session, &long, &json!({}));
    it.line(&json!({ "target": "ü".repeat(256), "outcome": "error" }));
    let read = json!({ "jsonrpc": "2.0", "id": 8, "method": "resources/read",
                       "params": { "uri": "demo://note" } });
    it.post("/demo/mcp", &[("Mcp-Session-Id", &session)], &read.to_string());
    it.line(&json!({ "method": "resources/read", "target": "demo://note", "outcome": "ok" }));
    // A list is not what a server has and does.
    let list = r#"{"jsonrpc":"2.0","id":9,"method":"tools/list"}"#;
    it.post("/demo/mcp", &[("Mcp-Session-Id", &session)], list);
    let token = format!("Bearer {SECRET}");
    let fields = [("Authorization", token.as_str()), ("Mcp-Session-Id", &session)];
    assert_eq!(it.gateway.ask("DELETE /demo/mcp", &fields, "").status, 204);
    it.line(&json!({ "event": "session_ended", "session": end }));
    let text = fs::read_to_string(&it.file).unwrap();
    for hidden in ["nobody's business", SECRET, &session, "tools/list"] {
        assert!(!text.contains(hidden), "{hidden}: {text}");
    }
    assert_eq!(fs::metadata(&it.file).unwrap().permissions().mode() & 0o777, 0o600);
    let log = it.gateway.process.log().join("\n");
    assert!(!log.contains("nobody's business"));
}

/// Whoever gets no further than the door.
#[test]
fn who_is_refused_is_a_line() {
    let it = Audited::start(json!({ "demo": { "type": "demo" } }), None);
    assert_eq!(it.gateway.post("/demo/mcp", &[], INITIALIZE).status, 401);
    let line = it.line(&json!({ "event": "refused", "status": 401 }));
    assert_eq!((&line["server"], &line["address"]), (&json!("demo"), &json!("127.0.0.1")));
    assert!(line["caller"].is_null() && line["reason"].as_str().is_some(), "{line}");
    let asked = call(1, "echo", &json!({ "message": "x" }));
    let (status, ..) = it.post("/demo/mcp", &[("Mcp-Session-Id", "no-such-session")], &asked);
    assert_eq!(status, 404);
    let line = it.line(&json!({ "event": "refused", "status": 404 }));
    assert_eq!((&line["caller"], &line["method"]), (&json!("laptop"), &json!("tools/call")));
}

/// Over HTTP+SSE, over 2026-07-28 and over stdio as over Streamable HTTP.
#[test]
fn every_wire_has_its_lines() {
    let it = Audited::start(json!({ "demo": { "type": "demo", "tokens": "open" } }), None);
    let mut old = Client::begin(&it.gateway, Front::Sse, "demo");
    assert_eq!(old.call("echo", json!({ "message": "a" })), "a");
    it.line(&json!({ "target": "echo", "outcome": "ok", "address": "127.0.0.1" }));
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": { "name": "new", "version": "2" },
    });
    let params = json!({ "name": "count", "arguments": {}, "_meta": meta });
    let asked = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params });
    let fields = [
        ("MCP-Protocol-Version", "2026-07-28"),
        ("Mcp-Method", "tools/call"),
        ("Mcp-Name", "count"),
    ];
    let (status, body, _) = it.post("/demo/mcp", &fields, &asked.to_string());
    assert_eq!(status, 200, "{body}");
    let line = it.line(&json!({ "target": "count", "outcome": "ok" }));
    assert_eq!((&line["client"], &line["caller"]), (&json!("new/2"), &json!("laptop")));
    assert!(line["session"].is_null(), "{line}");
    // `gateway stdio` reads the same file, and writes to the same log.
    let mut inside = Client::begin(&it.gateway, Front::Stdio, "demo");
    assert_eq!(inside.call("add", json!({ "a": 1, "b": 2 })), "3");
    let line = it.line(&json!({ "target": "add", "outcome": "ok" }));
    assert!(line["address"].is_null() && line["caller"].is_null(), "{line}");
}

/// Where many servers are one: the server that was called, and the tool as it is called there.
#[test]
fn a_call_among_many_names_its_server() {
    let it = Audited::start(json!({ "one": { "type": "demo" }, "two": { "type": "demo" } }), None);
    let session = it.begin("/mcp");
    let end = session.get(session.len() - 6..).unwrap();
    it.line(&json!({ "event": "session_begun", "server": "(all)", "session": end }));
    it.call("/mcp", &session, "two__echo", &json!({ "message": "x" }));
    let line = it.line(&json!({ "event": "request", "outcome": "ok" }));
    assert_eq!(
        (&line["server"], &line["via"], &line["target"], &line["session"]),
        (&json!("two"), &json!("(all)"), &json!("echo"), &json!(end))
    );
    assert_eq!((&line["caller"], &line["address"]), (&json!("laptop"), &json!("127.0.0.1")));
    // What leads to no server is a line all the same.
    it.call("/mcp", &session, "three__echo", &json!({ "message": "x" }));
    let line = it.line(&json!({ "event": "request", "outcome": "error" }));
    assert_eq!((&line["server"], &line["target"]), (&json!("(all)"), &json!("three__echo")));
    assert_eq!(it.read().iter().filter(|line| line["event"] == "request").count(), 2);
}

#[test]
fn a_call_that_is_taken_back_is_a_line() {
    let it = Audited::start(json!({ "demo": { "type": "demo", "tokens": "open" } }), None);
    let mut client = Client::begin(&it.gateway, Front::Streamable, "demo");
    let id = client.begin_call("sleep", json!({ "ms": 600_000 }));
    until("the call to run", || {
        let status = it.gateway.ask("GET /status", &[("X-API-Key", SECRET)], "").json();
        (status["servers"][0]["inFlight"] == 1).then_some(())
    });
    let cancelled = json!({ "requestId": id, "reason": "enough" });
    let said =
        json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": cancelled });
    client.say(&said.to_string());
    it.line(&json!({ "target": "sleep", "outcome": "cancelled" }));
}

/// As `logrotate` does it.
#[test]
fn a_file_that_is_moved_away_is_made_anew() {
    let it = Audited::start(json!({ "demo": { "type": "demo" } }), None);
    let session = it.begin("/demo/mcp");
    it.call("/demo/mcp", &session, "echo", &json!({ "message": "x" }));
    it.line(&json!({ "target": "echo" }));
    let old = it.file.with_extension("1");
    fs::rename(&it.file, &old).unwrap();
    it.call("/demo/mcp", &session, "count", &json!({}));
    it.line(&json!({ "target": "count" }));
    assert_eq!(it.read().len(), 1);
    assert_eq!(fs::read_to_string(&old).unwrap().lines().count(), 2);
}

/// Nothing is done that cannot be written down, and who asks for it is told where the fault is.
#[test]
fn a_full_disk_stops_calls_and_says_so() {
    let it = Audited::start(json!({ "demo": { "type": "demo" } }), Some("/dev/full"));
    let session = it.begin("/demo/mcp");
    it.gateway.process.logged("that the disk is full", |line| {
        let said = line.contains("the audit log cannot be written");
        (said && line.contains("No space left")).then_some(())
    });
    let answer = it.call("/demo/mcp", &session, "count", &json!({}));
    let words = answer["error"]["message"].as_str().unwrap();
    assert!(
        words.contains("not carried out")
            && words.contains("/dev/full")
            && words.contains("No space"),
        "{words}"
    );
    // What is no server's content needs no line.
    let list = r#"{"jsonrpc":"2.0","id":9,"method":"tools/list"}"#;
    let (status, body, _) = it.post("/demo/mcp", &[("Mcp-Session-Id", &session)], list);
    assert!(status == 200 && body.contains("echo"), "{body}");
    let ended = it.gateway.end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.err.contains("the end of the audit log is lost"), "{ended:?}");
}

/// All that was answered is there when the gateway has ended.
#[test]
fn the_end_is_written() {
    let it = Audited::start(json!({ "demo": { "type": "demo" } }), None);
    let session = it.begin("/demo/mcp");
    for _ in 0..50 {
        it.call("/demo/mcp", &session, "count", &json!({}));
    }
    // The folder goes with the gateway, so it is read from elsewhere.
    let (elsewhere, dir) = (folder(), it.file.clone());
    let kept = elsewhere.path().join("kept");
    fs::hard_link(&dir, &kept).unwrap();
    assert_eq!(it.gateway.end().code, Some(0));
    let text = fs::read_to_string(&kept).unwrap();
    assert_eq!(text.lines().filter(|line| line.contains(r#""target":"count""#)).count(), 50);
}

#[test]
fn a_file_that_cannot_be_opened_ends_the_start() {
    let dir = folder();
    let mut config = servers(json!({ "demo": { "type": "demo" } }));
    config["gateway"] = json!({ "audit": { "file": "no/such/folder/audit.jsonl" } });
    let file = write(&dir, &config);
    let ended = run(&["serve", "--config", &file, "--listen", "127.0.0.1:0"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.err.contains("no/such/folder/audit.jsonl"), "{ended:?}");
    config["gateway"] = json!({ "audit": {} });
    let file = write(&dir, &config);
    let ended = run(&["check", &file]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.err.contains("want `file`") || ended.out.contains("want `file`"), "{ended:?}");
}
