//! server-everything behind each transport, each client in front of each: what comes through the
//! gateway is what comes directly.

use serde_json::{Value, json};

use crate::{
    client::{CLIENTS, Client, Sdk, Wire, over},
    parts::{Parts, SCRIPTED},
    rig::Gateway,
    servers::Everything,
};

/// What each client can do for the server: then the server shows all its tools.
fn able(mut connect: Value) -> Value {
    connect["capabilities"] = json!(["sampling", "elicitation", "roots"]);
    connect["roots"] = json!(["file:///srv/one", "file:///srv/two"]);
    connect["answers"] = json!({
        "sampling": "a scripted answer",
        "elicitation": { "action": "accept", "content": { "name": "Ann", "check": true } },
    });
    connect
}

/// Steps whose results depend on nothing but the server; its dynamic resources tell the time.
fn steps() -> Vec<Value> {
    let document = "demo://resource/static/document/architecture.md";
    let reference = json!({ "type": "ref/prompt", "name": "completable-prompt" });
    let sampling = json!({ "prompt": "what?", "maxTokens": 10 });
    vec![
        json!({ "op": "ping" }),
        json!({ "op": "tools" }),
        json!({ "op": "prompts" }),
        json!({ "op": "resources" }),
        json!({ "op": "templates" }),
        json!({ "op": "call", "name": "echo", "args": { "message": "ünï\u{2028}cödé \u{1f980}" } }),
        json!({ "op": "call", "name": "get-sum", "args": { "a": 0.1, "b": 1e21 } }),
        json!({ "op": "call", "name": "get-structured-content", "args": { "location": "Chicago" } }),
        json!({ "op": "call", "name": "get-tiny-image" }),
        json!({ "op": "call", "name": "get-annotated-message", "args": { "messageType": "error" } }),
        json!({ "op": "call", "name": "no-such-tool" }),
        json!({ "op": "prompt", "name": "args-prompt", "args": { "city": "Köln" } }),
        json!({ "op": "prompt", "name": "no-such-prompt" }),
        json!({ "op": "read", "uri": document }),
        json!({ "op": "read", "uri": "demo://no/such/resource" }),
        json!({ "op": "complete", "ref": reference,
                "argument": { "name": "department", "value": "E" } }),
        json!({ "op": "level", "level": "debug" }),
        json!({ "op": "call", "name": "trigger-sampling-request", "args": sampling }),
        json!({ "op": "call", "name": "trigger-elicitation-request" }),
        json!({ "op": "call", "name": "get-roots-list" }),
        json!({ "op": "call", "name": "trigger-long-running-operation", "progress": true,
                "args": { "duration": 0.4, "steps": 4 } }),
    ]
}

/// What one client saw: its answers, in order, and what the server asked of it.
#[derive(Debug, Eq, PartialEq)]
struct Seen {
    opened: Value,
    answers: Vec<Value>,
    asked: Vec<Value>,
}

fn see(parts: &Parts, sdk: Sdk, connect: Value) -> Seen {
    let (mut client, mut opened) = Client::try_connect(parts, sdk, &able(connect));
    assert_eq!(opened["ok"], true, "{opened}");
    let answers = steps().into_iter().map(|step| client.attempt(step)).collect();
    let asked = ["sampling", "elicitation"].iter().flat_map(|kind| client.events(kind));
    let asked = asked.cloned().collect();
    // The SDK drops a last progress that comes in one piece with the answer.
    let progress = client.events("progress");
    assert!(3 <= progress.len(), "{sdk:?} heard {progress:?}");
    for (at, event) in progress.iter().enumerate() {
        assert_eq!(event["progress"].as_f64(), Some(at as f64 + 1.0), "{progress:?}");
        assert_eq!(event["total"].as_f64(), Some(4.0), "{progress:?}");
    }
    assert!(!client.events("roots").is_empty(), "nobody asked for the roots");
    subscribes(&mut client);
    cancels(&mut client);
    Seen { opened: opened["result"].take(), answers, asked }
}

/// The server confirms a subscription with a log message, unasked and beside the answer.
fn subscribes(client: &mut Client) {
    let uri = "demo://resource/dynamic/text/1";
    for (op, words) in
        [("subscribe", "Received Subscribe"), ("unsubscribe", "Received Unsubscribe")]
    {
        client.step(json!({ "op": op, "uri": uri }));
        client.wait_for("notifications/message", words);
    }
}

/// A call that is cancelled is over, and the session goes on.
fn cancels(client: &mut Client) {
    let long = json!({ "duration": 60, "steps": 600 });
    let name = "trigger-long-running-operation";
    client.step(json!({ "op": "start", "key": "long", "name": name, "args": long }));
    let cancelled = client.step(json!({ "op": "cancel", "key": "long" }));
    assert_eq!(cancelled["cancelled"], true);
    let echo = client.call("echo", &json!({ "message": "after" }));
    assert_eq!(echo, "Echo: after");
}

fn compare(parts: &Parts, behind: &str, direct: &dyn Fn() -> Value, entry: &Value) {
    let gateway = Gateway::start(parts, &json!({ "mcpServers": { "everything": entry } }), &[]);
    for sdk in [Sdk::Python, Sdk::TypeScript] {
        let expect = see(parts, sdk, direct());
        for (_, wire) in CLIENTS.iter().filter(|it| it.0 == sdk) {
            let url = gateway.url("everything", *wire);
            let seen = see(parts, sdk, over(*wire, &url, None));
            let way = format!("{sdk:?} over {wire:?}, {behind} behind");
            // One at a time: of a long list the first difference is what one wants to see.
            for (step, (expect, seen)) in
                steps().iter().zip(expect.answers.iter().zip(&seen.answers))
            {
                assert_eq!(seen, expect, "{way}: {step}");
            }
            assert_eq!(seen.asked, expect.asked, "{way}");
            for member in ["capabilities", "serverInfo", "instructions"] {
                assert_eq!(seen.opened[member], expect.opened[member], "{way}: {member}");
            }
        }
    }
}

#[test]
fn stdio_behind() {
    let Some(parts) = Parts::need(SCRIPTED) else { return };
    let entry = json!({ "command": "node", "args": [parts.reference("everything"), "stdio"] });
    let mut connect = entry.clone();
    connect["transport"] = json!("stdio");
    compare(&parts, "stdio", &|| connect.clone(), &entry);
}

#[test]
fn sse_behind() {
    let Some(parts) = Parts::need(SCRIPTED) else { return };
    let server = Everything::start(&parts, Wire::Sse);
    let entry = json!({ "type": "sse", "url": server.url });
    compare(&parts, "SSE", &|| over(Wire::Sse, &server.url, None), &entry);
}

#[test]
fn streamable_behind() {
    let Some(parts) = Parts::need(SCRIPTED) else { return };
    let server = Everything::start(&parts, Wire::Streamable);
    let entry = json!({ "type": "http", "url": server.url });
    let direct = || over(Wire::Streamable, &server.url, None);
    compare(&parts, "Streamable HTTP", &direct, &entry);
}
