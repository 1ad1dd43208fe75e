//! Children of either era: what is asked first decides, and a probe does no harm.

use std::sync::Arc;

use futures::StreamExt;
use mcp_jsonrpc::{
    Id, Message, ProtocolVersion, RpcError, modern,
    transport::{
        Caller, ErrorKind, Event, EventStream, Exchange, Opening, Reply, Session, Transport,
    },
};
use serde_json::{Value, json};

use crate::rig::{ask, shell, soon};

/// Of 2026-07-28: acknowledges what listens, announces a change when it is called, says what it was
/// told to cancel, and ends all that listens with `bye`.
const MODERN: &str = r#"
say() { printf '%s\n' "$1"; }
meta() { printf '"_meta":{"io.modelcontextprotocol/subscriptionId":%s}' "$1"; }
listens=
while IFS= read -r line; do
    id=${line#*\"id\":}; id=${id%%,*}
    case $line in
    *'"server/discover"'*)
        say "{\"jsonrpc\":\"2.0\",\"id\":$id,\"result\":{\"supportedVersions\":[\"2026-07-28\"]}}" ;;
    *'"subscriptions/listen"'*)
        listens="$listens $id"
        ack='"method":"notifications/subscriptions/acknowledged"'
        say "{\"jsonrpc\":\"2.0\",$ack,\"params\":{\"notifications\":{},$(meta "$id")}}" ;;
    *'"tools/call"'*)
        for it in $listens; do
            changed='"method":"notifications/tools/list_changed"'
            say "{\"jsonrpc\":\"2.0\",$changed,\"params\":{$(meta "$it")}}"
        done
        say '{"jsonrpc":"2.0","method":"notifications/message","params":{"data":"called"}}'
        say "{\"jsonrpc\":\"2.0\",\"id\":$id,\"result\":{}}" ;;
    *'"notifications/cancelled"'*)
        of=${line#*\"requestId\":}; of=${of%%[,\}]*}
        cancelled="$cancelled $of" ;;
    *'"cancelled"'*)
        say "{\"jsonrpc\":\"2.0\",\"id\":$id,\"result\":\"$cancelled\"}" ;;
    *'"bye"'*)
        for it in $listens; do
            say "{\"jsonrpc\":\"2.0\",\"id\":$it,\"result\":{\"resultType\":\"complete\",$(meta "$it")}}"
        done
        say "{\"jsonrpc\":\"2.0\",\"id\":$id,\"result\":{}}" ;;
    esac
done"#;

