//! An MCP client with a script: over HTTP+SSE, over Streamable HTTP, and over stdio.

use std::{
    collections::VecDeque,
    io::Write,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, Sender, channel},
    },
    thread,
};

use serde_json::{Value, json};

use crate::{
    http::{self, Open},
    process::{PATIENCE, Process},
    rig::{Gateway, command},
};

/// How a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Front {
    Sse,
    Streamable,
    /// Streamable HTTP without a GET stream, as many clients do it.
    Unlistening,
    Stdio,
}

/// What reaches a client.
#[derive(Debug)]
enum Heard {
    Message(String),
    /// A response that is no message.
    Refused(u16, String),
    Endpoint(String),
}

/// An MCP client.
#[derive(Debug)]
pub(crate) struct Client {
    voice: Voice,
    heard: Receiver<Heard>,
    /// What came while something else was awaited.
    pub(crate) aside: VecDeque<Value>,
    next_id: i64,
}

#[derive(Debug)]
enum Voice {
    Sse { at: String, endpoint: String },
    Streamable(Arc<Streamable>),
    Stdio(Box<Process>),
}

#[derive(Debug)]
struct Streamable {
    at: String,
    path: String,
    session: Mutex<Option<String>>,
    version: Mutex<Option<String>>,
    tell: Sender<Heard>,
}

/// What a client says of itself when it can be asked everything.
pub(crate) fn capabilities() -> Value {
    json!({ "sampling": {}, "elicitation": {}, "roots": { "listChanged": true } })
}

// === impl Client ===

impl Client {
    /// A client that has not begun yet, of a server, of all servers (``), or of a group (`g/NAME`).
    #[track_caller]
    pub(crate) fn connect(gateway: &Gateway, front: Front, server: &str) -> Self {
        let (tell, heard) = channel();
        let (at, aside) = (gateway.at.clone(), VecDeque::new());
        let route = if server.is_empty() { String::new() } else { format!("/{server}") };
        let voice = match front {
            Front::Sse => {
                let open = gateway.open(&format!("GET {route}/sse"), &[], "");
                assert_eq!(open.status, 200, "{open:?}");
                thread::spawn(move || listen(open, &tell));
                let Ok(Heard::Endpoint(endpoint)) = heard.recv_timeout(PATIENCE) else {
                    panic!("no endpoint")
                };
                Voice::Sse { at, endpoint }
            }
            Front::Streamable | Front::Unlistening => Voice::Streamable(Arc::new(Streamable {
                at,
                path: format!("{route}/mcp"),
                session: Mutex::default(),
                version: Mutex::default(),
                tell,
            })),
            Front::Stdio => {
                let file = gateway.dir().join("gateway.json");
                let file = file.to_str().unwrap();
                let which = match server.strip_prefix("g/") {
                    Some(group) => vec!["--group", group],
                    None => Vec::from_iter((!server.is_empty()).then_some(server)),
                };
                return Self::stdio(&[&["stdio", "--config", file][..], &which].concat());
            }
        };
        Self { voice, heard, aside, next_id: 1 }
    }

    /// A client of `gateway stdio …`.
    pub(crate) fn stdio(args: &[&str]) -> Self {
        let (tell, heard) = channel();
        let process = Process::start(command(args));
        let lines = process.lines();
        thread::spawn(move || {
            for at in 0.. {
                let Some(line) = lines.at(at) else { return };
                if tell.send(Heard::Message(line)).is_err() {
                    return;
                }
            }
        });
        let voice = Voice::Stdio(Box::new(process));
        Self { voice, heard, aside: VecDeque::new(), next_id: 1 }
    }

    /// A client that has begun, and can be asked everything.
    #[track_caller]
    pub(crate) fn begin(gateway: &Gateway, front: Front, server: &str) -> Self {
        let mut client = Self::connect(gateway, front, server);
        client.initialize("2025-11-25", &capabilities());
        if front == Front::Streamable {
            client.listen();
        }
        client
    }

