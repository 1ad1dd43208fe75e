//! What a peer writes where only messages belong: tolerated, and logged within reason.

use std::{fmt, sync::Arc};

use mcp_jsonrpc::Id;
use tracing::{field, info, warn};

/// How many lines are logged as they are; from then on their number, each time it has doubled.
const SHOWN_MAX: u64 = 5;
/// How much of a line is logged, in bytes.
const SHOWN_LEN_MAX: usize = 200;

/// What stands where a secret stood.
const MASK: &str = "***";
/// A shorter text is not masked: it would be found everywhere, and is no secret.
const MASKED_LEN_MIN: usize = 4;

/// The lines of one peer that were no messages.
#[derive(Debug)]
pub(crate) struct Noise {
    name: Arc<str>,
    masked: Masked,
    heard: u64,
}

/// Texts that are shown to nobody.
#[derive(Clone, Default)]
pub(crate) struct Masked(Arc<[Box<str>]>);

impl Noise {
    /// None yet.
    pub(crate) fn new(name: Arc<str>, masked: Masked) -> Self {
        Self { name, masked, heard: 0 }
    }

    /// Takes note of a line.
    pub(crate) fn heard(&mut self, line: &[u8]) {
        if self.counts() {
            let line = self.masked.shown(line.get(..SHOWN_LEN_MAX).unwrap_or(line));
            info!(server = &*self.name, "stdout, no message: {line}");
        }
    }

    /// Takes note of a message that cannot be read.
    pub(crate) fn broken(&mut self, what: &str, id: Option<&Id>) {
        if self.counts() {
            warn!(server = &*self.name, id = id.map(field::display), "unreadable message: {what}");
        }
    }

    /// Whether one more is shown.
    fn counts(&mut self) -> bool {
        self.heard += 1;
        if SHOWN_MAX < self.heard && self.heard.is_power_of_two() {
            let (server, lines) = (&*self.name, self.heard);
            warn!(server, lines, "stdout is for messages, and it goes on with others");
        }
        self.heard <= SHOWN_MAX
    }
}

impl Drop for Noise {
    fn drop(&mut self) {
        if SHOWN_MAX < self.heard {
            info!(
                server = &*self.name,
                lines = self.heard,
                "lines of stdout that were no messages"
            );
        }
    }
}

// === impl Masked ===

impl Masked {
    /// These texts.
    pub(crate) fn new(texts: &[Box<str>]) -> Self {
        let texts = texts.iter().filter(|it| MASKED_LEN_MIN <= it.len());
        let mut texts: Vec<Box<str>> = texts.cloned().collect();
        // Of two that begin alike the longer one goes first, or its end would stay.
        texts.sort_by_key(|it| std::cmp::Reverse(it.len()));
        Self(texts.into())
    }

    /// Text that can be shown on one line, without these.
    pub(crate) fn shown(&self, text: &[u8]) -> String {
        let mut text = shown(text);
        for masked in &*self.0 {
            if text.contains(&**masked) {
                text = text.replace(&**masked, MASK);
            }
        }
        text
    }
}

impl fmt::Debug for Masked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Masked({})", self.0.len())
    }
}

/// Text that can be shown on one line of a terminal or a log: without colours, with control
/// characters escaped, and with what is no UTF-8 replaced.
fn shown(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(char) = rest.next() {
        match char {
            '\u{1b}' if rest.next_if_eq(&'[').is_some() => {
                // A terminal's control sequence (ECMA-48): parameters, and one byte that ends it.
                while rest.next_if(|char| matches!(char, ' '..='?')).is_some() {}
                rest.next();
            }
            '\t' => out.push(' '),
            char if char.is_control() || is_deceptive(char) => {
                out.extend(char.escape_unicode());
            }
            char => out.push(char),
        }
    }
    out
}

/// Characters that turn the order of a line around, or end it without being control characters.
fn is_deceptive(char: char) -> bool {
    matches!(char, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown() {
        let cases: [(&[u8], &str); 5] = [
            (b"\x1b[1;31merror\x1b[0m: \x07bad", "error: \\u{7}bad"),
            (b"a\tb\r", "a b\\u{d}"),
            (b"\xff\xc3\xbc", "\u{fffd}\u{fc}"),
            ("\u{202e}x".as_bytes(), "\\u{202e}x"),
            (b"\x1b", "\\u{1b}"),
        ];
        for (text, expect) in cases {
            assert_eq!(shown(text), expect);
        }
    }
}
