//! 2026-07-28 as the harness speaks it: what requests say about themselves in `_meta` and in
//! fields, what a server checks of that, and answers that are questions.

use std::collections::HashMap;

use bytes::Bytes;
use hyper::{HeaderMap, header::HeaderValue};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    error::{Failure, Result},
    rpc::{Text, start},
};

/// The revision.
pub(crate) const REVISION: &str = "2026-07-28";
/// The field that repeats the revision.
pub(crate) const VERSION_FIELD: &str = "mcp-protocol-version";
/// The field that repeats the method.
pub(crate) const METHOD_FIELD: &str = "mcp-method";
/// The field that repeats the name of a tool.
pub(crate) const NAME_FIELD: &str = "mcp-name";
/// Field and body do not say the same, or a field is missing.
pub(crate) const HEADER_MISMATCH: i32 = -32020;
/// A revision that the server does not speak.
pub(crate) const UNSUPPORTED_VERSION: i32 = -32022;
/// What requests say about a client that can be asked nothing: members of `_meta`.
const META: &str = r#""io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"gateway-bench","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}"#;
/// The same of one that can be asked to fill in a form.
const META_FORM: &str = r#""io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"gateway-bench","version":"1"},"io.modelcontextprotocol/clientCapabilities":{"elicitation":{"form":{}}}"#;

/// Which revisions a peer speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Era {
    /// Those with a handshake.
    #[default]
    Legacy,
    /// 2026-07-28.
    Modern,
}

// === the client ===

/// A request for a tool, with everything about its client; `more` are further members of `_meta`,
/// each after a comma.
pub(crate) fn call(id: u64, tool: &str, arguments: &str, more: &str) -> Bytes {
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"{tool}","arguments":{arguments},"_meta":{{{META}{more}}}}}}}"#
    )
    .into()
}

/// A request that has no parameters of its own.
pub(crate) fn request(id: u64, method: &str) -> Bytes {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{{"_meta":{{{META}}}}}}}"#)
        .into()
}

/// The fields which a request must have besides those of every request over HTTP.
pub(crate) fn fields(headers: &mut HeaderMap, method: &'static str, tool: Option<&'static str>) {
    headers.insert(VERSION_FIELD, HeaderValue::from_static(REVISION));
    headers.insert(METHOD_FIELD, HeaderValue::from_static(method));
    if let Some(tool) = tool {
        headers.insert(NAME_FIELD, HeaderValue::from_static(tool));
    }
}

/// Checks that a server says that it speaks this revision.
///
/// # Errors
/// [`Failure::Wrong`] when it does not, or this answers another request.
pub(crate) fn check_discovered(answer: &[u8], id: u64) -> Result<()> {
    #[derive(Deserialize)]
    struct Discovered {
        id: u64,
        result: Says,
    }
    #[derive(Deserialize)]
    struct Says {
        #[serde(rename = "supportedVersions")]
        versions: Vec<String>,
    }
    match serde_json::from_slice::<Discovered>(answer) {
        Ok(it) if it.id == id && it.result.versions.iter().any(|it| it == REVISION) => Ok(()),
        _ => Err(Failure::Wrong(format!("to server/discover: {}", start(answer)))),
    }
}

/// A call that is answered with a question: of `confirm`, which wants to hear a word.
#[derive(Debug)]
pub(crate) struct Asking {
    id: u64,
    text: String,
    word: String,
}

/// What a client keeps of such a call while it waits.
#[derive(Debug)]
pub(crate) struct Waits {
    key: String,
    state: String,
}

impl Asking {
    /// The tool that asks.
    pub(crate) const TOOL: &'static str = "confirm";

    /// The call number `id`, unlike every other.
    pub(crate) fn new(id: u64) -> Self {
        Self { id, text: format!("call {id} of those that wait"), word: format!("word {id}") }
    }

    /// Its id.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// Its first request.
    pub(crate) fn body(&self) -> Bytes {
        self.with("")
    }

    /// The request that goes on with it, with the answer.
    pub(crate) fn retry(&self, waits: &Waits) -> Bytes {
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        let (key, state) = (quoted(&waits.key), quoted(&waits.state));
        let word = &self.word;
        self.with(&format!(
            r#","requestState":{state},"inputResponses":{{{key}:{{"action":"accept","content":{{"word":"{word}"}}}}}}"#
        ))
    }

