use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

#[test]
fn values_that_go_as_they_are_and_those_that_do_not() {
    for (value, field) in [
        ("us-west1", "us-west1"),
        ("a b\tc", "a b\tc"),
        ("", ""),
        ("Hello, 世界", "=?base64?SGVsbG8sIOS4lueVjA==?="),
        (" padded ", "=?base64?IHBhZGRlZCA=?="),
        ("line1\nline2", "=?base64?bGluZTEKbGluZTI=?="),
        ("=?base64?Zm9v?=", "=?base64?PT9iYXNlNjQ/Wm05dj89?="),
        ("=?BASE64?Zm9v?=", "=?BASE64?Zm9v?="),
        ("\u{7f}", "=?base64?fw==?="),
    ] {
        assert_eq!(encode(value), field);
        assert_eq!(decode(field).as_deref(), Some(value));
    }
    for field in ["=?base64?Zm9?=", "=?base64?Zm 9v?=", "=?base64?/w==?=", "=?base64?Zg==x?="] {
        assert_eq!(decode(field), None, "{field}");
    }
    // Not both markers, so plain.
    assert_eq!(decode("=?base64?").as_deref(), Some("=?base64?"));
    assert_eq!(decode(" \tx ").as_deref(), Some("x"));
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded(value in any::<String>()) {
        let field = encode(&value);
        prop_assert!(hyper::header::HeaderValue::from_str(&field).is_ok());
        let decoded = decode(&field);
        prop_assert_eq!(decoded.as_deref(), Some(value.as_str()));
    }

    #[test]
    fn any_field_is_read(field in ".{0,40}") {
        let _: Option<Cow<'_, str>> = decode(&field);
    }

    #[test]
    fn arguments_come_back_from_their_fields(text in any::<String>(), number in -9_007_199_254_740_991_i64..=9_007_199_254_740_991, flag: bool) {
        let fields = read(&json!({ "type": "object", "properties": {
            "t": { "type": "string", "x-mcp-header": "T" },
            "o": { "type": "object", "properties": {
                "n": { "type": "integer", "x-mcp-header": "N" },
                "f": { "type": "boolean", "x-mcp-header": "F" },
            } },
        } })).unwrap();
        let arguments = json!({ "t": text, "o": { "n": number, "f": flag, "x": [] } }).to_string();
        let mirrored = fields.mirror(Some(&arguments)).unwrap();
        let of = |name: &str| {
            let (_, value) = mirrored.iter().find(|(it, _)| it == name).unwrap();
            decode(value).unwrap().into_owned()
        };
        prop_assert_eq!(of("mcp-param-t"), text);
        prop_assert_eq!(of("mcp-param-n"), number.to_string());
        prop_assert_eq!(of("mcp-param-f"), flag.to_string());
    }
}

fn read(schema: &Value) -> Result<ToolFields, Invalid> {
    ToolFields::read(schema)
}

#[test]
fn annotations_that_break_the_rules() {
    let one = |property: Value| json!({ "type": "object", "properties": { "p": property } });
    for (schema, why) in [
        (one(json!({ "type": "string", "x-mcp-header": "" })), "not the name"),
        (one(json!({ "type": "string", "x-mcp-header": "a b" })), "not the name"),
        (one(json!({ "type": "string", "x-mcp-header": "a:b" })), "not the name"),
        (one(json!({ "type": "string", "x-mcp-header": "é" })), "not the name"),
        (one(json!({ "type": "string", "x-mcp-header": 1 })), "not the name"),
        (one(json!({ "type": "string", "x-mcp-header": null })), "not the name"),
        (one(json!({ "type": "string", "x-mcp-header": "x".repeat(257) })), "not the name"),
        (one(json!({ "type": "number", "x-mcp-header": "A" })), "neither a string"),
        (one(json!({ "type": "object", "x-mcp-header": "A" })), "neither a string"),
        (one(json!({ "type": ["string", "array"], "x-mcp-header": "A" })), "neither a string"),
        (one(json!({ "x-mcp-header": "A" })), "neither a string"),
        (
            json!({ "properties": {
                "a": { "type": "string", "x-mcp-header": "Region" },
                "b": { "type": "string", "x-mcp-header": "REGION" },
            } }),
            "two parameters",
        ),
        (json!({ "x-mcp-header": "A" }), "below `the root`"),
        (
            one(json!({ "type": "array", "items": { "type": "string", "x-mcp-header": "A" } })),
            "`items`",
        ),
        (json!({ "anyOf": [{ "properties": { "a": { "x-mcp-header": "A" } } }] }), "`anyOf`"),
        (json!({ "$defs": { "d": { "type": "string", "x-mcp-header": "A" } } }), "`$defs`"),
        (
            json!({ "properties": { "n".repeat(1025): { "type": "string", "x-mcp-header": "A" } } }),
            "names as long",
        ),
    ] {
        let error = read(&schema).unwrap_err().to_string();
        assert!(error.contains(why), "{schema}: {error}");
    }
    let many: serde_json::Map<_, _> = (0..=FIELDS_MAX)
        .map(|n| (n.to_string(), json!({ "type": "string", "x-mcp-header": format!("p{n}") })))
        .collect();
    assert_eq!(read(&json!({ "properties": many })), Err(Invalid::TooMany));
}

