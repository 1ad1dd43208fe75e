//! One message and what a server says to it.

use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, stream};
use hyper::{
    Method, Response, StatusCode,
    header::{CONTENT_TYPE, HeaderValue},
};
use mcp_jsonrpc::{
    Frame, Id, Kind, Message, ParseError, RpcError,
    params::Initialized,
    transport::{ErrorKind, Event, Exchange, Reply, TransportError, reason},
};
use tokio::runtime::Handle;
use tracing::debug;
use transport_sse::{
    body::{self, ReadError},
    events::Events,
    http::{self, Incoming},
    wire,
};

use super::{Inner, Server, answers, ids::Named};
use crate::header;

pub(super) const BOTH: &str = "application/json, text/event-stream";
pub(super) const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// How much of a body is read that only says why not, in bytes.
pub(super) const REFUSAL_LEN_MAX: usize = 64 << 10;

/// How much of a server's words is passed on, in characters.
const WORDS_LEN_MAX: usize = 300;

impl Inner {
    /// Posts a message; the status is that of the response the reply came in.
    pub(super) async fn exchange(
        self: &Arc<Self>,
        mut exchange: Exchange,
    ) -> Result<(StatusCode, Reply), TransportError> {
        let message = &exchange.message;
        let Some(theirs) = message.id().filter(|_| message.kind() == Kind::Request).cloned() else {
            return self.tell(&exchange).await.map(|status| (status, Reply::Accepted));
        };
        let is_initialize = message.method() == Some("initialize");
        let named = Named::take(self, &theirs);
        let id = named.id().clone();
        let is_ours = id != theirs;
        if is_ours {
            exchange.message = message.with_id(id.clone());
        }
        let (inner, armed) = (Arc::clone(self), !is_initialize);
        let mut abandoning = Abandoning { inner, id, armed, named: Some(named) };
        let answered = self.ask(&exchange, is_initialize, &mut abandoning).await;
        abandoning.armed = false;
        let (status, reply) = answered?;
        Ok((status, if is_ours { under(theirs, reply) } else { reply }))
    }

    async fn ask(
        self: &Arc<Self>,
        exchange: &Exchange,
        is_initialize: bool,
        abandoning: &mut Abandoning,
    ) -> Result<(StatusCode, Reply), TransportError> {
        let response = self.post(exchange, is_initialize).await?;
        let status = response.status();
        let id = abandoning.id.clone();
        if !status.is_success() {
            let answer = self.refused(response, Some(&id)).await?;
            return Ok((status, Reply::Single(answer)));
        }
        if is_initialize && let Some(session) = response.headers().get(header::SESSION_ID) {
            self.assign(session.to_str().unwrap_or_default());
        }
        let Server { target, options, .. } = &*self.server;
        if http::is_type(&response, wire::CONTENT_TYPE) {
            let events = Events::of(target, response, options.limits, options.idle_timeout)?;
            // From here on the stream knows what it means to be dropped.
            let on = std::mem::replace(&mut abandoning.armed, false);
            let named = abandoning.named.take();
            let abandoning = Abandoning { inner: Arc::clone(self), id, armed: on, named };
            return Ok((status, answers::reply(abandoning, events).await?));
        }
        if http::is_json(&response) || !response.headers().contains_key(CONTENT_TYPE) {
            return Ok((status, self.read(response, &id).await?));
        }
        Err(http::not_events(target, &response))
    }

    /// Posts a message that nobody answers.
    async fn tell(&self, exchange: &Exchange) -> Result<StatusCode, TransportError> {
        let Server { target, options, .. } = &*self.server;
        let telling = async {
            let response = self.post(exchange, false).await?;
            let status = response.status();
            if !status.is_success() {
                self.refused(response, None).await?;
                return Ok(status);
            }
            // Read, so that the connection can be used again.
            let rest = body::read(response.into_body(), REFUSAL_LEN_MAX, options.close_timeout);
            if let Err(error) = rest.await {
                debug!(server = &**target.name(), %error, "acceptance not read");
            }
            Ok(status)
        };
        let told = tokio::time::timeout(options.tell_timeout, telling).await;
        let status = told.unwrap_or_else(|elapsed| {
            let what = "it did not accept a message in time";
            let error = TransportError::new(ErrorKind::Timeout, what);
            Err(error.of(target.name()).because(elapsed))
        })?;
        if exchange.message.method() == Some("notifications/initialized") {
            self.begun.cancel();
        }
        Ok(status)
    }

