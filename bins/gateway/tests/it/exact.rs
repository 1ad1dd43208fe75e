//! What a client and a server say to each other arrives as it was said.

use serde_json::{Value, json};

use crate::{
    client::{Client, Front},
    doors::{Behind, House},
    rig::{Gateway, demo, servers},
    scripts,
};

/// Members that a parser would have changed: numbers beyond a double, spelling, order, doubles.
const ODD: &str = r#"{ "n":1e400, "big":123456789012345678901234567890,"f":1.0,"z":-0 , "dup":1,"dup":2,"esc":"\u00e9\/\u0000\ud83d\ude00","e":"é漢😀","":null,"deep":[[[[{"a":[ ]}]]]],"id":"no","method":"no","jsonrpc":"1.0"}"#;

fn odd_bytes(front: Front, behind: Behind) {
    let house = House::of(behind, &scripts::mirrors());
    let mut client = Client::begin(&house.front, front, "it");
    for (id, method) in
        [(r#""a\"b""#, "tools/call"), ("9007199254740993", "x/y"), ("-1", "tools/call")]
    {
        client.say(&format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{ODD}}}"#));
        let expect = format!(r#"{{"jsonrpc":"2.0", "odd":1e400,"id":{id},"result":{ODD}}}"#);
        assert_eq!(client.hear(), expect);
    }
}

#[test]
fn odd_bytes_survive_every_door() {
    odd_bytes(Front::Sse, Behind::Child);
    odd_bytes(Front::Streamable, Behind::Child);
    odd_bytes(Front::Stdio, Behind::Child);
}

#[test]
fn odd_bytes_survive_two_gateways() {
    odd_bytes(Front::Streamable, Behind::Sse);
    odd_bytes(Front::Sse, Behind::Streamable);
    odd_bytes(Front::Stdio, Behind::Auto);
}

/// A server's error is the server's: code, words and data.
#[track_caller]
pub(crate) fn errors(client: &mut Client) {
    let arguments = json!({ "code": -32042, "message": "ouch", "data": { "why": [1, null] } });
    let answer = client.ask("tools/call", json!({ "name": "raise", "arguments": arguments }));
    assert_eq!(answer["error"], arguments);
    let answer = client.ask("tools/call", json!({ "name": "fail" }));
    assert_eq!(answer["result"]["isError"], true, "{answer}");
    let answer = client.ask("no/such", json!({}));
    assert_eq!(answer["error"]["code"], -32601, "{answer}");
}

/// Two clients count from one, with the same tokens, at the same time, and nobody notices.
#[track_caller]
pub(crate) fn equal_ids(house: &House, front: Front) {
    let begin = || {
        let mut client = Client::connect(&house.front, front, "it");
        // Nothing can be asked of it: where there are children, both share one.
        client.initialize("2025-11-25", &json!({}));
        client
    };
    let (mut ann, mut bob) = (begin(), begin());
    let ann_id = ann.begin_call("progress", json!({ "steps": 4, "ms": 30 }));
    let bob_id = bob.begin_call("progress", json!({ "steps": 2, "ms": 20 }));
    assert_eq!(ann_id, bob_id);
    for (client, steps) in [(&mut bob, 2), (&mut ann, 4)] {
        assert_eq!(client.text(ann_id), format!("{steps} steps done"));
        let told: Vec<Value> = client.aside.drain(..).collect();
        assert_eq!(told.len(), steps, "{told:?}");
        for told in told {
            assert_eq!(told["params"]["total"], steps, "{told}");
            assert_eq!(told["params"]["progressToken"], "p", "{told}");
        }
    }
}

/// Tools that are hidden are not there; those that stay keep their bytes.
#[test]
fn hidden_tools_are_not_there() {
    let demo = json!({ "type": "demo" });
    let mut some = demo.clone();
    some["tools"] = json!({ "block": ["echo", "add"] });
    let gateway = Gateway::start(&servers(json!({ "all": demo, "some": some })));
    let list = |server| {
        let mut client = Client::begin(&gateway, Front::Unlistening, server);
        client.send("tools/list", json!({}));
        client.hear()
    };
    let (all, some) = (list("all"), list("some"));
    let parsed: Value = serde_json::from_str(&some).unwrap();
    let tools = parsed["result"]["tools"].as_array().unwrap();
    assert!(tools.iter().all(|tool| tool["name"] != "echo" && tool["name"] != "add"));
    let all: Value = serde_json::from_str(&all).unwrap();
    assert_eq!(tools.len() + 2, all["result"]["tools"].as_array().unwrap().len());

    for front in [Front::Sse, Front::Unlistening] {
        let mut client = Client::begin(&gateway, front, "some");
        let params = json!({ "name": "echo", "arguments": { "message": "?" } });
        let answer = client.ask("tools/call", params);
        assert_eq!(answer["error"], json!({ "code": -32602, "message": "Unknown tool: echo" }));
        assert!(client.call("progress", json!({ "steps": 1 })).contains("1 steps"));
    }
}

/// 2025-03-26 alone has batches, whichever way the client comes, and says why to the others.
#[test]
fn batches_of_one_revision_at_every_door() {
    let gateway = Gateway::start(&demo());
    let ping = |id| format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#);
    let batch = format!("[{},{}]", ping(71), ping(72));
    let no = "only revision 2025-03-26 has batches";
    for version in ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"] {
        let takes = version == "2025-03-26";
        for front in [Front::Sse, Front::Streamable] {
            let mut client = Client::connect(&gateway, front, "demo");
            client.initialize(version, &json!({}));
            let session = client.session().unwrap();
            let answer = match front {
                Front::Sse => {
                    gateway.post(&format!("/demo/message?sessionId={session}"), &[], &batch)
                }
                _ => gateway.post("/demo/mcp", &[("Mcp-Session-Id", &*session)], &batch),
            };
            let status = match (takes, front) {
                (false, _) => 400,
                (true, Front::Sse) => 202,
                (true, _) => 200,
            };
            assert_eq!(answer.status, status, "{version} {front:?}: {answer:?}");
            assert!(takes || answer.body.contains(no), "{version} {front:?}: {answer:?}");
            if takes && front == Front::Sse {
                assert!(client.answer(71)["result"].is_object());
                assert!(client.answer(72)["result"].is_object());
            }
        }
        let mut client = Client::connect(&gateway, Front::Stdio, "demo");
        client.initialize(version, &json!({}));
        client.say(&batch);
        if takes {
            let answers: Value = serde_json::from_str(&client.hear()).unwrap();
            assert_eq!(answers.as_array().unwrap().len(), 2, "{answers}");
        } else {
            for id in [71, 72] {
                let error = client.answer(id)["error"].clone();
                assert_eq!(error["code"], -32600, "{version}: {error}");
                assert!(error["message"].as_str().unwrap().contains(no), "{version}: {error}");
            }
        }
    }
}
