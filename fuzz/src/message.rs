//! Messages: no bytes panic, and what an edit yields is what its bytes say.

use mcp_jsonrpc::{Frame, Id, Message, RpcError};
use serde_json::{Value, value::RawValue};

/// Reads any bytes as a message or a batch.
pub fn check(input: &[u8]) {
    let salvaged = Message::salvage_id(input);
    match Frame::parse(input.to_vec()) {
        Ok(Frame::One(message)) => {
            assert_eq!(message.as_bytes(), input);
            check_message(&message);
        }
        Ok(Frame::Batch(messages)) => messages.iter().for_each(check_message),
        Err(error) => {
            let error = RpcError::new(error.code(), error.to_string());
            let refusal = Message::error(salvaged.as_ref(), &error).expect("an error is a message");
            assert_eq!(refusal.id(), salvaged.as_ref());
        }
    }
}

fn check_message(message: &Message) {
    check_head(message);
    check_against_others(message);
    for id in [Id::from(i64::MIN), Id::from("\"\\\u{1F600}\n")] {
        let edited = message.with_id(id.clone());
        check_head(&edited);
        assert_eq!(edited.id(), message.id().map(|_| &id));
        assert_eq!(edited.body(), message.body());
        if let Some(old) = message.id() {
            let back = edited.with_id(old.clone());
            assert_eq!(back.id(), message.id());
            assert_eq!(back.body(), message.body());
            check_head(&back);
        }
    }
    let line = message.to_line();
    assert_eq!(line.len(), message.as_bytes().len());
    assert!(!line.iter().any(|byte| matches!(byte, b'\n' | b'\r')));
    check_head(&Message::parse(line).expect("a line is the message it was"));
    if let Ok(body) = message.read::<&RawValue>() {
        let edited = message.with_part(body, &serde_json::json!({ "a": [1] })).expect("its part");
        assert_eq!(edited.body(), Some(r#"{"a":[1]}"#));
        check_head(&edited);
    }
    drop(message.read::<mcp_jsonrpc::params::AnyParams<'_>>());
    drop(message.read::<mcp_jsonrpc::params::CallTool<'_>>());
    drop(message.read::<mcp_jsonrpc::params::Initialize<'_>>());
}

/// That a message says of itself what its bytes say.
fn check_head(message: &Message) {
    let again = Message::parse(message.as_bytes().clone()).expect("a message stays one");
    assert_eq!(again.kind(), message.kind());
    assert_eq!(again.id(), message.id());
    assert_eq!(again.method(), message.method());
    assert_eq!(again.body(), message.body());
}

/// That a reader of another make, where it can read this at all, finds the same.
fn check_against_others(message: &Message) {
    let Ok(value) = serde_json::from_slice::<Value>(message.as_bytes()) else { return };
    let members = value.as_object().expect("a message is an object");
    assert_eq!(members.get("jsonrpc"), Some(&Value::from("2.0")));
    assert_eq!(members.get("method").and_then(Value::as_str), message.method());
    let id = message.id().map(|id| serde_json::to_value(id).expect("an id is JSON"));
    assert_eq!(members.get("id").filter(|id| !id.is_null()), id.as_ref());
}