    /// Sends a message.  The fields that 2026-07-28 mirrors from the body are left out: servers
    /// of these revisions do not look at them.
    async fn post(
        &self,
        exchange: &Exchange,
        is_initialize: bool,
    ) -> Result<Response<Incoming>, TransportError> {
        let mut version = None;
        if !is_initialize {
            self.agree(exchange.version);
            version = exchange.version.or_else(|| self.version.get().copied());
        }
        let mut request = self.request(Method::POST, BOTH, version).header(CONTENT_TYPE, JSON);
        for (name, value) in &exchange.carried {
            request = request.header(&**name, &**value);
        }
        self.send(request, exchange.message.as_bytes().clone()).await
    }

    /// Reads an answer in JSON.
    async fn read(&self, response: Response<Incoming>, id: &Id) -> Result<Reply, TransportError> {
        let raw = self.server.read_answer(response).await?;
        let options = &self.server.options;
        match Frame::parse_within(raw, &options.limits) {
            Ok(Frame::One(message)) => match restored(&message, id) {
                Some(answer) => {
                    self.learn(&answer);
                    Ok(Reply::Single(answer))
                }
                None => Err(self.broke("it answered another request than the one asked")),
            },
            Ok(Frame::Batch(messages)) => {
                let is_answer = |it: &Message| it.is_answer();
                let (answers, before): (Vec<_>, Vec<_>) = messages.into_iter().partition(is_answer);
                let Some(answer) = answers.iter().find_map(|it| restored(it, id)) else {
                    return Err(self.broke("it answered other requests than the one asked"));
                };
                self.learn(&answer);
                let events = before.into_iter().chain([answer]).map(|it| Ok(Event::from(it)));
                Ok(Reply::Stream(stream::iter(events.collect::<Vec<_>>()).boxed()))
            }
            Err(error) => Err(self.server.unread("its answer is no JSON-RPC message", error)),
        }
    }

    /// What a response that is no success comes to: the server's own error where it is about this
    /// request, or ours.
    async fn refused(
        &self,
        response: Response<Incoming>,
        id: Option<&Id>,
    ) -> Result<Message, TransportError> {
        let Server { target, options, .. } = &*self.server;
        let (parts, body) = response.into_parts();
        let status = parts.status;
        if status == StatusCode::NOT_FOUND && self.id.get().is_some() {
            return Err(self.no_session());
        }
        let refused = http::refused(target, &Response::from_parts(parts, ()));
        let raw = match body::read(body, REFUSAL_LEN_MAX, options.close_timeout).await {
            Ok(raw) => raw,
            Err(error) => return Err(refused.because(error)),
        };
        if status == StatusCode::BAD_REQUEST && http::mentions_session(&raw) && self.doubt() {
            return Err(self.no_session());
        }
        let message = Message::parse_within(raw, &options.limits).ok();
        let error = message.filter(|message| message.kind() == Kind::Error);
        match (refused.kind(), error) {
            // Not this request's answer, but word of the server's state.
            (ErrorKind::Status(429 | 503), Some(error)) => Err(worded(refused, &error)),
            (ErrorKind::Status(_), Some(error)) => {
                id.and_then(|id| restored(&error, id)).ok_or_else(|| worded(refused, &error))
            }
            _ => Err(refused),
        }
    }

    /// Takes from the answer to `initialize` what later requests have to say.
    pub(super) fn learn(&self, answer: &Message) {
        if self.version.get().is_none()
            && answer.kind() == Kind::Response
            && let Ok(initialized) = answer.read::<Initialized<'_>>()
        {
            self.agree(initialized.version().parse().ok());
        }
    }

    pub(super) fn broke(&self, what: &'static str) -> TransportError {
        self.server.broke(what)
    }
}

