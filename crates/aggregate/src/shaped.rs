//! One server, of which not everything is shown: neither listed nor to be had.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use catalogue::{
    List, Shape,
    alone::{Alone, Known},
};
use futures::{FutureExt, StreamExt, future::BoxFuture};
use mcp_jsonrpc::{
    Id, Kind, Message, ParseError, ProtocolVersion,
    transport::{
        Caller, Endpoint, ErrorKind, Event, EventId, EventStream, Exchange, Opening, Reply,
        Session, SessionId, Transport, TransportError,
    },
};
use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;

use crate::{answers, member::Rights};

/// Of how many callers it is known what the server says of its tools.
const CALLERS_MAX: usize = 1000;
/// For how long that is taken to be so.
const KNOWN_TTL: Duration = Duration::from_secs(60);
/// How often it is looked for what is not known.
const LEARN_INTERVAL: Duration = Duration::from_secs(1);
/// How many pages of a list are asked for to know it.
const PAGES_MAX: usize = 200;

/// A transport that shows not everything of another, or shows it otherwise.
#[derive(Clone)]
pub struct Shaped {
    inner: Arc<dyn Transport>,
    shaping: Arc<Shaping>,
}

struct Shaping {
    shapes: Vec<Arc<Shape>>,
    /// These for whoever is shown no less.
    alone: Arc<Alone>,
    rights: Rights,
    /// What the server says of its tools, by who asks.
    known: Mutex<HashMap<Caller, (Instant, Arc<Known>)>>,
}

struct ShapedSession {
    inner: Arc<dyn Session>,
    shaping: Arc<Shaping>,
}

// === impl Shaped ===

impl Shaped {
    /// Shows of `inner` what these shapes let through, and those that `rights` has for each caller.
    pub fn new(inner: Arc<dyn Transport>, shapes: Vec<Arc<Shape>>, rights: Rights) -> Self {
        let (alone, known) = (Arc::new(Alone::new(shapes.clone())), Mutex::default());
        Self { inner, shaping: Arc::new(Shaping { shapes, alone, rights, known }) }
    }

    fn wrap(&self, inner: Arc<dyn Session>) -> Arc<dyn Session> {
        Arc::new(ShapedSession { inner, shaping: Arc::clone(&self.shaping) })
    }
}

impl Transport for Shaped {
    fn open(&self, opening: Opening) -> BoxFuture<'_, Result<Arc<dyn Session>, TransportError>> {
        async move { self.inner.open(opening).await.map(|inner| self.wrap(inner)) }.boxed()
    }

    fn find(&self, id: &SessionId, caller: &Caller) -> Result<Arc<dyn Session>, TransportError> {
        self.inner.find(id, caller).map(|inner| self.wrap(inner))
    }
}

impl fmt::Debug for Shaped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Shaped").field(&self.inner).finish()
    }
}

impl fmt::Debug for ShapedSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ShapedSession").field(&self.inner).finish()
    }
}

impl Session for ShapedSession {
    fn endpoint(&self) -> Endpoint {
        self.inner.endpoint()
    }

    fn send(&self, exchange: Exchange) -> BoxFuture<'_, Result<Reply, TransportError>> {
        if exchange.message.kind() != Kind::Request {
            return self.inner.send(exchange);
        }
        let method = exchange.message.method().unwrap_or_default();
        match List::asked_by(method) {
            Some(list) => self.list(list, exchange).boxed(),
            None => match method {
                "tools/call" | "prompts/get" | "completion/complete" => self.ask(exchange).boxed(),
                method if method.starts_with("resources/") => self.ask(exchange).boxed(),
                _ => self.inner.send(exchange),
            },
        }
    }

    fn listen(&self, after: Option<EventId>) -> BoxFuture<'_, Result<EventStream, TransportError>> {
        self.inner.listen(after)
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

// === impl ShapedSession ===

impl ShapedSession {
    /// Asks for what is there; what is hidden is as unknown as what never was (2024-11-05, tools:
    /// error handling).
    async fn ask(&self, mut exchange: Exchange) -> Result<Reply, TransportError> {
        let Some(id) = exchange.message.id().cloned() else {
            return self.inner.send(exchange).await;
        };
        let alone = self.shaping.alone(&exchange.caller);
        let is_call = exchange.message.method() == Some("tools/call");
        let needs = alone.is_by_hints() && is_call;
        let known = self.shaping.known(&exchange.caller).filter(|_| needs);
        let is_new = known.as_ref().is_some_and(|(age, _)| *age < LEARN_INTERVAL);
        let known = known.map(|(_, known)| known).unwrap_or_default();
        let mut directed = alone.direct(&exchange.message, &known);
        if needs && !is_new && directed.is_err() {
            // Nothing is known of it, or it has come since.
            let known = Box::pin(self.learn(&alone, &exchange)).await?;
            directed = alone.direct(&exchange.message, &known);
        }
        match directed {
            Ok(message) => {
                exchange.message = message;
                self.inner.send(exchange).await
            }
            Err(lost) => answers::refusal(&id, &lost.to_error()),
        }
    }

