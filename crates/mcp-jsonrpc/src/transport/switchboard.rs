//! For wires where everything shares one channel: which message is for whom.
//!
//! Over stdio and HTTP+SSE all that a peer says comes down one stream.  A [`Switchboard`] keeps
//! whom to pass each message to: answers by id, progress by token, the rest to the listener.  It
//! does no I/O; a binding writes what [`ask`](Switchboard::ask) hands back and feeds what it
//! reads to [`dispatch`](Switchboard::dispatch).
//!
//! Several callers may share a channel, and each picks ids and progress tokens as it likes.  So a
//! request goes out under an id of ours, and under a token of ours where its own is in use; what
//! comes back is put under the caller's again.
//!
//! A peer without sessions (2026-07-28) says nothing but to a request, so nothing of what it says
//! is announced: a subscription's notifications go to whoever asked for it, also under the id it
//! gave it, and what can be for nobody in particular is dropped.  What is asked first decides which
//! kind of peer it is; a `server/discover` decides nothing, and is forgotten, not cancelled.
//!
//! Nobody waits for a slow reader, since that would hold up all the others: what its queue has no
//! room for is dropped.  Answers are never dropped: a request's answer has its place from the
//! moment the request is taken in.

mod asked;
mod modern;

use std::{
    borrow::Cow,
    collections::{HashMap, VecDeque},
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use futures::{StreamExt, stream};
use serde_json::value::RawValue;
use tokio::sync::mpsc;
use tracing::{debug, warn};

use self::modern::{Doubts, Wants, retagged};
use super::{ErrorKind, Event, EventStream, Inbox, InboxMax, TransportError};
use crate::{
    Era, Id, Kind, Message, RpcError,
    modern::{DISCOVER, NAMES_VERSION, Params},
    params::{Cancelled, PROGRESS_TOKEN},
    quick::QuickMap,
};

pub use asked::Asked;

/// How many messages of our own may wait to be written.
const OUTGOING_MAX: usize = 1024;

/// How many tokens of tasks are kept; of older ones no progress is passed on.
const TASKS_MAX: usize = 256;

/// Which message is for whom.
#[derive(Clone)]
pub struct Switchboard(Arc<Board>);

struct Board {
    state: Mutex<State>,
    outgoing: mpsc::Sender<Box<Message>>,
    max: SwitchboardMax,
    /// Of the peer, as soon as a request of either has been asked.
    era: OnceLock<Era>,
    /// How much was for nobody.
    unclaimed: AtomicU64,
}

/// How much a [`Switchboard`] holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SwitchboardMax {
    /// How many requests may wait for their answer at once.
    pub in_flight_max: usize,
    /// How much may wait for one asker, and how much for the listener.
    pub inbox: InboxMax,
}

impl Default for SwitchboardMax {
    /// 4,096 requests.
    fn default() -> Self {
        Self { in_flight_max: 4096, inbox: InboxMax::default() }
    }
}

#[derive(Default)]
struct State {
    last: i64,
    waiting: QuickMap<i64, Waiting>,
    /// Tokens as they went out, each as JSON in one spelling.
    progress: HashMap<Box<str>, i64>,
    /// Of requests that began a task.
    tasks: VecDeque<Token>,
    doubts: Doubts,
    listener: Option<Arc<Inbox>>,
    /// What came before anybody listened is kept for the first who does.
    claimed: bool,
    hung_up: Option<Arc<Reason>>,
}

type Reason = dyn Fn() -> TransportError + Send + Sync;

struct Waiting {
    theirs: Id,
    token: Option<Token>,
    inbox: Arc<Inbox>,
    cancellable: bool,
    wants: Wants,
}

/// A progress token, as JSON: the asker's own, and ours where that was in use.
struct Token {
    out: Box<str>,
    theirs: Option<Box<RawValue>>,
}

// === impl Switchboard ===

