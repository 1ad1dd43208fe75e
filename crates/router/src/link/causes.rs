//! Which session can have caused what a server says unasked.
//!
//! A wire of one channel does not say.  So every session that uses a shared link leaves a trace
//! on it: while a request of its runs, for a while after the answer, since servers log late, and
//! after a request that was abandoned for as long as a request may run at all, since nobody knows
//! when the server stopped to work on it.  Only where there is the trace of one session alone,
//! and a request of its runs, can what is said be its and nobody else's.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use mcp_jsonrpc::quick::QuickMap;
use tokio::time::Instant;

/// How long after an answer a server may still have something to say about it.
pub(crate) const LATE_MAX: Duration = Duration::from_secs(60);
/// How many sessions may have left a trace; beyond, nothing is attributed for a while.
const TRACES_MAX: usize = 16_384;

/// The traces on one link, by the number of the session.
#[derive(Debug)]
pub(crate) struct Causes {
    traces: Mutex<Traces>,
    /// How long a request may run.
    running_max: Duration,
}

#[derive(Debug)]
struct Traces {
    by_session: QuickMap<u64, Trace>,
    /// Until then there may be traces that are not known.
    unknown_until: Instant,
}

#[derive(Clone, Copy, Debug)]
struct Trace {
    running: usize,
    until: Instant,
}

// === impl Causes ===

impl Causes {
    pub(crate) fn new(running_max: Duration) -> Self {
        let traces = Traces { by_session: QuickMap::default(), unknown_until: Instant::now() };
        Self { traces: Mutex::new(traces), running_max }
    }

    /// A request of this session is about to be sent.
    pub(crate) fn enter(&self, session: u64) {
        let now = Instant::now();
        let mut traces = self.lock();
        if TRACES_MAX <= traces.by_session.len() && !traces.by_session.contains_key(&session) {
            traces.forget(now);
        }
        if TRACES_MAX <= traces.by_session.len() && !traces.by_session.contains_key(&session) {
            let until = now + self.running_max;
            traces.unknown_until = traces.unknown_until.max(until);
            return;
        }
        let trace = traces.by_session.entry(session).or_insert(Trace { running: 0, until: now });
        trace.running += 1;
    }

    /// A request of this session has been answered, or nobody waits for its answer any more.
    pub(crate) fn leave(&self, session: u64, answered: bool) {
        let rest = if answered { LATE_MAX.min(self.running_max) } else { self.running_max };
        let until = Instant::now() + rest;
        let mut traces = self.lock();
        if let Some(trace) = traces.by_session.get_mut(&session) {
            trace.running = trace.running.saturating_sub(1);
            trace.until = trace.until.max(until);
        }
    }

    /// The session with a request that runs, where nobody else can have caused what is said now.
    pub(crate) fn only(&self) -> Option<u64> {
        let now = Instant::now();
        let mut traces = self.lock();
        if now < traces.unknown_until {
            return None;
        }
        traces.forget(now);
        let mut sessions = traces.by_session.iter();
        match (sessions.next(), sessions.next()) {
            (Some((session, trace)), None) if 0 < trace.running => Some(*session),
            _ => None,
        }
    }

    /// Forgets the traces whose time is over.
    pub(crate) fn sweep(&self) {
        self.lock().forget(Instant::now());
    }

    /// How many there are.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.lock().by_session.len()
    }

    fn lock(&self) -> MutexGuard<'_, Traces> {
        self.traces.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Traces {
    fn forget(&mut self, now: Instant) {
        self.by_session.retain(|_, trace| 0 < trace.running || now < trace.until);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[tokio::test(start_paused = true)]
    async fn a_trace_outlasts_its_request() {
        let causes = Causes::new(HOUR);
        assert_eq!(causes.only(), None);
        causes.enter(1);
        causes.enter(1);
        assert_eq!(causes.only(), Some(1));
        causes.leave(1, true);
        tokio::time::advance(2 * LATE_MAX).await;
        assert_eq!(causes.only(), Some(1), "one still runs");
        causes.leave(1, true);
        causes.enter(2);
        assert_eq!(causes.only(), None, "it may be late");
        tokio::time::advance(LATE_MAX).await;
        assert_eq!(causes.only(), Some(2));
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_abandoned_may_run_on() {
        let causes = Causes::new(HOUR);
        causes.enter(1);
        causes.leave(1, false);
        assert_eq!(causes.only(), None, "nothing is known to run");
        causes.enter(2);
        tokio::time::advance(HOUR - Duration::from_secs(1)).await;
        assert_eq!(causes.only(), None);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(causes.only(), Some(2));
    }

    #[tokio::test(start_paused = true)]
    async fn of_too_many_nothing_is_known() {
        let causes = Causes::new(HOUR);
        for session in 0..=TRACES_MAX as u64 {
            causes.enter(session);
        }
        for session in 0..=TRACES_MAX as u64 {
            causes.leave(session, true);
        }
        tokio::time::advance(2 * LATE_MAX).await;
        causes.enter(7);
        assert_eq!(causes.only(), None);
        tokio::time::advance(HOUR).await;
        assert_eq!(causes.only(), Some(7));
    }
}
