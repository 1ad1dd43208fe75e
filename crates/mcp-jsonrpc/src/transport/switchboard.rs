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
//! Nobody waits for a slow reader, since that would hold up all the others: what its queue has no
//! room for is dropped.  Answers are never dropped: a request's answer has its place from the
//! moment the request is taken in.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use futures::{Stream, StreamExt, stream};
use serde_json::value::RawValue;
use tokio::sync::mpsc;
use tracing::{debug, warn};

use super::{ErrorKind, Event, EventStream, Inbox, InboxMax, Reply, TransportError};
use crate::{
    Id, Kind, Message, RpcError,
    params::{AnyParams, Cancelled, Progress},
};

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

/// What a peer says to one request.  Dropping it before the response abandons the request.
pub struct Asked {
    ours: i64,
    inbox: Arc<Inbox>,
    board: Switchboard,
    done: bool,
}

#[derive(Default)]
struct State {
    last: i64,
    waiting: HashMap<i64, Waiting>,
    /// Tokens as they went out, each as JSON in one spelling.
    progress: HashMap<Box<str>, i64>,
    /// Of requests that began a task.
    tasks: VecDeque<Token>,
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
        let board = Board { state: Mutex::new(state), outgoing, max };
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
        let params = if message.mentions("progressToken") { message.read().ok() } else { None };
        let token = params.and_then(|params: AnyParams<'_>| params.meta.progress);
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
        let token = token.map(|token| state.enter_token(token, ours, &mut outgoing));
        let cancellable = message.method() != Some("initialize");
        let waiting = Waiting { theirs, token, inbox: Arc::clone(&inbox), cancellable };
        state.waiting.insert(ours, waiting);
        drop(state);

        Ok((outgoing, Asked { ours, inbox, board: self.clone(), done: false }))
    }

