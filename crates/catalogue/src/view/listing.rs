//! A list as it is answered: its entries one behind the other, ready to be cut into pages.

use aws_lc_rs::digest::{Context, SHA256};
use mcp_jsonrpc::{Id, Message, ParseError};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    List,
    view::{Member, cursor::Place, places::Places},
};
use mcp_jsonrpc::object::Object;

/// How lists are cut into pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageLimits {
    /// Entries on one page.
    pub items_max: usize,
    /// What they take, in bytes; a page has one entry at least.
    pub bytes_max: usize,
}

/// A page of a list.
#[derive(Clone, Debug)]
pub struct Page<'a> {
    list: List,
    items: &'a str,
    next: Option<String>,
}

#[derive(Debug, Default)]
pub(super) struct Listing {
    /// The entries, with commas between them.
    text: String,
    rows: Vec<Row>,
    digest: [u8; 16],
}

#[derive(Debug)]
struct Row {
    member: u32,
    name: Box<str>,
    key: Option<Box<str>>,
    start: usize,
    end: usize,
}

impl Default for PageLimits {
    /// 10 000 entries, 8 MiB: many clients read one page and ask for no other.
    fn default() -> Self {
        Self { items_max: 10_000, bytes_max: 8 << 20 }
    }
}

// === impl Page ===

impl<'a> Page<'a> {
    /// Its entries, with commas between them.
    pub fn items(&self) -> &'a str {
        self.items
    }

    /// Where the next one begins, if there is one.
    pub fn next_cursor(&self) -> Option<&str> {
        self.next.as_deref()
    }

    /// The answer to who asked for it; `members` stand in the result beside the list, such as
    /// `_meta` or `ttlMs`.
    ///
    /// # Errors
    /// It is longer than a message may be.
    pub fn answer(&self, id: &Id, members: &[(&str, &RawValue)]) -> Result<Message, ParseError> {
        let beside: usize = members.iter().map(|(name, it)| name.len() + it.get().len() + 8).sum();
        Message::assembled(id, self.items.len() + beside + 256, |out| {
            out.push('{');
            for (name, value) in members {
                out.push_str(&serde_json::to_string(name)?);
                out.push(':');
                out.push_str(value.get());
                out.push(',');
            }
            out.push('"');
            out.push_str(self.list.member());
            out.push_str("\":[");
            out.push_str(self.items);
            out.push(']');
            if let Some(next) = &self.next {
                out.push_str(",\"nextCursor\":");
                out.push_str(&serde_json::to_string(next)?);
            }
            out.push('}');
            Ok(())
        })
    }

    pub(super) fn with_cursor(mut self, next: Option<String>) -> Self {
        self.next = next;
        self
    }
}

// === impl Listing ===

impl Listing {
    /// Adds an entry; they come in the order of their members and keys.
    pub(super) fn push(
        &mut self,
        member: usize,
        key: &str,
        name: &str,
        write: impl FnOnce(&mut String),
    ) {
        if !self.rows.is_empty() {
            self.text.push(',');
        }
        let start = self.text.len();
        write(&mut self.text);
        let key = (key != name).then(|| key.into());
        let (member, end) = (member as u32, self.text.len());
        self.rows.push(Row { member, name: name.into(), key, start, end });
    }

    pub(super) fn finish(&mut self) {
        self.text.shrink_to_fit();
        self.rows.shrink_to_fit();
        let mut context = Context::new(&SHA256);
        context.update(self.text.as_bytes());
        if let Some(digest) = context.finish().as_ref().first_chunk() {
            self.digest = *digest;
        }
    }

    pub(super) fn digest(&self) -> [u8; 16] {
        self.digest
    }

    pub(super) fn rows(&self) -> impl ExactSizeIterator<Item = &str> {
        self.rows.iter().map(|it| self.text.get(it.start..it.end).unwrap_or_default())
    }

