//! What a server has: listings, completion, news of changes, and its log.

use super::{Outcome, V03, V06, V11, odd, rows};
use crate::{
    actor::{Actor, notification},
    said::Said,
};

/// Asks for something, and the answer is what the server was told to say.
#[track_caller]
fn comes_as_said(a: &mut Actor, method: &str, rest: &str, result: &str) -> Said {
    let answer = a.run(method, rest, &format!(r#"{{"result":{result}}}"#));
    assert_eq!(answer.result.as_deref(), Some(result), "{method}");
    answer
}

/// Members of what is listed, from the revision on that has them.
fn shown(a: &Actor) -> String {
    let mut shown = format!(r#""x":{}"#, odd(a.tag));
    if V06 <= a.server() {
        shown += r#","title":"T\u00fctle","_meta":{"a/b":1e400}"#;
    }
    if V11 <= a.server() {
        shown += r#","icons":[{"src":"data:image/png;base64,AA==","mimeType":"image/png","sizes":["any"],"theme":"dark"}]"#;
    }
    shown
}

pub(super) fn tools(a: &mut Actor) -> Outcome {
    let mut tool = shown(a);
    if V03 <= a.server() {
        tool += r#","annotations":{"title":"t","readOnlyHint":true,"x":1.0}"#;
    }
    if V06 <= a.server() {
        tool += r#","outputSchema":{"type":"object","properties":{"n":{"type":"number","maximum":1e400}},"required":["n"]}"#;
    }
    if V11 <= a.server() {
        tool += r#","execution":{"taskSupport":"optional"}"#;
    }
    let schema =
        r#"{"type":"object","properties":{"a":{"type":"string","default":"\u0000"}},"x":-0}"#;
    let first = format!(
        r#"{{"tools":[ {{"name":"one","inputSchema":{schema},{tool}}} ], "nextCursor":"c\"\u00e9 {}"}}"#,
        a.tag
    );
    let answer = comes_as_said(a, "tools/list", "", &first);
    let cursor = format!(r#""cursor":{}"#, answer.out(&["nextCursor"]));
    let last = format!(r#"{{"tools":[],"tag":"{}","_meta":{{"n":1e400}}}}"#, a.tag);
    comes_as_said(a, "tools/list", &cursor, &last);
    let mirrored = a.run("tools/list", &cursor, r#"{"mirror":1},{"result":{"tools":[]}}"#);
    assert_eq!(mirrored.out(&["tools"]), "[]");
    Outcome::Same
}

pub(super) fn later_tools(a: &mut Actor) -> Outcome {
    if !a.is_bridged() {
        return Outcome::Absent;
    }
    let odd = odd(a.tag);
    let said = format!(
        r#"{{"tools":[{{"name":"one","x":{odd},"inputSchema":{{"type":"object","properties":{{"a":true,"b":false,"c":{{"x":1e400}}}}}}}},{{"name":"two","inputSchema":{{"type":"object"}},"outputSchema":{{"type":"array"}}}},{{"name":"three","inputSchema":{{"type":"object"}},"execution":{{"taskSupport":"required"}}}}],"x":{odd}}}"#
    );
    let mut expect = said
        .replace(r#""a":true,"b":false"#, r#""a":{},"b":{"not":{}}"#)
        .replace(r#","outputSchema":{"type":"array"}"#, "");
    let mut found = vec!["boolean-schema", "output-schema"];
    if a.told < V11 {
        expect = expect.replace(r#",{"name":"three","inputSchema":{"type":"object"},"execution":{"taskSupport":"required"}}"#, "");
        found.push("task-required");
    }
    let answer = a.run("tools/list", "", &format!(r#"{{"result":{said}}}"#));
    assert_eq!(answer.result.as_deref(), Some(&*expect));
    rows(found)
}

pub(super) fn prompts(a: &mut Actor) -> Outcome {
    let prompt = shown(a);
    let list = format!(
        r#"{{"prompts":[{{"name":"p","arguments":[{{"name":"a","required":true}}],{prompt}}}],"nextCursor":""}}"#
    );
    comes_as_said(a, "prompts/list", "", &list);
    let text =
        format!(r#"{{"role":"user","content":{{"type":"text","text":"{}","x":1e400}}}}"#, a.tag);
    let resource = r#"{"role":"assistant","content":{"type":"resource","resource":{"uri":"x:/1","text":"t"}}}"#;
    let audio =
        r#"{"role":"user","content":{"type":"audio","data":"AA==","mimeType":"audio/wav"}}"#;
    let link = r#"{"role":"user","content":{"type":"resource_link","uri":"x:/2","name":"n","mimeType":"a/b"}}"#;
    let (mut said, mut heard) = (vec![&*text, resource], vec![&*text, resource]);
    let mut found = Vec::new();
    if V03 <= a.server() {
        said.push(audio);
        heard.push(if a.is_behind(V03) {
            found.push("audio-content");
            r#"{"role":"user","content":{"type":"resource","resource":{"uri":"urn:mcp:audio:2","mimeType":"audio/wav","blob":"AA=="}}}"#
        } else {
            audio
        });
    }
    if V06 <= a.server() {
        said.push(link);
        heard.push(if a.is_behind(V06) {
            found.push("resource-link");
            r#"{"role":"user","content":{"type":"text","text":"n — x:/2"}}"#
        } else {
            link
        });
    }
    let result = |messages: Vec<&str>| {
        format!(r#"{{"description":"d", "messages":[{}]}}"#, messages.join(","))
    };
    let said = result(said);
    let answer = a.run(
        "prompts/get",
        r#""name":"p","arguments":{"a":"\u00e9"}"#,
        &format!(r#"{{"result":{said}}}"#),
    );
    assert_eq!(answer.result.unwrap(), result(heard));
    rows(found)
}

pub(super) fn resources(a: &mut Actor) -> Outcome {
    let shown = shown(a);
    let annotations = r#""annotations":{"audience":["user"],"priority":0.5,"x":1}"#;
    let list = format!(
        r#"{{"resources":[{{"uri":"x:/{}","name":"r","size":12,{annotations},{shown}}}]}}"#,
        a.tag
    );
    comes_as_said(a, "resources/list", "", &list);
    let list = format!(
        r#"{{"resourceTemplates":[{{"uriTemplate":"x:/{{id}}","name":"r",{annotations},{shown}}}],"nextCursor":"2"}}"#
    );
    comes_as_said(a, "resources/templates/list", "", &list);
    let read = format!(
        r#"{{"contents":[{{"uri":"x:/1","text":"{}\r\n","mimeType":"text/plain","x":1e400}}, {{"uri":"x:/2","blob":"AAEC"}}]}}"#,
        a.tag
    );
    comes_as_said(a, "resources/read", r#""uri":"x:/1""#, &read);
    Outcome::Same
}

pub(super) fn completion(a: &mut Actor) -> Outcome {
    let result = format!(
        r#"{{"completion":{{"values":["{}","\u00e9"],"total":123456789012345678, "hasMore":true}}}}"#,
        a.tag
    );
    let context = if V06 <= a.told { r#","context":{"arguments":{"b":"2"}}"# } else { "" };
    for reference in
        [r#"{"type":"ref/prompt","name":"p"}"#, r#"{"type":"ref/resource","uri":"x:/{id}"}"#]
    {
        let rest = format!(r#""ref":{reference},"argument":{{"name":"a","value":"v"}}{context}"#);
        comes_as_said(a, "completion/complete", &rest, &result);
    }
    Outcome::Same
}

pub(super) fn changes(a: &mut Actor) -> Outcome {
    for what in ["tools", "prompts", "resources"] {
        let method = format!("notifications/{what}/list_changed");
        let said =
            notification(&method, &format!(r#"{{"_meta":{{"for":"{}","n":1e400}}}}"#, a.tag));
        assert_eq!(a.prompt(&method, &said).text, said);
    }
    Outcome::Same
}

pub(super) fn subscriptions(a: &mut Actor) -> Outcome {
    let uri = format!(r#""uri":"x:/{}""#, a.tag);
    for method in ["resources/subscribe", "resources/unsubscribe"] {
        let answer = a.run(method, &uri, r#"{"mirror":1}"#);
        assert_eq!(answer.out(&["collected", "0", "uri"]), uri.replace(r#""uri":"#, ""));
        if method.ends_with("/subscribe") {
            let said = notification(
                "notifications/resources/updated",
                &format!(r#"{{{uri}, "x":1e400}}"#),
            );
            assert_eq!(a.prompt("notifications/resources/updated", &said).text, said);
        }
    }
    Outcome::Same
}

pub(super) fn logging(a: &mut Actor) -> Outcome {
    let answer = a.run("logging/setLevel", r#""level":"warning""#, r#"{"mirror":1}"#);
    assert_eq!(answer.out(&["collected", "0", "level"]), r#""warning""#);
    let said = |how: &str, tag: &str| {
        notification(
            "notifications/message",
            &format!(r#"{{"level":"alert","logger":"{how}","data":{}}}"#, odd(tag)),
        )
    };
    let (now, later) = (said("within", a.tag), said("beside", a.tag));
    let id = a
        .send("tools/call", &crate::actor::script(r#""name":"x""#, &format!(r#"{{"say":{now}}}"#)));
    assert_eq!(a.told("notifications/message").text, now);
    a.answer(&id);
    assert_eq!(a.prompt("notifications/message", &later).text, later);
    Outcome::Same
}
