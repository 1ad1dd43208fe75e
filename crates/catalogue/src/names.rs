//! Under which name each tool or prompt of many servers is known.
//!
//! What may come to be called by several names *claims* all of them: its own, if servers are not
//! always named with it, and the one with its server's alias before it.  A name that two claim is
//! given to neither; each takes the first of its names that is its own, and if there is none, one
//! with a part that is drawn from what it is.
//!
//! Claims depend on who claims alone, and a further server can only make more names contested.  So
//! a name may cease to lead anywhere, but never begins to lead to somebody else while the one it
//! led to is still there.

mod form;

use std::{collections::HashMap, fmt};

pub use form::LEN_MAX_LEAST;

/// When a name is preceded by its server's alias.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Prefix {
    /// In every case.
    Always,
    /// Where another server has something by that name.
    #[default]
    Conflict,
    /// In no case: where two servers have something by one name, its own bytes tell them apart.
    Never,
}

/// How names are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Naming {
    prefix: Prefix,
    separator: Box<str>,
    len_max: usize,
}

/// Why names cannot be made like this.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NamingError {
    /// The separator would not be part of a name, or is too long.
    #[error("the separator `{0}` is not 1 to 8 letters, digits, `_` or `-`")]
    Separator(String),
    /// Names could not be told apart.
    #[error("names of at most {0} characters are too short: at least {LEN_MAX_LEAST}, at most 128")]
    Length(usize),
}

/// Something that wants a name.
#[derive(Clone, Copy, Debug)]
pub struct Claimant<'a> {
    /// Its server's name in the configuration: no two servers share it, and it stays.
    pub server: &'a str,
    /// What precedes its name, if something does.
    pub alias: &'a str,
    /// What it is called by its server.
    pub original: &'a str,
    /// What it is called here: the same, unless it was renamed.
    pub name: &'a str,
    /// When its name is preceded by the alias.
    pub prefix: Prefix,
}

/// The names that were given, and what every other name leads to.
#[derive(Debug, Default)]
pub struct Names {
    given: Vec<Option<Box<str>>>,
    known: HashMap<Box<str>, Lead>,
}

/// Where a name leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lead {
    /// To the one who was given it.
    Given(usize),
    /// To the only one who is also called so.
    Also(usize),
    /// To several, and so to none.
    Contested(Vec<usize>),
}

// === impl Naming ===

impl Naming {
    /// Names of at most `len_max` characters out of `A-Z a-z 0-9 _ -`.
    ///
    /// # Errors
    /// The separator is not made of these, or there is too little room.
    pub fn new(prefix: Prefix, separator: &str, len_max: usize) -> Result<Self, NamingError> {
        if !(1..=form::SEPARATOR_LEN_MAX).contains(&separator.len()) || !form::is_plain(separator) {
            return Err(NamingError::Separator(separator.to_owned()));
        }
        if !(LEN_MAX_LEAST..=128).contains(&len_max) {
            return Err(NamingError::Length(len_max));
        }
        Ok(Self { prefix, separator: separator.into(), len_max })
    }

    /// When a name is preceded by its server's alias, unless its server says otherwise.
    pub fn prefix(&self) -> Prefix {
        self.prefix
    }

    /// What stands between alias and name.
    pub fn separator(&self) -> &str {
        &self.separator
    }

    /// The longest name.
    pub fn len_max(&self) -> usize {
        self.len_max
    }
}

impl Default for Naming {
    /// `conflict`, `__`, and 64 characters, which is what the APIs of models take.
    fn default() -> Self {
        Self { prefix: Prefix::Conflict, separator: "__".into(), len_max: 64 }
    }
}

// === impl Claimant ===

impl Claimant<'_> {
    /// The names it claims from the start, the preferred one first.
    fn claims(&self, naming: &Naming) -> Vec<String> {
        let bare = || form::bare(self.name, naming);
        let prefixed = || form::prefixed(self.alias, self.name, naming);
        match self.prefix {
            Prefix::Always => vec![prefixed()],
            Prefix::Conflict => vec![bare(), prefixed()],
            Prefix::Never => vec![bare()],
        }
    }

    /// The name it claims when all of those are contested, and this many more.
    fn last_resort(&self, level: usize, naming: &Naming) -> Option<String> {
        let alias = (self.prefix != Prefix::Never).then_some(self.alias);
        form::drawn(level, [self.server, self.original], alias, self.name, naming)
    }
}

