//! What calls of some tools do.

use futures::{StreamExt, stream};
use mcp_jsonrpc::{
    Id, Message, RpcError,
    transport::{ErrorKind, Event, Reply, TransportError},
};
use serde_json::json;

use super::Talk;

impl Talk {
    /// Tools that do something else than answer with their names.
    pub(super) async fn call(&self, id: &Id, name: &str) -> Option<Result<Reply, TransportError>> {
        let answer = Message::response(id, &json!({ "content": [] })).unwrap();
        let stream = |events: Vec<Message>| {
            let events = events.into_iter().map(|it| Ok(Event::from(it)));
            Some(Ok(Reply::Stream(stream::iter(events.collect::<Vec<_>>()).boxed())))
        };
        match name {
            "hang" => std::future::pending().await,
            "gate" => {
                self.peer.gate.notified().await;
                None
            }
            "die" => {
                self.end();
                Some(Err(TransportError::new(ErrorKind::Closed, "the process exited with code 7")))
            }
            "unlock" | "unlock_silently" | "lock" => {
                let unlocked = if name == "lock" { Vec::new() } else { vec!["secret".to_owned()] };
                *self.unlocked.lock().unwrap() = unlocked;
                if name != "unlock_silently" {
                    self.say("notifications/tools/list_changed", json!({}));
                }
                None
            }
            "secret" if self.unlocked.lock().unwrap().is_empty() => {
                let error = RpcError::new(RpcError::INVALID_PARAMS, "Unknown tool: secret");
                Some(Ok(Reply::Single(Message::error(Some(id), &error).unwrap())))
            }
            "log" => {
                self.say("notifications/message", json!({ "level": "info", "data": 1 }));
                None
            }
            "ask" => {
                let asked = Message::request(&Id::from(1), "roots/list", &json!({})).unwrap();
                stream(vec![asked, answer])
            }
            _ => None,
        }
    }
}
