//! A child process that is heard, waited for within bounds, and gone when it is dropped.

use std::{
    fmt::Debug,
    io::{BufRead, BufReader, Read},
    net::TcpListener,
    process::{self, Child, Command, Stdio},
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicU16, Ordering},
    },
    thread,
    time::Duration,
};

/// How long anything may take to start on a busy machine.
pub(crate) const START_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a process may take to end when it is asked to.
const END_TIMEOUT: Duration = Duration::from_secs(20);
/// As much as is kept of what a process says.
const LINES_MAX: usize = 50_000;

/// A running process of a test.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    child: Child,
    heard: Arc<Heard>,
    pub(crate) signal: &'static str,
}

#[derive(Debug, Default)]
struct Heard {
    lines: Mutex<Vec<String>>,
    more: Condvar,
}

impl Heard {
    fn lines(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn listen(self: &Arc<Self>, pipe: impl Read + Send + 'static) {
        let heard = Arc::clone(self);
        thread::spawn(move || {
            for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
                let mut lines = heard.lines();
                if lines.len() < LINES_MAX {
                    lines.push(String::from_utf8_lossy(&line).into_owned());
                }
                heard.more.notify_all();
            }
        });
    }
}

impl Process {
    /// Starts it; `signal` is how it wants to be told to end.
    pub(crate) fn start(name: &str, mut command: Command, signal: &'static str) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let heard = Arc::new(Heard::default());
        heard.listen(child.stdout.take().unwrap());
        heard.listen(child.stderr.take().unwrap());
        Self { name: name.to_owned(), child, heard, signal }
    }

    /// The first thing that `find` finds in a line, said already or to be said.
    pub(crate) fn wait_for<T>(&self, what: &str, find: impl Fn(&str) -> Option<T>) -> T {
        let lines = self.heard.lines();
        let unseen = |lines: &mut Vec<String>| !lines.iter().any(|it| find(it).is_some());
        let waited = self.heard.more.wait_timeout_while(lines, START_TIMEOUT, unseen);
        let (lines, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let found = lines.iter().find_map(|it| find(it));
        found.unwrap_or_else(|| panic!("{} never said {what}:\n{}", self.name, lines.join("\n")))
    }

    /// Waits for a line with these words, and says whether it came before the process ended.
    pub(crate) fn says(&mut self, words: &str) -> bool {
        let mut left = START_TIMEOUT;
        let step = Duration::from_millis(100);
        loop {
            let lines = self.heard.lines();
            let unseen = |lines: &mut Vec<String>| !lines.iter().any(|it| it.contains(words));
            let waited = self.heard.more.wait_timeout_while(lines, step, unseen);
            let late = waited.unwrap_or_else(PoisonError::into_inner).1.timed_out();
            left = left.saturating_sub(step);
            if !late || left.is_zero() || !matches!(self.child.try_wait(), Ok(None)) {
                return !late;
            }
        }
    }

    /// Everything it has said.
    pub(crate) fn said(&self) -> String {
        self.heard.lines().join("\n")
    }

    /// Lets at most so much time pass, less if the process says something.
    pub(crate) fn breathe(&self, time: Duration) {
        let lines = self.heard.lines();
        let before = lines.len();
        let quiet = |lines: &mut Vec<String>| lines.len() == before;
        drop(self.heard.more.wait_timeout_while(lines, time, quiet));
    }

    /// Asks it to end and waits until it has; its exit code, or none when it had to be killed.
    pub(crate) fn end(&mut self) -> Option<i32> {
        send(self.signal, self.child.id());
        let mut left = END_TIMEOUT;
        let step = Duration::from_millis(20);
        while !left.is_zero() {
            if let Ok(Some(status)) = self.child.try_wait() {
                return status.code();
            }
            self.breathe(step);
            left = left.saturating_sub(step);
        }
        drop(self.child.kill());
        drop(self.child.wait());
        None
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.end();
        }
        if thread::panicking() {
            println!("--- {} said:\n{}", self.name, self.said());
        }
    }
}

/// Sends a signal to a process that this test started, directly or through the gateway.
pub(crate) fn send(signal: &str, pid: u32) {
    let line = format!("kill -{signal} {pid}");
    // It may be gone already, which is as good.
    drop(Command::new("sh").args(["-c", &line]).stderr(Stdio::null()).status());
}

/// A port that was free a moment ago, below those that the kernel gives to others' connections.
pub(crate) fn port() -> u16 {
    const FIRST: u16 = 18_000;
    const COUNT: u16 = 14_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    for _ in 0..200 {
        // Each process has its own stretch, as far as possible.
        let stretch = u16::try_from(process::id() * 61 % u32::from(COUNT)).unwrap();
        let at = (stretch + NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
        if TcpListener::bind(("127.0.0.1", FIRST + at)).is_ok() {
            return FIRST + at;
        }
    }
    panic!("no port is free");
}

/// Starts a server on a port of its own: once more on another when it does not come up.
pub(crate) fn on_a_port<T: Debug>(mut start: impl FnMut(u16) -> Option<T>) -> T {
    (0..3).find_map(|_| start(port())).unwrap_or_else(|| panic!("it started on no port"))
}
