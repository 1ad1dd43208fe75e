//! What a peer writes where only messages belong: tolerated, and logged within reason.

use std::sync::Arc;

use tracing::{info, warn};

/// How many lines are logged as they are; from then on their number, each time it has doubled.
const SHOWN_MAX: u64 = 5;
/// How much of a line is logged, in bytes.
const SHOWN_LEN_MAX: usize = 200;

/// The lines of one peer that were no messages.
#[derive(Debug)]
pub(crate) struct Noise {
    name: Arc<str>,
    heard: u64,
}

impl Noise {
    /// None yet.
    pub(crate) fn new(name: Arc<str>) -> Self {
        Self { name, heard: 0 }
    }

    /// Takes note of a line.
    pub(crate) fn heard(&mut self, line: &[u8]) {
        self.heard += 1;
        let server = &*self.name;
        if self.heard <= SHOWN_MAX {
            let line = shown(line.get(..SHOWN_LEN_MAX).unwrap_or(line));
            info!(server, "stdout, no message: {line}");
        } else if self.heard.is_power_of_two() {
            warn!(server, lines = self.heard, "stdout is for messages, and it goes on with others");
        }
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

/// Text that can be shown on one line of a terminal or a log: without colours, with control
/// characters escaped, and with what is no UTF-8 replaced.
pub(crate) fn shown(text: &[u8]) -> String {
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
