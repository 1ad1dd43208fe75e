use serde_json::Value;

use super::*;

/// The vectors of the event-stream standard, one a line.  `bytes` holds a byte a character.
const VECTORS: &str = include_str!("vectors.jsonl");

/// What a browser would see of a stream: name, data and last id of each event, last retry, last id.
#[derive(Debug, PartialEq, Default)]
struct Seen {
    events: Vec<(String, String, String)>,
    retry: Option<u64>,
    last: String,
    tail: bool,
}

fn see(chunks: &[&[u8]]) -> Seen {
    let mut decoder = Decoder::new(Limits::default());
    let mut seen = Seen::default();
    for chunk in chunks {
        decoder.feed(Bytes::copy_from_slice(chunk));
        while let Some((block, None)) = decoder.next_block() {
            seen.retry = block.retry.map(|it| it.as_millis() as u64).or(seen.retry);
            let id = decoder.last_event_id().map_or("", EventId::as_str).to_owned();
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let name = block.name.as_deref().filter(|it| !it.is_empty()).unwrap_or(b"message");
            if let (name, Some(data)) = (text(name), block.data.into_bytes()) {
                seen.events.push((name, text(&data), id));
            }
        }
    }
    seen.last = decoder.last_event_id().map_or("", EventId::as_str).to_owned();
    seen.tail = decoder.is_mid_event();
    seen
}

fn expected(vector: &Value) -> Seen {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let events = vector["events"].as_array().unwrap().iter();
    Seen {
        events: events.map(|it| (text(&it[0]), text(&it[1]), text(&it[2]))).collect(),
        retry: vector["retry"].as_u64(),
        last: text(&vector["last"]),
        tail: vector["tail"].as_bool().unwrap(),
    }
}

/// Holds every way of cutting into two, and every chunk size, to the same outcome.
#[track_caller]
fn check_cuts(name: &str, bytes: &[u8], expect: &Seen, step: usize) {
    for cut in (0..=bytes.len()).step_by(step) {
        let (before, after) = bytes.split_at(cut);
        assert_eq!(see(&[before, after]), *expect, "{name}, cut at {cut}");
    }
    for size in (1..=bytes.len()).step_by(step) {
        let chunks: Vec<_> = bytes.chunks(size).collect();
        assert_eq!(see(&chunks), *expect, "{name}, in chunks of {size}");
    }
}

#[test]
fn the_standards_vectors() {
    let mut count = 0;
    for line in VECTORS.lines() {
        let vector: Value = serde_json::from_str(line).unwrap();
        let bytes: Vec<u8> = vector["bytes"].as_str().unwrap().chars().map(|c| c as u8).collect();
        check_cuts(vector["name"].as_str().unwrap(), &bytes, &expected(&vector), 1);
        count += 1;
    }
    assert_eq!(count, 52);
}

#[test]
fn the_standards_long_vectors() {
    let event = |data: String| Seen {
        events: vec![("message".to_owned(), data, String::new())],
        ..Seen::default()
    };
    let long = "x".repeat(100_000);
    check_cuts("long line", format!("data: {long}\n\n").as_bytes(), &event(long), 9_973);
    let many = "data: y\n".repeat(1000) + "\n";
    check_cuts("many data lines", many.as_bytes(), &event(vec!["y"; 1000].join("\n")), 997);
}

/// Decodes `wire`, cut into chunks of `size`, and shows one item a line.
fn decode(wire: &[u8], size: usize, message_len_max: usize) -> String {
    let mut decoder = Decoder::new(Limits { message_len_max, ..Limits::default() });
    let mut shown = String::new();
    for chunk in wire.chunks(size) {
        decoder.feed(Bytes::copy_from_slice(chunk));
        while let Some(item) = decoder.next_item() {
            shown += &show(&item);
        }
    }
    shown
}

fn show(item: &Item) -> String {
    let id = |id: &Option<EventId>| id.as_ref().map_or("-", EventId::as_str).to_owned();
    match item {
        Item::Endpoint(uri) => format!("endpoint {uri}\n"),
        Item::Event(Event::Message { id: at, message }) => {
            format!("message {} {}\n", id(at), message.method().unwrap_or("-"))
        }
        Item::Event(Event::Pause { id: at, retry }) => format!("pause {} {retry:?}\n", id(at)),
        Item::Malformed { id, asks, error } => {
            format!(
                "{} {} {}\n",
                if *asks { "asks" } else { "malformed" },
                id.as_ref().map_or_else(|| "-".into(), Id::to_string),
                error.code()
            )
        }
    }
}

