//! Whose task is whose on a shared link (2025-11-25, tasks).
//!
//! A server knows one client there, so its tasks are everybody's.  Here a task belongs to the
//! session that began it: nobody else can see it, ask for its result or cancel it.

use std::{
    borrow::Cow,
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use mcp_jsonrpc::{Kind, Message, Needle, ParseError, RpcError};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::Instant;

/// How many tasks may be known at once; a further request for one is refused.
const TASKS_MAX: usize = 4096;
/// How long a task without a time to live is known.
const TTL_MAX: Duration = Duration::from_secs(24 * 3600);
/// How much is kept of what is said of tasks that nobody is known to have begun: the server may be
/// faster than whoever reads its answer.
const EARLY_MAX: usize = 64;
const EARLY_TIMEOUT: Duration = Duration::from_secs(5);

/// The tasks of one link.
#[derive(Debug, Default)]
pub(crate) struct Tasks(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    owners: HashMap<Box<str>, Owner>,
    early: VecDeque<(Instant, Box<str>, Message)>,
}

#[derive(Debug)]
struct Owner {
    session: u64,
    until: Instant,
}

/// What the answer to a request has to be looked through for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Concern {
    /// It may begin a task.
    Begins,
    /// It lists tasks.
    Lists,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Named<'a> {
    #[serde(borrow)]
    task_id: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Begun<'a> {
    #[serde(borrow)]
    task: Task<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Task<'a> {
    #[serde(borrow)]
    task_id: Cow<'a, str>,
    #[serde(default)]
    ttl: Option<f64>,
}

#[derive(Deserialize)]
struct Related<'a> {
    #[serde(borrow, rename = "_meta")]
    meta: Meta<'a>,
}

#[derive(Deserialize)]
struct Meta<'a> {
    #[serde(borrow, rename = "io.modelcontextprotocol/related-task")]
    task: Named<'a>,
}

// === impl Tasks ===

impl Tasks {
    /// Whether a session may ask this, and what is to be done with the answer.
    ///
    /// # Errors
    ///
    /// What the session is told instead: of another's task, that there is none.
    pub(crate) fn concern(
        &self,
        session: u64,
        message: &Message,
    ) -> Result<Option<Concern>, RpcError> {
        match message.method().unwrap_or_default() {
            "tasks/list" => Ok(Some(Concern::Lists)),
            "tasks/get" | "tasks/result" | "tasks/cancel" => {
                let named = message.read::<Named<'_>>();
                let named = named.map_err(|error| {
                    RpcError::new(RpcError::INVALID_PARAMS, format!("`taskId`: {error}"))
                })?;
                match self.owner(&named.task_id) {
                    Some(owner) if owner == session => Ok(None),
                    _ => {
                        let id: String = named.task_id.chars().take(64).collect();
                        let words = format!("there is no task `{id}`");
                        Err(RpcError::new(RpcError::INVALID_PARAMS, words))
                    }
                }
            }
            _ if wants_a_task(message) => match self.has_room() {
                true => Ok(Some(Concern::Begins)),
                false => {
                    let words = format!("{TASKS_MAX} tasks of this server's are known: too many");
                    Err(RpcError::new(RpcError::INTERNAL, words))
                }
            },
            _ => Ok(None),
        }
    }

    /// Notes whose task an answer has begun; returns what was said of it already, if it did.
    pub(crate) fn begun(&self, session: u64, answer: &Message) -> Option<Vec<Message>> {
        if answer.kind() != Kind::Response {
            return None;
        }
        let Begun { task } = answer.read().ok()?;
        let ttl = task.ttl.filter(|ttl| ttl.is_finite() && 0.0 <= *ttl);
        let ttl = ttl.map_or(TTL_MAX, |ms| Duration::from_secs_f64((ms / 1000.0).min(86_400.0)));
        let now = Instant::now();
        let id: Box<str> = task.task_id.into();
        let mut table = self.lock();
        // A minute more: whoever asks at the last moment is to hear it from the server.
        let until = now + ttl + Duration::from_secs(60);
        table.owners.insert(id.clone(), Owner { session, until });
        let (its, rest): (VecDeque<_>, VecDeque<_>) =
            std::mem::take(&mut table.early).into_iter().partition(|(_, early, _)| *early == id);
        table.early = rest;
        Some(its.into_iter().map(|(_, _, message)| message).collect())
    }

