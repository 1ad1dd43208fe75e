use futures::FutureExt;
use mcp_jsonrpc::Message;

use super::*;

fn message(text: &'static str) -> Event {
    Message::parse(text).unwrap().into()
}

const PROGRESS: &str = r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{}}"#;
const ANSWER: &str = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#;

fn stream_of(events: Vec<Event>) -> Result<Reply, TransportError> {
    Ok(Reply::Stream(stream::iter(events).map(Ok).boxed()))
}

fn ask(
    calls: &Calls,
    sent: impl Future<Output = Result<Reply, TransportError>> + Send + 'static,
) -> Answering {
    Answering::new(calls, Id::from(1), Instant::now(), sent.boxed()).unwrap()
}

fn calls() -> Calls {
    Calls::new(1, InboxMax::default(), &TaskTracker::new())
}

#[tokio::test]
async fn an_answer_that_comes_alone_is_single_however_it_came() {
    let calls = calls();
    let reply = ask(&calls, async { stream_of(vec![message(ANSWER)]) }).reply().await.unwrap();
    assert!(matches!(reply, Reply::Single(_)));
    let events = vec![Event::Pause { id: None, retry: None }, message(ANSWER)];
    let reply = ask(&calls, async { stream_of(events) }).reply().await.unwrap();
    assert!(matches!(reply, Reply::Single(_)));
    assert_eq!(calls.len(), 0);
}

#[tokio::test]
async fn a_place_is_kept_while_the_answer_is_read() {
    let calls = calls();
    let events = vec![message(PROGRESS), message(ANSWER), message(PROGRESS)];
    let reply = ask(&calls, async { stream_of(events) }).reply().await.unwrap();
    let Reply::Stream(mut events) = reply else { panic!("no stream") };
    assert_eq!(calls.len(), 1);
    assert!(events.next().await.unwrap().is_ok());
    assert!(events.next().await.unwrap().is_ok());
    assert!(events.next().await.is_none(), "something came after the answer");
    assert_eq!(calls.len(), 0);
}

#[tokio::test]
async fn a_reply_without_an_answer_is_an_error() {
    let calls = calls();
    for sent in [Ok(Reply::Accepted), stream_of(vec![])] {
        let error = ask(&calls, async { sent }).reply().await.unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::Protocol);
    }
}

#[tokio::test(start_paused = true)]
async fn progress_buys_time_but_not_for_ever() {
    let timeouts = CallTimeouts {
        first_byte_timeout: Duration::from_secs(10),
        idle_timeout: Duration::from_secs(20),
        total_timeout: Duration::from_secs(60),
    };
    let calls = calls();
    let ticks = stream::unfold((), async |()| {
        tokio::time::sleep(Duration::from_secs(9)).await;
        Some((Ok(message(PROGRESS)), ()))
    });
    let reply = ask(&calls, async { Ok(Reply::Stream(ticks.boxed())) });
    let began = Instant::now();
    let sweep = async {
        loop {
            calls.sweep(&timeouts);
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    };
    let error = async {
        let Reply::Stream(mut events) = reply.reply().await.unwrap() else { panic!("no stream") };
        loop {
            if let Err(error) = events.next().await.unwrap() {
                return error;
            }
        }
    };
    let error = tokio::select! {
        error = error => error,
        () = sweep => unreachable!(),
    };
    assert!(error.to_string().contains("`requestTimeout`"), "{error}");
    assert_eq!(began.elapsed().as_secs(), 60);
}

#[tokio::test]
async fn a_question_goes_out_before_the_answer() {
    let calls = calls();
    let (answer, wait) = tokio::sync::oneshot::channel();
    let sent = async move { wait.await.map_err(|_| cancelled()) };
    let mut reply = Box::pin(ask(&calls, sent).reply());
    assert!((&mut reply).now_or_never().is_none());
    calls.only().unwrap().push(message(PROGRESS)).unwrap();
    let Reply::Stream(mut events) = reply.await.unwrap() else { panic!("no stream") };
    events.next().await.unwrap().unwrap();
    answer.send(Reply::Single(Message::parse(ANSWER).unwrap())).unwrap();
    events.next().await.unwrap().unwrap();
    assert!(events.next().await.is_none());
}

#[tokio::test]
async fn what_is_said_to_a_call_comes_before_its_answer_or_is_handed_back() {
    let calls = calls();
    // Somebody says something at the very moment at which the answer comes.
    let sent = {
        let calls = calls.clone();
        async move {
            calls.only().unwrap().push(message(PROGRESS)).unwrap();
            Ok(Reply::Single(Message::parse(ANSWER).unwrap()))
        }
    };
    let mut answering = ask(&calls, sent);
    let call = calls.only().unwrap();
    for is_answer in [false, true] {
        let Some(Ok(Event::Message { message, .. })) = answering.next().await else { panic!() };
        assert_eq!(message.is_answer(), is_answer);
    }
    assert!(answering.next().await.is_none());
    call.push(message(PROGRESS)).unwrap_err();
}

#[tokio::test]
async fn who_speaks_to_a_call_that_is_over_hears_so() {
    let calls = calls();
    let answer = async { Ok(Reply::Single(Message::parse(ANSWER).unwrap())) };
    let answering = ask(&calls, answer);
    let call = calls.only().unwrap();
    assert!(matches!(answering.reply().await.unwrap(), Reply::Single(_)));
    call.push(message(PROGRESS)).unwrap_err();
    call.press(message(PROGRESS)).unwrap_err();
    call.finish(Err(cancelled()));
    assert!(call.inbox.is_empty(), "the last word was said");

    let failing = ask(&calls, async { Err(TransportError::new(ErrorKind::Closed, "gone")) });
    let call = calls.only().unwrap();
    assert_eq!(*failing.reply().await.unwrap_err().kind(), ErrorKind::Closed);
    call.push(message(PROGRESS)).unwrap_err();
    assert_eq!(calls.len(), 0);
}

#[tokio::test]
async fn what_nobody_reads_any_more_is_read_to_its_end_where_that_may_be() {
    for closed in [false, true] {
        let detached = TaskTracker::new();
        if closed {
            detached.close();
        }
        let calls = Calls::new(1, InboxMax::default(), &detached);
        let (answer, wait) = tokio::sync::oneshot::channel();
        let sent = async move { wait.await.map_err(|_| cancelled()) };
        drop(ask(&calls, sent));
        assert_eq!((calls.len(), answer.is_closed()), (usize::from(!closed), closed));
        drop(answer.send(Reply::Single(Message::parse(ANSWER).unwrap())));
        detached.close();
        detached.wait().await;
        assert_eq!(calls.len(), 0);
    }
}
