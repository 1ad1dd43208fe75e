//! A call that its server does in the background (2026-07-28, tasks extension), for a client that
//! waits for it all the same: the task is asked about until it ends, what it asks is asked of the
//! client, and it is ended with the call.
//!
//! The extension is declared where a server refuses a call without it, and for that tool from then
//! on: other calls are answered at once, with their progress and logs, which tasks do not have.

use std::{
    collections::BTreeSet,
    sync::{Arc, PoisonError},
    time::Duration,
};

use mcp_jsonrpc::{
    Id, Kind, Message, RpcError,
    modern::{self, RequestMeta},
    params::CallTool,
    transport::{ErrorKind, Exchange, Reply, Session, TransportError},
};
use serde::Deserialize;
use serde_json::{json, value::RawValue};
use tokio::time::Instant;
use tracing::debug;
use translate::modern::down;

use super::{
    Inner,
    asking::{Asking, Phase, Round, Step},
    made::Talk,
    unwritten,
};

/// After how long a task is asked about, where its server says nothing of it.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// However often its server would like it.
const POLL_INTERVAL_MIN: Duration = Duration::from_millis(50);
/// However seldom its server would like it.
const POLL_INTERVAL_MAX: Duration = Duration::from_secs(60);
/// How long a server may take to say how far a task is.
const ASK_TIMEOUT: Duration = Duration::from_secs(60);
/// How often in a row it may fail to.
const FAILURES_MAX: u32 = 5;
/// How long it may take to hear that nobody waits for a task.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(10);
/// How many tools are remembered that are run as tasks alone.
const TOOLS_MAX: usize = 4096;

/// A task that a call was answered with.
pub(super) struct Task {
    id: Box<str>,
    interval: Duration,
    next: Instant,
    /// The questions that were answered.
    answered: BTreeSet<Box<str>>,
    words: Option<Box<str>>,
    failures: u32,
    /// How often something was asked about it.
    asked: u64,
}

// === impl Inner ===

impl Inner {
    /// Whether a call is one of a tool that is known to be run as a task alone.
    pub(super) fn is_task(&self, call: &Message) -> bool {
        let tools = self.task_tools.lock().unwrap_or_else(PoisonError::into_inner);
        !tools.is_empty()
            && call.read::<CallTool<'_>>().is_ok_and(|call| tools.contains(&*call.name))
    }

    fn note_task(&self, call: &Message) {
        let Ok(call) = call.read::<CallTool<'_>>() else { return };
        let mut tools = self.task_tools.lock().unwrap_or_else(PoisonError::into_inner);
        if tools.len() < TOOLS_MAX {
            tools.insert(call.name.as_ref().into());
        }
    }
}

// === impl Asking ===

impl Asking {
    /// Whether a server's answer says that it does this as a task or not at all, and its call does
    /// not yet say that it may.
    pub(super) fn wants_task(&self, answer: &Message) -> bool {
        self.hello.has_tasks
            && !self.may_be_task
            && answer.kind() == Kind::Error
            && &*self.method == "tools/call"
            && down::wants_tasks(answer)
    }

    /// Says that it may be one, and sends it again: it was refused, so nothing was done.
    pub(super) async fn allow_task(&mut self) -> Result<(), TransportError> {
        self.talk.home.note_task(&self.exchange.message);
        self.may_be_task = true;
        self.exchange.message = down::with_tasks(&self.exchange.message).map_err(unwritten)?;
        let message = down::with_tasks(&self.sent).map_err(unwritten)?;
        let id = Id::from(format!("{}-task", self.id).as_str());
        debug!(server = %self.talk.home.name, "once more, as a task");
        self.say_again(message.with_id(id)).await
    }

