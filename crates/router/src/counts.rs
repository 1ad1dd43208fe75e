//! What was not passed on, counted for each server.

use std::sync::atomic::{AtomicU64, Ordering};

/// What of a server's words reached nobody.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    dropped: AtomicU64,
    refused: AtomicU64,
    hung: AtomicU64,
}

// === impl Counts ===

impl Counts {
    /// One more notification was for nobody; how many that makes.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped_more(1)
    }

    /// So many more notifications found no room; how many that makes.
    pub(crate) fn dropped_more(&self, more: u64) -> u64 {
        self.dropped.fetch_add(more, Ordering::Relaxed) + more
    }

    /// One more question was refused; how many that makes.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// One more child was ended because it did not answer.
    pub(crate) fn hung(&self) {
        self.hung.fetch_add(1, Ordering::Relaxed);
    }

    /// All three: dropped, refused, hung.
    pub(crate) fn all(&self) -> (u64, u64, u64) {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        (read(&self.dropped), read(&self.refused), read(&self.hung))
    }
}
