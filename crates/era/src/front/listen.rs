//! `subscriptions/listen`: what changes, for as long as its client listens.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    future::poll_fn,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{FutureExt, StreamExt, stream};
use mcp_jsonrpc::{
    Id, Kind, Message, RpcError,
    modern::{self, Filter, Listen},
    params::Resource,
    transport::{Caller, ErrorKind, Event, Exchange, Inbox, Reply, TransportError},
};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tracing::debug;
use translate::modern::up;

use super::{
    Inner,
    pool::Who,
    pooled::{Pooled, unwritten},
    wants::{Wants, invalid},
};

/// How long to wait before a lost session is opened again.
const AGAIN_MIN: Duration = Duration::from_secs(1);
const AGAIN_MAX: Duration = Duration::from_secs(60);

/// What changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum News {
    Tools,
    Prompts,
    Resources,
    Updated(Box<str>),
}

/// Somebody who listens in a session.
#[derive(Debug)]
pub(super) struct Hearer {
    id: Id,
    wants: Wanted,
    inbox: Arc<Inbox>,
}

/// What is to be announced.
#[derive(Clone, Debug, Default)]
struct Wanted {
    tools: bool,
    prompts: bool,
    resources: bool,
    uris: BTreeSet<Box<str>>,
}

/// A stream, and what it takes to go on with it.
struct Listening {
    front: Arc<Inner>,
    who: Who,
    wants: Wants,
    wanted: Wanted,
    id: Id,
    hearing: Option<Hearing>,
    acknowledged: bool,
    done: bool,
    count: Count,
}

/// A place among those who listen in a session, until it is dropped.
struct Hearing {
    pooled: Arc<Pooled>,
    hearer: Arc<Hearer>,
}

/// The streams there are.
#[derive(Default)]
pub(super) struct Listens(Mutex<Streams>);

#[derive(Default)]
struct Streams {
    last: u64,
    open: HashMap<u64, (Caller, CancellationToken)>,
}

/// One of them, until it is dropped.
struct Count {
    front: Arc<Inner>,
    key: u64,
    /// Cancelled when it has to end.
    over: CancellationToken,
}

// === impl News ===

impl News {
    /// What a message of the server's announces, if it does.
    pub(super) fn of(message: &Message) -> Option<Self> {
        match message.method()? {
            "notifications/tools/list_changed" => Some(Self::Tools),
            "notifications/prompts/list_changed" => Some(Self::Prompts),
            "notifications/resources/list_changed" => Some(Self::Resources),
            "notifications/resources/updated" => {
                let updated: Resource<'_> = message.read().ok()?;
                Some(Self::Updated(updated.uri.into()))
            }
            _ => None,
        }
    }

    /// Whether it is about a list, and not about one resource.
    pub(super) const fn is_of_list(&self) -> bool {
        !matches!(self, Self::Updated(_))
    }

    fn message(&self) -> Option<Message> {
        let (method, params) = match self {
            Self::Tools => ("notifications/tools/list_changed", json!({})),
            Self::Prompts => ("notifications/prompts/list_changed", json!({})),
            Self::Resources => ("notifications/resources/list_changed", json!({})),
            Self::Updated(uri) => ("notifications/resources/updated", json!({ "uri": uri })),
        };
        Message::notification(method, &params).ok()
    }
}

// === impl Wanted ===

impl Wanted {
    fn of(filter: &Filter<'_>) -> Self {
        let uris = filter.resource_subscriptions.iter().flatten();
        Self {
            tools: filter.tools_list_changed == Some(true),
            prompts: filter.prompts_list_changed == Some(true),
            resources: filter.resources_list_changed == Some(true),
            uris: uris.map(|uri| Box::from(&**uri)).collect(),
        }
    }

    fn has(&self, news: &News) -> bool {
        match news {
            News::Tools => self.tools,
            News::Prompts => self.prompts,
            News::Resources => self.resources,
            News::Updated(uri) => self.uris.contains(uri),
        }
    }

    fn all(&self) -> impl Iterator<Item = News> {
        let lists = [
            (self.tools, News::Tools),
            (self.prompts, News::Prompts),
            (self.resources, News::Resources),
        ];
        let lists = lists.into_iter().filter(|(wanted, _)| *wanted).map(|(_, news)| news);
        lists.chain(self.uris.iter().cloned().map(News::Updated))
    }

    fn to_json(&self) -> serde_json::Value {
        let mut filter = serde_json::Map::new();
        for (name, wanted) in [
            ("toolsListChanged", self.tools),
            ("promptsListChanged", self.prompts),
            ("resourcesListChanged", self.resources),
        ] {
            if wanted {
                filter.insert(name.to_owned(), json!(true));
            }
        }
        if !self.uris.is_empty() {
            filter.insert("resourceSubscriptions".to_owned(), json!(self.uris));
        }
        filter.into()
    }
}

