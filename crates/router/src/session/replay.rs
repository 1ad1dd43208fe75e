//! What a session's new link has to be told, and what is kept for that.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use mcp_jsonrpc::{Id, Kind, Message, params::Resource};
use serde::Deserialize;
use serde_json::{json, value::RawValue};
use tracing::{debug, warn};

use super::ClientSession;
use crate::{
    handshake::{self, Hello},
    link::Link,
};

/// The time in which a new link is told what the last one knew.
pub(super) struct Telling<'a>(&'a AtomicBool);

impl<'a> Telling<'a> {
    pub(super) fn begin(telling: &'a AtomicBool) -> Self {
        telling.store(true, Ordering::Release);
        Self(telling)
    }
}

impl Drop for Telling<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl ClientSession {
    /// Tells a new link what the last one knew, and the client that its lists may have changed.
    pub(super) async fn replay(self: &Arc<Self>, link: &Arc<Link>, hello: &Hello) {
        if !link.shared {
            self.confirm(link).await;
        }
        self.replay_level(link).await;
        for uri in &self.subscribed() {
            let params = json!({ "uri": uri });
            if let Ok(message) = Message::request(&Id::from(0), "resources/subscribe", &params) {
                self.say_again(link, message).await;
            }
        }
        for method in self.announced(link) {
            if let Ok(news) = Message::notification(method, &json!({})) {
                self.deliver(news);
            }
        }
        debug!(server = %self.server.name, version = %hello.version, "session goes on over a new link");
    }

    /// Tells a new link the log level, if the client has ever said one.
    pub(super) async fn replay_level(&self, link: &Arc<Link>) {
        let level = self.state().log_level.clone();
        let Some(mut level) = level else { return };
        if link.shared {
            level = self.common_level(link, &level);
        }
        self.say_again(link, level.with_id(Id::from(0))).await;
    }

    async fn say_again(&self, link: &Arc<Link>, message: Message) {
        let method = message.method().unwrap_or_default().to_owned();
        match link.ask(message).await {
            Ok(answer) if answer.kind() == Kind::Response => (),
            Ok(_) => warn!(server = %self.server.name, %method, "refused by the new link"),
            Err(error) => warn!(server = %self.server.name, %method, %error, "not said again"),
        }
    }

    /// A `logging/setLevel` for a link that others share: the level of whoever wants to hear
    /// most.  Each hears no more than it asked for: see [`hears`](Self::hears).
    pub(super) fn common_level(&self, link: &Link, message: &Message) -> Message {
        let Some(own) = level_of(message) else { return message.clone() };
        let others = link.sessions();
        let others = others.iter().filter(|it| it.number != self.number);
        let Some(most) = others.filter_map(|it| it.level()).chain([own]).min() else {
            return message.clone();
        };
        let Some(name) = LEVELS.get(most).filter(|_| most < own) else { return message.clone() };
        let raw: Option<Level<'_>> = message.read().ok();
        raw.and_then(|it| message.with_part(it.level, name).ok()).unwrap_or_else(|| message.clone())
    }

    fn level(&self) -> Option<usize> {
        self.state().log_level.as_ref().and_then(level_of)
    }

    /// Whether the client wants to hear a line of log as bad as this.
    pub(crate) fn hears(&self, message: &Message) -> bool {
        match (self.level(), level_of(message)) {
            (Some(own), Some(its)) => own <= its,
            _ => true,
        }
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

/// The levels of RFC 5424, as MCP spells them, the least first.
const LEVELS: [&str; 8] =
    ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"];

#[derive(Deserialize)]
struct Level<'a> {
    #[serde(borrow)]
    level: &'a RawValue,
}

/// The rank of the level that a message names.
pub(super) fn level_of(message: &Message) -> Option<usize> {
    let named: Level<'_> = message.read().ok()?;
    let name: &str = serde_json::from_str(named.level.get()).ok()?;
    LEVELS.iter().position(|it| *it == name)
}

/// Whether a request changes what a new link has to be told.
pub(super) fn is_remembered(message: &Message) -> bool {
    matches!(
        message.method(),
        Some("logging/setLevel" | "resources/subscribe" | "resources/unsubscribe")
    )
}
