//! Calls that wait: what happens meanwhile, for how long, how many.

use super::{
    double::Double,
    questions::{Waiting, all, ask, form, waiting},
    *,
};

fn tell(method: &str, params: Value) -> Value {
    json!({ "jsonrpc": "2.0", "method": method, "params": params })
}

#[tokio::test(start_paused = true)]
async fn a_client_that_never_comes_back_is_not_waited_for() {
    let server = Double::new();
    let front = server.front(FrontOptions::default());
    let it = waiting(&server, &front, "ann", 0).await;
    tokio::time::sleep(Duration::from_secs(599)).await;
    assert_eq!(front.counts().parked, 1);
    assert_eq!(server.count("notifications/cancelled"), 0, "its client is away, not gone");
    let refused = server.answered("q").await;
    assert_eq!(refused["result"]["action"], "cancel");
    let (_, said) = server.hears(0, |it| it["method"] == "notifications/cancelled").await;
    assert_eq!(said["params"]["requestId"], it.id);
    let counts = front.counts();
    assert_eq!((counts.parked, counts.expired), (0, 1));
    assert_eq!(it.client.error("tools/call", it.retry()).await["code"], -32602);
}

#[tokio::test(start_paused = true)]
async fn what_is_said_meanwhile_is_told_at_the_retry() {
    let server = Double::new();
    let front = server.front(FrontOptions::default());
    let mut it = waiting(&server, &front, "ann", 0).await;
    let progress =
        |n| tell("notifications/progress", json!({ "progressToken": it.id, "progress": n }));
    for n in 1..=100 {
        it.talk.say(it.id, progress(n));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    it.talk.say(it.id, ask("ping", "ping"));
    server.answered("ping").await;
    it.talk.say(it.id, form("next"));
    tokio::time::sleep(Duration::from_secs(1)).await;
    it.client.meta = json!({ "progressToken": "p" });
    let asked = it.client.ask("tools/call", it.retry()).await;
    assert_eq!(asked.len(), 2, "{asked:?}");
    assert_eq!(asked[0]["params"], json!({ "progressToken": "p", "progress": 100 }));
    let (key, entry) = question(&asked[1]["result"]);
    assert_eq!(entry["params"]["message"], "next");
    // The answer comes before the client does: what it says to the question comes too late.
    it.talk.answer(it.id, json!({ "content": [], "n": 1 }));
    tokio::time::sleep(Duration::from_secs(1)).await;
    it.asked = asked[1]["result"].clone();
    it.key = key;
    assert_eq!(it.client.result("tools/call", it.retry()).await["n"], 1);
    assert_eq!(server.count("notifications/cancelled"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_question_that_is_taken_back_is_not_answered() {
    let server = Double::new();
    let front = server.front(FrontOptions::default());
    let it = waiting(&server, &front, "ann", 0).await;
    it.talk.unasked(tell("notifications/cancelled", json!({ "requestId": "q" })));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let finishing = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        it.talk.answer(it.id, json!({ "content": [] }));
    };
    tokio::join!(it.client.result("tools/call", it.retry()), finishing);
    assert!(server.heard().iter().all(|(_, said)| said["id"] != "q"));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_dies_meanwhile_is_not_called_again() {
    let server = Double::new();
    let front = server.front(FrontOptions::default());
    let it = waiting(&server, &front, "ann", 0).await;
    it.talk.die();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let retry = it.client.message(json!(2), "tools/call", it.retry());
    let error = it.client.send(retry).await.err().unwrap();
    assert_eq!(error.kind(), &ErrorKind::Closed);
    assert_eq!(server.count("tools/call"), 1);
    // The next one finds another session.
    it.client.call("now", json!({})).await;
    assert_eq!(server.count("initialize"), 2);
}

#[tokio::test(start_paused = true)]
async fn so_many_may_wait() {
    let server = Double::new();
    let options =
        FrontOptions { parked_max: 3, parked_per_caller_max: 2, ..FrontOptions::default() };
    let front = server.front(options);
    let mut kept = Vec::new();
    for (nth, caller) in ["ann", "ann", "bob"].into_iter().enumerate() {
        kept.push(waiting(&server, &front, caller, nth).await);
    }
    for (nth, caller) in ["ann", "carl"].into_iter().enumerate() {
        let client = Client::new(&front, caller, json!({ "elicitation": {} }));
        let asking = client.call("asks", json!({}));
        let speaking = async {
            let (talk, id) = server.called(3 + nth, "asks").await;
            talk.say(id, form(caller));
            assert_eq!(server.answered(caller).await["result"]["action"], "cancel");
            talk.answer(id, json!({ "content": [] }));
        };
        let (result, ()) = tokio::join!(asking, speaking);
        assert_eq!(result["resultType"], "complete");
    }
    assert_eq!(front.counts().refused, 2);
    // Whoever comes back gives up a place.
    let it: Waiting = kept.remove(0);
    let finishing = async {
        server.hears(0, |said| said["id"] == "q" && said["result"]["action"] == "decline").await;
        it.talk.answer(it.id, json!({ "content": [] }));
    };
    tokio::join!(it.client.result("tools/call", it.retry()), finishing);
    waiting(&server, &front, "ann", 5).await;
}

#[tokio::test(start_paused = true)]
async fn a_call_asks_so_often() {
    let server = Double::new();
    let front = server.front(FrontOptions { rounds_max: 2, ..FrontOptions::default() });
    let mut it = waiting(&server, &front, "ann", 0).await;
    for last in [false, true] {
        let speaking = async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            it.talk.say(it.id, form(if last { "third" } else { "second" }));
            if last {
                assert_eq!(server.answered("third").await["result"]["action"], "cancel");
                it.talk.answer(it.id, json!({ "content": [] }));
            }
        };
        let (result, ()) = tokio::join!(it.client.result("tools/call", it.retry()), speaking);
        if !last {
            it.key = question(&result).0;
            it.asked = result;
        } else {
            assert_eq!(result["resultType"], "complete");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_end_takes_back_what_waits() {
    let server = Double::new();
    let front = server.front(FrontOptions::default());
    waiting(&server, &front, "ann", 0).await;
    front.shut_down(Duration::ZERO).await;
    assert_eq!(server.answered("q").await["result"]["action"], "cancel");
    assert_eq!(server.count("notifications/cancelled"), 1);
    assert_eq!(server.heard().last().unwrap().1, "(close)");
    assert_eq!(front.counts(), FrontCounts { refused: 1, ..FrontCounts::default() });
}

#[tokio::test(start_paused = true)]
async fn what_nobody_may_be_asked_is_refused_and_never_guessed() {
    let server = Double::new();
    let roots = Arc::from(["file:///r".into()]);
    let front =
        server.front(FrontOptions { roots, sole_sessions_max: 1, ..FrontOptions::default() });
    let client = Client::new(&front, "ann", all());
    let poor = Client::new(&front, "ann", json!({}));
    let speaking = async {
        let (talk, one) = server.called(0, "one").await;
        let (_, two) = server.called(0, "two").await;
        // For one of two.
        talk.unasked(form("form"));
        talk.unasked(ask("sample", "sampling/createMessage"));
        talk.unasked(ask("roots", "roots/list"));
        talk.unasked(ask("unknown", "com.example/ask"));
        assert_eq!(server.answered("form").await["result"]["action"], "cancel");
        assert_eq!(server.answered("sample").await["error"]["code"], -1);
        let roots = json!({ "roots": [{ "uri": "file:///r" }] });
        assert_eq!(server.answered("roots").await["result"], roots);
        assert_eq!(server.answered("unknown").await["error"]["code"], -32601);
        talk.answer(one, json!({ "content": [] }));
        talk.answer(two, json!({ "content": [] }));
        // Of one that declared nothing.
        let (talk, three) = server.called(0, "three").await;
        talk.say(three, form("undeclared"));
        assert_eq!(server.answered("undeclared").await["result"]["action"], "cancel");
        talk.answer(three, json!({ "content": [] }));
        // In a request that is no call.
        let (talk, said) = server.hears(0, |it| it["method"] == "prompts/list").await;
        let id = said["id"].as_i64().unwrap();
        talk.say(id, form("list"));
        assert_eq!(server.answered("list").await["result"]["action"], "cancel");
        talk.answer(id, json!({ "prompts": [] }));
        // In none.
        talk.unasked(form("none"));
        assert_eq!(server.answered("none").await["result"]["action"], "cancel");
    };
    let asking = async {
        tokio::join!(client.call("one", json!({})), client.call("two", json!({})));
        poor.call("three", json!({})).await;
        client.result("prompts/list", json!({})).await;
    };
    tokio::join!(asking, speaking);
    assert_eq!(front.counts().refused, 7);
    assert_eq!(front.counts().parked, 0);
}

/// What is asked in a session is then for the one that runs there.
#[tokio::test(start_paused = true)]
async fn calls_that_may_be_asked_have_sessions_of_their_own() {
    let server = Double::new();
    let front = server.front(FrontOptions { sole_sessions_max: 2, ..FrontOptions::default() });
    let (client, poor) = (Client::new(&front, "ann", all()), Client::new(&front, "ann", json!({})));
    // As long as it has asked nothing, calls share a session, and what the server keeps in it.
    let speaking = async {
        for tool in ["one", "two"] {
            let (talk, id) = server.called(0, tool).await;
            talk.answer(id, json!({ "content": [] }));
        }
    };
    tokio::join!(client.call("one", json!({})), client.call("two", json!({})), speaking);
    assert_eq!(front.counts().sessions, 1);
    let _asked = waiting(&server, &front, "eve", 0).await;
    let speaking = async {
        for tool in ["first", "second"] {
            let (talk, id) = server.called(0, tool).await;
            talk.unasked(form(&format!("for {id} of {tool}")));
        }
    };
    let (one, two, ()) =
        tokio::join!(client.call("first", json!({})), client.call("second", json!({})), speaking);
    let ((_, one), (_, two)) = (question(&one), question(&two));
    let messages = [&one["params"]["message"], &two["params"]["message"]];
    assert_eq!(messages, [&json!("for 3 of first"), &json!("for 1 of second")]);
    assert_eq!((front.counts().sessions, front.counts().parked), (3, 3));
    // A third has to share one, and what cannot be asked shares one as well.
    let speaking = async {
        let (talk, id) = server.called(0, "three").await;
        talk.unasked(form("whose"));
        assert_eq!(server.answered("whose").await["result"]["action"], "cancel");
        talk.answer(id, json!({ "content": [] }));
        for nth in 0..2 {
            let (talk, id) = server.called(nth, "poor").await;
            talk.answer(id, json!({ "content": [] }));
        }
    };
    let asking = async {
        client.call("three", json!({})).await;
        tokio::join!(poor.call("poor", json!({})), poor.call("poor", json!({})));
    };
    tokio::join!(asking, speaking);
    assert_eq!(front.counts().sessions, 4);
}

#[tokio::test(start_paused = true)]
async fn what_an_abandoned_call_may_have_caused_is_nobody_elses() {
    let server = Double::new();
    let front = server.front(FrontOptions { sole_sessions_max: 1, ..FrontOptions::default() });
    let client = Client::new(&front, "ann", all());
    let asking = Box::pin(client.call("gone", json!({})));
    tokio::select! {
        _ = asking => panic!("nobody has answered"),
        _ = server.called(0, "gone") => (),
    }
    let asking = client.call("other", json!({}));
    let speaking = async {
        let (talk, id) = server.called(0, "other").await;
        talk.unasked(form("late"));
        assert_eq!(server.answered("late").await["result"]["action"], "cancel");
        talk.answer(id, json!({ "content": [] }));
    };
    tokio::join!(asking, speaking);
}

#[tokio::test(start_paused = true)]
async fn roots_that_are_asked_for_at_once_are_asked_of_the_first_call() {
    let server = Double::new();
    let front = server.front(FrontOptions::default());
    let client = Client::new(&front, "ann", json!({ "roots": {} }));
    client.result("tools/list", json!({})).await;
    let talk = server.talk(0);
    talk.unasked(ask("early", "roots/list"));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(server.heard().iter().all(|(_, it)| it["id"] != "early"), "it waits");
    let asked = client.call("now", json!({})).await;
    let (key, entry) = question(&asked);
    assert_eq!(entry, json!({ "method": "roots/list" }));
    assert_eq!(server.count("tools/call"), 0, "nothing is done before");
    let roots = json!({ "roots": [{ "uri": "file:///home" }] });
    let retry = client.retry("now", json!({}), &asked, json!({ key: roots }));
    client.result("tools/call", retry).await;
    let heard = server.heard();
    let at = |is_it: &dyn Fn(&Value) -> bool| heard.iter().position(|(_, it)| is_it(it)).unwrap();
    assert!(at(&|it| it["id"] == "early") < at(&|it| it["method"] == "tools/call"));
    assert_eq!(server.answered("early").await["result"], roots);
    // For some minutes it is known.
    talk.unasked(ask("again", "roots/list"));
    assert_eq!(server.answered("again").await["result"], roots);
    tokio::time::sleep(Duration::from_secs(4 * 60)).await;
    client.result("tools/list", json!({})).await;
    tokio::time::sleep(Duration::from_secs(2 * 60)).await;
    talk.unasked(ask("old", "roots/list"));
    assert_eq!(server.answered("old").await["result"], json!({ "roots": [] }), "nobody came");
}

#[tokio::test(start_paused = true)]
async fn an_address_to_visit_is_a_question_and_the_call_is_made_again() {
    let server = Double::new();
    let front = server.front(FrontOptions::default());
    let client = Client::new(&front, "ann", json!({ "elicitation": { "url": {} } }));
    let required = |id: i64| {
        json!({ "jsonrpc": "2.0", "id": id, "error": { "code": -32042, "message": "first",
            "data": { "elicitations": [{ "mode": "url", "message": "Log in", "url": "https://x/",
                "elicitationId": "e" }] } } })
    };
    let refuse = async |nth| {
        let (talk, id) = server.called(nth, "pay").await;
        talk.end(id, required(id));
    };
    let (asked, ()) = tokio::join!(client.call("pay", json!({ "n": 1 })), refuse(0));
    let (key, entry) = question(&asked);
    assert_eq!(
        entry,
        json!({ "method": "elicitation/create", "params": {
        "mode": "url", "message": "Log in", "url": "https://x/" } })
    );
    let retry = |asked: &Value, key: &str, action: &str| {
        client.retry("pay", json!({ "n": 1 }), asked, json!({ key: { "action": action } }))
    };
    // Not yet.
    let (asked, ()) =
        tokio::join!(client.result("tools/call", retry(&asked, &key, "accept")), refuse(1));
    let (key, _) = question(&asked);
    let paying = async {
        let (talk, id) = server.called(2, "pay").await;
        talk.answer(id, json!({ "content": [], "paid": true }));
    };
    let (result, ()) =
        tokio::join!(client.result("tools/call", retry(&asked, &key, "accept")), paying);
    assert_eq!(result["paid"], true);
    // Who does not want to is not asked again.
    let (asked, ()) = tokio::join!(client.call("pay", json!({ "n": 1 })), refuse(3));
    let (key, _) = question(&asked);
    assert_eq!(client.error("tools/call", retry(&asked, &key, "decline")).await["code"], -1);
    assert_eq!(server.count("tools/call"), 4);
    // Who cannot is told what is missing.
    let poor = Client::new(&front, "ann", json!({ "elicitation": { "form": {} } }));
    let params = json!({ "name": "pay" });
    let (error, ()) = tokio::join!(poor.error("tools/call", params), refuse(4));
    assert_eq!(error["code"], -32021);
    assert_eq!(error["data"], json!({ "requiredCapabilities": { "elicitation": { "url": {} } } }));
}
