//! How it is announced that what is shown has changed.

use std::sync::Arc;

use mcp_jsonrpc::Message;
use serde_json::json;
use tokio::time::Instant;

use super::Scope;
use crate::{session::Talk, shown::Shown};

impl Scope {
    /// Tells every session which lists have changed: now, or as soon as the last time is long
    /// enough ago.
    pub(super) fn announce(&self) {
        let pause = {
            let mut state = self.state();
            if std::mem::replace(&mut state.announcing, true) {
                return;
            }
            let debounce = self.shared.options().debounce;
            let since = state.announced_at.map(|at| at.elapsed());
            since.map_or_else(Default::default, |since| debounce.saturating_sub(since))
        };
        let Some(scope) = self.me.upgrade() else { return };
        self.shared.spawn(async move {
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
            scope.tell();
        });
    }

    fn tell(&self) {
        let sessions = {
            let mut state = self.state();
            state.announcing = false;
            state.announced_at = Some(Instant::now());
            state.sessions()
        };
        // Whoever has been shown nothing yet is told nothing.
        if sessions.iter().all(|it| it.told().is_none()) {
            return;
        }
        sessions.iter().for_each(|session| tell(session, &self.shown_to(session)));
    }

    /// Tells one session which lists have changed since it was shown them.
    pub(crate) fn tell_one(&self, session: &Talk) {
        tell(session, &self.shown_to(session));
    }
}

fn tell(session: &Talk, shown: &Arc<Shown>) {
    for method in session.news(shown) {
        if let Ok(message) = Message::notification(method, &json!({})) {
            // Counted and logged where there is no room.
            drop(session.hear(message.into()));
        }
    }
}
