//! Calls that are answered with questions.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_form_is_asked_for_and_filled_in() {
    let (front, server) = demo(FrontOptions::default());
    let client = Client::new(&front, "ann", json!({ "elicitation": { "form": {} } }));
    let asked = client.call("ask-elicitation", json!({})).await;
    let (key, entry) = question(&asked);
    assert_eq!(entry["method"], "elicitation/create");
    assert_eq!(entry["params"]["mode"], "form");
    assert!(entry.get("id").is_none() && entry.get("jsonrpc").is_none());
    assert_eq!(front.counts().parked, 1);
    let answers = json!({ key: { "action": "accept", "content": { "name": "Ann" } } });
    let retry = client.retry("ask-elicitation", json!({}), &asked, answers);
    let result = client.result("tools/call", retry).await;
    assert_eq!(result["resultType"], "complete");
    assert_eq!(result["content"][0]["text"], r#"accepted: {"name":"Ann"}"#);
    assert_eq!(front.counts().parked, 0);
    assert_eq!(server.session_count(), 1);
}

use super::double::{Double, Talk};

const ALL: &str =
    r#"{"elicitation":{"form":{},"url":{}},"sampling":{},"roots":{},"extensions":{"a/b":{}}}"#;

pub(super) fn all() -> Value {
    serde_json::from_str(ALL).unwrap()
}

pub(super) fn form(id: &str) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "method": "elicitation/create", "params": {
        "message": id, "requestedSchema": { "type": "object", "properties": {} },
        "task": { "ttl": 1 }, "_meta": { "progressToken": 7, "x/y": 1 } } })
}

pub(super) fn ask(id: &str, method: &str) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": {} })
}

/// A call that waits for an answer to one form, and what its client was told.
pub(super) struct Waiting {
    pub(super) client: Client,
    pub(super) talk: Arc<Talk>,
    pub(super) id: i64,
    pub(super) asked: Value,
    pub(super) key: String,
}

pub(super) async fn waiting(
    server: &Arc<Double>,
    front: &Front,
    caller: &str,
    nth: usize,
) -> Waiting {
    let client = Client::new(front, caller, json!({ "elicitation": {} }));
    let asking = client.call("asks", json!({ "b": 1, "a": [1.0, 2] }));
    let speaking = async {
        let (talk, id) = server.called(nth, "asks").await;
        talk.say(id, form("q"));
        (talk, id)
    };
    let (asked, (talk, id)) = tokio::join!(asking, speaking);
    let (key, _) = question(&asked);
    Waiting { client, talk, id, asked, key }
}