    /// Says `initialize`; returns the result.
    #[track_caller]
    pub(crate) fn initialize(&mut self, version: &str, capabilities: &Value) -> Value {
        let params = json!({
            "protocolVersion": version,
            "capabilities": capabilities,
            "clientInfo": { "name": "it", "version": "1" },
        });
        let answer = self.ask("initialize", params);
        let result = answer["result"].clone();
        assert!(result.is_object(), "{answer}");
        if let Voice::Streamable(it) = &self.voice {
            *lock(&it.version) = result["protocolVersion"].as_str().map(str::to_owned);
        }
        self.say(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
        result
    }

    /// Opens the stream of what is said unasked; returns once it is open.
    #[track_caller]
    pub(crate) fn listen(&self) {
        let Voice::Streamable(it) = &self.voice else { return };
        let open = it.send("GET", "");
        assert_eq!(open.status, 200, "{open:?}");
        let tell = it.tell.clone();
        thread::spawn(move || listen(open, &tell));
    }

    /// The id of the session, on a wire that has one.
    pub(crate) fn session(&self) -> Option<String> {
        match &self.voice {
            Voice::Streamable(it) => lock(&it.session).clone(),
            Voice::Sse { endpoint, .. } => endpoint.split_once("sessionId=").map(|it| it.1.into()),
            Voice::Stdio(_) => None,
        }
    }

    /// Says this, word for word. What is no request has been taken when this returns.
    #[track_caller]
    pub(crate) fn say(&mut self, text: &str) {
        match &mut self.voice {
            Voice::Sse { at, endpoint } => {
                let fields = [("Content-Type", "application/json"), ("Connection", "close")];
                let text = http::request(&format!("POST {endpoint}"), at, &fields, text);
                let mut wire = http::connect(at);
                wire.write_all(text.as_bytes()).unwrap();
                let answer = http::read_head(wire, false).unwrap().read();
                assert_eq!(answer.status, 202, "{answer:?}");
            }
            Voice::Streamable(it) => {
                if !(text.contains(r#""id":"#) && text.contains(r#""method":"#)) {
                    let answer = it.send("POST", text).read();
                    assert_eq!(answer.status, 202, "{answer:?}");
                    return;
                }
                let (it, mut wire) = (Arc::clone(it), http::connect(&it.at));
                wire.write_all(it.text("POST", text).as_bytes()).unwrap();
                thread::spawn(move || it.hear(http::read_head(wire, false)));
            }
            Voice::Stdio(process) => {
                let stdin = process.stdin.as_mut().unwrap();
                stdin.write_all(format!("{text}\n").as_bytes()).unwrap();
            }
        }
    }

    /// The next message, word for word.
    #[track_caller]
    pub(crate) fn hear(&self) -> String {
        match self.heard.recv_timeout(PATIENCE) {
            Ok(Heard::Message(text)) => text,
            Ok(Heard::Refused(status, body)) => panic!("{status} instead of a message: {body}"),
            other => panic!("{other:?} instead of a message, after {:?}", self.aside),
        }
    }

    /// Sends a request; returns its id.
    #[track_caller]
    pub(crate) fn send(&mut self, method: &str, params: Value) -> i64 {
        let id = self.next_id;
        self.next_id += 1;
        let mut message = json!({ "jsonrpc": "2.0", "id": id, "method": method });
        message["params"] = params;
        self.say(&message.to_string());
        id
    }

    /// The next message that is not of the kind that can be put aside.
    #[track_caller]
    fn next(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        if let Some(at) = self.aside.iter().position(&wanted) {
            return self.aside.remove(at).unwrap();
        }
        loop {
            let text = self.hear();
            let message: Value = serde_json::from_str(&text).unwrap();
            if wanted(&message) {
                return message;
            }
            self.aside.push_back(message);
        }
    }

    /// The answer to a request.
    #[track_caller]
    pub(crate) fn answer(&mut self, id: i64) -> Value {
        self.next(|it| it["id"] == id && it["method"].is_null())
    }

    /// What the server says, or asks, by this method.
    #[track_caller]
    pub(crate) fn told(&mut self, method: &str) -> Value {
        self.next(|it| it["method"] == method)
    }

    #[track_caller]
    pub(crate) fn ask(&mut self, method: &str, params: Value) -> Value {
        let id = self.send(method, params);
        self.answer(id)
    }

    /// Calls a tool; returns its id.
    #[track_caller]
    pub(crate) fn begin_call(&mut self, tool: &str, arguments: Value) -> i64 {
        let params =
            json!({ "name": tool, "arguments": arguments, "_meta": { "progressToken": "p" } });
        self.send("tools/call", params)
    }

    /// Calls a tool; returns the text of its result.
    #[track_caller]
    pub(crate) fn call(&mut self, tool: &str, arguments: Value) -> String {
        let id = self.begin_call(tool, arguments);
        self.text(id)
    }

    /// The text of a call's result.
    #[track_caller]
    pub(crate) fn text(&mut self, id: i64) -> String {
        let answer = self.answer(id);
        let text = answer["result"]["content"][0]["text"].as_str();
        text.unwrap_or_else(|| panic!("no text in {answer}")).to_owned()
    }

    /// Answers a question of the server's.
    #[track_caller]
    pub(crate) fn reply(&mut self, question: &Value, result: Value) {
        self.say(&json!({ "jsonrpc": "2.0", "id": question["id"], "result": result }).to_string());
    }

    /// The process of `gateway stdio`.
    pub(crate) fn into_process(self) -> Process {
        match self.voice {
            Voice::Stdio(process) => *process,
            other => panic!("{other:?} is no process"),
        }
    }
}

// === impl Streamable ===

impl Streamable {
    fn text(&self, method: &str, body: &str) -> String {
        let (session, version) = (lock(&self.session).clone(), lock(&self.version).clone());
        let mut fields = vec![("Accept", "application/json, text/event-stream")];
        if method == "POST" {
            fields.push(("Content-Type", "application/json"));
        }
        fields.extend(session.as_deref().map(|it| ("Mcp-Session-Id", it)));
        fields.extend(version.as_deref().map(|it| ("MCP-Protocol-Version", it)));
        http::request(&format!("{method} {}", self.path), &self.at, &fields, body)
    }

    fn send(&self, method: &str, body: &str) -> Open {
        let mut wire = http::connect(&self.at);
        wire.write_all(self.text(method, body).as_bytes()).unwrap();
        http::read_head(wire, false).unwrap()
    }

    /// Passes on what a response says.
    fn hear(&self, open: std::io::Result<Open>) {
        let Ok(open) = open else { return };
        if let Some(id) = open.field("mcp-session-id") {
            *lock(&self.session) = Some(id.to_owned());
        }
        if open.field("content-type").is_some_and(|it| it.starts_with("text/event-stream")) {
            return listen(open, &self.tell);
        }
        let answer = open.read();
        let heard = match answer.status {
            200 => Heard::Message(answer.body),
            status => Heard::Refused(status, answer.body),
        };
        drop(self.tell.send(heard));
    }
}

/// Passes on what a stream says, until it ends or nobody wants to hear it.
fn listen(mut open: Open, tell: &Sender<Heard>) {
    while let Ok(Some(event)) = open.event() {
        let Some(data) = event.data.filter(|it| !it.is_empty()) else { continue };
        let heard = match event.kind.as_deref() {
            Some("endpoint") => Heard::Endpoint(data),
            _ => Heard::Message(data),
        };
        if tell.send(heard).is_err() {
            return;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
