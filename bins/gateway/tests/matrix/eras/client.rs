//! A client of 2026-07-28 with a script, over HTTP and on stdio: whatever it hears is held against
//! the schema.

use std::{collections::VecDeque, io::Write, sync::Arc};

use mcp_jsonrpc::ProtocolVersion;
use serde_json::{Value, json};

use super::{Front, modern::Modern};
use crate::{
    http::Open,
    process::{Lines, Process},
    rig::{Gateway, command},
    schema::{self, Role},
};

const VERSION: ProtocolVersion = ProtocolVersion::V2026_07_28;
/// The id of a stream that listens.
const LISTEN: &str = "listen";

/// A client.
pub(super) struct Client {
    pub(super) says: Modern,
    voice: Voice,
    /// News that came while an answer was awaited.
    aside: VecDeque<Value>,
    last: i64,
}

enum Voice {
    Http { listens: Option<Open> },
    Stdio { process: Box<Process>, lines: Arc<Lines>, read: usize },
}

/// All that was said to a request.
#[derive(Debug)]
pub(super) struct Heard {
    pub(super) before: Vec<Value>,
    /// The result, or the error.
    pub(super) body: Value,
}

impl Client {
    pub(super) fn begin(gateway: &Gateway, front: Front, server: &str) -> Self {
        let says = Modern::new(gateway, server);
        let voice = match front {
            Front::Streamable => Voice::Http { listens: None },
            Front::Stdio => {
                let file = gateway.dir().join("gateway.json");
                let args = ["stdio", server, "--config", file.to_str().unwrap()];
                let process = Process::start(command(&args));
                let lines = process.lines();
                Voice::Stdio { process: Box::new(process), lines, read: 0 }
            }
            Front::Sse => panic!("2026-07-28 is not spoken over HTTP+SSE"),
        };
        Self { says, voice, aside: VecDeque::new(), last: 0 }
    }

    /// Asks, and hears all that is said to it.
    #[track_caller]
    pub(super) fn ask(&mut self, method: &str, params: Value) -> Heard {
        self.last += 1;
        // Both types in turn.
        let id =
            if self.last % 2 == 0 { json!(self.last) } else { json!(format!("i{}", self.last)) };
        let mut before = Vec::new();
        let mut stream = self.send(&id, method, params);
        loop {
            let said = self.hear(stream.as_mut());
            if said["method"].is_null() {
                assert_eq!(said["id"], id, "{said}");
                check(&said, Role::Answer { to: method, task: false });
                let body = if said["error"].is_null() { &said["result"] } else { &said["error"] };
                return Heard { before, body: body.clone() };
            }
            if said["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"] == LISTEN {
                self.aside.push_back(said);
                continue;
            }
            before.push(said);
        }
    }

    fn send(&mut self, id: &Value, method: &str, params: Value) -> Option<Answers> {
        match &mut self.voice {
            Voice::Http { .. } => {
                let open = self.says.open(id, method, params);
                let is_stream = open
                    .field("content-type")
                    .is_some_and(|it| it.starts_with("text/event-stream"));
                Some(if is_stream { Answers::Stream(open) } else { Answers::Alone(Some(open)) })
            }
            Voice::Stdio { process, .. } => {
                let text = self.says.body(id, method, params);
                let stdin = process.stdin.as_mut().unwrap();
                stdin.write_all(format!("{text}\n").as_bytes()).unwrap();
                None
            }
        }
    }

    /// The next message: on this stream, or on the one there is.
    #[track_caller]
    fn hear(&mut self, stream: Option<&mut Answers>) -> Value {
        let said: Value = match (stream, &mut self.voice) {
            (Some(Answers::Stream(open)), _) => serde_json::from_str(&open.data()).unwrap(),
            (Some(Answers::Alone(open)), _) => open.take().unwrap().read().json(),
            (None, Voice::Stdio { lines, read, process }) => {
                let line = lines.at(*read);
                *read += 1;
                let line = line.unwrap_or_else(|| panic!("{}", process.log().join("\n")));
                serde_json::from_str(&line).unwrap()
            }
            (None, Voice::Http { .. }) => panic!("nothing is asked"),
        };
        if let Some(method) = said["method"].as_str() {
            assert!(said["id"].is_null(), "a request: {said}");
            check(&said, Role::Said(method));
        }
        said
    }

    /// Begins to listen; what will be announced.
    #[track_caller]
    pub(super) fn listen(&mut self, wanted: &Value) -> Value {
        let params = json!({ "notifications": wanted });
        let mut stream = self.send(&json!(LISTEN), "subscriptions/listen", params);
        let ack = self.hear(stream.as_mut());
        assert_eq!(ack["method"], "notifications/subscriptions/acknowledged", "{ack}");
        if let (Voice::Http { listens }, Some(Answers::Stream(open))) = (&mut self.voice, stream) {
            *listens = Some(open);
        }
        ack["params"]["notifications"].clone()
    }

    /// The next news, which have to be these.
    #[track_caller]
    pub(super) fn news(&mut self, method: &str) -> Value {
        let said = match self.aside.pop_front() {
            Some(said) => said,
            None => {
                let mut stream = match &mut self.voice {
                    Voice::Http { listens } => listens.take().map(Answers::Stream),
                    Voice::Stdio { .. } => None,
                };
                let said = self.hear(stream.as_mut());
                if let (Voice::Http { listens }, Some(Answers::Stream(open))) =
                    (&mut self.voice, stream)
                {
                    *listens = Some(open);
                }
                said
            }
        };
        assert_eq!(said["method"], method, "{said}");
        said["params"].clone()
    }

    /// Asks, and takes the request back after the first thing said.
    #[track_caller]
    pub(super) fn leave(&mut self, method: &str, params: Value) -> Value {
        self.last += 1;
        let id = json!(self.last);
        let mut stream = self.send(&id, method, params);
        let said = self.hear(stream.as_mut());
        if let Voice::Stdio { process, .. } = &mut self.voice {
            let params = json!({ "requestId": id });
            let cancel =
                json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": params });
            let stdin = process.stdin.as_mut().unwrap();
            stdin.write_all(format!("{cancel}\n").as_bytes()).unwrap();
        }
        said
    }
}

enum Answers {
    Stream(Open),
    Alone(Option<Open>),
}

#[track_caller]
fn check(said: &Value, role: Role<'_>) {
    assert_eq!(schema::complaint(VERSION, &said.to_string(), role), None);
}