// === impl Hearer ===

impl Hearer {
    /// Tells it, if it wants to hear that.
    pub(super) fn hear(&self, news: &News, message: &Message) {
        if !self.wants.has(news) {
            return;
        }
        let told = up::subscribed(message, &self.id);
        let Ok(told) = told.inspect_err(|error| debug!(%error, "malformed news: dropped")) else {
            return;
        };
        if self.inbox.push(told.into()).is_err() {
            // It learns that it missed something, and may listen again.
            let what = "the stream was ended because its client reads too slowly";
            self.inbox.finish(Err(TransportError::new(ErrorKind::Exhausted, what)));
        }
    }

    /// Tells it that it may have missed anything.
    pub(super) fn missed(&self) {
        for news in self.wants.all() {
            if let Some(message) = news.message() {
                self.hear(&news, &message);
            }
        }
    }
}

// === impl Pooled ===

impl Pooled {
    /// Tells all who listen in this session.
    pub(super) fn tell_hearers(&self, tell: impl Fn(&Hearer)) {
        let hearers = self.state().hearers.clone();
        hearers.iter().for_each(|hearer| tell(hearer));
    }

    /// What of that this server can tell; resources are subscribed to.
    async fn attach(self: &Arc<Self>, wanted: &Wanted, id: &Id, inbox: Arc<Inbox>) -> Hearing {
        let declares = self.known.declares;
        let mut wants = Wanted {
            tools: wanted.tools && declares.tools_changed,
            prompts: wanted.prompts && declares.prompts_changed,
            resources: wanted.resources && declares.resources_changed,
            uris: BTreeSet::new(),
        };
        let mut subscribed = self.subscribed.lock().await;
        for uri in wanted.uris.iter().filter(|_| declares.subscribe) {
            let known = subscribed.get(uri).copied().unwrap_or_default();
            if known == 0 {
                let answer = self.ask("resources/subscribe", &json!({ "uri": uri })).await;
                if !answer.is_ok_and(|answer| answer.kind() == Kind::Response) {
                    debug!("a resource cannot be subscribed to");
                    continue;
                }
            }
            subscribed.insert(uri.clone(), known + 1);
            wants.uris.insert(uri.clone());
        }
        drop(subscribed);
        let hearer = Arc::new(Hearer { id: id.clone(), wants, inbox });
        self.state().hearers.push(Arc::clone(&hearer));
        Hearing { pooled: Arc::clone(self), hearer }
    }
}

impl Drop for Hearing {
    /// Nobody hears of these resources any more, unless somebody else wants to.
    fn drop(&mut self) {
        let Self { pooled, hearer } = self;
        pooled.state().hearers.retain(|it| !Arc::ptr_eq(it, hearer));
        let Some(front) = pooled.front.upgrade() else { return };
        if hearer.wants.uris.is_empty() || tokio::runtime::Handle::try_current().is_err() {
            return;
        }
        let (pooled, hearer) = (Arc::clone(pooled), Arc::clone(hearer));
        front.tasks.spawn(async move {
            let mut subscribed = pooled.subscribed.lock().await;
            for uri in &hearer.wants.uris {
                let Some(count) = subscribed.get_mut(uri) else { continue };
                *count -= 1;
                if *count > 0 {
                    continue;
                }
                subscribed.remove(uri);
                if pooled.is_open()
                    && let Err(error) =
                        pooled.ask("resources/unsubscribe", &json!({ "uri": uri })).await
                {
                    debug!(%error, "a resource was not unsubscribed from");
                }
            }
        });
    }
}

// === impl Inner ===

impl Inner {
    /// Answers `subscriptions/listen`: a stream that begins with what of it is honoured.
    pub(super) async fn listen(
        self: &Arc<Self>,
        who: Who,
        exchange: Exchange,
        wants: Wants,
    ) -> Result<Reply, TransportError> {
        let id = exchange.message.id().cloned().ok_or_else(TransportError::unanswered)?;
        let refused = |error: RpcError| {
            Message::error(Some(&id), &error).map(Reply::Single).map_err(unwritten)
        };
        let listen: Listen<'_> = match exchange.message.read() {
            Ok(listen) => listen,
            Err(error) => return refused(invalid(format!("`params`: {error}"))),
        };
        let wanted = Wanted::of(&listen.notifications);
        let max = self.options().subscriptions_max;
        if max < wanted.uris.len() {
            let words =
                format!("{} resources are named; at most {max} are taken", wanted.uris.len());
            return refused(invalid(words));
        }
        let count = Count::take(self, &who.caller)?;
        let mut listening = Listening {
            front: Arc::clone(self),
            who,
            wants,
            wanted,
            id,
            hearing: None,
            acknowledged: false,
            done: false,
            count,
        };
        listening.attach(Inbox::new(self.options().inbox)).await?;
        let events = stream::unfold(listening, async |mut listening| {
            let event = listening.next().await?;
            Some((event, listening))
        });
        Ok(Reply::Stream(events.boxed()))
    }
}

