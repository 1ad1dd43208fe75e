//! Connections to one server that wait for their next request.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use tokio::{runtime::Handle, time::Instant};
use tokio_util::task::TaskTracker;

use super::connection::Connection;

/// How many connections wait, and for how long.
#[derive(Clone, Copy, Debug)]
pub(super) struct IdleMax {
    pub(super) count_max: usize,
    pub(super) timeout: Duration,
}

/// Connections to one server that wait for their next request.
///
/// The one used last is used next, so that those too many grow old, and are closed by a task that
/// lives as long as any waits.
#[derive(Debug)]
pub(super) struct Idle {
    max: IdleMax,
    state: Mutex<State>,
    tasks: TaskTracker,
}

type Waiting = VecDeque<(Instant, Box<Connection>)>;

#[derive(Debug, Default)]
struct State {
    /// The one that waits longest is in front.
    waiting: Waiting,
    is_watched: bool,
}

// === impl Idle ===

impl Idle {
    pub(super) fn new(max: IdleMax) -> Self {
        Self { max, state: Mutex::default(), tasks: TaskTracker::new() }
    }

    /// Takes a connection that can be used, if there is one.
    pub(super) fn take(&self) -> Option<Box<Connection>> {
        loop {
            let (since, connection) = self.state().waiting.pop_back()?;
            if since.elapsed() < self.max.timeout && connection.is_usable() {
                return Some(connection);
            }
        }
    }

    /// Lets a connection wait.  Where too many do, the one that has longest is closed.
    pub(super) fn put(self: &Arc<Self>, connection: Box<Connection>) {
        // Without a runtime there is nobody to use it, nor to close it in time.
        let Ok(runtime) = Handle::try_current() else { return };
        if self.max.count_max == 0 {
            return;
        }
        let mut state = self.state();
        let one_too_many = match state.waiting.len() < self.max.count_max {
            true => None,
            false => state.waiting.pop_front(),
        };
        state.waiting.push_back((Instant::now(), connection));
        let is_watched = std::mem::replace(&mut state.is_watched, true);
        drop(state);
        drop(one_too_many);
        if !is_watched {
            self.tasks.spawn_on(watch(Arc::downgrade(self), self.max.timeout), &runtime);
        }
    }

    /// Takes those out that have waited for too long; returns when the next will have, if any
    /// waits at all.
    fn expire(&self) -> (Waiting, Option<Instant>) {
        let mut state = self.state();
        let now = Instant::now();
        let is_young = |since: Instant| now < since + self.max.timeout;
        let old = state.waiting.iter().take_while(|(since, _)| !is_young(*since)).count();
        let young = state.waiting.split_off(old);
        let expired = std::mem::replace(&mut state.waiting, young);
        let next = state.waiting.front().map(|(since, _)| *since + self.max.timeout);
        state.is_watched = next.is_some();
        (expired, next)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Closes what waits for too long, until nothing waits.
async fn watch(idle: Weak<Idle>, timeout: Duration) {
    let mut next = Instant::now() + timeout;
    loop {
        tokio::time::sleep_until(next).await;
        let Some(idle) = idle.upgrade() else { return };
        let (expired, end) = idle.expire();
        drop(expired);
        let Some(end) = end else { return };
        next = end;
    }
}