    fn with(&self, more: &str) -> Bytes {
        let Self { id, text, .. } = self;
        let tool = Self::TOOL;
        format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"{tool}","arguments":{{"text":"{text}"}}{more},"_meta":{{{META_FORM}}}}}}}"#
        )
        .into()
    }

    /// Checks that this is the one question of this very call.
    ///
    /// # Errors
    /// [`Failure::Wrong`] when it is not.
    pub(crate) fn asked(&self, answer: &[u8]) -> Result<Waits> {
        #[derive(Deserialize)]
        struct Asked {
            id: u64,
            result: Wanted,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Wanted {
            result_type: String,
            input_requests: HashMap<String, Question>,
            request_state: String,
        }
        #[derive(Deserialize)]
        struct Question {
            method: String,
            params: Params,
        }
        #[derive(Deserialize)]
        struct Params {
            message: String,
        }
        let wrong =
            || Failure::Wrong(format!("to call {}, no question: {}", self.id, start(answer)));
        let asked = serde_json::from_slice::<Asked>(answer).map_err(|_| wrong())?;
        let is_it =
            |it: &Question| it.method == "elicitation/create" && it.params.message == self.text;
        let result = asked.result;
        let mut requests = result.input_requests.into_iter();
        match (requests.next(), requests.next()) {
            (Some((key, question)), None)
                if asked.id == self.id
                    && result.result_type == "input_required"
                    && is_it(&question) =>
            {
                Ok(Waits { key, state: result.request_state })
            }
            _ => Err(wrong()),
        }
    }

    /// Checks that the server got this very answer, in this very call.
    ///
    /// # Errors
    /// [`Failure::Wrong`] when it did not.
    pub(crate) fn check(&self, answer: &[u8]) -> Result<()> {
        #[derive(Deserialize)]
        struct Answer<'a> {
            id: u64,
            #[serde(borrow)]
            result: Done<'a>,
        }
        #[derive(Deserialize)]
        struct Done<'a> {
            #[serde(borrow, rename = "resultType")]
            kind: Text<'a>,
            #[serde(borrow)]
            content: Vec<Content<'a>>,
        }
        #[derive(Deserialize)]
        struct Content<'a> {
            #[serde(borrow)]
            text: Text<'a>,
        }
        let said = serde_json::from_slice::<Answer<'_>>(answer).ok().filter(|it| {
            let texts: Vec<&str> = it.result.content.iter().map(|it| it.text.0.as_ref()).collect();
            let (text, word) = (&self.text, &self.word);
            it.id == self.id
                && it.result.kind.0 == "complete"
                && texts == [format!("{text} {word}")]
        });
        said.map(drop).ok_or_else(|| {
            Failure::Wrong(format!("call {}, when it went on: {}", self.id, start(answer)))
        })
    }
}

// === the server ===

/// Why a request is refused: code, words, and further members of the error, each after a comma.
pub(crate) type Refusal = (i32, &'static str, &'static str);

/// What a client of another revision is told.
pub(crate) const OTHER_REVISION: Refusal = (
    UNSUPPORTED_VERSION,
    "this server speaks 2026-07-28 alone",
    r#","data":{"supported":["2026-07-28"],"requested":"another"}"#,
);

/// What a request says about itself.
#[derive(Default, Deserialize)]
struct Said<'a> {
    #[serde(borrow, default)]
    name: Option<Text<'a>>,
    #[serde(borrow, default, rename = "_meta")]
    meta: SaidMeta<'a>,
}

#[derive(Default, Deserialize)]
struct SaidMeta<'a> {
    #[serde(borrow, default, rename = "io.modelcontextprotocol/protocolVersion")]
    version: Option<Text<'a>>,
    #[serde(borrow, default, rename = "io.modelcontextprotocol/clientCapabilities")]
    capabilities: Option<&'a RawValue>,
}

/// Checks what a server must check of a request: its `_meta`, and over HTTP that its fields say
/// the same as its body.
///
/// # Errors
/// What its client is told.
pub(crate) fn check_request(
    method: &str,
    params: Option<&RawValue>,
    headers: Option<&HeaderMap>,
) -> Result<(), Refusal> {
    let said = params.map(|it| serde_json::from_str::<Said<'_>>(it.get())).transpose();
    let said = said.map_err(|_| (-32602, "`params` cannot be read", ""))?.unwrap_or_default();
    match said.meta.version {
        Some(version) if version.0 == REVISION => {}
        _ => return Err(OTHER_REVISION),
    }
    if said.meta.capabilities.is_none() {
        return Err((-32602, "a request says what its client can do", ""));
    }
    let Some(headers) = headers else { return Ok(()) };
    let field = |name: &str| headers.get(name).map(HeaderValue::as_bytes);
    let named = method == "tools/call";
    let name = said.name.as_ref().filter(|_| named).map(|it| it.0.as_bytes());
    let same = field(VERSION_FIELD) == Some(REVISION.as_bytes())
        && field(METHOD_FIELD) == Some(method.as_bytes())
        && (!named || field(NAME_FIELD) == name);
    if same { Ok(()) } else { Err((HEADER_MISMATCH, "fields and body do not say the same", "")) }
}

#[cfg(test)]
mod tests;
