//! Clients of 2026-07-28 on standard streams, and how the era of a client is told.

use std::sync::{Arc, Mutex};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream};
use mcp_jsonrpc::{
    Message, ProtocolVersion, modern,
    transport::{
        Caller, Endpoint, ErrorKind, Event, EventId, EventStream, Exchange, Opening, Reply,
        Session, SessionId, Transport, TransportError,
    },
};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream, ReadHalf, WriteHalf};

use super::{ServeMax, serve};

/// A server of both eras, or of the older alone.
#[derive(Debug, Default)]
struct Both {
    legacy_only: bool,
    /// What was opened, asked, and dropped before its end.
    heard: Mutex<Vec<String>>,
}

#[derive(Debug)]
struct Way(Arc<Both>);

#[derive(Debug)]
struct Talks {
    both: Arc<Both>,
    version: Option<ProtocolVersion>,
}

struct Dropped(Arc<Both>);

impl Both {
    fn hear(&self, what: impl Into<String>) {
        self.heard.lock().unwrap().push(what.into());
    }

    fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }
}

impl Drop for Dropped {
    fn drop(&mut self) {
        let why = mcp_jsonrpc::transport::reason();
        self.0.hear(format!("dropped: {}", why.as_deref().unwrap_or("-")));
    }
}

impl Transport for Way {
    fn open(&self, opening: Opening) -> BoxFuture<'_, Result<Arc<dyn Session>, TransportError>> {
        let (both, version) = (Arc::clone(&self.0), opening.version);
        async move {
            if both.legacy_only {
                opening.with_handshake()?;
            }
            if version.is_none() {
                both.hear("opened");
            }
            Ok(Arc::new(Talks { both, version }) as Arc<dyn Session>)
        }
        .boxed()
    }

    fn find(&self, _: &SessionId, _: &Caller) -> Result<Arc<dyn Session>, TransportError> {
        Err(TransportError::new(ErrorKind::NoSession, "none"))
    }
}

impl Session for Talks {
    fn endpoint(&self) -> Endpoint {
        Endpoint { uri: Arc::from("both:"), session: None }
    }

    fn send(&self, exchange: Exchange) -> BoxFuture<'_, Result<Reply, TransportError>> {
        async move {
            assert_eq!(exchange.version, self.version);
            let message = exchange.message;
            let method = message.method().unwrap_or_default().to_owned();
            let era = if self.version.is_some() { "modern" } else { "legacy" };
            self.both.hear(format!("{era} {method}"));
            let Some(id) = message.id().cloned() else { return Ok(Reply::Accepted) };
            let answer = Message::response(&id, &json!({ "from": era })).unwrap();
            let dropped = Dropped(Arc::clone(&self.both));
            let meta = json!({ "_meta": { modern::SUBSCRIPTION_ID: id } });
            Ok(match &*method {
                modern::LISTEN => {
                    let ack = Message::notification(modern::ACKNOWLEDGED, &meta).unwrap();
                    let rest = stream::pending().inspect(move |_: &Event| _ = &dropped);
                    let events = stream::iter([Event::from(ack)]).chain(rest);
                    Reply::Stream(events.map(Ok).boxed())
                }
                "asks" => {
                    std::mem::forget(dropped);
                    let asked = Message::request(&id, "roots/list", &json!({})).unwrap();
                    Reply::Stream(stream::iter([asked, answer].map(|it| Ok(it.into()))).boxed())
                }
                "never" => {
                    futures::future::pending::<()>().await;
                    drop(dropped);
                    Reply::Accepted
                }
                _ => {
                    std::mem::forget(dropped);
                    Reply::Single(answer)
                }
            })
        }
        .boxed()
    }

    fn listen(&self, _: Option<EventId>) -> BoxFuture<'_, Result<EventStream, TransportError>> {
        async {
            match self.version {
                None => Ok(stream::pending().boxed()),
                Some(_) => panic!("nothing is unasked"),
            }
        }
        .boxed()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.both.hear("closed");
        async {}.boxed()
    }
}

/// A client, which talks to what is served beside it.
struct Client {
    read: tokio::io::Lines<BufReader<ReadHalf<DuplexStream>>>,
    write: WriteHalf<DuplexStream>,
}

