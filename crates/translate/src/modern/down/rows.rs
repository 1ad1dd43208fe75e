//! What a client with a handshake and a server of 2026-07-28 do not have in common.

use mcp_jsonrpc::ProtocolVersion;

use crate::row::{Loss, Row, Way};

const fn row(
    name: &'static str,
    payload: &'static str,
    treatment: &'static str,
    loss: Loss,
) -> Row {
    Row { name, way: Way::Down, since: ProtocolVersion::V2026_07_28, payload, treatment, loss }
}

pub(crate) const HANDSHAKE: Row = row(
    "down-handshake",
    "`initialize`, `ping`, `logging/setLevel` of the client",
    "are answered by the gateway; what they say goes with each request from then on",
    Loss::Nothing,
);

pub(crate) const RESULT: Row = row(
    "down-result",
    "`resultType`, `ttlMs`, `cacheScope`, and what `_meta` says of the server",
    "are taken away: there are clients that refuse answers over them",
    Loss::Some("for how long a listing may be kept"),
);

pub(crate) const NOT_FOUND: Row = row(
    "down-not-found",
    "the error -32602 to `resources/read` whose data name the resource",
    "becomes -32002",
    Loss::Nothing,
);

pub(crate) const CAPABILITY: Row = row(
    "down-capability",
    "the error -32021 of a server that needs what its client did not declare",
    "becomes a result with `isError` that says so, or -32603",
    Loss::Some("which capability, as data"),
);

pub(crate) const REFUSED: Row = row(
    "down-refused",
    "the errors -32020 and -32022, which are about the gateway's own request",
    "become -32603",
    Loss::Nothing,
);

pub(crate) const QUESTIONS: Row = row(
    "down-questions",
    "`input_required` in the place of a result",
    "is asked of the client as requests; the call is sent once more with their answers",
    Loss::Nothing,
);

pub(crate) const SAMPLING_REFUSED: Row = row(
    "down-sampling-refused",
    "an error in answer to sampling",
    "ends the call: a retry has no form for it",
    Loss::Some("that the server could go on without"),
);

pub(crate) const SUBSCRIPTIONS: Row = row(
    "down-subscriptions",
    "`resources/subscribe`, and news of lists",
    "are one `subscriptions/listen` each for all sessions of a caller",
    Loss::Nothing,
);

pub(crate) const ROOTS_CHANGED: Row = row(
    "down-roots-changed",
    "`notifications/roots/list_changed` of the client",
    "ends at the gateway: a server asks anew whenever it needs them",
    Loss::Nothing,
);

pub(crate) const TASKS: Row = row(
    "down-tasks",
    "a call that the server does in the background or not at all (the extension for tasks)",
    "is waited for: the gateway asks how far it is until it ends, asks the client what the task \
     asks, tells what it says of itself as progress, and cancels it when the client takes its call \
     back; what can be answered at once is",
    Loss::Some("that it can go on without its client: a call lasts no longer than its timeouts"),
);

pub(crate) const CORE_TASKS: Row = row(
    "down-core-tasks",
    "tasks as 2025-11-25 has them: the capability, `task` of a call, `tasks/*` of the client",
    "are not shown, are left out, and are answered with -32601",
    Loss::Some("that a client begins what it asks about later"),
);
