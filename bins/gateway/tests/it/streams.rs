//! Event streams: kept alive, and held up by nobody.

use std::{
    io::{Read, Write},
    net::Shutdown,
};

use serde_json::json;

use crate::{
    client::{Client, Front},
    http,
    rig::{Gateway, INITIALIZE, call, servers},
};

fn with_keep_alive(interval: &str) -> Gateway {
    let mut config = servers(json!({ "demo": { "type": "demo", "keepAlive": interval } }));
    // Nobody here comes back to a session whose stream was lost.
    config["gateway"] = json!({ "timeouts": { "sseReconnect": "100ms" } });
    Gateway::start(&config)
}

/// Proxies want to see something at once, and then every now and then.
#[test]
fn streams_are_kept_alive_from_the_beginning() {
    let gateway = with_keep_alive("1h");
    let id = gateway.begin("/demo/mcp");
    let session = [("Mcp-Session-Id", &*id)];
    for (line, fields) in [("GET /demo/sse", &[][..]), ("GET /demo/mcp", &session)] {
        let mut stream = gateway.open(line, fields, "");
        assert_eq!(stream.field("x-accel-buffering"), Some("no"), "{line}");
        assert_eq!(stream.field("cache-control"), Some("no-cache, no-transform"), "{line}");
        assert_eq!(stream.field("content-type"), Some("text/event-stream"), "{line}");
        // An hour is longer than anybody waits here: this one comes at once.
        assert!(stream.event().unwrap().unwrap().comment.is_some(), "{line}");
    }

    let gateway = with_keep_alive("20ms");
    let id = gateway.begin("/demo/mcp");
    let session = [("Mcp-Session-Id", &*id), ("Content-Type", "application/json")];
    for (line, fields) in [("GET /demo/sse", &[][..]), ("GET /demo/mcp", &session)] {
        let mut stream = gateway.open(line, fields, "");
        let mut comments = 0;
        while comments < 5 {
            comments += u32::from(stream.event().unwrap().unwrap().comment.is_some());
        }
    }
    // An answer that takes long becomes a stream, and is kept alive like any other.
    let body = call(1, "sleep", &json!({ "ms": 300 }));
    let mut stream = gateway.open("POST /demo/mcp", &session, &body);
    assert_eq!(stream.field("content-type"), Some("text/event-stream"));
    let mut comments = 0;
    let answer = loop {
        let event = stream.event().unwrap().unwrap();
        comments += u32::from(event.comment.is_some());
        if let Some(data) = event.data {
            break data;
        }
    };
    assert!(2 <= comments && answer.contains("slept 300 ms"), "{comments} {answer}");
}

/// A client that has gone without a word is noticed, and its session ended.
#[test]
fn a_client_that_is_gone_is_noticed() {
    let gateway = with_keep_alive("50ms");
    let client = Client::begin(&gateway, Front::Sse, "demo");
    let stream = gateway.open("GET /demo/sse", &[], "");
    gateway.status("demo", |it| it["sessions"] == 2);
    drop(stream);
    gateway.status("demo", |it| it["sessions"] == 1);
    drop(client);
}

/// So is one that closes its end only, at once: nobody waits for a comment to fail.  One that
/// waits for an answer may do so.
#[test]
fn a_listener_that_closes_its_end_is_gone() {
    let gateway = with_keep_alive("1h");
    let text = http::request("GET /demo/sse", &gateway.at, &[], "");
    let listening = http::tcp(&gateway.at);
    (&listening).write_all(text.as_bytes()).unwrap();
    gateway.status("demo", |it| it["sessions"] == 1);
    listening.shutdown(Shutdown::Write).unwrap();
    gateway.status("demo", |it| it["sessions"] == 0);

    let id = gateway.begin("/demo/mcp");
    let session = [("Mcp-Session-Id", &*id), ("Content-Type", "application/json")];
    let body = call(1, "sleep", &json!({ "ms": 300 }));
    let text = http::request("POST /demo/mcp", &gateway.at, &session, &body);
    let asking = http::tcp(&gateway.at);
    (&asking).write_all(text.as_bytes()).unwrap();
    asking.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    (&asking).read_to_string(&mut answer).unwrap();
    assert!(answer.contains("slept 300 ms"), "{answer}");
}

/// Whoever does not read loses the session, is told so, and nobody else feels it.
#[test]
fn a_slow_reader_is_felt_by_nobody_else() {
    let mut config = servers(json!({ "demo": { "type": "demo" } }));
    config["gateway"] = json!({ "limits": { "queueBytesMax": "256KiB" } });
    let gateway = Gateway::start(&config);
    let mut slow = gateway.open("GET /demo/sse", &[], "");
    let endpoint = slow.data();
    assert_eq!(gateway.post(&endpoint, &[], INITIALIZE).status, 202);
    assert!(slow.data().contains("demo-server"));
    let mut other = Client::begin(&gateway, Front::Sse, "demo");
    // More than all the buffers between here and there hold.
    let mut status = 202;
    for id in 0..200 {
        status = gateway.post(&endpoint, &[], &call(id, "blob", &json!({ "len": 1 << 20 }))).status;
        if status != 202 {
            break;
        }
        assert_eq!(other.call("echo", json!({ "message": "quick" })), "quick");
    }
    assert_eq!(status, 404, "the session was never ended");
    gateway.process.logged("why", |line| line.contains("reads too slowly").then_some(()));
    gateway.status("demo", |it| it["sessions"] == 1);
    // The reader, when it comes back, hears why, and then the end.
    let mut last = None;
    while let Ok(Some(event)) = slow.event() {
        last = event.comment.or(last);
    }
    assert!(last.is_some_and(|it| it.contains("too much waits to be read")));
    assert_eq!(other.call("echo", json!({ "message": "still" })), "still");
}
