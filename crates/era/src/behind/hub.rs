//! News of a server that keeps no sessions: one `subscriptions/listen` for all sessions of a
//! caller, for whatever any of them wants to hear of.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use futures::{FutureExt, StreamExt};
use mcp_jsonrpc::{
    Id, Kind, Message, RpcError,
    modern::{self, Listen},
    transport::{Caller, ErrorKind, Event, EventStream, Exchange, Reply, Session, TransportError},
};
use serde_json::json;
use tokio::sync::{Notify, watch};
use tracing::debug;

use super::{Inner, VERSION, made::Talk, own_meta, unwritten, watched::Wire};

/// How long a server may take to say what it will announce.
const ACK_TIMEOUT: Duration = Duration::from_secs(10);
/// How long to wait before listening again, at first and at most.
const AGAIN_MIN: Duration = Duration::from_millis(500);
const AGAIN_MAX: Duration = Duration::from_secs(60);

/// The hubs of one server, by whom they are for.
#[derive(Default)]
pub(super) struct Hubs(Mutex<HashMap<Option<Arc<str>>, Weak<Hub>>>);

/// What the sessions of one caller hear of.
pub(super) struct Hub {
    wire: Arc<Wire>,
    caller: Caller,
    name: Arc<str>,
    uris_max: usize,
    members: Mutex<Members>,
    changed: Notify,
    /// Up to which generation of wishes the server has answered, and what it will announce.
    honoured: watch::Sender<Honoured>,
}

#[derive(Clone, Default)]
struct Honoured {
    generation: u64,
    uris: Arc<BTreeSet<Box<str>>>,
}

#[derive(Default)]
struct Members {
    talks: Vec<Weak<Talk>>,
    /// How many sessions have it; once none has, nobody takes it again.
    holders: usize,
    /// How many want to hear of each.
    uris: BTreeMap<Box<str>, usize>,
    generation: u64,
}

impl Hubs {
    /// The hub for a caller, over this wire, for one that [leaves](Hub::leave) it again.
    pub(super) fn of(&self, home: &Arc<Inner>, wire: &Arc<Wire>, caller: &Caller) -> Arc<Hub> {
        let mut hubs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = hubs.get(&caller.subject).and_then(Weak::upgrade);
        if let Some(hub) = known.filter(|hub| Arc::ptr_eq(&hub.wire, wire) && hub.hold()) {
            return hub;
        }
        hubs.retain(|_, hub| hub.strong_count() > 0);
        let hub = Arc::new(Hub {
            wire: Arc::clone(wire),
            caller: caller.clone(),
            name: Arc::clone(&home.name),
            uris_max: home.options.subscriptions_max,
            members: Mutex::new(Members { holders: 1, ..Members::default() }),
            changed: Notify::new(),
            honoured: watch::Sender::default(),
        });
        hubs.insert(caller.subject.clone(), Arc::downgrade(&hub));
        let listening = listen(Arc::downgrade(&hub), Arc::clone(wire));
        home.tasks.spawn(home.stop.clone().run_until_cancelled_owned(listening));
        hub
    }
}

impl Hub {
    pub(super) fn join(&self, talk: &Arc<Talk>) {
        let mut members = self.members();
        members
            .talks
            .retain(|it| it.strong_count() > 0 && !std::ptr::eq(it.as_ptr(), Arc::as_ptr(talk)));
        members.talks.push(Arc::downgrade(talk));
        drop(members);
        self.changed.notify_one();
    }

    /// For one more, unless the last one has left.
    fn hold(&self) -> bool {
        let mut members = self.members();
        if members.holders == 0 {
            return false;
        }
        members.holders += 1;
        true
    }

    /// One of them is gone: it may have been the last.
    pub(super) fn leave(&self) {
        self.members().holders -= 1;
        self.changed.notify_one();
    }

    /// Waits until the server has said that it will announce changes of a resource.
    ///
    /// # Errors
    ///
    /// What the client is answered, or what went wrong.
    pub(super) async fn subscribe(
        &self,
        uri: &str,
    ) -> Result<(), Result<RpcError, TransportError>> {
        let generation = {
            let mut members = self.members();
            if !members.uris.contains_key(uri) {
                if self.uris_max <= members.uris.len() {
                    let what = format!("at most {} resources are subscribed to", self.uris_max);
                    return Err(Err(TransportError::new(ErrorKind::Exhausted, what)));
                }
                members.generation += 1;
            }
            *members.uris.entry(uri.into()).or_default() += 1;
            members.generation
        };
        self.changed.notify_one();
        let mut honoured = self.honoured.subscribe();
        let answered = honoured.wait_for(|it| generation <= it.generation);
        let is_honoured = match tokio::time::timeout(ACK_TIMEOUT, answered).await {
            Ok(Ok(honoured)) => Some(honoured.uris.contains(uri)),
            _ => None,
        };
        match is_honoured {
            Some(true) => Ok(()),
            Some(false) => {
                self.unsubscribe(uri);
                let words = "the server announces no changes of this resource";
                let error = RpcError::new(RpcError::RESOURCE_NOT_FOUND, words);
                Err(Ok(error.with_data(&json!({ "uri": uri }))))
            }
            None => {
                self.unsubscribe(uri);
                let what = "it did not say in time what it will announce";
                Err(Err(TransportError::new(ErrorKind::Timeout, what)))
            }
        }
    }

    pub(super) fn unsubscribe(&self, uri: &str) {
        let mut members = self.members();
        let Some(count) = members.uris.get_mut(uri) else { return };
        *count -= 1;
        if *count == 0 {
            members.uris.remove(uri);
            members.generation += 1;
            drop(members);
            self.changed.notify_one();
        }
    }

