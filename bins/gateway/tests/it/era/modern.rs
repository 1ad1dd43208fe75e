//! A client of 2026-07-28 over HTTP: no session, and all about itself in each request.

use serde_json::{Value, json};

use crate::{
    http::{self, Answer, Open},
    rig::Gateway,
};

pub(super) const VERSION: &str = "2026-07-28";
const META: &str = "io.modelcontextprotocol";

/// A client.
#[derive(Clone, Debug)]
pub(super) struct Modern {
    at: String,
    path: String,
    pub(super) capabilities: Value,
    /// More in `_meta` of each request.
    pub(super) meta: Value,
    token: Option<String>,
    /// A field of the client's own.
    field: Option<(&'static str, String)>,
}

/// What is said to one request.
#[derive(Debug)]
pub(super) struct Said {
    /// What came before the answer.
    pub(super) before: Vec<Value>,
    pub(super) answer: Value,
}

/// A stream that goes on.
#[derive(Debug)]
pub(super) struct Stream(pub(super) Open);

// === impl Modern ===

impl Modern {
    /// One that can be asked everything.
    pub(super) fn new(gateway: &Gateway, server: &str) -> Self {
        let capabilities =
            json!({ "sampling": {}, "elicitation": { "form": {}, "url": {} }, "roots": {} });
        let route = if server.is_empty() { String::new() } else { format!("/{server}") };
        let (at, path) = (gateway.at.clone(), format!("{route}/mcp"));
        Self { at, path, capabilities, meta: json!({}), token: None, field: None }
    }

    /// One that can be asked nothing.
    pub(super) fn mute(gateway: &Gateway, server: &str) -> Self {
        Self { capabilities: json!({}), ..Self::new(gateway, server) }
    }

    /// The same, with this token.
    pub(super) fn with_token(&self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..self.clone() }
    }

    /// The same, with this field beside the others.
    pub(super) fn with_field(&self, name: &'static str, value: &str) -> Self {
        Self { field: Some((name, value.to_owned())), ..self.clone() }
    }

