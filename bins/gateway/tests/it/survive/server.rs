//! The server of these tests: a process of its own, written by hand, that keeps a ledger of what it
//! was told and of what it did, so that nothing is done twice without being seen.
//!
//! It is this very test program, run again (see [`as_a_process`]), and speaks whichever wire it is
//! told to.  What it cannot answer at once it never answers: it is there to be killed.

use std::{
    collections::HashMap,
    env, fs,
    io::Write,
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{self, Command},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, AtomicU16, Ordering},
    },
    thread,
};

use serde_json::{Value, json};

use super::{http, lines};
use crate::process::{Process, until};

/// Where a process of these reads how it is to speak, and where its ledger is.
const SPEAKS: &str = "SURVIVE_SPEAKS";
const LEDGER: &str = "SURVIVE_LEDGER";
pub(super) const PORT: &str = "SURVIVE_PORT";

/// How a server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speaks {
    Stdio,
    Sse,
    Streamable,
}

/// A server, as one of its sessions or connections sees it.
#[derive(Debug)]
pub(super) struct Server {
    ledger: PathBuf,
    /// Who waits for what a client answers, by the id of the question.
    questions: Mutex<HashMap<i64, String>>,
}

/// What is to be said to a request.
#[derive(Debug, PartialEq)]
pub(super) enum Says {
    /// Its answer.
    Answer(Value),
    /// These, and nothing more.
    Messages(Vec<Value>),
    /// Nothing at all, for as long as it runs.
    Nothing,
    /// Where to resume from, on a wire that has that; and nothing more.
    Primer,
    /// The answer, and then every session is forgotten.
    AnswerAndForget(Value),
}

/// What a server has done, and what it was told.
#[derive(Clone, Debug)]
pub(crate) struct Ledger(PathBuf);

/// A server over HTTP: it can be killed, and started again at the same port.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) speaks: Speaks,
    pub(crate) port: u16,
    ledger: Ledger,
    process: Option<Process>,
}

// === impl Speaks ===

impl Speaks {
    fn as_str(self) -> &'static str {
        match self {
            Self::Stdio => "stdio",
            Self::Sse => "sse",
            Self::Streamable => "streamable",
        }
    }
}

/// Not a test: the process of the server, which tests start by this name.
#[test]
fn as_a_process() {
    let (Ok(speaks), Ok(ledger)) = (env::var(SPEAKS), env::var(LEDGER)) else { return };
    let server = Arc::new(Server { ledger: ledger.into(), questions: Mutex::default() });
    server.note("started", &json!(null));
    match &*speaks {
        "stdio" => lines::serve(&server),
        "sse" | "streamable" => http::serve(&server, speaks == "sse"),
        other => panic!("no wire {other}"),
    }
    process::exit(0);
}

