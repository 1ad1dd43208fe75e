//! What servers list to this session alone, and not to all that share its lists.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
};

use arc_swap::ArcSwapOption;
use catalogue::Catalogue;
use tokio::{sync::watch, time::Instant};

use super::Talk;
use crate::{link::Link, options::Options, scope::is_expired, server::Place, shown::Shown};

/// Catalogues by their servers.
pub(crate) type Catalogues = BTreeMap<Arc<str>, Arc<Catalogue>>;

/// What servers list to one session alone.
#[derive(Debug, Default)]
pub(super) struct Own {
    lists: Mutex<BTreeMap<Arc<str>, Listed>>,
    /// What it is shown because of that; none if it is shown what all are.
    shown: ArcSwapOption<Shown>,
    /// Whether there is such a thing: mostly not, and every request looks.
    is_other: AtomicBool,
    /// Servers that are being asked whether they list something else to it.
    checks: Mutex<HashMap<Arc<str>, Check>>,
}

#[derive(Debug)]
struct Listed {
    catalogue: Arc<Catalogue>,
    /// In which session with the server.
    link: Weak<Link>,
    since: Instant,
    /// One of so many that there may be.
    _place: Place,
}

#[derive(Debug)]
struct Check {
    done: watch::Receiver<bool>,
    /// The server has said since that something changed.
    again: bool,
}

impl Talk {
    /// What servers list to it alone.
    pub(crate) fn own(&self) -> Catalogues {
        let lists = self.own.lists();
        lists.iter().map(|(name, it)| (Arc::clone(name), Arc::clone(&it.catalogue))).collect()
    }

    /// Whether a server lists something to it alone.
    pub(crate) fn has_own(&self, name: &str) -> bool {
        self.own.lists().contains_key(name)
    }

    /// Notes what a server lists to it alone over this link; none if that is what it lists to all.
    /// Whether it could be noted: there is room for so many.
    pub(crate) fn put_own(&self, link: &Arc<Link>, catalogue: Option<Arc<Catalogue>>) -> bool {
        let name = &link.member.name;
        let mut lists = self.own.lists();
        let Some(catalogue) = catalogue else {
            lists.remove(name);
            return true;
        };
        // A link that has ended meanwhile takes its lists with it.
        if self.is_over() || !link.is_open() {
            return true;
        }
        let place = lists.remove(name).map(|it| it._place);
        let Some(_place) = place.or_else(|| self.shared().place()) else { return false };
        let (link, since) = (Arc::downgrade(link), Instant::now());
        lists.insert(Arc::clone(name), Listed { catalogue, link, since, _place });
        true
    }

    /// Forgets what a server listed over a link that has ended; whether there was anything.
    pub(super) fn drop_own(&self, link: &Arc<Link>) -> bool {
        let mut lists = self.own.lists();
        let is_its = |it: &Listed| std::ptr::eq(it.link.as_ptr(), Arc::as_ptr(link));
        let had = lists.get(&link.member.name).is_some_and(is_its);
        had && lists.remove(&link.member.name).is_some()
    }

    /// Forgets what a server lists to it alone, if that is what it lists to all.
    pub(crate) fn is_as_all(&self, name: &str, all: &Catalogue) {
        let mut lists = self.own.lists();
        if lists.get(name).is_some_and(|it| it.catalogue.is_like(all)) {
            lists.remove(name);
        }
    }

    /// The links over which something was listed to it alone, so long ago that it may be otherwise.
    pub(crate) fn outdated(&self, now: Instant, options: &Options) -> Vec<Arc<Link>> {
        let lists = self.own.lists();
        let old = lists.values().filter(|it| is_expired(&it.catalogue, it.since, now, options));
        old.filter_map(|it| it.link.upgrade()).collect()
    }

    /// What it is shown, as it was made the last time.
    pub(crate) fn now(&self) -> Option<Arc<Shown>> {
        let other = match self.own.is_other.load(Ordering::Acquire) {
            true => self.own.shown.load_full(),
            false => None,
        };
        other.or_else(|| self.scope().map(|it| it.now()))
    }

    /// What it is shown instead of what all are, or that it is shown what all are.
    pub(crate) fn is_shown(&self, shown: Option<Arc<Shown>>) {
        if shown.is_some() || self.own.is_other.load(Ordering::Acquire) {
            // One after the other, so that what says whether there is such a thing is right.
            let _lists = self.own.lists();
            let is_other = shown.is_some();
            self.own.shown.store(shown);
            self.own.is_other.store(is_other, Ordering::Release);
        }
    }

    /// Begins to ask a server what it lists to it; hands back what becomes true once that is known
    /// where it is being asked already, and then asked once more if `again` is set.
    pub(crate) fn begin_check(
        &self,
        name: &Arc<str>,
        again: bool,
    ) -> Result<(watch::Sender<bool>, watch::Receiver<bool>), watch::Receiver<bool>> {
        let mut checks = self.own.checks();
        if let Some(check) = checks.get_mut(name) {
            check.again |= again;
            return Err(check.done.clone());
        }
        let (sender, done) = watch::channel(false);
        checks.insert(Arc::clone(name), Check { done: done.clone(), again: false });
        Ok((sender, done))
    }

    /// Notes that a server has been asked; whether it has to be asked once more.
    pub(crate) fn end_check(&self, name: &Arc<str>) -> bool {
        let mut checks = self.own.checks();
        if !self.is_over() && checks.get_mut(name).is_some_and(|it| std::mem::take(&mut it.again)) {
            return true;
        }
        checks.remove(name);
        false
    }

    /// What becomes true once it is known what servers list to it that are being asked.
    pub(crate) fn checks(&self) -> Vec<watch::Receiver<bool>> {
        self.own.checks().values().map(|it| it.done.clone()).collect()
    }

    /// Forgets all of it.
    pub(super) fn own_nothing(&self) {
        self.own.lists().clear();
    }
}

impl Own {
    fn lists(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Listed>> {
        self.lists.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn checks(&self) -> MutexGuard<'_, HashMap<Arc<str>, Check>> {
        self.checks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
