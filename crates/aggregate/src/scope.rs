//! What is shown to sessions of one caller, one revision and one set of client capabilities.
//!
//! Servers may list other things for others, so lists are shared within a scope and no further.
//! What a server lists is asked for once, over the link of one of the scope's sessions, which
//! also hears when it changes; where that session ends, another one takes its place.

mod news;
mod own;
mod refill;
mod shelf;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use arc_swap::ArcSwap;
use catalogue::{Member as Offered, View};
use futures::future::join_all;
use mcp_jsonrpc::{ProtocolVersion, transport::Caller};
use tokio::{sync::watch, time::Instant};

pub(crate) use self::shelf::is_expired;
use self::{own::Deviation, shelf::Shelf};
use crate::{
    link::Link,
    member::Member,
    options::Stale,
    server::{Shared, Status},
    session::{Catalogues, Talk},
    shown::{Missing, Shown},
};

/// Whose lists may be shared.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    caller: Caller,
    version: ProtocolVersion,
    /// As the client writes them.
    capabilities: Box<str>,
}

/// What is shown to sessions that may share it.
#[derive(Debug)]
pub(crate) struct Scope {
    shared: Arc<Shared>,
    key: Key,
    /// What its cursors are bound to.
    bound: Box<[u8]>,
    state: Mutex<State>,
    shown: ArcSwap<Shown>,
    me: Weak<Self>,
}

#[derive(Debug)]
struct State {
    shelves: BTreeMap<Arc<str>, Shelf>,
    sessions: Vec<Weak<Talk>>,
    /// What sessions are shown to whom a server lists something alone.
    deviations: HashMap<Deviation, Weak<Shown>>,
    idle_since: Option<Instant>,
    /// What is shown has to be made anew.
    is_dirty: bool,
    /// Somebody is about to announce what has changed.
    announcing: bool,
    announced_at: Option<Instant>,
}

// === impl Key ===

impl Key {
    pub(crate) fn new(caller: &Caller, version: ProtocolVersion, capabilities: Box<str>) -> Self {
        Self { caller: caller.clone(), version, capabilities }
    }
}

// === impl Scope ===

impl Scope {
    pub(crate) fn new(
        shared: &Arc<Shared>,
        caller: &Caller,
        key: Key,
        members: Vec<Arc<Member>>,
    ) -> Arc<Self> {
        let shelves = members.into_iter().map(|it| (Arc::clone(&it.name), Shelf::new(it)));
        let state = State {
            shelves: shelves.collect(),
            sessions: Vec::new(),
            deviations: HashMap::new(),
            idle_since: Some(Instant::now()),
            is_dirty: true,
            announcing: false,
            announced_at: None,
        };
        let shown = Shown::new(View::empty(), Vec::new(), &[]);
        Arc::new_cyclic(|me| Self {
            shared: Arc::clone(shared),
            bound: bound(&shared.name, caller),
            key,
            state: Mutex::new(state),
            shown: ArcSwap::from_pointee(shown),
            me: Weak::clone(me),
        })
    }

    pub(crate) fn key(&self) -> &Key {
        &self.key
    }

    pub(crate) fn caller(&self) -> &Caller {
        &self.key.caller
    }

    /// What its cursors are bound to: whoever may use one may use those of all of a caller's scopes.
    pub(crate) fn bound(&self) -> &[u8] {
        &self.bound
    }

    /// Since when no session uses it.
    pub(crate) fn idle_since(&self) -> Option<Instant> {
        self.state().idle_since
    }

    /// The sessions that use it.
    pub(crate) fn sessions(&self) -> Vec<Arc<Talk>> {
        self.state().sessions()
    }

    /// A server, as it is configured now.
    pub(crate) fn member(&self, name: &str) -> Option<Arc<Member>> {
        self.state().shelves.get(name).map(|shelf| Arc::clone(&shelf.member))
    }

    pub(crate) fn attach(&self, session: &Arc<Talk>) {
        let mut state = self.state();
        state.sessions.retain(|it| it.strong_count() > 0);
        state.sessions.push(Arc::downgrade(session));
        // Here is somebody who can be asked what is listed to all.
        state.shelves.values_mut().for_each(|it| it.is_stale |= it.is_unproven);
        if state.idle_since.take().is_some() {
            // Nobody has heard anything of them since.
            state.shelves.values_mut().for_each(Shelf::doubt);
            state.is_dirty = true;
        }
    }

    /// A session leaves.  What it alone has watched is watched by another from now on.
    pub(crate) fn detach(&self, session: &Arc<Talk>) {
        let unwatched = {
            let mut state = self.state();
            state.sessions.retain(|it| it.upgrade().is_some_and(|it| !Arc::ptr_eq(&it, session)));
            if state.sessions.is_empty() {
                state.idle_since = Some(Instant::now());
                return;
            }
            state.unwatched()
        };
        self.refill(unwatched);
    }

