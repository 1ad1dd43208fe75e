//! Callgrind: how a program is run under it, and what its file says.

use std::{collections::HashMap, os::unix::fs::PermissionsExt, path::Path};

use crate::error::{Failure, Result};

/// Instructions of a whole run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counted {
    /// In the program itself.
    pub(super) own: u64,
    /// In that and the libraries.
    pub(super) all: u64,
}

/// Writes a script that runs `program` under callgrind, with one worker; what it counted is in
/// `counts` when it has ended.
///
/// # Errors
/// [`Failure::Io`] when it cannot be written.
pub(super) fn wrap(program: &Path, counts: &Path, script: &Path) -> Result<()> {
    let what = || format!("{}", script.display());
    let program = program.canonicalize().map_err(Failure::io("the gateway"))?;
    let quoted = |path: &Path| format!("'{}'", path.to_string_lossy().replace('\'', r"'\''"));
    let text = format!(
        "#!/bin/sh\nTOKIO_WORKER_THREADS=1 exec valgrind --tool=callgrind --callgrind-out-file={} {} \"$@\"\n",
        quoted(counts),
        quoted(&program)
    );
    std::fs::write(script, text).map_err(Failure::io(what()))?;
    let mode = PermissionsExt::from_mode(0o700);
    std::fs::set_permissions(script, mode).map_err(Failure::io(what()))
}

/// Reads what was counted while `program` ran.
///
/// # Errors
/// [`Failure::Io`] when there is no such file, [`Failure::Peer`] when it is not callgrind's.
pub(super) fn read(counts: &Path, program: &Path) -> Result<Counted> {
    let what = "what callgrind counted";
    let text = std::fs::read(counts).map_err(Failure::io(what))?;
    parse(&String::from_utf8_lossy(&text), &program.to_string_lossy())
        .ok_or_else(|| Failure::Peer(format!("{what} is not understood")))
}

/// Sums what functions took themselves; the line after `calls=` is what those that they called
/// took, and counts there.
fn parse(text: &str, program: &str) -> Option<Counted> {
    // The events are instructions alone, and positions are one number: as it is by default.
    let known = |line: &str| text.lines().any(|it| it == line);
    if !known("events: Ir") || !known("positions: line") {
        return None;
    }
    let mut names: HashMap<&str, bool> = HashMap::new();
    let (mut counted, mut own, mut skip) = (Counted::default(), false, false);
    for line in text.lines() {
        if let Some(object) = line.strip_prefix("ob=") {
            // `(1) /path` gives a name its number; `(1)` is the name from then on.
            own = match object.split_once(' ') {
                Some((number, path)) => {
                    names.insert(number, path == program);
                    path == program
                }
                None => names.get(object).copied().unwrap_or(object == program),
            };
        } else if let Some(object) = line.strip_prefix("cob=") {
            if let Some((number, path)) = object.split_once(' ') {
                names.insert(number, path == program);
            }
        } else if line.starts_with("calls=") {
            skip = true;
        } else if line.starts_with(|it: char| it.is_ascii_digit() || matches!(it, '+' | '-' | '*'))
        {
            let cost: u64 = line.split(' ').nth(1)?.parse().ok()?;
            if !std::mem::take(&mut skip) {
                counted.all += cost;
                counted.own += if own { cost } else { 0 };
            }
        }
    }
    (0 < counted.own).then_some(counted)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# callgrind format
version: 1
positions: line
events: Ir
summary: 190

ob=(1) /lib/libc.so.6
fl=(1) ???
fn=(1) memcpy
0 50
+3 20

ob=(2) /b/gateway
fl=(2) a.rs
fn=(2) main
16 100
cob=(1)
cfn=(1)
calls=3 0
* 70
-2 7
fi=(3) b.rs
* 3

ob=(1)
fn=(3) free
1 10
totals: 190
";

    #[test]
    fn what_functions_take_themselves_is_summed_by_object() {
        let counted = parse(FILE, "/b/gateway").unwrap();
        assert_eq!(counted, Counted { own: 110, all: 190 });
    }

    #[test]
    fn what_is_not_callgrinds_or_of_another_program_is_refused() {
        assert_eq!(parse(FILE, "/b/other"), None);
        assert_eq!(parse("", "/b/gateway"), None);
        assert_eq!(parse(&FILE.replace("events: Ir", "events: Ir Dr"), "/b/gateway"), None);
        assert_eq!(parse(&FILE.replace("-2 7", "-2 x"), "/b/gateway"), None);
    }
}
