//! Two runs of the suite, check by check: what the second lost.
//!
//! Green scenarios say little: several end early and green where they get no session, and the
//! suite counts 29 checks of a server that is dead.  So nothing is counted but what the direct run
//! had: a check is kept if it is there, ended no worse, and succeeded as often.

use std::collections::BTreeMap;

use super::checks::{Check, Scenarios, Status};

/// This one succeeds over no messages at all.
const SCHEMA: &str = "wire-schema-valid";

/// What became of a scenario's checks.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Kept {
    /// The checks that succeeded directly.
    pub(crate) had: u32,
    /// How many of them are as good here.
    pub(crate) kept: u32,
    /// The others, and failures under names the direct run does not have.
    pub(crate) lost: Vec<Lost>,
}

/// A check that is worse than it was.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Lost {
    pub(crate) check: String,
    /// What is there instead.
    pub(crate) now: String,
    /// Whether that was said before, and why it is so.
    pub(crate) expected: Option<String>,
}

/// How often a check of one name was made, and how it ended at worst.
#[derive(Debug, Default)]
struct Tally {
    succeeded: u32,
    not_applicable: u32,
    worst: Status,
    error: String,
}

/// Holds a run against the direct one.
pub(crate) fn compare(direct: &Scenarios, run: &Scenarios) -> BTreeMap<String, Kept> {
    let none = Vec::new();
    let pair = |(name, had): (&String, &Vec<Check>)| {
        (name.clone(), scenario(&tally(had), &tally(run.get(name).unwrap_or(&none))))
    };
    direct.iter().map(pair).collect()
}

fn scenario(had: &BTreeMap<&str, Tally>, has: &BTreeMap<&str, Tally>) -> Kept {
    let mut kept = Kept::default();
    for (id, before) in had.iter().filter(|(_, it)| 0 < it.succeeded) {
        kept.had += 1;
        match has.get(id).map_or_else(|| Some("absent".to_owned()), |it| before.against(it)) {
            None => kept.kept += 1,
            Some(now) => kept.lost.push(lost(id, now)),
        }
    }
    let only_schema = kept.kept == 1 && 1 < kept.had && has.contains_key(SCHEMA);
    if only_schema && kept.lost.iter().all(|it| it.check != SCHEMA) {
        kept.kept = 0;
        kept.lost.push(lost(SCHEMA, "empty: no other check of this scenario is left".to_owned()));
    }
    for (id, now) in
        has.iter().filter(|(id, it)| it.worst == Status::Failure && !had.contains_key(*id))
    {
        kept.lost.push(lost(id, format!("new FAILURE: {}", now.error)));
    }
    kept
}

impl Tally {
    /// What is worse in `now`.
    fn against(&self, now: &Self) -> Option<String> {
        // "Not applicable" is as good as a success.
        let rank = |it: Status| it.max(Status::Info);
        if rank(self.worst) < rank(now.worst) {
            return Some(format!("{}: {}", now.worst.word(), now.error));
        }
        let times = now.succeeded + now.not_applicable;
        (times < self.succeeded).then(|| format!("{times} times instead of {}", self.succeeded))
    }
}

fn lost(check: &str, now: String) -> Lost {
    Lost { check: check.to_owned(), now, expected: None }
}

fn tally(checks: &[Check]) -> BTreeMap<&str, Tally> {
    let mut all = BTreeMap::<&str, Tally>::new();
    for check in checks {
        let tally = all.entry(&check.id).or_default();
        match check.status {
            Status::Success => tally.succeeded += 1,
            Status::Info => tally.not_applicable += 1,
            Status::Skipped | Status::Warning | Status::Failure => {}
        }
        if tally.worst < check.status {
            tally.worst = check.status;
            tally.error.clone_from(&check.error);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use Status::{Failure, Info, Skipped, Success, Warning};

    use super::*;

    fn checks(of: &[(&str, Status)]) -> Scenarios {
        let check = |(id, status): &(&str, Status)| Check {
            id: (*id).to_owned(),
            status: *status,
            error: String::new(),
        };
        Scenarios::from([("it".to_owned(), of.iter().map(check).collect())])
    }

    /// How many were kept, and the names of those lost.
    #[track_caller]
    fn check(direct: &[(&str, Status)], run: &[(&str, Status)], expect: (u32, u32, &[&str])) {
        let kept = compare(&checks(direct), &checks(run)).remove("it").unwrap();
        let lost: Vec<&str> = kept.lost.iter().map(|it| it.check.as_str()).collect();
        assert_eq!((kept.kept, kept.had, lost.as_slice()), expect);
    }

    #[test]
    fn what_counts_as_kept() {
        let two = &[("a", Success), ("b", Success)];
        check(two, two, (2, 2, &[]));
        check(two, &[("a", Success)], (1, 2, &["b"]));
        check(two, &[("a", Success), ("b", Info)], (2, 2, &[]));
        for worse in [Skipped, Warning, Failure] {
            check(two, &[("a", Success), ("b", worse)], (1, 2, &["b"]));
        }
        check(two, &[("a", Success), ("b", Success), ("b", Failure)], (1, 2, &["b"]));
    }

    #[test]
    fn fewer_times_is_less() {
        check(&[("a", Success), ("a", Success)], &[("a", Success)], (0, 1, &["a"]));
        check(&[("a", Success), ("a", Warning)], &[("a", Success), ("a", Warning)], (1, 1, &[]));
    }

    #[test]
    fn what_failed_directly_cannot_be_lost() {
        check(&[("a", Failure), ("b", Success)], &[("b", Success)], (1, 1, &[]));
        check(&[("a", Success)], &[("a", Success), ("new", Failure)], (1, 1, &["new"]));
        check(&[("a", Success)], &[("a", Success), ("new", Warning)], (1, 1, &[]));
    }

    #[test]
    fn a_schema_over_nothing_is_no_success() {
        check(&[("a", Success), (SCHEMA, Success)], &[(SCHEMA, Success)], (0, 2, &["a", SCHEMA]));
        check(&[(SCHEMA, Success)], &[(SCHEMA, Success)], (1, 1, &[]));
    }

    #[test]
    fn a_scenario_that_is_not_there_is_all_lost() {
        let kept = compare(&checks(&[("a", Success)]), &Scenarios::new()).remove("it").unwrap();
        let lost = Lost { check: "a".into(), now: "absent".into(), expected: None };
        assert_eq!(kept, Kept { had: 1, kept: 0, lost: vec![lost] });
    }
}
