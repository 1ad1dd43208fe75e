//! Servers that are there and do nothing any more.

use rustix::process::Signal;
use serde_json::json;

use super::{House, error_of, server::Speaks, signal, stop};
use crate::{client::Front, process::all_gone};

/// A child that is stopped is found by `ping`, ended and replaced, whatever it was doing.
#[test]
fn a_child_hangs() {
    let settings = json!({ "pingInterval": "500ms", "pingTimeout": "500ms", "firstByteTimeout": "3s", "stopTimeout": "200ms" });
    for front in [Front::Sse, Front::Streamable, Front::Stdio] {
        let house = House::new(Speaks::Stdio, &settings);
        let mut guest = house.guest(front);
        let from = house.ledger.lines().len();
        stop(guest.pid);
        // Nobody has asked for anything.
        guest.hears_of_changes();
        all_gone(&[guest.pid]);
        house.was_told_again(from);
        guest.goes_on("after it hung");

        // One that stops to read in the middle of a call.
        let from = house.ledger.lines().len();
        let id = guest.client.begin_call("deaf", json!({ "key": "deaf" }));
        let answer = guest.client.answer(id);
        assert!(error_of(&answer).contains("server `it`"), "{answer}");
        guest.hears_of_changes();
        house.was_told_again(from);
        guest.goes_on("after it was deaf");
        house.did_nothing_twice();
    }
}

/// A server of HTTP that is stopped may go on: whoever waits is told in time, and no longer.
#[test]
fn a_server_of_http_hangs() {
    let settings =
        json!({ "pingInterval": "500ms", "pingTimeout": "500ms", "firstByteTimeout": "2s" });
    for speaks in [Speaks::Streamable, Speaks::Sse] {
        let house = House::new(speaks, &settings);
        for front in [Front::Sse, Front::Unlistening] {
            let mut guest = house.guest(front);
            stop(guest.pid);
            let id =
                guest.client.begin_call("count", json!({ "key": format!("{front:?} stopped") }));
            let answer = guest.client.answer(id);
            let words = error_of(&answer).to_owned();
            signal(guest.pid, Signal::CONT);
            assert!(words.contains("server `it`"), "{words}");
            let pid = guest.count(&format!("{front:?} goes on"));
            assert_eq!(pid, guest.pid);
            guest.goes_on_with(pid, "goes on");
        }
        // Also what was sent while it was stopped happens at most once.
        house.did_nothing_twice();
    }
}
