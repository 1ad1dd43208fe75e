//! Sessions of 2026-07-28, which are none: each request is a POST of its own, and to close its
//! answer takes it back.
//!
//! # What a first request finds out
//!
//! Whoever asks `server/discover` to learn of which era a server is reads it off the reply; a
//! response that says nothing about the era never becomes an answer:
//!
//! | the server responds with | the reply |
//! |---|---|
//! | 2xx and a JSON-RPC response | that response: a result with `supportedVersions`, or something else |
//! | 400, 404, 405, 406, 409, 415 and other 4xx with a JSON-RPC error | that error, by its code of this era (-32020, -32021, -32022) or of none |
//! | the same without one | [`ErrorKind::Status`] with the status |
//! | 2xx and no JSON-RPC | [`ErrorKind::Protocol`] |
//! | 401 | [`ErrorKind::Unauthorized`]: nothing about the era |
//! | 403, 408, 421, 425, 429, 5xx, whatever the body | [`ErrorKind::Status`]: nothing about the era |
//! | nothing | [`ErrorKind::Unavailable`], [`ErrorKind::Closed`], [`ErrorKind::Timeout`]: nothing about the era |
//!
//! Other requests get the server's JSON-RPC error with whatever status but 401, 429 and 503.

use std::{collections::BTreeMap, sync::Arc};

use futures::{FutureExt, StreamExt, future, future::BoxFuture, stream};
use hyper::{
    Method, Response, Uri,
    header::{ACCEPT, CONTENT_TYPE, HeaderName, HeaderValue},
};
use mcp_jsonrpc::{
    Id, Kind, Message, ProtocolVersion, RpcError,
    modern::{self, DISCOVER},
    transport::{
        Endpoint, ErrorKind, Event, EventId, EventStream, Exchange, Reply, Session, TransportError,
    },
};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::runtime::Handle;
use tracing::{debug, info, warn};
use transport_sse::{
    body,
    events::Events,
    http::{self, Incoming},
    wire::{self, Item},
};

use super::{
    Server, answers,
    exchange::{BOTH, JSON, REFUSAL_LEN_MAX, restored, worded},
};
use crate::{
    header,
    mirror::{self, Mirrors, Subject, VALUE_LEN_MAX, View},
};

/// How many pages of a list of tools are walked to learn what a call has to mirror.
const REFRESH_PAGES_MAX: usize = 64;

const TOOLS: &str = "tools/list";

/// A session that whoever opens one may share: it holds nothing of what goes through it.
#[derive(Debug)]
pub(super) struct Shared(pub(super) Arc<Server>);

/// What is mirrored of a request.
type Fields = Vec<(HeaderName, HeaderValue)>;

/// The stream that answers a request.  Dropped, it is closed, and the request taken back.
#[derive(Debug)]
struct Answers {
    server: Arc<Server>,
    id: Id,
    /// Whether the answer says which tools there are.
    lists: bool,
    /// None once all has been said.
    events: Option<Events>,
}

impl Session for Shared {
    fn endpoint(&self) -> Endpoint {
        Endpoint { uri: Arc::clone(&self.0.uri), session: None }
    }

    fn send(&self, exchange: Exchange) -> BoxFuture<'_, Result<Reply, TransportError>> {
        self.0.stand_alone(exchange).boxed()
    }

    fn listen(&self, _: Option<EventId>) -> BoxFuture<'_, Result<EventStream, TransportError>> {
        let what = "nothing is said unasked in 2026-07-28; ask `subscriptions/listen`";
        let error = TransportError::new(ErrorKind::Unsupported, what).of(self.0.target.name());
        future::ready(Err(error)).boxed()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        future::ready(()).boxed()
    }
}

impl Server {
    async fn stand_alone(self: &Arc<Self>, exchange: Exchange) -> Result<Reply, TransportError> {
        let message = &exchange.message;
        let Some(id) = message.id().filter(|_| message.kind() == Kind::Request) else {
            return self.tell(&exchange).await;
        };
        let fields = self.mirrored(&exchange)?;
        let reply = self.ask(&exchange, id, &fields).await?;
        if message.method() != Some("tools/call") || !is_mismatch(&reply) {
            return Ok(reply);
        }
        // It has not been carried out, so it may be asked again: with what its tool, as it is now,
        // has to have mirrored (2026-07-28, transports, "Client Behavior").
        let server = &**self.target.name();
        let limit = self.options.tell_timeout;
        match tokio::time::timeout(limit, self.refresh(&exchange)).await {
            Ok(Ok(())) => (),
            Ok(Err(error)) => info!(server, %error, "its tools could not be listed"),
            Err(_) => info!(server, "its tools could not be listed in time"),
        }
        let anew = self.mirrored(&exchange)?;
        if anew == fields { Ok(reply) } else { self.ask(&exchange, id, &anew).await }
    }

