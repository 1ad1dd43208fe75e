//! The small processes between a gateway and its children, which see to it that nothing survives.
//!
//! A gateway that is killed cannot clean up after itself, and what its children have started in
//! sessions of their own it would not find anyway.  So each child gets a supervisor (`watch`).
//! On Linux that is a *subreaper*: whatever loses its parent below it becomes its child, so that
//! all can be found.  It learns that its time is up from a socket which the kernel closes when the
//! gateway ends, however it ends.
//!
//! To start a program takes a millisecond of a processor, to fork a small process a tenth of that.
//! So one keeper (`keeper`) is started, the gateway's own program with a hidden argument, and
//! every supervisor is a fork of it: it has no threads, no runtime, and nothing in its memory that
//! is anybody's.  Who does nothing but fork hardly ever dies; if it does, the supervisors do not
//! need it, and the next child gets another one.
//!
//! What gets away: what other services start on a child's behalf (`docker run`, `systemd-run`, a
//! remote host), and on systems other than Linux what leaves its process group.

mod control;
mod events;
mod keeper;
mod order;
mod tree;
mod watch;

use std::{
    ffi::{OsStr, OsString},
    fmt, fs,
    io::{self, Write},
    os::unix::{fs::MetadataExt, net::UnixStream as Socket},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError, Weak},
};

pub(crate) use self::{
    control::{HandOver, Report},
    keeper::Keeper,
    order::Order,
};

/// The exit code for somebody who starts this by hand (`EX_USAGE` of sysexits.h).
const USAGE: u8 = 64;
/// The exit code for a child that could not be started, as shells have it.
const NOT_STARTED: u8 = 127;

/// Where supervisors come from: a program that calls [`main`] when it finds its first argument to
/// be this one.
///
/// It is started with the first child, and ends with the last; those who are to share it are given
/// copies of this.
#[derive(Clone)]
pub struct Supervisor(Arc<Inner>);

struct Inner {
    program: PathBuf,
    arg: OsString,
    keeper: Mutex<Weak<Keeper>>,
}

// === impl Supervisor ===

impl Supervisor {
    /// This program, mostly the one that runs now, with this first argument.
    pub fn new(program: impl Into<PathBuf>, arg: impl Into<OsString>) -> Self {
        let (program, arg) = (program.into(), arg.into());
        Self(Arc::new(Inner { program, arg, keeper: Mutex::default() }))
    }

    /// The program that runs now, with this first argument.
    ///
    /// On Linux it is found even after its file was replaced by a newer one: a supervisor is
    /// always of the same version as its gateway.
    ///
    /// # Errors
    ///
    /// Elsewhere, when the system does not say which program runs.
    pub fn this_program(arg: impl Into<OsString>) -> io::Result<Self> {
        let program = match cfg!(target_os = "linux") {
            true => running(Path::new("/proc/self/exe")),
            false => std::env::current_exe()?,
        };
        Ok(Self::new(program, arg))
    }

    /// The program.
    pub fn program(&self) -> &Path {
        &self.0.program
    }

    /// Has a supervisor made for these streams, and says by whom: who is to be released when that
    /// supervisor is done.
    ///
    /// `start` starts the keeper where none runs.
    pub(crate) fn hand_over(
        &self,
        streams: &HandOver,
        start: impl Fn(&Path, &OsStr, Socket) -> io::Result<tokio::process::Child>,
    ) -> io::Result<Arc<Keeper>> {
        let mut known = self.0.keeper.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(keeper) = known.upgrade()
            && keeper.takes(streams)?
        {
            return Ok(keeper);
        }
        let start = |socket| start(&self.0.program, &self.0.arg, socket);
        let keeper = Arc::new(Keeper::start(start)?);
        // If it does not take them it is gone, and they with it: whoever waits for a word hears.
        if keeper.takes(streams)? {
            *known = Arc::downgrade(&keeper);
        }
        Ok(keeper)
    }

    /// Takes no more from this keeper, which did not do what it was told.
    pub(crate) fn give_up(&self, keeper: &Arc<Keeper>) {
        let mut known = self.0.keeper.lock().unwrap_or_else(PoisonError::into_inner);
        if known.as_ptr() == Arc::as_ptr(keeper) {
            *known = Weak::new();
        }
        keeper.kill();
    }
}

impl fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { program, arg, keeper: _ } = &*self.0;
        f.debug_struct("Supervisor").field("program", program).field("arg", arg).finish()
    }
}

