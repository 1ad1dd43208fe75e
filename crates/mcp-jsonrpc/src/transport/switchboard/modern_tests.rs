//! What a switchboard promises to those who share a peer without sessions (2026-07-28).

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    modern::{DOUBT_SETTLE_TIMEOUT, DOUBT_TIMEOUT, DOUBTS_MAX},
    tests::{board, value, waiting},
    *,
};
use crate::{modern, transport::Reply};

/// A request as 2026-07-28 has it, with more `_meta`.
fn request(id: impl Into<Id>, method: &str, more: &Value) -> Message {
    let mut meta = json!({
        modern::PROTOCOL_VERSION: "2026-07-28",
        modern::CLIENT_CAPABILITIES: {},
    });
    for (key, value) in more.as_object().unwrap() {
        meta[key] = value.clone();
    }
    Message::request(&id.into(), method, &json!({ "_meta": meta })).unwrap()
}

fn call(id: impl Into<Id>) -> Message {
    request(id, "tools/call", &json!({}))
}

fn logging(id: impl Into<Id>) -> Message {
    request(id, "tools/call", &json!({ modern::LOG_LEVEL: "info" }))
}

fn listen(id: impl Into<Id>) -> Message {
    request(id, modern::LISTEN, &json!({}))
}

fn said(method: &str, params: &Value) -> Message {
    Message::notification(method, params).unwrap()
}

/// A notification of the subscription that went out as `asked`.
fn of(asked: &Message, method: &str) -> Message {
    said(method, &json!({ "_meta": { modern::SUBSCRIPTION_ID: asked.id() }, "n": 1 }))
}

fn log(data: &str) -> Message {
    said("notifications/message", &json!({ "level": "info", "data": data }))
}

const CHANGED: &str = "notifications/tools/list_changed";

/// The id a notification or a result says it is of.
fn subscription(message: &Value) -> &Value {
    let part = if message["result"].is_null() { &message["params"] } else { &message["result"] };
    &part["_meta"][modern::SUBSCRIPTION_ID]
}

#[test]
fn a_subscription_is_its_askers_alone_under_the_id_it_gave_it() {
    let (board, _outgoing) = board();
    let (one, mut for_one) = board.ask(&listen(7)).unwrap();
    let (two, mut for_two) = board.ask(&listen("seven\"")).unwrap();
    let (_, mut for_call) = board.ask(&call(7)).unwrap();
    let mut unasked = board.listen();

    // In whatever order: the acknowledgement is the first of its own subscription, no more.
    board.dispatch(of(&two, modern::ACKNOWLEDGED));
    board.dispatch(of(&two, CHANGED));
    board.dispatch(of(&one, modern::ACKNOWLEDGED));
    // One that writes its slashes with a backslash.
    let escaped = of(&one, CHANGED).to_line();
    let escaped = String::from_utf8(escaped.to_vec()).unwrap();
    let escaped = escaped.replace("protocol/sub", "protocol\\/sub");
    assert!(escaped.contains("protocol\\/sub"));
    board.dispatch(Message::parse(escaped).unwrap());

    for method in [modern::ACKNOWLEDGED, CHANGED] {
        let (one, two) = (waiting(&mut for_one), waiting(&mut for_two));
        assert_eq!((&one["method"], subscription(&one)), (&json!(method), &json!(7)));
        assert_eq!((&two["method"], subscription(&two)), (&json!(method), &json!("seven\"")));
    }
    for stream in [&mut for_one, &mut for_two, &mut for_call] {
        assert_eq!(waiting(stream), Value::Null);
    }
    assert_eq!(waiting(&mut unasked), Value::Null);
    assert_eq!(board.unclaimed(), 0);

    let meta = json!({ modern::SUBSCRIPTION_ID: one.id(), "x": [1] });
    let result = json!({ "resultType": "complete", "_meta": meta });
    board.dispatch(Message::response(one.id().unwrap(), &result).unwrap());
    let end = waiting(&mut for_one);
    assert_eq!((&end["id"], subscription(&end)), (&json!(7), &json!(7)));
    assert_eq!(end["result"]["_meta"]["x"], json!([1]));
    assert_eq!(waiting(&mut for_one), "end");
    assert_eq!(board.in_flight(), 2);
}

