//! What a process writes: however it comes, each line that is a message arrives, and nothing else.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use futures::StreamExt;
use mcp_jsonrpc::{
    Frame, Id, Kind, Message,
    transport::{Caller, Event, Exchange, InboxMax, Session},
};
use tokio::io::{AsyncRead, ReadBuf};
use transport_stdio::{Limits, pipe::Pipe};

/// Feeds any bytes to a session; the last says how they are cut, and how long a line may be.
pub fn check(input: &[u8]) {
    let last = input.last().copied().unwrap_or_default();
    let mut limits = Limits::default();
    limits.message.message_len_max = if last & 0x80 == 0 { 64 << 20 } else { 100 };
    limits.board.inbox = InboxMax { queue_len_max: usize::MAX, queue_bytes_max: usize::MAX };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let heard = runtime.expect("a runtime").block_on(hear(input, last, limits));
    assert_eq!(heard, expected(input, &limits.message));
}

/// What the session's listener hears until the stream ends.
async fn hear(input: &[u8], last: u8, limits: Limits) -> Vec<Vec<u8>> {
    let read = Cut { rest: input.to_vec(), len: usize::from(last % 32) + 1 };
    let pipe = Pipe::new("fuzz", (read, tokio::io::sink()), limits);
    let mut events = pipe.listen(None).await.expect("a listener");
    let ask = Message::request(&Id::from("a"), "ping", &serde_json::json!({}));
    let ask = Exchange::new(ask.expect("a request"), Caller::anonymous());
    let mut heard = Vec::new();
    let listening = async {
        while let Some(event) = events.next().await {
            if let Ok(Event::Message { message, .. }) = event {
                heard.push(message.as_bytes().to_vec());
            }
        }
    };
    // Whatever comes, whoever asks is answered: with the peer's answer, or with an error.
    let (answer, ()) = futures::future::join(pipe.send(ask), listening).await;
    drop(answer);
    pipe.close().await;
    heard
}

/// What a reader finds who does it the slow way.
fn expected(input: &[u8], limits: &mcp_jsonrpc::Limits) -> Vec<Vec<u8>> {
    let lines = input.split(|byte| *byte == b'\n');
    let lines = lines.filter(|line| line.len() <= limits.message_len_max);
    let frames = lines.filter_map(|line| {
        let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line).trim_ascii();
        Frame::parse_within(line.to_vec(), limits).ok()
    });
    let messages = frames.flat_map(|frame| match frame {
        Frame::One(message) => vec![message],
        Frame::Batch(messages) => messages,
    });
    let unasked = messages.filter(|message| match message.kind() {
        Kind::Request => true,
        Kind::Notification => message.method() != Some("notifications/progress"),
        Kind::Response | Kind::Error => false,
    });
    unasked.map(|message| message.as_bytes().to_vec()).collect()
}

/// Bytes that come a few at a time.
struct Cut {
    rest: Vec<u8>,
    len: usize,
}

impl AsyncRead for Cut {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let len = self.len.min(self.rest.len()).min(buf.remaining());
        buf.put_slice(&self.rest[..len]);
        self.rest.drain(..len);
        Poll::Ready(Ok(()))
    }
}
