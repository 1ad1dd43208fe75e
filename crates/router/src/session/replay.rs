//! What a session's new link has to be told, and what is kept for that.

use std::sync::Arc;

use mcp_jsonrpc::{Id, Kind, Message, params::Resource};
use serde_json::json;
use tracing::{debug, warn};

use super::ClientSession;
use crate::{
    handshake::{self, Hello},
    link::Link,
};

impl ClientSession {
    /// Tells a new link what the last one knew, and the client that its lists may have changed.
    pub(super) async fn replay(self: &Arc<Self>, link: &Arc<Link>, hello: &Hello) {
        if !link.shared {
            self.confirm(link).await;
        }
        let (level, subscriptions) = {
            let state = self.state();
            (state.log_level.clone(), state.subscriptions.clone())
        };
        let mut again = Vec::from_iter(level.map(|level| level.with_id(Id::from(0))));
        for uri in &subscriptions {
            let params = json!({ "uri": uri });
            again.extend(Message::request(&Id::from(0), "resources/subscribe", &params));
        }
        for message in again {
            let method = message.method().unwrap_or_default().to_owned();
            match link.ask(message).await {
                Ok(answer) if answer.kind() == Kind::Response => (),
                Ok(_) => warn!(server = %self.server.name, %method, "refused by the new link"),
                Err(error) => warn!(server = %self.server.name, %method, %error, "not said again"),
            }
        }
        for method in self.announced(link) {
            if let Ok(news) = Message::notification(method, &json!({})) {
                self.deliver(news);
            }
        }
        debug!(server = %self.server.name, version = %hello.version, "session goes on over a new link");
    }

    /// Says `notifications/initialized` on a link of this session's own, and begins to listen.
    pub(super) async fn confirm(self: &Arc<Self>, link: &Arc<Link>) {
        let told = match handshake::initialized() {
            Ok(message) => link.tell(message).await,
            Err(error) => return warn!(%error, "cannot confirm"),
        };
        if let Err(error) = told {
            debug!(server = %self.server.name, %error, "the server did not hear `initialized`");
        }
        link.watch();
    }

    /// Keeps what a new link will have to be told.
    pub(super) fn remember(&self, message: Message) {
        let mut state = self.state();
        match message.method() {
            Some("logging/setLevel") => state.log_level = Some(message.detached()),
            Some("resources/subscribe") => {
                let Ok(resource) = message.read::<Resource<'_>>() else { return };
                if state.subscriptions.len() < self.server.options().subscriptions_max {
                    state.subscriptions.insert(resource.uri.into());
                } else {
                    let (server, session) = (&self.server.name, self.named());
                    warn!(%server, ?session, "a subscription too many: it ends with this link");
                }
            }
            Some("resources/unsubscribe") => {
                if let Ok(resource) = message.read::<Resource<'_>>() {
                    state.subscriptions.remove(&*resource.uri);
                }
            }
            _ => (),
        }
    }
}

/// Whether a request changes what a new link has to be told.
pub(super) fn is_remembered(message: &Message) -> bool {
    matches!(
        message.method(),
        Some("logging/setLevel" | "resources/subscribe" | "resources/unsubscribe")
    )
}
