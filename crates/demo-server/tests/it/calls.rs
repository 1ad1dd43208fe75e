//! What each tool does.

use std::time::Duration;

use demo_server::{DemoServer, Options};
use futures::{FutureExt, StreamExt};
use mcp_jsonrpc::{
    Id, Message, ProtocolVersion,
    transport::{ErrorKind, InboxMax, Reply},
};
use serde_json::{Value, json};

use crate::rig::{Client, value};

fn call(id: i64, tool: &str, arguments: Value) -> Message {
    let params = json!({ "name": tool, "arguments": arguments });
    Message::request(&Id::from(id), "tools/call", &params).unwrap()
}

#[tokio::test]
async fn plain_answers() {
    for version in ProtocolVersion::LEGACY {
        let mut client = Client::new(version).await;
        for (tool, arguments, says) in [
            ("echo", json!({ "message": "hä\n\"?" }), "hä\n\"?"),
            ("add", json!({ "a": 2, "b": -3 }), "-1"),
            ("add", json!({ "a": 0.5, "b": 1 }), "1.5"),
            ("add", json!({ "a": i64::MAX, "b": 1 }), "9.223372036854776e+18"),
            ("count", json!({}), "1"),
            ("blob", json!({ "len": 20 }), "0123456789abcdef0123"),
            ("fail", json!({}), "!This tool always fails."),
            ("raise", json!({ "code": -32050 }), "-32050"),
            ("raise", json!({}), "4001"),
            ("nonsense", json!({}), "-32602"),
            ("extra", json!({}), "-32602"),
            ("ask-nothing", json!({}), "-32602"),
        ] {
            assert_eq!(client.call(tool, arguments).await, says, "{version} {tool}");
        }
    }
}

#[tokio::test]
async fn structure_comes_with_the_revision_that_has_it() {
    for version in ProtocolVersion::LEGACY {
        let mut client = Client::new(version).await;
        let heard = client.hear_call("add", json!({ "a": 1, "b": 1 })).await;
        let structure = heard.answer["result"].get("structuredContent");
        let expect = (ProtocolVersion::V2025_06_18 <= version).then(|| json!({ "sum": 2 }));
        assert_eq!(structure, expect.as_ref(), "{version}");
    }
}

#[tokio::test]
async fn wrong_arguments_are_for_the_model_from_2025_11_25() {
    for version in ProtocolVersion::LEGACY {
        let mut client = Client::new(version).await;
        for (tool, arguments) in [
            ("echo", json!({})),
            ("echo", json!([])),
            ("add", json!({ "a": "1", "b": 2 })),
            ("blob", json!({ "len": 60 * 1024 * 1024 + 1 })),
            ("blob", json!({ "len": -1 })),
            ("sleep", json!({ "ms": 3_600_001 })),
            ("progress", json!({ "steps": u32::MAX, "ms": u64::MAX })),
            ("log", json!({ "level": "loud", "message": "" })),
            ("touch", json!({ "times": 100_001 })),
            ("toggle", json!({ "what": "world" })),
        ] {
            let said = client.call(tool, arguments).await;
            let is_result = ProtocolVersion::V2025_11_25 <= version;
            assert!(if is_result { said.starts_with('!') } else { said == "-32602" }, "{said}");
        }
    }
}

#[tokio::test]
async fn media() {
    for version in ProtocolVersion::LEGACY {
        let mut client = Client::new(version).await;
        for (tool, kind, since) in [
            ("image", "image", ProtocolVersion::V2024_11_05),
            ("audio", "audio", ProtocolVersion::V2025_03_26),
            ("resource-link", "resource_link", ProtocolVersion::V2025_06_18),
        ] {
            let answer = client.hear_call(tool, json!({})).await.answer;
            if version < since {
                assert_eq!(answer["error"]["code"], -32602);
                continue;
            }
            let content = answer["result"]["content"].as_array().unwrap();
            assert!(content.iter().any(|piece| piece["type"] == kind), "{version} {answer}");
        }
    }
}

