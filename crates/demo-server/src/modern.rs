//! Clients of 2026-07-28: each request says all about itself, and none is kept for the next.
//!
//! A request is answered as in a session that begins and ends with it.  What outlives it is the
//! server's own: what was toggled and touched, who listens, and which questions were asked.

mod asked;
mod listens;

use std::{fmt, sync::Arc};

use futures::{FutureExt, StreamExt, future::BoxFuture};
use mcp_jsonrpc::{
    Id, Kind, Message, ProtocolVersion, RpcError,
    modern::{self, RequestMeta},
    params::ClientCapabilities,
    transport::{
        Endpoint, ErrorKind, Event, EventId, EventStream, Exchange, Reply, Session, TransportError,
    },
};
use serde_json::{Value, json, value::RawValue};

pub(crate) use self::asked::Answers;
use self::{asked::Asked, listens::Listens};
use crate::{
    Place, Shared,
    call::{Call, Running},
    completion, prompts, resources,
    revision::{INFO, LISTED, fit},
    session::{Method, capabilities, info},
    state::{Inner, LEVELS},
    tools,
};

const VERSION: ProtocolVersion = ProtocolVersion::V2026_07_28;

/// For how many milliseconds a listing holds: it changes whenever somebody calls `toggle`.
const TTL_MS: u64 = 0;

/// A way to ask, for whoever speaks without a session.
pub(crate) struct Stateless {
    pub(crate) shared: Arc<Shared>,
    pub(crate) endpoint: Endpoint,
}

/// What a request says about itself, once it is known to be complete.
struct Said {
    token: Option<Box<RawValue>>,
    inner: Arc<Inner>,
}

// === impl Stateless ===

impl Stateless {
    async fn request(&self, message: Message) -> Result<Reply, TransportError> {
        let Some(id) = message.id().cloned() else { return Ok(Reply::Accepted) };
        let method = message.method().unwrap_or_default().to_owned();
        let said = match self.read(&message)? {
            Ok(said) => said,
            Err(error) => return written(Message::error(Some(&id), &error)),
        };
        if method == modern::LISTEN {
            return Ok(
                match self.shared.modern.listens.open(&self.shared.options, &id, &message) {
                    Ok(events) => Reply::Stream(events),
                    Err(error) => return written(Message::error(Some(&id), &error)),
                },
            );
        }
        if method == "tools/call" {
            return Ok(completed(self.call(id, said, message)?.reply().await?));
        }
        let answer = match answer(&said.inner, &method, &message) {
            Ok(result) => Message::response(&id, &complete(&method, result)),
            Err(error) => Message::error(Some(&id), &current(error)),
        };
        written(answer)
    }

    fn call(&self, id: Id, said: Said, message: Message) -> Result<Running, TransportError> {
        let call = Call::new(Arc::clone(&said.inner), VERSION, said.token);
        let call = Arc::new(call.with(self.shared.modern.asked.answers(&message)));
        let work = {
            let call = Arc::clone(&call);
            async move { tools::call(&call, &message).await.map_err(current) }.boxed()
        };
        Running::start(id, &call, work)
    }

    /// What a request says about itself; an error where that is not all it has to say.
    fn read(&self, message: &Message) -> Result<Result<Said, RpcError>, TransportError> {
        let wrong = |what: &str| Ok(Err(RpcError::new(RpcError::INVALID_PARAMS, what.to_owned())));
        let params: modern::Params<'_> = match message.read() {
            Ok(params) => params,
            Err(_) => return wrong("`params._meta` is missing or malformed"),
        };
        let meta: RequestMeta<'_> = params.meta.unwrap_or_default();
        let text = |raw: Option<&RawValue>| {
            raw.and_then(|raw| serde_json::from_str::<String>(raw.get()).ok())
        };
        let Some(version) = text(meta.version) else {
            return wrong("`_meta` says no `io.modelcontextprotocol/protocolVersion`");
        };
        if version != VERSION.as_str() {
            let data = json!({ "supported": supported(), "requested": version });
            let error = RpcError::new(RpcError::UNSUPPORTED_VERSION, "revision not served");
            return Ok(Err(error.with_data(&data)));
        }
        let can = meta.capabilities.map(|raw| serde_json::from_str(raw.get()));
        let Some(Ok(can)) = can else {
            return wrong("`_meta` says no `io.modelcontextprotocol/clientCapabilities`");
        };
        let can: ClientCapabilities<'_> = can;
        let level = text(meta.log_level);
        let rank = level.as_ref().map(|level| LEVELS.iter().position(|name| name == level));
        if rank == Some(None) {
            return wrong("`io.modelcontextprotocol/logLevel` is no level");
        }
        let place = Place::take(&self.shared).ok_or_else(|| {
            let what = "the demo server answers as many requests as it may";
            TransportError::new(ErrorKind::Exhausted, what)
        })?;
        let inner = Inner::new(place, Arc::clone(&self.shared.modern.world));
        let mut state = inner.state();
        state.agree(VERSION, &can);
        // Who asks for no log gets none.
        state.level = rank.flatten().unwrap_or(LEVELS.len());
        drop(state);
        Ok(Ok(Said { token: meta.progress.map(ToOwned::to_owned), inner: Arc::new(inner) }))
    }
}

