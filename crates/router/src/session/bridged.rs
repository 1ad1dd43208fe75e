//! A session and a link that speak different revisions.
//!
//! What may have to be degraded is handed to [`translate`]; where both sides speak the same
//! revision, nothing of this is reached.

use std::sync::Arc;

use futures::StreamExt;
use mcp_jsonrpc::{
    Message, ProtocolVersion,
    transport::{Event, Exchange, Reply, TransportError},
};
use tracing::debug;
use translate::{Bridge, Passage};

use super::ClientSession;
use crate::link::Link;

impl ClientSession {
    /// What lies between the client's revision and `server`; none if they are the same.
    pub(crate) fn bridge(&self, server: ProtocolVersion) -> Option<Bridge> {
        Bridge::between(*self.version.get()?, server)
    }

    /// Sends a message over a link, and hears the reply, each in the revision of its reader.
    pub(super) async fn send_over(
        self: &Arc<Self>,
        link: &Arc<Link>,
        exchange: Exchange,
    ) -> Result<Reply, TransportError> {
        match self.bridge(link.version) {
            None => link.send(self, exchange).await,
            // In a box: rare, and large beside the future of a call.
            Some(bridge) => Box::pin(across(bridge, Arc::clone(link), self, exchange)).await,
        }
    }
}

async fn across(
    bridge: Bridge,
    link: Arc<Link>,
    session: &Arc<ClientSession>,
    mut exchange: Exchange,
) -> Result<Reply, TransportError> {
    let method = exchange.message.method().unwrap_or_default().to_owned();
    match bridge.to_server(&exchange.message) {
        Passage::Same => (),
        Passage::Edited(message) => exchange.message = message,
        Passage::Dropped => {
            debug!(method, "dropped: the server's revision does not know it");
            return Ok(Reply::Accepted);
        }
        Passage::Refused(answer) => {
            debug!(method, "refused: the server's revision does not know it");
            return Ok(Reply::Single(answer));
        }
    }
    match link.send(session, exchange).await? {
        Reply::Accepted => Ok(Reply::Accepted),
        Reply::Single(answer) => Ok(Reply::Single(bridge.answer(&method, &answer))),
        Reply::Stream(events) => {
            let session = Arc::clone(session);
            let heard = events.filter_map(move |event| {
                let (session, method) = (Arc::clone(&session), method.clone());
                async move {
                    match event {
                        Ok(Event::Message { id, message }) => {
                            let message = hear(bridge, &session, &method, message).await?;
                            Some(Ok(Event::Message { id, message }))
                        }
                        other => Some(other),
                    }
                }
            });
            Ok(Reply::Stream(heard.boxed()))
        }
    }
}

/// What a client hears of what the server says to its request.
async fn hear(
    bridge: Bridge,
    session: &ClientSession,
    method: &str,
    said: Message,
) -> Option<Message> {
    if said.is_answer() {
        return Some(bridge.answer(method, &said));
    }
    match bridge.to_client(&said) {
        Passage::Same => Some(said),
        Passage::Edited(message) => Some(message),
        Passage::Dropped => None,
        Passage::Refused(answer) => {
            debug!(message = ?said, "refused: the client's revision does not know it");
            // Under the id by which the server asked.
            if let Some((link, answer)) = session.questions.answer(&answer)
                && let Err(error) = link.tell(answer).await
            {
                debug!(%error, "the server did not hear a refusal");
            }
            None
        }
    }
}
