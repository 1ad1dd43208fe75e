//! Values that must not be seen: [`Secret`] shows nothing, [`Text`] hides what was put in.

use std::fmt;

/// How a hidden value looks.
pub(crate) const MASK: &str = "***";

/// A value that is never shown: a token, a header's value, a variable of a child's environment.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Secret(String);

/// A string of which those parts do not show that came from a variable or a file, or that look
/// like passwords: an argument of a command, say.
///
/// Two are equal if their real values are.
#[derive(Clone, Default)]
pub struct Text {
    value: String,
    shown: String,
    variables: Vec<String>,
}

// === impl Secret ===

impl Secret {
    /// Hides a value.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

// === impl Text ===

impl Text {
    /// A value of which nothing needs hiding.
    pub fn new(value: impl Into<String>) -> Self {
        let value = value.into();
        Self { shown: value.clone(), value, variables: Vec::new() }
    }

    pub(crate) fn apart(
        value: impl Into<String>,
        shown: impl Into<String>,
        variables: Vec<String>,
    ) -> Self {
        Self { value: value.into(), shown: shown.into(), variables }
    }

    /// The value itself.
    pub fn expose(&self) -> &str {
        &self.value
    }

    /// The value as it may be shown: with `${TOKEN}` where a variable's value stands.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// The references that were replaced, as written.
    pub(crate) fn variables(&self) -> &[String] {
        &self.variables
    }

    pub(crate) fn show_as(self, shown: impl Into<String>) -> Self {
        Self { shown: shown.into(), ..self }
    }

    pub(crate) fn into_value(self) -> String {
        self.value
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shown.fmt(f)
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl Eq for Text {}

impl From<&str> for Text {
    fn from(value: &str) -> Self {
        Self::new(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_shows() {
        let secret = Secret::new("hunter2");
        assert_eq!(
            format!("{secret} {secret:?} {:#?}", Some(&secret)),
            "*** *** Some(\n    ***,\n)"
        );
        let text = Text::apart("--key=hunter2", "--key=${KEY}", vec!["${KEY}".to_owned()]);
        assert_eq!(format!("{text} {text:?}"), "--key=${KEY} \"--key=${KEY}\"");
        assert_eq!((secret.expose(), text.expose()), ("hunter2", "--key=hunter2"));
    }
}
