//! `cargo fuzz` over every target, each for a bounded time.

use std::{env, fs, path::Path, time::Duration};

use crate::run::{Outcome, Task};

/// How long a target runs unless told otherwise.
pub(crate) const SECONDS: u32 = 10;

/// Building and starting a target, beside the time it is to run.
const BUILD_TIMEOUT: Duration = Duration::from_mins(15);

/// Where CI puts the tool, when it is not installed for the user.
const TOOLS: &str = "target/tools/cargo-fuzz/bin";

/// Runs each target under `fuzz/` for so many seconds, from its seeds and its corpus.
///
/// Without a sanitizer, which would need nightly and would look for faults of unsafe code: there
/// is none. Fails at the first input that breaks a target; cargo-fuzz says where it put it.
pub(crate) fn run(root: &Path, seconds: u32, strict: bool) -> Outcome {
    let targets = targets(root);
    if targets.is_empty() {
        return Outcome::skipped("there is no target under fuzz/fuzz_targets".to_owned(), strict);
    }
    if cargo(root, &["fuzz", "--version"]).output().is_err() {
        let how = "cargo-fuzz is not installed: `cargo install --locked cargo-fuzz`";
        return Outcome::skipped(how.to_owned(), strict);
    }
    for target in &targets {
        let limit = format!("-max_total_time={seconds}");
        let seeds = format!("fuzz/seeds/{target}");
        let corpus = format!("fuzz/corpus/{target}");
        if let Err(error) = fs::create_dir_all(root.join(&corpus)) {
            return Outcome::Failed(format!("{corpus}: {error}"));
        }
        let mut words = vec!["fuzz", "run", "--sanitizer", "none", target, &corpus];
        if root.join(&seeds).is_dir() {
            words.push(&seeds);
        }
        words.extend(["--", &limit, "-print_final_stats=1", "-timeout=10"]);
        let time = BUILD_TIMEOUT + Duration::from_secs(u64::from(seconds));
        if let Err(error) = cargo(root, &words).timeout(time).run() {
            return Outcome::Failed(error.to_string());
        }
    }
    Outcome::Done
}

/// Whether every target still compiles: they are a workspace of their own, which nothing else
/// here looks at.
pub(crate) fn check(root: &Path, strict: bool) -> Outcome {
    let compiler = env::var("CXX").unwrap_or_else(|_| "c++".to_owned());
    if Task::new(root, &compiler).args(&["--version"]).output().is_err() {
        let how = format!("the fuzz targets need a C++ compiler, and there is no `{compiler}`");
        return Outcome::skipped(how, strict);
    }
    // Beside the rest, so that what both depend on is there already.
    let words =
        ["check", "--locked", "--manifest-path", "fuzz/Cargo.toml", "--target-dir", "target"];
    Task::cargo(root, &words).timeout(BUILD_TIMEOUT).outcome()
}

fn cargo(root: &Path, words: &[&str]) -> Task {
    let path = env::var_os("PATH").unwrap_or_default();
    let dirs = env::split_paths(&path).chain([root.join(TOOLS)]);
    let path = env::join_paths(dirs).unwrap_or_else(|_| path.clone());
    Task::cargo(root, words).env("PATH", path)
}

fn targets(root: &Path) -> Vec<String> {
    let entries = fs::read_dir(root.join("fuzz/fuzz_targets")).into_iter().flatten().flatten();
    let files =
        entries.map(|it| it.path()).filter(|it| it.extension().is_some_and(|it| it == "rs"));
    let mut names: Vec<String> =
        files.filter_map(|it| Some(it.file_stem()?.to_str()?.to_owned())).collect();
    names.sort();
    names
}
