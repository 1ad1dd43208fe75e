//! One cell of the matrix: a wire and a revision in front, a wire and a revision behind.

use std::{
    collections::BTreeMap,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    thread,
};

use mcp_jsonrpc::ProtocolVersion;

use crate::{
    actor::{self, Actor, Meeting},
    behind::{self, BEHIND, Behind},
    features::{FEATURES, Feature, Outcome, SHARED},
    front::{FRONTS, Front},
    rig::Gateway,
};

/// Which client meets which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cell {
    pub(crate) front: Front,
    pub(crate) client: ProtocolVersion,
    pub(crate) behind: Behind,
    pub(crate) server: ProtocolVersion,
    /// Whether both clients share one session of the server, so that they can be asked nothing.
    pub(crate) shared: bool,
}

/// What came of a cell: by feature, or what went wrong.
pub(crate) type Outcomes = Result<BTreeMap<&'static str, Outcome>, String>;

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { front, client, behind, server, shared } = self;
        let shared = if *shared { ", shared" } else { "" };
        write!(f, "{front:?} {client} to {behind:?} {server}{shared}")
    }
}

/// Every pair of wires, with one session for all behind.  A client's own `gateway stdio` has
/// nobody to share with.
pub(crate) fn shared() -> Vec<Cell> {
    let fronts = [Front::Sse, Front::Streamable];
    let pairs = fronts.into_iter().flat_map(|front| BEHIND.iter().map(move |it| (front, *it)));
    let revisions = ProtocolVersion::LEGACY.iter().cycle();
    let cell = |((front, behind), version): (_, &ProtocolVersion)| Cell {
        front,
        client: *version,
        behind,
        server: *version,
        shared: true,
    };
    pairs.zip(revisions).map(cell).collect()
}

/// Every pair of revisions over two pairs of wires, every pair of wires with three pairs of
/// revisions at least.
pub(crate) fn cells() -> Vec<Cell> {
    let wires: Vec<_> = FRONTS
        .iter()
        .flat_map(|front| BEHIND.iter().map(move |behind| (*front, *behind)))
        .collect();
    let revisions = ProtocolVersion::LEGACY;
    let pairs = revisions.iter().flat_map(|client| revisions.iter().map(move |it| (*client, *it)));
    let mut cells = Vec::new();
    for (at, (client, server)) in pairs.enumerate() {
        for (front, behind) in [wires[at % 9], wires[(at + 4) % 9]] {
            cells.push(Cell { front, client, behind, server, shared: false });
        }
    }
    cells
}

impl Cell {
    pub(crate) fn server_name(&self) -> String {
        behind::name(self.behind, self.server, self.shared)
    }

    /// Runs all features with two clients at once that differ in nothing but what they say.
    pub(crate) fn run(self, gateway: &Gateway) -> Outcomes {
        let features = if self.shared { SHARED } else { FEATURES };
        let meeting = Meeting::default();
        let both = thread::scope(|scope| {
            let play = |tag| {
                let meeting = &meeting;
                scope.spawn(move || {
                    let played = catch_unwind(AssertUnwindSafe(|| {
                        self.play(gateway, (tag, features), meeting)
                    }));
                    if !matches!(&played, Ok(Ok(_))) {
                        meeting.leave();
                    }
                    played.unwrap_or_else(|panic| {
                        let words = panic.downcast_ref::<String>().map(String::as_str);
                        let words = words.or_else(|| panic.downcast_ref().copied());
                        Err(words.unwrap_or("panicked").to_owned())
                    })
                })
            };
            [play("ann"), play("bob")].map(|it| it.join().unwrap())
        });
        match both {
            [Ok(ann), Ok(bob)] if ann == bob => Ok(ann),
            [Ok(ann), Ok(bob)] => Err(format!("ann: {ann:?}, bob: {bob:?}")),
            [Err(error), Ok(_)] | [Ok(_), Err(error)] => Err(error),
            [Err(ann), Err(bob)] => Err(format!("{ann}\n  and: {bob}")),
        }
    }

    fn play(
        self,
        gateway: &Gateway,
        (tag, features): (&'static str, &'static [(&'static str, Feature)]),
        meeting: &Meeting,
    ) -> Outcomes {
        let can = if self.shared { "{}" } else { actor::capabilities(self.client) };
        let mut actor = Actor::begin(gateway, self, tag, can);
        let mut outcomes = BTreeMap::new();
        for (name, feature) in features {
            if !meeting.join() {
                return Err(format!("{name}: the other is gone"));
            }
            let outcome = catch_unwind(AssertUnwindSafe(|| feature(&mut actor)));
            let outcome = outcome.map_err(|panic| {
                let words = panic.downcast_ref::<String>().map(String::as_str);
                let words = words.or_else(|| panic.downcast_ref().copied()).unwrap_or_default();
                format!("{name} ({tag}): {words}")
            });
            outcomes.insert(*name, outcome?);
        }
        let left = actor.leftovers();
        if left.is_empty() { Ok(outcomes) } else { Err(format!("{tag} also heard {left:#?}")) }
    }
}