    /// A link has ended: whatever it would have told of is asked for.
    pub(crate) fn ended(&self, link: &Arc<Link>) {
        let unwatched = {
            let state = self.state();
            let shelf = state.shelves.get(&link.member.name);
            shelf.is_some_and(|it| it.is_watched_by(link) && it.catalogue.is_some())
        };
        if unwatched {
            self.refill([Arc::clone(&link.member.name)]);
        }
    }

    /// A server says that what it lists has changed.
    pub(crate) fn changed(&self, session: &Arc<Talk>, link: &Arc<Link>) {
        link.note_change();
        let (name, now, has_own) =
            (&link.member.name, Instant::now(), session.has_own(&link.member.name));
        let pause = {
            let mut state = self.state();
            let Some(shelf) = state.shelves.get_mut(name) else { return };
            let is_for_all = !has_own && (shelf.is_watched_by(link) || !shelf.is_watched());
            is_for_all.then(|| {
                shelf.is_stale = true;
                shelf.heard = Some(now);
                let since = shelf.asked.map(|it| it.elapsed());
                since.map_or(Duration::ZERO, |it| self.shared.options().debounce.saturating_sub(it))
            })
        };
        match pause {
            Some(pause) => drop(self.start(name, Some(session), pause)),
            None => drop(self.check(session, link, Some(now))),
        }
    }

    /// A server did not answer a request: is it still there?
    pub(crate) fn suspect(&self, name: &Arc<str>) {
        let is_due = {
            let mut state = self.state();
            let debounce = self.shared.options().debounce;
            state.shelves.get_mut(name).is_some_and(|shelf| {
                let is_due = shelf.asked.is_none_or(|asked| debounce <= asked.elapsed());
                shelf.is_stale |= is_due && shelf.absence.is_none();
                is_due && shelf.absence.is_none()
            })
        };
        if is_due {
            self.start(name, None, Duration::ZERO);
        }
    }

    /// Waits until everything is known that can be known in time.
    pub(crate) async fn ready(&self, session: &Arc<Talk>) {
        let options = self.shared.options();
        let needed: Vec<_> = {
            let now = Instant::now();
            let state = self.state();
            let needed = state.shelves.iter().filter(|(_, it)| it.is_needed(now, &options));
            // What is listed to it alone is not what is listed to all.
            let needed = needed.filter(|(name, _)| !session.has_own(name));
            // One that has been waited for is not waited for again by every list.
            let is_awaited = |it: &Shelf| match it.catalogue {
                None => !it.is_late,
                Some(_) => !it.is_late && options.stale == Stale::Wait,
            };
            needed.map(|(name, it)| (Arc::clone(name), is_awaited(it))).collect()
        };
        for link in session.outdated(Instant::now(), &options) {
            drop(self.check(session, &link, None));
        }
        let checks = session.checks();
        if needed.is_empty() && checks.is_empty() {
            return;
        }
        let mut waits = Vec::new();
        for (name, is_awaited) in needed {
            let filled = self.start(&name, Some(session), Duration::ZERO);
            if is_awaited {
                waits.extend(filled.map(|it| (name, it)));
            }
        }
        let deadline = Instant::now() + options.member_timeout;
        let waiting = waits.into_iter().map(async |(name, mut filled)| {
            let done = filled.wait_for(|done| *done);
            if tokio::time::timeout_at(deadline, done).await.is_err() {
                self.note_late(&name);
            }
        });
        let checking = checks.into_iter().map(async |mut checked| {
            // Too late is as good as nothing new.
            drop(tokio::time::timeout_at(deadline, checked.wait_for(|done| *done)).await);
        });
        futures::future::join(join_all(waiting), join_all(checking)).await;
    }

    /// Looks again at what may have come since: whether anything may have.
    pub(crate) async fn look_again(&self, session: &Arc<Talk>) -> bool {
        let options = self.shared.options();
        let outdated: Vec<_> = {
            let now = Instant::now();
            let mut state = self.state();
            let outdated =
                state.shelves.iter_mut().filter(|(_, it)| it.may_have_more(now, &options));
            outdated
                .map(|(name, it)| {
                    it.is_stale = true;
                    Arc::clone(name)
                })
                .collect()
        };
        if outdated.is_empty() {
            return false;
        }
        let deadline = Instant::now() + options.member_timeout;
        let looks = outdated.iter().filter_map(|name| self.look_for(session, name));
        let looks: Vec<watch::Receiver<bool>> = looks.collect();
        join_all(looks.into_iter().map(async |mut filled| {
            // Too late is as good as nothing new.
            drop(tokio::time::timeout_at(deadline, filled.wait_for(|done| *done)).await);
        }))
        .await;
        true
    }

    /// Asks a server again: in this session, where another one listens for all.
    fn look_for(&self, session: &Arc<Talk>, name: &Arc<str>) -> Option<watch::Receiver<bool>> {
        let own = session.linked(name).filter(|link| {
            let state = self.state();
            state.shelves.get(name).is_some_and(|it| it.is_watched() && !it.is_watched_by(link))
        });
        match own {
            Some(link) => self.check(session, &link, None),
            None => self.start(name, Some(session), Duration::ZERO),
        }
    }

