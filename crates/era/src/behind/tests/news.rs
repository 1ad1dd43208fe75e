//! Tests: news that goes down several streams at once.

use mcp_jsonrpc::{modern::Listen, transport::Inbox};

use super::*;

/// The streams of a server that says its news on each that is there for them, also on one that
/// has just begun.
#[derive(Clone, Default)]
struct Streams(Arc<Mutex<Vec<Stream>>>);

struct Stream {
    tools: bool,
    uris: Vec<String>,
    inbox: Arc<Inbox>,
}

impl Streams {
    fn announce(&self, method: &str, uri: Option<&str>) {
        let params = uri.map_or_else(|| json!({}), |uri| json!({ "uri": uri }));
        let message = Message::notification(method, &params).unwrap();
        for stream in &*self.0.lock().unwrap() {
            let is_wanted = match uri {
                Some(uri) => stream.uris.iter().any(|it| it == uri),
                None => stream.tools,
            };
            if is_wanted {
                stream.inbox.push(message.clone().into()).unwrap();
            }
        }
    }

    fn listen(&self, message: &Message) -> Reply {
        let wanted = message.read::<Listen<'_>>().unwrap().notifications;
        let uris = wanted.resource_subscriptions.unwrap_or_default();
        let uris: Vec<String> = uris.iter().map(|uri| uri.to_string()).collect();
        let inbox = Inbox::new(InboxMax::default());
        let ack = json!({ "notifications": { "resourceSubscriptions": uris } });
        let ack = Message::notification(modern::ACKNOWLEDGED, &ack).unwrap();
        inbox.push(ack.into()).unwrap();
        let tools = wanted.tools_list_changed == Some(true);
        let is_second = uris.len() == 2;
        self.0.lock().unwrap().push(Stream { tools, uris, inbox: Arc::clone(&inbox) });
        if is_second {
            // While the one before is still there, and nobody has read either.
            self.announce("notifications/resources/updated", Some("x:a"));
            self.announce("notifications/tools/list_changed", None);
        }
        Reply::Stream(stream::poll_fn(move |cx| inbox.poll_next(cx)).boxed())
    }
}

fn server(streams: &Streams) -> impl Transport + use<> {
    let streams = streams.clone();
    from_fn(move |exchange: Exchange| {
        let (message, streams) = (exchange.message, streams.clone());
        async move {
            if message.method() == Some(modern::LISTEN) {
                return Ok(streams.listen(&message));
            }
            let found = json!({ "supportedVersions": ["2026-07-28"], "capabilities": {} });
            Ok(Reply::Single(Message::response(message.id().unwrap(), &found).unwrap()))
        }
    })
}

/// A subscription needs another stream, and until it has begun there are two.
#[tokio::test(start_paused = true)]
async fn what_two_streams_say_at_once_is_heard_once() {
    let streams = Streams::default();
    let behind = behind_of(server(&streams), BehindOptions::default());
    let (mut client, _) = Client::of(&behind, ProtocolVersion::V2025_11_25, all()).await;
    let mut events = client.session.listen(None).await.unwrap();
    for uri in ["x:a", "x:b"] {
        let answer = client.ask("resources/subscribe", json!({ "uri": uri })).await;
        assert_eq!(answer["result"], json!({}));
    }
    let mut heard = Vec::new();
    while let Ok(Some(event)) = tokio::time::timeout(Duration::from_secs(60), events.next()).await {
        let Event::Message { message, .. } = event.unwrap() else { continue };
        heard.push(message.method().unwrap().to_owned());
    }
    heard.sort();
    assert_eq!(heard, ["notifications/resources/updated", "notifications/tools/list_changed"]);
    // With nobody subscribed to anything, what is left is the one for lists; it was never opened
    // anew.
    for uri in ["x:a", "x:b"] {
        client.ask("resources/unsubscribe", json!({ "uri": uri })).await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let count = |is: fn(&&Stream) -> bool| streams.0.lock().unwrap().iter().filter(is).count();
    assert_eq!(count(|it| it.tools), 1);
    assert_eq!(count(|it| Arc::strong_count(&it.inbox) > 1), 1, "how many are still held");
    streams.announce("notifications/tools/list_changed", None);
    assert_eq!(next(&mut events).await["method"], "notifications/tools/list_changed");
}
