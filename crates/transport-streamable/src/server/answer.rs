//! The answer to one request: as JSON when it comes alone, as a stream when anything precedes it.

use std::{future, sync::Arc};

use futures::{FutureExt, Stream, StreamExt, future::BoxFuture, stream};
use hyper::{Response, StatusCode};
use mcp_jsonrpc::{
    Id, Kind, Message, RpcError,
    transport::{Caller, ErrorKind, Event, EventStream, Exchange, Reply, Session, TransportError},
};
use tracing::{debug, info};
use transport_sse::{body::Outgoing, note::Note, respond};

use super::{
    ServerOptions,
    streams::{self, Manner},
};
use crate::{
    header::Accept,
    refusal::{Refusal, Stage},
};

/// A request under way, and what its client can take.
pub(super) struct Asking {
    pub(super) session: Arc<dyn Session>,
    pub(super) accept: Accept,
    pub(super) is_initialize: bool,
    pub(super) manner: Manner,
    pub(super) id: Id,
    caller: Caller,
}

impl Asking {
    /// None for a message that nobody answers.
    pub(super) fn new(
        session: &Arc<dyn Session>,
        exchange: &Exchange,
        accept: Accept,
        options: &ServerOptions,
    ) -> Option<Self> {
        let message = &exchange.message;
        Some(Self {
            session: Arc::clone(session),
            accept,
            is_initialize: message.method() == Some("initialize"),
            id: message.id().filter(|_| message.kind() == Kind::Request)?.clone(),
            caller: exchange.caller.clone(),
            manner: Manner {
                primes: streams::primes(exchange.version),
                keep_alive: options.keep_alive,
            },
        })
    }

    /// The response that a reply makes.
    pub(super) async fn respond(
        self,
        reply: Reply,
        note: &mut Note,
    ) -> Result<Response<Outgoing>, Refusal> {
        match reply {
            Reply::Single(message) if self.accept.json => {
                Ok(respond::json(StatusCode::OK, &message))
            }
            Reply::Accepted => Err(Refusal::of(&unanswered_error(), Stage::Asking)),
            reply if self.accept.events => {
                let (session, id) = (Arc::clone(&self.session), self.id.clone());
                let (manner, opens) = (self.manner, self.is_initialize);
                let events = self.into_events(Ok(reply));
                if opens {
                    // There is no session yet that could be come back to.
                    return Ok(streams::respond_with(events.map(Ok).boxed(), manner));
                }
                Ok(streams::keep(&session, &[id], events, manner))
            }
            reply => self.alone(reply, note).await,
        }
    }

    /// The response to a request whose reply is still to come.
    pub(super) fn stream_later(
        self,
        sending: impl Future<Output = Result<Reply, TransportError>> + Send + 'static,
    ) -> Response<Outgoing> {
        let (session, id, manner) = (Arc::clone(&self.session), self.id.clone(), self.manner);
        let events = sending.map(move |reply| self.into_events(reply)).flatten_stream();
        streams::keep(&session, &[id], events, manner)
    }

    /// What a client is told that takes events: in the end always an answer.
    pub(super) fn into_events(
        self,
        reply: Result<Reply, TransportError>,
    ) -> impl Stream<Item = Event> + Send + 'static {
        let unanswered = Some((self, reply_events(reply)));
        stream::unfold(unanswered, async |state| {
            let (asking, mut events) = state?;
            match events.next().await {
                Some(Ok(event)) => {
                    let over = is_answer(&event);
                    Some((event, (!over).then_some((asking, events))))
                }
                Some(Err(error)) => Some((asking.failure(&error)?, None)),
                None => Some((asking.failure(&unanswered_error())?, None)),
            }
        })
    }

    /// Waits for the answer of a client that takes JSON alone.
    async fn alone(self, reply: Reply, note: &mut Note) -> Result<Response<Outgoing>, Refusal> {
        let mut events = reply_events(Ok(reply));
        let mut dropped = 0_u32;
        loop {
            match events.next().await {
                Some(Ok(Event::Message { message, .. })) if message.is_answer() => {
                    if dropped != 0 {
                        note.reason = Some(format!(
                            "{dropped} messages before the answer dropped: the client accepts no \
                             event stream"
                        ));
                    }
                    return Ok(respond::json(StatusCode::OK, &message));
                }
                Some(Ok(Event::Message { message, .. })) => {
                    dropped += 1;
                    decline(&self.session, message, &self.caller).await;
                }
                Some(Ok(Event::Pause { .. })) => (),
                Some(Err(error)) => return Err(Refusal::of(&error, Stage::Asking)),
                None => return Err(Refusal::of(&unanswered_error(), Stage::Asking)),
            }
        }
    }

    fn failure(&self, error: &TransportError) -> Option<Event> {
        info!(%error, id = %self.id, "request failed");
        let refusal = Refusal::of(error, Stage::Asking).about(Some(&self.id));
        refusal.into_message().ok().map(Event::from)
    }
}

fn reply_events(reply: Result<Reply, TransportError>) -> EventStream {
    match reply {
        Ok(Reply::Single(message)) => stream::iter([Ok(message.into())]).boxed(),
        Ok(Reply::Stream(events)) => events,
        Ok(Reply::Accepted) => stream::empty().boxed(),
        Err(error) => stream::iter([Err(error)]).boxed(),
    }
}

/// Whether an event ends the exchange it belongs to.
pub(super) fn is_answer(event: &Event) -> bool {
    matches!(event, Event::Message { message, .. } if message.is_answer())
}

/// Answers for a client what it cannot be asked, so that the server need not wait.
pub(super) fn decline<'a>(
    session: &'a Arc<dyn Session>,
    message: Message,
    caller: &'a Caller,
) -> BoxFuture<'a, ()> {
    if message.kind() != Kind::Request {
        return future::ready(()).boxed();
    }
    async move {
        let words = "the client accepts no event stream, so that it cannot be asked";
        let error = RpcError::new(RpcError::INTERNAL, words);
        let Ok(answer) = Message::error(message.id(), &error) else { return };
        if let Err(error) = session.send(Exchange::new(answer, caller.clone())).await {
            debug!(%error, "question of the server not declined");
        }
    }
    .boxed()
}

/// The error of a request to which its server said all it had to say, and no answer.
pub(super) fn unanswered_error() -> TransportError {
    TransportError::new(ErrorKind::Protocol, "the server took the request, but no answer came")
}
