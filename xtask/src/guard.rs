//! The guard: instructions per call in the gateway, beside the figures in `bins/bench/guard.json`.

use std::{path::Path, time::Duration};

use crate::run::{Outcome, Task};

/// What is kept, for each kind of call.
const FIGURES: &str = "bins/bench/guard.json";
/// The gateway of the profile that is counted.
const GATEWAY: &str = "target/guard/gateway";
/// How long the counting may take: a start and a few thousand calls, some fifty times as slow as
/// they are, a dozen times.
const COUNT_TIMEOUT: Duration = Duration::from_mins(20);
/// How long a program may take to tell its version.
const ASK_TIMEOUT: Duration = Duration::from_secs(30);

/// Builds the gateway for it, counts, and compares; with `--bless` among the arguments, keeps.
///
/// Where there is no valgrind nothing is counted.
pub(crate) fn run(root: &Path, arguments: &[&str], strict: bool) -> Outcome {
    let tell = |program: &str, words: &[&str]| {
        Task::new(root, program).args(words).timeout(ASK_TIMEOUT).output()
    };
    if tell("valgrind", &["--version"]).is_err() {
        let why = "valgrind is not installed: NOTHING GUARDS what a call takes";
        return Outcome::skipped(why.to_owned(), strict);
    }
    let keeps = arguments.contains(&"--bless");
    if !keeps && !root.join(FIGURES).is_file() {
        // Before there is anything to compare with, a check cannot fail.
        let why = format!(
            "there is no {FIGURES}: NOTHING GUARDS what a call takes, until `cargo xtask guard --bless`"
        );
        return Outcome::Skipped(why);
    }
    let toolchain = match tell("rustc", &["--version"]) {
        Ok(version) => version.trim().to_owned(),
        Err(error) => return Outcome::Failed(error.to_string()),
    };
    // Only what is beside the gateway's own code depends on it.
    let libc = tell("getconf", &["GNU_LIBC_VERSION"]).unwrap_or_else(|_| "another libc".to_owned());
    for words in [
        &["build", "--profile", "guard", "--locked", "-p", "gateway"][..],
        &["build", "--locked", "-p", "gateway-bench"],
    ] {
        let built = Task::cargo(root, words).outcome();
        if !matches!(built, Outcome::Done) {
            return built;
        }
    }
    let words = ["run", "--locked", "--quiet", "-p", "gateway-bench", "--", "guard"];
    let told = ["--gateway", GATEWAY, "--figures", FIGURES];
    let named = ["--toolchain", &toolchain, "--libc", libc.trim()];
    let words = [&words[..], &told[..], &named[..], arguments].concat();
    Task::cargo(root, &words).timeout(COUNT_TIMEOUT).outcome()
}
