//! A real client: a scripted one on an official SDK, step by step (`fixtures/clients`).

use std::{
    env,
    fmt::Debug,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::Duration,
};

use serde_json::{Value, json};

use crate::parts::Parts;

/// How long a step may take. The SDKs' own limit is shorter, but before the first step a client is
/// read from the disk, which takes long where many want the processor.
const STEP_TIMEOUT: Duration = Duration::from_secs(240);

/// How long a client may take to end.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// Whose SDK.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Sdk {
    /// One that knows no revision but 2024-11-05.
    PythonOld,
    Python,
    /// Its second generation, which asks for 2026-07-28 first.
    Python2,
    TypeScript,
    /// Its second generation; it, too, is told to ask for 2026-07-28 first.
    TypeScript2,
    FastMcp,
    Rust,
    /// A command line, and no SDK.
    Inspector,
}

/// How it connects.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Wire {
    Sse,
    Streamable,
}

/// Every client in front.
pub(crate) const CLIENTS: [(Sdk, Wire); 4] = [
    (Sdk::Python, Wire::Sse),
    (Sdk::Python, Wire::Streamable),
    (Sdk::TypeScript, Wire::Sse),
    (Sdk::TypeScript, Wire::Streamable),
];

impl Wire {
    /// The last segment of our routes.
    pub(crate) const fn door(self) -> &'static str {
        match self {
            Self::Sse => "sse",
            Self::Streamable => "mcp",
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Sse => "sse",
            Self::Streamable => "streamable",
        }
    }
}

/// A connected client, or one that tried.
#[derive(Debug)]
pub(crate) struct Client {
    child: Child,
    steps: Option<ChildStdin>,
    lines: Receiver<Value>,
    events: Vec<Value>,
    name: String,
}

impl Client {
    /// Starts a client and lets it connect; what came of that is the second value.
    pub(crate) fn try_connect(parts: &Parts, sdk: Sdk, connect: &Value) -> (Self, Value) {
        let mut client = Self::start(parts, sdk);
        let opened = client.open(connect);
        (client, opened)
    }