/// What `link` leads to, by that link where the kernel runs us itself.
///
/// Where an emulator does, valgrind or one of another architecture, the kernel's link leads to
/// that, and to us only when it is read as text.  A program whose file was replaced reads as one
/// that is not there.
fn running(link: &Path) -> PathBuf {
    let file = |path: &Path| fs::metadata(path).map(|it| (it.dev(), it.ino()));
    match (fs::read_link(link), file(link)) {
        // Read once more: it may have been replaced just now.
        (Ok(named), Ok(linked))
            if file(&named).is_ok_and(|it| it != linked)
                && fs::read_link(link).is_ok_and(|it| it == named) =>
        {
            named
        }
        _ => link.to_owned(),
    }
}

/// What a program does that was started as a [`Supervisor`]: nothing else, from here to its end.
///
/// To be called first thing, from the only thread there is, and from no runtime.  It returns more
/// than once, each time in another process: in each supervisor when its child is gone, and in the
/// one that was started when all of them are and the gateway needs no more.  What is returned is
/// what the process is to end with, at once.
///
/// ```no_run
/// # use std::process::ExitCode;
/// fn main() -> ExitCode {
///     if std::env::args_os().nth(1).is_some_and(|arg| arg == "__supervise") {
///         return transport_stdio::supervise::main();
///     }
///     // …
///     ExitCode::SUCCESS
/// }
/// ```
pub fn main() -> ExitCode {
    match keeper::keep() {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            say(&format!("cannot supervise: {error}"));
            let hint = "not for use by hand: a gateway starts this beside its servers";
            say(hint);
            ExitCode::from(USAGE)
        }
    }
}

/// Says something on stderr, which the gateway logs beside the child's own words.
fn say(what: &str) {
    writeln!(io::stderr(), "supervisor: {what}").ok();
}

#[cfg(test)]
mod tests {
    use std::thread;

    use mcp_jsonrpc::transport::ErrorKind;

    use super::{
        control::{Taken, report},
        *,
    };
    use crate::client::Spawn;

    /// A keeper takes the streams, and cannot fork; the process that stands for it does nothing.
    #[tokio::test]
    async fn a_fork_that_fails_is_told_and_the_keeper_is_asked_again() {
        let supervisor = Supervisor::new("/no/such/program", "");
        let refuse = |socket: Socket| {
            let mut refused = 0;
            while let Taken::Whole(mut streams) = HandOver::receive(&socket).unwrap() {
                let errno = rustix::io::Errno::AGAIN.raw_os_error();
                report(&mut streams.control, Report::Unsupervised(errno));
                refused += 1;
            }
            refused
        };
        let refusing = Mutex::new(None);
        let keeper = Keeper::start(|socket| {
            *refusing.lock().unwrap() = Some(thread::spawn(move || refuse(socket)));
            tokio::process::Command::from(std::process::Command::new("true")).spawn()
        });
        let keeper = Arc::new(keeper.unwrap());
        *supervisor.0.keeper.lock().unwrap() = Arc::downgrade(&keeper);
        let mut spawn = Spawn::new("a", "true");
        spawn.supervisor = Some(supervisor);
        for _ in 0..2 {
            let error = spawn.start().await.unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::Unavailable { .. }));
            let said = error.said().to_string();
            assert!(said.contains("supervisor of `true`") && said.contains("ulimit -u"), "{said}");
        }
        assert_eq!(spawn.children.running().len(), 0);
        keeper.release(std::time::Duration::from_secs(10)).await;
        let refusing = refusing.into_inner().unwrap().unwrap();
        assert_eq!(refusing.join().unwrap(), 2);
    }

    /// A link's text is found from here, and what it leads to from where it is: so may they differ.
    #[test]
    fn a_program_is_found_by_its_name_where_the_link_leads_to_an_emulator() {
        let folder = tempfile::tempdir().unwrap();
        let link = |name: &str, to: &Path| {
            let link = folder.path().join(name);
            std::os::unix::fs::symlink(to, &link).unwrap();
            link
        };
        fs::write(folder.path().join("Cargo.toml"), "").unwrap();
        let emulated = link("emulated", Path::new("Cargo.toml"));
        assert_eq!(running(&emulated), Path::new("Cargo.toml"));
        let replaced = link("replaced", Path::new("/no/such/program (deleted)"));
        assert_eq!(running(&replaced), replaced);
        let plain = link("plain", &folder.path().join("Cargo.toml"));
        assert_eq!(running(&plain), plain);
        let here = Path::new("/proc/self/exe");
        assert!(!cfg!(target_os = "linux") || running(here) == here);
    }
}
