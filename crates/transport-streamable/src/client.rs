//! Servers that speak Streamable HTTP, with sessions (2025-03-26 to 2025-11-25) and without
//! (2026-07-28, `modern`).

mod answers;
mod auto;
mod exchange;
mod ids;
mod modern;

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::{FutureExt, StreamExt, future, future::BoxFuture, stream};
use hyper::{
    Method, Response, StatusCode, Uri,
    header::{ACCEPT, HeaderValue},
    http::request,
};
use mcp_jsonrpc::{
    Era, Limits, ProtocolVersion,
    transport::{
        Caller, Endpoint, ErrorKind, EventId, EventStream, Exchange, Opening, Reply, Session,
        SessionId, Transport, TransportError,
    },
};
use tokio::runtime::Handle;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::debug;
use transport_sse::{
    events::Events,
    http::{self, HttpClient, HttpTarget, Incoming},
    wire,
};

use crate::{
    header,
    mirror::{Index, IndexMax, Mirrors},
};

pub use auto::Auto;

/// How a server is talked to.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// How long the body of an answer in JSON may take after its head: 120 s.
    pub body_timeout: Duration,
    /// How long the server may take to accept a notification or a response: 30 s.  How long it
    /// may work on a request is not limited here.
    pub tell_timeout: Duration,
    /// How long it may take to hear of a cancellation, or of the end of a session: 5 s.
    pub close_timeout: Duration,
    /// After how long without a byte a stream counts as dead.  None by default, because many
    /// servers send no comments; the kernel asks after the peer anyway.
    pub idle_timeout: Option<Duration>,
    /// How often in a row a broken stream is resumed in vain: 5 times.
    pub resume_tries_max: u32,
    /// How long is waited before that where the server does not say: 1 s, doubled each time.
    pub resume_wait: Duration,
    /// And at most: 60 s, whatever the server says.
    pub resume_wait_max: Duration,
    /// How much is remembered of what calls mirror (2026-07-28).
    pub index: IndexMax,
    /// What messages are taken.
    pub limits: Limits,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            body_timeout: Duration::from_secs(120),
            tell_timeout: Duration::from_secs(30),
            close_timeout: Duration::from_secs(5),
            idle_timeout: None,
            resume_tries_max: 5,
            resume_wait: Duration::from_secs(1),
            resume_wait_max: Duration::from_secs(60),
            index: IndexMax::default(),
            limits: Limits::default(),
        }
    }
}

/// A transport that posts to one URL.
#[derive(Clone, Debug)]
pub struct Connect(Arc<Server>);

/// What all sessions with a server share.
#[derive(Debug)]
struct Server {
    target: HttpTarget,
    http: HttpClient,
    options: ClientOptions,
    /// The URL as text.
    uri: Arc<str>,
    /// What calls of its tools mirror (2026-07-28).
    index: Arc<Index>,
    /// What outlives the request it belongs to (2026-07-28).
    tasks: TaskTracker,
}

/// A session, held by who opened it: dropped, it ends.
#[derive(Debug)]
struct Conversation(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    server: Arc<Server>,
    /// Assigned by the server in its answer to `initialize`, or never.
    id: OnceLock<(SessionId, HeaderValue)>,
    /// What was agreed upon with the server.
    version: OnceLock<ProtocolVersion>,
    /// Whether the session is ours to end.
    is_own: bool,
    /// A `400` has been taken for the end of the session; a second one is not.
    doubted: AtomicBool,
    /// Cancelled once the handshake is through, when there is something to listen to.
    begun: CancellationToken,
    /// Cancelled when the session ends.
    over: CancellationToken,
    ids: ids::Ids,
    /// Cancellations, and the end, on their way to the server.
    tasks: TaskTracker,
}

// === impl Connect ===

impl Connect {
    /// A transport to this server, by these connections.
    pub fn new(target: HttpTarget, http: HttpClient, options: ClientOptions) -> Self {
        let uri = target.url().to_string().into();
        let (index, tasks) = (Arc::new(Index::new(options.index)), TaskTracker::new());
        Self(Arc::new(Server { target, http, options, uri, index, tasks }))
    }

    /// What calls of the server's tools mirror into fields, as far as its lists have said so
    /// (2026-07-28): for a [`server`](crate::server) in front that offers the same tools.
    pub fn mirrors(&self) -> Arc<dyn Mirrors> {
        Arc::clone(&self.0.index) as _
    }

    fn conversation(
        &self,
        version: Option<ProtocolVersion>,
        id: Option<&SessionId>,
    ) -> Conversation {
        let inner = Inner {
            server: Arc::clone(&self.0),
            id: OnceLock::new(),
            version: OnceLock::new(),
            is_own: id.is_none(),
            doubted: AtomicBool::new(false),
            begun: CancellationToken::new(),
            over: CancellationToken::new(),
            ids: ids::Ids::default(),
            tasks: TaskTracker::new(),
        };
        if let Some(id) = id {
            inner.assign(id.as_str());
            inner.begun.cancel();
        }
        inner.agree(version);
        Conversation(Arc::new(inner))
    }
}

impl Transport for Connect {
    fn open(&self, opening: Opening) -> BoxFuture<'_, Result<Arc<dyn Session>, TransportError>> {
        let session: Arc<dyn Session> = match opening.version.map(ProtocolVersion::era) {
            Some(Era::Modern) => Arc::new(modern::Shared(Arc::clone(&self.0))),
            Some(Era::Legacy) | None => Arc::new(self.conversation(opening.version, None)),
        };
        future::ready(Ok(session)).boxed()
    }

    fn find(&self, id: &SessionId, _: &Caller) -> Result<Arc<dyn Session>, TransportError> {
        // The server will say if it does not know the id.
        Ok(Arc::new(self.conversation(None, Some(id))))
    }
}

