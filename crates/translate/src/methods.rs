//! Methods that one revision has and an older one has not.

use mcp_jsonrpc::{Message, ProtocolVersion, RpcError};

use crate::{
    Passage,
    row::{Loss, Row, Way},
};

pub(crate) const ELICITATION: Row = Row {
    name: "elicitation",
    way: Way::ToClient,
    since: ProtocolVersion::V2025_06_18,
    payload: "`elicitation/create`",
    treatment: "is answered with the error -32601: its client has nobody to ask",
    loss: Loss::Refused,
};

pub(crate) const ELICITATION_COMPLETE: Row = Row {
    name: "elicitation-complete",
    way: Way::ToClient,
    since: ProtocolVersion::V2025_11_25,
    payload: "`notifications/elicitation/complete`",
    treatment: "is dropped: its client was never sent to a URL",
    loss: Loss::Nothing,
};

pub(crate) const TASKS_OF_CLIENT: Row = Row {
    name: "tasks-of-client",
    way: Way::ToClient,
    since: ProtocolVersion::V2025_11_25,
    payload: "`tasks/get`, `tasks/list`, `tasks/result`, `tasks/cancel` of the server's",
    treatment: "are answered with the error -32601: its client has no tasks",
    loss: Loss::Refused,
};

pub(crate) const TASK_STATUS_TO_CLIENT: Row = Row {
    name: "task-status-to-client",
    way: Way::ToClient,
    since: ProtocolVersion::V2025_11_25,
    payload: "`notifications/tasks/status` of the server's",
    treatment: "is dropped: its client has begun no task",
    loss: Loss::Nothing,
};

pub(crate) const TASKS_OF_SERVER: Row = Row {
    name: "tasks-of-server",
    way: Way::ToServer,
    since: ProtocolVersion::V2025_11_25,
    payload: "`tasks/get`, `tasks/list`, `tasks/result`, `tasks/cancel` of the client's",
    treatment: "are answered with the error -32601, which names the server's revision",
    loss: Loss::Refused,
};

pub(crate) const TASK_STATUS_TO_SERVER: Row = Row {
    name: "task-status-to-server",
    way: Way::ToServer,
    since: ProtocolVersion::V2025_11_25,
    payload: "`notifications/tasks/status` of the client's",
    treatment: "is dropped: its server has begun no task",
    loss: Loss::Nothing,
};

/// What a client says.
pub(crate) fn to_server(message: &Message, server: ProtocolVersion) -> Passage {
    let row = match message.method().unwrap_or_default() {
        "tasks/get" | "tasks/list" | "tasks/result" | "tasks/cancel" => &TASKS_OF_SERVER,
        "notifications/tasks/status" => &TASK_STATUS_TO_SERVER,
        _ => return Passage::Same,
    };
    judge(row, message, "the server", server)
}

/// What a server says unasked.
pub(crate) fn to_client(message: &Message, client: ProtocolVersion) -> Passage {
    let row = match message.method().unwrap_or_default() {
        "elicitation/create" => &ELICITATION,
        "notifications/elicitation/complete" => &ELICITATION_COMPLETE,
        "tasks/get" | "tasks/list" | "tasks/result" | "tasks/cancel" => &TASKS_OF_CLIENT,
        "notifications/tasks/status" => &TASK_STATUS_TO_CLIENT,
        _ => return Passage::Same,
    };
    judge(row, message, "the client", client)
}

fn judge(row: &Row, message: &Message, who: &str, peer: ProtocolVersion) -> Passage {
    if !row.is_new_to(peer) {
        return Passage::Same;
    }
    let (method, since) = (message.method().unwrap_or_default(), row.since);
    let words = format!("{who} speaks MCP {peer}, which has no `{method}`; it came with {since}");
    Passage::refused(message, RpcError::METHOD_NOT_FOUND, words)
}
