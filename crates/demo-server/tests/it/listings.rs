//! What is listed, read, completed and subscribed to.

use demo_server::Options;
use mcp_jsonrpc::ProtocolVersion;
use serde_json::{Value, json};

use crate::rig::Client;

const LISTINGS: [(&str, &str); 4] = [
    ("tools/list", "tools"),
    ("prompts/list", "prompts"),
    ("resources/list", "resources"),
    ("resources/templates/list", "resourceTemplates"),
];

fn names(listing: &Value) -> Vec<&str> {
    listing.as_array().unwrap().iter().map(|entry| entry["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn every_revision_is_shown_what_it_has() {
    for version in ProtocolVersion::LEGACY {
        let mut client = Client::new(version).await;
        assert_eq!(client.initialized["protocolVersion"], version.as_str());
        let capabilities = &client.initialized["capabilities"];
        let completions = capabilities.get("completions").is_some();
        assert_eq!(completions, ProtocolVersion::V2025_03_26 <= version);
        for (method, member) in LISTINGS {
            let listing = client.request(method, json!({})).await.unwrap();
            let entries = listing[member].as_array().unwrap();
            assert!(2 <= entries.len(), "{version} {method}");
            for entry in entries {
                let has = |member: &str| entry.get(member).is_some();
                assert_eq!(has("title"), ProtocolVersion::V2025_06_18 <= version);
                assert_eq!(has("icons"), ProtocolVersion::V2025_11_25 <= version);
            }
        }
        let listing = client.request("tools/list", json!({})).await.unwrap();
        for (tool, since) in [
            ("echo", ProtocolVersion::V2024_11_05),
            ("audio", ProtocolVersion::V2025_03_26),
            ("ask-elicitation", ProtocolVersion::V2025_06_18),
        ] {
            assert_eq!(names(&listing["tools"]).contains(&tool), since <= version, "{tool}");
        }
    }
}

#[tokio::test]
async fn pages_hold_everything_once() {
    let mut client = Client::new(ProtocolVersion::LATEST_LEGACY).await;
    let mut options = Options::default();
    options.page_len_max = 3;
    let mut paging = Client::with(options).await;
    for (method, member) in LISTINGS {
        let whole = client.request(method, json!({})).await.unwrap();
        assert!(whole.get("nextCursor").is_none());
        let mut found = Vec::new();
        let mut params = json!({});
        loop {
            let page = paging.request(method, params).await.unwrap();
            let entries = page[member].as_array().unwrap();
            assert!((1..=3).contains(&entries.len()));
            found.extend(entries.iter().cloned());
            let Some(cursor) = page.get("nextCursor") else { break };
            params = json!({ "cursor": cursor });
        }
        assert_eq!(json!(found), whole[member]);
        for cursor in ["", "nonsense", "tools-1000", "prompts-", "resources--1"] {
            let error = paging.request(method, json!({ "cursor": cursor })).await.unwrap_err();
            assert_eq!(error["code"], -32602, "{method} {cursor}");
        }
    }
}

#[tokio::test]
async fn resources_are_read() {
    for version in ProtocolVersion::LEGACY {
        let mut client = Client::new(version).await;
        let listing = client.request("resources/list", json!({})).await.unwrap();
        for resource in listing["resources"].as_array().unwrap() {
            let params = json!({ "uri": resource["uri"] });
            let read = client.request("resources/read", params).await.unwrap();
            assert_eq!(read["contents"][0]["uri"], resource["uri"]);
        }
        for (uri, text) in [
            ("demo://number/407", "four zero seven"),
            ("demo://greeting/fr/Olivier", "Salut, Olivier!"),
        ] {
            let read = client.request("resources/read", json!({ "uri": uri })).await.unwrap();
            assert_eq!(read["contents"][0]["text"], text);
        }
        for uri in ["demo://number/0", "demo://greeting/fr/Anna", "demo://extra", "file:///x", ""] {
            let error = client.request("resources/read", json!({ "uri": uri })).await.unwrap_err();
            assert_eq!((&error["code"], &error["data"]["uri"]), (&json!(-32002), &json!(uri)));
        }
        assert_eq!(client.request("resources/read", json!({})).await.unwrap_err()["code"], -32602);
    }
}

#[tokio::test]
async fn subscribers_hear_of_changes() {
    for version in ProtocolVersion::LEGACY {
        let mut client = Client::new(version).await;
        let mut listener = client.session.listen(None).await.unwrap();
        let note = json!({ "uri": "demo://note" });
        client.call("touch", json!({})).await;
        client.request("resources/subscribe", note.clone()).await.unwrap();
        client.call("touch", json!({ "times": 2 })).await;
        client.request("resources/unsubscribe", note.clone()).await.unwrap();
        client.call("touch", json!({})).await;
        let heard = client.waiting(&mut listener);
        assert_eq!(heard.len(), 2, "{version}");
        assert_eq!(heard[0]["method"], "notifications/resources/updated");
        assert_eq!(heard[0]["params"], note);
        let read = client.request("resources/read", note).await.unwrap();
        assert_eq!(read["contents"][0]["text"], "Touched 4 times.");
        let nothing = json!({ "uri": "demo://nothing" });
        let error = client.request("resources/subscribe", nothing).await.unwrap_err();
        assert_eq!(error["code"], -32002);
    }
}

#[tokio::test]
async fn subscriptions_are_bounded() {
    let mut options = Options::default();
    options.subscription_count_max = 2;
    let mut client = Client::with(options).await;
    let number = |n: u32| json!({ "uri": format!("demo://number/{n}") });
    for n in [1, 2, 2, 1] {
        client.request("resources/subscribe", number(n)).await.unwrap();
    }
    let error = client.request("resources/subscribe", number(3)).await.unwrap_err();
    assert_eq!(error["code"], -32603);
    client.request("resources/unsubscribe", number(1)).await.unwrap();
    client.request("resources/subscribe", number(3)).await.unwrap();
}

#[tokio::test]
async fn lists_change() {
    for version in ProtocolVersion::LEGACY {
        let mut client = Client::new(version).await;
        let mut listener = client.session.listen(None).await.unwrap();
        for (what, method, member) in [
            ("tool", "tools/list", "tools"),
            ("prompt", "prompts/list", "prompts"),
            ("resource", "resources/list", "resources"),
        ] {
            for there in [true, false] {
                client.call("toggle", json!({ "what": what })).await;
                let heard = client.waiting(&mut listener);
                assert_eq!(heard.len(), 1);
                let expect = format!("notifications/{member}/list_changed");
                assert_eq!(heard[0]["method"], expect);
                let listing = client.request(method, json!({})).await.unwrap();
                assert_eq!(names(&listing[member]).contains(&"extra"), there);
            }
        }
        client.call("toggle", json!({})).await;
        assert_eq!(client.call("extra", json!({})).await, "There since `toggle` was called.");
    }
}

#[tokio::test]
async fn prompts_are_got() {
    for version in ProtocolVersion::LEGACY {
        let mut client = Client::new(version).await;
        let greeting =
            json!({ "name": "greeting", "arguments": { "name": "Bo", "language": "de" } });
        let got = client.request("prompts/get", greeting).await.unwrap();
        assert_eq!(got["messages"][1]["content"]["text"], "Hallo, Bo!");
        let got = client.request("prompts/get", json!({ "name": "review" })).await.unwrap();
        assert_eq!(got["messages"][0]["content"]["resource"]["uri"], "demo://note");
        client.request("prompts/get", json!({ "name": "plain" })).await.unwrap();
        for wrong in [
            json!({ "name": "greeting" }),
            json!({ "name": "greeting", "arguments": { "name": "Bo", "language": "xx" } }),
            json!({ "name": "greeting", "arguments": { "name": 1 } }),
            json!({ "name": "nonsense" }),
            json!({}),
        ] {
            assert_eq!(client.request("prompts/get", wrong).await.unwrap_err()["code"], -32602);
        }
    }
}

#[tokio::test]
async fn arguments_are_completed() {
    for version in ProtocolVersion::LEGACY {
        let mut client = Client::new(version).await;
        let greeting = json!({ "type": "ref/prompt", "name": "greeting" });
        let template = "demo://greeting/{language}/{name}";
        let template = json!({ "type": "ref/resource", "uri": template });
        let number = json!({ "type": "ref/resource", "uri": "demo://number/{n}" });
        let has_context = ProtocolVersion::V2025_06_18 <= version;
        let olis = if has_context { json!(["Oliver"]) } else { json!(["Oliver", "Olivier"]) };
        for (of, argument, typed, expect) in [
            (&greeting, "language", "", json!(["de", "en", "fr"])),
            (&greeting, "language", "e", json!(["en"])),
            (&template, "name", "Oliv", olis),
            (
                &number,
                "n",
                "99",
                json!(["99", "990", "991", "992", "993", "994", "995", "996", "997", "998", "999"]),
            ),
            (&number, "n", "x", json!([])),
        ] {
            let params = json!({
                "ref": of,
                "argument": { "name": argument, "value": typed },
                "context": { "arguments": { "language": "en" } },
            });
            let found = client.request("completion/complete", params).await.unwrap();
            assert_eq!(found["completion"]["values"], expect, "{version}");
        }
        let all = json!({ "ref": number, "argument": { "name": "n", "value": "" } });
        let found = client.request("completion/complete", all).await.unwrap();
        assert_eq!(found["completion"]["values"].as_array().unwrap().len(), 100);
        assert_eq!(found["completion"]["total"], 1000);
        assert_eq!(found["completion"]["hasMore"], true);
        let wrong = json!({ "ref": greeting, "argument": { "name": "x", "value": "" } });
        let error = client.request("completion/complete", wrong).await.unwrap_err();
        assert_eq!(error["code"], -32602);
    }
}
