//! Whose a link is, and how it is let go when its server is configured anew.

use std::sync::{Arc, PoisonError, atomic::Ordering};

use mcp_jsonrpc::{
    Id, Kind, Message,
    transport::{ErrorKind, TransportError},
};
use tokio::time::Instant;

use super::{ASKED_MAX, Link};
use crate::{session::ClientSession, upstream::Upstream};

impl Link {
    /// Whether it is of this server, as it is configured now.
    pub(crate) fn is_of(&self, upstream: &Arc<Upstream>) -> bool {
        self.home.as_ptr() == Arc::as_ptr(upstream)
    }

    /// Whether its server has been configured anew since it was opened.
    pub(crate) fn is_retired(&self) -> bool {
        self.home.upgrade().is_none_or(|home| home.is_retired())
    }

    /// Listens to it for as long as it is open; notes its end.
    pub(crate) fn watch(self: &Arc<Self>) {
        if let Some(home) = self.home.upgrade() {
            home.watch(self);
        }
    }

    /// Notes that it ended and nobody gave it up.
    pub(crate) fn lost(self: &Arc<Self>, error: &TransportError) {
        if let Some(home) = self.home.upgrade() {
            home.lost(self, error);
        }
    }

    /// A session needs it no more.
    pub(crate) async fn quit(self: &Arc<Self>, session: &ClientSession) {
        match self.home.upgrade() {
            Some(home) => home.leave(self, session).await,
            None => {
                self.leave(session);
            }
        }
    }

    /// Takes nothing more as soon as what it carries is done, or at the deadline: then what it
    /// still carries is to be cut off.
    pub(crate) async fn drain(&self, deadline: Instant) {
        if !self.load.close(deadline).await {
            self.cut.store(true, Ordering::Release);
        }
    }

    /// Puts the reason in place of an error that cutting it off has caused.
    pub(crate) fn explained(&self, error: TransportError) -> TransportError {
        if !self.cut.load(Ordering::Acquire) {
            return error;
        }
        let what = "its configuration was changed, and this request had not ended by the end of \
                    the grace period";
        let hint = "send it again, or raise `timeouts.drain` for requests that take longer";
        TransportError::new(ErrorKind::Closed, what).hint(hint).because(error)
    }

    /// Remembers what the server asks, so that the answer finds its way back to this link.
    pub(crate) fn note_asked(&self, message: &Message) {
        let Some(id) = message.id().filter(|_| message.kind() == Kind::Request) else { return };
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if ASKED_MAX <= asked.len() {
            asked.pop_front();
        }
        asked.push_back(id.clone());
    }

    /// Whether the server waits for an answer to this; from now on it does not.
    pub(crate) fn answered(&self, id: &Id) -> bool {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let at = asked.iter().position(|it| it == id);
        at.and_then(|at| asked.remove(at)).is_some()
    }
}
