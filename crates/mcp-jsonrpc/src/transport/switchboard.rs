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
    collections::HashMap,
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
    Id, Kind, Message,
    params::{AnyParams, Cancelled, Progress},
};

/// How many cancellations may wait to be written.
const CANCELLATIONS_MAX: usize = 1024;

/// Which message is for whom.
#[derive(Clone)]
pub struct Switchboard(Arc<Board>);

struct Board {
    state: Mutex<State>,
    cancellations: mpsc::Sender<Message>,
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
    /// Tokens as they went out, as JSON.
    progress: HashMap<Box<str>, i64>,
    listener: Option<Arc<Inbox>>,
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
    /// Cancellations of abandoned requests come down the receiver, for the binding to write.
    pub fn new(max: SwitchboardMax) -> (Self, mpsc::Receiver<Message>) {
        let (cancellations, receiver) = mpsc::channel(CANCELLATIONS_MAX);
        let board = Board { state: Mutex::default(), cancellations, max };
        (Self(Arc::new(board)), receiver)
    }

    /// Takes a request in; returns it as it goes out, and where its answer will come.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] for what is no request, [`ErrorKind::Exhausted`] when as many wait
    /// as may, and whatever [`hang_up`](Self::hang_up) was told once the peer is gone.
    pub fn ask(&self, message: &Message) -> Result<(Message, Asked), TransportError> {
        let Some(theirs) = message.id().filter(|_| message.kind() == Kind::Request).cloned() else {
            let kind = ErrorKind::Invalid(crate::RpcError::INVALID_REQUEST);
            return Err(TransportError::new(kind, "only a request can be asked"));
        };
        // Most requests have no token, and a look for the word is cheaper than reading them.
        let params = if message.mentions("progressToken") { message.read().ok() } else { None };
        let token = params.and_then(|params: AnyParams<'_>| params.meta.progress);
        let inbox = Inbox::new(self.0.max.inbox);

        let mut state = self.state();
        if let Some(reason) = &state.hung_up {
            return Err(reason());
        }
        if self.0.max.in_flight_max <= state.waiting.len() {
            let what = "too many requests are waiting for this server";
            return Err(TransportError::new(ErrorKind::Exhausted, what));
        }
        state.last += 1;
        let ours = state.last;
        let mut outgoing = message.with_id(Id::from(ours));
        let token = match token {
            Some(token) => Some(state.enter_token(token, ours, &mut outgoing)),
            None => None,
        };
        let cancellable = message.method() != Some("initialize");
        let waiting = Waiting { theirs, token, inbox: Arc::clone(&inbox), cancellable };
        state.waiting.insert(ours, waiting);
        drop(state);

        Ok((outgoing, Asked { ours, inbox, board: self.clone(), done: false }))
    }

    /// What a notification or an answer looks like as it goes out; none if there is no point.
    pub fn tell(&self, message: Message) -> Option<Message> {
        if message.method() != Some("notifications/cancelled") {
            return Some(message);
        }
        let theirs = message.read::<Cancelled>().ok()?.request_id;
        let state = self.state();
        let (ours, _) = state.waiting.iter().find(|(_, waiting)| waiting.theirs == theirs)?;
        cancellation(*ours)
    }

    /// Gives what nobody asked for to whoever takes this stream, and no longer to the last one.
    pub fn listen(&self) -> EventStream {
        let inbox = Inbox::new(self.0.max.inbox);
        let mut state = self.state();
        if state.hung_up.is_some() {
            inbox.finish(Ok(None));
        }
        if let Some(last) = state.listener.replace(Arc::clone(&inbox)) {
            last.finish(Ok(None));
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
    pub fn announce(&self, event: Event) {
        let listener = self.state().listener.clone();
        match listener {
            Some(listener) if listener.push(event).is_ok() => (),
            Some(_) => warn!("the listener is too slow: event dropped"),
            None => debug!("nobody listens: event dropped"),
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
        let listener = state.listener.take();
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        for waiting in waiting.into_values() {
            waiting.inbox.finish(Err(reason()));
        }
        if let Some(listener) = listener {
            listener.finish(Ok(None));
        }
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
            Some(waiting) => waiting.inbox.finish(Ok(Some(message.with_id(waiting.theirs)))),
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
            let ours = state.progress.get(progress_token.get());
            let Some(waiting) = ours.and_then(|ours| state.waiting.get(ours)) else {
                debug!("progress of nothing: dropped");
                return;
            };
            let theirs = waiting.token.as_ref().and_then(|token| token.theirs.as_deref());
            let restored = theirs.map(|theirs| message.with_part(progress_token, &theirs));
            (Arc::clone(&waiting.inbox), restored.and_then(Result::ok).unwrap_or(message.clone()))
        };
        if to.push(message.into()).is_err() {
            warn!("an asker is too slow, or gone: progress dropped");
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
        let mut entered = Token { out: token.get().into(), theirs: None };
        if self.progress.contains_key(&entered.out) {
            let another = format!("\"gateway-{ours}\"");
            let edited = outgoing.read::<AnyParams<'_>>().ok().and_then(|params| {
                let another = RawValue::from_string(another.clone()).ok()?;
                outgoing.with_part(params.meta.progress?, &another).ok()
            });
            if let Some(edited) = edited {
                entered = Token { out: another.into(), theirs: Some(token.to_owned()) };
                *outgoing = edited;
            }
        }
        self.progress.insert(entered.out.clone(), ours);
        entered
    }
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
        let told = cancellation(self.ours).map(|it| self.board.0.cancellations.try_send(it));
        if !matches!(told, Some(Ok(()))) {
            debug!(id = self.ours, "peer is gone, or too busy to hear of a cancellation");
        }
    }
}

fn cancellation(ours: i64) -> Option<Message> {
    let params = serde_json::json!({ "requestId": ours });
    Message::notification("notifications/cancelled", &params).ok()
}

#[cfg(test)]
mod tests;
