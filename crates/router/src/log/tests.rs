use futures::FutureExt;
use mcp_jsonrpc::Kind;
use serde_json::json;
use tokio::sync::mpsc;

use super::*;

type Said = Result<Event, TransportError>;

fn session(text: &str) -> SessionId {
    SessionId::new(text).unwrap()
}

fn log(max: ReplayMax) -> Log {
    Log::new(&session("ours"), max, &TaskTracker::new()).unwrap()
}

fn progress(n: i64) -> Message {
    Message::notification("notifications/progress", &json!({ "progress": n })).unwrap()
}

fn answer(id: i64) -> Message {
    Message::response(&Id::from(id), &json!({ "content": [] })).unwrap()
}

/// A stream that is fed by hand.
fn source() -> (mpsc::Sender<Said>, EventStream) {
    let (said, hear) = mpsc::channel(100);
    (said, stream::unfold(hear, async |mut hear| Some((hear.recv().await?, hear))).boxed())
}

fn no_listener() -> EventStream {
    panic!("nobody should listen anew")
}

/// A client: what it was told, and where it stands.
#[derive(Default)]
struct Client {
    messages: Vec<String>,
    notices: Vec<String>,
    last: Option<EventId>,
}

impl Client {
    /// Takes so many messages, or all.
    async fn read(&mut self, events: &mut EventStream, count: usize) {
        let until = self.messages.len().saturating_add(count);
        while self.messages.len() < until {
            match events.next().await {
                Some(Ok(event)) => self.take(event),
                Some(Err(error)) => self.notices.push(error.to_string()),
                None => return,
            }
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Message { id, message } => {
                assert_ne!(id, self.last, "an id twice");
                self.last = id;
                self.messages.push(String::from_utf8(message.as_bytes().to_vec()).unwrap());
            }
            Event::Pause { id, retry } => {
                assert!(retry.is_some());
                self.last = id;
            }
        }
    }

    /// Loses the stream, and goes on.
    fn resume(&self, log: &Log) -> EventStream {
        log.resume(self.last.as_ref().unwrap(), no_listener).unwrap()
    }
}

fn text(message: &Message) -> String {
    String::from_utf8(message.as_bytes().to_vec()).unwrap()
}

#[tokio::test]
async fn a_stream_cut_anywhere_goes_on_where_it_was() {
    let messages: Vec<_> = (0..5).map(progress).chain([answer(7)]).collect();
    let expect: Vec<_> = messages.iter().map(text).collect();
    for first in 0..=6 {
        for second in 0..=6 - first {
            let log = log(ReplayMax::default());
            let (said, hear) = source();
            let mut client = Client::default();
            let mut events = log.keep(&[Id::from(7)], hear);
            // What primes it comes before anything is said.
            client.take(events.next().now_or_never().unwrap().unwrap().unwrap());
            let mut all = messages.iter();
            for message in all.by_ref().take(3) {
                said.send(Ok(message.clone().into())).await.unwrap();
            }
            client.read(&mut events, first.min(3)).await;
            drop(events);
            for message in all {
                said.send(Ok(message.clone().into())).await.unwrap();
            }
            let mut events = client.resume(&log);
            client.read(&mut events, second).await;
            drop((events, said));
            let mut events = client.resume(&log);
            client.read(&mut events, usize::MAX).await;
            assert_eq!(client.messages, expect, "cut after {first} and {second}");
            assert!(client.notices.is_empty());
        }
    }
}

#[tokio::test]
async fn streams_do_not_mix() {
    let log = log(ReplayMax::default());
    let mut clients = Vec::new();
    for id in [1, 2] {
        let (said, hear) = source();
        let mut events = log.keep(&[Id::from(id)], hear);
        let mut client = Client::default();
        said.send(Ok(progress(id).into())).await.unwrap();
        client.read(&mut events, 1).await;
        clients.push((client, said, id));
    }
    for (_, said, id) in &clients {
        said.send(Ok(progress(10 * id).into())).await.unwrap();
        said.send(Ok(answer(*id).into())).await.unwrap();
    }
    let mut ids = std::collections::HashSet::new();
    for (mut client, said, id) in clients {
        drop(said);
        client.read(&mut client.resume(&log), usize::MAX).await;
        assert_eq!(
            client.messages,
            [progress(id), progress(10 * id), answer(id)].map(|it| text(&it))
        );
        assert!(ids.insert(client.last));
    }
}

