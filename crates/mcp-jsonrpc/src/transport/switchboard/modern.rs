//! A peer without sessions (2026-07-28) on one channel: whom is it for, what nobody's answer is?
//!
//! All that such a peer says belongs to a request.  What listens is named by its id, progress by
//! its token; a line of log names nothing, and goes to the one request that can have caused it, or
//! to nobody.  Nothing is guessed: those who share the channel may be strangers to each other.

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use serde::Deserialize;
use serde_json::{json, value::RawValue};
use tokio::time::Instant;
use tracing::{debug, warn};

use super::{Inbox, State, Switchboard, asked};
use crate::{
    Era, Id, Kind, Message,
    modern::{self, RequestMeta, ResultMeta},
    params::Cancelled,
    transport::{ErrorKind, TransportError},
};

/// How long after a request was abandoned its server may still work on it, and say so.
pub(super) const DOUBT_TIMEOUT: Duration = Duration::from_secs(5 * 60);
/// How long it may where it has certainly read that nobody waits any more: it has said something to
/// a request that was sent after that.
pub(super) const DOUBT_SETTLE_TIMEOUT: Duration = Duration::from_secs(5);
/// How many abandoned requests are remembered; the last one stands for those beyond.
pub(super) const DOUBTS_MAX: usize = 256;

/// What a request wants to hear of, besides its answer and its progress.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Wants {
    /// It is a `subscriptions/listen`.
    pub(super) changes: bool,
    /// It has asked for a log.
    pub(super) log: bool,
}

/// Requests that nobody waits for any more, and that may still have something to say.
#[derive(Debug, Default)]
pub(super) struct Doubts {
    all: VecDeque<Doubt>,
    /// Whether the server has been seen to work on where it knew that nobody waits.
    works_on: bool,
}

#[derive(Debug)]
struct Doubt {
    ours: i64,
    log: bool,
    until: Instant,
    since: Instant,
    /// The last request before that; none where the server could not be told.
    after: Option<i64>,
}

/// A part with `_meta`: parameters of a notification, or a result.
#[derive(Debug, Deserialize)]
struct Tagged<'a> {
    #[serde(borrow, default, rename = "_meta")]
    meta: Option<ResultMeta<'a>>,
}

// === impl Wants ===

impl Wants {
    pub(super) fn of(message: &Message, meta: &RequestMeta<'_>) -> Self {
        let changes = message.method() == Some(modern::LISTEN) && meta.version.is_some();
        Self { changes, log: meta.log_level.is_some() }
    }
}

// === impl Switchboard ===

impl Switchboard {
    /// Whether its peer is spoken to without a handshake.
    pub(super) fn is_modern(&self) -> bool {
        self.0.era.get() == Some(&Era::Modern)
    }

    /// Notes of what era a request is; the first one that is plain decides.
    ///
    /// A `server/discover` decides nothing: whoever asks it may go on with `initialize`.
    pub(super) fn note_era(&self, message: &Message, meta: Option<&RequestMeta<'_>>) {
        let era = match message.method() {
            Some("initialize") => Era::Legacy,
            Some(method) if method != modern::DISCOVER => match meta {
                Some(meta) if meta.version.is_some() => Era::Modern,
                _ => return,
            },
            _ => return,
        };
        // Fails where it is decided already.
        let _decided = self.0.era.set(era);
    }

    /// Passes on what is no answer and no progress.
    pub(super) fn attribute(&self, message: Message) {
        let method = message.method();
        if message.kind() == Kind::Request {
            // Nor may it be refused: clients of 2026-07-28 write no answers.
            return self.drop_unclaimed(&message, "a peer without sessions asks nothing");
        }
        if method == Some("notifications/cancelled") {
            return self.end_listen(&message);
        }
        if let Some(id) = subscription_of(&message) {
            return self.tell_listener(&message, &id);
        }
        let only = self.state().only_cause(method == Some("notifications/message"));
        let is_change = method.is_some_and(|method| {
            method.ends_with("/list_changed")
                || matches!(method, "notifications/resources/updated" | modern::ACKNOWLEDGED)
        });
        match only.filter(|_| !is_change) {
            Some(inbox) => {
                if inbox.push(message.into()).is_err() {
                    warn!("an asker is too slow, or gone: notification dropped");
                }
            }
            None => self.drop_unclaimed(&message, "it cannot be told which request it is for"),
        }
    }

    /// What comes of a subscription goes to whoever asked for it, under the id it gave it.
    fn tell_listener(&self, message: &Message, id: &Id) {
        let found = match id {
            Id::Number(ours) => self.state().listener_of(*ours).map(|found| (*ours, found)),
            Id::Text(_) => None,
        };
        let Some((ours, (theirs, inbox))) = found else {
            return self.drop_unclaimed(message, "it is of no subscription that is open");
        };
        self.state().doubts.heard_of(ours);
        if inbox.push(retagged(message, &theirs).into()).is_ok() {
            return;
        }
        // What it missed it would never know; a subscription that ends it asks for again.
        warn!("a listener is too slow: its subscription is ended");
        if self.remove(ours).is_some() {
            let what = "its listener was too slow, and has missed notifications";
            let error = TransportError::new(ErrorKind::Exhausted, what);
            inbox.finish(Err(error.hint("listen again, and read anew what may have changed")));
            self.write(asked::cancellation(ours));
        }
    }

