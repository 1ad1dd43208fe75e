//! A transport that is looked at: what is asked of it, and what comes of that.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures::{FutureExt, Stream, StreamExt, future::BoxFuture};
use mcp_jsonrpc::{
    Era, Id, Kind, Message, ProtocolVersion,
    transport::{
        Caller, Endpoint, Event, EventId, EventStream, Exchange, Opening, Reply, Session,
        SessionId, Transport, TransportError,
    },
};
use tokio::time::Instant;

use crate::{Counts, Method, Outcome};

/// Looks at what goes through another transport, and changes nothing of it.
#[derive(Debug)]
pub struct Observed {
    inner: Arc<dyn Transport>,
    watch: Watch,
}

/// Where what is seen of one server goes.
#[derive(Clone, Debug)]
pub struct Watch {
    counts: Arc<Counts>,
}

#[derive(Debug)]
struct ObservedSession {
    inner: Arc<dyn Session>,
    watch: Watch,
}

/// One request, from when it came until it is over.  Dropped before, it was taken back.
struct Asked {
    watch: Watch,
    method: Method,
    is_modern: bool,
    began: Instant,
    is_over: bool,
}

/// What is said to one request, while it is said.
struct Saying {
    events: EventStream,
    asked: Asked,
    _open: OpenStream,
}

/// What is said unasked, as long as somebody listens.
struct Listening {
    events: EventStream,
    open: OpenStream,
}

/// A stream that is open.
struct OpenStream(Arc<Counts>);

// === impl Observed ===

impl Observed {
    /// Looks at what goes through this.
    pub fn new(inner: Arc<dyn Transport>, watch: Watch) -> Self {
        Self { inner, watch }
    }

    fn wrap(&self, inner: Arc<dyn Session>) -> Arc<dyn Session> {
        Arc::new(ObservedSession { inner, watch: self.watch.clone() })
    }
}

impl Transport for Observed {
    fn open(&self, opening: Opening) -> BoxFuture<'_, Result<Arc<dyn Session>, TransportError>> {
        async move { self.inner.open(opening).await.map(|inner| self.wrap(inner)) }.boxed()
    }

    fn find(&self, id: &SessionId, caller: &Caller) -> Result<Arc<dyn Session>, TransportError> {
        self.inner.find(id, caller).map(|inner| self.wrap(inner))
    }

    fn is_light(&self) -> bool {
        self.inner.is_light()
    }

    fn settle<'a>(&'a self, caller: &'a Caller) -> BoxFuture<'a, ()> {
        self.inner.settle(caller)
    }
}

impl Session for ObservedSession {
    fn endpoint(&self) -> Endpoint {
        self.inner.endpoint()
    }

    fn send(&self, exchange: Exchange) -> BoxFuture<'_, Result<Reply, TransportError>> {
        self.watch.counts.came(exchange.message.as_bytes().len());
        if exchange.message.kind() != Kind::Request {
            return self.inner.send(exchange);
        }
        let mut asked = Asked::new(&self.watch, &exchange);
        async move {
            match self.inner.send(exchange).await {
                Ok(Reply::Single(answer)) => {
                    asked.hear(&answer);
                    Ok(Reply::Single(answer))
                }
                Ok(Reply::Stream(events)) => {
                    let open = OpenStream::new(&self.watch.counts);
                    Ok(Reply::Stream(Saying { events, asked, _open: open }.boxed()))
                }
                Ok(Reply::Accepted) => {
                    asked.end(Outcome::Error);
                    Ok(Reply::Accepted)
                }
                Err(error) => {
                    asked.end(Outcome::of_error(&error));
                    Err(error)
                }
            }
        }
        .boxed()
    }

    fn listen(&self, after: Option<EventId>) -> BoxFuture<'_, Result<EventStream, TransportError>> {
        async move {
            let events = self.inner.listen(after).await?;
            Ok(Listening { events, open: OpenStream::new(&self.watch.counts) }.boxed())
        }
        .boxed()
    }

    fn keep(&self, of: &[Id], events: EventStream) -> EventStream {
        self.inner.keep(of, events)
    }

    fn version(&self) -> Option<ProtocolVersion> {
        self.inner.version()
    }

    fn is_open(&self) -> bool {
        self.inner.is_open()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.inner.close()
    }
}

// === impl Watch ===

impl Watch {
    /// Counts here.
    pub fn new(counts: Arc<Counts>) -> Self {
        Self { counts }
    }
}

// === impl Asked ===

impl Asked {
    fn new(watch: &Watch, exchange: &Exchange) -> Self {
        let method = Method::of(exchange.message.method().unwrap_or_default());
        let is_modern = exchange.version.is_some_and(|it| it.era() == Era::Modern);
        let (watch, began) = (watch.clone(), Instant::now());
        Self { watch, method, is_modern, began, is_over: false }
    }

    /// Hears what is said to it, which may be the answer.
    fn hear(&mut self, message: &Message) {
        self.watch.counts.went(message.as_bytes().len());
        if message.is_answer() {
            self.end(Outcome::of_answer(self.method, message, self.is_modern));
        }
    }

    fn end(&mut self, outcome: Outcome) {
        if !std::mem::replace(&mut self.is_over, true) {
            self.watch.counts.ended(self.method, outcome, self.began.elapsed());
        }
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.end(Outcome::Cancelled);
    }
}

// === impl Saying ===

impl Stream for Saying {
    type Item = Result<Event, TransportError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let event = std::task::ready!(self.events.poll_next_unpin(cx));
        match &event {
            Some(Ok(Event::Message { message, .. })) => self.asked.hear(message),
            Some(Ok(Event::Pause { .. })) => (),
            Some(Err(error)) => self.asked.end(Outcome::of_error(error)),
            // Said all it had to say, and no answer.
            None => self.asked.end(Outcome::Error),
        }
        Poll::Ready(event)
    }
}

// === impl Listening ===

impl Stream for Listening {
    type Item = Result<Event, TransportError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let event = std::task::ready!(self.events.poll_next_unpin(cx));
        if let Some(Ok(Event::Message { message, .. })) = &event {
            self.open.0.went(message.as_bytes().len());
        }
        Poll::Ready(event)
    }
}

// === impl OpenStream ===

impl OpenStream {
    fn new(counts: &Arc<Counts>) -> Self {
        counts.stream_opened();
        Self(Arc::clone(counts))
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.stream_ended();
    }
}

impl fmt::Debug for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asked").field("method", &self.method.as_str()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
