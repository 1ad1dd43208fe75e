//! Calls that a server of 2026-07-28 does in the background.

use super::*;

const TASKS: &str = "io.modelcontextprotocol/tasks";

/// What it heard, and what a task is each time it is asked about.
#[derive(Default)]
struct Heard {
    said: Vec<Value>,
    states: Vec<Value>,
}

type Log = Arc<Mutex<Heard>>;

/// A server that does `slow` as a task or not at all, `both` as it likes, and which says what its
/// task is as it is told: the last for ever.  An error code in the place of a state is answered.
fn server(states: &[Value]) -> (impl Transport + use<>, Log) {
    let log: Log = Arc::new(Mutex::new(Heard { states: states.to_vec(), ..Heard::default() }));
    let heard = Arc::clone(&log);
    let server = from_fn(move |exchange: Exchange| {
        let said = value(&exchange.message);
        let id: Id = serde_json::from_value(said["id"].clone()).unwrap();
        let answer = answer(&mut heard.lock().unwrap(), &said);
        async move {
            Ok(Reply::Single(match answer {
                Ok(result) => Message::response(&id, &result).unwrap(),
                Err(error) => Message::error(Some(&id), &error).unwrap(),
            }))
        }
    });
    (server, log)
}

fn answer(heard: &mut Heard, said: &Value) -> Result<Value, RpcError> {
    let params = &said["params"];
    let can = &params["_meta"][modern::CLIENT_CAPABILITIES];
    let has_tasks = can["extensions"][TASKS].is_object();
    let method = said["method"].as_str().unwrap();
    if method != modern::DISCOVER {
        heard.said.push(said.clone());
    }
    let lacks = || {
        let needs = json!({ "requiredCapabilities": { "extensions": { TASKS: {} } } });
        Err(RpcError::new(RpcError::MISSING_CLIENT_CAPABILITY, "needs tasks").with_data(&needs))
    };
    match method {
        modern::DISCOVER => Ok(json!({
            "supportedVersions": ["2026-07-28"],
            "capabilities": { "tools": {}, "extensions": { TASKS: {} } },
        })),
        "tools/call" if params["name"] == "both" => {
            Ok(json!({ "resultType": "complete", "content": [], "x": has_tasks }))
        }
        "tools/call" if has_tasks => Ok(json!({
            "resultType": "task", "taskId": "t-1", "status": "working", "statusMessage": "begun",
            "createdAt": "2026-07-28T00:00:00Z", "lastUpdatedAt": "2026-07-28T00:00:00Z",
            "ttlMs": null, "pollIntervalMs": 200,
        })),
        _ if !has_tasks => lacks(),
        "tasks/get" => {
            assert_eq!(params["taskId"], "t-1");
            let state = match heard.states.len() {
                0 | 1 => heard.states[0].clone(),
                _ => heard.states.remove(0),
            };
            if let Some(code) = state.as_i64() {
                return Err(RpcError::new(i32::try_from(code).unwrap(), "no such task"));
            }
            let mut state = state;
            state["taskId"] = json!("t-1");
            state["resultType"] = json!("complete");
            Ok(state)
        }
        "tasks/update" | "tasks/cancel" => Ok(json!({ "resultType": "complete" })),
        _ => Err(RpcError::new(-32601, "no")),
    }
}

fn methods(log: &Log) -> Vec<String> {
    let heard = log.lock().unwrap();
    heard.said.iter().map(|it| it["method"].as_str().unwrap().to_owned()).collect()
}

fn working(words: &str) -> Value {
    json!({ "status": "working", "statusMessage": words, "pollIntervalMs": 200 })
}

fn done(result: Value) -> Value {
    json!({ "status": "completed", "result": result })
}

#[tokio::test(start_paused = true)]
async fn a_call_that_needs_a_task_is_waited_for() {
    let result = json!({ "content": [{ "type": "text", "text": "42" }], "resultType": "complete" });
    let states = [working("begun"), working("half"), done(result)];
    let (server, log) = server(&states);
    let behind = behind_of(server, BehindOptions::default());
    let (mut client, _) = Client::of(&behind, ProtocolVersion::V2025_06_18, all()).await;
    // It was tried whether it takes a handshake.
    log.lock().unwrap().said.clear();
    let began = Instant::now();
    let answer = client.call("slow", json!({})).await;
    assert_eq!((text(&answer), &answer["id"]), ("42", &json!("id")));
    assert!(answer["result"].get("resultType").is_none(), "{answer}");
    assert_eq!(began.elapsed().as_millis() / 100, 6, "it is asked as often as it wants to be");
    let told: Vec<_> = client.before.iter().map(|it| it["params"].clone()).collect();
    let expect = |n: f64, words| json!({ "progressToken": "t", "progress": n, "message": words });
    assert_eq!(told, [expect(1.0, "begun"), expect(2.0, "half")]);
    let get = "tasks/get";
    assert_eq!(methods(&log), ["tools/call", "tools/call", get, get, get], "refused, then sent");
    // It is known now, and no other tool is.
    client.call("slow", json!({})).await;
    assert_eq!(methods(&log).len(), 7);
    let plain = client.call("both", json!({})).await;
    assert_eq!(plain["result"]["x"], false, "{plain}");
    let asked = log.lock().unwrap().said[2].clone();
    let meta = &asked["params"]["_meta"];
    assert_eq!(meta[modern::PROTOCOL_VERSION], "2026-07-28");
    assert!(meta.get("progressToken").is_none(), "{meta}");
}

