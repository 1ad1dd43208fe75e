//! What is a message, what is none, and what its parameters are.

use bytes::Bytes;
use mcp_jsonrpc::{
    Frame, Id, Kind, Message, ParseError, RpcError,
    params::{AnyParams, CallTool, Initialize, Initialized},
};
use serde_json::json;

/// Reads a message and shows its envelope on one line; the only place that knows the API.
#[track_caller]
fn check(raw: &'static str, expect: &str) {
    let shown = match Message::parse(raw) {
        Ok(it) => format!(
            "{:?} id={} method={} body={}",
            it.kind(),
            it.id().map_or_else(|| "-".into(), Id::to_string),
            it.method().unwrap_or("-"),
            it.body().unwrap_or("-"),
        ),
        Err(error) => format!("{} {error}", error.code()),
    };
    assert_eq!(shown, expect);
}

#[test]
fn envelopes() {
    check(r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#, "Request id=1 method=ping body=-");
    check(
        r#"{"method":"tools/call","params":{"name":"x"},"id":"a\nb","jsonrpc":"2.0"}"#,
        r#"Request id="a\nb" method=tools/call body={"name":"x"}"#,
    );
    check(
        r#"{"jsonrpc":"2.0","method":"notifications\/initialized"}"#,
        "Notification id=- method=notifications/initialized body=-",
    );
    check(r#"{"jsonrpc":"2.0","id":1,"result":null}"#, "Response id=1 method=- body=null");
    check(
        r#"{"jsonrpc":"2.0","error":{"code":1,"message":"m"}}"#,
        r#"Error id=- method=- body={"code":1,"message":"m"}"#,
    );
    check(
        r#"{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":"m"}}"#,
        r#"Error id=- method=- body={"code":1,"message":"m"}"#,
    );
}

#[test]
fn refusals_say_what_is_wrong() {
    let id = "-32600 not a JSON-RPC message: `id` is neither a string nor an integer of 64 bits";
    check(r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, id);
    check(r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#, id);
    check(
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call"}"#,
        "-32600 not JSON: duplicate field `method` at line 1 column 48",
    );
    check(
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","result":{}}"#,
        "-32600 not a JSON-RPC message: want one of `method`, `result`, `error`",
    );
    check(
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","meth\u006fd":"tools/call"}"#,
        "-32600 not JSON: duplicate field `method` at line 1 column 53",
    );
    check("{", "-32700 not JSON: EOF while parsing an object at line 1 column 1");
    check(r#"{"jsonrpc":"1.0","id":1}"#, "-32600 not a JSON-RPC message: `jsonrpc` is not \"2.0\"");
    check(r#"["2.0",1,"ping"]"#, "-32600 not a JSON-RPC message: not an object");
}

#[test]
fn an_id_is_salvaged_where_there_is_one() {
    for (raw, id) in [
        (r#"{"id":7}"#, Some(Id::from(7))),
        (r#"{"jsonrpc":"1.0","id":"x","method":1}"#, Some(Id::from("x"))),
        (r#" {"id":"x","params":[1]} "#, Some(Id::from("x"))),
        (r#"{"id":7,"id":8}"#, None),
        (r#"{"id":null}"#, None),
        (r#"{"id":7"#, None),
        ("[7]", None),
        ("", None),
    ] {
        assert_eq!(Message::salvage_id(raw.as_bytes()), id, "{raw}");
    }
    assert_eq!(Message::salvage_id(b"{\"id\":1,\"a\":\"\xff\"}"), None);
}

#[test]
fn parsing_copies_nothing() {
    let raw = Bytes::from_static(br#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#);
    let message = Message::parse(raw.clone()).unwrap();
    assert_eq!(message.as_bytes().as_ptr(), raw.as_ptr());
    let clone = message.clone();
    assert_eq!((clone.as_bytes().as_ptr(), clone.method()), (raw.as_ptr(), message.method()));
    assert_eq!(message.to_line().as_ptr(), raw.as_ptr());
}

#[test]
fn debug_shows_no_body() {
    let raw = r#"{"jsonrpc":"2.0","id":1,"method":"m","params":{"password":"hunter2"}}"#;
    let shown = format!("{:?}", Message::parse(raw).unwrap());
    assert!(shown.contains("\"m\"") && !shown.contains("hunter2"), "{shown}");
}

#[test]
fn parameters_borrow() {
    let raw = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call",
        "params":{"name":"query","arguments":{"sql":"select 1"},
        "_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","progressToken":"p"}}}"#;
    let message = Message::parse(raw).unwrap();
    let call: CallTool<'_> = message.read().unwrap();
    assert_eq!(call.name, "query");
    assert_eq!(call.arguments.unwrap().get(), r#"{"sql":"select 1"}"#);
    assert_eq!(call.meta.version.as_deref(), Some("2026-07-28"));
    assert_eq!(call.meta.progress.unwrap().get(), r#""p""#);
}

#[test]
fn null_is_as_good_as_nothing_in_parameters() {
    let read =
        |params: &str| format!(r#"{{"jsonrpc":"2.0","id":1,"method":"m","params":{params}}}"#);
    let message = Message::parse(read(r#"{"name":"x","arguments":null,"_meta":null}"#)).unwrap();
    let call: CallTool<'_> = message.read().unwrap();
    assert!(call.arguments.is_none() && call.meta.progress.is_none());
    assert!(message.read::<AnyParams<'_>>().unwrap().meta.version.is_none());

    let params = r#"{"protocolVersion":"2025-06-18","capabilities":null,"clientInfo":null}"#;
    let message = Message::parse(read(params)).unwrap();
    let initialize: Initialize<'_> = message.read().unwrap();
    assert_eq!(initialize.version(), "2025-06-18");
    assert!(!initialize.capabilities.can_be_asked());

    let params = r#"{"protocolVersion":7,"serverInfo":{"name":"s","version":"1"}}"#;
    let message = Message::parse(read(params)).unwrap();
    let initialized: Initialized<'_> = message.read().unwrap();
    assert_eq!(initialized.version(), "");
    assert_eq!(initialized.server_info.name, "s");
}

#[test]
fn capabilities_tell_who_can_be_asked() {
    for (capabilities, can) in [
        ("{}", false),
        (r#"{"experimental":{}}"#, false),
        (r#"{"sampling":null}"#, false),
        (r#"{"sampling":{}}"#, true),
        (r#"{"roots":{"listChanged":true}}"#, true),
        (r#"{"elicitation":{"url":{}}}"#, true),
        (r#"{"tasks":{}}"#, true),
    ] {
        let params = format!(r#"{{"protocolVersion":"x","capabilities":{capabilities}}}"#);
        let initialize: Initialize<'_> = serde_json::from_str(&params).unwrap();
        assert_eq!(initialize.capabilities.can_be_asked(), can, "{capabilities}");
    }
}

#[test]
fn batches_share_their_bytes() {
    let raw = Bytes::from_static(
        br#" [{"jsonrpc":"2.0","id":1,"method":"a"},{"jsonrpc":"2.0","method":"b"}]"#,
    );
    let Frame::Batch(batch) = Frame::parse(raw.clone()).unwrap() else { panic!("one message") };
    assert_eq!(
        batch.iter().map(Message::kind).collect::<Vec<_>>(),
        [Kind::Request, Kind::Notification]
    );
    assert!(raw.as_ptr_range().contains(&batch[1].as_bytes().as_ptr()));
    assert!(matches!(Frame::parse("[]"), Err(ParseError::Envelope("empty batch"))));
}

#[test]
fn what_we_write_we_can_read() {
    let id = Id::from(3);
    let error = RpcError::new(RpcError::METHOD_NOT_FOUND, "no such method");
    for (message, expect) in [
        (
            Message::request(&id, "tools/list", &json!({})),
            r#"{"jsonrpc":"2.0","id":3,"method":"tools/list","params":{}}"#,
        ),
        (
            Message::notification("notifications/x", &json!({})),
            r#"{"jsonrpc":"2.0","method":"notifications/x","params":{}}"#,
        ),
        (
            Message::response(&Id::from("\"\n"), &json!({ "ok": true })),
            r#"{"jsonrpc":"2.0","id":"\"\n","result":{"ok":true}}"#,
        ),
        (
            Message::error(None, &error),
            r#"{"jsonrpc":"2.0","error":{"code":-32601,"message":"no such method"}}"#,
        ),
        (
            Message::error(Some(&id), &error.clone().with_data(&json!([1]))),
            r#"{"jsonrpc":"2.0","id":3,"error":{"code":-32601,"message":"no such method","data":[1]}}"#,
        ),
    ] {
        assert_eq!(message.unwrap().as_bytes(), expect);
    }
}
