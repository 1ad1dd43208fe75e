//! Tasks of servers of 2026-07-28: each is its caller's.

use futures::stream;
use mcp_jsonrpc::{RpcError, modern, transport::func::from_fn};
use seal::{Clock, Keyring};

use super::*;

const TASKS: &str = "io.modelcontextprotocol/tasks";

/// A server whose only task has this id, and which tells of it to whoever listens for anything.
fn server() -> impl Transport + Clone {
    from_fn(|exchange: Exchange| async move {
        let message = exchange.message;
        let id = message.id().unwrap().clone();
        let params: Value = message.read().unwrap();
        let task = json!({ "taskId": "t-1", "status": "working", "ttlMs": null, "x": 1.50 });
        let with = |kind: &str| {
            let mut task = task.clone();
            task["resultType"] = json!(kind);
            Reply::Single(Message::response(&id, &task).unwrap())
        };
        Ok(match message.method().unwrap() {
            "tools/call" if params["name"] == "stream" => {
                let first = Message::notification("notifications/progress", &json!({})).unwrap();
                let Reply::Single(last) = with("task") else { unreachable!() };
                Reply::Stream(stream::iter([Ok(first.into()), Ok(last.into())]).boxed())
            }
            "tools/call" if params["name"] == "plain" => {
                let result = json!({ "resultType": "complete", "taskId": "t-1" });
                Reply::Single(Message::response(&id, &result).unwrap())
            }
            "tools/call" if params["name"] == "long" => {
                let result = json!({ "resultType": "task", "taskId": "x".repeat(5000) });
                Reply::Single(Message::response(&id, &result).unwrap())
            }
            "tools/call" => with("task"),
            modern::LISTEN => {
                let ids = params["notifications"]["taskIds"].clone();
                let said = |method: &str, params: Value| {
                    Ok(Event::from(Message::notification(method, &params).unwrap()))
                };
                let other = json!({ "taskId": "t-2", "status": "working" });
                let said = [
                    said(modern::ACKNOWLEDGED, json!({ "notifications": { "taskIds": ids } })),
                    said(modern::TASK_CHANGED, other),
                    said(modern::TASK_CHANGED, task),
                    said("notifications/tools/list_changed", json!({})),
                    Ok(Message::response(&id, &json!({ "resultType": "complete" }))
                        .unwrap()
                        .into()),
                ];
                Reply::Stream(stream::iter(said).boxed())
            }
            "tasks/get" if params["taskId"] == "t-1" => with("complete"),
            "tasks/update" | "tasks/cancel" if params["taskId"] == "t-1" => {
                let result = json!({ "resultType": "complete" });
                Reply::Single(Message::response(&id, &result).unwrap())
            }
            _ => {
                let words = format!("the server has no task {}", params["taskId"]);
                let error = RpcError::new(RpcError::INVALID_PARAMS, words);
                Reply::Single(Message::error(Some(&id), &error).unwrap())
            }
        })
    })
}

fn front(server: impl Transport, name: &str, keyring: &Keyring) -> Front {
    let keyring = Some(keyring.clone());
    let options = FrontOptions { server: name.into(), keyring, ..FrontOptions::default() };
    Front::new(Arc::new(server), options)
}

fn client(front: &Front, caller: &str) -> Client {
    Client::new(front, caller, json!({ "extensions": { TASKS: {} } }))
}

fn named(task: &str) -> Value {
    json!({ "taskId": task })
}

