//! Tools of a server of 2025-11-25 that can be called as tasks alone, for clients of 2026-07-28,
//! which know other tasks: the gateway begins the task, and waits for its result inside the call.
//!
//! Which they are is what the server's list of tools says (`execution.taskSupport`): some servers
//! answer a call without a task with an error, some with a result that looks like the tool's own.
//!
//! `tasks/result` is to be answered when the task has ended.  Where that does not come, since the
//! stream broke or the server does not wait, `tasks/get` says when to ask for it again.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use mcp_jsonrpc::{
    Kind, Message, ProtocolVersion,
    params::CallTool,
    transport::{ErrorKind, TransportError},
};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::json;
use tokio::time::Instant;
use tracing::debug;
use translate::modern::up;

use super::{
    call::Call,
    pooled::{Pooled, unwritten},
};

/// How many pages of a list of tools are looked at.
const PAGES_MAX: usize = 100;
/// How many tools that can be called as tasks alone are known.
const TOOLS_MAX: usize = 4096;
/// After how long a task is asked about, where its server says nothing of it.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// However often, and however seldom, its server would like it.
const POLL_INTERVAL_MIN: Duration = Duration::from_millis(50);
const POLL_INTERVAL_MAX: Duration = Duration::from_secs(60);
/// How often in a row a server may fail to say how far a task is.
const FAILURES_MAX: u32 = 5;
/// How often the result of one task is asked for once more.
const RESULTS_MAX: u32 = 5;
/// The longest that a task is asked about after its result did not come.
const TASK_TIMEOUT: Duration = Duration::from_secs(3600);

/// Which tools can be called as tasks alone.
#[derive(Debug, Default)]
pub(super) struct TaskTools {
    known: Mutex<Known>,
    /// Held while the server is asked.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Known {
    tools: Option<Arc<HashSet<Box<str>>>>,
    /// How often the list has changed.
    changed: u64,
}

// === impl TaskTools ===

