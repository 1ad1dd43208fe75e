//! What servers say, with addresses and ids that lead back to them.

use std::sync::LazyLock;

use mcp_jsonrpc::Message;
use memchr::memmem::Finder;
use serde_json::value::{RawValue, to_raw_value};

use crate::{Member, View, uris};
use mcp_jsonrpc::object::{Edit, Object, edit_array};

/// Where `_meta` of a tool or a result names its interface: hosts of different ages look in
/// different places.
const UIS: [&str; 2] = ["ui/resourceUri", "openai/outputTemplate"];
/// Where `_meta` of a message names the task it is about (2025-11-25, tasks).
const RELATED: &str = "io.modelcontextprotocol/related-task";
/// What there has to be in a message for anything of it to be moved.
static SIGNS: LazyLock<[Finder<'static>; 3]> =
    // `uri` and `…Uri`.
    LazyLock::new(|| ["ri\"", "outputTemplate\"", "taskId\""].map(Finder::new));

/// One server's addresses and ids, as they are written here.
struct Moving<'a> {
    view: &'a View,
    member: &'a Member,
}

impl View {
    /// A server's answer to a request by this method, as it is passed on: addresses that would not
    /// lead back to it here, and ids of its tasks, say whose they are.  All else keeps its bytes,
    /// and what cannot be read is left to its reader.
    #[must_use]
    pub fn answer(&self, member: &Member, method: &str, answer: &Message) -> Message {
        let moving = Moving { view: self, member };
        moving.edit(answer, |result| moving.result(method, result))
    }

    /// Whether anything in a message may have to be moved: without a look at whose it is.
    #[must_use]
    pub fn may_move(&self, message: &Message) -> bool {
        1 < self.members().len() && SIGNS.iter().any(|it| it.find(message.as_bytes()).is_some())
    }

    /// A server's request or notification, as it is passed on.
    #[must_use]
    pub fn notice(&self, member: &Member, message: &Message) -> Message {
        let moving = Moving { view: self, member };
        moving.edit(message, |params| {
            let mut edited = moving.meta(params);
            match message.method() {
                Some("notifications/resources/updated") => {
                    edited |= params.change("uri", |it| moving.uri(it));
                }
                // What a server asks about tasks is about its client's.
                Some(method) if method.starts_with("notifications/tasks/") => {
                    edited |= moving.task_id(params);
                }
                _ => (),
            }
            edited
        })
    }

    /// A client's answer, as the server that asked gets it: its tasks have their own ids there.
    #[must_use]
    pub fn reply(&self, member: &Member, answer: &Message) -> Message {
        let own = |id: &RawValue| {
            let id: String = serde_json::from_str(id.get()).ok()?;
            let (server, own) = uris::unwrap_task(&id)?;
            (*server == *member.server).then(|| to_raw_value(own).ok()).flatten()
        };
        Moving { view: self, member }.edit(answer, |result| change_related(result, &own))
    }
}

