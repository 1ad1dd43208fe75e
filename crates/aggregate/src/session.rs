//! A client's session with all servers.

mod ask;
mod lists;
mod opening;
mod own;
mod tell;

pub(crate) use lists::late;
pub(crate) use own::Catalogues;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwapOption;
use futures::{FutureExt, StreamExt, future::BoxFuture, stream};
use mcp_jsonrpc::{
    Kind, Message, ProtocolVersion,
    transport::{
        Caller, Endpoint, Event, EventId, EventStream, Exchange, Inbox, Reply, Session,
        TransportError,
    },
};
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use crate::{
    link::Link,
    questions::Questions,
    scope::Scope,
    server::{Inner, Shared},
    shown::Shown,
};

/// A client's session with all servers.
pub(crate) struct Talk {
    inner: Arc<Inner>,
    caller: Caller,
    hello: OnceLock<Hello>,
    slots: Mutex<BTreeMap<Arc<str>, Arc<Slot>>>,
    questions: Questions,
    unasked: Arc<Inbox>,
    /// How many messages found no room in there.
    dropped: AtomicU64,
    /// The client's last `logging/setLevel`.
    level: Mutex<Option<Message>>,
    /// What its client was shown, or told to have changed, the last time.
    told: Mutex<Option<Arc<Shown>>>,
    /// Whether it was shown anything: whether it has begun.
    has_begun: AtomicBool,
    own: own::Own,
    /// Held by who says `initialize`.
    greeting: tokio::sync::Mutex<()>,
    over: AtomicBool,
}

/// What the client said in its `initialize`, and what came of it.
#[derive(Debug)]
struct Hello {
    /// As it is said to each server.
    message: Message,
    version: ProtocolVersion,
    scope: Arc<Scope>,
}

/// The place of one server's link.
#[derive(Debug, Default)]
struct Slot {
    link: ArcSwapOption<Link>,
    /// Held by whoever opens one.
    opening: tokio::sync::Mutex<()>,
}

/// The session as it is used.
#[derive(Debug)]
pub(crate) struct Talking(pub(crate) Arc<Talk>);

// === impl Talk ===

impl Talk {
    pub(crate) fn new(inner: Arc<Inner>, caller: Caller) -> Arc<Self> {
        let unasked = Inbox::new(inner.shared.options().inbox);
        Arc::new(Self {
            inner,
            caller,
            hello: OnceLock::new(),
            slots: Mutex::default(),
            questions: Questions::default(),
            unasked,
            dropped: AtomicU64::new(0),
            level: Mutex::default(),
            told: Mutex::default(),
            has_begun: AtomicBool::new(false),
            own: own::Own::default(),
            greeting: tokio::sync::Mutex::default(),
            over: AtomicBool::new(false),
        })
    }

    pub(crate) fn caller(&self) -> &Caller {
        &self.caller
    }

    pub(crate) fn questions(&self) -> &Questions {
        &self.questions
    }

    /// What it is shown now, once it has begun.
    pub(crate) fn shown(&self) -> Option<Arc<Shown>> {
        self.scope().map(|it| it.shown_to(self))
    }

    /// Where what nobody waits for is done.
    pub(crate) fn tracker(&self) -> &TaskTracker {
        &self.shared().tasks
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.inner.shared
    }

    fn scope(&self) -> Option<&Arc<Scope>> {
        self.hello.get().map(|it| &it.scope)
    }

    /// Says something to the client unasked; hands it back where there is no room.
    pub(crate) fn hear(&self, event: Event) -> Result<(), Event> {
        self.unasked.push(event).inspect_err(|event| {
            let count = self.dropped.fetch_add(1, Ordering::Relaxed) + 1;
            if count.is_power_of_two() && !self.is_over() {
                let name = &self.shared().name;
                warn!(aggregate = %name, ?event, count, "too much waits for this session: dropped");
            }
        })
    }

