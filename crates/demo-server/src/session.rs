//! One session: which message means what, and what is answered.

use std::{
    borrow::Cow,
    fmt,
    sync::{Arc, Weak},
};

use futures::{FutureExt, future::BoxFuture};
use mcp_jsonrpc::{
    Id, Kind, Message, ProtocolVersion, RpcError,
    params::{AnyParams, Cancelled, Initialize},
    transport::{
        Caller, Endpoint, ErrorKind, EventId, EventStream, Exchange, Reply, Session, TransportError,
    },
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    Place, Sessions,
    call::{Call, Running},
    completion,
    content::icons,
    prompts, resources,
    revision::{CAPABILITIES, INFO, LISTED, fit},
    state::{Inner, LEVELS},
    tools,
};

/// One session, by handle: it is over when this is dropped.
pub(crate) struct DemoSession {
    inner: Arc<Inner>,
    endpoint: Endpoint,
    caller: Caller,
    sessions: Weak<Sessions>,
}

// === impl DemoSession ===

impl DemoSession {
    pub(crate) fn new(
        place: Place,
        endpoint: Endpoint,
        caller: Caller,
        sessions: Weak<Sessions>,
    ) -> Self {
        Self { inner: Arc::new(Inner::new(place, Arc::default())), endpoint, caller, sessions }
    }

    pub(crate) fn is_of(&self, caller: &Caller) -> bool {
        self.caller.subject == caller.subject
    }

    /// Fails what still runs and ends what still listens.
    fn end(&self) {
        let mut state = self.inner.state();
        state.over = true;
        let running = std::mem::take(&mut state.running);
        let listener = Arc::clone(&state.listener);
        drop(state);
        for inbox in running.into_values() {
            inbox.finish(Err(over()));
        }
        listener.finish(Ok(None));
    }

    async fn request(&self, message: Message) -> Result<Reply, TransportError> {
        let Some(id) = message.id().cloned() else { return Ok(Reply::Accepted) };
        let version = {
            let state = self.inner.state();
            if state.over {
                return Err(over());
            }
            state.version
        };
        if let (Some("tools/call"), Some(version)) = (message.method(), version) {
            return self.call(id, version, message)?.reply().await;
        }
        let answer = match answer(&self.inner, &message) {
            Ok(result) => Message::response(&id, &result),
            Err(error) => Message::error(Some(&id), &error),
        };
        answer.map(Reply::Single).map_err(|error| {
            TransportError::new(ErrorKind::TooLarge, "the answer cannot be written").because(error)
        })
    }

    fn call(
        &self,
        id: Id,
        version: ProtocolVersion,
        message: Message,
    ) -> Result<Running, TransportError> {
        let params: AnyParams<'_> = message.read().unwrap_or_default();
        let token = params.meta.progress.map(ToOwned::to_owned);
        let call = Arc::new(Call::new(Arc::clone(&self.inner), version, token));
        let work = {
            let call = Arc::clone(&call);
            async move { tools::call(&call, &message).await }.boxed()
        };
        Running::start(id, &call, work)
    }

    fn notified(&self, message: &Message) {
        // The others (`initialized`, `roots/list_changed`) change nothing here.
        if message.method() != Some("notifications/cancelled") {
            return;
        }
        let Ok(cancelled) = message.read::<Cancelled>() else { return };
        let running = self.inner.state().running.remove(&cancelled.request_id);
        if let Some(inbox) = running {
            let what = "cancelled by its caller";
            inbox.finish(Err(TransportError::new(ErrorKind::Cancelled, what)));
        }
    }

    fn answered(&self, message: Message) {
        let Some(Id::Number(id)) = message.id() else { return };
        let question = self.inner.state().questions.remove(id);
        if let Some(question) = question {
            // Who asked may be gone: then nobody minds.
            drop(question.send(message));
        }
    }
}

impl Session for DemoSession {
    fn endpoint(&self) -> Endpoint {
        self.endpoint.clone()
    }

    fn send(&self, exchange: Exchange) -> BoxFuture<'_, Result<Reply, TransportError>> {
        let message = exchange.message;
        match message.kind() {
            Kind::Request => return self.request(message).boxed(),
            Kind::Notification => self.notified(&message),
            Kind::Response | Kind::Error => self.answered(message),
        }
        async { Ok(Reply::Accepted) }.boxed()
    }

    /// There is no log to resume from: what comes is what is said from now on.
    fn listen(&self, _: Option<EventId>) -> BoxFuture<'_, Result<EventStream, TransportError>> {
        async { Ok(self.inner.listen()) }.boxed()
    }

    fn is_open(&self) -> bool {
        !self.inner.state().over
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        async {
            self.end();
            if let (Some(id), Some(sessions)) = (&self.endpoint.session, self.sessions.upgrade()) {
                sessions.lock().remove(id);
            }
        }
        .boxed()
    }
}

