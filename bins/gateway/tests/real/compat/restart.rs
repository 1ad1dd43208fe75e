//! Which client is let in, and what each does when the gateway is killed under it and comes back.

use std::thread;

use serde_json::{Value, json};

use super::{
    TOKEN,
    driver::{Driver, Front, Kind},
    report,
};
use crate::{
    parts::{Part, Parts},
    rig::{Gateway, Scratch},
};

/// How often a client tries a call that gets no answer, and how long it waits for each.
const TRIES_MAX: usize = 2;
const TRY_TIMEOUT_S: u32 = 8;

/// What became of a session.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum After {
    /// The client goes on with the session it had.
    GoesOn,
    /// The client gets errors or nothing until it is told to connect anew; then all is well.
    ConnectsAnew,
    /// The client has no session that could outlive anything.
    NoSession,
}

/// One line of the table.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) kind: Kind,
    pub(crate) front: Front,
    pub(crate) after: After,
}

/// A client with its session.
struct Guest<'a> {
    driver: Driver,
    front: Front,
    step: &'a Value,
}

#[test]
fn what_each_client_does_when_the_gateway_is_killed() {
    let Some(parts) = Parts::need(&[Part::Node, Part::Python]) else { return };
    let (files, state) = (Scratch::new(), Scratch::new());
    let file = files.write("note.txt", "still here");
    let entry = json!({ "command": "node", "args": [parts.reference("filesystem"), files.text()] });
    let config = json!({
        "gateway": { "tokens": { "tests": TOKEN } },
        "mcpServers": { "files": entry },
    });
    let mut gateway = Gateway::start_at(&parts, &config, "127.0.0.1:0", state.text());
    let listen = gateway.addr.to_string();
    let args = json!({ "path": file });
    let step =
        json!({ "op": "call", "name": "read_text_file", "args": args, "timeout_s": TRY_TIMEOUT_S });
    let ways = Kind::ALL.iter().flat_map(|kind| kind.fronts().iter().map(|it| (*kind, *it)));
    let guests: Vec<Guest<'_>> = beside(ways, |(kind, front)| {
        let mut guest = Guest { driver: Driver::start(&parts, kind), front, step: &step };
        guest.enter(&gateway);
        guest
    });
    assert_eq!(gateway.end_with("KILL"), None, "it ended by itself");
    let gateway = Gateway::start_at(&parts, &config, &listen, state.text());
    let outcomes = beside(guests.into_iter(), |guest| guest.go_on(&gateway));
    report::check(report::RESTARTS, &report::restarts(&outcomes));
}

/// Does all of it at once and returns what came of it, in its order.
fn beside<T: Send, R: Send>(
    items: impl Iterator<Item = T>,
    work: impl Fn(T) -> R + Sync,
) -> Vec<R> {
    let work = &work;
    thread::scope(|scope| {
        let running: Vec<_> = items.map(|item| scope.spawn(move || work(item))).collect();
        let ended: Vec<_> = running.into_iter().map(|it| it.join()).collect();
        ended.into_iter().map(|it| it.unwrap_or_else(|_| panic!("a client failed"))).collect()
    })
}

impl Guest<'_> {
    /// Is refused without the right token, and connects with it.
    fn enter(&mut self, gateway: &Gateway) {
        let connect = self.driver.through(gateway, "files", self.front, Some("wrong-token"));
        let refused = self.driver.open(&connect);
        assert_eq!(refused["ok"], false, "{}: {refused}", self.name());
        let connect = self.driver.through(gateway, "files", self.front, Some(TOKEN));
        let opened = self.driver.open(&connect);
        assert_eq!(opened["ok"], true, "{}: {opened}", self.name());
        assert!(self.reads(), "{} before the restart", self.name());
    }

    /// Tries to go on with the session it has; else with a new one.
    fn go_on(mut self, gateway: &Gateway) -> Outcome {
        let (kind, front) = (self.driver.kind(), self.front);
        let after = if kind == Kind::Inspector {
            assert!(self.reads(), "{} after the restart", self.name());
            After::NoSession
        } else if (0..TRIES_MAX).any(|_| self.reads()) {
            After::GoesOn
        } else {
            // What is left of the old session may be closed or be past closing.
            self.driver.close();
            let connect = self.driver.through(gateway, "files", front, Some(TOKEN));
            let opened = self.driver.open(&connect);
            assert_eq!(opened["ok"], true, "{}: {opened}", self.name());
            assert!(self.reads(), "{} after it has connected anew", self.name());
            After::ConnectsAnew
        };
        self.driver.close();
        self.driver.end();
        Outcome { kind, front, after }
    }

    fn reads(&mut self) -> bool {
        let answer = self.driver.attempt(self.step);
        answer.is_some_and(|it| it["ok"] == true && it.to_string().contains("still here"))
    }

    fn name(&self) -> String {
        format!("{:?} over {:?}", self.driver.kind(), self.front)
    }
}
