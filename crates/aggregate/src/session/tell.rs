//! What a client says without waiting for an answer.

use std::sync::{Arc, MutexGuard, PoisonError};

use mcp_jsonrpc::{
    Message,
    transport::{Exchange, Reply, TransportError},
};
use tracing::debug;
use translate::Passage;

use super::Talk;
use crate::link::Link;

impl Talk {
    /// Passes on a notification, to whom it may concern.
    pub(super) async fn tell(&self, exchange: Exchange) -> Result<Reply, TransportError> {
        let message = &exchange.message;
        match message.method() {
            Some("notifications/roots/list_changed") => {
                let links = self.links();
                let told = links.iter().map(|link| self.tell_one(link, message.clone()));
                futures::future::join_all(told).await;
            }
            Some("notifications/progress") => match self.questions.progress(message) {
                Some(link) => self.tell_one(&link, message.clone()).await,
                None => debug!("progress of nothing that was asked: dropped"),
            },
            // Each link has said so itself; and whoever uses a session takes back a request by
            // dropping it.
            Some("notifications/initialized" | "notifications/cancelled") => (),
            // Of a task that the client has begun for a server: an id of its own.
            Some("notifications/tasks/status") => {
                let links: Vec<_> = self.links().into_iter().filter(|it| it.can("tasks")).collect();
                let told = links.iter().map(|link| self.tell_one(link, message.clone()));
                futures::future::join_all(told).await;
            }
            method => debug!(method, "for no server in particular: dropped"),
        }
        Ok(Reply::Accepted)
    }

    /// Passes on the client's answer to a server's question.
    pub(super) async fn reply(&self, exchange: Exchange) -> Result<Reply, TransportError> {
        let Some((link, answer)) = self.questions.answer(&exchange.message) else {
            debug!("an answer to nothing, or too late: dropped");
            return Ok(Reply::Accepted);
        };
        let shown = self.now();
        let own = shown.as_ref().and_then(|shown| {
            let member = shown.view().member(&link.member.name)?;
            Some(shown.view().reply(member, &answer))
        });
        self.tell_one(&link, own.unwrap_or(answer)).await;
        Ok(Reply::Accepted)
    }

    /// Tells one server, in its own revision.  If it is gone, the client can do nothing about it.
    async fn tell_one(&self, link: &Arc<Link>, message: Message) {
        let message = match link.bridge.map_or(Passage::Same, |it| it.to_server(&message)) {
            Passage::Same => message,
            Passage::Edited(message) => message,
            Passage::Dropped | Passage::Refused(_) => return,
        };
        if let Err(error) = link.tell(message).await {
            debug!(server = %link.member.name, %error, "the server did not hear its client");
        }
    }

    pub(super) fn level(&self) -> MutexGuard<'_, Option<Message>> {
        self.level.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
