//! What is refused, in which words, and that each refusal is one line of log.

use std::{
    io::{Read, Write},
    net::Shutdown,
};

use serde_json::{Value, json};

use crate::{
    http::{self, Answer},
    rig::{Gateway, INITIALIZE, demo},
};

/// A gateway with little patience and small limits, that logs all it can.
fn strict() -> Gateway {
    let mut config = demo();
    config["gateway"] = json!({
        "tokens": { "ann": TOKEN, "bob": "bobs-own-token-987" },
        "limits": { "bodyLenMax": "4KiB", "headerLenMax": "16KiB", "headerCountMax": 30, "batchLenMax": 3, "depthMax": 20 },
        "timeouts": { "headerRead": "300ms", "connectionIdle": "600ms", "bodyRead": "300ms" },
        "log": { "level": "trace" },
    });
    Gateway::start(&config)
}

const TOKEN: &str = "very-secret-token-123";
const AUTH: (&str, &str) = ("X-API-Key", TOKEN);

/// A refusal, and the line of log about it.
#[track_caller]
fn refused(gateway: &Gateway, answer: &Answer, status: u16, words: &str) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert!(answer.error().contains(words), "`{words}` is not in {answer:?}");
    let (_, line) =
        gateway.request_line(0, &[("status", json!(status)), ("reason", json!(answer.error()))]);
    assert!(
        line["us"].is_u64() && line["method"].is_string() && line["path"].is_string(),
        "{line}"
    );
}

#[test]
fn what_is_meant_for_somebody_else() {
    let gateway = strict();
    let answer = gateway.ask("GET /ping", &[("Host", "evil.example:9090")], "");
    refused(&gateway, &answer, 421, "`evil.example:9090` is not a name of this gateway");
    let answer =
        gateway.ask("GET /ping", &[("Host", "localhost"), ("Origin", "https://evil.example")], "");
    refused(&gateway, &answer, 403, "pages of `https://evil.example` may not use this gateway");
    let answer = gateway.ask("GET /ping", &[("Host", "localhost"), ("Host", "localhost")], "");
    refused(&gateway, &answer, 400, "two `Host` fields came");
    // What the request line says counts, whatever `Host` says (RFC 9112 §3.2.2).
    let answer = gateway.ask("GET http://evil.example/ping", &[("Host", "localhost")], "");
    refused(&gateway, &answer, 421, "`evil.example` is not a name");
}

#[test]
fn a_length_given_twice() {
    let gateway = strict();
    for fields in [
        [("Content-Length", "5"), ("Transfer-Encoding", "chunked")],
        [("Transfer-Encoding", "chunked"), ("content-length", "5")],
    ] {
        let answer =
            gateway.ask("POST /demo/mcp", &fields, "0\r\n\r\nGET /healthz HTTP/1.1\r\n\r\n");
        refused(&gateway, &answer, 400, "the length of the body is given twice");
        assert_eq!(answer.field("connection"), Some("close"), "{answer:?}");
    }
    // And nothing was read as a second request.
    assert!(gateway.process.log().iter().all(|line| !line.contains("/healthz")));
}

