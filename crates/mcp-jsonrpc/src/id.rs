//! Request ids.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The id of a request: a string or an integer, never null (MCP is narrower than JSON-RPC).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Id {
    /// An integer.
    Number(i64),
    /// A string.
    Text(Box<str>),
}

impl Id {
    /// Reads an id from its JSON text; none if it is neither an integer of 64 bits nor a string.
    pub(crate) fn read(json: &str) -> Option<Self> {
        if json.starts_with('"') {
            return match json.strip_prefix('"')?.strip_suffix('"')? {
                plain if !plain.contains('\\') => Some(Self::Text(plain.into())),
                _ => serde_json::from_str(json).ok().map(Self::Text),
            };
        }
        // What some readers take for a zero, others for a fraction, is an id to neither.
        json.parse().ok().filter(|_| json != "-0").map(Self::Number)
    }

    /// What [`Display`](fmt::Display) prints, without a formatter for numbers: each message has
    /// an id of ours written into it.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Text(_) => self.to_string(),
        }
    }
}

impl From<i64> for Id {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl From<&str> for Id {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

/// Prints the id as JSON does, so that `7` and `"7"` look different in a log.
impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => match serde_json::to_string(text) {
                Ok(json) => f.write_str(&json),
                Err(_) => Err(fmt::Error),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_an_id() {
        assert_eq!(Id::read("-7"), Some(Id::from(-7)));
        assert_eq!(Id::read(r#""7""#), Some(Id::from("7")));
        assert_eq!(Id::read(r#""a\"b""#), Some(Id::from("a\"b")));
        for none in
            ["1.0", "1e3", "-0", "null", "true", "{}", "[1]", "99999999999999999999", r#""\ud800""#]
        {
            assert_eq!(Id::read(none), None, "{none}");
        }
        assert_eq!(Id::from("a\n\"b").to_string(), r#""a\n\"b""#);
        for id in [Id::from(0), Id::from(i64::MIN), Id::from(i64::MAX), Id::from("\u{1}")] {
            assert_eq!(id.text(), id.to_string());
            assert_eq!(Id::read(&id.text()), Some(id));
        }
    }
}
