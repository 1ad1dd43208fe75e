//! The digest of what a text is sealed for, where that is too long to be kept.

use aws_lc_rs::digest::{Context, SHA256};

/// SHA-256 of these, each with its length: no two lists of them are the same bytes.
pub fn digest(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(&part.len().to_be_bytes());
        context.update(part);
    }
    context.finish().as_ref().try_into().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_told_apart() {
        assert_eq!(digest(&[b"a", b"b"]), digest(&[b"a", b"b"]));
        let others: [&[&[u8]]; 5] = [&[], &[b""], &[b"ab"], &[b"b", b"a"], &[b"a", b"b", b""]];
        for other in others {
            assert_ne!(digest(&[b"a", b"b"]), digest(other));
            assert_ne!(digest(other), [0; 32]);
        }
    }
}
