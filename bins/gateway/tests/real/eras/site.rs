//! The scripted servers of both generations (`fixtures/servers`), each as a child and on a port.

use std::{path::Path, process::Command};

use serde_json::{Map, Value, json};

use crate::{
    client::Sdk,
    parts::Parts,
    process::Process,
    rig::{Gateway, Scratch},
};

/// The SDKs that the servers are written on.
pub(crate) const SERVERS: [Sdk; 4] = [Sdk::Python, Sdk::TypeScript, Sdk::Python2, Sdk::TypeScript2];

/// A server as the gateway has it behind.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) sdk: Sdk,
    /// Its name in the configuration.
    pub(crate) name: String,
    /// How the gateway reaches it.
    pub(crate) behind: &'static str,
}

/// Everything that runs.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) servers: Vec<Server>,
    // First the gateway ends, then what is behind it.
    pub(crate) gateway: Gateway,
    _processes: Vec<Process>,
    notes: Scratch,
}

impl Site {
    pub(crate) fn start(parts: &Parts) -> Self {
        let notes = Scratch::new();
        let (mut servers, mut entries, mut processes) = (Vec::new(), Map::new(), Vec::new());
        for sdk in SERVERS {
            let (program, args) = command(parts, sdk, &notes, stdio(sdk));
            let (name, behind) = (format!("{sdk:?}-stdio").to_lowercase(), "stdio");
            let mut entry = json!({ "command": program, "args": args });
            if sdk == Sdk::Python2 {
                // It speaks both, and on a busy machine starts for longer than it is waited for.
                entry["protocol"] = json!("2026-07-28");
            }
            entries.insert(name.clone(), entry);
            servers.push(Server { sdk, name, behind });
            let (program, args) = command(parts, sdk, &notes, "http");
            let mut command = Command::new(program);
            command.args(args);
            processes.push(Process::start(&format!("the server on {sdk:?}"), command, "TERM"));
        }
        for (sdk, process) in SERVERS.into_iter().zip(&processes) {
            let url = process.wait_for("where it listens", |line| {
                line.strip_prefix("listening on ").map(|it| it.trim().to_owned())
            });
            let (name, behind) = (format!("{sdk:?}-http").to_lowercase(), "Streamable HTTP");
            entries.insert(name.clone(), json!({ "type": "http", "url": url }));
            servers.push(Server { sdk, name, behind });
        }
        let gateway = Gateway::start(parts, &json!({ "mcpServers": entries }), &[]);
        Self { servers, gateway, _processes: processes, notes }
    }

    /// How a client starts this server itself, able to speak whatever the SDK speaks.
    pub(crate) fn directly(&self, parts: &Parts, sdk: Sdk) -> Value {
        let (program, args) = command(parts, sdk, &self.notes, "stdio");
        json!({ "transport": "stdio", "command": program, "args": args })
    }
}

/// Whether this SDK knows 2026-07-28.
pub(crate) const fn is_modern(sdk: Sdk) -> bool {
    matches!(sdk, Sdk::Python2 | Sdk::TypeScript2)
}

/// Of these the gateway has one behind that would refuse anything else.
const fn stdio(sdk: Sdk) -> &'static str {
    match sdk {
        Sdk::TypeScript2 => "stdio-modern",
        _ => "stdio",
    }
}

fn command(parts: &Parts, sdk: Sdk, notes: &Scratch, wire: &str) -> (String, Vec<String>) {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/servers");
    let script = |name: &str| scripts.join(name).to_str().unwrap().to_owned();
    let node = || "node".to_owned();
    let (program, mut args) = match sdk {
        Sdk::Python => (parts.python("clients", "python"), vec![script("server_1.py")]),
        Sdk::Python2 => (parts.python("fastmcp", "python"), vec![script("server_2.py")]),
        Sdk::TypeScript => {
            let packages = parts.node_dir().to_str().unwrap().to_owned();
            (node(), vec![script("server_1.mjs"), packages])
        }
        Sdk::TypeScript2 => (node(), vec![script("server_2.mjs"), parts.typescript_2()]),
        other => panic!("no server is written on {other:?}"),
    };
    args.extend([notes.text().to_owned(), wire.to_owned()]);
    (program, args)
}
