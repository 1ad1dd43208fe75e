//! A server's life: whether it may be started now, and what went wrong last.
//!
//! Pure bookkeeping on tokio's clock; who starts and who waits is `upstream`'s affair.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use mcp_jsonrpc::transport::{ErrorKind, TransportError};
use tokio::time::Instant;

use crate::status::State;

/// When a server that fails is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restart {
    /// The pause after the second failure in a row; it doubles with each.  After the first there
    /// is none.  Until so long after that, a server that was well and cannot be reached is looked
    /// for more often: it may be restarting.
    pub backoff_min: Duration,
    /// The longest pause.
    pub backoff_max: Duration,
    /// This many failures within the window park the server, if it did no work between them.
    pub crash_loop_count: usize,
    /// The window.
    pub crash_loop_window: Duration,
}

impl Default for Restart {
    /// 500 ms doubling to 30 s; parked after 5 failures within 5 minutes.
    fn default() -> Self {
        Self {
            backoff_min: Duration::from_millis(500),
            backoff_max: Duration::from_secs(30),
            crash_loop_count: 5,
            crash_loop_window: Duration::from_secs(300),
        }
    }
}

/// How long a request waits for a server that has been well and is about to be tried again: most
/// clients give up at the first refusal.
const PATIENCE: Duration = Duration::from_secs(2);

/// How soon a server is looked for again that was well and cannot be reached; it doubles with each
/// attempt.
const SEEK_MIN: Duration = Duration::from_millis(25);

/// A server's life so far.
#[derive(Debug)]
pub(crate) struct Life {
    pub(crate) state: State,
    pub(crate) since: Instant,
    pub(crate) last_error: Option<Arc<str>>,
    pub(crate) restarts: u64,
    failures: VecDeque<Instant>,
    /// How many failures were ever noted: what began before the last of them says nothing new.
    noted: u64,
    /// How often it was looked for since the first of them.
    sought: u32,
    not_before: Instant,
    has_been_well: bool,
    policy: Restart,
    /// Why no more is opened, once that is so.
    closed: &'static str,
}

impl Life {
    pub(crate) fn new(policy: Restart) -> Self {
        let now = Instant::now();
        Self {
            state: State::Idle,
            since: now,
            last_error: None,
            restarts: 0,
            failures: VecDeque::new(),
            noted: 0,
            sought: 0,
            not_before: now,
            has_been_well: false,
            policy,
            closed: "",
        }
    }

    /// Whether the server may be tried now; if not, an error with its last words and when.
    pub(crate) fn admit(&self) -> Result<(), TransportError> {
        if self.state == State::Closed {
            let kind = ErrorKind::Unavailable { retry_after: Some(Duration::from_secs(1)) };
            return Err(TransportError::new(kind, self.closed));
        }
        let wait = self.not_before.saturating_duration_since(Instant::now());
        if wait.is_zero() { Ok(()) } else { Err(self.refusal(wait)) }
    }

    /// How long to wait before the server is tried, where that is worth a request's while that
    /// came at `since`.
    pub(crate) fn patience(&self, since: Instant) -> Option<Duration> {
        let wait = self.not_before.saturating_duration_since(Instant::now());
        let is_soon = self.not_before <= since + PATIENCE;
        let worth_it = self.has_been_well && self.state == State::Backoff && is_soon;
        (worth_it && !wait.is_zero()).then_some(wait)
    }

    /// How many failures were noted so far: for [`lost`](Self::lost) and
    /// [`not_reached`](Self::not_reached).
    pub(crate) fn noted(&self) -> u64 {
        self.noted
    }

    /// When the server may be tried again in the background; never for a parked one.
    pub(crate) fn retry_at(&self) -> Option<Instant> {
        (self.state == State::Backoff).then_some(self.not_before)
    }

    /// Nothing is opened any more; `why` is told to whoever asks.
    pub(crate) fn close(&mut self, why: &'static str) {
        if self.state != State::Closed {
            self.become_(State::Closed);
            self.closed = why;
        }
    }

    pub(crate) fn become_(&mut self, state: State) {
        if self.state != State::Closed && self.state != state {
            self.state = state;
            self.since = Instant::now();
            self.has_been_well |= state == State::Ready;
        }
    }

