//! The table: what one revision has and an older one has not, and what becomes of it.
//!
//! Each row lives beside the code that obeys it; here they are put together.

use mcp_jsonrpc::ProtocolVersion;

use crate::{
    content, handshake, methods,
    modern::{down, up},
    questions, tools,
};

/// What one revision has and an older one has not, and what becomes of it on its way there.
#[derive(Debug)]
pub struct Row {
    /// Its name, for logs and documents.
    pub name: &'static str,
    /// Who cannot take it.
    pub way: Way,
    /// The first revision that knows it.
    pub since: ProtocolVersion,
    /// What it is about.
    pub payload: &'static str,
    /// What becomes of it.
    pub treatment: &'static str,
    /// What does not arrive.
    pub loss: Loss,
}

/// Which side is the older one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// The client: the server has said it.
    ToClient,
    /// The server: the client has said it.
    ToServer,
    /// The client has a handshake, and its server speaks 2026-07-28.
    Down,
    /// The server has a handshake, and its client speaks 2026-07-28.
    Up,
}

/// What does not arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// All of it does, in another shape.
    Nothing,
    /// This much is lost.
    Some(&'static str),
    /// It is refused: whoever sent it is told so.
    Refused,
}

impl Row {
    /// Whether a peer of this revision does not know it.
    pub fn is_new_to(&self, peer: ProtocolVersion) -> bool {
        peer < self.since
    }
}

/// The table.
pub const ROWS: &[&Row] = &[
    &handshake::COMPLETIONS,
    &handshake::SERVER_TASKS,
    &handshake::CLIENT_ELICITATION,
    &handshake::CLIENT_URL,
    &handshake::CLIENT_TASKS,
    &handshake::CLIENT_SAMPLING,
    &content::AUDIO,
    &content::RESOURCE_LINK,
    &content::UNKNOWN,
    &tools::STRUCTURED,
    &tools::STRUCTURED_VALUE,
    &tools::OUTPUT_SCHEMA,
    &tools::BOOLEAN_SCHEMA,
    &tools::TASK_REQUIRED,
    &tools::URL_REQUIRED,
    &questions::ELICITATION_MODE,
    &questions::ELICITATION_URL,
    &questions::TITLED_ENUM,
    &questions::MULTI_SELECT,
    &questions::SAMPLING_TOOLS,
    &questions::SAMPLING_BLOCKS,
    &questions::SAMPLING_AUDIO,
    &questions::SAMPLED_BLOCKS,
    &questions::SAMPLED_AUDIO,
    &methods::ELICITATION,
    &methods::ELICITATION_COMPLETE,
    &methods::TASKS_OF_CLIENT,
    &methods::TASK_STATUS_TO_CLIENT,
    &methods::TASKS_OF_SERVER,
    &methods::TASK_STATUS_TO_SERVER,
    &down::HANDSHAKE,
    &down::RESULT,
    &down::NOT_FOUND,
    &down::CAPABILITY,
    &down::REFUSED,
    &down::QUESTIONS,
    &down::SAMPLING_REFUSED,
    &down::SUBSCRIPTIONS,
    &down::ROOTS_CHANGED,
    &down::TASKS,
    &down::CORE_TASKS,
    &up::DISCOVER,
    &up::SESSION,
    &up::REQUEST_META,
    &up::RESULT_TYPE,
    &up::CACHE,
    &up::NOT_FOUND,
    &up::RESERVED,
    &up::QUESTIONS,
    &up::UNATTRIBUTED,
    &up::URL_REQUIRED,
    &up::ELICITATION_DONE,
    &up::LISTEN,
    &up::LOGS,
    &up::PROGRESS,
    &up::ROOTS,
    &up::CORE_TASKS,
    &up::TASK_REQUIRED,
    &up::REMOVED,
];
