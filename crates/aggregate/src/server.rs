//! Many servers as one, for any number of sessions.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use arc_swap::ArcSwap;
use catalogue::Catalogue;
use futures::{FutureExt, future::BoxFuture};
use mcp_jsonrpc::{
    Id, Message, ProtocolVersion,
    transport::{
        Caller, ErrorKind, Exchange, Opening, Session, SessionId, Transport, TransportError,
    },
};
use seal::Keyring;
use serde_json::json;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::warn;

use crate::{
    answers,
    member::Member,
    options::Options,
    scope::{Key, Scope},
    session::{Talk, Talking},
    shown::{Missing, Shown},
};

/// How many complaints about servers are remembered, so that each is logged once.
const NOTED_MAX: usize = 1000;

/// Many servers as one.  Clones are the same.
#[derive(Clone, Debug)]
pub struct Aggregate(Arc<Running>);

#[derive(Debug)]
struct Running(Arc<Inner>);

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) shared: Arc<Shared>,
    members: ArcSwap<Members>,
    scopes: Mutex<HashMap<Key, Arc<Scope>>>,
}

type Members = BTreeMap<Arc<str>, Arc<Member>>;

/// What every scope and session needs to know.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) name: Arc<str>,
    options: ArcSwap<Options>,
    /// Whether these say that tools are searched for: looked at with each request.
    searches: AtomicBool,
    keyring: ArcSwap<Keyring>,
    pub(crate) tasks: TaskTracker,
    pub(crate) stop: CancellationToken,
    noted: Mutex<HashSet<Box<str>>>,
    /// What each server lists for somebody, so that what it lists for several is kept once.
    catalogues: Mutex<HashMap<Arc<str>, Vec<Weak<Catalogue>>>>,
    /// How many catalogues there are that are one session's alone.
    own: AtomicUsize,
}

/// One of the catalogues that are one session's alone.
#[derive(Debug)]
pub(crate) struct Place(Arc<Shared>);

/// What an aggregate looks like from outside.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// How many sessions are open.
    pub sessions: usize,
    /// For how many scopes lists are kept.
    pub scopes: usize,
    /// How many sessions are shown something that a server lists to them alone.
    pub deviating: usize,
    /// How many of the servers' entries are kept, each once however many scopes have it.
    pub entries: usize,
    /// The memory that these take, in bytes.
    pub bytes: usize,
    /// What is missing, by server: in at least one scope.
    pub missing: Vec<Missing>,
}

// === impl Aggregate ===

impl Aggregate {
    /// These servers as one called `name`, with cursors that `keyring` seals.  Nothing is opened
    /// yet.
    pub fn new(name: &str, members: Vec<Member>, options: Options, keyring: Keyring) -> Self {
        let shared = Arc::new(Shared {
            name: name.into(),
            searches: AtomicBool::new(options.search),
            options: ArcSwap::from_pointee(options),
            keyring: ArcSwap::from_pointee(keyring),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            noted: Mutex::default(),
            catalogues: Mutex::default(),
            own: AtomicUsize::new(0),
        });
        let members = ArcSwap::from_pointee(by_name(members));
        Self(Arc::new(Running(Arc::new(Inner { shared, members, scopes: Mutex::default() }))))
    }

    /// Its name.
    pub fn name(&self) -> &Arc<str> {
        &self.inner().shared.name
    }

    /// Seals cursors with these keys from now on.
    pub fn keep(&self, keyring: Keyring) {
        self.inner().shared.keyring.store(Arc::new(keyring));
    }

    /// Shows these servers from now on.  Sessions go on; their clients are told which lists have
    /// changed.
    pub fn reconfigure(&self, members: Vec<Member>, options: Options) {
        let inner = self.inner();
        inner.shared.searches.store(options.search, Ordering::Relaxed);
        inner.shared.options.store(Arc::new(options));
        inner.members.store(Arc::new(by_name(members)));
        let scopes: Vec<_> = inner.scopes().values().cloned().collect();
        for scope in scopes {
            scope.reconfigure(inner.members_for(scope.caller()));
        }
    }

