//! Tests: clients with a handshake, a server of 2026-07-28.

use super::*;

fn message(text: &str) -> Message {
    Message::parse(text.to_owned()).unwrap()
}

fn text(message: &Message) -> &str {
    std::str::from_utf8(message.as_bytes()).unwrap()
}

fn raw_of(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.to_owned()).unwrap()
}

#[test]
fn a_request_says_all_about_its_client_and_keeps_the_rest() {
    let can = raw_of(r#"{"roots":{}}"#);
    let said = Said { capabilities: &can, client_info: None, log_level: Some("info") };
    let asked = r#"{"jsonrpc":"2.0","id":"a","method":"tools/call","params":{"name":"x", "arguments":{"n":1e400},"task":{"ttl":1},"_meta":{"progressToken":7,"com.example/x":[ 1 ]}}}"#;
    assert_eq!(
        text(&request(&message(asked), &said).unwrap()),
        r#"{"jsonrpc":"2.0","id":"a","method":"tools/call","params":{"name":"x","arguments":{"n":1e400},"_meta":{"progressToken":7,"com.example/x":[ 1 ],"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{"roots":{}},"io.modelcontextprotocol/logLevel":"info"}}}"#
    );
    for params in ["", r#","params":null"#, r#","params":{"_meta":null}"#] {
        let asked = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/list"{params}}}"#);
        let made = request(&message(&asked), &said).unwrap();
        assert_eq!(modern::version_of(&made).as_deref(), Some("2026-07-28"), "{params}");
    }
    let broken = message(r#"{"jsonrpc":"2.0","id":1,"method":"m","params":{"_meta":[]}}"#);
    request(&broken, &said).unwrap_err();
}

#[test]
fn a_retry_brings_answers_and_the_very_state() {
    let can = raw_of("{}");
    let said = Said { capabilities: &can, client_info: None, log_level: None };
    let asked = message(
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x","requestState":"forged"}}"#,
    );
    let asked = request(&asked, &said).unwrap();
    let state = raw_of(r#""s\u0041\/""#);
    let answers = [("k\"".into(), raw_of(r#"{"action":"accept"}"#))];
    let again = retry(&asked, &answers, Some(&state)).unwrap();
    assert!(
        again.mentions(
            r#""inputResponses":{"k\"":{"action":"accept"}},"requestState":"s\u0041\/"}"#
        )
    );
    assert!(!again.mentions("forged"));
    let bare = retry(&again, &[], None).unwrap();
    assert!(!bare.mentions("inputResponses") && !bare.mentions("requestState"));
}

#[test]
fn what_a_client_can_do_is_what_its_revision_has() {
    let declared = raw_of(
        r#"{"roots":{"listChanged":true},"sampling":{"tools":{}},"elicitation":{"url":{}},"tasks":{},"extensions":{"io.modelcontextprotocol/tasks":{},"io.modelcontextprotocol/ui":{}}}"#,
    );
    for (client, expect) in [
        (
            ProtocolVersion::V2025_11_25,
            r#"{"roots":{},"sampling":{"tools":{}},"elicitation":{"url":{}},"extensions":{"io.modelcontextprotocol/ui":{}}}"#,
        ),
        (
            ProtocolVersion::V2025_06_18,
            r#"{"roots":{},"sampling":{},"elicitation":{"form":{}},"extensions":{"io.modelcontextprotocol/ui":{}}}"#,
        ),
        (
            ProtocolVersion::V2024_11_05,
            r#"{"roots":{},"sampling":{},"extensions":{"io.modelcontextprotocol/ui":{}}}"#,
        ),
    ] {
        assert_eq!(capabilities(Some(&declared), client).unwrap().get(), expect);
    }
    assert_eq!(capabilities(None, ProtocolVersion::V2024_11_05).unwrap().get(), "{}");
}

#[test]
fn a_handshake_is_made_of_what_was_discovered() {
    let found = message(
        r#"{"jsonrpc":"2.0","id":0,"result":{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"tools":{},"completions":{},"extensions":{"io.modelcontextprotocol/tasks":{}}},"instructions":"Hi","ttlMs":0,"cacheScope":"public","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"n","version":"1"}}}}"#,
    );
    let heard = |client| initialized(&Id::from(5), &found, client, "route").unwrap();
    assert_eq!(
        text(&heard(ProtocolVersion::V2024_11_05)),
        r#"{"jsonrpc":"2.0","id":5,"result":{"protocolVersion":"2024-11-05","capabilities":{"tools":{},"extensions":{}},"serverInfo":{"name":"n","version":"1"},"instructions":"Hi"}}"#
    );
    assert!(heard(ProtocolVersion::V2025_11_25).mentions("completions"));
    let bare = message(
        r#"{"jsonrpc":"2.0","id":0,"result":{"supportedVersions":["2026-07-28"],"capabilities":{}}}"#,
    );
    let heard = initialized(&Id::from(5), &bare, ProtocolVersion::V2025_06_18, "route").unwrap();
    assert!(heard.mentions(r#""serverInfo":{"name":"route","version":"0"}"#));
}

#[test]
fn answers_hold_what_their_client_knows() {
    let to = ProtocolVersion::V2025_11_25;
    for (method, said, expect) in [
        ("ping", r#""result":{"resultType":"complete"}"#, r#""result":{}"#),
        (
            "tools/list",
            r#""result":{"tools":[],"resultType":"complete","ttlMs":5,"cacheScope":"public","_meta":{"io.modelcontextprotocol/serverInfo":{},"a":1}}"#,
            r#""result":{"tools":[],"_meta":{"a":1}}"#,
        ),
        (
            "tools/call",
            r#""result":{"resultType":"complete","content":[],"structuredContent":[1]}"#,
            r#""result":{"content":[{"text":"[1]","type":"text"}]}"#,
        ),
        (
            "resources/read",
            r#""error":{"code":-32602,"message":"none","data":{"uri":"a:b"}}"#,
            r#""error":{"code":-32002,"message":"none","data":{"uri":"a:b"}}"#,
        ),
        (
            "resources/read",
            r#""error":{"code":-32602,"message":"bad"}"#,
            r#""error":{"code":-32602,"message":"bad"}"#,
        ),
    ] {
        let said = message(&format!(r#"{{"jsonrpc":"2.0","id":1,{said}}}"#));
        let expect = format!(r#"{{"jsonrpc":"2.0","id":1,{expect}}}"#);
        assert_eq!(text(&answer(method, &said, said.id().unwrap(), to)), expect, "{method}");
    }
    let needs = message(
        r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32021,"message":"sampling","data":{"requiredCapabilities":{"sampling":{}}}}}"#,
    );
    assert!(answer("tools/call", &needs, needs.id().unwrap(), to).mentions(r#""isError":true"#));
    assert!(answer("prompts/get", &needs, needs.id().unwrap(), to).mentions("-32603"));
    let ours = message(r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32020,"message":"header"}}"#);
    assert!(answer("tools/call", &ours, ours.id().unwrap(), to).mentions("-32603"));
}

#[test]
fn questions_become_requests_of_the_clients_revision() {
    let asked = raw_of(
        r#"{"a":{"method":"elicitation/create","params":{"mode":"form","message":"m","requestedSchema":{"type":"object","properties":{}}}},"b":{"method":"roots/list"},"c":{"method":"elicitation/create","params":{"mode":"url","message":"m","url":"https://a/b"}}}"#,
    );
    let asked = questions(&asked).unwrap();
    let keys: Vec<_> = asked.iter().map(|it| &*it.key).collect();
    assert_eq!(keys, ["a", "b", "c"]);
    let made =
        |at: usize, client| match asked[at].request(&Id::from(9), client, Some("e1")).unwrap() {
            Passage::Edited(message) => text(&message).to_owned(),
            other => format!("{other:?}"),
        };
    assert_eq!(
        made(0, ProtocolVersion::V2025_06_18),
        r#"{"jsonrpc":"2.0","id":9,"method":"elicitation/create","params":{"message":"m","requestedSchema":{"type":"object","properties":{}}}}"#
    );
    assert_eq!(
        made(1, ProtocolVersion::V2024_11_05),
        r#"{"jsonrpc":"2.0","id":9,"method":"roots/list","params":{}}"#
    );
    assert!(made(2, ProtocolVersion::V2025_11_25).contains(r#""elicitationId":"e1""#));
    assert_eq!(asked[2].url.as_deref(), Some("https://a/b"));
    for (can, expect) in [
        ("{}", [false, false, false]),
        (r#"{"elicitation":{},"roots":{}}"#, [true, true, false]),
        (r#"{"elicitation":{"url":{}}}"#, [false, false, true]),
    ] {
        let can = raw_of(can);
        let found: Vec<_> = asked.iter().map(|it| it.is_declared(&can)).collect();
        assert_eq!(found, expect, "{can}");
    }
    questions(&raw_of("[]")).unwrap_err();
}

#[test]
fn news_is_nobodys_subscription_any_more() {
    let said = message(
        r#"{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"a:b","_meta":{"io.modelcontextprotocol/subscriptionId":"s"}}}"#,
    );
    assert_eq!(
        text(&notification(&said, ProtocolVersion::V2025_11_25).unwrap()),
        r#"{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"a:b"}}"#
    );
}

#[test]
fn a_call_says_that_it_may_be_a_task_and_what_is_asked_about_it_says_the_same() {
    let can = raw_of(r#"{"roots":{},"extensions":{"a/b":{}}}"#);
    let said = Said { capabilities: &can, client_info: None, log_level: Some("info") };
    let asked = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x","_meta":{"progressToken":7}}}"#;
    let asked = with_tasks(&request(&message(asked), &said).unwrap()).unwrap();
    let declared = r#""io.modelcontextprotocol/clientCapabilities":{"roots":{},"extensions":{"a/b":{},"io.modelcontextprotocol/tasks":{}}}"#;
    assert!(asked.mentions(declared), "{}", text(&asked));
    assert_eq!(text(&with_tasks(&asked).unwrap()), text(&asked));
    let about = (&Id::from("q"), "tasks/update");
    let answers = [("k".into(), raw_of(r#"{"action":"accept"}"#))];
    let update = about_task(&asked, about, "t\"1", Some(&answers)).unwrap();
    let expect = r#"{"jsonrpc":"2.0","id":"q","method":"tasks/update","params":{"taskId":"t\"1","inputResponses":{"k":{"action":"accept"}},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","#;
    assert_eq!(text(&update), format!("{expect}{declared}}}}}}}"));
}

#[test]
fn who_has_tasks_and_who_wants_them_says_so() {
    let discovered = |can: &str| {
        message(&format!(
            r#"{{"jsonrpc":"2.0","id":1,"result":{{"supportedVersions":[],"capabilities":{can}}}}}"#
        ))
    };
    assert!(has_tasks(&discovered(r#"{"extensions":{"io.modelcontextprotocol/tasks":{}}}"#)));
    for other in ["{}", "null", r#"{"extensions":[]}"#, r#"{"tasks":{},"extensions":{"a/b":{}}}"#] {
        assert!(!has_tasks(&discovered(other)), "{other}");
    }
    let refused = |code: i32, data: &str| {
        message(&format!(
            r#"{{"jsonrpc":"2.0","id":1,"error":{{"code":{code},"message":"m","data":{data}}}}}"#
        ))
    };
    let tasks = r#"{"requiredCapabilities":{"extensions":{"io.modelcontextprotocol/tasks":{}}}}"#;
    assert!(wants_tasks(&refused(-32021, tasks)));
    assert!(!wants_tasks(&refused(-32603, tasks)));
    assert!(!wants_tasks(&refused(-32021, r#"{"requiredCapabilities":{"sampling":{}}}"#)));
    assert!(!wants_tasks(&refused(-32021, "null")));
}
