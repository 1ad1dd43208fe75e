//! The house as it stands: the door that requests come in by now, and what is moving out.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use tokio_util::task::TaskTracker;

use crate::door::Door;

/// The door of the configuration that holds now.
///
/// A request is answered by the door that it found, to its end.
#[derive(Debug)]
pub struct House {
    door: ArcSwap<Door>,
    /// Servers of earlier configurations, ending.
    pub(crate) leaving: TaskTracker,
}

// === impl House ===

impl House {
    /// A house with this door.
    pub fn new(door: Door) -> Self {
        Self { door: ArcSwap::from_pointee(door), leaving: TaskTracker::new() }
    }

    /// The door as it is now.
    pub fn door(&self) -> Arc<Door> {
        self.door.load_full()
    }

    /// Lets requests in by another door from now on.
    pub(crate) fn replace(&self, door: Arc<Door>) {
        self.door.store(door);
    }

    /// Takes no new work, lets what runs end for up to `grace`, and ends the servers, also those
    /// that are ending already.
    pub async fn shut_down(&self, grace: Duration) {
        self.leaving.close();
        tokio::join!(async { self.door().shut_down(grace).await }, self.leaving.wait());
    }
}
