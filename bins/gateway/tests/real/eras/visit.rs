//! What is asked in one session, and what came of it.

use std::{
    process,
    sync::atomic::{AtomicU32, Ordering},
};

use serde_json::{Value, json};

use super::{
    guests::Guest,
    site::{MODERN, Server},
};
use crate::{
    client::{Client, Sdk},
    plain,
};

/// The columns of the table.
pub(crate) const FEATURES: [&str; 17] = [
    "connect",
    "tools",
    "calls",
    "errors",
    "resources",
    "templates",
    "prompts",
    "completion",
    "progress",
    "elicitation",
    "sampling",
    "roots",
    "all of them",
    "list_changed",
    "updated",
    "cancelling",
    "logging",
];

/// What a client was told.
#[derive(Debug)]
pub(crate) struct Seen {
    /// The revision it speaks; some tell it only over HTTP.
    pub(crate) revision: Option<String>,
    /// What the server can do.
    pub(crate) capabilities: Value,
    pub(crate) said: Vec<(&'static str, Value)>,
}

/// Who is visited.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Host {
    sdk: Sdk,
    /// Whether the session with it is one of 2026-07-28.
    modern: bool,
    /// Whether the gateway is between them.
    through: bool,
}

impl Host {
    /// A server that speaks as its SDK would have it.
    pub(crate) fn itself(server: &Server) -> Self {
        Self { sdk: server.sdk, modern: false, through: false }
    }

    /// A server behind the gateway.
    pub(crate) fn behind(server: &Server, guest: Guest) -> Self {
        let modern = guest.spoken_behind(server) == MODERN;
        Self { sdk: server.sdk, modern, through: true }
    }
}

/// One visit.
struct Visit<'a> {
    client: &'a mut Client,
    guest: Guest,
    /// Whether the session speaks 2026-07-28.
    modern: bool,
    host: Host,
    way: &'a str,
    said: Vec<(&'static str, Value)>,
}

/// A session with a server, from its beginning to its end.
pub(crate) fn visit(
    client: &mut Client,
    connect: &Value,
    host: Host,
    guest: Guest,
    way: &str,
) -> Seen {
    let mut opened = client.open(connect);
    assert_eq!(opened["ok"], true, "{way}: {opened}");
    let opened = opened["result"].take();
    let revision = opened["protocolVersion"].as_str().map(str::to_owned);
    let modern = revision.as_deref() == Some(MODERN);
    let about =
        json!({ "serverInfo": opened["serverInfo"], "instructions": opened["instructions"] });
    let said = vec![("connect", plain(&about))];
    let mut visit = Visit { client, guest, modern, host, way, said };
    visit.reads();
    visit.asks();
    if guest.listens() {
        visit.listens();
    }
    // A server with a handshake may still ask because of what was cancelled, so for a while the
    // next call of a client that can be asked has another session there, and another child.
    if Guest::cancels(host.sdk) && !(modern && host.through && !host.modern) {
        visit.cancels();
    }
    if guest.logs() {
        visit.logs();
    }
    let said = visit.said;
    let closed = client.attempt(json!({ "op": "close" }));
    assert_eq!(closed["ok"], true, "{way}: {closed}");
    Seen { revision, capabilities: plain(&opened["capabilities"]), said }
}

/// A call that is cancelled, in a session of its own.
pub(crate) fn cancel(client: &mut Client, connect: &Value, host: Host, guest: Guest, way: &str) {
    let opened = client.open(connect);
    assert_eq!(opened["ok"], true, "{way}: {opened}");
    Visit { client, guest, modern: true, host, way, said: Vec::new() }.cancels();
    let closed = client.attempt(json!({ "op": "close" }));
    assert_eq!(closed["ok"], true, "{way}: {closed}");
}

