//! Servers that are killed.

use rustix::process::Signal;
use serde_json::{Value, json};

use super::{Guest, House, error_of, server::Speaks, signal};
use crate::{
    client::{Client, Front, capabilities},
    process::until,
    rig::INITIALIZE,
};

/// What a server is doing when it is killed.
#[derive(Clone, Copy, Debug)]
enum Moment {
    Idle,
    Call,
    /// A call to which only where to resume from has been said.
    Primed,
    Stream,
    Question(&'static str),
}

const MOMENTS: [Moment; 7] = [
    Moment::Idle,
    Moment::Call,
    Moment::Primed,
    Moment::Stream,
    Moment::Question("sampling/createMessage"),
    Moment::Question("elicitation/create"),
    Moment::Question("roots/list"),
];

/// A call under way, and a question that it asked.
struct Running {
    id: i64,
    key: String,
    question: Option<Value>,
}

/// Brings it to this moment.
#[track_caller]
fn begin(house: &House, guest: &mut Guest, moment: Moment) -> Option<Running> {
    let key = format!("{:?} {moment:?}", guest.front);
    let (tool, method) = match moment {
        Moment::Idle => return None,
        Moment::Call => ("stall", None),
        Moment::Primed => ("prime", None),
        Moment::Stream => ("stream", None),
        Moment::Question(method) => ("ask", Some(method)),
    };
    let id = guest.client.begin_call(tool, json!({ "key": key, "method": method }));
    house.ledger.first(0, "effect", |line| line["more"] == key);
    let question = method.map(|method| guest.client.told(method));
    if matches!(moment, Moment::Stream) {
        for step in 1..=3 {
            let told = guest.client.told("notifications/progress");
            assert_eq!(told["params"]["progress"], step, "{told}");
        }
    }
    Some(Running { id, key, question })
}

/// Kills the server of a client at a moment, and checks what comes of it.
#[track_caller]
fn kill_at(house: &mut House, guest: &mut Guest, moment: Moment) {
    let running = begin(house, guest, moment);
    let (from, logged) = (house.ledger.lines().len(), house.gateway.process.log().len());
    house.kill(guest.pid);
    match house.speaks {
        _ if guest.front == Front::Stdio => (),
        Speaks::Stdio => house.saw_the_end_of(guest.pid),
        // Nor is anybody told of its stream's end before what is sent just now.
        Speaks::Sse => house.saw_a_loss(logged),
        Speaks::Streamable => (),
    }
    if let Some(Running { id, key, question }) = running {
        let answer = guest.client.answer(id);
        let words = error_of(&answer);
        assert!(words.contains("server `it`"), "{key}: {words}");
        assert!(words.contains("may have been carried out"), "{key}: {words}");
        if let Some(question) = question {
            if guest.listens() {
                let told = guest.client.told("notifications/cancelled");
                assert_eq!(told["params"]["requestId"], question["id"], "{key}");
            }
            // Too late, and nobody minds: `reply` checks that it is taken.
            guest.client.reply(&question, json!({ "late": true }));
        }
    }
    if guest.listens() {
        // Nobody has asked for anything since.
        guest.hears_of_changes();
        house.was_told_again(from);
    }
    guest.goes_on(&format!("{:?} after {moment:?}", guest.front));
    if !guest.listens() {
        guest.hears_of_changes();
    }
    house.was_told_again(from);
    assert!(guest.client.aside.is_empty(), "{moment:?}: {:?}", guest.client.aside);
    let late = house.ledger.told(from, "answered");
    assert_eq!(late, Vec::<Value>::new(), "a new process heard an answer to another's question");
}

#[track_caller]
fn every_moment(speaks: Speaks, fronts: &[Front]) {
    let mut house = House::new(speaks, &json!({}));
    for front in fronts {
        let mut guest = house.guest(*front);
        for moment in MOMENTS {
            kill_at(&mut house, &mut guest, moment);
        }
    }
    house.did_nothing_twice();
}

#[test]
fn a_child_is_killed_and_its_client_listens() {
    every_moment(Speaks::Stdio, &[Front::Sse, Front::Streamable]);
}

#[test]
fn a_child_is_killed_and_its_client_only_asks() {
    every_moment(Speaks::Stdio, &[Front::Unlistening]);
}

#[test]
fn a_streamable_server_is_killed_behind_sse() {
    every_moment(Speaks::Streamable, &[Front::Sse]);
}

#[test]
fn a_streamable_server_is_killed_behind_streamable() {
    every_moment(Speaks::Streamable, &[Front::Streamable, Front::Unlistening]);
}

#[test]
fn an_sse_server_is_killed_behind_sse() {
    every_moment(Speaks::Sse, &[Front::Sse]);
}

#[test]
fn an_sse_server_is_killed_behind_streamable() {
    every_moment(Speaks::Sse, &[Front::Streamable, Front::Unlistening]);
}

/// `gateway stdio` is a gateway of its own, with children of its own.
#[test]
fn a_server_is_killed_behind_a_gateway_on_stdio() {
    for speaks in [Speaks::Stdio, Speaks::Streamable, Speaks::Sse] {
        let mut house = House::new(speaks, &json!({}));
        let mut guest = house.guest(Front::Stdio);
        for moment in [Moment::Idle, Moment::Stream, Moment::Question("sampling/createMessage")] {
            kill_at(&mut house, &mut guest, moment);
        }
        house.did_nothing_twice();
    }
}

/// Who was about to begin is told why that did not work, and may try again at once.
#[test]
fn a_server_is_killed_in_its_first_words() {
    for speaks in [Speaks::Stdio, Speaks::Streamable, Speaks::Sse] {
        let mut house = House::new(speaks, &json!({}));
        // One that can be asked has a process of its own.
        let hello = INITIALIZE.replace(r#""capabilities":{}"#, r#""capabilities":{"roots":{}}"#);
        for front in [Front::Streamable, Front::Sse] {
            house.ledger.wants("stall-initialize", true);
            let from = house.ledger.lines().len();
            let refused = std::thread::scope(|scope| {
                let asking = scope.spawn(|| match front {
                    Front::Sse => {
                        let mut client = Client::connect(&house.gateway, front, "it");
                        let hello: Value = serde_json::from_str(&hello).unwrap();
                        let answer = client.ask("initialize", hello["params"].clone());
                        error_of(&answer).to_owned()
                    }
                    _ => {
                        let answer = house.gateway.post("/it/mcp", &[], &hello);
                        assert_eq!(answer.status, 503, "{answer:?}");
                        answer.error()
                    }
                });
                let line = house.ledger.first(from, "initialize", |_| true);
                signal(u32::try_from(line["pid"].as_u64().unwrap()).unwrap(), Signal::KILL);
                asking.join().unwrap()
            });
            assert!(refused.contains("server `it`"), "{speaks:?} {front:?}: {refused}");
            house.ledger.wants("stall-initialize", false);
            if let Some(upstream) = &mut house.upstream {
                upstream.again();
            }
            until("the server's next chance", || {
                (house.gateway.post("/it/mcp", &[], INITIALIZE).status == 200).then_some(())
            });
            house.guest(front);
        }
    }
}

/// One who is given another process, which dies before it has said a word, is given a third.
#[test]
fn a_server_is_killed_in_its_first_words_to_an_old_session() {
    for speaks in [Speaks::Stdio, Speaks::Streamable, Speaks::Sse] {
        let mut house = House::new(speaks, &json!({}));
        for front in [Front::Unlistening, Front::Sse] {
            let mut guest = house.guest(front);
            house.ledger.wants("stall-initialize", true);
            let from = house.ledger.lines().len();
            house.kill(guest.pid);
            if speaks == Speaks::Stdio {
                house.saw_the_end_of(guest.pid);
            }
            let key = format!("{front:?} again");
            let id = guest.client.begin_call("count", json!({ "key": key }));
            let line = house.ledger.first(from, "initialize", |_| true);
            house.ledger.wants("stall-initialize", false);
            signal(u32::try_from(line["pid"].as_u64().unwrap()).unwrap(), Signal::KILL);
            if let Some(upstream) = &mut house.upstream {
                upstream.again();
            }
            let answer = guest.client.answer(id);
            if answer.get("error").is_some() {
                let words = error_of(&answer);
                assert!(words.contains("server `it`"), "{words}");
                assert!(!house.ledger.effects().contains_key(&key), "{words}");
            }
            guest.goes_on(&format!("{front:?} at last"));
            house.was_told_again(from);
        }
        house.did_nothing_twice();
    }
}

/// A server that is back by the time of the next request is not missed by a client that listens
/// to nothing: it hears of an error at most once, and never of its session.
#[test]
fn a_server_that_stays_away_for_a_while() {
    for speaks in [Speaks::Streamable, Speaks::Sse] {
        let mut house = House::new(speaks, &json!({}));
        let mut guest = house.guest(Front::Unlistening);
        signal(guest.pid, Signal::KILL);
        let words = until("an error", || {
            let answer = guest
                .client
                .ask("tools/call", json!({ "name": "count", "arguments": { "key": "away" } }));
            Some(error_of(&answer).to_owned())
        });
        assert!(words.contains("server `it`"), "{words}");
        assert!(
            house.ledger.told(0, "effect").iter().all(|line| line["more"] != "away"),
            "{words}"
        );
        house.upstream.as_mut().unwrap().again();
        guest.goes_on("back");
        house.did_nothing_twice();
    }
}

/// A client that takes its leave is not asked after.
#[test]
fn nobody_looks_for_a_session_that_was_closed() {
    for speaks in [Speaks::Stdio, Speaks::Streamable, Speaks::Sse] {
        let house = House::new(speaks, &json!({}));
        let id = house.gateway.begin("/it/mcp");
        let fields = [("Mcp-Session-Id", &*id), ("Content-Type", "application/json")];
        let initialized = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
        assert_eq!(house.gateway.post("/it/mcp", &fields, initialized).status, 202);
        house.ledger.first(0, "notifications/initialized", |_| true);
        // Before that its server was asked for its era.
        let from = house.ledger.lines().len();
        assert_eq!(house.gateway.ask("DELETE /it/mcp", &fields, "").status, 204);
        if speaks == Speaks::Streamable {
            house.ledger.first(0, "DELETE", |_| true);
        }
        // Another comes and goes in the meantime.
        house.guest(Front::Unlistening);
        assert_eq!(house.ledger.told(0, "ping"), Vec::<Value>::new(), "{speaks:?}");
        assert_eq!(house.ledger.told(from, "unknown"), Vec::<Value>::new(), "{speaks:?}");
    }
}

/// A client of both worlds: what it can be asked is what a new process is told.
#[test]
fn what_is_said_at_initialize_is_kept_as_it_was() {
    let mut house = House::new(Speaks::Stdio, &json!({}));
    let mut client = Client::connect(&house.gateway, Front::Unlistening, "it");
    let mut own = capabilities();
    own["experimental"] = json!({ "x/y": { "z": [1, 2.50, null] } });
    client.initialize("2025-06-18", &own);
    let pid = super::pid_of(&client.call("count", json!({ "key": "one" })));
    let from = house.ledger.lines().len();
    house.kill(pid);
    house.saw_the_end_of(pid);
    client.call("count", json!({ "key": "two" }));
    let again = house.ledger.told(from, "initialize");
    assert_eq!(again.len(), 1, "{again:?}");
    let before = house.ledger.told(0, "initialize");
    assert_eq!(before[0]["more"], again[0]["more"]);
    assert_eq!(again[0]["more"]["capabilities"], own);
}