    /// A server's question under an id of ours; none if as many are open as may be.
    pub(crate) fn ask_client(&self, link: &Arc<Link>, question: &Message) -> Option<Message> {
        self.questions.ask(link, question, self.shared().options().questions_max)
    }

    /// A server's request or notification with addresses that lead back to it.
    pub(crate) fn noticed(&self, link: &Link, message: &Message) -> Message {
        let shown = self.now();
        let noticed = shown.as_ref().and_then(|shown| {
            let member = shown.view().member(&link.member.name)?;
            Some(shown.view().notice(member, message))
        });
        noticed.unwrap_or_else(|| message.clone())
    }

    /// Notes that a server says its lists have changed.
    pub(crate) fn list_changed(self: &Arc<Self>, link: &Arc<Link>) {
        if let Some(scope) = self.scope() {
            scope.changed(self, link);
        }
    }

    /// Notes that a link has ended.
    pub(crate) fn lost(self: &Arc<Self>, link: &Arc<Link>) {
        debug!(server = %link.member.name, "its session has ended");
        for message in self.questions.over(link) {
            drop(self.hear(message.into()));
        }
        let had_own = self.drop_own(link);
        if let (Some(scope), false) = (self.scope(), self.is_over()) {
            scope.ended(link);
            if had_own {
                scope.tell_one(self);
            }
        }
    }

    /// What the client was shown the last time; none before it was shown anything.
    pub(crate) fn told(&self) -> MutexGuard<'_, Option<Arc<Shown>>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends it, and what it has open with the servers.
    pub(crate) async fn close(self: &Arc<Self>) {
        self.over.store(true, Ordering::Release);
        let links = self.end();
        links.iter().for_each(|link| link.end());
        if let Some(scope) = self.scope() {
            scope.detach(self);
            self.inner.forget_later(scope);
        }
        futures::future::join_all(links.iter().map(|link| link.close())).await;
    }

    /// Lets go of all links.
    fn end(&self) -> Vec<Arc<Link>> {
        self.unasked.finish(Ok(None));
        self.own_nothing();
        let slots = std::mem::take(&mut *self.slots());
        slots.into_values().filter_map(|slot| slot.link.swap(None)).collect()
    }

    fn slots(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Arc<Slot>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Talk {
    /// Whoever drops it without closing it leaves that to others.
    fn drop(&mut self) {
        let links = self.end();
        links.iter().for_each(|link| link.end());
        if links.is_empty() || tokio::runtime::Handle::try_current().is_err() {
            return;
        }
        let closing = async move {
            futures::future::join_all(links.iter().map(|link| link.close())).await;
        };
        self.shared().tasks.spawn(closing);
    }
}

impl fmt::Debug for Talk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Talk").field("aggregate", &self.shared().name).finish_non_exhaustive()
    }
}

impl Session for Talking {
    fn endpoint(&self) -> Endpoint {
        Endpoint { uri: Arc::from("aggregate:"), session: None }
    }

    fn send(&self, exchange: Exchange) -> BoxFuture<'_, Result<Reply, TransportError>> {
        // Each in a box of its own size: that of a call is copied with each call.
        match exchange.message.kind() {
            Kind::Request => self.0.ask(exchange).boxed(),
            Kind::Notification => self.0.tell(exchange).boxed(),
            Kind::Response | Kind::Error => self.0.reply(exchange).boxed(),
        }
    }

    fn listen(&self, _: Option<EventId>) -> BoxFuture<'_, Result<EventStream, TransportError>> {
        let unasked = Arc::clone(&self.0.unasked);
        async move { Ok(stream::poll_fn(move |cx| unasked.poll_next(cx)).boxed()) }.boxed()
    }

    fn version(&self) -> Option<ProtocolVersion> {
        self.0.hello.get().map(|it| it.version)
    }

    fn is_open(&self) -> bool {
        !self.0.is_over()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        async move { self.0.close().await }.boxed()
    }
}
