use hyper::{
    HeaderMap,
    header::{HeaderName, HeaderValue},
};
use serde_json::{Value, json};

use super::*;
use crate::mirror::Index;

const MODERN: (&str, &str) = ("mcp-protocol-version", "2026-07-28");

fn fields(fields: &[(&str, &str)]) -> Fields {
    let field = |(name, value): &(&str, &str)| {
        let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
        (name.parse::<HeaderName>().unwrap(), value)
    };
    let mut map = HeaderMap::new();
    for (name, value) in fields.iter().map(field) {
        map.append(name, value);
    }
    Fields::read(&map, None)
}

fn request(method: &str, params: &Value) -> Message {
    Message::request(&1.into(), method, params).unwrap()
}

fn meta(version: &str) -> Value {
    json!({ modern::PROTOCOL_VERSION: version, modern::CLIENT_CAPABILITIES: {} })
}

/// As PHP writes JSON.
#[test]
fn a_revision_is_found_however_its_name_is_spelled() {
    let text = request("tools/list", &json!({ "_meta": meta("2026-07-28") }));
    let text = std::str::from_utf8(text.as_bytes()).unwrap().replace('/', "\\/");
    let message = Message::parse(text).unwrap();
    assert!(matches!(judge(&fields(&[]), &message, true), Ok(Form::Modern)));
}

#[test]
fn the_body_decides_and_then_the_fields() {
    let modern = || request("tools/list", &json!({ "_meta": meta("2026-07-28") }));
    let plain = || request("tools/list", &json!({}));
    let session = ("mcp-session-id", "0123456789abcdef");
    let legacy = ("mcp-protocol-version", "2025-06-18");
    let future = ("mcp-protocol-version", "2099-01-01");
    let in_2025 = Ok(Form::Legacy(Some(ProtocolVersion::V2025_06_18)));
    // The body, the fields; what comes of it where 2026-07-28 is served, and where it is not.
    for (message, given, served, unserved) in [
        (modern(), vec![], Ok(Form::Modern), Ok(Form::Legacy(None))),
        (modern(), vec![MODERN], Ok(Form::Modern), Err((400, -32022))),
        (modern(), vec![MODERN, session], Ok(Form::Modern), Err((400, -32022))),
        (modern(), vec![legacy, session], Ok(Form::Modern), in_2025),
        (plain(), vec![MODERN], Ok(Form::Modern), Err((400, -32022))),
        (plain(), vec![], Ok(Form::Legacy(None)), Ok(Form::Legacy(None))),
        (plain(), vec![legacy, session], in_2025, in_2025),
        (plain(), vec![MODERN, session], Err((400, -32022)), Err((400, -32022))),
        (plain(), vec![future], Err((400, -32022)), Err((400, -32022))),
        (plain(), vec![future, session], Err((400, -32022)), Err((400, -32022))),
        (plain(), vec![MODERN, legacy], Err((400, -32022)), Err((400, -32022))),
        (request("initialize", &json!({})), vec![], Ok(Form::Legacy(None)), Ok(Form::Legacy(None))),
        (request("initialize", &json!({})), vec![MODERN], Err((400, -32020)), Err((400, -32022))),
        // A probe that is none, and one that is.
        (request(DISCOVER, &json!({})), vec![], Err((200, -32601)), Err((200, -32601))),
        (request(DISCOVER, &json!({})), vec![session], Err((200, -32601)), Err((200, -32601))),
        (
            request(DISCOVER, &json!({ "_meta": meta("2026-07-28") })),
            vec![MODERN],
            Ok(Form::Modern),
            Err((200, -32601)),
        ),
        // A revision before it, in its form: it is one with sessions all the same.
        (
            request("tools/list", &json!({ "_meta": meta("2025-06-18") })),
            vec![legacy, session],
            in_2025,
            in_2025,
        ),
        // The words alone say nothing.
        (
            request("tools/call", &json!({ "name": modern::PROTOCOL_VERSION })),
            vec![session],
            Ok(Form::Legacy(None)),
            Ok(Form::Legacy(None)),
        ),
    ] {
        let given = fields(&given);
        for (serves, expect) in [(true, served), (false, unserved)] {
            let found = judge(&given, &message, serves).map_err(|refusal| refusal.code());
            assert_eq!(found, expect, "{given:?} {serves}");
        }
    }
}

