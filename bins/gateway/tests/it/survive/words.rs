//! Servers that run, and say that they do not know what they are asked about; and what they are
//! told of those who do not wait any more.

use serde_json::{Value, json};

use super::{House, error_of, server::Speaks};
use crate::client::Front;

/// With 404, as the protocol wants it, or with 400, as many do it.
#[test]
fn a_server_forgets_its_sessions() {
    for speaks in [Speaks::Streamable, Speaks::Sse] {
        for status in [404, 400] {
            let house = House::new(speaks, &json!({}));
            if status == 400 {
                house.ledger.wants("forget-with-400", true);
            }
            for front in [Front::Sse, Front::Streamable, Front::Unlistening, Front::Stdio] {
                let what = format!("{speaks:?} {status} {front:?}");
                let mut guest = house.guest(front);
                guest.client.call("forget", json!({ "key": what }));
                let from = house.ledger.lines().len();
                let pid = guest.count(&format!("{what} then"));
                guest.goes_on_with(pid, &what);
                house.ledger.first(from, "unknown", |_| true);
                house.was_told_again(from);
                guest.hears_of_changes();
            }
            house.did_nothing_twice();
        }
    }
}

/// A load balancer says 503, and its server has done the work.
#[test]
fn a_refusal_by_the_way_is_no_proof() {
    for speaks in [Speaks::Streamable, Speaks::Sse] {
        let house = House::new(speaks, &json!({}));
        for front in [Front::Sse, Front::Unlistening] {
            let mut guest = house.guest(front);
            for status in ["503 Busy", "502 Bad Gateway", "504 Gone", "429 Slow Down"] {
                let key = format!("{front:?} {status}");
                let arguments = json!({ "key": key, "status": status });
                let params = json!({ "name": "refuse", "arguments": arguments });
                let answer = guest.client.ask("tools/call", params);
                let words = error_of(&answer);
                let status = format!("(HTTP {})", status.split(' ').next().unwrap());
                assert!(words.contains("server `it`") && words.contains(&status), "{words}");
                assert_eq!(
                    words.contains("may have been carried out"),
                    !key.contains("429"),
                    "{words}"
                );
                // Its session is as good as it was.
                let from = house.ledger.lines().len();
                let pid = guest.count(&format!("after {key}"));
                assert_eq!(pid, guest.pid);
                assert_eq!(house.ledger.told(from, "initialize"), Vec::<Value>::new());
            }
        }
        house.did_nothing_twice();
    }
}

/// Who takes a request back may say why, and whose time is over is said to be.
#[test]
fn a_server_hears_why_nobody_waits() {
    for speaks in [Speaks::Stdio, Speaks::Streamable, Speaks::Sse] {
        let house = House::new(speaks, &json!({ "requestTimeout": "2s" }));
        for front in [Front::Sse, Front::Unlistening] {
            let mut guest = house.guest(front);
            let key = format!("{front:?} taken back");
            let id = guest.client.begin_call("stall", json!({ "key": key }));
            house.ledger.first(0, "effect", |line| line["more"] == key);
            let from = house.ledger.lines().len();
            let params = json!({ "requestId": id, "reason": "the user pressed Escape" });
            let text = json!({
                "jsonrpc": "2.0", "method": "notifications/cancelled", "params": params,
            });
            guest.client.say(&text.to_string());
            let told = house.ledger.first(from, "notifications/cancelled", |_| true);
            assert_eq!(told["more"]["reason"], "the user pressed Escape", "{speaks:?} {told}");

            let from = house.ledger.lines().len();
            let id = guest.client.begin_call("stall", json!({ "key": format!("{front:?} late") }));
            let answer = guest.client.answer(id);
            assert!(error_of(&answer).contains("`requestTimeout`"), "{answer}");
            let told = house.ledger.first(from, "notifications/cancelled", |_| true);
            let why = told["more"]["reason"].as_str().unwrap();
            assert!(why.contains("not finished within 2 s"), "{speaks:?} {told}");
        }
        house.did_nothing_twice();
    }
}
