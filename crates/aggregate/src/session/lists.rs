//! What is asked of all servers at once.

use std::sync::Arc;

use catalogue::{List, search};
use futures::future::join_all;
use mcp_jsonrpc::{
    Id, Kind, Message, RpcError,
    transport::{Reply, TransportError},
};
use serde::Deserialize;
use serde_json::{json, value::RawValue};
use tracing::debug;

use super::Talk;
use crate::{answers, link::Link, options::Options, shown::Shown};

/// How many pages of one server's tasks are asked for.
const TASK_PAGES_MAX: usize = 50;
/// The levels of RFC 5424, as MCP spells them.
const LEVELS: [&str; 8] =
    ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"];

#[derive(Deserialize)]
struct Paged {
    #[serde(default)]
    cursor: Option<String>,
}

#[derive(Deserialize)]
struct Level<'a> {
    level: std::borrow::Cow<'a, str>,
}

#[derive(Deserialize)]
struct Tasks<'a> {
    #[serde(borrow, default)]
    tasks: Vec<&'a RawValue>,
    #[serde(default, rename = "nextCursor")]
    next: Option<String>,
}

impl Talk {
    /// A page of a list of all servers.
    pub(super) async fn list(
        self: &Arc<Self>,
        list: List,
        id: &Id,
        message: &Message,
    ) -> Result<Reply, TransportError> {
        let scope = self.scope().ok_or_else(answers::uninitialized)?;
        let asked: Option<Paged> = match message.body() {
            None | Some("null") => None,
            Some(_) => match message.read() {
                Ok(asked) => Some(asked),
                Err(error) => {
                    let words = format!("the parameters cannot be read: {error}");
                    return answers::error(id, RpcError::INVALID_PARAMS, words);
                }
            },
        };
        scope.ready(self).await;
        let shown = scope.shown_to(self);
        let options = self.shared().options();
        if options.search && list == List::Tools {
            return searching(id, &shown);
        }
        let cursor = asked.and_then(|it| it.cursor);
        let bound = scope.bound();
        let keyring = self.shared().keyring();
        let page = shown.view().page(list, cursor.as_deref(), &keyring, bound);
        match page {
            Ok(page) => {
                let meta = shown.meta().map(|meta| ("_meta", meta));
                let answer = page.answer(id, meta.as_slice()).map_err(answers::unwritten)?;
                Ok(Reply::Single(answer))
            }
            Err(error) => answers::refusal(id, &error.to_error()),
        }
    }

    /// Tells every server from which level on its log is wanted, and those to come.
    pub(super) async fn set_level(
        &self,
        id: &Id,
        message: &Message,
    ) -> Result<Reply, TransportError> {
        let level: Option<Level<'_>> = message.read().ok();
        if level.is_none_or(|it| !LEVELS.contains(&&*it.level)) {
            let words = format!("`level` is none of {}", LEVELS.join(", "));
            return answers::error(id, RpcError::INVALID_PARAMS, words);
        }
        *self.level() = Some(message.clone().detached());
        let links: Vec<_> = self.links().into_iter().filter(|it| it.can("logging")).collect();
        let told = links.iter().map(|link| self.tell_in_time(link, message));
        join_all(told).await;
        answers::result(id, &json!({}))
    }

    async fn tell_in_time(&self, link: &Arc<Link>, message: &Message) {
        let Ok(params) = message.read::<&RawValue>() else { return };
        let server = &link.member.name;
        let asked = link.ask("logging/setLevel", params);
        match tokio::time::timeout(self.shared().options().member_timeout, asked).await {
            Ok(Ok(answer)) if answer.kind() == Kind::Response => (),
            Ok(Ok(_)) => debug!(%server, "refuses the log level"),
            Ok(Err(error)) => debug!(%server, %error, "did not hear the log level"),
            Err(_) => debug!(%server, "does not say that it heard the log level"),
        }
    }

    /// The tasks that this session has with all servers.
    pub(super) async fn tasks(&self, id: &Id) -> Result<Reply, TransportError> {
        let shown = self.now().ok_or_else(answers::uninitialized)?;
        let options = self.shared().options();
        let links = self.links().into_iter().filter(|it| it.can("tasks"));
        let asked = links.map(async |link| {
            let listed = tasks_of(&link, &shown);
            let listed = tokio::time::timeout(options.member_timeout, listed).await;
            (Arc::clone(&link.member.name), listed)
        });
        let (mut tasks, mut missing, mut cut) = (Vec::new(), Vec::new(), Vec::new());
        for (server, listed) in join_all(asked).await {
            match listed {
                Ok(Ok((listed, is_all))) => {
                    tasks.extend(listed);
                    if !is_all {
                        let reason = format!(
                            "tasks of more than {TASK_PAGES_MAX} pages: the rest is left out"
                        );
                        cut.push(json!({ "server": server, "reason": reason }));
                    }
                }
                Ok(Err(error)) => {
                    let reason = error.said_of_it().to_string();
                    missing.push(json!({ "server": server, "reason": reason }));
                }
                Err(_) => {
                    let reason = late(&options);
                    missing.push(json!({ "server": server, "reason": reason }));
                }
            }
        }
        let mut result = json!({ "tasks": tasks });
        let meta = [(crate::shown::MISSING, missing), (crate::shown::INCOMPLETE, cut)];
        let meta: serde_json::Map<_, _> = meta
            .into_iter()
            .filter(|(_, it)| !it.is_empty())
            .map(|(name, it)| (name.to_owned(), json!(it)))
            .collect();
        if let (false, Some(result)) = (meta.is_empty(), result.as_object_mut()) {
            result.insert("_meta".to_owned(), json!(meta));
        }
        answers::result(id, &result)
    }
}

/// How it is said that a server took too long for an answer about all.
pub(crate) fn late(options: &Options) -> String {
    format!("it has not answered within {:?}", options.member_timeout)
}

/// One server's tasks, under ids that say whose they are, and whether these are all.
async fn tasks_of(
    link: &Arc<Link>,
    shown: &Shown,
) -> Result<(Vec<Box<RawValue>>, bool), TransportError> {
    let mut all = Vec::new();
    let mut cursor: Option<String> = None;
    for _ in 0..TASK_PAGES_MAX {
        let params = cursor.map_or_else(|| json!({}), |cursor| json!({ "cursor": cursor }));
        let answer = link.ask("tasks/list", &params).await?;
        if answer.kind() == Kind::Error {
            return Ok((all, true));
        }
        let answer = match shown.view().member(&link.member.name) {
            Some(member) => shown.view().answer(member, "tasks/list", &answer),
            None => answer,
        };
        let page: Tasks<'_> = answer.read().map_err(answers::unwritten)?;
        all.extend(page.tasks.into_iter().map(ToOwned::to_owned));
        cursor = page.next;
        if cursor.is_none() {
            return Ok((all, true));
        }
    }
    Ok((all, false))
}

/// The three tools that are shown in the place of all.
fn searching(id: &Id, shown: &Shown) -> Result<Reply, TransportError> {
    let tools = search::tools().map_err(answers::unwritten)?;
    match shown.meta() {
        Some(meta) => answers::result(id, &json!({ "tools": tools, "_meta": meta })),
        None => answers::result(id, &json!({ "tools": tools })),
    }
}
