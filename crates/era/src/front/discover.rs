//! `server/discover`, answered in front of a server that has a handshake.

use std::sync::Arc;

use mcp_jsonrpc::{
    Message, ProtocolVersion,
    transport::{ErrorKind, Exchange, Reply, TransportError},
};
use translate::modern::up;

use super::{Inner, pool::Who, pooled::unwritten, wants::Wants};

impl Inner {
    /// What the server is: at once where that is known, from a session opened for it otherwise.
    pub(super) async fn discover(
        self: &Arc<Self>,
        who: &Who,
        exchange: &Exchange,
        wants: &Wants,
    ) -> Result<Reply, TransportError> {
        let known = match self.pool.known(&who.caller) {
            Some(known) => known,
            None => {
                let info = wants.client_info.as_deref();
                let place = self.place(who, &wants.can, info, (false, None)).await?;
                Arc::clone(&place.pooled.known)
            }
        };
        let mut versions = ProtocolVersion::ALL;
        versions.reverse();
        let result = up::discovered(&known.answer, &versions).map_err(|error| {
            let what = "its answer to `initialize` cannot be read";
            TransportError::new(ErrorKind::Protocol, what).because(error)
        })?;
        let id = exchange.message.id().ok_or_else(TransportError::unanswered)?;
        Message::response(id, &result).map(Reply::Single).map_err(unwritten)
    }
}
