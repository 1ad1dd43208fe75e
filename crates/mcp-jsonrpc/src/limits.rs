//! How much of a message is taken.

use crate::ParseError;

/// How much of a message is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest message or batch, in bytes; at most 2 GiB.
    pub message_len_max: usize,
    /// How deep arrays and objects may nest.  Nothing here recurses; what is behind might.
    pub depth_max: usize,
    /// How many messages a batch may hold (2025-03-26).
    pub batch_len_max: usize,
}

impl Default for Limits {
    /// 64 MiB, 512 levels, 100 messages.
    fn default() -> Self {
        Self { message_len_max: 64 << 20, depth_max: 512, batch_len_max: 100 }
    }
}

impl Limits {
    /// Refuses what is too long.
    pub(crate) fn check_len(&self, raw: &[u8]) -> Result<(), ParseError> {
        // Spans count 4 GiB, and an edit may make a message longer.
        let max = self.message_len_max.min(i32::MAX as usize);
        if max < raw.len() {
            return Err(ParseError::TooLarge { len: raw.len(), max });
        }
        Ok(())
    }

    /// Refuses what is too long or too deep.
    pub(crate) fn check(&self, raw: &[u8]) -> Result<(), ParseError> {
        self.check_len(raw)?;
        if self.depth_max < depth_at_most(raw, self.depth_max) {
            return Err(ParseError::TooDeep { max: self.depth_max });
        }
        Ok(())
    }
}

/// The depth of a text, or any bound on it that is not above `enough`.
///
/// Most messages open fewer brackets in all than they may nest, and counting those is cheap.
fn depth_at_most(raw: &[u8], enough: usize) -> usize {
    let opened = memchr::memchr2_iter(b'{', b'[', raw).take(enough + 1).count();
    if opened <= enough { opened } else { depth(raw) }
}

/// How deep brackets nest outside of strings.
fn depth(raw: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let mut at = 0;
    while let Some(byte) = raw.get(at) {
        at += 1;
        match byte {
            b'"' => at = string_end(raw, at),
            b'{' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => (),
        }
    }
    deepest
}

/// Where the string ends that begins here.  Most are short: looking for several bytes at once
/// takes longer.
fn string_end(raw: &[u8], mut at: usize) -> usize {
    loop {
        match raw.get(at) {
            Some(b'"') => return at + 1,
            Some(b'\\') => at += 2,
            Some(_) => at += 1,
            None => return at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_counts_what_nests() {
        assert_eq!(depth(br#"{"a":[1,[2]],"b":"[[[\"[["}"#), 3);
        assert_eq!(depth(b"[[],[],[]]"), 2);
        assert_eq!(depth(b"]]]"), 0);
        for filler in 0..20 {
            let filler = "ü".repeat(filler);
            let text = format!(r#"["{filler}[\\\"[{filler}\\",["{filler}"#);
            assert_eq!(depth(text.as_bytes()), 2, "{text}");
            assert_eq!(depth(format!(r#"["{filler}\"#).as_bytes()), 1);
        }
        assert_eq!(depth_at_most(b"[[],[],[]]", 100), 4);
        assert_eq!(depth_at_most(b"[[],[],[]]", 3), 2);
    }
}
