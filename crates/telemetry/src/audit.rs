//! The audit log: who asked what of which server, and what came of it; one JSON object a line.
//!
//! Lines are gathered for a moment and written by a thread of their own.  Whoever has something
//! audited asks first whether it can be: where the file cannot be written, or too much waits to be,
//! requests wait, and then are refused.  What was begun is written down in any case.

mod file;
mod line;

use std::{
    fmt, io, mem,
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use mcp_jsonrpc::transport::{ErrorKind, TransportError};
use tokio::sync::Notify;
use tracing::{error, info, warn};

use self::file::File;
pub use self::line::Refused;
pub(crate) use self::line::{Audited, Line, client_of};

/// How long lines are gathered for one write.
const GATHER: Duration = Duration::from_millis(10);
/// After how long a file that could not be written is tried again.
const RETRY: Duration = Duration::from_millis(200);

/// Where an audit log is, and how much of it may wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditOptions {
    /// The file that lines are added to; made, for its owner alone, where it is not there.
    pub file: PathBuf,
    /// How many bytes of lines may wait to be written; beyond, requests wait, and at twice as many
    /// lines are dropped and counted.
    pub queue_bytes_max: usize,
    /// How long a request waits until it can be written down; then it is refused.
    pub wait_timeout: Duration,
}

/// An audit log.  Clones write to the same.
#[derive(Clone)]
pub struct Audit(Arc<Shared>);

struct Shared {
    options: AuditOptions,
    waiting: Mutex<Waiting>,
    /// There is something to write.
    woken: Condvar,
    /// Something was written, or could not be.
    written: Condvar,
    /// Requests are to wait.
    is_closed: AtomicBool,
    opened: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    lines: Vec<u8>,
    /// So many bytes are with the thread that writes.
    writing: usize,
    dropped: u64,
    /// Why nothing can be written.
    fault: Option<String>,
}

// === impl Audit ===

impl Audit {
    /// Opens the file, and begins to write to it.
    ///
    /// # Errors
    /// The file cannot be opened, or no thread started.
    pub fn open(options: AuditOptions) -> io::Result<Self> {
        let mut file = File::open(&options.file)?;
        let shared = Arc::new(Shared {
            options,
            waiting: Mutex::default(),
            woken: Condvar::new(),
            written: Condvar::new(),
            is_closed: AtomicBool::new(false),
            opened: Notify::new(),
        });
        let it = Self(Arc::clone(&shared));
        thread::Builder::new().name("audit".to_owned()).spawn(move || {
            loop {
                shared.write_once(&mut file);
            }
        })?;
        Ok(it)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.0.options.file
    }

    /// Waits until what is to be done can be written down.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] after `wait_timeout`: which file, and why.
    pub(crate) async fn admit(&self) -> Result<(), TransportError> {
        if !self.is_closed() {
            return Ok(());
        }
        let open = async {
            loop {
                let opened = self.0.opened.notified();
                if !self.is_closed() {
                    return;
                }
                opened.await;
            }
        };
        let waited = tokio::time::timeout(self.0.options.wait_timeout, open).await;
        waited.map_err(|_| self.refusal())
    }

    /// Whether requests are to wait, as in [`admit`](Self::admit).
    pub(crate) fn is_closed(&self) -> bool {
        self.0.is_closed.load(Ordering::Acquire)
    }

    fn refusal(&self) -> TransportError {
        let fault = self.0.waiting().fault.clone();
        let why = fault.unwrap_or_else(|| "too much waits to be written".to_owned());
        let path = self.path().display();
        let what = format!("not carried out, since the audit log {path} cannot be written: {why}");
        let hint = "make room there, or say in `gateway.audit` where else";
        TransportError::new(ErrorKind::Unavailable { retry_after: None }, what).hint(hint)
    }

    /// Adds a line; drops it, and counts it, where far too many are waiting.
    pub(crate) fn write(&self, line: &[u8]) {
        let max = self.0.options.queue_bytes_max;
        let mut waiting = self.0.waiting();
        let len = waiting.lines.len() + waiting.writing + line.len();
        if max.saturating_mul(2) < len {
            waiting.dropped += 1;
            return;
        }
        let wake = waiting.lines.is_empty() && waiting.writing == 0;
        waiting.lines.extend_from_slice(line);
        if max < len {
            self.0.is_closed.store(true, Ordering::Release);
        }
        drop(waiting);
        if wake {
            self.0.woken.notify_one();
        }
    }

    /// Waits until everything is written, but no longer than `wait_timeout`, nor for a file that
    /// cannot be written; says in the log what was lost.
    pub fn flush(&self) {
        let busy = |it: &mut Waiting| {
            it.fault.is_none() && (!it.lines.is_empty() || it.writing > 0 || it.dropped > 0)
        };
        let waited =
            self.0.written.wait_timeout_while(self.0.waiting(), self.0.options.wait_timeout, busy);
        let (waiting, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let bytes = waiting.lines.len() + waiting.writing;
        if bytes > 0 || waiting.dropped > 0 {
            let (file, dropped) = (self.path().display(), waiting.dropped);
            error!(%file, bytes, dropped, "the end of the audit log is lost: it could not be written");
        }
    }
}

impl fmt::Debug for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Audit").field("options", &self.0.options).finish_non_exhaustive()
    }
}

// === impl Shared ===

impl Shared {
    /// Writes what has come, as often as it takes.
    #[expect(clippy::disallowed_methods, reason = "a thread of its own, which may sleep")]
    fn write_once(&self, file: &mut File) {
        {
            let idle = |it: &mut Waiting| it.lines.is_empty() && it.dropped == 0;
            let waiting = self.woken.wait_while(self.waiting(), idle);
            drop(waiting.unwrap_or_else(PoisonError::into_inner));
        }
        thread::sleep(GATHER);
        let lines = {
            let mut waiting = self.waiting();
            let mut lines = mem::take(&mut waiting.lines);
            line::lost(mem::take(&mut waiting.dropped), &mut lines);
            waiting.writing = lines.len();
            lines
        };
        let mut done = 0;
        while let Err(error) = file.write(&lines, &mut done) {
            self.failed(&error);
            thread::sleep(RETRY);
        }
        let mut waiting = self.waiting();
        waiting.writing = 0;
        if waiting.fault.take().is_some() {
            info!(file = %self.options.file.display(), "the audit log is written again");
        }
        if waiting.lines.len() <= self.options.queue_bytes_max {
            self.is_closed.store(false, Ordering::Release);
        }
        if waiting.lines.is_empty() && lines.capacity() <= 256 << 10 {
            waiting.lines = lines;
            waiting.lines.clear();
        }
        drop(waiting);
        self.written.notify_all();
        self.opened.notify_waiters();
    }

    /// Nothing new is begun until the file can be written again.
    fn failed(&self, error: &io::Error) {
        let mut waiting = self.waiting();
        self.is_closed.store(true, Ordering::Release);
        let said = error.to_string();
        if waiting.fault.as_ref() != Some(&said) {
            let file = self.options.file.display();
            warn!(%file, error = said, "the audit log cannot be written: requests wait, and then are refused");
            waiting.fault = Some(said);
        }
        drop(waiting);
        self.written.notify_all();
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
