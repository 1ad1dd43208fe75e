//! A request on its way to the server, and what is said to it.

use std::{
    future::poll_fn,
    task::{Context, Poll, ready},
};

use futures::{FutureExt, StreamExt, future::BoxFuture};
use mcp_jsonrpc::{
    Message,
    transport::{Event, EventStream, Exchange, Reply, TransportError},
};

use tokio::time::Instant;

use super::pooled::Place;

/// A request on its way, and its place in the session that carries it.
pub(super) struct Leg {
    pub(super) place: Place,
    behind: Behind,
}

enum Behind {
    /// Something has to be settled before.
    Unsent(Exchange),
    Sent(BoxFuture<'static, Result<Reply, TransportError>>),
    Speaking(EventStream),
    Done,
}

// === impl Leg ===

impl Leg {
    /// A request that goes under the id of its place.
    pub(super) fn new(place: Place, exchange: Exchange) -> Self {
        Self { place, behind: Behind::Unsent(exchange) }
    }

    /// Whether it has to be sent yet.
    pub(super) fn is_unsent(&self) -> bool {
        matches!(self.behind, Behind::Unsent(_))
    }

    /// Whether all is said.
    pub(super) fn is_done(&self) -> bool {
        matches!(self.behind, Behind::Done)
    }

    /// Sends it, if that was not done before.
    pub(super) fn send(&mut self) {
        self.behind = match std::mem::replace(&mut self.behind, Behind::Done) {
            Behind::Unsent(exchange) => {
                self.place.sent = true;
                let session = std::sync::Arc::clone(&self.place.pooled.session);
                Behind::Sent(async move { session.send(exchange).await }.boxed())
            }
            behind => behind,
        };
    }

    /// Goes on with what the server has begun in the background: this asks for its result.
    pub(super) fn wait_for(&mut self, task: Box<str>, result: Exchange) {
        self.place.task = Some(task);
        let session = std::sync::Arc::clone(&self.place.pooled.session);
        self.behind = Behind::Sent(async move { session.send(result).await }.boxed());
    }

    /// Asks for the result of its task once more, when something has become of it.
    pub(super) fn ask_later(&mut self, task: Box<str>, result: Exchange, until: Instant) {
        let pooled = std::sync::Arc::clone(&self.place.pooled);
        let asking = async move {
            pooled.until_moved(&task, until).await?;
            pooled.session.send(result).await
        };
        self.behind = Behind::Sent(asking.boxed());
    }

    /// What is said next; the answer, or an error, last.  Dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> Result<Message, TransportError> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Message, TransportError>> {
        loop {
            match self.place.inbox.poll_next(cx) {
                Poll::Ready(Some(Ok(Event::Message { message, .. }))) => {
                    return Poll::Ready(Ok(message));
                }
                Poll::Ready(Some(Ok(Event::Pause { .. }))) => (),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error)),
                Poll::Ready(None) | Poll::Pending => break,
            }
        }
        let said = ready!(self.poll_behind(cx));
        if !matches!(&said, Ok(message) if !message.is_answer()) {
            self.behind = Behind::Done;
            self.place.answered = true;
        }
        Poll::Ready(said)
    }

    fn poll_behind(&mut self, cx: &mut Context<'_>) -> Poll<Result<Message, TransportError>> {
        loop {
            match &mut self.behind {
                Behind::Unsent(_) => return Poll::Pending,
                Behind::Sent(sent) => match ready!(sent.poll_unpin(cx))? {
                    Reply::Single(message) => return Poll::Ready(Ok(message)),
                    Reply::Stream(events) => self.behind = Behind::Speaking(events),
                    Reply::Accepted => return Poll::Ready(Err(TransportError::unanswered())),
                },
                Behind::Speaking(events) => match ready!(events.poll_next_unpin(cx)) {
                    Some(Ok(Event::Message { message, .. })) => return Poll::Ready(Ok(message)),
                    Some(Ok(Event::Pause { .. })) => (),
                    Some(Err(error)) => return Poll::Ready(Err(error)),
                    None => return Poll::Ready(Err(TransportError::unanswered())),
                },
                Behind::Done => return Poll::Ready(Err(TransportError::unanswered())),
            }
        }
    }
}
