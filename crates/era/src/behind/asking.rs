//! One request to a server that asks in the place of a result: its questions go to the client, and
//! the request is sent once more with the answers (2026-07-28, multi round-trip requests).  What it
//! does in the background is `task.rs`'s.

use std::{borrow::Cow, collections::VecDeque, sync::Arc, time::Duration};

use futures::{StreamExt, stream};
use mcp_jsonrpc::{
    Id, Kind, Message, RpcError,
    modern::{self, Outcome},
    transport::{ErrorKind, Event, EventStream, Exchange, Reply, Session, TransportError},
};
use serde_json::{
    json,
    value::{RawValue, to_raw_value},
};
use tokio::sync::oneshot;
use tracing::debug;
use translate::{
    Passage,
    modern::down::{self, Question},
};

use super::{
    VERSION,
    made::{Hello, Talk},
    task::Task,
    unwritten,
};

/// How long to wait before a request is sent again that nobody had to be asked for, at first.
const PACE_MIN: Duration = Duration::from_millis(250);
/// And at most.
const PACE_MAX: Duration = Duration::from_secs(5);

/// A request until its last answer.
pub(super) struct Asking {
    pub(super) talk: Arc<Talk>,
    pub(super) hello: Arc<Hello>,
    pub(super) id: Id,
    pub(super) method: Box<str>,
    /// As it goes to the server, without answers.
    pub(super) exchange: Exchange,
    /// As it went there the last time.
    pub(super) sent: Message,
    /// Whether it says that it may be answered with a task.
    pub(super) may_be_task: bool,
    /// What it was answered with, while that is not over.
    pub(super) task: Option<Task>,
    /// How far it has come.
    pub(super) progress: f64,
    round: u32,
    pace: Duration,
    /// URLs to which the client has sent its user: key, URL, and what it is called by.
    visited: Vec<(Box<str>, Box<str>, String)>,
    pub(super) phase: Phase,
}

pub(super) enum Phase {
    /// The server speaks.
    Hearing(EventStream),
    /// The server does it in the background; what is to be said of that.
    Driving(Option<Message>),
    /// The client is asked.
    Asking(Round),
    /// All that is left to say.
    Saying(VecDeque<Message>),
}

/// One round of questions.
#[derive(Default)]
pub(super) struct Round {
    pub(super) to_ask: VecDeque<Question>,
    /// What is to be said before.
    pub(super) report: Option<Message>,
    waiting: VecDeque<Waiting>,
    pub(super) answers: Vec<(Box<str>, Box<RawValue>)>,
    state: Option<Box<RawValue>>,
    /// Whether the client had to be asked.
    is_asked: bool,
}

struct Waiting {
    question: Question,
    id: i64,
    name: Option<String>,
    answer: oneshot::Receiver<Message>,
}

/// What comes of a step.
pub(super) enum Step {
    Say(Message),
    Again,
}

/// Sends a request, and whatever has to be sent after it.
pub(super) async fn ask(
    talk: Arc<Talk>,
    hello: Arc<Hello>,
    mut exchange: Exchange,
) -> Result<Reply, TransportError> {
    let no_request = || TransportError::new(ErrorKind::Protocol, "a request without an id");
    let id = exchange.message.id().cloned().ok_or_else(no_request)?;
    let method: Box<str> = exchange.message.method().unwrap_or_default().into();
    let asked = talk.saying(&hello, |said| down::request(&exchange.message, said));
    exchange.message = asked.map_err(|error| {
        let kind = ErrorKind::Invalid(RpcError::INVALID_PARAMS);
        TransportError::new(kind, "`params` and `_meta` are objects").because(error)
    })?;
    exchange.version = Some(VERSION);
    let may_be_task =
        hello.has_tasks && &*method == "tools/call" && talk.home.is_task(&exchange.message);
    if may_be_task {
        exchange.message = down::with_tasks(&exchange.message).map_err(unwritten)?;
    }
    let reply = talk.wire.send(exchange.clone()).await?;
    let mut asking = Asking {
        talk,
        hello,
        id,
        method,
        sent: exchange.message.clone(),
        exchange,
        may_be_task,
        task: None,
        progress: 0.0,
        round: 0,
        pace: PACE_MIN,
        visited: Vec::new(),
        phase: Phase::Saying(VecDeque::new()),
    };
    if let Reply::Single(answer) = &reply
        && !asks(answer)
        && !asking.wants_task(answer)
    {
        return Ok(Reply::Single(asking.last(answer)));
    }
    asking.take(reply).await?;
    Ok(Reply::Stream(asking.into_stream()))
}

