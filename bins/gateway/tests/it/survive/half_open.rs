//! Connections that carry nothing any more, and do not say so.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use serde_json::json;

use super::{
    Guest, House, error_of, quick_to_restart,
    server::{Ledger, Speaks, Upstream},
};
use crate::{
    client::Front,
    process::until,
    rig::{Gateway, folder, servers},
};

/// What stands between the gateway and its server, and loses connections without a word.
struct Relay {
    port: u16,
    /// Connections of earlier eras carry nothing.
    era: Arc<AtomicUsize>,
}

impl Relay {
    fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let own = listener.local_addr().unwrap().port();
        let era = Arc::new(AtomicUsize::new(0));
        let now = Arc::clone(&era);
        thread::spawn(move || {
            for front in listener.incoming().map_while(Result::ok) {
                let Ok(behind) = TcpStream::connect(("127.0.0.1", port)) else { continue };
                let (front, behind) = (Arc::new(front), Arc::new(behind));
                let born = now.load(Ordering::SeqCst);
                for (from, to) in [(&front, &behind), (&behind, &front)] {
                    let (from, to, now) = (Arc::clone(from), Arc::clone(to), Arc::clone(&now));
                    thread::spawn(move || {
                        pass_on(&from, &to, || now.load(Ordering::SeqCst) == born);
                    });
                }
            }
        });
        Self { port: own, era }
    }

    /// All connections there are carry nothing from now on; those that come do.
    fn cut(&self) {
        self.era.fetch_add(1, Ordering::SeqCst);
    }
}

fn pass_on(mut from: &TcpStream, mut to: &TcpStream, carries: impl Fn() -> bool) {
    let mut buffer = [0; 4096];
    loop {
        let Ok(read) = from.read(&mut buffer) else { return };
        if !carries() {
            // Neither end hears of it: both sockets stay open for as long as the test runs.
            loop {
                thread::park();
            }
        }
        if read == 0 {
            drop(to.shutdown(std::net::Shutdown::Write));
            return;
        }
        if to.write_all(&buffer[..read]).is_err() {
            return;
        }
    }
}

/// Whoever waits is told in time, and soon everything goes another way.
#[test]
fn connections_are_cut_without_a_word() {
    let settings =
        json!({ "pingInterval": "500ms", "pingTimeout": "500ms", "firstByteTimeout": "3s" });
    for speaks in [Speaks::Streamable, Speaks::Sse] {
        let dir = folder();
        let ledger = Ledger::new(dir.path());
        let upstream = Upstream::start(speaks, &ledger);
        let relay = Relay::to(upstream.port);
        let entry = quick_to_restart(upstream.entry(relay.port), &settings);
        let config = servers(json!({ "it": entry }));
        let gateway = Gateway::start_in(dir, &config, &["--listen", "127.0.0.1:0"]);
        let house = House { gateway, speaks, ledger, upstream: Some(upstream) };
        for front in [Front::Sse, Front::Unlistening] {
            let mut guest: Guest = house.guest(front);
            let key = format!("{front:?} under way");
            let id = guest.client.begin_call("stall", json!({ "key": key }));
            house.ledger.first(0, "effect", |line| line["more"] == key);
            relay.cut();
            let answer = guest.client.answer(id);
            assert!(error_of(&answer).contains("server `it`"), "{speaks:?} {answer}");
            let mut tries = 0;
            let pid = until("a call that comes through", || {
                tries += 1;
                let params = json!({ "name": "count", "arguments": { "key": format!("{front:?} {tries}") } });
                let answer = guest.client.ask("tools/call", params);
                if answer.get("error").is_some() {
                    assert!(error_of(&answer).contains("server `it`"), "{answer}");
                    return None;
                }
                Some(super::pid_of(answer["result"]["content"][0]["text"].as_str().unwrap()))
            });
            guest.goes_on_with(pid, "after the cut");
        }
        let twice = house.ledger.effects().into_values().filter(|times| 1 < *times).count();
        assert_eq!(twice, 0);
    }
}
