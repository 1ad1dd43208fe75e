//! Clients of 2026-07-28 on the gateway's own stdin and stdout.

use std::io::Write;

use serde_json::{Value, json};

use super::{
    House, Wire,
    modern::{Modern, VERSION},
};
use crate::{
    process::Process,
    rig::{Gateway, command},
};

/// A client of `gateway stdio`.
struct Lines {
    process: Process,
    client: Modern,
    /// How many lines it has read.
    read: usize,
}

impl Lines {
    #[track_caller]
    fn begin(gateway: &Gateway, client: Modern) -> Self {
        let file = gateway.dir().join("gateway.json");
        let args = ["stdio", "it", "--config", file.to_str().unwrap()];
        Self { process: Process::start(command(&args)), client, read: 0 }
    }

    #[track_caller]
    fn say(&mut self, text: &str) {
        let stdin = self.process.stdin.as_mut().unwrap();
        stdin.write_all(format!("{text}\n").as_bytes()).unwrap();
    }

    fn send(&mut self, id: &Value, method: &str, params: Value) {
        let text = self.client.body(id, method, params);
        self.say(&text);
    }

    #[track_caller]
    fn hear(&mut self) -> Value {
        let line = self.process.lines().at(self.read);
        self.read += 1;
        let line = line.unwrap_or_else(|| panic!("the end:\n{}", self.process.log().join("\n")));
        serde_json::from_str(&line).unwrap()
    }

    /// The next message that this is true of.
    #[track_caller]
    fn until(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let said = self.hear();
            if wanted(&said) {
                return said;
            }
        }
    }

    #[track_caller]
    fn ask(&mut self, method: &str, params: Value) -> Value {
        self.send(&json!("id"), method, params);
        self.until(|it| it["id"] == "id" && it["method"].is_null())
    }
}

#[test]
fn each_request_says_all_about_itself() {
    for (wire, protocol) in [
        (Wire::Inside, VERSION),
        (Wire::Child, VERSION),
        (Wire::Child, "2025-11-25"),
        (Wire::Streamable, VERSION),
        (Wire::Sse, "2025-11-25"),
    ] {
        let house = House::new(wire, protocol);
        let mut it = Lines::begin(&house.gateway, Modern::new(&house.gateway, "it"));
        let found = it.ask("server/discover", json!({}));
        assert_eq!(found["result"]["supportedVersions"][0], VERSION, "{found}");
        let call = json!({ "name": "add", "arguments": { "a": 2, "b": 3 } });
        assert_eq!(it.ask("tools/call", call.clone())["result"]["content"][0]["text"], "5");
        // A question in mid-call, and its answer.
        let mut ask = json!({ "name": "ask-roots", "arguments": {} });
        let asked = it.ask("tools/call", ask.clone())["result"].clone();
        assert_eq!(asked["resultType"], "input_required", "{wire:?} {protocol}: {asked}");
        let key = asked["inputRequests"].as_object().unwrap().keys().next().unwrap().clone();
        ask["inputResponses"] = json!({ key: { "roots": [{ "uri": "file:///a" }] } });
        ask["requestState"] = asked["requestState"].clone();
        let said = it.ask("tools/call", ask);
        assert_eq!(said["result"]["content"][0]["text"], "1 roots: file:///a", "{said}");
        // It is kept to what it began with.
        it.say(r#"{"jsonrpc":"2.0","id":"late","method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"it","version":"1"}}}"#);
        assert_eq!(it.hear()["error"]["code"], -32022);
        assert_eq!(it.ask("tools/call", call)["result"]["content"][0]["text"], "5");
    }
}

#[test]
fn who_listens_is_told_by_its_own_id_and_hears_the_end() {
    for protocol in [VERSION, "2025-11-25"] {
        let house = House::new(Wire::Child, protocol);
        let mut it = Lines::begin(&house.gateway, Modern::new(&house.gateway, "it"));
        let wanted = json!({ "notifications": { "toolsListChanged": true } });
        it.send(&json!(7), "subscriptions/listen", wanted);
        let id = "/params/_meta/io.modelcontextprotocol~1subscriptionId";
        let ack = it.hear();
        assert_eq!(ack["method"], "notifications/subscriptions/acknowledged", "{ack}");
        assert_eq!(ack.pointer(id), Some(&json!(7)), "{ack}");
        it.send(&json!(8), "tools/call", json!({ "name": "toggle", "arguments": {} }));
        let news = it.until(|it| it["method"] == "notifications/tools/list_changed");
        assert_eq!(news.pointer(id), Some(&json!(7)), "{protocol}: {news}");
        // What is taken back is not answered, and the end is said.
        it.client.meta = json!({ "progressToken": "p" });
        let long = json!({ "name": "progress", "arguments": { "steps": 100, "ms": 300 } });
        it.send(&json!(9), "tools/call", long);
        it.until(|it| it["method"] == "notifications/progress");
        it.say(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":9}}"#);
        it.process.stdin = None;
        let end = it.until(|it| it["id"] == 7 || it["id"] == 9);
        assert_eq!((&end["id"], &end["result"]["resultType"]), (&json!(7), &json!("complete")));
        assert_eq!(it.process.end().code, Some(0));
    }
}

/// One that only asked what there is may begin with a handshake after that, as most do today.
#[test]
fn who_only_looked_may_begin_with_a_handshake() {
    for protocol in [VERSION, "2025-11-25"] {
        let house = House::new(Wire::Child, protocol);
        let mut it = Lines::begin(&house.gateway, Modern::new(&house.gateway, "it"));
        assert!(it.ask("server/discover", json!({}))["result"].is_object());
        it.say(r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"it","version":"1"}}}"#);
        let hello = it.until(|it| it["id"] == 1);
        assert_eq!(hello["result"]["protocolVersion"], "2025-06-18", "{hello}");
        it.say(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
        it.say(r#"{"jsonrpc":"2.0","id":2,"method":"ping"}"#);
        assert_eq!(it.until(|it| it["id"] == 2)["result"], json!({}));
    }
}
