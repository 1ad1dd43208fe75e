//! A client's request, on its way to the one server it is for.

use std::sync::{Arc, atomic::Ordering};

use catalogue::{List, Lost, search};
use futures::{StreamExt, future};
use mcp_jsonrpc::{
    Id, Kind, Message, RpcError,
    transport::{ErrorKind, Event, EventStream, Exchange, Reply, TransportError},
};
use serde_json::json;
use tracing::debug;
use translate::Passage;

use super::Talk;
use crate::{
    answers,
    link::{Link, Passed},
    pending::Pending,
    shown::Shown,
};

/// How much of a method that nobody knows is said back, in characters.
const METHOD_LEN_MAX: usize = 100;

/// The server that a request is for, and the request as that server gets it.
struct Directed<'a> {
    server: &'a Arc<str>,
    message: Message,
}

impl Talk {
    /// Answers a request, or has it answered.
    pub(super) async fn ask(self: &Arc<Self>, exchange: Exchange) -> Result<Reply, TransportError> {
        let message = &exchange.message;
        let id = message.id().ok_or_else(answers::uninitialized)?;
        let method = message.method().unwrap_or_default();
        match method {
            "initialize" => return Box::pin(self.initialize(message)).await,
            "ping" => return answers::result(id, &json!({})),
            _ => (),
        }
        if !self.has_begun.load(Ordering::Acquire) {
            return Err(answers::uninitialized());
        }
        match method {
            "logging/setLevel" => return Box::pin(self.set_level(id, message)).await,
            "tasks/list" => return Box::pin(self.tasks(id)).await,
            method => {
                if let Some(list) = List::asked_by(method) {
                    return Box::pin(self.list(list, id, message)).await;
                }
            }
        }
        self.one(id, &exchange).await
    }

    /// Has a request answered by the one server it is for.
    async fn one(
        self: &Arc<Self>,
        id: &Id,
        mut exchange: &Exchange,
    ) -> Result<Reply, TransportError> {
        let forwarded: Box<Exchange>;
        let scope = self.scope().ok_or_else(answers::uninitialized)?;
        let mut shown = self.now().ok_or_else(answers::uninitialized)?;
        if self.shared().searches() {
            match search::call(shown.view(), shown.index(), &exchange.message) {
                Ok(None) => (),
                Ok(Some(search::Called::Answer(answer))) => return Ok(Reply::Single(answer)),
                Ok(Some(search::Called::Forward(message))) => {
                    forwarded = Box::new(Exchange { message, ..exchange.clone() });
                    exchange = &forwarded;
                }
                Err(error) => {
                    let words = format!("the parameters cannot be read: {error}");
                    return answers::error(id, RpcError::INVALID_PARAMS, words);
                }
            }
        }
        let mut directed = direct(&shown, &exchange.message);
        if directed.as_ref().is_err_and(may_have_come) && Box::pin(scope.look_again(self)).await {
            shown = scope.shown_to(self);
            directed = direct(&shown, &exchange.message);
        }
        match directed {
            Ok(Some(directed)) => self.forward(id, &shown, directed, exchange).await,
            Ok(None) => {
                let method = exchange.message.method().unwrap_or_default();
                let shortened: String = method.chars().take(METHOD_LEN_MAX).collect();
                let words = format!("Method not found: {shortened}");
                answers::error(id, RpcError::METHOD_NOT_FOUND, words)
            }
            Err(lost) => answers::refusal(id, &lost.to_error()),
        }
    }

    /// Sends a request to its server; once more over a new link where it certainly never arrived.
    async fn forward(
        self: &Arc<Self>,
        id: &Id,
        shown: &Arc<Shown>,
        Directed { server, message }: Directed<'_>,
        exchange: &Exchange,
    ) -> Result<Reply, TransportError> {
        let sent = match self.send_to(server, message, exchange).await {
            Err((link, error)) if *error.kind() == ErrorKind::NoSession => {
                debug!(%server, %error, "not sent: once more over a new link");
                if let Some(link) = link {
                    link.close().await;
                }
                match direct(shown, &exchange.message) {
                    // In a box: rare, and large beside the future of a call.
                    Ok(Some(Directed { server, message })) => {
                        Box::pin(self.send_to(server, message, exchange)).await
                    }
                    // It was for this server a moment ago, in the same view.
                    Ok(None) | Err(_) => Err((None, error)),
                }
            }
            sent => sent,
        };
        let (mut pending, reply) = match sent {
            Ok(sent) => sent,
            Err((_, error)) if *error.kind() == ErrorKind::Cancelled => return Err(error),
            Err((_, error)) => {
                if let (false, Some(scope)) =
                    (matches!(error.kind(), ErrorKind::Invalid(_)), self.scope())
                {
                    scope.suspect(server);
                }
                return answers::failed(id, &error);
            }
        };
        let method = exchange.message.method().unwrap_or_default();
        match reply {
            Reply::Single(answer) => {
                pending.end();
                pending.link.catch_up();
                Ok(Reply::Single(answered(&pending.link, shown, method, answer)))
            }
            Reply::Stream(events) => {
                let of = (Arc::clone(shown), method.into(), id.clone());
                Ok(Reply::Stream(self.heard(of, pending, events)))
            }
            Reply::Accepted => {
                pending.end();
                let error = TransportError::new(ErrorKind::Protocol, "it did not answer");
                answers::failed(id, &error.of(server))
            }
        }
    }

