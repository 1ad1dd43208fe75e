//! Which server a client's request is for, and how it is put there.

use std::borrow::Cow;

use mcp_jsonrpc::{Message, ParseError};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{List, Lost, Member, View, lost::shortened, uris};
use mcp_jsonrpc::object::Object;

/// A request, and whom it is for.
#[derive(Debug)]
pub struct Direction<'a> {
    /// Whom it is for.
    pub member: &'a Member,
    /// The request as that server gets it: with its own names, addresses and ids.
    pub message: Message,
}

#[derive(Deserialize)]
struct Named<'a> {
    #[serde(borrow)]
    name: &'a RawValue,
    #[serde(borrow, default)]
    arguments: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Placed<'a> {
    #[serde(borrow)]
    uri: &'a RawValue,
}

#[derive(Deserialize)]
struct Task<'a> {
    #[serde(borrow, rename = "taskId")]
    id: &'a RawValue,
}

#[derive(Deserialize)]
struct Completion<'a> {
    #[serde(borrow, rename = "ref")]
    of: Reference<'a>,
}

#[derive(Deserialize)]
struct Reference<'a> {
    #[serde(borrow, default)]
    name: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    uri: Option<Cow<'a, str>>,
}

impl View {
    /// Whom a request is for that is for one server alone; none for one that is for all of them,
    /// such as a list, or for nobody here.
    ///
    /// # Errors
    /// It names what nobody has, or several, or it cannot be passed on as it is.
    pub fn direct(&self, request: &Message) -> Result<Option<Direction<'_>>, Lost> {
        let direction = match request.method() {
            Some("tools/call") => self.named(List::Tools, request),
            Some("prompts/get") => self.named(List::Prompts, request),
            Some("resources/read" | "resources/subscribe" | "resources/unsubscribe") => {
                self.placed(request)
            }
            Some("completion/complete") => self.completed(request),
            Some("tasks/list") => return Ok(None),
            Some(method) if method.starts_with("tasks/") => self.task(request),
            _ => return Ok(None),
        };
        direction.map(Some)
    }

    fn named(&self, list: List, request: &Message) -> Result<Direction<'_>, Lost> {
        // Read only where there is more to do than to write another name: arguments may be long.
        let picked = || request.pick(["name", "arguments"]).ok().and_then(|[name, _]| name);
        if let Some(name) = request.name().or_else(picked)
            && let Some(plain) = plain(name)
        {
            let found = self.find(list, plain)?;
            if found.arguments.is_none() {
                let message = match plain == found.original {
                    true => request.clone(),
                    false => request.with_name(name, found.original)?,
                };
                return Ok(Direction { member: found.member, message });
            }
        }
        let call: Named<'_> = request.read()?;
        let name = text(call.name)?;
        let found = self.find(list, &name)?;
        let arguments = found.arguments.map(|it| it.apply(call.arguments)).transpose();
        let withheld = |withheld| Lost::Withheld { name: shortened(&name), withheld };
        let arguments = arguments.map_err(withheld)?;
        let message = match (&arguments, name == found.original) {
            (None, true) => request.clone(),
            (None, false) => request.with_part(call.name, &found.original)?,
            _ => with_params(request, |params| {
                params.set("name", &found.original)?;
                arguments.iter().try_for_each(|it| params.set("arguments", it))
            })?,
        };
        Ok(Direction { member: found.member, message })
    }

    fn placed(&self, request: &Message) -> Result<Direction<'_>, Lost> {
        let placed: Placed<'_> = request.read()?;
        let uri = text(placed.uri)?;
        let located = self.locate(&uri)?;
        let (member, own) = (located.member.server.clone(), located.uri.into_owned());
        let message = match own == uri {
            true => request.clone(),
            false => request.with_part(placed.uri, &own)?,
        };
        self.to(&member, message)
    }

    fn completed(&self, request: &Message) -> Result<Direction<'_>, Lost> {
        let of = request.read::<Completion<'_>>()?.of;
        let (server, member, own, same) = match (&of.name, &of.uri) {
            (Some(name), None) => {
                let found = self.find(List::Prompts, name)?;
                let own = found.original.to_owned();
                (found.member.server.clone(), "name", own, *name == found.original)
            }
            (None, Some(uri)) => {
                let located = self.locate(uri)?;
                let same = located.uri == *uri;
                (located.member.server.clone(), "uri", located.uri.into_owned(), same)
            }
            _ => return Err(ParseError::Envelope("`ref` has neither a name nor a URI").into()),
        };
        if same {
            return self.to(&server, request.clone());
        }
        let message = with_params(request, |params| {
            let mut edited = None;
            if let Some(of) = params.get("ref") {
                let mut of = Object::read(of)?;
                of.set(member, &own)?;
                edited = Some(of.to_raw()?);
            }
            edited.iter().try_for_each(|it| params.set("ref", it))
        })?;
        self.to(&server, message)
    }

    fn task(&self, request: &Message) -> Result<Direction<'_>, Lost> {
        let task: Task<'_> = request.read()?;
        let id = text(task.id)?;
        let unknown = || Lost::Task(shortened(&id));
        if let Some((server, own)) = uris::unwrap_task(&id) {
            let member = self.member(&server).ok_or_else(unknown)?;
            let message = request.with_part(task.id, &own)?;
            return Ok(Direction { member, message });
        }
        // An id that does not say whose it is can be that of the only one who has tasks.
        let mut able = self.members().iter().filter(|it| it.catalogue.can("tasks"));
        match (able.next(), able.next()) {
            (Some(member), None) => Ok(Direction { member, message: request.clone() }),
            _ => Err(unknown()),
        }
    }

    fn to(&self, server: &str, message: Message) -> Result<Direction<'_>, Lost> {
        let elsewhere = || Lost::Elsewhere { uri: "it".to_owned(), server: server.to_owned() };
        Ok(Direction { member: self.member(server).ok_or_else(elsewhere)?, message })
    }
}

/// What a text says in which nothing is escaped; none of any other, and of what is none.
fn plain(text: &str) -> Option<&str> {
    text.strip_prefix('"')?.strip_suffix('"').filter(|text| !text.contains('\\'))
}

/// A text, borrowed where nothing in it is escaped.
fn text(raw: &RawValue) -> Result<Cow<'_, str>, ParseError> {
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
    Ok(serde_json::from_str::<Text<'_>>(raw.get())?.0)
}

/// A request with some of its parameters written anew.
fn with_params(
    request: &Message,
    edit: impl FnOnce(&mut Object<'_>) -> Result<(), ParseError>,
) -> Result<Message, ParseError> {
    let body: &RawValue = request.read()?;
    let mut params = Object::read(body)?;
    edit(&mut params)?;
    request.with_part(body, &params)
}

#[cfg(test)]
mod tests;
