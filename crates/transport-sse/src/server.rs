//! Clients that speak HTTP+SSE.
//!
//! A session lives on one GET.  Whatever is said to its POSTs goes down that stream.  A client
//! that loses the stream may come back for a while, with the `Last-Event-ID` that browsers and
//! their like send by themselves; the session ends when it does not.

mod carry;
mod open;

use std::{
    error::Error,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use futures::{StreamExt, stream};
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode,
    body::Body,
    header::{CONTENT_TYPE, HeaderName, USER_AGENT},
};
use mcp_jsonrpc::{
    Frame, Limits, RpcError, batch,
    quick::QuickMap,
    transport::{
        Caller, ErrorKind, Exchange, InboxMax, Session, SessionId, Transport, TransportError,
    },
};
use tokio_util::task::TaskTracker;

use crate::{
    body::{self, Outgoing, Patience},
    http,
    note::Note,
    outbox::Mark,
    refusal::Refusal,
    respond,
    stream::{Chunk, EventBody},
    wire,
    woken::WhenWoken,
};
use open::Open;

/// How much a [`Server`] takes, and how long it waits.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// Put before the path of the `endpoint` event, such as `https://mcp.example.org`, for clients
    /// that cannot resolve a relative one.  None by default.
    pub base_url: Option<Arc<str>>,
    /// The longest body of a POST, in bytes: 16 MiB.
    pub body_len_max: usize,
    /// How long a body may take: 30 s for each part, 5 min as a whole.
    pub body_patience: Patience,
    /// After how much silence a comment is sent: 15 s.
    pub keep_alive: Duration,
    /// How much may wait for a client that reads slowly before its session ends: 1,024 messages,
    /// 16 MiB.
    pub outbox: InboxMax,
    /// How much of what went down a stream is kept for a client that loses it and comes back:
    /// 1,024 messages, 1 MiB.
    pub replay: InboxMax,
    /// How long a session is kept whose stream was lost, and what went down a stream: 60 s.
    pub reconnect_timeout: Duration,
    /// How many messages of one session may be under way: 256.
    pub in_flight_max: usize,
    /// How many sessions may be open: 10,000.
    pub session_count_max: usize,
    /// How long a notification may hold its POST's answer back, so that what the client sends
    /// next cannot overtake it: 1 s.
    pub order_timeout: Duration,
    /// What messages are taken.
    pub limits: Limits,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            base_url: None,
            body_len_max: 16 << 20,
            body_patience: Patience {
                part_timeout: Duration::from_secs(30),
                total_timeout: Duration::from_secs(5 * 60),
            },
            keep_alive: Duration::from_secs(15),
            outbox: InboxMax { queue_len_max: 1024, queue_bytes_max: 16 << 20 },
            replay: InboxMax { queue_len_max: 1024, queue_bytes_max: 1 << 20 },
            reconnect_timeout: Duration::from_secs(60),
            in_flight_max: 256,
            session_count_max: 10_000,
            order_timeout: Duration::from_secs(1),
            limits: Limits::default(),
        }
    }
}

/// Offers a transport to SSE clients.
pub struct Server(Arc<Inner>);

struct Inner {
    setup: ArcSwap<Setup>,
    open: Mutex<QuickMap<SessionId, Arc<Open>>>,
    tasks: TaskTracker,
}

/// What sessions are opened with, and requests treated by.
struct Setup {
    transport: Arc<dyn Transport>,
    options: ServerOptions,
}

/// The event to go on after.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// After how long a client that loses its stream is asked to come back.
const RETRY: Duration = Duration::from_secs(1);

/// A message up to this length is copied out of what its connection was read into: it is under way
/// for longer than its POST, and the connection would need another buffer meanwhile.
const COPIED_LEN_MAX: usize = 4 << 10;

const STREAM_METHODS: &str = "GET, HEAD, OPTIONS";
const MESSAGE_METHODS: &str = "POST, OPTIONS";

// === impl Server ===

impl Server {
    /// A server that hands sessions of this transport to its clients.
    pub fn new(transport: Arc<dyn Transport>, options: ServerOptions) -> Self {
        let (open, tasks) = (Mutex::default(), TaskTracker::new());
        let setup = ArcSwap::from_pointee(Setup { transport, options });
        Self(Arc::new(Inner { setup, open, tasks }))
    }