#[test]
fn what_only_looks_like_an_annotation() {
    for schema in [
        json!({ "properties": { "x-mcp-header": { "type": "string" } } }),
        json!({ "properties": { "a": { "type": "object", "default": { "x-mcp-header": "A" } } } }),
        json!({ "examples": [{ "x-mcp-header": "A" }] }),
        json!(true),
    ] {
        assert!(read(&schema).unwrap().is_empty(), "{schema}");
    }
    let null =
        json!({ "properties": { "a": { "type": ["string", "null"], "x-mcp-header": "A" } } });
    assert!(!read(&null).unwrap().is_empty());
}

fn mirrored(arguments: &str) -> Vec<(String, String)> {
    let fields = read(&json!({ "properties": {
        "r": { "type": "string", "x-mcp-header": "R" },
        "n": { "type": "integer", "x-mcp-header": "N" },
    } }))
    .unwrap();
    let fields = fields.mirror(Some(arguments)).unwrap();
    fields.into_iter().map(|(name, value)| (name.to_string(), value)).collect()
}

#[test]
fn arguments_become_fields() {
    let pair = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
    for (arguments, fields) in [
        ("{}", vec![]),
        (r#"{"r":null,"n":null}"#, vec![]),
        (r#"{"r":{"x":1},"n":[1]}"#, vec![]),
        (r#"{"r":"eu"}"#, pair("mcp-param-r", "eu")),
        (r#"{"r":"a\u00e9"}"#, pair("mcp-param-r", "=?base64?YcOp?=")),
        (r#"{"r":true}"#, pair("mcp-param-r", "true")),
        (r#"{"n":-7}"#, pair("mcp-param-n", "-7")),
        (r#"{"n":5.0}"#, pair("mcp-param-n", "5")),
        (r#"{"n":1e2}"#, pair("mcp-param-n", "100")),
        (r#"{"n":-0}"#, pair("mcp-param-n", "0")),
        (r#"{"n":1.5}"#, vec![]),
        ("[]", vec![]),
    ] {
        assert_eq!(mirrored(arguments), fields, "{arguments}");
    }
}

#[test]
fn what_is_too_long_for_a_field_is_said() {
    let fields =
        read(&json!({ "properties": { "r": { "type": "string", "x-mcp-header": "R" } } })).unwrap();
    let of = |len: usize| {
        let arguments = json!({ "r": "x".repeat(len) }).to_string();
        fields.mirror(Some(&arguments)).map(drop)
    };
    assert_eq!(of(VALUE_LEN_MAX), Ok(()));
    let error = of(VALUE_LEN_MAX + 1).unwrap_err();
    assert!(error.to_string().starts_with("`mcp-param-r` would be longer than 8192"), "{error}");
}

fn list(tools: &Value) -> Message {
    let result = json!({ "tools": tools, "nextCursor": "c", "resultType": "complete" });
    Message::response(&1.into(), &result).unwrap()
}

fn tool(name: &str, header: Option<&str>) -> Value {
    let mut property = json!({ "type": "string" });
    if let Some(header) = header {
        property["x-mcp-header"] = json!(header);
    }
    json!({ "name": name, "inputSchema": { "type": "object", "properties": { "p": property } } })
}

#[test]
fn lists_are_learnt_and_rid_of_what_breaks_the_rules() {
    let index = Index::default();
    let plain = list(&json!([tool("plain", None)]));
    assert_eq!(index.learn(&plain, "s").as_bytes(), plain.as_bytes());
    let good = list(&json!([tool("a", Some("A")), tool("plain", None)]));
    assert_eq!(index.learn(&good, "s").as_bytes(), good.as_bytes());
    assert!(index.of("a").unwrap().has("MCP-Param-a") && index.of("plain").is_none());

    let bad = list(&json!([tool("b", Some("B")), tool("a", Some("not this")), tool("c", None)]));
    let left = index.learn(&bad, "s");
    let left: Value = left.read().unwrap();
    let names: Vec<&Value> =
        left["tools"].as_array().unwrap().iter().map(|it| &it["name"]).collect();
    assert_eq!(names, ["b", "c"]);
    assert_eq!((&left["nextCursor"], &left["resultType"]), (&json!("c"), &json!("complete")));
    assert!(index.of("a").is_none() && index.of("b").is_some());

    // What is annotated no more is mirrored no more.
    let _: Message = index.learn(&list(&json!([tool("b", None)])), "s");
    assert!(index.of("b").is_none());
    // What is no list stays what it is.
    for odd in [json!({ "x-mcp-header": 1 }), json!({ "tools": "x-mcp-header" })] {
        let odd = Message::response(&1.into(), &odd).unwrap();
        assert_eq!(index.learn(&odd, "s").as_bytes(), odd.as_bytes());
    }
}

#[test]
fn so_many_tools_are_remembered() {
    let index = Index::new(IndexMax { tools_max: 2, name_len_max: 3 });
    let all = ["a", "b", "a", "c", "long"].map(|name| tool(name, Some("A")));
    let _: Message = index.learn(&list(&json!(all)), "s");
    let known = ["a", "b", "c", "long"].map(|name| index.of(name).is_some());
    assert_eq!(known, [false, true, true, false]);
}