    /// What this caller is shown who can be asked nothing, with all that can be had in time.
    ///
    /// # Errors
    /// No session can be opened.
    pub async fn look(&self, caller: &Caller) -> Result<Arc<Shown>, TransportError> {
        let version = ProtocolVersion::LATEST_LEGACY;
        let hello = json!({
            "protocolVersion": version.as_str(),
            "capabilities": {},
            "clientInfo": { "name": "mcp-gateway", "version": env!("CARGO_PKG_VERSION") },
        });
        let hello = Message::request(&Id::from(0), "initialize", &hello);
        let hello = Exchange::new(hello.map_err(answers::unwritten)?, caller.clone());
        let talk = Talk::new(Arc::clone(self.inner()), caller.clone());
        Session::send(&Talking(Arc::clone(&talk)), hello).await?;
        let shown = talk.shown();
        talk.close().await;
        shown.ok_or_else(answers::uninitialized)
    }

    /// What it looks like now.
    pub fn status(&self) -> Status {
        let scopes: Vec<_> = self.inner().scopes().values().cloned().collect();
        let mut status = Status { scopes: scopes.len(), ..Status::default() };
        let mut seen = HashSet::new();
        for scope in scopes {
            scope.add_to(&mut status, &mut seen);
        }
        status.missing.sort_by(|a, b| a.server.cmp(&b.server));
        status.missing.dedup_by(|a, b| a.server == b.server);
        status
    }

    /// Ends what is open with the servers, and waits for that.  Whoever has a session is told by
    /// whoever keeps it.
    pub async fn shut_down(&self) {
        let inner = self.inner();
        let scopes: Vec<_> = inner.scopes().drain().map(|(_, scope)| scope).collect();
        let sessions: Vec<_> = scopes.iter().flat_map(|scope| scope.sessions()).collect();
        futures::future::join_all(sessions.iter().map(|session| session.close())).await;
        inner.shared.stop.cancel();
        inner.shared.tasks.close();
        inner.shared.tasks.wait().await;
    }

    fn inner(&self) -> &Arc<Inner> {
        &(self.0).0
    }
}

