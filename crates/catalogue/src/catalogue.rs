//! What one server lists, for one scope of callers.

mod entry;
mod gathering;

use serde_json::value::RawValue;

pub use entry::{Entry, Hints};
pub use gathering::{Gathering, PageError, Progress};

use crate::{List, Lists};
use mcp_jsonrpc::object::Object;

/// What one server lists, for one scope of callers; it does not change.
///
/// Entries are in the order of their keys, whatever order they were listed in: two catalogues of
/// the same entries are the same, and so is all that is made of them.
#[derive(Debug, Default)]
pub struct Catalogue {
    lists: [Vec<Entry>; 4],
    revision: u64,
    freshness: Freshness,
    capabilities: Option<Box<RawValue>>,
    instructions: Option<Box<str>>,
    shortfalls: Vec<Shortfall>,
    size: usize,
}

/// For how long a list may be kept, and for whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freshness {
    /// In milliseconds, from when it came; none if the server said nothing.
    pub ttl_ms: Option<u64>,
    /// Whether it holds for its caller alone; so unless every page said otherwise.
    pub is_private: bool,
}

/// How much of one server's lists is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Entries, of all its lists together.
    pub items_max: usize,
    /// What they take, in bytes, as [`Catalogue::size`] counts.
    pub bytes_max: usize,
    /// Pages of each list.
    pub pages_max: usize,
}

/// What is missing from a catalogue, or was left out of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Shortfall {
    /// There were more entries than are kept.
    #[error("{} of more than {max} entries (`items_max`): the rest is left out", .list.member())]
    Items {
        /// Where it stopped.
        list: List,
        /// How many are kept.
        max: usize,
    },
    /// They took more memory than is granted.
    #[error("{} of more than {max} bytes (`bytes_max`): the rest is left out", .list.member())]
    Bytes {
        /// Where it stopped.
        list: List,
        /// How much is granted.
        max: usize,
    },
    /// There were more pages than are asked for.
    #[error("{} of more than {max} pages (`pages_max`): the rest is left out", .list.member())]
    Pages {
        /// Where it stopped.
        list: List,
        /// How many are asked for.
        max: usize,
    },
    /// A page led back to one that was there before.
    #[error("the pages of its {} go round in a circle", .list.member())]
    Circle {
        /// Where it stopped.
        list: List,
    },
    /// Entries that have no name, or two, or are no objects.
    #[error("{count} of its {} cannot be read and are left out", .list.member())]
    Malformed {
        /// Whose.
        list: List,
        /// How many.
        count: usize,
    },
    /// Entries by a name that another has already: the first one stays.
    #[error("{count} of its {} have a name that another has, and are left out", .list.member())]
    Repeated {
        /// Whose.
        list: List,
        /// How many.
        count: usize,
    },
}

// === impl Catalogue ===

impl Catalogue {
    /// What it has on a list, in the order of its keys.
    pub fn list(&self, list: List) -> &[Entry] {
        self.lists.get(list.at()).map_or(&[], Vec::as_slice)
    }

    /// The entry by this key.
    pub fn entry(&self, list: List, key: &str) -> Option<&Entry> {
        let entries = self.list(list);
        let at = entries.binary_search_by(|it| it.key().cmp(key)).ok()?;
        entries.get(at)
    }

    /// Which one it is of those that came of this server: it grows whenever something changed.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// For how long it may be kept, and for whom.
    pub fn freshness(&self) -> Freshness {
        self.freshness
    }

    /// What the server says it can do, unread.
    pub fn capabilities(&self) -> Option<&RawValue> {
        self.capabilities.as_deref()
    }

    /// Whether the server says that it has a capability: a member that is there and not null.
    pub fn can(&self, capability: &str) -> bool {
        let said = self.capabilities().and_then(|it| Object::read(it).ok());
        said.is_some_and(|it| it.get(capability).is_some_and(|it| it.get() != "null"))
    }

    /// What the server says of itself to a model.
    pub fn instructions(&self) -> Option<&str> {
        self.instructions.as_deref()
    }

    /// What was left out, and why.
    pub fn shortfalls(&self) -> &[Shortfall] {
        &self.shortfalls
    }

    /// The memory that its entries take, in bytes, apart from what the allocator adds.
    pub fn size(&self) -> usize {
        self.size
    }

    /// The lists that are not the same in both.
    pub fn diff(old: &Self, new: &Self) -> Lists {
        List::ALL.into_iter().filter(|list| old.list(*list) != new.list(*list)).collect()
    }

    /// Whether both say the same, whichever they were of those that came of their servers.
    pub fn is_like(&self, other: &Self) -> bool {
        let said = self.capabilities().map(RawValue::get);
        Self::diff(self, other).is_empty()
            && said == other.capabilities().map(RawValue::get)
            && self.instructions == other.instructions
    }
}

// === impl Freshness ===

impl Freshness {
    /// What holds for two lists that are shown as one.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let ttl_ms = match (self.ttl_ms, other.ttl_ms) {
            (Some(ours), Some(theirs)) => Some(ours.min(theirs)),
            (ours, theirs) => ours.or(theirs),
        };
        Self { ttl_ms, is_private: self.is_private || other.is_private }
    }
}

impl Default for Freshness {
    /// Nothing was said.
    fn default() -> Self {
        Self { ttl_ms: None, is_private: true }
    }
}

impl Default for Limits {
    /// 10 000 entries, 32 MiB, 200 pages.
    fn default() -> Self {
        Self { items_max: 10_000, bytes_max: 32 << 20, pages_max: 200 }
    }
}

#[cfg(test)]
mod tests;
