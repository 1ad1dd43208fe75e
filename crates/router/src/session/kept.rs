//! What is kept of a session beyond this process, and how it begins again.

use std::sync::Arc;

use mcp_jsonrpc::transport::{Caller, SessionId, TransportError};
use tracing::{debug, info};

use super::ClientSession;
use crate::{
    handshake::Hello,
    keep::{self, Keeping, Kept, Record},
    server::Inner,
};

impl ClientSession {
    /// A session that was open before, with what is kept of it.  It has no link.
    pub(crate) fn again(
        id: &SessionId,
        caller: Caller,
        server: Arc<Inner>,
        kept: Kept,
    ) -> Arc<Self> {
        let version = kept.hello.version;
        let session = Self::new("".into(), (kept.said.key, kept.said.issued), caller, server);
        session.id.get_or_init(|| Some(id.clone()));
        session.version.get_or_init(|| version);
        {
            let mut state = session.state();
            state.hello = Some(Arc::new(kept.hello));
            state.is_recorded = kept.is_recorded;
            state.log_level = kept.log_level;
            state.subscriptions = kept.subscriptions;
        }
        session
    }

    /// Leaves it to whoever uses it to keep what would outlive this process.
    pub(crate) fn leave_unkept(&self) {
        self.unkept.get_or_init(|| ());
    }

    /// What it is kept with, if it is.
    fn keeping(&self) -> Option<Arc<Keeping>> {
        if self.unkept.get().is_some() { None } else { self.server.keeping() }
    }

    /// Its id, if it has one yet.
    pub(crate) fn named(&self) -> Option<&SessionId> {
        self.id.get()?.as_ref()
    }

    /// Its id; it is given one now if it has none.
    pub(super) fn name(&self, hello: Option<&Hello>) -> Option<&SessionId> {
        let id = self.id.get_or_init(|| {
            let (key, issued) = (&self.key, self.issued);
            match self.keeping() {
                None => keep::plain_id(key),
                Some(keeping) => {
                    keeping.seal(&self.server.name, &self.caller, (key, issued), hello)
                }
            }
        });
        let id = id.as_ref()?;
        self.server.sessions.name(self, id);
        Some(id)
    }

    /// Sees to it that what was said at `initialize` is in the id, or in a record.
    pub(super) async fn keep_hello(&self, hello: &Hello) {
        // Told its id before it said anything, as HTTP+SSE does: the id cannot say it.
        let is_recorded = self.named().is_some() || !keep::is_short(hello);
        self.state().is_recorded = is_recorded;
        self.name(Some(hello));
        if is_recorded {
            self.record().await;
        }
    }

    /// Keeps what the id does not say; returns once the disk has it.
    pub(super) async fn record(&self) {
        let Some(keeping) = self.keeping() else { return };
        // One at a time, so that the last to be asked for is the last to be written.
        let _saving = self.saving.lock().await;
        let record = {
            let state = self.state();
            let hello = state.hello.as_deref().filter(|_| state.is_recorded);
            if state.closed {
                return;
            }
            Record::of(hello, state.log_level.as_ref(), state.subscriptions.clone())
        };
        let saved = keeping.store.save(self.key, record.written(), keeping.expires(self.issued));
        if let Err(error) = saved.await {
            let (server, session) = (&self.server.name, self.named());
            info!(%server, ?session, %error, "some of it would not survive a restart");
        }
    }

    /// Ends the session for good: its id finds nothing any more, also after a restart.  Returns
    /// once the disk knows.
    pub(crate) async fn close(&self) {
        let closing = self.server.sessions.close(self);
        // A gateway that ends closes nothing: its clients go on when it is back.
        let forgotten = (!self.server.is_ending()).then(|| self.forget()).flatten();
        self.end().await;
        if let Some(forgotten) = forgotten
            && let Err(error) = forgotten.await
        {
            let (server, session) = (&self.server.name, self.named());
            info!(%server, ?session, %error, "its end may be forgotten by a restart");
        }
        drop(closing);
    }

    /// Writes that the session was closed, if anybody could ask.
    fn forget(&self) -> Option<store::Saving> {
        let keeping = self.keeping()?;
        let is_recorded = {
            let mut state = self.state();
            state.closed = true;
            state.hello.as_ref()?;
            state.is_recorded
        };
        let store = &keeping.store;
        // Without its record, an id that says nothing finds nothing.
        Some(match is_recorded {
            true => store.remove(self.key),
            false => {
                let expires = keeping.expires(self.issued);
                store.save(self.key, Record::closed(), expires)
            }
        })
    }

    /// Looks for a link where it has none: somebody listens, and may never ask for anything.
    pub(super) fn wake(self: &Arc<Self>) {
        let sleeps = {
            let state = self.state();
            !state.closed && state.hello.is_some() && state.link.is_none() && !self.is_alone()
        };
        if !sleeps {
            return;
        }
        let session = Arc::clone(self);
        self.server.tasks.spawn(async move {
            if let Err(error) = session.link().await {
                let (server, session) = (&session.server.name, session.named());
                debug!(%server, ?session, %error, "no link yet: its next request tries again");
            }
        });
    }
}

impl Inner {
    /// Finds a session that is not in the table by what its id says.
    pub(crate) fn take_up(
        self: &Arc<Self>,
        id: &SessionId,
        caller: &Caller,
    ) -> Result<Arc<ClientSession>, TransportError> {
        let nothing = crate::sessions::no_session;
        let keeping = self.keeping().ok_or_else(nothing)?;
        let said = keeping.open(&self.name, caller, id).ok_or_else(nothing)?;
        if self.sessions.is_closing(id) {
            return Err(nothing());
        }
        let kept = keeping.complete(said).ok_or_else(nothing)?;
        self.admit()?;
        let session = ClientSession::again(id, caller.clone(), Arc::clone(self), kept);
        let session = self.sessions.adopt(id, session)?;
        debug!(server = %self.name, session = id.short(), "taken up again");
        Ok(session)
    }
}
