//! What a switchboard promises to those who share it.

use futures::{FutureExt, Stream};
use serde_json::{Value, json};

use super::*;
use crate::transport::Reply;

pub(super) fn board() -> (Switchboard, mpsc::Receiver<Box<Message>>) {
    Switchboard::new(SwitchboardMax::default())
}

fn request(id: impl Into<Id>, params: &Value) -> Message {
    Message::request(&id.into(), "tools/call", params).unwrap()
}

fn with_token(id: i64, token: &Value) -> Message {
    request(id, &json!({ "name": "x", "_meta": { "progressToken": token } }))
}

fn progress(token: &Value, progress: u32) -> Message {
    let params = json!({ "progressToken": token, "progress": progress });
    Message::notification("notifications/progress", &params).unwrap()
}

fn answer(to: &Message) -> Message {
    Message::response(to.id().unwrap(), &json!({ "to": to.id() })).unwrap()
}

pub(super) fn closed() -> TransportError {
    TransportError::new(ErrorKind::Closed, "gone")
}

/// The JSON of what waits at the head of a stream; null if nothing does.
pub(super) fn waiting(
    stream: &mut (impl Stream<Item = Result<Event, TransportError>> + Unpin),
) -> Value {
    match stream.next().now_or_never() {
        Some(Some(Ok(Event::Message { message, .. }))) => value(&message),
        Some(Some(Err(error))) => json!(error.to_string()),
        Some(None) => json!("end"),
        Some(Some(Ok(Event::Pause { .. }))) | None => Value::Null,
    }
}

pub(super) fn value(message: &Message) -> Value {
    serde_json::from_slice(message.as_bytes()).unwrap()
}

fn token_of(message: &Message) -> Value {
    value(message)["params"]["_meta"]["progressToken"].clone()
}

#[tokio::test]
async fn two_askers_with_one_id_get_their_own_answers() {
    let (board, _cancellations) = board();
    let (first, for_first) = board.ask(&request(7, &json!({ "n": 1 }))).unwrap();
    let (second, for_second) = board.ask(&request("7", &json!({ "n": 2 }))).unwrap();
    assert_ne!(first.id(), second.id());
    assert_eq!(board.in_flight(), 2);

    board.dispatch(answer(&second));
    board.dispatch(answer(&first));
    for (asked, sent, theirs) in [(for_first, first, json!(7)), (for_second, second, json!("7"))] {
        let Reply::Single(reply) = asked.reply().await.unwrap() else { panic!("a stream") };
        assert_eq!(value(&reply)["id"], theirs);
        assert_eq!(value(&reply)["result"]["to"], value(&sent)["id"]);
    }
    assert_eq!(board.in_flight(), 0);
}

#[tokio::test]
async fn what_precedes_the_answer_makes_a_stream() {
    let (board, _cancellations) = board();
    let (_, asked) = board.ask(&with_token(1, &json!("mine"))).unwrap();
    board.dispatch(progress(&json!("mine"), 1));
    let Reply::Stream(mut stream) = asked.reply().await.unwrap() else { panic!("no stream") };
    assert_eq!(waiting(&mut stream)["params"]["progressToken"], "mine");
    assert_eq!(waiting(&mut stream), Value::Null);
    board.dispatch(Message::response(&Id::from(1), &json!({})).unwrap());
    assert_eq!(waiting(&mut stream)["result"], json!({}));
    assert_eq!(waiting(&mut stream), "end");
}

#[test]
fn equal_tokens_are_kept_apart() {
    let (board, _cancellations) = board();
    let (first, mut for_first) = board.ask(&with_token(1, &json!("t"))).unwrap();
    let (second, mut for_second) = board.ask(&with_token(1, &json!("t"))).unwrap();
    assert_eq!(token_of(&first), "t", "a token in nobody's way stays");
    assert_ne!(token_of(&second), "t");

    board.dispatch(progress(&token_of(&second), 2));
    board.dispatch(progress(&token_of(&first), 1));
    for (asked, count) in [(&mut for_first, 1), (&mut for_second, 2)] {
        let heard = waiting(asked);
        assert_eq!(heard["params"], json!({ "progressToken": "t", "progress": count }));
    }
    board.dispatch(answer(&first));
    board.dispatch(progress(&json!("t"), 3));
    assert_eq!(waiting(&mut for_first)["id"], 1, "no progress after the answer");
    assert_eq!(waiting(&mut for_second), Value::Null, "nor to somebody else");
    let (third, _asked) = board.ask(&with_token(9, &json!("t"))).unwrap();
    assert_eq!(token_of(&third), "t", "a token is free again");
}

#[test]
fn a_token_is_the_same_however_it_is_written() {
    let (board, _cancellations) = board();
    let raw =
        r#"{"jsonrpc":"2.0","id":1,"method":"m","params":{"_meta":{"progressToken":"\u0061"}}}"#;
    let (_, mut asked) = board.ask(&Message::parse(raw).unwrap()).unwrap();
    board.dispatch(progress(&json!("a"), 1));
    assert_eq!(waiting(&mut asked)["params"]["progress"], 1);
}

