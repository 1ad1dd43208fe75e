//! Records in a file: what is confirmed survives `kill -9` and a power cut.
//!
//! One thread opens the file and writes.  It takes all that waits, up to [`BATCH_LEN_MAX`] writes,
//! into one transaction, and confirms them when the disk has (group commit: one `fsync` for all).
//! Where the file cannot be used (locked by another process, disk full, damaged), records are
//! kept in memory, that is said once, and the file is tried again every [`RETRY`].

mod file;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    thread,
    time::Duration,
};

use bytes::Bytes;
use futures::FutureExt;
use seal::Clock;
use tokio::{
    sync::{
        mpsc::{self, error::TrySendError},
        oneshot,
    },
    time::Instant,
};
use tracing::{info, warn};

use crate::{Memory, RecordKey, Saving, StateDir, Store, StoreError, memory::Entry};
use file::{File, FileError};

const FILE: &str = "sessions.redb";
/// How many writes may wait for the disk; whoever has one more waits for room.
const QUEUE_LEN_MAX: usize = 1024;
/// How many writes one transaction takes.
const BATCH_LEN_MAX: usize = 256;
/// How long a write may take before its caller goes on without it.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a file that could not be used is tried again.
const RETRY: Duration = Duration::from_secs(10);
/// How long the first to open the file waits for a process that is about to end.
const LOCK_PATIENCE: Duration = Duration::from_millis(500);
const LOCK_PAUSE: Duration = Duration::from_millis(25);

/// How much is kept.
#[derive(Clone, Copy, Debug)]
pub struct DiskMax {
    /// All records together, counting 64 bytes for each beside its own: 256 MiB.  Beyond, those
    /// that would expire first go first.
    pub bytes_max: usize,
    /// One record: 64 KiB.
    pub record_len_max: usize,
}

impl Default for DiskMax {
    fn default() -> Self {
        Self { bytes_max: 256 << 20, record_len_max: 64 << 10 }
    }
}

/// Records in a file of the state directory.
#[derive(Debug)]
pub struct Disk {
    shared: Arc<Shared>,
    queue: mpsc::Sender<Write>,
}

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    clock: Clock,
    max: DiskMax,
    file: Mutex<Option<Arc<File>>>,
    /// Set once the file was tried for the first time: before, nobody knows what is in it.
    tried: OnceLock<()>,
    /// What the file should hold and does not.
    beside: Memory,
}

struct Write {
    entry: Entry,
    done: oneshot::Sender<Result<(), StoreError>>,
}

// === impl Disk ===

impl Disk {
    /// Has the file opened, and made where it is not there, by the thread that writes: whoever
    /// wants a record before that is done waits, and nobody else does.  A file that cannot be used
    /// now is no error: it is warned of, and tried again.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn open(dir: &StateDir, clock: Clock, max: DiskMax) -> std::io::Result<Self> {
        Self::open_within(LOCK_PATIENCE, dir, clock, max)
    }

    fn open_within(
        patience: Duration,
        dir: &StateDir,
        clock: Clock,
        max: DiskMax,
    ) -> std::io::Result<Self> {
        let beside = Memory::new(clock.clone(), max.bytes_max);
        let path = dir.path().join(FILE);
        let (file, tried) = (Mutex::default(), OnceLock::new());
        let shared = Arc::new(Shared { path, clock, max, file, tried, beside });
        let (queue, writes) = mpsc::channel(QUEUE_LEN_MAX);
        let writer = Arc::clone(&shared);
        thread::Builder::new().name("store".to_owned()).spawn(move || {
            let tried = Tried(&writer.tried);
            writer.open_patiently(patience);
            drop(tried);
            writer.write_all(writes);
        })?;
        Ok(Self { shared, queue })
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.shared.path
    }

    /// Whether records go into the file now, and not into memory alone.
    pub fn is_well(&self) -> bool {
        self.shared.tried.wait();
        self.shared.file().is_some()
    }

    fn write(&self, entry: Entry) -> Saving {
        let (done, outcome) = oneshot::channel();
        // Before the future is polled: what is asked for first is written first.
        let sent = self.queue.try_send(Write { entry, done });
        let queue = self.queue.clone();
        let written = async move {
            match sent {
                Ok(()) => (),
                Err(TrySendError::Full(write)) => queue.send(write).await.map_err(|_| ended())?,
                Err(TrySendError::Closed(_)) => return Err(ended()),
            }
            outcome.await.unwrap_or_else(|_| Err(ended()))
        };
        async move {
            let written = tokio::time::timeout(WRITE_TIMEOUT, written).await;
            written.unwrap_or(Err(StoreError::Slow(WRITE_TIMEOUT.as_secs())))
        }
        .boxed()
    }
}

