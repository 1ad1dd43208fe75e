//! Clients that are not ours, at servers that are not ours: `docs/COMPATIBILITY.md` is what came
//! of it.
//!
//! Each client does the same at a server itself and through the gateway, over every transport in
//! front that it speaks, and has to be told the same.

mod driver;
mod probes;
pub(crate) mod report;
mod restart;
pub(crate) mod site;
mod together;

use std::thread;

use serde_json::{Value, json};

use self::{
    driver::{Driver, Front, Kind},
    probes::{Cell, Feature, Seen, visit},
    report::Row,
    site::{Server, Site},
};
use crate::{
    parts::{Part, Parts},
    plain,
};

/// The token that the gateway wants of everybody.
const TOKEN: &str = "compatibility-token-0815";

#[test]
fn every_client_is_told_what_the_server_says() {
    let Some(parts) = Parts::need(&[Part::Node, Part::Python, Part::Postgres]) else { return };
    let site = Site::start(&parts);
    thread::scope(|scope| {
        let (parts, site) = (&parts, &site);
        let work = move |kind: Kind| {
            report::check(kind.name(), &report::servers(&drive(parts, site, kind)));
        };
        let running = Kind::ALL.map(|kind| scope.spawn(move || work(kind)));
        // All of them come to their end before the first complaint is heard.
        let ended = running.map(|it| it.join());
        assert!(ended.iter().all(Result::is_ok), "a client was told something else");
    });
    site.keeps_its_secrets();
}

/// One client at all servers, over each front.
fn drive(parts: &Parts, site: &Site, kind: Kind) -> Vec<Row> {
    // These wait for a while before a session is closed, or before each operation is over: they
    // do so beside each other.
    let fronts = kind.fronts();
    let count = if matches!(kind, Kind::Inspector | Kind::McpRemote) { fronts.len() } else { 1 };
    let mut drivers: Vec<Driver> = (0..count).map(|_| Driver::start(parts, kind)).collect();
    let mut rows = Vec::new();
    for server in site.servers.iter().filter(|it| kind.visits(it)) {
        let yardstick = directly(parts, &mut drivers[0], server);
        let seen: Vec<Seen> = thread::scope(|scope| {
            let lanes = drivers.iter_mut().zip(fronts.chunks(fronts.len() / count));
            let running: Vec<_> = lanes
                .map(|(driver, fronts)| scope.spawn(|| through(site, driver, server, fronts)))
                .collect();
            let ended: Vec<_> = running.into_iter().map(|it| it.join()).collect();
            ended.into_iter().flat_map(|it| it.unwrap_or_else(|_| panic!("it failed"))).collect()
        });
        // The demo server has no door of its own: what one front shows is the measure of the others.
        let expect = yardstick.as_ref().unwrap_or(&seen[0]);
        for (front, seen) in fronts.iter().zip(&seen) {
            let way = format!("{kind:?} at {} over {front:?}", server.name);
            let cells = compare(kind, &way, expect, seen);
            rows.push(Row { kind, server: server.row(), front: *front, cells });
        }
    }
    drivers.into_iter().for_each(Driver::end);
    rows
}

/// What the server says to this client through the gateway.
fn through(site: &Site, driver: &mut Driver, server: &Server, fronts: &[Front]) -> Vec<Seen> {
    let mut all = Vec::new();
    for front in fronts {
        let way = format!("{:?} at {} over {front:?}", driver.kind(), server.name);
        let connect = driver.through(&site.gateway, server.name, *front, Some(TOKEN));
        all.push(visit(driver, &connect, server, &way));
    }
    all
}

/// What the server itself says to this client.
fn directly(parts: &Parts, driver: &mut Driver, server: &Server) -> Option<Seen> {
    let way = format!("{:?} at {} directly", driver.kind(), server.name);
    if let Some(connect) = driver.directly(server) {
        return Some(visit(driver, &connect, server, &way));
    }
    let mut connect = server.child()?;
    if driver.kind() == Kind::Inspector {
        connect["capabilities"] = json!(["roots"]);
    }
    // In its place stands the SDK that it is made of, able to do what it can do.
    let mut stand_in = Driver::start(parts, Kind::TypeScript);
    let seen = visit(&mut stand_in, &connect, server, &way);
    stand_in.end();
    Some(seen)
}

fn compare(kind: Kind, way: &str, expect: &Seen, seen: &Seen) -> Vec<(Feature, Cell)> {
    let mut cells: Vec<(Feature, Cell)> = Vec::new();
    assert_eq!(seen.answers.len(), expect.answers.len(), "{way}");
    for (answer, measure) in seen.answers.iter().zip(&expect.answers) {
        let cell = match &answer.said {
            None => Cell::Unable,
            Some(said) => {
                let (mut said, mut measure) = (plain(said), measure.said.as_ref().map(plain));
                if kind == Kind::Inspector {
                    said = bare(said);
                    measure = measure.map(bare);
                }
                assert_eq!(Some(&said), measure.as_ref(), "{way}: {}", answer.step);
                Cell::Same
            }
        };
        match cells.iter_mut().find(|it| it.0 == answer.feature) {
            Some((_, known)) => *known = (*known).min(cell),
            None => cells.push((answer.feature, cell)),
        }
    }
    cells
}

/// A result without what SDKs add of their own.
fn plain(value: &Value) -> Value {
    plain::without(value, &["resultType", "ttlMs", "cacheScope"])
}

/// An answer whose error is in words alone: the Inspector shows no more of it than those.
fn bare(mut answer: Value) -> Value {
    if let Some(error) = answer["answer"].get_mut("error") {
        let words = error["message"].as_str().unwrap_or_default();
        let words = words.rsplit("MCP error ").next().unwrap_or_default();
        *error = json!(words);
    }
    answer
}
