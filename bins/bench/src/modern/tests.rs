//! What the harness writes, and what it finds out about answers and requests.

use super::*;

fn params(body: &[u8]) -> (String, Box<RawValue>) {
    #[derive(Deserialize)]
    struct Request {
        method: String,
        params: Box<RawValue>,
    }
    let read: Request = serde_json::from_slice(body).unwrap();
    (read.method, read.params)
}

fn checked(body: &[u8], headers: Option<&HeaderMap>) -> Option<i32> {
    let (method, params) = params(body);
    check_request(&method, Some(&params), headers).err().map(|it| it.0)
}

#[test]
fn requests_say_what_they_must_and_nothing_else_is_taken() {
    let mut headers = HeaderMap::new();
    fields(&mut headers, "tools/call", Some("echo"));
    let body = call(1, "echo", r#"{"text":"x"}"#, r#","progressToken":1"#);
    assert_eq!(checked(&body, Some(&headers)), None);
    assert_eq!(checked(&body, None), None);
    for name in [VERSION_FIELD, METHOD_FIELD, NAME_FIELD] {
        let mut without = headers.clone();
        without.remove(name);
        assert_eq!(checked(&body, Some(&without)), Some(HEADER_MISMATCH), "{name}");
        without.insert(name, HeaderValue::from_static("other"));
        assert_eq!(checked(&body, Some(&without)), Some(HEADER_MISMATCH), "{name}");
    }
    fields(&mut headers, "tools/list", None);
    assert_eq!(checked(&request(2, "tools/list"), Some(&headers)), None);
    assert_eq!(check_request("ping", None, None), Err(OTHER_REVISION));
    let said = |meta: &str| format!(r#"{{"method":"ping","params":{{"_meta":{{{meta}}}}}}}"#);
    let version = r#""io.modelcontextprotocol/protocolVersion""#;
    let other = said(&format!(r#"{version}:"2025-11-25""#));
    assert_eq!(checked(other.as_bytes(), None), Some(UNSUPPORTED_VERSION));
    let silent = said(&format!(r#"{version}:"2026-07-28""#));
    assert_eq!(checked(silent.as_bytes(), None), Some(-32602));
}

#[test]
fn discoveries_are_checked() {
    let said =
        |id, version| format!(r#"{{"id":{id},"result":{{"supportedVersions":["{version}"]}}}}"#);
    check_discovered(said(0, REVISION).as_bytes(), 0).unwrap();
    assert!(check_discovered(said(1, REVISION).as_bytes(), 0).is_err());
    assert!(check_discovered(said(0, "2025-11-25").as_bytes(), 0).is_err());
    assert!(check_discovered(br#"{"id":0,"error":{"code":-32601,"message":""}}"#, 0).is_err());
}

#[test]
fn only_its_own_question_and_its_own_answer_are_a_calls() {
    let (call, other) = (Asking::new(3), Asking::new(4));
    let asked = |id, kind, text: &str| {
        format!(
            r#"{{"id":{id},"result":{{"resultType":"{kind}","requestState":"s\"","inputRequests":{{"q":{{"method":"elicitation/create","params":{{"message":"{text}"}}}}}}}}}}"#
        )
    };
    let waits = call.asked(asked(3, "input_required", &call.text).as_bytes()).unwrap();
    for wrong in [
        asked(4, "input_required", &call.text),
        asked(3, "complete", &call.text),
        asked(3, "input_required", &other.text),
        asked(3, "input_required", &call.text).replace("elicitation", "other"),
        "{}".to_owned(),
    ] {
        assert!(matches!(call.asked(wrong.as_bytes()), Err(Failure::Wrong(_))), "{wrong}");
    }
    let (first, again) = (params(&call.body()).1, params(&call.retry(&waits)).1);
    let read = |it: &RawValue| serde_json::from_str::<serde_json::Value>(it.get()).unwrap();
    let (first, again) = (read(&first), read(&again));
    assert_eq!((&first["name"], &first["arguments"]), (&again["name"], &again["arguments"]));
    assert_eq!(again["requestState"], "s\"");
    assert_eq!(again["inputResponses"]["q"]["content"]["word"], "word 3");

    let done = |id, kind, text: &str| {
        format!(
            r#"{{"id":{id},"result":{{"resultType":"{kind}","content":[{{"text":"{text}"}}]}}}}"#
        )
    };
    let text = format!("{} word 3", call.text);
    call.check(done(3, "complete", &text).as_bytes()).unwrap();
    for wrong in [
        done(4, "complete", &text),
        done(3, "input_required", &text),
        done(3, "complete", &format!("{} word 4", call.text)),
        done(3, "complete", &call.text),
    ] {
        assert!(matches!(call.check(wrong.as_bytes()), Err(Failure::Wrong(_))), "{wrong}");
    }
}
