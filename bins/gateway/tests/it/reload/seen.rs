//! Changes that are seen by themselves.

use std::fs;

use serde_json::json;

use super::{Changing, LISTEN, says, watched, with_control};
use crate::{
    client::{Client, Front},
    process::{Process, until},
    rig::{self, Gateway, INITIALIZE, folder, servers},
};

/// However the file is changed, it is seen; and what is written in a hurry is taken over once.
#[test]
fn a_changed_file_is_seen() {
    let one = watched(&servers(json!({ "it": says("one") })));
    let gateway = Changing::start(&one);
    let file = &gateway.file;
    let text =
        |word: &str| with_control(&watched(&servers(json!({ "it": says(word) })))).to_string();
    let taken = "the configuration is taken over";
    // Written in place.
    fs::write(file, text("two")).unwrap();
    let at = gateway.logged(0, taken);
    // Another file in its place, as editors do it.
    let beside = file.with_extension("tmp");
    fs::write(&beside, text("three")).unwrap();
    fs::rename(&beside, file).unwrap();
    let at = gateway.logged(at, taken);
    // Away, and back again otherwise.
    fs::rename(file, &beside).unwrap();
    fs::write(file, text("four")).unwrap();
    let at = gateway.logged(at, taken);
    let mut client = Client::begin(&gateway.gateway, Front::Unlistening, "it");
    assert_eq!(client.call("x", json!({})), "four");
    // Ten in a row: the last counts.
    for count in 0..10 {
        fs::write(file, text(&format!("quick {count}"))).unwrap();
    }
    gateway.logged(at, taken);
    until("the last of ten", || (client.call("x", json!({})) == "quick 9").then_some(()));
    // A touch is no change.
    let begun = name(&gateway, "begun", "quick 9");
    fs::write(file, fs::read_to_string(file).unwrap()).unwrap();
    fs::write(file.with_file_name("else"), "something else").unwrap();
    fs::write(file, text("last")).unwrap();
    until("the last", || (client.call("x", json!({})) == "last").then_some(()));
    // It can be felt before it is logged.
    gateway.logged(begun, taken);
    let ended = name(&gateway, "ended", "last");
    // The one to the last, and that which it was told by.
    let log = gateway.gateway.process.log();
    let count = log[begun..ended].iter().filter(|line| line.contains(taken)).count();
    assert_eq!(count, 2, "{:#?}", &log[begun..ended]);
}

/// Gives the gateway this name, with this server behind; returns what line of log says that this
/// was taken over.
#[track_caller]
fn name(gateway: &Changing, name: &str, word: &str) -> usize {
    let from = gateway.gateway.process.log().len();
    let mut config = watched(&servers(json!({ "it": says(word) })));
    config["gateway"]["name"] = json!(name);
    gateway.write(&config);
    let named = gateway.logged(from, r#""setting":"gateway.name""#);
    gateway.logged(named, "the configuration is taken over")
}

/// Kubernetes puts another link in the place of the folder that the file's link leads through.
#[test]
fn a_swapped_link_is_seen() {
    let dir = folder();
    let at = dir.path().to_owned();
    let text = |word: &str| {
        let mut config = watched(&servers(json!({ "it": says(word) })));
        config["gateway"]["control"] = json!(at.join("control.sock"));
        config["gateway"]["tokens"] = json!({ "me": "${file:token}" });
        config.to_string()
    };
    let volume = |name: &str, word: &str, token: &str| {
        fs::create_dir(at.join(name)).unwrap();
        fs::write(at.join(name).join("gateway.json"), text(word)).unwrap();
        fs::write(at.join(name).join("token"), token).unwrap();
    };
    let link = |from: &str, to: &str| {
        let beside = at.join("..tmp");
        std::os::unix::fs::symlink(from, &beside).unwrap();
        fs::rename(&beside, at.join(to)).unwrap();
    };
    volume("..2026_1", "one", "first-long-token");
    link("..2026_1", "..data");
    link("..data/gateway.json", "gateway.json");
    link("..data/token", "token");
    let file = at.join("gateway.json");
    let mut all = vec!["serve", "--config", file.to_str().unwrap(), "--log-format", "json"];
    all.extend(LISTEN);
    let gateway = Gateway::of(Process::start(rig::command(&all)), dir);
    let with = |token: &str| {
        let field = format!("Bearer {token}");
        gateway.post("/it/mcp", &[("Authorization", &field)], INITIALIZE).status
    };
    assert_eq!(with("first-long-token"), 200);
    volume("..2026_2", "two", "second-long-token");
    link("..2026_2", "..data");
    fs::remove_dir_all(at.join("..2026_1")).unwrap();
    gateway.process.logged("the change", |line| {
        line.contains("the configuration is taken over").then_some(())
    });
    assert_eq!((with("first-long-token"), with("second-long-token")), (401, 200));
    // And the file that a value is taken from, alone.
    fs::write(at.join("..2026_2/token"), "third-long-token\n").unwrap();
    until("the third token", || (with("third-long-token") == 200).then_some(()));
    assert_eq!(with("second-long-token"), 401);
}