/// With a handshake: knows no discovery, and answers it late.
const LEGACY: &str = r#"
read -r probe
id=${probe#*\"id\":}; id=${id%%,*}
read -r line
case $line in *initialize*) ;; *) exit 3 ;; esac
late=${line#*\"id\":}; late=${late%%,*}
echo "{\"jsonrpc\":\"2.0\",\"id\":$id,\"error\":{\"code\":-32601,\"message\":\"what?\"}}"
echo '{"jsonrpc":"2.0","error":{"code":-32600,"message":"what?"},"id":null}'
echo "{\"jsonrpc\":\"2.0\",\"id\":$late,\"result\":{\"protocolVersion\":\"2025-11-25\"}}"
echo '{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}'
exec cat >/dev/null"#;

fn modern(id: &str, method: &str, more: &Value) -> Exchange {
    let mut meta =
        json!({ modern::PROTOCOL_VERSION: "2026-07-28", modern::CLIENT_CAPABILITIES: {} });
    for (key, value) in more.as_object().unwrap() {
        meta[key] = value.clone();
    }
    let params = json!({ "_meta": meta, "notifications": {} });
    let message = Message::request(&Id::from(id), method, &params).unwrap();
    let version = Some(ProtocolVersion::V2026_07_28);
    Exchange { version, ..Exchange::new(message, Caller::anonymous()) }
}

async fn open(script: &str, version: Option<ProtocolVersion>) -> Arc<dyn Session> {
    let opening = Opening { caller: Caller::anonymous(), version, at: "test:".into() };
    shell(script, true).open(opening).await.unwrap()
}

async fn stream(session: &dyn Session, exchange: Exchange) -> EventStream {
    match soon("a stream", session.send(exchange)).await.unwrap() {
        Reply::Stream(events) => events,
        reply => panic!("{reply:?}"),
    }
}

async fn next(events: &mut EventStream) -> Value {
    let Some(Ok(Event::Message { message, .. })) = soon("an event", events.next()).await else {
        panic!("no event");
    };
    serde_json::from_slice(message.as_bytes()).unwrap()
}

async fn single(session: &dyn Session, exchange: Exchange) -> Message {
    match soon("an answer", session.send(exchange)).await.unwrap() {
        Reply::Single(message) => message,
        reply => panic!("{reply:?}"),
    }
}

/// Opened in either way, for a session with a child is the same whatever it will be.
#[tokio::test]
async fn any_number_share_a_child_that_needs_no_handshake() {
    for version in [Some(ProtocolVersion::V2026_07_28), None] {
        let session = open(MODERN, version).await;
        let found = single(&*session, modern("l", modern::DISCOVER, &json!({}))).await;
        assert_eq!(found.body(), Some(r#"{"supportedVersions":["2026-07-28"]}"#));

        // Two who use the same id.
        let mut one = stream(&*session, modern("l", modern::LISTEN, &json!({}))).await;
        let mut two = stream(&*session, modern("l", modern::LISTEN, &json!({}))).await;
        let log = json!({ modern::LOG_LEVEL: "info" });
        let mut called = stream(&*session, modern("l", "tools/call", &log)).await;
        assert_eq!(next(&mut called).await["params"]["data"], "called");
        assert_eq!(next(&mut called).await["id"], "l");
        for events in [&mut one, &mut two] {
            for method in [modern::ACKNOWLEDGED, "notifications/tools/list_changed"] {
                let heard = next(events).await;
                assert_eq!(heard["method"], method);
                assert_eq!(heard["params"]["_meta"][modern::SUBSCRIPTION_ID], "l");
            }
        }

        // One of them goes; of the other, which is the third request, nothing is cancelled.
        drop(one);
        let cancelled = async {
            loop {
                // A cancellation is written by another task, and may come behind.
                let said = single(&*session, modern("l", "cancelled", &json!({}))).await;
                if said.body() != Some(r#""""#) {
                    return said;
                }
            }
        };
        assert_eq!(soon("a cancellation", cancelled).await.body(), Some("\" 2\""));
        single(&*session, modern("l", "bye", &json!({}))).await;
        let end = next(&mut two).await;
        assert_eq!((&end["id"], &end["result"]["resultType"]), (&json!("l"), &json!("complete")));
        assert_eq!(end["result"]["_meta"][modern::SUBSCRIPTION_ID], "l");

        // Nothing is unasked.
        let mut unasked = session.listen(None).await.unwrap();
        soon("close", session.close()).await;
        assert!(soon("the end", unasked.next()).await.is_none());
    }
}

#[tokio::test]
async fn who_was_asked_for_its_era_in_vain_is_begun_with_a_handshake() {
    let session = open(LEGACY, None).await;
    let probe = session.send(modern("p", modern::DISCOVER, &json!({})));
    // Nobody waits for its answer any longer.
    assert!(futures::FutureExt::now_or_never(probe).is_none());
    let params = json!({ "protocolVersion": "2025-11-25", "capabilities": {} });
    let initialize = Message::request(&Id::from(1), "initialize", &params).unwrap();
    let answer = single(&*session, Exchange::new(initialize, Caller::anonymous())).await;
    assert_eq!(answer.id(), Some(&Id::from(1)));
    assert_eq!(answer.body(), Some(r#"{"protocolVersion":"2025-11-25"}"#));
    let mut unasked = session.listen(None).await.unwrap();
    assert_eq!(next(&mut unasked).await["method"], "notifications/tools/list_changed");
    soon("close", session.close()).await;
}

#[tokio::test]
async fn an_error_is_an_answer_to_a_probe() {
    let script = r#"read -r line
        echo '{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"Invalid request"}}'
        exec cat >/dev/null"#;
    let session = open(script, None).await;
    let refused = single(&*session, modern("p", modern::DISCOVER, &json!({}))).await;
    assert_eq!(refused.read::<RpcError>().unwrap().code, RpcError::INVALID_PARAMS);
    assert!(session.is_open());
    soon("close", session.close()).await;
}

#[tokio::test]
async fn a_child_that_exits_on_a_probe_says_so() {
    let spawn = shell("read -r line; echo 'expected initialize' >&2; exit 1", true);
    let process = spawn.start().await.unwrap();
    let probe = modern("p", modern::DISCOVER, &json!({}));
    let error = soon("an error", process.send(probe)).await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Closed);
    assert!(error.to_string().contains("expected initialize"), "{error}");
    assert!(!process.is_open());
    assert_eq!(
        ask(&process, "ping").await.unwrap_err().kind(),
        &ErrorKind::Unavailable { retry_after: None }
    );
    soon("close", process.close()).await;
}
