//! The handshake: revisions and capabilities.

use mcp_jsonrpc::{
    Message, ParseError, ProtocolVersion,
    params::{Initialize, Initialized},
};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::row::{Loss, Row, Way};
use mcp_jsonrpc::object::Object;

pub(crate) const COMPLETIONS: Row = Row {
    name: "completions-capability",
    way: Way::ToClient,
    since: ProtocolVersion::V2025_03_26,
    payload: "the server's capability `completions`",
    treatment: "is not shown; `completion/complete` needs no capability there, and passes",
    loss: Loss::Nothing,
};

pub(crate) const SERVER_TASKS: Row = Row {
    name: "tasks-capability",
    way: Way::ToClient,
    since: ProtocolVersion::V2025_11_25,
    payload: "the server's capability `tasks`",
    treatment: "is not shown: its tools are called and answered as ever",
    loss: Loss::Some("that a call may go on in the background"),
};

pub(crate) const CLIENT_ELICITATION: Row = Row {
    name: "client-elicitation",
    way: Way::ToServer,
    since: ProtocolVersion::V2025_06_18,
    payload: "the capability `elicitation` of a client whose revision has none",
    treatment: "is not declared to a server that is offered a later revision",
    loss: Loss::Nothing,
};

pub(crate) const CLIENT_URL: Row = Row {
    name: "client-elicitation-url",
    way: Way::ToServer,
    since: ProtocolVersion::V2025_11_25,
    payload: "the mode `url` within `elicitation` of a client whose revision has none",
    treatment: "is not declared; `{}` means forms alone",
    loss: Loss::Nothing,
};

pub(crate) const CLIENT_TASKS: Row = Row {
    name: "client-tasks",
    way: Way::ToServer,
    since: ProtocolVersion::V2025_11_25,
    payload: "the capability `tasks` of a client whose revision has none",
    treatment: "is not declared",
    loss: Loss::Nothing,
};

pub(crate) const CLIENT_SAMPLING: Row = Row {
    name: "client-sampling-tools",
    way: Way::ToServer,
    since: ProtocolVersion::V2025_11_25,
    payload: "`tools` and `context` within `sampling` of a client whose revision has none",
    treatment: "are not declared; `{}` means sampling without tools",
    loss: Loss::Nothing,
};

/// A server's answer as a client of this revision, older than the server's, hears it.
///
/// A client that is newer is told the server's own revision: it has to speak it then.
pub(crate) fn answer(
    answer: &Message,
    client: ProtocolVersion,
) -> Result<Option<Message>, ParseError> {
    let said: Initialized<'_> = answer.read()?;
    if said.version().parse::<ProtocolVersion>().is_ok_and(|server| server <= client) {
        return Ok(None);
    }
    let versioned = answer.with_part(said.protocol_version, &client.as_str())?;
    let hidden: Vec<&str> = [(&COMPLETIONS, "completions"), (&SERVER_TASKS, "tasks")]
        .into_iter()
        .filter(|(row, _)| row.is_new_to(client))
        .map(|(_, member)| member)
        .collect();
    let said: Initialized<'_> = versioned.read()?;
    let Some(declared) = said.capabilities else { return Ok(Some(versioned)) };
    let mut capabilities = Object::read(declared)?;
    if capabilities.remove(&hidden) {
        return versioned.with_part(declared, &capabilities).map(Some);
    }
    Ok(Some(versioned))
}

/// A client's `initialize` in the revision `offered`.
pub(crate) fn greeting(
    message: &Message,
    client: ProtocolVersion,
    offered: ProtocolVersion,
) -> Result<Message, ParseError> {
    #[derive(Deserialize)]
    struct Declared<'a> {
        #[serde(borrow)]
        capabilities: Option<&'a RawValue>,
    }
    let said: Initialize<'_> = message.read()?;
    let versioned = message.with_part(said.protocol_version, &offered.as_str())?;
    let said: Declared<'_> = versioned.read()?;
    let Some(declared) = said.capabilities.filter(|it| it.get() != "null") else {
        return Ok(versioned);
    };
    let mut capabilities = Object::read(declared)?;
    let mut edited = false;
    for (row, name) in [(&CLIENT_ELICITATION, "elicitation"), (&CLIENT_TASKS, "tasks")] {
        edited |= row.is_new_to(client) && capabilities.remove(&[name]);
    }
    let inner: [(&Row, &str, &[&str]); 2] = [
        (&CLIENT_URL, "elicitation", &["url"]),
        (&CLIENT_SAMPLING, "sampling", &["tools", "context"]),
    ];
    for (_, name, members) in inner.into_iter().filter(|(row, ..)| row.is_new_to(client)) {
        let Some(capability) = capabilities.get(name) else { continue };
        let mut capability = Object::read(capability)?;
        if capability.remove(members) {
            let capability = capability.to_raw()?;
            capabilities.set(name, &capability)?;
            edited = true;
        }
    }
    if edited { versioned.with_part(declared, &capabilities) } else { Ok(versioned) }
}
