//! Many servers' catalogues, as one.

mod about;
mod cursor;
pub(crate) mod listing;
mod places;

use std::{collections::BTreeMap, fmt, sync::Arc};

use mcp_jsonrpc::ParseError;
use seal::Keyring;
use serde_json::value::RawValue;

pub use cursor::CursorError;
pub use listing::{Page, PageLimits};
pub use places::Located;

use crate::{
    Arguments, Catalogue, Freshness, List, Lists, Lost, Misfit, Rival, Shape, Shortfall,
    lost::shortened,
    names::{Claimant, Lead, Names, Naming, Prefix},
    shape::Shaped,
    view::{listing::Listing, places::Places},
};

/// One of the servers that are shown as one.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its name in the configuration: no two share it, and it stays.
    pub server: Arc<str>,
    /// What precedes the names of its tools, where something does.
    pub alias: Arc<str>,
    /// When it does; as everywhere, if nothing is said.
    pub prefix: Option<Prefix>,
    /// What it lists.
    pub catalogue: Arc<Catalogue>,
    /// Which of that is shown, and how.
    pub shapes: Vec<Arc<Shape>>,
    /// Whether it is there.  What a server listed that is gone for a while is no longer shown, but
    /// nobody else comes to be called so.
    pub is_there: bool,
}

/// How servers are shown as one.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// How names are made.
    pub naming: Naming,
    /// How lists are cut into pages.
    pub pages: PageLimits,
    /// How much of all servers' instructions is shown, in bytes.
    pub instructions_len_max: Option<usize>,
}

/// What several servers offer, as one; it does not change.
///
/// Names, edits and lists are made when it is built, once for every change of a catalogue.
pub struct View {
    members: Vec<Member>,
    settings: Settings,
    /// Tools and prompts: by name.
    named: [Named; 2],
    places: Places,
    listings: [Listing; 4],
    misfits: Vec<(Arc<str>, Misfit)>,
}

/// Why there is no view.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ViewError {
    /// Two members have one name.
    #[error("the server `{0}` is there twice")]
    Twice(String),
}

/// Something of a member's, as it is shown.
#[derive(Clone, Debug)]
pub struct Found<'a> {
    /// Whose it is.
    pub member: &'a Member,
    /// Its name or address, as its server knows it.
    pub original: &'a str,
    /// Its name or address here; none where others claim all it could have.
    pub exposed: Option<&'a str>,
    /// What becomes of the arguments it is called with.
    pub arguments: Option<&'a Arguments>,
}

#[derive(Debug, Default)]
struct Named {
    items: Vec<Item>,
    names: Names,
}

/// Something that has a place on a list.
#[derive(Debug)]
struct Item {
    member: usize,
    entry: usize,
    arguments: Option<Arc<Arguments>>,
}

// === impl View ===

impl View {
    /// Shows these servers as one; in which order they are given makes no difference.
    ///
    /// # Errors
    /// Two have one name.
    pub fn new(mut members: Vec<Member>, settings: Settings) -> Result<Self, ViewError> {
        members.sort_by(|a, b| a.server.cmp(&b.server));
        let twice = members.windows(2).find_map(|it| match it {
            [a, b] if a.server == b.server => Some(a.server.to_string()),
            _ => None,
        });
        if let Some(server) = twice {
            return Err(ViewError::Twice(server));
        }
        let mut misfits = Vec::new();
        note_missing(&members, &mut misfits);
        let places = Places::new(&members);
        let (tools, listed_tools) = named(&members, List::Tools, &settings, &places, &mut misfits);
        let (prompts, listed_prompts) =
            named(&members, List::Prompts, &settings, &places, &mut misfits);
        let [listed_resources, listed_templates] = places.listings(&members);
        let listings = [listed_tools, listed_prompts, listed_resources, listed_templates];
        Ok(Self { members, settings, named: [tools, prompts], places, listings, misfits })
    }

    /// The view of no servers.
    pub fn empty() -> Self {
        Self {
            members: Vec::new(),
            settings: Settings::default(),
            named: Default::default(),
            places: Places::default(),
            listings: Default::default(),
            misfits: Vec::new(),
        }
    }

