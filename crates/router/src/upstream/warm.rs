//! Children that are started before anybody needs them.
//!
//! A warm child has been started and not yet spoken to: whoever comes first greets it, in any
//! words, so one will do for every client.  What is saved is what a program needs until it reads
//! its input: for most, by far the longest part of its start.

use std::{
    collections::VecDeque,
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use mcp_jsonrpc::transport::{Caller, TransportError};
use tokio::time::Instant;
use tracing::debug;

use super::{Seat, Upstream, opening_of};
use crate::{
    places::Place,
    server::{Startup, Wire},
    status::State,
};

/// How long it takes until a child that ended before anybody spoke to it is replaced: doubled each
/// time, until one is taken.
const AGAIN_MIN: Duration = Duration::from_secs(1);
const AGAIN_MAX: Duration = Duration::from_secs(300);

/// Those that wait.
#[derive(Debug, Default)]
pub(super) struct Warm(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    seats: VecDeque<Seat>,
    starting: usize,
    /// The pause after the next one that ends by itself.
    again: Duration,
    not_before: Option<Instant>,
    last_taken: Option<Instant>,
}

// === impl Warm ===

impl Warm {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes one that still runs.
    fn take(&self) -> Option<Seat> {
        let mut waiting = self.lock();
        waiting.last_taken = Some(Instant::now());
        while let Some(seat) = waiting.seats.pop_front() {
            if seat.behind.as_ref().is_some_and(|behind| behind.is_open()) {
                waiting.again = Duration::ZERO;
                return Some(seat);
            }
        }
        None
    }

    /// Takes out all of them.
    pub(super) fn drain(&self) -> VecDeque<Seat> {
        mem::take(&mut self.lock().seats)
    }

    /// Takes out those that have ended by themselves.
    fn drain_ended(&self) -> Vec<Seat> {
        let mut waiting = self.lock();
        let (open, ended): (Vec<_>, Vec<_>) = mem::take(&mut waiting.seats)
            .into_iter()
            .partition(|seat| seat.behind.as_ref().is_some_and(|behind| behind.is_open()));
        waiting.seats = open.into();
        if !ended.is_empty() {
            waiting.pause();
        }
        ended
    }
}

impl Waiting {
    fn pause(&mut self) {
        self.again = (self.again * 2).clamp(AGAIN_MIN, AGAIN_MAX);
        self.not_before = Some(Instant::now() + self.again);
    }
}

impl Seat {
    /// Ends what was started, and gives the place back.
    pub(super) async fn vacate(self) {
        if let Some(behind) = &self.behind {
            behind.close().await;
        }
    }
}

impl Upstream {
    /// A place for a link: with a warm child in it, or an empty one, which may have to be waited
    /// for.
    pub(super) async fn seat(&self, caller: &Caller) -> Result<Seat, TransportError> {
        if self.transport.is_light() {
            return Ok(Seat { place: Place::of_none(), behind: None });
        }
        if let Some(seat) = self.warm.take() {
            self.refill();
            return Ok(seat);
        }
        if let Some(place) = self.places.try_take() {
            self.refill();
            return Ok(Seat { place, behind: None });
        }
        // It may be that none is needed, and only the server can tell.
        self.transport.settle(caller).await;
        if self.transport.is_light() {
            return Ok(Seat { place: Place::of_none(), behind: None });
        }
        self.make_room().await;
        let taken = self.places.take().await;
        let place = taken.map_err(|error| error.of(&self.name))?;
        Ok(Seat { place, behind: None })
    }

    /// What nobody uses makes room for who needs it.
    pub(super) async fn make_room(&self) {
        if let Some(link) = self.pool.take_idlest().or_else(|| self.take_standing_idle()) {
            self.give_up(link).await;
        } else if let Some(seat) = self.warm.take() {
            seat.vacate().await;
        }
    }

    /// Starts as many as there are to be and are not.
    pub(super) fn refill(&self) {
        let Some(me) = self.me.upgrade() else { return };
        if self.options.wire != Wire::Child
            || self.life().state != State::Ready
            || self.transport.is_light()
        {
            return;
        }
        let now = Instant::now();
        let mut waiting = self.warm.lock();
        let missing =
            self.options.warm_count.saturating_sub(waiting.seats.len() + waiting.starting);
        if missing == 0 || waiting.not_before.is_some_and(|it| now < it) {
            return;
        }
        for _ in 0..missing {
            let Some(place) = self.places.try_take() else { return };
            waiting.starting += 1;
            let me = std::sync::Arc::clone(&me);
            self.tasks.spawn(async move {
                let opened = me.transport.open(opening_of(&Caller::anonymous())).await;
                // It may have turned out only now that none is needed.
                let is_needed = !me.transport.is_light();
                let mut waiting = me.warm.lock();
                waiting.starting -= 1;
                // Looked at in here: what is put in before it closes is drained after that.
                let closed = me.life().state == State::Closed;
                match opened {
                    Ok(behind) if !closed && is_needed => {
                        waiting.seats.push_back(Seat { place, behind: Some(behind) });
                    }
                    // Dropped, it ends.
                    Ok(_) => (),
                    Err(error) => {
                        waiting.pause();
                        debug!(server = %me.name, %error, "no warm child");
                    }
                }
            });
        }
    }

    /// Replaces those that have ended, and ends all where nobody has needed one for long.
    pub(super) async fn sweep_warm(&self) {
        for seat in self.warm.drain_ended() {
            seat.vacate().await;
        }
        let idle = self.options.startup == Startup::Lazy && {
            let last = self.warm.lock().last_taken;
            last.is_none_or(|last| self.options.link_idle_timeout <= last.elapsed())
        };
        if !idle {
            return self.refill();
        }
        for seat in self.warm.drain() {
            seat.vacate().await;
        }
    }
}