impl TaskTools {
    /// The list has changed.
    pub(super) fn forget(&self) {
        let mut known = self.known();
        known.tools = None;
        known.changed += 1;
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Pooled ===

impl Pooled {
    /// Whether a request is a call that has to be a task.
    pub(super) async fn wants_task(self: &Arc<Self>, request: &Message) -> bool {
        if !self.known.declares.task_calls
            || self.version != ProtocolVersion::V2025_11_25
            || request.method() != Some("tools/call")
        {
            return false;
        }
        let Ok(call) = request.read::<CallTool<'_>>() else { return false };
        self.task_tools().await.contains(&*call.name)
    }

    async fn task_tools(self: &Arc<Self>) -> Arc<HashSet<Box<str>>> {
        if let Some(tools) = self.task_tools.known().tools.clone() {
            return tools;
        }
        let _asking = self.task_tools.asking.lock().await;
        let changed = {
            let known = self.task_tools.known();
            if let Some(tools) = known.tools.clone() {
                return tools;
            }
            known.changed
        };
        let tools = self.list_task_tools().await.unwrap_or_else(|error| {
            debug!(%error, "a server does not say which of its tools are tasks");
            HashSet::new()
        });
        let tools = Arc::new(tools);
        let mut known = self.task_tools.known();
        if known.changed == changed {
            known.tools = Some(Arc::clone(&tools));
        }
        tools
    }

    async fn list_task_tools(self: &Arc<Self>) -> Result<HashSet<Box<str>>, TransportError> {
        let (mut tools, mut params) = (HashSet::new(), json!({}));
        for _ in 0..PAGES_MAX {
            let page = self.ask("tools/list", &params).await?;
            if page.kind() == Kind::Error {
                break;
            }
            let (names, cursor) = up::task_tools(&page).map_err(unwritten)?;
            tools.extend(names.into_iter().take(TOOLS_MAX.saturating_sub(tools.len())));
            let Some(cursor) = cursor else { break };
            params = json!({ "cursor": cursor });
        }
        Ok(tools)
    }

    /// How a task is, if its server says so.
    async fn status(self: &Arc<Self>, task: &str) -> Result<Option<Status>, TransportError> {
        let answer = self.ask("tasks/get", &json!({ "taskId": task })).await?;
        let said = answer.kind() == Kind::Response;
        Ok(said.then(|| answer.read().ok()).flatten())
    }

    /// Waits until a task has ended, or waits for something itself.
    pub(super) async fn until_moved(
        self: &Arc<Self>,
        task: &str,
        until: Instant,
    ) -> Result<(), TransportError> {
        let (mut interval, mut failures) = (POLL_INTERVAL, 0);
        while Instant::now() < until {
            tokio::time::sleep_until(until.min(Instant::now() + interval)).await;
            match self.status(task).await {
                Ok(Some(status)) if status.is_working() => {
                    (interval, failures) = (status.interval(), 0);
                }
                Ok(Some(_)) => return Ok(()),
                Ok(None) => {
                    let what = "it does not know the task any more that it began for this call";
                    return Err(TransportError::new(ErrorKind::Protocol, what));
                }
                Err(error) if !self.is_open() || FAILURES_MAX <= failures + 1 => return Err(error),
                Err(error) => {
                    debug!(%error, "a server does not say how far its task is");
                    failures += 1;
                }
            }
        }
        let secs = TASK_TIMEOUT.as_secs();
        let what = format!("the task that it began for this call did not end within {secs} s");
        Err(TransportError::new(ErrorKind::Timeout, what))
    }

    /// Ends a task that nobody waits for.
    pub(super) async fn end_task(self: &Arc<Self>, task: &str) {
        if let Err(error) = self.ask("tasks/cancel", &json!({ "taskId": task })).await {
            debug!(%error, "a task that nobody waits for was not ended");
        }
    }
}

// === impl Call ===

impl Call {
    /// The answer, unless it stands for the result of a task that has none yet: that is asked for
    /// again when it has.
    pub(super) async fn settled(&mut self, answer: Message) -> Option<Message> {
        #[derive(Deserialize)]
        struct Called {
            content: Option<IgnoredAny>,
        }
        let place = self.parked.leg.as_ref().map(|leg| &leg.place);
        let task = place.and_then(|place| Some((Arc::clone(&place.pooled), place.task.clone()?)));
        let Some((pooled, task)) = task else { return Some(answer) };
        let called: Option<Called> = answer.read().ok();
        let is_result = answer.kind() == Kind::Response
            && called.is_some_and(|called| called.content.is_some());
        if is_result {
            return Some(answer);
        }
        // An error may be how it ended, or that it has not.
        let status = Box::pin(pooled.status(&task)).await;
        let goes_on = matches!(status, Ok(Some(status)) if !status.is_over());
        if goes_on && self.ask_later() { None } else { Some(answer) }
    }

    /// Asks about the task that stands for this call, and for its result when it has one; whether
    /// there is one, and that is worth another try.
    pub(super) fn ask_later(&mut self) -> bool {
        let Some(leg) = &mut self.parked.leg else { return false };
        let Some(task) = leg.place.task.clone() else { return false };
        let now = Instant::now();
        let until = *self.parked.asked_until.get_or_insert(now + TASK_TIMEOUT);
        let is_late = until <= now || RESULTS_MAX <= self.parked.asked_later;
        if is_late || !leg.place.pooled.is_open() {
            return false;
        }
        let params = json!({ "taskId": task });
        let id = leg.place.pooled.another_id();
        let Ok(asked) = Message::request(&id, "tasks/result", &params) else { return false };
        self.parked.asked_later += 1;
        let asked = leg.place.pooled.exchange(asked);
        leg.ask_later(task, asked, until);
        true
    }
}

/// How a task is.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    status: Box<str>,
    #[serde(default)]
    poll_interval: Option<f64>,
}

// === impl Status ===

impl Status {
    fn is_working(&self) -> bool {
        &*self.status == "working"
    }

    fn is_over(&self) -> bool {
        matches!(&*self.status, "completed" | "failed" | "cancelled")
    }

    /// After how long to ask again.
    fn interval(&self) -> Duration {
        let wanted = self.poll_interval.filter(|ms| ms.is_finite() && 0.0 < *ms);
        let wanted = wanted.map(|ms| Duration::from_millis(ms as u64));
        wanted.unwrap_or(POLL_INTERVAL).clamp(POLL_INTERVAL_MIN, POLL_INTERVAL_MAX)
    }
}
