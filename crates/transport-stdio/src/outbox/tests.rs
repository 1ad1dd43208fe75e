use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

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
    assert_eq!(outbox.say(&message(50), Haste::Now).await, Ok(Said::Written));
    let mut read = [0; 51];
    peer.read_exact(&mut read).await.unwrap();
    assert_eq!(read, *[message(50).as_bytes(), b"\n".as_slice()].concat());
}

#[tokio::test]
async fn what_it_does_not_take_waits_and_comes_in_order() {
    let (outbox, mut peer) = outbox(&LIMITS);
    for len in [50, 51, 52] {
        assert!(matches!(outbox.say(&message(len), Haste::Now).await, Ok(Said::Queued(..))));
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
        assert!(matches!(outbox.say(&message(50), Haste::Now).await, Ok(Said::Queued(..))));
    }
    let before = Instant::now();
    assert_eq!(outbox.say(&message(50), Haste::Now).await, Err(Unsaid::Timeout));
    assert_eq!(before.elapsed(), LIMITS.write_timeout);
    assert_eq!(outbox.waiting(), 3);
}

#[tokio::test(start_paused = true)]
async fn the_queue_is_bounded_in_bytes_but_one_message_always_passes() {
    let (outbox, _peer) = outbox(&LIMITS);
    assert!(matches!(outbox.say(&message(1000), Haste::Now).await, Ok(Said::Queued(..))));
    assert_eq!(outbox.say(&message(50), Haste::Now).await, Err(Unsaid::Timeout));
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_room_gets_it() {
    let (outbox, mut peer) = outbox(&LIMITS);
    for _ in 0..3 {
        outbox.say(&message(50), Haste::Now).await.unwrap();
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
        let (a, b, ()) =
            tokio::join!(outbox.say(&a, Haste::Now), outbox.say(&b, Haste::Now), reading);
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
    let Ok(Said::Queued(first, since)) = outbox.say(&message(50), Haste::Now).await else {
        panic!()
    };
    let Ok(Said::Queued(second, _)) = outbox.say(&message(50), Haste::Now).await else { panic!() };
    outbox.overdue(second, since).await;
    assert_eq!(outbox.waiting(), 1);
    let first = tokio::time::timeout(LIMITS.write_timeout * 2, outbox.overdue(first, since));
    assert!(first.await.is_err());
}

#[tokio::test]
async fn a_peer_that_is_gone_is_noticed() {
    let (outbox, peer) = outbox(&LIMITS);
    drop(peer);
    assert_eq!(outbox.say(&message(50), Haste::Now).await, Err(Unsaid::Closed));
    assert!(outbox.closed().now_or_never().is_some());
    let (_cancel, cancellations) = mpsc::channel(1);
    assert!(outbox.run(cancellations).await.is_err());
}

#[tokio::test]
async fn closing_says_what_can_be_said() {
    let (write, mut peer) = tokio::io::duplex(1 << 10);
    let outbox = Outbox::new(write, &LIMITS);
    outbox.say(&message(50), Haste::Now).await.unwrap();
    outbox.close();
    outbox.close();
    assert_eq!(outbox.say(&message(50), Haste::Now).await, Err(Unsaid::Closed));
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
    assert!(matches!(outbox.say(&message(50), Haste::Now).await, Ok(Said::Queued(..))));
    let (_cancel, cancellations) = mpsc::channel(1);
    tokio::select! {
        () = outbox.written() => (),
        ended = outbox.run(cancellations) => panic!("{ended:?}"),
    }
    outbox.close();
}

/// A stream that notes what each write to it was, as long as it takes any.
#[derive(Clone, Default)]
struct Noted(Arc<Mutex<Vec<String>>>, Arc<AtomicBool>);

impl Noted {
    fn lines(&self) -> Vec<usize> {
        self.0.lock().unwrap().iter().map(|it| it.lines().count()).collect()
    }
}

impl AsyncWrite for Noted {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.1.load(Ordering::Relaxed) {
            return Poll::Pending;
        }
        let all = bufs.iter().flat_map(|it| it.iter().copied()).collect();
        let all = String::from_utf8(all).unwrap();
        let len = all.len();
        self.0.lock().unwrap().push(all);
        Poll::Ready(Ok(len))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

const WIDE: Limits = Limits { write_queue_len_max: 99, write_queue_bytes_max: 1 << 20, ..LIMITS };

/// An outbox with its writer at work.
async fn with_writer<T>(outbox: &Outbox, test: impl Future<Output = T>) -> T {
    let (_cancel, cancellations) = mpsc::channel(1);
    let mut writer = pin!(outbox.run(cancellations));
    assert!((&mut writer).now_or_never().is_none());
    tokio::select! {
        done = test => done,
        ended = &mut writer => panic!("{ended:?}"),
    }
}

#[tokio::test]
async fn what_is_ready_to_be_said_goes_out_in_one_write_and_in_order() {
    let noted = Noted::default();
    let outbox = Outbox::new(noted.clone(), &WIDE);
    with_writer(&outbox, async {
        for len in [50, 51] {
            let said = outbox.say(&message(len), Haste::Gathered).await;
            assert!(matches!(said, Ok(Said::Queued(..))));
        }
        // What is in haste does not overtake the others.
        assert!(matches!(outbox.say(&message(52), Haste::Now).await, Ok(Said::Queued(..))));
        outbox.written().await;
        assert_eq!(outbox.say(&message(53), Haste::Now).await, Ok(Said::Written));
    })
    .await;
    assert_eq!(noted.lines(), [3, 1]);
    let text = noted.0.lock().unwrap().concat();
    assert_eq!(text.lines().map(str::len).collect::<Vec<_>>(), [50, 51, 52, 53]);
}

#[tokio::test]
async fn no_more_gathers_than_one_write_takes() {
    for (len, count) in [(50, WRITE_LEN_MAX), (GATHERED_BYTES_MAX / 4, 4)] {
        let noted = Noted::default();
        let outbox = Outbox::new(noted.clone(), &WIDE);
        with_writer(&outbox, async {
            for _ in 1..count {
                let said = outbox.say(&message(len), Haste::Gathered).await;
                assert!(matches!(said, Ok(Said::Queued(..))));
            }
            assert_eq!(outbox.say(&message(len), Haste::Gathered).await, Ok(Said::Written));
        })
        .await;
        assert_eq!(noted.lines(), [count]);
    }
}

#[tokio::test]
async fn without_a_writer_nothing_waits_for_others() {
    let noted = Noted::default();
    let outbox = Outbox::new(noted.clone(), &WIDE);
    assert_eq!(outbox.say(&message(50), Haste::Gathered).await, Ok(Said::Written));
    assert_eq!(noted.lines(), [1]);
}

#[tokio::test(start_paused = true)]
async fn what_gathered_for_a_peer_that_does_not_read_is_taken_back() {
    let noted = Noted::default();
    noted.1.store(true, Ordering::Relaxed);
    let outbox = Outbox::new(noted.clone(), &WIDE);
    with_writer(&outbox, async {
        let mut asked = Vec::new();
        for len in [50, 51] {
            match outbox.say(&message(len), Haste::Gathered).await {
                Ok(Said::Queued(number, since)) => asked.push(outbox.overdue(number, since)),
                said => panic!("{said:?}"),
            }
        }
        let before = Instant::now();
        future::join_all(asked).await;
        assert_eq!(before.elapsed(), WIDE.write_timeout);
        assert_eq!(outbox.waiting(), 0);
    })
    .await;
    assert_eq!(noted.lines(), [0; 0]);
}

#[tokio::test(start_paused = true)]
async fn what_gathered_and_is_written_is_never_overdue() {
    let outbox = Outbox::new(Noted::default(), &WIDE);
    with_writer(&outbox, async {
        let said = outbox.say(&message(50), Haste::Gathered).await;
        let Ok(Said::Queued(number, since)) = said else { panic!("{said:?}") };
        let overdue = tokio::time::timeout(WIDE.write_timeout * 2, outbox.overdue(number, since));
        assert!(overdue.await.is_err());
        assert_eq!(outbox.waiting(), 0);
    })
    .await;
}