    /// The servers, in the order of their names.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The server by this name.
    pub fn member(&self, server: &str) -> Option<&Member> {
        let at = self.members.binary_search_by(|it| (*it.server).cmp(server)).ok()?;
        self.members.get(at)
    }

    /// The tool or prompt that a name leads to.
    ///
    /// # Errors
    /// It leads nowhere, or to several.
    pub fn find(&self, list: List, name: &str) -> Result<Found<'_>, Lost> {
        let unknown = || Lost::Unknown { list, name: shortened(name) };
        let named = self.named.get(list.at()).ok_or_else(unknown)?;
        match named.names.lead(name) {
            None => Err(unknown()),
            Some(Lead::Given(at) | Lead::Also(at)) => {
                self.found(list, named, *at).ok_or_else(unknown)
            }
            Some(Lead::Contested(by)) => {
                let claimed = by.iter().filter_map(|at| self.found(list, named, *at));
                let by = claimed.map(|it| Rival {
                    server: it.member.server.to_string(),
                    exposed: it.exposed.map(str::to_owned),
                });
                Err(Lost::Contested { list, name: shortened(name), by: by.collect() })
            }
        }
    }

    /// The server that an address belongs to, and the address as it knows it.
    ///
    /// # Errors
    /// It is nobody's, or that of several.
    pub fn locate<'a>(&'a self, uri: &'a str) -> Result<Located<'a>, Lost> {
        self.places.locate(&self.members, uri)
    }

    /// The address by which what is at this address of a member's is asked for here; none if it
    /// is the same.
    pub fn address(&self, member: &Member, uri: &str) -> Option<String> {
        self.places.address(&self.members, member, uri)
    }

    /// Every tool or prompt there is, in the order in which it is listed.
    pub fn all(&self, list: List) -> impl Iterator<Item = Found<'_>> {
        let named = self.named.get(list.at());
        named.into_iter().flat_map(move |named| {
            (0..named.items.len()).filter_map(move |at| self.found(list, named, at))
        })
    }

    /// What is shown of a list, each as it is listed.
    pub fn shown(&self, list: List) -> impl ExactSizeIterator<Item = &str> {
        self.listing(list).rows()
    }

    /// The name or address by which each on a list is shown, in the same order as
    /// [`shown`](Self::shown).
    pub fn shown_as(&self, list: List) -> impl ExactSizeIterator<Item = &str> {
        self.listing(list).names()
    }

    /// A page of a list: the first one, or the one at a cursor.
    ///
    /// Cursors are bound to `scope`: whatever else than the view decides who sees what.
    ///
    /// # Errors
    /// The cursor is none of ours, or of a view in which nobody knows where it is.
    pub fn page(
        &self,
        list: List,
        cursor: Option<&str>,
        keyring: &Keyring,
        scope: &[u8],
    ) -> Result<Page<'_>, CursorError> {
        let listing = self.listing(list);
        let from = cursor::open(cursor, keyring, [scope, list.method().as_bytes()], |place| {
            listing.resume(place, &self.members)
        })?;
        let (page, next) = listing.page(list, from, &self.settings.pages);
        let seal = |at| {
            let place = listing.place(at, &self.members);
            cursor::seal(&place, keyring, [scope, list.method().as_bytes()])
        };
        Ok(page.with_cursor(next.map(seal).transpose()?))
    }

    /// The lists that are not the same in both.
    pub fn diff(old: &Self, new: &Self) -> Lists {
        let differs = |list: &List| old.listing(*list).digest() != new.listing(*list).digest();
        List::ALL.into_iter().filter(differs).collect()
    }

    /// For how long it may be kept, and for whom.  Only what a member said is known to hold.
    pub fn freshness(&self) -> Freshness {
        let mut all = self.members.iter().map(|it| it.catalogue.freshness());
        let first = all.next().unwrap_or_default();
        all.fold(first, Freshness::and)
    }

    /// What the servers say of themselves to a model, under headings, within the limit.
    pub fn instructions(&self) -> Option<String> {
        about::instructions(&self.members, &self.settings)
    }

    /// What at least one server can do.
    ///
    /// # Errors
    /// Never, but for what cannot be written as JSON.
    pub fn capabilities(&self) -> Result<Box<RawValue>, ParseError> {
        about::capabilities(&self.members)
    }

    /// What does not fit in the members' shapes.
    pub fn misfits(&self) -> impl Iterator<Item = (&str, &Misfit)> {
        self.misfits.iter().map(|(server, misfit)| (&**server, misfit))
    }

    /// What is missing from the members' catalogues.
    pub fn shortfalls(&self) -> impl Iterator<Item = (&str, &Shortfall)> {
        self.members
            .iter()
            .flat_map(|it| it.catalogue.shortfalls().iter().map(|s| (&*it.server, s)))
    }

    /// The memory that lists and names take, in bytes, beside that of the catalogues.
    pub fn size(&self) -> usize {
        self.listings.iter().map(Listing::size).sum()
    }

    fn listing(&self, list: List) -> &Listing {
        let [tools, prompts, resources, templates] = &self.listings;
        match list {
            List::Tools => tools,
            List::Prompts => prompts,
            List::Resources => resources,
            List::Templates => templates,
        }
    }

    fn found<'a>(&'a self, list: List, named: &'a Named, at: usize) -> Option<Found<'a>> {
        let item = named.items.get(at)?;
        let member = self.members.get(item.member)?;
        let original = member.catalogue.list(list).get(item.entry)?.key();
        let exposed = named.names.of(at);
        Some(Found { member, original, exposed, arguments: item.arguments.as_deref() })
    }
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let servers: Vec<&str> = self.members.iter().map(|it| &*it.server).collect();
        f.debug_struct("View").field("members", &servers).finish_non_exhaustive()
    }
}

