//! Calls: what comes before their results, what their results hold, and their end before time.

use super::{Outcome, V03, V06, V11, odd, rows};
use crate::{
    actor::{Actor, script},
    puppet::HUNG,
    said::{inside, text},
};

/// Calls a tool that returns `said`; returns what is heard.
#[track_caller]
fn call(a: &mut Actor, said: &str) -> String {
    let answer =
        a.run("tools/call", r#""name":"x","arguments":{}"#, &format!(r#"{{"result":{said}}}"#));
    answer.result.unwrap_or_else(|| panic!("{}", answer.text))
}

pub(super) fn content(a: &mut Actor) -> Outcome {
    let mut found = Vec::new();
    let text = format!(
        r#"{{"type":"text","text":"{}\u0000\u00e9","annotations":{{"audience":["assistant"],"priority":1.0}},"x":1e400}}"#,
        a.tag
    );
    let image = r#"{"type":"image","data":"AA==","mimeType":"image/png"}"#;
    let resource =
        r#"{"type":"resource","resource":{"uri":"x:/1","blob":"AA==","mimeType":"a/b"},"n":-0}"#;
    let (mut said, mut heard) = (vec![&*text, image, resource], vec![&*text, image, resource]);
    let audio =
        r#"{"type":"audio","data":"AAEC","mimeType":"audio/wav","annotations":{"priority":0.0}}"#;
    let link = r#"{"type":"resource_link","uri":"x:/l","name":"a l\u00efnk","title":"T","size":1}"#;
    if V03 <= a.server() {
        said.push(audio);
        heard.push(if a.is_behind(V03) {
            found.push("audio-content");
            r#"{"type":"resource","resource":{"uri":"urn:mcp:audio:3","mimeType":"audio/wav","blob":"AAEC"},"annotations":{"priority":0.0}}"#
        } else {
            audio
        });
    }
    if V06 <= a.server() {
        said.push(link);
        heard.push(if a.is_behind(V06) {
            found.push("resource-link");
            r#"{"type":"text","text":"a lïnk — x:/l"}"#
        } else {
            link
        });
    }
    let odd = odd(a.tag);
    let result = |content: Vec<&str>| format!(r#"{{"content":[{}],"x":{odd}}}"#, content.join(","));
    assert_eq!(call(a, &result(said)), result(heard));
    if a.is_bridged() {
        let holo = call(a, &result(vec![r#"{"type":"hologram"}"#]));
        assert!(holo.contains("left out: content of type `hologram`"), "{holo}");
        found.push("unknown-content");
    }
    rows(found)
}

pub(super) fn structured(a: &mut Actor) -> Outcome {
    if a.server() < V06 {
        return Outcome::Absent;
    }
    let both = format!(
        r#"{{"content":[{{"type":"text","text":"{}"}}],"structuredContent":{{"n":1e400 }}}}"#,
        a.tag
    );
    assert_eq!(call(a, &both), both);
    let alone = r#"{"content":[],"structuredContent":{"n":1e400}}"#;
    let heard = call(a, alone);
    if !a.is_behind(V06) {
        assert_eq!(heard, alone);
        return Outcome::Same;
    }
    assert_eq!(text(&inside(&heard, &["content", "0", "text"]).unwrap()), r#"{"n":1e400}"#);
    assert_eq!(inside(&heard, &["structuredContent"]).unwrap(), r#"{"n":1e400}"#);
    rows(vec!["structured-content"])
}

pub(super) fn failing(a: &mut Actor) -> Outcome {
    let said = format!(
        r#"{{"isError":true, "content":[{{"type":"text","text":"{}"}}],"_meta":{{"a/b":{}}}}}"#,
        a.tag,
        odd(a.tag)
    );
    assert_eq!(call(a, &said), said);
    let odd = odd(a.tag);
    let answer = a.run(
        "tools/call",
        &format!(r#""name":"x","arguments":{odd},"x":1e400"#),
        r#"{"mirror":1}"#,
    );
    assert_eq!(answer.out(&["collected", "0", "arguments"]), odd);
    assert_eq!(answer.out(&["collected", "0", "x"]), "1e400");
    Outcome::Same
}

pub(super) fn url_required(a: &mut Actor) -> Outcome {
    if a.server() < V11 {
        return Outcome::Absent;
    }
    let error = format!(
        r#"{{"code":-32042,"message":"log in","data":{{"elicitations":[{{"mode":"url","message":"here","url":"https://example.org/{}","elicitationId":"e"}}]}}}}"#,
        a.tag
    );
    let answer = a.run("tools/call", r#""name":"x""#, &format!(r#"{{"error":{error}}}"#));
    if !a.is_behind(V11) {
        assert_eq!(answer.error.unwrap(), error);
        return Outcome::Same;
    }
    assert_eq!(answer.out(&["isError"]), "true");
    let words = format!("log in\nhere https://example.org/{}", a.tag);
    assert_eq!(text(&answer.out(&["content", "0", "text"])), words);
    rows(vec!["url-elicitation-required"])
}

/// Both clients name the same token, at the same time.
pub(super) fn progress(a: &mut Actor) -> Outcome {
    let message =
        if V03 <= a.server() { format!(r#","message":"{}\u00e9""#, a.tag) } else { String::new() };
    let step = |n: &str| format!(r#"{{"progress":{n},"total":1e400,"x":"{}"{message}}}"#, a.tag);
    let steps: Vec<String> = ["0.5", "1", "1.50"].iter().map(|n| step(n)).collect();
    let told: Vec<String> = steps.iter().map(|it| format!(r#"{{"progress":{it}}}"#)).collect();
    for token in [r#""p""#, "7"] {
        let meet = format!(r#"{{"meet":"{} progress {}"}}"#, a.cell, token.replace('"', ""));
        let params = script(r#""name":"x""#, &format!("{meet},{},{meet}", told.join(",")));
        let id = a.send(
            "tools/call",
            &params.replace(r#""progressToken":"p""#, &format!(r#""progressToken":{token}"#)),
        );
        for step in &steps {
            let heard = a.told("notifications/progress").params.unwrap();
            assert_eq!(heard, format!(r#"{{"progressToken":{token},{}"#, &step[1..]));
        }
        a.answer(&id);
    }
    Outcome::Same
}

pub(super) fn cancelled(a: &mut Actor) -> Outcome {
    let meet = format!(r#"{{"meet":"{} cancelled"}}"#, a.cell);
    let steps = format!(r#"{meet},{{"progress":{{"progress":1}}}},{{"hang":1}}"#);
    let id = a.send("tools/call", &script(r#""name":"x""#, &steps));
    a.told("notifications/progress");
    a.notify(
        "notifications/cancelled",
        &format!(r#"{{"requestId":{id},"reason":"no more {}"}}"#, a.tag),
    );
    a.forget(&id);
    // Under the server's id, whichever that is: it is what the call itself waits for.
    a.run("x/do", "", &format!(r#"{{"wait":"{HUNG}"}}"#));
    Outcome::Same
}

/// A server takes back what it has asked.
pub(super) fn withdrawn(a: &mut Actor) -> Outcome {
    let params = r#"{"messages":[],"maxTokens":1}"#;
    let ask = format!(
        r#"{{"ask":{{"method":"sampling/createMessage","cancel":"{} no more","params":{params}}}}}"#,
        a.tag
    );
    let id = a.send("tools/call", &script(r#""name":"x""#, &ask));
    let question = a.told("sampling/createMessage");
    let cancelled = a.told("notifications/cancelled");
    assert_eq!(cancelled.param(&["requestId"]), question.id);
    assert_eq!(cancelled.param(&["reason"]).unwrap(), format!(r#""{} no more""#, a.tag));
    a.answer(&id);
    Outcome::Same
}
