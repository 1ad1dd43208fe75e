//! What a server asks of its client, and what the client answers: forms, and samples of a model.

use mcp_jsonrpc::{Kind, Message, ParseError, ProtocolVersion, RpcError};
use serde::Deserialize;
use serde_json::{json, value::RawValue};

use crate::{
    Passage,
    row::{Loss, Row, Way},
};
use mcp_jsonrpc::object::{Edit, Object, edit_array, raw, type_of};

pub(crate) const ELICITATION_MODE: Row = Row {
    name: "elicitation-mode",
    way: Way::ToClient,
    since: ProtocolVersion::V2025_11_25,
    payload: "`mode` of a form",
    treatment: "is taken away: there are only forms",
    loss: Loss::Nothing,
};

pub(crate) const ELICITATION_URL: Row = Row {
    name: "elicitation-url",
    way: Way::ToClient,
    since: ProtocolVersion::V2025_11_25,
    payload: "`elicitation/create` of the mode `url`",
    treatment: "is answered with the error -32602, as the specification wants it",
    loss: Loss::Refused,
};

pub(crate) const TITLED_ENUM: Row = Row {
    name: "elicitation-titled-enum",
    way: Way::ToClient,
    since: ProtocolVersion::V2025_11_25,
    payload: "a choice of one among titled values (`oneOf`) in a form",
    treatment: "is written as `enum` and `enumNames`",
    loss: Loss::Nothing,
};

pub(crate) const MULTI_SELECT: Row = Row {
    name: "elicitation-multi-select",
    way: Way::ToClient,
    since: ProtocolVersion::V2025_11_25,
    payload: "a choice of several values in a form",
    treatment: "cannot be shown: the server is answered `cancel`, with the reason in `_meta`",
    loss: Loss::Refused,
};

pub(crate) const SAMPLING_TOOLS: Row = Row {
    name: "sampling-tools",
    way: Way::ToClient,
    since: ProtocolVersion::V2025_11_25,
    payload: "`sampling/createMessage` with tools, their use or their results",
    treatment: "is answered with the error -32602",
    loss: Loss::Refused,
};

pub(crate) const SAMPLING_BLOCKS: Row = Row {
    name: "sampling-blocks",
    way: Way::ToClient,
    since: ProtocolVersion::V2025_11_25,
    payload: "a message to sample from that has several blocks of content",
    treatment: "becomes several messages of the same role",
    loss: Loss::Nothing,
};

pub(crate) const SAMPLING_AUDIO: Row = Row {
    name: "sampling-audio",
    way: Way::ToClient,
    since: ProtocolVersion::V2025_03_26,
    payload: "a message to sample from that is a sound",
    treatment: "is answered with the error -32602",
    loss: Loss::Refused,
};

pub(crate) const SAMPLED_BLOCKS: Row = Row {
    name: "sampled-blocks",
    way: Way::ToServer,
    since: ProtocolVersion::V2025_11_25,
    payload: "a sample of several blocks of content",
    treatment: "becomes one: its texts, joined, or its first block where it has none",
    loss: Loss::Some("blocks beside the texts"),
};

pub(crate) const SAMPLED_AUDIO: Row = Row {
    name: "sampled-audio",
    way: Way::ToServer,
    since: ProtocolVersion::V2025_03_26,
    payload: "a sample that is a sound",
    treatment: "becomes an error that says so",
    loss: Loss::Refused,
};

/// Under which the reason for a `cancel` of the gateway's own is told.
pub(crate) const REASON: &str = "mcp-gateway/reason";

/// What a server asks.
pub(crate) fn to_client(message: &Message, client: ProtocolVersion) -> Passage {
    if message.kind() != Kind::Request {
        return Passage::Same;
    }
    let passage = match message.method() {
        Some("elicitation/create") => elicitation(message, client),
        Some("sampling/createMessage") => sampling(message, client),
        _ => return Passage::Same,
    };
    passage.unwrap_or(Passage::Same)
}

fn elicitation(message: &Message, client: ProtocolVersion) -> Result<Passage, ParseError> {
    if !ELICITATION_MODE.is_new_to(client) {
        return Ok(Passage::Same);
    }
    let whole: &RawValue = message.read()?;
    let mut params = Object::read(whole)?;
    if params.text("mode").as_deref() == Some("url") {
        let words = format!(
            "the client speaks MCP {client}, which cannot send its user to a URL; ask with a form"
        );
        return Ok(Passage::refused(message, RpcError::INVALID_PARAMS, words));
    }
    let mut edited = params.remove(&["mode"]);
    if let Some(schema) = params.get("requestedSchema") {
        let mut schema = Object::read(schema)?;
        if let Some(properties) = schema.get("properties") {
            let mut properties = Object::read(properties)?;
            if properties.values().any(|it| type_of(it).as_deref() == Some("array")) {
                return Ok(cancelled(message, client));
            }
            if properties.edit(plain_enum)? {
                let properties = properties.to_raw()?;
                schema.set("properties", &properties)?;
                let schema = schema.to_raw()?;
                params.set("requestedSchema", &schema)?;
                edited = true;
            }
        }
    }
    if !edited {
        return Ok(Passage::Same);
    }
    message.with_part(whole, &params).map(Passage::Edited)
}

