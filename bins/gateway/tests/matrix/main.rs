//! Every feature of every revision, through every pair of wires, between every
//! pair of revisions: `docs/MATRIX.md` is what came of it.
//!
//! Whatever reaches either side is checked against the schema of the revision spoken there. Every
//! cell is played by two clients at once, whose ids and tokens are equal. Everything runs on
//! loopback, and nothing but a shell's tools is needed.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a test that panics has failed"
)]

mod actor;
mod behind;
mod cell;
mod demo;
mod eras;
mod features;
mod front;
#[allow(dead_code, reason = "shared with the tests in `it`, which need more of it")]
#[path = "../it/http.rs"]
mod http;
#[allow(dead_code, reason = "shared with the tests in `it`, which need more of it")]
#[path = "../it/process.rs"]
mod process;
mod puppet;
mod report;
#[allow(dead_code, reason = "shared with the tests in `it`, which need more of it")]
#[path = "../it/rig.rs"]
mod rig;
mod said;
mod schema;

use std::{
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use crate::{
    cell::{Cell, Outcomes},
    puppet::lock,
    rig::Gateway,
};

/// How many cells are played at once.
const AT_ONCE: usize = 4;

/// Plays these cells, some at once; returns what came of each.
fn play(cells: &[Cell]) -> Vec<(Cell, Outcomes)> {
    let dir = rig::folder();
    let servers = behind::start(dir.path());
    let gateway = Gateway::start_in(dir, &rig::servers(servers), &["--listen", "127.0.0.1:0"]);
    let (next, outcomes) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(cell) = cells.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let outcome = cell.run(&gateway);
                    lock(&outcomes).push((*cell, outcome));
                }
            });
        }
    });
    let outcomes = outcomes.into_inner().unwrap();
    let failures: Vec<String> = outcomes
        .iter()
        .filter_map(|(cell, outcome)| Some(format!("{cell}: {}", outcome.as_ref().err()?)))
        .collect();
    let complaints = lock(&puppet::COMPLAINTS).clone();
    assert!(
        failures.is_empty(),
        "{} of {} cells:\n{}\n{complaints:#?}",
        failures.len(),
        cells.len(),
        failures.join("\n")
    );
    assert!(complaints.is_empty(), "{complaints:#?}");
    outcomes
}

#[test]
fn every_feature_through_every_pair() {
    report::check(&play(&cell::cells()), &demo::play());
}

#[test]
fn every_feature_between_the_eras() {
    report::check_eras(&eras::play());
}

#[test]
fn nothing_crosses_where_a_session_is_shared() {
    play(&cell::shared());
}
