//! Who may try to reach the server, and when.

use std::sync::atomic::Ordering;

use mcp_jsonrpc::transport::{ErrorKind, TransportError};
use tokio::time::Instant;

use super::Upstream;
use crate::status::State;

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
                let patience = self.life().patience();
                if let Some(wait) = patience {
                    tokio::time::sleep(wait).await;
                }
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
    ) -> Result<Option<tokio::sync::MutexGuard<'_, ()>>, TransportError> {
        let turn = tokio::time::timeout_at(deadline, self.gate()).await;
        turn.unwrap_or_else(|_| Err(self.too_slow()))
    }

    /// Waits for the right to try: at once for a server that is well, in turn for one that is not.
    async fn gate(&self) -> Result<Option<tokio::sync::MutexGuard<'_, ()>>, TransportError> {
        let patience = self.life().patience();
        if let Some(wait) = patience {
            tokio::time::sleep(wait).await;
        }
        self.admit()?;
        if self.life().state == State::Ready {
            return Ok(None);
        }
        let trying = self.trying.lock().await;
        self.admit()?;
        let mut life = self.life();
        if life.state == State::Ready {
            return Ok(None);
        }
        if life.state == State::Idle {
            life.become_(State::Starting);
        }
        drop(life);
        Ok(Some(trying))
    }

    /// Whether it is worth waiting for the right to try.
    pub(super) fn admit_soon(&self) -> Result<(), TransportError> {
        let life = self.life();
        match life.patience() {
            Some(_) => Ok(()),
            None => life.admit().map_err(|error| error.of(&self.name)),
        }
    }

    fn admit(&self) -> Result<(), TransportError> {
        self.life().admit().map_err(|error| error.of(&self.name))
    }
}
