//! Clients that speak Streamable HTTP, with sessions (2025-03-26 to 2025-11-25) and without.

mod answer;
mod batch;
mod learnt;
mod modern;
mod streams;

use std::{error::Error, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::StreamExt;
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode,
    body::Body,
    header::{HeaderName, HeaderValue},
};
use mcp_jsonrpc::{
    Frame, Kind, Limits, Message, ProtocolVersion, RpcError,
    transport::{Caller, ErrorKind, Exchange, Opening, Reply, Session, Transport, TransportError},
};
use tokio_util::task::TaskTracker;
use tracing::debug;
use transport_sse::{
    body::{self, Outgoing, Patience},
    note::Note,
    respond,
    woken::WhenWoken,
};

use crate::{
    era::{self, Form},
    header::{self, Accept, Fields},
    mirror::Mirrors,
    refusal::{Refusal, Stage},
};
use answer::Asking;
use learnt::Learnt;
use streams::Manner;

/// How much a [`Server`] takes, and how long it waits.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// The longest body of a POST, in bytes: 16 MiB.
    pub body_len_max: usize,
    /// How long a body may take: 30 s for each part, 5 min as a whole.
    pub body_patience: Patience,
    /// After how much silence on a stream a comment is sent, and after how long without an answer
    /// a request is answered with a stream: 15 s.
    pub keep_alive: Duration,
    /// After how long without an answer a request of a client that can be told at once where to
    /// resume (2025-11-25) is answered with a stream, so that it can lose the connection: 50 ms.
    pub prime_after: Duration,
    /// How long the answer to DELETE waits for a session to be closed; it is closed even if that
    /// takes longer: 5 s.
    pub close_timeout: Duration,
    /// Refuses requests whose `Accept` does not name both `application/json` and
    /// `text/event-stream` (GET: the latter), as the specification allows.  By default a client
    /// is answered in whatever it accepts.
    pub strict_accept: bool,
    /// Opens a session for every request that names none, and lets go of it with the answer: for
    /// transports that keep no sessions, such as
    /// [`func::from_fn`](mcp_jsonrpc::transport::func::from_fn).  Such a server has no event
    /// stream to listen to, and nothing to end.  No.
    pub stateless: bool,
    /// Serves 2026-07-28 beside the revisions with sessions: for transports that take openings in
    /// it, or say [`Unsupported`](ErrorKind::Unsupported) to them.  Otherwise its requests are
    /// refused, in words that its clients begin again from with `initialize`.  No.
    pub modern: bool,
    /// Which parameters of tools are mirrored into fields, to be compared with them (2026-07-28).
    /// Of tools it does not know counts what the lists said that went by here; those of others are
    /// passed on as they came.
    pub mirrors: Option<Arc<dyn Mirrors>>,
    /// One more field to pass on unread, beside `Mcp-Param-*` and those of a trace.
    pub carried: Option<HeaderName>,
    /// What messages are taken, and how many of them in a batch.
    pub limits: Limits,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            body_len_max: 16 << 20,
            body_patience: Patience {
                part_timeout: Duration::from_secs(30),
                total_timeout: Duration::from_secs(5 * 60),
            },
            keep_alive: Duration::from_secs(15),
            prime_after: Duration::from_millis(50),
            close_timeout: Duration::from_secs(5),
            strict_accept: false,
            stateless: false,
            modern: false,
            mirrors: None,
            carried: None,
            limits: Limits::default(),
        }
    }
}

/// Offers a transport at one address.
///
/// A client that accepts JSON alone gets the answer and nothing else: notifications before it are
/// dropped, and questions to the client answered with an error in its stead.
#[derive(Debug)]
pub struct Server {
    transport: Arc<dyn Transport>,
    /// Where clients post to.
    at: Arc<str>,
    options: ServerOptions,
    learnt: Arc<Learnt>,
    tasks: TaskTracker,
}

const STATELESS_METHODS: &str = "POST, OPTIONS";
const METHODS: &str = "GET, POST, DELETE, HEAD, OPTIONS";

