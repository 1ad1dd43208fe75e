//! The one link to a server that speaks a revision without sessions (2026-07-28): it stands for
//! everybody, since such a server keeps nothing of one request for the next.

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use arc_swap::ArcSwapOption;
use mcp_jsonrpc::{
    Era, Id, Message, ProtocolVersion, RpcError, modern,
    transport::{Caller, ErrorKind, Opening, TransportError},
};
use serde_json::json;
use tokio::time::Instant;
use tracing::warn;

use super::{Acquired, Purpose, Seat, Upstream, opening_of, unwritten};
use crate::{link::Link, load::Carried, places::Place, server::Startup, status::State};

/// The link that stands, if there is one.
#[derive(Debug, Default)]
pub(super) struct Standing {
    link: ArcSwapOption<Link>,
    /// Held while one is being opened.
    opening: tokio::sync::Mutex<()>,
    /// Whether it was used since the last look, and since when it was not.
    used: AtomicBool,
    idle_since: std::sync::Mutex<Option<Instant>>,
}

impl Upstream {
    /// Takes the link that stands for one exchange; opens it where there is none.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`] of a server that speaks with a handshake alone: nothing has
    /// failed then.
    pub(crate) async fn standing(&self, caller: &Caller) -> Result<Carried, TransportError> {
        loop {
            if let Some(carried) = self.stands() {
                return Ok(carried);
            }
            // In a box: rare, and large beside the future of a call.
            if let Some(carried) = self.carried(Box::pin(self.stand(caller)).await?) {
                return Ok(carried);
            }
        }
    }

    /// The same, where it stands already.
    pub(crate) fn stands(&self) -> Option<Carried> {
        self.carried(self.standing.open_link()?)
    }

    fn carried(&self, link: Arc<Link>) -> Option<Carried> {
        let carried = Carried::by(link)?;
        self.standing.used.store(true, std::sync::atomic::Ordering::Relaxed);
        Some(carried)
    }

    async fn stand(&self, caller: &Caller) -> Result<Arc<Link>, TransportError> {
        let _opening = self.standing.opening.lock().await;
        if let Some(link) = self.standing.open_link() {
            return Ok(link);
        }
        let is_pinned = self.options.version.is_some_and(|pinned| pinned.era() == Era::Legacy);
        if !self.options.modern || is_pinned {
            return Err(legacy());
        }
        if let Some(dead) = self.standing.link.swap(None) {
            self.bury(&dead);
        }
        let hope = self.hope_of_all();
        match self.stand_up(caller).await {
            Err(error) if *error.kind() == ErrorKind::Unsupported => Err(error),
            Err(error) if self.is_worth_another(hope, &error) => self.stand_up(caller).await,
            stood => stood,
        }
    }

    /// Opens it: for whoever has found that there is none.
    async fn stand_up(&self, caller: &Caller) -> Result<Arc<Link>, TransportError> {
        self.admit_soon()?;
        let deadline = Instant::now() + self.options.start_timeout;
        let _trying = self.turn(deadline).await?;
        let noted = self.life().noted();
        // Before there is a place for it: one that is of the other era needs none.
        let opening = Opening { version: Some(ProtocolVersion::V2026_07_28), ..opening_of(caller) };
        let behind = match tokio::time::timeout_at(deadline, self.transport.open(opening)).await {
            Ok(Ok(behind)) => behind,
            Ok(Err(error)) if *error.kind() == ErrorKind::Unsupported => {
                return Err(error.of(&self.name));
            }
            Ok(Err(error)) => return Err(self.ill(error, noted)),
            Err(_) => return Err(self.ill(self.too_slow(), noted)),
        };
        let place = match self.places.try_take() {
            Some(place) => place,
            // It stands already, for sessions that were made over it.
            None if self.transport.is_light() => Place::of_none(),
            None => {
                self.make_room().await;
                self.places.take().await.map_err(|error| error.of(&self.name))?
            }
        };
        let seat = Seat { place, behind: Some(behind) };
        let message = discover().map_err(unwritten)?;
        match self.reach(message, caller, Purpose::Standing, (deadline, seat)).await? {
            Acquired::Link(link) => {
                self.standing.link.store(Some(Arc::clone(&link)));
                self.leave_late();
                Ok(link)
            }
            Acquired::Refused(answer) => Err(self.refused(&answer, noted)),
        }
    }

