//! Tools that a server runs as tasks alone, for a client that knows no such tasks.

use serde_json::json;

use crate::{
    parts::{Part, Parts},
    rig::Gateway,
};

/// The reference server on the TypeScript SDK, which is of 2025-11-25.
#[test]
fn a_modern_client_waits_for_a_task_of_the_reference_server() {
    let Some(parts) = Parts::need(&[Part::Node]) else { return };
    let entry = json!({ "command": "node", "args": [parts.reference("everything")] });
    let gateway = Gateway::start(&parts, &json!({ "mcpServers": { "everything": entry } }), &[]);
    let tool = "simulate-research-query";
    let call = json!({ "jsonrpc": "2.0", "id": "c", "method": "tools/call", "params": {
        "name": tool, "arguments": { "topic": "tides" }, "_meta": {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
            "progressToken": "p" } } });
    let fields =
        [("MCP-Protocol-Version", "2026-07-28"), ("Mcp-Method", "tools/call"), ("Mcp-Name", tool)];
    let answer = gateway.post("/everything/mcp", &fields, &call);
    assert_eq!(answer.status, 200, "{answer:?}");
    for said in ["# Research Report: tides", "Gathering sources", r#""progressToken":"p""#] {
        assert!(answer.body.contains(said), "no `{said}`: {answer:?}");
    }
    assert!(!answer.body.contains("taskId"), "{answer:?}");
}
