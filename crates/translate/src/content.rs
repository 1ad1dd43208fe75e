//! Content: blocks of a tool's result or of a prompt.

use mcp_jsonrpc::{Message, ParseError, ProtocolVersion};
use serde::Deserialize;
use serde_json::{json, value::RawValue};

use crate::row::{Loss, Row, Way};
use mcp_jsonrpc::object::{Edit, Object, edit_array, type_of};

pub(crate) const AUDIO: Row = Row {
    name: "audio-content",
    way: Way::ToClient,
    since: ProtocolVersion::V2025_03_26,
    payload: "`audio` content of a tool's result or a prompt",
    treatment: "becomes an embedded resource that holds the same bytes under the same media type",
    loss: Loss::Nothing,
};

pub(crate) const RESOURCE_LINK: Row = Row {
    name: "resource-link",
    way: Way::ToClient,
    since: ProtocolVersion::V2025_06_18,
    payload: "`resource_link` content of a tool's result or a prompt",
    treatment: "becomes the text “name — uri”; the resource can be read by that URI",
    loss: Loss::Some("the link's title, description, media type and size"),
};

/// No revision with a handshake has other types than those above.
pub(crate) const UNKNOWN: Row = Row {
    name: "unknown-content",
    way: Way::ToClient,
    since: ProtocolVersion::V2026_07_28,
    payload: "content of a type that no revision with a handshake has",
    treatment: "becomes a text that says what was left out",
    loss: Loss::Some("the content; clients fail the whole call over it otherwise"),
};

/// An array of blocks as this revision can show it; none if it can already.
pub(crate) fn blocks(
    content: &RawValue,
    to: ProtocolVersion,
) -> Result<Option<Box<RawValue>>, ParseError> {
    edit_array(content, |at, it| block(at, it, to).map(Edit::from))
}

/// The types of blocks that every revision has, as they are written: most blocks are so.
pub(crate) const PLAIN: [&str; 3] = [r#""text""#, r#""image""#, r#""resource""#];

/// The answer to `prompts/get`.
pub(crate) fn prompt(answer: &Message, to: ProtocolVersion) -> Result<Option<Message>, ParseError> {
    #[derive(Deserialize)]
    struct Prompt<'a> {
        #[serde(borrow)]
        messages: &'a RawValue,
    }
    let said: Prompt<'_> = answer.read()?;
    let messages = edit_array(said.messages, |at, message| {
        let mut message = Object::read(message)?;
        let edited = message.get("content").map(|it| block(at, it, to)).transpose()?.flatten();
        let Some(edited) = edited else { return Ok(Edit::Keep) };
        message.set("content", &edited)?;
        Ok(Edit::With(vec![message.to_raw()?]))
    })?;
    messages.map(|messages| answer.with_part(said.messages, &messages)).transpose()
}

fn block(
    at: usize,
    block: &RawValue,
    to: ProtocolVersion,
) -> Result<Option<Box<RawValue>>, ParseError> {
    let Some(kind) = type_of(block) else { return Ok(None) };
    let mut new = Object::default();
    match &*kind {
        "text" | "image" | "resource" => return Ok(None),
        "audio" if !AUDIO.is_new_to(to) => return Ok(None),
        "resource_link" if !RESOURCE_LINK.is_new_to(to) => return Ok(None),
        _ if !UNKNOWN.is_new_to(to) => return Ok(None),
        _ => (),
    }
    let old = Object::read(block)?;
    match &*kind {
        "audio" => {
            new.set("type", &"resource")?;
            let mut resource = Object::default();
            // A resource needs a name of its own; this one cannot be read again.
            resource.set("uri", &format!("urn:mcp:audio:{at}"))?;
            for (theirs, ours) in [("mimeType", "mimeType"), ("data", "blob")] {
                old.get(theirs).map(|it| resource.set(ours, &it)).transpose()?;
            }
            new.set("resource", &resource)?;
        }
        "resource_link" => {
            let [name, uri] = ["name", "uri"].map(|it| old.text(it).unwrap_or_default());
            new.set("type", &"text")?;
            new.set("text", &format!("{name} — {uri}"))?;
        }
        _ => {
            let kind: String = kind.chars().take(64).collect();
            let text =
                format!("[left out: content of type `{kind}`, which MCP {to} does not have]");
            new.set("type", &"text")?;
            new.set("text", &json!(text))?;
        }
    }
    for kept in ["annotations", "_meta"] {
        old.get(kept).map(|it| new.set(kept, &it)).transpose()?;
    }
    new.to_raw().map(Some)
}
