//! What a server says unasked, in the order in which it also answers.
//!
//! A server that logs and then answers is heard in two places: the line of log by whoever
//! listens, the answer by whoever asked.  So whoever has an answer lets all that be heard first
//! that was said before it; otherwise a call would be over before what it caused has come.

use std::{
    collections::VecDeque,
    fmt,
    future::poll_fn,
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use futures::{StreamExt, task::AtomicWaker};

use super::{Event, EventStream};

/// How many events may be left to the listener before no more are caught up with.
const LEFT_LEN_MAX: usize = 256;

/// The stream of what is said unasked, while somebody listens.
pub struct Ear {
    hearing: Mutex<Hearing>,
    bell: Arc<Bell>,
}

struct Hearing {
    events: Option<EventStream>,
    /// What [`Ear::catch_up`] found and could not pass on at once.
    left: VecDeque<Event>,
    /// Whether somebody has begun to listen.
    is_heard: bool,
    /// The bell, as the stream rings it.
    waker: Waker,
    anything: bool,
}

/// What the stream rings when there is more: mostly there is not, and whoever has an answer sees
/// that without a lock.
#[derive(Default)]
struct Bell {
    /// [`RUNG`], [`LISTENING`] or [`QUIET`].
    state: AtomicU8,
    listener: AtomicWaker,
}

/// There may be more to hear.
const RUNG: u8 = 0;
/// Somebody looks.
const LISTENING: u8 = 1;
/// All that was said has been passed on.
const QUIET: u8 = 2;

// === impl Ear ===

impl Ear {
    /// Listens to this from now on.
    pub fn open(&self, events: EventStream) {
        let mut hearing = self.hearing();
        hearing.events = Some(events);
        hearing.anything = false;
        self.bell.state.store(RUNG, Ordering::Release);
    }

    /// Whether anything was heard since it was opened.
    pub fn has_heard(&self) -> bool {
        self.hearing().anything
    }

    /// Passes on what is said, until something comes that `pass` hands back; none when all is
    /// said, or cannot be heard any more.
    pub async fn hear(&self, pass: impl Fn(Event) -> Option<Event>) -> Option<Event> {
        poll_fn(|cx| {
            let mut hearing = self.hearing();
            if let Some(event) = hearing.left.pop_front() {
                return Poll::Ready(Some(event));
            }
            // Before the look, so that no ringing is missed.
            self.bell.listener.register(cx.waker());
            hearing.is_heard = true;
            hearing.poll(&self.bell, &pass)
        })
        .await
    }

    /// Passes on what has been said so far.
    ///
    /// Whatever it is, it is passed on before this returns, also by the listener, who holds the
    /// lock until it has; only what `pass` hands back is left to it.
    pub fn catch_up(&self, pass: impl Fn(Event) -> Option<Event>) {
        if self.bell.is_quiet() {
            return;
        }
        let mut hearing = self.hearing();
        // Before that it is not polled: whoever listens is to be the first.
        if !hearing.is_heard {
            return;
        }
        // What is beyond the bound stays where it is, for the listener to hear.
        while hearing.left.len() < LEFT_LEN_MAX
            && let Poll::Ready(left) = hearing.poll(&self.bell, &pass)
        {
            self.bell.listener.wake();
            match left {
                Some(event) => hearing.left.push_back(event),
                None => return,
            }
        }
    }

    fn hearing(&self) -> MutexGuard<'_, Hearing> {
        self.hearing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Ear {
    fn default() -> Self {
        let bell = Arc::new(Bell::default());
        let hearing = Hearing {
            events: None,
            left: VecDeque::new(),
            is_heard: false,
            waker: Waker::from(Arc::clone(&bell)),
            anything: false,
        };
        Self { hearing: Mutex::new(hearing), bell }
    }
}

impl Hearing {
    fn poll(&mut self, bell: &Bell, pass: &impl Fn(Event) -> Option<Event>) -> Poll<Option<Event>> {
        loop {
            let Some(events) = &mut self.events else { return Poll::Ready(None) };
            bell.state.store(LISTENING, Ordering::Release);
            // The stream rings for the listener, whoever polls it.
            let Poll::Ready(event) = events.poll_next_unpin(&mut Context::from_waker(&self.waker))
            else {
                bell.quieten();
                return Poll::Pending;
            };
            match event {
                Some(Ok(event)) => {
                    self.anything = true;
                    if let Some(left) = pass(event) {
                        return Poll::Ready(Some(left));
                    }
                }
                // What ended it is told to the next exchange.
                Some(Err(_)) | None => {
                    drop(mem::take(&mut self.events));
                    return Poll::Ready(None);
                }
            }
        }
    }
}

// === impl Bell ===

impl Bell {
    /// Whether nothing was said since the last look found no more, and all before was passed on.
    fn is_quiet(&self) -> bool {
        self.state.load(Ordering::Acquire) == QUIET
    }

    /// Notes that there is no more to hear, unless it was rung meanwhile.
    fn quieten(&self) {
        let (from, to) = (LISTENING, QUIET);
        // If it was, that is what it says.
        _ = self.state.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire);
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.state.store(RUNG, Ordering::Release);
        self.listener.wake();
    }
}

impl fmt::Debug for Ear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ear").field("open", &self.hearing().events.is_some()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, sync::Arc};

    use futures::{FutureExt, stream};
    use serde_json::json;

    use super::*;
    use crate::{
        Message,
        transport::{Inbox, InboxMax},
    };

    fn said(method: &str) -> Event {
        Message::notification(method, &json!({})).unwrap().into()
    }

    #[tokio::test]
    async fn whoever_has_an_answer_hears_the_rest_first() {
        let inbox = Inbox::new(InboxMax::default());
        let ear = Ear::default();
        let heard = RefCell::new(Vec::new());
        let pass = |event| {
            let Event::Message { message, .. } = &event else { panic!("{event:?}") };
            let method = message.method().unwrap().to_owned();
            let left = (method == "left").then_some(event);
            heard.borrow_mut().push(method);
            left
        };
        ear.catch_up(pass);
        let reader = Arc::clone(&inbox);
        ear.open(stream::poll_fn(move |cx| reader.poll_next(cx)).boxed());
        assert!(ear.hear(pass).now_or_never().is_none());

        for method in ["a", "left", "b"] {
            inbox.push(said(method)).unwrap();
        }
        ear.catch_up(pass);
        assert_eq!(*heard.borrow(), ["a", "left", "b"]);
        assert!(matches!(ear.hear(pass).now_or_never(), Some(Some(_))), "what was left");

        // The listener is still woken, though somebody else has polled.
        let listening = ear.hear(pass);
        let speaking = async {
            tokio::task::yield_now().await;
            ear.catch_up(pass);
            inbox.push(said("c")).unwrap();
            inbox.finish(Ok(None));
        };
        assert!(tokio::join!(listening, speaking).0.is_none());
        assert_eq!(heard.borrow().last().unwrap(), "c");
        ear.catch_up(pass);
    }

    #[tokio::test]
    async fn where_nothing_was_said_nobody_looks() {
        let (inbox, ear) = (Inbox::new(InboxMax::default()), Ear::default());
        let (looks, heard) = (Arc::new(AtomicU8::new(0)), RefCell::new(0));
        let looked = || looks.swap(0, Ordering::Relaxed);
        let pass = |_| {
            *heard.borrow_mut() += 1;
            None
        };
        let open = || {
            let (reader, looks) = (Arc::clone(&inbox), Arc::clone(&looks));
            ear.open(
                stream::poll_fn(move |cx| {
                    looks.fetch_add(1, Ordering::Relaxed);
                    reader.poll_next(cx)
                })
                .boxed(),
            );
        };
        open();
        ear.catch_up(pass);
        assert_eq!(looked(), 0, "nobody has begun to listen");
        assert!(ear.hear(pass).now_or_never().is_none());
        assert_eq!(looked(), 1);
        ear.catch_up(pass);
        ear.catch_up(pass);
        assert_eq!(looked(), 0);

        inbox.push(said("a")).unwrap();
        ear.catch_up(pass);
        assert_eq!((looked(), *heard.borrow()), (2, 1));
        ear.catch_up(pass);
        assert_eq!(looked(), 0);

        // Another stream has to be looked at for the first time.
        open();
        ear.catch_up(pass);
        assert_eq!(looked(), 1);

        // It said more while it was looked at: there may be more yet.
        let rung = Arc::clone(&ear.bell);
        ear.open(
            stream::poll_fn(move |_| {
                Waker::from(Arc::clone(&rung)).wake();
                Poll::Pending
            })
            .boxed(),
        );
        ear.catch_up(pass);
        assert!(!ear.bell.is_quiet());
    }

    #[tokio::test]
    async fn as_much_is_left_as_may_be_and_nothing_is_lost() {
        let ear = Ear::default();
        let said = (0..LEFT_LEN_MAX + 10).map(|_| Ok(said("left")));
        let (open, gate) = tokio::sync::oneshot::channel::<()>();
        let said = stream::once(gate).filter_map(async |_| None).chain(stream::iter(said));
        ear.open(said.boxed());
        assert!(ear.hear(Some).now_or_never().is_none());
        open.send(()).unwrap();
        ear.catch_up(Some);
        assert_eq!(ear.hearing().left.len(), LEFT_LEN_MAX);
        let mut count = 0;
        while ear.hear(Some).await.is_some() {
            count += 1;
        }
        assert_eq!(count, LEFT_LEN_MAX + 10);
    }
}