#[tokio::test]
async fn who_comes_later_takes_over_and_the_order_stays() {
    let log = log(ReplayMax::default());
    let (said, hear) = source();
    let mut old = log.keep(&[Id::from(1)], hear);
    let mut client = Client::default();
    said.send(Ok(progress(1).into())).await.unwrap();
    client.read(&mut old, 1).await;
    let after_one = client.last.clone().unwrap();
    said.send(Ok(progress(2).into())).await.unwrap();
    client.read(&mut old, 1).await;

    // It hangs, half open; its client has not heard the second, and is there again.
    let waiting = TaskTracker::new().spawn(async move { old.next().await.is_none() });
    tokio::task::yield_now().await;
    let mut new = log.resume(&after_one, no_listener).unwrap();
    let mut again = Client::default();
    said.send(Ok(progress(3).into())).await.unwrap();
    said.send(Ok(answer(1).into())).await.unwrap();
    drop(said);
    again.read(&mut new, usize::MAX).await;
    assert_eq!(again.messages, [progress(2), progress(3), answer(1)].map(|it| text(&it)));
    assert!(waiting.await.unwrap(), "the old reader goes on");
}

#[tokio::test(start_paused = true)]
async fn what_is_answered_to_nobody_is_kept_for_a_while() {
    let max = ReplayMax { timeout: Duration::from_secs(60), ..ReplayMax::default() };
    let log = log(max);
    let (said, hear) = source();
    let mut events = log.keep(&[Id::from("a")], hear);
    let mut client = Client::default();
    client.take(events.next().await.unwrap().unwrap());
    drop(events);
    // The call goes on for longer than anything is kept.
    tokio::time::sleep(Duration::from_secs(100)).await;
    log.sweep();
    let last = Message::response(&Id::from("a"), &json!({})).unwrap();
    said.send(Ok(last.clone().into())).await.unwrap();
    drop(said);
    tokio::time::sleep(Duration::from_secs(59)).await;
    log.sweep();
    client.read(&mut client.resume(&log), usize::MAX).await;
    assert_eq!(client.messages, [text(&last)]);

    let first = EventId::new(&client.last.unwrap().as_str().replace("-1", "-0")).unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    log.sweep();
    assert_eq!(log.rings().size(), (0, 0), "something is kept for ever");
    let mut gone = log.resume(&first, no_listener).unwrap();
    let Some(Ok(Event::Message { message, .. })) = gone.next().await else { panic!("no error") };
    assert_eq!((message.kind(), message.id()), (Kind::Error, Some(&Id::from("a"))));
    assert!(message.body().unwrap().contains("not kept any more"), "{message:?}");
    assert!(gone.next().await.is_none());
}

