//! The scripted servers (`fixtures/servers`), as children and on ports, behind one gateway.

use std::{path::Path, process::Command};

use serde_json::{Map, Value, json};

use crate::{
    client::{Sdk, Wire, over},
    parts::Parts,
    process::Process,
    rig::{Gateway, Scratch},
};

/// The revision without a handshake.
pub(crate) const MODERN: &str = "2026-07-28";

/// How the gateway reaches a server, and how a client reaches the gateway.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Way {
    Sse,
    Streamable,
    Stdio,
}

impl Way {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Sse => "HTTP+SSE",
            Self::Streamable => "Streamable HTTP",
            Self::Stdio => "stdio",
        }
    }
}

/// A server as the gateway has it behind.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Server {
    pub(crate) sdk: Sdk,
    pub(crate) behind: Way,
    /// The latest revision that the gateway and it speak.
    pub(crate) speaks: &'static str,
    /// Whether it would speak others too, and the configuration says that it is not to.
    pub(crate) pinned: bool,
}

impl Server {
    const fn new(sdk: Sdk, behind: Way) -> Self {
        let speaks = match sdk {
            Sdk::PythonOld => "2024-11-05",
            Sdk::Python | Sdk::TypeScript => "2025-11-25",
            _ => MODERN,
        };
        Self { sdk, behind, speaks, pinned: false }
    }

    const fn pinned(sdk: Sdk, behind: Way, speaks: &'static str) -> Self {
        Self { sdk, behind, speaks, pinned: true }
    }

    /// Its name in the configuration.
    pub(crate) fn name(&self) -> String {
        let wire = format!("{:?}-{:?}", self.sdk, self.behind).to_lowercase();
        if self.pinned { format!("{wire}-{}", self.speaks) } else { wire }
    }

    /// Whether it has both eras, and each client is spoken to in its own.
    pub(crate) fn has_both(&self) -> bool {
        // Those in Python take a handshake and do not say so.
        matches!(self.sdk, Sdk::Rust | Sdk::Python2 | Sdk::FastMcp) && !self.pinned
    }

    /// Whether it is one of 2026-07-28 to the gateway.
    pub(crate) fn is_modern(&self) -> bool {
        self.speaks == MODERN
    }
}

/// Every server, those on one SDK beside each other.
pub(crate) const SERVERS: [Server; 21] = [
    Server::new(Sdk::PythonOld, Way::Sse),
    Server::new(Sdk::PythonOld, Way::Stdio),
    Server::new(Sdk::Python, Way::Sse),
    Server::new(Sdk::Python, Way::Streamable),
    Server::new(Sdk::Python, Way::Stdio),
    Server::new(Sdk::TypeScript, Way::Sse),
    Server::new(Sdk::TypeScript, Way::Streamable),
    Server::new(Sdk::TypeScript, Way::Stdio),
    Server::new(Sdk::Python2, Way::Streamable),
    Server::new(Sdk::Python2, Way::Stdio),
    Server::new(Sdk::TypeScript2, Way::Streamable),
    Server::new(Sdk::TypeScript2, Way::Stdio),
    Server::new(Sdk::Rust, Way::Streamable),
    Server::new(Sdk::Rust, Way::Stdio),
    Server::new(Sdk::FastMcp, Way::Streamable),
    Server::new(Sdk::FastMcp, Way::Stdio),
    Server::pinned(Sdk::Python2, Way::Streamable, MODERN),
    Server::pinned(Sdk::FastMcp, Way::Stdio, "2025-11-25"),
    Server::pinned(Sdk::Rust, Way::Streamable, MODERN),
    Server::pinned(Sdk::Rust, Way::Streamable, "2025-06-18"),
    Server::pinned(Sdk::Rust, Way::Stdio, "2025-11-25"),
];

/// Everything that runs.
#[derive(Debug)]
pub(crate) struct Site {
    // First the gateway ends, then what is behind it.
    pub(crate) gateway: Gateway,
    _processes: Vec<Process>,
    notes: Scratch,
}