    async fn list(&self, list: List, exchange: Exchange) -> Result<Reply, TransportError> {
        let alone = self.shaping.alone(&exchange.caller);
        let shown = move |message: &Message| {
            alone.listed(list, message, &mut Known::default()).map_err(malformed)
        };
        match self.inner.send(exchange).await? {
            Reply::Single(message) => shown(&message).map(Reply::Single),
            Reply::Stream(events) => {
                let events = events.map(move |event| match event? {
                    Event::Message { id, message } if message.is_answer() => {
                        Ok(Event::Message { id, message: shown(&message)? })
                    }
                    event => Ok(event),
                });
                Ok(Reply::Stream(events.boxed()))
            }
            Reply::Accepted => Ok(Reply::Accepted),
        }
    }

    /// Finds out what the server says of its tools, in the name of whoever calls one.
    async fn learn(&self, alone: &Alone, call: &Exchange) -> Result<Arc<Known>, TransportError> {
        #[derive(Deserialize)]
        struct Meta {
            #[serde(default, rename = "_meta")]
            meta: Option<serde_json::Map<String, serde_json::Value>>,
        }
        #[derive(Deserialize)]
        struct Next {
            #[serde(default, rename = "nextCursor")]
            next: Option<String>,
        }
        // What a request of 2026-07-28 has to say of itself; nothing that belongs to the call.
        let meta = call.message.read::<Meta>().ok().and_then(|it| it.meta).map(|mut meta| {
            meta.remove("progressToken");
            meta
        });
        let (mut known, mut cursor) = (Known::default(), None::<String>);
        for page in 0..PAGES_MAX {
            let mut params = serde_json::Map::new();
            params.extend(meta.clone().map(|meta| ("_meta".to_owned(), json!(meta))));
            params.extend(cursor.map(|it| ("cursor".to_owned(), json!(it))));
            let id = Id::Text(format!("mcp-gateway:shape:{page}").into());
            let message = Message::request(&id, List::Tools.method(), &params);
            let mut exchange = Exchange::new(message.map_err(malformed)?, call.caller.clone());
            exchange.version = call.version;
            let answer = self.inner.send(exchange).await?.answer(drop).await?;
            if answer.kind() == Kind::Error {
                break;
            }
            alone.listed(List::Tools, &answer, &mut known).map_err(malformed)?;
            cursor = answer.read::<Next>().map_err(malformed)?.next;
            if cursor.is_none() {
                break;
            }
        }
        let known = Arc::new(known);
        self.shaping.note(&call.caller, &known);
        Ok(known)
    }
}

// === impl Shaping ===

impl Shaping {
    fn alone(&self, caller: &Caller) -> Arc<Alone> {
        match self.rights.of(caller).unwrap_or_default() {
            more if more.is_empty() => Arc::clone(&self.alone),
            more => Arc::new(Alone::new(self.shapes.iter().cloned().chain(more).collect())),
        }
    }

    fn known(&self, caller: &Caller) -> Option<(Duration, Arc<Known>)> {
        let all = self.all();
        let (since, known) = all.get(caller)?;
        let age = since.elapsed();
        (age < KNOWN_TTL).then(|| (age, Arc::clone(known)))
    }

    fn note(&self, caller: &Caller, known: &Arc<Known>) {
        let mut all = self.all();
        if CALLERS_MAX <= all.len() {
            all.retain(|_, (since, _)| since.elapsed() < KNOWN_TTL);
        }
        if CALLERS_MAX <= all.len() {
            all.clear();
        }
        all.insert(caller.clone(), (Instant::now(), Arc::clone(known)));
    }

    fn all(&self) -> MutexGuard<'_, HashMap<Caller, (Instant, Arc<Known>)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn malformed(error: ParseError) -> TransportError {
    TransportError::new(ErrorKind::Protocol, "one of its lists is malformed").because(error)
}
