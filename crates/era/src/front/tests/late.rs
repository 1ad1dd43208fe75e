//! What is logged after the answer it belongs to.

use tokio::time::Instant;

use super::{
    double::{Double, Talk},
    questions::{all, form},
    *,
};

fn log(data: &str) -> Value {
    json!({ "jsonrpc": "2.0", "method": "notifications/message",
        "params": { "level": "warning", "data": data } })
}

fn loud(front: &Front) -> Client {
    Client::new(front, "ann", json!({})).with(json!({ "io.modelcontextprotocol/logLevel": "info" }))
}

/// Has a call answered, and then this logged; what its client heard, and how long it took.
async fn call(
    server: &Double,
    client: &Client,
    nth: usize,
    after: impl AsyncFnOnce(&Talk),
) -> (Vec<Value>, Duration) {
    let speaking = async {
        let (talk, id) = server.called(nth, "x").await;
        let answered = Instant::now();
        talk.answer(id, json!({ "content": [] }));
        after(&talk).await;
        answered
    };
    let asking = async {
        let said = client.ask("tools/call", json!({ "name": "x" })).await;
        (said, Instant::now())
    };
    let ((said, heard), answered) = tokio::join!(asking, speaking);
    (said, heard - answered)
}

fn logged(said: &[Value]) -> Vec<&str> {
    let (last, before) = said.split_last().unwrap();
    assert!(last["result"].is_object(), "{said:?}");
    before.iter().map(|it| it["params"]["data"].as_str().unwrap()).collect()
}

async fn pause(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_logged_just_after_an_answer_is_heard_before_it() {
    let server = Double::new();
    let front = server.front(FrontOptions::default());
    let client = loud(&front);
    let after = async |talk: &Talk| {
        talk.unasked(log("a"));
        pause(40).await;
        talk.unasked(log("b"));
    };
    let (said, took) = call(&server, &client, 0, after).await;
    assert_eq!(logged(&said), ["a", "b"]);
    assert!((80..=100).contains(&took.as_millis()), "{took:?}");
    // It has been late: from now on that is reckoned with, however rarely it is.
    for nth in 1..40 {
        let (said, took) = call(&server, &client, nth, async |_: &Talk| ()).await;
        assert_eq!((logged(&said).len(), took.as_millis()), (0, 50));
    }
    // It may go on for ever, and the answer does not wait for ever.
    let after = async |talk: &Talk| {
        for _ in 0..20 {
            talk.unasked(log("again"));
            pause(40).await;
        }
    };
    let (said, took) = call(&server, &client, 40, after).await;
    assert_eq!((logged(&said).len(), took.as_millis()), (7, 250), "LATE_LOG_TIMEOUT");
}

#[tokio::test(start_paused = true)]
async fn who_wants_no_log_does_not_wait_for_it() {
    let server = Double::new();
    let front = server.front(FrontOptions::default());
    let quiet = Client::new(&front, "ann", json!({}));
    let (said, took) = call(&server, &quiet, 0, async |_: &Talk| ()).await;
    assert_eq!((said.len(), took), (1, Duration::ZERO));
    // Nor does anybody where the server does not log.
    let server = Double::new();
    server.greeting.lock().unwrap()["capabilities"].as_object_mut().unwrap().remove("logging");
    let front = server.front(FrontOptions::default());
    let (said, took) = call(&server, &loud(&front), 0, async |_: &Talk| ()).await;
    assert_eq!((said.len(), took), (1, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_never_late_is_not_waited_for() {
    let server = Double::new();
    let front = server.front(FrontOptions::default());
    let client = loud(&front);
    for nth in 0..16 {
        let (_, took) = call(&server, &client, nth, async |_: &Talk| ()).await;
        assert_eq!(took.as_millis(), 50, "{nth}");
    }
    let (_, took) = call(&server, &client, 16, async |_: &Talk| ()).await;
    assert_eq!(took, Duration::ZERO);
    // Until it is.
    server.talk(0).unasked(log("lost"));
    pause(1).await;
    assert_eq!(front.counts().dropped, 1);
    let (said, _) = call(&server, &client, 17, async |talk: &Talk| talk.unasked(log("a"))).await;
    assert_eq!(logged(&said), ["a"]);
    // Another server is behind: nothing is known of it.
    front.forget();
    let (_, took) = call(&server, &client, 18, async |_: &Talk| ()).await;
    assert_eq!(took.as_millis(), 50);
}

/// A call that only waits for logs is no cause of a question.
#[tokio::test(start_paused = true)]
async fn what_is_asked_meanwhile_is_for_the_others() {
    let server = Double::new();
    let front = server.front(FrontOptions { sole_sessions_max: 0, ..FrontOptions::default() });
    let first = Client::new(&front, "ann", all())
        .with(json!({ "io.modelcontextprotocol/logLevel": "info" }));
    let second = Client::new(&front, "ann", all());
    let speaking = async {
        let (talk, id) = server.called(0, "x").await;
        server.called(0, "y").await;
        talk.answer(id, json!({ "content": [] }));
        pause(10).await;
        talk.unasked(form("q"));
    };
    let (said, asked, ()) = tokio::join!(
        first.ask("tools/call", json!({ "name": "x" })),
        second.call("y", json!({})),
        speaking
    );
    assert_eq!(logged(&said), Vec::<&str>::new());
    assert_eq!(question(&asked).1["method"], "elicitation/create");
}