    fn wanted(&self) -> (u64, Vec<Box<str>>) {
        let members = self.members();
        (members.generation, members.uris.keys().cloned().collect())
    }

    /// Passes on news.
    fn hear(&self, event: &Event) {
        if let Event::Message { message, .. } = event
            && message.kind() == Kind::Notification
        {
            self.talks().iter().for_each(|talk| talk.hear(message));
        }
    }

    fn talks(&self) -> Vec<Arc<Talk>> {
        self.members().talks.iter().filter_map(Weak::upgrade).collect()
    }

    fn answered(&self, generation: u64, uris: BTreeSet<Box<str>>) {
        self.honoured.send_replace(Honoured { generation, uris: Arc::new(uris) });
    }

    /// Opens a stream; the resources that the server will announce changes of.
    async fn open(
        &self,
        generation: u64,
        uris: &[Box<str>],
    ) -> Result<Option<(EventStream, BTreeSet<Box<str>>)>, TransportError> {
        let wanted = json!({
            "toolsListChanged": true,
            "promptsListChanged": true,
            "resourcesListChanged": true,
            "resourceSubscriptions": uris,
        });
        let params = json!({ "_meta": own_meta(), "notifications": wanted });
        let id = Id::from(format!("listen-{generation}").as_str());
        let message = Message::request(&id, modern::LISTEN, &params).map_err(unwritten)?;
        let mut exchange = Exchange::new(message, self.caller.clone());
        exchange.version = Some(VERSION);
        let mut events = match self.wire.send(exchange).await? {
            Reply::Stream(events) => events,
            Reply::Single(answer) if answer.kind() == Kind::Error => return Ok(None),
            Reply::Single(_) | Reply::Accepted => {
                let what = "it ended a stream of news at once";
                return Err(TransportError::new(ErrorKind::Protocol, what));
            }
        };
        loop {
            match events.next().await.transpose()? {
                Some(Event::Message { message, .. })
                    if message.method() == Some(modern::ACKNOWLEDGED) =>
                {
                    let said: Listen<'_> = message.read().unwrap_or_default();
                    let uris = said.notifications.resource_subscriptions.unwrap_or_default();
                    let uris = uris.into_iter().map(|uri| uri.as_ref().into()).collect();
                    return Ok(Some((events, uris)));
                }
                // It knows no such method, and says so in a stream.
                Some(Event::Message { message, .. }) if message.kind() == Kind::Error => {
                    return Ok(None);
                }
                Some(_) => (),
                None => {
                    let what = "it ended a stream of news before it began";
                    return Err(TransportError::new(ErrorKind::Closed, what));
                }
            }
        }
    }

    fn members(&self) -> MutexGuard<'_, Members> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Listens for as long as anybody is there to hear it.
async fn listen(hub: Weak<Hub>, wire: Arc<Wire>) {
    let mut current: Option<(u64, EventStream)> = None;
    let (mut is_lost, mut again) = (false, AGAIN_MIN);
    loop {
        let Some(hub) = hub.upgrade() else { return };
        if hub.members().holders == 0 {
            return;
        }
        if !wire.is_open() {
            return hub.talks().iter().for_each(|talk| talk.lost());
        }
        let (generation, uris) = hub.wanted();
        if current.as_ref().is_none_or(|(of, _)| *of != generation) {
            let opened = tokio::time::timeout(ACK_TIMEOUT, hub.open(generation, &uris)).await;
            match opened {
                // The one before is dropped only now, so that nothing is missed in between.
                Ok(Ok(Some((events, honoured)))) => {
                    let before = current.replace((generation, events));
                    if let Some((_, mut before)) = before {
                        // What it said and nobody has read: that some is heard twice does no harm.
                        while let Some(Some(Ok(event))) = before.next().now_or_never() {
                            hub.hear(&event);
                        }
                    }
                    hub.answered(generation, honoured);
                    if std::mem::take(&mut is_lost) {
                        hub.talks().iter().for_each(|talk| talk.hear_all());
                    }
                }
                // It announces nothing.
                Ok(Ok(None)) => {
                    current = Some((generation, futures::stream::pending().boxed()));
                    hub.answered(generation, BTreeSet::new());
                }
                failed => {
                    if let Ok(Err(error)) = failed {
                        debug!(server = %hub.name, %error, "cannot listen");
                    }
                    is_lost |= current.is_none();
                    drop(hub);
                    tokio::time::sleep(jittered(again)).await;
                    again = (again * 2).min(AGAIN_MAX);
                    continue;
                }
            }
        }
        let Some((_, events)) = &mut current else { continue };
        let changed = hub.changed.notified();
        tokio::select! {
            () = changed => (),
            event = events.next() => match event {
                Some(Ok(Event::Message { message, .. })) if message.kind() == Kind::Notification => {
                    again = AGAIN_MIN;
                    hub.talks().iter().for_each(|talk| talk.hear(&message));
                }
                Some(Ok(Event::Pause { .. })) => (),
                // Its end, well or not: what is said until the next one begins is missed.
                _ => {
                    (current, is_lost) = (None, true);
                    drop(hub);
                    tokio::time::sleep(jittered(again)).await;
                    again = (again * 2).min(AGAIN_MAX);
                    continue;
                }
            },
        }
    }
}

/// Up to a fifth shorter, so that those who were cut off together do not come back together.
fn jittered(pause: Duration) -> Duration {
    let mut random = [0; 1];
    if getrandom::fill(&mut random).is_err() {
        return pause;
    }
    let [byte] = random;
    pause - pause.mul_f64(f64::from(byte) / 255.0 / 5.0)
}