    /// Starts a client that is not connected yet.
    pub(crate) fn start(parts: &Parts, sdk: Sdk) -> Self {
        let mut command = program(parts, sdk);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (heard, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let Ok(line) = serde_json::from_str(&line) else { continue };
                if heard.send(line).is_err() {
                    return;
                }
            }
        });
        let steps = child.stdin.take();
        Self { child, steps, lines, events: Vec::new(), name: format!("{sdk:?}") }
    }

    /// Lets it connect, once more perhaps; returns what came of that.
    #[track_caller]
    pub(crate) fn open(&mut self, connect: &Value) -> Value {
        let sdk = self.name.split(' ').next().unwrap_or_default();
        self.name = format!("{sdk} at {}", connect["url"].as_str().unwrap_or("a child"));
        let args = connect["args"].as_array().into_iter().flatten();
        args.for_each(|it| self.name += &format!(" {it}"));
        self.events.clear();
        let mut first = connect.clone();
        first["op"] = json!("connect");
        self.attempt(first)
    }

    /// Starts a client that connects.
    #[track_caller]
    pub(crate) fn connect(parts: &Parts, sdk: Sdk, connect: &Value) -> Self {
        let (client, opened) = Self::try_connect(parts, sdk, connect);
        assert_eq!(opened["ok"], true, "{}: {opened}", client.name);
        client
    }

    /// Does a step and returns its line, whatever it says.
    #[track_caller]
    pub(crate) fn attempt(&mut self, step: impl Into<Value>) -> Value {
        let step = step.into();
        // Some Node.js sees the end of a line in it.
        let line = step.to_string().replace('\u{2028}', "\\u2028");
        let written = self.steps.as_mut().map(|it| writeln!(it, "{line}"));
        assert!(written.is_some_and(|it| it.is_ok()), "{} is gone before {step}", self.name);
        loop {
            let line = self.lines.recv_timeout(STEP_TIMEOUT);
            let line = line.unwrap_or_else(|error| panic!("{}: {step}: {error}", self.name));
            if line.get("event").is_none() {
                return line;
            }
            self.events.push(line);
        }
    }

    /// Does a step that succeeds and returns its result.
    #[track_caller]
    pub(crate) fn step(&mut self, step: impl Into<Value>) -> Value {
        let step = step.into();
        let mut line = self.attempt(step.clone());
        assert_eq!(line["ok"], true, "{}: {step}: {line}", self.name);
        line["result"].take()
    }

    /// Calls a tool that succeeds and returns the text of its answer.
    #[track_caller]
    pub(crate) fn call(&mut self, tool: &str, args: &Value) -> String {
        let result = self.step(json!({ "op": "call", "name": tool, "args": args }));
        assert_ne!(result["isError"], true, "{}: {tool}: {result}", self.name);
        text(&result)
    }

    /// The names of the server's tools.
    #[track_caller]
    pub(crate) fn tools(&mut self) -> Vec<String> {
        let listed = self.step(json!({ "op": "tools" }));
        let tools = listed["tools"].as_array().unwrap().iter();
        tools.map(|it| it["name"].as_str().unwrap().to_owned()).collect()
    }

    /// The events of a kind that have come, in their order.
    pub(crate) fn events(&self, kind: &str) -> Vec<&Value> {
        self.events.iter().filter(|it| it["event"] == kind).collect()
    }

    /// Waits until an event with these words in it has come.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, kind: &str, words: &str) {
        let hit = |it: &Value| it["event"] == kind && it.to_string().contains(words);
        while !self.events.iter().any(hit) {
            let line = self.lines.recv_timeout(STEP_TIMEOUT);
            let line = line.unwrap_or_else(|error| panic!("{}: no {kind}: {error}", self.name));
            self.events.push(line);
        }
    }

    /// Ends the session, politely.
    #[track_caller]
    pub(crate) fn close(mut self) {
        let closed = self.attempt(json!({ "op": "close" }));
        assert_eq!(closed["ok"], true, "{}: {closed}", self.name);
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // The end of its stdin ends it, and with it the server that its SDK may have started: who
        // is killed before cannot see to that.  The end of its stdout says that it is done.
        self.steps.take();
        while self.lines.recv_timeout(CLOSE_TIMEOUT).is_ok() {}
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// How to connect over HTTP.
pub(crate) fn over(wire: Wire, url: &str, token: Option<&str>) -> Value {
    let mut connect = json!({ "transport": wire.name(), "url": url });
    if let Some(token) = token {
        connect["token"] = json!(token);
    }
    connect
}

/// The text blocks of a tool's result.
pub(crate) fn text(result: &Value) -> String {
    let blocks = result["content"].as_array().into_iter().flatten();
    blocks.filter_map(|it| it["text"].as_str()).collect::<Vec<_>>().join("\n")
}

fn program(parts: &Parts, sdk: Sdk) -> Command {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/clients");
    let mut command = match sdk {
        Sdk::PythonOld | Sdk::Python => {
            let set = if sdk == Sdk::Python { "clients" } else { "old" };
            let mut command = Command::new(parts.python(set, "python"));
            command.arg(scripts.join("client.py"));
            command
        }
        Sdk::Python2 => {
            let mut command = Command::new(parts.python("fastmcp", "python"));
            command.arg(scripts.join("client_2.py"));
            command
        }
        Sdk::FastMcp => {
            let mut command = Command::new(parts.python("fastmcp", "python"));
            command.arg(scripts.join("client_fastmcp.py"));
            command
        }
        Sdk::Rust => Command::new(parts.rust("rmcp-client")),
        Sdk::Inspector => {
            let mut command = Command::new(parts.young_node());
            command.arg(scripts.join("inspector.mjs"));
            command.arg(parts.third_party("@modelcontextprotocol/inspector"));
            // What a person keeps for it has no business here.
            command.env("HOME", env::temp_dir());
            command
        }
        Sdk::TypeScript => {
            let mut command = Command::new("node");
            command.arg(scripts.join("client.mjs")).arg(parts.node_dir());
            command
        }
        Sdk::TypeScript2 => {
            let mut command = Command::new("node");
            command.arg(scripts.join("client_2.mjs")).arg(parts.typescript_2());
            command
        }
    };
    for name in env::vars_os().map(|it| it.0) {
        // A proxy of the machine's has no business on loopback.
        if name.to_string_lossy().to_ascii_lowercase().ends_with("_proxy") {
            command.env_remove(name);
        }
    }
    command
}
