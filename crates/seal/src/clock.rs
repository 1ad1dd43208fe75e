//! The time of day: the only clock that outlives a process.

#![expect(clippy::disallowed_types, reason = "this is the place that asks for the time of day")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

/// Tells the time of day, in whole seconds since 1970.
///
/// For what is compared with something that an earlier process wrote.  Waits are measured by
/// `tokio::time`, which never goes back.
#[derive(Clone, Debug, Default)]
pub struct Clock(Option<Arc<AtomicU64>>);

// === impl Clock ===

impl Clock {
    /// The system's.
    pub fn system() -> Self {
        Self(None)
    }

    /// One that stands still until it is [advanced](Self::advance): for tests.
    pub fn still(now: u64) -> Self {
        Self(Some(Arc::new(AtomicU64::new(now))))
    }

    /// Seconds since 1970; 0 before.
    pub fn now(&self) -> u64 {
        match &self.0 {
            Some(still) => still.load(Ordering::Relaxed),
            None => {
                let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
                since.unwrap_or_default().as_secs()
            }
        }
    }

    /// Puts a clock that stands still forward; the system's goes on as it does.
    pub fn advance(&self, by: Duration) {
        if let Some(still) = &self.0 {
            still.fetch_add(by.as_secs(), Ordering::Relaxed);
        }
    }
}
