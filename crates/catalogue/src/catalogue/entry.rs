//! One entry of a list, in the bytes in which it was listed.

use std::{borrow::Cow, fmt, mem::size_of};

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::List;

/// One tool, prompt, resource or template.
pub struct Entry {
    key: Box<str>,
    raw: Box<RawValue>,
    hints: Hints,
}

/// What a tool's `annotations` say of it, with what is so if they say nothing (2025-03-26,
/// schema: ToolAnnotations).  Hints of the server's, not facts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hints {
    /// It changes nothing; not so unless said.
    pub read_only: bool,
    /// It may destroy something; so unless said otherwise, or it changes nothing.
    pub destructive: bool,
    /// Called again with the same arguments it does nothing more; not so unless said.
    pub idempotent: bool,
    /// It deals with what is outside; so unless said otherwise.
    pub open_world: bool,
}

// === impl Entry ===

impl Entry {
    pub(crate) fn read(list: List, raw: &RawValue) -> Option<Self> {
        let key = key_of(list, raw)?;
        let hints = if list == List::Tools { Hints::read(raw) } else { Hints::default() };
        Some(Self { key: key.into(), raw: raw.to_owned(), hints })
    }

    /// Its name, URI or template, as its server knows it.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// As it was listed, byte for byte.
    pub fn raw(&self) -> &RawValue {
        &self.raw
    }

    /// What its annotations say, if it is a tool.
    pub fn hints(&self) -> Hints {
        self.hints
    }

    /// The memory it takes, in bytes.
    pub fn size(&self) -> usize {
        size_of::<Self>() + self.key.len() + self.raw.get().len()
    }
}

impl PartialEq for Entry {
    /// The same bytes: what means the same and is written otherwise is announced once too often,
    /// which is better than once too rarely.
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key && self.raw.get() == other.raw.get()
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.raw.get().len();
        f.debug_struct("Entry").field("key", &self.key).field("bytes", &bytes).finish()
    }
}

fn key_of(list: List, raw: &RawValue) -> Option<Cow<'_, str>> {
    // One type for each: a member named twice is refused for the one that is looked for alone.
    #[derive(Deserialize)]
    struct Named<'a> {
        #[serde(borrow)]
        name: Cow<'a, str>,
    }
    #[derive(Deserialize)]
    struct Placed<'a> {
        #[serde(borrow)]
        uri: Cow<'a, str>,
    }
    #[derive(Deserialize)]
    struct Patterned<'a> {
        #[serde(borrow, rename = "uriTemplate")]
        template: Cow<'a, str>,
    }
    // To serde an array of the members in order would do as well.
    let json = Some(raw.get()).filter(|it| it.starts_with('{'))?;
    match list {
        List::Tools | List::Prompts => serde_json::from_str(json).ok().map(|it: Named<'_>| it.name),
        List::Resources => serde_json::from_str(json).ok().map(|it: Placed<'_>| it.uri),
        List::Templates => serde_json::from_str(json).ok().map(|it: Patterned<'_>| it.template),
    }
}

// === impl Hints ===

impl Hints {
    /// What is unreadable says nothing.
    fn read(tool: &RawValue) -> Self {
        #[derive(Deserialize)]
        struct Tool<'a> {
            #[serde(borrow, default)]
            annotations: Option<&'a RawValue>,
        }
        #[derive(Default, Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        struct Annotations {
            read_only_hint: Option<bool>,
            destructive_hint: Option<bool>,
            idempotent_hint: Option<bool>,
            open_world_hint: Option<bool>,
        }
        let said = serde_json::from_str::<Tool<'_>>(tool.get()).ok().and_then(|it| it.annotations);
        let said = said.and_then(|it| serde_json::from_str::<Annotations>(it.get()).ok());
        let said = said.unwrap_or_default();
        let read_only = said.read_only_hint.unwrap_or(false);
        Self {
            read_only,
            destructive: !read_only && said.destructive_hint.unwrap_or(true),
            idempotent: said.idempotent_hint.unwrap_or(false),
            open_world: said.open_world_hint.unwrap_or(true),
        }
    }
}

impl Default for Hints {
    /// What is so if nothing is said.
    fn default() -> Self {
        Self { read_only: false, destructive: true, idempotent: false, open_world: true }
    }
}
