//! Requests of a revision without sessions (2026-07-28), for a server that speaks it too.
//!
//! Nothing of one exchange is kept for the next, so there is no session to find: each request has
//! its place among those of its server, and goes over the one link that stands for everybody.
//! Dropping a reply cancels its request.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
};

use futures::{FutureExt, StreamExt, future::BoxFuture};
use mcp_jsonrpc::{
    Id, Kind, Message, modern,
    transport::{
        Caller, Endpoint, ErrorKind, Event, EventId, EventStream, Exchange, InboxMax, Reply,
        Session, TransportError,
    },
};
use serde_json::json;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tracing::debug;

use crate::{
    call::{Answering, CallTimeouts, Calls},
    counts::is_work,
    load::Carried,
    server::{Fate, Inner},
};

/// The requests of one server that belong to no session.
#[derive(Debug)]
pub(crate) struct Stateless {
    /// Those that end by themselves.
    calls: Calls,
    /// `subscriptions/listen`: open until somebody ends them.
    listens: Calls,
    listeners: Mutex<HashMap<Id, Listener>>,
    /// Under which the next one has its place: ids of clients may be equal.
    next: AtomicI64,
}

#[derive(Debug)]
struct Listener {
    caller: Caller,
    /// What its client calls it.
    id: Id,
    /// Whether it is to hear that the tools offered have changed.
    hears_tools: bool,
}

/// One exchange's way to the server.
pub(crate) struct Passing {
    pub(crate) server: Arc<Inner>,
    pub(crate) at: Arc<str>,
}

/// A listener's entry, until its stream is dropped.
struct Entry(Arc<Inner>, Id);

// === impl Stateless ===

impl Stateless {
    pub(crate) fn new(call_max: usize, listen_max: usize, inbox: InboxMax) -> Self {
        // What is dropped is not read on.
        let nowhere = TaskTracker::new();
        nowhere.close();
        Self {
            calls: Calls::new(call_max, inbox, &nowhere),
            listens: Calls::new(listen_max, inbox, &nowhere),
            listeners: Mutex::default(),
            next: AtomicI64::new(0),
        }
    }

    /// From now on so many may be answered at once, and so many listen.
    pub(crate) fn set_max(&self, call_max: usize, listen_max: usize) {
        self.calls.set_max(call_max);
        self.listens.set_max(listen_max);
    }

    /// How many are being answered, streams that listen left out.
    pub(crate) fn in_flight(&self) -> usize {
        self.calls.len()
    }

    /// How many streams listen.
    pub(crate) fn listening(&self) -> usize {
        self.listens.len()
    }

    pub(crate) fn sweep(&self, timeouts: &CallTimeouts) {
        self.calls.sweep(timeouts);
    }

    pub(crate) fn cancel_all(&self) {
        self.calls.cancel_all();
    }

    /// Ends the streams of those whose rights do not allow them any more; whether any were.
    pub(crate) fn review(&self, fate: impl Fn(&Caller) -> Fate) {
        let over: Vec<Id> = {
            let listeners = self.listeners();
            let over = listeners.iter().filter(|(_, it)| fate(&it.caller) != Fate::Stays);
            over.map(|(key, _)| key.clone()).collect()
        };
        for key in over {
            self.end(&key);
        }
    }

    /// Ends every stream that listens, as its client expects it (2026-07-28, subscriptions).
    pub(crate) fn end_listens(&self) {
        let all: Vec<Id> = self.listeners().keys().cloned().collect();
        for key in all {
            self.end(&key);
        }
    }

    /// Tells those who want to hear of it that the tools offered here have changed.
    pub(crate) fn announce_tools(&self, method: &str) {
        let listeners = self.listeners();
        for (key, listener) in listeners.iter().filter(|(_, listener)| listener.hears_tools) {
            let params = json!({ "_meta": { modern::SUBSCRIPTION_ID: listener.id } });
            let news = Message::notification(method, &params);
            let (Ok(news), Some(call)) = (news, self.listens.get(key)) else { continue };
            if call.press(news.into()).is_err() {
                debug!("whoever reads this slowly has more news than these to read");
            }
        }
    }

