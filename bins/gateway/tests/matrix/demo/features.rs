//! What the demonstration server has: each is used, looked at, and returned as it was heard.

use mcp_jsonrpc::ProtocolVersion;

use crate::{
    actor::Actor,
    features::{V03, V06, V11},
    said::{Said, inside, text},
};

/// What is done, since which revision; returns what was heard.
type Feature = fn(&mut Actor) -> Vec<String>;

const V24: ProtocolVersion = ProtocolVersion::V2024_11_05;

/// In the order in which they are played.
pub(crate) const FEATURES: &[(&str, ProtocolVersion, Feature)] = &[
    ("`initialize`, `ping`", V24, initialize),
    ("`tools/list`", V24, tools),
    ("`tools/call`: content of each type", V24, content),
    ("`tools/call`: structured content", V06, structured),
    ("`tools/call`: `isError`, errors, wrong arguments", V24, failures),
    ("`notifications/progress`", V24, progress),
    ("`notifications/cancelled`", V24, cancelled),
    ("`logging/setLevel`, `notifications/message`", V24, logging),
    ("`prompts/list`, `prompts/get`", V24, prompts),
    ("`resources/list`, `resources/templates/list`, `resources/read`", V24, resources),
    ("`resources/subscribe`, `updated`, `unsubscribe`", V24, subscriptions),
    ("`list_changed` of tools, prompts, resources", V24, changes),
    ("`completion/complete`", V24, completion),
    ("`sampling/createMessage`", V24, sampling),
    ("`roots/list`", V24, roots),
    ("`elicitation/create`", V06, elicitation),
];

/// An answer without what is this connection's own.
#[track_caller]
fn body(said: Said) -> String {
    said.result.or(said.error).unwrap_or_else(|| panic!("no answer: {}", said.text))
}

/// A question or a notification, likewise.
fn words(said: &Said) -> String {
    let (method, params) = (said.method.as_deref(), said.params.as_deref());
    format!("{} {}", method.unwrap_or_default(), params.unwrap_or_default())
}

#[track_caller]
fn call(a: &mut Actor, tool: &str, arguments: &str) -> String {
    body(a.ask("tools/call", &params(tool, arguments)))
}

