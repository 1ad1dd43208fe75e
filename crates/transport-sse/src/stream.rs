//! The body of an event stream: what is said, and keep-alive comments while nothing is.

use std::{
    collections::VecDeque,
    fmt,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use futures::{
    Stream, StreamExt,
    stream::{BoxStream, Fuse},
};
use mcp_jsonrpc::{Message, transport::Event};
use tokio::time::Instant;

use crate::{alarm::Alarm, wire};

/// How many bytes of short events are put together before they are written.
const GATHERED_LEN_MAX: usize = 16 << 10;

/// What goes down a stream.
#[derive(Clone, Debug)]
pub enum Chunk {
    /// An event, to be encoded.
    Event(Event),
    /// A message whose id is a number behind what all ids of its stream begin with.
    Numbered {
        /// What they begin with.
        prefix: Arc<str>,
        /// Which of them it is.
        seq: u64,
        /// What is said.
        message: Message,
    },
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
    alarm: Alarm,
}

impl EventBody {
    /// A body of these chunks.  Dropping it drops them.
    pub fn new(chunks: impl Stream<Item = Chunk> + Send + 'static, keep_alive: Duration) -> Self {
        Self {
            chunks: chunks.boxed().fuse(),
            encoded: VecDeque::from([wire::KEEP_ALIVE]),
            keep_alive,
            last: Instant::now(),
            alarm: Alarm::default(),
        }
    }

    /// The next bytes to write; none at the end.
    pub fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        loop {
            if let Some(encoded) = self.encoded.pop_front() {
                return Poll::Ready(Some(encoded));
            }
            match self.poll_gathered(cx) {
                Poll::Ready(true) => (),
                Poll::Ready(false) => return Poll::Ready(None),
                Poll::Pending => {
                    ready!(self.alarm.poll(cx, self.last + self.keep_alive));
                    self.encoded.push_back(wire::KEEP_ALIVE);
                }
            }
            self.last = Instant::now();
        }
    }
}

impl EventBody {
    /// Encodes what is there already, and puts it together: each piece costs whoever writes it
    /// more than its bytes.  False at the end.
    fn poll_gathered(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let mut gathered = BytesMut::new();
        let poll = loop {
            match self.chunks.poll_next_unpin(cx) {
                Poll::Ready(Some(Chunk::Event(event))) => {
                    wire::encode_onto(&event, &mut gathered, &mut self.encoded);
                }
                Poll::Ready(Some(Chunk::Numbered { prefix, seq, message })) => {
                    let id = (&*prefix, seq);
                    wire::encode_numbered(id, &message, &mut gathered, &mut self.encoded);
                }
                Poll::Ready(Some(Chunk::Encoded(bytes))) => gathered.extend_from_slice(&bytes),
                Poll::Ready(None) => break Poll::Ready(false),
                Poll::Pending => break Poll::Pending,
            }
            if GATHERED_LEN_MAX <= gathered.len() || !self.encoded.is_empty() {
                break Poll::Pending;
            }
        };
        if !gathered.is_empty() {
            self.encoded.push_back(gathered.freeze());
        }
        if self.encoded.is_empty() { poll } else { Poll::Ready(true) }
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

    fn message(len: usize) -> Message {
        Message::notification("n", &serde_json::json!({ "text": "x".repeat(len) })).unwrap()
    }

    async fn pieces(chunks: Vec<Chunk>) -> Vec<Bytes> {
        let mut body = EventBody::new(stream::iter(chunks), Duration::from_secs(15));
        let mut pieces = Vec::new();
        while let Some(piece) = future::poll_fn(|cx| body.poll_chunk(cx)).await {
            pieces.push(piece);
        }
        assert_eq!(pieces.remove(0), wire::KEEP_ALIVE);
        pieces
    }

    #[tokio::test]
    async fn what_is_there_is_one_piece() {
        let prefix = Arc::from("a.");
        let numbered = Chunk::Numbered { prefix, seq: u64::MAX, message: message(1) };
        let chunks = [message(2).into(), message(3).into()].map(Chunk::Event);
        let comment = Chunk::Encoded(wire::encode_comment("so"));
        let all = chunks.into_iter().chain([numbered, comment]).collect();
        let [piece] = &*pieces(all).await else { panic!("more than one") };
        let text = std::str::from_utf8(piece).unwrap();
        let events: Vec<_> = text.split_inclusive("\n\n").collect();
        assert_eq!(events.len(), 4, "{text}");
        assert!(events[0].contains("xx") && events[1].contains("xxx"), "{text}");
        assert!(events[2].starts_with("event: message\nid: a.18446744073709551615\ndata: {"));
        assert_eq!(events[3], ": so\n\n");
    }

    #[tokio::test]
    async fn a_piece_ends_when_it_is_long_enough() {
        let short = || Chunk::Event(message(GATHERED_LEN_MAX / 10).into());
        let long = Chunk::Event(message(GATHERED_LEN_MAX).into());
        let mut all: Vec<_> = (0..25).map(|_| short()).collect();
        all.extend([long, short()]);
        let pieces = pieces(all).await;
        // A long message is a piece of its own.
        let is_long = |it: &&Bytes| it.starts_with(b"{");
        assert_eq!(pieces.iter().filter(is_long).count(), 1);
        assert!(pieces.iter().all(|it| it.len() < GATHERED_LEN_MAX * 6 / 5));
        let text = String::from_utf8(pieces.concat()).unwrap();
        assert_eq!(text.matches("event: message\n").count(), 27);
        assert_eq!(text.split_terminator("\n\n").count(), 27);
    }
}
