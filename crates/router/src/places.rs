//! How many links a server may have at once, and who waits for one.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use mcp_jsonrpc::transport::{ErrorKind, TransportError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The places for a server's links: first come, first served.
#[derive(Debug)]
pub(crate) struct Places {
    free: Arc<Semaphore>,
    place_max: usize,
    waiting: AtomicUsize,
    queue_max: usize,
    wait_timeout: Duration,
    refused: AtomicU64,
}

/// A link's place, from before it is opened until nothing of it is left.
#[derive(Debug)]
pub(crate) struct Place(#[expect(dead_code, reason = "held")] Option<OwnedSemaphorePermit>);

/// Whoever holds it is counted among those who wait.
struct Waiting<'a>(&'a AtomicUsize);

// === impl Place ===

impl Place {
    /// That of a link which is carried by another.
    pub(crate) fn of_none() -> Self {
        Self(None)
    }
}

// === impl Places ===

impl Places {
    pub(crate) fn new(place_max: usize, queue_max: usize, wait_timeout: Duration) -> Self {
        let place_max = place_max.min(Semaphore::MAX_PERMITS);
        Self {
            free: Arc::new(Semaphore::new(place_max)),
            place_max,
            waiting: AtomicUsize::new(0),
            queue_max,
            wait_timeout,
            refused: AtomicU64::new(0),
        }
    }

    /// Takes a place if one is free and nobody waits for it.
    pub(crate) fn try_take(&self) -> Option<Place> {
        if self.waiting() > 0 {
            return None;
        }
        Arc::clone(&self.free).try_acquire_owned().ok().map(|place| Place(Some(place)))
    }

    /// Takes a place, and waits for one where there is none.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Exhausted`] where as many wait as may, or none became free in time.
    pub(crate) async fn take(&self) -> Result<Place, TransportError> {
        if let Some(place) = self.try_take() {
            return Ok(place);
        }
        let waiting = self.wait()?;
        let place = Arc::clone(&self.free).acquire_owned();
        let place = tokio::time::timeout(self.wait_timeout, place).await;
        drop(waiting);
        match place {
            Ok(Ok(place)) => Ok(Place(Some(place))),
            Ok(Err(_)) | Err(_) => {
                let secs = self.wait_timeout.as_secs_f32();
                Err(self.full(&format!("and none became free within {secs} s")))
            }
        }
    }

    fn wait(&self) -> Result<Waiting<'_>, TransportError> {
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        let waiting = Waiting(&self.waiting);
        if before < self.queue_max {
            return Ok(waiting);
        }
        Err(self.full(&format!("and {before} others wait for one")))
    }

    fn full(&self, and: &str) -> TransportError {
        self.refused.fetch_add(1, Ordering::Relaxed);
        let what = format!("{} of its processes or sessions are in use, {and}", self.place_max);
        let error = TransportError::new(ErrorKind::Exhausted, what);
        error.hint("try again when another client has left, or raise `childMax`")
    }

    /// How many places are taken.
    pub(crate) fn taken(&self) -> usize {
        self.place_max.saturating_sub(self.free.available_permits())
    }

    /// How many wait for one.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// How many were told that there is none.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_waits_is_served_in_order_and_in_time() {
        let places = Places::new(1, 2, Duration::from_secs(10));
        let first = places.take().await.unwrap();
        let mut second = Box::pin(places.take());
        let mut third = Box::pin(places.take());
        assert!((&mut second).now_or_never().is_none());
        assert!((&mut third).now_or_never().is_none());
        assert_eq!((places.taken(), places.waiting()), (1, 2));
        // The queue is full: at once.
        let error = places.take().now_or_never().unwrap().unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::Exhausted);
        assert!(error.to_string().contains("2 others wait"), "{error}");
        // A place that somebody waits for is nobody else's.
        drop(first);
        assert!(places.try_take().is_none());
        let place = second.await.unwrap();
        let began = tokio::time::Instant::now();
        let error = third.await.unwrap_err();
        assert_eq!(began.elapsed(), Duration::from_secs(10));
        assert!(error.to_string().contains("within 10 s"), "{error}");
        assert_eq!((places.waiting(), places.refused()), (0, 2));
        drop(place);
        assert_eq!(places.taken(), 0);
        places.try_take().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_waits_no_longer() {
        let places = Places::new(1, 1, Duration::from_secs(10));
        let place = places.take().await.unwrap();
        {
            let mut waiting = Box::pin(places.take());
            assert!((&mut waiting).now_or_never().is_none());
        }
        assert_eq!(places.waiting(), 0);
        drop(place);
        places.take().await.unwrap();
    }
}