fn index() -> Index {
    let index = Index::default();
    let list = json!({ "tools": [{ "name": "t", "inputSchema": { "properties": {
        "r": { "type": "string", "x-mcp-header": "R" },
        "n": { "type": "integer", "x-mcp-header": "N" },
    } } }] });
    let _: Message = index.learn(&Message::response(&1.into(), &list).unwrap(), "s");
    index
}

#[test]
fn every_violation_has_its_code() {
    let list = |meta: Value| request("tools/list", &json!({ "_meta": meta }));
    let call =
        |name: Value| request("tools/call", &json!({ "_meta": meta("2026-07-28"), "name": name }));
    let of = |method: &str, key: &str| {
        request(method, &json!({ "_meta": meta("2026-07-28"), key: "x" }))
    };
    let method = |name| ("mcp-method", name);
    let name = |it| ("mcp-name", it);
    let (lists, to) = (method("tools/list"), method("tools/call"));
    let whole = || meta("2026-07-28");
    let without = |key: &str| {
        let mut meta = whole();
        meta.as_object_mut().unwrap().remove(key);
        meta
    };
    let with = |key: &str, value: Value| {
        let mut meta = whole();
        meta[key] = value;
        meta
    };
    let (fine, params, mismatch) = (Ok(()), Err((400, -32602)), Err((400, -32020)));
    for (message, given, expect) in [
        (list(whole()), vec![MODERN, lists], fine),
        (
            list(whole()),
            vec![("mcp-protocol-version", " 2026-07-28 "), ("mcp-method", " tools/list ")],
            fine,
        ),
        (list(json!(null)), vec![MODERN, lists], params),
        (list(json!(5)), vec![MODERN, lists], params),
        (list(without(modern::PROTOCOL_VERSION)), vec![MODERN, lists], params),
        (list(with(modern::PROTOCOL_VERSION, json!(7))), vec![MODERN, lists], params),
        (list(without(modern::CLIENT_CAPABILITIES)), vec![MODERN, lists], params),
        (list(with(modern::CLIENT_CAPABILITIES, json!([]))), vec![MODERN, lists], params),
        (list(whole()), vec![lists], mismatch),
        (list(whole()), vec![("mcp-protocol-version", "2025-11-25"), lists], mismatch),
        (list(meta("2099-01-01")), vec![MODERN, lists], mismatch),
        (
            list(meta("2099-01-01")),
            vec![("mcp-protocol-version", "2099-01-01"), lists],
            Err((400, -32022)),
        ),
        (list(whole()), vec![MODERN], mismatch),
        (list(whole()), vec![MODERN, method("Tools/List")], mismatch),
        (list(whole()), vec![MODERN, lists, lists], mismatch),
        (list(whole()), vec![MODERN, method("tools/l\u{e4}st")], mismatch),
        // Nothing to be named, so nothing to be compared.
        (list(whole()), vec![MODERN, lists, name("whatever")], fine),
        (call(json!("t")), vec![MODERN, to, name("t")], fine),
        (call(json!("t")), vec![MODERN, to, name("T")], mismatch),
        (call(json!("t")), vec![MODERN, to], mismatch),
        (call(json!("t")), vec![MODERN, to, name("=?base64?dA==?=")], fine),
        (call(json!("t")), vec![MODERN, to, name("=?base64?dA=?=")], mismatch),
        (call(json!("Zürich")), vec![MODERN, to, name("=?base64?WsO8cmljaA==?=")], fine),
        (call(json!("Zürich")), vec![MODERN, to, name("Zürich")], mismatch),
        // The body's own fault is said first, and is none of the transport.
        (call(json!("")), vec![MODERN, to], Err((200, -32602))),
        (call(json!(null)), vec![MODERN, to, name("t")], Err((200, -32602))),
        (call(json!(1)), vec![MODERN], Err((200, -32602))),
        (of("prompts/get", "name"), vec![MODERN, method("prompts/get"), name("x")], fine),
        (of("prompts/get", "name"), vec![MODERN, method("prompts/get")], mismatch),
        (of("resources/read", "uri"), vec![MODERN, method("resources/read"), name("x")], fine),
        (of("resources/read", "uri"), vec![MODERN, method("resources/read"), name("y")], mismatch),
        (of("tasks/get", "taskId"), vec![MODERN, method("tasks/get"), name("x")], fine),
        (of("tasks/update", "taskId"), vec![MODERN, method("tasks/update")], mismatch),
        (of("tasks/cancel", "taskId"), vec![MODERN, method("tasks/cancel"), name("y")], mismatch),
    ] {
        let given = fields(&given);
        let found = check(&given, &message, None).map_err(|refusal| refusal.code());
        assert_eq!(found, expect, "{:?} {given:?}", message.body());
    }
}

