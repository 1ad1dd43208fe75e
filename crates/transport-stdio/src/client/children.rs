//! Who the children are, for a page that shows it and for a gateway that waits for their end.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::words::Words;
use crate::Exit;

/// The children of one [`Spawn`](super::Spawn), or of several that share it.
///
/// It knows those that run, and the last one that does not any more.
#[derive(Clone, Default)]
pub struct Children(Arc<Inner>);

#[derive(Default)]
struct Inner {
    running: Mutex<Known>,
    tasks: TaskTracker,
}

#[derive(Default)]
struct Known {
    running: Vec<ChildInfo>,
    last: Option<ChildInfo>,
}

/// One child, as it may be shown.
#[derive(Clone)]
pub struct ChildInfo(pub(super) Arc<About>);

pub(super) struct About {
    pub(super) server: Arc<str>,
    pub(super) pid: u32,
    pub(super) supervised: bool,
    pub(super) since: Instant,
    pub(super) words: Words,
    pub(super) exit: OnceLock<Exit>,
    pub(super) gone: AtomicBool,
}

// === impl Children ===

impl Children {
    /// Those that run, oldest first.
    pub fn running(&self) -> Vec<ChildInfo> {
        self.known().running.clone()
    }

    /// The one that ended last.
    pub fn last(&self) -> Option<ChildInfo> {
        self.known().last.clone()
    }

    /// Waits until none runs, nor anything of it.
    ///
    /// This ends nobody: close their sessions, or drop them, before.
    pub async fn gone(&self) {
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }

    /// Where the tasks of the children belong.
    pub(super) fn tasks(&self) -> &TaskTracker {
        &self.0.tasks
    }

    pub(super) fn add(&self, child: &ChildInfo) {
        self.known().running.push(child.clone());
    }

    pub(super) fn remove(&self, child: &ChildInfo) {
        child.0.gone.store(true, Ordering::Relaxed);
        let mut known = self.known();
        known.running.retain(|it| !Arc::ptr_eq(&it.0, &child.0));
        known.last = Some(child.clone());
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Children {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Children").field("running", &self.running()).finish_non_exhaustive()
    }
}

// === impl ChildInfo ===

impl ChildInfo {
    /// The server it is.
    pub fn server(&self) -> &str {
        &self.0.server
    }

    /// Its process id: the child's own, not its supervisor's.
    pub fn pid(&self) -> u32 {
        self.0.pid
    }

    /// Whether a supervisor sees to it that nothing of it survives the gateway.
    pub fn is_supervised(&self) -> bool {
        self.0.supervised
    }

    /// When it was started.
    pub fn since(&self) -> Instant {
        self.0.since
    }

    /// Whether nothing of it runs any more.
    pub fn is_gone(&self) -> bool {
        self.0.gone.load(Ordering::Relaxed)
    }

    /// How it ended, as soon as that is known.
    pub fn exit(&self) -> Option<Exit> {
        self.0.exit.get().copied()
    }

    /// The last lines of its stderr, at most so many, oldest first; control characters escaped,
    /// secrets masked.
    pub fn stderr(&self, lines_max: usize) -> Vec<Arc<str>> {
        self.0.words.lines(lines_max)
    }

    /// How many lines it has written to stderr.
    pub fn stderr_count(&self) -> u64 {
        self.0.words.seen()
    }
}

impl fmt::Debug for ChildInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChildInfo")
            .field("server", &self.server())
            .field("pid", &self.pid())
            .field("exit", &self.exit())
            .finish_non_exhaustive()
    }
}
