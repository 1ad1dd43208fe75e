//! Streams of what changes.

use super::{
    double::{Double, Talk},
    *,
};

const LISTEN: &str = "subscriptions/listen";

fn tell(method: &str, params: Value) -> Value {
    json!({ "jsonrpc": "2.0", "method": method, "params": params })
}

async fn listen(client: &Client, id: Value, filter: Value) -> EventStream {
    let message = client.message(id, LISTEN, json!({ "notifications": filter }));
    match client.send(message).await.unwrap() {
        Reply::Stream(events) => events,
        other => panic!("{other:?}"),
    }
}

fn everything() -> Value {
    json!({ "toolsListChanged": true, "promptsListChanged": true, "resourcesListChanged": true,
        "resourceSubscriptions": ["mem://a", "mem://none"] })
}

#[tokio::test(start_paused = true)]
async fn what_can_be_honoured_is_acknowledged_and_told() {
    let server = Double::new();
    let front = server.front(FrontOptions::default());
    let client = Client::new(&front, "ann", json!({}));
    let mut events = listen(&client, json!("l"), everything()).await;
    let first = next(&mut events).await;
    let id = json!({ "io.modelcontextprotocol/subscriptionId": "l" });
    assert_eq!(first["method"], "notifications/subscriptions/acknowledged");
    assert_eq!(
        first["params"],
        json!({ "_meta": id, "notifications": {
        "toolsListChanged": true, "resourcesListChanged": true,
        "resourceSubscriptions": ["mem://a"] } })
    );
    let talk = server.talk(0);
    talk.unasked(tell("notifications/prompts/list_changed", json!({})));
    talk.unasked(tell("notifications/resources/updated", json!({ "uri": "mem://b" })));
    talk.unasked(json!({ "jsonrpc": "2.0", "method": "notifications/tools/list_changed" }));
    let params = json!({ "uri": "mem://a", "title": "A", "_meta": { "x/y": 1 } });
    talk.unasked(tell("notifications/resources/updated", params));
    let said = next(&mut events).await;
    assert_eq!(said, tell("notifications/tools/list_changed", json!({ "_meta": id })));
    let said = next(&mut events).await;
    let meta = json!({ "x/y": 1, "io.modelcontextprotocol/subscriptionId": "l" });
    assert_eq!(said["params"], json!({ "uri": "mem://a", "title": "A", "_meta": meta }));
    // News that come down the stream of a call are news.
    let asking = client.ask("tools/call", json!({ "name": "slow" }));
    let speaking = async {
        let (talk, id) = server.called(0, "slow").await;
        talk.say(id, tell("notifications/resources/list_changed", json!({})));
        talk.answer(id, json!({ "content": [] }));
    };
    let (said, ()) = tokio::join!(asking, speaking);
    assert_eq!(said.len(), 1, "{said:?}");
    assert_eq!(next(&mut events).await["method"], "notifications/resources/list_changed");
    // The end is a result.
    front.shut_down(Duration::ZERO).await;
    let said = next(&mut events).await;
    assert_eq!(said["result"], json!({ "resultType": "complete", "_meta": id }));
    assert!(events.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_resource_is_subscribed_to_as_long_as_anybody_wants_it() {
    let server = Double::new();
    let front = server.front(FrontOptions::default());
    let client = Client::new(&front, "ann", json!({}));
    let wanted = json!({ "resourceSubscriptions": ["mem://a"] });
    let mut one = listen(&client, json!(1), wanted.clone()).await;
    let mut two = listen(&client, json!(1), wanted.clone()).await;
    next(&mut one).await;
    next(&mut two).await;
    assert_eq!(server.count("resources/subscribe"), 1);
    assert_eq!(front.counts().listens, 2);
    drop(one);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(server.count("resources/unsubscribe"), 0);
    let updated = tell("notifications/resources/updated", json!({ "uri": "mem://a" }));
    server.talk(0).unasked(updated);
    assert_eq!(next(&mut two).await["params"]["uri"], "mem://a");
    drop(two);
    let (_, said) = server.hears(0, |it| it["method"] == "resources/unsubscribe").await;
    assert_eq!(said["params"]["uri"], "mem://a");
    assert_eq!(front.counts().listens, 0);
    // And again from the beginning.
    let _three = listen(&client, json!(1), wanted).await;
    assert_eq!(server.count("resources/subscribe"), 2);
}

#[tokio::test(start_paused = true)]
async fn a_stream_outlives_its_session() {
    let server = Double::new();
    let front = server.front(FrontOptions::default());
    let client = Client::new(&front, "ann", json!({}));
    let mut events = listen(&client, json!(9), everything()).await;
    next(&mut events).await;
    let missed = async |events: &mut EventStream| {
        for method in ["tools/list_changed", "resources/list_changed", "resources/updated"] {
            let said = next(events).await;
            assert_eq!(said["method"], format!("notifications/{method}"));
            assert_eq!(said["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"], 9);
        }
    };
    server.talk(0).deafen();
    missed(&mut events).await;
    assert_eq!(server.count("initialize"), 1);
    server.broken.store(true, Ordering::Release);
    server.talk(0).die();
    let repairing = async {
        tokio::time::sleep(Duration::from_secs(20)).await;
        server.broken.store(false, Ordering::Release);
    };
    tokio::join!(missed(&mut events), repairing);
    assert_eq!(server.count("resources/subscribe"), 4, "mem://none is tried again too");
    let talk: Arc<Talk> = server.talk(1);
    talk.unasked(tell("notifications/tools/list_changed", json!({})));
    assert_eq!(next(&mut events).await["method"], "notifications/tools/list_changed");
}

#[tokio::test(start_paused = true)]
async fn who_reads_too_slowly_is_told_so() {
    let server = Double::new();
    let inbox = InboxMax { queue_len_max: 4, queue_bytes_max: 1 << 20 };
    let front = server.front(FrontOptions { inbox, ..FrontOptions::default() });
    let client = Client::new(&front, "ann", json!({}));
    let mut slow = listen(&client, json!(1), everything()).await;
    let mut fast = listen(&client, json!(2), everything()).await;
    next(&mut fast).await;
    for _ in 0..6 {
        server.talk(0).unasked(tell("notifications/tools/list_changed", json!({})));
        next(&mut fast).await;
    }
    for _ in 0..5 {
        next(&mut slow).await;
    }
    let error = slow.next().await.unwrap().unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Exhausted);
    assert!(slow.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn so_many_may_listen_to_so_much() {
    let server = Double::new();
    let options = FrontOptions { listen_max: 1, subscriptions_max: 1, ..FrontOptions::default() };
    let front = server.front(options);
    let client = Client::new(&front, "ann", json!({}));
    let error = client.error(LISTEN, json!({ "notifications": everything() })).await;
    assert_eq!(error["code"], -32602);
    let one = listen(&client, json!(1), json!({})).await;
    let another = client.message(json!(1), LISTEN, json!({ "notifications": {} }));
    let error = client.send(another).await.err().unwrap();
    assert_eq!(error.kind(), &ErrorKind::Exhausted);
    drop(one);
    drop(listen(&client, json!(1), json!({})).await);
}

/// Calls run beside the session in which somebody listens, with processes of their own behind.
#[tokio::test(start_paused = true)]
async fn a_list_that_changes_in_one_session_has_changed_for_all_of_its_caller() {
    let server = Double::new();
    let front = server.front(FrontOptions { sole_sessions_max: 2, ..FrontOptions::default() });
    let can = json!({ "roots": {}, "sampling": {}, "elicitation": {} });
    let client = Client::new(&front, "ann", can.clone());
    let other = Client::new(&front, "bob", can);
    let mut events = listen(&client, json!("l"), everything()).await;
    let mut others = listen(&other, json!("l"), everything()).await;
    for events in [&mut events, &mut others] {
        assert_eq!(next(events).await["method"], "notifications/subscriptions/acknowledged");
    }
    let changed = |list: &str| tell(&format!("notifications/{list}/list_changed"), json!({}));
    // It is known to ask its clients things.
    let _asked = questions::waiting(&server, &front, "eve", 0).await;
    let speaking = async {
        let (first, one) = server.called(0, "one").await;
        let (second, two) = server.called(0, "two").await;
        // Who subscribed there is told of a resource, and nobody else.
        second.unasked(tell("notifications/resources/updated", json!({ "uri": "mem://a" })));
        second.unasked(changed("tools"));
        second.answer(two, json!({ "content": [] }));
        first.unasked(changed("resources"));
        first.answer(one, json!({ "content": [] }));
    };
    let calls = async {
        let one = client.call("one", json!({}));
        let two = client.call("two", json!({}));
        tokio::join!(one, two)
    };
    tokio::join!(calls, speaking);
    assert_eq!(front.counts().sessions, 4);
    assert_eq!(next(&mut events).await["method"], "notifications/tools/list_changed");
    assert_eq!(next(&mut events).await["method"], "notifications/resources/list_changed");
    // What is one caller's is not another's.
    server.talk(1).unasked(changed("resources"));
    assert_eq!(next(&mut others).await["method"], "notifications/resources/list_changed");
}
