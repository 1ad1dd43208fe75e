//! A question of the server's, on its way to a client that is told of it in an answer.

use mcp_jsonrpc::{Message, ProtocolVersion};
use serde_json::value::RawValue;
use tracing::debug;
use translate::{Bridge, Passage, modern::up};

/// A question, and its answer once there is one.
pub(super) struct Question {
    /// Its name in `inputRequests`: no other of the same call has it.
    pub(super) key: Box<str>,
    pub(super) method: Box<str>,
    /// As the server asked it; none where it stands for an error (-32042).
    pub(super) asked: Option<Message>,
    /// As the client is asked.
    pub(super) entry: Box<RawValue>,
    pub(super) answer: Option<Box<RawValue>>,
    /// The server does not wait for the answer any more.
    pub(super) withdrawn: bool,
}

// === impl Question ===

impl Question {
    /// A question of the server's; none where it cannot be read.
    pub(super) fn of(key: Box<str>, asked: Message) -> Option<Self> {
        let entry = up::entry(&asked).inspect_err(|error| debug!(%error, "a malformed question"));
        let method = asked.method()?.into();
        let (entry, asked) = (entry.ok()?, Some(asked.detached()));
        Some(Self { key, method, asked, entry, answer: None, withdrawn: false })
    }

    /// An address that the server wants its client's user to visit.
    pub(super) fn url(key: Box<str>, entry: Box<RawValue>) -> Self {
        let method = "elicitation/create".into();
        Self { key, method, asked: None, entry, answer: None, withdrawn: false }
    }

    pub(super) fn is_open(&self) -> bool {
        self.answer.is_none() && !self.withdrawn
    }

    /// What the server is answered.
    pub(super) fn reply(&self, server: ProtocolVersion) -> Option<Message> {
        let asked = self.asked.as_ref().filter(|_| !self.withdrawn)?;
        let reply = Message::response(asked.id()?, self.answer.as_ref()?).ok()?;
        let reply = match Bridge::between(ProtocolVersion::V2026_07_28, server)?.to_server(&reply) {
            Passage::Same => reply,
            Passage::Edited(edited) => edited,
            Passage::Dropped | Passage::Refused(_) => return None,
        };
        up::related(asked, reply).ok()
    }
}
