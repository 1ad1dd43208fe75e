//! Story 0, the silent 404: both spellings of a route work, a wrong one is explained and logged,
//! and a server that failed is never "not found".

use serde_json::json;

use crate::{
    client::{Client, Sdk, Wire, over},
    parts::{Part, Parts},
    process::port,
    rig::{Gateway, in_state},
    servers::{Postgres, PostgresMcp, postgres_mcp_entry},
};

const TOKEN: &str = "story-0-token";
const AUTH: (&str, &str) = ("Authorization", "Bearer story-0-token");

fn config(servers: &serde_json::Value) -> serde_json::Value {
    json!({
        "mcpProxy": { "addr": ":9090", "options": { "authTokens": [TOKEN], "logEnabled": true } },
        "mcpServers": servers,
    })
}

#[test]
fn both_spellings_of_a_route() {
    let Some(parts) = Parts::need(&[Part::Node, Part::Python, Part::Postgres]) else { return };
    let database = Postgres::start(&parts);
    let server = PostgresMcp::start(&parts, &database.uri("postgres"));
    let servers = json!({
        "postgres": { "url": server.url },
        "child": postgres_mcp_entry(&parts, &database.uri("timescale")),
    });
    let gateway = Gateway::start(&parts, &config(&servers), &[]);
    let count = json!({ "sql": "select count(*) from readings" });
    let connect = over(Wire::Sse, &gateway.url("child", Wire::Sse), Some(TOKEN));
    let mut client = Client::connect(&parts, Sdk::Python, &connect);
    assert_eq!(client.call("execute_sql", &count), "[{'count': 30}]");
    client.close();
    for route in ["postgres", "servers/postgres"] {
        for (sdk, wire) in [(Sdk::Python, Wire::Sse), (Sdk::TypeScript, Wire::Streamable)] {
            let url = gateway.url(route, wire);
            let mut client = Client::connect(&parts, sdk, &over(wire, &url, Some(TOKEN)));
            let sql = json!({ "sql": "select name from sensors order by id" });
            let rows = client.call("execute_sql", &sql);
            assert_eq!(rows, "[{'name': 'cellar'}, {'name': 'roof'}, {'name': 'Küche'}]");
            client.close();
        }
        let mut stream = crate::http::open(gateway.addr, &format!("GET /{route}/sse"), &[AUTH], "");
        assert_eq!(stream.status, 200);
        let first = stream.until("data:");
        assert!(first.contains("event: endpoint") || first.contains("event:endpoint"), "{first}");
        // Relative, so that it is right behind any other proxy.
        let data = first.lines().find_map(|it| it.strip_prefix("data:")).unwrap().trim();
        assert!(data.starts_with('/'), "{first}");
        gateway.logged(&[&format!("/{route}/sse"), "200"]);
    }
}

#[test]
fn a_wrong_path_is_explained_and_logged() {
    let Some(parts) = Parts::need(&[Part::Node]) else { return };
    let memory = json!({ "command": "node", "args": [parts.reference("everything")] });
    let gateway = Gateway::start(&parts, &config(&json!({ "postgres": memory })), &[]);
    for path in ["/postgress/sse", "/servers/postgress/sse", "/postgres/ssse", "/mcp/postgres"] {
        let answer = gateway.get(path, &[AUTH]);
        assert_eq!(answer.status, 404, "{path}: {answer:?}");
        let body = answer.json();
        assert!(body.is_object(), "{body}");
        assert!(answer.body.contains("/postgres/sse"), "{path} names no route: {body}");
        gateway.logged(&[path, "404"]);
    }
    // Without a token nobody learns the routes, and yet it is no silence.
    let blind = gateway.get("/postgres/sse", &[]);
    assert_eq!(blind.status, 401);
    assert!(blind.json().is_object());
    let challenge = blind.field("www-authenticate").unwrap_or_default();
    assert!(challenge.to_ascii_lowercase().starts_with("bearer"), "{blind:?}");
    gateway.logged(&["/postgres/sse", "401"]);
    assert!(!gateway.process.said().contains(TOKEN), "the log shows the token");
}

#[test]
fn a_failed_server_is_not_not_found() {
    let Some(parts) = Parts::need(&[Part::Node]) else { return };
    let nobody = format!("http://127.0.0.1:{}/sse", port());
    let servers = json!({
        "gone": { "url": nobody },
        "absent": { "command": "no-such-program-anywhere" },
    });
    let gateway = Gateway::start(&parts, &config(&servers), &[]);
    let hello = json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {},
        "clientInfo": { "name": "hand", "version": "1" } } });
    for (server, cause) in [("absent", "no-such-program-anywhere"), ("gone", "refused")] {
        for route in [format!("/{server}/mcp"), format!("/servers/{server}/mcp")] {
            let answer = gateway.post(&route, &[AUTH], &hello);
            assert_eq!(answer.status, 503, "{route}: {answer:?}");
            assert!(answer.json().is_object());
            assert!(answer.body.contains(cause), "{route} does not say why: {answer:?}");
        }
        let answer = gateway.get(&format!("/{server}/sse"), &[AUTH]);
        assert_eq!(answer.status, 503, "{answer:?}");
        assert!(answer.body.contains(cause), "{answer:?}");
        gateway.logged(&[&format!("/{server}/sse"), "503"]);
        let entry = gateway.status(server, &[AUTH], |it| !in_state(it, "starting"));
        assert!(!in_state(&entry, "ready"), "{entry}");
        assert!(entry.to_string().contains(cause), "{entry}");
    }
}
