//! `cargo xtask`: what cargo does not do by itself.
//!
//! CI runs `cargo xtask ci --strict` and no more, so that what is green here is green there.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line talks")]

mod ci;
mod conformance;
mod deny;
mod fuzz;
mod guard;
mod peers;
mod real;
mod run;
mod suite;
mod tidy;
mod tuned;

use std::{
    env,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use run::{Outcome, Task};

const USAGE: &str = "\
usage: cargo xtask COMMAND
  ci [--strict]         all of the below up to `guard`, and do the fuzz targets compile; `test` replays their seeds
  fmt                   is every file formatted
  lint                  clippy, warnings denied
  doc                   rustdoc, warnings denied
  tidy                  what no other tool looks at: arrows, lengths, headers, locks, links
  deny [--strict]       licences, duplicates, sources, known vulnerabilities
  test [--strict] [F]   all tests, against real MCP servers and clients; F: names to run
  conformance [PART...] the official MCP conformance suite, directly and through the gateway
  guard [--bless]       instructions per call, under valgrind, beside those that were kept; --bless keeps these
  real                  install the real servers and clients of `test`, and no more
  fuzz [--seconds N]    every fuzz target for N seconds (10)
  bench [ARGUMENT...]   the load generator, built for release; `bench --help` says what it measures
  bench --tuned [...]   the same with the gateway of `tuned`, which is built first
  tuned                 target/tuned/gateway: optimised by what was counted under the load of `bench`
  peers [NAME...]       install the programs of others that `bench --peers` measures, and no more

--strict: what cannot run here is a failure, not a counted skip";

/// How long one cargo command may take, a cold build of everything included.
pub(crate) const CARGO_TIMEOUT: Duration = Duration::from_mins(45);

fn main() -> ExitCode {
    let root = root();
    let args: Vec<String> = env::args().skip(1).collect();
    let Some((command, rest)) = args.split_first() else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let strict = rest.iter().any(|it| it == "--strict");
    let plain: Vec<&str> = rest.iter().map(String::as_str).filter(|it| *it != "--strict").collect();
    if command == "conformance" {
        return conformance::command(&root, strict, &plain);
    }
    let outcome = match (command.as_str(), plain.as_slice()) {
        ("ci", []) => ci::run(&root, strict),
        ("fmt", []) => fmt(&root),
        ("lint", []) => lint(&root),
        ("doc", []) => doc(&root),
        ("tidy", []) => tidy::check(&root),
        ("deny", []) => deny::check(&root, strict),
        ("test", names) => suite::test(&root, strict, names),
        ("real", []) => suite::prepare(&root, strict).map_or_else(|it| it, |_| Outcome::Done),
        ("fuzz", []) => fuzz::run(&root, fuzz::SECONDS, strict),
        ("fuzz", ["--seconds", n]) => match n.parse() {
            Ok(seconds) => fuzz::run(&root, seconds, strict),
            Err(error) => Outcome::Failed(format!("--seconds {n}: {error}")),
        },
        ("guard", words) => guard::run(&root, words, strict),
        ("peers", names) => peers(&root, names),
        ("bench", _) => bench(&root, rest),
        ("tuned", []) => match tuned::build(&root) {
            Ok(_) => Outcome::Done,
            Err(why) => Outcome::Failed(why),
        },
        ("help" | "--help" | "-h", _) => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprintln!("cannot do `{}`\n{USAGE}", args.join(" "));
            return ExitCode::from(2);
        }
    };
    match outcome {
        Outcome::Done => ExitCode::SUCCESS,
        Outcome::Skipped(why) => {
            println!("skipped: {why}");
            ExitCode::SUCCESS
        }
        Outcome::Failed(why) => {
            eprintln!("failed: {why}");
            ExitCode::FAILURE
        }
    }
}

pub(crate) fn fmt(root: &Path) -> Outcome {
    Task::cargo(root, &["fmt", "--all", "--check"]).outcome()
}

pub(crate) fn lint(root: &Path) -> Outcome {
    let words = ["clippy", "--workspace", "--all-targets", "--locked", "--", "--deny", "warnings"];
    Task::cargo(root, &words).outcome()
}

pub(crate) fn doc(root: &Path) -> Outcome {
    Task::cargo(root, &["doc", "--workspace", "--no-deps", "--locked"])
        .env("RUSTDOCFLAGS", "--deny warnings")
        .outcome()
}

fn peers(root: &Path, names: &[&str]) -> Outcome {
    let names = if names.is_empty() { "all".to_owned() } else { names.join(",") };
    match peers::prepare(root, &["--peers".to_owned(), names]) {
        Ok(_) => Outcome::Done,
        Err(error) => Outcome::Failed(error.to_string()),
    }
}

/// Among the arguments of `bench`: not the gateway as it is built for release, but that of [`tuned`].
const TUNED: &str = "--tuned";

/// Builds for release and installs the programs of others first, so that neither is part of a
/// measurement.
fn bench(root: &Path, arguments: &[String]) -> Outcome {
    let build = ["build", "--release", "--locked", "-p", "gateway", "-p", "gateway-bench"];
    let built = Task::cargo(root, &build).outcome();
    if !matches!(built, Outcome::Done) {
        return built;
    }
    let mut tuned = Vec::new();
    if arguments.iter().any(|it| it == TUNED) {
        match tuned::build(root) {
            Ok(path) => tuned = vec!["--gateway".to_owned(), path.to_string_lossy().into_owned()],
            Err(error) => return Outcome::Failed(error),
        }
    }
    let parts = match peers::prepare(root, arguments) {
        Ok(parts) => parts,
        Err(error) => return Outcome::Failed(error.to_string()),
    };
    let told = arguments.iter().filter(|it| *it != TUNED).chain(&parts);
    let mut words = vec!["run", "--release", "--locked", "--quiet", "-p", "gateway-bench", "--"];
    words.extend(told.chain(&tuned).map(String::as_str));
    Task::cargo(root, &words).outcome()
}

fn root() -> PathBuf {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask).to_owned()
}
