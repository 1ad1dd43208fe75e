//! A process that is heard, waited for within bounds, and gone when it is dropped.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::Instant;

/// Nothing that these tests wait for takes longer, however busy the machine is.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// As much is kept of what a process says.
const LINES_MAX: usize = 100_000;

/// A running process.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    pub(crate) stdin: Option<ChildStdin>,
    out: Arc<Lines>,
    err: Arc<Lines>,
}

/// What a finished command left behind.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// What a process says on one of its pipes.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    said: Mutex<(Vec<String>, bool)>,
    more: Condvar,
}

// === impl Lines ===

impl Lines {
    fn of(pipe: impl Read + Send + 'static) -> Arc<Self> {
        let lines = Arc::new(Self::default());
        let writer = Arc::clone(&lines);
        thread::spawn(move || {
            for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
                let mut said = writer.said();
                if said.0.len() < LINES_MAX {
                    said.0.push(String::from_utf8_lossy(&line).into_owned());
                }
                writer.more.notify_all();
            }
            writer.said().1 = true;
            writer.more.notify_all();
        });
        lines
    }

    fn said(&self) -> MutexGuard<'_, (Vec<String>, bool)> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find<T>(&self, from: usize, find: impl Fn(&str) -> Option<T>) -> Option<(usize, T)> {
        let there = |said: &(Vec<String>, bool)| {
            let mut lines = said.0.iter().enumerate().skip(from);
            lines.find_map(|(at, line)| find(line).map(|it| (at, it)))
        };
        let waits = |said: &mut (Vec<String>, bool)| !said.1 && there(said).is_none();
        let said = self.more.wait_timeout_while(self.said(), PATIENCE, waits);
        there(&said.unwrap_or_else(PoisonError::into_inner).0)
    }

    /// The `at`th line, once it is there; none after the last.
    pub(crate) fn at(&self, at: usize) -> Option<String> {
        let waits = |said: &mut (Vec<String>, bool)| !said.1 && said.0.len() <= at;
        let said = self.more.wait_while(self.said(), waits);
        said.unwrap_or_else(PoisonError::into_inner).0.get(at).cloned()
    }

    /// Everything, once there is no more.
    fn all(&self) -> String {
        let waited = self.more.wait_timeout_while(self.said(), PATIENCE, |said| !said.1);
        waited.unwrap_or_else(PoisonError::into_inner).0.0.join("\n")
    }
}

// === impl Process ===

impl Process {
    pub(crate) fn start(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let (out, err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let stdin = child.stdin.take();
        Self { child, stdin, out: Lines::of(out), err: Lines::of(err) }
    }

    /// The first line of stderr, from this one on, in which `find` finds something.
    #[track_caller]
    pub(crate) fn logged_from<T>(
        &self,
        from: usize,
        what: &str,
        find: impl Fn(&str) -> Option<T>,
    ) -> (usize, T) {
        let found = self.err.find(from, find);
        found.unwrap_or_else(|| panic!("never logged: {what}\n{}", self.log().join("\n")))
    }

    #[track_caller]
    pub(crate) fn logged<T>(&self, what: &str, find: impl Fn(&str) -> Option<T>) -> T {
        self.logged_from(0, what, find).1
    }

    /// What it says on stdout.
    pub(crate) fn lines(&self) -> Arc<Lines> {
        Arc::clone(&self.out)
    }

    /// The first line of stdout with these words.
    #[track_caller]
    pub(crate) fn says(&self, words: &str) -> String {
        let found = self.out.find(0, |line| line.contains(words).then(|| line.to_owned()));
        found.unwrap_or_else(|| panic!("never said: {words}\n{}", self.out.said().0.join("\n"))).1
    }

    /// What it has logged so far.
    pub(crate) fn log(&self) -> Vec<String> {
        self.err.said().0.clone()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// How many descriptors it has open, and how much memory it has, in KiB.
    pub(crate) fn usage(&self) -> (usize, usize) {
        let proc = format!("/proc/{}", self.child.id());
        let fds = std::fs::read_dir(format!("{proc}/fd")).unwrap().count();
        let status = std::fs::read_to_string(format!("{proc}/status")).unwrap();
        let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let rss = rss.unwrap().trim().trim_end_matches(" kB").parse().unwrap();
        (fds, rss)
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            let log = self.err.said().0.join("\n");
            assert!(Instant::now() < deadline, "a process does not end:\n{log}");
            pause();
        }
    }

    /// Waits for its end, and for all that it has said.
    #[track_caller]
    pub(crate) fn end(mut self) -> Ended {
        let code = self.ended().code();
        Ended { code, out: self.out.all(), err: self.err.all() }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            // Killed without a word: what it leaves behind has to see to itself.
            drop(self.child.kill());
            drop(self.child.wait());
        }
    }
}

/// Waits for what has no event to wait for: other people's processes, a counter's turn.
#[track_caller]
pub(crate) fn until<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        pause();
    }
}

#[expect(clippy::disallowed_methods, reason = "this is no runtime's thread")]
fn pause() {
    thread::sleep(Duration::from_millis(5));
}

/// Whether a process runs; the dead whom nobody has buried do not.
pub(crate) fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    state.is_some_and(|state| !matches!(state, 'Z' | 'X'))
}

/// Waits until none of these runs.
#[track_caller]
pub(crate) fn all_gone(pids: &[u32]) {
    until(&format!("the end of {pids:?}"), || (!pids.iter().any(|&it| is_alive(it))).then_some(()));
}
