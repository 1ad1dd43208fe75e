//! Tools: what each is called, takes and gives, and since when it is offered.

use mcp_jsonrpc::{Message, ProtocolVersion, RpcError};
use serde_json::{Map, Value, json};

use crate::{
    content::icons,
    page::Paged,
    revision::{LISTED, TOOL, TOOL_UNTIL, fit, fit_until},
    session::read as params,
    state::{Extra, Inner},
};

struct Tool {
    name: &'static str,
    title: &'static str,
    description: &'static str,
    since: ProtocolVersion,
    hint: Hint,
    takes: &'static [Argument],
    /// What `structuredContent` holds: a member and its type.
    gives: Option<(&'static str, &'static str)>,
}

/// What a tool does to the world.
#[derive(Clone, Copy)]
enum Hint {
    /// Nothing.
    Reads,
    /// Something that can be undone.
    Changes,
}

/// Name, type, description, and whether it must be there.
type Argument = (&'static str, &'static str, &'static str, bool);

/// A tool that takes nothing, gives text, changes nothing, and was always there.
const TOOL_PLAIN: Tool = Tool {
    name: "",
    title: "",
    description: "",
    since: ProtocolVersion::V2024_11_05,
    hint: Hint::Reads,
    takes: &[],
    gives: None,
};

const TOOLS: &[Tool] = &[
    Tool {
        name: "echo",
        title: "Echo",
        description: "Says what it is told",
        takes: &[("message", "string", "What to say", true)],
        ..TOOL_PLAIN
    },
    Tool {
        name: "add",
        title: "Add",
        description: "Adds two numbers",
        takes: &[("a", "number", "One", true), ("b", "number", "The other", true)],
        gives: Some(("sum", "number")),
        ..TOOL_PLAIN
    },
    Tool {
        name: "count",
        title: "Count",
        description: "Counts how often it was called since the server started, by anybody",
        hint: Hint::Changes,
        gives: Some(("count", "integer")),
        ..TOOL_PLAIN
    },
    Tool {
        name: "progress",
        title: "Progress",
        description: "Takes some steps and reports each to a caller who gave a progress token",
        takes: &[
            ("steps", "integer", "How many", true),
            ("ms", "integer", "How long each takes, in milliseconds; 0 by default", false),
        ],
        ..TOOL_PLAIN
    },
    Tool {
        name: "sleep",
        title: "Sleep",
        description: "Takes its time; can be cancelled",
        takes: &[("ms", "integer", "How long, in milliseconds", true)],
        ..TOOL_PLAIN
    },
    Tool {
        name: "log",
        title: "Log",
        description: "Logs, if the session's level lets it",
        takes: &[
            ("level", "string", "How grave: debug, info, notice, warning, error, …", true),
            ("message", "string", "What to log", true),
            ("times", "integer", "How often; once by default", false),
        ],
        ..TOOL_PLAIN
    },
    Tool {
        name: "blob",
        title: "Blob",
        description: "Returns a text of any length",
        takes: &[("len", "integer", "How many bytes", true)],
        ..TOOL_PLAIN
    },
    Tool { name: "fail", title: "Fail", description: "Fails, as a tool", ..TOOL_PLAIN },
    Tool {
        name: "raise",
        title: "Raise",
        description: "Fails, as a request: with a JSON-RPC error",
        takes: &[
            ("code", "integer", "The error's code; 4001 by default", false),
            ("message", "string", "What the error says", false),
            ("data", "object", "What it has to say beyond that", false),
        ],
        ..TOOL_PLAIN
    },
    Tool { name: "image", title: "Image", description: "Returns an image", ..TOOL_PLAIN },
    Tool {
        name: "audio",
        title: "Audio",
        description: "Returns a sound, though a silent one",
        since: ProtocolVersion::V2025_03_26,
        ..TOOL_PLAIN
    },
    Tool {
        name: "resource-link",
        title: "Resource link",
        description: "Returns a link to a resource",
        since: ProtocolVersion::V2025_06_18,
        ..TOOL_PLAIN
    },
    Tool {
        name: "toggle",
        title: "Toggle",
        description: "Adds an entry `extra` to a list, or takes it away, and tells",
        hint: Hint::Changes,
        takes: &[("what", "string", "tool (by default), prompt or resource", false)],
        ..TOOL_PLAIN
    },
    Tool {
        name: "touch",
        title: "Touch",
        description: "Changes the resource demo://note and tells its subscribers",
        hint: Hint::Changes,
        takes: &[("times", "integer", "How often; once by default", false)],
        ..TOOL_PLAIN
    },
    Tool {
        name: "ask-elicitation",
        title: "Ask the user",
        description: "Asks the user to fill in a form",
        since: ProtocolVersion::V2025_06_18,
        ..TOOL_PLAIN
    },
    Tool {
        name: "ask-sampling",
        title: "Ask the model",
        description: "Asks the client's model",
        takes: &[("prompt", "string", "What to ask; to say hello by default", false)],
        ..TOOL_PLAIN
    },
    Tool {
        name: "ask-roots",
        title: "Ask for roots",
        description: "Asks the client for its roots",
        ..TOOL_PLAIN
    },
];

/// Comes and goes with the tool `toggle`.
const EXTRA: Tool = Tool {
    name: "extra",
    title: "Extra",
    description: "There since `toggle` was called",
    ..TOOL_PLAIN
};

/// All there are for this revision, and in this state.
fn offered(version: ProtocolVersion, extra: Extra) -> impl Iterator<Item = &'static Tool> {
    const EXTRAS: &[Tool] = &[EXTRA];
    let extras = if extra.tool { EXTRAS } else { &[] };
    TOOLS.iter().chain(extras).filter(move |tool| tool.since <= version)
}

