//! JSON-RPC as the harness needs it: an envelope around raw values, requests, and the check of
//! every answer.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    error::{Failure, Result},
    modern::{self, Era},
};

/// The revision the generator offers: the last one with sessions.
pub(crate) const REVISION: &str = "2025-11-25";
/// The one before, in which an answer that takes a while does not become a stream for that.
pub(crate) const REVISION_BEFORE: &str = "2025-06-18";

/// A message read as far as a relay must.
#[derive(Debug, Deserialize)]
pub(crate) struct Envelope<'a> {
    /// The id, as it was written.
    #[serde(borrow, default)]
    pub(crate) id: Option<&'a RawValue>,
    /// The method, of requests and notifications.
    #[serde(borrow, default)]
    method: Option<Text<'a>>,
    /// The parameters, unread.
    #[serde(borrow, default)]
    pub(crate) params: Option<&'a RawValue>,
}

/// A string, borrowed where it has no escapes.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Text<'a>(#[serde(borrow)] pub(crate) Cow<'a, str>);

impl<'a> Envelope<'a> {
    /// Reads a message.
    ///
    /// # Errors
    /// [`Failure::Peer`] when it is not a JSON object of this shape.
    pub(crate) fn read(message: &'a [u8]) -> Result<Self> {
        serde_json::from_slice(message)
            .map_err(|cause| Failure::Peer(format!("not JSON-RPC ({cause}): {}", start(message))))
    }

    /// The method, of requests and notifications.
    pub(crate) fn method(&self) -> Option<&str> {
        self.method.as_ref().map(|it| it.0.as_ref())
    }
}

/// What the generator asks for, again and again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// Tool `echo` with a text of so many bytes.
    Echo(usize),
    /// Tool `progress` with so many notifications before the answer.
    Progress(u32),
}

/// One call, written, and what its answer must be.
#[derive(Debug)]
pub(crate) struct Call {
    /// The id, unique within the session.
    pub(crate) id: u64,
    /// The request.
    pub(crate) body: Bytes,
    text: String,
    /// How many notifications precede the answer.
    pub(crate) notifications: u32,
    /// The tool that is called.
    pub(crate) tool: &'static str,
    era: Era,
}

impl Call {
    /// The call number `id` of the session number `session`: its text is unlike every other's, so
    /// that an answer to somebody else is found out.
    pub(crate) fn new(ask: &Ask, session: usize, id: u64) -> Self {
        Self::of(Era::Legacy, "", ask, (session, id))
    }

    /// The same, as a client of this era writes it where names of tools begin so.
    pub(crate) fn of(era: Era, prefix: &str, ask: &Ask, (session, id): (usize, u64)) -> Self {
        match *ask {
            Ask::Echo(length) if era == Era::Modern => {
                let text = text(session, id, length);
                let body = modern::call(id, "echo", &format!(r#"{{"text":"{text}"}}"#), "");
                Self { id, body, text, notifications: 0, tool: "echo", era }
            }
            Ask::Progress(count) if era == Era::Modern => {
                let (arguments, token) =
                    (format!(r#"{{"count":{count}}}"#), format!(r#","progressToken":{id}"#));
                let body = modern::call(id, "progress", &arguments, &token);
                let text = format!("{count} notifications");
                Self { id, body, text, notifications: count, tool: "progress", era }
            }
            Ask::Echo(length) => {
                let text = text(session, id, length);
                let body = format!(
                    r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"{prefix}echo","arguments":{{"text":"{text}"}}}}}}"#
                );
                Self { id, body: body.into(), text, notifications: 0, tool: "echo", era }
            }
            Ask::Progress(count) => {
                let body = format!(
                    r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"{prefix}progress","arguments":{{"count":{count}}},"_meta":{{"progressToken":{id}}}}}}}"#
                );
                let text = format!("{count} notifications");
                Self { id, body: body.into(), text, notifications: count, tool: "progress", era }
            }
        }
    }

    /// Checks id and content of the answer.
    ///
    /// # Errors
    /// [`Failure::Wrong`] when either is not this call's.
    pub(crate) fn check(&self, answer: &[u8], notifications: u32) -> Result<()> {
        let wrong = |what: &str| {
            Err(Failure::Wrong(format!("call {}: {what}: {}", self.id, start(answer))))
        };
        let Ok(read) = serde_json::from_slice::<Answer<'_>>(answer) else {
            return wrong("not the answer of a tool");
        };
        if read.jsonrpc.0 != "2.0" || read.id != self.id {
            return wrong("another id");
        }
        match read.result.content.as_slice() {
            [one] if one.kind.0 == "text" && one.text.0 == self.text => {}
            _ => return wrong("another content"),
        }
        if read.result.is_error {
            return wrong("an error of the tool");
        }
        // Whatever the server speaks: the client hears what its own revision says.
        let kind = read.result.kind.as_ref().map(|it| it.0.as_ref());
        if kind != (self.era == Era::Modern).then_some("complete") {
            return wrong("another `resultType`");
        }
        if notifications != self.notifications {
            return wrong(&format!("{notifications} notifications of {}", self.notifications));
        }
        Ok(())
    }
}

