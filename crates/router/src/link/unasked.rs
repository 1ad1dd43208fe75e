//! Whom what a server says unasked is for.
//!
//! On a link of one session's own all of it is that session's.  On a shared one a message goes to
//! the one session it can be for, or to nobody: news of lists to all, of a resource to those who
//! subscribed, of a task to whoever began it, progress by its token, and the rest to the only
//! session that can have caused it.  Questions are nobody's, since nobody declared a capability
//! there; the gateway answers what it can.

use std::sync::Arc;

use mcp_jsonrpc::{Kind, Message, RpcError, params::Resource, transport::Event};
use serde_json::json;
use tracing::{debug, warn};
use translate::Passage;

use super::{Link, tasks::Tasks};
use crate::session::ClientSession;

impl Link {
    /// Lets all that be heard that the server said unasked before it said something else.
    pub(crate) fn catch_up(self: &Arc<Self>) {
        self.ear.catch_up(|event| self.route(event));
    }

    /// Passes on what is said unasked; hands back what the gateway itself has to answer.
    pub(super) fn route(self: &Arc<Self>, event: Event) -> Option<Event> {
        let Event::Message { message, .. } = &event else { return None };
        self.said();
        if message.kind() == Kind::Request
            && (self.shared || message.method() == Some("ping") || self.sessions().is_empty())
        {
            return Some(event);
        }
        let message = message.clone();
        if self.shared {
            self.route_shared(message);
            return None;
        }
        let sessions = self.sessions();
        let Some(session) = sessions.first() else {
            debug!(server = %self.server, ?message, "for a session that is over");
            return None;
        };
        self.hand_to(session, message)
    }

    /// Gives a message to a session, in the revision of its client; hands back what its server is
    /// answered, or refused.
    fn hand_to(self: &Arc<Self>, session: &ClientSession, message: Message) -> Option<Event> {
        let bridge = session.bridge(self.version);
        let passed = match bridge.map_or(Passage::Same, |bridge| bridge.to_client(&message)) {
            Passage::Same => message,
            Passage::Edited(message) => message,
            Passage::Dropped => {
                debug!(server = %self.server, ?message, "dropped: unknown to its client's revision");
                return None;
            }
            Passage::Refused(answer) => return Some(answer.into()),
        };
        if self.shared {
            session.deliver(passed);
            return None;
        }
        match self.own(session, &passed) {
            Some(message) => session.deliver(message),
            None if passed.kind() == Kind::Request => return Some(passed.into()),
            None => (),
        }
        None
    }

    /// What a message is to the one session of this link: a question has an id of the gateway's.
    pub(super) fn own(
        self: &Arc<Self>,
        session: &ClientSession,
        message: &Message,
    ) -> Option<Message> {
        match message.kind() {
            Kind::Request => session.questions.ask(self, message),
            Kind::Notification if message.method() == Some("notifications/cancelled") => {
                session.questions.cancel(self, message)
            }
            _ => Some(message.clone()),
        }
    }

    fn route_shared(self: &Arc<Self>, message: Message) {
        match message.method().unwrap_or_default() {
            "notifications/tools/list_changed"
            | "notifications/prompts/list_changed"
            | "notifications/resources/list_changed" => {
                for session in self.sessions() {
                    drop(self.hand_to(&session, message.clone()));
                }
            }
            "notifications/resources/updated" => {
                let Ok(updated) = message.read::<Resource<'_>>() else {
                    return self.dropped(&message, "it names no resource");
                };
                let sessions = self.sessions();
                let subscribed = sessions.iter().filter(|it| it.is_subscribed(&updated.uri));
                subscribed.for_each(|session| drop(self.hand_to(session, message.clone())));
            }
            "notifications/progress" => match self.tokens.restore(&message) {
                Some((session, message)) => self.give(session, message),
                None => self.dropped(&message, "its token is nobody's"),
            },
            // Nobody was asked, so nobody need hear that no answer is waited for.
            "notifications/cancelled" => (),
            _ => match Tasks::about(&message) {
                Some(task) => match self.tasks.owner(&task) {
                    Some(session) => self.give(session, message),
                    None => {
                        for message in self.tasks.keep(task, message) {
                            self.dropped(&message, "its task is nobody's");
                        }
                    }
                },
                None => self.attribute(message),
            },
        }
    }

    /// Gives a message to the session that alone can have caused it.
    fn attribute(self: &Arc<Self>, message: Message) {
        match self.causes.only() {
            Some(session) => self.give(session, message),
            None => match self.lone() {
                Some(session) => drop(self.hand_to(&session, message)),
                None => self.dropped(&message, "it could be for several sessions, or for none"),
            },
        }
    }

    /// Gives a message to the session of this number, if it is still here and wants to hear it.
    pub(super) fn give(self: &Arc<Self>, session: u64, message: Message) {
        match self.sessions().into_iter().find(|it| it.number == session) {
            Some(session)
                if message.method() == Some("notifications/message")
                    && !session.hears(&message) => {}
            Some(session) => drop(self.hand_to(&session, message)),
            None => self.dropped(&message, "its session is over"),
        }
    }

    fn dropped(&self, message: &Message, why: &'static str) {
        let count = self.counts.dropped();
        if count.is_power_of_two() {
            let method = message.method();
            warn!(server = %self.server, method, count, "{why}: dropped");
        } else {
            debug!(server = %self.server, ?message, "{why}: dropped");
        }
    }

    /// Answers what is asked of no client.
    pub(super) async fn respond(&self, question: &Message) {
        // Answered already, for its client's revision.
        if question.is_answer() {
            if let Err(error) = self.tell(question.clone()).await {
                debug!(server = %self.server, %error, "the server did not hear a refusal");
            }
            return;
        }
        let Some(id) = question.id() else { return };
        let method = question.method().unwrap_or_default();
        let answer = match method {
            "ping" => Message::response(id, &json!({})),
            "roots/list" if self.shared && !self.options.roots.is_empty() => {
                let roots = self.options.roots.iter().map(|uri| json!({ "uri": &**uri }));
                Message::response(id, &json!({ "roots": roots.collect::<Vec<_>>() }))
            }
            _ => {
                let count = self.counts.refused();
                if count.is_power_of_two() {
                    let why = "asked although no client declared it could be, or too much: refused";
                    warn!(server = %self.server, method, count, "{why}");
                }
                let words = match self.shared {
                    true => "several clients share this session, and none can be asked",
                    false => "the client of this session cannot be asked now",
                };
                Message::error(Some(id), &RpcError::new(RpcError::METHOD_NOT_FOUND, words))
            }
        };
        let told = match answer {
            Ok(message) => self.tell(message).await,
            Err(error) => return debug!(%error, "an answer could not be written"),
        };
        if let Err(error) = told {
            debug!(server = %self.server, %error, "the server did not hear an answer");
        }
    }
}