impl Client {
    async fn say(&mut self, message: &Value) {
        self.write.write_all(format!("{message}\n").as_bytes()).await.unwrap();
    }

    async fn hear(&mut self) -> Value {
        let line = self.read.next_line().await.unwrap().expect("a line");
        serde_json::from_str(&line).unwrap()
    }

    async fn ask(&mut self, message: &Value) -> Value {
        self.say(message).await;
        self.hear().await
    }
}

/// Lets a client talk; what it says has to be over in the end.
async fn talking(both: &Arc<Both>, talk: impl AsyncFnOnce(&mut Client)) {
    let (client, here) = tokio::io::duplex(1 << 16);
    let (read, write) = tokio::io::split(client);
    let mut client = Client { read: BufReader::new(read).lines(), write };
    let max = ServeMax { in_flight_max: 3, ..ServeMax::default() };
    let way = Arc::new(Way(Arc::clone(both)));
    let serving = serve(way, tokio::io::split(here), Caller::anonymous(), max);
    let client = async {
        talk(&mut client).await;
        client.write.shutdown().await.unwrap();
        assert_eq!(client.read.next_line().await.unwrap(), None);
    };
    let (served, ()) = tokio::join!(serving, client);
    served.unwrap();
}

fn asks(id: impl Into<Value>, method: &str) -> Value {
    let meta = json!({ modern::PROTOCOL_VERSION: "2026-07-28", modern::CLIENT_CAPABILITIES: {} });
    json!({ "jsonrpc": "2.0", "id": id.into(), "method": method, "params": { "_meta": meta } })
}

fn initialize(id: impl Into<Value>) -> Value {
    let params = json!({ "protocolVersion": "2025-11-25", "capabilities": {} });
    json!({ "jsonrpc": "2.0", "id": id.into(), "method": "initialize", "params": params })
}

fn cancels(id: impl Into<Value>) -> Value {
    let params = json!({ "requestId": id.into(), "reason": "enough" });
    json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": params })
}

fn code(answer: &Value) -> i64 {
    answer["error"]["code"].as_i64().unwrap_or_default()
}

#[tokio::test(start_paused = true)]
async fn who_begins_without_a_handshake_is_kept_to_that() {
    let both = Arc::default();
    talking(&both, async |client| {
        assert_eq!(client.ask(&asks(1, modern::DISCOVER)).await["result"]["from"], "modern");
        assert_eq!(client.ask(&asks(2, "tools/list")).await["result"]["from"], "modern");
        let late = client.ask(&initialize(3)).await;
        assert_eq!((code(&late), &late["id"]), (-32022, &json!(3)));
        let data = json!({ "supported": ["2026-07-28"], "requested": "2025-11-25" });
        assert_eq!(late["error"]["data"], data);
        let bare = json!({ "jsonrpc": "2.0", "id": 4, "method": "tools/list" });
        assert_eq!(code(&client.ask(&bare).await), -32602);
        let mut other = asks(5, "tools/list");
        other["params"]["_meta"][modern::PROTOCOL_VERSION] = json!("2099-01-01");
        let other = client.ask(&other).await;
        assert_eq!(
            (code(&other), &other["error"]["data"]["requested"]),
            (-32022, &json!("2099-01-01"))
        );
        let mut able = asks(6, "tools/list");
        able["params"]["_meta"][modern::CLIENT_CAPABILITIES] = json!("all");
        assert_eq!(code(&client.ask(&able).await), -32602);
        assert_eq!(code(&client.ask(&json!([asks(7, "tools/list")])).await), -32600);
        // Answers, and what needs none.
        client.say(&json!({ "jsonrpc": "2.0", "id": 1, "result": {} })).await;
        client.say(&json!({ "jsonrpc": "2.0", "method": "notifications/other" })).await;
        assert_eq!(client.ask(&asks("x", "asks")).await["id"], "x");
    })
    .await;
    let expect = ["server/discover", "tools/list", "notifications/other", "asks"];
    assert_eq!(both.heard(), expect.map(|method| format!("modern {method}")));
}

