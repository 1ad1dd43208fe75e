//! Who may try to reach the server, and when.

use std::sync::atomic::Ordering;

use mcp_jsonrpc::transport::{ErrorKind, TransportError};
use tokio::{sync::MutexGuard, time::Instant};
use tracing::debug;

use super::Upstream;
use crate::{server::Wire, status::State};

/// The right to try the server, until it is dropped.
pub(super) struct Trying<'a> {
    upstream: &'a Upstream,
    was_idle: bool,
    _turn: MutexGuard<'a, ()>,
}

impl Drop for Trying<'_> {
    /// Where it was given back before anything was known, nothing is being started.
    fn drop(&mut self) {
        if self.was_idle {
            self.upstream.life().untried();
        }
    }
}

impl Upstream {
    /// Waits for a server that is starting, and tries one that has failed: so that a session is
    /// not opened only to learn at its first request that there is nobody.
    pub(crate) async fn ready(&self) -> Result<(), TransportError> {
        let deadline = Instant::now() + self.options.start_timeout;
        let state = self.life().state;
        match state {
            State::Ready | State::Idle => return Ok(()),
            State::Closed => return self.admit(),
            State::Starting => {
                self.awaited.store(true, Ordering::Relaxed);
                match tokio::time::timeout_at(deadline, self.trying.lock()).await {
                    Ok(trying) => drop(trying),
                    Err(_) => return Err(self.too_slow()),
                }
            }
            State::Backoff | State::Parked => {
                self.wait_a_while(Instant::now()).await;
                self.admit()?;
                self.warm_up().await;
            }
        }
        let life = self.life();
        match life.state {
            State::Ready | State::Idle | State::Starting => Ok(()),
            _ => Err(life.failure().of(&self.name)),
        }
    }

    /// Says that it is about to be started, before anybody can ask whether it is.
    pub(crate) fn is_to_start(&self) {
        let mut life = self.life();
        if life.state == State::Idle {
            life.become_(State::Starting);
        }
    }

    pub(super) fn too_slow(&self) -> TransportError {
        let secs = self.options.start_timeout.as_secs_f32();
        let what = format!("it did not answer `initialize` within {secs} s");
        let error = TransportError::new(ErrorKind::Timeout, what).of(&self.name);
        error.hint("if it needs longer to start, raise its `startTimeout`")
    }

    /// Waits for the right to try, so long.
    pub(super) async fn turn(
        &self,
        deadline: Instant,
    ) -> Result<Option<Trying<'_>>, TransportError> {
        let turn = tokio::time::timeout_at(deadline, self.gate()).await;
        turn.unwrap_or_else(|_| Err(self.too_slow()))
    }

    /// Waits for the right to try: at once for a server that is well, in turn for one that is not.
    async fn gate(&self) -> Result<Option<Trying<'_>>, TransportError> {
        let since = Instant::now();
        loop {
            self.wait_a_while(since).await;
            self.admit()?;
            if self.life().state == State::Ready {
                return Ok(None);
            }
            let turn = self.trying.lock().await;
            let mut life = self.life();
            if life.patience(since).is_some() {
                // Whoever tried it meanwhile has failed.
                continue;
            }
            life.admit().map_err(|error| error.of(&self.name))?;
            if life.state == State::Ready {
                return Ok(None);
            }
            let was_idle = life.state == State::Idle;
            if was_idle {
                life.become_(State::Starting);
            }
            drop(life);
            return Ok(Some(Trying { upstream: self, was_idle, _turn: turn }));
        }
    }

    /// Waits until a server that has failed may be tried, where that is soon enough for a request
    /// that came at `since`.
    async fn wait_a_while(&self, since: Instant) {
        loop {
            let patience = self.life().patience(since);
            let Some(wait) = patience else { return };
            tokio::time::sleep(wait).await;
        }
    }

    /// Until when something is opened once more if it fails, where that is over a process that is
    /// there for all and was well as far as anybody knows: it may turn out to be gone, and what
    /// dies with it is no attempt to start it.
    pub(super) fn hope(&self) -> Option<Instant> {
        self.transport.is_light().then(|| self.hope_of_all()).flatten()
    }

    /// The same for what stands for all, whatever a session with a handshake costs.
    pub(super) fn hope_of_all(&self) -> Option<Instant> {
        let is_well = self.options.wire == Wire::Child && self.life().state == State::Ready;
        is_well.then(|| Instant::now() + self.options.start_timeout)
    }

    /// Whether what failed so is opened once more.
    pub(super) fn is_worth_another(&self, hope: Option<Instant>, error: &TransportError) -> bool {
        let worth_it = hope.is_some_and(|until| Instant::now() < until)
            && error.is_unsent()
            && self.admit_soon().is_ok();
        if worth_it {
            debug!(server = %self.name, %error, "it was thought to be well: once more");
        }
        worth_it
    }

    /// Whether it is worth waiting for the right to try.
    pub(super) fn admit_soon(&self) -> Result<(), TransportError> {
        let life = self.life();
        match life.patience(Instant::now()) {
            Some(_) => Ok(()),
            None => life.admit().map_err(|error| error.of(&self.name)),
        }
    }

    fn admit(&self) -> Result<(), TransportError> {
        self.life().admit().map_err(|error| error.of(&self.name))
    }
}
