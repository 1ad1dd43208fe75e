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
        SessionId, Trail, Transport, TransportError,
    },
};
use tokio::time::Instant;

use crate::{
    Audit, Counts, Method, Outcome,
    audit::{self, Audited, Line},
};

/// Looks at what goes through another transport, and changes nothing of it.
#[derive(Debug)]
pub struct Observed {
    inner: Arc<dyn Transport>,
    watch: Watch,
}

/// Where what is seen of one server goes.
#[derive(Clone, Debug)]
pub struct Watch(Arc<Goal>, Place);

#[derive(Debug)]
struct Goal {
    /// The server, as it may be named.
    server: Arc<str>,
    counts: Option<Arc<Counts>>,
    audit: Option<Audited>,
}

/// Between what it is looked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Between clients and the one server that they mean.
    Server,
    /// Between clients and many servers as one: what comes to one of these is seen there.
    Door,
    /// Between these and one of them.
    Member,
}

#[derive(Debug)]
struct ObservedSession {
    inner: Arc<dyn Session>,
    watch: Watch,
    /// Its id, where it was found by it.
    id: Option<SessionId>,
}

/// Who begins a session, and what the client says it is.
type Beginning = (Caller, Option<Box<str>>);

/// One request, from when it came until it is over.  Dropped before, it was taken back.
struct Asked {
    watch: Watch,
    method: Method,
    is_modern: bool,
    began: Instant,
    is_over: bool,
    /// How it came to be here, if it is to be seen elsewhere as well.
    trail: Option<Arc<Trail>>,
    line: Option<Line>,
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
struct OpenStream(Option<Arc<Counts>>);

// === impl Observed ===

impl Observed {
    /// Looks at what goes through this.
    pub fn new(inner: Arc<dyn Transport>, watch: Watch) -> Self {
        Self { inner, watch }
    }

    fn wrap(&self, inner: Arc<dyn Session>, id: Option<&SessionId>) -> Arc<dyn Session> {
        Arc::new(ObservedSession { inner, watch: self.watch.clone(), id: id.cloned() })
    }
}

impl Transport for Observed {
    fn open(&self, opening: Opening) -> BoxFuture<'_, Result<Arc<dyn Session>, TransportError>> {
        async move { self.inner.open(opening).await.map(|inner| self.wrap(inner, None)) }.boxed()
    }

    fn find(&self, id: &SessionId, caller: &Caller) -> Result<Arc<dyn Session>, TransportError> {
        self.inner.find(id, caller).map(|inner| self.wrap(inner, Some(id)))
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

    fn send(&self, mut exchange: Exchange) -> BoxFuture<'_, Result<Reply, TransportError>> {
        self.watch.came(&exchange.message);
        if exchange.message.kind() != Kind::Request {
            return self.inner.send(exchange);
        }
        let mut asked = self.asked(&mut exchange);
        let beginning = self.beginning(&exchange);
        let reply = match self.watch.waits(asked.method) {
            None => self.inner.send(exchange),
            Some(admitted) => async move {
                admitted.await?;
                self.inner.send(exchange).await
            }
            .boxed(),
        };
        async move {
            match reply.await {
                Ok(Reply::Single(answer)) => {
                    asked.hear(&answer);
                    if let Some(beginning) = beginning.filter(|_| answer.kind() == Kind::Response) {
                        self.begun(&beginning);
                    }
                    Ok(Reply::Single(answer))
                }
                Ok(Reply::Stream(events)) => {
                    let open = OpenStream::new(&self.watch);
                    Ok(Reply::Stream(Saying { events, asked, _open: open }.boxed()))
                }
                Ok(Reply::Accepted) => {
                    asked.end(Outcome::Error);
                    Ok(Reply::Accepted)
                }
                Err(error) => {
                    asked.fail(&error);
                    Err(error)
                }
            }
        }
        .boxed()
    }

    fn listen(&self, after: Option<EventId>) -> BoxFuture<'_, Result<EventStream, TransportError>> {
        async move {
            let events = self.inner.listen(after).await?;
            Ok(Listening { events, open: OpenStream::new(&self.watch) }.boxed())
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
        if self.watch.1 != Place::Member
            && let Some(audit) = &self.watch.0.audit
            && let Some(id) = self.id.clone().or_else(|| self.inner.endpoint().session)
        {
            audit.session("session_ended", None, (Some(&id), None));
        }
        self.inner.close()
    }
}

impl ObservedSession {
    /// A request that is sent now, seen from here.
    fn asked(&self, exchange: &mut Exchange) -> Asked {
        let (goal, place) = (&self.watch.0, self.watch.1);
        let method = Method::of(exchange.message.method().unwrap_or_default());
        let trail = match place {
            Place::Server => None,
            Place::Door => {
                let trail = Trail::new(Arc::clone(&goal.server), self.id.clone());
                exchange.caller.trail = Some(Arc::new(trail));
                exchange.caller.trail.clone()
            }
            Place::Member => {
                if let Some(trail) = exchange.caller.trail.as_ref().filter(|_| method.is_content())
                {
                    trail.pass();
                }
                None
            }
        };
        let audited = goal.audit.as_ref().filter(|_| method.is_content());
        let line = audited.map(|it| it.line(method, exchange, self.id.as_ref()));
        let is_modern = exchange.version.is_some_and(|it| it.era() == Era::Modern);
        let (watch, began) = (self.watch.clone(), Instant::now());
        Asked { watch, method, is_modern, began, is_over: false, trail, line }
    }

