//! The server behind everything: an MCP server with five tools, on each transport, of one era.

mod http;
mod pipe;

use std::{
    collections::HashMap,
    str::FromStr,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use hyper::HeaderMap;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    error::{Failure, Result},
    modern::{self, Era},
    rpc::{Envelope, REVISION, REVISION_BEFORE},
};
pub(crate) use {http::serve, pipe::run as serve_pipe};

/// Of `blob`.
const BLOB_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Of `progress`.
const PROGRESS_COUNT_MAX: u32 = 1000;
/// Of `sleep`.
const SLEEP_MAX: Duration = Duration::from_secs(60);
/// This many calls of `confirm` wait for an answer; a further one is refused.
const ASKED_MAX: usize = 100_000;
/// A lying upstream gives every so-manieth call a wrong answer.
const LIE_EVERY: u64 = 10;
const REVISIONS: [&str; 4] = [REVISION, REVISION_BEFORE, "2025-03-26", "2024-11-05"];
const TOOLS: &str = r#"[{"name":"echo","description":"Returns its text","inputSchema":{"type":"object","properties":{"text":{"type":"string"}},"required":["text"]}},{"name":"blob","description":"Returns so many bytes","inputSchema":{"type":"object","properties":{"bytes":{"type":"integer"}},"required":["bytes"]}},{"name":"sleep","description":"Answers after so many milliseconds","inputSchema":{"type":"object","properties":{"ms":{"type":"integer"}},"required":["ms"]}},{"name":"progress","description":"Sends so many notifications, then answers","inputSchema":{"type":"object","properties":{"count":{"type":"integer"}},"required":["count"]}},{"name":"confirm","description":"Asks its caller for a word, then returns its text with that","inputSchema":{"type":"object","properties":{"text":{"type":"string"}},"required":["text"]}}]"#;

/// How an upstream answers wrongly, to show that the generator sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lie {
    /// With another id.
    Id,
    /// With another text.
    Content,
}

impl FromStr for Lie {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "id" => Ok(Self::Id),
            "content" => Ok(Self::Content),
            _ => Err(()),
        }
    }
}

impl Lie {
    /// The text which [`FromStr`] reads.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Content => "content",
        }
    }
}

/// What the server does about a message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Nothing: it was no request.
    Nothing,
    /// Answer.
    Answer(Bytes),
    /// Wait, then answer.
    AnswerAfter(Duration, Bytes),
    /// Send these notifications, then answer.
    AnswerBehind(Vec<Bytes>, Bytes),
    /// Ask this, in the call which then waits under this number.
    Ask(u64, Bytes),
    /// Answer the call that waits under this number.
    GoOn(u64, Bytes),
    /// Answer with this error: over HTTP with 400.
    Refuse(Bytes),
}

/// The server itself, without a wire.
#[derive(Debug, Default)]
pub(crate) struct Tools {
    era: Era,
    lie: Option<Lie>,
    calls: AtomicU64,
    /// Calls that wait for their callers' answers, by the ids of their questions: their own ids
    /// and texts, as they were written.
    asked: Mutex<HashMap<u64, (String, String)>>,
    last_asked: AtomicU64,
}

#[derive(Deserialize)]
struct CallParams<'a> {
    #[serde(borrow)]
    name: &'a str,
    #[serde(borrow, default)]
    arguments: Arguments<'a>,
    #[serde(borrow, rename = "_meta", default)]
    meta: Meta<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Arguments<'a> {
    #[serde(borrow)]
    text: Option<&'a RawValue>,
    bytes: usize,
    ms: u64,
    count: u32,
}

#[derive(Default, Deserialize)]
struct Meta<'a> {
    #[serde(borrow, rename = "progressToken")]
    token: Option<&'a RawValue>,
}

impl Tools {
    /// A server of this era which is honest, or not.
    pub(crate) fn new(era: Era, lie: Option<Lie>) -> Self {
        Self { era, lie, ..Self::default() }
    }