impl Moving<'_> {
    fn edit(&self, message: &Message, edit: impl FnOnce(&mut Object<'_>) -> bool) -> Message {
        if !self.view.may_move(message) {
            return message.clone();
        }
        let edited = || {
            let body: &RawValue = message.read().ok()?;
            let mut object = Object::read(body).ok()?;
            if edit(&mut object) { message.with_part(body, &object).ok() } else { None }
        };
        edited().unwrap_or_else(|| message.clone())
    }

    fn result(&self, method: &str, result: &mut Object<'_>) -> bool {
        let mut edited = self.meta(result);
        match method {
            "tools/call" | "tasks/result" => {
                edited |= result.change("content", |it| change_each(it, |it| self.block(it)));
                // The start of a task.
                edited |= result.change("task", |it| self.task(it));
            }
            "prompts/get" => {
                edited |= result.change("messages", |it| change_each(it, |it| self.message(it)));
            }
            "resources/read" => {
                edited |= result.change("contents", |it| change_each(it, |it| self.resource(it)));
            }
            "tasks/list" => {
                edited |= result.change("tasks", |it| change_each(it, |it| self.task(it)));
            }
            method if method.starts_with("tasks/") => edited |= self.task_id(result),
            _ => (),
        }
        edited
    }

    /// A block of content: a link, or a resource that is embedded.
    fn block(&self, block: &RawValue) -> Option<Box<RawValue>> {
        let mut block = Object::read(block).ok()?;
        let mut edited = self.meta(&mut block);
        edited |= match block.text("type")?.as_str() {
            "resource_link" => block.change("uri", |it| self.uri(it)),
            "resource" => block.change("resource", |it| self.resource(it)),
            _ => false,
        };
        if edited { block.to_raw().ok() } else { None }
    }

    /// A message of a prompt, with one block or several.
    fn message(&self, message: &RawValue) -> Option<Box<RawValue>> {
        let mut message = Object::read(message).ok()?;
        let edit = |content: &RawValue| match content.get().starts_with('[') {
            true => change_each(content, |it| self.block(it)),
            false => self.block(content),
        };
        if message.change("content", edit) { message.to_raw().ok() } else { None }
    }

    /// What `resources/read` returns, and what is embedded.
    fn resource(&self, resource: &RawValue) -> Option<Box<RawValue>> {
        let mut resource = Object::read(resource).ok()?;
        let mut edited = self.meta(&mut resource);
        edited |= resource.change("uri", |it| self.uri(it));
        if edited { resource.to_raw().ok() } else { None }
    }

    fn task(&self, task: &RawValue) -> Option<Box<RawValue>> {
        let mut task = Object::read(task).ok()?;
        if self.task_id(&mut task) { task.to_raw().ok() } else { None }
    }

    fn task_id(&self, of: &mut Object<'_>) -> bool {
        of.change("taskId", |it| self.id(it))
    }

    /// `_meta` of whatever has one.
    fn meta(&self, of: &mut Object<'_>) -> bool {
        let moved = |uri: String| self.view.address(self.member, &uri);
        let edit = |meta: &RawValue| move_uis(&mut Object::read(meta).ok()?, &moved);
        let uis = of.change("_meta", edit);
        change_related(of, &|id| self.id(id)) || uis
    }

    fn uri(&self, uri: &RawValue) -> Option<Box<RawValue>> {
        let uri: String = serde_json::from_str(uri.get()).ok()?;
        to_raw_value(&self.view.address(self.member, &uri)?).ok()
    }

    fn id(&self, id: &RawValue) -> Option<Box<RawValue>> {
        let id: String = serde_json::from_str(id.get()).ok()?;
        to_raw_value(&uris::wrap_task(&self.member.server, &id)).ok()
    }
}

/// Changes the task that `_meta` says something is about.
fn change_related(of: &mut Object<'_>, edit: &dyn Fn(&RawValue) -> Option<Box<RawValue>>) -> bool {
    of.change("_meta", |meta| {
        let mut meta = Object::read(meta).ok()?;
        let edited = meta.change(RELATED, |related| {
            let mut related = Object::read(related).ok()?;
            if related.change("taskId", edit) { related.to_raw().ok() } else { None }
        });
        if edited { meta.to_raw().ok() } else { None }
    })
}

/// `_meta` with the addresses of interfaces moved; none if none has to be.
pub(crate) fn move_uis(
    meta: &mut Object<'_>,
    moved: &dyn Fn(String) -> Option<String>,
) -> Option<Box<RawValue>> {
    let text = |uri: &RawValue| {
        let uri: String = serde_json::from_str(uri.get()).ok()?;
        to_raw_value(&moved(uri)?).ok()
    };
    let mut edited = meta.change("ui", |ui| {
        let mut ui = Object::read(ui).ok()?;
        if ui.change("resourceUri", text) { ui.to_raw().ok() } else { None }
    });
    for name in UIS {
        edited |= meta.change(name, text);
    }
    if edited { meta.to_raw().ok() } else { None }
}

/// An array in which `edit` has written some elements anew; none if it has not.
fn change_each(
    array: &RawValue,
    edit: impl Fn(&RawValue) -> Option<Box<RawValue>>,
) -> Option<Box<RawValue>> {
    edit_array(array, |_, element| Ok(Edit::from(edit(element)))).ok().flatten()
}

#[cfg(test)]
mod tests;
