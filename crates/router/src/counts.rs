//! What was not passed on, counted for each server; and whether it has been of use.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use mcp_jsonrpc::{Message, modern};

/// What of a server's words reached nobody.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    dropped: AtomicU64,
    refused: AtomicU64,
    hung: AtomicU64,
    /// Whether it has done any work since it last failed.
    worked: AtomicBool,
}

/// Whether a request is for what a server is there for, and not about the server: one that can say
/// what it has, and fails at the first thing it is to do, does no work.
pub(crate) fn is_work(request: &Message) -> bool {
    let method = request.method().unwrap_or_default();
    !(method.ends_with("/list")
        || matches!(
            method,
            "ping"
                | "initialize"
                | "logging/setLevel"
                | "resources/subscribe"
                | "resources/unsubscribe"
                | modern::DISCOVER
                | modern::LISTEN
        ))
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

    /// It has done what somebody asked of it.
    pub(crate) fn worked(&self) {
        // Mostly it has before: nobody else's cache need hear of it.
        if !self.worked.load(Ordering::Relaxed) {
            self.worked.store(true, Ordering::Relaxed);
        }
    }

    /// Whether it has since this was last asked.
    pub(crate) fn take_worked(&self) -> bool {
        self.worked.swap(false, Ordering::Relaxed)
    }

    /// All three: dropped, refused, hung.
    pub(crate) fn all(&self) -> (u64, u64, u64) {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        (read(&self.dropped), read(&self.refused), read(&self.hung))
    }
}
