//! The small process between a gateway and a child, which sees to it that nothing survives.
//!
//! A gateway that is killed cannot clean up after itself, and what its children have started in
//! sessions of their own it would not find anyway.  So each child gets a supervisor: the gateway's
//! own program, started with a hidden argument.  On Linux it is a *subreaper*: whatever loses its
//! parent below it becomes its child, so that all can be found.  It learns that its time is up from
//! a socket which the kernel closes when the gateway ends, however it ends.
//!
//! Then: the child's stdin is closed already; it may exit by itself, then all get SIGTERM, then all
//! get SIGKILL, until none is left.
//!
//! What gets away: what other services start on a child's behalf (`docker run`, `systemd-run`, a
//! remote host), and on systems other than Linux what leaves its process group.

mod control;
mod tree;

use std::{
    ffi::{OsStr, OsString},
    fs,
    io::{self, Write},
    os::{
        fd::AsFd,
        unix::{fs::MetadataExt, net::UnixStream as Socket, process::CommandExt},
    },
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, wait};
use tokio::{
    net::UnixStream,
    signal::unix::{self, SignalKind},
    time::Instant,
};

pub(crate) use self::control::{Report, Streams};
use self::tree::Tree;
use crate::{Exit, Timeouts};

/// The exit code for an order that nobody understands (`EX_USAGE` of sysexits.h).
const USAGE: u8 = 64;
/// The exit code for a child that could not be started, as shells have it.
const NOT_STARTED: u8 = 127;
/// How long the dead may take to be noticed, before the living are killed once more.
const KILL_AGAIN: Duration = Duration::from_millis(20);

/// How to start a supervisor: a program that calls [`main`] when it finds `arg` as its first
/// argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Supervisor {
    /// The program: mostly the one that runs now.
    pub program: PathBuf,
    /// Its first argument; [`main`] gets the ones behind it.
    pub arg: OsString,
}

/// What a supervisor is told on its command line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Order {
    exit_timeout: Duration,
    term_timeout: Duration,
    kill_timeout: Duration,
    program: OsString,
    args: Vec<OsString>,
}

// === impl Supervisor ===

impl Supervisor {
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
        Ok(Self { program, arg: arg.into() })
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

// === impl Order ===

impl Order {
    /// The arguments that [`Order::read`] reads.
    pub(crate) fn args<'a>(
        timeouts: &Timeouts,
        program: &'a OsStr,
        args: &'a [OsString],
    ) -> impl Iterator<Item = OsString> + 'a {
        let waits = [timeouts.exit_timeout, timeouts.term_timeout, timeouts.kill_timeout];
        let waits = waits.map(|it| OsString::from(it.as_millis().to_string()));
        waits.into_iter().chain([program.to_owned()]).chain(args.iter().cloned())
    }

    fn read(args: impl IntoIterator<Item = OsString>) -> Option<Self> {
        let mut args = args.into_iter();
        let mut wait = || args.next()?.to_str()?.parse().ok().map(Duration::from_millis);
        let (exit_timeout, term_timeout, kill_timeout) = (wait()?, wait()?, wait()?);
        let program = args.next()?;
        Some(Self { exit_timeout, term_timeout, kill_timeout, program, args: args.collect() })
    }
}

/// What a program does that was started as a [`Supervisor`]: nothing else, from here to its end.
///
/// To be called first thing, with the arguments behind [`Supervisor::arg`], and from no runtime.
/// The code it returns is the child's own, or 128 and the number of the signal that ended it.
///
/// ```no_run
/// # use std::process::ExitCode;
/// fn main() -> ExitCode {
///     let mut args = std::env::args_os().skip(1);
///     if args.next().is_some_and(|arg| arg == "__supervise") {
///         return transport_stdio::supervise::main(args);
///     }
///     // …
///     ExitCode::SUCCESS
/// }
/// ```
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let Some(order) = Order::read(args) else {
        say("not for use by hand: a gateway starts this beside each of its servers");
        return ExitCode::from(USAGE);
    };
    match supervise(&order) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            say(&format!("cannot supervise: {error}"));
            ExitCode::from(NOT_STARTED)
        }
    }
}

fn supervise(order: &Order) -> io::Result<u8> {
    let socket = Socket::from(io::stdin().as_fd().try_clone_to_owned()?);
    // No terminal: what it sends is for the gateway, and a child that would ask there for a
    // password fails instead of being stopped.
    rustix::process::setsid()?;
    #[cfg(target_os = "linux")]
    {
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
        rustix::thread::set_name(c"mcp-supervisor")?;
    }
    let Some(streams) = Streams::receive(&socket)? else {
        return Ok(0);
    };
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        // Before the child is: so that no end of it is missed.
        let signals = Signals::new()?;
        let mut reports = socket.try_clone()?;
        socket.set_nonblocking(true)?;
        let socket = UnixStream::from_std(socket)?;
        let child = match start(order, streams) {
            Ok(child) => child,
            Err(error) => {
                report(&mut reports, Report::Failed(error.raw_os_error().unwrap_or_default()));
                return Ok(NOT_STARTED);
            }
        };
        report(&mut reports, Report::Started(child.as_raw_nonzero().get().unsigned_abs()));
        let watch = Watch { child, tree: Tree::new(child), signals, reports, exit: None };
        Ok(match watch.run(&socket, order).await {
            Exit::Code(code) => (code & 0xff) as u8,
            Exit::Signal(signal) => 128 | (signal & 0x7f) as u8,
            Exit::Unknown => NOT_STARTED,
        })
    })
}

