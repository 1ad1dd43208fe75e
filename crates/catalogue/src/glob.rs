//! Patterns of names.

use std::fmt;

/// A pattern: `*` is any text, `?` any one character, `\` takes what follows as it is.
#[derive(Clone, PartialEq, Eq)]
pub struct Glob {
    parts: Box<[Part]>,
    text: Box<str>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Any,
    One,
    Only(char),
}

// === impl Glob ===

impl Glob {
    /// A pattern as it is written.
    pub fn new(text: &str) -> Self {
        let mut parts = Vec::new();
        let mut chars = text.chars();
        while let Some(char) = chars.next() {
            parts.push(match char {
                '*' if parts.last() == Some(&Part::Any) => continue,
                '*' => Part::Any,
                '?' => Part::One,
                '\\' => Part::Only(chars.next().unwrap_or('\\')),
                char => Part::Only(char),
            });
        }
        Self { parts: parts.into(), text: text.into() }
    }

    /// The pattern of this name alone, whatever is in it.
    pub fn exact(name: &str) -> Self {
        let mut text = String::with_capacity(name.len());
        for char in name.chars() {
            text.extend(matches!(char, '*' | '?' | '\\').then_some('\\'));
            text.push(char);
        }
        Self::new(&text)
    }

    /// Whether it is the pattern of a whole name.
    ///
    /// Goes back to the last `*` alone: the work is the product of the lengths at most.
    pub fn matches(&self, name: &str) -> bool {
        let (mut part, mut rest) = (0, name);
        let mut again: Option<(usize, &str)> = None;
        loop {
            let mut chars = rest.chars();
            let next = chars.next();
            match (self.parts.get(part), next) {
                (Some(Part::Any), _) => {
                    again = Some((part, rest));
                    part += 1;
                    continue;
                }
                (Some(Part::One), Some(_)) => (),
                (Some(Part::Only(want)), Some(char)) if *want == char => (),
                (None, None) => return true,
                _ => {
                    let Some((any, from)) = again else { return false };
                    let mut skipped = from.chars();
                    if skipped.next().is_none() {
                        return false;
                    }
                    again = Some((any, skipped.as_str()));
                    (part, rest) = (any + 1, skipped.as_str());
                    continue;
                }
            }
            (part, rest) = (part + 1, chars.as_str());
        }
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Glob({:?})", self.text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_patterns_match() {
        for (pattern, yes, no) in [
            ("read", &["read"][..], &["", "reads", "Read"][..]),
            ("read_*", &["read_", "read_file"], &["read", "xread_"]),
            ("*_file", &["_file", "read_file", "a_file_file"], &["_files", "file"]),
            ("*a*b", &["ab", "xaxb", "aabb"], &["ba", "a", "abc"]),
            ("?", &["a", "ü"], &["", "ab"]),
            ("**", &["", "x"], &[]),
            ("", &[""], &["x"]),
            ("a\\*", &["a*"], &["ab", "a"]),
            ("a\\", &["a\\"], &["a"]),
        ] {
            let glob = Glob::new(pattern);
            assert!(yes.iter().all(|it| glob.matches(it)), "{pattern}");
            assert!(!no.iter().any(|it| glob.matches(it)), "{pattern}");
        }
        assert!(!Glob::new(&"*a".repeat(50)).matches(&"a".repeat(49)));
    }

    /// The obvious way, which may take for ever.
    fn slowly(parts: &[Part], name: &[char]) -> bool {
        match (parts, name) {
            ([], name) => name.is_empty(),
            ([Part::Any, rest @ ..], name) => {
                (0..=name.len()).any(|skipped| slowly(rest, &name[skipped..]))
            }
            ([Part::One, parts @ ..], [_, name @ ..]) => slowly(parts, name),
            ([Part::Only(want), parts @ ..], [char, name @ ..]) => {
                want == char && slowly(parts, name)
            }
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn as_the_obvious_way_does(pattern in "[ab*?\\\\]{0,7}", name in "[ab*]{0,9}") {
            let glob = Glob::new(&pattern);
            let chars: Vec<char> = name.chars().collect();
            prop_assert_eq!(glob.matches(&name), slowly(&glob.parts, &chars));
        }

        #[test]
        fn an_exact_one_matches_one(name in "[ab*?\\\\ü]{0,6}", other in "[ab*?\\\\ü]{0,6}") {
            prop_assert!(Glob::exact(&name).matches(&name));
            prop_assert_eq!(Glob::exact(&name).matches(&other), name == other);
        }
    }
}
