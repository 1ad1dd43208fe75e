//! What holds of every message, and of everything that is none.

use mcp_jsonrpc::{Frame, Id, Limits, Message};
use proptest::{collection::vec, prelude::*};
use serde_json::{Value, value::RawValue};

/// JSON as somebody might write it: any spacing, any escapes.
fn json(depth: u32) -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        any::<i64>().prop_map(|it| it.to_string()),
        Just("1e400".to_owned()),
        Just("-0.0".to_owned()),
        text(),
    ];
    leaf.prop_recursive(depth, 24, 4, |inner| {
        prop_oneof![
            (vec(inner.clone(), 0..4), space())
                .prop_map(|(items, space)| format!("[{space}{}{space}]", items.join(","))),
            vec((text(), inner), 0..4).prop_map(|members| {
                let members: Vec<_> = members.iter().map(|(k, v)| format!("{k} : {v}")).collect();
                format!("{{{}}}", members.join(" ,\t"))
            }),
        ]
    })
}

fn space() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["", " ", "\n", "\r\n\t", "  "])
}

/// A JSON string.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
        prop::sample::select(vec![
            r#""id""#,
            r#""method""#,
            r#""\u0069d""#,
            r#""{[\"\\""#,
            r#""\ud83d\ude00""#,
            r#""\/""#,
        ])
        .prop_map(str::to_owned),
    ]
}

fn id() -> impl Strategy<Value = Id> {
    prop_oneof![
        any::<i64>().prop_map(Id::from),
        any::<String>().prop_map(|text| Id::from(text.as_str())),
    ]
}

