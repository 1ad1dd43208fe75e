//! Links from their greeting to their end: who listens, who asks whether they live, who buries.

use std::{
    sync::{Arc, PoisonError, Weak},
    time::Duration,
};

use futures::future;
use mcp_jsonrpc::{
    Id, Message,
    transport::{ErrorKind, TransportError},
};
use serde_json::json;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::Upstream;
use crate::{
    handshake,
    link::Link,
    server::{Isolation, Wire},
    session::ClientSession,
    status::State,
};

/// How often it is looked whether a server that was asked for a sign of life has given one.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

impl Upstream {
    /// Enters a link among those that are open.
    pub(super) fn enter(&self, link: &Arc<Link>) {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        links.retain(|it| it.strong_count() > 0);
        links.push(Arc::downgrade(link));
    }

    fn open_links(&self) -> Vec<Arc<Link>> {
        let links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        links.iter().filter_map(Weak::upgrade).filter(|link| link.is_open()).collect()
    }

    /// Confirms a link of the gateway's own greeting, and listens to it.
    pub(super) async fn settle(&self, link: &Arc<Link>) {
        if let Ok(message) = handshake::initialized()
            && let Err(error) = link.tell(message).await
        {
            warn!(server = %self.name, %error, "the server did not hear `initialized`");
        }
        self.watch(link);
    }

    /// Listens to a link for as long as it is open; notes its end.
    pub(crate) fn watch(&self, link: &Arc<Link>) {
        if !link.begin_listening() {
            return;
        }
        let (link, me) = (Arc::clone(link), Weak::clone(&self.me));
        self.tasks.spawn(async move {
            link.listen().await;
            Self::mourn(me, link).await;
        });
    }

    /// Notes the end of a link that nobody gave up, in its own last words.
    async fn mourn(me: Weak<Self>, link: Arc<Link>) {
        if link.is_over() {
            return;
        }
        let error = link.post_mortem().await;
        if let Some(upstream) = me.upgrade() {
            upstream.lost(&link, &error);
        }
    }

    /// Lets go of a link that nobody uses.  One that died is noted as lost, by whoever listens to
    /// it or looks first: a server that is to run would not be started again otherwise.
    fn put_away(&self, link: Arc<Link>) {
        if link.is_over() || link.is_open() {
            return link.let_go();
        }
        self.tasks.spawn(Self::mourn(Weak::clone(&self.me), link));
    }

    /// Notes that a link ended that nobody gave up.  Whoever used it and listens is given another
    /// at once, so that it hears what may have changed.
    pub(crate) fn lost(&self, link: &Arc<Link>, error: &TransportError) {
        if !link.end() {
            return;
        }
        // A server that forgot a session is well: the next one is opened at once.
        if *error.kind() == ErrorKind::NoSession {
            info!(server = %self.name, %error, "its session was forgotten");
        } else {
            warn!(server = %self.name, %error, "lost");
            let others = !self.open_links().is_empty();
            self.life_since().lost(error, link.noted, others);
        }
        for session in link.sessions() {
            let me = Weak::clone(&self.me);
            let bereaved = Arc::clone(&session);
            session.forget_questions(link);
            self.tasks.spawn(async move {
                if let Some(upstream) = me.upgrade() {
                    upstream.revive(&bereaved).await;
                }
            });
        }
        let link = Arc::clone(link);
        self.tasks.spawn(async move { link.close().await });
    }

    /// Gives a session that somebody listens to another link, as soon as one can be had.
    async fn revive(&self, session: &Arc<ClientSession>) {
        while session.wants_link() {
            let Err(error) = session.link().await else { return };
            let retry_at = self.life().retry_at();
            match retry_at {
                Some(at) => tokio::time::sleep_until(at.max(Instant::now() + LOOK_INTERVAL)).await,
                None if *error.kind() == ErrorKind::Exhausted => {
                    tokio::time::sleep(LOOK_INTERVAL).await;
                }
                // Parked, or shutting down: whoever asks next will hear why.
                None => return debug!(server = %self.name, %error, "not brought back"),
            }
        }
    }

    /// A session needs this link no more.
    pub(crate) async fn leave(&self, link: &Arc<Link>, session: &ClientSession) {
        let is_last = link.leave(session);
        if !link.shared {
            if is_last {
                self.give_up(Arc::clone(link)).await;
            }
            return;
        }
        if !link.is_open() {
            return;
        }
        // What nobody else wants to hear of any more is not subscribed to any more.
        let others = link.sessions();
        for uri in session.subscribed() {
            if others.iter().any(|other| other.is_subscribed(&uri)) {
                continue;
            }
            let params = json!({ "uri": uri });
            let Ok(message) = Message::request(&Id::from(0), "resources/unsubscribe", &params)
            else {
                continue;
            };
            let link = Arc::clone(link);
            self.tasks.spawn(async move {
                if let Err(error) = link.ask(message).await {
                    debug!(%error, "a subscription is left behind");
                }
            });
        }
    }

    /// Ends a link that nobody needs.
    pub(crate) async fn give_up(&self, link: Arc<Link>) {
        link.end();
        link.close().await;
    }