impl Session for Stateless {
    fn endpoint(&self) -> Endpoint {
        self.endpoint.clone()
    }

    fn send(&self, exchange: Exchange) -> BoxFuture<'_, Result<Reply, TransportError>> {
        match exchange.message.kind() {
            Kind::Request => self.request(exchange.message).boxed(),
            // There is none that a client has to send: cancelling is dropping.
            _ => async { Ok(Reply::Accepted) }.boxed(),
        }
    }

    fn listen(&self, _: Option<EventId>) -> BoxFuture<'_, Result<EventStream, TransportError>> {
        let what = "nothing is said unasked: send `subscriptions/listen`";
        async move { Err(TransportError::new(ErrorKind::Unsupported, what)) }.boxed()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        async {}.boxed()
    }
}

impl fmt::Debug for Stateless {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stateless").finish_non_exhaustive()
    }
}

/// Answers whatever is answered at once, and in one message.
fn answer(inner: &Inner, method: &str, message: &Message) -> Result<Value, RpcError> {
    if method == modern::DISCOVER {
        return Ok(discovered());
    }
    let known = METHODS.iter().find(|(name, _)| *name == method);
    let Some((_, answer)) = known else {
        return Err(RpcError::new(RpcError::METHOD_NOT_FOUND, format!("no method `{method}`")));
    };
    answer(inner, VERSION, message)
}

const METHODS: &[(&str, Method)] = &[
    ("completion/complete", completion::complete),
    ("prompts/get", prompts::get),
    ("prompts/list", prompts::list),
    ("resources/list", resources::list),
    ("resources/read", resources::read),
    ("resources/templates/list", resources::templates),
    ("tools/list", tools::list),
];

fn discovered() -> Value {
    json!({
        "supportedVersions": supported(),
        "capabilities": capabilities(),
        "instructions": "Call `echo` to see that it works. Nothing here has effects outside of \
            this server.",
    })
}

/// All that is served here, the newest first.
fn supported() -> Vec<&'static str> {
    ProtocolVersion::ALL.iter().rev().map(|version| version.as_str()).collect()
}

/// A result as this revision has it.
fn complete(method: &str, mut result: Value) -> Value {
    let Some(members) = result.as_object_mut() else { return result };
    members.entry("resultType").or_insert_with(|| json!("complete"));
    let meta = json!({ modern::SERVER_INFO: fit(fit(info(), LISTED, VERSION), INFO, VERSION) });
    members.entry("_meta").or_insert(meta);
    let is_kept =
        method == modern::DISCOVER || method == "resources/read" || method.ends_with("/list");
    if is_kept {
        members.insert("ttlMs".to_owned(), json!(TTL_MS));
        // Everybody is shown the same.
        members.insert("cacheScope".to_owned(), json!("public"));
    }
    result
}

/// The answer of a call, completed.
fn completed(reply: Reply) -> Reply {
    let complete = |message: Message| {
        if message.kind() != Kind::Response {
            return message;
        }
        let result: Option<Value> = message.read().ok();
        let edited = result
            .zip(message.id())
            .and_then(|(result, id)| Message::response(id, &complete("tools/call", result)).ok());
        edited.unwrap_or(message)
    };
    match reply {
        Reply::Single(message) => Reply::Single(complete(message)),
        Reply::Stream(events) => {
            let events = events.map(move |event| match event? {
                Event::Message { id, message } => {
                    Ok(Event::Message { id, message: complete(message) })
                }
                pause => Ok(pause),
            });
            Reply::Stream(events.boxed())
        }
        Reply::Accepted => Reply::Accepted,
    }
}

/// An error by the code it has in this revision.
fn current(mut error: RpcError) -> RpcError {
    if error.code == RpcError::RESOURCE_NOT_FOUND {
        error.code = RpcError::INVALID_PARAMS;
    }
    error
}

fn written(answer: Result<Message, mcp_jsonrpc::ParseError>) -> Result<Reply, TransportError> {
    answer.map(Reply::Single).map_err(|error| {
        TransportError::new(ErrorKind::TooLarge, "the answer cannot be written").because(error)
    })
}

/// What is the server's own.
#[derive(Default)]
pub(crate) struct Hall {
    /// What was toggled and touched.
    pub(crate) world: Arc<crate::state::World>,
    pub(crate) listens: Listens,
    pub(crate) asked: Asked,
}