    /// A list of tasks with those of this session alone; what stays keeps its bytes.
    pub(crate) fn shorten(&self, session: u64, answer: &Message) -> Result<Message, ParseError> {
        #[derive(Deserialize)]
        struct List<'a> {
            #[serde(borrow)]
            tasks: &'a RawValue,
        }
        if answer.kind() != Kind::Response {
            return Ok(answer.clone());
        }
        let listed: List<'_> = answer.read()?;
        let all: Vec<&RawValue> = serde_json::from_str(listed.tasks.get())?;
        let own = |task: &&RawValue| {
            let named = serde_json::from_str::<Named<'_>>(task.get()).ok();
            named.and_then(|it| self.owner(&it.task_id)) == Some(session)
        };
        let kept: Vec<&RawValue> = all.into_iter().filter(own).collect();
        answer.with_part(listed.tasks, &kept)
    }

    /// The task that something the server says is about: `notifications/tasks/status` names it,
    /// all else in its `_meta`.
    pub(crate) fn about(message: &Message) -> Option<Box<str>> {
        if message.method() == Some("notifications/tasks/status") {
            return message.read::<Named<'_>>().ok().map(|it| it.task_id.into());
        }
        if !message.has(&RELATED_TASK) {
            return None;
        }
        message.read::<Related<'_>>().ok().map(|it| it.meta.task.task_id.into())
    }

    /// The session that began a task.
    pub(crate) fn owner(&self, task: &str) -> Option<u64> {
        self.lock().owners.get(task).map(|owner| owner.session)
    }

    /// Keeps what is said of a task for as long as its answer may be on its way; hands back
    /// what is not kept any more.
    pub(crate) fn keep(&self, task: Box<str>, message: Message) -> Vec<Message> {
        let now = Instant::now();
        let mut table = self.lock();
        table.early.push_back((now, task, message));
        let mut over = Vec::new();
        while table.early.front().is_some_and(|(since, ..)| {
            EARLY_MAX < table.early.len() || EARLY_TIMEOUT <= now - *since
        }) {
            over.extend(table.early.pop_front().map(|(_, _, message)| message));
        }
        over
    }

    fn has_room(&self) -> bool {
        let mut table = self.lock();
        if TASKS_MAX <= table.owners.len() {
            let now = Instant::now();
            table.owners.retain(|_, owner| now < owner.until);
        }
        table.owners.len() < TASKS_MAX
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

static RELATED_TASK: Needle = Needle::new("io.modelcontextprotocol/related-task");
static TASK: Needle = Needle::new("\"task\"");

/// Whether a request asks for a task in place of its result.
pub(crate) fn wants_a_task(message: &Message) -> bool {
    #[derive(Deserialize)]
    struct Augmented<'a> {
        #[serde(borrow, default)]
        task: Option<&'a RawValue>,
    }
    message.has(&TASK) && message.read::<Augmented<'_>>().is_ok_and(|it| it.task.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, params: &str) -> Message {
        let text = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#);
        Message::parse(text).unwrap()
    }

    fn answer(result: &str) -> Message {
        Message::parse(format!(r#"{{"jsonrpc":"2.0","id":1,"result":{result}}}"#)).unwrap()
    }

    fn begun(id: &str) -> Message {
        answer(&format!(r#"{{"task":{{"taskId":"{id}","status":"working","ttl":60000}}}}"#))
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_is_its_sessions_own() {
        let tasks = Tasks::default();
        let call = request("tools/call", r#"{"name":"a","task":{"ttl":60000}}"#);
        assert_eq!(tasks.concern(1, &call).unwrap(), Some(Concern::Begins));
        assert_eq!(tasks.begun(1, &begun("one")).unwrap().len(), 0);
        tasks.begun(2, &begun("two")).unwrap();
        assert!(tasks.begun(2, &answer(r#"{"content":[]}"#)).is_none());
        for method in ["tasks/get", "tasks/result", "tasks/cancel"] {
            let one = request(method, r#"{"taskId":"one"}"#);
            assert_eq!(tasks.concern(1, &one).unwrap(), None);
            let error = tasks.concern(2, &one).unwrap_err();
            assert_eq!(error.code, RpcError::INVALID_PARAMS);
            let none = request(method, r#"{"taskId":"three"}"#);
            // What is another's is as unknown as what never was.
            assert!(tasks.concern(1, &none).unwrap_err().message.contains("no task `three`"));
        }
        let list = request("tasks/list", "{}");
        assert_eq!(tasks.concern(2, &list).unwrap(), Some(Concern::Lists));
        let all = answer(
            r#"{"tasks":[{"taskId":"one","x":1e400},{"taskId":"two"},{"taskId":"three"}],"nextCursor":"c"}"#,
        );
        let shown = tasks.shorten(1, &all).unwrap();
        assert!(shown.body().unwrap().contains(r#"[{"taskId":"one","x":1e400}]"#), "{shown:?}");
        assert!(shown.body().unwrap().contains("nextCursor"));
        assert!(!shown.body().unwrap().contains("two"));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_said_of_a_task_before_its_answer_is_read_waits_for_it() {
        let tasks = Tasks::default();
        let status = request("notifications/tasks/status", r#"{"taskId":"one"}"#);
        let task = Tasks::about(&status).unwrap();
        assert!(tasks.keep(task, status.clone()).is_empty());
        assert_eq!(tasks.begun(1, &begun("one")).unwrap().len(), 1);
        // So long, and so much.
        assert!(tasks.keep("two".into(), status.clone()).is_empty());
        tokio::time::advance(EARLY_TIMEOUT).await;
        assert_eq!(tasks.keep("three".into(), status.clone()).len(), 1);
        for _ in 0..EARLY_MAX - 1 {
            assert!(tasks.keep("four".into(), status.clone()).is_empty());
        }
        assert_eq!(tasks.keep("five".into(), status).len(), 1);
        let related = r#"{"_meta":{"io.modelcontextprotocol/related-task":{"taskId":"six"}}}"#;
        let related = request("notifications/message", related);
        assert_eq!(Tasks::about(&related).as_deref(), Some("six"));
        assert_eq!(Tasks::about(&request("ping", "{}")), None);
    }

    #[tokio::test(start_paused = true)]
    async fn so_many_tasks_are_known() {
        let tasks = Tasks::default();
        for task in 0..TASKS_MAX {
            tasks.begun(1, &begun(&task.to_string())).unwrap();
        }
        let call = request("tools/call", r#"{"name":"a","task":{}}"#);
        assert!(tasks.concern(1, &call).unwrap_err().message.contains("too many"));
        tokio::time::advance(Duration::from_secs(121)).await;
        assert_eq!(tasks.concern(1, &call).unwrap(), Some(Concern::Begins));
    }
}