impl Switchboard {
    /// A board with nobody on it.
    ///
    /// Down the receiver comes what the board has to say, for the binding to write: cancellations
    /// of abandoned requests, refusals of the peer's requests that nobody listens to.
    pub fn new(max: SwitchboardMax) -> (Self, mpsc::Receiver<Box<Message>>) {
        let (outgoing, receiver) = mpsc::channel(OUTGOING_MAX);
        let state = State { listener: Some(Inbox::new(max.inbox)), ..State::default() };
        let (era, unclaimed) = (OnceLock::new(), AtomicU64::new(0));
        let board = Board { state: Mutex::new(state), outgoing, max, era, unclaimed };
        (Self(Arc::new(board)), receiver)
    }

    /// Takes a request in; returns it as it goes out, and where its answer will come.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] for what is no request, [`ErrorKind::Exhausted`] when as many wait
    /// as may, and what [`hang_up`](Self::hang_up) was told, as [`ErrorKind::Unavailable`], once the
    /// peer is gone.
    pub fn ask(&self, message: &Message) -> Result<(Message, Asked), TransportError> {
        let Some(theirs) = message.id().filter(|_| message.kind() == Kind::Request).cloned() else {
            let kind = ErrorKind::Invalid(RpcError::INVALID_REQUEST);
            return Err(TransportError::new(kind, "only a request can be asked"));
        };
        // Most requests have no token, and a look for the word is cheaper than reading them.
        let says = message.has(&PROGRESS_TOKEN)
            || (self.0.era.get() != Some(&Era::Legacy) && message.has(&NAMES_VERSION));
        let params = if says { message.read().ok() } else { None };
        let meta = params.and_then(|params: Params<'_>| params.meta);
        self.note_era(message, meta.as_ref());
        let is_modern = self.is_modern();
        let wants = meta.as_ref().filter(|_| is_modern).map(|meta| Wants::of(message, meta));
        let token = meta.and_then(|meta| meta.progress);
        let inbox = Inbox::new(self.0.max.inbox);

        let mut state = self.state();
        if let Some(reason) = &state.hung_up {
            return Err(reason().unsent());
        }
        if self.0.max.in_flight_max <= state.waiting.len() {
            let what = "too many requests are waiting for this server";
            return Err(TransportError::new(ErrorKind::Exhausted, what));
        }
        state.last += 1;
        let ours = state.last;
        let mut outgoing = message.with_id(Id::from(ours));
        let token = token.map(|token| state.enter_token(token, ours, &mut outgoing, is_modern));
        // A probe is not cancelled either: what is no request is too much for some who do not know
        // it.
        let method = message.method();
        let cancellable = method != Some("initialize") && (is_modern || method != Some(DISCOVER));
        let (inbox_kept, wants) = (Arc::clone(&inbox), wants.unwrap_or_default());
        let waiting = Waiting { theirs, token, inbox: inbox_kept, cancellable, wants };
        let is_alone = state.waiting.is_empty();
        state.waiting.insert(ours, waiting);
        drop(state);

        Ok((outgoing, Asked { ours, inbox, board: self.clone(), is_alone, done: false }))
    }

    /// What a notification or an answer looks like as it goes out; none if there is no point.
    ///
    /// A cancellation fails its asker with [`ErrorKind::Cancelled`], since a peer need not answer
    /// any more.  It goes no further if askers who share the channel use the id it names twice:
    /// they cancel by dropping.  A peer without sessions is told nothing of all this: who shares it
    /// cancels by dropping, and is asked nothing.
    pub fn tell(&self, message: Message) -> Option<Message> {
        let is_cancelled = message.method() == Some("notifications/cancelled");
        if self.is_modern() && (is_cancelled || message.is_answer()) {
            self.drop_unclaimed(&message, "a peer without sessions is not told so");
            return None;
        }
        if !is_cancelled {
            return Some(message);
        }
        let Cancelled { request_id, .. } = message.read().ok()?;
        let ours = self.state().only(&request_id)?;
        let cancelled = TransportError::new(ErrorKind::Cancelled, "its caller cancelled it");
        self.remove(ours)?.inbox.finish(Err(cancelled));
        asked::renamed(&message, ours)
    }

    /// Gives what nobody asked for to whoever takes this stream, and no longer to the last one.
    /// The first also gets what came before.
    pub fn listen(&self) -> EventStream {
        let mut state = self.state();
        let inbox = match state.listener.clone() {
            Some(first) if !state.claimed => first,
            last => {
                let inbox = Inbox::new(self.0.max.inbox);
                state.listener = Some(Arc::clone(&inbox));
                if let Some(last) = last {
                    last.finish(Ok(None));
                }
                inbox
            }
        };
        state.claimed = true;
        if state.hung_up.is_some() {
            inbox.finish(Ok(None));
        }
        drop(state);
        stream::poll_fn(move |cx| inbox.poll_next(cx)).boxed()
    }

    /// Passes one message of the peer's on.
    pub fn dispatch(&self, message: Message) {
        match message.kind() {
            Kind::Response | Kind::Error => self.answer(&message),
            Kind::Notification if message.method() == Some("notifications/progress") => {
                self.report(message);
            }
            Kind::Notification | Kind::Request if self.is_modern() => self.attribute(message),
            Kind::Notification | Kind::Request => self.announce(message.into()),
        }
    }

    /// Passes an event on to the listener.
    ///
    /// A request that cannot be passed on is refused, so that the peer does not wait for ever.
    pub fn announce(&self, event: Event) {
        let listener = self.state().listener();
        let left = match listener {
            Some(listener) => listener.push(event).err(),
            None => Some(event),
        };
        match left {
            Some(Event::Message { message, .. }) if message.kind() == Kind::Request => {
                warn!(method = message.method(), "no listener, or a slow one: request refused");
                self.write(asked::refusal(&message));
            }
            Some(_) => debug!("no listener, or a slow one: event dropped"),
            None => (),
        }
    }

    /// Fails everybody who waits, and all who ask from now on, with what `reason` makes.
    pub fn hang_up(&self, reason: impl Fn() -> TransportError + Send + Sync + 'static) {
        let mut state = self.state();
        if state.hung_up.is_some() {
            return;
        }
        let reason: Arc<Reason> = Arc::new(reason);
        state.hung_up = Some(Arc::clone(&reason));
        state.progress.clear();
        let listener = state.listener.clone();
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        for waiting in waiting.into_values() {
            waiting.inbox.finish(Err(reason()));
        }
        if let Some(listener) = listener {
            listener.finish(Ok(None));
        }
    }

    /// Whether the peer has not hung up.
    pub fn is_open(&self) -> bool {
        self.state().hung_up.is_none()
    }

    /// How many requests wait for their answer.
    pub fn in_flight(&self) -> usize {
        self.state().waiting.len()
    }

    /// How many messages of a peer without sessions, or to it, were for nobody, and dropped.
    pub fn unclaimed(&self) -> u64 {
        self.0.unclaimed.load(Ordering::Relaxed)
    }

    fn answer(&self, message: &Message) {
        let waiting = match message.id() {
            Some(Id::Number(ours)) => self.remove(*ours),
            Some(Id::Text(_)) | None => None,
        };
        match waiting {
            Some(waiting) => {
                if let (true, Some(Id::Number(ours))) = (self.is_modern(), message.id()) {
                    self.state().doubts.heard_of(*ours);
                }
                if let Some(token) = waiting.token
                    && !self.is_modern()
                    && message.mentions("\"taskId\"")
                {
                    self.state().keep_token(token);
                }
                let mut answer = message.with_id(waiting.theirs.clone());
                if waiting.wants.changes {
                    answer = retagged(&answer, &waiting.theirs);
                }
                waiting.inbox.finish(Ok(Some(answer)));
            }
            None => {
                debug!(?message, "answer to nothing, or too late: dropped");
                if let Some(Id::Number(ours)) = message.id() {
                    self.state().doubts.clear(*ours);
                }
            }
        }
    }

    fn report(&self, message: Message) {
        let (to, message) = {
            let Ok([Some(said)]) = message.pick(["progressToken"]) else {
                debug!("progress without a token: dropped");
                return;
            };
            let mut state = self.state();
            let out = spelled(said);
            let ours = state.progress.get(&*out).copied();
            if let Some(ours) = ours {
                state.doubts.heard_of(ours);
            }
            let waiting = ours.and_then(|ours| state.waiting.get(&ours));
            let token = match waiting {
                Some(waiting) => waiting.token.as_ref(),
                None => state.tasks.iter().find(|token| *token.out == *out),
            };
            let Some(token) = token else {
                if self.is_modern() {
                    return self.drop_unclaimed(&message, "progress of nothing");
                }
                debug!("progress of nothing: dropped");
                return;
            };
            let theirs = token.theirs.as_deref();
            let restored = theirs.map(|theirs| message.with_text(said, theirs.get()));
            let restored = restored.and_then(Result::ok).unwrap_or_else(|| message.clone());
            (waiting.map(|waiting| Arc::clone(&waiting.inbox)), restored)
        };
        // A task reports after its request was answered.
        let Some(to) = to else { return self.announce(message.into()) };
        if to.push(message.into()).is_err() {
            warn!("an asker is too slow, or gone: progress dropped");
        }
    }

    /// Hands the binding a message of our own; false, and lost, if it is far behind.
    fn write(&self, message: Option<Message>) -> bool {
        let Some(message) = message else { return false };
        let written = self.0.outgoing.try_send(Box::new(message)).is_ok();
        if !written {
            debug!("the peer is gone, or too busy to hear of it");
        }
        written
    }

    fn remove(&self, ours: i64) -> Option<Waiting> {
        let mut state = self.state();
        let waiting = state.waiting.remove(&ours)?;
        if let Some(token) = &waiting.token {
            state.progress.remove(&token.out);
        }
        Some(waiting)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Switchboard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Switchboard").field("in_flight", &self.in_flight()).finish_non_exhaustive()
    }
}

// === impl State ===

impl State {
    /// Enters a token, and writes another in its place where somebody else's is in use.
    ///
    /// To a peer without sessions none goes out as it is: whoever had it before may be a stranger,
    /// and progress of that request still on its way.
    fn enter_token(
        &mut self,
        token: &RawValue,
        ours: i64,
        outgoing: &mut Message,
        is_modern: bool,
    ) -> Token {
        let mut entered = Token { out: spelled(token.get()).into(), theirs: None };
        let in_use = |token: &str| {
            self.progress.contains_key(token) || self.tasks.iter().any(|it| *it.out == *token)
        };
        if is_modern || in_use(&entered.out) {
            let free = |token: &String| !in_use(token);
            let mut ours = (0_u64..).map(|n| format!("\"gateway-{ours}-{n}\""));
            if let Some(another) = ours.find(free)
                && let Some(edited) = with_token(outgoing, &another)
            {
                entered = Token { out: another.into(), theirs: Some(token.to_owned()) };
                *outgoing = edited;
            }
        }
        self.progress.insert(entered.out.clone(), ours);
        entered
    }