#[tokio::test]
async fn a_task_is_its_callers_alone() {
    let keyring = Keyring::fresh(Clock::still(1_000)).unwrap();
    let house = front(server(), "it", &keyring);
    let (ann, bob) = (client(&house, "ann"), client(&house, "bob"));
    let begun = ann.call("task", json!({})).await;
    let task = begun["taskId"].as_str().unwrap().to_owned();
    assert!(!task.contains("t-1"), "{task}");
    assert_eq!((&begun["resultType"], &begun["x"]), (&json!("task"), &json!(1.5)));
    let streamed = ann.ask("tools/call", json!({ "name": "stream", "arguments": {} })).await;
    assert_ne!(streamed[1]["result"]["taskId"], "t-1", "{streamed:?}");
    let got = ann.result("tasks/get", named(&task)).await;
    assert_eq!(got["taskId"], task, "under the id that the client has: {got}");
    for method in ["tasks/update", "tasks/cancel"] {
        assert_eq!(ann.result(method, named(&task)).await["resultType"], "complete");
    }
    // Not to who has learnt it, nor to who has guessed the server's.
    let elsewhere = client(&front(server(), "other", &keyring), "ann");
    for method in ["tasks/get", "tasks/update", "tasks/cancel"] {
        for (who, id) in [(&bob, &*task), (&bob, "t-1"), (&ann, "t-1"), (&elsewhere, &*task)] {
            let error = who.error(method, named(id)).await;
            assert_eq!(error["code"], -32602, "{method} {id}: {error}");
            let words = error["message"].as_str().unwrap();
            assert!(words.contains("the server has no task") && !words.contains("t-1"), "{error}");
        }
        let error = ann.error(method, json!({ "taskId": 1 })).await;
        assert_eq!(error["code"], -32602, "{error}");
        // What is wrong without one the server knows better.
        let error = ann.error(method, json!({})).await;
        assert!(error["message"].as_str().unwrap().contains("the server has"), "{error}");
    }
    // It outlives the gateway, as its key does.
    let again = client(&front(server(), "it", &keyring), "ann");
    assert_eq!(again.result("tasks/get", named(&task)).await["taskId"], task);
}

#[tokio::test]
async fn who_listens_hears_of_its_own_tasks() {
    let keyring = Keyring::fresh(Clock::still(1_000)).unwrap();
    let house = front(server(), "it", &keyring);
    let (ann, bob) = (client(&house, "ann"), client(&house, "bob"));
    let task = ann.call("task", json!({})).await["taskId"].clone();
    let wanted = |ids: Value| json!({ "notifications": { "taskIds": ids } });
    let said = ann.ask(modern::LISTEN, wanted(json!([task]))).await;
    assert_eq!(said[0]["params"]["notifications"]["taskIds"], json!([task]));
    assert_eq!(said[1]["params"]["taskId"], task, "and of no other: {said:?}");
    assert_eq!((&said[2]["method"], said.len()), (&json!("notifications/tools/list_changed"), 4));
    for ids in [json!([task]), json!(["t-1"])] {
        let said = bob.ask(modern::LISTEN, wanted(ids)).await;
        assert_eq!(said[0]["params"]["notifications"]["taskIds"], json!([]));
        assert_eq!(said.len(), 3, "{said:?}");
    }
    let error = bob.error(modern::LISTEN, wanted(json!("t-1"))).await;
    assert_eq!(error["code"], -32602, "{error}");
    // Who asks for none hears of none.
    let said = bob.ask(modern::LISTEN, json!({ "notifications": {} })).await;
    assert_eq!(said.len(), 3, "{said:?}");
}

#[tokio::test]
async fn what_is_no_task_stays_as_it_is() {
    let keyring = Keyring::fresh(Clock::still(1_000)).unwrap();
    let house = front(server(), "it", &keyring);
    let ann = client(&house, "ann");
    assert_eq!(ann.call("plain", json!({})).await["taskId"], "t-1");
    let long = json!({ "name": "long" });
    let error = ann.send(ann.message(json!(1), "tools/call", long)).await.unwrap_err();
    assert!(error.said().to_string().contains("4096 bytes"), "{error}");
    // A caller without a name gets what the server says, byte for byte.
    let nobody = Client { caller: Caller::anonymous(), ..client(&house, "") };
    assert_eq!(nobody.call("task", json!({})).await["taskId"], "t-1");
    assert_eq!(nobody.result("tasks/get", named("t-1")).await["taskId"], "t-1");
}
