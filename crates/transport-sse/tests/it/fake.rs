//! A transport that does as it is told, and remembers what happened to it.

use std::{
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use futures::{
    FutureExt, StreamExt,
    future::{self, BoxFuture},
    stream,
};
use mcp_jsonrpc::{
    Id, ProtocolVersion,
    transport::{
        Caller, Endpoint, ErrorKind, Event, EventId, EventStream, Exchange, Opening, Reply,
        Session, SessionId, Transport, TransportError,
    },
};
use tokio::sync::Notify;

type Answer = BoxFuture<'static, Result<Reply, TransportError>>;

/// A transport whose sessions all are itself.
#[derive(Clone)]
pub(crate) struct Fake(Arc<Inner>);

struct Inner {
    answer: Box<dyn Fn(Exchange) -> Answer + Send + Sync>,
    id: Option<SessionId>,
    version: Option<ProtocolVersion>,
    owner: Option<Caller>,
    refuses: Mutex<Option<TransportError>>,
    unasked: Mutex<Option<EventStream>>,
    opened: AtomicUsize,
    closed: AtomicUsize,
    closing: Notify,
    never_closed: bool,
    listened_after: Mutex<Vec<Option<EventId>>>,
    keeps: bool,
}

impl Fake {
    /// One that answers by calling `answer`.
    pub(crate) fn new<F>(answer: impl Fn(Exchange) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Reply, TransportError>> + Send + 'static,
    {
        Self(Arc::new(Inner {
            answer: Box::new(move |exchange| answer(exchange).boxed()),
            id: None,
            version: None,
            owner: None,
            refuses: Mutex::default(),
            unasked: Mutex::default(),
            opened: AtomicUsize::new(0),
            closed: AtomicUsize::new(0),
            closing: Notify::new(),
            never_closed: false,
            listened_after: Mutex::default(),
            keeps: false,
        }))
    }

    fn edit(mut self, edit: impl FnOnce(&mut Inner)) -> Self {
        edit(Arc::get_mut(&mut self.0).unwrap());
        self
    }

    /// Its sessions have this id, and answer to this caller.
    pub(crate) fn known_as(self, id: &str, owner: Caller) -> Self {
        let id = SessionId::new(id);
        self.edit(|inner| (inner.id, inner.owner) = (id, Some(owner)))
    }

    /// Its sessions have agreed on this.
    pub(crate) fn speaking(self, version: ProtocolVersion) -> Self {
        self.edit(|inner| inner.version = Some(version))
    }

    /// Opens nothing, once.
    pub(crate) fn refusing(self, error: TransportError) -> Self {
        *self.0.refuses.lock().unwrap() = Some(error);
        self
    }

    /// Closing it takes for ever.
    pub(crate) fn never_closed(self) -> Self {
        self.edit(|inner| inner.never_closed = true)
    }

    /// Gives every event of a stream an id: `kept`, the requests it answers, and a number.
    #[allow(dead_code, reason = "this file serves the tests of two crates")]
    pub(crate) fn keeping(self) -> Self {
        self.edit(|inner| inner.keeps = true)
    }

    /// Says this unasked.
    pub(crate) fn saying(self, events: EventStream) -> Self {
        *self.0.unasked.lock().unwrap() = Some(events);
        self
    }

    pub(crate) fn opened(&self) -> usize {
        self.0.opened.load(Ordering::SeqCst)
    }

    pub(crate) fn closed(&self) -> usize {
        self.0.closed.load(Ordering::SeqCst)
    }

    /// What has been asked to be resumed after.
    pub(crate) fn listened_after(&self) -> Vec<Option<EventId>> {
        self.0.listened_after.lock().unwrap().clone()
    }

    /// Resolves when as many sessions have been closed.
    pub(crate) async fn until_closed(&self, count: usize) {
        loop {
            let closing = self.0.closing.notified();
            if count <= self.closed() {
                return;
            }
            closing.await;
        }
    }
}

impl fmt::Debug for Fake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fake")
    }
}

impl Transport for Fake {
    fn open(&self, _: Opening) -> BoxFuture<'_, Result<Arc<dyn Session>, TransportError>> {
        if let Some(error) = self.0.refuses.lock().unwrap().take() {
            return async { Err(error) }.boxed();
        }
        self.0.opened.fetch_add(1, Ordering::SeqCst);
        let session: Arc<dyn Session> = Arc::new(self.clone());
        async { Ok(session) }.boxed()
    }

    fn find(&self, id: &SessionId, caller: &Caller) -> Result<Arc<dyn Session>, TransportError> {
        let known = self.0.id.as_ref() == Some(id) && self.0.owner.as_ref() == Some(caller);
        if known && self.closed() < self.opened() {
            return Ok(Arc::new(self.clone()));
        }
        Err(TransportError::new(ErrorKind::NoSession, "no such session").hint("open another"))
    }
}

impl Session for Fake {
    fn endpoint(&self) -> Endpoint {
        Endpoint { uri: Arc::from("fake:"), session: self.0.id.clone() }
    }

    fn send(&self, exchange: Exchange) -> BoxFuture<'_, Result<Reply, TransportError>> {
        (self.0.answer)(exchange)
    }

    fn listen(&self, after: Option<EventId>) -> BoxFuture<'_, Result<EventStream, TransportError>> {
        self.0.listened_after.lock().unwrap().push(after);
        let unasked = self.0.unasked.lock().unwrap().take();
        async { Ok(unasked.unwrap_or_else(|| stream::pending().boxed())) }.boxed()
    }

    fn keep(&self, of: &[Id], events: EventStream) -> EventStream {
        if !self.0.keeps {
            return events;
        }
        let of: String = of.iter().map(|id| format!("/{id}")).collect();
        let id = move |n| EventId::new(&format!("kept{of}-{n}"));
        let retry = Some(std::time::Duration::from_secs(2));
        let prime = stream::iter([Ok(Event::Pause { id: id(0), retry })]);
        let numbered = events.enumerate().map(move |(n, event)| match event? {
            Event::Message { message, .. } => Ok(Event::Message { id: id(n + 1), message }),
            pause => Ok(pause),
        });
        prime.chain(numbered).boxed()
    }

    fn version(&self) -> Option<ProtocolVersion> {
        self.0.version
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.0.closed.fetch_add(1, Ordering::SeqCst);
        self.0.closing.notify_waiters();
        if self.0.never_closed { future::pending().boxed() } else { future::ready(()).boxed() }
    }
}
