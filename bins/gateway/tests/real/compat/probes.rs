//! What is asked of each server, and which feature of the protocol that shows.

use serde_json::{Value, json};

use super::{
    driver::{Driver, Kind},
    site::Server,
};

/// A column of the table.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Feature {
    Connect,
    Tools,
    Call,
    Errors,
    Resources,
    Templates,
    Prompts,
    Completion,
    Progress,
    Logging,
    Sampling,
    Elicitation,
    Roots,
    ListChanged,
}

impl Feature {
    pub(crate) const ALL: [(Self, &str); 14] = [
        (Self::Connect, "connect"),
        (Self::Tools, "tools"),
        (Self::Call, "calls"),
        (Self::Errors, "errors"),
        (Self::Resources, "resources"),
        (Self::Templates, "templates"),
        (Self::Prompts, "prompts"),
        (Self::Completion, "completion"),
        (Self::Progress, "progress"),
        (Self::Logging, "logging"),
        (Self::Sampling, "sampling"),
        (Self::Elicitation, "elicitation"),
        (Self::Roots, "roots"),
        (Self::ListChanged, "list_changed"),
    ];
}

/// What became of a feature.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Cell {
    /// The client offers nothing of the kind, or not all of it.
    Unable,
    /// What comes through the gateway is what the server itself says.
    Same,
}

/// A step, and an event that has to come after it.
#[derive(Clone, Debug)]
pub(crate) struct Probe {
    feature: Feature,
    step: Value,
    event: Option<(&'static str, &'static str)>,
}

const fn probe(feature: Feature, step: Value) -> Probe {
    Probe { feature, step, event: None }
}

impl Probe {
    /// The tool that it calls, and with what, if that is what it shows.
    pub(crate) fn called(&self) -> Option<(&str, &Value)> {
        let is_call = self.feature == Feature::Call;
        is_call.then(|| Some((self.step["name"].as_str()?, &self.step["args"])))?
    }
}

/// A call of a tool; what it answers has to be equal.
pub(crate) fn call(feature: Feature, name: &str, args: &Value) -> Probe {
    probe(feature, json!({ "op": "call", "name": name, "args": args }))
}

/// The tools, a call that succeeds and one that does not.
pub(crate) fn tools(call_of: (&str, Value), error_of: (&str, Value)) -> Vec<Probe> {
    vec![
        probe(Feature::Tools, json!({ "op": "tools" })),
        call(Feature::Call, call_of.0, &call_of.1),
        call(Feature::Errors, error_of.0, &error_of.1),
    ]
}

/// What the server says about its prompts, and one of them.
pub(crate) fn prompts(name: &str, args: &Value) -> Vec<Probe> {
    vec![
        probe(Feature::Prompts, json!({ "op": "prompts" })),
        probe(Feature::Prompts, json!({ "op": "prompt", "name": name, "args": args })),
    ]
}

/// Everything that server-everything shows. `unasked`: whether somebody can be there already when it
/// says that its tools have changed, which it does once, as soon as it is initialized.
pub(crate) fn everything(unasked: bool) -> Vec<Probe> {
    let document = "demo://resource/static/document/architecture.md";
    let reference = json!({ "type": "ref/prompt", "name": "completable-prompt" });
    let mut probes = tools(
        ("echo", json!({ "message": "ünï\u{2028}cödé \u{1f980}" })),
        // Arguments that do not fit: a result that says so.
        ("get-sum", json!({ "a": 1 })),
    );
    probes.extend([
        call(Feature::Call, "get-structured-content", &json!({ "location": "Chicago" })),
        call(Feature::Call, "get-tiny-image", &json!({})),
        probe(Feature::Errors, json!({ "op": "read", "uri": "demo://no/such/resource" })),
        probe(Feature::Resources, json!({ "op": "resources" })),
        probe(Feature::Resources, json!({ "op": "read", "uri": document })),
        probe(Feature::Templates, json!({ "op": "templates" })),
        completion(&reference, "department", "E"),
        progress("trigger-long-running-operation", &json!({ "duration": 0.2, "steps": 4 })),
        probe(Feature::Logging, json!({ "op": "level", "level": "debug" })),
        call(
            Feature::Sampling,
            "trigger-sampling-request",
            &json!({ "prompt": "what?", "maxTokens": 10 }),
        ),
        call(Feature::Elicitation, "trigger-elicitation-request", &json!({})),
        call(Feature::Roots, "get-roots-list", &json!({})),
    ]);
    probes.extend(prompts("args-prompt", &json!({ "city": "Köln" })));
    let heard = |feature, kind, words| Probe { event: Some((kind, words)), ..ping(feature) };
    // The server logs that the roots have come.
    probes.push(heard(Feature::Logging, "notifications/message", "Roots updated"));
    if unasked {
        probes.push(heard(Feature::ListChanged, "notifications/tools/list_changed", ""));
    }
    probes
}

