//! Whose a link is, and how it is let go when its server is configured anew.

use std::sync::{Arc, atomic::Ordering};

use mcp_jsonrpc::transport::TransportError;
use tokio::time::Instant;

use super::Link;
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
        let home = self.home.upgrade();
        let hurried = async {
            match &home {
                Some(home) => home.hurried().await,
                None => std::future::pending().await,
            }
        };
        let done = tokio::select! {
            done = self.load.close(deadline) => done,
            () = hurried => self.load.close(Instant::now()).await,
        };
        if !done {
            self.cut.store(true, Ordering::Release);
        }
    }
}
