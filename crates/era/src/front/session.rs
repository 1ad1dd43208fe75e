//! What a client of 2026-07-28 holds where the server has a handshake: a session that keeps
//! nothing, and finds for each request one that does.

use std::{fmt, sync::Arc};

use futures::{FutureExt, future::BoxFuture};
use mcp_jsonrpc::{
    Kind, Message, RpcError, modern,
    transport::{
        Endpoint, ErrorKind, EventId, EventStream, Exchange, Opening, Reply, Session,
        TransportError,
    },
};
use serde_json::value::RawValue;
use tracing::debug;
use translate::modern::up;

use super::{
    Inner,
    call::Call,
    parked::Parked,
    pool::{Affinity, Who},
    pooled::unwritten,
    state::{self, State},
    wants::{Retry, Wants, invalid},
};

/// Methods that 2026-07-28 does not have any more, or that no session behind could answer.
const GONE: [&str; 12] = [
    "initialize",
    "logging/setLevel",
    "ping",
    "resources/subscribe",
    "resources/unsubscribe",
    "tasks/cancel",
    "tasks/get",
    "tasks/list",
    "tasks/result",
    "tasks/update",
    "elicitation/create",
    "sampling/createMessage",
];

/// A session that keeps nothing.
pub(super) struct Bridged {
    front: Arc<Inner>,
    /// The address of the endpoint in front.
    at: Arc<str>,
}

// === impl Bridged ===

impl Bridged {
    pub(super) fn new(front: Arc<Inner>, opening: Opening) -> Self {
        Self { front, at: opening.at }
    }

    fn who(&self, exchange: &Exchange) -> Result<Who, RpcError> {
        let options = self.front.options();
        let field = options.affinity.as_deref();
        let affinity = field.map(|field| Affinity::read(field, exchange)).transpose()?.flatten();
        Ok(Who { caller: exchange.caller.clone(), at: Arc::clone(&self.at), affinity })
    }

    async fn ask(&self, exchange: Exchange) -> Result<Reply, TransportError> {
        let message = &exchange.message;
        let method = message.method().unwrap_or_default();
        if GONE.contains(&method) {
            let words = format!("2026-07-28 has no `{method}` that this server could answer");
            return refused(message, &RpcError::new(RpcError::METHOD_NOT_FOUND, words));
        }
        let read =
            self.who(&exchange).and_then(|who| Ok((who, Wants::read(message, &self.front.cans)?)));
        let (who, mut wants) = match read {
            Ok(read) => read,
            Err(error) => return refused(message, &error),
        };
        match method {
            modern::DISCOVER => self.front.discover(&who, &exchange, &wants).await,
            modern::LISTEN => self.front.listen(who, exchange, wants).await,
            _ => match wants.retry.take() {
                Some(retry) => self.retry(who, exchange, wants, retry).await,
                None => Call::begin(&self.front, who, exchange, wants).await?.reply().await,
            },
        }
    }

    /// Goes on with a call whose client has answered.
    async fn retry(
        &self,
        who: Who,
        exchange: Exchange,
        wants: Wants,
        retry: Retry,
    ) -> Result<Reply, TransportError> {
        let message = &exchange.message;
        let mut parked = match self.claim(&who, message, &retry).await {
            Ok(parked) => parked,
            Err(error) => return refused(message, &error),
        };
        if parked.questions.iter().any(super::question::Question::is_open) {
            let mut call = Call::of(&self.front, who, exchange, wants, parked)?;
            // Some answers are missing: those are asked for again.
            return match call.park().await {
                Some(answer) => answer.map(Reply::Single),
                None => call.reply().await,
            };
        }
        let questions = std::mem::take(&mut parked.questions);
        let Some(leg) = &mut parked.leg else {
            let accepted = |answer: &Option<Box<RawValue>>| {
                answer.as_ref().is_some_and(|answer| is_accepted(answer))
            };
            if !questions.iter().all(|question| accepted(&question.answer)) {
                let words =
                    "the server wants its user to visit an address first, which was not accepted";
                return refused(message, &RpcError::new(RpcError::USER_REJECTED, words));
            }
            let mut call = Call::of(&self.front, who, exchange, wants, parked)?;
            call.leave().await?;
            return call.reply().await;
        };
        let pooled = Arc::clone(&leg.place.pooled);
        for question in &questions {
            if let Some(roots) =
                question.answer.as_deref().filter(|_| &*question.method == "roots/list")
            {
                pooled.keep_roots(roots);
            }
            if let Some(reply) = question.reply(pooled.version) {
                pooled.tell(reply).await;
            }
        }
        leg.send();
        pooled.raise(wants.level).await;
        Call::of(&self.front, who, exchange, wants, parked)?.reply().await
    }