/// Everything that the embedded demo server shows.
pub(crate) fn demo() -> Vec<Probe> {
    let reference = json!({ "type": "ref/prompt", "name": "greeting" });
    let mut probes = tools(("add", json!({ "a": 2, "b": 40 })), ("fail", json!({})));
    let log = json!({ "level": "warning", "message": "by the way" });
    let said = |event, probe| Probe { event: Some(event), ..probe };
    probes.extend([
        call(Feature::Call, "image", &json!({})),
        call(Feature::Errors, "raise", &json!({ "code": 4002, "data": { "why": "asked" } })),
        probe(Feature::Resources, json!({ "op": "resources" })),
        probe(Feature::Resources, json!({ "op": "read", "uri": "demo://bundle" })),
        probe(Feature::Templates, json!({ "op": "templates" })),
        completion(&reference, "language", "e"),
        progress("progress", &json!({ "steps": 4, "ms": 20 })),
        probe(Feature::Logging, json!({ "op": "level", "level": "info" })),
        said(("notifications/message", "by the way"), call(Feature::Logging, "log", &log)),
        call(Feature::Sampling, "ask-sampling", &json!({})),
        call(Feature::Elicitation, "ask-elicitation", &json!({})),
        call(Feature::Roots, "ask-roots", &json!({})),
    ]);
    probes.extend(prompts("greeting", &json!({ "name": "Ann" })));
    let changed = ("notifications/tools/list_changed", "");
    probes.push(said(changed, call(Feature::ListChanged, "toggle", &json!({}))));
    probes.push(probe(Feature::ListChanged, json!({ "op": "tools" })));
    probes
}

fn ping(feature: Feature) -> Probe {
    probe(feature, json!({ "op": "ping" }))
}

fn completion(reference: &Value, name: &str, value: &str) -> Probe {
    let argument = json!({ "name": name, "value": value });
    probe(Feature::Completion, json!({ "op": "complete", "ref": reference, "argument": argument }))
}

fn progress(name: &str, args: &Value) -> Probe {
    let step = json!({ "op": "call", "name": name, "args": args, "progress": true });
    probe(Feature::Progress, step)
}

/// What a client was told.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) answers: Vec<Answer>,
}

/// One answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) feature: Feature,
    pub(crate) step: Value,
    /// None where the client offers nothing of the kind.
    pub(crate) said: Option<Value>,
}

/// A session with a server, from its beginning to its end.
pub(crate) fn visit(driver: &mut Driver, connect: &Value, server: &Server, way: &str) -> Seen {
    let mut connect = connect.clone();
    if server.asks {
        if connect.get("capabilities").is_none() {
            connect["capabilities"] = json!(["sampling", "elicitation", "roots"]);
        }
        connect["roots"] = json!(["file:///srv/one", "file:///srv/two"]);
        connect["answers"] = json!({
            "sampling": "a scripted answer",
            "elicitation": { "action": "accept", "content": { "name": "Ann", "check": true } },
        });
    }
    let mut opened = driver.open(&connect);
    assert_eq!(opened["ok"], true, "{way}: {opened}");
    let mut opened = opened["result"].take();
    // Not every client tells which revision it speaks.
    let revision = opened.as_object_mut().and_then(|it| it.remove("protocolVersion"));
    if let Some(revision) = revision.filter(Value::is_string) {
        assert_eq!(revision, "2025-11-25", "{way}");
    }
    let connected = Answer { feature: Feature::Connect, step: connect, said: Some(opened) };
    let mut answers = vec![connected];
    for probe in &server.probes {
        let said = perform(driver, probe, way);
        answers.push(Answer { feature: probe.feature, step: probe.step.clone(), said });
    }
    let closed = driver.close();
    assert_eq!(closed["ok"], true, "{way}: {closed}");
    Seen { answers }
}

/// Does a step and waits for its event; what was asked of the client meanwhile is part of it.
fn perform(driver: &mut Driver, probe: &Probe, way: &str) -> Option<Value> {
    if driver.kind() == Kind::Inspector && probe.feature == Feature::Roots {
        return None;
    }
    let said = driver.attempt(&probe.step)?;
    if let Some((kind, words)) = probe.event {
        driver.wait_for(kind, words)?;
    }
    if probe.feature == Feature::Progress {
        progressed(driver, way);
    }
    let asks = match probe.feature {
        Feature::Sampling => "sampling",
        Feature::Elicitation => "elicitation",
        _ => return Some(json!({ "answer": said })),
    };
    let mut asked = driver.events(asks);
    // So it is with its questions.
    asked.dedup();
    if asked.is_empty() {
        // It was not asked, since it did not declare that it could be.
        return None;
    }
    Some(json!({ "answer": said, "asked": asked }))
}

/// Each step of a call came, in order.
fn progressed(driver: &Driver, way: &str) {
    let mut steps = driver.events("progress");
    // Whoever resumes a stream of server-everything is told again what it knows.
    steps.dedup_by_key(|it| it["progress"].as_f64().unwrap_or_default() as i64);
    let told: Vec<f64> = steps.iter().filter_map(|it| it["progress"].as_f64()).collect();
    assert!(told.is_sorted_by(|one, next| one < next), "{way} heard {steps:?}");
    assert!(steps.iter().all(|it| it["total"].as_f64() == Some(4.0)), "{way} heard {steps:?}");
    // What comes in one piece with the answer the TypeScript SDK complains of, and drops.
    let late = driver.events("error").into_iter();
    let late = late.filter(|it| it.to_string().contains("progress notification for an unknown"));
    assert!(3 <= told.len() + late.count(), "{way} heard {steps:?}");
}