#[test]
fn nobody_can_take_the_token_that_will_be_given_to_another() {
    let (board, _cancellations) = board();
    let (_, mut for_first) = board.ask(&with_token(1, &json!("gateway-3"))).unwrap();
    let (_, _for_second) = board.ask(&with_token(2, &json!("t"))).unwrap();
    let (third, mut for_third) = board.ask(&with_token(3, &json!("t"))).unwrap();
    board.dispatch(progress(&token_of(&third), 3));
    assert_eq!(waiting(&mut for_first), Value::Null);
    assert_eq!(waiting(&mut for_third)["params"]["progressToken"], "t");
}

#[test]
fn an_abandoned_request_is_cancelled_under_our_id() {
    let (board, mut cancellations) = board();
    let (sent, asked) = board.ask(&request(7, &json!({}))).unwrap();
    drop(asked);
    let told = value(&cancellations.try_recv().unwrap());
    assert_eq!(told["method"], "notifications/cancelled");
    assert_eq!(told["params"]["requestId"], value(&sent)["id"]);
    assert_eq!(board.in_flight(), 0);
    board.dispatch(answer(&sent)); // Too late, and nobody minds.

    let (_, asked) = board.ask(&request(7, &json!({}))).unwrap();
    super::super::abandon(asked, "no patience");
    assert_eq!(value(&cancellations.try_recv().unwrap())["params"]["reason"], "no patience");

    let (sent, asked) = board.ask(&request(8, &json!({}))).unwrap();
    board.dispatch(answer(&sent));
    drop(asked);
    let (_, asked) =
        board.ask(&Message::request(&Id::from(1), "initialize", &json!({})).unwrap()).unwrap();
    drop(asked);
    assert!(cancellations.try_recv().is_err(), "answered, and not to be cancelled");
    assert_eq!(board.in_flight(), 0);
}

#[test]
fn a_cancellation_told_goes_out_under_our_id() {
    let (board, mut cancellations) = board();
    let cancel = |id: Value| {
        let params = json!({ "requestId": id, "reason": "enough" });
        board.tell(Message::notification("notifications/cancelled", &params).unwrap())
    };
    let (sent, mut asked) = board.ask(&request("x", &json!({}))).unwrap();
    let told = cancel(json!("x")).unwrap();
    let params = json!({ "requestId": value(&sent)["id"], "reason": "enough" });
    assert_eq!(value(&told)["params"], params);
    assert!(waiting(&mut asked).as_str().unwrap().contains("cancelled"), "nobody waits on");
    drop(asked);
    assert!(cancellations.try_recv().is_err(), "the peer is told once");

    assert!(cancel(json!("x")).is_none(), "nothing is left to cancel");
    let (_, _one) = board.ask(&request(1, &json!({}))).unwrap();
    let (_, _other) = board.ask(&request(1, &json!({}))).unwrap();
    assert!(cancel(json!(1)).is_none(), "whose of the two?");
    let initialize = Message::request(&Id::from(2), "initialize", &json!({})).unwrap();
    let (_, _asked) = board.ask(&initialize).unwrap();
    assert!(cancel(json!(2)).is_none(), "`initialize` is never cancelled");

    let other = Message::notification("notifications/initialized", &json!({})).unwrap();
    assert_eq!(board.tell(other.clone()).unwrap().as_bytes(), other.as_bytes());
}

#[test]
fn only_requests_are_asked_and_only_so_many() {
    let max = SwitchboardMax { in_flight_max: 2, ..SwitchboardMax::default() };
    let (board, _cancellations) = Switchboard::new(max);
    let notification = Message::notification("n", &json!({})).unwrap();
    let error = board.ask(&notification).unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Invalid(-32600));

    let (_, first) = board.ask(&request(1, &json!({}))).unwrap();
    let (_, _second) = board.ask(&request(2, &json!({}))).unwrap();
    let error = board.ask(&request(3, &json!({}))).unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Exhausted);
    drop(first);
    board.ask(&request(3, &json!({}))).unwrap();
}

#[test]
fn a_flood_drops_progress_but_never_the_answer() {
    let inbox = InboxMax { queue_len_max: 3, queue_bytes_max: 1 << 20 };
    let max = SwitchboardMax { inbox, ..SwitchboardMax::default() };
    let (board, _cancellations) = Switchboard::new(max);
    let (sent, mut asked) = board.ask(&with_token(1, &json!(5))).unwrap();
    for n in 0..100 {
        board.dispatch(progress(&json!(5), n));
    }
    board.dispatch(answer(&sent));
    for n in 0..3 {
        assert_eq!(waiting(&mut asked)["params"]["progress"], n);
    }
    assert_eq!(waiting(&mut asked)["id"], 1);
    assert_eq!(waiting(&mut asked), "end");
}

