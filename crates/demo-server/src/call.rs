//! One call of a tool, while it runs.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures::{Stream, StreamExt, future::BoxFuture, stream};
use mcp_jsonrpc::{
    Id, Kind, Message, ProtocolVersion, RpcError,
    transport::{ErrorKind, Event, Inbox, Reply, TransportError},
};
use serde_json::{Value, json, value::RawValue};
use tokio::sync::oneshot;

use crate::{
    modern::Answers,
    revision::{PROGRESS, fit},
    state::{Inner, LEVELS},
};

/// What a tool needs of the session and of the call that runs it.
pub(crate) struct Call {
    pub(crate) session: Arc<Inner>,
    pub(crate) version: ProtocolVersion,
    token: Option<Box<RawValue>>,
    /// What came with the request, of a client that cannot be asked while it waits.
    answers: Option<Answers>,
    inbox: Arc<Inbox>,
}

/// Why a question has no answer.
pub(crate) enum Unanswered {
    /// The client answered with an error.
    Refused(RpcError),
    /// The client did not answer in time.
    Late,
    /// The answer is none.
    Garbled,
    /// It is to be asked in the place of a result: under which key, and what (2026-07-28).
    Open(&'static str, Value),
    /// The answers that came are to another question (2026-07-28).
    Stale(RpcError),
}

/// A call as its caller sees it: what it says, and its answer last.
///
/// It runs while it is polled.  Dropping it ends it.
pub(crate) struct Running {
    id: Id,
    session: Arc<Inner>,
    inbox: Arc<Inbox>,
    work: Option<BoxFuture<'static, Result<Value, RpcError>>>,
    done: bool,
}

// === impl Call ===

impl Call {
    pub(crate) fn new(
        session: Arc<Inner>,
        version: ProtocolVersion,
        token: Option<Box<RawValue>>,
    ) -> Self {
        let inbox = Inbox::new(session.options().inbox);
        Self { session, version, token, answers: None, inbox }
    }

    /// The same with what came with the request.
    pub(crate) fn with(mut self, answers: Answers) -> Self {
        self.answers = Some(answers);
        self
    }

    /// Says that this much is done; nothing to a caller who does not want to hear of it.
    pub(crate) async fn progress(&self, done: u32, total: u32) {
        let Some(token) = &self.token else { return };
        let params = json!({
            "progressToken": token,
            "progress": done,
            "total": total,
            "message": format!("step {done} of {total}"),
        });
        let params = fit(params, PROGRESS, self.version);
        self.say(Message::notification("notifications/progress", &params).ok()).await;
    }

    /// Logs, unless the client wants to hear of graver things only; tells whether it did.
    pub(crate) async fn log(&self, level: usize, data: &Value) -> bool {
        let Some(name) = LEVELS.get(level) else { return false };
        if level < self.session.state().level {
            return false;
        }
        let params = json!({ "level": name, "logger": "demo", "data": data });
        self.say(Message::notification("notifications/message", &params).ok()).await;
        true
    }

    /// Asks the client, and waits for what it answers.
    pub(crate) async fn ask(
        &self,
        method: &'static str,
        params: &Value,
    ) -> Result<Value, Unanswered> {
        match &self.answers {
            None => (),
            Some(Answers::Refused(error)) => return Err(Unanswered::Stale(error.clone())),
            Some(Answers::Given(answers)) if answers.contains_key(method) => {
                return Ok(answers.get(method).cloned().unwrap_or_default());
            }
            Some(_) => {
                return Err(Unanswered::Open(
                    method,
                    json!({ "method": method, "params": params }),
                ));
            }
        }
        let (question, answer) = Question::new(Arc::clone(&self.session));
        self.say(Message::request(&Id::from(question.id), method, params).ok()).await;
        let limit = self.session.options().answer_timeout;
        let Ok(Ok(answer)) = tokio::time::timeout(limit, answer).await else {
            return Err(Unanswered::Late);
        };
        match answer.kind() {
            Kind::Error => match answer.read() {
                Ok(error) => Err(Unanswered::Refused(error)),
                Err(_) => Err(Unanswered::Garbled),
            },
            _ => answer.read().map_err(|_| Unanswered::Garbled),
        }
    }

