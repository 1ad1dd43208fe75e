//! What a client says without waiting for an answer.

use std::sync::Arc;

use mcp_jsonrpc::{
    params::Cancelled,
    transport::{ErrorKind, Exchange, Reply, TransportError},
};
use tracing::debug;

use super::ClientSession;
use crate::link::Link;

impl ClientSession {
    /// Passes on a notification, or an answer to what the server asked.
    pub(super) async fn tell(
        self: &Arc<Self>,
        mut exchange: Exchange,
    ) -> Result<Reply, TransportError> {
        let message = &exchange.message;
        match message.method() {
            Some("notifications/cancelled") => {
                if let Ok(cancelled) = message.read::<Cancelled>() {
                    self.calls.cancel(&cancelled.request_id, cancelled.reason);
                }
                return Ok(Reply::Accepted);
            }
            Some("notifications/initialized") if !self.is_alone() => {
                let link = self.link().await?;
                if !link.shared && !link.is_listening() {
                    Box::pin(self.confirm(&link)).await;
                }
                return Ok(Reply::Accepted);
            }
            _ => (),
        }
        if message.is_answer() {
            // To the link that asked, also one that is being left.
            let Some((link, answer)) = self.questions.answer(message) else {
                debug!(server = %self.server.name, "an answer to nothing, or too late: dropped");
                return Ok(Reply::Accepted);
            };
            exchange.message = answer;
            if let Err(error) = self.send_over(&link, exchange).await {
                // Whoever asked is gone, and the client can do nothing about that.
                debug!(server = %self.server.name, %error, "an answer came too late");
                if error.is_unsent() {
                    link.lost(&error);
                }
            }
            return Ok(Reply::Accepted);
        }
        if self.is_alone() {
            return Ok(Reply::Accepted);
        }
        let link = self.link().await?;
        if link.shared && message.method() == Some("notifications/roots/list_changed") {
            return Ok(Reply::Accepted);
        }
        match self.send_over(&link, exchange.clone()).await {
            Err(error) if error.is_unsent() => {
                link.lost(&error);
                let link = self.link().await?;
                let told = self.send_over(&link, exchange).await;
                told.map_err(|error| still_lost(&link, error))?;
            }
            told => _ = told?,
        }
        Ok(Reply::Accepted)
    }
}

/// What a client hears where a new link was in vain too: that the server has forgotten a session
/// of the gateway's says nothing about the client's own, which goes on.
pub(super) fn still_lost(link: &Arc<Link>, error: TransportError) -> TransportError {
    if error.is_unsent() {
        link.lost(&error);
    }
    if *error.kind() == ErrorKind::NoSession { error.unsent() } else { error }
}
