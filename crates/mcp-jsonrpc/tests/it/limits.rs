//! How much of a message is taken, up to the last byte, level and part.

use mcp_jsonrpc::{Frame, Limits, Message, ParseError};

const PING: &str = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;

fn limits(message_len_max: usize, depth_max: usize, batch_len_max: usize) -> Limits {
    Limits { message_len_max, depth_max, batch_len_max }
}

/// A request nested this deep.
fn nested(depth: usize) -> String {
    let (open, close) = ("[".repeat(depth - 2), "]".repeat(depth - 2));
    format!(r#"{{"jsonrpc":"2.0","id":1,"method":"m","params":{{"a":{open}{close}}}}}"#)
}

#[test]
fn length() {
    let exact = limits(PING.len(), 10, 10);
    assert!(Message::parse_within(PING, &exact).is_ok());
    let error = Message::parse_within(format!("{PING} "), &exact).unwrap_err();
    assert!(matches!(error, ParseError::TooLarge { len: 41, max: 40 }), "{error}");
    assert_eq!(error.code(), -32600);
    assert!(matches!(
        Frame::parse_within(format!("[{PING}]"), &exact),
        Err(ParseError::TooLarge { .. })
    ));
}

#[test]
fn length_by_default() {
    let message = |len: usize| format!("{PING}{}", " ".repeat(len - PING.len()));
    assert!(Message::parse(message(64 << 20)).is_ok());
    let error = Message::parse(message((64 << 20) + 1)).unwrap_err();
    assert!(matches!(error, ParseError::TooLarge { .. }), "{error}");
}

#[test]
fn depth() {
    for max in [3, 10, 512] {
        let limits = limits(1 << 20, max, 10);
        assert!(Message::parse_within(nested(max), &limits).is_ok(), "{max}");
        let error = Message::parse_within(nested(max + 1), &limits).unwrap_err();
        assert!(matches!(error, ParseError::TooDeep { .. }), "{error}");
        assert_eq!(error.code(), -32600);
    }
}

#[test]
fn depth_is_no_danger_where_it_is_allowed() {
    let message = Message::parse_within(nested(100_000), &limits(1 << 20, 200_000, 1)).unwrap();
    assert!(message.body().unwrap().len() > 190_000);
    let line = message.with_id(7.into()).to_line();
    assert_eq!(line.len(), message.as_bytes().len());
}

#[test]
fn breadth_is_not_depth() {
    let wide = format!(
        r#"{{"jsonrpc":"2.0","id":1,"result":{{"a":[{}[]],"b":"{}\"[\\"}}}}"#,
        "[],{},".repeat(2000),
        "[{".repeat(2000),
    );
    assert!(Message::parse_within(wide.clone(), &limits(1 << 20, 4, 1)).is_ok());
    assert!(Message::parse_within(wide, &limits(1 << 20, 3, 1)).is_err());
}

#[test]
fn batches() {
    let batch = |len: usize| format!("[{}]", vec![PING; len].join(","));
    let limits = limits(1 << 20, 10, 3);
    let Frame::Batch(parts) = Frame::parse_within(batch(3), &limits).unwrap() else {
        panic!("one message");
    };
    assert_eq!(parts.len(), 3);
    let error = Frame::parse_within(batch(4), &limits).unwrap_err();
    assert!(matches!(error, ParseError::BatchTooLong { max: 3 }), "{error}");
    assert_eq!(error.code(), -32600);
    // What follows the last part that is taken is not even read.
    let endless = format!("[{}", "1,".repeat(1000));
    let error = Frame::parse_within(endless, &limits).unwrap_err();
    assert!(matches!(error, ParseError::BatchTooLong { max: 3 }), "{error}");
}