fn params(tool: &str, arguments: &str) -> String {
    format!(r#"{{"name":"{tool}","arguments":{arguments}}}"#)
}

/// The text that a tool returned.
#[track_caller]
fn said(result: &str) -> String {
    text(&inside(result, &["content", "0", "text"]).unwrap_or_else(|| panic!("{result}")))
}

/// What is in this place of each of a list.
#[track_caller]
fn each(result: &str, list: &str, member: &str) -> Vec<String> {
    let at = |nth: usize| inside(result, &[list, &nth.to_string(), member]);
    (0..).map_while(at).map(|it| text(&it)).collect()
}

fn initialize(a: &mut Actor) -> Vec<String> {
    let greeting = body(a.greeting.clone());
    assert_eq!(inside(&greeting, &["protocolVersion"]), Some(format!("\"{}\"", a.cell.client)));
    assert_eq!(inside(&greeting, &["serverInfo", "name"]).unwrap(), r#""demo-server""#);
    let pong = body(a.ask("ping", "{}"));
    assert_eq!(pong, "{}");
    vec![greeting, pong]
}

fn tools(a: &mut Actor) -> Vec<String> {
    let list = body(a.ask("tools/list", "{}"));
    let mut names = vec![
        "echo",
        "add",
        "count",
        "progress",
        "sleep",
        "log",
        "blob",
        "fail",
        "raise",
        "image",
        "toggle",
        "touch",
        "ask-sampling",
        "ask-roots",
    ];
    names.extend((V03 <= a.cell.server).then_some("audio"));
    names.extend(
        (V06 <= a.cell.server)
            .then_some(["resource-link", "ask-elicitation"])
            .into_iter()
            .flatten(),
    );
    let mut found = each(&list, "tools", "name");
    found.sort();
    names.sort_unstable();
    assert_eq!(found, names);
    let wrong = body(a.ask("tools/list", r#"{"cursor":"nowhere"}"#));
    assert_eq!(inside(&wrong, &["code"]).unwrap(), "-32602");
    vec![list, wrong]
}

fn content(a: &mut Actor) -> Vec<String> {
    let echo = call(a, "echo", r#"{"message":"a \"text\"\n\u0000é漢😀"}"#);
    assert_eq!(said(&echo), "a \"text\"\n\0é漢😀");
    let blob = call(a, "blob", r#"{"len":100000}"#);
    assert_eq!(said(&blob).len(), 100_000);
    let count = [call(a, "count", "{}"), call(a, "count", "{}")];
    assert_eq!(count.each_ref().map(|it| said(it)), ["1", "2"]);
    let mut heard = vec![echo, blob, count.join(" "), call(a, "image", "{}")];
    for (tool, since, kind) in [("audio", V03, "audio"), ("resource-link", V06, "resource_link")] {
        let result = call(a, tool, "{}");
        let kinds = if since <= a.told { each(&result, "content", "type") } else { Vec::new() };
        assert_eq!(since <= a.told, kinds.iter().any(|it| it == kind), "{result}");
        heard.push(result);
    }
    heard
}

fn structured(a: &mut Actor) -> Vec<String> {
    let sum = call(a, "add", r#"{"a":2,"b":0.5}"#);
    assert_eq!(inside(&sum, &["structuredContent", "sum"]).unwrap(), "2.5");
    vec![sum]
}

fn failures(a: &mut Actor) -> Vec<String> {
    let failed = call(a, "fail", "{}");
    assert_eq!(inside(&failed, &["isError"]).unwrap(), "true");
    let raised = call(a, "raise", r#"{"code":-7,"message":"é","data":{"n":[1e0]}}"#);
    assert_eq!(inside(&raised, &["code"]).unwrap(), "-7");
    let unknown = call(a, "nothing", "{}");
    assert_eq!(inside(&unknown, &["code"]).unwrap(), "-32602");
    let wrong = call(a, "add", r#"{"a":"one"}"#);
    // Since then a model is to see it.
    let place = if V11 <= a.cell.server { "isError" } else { "code" };
    assert!(inside(&wrong, &[place]).is_some(), "{wrong}");
    vec![failed, raised, unknown, wrong]
}

fn progress(a: &mut Actor) -> Vec<String> {
    let params = r#"{"name":"progress","arguments":{"steps":3},"_meta":{"progressToken":"p"}}"#;
    let id = a.send("tools/call", params);
    let mut heard: Vec<_> = (0..3).map(|_| words(&a.told("notifications/progress"))).collect();
    assert!(heard.iter().all(|it| it.contains(r#""progressToken":"p""#)), "{heard:?}");
    heard.push(body(a.answer(&id)));
    heard
}

fn cancelled(a: &mut Actor) -> Vec<String> {
    let params =
        r#"{"name":"progress","arguments":{"steps":10000,"ms":100},"_meta":{"progressToken":"c"}}"#;
    let id = a.send("tools/call", params);
    let first = words(&a.told("notifications/progress"));
    a.notify("notifications/cancelled", &format!(r#"{{"requestId":{id}}}"#));
    a.forget(&id);
    // The next may have been on its way.
    a.ignore("notifications/progress");
    vec![first, call(a, "echo", r#"{"message":"on"}"#)]
}

fn logging(a: &mut Actor) -> Vec<String> {
    let mut heard = vec![body(a.ask("logging/setLevel", r#"{"level":"warning"}"#))];
    heard.push(call(a, "log", r#"{"level":"info","message":"too little"}"#));
    let params = params("log", r#"{"level":"error","message":"enough","times":2}"#);
    let id = a.send("tools/call", &params);
    heard.extend((0..2).map(|_| words(&a.told("notifications/message"))));
    assert!(heard.iter().skip(2).all(|it| it.contains(r#""data":"enough""#)), "{heard:?}");
    heard.push(body(a.answer(&id)));
    heard
}

fn prompts(a: &mut Actor) -> Vec<String> {
    let list = body(a.ask("prompts/list", "{}"));
    assert_eq!(each(&list, "prompts", "name"), ["plain", "greeting", "review"]);
    let mut heard = vec![list];
    for (asked, says) in [
        (r#"{"name":"plain"}"#, "Say something plain."),
        (r#"{"name":"greeting","arguments":{"name":"Zoë","language":"fr"}}"#, "Salut, Zoë!"),
        (r#"{"name":"review"}"#, "Touched 0 times."),
        (r#"{"name":"greeting"}"#, "`name` is required"),
        (r#"{"name":"nothing"}"#, "no prompt `nothing`"),
    ] {
        let got = body(a.ask("prompts/get", asked));
        assert!(got.contains(says), "{got}");
        heard.push(got);
    }
    heard
}

fn resources(a: &mut Actor) -> Vec<String> {
    let list = body(a.ask("resources/list", "{}"));
    let mut uris = each(&list, "resources", "uri");
    assert_eq!(uris.len(), 4, "{list}");
    let templates = body(a.ask("resources/templates/list", "{}"));
    assert_eq!(each(&templates, "resourceTemplates", "name"), ["number", "greeting"]);
    let mut heard = vec![list, templates];
    uris.push("demo://number/42".to_owned());
    for uri in uris {
        let read = body(a.ask("resources/read", &format!(r#"{{"uri":"{uri}"}}"#)));
        assert_eq!(each(&read, "contents", "uri")[0], uri, "{read}");
        heard.push(read);
    }
    assert!(heard[6].contains("four two"), "{}", heard[6]);
    let missing = body(a.ask("resources/read", r#"{"uri":"demo://number/0"}"#));
    assert_eq!(inside(&missing, &["code"]).unwrap(), "-32002");
    heard.push(missing);
    heard
}

fn subscriptions(a: &mut Actor) -> Vec<String> {
    let note = r#"{"uri":"demo://note"}"#;
    let mut heard = vec![body(a.ask("resources/subscribe", note)), call(a, "touch", "{}")];
    let updated = words(&a.told("notifications/resources/updated"));
    assert!(updated.contains(r#""uri":"demo://note""#), "{updated}");
    heard.push(updated);
    heard.push(body(a.ask("resources/read", note)));
    assert!(heard[3].contains("Touched 1 times."), "{}", heard[3]);
    heard.push(body(a.ask("resources/unsubscribe", note)));
    // What nobody wants to hear would be left over.
    heard.push(call(a, "touch", "{}"));
    heard
}

fn changes(a: &mut Actor) -> Vec<String> {
    let mut heard = Vec::new();
    for (what, list) in [("tool", "tools"), ("prompt", "prompts"), ("resource", "resources")] {
        for there in [true, false] {
            heard.push(call(a, "toggle", &format!(r#"{{"what":"{what}"}}"#)));
            heard.push(words(&a.told(&format!("notifications/{list}/list_changed"))));
            let all = body(a.ask(&format!("{list}/list"), "{}"));
            let found = each(&all, list, "name").iter().any(|it| it == "extra");
            assert_eq!(found, there, "{all}");
            heard.push(all);
        }
    }
    heard
}

fn completion(a: &mut Actor) -> Vec<String> {
    let ask = |a: &mut Actor, of: &str, argument: &str, more: &str| {
        body(
            a.ask("completion/complete", &format!(r#"{{"ref":{of},"argument":{argument}{more}}}"#)),
        )
    };
    let prompt = r#"{"type":"ref/prompt","name":"greeting"}"#;
    let number = r#"{"type":"ref/resource","uri":"demo://number/{n}"}"#;
    let names = ask(a, prompt, r#"{"name":"name","value":"O"}"#, "");
    assert_eq!(inside(&names, &["completion", "values"]).unwrap(), r#"["Oliver","Olivier"]"#);
    let many = ask(a, number, r#"{"name":"n","value":""}"#, "");
    assert_eq!(inside(&many, &["completion", "hasMore"]).unwrap(), "true");
    let wrong = ask(a, prompt, r#"{"name":"nothing","value":""}"#, "");
    assert_eq!(inside(&wrong, &["code"]).unwrap(), "-32602");
    let mut heard = vec![names, many, wrong];
    if V06 <= a.told {
        let context = r#","context":{"arguments":{"language":"fr"}}"#;
        let french = ask(a, prompt, r#"{"name":"name","value":"O"}"#, context);
        assert_eq!(inside(&french, &["completion", "values"]).unwrap(), r#"["Olivier"]"#);
        heard.push(french);
    }
    heard
}

/// Calls a tool that asks its client, and answers so; returns what was heard.
fn asked(a: &mut Actor, tool: &str, method: &str, answer: &str, says: &str) -> Vec<String> {
    let id = a.send("tools/call", &params(tool, "{}"));
    let question = a.told(method);
    a.reply(&question, answer);
    let result = body(a.answer(&id));
    assert_eq!(said(&result), says);
    vec![words(&question), result]
}

fn sampling(a: &mut Actor) -> Vec<String> {
    let (tool, method) = ("ask-sampling", "sampling/createMessage");
    let answer =
        r#""result":{"role":"assistant","model":"m","content":{"type":"text","text":"hé"}}"#;
    let refusal = r#""error":{"code":-1,"message":"no"}"#;
    let mut heard = asked(a, tool, method, answer, "m said: hé");
    if !a.is_bridged() {
        heard.extend(asked(a, tool, method, refusal, "the client refused: no (-1)"));
        return heard;
    }
    // To a server of 2026-07-28 there is no form for that: the call ends.
    let id = a.send("tools/call", &params(tool, "{}"));
    let question = a.told(method);
    a.reply(&question, refusal);
    let result = body(a.answer(&id));
    assert_eq!(inside(&result, &["isError"]).as_deref(), Some("true"), "{result}");
    heard.push(result);
    heard
}

fn roots(a: &mut Actor) -> Vec<String> {
    let answer = r#""result":{"roots":[{"uri":"file:///a"},{"uri":"file:///b","name":"b"}]}"#;
    asked(a, "ask-roots", "roots/list", answer, "2 roots: file:///a file:///b")
}

fn elicitation(a: &mut Actor) -> Vec<String> {
    let (tool, method) = ("ask-elicitation", "elicitation/create");
    let form = r#""result":{"action":"accept","content":{"age":7,"name":"Zoë"}}"#;
    let mut heard = asked(a, tool, method, form, r#"accepted: {"age":7,"name":"Zoë"}"#);
    heard.extend(asked(a, tool, method, r#""result":{"action":"decline"}"#, "declined"));
    heard.extend(asked(a, tool, method, r#""result":{"action":"cancel"}"#, "cancelled"));
    heard
}