// === impl Conversation ===

impl Session for Conversation {
    fn endpoint(&self) -> Endpoint {
        let session = self.0.id.get().map(|(id, _)| id.clone());
        Endpoint { uri: Arc::clone(&self.0.server.uri), session }
    }

    fn send(&self, exchange: Exchange) -> BoxFuture<'_, Result<Reply, TransportError>> {
        self.0.exchange(exchange).map(|answered| answered.map(|(_, reply)| reply)).boxed()
    }

    fn listen(&self, after: Option<EventId>) -> BoxFuture<'_, Result<EventStream, TransportError>> {
        let inner = Arc::clone(&self.0);
        async move {
            let over = inner.over.clone().cancelled_owned();
            if inner.begun.is_cancelled() {
                return Ok(inner.listen(after).await?.take_until(over).boxed());
            }
            // Before the handshake a server can only refuse; the stream begins after it.
            let later = async move {
                inner.begun.cancelled().await;
                match inner.listen(after).await {
                    Ok(events) => events,
                    Err(error) if *error.kind() == ErrorKind::Unsupported => {
                        debug!(%error, "nothing to listen to");
                        stream::empty().boxed()
                    }
                    Err(error) => stream::iter([Err(error)]).boxed(),
                }
            };
            Ok(later.flatten_stream().take_until(over).boxed())
        }
        .boxed()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        async {
            self.0.over.cancel();
            if self.0.is_own {
                Arc::clone(&self.0).end().await;
            }
            self.0.tasks.close();
            self.0.tasks.wait().await;
        }
        .boxed()
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        if self.0.over.is_cancelled() {
            return;
        }
        self.0.over.cancel();
        if let (true, Ok(runtime)) = (self.0.is_own, Handle::try_current()) {
            self.0.tasks.spawn_on(Arc::clone(&self.0).end(), &runtime);
        }
    }
}

// === impl Inner ===

impl Inner {
    /// Takes the id the server assigned.  The first one counts.
    fn assign(&self, id: &str) {
        if let (Some(id), Ok(mut value)) = (SessionId::new(id), HeaderValue::from_str(id)) {
            value.set_sensitive(true);
            self.id.get_or_init(|| (id, value));
        }
    }

    /// Remembers the revision the session is in.
    fn agree(&self, version: Option<ProtocolVersion>) {
        if let Some(version) = version.filter(|version| version.era() == Era::Legacy) {
            self.version.get_or_init(|| version);
        }
    }

    fn request(
        &self,
        method: Method,
        accept: &'static str,
        version: Option<ProtocolVersion>,
    ) -> request::Builder {
        let target = &self.server.target;
        let mut request = target.request(method, Uri::clone(target.url()));
        if let Some(fields) = request.headers_mut() {
            fields.insert(ACCEPT, HeaderValue::from_static(accept));
            if let Some((_, id)) = self.id.get() {
                fields.insert(header::SESSION_ID, id.clone());
            }
            if let Some(version) = version {
                fields.insert(header::PROTOCOL_VERSION, HeaderValue::from_static(version.as_str()));
            }
        }
        request
    }

    async fn send(
        &self,
        request: request::Builder,
        body: Bytes,
    ) -> Result<Response<Incoming>, TransportError> {
        let Server { target, http, .. } = &*self.server;
        let request = request.body(body).map_err(|error| http::broken(target, error))?;
        http.send(target, request).await
    }

    /// Opens a stream of what the server says unasked.
    async fn listen(
        self: Arc<Self>,
        after: Option<EventId>,
    ) -> Result<EventStream, TransportError> {
        let events = self.get(after.as_ref()).await?;
        Ok(answers::listen(self, events, after))
    }

    /// GET: a stream of what the server says unasked, or the rest of one that broke.
    async fn get(&self, after: Option<&EventId>) -> Result<Events, TransportError> {
        let mut request =
            self.request(Method::GET, wire::CONTENT_TYPE, self.version.get().copied());
        if let Some(after) = after {
            request = request.header(header::LAST_EVENT_ID, after.as_str());
        }
        let response = self.send(request, Bytes::new()).await?;
        let Server { target, options, .. } = &*self.server;
        match response.status() {
            StatusCode::METHOD_NOT_ALLOWED => {
                let what = "it has no stream to listen to";
                Err(TransportError::new(ErrorKind::Unsupported, what).of(target.name()))
            }
            StatusCode::NOT_FOUND if self.id.get().is_some() => Err(self.no_session()),
            _ => {
                let response = http::check(target, response)?;
                Events::of(target, response, options.limits, options.idle_timeout)
            }
        }
    }

    /// Tells the server that the session is over.
    async fn end(self: Arc<Self>) {
        if self.id.get().is_none() {
            return;
        }
        let request = self.request(Method::DELETE, "*/*", self.version.get().copied());
        let sent = self.send(request, Bytes::new());
        let server = &**self.server.target.name();
        match tokio::time::timeout(self.server.options.close_timeout, sent).await {
            Ok(Ok(response)) => {
                debug!(server, status = response.status().as_u16(), "session ended");
            }
            Ok(Err(error)) => debug!(server, %error, "server did not hear of the session's end"),
            Err(_) => debug!(server, "server took too long to hear of the session's end"),
        }
    }

    fn no_session(&self) -> TransportError {
        let what = "it does not know the session any more";
        TransportError::new(ErrorKind::NoSession, what)
            .of(self.server.target.name())
            .hint("open another")
    }

    /// Whether a `400` that speaks of the session may be taken for its end: once.
    fn doubt(&self) -> bool {
        self.id.get().is_some() && !self.doubted.swap(true, Ordering::Relaxed)
    }
}
