//! Streams that are kept: who is told their events' ids, and how.

use super::*;

const NEW: &str = "2025-11-25";

async fn slow(exchange: Exchange) -> Result<Reply, TransportError> {
    if exchange.message.method() == Some("tools/call") {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    echo(exchange).await
}

async fn asked(rig: &Rig, version: &str, accept: &str, body: String) -> Response<Outgoing> {
    let fields = [("mcp-session-id", ID), ("mcp-protocol-version", version), ("accept", accept)];
    rig.post(&fields, body).await
}

const PRIMING: &str = "id: kept/7-0\nretry: 2000\ndata: \n\n";

#[tokio::test]
async fn every_event_has_an_id_and_new_clients_are_primed() {
    let rig = Rig::new(fake(chatty).keeping()).await;
    for (version, primed) in [("2025-03-26", false), ("2025-06-18", false), (NEW, true)] {
        let body = text(asked(&rig, version, BOTH, call(7)).await).await;
        let rest = body.strip_prefix(": \n\n").unwrap();
        let events = if primed { rest.strip_prefix(PRIMING).unwrap() } else { rest };
        let ids: Vec<_> = events.lines().filter(|line| line.starts_with("id:")).collect();
        assert_eq!(ids, ["id: kept/7-1", "id: kept/7-2"], "{version}: {body}");
        assert_eq!(events.matches("data:").count(), 2, "{version}: {body}");
    }
    // Where there is nothing to lose there is nothing to keep.
    let only_json = text(asked(&rig, NEW, "application/json", call(7)).await).await;
    assert!(only_json.starts_with('{'), "{only_json}");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_can_be_primed_is_before_it_waits() {
    let rig = Rig::new(fake(slow).keeping()).await;
    let begun = Instant::now();
    let mut body = asked(&rig, NEW, BOTH, call(7)).await.into_body();
    assert_eq!(begun.elapsed(), Duration::from_millis(50));
    assert_eq!(next(&mut body).await.unwrap(), ": \n\n");
    assert_eq!(next(&mut body).await.unwrap(), PRIMING);
    assert_eq!(begun.elapsed(), Duration::from_millis(50));
    assert!(next(&mut body).await.unwrap().contains("id: kept/7-1\ndata: {"));
    assert!(next(&mut body).await.is_none());

    for (version, accept) in [("2025-06-18", BOTH), (NEW, "application/json")] {
        let response = asked(&rig, version, accept, call(7)).await;
        assert_eq!(response.headers()["content-type"], "application/json", "{version}");
    }
    let response = asked(&rig, NEW, BOTH, call(7).replace("tools/call", "tools/list")).await;
    assert_eq!(response.headers()["content-type"], "application/json", "a quick answer");
}

#[tokio::test]
async fn batches_are_kept_under_all_their_ids() {
    let rig = Rig::new(fake(chatty).keeping()).await;
    let batch = format!("[{},{}]", call(1), call(2));
    let body = text(asked(&rig, "2025-03-26", BOTH, batch).await).await;
    for n in 1..=4 {
        assert!(body.contains(&format!("id: kept/1/2-{n}\n")), "{body}");
    }
}

#[tokio::test]
async fn listening_and_going_on() {
    let unasked = || stream::iter([Ok(note(1))]).chain(stream::pending()).boxed();
    let fields = [("mcp-session-id", ID), ("accept", BOTH), ("mcp-protocol-version", NEW)];
    let rig = Rig::new(fake(echo).keeping().saying(unasked())).await;
    let mut body = rig.request("GET", &fields, String::new()).await.into_body();
    let mut seen = String::new();
    while !seen.contains("id: kept-1\ndata: {") {
        seen += &next(&mut body).await.unwrap();
    }
    assert!(seen.contains("id: kept-0\nretry: 2000\ndata: \n\n"), "{seen}");

    // What is resumed has ids already; what is missing is said as a comment, and it goes on.
    let missing = TransportError::new(ErrorKind::Exhausted, "5 messages are missing");
    let message = Message::notification("n", &json!({})).unwrap();
    let event = Event::Message { id: EventId::new("own-9"), message };
    let resumed = stream::iter([Err(missing), Ok(event)]).boxed();
    let rig = Rig::new(fake(echo).keeping().saying(resumed)).await;
    let fields = [fields[0], fields[1], fields[2], ("last-event-id", "own-3")];
    let body = text(rig.request("GET", &fields, String::new()).await).await;
    assert!(body.contains(": 5 messages are missing\n\n"), "{body}");
    assert!(body.contains("id: own-9\n") && !body.contains("kept"), "{body}");
    assert_eq!(rig.fake.listened_after(), [EventId::new("own-3")]);
}