#[test]
fn what_names_no_subscription_that_is_open_is_for_nobody() {
    let (board, mut outgoing) = board();
    let (asked, mut listening) = board.ask(&listen("l")).unwrap();
    let (other, mut calling) = board.ask(&call("c")).unwrap();
    let mut unasked = board.listen();
    for message in [
        of(&other, CHANGED),
        of(&call(999), CHANGED),
        of(&call("1"), CHANGED),
        said(CHANGED, &json!({})),
        said("notifications/resources/updated", &json!({ "uri": "a:b" })),
        said("notifications/cancelled", &json!({ "requestId": other.id() })),
        said("notifications/cancelled", &json!({})),
        said("notifications/progress", &json!({ "progressToken": "l", "progress": 1 })),
        Message::request(&Id::from(1), "roots/list", &json!({})).unwrap(),
    ] {
        board.dispatch(message);
    }
    assert_eq!(board.unclaimed(), 9);
    assert_eq!(waiting(&mut listening), Value::Null);
    assert_eq!(waiting(&mut calling), Value::Null);
    assert_eq!(waiting(&mut unasked), Value::Null);
    // Nor is anything answered to the peer.
    assert!(outgoing.try_recv().is_err());
    assert!(asked.id().is_some());
}

#[test]
fn a_peer_that_cancels_a_subscription_ends_it() {
    let (board, mut outgoing) = board();
    let (asked, mut listening) = board.ask(&listen("l")).unwrap();
    board.dispatch(said("notifications/cancelled", &json!({ "requestId": asked.id() })));
    let end = waiting(&mut listening);
    assert_eq!((&end["id"], &end["result"]["resultType"]), (&json!("l"), &json!("complete")));
    assert_eq!(subscription(&end), "l");
    drop(listening);
    assert!(outgoing.try_recv().is_err());
}

#[test]
fn dropping_takes_a_request_back_under_our_id() {
    let (board, mut outgoing) = board();
    for request in [listen("a"), call("a"), request("a", DISCOVER, &json!({}))] {
        let (asked, stream) = board.ask(&request).unwrap();
        super::super::abandon(stream, "enough");
        let cancelled = value(&outgoing.try_recv().unwrap());
        assert_eq!(cancelled["params"], json!({ "requestId": asked.id(), "reason": "enough" }));
    }
    assert_eq!(board.in_flight(), 0);
}

#[test]
fn who_shares_a_peer_takes_back_nobody_elses_request() {
    let (board, _outgoing) = board();
    let (_, mut calling) = board.ask(&call(1)).unwrap();
    let cancelled = said("notifications/cancelled", &json!({ "requestId": 1 }));
    assert!(board.tell(cancelled).is_none());
    assert!(board.tell(Message::response(&Id::from(1), &json!({})).unwrap()).is_none());
    assert!(board.tell(said("notifications/other", &json!({}))).is_some());
    assert_eq!((waiting(&mut calling), board.in_flight()), (Value::Null, 1));
    assert_eq!(board.unclaimed(), 2);
}

#[test]
fn a_log_goes_to_the_only_request_that_asked_for_one_or_to_nobody() {
    let (board, _outgoing) = board();
    let (_, _listening) = board.ask(&listen(0)).unwrap();
    let (_, mut silent) = board.ask(&call(1)).unwrap();
    board.dispatch(log("nobody asked"));
    let (first, mut one) = board.ask(&logging(2)).unwrap();
    board.dispatch(log("one"));
    assert_eq!(waiting(&mut one)["params"]["data"], "one");
    let (_, mut two) = board.ask(&logging(3)).unwrap();
    board.dispatch(log("either"));
    board.dispatch(Message::response(first.id().unwrap(), &json!({})).unwrap());
    board.dispatch(log("two"));
    assert_eq!(waiting(&mut two)["params"]["data"], "two");
    // What is no log may be of any request.
    board.dispatch(said("notifications/other", &json!({})));
    assert_eq!(waiting(&mut silent), Value::Null);
    assert_eq!(waiting(&mut two), Value::Null);
    assert_eq!(board.unclaimed(), 3);
}