/// Decodes at every chunk size, and holds all to the same outcome.
#[track_caller]
fn check(wire: &[u8], expect: &str) {
    for size in 1..=wire.len() {
        assert_eq!(decode(wire, size, 200), expect, "in chunks of {size}");
    }
}

#[test]
fn what_events_mean() {
    check(
        b"event: endpoint\ndata: /messages?sessionId=1\n\n\
          data: {\"jsonrpc\":\"2.0\",\"method\":\"a\"}\n\n",
        "endpoint /messages?sessionId=1\nmessage - a\n",
    );
    check(
        b":hello\r\nid: 1/2\rdata: {\"jsonrpc\":\"2.0\",\r\ndata:\"method\":\"a\"}\n\r\nretry:50\nid:7\ndata\n\n",
        "message 1/2 a\npause 7 Some(50ms)\n",
    );
    check(b"event: ping\ndata: {}\n\nid: 3\n\nretry: 9\n\n", "pause 3 None\npause - Some(9ms)\n");
}

#[test]
fn a_batch_is_taken_apart() {
    check(
        b"id: 4\ndata: [{\"jsonrpc\":\"2.0\",\"method\":\"a\"},{\"jsonrpc\":\"2.0\",\"method\":\"b\"}]\n\n",
        "message - a\nmessage - b\n",
    );
}

#[test]
fn what_is_no_message_does_not_end_the_stream() {
    check(
        b"data: {\"id\":7,\"result\":{}}\n\ndata: nonsense\n\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"a\"}\n\n",
        "malformed 7 -32600\nmalformed - -32700\nmessage - a\n",
    );
    check(b"data: {\"jsonrpc\":\"2.0\",\"method\":\"a\xff\"}\n\n", "message - a\u{fffd}\n");
}

/// A broken question is not taken for the answer to a request of ours that has the same id.
#[test]
fn what_is_broken_and_asks_answers_nothing() {
    check(
        b"data: {\"jsonrpc\":\"1.0\",\"id\":7,\"method\":\"roots/list\"}\n\n\
          data: {\"jsonrpc\":\"2.0\",\"id\":7,\"result\":{}\n\n",
        "asks - -32600\nmalformed 7 -32700\n",
    );
}

#[test]
fn an_id_is_bounded() {
    for (len, shown) in [(500, true), (EVENT_ID_LEN_MAX, true), (EVENT_ID_LEN_MAX + 1, false)] {
        let id = "x".repeat(len);
        let wire = format!("id: {id}\ndata: {{\"jsonrpc\":\"2.0\",\"method\":\"a\"}}\n\n");
        let expect = format!("message {} a\n", if shown { &*id } else { "-" });
        assert_eq!(decode(wire.as_bytes(), 97, 200), expect, "{len}");
    }
}

/// One that is too long is read over, and what comes after it is heard.
#[test]
fn an_event_is_bounded() {
    let max = 200 + FIELDS_LEN_MAX;
    let endless = "x".repeat(max + 10);
    let next = "data: {\"jsonrpc\":\"2.0\",\"method\":\"next\"}\n\n";
    let no_id = "malformed - -32600\n".to_owned();
    let answer = |text: &str| format!("{{\"jsonrpc\":\"2.0\",{text}}}");
    let first = answer(&format!("\"id\":7,\"result\":\"{endless}\""));
    let last = answer(&format!("\"result\":\"{endless}\",\"id\":\"a\""));
    let asks = answer(&format!("\"id\":7,\"method\":\"m\",\"params\":[\"{endless}\"]"));
    for (event, shown) in [
        (format!("data: {endless}\n\n"), no_id.clone()),
        ("data: 0123456789\n".repeat(max / 10) + "\n", no_id.clone()),
        (format!("data:{endless}\r\ndata: x\r\n\r\n"), no_id),
        (format!("data: {first}\n\n"), "malformed 7 -32600\n".to_owned()),
        (format!("data: {last}\n\n"), "malformed \"a\" -32600\n".to_owned()),
        (format!("id: 5\rdata: {last}\revent: message\r\r"), "malformed \"a\" -32600\n".to_owned()),
        (format!("data: {last}\nid: 6\n\n"), "malformed \"a\" -32600\n".to_owned()),
        (format!("data: {asks}\n\n"), "asks - -32600\n".to_owned()),
        (format!("event: other\ndata: {first}\n\n"), String::new()),
        (format!("data: {first}\nevent: other\n\n"), String::new()),
        (format!(": {endless}\n\n"), String::new()),
        (format!("{endless}\n\n"), String::new()),
    ] {
        let wire = format!("{event}{next}");
        for size in [1, 2, 7, 1000, wire.len()] {
            let expect = format!("{shown}message - next\n");
            assert_eq!(decode(wire.as_bytes(), size, 200), expect, "{size}: {event:.100}");
        }
    }
    // Comments are no part of an event, however many there are.
    let comments = ": 0123456789\n\n".repeat(max);
    assert_eq!(decode(comments.as_bytes(), 1000, 200), "");
}