/// What starts one.  The harness talks on stdout, so the server is given another.
fn words(speaks: Speaks, ledger: &Path) -> (Vec<String>, [(&'static str, String); 2]) {
    let program = env::current_exe().unwrap().to_str().unwrap().to_owned();
    let script = format!(
        "exec 3>&1 >/dev/null; exec '{program}' --exact \
        survive::server::as_a_process --nocapture --test-threads 1"
    );
    let env = [(SPEAKS, speaks.as_str().to_owned()), (LEDGER, ledger.to_str().unwrap().to_owned())];
    (vec!["-c".to_owned(), script], env)
}

/// An entry for a server that is a child.
pub(crate) fn child(ledger: &Ledger) -> Value {
    let (args, env) = words(Speaks::Stdio, &ledger.0);
    let env: serde_json::Map<_, _> =
        env.map(|(name, value)| (name.to_owned(), json!(value))).into_iter().collect();
    json!({ "command": "sh", "args": args, "env": env })
}

// === impl Server ===

impl Server {
    /// Notes something: in one write, so that lines of several processes do not mix.
    pub(super) fn note(&self, what: &str, more: &Value) {
        append(&self.ledger, &json!({ "pid": process::id(), "what": what, "more": more }));
    }

    /// Whether the test wants it to be so.
    pub(super) fn is_to(&self, what: &str) -> bool {
        self.ledger.with_file_name(what).exists()
    }

    /// A call that is carried out and then refused by its way here, as load balancers do: with this
    /// status.
    pub(super) fn is_to_refuse(&self, message: &Value) -> Option<String> {
        let params = &message["params"];
        let status = params["arguments"]["status"].as_str().filter(|_| params["name"] == "refuse");
        self.note("effect", &status.map(|_| params["arguments"]["key"].clone())?);
        status.map(str::to_owned)
    }

    fn questions(&self) -> MutexGuard<'_, HashMap<i64, String>> {
        self.questions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is said to a message; none where nothing has to be.
    pub(super) fn hear(&self, message: &Value) -> Option<Says> {
        let method = message["method"].as_str();
        let id = &message["id"];
        if let (Some(method), false) = (method, id.is_null()) {
            return Some(self.answer(method, id, &message["params"]));
        }
        if let Some(method) = method {
            self.note(method, &message["params"]);
            return None;
        }
        // The answer to a question: what was asked goes on.
        let asked = id.as_i64().and_then(|id| self.questions().remove(&id));
        self.note("answered", &json!({ "id": id, "expected": asked.is_some() }));
        let call: Value = serde_json::from_str(&asked?).unwrap();
        Some(Says::Messages(vec![result(&call, &text("heard"))]))
    }

    fn answer(&self, method: &str, id: &Value, params: &Value) -> Says {
        self.note(method, params);
        let answer = match method {
            "initialize" if self.is_to("stall-initialize") => return Says::Nothing,
            "initialize" => json!({
                "protocolVersion": "2025-11-25",
                "capabilities": {
                    "tools": { "listChanged": true }, "logging": {},
                    "resources": { "subscribe": true, "listChanged": true },
                },
                "serverInfo": { "name": "survivor", "version": "1" },
            }),
            "tools/list" => json!({ "tools": [] }),
            "tools/call" => return self.call(id, params),
            _ => json!({}),
        };
        Says::Answer(result(id, &answer))
    }

    /// Every call has an effect, under the key of its arguments, before anything is said.
    fn call(&self, id: &Value, params: &Value) -> Says {
        self.note("effect", &params["arguments"]["key"]);
        match params["name"].as_str().unwrap() {
            "count" => Says::Answer(result(id, &text("done"))),
            "stall" => Says::Nothing,
            "prime" => Says::Primer,
            "forget" => Says::AnswerAndForget(result(id, &text("forgotten"))),
            "stream" | "steps" => {
                let token = &params["_meta"]["progressToken"];
                let step = |step| {
                    json!({
                        "jsonrpc": "2.0", "method": "notifications/progress",
                        "params": { "progressToken": token, "progress": step },
                    })
                };
                let answer = (params["name"] == "steps").then(|| result(id, &text("done")));
                Says::Messages((1..=3).map(step).chain(answer).collect())
            }
            "ask" => {
                let question = question_id();
                self.questions().insert(question, id.to_string());
                let method = params["arguments"]["method"].as_str().unwrap();
                let asked = json!({
                    "jsonrpc": "2.0", "id": question, "method": method,
                    "params": question_of(method),
                });
                Says::Messages(vec![asked])
            }
            // Hears nothing any more, on any wire.
            "deaf" => {
                self.note("deaf", &json!(null));
                loop {
                    thread::park();
                }
            }
            other => panic!("no tool {other}"),
        }
    }
}

/// A port that nobody is given by chance while its server is dead.
pub(crate) fn free_port() -> u16 {
    static LAST: AtomicU16 = AtomicU16::new(0);
    let first = u16::try_from(process::id() * 37 % 10_000).unwrap();
    loop {
        let port = 20_000 + (first + LAST.fetch_add(1, Ordering::Relaxed)) % 10_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

fn question_of(method: &str) -> Value {
    match method {
        "sampling/createMessage" => json!({ "messages": [], "maxTokens": 1 }),
        "elicitation/create" => json!({
            "mode": "form", "message": "Who?",
            "requestedSchema": { "type": "object", "properties": {} },
        }),
        _ => json!({}),
    }
}

/// Of all questions of all processes, none has the id of another.
fn question_id() -> i64 {
    static LAST: AtomicI64 = AtomicI64::new(0);
    i64::from(process::id()) * 1000 + LAST.fetch_add(1, Ordering::Relaxed)
}

fn text(text: &str) -> Value {
    json!({ "content": [{ "type": "text", "text": format!("{text} by {}", process::id()) }] })
}

fn result(id: &Value, result: &Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "result": result })
}

fn append(file: &Path, line: &Value) {
    let mut file = fs::OpenOptions::new().create(true).append(true).open(file).unwrap();
    file.write_all(format!("{line}\n").as_bytes()).unwrap();
}

// === impl Ledger ===

impl Ledger {
    pub(crate) fn new(dir: &Path) -> Self {
        Self(dir.join("ledger"))
    }

    /// All there is.
    pub(crate) fn lines(&self) -> Vec<Value> {
        let text = fs::read_to_string(&self.0).unwrap_or_default();
        // What comes after the last line feed is still being written.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// What was noted under this name, from this line on.
    pub(crate) fn told(&self, from: usize, what: &str) -> Vec<Value> {
        let mut lines = self.lines();
        lines.drain(..from.min(lines.len()));
        lines.retain(|line| line["what"] == what);
        lines
    }

    /// Waits for the first such line from this one on.
    #[track_caller]
    pub(crate) fn first(&self, from: usize, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        until(&format!("`{what}` in the ledger"), || {
            self.told(from, what).into_iter().find(|line| wanted(line))
        })
    }

    /// How often each key had its effect.
    pub(crate) fn effects(&self) -> HashMap<String, usize> {
        let mut effects = HashMap::new();
        for line in self.told(0, "effect") {
            *effects.entry(line["more"].as_str().unwrap().to_owned()).or_default() += 1;
        }
        effects
    }

    /// Asks for something, or for its opposite, from the processes to come.
    pub(crate) fn wants(&self, what: &str, wanted: bool) {
        let file = self.0.with_file_name(what);
        if wanted { fs::write(file, "").unwrap() } else { fs::remove_file(file).unwrap() }
    }
}

// === impl Upstream ===

impl Upstream {
    pub(crate) fn start(speaks: Speaks, ledger: &Ledger) -> Self {
        let port = free_port();
        let mut upstream = Self { speaks, port, ledger: ledger.clone(), process: None };
        upstream.again();
        upstream
    }

    /// Starts it, and waits until it listens.
    pub(crate) fn again(&mut self) {
        // Its port is free when it is gone.
        drop(self.process.take());
        let (args, env) = words(self.speaks, &self.ledger.0);
        let mut command = Command::new("sh");
        command.args(args).envs(env).env(PORT, self.port.to_string());
        self.process = Some(Process::start(command));
        until("a server that listens", || TcpStream::connect(("127.0.0.1", self.port)).ok());
    }

    /// Kills it, and starts it again.
    pub(crate) fn killed(&mut self) {
        self.again();
    }

    pub(crate) fn own_entry(&self) -> Value {
        self.entry(self.port)
    }

    pub(crate) fn entry(&self, port: u16) -> Value {
        match self.speaks {
            Speaks::Sse => json!({ "type": "sse", "url": format!("http://127.0.0.1:{port}/sse") }),
            _ => json!({
                "type": "streamable-http", "url": format!("http://127.0.0.1:{port}/mcp"),
            }),
        }
    }
}
