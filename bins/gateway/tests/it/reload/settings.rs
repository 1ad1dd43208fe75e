//! The gateway's own settings: tokens, bounds, the log, certificates.

use std::{fs, path::Path};

use serde_json::{Value, json};

use super::{Changing, changes, with_control};
use crate::{
    client::{Client, Front},
    http,
    process::until,
    rig::{self, INITIALIZE, demo_child, folder, run, servers},
    wires,
};

#[test]
fn a_token_is_good_as_long_as_it_is_there() {
    let config = |tokens: Value| {
        let mut config = rig::demo();
        config["gateway"] = json!({ "tokens": tokens });
        config
    };
    let (ann, bob) = ("ann-has-this-token", "bob-has-this-token");
    let gateway = Changing::start(&config(json!({ "ann": ann, "bob": bob })));
    let it = &gateway.gateway;
    let bearer = |token: &str| format!("Bearer {token}");
    let begin = |token: &str| {
        let answer = it.post("/demo/mcp", &[("Authorization", &bearer(token))], INITIALIZE);
        (answer.status, answer.field("mcp-session-id").map(str::to_owned))
    };
    let call = |token: &str, session: &str| {
        let fields = [("Authorization", &*bearer(token)), ("Mcp-Session-Id", session)];
        let body = rig::call(1, "echo", &json!({ "message": "x" }));
        it.post("/demo/mcp", &fields, &body).status
    };
    let listen = |token: &str, session: &str| {
        let fields = [
            ("Authorization", &*bearer(token)),
            ("Mcp-Session-Id", session),
            ("Accept", "text/event-stream"),
        ];
        let open = it.open("GET /demo/mcp", &fields, "");
        assert_eq!(open.status, 200);
        open
    };
    let (_, of_ann) = begin(ann);
    let (_, of_bob) = begin(bob);
    let (of_ann, of_bob) = (of_ann.unwrap(), of_bob.unwrap());
    let (streamed, kept) = (listen(ann, &of_ann), listen(bob, &of_bob));
    let sse = it.open("GET /demo/sse", &[("Authorization", &bearer(ann))], "");
    let slow = rig::call(7, "sleep", &json!({ "ms": 3_000_000 }));
    let fields = [("Authorization", &*bearer(ann)), ("Mcp-Session-Id", &*of_ann)];
    let mut wire = http::connect(&it.at);
    let mut text = vec![("Content-Type", "application/json"), ("Accept", "application/json")];
    text.extend(fields);
    wire.write_all(http::request("POST /demo/mcp", &it.at, &text, &slow).as_bytes()).unwrap();
    it.process.logged("nothing", |_| Some(()));

    // One comes.
    let cid = "cid-has-this-token";
    let report = gateway.change(&config(json!({ "ann": ann, "bob": bob, "cid": cid })));
    assert_eq!(report["settings"], json!(["gateway.tokens.cid: added"]));
    assert_eq!(begin(cid).0, 200);
    assert_eq!((call(ann, &of_ann), call(bob, &of_bob)), (200, 200));

    // One goes: at once, and with it all that was opened with it.
    let report = gateway.change(&config(json!({ "bob": bob, "cid": cid })));
    assert_eq!(report["settings"], json!(["gateway.tokens.ann: removed"]));
    assert_eq!((begin(ann).0, call(ann, &of_ann)), (401, 401));
    streamed.read();
    sse.read();
    let refused = http::read_head(wire, false).unwrap().read();
    assert!(refused.body.contains("cancelled"), "{refused:?}");
    assert_eq!(call(bob, &of_bob), 200);

    // One is another under the same name: the stream ends, the session goes on.
    let new = "bob-has-another-token";
    let report = gateway.change(&config(json!({ "bob": new, "cid": cid })));
    assert_eq!(report["settings"], json!(["gateway.tokens.bob: another secret"]));
    kept.read();
    assert_eq!((call(bob, &of_bob), call(new, &of_bob)), (401, 200));
    drop(listen(new, &of_bob));
    // Never a secret in what is said of it.
    let log = it.process.log().join("\n");
    for secret in [ann, bob, cid, new] {
        assert!(!log.contains(secret) && !report.to_string().contains(secret));
    }
}

/// What concerns clients alone is no reason to restart anything.
#[test]
fn what_concerns_clients_alone_restarts_nothing() {
    let dir = folder();
    let child = demo_child(dir.path());
    let gateway = Changing::start_in(dir, &servers(json!({ "it": child })));
    let it = &gateway.gateway;
    let mut clients = [Front::Streamable, Front::Sse].map(|front| Client::begin(it, front, "it"));
    let pids = gateway.pids("it");
    let mut entry = child;
    entry["tools"] = json!({ "allow": ["echo"] });
    entry["requestTimeout"] = json!("5m");
    let mut config = servers(json!({ "it": entry }));
    config["gateway"] = json!({
        "allowedOrigins": ["https://app.example"],
        "limits": { "bodyLenMax": "1KiB" },
        "log": { "level": "debug", "format": "text" },
        "name": "renamed",
        "listen": "127.0.0.1:1",
        "basePath": "/elsewhere",
    });
    let report = gateway.change(&config);
    assert_eq!(changes(&report), [("it", "adjusted")]);
    assert_eq!(report["needsRestart"], json!(["gateway.basePath"]), "{report}");
    let settings = report["settings"].to_string();
    for key in ["allowedOrigins", "limits.bodyLenMax", "log.level", "name"] {
        assert!(settings.contains(&format!("gateway.{key}")), "{key} is not in {settings}");
    }
    for client in &mut clients {
        client.told("notifications/tools/list_changed");
        let tools = client.ask("tools/list", json!({}))["result"]["tools"].clone();
        assert_eq!(tools.as_array().unwrap().len(), 1, "{tools}");
        assert_eq!(client.call("echo", json!({ "message": "on" })), "on");
    }
    assert_eq!(gateway.pids("it"), pids);
    let long = rig::call(1, "echo", &json!({ "message": "x".repeat(2000) }));
    assert_eq!(it.post("/it/mcp", &[], &long).status, 413);
    let origin = [("Origin", "https://app.example")];
    assert_eq!(it.ask("GET /healthz", &origin, "").json()["name"], "renamed");
    gateway.logged(0, "needs a restart");
}

