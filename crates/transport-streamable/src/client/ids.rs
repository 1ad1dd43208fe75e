//! Which ids are in use in one session of a server.
//!
//! A session that several clients share hears ids they have picked without knowing of each other.
//! A server may take two of the same for one, and a cancellation would mean either: so whoever
//! comes second goes under an id of ours.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use mcp_jsonrpc::Id;

use super::Inner;

/// The ids of the requests under way.
#[derive(Debug, Default)]
pub(super) struct Ids(Mutex<Used>);

#[derive(Debug, Default)]
struct Used {
    ids: HashSet<Id>,
    /// How many of ours there were: none is used again, for its request may have been given up here
    /// and still be under way there.
    ours: u64,
}

/// An id that is in use until this is dropped.
#[derive(Debug)]
pub(super) struct Named {
    inner: Arc<Inner>,
    id: Id,
}

// === impl Ids ===

impl Ids {
    fn lock(&self) -> MutexGuard<'_, Used> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Named ===

impl Named {
    /// Takes an id, or one of ours where that is in use.
    pub(super) fn take(inner: &Arc<Inner>, theirs: &Id) -> Self {
        let mut used = inner.ids.lock();
        let mut id = theirs.clone();
        while !used.ids.insert(id.clone()) {
            used.ours += 1;
            id = Id::from(format!("gateway-{}", used.ours).as_str());
        }
        drop(used);
        Self { inner: Arc::clone(inner), id }
    }

    pub(super) fn id(&self) -> &Id {
        &self.id
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        self.inner.ids.lock().ids.remove(&self.id);
    }
}
