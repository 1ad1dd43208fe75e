//! Starts and ends child processes: the one place that does.

use std::{
    ffi::{OsStr, OsString},
    fmt, io,
    os::{fd::OwnedFd, unix::net::UnixStream as Socket},
    path::Path,
    process::Stdio,
    sync::Arc,
};

use rustix::process::{Pid, Signal, kill_process, kill_process_group, test_kill_process_group};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{UnixStream, unix::pipe},
    process::{Child, Command},
    time::{Instant, sleep, timeout},
};
use tracing::{debug, warn};

use crate::{
    Exit, Timeouts,
    supervise::{HandOver, Keeper, Order, Report, Supervisor},
};

/// How often a process group is looked at that should be gone.
const GROUP_POLL: std::time::Duration = std::time::Duration::from_millis(20);

/// What to run, and how.
pub(crate) struct Start<'a> {
    pub(crate) program: &'a OsStr,
    pub(crate) args: &'a [OsString],
    /// The environment, whole.
    pub(crate) env: &'a [(OsString, OsString)],
    pub(crate) dir: Option<&'a Path>,
    pub(crate) supervisor: Option<&'a Supervisor>,
    pub(crate) timeouts: Timeouts,
}

/// Why a child does not run.
#[derive(Debug)]
pub(crate) enum StartError {
    /// The child's program did not start.
    Child(io::Error),
    /// The supervisor's did not.
    Supervisor(io::Error),
    /// There are no more file descriptors, or the like.
    Pipes(io::Error),
}

/// A child that runs, and its three streams.
pub(crate) struct Started {
    pub(crate) process: Process,
    pub(crate) stdin: pipe::Sender,
    pub(crate) stdout: pipe::Receiver,
    pub(crate) stderr: pipe::Receiver,
}

/// A child process.  Dropping it kills what can be found of it.
pub(crate) struct Process {
    pid: Option<Pid>,
    hold: Hold,
    exit: Option<Exit>,
    over: bool,
    timeouts: Timeouts,
}

/// How it is held.
enum Hold {
    /// It is a child of this process.
    Direct(Child),
    /// It has a supervisor.
    Supervised(Supervised),
}

/// The supervisor of a child, as this process has it.
struct Supervised {
    control: BufReader<UnixStream>,
    /// What has come of its next report.
    report: Vec<u8>,
    /// Once it has said so.
    supervisor: Option<Pid>,
    /// Who made it, until it is done.
    keeper: Option<Arc<Keeper>>,
}

