//! A gateway that is killed, or told to end, and comes back: its clients go on.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    client::{Client, Front},
    http::Answer,
    process::{Ended, Process},
    rig::{Gateway, INITIALIZE, call, command, demo, demo_child, folder, run, servers},
};

const PING: &str = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;

/// Starts a gateway at this address, with this state directory.
#[track_caller]
pub(crate) fn start(config: &Value, at: &str, state: &Path) -> Gateway {
    let state = state.to_str().unwrap();
    Gateway::start_in(folder(), config, &["--listen", at, "--state-dir", state])
}

/// Ends it by a signal, and starts it again at the same port.
#[track_caller]
pub(crate) fn again(gateway: Gateway, signal: Signal, config: &Value, state: &Path) -> Gateway {
    let at = gateway.at.clone();
    gateway.process.signal(signal);
    gateway.process.end();
    start(config, &at, state)
}

/// What a request of this session is answered with, with these fields besides.
#[track_caller]
fn ping(gateway: &Gateway, path: &str, id: &str, fields: &[(&str, &str)]) -> Answer {
    let mut all = vec![("Mcp-Session-Id", id)];
    all.extend(fields);
    gateway.post(path, &all, PING)
}

/// A server in the gateway, a child, and HTTP servers of either kind, each with one feature that
/// a new session behind has to be told of.
#[test]
fn clients_go_on_with_the_sessions_they_have() {
    for signal in [Signal::KILL, Signal::TERM] {
        let (state, dir, far) = (folder(), folder(), Gateway::start(&demo()));
        let config = servers(json!({
            "demo": { "type": "demo" },
            "child": demo_child(dir.path()),
            "far": { "url": far.url("/demo/mcp") },
            "old": { "url": far.url("/demo/sse") },
        }));
        let mut gateway = start(&config, "127.0.0.1:0", state.path());
        let mut clients = Vec::new();
        for server in ["demo", "child", "far", "old"] {
            let mut client = Client::begin(&gateway, Front::Streamable, server);
            client.ask("logging/setLevel", json!({ "level": "warning" }));
            client.ask("resources/subscribe", json!({ "uri": "demo://note" }));
            let id = client.session().unwrap();
            clients.push((server, client, id));
        }
        gateway = again(gateway, signal, &config, state.path());
        for (server, client, id) in &mut clients {
            // It listens again, as clients do, and hears that lists may have changed.
            client.listen();
            client.told("notifications/tools/list_changed");
            assert_eq!(client.call("echo", json!({ "message": "again" })), "again", "{server}");
            client.call("touch", json!({}));
            client.told("notifications/resources/updated");
            client.call("log", json!({ "level": "info", "message": "too little" }));
            client.call("log", json!({ "level": "error", "message": "enough" }));
            let said = client.told("notifications/message");
            assert_eq!(said["params"]["data"], "enough", "{server}: {said}");
            assert_eq!(client.session().as_ref(), Some(&*id));
        }
        assert!(!gateway.process.log().iter().any(|line| line.contains(&clients[0].2)));
    }
}

/// A client that never listens learns with its next answer that lists may have changed.
#[test]
fn whoever_only_asks_goes_on_too() {
    let (state, dir) = (folder(), folder());
    let config = servers(json!({ "it": demo_child(dir.path()) }));
    let gateway = start(&config, "127.0.0.1:0", state.path());
    let mut client = Client::begin(&gateway, Front::Unlistening, "it");
    client.call("count", json!({}));
    let _gateway = again(gateway, Signal::KILL, &config, state.path());
    let id = client.send("tools/call", json!({ "name": "count", "arguments": {} }));
    client.told("notifications/tools/list_changed");
    // A new process, which was asked once.
    assert_eq!(client.answer(id)["result"]["structuredContent"]["count"], 1);
}

