//! The clients that visit, and which way each of them takes to which server.

use serde_json::{Value, json};

use super::site::{MODERN, Server, Way};
use crate::client::Sdk;

/// A client: its SDK, and the revision that it speaks with the gateway.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Guest {
    pub(crate) sdk: Sdk,
    pub(crate) speaks: &'static str,
}

impl Guest {
    const fn new(sdk: Sdk, speaks: &'static str) -> Self {
        Self { sdk, speaks }
    }
}

/// Every client; those that are also a server's SDK, as it would have it, before all others of it.
pub(crate) const GUESTS: [Guest; 11] = [
    Guest::new(Sdk::PythonOld, "2024-11-05"),
    Guest::new(Sdk::Python, "2025-11-25"),
    Guest::new(Sdk::TypeScript, "2025-11-25"),
    Guest::new(Sdk::Python2, MODERN),
    Guest::new(Sdk::Python2, "2025-11-25"),
    Guest::new(Sdk::TypeScript2, MODERN),
    Guest::new(Sdk::TypeScript2, "2025-11-25"),
    Guest::new(Sdk::FastMcp, MODERN),
    Guest::new(Sdk::Rust, MODERN),
    Guest::new(Sdk::Rust, "2025-06-18"),
    Guest::new(Sdk::Rust, "2025-03-26"),
];

impl Guest {
    /// Where it stands in the table.
    pub(crate) fn place(&self) -> usize {
        GUESTS.iter().position(|it| it == self).unwrap()
    }

    pub(crate) fn is_modern(&self) -> bool {
        self.speaks == MODERN
    }