    /// Sends a message with all that came with the client's.
    async fn send_to(
        self: &Arc<Self>,
        server: &Arc<str>,
        mut message: Message,
        with: &Exchange,
    ) -> Result<(Pending, Reply), (Option<Arc<Link>>, TransportError)> {
        let link = self.link(server).await.map_err(|error| (None, error))?;
        match link.bridge.map_or(Passage::Same, |it| it.to_server(&message)) {
            Passage::Same => (),
            Passage::Edited(edited) => message = edited,
            Passage::Dropped => {
                let error =
                    TransportError::new(ErrorKind::Unsupported, "its revision has no such request");
                return Err((None, error.of(server)));
            }
            Passage::Refused(answer) => {
                let mut pending = Pending::new(link, &message);
                pending.end();
                return Ok((pending, Reply::Single(answer)));
            }
        }
        let mut pending = Pending::new(link, &message);
        let Exchange { caller, version, carried, .. } = with;
        let (caller, carried) = (caller.clone(), carried.clone());
        let exchange = Exchange { message, caller, version: *version, carried };
        match pending.link.send(exchange).await {
            Ok(reply) => Ok((pending, reply)),
            Err(error) => {
                pending.end();
                Err((Some(Arc::clone(&pending.link)), error))
            }
        }
    }

    /// What is said to a request, as the client is to hear it.
    fn heard(
        self: &Arc<Self>,
        (shown, method, id): (Arc<Shown>, Box<str>, Id),
        mut pending: Pending,
        events: EventStream,
    ) -> EventStream {
        let (session, link) = (Arc::clone(self), Arc::clone(&pending.link));
        let heard = events.filter_map(move |event| {
            future::ready(match event {
                Ok(Event::Message { message, .. }) if message.is_answer() => {
                    pending.end();
                    link.catch_up();
                    Some(Ok(answered(&link, &shown, &method, message).into()))
                }
                Ok(Event::Message { message, .. }) => match link.pass(&session, &message) {
                    Passed::On(message) => Some(Ok(message.into())),
                    Passed::Nobody => None,
                    Passed::Back(event) => {
                        let link = Arc::clone(&link);
                        session.shared().spawn(async move { link.respond(Some(event)).await });
                        None
                    }
                },
                // Places to resume from are of that hop.
                Ok(Event::Pause { .. }) => None,
                Err(error) => {
                    pending.end();
                    if *error.kind() == ErrorKind::Cancelled {
                        return future::ready(Some(Err(error)));
                    }
                    if let Some(scope) = session.scope() {
                        scope.suspect(&link.member.name);
                    }
                    let error = error.of(&link.member.name);
                    Some(match answers::failed(&id, &error) {
                        Ok(Reply::Single(answer)) => Ok(answer.into()),
                        _ => Err(error),
                    })
                }
            })
        });
        heard.boxed()
    }
}

/// A server's answer, as the client is to hear it.
fn answered(link: &Link, shown: &Shown, method: &str, answer: Message) -> Message {
    let answer = link.bridge.map(|it| it.answer(method, &answer)).unwrap_or(answer);
    let view = shown.view();
    // Most have nothing in them that leads anywhere.
    if answer.kind() != Kind::Response || !view.may_move(&answer) {
        return answer;
    }
    match view.member(&link.member.name) {
        Some(member) => view.answer(member, method, &answer),
        None => answer,
    }
}

/// Which server a request is for, and how it is put there; with one server alone, whatever nobody
/// here knows is for it.
fn direct<'a>(shown: &'a Shown, message: &Message) -> Result<Option<Directed<'a>>, Lost> {
    let view = shown.view();
    Ok(match (view.direct(message)?, view.members()) {
        (Some(it), _) => Some(Directed { server: &it.member.server, message: it.message }),
        (None, [only]) => Some(Directed { server: &only.server, message: message.clone() }),
        (None, _) => None,
    })
}

/// Whether what was not found may have come since it was looked for the last time.
fn may_have_come(lost: &Lost) -> bool {
    matches!(lost, Lost::Unknown { .. } | Lost::Task(_) | Lost::Elsewhere { .. })
}
