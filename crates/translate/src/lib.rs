//! What becomes of a message between two sides that speak different revisions.
//!
//! A client and a server behind the gateway agree on a revision each on its own.  Where those
//! differ, most messages pass all the same, since no schema forbids members it does not know.  The
//! rest is degraded by the [`ROWS`] of one table, or refused in plain words: nothing is sent that
//! its reader would choke on, and nothing is dropped without a row that says so.
//!
//! A [`Bridge`] does no I/O and keeps no state: a message goes in, and a [`Passage`] comes out.
//! Edits splice, so that whatever is around them keeps its bytes.
//!
//! ```
//! use mcp_jsonrpc::{Message, ProtocolVersion};
//! use translate::Bridge;
//!
//! let (old, new) = (ProtocolVersion::V2024_11_05, ProtocolVersion::V2025_11_25);
//! assert!(Bridge::between(old, old).is_none(), "nothing to do, and nothing is done");
//! let bridge = Bridge::between(old, new).unwrap();
//! let answer = Message::parse(
//!     r#"{"jsonrpc":"2.0","id":1,"result":{"n":1e400,"content":[
//!         {"type":"resource_link","name":"a","uri":"file:///a"}]}}"#,
//! )?;
//! let heard = bridge.answer("tools/call", &answer);
//! assert_eq!(heard.body().unwrap(),
//!     r#"{"n":1e400,"content":[{"type":"text","text":"a — file:///a"}]}"#);
//! # Ok::<(), mcp_jsonrpc::ParseError>(())
//! ```

mod content;
mod handshake;
pub mod ledger;
mod methods;
pub mod modern;
mod questions;
mod row;
mod tools;

use mcp_jsonrpc::{Id, Kind, Message, ParseError, ProtocolVersion, RpcError};

pub use row::{Loss, ROWS, Row, Way};

/// A client and a server that speak different revisions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bridge {
    client: ProtocolVersion,
    server: ProtocolVersion,
}

/// What becomes of a message.
#[derive(Clone, Debug)]
pub enum Passage {
    /// It goes on, byte for byte.
    Same,
    /// It goes on like this.
    Edited(Message),
    /// It ends here: its reader's revision does not know it, and nobody waits for an answer.
    Dropped,
    /// It ends here, and this is what its sender is answered.
    Refused(Message),
}

// === impl Bridge ===

impl Bridge {
    /// The bridge between two revisions; none between two that are the same.
    pub fn between(client: ProtocolVersion, server: ProtocolVersion) -> Option<Self> {
        (client != server).then_some(Self { client, server })
    }

    /// What becomes of a request, a notification or an answer of the client's.
    pub fn to_server(self, message: &Message) -> Passage {
        if message.is_answer() {
            return Passage::of(questions::to_server(message, self.server));
        }
        methods::to_server(message, self.server)
    }

    /// What becomes of a request or a notification of the server's.
    pub fn to_client(self, message: &Message) -> Passage {
        if message.is_answer() {
            return Passage::Same;
        }
        match methods::to_client(message, self.client) {
            Passage::Same => questions::to_client(message, self.client),
            passage => passage,
        }
    }

    /// The server's answer to a request by this method, as its client hears it.
    #[must_use]
    pub fn answer(self, method: &str, answer: &Message) -> Message {
        let edited = match (method, answer.kind()) {
            ("initialize", Kind::Response) => handshake::answer(answer, self.client),
            ("tools/list", Kind::Response) => tools::list(answer, self.client),
            ("tools/call", Kind::Response) => tools::result(answer, self.client),
            ("tools/call", Kind::Error) => tools::error(answer, self.client),
            ("prompts/get", Kind::Response) => content::prompt(answer, self.client),
            _ => return answer.clone(),
        };
        // What cannot be read is malformed in every revision: its reader has the last word.
        edited.ok().flatten().unwrap_or_else(|| answer.clone())
    }

    /// A client's `initialize` as it goes to a server that is offered another revision: in that
    /// revision, and declaring nothing that the client's own does not have.
    ///
    /// # Errors
    ///
    /// [`ParseError`] for what is no `initialize`.
    pub fn greeting(self, message: &Message) -> Result<Message, ParseError> {
        handshake::greeting(message, self.client, self.server)
    }
}

// === impl Passage ===

impl Passage {
    /// An edit that was made, not needed, or not possible: the latter leaves what it found.
    fn of(edited: Result<Option<Message>, ParseError>) -> Self {
        edited.ok().flatten().map_or(Self::Same, Self::Edited)
    }

    /// Refuses a request; drops what nobody waits for.
    fn refused(request: &Message, code: i32, words: String) -> Self {
        let Some(id) = request.id().filter(|_| request.kind() == Kind::Request) else {
            return Self::Dropped;
        };
        Self::answered(id, Message::error(Some(id), &RpcError::new(code, words)))
    }

    /// Such an answer holds nothing that cannot be written; if it did, silence would be worse.
    fn answered(id: &Id, answer: Result<Message, ParseError>) -> Self {
        let fallback = || {
            let error = RpcError::new(RpcError::INTERNAL, "the answer could not be written");
            Message::error(Some(id), &error).ok()
        };
        answer.ok().or_else(fallback).map_or(Self::Dropped, Self::Refused)
    }
}

#[cfg(test)]
mod tests;