impl fmt::Debug for DemoSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DemoSession").field("id", &self.endpoint.session).finish_non_exhaustive()
    }
}

impl Drop for DemoSession {
    fn drop(&mut self) {
        self.end();
    }
}

pub(crate) fn over() -> TransportError {
    TransportError::new(ErrorKind::Closed, "the session is over")
}

/// Answers whatever is answered at once, and in one message.
fn answer(session: &Inner, message: &Message) -> Result<Value, RpcError> {
    let method = message.method().unwrap_or_default();
    let version = session.state().version;
    match (method, version) {
        ("ping", _) => return Ok(json!({})),
        ("initialize", None) => return initialize(session, message),
        ("initialize", Some(_)) => {
            return Err(RpcError::new(RpcError::INVALID_REQUEST, "already initialized"));
        }
        _ => (),
    }
    let known = METHODS.iter().find(|(name, _)| *name == method);
    let Some((_, answer)) = known else {
        // A client that begins with `server/discover` learns that a session is no place for it.
        return Err(RpcError::new(RpcError::METHOD_NOT_FOUND, format!("no method `{method}`")));
    };
    match version {
        Some(version) => answer(session, version, message),
        None => Err(RpcError::new(RpcError::INVALID_REQUEST, "`initialize` comes first")),
    }
}

pub(crate) type Method = fn(&Inner, ProtocolVersion, &Message) -> Result<Value, RpcError>;

/// What is answered once the revision is agreed on.
const METHODS: &[(&str, Method)] = &[
    ("completion/complete", completion::complete),
    ("logging/setLevel", set_level),
    ("prompts/get", prompts::get),
    ("prompts/list", prompts::list),
    ("resources/list", resources::list),
    ("resources/read", resources::read),
    ("resources/subscribe", resources::subscribe),
    ("resources/templates/list", resources::templates),
    ("resources/unsubscribe", resources::unsubscribe),
    ("tools/call", |_, _, _| Err(RpcError::new(RpcError::INTERNAL, "calls run by themselves"))),
    ("tools/list", tools::list),
];

fn initialize(session: &Inner, message: &Message) -> Result<Value, RpcError> {
    let asked: Initialize<'_> = read(message)?;
    let version = ProtocolVersion::negotiate(&asked.version());
    session.state().agree(version, &asked.capabilities);
    Ok(json!({
        "protocolVersion": version.as_str(),
        "capabilities": fit(capabilities(), CAPABILITIES, version),
        "serverInfo": fit(fit(info(), LISTED, version), INFO, version),
        "instructions": "Call `echo` to see that it works. Nothing here has effects outside of \
            this session, but for the counter behind `count`.",
    }))
}

/// What this server can do.
pub(crate) fn capabilities() -> Value {
    json!({
        "completions": {},
        "logging": {},
        "prompts": { "listChanged": true },
        "resources": { "listChanged": true, "subscribe": true },
        "tools": { "listChanged": true },
    })
}

/// What this server calls itself.
pub(crate) fn info() -> Value {
    json!({
        "name": "demo-server",
        "title": "Demo server",
        "version": env!("CARGO_PKG_VERSION"),
        "description": "Something of everything that MCP knows",
        "websiteUrl": "https://modelcontextprotocol.io",
        "icons": icons(),
    })
}

fn set_level(session: &Inner, _: ProtocolVersion, message: &Message) -> Result<Value, RpcError> {
    #[derive(Deserialize)]
    struct SetLevel<'a> {
        #[serde(borrow)]
        level: Cow<'a, str>,
    }
    let level = read::<SetLevel<'_>>(message)?.level;
    let rank = LEVELS.iter().position(|name| *name == level).ok_or_else(|| {
        RpcError::new(RpcError::INVALID_PARAMS, format!("`{level}` is no level of logging"))
    })?;
    session.state().level = rank;
    Ok(json!({}))
}

/// Reads parameters; those of a message without any as if they were empty.
pub(crate) fn read<'de, T: Deserialize<'de>>(message: &'de Message) -> Result<T, RpcError> {
    let body = message.body().filter(|body| *body != "null").unwrap_or("{}");
    serde_json::from_str(body).map_err(|error| {
        RpcError::new(RpcError::INVALID_PARAMS, format!("wrong parameters: {error}"))
    })
}
