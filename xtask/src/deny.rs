//! `cargo deny`: licences, duplicates, sources, and known vulnerabilities where their list can be had.

use std::{path::Path, time::Duration};

use crate::run::{Outcome, Task};

/// Where CI puts the tool, when it is not installed for the user.
const TOOLS: &str = "target/tools/cargo-deny/bin/cargo-deny";

/// A database that has not come by then will not come.
const DATABASE_TIMEOUT: Duration = Duration::from_mins(2);

/// Checks what can be checked here; without the advisory database the rest is judged, and that is
/// said, under `strict` too: nobody's change makes a database unreachable.
pub(crate) fn check(root: &Path, strict: bool) -> Outcome {
    let Some(tool) = tool(root) else {
        let how = "cargo-deny is not installed: `cargo install --locked cargo-deny`";
        return Outcome::skipped(how.to_owned(), strict);
    };
    let own = ["--locked", "check", "bans", "licenses", "sources"];
    let judged = Task::new(root, &tool).args(&own).outcome();
    if !matches!(judged, Outcome::Done) {
        return judged;
    }
    let fetch = Task::new(root, &tool).args(&["--locked", "fetch", "db"]);
    if let Err(error) = fetch.timeout(DATABASE_TIMEOUT).output() {
        println!("WARNING: {error}");
        let left_out = "known vulnerabilities were NOT checked, their database is out of reach";
        return Outcome::Skipped(format!("{left_out}; the rest is in order"));
    }
    Task::new(root, &tool).args(&["--locked", "check", "advisories"]).outcome()
}

fn tool(root: &Path) -> Option<String> {
    let placed = root.join(TOOLS);
    let named = [placed.to_string_lossy().into_owned(), "cargo-deny".to_owned()];
    named.into_iter().find(|it| Task::new(root, it).args(&["--version"]).output().is_ok())
}
