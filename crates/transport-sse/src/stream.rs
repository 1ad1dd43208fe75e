//! The body of an event stream: what is said, and keep-alive comments while nothing is.

use std::{
    collections::VecDeque,
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use futures::{
    Stream, StreamExt,
    stream::{BoxStream, Fuse},
};
use mcp_jsonrpc::transport::Event;
use tokio::time::{Instant, Sleep};

use crate::wire;

/// What goes down a stream.
#[derive(Clone, Debug)]
pub enum Chunk {
    /// An event, to be encoded.
    Event(Event),
    /// What is encoded already.
    Encoded(Bytes),
}

/// The body of an event stream.
///
/// The first comment goes out at once, so that the head does too and proxies see traffic; others
/// whenever nothing was said for the interval.
pub struct EventBody {
    chunks: Fuse<BoxStream<'static, Chunk>>,
    encoded: VecDeque<Bytes>,
    keep_alive: Duration,
    /// When something was said last.
    last: Instant,
    /// Set no later than a comment is due; it is moved when it fires, not with each event.
    timer: Pin<Box<Sleep>>,
}

impl EventBody {
    /// A body of these chunks.  Dropping it drops them.
    pub fn new(chunks: impl Stream<Item = Chunk> + Send + 'static, keep_alive: Duration) -> Self {
        Self {
            chunks: chunks.boxed().fuse(),
            encoded: VecDeque::from([wire::KEEP_ALIVE]),
            keep_alive,
            last: Instant::now(),
            timer: Box::pin(tokio::time::sleep(keep_alive)),
        }
    }

    /// The next bytes to write; none at the end.
    pub fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        loop {
            if let Some(encoded) = self.encoded.pop_front() {
                return Poll::Ready(Some(encoded));
            }
            match self.chunks.poll_next_unpin(cx) {
                Poll::Ready(Some(Chunk::Event(event))) => {
                    wire::encode_onto(&event, &mut self.encoded);
                }
                Poll::Ready(Some(Chunk::Encoded(bytes))) => self.encoded.push_back(bytes),
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => {
                    ready!(self.timer.as_mut().poll(cx));
                    let due = self.last + self.keep_alive;
                    if Instant::now() < due {
                        self.timer.as_mut().reset(due);
                        continue;
                    }
                    self.encoded.push_back(wire::KEEP_ALIVE);
                }
            }
            self.last = Instant::now();
        }
    }
}

impl fmt::Debug for EventBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventBody").field("keep_alive", &self.keep_alive).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use futures::{future, stream};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn comments_come_at_once_and_then_in_silence() {
        let (said, hear) = tokio::sync::mpsc::channel(4);
        let hear = stream::unfold(hear, async |mut hear| Some((hear.recv().await?, hear)));
        let mut body = EventBody::new(hear, Duration::from_secs(15));
        let start = Instant::now();
        let mut seen = Vec::new();
        for step in 0..5 {
            if step == 2 {
                tokio::time::sleep(Duration::from_secs(5)).await;
                said.send(Chunk::Encoded(Bytes::from_static(b"x"))).await.unwrap();
            }
            let chunk = future::poll_fn(|cx| body.poll_chunk(cx)).await.unwrap();
            seen.push((start.elapsed().as_secs(), chunk));
        }
        let comment = wire::KEEP_ALIVE;
        let x = Bytes::from_static(b"x");
        let expect = [(0, &comment), (15, &comment), (20, &x), (35, &comment), (50, &comment)];
        assert!(seen.iter().map(|(at, chunk)| (*at, chunk)).eq(expect), "{seen:?}");
        drop(said);
        assert!(future::poll_fn(|cx| body.poll_chunk(cx)).await.is_none());
    }
}
