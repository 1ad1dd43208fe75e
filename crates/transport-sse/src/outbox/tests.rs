use futures::{FutureExt, StreamExt};

use super::*;

fn event(n: usize, len: usize) -> Event {
    let params = serde_json::json!({ "n": n, "text": "x".repeat(len) });
    Message::notification("n", &params).unwrap().into()
}

fn max(queue_len_max: usize, queue_bytes_max: usize) -> InboxMax {
    InboxMax { queue_len_max, queue_bytes_max }
}

const KEPT: InboxMax = InboxMax { queue_len_max: 4, queue_bytes_max: 1 << 20 };

fn outbox(waiting: InboxMax, keeps: bool) -> Arc<Outbox> {
    let session = SessionId::new("s.e.s").unwrap();
    Outbox::new(&session, OutboxMax { waiting, kept: KEPT }, keeps)
}

impl State {
    /// How many messages it holds, read or not.
    fn held(&self) -> usize {
        self.kept.len() + self.queue.len()
    }
}

/// The numbers of the messages that are there, in the words of their params; of comments the text.
async fn read(
    events: &mut (impl Stream<Item = Chunk> + Unpin),
    last: &mut Option<EventId>,
) -> Vec<String> {
    let mut found = Vec::new();
    while let Some(Some(chunk)) = events.next().now_or_never() {
        found.push(match chunk {
            Chunk::Numbered { prefix, seq, message } => {
                let id = EventId::new(&format!("{prefix}{seq}"));
                assert_ne!(id, *last);
                *last = id;
                let params: serde_json::Value = message.read().unwrap();
                params["n"].to_string()
            }
            Chunk::Event(event) => panic!("without a number: {event:?}"),
            Chunk::Encoded(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
        });
    }
    found
}

fn mark(last: Option<&EventId>) -> Mark {
    Mark::read(last.unwrap().as_str()).unwrap()
}

#[tokio::test]
async fn events_then_last_words_then_the_end() {
    let outbox = outbox(max(2, 1 << 20), false);
    let (id, reading) = outbox.attach(None);
    assert_eq!(id, None);
    let mut reading = Box::pin(reading);
    assert!(reading.next().now_or_never().is_none());
    outbox.push(event(1, 0)).unwrap();
    assert!(matches!(reading.next().await, Some(Chunk::Event(Event::Message { id: None, .. }))));
    outbox.end("because");
    let Some(Chunk::Encoded(bytes)) = reading.next().await else { panic!("no last words") };
    assert_eq!(bytes, ": because\n\n");
    assert!(reading.next().await.is_none());
    outbox.over().await;
}

#[test]
fn full_is_said_not_dropped() {
    let small = outbox(max(2, 1 << 20), true);
    small.push(event(1, 0)).unwrap();
    small.push(event(2, 0)).unwrap();
    assert_eq!(small.push(event(3, 0)), Err(Overflow));

    let small = outbox(max(9, 100), true);
    small.push(event(1, 500)).unwrap();
    assert_eq!(small.push(event(2, 0)), Err(Overflow));
}

#[tokio::test]
async fn a_reader_that_does_not_come_back_ends_it() {
    let outbox = outbox(max(2, 100), false);
    drop(outbox.attach(None));
    outbox.over().await;
    outbox.push(event(1, 0)).unwrap();
}

#[tokio::test]
async fn a_reader_that_comes_back_goes_on_where_it_was() {
    for lost in 0..=3 {
        let outbox = outbox(max(9, 1 << 20), true);
        let (mut last, first) = outbox.attach(None);
        let mut first = Box::pin(first);
        let mut seen = Vec::new();
        let mut marks = vec![last.clone()];
        for n in 1..=3 {
            outbox.push(event(n, 0)).unwrap();
            seen.extend(read(&mut first, &mut last).await);
            marks.push(last.clone());
        }
        assert_eq!(seen, ["1", "2", "3"]);
        // The last ones did not arrive, and more is said while nobody is there.
        let mut last = marks[3 - lost].clone();
        drop(first);
        assert!(!outbox.is_over() && outbox.away_since().is_some());
        outbox.push(event(4, 0)).unwrap();
        let (at, second) = outbox.attach(Some(&mark(last.as_ref())));
        assert_eq!(at, last);
        let mut second = Box::pin(second);
        let again = read(&mut second, &mut last).await;
        let expect: Vec<_> = (4 - lost..=4).map(|n| n.to_string()).collect();
        assert_eq!(again, expect);
        assert!(outbox.away_since().is_none());

        // A third takes its place: nothing is read twice, and the second hears nothing more.
        let (_, third) = outbox.attach(Some(&mark(last.as_ref())));
        let mut third = Box::pin(third);
        outbox.push(event(5, 0)).unwrap();
        assert!(second.next().await.is_none());
        drop(second);
        assert!(outbox.away_since().is_none(), "the old reader's end is taken for the new one's");
        assert_eq!(read(&mut third, &mut last).await, ["5"]);
    }
}

#[tokio::test(start_paused = true)]
async fn so_much_is_kept_and_so_long() {
    let outbox = outbox(max(9, 1 << 20), true);
    let (mut last, events) = outbox.attach(None);
    let mut events = Box::pin(events);
    let begun = mark(last.as_ref());
    for n in 1..=6 {
        outbox.push(event(n, 0)).unwrap();
        read(&mut events, &mut last).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let mut end = last.clone();
    let (_, again) = outbox.attach(Some(&begun));
    let found = read(&mut Box::pin(again), &mut end).await;
    assert_eq!(found, [": 2 messages are missing: more is not kept\n\n", "3", "4", "5", "6"]);

    let (_, again) = outbox.attach(Some(&mark(last.as_ref())));
    let again = Box::pin(again);
    tokio::time::sleep(Duration::from_secs(9)).await;
    outbox.push(event(7, 0)).unwrap();
    outbox.sweep(Duration::from_secs(10));
    assert_eq!(outbox.state().held(), 5);
    tokio::time::sleep(Duration::from_secs(1)).await;
    outbox.sweep(Duration::from_secs(10));
    assert_eq!(outbox.state().held(), 1, "what was not read is not old");
    drop(again);

    let grace = Duration::from_secs(30);
    let away = Instant::now();
    outbox.deserted(grace).await;
    assert_eq!(away.elapsed(), grace);
}

#[tokio::test(start_paused = true)]
async fn who_comes_back_in_time_is_not_taken_for_gone() {
    let outbox = outbox(max(9, 1 << 20), true);
    let waiting = Arc::clone(&outbox);
    let begun = Instant::now();
    let deserted = async move {
        waiting.deserted(Duration::from_secs(10)).await;
        begun.elapsed().as_secs()
    };
    let coming = async {
        tokio::time::sleep(Duration::from_secs(9)).await;
        let (_, events) = outbox.attach(None);
        tokio::time::sleep(Duration::from_secs(100)).await;
        drop(events);
    };
    assert_eq!(tokio::join!(deserted, coming).0, 119);
}

#[tokio::test]
async fn marks() {
    let one = outbox(max(9, 1 << 20), true);
    let (id, _events) = one.attach(None);
    let mark = mark(id.as_ref());
    assert_eq!((mark.session.as_str(), mark.life, mark.seq), ("s.e.s", one.life, 0));
    for none in ["", "7", "a.b", "s.123.4", "s.0123456z.4", "s.01234567.x", ".01234567.1"] {
        assert_eq!(Mark::read(none), None, "{none}");
    }
    // Of another life, as after a restart: what waits is all there is to say.
    let two = outbox(max(9, 1 << 20), true);
    two.push(event(1, 0)).unwrap();
    let other = Mark { seq: 5, life: !two.life, ..mark };
    let (_, events) = two.attach(Some(&other));
    assert_eq!(read(&mut Box::pin(events), &mut None).await, ["1"]);
}

#[tokio::test]
async fn logs_give_way_and_the_numbers_go_on() {
    let outbox = outbox(max(4, 1 << 20), true);
    let (_, reading) = outbox.attach(None);
    let mut reading = Box::pin(reading);
    let said = |method: &str, n: usize| {
        let params = serde_json::json!({ "n": n });
        outbox.push(Message::notification(method, &params).unwrap().into())
    };
    let (log, changed) = ("notifications/message", "notifications/tools/list_changed");
    let mut last = None;
    assert_eq!((said(log, 1), said("n", 2)), (Ok(0), Ok(0)));
    assert_eq!(read(&mut reading, &mut last).await, ["1", "2"]);

    for (method, n) in [(log, 3), (changed, 4), (log, 5), ("n", 6)] {
        assert_eq!(said(method, n), Ok(0));
    }
    assert_eq!(said(log, 7), Ok(1), "it is dropped itself");
    assert_eq!(said(changed, 4), Ok(0), "the same waits already");
    assert_eq!((said("n", 8), said("n", 9)), (Ok(1), Ok(1)), "the oldest log gives way");
    assert_eq!(said("n", 10), Err(Overflow));
    assert_eq!(read(&mut reading, &mut last).await, ["4", "6", "8", "9"]);
    assert_eq!(mark(last.as_ref()).seq, 6, "as many as were read");
    drop(reading);
    let back = Mark { seq: 4, ..mark(last.as_ref()) };
    let (_, again) = outbox.attach(Some(&back));
    assert_eq!(read(&mut Box::pin(again), &mut None).await, ["8", "9"]);
}
