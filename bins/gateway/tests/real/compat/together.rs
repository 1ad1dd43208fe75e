//! All servers at once, at one door.

use std::thread;

use serde_json::{Value, json};

use super::{
    TOKEN,
    driver::{Driver, Front, Kind},
    plain,
    site::Site,
};
use crate::parts::{Part, Parts};

const KINDS: [Kind; 3] = [Kind::FastMcp, Kind::Python, Kind::TypeScript];

/// What a client that connected like this is told by the tools of these servers, by server and
/// tool; `named` says what each is called there.
fn told(
    driver: &mut Driver,
    connect: &Value,
    calls: &[(&str, &str, &Value)],
    named: impl Fn(&[String], &str, &str) -> String,
) -> Vec<Value> {
    let opened = driver.open(connect);
    assert_eq!(opened["ok"], true, "{opened}");
    let listed = driver.attempt(&json!({ "op": "tools" })).unwrap();
    let mut names = Vec::new();
    collect(&listed, &mut names);
    let said = calls.iter().map(|(server, tool, args)| {
        let name = named(&names, server, tool);
        let step = json!({ "op": "call", "name": name, "args": args });
        plain(&driver.attempt(&step).unwrap())
    });
    let said = said.collect();
    let closed = driver.close();
    assert_eq!(closed["ok"], true, "{closed}");
    said
}

/// Every name in what a client shows of a list.
fn collect(shown: &Value, names: &mut Vec<String>) {
    match shown {
        Value::Array(all) => all.iter().for_each(|it| collect(it, names)),
        Value::Object(members) => {
            names.extend(members.get("name").and_then(Value::as_str).map(str::to_owned));
            members.values().for_each(|it| collect(it, names));
        }
        _ => (),
    }
}

/// What a server's tool is called among those of all.
fn together(names: &[String], server: &str, tool: &str) -> String {
    let prefixed = format!("{server}__{tool}");
    let mut fitting = names.iter().filter(|it| **it == prefixed || *it == tool);
    fitting.next().unwrap_or_else(|| panic!("{prefixed} is not among {names:?}")).clone()
}

#[test]
fn all_servers_at_one_door_say_what_each_says_at_its_own() {
    let Some(parts) = Parts::need(&[Part::Node, Part::Python, Part::Postgres]) else { return };
    let site = Site::start(&parts);
    let probes = site
        .servers
        .iter()
        .flat_map(|server| server.probes.iter().filter_map(|it| Some((server.name, it.called()?))));
    let calls: Vec<(&str, &str, &Value)> =
        probes.map(|(server, (tool, args))| (server, tool, args)).collect();
    assert!(site.servers.len() >= 9, "{} servers are few", site.servers.len());
    thread::scope(|scope| {
        let (parts, site, calls) = (&parts, &site, &calls);
        let running = KINDS.map(|kind| scope.spawn(move || compare(parts, site, kind, calls)));
        let ended = running.map(|it| it.join());
        assert!(ended.iter().all(Result::is_ok), "a client was told something else");
    });
    site.keeps_its_secrets();
}

fn compare(parts: &Parts, site: &Site, kind: Kind, calls: &[(&str, &str, &Value)]) {
    let mut driver = Driver::start(parts, kind);
    let mut expect = Vec::new();
    for server in &site.servers {
        let own: Vec<_> = calls.iter().filter(|it| it.0 == server.name).copied().collect();
        let connect = driver.through(&site.gateway, server.name, Front::Streamable, Some(TOKEN));
        expect.extend(told(&mut driver, &connect, &own, |_, _, tool| tool.to_owned()));
    }
    for front in kind.fronts() {
        let connect = driver.through(&site.gateway, "", *front, Some(TOKEN));
        let said = told(&mut driver, &connect, calls, together);
        for ((call, said), expect) in calls.iter().zip(&said).zip(&expect) {
            assert_eq!(said, expect, "{kind:?} over {front:?}: {call:?}");
        }
    }
    driver.end();
}
