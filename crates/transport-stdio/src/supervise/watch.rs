//! The supervisor of one child, from its start to the end of all that it has started.
//!
//! When its time is up, the child's stdin is closed already; it may exit by itself, then all get
//! SIGTERM, then all get SIGKILL, until none is left.

use std::{
    io::{self, Read},
    os::unix::{net::UnixStream as Socket, process::CommandExt},
    process::Command,
    time::Duration,
};

use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, wait};
use tokio::time::Instant;

use super::{
    NOT_STARTED,
    control::{HandOver, Report, report},
    events::{Signals, Woken},
    keeper,
    order::Order,
    say,
    tree::Tree,
};
use crate::Exit;

/// How long the dead may take to be noticed, before the living are killed once more.
const KILL_AGAIN: Duration = Duration::from_millis(20);

/// A child that runs, and the way to its end.
struct Watch {
    child: Pid,
    tree: Tree,
    signals: Signals,
    control: Socket,
    /// Whether its time is up.
    told: bool,
    exit: Option<Exit>,
}

/// What a fork of the keeper does, with the streams of its child: all until nothing of that is
/// left.
pub(super) fn supervise(streams: HandOver) -> io::Result<u8> {
    let HandOver { mut control, stdin, stdout, stderr } = streams;
    keeper::speak_to(stderr)?;
    rustix::process::setsid()?;
    #[cfg(target_os = "linux")]
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    keeper::name(c"mcp-supervisor")?;
    // Before the child is: so that no end of it is missed.
    let signals = Signals::new()?;
    let order = match Order::read(&mut control) {
        Ok(order) => order,
        // Nobody wants it any more.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
        Err(error) => return Err(error),
    };
    control.set_nonblocking(true)?;
    let mut command = Command::new(&order.program);
    command.args(&order.args).env_clear().envs(order.env.iter().map(|(name, value)| (name, value)));
    if let Some(dir) = &order.dir {
        command.current_dir(dir);
    }
    command.process_group(0).stdin(stdin).stdout(stdout);
    let started = command.spawn();
    // It holds the child's ends of the pipes.
    drop(command);
    let child = match started {
        Ok(child) => Pid::from_child(&child),
        Err(error) => {
            report(&mut control, Report::Failed(error.raw_os_error().unwrap_or_default()));
            report(&mut control, Report::Over);
            return Ok(NOT_STARTED);
        }
    };
    let [child_id, own] = [child, rustix::process::getpid()].map(id);
    report(&mut control, Report::Started { child: child_id, supervisor: own });
    let tree = Tree::new(child);
    let watch = Watch { child, tree, signals, control, told: false, exit: None };
    Ok(match watch.run(&order)? {
        Exit::Code(code) => (code & 0xff) as u8,
        Exit::Signal(signal) => 128 | (signal & 0x7f) as u8,
        Exit::Unknown => NOT_STARTED,
    })
}

fn id(pid: Pid) -> u32 {
    pid.as_raw_nonzero().get().unsigned_abs()
}

// === impl Watch ===

impl Watch {
    fn run(mut self, order: &Order) -> io::Result<Exit> {
        self.until(Duration::MAX, |it| it.told || it.has_exited())?;
        self.until(order.exit_timeout, Self::has_exited)?;
        if !self.tree.is_empty() {
            self.tree.signal(Signal::TERM);
            // A stopped process takes no other signal before.
            self.tree.signal(Signal::CONT);
            self.until(order.term_timeout, Self::is_gone)?;
        }
        let killing = Instant::now();
        while !self.is_gone() && killing.elapsed() < order.kill_timeout {
            // Stopped first, parents before children: so that none starts another meanwhile.
            self.tree.signal(Signal::STOP);
            self.tree.signal(Signal::KILL);
            self.until(KILL_AGAIN, Self::is_gone)?;
        }
        if !self.is_gone() {
            say("some processes below this one cannot be killed");
        }
        report(&mut self.control, Report::Over);
        Ok(self.exit.unwrap_or(Exit::Unknown))
    }

    /// Buries the dead, and passes signals on, until `done` or the time is up.
    fn until(&mut self, timeout: Duration, done: fn(&mut Self) -> bool) -> io::Result<()> {
        let start = Instant::now();
        while !done(self) {
            let left = timeout.saturating_sub(start.elapsed());
            if left.is_zero() {
                break;
            }
            let control = (!self.told).then_some(&self.control);
            match self.signals.wait(control, Some(left))? {
                Woken::Signal => {
                    for signal in self.signals.take() {
                        self.tree.forward(signal);
                    }
                }
                Woken::Socket => self.told = self.is_over(),
                Woken::Late => (),
            }
        }
        Ok(())
    }

    /// Whether the other end of the socket has nothing more to say, or is gone.
    fn is_over(&mut self) -> bool {
        match self.control.read(&mut [0; 64]) {
            Ok(len) => len == 0,
            Err(error) => {
                !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
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
                report(&mut self.control, Report::Exited(exit));
            }
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
