//! What can change about a server while sessions with it are open.

use std::{
    sync::{Arc, PoisonError, atomic::Ordering},
    time::Duration,
};

use futures::{StreamExt, future::join_all, stream};
use mcp_jsonrpc::transport::{Caller, Transport, TransportError};
use tokio::time::Instant;
use tracing::info;

use super::{Inner, Options, Server, Startup};
use crate::{
    handshake::Hello,
    keep::Keeping,
    load::Carried,
    status::State,
    upstream::{Acquired, Upstream},
};

/// How many sessions take a link of the server's at once when it was configured anew.
const MOVING_MAX: usize = 16;

/// How many servers that were configured anew may be doing their last things, by the side of the
/// one that holds: each may have as many children.
const LEAVING_MAX: usize = 8;

const TOOLS_CHANGED: &str = "notifications/tools/list_changed";

/// What becomes of a session when somebody's rights have changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Nothing.
    Stays,
    /// The streams that listen to it end; its caller may open another.
    Reopens,
    /// It ends, and whatever it waits for.
    Ends,
}

impl Server {
    /// Treats sessions and calls by these options from now on, as far as they do not concern the
    /// links behind: for those see [`replace`](Self::replace).
    pub fn reconfigure(&self, options: Options) {
        let inner = &self.0.inner;
        inner.sessions.set_max(options.session_max);
        inner.stateless.set_max(options.stateless_max, options.listen_max);
        inner.is_alone.store(options.is_alone(), Ordering::Relaxed);
        inner.options.store(Arc::new(options));
    }

    /// Puts another server behind in the place of the one there is, at once.
    ///
    /// Sessions go on: what comes from now on goes to the new server, which is told what the old
    /// one knew, and clients are told that lists may have changed.  What the old one is doing is
    /// done to its end within `grace`, and fails with an error that says so after that, or when
    /// `LEAVING_MAX` (8) others have taken its place since.  The
    /// future ends when nothing of the old server is left; it has to be awaited.
    pub fn replace(
        &self,
        behind: Arc<dyn Transport>,
        options: Options,
        grace: Duration,
    ) -> impl Future<Output = ()> + Send + use<> {
        let inner = Arc::clone(&self.0.inner);
        let stop = self.0.stop.clone();
        let is_watched = self.0.watched.get().is_some();
        let new = Upstream::new(&inner.name, behind, &Arc::new(options.clone()), &inner.tasks);
        self.reconfigure(options);
        if is_watched && inner.is_eager() {
            new.is_to_start();
        }
        let old = inner.upstream.swap(Arc::clone(&new));
        // In this order: whoever finds the old one retired finds the new one in its place.
        old.retire();
        inner.leave(&old);
        inner.sessions.all().iter().for_each(|session| session.let_go());
        let deadline = Instant::now() + grace;
        async move {
            let warm_up = async {
                if is_watched && inner.is_eager() {
                    new.warm_up().await;
                }
                inner.move_on().await;
            };
            let drain = inner.drain(&old, deadline);
            let ((), ()) =
                tokio::join!(async { _ = stop.run_until_cancelled(warm_up).await }, drain);
            // Who was taking a link meanwhile has it by now.
            inner.drain(&old, deadline).await;
            old.shut_down("its configuration has changed").await;
        }
    }

    /// Tells clients that the tools offered here have changed, as far as their server said that it
    /// would tell.
    pub fn announce_tools(&self) {
        let inner = &self.0.inner;
        inner.sessions.all().iter().for_each(|session| session.announce(TOOLS_CHANGED));
        inner.stateless.announce_tools(TOOLS_CHANGED);
    }

    /// Looks at every session when somebody's rights have changed: `fate` is asked with the
    /// caller each belongs to.
    pub async fn review(&self, why: &'static str, fate: impl Fn(&Caller) -> Fate) {
        self.0.inner.stateless.review(&fate);
        let mut ending = Vec::new();
        for session in self.0.inner.sessions.all() {
            match fate(&session.caller) {
                Fate::Stays => (),
                Fate::Reopens => session.end_streams(why),
                Fate::Ends => {
                    session.end_streams(why);
                    ending.push(session);
                }
            }
        }
        if !ending.is_empty() {
            info!(server = %self.0.inner.name, count = ending.len(), why, "sessions ended");
        }
        join_all(ending.iter().map(|session| session.close())).await;
    }
}