    /// Notes that it did what it was asked for: what it fails at from now on is another matter than
    /// what it failed at before.
    pub(crate) fn worked(&mut self) {
        self.failures.clear();
    }

    /// Nobody tries it any more, and it did not come to a start.
    pub(crate) fn untried(&mut self) {
        if self.state == State::Starting {
            self.become_(State::Idle);
        }
    }

    /// Notes a start that failed, or a death that nobody asked for.
    pub(crate) fn failed(&mut self, error: &TransportError) {
        let now = Instant::now();
        self.noted += 1;
        self.last_error = Some(error.said_of_it().to_string().into());
        self.restarts += u64::from(self.state == State::Ready);
        while self.failures.front().is_some_and(|it| self.policy.crash_loop_window < now - *it) {
            self.failures.pop_front();
        }
        if let Some(pause) = self.seek(error, now) {
            self.not_before = now + jittered(pause);
            return self.become_(State::Backoff);
        }
        self.sought = 0;
        self.failures.push_back(now);
        let in_a_row = self.failures.len();
        if self.policy.crash_loop_count <= in_a_row {
            self.failures.pop_front();
            self.not_before = now + self.policy.backoff_max;
            self.become_(State::Parked);
            return;
        }
        let doublings = u32::try_from(in_a_row.saturating_sub(2)).unwrap_or(u32::MAX).min(20);
        let pause = match in_a_row {
            0 | 1 => Duration::ZERO,
            _ => self.policy.backoff_min.saturating_mul(1 << doublings),
        };
        self.not_before = now + jittered(pause.min(self.policy.backoff_max));
        self.become_(State::Backoff);
    }

    /// How soon a server is looked for again that died just now and cannot be reached yet.  Nothing
    /// was started and nothing has died by that, so it counts as no failure.
    fn seek(&mut self, error: &TransportError, now: Instant) -> Option<Duration> {
        let died =
            self.failures.back().filter(|_| self.has_been_well && self.failures.len() == 1)?;
        let is_away = matches!(error.kind(), ErrorKind::Unavailable { .. });
        // What was reached since has died again.
        if !is_away || self.state == State::Ready || self.policy.backoff_min <= now - *died {
            return None;
        }
        let pause = SEEK_MIN.saturating_mul(1 << self.sought.min(10)).min(self.policy.backoff_min);
        self.sought += 1;
        Some(pause)
    }

    /// Notes the end of a link that nobody asked for, which was opened when so many failures had
    /// been noted.  Where others are well, so is the server.
    pub(crate) fn lost(&mut self, error: &TransportError, noted: u64, others_are_well: bool) {
        if others_are_well && self.state == State::Ready {
            self.last_error = Some(error.said_of_it().to_string().into());
            self.restarts += 1;
        } else {
            self.not_reached(error, noted);
        }
    }

    /// Notes that a way to it that was begun when so many failures had been noted came to nothing.
    ///
    /// One death ends many: all sessions over one process, and those that were being opened over
    /// it.  It counts once, for what is not known to be well again and was begun before that.
    pub(crate) fn not_reached(&mut self, error: &TransportError, noted: u64) {
        if self.state == State::Ready || self.noted <= noted {
            self.failed(error);
        }
    }

    /// The sentence about a server that has failed just now.
    pub(crate) fn failure(&self) -> TransportError {
        let wait = self.not_before.saturating_duration_since(Instant::now());
        self.refusal(wait)
    }

    /// The sentence about a server that is not tried now.
    fn refusal(&self, wait: Duration) -> TransportError {
        let secs = wait.as_secs() + 1;
        let what = match self.state {
            State::Parked => {
                format!("it failed too often; it is tried again in {secs} s, on request")
            }
            _ => format!("it failed and is tried again in {secs} s"),
        };
        let kind = ErrorKind::Unavailable { retry_after: Some(Duration::from_secs(secs)) };
        let error = TransportError::new(kind, what);
        match &self.last_error {
            Some(words) => error.hint(format!("last error: {words}")),
            None => error,
        }
    }
}

