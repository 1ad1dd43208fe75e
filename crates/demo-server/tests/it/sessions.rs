//! How sessions begin, end, and stay apart.

use demo_server::{DemoServer, Options};
use futures::{FutureExt, StreamExt};
use mcp_jsonrpc::{
    Id, Message, ProtocolVersion,
    transport::{Caller, ErrorKind, Exchange, Reply, Transport},
};
use serde_json::{Value, json};

use crate::rig::{Client, opening, value};

/// What an uninitialized session answers to one request: `ok` or the code of an error.
async fn first(method: &str, params: Value) -> String {
    let session = DemoServer::default().open(opening(&Caller::anonymous())).await.unwrap();
    let message = Message::request(&Id::from(1), method, &params).unwrap();
    let exchange = Exchange::new(message, Caller::anonymous());
    let Reply::Single(answer) = session.send(exchange).await.unwrap() else { panic!("no answer") };
    value(&answer).get("error").map_or_else(|| "ok".to_owned(), |error| error["code"].to_string())
}

#[tokio::test]
async fn initialize_comes_first() {
    assert_eq!(first("ping", json!({})).await, "ok");
    assert_eq!(first("tools/list", json!({})).await, "-32600");
    assert_eq!(first("tools/call", json!({ "name": "echo" })).await, "-32600");
    assert_eq!(first("server/discover", json!({})).await, "-32601");
    assert_eq!(first("initialize", json!({})).await, "-32602");
    assert_eq!(first("initialize", json!({ "protocolVersion": "2025-06-18" })).await, "ok");

    let mut client = Client::new(ProtocolVersion::LATEST_LEGACY).await;
    let again = json!({ "protocolVersion": "2025-06-18", "capabilities": {} });
    assert_eq!(client.request("initialize", again).await.unwrap_err()["code"], -32600);
    assert_eq!(client.request("ping", json!({})).await.unwrap(), json!({}));
    assert_eq!(client.request("tools/nonsense", json!({})).await.unwrap_err()["code"], -32601);
}

#[tokio::test]
async fn a_revision_nobody_knows_gets_the_latest_with_a_handshake() {
    for asked in ["2026-07-28", "1999-01-01", ""] {
        let session = DemoServer::default().open(opening(&Caller::anonymous())).await.unwrap();
        let params = json!({ "protocolVersion": asked, "capabilities": {} });
        let message = Message::request(&Id::from(1), "initialize", &params).unwrap();
        let exchange = Exchange::new(message, Caller::anonymous());
        let Reply::Single(answer) = session.send(exchange).await.unwrap() else {
            panic!("no answer");
        };
        assert_eq!(value(&answer)["result"]["protocolVersion"], "2025-11-25");
    }
}

#[tokio::test]
async fn sessions_do_not_hear_of_each_other() {
    let server = DemoServer::default();
    let mut one = Client::of(&server, ProtocolVersion::V2025_06_18, json!({})).await;
    let mut other = Client::of(&server, ProtocolVersion::V2025_06_18, json!({})).await;
    let mut listener = other.session.listen(None).await.unwrap();
    other.request("resources/subscribe", json!({ "uri": "demo://note" })).await.unwrap();
    one.call("touch", json!({})).await;
    one.call("toggle", json!({})).await;
    assert!(other.waiting(&mut listener).is_empty());
    assert_eq!(other.call("extra", json!({})).await, "-32602");
}

#[tokio::test]
async fn the_first_listener_hears_what_came_before_and_the_newest_wins() {
    let mut client = Client::new(ProtocolVersion::LATEST_LEGACY).await;
    client.call("toggle", json!({})).await;
    let mut first = client.session.listen(None).await.unwrap();
    assert_eq!(client.waiting(&mut first).len(), 1);
    let mut second = client.session.listen(None).await.unwrap();
    assert!(first.next().await.is_none());
    client.call("toggle", json!({})).await;
    assert_eq!(client.waiting(&mut second).len(), 1);
}

#[tokio::test]
async fn a_listener_that_sleeps_misses_what_its_queue_has_no_room_for() {
    let mut client = Client::new(ProtocolVersion::LATEST_LEGACY).await;
    let mut listener = client.session.listen(None).await.unwrap();
    client.request("resources/subscribe", json!({ "uri": "demo://note" })).await.unwrap();
    client.call("touch", json!({ "times": 1000 })).await;
    assert_eq!(client.waiting(&mut listener).len(), Options::default().inbox.queue_len_max);
}

#[tokio::test]
async fn a_session_that_is_closed_or_dropped_is_over() {
    let server = DemoServer::default();
    let client = Client::of(&server, ProtocolVersion::LATEST_LEGACY, json!({})).await;
    let mut listener = client.session.listen(None).await.unwrap();
    let params = json!({ "name": "sleep", "arguments": { "ms": 999_999 } });
    let sleep = |id: i64| Message::request(&Id::from(id), "tools/call", &params).unwrap();
    let mut sleeping = client.send(sleep(7));
    assert!((&mut sleeping).now_or_never().is_none());
    assert!(client.session.is_open());
    client.session.close().await;
    assert!(!client.session.is_open());
    assert_eq!(*sleeping.await.unwrap_err().kind(), ErrorKind::Closed);
    assert!(listener.next().await.is_none());
    assert_eq!(*client.send(sleep(8)).await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(server.session_count(), 1);
    drop(client);
    assert_eq!(server.session_count(), 0);
}

#[tokio::test]
async fn ids_are_found_by_their_own_caller_until_they_are_closed() {
    let mut options = Options::default();
    options.sessions_have_ids = true;
    let server = DemoServer::new(options);
    let (ann, bob) = (Caller::named("ann"), Caller::named("bob"));
    let session = server.open(opening(&ann)).await.unwrap();
    let endpoint = session.endpoint();
    assert_eq!(&*endpoint.uri, "/demo/mcp");
    let id = endpoint.session.unwrap();
    drop(session);
    assert_eq!(*server.find(&id, &bob).unwrap_err().kind(), ErrorKind::NoSession);
    let session = server.find(&id, &ann).unwrap();
    session.close().await;
    drop(session);
    assert_eq!(*server.find(&id, &ann).unwrap_err().kind(), ErrorKind::NoSession);
    assert_eq!(server.session_count(), 0);
    assert!(!format!("{server:?}").contains(id.as_str()));
}

#[tokio::test]
async fn sessions_are_bounded() {
    let mut options = Options::default();
    options.session_count_max = 2;
    let server = DemoServer::new(options);
    let caller = Caller::anonymous();
    let one = server.open(opening(&caller)).await.unwrap();
    let _other = server.open(opening(&caller)).await.unwrap();
    let refused = server.open(opening(&caller)).await.unwrap_err();
    assert_eq!(*refused.kind(), ErrorKind::Exhausted);
    assert_eq!(one.endpoint().session, None);
    drop(one);
    server.open(opening(&caller)).await.unwrap();
}
