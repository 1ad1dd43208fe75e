//! Processes of the harness: started, waited for, and ended by handle, come what may.

use std::{
    fs::File,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    net::TcpStream,
    process::{Child, ChildStdin, Command},
    time::Instant,
};

use crate::{
    apart::Apart,
    error::{Failure, Result, within},
};

/// A process that we start listens within this time.
const START_TIMEOUT: Duration = Duration::from_secs(10);
/// The same for a program of others, which may have a runtime to load, and for what is observed.
const PEER_START_TIMEOUT: Duration = Duration::from_secs(60);
/// A process that was told to end does so within this time; then it is killed.
const END_TIMEOUT: Duration = Duration::from_secs(5);
/// Between two attempts to connect to a process that starts.
const ASK_PAUSE: Duration = Duration::from_micros(100);
/// Of the line in which a server of ours says where it listens.
const LINE_BYTES_MAX: u64 = 256;

/// A command whose child is killed when its handle is dropped.
#[expect(
    clippy::disallowed_methods,
    reason = "the harness is no part of the product: its processes are its own"
)]
pub(crate) fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.kill_on_drop(true);
    // Where a gateway keeps what survives it: nothing is left behind.
    command.env("MCP_GATEWAY_STATE_DIR", "none");
    command
}

/// Starts it where what is measured belongs, if that is somewhere.
fn placed<T>(apart: Option<&Apart>, start: impl FnOnce() -> Result<T>) -> Result<T> {
    match apart {
        Some(apart) => apart.starting(start),
        None => start(),
    }
}

/// A server under the harness; dropped, it is killed.
#[derive(Debug)]
pub(crate) struct Process {
    /// Its id, for `/proc`.
    pub(crate) pid: u32,
    /// Where it listens.
    pub(crate) addr: SocketAddr,
    /// When it was started.
    pub(crate) started: Instant,
    child: Child,
    start_timeout: Duration,
    end_timeout: Duration,
    /// Whether it leads a group of processes, all of which end with it.
    leads: bool,
    log: Option<PathBuf>,
    _input: Option<ChildStdin>,
}

impl Process {
    /// Starts another role of this program, `apart` if it is what is measured there, and waits for
    /// the line with its address.
    ///
    /// # Errors
    /// [`Failure`] when it does not start, or does not listen in time.
    pub(crate) async fn own(args: &[String], apart: Option<&Apart>) -> Result<Self> {
        let program = std::env::current_exe().map_err(Failure::io("this program's path"))?;
        let mut command = command(&program);
        // It ends with its input: also when we are killed and cannot end it.
        command.args(args).arg("--until-eof").stdin(Stdio::piped()).stdout(Stdio::piped());
        let started = Instant::now();
        let start = || command.spawn().map_err(Failure::io("starting a server of our own"));
        let mut child = placed(apart, start)?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let pid = child.id().unwrap_or(0);
        let what = format!("the start of `{}`", args.join(" "));
        let line = within(START_TIMEOUT, &what, async {
            let mut line = String::new();
            if let Some(output) = output {
                let mut output = BufReader::new(output.take(LINE_BYTES_MAX));
                output.read_line(&mut line).await.map_err(Failure::io(what.as_str()))?;
            }
            Ok(line)
        })
        .await?;
        let addr = line.trim().strip_prefix("listening ").and_then(|it| it.parse().ok());
        let addr = addr.ok_or_else(|| Failure::Process(format!("{what}: it said {line:?}")))?;
        let (start_timeout, end_timeout) = (START_TIMEOUT, END_TIMEOUT);
        let (log, leads, _input) = (None, false, input);
        Ok(Self { pid, addr, started, child, start_timeout, end_timeout, leads, log, _input })
    }

    /// Starts a foreign program that shall listen on `addr`; what it writes goes to `log`.
    ///
    /// # Errors
    /// [`Failure::Io`] when it cannot be started.
    pub(crate) fn foreign(
        program: &Path,
        args: &[String],
        addr: SocketAddr,
        log: &Path,
        apart: Option<&Apart>,
    ) -> Result<Self> {
        Self::spawn(program, args, addr, (log, false), apart)
    }

