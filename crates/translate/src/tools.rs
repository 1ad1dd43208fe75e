//! Tools: how they are listed, and what they return.

use mcp_jsonrpc::{Message, ParseError, ProtocolVersion, RpcError};
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};

use crate::{
    content,
    row::{Loss, Row, Way},
};
use mcp_jsonrpc::object::{Edit, Glance, Object, edit_array, glance, raw};

pub(crate) const STRUCTURED: Row = Row {
    name: "structured-content",
    way: Way::ToClient,
    since: ProtocolVersion::V2025_06_18,
    payload: "`structuredContent` of a result without any other content",
    treatment: "stays, and its JSON is added as a text",
    loss: Loss::Nothing,
};

pub(crate) const STRUCTURED_VALUE: Row = Row {
    name: "structured-value",
    way: Way::ToClient,
    since: ProtocolVersion::V2026_07_28,
    payload: "`structuredContent` that is no object",
    treatment: "is taken away, and its JSON is there as a text",
    loss: Loss::Some("that it can be told from other texts"),
};

pub(crate) const OUTPUT_SCHEMA: Row = Row {
    name: "output-schema",
    way: Way::ToClient,
    since: ProtocolVersion::V2026_07_28,
    payload: "an `outputSchema` that describes no object",
    treatment: "is taken away",
    loss: Loss::Some("the schema; clients drop the whole list of tools over it otherwise"),
};

pub(crate) const BOOLEAN_SCHEMA: Row = Row {
    name: "boolean-schema",
    way: Way::ToClient,
    since: ProtocolVersion::V2026_07_28,
    payload: "`true` and `false` as schemas of a tool's arguments",
    treatment: "become `{}` and `{\"not\":{}}`, which mean the same",
    loss: Loss::Nothing,
};

pub(crate) const TASK_REQUIRED: Row = Row {
    name: "task-required",
    way: Way::ToClient,
    since: ProtocolVersion::V2025_11_25,
    payload: "a tool whose `execution.taskSupport` is `required`",
    treatment: "is not listed: its client has no way to call it",
    loss: Loss::Some("the tool"),
};

pub(crate) const URL_REQUIRED: Row = Row {
    name: "url-elicitation-required",
    way: Way::ToClient,
    since: ProtocolVersion::V2025_11_25,
    payload: "the error -32042 of a tool that wants its user to visit a URL first",
    treatment: "becomes a result with `isError` whose text names the URLs",
    loss: Loss::Some("that the client itself can open them"),
};

/// The answer to `tools/list`.
pub(crate) fn list(answer: &Message, to: ProtocolVersion) -> Result<Option<Message>, ParseError> {
    #[derive(Deserialize)]
    struct Listed<'a> {
        #[serde(borrow)]
        tools: &'a RawValue,
    }
    let said: Listed<'_> = answer.read()?;
    let tools = edit_array(said.tools, |_, tool| entry(tool, to))?;
    tools.map(|tools| answer.with_part(said.tools, &tools)).transpose()
}

fn entry(tool: &RawValue, to: ProtocolVersion) -> Result<Edit, ParseError> {
    let mut tool = Object::read(tool)?;
    if TASK_REQUIRED.is_new_to(to) {
        let execution = tool.get("execution").map(Object::read).transpose()?;
        let support = execution.and_then(|it| it.text("taskSupport"));
        if support.as_deref() == Some("required") {
            return Ok(Edit::With(Vec::new()));
        }
    }
    let mut edited = false;
    if OUTPUT_SCHEMA.is_new_to(to)
        && let Some(schema) = tool.get("outputSchema")
        && Object::read(schema).ok().and_then(|it| it.text("type")).as_deref() != Some("object")
    {
        edited |= tool.remove(&["outputSchema"]);
    }
    if BOOLEAN_SCHEMA.is_new_to(to) {
        for name in ["inputSchema", "outputSchema"] {
            let Some(schema) = tool.get(name).map(without_booleans).transpose()?.flatten() else {
                continue;
            };
            tool.set(name, &schema)?;
            edited = true;
        }
    }
    Ok(Edit::from(if edited { Some(tool.to_raw()?) } else { None }))
}