fn cancelled(message: &Message, client: ProtocolVersion) -> Passage {
    let Some(id) = message.id() else { return Passage::Dropped };
    let words = format!("a form of MCP {client}, which the client speaks, has no multiple choice");
    let result = json!({ "action": "cancel", "_meta": { REASON: words } });
    Passage::answered(id, Message::response(id, &result))
}

/// A choice among titled values, as it was written before there were titles.
fn plain_enum(property: &RawValue) -> Result<Option<Box<RawValue>>, ParseError> {
    #[derive(Deserialize)]
    struct Choice<'a> {
        #[serde(borrow, rename = "const")]
        value: &'a RawValue,
        #[serde(borrow)]
        title: &'a RawValue,
    }
    let mut property = Object::read(property)?;
    let Some(choices) = property.get("oneOf") else { return Ok(None) };
    let choices: Vec<Choice<'_>> = serde_json::from_str(choices.get())?;
    let values = raw(&choices.iter().map(|it| it.value).collect::<Vec<_>>())?;
    let names = raw(&choices.iter().map(|it| it.title).collect::<Vec<_>>())?;
    property.remove(&["oneOf"]);
    property.set("enum", &values)?;
    property.set("enumNames", &names)?;
    property.to_raw().map(Some)
}

fn sampling(message: &Message, client: ProtocolVersion) -> Result<Passage, ParseError> {
    #[derive(Deserialize)]
    struct Sampling<'a> {
        #[serde(borrow)]
        messages: &'a RawValue,
        #[serde(borrow, default)]
        tools: Option<&'a RawValue>,
        #[serde(borrow, default, rename = "toolChoice")]
        tool_choice: Option<&'a RawValue>,
    }
    let asked: Sampling<'_> = message.read()?;
    let refused = |what: &str| {
        let words = format!("the client speaks MCP {client}, which cannot sample from {what}");
        Passage::refused(message, RpcError::INVALID_PARAMS, words)
    };
    let has_tools = asked.tools.is_some() || asked.tool_choice.is_some();
    if has_tools && SAMPLING_TOOLS.is_new_to(client) {
        return Ok(refused("tools"));
    }
    let messages: Vec<&RawValue> = serde_json::from_str(asked.messages.get())?;
    for said in messages {
        let said = Object::read(said)?;
        for block in said.get("content").into_iter().flat_map(blocks_of) {
            match type_of(block).as_deref() {
                Some("tool_use" | "tool_result") if SAMPLING_TOOLS.is_new_to(client) => {
                    return Ok(refused("the use of tools"));
                }
                Some("audio") if SAMPLING_AUDIO.is_new_to(client) => {
                    return Ok(refused("a sound"));
                }
                _ => (),
            }
        }
    }
    if !SAMPLING_BLOCKS.is_new_to(client) {
        return Ok(Passage::Same);
    }
    let split = edit_array(asked.messages, |_, said| {
        let mut said = Object::read(said)?;
        let Some(content) = said.get("content").filter(|it| it.get().starts_with('[')) else {
            return Ok(Edit::Keep);
        };
        let blocks: Vec<Box<RawValue>> = serde_json::from_str(content.get())?;
        let one = |block| {
            said.set("content", &block)?;
            said.to_raw()
        };
        blocks.into_iter().map(one).collect::<Result<_, _>>().map(Edit::With)
    })?;
    let Some(split) = split else { return Ok(Passage::Same) };
    message.with_part(asked.messages, &split).map(Passage::Edited)
}

/// The blocks of content that is one of them or an array.
fn blocks_of(content: &RawValue) -> Vec<&RawValue> {
    if content.get().starts_with('[') {
        serde_json::from_str(content.get()).unwrap_or_default()
    } else {
        vec![content]
    }
}

/// What a client answers.  A sample is known by its shape, so that nobody has to keep what it
/// answers to.
pub(crate) fn to_server(
    answer: &Message,
    server: ProtocolVersion,
) -> Result<Option<Message>, ParseError> {
    #[derive(Deserialize)]
    struct Sampled<'a> {
        #[serde(borrow, rename = "role")]
        _role: &'a RawValue,
        #[serde(borrow, rename = "model")]
        _model: &'a RawValue,
        #[serde(borrow)]
        content: &'a RawValue,
    }
    if answer.kind() != Kind::Response || !SAMPLED_BLOCKS.is_new_to(server) {
        return Ok(None);
    }
    let sampled: Sampled<'_> = answer.read()?;
    let blocks = blocks_of(sampled.content);
    let texts: Vec<String> =
        blocks.iter().filter_map(|it| Object::read(it).ok()?.text("text")).collect();
    let sound = blocks.iter().any(|it| type_of(it).as_deref() == Some("audio"));
    if sound && texts.is_empty() && SAMPLED_AUDIO.is_new_to(server) {
        let words = format!("the sample is a sound, which MCP {server} cannot carry");
        let error = RpcError::new(RpcError::INTERNAL, words);
        return Message::error(answer.id(), &error).map(Some);
    }
    if !sampled.content.get().starts_with('[') {
        return Ok(None);
    }
    let one = match (texts.is_empty(), blocks.first()) {
        (true, Some(first)) => (*first).to_owned(),
        _ => raw(&json!({ "type": "text", "text": texts.join("\n") }))?,
    };
    answer.with_part(sampled.content, &one).map(Some)
}