/// Whether an answer is none yet.
fn asks(answer: &Message) -> bool {
    answer.kind() == Kind::Response
        && answer.has(&modern::NAMES_RESULT_TYPE)
        && answer.pick(["resultType"]).is_ok_and(|[kind]| kind.is_some_and(is_not_over))
}

/// Whether a `resultType` says that more is to come.
fn is_not_over(kind: &str) -> bool {
    kind != r#""complete""#
        && serde_json::from_str::<Cow<'_, str>>(kind).is_ok_and(|kind| kind != "complete")
}

impl Asking {
    fn into_stream(self) -> EventStream {
        let events = stream::unfold(Some(self), |asking| async {
            let mut asking = asking?;
            loop {
                match asking.step().await {
                    Ok(Some(Step::Say(message))) => {
                        let rest = Some(asking).filter(|_| !message.is_answer());
                        return Some((Ok(Event::from(message)), rest));
                    }
                    Ok(Some(Step::Again)) => (),
                    Ok(None) => return None,
                    Err(error) => return Some((Err(error), None)),
                }
            }
        });
        events.boxed()
    }

    async fn step(&mut self) -> Result<Option<Step>, TransportError> {
        match &mut self.phase {
            Phase::Saying(messages) => Ok(messages.pop_front().map(Step::Say)),
            Phase::Hearing(events) => {
                let Some(event) = events.next().await else {
                    let what = "it ended its reply without an answer";
                    return Err(TransportError::new(ErrorKind::Protocol, what));
                };
                let Event::Message { message, .. } = event? else { return Ok(Some(Step::Again)) };
                if message.is_answer() {
                    self.answered(&message).await?;
                    return Ok(Some(Step::Again));
                }
                self.note_progress(&message);
                let heard = down::notification(&message, self.hello.version);
                Ok(Some(heard.map_or(Step::Again, Step::Say)))
            }
            Phase::Driving(_) => self.drive().await.map(Some),
            Phase::Asking(round) => {
                if let Some(report) = round.report.take() {
                    return Ok(Some(Step::Say(report)));
                }
                if let Some(question) = round.to_ask.pop_front() {
                    return self.put(question).map(Some);
                }
                if let Some(waiting) = round.waiting.pop_front() {
                    self.wait(waiting).await?;
                    return Ok(Some(Step::Again));
                }
                self.retry().await?;
                Ok(Some(Step::Again))
            }
        }
    }

    async fn take(&mut self, reply: Reply) -> Result<(), TransportError> {
        match reply {
            Reply::Single(answer) => self.answered(&answer).await,
            Reply::Stream(events) => {
                self.phase = Phase::Hearing(events);
                Ok(())
            }
            Reply::Accepted => {
                let what = "it took a request and did not answer it";
                Err(TransportError::new(ErrorKind::Protocol, what))
            }
        }
    }

