//! A client that keeps all it hears, and checks it against the schema of its revision.

use std::{fmt, sync::Arc};

use demo_server::{DemoServer, Options};
use futures::{FutureExt, StreamExt, future::BoxFuture};
use mcp_jsonrpc::{
    Id, Message, ProtocolVersion, RpcError,
    transport::{
        Caller, Event, EventStream, Exchange, Opening, Reply, Session, Transport, TransportError,
    },
};
use serde_json::{Value, json};

use crate::schema::Schema;

pub(crate) struct Client {
    pub(crate) session: Arc<dyn Session>,
    pub(crate) version: ProtocolVersion,
    pub(crate) initialized: Value,
    schema: &'static Schema,
    id: i64,
    answer: Box<Answer>,
}

/// Answers a question of the server's, by its method and parameters.
type Answer = dyn FnMut(&str, &Value) -> Result<Value, RpcError> + Send;

/// What came of a request: what preceded the answer, and the answer.
#[derive(Debug)]
pub(crate) struct Heard {
    pub(crate) before: Vec<Value>,
    pub(crate) answer: Value,
}

pub(crate) fn opening(caller: &Caller) -> Opening {
    Opening { caller: caller.clone(), version: None, at: Arc::from("/demo/mcp") }
}

pub(crate) fn value(message: &Message) -> Value {
    serde_json::from_slice(message.as_bytes()).unwrap()
}

// === impl Client ===

impl Client {
    /// Opens a session and initializes it, with all capabilities.
    pub(crate) async fn new(version: ProtocolVersion) -> Self {
        Self::of(&DemoServer::default(), version, Self::all()).await
    }

    pub(crate) async fn with(options: Options) -> Self {
        Self::of(&DemoServer::new(options), ProtocolVersion::LATEST_LEGACY, Self::all()).await
    }

    pub(crate) fn all() -> Value {
        json!({ "roots": { "listChanged": true }, "sampling": {}, "elicitation": {} })
    }

    pub(crate) async fn of(server: &DemoServer, version: ProtocolVersion, can: Value) -> Self {
        let session = server.open(opening(&Caller::anonymous())).await.unwrap();
        let answer = Box::new(|method: &str, _: &Value| panic!("asked for {method}"));
        let schema = Schema::of(version);
        let initialized = Value::Null;
        let mut client = Self { session, version, initialized, schema, id: 0, answer };
        let info = json!({ "name": "test", "version": "1" });
        let params = json!({
            "protocolVersion": version.as_str(), "capabilities": can, "clientInfo": info,
        });
        client.initialized = client.request("initialize", params).await.unwrap();
        client.notify("notifications/initialized", json!({})).await;
        client
    }

    /// Answers what the server asks from now on.
    pub(crate) fn answering(
        &mut self,
        answer: impl FnMut(&str, &Value) -> Result<Value, RpcError> + Send + 'static,
    ) {
        self.answer = Box::new(answer);
    }

    pub(crate) fn send(&self, message: Message) -> BoxFuture<'_, Result<Reply, TransportError>> {
        self.session.send(Exchange::new(message, Caller::anonymous()))
    }

    pub(crate) async fn notify(&self, method: &str, params: Value) {
        let message = Message::notification(method, &params).unwrap();
        assert!(matches!(self.send(message).await, Ok(Reply::Accepted)));
    }

    /// A request whose result alone matters.
    pub(crate) async fn request(&mut self, method: &str, params: Value) -> Result<Value, Value> {
        let heard = self.hear(method, params).await;
        assert!(heard.before.is_empty(), "{heard:?}");
        match heard.answer.get("error") {
            Some(error) => Err(error.clone()),
            None => Ok(heard.answer["result"].clone()),
        }
    }

    /// The text of a tool's result, `!` before that of an error.
    pub(crate) async fn call(&mut self, tool: &str, arguments: Value) -> String {
        let heard = self.hear_call(tool, arguments).await;
        text(&heard.answer)
    }

    pub(crate) async fn hear_call(&mut self, tool: &str, arguments: Value) -> Heard {
        let params = json!({
            "name": tool, "arguments": arguments, "_meta": { "progressToken": "token" },
        });
        self.hear("tools/call", params).await
    }

    /// Everything that comes of a request.
    pub(crate) async fn hear(&mut self, method: &str, params: Value) -> Heard {
        self.id += 1;
        let request = Message::request(&Id::from(self.id), method, &params).unwrap();
        let mut before = Vec::new();
        let answer = match self.send(request).await.unwrap() {
            Reply::Single(answer) => value(&answer),
            Reply::Stream(events) => self.follow(events, &mut before).await,
            Reply::Accepted => panic!("no answer to {method}"),
        };
        assert_eq!(answer["id"], self.id);
        self.schema.check_answer(method, &answer);
        Heard { before, answer }
    }

    async fn follow(&mut self, mut events: EventStream, before: &mut Vec<Value>) -> Value {
        while let Some(event) = events.next().await {
            let Event::Message { message, .. } = event.unwrap() else { panic!("a pause") };
            let said = value(&message);
            if message.is_answer() {
                assert!(events.next().await.is_none(), "the answer comes last");
                return said;
            }
            self.check(&said);
            if let Some(id) = message.id() {
                let answer = match (self.answer)(message.method().unwrap(), &said["params"]) {
                    Ok(result) => Message::response(id, &result),
                    Err(error) => Message::error(Some(id), &error),
                };
                let reply = self.send(answer.unwrap()).await;
                assert!(matches!(reply, Ok(Reply::Accepted)));
            }
            before.push(said);
        }
        panic!("no answer");
    }

    /// All that waits for the listener now.
    pub(crate) fn waiting(&self, events: &mut EventStream) -> Vec<Value> {
        let mut waiting = Vec::new();
        while let Some(Some(Ok(Event::Message { message, .. }))) = events.next().now_or_never() {
            self.check(&value(&message));
            waiting.push(value(&message));
        }
        waiting
    }

    fn check(&self, said: &Value) {
        self.schema.check_unasked(said);
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("version", &self.version).finish_non_exhaustive()
    }
}

/// What an answer says: the texts of a tool's result, or the code of an error.
pub(crate) fn text(answer: &Value) -> String {
    if let Some(error) = answer.get("error") {
        return error["code"].to_string();
    }
    let content = answer["result"]["content"].as_array().unwrap();
    let texts: Vec<_> = content.iter().filter_map(|it| it["text"].as_str()).collect();
    let failed = answer["result"]["isError"] == true;
    format!("{}{}", if failed { "!" } else { "" }, texts.join(" "))
}
