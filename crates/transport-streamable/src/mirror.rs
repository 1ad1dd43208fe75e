//! What 2026-07-28 mirrors from a body into the fields beside it, and the form it takes there.
//!
//! `Mcp-Method` and `Mcp-Name` of every request, and `Mcp-Param-*` of those parameters that a tool
//! annotates with `x-mcp-header` ([`Index`]): so that whoever stands between can route without
//! reading bodies.  The body remains what counts.

mod index;
mod schema;

use std::borrow::Cow;

use hyper::header::HeaderName;
use mcp_jsonrpc::{Message, modern::RequestMeta};
use transport_sse::base64;

pub use index::{Index, IndexMax, Mirrors};
pub use schema::{FIELDS_MAX, Invalid, NotMirrored, ToolFields};
pub(crate) use schema::{Written, integer};

/// The method of a request.
pub const METHOD: HeaderName = HeaderName::from_static("mcp-method");
/// What a request is about: a tool, a prompt, a resource, a task.
pub const NAME: HeaderName = HeaderName::from_static("mcp-name");

/// The longest value that is mirrored, in bytes as it goes on the wire: servers take heads of
/// 8 KiB and more, and one that is refused for its length says so to nobody.
pub const VALUE_LEN_MAX: usize = 8 << 10;

const BEGIN: &str = "=?base64?";
const END: &str = "?=";

/// A value as it is written into a field: as it is where that is possible, in Base64 otherwise.
///
/// Possible are visible ASCII, spaces and tabs, not at its ends, and not what looks like the other
/// form.
pub fn encode(value: &str) -> Cow<'_, str> {
    let plain = value.bytes().all(|byte| matches!(byte, b'\t' | b' '..=b'~'));
    let blank = [' ', '\t'];
    let trimmed = !value.starts_with(blank) && !value.ends_with(blank);
    let coded = value.starts_with(BEGIN) && value.ends_with(END);
    if plain && trimmed && !coded {
        return Cow::Borrowed(value);
    }
    Cow::Owned(format!("{BEGIN}{}{END}", base64::encode(value.as_bytes())))
}

/// The value a field stands for; none where it says it is Base64 of UTF-8, and is not.
pub fn decode(field: &str) -> Option<Cow<'_, str>> {
    let field = field.trim_matches([' ', '\t']);
    match field.strip_prefix(BEGIN).and_then(|rest| rest.strip_suffix(END)) {
        Some(coded) => String::from_utf8(base64::decode(coded)?).ok().map(Cow::Owned),
        None => Some(Cow::Borrowed(field)),
    }
}

/// The parameters of a request, as far as they are mirrored, or say what request it is.
#[derive(Debug, Default)]
pub(crate) struct View<'a> {
    pub(crate) meta: Option<RequestMeta<'a>>,
    name: Option<&'a str>,
    uri: Option<&'a str>,
    task: Option<&'a str>,
    pub(crate) arguments: Option<&'a str>,
}

/// What a request is about.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Subject<'a> {
    /// Requests of its method are about nothing that is mirrored.
    None,
    /// This.
    Named(Cow<'a, str>),
    /// The parameter of this name should say, and does not.
    Missing(&'static str),
}

impl<'a> View<'a> {
    /// Reads them; those of a message without any are empty.
    pub(crate) fn of(message: &'a Message) -> Result<Self, mcp_jsonrpc::ParseError> {
        match message.body() {
            None | Some("null") => Ok(Self::default()),
            Some(_) => {
                let names = ["_meta", "name", "uri", "taskId", "arguments"];
                let [meta, name, uri, task, arguments] = message.pick(names)?;
                let meta = meta.map(serde_json::from_str).transpose()?.flatten();
                let arguments = arguments.filter(|it| *it != "null");
                Ok(Self { meta, name, uri, task, arguments })
            }
        }
    }

    /// What a request of this method with these parameters is about.
    pub(crate) fn subject(&self, method: &str) -> Subject<'a> {
        let (key, value) = match method {
            "tools/call" | "prompts/get" => ("name", self.name),
            "resources/read" => ("uri", self.uri),
            // Extension `io.modelcontextprotocol/tasks`.
            "tasks/get" | "tasks/update" | "tasks/cancel" => ("taskId", self.task),
            _ => return Subject::None,
        };
        let text = value.and_then(text_of);
        text.filter(|text| !text.is_empty()).map_or(Subject::Missing(key), Subject::Named)
    }
}

/// A JSON string; none of anything else.
fn text_of(json: &str) -> Option<Cow<'_, str>> {
    let plain = json.strip_prefix('"')?.strip_suffix('"')?;
    if plain.contains('\\') {
        return serde_json::from_str(json).ok().map(Cow::Owned);
    }
    Some(Cow::Borrowed(plain))
}

#[cfg(test)]
mod tests;
