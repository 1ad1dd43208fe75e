//! Which addresses a template stands for (RFC 6570, all levels).

/// A template of addresses.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Template {
    parts: Vec<Part>,
    literal_len: usize,
}

#[derive(Debug, PartialEq, Eq)]
enum Part {
    Literal(Box<str>),
    Expression(Kind),
}

/// What an expression may become; anything may be missing but what has no sign of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// `{a}`, `{a,b}`: no reserved character but the commas between.
    Simple,
    /// `{+a}`: anything.
    Reserved,
    /// `{#a}`, `{.a}`, `{/a}`, `{;a}`, `{?a}`, `{&a}`: nothing, or something after this sign.
    After(char),
}

impl Template {
    /// Reads a template; none if it has a brace too many.
    pub(crate) fn new(text: &str) -> Option<Self> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((literal, after)) = rest.split_once('{') {
            let (inside, after) = after.split_once('}')?;
            parts.push(Part::Literal(literal.into()));
            let sign = inside.chars().next()?;
            parts.push(Part::Expression(match sign {
                '+' => Kind::Reserved,
                '#' | '.' | '/' | ';' | '?' | '&' => Kind::After(sign),
                _ => Kind::Simple,
            }));
            rest = after;
        }
        parts.push(Part::Literal(rest.into()));
        parts.retain(|it| !matches!(it, Part::Literal(text) if text.is_empty()));
        let len = |part: &Part| if let Part::Literal(text) = part { text.len() } else { 0 };
        let literal_len = parts.iter().map(len).sum();
        let is_whole = !parts.iter().any(|it| matches!(it, Part::Literal(it) if it.contains('}')));
        is_whole.then_some(Self { parts, literal_len })
    }

    /// How much of it is the same in all its addresses: of two templates, the one with more of it
    /// says more.
    pub(crate) fn literal_len(&self) -> usize {
        self.literal_len
    }

    /// Whether an address may have been made of it.
    ///
    /// Keeps all places that can have been reached, and so never tries anything twice.
    pub(crate) fn matches(&self, uri: &str) -> bool {
        if let Some(Part::Literal(first)) = self.parts.first()
            && !uri.starts_with(&**first)
        {
            return false;
        }
        let mut reached = vec![false; uri.len() + 1];
        reached.first_mut().into_iter().for_each(|it| *it = true);
        for part in &self.parts {
            reached = part.reaches(uri, &reached);
        }
        reached.last() == Some(&true)
    }
}

impl Part {
    /// The places that can be reached from these.
    fn reaches(&self, uri: &str, from: &[bool]) -> Vec<bool> {
        let mut to = vec![false; from.len()];
        let mut mark = |at: usize| to.get_mut(at).into_iter().for_each(|it| *it = true);
        match self {
            Self::Literal(text) => {
                let places = from.iter().enumerate().filter(|(_, it)| **it);
                for (at, _) in places {
                    if uri.get(at..).is_some_and(|rest| rest.starts_with(&**text)) {
                        mark(at + text.len());
                    }
                }
            }
            Self::Expression(kind) => {
                // Whether an expression that began further left may still go on.
                let mut goes_on = false;
                let is_from = |at: usize| from.get(at) == Some(&true);
                for (at, char) in uri.char_indices() {
                    if is_from(at) {
                        mark(at);
                    }
                    goes_on = match kind {
                        Kind::Reserved => goes_on || is_from(at),
                        Kind::Simple => {
                            (goes_on || is_from(at)) && !matches!(char, '/' | '?' | '#')
                        }
                        Kind::After(sign) => {
                            (is_from(at) && char == *sign) || (goes_on && may_follow(*sign, char))
                        }
                    };
                    if goes_on {
                        mark(at + char.len_utf8());
                    }
                }
                if is_from(uri.len()) {
                    mark(uri.len());
                }
            }
        }
        to
    }
}

/// What may stand in an expression after its sign.
fn may_follow(sign: char, char: char) -> bool {
    match sign {
        '#' => true,
        '/' => !matches!(char, '?' | '#'),
        '?' | '&' => char != '#',
        _ => !matches!(char, '/' | '?' | '#'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_templates() {
        for (template, yes, no) in [
            (
                "file:///{name}",
                &["file:///a", "file:///", "file:///a,b%20c"][..],
                &["file:///a/b", "file:/"][..],
            ),
            ("file:///{+path}", &["file:///a/b?c#d", "file:///"], &["http://x"]),
            ("db://{table}/{id}", &["db://users/7", "db:///"], &["db://users", "db://users/7/8"]),
            ("s{/a,b*}/end", &["s/x/y/end", "s/end"], &["s/x", "sx/end"]),
            ("q{?a,b}", &["q", "q?a=1&b=2"], &["qa=1", "q#x", "q?a#x"]),
            ("q?z=1{&a}", &["q?z=1", "q?z=1&a=2"], &["q?z=1a"]),
            ("x{.ext}", &["x.json", "x", "x.a.b"], &["x.a/b", "xa"]),
            ("x{#frag}", &["x#a/b?c", "x"], &["xa"]),
            ("x{;a}", &["x;a=1", "x"], &["x/a"]),
            ("plain", &["plain"], &["plai", "plainer", ""]),
            ("ü{a}ü", &["üäü", "üü"], &["ü", "äü"]),
        ] {
            let it = Template::new(template).unwrap();
            for uri in yes {
                assert!(it.matches(uri), "{template} {uri}");
            }
            for uri in no {
                assert!(!it.matches(uri), "{template} {uri}");
            }
        }
        for bad in ["{", "}", "a{b", "a{}b", "a}b"] {
            assert_eq!(Template::new(bad), None, "{bad}");
        }
        assert_eq!(Template::new("ab{c}d").unwrap().literal_len(), 3);
    }

    #[test]
    fn no_address_takes_for_ever() {
        let template = Template::new(&"{+a}x".repeat(200)).unwrap();
        assert!(!template.matches(&"x".repeat(199)));
        assert!(template.matches(&"x".repeat(4000)));
    }
}
