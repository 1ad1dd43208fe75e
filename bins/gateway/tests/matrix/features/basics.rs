//! The handshake, and what JSON-RPC itself has.

use super::{Outcome, V03, V11, odd, rows};
use crate::{
    actor::{Actor, notification, request, script},
    puppet,
    said::inside,
};

pub(super) fn initialize(a: &mut Actor) -> Outcome {
    assert_eq!(a.told, a.cell.client.min(a.cell.server), "its own, or an older one");
    let (mut hidden, mut found) = (Vec::new(), Vec::new());
    if a.is_behind(V03) {
        hidden.push("completions");
        found.push("completions-capability");
    }
    if a.is_behind(V11) {
        hidden.push("tasks");
        found.push("tasks-capability");
    }
    let greeting = puppet::greeting(a.told, &puppet::capabilities(a.server(), &hidden));
    assert_eq!(a.greeting.result.as_deref(), Some(&*greeting));
    let hello = a.run("x/do", "", r#"{"hello":1}"#).out(&["collected", "0"]);
    assert_eq!(hello, a.hello, "the server is offered what the client asked for");
    rows(found)
}

pub(super) fn ping(a: &mut Actor) -> Outcome {
    let answer = a.run("ping", "", r#"{"result":{"_meta":{"n":1e400}}}"#);
    assert_eq!(answer.result.unwrap(), r#"{"_meta":{"n":1e400}}"#);
    assert_eq!(a.run("ping", "", r#"{"result":{}}"#).result.unwrap(), "{}");
    Outcome::Same
}

pub(super) fn pong(a: &mut Actor) -> Outcome {
    let answer =
        a.run("x/do", "", r#"{"ask":{"method":"ping"}},{"ask":{"method":"ping","unasked":1}}"#);
    for at in ["0", "1"] {
        let pong = answer.out(&["collected", at]);
        assert_eq!(inside(&pong, &["result"]).as_deref(), Some("{}"), "{pong}");
    }
    Outcome::Same
}

pub(super) fn ids(a: &mut Actor) -> Outcome {
    for id in [r#""a\"b""#, "-1", "9007199254740993", r#""-1""#, r#""""#] {
        let odd = odd(a.tag);
        let params = script(
            "",
            &format!(
                r#"{{"meet":"{} {}"}},{{"result":{odd}}}"#,
                a.cell,
                id.replace('"', "'").replace('\\', "")
            ),
        );
        a.send_as(id, "x/do", &params);
        assert_eq!(a.answer(id).result.unwrap(), odd);
    }
    Outcome::Same
}

pub(super) fn unknown(a: &mut Actor) -> Outcome {
    let odd = odd(a.tag);
    let params = script(&format!(r#""x":{odd}"#), r#"{"mirror":1}"#);
    for method in ["x/do", "completion/x", "notifications"] {
        assert_eq!(a.ask(method, &params).out(&["collected", "0", "x"]), odd);
    }
    a.notify("notifications/x", &odd);
    let heard = a.run("x/do", "", r#"{"wait":"notifications/x"}"#);
    assert_eq!(heard.out(&["collected", "0"]), notification("notifications/x", &odd));
    let said = notification("notifications/y", &odd);
    a.run("x/do", "", &format!(r#"{{"say":{said}}}"#));
    assert_eq!(a.told("notifications/y").text, said);
    assert_eq!(a.prompt("notifications/y", &said).text, said);
    let id = a.send(
        "x/do",
        &script("", &format!(r#"{{"ask":{{"method":"x/question","params":{odd}}}}}"#)),
    );
    let question = a.told("x/question");
    assert_eq!(question.params.as_deref(), Some(&*odd));
    a.reply(&question, &format!(r#""result":{odd}"#));
    assert_eq!(inside(&a.answer(&id).out(&["collected", "0"]), &["result"]).unwrap(), odd);
    Outcome::Same
}

pub(super) fn errors(a: &mut Actor) -> Outcome {
    let odd = odd(a.tag);
    for error in [
        format!(r#"{{"code":-32601,"message":"no such method","data":{odd}}}"#),
        format!(r#"{{"data":{odd}, "message":"\u00fc \"{}\"","code":4001,"x":1e400}}"#, a.tag),
        r#"{"code":-1,"message":""}"#.to_owned(),
        r#"{"code":-32002,"message":"no such resource","data":{"uri":"x:/"}}"#.to_owned(),
        r#"{"code":9007199254740993,"message":"beyond 53 bits","data":null}"#.to_owned(),
    ] {
        for method in ["x/do", "tools/call", "resources/read"] {
            let rest = if method == "tools/call" { r#""name":"x""# } else { r#""uri":"x:/""# };
            let answer = a.run(method, rest, &format!(r#"{{"error":{error}}}"#));
            assert_eq!(answer.error.as_deref(), Some(&*error), "{method}");
        }
        // The other way round.
        let id = a.send("x/do", &script("", r#"{"ask":{"method":"x/question"}}"#));
        let question = a.told("x/question");
        a.reply(&question, &format!(r#""error":{error}"#));
        let heard = a.answer(&id).out(&["collected", "0"]);
        assert_eq!(inside(&heard, &["error"]).unwrap(), error);
    }
    Outcome::Same
}

/// Those of a client of 2025-03-26, and those of a server that speaks it.
pub(super) fn batches(a: &mut Actor) -> Outcome {
    if a.told == V03 {
        let said = [
            request(r#""one""#, "ping", "{}"),
            notification("notifications/x", r#"{"a":1}"#),
            request("-2", "x/do", &script("", r#"{"wait":"notifications/x"}"#)),
        ];
        a.expect_answer(r#""one""#, "ping", "");
        a.expect_answer("-2", "x/do", "");
        a.say(&format!("[{}]", said.join(", ")));
        a.answer(r#""one""#);
        assert_eq!(a.answer("-2").out(&["collected", "0"]), said[1]);
    }
    if a.server() == V03 {
        let [one, two] = ["one", "two"]
            .map(|it| notification("notifications/z", &format!(r#"{{"is":"{it} {}"}}"#, a.tag)));
        a.run("x/do", "", &format!(r#"{{"say":[{one},{two}]}}"#));
        assert_eq!([a.told("notifications/z").text, a.told("notifications/z").text], [one, two]);
    }
    if a.told == V03 || a.server() == V03 { Outcome::Same } else { Outcome::Absent }
}
