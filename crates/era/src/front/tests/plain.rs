//! What needs one request and its answer.

use super::*;

#[tokio::test(start_paused = true)]
async fn discover_is_answered_from_the_handshake() {
    let (front, server) = demo(FrontOptions::default());
    let client = Client::new(&front, "ann", json!({}));
    let result = client.result("server/discover", json!({})).await;
    let versions = ["2026-07-28", "2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"];
    assert_eq!(result["supportedVersions"], json!(versions));
    assert_eq!(result["resultType"], "complete");
    assert_eq!(result["ttlMs"], 0);
    assert_eq!(result["cacheScope"], "private");
    assert_eq!(result["capabilities"]["tools"]["listChanged"], true);
    assert!(result["_meta"]["io.modelcontextprotocol/serverInfo"]["name"].is_string());
    assert!(result.get("serverInfo").is_none() && result.get("protocolVersion").is_none());
    // Once more: without another session.
    client.result("server/discover", json!({})).await;
    assert_eq!(server.session_count(), 1);
    assert_eq!(front.counts().sessions, 1);
}

#[tokio::test(start_paused = true)]
async fn results_are_complete_and_lists_say_how_long_they_hold() {
    let (front, _) = demo(FrontOptions::default());
    let client = Client::new(&front, "ann", json!({}));
    let result = client.call("add", json!({ "a": 2, "b": 3 })).await;
    assert_eq!(result["structuredContent"]["sum"], 5);
    assert_eq!(result["resultType"], "complete");
    assert!(result.get("ttlMs").is_none());
    assert!(result["_meta"]["io.modelcontextprotocol/serverInfo"]["version"].is_string());
    for method in ["tools/list", "prompts/list", "resources/list", "resources/templates/list"] {
        let result = client.result(method, json!({})).await;
        assert_eq!((&result["ttlMs"], &result["cacheScope"]), (&json!(0), &json!("private")));
        assert_eq!(result["resultType"], "complete");
    }
    let tools = client.result("tools/list", json!({})).await;
    assert!(tools["tools"].as_array().unwrap().iter().all(|tool| tool.get("execution").is_none()));
}

use super::double::Double;

#[tokio::test(start_paused = true)]
async fn what_a_session_says_is_taken_out_of_requests() {
    let server = Double::new();
    let front = server.front(FrontOptions::default());
    let client = Client::new(&front, "ann", json!({}));
    let client = client.with(json!({ "progressToken": "mine", "com.example/x": [1],
        "io.modelcontextprotocol/logLevel": "info" }));
    let params = json!({ "name": "now", "task": { "ttl": 1 }, "arguments": { "n": 1 } });
    client.result("tools/call", params).await;
    let heard = server.heard();
    let methods: Vec<_> = heard.iter().map(|(_, said)| said["method"].clone()).collect();
    let expect = ["initialize", "notifications/initialized", "logging/setLevel", "tools/call"];
    assert_eq!(methods, expect);
    assert_eq!(
        heard[0].1["params"],
        json!({ "protocolVersion": "2025-11-25", "capabilities": {},
        "clientInfo": { "name": "tester", "version": "1" } })
    );
    assert_eq!(heard[2].1["params"], json!({ "level": "info" }));
    let id = heard[3].1["id"].clone();
    assert_eq!(
        heard[3].1["params"],
        json!({ "name": "now", "arguments": { "n": 1 },
        "_meta": { "com.example/x": [1], "progressToken": id } })
    );
}

#[tokio::test(start_paused = true)]
async fn clients_that_can_do_the_same_share_a_session_and_no_two_callers_do() {
    let server = Double::new();
    let front = server.front(FrontOptions::default());
    let (form, none) = (json!({ "elicitation": { "form": {} } }), json!({}));
    let talk = async |caller, capabilities: &Value| {
        let client = Client::new(&front, caller, capabilities.clone());
        client.call("now", json!({})).await["content"][0]["text"].clone()
    };
    assert_eq!(talk("ann", &none).await, "0");
    assert_eq!(talk("ann", &form).await, "1");
    assert_eq!(talk("bob", &none).await, "2");
    assert_eq!(talk("ann", &none).await, "0");
    // The same in other words.
    assert_eq!(talk("ann", &json!({ "elicitation": {} })).await, "1");
    let declared = server.heard()[3].1["params"]["capabilities"].clone();
    assert_eq!(declared, json!({ "elicitation": { "form": {} } }));
    assert_eq!(front.counts().sessions, 3);
}

