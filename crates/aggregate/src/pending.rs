//! A request that a server has not answered yet.
//!
//! To whoever uses an aggregate, dropping is cancelling; a session with a server is one of a
//! revision with a handshake, where a lost reply cancels nothing.  So this is where it is said.

use std::sync::Arc;

use mcp_jsonrpc::{Id, Message, transport::reason};
use serde_json::json;
use tracing::debug;

use crate::link::Link;

/// A request that a server has not answered yet.  Dropped before it is, it is taken back.
#[derive(Debug)]
pub(crate) struct Pending {
    /// Where it was sent.
    pub(crate) link: Arc<Link>,
    id: Option<Id>,
}

// === impl Pending ===

impl Pending {
    /// A request that is about to be sent over a link.
    pub(crate) fn new(link: Arc<Link>, request: &Message) -> Self {
        Self { link, id: request.id().cloned() }
    }

    /// Notes that it is answered, or never will be.
    pub(crate) fn end(&mut self) {
        self.id = None;
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        let Some(id) = self.id.take() else { return };
        if !self.link.is_open() {
            return;
        }
        let params = match reason() {
            Some(reason) => json!({ "requestId": id, "reason": reason }),
            None => json!({ "requestId": id }),
        };
        let Ok(cancelled) = Message::notification("notifications/cancelled", &params) else {
            return;
        };
        let link = Arc::clone(&self.link);
        // Outside of a runtime nothing runs any more that could be cancelled.
        if tokio::runtime::Handle::try_current().is_err() {
            return;
        }
        self.link.spawn(async move {
            if let Err(error) = link.tell(cancelled).await {
                debug!(server = %link.member.name, %error, "a request could not be taken back");
            }
        });
    }
}
