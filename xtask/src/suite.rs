//! All tests, and how many there were.

use std::{fmt, fs, path::Path};

use crate::{
    real::{self, Parts},
    run::{Outcome, Task},
};

/// How many tests passed, failed, and could not run here.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Count {
    pub(crate) passed: u32,
    pub(crate) failed: u32,
    pub(crate) skipped: u32,
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

/// Runs the tests and closes with their count.
pub(crate) fn test(root: &Path, strict: bool, names: &[&str]) -> Outcome {
    let mut count = Count::default();
    let outcome = run(root, strict, "default", names, &mut count);
    println!("{count}");
    outcome
}

/// Sets up the real servers and clients and runs the tests, those whose names contain one of
/// `names` or all.
///
/// A test that lacks a real part says so in a file; such a test is counted as skipped, and under
/// `strict` nothing runs before every part is there. `profile` is one of `xtask/nextest.toml`.
pub(crate) fn run(
    root: &Path,
    strict: bool,
    profile: &str,
    names: &[&str],
    count: &mut Count,
) -> Outcome {
    let parts = match prepare(root, strict) {
        Ok(parts) => parts,
        Err(outcome) => return outcome,
    };
    let skips = root.join("target/real/skips");
    if let Err(error) = fs::write(&skips, "") {
        return Outcome::Failed(format!("{}: {error}", skips.display()));
    }
    let mut outcome = Outcome::Done;
    for words in runners(root, profile, names) {
        let task = Task::cargo(root, &words)
            .env("GATEWAY_REAL", &parts.file)
            .env("GATEWAY_REAL_SKIPS", &skips)
            .env("GATEWAY_REAL_STRICT", if strict { "1" } else { "" });
        if let Err(error) = task.watch(|line| count.add(line)) {
            // A build that fails counts no test, and yet is not nothing.
            count.failed = count.failed.max(1);
            outcome = Outcome::Failed(error.to_string());
        }
    }
    let skipped = fs::read_to_string(&skips).unwrap_or_default();
    for line in skipped.lines() {
        println!("skipped: {line}");
        count.passed = count.passed.saturating_sub(1);
        count.skipped += 1;
    }
    outcome
}

/// Installs the real parts and says which cannot be had.
pub(crate) fn prepare(root: &Path, strict: bool) -> Result<Parts, Outcome> {
    let parts = real::prepare(root).map_err(|error| Outcome::Failed(error.to_string()))?;
    for missing in &parts.missing {
        println!("MISSING: {missing}");
    }
    if strict && !parts.missing.is_empty() {
        return Err(Outcome::Failed(parts.missing.join("; ")));
    }
    Ok(parts)
}

/// The commands that run all tests: nextest does everything but documentation.
fn runners<'a>(root: &Path, profile: &'a str, names: &[&'a str]) -> Vec<Vec<&'a str>> {
    let with = |words: &[&'a str]| [words, names].concat();
    if Task::cargo(root, &["nextest", "--version"]).output().is_err() {
        return vec![with(&["test", "--workspace", "--locked", "--no-fail-fast", "--"])];
    }
    let config = "xtask/nextest.toml";
    let mut all = vec![with(&[
        "nextest",
        "run",
        "--workspace",
        "--locked",
        "--no-fail-fast",
        "--config-file",
        config,
        "--profile",
        profile,
    ])];
    if names.is_empty() {
        all.push(vec!["test", "--doc", "--workspace", "--locked", "--no-fail-fast"]);
    }
    all
}

impl Count {
    /// Adds what a runner's closing line says; other lines say nothing.
    fn add(&mut self, line: &str) {
        let line = plain(line);
        let line = line.trim();
        let counts = match (line.strip_prefix("test result: "), line.strip_prefix("Summary ")) {
            (Some(rest), _) => rest.split_once(". ").map(|it| it.1),
            (_, Some(rest)) => rest.split_once(" run: ").map(|it| it.1),
            _ => None,
        };
        for part in counts.unwrap_or_default().split([',', ';']) {
            let mut words = part.split_whitespace();
            let Some(number) = words.next().and_then(|it| it.parse::<u32>().ok()) else { continue };
            match words.next() {
                Some("passed") => self.passed += number,
                Some("failed" | "timed" | "exec") => self.failed += number,
                Some("ignored") => self.skipped += number,
                _ => {}
            }
        }
    }
}

/// A line without its colours.
fn plain(line: &str) -> String {
    let mut pieces = line.split('\u{1b}');
    let first = pieces.next().unwrap_or_default().to_owned();
    pieces.fold(first, |text, piece| text + piece.split_once('m').map_or("", |it| it.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(line: &str) -> Count {
        let mut count = Count::default();
        count.add(line);
        count
    }

    #[test]
    fn closing_lines() {
        let cargo = "test result: FAILED. 3 passed; 1 failed; 2 ignored; 0 measured; 7 filtered out; finished in 0.00s";
        assert_eq!(counted(cargo), Count { passed: 3, failed: 1, skipped: 2 });
        let nextest = "     Summary [   1.2s] 9/12 tests run: 5 passed (1 slow), 2 failed, 2 timed out, 4 skipped";
        assert_eq!(counted(nextest), Count { passed: 5, failed: 4, skipped: 0 });
        let coloured = "\u{1b}[32;1m     Summary\u{1b}[0m [   0.0s] \u{1b}[1m4\u{1b}[0m tests run: \u{1b}[1m4\u{1b}[0m \u{1b}[32;1mpassed\u{1b}[0m, 0 skipped";
        assert_eq!(counted(coloured), Count { passed: 4, failed: 0, skipped: 0 });
        assert_eq!(counted("running 12 tests"), Count::default());
        assert_eq!(counted("12 passed, 3 failed, said a test"), Count::default());
    }

    #[test]
    fn the_last_line_is_the_plain_one() {
        let count = Count { passed: 12, failed: 0, skipped: 3 };
        assert_eq!(count.to_string(), "12 passed, 0 failed, 3 skipped");
    }
}