/// What is no request at all is told what was wrong, and what is expected; the connection ends.
#[test]
fn bad_framing() {
    let gateway = strict();
    let long =
        format!("GET /ping HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(100 << 10));
    let many = "X: y\r\n".repeat(31);
    let many = format!("GET /ping HTTP/1.1\r\nHost: localhost\r\n{many}\r\n");
    let target = format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "x".repeat(100 << 10));
    let post =
        |field: &str| format!("POST /demo/mcp HTTP/1.1\r\nHost: localhost\r\n{field}\r\n\r\n");
    for (request, status, words, path) in [
        ("GARBAGE\r\n\r\n", 400, "does not begin with a method", "-"),
        ("GET /ping HTTP/4.2\r\nHost: localhost\r\n\r\n", 400, "a version of HTTP", "/ping"),
        ("GET /a b HTTP/1.1\r\nHost: localhost\r\n\r\n", 400, "a version of HTTP", "/a"),
        (&*post("Content-Length: 1\r\nContent-Length: 2"), 400, "given twice", "/demo/mcp"),
        (&*post("Content-Length: -1"), 400, "cannot be read", "/demo/mcp"),
        (&*post("Transfer-Encoding: gzip"), 400, "its end cannot be found", "/demo/mcp"),
        (&*post("X: a\0b"), 400, "the value of a header field", "/demo/mcp"),
        (&*post("X : a"), 400, "the name of a header field", "/demo/mcp"),
        (&*long, 431, "longer than 16384 bytes", "/ping"),
        (&*many, 431, "more than 30 header fields", "/ping"),
        (&*target, 414, "the request line is longer than 16384 bytes", "-"),
    ] {
        let mut wire = http::connect(&gateway.at);
        wire.write_all(request.as_bytes()).unwrap();
        let answer = http::read_head(wire, false).unwrap().read();
        refused(&gateway, &answer, status, words);
        assert_eq!(answer.field("connection"), Some("close"), "{answer:?}");
        assert!(answer.json()["expected"].is_string(), "{answer:?}");
        // Nobody is known to have asked, so nothing is shown that only some may see.
        assert_eq!(answer.json()["routes"], Value::Null, "{answer:?}");
        let reason = json!(answer.error());
        let line = gateway.request_line(0, &[("reason", reason.clone()), ("path", json!(path))]).1;
        assert_eq!(line["status"], json!(status));
    }
    let lines = gateway.process.log();
    let lines = lines.iter().filter(|line| line.contains("\"status\":4")).count();
    assert_eq!(lines, 11, "one line each");
    assert_eq!(gateway.get("/ping").status, 200);
}

/// Where everybody may see the routes, whoever mistypes the rest of a head sees them too.
#[test]
fn bad_framing_where_all_is_open() {
    let gateway = Gateway::start(&demo());
    let mut wire = http::connect(&gateway.at);
    let ping = "GET /ping HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let broken = "GET /dmo/sse HTTP/1.1\r\nHost : localhost\r\n\r\n";
    wire.write_all(format!("{ping}{ping}{broken}{ping}").as_bytes()).unwrap();
    let mut said = String::new();
    wire.read_to_string(&mut said).unwrap();
    // In its place among the others, and the last.
    let answers: Vec<&str> = said.split("HTTP/1.1 ").skip(1).filter_map(|it| it.get(..3)).collect();
    assert_eq!(answers, ["200", "200", "400"], "{said}");
    let (_, body) = said.rsplit_once("\r\n\r\n").unwrap();
    let body: Value = serde_json::from_str(body).unwrap();
    assert_eq!(body["nearest"], "/demo/sse", "{said}");
    assert_eq!(body["routes"], json!(["/demo/mcp", "/demo/sse", "/mcp", "/sse"]), "{said}");
    // No body behind the answer to HEAD.
    let mut wire = http::connect(&gateway.at);
    wire.write_all(broken.replace("GET", "HEAD").as_bytes()).unwrap();
    let mut said = String::new();
    wire.read_to_string(&mut said).unwrap();
    assert!(said.starts_with("HTTP/1.1 400 ") && said.ends_with("\r\n\r\n"), "{said}");
}