    /// The call that a retry belongs to, with the answers that it brings.
    ///
    /// # Errors
    ///
    /// What its client is answered; what waits goes on waiting.
    async fn claim(&self, who: &Who, message: &Message, retry: &Retry) -> Result<Parked, RpcError> {
        let method = message.method().unwrap_or_default();
        if !modern::ASKING.contains(&method) {
            return Err(invalid(format!(
                "`{method}` is answered with no questions, so it has no retry"
            )));
        }
        let table = &self.front.parked;
        let keyring = self
            .front
            .keyring()
            .map_err(|error| RpcError::new(RpcError::INTERNAL, error.said().to_string()))?;
        let instance = table.instance().ok_or_else(state::expired)?;
        let digest = state::digest(message);
        let state = State::open(&retry.state, keyring, &who.caller, instance, &digest)?;
        let asked =
            table.asked(state.parked, state.nonce, &who.caller).ok_or_else(state::expired)?;
        let given = retry.responses.as_deref().map_or("{}", RawValue::get);
        let given: std::collections::HashMap<String, &RawValue> =
            serde_json::from_str(given).map_err(|_| invalid("`inputResponses` is no object"))?;
        let mut answers = Vec::with_capacity(asked.len());
        for asked in asked.iter() {
            let Some(answer) = given.get(&*asked.key) else { continue };
            let answer = up::reply(&asked.method, answer)
                .map_err(|what| invalid(format!("`inputResponses.{}` {what}", asked.key)))?;
            answers.push((asked.key.clone(), answer));
        }
        let parked = table.claim(state.parked, state.nonce).await;
        let mut parked = parked.ok_or_else(state::expired)?;
        for (key, answer) in answers {
            if let Some(question) = parked.questions.iter_mut().find(|it| it.key == key) {
                question.answer = Some(answer);
            }
        }
        Ok(parked)
    }

    async fn tell(&self, exchange: Exchange) -> Result<Reply, TransportError> {
        let message = &exchange.message;
        let method = message.method().unwrap_or_default();
        // Cancelling is dropping the reply; the others are of sessions.
        if matches!(
            method,
            "notifications/cancelled"
                | "notifications/initialized"
                | "notifications/roots/list_changed"
        ) {
            debug!(method, "a notification that 2026-07-28 does not have: dropped");
            return Ok(Reply::Accepted);
        }
        let read =
            self.who(&exchange).and_then(|who| Ok((who, Wants::read(message, &self.front.cans)?)));
        let (who, wants) = read.map_err(|error| {
            TransportError::new(ErrorKind::Invalid(error.code), error.message.into_owned())
        })?;
        let info = wants.client_info.as_deref();
        let place = self.front.place(&who, &wants.can, info, (false, None)).await?;
        let message = up::request(message, &mcp_jsonrpc::Id::from(place.id)).map_err(unwritten)?;
        place.pooled.session.send(place.pooled.exchange(message)).await
    }
}

impl Session for Bridged {
    fn endpoint(&self) -> Endpoint {
        Endpoint { uri: Arc::clone(&self.at), session: None }
    }

    fn send(&self, exchange: Exchange) -> BoxFuture<'_, Result<Reply, TransportError>> {
        match exchange.message.kind() {
            Kind::Request => self.ask(exchange).boxed(),
            Kind::Notification => self.tell(exchange).boxed(),
            Kind::Response | Kind::Error => {
                let kind = ErrorKind::Invalid(RpcError::INVALID_REQUEST);
                let what = "2026-07-28 asks nothing that an answer could be sent to";
                let error = TransportError::new(kind, what);
                let error = error.hint("answer questions with `inputResponses` of a retry");
                async { Err(error) }.boxed()
            }
        }
    }

    fn listen(&self, _: Option<EventId>) -> BoxFuture<'_, Result<EventStream, TransportError>> {
        let what = "a session of 2026-07-28 hears nothing unasked";
        let error = TransportError::new(ErrorKind::Unsupported, what);
        let error = error.hint("send `subscriptions/listen`");
        async { Err(error) }.boxed()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        async {}.boxed()
    }
}

impl fmt::Debug for Bridged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bridged").field("at", &self.at).finish_non_exhaustive()
    }
}

fn refused(request: &Message, error: &RpcError) -> Result<Reply, TransportError> {
    Message::error(request.id(), error).map(Reply::Single).map_err(unwritten)
}

fn is_accepted(answer: &RawValue) -> bool {
    #[derive(serde::Deserialize)]
    struct Elicited {
        action: String,
    }
    serde_json::from_str::<Elicited>(answer.get()).is_ok_and(|it| it.action == "accept")
}
