//! Base64url without padding (RFC 4648, section 5): safe in a header, a path and a query.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// No digit.
const NONE: u8 = 0xff;
/// What each byte is worth as a digit.
const VALUES: [u8; 256] = values();

pub(crate) fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    let (whole, rest) = bytes.as_chunks::<3>();
    for &[a, b, c] in whole {
        text.extend([a >> 2, a << 4 | b >> 4, b << 2 | c >> 6, c].map(digit));
    }
    match *rest {
        [a] => text.extend([a >> 2, a << 4].map(digit)),
        [a, b] => text.extend([a >> 2, a << 4 | b >> 4, b << 2].map(digit)),
        _ => (),
    }
    text
}

/// None unless it is exactly what [`encode`] would write: no two texts mean the same bytes.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 2);
    let (whole, rest) = text.as_bytes().as_chunks::<4>();
    for group in whole {
        let [a, b, c, d] = group.map(value);
        // Whatever is no digit has a bit that no digit has.
        if (a | b | c | d) & 0xc0 != 0 {
            return None;
        }
        bytes.extend_from_slice(&[a << 2 | b >> 4, b << 4 | c >> 2, c << 6 | d]);
    }
    match *rest {
        [] => (),
        [a, b] => {
            let (a, b) = (value(a), value(b));
            if (a | b) & 0xc0 != 0 || b << 4 != 0 {
                return None;
            }
            bytes.push(a << 2 | b >> 4);
        }
        [a, b, c] => {
            let (a, b, c) = (value(a), value(b), value(c));
            if (a | b | c) & 0xc0 != 0 || c << 6 != 0 {
                return None;
            }
            bytes.extend_from_slice(&[a << 2 | b >> 4, b << 4 | c >> 2]);
        }
        _ => return None,
    }
    Some(bytes)
}

/// The digit for the lower six bits.
fn digit(bits: u8) -> char {
    char::from(ALPHABET.get(usize::from(bits & 63)).copied().unwrap_or_default())
}

fn value(digit: u8) -> u8 {
    VALUES.get(usize::from(digit)).copied().unwrap_or(NONE)
}

#[expect(clippy::indexing_slicing, reason = "while compiling")]
const fn values() -> [u8; 256] {
    let mut values = [NONE; 256];
    let mut at = 0;
    while at < 64 {
        values[ALPHABET[at as usize] as usize] = at;
        at += 1;
    }
    values
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_vectors_of_rfc_4648() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg"),
            ("fo", "Zm8"),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg"),
            ("fooba", "Zm9vYmE"),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(encode(bytes.as_bytes()), text);
            assert_eq!(decode(text).unwrap(), bytes.as_bytes());
        }
        assert_eq!(encode(&[0xfb, 0xff]), "-_8");
    }

    #[test]
    fn what_nobody_would_write() {
        for text in ["A", "Zh", "Zm9", "Zg==", "Zm+v", "Zm/v", "Zm 9", "Zm9vA", "Zü"] {
            assert_eq!(decode(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn there_and_back(bytes: Vec<u8>) {
            prop_assert_eq!(decode(&encode(&bytes)).unwrap(), bytes);
        }

        #[test]
        fn back_and_there(text in "[A-Za-z0-9_-]{0,40}") {
            if let Some(bytes) = decode(&text) {
                prop_assert_eq!(encode(&bytes), text);
            }
        }
    }
}