    /// Goes on from what the server answered.
    async fn answered(&mut self, answer: &Message) -> Result<(), TransportError> {
        if self.wants_task(answer) {
            return Box::pin(self.allow_task()).await;
        }
        if !asks(answer) {
            let last = self.last(answer);
            self.say_last(last);
            return Ok(());
        }
        let outcome: Outcome<'_> = answer.read().map_err(unwritten)?;
        if outcome.result_type.as_deref() == Some("task") && self.may_be_task {
            return self.begun(answer);
        }
        if outcome.result_type.as_deref() != Some("input_required") {
            return self.give_up("the server began something in the background, unasked");
        }
        if !modern::ASKING.contains(&&*self.method) {
            return self.give_up("the server asked something where it must not");
        }
        let questions = outcome.input_requests.map(down::questions).transpose();
        let Ok(questions) = questions else {
            return self.give_up("the server asked something that cannot be read");
        };
        let to_ask: VecDeque<_> = questions.unwrap_or_default().into();
        let state = outcome.request_state.map(ToOwned::to_owned);
        if to_ask.is_empty() && state.is_none() {
            return self.give_up("the server asked nothing");
        }
        self.phase = Phase::Asking(Round { to_ask, state, ..Round::default() });
        Ok(())
    }

    /// Asks the client one thing, or answers in its place.
    fn put(&mut self, question: Question) -> Result<Step, TransportError> {
        let visited = self
            .visited
            .iter()
            .any(|(key, url, _)| *key == question.key && Some(url) == question.url.as_ref());
        if visited {
            // Its user is there: until the server has heard so, it asks again.
            return self.give(question.key, json!({ "action": "accept" }));
        }
        if !question.is_declared(&self.hello.capabilities) {
            if &*question.method == "roots/list" && !self.talk.home.options.roots.is_empty() {
                return self.give_roots(question.key);
            }
            let what = format!(
                "the server asked for {}, which its client did not declare",
                question.method
            );
            self.give_up(&what)?;
            return Ok(Step::Again);
        }
        let (id, answer) = self.talk.question();
        let name = question.url.as_ref().map(|_| format!("{}-{id}", self.id));
        let asked = question.request(&Id::from(id), self.hello.version, name.as_deref());
        let said = match asked.map_err(unwritten)? {
            Passage::Edited(message) => message,
            Passage::Refused(refused) => {
                self.talk.forget([id].into_iter());
                self.refused(&question, &refused)?;
                return Ok(Step::Again);
            }
            Passage::Same | Passage::Dropped => {
                self.talk.forget([id].into_iter());
                self.give_up("the client cannot be asked this")?;
                return Ok(Step::Again);
            }
        };
        if let Phase::Asking(round) = &mut self.phase {
            round.is_asked = true;
            round.waiting.push_back(Waiting { question, id, name, answer });
        }
        Ok(Step::Say(said))
    }

