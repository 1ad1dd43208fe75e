//! Servers that speak HTTP+SSE.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{
    FutureExt,
    future::{BoxFuture, Either},
};
use hyper::{
    Method, Response, Uri,
    header::{ACCEPT, CONTENT_TYPE, HeaderValue, USER_AGENT},
};
use mcp_jsonrpc::{
    Kind, Limits, Message, ParseError, RpcError,
    transport::{
        Caller, Endpoint, ErrorKind, EventId, EventStream, Exchange, Opening, Reply, Session,
        SessionId, Transport, TransportError,
        switchboard::{Switchboard, SwitchboardMax},
    },
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, info, warn};

use crate::{
    body,
    events::Events,
    http::{self, HttpClient, HttpTarget, Incoming},
    wire::{self, Item},
};

/// The longest answer to a POST that is looked at, in bytes; the real one comes on the stream.
const POST_ANSWER_LEN_MAX: usize = 64 << 20;

/// How much of a body is read that only says why not, in bytes.
const REFUSAL_LEN_MAX: usize = 64 << 10;

/// How long the rest of a POST is waited for when its answer has come on the stream.
const POST_REST_TIMEOUT: Duration = Duration::from_secs(10);

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// What asks for the stream, unless the target's own fields say otherwise.
const AGENT: &str = concat!("mcp-gateway/", env!("CARGO_PKG_VERSION"));

/// How a server is talked to.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// How long opening the stream, `endpoint` event included, may take: 30 s.
    pub endpoint_timeout: Duration,
    /// How long the server may take to accept a notification or a response: 30 s.  Requests are
    /// not limited here: some servers accept one only when they have worked it off.
    pub post_timeout: Duration,
    /// After how long without a byte the stream counts as dead.  None by default, because many
    /// servers send no comments; the kernel asks after the peer anyway.
    pub idle_timeout: Option<Duration>,
    /// What messages are taken.
    pub limits: Limits,
    /// How many requests may wait, and how much for each.
    pub waiting: SwitchboardMax,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            endpoint_timeout: Duration::from_secs(30),
            post_timeout: Duration::from_secs(30),
            idle_timeout: None,
            limits: Limits::default(),
            waiting: SwitchboardMax::default(),
        }
    }
}

/// A transport that opens an event stream for every session.
#[derive(Clone, Debug)]
pub struct Connect {
    target: Arc<HttpTarget>,
    http: HttpClient,
    options: ClientOptions,
}

/// An open stream, and the tasks that serve it.
#[derive(Debug)]
struct Stream {
    wire: Arc<Wire>,
    board: Switchboard,
    tasks: TaskTracker,
    /// Cancelled when the stream is over, from either side.
    over: CancellationToken,
}

/// What it takes to post.
#[derive(Debug)]
struct Wire {
    target: Arc<HttpTarget>,
    http: HttpClient,
    post_to: Uri,
    post_timeout: Duration,
    limits: Limits,
}

// === impl Connect ===

impl Connect {
    /// A transport to this server, by these connections.
    pub fn new(target: HttpTarget, http: HttpClient, options: ClientOptions) -> Self {
        Self { target: Arc::new(target), http, options }
    }

    async fn stream(&self) -> Result<(Events, Uri), TransportError> {
        let target = &*self.target;
        let mut request = target
            .request(Method::GET, target.url().clone())
            .header(ACCEPT, HeaderValue::from_static(wire::CONTENT_TYPE));
        if let Some(fields) = request.headers_mut() {
            // By this name our own server half knows that nobody will come back.
            fields.entry(USER_AGENT).or_insert(HeaderValue::from_static(AGENT));
        }
        let request = request.body(Bytes::new()).map_err(|error| http::broken(target, error))?;
        let response = http::check(target, self.http.send(target, request).await?)?;
        let ClientOptions { limits, idle_timeout, .. } = self.options;
        let mut events = Events::of(target, response, limits, idle_timeout)?;
        while let Some(item) = events.next(target).await? {
            match item {
                Item::Endpoint(said) => return Ok((events, http::resolve(target, &said)?)),
                other => debug!(server = &**target.name(), ?other, "came before the endpoint"),
            }
        }
        let what = "its event stream ended before it said where to post";
        Err(TransportError::new(ErrorKind::Protocol, what)
            .of(target.name())
            .hint("is this the URL of an HTTP+SSE server?"))
    }
}

impl Transport for Connect {
    fn open(&self, opening: Opening) -> BoxFuture<'_, Result<Arc<dyn Session>, TransportError>> {
        async move {
            opening.with_handshake()?;
            let limit = self.options.endpoint_timeout;
            let Ok(stream) = tokio::time::timeout(limit, self.stream()).await else {
                let what = "it did not open an event stream and say where to post in time";
                return Err(TransportError::new(ErrorKind::Timeout, what)
                    .of(self.target.name())
                    .hint("is this the URL of an HTTP+SSE server?"));
            };
            let (events, post_to) = stream?;
            Ok(Arc::new(Stream::new(self, post_to, events)) as Arc<dyn Session>)
        }
        .boxed()
    }

    fn find(&self, _: &SessionId, _: &Caller) -> Result<Arc<dyn Session>, TransportError> {
        let what = "an event stream cannot be taken up again";
        Err(TransportError::new(ErrorKind::NoSession, what).of(self.target.name()))
    }
}