#[tokio::test(start_paused = true)]
async fn an_abandoned_request_may_still_be_the_one_that_logs() {
    let (board, _outgoing) = board();
    let (gone, abandoned) = board.ask(&logging(1)).unwrap();
    drop(abandoned);
    let (_, mut one) = board.ask(&logging(2)).unwrap();
    board.dispatch(log("of the first, perhaps"));
    assert_eq!((waiting(&mut one), board.unclaimed()), (Value::Null, 1));
    // Until its late answer.
    board.dispatch(Message::response(gone.id().unwrap(), &json!({})).unwrap());
    board.dispatch(log("two"));
    assert_eq!(waiting(&mut one)["params"]["data"], "two");

    // Or for a while; of those that are too many, the last stands for all.
    for _ in 0..DOUBTS_MAX + 2 {
        drop(board.ask(&logging(3)).unwrap());
    }
    drop(board.ask(&call(3)).unwrap());
    tokio::time::advance(DOUBT_TIMEOUT - Duration::from_millis(1)).await;
    board.dispatch(log("of whom"));
    assert_eq!(waiting(&mut one), Value::Null);
    tokio::time::advance(Duration::from_millis(1)).await;
    board.dispatch(log("three"));
    assert_eq!(waiting(&mut one)["params"]["data"], "three");
}

/// A peer reads what it is sent in order: one that answers what was sent later knows that nobody
/// waits for what was sent before, and has a moment to leave off.
#[tokio::test(start_paused = true)]
async fn a_peer_that_has_read_a_cancellation_logs_for_nobody_any_more() {
    let (board, _outgoing) = board();
    let (gone, abandoned) = board.ask(&logging(1)).unwrap();
    let (before, _first) = board.ask(&call(2)).unwrap();
    drop(abandoned);
    let progress = json!({ "progressToken": "p" });
    let (after, mut third) = board.ask(&request(3, "tools/call", &progress)).unwrap();
    let (_, mut fourth) = board.ask(&logging(4)).unwrap();
    let unheard = |fourth: &mut Asked| {
        board.dispatch(log("of whom"));
        assert_eq!(waiting(fourth), Value::Null);
    };
    // An answer to what was sent before shows nothing.
    board.dispatch(Message::response(before.id().unwrap(), &json!({})).unwrap());
    tokio::time::advance(DOUBT_SETTLE_TIMEOUT).await;
    unheard(&mut fourth);
    let token = value(&after)["params"]["_meta"]["progressToken"].clone();
    board.dispatch(said(
        "notifications/progress",
        &json!({ "progressToken": token, "progress": 1 }),
    ));
    assert_eq!(waiting(&mut third)["params"]["progressToken"], "p");
    tokio::time::advance(DOUBT_SETTLE_TIMEOUT - Duration::from_millis(1)).await;
    unheard(&mut fourth);
    tokio::time::advance(Duration::from_millis(1)).await;
    board.dispatch(log("four"));
    assert_eq!(waiting(&mut fourth)["params"]["data"], "four");

    // One that works on all the same is not believed again.
    let (gone_too, abandoned) = board.ask(&logging(5)).unwrap();
    drop(abandoned);
    tokio::time::advance(DOUBT_SETTLE_TIMEOUT * 2).await;
    board.dispatch(Message::response(gone_too.id().unwrap(), &json!({})).unwrap());
    drop(board.ask(&logging(6)).unwrap());
    let (after, _seventh) = board.ask(&call(7)).unwrap();
    board.dispatch(Message::response(after.id().unwrap(), &json!({})).unwrap());
    tokio::time::advance(DOUBT_SETTLE_TIMEOUT * 2).await;
    unheard(&mut fourth);
    tokio::time::advance(DOUBT_TIMEOUT).await;
    board.dispatch(log("at last"));
    assert_eq!(waiting(&mut fourth)["params"]["data"], "at last");
    assert!(gone.id().is_some());
}