impl Inner {
    pub(crate) fn options(&self) -> Arc<Options> {
        self.options.load_full()
    }

    /// Whether each request has a link to itself.
    pub(crate) fn is_alone(&self) -> bool {
        self.is_alone.load(Ordering::Relaxed)
    }

    /// What sessions are kept with, if they are.
    pub(crate) fn keeping(&self) -> Option<Arc<Keeping>> {
        self.keeping.load_full()
    }

    /// The server behind, as it is configured now.
    pub(crate) fn upstream(&self) -> Arc<Upstream> {
        self.upstream.load_full()
    }

    pub(super) fn is_eager(&self) -> bool {
        self.options.load().startup == Startup::Eager
    }

    /// Whether no more sessions are taken, because the gateway ends or the server was removed.
    pub(crate) fn is_ending(&self) -> bool {
        self.upstream().life().state == State::Closed
    }

    /// Refuses where no more sessions are taken.
    pub(crate) fn admit(&self) -> Result<(), TransportError> {
        let upstream = self.upstream();
        let life = upstream.life();
        if life.state == State::Closed { life.admit() } else { Ok(()) }
    }

    /// Waits until the server behind can be asked for links.
    pub(super) async fn ready(&self) -> Result<(), TransportError> {
        loop {
            let upstream = self.upstream();
            match upstream.unless_retired(upstream.ready()).await {
                Some(Err(_)) if upstream.is_retired() => (),
                Some(ready) => return ready,
                // Another is asked instead, however long this one would have taken.
                None => (),
            }
        }
    }

    /// Finds or opens a link for a session.
    pub(crate) async fn acquire(
        &self,
        hello: &Hello,
        caller: &Caller,
    ) -> Result<Acquired, TransportError> {
        loop {
            let upstream = self.upstream();
            match upstream.unless_retired(upstream.acquire(hello, caller)).await {
                Some(Err(_)) if upstream.is_retired() => (),
                Some(Ok(Acquired::Link(link))) if upstream.is_retired() && !link.shared => {
                    upstream.give_up(link).await;
                }
                Some(Ok(_)) if upstream.is_retired() => (),
                Some(acquired) => return acquired,
                None => (),
            }
        }
    }

    /// Notes a server that has only its last things to do; where there are too many, the oldest has
    /// no more time for them.
    fn leave(&self, old: &Arc<Upstream>) {
        let mut leaving = self.leaving.lock().unwrap_or_else(PoisonError::into_inner);
        leaving.retain(|it| it.strong_count() > 0);
        leaving.push_back(Arc::downgrade(old));
        while LEAVING_MAX < leaving.len() {
            if let Some(oldest) = leaving.pop_front().and_then(|it| it.upgrade()) {
                info!(server = %self.name, "configured anew too often: requests of long ago are cut off");
                oldest.hurry();
            }
        }
    }

    /// Gives every session that needs one a link of the server as it is configured now.
    async fn move_on(&self) {
        let sessions = stream::iter(self.sessions.all());
        sessions.for_each_concurrent(MOVING_MAX, async |session| session.go_on().await).await;
    }

    /// The link that stands for whoever speaks without a session.
    pub(crate) async fn standing(&self, caller: &Caller) -> Result<Carried, TransportError> {
        loop {
            let upstream = self.upstream();
            if let Some(carried) = upstream.stands()
                && !upstream.is_retired()
            {
                return Ok(carried);
            }
            match upstream.unless_retired(upstream.standing(caller)).await {
                // Whoever retired it drains it, or `standing` did where it came too late for that.
                Some(_) if upstream.is_retired() => (),
                Some(stood) => return stood,
                None => (),
            }
        }
    }

    /// Closes the links of a server that was configured anew as they come to their ends.
    async fn drain(&self, old: &Arc<Upstream>, deadline: Instant) {
        let sessions = self.sessions.all();
        let left = join_all(sessions.iter().map(|session| session.leave(old, deadline)));
        let ((), _) = tokio::join!(old.drain(deadline), left);
    }
}
