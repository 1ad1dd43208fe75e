//! The server behind everything: a legacy MCP server with four tools, on each transport.

mod http;
mod pipe;

use std::{
    str::FromStr,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    error::{Failure, Result},
    rpc::{Envelope, REVISION},
};
pub(crate) use {http::serve, pipe::run as serve_pipe};

/// Of `blob`.
const BLOB_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Of `progress`.
const PROGRESS_COUNT_MAX: u32 = 1000;
/// Of `sleep`.
const SLEEP_MAX: Duration = Duration::from_secs(60);
/// A lying upstream gives every so-manieth call a wrong answer.
const LIE_EVERY: u64 = 10;
const REVISIONS: [&str; 4] = [REVISION, "2025-06-18", "2025-03-26", "2024-11-05"];
const TOOLS: &str = r#"[{"name":"echo","description":"Returns its text","inputSchema":{"type":"object","properties":{"text":{"type":"string"}},"required":["text"]}},{"name":"blob","description":"Returns so many bytes","inputSchema":{"type":"object","properties":{"bytes":{"type":"integer"}},"required":["bytes"]}},{"name":"sleep","description":"Answers after so many milliseconds","inputSchema":{"type":"object","properties":{"ms":{"type":"integer"}},"required":["ms"]}},{"name":"progress","description":"Sends so many notifications, then answers","inputSchema":{"type":"object","properties":{"count":{"type":"integer"}},"required":["count"]}}]"#;

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
}

/// The server itself, without a wire.
#[derive(Debug, Default)]
pub(crate) struct Tools {
    lie: Option<Lie>,
    calls: AtomicU64,
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
    /// A server which is honest, or not.
    pub(crate) fn new(lie: Option<Lie>) -> Self {
        Self { lie, calls: AtomicU64::new(0) }
    }

    /// What to do about `message`.
    ///
    /// # Errors
    /// [`Failure::Peer`] when it is not JSON-RPC.
    pub(crate) fn act(&self, message: &[u8]) -> Result<Action> {
        let read = Envelope::read(message)?;
        let (Some(id), Some(method)) = (read.id, read.method()) else {
            return Ok(Action::Nothing);
        };
        let id = id.get();
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
        match (params.name, given.text) {
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

fn text(id: &str, text: &str) -> Bytes {
    let mut answer = String::with_capacity(80 + id.len() + text.len());
    for part in [
        r#"{"jsonrpc":"2.0","id":"#,
        id,
        r#","result":{"content":[{"type":"text","text":"#,
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
        match tools.act(message).unwrap() {
            Action::Answer(answer) | Action::AnswerBehind(_, answer) => answer,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_generator_is_content_with_an_honest_server() {
        let tools = Tools::new(None);
        assert_eq!(check_initialize(&answer(&tools, &initialize(0)), 0).unwrap(), REVISION);
        check_list(&answer(&tools, &list_tools(1)), 1).unwrap();
        for ask in [Ask::Echo(100), Ask::Progress(3)] {
            let call = Call::new(&ask, 1, 2);
            call.check(&answer(&tools, &call.body), call.notifications).unwrap();
        }
        assert_eq!(tools.act(&crate::rpc::initialized()).unwrap(), Action::Nothing);
    }

    #[test]
    fn the_generator_sees_every_lie() {
        for lie in [Lie::Id, Lie::Content] {
            let tools = Tools::new(Some(lie));
            let wrong = (0..100).filter(|id| {
                let call = Call::new(&Ask::Echo(100), 1, *id);
                call.check(&answer(&tools, &call.body), 0).is_err()
            });
            assert_eq!(wrong.count(), 10, "{lie:?}");
        }
    }

    #[test]
    fn arguments_have_limits() {
        let tools = Tools::new(None);
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
