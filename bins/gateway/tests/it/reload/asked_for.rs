//! Changes that somebody asks to be taken over.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use rustix::process::Signal;
use serde_json::{Value, json};

use super::{Changing, LISTEN, says};
use crate::{
    client::{Client, Front},
    process::{Process, until},
    rig::{self, Gateway, folder, run, servers},
};

#[test]
fn reload_says_what_came_of_it() {
    let gateway = Changing::start(&servers(json!({ "a": says("a"), "b": says("b") })));
    let spoken = || run(&["reload", "--control", &gateway.socket]);
    let ended = spoken();
    assert_eq!((ended.code, &*ended.out), (Some(0), "nothing has changed"), "{ended:?}");
    gateway.write(&servers(json!({ "a": says("a"), "b": says("bb"), "c": says("c") })));
    let ended = spoken();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(
        ended.out,
        "the configuration is taken over; 1 server noticed nothing\n  b: restarted (args)\n  c: added"
    );
    // Nobody there.
    let ended = run(&["reload", "--control", "/no/such/socket"]);
    assert!(ended.code == Some(1) && ended.err.contains("/no/such/socket"), "{ended:?}");
    let ended = run(&["reload", "--url", "http://127.0.0.1:1"]);
    assert!(ended.code == Some(1) && ended.err.contains("port 1"), "{ended:?}");
    // The socket is for nobody else.
    let mode = fs::metadata(&gateway.socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let socket = gateway.socket.clone();
    let ended = gateway.gateway.end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(!Path::new(&socket).exists());
}

/// Where no place is configured, a gateway is found by its file, by its port, or alone.
#[test]
fn a_gateway_is_found() {
    let runtime = folder();
    let started = |config: &Value| {
        let dir = folder();
        let file = rig::write(&dir, config);
        let mut all = vec!["serve", "--config", &*file, "--log-format", "json"];
        all.extend(LISTEN);
        let mut command = rig::command(&all);
        command.env("XDG_RUNTIME_DIR", runtime.path());
        Gateway::of(Process::start(command), dir)
    };
    let reload = |args: &[&str]| {
        let mut command = rig::command(&[&["reload"], args].concat());
        command.env("XDG_RUNTIME_DIR", runtime.path());
        let mut process = Process::start(command);
        process.stdin = None;
        process.end()
    };
    let ended = reload(&[]);
    assert!(ended.code == Some(1) && ended.err.contains("no gateway runs"), "{ended:?}");
    let one = started(&servers(json!({ "a": says("a") })));
    let ready = |args: &[&str]| {
        until("the gateway's socket", || Some(reload(args)).filter(|it| it.code == Some(0)))
    };
    ready(&[]);
    let two = started(&servers(json!({ "b": says("b") })));
    let file = two.dir().join("gateway.json");
    let file = file.to_str().unwrap();
    ready(&["--config", file]);
    ready(&["--url", &one.url("")]);
    let ended = reload(&[]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.err.contains("several gateways run") && ended.err.contains(file), "{ended:?}");
    // A file that is wrong is no reason not to find the gateway that runs with it.
    fs::write(file, "{").unwrap();
    assert_eq!(reload(&["--config", file]).code, Some(2));
    // One that was killed leaves a socket behind that is in nobody's way.
    two.process.signal(Signal::KILL);
    let port = two.at.clone();
    two.process.end();
    ready(&[]);
    let dir = folder();
    let file = rig::write(&dir, &rig::demo());
    let mut command = rig::command(&["serve", "--config", &file, "--listen", &port]);
    command.env("XDG_RUNTIME_DIR", runtime.path());
    let _third = Gateway::of(Process::start(command), dir);
    ready(&["--config", &file]);
}

#[test]
fn a_hangup_has_the_file_read_again() {
    let gateway = Changing::start(&servers(json!({ "it": says("one") })));
    gateway.write(&servers(json!({ "it": says("two") })));
    gateway.gateway.process.signal(Signal::HUP);
    gateway.logged(0, r#""cause":"SIGHUP""#);
    let mut client = Client::begin(&gateway.gateway, Front::Streamable, "it");
    assert_eq!(client.call("x", json!({})), "two");

    let args = ["serve", "--log-format", "json", "--listen", "127.0.0.1:0"];
    let without = Gateway::of(Process::start(rig::command(&args)), folder());
    without.process.signal(Signal::HUP);
    without.process.logged("the answer", |line| line.contains("nothing to reload").then_some(()));
    assert_eq!(without.get("/ping").body, "pong");
}
