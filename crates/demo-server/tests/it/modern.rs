//! 2026-07-28: requests that say all about themselves.

use std::sync::Arc;

use demo_server::DemoServer;
use futures::{FutureExt, StreamExt};
use mcp_jsonrpc::{
    Id, Message, ProtocolVersion, modern,
    transport::{Caller, Event, EventStream, Exchange, Opening, Reply, Session, Transport},
};
use serde_json::{Value, json};

use crate::{
    rig::{text, value},
    schema::Schema,
};

const VERSION: ProtocolVersion = ProtocolVersion::V2026_07_28;

struct Modern {
    session: Arc<dyn Session>,
    can: Value,
    level: Option<&'static str>,
}

impl Modern {
    async fn of(server: &DemoServer) -> Self {
        let caller = Caller::anonymous();
        let opening = Opening { caller, version: Some(VERSION), at: Arc::from("/demo/mcp") };
        let session = server.open(opening).await.unwrap();
        let can = json!({ "roots": {}, "sampling": {}, "elicitation": {} });
        Self { session, can, level: None }
    }

    async fn send(&self, id: impl Into<Id>, method: &str, mut params: Value) -> Reply {
        let mut meta = json!({
            modern::PROTOCOL_VERSION: VERSION.as_str(),
            modern::CLIENT_CAPABILITIES: self.can,
            modern::CLIENT_INFO: { "name": "test", "version": "1" },
            "progressToken": "token",
        });
        if let Some(level) = self.level {
            meta[modern::LOG_LEVEL] = json!(level);
        }
        params["_meta"] = meta;
        let message = Message::request(&id.into(), method, &params).unwrap();
        let mut exchange = Exchange::new(message, Caller::anonymous());
        exchange.version = Some(VERSION);
        self.session.send(exchange).await.unwrap()
    }

    /// What precedes the answer, and the answer, all of it as the schema wants it.
    async fn hear(&self, method: &str, params: Value) -> (Vec<Value>, Value) {
        let schema = Schema::of(VERSION);
        let mut before = Vec::new();
        let answer = match self.send(1, method, params).await {
            Reply::Single(answer) => value(&answer),
            Reply::Stream(mut events) => loop {
                let said = next(&mut events).await;
                if said.get("method").is_none() {
                    break said;
                }
                schema.check_unasked(&said);
                before.push(said);
            },
            Reply::Accepted => panic!("no answer to {method}"),
        };
        schema.check_answer(method, &answer);
        (before, answer)
    }

    async fn ask(&self, method: &str, params: Value) -> Value {
        self.hear(method, params).await.1
    }

    async fn call(&self, tool: &str, arguments: Value) -> Value {
        self.ask("tools/call", json!({ "name": tool, "arguments": arguments })).await
    }
}

