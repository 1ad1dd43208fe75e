//! What is seen of requests, whatever comes of them.

use std::time::Duration;

use futures::stream;
use mcp_jsonrpc::transport::{ErrorKind, func::from_fn};
use serde_json::json;

use super::*;

fn request(method: &str, name: &str) -> Exchange {
    let message = Message::request(&Id::Number(1.into()), method, &json!({ "name": name }));
    Exchange::new(message.unwrap(), Caller::anonymous())
}

fn answer(result: serde_json::Value) -> Message {
    Message::response(&Id::Number(1.into()), &result).unwrap()
}

fn watch(counts: &Arc<Counts>) -> Watch {
    Watch::new(&"a".into(), Some(Arc::clone(counts)), None, Place::Server).unwrap()
}

/// A session that answers each call as its tool's name says.
async fn session(counts: &Arc<Counts>) -> Arc<dyn Session> {
    let transport = from_fn(async |exchange: Exchange| {
        #[derive(serde::Deserialize)]
        struct Named {
            name: String,
        }
        let said = Message::notification("notifications/message", &json!({})).unwrap();
        match exchange.message.read::<Named>().unwrap().name.as_str() {
            "good" => Ok(Reply::Single(answer(json!({ "content": [] })))),
            "bad" => Ok(Reply::Single(answer(json!({ "content": [], "isError": true })))),
            "late" => Err(TransportError::new(ErrorKind::Timeout, "no answer")),
            "never" => std::future::pending().await,
            "stream" => {
                tokio::time::advance(Duration::from_millis(30)).await;
                let said = [Ok(said.into()), Ok(answer(json!({})).into())];
                Ok(Reply::Stream(stream::iter(said).boxed()))
            }
            "broken" => Ok(Reply::Stream(stream::iter([Ok(said.into())]).boxed())),
            other => panic!("{other}"),
        }
    });
    let observed = Observed::new(Arc::new(transport), watch(counts));
    let opening = Opening { caller: Caller::anonymous(), version: None, at: "/a/mcp".into() };
    observed.open(opening).await.unwrap()
}

async fn read(reply: Result<Reply, TransportError>) {
    if let Ok(Reply::Stream(mut events)) = reply {
        while events.next().await.is_some() {}
    }
}

#[tokio::test(start_paused = true)]
async fn every_request_is_counted_once_by_what_came_of_it() {
    let counts = Arc::new(Counts::default());
    let session = session(&counts).await;
    for (name, outcome) in [
        ("good", Outcome::Ok),
        ("bad", Outcome::ToolError),
        ("late", Outcome::Timeout),
        ("stream", Outcome::Ok),
        ("broken", Outcome::Error),
    ] {
        let before = counts.requests(Method::CALL, outcome);
        read(session.send(request("tools/call", name)).await).await;
        assert_eq!(counts.requests(Method::CALL, outcome), before + 1, "{name}");
    }
    read(session.send(request("x/y", "good")).await).await;
    assert_eq!(counts.requests(Method::of("other"), Outcome::Ok), 1);
    let durations = counts.durations();
    assert_eq!(durations.count, 6);
    assert!((durations.sum - 0.03).abs() < 1e-3, "{durations:?}");
    assert_eq!(counts.streams(), 0);
    let sent: usize = ["good", "bad", "late", "stream", "broken"]
        .map(|name| request("tools/call", name).message.as_bytes().len())
        .iter()
        .sum();
    let other = request("x/y", "good").message.as_bytes().len();
    assert_eq!(counts.bytes().0, (sent + other) as u64);
}

#[tokio::test]
async fn who_leaves_has_cancelled() {
    let counts = Arc::new(Counts::default());
    let session = session(&counts).await;
    assert!(session.send(request("tools/call", "never")).now_or_never().is_none());
    assert_eq!(counts.requests(Method::CALL, Outcome::Cancelled), 1);

    let Ok(Reply::Stream(mut events)) = session.send(request("tools/call", "broken")).await else {
        panic!("no stream");
    };
    events.next().await.unwrap().unwrap();
    assert_eq!(counts.streams(), 1);
    drop(events);
    assert_eq!(counts.requests(Method::CALL, Outcome::Cancelled), 2);
    assert_eq!(counts.streams(), 0);

    // Who has the answer and leaves has not.
    let Ok(Reply::Stream(mut events)) = session.send(request("prompts/get", "broken")).await else {
        panic!("no stream");
    };
    while events.next().await.is_some() {}
    drop(events);
    assert_eq!(counts.requests(Method::of("prompts/get"), Outcome::Cancelled), 0);
    assert_eq!(counts.requests(Method::of("prompts/get"), Outcome::Error), 1);
}

#[tokio::test]
async fn who_listens_is_counted_as_long_as_that_lasts() {
    let counts = Arc::new(Counts::default());
    let session = session(&counts).await;
    let listening = session.listen(None).await.unwrap();
    assert_eq!(counts.streams(), 1);
    drop(listening);
    assert_eq!(counts.streams(), 0);
}
