use std::{future::Future, sync::Mutex};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream};
use mcp_jsonrpc::{
    Message,
    transport::{
        Endpoint, Event, EventId, EventStream, Exchange, Opening, Reply, Session, SessionId,
        func::from_fn,
    },
};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, DuplexStream};

use super::*;

/// What a server says to a request, by its method.
async fn server(exchange: Exchange) -> Result<Reply, TransportError> {
    let message = &exchange.message;
    let Some(id) = message.id() else { return Ok(Reply::Accepted) };
    let answer = Message::response(id, &message.method()).unwrap();
    let note = Message::notification("note", &serde_json::json!({})).unwrap();
    match message.method() {
        Some("slow") => {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Ok(Reply::Single(answer))
        }
        Some("never") => std::future::pending().await,
        Some("stream") => {
            let events = [Ok(Event::from(note)), Ok(Event::from(answer))];
            Ok(Reply::Stream(stream::iter(events).boxed()))
        }
        Some("short") => Ok(Reply::Stream(stream::iter([Ok(Event::from(note))]).boxed())),
        Some("taken") => Ok(Reply::Accepted),
        Some("cancelled") => Err(TransportError::new(ErrorKind::Cancelled, "taken back")),
        Some("invalid") => Err(TransportError::new(ErrorKind::Invalid(-32602), "no such tool")),
        Some("dead") => {
            Err(TransportError::new(ErrorKind::Closed, "it is dead").hint("start it again"))
        }
        _ => Ok(Reply::Single(answer)),
    }
}

fn max() -> ServeMax {
    let mut max = ServeMax { in_flight_max: 3, ..ServeMax::default() };
    max.limits.message.message_len_max = 10_000;
    max
}

/// What the client hears that says this and then closes its end.
async fn talk(transport: Arc<dyn Transport>, said: &str) -> (Vec<String>, String) {
    let (client, here) = tokio::io::duplex(1 << 20);
    let serving = serve(transport, tokio::io::split(here), Caller::anonymous(), max());
    let (mut read, mut write) = tokio::io::split(client);
    let talking = async {
        write.write_all(said.as_bytes()).await.unwrap();
        write.shutdown().await.unwrap();
        let mut heard = String::new();
        read.read_to_string(&mut heard).await.unwrap();
        heard
    };
    let (ended, heard) = tokio::join!(serving, talking);
    let ended = ended.map_or_else(|error| error.said().to_string(), |()| String::new());
    (heard.lines().map(str::to_owned).collect(), ended)
}

async fn check(said: &[&str], expect: &[&str]) {
    let (heard, ended) = talk(Arc::new(from_fn(server)), &said.join("\n")).await;
    assert_eq!(heard, expect);
    assert_eq!(ended, "");
}

fn asks(id: u32, method: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}"}}"#)
}

fn answers(id: u32, method: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"result":"{method}"}}"#)
}

fn fails(id: u32, code: i32, what: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":{code},"message":"{what}"}}}}"#)
}

const NOTE: &str = r#"{"jsonrpc":"2.0","method":"note","params":{}}"#;

#[tokio::test(start_paused = true)]
async fn answers_come_as_they_come_also_after_the_end_of_input() {
    check(&[&asks(1, "slow"), &asks(2, "ping")], &[&answers(2, "ping"), &answers(1, "slow")]).await;
    check(&[&asks(1, "stream")], &[NOTE, &answers(1, "stream")]).await;
    check(&["", NOTE, " \r"], &[]).await;
}

#[tokio::test(start_paused = true)]
async fn errors_become_errors() {
    check(&[&asks(1, "invalid")], &[&fails(1, -32602, "no such tool")]).await;
    check(&[&asks(1, "dead")], &[&fails(1, -32603, "it is dead; start it again")]).await;
    check(&[&asks(1, "short")], &[NOTE, &fails(1, -32603, "it ended without an answer")]).await;
    let taken = fails(1, -32603, "the request was taken, and no answer will come");
    check(&[&asks(1, "taken")], &[&taken]).await;
    check(&[&asks(1, "cancelled"), &asks(2, "ping")], &[&answers(2, "ping")]).await;
}

#[tokio::test(start_paused = true)]
async fn malformed_lines_are_refused_each_by_itself() {
    let long = format!(
        r#"{{"jsonrpc":"2.0","id":9,"method":"x","params":{{"a":"{}"}}}}"#,
        "x".repeat(10_000)
    );
    let said = [
        r#"{"jsonrpc":"2.0","id":1,"method":"#,
        r#"{"jsonrpc":"1.0","id":2,"method":"x"}"#,
        r#"{"jsonrpc":"2.0","id":3,"result":1,"error":{}}"#,
        "[]",
        &long,
        &asks(4, "ping"),
    ];
    let (heard, _) = talk(Arc::new(from_fn(server)), &said.join("\n")).await;
    let found: Vec<_> = heard
        .iter()
        .map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            (line["id"].as_i64(), line["error"]["code"].as_i64())
        })
        .collect();
    let expect = [
        (Some(1), Some(-32700)),
        (Some(2), Some(-32600)),
        (None, Some(-32600)),
        (None, Some(-32600)),
        (Some(9), Some(-32600)),
        (Some(4), None),
    ];
    assert_eq!(found, expect);
}