impl Visit<'_> {
    fn step(&mut self, feature: &'static str, step: Value) {
        let answer = plain(&self.client.attempt(step));
        self.said.push((feature, answer));
    }

    /// A call, and what the client was asked meanwhile.
    fn call(&mut self, feature: &'static str, step: Value, events: &[&str]) {
        let before: Vec<usize> = events.iter().map(|it| self.client.events(it).len()).collect();
        let answer = plain(&self.client.attempt(step));
        let heard: Vec<Value> = events
            .iter()
            .zip(before)
            .flat_map(|(kind, before)| self.client.events(kind).into_iter().skip(before))
            .map(plain)
            .collect();
        self.said.push((feature, json!({ "answer": answer, "heard": heard })));
    }

    fn reads(&mut self) {
        let tool = |name: &str, args: Value| json!({ "op": "call", "name": name, "args": args });
        let read = |uri: &str| json!({ "op": "read", "uri": uri });
        let reference = json!({ "type": "ref/prompt", "name": "greeting" });
        let argument = json!({ "name": "name", "value": "An" });
        self.step("tools", json!({ "op": "tools" }));
        self.step("calls", tool("add", json!({ "a": 2, "b": 40 })));
        self.step("errors", tool("fail", json!({})));
        self.step("errors", tool("no-such-tool", json!({})));
        let missing = read("test://no/such/resource");
        let missing = self.client.attempt(missing);
        self.said.push(("errors", self.not_found(missing)));
        self.step("resources", json!({ "op": "resources" }));
        self.step("resources", read("test://note"));
        self.step("templates", json!({ "op": "templates" }));
        self.step("templates", read("test://item/7"));
        self.step("prompts", json!({ "op": "prompts" }));
        let args = json!({ "name": "Ann" });
        self.step("prompts", json!({ "op": "prompt", "name": "greeting", "args": args }));
        let complete = json!({ "op": "complete", "ref": reference, "argument": argument });
        self.step("completion", complete);
        let progress = json!({ "op": "call", "name": "progress", "progress": true });
        let answer = plain(&self.client.attempt(progress));
        let told: Vec<f64> = self
            .client
            .events("progress")
            .iter()
            .filter_map(|it| it["progress"].as_f64())
            .collect();
        // What comes in one piece with the answer the TypeScript SDKs complain of, and drop.
        let late = self.client.events("error").into_iter();
        let late =
            late.filter(|it| it.to_string().contains("progress notification for an unknown"));
        let late = late.count();
        assert!(told.is_sorted_by(|one, next| one < next), "{}: {told:?}", self.way);
        assert_eq!(told.len() + late, 3, "{}: {told:?} and {late} late", self.way);
        self.said.push(("progress", answer));
    }

    /// The error of a resource that is not there: the revisions have different codes for it, and
    /// the servers of the second generation know one of them only.
    fn not_found(&self, mut missing: Value) -> Value {
        const NOT_FOUND: [i64; 2] = [-32002, -32602];
        let error = &mut missing["error"];
        if let Some(at) = NOT_FOUND.iter().position(|it| error["code"] == *it) {
            // One SDK itself makes the new one of the old one.
            let tells = self.modern || self.guest.sdk != Sdk::TypeScript2;
            let is_ours = self.host.through && self.host.modern && tells;
            assert!(!is_ours || (at == 1) == self.modern, "{}: {error}", self.way);
            error["code"] = json!("not found");
            let words = error["message"].as_str().unwrap_or_default();
            let words = words.rsplit("MCP error ").next().unwrap_or_default();
            error["message"] = json!(words.trim_start_matches(|it: char| !it.is_alphabetic()));
        }
        plain(&missing)
    }

    /// Whether the server refuses to ask: it asks while a call runs, or not at all.
    fn refuses(&self) -> bool {
        let modern = if self.host.through { self.host.modern } else { self.modern };
        self.host.sdk == Sdk::FastMcp && modern
    }

    /// The server asks in mid-call.
    fn asks(&mut self) {
        let asking = |name: &str| json!({ "op": "call", "name": name });
        // Neither asks for more than its revision has.
        let elicits = self.guest.elicits() && self.host.sdk != Sdk::PythonOld;
        if elicits {
            self.call("elicitation", asking("ask_elicitation"), &["elicitation"]);
        }
        self.call("sampling", asking("ask_sampling"), &["sampling"]);
        self.answered("a scripted answer", 1);
        self.call("roots", asking("ask_roots"), &["roots"]);
        self.answered("file:///srv/one file:///srv/two", 1);
        if elicits {
            let all = ["elicitation", "sampling", "roots"];
            self.call("all of them", asking("ask_all"), &all);
            self.answered("Ann; a scripted answer; file:///srv/one file:///srv/two", 3);
        }
    }

    /// Not only the same as elsewhere: it was asked, and what it said has arrived.
    fn answered(&self, answer: &str, questions: usize) {
        let (feature, all) = self.said.last().unwrap();
        if self.refuses() {
            assert_eq!(all["answer"]["result"]["isError"], true, "{}: {feature}: {all}", self.way);
            return assert_eq!(all["heard"].as_array().unwrap().len(), 0, "{}: {all}", self.way);
        }
        let text = &all["answer"]["result"]["content"][0]["text"];
        assert_eq!(*text, answer, "{}: {feature}: {all}", self.way);
        assert_eq!(all["heard"].as_array().unwrap().len(), questions, "{}: {all}", self.way);
    }

    /// What changes is told to whoever wants to hear of it, in either way of saying so.
    fn listens(&mut self) {
        if !self.host.through {
            // Not all of these servers tell it in all revisions.
            return;
        }
        if self.refuses() {
            // It has no `subscriptions/listen`, and says what changes to nobody else.
            return;
        }
        let uri = "test://note";
        let updates = match self.host.sdk {
            // These are written on an SDK without subscriptions,
            Sdk::Python | Sdk::PythonOld | Sdk::FastMcp => false,
            // and this one on an SDK that has them in 2026-07-28 alone.
            Sdk::Python2 => self.host.modern,
            _ => true,
        };
        if self.modern {
            let honored = self.client.step(json!({ "op": "listen", "uri": uri }));
            assert_eq!(honored["honored"]["toolsListChanged"], true, "{}: {honored}", self.way);
        } else if updates {
            self.client.step(json!({ "op": "subscribe", "uri": uri }));
        }
        self.client.step(json!({ "op": "call", "name": "announce" }));
        self.client.wait_for("notifications/tools/list_changed", "");
        self.said.push(("list_changed", Value::Null));
        if updates {
            let update = json!({ "op": "call", "name": "update", "args": { "uri": uri } });
            self.client.step(update);
            self.client.wait_for("notifications/resources/updated", uri);
            self.said.push(("updated", Value::Null));
        }
        if self.modern {
            self.client.step(json!({ "op": "unlisten" }));
        }
    }

    /// What a client does not wait for any more is given up at the server.
    fn cancels(&mut self) {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let key = format!("{}-{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let args = json!({ "key": key });
        self.client.step(json!({ "op": "start", "key": "it", "name": "wait", "args": args }));
        // When this is answered, the call before has arrived.
        self.client.step(json!({ "op": "read", "uri": "test://note" }));
        let cancelled = self.client.step(json!({ "op": "cancel", "key": "it" }));
        assert_eq!(cancelled["cancelled"], true, "{}", self.way);
        let known = self.client.call("cancelled", &args).to_lowercase();
        assert_eq!(known, "true", "{}: it was not cancelled at the server", self.way);
        self.said.push(("cancelling", Value::Null));
    }

    /// From the level on that is asked for.
    fn logs(&mut self) {
        self.client.attempt(json!({ "op": "level", "level": "info" }));
        self.client.step(json!({ "op": "call", "name": "log" }));
        if !self.modern {
            // Some servers say it on another stream than the answer's.
            self.client.wait_for("notifications/message", "said as warning");
        }
        let logs = self.client.events("notifications/message");
        let said: Vec<_> = logs
            .iter()
            .map(|it| &it["params"])
            .filter(|it| it["logger"] == "tests" && it["level"] != "debug")
            .map(|it| json!([it["level"], it["data"]]))
            .collect();
        let strays = match self.host.sdk {
            Sdk::TypeScript => true,
            Sdk::Rust => !self.host.modern,
            _ => false,
        };
        if self.modern && self.host.through && strays {
            // For which call it logs is not said: what comes long after the answer is for nobody.
            let all = [json!(["info", "said as info"]), json!(["warning", "said as warning"])];
            assert!(all.starts_with(&said), "{}: {said:?}", self.way);
        } else {
            self.said.push(("logging", json!(said)));
        }
    }
}

/// What an SDK or a revision adds of its own, and what is gone in 2026-07-28, left out.
fn plain(value: &Value) -> Value {
    const ADDED: [&str; 8] = [
        "resultType",
        "ttlMs",
        "cacheScope",
        "_meta",
        "$schema",
        "title",
        "execution",
        "experimental",
    ];
    plain::without(value, &ADDED)
}