#[test]
fn the_listener_hears_the_rest_and_the_newest_listener_wins() {
    let (board, mut cancellations) = board();
    let changed = Message::notification("notifications/tools/list_changed", &json!({})).unwrap();
    board.dispatch(changed.clone()); // Kept for the first who listens.
    let mut first = board.listen();
    assert_eq!(waiting(&mut first)["method"], "notifications/tools/list_changed");
    assert_eq!(waiting(&mut first), Value::Null);
    board.dispatch(changed.clone());
    board.dispatch(request(1, &json!({})));
    assert_eq!(waiting(&mut first)["method"], "notifications/tools/list_changed");
    assert_eq!(waiting(&mut first)["id"], 1, "the peer's own id stays");

    let mut second = board.listen();
    assert_eq!(waiting(&mut first), "end");
    board.dispatch(changed);
    assert_eq!(waiting(&mut second)["method"], "notifications/tools/list_changed");
    assert!(cancellations.try_recv().is_err());
}

#[test]
fn a_request_nobody_hears_is_answered_all_the_same() {
    let (board, mut outgoing) = board();
    drop(board.listen());
    board.dispatch(request("q", &json!({})));
    let refused = value(&outgoing.try_recv().unwrap());
    assert_eq!((&refused["id"], &refused["error"]["code"]), (&json!("q"), &json!(-32603)));
    board.dispatch(Message::request(&Id::from(2), "ping", &json!({})).unwrap());
    assert_eq!(
        value(&outgoing.try_recv().unwrap()),
        json!({ "jsonrpc": "2.0", "id": 2, "result": {} })
    );

    let inbox = InboxMax { queue_len_max: 1, queue_bytes_max: 1 << 20 };
    let (board, mut outgoing) =
        Switchboard::new(SwitchboardMax { inbox, ..SwitchboardMax::default() });
    let _listener = board.listen();
    board.dispatch(request(1, &json!({})));
    board.dispatch(request(2, &json!({})));
    assert_eq!(value(&outgoing.try_recv().unwrap())["id"], 2, "the listener's queue is full");
}

#[tokio::test]
async fn hanging_up_fails_all_who_wait_and_all_who_come() {
    let (board, mut cancellations) = board();
    let (_, asked) = board.ask(&with_token(1, &json!(1))).unwrap();
    let mut listener = board.listen();
    board.hang_up(closed);
    board.hang_up(|| TransportError::new(ErrorKind::Timeout, "only the first counts"));
    assert_eq!(*asked.reply().await.unwrap_err().kind(), ErrorKind::Closed);
    let refused = board.ask(&request(2, &json!({}))).unwrap_err();
    assert!(refused.is_unsent(), "nothing was written, so it may be tried elsewhere");
    assert!(refused.said().to_string().contains("gone"));
    assert_eq!(waiting(&mut listener), "end");
    assert_eq!(waiting(&mut board.listen()), "end");
    assert!(cancellations.try_recv().is_err(), "there is nobody to tell");
}

#[test]
fn answers_to_nothing_are_let_go() {
    let (board, _cancellations) = board();
    let mut listener = board.listen();
    board.dispatch(Message::response(&Id::from(99), &json!({})).unwrap());
    board.dispatch(Message::response(&Id::from("1"), &json!({})).unwrap());
    let error = RpcError::new(-32700, "what?");
    board.dispatch(Message::error(None, &error).unwrap());
    board.dispatch(progress(&json!("nobody's"), 1));
    board.dispatch(Message::notification("notifications/progress", &json!({})).unwrap());
    assert_eq!(waiting(&mut listener), Value::Null);
}

#[tokio::test]
async fn a_task_reports_after_its_request_was_answered() {
    let (board, _outgoing) = board();
    let mut unasked = board.listen();
    let (call, asked) = board.ask(&with_token(1, &json!("t"))).unwrap();
    let begun = json!({ "task": { "taskId": "a", "status": "working" } });
    board.dispatch(Message::response(call.id().unwrap(), &begun).unwrap());
    board.dispatch(progress(&json!("t"), 1));
    assert_eq!(waiting(&mut unasked)["params"]["progress"], 1);
    drop(asked);
    // Nobody else is given its token meanwhile; and so many are kept.
    let (other, mut for_other) = board.ask(&with_token(2, &json!("t"))).unwrap();
    assert_ne!(token_of(&other), "t");
    board.dispatch(progress(&json!("t"), 2));
    assert_eq!(waiting(&mut for_other), Value::Null);
    assert_eq!(waiting(&mut unasked)["params"]["progress"], 2);
    for task in 0..TASKS_MAX {
        let (call, _asked) = board.ask(&with_token(3, &json!(format!("n{task}")))).unwrap();
        board.dispatch(Message::response(call.id().unwrap(), &begun).unwrap());
    }
    board.dispatch(progress(&json!("t"), 3));
    assert_eq!(waiting(&mut unasked), Value::Null);
}
