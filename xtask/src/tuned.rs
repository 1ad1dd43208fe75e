//! The gateway, built once more with what was seen of it at work (profile-guided optimisation).
//!
//! Three steps: a gateway that counts where its calls go; the load of the benchmark, through it;
//! and a build which lays out and inlines by those counts.  Nothing of it is kept in the repository:
//! the counts are of one state of the source, and are taken again for the next.

mod layout;

use std::{
    env, fs,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::run::Task;

/// Where all of it is, below the root.
const PLACE: &str = "target/tuned";
/// The load: each wire, each translation, small and large bodies, many servers as one, starts, and
/// sessions that come and go.
const LOADS: [&[&str]; 2] = [
    &["--workload=W1,W2,W3,W4,W5,W7,P1,P3,W9,W12", "--sessions=8,64", "--seconds=1"],
    &["--workload=W8,W10", "--cold-servers=1,10", "--aggregate-servers=1,10", "--seconds=1"],
];
/// How long each load may take.
const LOAD_TIMEOUT: Duration = Duration::from_mins(15);
/// How long a program may take to tell its version, or to add up counts.
const TOOL_TIMEOUT: Duration = Duration::from_mins(2);
/// The oldest LLVM that reads the counts of today's compilers.
const LLVM_MIN: u32 = 19;

/// Builds it, and returns where it is.
///
/// # Errors
/// What did not work, in a line that says what to do.
pub(crate) fn build(root: &Path) -> Result<PathBuf, String> {
    let told = Task::new(root, "rustc").args(&["-vV"]).timeout(TOOL_TIMEOUT).output();
    let told = told.map_err(|it| it.to_string())?;
    let host = told.lines().find_map(|it| it.strip_prefix("host: "));
    let host = host.ok_or("`rustc -vV` names no host")?;
    let adder = adder(root, host, &told)?;

    let place = root.join(PLACE);
    let (counts, sum) = (place.join("counts"), place.join("counts.profdata"));
    if counts.exists() {
        fs::remove_dir_all(&counts).map_err(|it| format!("{}: {it}", counts.display()))?;
    }
    let flag = format!("-Cprofile-generate={}", counts.display());
    let counting = gateway(root, host, "counting", &[flag])?;
    let words = ["build", "--release", "--locked", "-p", "gateway-bench"];
    Task::cargo(root, &words).run().map_err(|it| it.to_string())?;
    for words in LOADS {
        load(root, &counting, words).run().map_err(|it| it.to_string())?;
    }
    add(root, &adder, &counts, &sum)?;

    let mut flags = layout::flags(root, &place, &adder, host, &counting)?;
    flags.extend([format!("-Cprofile-use={}", sum.display()), "-Cstrip=symbols".to_owned()]);
    let built = gateway(root, host, "built", &flags)?;
    let tuned = place.join("gateway");
    fs::copy(&built, &tuned).map_err(|it| format!("{}: {it}", tuned.display()))?;
    println!("built: {}", tuned.display());
    Ok(tuned)
}

/// A load of the benchmark, through this gateway.
fn load(root: &Path, counting: &Path, words: &[&str]) -> Task {
    let program = root.join("target/release/gateway-bench");
    let named = counting.to_string_lossy();
    let run = ["run", "--rounds=1", "--require-gateway", "--legs=gateway,gateway-tokens"];
    let words = [&run[..], &["--gateway", &named], words].concat();
    Task::new(root, program).args(&words).timeout(LOAD_TIMEOUT)
}

/// Adds up the counts of a folder.
fn add(root: &Path, adder: &Path, from: &Path, to: &Path) -> Result<(), String> {
    let (from, to) = (from.to_string_lossy(), to.to_string_lossy());
    let task = Task::new(root, adder).args(&["merge", "--output", &to, &from]);
    task.timeout(TOOL_TIMEOUT).run().map_err(|it| it.to_string())
}

/// Builds the gateway with flags, which are for it alone and not for what runs while it is built.
fn gateway(root: &Path, host: &str, folder: &str, flags: &[String]) -> Result<PathBuf, String> {
    let folder = root.join(PLACE).join(folder);
    let words = ["build", "--release", "--locked", "-p", "gateway", "--target", host];
    Task::cargo(root, &words)
        .env("CARGO_TARGET_DIR", &folder)
        // A setting of the profile is part of what functions are called, which has to be the same in
        // both; what is counted needs its names, for valgrind.
        .env("CARGO_PROFILE_RELEASE_STRIP", "none")
        // Unlike RUSTFLAGS this may hold a path with spaces.
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
        .run()
        .map_err(|it| it.to_string())?;
    Ok(folder.join(host).join("release/gateway"))
}

/// The program that adds up counts: the toolchain's own, or one of the system's that is new enough.
fn adder(root: &Path, host: &str, rustc: &str) -> Result<PathBuf, String> {
    let sysroot = Task::new(root, "rustc").args(&["--print", "sysroot"]).timeout(TOOL_TIMEOUT);
    let sysroot = PathBuf::from(sysroot.output().map_err(|it| it.to_string())?.trim());
    let own = sysroot.join("lib/rustlib").join(host).join("bin/llvm-profdata");
    let newest = llvm(rustc).ok_or("`rustc -vV` names no version of LLVM")?;
    let path = env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = env::split_paths(&path).collect();
    let named = (LLVM_MIN..=newest).rev().map(|it| format!("llvm-profdata-{it}"));
    let systems = named.flat_map(|name| folders.iter().map(move |it| it.join(&name)));
    std::iter::once(own).chain(systems).find(|it| it.is_file()).ok_or_else(|| {
        format!(
            "there is no llvm-profdata to add up counts with: `rustup component add llvm-tools`, or a package llvm-{LLVM_MIN} to llvm-{newest} of the system's"
        )
    })
}

/// The compiler's own LLVM, by its first number.
fn llvm(rustc: &str) -> Option<u32> {
    let version = rustc.lines().find_map(|it| it.strip_prefix("LLVM version: "))?;
    version.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_compiler_says_which_llvm_it_has() {
        assert_eq!(llvm("rustc 1.95.0\nhost: x\nLLVM version: 22.1.2\n"), Some(22));
        assert_eq!(llvm("rustc 1.95.0\nhost: x\n"), None);
        assert_eq!(llvm("LLVM version: new"), None);
    }

    #[test]
    fn without_a_program_for_it_one_is_told_what_to_install() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let none = adder(root, "no-such-host", "LLVM version: 18.0.0").unwrap_err();
        assert!(none.contains("rustup component add llvm-tools"), "{none}");
    }
}