impl Store for Disk {
    fn load(&self, key: &RecordKey) -> Result<Option<Bytes>, StoreError> {
        self.shared.tried.wait();
        // Before the file: what is no longer kept beside is in it.
        if let Some(known) = self.shared.beside.get(key) {
            return Ok(known);
        }
        let Some(file) = self.shared.file() else { return Ok(None) };
        let now = self.shared.clock.now();
        file.load(key, now).map_err(|error| StoreError::Unavailable(error.to_string().into()))
    }

    fn save(&self, key: RecordKey, record: Bytes, expires: u64) -> Saving {
        let (len, max) = (record.len(), self.shared.max.record_len_max);
        if max < len {
            return async move { Err(StoreError::TooLong { len, max }) }.boxed();
        }
        self.write((key, expires, Some(record)))
    }

    fn remove(&self, key: RecordKey) -> Saving {
        // Known for as long as the file could remember otherwise.
        self.write((key, u64::MAX, None))
    }
}

// === impl Shared ===

impl Shared {
    fn file(&self) -> Option<Arc<File>> {
        self.slot().clone()
    }

    fn slot(&self) -> MutexGuard<'_, Option<Arc<File>>> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[expect(clippy::disallowed_methods, reason = "a thread of its own, before its first write")]
    fn open_patiently(&self, patience: Duration) {
        let deadline = Instant::now() + patience;
        loop {
            match self.open() {
                Ok(file) => {
                    *self.slot() = Some(file);
                    return;
                }
                Err(FileError::Locked) if Instant::now() < deadline => thread::sleep(LOCK_PAUSE),
                Err(error) => return self.complain(&error),
            }
        }
    }

    /// Opens the file; one that is damaged is put aside.
    fn open(&self) -> Result<Arc<File>, FileError> {
        match File::open(&self.path, self.max.bytes_max) {
            Err(FileError::Damaged(error)) => {
                let aside = self.path.with_extension("damaged");
                std::fs::rename(&self.path, &aside).map_err(FileError::Io)?;
                warn!(path = %self.path.display(), aside = %aside.display(), %error,
                    "records are damaged: begun anew, so subscriptions and closed sessions are forgotten");
                File::open(&self.path, self.max.bytes_max)
            }
            opened => opened,
        }
        .map(Arc::new)
    }

    fn complain(&self, error: &FileError) {
        warn!(path = %self.path.display(), %error, retry = ?RETRY,
            "records are kept in memory only: log levels, subscriptions and HTTP+SSE sessions do not survive a restart, and closed sessions are not remembered");
    }

    /// Writes until nobody is left who could have something to write.
    fn write_all(&self, mut writes: mpsc::Receiver<Write>) {
        let mut tried = Instant::now();
        while let Some(first) = writes.blocking_recv() {
            let mut batch = vec![first];
            while batch.len() < BATCH_LEN_MAX
                && let Ok(next) = writes.try_recv()
            {
                batch.push(next);
            }
            if self.file().is_none() && RETRY <= tried.elapsed() {
                tried = Instant::now();
                self.open_again();
            }
            self.write_batch(batch);
        }
    }

    fn open_again(&self) {
        let Ok(file) = self.open() else { return };
        if let Err(error) = file.write(&self.beside.all(), self.clock.now()) {
            warn!(path = %self.path.display(), %error, "records are still kept in memory only");
            return;
        }
        *self.slot() = Some(file);
        self.beside.clear();
        info!(path = %self.path.display(), "records are kept on disk again");
    }

    fn write_batch(&self, batch: Vec<Write>) {
        let (entries, done): (Vec<_>, Vec<_>) =
            batch.into_iter().map(|write| (write.entry, write.done)).unzip();
        let outcome = match self.file() {
            None => Err(StoreError::Unavailable("records are kept in memory only".into())),
            Some(file) => file.write(&entries, self.clock.now()).map_err(|error| {
                // What failed once is opened afresh before it is trusted again.
                *self.slot() = None;
                self.complain(&error);
                StoreError::Unavailable(error.to_string().into())
            }),
        };
        if outcome.is_err() {
            entries.into_iter().for_each(|entry| self.beside.put(entry));
        }
        for done in done {
            // Whoever has given up waiting has.
            done.send(outcome.clone()).ok();
        }
    }
}

/// Lets go of those who wait for the file, whatever came of opening it.
struct Tried<'a>(&'a OnceLock<()>);

impl Drop for Tried<'_> {
    fn drop(&mut self) {
        self.0.get_or_init(|| ());
    }
}

fn ended() -> StoreError {
    StoreError::Unavailable("the store has ended".into())
}

#[cfg(test)]
mod tests;
