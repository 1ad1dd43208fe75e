//! A server of either era, for the router: which era it is of, and what a session with one that
//! keeps none is made of.
//!
//! The era is found out once, by `server/discover`, and remembered (2026-07-28, versioning:
//! backward compatibility); what is no evidence decides nothing.  Whoever opens a session with a
//! handshake gets the server's own where it has one, with nothing in between; else one that is made
//! here.  Whoever opens one without gets the server's, or is told that it has none.

mod asking;
mod greeting;
mod hub;
mod made;
mod task;
mod verdict;
mod watched;

use std::{
    collections::HashSet,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use futures::{FutureExt, future::BoxFuture};
use mcp_jsonrpc::{
    Era, Id, Message, ProtocolVersion, modern,
    transport::{
        Caller, ErrorKind, Exchange, InboxMax, Opening, Session, SessionId, Transport,
        TransportError,
    },
};
use serde_json::json;
use tokio::{sync::watch, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{info, warn};

use self::{
    greeting::Greeted,
    hub::Hubs,
    made::Made,
    verdict::{Judged, judge},
    watched::{Held, Watched, Wire},
};

const VERSION: ProtocolVersion = ProtocolVersion::V2026_07_28;

/// For how long a session that was opened to find out the era waits for somebody to use it.
const SPARE_TIMEOUT: Duration = Duration::from_secs(60);

/// How a [`Behind`] behaves, and how much it takes.
#[derive(Clone, Debug)]
pub struct BehindOptions {
    /// The era the server is known to be of; none: it is found out.
    pub pin: Option<Era>,
    /// Whether the server is a child process: then one that is silent or gone when it is asked
    /// for its era has a handshake.
    pub is_child: bool,
    /// How long it may take to say of which era it is: 5 s.
    pub probe_timeout: Duration,
    /// The longest that a server that says nothing of a handshake may take to answer one: 20 s.
    /// It is less where the server was quick to say of which era it is.
    pub greeting_timeout: Duration,
    /// How often one request may be answered with questions: 10 times.
    pub rounds_max: u32,
    /// How long a client may take to answer them, each time: 10 minutes.
    pub answer_timeout: Duration,
    /// How many resources the sessions of one caller may be subscribed to: 10,000.
    pub subscriptions_max: usize,
    /// What `roots/list` is answered with where no client can be asked: URIs.
    pub roots: Arc<[Box<str>]>,
    /// How much may wait for the listener of a session.
    pub inbox: InboxMax,
}

impl Default for BehindOptions {
    fn default() -> Self {
        Self {
            pin: None,
            is_child: false,
            probe_timeout: Duration::from_secs(5),
            greeting_timeout: Duration::from_secs(20),
            rounds_max: 10,
            answer_timeout: Duration::from_secs(600),
            subscriptions_max: 10_000,
            roots: Arc::from([]),
            inbox: InboxMax::default(),
        }
    }
}

/// A server of either era.
pub struct Behind(Arc<Inner>);

struct Inner {
    transport: Arc<dyn Transport>,
    name: Arc<str>,
    options: BehindOptions,
    state: Mutex<State>,
    /// Held while the era is being found out.
    probing: tokio::sync::Mutex<()>,
    hubs: Hubs,
    /// Tools that the server runs in the background alone.
    task_tools: Mutex<HashSet<Box<str>>>,
    tasks: TaskTracker,
    stop: CancellationToken,
    me: Weak<Self>,
}

#[derive(Default)]
struct State {
    verdict: Option<Verdict>,
    /// How long it took to answer a discovery, from its start on.
    took: Duration,
    /// Whether a handshake was tried with a server that names none.
    greeted: Greeted,
    /// Says when that is known, while it is being found out.
    greeting: Option<watch::Receiver<bool>>,
    /// The way to a server that keeps no sessions: one for everybody, for as long as anybody has it.
    wire: Weak<Wire>,
    /// What was opened to ask for the era, and can be used by who has a handshake.
    spare: Option<(Arc<dyn Session>, Instant)>,
}

/// What a server turned out to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// Revisions with a handshake.
    Legacy,
    /// One without.
    Modern,
    /// Both: each of its processes one of them, where it is a child.
    Both,
}

/// What there is for who opens a session.
enum Found {
    /// One with a handshake: that in which the server was asked, where it can be gone on with.
    Legacy(Option<Arc<dyn Session>>),
    /// One without.
    Modern(Held),
}

// === impl Behind ===

impl Behind {
    /// A server called `name`, reached by `transport`.  Nothing is opened yet.
    pub fn new(transport: Arc<dyn Transport>, name: &str, options: BehindOptions) -> Self {
        Self(Arc::new_cyclic(|me| Inner {
            transport,
            name: Arc::from(name),
            options,
            state: Mutex::default(),
            probing: tokio::sync::Mutex::default(),
            hubs: Hubs::default(),
            task_tools: Mutex::default(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            me: Weak::clone(me),
        }))
    }

    /// The era of the server, where that is known.
    pub fn era(&self) -> Option<Era> {
        self.0.verdict().map(|verdict| match verdict {
            Verdict::Legacy => Era::Legacy,
            Verdict::Modern | Verdict::Both => Era::Modern,
        })
    }

    /// What the server speaks, in words, where that is known.
    pub fn speaks(&self) -> Option<&'static str> {
        self.0.verdict().map(Verdict::speaks)
    }

    /// Ends what nobody has taken, and waits for that.  The sessions that were opened are for those
    /// who opened them to close.
    pub async fn shut_down(&self) {
        self.0.stop.cancel();
        let spare = self.0.state().spare.take();
        if let Some((spare, _)) = spare {
            spare.close().await;
        }
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }
}

impl Transport for Behind {
    fn open(&self, opening: Opening) -> BoxFuture<'_, Result<Arc<dyn Session>, TransportError>> {
        async move {
            let inner = &self.0;
            let is_modern = opening.version.is_some_and(|version| version.era() == Era::Modern);
            match (inner.find_out(&opening.caller, is_modern).await?, is_modern) {
                (Found::Modern(wire), true) => Ok(Arc::new(wire) as Arc<dyn Session>),
                (Found::Modern(wire), false) => {
                    Ok(Arc::new(Made::new(inner, wire, opening.caller)) as Arc<dyn Session>)
                }
                (Found::Legacy(None), false) => {
                    let session = inner.transport.open(opening).await?;
                    Ok(Arc::new(Watched::new(session, None, inner)) as Arc<dyn Session>)
                }
                (Found::Legacy(Some(session)), false) => {
                    let watched = Watched::new(session, Some(opening), inner);
                    Ok(Arc::new(watched) as Arc<dyn Session>)
                }
                (Found::Legacy(asked), true) => {
                    if let Some(asked) = asked {
                        inner.set_aside(asked).await;
                    }
                    let what = "it speaks revisions with a handshake alone";
                    Err(TransportError::new(ErrorKind::Unsupported, what).of(&inner.name))
                }
            }
        }
        .boxed()
    }

    fn find(&self, id: &SessionId, caller: &Caller) -> Result<Arc<dyn Session>, TransportError> {
        self.0.transport.find(id, caller)
    }

    fn is_light(&self) -> bool {
        self.0.verdict() == Some(Verdict::Modern) && !self.0.is_to_be_greeted()
    }

    fn settle<'a>(&'a self, caller: &'a Caller) -> BoxFuture<'a, ()> {
        async move {
            if self.0.is_to_be_greeted() {
                self.0.greet(caller).await;
            }
        }
        .boxed()
    }
}