#[tokio::test(start_paused = true)]
async fn equal_ids_and_tokens_of_many_clients_never_cross() {
    let server = Double::new();
    let front = server.front(FrontOptions::default());
    let client = || {
        let client = Client::new(&front, "ann", json!({}));
        client.with(json!({ "progressToken": 1 }))
    };
    let clients: Vec<_> = (0..20).map(|_| client()).collect();
    let mut asking = Vec::new();
    for (n, client) in clients.iter().enumerate() {
        asking.push(client.ask("tools/call", json!({ "name": format!("t{n}") })));
    }
    let answering = async {
        for n in (0..20).rev() {
            let (talk, id) = server.called(0, &format!("t{n}")).await;
            let progress = json!({ "progressToken": id, "progress": 1, "message": n });
            talk.say(
                id,
                json!({ "jsonrpc": "2.0", "method": "notifications/progress",
                "params": progress }),
            );
            // Neither another's nor backwards.
            for (token, progress) in [(id + 1, 2), (id, 1), (id, 0)] {
                let params = json!({ "progressToken": token, "progress": progress });
                talk.say(
                    id,
                    json!({ "jsonrpc": "2.0", "method": "notifications/progress",
                    "params": params }),
                );
            }
            talk.answer(id, json!({ "content": [], "n": n }));
        }
    };
    let (said, ()) = tokio::join!(futures::future::join_all(asking), answering);
    for (n, said) in said.iter().enumerate() {
        assert_eq!(said.len(), 2, "{said:?}");
        assert_eq!(said[0]["params"], json!({ "progressToken": 1, "progress": 1, "message": n }));
        assert_eq!((&said[1]["id"], &said[1]["result"]["n"]), (&json!(1), &json!(n)));
    }
    assert_eq!(server.count("initialize"), 1);
}

#[tokio::test(start_paused = true)]
async fn errors_are_told_in_codes_that_2026_knows() {
    let server = Double::new();
    let front = server.front(FrontOptions::default());
    let client = Client::new(&front, "ann", json!({}));
    let codes = [
        (-32002, -32602),
        (-32020, -32603),
        (-32021, -32603),
        (-32022, -32603),
        (-32010, -32010),
        (4001, 4001),
        (-32601, -32601),
    ];
    for (n, (theirs, ours)) in codes.into_iter().enumerate() {
        let asking = client.error("resources/read", json!({ "uri": "mem://a" }));
        let answering = async {
            let (talk, said) = server.hears(n, |it| it["method"] == "resources/read").await;
            talk.end(
                said["id"].as_i64().unwrap(),
                json!({ "jsonrpc": "2.0", "id": said["id"],
                "error": { "code": theirs, "message": "no", "data": { "uri": "mem://a" } } }),
            );
        };
        let (error, ()) = tokio::join!(asking, answering);
        assert_eq!(error, json!({ "code": ours, "message": "no", "data": { "uri": "mem://a" } }));
    }
}

