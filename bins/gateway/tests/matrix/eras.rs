//! 2026-07-28 on one side, or on both: the demonstration server, spoken to in each revision,
//! before clients of each.

mod client;
mod features;
#[allow(dead_code, reason = "shared with the tests in `it`, which need more of it")]
#[path = "../it/era/modern.rs"]
mod modern;

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use mcp_jsonrpc::ProtocolVersion;
use serde_json::{Value, json};

pub(crate) use self::features::FEATURES;
use self::{client::Client, features::Pair};
use crate::{
    AT_ONCE,
    actor::{self, Actor},
    behind::Behind,
    cell::Cell,
    demo,
    features::Outcome,
    front::{FRONTS, Front},
    puppet::lock,
    rig::{self, Gateway},
};

const VERSION: ProtocolVersion = ProtocolVersion::V2026_07_28;

/// What came of a cell, by feature.
pub(crate) type Driven = (Cell, BTreeMap<&'static str, Outcome>);

/// Where a server can stand that is spoken to in this revision.
fn stands(server: ProtocolVersion) -> Vec<Behind> {
    let all = demo::STANDS.iter().map(|(behind, _)| *behind);
    all.filter(|it| *it != Behind::Sse || server != VERSION).collect()
}

/// Clients of 2026-07-28 before servers of each revision; clients of each before servers of it.
fn cells() -> Vec<Cell> {
    let cell =
        |front, client, behind, server| Cell { front, client, behind, server, shared: false };
    let mut cells = Vec::new();
    for server in ProtocolVersion::ALL {
        for front in [Front::Streamable, Front::Stdio] {
            let stands = stands(server).into_iter();
            cells.extend(stands.map(|behind| cell(front, VERSION, behind, server)));
        }
    }
    for client in ProtocolVersion::LEGACY {
        for front in FRONTS {
            let stands = stands(VERSION).into_iter();
            cells.extend(stands.map(|behind| cell(front, client, behind, VERSION)));
        }
    }
    cells
}

fn name(cell: Cell) -> String {
    format!("{:?}-{:?}-{}-{}", cell.front, cell.behind, cell.client, cell.server).to_lowercase()
}

fn entry(cell: Cell, dir: &Path, far: &Gateway) -> Value {
    let name = name(cell);
    let mut entry = match cell.behind {
        Behind::BuiltIn => json!({ "type": "demo" }),
        Behind::Child => rig::demo_child(dir),
        Behind::Sse => json!({ "type": "sse", "url": far.url(&format!("/{name}/sse")) }),
        Behind::Streamable => {
            json!({ "type": "streamable-http", "url": far.url(&format!("/{name}/mcp")) })
        }
    };
    entry["protocol"] = json!(cell.server.as_str());
    entry
}

/// Plays all cells, some at once.
pub(crate) fn play() -> Vec<Driven> {
    let (cells, dir) = (cells(), rig::folder());
    let demo = |cell: &Cell| (name(*cell), json!({ "type": "demo" }));
    let far = Gateway::start(&rig::servers(cells.iter().map(demo).collect()));
    let entry = |cell: &Cell| {
        let mut entry = entry(*cell, dir.path(), &far);
        entry["startup"] = json!("lazy");
        (name(*cell), entry)
    };
    let servers = rig::servers(cells.iter().map(entry).collect());
    let gateway = Gateway::start_in(dir, &servers, &["--listen", "127.0.0.1:0"]);
    let (next, driven) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(cell) = cells.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let played = drive(&gateway, *cell);
                    lock(&driven).push(played.map_err(|words| format!("{cell}: {words}")));
                }
            });
        }
    });
    let (driven, failures): (Vec<_>, Vec<_>) =
        driven.into_inner().unwrap().into_iter().partition(Result::is_ok);
    let failures: Vec<String> = failures.into_iter().filter_map(Result::err).collect();
    assert!(failures.is_empty(), "{} of {}:\n{}", failures.len(), cells.len(), failures.join("\n"));
    driven.into_iter().filter_map(Result::ok).collect()
}

fn drive(gateway: &Gateway, cell: Cell) -> Result<Driven, String> {
    let mut outcomes = BTreeMap::new();
    let caught = |name: &str, play: &mut dyn FnMut() -> Outcome| {
        catch_unwind(AssertUnwindSafe(play)).map_err(|panic| {
            let words = panic.downcast_ref::<String>().map(String::as_str);
            let words = words.or_else(|| panic.downcast_ref().copied()).unwrap_or("panicked");
            format!("{name}: {words}")
        })
    };
    if cell.client == VERSION {
        let client = Client::begin(gateway, cell.front, &name(cell));
        let mut pair = Pair { client, server: cell.server };
        for (name, feature) in FEATURES {
            outcomes.insert(*name, caught(name, &mut || feature(&mut pair))?);
        }
        return Ok((cell, outcomes));
    }
    let can = actor::capabilities(cell.client);
    let mut actor = None;
    caught("begin", &mut || {
        actor = Some(Actor::begin_at(gateway, cell, "ann", can, &name(cell)));
        Outcome::Same
    })?;
    let mut actor = actor.ok_or("no client")?;
    for (name, since, feature) in demo::FEATURES {
        if *since <= cell.client {
            outcomes.insert(
                *name,
                caught(name, &mut || {
                    feature(&mut actor);
                    rows_down(name)
                })?,
            );
        } else {
            outcomes.insert(*name, Outcome::Absent);
        }
    }
    let left = actor.leftovers();
    if left.is_empty() { Ok((cell, outcomes)) } else { Err(format!("also heard {left:#?}")) }
}

/// Which rows lie between a client with a handshake and a server without, by feature.
fn rows_down(feature: &str) -> Outcome {
    let rows: &[&'static str] = match feature {
        "`initialize`, `ping`" => &["down-handshake"],
        "`resources/list`, `resources/templates/list`, `resources/read`" => {
            &["down-result", "down-not-found"]
        }
        "`resources/subscribe`, `updated`, `unsubscribe`" => &["down-subscriptions"],
        "`list_changed` of tools, prompts, resources" => &["down-subscriptions", "down-result"],
        "`logging/setLevel`, `notifications/message`" => &["down-handshake"],
        "`sampling/createMessage`" => &["down-questions", "down-sampling-refused"],
        "`roots/list`" | "`elicitation/create`" => &["down-questions"],
        "`notifications/progress`" | "`notifications/cancelled`" => return Outcome::Same,
        _ => &["down-result"],
    };
    Outcome::Rows(rows.to_vec())
}