impl Transport for Aggregate {
    fn open(&self, opening: Opening) -> BoxFuture<'_, Result<Arc<dyn Session>, TransportError>> {
        async move {
            opening.with_handshake()?;
            let talk = Talk::new(Arc::clone(self.inner()), opening.caller);
            Ok(Arc::new(Talking(talk)) as Arc<dyn Session>)
        }
        .boxed()
    }

    fn find(&self, _: &SessionId, _: &Caller) -> Result<Arc<dyn Session>, TransportError> {
        Err(TransportError::new(ErrorKind::NoSession, "an aggregate gives its sessions no ids"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.shared.stop.cancel();
    }
}

// === impl Inner ===

impl Inner {
    /// The scope that a session belongs to.
    pub(crate) fn scope(self: &Arc<Self>, key: Key, caller: &Caller) -> Arc<Scope> {
        let mut scopes = self.scopes();
        if let Some(scope) = scopes.get(&key) {
            return Arc::clone(scope);
        }
        let max = self.shared.options().scope_max;
        while max <= scopes.len() {
            // Those that somebody uses are as many as there are sessions, whose number is bounded
            // elsewhere.
            let idle = scopes.iter().filter_map(|(key, scope)| Some((scope.idle_since()?, key)));
            let Some(oldest) = idle.min_by_key(|(since, _)| *since).map(|(_, key)| key.clone())
            else {
                break;
            };
            scopes.remove(&oldest);
        }
        let members = self.members_for(caller);
        let scope = Scope::new(&self.shared, caller, key.clone(), members);
        scopes.insert(key, Arc::clone(&scope));
        scope
    }

    /// Forgets a scope that nobody has used for so long, when the time has come.
    pub(crate) fn forget_later(self: &Arc<Self>, scope: &Arc<Scope>) {
        let (inner, scope) = (Arc::downgrade(self), Arc::downgrade(scope));
        let timeout = self.shared.options().scope_idle_timeout;
        self.shared.spawn(async move {
            tokio::time::sleep(timeout).await;
            let (Some(inner), Some(scope)) = (Weak::upgrade(&inner), Weak::upgrade(&scope)) else {
                return;
            };
            let is_over = scope.idle_since().is_some_and(|since| timeout <= since.elapsed());
            let mut scopes = inner.scopes();
            if is_over && scopes.get(scope.key()).is_some_and(|it| Arc::ptr_eq(it, &scope)) {
                scopes.remove(scope.key());
            }
        });
    }

    /// The servers that this caller may use.
    fn members_for(&self, caller: &Caller) -> Vec<Arc<Member>> {
        let members = self.members.load();
        members.values().filter(|it| it.shapes_for(caller).is_some()).cloned().collect()
    }

    fn scopes(&self) -> MutexGuard<'_, HashMap<Key, Arc<Scope>>> {
        self.scopes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Shared ===

impl Shared {
    pub(crate) fn options(&self) -> Arc<Options> {
        self.options.load_full()
    }

    /// Whether three tools that search are shown in the place of all.
    pub(crate) fn searches(&self) -> bool {
        self.searches.load(Ordering::Relaxed)
    }

    pub(crate) fn keyring(&self) -> Arc<Keyring> {
        self.keyring.load_full()
    }

    /// Does this until it is done, or nothing more is to be done.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            stop.run_until_cancelled_owned(task).await;
        });
    }

    /// The same catalogue as somebody else has it of this server, if somebody does.
    pub(crate) fn once(&self, server: &Arc<str>, new: Catalogue) -> Arc<Catalogue> {
        let mut all = self.catalogues.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, known| {
            known.retain(|it| it.strong_count() > 0);
            !known.is_empty()
        });
        let known = all.entry(Arc::clone(server)).or_default();
        if let Some(same) = known.iter().filter_map(Weak::upgrade).find(|it| it.is_like(&new)) {
            return same;
        }
        let new = Arc::new(new);
        known.push(Arc::downgrade(&new));
        new
    }

    /// A place for a catalogue that is one session's alone; none if there are as many as may be.
    pub(crate) fn place(self: &Arc<Self>) -> Option<Place> {
        let max = self.options().own_max;
        let more = |count: usize| (count < max).then_some(count + 1);
        self.own.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).ok()?;
        Some(Place(Arc::clone(self)))
    }

    /// Logs a complaint about a server, the first time that there is reason to.
    pub(crate) fn note(&self, server: &str, words: &str) {
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        if noted.len() < NOTED_MAX && noted.insert(format!("{server}\0{words}").into()) {
            drop(noted);
            warn!(aggregate = %self.name, server, "{words}");
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.own.fetch_sub(1, Ordering::AcqRel);
    }
}

fn by_name(members: Vec<Member>) -> Members {
    members.into_iter().map(|it| (Arc::clone(&it.name), Arc::new(it))).collect()
}

#[cfg(test)]
mod tests {
    use seal::Clock;

    use super::*;
    use crate::About;

    #[test]
    fn so_many_complaints_are_remembered() {
        let about = About { name: "all".to_owned(), version: "1".to_owned() };
        let keyring = Keyring::fresh(Clock::system()).unwrap();
        let all = Aggregate::new("all", Vec::new(), Options::new(about), keyring);
        let shared = &all.inner().shared;
        let count = || shared.noted.lock().unwrap().len();
        for _ in 0..2 {
            for at in 0..10 {
                shared.note("a", &format!("{at}"));
            }
        }
        assert_eq!(count(), 10, "each once");
        for at in 0..2 * NOTED_MAX {
            shared.note("b", &format!("{at}"));
        }
        assert_eq!(count(), NOTED_MAX);
    }
}