    /// Waits for one answer of the client's.
    async fn wait(&mut self, waiting: Waiting) -> Result<(), TransportError> {
        let Waiting { question, id, name, answer } = waiting;
        let limit = self.talk.home.options.answer_timeout;
        let answer = match tokio::time::timeout(limit, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => return self.give_up("the session ended while its client was asked"),
            Err(_) => {
                self.talk.forget([id].into_iter());
                let what = format!("the client did not answer within {} s", limit.as_secs());
                return self.give_up(&what);
            }
        };
        if answer.kind() == Kind::Error {
            return self.refused(&question, &answer);
        }
        let result: Option<Box<RawValue>> =
            answer.body().and_then(|body| serde_json::from_str(body).ok());
        let Some(result) = result else {
            return self.give_up("the client's answer cannot be read");
        };
        if let (Some(url), Some(name)) = (question.url, name)
            && result.get().contains(r#""accept""#)
        {
            self.visited.push((question.key.clone(), url, name));
        }
        if let Phase::Asking(round) = &mut self.phase {
            round.answers.push((question.key, result));
        }
        Ok(())
    }

    /// The client answered with an error.
    fn refused(&mut self, question: &Question, error: &Message) -> Result<(), TransportError> {
        match &*question.method {
            "elicitation/create" => {
                self.give(question.key.clone(), json!({ "action": "cancel" })).map(drop)
            }
            "roots/list" if !self.talk.home.options.roots.is_empty() => {
                self.give_roots(question.key.clone()).map(drop)
            }
            method => {
                let said = error.read::<RpcError>().map(|error| error.message).unwrap_or_default();
                let said: String = said.chars().take(200).collect();
                let what = format!("the client refused {method}: {said}");
                self.give_up(&what)
            }
        }
    }

    fn give_roots(&mut self, key: Box<str>) -> Result<Step, TransportError> {
        let roots = &self.talk.home.options.roots;
        let roots: Vec<_> = roots.iter().map(|uri| json!({ "uri": uri })).collect();
        self.give(key, json!({ "roots": roots }))
    }

    fn give(&mut self, key: Box<str>, answer: serde_json::Value) -> Result<Step, TransportError> {
        let answer = to_raw_value(&answer).map_err(|error| unwritten(error.into()))?;
        if let Phase::Asking(round) = &mut self.phase {
            round.answers.push((key, answer));
        }
        Ok(Step::Again)
    }

    /// Sends the request once more, with what was answered.
    async fn retry(&mut self) -> Result<(), TransportError> {
        let phase = std::mem::replace(&mut self.phase, Phase::Saying(VecDeque::new()));
        let Phase::Asking(round) = phase else { return Ok(()) };
        self.round += 1;
        let most = self.talk.home.options.rounds_max;
        if most < self.round {
            let what = format!("the server asked more than {most} times");
            return self.give_up(&what);
        }
        if self.task.is_some() {
            return self.update(round).await;
        }
        if !round.is_asked {
            tokio::time::sleep(self.pace).await;
            self.pace = (self.pace * 2).min(PACE_MAX);
        }
        let message = down::retry(&self.exchange.message, &round.answers, round.state.as_deref());
        let id = Id::from(format!("{}-{}", self.id, self.round).as_str());
        let message = message.map_err(unwritten)?.with_id(id);
        debug!(server = %self.talk.home.name, round = self.round, "once more with answers");
        self.say_again(message).await
    }

    pub(super) async fn say_again(&mut self, message: Message) -> Result<(), TransportError> {
        self.sent = message.clone();
        let reply = self.talk.wire.send(Exchange { message, ..self.exchange.clone() }).await?;
        self.take(reply).await
    }

    /// Keeps in mind how far it has come, where more may have to be said of that.
    fn note_progress(&mut self, message: &Message) {
        #[derive(serde::Deserialize)]
        struct Made {
            progress: f64,
        }
        if self.hello.has_tasks
            && message.method() == Some("notifications/progress")
            && let Ok(Made { progress }) = message.read()
        {
            self.progress = self.progress.max(progress);
        }
    }

    /// Ends the call in place of the server.
    pub(super) fn give_up(&mut self, what: &str) -> Result<(), TransportError> {
        self.end_task();
        let words = format!("server `{}`: {what}", self.talk.home.name);
        debug!("{words}");
        let answer = match &*self.method {
            "tools/call" => Message::response(&self.id, &down::failed(&words)),
            _ => Message::error(Some(&self.id), &RpcError::new(RpcError::INTERNAL, words)),
        };
        self.say_last(answer.map_err(unwritten)?);
        Ok(())
    }

    pub(super) fn last(&self, answer: &Message) -> Message {
        down::answer(&self.method, answer, &self.id, self.hello.version)
    }

    /// Says that what its user was sent for is done, and the answer.
    pub(super) fn say_last(&mut self, answer: Message) {
        let done = self.visited.drain(..).filter_map(|(_, _, name)| {
            let params = json!({ "elicitationId": name });
            Message::notification("notifications/elicitation/complete", &params).ok()
        });
        self.phase = Phase::Saying(done.chain([answer]).collect());
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.end_task();
        if let Phase::Asking(round) = &self.phase {
            self.talk.forget(round.waiting.iter().map(|waiting| waiting.id));
        }
    }
}