#[tokio::test]
async fn what_no_event_of_this_session_is() {
    let ours = log(ReplayMax::default());
    let (_said, hear) = source();
    let mut events = ours.keep(&[Id::from(3)], hear);
    let Some(Ok(Event::Pause { id: Some(id), .. })) = events.next().await else { panic!() };
    let tracker = TaskTracker::new();
    let theirs = Log::new(&session("theirs"), ReplayMax::default(), &tracker).unwrap();
    let future = EventId::new(&id.as_str().replace("-0", "-1")).unwrap();
    let junk = EventId::new("17").unwrap();
    for (log, id) in [(&theirs, &id), (&ours, &future), (&ours, &junk)] {
        let error = log.resume(id, no_listener).map(drop).unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::Invalid(RpcError::INVALID_REQUEST));
        assert!(error.to_string().contains("no event of this session"), "{error}");
    }

    // The same session after a restart: whoever waits is told.
    let again = log(ReplayMax::default());
    let mut gone = again.resume(&id, no_listener).unwrap();
    let Some(Ok(Event::Message { message, .. })) = gone.next().await else { panic!("no error") };
    assert_eq!((message.kind(), message.id()), (Kind::Error, Some(&Id::from(3))));
    assert!(message.body().unwrap().contains("the gateway was restarted"), "{message:?}");

    // Of too long an id nothing is known.
    let mut unnamed = ours.keep(&[Id::from(&*"x".repeat(1000))], source().1);
    let Some(Ok(Event::Pause { id: Some(id), .. })) = unnamed.next().await else { panic!() };
    let error = again.resume(&id, no_listener).map(drop).unwrap_err();
    assert!(error.to_string().contains("not kept any more"), "{error}");
}

#[tokio::test]
async fn too_much_is_not_kept_and_the_answer_is() {
    let max = ReplayMax { bytes_max: 4096, len_max: 8, ..ReplayMax::default() };
    let log = log(max);
    let (said, hear) = source();
    let mut events = log.keep(&[Id::from(1)], hear);
    let mut client = Client::default();
    said.send(Ok(progress(0).into())).await.unwrap();
    client.read(&mut events, 1).await;
    drop(events);
    for n in 1..50 {
        said.send(Ok(progress(n).into())).await.unwrap();
    }
    said.send(Ok(answer(1).into())).await.unwrap();
    drop(said);
    tokio::task::yield_now().await;
    let (bytes, len) = log.rings().size();
    assert!(bytes <= max.bytes_max && len <= max.len_max, "{bytes} bytes, {len}");
    client.read(&mut client.resume(&log), usize::MAX).await;
    let expect = [0, 44, 45, 46, 47, 48, 49].map(progress);
    assert_eq!(client.messages, expect.iter().chain([&answer(1)]).map(text).collect::<Vec<_>>());
    assert!(client.notices[0].starts_with("43 messages"), "{:?}", client.notices);
}

#[tokio::test]
async fn an_answer_too_long_to_keep_reaches_its_reader_and_leaves_word() {
    let max = ReplayMax { bytes_max: 4096, ..ReplayMax::default() };
    let log = log(max);
    let huge = Message::response(&Id::from(1), &json!({ "x": "x".repeat(5000) })).unwrap();
    let (said, hear) = source();
    let mut events = log.keep(&[Id::from(1)], hear);
    let mut client = Client::default();
    client.take(events.next().await.unwrap().unwrap());
    let last = client.last.clone().unwrap();
    let log_of_it = Message::notification("n", &json!({ "x": "x".repeat(5000) })).unwrap();
    for message in [&log_of_it, &huge] {
        said.send(Ok(message.clone().into())).await.unwrap();
    }
    drop(said);
    client.read(&mut events, usize::MAX).await;
    assert_eq!(client.messages, [text(&log_of_it), text(&huge)]);

    let mut again = Client::default();
    again.read(&mut log.resume(&last, no_listener).unwrap(), usize::MAX).await;
    assert_eq!(again.messages.len(), 1);
    assert!(again.messages[0].contains("replayBytesMax"), "{:?}", again.messages);
    assert!(again.notices[0].starts_with("1 messages"), "{:?}", again.notices);
    assert!(log.rings().size().0 <= max.bytes_max);
}