#[tokio::test(start_paused = true)]
async fn an_array_is_answered_with_an_array() {
    let said = format!("[{},{NOTE},{},{}]", asks(1, "slow"), asks(2, "ping"), asks(3, "cancelled"));
    let expect = format!("[{},{}]", answers(1, "slow"), answers(2, "ping"));
    check(&[&said, &asks(4, "ping")], &[&answers(4, "ping"), &expect]).await;
    check(&[&format!("[{NOTE}]")], &[]).await;
}

/// Of the revision that was agreed on: whoever waits for an answer gets one.
#[tokio::test(start_paused = true)]
async fn an_array_where_there_is_none() {
    for version in ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"] {
        let server = from_fn(move |exchange: Exchange| async move {
            let message = &exchange.message;
            let Some(id) = message.id() else { panic!("{message:?} was passed on") };
            let result = serde_json::json!({ "protocolVersion": version });
            Ok(Reply::Single(Message::response(id, &result).unwrap()))
        });
        let (client, here) = tokio::io::duplex(1 << 20);
        let serving = serve(Arc::new(server), tokio::io::split(here), Caller::anonymous(), max());
        let talking = async {
            let (read, mut write) = tokio::io::split(client);
            let mut lines = BufReader::new(read).lines();
            write.write_all(format!("{}\n", asks(0, "initialize")).as_bytes()).await.unwrap();
            let mut heard = vec![lines.next_line().await.unwrap().unwrap()];
            let said = [
                format!("[{},{}]", asks(1, "ping"), asks(2, "ping")),
                format!("[{}]", asks(3, "initialize")),
            ];
            write.write_all(format!("{}\n", said.join("\n")).as_bytes()).await.unwrap();
            write.shutdown().await.unwrap();
            while let Some(line) = lines.next_line().await.unwrap() {
                heard.push(line);
            }
            heard
        };
        let (ended, heard) = tokio::join!(serving, talking);
        ended.unwrap();
        let no = "only revision 2025-03-26 has batches; send one message at a time";
        if version == "2025-03-26" {
            assert_eq!(heard.len(), 3, "{heard:?}");
            assert!(heard.iter().any(|it| it.starts_with('[') && it.contains("\"id\":2")));
            let no = "`initialize` may not be part of a batch";
            assert!(heard.contains(&fails(3, -32600, no)), "{heard:?}");
        } else {
            let expect = [1, 2, 3].map(|id| fails(id, -32600, no));
            assert_eq!(heard[1..], expect, "{version}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn too_many_at_once_are_refused() {
    let said: Vec<_> = (1..=4).map(|id| asks(id, "slow")).collect();
    let said: Vec<_> = said.iter().map(String::as_str).collect();
    let refused = fails(4, -32603, "too many requests at once");
    let slow = [1, 2, 3].map(|id| answers(id, "slow"));
    check(&said, &[&refused, &slow[0], &slow[1], &slow[2]]).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_never_answered_is_waited_for_so_long() {
    let before = tokio::time::Instant::now();
    check(&[&asks(1, "never"), &asks(2, "ping")], &[&answers(2, "ping")]).await;
    assert_eq!(before.elapsed(), max().drain_timeout);
}

/// A transport whose one session is written out below.
#[derive(Debug, Default)]
struct Odd {
    heard: Mutex<Vec<String>>,
    refuses: bool,
    ends: bool,
}

#[derive(Debug)]
struct OddTransport(Arc<Odd>);

impl Transport for OddTransport {
    fn open(&self, _: Opening) -> BoxFuture<'_, Result<Arc<dyn Session>, TransportError>> {
        let error =
            TransportError::new(ErrorKind::Unavailable { retry_after: None }, "no such cat");
        let session = Arc::new(OddSession(Arc::clone(&self.0)));
        let opened: Result<Arc<dyn Session>, _> =
            if self.0.refuses { Err(error) } else { Ok(session) };
        async { opened }.boxed()
    }

    fn find(&self, _: &SessionId, _: &Caller) -> Result<Arc<dyn Session>, TransportError> {
        Err(TransportError::new(ErrorKind::NoSession, "none"))
    }
}

#[derive(Debug)]
struct OddSession(Arc<Odd>);

impl OddSession {
    fn hear(&self, what: &str) {
        self.0.heard.lock().unwrap().push(what.to_owned());
    }
}

impl Session for OddSession {
    fn endpoint(&self) -> Endpoint {
        Endpoint { uri: Arc::from("odd:"), session: None }
    }

    fn send(&self, exchange: Exchange) -> BoxFuture<'_, Result<Reply, TransportError>> {
        async move {
            // A notification takes longer to be delivered than a request.
            if exchange.message.id().is_none() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            self.hear(exchange.message.method().unwrap_or("answer"));
            server(exchange).await
        }
        .boxed()
    }

    fn listen(&self, after: Option<EventId>) -> BoxFuture<'_, Result<EventStream, TransportError>> {
        async move {
            self.hear(&format!("listen {}", after.as_ref().map_or("", EventId::as_str)));
            if self.0.ends {
                return Ok(stream::empty().boxed());
            }
            let message = Message::parse(NOTE).unwrap();
            let id = EventId::new("7");
            Ok(stream::iter([Ok(Event::Message { id, message })]).boxed())
        }
        .boxed()
    }

    fn is_open(&self) -> bool {
        !self.0.ends
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.hear("close");
        async {}.boxed()
    }
}