    fn end(&self, key: &Id) {
        let id = self.listeners().get(key).map(|listener| listener.id.clone());
        let Some(id) = id else { return };
        let meta = json!({ modern::SUBSCRIPTION_ID: id });
        let end = Message::response(&id, &json!({ "resultType": "complete", "_meta": meta }));
        if let Some(call) = self.listens.get(key) {
            call.finish(Ok(end.ok()));
        }
    }

    fn listeners(&self) -> MutexGuard<'_, HashMap<Id, Listener>> {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Passing ===

impl Passing {
    async fn ask(&self, exchange: Exchange) -> Result<Reply, TransportError> {
        let all = &self.server.stateless;
        let key = Id::from(all.next.fetch_add(1, Ordering::Relaxed));
        let server = Arc::clone(&self.server);
        let listens = exchange.message.method() == Some(modern::LISTEN);
        let calls = if listens { &all.listens } else { &all.calls };
        let listener = exchange.message.id().filter(|_| listens).map(|id| {
            let (caller, id) = (exchange.caller.clone(), id.clone());
            let listen: modern::Listen<'_> = exchange.message.read().unwrap_or_default();
            let hears_tools = listen.notifications.tools_list_changed == Some(true);
            Listener { caller, id, hears_tools }
        });
        let sent = Box::pin(async move { carry(&server, exchange).await });
        let answering = Answering::new(calls, key.clone(), Instant::now(), sent)?;
        let Some(listener) = listener else { return answering.reply().await };
        all.listeners().insert(key.clone(), listener);
        let entry = Entry(Arc::clone(&self.server), key);
        Ok(match answering.reply().await? {
            Reply::Stream(events) => Reply::Stream(events.inspect(move |_| _ = &entry).boxed()),
            reply => reply,
        })
    }
}

/// Sends an exchange over the link that stands; once more where it certainly never arrived.
async fn carry(server: &Arc<Inner>, exchange: Exchange) -> Result<Reply, TransportError> {
    let carried = server.standing(&exchange.caller).await?;
    let works = is_work(&exchange.message);
    let reply = match carried.behind.send(exchange.clone()).await {
        Err(error) if error.is_unsent() => {
            debug!(server = %server.name, %error, "not sent: once more");
            server.upstream().doubt(&carried, &error);
            let carried = server.standing(&exchange.caller).await?;
            let reply = carried.behind.send(exchange).await;
            return reply.map(|reply| held(reply, carried, works));
        }
        Err(error) => {
            server.upstream().doubt(&carried, &error);
            return Err(carried.explained(error));
        }
        Ok(reply) => reply,
    };
    Ok(held(reply, carried, works))
}

/// A stream that holds its link.
fn held(reply: Reply, carried: Carried, works: bool) -> Reply {
    match reply {
        Reply::Stream(events) => {
            let events = events.map(move |event| {
                if let Ok(Event::Message { message, .. }) = &event {
                    carried.answers(works, message);
                }
                event.map_err(|error| carried.explained(error))
            });
            Reply::Stream(events.boxed())
        }
        Reply::Single(answer) => {
            carried.answers(works, &answer);
            Reply::Single(answer)
        }
        Reply::Accepted => Reply::Accepted,
    }
}

impl Session for Passing {
    fn endpoint(&self) -> Endpoint {
        Endpoint { uri: Arc::clone(&self.at), session: None }
    }

    fn send(&self, exchange: Exchange) -> BoxFuture<'_, Result<Reply, TransportError>> {
        async move {
            let said = match exchange.message.kind() {
                Kind::Request => self.ask(exchange).await,
                Kind::Notification => carry(&self.server, exchange).await,
                // Nothing is ever asked of these clients.
                Kind::Response | Kind::Error => Ok(Reply::Accepted),
            };
            said.map_err(|error| error.of(&self.server.name))
        }
        .boxed()
    }

    fn listen(&self, _: Option<EventId>) -> BoxFuture<'_, Result<EventStream, TransportError>> {
        let what = "nothing is said unasked in this revision";
        let error = TransportError::new(ErrorKind::Unsupported, what);
        async { Err(error.hint("send `subscriptions/listen`")) }.boxed()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        async {}.boxed()
    }
}

impl fmt::Debug for Passing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Passing").field("server", &self.server.name).finish_non_exhaustive()
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.0.stateless.listeners().remove(&self.1);
    }
}
