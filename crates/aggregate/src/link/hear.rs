//! What a server says, as the client of its session is to hear it.

use std::{sync::Arc, time::Duration};

use catalogue::List;
use mcp_jsonrpc::{
    Kind, Message, RpcError,
    transport::{ErrorKind, Event},
};
use tracing::debug;
use translate::Passage;

use super::Link;
use crate::session::Talk;

/// How long to wait before listening again where a stream ended and its session did not.
const LISTEN_AGAIN_MIN: Duration = Duration::from_secs(1);
const LISTEN_AGAIN_MAX: Duration = Duration::from_secs(60);

impl Link {
    /// Hears what the server says unasked, until there is no more.
    pub(crate) async fn listen(self: Arc<Self>) {
        self.ended.run_until_cancelled(self.hear()).await;
        self.end();
        if let Some(session) = self.session.upgrade() {
            session.lost(&self);
        }
    }

    async fn hear(self: &Arc<Self>) {
        let mut again = LISTEN_AGAIN_MIN;
        loop {
            while let Some(event) = self.ear.hear(|event| self.route(event)).await {
                self.respond(Some(event)).await;
            }
            if self.ear.has_heard() {
                again = LISTEN_AGAIN_MIN;
            }
            if !self.behind.is_open() {
                return;
            }
            tokio::time::sleep(again).await;
            again = (again * 2).min(LISTEN_AGAIN_MAX);
            match self.behind.listen(None).await {
                Ok(events) => self.ear.open(events),
                Err(error) if *error.kind() == ErrorKind::NoSession => return,
                Err(error) => debug!(server = %self.member.name, %error, "cannot listen"),
            }
        }
    }

    /// Lets all that be heard that the server said unasked before it said something else.
    pub(crate) fn catch_up(self: &Arc<Self>) {
        self.ear.catch_up(|event| self.route(event));
    }

    /// Passes on what is said unasked; hands back what is to be answered here.
    pub(crate) fn route(self: &Arc<Self>, event: Event) -> Option<Event> {
        let Event::Message { message, .. } = &event else { return None };
        let Some(session) = self.session.upgrade() else {
            return (message.kind() == Kind::Request).then_some(event);
        };
        match self.pass(&session, message) {
            Passed::On(message) if message.kind() == Kind::Request => {
                session.hear(message.into()).err()
            }
            Passed::On(message) => {
                // Counted and logged where there is no room.
                drop(session.hear(message.into()));
                None
            }
            Passed::Nobody => None,
            Passed::Back(event) => Some(event),
        }
    }

    /// One message as the client is to hear it.
    pub(crate) fn pass(self: &Arc<Self>, session: &Arc<Talk>, message: &Message) -> Passed {
        let mut bridged = None;
        match self.bridge.map_or(Passage::Same, |it| it.to_client(message)) {
            Passage::Same => (),
            Passage::Edited(message) => bridged = Some(message),
            Passage::Dropped => return Passed::Nobody,
            Passage::Refused(answer) => return Passed::Back(answer.into()),
        }
        let message = bridged.as_ref().unwrap_or(message);
        if message.kind() == Kind::Request {
            let noticed = session.noticed(self, message);
            return match session.ask_client(self, &noticed) {
                Some(question) => Passed::On(question),
                None => Passed::Back(message.clone().into()),
            };
        }
        match message.method() {
            Some("notifications/cancelled") => {
                session.questions().cancel(self, message).map_or(Passed::Nobody, Passed::On)
            }
            Some(method) if List::ALL.iter().any(|it| it.changed() == method) => {
                session.list_changed(self);
                Passed::Nobody
            }
            _ => Passed::On(session.noticed(self, message)),
        }
    }

    /// Answers what no client is asked.
    pub(crate) async fn respond(&self, event: Option<Event>) {
        let Some(Event::Message { message, .. }) = event else { return };
        let answer = if message.is_answer() {
            Ok(message)
        } else {
            let words = "the client of this session cannot be asked now";
            let error = RpcError::new(RpcError::METHOD_NOT_FOUND, words);
            Message::error(message.id(), &error)
        };
        let told = match answer {
            Ok(answer) => self.tell(answer).await,
            Err(error) => return debug!(%error, "an answer could not be written"),
        };
        if let Err(error) = told {
            debug!(server = %self.member.name, %error, "the server did not hear an answer");
        }
    }
}

/// What becomes of a message of a server's.
pub(crate) enum Passed {
    /// It goes to the client, like this.
    On(Message),
    /// It goes nowhere.
    Nobody,
    /// It has to be answered here, or is the answer.
    Back(Event),
}
