use std::time::Duration;

use futures::StreamExt;
use mcp_jsonrpc::{
    Id, Kind, Message,
    transport::{Caller, Event, InboxMax, switchboard::SwitchboardMax},
};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream, Lines};

use super::*;

fn limits() -> Limits {
    let inbox = InboxMax { queue_len_max: 4, queue_bytes_max: 1 << 20 };
    let board = SwitchboardMax { in_flight_max: 4, inbox };
    let message = mcp_jsonrpc::Limits { message_len_max: 1 << 20, ..Default::default() };
    Limits { message, board, ..Limits::default() }
}

/// A pipe, and the peer at its other end.
struct Rig {
    pipe: Pipe,
    stdin: Lines<BufReader<DuplexStream>>,
    stdout: DuplexStream,
}

fn rig() -> Rig {
    let (stdout, read) = tokio::io::duplex(1 << 16);
    let (write, stdin) = tokio::io::duplex(1 << 16);
    let pipe = Pipe::new("test", (read, write), limits());
    Rig { pipe, stdin: BufReader::new(stdin).lines(), stdout }
}

impl Rig {
    /// Sends a request, and lets the peer say this to it.
    async fn ask(&mut self, raw: &str, answer: &str) -> Result<Reply, TransportError> {
        let send = self.pipe.send(exchange(raw));
        let peer = async {
            self.stdin.next_line().await.unwrap().unwrap();
            self.stdout.write_all(answer.as_bytes()).await.unwrap();
            self.stdout.write_all(b"\n").await.unwrap();
        };
        tokio::join!(send, peer).0
    }
}

fn exchange(raw: &str) -> Exchange {
    Exchange::new(Message::parse(raw.to_owned()).unwrap(), Caller::anonymous())
}

#[track_caller]
fn single(reply: Result<Reply, TransportError>) -> Message {
    let Ok(Reply::Single(message)) = reply else { panic!("{reply:?}") };
    message
}

const CALL: &str = r#"{"jsonrpc":"2.0","id":"a","method":"tools/call","params":{"name":"x","_meta":{"progressToken":"p"}}}"#;
const PING: &str = r#"{"jsonrpc":"2.0","id":"a","method":"ping"}"#;
const PROGRESS: &str = r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"p","progress":1}}"#;

