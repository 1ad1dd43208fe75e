//! Clients of 2026-07-28 before servers of it: nothing is translated.

use rustix::process::Signal;
use serde_json::{Value, json};

use super::{
    House, Wire,
    modern::{Modern, VERSION},
};
use crate::{
    process::until,
    rig::{Gateway, demo, servers},
};

/// Whoever speaks it gets it, also where the server says that it has a handshake as well.
#[test]
fn a_request_goes_to_the_server_as_it_is() {
    for wire in [Wire::Inside, Wire::Child, Wire::Streamable] {
        for protocol in ["auto", VERSION] {
            let house = House::new(wire, protocol);
            let client = Modern::new(&house.gateway, "it");
            let found = client.result("server/discover", json!({}));
            assert!(found["supportedVersions"].as_array().unwrap().contains(&json!(VERSION)));
            assert_eq!(client.text("add", json!({ "a": 2, "b": 3 })), "5");
            let list = client.result("tools/list", json!({}));
            assert!(list["ttlMs"].is_number() && list["cacheScope"].is_string(), "{list}");
            let missing = client.error("resources/read", json!({ "uri": "demo://none" }));
            assert_eq!(missing["code"], -32602, "{missing}");
            // Its own state goes there and back.
            let ask = json!({});
            let (said, rounds) = client.converse(
                "ask-elicitation",
                &ask,
                |_| json!({ "action": "accept", "content": { "name": "Ann" } }),
            );
            assert_eq!((said.text().as_str(), rounds), (r#"accepted: {"name":"Ann"}"#, 1));
            let status = house.gateway.status("it", |_| true);
            assert_eq!(status["protocolVersion"], VERSION, "{status}");
            assert_eq!((&status["sessions"], &status["kept"]), (&json!(0), &json!(0)), "{status}");
        }
    }
}

#[test]
fn progress_and_logs_come_before_the_answer_and_only_where_they_are_wanted() {
    let house = House::new(Wire::Streamable, VERSION);
    let mut client = Modern::mute(&house.gateway, "it");
    assert_eq!(client.call("progress", json!({ "steps": 2 })).before, Vec::<Value>::new());
    client.meta = json!({ "progressToken": "mine" });
    let said = client.call("progress", json!({ "steps": 2 }));
    let told = said.told("notifications/progress");
    assert_eq!(told.len(), 2, "{said:?}");
    assert!(told.iter().all(|it| it["progressToken"] == "mine"), "{said:?}");
}

/// To close the stream is to cancel: the server gives the call up.
#[test]
fn who_leaves_has_cancelled() {
    let house = House::new(Wire::Streamable, VERSION);
    let mut client = Modern::mute(&house.gateway, "it");
    client.meta = json!({ "progressToken": 1 });
    let arguments = json!({ "name": "progress", "arguments": { "steps": 100, "ms": 250 } });
    let open = client.open(&json!(1), "tools/call", arguments);
    assert_eq!(open.status, 200);
    house.gateway.status("it", |it| it["inFlight"] == 1);
    drop(open);
    house.gateway.status("it", |it| it["inFlight"] == 0);
}

#[test]
fn who_listens_hears_of_changes_and_of_the_end() {
    let house = House::new(Wire::Streamable, VERSION);
    let client = Modern::new(&house.gateway, "it");
    let wanted = json!({ "toolsListChanged": true, "resourceSubscriptions": ["demo://note"] });
    let (mut stream, honoured) = client.listen(wanted.clone());
    assert_eq!(honoured, wanted);
    house.gateway.status("it", |it| it["listening"] == 1);
    client.text("toggle", json!({}));
    let said = stream.told("notifications/tools/list_changed");
    let of = &said["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"];
    assert_eq!(of, "listen", "{said}");
    client.text("touch", json!({}));
    assert_eq!(stream.told("notifications/resources/updated")["params"]["uri"], "demo://note");
    house.gateway.process.signal(Signal::TERM);
    let end = stream.end();
    assert_eq!((&end["id"], &end["result"]["resultType"]), (&json!("listen"), &json!("complete")));
}

/// What was configured away is neither listed nor called, and who listens hears that it came back.
#[test]
fn hidden_tools_are_hidden() {
    let hidden = json!({ "demo": { "type": "demo", "tools": { "block": ["add"] } } });
    let gateway = Gateway::start(&servers(hidden));
    let client = Modern::new(&gateway, "demo");
    let names = |client: &Modern| {
        let list = client.result("tools/list", json!({}));
        let tools = list["tools"].as_array().unwrap().clone();
        tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert!(!names(&client).contains(&"add".to_owned()));
    let arguments = json!({ "name": "add", "arguments": { "a": 1, "b": 1 } });
    assert_eq!(client.error("tools/call", arguments)["code"], -32602);
    let (mut stream, _) = client.listen(json!({ "toolsListChanged": true }));
    std::fs::write(gateway.dir().join("gateway.json"), demo().to_string()).unwrap();
    gateway.process.signal(Signal::HUP);
    stream.told("notifications/tools/list_changed");
    until("the tool", || names(&client).contains(&"add".to_owned()).then_some(()));
    assert_eq!(client.text("add", json!({ "a": 1, "b": 1 })), "2");
}

/// What its client did not declare, a server may say that it needs: the client can do something
/// about that.
#[test]
fn what_a_client_lacks_it_is_told() {
    for wire in [Wire::Child, Wire::Streamable] {
        let house = House::new(wire, VERSION);
        let client = Modern::mute(&house.gateway, "it");
        let asking = json!({ "name": "ask-elicitation", "arguments": {} });
        let lacks = client.error("tools/call", asking);
        assert_eq!(lacks["code"], -32021, "{lacks}");
        assert!(lacks["data"]["requiredCapabilities"]["elicitation"].is_object(), "{lacks}");
    }
}
