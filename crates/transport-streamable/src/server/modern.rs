//! Requests that stand for themselves (2026-07-28): no session, nothing to come back to, and who
//! closes the stream takes the request back.

use std::{future, sync::Arc};

use futures::{FutureExt, Stream, StreamExt, stream};
use hyper::{Response, StatusCode};
use mcp_jsonrpc::{
    Id, Kind, Message, ProtocolVersion, RpcError,
    modern::LISTEN,
    transport::{ErrorKind, Event, EventStream, Exchange, Opening, Reply, Session, TransportError},
};
use tokio::time::{Instant, timeout_at};
use tracing::{info, warn};
use transport_sse::{body::Outgoing, note::Note, respond};

use super::{
    Head, Server,
    answer::unanswered_error,
    learnt::Learnt,
    refuse,
    streams::{self, Manner},
};
use crate::{
    era,
    refusal::{self, Refusal},
};

const VERSION: ProtocolVersion = ProtocolVersion::V2026_07_28;

/// A request under way.
struct Asked {
    /// Held for as long as it is.
    session: Arc<dyn Session>,
    id: Id,
    method: Box<str>,
    learnt: Arc<Learnt>,
}

impl Server {
    /// Answers a message in the form of 2026-07-28.
    pub(super) async fn modern(
        &self,
        head: Head,
        message: Message,
        note: &mut Note,
    ) -> Result<Response<Outgoing>, Refusal> {
        let Head { fields, accept, caller } = head;
        let method: Box<str> = message.method().unwrap_or_default().into();
        if message.is_answer() {
            let words = "nobody is asked anything in 2026-07-28: answers go into the \
                         `inputResponses` of the request, sent again";
            return Err(refuse(StatusCode::BAD_REQUEST, words));
        }
        let opening =
            Opening { caller: caller.clone(), version: Some(VERSION), at: Arc::clone(&self.at) };
        era::check(&fields, &message, Some(&*self.learnt))
            .map_err(|refusal| self.learnt.narrow(refusal))?;
        let session = match self.transport.open(opening).await {
            Ok(session) => session,
            Err(error) if *error.kind() == ErrorKind::Unsupported => {
                era::unserved(&fields, &message)?;
                return Err(Refusal::of_version(VERSION.as_str()));
            }
            Err(error) => return Err(Refusal::of_modern(&error, &method)),
        };
        note.carried = true;
        let id = message.id().cloned();
        let exchange =
            Exchange { message, caller, version: Some(VERSION), carried: fields.carried };
        let Some(id) = id else {
            return tell(&*session, exchange, &method).await;
        };
        if &*method == LISTEN && !accept.events {
            let words = "what a subscription yields is an event stream; accept `text/event-stream`";
            return Err(refuse(StatusCode::NOT_ACCEPTABLE, words));
        }
        let learnt = Arc::clone(&self.learnt);
        let asked = Asked { session, id, method, learnt };
        if accept.events {
            return self.stream(asked, exchange, accept.json).await;
        }
        asked.alone(exchange, note).await
    }

    /// Answers with JSON what is answered at once, with a stream whatever else is said before the
    /// answer, or takes long.
    async fn stream(
        &self,
        asked: Asked,
        exchange: Exchange,
        takes_json: bool,
    ) -> Result<Response<Outgoing>, Refusal> {
        let patience = Instant::now() + self.options.keep_alive;
        let session = Arc::clone(&asked.session);
        let mut sending = Box::pin(async move { session.send(exchange).await });
        let Ok(reply) = timeout_at(patience, &mut sending).await else {
            let events = sending.map(events).flatten_stream().boxed();
            return Ok(self.events(asked, None, events));
        };
        let mut events = match reply.map_err(|error| Refusal::of_modern(&error, &asked.method))? {
            Reply::Single(message) if takes_json => return Ok(asked.answer(message)),
            reply => events(Ok(reply)),
        };
        // What begins with its end is no stream.
        match timeout_at(patience, events.next()).await {
            Ok(Some(Ok(Event::Message { message, .. }))) if takes_json && message.is_answer() => {
                Ok(asked.answer(message))
            }
            Ok(Some(Ok(first))) => Ok(self.events(asked, Some(first), events)),
            Ok(Some(Err(error))) => Err(Refusal::of_modern(&error, &asked.method)),
            Ok(None) => Err(Refusal::of_modern(&unanswered_error(), &asked.method)),
            Err(_) => Ok(self.events(asked, None, events)),
        }
    }