#[test]
fn who_is_too_slow_is_cut_off() {
    let gateway = strict();
    // A head that does not end.
    let mut wire = http::connect(&gateway.at);
    wire.write_all(b"GET /ping HTTP/1.1\r\nHost: localh").unwrap();
    let answer = http::read_head(wire, false).unwrap().read();
    refused(&gateway, &answer, 408, "did not end within 300ms");
    // One that does not even begin, first or next: nobody asked, so nobody is answered.
    let mut wire = http::tcp(&gateway.at);
    assert_eq!(wire.read(&mut [0; 1]).unwrap(), 0);
    let mut wire = http::tcp(&gateway.at);
    wire.write_all(b"GET /ping HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut said = String::new();
    wire.read_to_string(&mut said).unwrap();
    assert_eq!((said.matches("HTTP/1.1").count(), said.ends_with("pong")), (1, true), "{said}");
    // A body that does not come.
    let fields = [AUTH, ("Content-Length", "100"), ("Content-Type", "application/json")];
    let answer = gateway.ask("POST /demo/mcp", &fields, "{");
    assert_eq!(answer.status, 408, "{answer:?}");
    assert!(answer.error().contains("nothing more of the body came within 300ms"), "{answer:?}");
    gateway.request_line(0, &[("status", json!(408)), ("path", json!("/demo/mcp"))]);
    // Who breaks off in the middle is logged all the same, or at least not waited for.
    let wire = http::tcp(&gateway.at);
    let text = http::request("POST /demo/mcp", "localhost", &fields, "{");
    (&wire).write_all(text.as_bytes()).unwrap();
    wire.shutdown(Shutdown::Both).unwrap();
    assert_eq!(gateway.get("/ping").status, 200);
}

#[test]
fn bodies_have_bounds() {
    let gateway = strict();
    let id = begin(&gateway);
    let long = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"x","params":{{"x":"{}"}}}}"#,
        "x".repeat(5000)
    );
    let session = [AUTH, ("Mcp-Session-Id", &*id)];
    let answer = gateway.post("/demo/mcp", &session, &long);
    refused(&gateway, &answer, 413, "4096");
    // The same in chunks, whose sum nobody has announced.
    let chunks = format!("{:x}\r\n{long}\r\n0\r\n\r\n", long.len());
    let fields = [AUTH, ("Mcp-Session-Id", &*id), ("Transfer-Encoding", "chunked")];
    let answer = gateway.post("/demo/mcp", &fields, &chunks);
    assert_eq!(answer.status, 413, "{answer:?}");
    let deep = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"x","params":{}{}}}"#,
        "[".repeat(30),
        "]".repeat(30)
    );
    let answer = gateway.post("/demo/mcp", &session, &deep);
    assert_eq!((answer.status, answer.code()), (400, -32600), "{answer:?}");
}

fn begin(gateway: &Gateway) -> String {
    let answer = gateway.post("/demo/mcp", &[AUTH], INITIALIZE);
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.field("mcp-session-id").unwrap().to_owned()
}

