//! Three tools in the place of many: one that finds tools, one that describes one, one that calls
//! it.
//!
//! A model that is shown thousands of tools pays for each in every turn.  Who asks for this is
//! shown these three instead, and nothing else changes: what they find is what the [`View`] shows,
//! and whatever they call is called as if it had been called by its name.

mod index;

use mcp_jsonrpc::{Id, Kind, Message, ParseError};
use serde::Deserialize;
use serde_json::{
    Value, json,
    value::{RawValue, to_raw_value},
};

pub use index::{Hit, Index};

use crate::{List, View, lost::shortened};
use mcp_jsonrpc::object::Object;

/// What finds tools.
pub const SEARCH: &str = "search_tools";
/// What describes a tool.
pub const DESCRIBE: &str = "describe_tool";
/// What calls a tool.
pub const CALL: &str = "call_tool";

/// How many tools are found, unless more or fewer are asked for.
const FOUND_DEFAULT: usize = 10;
/// How many tools are found at most.
pub const FOUND_MAX: usize = 50;
/// How much of a description is shown of each, in characters.
const SUMMARY_LEN_MAX: usize = 200;

/// What becomes of a call of one of the three.
#[derive(Debug)]
pub enum Called {
    /// It is answered.
    Answer(Message),
    /// It is a call of this, to be directed as any other.
    Forward(Message),
}

#[derive(Deserialize)]
struct Call<'a> {
    name: String,
    #[serde(borrow, default)]
    arguments: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Wanted {
    query: String,
    #[serde(default)]
    limit: Option<f64>,
}

#[derive(Deserialize)]
struct Described {
    name: String,
}

#[derive(Deserialize)]
struct Forwarded<'a> {
    name: String,
    #[serde(borrow, default)]
    arguments: Option<&'a RawValue>,
}

/// The three tools, as they are listed.
///
/// # Errors
/// Never, but for what cannot be written as JSON.
pub fn tools() -> Result<Vec<Box<RawValue>>, ParseError> {
    let text = |words: &str| json!({ "type": "string", "description": words });
    let tools = [
        json!({
            "name": SEARCH,
            "description": "Finds tools by what they do. There are many more tools here than are \
                listed: search before you say that something cannot be done.",
            "inputSchema": {
                "type": "object",
                "properties": {
                    "query": text("What the tool should do, in a few words."),
                    "limit": {
                        "type": "integer", "minimum": 1, "maximum": FOUND_MAX,
                        "default": FOUND_DEFAULT,
                    },
                },
                "required": ["query"],
            },
            "annotations": { "readOnlyHint": true, "openWorldHint": false },
        }),
        json!({
            "name": DESCRIBE,
            "description": "Says what a tool does and which arguments it takes.",
            "inputSchema": {
                "type": "object",
                "properties": { "name": text("As search_tools names it.") },
                "required": ["name"],
            },
            "annotations": { "readOnlyHint": true, "openWorldHint": false },
        }),
        json!({
            "name": CALL,
            "description": "Calls a tool that search_tools has found.",
            "inputSchema": {
                "type": "object",
                "properties": {
                    "name": text("As search_tools names it."),
                    "arguments": { "type": "object", "description": "As describe_tool says." },
                },
                "required": ["name"],
            },
        }),
    ];
    Ok(tools.iter().map(to_raw_value).collect::<Result<_, _>>()?)
}

/// What becomes of a `tools/call`, if it is of one of the three; `index` is one of this view.
///
/// What is wrong with it is said as the result of a tool, for the model to read and do better.
///
/// # Errors
/// The request cannot be read.
pub fn call(view: &View, index: &Index, request: &Message) -> Result<Option<Called>, ParseError> {
    if request.method() != Some("tools/call") || request.kind() != Kind::Request {
        return Ok(None);
    }
    let Some(id) = request.id() else { return Ok(None) };
    let called: Call<'_> = request.read()?;
    let arguments = called.arguments.map_or("{}", RawValue::get);
    let wrong = |error: serde_json::Error| {
        said(id, &format!("The arguments of {} cannot be read: {error}", called.name), true)
    };
    let answer = match &*called.name {
        SEARCH => match serde_json::from_str(arguments) {
            Ok(wanted) => said(id, &find(index, &wanted)?, false),
            Err(error) => wrong(error),
        },
        DESCRIBE => match serde_json::from_str::<Described>(arguments) {
            Ok(Described { name }) => describe(view, index, id, &name),
            Err(error) => wrong(error),
        },
        CALL => match serde_json::from_str(arguments) {
            Ok(inner) => return forward(request, &inner).map(Called::Forward).map(Some),
            Err(error) => wrong(error),
        },
        _ => return Ok(None),
    };
    answer.map(Called::Answer).map(Some)
}

fn find(index: &Index, wanted: &Wanted) -> Result<String, ParseError> {
    // `as` saturates: whatever is asked for, something is found.
    let limit = wanted.limit.map_or(FOUND_DEFAULT, |it| it as usize).clamp(1, FOUND_MAX);
    let hits = index.search(&wanted.query, limit);
    let tools: Vec<Value> =
        hits.iter().map(|it| json!({ "name": it.name, "description": it.summary })).collect();
    let mut found = json!({ "tools": tools, "of": index.len() });
    if tools.is_empty()
        && let Some(found) = found.as_object_mut()
    {
        found.insert("hint".to_owned(), json!("nothing fits: try other words"));
    }
    Ok(serde_json::to_string(&found)?)
}

fn describe(view: &View, index: &Index, id: &Id, name: &str) -> Result<Message, ParseError> {
    let at = view.shown_as(List::Tools).position(|it| it == name);
    // By another name that leads to it, such as the one its server gives it.
    let at = at.or_else(|| {
        let exposed = view.find(List::Tools, name).ok()?.exposed?;
        view.shown_as(List::Tools).position(|it| it == exposed)
    });
    if let Some(tool) = at.and_then(|at| view.shown(List::Tools).nth(at)) {
        return said(id, tool, false);
    }
    let near: Vec<&str> = index.search(name, 3).into_iter().map(|it| it.name).collect();
    let mut words = match view.find(List::Tools, name) {
        Err(lost) => lost.to_string(),
        Ok(_) => format!("The server of {} is not there at the moment", shortened(name)),
    };
    if !near.is_empty() {
        words += &format!(". Similar: {}", near.join(", "));
    }
    said(id, &words, true)
}

/// The same request, of the tool that it names; what travels beside its arguments stays.
fn forward(request: &Message, inner: &Forwarded<'_>) -> Result<Message, ParseError> {
    let body: &RawValue = request.read()?;
    let mut params = Object::read(body)?;
    params.set("name", &inner.name)?;
    match inner.arguments {
        Some(arguments) => params.set("arguments", &arguments)?,
        None => {
            params.remove(&["arguments"]);
        }
    }
    request.with_part(body, &params)
}

/// A text as the result of a tool.
fn said(id: &Id, text: &str, is_error: bool) -> Result<Message, ParseError> {
    let mut result = json!({ "content": [{ "type": "text", "text": text }] });
    if is_error && let Some(result) = result.as_object_mut() {
        result.insert("isError".to_owned(), json!(true));
    }
    Message::response(id, &result)
}

#[cfg(test)]
mod tests;
