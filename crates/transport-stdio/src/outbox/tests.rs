use std::sync::Arc;

use futures::FutureExt;
use tokio::io::{AsyncReadExt, DuplexStream};

use super::*;

const LIMITS: Limits = Limits {
    message: mcp_jsonrpc::Limits { message_len_max: 1 << 20, depth_max: 9, batch_len_max: 9 },
    board: mcp_jsonrpc::transport::switchboard::SwitchboardMax {
        in_flight_max: 9,
        inbox: mcp_jsonrpc::transport::InboxMax { queue_len_max: 9, queue_bytes_max: 999 },
    },
    write_queue_len_max: 3,
    write_queue_bytes_max: 200,
    write_timeout: Duration::from_secs(30),
};

/// An outbox whose peer takes 16 bytes and then has to read.
fn outbox(limits: &Limits) -> (Arc<Outbox>, DuplexStream) {
    let (write, peer) = tokio::io::duplex(16);
    (Arc::new(Outbox::new(write, limits)), peer)
}

fn message(len: usize) -> Message {
    let empty = Message::notification("n", &serde_json::json!({ "p": "" })).unwrap();
    let pad = "x".repeat(len - empty.as_bytes().len());
    Message::notification("n", &serde_json::json!({ "p": pad })).unwrap()
}

#[tokio::test]
async fn what_the_peer_takes_is_written_at_once() {
    let (write, mut peer) = tokio::io::duplex(1 << 10);
    let outbox = Outbox::new(write, &LIMITS);
    assert_eq!(outbox.say(&message(50)).await, Ok(Said::Written));
    let mut read = [0; 51];
    peer.read_exact(&mut read).await.unwrap();
    assert_eq!(read, *[message(50).as_bytes(), b"\n".as_slice()].concat());
}

#[tokio::test]
async fn what_it_does_not_take_waits_and_comes_in_order() {
    let (outbox, mut peer) = outbox(&LIMITS);
    for len in [50, 51, 52] {
        assert!(matches!(outbox.say(&message(len)).await, Ok(Said::Queued(..))));
    }
    let (_cancel, cancellations) = mpsc::channel(1);
    let read = async {
        let mut text = String::new();
        let mut piece = [0; 10];
        while text.len() < 156 {
            let len = peer.read(&mut piece).await.unwrap();
            text += std::str::from_utf8(&piece[..len]).unwrap();
        }
        text
    };
    let text = tokio::select! {
        text = read => text,
        ended = outbox.run(cancellations) => panic!("{ended:?}"),
    };
    assert_eq!(text.lines().map(str::len).collect::<Vec<_>>(), [50, 51, 52]);
    assert_eq!(outbox.waiting(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_queue_is_bounded_in_messages() {
    let (outbox, _peer) = outbox(&LIMITS);
    for _ in 0..3 {
        assert!(matches!(outbox.say(&message(50)).await, Ok(Said::Queued(..))));
    }
    let before = Instant::now();
    assert_eq!(outbox.say(&message(50)).await, Err(Unsaid::Timeout));
    assert_eq!(before.elapsed(), LIMITS.write_timeout);
    assert_eq!(outbox.waiting(), 3);
}

#[tokio::test(start_paused = true)]
async fn the_queue_is_bounded_in_bytes_but_one_message_always_passes() {
    let (outbox, _peer) = outbox(&LIMITS);
    assert!(matches!(outbox.say(&message(1000)).await, Ok(Said::Queued(..))));
    assert_eq!(outbox.say(&message(50)).await, Err(Unsaid::Timeout));
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_room_gets_it() {
    let (outbox, mut peer) = outbox(&LIMITS);
    for _ in 0..3 {
        outbox.say(&message(50)).await.unwrap();
    }
    let (_cancel, cancellations) = mpsc::channel(1);
    let (a, b) = (message(50), message(50));
    let said = async {
        let mut sink = [0; 1000];
        let reading = async {
            let mut len = 0;
            while len < 5 * 51 {
                len += peer.read(&mut sink).await.unwrap();
            }
        };
        let (a, b, ()) = tokio::join!(outbox.say(&a), outbox.say(&b), reading);
        (a.is_ok(), b.is_ok())
    };
    tokio::select! {
        said = said => assert_eq!(said, (true, true)),
        ended = outbox.run(cancellations) => panic!("{ended:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn what_has_waited_too_long_is_taken_back_unless_it_is_under_way() {
    let (outbox, _peer) = outbox(&LIMITS);
    let Ok(Said::Queued(first, since)) = outbox.say(&message(50)).await else { panic!() };
    let Ok(Said::Queued(second, _)) = outbox.say(&message(50)).await else { panic!() };
    outbox.overdue(second, since).await;
    assert_eq!(outbox.waiting(), 1);
    let first = tokio::time::timeout(LIMITS.write_timeout * 2, outbox.overdue(first, since));
    assert!(first.await.is_err());
}

#[tokio::test]
async fn a_peer_that_is_gone_is_noticed() {
    let (outbox, peer) = outbox(&LIMITS);
    drop(peer);
    assert_eq!(outbox.say(&message(50)).await, Err(Unsaid::Closed));
    assert!(outbox.closed().now_or_never().is_some());
    let (_cancel, cancellations) = mpsc::channel(1);
    assert!(outbox.run(cancellations).await.is_err());
}

#[tokio::test]
async fn closing_says_what_can_be_said() {
    let (write, mut peer) = tokio::io::duplex(1 << 10);
    let outbox = Outbox::new(write, &LIMITS);
    outbox.say(&message(50)).await.unwrap();
    outbox.close();
    outbox.close();
    assert_eq!(outbox.say(&message(50)).await, Err(Unsaid::Closed));
    let mut text = String::new();
    peer.read_to_string(&mut text).await.unwrap();
    assert_eq!(text.len(), 51);
}

/// A stream that takes one byte at a time, and no vectors.
struct Trickle(Vec<u8>, bool);

impl AsyncWrite for Trickle {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.1 = !self.1;
        if self.1 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.0.push(buf[0]);
        Poll::Ready(Ok(1))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        assert!(self.0.ends_with(b"\n"));
        assert_eq!(self.0.len(), 51);
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn a_stream_without_vectors_gets_whole_lines() {
    let outbox = Outbox::new(Trickle(Vec::new(), false), &LIMITS);
    assert!(matches!(outbox.say(&message(50)).await, Ok(Said::Queued(..))));
    let (_cancel, cancellations) = mpsc::channel(1);
    tokio::select! {
        () = outbox.written() => (),
        ended = outbox.run(cancellations) => panic!("{ended:?}"),
    }
    outbox.close();
}
