//! What is counted, read by Prometheus' own parsers.

use std::process::Command;

use serde_json::{Value, json};

use crate::{
    parts::{Part, Parts},
    rig::Gateway,
};

/// A call that goes well and one that fails, in both formats.
#[test]
fn prometheus_reads_what_is_counted() {
    let Some(parts) = Parts::need(&[Part::Node, Part::Python]) else { return };
    let config = json!({
        "gateway": { "metrics": true },
        "mcpServers": { "demo": { "type": "demo" } },
    });
    let gateway = Gateway::start(&parts, &config, &[]);
    let begun = gateway.post(
        "/demo/mcp",
        &[],
        &json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
            "protocolVersion": "2025-06-18", "capabilities": {},
            "clientInfo": { "name": "scrape", "version": "1" } } }),
    );
    let session = begun.field("mcp-session-id").unwrap();
    for tool in ["count", "fail"] {
        let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {
            "name": tool, "arguments": {} } });
        let answer = gateway.post("/demo/mcp", &[("Mcp-Session-Id", session)], &call);
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/clients/scrape.py");
    let url = format!("http://{}/metrics", gateway.addr);
    let read = Command::new(parts.python("prometheus", "python")).args([script, &url]).output();
    let read = read.unwrap();
    assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
    let read: Value = serde_json::from_slice(&read.stdout).unwrap();
    for format in ["text/plain", "application/openmetrics-text"] {
        let (types, samples) = (&read[format]["types"], &read[format]["samples"]);
        for (family, kind) in [
            ("mcp_gateway_tool_calls", "counter"),
            ("mcp_gateway_http_requests", "counter"),
            ("mcp_gateway_backend_up", "gauge"),
            ("mcp_gateway_request_duration_seconds", "histogram"),
            ("mcp_gateway_sse_setup_seconds", "histogram"),
        ] {
            assert_eq!(types[family], kind, "{format}: {types}");
        }
        for (sample, value) in [
            ("mcp_gateway_tool_calls_total{outcome=ok,server=demo}", 1.0),
            ("mcp_gateway_tool_calls_total{outcome=tool_error,server=demo}", 1.0),
            ("mcp_gateway_backend_up{server=demo}", 1.0),
            ("mcp_gateway_request_duration_seconds_count{server=demo}", 3.0),
        ] {
            assert_eq!(samples[sample], value, "{format}: {sample} in {samples}");
        }
    }
}