#[tokio::test(start_paused = true)]
async fn who_only_looked_may_begin_with_a_handshake() {
    for legacy_only in [false, true] {
        let both = Arc::new(Both { legacy_only, ..Both::default() });
        talking(&both, async |client| {
            let found = client.ask(&asks("probe", modern::DISCOVER)).await;
            assert_eq!(code(&found), if legacy_only { -32601 } else { 0 });
            let mut newer = asks("newer", "tools/list");
            newer["params"]["_meta"][modern::PROTOCOL_VERSION] = json!("2099-01-01");
            assert_eq!(code(&client.ask(&newer).await), -32022);
            // One that is not waited for.
            client.say(&asks("never", modern::DISCOVER)).await;
            if legacy_only {
                client.hear().await;
                let refused = client.ask(&asks(0, "tools/list")).await;
                assert_eq!(code(&refused), -32022);
                assert_eq!(refused["error"]["data"]["supported"][0], "2024-11-05");
            } else {
                client.hear().await;
            }
            client.say(&cancels("never")).await;
            assert_eq!(client.ask(&initialize(1)).await["result"]["from"], "legacy");
            // From here on, whatever it says.
            assert_eq!(client.ask(&asks(2, "tools/list")).await["result"]["from"], "legacy");
            assert_eq!(client.ask(&asks(3, modern::DISCOVER)).await["result"]["from"], "legacy");
        })
        .await;
        let heard = both.heard();
        assert_eq!(heard.iter().filter(|it| *it == "opened").count(), 1);
        assert_eq!(heard.last().unwrap(), "closed");
    }
}

#[tokio::test(start_paused = true)]
async fn a_cancellation_takes_back_one_request_and_says_why() {
    let both = Arc::default();
    talking(&both, async |client| {
        client.say(&asks(1, "never")).await;
        client.say(&asks("1", "never")).await;
        // Two at once are not told apart.
        assert_eq!(code(&client.ask(&asks(1, "tools/list")).await), -32600);
        client.say(&cancels(7)).await;
        client.say(&cancels(1)).await;
        client.say(&json!({ "jsonrpc": "2.0", "method": "notifications/cancelled" })).await;
        // The id is free again.
        assert_eq!(client.ask(&asks(1, "tools/list")).await["result"]["from"], "modern");
        assert_eq!(both.heard().iter().filter(|it| *it == "dropped: enough").count(), 1);
        client.say(&cancels("1")).await;
        assert_eq!(client.ask(&asks(1, "tools/list")).await["result"]["from"], "modern");
    })
    .await;
    assert_eq!(both.heard().iter().filter(|it| *it == "dropped: enough").count(), 2);
}

#[tokio::test(start_paused = true)]
async fn subscriptions_share_the_channel_and_end_with_a_result() {
    let both = Arc::default();
    let before = tokio::time::Instant::now();
    talking(&both, async |client| {
        for id in [json!(1), json!("two"), json!(3)] {
            let ack = client.ask(&asks(id.clone(), modern::LISTEN)).await;
            assert_eq!(ack["method"], modern::ACKNOWLEDGED);
            assert_eq!(ack["params"]["_meta"][modern::SUBSCRIPTION_ID], id);
        }
        // As many as may.
        let refused = client.ask(&asks(4, "tools/list")).await;
        assert_eq!(refused["error"]["message"], "too many requests at once");
        client.say(&cancels(1)).await;
        assert_eq!(client.ask(&asks(4, "tools/list")).await["result"]["from"], "modern");
        // The two that are left are told of the end.
        client.write.shutdown().await.unwrap();
        let mut ended = [client.hear().await, client.hear().await];
        ended.sort_by_key(|it| it["id"].to_string());
        for (end, id) in ended.iter().zip([json!("two"), json!(3)]) {
            let meta = json!({ modern::SUBSCRIPTION_ID: id });
            let result = json!({ "resultType": "complete", "_meta": meta });
            assert_eq!((&end["id"], &end["result"]), (&id, &result));
        }
    })
    .await;
    // Nobody waits for them.
    assert_eq!(before.elapsed(), std::time::Duration::ZERO);
    assert_eq!(both.heard().iter().filter(|it| it.starts_with("dropped")).count(), 3);
}
