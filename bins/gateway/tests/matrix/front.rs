//! Clients in front of each wire, who say and hear texts.

use std::{
    io::Write,
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread,
    time::Duration,
};

use mcp_jsonrpc::ProtocolVersion;

use crate::{
    http::{self, Open},
    process::{PATIENCE, Process},
    puppet::lock,
    rig::{Gateway, command},
    said::Said,
};

/// How a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Front {
    Sse,
    Streamable,
    Stdio,
}

pub(crate) const FRONTS: [Front; 3] = [Front::Sse, Front::Streamable, Front::Stdio];

/// A client's end of a wire.
pub(crate) struct Wire {
    voice: Voice,
    heard: Receiver<String>,
}

enum Voice {
    Sse { at: String, endpoint: String },
    Streamable(Arc<Streamable>),
    Stdio(Box<Process>),
}

struct Streamable {
    at: String,
    path: String,
    session: Mutex<Option<String>>,
    version: Mutex<Option<ProtocolVersion>>,
    tell: Sender<String>,
}

impl Wire {
    pub(crate) fn connect(gateway: &Gateway, front: Front, server: &str) -> Self {
        let (tell, heard) = channel();
        let at = gateway.at.clone();
        let voice = match front {
            Front::Sse => {
                let mut open = gateway.open(&format!("GET /{server}/sse"), &[], "");
                assert_eq!(open.status, 200, "{open:?}");
                // Its path, with which every session begins.
                let endpoint = open.data();
                assert!(endpoint.starts_with('/'), "{endpoint}");
                thread::spawn(move || listen(open, &tell));
                Voice::Sse { at, endpoint }
            }
            Front::Streamable => Voice::Streamable(Arc::new(Streamable {
                at,
                path: format!("/{server}/mcp"),
                session: Mutex::default(),
                version: Mutex::default(),
                tell,
            })),
            Front::Stdio => {
                let file = gateway.dir().join("gateway.json");
                let process =
                    Process::start(command(&["stdio", server, "--config", file.to_str().unwrap()]));
                let lines = process.lines();
                thread::spawn(move || {
                    let lines = (0..).map_while(|at| lines.at(at));
                    lines.map_while(|line| tell.send(line).ok()).for_each(drop);
                });
                Voice::Stdio(Box::new(process))
            }
        };
        Self { voice, heard }
    }

    /// From now on this revision is spoken, and what is said unasked is heard.
    pub(crate) fn speak(&self, version: ProtocolVersion) {
        let Voice::Streamable(it) = &self.voice else { return };
        *lock(&it.version) = Some(version);
        let open = it.send("GET", "");
        assert_eq!(open.status, 200, "{open:?}");
        let tell = it.tell.clone();
        thread::spawn(move || listen(open, &tell));
    }

    /// Says this. What is no request has been taken when this returns.
    pub(crate) fn say(&mut self, text: &str) {
        let is_request = Said::all(text).iter().any(|it| it.id.is_some() && it.method.is_some());
        match &mut self.voice {
            Voice::Sse { at, endpoint } => {
                let fields = [("Content-Type", "application/json"), ("Connection", "close")];
                let text = http::request(&format!("POST {endpoint}"), at, &fields, text);
                let mut wire = http::connect(at);
                wire.write_all(text.as_bytes()).unwrap();
                let answer = http::read_head(wire, false).unwrap().read();
                assert_eq!(answer.status, 202, "{answer:?}");
            }
            Voice::Streamable(it) if is_request => {
                let (it, mut wire) = (Arc::clone(it), http::connect(&it.at));
                wire.write_all(it.text("POST", text).as_bytes()).unwrap();
                thread::spawn(move || it.hear(http::read_head(wire, false)));
            }
            Voice::Streamable(it) => {
                let answer = it.send("POST", text).read();
                assert_eq!(answer.status, 202, "{answer:?} to {text}");
            }
            Voice::Stdio(process) => {
                let stdin = process.stdin.as_mut().unwrap();
                stdin.write_all(format!("{text}\n").as_bytes()).unwrap();
            }
        }
    }

    /// The next text.
    pub(crate) fn hear(&self) -> String {
        match self.heard.recv_timeout(PATIENCE) {
            Ok(text) => text,
            Err(RecvTimeoutError::Timeout) => panic!("nothing more is heard"),
            Err(RecvTimeoutError::Disconnected) => panic!("the connection ended: {}", self.log()),
        }
    }

    /// What there is to hear without much waiting.
    pub(crate) fn rest(&self) -> Vec<String> {
        let wait = Duration::from_millis(50);
        std::iter::from_fn(|| self.heard.recv_timeout(wait).ok()).collect()
    }

    fn log(&self) -> String {
        match &self.voice {
            Voice::Stdio(process) => process.log().join("\n"),
            Voice::Sse { .. } | Voice::Streamable(_) => String::new(),
        }
    }
}

impl Streamable {
    fn text(&self, method: &str, body: &str) -> String {
        let (session, version) = (lock(&self.session).clone(), *lock(&self.version));
        let mut fields = vec![("Accept", "application/json, text/event-stream")];
        if method == "POST" {
            fields.push(("Content-Type", "application/json"));
        }
        fields.extend(session.as_deref().map(|it| ("Mcp-Session-Id", it)));
        // The header came with this revision.
        let version = version.filter(|it| ProtocolVersion::V2025_06_18 <= *it);
        fields.extend(version.map(|it| ("MCP-Protocol-Version", it.as_str())));
        http::request(&format!("{method} {}", self.path), &self.at, &fields, body)
    }

    fn send(&self, method: &str, body: &str) -> Open {
        let mut wire = http::connect(&self.at);
        wire.write_all(self.text(method, body).as_bytes()).unwrap();
        http::read_head(wire, false).unwrap()
    }

    /// Passes on what a response says; what is no message too, for whoever waits to stumble over.
    fn hear(&self, open: std::io::Result<Open>) {
        let Ok(open) = open else { return };
        if let Some(id) = open.field("mcp-session-id") {
            *lock(&self.session) = Some(id.to_owned());
        }
        if open.field("content-type").is_some_and(|it| it.starts_with("text/event-stream")) {
            return listen(open, &self.tell);
        }
        let answer = open.read();
        let text = if answer.status == 200 { answer.body } else { format!("{answer:?}") };
        drop(self.tell.send(text));
    }
}

/// Passes on what a stream says, until it ends or nobody wants to hear it.
fn listen(mut open: Open, tell: &Sender<String>) {
    while let Ok(Some(event)) = open.event() {
        let Some(data) = event.data.filter(|it| !it.is_empty()) else { continue };
        if tell.send(data).is_err() {
            return;
        }
    }
}
