//! Tools of a server of 2025-11-25 that can be called as tasks alone.

use super::{
    double::{Double, Talk},
    questions::{all, form},
    *,
};

fn server() -> Arc<Double> {
    let server = Double::new();
    let tasks = json!({ "requests": { "tools": { "call": {} } }, "cancel": {} });
    server.greeting.lock().unwrap()["capabilities"]["tasks"] = tasks;
    server
}

/// Begins a task for the call with this id, and hears who asks for its result.
async fn begin(server: &Double, nth: usize, (talk, id): (&Talk, i64)) -> i64 {
    let task = json!({ "taskId": "t-1", "status": "working", "statusMessage": "begun",
        "createdAt": "2025-11-25T00:00:00Z", "ttl": null });
    talk.answer(id, json!({ "task": task }));
    let (_, asked) = server.hears(nth, |it| it["method"] == "tasks/result").await;
    assert_eq!(asked["params"], json!({ "taskId": "t-1" }));
    asked["id"].as_i64().unwrap()
}

fn related() -> Value {
    json!({ "io.modelcontextprotocol/related-task": { "taskId": "t-1" } })
}

#[tokio::test(start_paused = true)]
async fn a_tool_that_is_a_task_is_called_as_one_and_waited_for() {
    let server = server();
    let front = server.front(FrontOptions::default());
    let client = Client::new(&front, "ann", all()).with(json!({ "progressToken": "p" }));
    let params = json!({ "name": "bg", "arguments": { "n": 1 }, "task": { "ttl": 5 } });
    let speaking = async {
        let (talk, id) = server.called(0, "bg").await;
        let asked = begin(&server, 0, (&talk, id)).await;
        let said = |token: i64, progress: f64| {
            json!({ "jsonrpc": "2.0", "method": "notifications/progress",
                "params": { "progressToken": token, "progress": progress } })
        };
        for (task, words) in [("t-2", "of another"), ("t-1", "begun"), ("t-1", "half")] {
            let params = json!({ "taskId": task, "status": "working", "statusMessage": words });
            let method = "notifications/tasks/status";
            talk.unasked(json!({ "jsonrpc": "2.0", "method": method, "params": params }));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        talk.say(asked, said(id, 7.0));
        talk.answer(asked, json!({ "content": [], "isError": true, "_meta": related() }));
    };
    let (said, ()) = tokio::join!(client.ask("tools/call", params), speaking);
    let told: Vec<_> = said.iter().map(|it| it["params"].clone()).collect();
    let words = |n: f64, words| json!({ "progressToken": "p", "progress": n, "message": words });
    assert_eq!(told[..2], [words(1.0, "begun"), words(2.0, "half")]);
    assert_eq!(told[2], json!({ "progressToken": "p", "progress": 7.0 }));
    let result = &said[3]["result"];
    assert_eq!((&result["isError"], &result["resultType"]), (&json!(true), &json!("complete")));
    assert!(!said[3].to_string().contains("related-task"), "{said:?}");
    let (_, call) = server.hears(0, |it| it["method"] == "tools/call").await;
    assert_eq!(call["params"]["task"], json!({}));
    // Others are none, and the list was asked for once.
    client.call("now", json!({})).await;
    let (_, call) = server.hears(1, |it| it["method"] == "tools/call").await;
    assert!(call["params"].get("task").is_none(), "{call}");
    assert_eq!((server.count("tools/list"), server.count("tasks/cancel")), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn what_a_task_asks_is_asked_of_the_client() {
    let server = server();
    let front = server.front(FrontOptions::default());
    let client = Client::new(&front, "ann", all());
    let asking = client.call("bg", json!({}));
    let speaking = async {
        let (talk, id) = server.called(0, "bg").await;
        let asked = begin(&server, 0, (&talk, id)).await;
        let mut question = form("q");
        question["params"]["_meta"] = related();
        talk.say(asked, question);
        (talk, asked)
    };
    let (asked, (talk, id)) = tokio::join!(asking, speaking);
    let (key, entry) = question(&asked);
    assert!(!entry.to_string().contains("related-task"), "{entry}");
    let answers = json!({ key: { "action": "decline" } });
    let retry = client.ask("tools/call", client.retry("bg", json!({}), &asked, answers));
    let speaking = async {
        let answer = server.answered("q").await;
        let expect = json!({ "action": "decline", "_meta": related() });
        assert_eq!(answer["result"], expect, "it says which task it is about");
        let error = json!({ "code": -32042, "message": "m", "data": { "elicitations": [
            { "mode": "url", "url": "https://a/b", "message": "m", "elicitationId": "e" }] } });
        talk.end(id, json!({ "jsonrpc": "2.0", "id": id, "error": error }));
    };
    let (said, ()) = tokio::join!(retry, speaking);
    // It ran: it is not begun once more.
    assert_eq!(said[0]["error"]["code"], -32603, "{said:?}");
    assert_eq!(server.count("tools/call"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_taken_back_ends_its_task() {
    let server = server();
    let front = server.front(FrontOptions::default());
    let client = Client::new(&front, "ann", json!({})).with(json!({ "progressToken": "p" }));
    let asking = client.reply("tools/call", json!({ "name": "bg" }));
    let speaking = async {
        let (talk, id) = server.called(0, "bg").await;
        begin(&server, 0, (&talk, id)).await;
    };
    let (reply, ()) = tokio::join!(asking, async {
        tokio::time::timeout(Duration::from_millis(5), speaking).await.unwrap_err();
    });
    let Reply::Stream(mut events) = reply else { panic!() };
    assert_eq!(next(&mut events).await["params"]["message"], "begun");
    drop(events);
    let (_, ended) = server.hears(0, |it| it["method"] == "tasks/cancel").await;
    assert_eq!(ended["params"], json!({ "taskId": "t-1" }));
    assert_eq!(server.count("notifications/cancelled"), 0);
}

#[tokio::test(start_paused = true)]
async fn which_tools_are_tasks_is_looked_up_again_when_the_list_has_changed() {
    let server = server();
    let front = server.front(FrontOptions::default());
    let client = Client::new(&front, "ann", json!({}));
    client.call("now", json!({})).await;
    client.call("now", json!({})).await;
    assert_eq!(server.count("tools/list"), 1);
    let method = "notifications/tools/list_changed";
    server.talk(0).unasked(json!({ "jsonrpc": "2.0", "method": method }));
    tokio::time::sleep(Duration::from_millis(10)).await;
    client.call("now", json!({})).await;
    assert_eq!(server.count("tools/list"), 2);
    // A server that says nothing of tasks is not asked.
    let other = Double::new();
    let front = other.front(FrontOptions::default());
    Client::new(&front, "ann", json!({})).call("now", json!({})).await;
    assert_eq!(other.count("tools/list"), 0);
}

/// Says how the task is, to whoever asks about it.
async fn tell(server: &Double, nth: usize, status: &str, ms: u64) {
    let (talk, asked) = server.hears(nth, |it| it["method"] == "tasks/get").await;
    assert_eq!(asked["params"], json!({ "taskId": "t-1" }));
    let status = json!({ "taskId": "t-1", "status": status, "pollInterval": ms, "ttl": null,
        "createdAt": "2025-11-25T00:00:00Z", "lastUpdatedAt": "2025-11-25T00:00:00Z" });
    talk.answer(asked["id"].as_i64().unwrap(), status);
}

/// Hears who asks for the result once more, and says it.
async fn result(server: &Double, nth: usize) {
    let (talk, asked) = server.hears(nth, |it| it["method"] == "tasks/result").await;
    assert_eq!(asked["params"], json!({ "taskId": "t-1" }));
    talk.answer(asked["id"].as_i64().unwrap(), json!({ "content": [{ "n": nth }] }));
}

#[tokio::test(start_paused = true)]
async fn a_task_whose_result_does_not_come_is_asked_about() {
    let server = server();
    let front = server.front(FrontOptions::default());
    let client = Client::new(&front, "ann", json!({}));
    let began = Instant::now();
    let speaking = async {
        let (talk, id) = server.called(0, "bg").await;
        let asked = begin(&server, 0, (&talk, id)).await;
        talk.break_off(asked);
        tell(&server, 0, "working", 200).await;
        tell(&server, 1, "working", 200).await;
        tell(&server, 2, "completed", 200).await;
        result(&server, 1).await;
    };
    let (called, ()) = tokio::join!(client.call("bg", json!({})), speaking);
    assert_eq!(called["content"][0]["n"], 1);
    assert_eq!(began.elapsed().as_millis(), 1400, "after 1 s, and then as its server likes it");
    assert_eq!((server.count("tools/call"), server.count("tasks/cancel")), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_wait_for_its_task_is_asked_again() {
    for answer in [
        json!({ "error": { "code": -32600, "message": "it is not ready" } }),
        json!({ "result": { "taskId": "t-1", "status": "working" } }),
    ] {
        let server = server();
        let front = server.front(FrontOptions::default());
        let client = Client::new(&front, "ann", all());
        let speaking = async {
            let (talk, id) = server.called(0, "bg").await;
            let asked = begin(&server, 0, (&talk, id)).await;
            let mut said = json!({ "jsonrpc": "2.0", "id": asked });
            said.as_object_mut().unwrap().extend(answer.as_object().unwrap().clone());
            talk.end(asked, said);
            // That it has not ended; that it waits, which it says in a result only.
            tell(&server, 0, "working", 200).await;
            tell(&server, 1, "input_required", 200).await;
            result(&server, 1).await;
        };
        let (called, ()) = tokio::join!(client.call("bg", json!({})), speaking);
        assert_eq!(called["content"][0]["n"], 1, "{answer}");
    }
    // One that ended with an error ended with an error.
    let server = server();
    let front = server.front(FrontOptions::default());
    let client = Client::new(&front, "ann", all());
    let speaking = async {
        let (talk, id) = server.called(0, "bg").await;
        let asked = begin(&server, 0, (&talk, id)).await;
        let error = json!({ "code": -7, "message": "it broke" });
        talk.end(asked, json!({ "jsonrpc": "2.0", "id": asked, "error": error }));
        tell(&server, 0, "failed", 200).await;
    };
    let (error, ()) = tokio::join!(client.error("tools/call", json!({ "name": "bg" })), speaking);
    assert_eq!(error["code"], -7);
    assert_eq!((server.count("tasks/result"), server.count("tasks/cancel")), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_task_is_not_asked_about_for_ever() {
    let server = server();
    let front = server.front(FrontOptions::default());
    let client = Client::new(&front, "ann", all());
    let call = client.send(client.message(json!(1), "tools/call", json!({ "name": "bg" })));
    let speaking = async {
        let (talk, id) = server.called(0, "bg").await;
        let asked = begin(&server, 0, (&talk, id)).await;
        talk.break_off(asked);
        for nth in 0.. {
            tell(&server, nth, "working", 60000).await;
        }
    };
    let began = Instant::now();
    let said = tokio::select! {
        said = call => said,
        () = speaking => panic!("it ended"),
    };
    let error = match said {
        Ok(Reply::Stream(mut events)) => events.next().await.unwrap().unwrap_err(),
        Ok(_) => panic!("an answer"),
        Err(error) => error,
    };
    assert_eq!(*error.kind(), ErrorKind::Timeout);
    assert_eq!(began.elapsed().as_secs(), 3600, "TASK_TIMEOUT");
    server.hears(0, |it| it["method"] == "tasks/cancel").await;
}