#[test]
fn of_an_event_that_is_too_long_little_is_kept() {
    let mut decoder = Decoder::new(Limits { message_len_max: 200, ..Limits::default() });
    decoder.feed(Bytes::from_static(b"id: 7\ndata: {\"id\":1,\"result\":\""));
    assert!(decoder.next_item().is_none());
    for _ in 0..1000 {
        decoder.feed(vec![b'x'; 64 << 10].into());
        assert!(decoder.next_item().is_none());
    }
    let long = decoder.long.as_ref().unwrap();
    assert_eq!(long.len, (64_000 << 10) + 18);
    assert!(long.size() < 64 << 10, "{}", long.size());
    assert!(decoder.is_mid_event() && decoder.partial.is_empty());
    assert_eq!(decoder.last_event_id(), None);
    decoder.feed(Bytes::from_static(b"\"}\n\n"));
    let Some(Item::Malformed { id, asks, error }) = decoder.next_item() else { panic!() };
    assert_eq!((id, asks), (Some(Id::from(1)), false));
    assert!(matches!(error, ParseError::TooLarge { len: 65_536_020, max: 200 }), "{error}");
    assert_eq!(decoder.last_event_id().unwrap().as_str(), "7", "it is not sent again");
    assert!(!decoder.is_mid_event());
}

#[test]
fn one_line_in_one_chunk_is_not_copied() {
    let chunk = Bytes::from_static(b"data: {\"jsonrpc\":\"2.0\",\"method\":\"a\"}\n\n");
    let mut decoder = Decoder::new(Limits::default());
    decoder.feed(chunk.clone());
    let Some(Item::Event(Event::Message { message, .. })) = decoder.next_item() else {
        panic!("no message");
    };
    assert_eq!(message.as_bytes().as_ptr(), chunk.slice(6..).as_ptr());
}

#[test]
fn a_bare_cr_ends_an_event_at_once() {
    assert_eq!(decode(b"retry: 7\r\r", 1, 200), "pause - Some(7ms)\n");
}

#[test]
fn what_we_write_we_can_read() {
    let message = Message::parse("{\"jsonrpc\":\"2.0\",\n\"method\":\"a\"}").unwrap();
    let params = serde_json::json!({ "text": "x".repeat(COPY_LEN_MAX) });
    let long = Message::notification("b", &params).unwrap();
    let events = [
        Event::Message { id: EventId::new("3"), message },
        Event::Pause { id: EventId::new("4"), retry: Some(Duration::from_millis(9)) },
        Event::Pause { id: EventId::new("5"), retry: None },
        Event::Pause { id: None, retry: Some(Duration::from_millis(8)) },
        Event::from(long),
    ];
    let mut wire =
        encode_endpoint("/m?sessionId=1", EventId::new("s.1").as_ref(), Duration::from_secs(1))
            .to_vec();
    wire.extend_from_slice(&KEEP_ALIVE);
    wire.extend(encode_comment("over:\nand out"));
    wire.extend(events.iter().flat_map(encode));
    let expect = "endpoint /m?sessionId=1\nmessage 3 a\npause 4 Some(9ms)\npause 5 None\n\
                  pause - Some(8ms)\nmessage - b\n";
    for size in [1, 2, 3, 1000, wire.len()] {
        assert_eq!(decode(&wire, size, 1 << 20), expect);
    }
}

proptest::proptest! {
    /// Whatever comes, however cut: never a panic, and the same items.
    #[test]
    fn cutting_changes_nothing(wire: Vec<u8>, size in 1_usize..50) {
        let wire = [b"data: x\r\n", &*wire, b"\n\ndata: {}\n\n"].concat();
        assert_eq!(decode(&wire, size, 200), decode(&wire, wire.len(), 200));
    }
}
