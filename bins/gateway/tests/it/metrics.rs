//! What is counted, as Prometheus reads it.

use std::collections::BTreeMap;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::{
    client::{Client, Front},
    http::Answer,
    process::until,
    rig::{Gateway, INITIALIZE, call, demo_child, folder, servers},
};

/// Samples, each by its name and labels as they are written.
pub(crate) struct Samples(BTreeMap<String, f64>);

// === impl Samples ===

impl Samples {
    /// Reads what was answered, and finds it well-formed: families one after the other, each with
    /// its type and what it is, and no sample twice.
    #[track_caller]
    pub(crate) fn read(answer: &Answer) -> Self {
        assert_eq!(answer.status, 200, "{answer:?}");
        let (mut samples, mut families, mut family) = (BTreeMap::new(), Vec::new(), String::new());
        for line in answer.body.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                family = rest.split(' ').next().unwrap().to_owned();
                assert!(!families.contains(&family), "{family} comes twice");
                families.push(family.clone());
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap();
                assert_eq!(name, family);
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            } else {
                let (sample, value) = line.rsplit_once(' ').unwrap();
                let name = sample.split('{').next().unwrap();
                let ending = name.strip_prefix(family.as_str());
                assert!(
                    matches!(ending, Some("" | "_bucket" | "_sum" | "_count")),
                    "{line} is not of {family}"
                );
                let before = samples.insert(sample.to_owned(), value.parse().unwrap());
                assert_eq!(before, None, "{line} comes twice");
            }
        }
        Self(samples)
    }

    #[track_caller]
    pub(crate) fn of(gateway: &Gateway) -> Self {
        let answer = gateway.get("/metrics");
        let content = answer.field("content-type").unwrap();
        assert_eq!(content, "text/plain; version=0.0.4; charset=utf-8");
        Self::read(&answer)
    }

    pub(crate) fn get(&self, sample: &str) -> Option<f64> {
        self.0.get(sample).copied()
    }

    #[track_caller]
    pub(crate) fn check(&self, sample: &str, expect: f64) {
        assert_eq!(self.get(sample), Some(expect), "{sample} in {:#?}", self.0);
    }

    /// Whether anything is said of a server.
    pub(crate) fn mentions(&self, server: &str) -> bool {
        let label = format!("server=\"{server}\"");
        self.0.keys().any(|sample| sample.contains(&label))
    }
}

/// This configuration, with what passes counted.
pub(crate) fn counted(mut config: Value) -> Value {
    config["gateway"]["metrics"] = json!(true);
    config
}