// === impl Listening ===

impl Listening {
    async fn attach(&mut self, inbox: Arc<Inbox>) -> Result<(), TransportError> {
        let info = self.wants.client_info.as_deref();
        let what = (false, None);
        let place = self.front.place(&self.who, &self.wants.can, info, what).await?;
        // The place keeps the session until somebody listens in it.
        self.hearing = Some(place.pooled.attach(&self.wanted, &self.id, inbox).await);
        drop(place);
        Ok(())
    }

    async fn next(&mut self) -> Option<Result<Event, TransportError>> {
        if self.done {
            return None;
        }
        if !self.acknowledged {
            self.acknowledged = true;
            let honoured = &self.hearing.as_ref()?.hearer.wants;
            let params = json!({
                "notifications": honoured.to_json(),
                "_meta": { modern::SUBSCRIPTION_ID: self.id },
            });
            let said = Message::notification(modern::ACKNOWLEDGED, &params);
            return Some(said.map(Event::from).map_err(unwritten));
        }
        loop {
            let Some(hearing) = &self.hearing else {
                match self.attach_again().await {
                    Some(()) => continue,
                    None => return self.end(),
                }
            };
            let said = tokio::select! {
                biased;
                said = poll_fn(|cx| hearing.hearer.inbox.poll_next(cx)) => Some(said),
                () = self.count.over.cancelled() => return self.end(),
                () = hearing.pooled.over.cancelled() => None,
            };
            match said {
                Some(Some(Ok(event))) => return Some(Ok(event)),
                Some(Some(Err(error))) => {
                    self.done = true;
                    return Some(Err(error));
                }
                Some(None) | None => self.hearing = None,
            }
        }
    }

    /// Listens in another session, and tells what may have been missed; none at the end of all.
    async fn attach_again(&mut self) -> Option<()> {
        let stop = self.count.over.clone();
        let mut pause = AGAIN_MIN;
        loop {
            if stop.is_cancelled() {
                return None;
            }
            let inbox = Inbox::new(self.front.options().inbox);
            let attached = self.attach(inbox).boxed();
            match stop.run_until_cancelled(attached).await? {
                Ok(()) => break,
                Err(error) => debug!(%error, "a lost session cannot be opened again yet"),
            }
            stop.run_until_cancelled(tokio::time::sleep(pause)).await?;
            pause = (pause * 2).min(AGAIN_MAX);
        }
        self.hearing.as_ref()?.hearer.missed();
        Some(())
    }

    /// The result: nothing more will come.
    fn end(&mut self) -> Option<Result<Event, TransportError>> {
        self.done = true;
        self.hearing = None;
        let result = json!({
            "resultType": "complete",
            "_meta": { modern::SUBSCRIPTION_ID: self.id },
        });
        let answer = Message::response(&self.id, &result);
        Some(answer.map(Event::from).map_err(unwritten))
    }
}

// === impl Listens ===

impl Listens {
    pub(super) fn len(&self) -> usize {
        self.lock().open.len()
    }

    /// Ends those of callers who may not go on.
    pub(super) fn review(&self, stays: impl Fn(&Caller) -> bool) {
        for (caller, over) in self.lock().open.values() {
            if !stays(caller) {
                over.cancel();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Streams> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Listens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Listens").field(&self.len()).finish()
    }
}

// === impl Count ===

impl Count {
    fn take(front: &Arc<Inner>, caller: &Caller) -> Result<Self, TransportError> {
        let max = front.options().listen_max;
        let mut streams = front.listens.lock();
        if max <= streams.open.len() {
            let what = format!("{max} streams listen already");
            return Err(TransportError::new(ErrorKind::Exhausted, what));
        }
        streams.last += 1;
        let (key, over) = (streams.last, front.stop.child_token());
        streams.open.insert(key, (caller.clone(), over.clone()));
        drop(streams);
        Ok(Self { front: Arc::clone(front), key, over })
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        self.front.listens.lock().open.remove(&self.key);
    }
}
