//! A client's request, on its way to the one server it is for.

use std::sync::Arc;

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

/// The server that a request is for, and how it is found there.
struct Directed {
    server: Arc<str>,
    shown: Arc<Shown>,
}

impl Talk {
    /// Answers a request, or has it answered.
    pub(super) async fn ask(
        self: &Arc<Self>,
        mut exchange: Exchange,
    ) -> Result<Reply, TransportError> {
        let message = &exchange.message;
        let id = message.id().cloned().ok_or_else(answers::uninitialized)?;
        let method = message.method().unwrap_or_default();
        match method {
            "initialize" => return Box::pin(self.initialize(message)).await,
            "ping" => return answers::result(&id, &json!({})),
            _ => (),
        }
        if self.told().is_none() {
            return Err(answers::uninitialized());
        }
        match method {
            "logging/setLevel" => return Box::pin(self.set_level(&id, message)).await,
            "tasks/list" => return Box::pin(self.tasks(&id)).await,
            method => {
                if let Some(list) = List::asked_by(method) {
                    return Box::pin(self.list(list, &id, message)).await;
                }
            }
        }
        self.one(&id, &mut exchange).await
    }

    /// Has a request answered by the one server it is for.
    async fn one(
        self: &Arc<Self>,
        id: &Id,
        exchange: &mut Exchange,
    ) -> Result<Reply, TransportError> {
        let scope = self.scope().ok_or_else(answers::uninitialized)?;
        let mut shown = self.now().ok_or_else(answers::uninitialized)?;
        if self.shared().options().search {
            match search::call(shown.view(), shown.index(), &exchange.message) {
                Ok(None) => (),
                Ok(Some(search::Called::Answer(answer))) => return Ok(Reply::Single(answer)),
                Ok(Some(search::Called::Forward(message))) => exchange.message = message,
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
            Ok(Some((directed, message))) => {
                exchange.message = message;
                self.forward(id, directed, exchange).await
            }
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
        directed: Directed,
        exchange: &Exchange,
    ) -> Result<Reply, TransportError> {
        let Directed { server, shown } = directed;
        let sent = match self.send_to(&server, exchange).await {
            Err((link, error)) if *error.kind() == ErrorKind::NoSession => {
                debug!(%server, %error, "not sent: once more over a new link");
                if let Some(link) = link {
                    link.close().await;
                }
                // In a box: rare, and large beside the future of a call.
                Box::pin(self.send_to(&server, exchange)).await
            }
            sent => sent,
        };
        let (link, mut pending, reply) = match sent {
            Ok(sent) => sent,
            Err((_, error)) if *error.kind() == ErrorKind::Cancelled => return Err(error),
            Err((_, error)) => {
                if let (false, Some(scope)) =
                    (matches!(error.kind(), ErrorKind::Invalid(_)), self.scope())
                {
                    scope.suspect(&server);
                }
                return answers::failed(id, &error);
            }
        };
        let method = exchange.message.method().unwrap_or_default();
        match reply {
            Reply::Single(answer) => {
                pending.end();
                link.catch_up();
                Ok(Reply::Single(answered(&link, &shown, method, answer)))
            }
            Reply::Stream(events) => {
                let of = (link, shown, method.into(), id.clone());
                Ok(Reply::Stream(self.heard(of, pending, events)))
            }
            Reply::Accepted => {
                pending.end();
                let error = TransportError::new(ErrorKind::Protocol, "it did not answer");
                answers::failed(id, &error.of(&server))
            }
        }
    }

    async fn send_to(
        self: &Arc<Self>,
        server: &Arc<str>,
        exchange: &Exchange,
    ) -> Result<(Arc<Link>, Pending, Reply), (Option<Arc<Link>>, TransportError)> {
        let link = self.link(server).await.map_err(|error| (None, error))?;
        let mut exchange = exchange.clone();
        match link.bridge.map_or(Passage::Same, |it| it.to_server(&exchange.message)) {
            Passage::Same => (),
            Passage::Edited(message) => exchange.message = message,
            Passage::Dropped => {
                let error =
                    TransportError::new(ErrorKind::Unsupported, "its revision has no such request");
                return Err((None, error.of(server)));
            }
            Passage::Refused(answer) => {
                let mut pending = Pending::new(&link, &exchange.message, &self.shared().tasks);
                pending.end();
                return Ok((link, pending, Reply::Single(answer)));
            }
        }
        let mut pending = Pending::new(&link, &exchange.message, &self.shared().tasks);
        match link.send(exchange).await {
            Ok(reply) => Ok((link, pending, reply)),
            Err(error) => {
                pending.end();
                Err((Some(link), error))
            }
        }
    }

    /// What is said to a request, as the client is to hear it.
    fn heard(
        self: &Arc<Self>,
        (link, shown, method, id): (Arc<Link>, Arc<Shown>, Box<str>, Id),
        mut pending: Pending,
        events: EventStream,
    ) -> EventStream {
        let session = Arc::clone(self);
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
fn direct(shown: &Arc<Shown>, message: &Message) -> Result<Option<(Directed, Message)>, Lost> {
    let view = shown.view();
    let directed = view.direct(message)?.map(|it| (Arc::clone(&it.member.server), it.message));
    let directed = match (directed, view.members()) {
        (None, [only]) => Some((Arc::clone(&only.server), message.clone())),
        (directed, _) => directed,
    };
    let of = |server| Directed { server, shown: Arc::clone(shown) };
    Ok(directed.map(|(server, message)| (of(server), message)))
}

/// Whether what was not found may have come since it was looked for the last time.
fn may_have_come(lost: &Lost) -> bool {
    matches!(lost, Lost::Unknown { .. } | Lost::Task(_) | Lost::Elsewhere { .. })
}
