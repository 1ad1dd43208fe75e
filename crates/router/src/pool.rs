//! The links that several sessions share, by whom and in which revision.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use mcp_jsonrpc::ProtocolVersion;

use crate::link::Link;

/// Who shares a link.
///
/// The revision is part of it: sessions of different revisions have links of their own, so that
/// each server speaks to each client in a revision both understand.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    /// The caller; none where all callers share.
    pub(crate) subject: Option<Arc<str>>,
    pub(crate) version: ProtocolVersion,
}

/// The place of one shared link: locked while it is being opened.
pub(crate) type Slot = Arc<tokio::sync::Mutex<Option<Arc<Link>>>>;

/// The shared links of one server.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    slots: Mutex<HashMap<Key, Slot>>,
    spare: Mutex<Spare>,
}

/// A link that was opened to see whether the server can be, and is not yet anybody's.
#[derive(Debug, Default)]
struct Spare {
    link: Option<Arc<Link>>,
    /// Whoever would take one out has been here.
    closed: bool,
}

// === impl Pool ===

impl Pool {
    pub(crate) fn slot(&self, key: &Key) -> Slot {
        Arc::clone(self.slots().entry(key.clone()).or_default())
    }

    /// Keeps a spare; returns what is over thereby: the one before, or this one where the pool was
    /// drained.
    pub(crate) fn put_spare(&self, link: Arc<Link>) -> Option<Arc<Link>> {
        let mut spare = self.spare();
        if spare.closed { Some(link) } else { spare.link.replace(link) }
    }

    /// The spare, if it speaks this revision.
    pub(crate) fn take_spare(&self, version: ProtocolVersion) -> Option<Arc<Link>> {
        let mut spare = self.spare();
        let fits = |link: &Arc<Link>| link.version == version && link.is_open();
        if spare.link.as_ref().is_some_and(fits) { spare.link.take() } else { None }
    }

    /// Whether there is a spare that can be used.
    pub(crate) fn has_spare(&self) -> bool {
        self.spare().link.as_ref().is_some_and(|link| link.is_open())
    }

    /// Takes out the shared links that are over.  One being opened is left alone.
    pub(crate) fn sweep(&self, is_over: impl Fn(&Link) -> bool) -> Vec<Arc<Link>> {
        let mut over = Vec::new();
        self.slots().retain(|_, slot| {
            // Somebody holds the slot, or is about to lock it.
            if 1 < Arc::strong_count(slot) {
                return true;
            }
            let Ok(mut link) = slot.try_lock() else { return true };
            if link.as_ref().is_some_and(|link| is_over(link)) {
                over.extend(link.take());
            }
            link.is_some()
        });
        over
    }

    /// Takes out the spare, if it is over.
    pub(crate) fn sweep_spare(&self, is_over: impl Fn(&Link) -> bool) -> Option<Arc<Link>> {
        self.spare().link.take_if(|link| is_over(link))
    }

    /// Takes out the link that nobody has used for longest, or the spare.
    pub(crate) fn take_idlest(&self) -> Option<Arc<Link>> {
        if let Some(spare) = self.spare().link.take() {
            return Some(spare);
        }
        let mut slots = self.slots();
        let mut idlest = None;
        for (key, slot) in &*slots {
            let Ok(link) = slot.try_lock() else { continue };
            let since = link.as_ref().and_then(|link| link.idle_since());
            if let Some(since) = since
                && Arc::strong_count(slot) == 1
                && idlest.as_ref().is_none_or(|(than, _)| since < *than)
            {
                idlest = Some((since, key.clone()));
            }
        }
        let slot = slots.remove(&idlest?.1)?;
        drop(slots);
        let mut link = slot.try_lock().ok()?;
        link.take()
    }

    /// Takes out all of them.  From here on no spare is kept.
    pub(crate) async fn drain(&self) -> Vec<Arc<Link>> {
        // The spare first: whoever has taken it before has a slot that is among these.
        let mut links = {
            let mut spare = self.spare();
            spare.closed = true;
            Vec::from_iter(spare.link.take())
        };
        let slots: Vec<Slot> = self.slots().drain().map(|(_, slot)| slot).collect();
        for slot in slots {
            links.extend(slot.lock().await.take());
        }
        links
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<Key, Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn spare(&self) -> MutexGuard<'_, Spare> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
