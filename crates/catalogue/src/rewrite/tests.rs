use std::sync::Arc;

use mcp_jsonrpc::Message;
use proptest::prelude::*;
use serde_json::{Value, json, value::to_raw_value};

use crate::{Gathering, Limits, List, Member, Settings, View};

fn member(server: &str, uris: &[&str]) -> Member {
    let mut gathering = Gathering::new(Limits::default());
    let uris: Vec<Value> = uris.iter().map(|it| json!({ "uri": it, "name": "x" })).collect();
    let page = to_raw_value(&json!({ "resources": uris })).unwrap();
    gathering.page(List::Resources, &page).unwrap();
    Member {
        server: server.into(),
        alias: server.into(),
        prefix: None,
        catalogue: Arc::new(gathering.finish(None)),
        shapes: Vec::new(),
        is_there: true,
    }
}

fn view() -> View {
    let a = member("a", &["file:///a", "file:///both"]);
    let b = member("b", &["file:///b", "file:///both"]);
    View::new(vec![a, b], Settings::default()).unwrap()
}

fn answer(result: &str) -> Message {
    Message::parse(format!(r#"{{"jsonrpc":"2.0","id":1,"result":{result}}}"#)).unwrap()
}

fn heard(method: &str, result: &str) -> String {
    let view = view();
    let said = answer(result);
    let heard = view.answer(&view.members()[0], method, &said);
    heard.body().unwrap().to_owned()
}

#[test]
fn what_leads_back_keeps_its_bytes() {
    for (method, result) in [
        ("tools/call", r#"{"content":[ {"type":"resource_link","uri":"file:///a","n":1e400}]}"#),
        ("tools/call", r#"{"content":[{"type":"text","text":"\"uri\": file:///both"}]}"#),
        ("tools/call", r#"{"structuredContent":{ "uri":"file:///both" },"content":[]}"#),
        ("tools/call", r#"{"content":{"uri":7}}"#),
        ("resources/read", r#"{"contents": [{"uri":"file:///a","text":""}]}"#),
        ("unknown/method", r#"{"uri":"file:///both"}"#),
        ("tools/call", "[\"uri\"]"),
    ] {
        assert_eq!(heard(method, result), result);
    }
    // With one server alone nothing is moved at all.
    let alone = View::new(vec![member("a", &["file:///a"])], Settings::default()).unwrap();
    let said = answer(r#"{"content":[{"type":"resource_link","uri":"mcp-gateway://b/x"}]}"#);
    let heard = alone.answer(&alone.members()[0], "tools/call", &said);
    assert_eq!(heard.as_bytes(), said.as_bytes());
}

#[test]
fn links_and_resources_of_results() {
    assert_eq!(
        heard(
            "tools/call",
            r#"{"n": 1e400,"content":[{"type":"resource_link","uri":"file:///both"},{"type":"text", "text":"x"},
                {"type":"resource","resource":{"uri":"file:///b","text":"x"}}]}"#
        ),
        r#"{"n":1e400,"content":[{"type":"resource_link","uri":"mcp-gateway://a/file:///both"},{"type":"text", "text":"x"},{"type":"resource","resource":{"uri":"mcp-gateway://a/file:///b","text":"x"}}]}"#
    );
    for content in
        [r#"{"type":"resource_link","uri":"$"}"#, r#"[{"type":"resource_link","uri":"$"}]"#]
    {
        let with = |uri| {
            let content = content.replace('$', uri);
            format!(r#"{{"messages":[{{"role":"user","content":{content}}}]}}"#)
        };
        assert_eq!(
            heard("prompts/get", &with("file:///both")),
            with("mcp-gateway://a/file:///both")
        );
    }
    assert_eq!(
        heard("resources/read", r#"{"contents":[{"uri":"file:///both","text":"x"}]}"#),
        r#"{"contents":[{"uri":"mcp-gateway://a/file:///both","text":"x"}]}"#
    );
    assert_eq!(
        heard("tools/call", r#"{"content":[],"_meta":{"ui":{"resourceUri":"ui://app"}}}"#),
        r#"{"content":[],"_meta":{"ui":{"resourceUri":"ui://a.mcp-gateway/app"}}}"#
    );
}

#[test]
fn tasks_say_whose_they_are() {
    for (method, said, heard_as) in [
        (
            "tools/call",
            r#"{"task":{"taskId":"7","status":"working"}}"#,
            r#"{"task":{"taskId":"mcp-gateway.a.7","status":"working"}}"#,
        ),
        ("tasks/get", r#"{"taskId":"7"}"#, r#"{"taskId":"mcp-gateway.a.7"}"#),
        (
            "tasks/list",
            r#"{"tasks":[{"taskId":"7"}]}"#,
            r#"{"tasks":[{"taskId":"mcp-gateway.a.7"}]}"#,
        ),
        (
            "tasks/result",
            r#"{"content":[],"_meta":{"io.modelcontextprotocol/related-task":{"taskId":"7"}}}"#,
            r#"{"content":[],"_meta":{"io.modelcontextprotocol/related-task":{"taskId":"mcp-gateway.a.7"}}}"#,
        ),
    ] {
        assert_eq!(heard(method, said), heard_as);
    }
}

#[test]
fn notices_and_replies() {
    let view = view();
    let a = &view.members()[0];
    let notice = |method: &str, params: &str| {
        let text = format!(r#"{{"jsonrpc":"2.0","method":"{method}","params":{params}}}"#);
        view.notice(a, &Message::parse(text).unwrap()).body().unwrap().to_owned()
    };
    assert_eq!(
        notice("notifications/resources/updated", r#"{"uri":"file:///both"}"#),
        r#"{"uri":"mcp-gateway://a/file:///both"}"#
    );
    let untouched = r#"{"uri": "file:///a"}"#;
    assert_eq!(notice("notifications/resources/updated", untouched), untouched);
    assert_eq!(
        notice("notifications/tasks/status", r#"{"taskId":"7"}"#),
        r#"{"taskId":"mcp-gateway.a.7"}"#
    );
    let related = |id: &str| {
        format!(r#"{{"_meta":{{"io.modelcontextprotocol/related-task":{{"taskId":"{id}"}}}}}}"#)
    };
    assert_eq!(notice("elicitation/create", &related("7")), related("mcp-gateway.a.7"));
    let reply = |id: &str| view.reply(a, &answer(&related(id))).body().unwrap().to_owned();
    assert_eq!(reply("mcp-gateway.a.7"), related("7"));
    assert_eq!(reply("mcp-gateway.b.7"), related("mcp-gateway.b.7"), "another's stays unread");
}

proptest! {
    #[test]
    fn whatever_a_server_mentions_leads_back_to_it(
        uri in "(file:///(a|b|both)|mcp-gateway://[ab]/x|ui://[a-z.]{0,5}/x|[a-z]{1,3}:[a-z/]{0,5})",
    ) {
        let view = view();
        for member in view.members() {
            let said = answer(&json!({
                "content": [{ "type": "resource_link", "uri": uri }],
            }).to_string());
            let heard: Value = view.answer(member, "tools/call", &said).read().unwrap();
            let shown = heard["content"][0]["uri"].as_str().unwrap();
            let located = view.locate(shown).unwrap();
            prop_assert_eq!((&located.member.server, &*located.uri), (&member.server, &*uri));
        }
    }
}
