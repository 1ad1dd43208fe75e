use mcp_jsonrpc::ProtocolVersion as V;
use serde_json::Value;

use super::*;

const OLD: V = V::V2024_11_05;
const MARCH: V = V::V2025_03_26;
const JUNE: V = V::V2025_06_18;
const NEW: V = V::V2025_11_25;

fn bridge(client: V, server: V) -> Bridge {
    Bridge::between(client, server).unwrap()
}

fn message(text: &str) -> Message {
    Message::parse(text.to_owned()).unwrap()
}

/// What a client hears of the result of a server of the newest revision.
#[track_caller]
fn hears(client: V, method: &str, result: &str, expect: &str) {
    let said = message(&format!(r#"{{"jsonrpc":"2.0", "id":"a","result":{result},"n":1e400}}"#));
    let heard = bridge(client, NEW).answer(method, &said);
    let expect = format!(r#"{{"jsonrpc":"2.0", "id":"a","result":{expect},"n":1e400}}"#);
    assert_eq!(std::str::from_utf8(heard.as_bytes()).unwrap(), expect);
}

#[track_caller]
fn asked(client: V, method: &str, params: &str) -> Passage {
    let text = format!(r#"{{"jsonrpc":"2.0","id":7,"method":"{method}","params":{params}}}"#);
    bridge(client, NEW).to_client(&message(&text))
}

#[track_caller]
fn is_asked(client: V, method: &str, params: &str, expect: &str) {
    match asked(client, method, params) {
        Passage::Same => assert_eq!(params, expect),
        Passage::Edited(message) => assert_eq!(message.body().unwrap(), expect),
        other => panic!("{other:?}"),
    }
}

/// The code, or the result, that a server is answered with in a client's stead.
#[track_caller]
fn refused(passage: Passage) -> Value {
    let Passage::Refused(answer) = passage else { panic!("{passage:?}") };
    assert_eq!(answer.id(), Some(&Id::from(7)));
    let body: Value = answer.read().unwrap();
    if answer.kind() == Kind::Error { body["code"].clone() } else { body }
}

#[test]
fn nothing_lies_between_equals() {
    for version in V::ALL {
        assert_eq!(Bridge::between(version, version), None);
    }
}

#[test]
fn sounds_become_resources_for_2024() {
    let sound = r#"{"content":[{"type":"text","text":"\u00e9"}, {"type":"audio","data":"AA==","mimeType":"audio/wav","annotations":{"priority":1.0},"_meta":{"a":1e400}}]}"#;
    let resource = r#"{"content":[{"type":"text","text":"\u00e9"},{"type":"resource","resource":{"uri":"urn:mcp:audio:1","mimeType":"audio/wav","blob":"AA=="},"annotations":{"priority":1.0},"_meta":{"a":1e400}}]}"#;
    hears(OLD, "tools/call", sound, resource);
    hears(MARCH, "tools/call", sound, sound);
    let sound =
        r#"{"messages":[{"role":"user","content":{"type":"audio","data":"","mimeType":"a/b"}}]}"#;
    let resource = r#"{"messages":[{"role":"user","content":{"type":"resource","resource":{"uri":"urn:mcp:audio:0","mimeType":"a/b","blob":""}}}]}"#;
    hears(OLD, "prompts/get", sound, resource);
    hears(JUNE, "prompts/get", sound, sound);
}

#[test]
fn links_become_texts_before_june() {
    let link = r#"{"content":[{"type":"resource_link","uri":"x:/1","name":"one","size":1}],"isError":false}"#;
    let text = r#"{"content":[{"type":"text","text":"one — x:/1"}],"isError":false}"#;
    hears(OLD, "tools/call", link, text);
    hears(MARCH, "tools/call", link, text);
    hears(JUNE, "tools/call", link, link);
}

#[test]
fn unknown_content_is_named() {
    let odd = r#"{"content":[{"type":"hologram","data":1}]}"#;
    hears(
        JUNE,
        "tools/call",
        odd,
        r#"{"content":[{"type":"text","text":"[left out: content of type `hologram`, which MCP 2025-06-18 does not have]"}]}"#,
    );
    // What is no block is for the client to complain of.
    for odd in [r#"{"content":[7]}"#, r#"{"content":7}"#, "[]", "7"] {
        hears(JUNE, "tools/call", odd, odd);
    }
}

#[test]
fn structured_results_have_a_text() {
    hears(
        OLD,
        "tools/call",
        r#"{"structuredContent":{"n":1e400}, "content":[]}"#,
        r#"{"structuredContent":{"n":1e400},"content":[{"text":"{\"n\":1e400}","type":"text"}]}"#,
    );
    hears(
        MARCH,
        "tools/call",
        r#"{"structuredContent":{"n":1}}"#,
        r#"{"structuredContent":{"n":1},"content":[{"text":"{\"n\":1}","type":"text"}]}"#,
    );
    let with_text = r#"{"structuredContent":{"n":1}, "content":[{"type":"text","text":"one"}]}"#;
    hears(OLD, "tools/call", with_text, with_text);
    hears(
        JUNE,
        "tools/call",
        r#"{"structuredContent":{}, "content":[]}"#,
        r#"{"structuredContent":{}, "content":[]}"#,
    );
    // No object: in no revision with a handshake.
    hears(
        JUNE,
        "tools/call",
        r#"{"content":[],"structuredContent":[1]}"#,
        r#"{"content":[{"text":"[1]","type":"text"}]}"#,
    );
    hears(
        JUNE,
        "tools/call",
        r#"{"content":[{"type":"text","text":"x"}],"structuredContent":1}"#,
        r#"{"content":[{"type":"text","text":"x"}]}"#,
    );
    let task = r#"{"task":{"taskId":"1"}}"#;
    hears(OLD, "tools/call", task, task);
}

#[test]
fn tools_are_listed_as_each_revision_can_read_them() {
    hears(
        JUNE,
        "tools/list",
        r#"{"tools":[{"name":"a","title":"A","inputSchema":{"type":"object","properties":{"x":true,"y":false,"z":{"n":1e400}}}}, {"name":"b","inputSchema":{"type":"object"},"outputSchema":{"type":"array"}}],"nextCursor":"c"}"#,
        r#"{"tools":[{"name":"a","title":"A","inputSchema":{"type":"object","properties":{"x":{},"y":{"not":{}},"z":{"n":1e400}}}},{"name":"b","inputSchema":{"type":"object"}}],"nextCursor":"c"}"#,
    );
    let fine = r#"{"tools": [ {"name":"a","icons":[],"outputSchema":{"type":"object"},"inputSchema":{"type":"object","properties":{}},"execution":{"taskSupport":"optional"}} ]}"#;
    hears(OLD, "tools/list", fine, fine);
    let required =
        r#"{"tools":[{"name":"a","inputSchema":{},"execution":{"taskSupport":"required"}}]}"#;
    hears(JUNE, "tools/list", required, r#"{"tools":[]}"#);
}

#[test]
fn a_url_to_visit_is_told_as_a_result() {
    let error = r#"{"jsonrpc":"2.0","id":"a","error":{"code":-32042,"message":"log in","data":{"elicitations":[{"mode":"url","message":"here","url":"https://x/1","elicitationId":"1"}]}}}"#;
    let heard = bridge(JUNE, NEW).answer("tools/call", &message(error));
    let result: Value = heard.read().unwrap();
    assert_eq!(heard.kind(), Kind::Response);
    assert_eq!(result["content"][0]["text"], "log in\nhere https://x/1");
    assert_eq!(result["isError"], true);
    for (client, method, error) in [
        (JUNE, "prompts/get", error.to_owned()),
        (JUNE, "tools/call", error.replace("-32042", "-32043")),
    ] {
        let heard = bridge(client, NEW).answer(method, &message(&error));
        assert_eq!(heard.as_bytes(), &error);
    }
}

#[test]
fn capabilities_of_later_revisions_are_hidden() {
    let result = |version: &str, capabilities: &str| {
        format!(r#"{{"protocolVersion":"{version}","capabilities":{capabilities},"x":1e400}}"#)
    };
    let all = r#"{"completions":{},"logging":{}, "tasks":{"list":{}}}"#;
    let said = result("2025-11-25", all);
    hears(OLD, "initialize", &said, &result("2024-11-05", r#"{"logging":{}}"#));
    hears(JUNE, "initialize", &said, &result("2025-06-18", r#"{"completions":{},"logging":{}}"#));
    hears(
        OLD,
        "initialize",
        &result("2025-11-25", r#"{"logging":{ }}"#),
        &result("2024-11-05", r#"{"logging":{ }}"#),
    );
    // Whoever is newer than the server hears which revision that speaks.
    let older =
        message(&format!(r#"{{"jsonrpc":"2.0","id":1,"result":{}}}"#, result("2025-03-26", all)));
    assert_eq!(bridge(NEW, MARCH).answer("initialize", &older).as_bytes(), older.as_bytes());
}

#[test]
fn nobody_declares_for_a_client_what_its_revision_has_not() {
    let hello = |version: &str, capabilities: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"initialize","params":{{"protocolVersion":"{version}","capabilities":{capabilities},"clientInfo":{{"name":"c","version":"1"}}}}}}"#
        )
    };
    let all = r#"{"roots":{"listChanged":true},"sampling":{"tools":{},"x":1e400},"elicitation":{"form":{},"url":{}},"tasks":{},"experimental":{}}"#;
    let greets = |client: V, server: V, expect: &str| {
        let said = message(&hello(client.as_str(), all));
        let sent = bridge(client, server).greeting(&said).unwrap();
        assert_eq!(std::str::from_utf8(sent.as_bytes()).unwrap(), hello(server.as_str(), expect));
    };
    greets(
        MARCH,
        NEW,
        r#"{"roots":{"listChanged":true},"sampling":{"x":1e400},"experimental":{}}"#,
    );
    greets(
        JUNE,
        NEW,
        r#"{"roots":{"listChanged":true},"sampling":{"x":1e400},"elicitation":{"form":{}},"experimental":{}}"#,
    );
    greets(NEW, OLD, all);
}

#[test]
fn forms_are_asked_as_june_has_them() {
    let form = r#"{"mode":"form","message":"m","requestedSchema":{"type":"object","properties":{"a":{"type":"string","oneOf":[{"const":"x","title":"X"},{"const":"y","title":"Y"}],"default":"x"},"b":{"type":"number","default":1.0}}}}"#;
    let plain = r#"{"message":"m","requestedSchema":{"type":"object","properties":{"a":{"type":"string","default":"x","enum":["x","y"],"enumNames":["X","Y"]},"b":{"type":"number","default":1.0}}}}"#;
    is_asked(JUNE, "elicitation/create", form, plain);
    is_asked(JUNE, "elicitation/create", plain, plain);
    let many = r#"{"message":"m","requestedSchema":{"type":"object","properties":{"a":{"type":"array","items":{"type":"string","enum":["x"]}}}}}"#;
    let answer = refused(asked(JUNE, "elicitation/create", many));
    assert_eq!(answer["action"], "cancel");
    assert!(answer["_meta"][questions::REASON].as_str().unwrap().contains("2025-06-18"));
    let url = r#"{"mode":"url","message":"m","url":"https://x","elicitationId":"1"}"#;
    assert_eq!(refused(asked(JUNE, "elicitation/create", url)), -32602);
    assert_eq!(refused(asked(MARCH, "elicitation/create", form)), -32601);
}

#[test]
fn models_are_asked_what_they_can_be_asked() {
    let plain =
        r#"{"messages":[{"role":"user","content":{"type":"text","text":"?"}}],"maxTokens":1}"#;
    is_asked(OLD, "sampling/createMessage", plain, plain);
    is_asked(
        JUNE,
        "sampling/createMessage",
        r#"{"messages":[{"role":"user","content":[{"type":"text","text":"a"},{"type":"audio"}]}, {"role":"assistant","content":{}}]}"#,
        r#"{"messages":[{"role":"user","content":{"type":"text","text":"a"}},{"role":"user","content":{"type":"audio"}},{"role":"assistant","content":{}}]}"#,
    );
    for odd in [
        r#"{"messages":[],"tools":[]}"#,
        r#"{"messages":[{"role":"user","content":[{"type":"tool_result"}]}]}"#,
    ] {
        assert_eq!(refused(asked(JUNE, "sampling/createMessage", odd)), -32602);
    }
    let sound = r#"{"messages":[{"role":"user","content":{"type":"audio"}}]}"#;
    assert_eq!(refused(asked(OLD, "sampling/createMessage", sound)), -32602);
    is_asked(MARCH, "sampling/createMessage", sound, sound);
}

#[test]
fn samples_are_of_one_block() {
    let sampled = |server: V, content: &str| {
        let text = format!(
            r#"{{"jsonrpc":"2.0","id":7,"result":{{"role":"assistant","model":"m","content":{content}}}}}"#
        );
        match bridge(NEW, server).to_server(&message(&text)) {
            Passage::Same => content.to_owned(),
            Passage::Edited(edited) if edited.kind() == Kind::Error => "refused".to_owned(),
            Passage::Edited(edited) => edited.read::<Value>().unwrap()["content"].to_string(),
            other => panic!("{other:?}"),
        }
    };
    let text = r#"{"text":"a\nb","type":"text"}"#;
    assert_eq!(sampled(JUNE, r#"[{"type":"text","text":"a"},{"type":"text","text":"b"}]"#), text);
    assert_eq!(sampled(JUNE, r#"[{"type":"image"}]"#), r#"{"type":"image"}"#);
    assert_eq!(sampled(OLD, r#"{"type":"audio"}"#), "refused");
    assert_eq!(sampled(MARCH, r#"{"type":"audio"}"#), r#"{"type":"audio"}"#);
    assert_eq!(sampled(MARCH, text), text);
    // Other answers are left alone.
    let form = r#"{"jsonrpc":"2.0","id":7,"result":{"action":"accept","content":{"a":[1]}}}"#;
    assert!(matches!(bridge(NEW, JUNE).to_server(&message(form)), Passage::Same));
}

#[test]
fn methods_that_came_later_are_refused_or_end() {
    let text = |method: &str, id: &str| {
        format!(r#"{{"jsonrpc":"2.0",{id}"method":"{method}","params":{{}}}}"#)
    };
    for method in ["tasks/get", "tasks/list", "tasks/result", "tasks/cancel"] {
        let message = message(&text(method, r#""id":7,"#));
        assert_eq!(refused(bridge(NEW, JUNE).to_server(&message)), -32601);
        assert_eq!(refused(bridge(JUNE, NEW).to_client(&message)), -32601);
        assert!(matches!(bridge(JUNE, NEW).to_server(&message), Passage::Same));
    }
    let ends = |it: Passage| matches!(it, Passage::Dropped);
    let status = message(&text("notifications/tasks/status", ""));
    assert!(
        ends(bridge(JUNE, NEW).to_client(&status)) && ends(bridge(NEW, JUNE).to_server(&status))
    );
    let complete = message(&text("notifications/elicitation/complete", ""));
    assert!(ends(bridge(JUNE, NEW).to_client(&complete)));
    for (method, id) in [("x/y", r#""id":7,"#), ("notifications/x", ""), ("ping", r#""id":7,"#)] {
        let message = message(&text(method, id));
        assert!(matches!(bridge(OLD, NEW).to_client(&message), Passage::Same));
        assert!(matches!(bridge(NEW, OLD).to_server(&message), Passage::Same));
    }
}

#[test]
fn the_table_has_no_two_rows_of_one_name() {
    let mut names: Vec<_> = ROWS.iter().map(|row| row.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), ROWS.len());
    assert!(ledger::between(OLD, NEW).any(|row| row.name == "audio-content"));
    assert_eq!(ledger::between(NEW, OLD).count(), 0);
}

#[test]
fn the_document_is_up_to_date() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/TRANSLATION.md");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, ledger::document()).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(found, ledger::document(), "{} (BLESS=1 writes it anew)", path.display());
}

mod up {
    use mcp_jsonrpc::RpcError;
    use serde_json::value::RawValue;

    use super::*;
    use crate::modern::up;

    fn heard(method: &str, result: &str) -> String {
        let said = message(&format!(r#"{{"jsonrpc":"2.0","id":1,"result":{result}}}"#));
        let info = RawValue::from_string(r#"{"name":"s"}"#.to_owned()).unwrap();
        up::answer(method, &said, &Id::from(1), Some(&info)).body().unwrap().to_owned()
    }

    const META: &str = r#""_meta":{"io.modelcontextprotocol/serverInfo":{"name":"s"}}"#;

    #[test]
    fn results_are_complete_and_keep_their_bytes() {
        for (method, result, expect) in [
            ("tools/call", r#"{ "n": 1e400 }"#, r#"{"n":1e400,"resultType":"complete",@}"#),
            ("x/y", r#"{"resultType":"task"}"#, r#"{"resultType":"complete",@}"#),
            (
                "resources/read",
                r#"{"contents":[ 1.0 ],"ttlMs":5}"#,
                r#"{"contents":[ 1.0 ],"ttlMs":5,"resultType":"complete","cacheScope":"private",@}"#,
            ),
            (
                "tools/list",
                r#"{"tools":[{"name":"a","execution":{"taskSupport":"required"}}, {"b": 1}]}"#,
                r#"{"tools":[{"name":"a"},{"b": 1}],"resultType":"complete","ttlMs":0,"cacheScope":"private",@}"#,
            ),
        ] {
            assert_eq!(heard(method, result), expect.replace('@', META));
        }
        let meta =
            r#"{"_meta":{"io.modelcontextprotocol/related-task":{"taskId":"t"},"x/y":[2.50]}}"#;
        assert_eq!(
            heard("tools/call", meta),
            r#"{"_meta":{"x/y":[2.50],"io.modelcontextprotocol/serverInfo":{"name":"s"}},"resultType":"complete"}"#
        );
        // What is no object is its reader's to judge.
        assert_eq!(heard("tools/call", "[1]"), "[1]");
    }

    #[test]
    fn errors_keep_their_words() {
        for (code, expect) in [(-32002, -32602), (-32021, -32603), (-32042, -32603), (7, 7)] {
            let error = RpcError::new(code, "no").with_data(&serde_json::json!({ "uri": "u" }));
            let said = Message::error(Some(&Id::from(1)), &error).unwrap();
            let heard = up::answer("resources/read", &said, &Id::from("7"), None);
            assert_eq!(heard.id(), Some(&Id::from("7")));
            assert_eq!(
                heard.body().unwrap(),
                format!(r#"{{"code":{expect},"message":"no","data":{{"uri":"u"}}}}"#)
            );
        }
    }

    #[test]
    fn requests_lose_what_their_session_says() {
        let request = |params: &str| {
            let text =
                format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params}}}"#);
            let request = up::request(&message(&text), &Id::from(9)).unwrap();
            request.body().unwrap().to_owned()
        };
        let plain = r#"{"name":"a" ,"arguments":{"_meta":1}}"#;
        assert_eq!(request(plain), plain, "byte for byte");
        assert_eq!(
            request(
                r#"{"name":"a","requestState":"s","inputResponses":{},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}"#
            ),
            r#"{"name":"a"}"#
        );
        assert_eq!(
            request(r#"{"_meta":{"progressToken":"x","traceparent":"00"}}"#),
            r#"{"_meta":{"progressToken":9,"traceparent":"00"}}"#
        );
        let none = message(r#"{"jsonrpc":"2.0","id":1,"method":"m"}"#);
        let none_of_9 = none.with_id(Id::from(9));
        assert_eq!(up::request(&none, &Id::from(9)).unwrap().as_bytes(), none_of_9.as_bytes());
    }

    #[test]
    fn a_server_says_what_it_is_in_other_words() {
        let said = message(
            r#"{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":"2025-11-25","capabilities":{
                "tools":{},"tasks":{},"extensions":{"io.modelcontextprotocol/tasks":{},"a/b":{}}},
                "serverInfo":{"name":"s","version":"1"},"instructions":"Do."}}"#,
        );
        let result = up::discovered(&said, &[V::V2026_07_28, NEW]).unwrap();
        let result: Value = serde_json::from_str(result.get()).unwrap();
        assert_eq!(
            result,
            serde_json::json!({
                "resultType": "complete", "supportedVersions": ["2026-07-28", "2025-11-25"],
                "capabilities": { "tools": {}, "extensions": { "a/b": {} } }, "instructions": "Do.",
                "ttlMs": 0, "cacheScope": "private", "_meta": {
                    "io.modelcontextprotocol/serverInfo": { "name": "s", "version": "1" } },
            })
        );
    }
}