    /// The same for a program of others: it leads a group of processes, and none of them outlives
    /// it.
    ///
    /// # Errors
    /// As [`Process::foreign`].
    pub(crate) fn group(
        program: &Path,
        args: &[String],
        addr: SocketAddr,
        log: &Path,
        apart: Option<&Apart>,
    ) -> Result<Self> {
        Self::spawn(program, args, addr, (log, true), apart)
    }

    fn spawn(
        program: &Path,
        args: &[String],
        addr: SocketAddr,
        (log, leads): (&Path, bool),
        apart: Option<&Apart>,
    ) -> Result<Self> {
        let file = File::create(log).map_err(Failure::io(format!("{}", log.display())))?;
        let twin = file.try_clone().map_err(Failure::io(format!("{}", log.display())))?;
        let mut command = command(program);
        command.args(args).stdin(Stdio::null()).stdout(file).stderr(twin);
        if leads {
            command.process_group(0);
        }
        let started = Instant::now();
        let what = format!("starting {}", program.display());
        let child = placed(apart, || command.spawn().map_err(Failure::io(what)))?;
        let pid = child.id().unwrap_or(0);
        let log = Some(log.to_owned());
        let start_timeout = if leads { PEER_START_TIMEOUT } else { START_TIMEOUT };
        let (end_timeout, _input) = (END_TIMEOUT, None);
        Ok(Self { pid, addr, started, child, start_timeout, end_timeout, leads, log, _input })
    }

    /// Gives it a minute to start and one to end: it is observed.
    pub(crate) fn be_patient(&mut self) {
        (self.start_timeout, self.end_timeout) = (PEER_START_TIMEOUT, PEER_START_TIMEOUT);
    }

    /// Waits until it accepts a connection; returns how long that took from its start.
    ///
    /// Asks every tenth of a millisecond: finer than the timer, and not so often that the asking
    /// takes a core from what starts.
    ///
    /// # Errors
    /// [`Failure::Process`] when it ends before, [`Failure::Timeout`] when it is too slow.
    pub(crate) async fn listening(&mut self) -> Result<Duration> {
        while self.started.elapsed() < self.start_timeout {
            if TcpStream::connect(self.addr).await.is_ok() {
                return Ok(self.started.elapsed());
            }
            self.alive()?;
            tokio::task::block_in_place(|| std::thread::park_timeout(ASK_PAUSE));
        }
        let what = format!("listening on {}{}", self.addr, self.last_words());
        Err(Failure::Timeout { what, limit: self.start_timeout })
    }

    /// Is it still there?
    ///
    /// # Errors
    /// [`Failure::Process`] with its last words when it is not.
    pub(crate) fn alive(&mut self) -> Result<()> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => {
                Err(Failure::Process(format!("it ended with {status}{}", self.last_words())))
            }
            Err(source) => Err(Failure::Io { what: "waiting for a process".to_owned(), source }),
        }
    }

    /// Ends it: politely, then by force.
    ///
    /// # Errors
    /// [`Failure::Io`] when the system refuses.
    pub(crate) async fn end(mut self) -> Result<()> {
        if self.alive().is_err() {
            return Ok(());
        }
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid {
            kill_process(pid, Signal::TERM)
                .map_err(|cause| Failure::io("ending a process")(cause.into()))?;
        }
        match tokio::time::timeout(self.end_timeout, self.child.wait()).await {
            Ok(ended) => ended.map(drop).map_err(Failure::io("waiting for a process")),
            Err(_) => self.child.kill().await.map_err(Failure::io("killing a process")),
        }
    }

    /// Ends what is left of its group.
    fn disperse(&self) {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        if let (true, Some(pid)) = (self.leads, pid) {
            // Where nobody is left it fails: that is what was wanted.
            kill_process_group(pid, Signal::KILL).ok();
        }
    }

    /// Kills it, and waits until nothing is left of it.
    ///
    /// # Errors
    /// [`Failure::Io`] when the system refuses.
    pub(crate) async fn kill(mut self) -> Result<()> {
        self.child.kill().await.map_err(Failure::io("killing a process"))
    }

    /// The end of its log, as the tail of an error's text.
    fn last_words(&self) -> String {
        const LINES: usize = 5;
        let Some(text) = self.log.as_deref().and_then(|it| std::fs::read(it).ok()) else {
            return String::new();
        };
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().rev().take(LINES).collect();
        let lines: Vec<&str> = lines.into_iter().rev().collect();
        format!("; its last words: {}", lines.join(" | "))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.disperse();
    }
}