    /// Who begins a session, and with which client, where that is to be written down.
    fn beginning(&self, exchange: &Exchange) -> Option<Box<Beginning>> {
        self.watch.0.audit.as_ref().filter(|_| self.watch.1 != Place::Member)?;
        let is_first = exchange.message.method() == Some("initialize");
        is_first.then(|| {
            let client = audit::client_of(&exchange.message);
            Box::new((exchange.caller.clone(), client))
        })
    }

    /// Writes it down.  Before this the session may have no id yet, and must not be asked for it.
    fn begun(&self, (caller, client): &Beginning) {
        let Some(audit) = &self.watch.0.audit else { return };
        let id = self.id.clone().or_else(|| self.inner.endpoint().session);
        audit.session("session_begun", Some(caller), (id.as_ref(), client.as_deref()));
    }
}

// === impl Watch ===

impl Watch {
    /// Counts and writes down what is seen of this server, as far as there is where; none where
    /// there is neither.
    pub fn new(
        server: &Arc<str>,
        counts: Option<Arc<Counts>>,
        audit: Option<Audit>,
        place: Place,
    ) -> Option<Self> {
        let server = Arc::clone(server);
        let is_any = counts.is_some() || audit.is_some();
        let audit = audit.map(|it| Audited::new(it, &server));
        is_any.then(|| Self(Arc::new(Goal { server, counts, audit }), place))
    }

    /// The same from another place.
    #[must_use]
    pub fn at(&self, place: Place) -> Self {
        Self(Arc::clone(&self.0), place)
    }

    /// What is counted, if it is.
    pub fn counts(&self) -> Option<&Arc<Counts>> {
        self.0.counts.as_ref()
    }

    /// Waits until what is asked for can be written down, where it has to be and cannot now.
    fn waits(
        &self,
        method: Method,
    ) -> Option<impl Future<Output = Result<(), TransportError>> + '_> {
        let audited = self.0.audit.as_ref().filter(|it| it.audit.is_closed())?;
        let is_here = method.is_content() && self.1 != Place::Door;
        is_here.then_some(async {
            audited.audit.admit().await.map_err(|error| error.of(&self.0.server))
        })
    }

    /// What passes here alone is counted by its length.
    fn lens(&self) -> Option<&Arc<Counts>> {
        self.counts().filter(|_| self.1 != Place::Door)
    }

    fn came(&self, message: &Message) {
        if let Some(counts) = self.lens() {
            counts.came(message.as_bytes().len());
        }
    }

    fn went(&self, message: &Message) {
        if let Some(counts) = self.lens() {
            counts.went(message.as_bytes().len());
        }
    }
}

// === impl Asked ===

impl Asked {
    /// Hears what is said to it, which may be the answer.
    fn hear(&mut self, message: &Message) {
        self.watch.went(message);
        if let Some(line) = &mut self.line {
            line.received += message.as_bytes().len();
        }
        if message.is_answer() {
            let outcome = Outcome::of_answer(self.method, message, self.is_modern);
            if let (Outcome::Error, Some(line)) = (outcome, &mut self.line) {
                line.answered(message);
            }
            self.end(outcome);
        }
    }

    fn fail(&mut self, error: &TransportError) {
        if let Some(line) = &mut self.line {
            line.failed(error);
        }
        self.end(Outcome::of_error(error));
    }

    fn end(&mut self, outcome: Outcome) {
        if std::mem::replace(&mut self.is_over, true) {
            return;
        }
        // What has come to one of many servers was seen there.
        if self.trail.as_ref().is_some_and(|trail| trail.has_passed()) {
            return;
        }
        let (goal, after) = (&self.watch.0, self.began.elapsed());
        if let Some(counts) = &goal.counts {
            counts.ended(self.method, outcome, after);
        }
        if let (Some(line), Some(audited)) = (&mut self.line, &goal.audit) {
            line.end(&audited.audit, outcome, after);
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
            Some(Err(error)) => self.asked.fail(error),
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
        if let Some(Ok(Event::Message { message, .. })) = &event
            && let Some(counts) = &self.open.0
        {
            counts.went(message.as_bytes().len());
        }
        Poll::Ready(event)
    }
}

// === impl OpenStream ===

impl OpenStream {
    fn new(watch: &Watch) -> Self {
        let counts = watch.counts().cloned();
        if let Some(counts) = &counts {
            counts.stream_opened();
        }
        Self(counts)
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        if let Some(counts) = &self.0 {
            counts.stream_ended();
        }
    }
}

impl fmt::Debug for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asked").field("method", &self.method.as_str()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