/// A client that talks line by line.
struct Client {
    read: tokio::io::Lines<BufReader<tokio::io::ReadHalf<DuplexStream>>>,
    write: tokio::io::WriteHalf<DuplexStream>,
}

fn client(odd: &Arc<Odd>) -> (Client, impl Future<Output = Result<(), TransportError>>) {
    client_within(odd, max())
}

fn client_within(
    odd: &Arc<Odd>,
    max: ServeMax,
) -> (Client, impl Future<Output = Result<(), TransportError>>) {
    let (client, here) = tokio::io::duplex(1 << 16);
    let transport: Arc<dyn Transport> = Arc::new(OddTransport(Arc::clone(odd)));
    let serving = serve(transport, tokio::io::split(here), Caller::anonymous(), max);
    let (read, write) = tokio::io::split(client);
    (Client { read: BufReader::new(read).lines(), write }, serving)
}

#[tokio::test(start_paused = true)]
async fn what_is_unasked_comes_too_and_is_listened_to_again() {
    let odd = Arc::new(Odd::default());
    let (mut client, serving) = client(&odd);
    let talking = async {
        client.write.write_all(format!("{NOTE}\n").as_bytes()).await.unwrap();
        for _ in 0..2 {
            assert_eq!(client.read.next_line().await.unwrap().unwrap(), NOTE);
        }
        client.write.shutdown().await.unwrap();
    };
    let (ended, ()) = tokio::join!(serving, talking);
    ended.unwrap();
    let heard = odd.heard.lock().unwrap();
    let heard: Vec<_> = heard.iter().filter(|it| *it != "note").collect();
    assert_eq!(heard, ["listen ", "listen 7", "close"]);
}

#[tokio::test(start_paused = true)]
async fn nothing_overtakes_a_notification_for_a_while() {
    check_order(Duration::from_secs(5), ["one", "note", "two", "close"]).await;
    check_order(Duration::from_millis(5), ["one", "two", "note", "close"]).await;
}

async fn check_order(order_timeout: Duration, expect: [&str; 4]) {
    let odd = Arc::new(Odd::default());
    let (mut client, serving) = client_within(&odd, ServeMax { order_timeout, ..max() });
    let talking = async {
        let said = format!("{}\n{NOTE}\n{}\n", asks(1, "one"), asks(2, "two"));
        client.write.write_all(said.as_bytes()).await.unwrap();
        client.write.shutdown().await.unwrap();
    };
    let (ended, ()) = tokio::join!(serving, talking);
    ended.unwrap();
    let heard = odd.heard.lock().unwrap();
    let heard: Vec<_> = heard.iter().filter(|it| !it.starts_with("listen")).collect();
    assert_eq!(heard, expect);
}

#[tokio::test(start_paused = true)]
async fn a_client_is_told_why_there_is_no_session() {
    let odd = Arc::new(Odd { refuses: true, ..Odd::default() });
    let said = format!("{NOTE}\n{}\n{}\n", asks(1, "initialize"), asks(2, "x"));
    let (heard, ended) = talk(Arc::new(OddTransport(odd)), &said).await;
    assert_eq!(heard, [fails(1, -32603, "no such cat")]);
    assert_eq!(ended, "no such cat");
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_session_is_the_end() {
    let odd = Arc::new(Odd { ends: true, ..Odd::default() });
    let (mut client, serving) = client(&odd);
    client.write.write_all(format!("{NOTE}\n").as_bytes()).await.unwrap();
    let error = serving.await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Closed);
    assert_eq!(odd.heard.lock().unwrap().last().unwrap(), "close");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_is_not_waited_for_for_ever() {
    let (mut client, here) = tokio::io::duplex(64);
    let mut max = max();
    max.limits.write_queue_len_max = 2;
    let transport = Arc::new(from_fn(server));
    let serving = serve(transport, tokio::io::split(here), Caller::anonymous(), max);
    let talking = async {
        for id in 1..50 {
            let said = asks(id, "ping") + "\n";
            if client.write_all(said.as_bytes()).await.is_err() {
                return;
            }
        }
    };
    let before = tokio::time::Instant::now();
    let (ended, ()) = tokio::join!(serving, talking);
    assert_eq!(ended.unwrap_err().kind(), &ErrorKind::Timeout);
    assert!(before.elapsed() >= max.limits.write_timeout);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_gone_ends_it() {
    let (client, here) = tokio::io::duplex(64);
    drop(client);
    let transport = Arc::new(from_fn(server));
    serve(transport, tokio::io::split(here), Caller::anonymous(), max()).await.unwrap();
}
