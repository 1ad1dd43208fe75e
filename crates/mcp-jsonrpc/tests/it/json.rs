//! JSON as RFC 8259 has it: what is JSON is carried as it came, and what is not is refused.
//!
//! The cases are our own, after the sections of the standard and the classes other people's
//! suites have; each is one member's value, in a request's parameters and in a result.

use bytes::Bytes;
use mcp_jsonrpc::{Id, Message};

/// What every parser takes, or what the standard leaves to it and no byte of which may change.
const CARRIED: &[&[u8]] = &[
    // Values alone, and blanks around them.
    b"null",
    b"true",
    b"false",
    b"\"\"",
    b"0",
    b"{}",
    b"[]",
    b" \t\r\n1 \t\r\n",
    b"[ ]",
    b"{ }",
    b"[null , 1,\n\"1\" , {}]",
    b"{\"a\" : \"b\" ,\t\"c\":[] }",
    // Numbers (section 6), those that no double holds included.
    b"-0",
    b"-0.0",
    b"0e0",
    b"0E+1",
    b"1e2",
    b"1E-2",
    b"1e+2",
    b"1.50",
    b"123.456e78",
    b"20e1",
    b"9007199254740993",
    b"12345678901234567890123",
    b"-12345678901234567890123",
    b"0.1000000000000000055511151231257827",
    b"1e400",
    b"-1e400",
    b"1e-400",
    b"0.4e00669999999999999999999999999999999999999999999999999999999999999999999999999999999999",
    // Strings (section 7): every escape, and what needs none.
    b"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"",
    b"\"\\u0000\\u001f\\u007f\"",
    b"\"\x7f\"",
    b"\"/\"",
    b"\"\\u00E9\\u00e9\"",
    b"\"\\uD83D\\uDE00\"",
    b"\"\\u2028\xe2\x80\xa8\xe2\x80\xa9\"",
    b"\"\xc3\xa9 \xf0\x9f\x98\x80 \xf4\x8f\xbf\xbf\"",
    b"\"\\uFFFF\xef\xbf\xbf\"",
    b"\"\xef\xbb\xbf a mark inside\"",
    b"\"[{,:}] \\\" // /* */\"",
    b"\"\\\\\"",
    b"\"\\\\\\\"\"",
    // Halves of pairs: escapes that are grammatical and mean nothing.
    b"\"\\ud800\"",
    b"\"\\udc00\"",
    b"\"\\ud800\\ud800\"",
    b"\"\\udc00\\ud800\"",
    b"\"\\ud800a\"",
    // Objects (section 4): names are not unique, not sorted, and may be anything.
    b"{\"a\":1,\"a\":2}",
    b"{\"b\":1,\"a\":2}",
    b"{\"\":0}",
    b"{\"__proto__\":{}}",
    b"{\"\\u0061\":1}",
    b"{\"id\":1,\"jsonrpc\":\"1.0\",\"method\":2,\"params\":3,\"result\":4,\"error\":5}",
];

/// What is no JSON.
const REFUSED: &[&[u8]] = &[
    b"",
    b" ",
    b"nul",
    b"True",
    b"NULL",
    b"undefined",
    b"NaN",
    b"Infinity",
    b"-Infinity",
    b"a",
    b"\xc2\xa0",
    // Numbers.
    b"01",
    b"-01",
    b"+1",
    b"-",
    b"--1",
    b"1.",
    b".1",
    b"-.1",
    b"1.e1",
    b"1e",
    b"1e+",
    b"1e1.0",
    b"1ee2",
    b"0x1F",
    b"0b1",
    b"1_000",
    b"1 000",
    b"1,5e",
    b"\xef\xbc\x91",
    b"-a",
    b"2.e+3",
    b"- 1",
    b"012",
    b"1+2",
    // Strings.
    b"\"",
    b"\"a",
    b"a\"",
    b"'a'",
    b"\"\\\"",
    b"\"\\x41\"",
    b"\"\\a\"",
    b"\"\\u12\"",
    b"\"\\u12G4\"",
    b"\"\\U0041\"",
    b"\"\\u\"",
    b"\"\\ud83d\\u\"",
    b"\"\n\"",
    b"\"\t\"",
    b"\"\x00\"",
    b"\"\x1f\"",
    b"\"\\\n\"",
    b"\"\\ \"",
    b"\"a\"b\"",
    // UTF-8 (section 8.1).
    b"\"\xff\"",
    b"\"\x80\"",
    b"\"\xc3\"",
    b"\"\xc0\xaf\"",
    b"\"\xe0\x80\xaf\"",
    b"\"\xed\xa0\x80\"",
    b"\"\xf4\x90\x80\x80\"",
    b"\"\xf8\x88\x80\x80\x80\"",
    b"\"\xe6\x97\"",
    b"\xef\xbb\xbf1",
    b"\"\\\xc3\xa9\"",
    // Arrays and objects.
    b"[",
    b"]",
    b"[1",
    b"[1,",
    b"[1,]",
    b"[,1]",
    b"[1,,2]",
    b"[1 2]",
    b"[1:2]",
    b"[}",
    b"[1]]",
    b"[\"a\"",
    b"[,]",
    b"{",
    b"{\"a\"",
    b"{\"a\":",
    b"{\"a\":1",
    b"{\"a\":1,",
    b"{\"a\":1,}",
    b"{,}",
    b"{a:1}",
    b"{'a':1}",
    b"{1:1}",
    b"{\"a\" 1}",
    b"{\"a\":1 \"b\":2}",
    b"{\"a\":1,,\"b\":2}",
    b"{\"a\"::1}",
    b"{]",
    b"{null:1}",
    b"{\"a\":1}}",
    // What others allow.
    b"1 // a",
    b"1 /* a */",
    b"/**/1",
    b"# a\n1",
    b"1;",
    b"{...}",
    b"1\x0c",
    b"\x0b1",
    b"<a/>",
    b"1 x",
];

/// A request whose parameters, and a response whose result, hold `value`.
fn around(value: &[u8]) -> [Bytes; 2] {
    let put = |before: &str| Bytes::from([before.as_bytes(), value, b"}}"].concat());
    [
        put("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"m\",\"params\":{\"v\":"),
        put("{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"v\":"),
    ]
}

#[test]
fn what_is_json_is_carried_as_it_came() {
    for value in CARRIED {
        for raw in around(value) {
            let shown = String::from_utf8_lossy(&raw).into_owned();
            let message = Message::parse(raw.clone()).unwrap_or_else(|it| panic!("{shown}: {it}"));
            assert_eq!(message.as_bytes(), &raw, "{shown}");
            // With another id it is the same but for that.
            let renumbered = message.with_id(Id::from(4711));
            let back = renumbered.with_id(Id::from(1));
            assert_eq!(back.as_bytes(), &raw, "{shown}");
            assert_eq!(renumbered.as_bytes().len(), raw.len() + 3, "{shown}");
        }
    }
}

#[test]
fn what_is_no_json_is_refused() {
    for value in REFUSED {
        for raw in around(value) {
            let shown = String::from_utf8_lossy(&raw).into_owned();
            let Err(error) = Message::parse(raw) else { panic!("{shown} was taken") };
            assert_eq!(error.code(), -32700, "{shown}: {error}");
        }
    }
}