#[tokio::test]
async fn answers_come_back_under_the_callers_id() {
    let mut rig = rig();
    let one = rig.pipe.send(exchange(CALL));
    let two = rig.pipe.send(exchange(PING));
    let peer = async {
        assert!(rig.stdin.next_line().await.unwrap().unwrap().contains(r#""id":1,"#));
        assert!(rig.stdin.next_line().await.unwrap().unwrap().contains(r#""id":2,"#));
        // In the other order: only the id tells them apart.
        let stdout = &mut rig.stdout;
        stdout.write_all(b"{\"jsonrpc\":\"2.0\",\"id\":2,\"result\":2}\n").await.unwrap();
        stdout.write_all(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":1}\n").await.unwrap();
    };
    let (one, two, ()) = tokio::join!(one, two, peer);
    for (reply, result) in [(one, "1"), (two, "2")] {
        let message = single(reply);
        assert_eq!((message.id(), message.body()), (Some(&Id::from("a")), Some(result)));
    }
}

#[tokio::test]
async fn batches_are_taken_apart() {
    let mut rig = rig();
    let mut events = rig.pipe.listen(None).await.unwrap();
    let batch = r#"[{"jsonrpc":"2.0","method":"n"},{"jsonrpc":"2.0","id":1,"result":1}]"#;
    let answer = single(rig.ask(PING, batch).await);
    assert_eq!(answer.body(), Some("1"));
    let Some(Ok(Event::Message { message, .. })) = events.next().await else { panic!() };
    assert_eq!(message.method(), Some("n"));
}

#[tokio::test]
async fn wrong_and_second_answers_change_nothing() {
    let mut rig = rig();
    let answers = [7, 2].map(|id| format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{id}}}"#));
    let right = r#"{"jsonrpc":"2.0","id":1,"result":1}"#;
    let said = [&answers[0], &answers[1], r#"{"jsonrpc":"2.0","id":"1","result":0}"#, right, right];
    assert_eq!(single(rig.ask(PING, &said.join("\n")).await).body(), Some("1"));
    assert_eq!(single(rig.ask(PING, &answers[1]).await).body(), Some("2"));
}

#[tokio::test]
async fn noise_is_tolerated() {
    let mut rig = rig();
    let noise = "[INFO] starting\r\n\n\u{feff}\n{not json}\n\"text\"\n\u{feff}  ";
    let answer = "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":1}\r";
    let message = single(rig.ask(PING, &format!("{}{noise}{answer}", noise.repeat(100))).await);
    assert_eq!(message.as_bytes(), r#"{"jsonrpc":"2.0","id":"a","result":1}"#);
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_is_not_waited_for() {
    let long = "x".repeat(2 << 20);
    let answers = [
        format!(r#"{{"jsonrpc":"2.0","id":1,"result":"{long}"}}"#),
        format!(r#"{{"result":"{long}","jsonrpc":"2.0","id":1}}"#),
        r#"{"jsonrpc":"2.0","id":1,"result":{"x":NaN}}"#.to_owned(),
        r#"{"jsonrpc":"2.0","id":1,"result":1,"result":2}"#.to_owned(),
    ];
    for answer in answers {
        let mut rig = rig();
        let message = single(rig.ask(PING, &answer).await);
        assert_eq!((message.kind(), message.id()), (Kind::Error, Some(&Id::from("a"))));
        assert!(message.body().unwrap().contains("server `test`: its answer cannot be read"));
        // And the next one is read again.
        let next = single(rig.ask(PING, r#"{"jsonrpc":"2.0","id":2,"result":2}"#).await);
        assert_eq!(next.body(), Some("2"));
    }
}

#[tokio::test]
async fn a_request_that_cannot_be_read_answers_nobody() {
    let mut rig = rig();
    let long = "x".repeat(2 << 20);
    let asks = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"m","params":{{"x":"{long}"}}}}"#);
    let right = r#"{"jsonrpc":"2.0","id":1,"result":1}"#;
    assert_eq!(single(rig.ask(PING, &format!("{asks}\n{right}")).await).body(), Some("1"));
}

#[tokio::test]
async fn progress_opens_a_stream_and_dropping_it_cancels() {
    let mut rig = rig();
    let reply = rig.ask(CALL, PROGRESS).await.unwrap();
    let Reply::Stream(mut events) = reply else { panic!("{reply:?}") };
    assert!(matches!(events.next().await, Some(Ok(Event::Message { .. }))));

    drop(events);
    let expect = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#;
    assert_eq!(rig.stdin.next_line().await.unwrap().unwrap(), expect);
}

#[tokio::test]
async fn a_cancelled_request_is_named_as_the_peer_knows_it() {
    let mut rig = rig();
    let cancel =
        r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"a"}}"#;
    let call = rig.pipe.send(exchange(CALL));
    let peer = async {
        rig.stdin.next_line().await.unwrap();
        rig.pipe.send(exchange(cancel)).await.unwrap();
        let heard = rig.stdin.next_line().await.unwrap().unwrap();
        assert!(heard.contains(r#""requestId":1}"#), "{heard}");
    };
    tokio::select! {
        biased;
        reply = call => panic!("{reply:?}"),
        () = peer => (),
    }
}

#[tokio::test]
async fn a_slow_reader_misses_progress_but_no_answer() {
    let mut rig = rig();
    let flood = format!("{PROGRESS}\n").repeat(100) + r#"{"jsonrpc":"2.0","id":1,"result":{}}"#;
    let reply = rig.ask(CALL, &flood).await.unwrap();
    let Reply::Stream(events) = reply else { panic!("{reply:?}") };
    // All has been said before anything is read.
    assert!(rig.ask(PING, r#"{"jsonrpc":"2.0","id":2,"result":2}"#).await.is_ok());
    let kinds: Vec<_> = events
        .map(|event| match event.unwrap() {
            Event::Message { message, .. } => message.kind(),
            event @ Event::Pause { .. } => panic!("{event:?}"),
        })
        .collect()
        .await;
    assert!(kinds.len() < 100, "{}", kinds.len());
    assert_eq!(kinds.last(), Some(&Kind::Response));
}

#[tokio::test]
async fn a_flood_of_notifications_delays_no_answer() {
    let mut rig = rig();
    let _unread = rig.pipe.listen(None).await.unwrap();
    let flood = "{\"jsonrpc\":\"2.0\",\"method\":\"n\"}\n".repeat(10_000);
    let answer = format!(r#"{flood}{{"jsonrpc":"2.0","id":1,"result":1}}"#);
    assert_eq!(single(rig.ask(PING, &answer).await).body(), Some("1"));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_never_reads_fails_its_callers_in_time_and_no_reader() {
    let (mut stdout, read) = tokio::io::duplex(1 << 16);
    let (write, _stdin) = tokio::io::duplex(16);
    let limits = Limits { write_queue_len_max: 2, ..limits() };
    let pipe = Pipe::new("test", (read, write), limits);
    let mut events = pipe.listen(None).await.unwrap();
    let calls = futures::future::join_all((0..4).map(|_| pipe.send(exchange(PING))));
    let peer = async {
        // Meanwhile what it says is heard.
        stdout.write_all(b"{\"jsonrpc\":\"2.0\",\"method\":\"n\"}\n").await.unwrap();
        events.next().await.unwrap().unwrap();
    };
    let window = Duration::from_secs(40);
    let (calls, ()) = tokio::join!(tokio::time::timeout(window, calls), peer);
    // The first is under way for ever, and its caller has to know how long it wants to wait.
    assert!(calls.is_err());
    let late = pipe.send(exchange(PING)).await.unwrap_err();
    assert_eq!(late.kind(), &ErrorKind::Timeout);
    let said = late.said().to_string();
    assert!(said.starts_with("server `test`: it has not read its input for 30 s"), "{said}");
    assert_eq!(pipe.in_flight(), 0);
}

#[tokio::test]
async fn as_many_wait_as_may() {
    let rig = rig();
    let calls = futures::future::join_all((0..5).map(|_| pipe_first(&rig.pipe)));
    let mut calls = calls.await;
    let last = calls.pop().unwrap().unwrap().unwrap_err();
    assert_eq!(last.kind(), &ErrorKind::Exhausted);
    assert!(calls.iter().all(Option::is_none));
}

/// Polls a call once, and leaks it: so that it stays in flight.
async fn pipe_first(pipe: &Pipe) -> Option<Result<Reply, TransportError>> {
    let mut call = pipe.send(exchange(PING));
    let first = (&mut call).now_or_never();
    if first.is_none() {
        std::mem::forget(call);
    }
    first
}

#[tokio::test]
async fn a_huge_answer_is_taken() {
    let mut rig = rig();
    let long = "x".repeat((1 << 20) - 100);
    let answer = format!(r#"{{"jsonrpc":"2.0","id":1,"result":"{long}"}}"#);
    assert!((1 << 20) - 200 < single(rig.ask(PING, &answer).await).body().unwrap().len());
}

#[tokio::test]
async fn a_dead_peer_fails_everybody() {
    let mut rig = rig();
    let reply = {
        let send = rig.pipe.send(exchange(CALL));
        let peer = async {
            rig.stdin.next_line().await.unwrap();
            drop(rig.stdout);
        };
        tokio::join!(send, peer).0
    };
    assert_eq!(reply.unwrap_err().kind(), &ErrorKind::Closed);
    let late = rig.pipe.send(exchange(CALL)).await.unwrap_err();
    assert!(late.is_unsent());
    assert_eq!(late.said().to_string(), "server `test`: it closed the connection");
    assert!(!rig.pipe.is_open());
    rig.pipe.close().await;
}

#[tokio::test]
async fn the_last_handle_closes_the_stream() {
    let mut rig = rig();
    rig.pipe.send(exchange(r#"{"jsonrpc":"2.0","method":"n"}"#)).await.unwrap();
    drop(rig.pipe);
    assert!(rig.stdin.next_line().await.unwrap().is_some());
    assert_eq!(rig.stdin.next_line().await.unwrap(), None);
}