impl Start<'_> {
    /// Starts it.
    pub(crate) async fn run(&self) -> Result<Started, StartError> {
        let (child_stdin, stdin) = io::pipe().map_err(StartError::Pipes)?;
        let (stdout, child_stdout) = io::pipe().map_err(StartError::Pipes)?;
        let (stderr, child_stderr) = io::pipe().map_err(StartError::Pipes)?;
        let stdin = pipe::Sender::from_owned_fd(stdin.into()).map_err(StartError::Pipes)?;
        let stdout = pipe::Receiver::from_owned_fd(stdout.into()).map_err(StartError::Pipes)?;
        let stderr = pipe::Receiver::from_owned_fd(stderr.into()).map_err(StartError::Pipes)?;
        let streams = (child_stdin.into(), child_stdout.into(), child_stderr.into());
        let process = match self.supervisor {
            None => self.direct(streams)?,
            Some(supervisor) => self.supervised(supervisor, streams).await?,
        };
        Ok(Started { process, stdin, stdout, stderr })
    }

    fn direct(&self, (stdin, stdout, stderr): Streams) -> Result<Process, StartError> {
        let mut command = command(self.program);
        command.env_clear().envs(self.env.iter().map(|(name, value)| (name, value)));
        if let Some(dir) = self.dir {
            command.current_dir(dir);
        }
        command.args(self.args).stdin(stdin).stdout(stdout).stderr(stderr);
        // What a terminal sends to the gateway does not reach it.
        command.process_group(0).kill_on_drop(true);
        let direct = command.spawn().map_err(StartError::Child)?;
        let pid = direct.id().and_then(pid_of);
        Ok(Process::new(pid, Hold::Direct(direct), self.timeouts))
    }

    async fn supervised(
        &self,
        supervisor: &Supervisor,
        (stdin, stdout, stderr): Streams,
    ) -> Result<Process, StartError> {
        let (program, args) = (self.program, self.args);
        let order = Order::to_bytes(&self.timeouts, (program, args), self.dir, self.env);
        let order = order.map_err(StartError::Child)?;
        let (here, control) = Socket::pair().map_err(StartError::Pipes)?;
        let here = here.set_nonblocking(true).and_then(|()| UnixStream::from_std(here));
        let here = BufReader::new(here.map_err(StartError::Pipes)?);
        let streams = HandOver { control, stdin, stdout, stderr };
        let keeper =
            supervisor.hand_over(&streams, start_keeper).map_err(StartError::Supervisor)?;
        drop(streams);
        let mut held = Supervised {
            control: here,
            report: Vec::new(),
            supervisor: None,
            keeper: Some(keeper),
        };
        let told = async {
            // If nobody reads that, it is heard why.
            held.control.get_mut().write_all(&order).await.ok();
            held.heard().await
        };
        let error = match timeout(self.timeouts.spawn_timeout, told).await {
            Ok(Ok(Some(Report::Started { child, supervisor }))) => {
                held.supervisor = pid_of(supervisor);
                return Ok(Process::new(pid_of(child), Hold::Supervised(held), self.timeouts));
            }
            Ok(Ok(Some(Report::Failed(errno)))) => {
                StartError::Child(io::Error::from_raw_os_error(errno))
            }
            Ok(Ok(Some(Report::Unsupervised(errno)))) => {
                StartError::Supervisor(io::Error::from_raw_os_error(errno))
            }
            Ok(Ok(_)) => {
                let what = "it ended, and never said what it did";
                StartError::Supervisor(io::Error::new(io::ErrorKind::UnexpectedEof, what))
            }
            Ok(Err(error)) => StartError::Supervisor(error),
            Err(_) => {
                held.keeper.iter().for_each(|it| supervisor.give_up(it));
                let what = "it did not say in time what it did";
                StartError::Supervisor(io::Error::new(io::ErrorKind::TimedOut, what))
            }
        };
        let Supervised { control, keeper, .. } = held;
        // If it comes to it after all, it finds that nobody wants the child any more.
        drop(control);
        if let Some(keeper) = keeper {
            keeper.release(self.timeouts.kill_timeout).await;
        }
        Err(error)
    }
}

/// The child's ends of its pipes: stdin, stdout and stderr.
type Streams = (OwnedFd, OwnedFd, OwnedFd);

/// Starts what makes supervisors, with this socket.  It has nothing of our environment: what it
/// starts is told its own.
fn start_keeper(program: &Path, arg: &OsStr, socket: Socket) -> io::Result<Child> {
    let mut command = command(program.as_os_str());
    if let Some(own_name) = std::env::args_os().next() {
        command.arg0(own_name);
    }
    command.arg(arg).env_clear();
    command.stdin(OwnedFd::from(socket)).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn()
}

#[expect(clippy::disallowed_methods, reason = "the one place that starts children")]
fn command(program: &OsStr) -> Command {
    Command::new(program)
}

fn pid_of(id: u32) -> Option<Pid> {
    i32::try_from(id).ok().and_then(Pid::from_raw)
}

// === impl Process ===

impl Process {
    fn new(pid: Option<Pid>, hold: Hold, timeouts: Timeouts) -> Self {
        Self { pid, hold, exit: None, over: false, timeouts }
    }

    /// The child's process id: its own, not its supervisor's.
    pub(crate) fn id(&self) -> u32 {
        self.pid.map(|pid| pid.as_raw_nonzero().get().unsigned_abs()).unwrap_or_default()
    }

    /// Waits until the child has exited.  What it has started may still run.
    pub(crate) async fn exited(&mut self) -> Exit {
        if let Some(exit) = self.exit {
            return exit;
        }
        let exit = match &mut self.hold {
            Hold::Supervised(held) => match held.heard().await {
                Ok(Some(Report::Exited(exit))) => exit,
                Ok(_) => Exit::Unknown,
                Err(error) => {
                    warn!(%error, "supervisor cannot be heard");
                    Exit::Unknown
                }
            },
            Hold::Direct(child) => match child.wait().await {
                Ok(status) => Exit::from(status),
                Err(error) => {
                    warn!(%error, "child cannot be waited for");
                    Exit::Unknown
                }
            },
        };
        self.exit = Some(exit);
        exit
    }

