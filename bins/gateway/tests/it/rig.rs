//! The gateway as an operator runs it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    http::{self, Answer, Open},
    process::{Ended, Process, until},
};

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_gateway");

/// A running gateway.
#[derive(Debug)]
pub(crate) struct Gateway {
    pub(crate) process: Process,
    /// `127.0.0.1:port`, or `unix:/path`.
    pub(crate) at: String,
    dir: TempDir,
}

/// A gateway's configuration with these servers.
pub(crate) fn servers(servers: Value) -> Value {
    json!({ "mcpServers": servers })
}

/// A configuration with one server, in this process.
pub(crate) fn demo() -> Value {
    servers(json!({ "demo": { "type": "demo" } }))
}

/// An entry for the demonstration server as a child: this very program.
pub(crate) fn demo_child(dir: &Path) -> Value {
    let file = dir.join("child.json");
    fs::write(&file, demo().to_string()).unwrap();
    json!({ "command": PROGRAM, "args": ["stdio", "demo", "--config", file] })
}

/// Files of the tests' authority, good for `localhost` and `127.0.0.1`.
pub(crate) fn certificate(file: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crates/transport-sse/tests/data");
    dir.join(file).canonicalize().unwrap()
}

pub(crate) fn folder() -> TempDir {
    tempfile::Builder::new().prefix("gateway-it-").tempdir().unwrap()
}

/// The program with these arguments, in a small environment.
pub(crate) fn command(args: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(args).env_remove("MCP_GATEWAY_CONFIG").env_remove("MCP_GATEWAY_TOKEN");
    // Nothing is left behind, unless a test says where.
    command.env("MCP_GATEWAY_STATE_DIR", "none");
    command
}

/// Runs a command of the program to its end.
#[track_caller]
pub(crate) fn run(args: &[&str]) -> Ended {
    let mut process = Process::start(command(args));
    process.stdin = None;
    process.end()
}

/// Writes a configuration.
pub(crate) fn write(dir: &TempDir, config: &Value) -> String {
    let file = dir.path().join("gateway.json");
    fs::write(&file, serde_json::to_string_pretty(config).unwrap()).unwrap();
    file.to_str().unwrap().to_owned()
}

// === impl Gateway ===

impl Gateway {
    /// Starts it with this configuration, at a free port.
    #[track_caller]
    pub(crate) fn start(config: &Value) -> Self {
        Self::start_in(folder(), config, &["--listen", "127.0.0.1:0"])
    }

    /// Starts it with this configuration and these arguments besides.
    #[track_caller]
    pub(crate) fn start_in(dir: TempDir, config: &Value, args: &[&str]) -> Self {
        let file = write(&dir, config);
        let mut all = vec!["serve", "--config", &*file, "--log-format", "json"];
        all.extend(args);
        Self::of(Process::start(command(&all)), dir)
    }

    /// A gateway that has been started and is about to say where it listens.
    #[track_caller]
    pub(crate) fn of(process: Process, dir: TempDir) -> Self {
        let at = process.logged("where it listens", |line| {
            let (_, rest) = line.split_once("listening on ")?;
            let at = rest.split('"').next()?.trim();
            Some(at.trim_start_matches("http://").trim_start_matches("https://").to_owned())
        });
        Self { process, at, dir }
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.at)
    }

    /// Sends a request and reads the head of the response. `line` is a method and a path.
    #[track_caller]
    pub(crate) fn open(&self, line: &str, fields: &[(&str, &str)], body: &str) -> Open {
        let mut wire = http::connect(&self.at);
        wire.write_all(http::request(line, &self.at, fields, body).as_bytes()).unwrap();
        http::read_head(wire, line.starts_with("HEAD ")).unwrap()
    }

    /// Sends a request and reads the response.
    #[track_caller]
    pub(crate) fn ask(&self, line: &str, fields: &[(&str, &str)], body: &str) -> Answer {
        self.open(line, fields, body).read()
    }

    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Answer {
        self.ask(&format!("GET {path}"), &[], "")
    }

    /// Posts a message as a careful client would, with these fields besides.
    #[track_caller]
    pub(crate) fn post(&self, path: &str, fields: &[(&str, &str)], body: &str) -> Answer {
        let mut all = vec![
            ("Content-Type", "application/json"),
            ("Accept", "application/json, text/event-stream"),
        ];
        all.extend(fields);
        self.ask(&format!("POST {path}"), &all, body)
    }

    /// Begins a Streamable session; returns its id.
    #[track_caller]
    pub(crate) fn begin(&self, path: &str) -> String {
        let answer = self.post(path, &[], INITIALIZE);
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.field("mcp-session-id").unwrap().to_owned()
    }

    /// What `/status` says of a server, as soon as it is what `until` wants to hear.
    #[track_caller]
    pub(crate) fn status(&self, server: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        until(&format!("the status of {server}"), || {
            let all = self.get("/status").json();
            let mut servers = all["servers"].as_array().unwrap().iter();
            servers.find(|it| it["name"] == server && wanted(it)).cloned()
        })
    }

    /// The line of log of the first request after these that has these members.
    #[track_caller]
    pub(crate) fn request_line(&self, from: usize, wanted: &[(&str, Value)]) -> (usize, Value) {
        self.process.logged_from(from, &format!("{wanted:?}"), |line| {
            let line: Value = serde_json::from_str(line).ok()?;
            let fits = wanted.iter().all(|(name, value)| line[name] == *value);
            (line["message"] == "request" && fits).then_some(line)
        })
    }

    /// Asks it to end, and waits until it has.
    #[track_caller]
    pub(crate) fn end(self) -> Ended {
        self.process.signal(Signal::TERM);
        self.process.end()
    }
}

/// A client that can be asked nothing.
pub(crate) const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"it","version":"1"}}}"#;

/// A call of a tool.
pub(crate) fn call(id: i64, tool: &str, arguments: &Value) -> String {
    let params = json!({ "name": tool, "arguments": arguments });
    json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params }).to_string()
}
