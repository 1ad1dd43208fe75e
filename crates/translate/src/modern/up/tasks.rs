//! Tasks of a server of 2025-11-25, for a client that waits for their results.

use std::borrow::Cow;

use mcp_jsonrpc::{Kind, Message, Needle, ParseError, object::Object};
use serde::Deserialize;
use serde_json::{json, value::RawValue};

use super::super::RELATED_TASK;

/// The tools on a page of `tools/list` that can be called as tasks alone, and where the next page
/// begins.
///
/// # Errors
///
/// [`ParseError`] where it is no such page.
pub fn task_tools(page: &Message) -> Result<(Vec<Box<str>>, Option<String>), ParseError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Page<'a> {
        #[serde(borrow)]
        tools: Vec<&'a RawValue>,
        #[serde(default)]
        next_cursor: Option<String>,
    }
    #[derive(Deserialize)]
    struct Tool<'a> {
        #[serde(borrow)]
        name: Cow<'a, str>,
        #[serde(borrow, default)]
        execution: Option<Execution<'a>>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Execution<'a> {
        #[serde(borrow, default)]
        task_support: Option<Cow<'a, str>>,
    }
    let page: Page<'_> = page.read()?;
    let tools = page.tools.iter().filter_map(|tool| {
        let tool: Tool<'_> = serde_json::from_str(tool.get()).ok()?;
        let support = tool.execution?.task_support?;
        (support == "required").then(|| tool.name.into())
    });
    Ok((tools.collect(), page.next_cursor))
}

/// A call that is to be a task.
///
/// # Errors
///
/// [`ParseError`] where it has no parameters.
pub fn as_task(call: &Message) -> Result<Message, ParseError> {
    let whole: &RawValue = call.read()?;
    let mut params = Object::read(whole)?;
    params.set("task", &json!({}))?;
    call.with_part(whole, &params)
}

static TASK_ID: Needle = Needle::new("taskId");

/// The task that a call was answered with, and what its server says of it; none where it is no
/// task.
#[must_use]
pub fn begun(answer: &Message) -> Option<(Box<str>, Option<String>)> {
    #[derive(Deserialize)]
    struct Created<'a> {
        #[serde(borrow)]
        task: Task<'a>,
    }
    let is_task = answer.kind() == Kind::Response && answer.has(&TASK_ID);
    let created: Created<'_> = is_task.then(|| answer.read().ok())??;
    Some((created.task.task_id.into(), created.task.status_message))
}

/// Which task a `notifications/tasks/status` is about, and what it says in words.
#[must_use]
pub fn status(message: &Message) -> Option<(Box<str>, String)> {
    let task: Task<'_> = message.read().ok()?;
    Some((task.task_id.into(), task.status_message?))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Task<'a> {
    #[serde(borrow)]
    task_id: Cow<'a, str>,
    #[serde(default)]
    status_message: Option<String>,
}

/// An answer that names the task which its question belongs to, if it belongs to one.
///
/// # Errors
///
/// [`ParseError`] where the answer is no object.
pub fn related(question: &Message, answer: Message) -> Result<Message, ParseError> {
    #[derive(Deserialize)]
    struct Params<'a> {
        #[serde(borrow, rename = "_meta")]
        meta: Object<'a>,
    }
    if !question.mentions("related-task") || answer.kind() != Kind::Response {
        return Ok(answer);
    }
    let Ok(params) = question.read::<Params<'_>>() else { return Ok(answer) };
    let Some(task) = params.meta.get(RELATED_TASK) else { return Ok(answer) };
    let whole: &RawValue = answer.read()?;
    let mut result = Object::read(whole)?;
    let own = result.get("_meta").filter(|own| own.get().starts_with('{')).map(ToOwned::to_owned);
    let mut meta = own.as_deref().map(Object::read).transpose()?.unwrap_or_default();
    meta.set(RELATED_TASK, &task)?;
    let meta = meta.to_raw()?;
    result.set("_meta", &meta)?;
    answer.with_part(whole, &result)
}