async fn next(events: &mut EventStream) -> Value {
    match events.next().await {
        Some(Ok(Event::Message { message, .. })) => value(&message),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn everything_is_answered_as_the_schema_wants_it() {
    let client = Modern::of(&DemoServer::default()).await;
    let found = client.ask("server/discover", json!({})).await;
    assert_eq!(found["result"]["supportedVersions"][0], "2026-07-28");
    assert_eq!(found["result"]["supportedVersions"].as_array().unwrap().len(), 5);
    for list in ["tools/list", "prompts/list", "resources/list", "resources/templates/list"] {
        assert_eq!(client.ask(list, json!({})).await["result"]["cacheScope"], "public", "{list}");
    }
    client.ask("resources/read", json!({ "uri": "demo://bundle" })).await;
    client.ask("prompts/get", json!({ "name": "review" })).await;
    let typed = json!({
        "ref": { "type": "ref/prompt", "name": "greeting" },
        "argument": { "name": "language", "value": "d" },
    });
    client.ask("completion/complete", typed).await;
    for tool in ["echo", "add", "image", "audio", "resource-link", "fail", "raise", "count"] {
        client.call(tool, json!({ "message": "m", "a": 1, "b": 2 })).await;
    }
    let missing = client.ask("resources/read", json!({ "uri": "demo://no" })).await;
    assert_eq!(missing["error"]["code"], -32602);
}

#[tokio::test]
async fn a_call_says_what_its_caller_wants_to_hear() {
    let mut client = Modern::of(&DemoServer::default()).await;
    let steps = json!({ "name": "progress", "arguments": { "steps": 3 } });
    let (before, _) = client.hear("tools/call", steps).await;
    assert_eq!(before.len(), 3);
    let log = json!({ "name": "log", "arguments": { "level": "warning", "message": "m" } });
    assert!(client.hear("tools/call", log.clone()).await.0.is_empty(), "nobody asked for a log");
    client.level = Some("error");
    assert!(client.hear("tools/call", log.clone()).await.0.is_empty());
    client.level = Some("info");
    assert_eq!(client.hear("tools/call", log).await.0.len(), 1);
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_said() {
    let mut client = Modern::of(&DemoServer::default()).await;
    for removed in ["initialize", "ping", "logging/setLevel", "resources/subscribe", "nope"] {
        assert_eq!(client.ask(removed, json!({})).await["error"]["code"], -32601, "{removed}");
    }
    client.level = Some("loud");
    assert_eq!(client.ask("tools/list", json!({})).await["error"]["code"], -32602);
    for (params, code) in [
        (json!({}), -32602),
        (json!({ "_meta": { modern::PROTOCOL_VERSION: "2026-07-28" } }), -32602),
        (json!({ "_meta": { modern::CLIENT_CAPABILITIES: {} } }), -32602),
        (json!({ "_meta": { modern::PROTOCOL_VERSION: "2099-01-01" } }), -32022),
    ] {
        let message = Message::request(&Id::from(1), "tools/list", &params).unwrap();
        let reply = client.session.send(Exchange::new(message, Caller::anonymous())).await;
        let Ok(Reply::Single(answer)) = reply else { panic!("{params}") };
        assert_eq!(value(&answer)["error"]["code"], code, "{params}");
    }
}

#[tokio::test]
async fn questions_come_in_the_place_of_a_result() {
    let client = Modern::of(&DemoServer::default()).await;
    for (tool, method, answer, expect) in [
        (
            "ask-elicitation",
            "elicitation/create",
            json!({ "action": "accept", "content": { "name": "x" } }),
            r#"accepted: {"name":"x"}"#,
        ),
        (
            "ask-sampling",
            "sampling/createMessage",
            json!({ "role": "assistant", "model": "m", "content": { "type": "text", "text": "hi" } }),
            "m said: hi",
        ),
        (
            "ask-roots",
            "roots/list",
            json!({ "roots": [{ "uri": "file:///a" }] }),
            "1 roots: file:///a",
        ),
    ] {
        let Reply::Single(asked) = client.send(1, "tools/call", json!({ "name": tool })).await
        else {
            panic!("{tool}")
        };
        let asked = value(&asked);
        Schema::of(VERSION).check_questions(&asked);
        let questions = asked["result"]["inputRequests"].as_object().unwrap();
        assert_eq!(questions[method]["method"], method);
        let retry = json!({
            "name": tool,
            "inputResponses": { method: answer, "unknown": {} },
            "requestState": asked["result"]["requestState"],
        });
        let mut other = retry.clone();
        other["arguments"] = json!({ "x": 1 });
        assert_eq!(text(&client.ask("tools/call", retry.clone()).await), expect);
        assert_eq!(text(&client.ask("tools/call", retry).await), "-32602", "a state is good once");
        assert_eq!(text(&client.ask("tools/call", other).await), "-32602");
    }
}

#[tokio::test]
async fn nobody_is_asked_for_what_he_did_not_declare() {
    let mut client = Modern::of(&DemoServer::default()).await;
    client.can = json!({});
    for (tool, needs) in
        [("ask-elicitation", "elicitation"), ("ask-sampling", "sampling"), ("ask-roots", "roots")]
    {
        let answer = client.call(tool, json!({})).await;
        assert_eq!(answer["error"]["code"], -32021);
        assert!(answer["error"]["data"]["requiredCapabilities"][needs].is_object(), "{answer}");
    }
}

#[tokio::test]
async fn who_listens_hears_what_it_asked_for() {
    let server = DemoServer::default();
    let (client, other) = (Modern::of(&server).await, Modern::of(&server).await);
    let wanted = json!({ "notifications": {
        "toolsListChanged": true,
        "resourcesListChanged": false,
        "resourceSubscriptions": ["demo://note", "demo://nothing"],
    } });
    let Reply::Stream(mut events) = client.send("l", modern::LISTEN, wanted).await else {
        panic!("no stream")
    };
    let honoured = next(&mut events).await;
    assert_eq!(honoured["method"], modern::ACKNOWLEDGED);
    assert_eq!(
        honoured["params"]["notifications"],
        json!({ "toolsListChanged": true, "resourceSubscriptions": ["demo://note"] })
    );
    for what in ["prompt", "resource", "tool"] {
        other.call("toggle", json!({ "what": what })).await;
    }
    other.call("touch", json!({})).await;
    for expect in ["notifications/tools/list_changed", "notifications/resources/updated"] {
        let said = next(&mut events).await;
        Schema::of(VERSION).check_unasked(&said);
        assert_eq!(said["method"], expect);
        assert_eq!(said["params"]["_meta"][modern::SUBSCRIPTION_ID], "l");
    }
    assert!(events.next().now_or_never().is_none());
    assert_eq!(text(&client.call("extra", json!({})).await), "There since `toggle` was called.");
}
