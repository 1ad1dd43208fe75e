use super::*;

#[test]
fn the_table() {
    let unavailable = ErrorKind::Unavailable { retry_after: None };
    // What failed; status and code while opening, asking, telling.
    for (kind, opening, asking, telling) in [
        (ErrorKind::NoSession, (404, -32600), (404, -32600), (404, -32600)),
        (ErrorKind::Invalid(-32602), (400, -32602), (400, -32602), (400, -32602)),
        (ErrorKind::TooLarge, (413, -32600), (200, -32603), (413, -32600)),
        (unavailable, (503, -32603), (200, -32603), (503, -32603)),
        (ErrorKind::Exhausted, (503, -32603), (200, -32603), (503, -32603)),
        (ErrorKind::Closed, (502, -32603), (200, -32603), (502, -32603)),
        (ErrorKind::Timeout, (502, -32603), (200, -32603), (502, -32603)),
        (ErrorKind::Protocol, (502, -32603), (200, -32603), (502, -32603)),
        (ErrorKind::Status(418), (502, -32603), (200, -32603), (502, -32603)),
        (ErrorKind::Unauthorized(None), (502, -32603), (200, -32603), (502, -32603)),
        (ErrorKind::Unsupported, (502, -32603), (200, -32603), (502, -32603)),
        (ErrorKind::Cancelled, (502, -32603), (200, -32603), (502, -32603)),
    ] {
        let stages =
            [(Stage::Opening, opening), (Stage::Asking, asking), (Stage::Telling, telling)];
        for (stage, (status, code)) in stages {
            let error = TransportError::new(kind.clone(), "it happened").hint("do this");
            let refusal = Refusal::of(&error, stage);
            assert_eq!(refusal.error.code, code, "{kind:?} {stage:?}");
            assert!(refusal.error.message.contains("it happened"));
            let response = refusal.into_response(Note::default());
            assert_eq!(response.status().as_u16(), status, "{kind:?} {stage:?}");
            assert_eq!(response.headers().contains_key("retry-after"), status == 503);
            assert!(response.body().note().unwrap().reason.is_some());
        }
    }
}

#[test]
fn bodies() {
    for (error, status) in [
        (ReadError::TooLarge { max: 1 }, 413),
        (ReadError::Timeout { after: RETRY_AFTER }, 408),
        (ReadError::Silent { after: RETRY_AFTER }, 408),
        (ReadError::Broken("gone".into()), 400),
    ] {
        let response = Refusal::of_body(&error).into_response(Note::default());
        assert_eq!(response.status().as_u16(), status);
    }
}

#[test]
fn the_revisions_to_choose_from() {
    let refusal = Refusal::of_version("2026-07-28").about(Some(&Id::from(1)));
    let message = refusal.into_message().unwrap();
    let raw = std::str::from_utf8(message.as_bytes()).unwrap();
    let data = r#""data":{"supported":["2024-11-05","2025-03-26","2025-06-18","2025-11-25"],"requested":"2026-07-28"}"#;
    assert!(raw.contains(data) && raw.contains(r#""id":1"#) && raw.contains("-32022"), "{raw}");
}