/// The tools or prompts of all members, under their names.
fn named(
    members: &[Member],
    list: List,
    settings: &Settings,
    places: &Places,
    misfits: &mut Vec<(Arc<str>, Misfit)>,
) -> (Named, Listing) {
    let naming = &settings.naming;
    let mut shaped: Vec<(Item, Shaped<'_>)> = Vec::new();
    for (at, member) in members.iter().enumerate() {
        let mut found = Vec::new();
        for (entry, it) in member.catalogue.list(list).iter().enumerate() {
            let Some(it) = Shape::apply(&member.shapes, list, it, &mut found) else { continue };
            let arguments = it.arguments.clone();
            shaped.push((Item { member: at, entry, arguments }, it));
        }
        misfits.extend(found.into_iter().map(|it| (Arc::clone(&member.server), it)));
    }
    let claimants: Vec<Claimant<'_>> = shaped
        .iter()
        .filter_map(|(item, it)| {
            let member = members.get(item.member)?;
            let original = member.catalogue.list(list).get(item.entry)?.key();
            let prefix = member.prefix.unwrap_or_else(|| naming.prefix());
            let Member { server, alias, .. } = member;
            Some(Claimant { server, alias, original, name: &it.name, prefix })
        })
        .collect();
    let names = Names::give(&claimants, naming);
    let mut listing = Listing::default();
    for ((item, it), exposed) in shaped.iter().zip(names.given()) {
        let (Some(member), Some(exposed)) = (members.get(item.member), exposed) else { continue };
        if member.is_there {
            let uis = (list == List::Tools).then_some((places, members, member));
            let Some(entry) = member.catalogue.list(list).get(item.entry) else { continue };
            listing.push(item.member, entry.key(), exposed, |out| {
                listing::write_as(out, list, &it.raw, exposed, uis);
            });
        }
    }
    listing.finish();
    (Named { items: shaped.into_iter().map(|(item, _)| item).collect(), names }, listing)
}

/// Overrides of what is not there.
fn note_missing(members: &[Member], misfits: &mut Vec<(Arc<str>, Misfit)>) {
    for member in members {
        let overrides = member.shapes.iter().flat_map(|it| it.overrides.keys());
        let tools: BTreeMap<&String, ()> = overrides.map(|it| (it, ())).collect();
        for tool in tools.into_keys() {
            if member.catalogue.entry(List::Tools, tool).is_none() {
                let misfit = Misfit::NoTool { tool: tool.clone() };
                misfits.push((Arc::clone(&member.server), misfit));
            }
        }
    }
}

#[cfg(test)]
mod tests;