// === impl Server ===

impl Server {
    /// A server that hands sessions of this transport to its clients, at this address.
    ///
    /// The transport keeps the sessions: between two requests this server holds none, and finds
    /// each again by its id.
    pub fn new(
        transport: Arc<dyn Transport>,
        at: impl Into<Arc<str>>,
        options: ServerOptions,
    ) -> Self {
        let at = at.into();
        let learnt = Arc::new(Learnt::new(Arc::clone(&at), options.mirrors.clone()));
        Self { transport, at, options, learnt, tasks: TaskTracker::new() }
    }

    /// Answers one request.
    ///
    /// Dropping the future, or the body of the response, drops what the session was asked; what
    /// that means for the request is the session's to decide.
    pub async fn handle<B>(&self, request: Request<B>, caller: Caller) -> Response<Outgoing>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let mut note = Note::default();
        let answer = match *request.method() {
            Method::POST => self.post(request, caller, &mut note).await,
            // In boxes: rare beside POST, whose future they would make larger.
            Method::GET => Box::pin(self.listen(request.headers(), &caller, &mut note, true)).await,
            Method::HEAD => {
                Box::pin(self.listen(request.headers(), &caller, &mut note, false)).await
            }
            Method::DELETE => Box::pin(self.close(request.headers(), &caller, &mut note)).await,
            Method::OPTIONS => Ok(respond::options(METHODS)),
            _ => {
                let words = "an MCP endpoint takes POST for messages, GET for an event stream and \
                             DELETE for the end of a session";
                Err(Refusal::not_allowed(METHODS, words))
            }
        };
        match answer {
            Ok(response) => respond::noted(response, note),
            Err(refusal) => refusal.into_response(note),
        }
    }

    /// Waits until sessions that are being closed are.
    pub async fn shut_down(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    async fn post<B>(
        &self,
        request: Request<B>,
        caller: Caller,
        note: &mut Note,
    ) -> Result<Response<Outgoing>, Refusal>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let (parts, body) = request.into_parts();
        let accept = self.check_content(&parts.headers)?;
        let raw = body::read(body, self.options.body_len_max, self.options.body_patience)
            .await
            .map_err(|error| Refusal::of_body(&error))?;
        let head = Head {
            fields: Fields::read(&parts.headers, self.options.carried.as_ref()),
            accept,
            caller,
        };
        match Frame::parse_within(raw.clone(), &self.options.limits) {
            Ok(Frame::One(message)) => {
                note.rpc_method = message.method().map(Into::into);
                let id = message.id().filter(|_| message.kind() == Kind::Request).cloned();
                let answer = self.exchange(head, message, note).await;
                answer.map_err(|refusal| refusal.about(id.as_ref()))
            }
            Ok(Frame::Batch(messages)) => Box::pin(self.batch(head, messages, note)).await,
            Err(error) => Err(Refusal::of_message(&raw, &error)),
        }
    }

    async fn exchange(
        &self,
        head: Head,
        message: Message,
        note: &mut Note,
    ) -> Result<Response<Outgoing>, Refusal> {
        let form = era::judge(&head.fields, &message, self.options.modern);
        let version = match form.map_err(|refusal| self.learnt.narrow(refusal))? {
            Form::Legacy(version) => version,
            Form::Modern => return self.modern(head, message, note).await,
        };
        let Head { fields, accept, caller } = head;
        let opens = fields.session == header::Session::Unnamed
            && message.kind() == Kind::Request
            && message.method() == Some("initialize");
        let Fields { session, carried, .. } = fields;
        if opens {
            let exchange = Exchange { message, caller, version, carried };
            return Box::pin(self.initialize(exchange, accept, note)).await;
        }
        let session = self.session_for(&session, &caller, version, note).await?;
        note.carried = true;
        let exchange = Exchange { message, caller, version, carried };
        let Some(asking) = Asking::new(&session, &exchange, accept, &self.options) else {
            return match session.send(exchange).await {
                Ok(_) => Ok(respond::empty(StatusCode::ACCEPTED)),
                Err(error) => Err(Refusal::of(&error, Stage::Telling)),
            };
        };
        self.ask(asking, exchange, note).await
    }

    /// Opens a session by its first request.  Whatever goes wrong, a session that did not begin
    /// is closed again.
    async fn initialize(
        &self,
        exchange: Exchange,
        accept: Accept,
        note: &mut Note,
    ) -> Result<Response<Outgoing>, Refusal> {
        let refused = |error: TransportError| Refusal::of(&error, Stage::Opening);
        let opening = Opening {
            caller: exchange.caller.clone(),
            version: exchange.version,
            at: Arc::clone(&self.at),
        };
        let session = self.transport.open(opening).await.map_err(refused)?;
        note.carried = true;
        let mut opened = Opened { session: Some(Arc::clone(&session)), tasks: &self.tasks };
        let asking = Asking::new(&session, &exchange, accept, &self.options);
        let reply = session.send(exchange).await.map_err(refused)?;
        let began = !matches!(&reply, Reply::Single(answer) if answer.kind() == Kind::Error);
        // Read now and not before: the id may be the server's to choose.
        let id = session.endpoint().session.filter(|_| began);
        let mut response = match asking {
            Some(asking) => asking.respond(reply, note).await?,
            None => respond::empty(StatusCode::ACCEPTED),
        };
        if began {
            opened.session = None;
        }
        if let Some(value) = id.as_ref().and_then(|id| HeaderValue::from_str(id.as_str()).ok()) {
            response.headers_mut().insert(header::SESSION_ID, value);
        }
        note.session = id;
        Ok(response)
    }

    /// Asks, and turns into a stream what is not answered for a while: proxies and clients give
    /// up on responses that do not begin, and a stream can be gone on with.
    async fn ask(
        &self,
        asking: Asking,
        exchange: Exchange,
        note: &mut Note,
    ) -> Result<Response<Outgoing>, Refusal> {
        let session = Arc::clone(&asking.session);
        let mut sending = Box::pin(async move { session.send(exchange).await });
        let reply = if asking.accept.events && !asking.is_initialize {
            let patience = match asking.manner.primes && !self.options.stateless {
                true => self.options.prime_after.min(self.options.keep_alive),
                false => self.options.keep_alive,
            };
            // Its connection is woken by more than what it waits for.
            match WhenWoken::new(tokio::time::timeout(patience, &mut sending)).await {
                Ok(reply) => reply,
                Err(_) => return Ok(asking.stream_later(sending)),
            }
        } else {
            sending.await
        };
        match reply {
            Ok(reply) => asking.respond(reply, note).await,
            Err(error) => Err(Refusal::of(&error, Stage::Asking)),
        }
    }

    async fn listen(
        &self,
        headers: &HeaderMap,
        caller: &Caller,
        note: &mut Note,
        is_get: bool,
    ) -> Result<Response<Outgoing>, Refusal> {
        let strict = self.options.strict_accept && !headers.contains_key(hyper::header::ACCEPT);
        if strict || !Accept::read(headers).events {
            let words = "GET opens an event stream here; accept `text/event-stream`";
            return Err(refuse(StatusCode::NOT_ACCEPTABLE, words));
        }
        let fields = Fields::read(headers, None);
        let version = era::legacy(&fields)?;
        let session = self.find(&fields.session, caller, note)?;
        if !is_get {
            return Ok(respond::events_head());
        }
        let resumes = fields.after.is_some();
        let events = session.listen(fields.after).await.map_err(|error| match error.kind() {
            ErrorKind::Unsupported => {
                let words = "this server says nothing unasked, so there is no stream to listen to";
                Refusal::not_allowed("POST, DELETE, OPTIONS", words)
            }
            _ => Refusal::of(&error, Stage::Telling),
        })?;
        let events = if resumes { events } else { session.keep(&[], events) };
        // The stream holds its session.
        let events = events.inspect(move |_| {
            let _: &Arc<dyn Session> = &session;
        });
        let keep_alive = self.options.keep_alive;
        let manner = Manner { primes: streams::primes(version), keep_alive };
        Ok(streams::respond_with(events.boxed(), manner))
    }

    async fn close(
        &self,
        headers: &HeaderMap,
        caller: &Caller,
        note: &mut Note,
    ) -> Result<Response<Outgoing>, Refusal> {
        let fields = Fields::read(headers, None);
        era::legacy(&fields)?;
        let session = self.find(&fields.session, caller, note)?;
        let closing = self.tasks.spawn(async move { session.close().await });
        if tokio::time::timeout(self.options.close_timeout, closing).await.is_err() {
            debug!("session takes long to close");
        }
        Ok(respond::empty(StatusCode::NO_CONTENT))
    }

    /// The session a message is for: the one it names, or one of its own.
    async fn session_for(
        &self,
        named: &header::Session,
        caller: &Caller,
        version: Option<ProtocolVersion>,
        note: &mut Note,
    ) -> Result<Arc<dyn Session>, Refusal> {
        if !self.options.stateless || *named != header::Session::Unnamed {
            return self.find(named, caller, note);
        }
        let opening = Opening { caller: caller.clone(), version, at: Arc::clone(&self.at) };
        let opened = self.transport.open(opening).await;
        opened.map_err(|error| Refusal::of(&error, Stage::Opening))
    }

    fn find(
        &self,
        named: &header::Session,
        caller: &Caller,
        note: &mut Note,
    ) -> Result<Arc<dyn Session>, Refusal> {
        let id = match named {
            header::Session::Named(id) => id,
            header::Session::Unnamed if self.options.stateless => {
                let words = "this server keeps no sessions: nothing to listen to, nothing to end";
                return Err(Refusal::not_allowed(STATELESS_METHODS, words));
            }
            header::Session::Unnamed => {
                let words = "no session named; begin with `initialize`, and send the \
                             `Mcp-Session-Id` of its answer with every request after it";
                return Err(refuse(StatusCode::BAD_REQUEST, words));
            }
            header::Session::Malformed => return Err(no_session()),
        };
        let session = self.transport.find(id, caller).map_err(|error| match error.kind() {
            ErrorKind::NoSession => no_session(),
            _ => Refusal::of(&error, Stage::Opening),
        })?;
        note.session = Some(id.clone());
        Ok(session)
    }

    fn check_content(&self, headers: &HeaderMap) -> Result<Accept, Refusal> {
        let accept = Accept::read(headers);
        let strict = self.options.strict_accept && !Accept::is_complete(headers);
        if strict || !(accept.json || accept.events) {
            let words = "accept both `application/json` and `text/event-stream`";
            return Err(refuse(StatusCode::NOT_ACCEPTABLE, words));
        }
        if header::is_json(headers) == Some(false) {
            let words = "messages are posted as `Content-Type: application/json`";
            return Err(refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, words));
        }
        Ok(accept)
    }
}

/// What came with a body.
struct Head {
    fields: Fields,
    accept: Accept,
    caller: Caller,
}

/// A session that has to be closed again unless it begins.
struct Opened<'a> {
    session: Option<Arc<dyn Session>>,
    tasks: &'a TaskTracker,
}

impl Drop for Opened<'_> {
    fn drop(&mut self) {
        let Some(session) = self.session.take() else { return };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            self.tasks.spawn_on(async move { session.close().await }, &runtime);
        }
    }
}

fn refuse(status: StatusCode, words: &str) -> Refusal {
    Refusal::new(status, RpcError::INVALID_REQUEST, words)
}

fn no_session() -> Refusal {
    let words = "no such session: it is over, or was never opened; begin again with `initialize`, \
                 without `Mcp-Session-Id`";
    refuse(StatusCode::NOT_FOUND, words)
}