    /// The fields that repeat what a body says, and those that came with it.
    fn mirrored(&self, exchange: &Exchange) -> Result<Fields, TransportError> {
        let message = &exchange.message;
        let method = message.method().unwrap_or_default();
        let invalid = |words: String| {
            let kind = ErrorKind::Invalid(RpcError::INVALID_PARAMS);
            TransportError::new(kind, words).of(self.target.name())
        };
        let value = |name: &HeaderName, text: &str| {
            HeaderValue::from_str(text)
                .map_err(|_| invalid(format!("`{name}` cannot hold what the request has for it")))
        };
        let mut fields = vec![(mirror::METHOD, value(&mirror::METHOD, method)?)];
        let view = View::of(message).map_err(|error| invalid(format!("`params`: {error}")))?;
        let mut tool = None;
        // Where the body does not say it the server does.
        if let Subject::Named(name) = view.subject(method) {
            tool = (method == "tools/call").then(|| self.index.of(&name)).flatten();
            let name = mirror::encode(&name);
            if VALUE_LEN_MAX < name.len() {
                let words =
                    format!("a name of more than {VALUE_LEN_MAX} bytes fits in no `Mcp-Name`");
                return Err(invalid(words));
            }
            fields.push((mirror::NAME, value(&mirror::NAME, &name)?));
        }
        if let Some(tool) = &tool {
            let params = tool.mirror(view.arguments).map_err(|error| invalid(error.to_string()))?;
            for (name, text) in params {
                let value = value(&name, &text)?;
                fields.push((name, value));
            }
        }
        for (name, text) in &exchange.carried {
            let ours = tool.as_ref().is_some_and(|tool| tool.has(name));
            let read = (HeaderName::try_from(&**name), HeaderValue::from_str(text));
            if let (false, (Ok(name), Ok(value))) = (ours, read) {
                fields.push((name, value));
            }
        }
        Ok(fields)
    }

    async fn ask(
        self: &Arc<Self>,
        exchange: &Exchange,
        id: &Id,
        fields: &Fields,
    ) -> Result<Reply, TransportError> {
        let method = exchange.message.method();
        let response = self.post(exchange, fields).await?;
        if !response.status().is_success() {
            let begins = method == Some(DISCOVER);
            return self.refused(response, Some(id), begins).await.map(Reply::Single);
        }
        let lists = method == Some(TOOLS);
        if http::is_type(&response, wire::CONTENT_TYPE) {
            let (limits, idle_timeout) = (self.options.limits, self.options.idle_timeout);
            let events = Events::of(&self.target, response, limits, idle_timeout)?;
            let (server, id) = (Arc::clone(self), id.clone());
            return Answers { server, id, lists, events: Some(events) }.reply().await;
        }
        if !http::is_json(&response) && response.headers().contains_key(CONTENT_TYPE) {
            return Err(http::not_events(&self.target, &response));
        }
        let raw = self.read_answer(response).await.map_err(TransportError::may_have_run)?;
        let parsed = Message::parse_within(raw, &self.options.limits);
        let message =
            parsed.map_err(|error| self.unread("its answer is no JSON-RPC message", error))?;
        let answer = restored(&message, id);
        let answer =
            answer.ok_or_else(|| self.broke("it answered another request than the one asked"))?;
        Ok(Reply::Single(self.learn(answer, lists)))
    }

    /// Says what nobody answers.
    async fn tell(&self, exchange: &Exchange) -> Result<Reply, TransportError> {
        if exchange.message.is_answer() {
            let kind = ErrorKind::Invalid(RpcError::INVALID_REQUEST);
            let what = "servers ask nothing in 2026-07-28, so there is nothing to answer";
            return Err(TransportError::new(kind, what).of(self.target.name()));
        }
        // Dropping its reply is how a request is taken back.
        if exchange.message.method() == Some("notifications/cancelled") {
            return Ok(Reply::Accepted);
        }
        let fields = self.mirrored(exchange)?;
        let telling = async {
            let response = self.post(exchange, &fields).await?;
            if !response.status().is_success() {
                self.refused(response, None, false).await?;
            }
            Ok(Reply::Accepted)
        };
        tokio::time::timeout(self.options.tell_timeout, telling).await.unwrap_or_else(|elapsed| {
            let what = "it did not accept a message in time";
            let error = TransportError::new(ErrorKind::Timeout, what);
            Err(error.of(self.target.name()).because(elapsed))
        })
    }

