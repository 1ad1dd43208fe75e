use std::sync::Arc;

use serde_json::{Value, json, value::to_raw_value};

use super::*;
use crate::{Argument, Gathering, Limits, Override, Settings, Shape};

fn member(server: &str, pages: &[(List, Value)], capabilities: &Value) -> Member {
    let mut gathering = Gathering::new(Limits::default());
    for (list, items) in pages {
        let page = to_raw_value(&json!({ list.member(): items })).unwrap();
        gathering.page(*list, &page).unwrap();
    }
    gathering.capabilities(&to_raw_value(capabilities).unwrap());
    Member {
        server: server.into(),
        alias: server.into(),
        prefix: None,
        catalogue: Arc::new(gathering.finish(None)),
        shapes: Vec::new(),
        is_there: true,
    }
}

fn view() -> View {
    let schema = json!({ "type": "object", "properties": { "db": {}, "q": {} } });
    let both = |tool: &str| {
        [
            (List::Tools, json!([{ "name": "same" }, { "name": tool, "inputSchema": schema }])),
            (List::Prompts, json!([{ "name": "greet" }])),
            (List::Resources, json!([{ "uri": "file:///both", "name": "x" }])),
            (List::Templates, json!([{ "uriTemplate": format!("{tool}://{{id}}"), "name": "x" }])),
        ]
    };
    let mut a = member("a", &both("query"), &json!({}));
    let arguments = [
        ("db".to_owned(), Argument::Fixed(to_raw_value(&json!("prod")).unwrap())),
        ("q".to_owned(), Argument::Hidden),
    ];
    let over = Override { arguments: arguments.into(), ..Override::default() };
    a.shapes.push(Arc::new(Shape {
        overrides: [("query".to_owned(), over)].into(),
        ..Shape::default()
    }));
    let b = member("b", &both("log"), &json!({ "tasks": {} }));
    View::new(vec![a, b], Settings::default()).unwrap()
}

fn request(method: &str, params: &str) -> Message {
    Message::parse(format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#))
        .unwrap()
}

/// Whom it is for, and its parameters there.
fn direct(method: &str, params: &str) -> Result<(String, String), String> {
    let view = view();
    let direction = view.direct(&request(method, params)).map_err(|it| it.to_string())?;
    let direction = direction.unwrap();
    Ok((direction.member.server.to_string(), direction.message.body().unwrap().to_owned()))
}

fn is(server: &str, params: &str) -> Result<(String, String), String> {
    Ok((server.to_owned(), params.to_owned()))
}

#[test]
fn calls() {
    let untouched = r#"{"name":"log" ,"arguments":{"x": 1e400}}"#;
    assert_eq!(direct("tools/call", untouched), is("b", untouched));
    assert_eq!(
        direct("tools/call", r#"{"name":"b__same","arguments":{"x": 1e400},"_meta":{"p":1}}"#),
        is("b", r#"{"name":"same","arguments":{"x": 1e400},"_meta":{"p":1}}"#)
    );
    assert_eq!(
        direct("tools/call", r#"{"name":"query"}"#),
        is("a", r#"{"name":"query","arguments":{"db":"prod"}}"#)
    );
    assert_eq!(
        direct("tools/call", r#"{"name":"query","arguments":{"q":1}}"#).unwrap_err(),
        "query: there is no argument `q` here: leave it out"
    );
    assert!(direct("tools/call", r#"{"name":"same"}"#).unwrap_err().contains("a__same"));
    assert_eq!(direct("tools/call", r#"{"name":"rm"}"#).unwrap_err(), "Unknown tool: rm");
    for bad in ["{}", r#"{"name":7}"#, r#"{"name":"log","name":"same"}"#] {
        let error = direct("tools/call", bad).unwrap_err();
        assert!(error.starts_with("the parameters cannot be read: "), "{error}");
    }
}

#[test]
fn prompts_resources_and_completions() {
    assert_eq!(direct("prompts/get", r#"{"name":"b__greet"}"#), is("b", r#"{"name":"greet"}"#));
    let read = r#"{"uri":"query://7"}"#;
    for method in ["resources/read", "resources/subscribe", "resources/unsubscribe"] {
        assert_eq!(direct(method, read), is("a", read));
        assert_eq!(
            direct(method, r#"{"uri":"mcp-gateway://b/file:///both","_meta":{}}"#),
            is("b", r#"{"uri":"file:///both","_meta":{}}"#)
        );
    }
    assert!(direct("resources/read", r#"{"uri":"file:///both"}"#).is_err());
    let complete = |of: &str| format!(r#"{{"ref":{of},"argument":{{"name":"x","value":""}}}}"#);
    assert_eq!(
        direct("completion/complete", &complete(r#"{"type":"ref/prompt","name":"a__greet"}"#)),
        is("a", &complete(r#"{"type":"ref/prompt","name":"greet"}"#))
    );
    let template = complete(r#"{"type":"ref/resource","uri":"log://{id}"}"#);
    assert_eq!(direct("completion/complete", &template), is("b", &template));
    assert_eq!(
        direct(
            "completion/complete",
            &complete(r#"{"type":"x","uri":"mcp-gateway://a/log://{id}"}"#)
        ),
        is("a", &complete(r#"{"type":"x","uri":"log://{id}"}"#))
    );
    assert!(direct("completion/complete", &complete("{}")).is_err());
}

#[test]
fn tasks() {
    assert_eq!(
        direct("tasks/get", r#"{"taskId":"mcp-gateway.a.x.7"}"#),
        is("a", r#"{"taskId":"x.7"}"#)
    );
    let bare = r#"{"taskId":"7"}"#;
    assert_eq!(direct("tasks/cancel", bare), is("b", bare), "the only one who has tasks");
    let elsewhere = direct("tasks/get", r#"{"taskId":"mcp-gateway.z.7"}"#);
    assert_eq!(elsewhere.unwrap_err(), "Unknown task: mcp-gateway.z.7");
}

#[test]
fn what_is_for_all_or_for_nobody() {
    let view = view();
    for method in ["tools/list", "tasks/list", "ping", "logging/setLevel", "nobody/knows"] {
        assert!(view.direct(&request(method, "{}")).unwrap().is_none(), "{method}");
    }
}

/// A server may take the second of two names: what is looked up and what is done must be one.
#[test]
fn a_request_with_two_names_goes_nowhere() {
    let view = view();
    let call = |params: &str| {
        let text = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params}}}"#);
        view.direct(&Message::parse(text).unwrap()).map(|it| it.is_some())
    };
    assert!(call(r#"{"name":"log","arguments":{}}"#).unwrap());
    for twice in [
        r#"{"name":"log","name":"query","arguments":{}}"#,
        r#"{"name":"log","n\u0061me":"query","arguments":{}}"#,
        r#"{"name":"log","arguments":{"q":1},"arguments":{"q":2}}"#,
        r#"{"name":["log"]}"#,
        r#"{"arguments":{}}"#,
    ] {
        assert!(call(twice).is_err(), "{twice}");
    }
}
