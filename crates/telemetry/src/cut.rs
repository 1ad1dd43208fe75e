//! What others wrote, as far as a line has room for it.

/// At most so many characters of a text, from its beginning.
pub fn shortened(text: &str, chars_max: usize) -> &str {
    // Not that many bytes, so not that many characters.
    if text.len() <= chars_max {
        return text;
    }
    let end = text.char_indices().nth(chars_max).map_or(text.len(), |(at, _)| at);
    text.get(..end).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_count_and_none_is_cut() {
        assert_eq!(shortened("short", 5), "short");
        assert_eq!(shortened("longer", 5), "longe");
        assert_eq!(shortened("äöüß", 4), "äöüß");
        assert_eq!(shortened("äöüß", 3), "äöü");
        assert_eq!(shortened("", 0), "");
    }
}
