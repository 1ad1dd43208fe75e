//! Whose an address is.

use std::{borrow::Cow, collections::HashMap};

use crate::{
    Hints, List, Shape,
    lost::{Lost, Rival, shortened},
    uris::{self, Template},
    view::{
        Member,
        listing::{self, Listing},
    },
};

/// Addresses that every client can visit by itself.
const ELSEWHERE: [&str; 2] = ["http://", "https://"];

/// An address, and whose it is.
#[derive(Clone, Debug)]
pub struct Located<'a> {
    /// Whose it is.
    pub member: &'a Member,
    /// The address as its server knows it.
    pub uri: Cow<'a, str>,
}

/// Which members have which addresses.
#[derive(Debug, Default)]
pub(crate) struct Places {
    /// Of resources, and of templates as they are written.
    listed: [HashMap<Box<str>, Vec<usize>>; 2],
    templates: Vec<(usize, Template)>,
    /// Who can be asked for what nobody lists.
    asked: Vec<usize>,
}

impl Places {
    pub(super) fn new(members: &[Member]) -> Self {
        let mut places = Self::default();
        for (at, member) in members.iter().enumerate() {
            for (list, listed) in [List::Resources, List::Templates].iter().zip(&mut places.listed)
            {
                for entry in member.catalogue.list(*list) {
                    if !admits(member, *list, entry.key()) {
                        continue;
                    }
                    listed.entry(entry.key().into()).or_default().push(at);
                    if *list == List::Templates {
                        places.templates.extend(Template::new(entry.key()).map(|it| (at, it)));
                    }
                }
            }
            if offers(member) {
                places.asked.push(at);
            }
        }
        places
    }

    pub(super) fn listings(&self, members: &[Member]) -> [Listing; 2] {
        [List::Resources, List::Templates].map(|list| {
            let mut made = Listing::default();
            for (at, member) in members.iter().enumerate().filter(|(_, it)| it.is_there) {
                for entry in member.catalogue.list(list) {
                    let key = entry.key();
                    if !admits(member, list, key) {
                        continue;
                    }
                    let is_plain = self.owners(list, key).len() < 2 && uris::unwrap(key).is_none();
                    let exposed: Cow<'_, str> =
                        if is_plain { key.into() } else { uris::wrap(&member.server, key).into() };
                    made.push(at, key, &exposed, |out| {
                        listing::write_as(out, list, entry.raw(), &exposed, None);
                    });
                }
            }
            made.finish();
            made
        })
    }

    pub(super) fn locate<'a>(
        &self,
        members: &'a [Member],
        uri: &'a str,
    ) -> Result<Located<'a>, Lost> {
        if let Some((server, own)) = uris::unwrap(uri) {
            let member = members.iter().find(|it| *it.server == *server);
            let member = member.ok_or_else(|| Lost::Elsewhere { uri: shortened(uri), server })?;
            if !admits(member, List::Resources, &own) {
                return Err(unknown(uri));
            }
            return Ok(Located { member, uri: own });
        }
        for list in [List::Resources, List::Templates] {
            match self.owners(list, uri) {
                [] => (),
                owners => return one(members, owners, uri),
            }
        }
        let fitting = self.templates.iter().filter(|(at, it)| {
            members.get(*at).is_some_and(|of| admits(of, List::Resources, uri)) && it.matches(uri)
        });
        let fitting: Vec<_> = fitting.collect();
        let longest = fitting.iter().map(|(_, it)| it.literal_len()).max();
        let best = fitting.iter().filter(|(_, it)| Some(it.literal_len()) == longest);
        let mut best: Vec<usize> = best.map(|(at, _)| *at).collect();
        best.dedup();
        if !best.is_empty() {
            return one(members, &best, uri);
        }
        match self.asked.as_slice() {
            [at] if members.get(*at).is_some_and(|it| admits(it, List::Resources, uri)) => {
                one(members, &[*at], uri)
            }
            _ => Err(unknown(uri)),
        }
    }

    /// An address here leads back to the member it came from, or it is no address here.
    pub(super) fn address(&self, members: &[Member], member: &Member, uri: &str) -> Option<String> {
        let wrapped = || Some(uris::wrap(&member.server, uri));
        if uris::unwrap(uri).is_some() {
            return wrapped();
        }
        // Nobody can be asked for what a server without resources mentions.
        if members.len() < 2 || !offers(member) {
            return None;
        }
        match self.locate(members, uri) {
            Ok(located) if located.member.server == member.server => None,
            Err(Lost::Unknown { .. }) if ELSEWHERE.iter().any(|it| uri.starts_with(it)) => None,
            _ => wrapped(),
        }
    }

    fn owners(&self, list: List, key: &str) -> &[usize] {
        let [resources, templates] = &self.listed;
        let listed = if list == List::Resources { resources } else { templates };
        listed.get(key).map_or(&[], Vec::as_slice)
    }
}

fn one<'a>(members: &'a [Member], at: &[usize], uri: &'a str) -> Result<Located<'a>, Lost> {
    let owners = at.iter().filter_map(|at| members.get(*at));
    if let ([_], Some(member)) = (at, owners.clone().next()) {
        return Ok(Located { member, uri: uri.into() });
    }
    let rival = |it: &Member| Rival {
        server: it.server.to_string(),
        exposed: Some(shortened(&uris::wrap(&it.server, uri))),
    };
    let by = owners.map(rival).collect();
    Err(Lost::Contested { list: List::Resources, name: shortened(uri), by })
}

fn unknown(uri: &str) -> Lost {
    Lost::Unknown { list: List::Resources, name: shortened(uri) }
}

fn admits(member: &Member, list: List, uri: &str) -> bool {
    Shape::admit(&member.shapes, list, &[uri], Hints::default())
}

/// Whether it can be asked for resources: it says so, or lists some.
fn offers(member: &Member) -> bool {
    let lists = [List::Resources, List::Templates];
    lists.iter().any(|it| !member.catalogue.list(*it).is_empty())
        || member.catalogue.can("resources")
}
