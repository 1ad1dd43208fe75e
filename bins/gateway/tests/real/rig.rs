//! The gateway as an operator runs it: the program, a file, a port.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{self, Command},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use serde_json::Value;

use crate::{
    client::Wire,
    http::{self, Answer},
    parts::Parts,
    process::{Process, START_TIMEOUT},
};

/// A folder that is gone when it is dropped.
#[derive(Debug)]
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name =
            format!("gateway-real-{}-{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path.canonicalize().unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// The folder, as a server's argument.
    pub(crate) fn text(&self) -> &str {
        self.0.to_str().unwrap()
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed lies in the folder for temporary files.
        drop(fs::remove_dir_all(&self.0));
    }
}

/// A running gateway.
#[derive(Debug)]
pub(crate) struct Gateway {
    pub(crate) addr: SocketAddr,
    pub(crate) process: Process,
    _scratch: Scratch,
}

impl Gateway {
    /// Starts it with this configuration, as it would be written by hand, and waits for its port.
    ///
    /// It runs in the folder in which npm has installed, so that `npx` finds the servers there.
    pub(crate) fn start(parts: &Parts, config: &Value, env: &[(&str, &str)]) -> Self {
        // Nothing is left behind.
        Self::launch(parts, config, env, "127.0.0.1:0", "none")
    }

    /// The same at an address of the test's choice, and with a folder for what is to outlive it.
    pub(crate) fn start_at(parts: &Parts, config: &Value, listen: &str, state: &str) -> Self {
        Self::launch(parts, config, &[], listen, state)
    }

    fn launch(
        parts: &Parts,
        config: &Value,
        env: &[(&str, &str)],
        listen: &str,
        state: &str,
    ) -> Self {
        let scratch = Scratch::new();
        let file = scratch.write("config.json", &serde_json::to_string_pretty(config).unwrap());
        let mut command = Command::new(env!("CARGO_BIN_EXE_gateway"));
        command.args(["serve", "--config", &file, "--listen", listen]);
        command.env("MCP_GATEWAY_STATE_DIR", state);
        command.current_dir(parts.node_dir()).envs(env.iter().copied());
        let process = Process::start("the gateway", command, "TERM");
        let addr = process.wait_for("where it listens", |line| {
            let (_, rest) = line.split_once("listening on http://")?;
            rest.split(|it: char| !it.is_ascii_digit() && !".:[]".contains(it)).next()?.parse().ok()
        });
        Self { addr, process, _scratch: scratch }
    }

    pub(crate) fn url(&self, server: &str, wire: Wire) -> String {
        let route = if server.is_empty() { String::new() } else { format!("/{server}") };
        format!("http://{}{route}/{}", self.addr, wire.door())
    }

    /// Gets what has an end; a stream, which has none, is a failure.
    #[track_caller]
    pub(crate) fn get(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let opened = http::open(self.addr, &format!("GET {path}"), fields, "");
        assert!(!opened.is_stream(), "GET {path} opened a stream, status {}", opened.status);
        opened.read()
    }

    /// Posts a message as a careful client would.
    pub(crate) fn post(&self, path: &str, fields: &[(&str, &str)], body: &Value) -> Answer {
        let mut all = vec![("Content-Type", "application/json")];
        all.extend(fields);
        http::ask(self.addr, &format!("POST {path}"), &all, &body.to_string())
    }

    /// What `/status` says of a server, as soon as it says what `until` wants to hear.
    pub(crate) fn status(
        &self,
        server: &str,
        fields: &[(&str, &str)],
        until: impl Fn(&Value) -> bool,
    ) -> Value {
        let step = Duration::from_millis(100);
        let mut left = START_TIMEOUT;
        loop {
            let all = self.get("/status", fields);
            assert_eq!(all.status, 200, "{all:?}");
            let found = find(&all.json(), server);
            if found.as_ref().is_some_and(&until) {
                return found.unwrap();
            }
            assert!(!left.is_zero(), "{server} did not get there: {}", all.body);
            self.process.breathe(step);
            left = left.saturating_sub(step);
        }
    }

    /// Ends it with another signal than the polite one.
    pub(crate) fn end_with(&mut self, signal: &'static str) -> Option<i32> {
        self.process.signal = signal;
        self.process.end()
    }

    /// Waits for a line of the log that has all these words.
    pub(crate) fn logged(&self, words: &[&str]) -> String {
        let whole = |line: &str| words.iter().all(|it| line.contains(it)).then(|| line.to_owned());
        self.process.wait_for(&words.join(" … "), whole)
    }
}

/// A server's entry in `/status`: under its name, or in a list with its name in it.
fn find(status: &Value, server: &str) -> Option<Value> {
    let servers = status.get("servers").unwrap_or(status);
    if let Some(entry) = servers.get(server) {
        return Some(entry.clone());
    }
    servers.as_array()?.iter().find(|it| it["name"] == server).cloned()
}

/// Whether an entry of `/status` is in this state.
pub(crate) fn in_state(entry: &Value, state: &str) -> bool {
    entry["state"] == state
}
