//! The demonstration server, wherever it may stand, before each front: all that it has arrives,
//! and it is the same everywhere.

mod features;

use std::{
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
use crate::{
    AT_ONCE,
    actor::{self, Actor},
    behind::Behind,
    cell::Cell,
    front::FRONTS,
    puppet::lock,
    rig::{self, Gateway},
};

/// Where it stands, in words.
pub(crate) const STANDS: [(Behind, &str); 4] = [
    (Behind::BuiltIn, "built in"),
    (Behind::Child, "a child"),
    (Behind::Sse, "HTTP+SSE"),
    (Behind::Streamable, "Streamable HTTP"),
];

/// What a client heard in one cell.
#[derive(Debug)]
pub(crate) struct Driven {
    pub(crate) cell: Cell,
    /// By feature.
    heard: Vec<(&'static str, Vec<String>)>,
}

/// Each has a server of its own: what they change is theirs.
fn cells() -> Vec<Cell> {
    let revisions = ProtocolVersion::LEGACY.into_iter();
    let of = |version: ProtocolVersion| {
        let pairs = FRONTS.iter().flat_map(|front| STANDS.iter().map(move |it| (*front, it.0)));
        pairs.map(move |(front, behind)| Cell {
            front,
            client: version,
            behind,
            server: version,
            shared: false,
        })
    };
    revisions.flat_map(of).collect()
}

fn name(cell: Cell) -> String {
    format!("{:?}-{:?}-{}", cell.front, cell.behind, cell.client).to_lowercase()
}

/// The servers of all cells, those behind HTTP being another gateway's.
fn servers(cells: &[Cell], dir: &Path, far: &Gateway) -> Value {
    let mut servers = json!({});
    for cell in cells {
        let name = name(*cell);
        servers[&name] = match cell.behind {
            Behind::BuiltIn => json!({ "type": "demo" }),
            Behind::Child => rig::demo_child(dir),
            Behind::Sse => json!({ "type": "sse", "url": far.url(&format!("/{name}/sse")) }),
            Behind::Streamable => {
                json!({ "type": "http", "url": far.url(&format!("/{name}/mcp")) })
            }
        };
    }
    servers
}

/// Plays all cells, some at once.
pub(crate) fn play() -> Vec<Driven> {
    let (cells, dir) = (cells(), rig::folder());
    let demo = |cell: &Cell| (name(*cell), json!({ "type": "demo" }));
    let far = Gateway::start(&rig::servers(cells.iter().map(demo).collect()));
    let servers = rig::servers(servers(&cells, dir.path(), &far));
    let gateway = Gateway::start_in(dir, &servers, &["--listen", "127.0.0.1:0"]);
    let (next, driven) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(cell) = cells.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let played = catch_unwind(AssertUnwindSafe(|| drive(&gateway, *cell)));
                    let played = played.map_err(|panic| {
                        let words = panic.downcast_ref::<String>().map(String::as_str);
                        let words = words.or_else(|| panic.downcast_ref().copied());
                        format!("{cell}: {}", words.unwrap_or("panicked"))
                    });
                    lock(&driven).push(played);
                }
            });
        }
    });
    let (driven, failures): (Vec<_>, Vec<_>) =
        driven.into_inner().unwrap().into_iter().partition(Result::is_ok);
    let failures: Vec<String> = failures.into_iter().filter_map(Result::err).collect();
    assert!(failures.is_empty(), "{} of {}:\n{}", failures.len(), cells.len(), failures.join("\n"));
    let driven: Vec<Driven> = driven.into_iter().filter_map(Result::ok).collect();
    compare(&driven);
    driven
}

fn drive(gateway: &Gateway, cell: Cell) -> Driven {
    let can = actor::capabilities(cell.client);
    let mut actor = Actor::begin_at(gateway, cell, "ann", can, &name(cell));
    let mut heard = Vec::new();
    for (name, since, feature) in FEATURES {
        if *since <= cell.client {
            heard.push((*name, feature(&mut actor)));
        }
    }
    let left = actor.leftovers();
    assert!(left.is_empty(), "it also heard {left:#?}");
    Driven { cell, heard }
}

/// Of one revision all clients hear the same.
fn compare(driven: &[Driven]) {
    for one in driven {
        let first = driven.iter().find(|it| it.cell.client == one.cell.client).unwrap();
        for ((name, ours), (_, theirs)) in one.heard.iter().zip(&first.heard) {
            assert_eq!(ours, theirs, "{name}: {}, and {}", one.cell, first.cell);
        }
        assert_eq!(one.heard.len(), first.heard.len());
    }
}