    async fn post(
        &self,
        exchange: &Exchange,
        mirrored: &Fields,
    ) -> Result<Response<Incoming>, TransportError> {
        let mut request = self.target.request(Method::POST, Uri::clone(self.target.url()));
        if let Some(fields) = request.headers_mut() {
            let version = ProtocolVersion::V2026_07_28.as_str();
            fields.insert(ACCEPT, HeaderValue::from_static(BOTH));
            fields.insert(CONTENT_TYPE, JSON);
            fields.insert(header::PROTOCOL_VERSION, HeaderValue::from_static(version));
            for (name, value) in mirrored {
                fields.insert(name, value.clone());
            }
        }
        let request = request.body(exchange.message.as_bytes().clone());
        let request = request.map_err(|error| http::broken(&self.target, error))?;
        let sent = self.http.send(&self.target, request).await;
        let response = sent.map_err(TransportError::may_have_run)?;
        if let Some(id) = response.headers().get(header::SESSION_ID) {
            self.let_go(id.clone());
        }
        Ok(response)
    }

    /// What a response that is no success comes to; see the table of this module.
    async fn refused(
        &self,
        response: Response<Incoming>,
        id: Option<&Id>,
        begins: bool,
    ) -> Result<Message, TransportError> {
        let (parts, body) = response.into_parts();
        let status = parts.status.as_u16();
        let refused = http::refused(&self.target, &Response::from_parts(parts, ()));
        let raw = match body::read(body, REFUSAL_LEN_MAX, self.options.close_timeout).await {
            Ok(raw) => raw,
            Err(error) => return Err(refused.because(error)),
        };
        let message = Message::parse_within(raw, &self.options.limits).ok();
        let error = message.filter(|message| message.kind() == Kind::Error);
        let (Some(error), ErrorKind::Status(_)) = (error, refused.kind()) else {
            return Err(refused);
        };
        let of_a_proxy = matches!(status, 403 | 408 | 421 | 425 | 500..=599);
        if matches!(status, 429 | 503) || begins && of_a_proxy && !is_modern(&error) {
            return Err(worded(refused, &error));
        }
        id.and_then(|id| restored(&error, id)).ok_or_else(|| worded(refused, &error))
    }

    /// Ends a session that nobody asked for: servers of another era open one for whatever is
    /// posted (the SDK for Python before 2.0 does).
    fn let_go(&self, mut id: HeaderValue) {
        id.set_sensitive(true);
        let request = self.target.request(Method::DELETE, Uri::clone(self.target.url()));
        let request = request.header(header::SESSION_ID, id).body(bytes::Bytes::new());
        let (Ok(request), Ok(runtime)) = (request, Handle::try_current()) else { return };
        let (http, target) = (self.http.clone(), self.target.clone());
        let limit = self.options.close_timeout;
        let ending = async move {
            match tokio::time::timeout(limit, http.send(&target, request)).await {
                Ok(Ok(_)) => debug!(server = &**target.name(), "a stray session ended"),
                Ok(Err(error)) => debug!(%error, "a stray session not ended"),
                Err(_) => debug!(server = &**target.name(), "a stray session not ended in time"),
            }
        };
        self.tasks.spawn_on(ending, &runtime);
    }

    /// Learns from a list of tools, and leaves out those that cannot be called over HTTP.
    fn learn(&self, answer: Message, lists: bool) -> Message {
        if lists { self.index.learn(&answer, self.target.name()) } else { answer }
    }

    /// Lists the tools, for what their calls have to mirror.
    async fn refresh(self: &Arc<Self>, exchange: &Exchange) -> Result<(), TransportError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Page<'a> {
            #[serde(borrow, default)]
            next_cursor: Option<&'a RawValue>,
        }
        let cannot = |error| self.broke("its tools cannot be listed").because(error);
        let view = View::of(&exchange.message).map_err(cannot)?;
        let meta = view.meta.unwrap_or_default();
        let meta: BTreeMap<&str, &RawValue> = [
            (modern::PROTOCOL_VERSION, meta.version),
            (modern::CLIENT_CAPABILITIES, meta.capabilities),
            (modern::CLIENT_INFO, meta.client_info),
        ]
        .into_iter()
        .filter_map(|(key, value)| Some((key, value?)))
        .collect();
        let mut cursor: Option<Box<RawValue>> = None;
        for page in 0..REFRESH_PAGES_MAX {
            let id = Id::from(format!("gateway-tools-{page}").as_str());
            let mut params = serde_json::json!({ "_meta": meta });
            if let (Some(cursor), Some(params)) = (cursor, params.as_object_mut()) {
                params.insert("cursor".to_owned(), serde_json::json!(cursor));
            }
            let message = Message::request(&id, TOOLS, &params).map_err(cannot)?;
            let listing = Exchange { message, carried: Vec::new(), ..exchange.clone() };
            let fields = self.mirrored(&listing)?;
            let answer = match self.ask(&listing, &id, &fields).await? {
                Reply::Single(answer) => Some(answer),
                Reply::Stream(events) => answer_in(events).await?,
                Reply::Accepted => None,
            };
            let next = answer.as_ref().and_then(|it| it.read::<Page<'_>>().ok()?.next_cursor);
            let Some(next) = next.filter(|it| it.get() != "null") else { return Ok(()) };
            cursor = Some(next.to_owned());
        }
        Ok(())
    }
}