    /// Ends it, once its stdin is closed: waits, sends SIGTERM to all, waits, sends SIGKILL.
    /// Returns when nothing of it runs any more, or nothing more can be done.
    pub(crate) async fn end(&mut self) {
        match &self.hold {
            Hold::Supervised(_) => self.end_supervised().await,
            Hold::Direct(_) => self.end_direct().await,
        }
        self.over = true;
    }

    async fn end_supervised(&mut self) {
        let Timeouts { exit_timeout, term_timeout, kill_timeout, .. } = self.timeouts;
        let pid = self.id();
        let Hold::Supervised(held) = &mut self.hold else { return };
        if let Err(error) = held.control.get_mut().shutdown().await {
            debug!(%error, "supervisor is gone already");
        }
        // What it takes by itself, and as much again for a machine that is busy.
        let patience = exit_timeout + term_timeout + 2 * kill_timeout;
        let exit = &mut self.exit;
        // What it says last, and then its end, with which the socket ends.
        let over = async {
            let mut over = false;
            loop {
                match held.heard().await {
                    Ok(Some(Report::Over)) => over = true,
                    Ok(Some(Report::Exited(it))) => *exit = exit.or(Some(it)),
                    Ok(Some(_)) => (),
                    Ok(None) => return over,
                    Err(error) => {
                        warn!(pid, %error, "supervisor cannot be heard");
                        return over;
                    }
                }
            }
        };
        let ended = timeout(patience, over).await;
        if ended.is_err() {
            warn!(pid, "supervisor does not come to an end: killed");
            // It has not closed its end of the socket: so this is still its id.
            if let Some(supervisor) = held.supervisor
                && let Err(error) = kill_process(supervisor, Signal::KILL)
            {
                warn!(pid, %error, "supervisor cannot be killed");
            }
        }
        let keeper = held.keeper.take();
        match ended {
            Ok(true) => (),
            Ok(false) => {
                warn!(pid, "its supervisor was killed");
                self.signal_group(Signal::KILL);
            }
            Err(_) => self.signal_group(Signal::KILL),
        }
        if let Some(keeper) = keeper {
            keeper.release(kill_timeout).await;
        }
    }

    async fn end_direct(&mut self) {
        let Timeouts { exit_timeout, term_timeout, kill_timeout, .. } = self.timeouts;
        // That it has exited is not enough: its process group may have others.
        if timeout(exit_timeout, self.exited()).await.is_err() || self.has_group() {
            self.signal_group(Signal::TERM);
            self.signal_group(Signal::CONT);
            if !self.is_gone_within(term_timeout).await {
                // Nothing withstands this; only the dead of the group may wait to be buried by
                // whoever they were left to.
                self.signal_group(Signal::KILL);
                if timeout(kill_timeout, self.exited()).await.is_err() {
                    warn!(pid = self.id(), "child cannot be killed");
                }
            }
        }
    }

    async fn is_gone_within(&mut self, wait: std::time::Duration) -> bool {
        let end = Instant::now() + wait;
        if timeout(wait, self.exited()).await.is_err() {
            return false;
        }
        while self.has_group() {
            if end <= Instant::now() {
                return false;
            }
            sleep(GROUP_POLL).await;
        }
        true
    }

    fn has_group(&self) -> bool {
        self.pid.is_some_and(|pid| test_kill_process_group(pid).is_ok())
    }

    fn signal_group(&self, signal: Signal) {
        if let Some(pid) = self.pid
            && let Err(error) = kill_process_group(pid, signal)
        {
            debug!(pid = self.id(), %error, "nobody left to signal");
        }
    }
}

// === impl Supervised ===

impl Supervised {
    /// What the supervisor says next; none when it is gone.  Nothing is lost when the future is
    /// dropped.
    async fn heard(&mut self) -> io::Result<Option<Report>> {
        match self.control.read_until(b'\n', &mut self.report).await {
            // It ended before it had read all that it was sent.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
            read => read?,
        };
        let line = std::mem::take(&mut self.report);
        if line.is_empty() {
            return Ok(None);
        }
        let report = std::str::from_utf8(&line).ok().and_then(Report::read);
        report.map(Some).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process").field("pid", &self.id()).field("exit", &self.exit).finish()
    }
}

impl Drop for Process {
    /// For a runtime that goes away with the process in it: a supervisor does the rest by itself.
    fn drop(&mut self) {
        if !self.over && matches!(self.hold, Hold::Direct(_)) {
            self.signal_group(Signal::KILL);
        }
    }
}