#[tokio::test(start_paused = true)]
async fn what_was_heard_to_its_end_goes_before_what_was_not() {
    let max = ReplayMax { len_max: 7, ..ReplayMax::default() };
    let log = log(max);
    let mut clients = Vec::new();
    for (id, hears) in [(1, false), (2, true), (3, true)] {
        let (said, hear) = source();
        let mut events = log.keep(&[Id::from(id)], hear);
        let mut client = Client::default();
        client.take(events.next().await.unwrap().unwrap());
        if !hears {
            drop(std::mem::replace(&mut events, stream::empty().boxed()));
        }
        said.send(Ok(answer(id).into())).await.unwrap();
        drop(said);
        let before = client.last.clone();
        client.read(&mut events, usize::MAX).await;
        client.last = before;
        tokio::time::sleep(Duration::from_secs(1)).await;
        clients.push(client);
    }
    assert_eq!(log.rings().size().1, 6);
    let (said, hear) = source();
    let mut events = log.keep(&[Id::from(4)], hear);
    for n in 0..3 {
        said.send(Ok(progress(n).into())).await.unwrap();
    }
    Client::default().read(&mut events, 3).await;
    let mut kept = Vec::new();
    for client in &mut clients {
        client.messages.clear();
        let mut events = client.resume(&log);
        client.read(&mut events, usize::MAX).await;
        kept.push(client.messages[0].contains("result"));
    }
    assert_eq!(kept, [true, false, false]);
}

#[tokio::test(start_paused = true)]
async fn who_listens_goes_on_with_the_same_stream_or_another() {
    let max = ReplayMax { timeout: Duration::from_secs(60), ..ReplayMax::default() };
    let log = log(max);
    let (said, hear) = source();
    let mut events = log.keep(&[], hear);
    let mut client = Client::default();
    for n in 1..=2 {
        said.send(Ok(progress(n).into())).await.unwrap();
    }
    client.read(&mut events, 1).await;
    let after_one = client.last.clone().unwrap();
    client.read(&mut events, 1).await;
    drop(events);
    assert!(said.is_closed(), "nobody listens, and it is listened to");

    let (said, hear) = source();
    said.send(Ok(progress(3).into())).await.unwrap();
    let mut events = log.resume(&after_one, || hear).unwrap();
    let mut again = Client::default();
    again.read(&mut events, 2).await;
    assert_eq!(again.messages, [progress(2), progress(3)].map(|it| text(&it)));

    // What is old is let go of also while somebody reads; the stream goes on.
    tokio::time::sleep(Duration::from_secs(61)).await;
    log.sweep();
    assert_eq!(log.rings().size().1, 1);
    said.send(Ok(progress(4).into())).await.unwrap();
    again.read(&mut events, 1).await;
    let mut events = log.resume(&after_one, no_listener).unwrap();
    let mut late = Client::default();
    late.read(&mut events, 1).await;
    assert_eq!(late.messages, [text(&progress(4))]);
    assert!(late.notices[0].starts_with("2 messages"), "{:?}", late.notices);

    drop(events);
    tokio::time::sleep(Duration::from_secs(61)).await;
    log.sweep();
    assert_eq!(log.rings().size(), (0, 0));
    let (said, hear) = source();
    said.send(Ok(progress(5).into())).await.unwrap();
    let mut late = Client::default();
    late.read(&mut log.resume(&after_one, || hear).unwrap(), 1).await;
    assert_eq!(late.messages, [text(&progress(5))]);
    assert!(late.notices[0].contains("can be missing"), "{:?}", late.notices);
    assert_ne!(late.last, again.last);
}

#[tokio::test]
async fn an_end_leaves_what_runs_and_nothing_else() {
    let log = log(ReplayMax::default());
    let (said, hear) = source();
    let running = log.keep(&[Id::from(1)], hear);
    let over = log.keep(&[Id::from(2)], stream::iter([Ok(answer(2).into())]).boxed());
    Client::default().read(&mut { over }, usize::MAX).await;
    drop(log.keep(&[], source().1));
    assert_eq!(log.rings().size().1, 4);
    log.clear();
    assert_eq!(log.rings().size().1, 1);
    said.send(Ok(answer(1).into())).await.unwrap();
    let mut client = Client::default();
    client.read(&mut { running }, 1).await;
    assert_eq!(client.messages, [text(&answer(1))]);
}