#[test]
fn annotated_parameters_are_compared() {
    let index = index();
    let calls = |arguments: Value| {
        let params = json!({ "_meta": meta("2026-07-28"), "name": "t", "arguments": arguments });
        request("tools/call", &params)
    };
    let to = ("mcp-method", "tools/call");
    let name = |it| ("mcp-name", it);
    let (fine, mismatch) = (Ok(()), Err((400, -32020)));
    for (message, given, expect) in [
        (calls(json!({})), vec![MODERN, to, name("t")], fine),
        (calls(json!({ "r": null })), vec![MODERN, to, name("t")], fine),
        (calls(json!({ "r": "eu" })), vec![MODERN, to, name("t"), ("mcp-param-r", "eu")], fine),
        (calls(json!({ "r": "eu" })), vec![MODERN, to, name("t")], mismatch),
        (calls(json!({ "r": "eu" })), vec![MODERN, to, name("t"), ("mcp-param-r", "us")], mismatch),
        (calls(json!({ "r": "5" })), vec![MODERN, to, name("t"), ("mcp-param-r", "5.0")], mismatch),
        (calls(json!({})), vec![MODERN, to, name("t"), ("mcp-param-r", "us")], mismatch),
        (
            calls(json!({ "r": "eu" })),
            vec![MODERN, to, name("t"), ("mcp-param-r", "eu"), ("mcp-param-r", "eu")],
            mismatch,
        ),
        (calls(json!({ "n": 5 })), vec![MODERN, to, name("t"), ("mcp-param-n", "5.0")], fine),
        (calls(json!({ "n": 5 })), vec![MODERN, to, name("t"), ("mcp-param-n", "6")], mismatch),
        // What is not annotated is not looked at.
        (calls(json!({})), vec![MODERN, to, name("t"), ("mcp-param-other", "?")], fine),
    ] {
        let given = fields(&given);
        let found = check(&given, &message, Some(&index)).map_err(|refusal| refusal.code());
        assert_eq!(found, expect, "{:?} {given:?}", message.body());
    }
    // Of other tools nothing is known.
    let params = json!({ "_meta": meta("2026-07-28"), "name": "u", "arguments": { "r": "eu" } });
    let given = fields(&[MODERN, to, name("u"), ("mcp-param-r", "us")]);
    assert!(check(&given, &request("tools/call", &params), Some(&index)).is_ok());
}

#[test]
fn of_a_notification_the_revision_is_wanted() {
    let tells = |params: Value| Message::notification("notifications/x", &params).unwrap();
    for (message, given, expect) in [
        (tells(json!({})), vec![MODERN], Ok(())),
        (tells(json!({})), vec![MODERN, ("mcp-method", "notifications/x")], Ok(())),
        (tells(json!({})), vec![MODERN, ("mcp-method", "notifications/y")], Err((400, -32020))),
        (tells(json!({ "_meta": meta("2026-07-28") })), vec![], Err((400, -32020))),
        (tells(json!({ "_meta": meta("2026-07-29") })), vec![MODERN], Err((400, -32020))),
    ] {
        let found = check(&fields(&given), &message, None).map_err(|refusal| refusal.code());
        assert_eq!(found, expect, "{given:?}");
    }
}

#[test]
fn an_unknown_revision_is_answered_with_all_that_are_served() {
    let params = json!({ "_meta": meta("2099-01-01") });
    let given = fields(&[("mcp-protocol-version", "2099-01-01")]);
    let refusal = check(&given, &request("tools/list", &params), None).unwrap_err();
    let message = refusal.into_message().unwrap();
    let error: Value = message.read().unwrap();
    let supported = json!(["2026-07-28", "2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"]);
    assert_eq!(error["data"], json!({ "supported": supported, "requested": "2099-01-01" }));
}