/// One that could not be told is not thought to know.
#[tokio::test(start_paused = true)]
async fn a_peer_that_could_not_be_told_may_log_for_long() {
    let (board, outgoing) = board();
    drop(outgoing);
    drop(board.ask(&logging(1)).unwrap());
    let (after, _second) = board.ask(&call(2)).unwrap();
    let (_, mut third) = board.ask(&logging(3)).unwrap();
    board.dispatch(Message::response(after.id().unwrap(), &json!({})).unwrap());
    tokio::time::advance(DOUBT_SETTLE_TIMEOUT * 2).await;
    board.dispatch(log("of whom"));
    assert_eq!((waiting(&mut third), board.unclaimed()), (Value::Null, 1));
}

#[test]
fn nobody_hears_the_progress_of_another_who_had_its_token_before() {
    let (board, _outgoing) = board();
    let with_token = |id: i64| request(id, "tools/call", &json!({ "progressToken": 1 }));
    let token = |message: &Message| value(message)["params"]["_meta"]["progressToken"].clone();
    let (first, abandoned) = board.ask(&with_token(1)).unwrap();
    drop(abandoned);
    let (second, mut asked) = board.ask(&with_token(1)).unwrap();
    assert_ne!(token(&first), token(&second));
    for (message, progress) in [(&first, 1), (&second, 2)] {
        let params = json!({ "progressToken": token(message), "progress": progress });
        board.dispatch(said("notifications/progress", &params));
    }
    let heard = waiting(&mut asked);
    assert_eq!(heard["params"], json!({ "progressToken": 1, "progress": 2 }));
    assert_eq!(waiting(&mut asked), Value::Null);
}

#[test]
fn a_listener_that_is_too_slow_is_told_so_and_listens_no_more() {
    let (board, mut outgoing) = board();
    let (asked, mut listening) = board.ask(&listen("l")).unwrap();
    let room = InboxMax::default().queue_len_max;
    for _ in 0..=room {
        board.dispatch(of(&asked, CHANGED));
    }
    for _ in 0..room {
        assert_eq!(waiting(&mut listening)["method"], CHANGED);
    }
    let error = waiting(&mut listening);
    assert!(error.as_str().unwrap().contains("too slow"), "{error}");
    assert_eq!(value(&outgoing.try_recv().unwrap())["params"]["requestId"], value(&asked)["id"]);
    drop(listening);
    assert!(outgoing.try_recv().is_err(), "it is cancelled once");
}

#[tokio::test]
async fn a_probe_decides_nothing_and_is_not_cancelled() {
    let (board, mut outgoing) = board();
    let probe = request("p", DISCOVER, &json!({}));
    let (first, probing) = board.ask(&probe).unwrap();
    board.dispatch(said(CHANGED, &json!({})));
    drop(probing);
    assert!(outgoing.try_recv().is_err());

    let (sent, initializing) =
        board.ask(&Message::request(&Id::from(1), "initialize", &json!({})).unwrap()).unwrap();
    // The late answer is for nobody, also under a name that none of the requests goes by.
    let late = RpcError::new(RpcError::METHOD_NOT_FOUND, "what?");
    for id in [first.id(), None, Some(&Id::from("p")), Some(&Id::from("server-error"))] {
        board.dispatch(Message::error(id, &late).unwrap());
    }
    board.dispatch(Message::response(sent.id().unwrap(), &json!({ "ok": 1 })).unwrap());
    let Reply::Single(answer) = initializing.reply().await.unwrap() else { panic!("a stream") };
    assert_eq!(answer.body(), Some(r#"{"ok":1}"#));

    // What is unasked is announced, as ever; also what was said before, and what looks modern.
    let (asked, _listening) = board.ask(&listen(5)).unwrap();
    board.dispatch(of(&asked, CHANGED));
    let mut unasked = board.listen();
    for _ in 0..2 {
        assert_eq!(waiting(&mut unasked)["method"], CHANGED);
    }
    assert_eq!(board.unclaimed(), 0);
}
