//! The rows of the table for a client of 2026-07-28 in front of a server with a handshake.

use mcp_jsonrpc::ProtocolVersion;

use crate::row::{Loss, Row, Way};

const fn row(
    name: &'static str,
    payload: &'static str,
    treatment: &'static str,
    loss: Loss,
) -> Row {
    let since = ProtocolVersion::V2024_11_05;
    Row { name, way: Way::Up, since, payload, treatment, loss }
}

const fn of_2025_11(mut row: Row) -> Row {
    row.since = ProtocolVersion::V2025_11_25;
    row
}

pub(crate) const DISCOVER: Row = row(
    "discover",
    "`server/discover`",
    "is answered from the server's answer to `initialize`, which the gateway sends on the client's \
     behalf",
    Loss::Nothing,
);

pub(crate) const SESSION: Row = row(
    "pooled-session",
    "the session that the server keeps",
    "is the gateway's: all requests of one caller whose clients can do the same share it",
    Loss::Some(
        "what a server keeps for a session is shared by all agents of one caller; `clientInfo` is \
         that of whoever came first",
    ),
);

pub(crate) const REQUEST_META: Row = row(
    "request-meta",
    "revision, client, capabilities and log level in `_meta` of a request",
    "are taken out: `initialize` and `logging/setLevel` say them to the server's session",
    Loss::Nothing,
);

pub(crate) const RESULT_TYPE: Row = row(
    "result-type",
    "a result",
    "is given `resultType: \"complete\"`, and `serverInfo` in its `_meta`",
    Loss::Nothing,
);

pub(crate) const CACHE: Row = row(
    "cache-hints",
    "lists, and resources that are read",
    "are given `ttlMs: 0` and `cacheScope: \"private\"` where they have none",
    Loss::Nothing,
);

pub(crate) const NOT_FOUND: Row = row(
    "resource-not-found",
    "the error -32002",
    "becomes -32602, with the same words and data",
    Loss::Some("that it is told from other wrong parameters by its code"),
);

pub(crate) const RESERVED: Row = row(
    "reserved-errors",
    "the errors -32020, -32021 and -32022 of a server that knows nothing of 2026-07-28",
    "become -32603, with the same words and data",
    Loss::Some("the code"),
);

pub(crate) const QUESTIONS: Row = row(
    "questions",
    "`elicitation/create`, `sampling/createMessage` and `roots/list` while `tools/call`, \
     `prompts/get` or `resources/read` runs",
    "are answered to the client as `input_required`, and the call waits for the retry",
    Loss::Some("what has waited for 10 minutes, or when the gateway ends"),
);

pub(crate) const UNATTRIBUTED: Row = row(
    "unattributed-questions",
    "such a question where no such call runs, or it can be for several",
    "is refused: an elicitation is cancelled, a sample is refused with -1, roots are those of the \
     configuration, or none",
    Loss::Refused,
);

pub(crate) const URL_REQUIRED: Row = of_2025_11(row(
    "url-required",
    "the error -32042",
    "becomes `input_required` with a question of the mode `url` for each address; the retry sends \
     the request again, which the server had refused. -32021 to a client that opens no addresses",
    Loss::Nothing,
));

pub(crate) const ELICITATION_DONE: Row = of_2025_11(row(
    "elicitation-done",
    "`elicitationId`, and `notifications/elicitation/complete`",
    "are left out: a client of 2026-07-28 tries again to see",
    Loss::Some("the sign that a retry is worth it"),
));

pub(crate) const LISTEN: Row = row(
    "listen",
    "`subscriptions/listen`",
    "is answered with what the server declares (`listChanged`, `subscribe`), and yields what it \
     says of that; each resource is subscribed to as long as anybody wants it",
    Loss::Nothing,
);

pub(crate) const LOGS: Row = row(
    "logs",
    "`notifications/message`",
    "goes with the request whose stream it came down, or which alone was running, from the level \
     on that this request names; its answer waits a moment where the server logs after it",
    Loss::Some("what no request can be told to have caused"),
);

pub(crate) const PROGRESS: Row = row(
    "progress-of-waiting",
    "progress while a call waits for its client's answers",
    "is kept until the retry: the last of it",
    Loss::Some("what came before"),
);

pub(crate) const ROOTS: Row = row(
    "early-roots",
    "`roots/list` as soon as a session begins",
    "is asked of the first client whose request can be answered with a question, before that \
     request is sent; its answer is kept for minutes",
    Loss::Some("`notifications/roots/list_changed`, which 2026-07-28 does not have"),
);

pub(crate) const CORE_TASKS: Row = of_2025_11(row(
    "core-tasks",
    "tasks: the capability, `execution` of a tool, `task` of a call, `tasks/*`",
    "are not shown; `tasks/*` is answered with -32601",
    Loss::Some("that a call can go on without its client"),
));

pub(crate) const TASK_REQUIRED: Row = of_2025_11(row(
    "task-required-up",
    "a call of a tool whose `execution.taskSupport` is `required`",
    "is begun as a task, and waited for: what it asks is asked of the client, what it says of itself \
     is told as progress, and it is cancelled when the client takes its call back",
    Loss::Nothing,
));

pub(crate) const REMOVED: Row = row(
    "removed-methods",
    "`initialize`, `ping`, `logging/setLevel`, `resources/subscribe`, `resources/unsubscribe` from \
     a client of 2026-07-28",
    "are answered with -32601: that revision does not have them",
    Loss::Refused,
);