impl Server {
    /// Reads the body of an answer in JSON.
    pub(super) async fn read_answer(
        &self,
        response: Response<Incoming>,
    ) -> Result<Bytes, TransportError> {
        let max = self.options.limits.message_len_max;
        let read = body::read(response.into_body(), max, self.options.body_timeout).await;
        let raw = read.map_err(|error| {
            let kind = match &error {
                ReadError::TooLarge { max } => {
                    return TransportError::too_large(*max).of(self.target.name()).because(error);
                }
                ReadError::Timeout { .. } | ReadError::Silent { .. } => ErrorKind::Timeout,
                _ => ErrorKind::Closed,
            };
            let what = "its answer could not be read to the end";
            let hint = error.to_string();
            TransportError::new(kind, what).of(self.target.name()).hint(hint).because(error)
        })?;
        if raw.is_empty() {
            return Err(self.broke("it accepted a request without answering it"));
        }
        Ok(raw)
    }

    pub(super) fn broke(&self, what: &'static str) -> TransportError {
        TransportError::new(ErrorKind::Protocol, what).of(self.target.name())
    }

    /// What an answer comes to that is no message, or longer than one may be.
    pub(super) fn unread(&self, what: &'static str, error: ParseError) -> TransportError {
        match error {
            ParseError::TooLarge { max, .. } => {
                TransportError::too_large(max).of(self.target.name()).because(error)
            }
            error => self.broke(what).because(error),
        }
    }
}

/// The answer to the request of this id; none if it answers another.
///
/// Errors about requests that could not be read have no id, and Python's SDK calls it
/// `server-error`: over HTTP it is still known which request was meant.
pub(super) fn restored(answer: &Message, id: &Id) -> Option<Message> {
    match answer.id() {
        _ if !answer.is_answer() => None,
        Some(own) if own == id => Some(answer.clone()),
        Some(Id::Text(text)) if answer.kind() == Kind::Error && &**text == "server-error" => {
            Some(answer.with_id(id.clone()))
        }
        Some(_) => None,
        None => {
            let error: RpcError = answer.read().ok()?;
            Message::error(Some(id), &error).ok()
        }
    }
}

/// A reply to a request that went under an id of ours, under its own again.
fn under(theirs: Id, reply: Reply) -> Reply {
    match reply {
        Reply::Accepted => Reply::Accepted,
        Reply::Single(answer) => Reply::Single(answer.with_id(theirs)),
        Reply::Stream(events) => {
            let events = events.map(move |event| match event {
                Ok(Event::Message { id, message }) if message.is_answer() => {
                    Ok(Event::Message { id, message: message.with_id(theirs.clone()) })
                }
                other => other,
            });
            Reply::Stream(events.boxed())
        }
    }
}

/// Adds a server's own words to an error.
pub(super) fn worded(refused: TransportError, error: &Message) -> TransportError {
    match error.read::<RpcError>() {
        Ok(RpcError { message, .. }) => {
            let words: String = message.chars().take(WORDS_LEN_MAX).collect();
            refused.hint(format!("it says: {words}"))
        }
        Err(_) => refused,
    }
}

/// A request under way.  Dropped before its answer, the server is told that nobody waits: in
/// these revisions it does not take a closed connection for that.
#[derive(Debug)]
pub(super) struct Abandoning {
    pub(super) inner: Arc<Inner>,
    pub(super) id: Id,
    pub(super) armed: bool,
    /// Its id is in use for as long as the server may answer it.
    named: Option<Named>,
}

impl Drop for Abandoning {
    fn drop(&mut self) {
        if !self.armed || self.inner.over.is_cancelled() {
            return;
        }
        let mut params = serde_json::json!({ "requestId": self.id });
        if let (Some(reason), Some(params)) = (reason(), params.as_object_mut()) {
            params.insert("reason".to_owned(), (*reason).into());
        }
        let cancelled = Message::notification("notifications/cancelled", &params);
        if let (Ok(cancelled), Ok(runtime)) = (cancelled, Handle::try_current()) {
            let inner = Arc::clone(&self.inner);
            let exchange = Exchange::new(cancelled, mcp_jsonrpc::transport::Caller::anonymous());
            let telling = async move {
                let limit = inner.server.options.close_timeout;
                match tokio::time::timeout(limit, inner.tell(&exchange)).await {
                    Ok(Ok(_)) => (),
                    Ok(Err(error)) => debug!(%error, "server did not hear of a cancellation"),
                    Err(_) => debug!("server took too long to hear of a cancellation"),
                }
            };
            self.inner.tasks.spawn_on(telling, &runtime);
        }
    }
}