    pub(super) fn body(&self, id: &Value, method: &str, mut params: Value) -> String {
        let mut meta = json!({
            format!("{META}/protocolVersion"): VERSION,
            format!("{META}/clientCapabilities"): self.capabilities,
            format!("{META}/clientInfo"): { "name": "it", "version": "1" },
        });
        meta.as_object_mut().unwrap().extend(self.meta.as_object().unwrap().clone());
        params["_meta"] = meta;
        json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }).to_string()
    }

    /// Sends a request; returns as soon as its answer begins.
    #[track_caller]
    pub(super) fn open(&self, id: &Value, method: &str, params: Value) -> Open {
        let names = ["name", "uri", "taskId"];
        let name = names.iter().find_map(|key| params[*key].as_str().map(str::to_owned));
        let body = self.body(id, method, params);
        let bearer = self.token.as_ref().map(|token| format!("Bearer {token}"));
        let mut fields = vec![
            ("Content-Type", "application/json"),
            ("Accept", "application/json, text/event-stream"),
            ("MCP-Protocol-Version", VERSION),
            ("Mcp-Method", method),
        ];
        fields.extend(name.as_deref().map(|name| ("Mcp-Name", name)));
        fields.extend(bearer.as_deref().map(|bearer| ("Authorization", bearer)));
        fields.extend(self.field.as_ref().map(|(name, value)| (*name, value.as_str())));
        let mut wire = http::connect(&self.at);
        let text = http::request(&format!("POST {}", self.path), &self.at, &fields, &body);
        wire.write_all(text.as_bytes()).unwrap();
        http::read_head(wire, false).unwrap()
    }

    /// Asks, and hears all that is said to it.
    #[track_caller]
    pub(super) fn ask(&self, method: &str, params: Value) -> Said {
        let open = self.open(&json!("id"), method, params);
        let status = open.status;
        let said = Said::of(open);
        assert_eq!(said.answer["id"], "id", "{status}: {said:?}");
        said
    }

    /// The result of what is answered well, and at once.
    #[track_caller]
    pub(super) fn result(&self, method: &str, params: Value) -> Value {
        let said = self.ask(method, params);
        assert_eq!(said.before, Vec::<Value>::new());
        assert!(said.answer["result"]["resultType"].is_string(), "{said:?}");
        said.answer["result"].clone()
    }

    /// The error that a request is answered with.
    #[track_caller]
    pub(super) fn error(&self, method: &str, params: Value) -> Value {
        let said = self.ask(method, params);
        assert!(said.answer["error"].is_object(), "{said:?}");
        said.answer["error"].clone()
    }

    #[track_caller]
    pub(super) fn call(&self, tool: &str, arguments: Value) -> Said {
        self.ask("tools/call", json!({ "name": tool, "arguments": arguments }))
    }

    /// The text of a tool's result.
    #[track_caller]
    pub(super) fn text(&self, tool: &str, arguments: Value) -> String {
        self.call(tool, arguments).text()
    }

    /// Calls a tool, and answers what it asks, each question as `reply` says, until it has a result.
    #[track_caller]
    pub(super) fn converse(
        &self,
        tool: &str,
        arguments: &Value,
        reply: impl Fn(&Value) -> Value,
    ) -> (Said, usize) {
        let mut params = json!({ "name": tool, "arguments": arguments });
        for round in 0.. {
            let said = self.ask("tools/call", params.clone());
            let result = &said.answer["result"];
            if result["resultType"] != "input_required" {
                return (said, round);
            }
            let asked = result["inputRequests"].as_object().into_iter().flatten();
            let answers: serde_json::Map<_, _> =
                asked.map(|(key, asked)| (key.clone(), reply(asked))).collect();
            params["inputResponses"] = Value::Object(answers);
            params["requestState"] = result["requestState"].clone();
            assert!(round < 20, "{said:?}");
        }
        unreachable!()
    }

    /// Listens; returns once it is acknowledged, with what will be announced.
    #[track_caller]
    pub(super) fn listen(&self, wanted: Value) -> (Stream, Value) {
        let params = json!({ "notifications": wanted });
        let open = self.open(&json!("listen"), "subscriptions/listen", params);
        assert_eq!(open.status, 200, "{open:?}");
        let mut stream = Stream(open);
        let said = stream.next();
        assert_eq!(said["method"], "notifications/subscriptions/acknowledged", "{said}");
        assert_eq!(said["params"]["_meta"][format!("{META}/subscriptionId")], "listen", "{said}");
        (stream, said["params"]["notifications"].clone())
    }
}

// === impl Said ===

impl Said {
    #[track_caller]
    fn of(open: Open) -> Self {
        let is_stream =
            open.field("content-type").is_some_and(|it| it.starts_with("text/event-stream"));
        if !is_stream {
            let answer: Answer = open.read();
            return Self { before: Vec::new(), answer: answer.json() };
        }
        let (mut stream, mut before) = (Stream(open), Vec::new());
        loop {
            let message = stream.next();
            if message["method"].is_null() {
                assert!(stream.0.event().unwrap().is_none(), "something comes after the answer");
                return Self { before, answer: message };
            }
            before.push(message);
        }
    }

    #[track_caller]
    pub(super) fn text(&self) -> String {
        let text = self.answer["result"]["content"][0]["text"].as_str();
        text.unwrap_or_else(|| panic!("no text in {self:?}")).to_owned()
    }

    /// What came before the answer by this method: its parameters.
    pub(super) fn told(&self, method: &str) -> Vec<Value> {
        let told = self.before.iter().filter(|it| it["method"] == method);
        told.map(|it| it["params"].clone()).collect()
    }
}

// === impl Stream ===

impl Stream {
    /// The next message.
    #[track_caller]
    pub(super) fn next(&mut self) -> Value {
        serde_json::from_str(&self.0.data()).unwrap()
    }

    /// The next that has this method.
    #[track_caller]
    pub(super) fn told(&mut self, method: &str) -> Value {
        loop {
            let said = self.next();
            if said["method"] == method {
                return said;
            }
        }
    }

    /// Whether it has ended, well: with a result, and nothing after it.
    #[track_caller]
    pub(super) fn end(mut self) -> Value {
        loop {
            let said = self.next();
            if said["method"].is_null() {
                assert!(self.0.event().unwrap().is_none(), "something comes after the result");
                return said;
            }
        }
    }
}