/// Each has the code that the specification names, and the id where there is one to be seen.
#[test]
fn what_is_no_message() {
    let gateway = strict();
    let id = begin(&gateway);
    let session = [AUTH, ("Mcp-Session-Id", &*id), ("MCP-Protocol-Version", "2025-06-18")];
    for (body, code, about) in [
        ("", -32700, Value::Null),
        ("{", -32700, Value::Null),
        ("{}", -32600, Value::Null),
        ("7", -32600, Value::Null),
        ("[]", -32600, Value::Null),
        (r#"{"jsonrpc":"2.0","id":7}"#, -32600, json!(7)),
        (r#"{"jsonrpc":"1.0","id":7,"method":"ping"}"#, -32600, json!(7)),
        (r#"{"id":7,"method":"ping"}"#, -32600, json!(7)),
        (r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, -32600, Value::Null),
        (r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#, -32600, Value::Null),
        (r#"{"jsonrpc":"2.0","id":{},"method":"ping"}"#, -32600, Value::Null),
        (r#"{"jsonrpc":"2.0","id":7,"id":8,"method":"ping"}"#, -32600, Value::Null),
        (r#"{"jsonrpc":"2.0","id":7,"method":7}"#, -32600, json!(7)),
        (r#"{"jsonrpc":"2.0","id":7,"method":"ping"} x"#, -32700, json!(7)),
        (
            r#"{"jsonrpc":"2.0","id":7,"result":{},"error":{"code":1,"message":""}}"#,
            -32600,
            json!(7),
        ),
    ] {
        let answer = gateway.post("/demo/mcp", &session, body);
        assert_eq!((answer.status, answer.code()), (400, code), "{body}: {answer:?}");
        let id = &answer.json()["id"];
        assert!(*id == about || id.is_null(), "{body}: {answer:?}");
        let (_, line) = gateway.request_line(0, &[("reason", json!(answer.error()))]);
        assert_eq!(line["status"], 400);
    }
    let mut wire = http::connect(&gateway.at);
    let head = http::request(
        "POST /demo/mcp",
        "localhost",
        &[session[0], session[1], ("Content-Length", "4")],
        "",
    );
    wire.write_all(head.as_bytes()).unwrap();
    wire.write_all(b"\"\xff\xfe\"").unwrap();
    let answer = http::read_head(wire, false).unwrap().read();
    assert_eq!((answer.status, answer.code()), (400, -32700), "{answer:?}");
}

/// Revision 2025-03-26 has batches, and no other.
#[test]
fn batches() {
    let gateway = strict();
    let older = INITIALIZE.replace("2025-06-18", "2025-03-26");
    let answer = gateway.post("/demo/mcp", &[AUTH], &older);
    let id = answer.field("mcp-session-id").unwrap().to_owned();
    let ping = |id| format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#);
    let told = r#"{"jsonrpc":"2.0","method":"notifications/roots/list_changed"}"#;
    let two = format!("[{},{told},{}]", ping(1), ping(2));
    let post = |version: &str, body: &str| {
        let fields = [AUTH, ("Mcp-Session-Id", &*id), ("MCP-Protocol-Version", version)];
        gateway.post("/demo/mcp", &fields, body)
    };
    let answer = post("2025-03-26", &two);
    assert_eq!(answer.status, 200, "{answer:?}");
    let mut ids: Vec<_> =
        answer.json().as_array().unwrap().iter().map(|it| it["id"].as_i64()).collect();
    ids.sort();
    assert_eq!(ids, [Some(1), Some(2)]);
    let answer = post("2025-03-26", &format!("[{told}]"));
    assert_eq!((answer.status, &*answer.body), (202, ""));
    refused(&gateway, &post("2025-06-18", &two), 400, "only revision 2025-03-26 has batches");
    refused(
        &gateway,
        &post("2025-03-26", &format!("[{INITIALIZE}]")),
        400,
        "may not be part of a batch",
    );
    let four = [1, 2, 3, 4].map(ping).join(",");
    let answer = post("2025-03-26", &format!("[{four}]"));
    assert_eq!((answer.status, answer.code()), (400, -32600), "{answer:?}");
}

#[test]
fn sessions_and_revisions() {
    let gateway = strict();
    let ping = r#"{"jsonrpc":"2.0","id":9,"method":"ping"}"#;
    refused(&gateway, &gateway.post("/demo/mcp", &[AUTH], ping), 400, "begin with `initialize`");
    let id = begin(&gateway);
    for unknown in ["00000000000000000000000000000000", "no such id", &"x".repeat(500)] {
        let fields = [AUTH, ("Mcp-Session-Id", unknown)];
        let answer = gateway.post("/demo/mcp", &fields, ping);
        refused(&gateway, &answer, 404, "no such session");
        assert_eq!(answer.json()["id"], 9);
        assert_eq!(gateway.ask("GET /demo/mcp", &fields, "").status, 404);
        assert_eq!(gateway.ask("DELETE /demo/mcp", &fields, "").status, 404);
    }
    // Another's session is not there at all.
    let bob = [("X-API-Key", "bobs-own-token-987"), ("Mcp-Session-Id", &*id)];
    refused(&gateway, &gateway.post("/demo/mcp", &bob, ping), 404, "no such session");
    for (version, status) in
        [("2024-11-05", 200), ("2025-11-25", 200), ("2026-07-28", 400), ("1.0", 400)]
    {
        let fields = [AUTH, ("Mcp-Session-Id", &*id), ("MCP-Protocol-Version", version)];
        let answer = gateway.post("/demo/mcp", &fields, ping);
        assert_eq!(answer.status, status, "{answer:?}");
        if status == 400 {
            let supported = &answer.json()["error"]["data"]["supported"];
            assert!(supported.as_array().unwrap().contains(&json!("2025-11-25")), "{answer:?}");
        }
    }
    let fields = [AUTH, ("Mcp-Session-Id", &*id)];
    assert_eq!(gateway.ask("DELETE /demo/mcp", &fields, "").status, 204);
    assert_eq!(gateway.post("/demo/mcp", &fields, ping).status, 404);

    let post = |path: &str| gateway.post(path, &[AUTH], ping);
    refused(&gateway, &post("/demo/message"), 400, "`endpoint` event");
    refused(&gateway, &post("/demo/message?sessionId=0123456789"), 404, "no such session");
    refused(&gateway, &post("/demo/sse"), 405, "only opens an event stream");
}

/// Newer clients ask this first, and wait for the answer; where there is none for them, they fall
/// back from what they are told.
#[test]
fn discovery_is_answered_at_once() {
    let gateway = Gateway::start(&demo());
    let version = r#""io.modelcontextprotocol/protocolVersion":"2026-07-28""#;
    let asking = |meta: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","id":"d","method":"server/discover","params":{{"_meta":{{{meta}}}}}}}"#
        )
    };
    let fields = [("MCP-Protocol-Version", "2026-07-28"), ("Mcp-Method", "server/discover")];
    let whole = format!(r#"{version},"io.modelcontextprotocol/clientCapabilities":{{}}"#);
    let answer = gateway.post("/demo/mcp", &fields, &asking(&whole));
    assert_eq!((answer.status, &answer.json()["id"]), (200, &json!("d")), "{answer:?}");
    let found = answer.json()["result"].clone();
    assert_eq!(found["supportedVersions"][0], "2026-07-28", "{found}");
    let answer = gateway.post("/demo/mcp", &fields, &asking(version));
    assert_eq!((answer.status, answer.code()), (400, -32602), "{answer:?}");
    assert!(answer.error().contains("clientCapabilities"), "{answer:?}");
    // A refusal of the gateway's says which routes there are; an error of the server's is as it
    // was, although its status is one that addresses have.
    assert!(answer.json()["error"]["data"]["routes"].is_array(), "{answer:?}");
    let fields = [fields[0], ("Mcp-Method", "no/such")];
    let unknown = asking(&whole).replace("server/discover", "no/such");
    let answer = gateway.post("/demo/mcp", &fields, &unknown);
    assert_eq!((answer.status, answer.code()), (404, -32601), "{answer:?}");
    assert!(answer.json()["error"]["data"].is_null(), "{answer:?}");
    // HTTP+SSE has a handshake, whoever asks.
    let mut stream = gateway.open("GET /demo/sse", &[], "");
    let endpoint = stream.data();
    assert_eq!(gateway.post(&endpoint, &[], &asking(&whole)).status, 202);
    let said: Value = serde_json::from_str(&stream.data()).unwrap();
    assert_eq!((&said["id"], &said["error"]["code"]), (&json!("d"), &json!(-32601)));
}

#[test]
fn what_a_client_accepts_it_gets() {
    let gateway = Gateway::start(&demo());
    let id = gateway.begin("/demo/mcp");
    let ask = |accept: Option<&str>, body: &str| {
        let mut fields = vec![("Content-Type", "application/json"), ("Mcp-Session-Id", &*id)];
        fields.extend(accept.map(|it| ("Accept", it)));
        gateway.ask("POST /demo/mcp", &fields, body)
    };
    let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    for (accept, status, kind) in [
        (None, 200, "application/json"),
        (Some("*/*"), 200, "application/json"),
        (Some("application/json"), 200, "application/json"),
        (Some("application/json, text/event-stream"), 200, "application/json"),
        (Some("text/event-stream"), 200, "text/event-stream"),
        (Some("text/html"), 406, "application/json"),
    ] {
        let answer = ask(accept, ping);
        assert_eq!(
            (answer.status, answer.field("content-type")),
            (status, Some(kind)),
            "{accept:?}"
        );
    }
    // Who takes JSON alone gets the answer without what leads up to it.
    let steps = r#"{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"progress","arguments":{"steps":2},"_meta":{"progressToken":1}}}"#;
    let answer = ask(Some("application/json"), steps);
    assert_eq!(answer.json()["result"]["content"][0]["text"], "2 steps done");
    let answer = ask(None, steps);
    assert_eq!(answer.field("content-type"), Some("text/event-stream"));
    assert_eq!(answer.body.matches("notifications/progress").count(), 2, "{answer:?}");

    let answer = gateway.ask("POST /demo/mcp", &[("Content-Type", "text/plain")], ping);
    assert_eq!((answer.status, answer.code()), (415, -32600));

    let mut config = demo();
    config["gateway"] = json!({ "accept": "strict" });
    let gateway = Gateway::start(&config);
    for (accept, status) in
        [("application/json", 406), ("*/*", 406), ("application/json, text/event-stream", 200)]
    {
        let fields = [("Content-Type", "application/json"), ("Accept", accept)];
        assert_eq!(gateway.ask("POST /demo/mcp", &fields, INITIALIZE).status, status, "{accept}");
    }
}

/// One line for each request, whatever came of it, and no secret in any of them.
#[test]
fn one_line_of_log_for_each_request() {
    let gateway = strict();
    let id = begin(&gateway);
    let session = [AUTH, ("Mcp-Session-Id", &*id)];
    let mut stream = gateway.open("GET /demo/sse", &[AUTH], "");
    let endpoint = stream.data();
    let (_, sse_id) = endpoint.split_once("sessionId=").unwrap();
    let requests = [
        ("GET", "/ping", gateway.ask("GET /ping", &[], ""), None),
        ("GET", "/nowhere", gateway.ask("GET /nowhere", &session, ""), None),
        (
            "POST",
            "/demo/mcp",
            gateway.post(
                "/demo/mcp",
                &[("Authorization", "Bearer wrong-secret-token-456")],
                INITIALIZE,
            ),
            None,
        ),
        (
            "POST",
            "/demo/mcp",
            gateway.post(
                "/demo/mcp",
                &session,
                r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#,
            ),
            Some("tools/list"),
        ),
        ("POST", "/demo/message", gateway.post(&endpoint, &[AUTH], INITIALIZE), Some("initialize")),
        ("DELETE", "/demo/mcp", gateway.ask("DELETE /demo/mcp", &session, ""), None),
    ];
    let mut from = 0;
    for (method, path, answer, rpc) in &requests {
        let wanted = [
            ("method", json!(method)),
            ("path", json!(path)),
            ("status", json!(answer.status)),
            ("rpc", json!(rpc)),
        ];
        let (at, line) = gateway.request_line(from, &wanted);
        from = at + 1;
        let on_server = path.starts_with("/demo");
        assert_eq!(line["server"], if on_server { json!("demo") } else { Value::Null }, "{line}");
        assert_eq!(line["reason"].is_string(), 400 <= answer.status, "{line}");
        assert_eq!(
            line["caller"],
            if on_server && answer.status < 400 { json!("ann") } else { Value::Null }
        );
        if let Some(short) = line["session"].as_str() {
            assert!(short.len() < 10 && (id.ends_with(short) || sse_id.ends_with(short)), "{line}");
        }
    }
    let ended = gateway.end();
    let lines: Vec<_> =
        ended.err.lines().filter(|line| line.contains(r#""message":"request""#)).collect();
    assert_eq!(lines.len(), requests.len() + 2, "{lines:#?}");
    for secret in [TOKEN, "wrong-secret-token-456", &id, sse_id] {
        assert!(!ended.err.contains(secret), "{secret} is in the log");
    }
}

/// The transports' own refusals say where to go, too.
#[test]
fn refusals_in_json_rpc_name_the_routes() {
    let mut config = demo();
    let other = config["mcpServers"]["demo"].clone();
    config["mcpServers"]["other"] = other.clone();
    config["mcpServers"]["other"]["tokens"] = json!(["ann", "bob"]);
    config["mcpServers"]["secret"] = other;
    config["mcpServers"]["secret"]["tokens"] = json!(["bob"]);
    config["gateway"] = json!({ "tokens": { "ann": TOKEN, "bob": "bobs-own-token-987" } });
    let gateway = Gateway::start(&config);
    let ping = r#"{"jsonrpc":"2.0","id":9,"method":"ping"}"#;
    let unknown = "0123456789";
    for (line, session, status, route) in [
        ("POST /demo/mcp", None, 400, "/demo/mcp"),
        ("POST /demo/mcp", Some(unknown), 404, "/demo/mcp"),
        ("PUT /demo/mcp", None, 405, "/demo/mcp"),
        ("POST /demo/sse", None, 405, "/demo/mcp"),
        ("POST /other/message", None, 400, "/other/sse"),
        ("POST /demo/message?sessionId=0123456789", None, 404, "/demo/sse"),
        ("GET /demo/message", None, 405, "/demo/sse"),
    ] {
        let mut fields = vec![AUTH, ("Content-Type", "application/json")];
        fields.extend(session.map(|id| ("Mcp-Session-Id", id)));
        let answer = gateway.ask(line, &fields, if line.starts_with("POST") { ping } else { "" });
        assert_eq!(answer.status, status, "{line}: {answer:?}");
        let data = &answer.json()["error"]["data"];
        assert_eq!(data["route"], route, "{line}: {answer:?}");
        let mine = json!(["/demo/mcp", "/demo/sse", "/other/mcp", "/other/sse", "/mcp", "/sse"]);
        assert_eq!(data["routes"], mine, "{line}: {answer:?}");
    }
}
