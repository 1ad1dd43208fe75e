//! Tools of a server of 2025-11-25 that can be called as tasks alone, for clients of 2026-07-28,
//! which know other tasks: the gateway begins the task, and waits for its result inside the call.
//!
//! Which they are is what the server's list of tools says (`execution.taskSupport`): some servers
//! answer a call without a task with an error, some with a result that looks like the tool's own.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use mcp_jsonrpc::{Kind, Message, ProtocolVersion, params::CallTool, transport::TransportError};
use serde_json::json;
use tracing::debug;
use translate::modern::up;

use super::pooled::{Pooled, unwritten};

/// How many pages of a list of tools are looked at.
const PAGES_MAX: usize = 100;
/// How many tools that can be called as tasks alone are known.
const TOOLS_MAX: usize = 4096;

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

    /// Ends a task that nobody waits for.
    pub(super) async fn end_task(self: &Arc<Self>, task: &str) {
        if let Err(error) = self.ask("tasks/cancel", &json!({ "taskId": task })).await {
            debug!(%error, "a task that nobody waits for was not ended");
        }
    }
}
