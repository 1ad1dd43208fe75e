//! A client of 2026-07-28: each request stands for itself, and all share the one channel.
//!
//! There is no stream to close here, so `notifications/cancelled` takes requests back, and ends
//! subscriptions; what a subscription yields is told by the id its client gave it.

use std::{
    collections::{HashMap, hash_map},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::{FutureExt, future::BoxFuture};
use mcp_jsonrpc::{
    Era, Id, Kind, Message, RpcError, modern,
    params::Cancelled,
    transport::{ErrorKind, Exchange, Opening, Reply, Session, TransportError, abandon},
};
use tokio::sync::oneshot;
use tracing::{debug, info, warn};

use super::{
    era::{self, VERSION},
    talk::{Place, Talk},
};

/// Requests under way, by the ids of their client.
#[derive(Debug, Default)]
pub(super) struct UnderWay(Mutex<HashMap<Id, Entry>>);

#[derive(Debug)]
struct Entry {
    stop: oneshot::Sender<Stop>,
    listens: bool,
}

/// Why a request is not waited for any longer.
#[derive(Debug)]
enum Stop {
    /// Its client has taken it back.
    Cancelled(Option<String>),
    /// It listens, and there will be nothing more to hear.
    Over,
}

/// One of the requests under way, until it is dropped.
struct Taken<'a> {
    all: &'a UnderWay,
    id: Id,
    stop: oneshot::Receiver<Stop>,
}

// === impl UnderWay ===

impl UnderWay {
    /// None where a request with this id is under way.
    fn enter(&self, id: &Id, listens: bool) -> Option<Taken<'_>> {
        let mut entries = self.entries();
        let hash_map::Entry::Vacant(place) = entries.entry(id.clone()) else { return None };
        let (stop, stopped) = oneshot::channel();
        place.insert(Entry { stop, listens });
        Some(Taken { all: self, id: id.clone(), stop: stopped })
    }

    fn cancel(&self, cancelled: &Message) {
        let Ok(Cancelled { request_id, reason }) = cancelled.read() else {
            return debug!("a cancellation that names no request");
        };
        match self.entries().remove(&request_id) {
            // Fails where it was answered just now.
            Some(entry) => drop(entry.stop.send(Stop::Cancelled(reason))),
            None => debug!(id = %request_id, "nothing is under way by this id: not cancelled"),
        }
    }

    /// Ends all that listens, as clients expect it at the end.
    pub(super) fn end_listens(&self) {
        for (_, entry) in self.entries().extract_if(|_, entry| entry.listens) {
            drop(entry.stop.send(Stop::Over));
        }
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<Id, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.stop.close();
        // After a cancellation the id may be another's already.
        let mut entries = self.all.entries();
        if entries.get(&self.id).is_some_and(|entry| entry.stop.is_closed()) {
            entries.remove(&self.id);
        }
    }
}

// === impl Talk ===

impl Talk<'_> {
    /// What to do about one message of a client that needs no handshake.
    pub(super) fn take_modern(&self, message: Message) -> BoxFuture<'_, ()> {
        let method = message.method().unwrap_or_default();
        match (message.kind(), message.id()) {
            (Kind::Request, Some(id)) => {
                let Some(taken) = self.under_way.enter(id, method == modern::LISTEN) else {
                    let error = RpcError::new(
                        RpcError::INVALID_REQUEST,
                        "a request with this id is under way",
                    );
                    let answer = Message::error(Some(id), &error).ok();
                    return async { self.say(answer).await }.boxed();
                };
                async { self.say(self.answer_modern(message, taken).await).await }.boxed()
            }
            (Kind::Notification, _) if method == "notifications/cancelled" => {
                self.under_way.cancel(&message);
                std::future::ready(()).boxed()
            }
            (Kind::Notification, _) => async { self.tell_modern(message).await }.boxed(),
            _ => {
                warn!(?message, "nobody is asked anything in 2026-07-28: an answer is dropped");
                std::future::ready(()).boxed()
            }
        }
    }

    async fn tell_modern(&self, message: Message) {
        let about = message.clone();
        let told = async {
            let session = self.open_modern().await?;
            session.send(self.exchange_of(message)).await
        };
        if let Err(error) = told.await {
            info!(message = ?about, %error, "not delivered");
        }
    }

    async fn answer_modern(&self, request: Message, mut taken: Taken<'_>) -> Option<Message> {
        let (id, method) = (taken.id.clone(), request.method().map(str::to_owned));
        let asking = async {
            let mut asking = Box::pin(self.ask_modern(request));
            let stop = tokio::select! {
                biased;
                stop = &mut taken.stop => stop,
                answer = &mut asking => return answer,
            };
            if let Ok(Stop::Over) = stop {
                drop(asking);
                return era::end_of(&taken.id).map_err(unwritten);
            }
            match stop {
                Ok(Stop::Cancelled(Some(reason))) => abandon(asking, &reason),
                _ => drop(asking),
            }
            Err(TransportError::new(ErrorKind::Cancelled, "its client has taken it back"))
        };
        self.report(&id, method.as_deref(), asking).await
    }

    async fn ask_modern(&self, request: Message) -> Result<Message, TransportError> {
        let id = request.id().cloned();
        let refused = |error: &RpcError| Message::error(id.as_ref(), error).map_err(unwritten);
        if let Err(error) = era::check(&request) {
            return refused(&error);
        }
        let _place = Place::take(self)?;
        let method = request.method().unwrap_or_default().to_owned();
        let session = match self.open_modern().await {
            Ok(session) => session,
            Err(error) if *error.kind() == ErrorKind::Unsupported => {
                return refused(&era::unserved(&method));
            }
            Err(error) => return Err(error),
        };
        if method != modern::DISCOVER {
            self.era.keep(Era::Modern);
        }
        match session.send(self.exchange_of(request)).await? {
            Reply::Single(answer) => Ok(answer),
            Reply::Stream(events) => self.relay(events, Era::Modern).await,
            Reply::Accepted => Err(super::talk::unanswered()),
        }
    }

    async fn open_modern(&self) -> Result<Arc<dyn Session>, TransportError> {
        let opening = Opening { version: Some(VERSION), ..self.opening() };
        self.transport.open(opening).await
    }

    fn exchange_of(&self, message: Message) -> Exchange {
        Exchange { version: Some(VERSION), ..Exchange::new(message, self.caller.clone()) }
    }
}

fn unwritten(error: mcp_jsonrpc::ParseError) -> TransportError {
    TransportError::new(ErrorKind::Protocol, "an answer cannot be written").because(error)
}
