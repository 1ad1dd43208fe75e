//! What the front door's one log line says about a request.

use mcp_jsonrpc::{Message, transport::SessionId};

/// What a server half learnt about a request: it travels with the body of the response, for whoever
/// writes the log line.
#[derive(Clone, Debug, Default)]
pub struct Note {
    /// The JSON-RPC method, or that of the first message of a batch.
    pub rpc_method: Option<Box<str>>,
    /// The session; its `Debug` and [`short`](SessionId::short) form may be logged.
    pub session: Option<SessionId>,
    /// Why it was refused, or went wrong, in full: with the errors behind the error.
    pub reason: Option<String>,
    /// Whether it was given to a session: whatever came of it is that one's to say.
    pub carried: bool,
    /// Whether it was refused here, and is no answer of a server's.
    pub refused: bool,
}

impl Note {
    /// A note on a message.
    pub fn about(message: &Message) -> Self {
        Self { rpc_method: message.method().map(Into::into), ..Self::default() }
    }
}
