//! What a server lists to one session alone: such as tools that a call in it has unlocked.
//!
//! What all of a scope are shown is what a session is shown that has changed nothing.  So lists
//! that changed in the session that listens for all are held against those of another one before
//! all are shown them, and lists that changed in any other session against those of all.

use std::{sync::Arc, time::Duration};

use catalogue::Catalogue;
use mcp_jsonrpc::transport::TransportError;
use tokio::{sync::watch, time::Instant};
use tracing::debug;

use super::Scope;
use crate::{
    fill::{Filled, fill},
    link::Link,
    session::{Catalogues, Talk},
    shown::Shown,
};

/// How long a server that tells all its sessions the same may take for it.
const TOLD_WITHIN: Duration = Duration::from_millis(20);

/// Whose views these are: a catalogue of its own for each of these servers.
pub(super) type Deviation = Vec<(Arc<str>, usize)>;

/// What a server lists to all, the link that listens for them, and whether it lists that to no
/// more than one, as far as is known.
pub(super) struct Proven {
    pub(super) link: Arc<Link>,
    pub(super) filled: Filled,
    pub(super) is_unproven: bool,
}

impl Scope {
    /// What this session is shown, with all that is known.
    pub(crate) fn shown_to(&self, session: &Talk) -> Arc<Shown> {
        let all = self.shown();
        let own = session.own();
        if own.is_empty() {
            session.is_shown(None);
            return all;
        }
        let of =
            |(name, it): (&Arc<str>, &Arc<Catalogue>)| (Arc::clone(name), Arc::as_ptr(it) as usize);
        let deviation: Deviation = own.iter().map(of).collect();
        let mut state = self.state();
        // Equal catalogues are kept once, so whoever is shown the same has the same view.
        let shown = state.deviations.get(&deviation).and_then(std::sync::Weak::upgrade);
        let shown = shown.unwrap_or_else(|| {
            let shown = Arc::new(self.made(&state, &own));
            state.deviations.retain(|_, it| it.strong_count() > 0);
            state.deviations.insert(deviation, Arc::downgrade(&shown));
            shown
        });
        drop(state);
        session.is_shown(Some(Arc::clone(&shown)));
        shown
    }

    /// What a server lists to all, after it was asked over a link.  Where that link has said that
    /// something changed, another session is asked as well: if it is listed something else, the
    /// change is the first one's alone.
    pub(super) async fn proven(
        &self,
        name: &Arc<str>,
        before: Option<&Catalogue>,
        (link, filled): (Arc<Link>, Filled),
    ) -> Proven {
        let is_changed = before.is_some_and(|it| it.revision() != filled.catalogue.revision());
        let (was_unproven, is_watched) = {
            let state = self.state();
            let shelf = state.shelves.get(name);
            shelf.map_or((false, false), |it| (it.is_unproven, it.is_watched_by(&link)))
        };
        if is_changed && is_watched {
            // Said or not.
            link.note_change();
        }
        if !link.has_changed() || !(is_changed || was_unproven) {
            return Proven { link, filled, is_unproven: false };
        }
        let Some(session) = self.witness(name, &link) else {
            return Proven { link, filled, is_unproven: true };
        };
        let options = self.shared.options();
        let seen = async {
            let witness = session.link(name).await?;
            let seen = fill(&witness, options.limits, options.page_timeout, before).await?;
            Ok::<_, TransportError>((witness, seen))
        };
        match seen.await {
            Ok((_, seen)) if seen.catalogue.is_like(&filled.catalogue) => {
                Proven { link, filled, is_unproven: false }
            }
            Ok((witness, seen)) => {
                if let Some(session) = link.session() {
                    self.give(&session, &link, filled.catalogue);
                    self.announce();
                }
                Proven { link: witness, filled: seen, is_unproven: false }
            }
            Err(error) => {
                debug!(server = %name, %error, "no second session can say what it lists to all");
                Proven { link, filled, is_unproven: true }
            }
        }
    }

    /// A session that is shown what all are, other than the one of this link.
    fn witness(&self, name: &Arc<str>, link: &Arc<Link>) -> Option<Arc<Talk>> {
        let of = link.session();
        let is_other = |it: &Arc<Talk>| of.as_ref().is_none_or(|of| !Arc::ptr_eq(of, it));
        let others = self.sessions().into_iter().filter(|it| is_other(it) && !it.has_own(name));
        others.min_by_key(|it| !it.has_link(name))
    }

    /// Asks over a session's link what the server lists to it: what becomes true once that is
    /// known.  `told` is when the server said that something changed, if it did.
    pub(super) fn check(
        &self,
        session: &Arc<Talk>,
        link: &Arc<Link>,
        mut told: Option<Instant>,
    ) -> Option<watch::Receiver<bool>> {
        let me = self.me.upgrade()?;
        let name = Arc::clone(&link.member.name);
        let (done, checking) = match session.begin_check(&name, told.is_some()) {
            Ok(begun) => begun,
            Err(running) => return Some(running),
        };
        let (session, link) = (Arc::clone(session), Arc::clone(link));
        self.shared.spawn(async move {
            if told.is_some() {
                tokio::time::sleep(TOLD_WITHIN).await;
            }
            loop {
                me.look_into(&session, &link, told.take()).await;
                if !session.end_check(&name) {
                    break;
                }
                tokio::time::sleep(me.shared.options().debounce).await;
            }
            done.send_replace(true);
        });
        Some(checking)
    }

    async fn look_into(&self, session: &Arc<Talk>, link: &Arc<Link>, told: Option<Instant>) {
        let (name, options) = (&link.member.name, self.shared.options());
        let filling = self.state().shelves.get(name).and_then(|it| it.filling.clone());
        if let Some(mut filling) = filling {
            // Whoever asked may have ended: then it is known all the same.
            drop(filling.wait_for(|done| *done).await);
        }
        let (all, heard) = {
            let state = self.state();
            let Some(shelf) = state.shelves.get(name) else { return };
            (shelf.catalogue.clone(), shelf.heard)
        };
        // Whoever listens for all was told at the same time, and all are shown what came of it.
        let is_of_all = told.zip(heard).is_some_and(|(told, heard)| {
            told.max(heard).saturating_duration_since(told.min(heard)) <= options.debounce
        });
        if is_of_all && !session.has_own(name) {
            return;
        }
        match fill(link, options.limits, options.page_timeout, all.as_deref()).await {
            Ok(filled) if all.is_some_and(|all| all.is_like(&filled.catalogue)) => {
                session.put_own(link, None);
            }
            Ok(filled) => self.give(session, link, filled.catalogue),
            Err(error) => debug!(server = %name, %error, "its lists cannot be had"),
        }
        self.tell_one(session);
    }

    /// Notes what a server lists to one session alone.
    fn give(&self, session: &Arc<Talk>, link: &Arc<Link>, catalogue: Catalogue) {
        let name = &link.member.name;
        if !session.put_own(link, Some(self.shared.once(name, catalogue))) {
            let max = self.shared.options().own_max;
            let words = format!(
                "lists something to more than {max} sessions alone (`own_max`): they are shown what all are"
            );
            self.shared.note(name, &words);
        }
    }

    /// What every session has of its own, for whoever counts.
    pub(super) fn deviating(sessions: &[Arc<Talk>]) -> impl Iterator<Item = Catalogues> {
        sessions.iter().map(|it| it.own()).filter(|it| !it.is_empty())
    }
}