    /// What an error in the place of a discovery means.
    fn refused(&self, answer: &Message, noted: u64) -> TransportError {
        let code = answer.read::<RpcError>().map_or(0, |error| error.code);
        if matches!(code, RpcError::METHOD_NOT_FOUND | RpcError::UNSUPPORTED_VERSION) {
            return legacy().of(&self.name);
        }
        let said = answer.body().unwrap_or_default().chars().take(512).collect::<String>();
        let kind = ErrorKind::Unavailable { retry_after: None };
        let what = "it refuses `server/discover`";
        self.ill(TransportError::new(kind, what).hint(said), noted)
    }

    /// Opens it before anybody needs it; whether the server is of this era.
    pub(super) async fn stand_by(&self) -> bool {
        if self.standing.open_link().is_some() {
            return true;
        }
        match self.stand(&Caller::anonymous()).await {
            Ok(_) => true,
            // Whatever else went wrong has been logged, and will be tried again.
            Err(error) => *error.kind() != ErrorKind::Unsupported,
        }
    }

    /// Notes its end where it died, and ends it where nobody has used it for long.
    pub(super) fn sweep_standing(&self, now: Instant) {
        let Some(link) = self.standing.link.load_full() else { return };
        if !link.is_open() {
            self.standing.link.store(None);
            return self.bury(&link);
        }
        let is_used = self.standing.used.swap(false, std::sync::atomic::Ordering::Relaxed);
        let mut idle_since = match self.standing.idle_since.lock() {
            Ok(idle_since) => idle_since,
            Err(poisoned) => poisoned.into_inner(),
        };
        if is_used || link.load.count() > 0 || self.options.startup == Startup::Eager {
            *idle_since = None;
            return;
        }
        let since = *idle_since.get_or_insert(now);
        if self.options.link_idle_timeout <= now - since {
            *idle_since = None;
            self.standing.link.store(None);
            link.let_go();
        }
    }

    /// Notes the death of one that nobody gave up.
    fn bury(&self, link: &Arc<Link>) {
        let what = "its process or connection ended";
        self.lost(link, &TransportError::new(ErrorKind::Closed, what).of(&self.name));
    }

    /// Gives it up where another server has taken this one's place while it was being opened, or
    /// no more is to be opened: whoever drains this one may have looked already.
    fn leave_late(&self) {
        let is_closed = self.life().state == State::Closed;
        if (is_closed || self.is_retired())
            && let Some(link) = self.take_standing()
            && let Some(me) = self.me.upgrade()
        {
            let patience = match self.is_retired() {
                true => self.options.call.total_timeout,
                // Nothing is waited for at the end.
                false => Duration::ZERO,
            };
            let deadline = Instant::now() + patience;
            self.tasks.spawn(async move {
                link.drain(deadline).await;
                me.give_up(link).await;
            });
        }
    }

    /// Takes it out, to be ended.
    pub(super) fn take_standing(&self) -> Option<Arc<Link>> {
        self.standing.link.swap(None)
    }

    /// Takes it out where nobody uses it, to be ended: somebody needs its place.
    pub(super) fn take_standing_idle(&self) -> Option<Arc<Link>> {
        let link = self.standing.link.load_full().filter(|link| link.load.close_if_idle())?;
        let found = Some(Arc::clone(&link));
        let before = self.standing.link.compare_and_swap(&found, None);
        before.as_ref().is_some_and(|before| Arc::ptr_eq(before, &link)).then_some(link)
    }

    /// Notes that an exchange met with an error that says that the link is dead.
    pub(crate) fn doubt(&self, link: &Arc<Link>, error: &TransportError) {
        if !link.behind.is_open() {
            warn!(server = %self.name, "the link that stands ended");
            self.lost(link, error);
        }
    }
}

impl Standing {
    fn open_link(&self) -> Option<Arc<Link>> {
        self.link.load_full().filter(|link| link.is_open())
    }
}

/// What the gateway asks in its own name.
fn discover() -> Result<Message, mcp_jsonrpc::ParseError> {
    let meta = json!({
        modern::PROTOCOL_VERSION: ProtocolVersion::V2026_07_28.as_str(),
        modern::CLIENT_CAPABILITIES: {},
        modern::CLIENT_INFO: { "name": "mcp-gateway", "version": env!("CARGO_PKG_VERSION") },
    });
    Message::request(&Id::from(0), modern::DISCOVER, &json!({ "_meta": meta }))
}

fn legacy() -> TransportError {
    let what = "it speaks revisions with a handshake alone";
    TransportError::new(ErrorKind::Unsupported, what)
}