impl fmt::Debug for Behind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Behind")
            .field("server", &self.0.name)
            .field("era", &self.era())
            .field("transport", &self.0.transport)
            .finish_non_exhaustive()
    }
}

impl Drop for Behind {
    fn drop(&mut self) {
        self.0.stop.cancel();
    }
}

// === impl Verdict ===

impl Verdict {
    fn speaks(self) -> &'static str {
        match self {
            Self::Modern => "2026-07-28",
            Self::Legacy => "revisions with a handshake",
            Self::Both => "2026-07-28, and revisions with a handshake",
        }
    }
}

// === impl Inner ===

impl Inner {
    /// What the server has for who opens a session, whether it says so or not.
    async fn find_out(&self, caller: &Caller, modern: bool) -> Result<Found, TransportError> {
        let wire = match self.say(caller, modern).await? {
            Found::Modern(wire) if !modern && self.is_to_be_greeted() => wire,
            found => return Ok(found),
        };
        self.greet(caller).await;
        if self.verdict() == Some(Verdict::Modern) && wire.is_open() {
            return Ok(Found::Modern(wire));
        }
        // It may have been opened for this one alone.
        self.tasks.spawn(async move { wire.close().await });
        self.say(caller, modern).await
    }

    /// What the server says that it has: as it is known, or as it says now.
    async fn say(&self, caller: &Caller, modern: bool) -> Result<Found, TransportError> {
        if let Some(found) = self.known(modern) {
            return Ok(found);
        }
        let _probing = self.probing.lock().await;
        match self.known(modern) {
            Some(found) => Ok(found),
            None => self.probe(caller, modern).await,
        }
    }

    fn verdict(&self) -> Option<Verdict> {
        match self.options.pin {
            Some(Era::Legacy) => Some(Verdict::Legacy),
            Some(Era::Modern) => Some(Verdict::Modern),
            None => self.state().verdict,
        }
    }

    /// What is known; none where the server has to be asked.
    fn known(&self, modern: bool) -> Option<Found> {
        let verdict = self.verdict()?;
        let mut state = self.state();
        if verdict == Verdict::Legacy || verdict == Verdict::Both && !modern {
            let spare = state.spare.take();
            let usable = |(session, since): (Arc<dyn Session>, Instant)| {
                (since.elapsed() < SPARE_TIMEOUT && session.is_open()).then_some(session)
            };
            return Some(Found::Legacy(spare.and_then(usable)));
        }
        let wire = state.wire.upgrade().filter(|wire| wire.is_open());
        wire.and_then(|wire| wire.hold()).map(Found::Modern)
    }

