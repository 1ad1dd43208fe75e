//! The four lists that a server may have.

use std::fmt;

/// One of the lists that a server may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum List {
    /// `tools/list`.
    Tools,
    /// `prompts/list`.
    Prompts,
    /// `resources/list`.
    Resources,
    /// `resources/templates/list`.
    Templates,
}

/// A set of lists.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Lists(u8);

// === impl List ===

impl List {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Tools, Self::Prompts, Self::Resources, Self::Templates];

    /// The list that a method asks for.
    pub fn asked_by(method: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.method() == method)
    }

    /// The method that asks for it.
    pub fn method(self) -> &'static str {
        match self {
            Self::Tools => "tools/list",
            Self::Prompts => "prompts/list",
            Self::Resources => "resources/list",
            Self::Templates => "resources/templates/list",
        }
    }

    /// The member of the result that holds it.
    pub fn member(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::Prompts => "prompts",
            Self::Resources => "resources",
            Self::Templates => "resourceTemplates",
        }
    }

    /// The member of an entry by which it is asked for.
    pub fn key(self) -> &'static str {
        match self {
            Self::Tools | Self::Prompts => "name",
            Self::Resources => "uri",
            Self::Templates => "uriTemplate",
        }
    }

    /// The notification that says it changed.  Resources and templates share one.
    pub fn changed(self) -> &'static str {
        match self {
            Self::Tools => "notifications/tools/list_changed",
            Self::Prompts => "notifications/prompts/list_changed",
            Self::Resources | Self::Templates => "notifications/resources/list_changed",
        }
    }

    /// Its place in arrays of one for each.
    pub(crate) fn at(self) -> usize {
        self as usize
    }
}

// === impl Lists ===

impl Lists {
    /// With one more.
    #[must_use]
    pub fn with(self, list: List) -> Self {
        Self(self.0 | 1 << list.at())
    }

    /// Whether it is among them.
    pub fn has(self, list: List) -> bool {
        self.0 & (1 << list.at()) != 0
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Those it has.
    pub fn iter(self) -> impl Iterator<Item = List> {
        List::ALL.into_iter().filter(move |it| self.has(*it))
    }

    /// The notifications that tell of them, each once.
    pub fn notifications(self) -> impl Iterator<Item = &'static str> {
        let twice = self.has(List::Resources) && self.has(List::Templates);
        self.iter().filter(move |it| !(twice && *it == List::Templates)).map(List::changed)
    }
}

impl FromIterator<List> for Lists {
    fn from_iter<I: IntoIterator<Item = List>>(lists: I) -> Self {
        lists.into_iter().fold(Self::default(), Self::with)
    }
}

impl fmt::Debug for Lists {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_of_lists() {
        let both: Lists = [List::Templates, List::Resources].into_iter().collect();
        assert!(both.has(List::Resources) && !both.has(List::Tools) && !both.is_empty());
        assert_eq!(both.notifications().count(), 1, "they share a notification");
        let all: Lists = List::ALL.into_iter().collect();
        assert_eq!(all.notifications().count(), 3);
        assert_eq!(
            Lists::default().with(List::Templates).notifications().next(),
            Some("notifications/resources/list_changed")
        );
        assert_eq!(List::asked_by("resources/templates/list"), Some(List::Templates));
        assert_eq!(List::asked_by("tools/call"), None);
    }
}