impl Answers {
    /// The reply: no stream if nothing precedes the answer.
    async fn reply(mut self) -> Result<Reply, TransportError> {
        match self.next().await {
            Some(Ok(Event::Message { message, .. })) if message.is_answer() => {
                Ok(Reply::Single(message))
            }
            Some(Ok(first)) => {
                let rest = stream::unfold(self, async |mut answers| {
                    Some((answers.next().await?, answers))
                });
                Ok(Reply::Stream(stream::iter([Ok(first)]).chain(rest).boxed()))
            }
            Some(Err(error)) => Err(error),
            None => Err(self.broken(None)),
        }
    }

    /// The next message; the answer, or an error, is the last.
    async fn next(&mut self) -> Option<Result<Event, TransportError>> {
        loop {
            let next = self.events.as_mut()?.next(&self.server.target).await;
            let said = match next {
                Ok(Some(item)) => self.take(item).transpose(),
                Ok(None) => Some(Err(self.broken(None))),
                Err(error) => Some(Err(self.broken(Some(error)))),
            };
            match said {
                Some(Ok(message)) => {
                    if message.is_answer()
                        && let Some(rest) = self.events.take()
                    {
                        answers::finish(&self.server, &self.server.tasks, rest);
                    }
                    return Some(Ok(message.into()));
                }
                Some(Err(error)) => {
                    self.events = None;
                    return Some(Err(error));
                }
                None => (),
            }
        }
    }

    /// What an item comes to: a message to pass on, or nothing.
    fn take(&self, item: Item) -> Result<Option<Message>, TransportError> {
        let server = &**self.server.target.name();
        match item {
            Item::Event(Event::Message { message, .. }) if message.is_answer() => {
                let Some(answer) = restored(&message, &self.id) else {
                    debug!(server, ?message, "answer to another request: dropped");
                    return Ok(None);
                };
                Ok(Some(self.server.learn(answer, self.lists)))
            }
            Item::Event(Event::Message { message, .. }) if message.kind() == Kind::Request => {
                warn!(server, ?message, "it asked something, which 2026-07-28 forbids: dropped");
                Ok(None)
            }
            Item::Event(Event::Message { message, .. }) => Ok(Some(message)),
            Item::Malformed { id, asks: false, error }
                if id.as_ref().is_none_or(|id| *id == self.id) =>
            {
                Err(self.server.unread("it answered with what is no message", error))
            }
            Item::Malformed { error, .. } => {
                warn!(server, %error, "it sent what is no message");
                Ok(None)
            }
            Item::Event(Event::Pause { .. }) | Item::Endpoint(_) => Ok(None),
        }
    }

    fn broken(&self, why: Option<TransportError>) -> TransportError {
        let what = "its event stream ended before the answer came";
        let error = TransportError::new(ErrorKind::Closed, what)
            .of(self.server.target.name())
            .may_have_run();
        match why {
            Some(why) => error.because(why),
            None => error,
        }
    }
}

/// The answer at the end of a stream.
async fn answer_in(mut events: EventStream) -> Result<Option<Message>, TransportError> {
    while let Some(event) = events.next().await {
        match event? {
            Event::Message { message, .. } if message.is_answer() => return Ok(Some(message)),
            _ => (),
        }
    }
    Ok(None)
}

fn code_of(message: &Message) -> Option<i32> {
    let error: RpcError = (message.kind() == Kind::Error).then(|| message.read().ok()).flatten()?;
    Some(error.code)
}

fn is_mismatch(reply: &Reply) -> bool {
    matches!(reply, Reply::Single(answer) if code_of(answer) == Some(RpcError::HEADER_MISMATCH))
}

/// Whether only a server of this era says so.
fn is_modern(error: &Message) -> bool {
    matches!(
        code_of(error),
        Some(
            RpcError::HEADER_MISMATCH
                | RpcError::MISSING_CLIENT_CAPABILITY
                | RpcError::UNSUPPORTED_VERSION
        )
    )
}
