//! Tools that are hidden: neither listed nor callable.

use std::{collections::BTreeSet, fmt, sync::Arc};

use futures::{FutureExt, StreamExt, future::BoxFuture};
use mcp_jsonrpc::{
    Id, Kind, Message, ParseError, ProtocolVersion, RpcError,
    params::CallTool,
    transport::{
        Caller, Endpoint, ErrorKind, Event, EventId, EventStream, Exchange, Opening, Reply,
        Session, SessionId, Transport, TransportError,
    },
};
use serde::Deserialize;
use serde_json::value::RawValue;

/// Which tools a server offers here, by their exact names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToolFilter {
    /// These and no others.
    Allow(BTreeSet<Box<str>>),
    /// All but these.
    Block(BTreeSet<Box<str>>),
}

impl ToolFilter {
    /// Whether a tool is offered.
    pub fn admits(&self, name: &str) -> bool {
        match self {
            Self::Allow(names) => names.contains(name),
            Self::Block(names) => !names.contains(name),
        }
    }
}

/// A transport that hides the tools of another.
#[derive(Clone)]
pub struct Filtered {
    inner: Arc<dyn Transport>,
    filter: Arc<ToolFilter>,
}

#[derive(Debug)]
struct FilteredSession {
    inner: Arc<dyn Session>,
    filter: Arc<ToolFilter>,
}

// === impl Filtered ===

impl Filtered {
    /// Hides what `filter` does not admit.
    pub fn new(inner: Arc<dyn Transport>, filter: ToolFilter) -> Self {
        Self { inner, filter: Arc::new(filter) }
    }

    fn wrap(&self, inner: Arc<dyn Session>) -> Arc<dyn Session> {
        Arc::new(FilteredSession { inner, filter: Arc::clone(&self.filter) })
    }
}

impl Transport for Filtered {
    fn open(&self, opening: Opening) -> BoxFuture<'_, Result<Arc<dyn Session>, TransportError>> {
        async move { self.inner.open(opening).await.map(|inner| self.wrap(inner)) }.boxed()
    }

    fn find(&self, id: &SessionId, caller: &Caller) -> Result<Arc<dyn Session>, TransportError> {
        self.inner.find(id, caller).map(|inner| self.wrap(inner))
    }
}

impl fmt::Debug for Filtered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Filtered").field(&self.inner).field(&self.filter).finish()
    }
}

impl Session for FilteredSession {
    fn endpoint(&self) -> Endpoint {
        self.inner.endpoint()
    }

    fn send(&self, exchange: Exchange) -> BoxFuture<'_, Result<Reply, TransportError>> {
        match exchange.message.method() {
            Some("tools/call") => self.call(exchange).boxed(),
            Some("tools/list") if exchange.message.kind() == Kind::Request => {
                self.list(exchange).boxed()
            }
            _ => self.inner.send(exchange),
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

// === impl FilteredSession ===

impl FilteredSession {
    /// A hidden tool is as unknown as one that never was (server/tools: error handling).
    async fn call(&self, exchange: Exchange) -> Result<Reply, TransportError> {
        let hidden = match exchange.message.read::<CallTool<'_>>() {
            Ok(call) if !self.filter.admits(&call.name) => {
                Some(format!("Unknown tool: {}", call.name))
            }
            _ => None,
        };
        let (Some(words), Some(id)) = (hidden, exchange.message.id()) else {
            return self.inner.send(exchange).await;
        };
        let error = RpcError::new(RpcError::INVALID_PARAMS, words);
        Message::error(Some(id), &error).map(Reply::Single).map_err(unwritten)
    }

    async fn list(&self, exchange: Exchange) -> Result<Reply, TransportError> {
        match self.inner.send(exchange).await? {
            Reply::Single(message) => self.shorten(&message).map(Reply::Single).map_err(unwritten),
            Reply::Stream(events) => {
                let filter =
                    Self { inner: Arc::clone(&self.inner), filter: Arc::clone(&self.filter) };
                let events = events.map(move |event| match event? {
                    Event::Message { id, message } if message.is_answer() => {
                        let message = filter.shorten(&message).map_err(unwritten)?;
                        Ok(Event::Message { id, message })
                    }
                    event => Ok(event),
                });
                Ok(Reply::Stream(events.boxed()))
            }
            Reply::Accepted => Ok(Reply::Accepted),
        }
    }

    /// The same list without what is hidden; every tool that stays keeps its bytes.
    fn shorten(&self, message: &Message) -> Result<Message, ParseError> {
        #[derive(Deserialize)]
        struct Tools<'a> {
            #[serde(borrow)]
            tools: &'a RawValue,
        }
        #[derive(Deserialize)]
        struct Tool {
            name: String,
        }
        if message.kind() != Kind::Response {
            return Ok(message.clone());
        }
        let listed: Tools<'_> = message.read()?;
        let tools: Vec<&RawValue> = serde_json::from_str(listed.tools.get())?;
        let shown = |tool: &&&RawValue| {
            serde_json::from_str::<Tool>(tool.get()).is_ok_and(|it| self.filter.admits(&it.name))
        };
        let kept: Vec<&RawValue> = tools.iter().filter(shown).copied().collect();
        message.with_part(listed.tools, &kept)
    }
}

fn unwritten(error: ParseError) -> TransportError {
    TransportError::new(ErrorKind::Protocol, "its list of tools is malformed").because(error)
}

#[cfg(test)]
mod tests;