    fn events(&self, asked: Asked, first: Option<Event>, rest: EventStream) -> Response<Outgoing> {
        let events = stream::iter(first.map(Ok)).chain(rest);
        let manner = Manner { primes: false, keep_alive: self.options.keep_alive };
        streams::respond_with(asked.said(events.boxed()).boxed(), manner)
    }
}

/// Says what nobody answers.
async fn tell(
    session: &dyn Session,
    exchange: Exchange,
    method: &str,
) -> Result<Response<Outgoing>, Refusal> {
    // Over HTTP a request is taken back by closing its stream, and an id names none of it: another
    // caller's request may have the same.
    if method != "notifications/cancelled" {
        session.send(exchange).await.map_err(|error| Refusal::of_modern(&error, method))?;
    }
    Ok(respond::empty(StatusCode::ACCEPTED))
}

impl Asked {
    /// What goes down the stream: notifications, and in the end always an answer.
    fn said(
        self,
        events: EventStream,
    ) -> impl Stream<Item = Result<Event, TransportError>> + Send + 'static {
        stream::unfold(Some((self, events)), async |state| {
            let (asked, mut events) = state?;
            loop {
                match events.next().await {
                    Some(Ok(Event::Message { message, .. })) => {
                        if message.kind() == Kind::Request {
                            warn!(method = message.method(), "request on a stream: dropped");
                            continue;
                        }
                        let over = message.is_answer();
                        let message = match over {
                            true => asked.learnt.hear(&asked.method, message),
                            false => message,
                        };
                        return Some((Ok(message.into()), (!over).then_some((asked, events))));
                    }
                    Some(Ok(Event::Pause { .. })) => (),
                    Some(Err(error)) => return Some((Ok(asked.failure(&error)?), None)),
                    None => return Some((Ok(asked.failure(&unanswered_error())?), None)),
                }
            }
        })
    }

    /// Waits for the answer of a client that takes JSON alone.
    async fn alone(
        self,
        exchange: Exchange,
        note: &mut Note,
    ) -> Result<Response<Outgoing>, Refusal> {
        let mut events = events(self.session.send(exchange).await);
        let mut dropped = 0_u32;
        loop {
            let refused = |error: &TransportError| Refusal::of_modern(error, &self.method);
            match events.next().await {
                Some(Ok(Event::Message { message, .. })) if message.is_answer() => {
                    if dropped != 0 {
                        note.reason = Some(format!(
                            "{dropped} messages before the answer dropped: the client accepts no \
                             event stream"
                        ));
                    }
                    return Ok(self.answer(message));
                }
                Some(Ok(Event::Message { .. })) => dropped += 1,
                Some(Ok(Event::Pause { .. })) => (),
                Some(Err(error)) => return Err(refused(&error)),
                None => return Err(refused(&unanswered_error())),
            }
        }
    }

    /// An answer that comes alone, with the status its kind of error has.
    fn answer(&self, message: Message) -> Response<Outgoing> {
        let code = match message.kind() {
            Kind::Error => message.read::<RpcError>().map(|error| error.code).unwrap_or_default(),
            _ => 0,
        };
        respond::json(refusal::status_of(code), &self.learnt.hear(&self.method, message))
    }

    fn failure(&self, error: &TransportError) -> Option<Event> {
        info!(%error, id = %self.id, "request failed");
        let refusal = Refusal::of_modern(error, &self.method).about(Some(&self.id));
        refusal.into_message().ok().map(Event::from)
    }
}

fn events(reply: Result<Reply, TransportError>) -> EventStream {
    match reply {
        Ok(Reply::Single(message)) => stream::once(future::ready(Ok(message.into()))).boxed(),
        Ok(Reply::Stream(events)) => events,
        Ok(Reply::Accepted) => stream::empty().boxed(),
        Err(error) => stream::once(future::ready(Err(error))).boxed(),
    }
}
