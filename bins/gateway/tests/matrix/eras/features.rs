//! What a client of 2026-07-28 does with the demonstration server, in whatever revision that is
//! spoken to, and which rows of the table lie between.

use mcp_jsonrpc::ProtocolVersion;
use serde_json::{Value, json};

use super::client::{Client, Heard};
use crate::features::{Outcome, V03, V06};

/// A client, and the revision of its server.
pub(crate) struct Pair {
    pub(super) client: Client,
    pub(super) server: ProtocolVersion,
}

type Feature = fn(&mut Pair) -> Outcome;

/// In the order in which they are played.
pub(crate) const FEATURES: &[(&str, Feature)] = &[
    ("`server/discover`", discover),
    ("`tools/list`", tools),
    ("`tools/call`: content of each type, both types of ids", content),
    ("`tools/call`: `isError`, errors, an unknown tool", failures),
    ("`prompts/list`, `prompts/get`", prompts),
    ("`resources/list`, `resources/templates/list`, `resources/read`", resources),
    ("a resource that is not there", missing),
    ("`completion/complete`", completion),
    ("`notifications/progress`", progress),
    ("a log, from the level on that a request names", logging),
    ("`subscriptions/listen`: `list_changed`, `updated`", listening),
    ("`elicitation/create`", elicitation),
    ("`sampling/createMessage`", sampling),
    ("`roots/list`", roots),
    ("what 2026-07-28 does not have any more", removed),
    // The last: what may still ask because of it keeps the next call out of its session.
    ("a request that is taken back", cancelled),
];

impl Pair {
    fn is_bridged(&self) -> bool {
        self.server != ProtocolVersion::V2026_07_28
    }

    #[track_caller]
    fn result(&mut self, method: &str, params: Value) -> Value {
        let Heard { before, body } = self.client.ask(method, params);
        assert_eq!(before, Vec::<Value>::new());
        assert_eq!(body["resultType"], "complete", "{body}");
        body
    }

    #[track_caller]
    fn call(&mut self, tool: &str, arguments: Value) -> Heard {
        self.client.ask("tools/call", json!({ "name": tool, "arguments": arguments }))
    }

    #[track_caller]
    fn text(&mut self, tool: &str, arguments: Value) -> String {
        let heard = self.call(tool, arguments);
        let text = heard.body["content"][0]["text"].as_str();
        text.unwrap_or_else(|| panic!("{heard:?}")).to_owned()
    }