    /// What to do about `message`, and the fields that it came with, if it came over HTTP.
    ///
    /// # Errors
    /// [`Failure::Peer`] when it is not JSON-RPC.
    pub(crate) fn act(&self, message: &[u8], headers: Option<&HeaderMap>) -> Result<Action> {
        let read = Envelope::read(message)?;
        let (id, method) = match (read.id, read.method()) {
            (Some(id), Some(method)) => (id.get(), method),
            (Some(id), None) => return Ok(self.go_on(id.get(), message)),
            (None, _) => return Ok(Action::Nothing),
        };
        if self.era == Era::Modern {
            if let Err(refusal) = modern::check_request(method, read.params, headers) {
                return Ok(Action::Refuse(refused(id, refusal)));
            }
            match method {
                "server/discover" => return Ok(Action::Answer(result(id, DISCOVERED))),
                "tools/list" => {
                    let list = format!(r#"{{{COMPLETE},{CACHE},"tools":{TOOLS}}}"#);
                    return Ok(Action::Answer(result(id, &list)));
                }
                "tools/call" => {}
                _ => return Ok(Action::Answer(error(id, -32601, "method not found"))),
            }
        }
        Ok(match method {
            "tools/call" => match read.params.map(|it| serde_json::from_str(it.get())) {
                Some(Ok(params)) => self.call(id, &params),
                _ => Action::Answer(error(id, -32602, "arguments are missing or wrong")),
            },
            "tools/list" => Action::Answer(result(id, &format!(r#"{{"tools":{TOOLS}}}"#))),
            "initialize" => Action::Answer(initialize(id, read.params)),
            "ping" => Action::Answer(result(id, "{}")),
            _ => Action::Answer(error(id, -32601, "method not found")),
        })
    }

    fn call(&self, id: &str, params: &CallParams<'_>) -> Action {
        let lie = self
            .lie
            .filter(|_| self.calls.fetch_add(1, Ordering::Relaxed) % LIE_EVERY == LIE_EVERY - 1);
        let id = if lie == Some(Lie::Id) { "4611686018427387904" } else { id };
        let given = &params.arguments;
        let text = |id: &str, said: &str| text(self.era, id, said);
        match (params.name, given.text) {
            ("confirm", Some(said)) if self.era == Era::Legacy => self.ask(id, said.get()),
            ("echo", Some(_)) if lie == Some(Lie::Content) => {
                Action::Answer(text(id, r#""not what you said""#))
            }
            ("echo", Some(said)) => Action::Answer(text(id, said.get())),
            ("blob", _) if given.bytes <= BLOB_BYTES_MAX => {
                Action::Answer(text(id, &format!("\"{}\"", "x".repeat(given.bytes))))
            }
            ("sleep", _) if given.ms <= SLEEP_MAX.as_millis() as u64 => {
                let answer = text(id, &format!("\"{} ms\"", given.ms));
                Action::AnswerAfter(Duration::from_millis(given.ms), answer)
            }
            ("progress", _) if given.count <= PROGRESS_COUNT_MAX => {
                let answer = text(id, &format!("\"{} notifications\"", given.count));
                let Some(token) = params.meta.token else { return Action::Answer(answer) };
                let note = |nth| progress(token.get(), nth, given.count);
                Action::AnswerBehind((1..=given.count).map(note).collect(), answer)
            }
            _ => Action::Answer(error(id, -32602, "no such tool, or arguments beyond its limits")),
        }
    }

    /// Asks the caller of `id` for a word.
    fn ask(&self, id: &str, text: &str) -> Action {
        let question = self.last_asked.fetch_add(1, Ordering::Relaxed) + 1;
        let mut asked = self.asked();
        if ASKED_MAX <= asked.len() {
            return Action::Answer(error(id, -32603, "too many calls wait for answers"));
        }
        asked.insert(question, (id.to_owned(), text.to_owned()));
        drop(asked);
        let written = format!(
            r#"{{"jsonrpc":"2.0","id":{question},"method":"elicitation/create","params":{{"mode":"form","message":{text},"requestedSchema":{{"type":"object","properties":{{"word":{{"type":"string"}}}},"required":["word"]}}}}}}"#
        );
        Action::Ask(question, written.into())
    }

    /// What an answer brings about: that of the call which waits for it.
    fn go_on(&self, question: &str, message: &[u8]) -> Action {
        #[derive(Deserialize)]
        struct Answer<'a> {
            #[serde(borrow)]
            result: Elicited<'a>,
        }
        #[derive(Deserialize)]
        struct Elicited<'a> {
            #[serde(borrow)]
            content: Words<'a>,
        }
        #[derive(Deserialize)]
        struct Words<'a> {
            #[serde(borrow)]
            word: &'a RawValue,
        }
        let Ok(question) = question.parse() else { return Action::Nothing };
        let Some((id, text)) = self.asked().remove(&question) else { return Action::Nothing };
        let answer = match serde_json::from_slice::<Answer<'_>>(message) {
            Ok(answer) => {
                // Both are JSON strings, and so is what is between their outer quotes.
                let before = text.strip_suffix('"').unwrap_or_default();
                let word = answer.result.content.word.get().strip_prefix('"').unwrap_or_default();
                self::text(self.era, &id, &format!("{before} {word}"))
            }
            Err(_) => error(&id, -32603, "its caller gave no word"),
        };
        Action::GoOn(question, answer)
    }

    fn asked(&self) -> MutexGuard<'_, HashMap<u64, (String, String)>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Of every result of 2026-07-28 that is one.
const COMPLETE: &str = r#""resultType":"complete""#;
/// Of those that may be kept.
const CACHE: &str = r#""ttlMs":60000,"cacheScope":"public""#;
/// To `server/discover`.
const DISCOVERED: &str = r#"{"resultType":"complete","ttlMs":60000,"cacheScope":"public","supportedVersions":["2026-07-28"],"capabilities":{"tools":{}},"_meta":{"io.modelcontextprotocol/serverInfo":{"name":"gateway-bench","version":"1"}}}"#;

fn refused(id: &str, (code, words, more): modern::Refusal) -> Bytes {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":{code},"message":"{words}"{more}}}}}"#)
        .into()
}

fn initialize(id: &str, params: Option<&RawValue>) -> Bytes {
    #[derive(Deserialize)]
    struct Wanted<'a> {
        #[serde(borrow, rename = "protocolVersion")]
        revision: &'a str,
    }
    let wanted = params.and_then(|it| serde_json::from_str::<Wanted<'_>>(it.get()).ok());
    let wanted = wanted.map_or(REVISION, |it| it.revision);
    let agreed = REVISIONS.iter().find(|it| **it == wanted).unwrap_or(&REVISION);
    result(
        id,
        &format!(
            r#"{{"protocolVersion":"{agreed}","capabilities":{{"tools":{{}}}},"serverInfo":{{"name":"gateway-bench","version":"1"}}}}"#
        ),
    )
}

fn text(era: Era, id: &str, text: &str) -> Bytes {
    let mut answer = String::with_capacity(110 + id.len() + text.len());
    let (kind, comma) = if era == Era::Modern { (COMPLETE, ",") } else { ("", "") };
    for part in [
        r#"{"jsonrpc":"2.0","id":"#,
        id,
        r#","result":{"#,
        kind,
        comma,
        r#""content":[{"type":"text","text":"#,
        text,
        "}]}}",
    ] {
        answer.push_str(part);
    }
    answer.into()
}

fn result(id: &str, result: &str) -> Bytes {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#).into()
}

fn error(id: &str, code: i32, message: &str) -> Bytes {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":{code},"message":"{message}"}}}}"#)
        .into()
}

fn progress(token: &str, nth: u32, total: u32) -> Bytes {
    format!(
        r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":{token},"progress":{nth},"total":{total}}}}}"#
    )
    .into()
}

/// The error for a body that is no message.
pub(crate) fn unreadable(cause: &Failure) -> Bytes {
    let text = serde_json::Value::from(cause.to_string());
    format!(r#"{{"jsonrpc":"2.0","error":{{"code":-32700,"message":{text}}}}}"#).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::{Ask, Call, check_initialize, check_list, initialize, list_tools};

    fn answer(tools: &Tools, message: &[u8]) -> Bytes {
        match tools.act(message, None).unwrap() {
            Action::Answer(answer) | Action::AnswerBehind(_, answer) | Action::Refuse(answer) => {
                answer
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_generator_is_content_with_an_honest_server() {
        let tools = Tools::new(Era::Legacy, None);
        assert_eq!(check_initialize(&answer(&tools, &initialize(0)), 0).unwrap(), REVISION);
        check_list(&answer(&tools, &list_tools(1)), 1, "").unwrap();
        for ask in [Ask::Echo(100), Ask::Progress(3)] {
            let call = Call::new(&ask, 1, 2);
            call.check(&answer(&tools, &call.body), call.notifications).unwrap();
        }
        assert_eq!(tools.act(&crate::rpc::initialized(), None).unwrap(), Action::Nothing);
    }

    #[test]
    fn nor_does_it_miss_anything_in_2026_07_28() {
        let tools = Tools::new(Era::Modern, None);
        let discovered = answer(&tools, &modern::request(0, "server/discover"));
        modern::check_discovered(&discovered, 0).unwrap();
        check_list(&answer(&tools, &modern::request(1, "tools/list")), 1, "").unwrap();
        for ask in [Ask::Echo(100), Ask::Progress(3)] {
            let call = Call::of(Era::Modern, "", &ask, (1, 2));
            call.check(&answer(&tools, &call.body), call.notifications).unwrap();
            let legacy = Call::new(&ask, 1, 2);
            let refused = answer(&tools, &legacy.body);
            assert!(legacy.refusal(&refused).unwrap().contains("alone"), "{refused:?}");
            // Each client hears what its own revision says, and nothing else.
            let tools = Tools::new(Era::Legacy, None);
            assert!(call.check(&answer(&tools, &call.body), call.notifications).is_err());
        }
    }

    #[test]
    fn a_call_that_asks_goes_on_with_the_answer_to_its_own_question() {
        let tools = Tools::new(Era::Legacy, None);
        let calls = [modern::Asking::new(1), modern::Asking::new(2)];
        let questions = calls.each_ref().map(|call| match tools.act(&call.body(), None).unwrap() {
            Action::Ask(number, _) => number,
            other => panic!("{other:?}"),
        });
        for (call, number) in calls.iter().zip(questions).rev() {
            let word = format!(
                r#"{{"id":{number},"result":{{"action":"accept","content":{{"word":"word {}"}}}}}}"#,
                call.id()
            );
            let Action::GoOn(to, said) = tools.act(word.as_bytes(), None).unwrap() else {
                panic!("nothing goes on");
            };
            assert_eq!(to, number);
            let expected = format!(r#""text":"call {0} of those that wait word {0}""#, call.id());
            assert!(String::from_utf8_lossy(&said).contains(&expected), "{said:?}");
            assert_eq!(tools.act(word.as_bytes(), None).unwrap(), Action::Nothing, "once");
        }
    }

    #[test]
    fn the_generator_sees_every_lie() {
        for lie in [Lie::Id, Lie::Content] {
            let tools = Tools::new(Era::Legacy, Some(lie));
            let wrong = (0..100).filter(|id| {
                let call = Call::new(&Ask::Echo(100), 1, *id);
                call.check(&answer(&tools, &call.body), 0).is_err()
            });
            assert_eq!(wrong.count(), 10, "{lie:?}");
        }
    }

    #[test]
    fn arguments_have_limits() {
        let tools = Tools::new(Era::Legacy, None);
        for (name, arguments) in [
            ("blob", r#"{"bytes":33554433}"#),
            ("sleep", r#"{"ms":60001}"#),
            ("progress", r#"{"count":1001}"#),
            ("echo", "{}"),
            ("none", "{}"),
        ] {
            let call = format!(
                r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{name}","arguments":{arguments}}}}}"#
            );
            let answer = answer(&tools, call.as_bytes());
            assert!(answer.windows(6).any(|it| it == b"-32602"), "{name}: {answer:?}");
        }
    }
}
