//! What a server asks its client in the middle of a call.

use serde_json::json;

use crate::{
    client::{Client, Front, capabilities},
    rig::{Gateway, demo, demo_child, folder, servers},
};

/// Sampling, elicitation and roots: there and back again.
#[track_caller]
pub(crate) fn questions(client: &mut Client) {
    let id = client.begin_call("ask-sampling", json!({ "prompt": "Who are you?" }));
    let asked = client.told("sampling/createMessage");
    assert_eq!(asked["params"]["messages"][0]["content"]["text"], "Who are you?", "{asked}");
    let content = json!({ "type": "text", "text": "nobody" });
    client.reply(&asked, json!({ "role": "assistant", "model": "m", "content": content }));
    assert_eq!(client.text(id), "m said: nobody");

    let id = client.begin_call("ask-elicitation", json!({}));
    let asked = client.told("elicitation/create");
    assert_eq!(asked["params"]["message"], "Who are you?", "{asked}");
    client.reply(&asked, json!({ "action": "accept", "content": { "name": "Ann" } }));
    assert_eq!(client.text(id), r#"accepted: {"name":"Ann"}"#);

    let id = client.begin_call("ask-roots", json!({}));
    let asked = client.told("roots/list");
    client.reply(&asked, json!({ "roots": [{ "uri": "file:///srv" }] }));
    assert_eq!(client.text(id), "1 roots: file:///srv");

    let id = client.begin_call("ask-roots", json!({}));
    let asked = client.told("roots/list");
    let error = json!({ "code": -32603, "message": "no roots today" });
    client.say(&json!({ "jsonrpc": "2.0", "id": asked["id"], "error": error }).to_string());
    assert_eq!(client.text(id), "the client refused: no roots today (-32603)");
}

/// A client that can be asked has a process of its own: nobody else hears its questions.
#[test]
fn questions_reach_the_client_whose_call_it_was() {
    let dir = folder();
    let config = servers(json!({ "it": demo_child(dir.path()) }));
    let gateway = Gateway::start_in(dir, &config, &["--listen", "127.0.0.1:0"]);
    for front in [Front::Sse, Front::Streamable, Front::Unlistening] {
        let mut ann = Client::begin(&gateway, front, "it");
        let mut bob = Client::begin(&gateway, front, "it");
        let ann_id = ann.begin_call("ask-roots", json!({}));
        let bob_id = bob.begin_call("ask-roots", json!({}));
        assert_eq!(ann_id, bob_id);
        // The second first.
        for (client, root) in [(&mut bob, "file:///bob"), (&mut ann, "file:///ann")] {
            let asked = client.told("roots/list");
            client.reply(&asked, json!({ "roots": [{ "uri": root }] }));
            assert_eq!(client.text(ann_id), format!("1 roots: {root}"), "{front:?}");
        }
    }
}

/// What a client did not declare, it is not asked.
#[test]
fn a_client_that_cannot_be_asked_is_not() {
    let gateway = Gateway::start(&demo());
    for front in [Front::Sse, Front::Streamable, Front::Stdio] {
        let mut client = Client::connect(&gateway, front, "demo");
        client.initialize("2025-11-25", &json!({}));
        let said = client.call("ask-roots", json!({}));
        assert!(said.contains("did not declare roots"), "{front:?}: {said}");
    }
    let mut client = Client::connect(&gateway, Front::Sse, "demo");
    client.initialize("2025-11-25", &capabilities());
    let id = client.begin_call("ask-roots", json!({}));
    let asked = client.told("roots/list");
    client.reply(&asked, json!({ "roots": [] }));
    assert_eq!(client.text(id), "0 roots: ");
}