    pub(super) fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.rows.iter().map(|it| &*it.name)
    }

    pub(super) fn size(&self) -> usize {
        let row = |it: &Row| size_of::<Row>() + it.name.len() + it.key().len();
        self.text.len() + self.rows.iter().map(row).sum::<usize>()
    }

    /// A page, and where the one after it begins.
    pub(super) fn page(
        &self,
        list: List,
        from: usize,
        limits: &PageLimits,
    ) -> (Page<'_>, Option<usize>) {
        let rows = self.rows.get(from..).unwrap_or_default();
        let Some(first) = rows.first() else {
            return (Page { list, items: "", next: None }, None);
        };
        let fits = |row: &&Row| row.end - first.start <= limits.bytes_max;
        let count = rows.iter().take(limits.items_max).take_while(fits).count().max(1);
        let end = rows.get(count - 1).map_or(first.end, |it| it.end);
        let items = self.text.get(first.start..end).unwrap_or_default();
        (Page { list, items, next: None }, (count < rows.len()).then_some(from + count))
    }

    /// A place on this list, as it is told to who will ask for it.
    pub(super) fn place(&self, at: usize, members: &[Member]) -> Place {
        let last = at.checked_sub(1).and_then(|at| self.rows.get(at));
        let after = last.and_then(|row| {
            let member = members.get(row.member as usize)?;
            Some((member.server.to_string(), row.key().to_owned()))
        });
        Place { digest: self.digest, at, after }
    }

    /// Where a place of this list, or of another that was here before, is now: whatever is in both
    /// comes once.
    pub(super) fn resume(&self, place: &Place, members: &[Member]) -> Option<usize> {
        if place.digest == self.digest {
            return (place.at <= self.rows.len()).then_some(place.at);
        }
        let (server, key) = place.after.as_ref()?;
        Some(self.rows.partition_point(|row| {
            let of = members.get(row.member as usize).map_or("", |it| &it.server);
            (of, row.key()) <= (server.as_str(), key.as_str())
        }))
    }
}

impl Row {
    /// What its server calls it.
    fn key(&self) -> &str {
        self.key.as_deref().unwrap_or(&self.name)
    }
}

/// Writes an entry under its name here; nothing else about it changes, but where it points to what
/// has another address here.
pub(crate) fn write_as(
    out: &mut String,
    list: List,
    raw: &RawValue,
    name: &str,
    uis: Option<(&Places, &[Member], &Member)>,
) {
    let moved = uis.and_then(|(places, members, member)| {
        mentions_ui(raw.get()).then(|| with_uis(raw, places, members, member)).flatten()
    });
    let raw = moved.as_deref().unwrap_or(raw);
    let json = raw.get();
    let Some(part) = key_part(list, raw) else { return out.push_str(json) };
    if serde_json::from_str::<std::borrow::Cow<'_, str>>(part.get()).is_ok_and(|it| it == name) {
        return out.push_str(json);
    }
    let start = part.get().as_ptr() as usize - json.as_ptr() as usize;
    let end = start + part.get().len();
    out.push_str(json.get(..start).unwrap_or_default());
    // A text can be written as JSON.
    out.push_str(&serde_json::to_string(name).unwrap_or_default());
    out.push_str(json.get(end..).unwrap_or_default());
}

/// A cheap look for what [`with_uis`] would edit.
fn mentions_ui(json: &str) -> bool {
    json.contains("esourceUri\"") || json.contains("outputTemplate\"")
}

/// The member that names an entry.
fn key_part(list: List, raw: &RawValue) -> Option<&RawValue> {
    // One type for each: a member named twice is refused for the one that is looked for alone.
    #[derive(Deserialize)]
    struct Named<'a> {
        #[serde(borrow)]
        name: &'a RawValue,
    }
    #[derive(Deserialize)]
    struct Placed<'a> {
        #[serde(borrow)]
        uri: &'a RawValue,
    }
    #[derive(Deserialize)]
    struct Patterned<'a> {
        #[serde(borrow, rename = "uriTemplate")]
        template: &'a RawValue,
    }
    let json = raw.get();
    match list {
        List::Tools | List::Prompts => serde_json::from_str(json).ok().map(|it: Named<'_>| it.name),
        List::Resources => serde_json::from_str(json).ok().map(|it: Placed<'_>| it.uri),
        List::Templates => serde_json::from_str(json).ok().map(|it: Patterned<'_>| it.template),
    }
}

/// A tool whose interface has another address here; none if it has none, or the same.
fn with_uis(
    raw: &RawValue,
    places: &Places,
    members: &[Member],
    member: &Member,
) -> Option<Box<RawValue>> {
    let moved = |uri: String| places.address(members, member, &uri);
    let mut tool = Object::read(raw).ok()?;
    let mut meta = tool.get("_meta").and_then(|it| Object::read(it).ok())?;
    let edited = crate::rewrite::move_uis(&mut meta, &moved)?;
    tool.set("_meta", &edited).ok()?;
    tool.to_raw().ok()
}