    /// The revision in which it is answered there: who begins with a handshake is told the server's
    /// own, where that is an older one.
    pub(crate) fn agrees(&self, server: &Server) -> &'static str {
        if self.is_modern() { MODERN } else { self.speaks.min(self.spoken_behind(server)) }
    }

    /// The revision in which the gateway asks there for this client: a server that has both is
    /// spoken to as its client would do it.
    pub(crate) fn spoken_behind(&self, server: &Server) -> &'static str {
        if server.has_both() && !self.is_modern() { self.speaks } else { server.speaks }
    }

    /// Whether the server asks this client nothing, in the revision that it is spoken to in.
    pub(crate) fn is_refused(&self, server: &Server) -> bool {
        server.sdk == Sdk::FastMcp && self.spoken_behind(server) == MODERN
    }

    /// Whether it is asked what it would not be asked by the server itself.
    pub(crate) fn is_told_more(&self, server: &Server) -> bool {
        server.sdk == Sdk::FastMcp && self.is_modern() && !server.is_modern()
    }

    /// Whether it can be asked what its user says.
    pub(crate) fn elicits(&self) -> bool {
        self.speaks >= "2025-06-18"
    }

    /// Whether it hears what changes.
    pub(crate) fn listens(&self) -> bool {
        self.sdk != Sdk::FastMcp
    }

    /// Whether it can give up a call there: one SDK ends its whole server when a call is cancelled.
    pub(crate) fn cancels(server: Sdk) -> bool {
        server != Sdk::PythonOld
    }

    /// Whether it can ask for a level.
    pub(crate) fn logs(&self) -> bool {
        self.sdk != Sdk::FastMcp
    }

    /// The ways on which it visits a server: each pair of SDKs at least once, and each pair of
    /// transports, but not all of these with all of those.
    pub(crate) fn ways(&self, server: &Server) -> Vec<Way> {
        if server.sdk == Sdk::FastMcp {
            return self.ways_to_fastmcp(server);
        }
        let child = server.behind == Way::Stdio;
        let http = server.behind == Way::Streamable;
        // `gateway stdio` only where the server is a child too.
        let stdio = child.then_some(Way::Stdio);
        match self.sdk {
            Sdk::PythonOld if server.sdk == Sdk::PythonOld && child => vec![Way::Stdio],
            _ if server.pinned && server.is_modern() == self.is_modern() => Vec::new(),
            // That older clients are translated for is shown by those without 2026-07-28.
            Sdk::Rust | Sdk::Python2 | Sdk::TypeScript2
                if server.pinned && server.sdk == Sdk::Python2 =>
            {
                Vec::new()
            }
            Sdk::PythonOld if !child => vec![Way::Sse],
            Sdk::PythonOld => Vec::new(),
            // What stands in its way is shown by the SDK that it is made of.
            Sdk::FastMcp if http && !server.pinned => vec![Way::Streamable],
            Sdk::FastMcp => Vec::new(),
            // Asked at a URL of HTTP+SSE, they know that the revision is an older one.
            Sdk::Python2 | Sdk::TypeScript2 if !self.is_modern() => {
                let older = server.sdk == Sdk::TypeScript && server.behind == Way::Sse;
                if older || server.sdk == self.sdk && http { vec![Way::Sse] } else { Vec::new() }
            }
            Sdk::Rust if !self.is_modern() => {
                let visits = http && server.sdk != Sdk::TypeScript;
                if visits { vec![Way::Streamable] } else { Vec::new() }
            }
            Sdk::Python | Sdk::TypeScript if !child && (server.is_modern() || !http) => {
                vec![Way::Sse, Way::Streamable]
            }
            _ if server.pinned || server.sdk == Sdk::PythonOld => vec![Way::Streamable],
            _ => [Some(Way::Streamable), stdio].into_iter().flatten().collect(),
        }
    }

    /// The same to FastMCP, which is made of another SDK: each client once, with what it has itself.
    fn ways_to_fastmcp(&self, server: &Server) -> Vec<Way> {
        match (self.sdk, server.behind) {
            (Sdk::Python2, Way::Stdio) if server.pinned && self.is_modern() => {
                vec![Way::Streamable]
            }
            _ if server.pinned => Vec::new(),
            (Sdk::Python, Way::Stdio) => vec![Way::Streamable, Way::Stdio],
            (_, Way::Stdio) => Vec::new(),
            (Sdk::PythonOld, _) => vec![Way::Sse],
            (Sdk::Python, _) => vec![Way::Sse, Way::Streamable],
            (Sdk::TypeScript | Sdk::FastMcp, _) => vec![Way::Streamable],
            (Sdk::Python2 | Sdk::TypeScript2, _) if self.is_modern() => vec![Way::Streamable],
            (Sdk::Rust, _) if self.speaks == "2025-06-18" => vec![Way::Streamable],
            _ => Vec::new(),
        }
    }

    /// How it connects to the server itself.
    pub(crate) fn directly(&self, server: &Server, connect: Value) -> Value {
        let mut connect = self.prepared(connect);
        let older = matches!(self.sdk, Sdk::Python2 | Sdk::TypeScript2) && !self.is_modern();
        if !server.is_modern() || older && server.has_both() {
            // One of these ends at whatever is not a handshake, and some clients do not wait long
            // for a server that has to start first.
            connect["mode"] = json!("legacy");
        }
        connect
    }

    /// How it connects, so that it speaks its revision.
    pub(crate) fn prepared(&self, mut connect: Value) -> Value {
        if self.sdk == Sdk::Rust && self.is_modern() {
            // That it asks for no other has no limit on how long the answer may take.
            connect["mode"] = json!("modern");
        } else if self.sdk == Sdk::Rust {
            connect["revision"] = json!(self.speaks);
        }
        let mut able = vec!["sampling", "roots"];
        if self.elicits() {
            able.push("elicitation");
        }
        connect["capabilities"] = json!(able);
        connect["roots"] = json!(["file:///srv/one", "file:///srv/two"]);
        connect["answers"] = json!({
            "sampling": "a scripted answer",
            "elicitation": { "action": "accept", "content": { "name": "Ann" } },
        });
        connect
    }
}