    fn rows(&self, rows: &[&'static str]) -> Outcome {
        if self.is_bridged() { Outcome::Rows(rows.to_vec()) } else { Outcome::Same }
    }
}

fn discover(p: &mut Pair) -> Outcome {
    let found = p.result("server/discover", json!({}));
    assert_eq!(found["supportedVersions"][0], "2026-07-28", "{found}");
    for part in ["tools", "prompts", "resources"] {
        assert_eq!(found["capabilities"][part]["listChanged"], true, "{found}");
    }
    assert!(found["instructions"].as_str().unwrap().contains("echo"), "{found}");
    assert!(found["ttlMs"].is_number(), "{found}");
    let info = &found["_meta"]["io.modelcontextprotocol/serverInfo"];
    assert!(!p.is_bridged() || info["name"] == "demo-server", "{found}");
    p.rows(&["discover", "pooled-session"])
}

fn tools(p: &mut Pair) -> Outcome {
    let list = p.result("tools/list", json!({}));
    let names: Vec<_> = list["tools"].as_array().unwrap().iter().map(|it| &it["name"]).collect();
    for tool in ["echo", "add", "progress", "ask-sampling", "ask-roots"] {
        assert!(names.contains(&&json!(tool)), "{list}");
    }
    assert_eq!(V03 <= p.server, names.contains(&&json!("audio")), "{list}");
    assert_eq!(V06 <= p.server, names.contains(&&json!("ask-elicitation")), "{list}");
    assert!(list["ttlMs"].is_number() && list["cacheScope"].is_string(), "{list}");
    let wrong = p.client.ask("tools/list", json!({ "cursor": "nowhere" })).body;
    assert_eq!(wrong["code"], -32602, "{wrong}");
    p.rows(&["result-type", "cache-hints"])
}

fn content(p: &mut Pair) -> Outcome {
    let odd = "a \"text\"\n\u{0}é漢😀";
    assert_eq!(p.text("echo", json!({ "message": odd })), odd);
    assert_eq!(p.text("blob", json!({ "len": 100_000 })).len(), 100_000);
    for (tool, since, kind) in [
        ("image", ProtocolVersion::V2024_11_05, "image"),
        ("audio", V03, "audio"),
        ("resource-link", V06, "resource_link"),
    ] {
        let heard = p.call(tool, json!({})).body;
        let all = heard["content"].as_array().into_iter().flatten();
        let kinds: Vec<_> = all.map(|it| it["type"].clone()).collect();
        assert_eq!(since <= p.server, kinds.contains(&json!(kind)), "{heard}");
    }
    if V06 <= p.server {
        let sum = p.call("add", json!({ "a": 2, "b": 0.5 })).body;
        assert_eq!(sum["structuredContent"]["sum"], 2.5, "{sum}");
    }
    p.rows(&["request-meta", "result-type"])
}

fn failures(p: &mut Pair) -> Outcome {
    assert_eq!(p.call("fail", json!({})).body["isError"], true);
    let raised = p.call("raise", json!({ "code": -7, "message": "é", "data": { "n": [1] } })).body;
    assert_eq!(raised, json!({ "code": -7, "message": "é", "data": { "n": [1] } }));
    assert_eq!(p.call("nothing", json!({})).body["code"], -32602);
    p.rows(&["result-type"])
}

fn prompts(p: &mut Pair) -> Outcome {
    let list = p.result("prompts/list", json!({}));
    assert_eq!(list["prompts"].as_array().unwrap().len(), 3, "{list}");
    let arguments = json!({ "name": "Zoë", "language": "fr" });
    let got = p.result("prompts/get", json!({ "name": "greeting", "arguments": arguments }));
    assert!(got.to_string().contains("Salut, Zoë!"), "{got}");
    let missing = p.client.ask("prompts/get", json!({ "name": "nothing" })).body;
    assert_eq!(missing["code"], -32602, "{missing}");
    p.rows(&["result-type", "cache-hints"])
}

fn resources(p: &mut Pair) -> Outcome {
    let list = p.result("resources/list", json!({}));
    for resource in list["resources"].as_array().unwrap() {
        let read = p.result("resources/read", json!({ "uri": resource["uri"] }));
        assert_eq!(read["contents"][0]["uri"], resource["uri"], "{read}");
        assert!(read["ttlMs"].is_number(), "{read}");
    }
    let templates = p.result("resources/templates/list", json!({}));
    assert_eq!(templates["resourceTemplates"].as_array().unwrap().len(), 2, "{templates}");
    let read = p.result("resources/read", json!({ "uri": "demo://number/42" }));
    assert!(read.to_string().contains("four two"), "{read}");
    p.rows(&["result-type", "cache-hints"])
}

fn missing(p: &mut Pair) -> Outcome {
    let missing = p.client.ask("resources/read", json!({ "uri": "demo://number/0" })).body;
    assert_eq!(missing["code"], -32602, "{missing}");
    p.rows(&["resource-not-found"])
}

fn completion(p: &mut Pair) -> Outcome {
    let ask = json!({
        "ref": { "type": "ref/prompt", "name": "greeting" },
        "argument": { "name": "name", "value": "O" },
    });
    let names = p.result("completion/complete", ask);
    assert_eq!(names["completion"]["values"], json!(["Oliver", "Olivier"]), "{names}");
    p.rows(&["result-type"])
}

fn progress(p: &mut Pair) -> Outcome {
    for token in [json!("p"), json!(7)] {
        p.client.says.meta = json!({ "progressToken": token });
        let heard = p.call("progress", json!({ "steps": 3 }));
        let told: Vec<_> = heard.before.iter().map(|it| &it["params"]).collect();
        assert_eq!(told.len(), 3, "{heard:?}");
        for (nth, told) in told.iter().enumerate() {
            assert_eq!(told["progressToken"], token, "{heard:?}");
            assert_eq!(told["progress"], nth + 1, "{heard:?}");
        }
    }
    p.client.says.meta = json!({});
    Outcome::Same
}

fn logging(p: &mut Pair) -> Outcome {
    let log = json!({ "level": "error", "message": "enough", "times": 2 });
    for (level, times) in [(None, 0), (Some("warning"), 2), (Some("critical"), 0), (None, 0)] {
        p.client.says.meta = match level {
            Some(level) => json!({ "io.modelcontextprotocol/logLevel": level }),
            None => json!({}),
        };
        let heard = p.call("log", log.clone());
        assert_eq!(heard.before.len(), times, "{level:?}: {heard:?}");
        assert!(heard.before.iter().all(|it| it["params"]["data"] == "enough"), "{heard:?}");
    }
    p.client.says.meta = json!({});
    p.rows(&["logs", "request-meta"])
}

fn cancelled(p: &mut Pair) -> Outcome {
    p.client.says.meta = json!({ "progressToken": "c" });
    let long = json!({ "name": "progress", "arguments": { "steps": 100, "ms": 300 } });
    let said = p.client.leave("tools/call", long);
    assert_eq!(said["method"], "notifications/progress", "{said}");
    p.client.says.meta = json!({});
    Outcome::Same
}

fn listening(p: &mut Pair) -> Outcome {
    let wanted = json!({
        "toolsListChanged": true, "promptsListChanged": true, "resourcesListChanged": true,
        "resourceSubscriptions": ["demo://note"],
    });
    assert_eq!(p.client.listen(&wanted), wanted);
    for (what, list) in [("tool", "tools"), ("prompt", "prompts"), ("resource", "resources")] {
        for there in [true, false] {
            p.text("toggle", json!({ "what": what }));
            p.client.news(&format!("notifications/{list}/list_changed"));
            let all = p.result(&format!("{list}/list"), json!({}));
            let mut found = all[list].as_array().unwrap().iter();
            assert_eq!(found.any(|it| it["name"] == "extra"), there, "{all}");
        }
    }
    p.text("touch", json!({}));
    let updated = p.client.news("notifications/resources/updated");
    assert_eq!(updated["uri"], "demo://note", "{updated}");
    p.rows(&["listen"])
}

/// Calls a tool that asks, and answers so; the question, and what the tool says at last.
#[track_caller]
fn asked(p: &mut Pair, tool: &str, answer: &Value) -> (Value, String) {
    let mut params = json!({ "name": tool, "arguments": {} });
    let asked = p.client.ask("tools/call", params.clone()).body;
    assert_eq!(asked["resultType"], "input_required", "{asked}");
    let questions = asked["inputRequests"].as_object().unwrap();
    assert_eq!(questions.len(), 1, "{asked}");
    let (key, question) = questions.iter().next().unwrap();
    params["inputResponses"] = json!({ key: answer });
    params["requestState"] = asked["requestState"].clone();
    let result = p.result("tools/call", params);
    (question.clone(), result["content"][0]["text"].as_str().unwrap().to_owned())
}

fn elicitation(p: &mut Pair) -> Outcome {
    if p.server < V06 {
        return Outcome::Absent;
    }
    let form = json!({ "action": "accept", "content": { "age": 7, "name": "Zoë" } });
    let (question, says) = asked(p, "ask-elicitation", &form);
    assert_eq!(question["method"], "elicitation/create");
    assert!(question["params"]["requestedSchema"]["properties"]["name"].is_object(), "{question}");
    assert_eq!(says, r#"accepted: {"age":7,"name":"Zoë"}"#);
    assert_eq!(asked(p, "ask-elicitation", &json!({ "action": "decline" })).1, "declined");
    assert_eq!(asked(p, "ask-elicitation", &json!({ "action": "cancel" })).1, "cancelled");
    p.rows(&["questions"])
}

fn sampling(p: &mut Pair) -> Outcome {
    let content = json!({ "type": "text", "text": "hé" });
    let answer = json!({ "role": "assistant", "model": "m", "content": content });
    let (question, says) = asked(p, "ask-sampling", &answer);
    assert_eq!(question["method"], "sampling/createMessage");
    assert_eq!(says, "m said: hé");
    p.rows(&["questions"])
}

fn roots(p: &mut Pair) -> Outcome {
    let answer = json!({ "roots": [{ "uri": "file:///a" }, { "uri": "file:///b", "name": "b" }] });
    let (question, says) = asked(p, "ask-roots", &answer);
    assert_eq!(question["method"], "roots/list");
    assert_eq!(says, "2 roots: file:///a file:///b");
    p.rows(&["questions"])
}

fn removed(p: &mut Pair) -> Outcome {
    for method in ["ping", "logging/setLevel", "resources/subscribe", "resources/unsubscribe"] {
        let refused = p.client.ask(method, json!({ "uri": "x:/", "level": "info" })).body;
        assert_eq!(refused["code"], -32601, "{method}: {refused}");
    }
    p.rows(&["removed-methods"])
}
