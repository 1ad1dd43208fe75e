//! Sessions without a link of their own: each request is given one (isolation by request).
//!
//! What a session would keep on a link it keeps here, where that can be: the log level is said
//! again to every link.  What cannot be is refused in words: a subscription, or a task, would end
//! with the request that began it.

use std::sync::Arc;

use futures::StreamExt;
use mcp_jsonrpc::{
    Kind, Message, RpcError,
    params::Initialized,
    transport::{ErrorKind, Exchange, Reply, TransportError},
};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{ClientSession, pong, replay, tell::still_lost, uninitialized};
use crate::{
    handshake::Hello,
    link::{Link, tasks},
    load::Carried,
    upstream::Acquired,
};

/// A link for one request, given up with it.
struct Alone {
    link: Carried,
    session: Arc<ClientSession>,
}

impl ClientSession {
    /// Whether each request has a link to itself.
    pub(super) fn is_alone(&self) -> bool {
        self.server.is_alone()
    }

    /// Begins a session whose first link has served its purpose.
    pub(super) fn begin_alone(
        &self,
        link: Arc<Link>,
        hello: &Arc<Hello>,
        answer: &Message,
    ) -> Result<Message, TransportError> {
        link.let_go();
        self.state().hello = Some(Arc::clone(hello));
        without_news(answer).map_err(|error| {
            TransportError::new(ErrorKind::Protocol, "its capabilities cannot be read")
                .because(error)
        })
    }

    /// Sends a request over a link that was opened for it.
    pub(super) async fn carry_alone(
        self: &Arc<Self>,
        exchange: Exchange,
    ) -> Result<Reply, TransportError> {
        // Also says what is wrong with a session that is closed, or has not begun.
        self.open_link(Instant::now())?;
        let hello = self.state().hello.clone().ok_or_else(uninitialized)?;
        if let Some(reply) = self.answer_alone(&exchange.message)? {
            Box::pin(self.record()).await;
            return Ok(reply);
        }
        let alone = self.open_alone(&hello).await?;
        // Whatever happened before that, the request itself is sent once.
        let reply = self.send_over(&alone.link, exchange).await;
        let reply = reply.map_err(|error| still_lost(&alone.link, error))?;
        Ok(match reply {
            Reply::Stream(events) => {
                // The link lives as long as the reply that is read from it.
                Reply::Stream(events.inspect(move |_| _ = &alone).boxed())
            }
            reply => reply,
        })
    }

    async fn open_alone(self: &Arc<Self>, hello: &Arc<Hello>) -> Result<Alone, TransportError> {
        let link = match self.server.acquire(hello, &self.caller).await? {
            Acquired::Link(link) => link,
            Acquired::Refused(answer) => {
                let what = "it was started again and now refuses `initialize`";
                let hint = answer.body().unwrap_or_default().chars().take(512).collect::<String>();
                let kind = ErrorKind::Unavailable { retry_after: None };
                return Err(TransportError::new(kind, what).hint(hint));
            }
        };
        link.join(self);
        // Not retired within the moment: if it is, it is as if it never was.
        let link = Carried::by(link).ok_or_else(|| {
            let what = "its configuration is being changed";
            TransportError::new(ErrorKind::Unavailable { retry_after: None }, what)
        })?;
        let alone = Alone { link, session: Arc::clone(self) };
        self.confirm(&alone.link).await;
        self.replay_level(&alone.link).await;
        Ok(alone)
    }

    /// What is answered without a link, or not at all.
    fn answer_alone(&self, message: &Message) -> Result<Option<Reply>, TransportError> {
        let refused = |code, words: &'static str| {
            let answer = Message::error(message.id(), &RpcError::new(code, words));
            answer.map(|answer| Some(Reply::Single(answer))).map_err(|error| {
                let what = "an answer could not be written";
                TransportError::new(ErrorKind::Protocol, what).because(error)
            })
        };
        match message.method().unwrap_or_default() {
            "ping" => pong(message).map(Some),
            "logging/setLevel" if replay::level_of(message).is_none() => {
                refused(RpcError::INVALID_PARAMS, "this is no log level")
            }
            "logging/setLevel" => {
                self.remember(message.clone());
                pong(message).map(Some)
            }
            "resources/subscribe" | "resources/unsubscribe" => refused(
                RpcError::METHOD_NOT_FOUND,
                "this server is isolated by request, so nothing is left of it that could tell of \
                 changes; set its `isolation` to `session` for subscriptions",
            ),
            method if method.starts_with("tasks/") || tasks::wants_a_task(message) => refused(
                RpcError::METHOD_NOT_FOUND,
                "this server is isolated by request, so a task would end with the request that \
                 begins it; set its `isolation` to `session` for tasks",
            ),
            _ => Ok(None),
        }
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        self.session.questions.over(&self.link, "the request is over");
        self.link.leave(&self.session);
        self.link.let_go();
    }
}

/// An answer to `initialize` that promises nothing which would need a link that lasts.
fn without_news(answer: &Message) -> Result<Message, mcp_jsonrpc::ParseError> {
    let said: Initialized<'_> = answer.read()?;
    let Some(raw) = said.capabilities.filter(|_| answer.kind() == Kind::Response) else {
        return Ok(answer.clone());
    };
    let mut capabilities: Value = serde_json::from_str(raw.get())?;
    if let Some(all) = capabilities.as_object_mut() {
        all.remove("tasks");
        for list in ["tools", "prompts", "resources"] {
            if let Some(list) = all.get_mut(list).and_then(Value::as_object_mut) {
                list.remove("listChanged");
                list.remove("subscribe");
            }
        }
        // The gateway keeps the level, and says it to each link.
        if all.contains_key("logging") {
            all.insert("logging".to_owned(), json!({}));
        }
    }
    answer.with_part(raw, &capabilities)
}
