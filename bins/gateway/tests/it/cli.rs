//! The command line: what each command says, and its exit code.

use std::fs;

use serde_json::{Value, json};

use crate::{
    client::{Client, capabilities},
    http,
    process::Process,
    rig::{self, Gateway, INITIALIZE, command, demo, folder, run, servers},
    scripts,
};

#[test]
fn check_says_what_a_configuration_means() {
    let dir = folder();
    let mut config = servers(
        json!({ "pg": { "url": "http://127.0.0.1:8686/sse", "headers": { "X-Key": "hidden-secret-1" } } }),
    );
    config["gateway"] = json!({ "listen": ":9191", "tokens": { "me": "hidden-secret-2" } });
    let file = rig::write(&dir, &config);
    let ended = run(&["check", &file]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for words in [":9191", "pg", "http://127.0.0.1:8686/sse", "me"] {
        assert!(ended.out.contains(words), "{words} is not in {}", ended.out);
    }
    let as_json = run(&["check", &file, "--json"]);
    let value: Value = serde_json::from_str(&as_json.out).unwrap();
    assert!(value.is_object() && as_json.code == Some(0), "{as_json:?}");
    for said in [&ended.out, &as_json.out] {
        assert!(!said.contains("hidden-secret"), "{said}");
    }
}

#[test]
fn check_says_what_is_wrong_and_where() {
    let dir = folder();
    let file = dir.path().join("gateway.json");
    for (text, words) in [
        (
            "{\n  \"mcpServers\": {\"a\": {\"comand\": \"x\"}}\n}",
            &["gateway.json:2:", "mcpServers.a", "did you mean `command`?"][..],
        ),
        (
            "{\"mcpServers\": {\"a\": {\"command\": \"${NO_SUCH_VARIABLE_HERE}\"}}}",
            &["NO_SUCH_VARIABLE_HERE", "mcpServers.a.command"],
        ),
        ("{\"mcpServers\": ", &["gateway.json:1:"]),
        (
            "{\"gateway\": {\"listen\": \":9090\"}, \"mcpServers\": {\"a\": {\"type\": \"demo\"}}}",
            &["without a token", "--insecure", "127.0.0.1:9090"],
        ),
    ] {
        fs::write(&file, text).unwrap();
        let ended = run(&["check", file.to_str().unwrap()]);
        assert_eq!(ended.code, Some(2), "{text}: {ended:?}");
        for words in words {
            assert!(ended.err.contains(words), "{words} is not in {}", ended.err);
        }
        // Either command takes its file in either way.
        let file = file.to_str().unwrap();
        let same = run(&["check", "--config", file]);
        assert!(same.code == Some(2) && same.err == ended.err, "{same:?}");
        let served = run(&["serve", "--config", file]);
        assert_eq!(served.code, Some(2), "{text}: {served:?}");
        let same = run(&["serve", file]);
        assert!(same.code == Some(2) && same.err == served.err, "{same:?}");
    }
    let both = ["x.json", "--config", "y.json"];
    for command in [&["check"][..], &["serve"]] {
        let ended = run(&[command, &both].concat());
        assert!(ended.code == Some(2) && ended.err.contains("cannot be used with"), "{ended:?}");
    }
    assert_eq!(run(&["check"]).code, Some(2), "which file?");
    let ended = run(&["check", "/no/such/file.json"]);
    assert!(ended.code == Some(2) && ended.err.contains("/no/such/file.json"), "{ended:?}");
    assert_eq!(run(&["sreve"]).code, Some(2));
    assert_eq!(run(&[]).code, Some(2));
}

/// Without a word of configuration: a demonstration, and how to use it.
#[test]
fn serve_alone_introduces_itself() {
    let gateway =
        Gateway::of(Process::start(command(&["serve", "--listen", "127.0.0.1:0"])), folder());
    let url = gateway.url("/demo/mcp");
    for words in [&*url, &gateway.url("/demo/sse")] {
        gateway.process.says(words);
    }
    gateway.process.says(&format!("claude mcp add --transport http demo {url}"));
    for client in ["VS Code", "Gemini CLI", "Codex"] {
        gateway.process.says(client);
    }
    gateway.begin("/demo/mcp");
}

#[test]
fn serve_one_command() {
    let entry = scripts::says_pid();
    let script = entry["args"][1].as_str().unwrap().replace("$$", "$");
    let args = ["serve", "--listen", "127.0.0.1:0", "--", "sh", "-c", &script];
    let gateway = Gateway::of(Process::start(command(&args)), folder());
    let said = gateway.process.says("Streamable HTTP");
    let url = said.split_whitespace().next().unwrap();
    let path = url.strip_prefix(&gateway.url("")).unwrap();
    gateway.begin(path);
}

/// Not everybody who can reach the machine is to use its servers.
#[test]
fn strangers_are_not_served_by_accident() {
    for listen in [":0", "0.0.0.0:0", "[::]:0"] {
        let ended = run(&["serve", "--listen", listen]);
        assert_eq!(ended.code, Some(2), "{ended:?}");
        for words in ["without a token", "\"tokens\"", "127.0.0.1:", "--insecure"] {
            assert!(ended.err.contains(words), "{words} is not in {}", ended.err);
        }
    }
    let args = ["serve", "--listen", "0.0.0.0:0", "--insecure"];
    let mut gateway = Gateway::of(Process::start(command(&args)), folder());
    gateway.at = gateway.at.replace("0.0.0.0", "127.0.0.1");
    assert_eq!(gateway.get("/ping").body, "pong");
    let mut config = demo();
    config["gateway"] = json!({ "tokens": { "me": "some-long-token-1" } });
    let mut gateway = Gateway::start_in(folder(), &config, &["--listen", "0.0.0.0:0"]);
    gateway.at = gateway.at.replace("0.0.0.0", "127.0.0.1");
    assert_eq!(gateway.post("/demo/mcp", &[], INITIALIZE).status, 401);
}

#[test]
fn a_port_in_use_says_so() {
    let gateway = Gateway::start(&demo());
    let ended = run(&["serve", "--listen", &gateway.at]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    for words in [&*gateway.at, "another program listens there", "--listen"] {
        assert!(ended.err.contains(words), "{words} is not in {}", ended.err);
    }
    let ended = run(&["serve", "--listen", "nonsense"]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.err.contains("127.0.0.1:9090"), "{ended:?}");
}

#[test]
fn several_places_to_listen_at() {
    let dir = folder();
    let path = dir.path().join("s.sock");
    let listen = format!("unix:{}", path.display());
    let args = ["--listen", "127.0.0.1:0", "--listen", &listen];
    let gateway = Gateway::start_in(dir, &demo(), &args);
    assert_eq!(gateway.get("/ping").body, "pong");
    let mut wire = http::connect(&listen);
    wire.write_all(b"GET /ping HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    assert_eq!(http::read_head(wire, false).unwrap().read().body, "pong");
}

#[test]
fn stdio_of_what_is_not_there() {
    let dir = folder();
    let file =
        rig::write(&dir, &servers(json!({ "one": { "type": "demo" }, "two": { "type": "demo" } })));
    let ended = run(&["stdio", "three", "--config", &file]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.err.contains("no server `three`; there is one, two"), "{ended:?}");
    let ended = run(&["stdio", "one"]);
    assert!(ended.code == Some(2) && ended.err.contains("--config"), "{ended:?}");
    let ended = run(&["stdio", "http://127.0.0.1:9/mcp", "--header", "NoColon"]);
    assert!(ended.code == Some(2) && ended.err.contains("has no colon"), "{ended:?}");
    // Nothing is said on stdout that is no message.
    assert_eq!(ended.out, "");
    // A server that cannot be reached says so in answer to the first request.
    let mut client = Client::stdio(&["stdio", "http://127.0.0.1:9/mcp"]);
    let params = json!({ "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": { "name": "it", "version": "1" } });
    let answer = client.ask("initialize", params);
    assert!(answer["error"]["message"].as_str().unwrap().contains("127.0.0.1:9"), "{answer}");
}

/// With a token for the way, as `mcp-remote` is used.
#[test]
fn stdio_of_a_server_that_wants_a_token() {
    let mut config = demo();
    config["gateway"] = json!({ "tokens": { "me": "some-long-token-2" } });
    let gateway = Gateway::start(&config);
    let header = "Authorization: Bearer some-long-token-2";
    let url = gateway.url("/demo/mcp");
    let mut client = Client::stdio(&["stdio", &url, "--header", header]);
    client.initialize("2025-11-25", &capabilities());
    assert_eq!(client.call("echo", json!({ "message": "in" })), "in");
    let mut stranger = Client::stdio(&["stdio", &url]);
    let params = json!({ "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": { "name": "it", "version": "1" } });
    let answer = stranger.ask("initialize", params);
    assert!(answer["error"]["message"].as_str().unwrap().contains("credentials"), "{answer}");
}

#[test]
fn status_is_a_table_and_an_exit_code() {
    let mut config = servers(json!({ "demo": { "type": "demo" } }));
    config["gateway"] = json!({ "tokens": { "me": "some-long-token-3" } });
    let gateway = Gateway::start(&config);
    let url = gateway.url("");
    let ended = run(&["status", &url]);
    assert!(ended.code == Some(1) && ended.err.contains("--token"), "{ended:?}");
    let ended = run(&["status", &url, "--token", "some-long-token-3"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.out.starts_with("SERVER  STATE"), "{ended:?}");
    assert!(ended.out.lines().nth(1).unwrap().starts_with("demo "), "{ended:?}");
    let ended = run(&["status", &url, "--token", "some-long-token-3", "--json"]);
    let value: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(value["servers"][0]["name"], "demo");

    let bad = scripts::script("echo 'no moon' >&2; exit 7", ":");
    let gateway = Gateway::start(&servers(json!({ "bad": bad })));
    gateway.status("bad", |it| it["state"] != "starting" && it["state"] != "idle");
    let ended = run(&["status", &gateway.url("")]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.out.contains("\nbad: ") && ended.out.contains("no moon"), "{ended:?}");
    let ended = run(&["status", "http://127.0.0.1:9"]);
    assert!(ended.code == Some(1) && ended.err.contains("127.0.0.1:9"), "{ended:?}");
}