    /// Asks the server.
    async fn probe(&self, caller: &Caller, modern: bool) -> Result<Found, TransportError> {
        let opening = Opening { caller: caller.clone(), version: Some(VERSION), at: Arc::from("") };
        let began = Instant::now();
        let session = match self.transport.open(opening).await {
            Ok(session) => session,
            Err(error) if *error.kind() == ErrorKind::Unsupported => {
                return self.decide_legacy(None);
            }
            Err(error) => return Err(error),
        };
        let asked = watched::ask(&*session, discover(caller)?);
        let said = tokio::time::timeout(self.options.probe_timeout, asked).await;
        let has_ended = !session.is_open();
        match judge(said, self.options.is_child, has_ended) {
            Judged::Modern(discovered) => {
                self.state().took = began.elapsed();
                let has_both = self.options.pin.is_none() && verdict::has_handshake(&discovered);
                self.decide(if has_both { Verdict::Both } else { Verdict::Modern });
                if has_both && !modern {
                    // Asked, and having answered, it speaks 2026-07-28 from now on: the SDK for
                    // Python refuses a handshake after that.
                    self.tasks.spawn(async move { session.close().await });
                    return Ok(Found::Legacy(None));
                }
                let wire = Wire::begin(session, discovered, self);
                self.state().wire = wire.downgrade();
                Ok(Found::Modern(wire))
            }
            Judged::Legacy => {
                self.decide_legacy(Some(session).filter(|_| self.options.is_child && !has_ended))
            }
            Judged::Unknown(error) => {
                session.close().await;
                Err(error.of(&self.name))
            }
        }
    }

    fn decide_legacy(&self, asked: Option<Arc<dyn Session>>) -> Result<Found, TransportError> {
        if self.options.pin == Some(Era::Modern) {
            let what = "it does not speak 2026-07-28, to which `protocol` pins it";
            let error = TransportError::new(ErrorKind::Unavailable { retry_after: None }, what);
            return Err(error.of(&self.name).hint("remove `protocol`, or name another revision"));
        }
        self.decide(Verdict::Legacy);
        Ok(Found::Legacy(asked))
    }

    fn decide(&self, verdict: Verdict) {
        let before = self.state().verdict.replace(verdict);
        if before != Some(verdict) {
            info!(server = %self.name, speaks = verdict.speaks(), "its era is known");
        }
    }

    /// What was known is not so any more: it is asked again.
    fn forget(&self, era: Era, why: &str) {
        let mut state = self.state();
        if self.options.pin.is_some() {
            return;
        }
        state.verdict = match (state.verdict, era) {
            (Some(Verdict::Legacy), Era::Legacy) => None,
            (Some(Verdict::Modern | Verdict::Both), Era::Modern) => None,
            // It does not have what it says that it has.
            (Some(Verdict::Both), Era::Legacy) => Some(Verdict::Modern),
            _ => return,
        };
        if state.verdict.is_none() {
            state.greeted = Greeted::NotYet;
        }
        drop(state);
        warn!(server = %self.name, why, "it seems to be of another era now: it is asked again");
    }

    /// Keeps a session for whoever comes with a handshake, for a while.
    async fn set_aside(&self, session: Arc<dyn Session>) {
        let now = Instant::now();
        let old = {
            let mut state = self.state();
            // Looked at in here: what is put in before it stops is taken out after that.
            match self.stop.is_cancelled() {
                true => Some((session, now)),
                false => state.spare.replace((session, now)),
            }
        };
        if let Some((old, _)) = old {
            old.close().await;
        }
        let (home, stop) = (Weak::clone(&self.me), self.stop.clone());
        self.tasks.spawn(stop.run_until_cancelled_owned(async move {
            tokio::time::sleep(SPARE_TIMEOUT).await;
            let Some(home) = home.upgrade() else { return };
            let over = home.state().spare.take_if(|(_, since)| *since == now);
            if let Some((over, _)) = over {
                over.close().await;
            }
        }));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the gateway asks in its own name.
fn discover(caller: &Caller) -> Result<Exchange, TransportError> {
    let params = json!({ "_meta": own_meta() });
    let message = Message::request(&Id::from("discover"), modern::DISCOVER, &params);
    let message = message.map_err(unwritten)?;
    let mut exchange = Exchange::new(message, caller.clone());
    exchange.version = Some(VERSION);
    Ok(exchange)
}

/// What requests of the gateway's own say about it.
fn own_meta() -> serde_json::Value {
    json!({
        modern::PROTOCOL_VERSION: VERSION.as_str(),
        modern::CLIENT_CAPABILITIES: {},
        modern::CLIENT_INFO: { "name": "mcp-gateway", "version": env!("CARGO_PKG_VERSION") },
    })
}

fn unwritten(error: mcp_jsonrpc::ParseError) -> TransportError {
    TransportError::new(ErrorKind::Protocol, "a message could not be written").because(error)
}

#[cfg(test)]
mod tests;
