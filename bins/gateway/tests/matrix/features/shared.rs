//! What two clients that share a session of the server must not notice of each other.

use super::Outcome;
use crate::{
    actor::{Actor, notification, script},
    puppet::HUNG,
    said::inside,
};

/// One cancels a request; the other has one under the same id, which goes on.
pub(super) fn cancelled(a: &mut Actor) -> Outcome {
    let [begun, done] = ["begun", "done"].map(|it| format!(r#"{{"meet":"{} {it}"}}"#, a.cell));
    let progress = r#"{"progress":{"progress":1}}"#;
    if a.tag == "ann" {
        let id = a.send(
            "tools/call",
            &script(r#""name":"x""#, &format!(r#"{begun},{progress},{{"hang":1}}"#)),
        );
        a.told("notifications/progress");
        a.notify("notifications/cancelled", &format!(r#"{{"requestId":{id}}}"#));
        a.forget(&id);
        a.run("x/do", "", &format!(r#"{{"wait":"{HUNG}"}},{done}"#));
    } else {
        let result = r#"{"result":{"content":[],"of":"bob"}}"#;
        let id = a.send(
            "tools/call",
            &script(r#""name":"x""#, &format!("{begun},{progress},{done},{result}")),
        );
        a.told("notifications/progress");
        assert_eq!(a.answer(&id).out(&["of"]), r#""bob""#);
    }
    Outcome::Same
}

/// News of a resource come to whoever has subscribed to it.
pub(super) fn updated(a: &mut Actor) -> Outcome {
    let uri = format!(r#""uri":"x:/{}""#, a.tag);
    a.run("resources/subscribe", &uri, r#"{"result":{}}"#);
    let news = |tag: &str| {
        notification("notifications/resources/updated", &format!(r#"{{"uri":"x:/{tag}"}}"#))
    };
    if a.tag == "ann" {
        let both = format!(
            r#"{{"meet":"{0} updated"}},{{"unasked":{1}}},{{"unasked":{2}}}"#,
            a.cell,
            news("bob"),
            news("ann")
        );
        a.run("x/do", "", &both);
    } else {
        a.run("x/do", "", &format!(r#"{{"meet":"{} updated"}}"#, a.cell));
    }
    assert_eq!(a.told("notifications/resources/updated").text, news(a.tag));
    a.run("resources/unsubscribe", &uri, r#"{"result":{}}"#);
    Outcome::Same
}

/// Nobody has said that it could be asked.
pub(super) fn questions(a: &mut Actor) -> Outcome {
    let ask = r#"{"ask":{"method":"roots/list","params":{},"unasked":1}}"#;
    let answer = a.run("tools/call", r#""name":"x""#, ask).out(&["collected", "0"]);
    assert_eq!(inside(&answer, &["error", "code"]).as_deref(), Some("-32601"), "{answer}");
    Outcome::Same
}
