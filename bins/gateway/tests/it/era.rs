//! Clients and servers of 2026-07-28, and of the revisions before it, in any pairing.
//!
//! The servers are the demonstration server, which speaks all five; `protocol` says which of them is
//! spoken to it.

mod all;
mod down;
mod life;
mod modern;
mod room;
mod same;
mod stdio;
mod tasks;
mod up;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::rig::{Gateway, demo, demo_child, folder, servers};

/// How a server is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wire {
    Inside,
    Child,
    Sse,
    Streamable,
}

/// A gateway with one server, `it`, that is spoken to in this revision.
#[derive(Debug)]
struct House {
    gateway: Gateway,
    /// Where the server is, if it is elsewhere.
    _server: Option<Gateway>,
}

// === impl House ===

impl House {
    #[track_caller]
    fn new(wire: Wire, protocol: &str) -> Self {
        Self::with(wire, protocol, &json!({}))
    }

    /// With these settings of the gateway besides.
    #[track_caller]
    fn with(wire: Wire, protocol: &str, settings: &Value) -> Self {
        let dir = folder();
        let (entry, server) = Self::entry(wire, protocol, &dir);
        let mut config = servers(json!({ "it": entry }));
        config["gateway"] = settings.clone();
        let gateway = Gateway::start_in(dir, &config, &["--listen", "127.0.0.1:0"]);
        Self { gateway, _server: server }
    }

    fn entry(wire: Wire, protocol: &str, dir: &TempDir) -> (Value, Option<Gateway>) {
        let (mut entry, mut server) = (json!({ "type": "demo" }), None);
        match wire {
            Wire::Inside => (),
            Wire::Child => entry = demo_child(dir.path()),
            Wire::Sse | Wire::Streamable => {
                let other = Gateway::start(&demo());
                entry = match wire {
                    Wire::Sse => json!({ "type": "sse", "url": other.url("/demo/sse") }),
                    _ => json!({ "type": "streamable-http", "url": other.url("/demo/mcp") }),
                };
                server = Some(other);
            }
        }
        entry["protocol"] = json!(protocol);
        (entry, server)
    }
}
