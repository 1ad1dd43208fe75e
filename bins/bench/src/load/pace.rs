//! The open loop: calls are due at a rate, whether those before are answered or not.
//!
//! A call's time counts from when it was due: one that had to wait for the call before it in its
//! session has waited for the server.  Whoever is too slow for the rate is found out, and not
//! spared by being asked less often.

use std::{sync::Arc, thread, time::Duration};

use tokio::{
    sync::mpsc::{self, Receiver, Sender, error::TrySendError},
    time::Instant,
};

use super::Board;
use crate::{
    client::Session,
    error::{Failure, Result},
    rpc::Ask,
    stats::Histogram,
};

/// So many calls of one session may be due and not yet sent; beyond that the rate is too high.
const DUE_MAX: usize = 256;

/// A call that is due.
#[derive(Clone, Copy, Debug)]
pub(super) struct Due {
    at: Instant,
    counts: bool,
}

/// Says when calls are due, in one session after the other.
#[derive(Debug)]
pub(super) struct Pace {
    /// From one call to the next.
    step: Duration,
    sessions: Vec<Sender<Due>>,
}

impl Pace {
    /// So many calls a second over so many sessions, and where each hears of its own.
    pub(super) fn new(rate: f64, sessions: usize) -> (Self, Vec<Receiver<Due>>) {
        let (senders, receivers) = (0..sessions).map(|_| mpsc::channel(DUE_MAX)).unzip();
        (Self { step: Duration::from_secs_f64(1.0 / rate), sessions: senders }, receivers)
    }

    /// Starts, in a thread of its own: no call that takes long delays the next one's time.  Ends
    /// with the load, or as soon as a session is too far behind.
    pub(super) fn start(self, board: Arc<Board>) -> Result<()> {
        let run = move || self.run(&board);
        thread::Builder::new()
            .name("pace".to_owned())
            .spawn(run)
            .map(drop)
            .map_err(Failure::io("a thread"))
    }

    fn run(self, board: &Board) {
        let mut due = Instant::now();
        for session in self.sessions.iter().cycle() {
            loop {
                if board.stopped() {
                    return;
                }
                let early = due.saturating_duration_since(Instant::now());
                if early.is_zero() {
                    break;
                }
                thread::park_timeout(early);
            }
            match session.try_send(Due { at: due, counts: board.recording() }) {
                Ok(()) => due += self.step,
                Err(TrySendError::Full(_)) => return board.fell_behind(),
                // The session has failed, and says why at the end.
                Err(TrySendError::Closed(_)) => return,
            }
        }
    }
}

/// Asks when it is due, until nothing is due any more.
pub(super) async fn ask(
    mut session: Session,
    nth: usize,
    ask: Ask,
    mut due: Receiver<Due>,
    board: Arc<Board>,
) -> Result<Histogram> {
    let (mut latencies, mut id) = (Histogram::default(), 0);
    while let Some(due) = due.recv().await {
        id += 1;
        let call = session.write(&ask, nth, id);
        session.call(&call).await?;
        if due.counts {
            let waited = due.at.elapsed().as_nanos();
            latencies.record(u64::try_from(waited).unwrap_or(u64::MAX));
        }
        board.answered();
        if board.is_behind() {
            return Err(Failure::Peer(format!(
                "too slow for this rate: {DUE_MAX} calls of one session waited to be sent"
            )));
        }
    }
    session.close().await?;
    Ok(latencies)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_due_in_turn_at_the_rate_until_somebody_is_too_slow() {
        let (pace, mut sessions) = Pace::new(1_000_000.0, 2);
        let board = Arc::new(Board::default());
        pace.run(&board);
        assert!(board.is_behind(), "nobody reads: it ends by itself");
        let all: Vec<Vec<Instant>> = sessions
            .iter_mut()
            .map(|it| std::iter::from_fn(|| it.try_recv().ok().map(|due| due.at)).collect())
            .collect();
        assert_eq!((all[0].len(), all[1].len()), (DUE_MAX, DUE_MAX));
        assert_eq!(all[1][0] - all[0][0], Duration::from_micros(1));
        assert_eq!(all[0][DUE_MAX - 1] - all[0][0], Duration::from_micros(2 * 255));
    }
}
