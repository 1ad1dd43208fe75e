//! The methods that are told apart: those of the specification, and all others as one.

/// A method, of a set that clients cannot make larger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Method(usize);

/// Their names as labels, and the parameter that says what they are about; the last is whatever is
/// none of the others.
const ALL: [(&str, Option<&str>); Method::COUNT] = [
    ("tools/call", Some("name")),
    ("tools/list", None),
    ("initialize", None),
    ("ping", None),
    ("server/discover", None),
    ("subscriptions/listen", None),
    ("prompts/get", Some("name")),
    ("prompts/list", None),
    ("resources/read", Some("uri")),
    ("resources/list", None),
    ("resources/templates/list", None),
    ("resources/subscribe", Some("uri")),
    ("resources/unsubscribe", Some("uri")),
    ("completion/complete", Some("ref")),
    ("logging/setLevel", None),
    ("tasks/get", Some("taskId")),
    ("tasks/list", Some("cursor")),
    ("tasks/result", Some("taskId")),
    ("tasks/cancel", Some("taskId")),
    ("tasks/update", Some("taskId")),
    ("other", None),
];

// === impl Method ===

impl Method {
    /// How many there are.
    pub const COUNT: usize = 21;
    /// A call of a tool.
    pub const CALL: Self = Self(0);
    /// A stream of what changes, which lasts as long as its client wants.
    pub const LISTEN: Self = Self(5);

    /// The one of this name, or the one that stands for all others.
    pub fn of(name: &str) -> Self {
        let found = ALL.iter().position(|(it, _)| *it == name);
        Self(found.unwrap_or(Self::COUNT - 1))
    }

    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..Self::COUNT).map(Self)
    }

    /// Its name as a label.
    pub fn as_str(self) -> &'static str {
        ALL.get(self.0).map_or("other", |(name, _)| name)
    }

    /// Whether it concerns what a server has and does, so that it is worth being written down who
    /// asked for it.
    pub(crate) fn is_content(self) -> bool {
        self.target().is_some()
    }

    /// The parameter that says what it is about, of those that concern content.
    pub(crate) fn target(self) -> Option<&'static str> {
        ALL.get(self.0)?.1
    }

    /// Its place among all.
    pub(crate) fn index(self) -> usize {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_knows_is_one_of_them() {
        assert_eq!(Method::of("tools/call"), Method::CALL);
        assert_eq!(Method::of("subscriptions/listen"), Method::LISTEN);
        for method in Method::all() {
            assert_eq!(Method::of(method.as_str()), method);
        }
        for odd in ["", "tools/calls", "x\"y"] {
            assert_eq!(Method::of(odd).as_str(), "other");
        }
    }
}