impl Call {
    /// Checks the text of an answer that has nothing else.
    ///
    /// # Errors
    /// [`Failure::Wrong`] when it is not this call's.
    pub(crate) fn check_text(&self, said: &str) -> Result<()> {
        if said == self.text {
            return Ok(());
        }
        Err(Failure::Wrong(format!("call {}: another text: {}", self.id, start(said.as_bytes()))))
    }

    /// The words of a JSON-RPC error that answers this call; `None` for any other answer.
    pub(crate) fn refusal(&self, answer: &[u8]) -> Option<String> {
        #[derive(Deserialize)]
        struct Refused {
            id: u64,
            error: Words,
        }
        #[derive(Deserialize)]
        struct Words {
            message: String,
        }
        let read = serde_json::from_slice::<Refused>(answer).ok()?;
        (read.id == self.id).then_some(read.error.message)
    }
}

/// Unlike every other's, and so long where there is room.
fn text(session: usize, id: u64, length: usize) -> String {
    let mut text = format!("session {session} call {id} ");
    let missing = length.saturating_sub(text.len());
    text.extend(std::iter::repeat_n('x', missing));
    text
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    jsonrpc: Text<'a>,
    id: u64,
    #[serde(borrow)]
    result: CallResult<'a>,
}

#[derive(Deserialize)]
struct CallResult<'a> {
    #[serde(borrow)]
    content: Vec<Content<'a>>,
    #[serde(rename = "isError", default)]
    is_error: bool,
    #[serde(borrow, rename = "resultType", default)]
    kind: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct Content<'a> {
    #[serde(rename = "type", borrow)]
    kind: Text<'a>,
    #[serde(borrow)]
    text: Text<'a>,
}

/// The opening request of a session.
pub(crate) fn initialize(id: u64) -> Bytes {
    initialize_in(REVISION, id)
}

/// The same in another revision.
pub(crate) fn initialize_in(revision: &str, id: u64) -> Bytes {
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"method":"initialize","params":{{"protocolVersion":"{revision}","capabilities":{{}},"clientInfo":{{"name":"gateway-bench","version":"1"}}}}}}"#
    )
    .into()
}