#[tokio::test(start_paused = true)]
async fn what_2026_has_not_is_refused_here() {
    let server = Double::new();
    let front = server.front(FrontOptions::default());
    let client = Client::new(&front, "ann", json!({}));
    for method in ["ping", "initialize", "logging/setLevel", "resources/subscribe", "tasks/get"] {
        assert_eq!(client.error(method, json!({})).await["code"], -32601);
    }
    assert!(server.heard().is_empty());
    let wrong = Client::new(&front, "ann", json!({}))
        .with(json!({ "io.modelcontextprotocol/logLevel": "loud" }));
    assert_eq!(wrong.error("tools/list", json!({})).await["code"], -32602);
    let large =
        Client::new(&front, "ann", json!({ "extensions": { "a/b": { "x": "y".repeat(9000) } } }));
    assert_eq!(large.error("tools/list", json!({})).await["code"], -32602);
    assert!(server.heard().is_empty());
    let session = client.session().await;
    assert_eq!(session.listen(None).await.err().unwrap().kind(), &ErrorKind::Unsupported);
    assert!(session.endpoint().session.is_none());
    let answer = Message::parse(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#).unwrap();
    let error = client.send(answer).await.err().unwrap();
    assert_eq!(error.kind(), &ErrorKind::Invalid(-32600));
}

#[tokio::test(start_paused = true)]
async fn methods_that_nobody_knows_pass() {
    let server = Double::new();
    let front = server.front(FrontOptions::default());
    let client = Client::new(&front, "ann", json!({}));
    let asking = client.result("com.example/do", json!({ "x": 1 }));
    let answering = async {
        let (talk, said) = server.hears(0, |it| it["method"] == "com.example/do").await;
        assert_eq!(said["params"], json!({ "x": 1 }));
        talk.answer(said["id"].as_i64().unwrap(), json!({ "y": 2 }));
    };
    let (result, ()) = tokio::join!(asking, answering);
    assert_eq!((&result["y"], &result["resultType"]), (&json!(2), &json!("complete")));
    let said = json!({ "jsonrpc": "2.0", "method": "com.example/told", "params": { "z": 3 } });
    let said = Message::parse(said.to_string()).unwrap();
    assert!(matches!(client.send(said).await.unwrap(), Reply::Accepted));
    server.hears(0, |it| it["method"] == "com.example/told").await;
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_dropped_is_cancelled() {
    let server = Double::new();
    let front = server.front(FrontOptions::default());
    let client = Client::new(&front, "ann", json!({}));
    let asking = Box::pin(client.ask("tools/call", json!({ "name": "slow" })));
    let id = tokio::select! {
        _ = asking => panic!("nobody has answered"),
        (_, id) = server.called(0, "slow") => id,
    };
    let (_, said) = server.hears(0, |it| it["method"] == "notifications/cancelled").await;
    assert_eq!(said["params"]["requestId"], id);
    // One that was answered is not.
    client.call("now", json!({})).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(server.count("notifications/cancelled"), 1);
    assert_eq!(server.count("initialize"), 1, "its session is kept");
}

#[tokio::test(start_paused = true)]
async fn logs_go_to_the_request_that_wants_them() {
    let server = Double::new();
    let front = server.front(FrontOptions::default());
    let log = |level: &str| {
        json!({ "jsonrpc": "2.0", "method": "notifications/message",
            "params": { "level": level, "data": level } })
    };
    let quiet = Client::new(&front, "ann", json!({}));
    let loud = Client::new(&front, "ann", json!({}))
        .with(json!({ "io.modelcontextprotocol/logLevel": "warning" }));
    let speaking = async {
        let (talk, loud) = server.called(0, "loud").await;
        for level in ["info", "warning", "error"] {
            talk.say(loud, log(level));
        }
        let (_, quiet) = server.called(0, "quiet").await;
        talk.say(quiet, log("emergency"));
        // For either.
        talk.unasked(log("alert"));
        tokio::time::sleep(Duration::from_millis(1)).await;
        talk.answer(quiet, json!({}));
        tokio::time::sleep(Duration::from_millis(1)).await;
        talk.unasked(log("critical"));
        tokio::time::sleep(Duration::from_millis(1)).await;
        talk.answer(loud, json!({}));
    };
    let (loud, quiet, ()) = tokio::join!(
        loud.ask("tools/call", json!({ "name": "loud" })),
        quiet.ask("tools/call", json!({ "name": "quiet" })),
        speaking,
    );
    let levels: Vec<_> = loud.iter().filter_map(|it| it["params"]["level"].as_str()).collect();
    assert_eq!(levels, ["warning", "error", "critical"]);
    assert_eq!(quiet.len(), 1, "{quiet:?}");
    assert_eq!(front.counts().dropped, 1);
    // Nobody wants to hear anything now.
    let (_, said) = server.hears(1, |it| it["method"] == "logging/setLevel").await;
    assert_eq!(said["params"]["level"], "emergency");
}
