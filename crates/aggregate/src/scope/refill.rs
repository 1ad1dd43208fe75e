//! How servers are asked for their lists: once at a time, and again where it was in vain.

use std::{sync::Arc, time::Duration};

use catalogue::Catalogue;
use mcp_jsonrpc::transport::{ErrorKind, TransportError};
use tokio::{sync::watch, time::Instant};
use tracing::{info, warn};

use super::{Scope, own::Proven, shelf::Shelf};
use crate::{
    fill::{Filled, fill},
    link::Link,
    server::Shared,
    session::Talk,
    session::late,
};

impl Scope {
    /// Asks these servers, over whatever session there is.
    pub(super) fn refill(&self, names: impl IntoIterator<Item = Arc<str>>) {
        for name in names {
            if let Some(shelf) = self.state().shelves.get_mut(&name) {
                shelf.is_stale = true;
            }
            self.start(&name, None, Duration::ZERO);
        }
    }

    /// Asks a server for its lists after a pause, unless somebody does already: what becomes true
    /// when it has been asked.
    pub(super) fn start(
        &self,
        name: &Arc<str>,
        session: Option<&Arc<Talk>>,
        pause: Duration,
    ) -> Option<watch::Receiver<bool>> {
        let me = self.me.upgrade()?;
        let mut state = self.state();
        let shelf = state.shelves.get_mut(name)?;
        if let Some(filling) = &shelf.filling {
            return Some(filling.clone());
        }
        let (done, filling) = watch::channel(false);
        shelf.filling = Some(filling.clone());
        drop(state);
        let (name, session) = (Arc::clone(name), session.cloned());
        self.shared.spawn(async move {
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
            me.ask(&name, session).await;
            done.send_replace(true);
        });
        Some(filling)
    }

    /// Notes that a server was waited for in vain.
    pub(super) fn note_late(&self, name: &Arc<str>) {
        if let Some(shelf) = self.state().shelves.get_mut(name) {
            shelf.is_late = true;
        }
        self.shared.note(name, &late(&self.shared.options()));
    }

    /// Asks a server until it has been asked with nothing new to be expected.
    async fn ask(self: &Arc<Self>, name: &Arc<str>, session: Option<Arc<Talk>>) {
        let mut session = session;
        loop {
            let before = {
                let mut state = self.state();
                let Some(shelf) = state.shelves.get_mut(name) else { return };
                // What changes from here on makes it stale again.
                shelf.is_stale = false;
                shelf.asked = Some(Instant::now());
                shelf.catalogue.clone()
            };
            let filled = match self.ask_once(name, session.take(), before.as_deref()).await {
                Ok(Some(filled)) => Ok(Some(self.proven(name, before.as_deref(), filled).await)),
                Ok(None) => Ok(None),
                Err(error) => Err(error),
            };
            let all = filled.as_ref().ok().and_then(Option::as_ref).map(|it| &it.filled.catalogue);
            if let Some(all) = all {
                self.sessions().iter().for_each(|it| it.is_as_all(name, all));
            }
            let options = self.shared.options();
            let again = {
                let mut state = self.state();
                let Some(shelf) = state.shelves.get_mut(name) else { return };
                let changed = match filled {
                    Ok(Some(proven)) => shelf.settle(proven, &self.shared),
                    // Nobody is there to ask for.
                    Ok(None) => {
                        shelf.is_stale = true;
                        shelf.filling = None;
                        return;
                    }
                    Err(error) => self.failed(shelf, &error),
                };
                let again = shelf.is_stale && shelf.failures == 0;
                if !again {
                    shelf.filling = None;
                }
                state.is_dirty |= changed;
                if changed {
                    drop(state);
                    self.announce();
                }
                again
            };
            if !again {
                return self.retry_later(name);
            }
            tokio::time::sleep(options.debounce).await;
        }
    }

