//! What a start of the gateway executes, as a list for the linker, which puts it together.
//!
//! The kernel maps 64 KiB and more around whatever is touched, so a start that is spread over the
//! program takes half of the program into memory.  Counts of the compiler know the functions that it
//! compiled; those of the standard library, the allocator and the ciphers are seen by valgrind,
//! where there is one.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use super::{TOOL_TIMEOUT, add, load};
use crate::run::Task;

/// A start, and the first answer.
const START: &[&str] = &["--workload=W8", "--cold-servers=1", "--seconds=1"];
/// Where rustc links with lld, which takes such a list.
const LLD_HOST: &str = "x86_64-unknown-linux-gnu";

/// What to tell the linker, by way of the compiler; nothing where the linker takes no list.
///
/// # Errors
/// What did not work, in a line that says what to do.
pub(super) fn flags(
    root: &Path,
    place: &Path,
    adder: &Path,
    host: &str,
    counting: &Path,
) -> Result<Vec<String>, String> {
    if host != LLD_HOST {
        println!("what a start executes is put together by lld, which does not link for {host}");
        return Ok(Vec::new());
    }
    let folder = place.join("start");
    let named = |it: io::Error| format!("{}: {it}", folder.display());
    if folder.exists() {
        fs::remove_dir_all(&folder).map_err(named)?;
    }
    fs::create_dir_all(&folder).map_err(named)?;
    let counts = folder.join("counts");
    let task = load(root, &script(root, &folder, counting).map_err(named)?, START);
    // Each process has a file of its own: those that end at once would write one over another.
    let task = task.env("LLVM_PROFILE_FILE", counts.join("%m-%p.profraw"));
    task.run().map_err(|it| it.to_string())?;

    let sum = place.join("start.profdata");
    add(root, adder, &counts, &sum)?;
    let task = Task::new(root, adder).args(&["show", "--covered", &sum.to_string_lossy()]);
    let mut names = covered(&task.timeout(TOOL_TIMEOUT).output().map_err(|it| it.to_string())?);
    for entry in fs::read_dir(&folder).map_err(named)? {
        let path = entry.map_err(named)?.path();
        if path.extension().is_some_and(|it| it == "callgrind") {
            names.push_str(&called(&fs::read_to_string(path).map_err(named)?));
        }
    }
    let list = place.join("start.txt");
    fs::write(&list, names).map_err(|it| format!("{}: {it}", list.display()))?;
    Ok(vec![
        format!("-Clink-arg=-Wl,--symbol-ordering-file={}", list.display()),
        // Of what was executed some is no function any more: it became part of others.
        "-Clink-arg=-Wl,--no-warn-symbol-ordering".to_owned(),
    ])
}

/// A program that runs the gateway as it mostly is, with sessions that outlive it, which the load
/// leaves out; and under valgrind, where there is one.
fn script(root: &Path, folder: &Path, counting: &Path) -> io::Result<PathBuf> {
    let asked = Task::new(root, "valgrind").args(&["--version"]).timeout(TOOL_TIMEOUT);
    let out = folder.join("%p.callgrind");
    let watched = if asked.output().is_ok() {
        let words = "valgrind --quiet --tool=callgrind --demangle=no --callgrind-out-file=";
        format!("{words}'{}' ", out.display())
    } else {
        println!("valgrind is not installed: what no counts are of stays where it is");
        String::new()
    };
    let (state, gateway) = (folder.join("state"), counting.display());
    let words = format!(
        "#!/bin/sh\nexport MCP_GATEWAY_STATE_DIR='{}'\nexec {watched}'{gateway}' \"$@\"\n",
        state.display(),
    );
    let program = folder.join("gateway");
    fs::write(&program, words)?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    Ok(program)
}

/// The functions that were counted, as the linker names them, a line each: of what only its own
/// module sees the counts name that as well.
fn covered(told: &str) -> String {
    let names = told.lines().map(|it| it.rsplit_once(';').map_or(it, |(_, name)| name));
    names.flat_map(|it| [it, "\n"]).collect()
}

/// The functions that valgrind saw, a line each.  Each is named where it is first spoken of, and
/// one that called itself has a number behind.
fn called(told: &str) -> String {
    let names = told.lines().filter_map(|line| {
        let named = line.strip_prefix("fn=(").or_else(|| line.strip_prefix("cfn=("))?;
        let (_, name) = named.split_once(") ")?;
        Some(name.split_once('\'').map_or(name, |(name, _)| name))
    });
    let names = names.filter(|it| !it.starts_with(['(', '0']));
    names.flat_map(|it| [it, "\n"]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counted_function_is_named_as_the_linker_knows_it() {
        let told = "_RNvCs_7___rustc12___rust_alloc\ntokio.b77-cgu.0;_ZN5tokio4pollE\n";
        assert_eq!(covered(told), "_RNvCs_7___rustc12___rust_alloc\n_ZN5tokio4pollE\n");
    }

    #[test]
    fn a_called_function_is_named_once_and_without_what_valgrind_adds() {
        let told = "ob=(1) gateway\nfn=(7) _ZN3std2fs4readE\n+3 4\ncfn=(8) _ZN4core3fmt5writeE'2\n\
                    calls=1 5\nfn=(7)\nfn=(9) 0x00000000004259a0\nfn=(10) (below main)\n";
        assert_eq!(called(told), "_ZN3std2fs4readE\n_ZN4core3fmt5writeE\n");
    }
}