// === impl Names ===

impl Names {
    /// Gives each a name; their order makes no difference.
    ///
    /// Who gets none at all is faced with others who have named themselves after everything it
    /// could be called.
    pub fn give(claimants: &[Claimant<'_>], naming: &Naming) -> Self {
        let mut claims: Vec<Vec<String>> = claimants.iter().map(|it| it.claims(naming)).collect();
        let mut claimed: HashMap<String, Vec<usize>> = HashMap::new();
        for (at, names) in claims.iter().enumerate() {
            names.iter().for_each(|name| claim(&mut claimed, name, at));
        }
        // Every round contests more names, or ends it: there are few rounds, and fewer than levels.
        let mut waiting: Vec<(usize, usize)> = (0..claimants.len()).map(|at| (at, 0)).collect();
        loop {
            waiting.retain(|(at, _)| is_without(*at, &claims, &claimed));
            let mut any = false;
            for (at, level) in &mut waiting {
                let name = claimants.get(*at).and_then(|it| it.last_resort(*level, naming));
                let (Some(name), Some(names)) = (name, claims.get_mut(*at)) else { continue };
                *level += 1;
                any = true;
                claim(&mut claimed, &name, *at);
                names.push(name);
            }
            if !any {
                break;
            }
            // What was just claimed may have been somebody's.
            let without = (0..claims.len()).filter(|at| is_without(*at, &claims, &claimed));
            let old: HashMap<usize, usize> = waiting.iter().copied().collect();
            waiting = without.map(|at| (at, old.get(&at).copied().unwrap_or(0))).collect();
        }
        Self::settle(claimants, &claims, claimed)
    }

    /// The name that each was given, in their order.
    pub fn given(&self) -> impl ExactSizeIterator<Item = Option<&str>> {
        self.given.iter().map(Option::as_deref)
    }

    /// The name that one was given.
    pub fn of(&self, at: usize) -> Option<&str> {
        self.given.get(at)?.as_deref()
    }

    /// Where a name leads: one that was given, one that is contested, or one that something is
    /// called by its server and nothing else is called.
    pub fn lead(&self, name: &str) -> Option<&Lead> {
        self.known.get(name)
    }

    fn settle(
        claimants: &[Claimant<'_>],
        claims: &[Vec<String>],
        mut claimed: HashMap<String, Vec<usize>>,
    ) -> Self {
        let only = |name: &str| claimed.get(name).is_some_and(|by| by.len() == 1);
        let first =
            |names: &Vec<String>| names.iter().find(|it| only(it)).map(|it| it.as_str().into());
        let given: Vec<Option<Box<str>>> = claims.iter().map(first).collect();
        for (at, claimant) in claimants.iter().enumerate() {
            // A name that was given is not disturbed by who is called so and does not claim it.
            let name = claimant.name;
            let is_given = claimed.get(name).is_some_and(|by| {
                by.iter().any(|at| given.get(*at).and_then(Option::as_deref) == Some(name))
            });
            if !is_given {
                claim(&mut claimed, name, at);
            }
        }
        let lead = |(name, by): (String, Vec<usize>)| {
            let lead = match *by.as_slice() {
                [at] if given.get(at).and_then(Option::as_deref) == Some(&name) => Lead::Given(at),
                [at] => Lead::Also(at),
                _ => Lead::Contested(by),
            };
            (name.into(), lead)
        };
        let known = claimed.into_iter().map(lead).collect();
        Self { given, known }
    }
}

/// Whether all that one claims is contested.
fn is_without(at: usize, claims: &[Vec<String>], claimed: &HashMap<String, Vec<usize>>) -> bool {
    let mut names = claims.get(at).into_iter().flatten();
    names.all(|name| claimed.get(name).is_some_and(|by| by.len() > 1))
}

fn claim(claimed: &mut HashMap<String, Vec<usize>>, name: &str, at: usize) {
    match claimed.get_mut(name) {
        Some(by) if by.contains(&at) => (),
        Some(by) => by.push(at),
        None => {
            claimed.insert(name.to_owned(), vec![at]);
        }
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Always => "always",
            Self::Conflict => "conflict",
            Self::Never => "never",
        })
    }
}

#[cfg(test)]
mod tests;
