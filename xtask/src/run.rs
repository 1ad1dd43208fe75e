//! Commands that are shown, bounded in time, and judged.

use std::{
    ffi::OsString,
    fmt,
    io::{BufRead, BufReader, Read, Write},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

use crate::CARGO_TIMEOUT;

/// How often the end of a child is asked after.
const STEP: Duration = Duration::from_millis(50);

/// What became of a piece of work.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It was done, and nothing is wrong.
    Done,
    /// It could not be done here, and why.
    Skipped(String),
    /// It was done and something is wrong, or it could not be done and had to be.
    Failed(String),
}

impl Outcome {
    /// A skip where one is allowed, else a failure.
    pub(crate) const fn skipped(why: String, strict: bool) -> Self {
        if strict { Self::Failed(why) } else { Self::Skipped(why) }
    }
}

/// How a command ended that was not a success.
#[derive(Debug)]
pub(crate) enum RunError {
    /// There is no such program, or it cannot be started.
    Start(String, std::io::Error),
    /// It ended with this status; the last lines it said, where they were kept.
    Status(String, ExitStatus, String),
    /// It was stopped after this time.
    Late(String, Duration),
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start(line, error) => write!(f, "cannot start `{line}`: {error}"),
            Self::Status(line, status, said) if said.is_empty() => write!(f, "`{line}`: {status}"),
            Self::Status(line, status, said) => write!(f, "`{line}`: {status}: {said}"),
            Self::Late(line, after) => {
                write!(f, "`{line}` took more than {} s and was stopped", after.as_secs())
            }
        }
    }
}

/// A command to be run.
#[derive(Debug)]
pub(crate) struct Task {
    command: Command,
    line: String,
    timeout: Duration,
}

impl Task {
    pub(crate) fn new(root: &Path, program: impl Into<OsString>) -> Self {
        let program = program.into();
        let line = program.to_string_lossy().into_owned();
        let mut command = Command::new(program);
        command.current_dir(root).stdin(Stdio::null());
        Self { command, line, timeout: CARGO_TIMEOUT }
    }

    pub(crate) fn cargo(root: &Path, words: &[&str]) -> Self {
        Self::new(root, "cargo").args(words)
    }

    pub(crate) fn args(mut self, words: &[&str]) -> Self {
        for word in words {
            self.line.push(' ');
            self.line.push_str(word);
        }
        self.command.args(words);
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.command.env(name, value.into());
        self
    }

    pub(crate) const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Shows the command and lets it talk.
    pub(crate) fn run(mut self) -> Result<(), RunError> {
        println!("$ {}", self.line);
        let child = self.start()?;
        self.judge(child)
    }

    /// As [`Task::run`], for the end of a chain.
    pub(crate) fn outcome(self) -> Outcome {
        match self.run() {
            Ok(()) => Outcome::Done,
            Err(error) => Outcome::Failed(error.to_string()),
        }
    }

    /// Runs the command in silence and returns what it said on stdout.
    pub(crate) fn output(mut self) -> Result<String, RunError> {
        self.command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self.start()?;
        let out = child.stdout.take().map(|pipe| thread::spawn(move || slurp(pipe)));
        let err = child.stderr.take().map(|pipe| thread::spawn(move || slurp(pipe)));
        let judged = wait(&mut child, self.timeout);
        let [out, err] = [out, err].map(|it| it.and_then(|it| it.join().ok()).unwrap_or_default());
        match judged {
            Some(status) if status.success() => Ok(out),
            Some(status) => Err(RunError::Status(self.line, status, tail(&err))),
            None => Err(RunError::Late(self.line, self.timeout)),
        }
    }

    /// Shows the command, lets it talk, and shows every line of it to `see` as well.
    pub(crate) fn watch(mut self, mut see: impl FnMut(&str)) -> Result<(), RunError> {
        println!("$ {}", self.line);
        self.command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self.start()?;
        // As much as a reader may be ahead of the terminal.
        let (lines, heard) = mpsc::sync_channel(256);
        let pipes: [Option<Box<dyn Read + Send>>; 2] = [
            child.stdout.take().map(|it| Box::new(it) as Box<dyn Read + Send>),
            child.stderr.take().map(|it| Box::new(it) as Box<dyn Read + Send>),
        ];
        for pipe in pipes.into_iter().flatten() {
            let lines = lines.clone();
            thread::spawn(move || {
                for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
                    if lines.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                        return;
                    }
                }
            });
        }
        drop(lines);
        let (mut waited, mut ended) = (Duration::ZERO, None);
        loop {
            match heard.recv_timeout(STEP) {
                Ok(line) => {
                    println!("{line}");
                    see(&line);
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => break,
                // Whoever outlives the command and holds its pipe is not waited for.
                Err(RecvTimeoutError::Timeout) if ended.is_some() => break,
                Err(RecvTimeoutError::Timeout) => waited += STEP,
            }
            ended = child.try_wait().ok().flatten();
            if self.timeout < waited {
                break;
            }
        }
        let left = self.timeout.saturating_sub(waited);
        self.timeout(left).judge(child)
    }

    fn start(&mut self) -> Result<Child, RunError> {
        // Our own words first: the command writes past our buffer.
        drop(std::io::stdout().flush());
        self.command.spawn().map_err(|error| RunError::Start(self.line.clone(), error))
    }

    fn judge(self, mut child: Child) -> Result<(), RunError> {
        match wait(&mut child, self.timeout) {
            Some(status) if status.success() => Ok(()),
            Some(status) => Err(RunError::Status(self.line, status, String::new())),
            None => Err(RunError::Late(self.line, self.timeout)),
        }
    }
}

/// Waits for the end of a child, and ends it itself when it takes too long.
fn wait(child: &mut Child, timeout: Duration) -> Option<ExitStatus> {
    let mut waited = Duration::ZERO;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if waited < timeout => {
                pause(STEP);
                waited += STEP;
            }
            Ok(None) | Err(_) => {
                // Too late to learn more: what counts is that it is gone.
                drop(child.kill());
                drop(child.wait());
                return None;
            }
        }
    }
}

/// Lets time pass.
pub(crate) fn pause(time: Duration) {
    let (_hold, never) = mpsc::channel::<()>();
    let passed = never.recv_timeout(time);
    debug_assert_eq!(passed, Err(RecvTimeoutError::Timeout));
}

fn slurp(mut pipe: impl Read) -> String {
    let mut bytes = Vec::new();
    // What was read until the pipe broke is all there is to tell.
    drop(pipe.read_to_end(&mut bytes));
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The last lines of what a command said, on one line.
fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().filter(|it| !it.trim().is_empty()).collect();
    let from = lines.len().saturating_sub(5);
    lines.get(from..).unwrap_or_default().join(" | ")
}