    /// Goes on from a task in the place of a result.
    pub(super) fn begun(&mut self, answer: &Message) -> Result<(), TransportError> {
        let Ok(said) = answer.read::<modern::Task<'_>>() else {
            return self.give_up("the server began a task that cannot be read");
        };
        let (id, now) = (said.task_id.as_ref().into(), Instant::now());
        let interval = interval(&said);
        let waits = said.status == "working";
        let next = if waits { now + interval } else { now };
        let answered = BTreeSet::new();
        let words = said.status_message.as_deref().map(Into::into);
        let report = self.progressed(words.as_deref())?;
        self.task = Some(Task { id, interval, next, answered, words, failures: 0, asked: 0 });
        self.phase = Phase::Driving(report);
        Ok(())
    }

    /// Asks how far it is, when it is time to.
    pub(super) async fn drive(&mut self) -> Result<Step, TransportError> {
        if let Phase::Driving(report) = &mut self.phase
            && let Some(report) = report.take()
        {
            return Ok(Step::Say(report));
        }
        let Some(next) = self.task.as_ref().map(|task| task.next) else { return Ok(Step::Again) };
        tokio::time::sleep_until(next).await;
        let Some(answer) = self.about("tasks/get", None).await? else { return Ok(Step::Again) };
        let Ok(said) = answer.read::<modern::Task<'_>>() else {
            self.give_up("the server says something of its task that cannot be read")?;
            return Ok(Step::Again);
        };
        let words: Option<Box<str>> = said.status_message.as_deref().map(Into::into);
        if let Some(task) = &mut self.task {
            task.interval = interval(&said);
            task.next = Instant::now() + task.interval;
            if words.is_some() && task.words != words {
                task.words.clone_from(&words);
                let report = self.progressed(words.as_deref())?;
                self.phase = Phase::Driving(report);
            }
        }
        self.consider(&said)?;
        Ok(Step::Again)
    }

    fn consider(&mut self, said: &modern::Task<'_>) -> Result<(), TransportError> {
        match &*said.status {
            "working" => Ok(()),
            "input_required" => self.needs(said.input_requests),
            "completed" => {
                let Some(result) = said.result else {
                    return self.give_up("the server completed its task without a result");
                };
                self.task = None;
                let answer = Message::response(&self.id, &result).map_err(unwritten)?;
                let last = self.last(&answer);
                self.say_last(last);
                Ok(())
            }
            "failed" => {
                let error = said.error.and_then(|it| serde_json::from_str(it.get()).ok());
                let Some(error) = error else {
                    return self.give_up("the server's task failed without an error");
                };
                self.task = None;
                let answer = Message::error(Some(&self.id), &error).map_err(unwritten)?;
                let last = self.last(&answer);
                self.say_last(last);
                Ok(())
            }
            "cancelled" => {
                self.task = None;
                let words = said.status_message.as_deref().unwrap_or("it does not say why");
                let words: String = words.chars().take(200).collect();
                self.give_up(&format!("the server cancelled the task of this call: {words}"))
            }
            status => {
                let status: String = status.chars().take(32).collect();
                self.give_up(&format!("the server's task is `{status}`, which is not known here"))
            }
        }
    }

    /// What a task has not asked before is asked of the client.
    fn needs(&mut self, asked: Option<&RawValue>) -> Result<(), TransportError> {
        let Ok(questions) = asked.map(down::questions).transpose() else {
            return self.give_up("the server asked something that cannot be read");
        };
        let Some(task) = &self.task else { return Ok(()) };
        let is_new = |it: &down::Question| !task.answered.contains(&it.key);
        let to_ask: Vec<_> = questions.unwrap_or_default().into_iter().filter(is_new).collect();
        if to_ask.is_empty() {
            // What it was answered has not got there yet.
            return Ok(());
        }
        let report = match &mut self.phase {
            Phase::Driving(report) => report.take(),
            _ => None,
        };
        let mut round = Round::default();
        (round.to_ask, round.report) = (to_ask.into(), report);
        self.phase = Phase::Asking(round);
        Ok(())
    }

    /// Gives a task what its client answered.
    pub(super) async fn update(&mut self, round: Round) -> Result<(), TransportError> {
        self.phase = Phase::Driving(None);
        while self.task.is_some() {
            let Some(_) = self.about("tasks/update", Some(&round.answers)).await? else {
                if matches!(self.phase, Phase::Driving(_)) {
                    let next = self.task.as_ref().map(|task| task.next);
                    tokio::time::sleep_until(next.unwrap_or_else(Instant::now)).await;
                    continue;
                }
                return Ok(());
            };
            if let Some(task) = &mut self.task {
                task.answered.extend(round.answers.into_iter().map(|(key, _)| key));
                task.next = Instant::now() + task.interval;
            }
            return Ok(());
        }
        Ok(())
    }

    /// Says something about the task; none where that failed, and the call goes on or has ended.
    async fn about(
        &mut self,
        method: &str,
        responses: Option<&[(Box<str>, Box<RawValue>)]>,
    ) -> Result<Option<Message>, TransportError> {
        let Some(task) = &mut self.task else { return Ok(None) };
        task.asked += 1;
        let id = Id::from(format!("{}-task-{}", self.id, task.asked).as_str());
        let about = down::about_task(&self.exchange.message, (&id, method), &task.id, responses);
        let exchange = Exchange { message: about.map_err(unwritten)?, ..self.exchange.clone() };
        let asked = super::watched::ask(&*self.talk.wire, exchange);
        let why = match tokio::time::timeout(ASK_TIMEOUT, asked).await {
            Ok(Ok(answer)) if answer.kind() == Kind::Response => {
                task.failures = 0;
                return Ok(Some(answer));
            }
            Ok(Ok(answer)) => {
                let error: RpcError = answer.read().map_err(unwritten)?;
                let said: String = error.message.chars().take(200).collect();
                if error.code == RpcError::INVALID_PARAMS {
                    self.task = None;
                    let what = format!("the server does not know the task of this call: {said}");
                    self.give_up(&what)?;
                    return Ok(None);
                }
                TransportError::new(ErrorKind::Protocol, format!("it says of its task: {said}"))
            }
            Ok(Err(error)) if !self.talk.wire.is_open() => return Err(error),
            Ok(Err(error)) => error,
            Err(_) => {
                let what = format!("it does not answer `{method}`");
                TransportError::new(ErrorKind::Timeout, what)
            }
        };
        task.failures += 1;
        debug!(server = %self.talk.home.name, failures = task.failures, error = %why, "its task");
        if FAILURES_MAX <= task.failures {
            return Err(why.may_have_run());
        }
        let pause = task.interval.max(POLL_INTERVAL) * task.failures;
        task.next = Instant::now() + pause.min(POLL_INTERVAL_MAX);
        Ok(None)
    }

    /// What a task says in words, for a client that wants to hear of progress.
    fn progressed(&mut self, words: Option<&str>) -> Result<Option<Message>, TransportError> {
        #[derive(Default, Deserialize)]
        struct Params<'a> {
            #[serde(borrow, default, rename = "_meta")]
            meta: Option<RequestMeta<'a>>,
        }
        let params: Params<'_> = self.exchange.message.read().unwrap_or_default();
        let token = params.meta.and_then(|meta| meta.progress);
        let (Some(words), Some(token)) = (words, token) else { return Ok(None) };
        let step = self.progress.floor() + 1.0;
        let params = json!({ "progressToken": token, "progress": step, "message": words });
        let said = Message::notification("notifications/progress", &params).map_err(unwritten)?;
        self.progress = step;
        Ok(down::notification(&said, self.hello.version))
    }

    /// Ends a task that nobody waits for, if there is one.
    pub(super) fn end_task(&mut self) {
        let Some(task) = self.task.take() else { return };
        if tokio::runtime::Handle::try_current().is_err() {
            return;
        }
        let id = Id::from(format!("{}-task-end", self.id).as_str());
        let call = &self.exchange.message;
        let Ok(message) = down::about_task(call, (&id, "tasks/cancel"), &task.id, None) else {
            return;
        };
        let exchange = Exchange { message, ..self.exchange.clone() };
        let talk = Arc::clone(&self.talk);
        self.talk.home.tasks.spawn(async move { cancel(&talk, exchange).await });
    }
}

async fn cancel(talk: &Talk, exchange: Exchange) {
    let sent = async {
        match talk.wire.send(exchange).await {
            Ok(reply @ (Reply::Single(_) | Reply::Stream(_))) => reply.answer(drop).await.map(drop),
            Ok(Reply::Accepted) => Ok(()),
            Err(error) => Err(error),
        }
    };
    match tokio::time::timeout(CANCEL_TIMEOUT, sent).await {
        Ok(Ok(())) => (),
        Ok(Err(error)) => debug!(%error, "a task that nobody waits for was not ended"),
        Err(_) => debug!("a server does not say whether it ends a task that nobody waits for"),
    }
}

fn interval(task: &modern::Task<'_>) -> Duration {
    let said = task.poll_interval_ms.filter(|ms| ms.is_finite() && 0.0 <= *ms);
    let said = said.map_or(POLL_INTERVAL, |ms| Duration::from_millis(ms as u64));
    said.clamp(POLL_INTERVAL_MIN, POLL_INTERVAL_MAX)
}