#[track_caller]
fn call_tool(gateway: &Gateway, path: &str, session: &str, tool: &str, arguments: &Value) {
    let fields = [("Mcp-Session-Id", session), ("MCP-Protocol-Version", "2025-06-18")];
    let answer = gateway.post(path, &fields, &call(7, tool, arguments));
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[test]
fn where_nothing_is_counted_it_says_how_to_begin() {
    let gateway = Gateway::start(&servers(json!({ "demo": { "type": "demo" } })));
    let answer = gateway.get("/metrics");
    assert_eq!(answer.status, 404);
    assert_eq!(answer.body.lines().count(), 1);
    assert!(answer.body.contains(r#"set `"metrics": true` in `gateway`"#), "{answer:?}");
}

/// Over every wire in front; a tool that fails, a tool that is not there, a path that is not there.
#[test]
fn calls_are_counted_by_what_came_of_them() {
    let gateway = Gateway::start(&counted(servers(json!({
        "demo": { "type": "demo" },
        "other": { "type": "demo" },
    }))));
    let it = Samples::of(&gateway);
    it.check(r#"mcp_gateway_tool_calls_total{server="demo",outcome="ok"}"#, 0.0);
    it.check(r#"mcp_gateway_tool_calls_total{server="demo",outcome="error"}"#, 0.0);
    it.check(r#"mcp_gateway_backend_up{server="demo"}"#, 1.0);
    it.check(r#"mcp_gateway_build_info{version="0.1.0"}"#, 1.0);

    let session = gateway.begin("/demo/mcp");
    for text in ["a", "b", "c"] {
        call_tool(&gateway, "/demo/mcp", &session, "echo", &json!({ "message": text }));
    }
    call_tool(&gateway, "/demo/mcp", &session, "fail", &json!({}));
    call_tool(&gateway, "/demo/mcp", &session, "no_such_tool", &json!({}));
    let mut old = Client::begin(&gateway, Front::Sse, "demo");
    old.ask("tools/call", json!({ "name": "echo", "arguments": { "message": "d" } }));
    assert_eq!(gateway.get("/nowhere/mcp").status, 404);
    assert_eq!(gateway.post("/demo/mcp", &[], "{").status, 400);

    let it = Samples::of(&gateway);
    it.check(r#"mcp_gateway_tool_calls_total{server="demo",outcome="ok"}"#, 4.0);
    it.check(r#"mcp_gateway_tool_calls_total{server="demo",outcome="tool_error"}"#, 1.0);
    it.check(r#"mcp_gateway_tool_calls_total{server="demo",outcome="error"}"#, 1.0);
    it.check(r#"mcp_gateway_tool_calls_total{server="other",outcome="ok"}"#, 0.0);
    let calls = r#"mcp_gateway_requests_total{server="demo",method="tools/call",outcome="ok"}"#;
    it.check(calls, 4.0);
    let begun = r#"mcp_gateway_requests_total{server="demo",method="initialize",outcome="ok"}"#;
    it.check(begun, 2.0);
    // Four calls that went well, one that failed, one that was wrong, and two handshakes.
    it.check(r#"mcp_gateway_request_duration_seconds_count{server="demo"}"#, 8.0);
    it.check(r#"mcp_gateway_request_duration_seconds_bucket{server="demo",le="+Inf"}"#, 8.0);
    it.check(r#"mcp_gateway_sse_setup_seconds_count{server="demo"}"#, 1.0);
    it.check(r#"mcp_gateway_sessions{server="demo"}"#, 2.0);
    it.check(r#"mcp_gateway_streams{server="demo"}"#, 1.0);
    // `initialize` and five calls.
    it.check(r#"mcp_gateway_http_requests_total{server="demo",code="400"}"#, 1.0);
    it.check(r#"mcp_gateway_http_requests_total{code="404"}"#, 1.0);
    it.check(r#"mcp_gateway_refused_total{server="demo",reason="malformed"}"#, 1.0);
    it.check(r#"mcp_gateway_refused_total{reason="not_found"}"#, 1.0);
    let bytes = it.get(r#"mcp_gateway_message_bytes_total{server="demo",direction="in"}"#);
    assert!(bytes > Some(500.0), "{bytes:?}");
    assert!(it.get("process_resident_memory_bytes") > Some(1e6));
}

/// What is called where many servers are one counts as the server's that was called.
#[test]
fn a_call_among_many_is_its_servers() {
    let gateway = Gateway::start(&counted(servers(json!({
        "one": { "type": "demo" },
        "two": { "type": "demo" },
    }))));
    let session = gateway.begin("/mcp");
    call_tool(&gateway, "/mcp", &session, "two__echo", &json!({ "message": "a" }));
    let it = Samples::of(&gateway);
    it.check(r#"mcp_gateway_tool_calls_total{server="two",outcome="ok"}"#, 1.0);
    it.check(r#"mcp_gateway_tool_calls_total{server="one",outcome="ok"}"#, 0.0);
    it.check(r#"mcp_gateway_tool_calls_total{server="(all)",outcome="ok"}"#, 0.0);
    it.check(r#"mcp_gateway_http_requests_total{server="(all)",code="200"}"#, 2.0);
    it.check(r#"mcp_gateway_sessions{server="(all)"}"#, 1.0);
    assert_eq!(it.get(r#"mcp_gateway_backend_up{server="(all)"}"#), None);
}

#[test]
fn a_server_that_dies_is_seen() {
    let dir = folder();
    let config = counted(servers(json!({ "child": demo_child(dir.path()) })));
    let gateway = Gateway::start(&config);
    let session = gateway.begin("/child/mcp");
    call_tool(&gateway, "/child/mcp", &session, "echo", &json!({ "message": "a" }));
    let status = gateway.status("child", |it| !it["pids"].is_null());
    let pid = status["pids"][0].as_i64().unwrap();
    let it = Samples::of(&gateway);
    it.check(r#"mcp_gateway_backend_restarts_total{server="child"}"#, 0.0);
    it.check(r#"mcp_gateway_backend_state{server="child",state="ready"}"#, 1.0);
    it.check(r#"mcp_gateway_backend_state{server="child",state="parked"}"#, 0.0);
    assert!(it.get(r#"mcp_gateway_backend_children{server="child"}"#) >= Some(1.0));
    kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), Signal::KILL).unwrap();
    until("a restart", || {
        let it = Samples::of(&gateway);
        (it.get(r#"mcp_gateway_backend_restarts_total{server="child"}"#) >= Some(1.0)).then_some(())
    });
}

/// As `/status`: with a token where there are any, and of the servers that it opens.
#[test]
fn who_may_not_see_a_server_does_not_see_its_counts() {
    let mut config = counted(servers(json!({
        "demo": { "type": "demo" },
        "other": { "type": "demo" },
    })));
    config["gateway"]["tokens"] = json!({
        "all": "s3cret-of-all",
        "one": { "secret": "s3cret-of-one", "servers": ["demo"] },
    });
    let gateway = Gateway::start(&config);
    let with = |token: &str| {
        let token = format!("Bearer {token}");
        gateway.ask("GET /metrics", &[("Authorization", &token)], "")
    };
    assert_eq!(gateway.get("/metrics").status, 401);
    assert_eq!(gateway.post("/demo/mcp", &[], INITIALIZE).status, 401);
    assert_eq!(with("wrong").status, 401);
    let all = Samples::read(&with("s3cret-of-all"));
    assert!(all.mentions("demo") && all.mentions("other") && all.mentions("(all)"));
    all.check(r#"mcp_gateway_refused_total{server="demo",reason="unauthorized"}"#, 1.0);
    all.check(r#"mcp_gateway_refused_total{reason="unauthorized"}"#, 2.0);
    let one = Samples::read(&with("s3cret-of-one"));
    assert!(one.mentions("demo") && !one.mentions("other"));
    let body = with("s3cret-of-all").body;
    assert!(!body.contains("s3cret"), "{body}");
}

#[test]
fn who_asks_for_openmetrics_gets_it() {
    let gateway = Gateway::start(&counted(servers(json!({ "demo": { "type": "demo" } }))));
    let accept = [("Accept", "application/openmetrics-text;version=1.0.0,text/plain;q=0.5")];
    let answer = gateway.ask("GET /metrics", &accept, "");
    let content = answer.field("content-type").unwrap();
    assert_eq!(content, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert!(answer.body.ends_with("\n# EOF\n"), "{answer:?}");
    assert!(answer.body.contains("# TYPE mcp_gateway_tool_calls counter\n"), "{answer:?}");
    let head = gateway.ask("HEAD /metrics", &[], "");
    assert_eq!((head.status, head.body.as_str()), (200, ""));
}
