//! The sessions that clients have open with one server: the one table of them.

use std::{
    collections::HashMap,
    fmt::Write,
    ptr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use mcp_jsonrpc::transport::{Caller, ErrorKind, SessionId, TransportError};

use crate::session::ClientSession;

/// The sessions of one server.
#[derive(Debug)]
pub(crate) struct Sessions {
    open: Mutex<HashMap<SessionId, Arc<ClientSession>>>,
    session_max: AtomicUsize,
}

// === impl Sessions ===

impl Sessions {
    pub(crate) fn new(session_max: usize) -> Self {
        Self { open: Mutex::default(), session_max: AtomicUsize::new(session_max) }
    }

    /// How many there may be from now on; those there are stay.
    pub(crate) fn set_max(&self, session_max: usize) {
        self.session_max.store(session_max, Ordering::Relaxed);
    }

    /// Takes a session in, under the id it has.
    pub(crate) fn insert(&self, session: &Arc<ClientSession>) -> Result<(), TransportError> {
        let Some(id) = session.id().cloned() else {
            return Ok(());
        };
        let mut open = self.open();
        if self.session_max.load(Ordering::Relaxed) <= open.len() {
            let what = format!("{} sessions are open with this server", open.len());
            let error = TransportError::new(ErrorKind::Exhausted, what);
            return Err(error.hint("close some, or raise `sessionMax`"));
        }
        open.insert(id, Arc::clone(session));
        Ok(())
    }

    /// Finds a caller's own session.  Somebody else's is not there at all.
    pub(crate) fn find(
        &self,
        id: &SessionId,
        caller: &Caller,
    ) -> Result<Arc<ClientSession>, TransportError> {
        let found = self.open().get(id).cloned();
        found.filter(|session| session.caller.subject == caller.subject).ok_or_else(|| {
            let error = TransportError::new(ErrorKind::NoSession, "there is no such session");
            error.hint("it has ended or never was: send `initialize` without a session id")
        })
    }

    pub(crate) fn remove(&self, session: &ClientSession) {
        let Some(id) = session.id() else { return };
        let mut open = self.open();
        if open.get(id).is_some_and(|it| ptr::eq(&raw const **it, session)) {
            open.remove(id);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.open().len()
    }

    /// All of them, at this moment.
    pub(crate) fn all(&self) -> Vec<Arc<ClientSession>> {
        self.open().values().cloned().collect()
    }

    fn open(&self) -> MutexGuard<'_, HashMap<SessionId, Arc<ClientSession>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An id nobody can guess: 128 random bits in hexadecimal.
pub(crate) fn new_id() -> Result<SessionId, TransportError> {
    let failed = || TransportError::new(ErrorKind::Unsupported, "the system has no randomness");
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|error| failed().because(error))?;
    let mut text = String::with_capacity(2 * random.len());
    for byte in random {
        write!(text, "{byte:02x}").map_err(|error| failed().because(error))?;
    }
    SessionId::new(&text).ok_or_else(failed)
}
