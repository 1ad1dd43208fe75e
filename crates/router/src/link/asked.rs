//! A request on a link, and what comes back to it.

use std::sync::{Arc, atomic::Ordering};

use futures::{StreamExt, future};
use mcp_jsonrpc::{
    Kind, Message,
    transport::{ErrorKind, Event, EventStream, Exchange, Reply, TransportError},
};

use super::{Link, tasks::Concern};
use crate::{counts::is_work, session::ClientSession};

/// A request on a shared link, until it is answered or abandoned.
struct Shared {
    link: Arc<Link>,
    session: u64,
    token: Option<u64>,
    concern: Option<Concern>,
    answered: bool,
}

impl Link {
    /// Sends a session's request; what comes back is in the order in which the server said it,
    /// also with what it said unasked.
    pub(crate) async fn send(
        self: &Arc<Self>,
        session: &Arc<ClientSession>,
        mut exchange: Exchange,
    ) -> Result<Reply, TransportError> {
        exchange.version = Some(self.version);
        if exchange.message.kind() != Kind::Request {
            return self.behind.send(exchange).await;
        }
        let mut shared = None;
        if self.shared {
            match self.share(session, &mut exchange) {
                Ok(entered) => shared = Some(entered),
                Err(answer) => return answer.map(Reply::Single),
            }
        }
        let works = is_work(&exchange.message);
        let reply = match self.behind.send(exchange).await {
            Ok(reply) => reply,
            Err(error) => return Err(self.explained(error)),
        };
        self.said();
        Ok(match reply {
            Reply::Stream(events) => {
                Reply::Stream(Arc::clone(self).heard(session, events, (shared, works)))
            }
            Reply::Single(answer) => {
                self.answers(works, &answer);
                self.catch_up();
                Reply::Single(match &mut shared {
                    Some(shared) => shared.answered(session, answer)?,
                    None => answer,
                })
            }
            Reply::Accepted => Reply::Accepted,
        })
    }

    /// Enters a request on a link of several sessions', and makes it one of many; or answers it,
    /// where it must not get there.
    fn share(
        self: &Arc<Self>,
        session: &ClientSession,
        exchange: &mut Exchange,
    ) -> Result<Shared, Result<Message, TransportError>> {
        let message = &exchange.message;
        let concern = self.tasks.concern(session.number, message).map_err(|error| {
            Message::error(message.id(), &error).map_err(|error| {
                let what = "an answer could not be written";
                TransportError::new(ErrorKind::Protocol, what).because(error)
            })
        })?;
        let mut token = None;
        if let Some((number, edited)) = self.tokens.enter(session.number, message) {
            exchange.message = edited;
            token = Some(number);
        }
        self.causes.enter(session.number);
        let (link, session) = (Arc::clone(self), session.number);
        Ok(Shared { link, session, token, concern, answered: false })
    }

    /// What is said to a request, as its session is to hear it.
    fn heard(
        self: Arc<Self>,
        session: &Arc<ClientSession>,
        events: EventStream,
        (mut shared, works): (Option<Shared>, bool),
    ) -> EventStream {
        let session = Arc::clone(session);
        let heard = events.filter_map(move |event| {
            self.said();
            future::ready(match event {
                Ok(Event::Message { message, .. }) => {
                    self.answers(works, &message);
                    let passed = self.pass(&session, message, &mut shared);
                    passed.transpose().map(|it| it.map(Event::from))
                }
                Ok(pause @ Event::Pause { .. }) => Some(Ok(pause)),
                Err(error) => Some(Err(self.explained(error))),
            })
        });
        heard.boxed()
    }

    /// Notes that the server did what it is there for, where this is the result of that.
    pub(crate) fn answers(&self, works: bool, answer: &Message) {
        if works && answer.kind() == Kind::Response {
            self.counts.worked();
        }
    }

    /// One message of a reply; none if it is not for the client.
    fn pass(
        self: &Arc<Self>,
        session: &Arc<ClientSession>,
        message: Message,
        shared: &mut Option<Shared>,
    ) -> Result<Option<Message>, TransportError> {
        if message.is_answer() {
            self.catch_up();
            return Ok(Some(match shared {
                Some(shared) => shared.answered(session, message)?,
                None => message,
            }));
        }
        let asks = message.kind() == Kind::Request;
        if !asks && self.shared {
            if message.method() == Some("notifications/progress") {
                let restored = self.tokens.restore(&message);
                let own = restored.filter(|(whose, _)| *whose == session.number);
                return Ok(own.map(|(_, message)| message));
            }
            return Ok(Some(message));
        }
        let passed = match asks && (self.shared || message.method() == Some("ping")) {
            true => None,
            false => self.own(session, &message),
        };
        if passed.is_none() && asks {
            let link = Arc::clone(self);
            self.tracker.spawn(async move { link.respond(&message).await });
        }
        Ok(passed)
    }

    /// An error of an exchange on this link, with the reason why the link was ended where it was.
    pub(crate) fn explained(&self, error: TransportError) -> TransportError {
        if error.is_unsent() {
            return error;
        }
        if self.cut.load(Ordering::Acquire) {
            let what = "its configuration was changed, and this request had not ended by the end \
                        of the grace period";
            let hint = "raise `timeouts.drain` for requests that take longer";
            let error = TransportError::new(ErrorKind::Closed, what).hint(hint).because(error);
            return error.may_have_run();
        }
        match (self.fate.get(), error.kind()) {
            (Some(fate), ErrorKind::Closed) => {
                TransportError::new(ErrorKind::Closed, fate.to_string()).of(&self.server)
            }
            _ => error,
        }
        .may_have_run()
    }
}

// === impl Shared ===

impl Shared {
    /// The answer as its session is to see it.
    fn answered(
        &mut self,
        session: &ClientSession,
        answer: Message,
    ) -> Result<Message, TransportError> {
        self.answered = true;
        Ok(match self.concern {
            Some(Concern::Begins) => {
                if let Some(early) = self.link.tasks.begun(self.session, &answer) {
                    // It goes on to report under the same token.
                    self.token = None;
                    // After the answer, which names the task.
                    early.into_iter().for_each(|message| session.deliver(message));
                }
                answer
            }
            Some(Concern::Lists) => {
                let shortened = self.link.tasks.shorten(self.session, &answer);
                shortened.map_err(|error| {
                    let what = "its list of tasks is malformed";
                    TransportError::new(ErrorKind::Protocol, what).because(error)
                })?
            }
            None => answer,
        })
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.link.causes.leave(self.session, self.answered);
        if let Some(token) = self.token {
            self.link.tokens.leave(token);
        }
    }
}