    /// Closes what nobody has used for long; starts again what should run and does not; asks
    /// whether those live that have been silent for long.
    pub(crate) async fn sweep(&self, eager: bool) {
        let now = Instant::now();
        let is_over = |link: &Link| {
            let idle =
                link.idle_since().is_some_and(|it| self.options.link_idle_timeout <= now - it);
            idle || !link.is_open()
        };
        for link in self.pool.sweep(is_over) {
            self.put_away(link);
        }
        self.sweep_standing(now);
        // A server that is to run keeps its spare, whether anybody comes or not, or is given
        // another below.
        let spare_is_over = |link: &Link| if eager { !link.is_open() } else { is_over(link) };
        if let Some(spare) = self.pool.sweep_spare(spare_is_over) {
            self.put_away(spare);
        }
        // One that failed, or for which there was no place.
        let is_due = {
            let life = self.life();
            life.state == State::Idle || life.retry_at().is_some_and(|at| at <= now)
        };
        if eager && is_due {
            self.warm_up().await;
        }
        self.sweep_warm().await;
        for link in self.open_links() {
            link.sweep();
            if self.is_suspect(&link, now)
                && link.begin_probe()
                && let Some(me) = self.me.upgrade()
            {
                self.tasks.spawn(async move {
                    me.probe(&link).await;
                    link.end_probe();
                });
            }
        }
    }

    /// Whether a link that somebody uses has been silent for long.
    ///
    /// A server of HTTP is left alone unless it owes an answer, since its sessions are not ours
    /// to keep alive; and one that waits for a client's answer is right to be silent.
    fn is_suspect(&self, link: &Arc<Link>, now: Instant) -> bool {
        self.options.ping_interval <= link.quiet_for(now)
            && link.idle_since().is_none()
            && link.is_listening()
            && (self.options.wire == Wire::Child || link.in_flight() > 0)
            && !link.waits_for_client()
    }

    /// Asks for a sign of life.  A child that gives none is replaced, and the session with a server
    /// of HTTP, whose stream may have been cut off without a word; but one with work to do may be
    /// too busy to answer, and has as long as a request has.
    async fn probe(&self, link: &Arc<Link>) {
        let Ok(ping) = Message::request(&Id::from(0), "ping", &json!({})) else { return };
        let (began, said) = (Instant::now(), link.said_count());
        let mut pong = std::pin::pin!(link.ask(ping));
        loop {
            match tokio::time::timeout(LOOK_INTERVAL, &mut pong).await {
                Ok(Err(error)) if *error.kind() == ErrorKind::NoSession => {
                    return self.lost(link, &error);
                }
                // Whatever it says, it lives; or its end is known otherwise.
                Ok(_) => return,
                Err(_) => (),
            }
            if !link.is_open() || link.said_count() != said || link.waits_for_client() {
                return;
            }
            let patience = match link.in_flight() {
                0 => self.options.ping_timeout,
                _ => self.options.ping_timeout.max(self.options.call.first_byte_timeout),
            };
            if began.elapsed() < patience {
                continue;
            }
            let secs = began.elapsed().as_secs();
            let ended = match self.options.wire {
                Wire::Http => "its session was given up",
                _ => "was ended",
            };
            let what = format!("it did not answer a `ping` for {secs} s and {ended}");
            let error = TransportError::new(ErrorKind::Timeout, what.clone()).of(&self.name);
            self.counts.hung();
            link.doom(what);
            return self.lost(link, &error);
        }
    }

    /// Opens no more links, and closes those that are shared.
    pub(crate) async fn shut_down(&self, why: &'static str) {
        self.stop_opening(why);
        let shared = self.pool.drain().await.into_iter().chain(self.take_standing());
        let links = shared.map(|link| self.give_up(link));
        let warm = self.warm.drain().into_iter().map(super::Seat::vacate);
        future::join(future::join_all(links), future::join_all(warm)).await;
    }

    /// Opens no more links.
    pub(crate) fn stop_opening(&self, why: &'static str) {
        self.life().close(why);
    }

    /// Opens no more links: another takes its place, and what the links of this one still do is
    /// done to its end.
    pub(crate) fn retire(&self) {
        self.stop_opening("its configuration is being changed");
        self.retired.cancel();
    }

    /// Closes the shared links as soon as they carry nothing more, or at the deadline.
    pub(crate) async fn drain(&self, deadline: Instant) {
        let warm = self.warm.drain().into_iter().map(super::Seat::vacate);
        let shared = self.pool.drain().await.into_iter().chain(self.take_standing());
        let closing = shared.map(async |link| {
            link.drain(deadline).await;
            self.give_up(link).await;
        });
        // Links of one request are in nobody's keeping.
        let alone = match self.options.isolation {
            Isolation::Request => self.open_links(),
            _ => Vec::new(),
        };
        let alone = alone.into_iter().map(async |link| {
            link.drain(deadline).await;
            self.give_up(link).await;
        });
        let others = future::join(future::join_all(warm), future::join_all(alone));
        future::join(future::join_all(closing), others).await;
    }

    /// Whether another has taken its place.
    pub(crate) fn is_retired(&self) -> bool {
        self.retired.is_cancelled()
    }

    /// Has what its links still do cut off now.
    pub(crate) fn hurry(&self) {
        self.hurry.cancel();
    }

    /// Waits until there is no time left for what its links still do.
    pub(crate) async fn hurried(&self) {
        self.hurry.cancelled().await;
    }

    /// Does this, unless another takes its place meanwhile.
    pub(crate) async fn unless_retired<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        self.retired.run_until_cancelled(Box::pin(work)).await
    }
}