#[tokio::test]
async fn progress_is_reported_to_those_who_gave_a_token() {
    for version in ProtocolVersion::LEGACY {
        let mut client = Client::new(version).await;
        // More than any queue holds: a call is never further ahead than its reader.
        let heard = client.hear_call("progress", json!({ "steps": 1000 })).await;
        assert_eq!(heard.before.len(), 1000);
        for (n, progress) in (1..).zip(&heard.before) {
            assert_eq!(progress["method"], "notifications/progress");
            assert_eq!(progress["params"]["progressToken"], "token");
            assert_eq!(progress["params"]["progress"], n);
            let has_message = progress["params"].get("message").is_some();
            assert_eq!(has_message, ProtocolVersion::V2025_03_26 <= version);
        }
        let params = json!({ "name": "progress", "arguments": { "steps": 3 } });
        assert!(client.hear("tools/call", params).await.before.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn steps_and_sleep_take_their_time() {
    let mut client = Client::new(ProtocolVersion::LATEST_LEGACY).await;
    let start = tokio::time::Instant::now();
    client.call("progress", json!({ "steps": 4, "ms": 250 })).await;
    assert_eq!(start.elapsed(), Duration::from_secs(1));
    assert_eq!(client.call("sleep", json!({ "ms": 500 })).await, "slept 500 ms");
    assert_eq!(start.elapsed(), Duration::from_millis(1500));
}

#[tokio::test]
async fn logs_are_as_grave_as_the_session_wants() {
    let mut client = Client::new(ProtocolVersion::LATEST_LEGACY).await;
    let info = json!({ "level": "info", "message": "m", "times": 2 });
    let heard = client.hear_call("log", info.clone()).await;
    let params = json!({ "level": "info", "logger": "demo", "data": "m" });
    assert_eq!(heard.before.len(), 2);
    assert_eq!(heard.before[0]["params"], params);

    client.request("logging/setLevel", json!({ "level": "warning" })).await.unwrap();
    assert_eq!(client.call("log", info).await, "logged 0 times");
    let grave = json!({ "level": "emergency", "message": "m" });
    assert_eq!(client.hear_call("log", grave).await.before.len(), 1);
    let error = client.request("logging/setLevel", json!({ "level": "loud" })).await.unwrap_err();
    assert_eq!(error["code"], -32602);
}

#[tokio::test]
async fn the_counter_is_the_servers() {
    let server = DemoServer::default();
    let mut one = Client::of(&server, ProtocolVersion::V2024_11_05, json!({})).await;
    let mut other = Client::of(&server, ProtocolVersion::V2025_11_25, json!({})).await;
    assert_eq!(one.call("count", json!({})).await, "1");
    assert_eq!(other.call("count", json!({})).await, "2");
    assert_eq!(server.counted(), 2);
}

#[tokio::test]
async fn a_call_is_cancelled_by_a_notification_or_by_dropping() {
    let client = Client::new(ProtocolVersion::LATEST_LEGACY).await;
    let sleep = || call(7, "sleep", json!({ "ms": 1_000_000 }));
    let mut sleeping = client.send(sleep());
    assert!((&mut sleeping).now_or_never().is_none());
    let again = client.send(sleep()).await.unwrap_err();
    assert_eq!(*again.kind(), ErrorKind::Invalid(-32600), "an id is used once at a time");

    client.notify("notifications/cancelled", json!({ "requestId": 8 })).await;
    assert!((&mut sleeping).now_or_never().is_none());
    client.notify("notifications/cancelled", json!({ "requestId": 7 })).await;
    assert_eq!(*sleeping.await.unwrap_err().kind(), ErrorKind::Cancelled);

    let mut sleeping = client.send(sleep());
    assert!((&mut sleeping).now_or_never().is_none());
    drop(sleeping);
    let reply = client.send(call(7, "echo", json!({ "message": "free" }))).await.unwrap();
    assert!(matches!(reply, Reply::Single(_)), "the id is free again");
}

#[tokio::test]
async fn a_stream_ends_when_it_is_cancelled() {
    let client = Client::new(ProtocolVersion::LATEST_LEGACY).await;
    let log = json!({ "level": "info", "message": "m", "times": 10 });
    let Reply::Stream(mut events) = client.send(call(7, "log", log)).await.unwrap() else {
        panic!("no stream");
    };
    assert!(events.next().await.unwrap().is_ok());
    client.notify("notifications/cancelled", json!({ "requestId": 7 })).await;
    let error = loop {
        match events.next().await.unwrap() {
            Ok(_) => (),
            Err(error) => break error,
        }
    };
    assert_eq!(*error.kind(), ErrorKind::Cancelled);
    assert!(events.next().await.is_none());
}

#[tokio::test]
async fn only_so_many_calls_run_at_once() {
    let mut options = Options::default();
    options.in_flight_max = 2;
    options.inbox = InboxMax { queue_len_max: 4, queue_bytes_max: 1 << 16 };
    let client = Client::with(options).await;
    let mut running: Vec<_> =
        (1..=2).map(|id| client.send(call(id, "sleep", json!({ "ms": 99_999 })))).collect();
    for running in &mut running {
        assert!(running.now_or_never().is_none());
    }
    let refused = client.send(call(3, "echo", json!({ "message": "" }))).await.unwrap_err();
    assert_eq!(*refused.kind(), ErrorKind::Exhausted);
    running.clear();
    let Ok(Reply::Single(answer)) = client.send(call(3, "echo", json!({ "message": "" }))).await
    else {
        panic!("no room");
    };
    assert_eq!(value(&answer)["id"], 3);
}