/// Connections that come later are shown the certificate that is there then.
#[test]
fn a_certificate_is_exchanged() {
    let dir = folder();
    let at = dir.path().to_owned();
    let put = |cert: &str, key: &str| {
        fs::copy(rig::certificate(cert), at.join("cert.pem")).unwrap();
        fs::copy(rig::certificate(key), at.join("key.pem")).unwrap();
    };
    put("server.pem", "server.key");
    let mut config = rig::demo();
    config["gateway"] = json!({ "tls": { "cert": "cert.pem", "key": "key.pem" } });
    let gateway = Changing::start_in(dir, &config);
    let report = gateway.change(&config);
    assert_eq!(report["outcome"], "unchanged");
    // A key that is not the certificate's: refused, and the pair before stays.
    fs::write(at.join("key.pem"), "nonsense").unwrap();
    let (ended, report) = gateway.reload();
    assert!(ended.code == Some(2) && report["problems"][0].as_str().unwrap().contains("key.pem"));
    put("server.pem", "server.key");
    let to = &gateway.gateway.at;
    let (mut before, count) = wires::shown(to);
    assert_eq!(count, 1);
    fs::write(at.join("cert.pem"), chain(&at)).unwrap();
    let (ended, report) = gateway.reload();
    assert_eq!(ended.code, Some(0));
    assert_eq!(report["settings"], json!(["gateway.tls: another certificate is shown"]));
    let (after, count) = wires::shown(to);
    assert_eq!(count, 2);
    // Who was there before goes on.
    before.write_all(http::request("GET /ping", to, &[], "").as_bytes()).unwrap();
    assert_eq!(http::read_head(before, false).unwrap().read().body, "pong");
    drop(after);
}

/// The same certificate, and that of whoever signed it.
fn chain(at: &Path) -> String {
    let read = |path: &Path| fs::read_to_string(path).unwrap();
    format!("{}\n{}", read(&at.join("cert.pem")), read(&rig::certificate("ca.pem")))
}

/// How long an id is good for, and which keys there are, holds from the next reload on.
#[test]
fn ids_get_as_old_as_the_file_says_now() {
    let (state, dir) = (folder(), folder());
    let at = |age: &str| {
        let mut config = servers(json!({ "demo": { "type": "demo" } }));
        let timeouts = json!({ "sessionMaxAge": age, "sessionIdle": "1s" });
        config["gateway"] = json!({ "timeouts": timeouts });
        config
    };
    let (file, socket) = (dir.path().join("gateway.json"), dir.path().join("control.sock"));
    let kept = ["--listen", "127.0.0.1:0", "--state-dir", state.path().to_str().unwrap()];
    let gateway = rig::Gateway::start_in(dir, &with_control(&at("1h")), &kept);
    let changing = Changing { gateway, file, socket: socket.to_str().unwrap().to_owned() };
    let gateway = &changing.gateway;
    let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    let status = |id: &str| gateway.post("/demo/mcp", &[("Mcp-Session-Id", id)], ping).status;
    let id = gateway.begin("/demo/mcp");
    gateway.status("demo", |it| it["sessions"] == 0);
    assert_eq!(status(&id), 200);
    gateway.status("demo", |it| it["sessions"] == 0);
    let report = changing.change(&at("1s"));
    assert_eq!(report["needsRestart"].as_array().map_or(0, Vec::len), 0, "{report}");
    assert_eq!(status(&id), 404, "it is older than a second by now");

    // Keys that were revoked meanwhile are forgotten at once, and not within a minute.
    changing.change(&at("1h"));
    assert_eq!(status(&id), 200);
    gateway.status("demo", |it| it["sessions"] == 0);
    let dir = state.path().to_str().unwrap();
    let rotated = run(&["key", "rotate", "--revoke", "--state-dir", dir]);
    assert_eq!(rotated.code, Some(0), "{rotated:?}");
    changing.change(&at("2h"));
    until("the keys to be read", || {
        gateway.status("demo", |it| it["sessions"] == 0);
        (status(&id) == 404).then_some(())
    });
    let id = gateway.begin("/demo/mcp");
    gateway.status("demo", |it| it["sessions"] == 0);
    assert_eq!(status(&id), 200);
}
