//! What a server asks its client: samples of a model, forms, URLs, roots.

use super::{Outcome, V03, V06, V11, odd, rows};
use crate::{
    actor::{Actor, notification, script},
    said::inside,
};

/// Has the server ask within a call: the client hears `heard` and answers with `body`, which is
/// what the server hears.
#[track_caller]
fn asks(a: &mut Actor, method: &str, (said, heard): (&str, &str), body: &str) {
    // On wires that share one channel, and on those that do not.
    for unasked in ["", r#","unasked":1"#] {
        let ask = format!(r#"{{"ask":{{"method":"{method}","params":{said}{unasked}}}}}"#);
        let id = a.send("tools/call", &script(r#""name":"x""#, &ask));
        let question = a.told(method);
        assert_eq!(question.params.as_deref(), Some(heard));
        a.reply(&question, body);
        let answer = a.answer(&id).out(&["collected", "0"]);
        let (kind, rest) = body.split_once(':').unwrap();
        assert_eq!(inside(&answer, &[kind.trim_matches('"')]).as_deref(), Some(rest));
    }
}

/// Has the server ask what its client is never to hear of; returns what it is answered.
#[track_caller]
fn in_vain(a: &mut Actor, method: &str, said: &str) -> String {
    let [within, beside] = ["", r#","unasked":1"#].map(|unasked| {
        let ask = format!(r#"{{"ask":{{"method":"{method}","params":{said}{unasked}}}}}"#);
        a.run("tools/call", r#""name":"x""#, &ask).out(&["collected", "0"])
    });
    let body = |text: &str| inside(text, &["error"]).or_else(|| inside(text, &["result"]));
    assert_eq!(body(&within), body(&beside));
    body(&within).unwrap()
}

#[track_caller]
fn refused(a: &mut Actor, method: &str, said: &str, code: &str) {
    let error = in_vain(a, method, said);
    assert_eq!(inside(&error, &["code"]).as_deref(), Some(code), "{error}");
    let told = a.told.as_str();
    assert!(error.contains(told), "{error}");
}

pub(super) fn sampling(a: &mut Actor) -> Outcome {
    let asked = format!(
        r#"{{"messages":[{{"role":"user","content":{{"type":"text","text":"{}?"}}}}],"maxTokens":5,"modelPreferences":{{"hints":[{{"name":"m"}}],"speedPriority":0.10}},"x":{}}}"#,
        a.tag,
        odd(a.tag)
    );
    let sample = format!(
        r#""result":{{"role":"assistant","content":{{"type":"text","text":"{}!"}},"model":"m","stopReason":"x","n":1e400}}"#,
        a.tag
    );
    asks(a, "sampling/createMessage", (&asked, &asked), &sample);
    asks(a, "sampling/createMessage", (&asked, &asked), r#""error":{"code":-1,"message":"no"}"#);
    Outcome::Same
}

pub(super) fn sampling_audio(a: &mut Actor) -> Outcome {
    if a.server() < V03 {
        return Outcome::Absent;
    }
    let asked = r#"{"messages":[{"role":"user","content":{"type":"audio","data":"AA==","mimeType":"audio/wav"}}],"maxTokens":5}"#;
    if a.is_behind(V03) {
        refused(a, "sampling/createMessage", asked, "-32602");
        return rows(vec!["sampling-audio"]);
    }
    let sample = r#""result":{"role":"assistant","content":{"type":"audio","data":"","mimeType":"a/b"},"model":"m"}"#;
    asks(a, "sampling/createMessage", (asked, asked), sample);
    Outcome::Same
}

pub(super) fn sampling_blocks(a: &mut Actor) -> Outcome {
    if a.server() < V11 {
        return Outcome::Absent;
    }
    let [one, two] = [r#"{"type":"text","text":"a"}"#, r#"{"type":"text","text":"b","x":1e400}"#];
    let asked =
        format!(r#"{{"messages":[{{"role":"user","content":[{one},{two}]}}],"maxTokens":5}}"#);
    let sample = format!(r#""result":{{"role":"assistant","content":{one},"model":"m"}}"#);
    if a.is_behind(V11) {
        let split = format!(
            r#"{{"messages":[{{"role":"user","content":{one}}},{{"role":"user","content":{two}}}],"maxTokens":5}}"#
        );
        asks(a, "sampling/createMessage", (&asked, &split), &sample);
        return rows(vec!["sampling-blocks"]);
    }
    let sample = sample.replace(one, &format!("[{one}, {two}]"));
    asks(a, "sampling/createMessage", (&asked, &asked), &sample);
    Outcome::Same
}

pub(super) fn sampling_tools(a: &mut Actor) -> Outcome {
    if a.server() < V11 {
        return Outcome::Absent;
    }
    let asked = r#"{"messages":[{"role":"user","content":{"type":"text","text":"?"}}],"maxTokens":5,"tools":[{"name":"t","inputSchema":{"type":"object"}}],"toolChoice":{"mode":"auto"}}"#;
    let results = r#"{"messages":[{"role":"user","content":[{"type":"tool_result","toolUseId":"1","content":[]}]}],"maxTokens":5}"#;
    if a.is_behind(V11) {
        refused(a, "sampling/createMessage", asked, "-32602");
        refused(a, "sampling/createMessage", results, "-32602");
        return rows(vec!["sampling-tools"]);
    }
    let sample = r#""result":{"role":"assistant","content":[{"type":"tool_use","id":"1","name":"t","input":{"n":1e400}}],"model":"m","stopReason":"toolUse"}"#;
    asks(a, "sampling/createMessage", (asked, asked), sample);
    asks(a, "sampling/createMessage", (results, results), sample);
    Outcome::Same
}

fn form_of(properties: &str, mode: &str) -> String {
    format!(
        r#"{{{mode}"message":"m\u00e9","requestedSchema":{{"type":"object","properties":{{{properties}}},"required":["a"]}},"x":1e400}}"#
    )
}

pub(super) fn form(a: &mut Actor) -> Outcome {
    if a.server() < V06 {
        return Outcome::Absent;
    }
    let fields = r#""a":{"type":"string","title":"A","minLength":1,"format":"email"},"b":{"type":"integer","minimum":0},"c":{"type":"boolean","default":true},"d":{"type":"string","enum":["x","y"],"enumNames":["X","Y"]}"#;
    let plain = form_of(fields, "");
    if a.is_behind(V06) {
        refused(a, "elicitation/create", &plain, "-32601");
        return rows(vec!["elicitation"]);
    }
    let filled = format!(
        r#""result":{{"action":"accept","content":{{"a":"{}","b":1,"c":false,"d":"x"}},"n":1e400}}"#,
        a.tag
    );
    asks(a, "elicitation/create", (&plain, &plain), &filled);
    asks(a, "elicitation/create", (&plain, &plain), r#""result":{"action":"decline"}"#);
    if a.server() < V11 {
        return Outcome::Same;
    }
    let named = form_of(fields, r#""mode":"form","#);
    let bridged = a.is_behind(V11);
    let heard = if bridged { &plain } else { &named };
    asks(a, "elicitation/create", (&named, heard), &filled);
    rows(if bridged { vec!["elicitation-mode"] } else { vec![] })
}

pub(super) fn titled(a: &mut Actor) -> Outcome {
    if a.server() < V11 {
        return Outcome::Absent;
    }
    let said = form_of(
        r#""a":{"type":"string","title":"A","oneOf":[{"const":"x","title":"X\u00e9"},{"const":"y","title":"Y"}]}"#,
        "",
    );
    if a.is_behind(V06) {
        refused(a, "elicitation/create", &said, "-32601");
        return rows(vec!["elicitation"]);
    }
    let plain = form_of(
        r#""a":{"type":"string","title":"A","enum":["x","y"],"enumNames":["X\u00e9","Y"]}"#,
        "",
    );
    let bridged = a.is_behind(V11);
    let heard = if bridged { &plain } else { &said };
    asks(
        a,
        "elicitation/create",
        (&said, heard),
        r#""result":{"action":"accept","content":{"a":"x"}}"#,
    );
    rows(if bridged { vec!["elicitation-titled-enum"] } else { vec![] })
}

pub(super) fn several(a: &mut Actor) -> Outcome {
    if a.server() < V11 {
        return Outcome::Absent;
    }
    let said = form_of(r#""a":{"type":"array","items":{"type":"string","enum":["x","y"]}}"#, "");
    if a.is_behind(V06) {
        refused(a, "elicitation/create", &said, "-32601");
        return rows(vec!["elicitation"]);
    }
    if a.is_behind(V11) {
        let result = in_vain(a, "elicitation/create", &said);
        assert_eq!(inside(&result, &["action"]).as_deref(), Some(r#""cancel""#), "{result}");
        return rows(vec!["elicitation-multi-select"]);
    }
    asks(
        a,
        "elicitation/create",
        (&said, &said),
        r#""result":{"action":"accept","content":{"a":["x","y"]}}"#,
    );
    Outcome::Same
}

pub(super) fn url(a: &mut Actor) -> Outcome {
    if a.server() < V11 {
        return Outcome::Absent;
    }
    let said = format!(
        r#"{{"mode":"url","message":"m","url":"https://example.org/{}","elicitationId":"e {}"}}"#,
        a.tag, a.tag
    );
    let complete = notification(
        "notifications/elicitation/complete",
        &format!(r#"{{"elicitationId":"e {}"}}"#, a.tag),
    );
    if a.is_behind(V11) {
        let (code, row) =
            if a.told < V06 { ("-32601", "elicitation") } else { ("-32602", "elicitation-url") };
        refused(a, "elicitation/create", &said, code);
        // Whether it was dropped shows at the end, when nothing may be left.
        a.run("x/do", "", &format!(r#"{{"unasked":{complete}}},{{"say":{complete}}}"#));
        return rows(vec![row, "elicitation-complete"]);
    }
    asks(a, "elicitation/create", (&said, &said), r#""result":{"action":"accept"}"#);
    assert_eq!(a.prompt("notifications/elicitation/complete", &complete).text, complete);
    Outcome::Same
}

pub(super) fn roots(a: &mut Actor) -> Outcome {
    let roots =
        format!(r#""result":{{"roots":[{{"uri":"file:///{}","name":"r","x":1e400}}]}}"#, a.tag);
    asks(a, "roots/list", ("{}", "{}"), &roots);
    let changed = format!(r#"{{"_meta":{{"tag":"{}","n":1e400}}}}"#, a.tag);
    a.notify("notifications/roots/list_changed", &changed);
    let heard = a.run("x/do", "", r#"{"wait":"notifications/roots/list_changed"}"#);
    let expect = notification("notifications/roots/list_changed", &changed);
    assert_eq!(heard.out(&["collected", "0"]), expect);
    Outcome::Same
}
