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
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use futures::StreamExt;

use super::{Event, EventStream};

/// How many events may be left to the listener before no more are caught up with.
const LEFT_LEN_MAX: usize = 256;

/// The stream of what is said unasked, while somebody listens.
#[derive(Default)]
pub struct Ear(Mutex<Hearing>);

#[derive(Default)]
struct Hearing {
    events: Option<EventStream>,
    /// What [`Ear::catch_up`] found and could not pass on at once.
    left: VecDeque<Event>,
    listener: Option<Waker>,
    anything: bool,
}

// === impl Ear ===

impl Ear {
    /// Listens to this from now on.
    pub fn open(&self, events: EventStream) {
        let mut hearing = self.hearing();
        hearing.events = Some(events);
        hearing.anything = false;
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
            match &mut hearing.listener {
                Some(listener) => listener.clone_from(cx.waker()),
                listener => *listener = Some(cx.waker().clone()),
            }
            hearing.poll(cx, &pass)
        })
        .await
    }

    /// Passes on what has been said so far.
    ///
    /// Whatever it is, it is passed on before this returns, also by the listener, who holds the
    /// lock until it has; only what `pass` hands back is left to it.
    pub fn catch_up(&self, pass: impl Fn(Event) -> Option<Event>) {
        let mut hearing = self.hearing();
        // The stream goes on waking the listener, whoever polls it.
        let Some(listener) = hearing.listener.clone() else { return };
        // What is beyond the bound stays where it is, for the listener to hear.
        while hearing.left.len() < LEFT_LEN_MAX
            && let Poll::Ready(left) = hearing.poll(&mut Context::from_waker(&listener), &pass)
        {
            listener.wake_by_ref();
            match left {
                Some(event) => hearing.left.push_back(event),
                None => return,
            }
        }
    }

    fn hearing(&self) -> MutexGuard<'_, Hearing> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hearing {
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        pass: &impl Fn(Event) -> Option<Event>,
    ) -> Poll<Option<Event>> {
        loop {
            let Some(events) = &mut self.events else { return Poll::Ready(None) };
            let Poll::Ready(event) = events.poll_next_unpin(cx) else { return Poll::Pending };
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