impl Site {
    pub(crate) fn start(parts: &Parts) -> Self {
        let notes = Scratch::new();
        let listening: Vec<Option<Process>> = SERVERS
            .iter()
            .map(|server| {
                (server.behind != Way::Stdio).then(|| {
                    let (program, args) = command(parts, server.sdk, &notes, wire(server));
                    let mut command = Command::new(program);
                    command.args(args);
                    Process::start(&server.name(), command, "TERM")
                })
            })
            .collect();
        let mut entries = Map::new();
        for (server, process) in SERVERS.iter().zip(&listening) {
            let mut entry = match process {
                None => {
                    let (program, args) = command(parts, server.sdk, &notes, wire(server));
                    json!({ "command": program, "args": args })
                }
                Some(process) => {
                    let url = process.wait_for("where it listens", |line| {
                        line.strip_prefix("listening on ").map(|it| it.trim().to_owned())
                    });
                    let kind = if server.behind == Way::Sse { "sse" } else { "http" };
                    json!({ "type": kind, "url": url })
                }
            };
            if server.pinned {
                entry["protocol"] = json!(server.speaks);
            }
            entries.insert(server.name(), entry);
        }
        let gateway = Gateway::start(parts, &json!({ "mcpServers": entries }), &[]);
        Self { gateway, _processes: listening.into_iter().flatten().collect(), notes }
    }

    /// How a client starts the server on this SDK itself, able to speak whatever the SDK speaks.
    pub(crate) fn directly(&self, parts: &Parts, sdk: Sdk) -> Value {
        let (program, args) = command(parts, sdk, &self.notes, "stdio");
        json!({ "transport": "stdio", "command": program, "args": args })
    }

    /// How a client reaches a server through the gateway.
    pub(crate) fn through(&self, server: &Server, front: Way) -> Value {
        let wire = if front == Way::Sse { Wire::Sse } else { Wire::Streamable };
        let url = self.gateway.url(&server.name(), wire);
        if front == Way::Stdio {
            let program = env!("CARGO_BIN_EXE_gateway");
            return json!({ "transport": "stdio", "command": program, "args": ["stdio", url] });
        }
        over(wire, &url, None)
    }
}

/// How a server is told over what it is to speak: one of these would refuse anything else.
const fn wire(server: &Server) -> &'static str {
    match (server.behind, server.sdk) {
        (Way::Sse, _) => "sse",
        (Way::Streamable, _) => "http",
        (Way::Stdio, Sdk::TypeScript2) => "stdio-modern",
        (Way::Stdio, _) => "stdio",
    }
}

fn command(parts: &Parts, sdk: Sdk, notes: &Scratch, wire: &str) -> (String, Vec<String>) {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/servers");
    let script = |name: &str| scripts.join(name).to_str().unwrap().to_owned();
    let node = || "node".to_owned();
    let (program, mut args) = match sdk {
        Sdk::PythonOld => (parts.python("old", "python"), vec![script("server_1.py")]),
        Sdk::Python => (parts.python("clients", "python"), vec![script("server_1.py")]),
        Sdk::Python2 => (parts.python("fastmcp", "python"), vec![script("server_2.py")]),
        Sdk::FastMcp => (parts.python("fastmcp", "python"), vec![script("server_fastmcp.py")]),
        Sdk::TypeScript => {
            let packages = parts.node_dir().to_str().unwrap().to_owned();
            (node(), vec![script("server_1.mjs"), packages])
        }
        Sdk::TypeScript2 => (node(), vec![script("server_2.mjs"), parts.typescript_2()]),
        Sdk::Rust => (parts.rust("rmcp-server"), Vec::new()),
        other => panic!("no server is written on {other:?}"),
    };
    args.extend([notes.text().to_owned(), wire.to_owned()]);
    (program, args)
}