/// A schema whose properties are all objects; none if they are already.
fn without_booleans(schema: &RawValue) -> Result<Option<Box<RawValue>>, ParseError> {
    let mut schema = Object::read(schema)?;
    let Some(properties) = schema.get("properties") else { return Ok(None) };
    let mut properties = Object::read(properties)?;
    let edited = properties.edit(|property| match property.get() {
        "true" => raw(&json!({})).map(Some),
        "false" => raw(&json!({ "not": {} })).map(Some),
        _ => Ok(None),
    })?;
    if !edited {
        return Ok(None);
    }
    let properties = properties.to_raw()?;
    schema.set("properties", &properties)?;
    schema.to_raw().map(Some)
}

/// The result of `tools/call`.
pub(crate) fn result(answer: &Message, to: ProtocolVersion) -> Result<Option<Message>, ParseError> {
    // Most have nothing to change, and are long.
    let seen = |it| glance(it, "content", &content::PLAIN, "structuredContent");
    if let Some(Glance { is_typed: true, other: structured }) = answer.body().and_then(seen)
        && structured.is_none_or(|it| it.starts_with('{') || !STRUCTURED_VALUE.is_new_to(to))
    {
        return Ok(None);
    }
    let whole: &RawValue = answer.read()?;
    let mut result = Object::read(whole)?;
    let content = result.get("content");
    // The start of a task has none.
    if content.is_none() && result.get("task").is_some() {
        return Ok(None);
    }
    let blocks = content.map(|it| content::blocks(it, to)).transpose()?.flatten();
    let structured = result.get("structuredContent");
    let is_value = structured.is_some_and(|it| !it.get().starts_with('{'));
    let takes_away = is_value && STRUCTURED_VALUE.is_new_to(to);
    let has_no_content = content.is_none_or(is_empty);
    if has_no_content
        && (takes_away || STRUCTURED.is_new_to(to))
        && let Some(it) = structured
    {
        let text = json!([{ "type": "text", "text": it.get() }]);
        result.set("content", &text)?;
    } else if let Some(blocks) = blocks {
        // Nothing else is to be changed: whatever is around stays byte for byte.
        if let (Some(content), false) = (part(answer)?, takes_away) {
            return answer.with_part(content, &blocks).map(Some);
        }
        result.set("content", &blocks)?;
    } else if !takes_away {
        return Ok(None);
    }
    if takes_away {
        result.remove(&["structuredContent"]);
    }
    answer.with_part(whole, &result).map(Some)
}

fn part(answer: &Message) -> Result<Option<&RawValue>, ParseError> {
    #[derive(Deserialize)]
    struct Called<'a> {
        #[serde(borrow)]
        content: Option<&'a RawValue>,
    }
    Ok(answer.read::<Called<'_>>()?.content)
}

fn is_empty(array: &RawValue) -> bool {
    serde_json::from_str::<Vec<&RawValue>>(array.get()).is_ok_and(|it| it.is_empty())
}

/// The error of `tools/call`.
pub(crate) fn error(answer: &Message, to: ProtocolVersion) -> Result<Option<Message>, ParseError> {
    #[derive(Deserialize)]
    struct Required {
        elicitations: Vec<Wanted>,
    }
    #[derive(Deserialize)]
    struct Wanted {
        #[serde(default)]
        message: String,
        url: String,
    }
    let error: RpcError = answer.read()?;
    let Some(id) = answer.id().filter(|_| URL_REQUIRED.is_new_to(to)) else { return Ok(None) };
    if error.code != RpcError::URL_ELICITATION_REQUIRED {
        return Ok(None);
    }
    let wanted = error.data.and_then(|data| serde_json::from_str::<Required>(data.get()).ok());
    let mut text = error.message.into_owned();
    for Wanted { message, url } in wanted.into_iter().flat_map(|it| it.elicitations) {
        text += &format!("\n{message} {url}");
    }
    let content: Value = json!([{ "type": "text", "text": text }]);
    Message::response(id, &json!({ "content": content, "isError": true })).map(Some)
}