#[tokio::test(start_paused = true)]
async fn what_a_task_asks_is_asked_of_the_client_once() {
    let asked = json!({ "status": "input_required", "inputRequests": {
        "a": { "method": "elicitation/create", "params": { "message": "m", "requestedSchema": {
            "type": "object", "properties": { "name": { "type": "string" } } } } },
        "b": { "method": "roots/list" },
    } });
    let states =
        [asked.clone(), asked, working("on"), done(json!({ "content": [], "isError": true }))];
    let (server, log) = server(&states);
    let behind = behind_of(server, BehindOptions::default());
    let (mut client, _) = Client::of(&behind, ProtocolVersion::V2025_11_25, all()).await;
    let answer = client.call("slow", json!({})).await;
    assert_eq!(answer["result"]["isError"], true, "{answer}");
    assert_eq!(client.asked.len(), 2, "each once: {:?}", client.asked);
    let heard = log.lock().unwrap();
    let mut updates = heard.said.iter().filter(|it| it["method"] == "tasks/update");
    let update = updates.next().unwrap();
    assert_eq!(
        update["params"]["inputResponses"],
        json!({
            "a": { "action": "accept", "content": { "name": "x" } },
            "b": { "roots": [{ "uri": "file:///a" }] },
        })
    );
    assert!(updates.next().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_task_that_fails_ends_its_call() {
    let error = json!({ "code": -32603, "message": "out of it", "data": 1 });
    let over = [
        (json!({ "status": "failed", "error": error }), "out of it"),
        (json!({ "status": "cancelled", "statusMessage": "no more" }), "no more"),
        (json!({ "status": "completed" }), "without a result"),
        (json!({ "status": "failed" }), "without an error"),
        (json!({ "status": "puzzled" }), "not known here"),
        (json!({ "state": 1 }), "cannot be read"),
        (json!(-32602), "does not know the task"),
    ];
    for (state, expect) in over {
        let (server, log) = server(std::slice::from_ref(&state));
        let behind = behind_of(server, BehindOptions::default());
        let (mut client, _) = Client::of(&behind, ProtocolVersion::V2025_11_25, all()).await;
        let answer = client.call("slow", json!({})).await;
        assert!(answer.to_string().contains(expect), "{answer}");
        let is_failed = state["error"].is_object();
        assert_eq!(answer["error"]["code"] == -32603, is_failed, "{answer}");
        assert_eq!(answer["result"]["isError"] == true, !is_failed, "{answer}");
        drop(log);
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_say_how_far_it_is_is_asked_so_often() {
    let (server, log) = server(&[json!(-32603)]);
    let behind = behind_of(server, BehindOptions::default());
    let (client, _) = Client::of(&behind, ProtocolVersion::V2025_11_25, all()).await;
    let call = Message::request(&Id::from(1), "tools/call", &json!({ "name": "slow" })).unwrap();
    let Reply::Stream(mut events) = client.send(call).await.unwrap() else { panic!() };
    let error = events.next().await.unwrap().unwrap_err();
    assert!(error.said().to_string().contains("no such task"), "{error}");
    assert_eq!(methods(&log).iter().filter(|it| *it == "tasks/get").count(), 5);
    // Nobody waits for it any more.
    drop(events);
    behind.shut_down().await;
    assert_eq!(methods(&log).last().unwrap(), "tasks/cancel");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_taken_back_ends_its_task() {
    let (server, log) = server(&[working("on")]);
    let behind = behind_of(server, BehindOptions::default());
    let (client, _) = Client::of(&behind, ProtocolVersion::V2025_11_25, all()).await;
    let params = json!({ "name": "slow", "_meta": { "progressToken": 1 } });
    let call = Message::request(&Id::from(1), "tools/call", &params).unwrap();
    let Reply::Stream(mut events) = client.send(call).await.unwrap() else { panic!() };
    assert_eq!(next(&mut events).await["params"]["message"], "begun");
    assert_eq!(next(&mut events).await["params"]["message"], "on");
    drop(events);
    behind.shut_down().await;
    let heard = log.lock().unwrap();
    let last = heard.said.last().unwrap();
    assert_eq!(
        (&last["method"], &last["params"]["taskId"]),
        (&json!("tasks/cancel"), &json!("t-1"))
    );
}

#[tokio::test(start_paused = true)]
async fn a_task_may_ask_so_often_and_nothing_its_client_cannot_give() {
    let ask = |key: &str, method: &str| json!({ "status": "input_required", "inputRequests": { key: { "method": method } } });
    let states: Vec<_> = (0..5).map(|n| ask(&n.to_string(), "roots/list")).collect();
    let (often, log) = server(&states);
    let options = BehindOptions { rounds_max: 3, ..BehindOptions::default() };
    let behind = behind_of(often, options);
    let (mut client, _) = Client::of(&behind, ProtocolVersion::V2025_11_25, all()).await;
    let answer = client.call("slow", json!({})).await;
    assert!(text(&answer).contains("more than 3 times"), "{answer}");
    behind.shut_down().await;
    assert_eq!(methods(&log).last().unwrap(), "tasks/cancel");
    let (other, _) = server(&[ask("k", "sampling/createMessage")]);
    let behind = behind_of(other, BehindOptions::default());
    let (mut mute, _) = Client::of(&behind, ProtocolVersion::V2025_11_25, json!({})).await;
    let answer = mute.call("slow", json!({})).await;
    assert!(text(&answer).contains("did not declare"), "{answer}");
}