fn start(order: &Order, streams: Streams) -> io::Result<Pid> {
    let mut command = Command::new(&order.program);
    command.args(&order.args).process_group(0);
    command.stdin(streams.stdin).stdout(streams.stdout).stderr(Stdio::inherit());
    command.spawn().map(|child| Pid::from_child(&child))
}

/// A child that runs, and the way to its end.
struct Watch {
    child: Pid,
    tree: Tree,
    signals: Signals,
    reports: Socket,
    exit: Option<Exit>,
}

struct Signals {
    child: unix::Signal,
    hangup: unix::Signal,
    interrupt: unix::Signal,
    quit: unix::Signal,
    terminate: unix::Signal,
}

// === impl Watch ===

impl Watch {
    async fn run(mut self, socket: &UnixStream, order: &Order) -> Exit {
        let told = async { while !is_over(socket).await {} };
        tokio::select! {
            () = told => self.until(order.exit_timeout, Self::has_exited).await,
            done = self.until(Duration::MAX, Self::has_exited) => done,
        };
        if !self.tree.is_empty() {
            self.tree.signal(Signal::TERM);
            // A stopped process takes no other signal before.
            self.tree.signal(Signal::CONT);
            self.until(order.term_timeout, Self::is_gone).await;
        }
        let killing = Instant::now();
        while !self.is_gone() && killing.elapsed() < order.kill_timeout {
            // Stopped first, parents before children: so that none starts another meanwhile.
            self.tree.signal(Signal::STOP);
            self.tree.signal(Signal::KILL);
            self.until(KILL_AGAIN, Self::is_gone).await;
        }
        if !self.is_gone() {
            say("some processes below this one cannot be killed");
        }
        self.exit.unwrap_or(Exit::Unknown)
    }

    /// Buries the dead until `done` or the time is up.
    async fn until(&mut self, timeout: Duration, done: fn(&mut Self) -> bool) -> bool {
        let end = Instant::now().checked_add(timeout);
        loop {
            if done(self) {
                return true;
            }
            let over = async {
                match end {
                    Some(end) => tokio::time::sleep_until(end).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                signal = self.signals.next() => match signal {
                    Some(signal) => self.tree.forward(signal),
                    None => self.reap(),
                },
                () = over => return done(self),
            }
        }
    }

    fn has_exited(&mut self) -> bool {
        self.reap();
        self.exit.is_some()
    }

    fn is_gone(&mut self) -> bool {
        self.has_exited() && self.tree.is_empty()
    }

    fn reap(&mut self) {
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            if pid == self.child && self.exit.is_none() {
                let exit = exit_of(status);
                self.exit = Some(exit);
                report(&mut self.reports, Report::Exited(exit));
            }
        }
    }
}

// === impl Signals ===

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            child: unix::signal(SignalKind::child())?,
            hangup: unix::signal(SignalKind::hangup())?,
            interrupt: unix::signal(SignalKind::interrupt())?,
            quit: unix::signal(SignalKind::quit())?,
            terminate: unix::signal(SignalKind::terminate())?,
        })
    }

    /// The next signal that is for the child; none when a child has died.
    async fn next(&mut self) -> Option<Signal> {
        tokio::select! {
            _ = self.child.recv() => None,
            _ = self.hangup.recv() => Some(Signal::HUP),
            _ = self.interrupt.recv() => Some(Signal::INT),
            _ = self.quit.recv() => Some(Signal::QUIT),
            _ = self.terminate.recv() => Some(Signal::TERM),
        }
    }
}

fn exit_of(status: WaitStatus) -> Exit {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Exit::Code(code),
        (None, Some(signal)) => Exit::Signal(signal),
        (None, None) => Exit::Unknown,
    }
}

/// Whether the other end of the socket has nothing more to say, or is gone.
async fn is_over(socket: &UnixStream) -> bool {
    if socket.readable().await.is_err() {
        return true;
    }
    match socket.try_read(&mut [0; 64]) {
        Ok(len) => len == 0,
        Err(error) => error.kind() != io::ErrorKind::WouldBlock,
    }
}

fn report(socket: &mut Socket, report: Report) {
    // Whoever would have wanted to know is gone, and that ends the watch.
    socket.write_all(report.to_line().as_bytes()).ok();
}

/// Says something on stderr, which the gateway logs beside the child's own words.
fn say(what: &str) {
    writeln!(io::stderr(), "supervisor: {what}").ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_come_back() {
        let timeouts = Timeouts::default();
        let args = [OsString::from("-y"), OsString::from("a b")];
        let order = Order::read(Order::args(&timeouts, OsStr::new("npx"), &args)).unwrap();
        assert_eq!((order.program, order.args), ("npx".into(), args.to_vec()));
        assert_eq!(order.exit_timeout, timeouts.exit_timeout);
        for wrong in [&[][..], &["1", "2", "3"], &["1", "2", "x", "npx"]] {
            assert_eq!(Order::read(wrong.iter().map(OsString::from)), None);
        }
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
