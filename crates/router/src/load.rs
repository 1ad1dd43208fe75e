//! What a link is carrying, counted, so that one that is to be closed can be closed when it
//! carries nothing more.

use std::{
    fmt,
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{sync::Notify, time::Instant};

use crate::link::Link;

/// Set in the count once nothing more is taken.
const CLOSED: usize = 1 << (usize::BITS - 1);
/// Set in it while somebody waits for its end.
const AWAITED: usize = CLOSED >> 1;
/// All else of it is the count.
const MARKS: usize = CLOSED | AWAITED;

/// How much is being carried, and whether more is taken.
#[derive(Default)]
pub(crate) struct Load {
    count: AtomicUsize,
    less: Notify,
}

/// A link that carries something for as long as this is held.
#[derive(Debug)]
pub(crate) struct Carried(Arc<Link>);

// === impl Load ===

impl Load {
    /// How much is being carried.
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Acquire) & !MARKS
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.count.load(Ordering::Acquire) & CLOSED != 0
    }

    /// Takes nothing more, if nothing is carried; whether that is so.
    pub(crate) fn close_if_idle(&self) -> bool {
        let close = |count: usize| (count & !AWAITED == 0).then_some(count | CLOSED);
        self.count.fetch_update(Ordering::AcqRel, Ordering::Acquire, close).is_ok()
    }

    /// Takes nothing more as soon as nothing is carried, or at the deadline; whether all that was
    /// carried came to its end.
    pub(crate) async fn close(&self, deadline: Instant) -> bool {
        self.count.fetch_or(AWAITED, Ordering::AcqRel);
        let quiet = async {
            loop {
                let less = self.less.notified();
                tokio::pin!(less);
                // Before the look, so that no end is missed.
                less.as_mut().enable();
                let none = self.count.compare_exchange(
                    AWAITED,
                    MARKS,
                    Ordering::AcqRel,
                    Ordering::Acquire,
                );
                if matches!(none, Ok(_) | Err(MARKS)) {
                    return;
                }
                less.await;
            }
        };
        let in_time = tokio::time::timeout_at(deadline, quiet).await.is_ok();
        self.count.fetch_or(CLOSED, Ordering::AcqRel);
        in_time
    }
}

impl fmt::Debug for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.count.load(Ordering::Relaxed);
        let (count, closed) = (count & !MARKS, count & CLOSED != 0);
        f.debug_struct("Load").field("count", &count).field("closed", &closed).finish()
    }
}

// === impl Carried ===

impl Carried {
    /// Takes the link for one exchange; none where it takes no more.
    pub(crate) fn by(link: Arc<Link>) -> Option<Self> {
        let before = link.load.count.fetch_add(1, Ordering::AcqRel);
        // Dropped, and so counted out again, where it is closed.
        let carried = Self(link);
        (before & CLOSED == 0).then_some(carried)
    }
}

impl Deref for Carried {
    type Target = Arc<Link>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl Drop for Carried {
    fn drop(&mut self) {
        let load = &self.0.load;
        let before = load.count.fetch_sub(1, Ordering::AcqRel);
        if before & !MARKS == 1 && before & AWAITED != 0 {
            load.less.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn who_gives_up_waiting_leaves_it_as_it_was() {
        let load = Load::default();
        load.count.fetch_add(1, Ordering::AcqRel);
        let far = Instant::now() + std::time::Duration::from_secs(3600);
        assert!(load.close(far).now_or_never().is_none());
        assert_eq!((load.count(), load.is_closed(), load.close_if_idle()), (1, false, false));
        load.count.fetch_sub(1, Ordering::AcqRel);
        assert!(load.close_if_idle());
        assert_eq!((load.count(), load.is_closed()), (0, true));
        assert!(load.close(far).await, "it is closed already");
    }
}