/// The notification that ends the opening of a session.
pub(crate) fn initialized() -> Bytes {
    Bytes::from_static(br#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#)
}

/// The request for the tools.
pub(crate) fn list_tools(id: u64) -> Bytes {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/list","params":{{}}}}"#).into()
}

/// Checks an `InitializeResult`, and returns the revision agreed on.
///
/// # Errors
/// [`Failure::Wrong`] when it is none, or the answer to another request.
pub(crate) fn check_initialize(answer: &[u8], id: u64) -> Result<String> {
    #[derive(Deserialize)]
    struct Opened {
        id: u64,
        result: Agreed,
    }
    #[derive(Deserialize)]
    struct Agreed {
        #[serde(rename = "protocolVersion")]
        revision: String,
    }
    match serde_json::from_slice::<Opened>(answer) {
        Ok(opened) if opened.id == id => Ok(opened.result.revision),
        _ => Err(Failure::Wrong(format!("to initialize: {}", start(answer)))),
    }
}

/// Checks that a `tools/list` holds our upstream's `echo`, with this before its name.
///
/// # Errors
/// [`Failure::Wrong`] when it does not.
pub(crate) fn check_list(answer: &[u8], id: u64, prefix: &str) -> Result<()> {
    #[derive(Deserialize)]
    struct Listed {
        id: u64,
        result: Tools,
    }
    #[derive(Deserialize)]
    struct Tools {
        tools: Vec<Tool>,
    }
    #[derive(Deserialize)]
    struct Tool {
        name: String,
    }
    let has = |tools: &[Tool]| tools.iter().any(|it| it.name.strip_prefix(prefix) == Some("echo"));
    match serde_json::from_slice::<Listed>(answer) {
        Ok(listed) if listed.id == id && has(&listed.result.tools) => Ok(()),
        _ => Err(Failure::Wrong(format!("to tools/list: {}", start(answer)))),
    }
}

/// The start of a message, for an error's text.
pub(crate) fn start(message: &[u8]) -> String {
    const SHOWN: usize = 200;
    let text = String::from_utf8_lossy(message.get(..SHOWN).unwrap_or(message));
    if SHOWN < message.len() { format!("{text}…") } else { text.into_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(id: &str, text: &str) -> String {
        format!(
            r#"{{"jsonrpc":"2.0","id":{id},"result":{{"content":[{{"type":"text","text":"{text}"}}]}}}}"#
        )
    }

    #[test]
    fn an_echo_has_the_length_asked_for() {
        for length in [100, 65_536] {
            assert_eq!(Call::new(&Ask::Echo(length), 63, 12_345).text.len(), length);
        }
    }

    #[test]
    fn only_its_own_answer_is_right() {
        let call = Call::new(&Ask::Echo(100), 3, 17);
        call.check(answer("17", &call.text).as_bytes(), 0).unwrap();
        let other = Call::new(&Ask::Echo(100), 4, 17);
        for wrong in [
            answer("18", &call.text),
            answer("\"17\"", &call.text),
            answer("17", &other.text),
            answer("17", ""),
            r#"{"jsonrpc":"2.0","id":17,"error":{"code":-32603,"message":"x"}}"#.to_owned(),
            answer("17", &call.text).replace("2.0", "1.0"),
            answer("17", &call.text).replace("}]}", "}],\"isError\":true}"),
            "<html>".to_owned(),
        ] {
            let found = call.check(wrong.as_bytes(), 0);
            assert!(matches!(found, Err(Failure::Wrong(_))), "{wrong}");
        }
        assert!(call.check(answer("17", &call.text).as_bytes(), 1).is_err());
    }

    #[test]
    fn only_an_error_for_this_very_call_is_its_refusal() {
        let call = Call::new(&Ask::Echo(100), 3, 17);
        let error = |id| format!(r#"{{"id":{id},"error":{{"code":-32603,"message":"x"}}}}"#);
        assert_eq!(call.refusal(error(17).as_bytes()).as_deref(), Some("x"));
        assert_eq!(call.refusal(error(18).as_bytes()), None);
        assert_eq!(call.refusal(answer("17", &call.text).as_bytes()), None);
    }

    #[test]
    fn openings_are_checked() {
        let good = br#"{"jsonrpc":"2.0","id":0,"result":{"protocolVersion":"2025-06-18"}}"#;
        assert_eq!(check_initialize(good, 0).unwrap(), "2025-06-18");
        assert!(check_initialize(good, 1).is_err());
        assert!(check_initialize(b"{}", 0).is_err());
        let list = br#"{"id":1,"result":{"tools":[{"name":"echo"}]}}"#;
        check_list(list, 1, "").unwrap();
        assert!(check_list(list, 1, "up_").is_err());
        assert!(check_list(br#"{"id":1,"result":{"tools":[]}}"#, 1, "").is_err());
    }
}