    /// Asks a server over the link that watches it, or over one of a session's.
    async fn ask_once(
        &self,
        name: &Arc<str>,
        session: Option<Arc<Talk>>,
        before: Option<&Catalogue>,
    ) -> Result<Option<(Arc<Link>, Filled)>, TransportError> {
        let options = self.shared.options();
        let watch = self.state().shelves.get(name).and_then(|it| it.watch.upgrade());
        if let Some(link) = watch.filter(|it| it.is_open()) {
            match fill(&link, options.limits, options.page_timeout, before).await {
                // Ended meanwhile: another is asked.
                Err(_) if !link.is_open() => (),
                filled => return filled.map(|it| Some((link, it))),
            }
        }
        // Whoever wants to know; then those that have a link; then anybody.
        let mut sessions = self.sessions();
        sessions.sort_by_key(|it| !it.has_link(name));
        let sessions = session.into_iter().filter(|it| !it.is_over()).chain(sessions);
        // Who is listed something alone does not know what is listed to all.
        let sessions = sessions.filter(|it| !it.has_own(name));
        for session in sessions {
            let asked = async {
                let link = session.link(name).await?;
                let filled = fill(&link, options.limits, options.page_timeout, before).await?;
                Ok::<_, TransportError>((link, filled))
            };
            match asked.await {
                // Its client has left: another may have stayed.
                Err(_) if session.is_over() => (),
                asked => return asked.map(Some),
            }
        }
        Ok(None)
    }

    /// Notes that a server could not be asked; whether that makes a difference.
    fn failed(&self, shelf: &mut Shelf, error: &TransportError) -> bool {
        shelf.failures = shelf.failures.saturating_add(1);
        let reason: Arc<str> = error.said_of_it().to_string().into();
        // One that was there a moment ago is given the time to come back.
        if shelf.catalogue.is_some() && shelf.failures < 2 && *error.kind() != ErrorKind::Protocol {
            return false;
        }
        let changed = shelf.absence.is_none();
        if changed {
            let aggregate = &self.shared.name;
            warn!(%aggregate, server = %shelf.member.name, %error, "missing");
        }
        let same = shelf.absence.as_ref() == Some(&reason);
        shelf.absence = Some(reason);
        !same
    }

    /// Has a server that could not be asked asked again, when its time has come.
    fn retry_later(self: &Arc<Self>, name: &Arc<str>) {
        let pause = {
            let mut state = self.state();
            let is_used = !state.sessions().is_empty();
            let Some(shelf) = state.shelves.get_mut(name) else { return };
            if shelf.failures == 0 || shelf.is_retried || !is_used {
                return;
            }
            shelf.is_retried = true;
            let options = self.shared.options();
            pause(shelf.failures, options.retry_min, options.retry_max)
        };
        let (scope, name) = (Arc::downgrade(self), Arc::clone(name));
        self.shared.spawn(async move {
            tokio::time::sleep(pause).await;
            let Some(scope) = scope.upgrade() else { return };
            if let Some(shelf) = scope.state().shelves.get_mut(&name) {
                shelf.is_retried = false;
                shelf.is_stale = true;
            }
            if !scope.sessions().is_empty() {
                scope.start(&name, None, Duration::ZERO);
            }
        });
    }
}

impl Shelf {
    /// Puts in what a server lists; whether that makes a difference.
    fn settle(&mut self, proven: Proven, shared: &Shared) -> bool {
        let Proven { link, filled, is_unproven } = proven;
        let was_there = self.absence.take().is_none();
        if !was_there {
            info!(server = %self.member.name, "is there again");
        }
        self.failures = 0;
        self.is_late = false;
        self.filled = Some(Instant::now());
        self.watch = Arc::downgrade(&link);
        self.is_unproven = is_unproven;
        let new = filled.catalogue;
        let same = self.catalogue.as_ref().is_some_and(|old| old.revision() == new.revision());
        let refused = self.refused != filled.refused;
        self.refused = filled.refused;
        if !same {
            self.catalogue = Some(shared.once(&self.member.name, new));
        }
        !same || !was_there || refused
    }
}

fn pause(failures: u32, min: Duration, max: Duration) -> Duration {
    min.saturating_mul(1 << (failures - 1).min(16)).min(max)
}