#[test]
fn what_is_closed_or_was_never_open_is_not_found() {
    let (state, other) = (folder(), folder());
    let mut config = servers(json!({ "demo": { "type": "demo" }, "more": { "type": "demo" } }));
    config["gateway"] = json!({ "tokens": { "ann": "token-of-ann", "bob": "token-of-bob" } });
    let (ann, bob) = (("X-API-Key", "token-of-ann"), ("X-API-Key", "token-of-bob"));
    let gateway = start(&config, "127.0.0.1:0", state.path());
    let begin = |gateway: &Gateway| {
        let answer = gateway.post("/demo/mcp", &[ann], INITIALIZE);
        answer.field("mcp-session-id").unwrap().to_owned()
    };
    let (kept, closed) = (begin(&gateway), begin(&gateway));
    let fields = [ann, ("Mcp-Session-Id", &*closed)];
    assert_eq!(gateway.ask("DELETE /demo/mcp", &fields, "").status, 204);

    let gateway = again(gateway, Signal::KILL, &config, state.path());
    let mut forged = kept.clone().into_bytes();
    let at = forged.len() / 2;
    forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
    let forged = String::from_utf8(forged).unwrap();
    let never = "0123456789abcdef0123456789abcdef".to_owned();
    let plain = ping(&gateway, "/demo/mcp", &never, &[ann]);
    for (what, path, id, who) in [
        ("closed", "/demo/mcp", &closed, ann),
        ("forged", "/demo/mcp", &forged, ann),
        ("another's", "/demo/mcp", &kept, bob),
        ("another server's", "/more/mcp", &kept, ann),
        ("never", "/demo/mcp", &never, ann),
    ] {
        let answer = ping(&gateway, path, id, &[who]);
        // All it says is where it was asked.
        let meant = |path: &str| format!(r#""route":"{path}""#);
        let plain = plain.body.replace(&meant("/demo/mcp"), &meant(path));
        assert_eq!((answer.status, answer.body), (404, plain), "{what}");
    }
    assert_eq!(ping(&gateway, "/demo/mcp", &kept, &[ann]).status, 200);
    // A session that was taken up again is closed for good, too.
    let fields = [ann, ("Mcp-Session-Id", &*kept)];
    assert_eq!(gateway.ask("DELETE /demo/mcp", &fields, "").status, 204);
    assert_eq!(ping(&gateway, "/demo/mcp", &kept, &[ann]).status, 404);

    let open = begin(&gateway);
    let gateway = again(gateway, Signal::KILL, &config, other.path());
    assert_eq!(ping(&gateway, "/demo/mcp", &open, &[ann]).status, 404, "another directory");
    let gateway = again(gateway, Signal::KILL, &config, state.path());
    assert_eq!(ping(&gateway, "/demo/mcp", &open, &[ann]).status, 200);
}

#[test]
fn keys_are_rotated_and_revoked() {
    let state = folder();
    let dir = state.path().to_str().unwrap();
    let gateway = start(&demo(), "127.0.0.1:0", state.path());
    let id = gateway.begin("/demo/mcp");
    let keys = |args: &[&str]| {
        let ended = run(&[&["key"], args, &["--state-dir", dir]].concat());
        assert_eq!(ended.code, Some(0), "{}", ended.err);
        ended.out.lines().skip(1).map(str::to_owned).collect::<Vec<_>>()
    };
    assert!(matches!(&keys(&["list"])[..], [one] if one.ends_with("seals, and opens")));
    let two = keys(&["rotate"]);
    assert!(matches!(&two[..], [new, _] if new.contains("seals from ")), "{two:?}");
    let gateway = again(gateway, Signal::KILL, &demo(), state.path());
    assert_eq!(ping(&gateway, "/demo/mcp", &id, &[]).status, 200);
    assert_eq!(keys(&["rotate", "--revoke"]).len(), 2);
    let gateway = again(gateway, Signal::KILL, &demo(), state.path());
    assert_eq!(ping(&gateway, "/demo/mcp", &id, &[]).status, 404);

    let ended = run(&["key", "list", "--state-dir", "none"]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.err.contains("no state directory"), "{}", ended.err);
}

#[track_caller]
fn refused(state: &Path) -> Ended {
    let args = ["serve", "--listen", "127.0.0.1:0", "--state-dir", state.to_str().unwrap()];
    let ended = run(&args);
    assert_eq!(ended.code, Some(1), "{}", ended.err);
    ended
}

#[test]
fn a_state_directory_that_cannot_be_used() {
    let (state, file) = (folder(), tempfile::NamedTempFile::new().unwrap());
    // One that was asked for.
    let ended = refused(&file.path().join("state"));
    assert!(ended.err.contains("cannot be created"), "{}", ended.err);
    run(&["key", "list", "--state-dir", state.path().to_str().unwrap()]);
    let keys = state.path().join("session-keys.json");
    fs::set_permissions(&keys, fs::Permissions::from_mode(0o644)).unwrap();
    let ended = refused(state.path());
    assert!(ended.err.contains("(mode 0644)") && ended.err.contains("chmod 600"), "{}", ended.err);

    // One that nobody asked for, and none.
    for (at, none, expect) in
        [(file.path(), "", "cannot be created"), (Path::new("/"), "none", "no state directory")]
    {
        let mut command = command(&["serve", "--listen", "127.0.0.1:0"]);
        command.env("XDG_STATE_HOME", at).env_remove("MCP_GATEWAY_STATE_DIR");
        if !none.is_empty() {
            command.args(["--state-dir", none]);
        }
        let gateway = Gateway::of(Process::start(command), folder());
        let words = "sessions do not survive a restart";
        let said =
            gateway.process.logged(words, |line| line.contains(words).then(|| line.to_owned()));
        assert!(said.contains(expect), "{said}");
        let id = gateway.begin("/demo/mcp");
        assert_eq!(ping(&gateway, "/demo/mcp", &id, &[]).status, 200);
    }
}

/// The second in one directory serves, says what it lacks, and shares the keys.
#[test]
fn two_gateways_in_one_directory() {
    let state = folder();
    let first = start(&demo(), "127.0.0.1:0", state.path());
    let second = start(&demo(), "127.0.0.1:0", state.path());
    let words = "another process uses it";
    second.process.logged(words, |line| line.contains(words).then_some(()));
    let id = first.begin("/demo/mcp");
    assert_eq!(ping(&second, "/demo/mcp", &id, &[]).status, 200);
    let other = second.begin("/demo/mcp");
    let fields = [("Mcp-Session-Id", &*other)];
    assert_eq!(second.ask("DELETE /demo/mcp", &fields, "").status, 204);
    assert_eq!(ping(&second, "/demo/mcp", &other, &[]).status, 404);
}

/// Whoever was away for long finds its session where it left it.
#[test]
fn a_session_that_was_idle_is_found_again() {
    let state = folder();
    let mut config = demo();
    config["gateway"] = json!({ "timeouts": { "sessionIdle": "1s" } });
    let gateway = start(&config, "127.0.0.1:0", state.path());
    let id = gateway.begin("/demo/mcp");
    let session = [("Mcp-Session-Id", &*id)];
    let level =
        r#"{"jsonrpc":"2.0","id":1,"method":"logging/setLevel","params":{"level":"error"}}"#;
    assert_eq!(gateway.post("/demo/mcp", &session, level).status, 200);
    gateway.status("demo", |it| it["sessions"] == 0);
    let echo = call(2, "echo", &json!({ "message": "back" }));
    let answer = gateway.post("/demo/mcp", &session, &echo);
    assert!(answer.status == 200 && answer.body.contains("back"), "{answer:?}");
    gateway.status("demo", |it| it["sessions"] == 1);
}

/// An id too old is none, whatever the gateway remembers.
#[test]
fn an_id_gets_old() {
    let state: TempDir = folder();
    let mut config = demo();
    config["gateway"] = json!({ "timeouts": { "sessionMaxAge": "1s", "sessionIdle": "1s" } });
    let gateway = start(&config, "127.0.0.1:0", state.path());
    let id = gateway.begin("/demo/mcp");
    gateway.status("demo", |it| it["sessions"] == 0);
    assert_eq!(ping(&gateway, "/demo/mcp", &id, &[]).status, 404);
}
