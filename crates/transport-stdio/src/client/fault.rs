//! Why a child does not start, in words that say what to do.

use std::{
    env::split_paths,
    ffi::OsStr,
    fs,
    io::{self, Read},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use mcp_jsonrpc::transport::{ErrorKind, TransportError};

use super::env;
use crate::child::{Start, StartError};

/// Where programs are looked for when there is no `PATH`.
const PATH_DEFAULT: &str = "/bin:/usr/bin";
/// What to do where the system starts no more processes.
const NO_MORE: &str = "see `ulimit -u`, and the pids limit of the container";
/// How much of a file is read for its `#!` line.
const INTERPRETER_LEN_MAX: u64 = 256;

/// What to tell the caller and the operator.  Nothing has been sent, so it may be tried again.
pub(super) fn explain(start: &Start<'_>, error: StartError) -> TransportError {
    let unavailable = ErrorKind::Unavailable { retry_after: None };
    let program = start.program.display();
    let (what, hint, error) = match error {
        StartError::Child(error) => {
            let (what, hint) = of_child(start, &error);
            (format!("cannot start `{program}`: {what}"), hint, error)
        }
        StartError::Supervisor(error) => {
            let what = format!("cannot start the supervisor of `{program}`: {error}");
            if error.kind() == io::ErrorKind::WouldBlock {
                return TransportError::new(unavailable, what).hint(NO_MORE).because(error);
            }
            let supervisor = start.supervisor.map(|it| it.program().display().to_string());
            let supervisor = supervisor.unwrap_or_default();
            let hint = format!("it is `{supervisor}`, which has to be a program that supervises");
            (what, hint, error)
        }
        StartError::Pipes(error) => {
            let what = format!("cannot start `{program}`: no pipes to talk to it: {error}");
            (what, "see whether `ulimit -n` is high enough".to_owned(), error)
        }
    };
    TransportError::new(unavailable, what).hint(hint).because(error)
}

/// What happened, and what to do about it.
fn of_child(start: &Start<'_>, error: &io::Error) -> (String, String) {
    if let Some(fault) = dir_fault(start.dir) {
        return fault;
    }
    match error.kind() {
        io::ErrorKind::NotFound => not_found(start),
        io::ErrorKind::PermissionDenied => match find(start) {
            Ok(found) | Err((_, Some(found))) if found.is_dir() => {
                let what = format!("{} is a directory", found.display());
                (what, "name the program in it".to_owned())
            }
            Ok(found) | Err((_, Some(found))) => {
                let found = found.display();
                let what = format!("{found} may not be executed");
                (what, format!("`chmod +x {found}`, or look at the mount options and the user"))
            }
            Err((_, None)) => (error.to_string(), "look at the permissions on its path".to_owned()),
        },
        io::ErrorKind::ArgumentListTooLong => {
            let hint = "shorten `args` and `env`, or pass a file instead";
            ("its arguments and environment are too long".to_owned(), hint.to_owned())
        }
        io::ErrorKind::WouldBlock => {
            ("there are as many processes as there may be".to_owned(), NO_MORE.to_owned())
        }
        // ENOEXEC has no kind of its own.
        _ if error.raw_os_error() == Some(rustix::io::Errno::NOEXEC.raw_os_error()) => {
            let hint = "a script needs `#!` and its interpreter in the first line; a program has to \
                        be built for this machine";
            ("the system does not know how to run it".to_owned(), hint.to_owned())
        }
        _ => (error.to_string(), "try the same command in a terminal".to_owned()),
    }
}

fn not_found(start: &Start<'_>) -> (String, String) {
    match find(start) {
        Ok(found) => match interpreter(&found) {
            Some(interpreter) => {
                let what = format!("{} wants to be run by {interpreter}", found.display());
                let hint =
                    format!("install `{interpreter}`, or correct the first line of the file");
                (what + ", which is not there", hint)
            }
            None => {
                let what = format!("{} is there, but not what runs it", found.display());
                let hint = "it may be built for another system (musl and glibc, another processor)";
                (what, hint.to_owned())
            }
        },
        Err((places, _)) if places.is_empty() => {
            let hint = "correct the path of `command`; a relative one counts from the working \
                        directory";
            ("there is no such file".to_owned(), hint.to_owned())
        }
        Err((places, _)) => {
            let hint = format!(
                "looked for in {places} (PATH); install it, give its full path as `command`, or \
                 set PATH in `env`"
            );
            ("there is no such program".to_owned(), hint)
        }
    }
}

fn dir_fault(dir: Option<&Path>) -> Option<(String, String)> {
    let dir = dir?;
    let shown = dir.display();
    match fs::metadata(dir) {
        Ok(it) if it.is_dir() => None,
        Ok(_) => Some((
            format!("its working directory {shown} is a file"),
            "correct the working directory".to_owned(),
        )),
        Err(error) => Some((
            format!("its working directory {shown} cannot be entered: {error}"),
            "create it, or correct the working directory".to_owned(),
        )),
    }
}

/// The file that would be run, or where it was looked for and what was found there instead.
fn find(start: &Start<'_>) -> Result<PathBuf, (String, Option<PathBuf>)> {
    let named = Path::new(start.program);
    let from = start.dir.unwrap_or_else(|| Path::new("."));
    if start.program.as_encoded_bytes().contains(&b'/') {
        let path = from.join(named);
        return if path.exists() { Ok(path) } else { Err((String::new(), None)) };
    }
    let path = env::find(start.env, "PATH").unwrap_or_else(|| OsStr::new(PATH_DEFAULT));
    let mut refused = None;
    for dir in split_paths(path) {
        let place = from.join(dir).join(named);
        match fs::metadata(&place) {
            Ok(it) if it.is_file() && it.permissions().mode() & 0o111 != 0 => return Ok(place),
            Ok(_) => refused = refused.or(Some(place)),
            Err(_) => (),
        }
    }
    Err((path.display().to_string(), refused))
}

/// What the file's first line names.
fn interpreter(file: &Path) -> Option<String> {
    let mut head = Vec::new();
    fs::File::open(file).ok()?.take(INTERPRETER_LEN_MAX).read_to_end(&mut head).ok()?;
    let head = String::from_utf8_lossy(&head);
    let line = head.strip_prefix("#!")?.lines().next()?;
    line.split_whitespace().next().map(str::to_owned)
}