    /// Takes sessions of this transport, with these options, from now on.
    ///
    /// Sessions that are open go on where `transport` finds them again by their ids; what concerns
    /// a stream as a whole stays as it was when that was opened.
    pub fn reconfigure(&self, transport: Arc<dyn Transport>, options: ServerOptions) {
        self.0.setup.store(Arc::new(Setup { transport, options }));
    }

    /// Answers a request to the stream's address.  `messages_path` is where its client is to
    /// post: a path of [`handle_message`](Self::handle_message).
    pub async fn handle_stream<B>(
        &self,
        request: Request<B>,
        caller: Caller,
        messages_path: &str,
    ) -> Response<Outgoing> {
        let response = match *request.method() {
            Method::GET => return self.stream(request.headers(), caller, messages_path).await,
            Method::HEAD => respond::events_head(),
            Method::OPTIONS => respond::options(STREAM_METHODS),
            _ => {
                let words = "this address only opens an event stream, with GET; messages are \
                             posted to the address that its `endpoint` event names";
                return respond::method_not_allowed(STREAM_METHODS, words);
            }
        };
        respond::noted(response, Note::default())
    }

    /// Answers a request to the address that messages are posted to.
    pub async fn handle_message<B>(&self, request: Request<B>, caller: Caller) -> Response<Outgoing>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        match *request.method() {
            Method::POST => {
                let mut note = Note::default();
                match self.post(request, caller, &mut note).await {
                    Ok(()) => respond::noted(respond::empty(StatusCode::ACCEPTED), note),
                    Err(refusal) => refusal.into_response(note),
                }
            }
            Method::OPTIONS => respond::noted(respond::options(MESSAGE_METHODS), Note::default()),
            _ => {
                let words = "this address only takes messages, with POST; the event stream that \
                             their answers come on is opened at the address beside it";
                respond::method_not_allowed(MESSAGE_METHODS, words)
            }
        }
    }

    /// How many sessions are open.
    pub fn session_count(&self) -> usize {
        self.0.open().len()
    }

    /// Ends every session, says why on its stream, and waits until all are closed.
    pub async fn shut_down(&self, why: &str) {
        let open: Vec<_> = self.0.open().values().cloned().collect();
        for open in open {
            open.outbox.end(why);
        }
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }

    /// A stream: of a session that begins, or of one whose client lost it.
    async fn stream(
        &self,
        headers: &HeaderMap,
        caller: Caller,
        messages_path: &str,
    ) -> Response<Outgoing> {
        let inner = &self.0;
        let setup = inner.setup.load_full();
        let mark = headers.get(LAST_EVENT_ID).and_then(|it| Mark::read(it.to_str().ok()?));
        let opened = match &mark {
            Some(mark) => inner.come_back(&setup, mark, &caller),
            None => {
                let grace = match headers.get(USER_AGENT) {
                    Some(agent) if open::never_comes_back(agent) => Duration::ZERO,
                    _ => setup.options.reconnect_timeout,
                };
                inner.begin(&setup, caller, messages_path, grace).await
            }
        };
        let open = match opened {
            Ok(open) => open,
            Err(refusal) => return refusal.into_response(Note::default()),
        };
        let (after, events) = open.outbox.attach(mark.as_ref());
        let endpoint = setup.endpoint(messages_path, &open.id);
        let endpoint = wire::encode_endpoint(&endpoint, after.as_ref(), RETRY);
        let chunks = stream::iter([Chunk::Encoded(endpoint)]).chain(events);
        let response = respond::events(EventBody::new(chunks, setup.options.keep_alive));
        respond::noted(response, Note { session: Some(open.id.clone()), ..Note::default() })
    }

    async fn post<B>(
        &self,
        request: Request<B>,
        caller: Caller,
        note: &mut Note,
    ) -> Result<(), Refusal>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let setup = self.0.setup.load_full();
        let options = &setup.options;
        let (open, session) = self.0.find(&setup, request.uri().query(), &caller)?;
        note.session = Some(open.id.clone());
        check_content(&request)?;
        let raw = body::read(request.into_body(), options.body_len_max, options.body_patience)
            .await
            .map_err(|error| Refusal::of_body(&error))?;
        let raw = if raw.len() <= COPIED_LEN_MAX { Bytes::copy_from_slice(&raw) } else { raw };
        let frame = Frame::parse_within(raw.clone(), &options.limits)
            .map_err(|error| Refusal::of_message(&raw, &error))?;
        let (first, rest) = match frame {
            Frame::One(message) => (Some(message), Vec::new()),
            // A client of 2025-03-26 may send them over any wire.
            Frame::Batch(messages) => match batch::objection(session.version(), &messages) {
                None => (None, messages),
                Some(words) => {
                    let (status, code) = (StatusCode::BAD_REQUEST, RpcError::INVALID_REQUEST);
                    return Err(Refusal::new(status, code, words));
                }
            },
        };
        let mut messages = first.into_iter().chain(rest).peekable();
        note.rpc_method = messages.peek().and_then(|first| first.method().map(Into::into));
        for message in messages {
            let exchange = Exchange::new(message, caller.clone());
            self.0.take(options, &open, (Arc::clone(&session), exchange)).await?;
            note.carried = true;
        }
        Ok(())
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("transport", &self.0.setup.load().transport)
            .field("options", &self.0.setup.load().options)
            .field("session_count", &self.session_count())
            .finish()
    }
}