    /// Peers may end a subscription by cancelling it: to who listens that is its result.
    fn end_listen(&self, cancelled: &Message) {
        let Ok(Cancelled { request_id: Id::Number(ours), .. }) = cancelled.read() else {
            return self.drop_unclaimed(cancelled, "it names no request of ours");
        };
        if self.state().listener_of(ours).is_none() {
            return self.drop_unclaimed(cancelled, "peers may only cancel subscriptions");
        }
        if let Some(waiting) = self.remove(ours) {
            let meta = json!({ modern::SUBSCRIPTION_ID: waiting.theirs });
            let result = json!({ "resultType": "complete", "_meta": meta });
            waiting.inbox.finish(Ok(Message::response(&waiting.theirs, &result).ok()));
        }
    }

    pub(super) fn drop_unclaimed(&self, message: &Message, why: &'static str) {
        self.0.unclaimed.fetch_add(1, Ordering::Relaxed);
        debug!(?message, "{why}: dropped");
    }
}

// === impl State ===

impl State {
    fn listener_of(&self, ours: i64) -> Option<(Id, Arc<Inbox>)> {
        let waiting = self.waiting.get(&ours).filter(|waiting| waiting.wants.changes)?;
        Some((waiting.theirs.clone(), Arc::clone(&waiting.inbox)))
    }

    /// The one request that can have caused what is said now: a line of log, or anything.
    fn only_cause(&mut self, is_log: bool) -> Option<Arc<Inbox>> {
        if self.doubts.any(is_log) {
            return None;
        }
        let may = |wants: Wants| !wants.changes && (wants.log || !is_log);
        let mut found = self.waiting.values().filter(|waiting| may(waiting.wants));
        let only = found.next()?;
        found.next().is_none().then(|| Arc::clone(&only.inbox))
    }
}

// === impl Doubts ===

impl Doubts {
    /// Nobody waits for this one any more, and `last` was the last before the server is told.
    pub(super) fn add(&mut self, ours: i64, wants: Wants, last: i64) {
        if wants.changes {
            return;
        }
        let (since, after) = (Instant::now(), Some(last));
        let doubt = Doubt { ours, log: wants.log, until: since + DOUBT_TIMEOUT, since, after };
        let is_full = DOUBTS_MAX <= self.all.len();
        match self.all.back_mut().filter(|_| is_full) {
            // It stands for several then, and no answer clears it.
            Some(last) => {
                let after = doubt.after.filter(|_| last.after.is_some());
                *last = Doubt { ours: 0, log: doubt.log || last.log, after, ..doubt };
            }
            None => self.all.push_back(doubt),
        }
    }

    /// The server could not be told of the last one.
    pub(super) fn untold(&mut self, ours: i64) {
        if let Some(last) = self.all.back_mut().filter(|last| last.ours == ours || last.ours == 0) {
            last.after = None;
        }
    }

    /// It was answered all the same: there is nothing more to come.
    pub(super) fn clear(&mut self, ours: i64) {
        let Some(at) = self.all.iter().position(|doubt| doubt.ours == ours) else { return };
        let answered = self.all.remove(at);
        // Its answer may have crossed with the cancellation, but not for so long.
        self.works_on |= answered.is_some_and(|it| DOUBT_SETTLE_TIMEOUT < it.since.elapsed());
    }

    /// The server said something to this one: it has read all that was sent before.
    pub(super) fn heard_of(&mut self, ours: i64) {
        if self.all.is_empty() || self.works_on {
            return;
        }
        let until = Instant::now() + DOUBT_SETTLE_TIMEOUT;
        let told = self.all.iter_mut().filter(|doubt| doubt.after.is_some_and(|it| it < ours));
        told.for_each(|doubt| doubt.until = doubt.until.min(until));
    }

    fn any(&mut self, is_log: bool) -> bool {
        let now = Instant::now();
        self.all.retain(|doubt| now < doubt.until);
        self.all.iter().any(|doubt| doubt.log || !is_log)
    }
}

/// The subscription that a notification names.
fn subscription_of(message: &Message) -> Option<Id> {
    if !message.mentions("subscriptionId") {
        return None;
    }
    let tagged: Tagged<'_> = message.read().ok()?;
    Id::read(tagged.meta?.subscription?.get())
}

/// The same message with the asker's id in the place of ours, if it names a subscription.
pub(super) fn retagged(message: &Message, theirs: &Id) -> Message {
    let written = |tagged: Tagged<'_>| -> Option<Message> {
        let ours: &RawValue = tagged.meta?.subscription?;
        message.with_part(ours, theirs).ok()
    };
    match message.mentions("subscriptionId") {
        true => message.read().ok().and_then(written),
        false => None,
    }
    .unwrap_or_else(|| message.clone())
}