    /// Keeps the token of a request that was answered by a task (2025-11-25), which goes on to
    /// report under it.
    fn keep_token(&mut self, token: Token) {
        if TASKS_MAX <= self.tasks.len() {
            self.tasks.pop_front();
        }
        self.tasks.push_back(token);
    }

    /// The request that goes by this id of its asker's, if just one does and can be cancelled.
    fn only(&self, theirs: &Id) -> Option<i64> {
        let mut found = self.waiting.iter().filter(|(_, waiting)| waiting.theirs == *theirs);
        let (ours, waiting) = found.next()?;
        (found.next().is_none() && waiting.cancellable).then_some(*ours)
    }

    /// Who listens, or may still come to.
    fn listener(&mut self) -> Option<Arc<Inbox>> {
        let gone = |listener: &mut Arc<Inbox>| self.claimed && Arc::strong_count(listener) == 1;
        self.listener.take_if(gone);
        self.listener.clone()
    }
}

/// One spelling for a token that JSON can spell in many ways: those without an escape are alike
/// already.
fn spelled(token: &str) -> Cow<'_, str> {
    match token.contains('\\').then(|| Id::read(token)) {
        Some(Some(token)) => Cow::Owned(token.to_string()),
        Some(None) | None => Cow::Borrowed(token),
    }
}

fn with_token(message: &Message, token: &str) -> Option<Message> {
    let token = RawValue::from_string(token.to_owned()).ok()?;
    let params = message.read::<Params<'_>>().ok()?;
    message.with_part(params.meta?.progress?, &token).ok()
}

#[cfg(test)]
mod modern_tests;
#[cfg(test)]
mod tests;
