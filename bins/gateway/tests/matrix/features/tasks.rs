//! Tasks, which 2025-11-25 alone has, on both sides.

use super::{Outcome, V11, rows};
use crate::{
    actor::{Actor, notification, script},
    said::inside,
};

fn task(id: &str, status: &str) -> String {
    format!(
        r#"{{"taskId":"{id}","status":"{status}","createdAt":"2025-11-25T10:30:00Z","lastUpdatedAt":"2025-11-25T10:40:00Z","ttl":null, "pollInterval":500,"x":1e400}}"#
    )
}

pub(super) fn of_server(a: &mut Actor) -> Outcome {
    if a.server() < V11 {
        return Outcome::Absent;
    }
    let id = format!("task {}", a.tag);
    let status = notification("notifications/tasks/status", &task(&id, "completed"));
    if a.is_behind(V11) {
        // Whether it was dropped shows at the end, when nothing may be left.
        a.run("x/do", "", &format!(r#"{{"unasked":{status}}},{{"say":{status}}}"#));
        return rows(vec!["task-status-to-client"]);
    }
    let began = format!(r#"{{"task":{},"_meta":{{"n":1e400}}}}"#, task(&id, "working"));
    let answer = a.run(
        "tools/call",
        r#""name":"x","task":{"ttl":60000}"#,
        &format!(r#"{{"result":{began}}}"#),
    );
    assert_eq!(answer.result.unwrap(), began);
    assert_eq!(a.prompt("notifications/tasks/status", &status).text, status);
    let related = format!(
        r#"{{"content":[{{"type":"text","text":"{}"}}],"_meta":{{"io.modelcontextprotocol/related-task":{{"taskId":"{id}"}}}}}}"#,
        a.tag
    );
    for (method, result) in [
        ("tasks/get", task(&id, "working")),
        ("tasks/cancel", task(&id, "cancelled")),
        ("tasks/result", related),
        ("tasks/list", format!(r#"{{"tasks":[{}],"nextCursor":"c"}}"#, task(&id, "failed"))),
    ] {
        let rest =
            if method == "tasks/list" { String::new() } else { format!(r#""taskId":"{id}""#) };
        let answer = a.run(method, &rest, &format!(r#"{{"result":{result}}}"#));
        assert_eq!(answer.result.unwrap(), result, "{method}");
    }
    Outcome::Same
}

/// A client may answer a question with a task, too.
pub(super) fn of_client(a: &mut Actor) -> Outcome {
    if a.server() < V11 {
        return Outcome::Absent;
    }
    let id = format!("mine {}", a.tag);
    let get = format!(r#"{{"ask":{{"method":"tasks/get","params":{{"taskId":"{id}"}}}}}}"#);
    if a.is_behind(V11) {
        let answer = a.run("tools/call", r#""name":"x""#, &get).out(&["collected", "0"]);
        assert_eq!(inside(&answer, &["error", "code"]).as_deref(), Some("-32601"), "{answer}");
        return rows(vec!["tasks-of-client"]);
    }
    let asked = r#"{"messages":[],"maxTokens":1,"task":{"ttl":1000}}"#;
    let sample = format!(r#"{{"ask":{{"method":"sampling/createMessage","params":{asked}}}}}"#);
    let call = a.send("tools/call", &script(r#""name":"x""#, &format!("{sample},{get}")));
    let question = a.told("sampling/createMessage");
    assert_eq!(question.params.as_deref(), Some(asked));
    a.reply(&question, &format!(r#""result":{{"task":{}}}"#, task(&id, "working")));
    let question = a.told("tasks/get");
    let done = task(&id, "completed");
    a.reply(&question, &format!(r#""result":{done}"#));
    let answer = a.answer(&call).out(&["collected", "1"]);
    assert_eq!(inside(&answer, &["result"]).unwrap(), done);
    let status = notification("notifications/tasks/status", &done);
    a.say(&status);
    let heard = a.run("x/do", "", r#"{"wait":"notifications/tasks/status"}"#);
    assert_eq!(heard.out(&["collected", "0"]), status);
    Outcome::Same
}
