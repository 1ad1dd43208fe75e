//! An alarm for what is mostly not late: set once, moved when it rings, and asked with a look.

use std::{
    pin::Pin,
    task::{Context, Poll, Waker},
};

use tokio::time::{Instant, Sleep};

/// Says when a moment has come that is put off again and again.
///
/// Its timer is set no later than that moment, and left to ring: most are early then.
#[derive(Debug, Default)]
pub struct Alarm(Option<Set>);

#[derive(Debug)]
struct Set {
    timer: Pin<Box<Sleep>>,
    /// Whom it wakes, as soon as it has been asked.
    wakes: Option<Waker>,
}

impl Alarm {
    /// Whether this moment has come; else whoever asks is woken then, or before.
    pub fn poll(&mut self, cx: &mut Context<'_>, until: Instant) -> Poll<()> {
        let set = self.0.get_or_insert_with(|| Set {
            timer: Box::pin(tokio::time::sleep_until(until)),
            wakes: None,
        });
        if until < set.timer.deadline() {
            set.timer.as_mut().reset(until);
            set.wakes = None;
        }
        // It knows whom to wake, and has not yet.
        if !set.timer.is_elapsed() && set.wakes.as_ref().is_some_and(|it| it.will_wake(cx.waker()))
        {
            return Poll::Pending;
        }
        while set.timer.as_mut().poll(cx).is_ready() {
            if until <= set.timer.deadline() {
                self.0 = None;
                return Poll::Ready(());
            }
            set.timer.as_mut().reset(until);
        }
        match &mut set.wakes {
            Some(wakes) => wakes.clone_from(cx.waker()),
            wakes => *wakes = Some(cx.waker().clone()),
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, time::Duration};

    use futures::FutureExt;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn it_rings_when_the_moment_has_come_that_was_named_last() {
        let (mut alarm, began) = (Alarm::default(), Instant::now());
        assert!(poll_fn(|cx| alarm.poll(cx, began + 10 * SECOND)).now_or_never().is_none());
        // Later, and sooner, each asked twice.
        for secs in [20, 30, 5] {
            let mut asked = 0;
            poll_fn(|cx| {
                asked += 1;
                match alarm.poll(cx, began + secs * SECOND) {
                    Poll::Pending => alarm.poll(cx, began + secs * SECOND),
                    rung => rung,
                }
            })
            .await;
            assert!(asked <= 3, "{asked}");
            assert_eq!(began.elapsed(), secs.max(if secs == 5 { 30 } else { 0 }) * SECOND);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn another_who_asks_is_woken_too() {
        let (mut alarm, began) = (Alarm::default(), Instant::now());
        let until = began + SECOND;
        for _ in 0..3 {
            assert!(poll_fn(|cx| alarm.poll(cx, until)).now_or_never().is_none());
        }
        poll_fn(|cx| alarm.poll(cx, until)).await;
        assert_eq!(began.elapsed(), SECOND);
        // And it can be set again.
        poll_fn(|cx| alarm.poll(cx, until + SECOND)).await;
        assert_eq!(began.elapsed(), 2 * SECOND);
    }
}
