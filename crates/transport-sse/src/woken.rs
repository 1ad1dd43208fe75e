//! Futures that are polled when something has woken them, and not because what they are a part of
//! was woken by something else.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use futures::task::AtomicWaker;

/// A future that is polled at first, and then when something has woken it: who polls this one
/// oftener than that finds out with a look.
///
/// It is woken by way of a place of its own, where the task is to be found that polled it last.  So
/// another task may take over what one has begun.
#[derive(Debug)]
pub struct WhenWoken<F> {
    future: Pin<Box<F>>,
    place: Arc<Place>,
    waker: Waker,
}

#[derive(Debug)]
struct Place {
    /// Since it was polled last.
    is_woken: AtomicBool,
    task: AtomicWaker,
}

impl<F: Future> WhenWoken<F> {
    /// Nothing is polled yet.
    pub fn new(future: F) -> Self {
        let place = Arc::new(Place { is_woken: AtomicBool::new(true), task: AtomicWaker::new() });
        let waker = Waker::from(Arc::clone(&place));
        Self { future: Box::pin(future), place, waker }
    }

    /// Begins it here and now, whoever goes on with it.
    pub(crate) fn begin(&mut self) -> Poll<F::Output> {
        self.place.is_woken.store(false, Ordering::Release);
        self.future.as_mut().poll(&mut Context::from_waker(&self.waker))
    }
}

impl<F: Future> Future for WhenWoken<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        // First, so that nothing that wakes it meanwhile is missed.
        self.place.task.register(cx.waker());
        match self.place.is_woken.load(Ordering::Acquire) {
            true => self.begin(),
            false => Poll::Pending,
        }
    }
}

impl Wake for Place {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.is_woken.store(true, Ordering::Release);
        self.task.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, sync::Mutex};

    use tokio::sync::oneshot;
    use tokio_util::task::TaskTracker;

    use super::*;

    /// A future that counts how often it is polled, and waits for each of these.
    fn counting(
        waits: Vec<oneshot::Receiver<()>>,
        polls: &Arc<Mutex<usize>>,
    ) -> WhenWoken<impl Future<Output = ()> + use<>> {
        let polls = Arc::clone(polls);
        let mut waits = Box::pin(async move {
            for wait in waits {
                wait.await.unwrap();
            }
        });
        WhenWoken::new(poll_fn(move |cx| {
            *polls.lock().unwrap() += 1;
            waits.as_mut().poll(cx)
        }))
    }

    #[tokio::test]
    async fn what_is_over_at_once_is_over() {
        assert_eq!(WhenWoken::new(async { 7 }).begin(), Poll::Ready(7));
        assert_eq!(WhenWoken::new(async { 7 }).await, 7);
    }

    #[tokio::test]
    async fn it_is_polled_when_it_is_woken() {
        let polls = Arc::default();
        let (ends, waits): (Vec<_>, Vec<_>) = (0..3).map(|_| oneshot::channel()).unzip();
        let mut begun = counting(waits, &polls);
        assert!(begun.begin().is_pending());
        let task = TaskTracker::new().spawn(begun);
        tokio::task::yield_now().await;
        assert_eq!(*polls.lock().unwrap(), 1, "another task is no reason");
        for (at, end) in ends.into_iter().enumerate() {
            end.send(()).unwrap();
            tokio::task::yield_now().await;
            assert_eq!(*polls.lock().unwrap(), 2 + at);
        }
        task.await.unwrap();
    }

    #[tokio::test]
    async fn what_wakes_it_before_it_has_a_task_is_not_missed() {
        let polls = Arc::default();
        let (end, wait) = oneshot::channel();
        let mut begun = counting(vec![wait], &polls);
        assert!(begun.begin().is_pending());
        end.send(()).unwrap();
        begun.await;
        assert_eq!(*polls.lock().unwrap(), 2);
    }

    /// Both at once, often enough that each comes first at times.
    #[test]
    fn nothing_that_wakes_it_is_missed() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build();
        let runtime = runtime.unwrap();
        runtime.block_on(async {
            for _ in 0..2000 {
                let (end, wait) = oneshot::channel();
                let begun = counting(vec![wait], &Arc::default());
                let tasks = TaskTracker::new();
                let ending = tasks.spawn(async move { end.send(()).unwrap() });
                tasks.spawn(begun).await.unwrap();
                ending.await.unwrap();
            }
        });
    }
}
