//! News of a server that keeps no sessions: one `subscriptions/listen` for all sessions of a
//! caller that says when lists change, and one for whatever resources any of them is subscribed to.
//!
//! They are two, since what a stream is for cannot be changed: another is opened for it, and the
//! old one dropped when that has begun.  In between both say the same, so with one for all every
//! subscription could have had changes of lists announced twice.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use futures::{FutureExt, StreamExt};
use mcp_jsonrpc::{
    Id, Kind, Message, RpcError,
    modern::{self, Listen},
    params::Resource,
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

/// What a stream is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    Lists,
    Resources,
}

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
    /// Somebody wants to hear of other resources.
    changed: Notify,
    /// The last one has left.
    over: Notify,
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
            over: Notify::new(),
            honoured: watch::Sender::default(),
        });
        hubs.insert(caller.subject.clone(), Arc::downgrade(&hub));
        for of in [Of::Lists, Of::Resources] {
            let listening = listen(Arc::downgrade(&hub), Arc::clone(wire), of);
            home.tasks.spawn(home.stop.clone().run_until_cancelled_owned(listening));
        }
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
        self.over.notify_one();
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

    fn wanted(&self, of: Of) -> (u64, Vec<Box<str>>) {
        let members = self.members();
        match of {
            Of::Lists => (0, Vec::new()),
            Of::Resources => (members.generation, members.uris.keys().cloned().collect()),
        }
    }

    /// Waits until a stream may be for other things, or nobody is there.
    async fn is_changed(&self, of: Of) {
        match of {
            Of::Lists => self.over.notified().await,
            Of::Resources => self.changed.notified().await,
        }
    }

    /// Passes on news, if they are of what the stream is for: a server may say all on each.
    fn hear(&self, of: Of, message: &Message) {
        if is_of(of, message) {
            self.talks().iter().for_each(|talk| talk.hear(message));
        }
    }

    /// Passes on what the stream before this one has said and nobody has read, and what this one
    /// has said since, but of each resource once: whoever is told now sees all of it.
    fn hear_both(&self, of: Of, before: &mut EventStream, now: &mut EventStream) {
        let mut told = BTreeSet::new();
        for events in [before, now] {
            while let Some(Some(Ok(event))) = events.next().now_or_never() {
                let Event::Message { message, .. } = event else { continue };
                let uri = message.read::<Resource<'_>>().map(|it| it.uri.into_owned());
                if uri.map_or(true, |uri| told.insert(uri)) {
                    self.hear(of, &message);
                }
            }
        }
    }

    /// Tells everything that may have been missed.
    fn missed(&self, of: Of) {
        for talk in self.talks() {
            match of {
                Of::Lists => talk.missed_lists(),
                Of::Resources => talk.missed_resources(),
            }
        }
    }

    fn talks(&self) -> Vec<Arc<Talk>> {
        self.members().talks.iter().filter_map(Weak::upgrade).collect()
    }

    fn answered(&self, of: Of, generation: u64, uris: BTreeSet<Box<str>>) {
        if of == Of::Lists {
            return;
        }
        self.honoured.send_replace(Honoured { generation, uris: Arc::new(uris) });
    }

    /// Opens a stream; the resources that the server will announce changes of.
    async fn open(
        &self,
        of: Of,
        (generation, uris): (u64, &[Box<str>]),
    ) -> Result<Option<(EventStream, BTreeSet<Box<str>>)>, TransportError> {
        let (wanted, id) = match of {
            Of::Lists => {
                let all = json!({
                    "toolsListChanged": true,
                    "promptsListChanged": true,
                    "resourcesListChanged": true,
                });
                (all, Id::from("listen"))
            }
            Of::Resources => {
                let id = Id::from(format!("listen-{generation}").as_str());
                (json!({ "resourceSubscriptions": uris }), id)
            }
        };
        let params = json!({ "_meta": own_meta(), "notifications": wanted });
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

/// Whether it is news of what a stream is for.
fn is_of(of: Of, message: &Message) -> bool {
    let is_updated = message.method() == Some("notifications/resources/updated");
    message.kind() == Kind::Notification && is_updated == (of == Of::Resources)
}

/// A stream of news, from one that is opened to the next.
struct Strand {
    of: Of,
    current: Option<(u64, EventStream)>,
    /// Something may have been said that nobody was there to hear.
    is_lost: bool,
    again: Duration,
}

impl Strand {
    /// Sees to it that the stream there is is for what is wanted; false if there is none yet.
    async fn renew(&mut self, hub: &Hub, generation: u64, uris: &[Box<str>]) -> bool {
        if self.current.as_ref().is_some_and(|(of, _)| *of == generation) {
            return true;
        }
        let opening = hub.open(self.of, (generation, uris));
        match tokio::time::timeout(ACK_TIMEOUT, opening).await {
            // The one before is dropped only now, so that nothing is missed in between.
            Ok(Ok(Some((mut events, honoured)))) => {
                if let Some((_, before)) = &mut self.current {
                    hub.hear_both(self.of, before, &mut events);
                }
                self.current = Some((generation, events));
                hub.answered(self.of, generation, honoured);
                if std::mem::take(&mut self.is_lost) {
                    hub.missed(self.of);
                }
                true
            }
            // It announces nothing.
            Ok(Ok(None)) => {
                self.current = Some((generation, futures::stream::pending().boxed()));
                hub.answered(self.of, generation, BTreeSet::new());
                true
            }
            failed => {
                if let Ok(Err(error)) = failed {
                    debug!(server = %hub.name, %error, "cannot listen");
                }
                self.is_lost |= self.current.is_none();
                false
            }
        }
    }

    /// Waits a while, ever longer.
    async fn pause(&mut self) {
        tokio::time::sleep(jittered(self.again)).await;
        self.again = (self.again * 2).min(AGAIN_MAX);
    }
}

/// Listens for as long as anybody is there to hear it.
async fn listen(hub: Weak<Hub>, wire: Arc<Wire>, of: Of) {
    let mut strand = Strand { of, current: None, is_lost: false, again: AGAIN_MIN };
    loop {
        let Some(hub) = hub.upgrade() else { return };
        if hub.members().holders == 0 {
            return;
        }
        if !wire.is_open() {
            return hub.talks().iter().for_each(|talk| talk.lost());
        }
        let (generation, uris) = hub.wanted(of);
        if of == Of::Resources && uris.is_empty() {
            strand = Strand { of, current: None, is_lost: false, again: AGAIN_MIN };
            hub.answered(of, generation, BTreeSet::new());
            hub.is_changed(of).await;
            continue;
        }
        if !strand.renew(&hub, generation, &uris).await {
            drop(hub);
            strand.pause().await;
            continue;
        }
        let Some((_, events)) = &mut strand.current else { continue };
        tokio::select! {
            () = hub.is_changed(of) => (),
            event = events.next() => match event {
                Some(Ok(Event::Message { message, .. })) if message.kind() == Kind::Notification => {
                    strand.again = AGAIN_MIN;
                    hub.hear(of, &message);
                }
                Some(Ok(Event::Pause { .. })) => (),
                // Its end, well or not: what is said until the next one begins is missed.
                _ => {
                    (strand.current, strand.is_lost) = (None, true);
                    drop(hub);
                    strand.pause().await;
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