    /// Says something before the answer, and waits until it is taken: a call is never further
    /// ahead of its reader than one message.
    async fn say(&self, message: Option<Message>) {
        let Some(message) = message else { return };
        if self.inbox.push(message.into()).is_ok() {
            // No waker is needed: who takes it polls this next.
            poll_fn(|_| if self.inbox.is_empty() { Poll::Ready(()) } else { Poll::Pending }).await;
        }
    }
}

// === impl Running ===

impl Running {
    /// Enters a call among those that run, with its work.
    pub(crate) fn start(
        id: Id,
        call: &Call,
        work: BoxFuture<'static, Result<Value, RpcError>>,
    ) -> Result<Self, TransportError> {
        let session = Arc::clone(&call.session);
        let inbox = Arc::clone(&call.inbox);
        let mut state = session.state();
        if state.over {
            return Err(TransportError::new(ErrorKind::Closed, "the session is over"));
        }
        if state.running.contains_key(&id) {
            let kind = ErrorKind::Invalid(RpcError::INVALID_REQUEST);
            return Err(TransportError::new(kind, "a request of this id is still running"));
        }
        if session.options().in_flight_max <= state.running.len() {
            let what = "the session has as many calls running as it may";
            return Err(TransportError::new(ErrorKind::Exhausted, what));
        }
        state.running.insert(id.clone(), Arc::clone(&inbox));
        drop(state);
        Ok(Self { id, session, inbox, work: Some(work), done: false })
    }

    /// Runs until there is something to say: mostly the answer, and no stream need be opened.
    pub(crate) async fn reply(mut self) -> Result<Reply, TransportError> {
        match self.next().await {
            Some(Ok(Event::Message { message, .. })) if message.is_answer() => {
                Ok(Reply::Single(message))
            }
            Some(Ok(first)) => Ok(Reply::Stream(stream::iter([Ok(first)]).chain(self).boxed())),
            Some(Err(error)) => Err(error),
            None => Err(TransportError::new(ErrorKind::Closed, "the session is over")),
        }
    }

    /// Lets the call work; tells whether there may be something to say now.
    fn work(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(work) = &mut self.work else { return false };
        let Poll::Ready(answer) = work.as_mut().poll(cx) else { return !self.inbox.is_empty() };
        self.work = None;
        let answer = match answer {
            Ok(result) => Message::response(&self.id, &result),
            Err(error) => Message::error(Some(&self.id), &error),
        };
        self.inbox.finish(answer.map(Some).map_err(|error| {
            TransportError::new(ErrorKind::TooLarge, "the answer cannot be written").because(error)
        }));
        true
    }
}

impl Stream for Running {
    type Item = Result<Event, TransportError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.done {
            return Poll::Ready(None);
        }
        loop {
            if let Poll::Ready(next) = self.inbox.poll_next(cx) {
                self.done = !matches!(&next, Some(Ok(Event::Message { message, .. }))
                    if !message.is_answer());
                if self.done {
                    self.work = None;
                }
                return Poll::Ready(next);
            }
            if !self.work(cx) {
                return Poll::Pending;
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut state = self.session.state();
        // Once cancelled, its id may be another's.
        if state.running.get(&self.id).is_some_and(|inbox| Arc::ptr_eq(inbox, &self.inbox)) {
            state.running.remove(&self.id);
        }
    }
}

/// A question that waits for its answer.  Dropping it before takes it back.
struct Question {
    id: i64,
    session: Arc<Inner>,
}

impl Question {
    fn new(session: Arc<Inner>) -> (Self, oneshot::Receiver<Message>) {
        let (sender, answer) = oneshot::channel();
        let mut state = session.state();
        state.question_last += 1;
        let id = state.question_last;
        state.questions.insert(id, sender);
        drop(state);
        (Self { id, session }, answer)
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        let unanswered = self.session.state().questions.remove(&self.id).is_some();
        if unanswered {
            let params = json!({ "requestId": self.id, "reason": "nobody waits for it any more" });
            self.session.announce("notifications/cancelled", &params);
        }
    }
}
