//! What waits to go down one client's stream.

use std::{
    collections::VecDeque,
    future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use futures::{Stream, stream};
use mcp_jsonrpc::transport::{Event, InboxMax};
use tokio_util::sync::CancellationToken;

use crate::{stream::Chunk, wire};

/// What waits to go down one client's stream: bounded in events and bytes.
///
/// Whoever writes into it never waits.  A reader that is so slow that there is no room left loses
/// its stream as a whole, and is told so, rather than an answer without a word.
#[derive(Debug)]
pub(crate) struct Outbox {
    state: Mutex<State>,
    max: InboxMax,
    /// Cancelled when nobody reads any more, or nothing more will be said.
    over: CancellationToken,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Event>,
    bytes: usize,
    ended: bool,
    /// Why it ended, for the reader.
    last_words: Option<String>,
    reader: Option<Waker>,
}

/// There was no room: the stream is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Overflow;

impl Outbox {
    /// An empty one.
    pub(crate) fn new(max: InboxMax) -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), max, over: CancellationToken::new() })
    }

    /// Adds an event.  What is said to a stream that is over is dropped: nobody can hear it.
    ///
    /// One event is taken however long it is, so that the bound in bytes never stops a message
    /// which is allowed by itself.
    pub(crate) fn push(&self, event: Event) -> Result<(), Overflow> {
        let bytes = match &event {
            Event::Message { message, .. } => message.as_bytes().len(),
            Event::Pause { .. } => 0,
        };
        let mut state = self.state();
        if state.ended {
            return Ok(());
        }
        let full = self.max.queue_len_max <= state.queue.len()
            || self.max.queue_bytes_max < state.bytes + bytes;
        if full && !state.queue.is_empty() {
            return Err(Overflow);
        }
        state.bytes += bytes;
        state.queue.push_back(event);
        wake(state);
        Ok(())
    }

    /// Ends the stream: what waits is dropped, and the reader is told why.
    pub(crate) fn end(&self, last_words: impl Into<String>) {
        let mut state = self.state();
        if !state.ended {
            state.ended = true;
            state.last_words = Some(last_words.into());
            state.queue = VecDeque::new();
            state.bytes = 0;
        }
        wake(state);
        self.over.cancel();
    }

    /// Whether the stream is over.
    pub(crate) fn is_over(&self) -> bool {
        self.over.is_cancelled()
    }

    /// Resolves when the stream is over, whoever ended it.
    pub(crate) async fn over(&self) {
        self.over.cancelled().await;
    }

    /// The stream for its one reader.  Dropping it ends the box.
    pub(crate) fn read(self: Arc<Self>) -> impl Stream<Item = Chunk> + Send + 'static {
        let guard = Reader(self);
        stream::unfold(guard, async |guard| {
            let chunk = future::poll_fn(|cx| guard.0.poll_next(cx)).await?;
            Some((chunk, guard))
        })
    }

    fn poll_next(&self, cx: &Context<'_>) -> Poll<Option<Chunk>> {
        let mut state = self.state();
        if let Some(event) = state.queue.pop_front() {
            if let Event::Message { message, .. } = &event {
                state.bytes = state.bytes.saturating_sub(message.as_bytes().len());
            }
            return Poll::Ready(Some(Chunk::Event(event)));
        }
        if let Some(words) = state.last_words.take() {
            return Poll::Ready(Some(Chunk::Encoded(wire::encode_comment(&words))));
        }
        if state.ended {
            return Poll::Ready(None);
        }
        match &mut state.reader {
            Some(reader) => reader.clone_from(cx.waker()),
            reader => *reader = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wake(mut state: MutexGuard<'_, State>) {
    let reader = state.reader.take();
    drop(state);
    if let Some(reader) = reader {
        reader.wake();
    }
}

struct Reader(Arc<Outbox>);

impl Drop for Reader {
    fn drop(&mut self) {
        self.0.end("nobody reads it any more");
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, StreamExt};
    use mcp_jsonrpc::Message;

    use super::*;

    fn event(text: &str) -> Event {
        Message::notification("n", &serde_json::json!({ "text": text })).unwrap().into()
    }

    fn small(queue_len_max: usize, queue_bytes_max: usize) -> Arc<Outbox> {
        Outbox::new(InboxMax { queue_len_max, queue_bytes_max })
    }

    #[tokio::test]
    async fn events_then_last_words_then_the_end() {
        let outbox = small(2, 1 << 20);
        let mut reading = Box::pin(Arc::clone(&outbox).read());
        assert!(reading.next().now_or_never().is_none());
        outbox.push(event("a")).unwrap();
        assert!(matches!(reading.next().await, Some(Chunk::Event(_))));
        outbox.end("because");
        let Some(Chunk::Encoded(bytes)) = reading.next().await else { panic!("no last words") };
        assert_eq!(bytes, ": because\n\n");
        assert!(reading.next().await.is_none());
        outbox.over().await;
    }

    #[test]
    fn full_is_said_not_dropped() {
        let outbox = small(2, 1 << 20);
        outbox.push(event("a")).unwrap();
        outbox.push(event("b")).unwrap();
        assert_eq!(outbox.push(event("c")), Err(Overflow));

        let outbox = small(9, 100);
        outbox.push(event(&"x".repeat(500))).unwrap();
        assert_eq!(outbox.push(event("y")), Err(Overflow));
    }

    #[tokio::test]
    async fn a_reader_that_leaves_ends_it() {
        let outbox = small(2, 100);
        drop(Arc::clone(&outbox).read());
        outbox.over().await;
        outbox.push(event("a")).unwrap();
    }
}
