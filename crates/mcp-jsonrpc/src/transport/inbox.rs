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
        Arc::new(Self::empty(max))
    }

    /// An empty one for whoever keeps it beside other things.
    pub fn empty(max: InboxMax) -> Self {
        Self { state: Mutex::new(State { max, ..State::default() }) }
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
        if state.ended || !state.has_room(event.len()) {
            state.dropped += 1;
            return Err(event);
        }
        state.add(event);
        wake(state);
        Ok(())
    }

    /// Adds an event as [`push`](Self::push) does, but where there is no room, what
    /// [nobody misses](Message::is_spare) gives way, the oldest first, and news that already wait
    /// are not said again.  Returns how many were dropped that did not wait already.
    ///
    /// # Errors
    ///
    /// The event, where it must not be lost and too much of what waits must not either, or no more
    /// is to be said.  Nothing else is dropped then.
    pub fn press(&self, event: Event) -> Result<u64, Event> {
        let mut state = self.state();
        if state.ended {
            state.dropped += 1;
            return Err(event);
        }
        let mut dropped = 0;
        if !state.has_room(event.len()) {
            match &event {
                Event::Message { message, .. } if message.is_spare() => {
                    state.dropped += 1;
                    return Ok(1);
                }
                Event::Message { message, .. } if state.says(message) => return Ok(0),
                _ => dropped = state.shed(event.len()),
            }
            if dropped == 0 {
                state.dropped += 1;
                return Err(event);
            }
        }
        state.dropped += dropped;
        state.add(event);
        wake(state);
        Ok(dropped)
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

    /// The same in its reader's own name, who goes on to read it: nobody is woken.
    pub fn close(&self, end: Result<Option<Message>, TransportError>) {
        let mut state = self.state();
        if !state.ended {
            state.ended = true;
            state.end = Some(end);
        }
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
        let next = state.next();
        if next.is_pending() {
            match &mut state.asker {
                Some(asker) => asker.clone_from(cx.waker()),
                asker => *asker = Some(cx.waker().clone()),
            }
        }
        next
    }

    /// The same for who does not wait: nobody is woken when there is more.
    pub fn next_now(&self) -> Poll<Option<Result<Event, TransportError>>> {
        self.state().next()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn next(&mut self) -> Poll<Option<Result<Event, TransportError>>> {
        if let Some(event) = self.queue.pop_front() {
            self.bytes = self.bytes.saturating_sub(event.len());
            return Poll::Ready(Some(Ok(event)));
        }
        match self.end.take() {
            Some(Ok(answer)) => Poll::Ready(answer.map(|message| Ok(Event::from(message)))),
            Some(Err(error)) => Poll::Ready(Some(Err(error))),
            None if self.ended => Poll::Ready(None),
            None => Poll::Pending,
        }
    }

    fn has_room(&self, bytes: usize) -> bool {
        self.fits(self.queue.len(), self.bytes, bytes)
    }

    /// Whether there is room for `bytes` where `len` events of `waiting` bytes wait.
    fn fits(&self, len: usize, waiting: usize, bytes: usize) -> bool {
        let InboxMax { queue_len_max, queue_bytes_max } = self.max;
        len == 0 || (len < queue_len_max && waiting.saturating_add(bytes) <= queue_bytes_max)
    }

    fn add(&mut self, event: Event) {
        self.bytes += event.len();
        self.queue.push_back(event);
    }

    /// Whether news that wait say this too.
    fn says(&self, news: &Message) -> bool {
        self.queue.iter().any(|it| match it {
            Event::Message { message, .. } => news.repeats(message),
            Event::Pause { .. } => false,
        })
    }

    /// Drops what nobody misses, the oldest first, until there is room for so many bytes; returns
    /// how many were: none where all of them would not suffice.
    fn shed(&mut self, bytes: usize) -> u64 {
        let (mut len, mut waiting, mut count) = (self.queue.len(), self.bytes, 0);
        for spare in self.queue.iter().filter(|it| is_spare(it)) {
            if self.fits(len, waiting, bytes) {
                break;
            }
            (len, waiting, count) = (len - 1, waiting.saturating_sub(spare.len()), count + 1);
        }
        if !self.fits(len, waiting, bytes) {
            return 0;
        }
        let mut left = count;
        self.queue.retain(|event| {
            let goes = 0 < left && is_spare(event);
            left -= u64::from(goes);
            !goes
        });
        self.bytes = waiting;
        count
    }
}

fn is_spare(event: &Event) -> bool {
    matches!(event, Event::Message { message, .. } if message.is_spare())
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
    use std::{
        sync::atomic::{AtomicU64, Ordering},
        task::Wake,
    };

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
    async fn what_nobody_misses_gives_way_and_news_are_said_once() {
        let said = |method: &str, n: i64| {
            Event::from(Message::notification(method, &serde_json::json!({ "n": n })).unwrap())
        };
        let (log, progress) = ("notifications/message", "notifications/progress");
        let (updated, changed) =
            ("notifications/resources/updated", "notifications/tools/list_changed");
        let inbox = Inbox::new(InboxMax { queue_len_max: 3, queue_bytes_max: 1 << 20 });
        for (method, n) in [(log, 1), (changed, 2), (progress, 3)] {
            assert_eq!(inbox.press(said(method, n)).unwrap(), 0);
        }
        assert_eq!(inbox.press(said(log, 4)).unwrap(), 1, "it is dropped itself");
        assert_eq!(inbox.press(said(changed, 2)).unwrap(), 0, "the same waits already");
        for n in [5, 6] {
            assert_eq!(inbox.press(said(updated, n)).unwrap(), 1, "another gives way");
        }
        inbox.press(said("notifications/tasks/status", 7)).unwrap_err();
        inbox.press(said(updated, 8)).unwrap_err();
        assert_eq!(inbox.press(said(updated, 6)).unwrap(), 0);
        let mut left = Vec::new();
        inbox.finish(Ok(None));
        inbox.press(said(log, 9)).unwrap_err();
        while let Some(Ok(Event::Message { message, .. })) = next(&inbox).await {
            left.push(message.method().unwrap().to_owned());
        }
        assert_eq!(left, [changed, updated, updated]);
    }

    #[tokio::test]
    async fn no_more_gives_way_than_has_to() {
        let log = |len: usize| {
            let params = serde_json::json!({ "data": "x".repeat(len) });
            Event::from(Message::notification("notifications/message", &params).unwrap())
        };
        let bytes = 10 * log(100).len();
        let inbox = Inbox::new(InboxMax { queue_len_max: 99, queue_bytes_max: bytes });
        for _ in 0..10 {
            assert_eq!(inbox.press(log(100)).unwrap(), 0);
        }
        assert_eq!(inbox.press(message(1).into()).unwrap(), 1);
        let long = Message::notification("n", &serde_json::json!({ "n": "x".repeat(2 * bytes) }));
        let long = Event::from(long.unwrap());
        assert!(bytes < inbox.press(long.clone()).unwrap_err().len(), "one waits that must not");
        let mut left = 0;
        while !inbox.is_empty() {
            left += usize::from(next(&inbox).await.is_some());
        }
        assert_eq!((left, inbox.dropped()), (10, 2), "in vain nothing gives way");
        assert_eq!(inbox.press(log(100)).unwrap(), 0);
        assert_eq!(inbox.press(long).unwrap(), 1, "alone it may be as long as it likes");
    }

    #[tokio::test]
    async fn a_reader_that_says_the_last_word_itself_is_not_woken() {
        let inbox = Inbox::new(InboxMax::default());
        struct Count(AtomicU64);
        impl Wake for Count {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        let woken = Arc::new(Count(AtomicU64::new(0)));
        let waker = Waker::from(Arc::clone(&woken));
        let count = || woken.0.load(Ordering::Relaxed);
        assert!(inbox.poll_next(&Context::from_waker(&waker)).is_pending());
        assert!(inbox.next_now().is_pending());
        inbox.push(message(1).into()).unwrap();
        assert_eq!(count(), 1, "others wake it");
        assert!(inbox.poll_next(&Context::from_waker(&waker)).is_ready());
        assert!(inbox.poll_next(&Context::from_waker(&waker)).is_pending());
        inbox.push(message(2).into()).unwrap();
        inbox.close(Ok(Some(message(3))));
        inbox.close(Ok(None));
        inbox.push(message(4).into()).unwrap_err();
        assert_eq!(count(), 2);
        for expect in [2, 3] {
            let Poll::Ready(Some(Ok(Event::Message { message: found, .. }))) = inbox.next_now()
            else {
                panic!("no message");
            };
            assert_eq!(found.as_bytes(), message(expect).as_bytes());
        }
        assert!(matches!(inbox.next_now(), Poll::Ready(None)));
        assert_eq!(count(), 2);
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
