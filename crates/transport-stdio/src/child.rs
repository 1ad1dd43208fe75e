//! Starts and ends child processes: the one place that does.

use std::{
    ffi::{OsStr, OsString},
    fmt, io,
    os::unix::net::UnixStream as Socket,
    path::Path,
    process::Stdio,
};

use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{UnixStream, unix::pipe},
    process::{Child, Command},
    time::{Instant, sleep, timeout},
};
use tracing::{debug, warn};

use crate::{
    Exit, Timeouts,
    supervise::{Order, Report, Streams, Supervisor},
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
    /// The child, or the supervisor that has it.
    direct: Child,
    control: Option<BufReader<UnixStream>>,
    /// What has come of its next report.
    report: Vec<u8>,
    exit: Option<Exit>,
    over: bool,
    timeouts: Timeouts,
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
        let streams = Streams { stdin: child_stdin.into(), stdout: child_stdout.into() };
        let process = match self.supervisor {
            None => self.direct(streams, child_stderr.into())?,
            Some(supervisor) => self.supervised(supervisor, streams, child_stderr.into()).await?,
        };
        Ok(Started { process, stdin, stdout, stderr })
    }

    fn direct(&self, streams: Streams, stderr: Stdio) -> Result<Process, StartError> {
        let mut command = self.command(self.program);
        command.args(self.args).stdin(streams.stdin).stdout(streams.stdout).stderr(stderr);
        // What a terminal sends to the gateway does not reach it.
        command.process_group(0).kill_on_drop(true);
        let direct = command.spawn().map_err(StartError::Child)?;
        Ok(Process::new(direct, None, self.timeouts))
    }

    async fn supervised(
        &self,
        supervisor: &Supervisor,
        streams: Streams,
        stderr: Stdio,
    ) -> Result<Process, StartError> {
        let (here, there) = Socket::pair().map_err(StartError::Pipes)?;
        streams.send(&here).map_err(StartError::Pipes)?;
        drop(streams);
        let mut command = self.command(supervisor.program.as_os_str());
        if let Some(own_name) = std::env::args_os().next() {
            command.arg0(own_name);
        }
        command.arg(&supervisor.arg).args(Order::args(&self.timeouts, self.program, self.args));
        command.stdin(std::os::fd::OwnedFd::from(there)).stdout(Stdio::null()).stderr(stderr);
        let started = command.spawn();
        // It holds the supervisor's end of the socket.
        drop(command);
        let direct = started.map_err(StartError::Supervisor)?;
        let control = here.set_nonblocking(true).and_then(|()| UnixStream::from_std(here));
        let control = BufReader::new(control.map_err(StartError::Pipes)?);
        let mut process = Process::new(direct, Some(control), self.timeouts);
        let error = match timeout(self.timeouts.spawn_timeout, process.heard()).await {
            Ok(Ok(Some(Report::Started(pid)))) => {
                process.pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
                return Ok(process);
            }
            Ok(Ok(Some(Report::Failed(errno)))) => {
                StartError::Child(io::Error::from_raw_os_error(errno))
            }
            Ok(Ok(_)) => {
                let what = "it ended, and never said what it did";
                StartError::Supervisor(io::Error::new(io::ErrorKind::UnexpectedEof, what))
            }
            Ok(Err(error)) => StartError::Supervisor(error),
            Err(_) => {
                let what = "it did not say in time what it did";
                StartError::Supervisor(io::Error::new(io::ErrorKind::TimedOut, what))
            }
        };
        process.end().await;
        Err(error)
    }

    /// A program in the child's surroundings.
    #[expect(clippy::disallowed_methods, reason = "the one place that starts children")]
    fn command(&self, program: &OsStr) -> Command {
        let mut command = Command::new(program);
        command.env_clear().envs(self.env.iter().map(|(name, value)| (name, value)));
        if let Some(dir) = self.dir {
            command.current_dir(dir);
        }
        command
    }
}

// === impl Process ===

impl Process {
    fn new(direct: Child, control: Option<BufReader<UnixStream>>, timeouts: Timeouts) -> Self {
        let id = direct.id().filter(|_| control.is_none());
        let pid = id.and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        Self { pid, direct, control, report: Vec::new(), exit: None, over: false, timeouts }
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
        let exit = if self.control.is_some() {
            match self.heard().await {
                Ok(Some(Report::Exited(exit))) => exit,
                Ok(_) => Exit::Unknown,
                Err(error) => {
                    warn!(%error, "supervisor cannot be heard");
                    Exit::Unknown
                }
            }
        } else {
            match self.direct.wait().await {
                Ok(status) => Exit::from(status),
                Err(error) => {
                    warn!(%error, "child cannot be waited for");
                    Exit::Unknown
                }
            }
        };
        self.exit = Some(exit);
        exit
    }

    /// Ends it, once its stdin is closed: waits, sends SIGTERM to all, waits, sends SIGKILL.
    /// Returns when nothing of it runs any more, or nothing more can be done.
    pub(crate) async fn end(&mut self) {
        match &mut self.control {
            Some(control) => {
                if let Err(error) = control.get_mut().shutdown().await {
                    debug!(%error, "supervisor is gone already");
                }
                self.end_supervised().await;
            }
            None => self.end_direct().await,
        }
        self.over = true;
    }

    async fn end_supervised(&mut self) {
        let Timeouts { exit_timeout, term_timeout, kill_timeout, .. } = self.timeouts;
        // What it takes by itself, and as much again for a machine that is busy.
        let patience = exit_timeout + term_timeout + 2 * kill_timeout;
        let ended = timeout(patience, self.direct.wait()).await;
        let (pid, supervisor) = (self.id(), self.direct.id());
        match ended {
            Ok(Ok(status)) if status.code().is_some() => return,
            Ok(Ok(_)) => warn!(pid, "its supervisor was killed"),
            Ok(Err(error)) => warn!(pid, supervisor, %error, "supervisor cannot be waited for"),
            Err(_) => warn!(pid, supervisor, "supervisor does not come to an end: killed"),
        }
        self.signal_group(Signal::KILL);
        if let Err(error) = self.direct.kill().await {
            warn!(pid, supervisor, %error, "supervisor cannot be killed");
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

    /// What the supervisor says next; none when it is gone.  Nothing is lost when the future is
    /// dropped.
    async fn heard(&mut self) -> io::Result<Option<Report>> {
        let Some(control) = &mut self.control else { return Ok(None) };
        match control.read_until(b'\n', &mut self.report).await {
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
        if !self.over && self.control.is_none() {
            self.signal_group(Signal::KILL);
        }
    }
}