// === impl Stream ===

impl Stream {
    fn new(connect: &Connect, post_to: Uri, events: Events) -> Self {
        let (board, mut cancellations) = Switchboard::new(connect.options.waiting);
        let wire = Arc::new(Wire {
            target: Arc::clone(&connect.target),
            http: connect.http.clone(),
            post_to,
            post_timeout: connect.options.post_timeout,
            limits: connect.options.limits,
        });
        let (tasks, over) = (TaskTracker::new(), CancellationToken::new());

        let target = Arc::clone(&connect.target);
        let max = connect.options.limits.message_len_max;
        tasks.spawn(read((target, max), events, board.clone(), over.clone()));
        let (posts, stop) = (Arc::clone(&wire), over.clone());
        tasks.spawn(async move {
            while let Some(Some(message)) = stop.run_until_cancelled(cancellations.recv()).await {
                if let Err(error) = posts.tell(*message).await {
                    debug!(%error, "server did not hear of a cancellation");
                }
            }
        });
        tasks.close();
        Self { wire, board, tasks, over }
    }

    async fn ask(&self, exchange: Exchange) -> Result<Reply, TransportError> {
        let name = self.wire.target.name();
        let (message, asked) = self.board.ask(&exchange.message).map_err(|it| it.of(name))?;
        let (wire, board) = (Arc::clone(&self.wire), self.board.clone());
        let posting = Box::pin(async move {
            // Some servers answer right here, against the protocol.
            if let Some(answer) = wire.post(&message, &exchange.carried).await? {
                board.dispatch(answer);
            }
            Ok(())
        });
        match futures::future::select(posting, Box::pin(asked.reply())).await {
            Either::Left((posted, reply)) => {
                posted?;
                reply.await
            }
            Either::Right((reply, posting)) => {
                // Mostly the acceptance is there too, and only to be read.
                let mut posting = posting;
                if (&mut posting).now_or_never().is_some() {
                    return reply;
                }
                let rest = tokio::time::timeout(POST_REST_TIMEOUT, posting);
                self.tasks.spawn(async move {
                    if let Ok(Err(error)) = rest.await {
                        debug!(%error, "post failed after its answer had come");
                    }
                });
                reply
            }
        }
    }
}

impl Session for Stream {
    fn endpoint(&self) -> Endpoint {
        let post_to = &self.wire.post_to;
        let session = post_to.query().and_then(http::session_id);
        Endpoint { uri: post_to.to_string().into(), session }
    }

    fn send(&self, exchange: Exchange) -> BoxFuture<'_, Result<Reply, TransportError>> {
        async move {
            if self.over.is_cancelled() {
                let what = "its event stream has ended, and the session with it";
                return Err(TransportError::new(ErrorKind::NoSession, what)
                    .of(self.wire.target.name())
                    .hint("open another"));
            }
            if exchange.message.kind() == Kind::Request {
                return self.ask(exchange).await;
            }
            if let Some(message) = self.board.tell(exchange.message) {
                self.wire.tell(message).await?;
            }
            Ok(Reply::Accepted)
        }
        .boxed()
    }

    fn listen(&self, _: Option<EventId>) -> BoxFuture<'_, Result<EventStream, TransportError>> {
        async { Ok(self.board.listen()) }.boxed()
    }

    /// Until its stream ends, from either side.
    fn is_open(&self) -> bool {
        !self.over.is_cancelled() && self.board.is_open()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.over.cancel();
        self.tasks.wait().boxed()
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.over.cancel();
    }
}

// === impl Wire ===

impl Wire {
    /// Posts what nobody answers.
    async fn tell(&self, message: Message) -> Result<(), TransportError> {
        match tokio::time::timeout(self.post_timeout, self.post(&message, &[])).await {
            Ok(posted) => posted.map(drop),
            Err(elapsed) => {
                let what = "it did not accept a message in time";
                let error = TransportError::new(ErrorKind::Timeout, what);
                Err(error.of(self.target.name()).because(elapsed))
            }
        }
    }