fn object() -> impl Strategy<Value = String> {
    (json(3), space(), text()).prop_map(|(value, space, text)| {
        format!(r#"{{{space}"name":{space}{text},"value":{value}{space}}}"#)
    })
}

/// A message of any kind, its members in any order, its spacing anyhow.
fn message() -> impl Strategy<Value = String> {
    let id = || id().prop_map(|id| format!(r#""id":{id}"#));
    let method = || text().prop_map(|text| format!(r#""method":{text}"#));
    let body = |name: &'static str| object().prop_map(move |body| format!(r#""{name}" :{body}"#));
    let members = prop_oneof![
        (id(), method(), body("params")).prop_map(|(a, b, c)| vec![a, b, c]),
        (method(), body("params")).prop_map(|(a, b)| vec![a, b]),
        (id(), method()).prop_map(|(a, b)| vec![a, b]),
        (id(), body("result")).prop_map(|(a, b)| vec![a, b]),
        (id(), body("error")).prop_map(|(a, b)| vec![a, b]),
        body("error").prop_map(|a| vec![a]),
    ];
    let extra = json(2).prop_map(|it| format!(r#""extra": {it}"#));
    (members, extra, space()).prop_flat_map(|(mut members, extra, space)| {
        members.push(r#""jsonrpc":"2.0""#.to_owned());
        members.push(extra);
        Just(members).prop_shuffle().prop_map(move |members| {
            format!("{space}{{{space}{}{space}}}{space}", members.join(&format!("{space},{space}")))
        })
    })
}

fn parse(raw: &str) -> Message {
    Message::parse(raw.to_owned()).unwrap_or_else(|error| panic!("{error}: {raw}"))
}

/// That what a message says of itself is what a reader of its bytes finds.
fn check_head(message: &Message) -> Result<(), TestCaseError> {
    let raw = std::str::from_utf8(message.as_bytes()).unwrap();
    let again = parse(raw);
    prop_assert_eq!(again.kind(), message.kind());
    prop_assert_eq!(again.id(), message.id());
    prop_assert_eq!(again.method(), message.method());
    prop_assert_eq!(again.body(), message.body());
    if let Some(name) = message.name() {
        prop_assert_eq!(message.pick(["name"]).unwrap(), [Some(name)]);
    }
    Ok(())
}

/// The bytes before and after the one place where two texts differ in a known way.
fn around<'a>(raw: &'a str, part: &str, at: usize) -> (&'a str, &'a str) {
    (raw.split_at(at).0, raw.split_at(at + part.len()).1)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_a_message_or_an_error(raw in vec(any::<u8>(), 0..300)) {
        drop(Frame::parse(raw.clone()));
        drop(Message::salvage_id(&raw));
    }

    #[test]
    fn any_text_of_json_pieces_is_a_message_or_an_error(
        pieces in vec(prop::sample::select(vec![
            "{", "}", "[", "]", ",", ":", "\"", "\\", "\\u00", "\\ud800", "1", "-", "1e3", "null",
            "\"jsonrpc\":\"2.0\"", "\"id\":1", "\"id\":\"a\"", "\"method\":\"m\"", "\"params\":{}",
            "\"result\":{}", "\"error\":{}", " ", "\n", "\u{feff}", "ü",
        ]), 0..20),
    ) {
        let raw = pieces.concat();
        if let Ok(Frame::One(message)) = Frame::parse(raw.clone()) {
            check_head(&message)?;
            // Nobody else finds anything but an object in it.
            let is_object = serde_json::from_str::<Value>(&raw).is_ok_and(|it| it.is_object());
            prop_assert!(is_object || raw.contains("\\ud800"));
        }
        drop(Message::salvage_id(raw.as_bytes()));
    }

    #[test]
    fn a_damaged_message_is_a_message_or_an_error(
        raw in message(), at in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        let mut bytes = raw.into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        drop(Frame::parse(bytes.clone()));
        bytes.truncate(at);
        drop(Frame::parse(bytes));
    }

    #[test]
    fn a_message_says_what_others_read(raw in message()) {
        let message = parse(&raw);
        let value: Value = match serde_json::from_str(&raw.replace("1e400", "0")) {
            Ok(value) => value,
            Err(error) => return Err(TestCaseError::fail(format!("{error}: {raw}"))),
        };
        let id = message.id().map(|id| serde_json::to_value(id).unwrap());
        prop_assert_eq!(value.get("id"), id.as_ref());
        prop_assert_eq!(value.get("method").and_then(Value::as_str), message.method());
        prop_assert_eq!(message.as_bytes(), raw.as_bytes());
    }

    #[test]
    fn ids_keep_their_json_type(id in id()) {
        let message = Message::response(&id, &()).unwrap();
        prop_assert_eq!(message.id(), Some(&id));
        let again = parse(r#"{"jsonrpc":"2.0","id":0,"method":"m"}"#).with_id(id.clone());
        check_head(&again)?;
        let value: Value = serde_json::from_slice(again.as_bytes()).unwrap();
        prop_assert_eq!(value["id"].is_string(), matches!(id, Id::Text(_)));
        prop_assert_eq!(serde_json::from_value::<Id>(value["id"].clone()).unwrap(), id);
    }

    #[test]
    fn a_new_id_keeps_every_other_byte(raw in message(), new in id()) {
        let message = parse(&raw);
        let edited = message.with_id(new.clone());
        let Some(old) = message.id() else {
            prop_assert_eq!(edited.as_bytes(), message.as_bytes());
            return Ok(());
        };
        check_head(&edited)?;
        prop_assert_eq!(edited.id(), Some(&new));
        // In these messages the id is written as its text is printed.
        let member = format!(r#""id":{old}"#);
        let mut at = raw.match_indices(&member).map(|(at, _)| at + 5);
        let text = std::str::from_utf8(edited.as_bytes()).unwrap();
        let kept = |at: usize| {
            let (before, after) = around(&raw, &old.to_string(), at);
            text == format!("{before}{new}{after}")
        };
        prop_assert!(at.any(kept), "{} became {}", raw, text);
        let back = edited.with_id(old.clone());
        prop_assert_eq!(back.as_bytes(), message.as_bytes());
    }

    #[test]
    fn a_new_part_keeps_every_other_byte(raw in message(), new in json(2), id in id()) {
        #[derive(serde::Deserialize)]
        struct Parts<'a> {
            #[serde(borrow)]
            value: &'a RawValue,
        }
        let message = parse(&raw);
        let Ok(Parts { value }) = message.read() else { return Ok(()) };
        let new = RawValue::from_string(new.trim().to_owned()).unwrap();
        let edited = message.with_part(value, &new).unwrap();
        let at = value.get().as_ptr() as usize - message.as_bytes().as_ptr() as usize;
        let (before, after) = around(&raw, value.get(), at);
        let expect = format!("{before}{}{after}", new.get());
        prop_assert_eq!(edited.as_bytes(), expect.as_bytes());
        check_head(&edited)?;
        check_head(&edited.with_id(id))?;
    }

    #[test]
    fn a_line_is_one_line_of_the_same_length(raw in message()) {
        let message = parse(&raw);
        let line = message.to_line();
        prop_assert!(!line.contains(&b'\n') && !line.contains(&b'\r'));
        prop_assert_eq!(line.len(), raw.len());
        let again = Message::parse(line).unwrap();
        prop_assert_eq!((again.kind(), again.id()), (message.kind(), message.id()));
        prop_assert_eq!(again.method(), message.method());
    }

    #[test]
    fn parts_of_a_batch_are_what_they_are_alone(parts in vec(message(), 1..6), space in space()) {
        let raw = format!("{space}[{}]{space}", parts.join(","));
        let Frame::Batch(batch) = Frame::parse(raw).unwrap() else {
            return Err(TestCaseError::fail("one message"));
        };
        prop_assert_eq!(batch.len(), parts.len());
        for (found, alone) in batch.iter().zip(&parts) {
            let alone = parse(alone.trim());
            prop_assert_eq!(found.as_bytes(), alone.as_bytes());
            prop_assert_eq!(found.kind(), alone.kind());
            prop_assert_eq!(found.id(), alone.id());
            prop_assert_eq!(found.method(), alone.method());
            prop_assert_eq!(found.body(), alone.body());
            check_head(&found.with_id(Id::from("another")))?;
        }
    }

    #[test]
    fn depth_is_what_a_reader_finds(raw in message(), depth_max in 1..8_usize) {
        fn depth(value: &Value) -> usize {
            match value {
                Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
                Value::Object(items) => 1 + items.values().map(depth).max().unwrap_or(0),
                _ => 0,
            }
        }
        // Duplicate members would hide each other.
        let raw = raw.replace("1e400", "0");
        let value: Value = serde_json::from_str(&raw).unwrap();
        let limits = Limits { depth_max, ..Limits::default() };
        let taken = Message::parse_within(raw, &limits).is_ok();
        prop_assert!(!taken || depth(&value) <= depth_max);
    }
}
