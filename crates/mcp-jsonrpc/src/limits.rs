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
    /// Refuses what is too long or too deep.
    pub(crate) fn check(&self, raw: &[u8]) -> Result<(), ParseError> {
        // Spans count 4 GiB, and an edit may make a message longer.
        let max = self.message_len_max.min(i32::MAX as usize);
        if max < raw.len() {
            return Err(ParseError::TooLarge { len: raw.len(), max });
        }
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
fn depth(mut raw: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    while let [byte, rest @ ..] = raw {
        raw = rest;
        match byte {
            b'"' => raw = after_string(raw),
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

/// What follows the string whose opening quote came just before.
fn after_string(mut raw: &[u8]) -> &[u8] {
    loop {
        while let Some((eight, rest)) = raw.split_first_chunk::<8>()
            && !has_quote_or_escape(u64::from_le_bytes(*eight))
        {
            raw = rest;
        }
        match raw {
            [b'"', rest @ ..] => return rest,
            [b'\\', _, rest @ ..] => raw = rest,
            [_, rest @ ..] => raw = rest,
            [] => return raw,
        }
    }
}

/// Whether one of eight bytes is a quote or a backslash; all eight at once.
fn has_quote_or_escape(eight: u64) -> bool {
    const ONES: u64 = u64::from_le_bytes([0x01; 8]);
    const HIGHS: u64 = u64::from_le_bytes([0x80; 8]);
    // A byte that is zero borrows from its highest bit.
    let has_zero = |bytes: u64| bytes.wrapping_sub(ONES) & !bytes & HIGHS != 0;
    has_zero(eight ^ (ONES * b'"' as u64)) || has_zero(eight ^ (ONES * b'\\' as u64))
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