    /// Posts a message; returns the answer that comes with the acceptance, where there is one.
    async fn post(
        &self,
        message: &Message,
        carried: &[(Box<str>, Box<str>)],
    ) -> Result<Option<Message>, TransportError> {
        let target = &*self.target;
        let mut request = target.request(Method::POST, self.post_to.clone());
        request = request.header(CONTENT_TYPE, JSON);
        // `Mcp-*` fields are of later revisions.
        for (name, value) in carried.iter().filter(|(name, _)| !name.starts_with("mcp-")) {
            request = request.header(&**name, &**value);
        }
        let request = request
            .body(message.as_bytes().clone())
            .map_err(|error| http::broken(target, error))?;
        let response = self.http.send(target, request).await?;
        if response.status() == hyper::StatusCode::NOT_FOUND {
            return Err(self.no_session());
        }
        if response.status() == hyper::StatusCode::BAD_REQUEST {
            return Err(self.refused(response).await);
        }
        let response = http::check(target, response)?;
        let is_json = http::is_json(&response);
        let max = POST_ANSWER_LEN_MAX.min(self.limits.message_len_max);
        let raw = body::read(response.into_body(), max, self.post_timeout).await;
        let raw = match raw {
            Ok(raw) => raw,
            Err(error) => {
                // It was accepted; how that was said in full does not matter.
                debug!(server = &**target.name(), %error, "answer to a post not read");
                return Ok(None);
            }
        };
        let answer = if is_json { Message::parse_within(raw, &self.limits).ok() } else { None };
        Ok(answer.filter(Message::is_answer))
    }

    /// What a `400` comes to: many servers say by it that they do not know the session.
    async fn refused(&self, response: Response<Incoming>) -> TransportError {
        let refused = http::refused(&self.target, &response);
        match body::read(response.into_body(), REFUSAL_LEN_MAX, self.post_timeout).await {
            Ok(raw) if http::mentions_session(&raw) => self.no_session(),
            Ok(_) => refused,
            Err(error) => refused.because(error),
        }
    }

    fn no_session(&self) -> TransportError {
        let what = "it does not know the session any more";
        let error = TransportError::new(ErrorKind::NoSession, what);
        error.of(self.target.name()).hint("open another")
    }
}

/// Passes on what comes down the stream until it is over, and fails who still waits then.
async fn read(
    (target, message_len_max): (Arc<HttpTarget>, usize),
    mut events: Events,
    board: Switchboard,
    over: CancellationToken,
) {
    let ended = loop {
        match over.run_until_cancelled(events.next(&target)).await {
            Some(Ok(Some(item))) => {
                if let Err(error) = pass_on(&target, item, &board) {
                    break Some(Some(error));
                }
            }
            Some(Ok(None)) => break Some(None),
            Some(Err(error)) => break Some(Some(error)),
            None => break None,
        }
    };
    over.cancel();
    let name = Arc::clone(target.name());
    match ended {
        None => board.hang_up(move || {
            TransportError::new(ErrorKind::Closed, "the session was closed").of(&name)
        }),
        Some(error) => {
            let why = error.as_ref().map_or_else(
                || "it ended its event stream".to_owned(),
                |error| error.said().to_string(),
            );
            info!(server = &*name, why, waiting = board.in_flight(), "event stream over");
            let kind = error.map_or(ErrorKind::Closed, |error| error.kind().clone());
            board.hang_up(move || {
                if kind == ErrorKind::TooLarge {
                    // Whose answer it was cannot be read any more.
                    return TransportError::too_large(message_len_max).of(&name);
                }
                let what = "its event stream ended before the answer came";
                let hint = "what the server did until then is not known";
                let error = TransportError::new(kind.clone(), what).of(&name);
                error.hint(hint).because(why.clone())
            });
        }
    }
}

/// Passes one item on; an error where it says what cannot be told to whoever waits for it alone.
fn pass_on(target: &HttpTarget, item: Item, board: &Switchboard) -> Result<(), TransportError> {
    let server = &**target.name();
    match item {
        Item::Event(mcp_jsonrpc::transport::Event::Message { message, .. }) => {
            board.dispatch(message);
        }
        Item::Event(pause) => debug!(server, ?pause, "nothing to resume on this wire"),
        Item::Endpoint(_) => warn!(server, "it tried to move its endpoint: ignored"),
        Item::Malformed { asks: true, error, .. } => {
            warn!(server, %error, "it asked or told what cannot be read: dropped");
        }
        Item::Malformed { id: None, error: ParseError::TooLarge { max, .. }, .. } => {
            // Whoever waits for it would wait in vain.
            return Err(TransportError::too_large(max).of(target.name()));
        }
        Item::Malformed { id, error, .. } => {
            warn!(server, %error, ?id, "it sent what is no message");
            let words = match &error {
                ParseError::TooLarge { max, .. } => {
                    TransportError::too_large(*max).of(target.name()).said().to_string()
                }
                error => format!("server `{server}` answered with what is no message: {error}"),
            };
            let told = RpcError::new(RpcError::INTERNAL, words);
            match id.map(|id| Message::error(Some(&id), &told)) {
                Some(Ok(answer)) => board.dispatch(answer),
                Some(Err(error)) => warn!(server, %error, "error not written"),
                None => (),
            }
        }
    }
    Ok(())
}
