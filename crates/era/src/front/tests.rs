//! Clients of 2026-07-28 before servers with a handshake.

mod bound;
mod double;
mod late;
mod listening;
mod plain;
mod questions;
mod sessions;
mod tasks;
mod waiting;

use std::sync::Arc;

use futures::StreamExt;
use mcp_jsonrpc::{
    Message, ProtocolVersion,
    transport::{
        Caller, Event, EventStream, Exchange, Opening, Reply, Session, Transport, TransportError,
    },
};
use serde_json::{Value, json};

use super::*;

/// A client of 2026-07-28.
pub(super) struct Client {
    front: Front,
    caller: Caller,
    pub(super) capabilities: Value,
    pub(super) meta: Value,
}

impl Client {
    pub(super) fn new(front: &Front, caller: &str, capabilities: Value) -> Self {
        let caller = Caller::named(caller);
        Self { front: front.clone(), caller, capabilities, meta: json!({}) }
    }

    /// More in `_meta` of each request.
    pub(super) fn with(mut self, meta: Value) -> Self {
        self.meta = meta;
        self
    }

    pub(super) async fn session(&self) -> Arc<dyn Session> {
        let version = Some(ProtocolVersion::V2026_07_28);
        let opening = Opening { caller: self.caller.clone(), version, at: "/x/mcp".into() };
        self.front.open(opening).await.unwrap()
    }

    pub(super) fn message(&self, id: Value, method: &str, mut params: Value) -> Message {
        let mut meta = json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": { "name": "tester", "version": "1" },
            "io.modelcontextprotocol/clientCapabilities": self.capabilities,
        });
        meta.as_object_mut().unwrap().extend(self.meta.as_object().unwrap().clone());
        params["_meta"] = meta;
        let said = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        Message::parse(said.to_string()).unwrap()
    }

    pub(super) async fn send(&self, message: Message) -> Result<Reply, TransportError> {
        let mut exchange = Exchange::new(message, self.caller.clone());
        exchange.version = Some(ProtocolVersion::V2026_07_28);
        self.session().await.send(exchange).await
    }

    pub(super) async fn reply(&self, method: &str, params: Value) -> Reply {
        self.send(self.message(json!(1), method, params)).await.unwrap()
    }

    /// All that is said to a request: the answer last.
    pub(super) async fn ask(&self, method: &str, params: Value) -> Vec<Value> {
        read(self.reply(method, params).await).await
    }

    /// The result of a request to which nothing else is said.
    pub(super) async fn result(&self, method: &str, params: Value) -> Value {
        let said = self.ask(method, params).await;
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(said[0].get("result").is_some(), "{said:?}");
        said[0]["result"].clone()
    }

    pub(super) async fn error(&self, method: &str, params: Value) -> Value {
        let mut said = self.ask(method, params).await;
        let last = said.pop().unwrap();
        assert!(last.get("error").is_some(), "{last}");
        last["error"].clone()
    }

    pub(super) async fn call(&self, tool: &str, arguments: Value) -> Value {
        self.result("tools/call", json!({ "name": tool, "arguments": arguments })).await
    }

    /// Tries a call again with these answers.
    pub(super) fn retry(
        &self,
        tool: &str,
        arguments: Value,
        asked: &Value,
        answers: Value,
    ) -> Value {
        _ = self;
        json!({
            "name": tool,
            "arguments": arguments,
            "inputResponses": answers,
            "requestState": asked["requestState"],
        })
    }
}

pub(super) async fn read(reply: Reply) -> Vec<Value> {
    match reply {
        Reply::Accepted => Vec::new(),
        Reply::Single(message) => vec![value(&message)],
        Reply::Stream(events) => events.map(|event| said(event.unwrap())).collect::<Vec<_>>().await,
    }
}

pub(super) async fn next(events: &mut EventStream) -> Value {
    said(events.next().await.unwrap().unwrap())
}

pub(super) fn said(event: Event) -> Value {
    match event {
        Event::Message { message, .. } => value(&message),
        Event::Pause { .. } => panic!("no place to go on from"),
    }
}

pub(super) fn value(message: &Message) -> Value {
    serde_json::from_slice(message.as_bytes()).unwrap()
}

/// The only question of an answer, by its key.
pub(super) fn question(asked: &Value) -> (String, Value) {
    assert_eq!(asked["resultType"], "input_required", "{asked}");
    let questions = asked["inputRequests"].as_object().unwrap();
    assert_eq!(questions.len(), 1, "{asked}");
    questions.iter().next().map(|(key, entry)| (key.clone(), entry.clone())).unwrap()
}

/// A demo server, which has a handshake: an opening of 2026-07-28 is not for it.
#[derive(Debug)]
pub(super) struct Legacy<T>(pub(super) T);

impl<T: Transport> Transport for Legacy<T> {
    fn open(&self, opening: Opening) -> BoxFuture<'_, Result<Arc<dyn Session>, TransportError>> {
        if opening.version == Some(ProtocolVersion::V2026_07_28) {
            let error = TransportError::new(ErrorKind::Unsupported, "it has a handshake");
            return async { Err(error) }.boxed();
        }
        self.0.open(opening)
    }

    fn find(&self, id: &SessionId, caller: &Caller) -> Result<Arc<dyn Session>, TransportError> {
        self.0.find(id, caller)
    }
}

pub(super) fn demo(options: FrontOptions) -> (Front, demo_server::DemoServer) {
    let server = demo_server::DemoServer::default();
    (Front::new(Arc::new(Legacy(server.clone())), options), server)
}
