//! The sessions that clients have open with one server: the one table of them.

use std::{
    collections::{HashMap, HashSet},
    ptr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use mcp_jsonrpc::{
    quick::QuickMap,
    transport::{Caller, ErrorKind, SessionId, TransportError},
};
use store::RecordKey;

use crate::session::ClientSession;

/// The sessions of one server.
#[derive(Debug)]
pub(crate) struct Sessions {
    table: Mutex<Table>,
    session_max: AtomicUsize,
}

#[derive(Debug, Default)]
struct Table {
    /// Those whose id nobody has asked for yet.
    nameless: HashMap<RecordKey, Arc<ClientSession>>,
    named: QuickMap<SessionId, Arc<ClientSession>>,
    /// Those that are being closed, until that is remembered.
    closing: HashSet<SessionId>,
}

/// A session that is being closed: out of the table, and not to be taken up again.
#[derive(Debug)]
pub(crate) struct Closing<'a> {
    sessions: &'a Sessions,
    id: Option<SessionId>,
}

// === impl Sessions ===

impl Sessions {
    pub(crate) fn new(session_max: usize) -> Self {
        Self { table: Mutex::default(), session_max: AtomicUsize::new(session_max) }
    }

    /// Another bound from now on; who is in already stays.
    pub(crate) fn set_max(&self, session_max: usize) {
        self.session_max.store(session_max, Ordering::Relaxed);
    }

    /// Takes a session in that has no id yet.
    pub(crate) fn enter(&self, session: &Arc<ClientSession>) -> Result<(), TransportError> {
        let mut table = self.table();
        self.has_room(&table)?;
        table.nameless.insert(session.key, Arc::clone(session));
        Ok(())
    }

    /// Files a session under the id that it has been given.
    pub(crate) fn name(&self, session: &ClientSession, id: &SessionId) {
        let mut table = self.table();
        if let Some(session) = table.nameless.remove(&session.key) {
            table.named.insert(id.clone(), session);
        }
    }

    /// Finds a caller's own session.  Somebody else's is not there at all.
    pub(crate) fn find(&self, id: &SessionId, caller: &Caller) -> Option<Arc<ClientSession>> {
        let found = self.table().named.get(id).cloned();
        found.filter(|session| session.caller.subject == caller.subject)
    }

    /// Whether a session is being closed at this moment.
    pub(crate) fn is_closing(&self, id: &SessionId) -> bool {
        self.table().closing.contains(id)
    }

    /// Takes a session in that was open before; returns the one that is there already, where
    /// somebody was quicker.
    pub(crate) fn adopt(
        &self,
        id: &SessionId,
        session: Arc<ClientSession>,
    ) -> Result<Arc<ClientSession>, TransportError> {
        let mut table = self.table();
        if let Some(there) = table.named.get(id) {
            return Ok(Arc::clone(there));
        }
        if table.closing.contains(id) {
            return Err(no_session());
        }
        self.has_room(&table)?;
        table.named.insert(id.clone(), Arc::clone(&session));
        Ok(session)
    }

    /// Takes a session out.
    pub(crate) fn remove(&self, session: &ClientSession) {
        self.table().remove(session);
    }

    /// Takes a session out that is to be found no more, not even by what its id says.
    pub(crate) fn close(&self, session: &ClientSession) -> Closing<'_> {
        let mut table = self.table();
        table.remove(session);
        let id = session.named().cloned();
        // Whoever closes it a second time does not end the first time.
        let id = id.filter(|id| table.closing.insert(id.clone()));
        Closing { sessions: self, id }
    }

    pub(crate) fn len(&self) -> usize {
        self.table().len()
    }

    /// Whether there is none, not even one that is being closed.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        let table = self.table();
        table.len() == 0 && table.closing.is_empty()
    }

    /// All of them, at this moment.
    pub(crate) fn all(&self) -> Vec<Arc<ClientSession>> {
        let table = self.table();
        table.named.values().chain(table.nameless.values()).cloned().collect()
    }

    fn has_room(&self, table: &Table) -> Result<(), TransportError> {
        if table.len() < self.session_max.load(Ordering::Relaxed) {
            return Ok(());
        }
        let what = format!("{} sessions are open with this server", table.len());
        let error = TransportError::new(ErrorKind::Exhausted, what);
        Err(error.hint("close some, or raise `sessionMax`"))
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn len(&self) -> usize {
        self.named.len() + self.nameless.len()
    }

    fn remove(&mut self, session: &ClientSession) {
        self.nameless.remove(&session.key);
        let Some(id) = session.named() else { return };
        if self.named.get(id).is_some_and(|it| ptr::eq(&raw const **it, session)) {
            self.named.remove(id);
        }
    }
}

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        if let Some(id) = &self.id {
            self.sessions.table().closing.remove(id);
        }
    }
}

/// What is said of every id that finds nothing, whatever the reason.
pub(crate) fn no_session() -> TransportError {
    let error = TransportError::new(ErrorKind::NoSession, "there is no such session");
    error.hint("it has ended or never was: send `initialize` without a session id")
}