/// Up to a fifth shorter, so that servers that died together are not started together.
fn jittered(pause: Duration) -> Duration {
    let mut random = [0; 1];
    if getrandom::fill(&mut random).is_err() {
        return pause;
    }
    let [byte] = random;
    pause - pause.mul_f64(f64::from(byte) / 255.0 / 5.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error() -> TransportError {
        TransportError::new(ErrorKind::Closed, "it crashed").hint("its last words: \"ouch\"")
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_failure_costs_no_pause_and_many_park() {
        let mut life = Life::new(Restart::default());
        life.become_(State::Ready);
        life.failed(&error());
        assert_eq!(life.state, State::Backoff);
        life.admit().unwrap();
        life.failed(&error());
        let refused = life.admit().unwrap_err();
        assert_eq!(
            refused.kind(),
            &ErrorKind::Unavailable { retry_after: Some(Duration::from_secs(1)) }
        );
        assert!(refused.said().to_string().contains("ouch"), "{}", refused.said());
        for _ in 0..3 {
            tokio::time::advance(Duration::from_secs(31)).await;
            life.admit().unwrap();
            life.failed(&error());
        }
        assert_eq!((life.state, life.retry_at()), (State::Parked, None));
        tokio::time::advance(Duration::from_secs(31)).await;
        life.admit().unwrap();
        assert_eq!(life.restarts, 1);
    }

    /// So a client hears of a server that was restarted within a fraction of a second.
    #[tokio::test(start_paused = true)]
    async fn one_that_was_well_is_looked_for_often_at_first() {
        let away = TransportError::new(ErrorKind::Unavailable { retry_after: None }, "refused");
        let mut life = Life::new(Restart::default());
        life.become_(State::Ready);
        let (died, mut pauses) = (Instant::now(), Vec::new());
        life.failed(&error());
        while life.failures.len() == 1 {
            life.admit().unwrap();
            life.failed(&away);
            let pause = life.not_before - Instant::now();
            pauses.push(pause);
            assert_eq!((life.state, life.patience(Instant::now())), (State::Backoff, Some(pause)));
            tokio::time::advance(pause).await;
        }
        assert!(pauses.iter().all(|it| *it <= Duration::from_millis(500)), "{pauses:?}");
        assert!(pauses[0] <= SEEK_MIN && pauses.is_sorted(), "{pauses:?}");
        assert!((5..=8).contains(&pauses.len()), "{pauses:?}");
        assert!(died.elapsed() < Duration::from_millis(1600), "{:?}", died.elapsed());
        // From here on it is as it is with all others: four more park it.
        for _ in 0..3 {
            assert_eq!(life.state, State::Backoff);
            tokio::time::advance(Duration::from_secs(31)).await;
            life.failed(&away);
        }
        assert_eq!(life.state, State::Parked);
        // One that was never well is not looked for like that.
        let mut life = Life::new(Restart::default());
        life.failed(&away);
        life.failed(&away);
        assert_eq!(life.failures.len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_begun_before_a_failure_is_no_other_failure() {
        let mut life = Life::new(Restart::default());
        life.become_(State::Ready);
        let noted = life.noted();
        for _ in 0..20 {
            life.lost(&error(), noted, false);
            life.not_reached(&error(), noted);
        }
        life.admit().unwrap();
        // What was begun since is another matter.
        life.not_reached(&error(), life.noted());
        life.admit().unwrap_err();
        // So is what was thought to be well again: it is to be started.
        life.become_(State::Ready);
        life.lost(&error(), noted, true);
        assert_eq!(life.state, State::Ready);
        life.lost(&error(), noted, false);
        assert_eq!(life.state, State::Backoff);
    }

    #[tokio::test(start_paused = true)]
    async fn old_failures_are_forgotten() {
        let mut life = Life::new(Restart::default());
        for _ in 0..20 {
            life.failed(&error());
            tokio::time::advance(Duration::from_secs(301)).await;
            assert_eq!(life.state, State::Backoff);
        }
    }
    #[tokio::test(start_paused = true)]
    async fn one_that_works_between_its_failures_is_in_no_loop() {
        let mut life = Life::new(Restart::default());
        for _ in 0..20 {
            life.become_(State::Ready);
            life.worked();
            life.failed(&error());
            assert_eq!(life.state, State::Backoff);
            life.admit().unwrap();
        }
        for _ in 0..4 {
            life.become_(State::Ready);
            life.failed(&error());
        }
        assert_eq!(life.state, State::Parked, "to be well for a moment is not to work");
    }
}
