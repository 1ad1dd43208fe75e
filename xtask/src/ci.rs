//! Everything at once, in the order in which it is cheapest to hear of a fault.

use std::path::Path;

use crate::{
    conformance, deny, doc, fmt, fuzz, guard, lint,
    run::Outcome,
    suite::{self, Count},
    tidy,
};

/// Runs every check, those after a failure too, and closes with what became of each.
///
/// The last line counts tests alone; the checks are listed above it.
pub(crate) fn run(root: &Path, strict: bool) -> Outcome {
    let mut checks = vec![
        ("tidy", tidy::check(root)),
        ("fmt", fmt(root)),
        ("deny", deny::check(root, strict)),
        ("lint", lint(root)),
        ("doc", doc(root)),
        ("fuzz", fuzz::check(root, strict)),
    ];
    let mut count = Count::default();
    checks.push(("test", suite::run(root, strict, "ci", &[], &mut count)));
    checks.push(("conformance", conformance::run(root, strict, &[], false)));
    checks.push(("guard", guard::run(root, &[], strict)));
    println!();
    let mut failed = Vec::new();
    for (name, outcome) in &checks {
        match outcome {
            Outcome::Done => println!("{name:<11} done"),
            Outcome::Skipped(why) => println!("{name:<11} SKIPPED: {why}"),
            Outcome::Failed(why) => {
                println!("{name:<11} FAILED: {why}");
                failed.push(*name);
            }
        }
    }
    println!("{count}");
    if failed.is_empty() { Outcome::Done } else { Outcome::Failed(failed.join(", ")) }
}
