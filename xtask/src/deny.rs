//! `cargo deny`: licences, duplicates, sources, and known vulnerabilities where their list can be had.

use std::{path::Path, time::Duration};

use crate::run::{Outcome, Task};

/// Where CI puts the tool, when it is not installed for the user.
const TOOLS: &str = "target/tools/cargo-deny/bin/cargo-deny";

/// A database that has not come by then will not come.
const DATABASE_TIMEOUT: Duration = Duration::from_mins(2);

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
        println!(
            "WARNING: vulnerabilities were NOT checked, the advisory database is out of reach"
        );
        println!("WARNING: {error}");
        return Outcome::Done;
    }
    Task::new(root, &tool).args(&["--locked", "check", "--disable-fetch", "advisories"]).outcome()
}

fn tool(root: &Path) -> Option<String> {
    let placed = root.join(TOOLS);
    let named = [placed.to_string_lossy().into_owned(), "cargo-deny".to_owned()];
    named.into_iter().find(|it| Task::new(root, it).args(&["--version"]).output().is_ok())
}
