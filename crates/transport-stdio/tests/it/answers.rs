//! How children answer: at length, in a flood, or not at all.

use std::time::Duration;

use futures::StreamExt;
use mcp_jsonrpc::transport::{ErrorKind, Event, Reply, Session};
use transport_stdio::Limits;

use crate::rig::{ANSWERS, ask, request, shell, soon, until};

#[tokio::test]
async fn many_at_once() {
    let process = shell(ANSWERS, true).start().await.unwrap();
    let calls = futures::future::join_all((0..200).map(|_| ask(&process, "ping")));
    let answers = soon("answers", calls).await;
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(process.in_flight(), 0);
    soon("close", process.close()).await;
}

/// Answers the first request with 20 MiB, and then the second.
const HUGE: &str = r#"
read -r one; read -r two
printf '{"jsonrpc":"2.0","id":1,"result":"'
head -c 20971520 /dev/zero | tr '\0' x
printf '"}\n{"jsonrpc":"2.0","id":2,"result":2}\n'
exec cat >/dev/null"#;

#[tokio::test]
async fn a_huge_answer_delays_nobody_else() {
    let huge = shell(HUGE, true).start().await.unwrap();
    let other = shell(ANSWERS, true).start().await.unwrap();
    let others = async {
        let mut count = 0;
        while huge.in_flight() > 0 || count == 0 {
            ask(&other, "ping").await.unwrap();
            count += 1;
        }
        count
    };
    let calls = async { tokio::join!(ask(&huge, "one"), ask(&huge, "two"), others) };
    let (one, two, count) = soon("answers", calls).await;
    assert_eq!(one.unwrap().len(), 20 * 1024 * 1024 + 2);
    assert_eq!(two.unwrap(), "2");
    // While the long one came in, the other server answered again and again.
    assert!(count > 3, "{count}");
    soon("close", huge.close()).await;
}

#[tokio::test]
async fn an_answer_that_is_too_long_is_an_error_and_no_end() {
    let mut spawn = shell(HUGE, true);
    spawn.limits.message.message_len_max = 1 << 20;
    let process = spawn.start().await.unwrap();
    let calls = async { tokio::join!(ask(&process, "one"), ask(&process, "two")) };
    let (one, two) = soon("answers", calls).await;
    let one = one.unwrap();
    assert!(one.contains("its answer cannot be read: a message of 20971"), "{one}");
    assert_eq!(two.unwrap(), "2");
    soon("close", process.close()).await;
}

#[tokio::test]
async fn a_flood_delays_no_answer_and_fills_no_memory() {
    let script = r#"
        (while :; do echo '{"jsonrpc":"2.0","method":"notifications/message","params":{}}'; done) &
        "#;
    let process = shell(&format!("{script}{ANSWERS}"), true).start().await.unwrap();
    let mut events = process.listen(None).await.unwrap();
    assert!(matches!(events.next().await, Some(Ok(Event::Message { .. }))));
    for _ in 0..20 {
        soon("answer", ask(&process, "ping")).await.unwrap();
    }
    soon("close", process.close()).await;
}

#[tokio::test]
async fn a_child_that_never_reads_is_felt_by_its_callers_alone() {
    let mut spawn = shell("echo '{\"jsonrpc\":\"2.0\",\"method\":\"n\"}'; exec sleep 1000", true);
    let timeout = Duration::from_millis(300);
    spawn.limits = Limits { write_queue_len_max: 8, write_timeout: timeout, ..Limits::default() };
    let process = spawn.start().await.unwrap();
    // 100 KiB each: the first fills the pipe, and nobody knows whether it is read.
    let mut long = request("ping");
    let params = serde_json::json!({ "text": "x".repeat(100 << 10) });
    long.message = mcp_jsonrpc::Message::request(&"a".into(), "ping", &params).unwrap();
    let first = process.send(long.clone());
    let rest = async {
        let calls = (0..20).map(|_| process.send(long.clone()));
        futures::future::join_all(calls).await
    };
    let rest = soon("timeouts", async {
        tokio::select! {
            biased;
            reply = first => panic!("{reply:?}"),
            rest = rest => rest,
        }
    });
    for reply in rest.await {
        let error = reply.unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::Timeout);
        assert!(error.said().to_string().contains("has not read its input for 0.3 s"), "{error}");
    }
    let mut events = process.listen(None).await.unwrap();
    assert!(matches!(events.next().await, Some(Ok(Event::Message { .. }))));
    soon("close", process.close()).await;
}

#[tokio::test]
async fn a_call_that_is_dropped_is_cancelled() {
    let script = "while IFS= read -r line; do echo \"$line\" >&2; done";
    let process = shell(script, true).start().await.unwrap();
    let call = tokio::time::timeout(Duration::from_millis(50), ask(&process, "tools/call"));
    call.await.unwrap_err();
    let expect = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#;
    until("cancellation", || process.info().stderr(9).iter().find(|it| &***it == expect).map(drop))
        .await;
    soon("close", process.close()).await;
}

#[tokio::test]
async fn noise_on_stdout_does_no_harm() {
    let script = format!("echo 'Starting server...'; printf '\\357\\273\\277\\r\\n\\n'; {ANSWERS}");
    let process = shell(&script, true).start().await.unwrap();
    soon("answer", ask(&process, "ping")).await.unwrap();
    soon("close", process.close()).await;
}

#[tokio::test]
async fn a_question_of_the_child_reaches_the_listener_and_its_answer_the_child() {
    let script = r#"
        echo '{"jsonrpc":"2.0","id":"q","method":"roots/list"}'
        IFS= read -r line; echo "$line" >&2; exec cat >/dev/null"#;
    let process = shell(script, true).start().await.unwrap();
    let mut events = process.listen(None).await.unwrap();
    let Some(Ok(Event::Message { message, .. })) = soon("question", events.next()).await else {
        panic!("no question")
    };
    let answer = mcp_jsonrpc::Message::response(message.id().unwrap(), &1).unwrap();
    let mut exchange = request("x");
    exchange.message = answer.clone();
    assert!(matches!(process.send(exchange).await, Ok(Reply::Accepted)));
    let expect = std::str::from_utf8(answer.as_bytes()).unwrap();
    until("answer", || (process.info().stderr(1).first()?.as_ref() == expect).then_some(())).await;
    soon("close", process.close()).await;
}
