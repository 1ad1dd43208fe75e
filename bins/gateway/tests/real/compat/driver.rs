//! One way to drive every client: a step in, what came of it out.

use serde_json::{Value, json};

use super::site::Server;
use crate::{
    client::{Client, Sdk, Wire, over},
    parts::Parts,
    rig::{Gateway, Scratch},
};

/// A client.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    Inspector,
    McpRemote,
    FastMcp,
    Python,
    Rust,
    TypeScript,
}

/// How a client reaches the gateway.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Front {
    Sse,
    Streamable,
    /// Through `gateway stdio`.
    Stdio,
}

impl Front {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Sse => "HTTP+SSE",
            Self::Streamable => "Streamable HTTP",
            Self::Stdio => "stdio",
        }
    }
}

impl Kind {
    pub(crate) const ALL: [Self; 6] = [
        Self::Inspector,
        Self::McpRemote,
        Self::FastMcp,
        Self::Python,
        Self::Rust,
        Self::TypeScript,
    ];

    /// Where it stands in the document.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Inspector => "inspector",
            Self::McpRemote => "mcp-remote",
            Self::FastMcp => "fastmcp",
            Self::Python => "python",
            Self::Rust => "rust",
            Self::TypeScript => "typescript",
        }
    }

    /// Over what it reaches a gateway.
    pub(crate) const fn fronts(self) -> &'static [Front] {
        match self {
            // On its own front side it is a server on stdio.
            Self::McpRemote => &[Front::Sse, Front::Streamable],
            // It has left the older transport behind.
            Self::Rust => &[Front::Streamable, Front::Stdio],
            _ => &[Front::Sse, Front::Streamable, Front::Stdio],
        }
    }

    /// Whether it is driven at this server: one that takes a process for each operation is not
    /// where others have shown the same.
    pub(crate) const fn visits(self, server: &Server) -> bool {
        !matches!(self, Self::Inspector) || server.asks || server.url.is_some()
    }

    const fn sdk(self) -> Sdk {
        match self {
            Self::Inspector => Sdk::Inspector,
            Self::McpRemote | Self::TypeScript => Sdk::TypeScript,
            Self::FastMcp => Sdk::FastMcp,
            Self::Python => Sdk::Python,
            Self::Rust => Sdk::Rust,
        }
    }
}

/// A client that runs, connected or not.
#[derive(Debug)]
pub(crate) struct Driver {
    kind: Kind,
    client: Client,
    parts: Parts,
    home: Scratch,
}

impl Driver {
    pub(crate) fn start(parts: &Parts, kind: Kind) -> Self {
        let client = Client::start(parts, kind.sdk());
        Self { kind, client, parts: parts.clone(), home: Scratch::new() }
    }

    pub(crate) const fn kind(&self) -> Kind {
        self.kind
    }

    /// How this client connects to a server of the gateway.
    pub(crate) fn through(
        &self,
        gateway: &Gateway,
        server: &str,
        front: Front,
        token: Option<&str>,
    ) -> Value {
        let wire = if front == Front::Sse { Wire::Sse } else { Wire::Streamable };
        let url = gateway.url(server, wire);
        if front == Front::Stdio {
            let mut args = vec!["stdio".to_owned(), url];
            if let Some(token) = token {
                args.extend(["--header".to_owned(), format!("Authorization: Bearer {token}")]);
            }
            let program = env!("CARGO_BIN_EXE_gateway");
            return json!({
                "transport": "stdio", "command": program, "args": args, "mode": "legacy",
            });
        }
        self.over_http(wire, &url, token)
    }

    /// How this client connects to the server itself; none where it cannot.
    pub(crate) fn directly(&self, server: &Server) -> Option<Value> {
        match (&server.url, self.kind) {
            // Each of its runs would end a server that started for it, for seconds.
            (_, Kind::Inspector) | (None, Kind::McpRemote) => None,
            // It has no words for what this one speaks at its port.
            (Some((Wire::Sse, _)), Kind::Rust) => server.child(),
            (Some((wire, url)), _) => Some(self.over_http(*wire, url, None)),
            (None, _) => server.child(),
        }
    }

    fn over_http(&self, wire: Wire, url: &str, token: Option<&str>) -> Value {
        if self.kind != Kind::McpRemote {
            let mut connect = over(wire, url, token);
            // Of the same revision as all others, where a client would rather begin with a later.
            connect["mode"] = json!("legacy");
            return connect;
        }
        let proxy = self.parts.third_party("mcp-remote/dist/proxy.js");
        let strategy = if wire == Wire::Sse { "sse-only" } else { "http-only" };
        let mut args = vec![proxy, url.to_owned(), "--transport".into(), strategy.into()];
        args.push("--silent".to_owned());
        if let Some(token) = token {
            args.extend(["--header".to_owned(), format!("Authorization: Bearer {token}")]);
        }
        // What it keeps, it keeps where it is gone with this test.
        let env = json!({ "HOME": self.home.text(), "MCP_REMOTE_CONFIG_DIR": self.home.text() });
        let command = self.parts.young_node();
        json!({ "transport": "stdio", "command": command, "args": args, "env": env })
    }

    /// Connects, and returns what came of that.
    #[track_caller]
    pub(crate) fn open(&mut self, connect: &Value) -> Value {
        self.client.open(connect)
    }

    /// Does a step; none where the client offers nothing of the kind.
    #[track_caller]
    pub(crate) fn attempt(&mut self, step: &Value) -> Option<Value> {
        let line = self.client.attempt(step.clone());
        let words = line["error"]["message"].as_str().unwrap_or_default();
        (!words.ends_with(": not offered")).then_some(line)
    }

    /// Waits for an event; none where the client shows no events.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, kind: &str, words: &str) -> Option<()> {
        (self.kind != Kind::Inspector).then(|| self.client.wait_for(kind, words))
    }

    /// The events of a kind that have come.
    pub(crate) fn events(&self, kind: &str) -> Vec<Value> {
        self.client.events(kind).into_iter().cloned().collect()
    }

    /// Ends the session, politely; the client goes on.
    #[track_caller]
    pub(crate) fn close(&mut self) -> Value {
        self.client.attempt(json!({ "op": "close" }))
    }

    /// Ends the client.
    pub(crate) fn end(self) {
        drop(self);
    }
}