pub(crate) fn has(name: &str, version: ProtocolVersion, extra: Extra) -> bool {
    offered(version, extra).any(|tool| tool.name == name)
}

pub(crate) fn list(
    session: &Inner,
    version: ProtocolVersion,
    message: &Message,
) -> Result<Value, RpcError> {
    let extra = session.world().extra;
    let entries = offered(version, extra).map(|tool| entry(tool, version)).collect();
    params::<Paged>(message)?.of("tools", entries, session.options().page_len_max)
}

fn entry(tool: &Tool, version: ProtocolVersion) -> Value {
    let reads = matches!(tool.hint, Hint::Reads);
    let mut entry = json!({
        "name": tool.name,
        "title": tool.title,
        "description": tool.description,
        "inputSchema": takes(tool.takes),
        "annotations": {
            "title": tool.title,
            "readOnlyHint": reads,
            "destructiveHint": false,
            "idempotentHint": reads,
            "openWorldHint": false,
        },
        "execution": { "taskSupport": "forbidden" },
        "icons": icons(),
    });
    if let (Some((name, kind)), Some(entry)) = (tool.gives, entry.as_object_mut()) {
        let schema = takes(&[(name, kind, "", true)]);
        entry.insert("outputSchema".to_owned(), schema);
    }
    fit_until(fit(fit(entry, LISTED, version), TOOL, version), TOOL_UNTIL, version)
}

/// The schema of an object.
fn takes(members: &[Argument]) -> Value {
    let schema = |(name, kind, description, _): &Argument| {
        let mut schema = json!({ "type": kind });
        if let (false, Some(schema)) = (description.is_empty(), schema.as_object_mut()) {
            schema.insert("description".to_owned(), json!(description));
        }
        ((*name).to_owned(), schema)
    };
    let properties: Map<String, Value> = members.iter().map(schema).collect();
    let required: Vec<_> = members.iter().filter(|it| it.3).map(|it| it.0).collect();
    json!({ "type": "object", "properties": properties, "required": required })
}