impl Waiting {
    pub(super) fn retry(&self) -> Value {
        let answers = json!({ &self.key: { "action": "decline" }, "other": 1 });
        self.client.retry("asks", json!({ "a": [1.0, 2], "b": 1 }), &self.asked, answers)
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_asked_together_is_told_together() {
    let server = Double::new();
    let front = server.front(FrontOptions::default());
    let client = Client::new(&front, "ann", all());
    let asking = client.call("asks", json!({}));
    let speaking = async {
        let (talk, id) = server.called(0, "asks").await;
        talk.say(id, form("one"));
        tokio::time::sleep(Duration::from_millis(30)).await;
        talk.say(id, ask("two", "sampling/createMessage"));
        talk.say(id, ask("ping", "ping"));
        // This one belongs to no stream, but no other call runs.
        talk.unasked(form("three"));
        (talk, id)
    };
    let (asked, (talk, id)) = tokio::join!(asking, speaking);
    let questions = asked["inputRequests"].as_object().unwrap();
    let methods: Vec<_> = questions.values().map(|it| it["method"].as_str().unwrap()).collect();
    assert_eq!(methods.len(), 3);
    let of = |message: &str| {
        let found = questions.iter().find(|(_, it)| it["params"]["message"] == message);
        found.map(|(key, entry)| (key.clone(), entry.clone())).unwrap()
    };
    let (one, entry) = of("one");
    let schema = json!({ "type": "object", "properties": {} });
    assert_eq!(
        entry["params"],
        json!({ "message": "one", "requestedSchema": schema,
        "_meta": { "x/y": 1 } })
    );
    let (three, _) = of("three");
    let two = questions.keys().find(|key| **key != one && **key != three).unwrap();
    assert_eq!(server.answered("ping").await["result"], json!({}));
    let sample =
        json!({ "role": "assistant", "model": "m", "content": { "type": "text", "text": "t" } });
    let answers = json!({ one: { "action": "accept", "content": { "n": 1 } }, two: sample,
        three: { "action": "cancel", "resultType": "complete" } });
    let retry = client.retry("asks", json!({}), &asked, answers);
    let finishing = async {
        let answer = server.answered("one").await;
        assert_eq!(answer["result"], json!({ "action": "accept", "content": { "n": 1 } }));
        assert_eq!(server.answered("two").await["result"], sample);
        assert_eq!(server.answered("three").await["result"], json!({ "action": "cancel" }));
        talk.say(id, form("four"));
    };
    let (asked, ()) = tokio::join!(client.result("tools/call", retry), finishing);
    let (four, entry) = question(&asked);
    assert_eq!(entry["params"]["message"], "four");
    assert!(!questions.contains_key(&four), "keys are of the whole call");
    let answers = json!({ four: { "action": "accept" } });
    let retry = client.retry("asks", json!({}), &asked, answers);
    let finishing = async {
        server.answered("four").await;
        talk.answer(id, json!({ "content": [], "n": 4 }));
    };
    let (result, ()) = tokio::join!(client.result("tools/call", retry), finishing);
    assert_eq!(result["n"], 4);
    assert_eq!(server.count("tools/call"), 1, "it was carried out once");
}

#[tokio::test(start_paused = true)]
async fn a_state_is_good_for_its_caller_and_its_request_once() {
    let server = Double::new();
    let clock = Clock::still(1_000_000);
    let keyring = Keyring::fresh(clock.clone()).unwrap();
    let options = FrontOptions { keyring: Some(keyring.clone()), ..FrontOptions::default() };
    let front = server.front(options.clone());
    let it = waiting(&server, &front, "ann", 0).await;
    let refused = async |client: &Client, retry: Value, word: &str| {
        let error = client.error("tools/call", retry).await;
        assert_eq!(error["code"], -32602, "{error}");
        assert!(error["message"].as_str().unwrap().contains(word), "{error}");
    };
    let bob = Client::new(&front, "bob", json!({ "elicitation": {} }));
    refused(&bob, it.retry(), "not given to this caller").await;
    let state = it.asked["requestState"].as_str().unwrap().to_owned();
    for at in 0..state.len() {
        let mut altered = state.clone().into_bytes();
        altered[at] = if altered[at] == b'A' { b'B' } else { b'A' };
        let mut retry = it.retry();
        retry["requestState"] = json!(String::from_utf8(altered).unwrap());
        refused(&it.client, retry, "not given to this caller").await;
    }
    for (name, other) in [("name", json!("other")), ("arguments", json!({ "a": [1.0, 3], "b": 1 }))]
    {
        let mut retry = it.retry();
        retry[name] = other;
        refused(&it.client, retry, "another request").await;
    }
    let mut retry = it.retry();
    retry["inputResponses"] = json!({ &it.key: { "action": "perhaps" } });
    refused(&it.client, retry, "`inputResponses.q1` has no `action`").await;
    let error = it.client.error("tools/list", json!({ "requestState": state })).await;
    assert_eq!(error["code"], -32602);
    // Another gateway that has the same key: nothing is lost there, since nothing was here.
    let other = server.front(options);
    let client = Client::new(&other, "ann", json!({ "elicitation": {} }));
    refused(&client, it.retry(), "lost").await;
    // All that moved nothing. The state is good, once.
    let finishing = async {
        assert_eq!(server.answered("q").await["result"]["action"], "decline");
        it.talk.answer(it.id, json!({ "content": [] }));
    };
    let (_, ()) = tokio::join!(it.client.result("tools/call", it.retry()), finishing);
    refused(&it.client, it.retry(), "used already").await;
    assert_eq!(server.count("tools/call"), 1);
    // And not for ever.
    let it = waiting(&server, &front, "ann", 1).await;
    clock.advance(Duration::from_secs(600));
    refused(&it.client, it.retry(), "too old").await;
}

#[tokio::test(start_paused = true)]
async fn of_two_retries_at_once_one_is_heard() {
    let server = Double::new();
    let front = server.front(FrontOptions::default());
    let it = waiting(&server, &front, "ann", 0).await;
    let finishing = async {
        server.answered("q").await;
        it.talk.answer(it.id, json!({ "content": [] }));
    };
    let (one, two, ()) = tokio::join!(
        it.client.ask("tools/call", it.retry()),
        it.client.ask("tools/call", it.retry()),
        finishing,
    );
    let refused = [one, two].iter().filter(|said| said[0]["error"]["code"] == -32602).count();
    assert_eq!(refused, 1);
    assert_eq!(server.heard().iter().filter(|(_, it)| it["id"] == "q").count(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_missing_is_asked_for_again() {
    let server = Double::new();
    let front = server.front(FrontOptions::default());
    let client = Client::new(&front, "ann", all());
    let speaking = async {
        let (talk, id) = server.called(0, "asks").await;
        talk.say(id, form("one"));
        talk.say(id, form("two"));
        (talk, id)
    };
    let (asked, (talk, id)) = tokio::join!(client.call("asks", json!({})), speaking);
    let retry = client.retry("asks", json!({}), &asked, json!({ "q2": { "action": "accept" } }));
    let again = client.result("tools/call", retry).await;
    let (key, entry) = question(&again);
    assert_eq!((key.as_str(), &entry["params"]["message"]), ("q1", &json!("one")));
    assert_ne!(again["requestState"], asked["requestState"]);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(server.heard().iter().all(|(_, it)| it["id"] != "two"), "the server hears of it later");
    let retry = client.retry("asks", json!({}), &again, json!({ "q1": { "action": "cancel" } }));
    let finishing = async {
        assert_eq!(server.answered("two").await["result"]["action"], "accept");
        assert_eq!(server.answered("one").await["result"]["action"], "cancel");
        talk.answer(id, json!({ "content": [] }));
    };
    tokio::join!(client.result("tools/call", retry), finishing);
}

#[tokio::test(start_paused = true)]
async fn samples_and_roots_of_a_real_server() {
    let (front, _) = demo(FrontOptions::default());
    let client = Client::new(&front, "ann", all());
    let sample =
        json!({ "role": "assistant", "model": "m", "content": { "type": "text", "text": "hi" } });
    let roots = json!({ "roots": [{ "uri": "file:///a" }] });
    for (tool, answer, text) in
        [("ask-sampling", sample, "m said: hi"), ("ask-roots", roots, "1 roots: file:///a")]
    {
        let asked = client.call(tool, json!({})).await;
        let (key, _) = question(&asked);
        let retry = client.retry(tool, json!({}), &asked, json!({ key: answer }));
        assert_eq!(client.result("tools/call", retry).await["content"][0]["text"], text);
    }
    // Who declares nothing is asked nothing: the server says so itself.
    let poor = Client::new(&front, "ann", json!({}));
    assert_eq!(poor.call("ask-sampling", json!({})).await["isError"], true);
    let client = client.with(json!({ "progressToken": "p",
        "io.modelcontextprotocol/logLevel": "info" }));
    let said =
        client.ask("tools/call", json!({ "name": "progress", "arguments": { "steps": 3 } })).await;
    assert_eq!(said.len(), 4, "{said:?}");
    assert!(said[..3].iter().all(|it| it["params"]["progressToken"] == "p"));
    let log = json!({ "level": "info", "message": "m", "times": 2 });
    let said = client.ask("tools/call", json!({ "name": "log", "arguments": log })).await;
    assert_eq!(said.len(), 3, "{said:?}");
}
