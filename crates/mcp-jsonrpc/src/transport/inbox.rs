//! Where what a peer says to one request waits until its asker takes it.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use super::{Event, TransportError};
use crate::Message;

/// What a peer says to one request, waiting to be taken: a bounded queue, and one answer that
/// always has room.
///
/// It costs one allocation until something comes before the answer.  Made for the one asker and
/// the one reader of a shared channel; of two askers that poll it, the last is woken.
#[derive(Debug)]
pub struct Inbox {
    state: Mutex<State>,
}

/// How much may wait in an [`Inbox`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InboxMax {
    /// How many events.
    pub queue_len_max: usize,
    /// How many bytes of messages, all events together.
    pub queue_bytes_max: usize,
}

impl Default for InboxMax {
    /// 256 events, 4 MiB.
    fn default() -> Self {
        Self { queue_len_max: 256, queue_bytes_max: 4 << 20 }
    }
}

#[derive(Debug, Default)]
struct State {
    max: InboxMax,
    queue: VecDeque<Event>,
    bytes: usize,
    dropped: u64,
    end: Option<Result<Option<Message>, TransportError>>,
    ended: bool,
    asker: Option<Waker>,
}

impl Inbox {
    /// An empty one.
    pub fn new(max: InboxMax) -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(State { max, ..State::default() }) })
    }

    /// Gives it other bounds from here on.  What waits already is kept, whatever they are.
    pub fn set_max(&self, max: InboxMax) {
        self.state().max = max;
    }

    /// Adds an event; hands it back where there is no room, or no more to be said.
    ///
    /// One event is taken however long it is, so that a bound in bytes never stops a message
    /// which is allowed by itself.
    pub fn push(&self, event: Event) -> Result<(), Event> {
        let mut state = self.state();
        let bytes = event.len();
        let fits = state.queue.is_empty()
            || (state.queue.len() < state.max.queue_len_max
                && state.bytes + bytes <= state.max.queue_bytes_max);
        if state.ended || !fits {
            state.dropped += 1;
            return Err(event);
        }
        state.bytes += bytes;
        state.queue.push_back(event);
        wake(state);
        Ok(())
    }

    /// Says the last word: an answer, an error, or that there is none.  Only the first counts.
    pub fn finish(&self, end: Result<Option<Message>, TransportError>) {
        let mut state = self.state();
        if state.ended {
            return;
        }
        state.ended = true;
        state.end = Some(end);
        wake(state);
    }

    /// How many events found no room.
    pub fn dropped(&self) -> u64 {
        self.state().dropped
    }

    /// Whether something waits to be taken.
    pub fn is_empty(&self) -> bool {
        let state = self.state();
        state.queue.is_empty() && state.end.is_none()
    }

    /// Takes the next event, and the answer after all of them; none when all is said.
    pub fn poll_next(&self, cx: &Context<'_>) -> Poll<Option<Result<Event, TransportError>>> {
        let mut state = self.state();
        if let Some(event) = state.queue.pop_front() {
            state.bytes = state.bytes.saturating_sub(event.len());
            return Poll::Ready(Some(Ok(event)));
        }
        match state.end.take() {
            Some(Ok(answer)) => Poll::Ready(answer.map(|message| Ok(Event::from(message)))),
            Some(Err(error)) => Poll::Ready(Some(Err(error))),
            None if state.ended => Poll::Ready(None),
            None => {
                match &mut state.asker {
                    Some(asker) => asker.clone_from(cx.waker()),
                    asker => *asker = Some(cx.waker().clone()),
                }
                Poll::Pending
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wake(mut state: MutexGuard<'_, State>) {
    let asker = state.asker.take();
    drop(state);
    if let Some(asker) = asker {
        asker.wake();
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, future};

    use super::*;
    use crate::transport::ErrorKind;

    fn message(n: i64) -> Message {
        Message::notification("n", &serde_json::json!({ "n": n })).unwrap()
    }

    async fn next(inbox: &Inbox) -> Option<Result<Event, TransportError>> {
        future::poll_fn(|cx| inbox.poll_next(cx)).await
    }

    #[tokio::test]
    async fn the_answer_comes_last_and_always_has_room() {
        let inbox = Inbox::new(InboxMax { queue_len_max: 2, queue_bytes_max: 1 << 20 });
        inbox.push(message(1).into()).unwrap();
        inbox.push(message(2).into()).unwrap();
        inbox.push(message(3).into()).unwrap_err();
        inbox.finish(Ok(Some(message(4))));
        inbox.finish(Err(TransportError::new(ErrorKind::Closed, "late")));
        inbox.push(message(5).into()).unwrap_err();
        for expect in [1, 2, 4] {
            let Some(Ok(Event::Message { message: found, .. })) = next(&inbox).await else {
                panic!("no message");
            };
            assert_eq!(found.as_bytes(), message(expect).as_bytes());
        }
        assert!(next(&inbox).await.is_none());
        assert_eq!(inbox.dropped(), 2);
    }

    #[tokio::test]
    async fn bytes_are_bounded_but_one_message_always_passes() {
        let inbox = Inbox::new(InboxMax { queue_len_max: 10, queue_bytes_max: 10 });
        inbox.push(message(1).into()).unwrap();
        inbox.push(message(2).into()).unwrap_err();
        assert!(next(&inbox).await.is_some());
        inbox.push(message(2).into()).unwrap();
    }

    #[tokio::test]
    async fn other_bounds_are_for_what_comes_from_then_on() {
        let inbox = Inbox::new(InboxMax { queue_len_max: 1, queue_bytes_max: 1 << 20 });
        inbox.push(message(1).into()).unwrap();
        inbox.push(message(2).into()).unwrap_err();
        inbox.set_max(InboxMax { queue_len_max: 2, queue_bytes_max: 1 << 20 });
        inbox.push(message(2).into()).unwrap();
        inbox.push(message(3).into()).unwrap_err();
        inbox.set_max(InboxMax { queue_len_max: 1, queue_bytes_max: 1 << 20 });
        for _ in [1, 2] {
            assert!(next(&inbox).await.is_some());
        }
        inbox.push(message(3).into()).unwrap();
    }

    #[tokio::test]
    async fn an_asker_is_woken() {
        let inbox = Inbox::new(InboxMax::default());
        let mut asking = Box::pin(next(&inbox));
        assert!((&mut asking).now_or_never().is_none());
        inbox.finish(Ok(None));
        assert!(asking.await.is_none());
    }
}
