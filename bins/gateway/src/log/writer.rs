//! Lines on their way to standard error: gathered here, written by a thread of their own.
//!
//! A write costs more than all the rest of a request's way through the gateway, and a terminal or
//! pipe that nobody empties would hold the gateway up.  So lines are gathered for a moment, and
//! are dropped, and counted, when more are waiting than may.

use std::{
    io::{self, Write},
    mem,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use tracing_subscriber::fmt::MakeWriter;

/// How many bytes of lines may wait.
const WAITING_BYTES_MAX: usize = 1 << 20;
/// How long lines are gathered for one write.
const GATHER: Duration = Duration::from_millis(20);

/// A place to write lines to.  Clones write to the same.
#[derive(Clone, Debug)]
pub struct Writer(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    woken: Condvar,
    written: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    lines: Vec<u8>,
    dropped: u64,
    /// Lines are with the thread that writes.
    writing: bool,
}

// === impl Writer ===

impl Writer {
    /// A writer to standard error.
    pub fn stderr() -> Self {
        Self::to(io::stderr())
    }

    fn to(mut out: impl Write + Send + 'static) -> Self {
        let shared = Arc::new(Shared::default());
        let writer = Self(Arc::clone(&shared));
        let spawned = thread::Builder::new().name("log".to_owned()).spawn(move || {
            loop {
                shared.write_once(&mut out);
            }
        });
        if spawned.is_err() {
            // Without a thread nothing is written; the process has worse troubles than that.
            writer.0.waiting().dropped += 1;
        }
        writer
    }

    /// Adds a line; drops it where too many are waiting.
    pub(crate) fn line(&self, line: &[u8]) {
        let mut waiting = self.0.waiting();
        if WAITING_BYTES_MAX < waiting.lines.len() + line.len() {
            waiting.dropped += 1;
            return;
        }
        let wake = waiting.lines.is_empty() && !waiting.writing;
        waiting.lines.extend_from_slice(line);
        drop(waiting);
        if wake {
            self.0.woken.notify_one();
        }
    }

    /// Waits until everything is written, but no longer than a second.
    pub fn flush(&self) {
        let waiting = self.0.waiting();
        let busy = |waiting: &mut Waiting| !waiting.lines.is_empty() || waiting.writing;
        self.0.woken.notify_one();
        drop(self.0.written.wait_timeout_while(waiting, Duration::from_secs(1), busy));
    }
}

impl Write for Writer {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.line(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Writer {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

// === impl Shared ===

impl Shared {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that waits on a thread of its own"
    )]
    fn write_once(&self, out: &mut impl Write) {
        {
            let waiting = self.waiting();
            let idle = |waiting: &mut Waiting| waiting.lines.is_empty();
            let waiting = self.woken.wait_while(waiting, idle);
            drop(waiting.unwrap_or_else(PoisonError::into_inner));
        }
        thread::sleep(GATHER);
        let (lines, dropped) = {
            let mut waiting = self.waiting();
            waiting.writing = true;
            (mem::take(&mut waiting.lines), mem::take(&mut waiting.dropped))
        };
        // Where standard error is gone, there is nobody left to tell.
        out.write_all(&lines).ok();
        if dropped > 0 {
            writeln!(out, "{dropped} lines of log were dropped: nobody read them in time").ok();
        }
        let mut waiting = self.waiting();
        waiting.writing = false;
        if waiting.lines.is_empty()
            && waiting.lines.capacity() < lines.capacity()
            && lines.capacity() <= 64 << 10
        {
            waiting.lines = lines;
            waiting.lines.clear();
        }
        drop(waiting);
        self.written.notify_all();
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Writes only when it is let.
    struct Gate(mpsc::Receiver<()>, Arc<Mutex<Vec<u8>>>);

    impl Write for Gate {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.recv().ok();
            self.1.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_who_does_not_read_holds_nobody_up() {
        let (open, gate) = mpsc::channel();
        let written = Arc::new(Mutex::new(Vec::new()));
        let mut writer = Writer::to(Gate(gate, Arc::clone(&written)));
        let line = [b'x'; 1023].iter().chain(b"\n").copied().collect::<Vec<u8>>();
        for _ in 0..5_000 {
            writer.write_all(&line).unwrap();
        }
        drop(open);
        for _ in 0..10 {
            writer.flush();
        }
        Writer::flush(&writer);
        let written = String::from_utf8(written.lock().unwrap().clone()).unwrap();
        assert!(written.len() < 3 * WAITING_BYTES_MAX, "{}", written.len());
        assert!(written.contains("lines of log were dropped"));
    }
}