// === impl Inner ===

impl Inner {
    /// The session that a query names, if it is this caller's, and how it is reached now.
    fn find(
        self: &Arc<Self>,
        setup: &Setup,
        query: Option<&str>,
        caller: &Caller,
    ) -> Result<(Arc<Open>, Arc<dyn Session>), Refusal> {
        let Some(id) = query.and_then(http::session_id) else {
            let words = "no session named; open the event stream first and post to the address \
                         that its `endpoint` event names, `sessionId` included";
            return Err(Refusal::new(StatusCode::BAD_REQUEST, RpcError::INVALID_REQUEST, words));
        };
        self.session(setup, &id, caller).map_err(|error| error.unwrap_or_else(no_session))
    }

    /// Takes one message in, to be carried after its POST is answered.
    async fn take(
        self: &Arc<Self>,
        options: &ServerOptions,
        open: &Arc<Open>,
        (session, exchange): (Arc<dyn Session>, Exchange),
    ) -> Result<(), Refusal> {
        let Some(place) = carry::Place::take(open, options.in_flight_max) else {
            let what = "too many messages of this session are under way";
            let error = TransportError::new(ErrorKind::Exhausted, what).hint("wait for answers");
            return Err(Refusal::of(&error));
        };
        let waits = exchange.message.id().is_none();
        let carrying = carry::carry(Arc::clone(self), place, (session, exchange));
        let mut carrying = WhenWoken::new(carrying);
        // Begun here, so that messages start out in the order they were posted in.
        let done = match waits {
            true => tokio::time::timeout(options.order_timeout, &mut carrying).await.is_ok(),
            false => carrying.begin().is_ready(),
        };
        if !done {
            self.tasks.spawn(carrying);
        }
        Ok(())
    }

    fn open(&self) -> MutexGuard<'_, QuickMap<SessionId, Arc<Open>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Setup {
    fn endpoint(&self, messages_path: &str, id: &SessionId) -> String {
        let base = self.options.base_url.as_deref().unwrap_or_default().trim_end_matches('/');
        let joint = if messages_path.contains('?') { '&' } else { '?' };
        format!("{base}{messages_path}{joint}sessionId={}", id.as_str())
    }
}

fn no_session() -> Refusal {
    let words = "no such session: it is over, or was never opened; open the event stream again";
    Refusal::new(StatusCode::NOT_FOUND, RpcError::INVALID_REQUEST, words)
}

/// JSON, or what does not say what it is.
fn check_content<B>(request: &Request<B>) -> Result<(), Refusal> {
    let Some(content) = request.headers().get(CONTENT_TYPE) else { return Ok(()) };
    // As almost everybody writes it.
    if content == "application/json" {
        return Ok(());
    }
    let essence = content.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    let words = "messages are posted as `Content-Type: application/json`";
    Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, RpcError::INVALID_REQUEST, words))
}
