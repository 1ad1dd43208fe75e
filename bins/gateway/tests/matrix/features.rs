//! The features: what is done, and what both sides have to see of it.

mod basics;
mod calls;
mod lists;
mod questions;
mod shared;
mod tasks;

use mcp_jsonrpc::ProtocolVersion;

use crate::{
    actor::{Actor, script},
    said::Said,
};

/// What came of a feature in one cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It arrives as it was said.
    Same,
    /// It arrives as these rows of the table have it.
    Rows(Vec<&'static str>),
    /// One of the revisions does not have it, so that nobody does it.
    Absent,
}

pub(crate) type Feature = fn(&mut Actor) -> Outcome;

pub(crate) const V03: ProtocolVersion = ProtocolVersion::V2025_03_26;
pub(crate) const V06: ProtocolVersion = ProtocolVersion::V2025_06_18;
pub(crate) const V11: ProtocolVersion = ProtocolVersion::V2025_11_25;

/// In the order in which they are played.
pub(crate) const FEATURES: &[(&str, Feature)] = &[
    ("`initialize`: revision, capabilities, instructions", basics::initialize),
    ("`ping` of the client", basics::ping),
    ("`ping` of the server", basics::pong),
    ("ids of both types", basics::ids),
    ("unknown methods and members, both ways", basics::unknown),
    ("errors: code, words, data", basics::errors),
    ("batches", basics::batches),
    ("`tools/list`: pages, titles, icons, annotations", lists::tools),
    ("`tools/list`: what only a later revision may list", lists::later_tools),
    ("`prompts/list`, `prompts/get`", lists::prompts),
    ("`resources/list`, `resources/templates/list`, `resources/read`", lists::resources),
    ("`completion/complete`", lists::completion),
    ("`list_changed` of tools, prompts, resources", lists::changes),
    ("`resources/subscribe`, `updated`, `unsubscribe`", lists::subscriptions),
    ("`logging/setLevel`, `notifications/message`", lists::logging),
    ("`tools/call`: every type of content", calls::content),
    ("`tools/call`: structured content", calls::structured),
    ("`tools/call`: `isError`, `_meta`", calls::failing),
    ("`tools/call`: a URL to visit first", calls::url_required),
    ("`notifications/progress`", calls::progress),
    ("`notifications/cancelled` of the client", calls::cancelled),
    ("`notifications/cancelled` of the server", calls::withdrawn),
    ("`sampling/createMessage`", questions::sampling),
    ("`sampling/createMessage`: sounds", questions::sampling_audio),
    ("`sampling/createMessage`: several blocks", questions::sampling_blocks),
    ("`sampling/createMessage`: tools", questions::sampling_tools),
    ("`elicitation/create`: a form", questions::form),
    ("`elicitation/create`: titled choices", questions::titled),
    ("`elicitation/create`: several choices", questions::several),
    ("`elicitation/create`: a URL", questions::url),
    ("`roots/list`, `notifications/roots/list_changed`", questions::roots),
    ("tasks of the server", tasks::of_server),
    ("tasks of the client", tasks::of_client),
];

/// Of two clients that share a session of the server, whose ids and tokens are equal.
pub(crate) const SHARED: &[(&str, Feature)] = &[
    ("`ping` of the client", basics::ping),
    ("ids of both types", basics::ids),
    ("`tools/list`", lists::tools),
    ("`tools/call`", calls::failing),
    ("`completion/complete`", lists::completion),
    ("`notifications/progress`", calls::progress),
    ("`notifications/cancelled` of one", shared::cancelled),
    ("`resources/updated` for one", shared::updated),
    ("questions", shared::questions),
];

impl Actor {
    /// Sends a request that brings a script; returns its answer.
    #[track_caller]
    fn run(&mut self, method: &str, rest: &str, steps: &str) -> Said {
        self.ask(method, &script(rest, steps))
    }

    /// Has the server say something unasked, and returns what is heard.
    #[track_caller]
    fn prompt(&mut self, method: &str, message: &str) -> Said {
        self.run("x/do", "", &format!(r#"{{"unasked":{message}}}"#));
        self.told(method)
    }

    /// Whether a server's payload is news to the client.
    fn is_behind(&self, since: ProtocolVersion) -> bool {
        self.told < since && since <= self.cell.server
    }

    fn server(&self) -> ProtocolVersion {
        self.cell.server
    }
}

/// Rows where there are any.
fn rows(rows: Vec<&'static str>) -> Outcome {
    if rows.is_empty() { Outcome::Same } else { Outcome::Rows(rows) }
}

/// Members that a parser would have changed.
fn odd(tag: &str) -> String {
    format!(
        r#"{{ "tag":"{tag}","n":1e400, "big":123456789012345678901234567890,"f":1.0,"z":-0 ,"esc":"\u00e9\/\ud83d\ude00","e":"é漢😀","":null,"deep":[[{{"a":[ ]}}]],"id":"no","jsonrpc":"1.0"}}"#
    )
}
