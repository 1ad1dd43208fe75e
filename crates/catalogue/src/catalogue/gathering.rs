//! A catalogue in the making.

use std::{borrow::Cow, collections::BTreeSet};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Catalogue, Entry, Freshness, Limits, Shortfall};
use crate::List;

/// Why a result is no page of a list.
#[derive(Debug, thiserror::Error)]
#[error("its {} cannot be read: {source}", .list.member())]
pub struct PageError {
    list: List,
    source: serde_json::Error,
}

/// What to do after a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Ask for the page at this cursor.
    More(String),
    /// The list is complete, or as long as it gets.
    Done,
}

/// A catalogue in the making: pages go in, in the order in which the server gives them.
#[derive(Debug)]
pub struct Gathering {
    limits: Limits,
    made: Catalogue,
    items: usize,
    pages: [usize; 4],
    cursors: [BTreeSet<Box<str>>; 4],
    malformed: [usize; 4],
    is_full: bool,
    said_public: bool,
    said_private: bool,
}

#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow, default)]
    tools: Option<Vec<&'a RawValue>>,
    #[serde(borrow, default)]
    prompts: Option<Vec<&'a RawValue>>,
    #[serde(borrow, default)]
    resources: Option<Vec<&'a RawValue>>,
    #[serde(borrow, default, rename = "resourceTemplates")]
    templates: Option<Vec<&'a RawValue>>,
    #[serde(borrow, default, rename = "nextCursor")]
    next: Option<Cow<'a, str>>,
    #[serde(borrow, default, rename = "ttlMs")]
    ttl_ms: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "cacheScope")]
    scope: Option<&'a RawValue>,
}

// === impl Gathering ===

impl Gathering {
    /// An empty catalogue.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            made: Catalogue::default(),
            items: 0,
            pages: [0; 4],
            cursors: Default::default(),
            malformed: [0; 4],
            is_full: false,
            said_public: false,
            said_private: false,
        }
    }

    /// What the server says it can do: `capabilities` of its `initialize` or `server/discover`.
    pub fn capabilities(&mut self, capabilities: &RawValue) {
        self.made.capabilities = Some(capabilities.to_owned());
    }

    /// What the server says of itself to a model.
    pub fn instructions(&mut self, instructions: &str) {
        self.made.instructions = Some(instructions.into());
    }

    /// One page: the `result` of a server's answer.
    ///
    /// At a limit the rest is left out, [`Catalogue::shortfalls`] says so, and no more pages are
    /// wanted.
    ///
    /// # Errors
    /// It is no result of this list; what came before is kept.
    pub fn page(&mut self, list: List, result: &RawValue) -> Result<Progress, PageError> {
        let unread = |source| PageError { list, source };
        let page: Page<'_> = serde_json::from_str(result.get()).map_err(unread)?;
        let entries = match list {
            List::Tools => page.tools,
            List::Prompts => page.prompts,
            List::Resources => page.resources,
            List::Templates => page.templates,
        };
        let missing = || serde::de::Error::missing_field(list.member());
        let entries = entries.ok_or_else(missing).map_err(unread)?;
        self.note_freshness(page.ttl_ms, page.scope);
        for raw in entries {
            match Entry::read(list, raw) {
                Some(entry) => {
                    if !self.take(list, entry) {
                        return Ok(Progress::Done);
                    }
                }
                None => self.malformed.get_mut(list.at()).into_iter().for_each(|it| *it += 1),
            }
        }
        Ok(page.next.map_or(Progress::Done, |next| self.next(list, &next)))
    }

    /// The catalogue; its revision follows that of the one before, if anything changed.
    pub fn finish(mut self, before: Option<&Catalogue>) -> Catalogue {
        let mut made = self.made;
        for list in List::ALL {
            let Some(entries) = made.lists.get_mut(list.at()) else { continue };
            // Stable: of several by one name the first one listed stays.
            entries.sort_by(|a, b| a.key().cmp(b.key()));
            let count = entries.len();
            let size = &mut made.size;
            entries.dedup_by(|it, kept| {
                let same = it.key() == kept.key();
                *size -= if same { it.size() } else { 0 };
                same
            });
            entries.shrink_to_fit();
            let repeated = count - entries.len();
            let malformed = self.malformed.get_mut(list.at()).map_or(0, std::mem::take);
            if malformed > 0 {
                made.shortfalls.push(Shortfall::Malformed { list, count: malformed });
            }
            if repeated > 0 {
                made.shortfalls.push(Shortfall::Repeated { list, count: repeated });
            }
        }
        made.freshness.is_private = self.said_private || !self.said_public;
        made.revision = match before {
            Some(before) if before.is_like(&made) => before.revision,
            Some(before) => before.revision + 1,
            None => 1,
        };
        made
    }

    /// Whether there was room for it.
    fn take(&mut self, list: List, entry: Entry) -> bool {
        let Limits { items_max, bytes_max, .. } = self.limits;
        let size = self.made.size + entry.size();
        let shortfall = match () {
            () if items_max <= self.items => Shortfall::Items { list, max: items_max },
            () if bytes_max < size => Shortfall::Bytes { list, max: bytes_max },
            () => {
                if let Some(entries) = self.made.lists.get_mut(list.at()) {
                    entries.push(entry);
                }
                self.items += 1;
                self.made.size = size;
                return true;
            }
        };
        // Said once: the lists that follow have no room either.
        if !std::mem::replace(&mut self.is_full, true) {
            self.made.shortfalls.push(shortfall);
        }
        false
    }

    fn next(&mut self, list: List, cursor: &str) -> Progress {
        let max = self.limits.pages_max;
        let (Some(pages), Some(cursors)) =
            (self.pages.get_mut(list.at()), self.cursors.get_mut(list.at()))
        else {
            return Progress::Done;
        };
        *pages += 1;
        let shortfall = match () {
            () if max <= *pages => Shortfall::Pages { list, max },
            () if !cursors.insert(cursor.into()) => Shortfall::Circle { list },
            () => return Progress::More(cursor.to_owned()),
        };
        self.made.shortfalls.push(shortfall);
        Progress::Done
    }

    /// What is unreadable says nothing.
    fn note_freshness(&mut self, ttl_ms: Option<&RawValue>, scope: Option<&RawValue>) {
        match scope.map(RawValue::get) {
            Some("\"public\"") => self.said_public = true,
            _ => self.said_private = true,
        }
        let ttl_ms = ttl_ms.and_then(|it| serde_json::from_str::<f64>(it.get()).ok());
        // Below zero is zero: `as` saturates.
        let page = Freshness { ttl_ms: ttl_ms.map(|ms| ms as u64), is_private: true };
        self.made.freshness = self.made.freshness.and(page);
    }
}
