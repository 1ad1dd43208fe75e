//! Paths: what leads where, who may go there, and what somebody hears who went wrong.

use std::io::{BufRead, BufReader, Read, Write};

use serde_json::{Value, json};

use crate::{
    http::tcp,
    rig::{Gateway, INITIALIZE, demo, folder, servers},
    scripts,
};

const ANN: &str = "ann-token-0123456789";
const BOB: &str = "bob-token-0123456789";

/// `ann` opens everything that is not for others, `bob` only `b`; `open` is everybody's.
fn guarded() -> Gateway {
    let demo = |more: Value| {
        let mut entry = json!({ "type": "demo" });
        entry.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        entry
    };
    let config = json!({
        "gateway": {
            "tokens": { "ann": ANN, "bob": { "secret": BOB, "servers": ["b"] } },
            "allowedOrigins": ["https://app.example"],
        },
        "mcpServers": {
            "postgres": demo(json!({})),
            "b": demo(json!({ "tokens": ["bob"] })),
            "open": demo(json!({ "tokens": "open" })),
        },
    });
    Gateway::start(&config)
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

#[test]
fn every_spelling_of_a_route_is_answered_itself() {
    let gateway = Gateway::start(&demo());
    let id = gateway.begin("/demo/mcp");
    for path in
        ["/demo/mcp", "/demo/mcp/", "/demo/stream", "/servers/demo/mcp", "/servers/demo/stream/"]
    {
        let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
        let answer = gateway.post(path, &[("Mcp-Session-Id", &id)], ping);
        assert_eq!(
            (answer.status, &*answer.body),
            (200, r#"{"jsonrpc":"2.0","id":1,"result":{}}"#),
            "{path}"
        );
    }
    for path in ["/demo/sse", "/demo/sse/", "/servers/demo/sse"] {
        let mut stream = gateway.open(&format!("GET {path}"), &[], "");
        assert_eq!(stream.status, 200, "{path}");
        let endpoint = stream.data();
        let (at, query) = endpoint.split_once('?').unwrap();
        assert_eq!(at, "/demo/message", "a path, whatever the client calls us");
        let (_, id) = query.split_once('=').unwrap();
        for post in [
            format!("/demo/message?sessionId={id}"),
            format!("/demo/messages/?session_id={id}"),
            format!("/servers/demo/messages?sessionId={id}"),
        ] {
            let answer = gateway.post(&post, &[], r#"{"jsonrpc":"2.0","id":5,"method":"ping"}"#);
            assert_eq!((answer.status, &*answer.body), (202, ""), "{post}");
            assert_eq!(stream.data(), r#"{"jsonrpc":"2.0","id":5,"result":{}}"#, "{post}");
        }
    }
}

#[test]
fn below_a_path_of_its_own() {
    let mut config = demo();
    config["gateway"] = json!({ "basePath": "/tools" });
    let gateway = Gateway::start(&config);
    gateway.begin("/tools/demo/mcp");
    let mut stream = gateway.open("GET /tools/demo/sse", &[], "");
    let endpoint = stream.data();
    assert!(endpoint.starts_with("/tools/demo/message?sessionId="), "{endpoint}");
    assert_eq!(gateway.get("/tools/ping").body, "pong");
    let lost = gateway.get("/tools/demo/nowhere").json();
    let routes = json!(["/tools/demo/mcp", "/tools/demo/sse", "/tools/mcp", "/tools/sse"]);
    assert_eq!(lost["routes"], routes);
    assert_eq!(lost["nearest"], "/tools/demo/mcp");
}

/// Behind a proxy, for clients that cannot resolve a relative address.
#[test]
fn an_absolute_endpoint() {
    let mut config = demo();
    let public = "https://mcp.example/tools";
    config["gateway"] = json!({ "publicUrl": public, "endpointStyle": "absolute" });
    let gateway = Gateway::start(&config);
    let mut stream = gateway.open("GET /tools/demo/sse", &[("Host", "mcp.example")], "");
    let endpoint = stream.data();
    assert!(
        endpoint.starts_with("https://mcp.example/tools/demo/message?sessionId="),
        "{endpoint}"
    );
}

#[test]
fn head_and_options_open_nothing() {
    let gateway = Gateway::start(&demo());
    let id = gateway.begin("/demo/mcp");
    for (path, fields) in [("/demo/sse", &[][..]), ("/demo/mcp", &[("Mcp-Session-Id", &*id)][..])] {
        let head = gateway.ask(&format!("HEAD {path}"), fields, "");
        assert_eq!((head.status, &*head.body), (200, ""), "{path}");
        assert_eq!(head.field("content-type"), Some("text/event-stream"), "{path}");
    }
    for path in ["/", "/ping", "/healthz", "/readyz", "/status"] {
        let (head, get) = (gateway.ask(&format!("HEAD {path}"), &[], ""), gateway.get(path));
        assert_eq!((head.status, &*head.body), (get.status, ""), "{path}");
        assert_eq!(head.field("content-type"), get.field("content-type"), "{path}");
    }
    for (path, allow) in [
        ("/demo/mcp", "GET, POST, DELETE, HEAD, OPTIONS"),
        ("/demo/sse", "GET, HEAD, OPTIONS"),
        ("/demo/message", "POST, OPTIONS"),
        ("/status", "GET, HEAD, OPTIONS"),
    ] {
        let answer = gateway.ask(&format!("OPTIONS {path}"), &[], "");
        assert_eq!((answer.status, answer.field("allow")), (204, Some(allow)), "{path}");
        let refused = gateway.ask(&format!("PATCH {path}"), &[], "");
        assert_eq!((refused.status, refused.field("allow")), (405, Some(allow)), "{path}");
        assert!(!refused.error().is_empty());
    }
    let overview = gateway.get("/status").json();
    assert_eq!(overview["servers"][0]["sessions"], 1, "{overview}");
}

/// A page hears an answer if its origin was configured, and none otherwise.
#[test]
fn pages_of_configured_origins_and_no_others() {
    let gateway = guarded();
    let asks = [
        ("Access-Control-Request-Method", "POST"),
        (
            "Access-Control-Request-Headers",
            "authorization, mcp-session-id, Mcp-Param-Region, cookie",
        ),
    ];
    let with = |origin| [asks[0], asks[1], ("Origin", origin)];
    let preflight = gateway.ask("OPTIONS /postgres/mcp", &with("https://app.example"), "");
    assert_eq!(preflight.status, 204, "{preflight:?}");
    assert_eq!(preflight.field("access-control-allow-origin"), Some("https://app.example"));
    assert!(preflight.field("access-control-allow-methods").unwrap().contains("DELETE"));
    let allowed = preflight.field("access-control-allow-headers").unwrap();
    for name in [
        "authorization",
        "mcp-session-id",
        "mcp-protocol-version",
        "last-event-id",
        "mcp-param-region",
    ] {
        assert!(allowed.contains(name), "{name}");
    }
    assert!(!allowed.contains("cookie"), "{allowed}");

    let token = bearer(ANN);
    let fields = [("Origin", "https://app.example"), ("Authorization", &token)];
    let answer = gateway.post("/postgres/mcp", &fields, INITIALIZE);
    assert_eq!(answer.status, 200);
    assert_eq!(answer.field("access-control-allow-origin"), Some("https://app.example"));
    assert!(answer.field("access-control-expose-headers").unwrap().contains("mcp-session-id"));
    assert_eq!(answer.field("vary"), Some("Origin"));
    // It may also read why it was refused.
    let answer = gateway.post("/postgres/mcp", &fields[..1], INITIALIZE);
    assert_eq!(
        (answer.status, answer.field("access-control-allow-origin")),
        (401, Some("https://app.example"))
    );

    for origin in
        ["https://evil.example", "http://app.example", "https://app.example.evil.example", "null"]
    {
        for answer in [
            gateway.ask("OPTIONS /postgres/mcp", &with(origin), ""),
            gateway.post(
                "/postgres/mcp",
                &[("Origin", origin), ("Authorization", &token)],
                INITIALIZE,
            ),
            gateway.ask("GET /ping", &[("Origin", origin)], ""),
        ] {
            assert_eq!(
                (answer.status, answer.field("access-control-allow-origin")),
                (403, None),
                "{origin}"
            );
            assert!(answer.error().contains("may not use this gateway"), "{answer:?}");
        }
    }
}

#[test]
fn who_went_wrong_is_shown_the_way() {
    let gateway = Gateway::start(&servers(json!({
        "postgres": { "type": "demo" }, "fetch": { "type": "demo" },
    })));
    for (path, what, nearest) in [
        ("/postgers/sse", "there is no server `postgers`", json!("/postgres/sse")),
        ("/Fetch/mcp", "there is no server `Fetch`", json!("/fetch/mcp")),
        ("/postgres", "there is nothing at `/postgres`", json!("/postgres/mcp")),
        ("/servers/fetch/", "there is nothing at `/servers/fetch/`", json!("/fetch/mcp")),
        ("/g/dev/mcp", "there is no group `dev`", Value::Null),
        ("/quite/else", "there is nothing at `/quite/else`", Value::Null),
    ] {
        for line in ["GET", "POST", "DELETE"] {
            let answer = gateway.ask(&format!("{line} {path}"), &[], "");
            assert_eq!((answer.status, answer.error()), (404, what.to_owned()));
            let body = answer.json();
            assert_eq!(body["nearest"], nearest, "{path}");
            assert!(body["expected"].as_str().unwrap().contains("/NAME/mcp"), "{body}");
            let servers = ["/fetch/mcp", "/fetch/sse", "/postgres/mcp", "/postgres/sse"];
            let routes = json!([&servers[..], &["/mcp", "/sse"]].concat());
            assert_eq!(body["routes"], routes, "{path}");
        }
    }
}

/// A switched-off server is not served, and says that it is switched off.
#[test]
fn a_disabled_server() {
    let demo = json!({ "type": "demo" });
    let off = json!({ "type": "demo", "disabled": true });
    let gateway = Gateway::start(&servers(json!({ "on": demo, "off": off })));
    let answer = gateway.post("/off/mcp", &[], INITIALIZE);
    assert!(matches!(answer.status, 404 | 503), "{answer:?}");
    assert!(answer.error().contains("off"), "{answer:?}");
}

#[test]
fn tokens_open_what_they_are_for() {
    let gateway = guarded();
    let (ann, bob) = (bearer(ANN), bearer(BOB));
    let raw = [("Authorization", ANN)];
    let basic = [("Authorization", "Basic YW5uOmFubg==")];
    let both = [("Authorization", &*ann), ("Authorization", &*bob)];
    let shouted = ann.replace("Bearer", "BEARER");
    let unknown = bearer("nobody-0123456789");
    for (path, fields, status, challenge) in [
        ("/postgres/mcp", &[][..], 401, Some(r#"Bearer realm="mcp-gateway""#)),
        ("/postgres/mcp", &[("Authorization", &*ann)], 200, None),
        ("/postgres/mcp", &[("Authorization", &*shouted)], 200, None),
        ("/postgres/mcp", &[("X-API-Key", ANN)], 200, None),
        (
            "/postgres/mcp",
            &[("Authorization", &*unknown)],
            401,
            Some(r#"Bearer realm="mcp-gateway", error="invalid_token""#),
        ),
        (
            "/postgres/mcp",
            &raw,
            401,
            Some(r#"Bearer realm="mcp-gateway", error="invalid_request""#),
        ),
        (
            "/postgres/mcp",
            &basic,
            401,
            Some(r#"Bearer realm="mcp-gateway", error="invalid_request""#),
        ),
        (
            "/postgres/mcp",
            &both,
            401,
            Some(r#"Bearer realm="mcp-gateway", error="invalid_request""#),
        ),
        (
            "/postgres/mcp",
            &[("Authorization", &*bob)],
            403,
            Some(r#"Bearer realm="mcp-gateway", error="insufficient_scope""#),
        ),
        ("/b/mcp", &[("Authorization", &*bob)], 200, None),
        (
            "/b/mcp",
            &[("Authorization", &*ann)],
            403,
            Some(r#"Bearer realm="mcp-gateway", error="insufficient_scope""#),
        ),
        ("/open/mcp", &[], 200, None),
        ("/open/mcp", &[("Authorization", &*unknown)], 200, None),
    ] {
        let answer = gateway.post(path, fields, INITIALIZE);
        assert_eq!(
            (answer.status, answer.field("www-authenticate")),
            (status, challenge),
            "{path} {fields:?}"
        );
        if status != 200 {
            let said = answer.body.clone() + &answer.error();
            assert!(!said.contains("0123456789"), "a token in {said}");
        }
    }
    let stream = gateway.ask("GET /postgres/sse", &[], "");
    assert_eq!(stream.status, 401);
    assert!(stream.error().contains("Authorization: Bearer TOKEN"), "{stream:?}");
}

/// What a caller may not use it does not hear of, nor strangers of anything.
#[test]
fn everybody_sees_what_they_may_use() {
    let gateway = guarded();
    let seen = |path: &str, fields: &[(&str, &str)]| {
        let answer = gateway.ask(&format!("GET {path}"), fields, "");
        let routes = answer.json()["routes"].clone();
        let servers = answer.json()["servers"].clone();
        let names = servers.as_array().map(|it| it.iter().map(|it| it["name"].clone()).collect());
        (answer.status, if path == "/nowhere" { routes } else { names.unwrap_or(Value::Null) })
    };
    let (ann, bob) = (bearer(ANN), bearer(BOB));
    let (ann, bob) = ([("Authorization", &*ann)], [("Authorization", &*bob)]);
    assert_eq!(seen("/nowhere", &[]), (404, json!(["/open/mcp", "/open/sse"])));
    assert_eq!(
        seen("/nowhere", &bob),
        (404, json!(["/b/mcp", "/b/sse", "/open/mcp", "/open/sse", "/mcp", "/sse"]))
    );
    assert_eq!(seen("/status", &ann), (200, json!(["open", "postgres"])));
    assert_eq!(seen("/status", &bob), (200, json!(["b", "open"])));
    assert_eq!(seen("/", &[]), (200, json!(["open"])));
    assert_eq!(seen("/status", &[]).0, 401);

    // Where nothing is open, a stranger is asked for a token before being told what there is.
    let mut config = demo();
    config["gateway"] = json!({ "tokens": { "ann": ANN } });
    let gateway = Gateway::start(&config);
    for path in ["/nowhere", "/demoo/sse", "/demo"] {
        let answer = gateway.get(path);
        assert_eq!(answer.status, 401, "{path}");
        assert!(answer.field("www-authenticate").is_some() && !answer.body.contains("/demo/"));
    }
}

/// What TBXark's clients have written down: the token alone, in a file of its own dialect.
#[test]
fn a_raw_token_in_compat_mode() {
    let config = json!({
        "mcpProxy": { "baseURL": "http://127.0.0.1:9090", "addr": ":9090", "name": "p", "version": "1",
            "options": { "authTokens": [ANN] } },
        "mcpServers": { "echo": scripts::says_pid() },
    });
    let gateway = Gateway::start_in(folder(), &config, &["--listen", "127.0.0.1:0"]);
    let stream = gateway.open("GET /echo/sse", &[("Authorization", ANN)], "");
    assert_eq!(stream.status, 200, "{stream:?}");
}

#[test]
fn the_pages_about_the_gateway_itself() {
    let gateway = Gateway::start(&demo());
    let ping = gateway.get("/ping");
    assert_eq!((ping.status, &*ping.body), (200, "pong"));
    let health = gateway.get("/healthz").json();
    assert_eq!((&health["status"], &health["serverCount"]), (&json!("ok"), &json!(1)));
    gateway.status("demo", |it| it["state"] == "ready");
    let ready = gateway.get("/readyz");
    assert_eq!((ready.status, &ready.json()["status"]), (200, &json!("ok")));

    let page = gateway.ask("GET /", &[("Accept", "text/html,*/*;q=0.8")], "");
    assert_eq!(page.field("content-type"), Some("text/html; charset=utf-8"));
    assert!(page.body.contains("<code>/demo/mcp</code>"), "{}", page.body);
    let status = gateway.get("/status").json();
    assert_eq!(gateway.get("/").json()["servers"], status["servers"]);
    let server = &status["servers"][0];
    assert_eq!(server["routes"], json!(["/demo/mcp", "/demo/sse"]));
    assert_eq!(server["transport"], "demo");
    assert!(server["serverInfo"].as_str().unwrap().starts_with("demo-server "), "{server}");
}

/// Ready is whoever can serve: not while a server starts, nor while one has failed.
#[test]
fn readiness_follows_the_servers() {
    let gateway = Gateway::start(&servers(json!({
        "slow": { "command": "sh", "args": ["-c", "while read -r line; do :; done"] },
    })));
    let ready = gateway.get("/readyz");
    assert_eq!((ready.status, &ready.json()["status"]), (503, &json!("initializing")), "{ready:?}");

    let gateway = Gateway::start(&servers(json!({
        "bad": { "command": "no-such-program" },
        "lazy": { "command": "no-such-program", "startup": "lazy" },
        "demo": { "type": "demo" },
    })));
    gateway.status("bad", |it| it["state"] != "starting" && it["state"] != "idle");
    gateway.status("demo", |it| it["state"] == "ready");
    let ready = gateway.get("/readyz");
    assert_eq!((ready.status, &ready.json()["status"]), (503, &json!("degraded")), "{ready:?}");
    assert_eq!(ready.json()["unhealthy"], json!(["bad"]));
    assert_eq!(gateway.get("/healthz").status, 200);
}

/// Clients that can send no header have their token in the path: it gets into no line of log.
#[test]
fn a_token_in_a_path_is_not_logged() {
    let hidden = format!("a/{ANN}");
    let with_more = format!("b/key-{BOB}");
    let config = json!({
        "mcpProxy": { "baseURL": "http://127.0.0.1:9090", "addr": ":9090", "name": "p", "version": "1",
            "options": { "authTokens": [ANN, BOB] } },
        "mcpServers": {
            (hidden.clone()): { "type": "demo" },
            (with_more.clone()): { "type": "demo" },
        },
    });
    let gateway =
        Gateway::start_in(folder(), &config, &["--listen", "127.0.0.1:0", "--log-level", "trace"]);
    let key = ("X-API-Key", ANN);
    for name in [&hidden, &with_more] {
        let path = format!("/{name}/mcp");
        let answer = gateway.post(&path, &[key], INITIALIZE);
        let id = answer.field("mcp-session-id").unwrap();
        let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
        assert_eq!(gateway.post(&path, &[key, ("Mcp-Session-Id", id)], ping).status, 200);
        assert_eq!(gateway.post(&path, &[key], ping).status, 400);
    }
    let shown = [("path", json!("/a/***/mcp")), ("server", json!("a/***")), ("status", json!(200))];
    gateway.request_line(0, &shown);
    gateway.request_line(0, &[("path", json!("/b/***/mcp")), ("server", json!("b/***"))]);
    assert_eq!(gateway.ask(&format!("GET /c/{ANN}/mcp"), &[key], "").status, 404);
    gateway.request_line(0, &[("path", json!("/c/***/mcp")), ("status", json!(404))]);
    assert_eq!(gateway.ask(&format!("GET /{BOB}"), &[key], "").status, 404);
    gateway.request_line(0, &[("path", json!("/***")), ("status", json!(404))]);
    let foreign = gateway.ask(&format!("GET /{ANN}"), &[("Host", "evil.example")], "");
    assert_eq!(foreign.status, 421);
    gateway.request_line(0, &[("path", json!("/***")), ("status", json!(421))]);
    for line in gateway.process.log() {
        assert!(!line.contains(ANN) && !line.contains(BOB), "{line}");
    }
}

#[test]
fn who_is_refused_before_the_body_is_read_is_told_so() {
    let gateway = guarded();
    let mut stream = tcp(&gateway.at);
    let post = |more: &str, len: usize| {
        format!(
            "POST /postgres/mcp HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n\
             {more}Content-Length: {len}\r\n\r\n",
            gateway.at
        )
    };
    let mut refused = |head: String, body: &[u8]| {
        stream.write_all(head.as_bytes()).unwrap();
        // A client that is cut off while it writes does not come to read.
        stream.write_all(body).unwrap();
        let mut reader = BufReader::new(&stream);
        let (mut said, mut line) = (String::new(), String::new());
        while reader.read_line(&mut line).unwrap() > 2 {
            said += &std::mem::take(&mut line).to_ascii_lowercase();
        }
        let len = said.lines().find_map(|it| it.strip_prefix("content-length: ")).unwrap();
        let mut words = vec![0; len.parse().unwrap()];
        reader.read_exact(&mut words).unwrap();
        assert!(said.starts_with("http/1.1 401"), "{said}");
        said.contains("connection: close")
    };
    for _ in 0..3 {
        assert!(!refused(post("", 100_000), &[b' '; 100_000]), "the connection goes on");
    }
    assert!(refused(post("Expect: 100-continue\r\n", 1000), b""), "nobody asked for its body");
}