    /// What all are shown, as it was made the last time.
    pub(crate) fn now(&self) -> Arc<Shown> {
        self.shown.load_full()
    }

    /// What all are shown, with all that is known.
    pub(crate) fn shown(&self) -> Arc<Shown> {
        let mut state = self.state();
        if std::mem::take(&mut state.is_dirty) {
            state.deviations.clear();
            self.shown.store(Arc::new(self.made(&state, &Catalogues::new())));
        }
        self.now()
    }

    /// What is shown to whom servers list these things alone.
    fn made(&self, state: &State, own: &Catalogues) -> Shown {
        let (mut members, mut missing, mut refused) = (Vec::new(), Vec::new(), Vec::new());
        for (name, shelf) in &state.shelves {
            let alone = own.get(name);
            if let (None, Some(reason)) = (alone, shelf.reason()) {
                missing.push(Missing { server: Arc::clone(name), reason });
            }
            let words = shelf.refused.iter();
            refused.extend(words.map(|it| (Arc::clone(name), it.clone())));
            let Some(catalogue) = alone.or(shelf.catalogue.as_ref()) else { continue };
            members.push(Offered {
                server: Arc::clone(name),
                alias: Arc::clone(&shelf.member.alias),
                prefix: shelf.member.prefix,
                catalogue: Arc::clone(catalogue),
                // Whoever may not use it any more is shown nothing of it.
                shapes: shelf.member.shapes_for(&self.key.caller).unwrap_or_default(),
                is_there: alone.is_some() || shelf.absence.is_none(),
            });
        }
        let view = View::new(members, self.shared.options().view.clone());
        // No two shelves have one name.
        let view = view.unwrap_or_else(|_| View::empty());
        for (server, misfit) in view.misfits() {
            self.shared.note(server, &misfit.to_string());
        }
        for (server, shortfall) in view.shortfalls() {
            self.shared.note(server, &shortfall.to_string());
        }
        Shown::new(view, missing, &refused)
    }

    /// Shows these servers from now on.
    pub(crate) fn reconfigure(&self, members: Vec<Arc<Member>>) {
        let sessions = {
            let mut state = self.state();
            let mut old = std::mem::take(&mut state.shelves);
            for member in members {
                let name = Arc::clone(&member.name);
                let shelf = match old.remove(&name) {
                    Some(shelf) => shelf.reconfigured(member),
                    None => Shelf::new(member),
                };
                state.shelves.insert(name, shelf);
            }
            state.is_dirty = true;
            state.sessions()
        };
        for session in &sessions {
            session.let_go(|was| self.member(&was.name).is_some_and(|it| it.is_reached_like(was)));
        }
        if !sessions.is_empty() {
            let new = self.state().unwatched();
            self.refill(new);
            self.announce();
        }
    }

    /// Counts itself in.
    pub(crate) fn add_to(&self, status: &mut Status, seen: &mut HashSet<usize>) {
        let state = self.state();
        let sessions = state.sessions();
        status.sessions += sessions.len();
        let mut count = |catalogue: &Arc<catalogue::Catalogue>| {
            if seen.insert(Arc::as_ptr(catalogue) as usize) {
                let lists = catalogue::List::ALL.into_iter();
                status.entries += lists.map(|it| catalogue.list(it).len()).sum::<usize>();
                status.bytes += catalogue.size();
            }
        };
        for (name, shelf) in &state.shelves {
            if let Some(reason) = shelf.reason() {
                status.missing.push(Missing { server: Arc::clone(name), reason });
            }
            shelf.catalogue.iter().for_each(&mut count);
        }
        for own in Self::deviating(&sessions) {
            status.deviating += 1;
            own.values().for_each(&mut count);
        }
        let views = state.deviations.values().filter_map(Weak::upgrade);
        status.bytes += views.map(|it| it.view().size()).sum::<usize>();
        status.bytes += self.now().view().size();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn sessions(&self) -> Vec<Arc<Talk>> {
        self.sessions.iter().filter_map(Weak::upgrade).filter(|it| !it.is_over()).collect()
    }

    /// The servers of which nobody would hear that anything has changed.
    fn unwatched(&self) -> Vec<Arc<str>> {
        let unwatched =
            self.shelves.iter().filter(|(_, it)| it.absence.is_none() && !it.is_watched());
        unwatched.map(|(name, _)| Arc::clone(name)).collect()
    }
}

/// Names and who is called so, apart from each other.
fn bound(name: &str, caller: &Caller) -> Box<[u8]> {
    let mut bound = name.as_bytes().to_vec();
    if let Some(subject) = &caller.subject {
        bound.push(0);
        bound.extend_from_slice(subject.as_bytes());
    }
    bound.into()
}
