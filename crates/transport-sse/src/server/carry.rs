//! One posted message on its way, and what comes of it on the stream.

use std::sync::{Arc, atomic::Ordering};

use futures::StreamExt;
use mcp_jsonrpc::{
    Id, Kind, Message, RpcError,
    transport::{ErrorKind, Event, Exchange, Reply, Session, TransportError},
};
use tracing::{info, warn};

use super::{Inner, open::Open};

/// A place among the messages of a session that are under way.
pub(super) struct Place(Arc<Open>);

impl Place {
    /// Takes one; none when all are taken.
    pub(super) fn take(open: &Arc<Open>, max: usize) -> Option<Self> {
        let place = Self(Arc::clone(open));
        (open.in_flight.fetch_add(1, Ordering::Relaxed) < max).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Carries one message out and what is said to it back, until the stream is over.
///
/// What a stream that ends under a call means for the call is for the session to decide: here
/// its future is dropped.
pub(super) async fn carry(
    inner: Arc<Inner>,
    place: Place,
    (session, exchange): (Arc<dyn Session>, Exchange),
) {
    let open = &*place.0;
    tokio::select! {
        // What is answered is said, and whoever waits for the end is asked less often.
        biased;
        () = talk(&inner, open, (&*session, exchange)) => (),
        () = open.outbox.over() => (),
    }
}

async fn talk(inner: &Inner, open: &Open, (session, exchange): (&dyn Session, Exchange)) {
    let message = &exchange.message;
    let id = message.id().filter(|_| message.kind() == Kind::Request).cloned();
    if message.method() == Some("server/discover") && id.is_some() {
        // Newer clients ask this first and wait long for an answer; on this wire there is one.
        let error = RpcError::new(RpcError::METHOD_NOT_FOUND, "HTTP+SSE begins with `initialize`");
        return fail(open, id.as_ref(), &error);
    }
    let error = match send(inner, session, exchange).await {
        Ok(Reply::Accepted) => None,
        Ok(Reply::Single(message)) => {
            open.say(message.into());
            return;
        }
        Ok(Reply::Stream(mut events)) => loop {
            match events.next().await {
                Some(Ok(Event::Message { message, .. })) => {
                    let answered = message.is_answer();
                    open.say(message.into());
                    if answered {
                        return;
                    }
                }
                Some(Ok(Event::Pause { .. })) => (),
                Some(Err(error)) => break Some(error),
                None => break None,
            }
        },
        Err(error) => Some(error),
    };
    match (error, &id) {
        // A request that was taken back is not answered (2024-11-05, utilities: cancellation).
        (Some(error), Some(_)) if *error.kind() == ErrorKind::Cancelled => {
            info!(session = open.id.short(), "request cancelled");
        }
        (Some(error), Some(_)) => {
            info!(%error, session = open.id.short(), "request failed");
            let code = match error.kind() {
                ErrorKind::Invalid(code) => *code,
                _ => RpcError::INTERNAL,
            };
            fail(open, id.as_ref(), &RpcError::new(code, error.said().to_string()));
        }
        (Some(error), None) => warn!(%error, session = open.id.short(), "message not delivered"),
        (None, Some(_)) => {
            let error = TransportError::new(ErrorKind::Closed, "no answer came");
            let words = error.said().to_string();
            fail(open, id.as_ref(), &RpcError::new(RpcError::INTERNAL, words));
        }
        (None, None) => (),
    }
}

/// Sends a message.  A session that finds no room to begin takes that of one whose client lost
/// its stream and may not come back.
async fn send(
    inner: &Inner,
    session: &dyn Session,
    exchange: Exchange,
) -> Result<Reply, TransportError> {
    if exchange.message.method() != Some("initialize") {
        return session.send(exchange).await;
    }
    match session.send(exchange.clone()).await {
        Err(error) if *error.kind() == ErrorKind::Exhausted && inner.give_way().await => {
            session.send(exchange).await
        }
        replied => replied,
    }
}

fn fail(open: &Open, id: Option<&Id>, error: &RpcError) {
    match Message::error(id, error) {
        Ok(message) => open.say(message.into()),
        Err(error) => warn!(%error, "error not written"),
    }
}
