//! How a session goes on when its server is configured anew, or when its caller's rights end.

use std::sync::Arc;

use mcp_jsonrpc::{
    Message,
    transport::{ErrorKind, TransportError},
};
use tokio::time::Instant;
use tracing::info;

use super::ClientSession;
use crate::{handshake, link::Link, upstream::Upstream};

impl ClientSession {
    /// Lets go of a link whose server was configured anew: what it carries goes on, all else
    /// goes over another.
    pub(crate) fn let_go(&self) {
        let mut state = self.state();
        if state.link.as_ref().is_some_and(|link| link.is_retired()) {
            let link = state.link.take();
            state.leaving.extend(link);
        }
    }

    /// Takes a link of the server as it is configured now, where it had one or somebody listens.
    pub(crate) async fn go_on(self: &Arc<Self>) {
        // Whoever is about to take a link takes it first.
        drop(self.attaching.lock().await);
        let wants = {
            let state = self.state();
            let is_attended = !state.leaving.is_empty() || !state.listeners.is_empty();
            !state.closed
                && state.hello.is_some()
                && state.link.is_none()
                && is_attended
                && !self.is_alone()
        };
        if wants && let Err(error) = self.another_link().await {
            let (server, session) = (&self.server.name, self.named());
            info!(%server, ?session, %error, "no link yet: its next request tries again");
        }
    }

    /// Closes the links of `retired` as soon as they carry nothing more, or at the deadline.
    pub(crate) async fn leave(&self, retired: &Arc<Upstream>, deadline: Instant) {
        let leaving = self.state().leaving.clone();
        let leaving = leaving.iter().filter(|link| link.is_of(retired));
        let left = leaving.map(async |link| {
            link.drain(deadline).await;
            self.state().leaving.retain(|it| !Arc::ptr_eq(it, link));
            link.quit(self).await;
        });
        futures::future::join_all(left).await;
    }

    /// Whether it waits for news without a link that could bring any.
    pub(crate) fn wants_link(&self) -> bool {
        let state = self.state();
        let attended = !state.listeners.is_empty() || !state.subscriptions.is_empty();
        !state.closed
            && state.hello.is_some()
            && attended
            && !self.is_alone()
            && !state.link.as_ref().is_some_and(|link| link.is_open())
    }

    /// Tells the client, if it listens, that nobody waits for its answers to a link any more.
    pub(crate) fn forget_questions(&self, link: &Arc<Link>) {
        let over = self.questions.over(link, "the server that asked has ended");
        if !self.state().listeners.is_empty() {
            over.into_iter().for_each(|message| self.deliver(message));
        }
    }

    /// What a client is told when its session goes on over another link: that whatever may change
    /// has, as far as the last link's server or this one's said that it would tell.
    pub(super) fn announced(&self, link: &Link) -> Vec<&'static str> {
        let mut announced = handshake::announced(&link.answer);
        if let Some(last) = self.state().leaving.last() {
            announced.extend(handshake::announced(&last.answer));
        }
        announced.sort_unstable();
        announced.dedup();
        announced
    }

    /// Tells the client this, where its server said that it would.
    pub(crate) fn announce(&self, method: &'static str) {
        let link = self.state().link.clone();
        if link.is_some_and(|link| handshake::announced(&link.answer).contains(&method))
            && let Ok(news) = Message::notification(method, &serde_json::json!({}))
        {
            self.deliver(news);
        }
    }

    /// Ends the streams that listen: whoever may still listen opens another.
    pub(crate) fn end_streams(&self, why: &'static str) {
        let listeners = std::mem::take(&mut self.state().listeners);
        for listener in listeners {
            listener.finish(Err(TransportError::new(ErrorKind::NoSession, why)));
        }
    }
}
