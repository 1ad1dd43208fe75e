//! Edits splice: every byte that is not edited stays.

use mcp_jsonrpc::{Id, Kind, Message, ParseError};
use serde_json::value::RawValue;

/// That an edited message is what its bytes say.
#[track_caller]
fn check_same(message: &Message) {
    let again = Message::parse(message.as_bytes().clone()).unwrap();
    assert_eq!(again.kind(), message.kind());
    assert_eq!(again.id(), message.id());
    assert_eq!(again.method(), message.method());
    assert_eq!(again.body(), message.body());
}

#[test]
fn a_new_id_leaves_every_other_byte() {
    let raw =
        r#"{ "params":{"name":"ü", "n":1e400},  "id" : 7 , "method":"tools/call","jsonrpc":"2.0"}"#;
    let message = Message::parse(raw).unwrap().with_id(Id::from("gw-12345"));
    assert_eq!(message.as_bytes(), &raw.replace(": 7 ,", r#": "gw-12345" ,"#));
    check_same(&message);
    assert_eq!(message.with_id(Id::from(7)).as_bytes(), raw);
}

#[test]
fn what_has_no_id_gets_none() {
    let raw = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
    let message = Message::parse(raw).unwrap().with_id(Id::from(7));
    assert_eq!(message.as_bytes(), raw);
    assert_eq!(message.id(), None);
}

#[test]
fn a_part_written_anew_leaves_every_other_byte() {
    #[derive(serde::Deserialize)]
    struct Named<'a> {
        #[serde(borrow)]
        name: &'a RawValue,
    }
    let raw = r#"{"id":1,"params":{ "arguments":{"name":1},"name":"postgres__query" },"method":"tools/call","jsonrpc":"2.0"}"#;
    let message = Message::parse(raw).unwrap();
    let named: Named<'_> = message.read().unwrap();
    let renamed = message.with_part(named.name, &"query").unwrap();
    assert_eq!(renamed.as_bytes(), &raw.replace("postgres__query", "query"));
    check_same(&renamed);
    check_same(&renamed.with_id(Id::from("a longer one")));

    let whole: &RawValue = message.read().unwrap();
    let replaced = message.with_part(whole, &serde_json::json!({ "name": "x" })).unwrap();
    assert_eq!(replaced.body(), Some(r#"{"name":"x"}"#));
    check_same(&replaced);

    let body = message.with_body(&serde_json::json!({ "name": "a longer one" })).unwrap();
    assert_eq!(body.body(), Some(r#"{"name":"a longer one"}"#));
    check_same(&body);
    check_same(&body.with_id(Id::from("another")));
    let bare = Message::parse(r#"{"jsonrpc":"2.0","method":"x"}"#).unwrap();
    assert!(bare.with_body(&1).is_err());

    let other = Message::parse(raw.to_owned()).unwrap();
    assert!(other.with_part(named.name, &"query").is_err());
}

#[test]
fn a_line_is_the_same_json() {
    let pretty = "{\r\n  \"jsonrpc\": \"2.0\",\n  \"method\": \"a\\nb\"\n}";
    let line = Message::parse(pretty).unwrap().to_line();
    assert!(!line.contains(&b'\n') && !line.contains(&b'\r'));
    let value = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes).unwrap();
    assert_eq!(value(&line), value(pretty.as_bytes()));
}

#[test]
fn a_message_that_is_kept_keeps_nothing_else() {
    let raw = br#"{"jsonrpc":"2.0","id":1,"method":"a","params":{}}"#;
    let buffer = bytes::Bytes::from([raw.as_slice(), &[b' '; 4000]].concat());
    let message = Message::parse(buffer.slice(..raw.len())).unwrap();
    let kept = message.clone().detached();
    assert_eq!(kept.as_bytes(), message.as_bytes());
    assert_eq!(
        (kept.id(), kept.method(), kept.body()),
        (message.id(), message.method(), message.body())
    );
    assert!(!buffer.is_unique());
    drop(message);
    assert!(buffer.is_unique());
}

#[test]
fn id_and_body_are_written_anew_together() {
    for raw in [
        r#"{"id":1,"params":{ "a":{"b":"ü"},"c\"":[1e400] , "d":"\u0041"},"method":"m","jsonrpc":"2.0"}"#,
        r#"{"method":"m","params":{ "a":{"b":"ü"},"c\"":[1e400] , "d":"\u0041"},"jsonrpc":"2.0", "id" : 1}"#,
    ] {
        let message = Message::parse(raw).unwrap();
        let mut object = message.object().unwrap();
        assert!(object.remove(&["a"]) && object.has("d") && !object.has("a"));
        object.set("e", &"x\n").unwrap();
        let body = r#"{"c\"":[1e400],"d":"\u0041","e":"x\n"}"#;
        let old = message.body().unwrap();
        for (id, text) in [(Id::from("a-longer-one"), "\"a-longer-one\""), (Id::from(1), "1")] {
            let edited = message.with_object(&id, &object).unwrap();
            let want = raw.replace(old, body).replacen("1,\"p", &format!("{text},\"p"), 1);
            assert_eq!(edited.as_bytes(), &want.replace(": 1}", &format!(": {text}}}")));
            assert_eq!(edited.id(), Some(&id));
            check_same(&edited);
            check_same(&edited.with_id(Id::from(-12345)));
        }
    }
    let told = Message::parse(r#"{"jsonrpc":"2.0","method":"m","params":{}}"#).unwrap();
    let edited = told.with_object(&Id::from(1), &told.object().unwrap()).unwrap();
    assert_eq!(edited.as_bytes(), told.as_bytes());
}

#[test]
fn members_are_found_by_name_wherever_they_are() {
    let raw =
        r#"{"jsonrpc":"2.0","id":1,"result":{"x":{"a":1}, "\u0061" : [2] ,"b":"}","c":null}}"#;
    let message = Message::parse(raw).unwrap();
    assert_eq!(
        message.pick(["b", "a", "d", "c"]).unwrap(),
        [Some(r#""}""#), Some("[2]"), None, Some("null")]
    );
    let twice = Message::parse(r#"{"jsonrpc":"2.0","id":1,"result":{"a":1,"a":2,"b":3}}"#).unwrap();
    assert!(twice.pick(["a"]).unwrap_err().to_string().contains("duplicate field `a`"));
    assert_eq!(twice.pick(["b"]).unwrap(), [Some("3")]);
    let array = Message::parse(r#"{"jsonrpc":"2.0","id":1,"result":[]}"#).unwrap();
    assert!(array.pick(["a"]).is_err() && array.object().is_err());
    // Deeper than is counted: the long way.
    let limits = mcp_jsonrpc::Limits { depth_max: 4096, ..mcp_jsonrpc::Limits::default() };
    let deep = format!("{}{}", "[".repeat(1000), "]".repeat(1000));
    let raw = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"deep":{deep},"a":1}}}}"#);
    let message = Message::parse_within(raw, &limits).unwrap();
    assert_eq!(message.pick(["a", "deep"]).unwrap(), [Some("1"), Some(&*deep)]);
    assert_eq!(message.object().unwrap().to_raw().unwrap().get(), message.body().unwrap());
}

#[test]
fn what_is_no_array_of_objects_is_not_told_at_a_glance() {
    use mcp_jsonrpc::object::glance;
    let deep = format!("[1,{}{}]", "[".repeat(1000), "]".repeat(1000));
    for none in ["{}", "[1,]", "[,1]", "[1 2]", "[1", "1", "", "[] 1", "[{},]", "[{}", &*deep] {
        let json = format!(r#"{{"list":{none}}}"#);
        assert_eq!(glance(&json, "list", &["1"], "other"), None, "{none}");
    }
    let json = r#"{"list":[ {"a":[1],"type":1} ,{"b":"],[","type":1} ]}"#;
    assert!(glance(json, "list", &["1"], "other").unwrap().is_typed);
}

#[test]
fn a_result_put_together_is_a_message_like_any_other() {
    for id in [Id::from(7), Id::Text("a\"b".into())] {
        let result = r#"{"tools":[{"name":"x","n":1e400}],"_meta":{}}"#;
        let write = |out: &mut String| {
            out.push_str(result);
            Ok(())
        };
        let made = Message::assembled(&id, 0, write).unwrap();
        let read = Message::parse(made.as_bytes().clone()).unwrap();
        assert_eq!(
            (made.kind(), made.id(), made.body()),
            (Kind::Response, Some(&id), Some(result))
        );
        assert_eq!(
            (read.kind(), read.id(), read.body()),
            (Kind::Response, Some(&id), Some(result))
        );
        let other = made.with_id(Id::from(1000));
        assert_eq!(other.as_bytes(), read.with_id(Id::from(1000)).as_bytes());
        assert_eq!(other.body(), Some(result));
    }
    let max = mcp_jsonrpc::Limits::default().message_len_max;
    let long = |out: &mut String| {
        out.push('"');
        out.push_str(&"x".repeat(max));
        out.push('"');
        Ok(())
    };
    let error = Message::assembled(&Id::from(1), max, long).unwrap_err();
    assert!(matches!(error, ParseError::TooLarge { .. }), "{error}");
    let fails = |_: &mut String| Err(ParseError::Envelope("no"));
    assert!(Message::assembled(&Id::from(1), 0, fails).is_err());
}

#[test]
fn the_name_among_the_parameters_is_known_where_it_is_there_once() {
    let told = |params: &str| {
        let raw = format!(r#"{{"params": {params} ,"jsonrpc":"2.0","id":1,"method":"m"}}"#);
        Message::parse(raw).unwrap()
    };
    for (params, name) in [
        (r#"{"a":{"name":1}, "name" : "x\u0041" ,"arguments":{"name":2}}"#, Some(r#""x\u0041""#)),
        (r#"{"arguments":[],"name":[1, 2]}"#, Some("[1, 2]")),
        (r#"{"name":1,"name":2}"#, None),
        (r#"{"name":1,"n\u0061me":2}"#, None),
        (r#"{"name":1,"arguments":1,"arguments":2}"#, None),
        (r#"{"a":{"name":1}}"#, None),
        ("{}", None),
    ] {
        assert_eq!(told(params).name(), name, "{params}");
    }
    for raw in [
        r#"{"jsonrpc":"2.0","id":1,"result":{"name":1}}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{},"params":{"name":1}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"m"}"#,
    ] {
        assert_eq!(Message::parse(raw).unwrap().name(), None, "{raw}");
    }

    let call = told(r#"{"a":1, "name":"x" ,"arguments":{"b":[2]}}"#);
    let renamed = call.with_text(call.name().unwrap(), r#""longer""#).unwrap();
    assert_eq!(renamed.name(), Some(r#""longer""#));
    for edited in [&call, &renamed] {
        let moved = edited.with_id("an-id-of-another-length".into());
        let [first, arguments] = edited.pick(["a", "arguments"]).unwrap();
        let shifted = edited.with_text(first.unwrap(), "[10,20,30]").unwrap();
        let longer = edited.with_text(arguments.unwrap(), r#"{"name":"of none"}"#).unwrap();
        for it in [moved, shifted, longer] {
            assert_eq!(it.name(), edited.name());
            assert_eq!(it.pick(["name"]).unwrap(), [it.name()]);
        }
        let mut object = edited.object().unwrap();
        object.set("name", &"y").unwrap();
        let written = edited.with_object(&Id::from("another"), &object).unwrap();
        assert_eq!((written.name(), written.pick(["name"]).unwrap()), (None, [Some(r#""y""#)]));
        assert_eq!(edited.with_body(&object).unwrap().name(), None);
        let inside = edited.name().unwrap().get(1..2).unwrap();
        assert_eq!(edited.with_text(inside, "z").unwrap().name(), None);
    }
}

#[test]
fn a_name_is_written_as_what_it_is() {
    let raw = r#"{"jsonrpc":"2.0","id":1,"method":"m","params":{"name":"x","a":[1]}}"#;
    let call = Message::parse(raw).unwrap();
    for name in ["", "plain", "wörter 名", "\"", "a\\b", "\u{7}", "line\nbreak", "\u{7f}"] {
        let renamed = call.with_name(call.name().unwrap(), name).unwrap();
        let json = serde_json::to_string(name).unwrap();
        assert_eq!(renamed.as_bytes(), &raw.replace("\"x\"", &json));
        let [written, a] = renamed.pick(["name", "a"]).unwrap();
        assert_eq!((written, a), (Some(&*json), Some("[1]")));
        assert_eq!(renamed.name(), Some(&*json));
    }
    call.with_name("\"x\"", "other").unwrap_err();
}