    /// What a notification or an answer looks like as it goes out; none if there is no point.
    ///
    /// A cancellation fails its asker with [`ErrorKind::Cancelled`], since a peer need not answer
    /// any more.  It goes no further if askers who share the channel use the id it names twice:
    /// they cancel by dropping.
    pub fn tell(&self, message: Message) -> Option<Message> {
        if message.method() != Some("notifications/cancelled") {
            return Some(message);
        }
        let Cancelled { request_id, .. } = message.read().ok()?;
        let ours = self.state().only(&request_id)?;
        let cancelled = TransportError::new(ErrorKind::Cancelled, "its caller cancelled it");
        self.remove(ours)?.inbox.finish(Err(cancelled));
        renamed(&message, ours)
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
                self.write(refusal(&message));
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

    fn answer(&self, message: &Message) {
        let waiting = match message.id() {
            Some(Id::Number(ours)) => self.remove(*ours),
            Some(Id::Text(_)) | None => None,
        };
        match waiting {
            Some(waiting) => {
                if let Some(token) = waiting.token
                    && message.mentions("\"taskId\"")
                {
                    self.state().keep_token(token);
                }
                waiting.inbox.finish(Ok(Some(message.with_id(waiting.theirs))));
            }
            None => debug!(?message, "answer to nothing, or too late: dropped"),
        }
    }

    fn report(&self, message: Message) {
        let (to, message) = {
            let Ok(Progress { progress_token }) = message.read() else {
                debug!("progress without a token: dropped");
                return;
            };
            let state = self.state();
            let out = spelled(progress_token);
            let waiting = state.progress.get(&out).and_then(|ours| state.waiting.get(ours));
            let token = match waiting {
                Some(waiting) => waiting.token.as_ref(),
                None => state.tasks.iter().find(|token| token.out == out),
            };
            let Some(token) = token else {
                debug!("progress of nothing: dropped");
                return;
            };
            let theirs = token.theirs.as_deref();
            let restored = theirs.map(|theirs| message.with_part(progress_token, &theirs));
            let restored = restored.and_then(Result::ok).unwrap_or_else(|| message.clone());
            (waiting.map(|waiting| Arc::clone(&waiting.inbox)), restored)
        };
        // A task reports after its request was answered.
        let Some(to) = to else { return self.announce(message.into()) };
        if to.push(message.into()).is_err() {
            warn!("an asker is too slow, or gone: progress dropped");
        }
    }

    /// Hands the binding a message of our own; lost if it is far behind.
    fn write(&self, message: Option<Message>) {
        let Some(message) = message else { return };
        if self.0.outgoing.try_send(Box::new(message)).is_err() {
            debug!("the peer is gone, or too busy to hear of it");
        }
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
    fn enter_token(&mut self, token: &RawValue, ours: i64, outgoing: &mut Message) -> Token {
        let mut entered = Token { out: spelled(token), theirs: None };
        let in_use = |token: &str| {
            self.progress.contains_key(token) || self.tasks.iter().any(|it| *it.out == *token)
        };
        if in_use(&entered.out) {
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

/// One spelling for a token that JSON can spell in many ways.
fn spelled(token: &RawValue) -> Box<str> {
    match Id::read(token.get()) {
        Some(token) => token.to_string().into(),
        None => token.get().into(),
    }
}

fn with_token(message: &Message, token: &str) -> Option<Message> {
    let token = RawValue::from_string(token.to_owned()).ok()?;
    let params = message.read::<AnyParams<'_>>().ok()?;
    message.with_part(params.meta.progress?, &token).ok()
}

// === impl Asked ===

impl Asked {
    /// Waits for the first thing said: mostly the response, and no stream need be opened.
    pub async fn reply(mut self) -> Result<Reply, TransportError> {
        match self.next().await {
            Some(Ok(Event::Message { message, .. })) if message.is_answer() => {
                Ok(Reply::Single(message))
            }
            Some(Ok(first)) => Ok(Reply::Stream(stream::iter([Ok(first)]).chain(self).boxed())),
            Some(Err(error)) => Err(error),
            None => Err(TransportError::new(ErrorKind::Closed, "no answer will come")),
        }
    }
}

impl Stream for Asked {
    type Item = Result<Event, TransportError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.done {
            return Poll::Ready(None);
        }
        let next = ready!(self.inbox.poll_next(cx));
        self.done = match &next {
            Some(Ok(Event::Message { message, .. })) => message.is_answer(),
            Some(Ok(_)) => false,
            Some(Err(_)) | None => true,
        };
        Poll::Ready(next)
    }
}

impl fmt::Debug for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asked").field("ours", &self.ours).finish_non_exhaustive()
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        // An `initialize` cannot be cancelled (basic/utilities/cancellation): it is forgotten.
        let Some(Waiting { cancellable: true, .. }) = self.board.remove(self.ours) else {
            return;
        };
        self.board.write(cancellation(self.ours));
    }
}

/// What is said to a request that nobody takes.
fn refusal(request: &Message) -> Option<Message> {
    let id = request.id()?;
    if request.method() == Some("ping") {
        return Message::response(id, &serde_json::json!({})).ok();
    }
    let error = RpcError::new(RpcError::INTERNAL, "no client listens to requests of this session");
    Message::error(Some(id), &error).ok()
}

/// A cancellation under an id of ours, in its caller's words.
fn renamed(cancelled: &Message, ours: i64) -> Option<Message> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Raw<'a> {
        #[serde(borrow)]
        request_id: &'a RawValue,
    }
    let raw: Raw<'_> = cancelled.read().ok()?;
    cancelled.with_part(raw.request_id, &ours).ok()
}

fn cancellation(ours: i64) -> Option<Message> {
    let mut params = serde_json::json!({ "requestId": ours });
    if let (Some(reason), Some(params)) = (super::reason(), params.as_object_mut()) {
        params.insert("reason".to_owned(), (*reason).into());
    }
    Message::notification("notifications/cancelled", &params).ok()
}

#[cfg(test)]
mod tests;
