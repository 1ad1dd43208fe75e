//! The last head of a connection: most clients write the same one again and again, with another
//! length in it at most, and what was found of it once need not be found again.

use std::ops::Range;

use crate::head::{self, BODY_LEN_MAX, DIGITS_MAX, HeadMax, Length, Whole};

/// A longer head is read each time.
const KNOWN_LEN_MAX: usize = 2 << 10;

/// The last head, where there was one.
#[derive(Debug, Default)]
pub(super) struct Known {
    head: Vec<u8>,
    length: Option<Length>,
    /// Where the number is that is its length.
    number: Option<Range<usize>>,
}

// === impl Known ===

impl Known {
    /// Takes a head that was read in the place of the last.
    pub(super) fn learn(&mut self, head: &[u8], whole: &Whole) {
        self.head.clear();
        self.length = None;
        if head.len() <= KNOWN_LEN_MAX {
            self.head.extend_from_slice(head);
            (self.length, self.number) = (Some(whole.length), whole.number.clone());
        }
    }

    /// The length of the head that these bytes begin with, and what comes behind it, where it is
    /// byte for byte the known one, but for the number that is the length of the body.
    pub(super) fn again(&self, bytes: &[u8], max: &HeadMax) -> Option<(usize, Length)> {
        let length = self.length?;
        let Some(number) = &self.number else {
            return bytes.starts_with(&self.head).then_some((self.head.len(), length));
        };
        let (before, after) = (self.head.get(..number.start)?, self.head.get(number.end..)?);
        let rest = bytes.strip_prefix(before)?;
        let digits = rest.iter().take(DIGITS_MAX + 1).take_while(|it| it.is_ascii_digit()).count();
        let (digits, rest) = rest.split_at_checked(digits)?;
        let len = before.len() + digits.len() + after.len();
        if !rest.starts_with(after) || max.len < len {
            return None;
        }
        let length = head::number(digits, 10).filter(|it| *it <= BODY_LEN_MAX)?;
        Some((len, Length::Bytes(length)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: HeadMax = HeadMax { len: 4096, count: 10 };

    fn known(head: &str) -> Known {
        let mut known = Known::default();
        known.learn(head.as_bytes(), &head::read(head.as_bytes(), &MAX).unwrap().unwrap());
        known
    }

    /// What is known says of any bytes what reading them says, or nothing.
    #[test]
    fn it_says_what_reading_says() {
        let heads = [
            "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 17\r\nA: b\r\n\r\n",
            "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length:  17 \r\n\r\n",
            "\r\nPOST /a HTTP/1.1\nContent-Length: 0\n\n",
            "POST /a HTTP/1.1\r\nContent-Length: 17\r\ncontent-length: 17\r\n\r\n",
            "POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "GET /17 HTTP/1.1\r\nHost: 17\r\n\r\n",
        ];
        for head in heads {
            let known = known(head);
            let mut others = vec![head.to_owned(), [head, "{}GET"].concat()];
            for number in ["17", "1", "018", "99999999999999999999", "18446744073709551615", "-1"] {
                others.push(head.replacen("17", number, 1));
                others.push(head.replace("17", number));
                others.push(head.replace(" 0", &format!(" {number}")));
            }
            for at in 0..head.len() {
                let (before, after) = head.split_at(at);
                others.push(before.to_owned());
                for byte in ["\0", "\r", "\n", " ", "x", "1", ":", ","] {
                    others.push([before, byte, after].concat());
                    others.push([before, byte, after.get(1..).unwrap()].concat());
                }
            }
            let mut again = 0;
            for other in others {
                let found = known.again(other.as_bytes(), &MAX);
                let read = head::read(other.as_bytes(), &MAX).ok().flatten();
                assert!(
                    found.is_none() || found == read.map(|it| (it.len, it.length)),
                    "{other:?}"
                );
                again += usize::from(found.is_some());
            }
            assert!(2 <= again, "{head:?}");
        }
    }

    #[test]
    fn the_bounds_are_those_of_reading() {
        let head = "POST /a HTTP/1.1\r\nContent-Length: 17\r\n\r\n";
        let long = head.replace("17", "170");
        let max = HeadMax { len: head.len(), count: 10 };
        assert!(known(head).again(head.as_bytes(), &max).is_some());
        assert!(known(head).again(long.as_bytes(), &max).is_none());
        let mut none = Known::default();
        assert!(none.again(head.as_bytes(), &MAX).is_none() && none.again(b"", &MAX).is_none());
        let longer = head.replace("/a", &format!("/{}", "a".repeat(KNOWN_LEN_MAX)));
        none.learn(longer.as_bytes(), &head::read(longer.as_bytes(), &MAX).unwrap().unwrap());
        assert!(none.again(longer.as_bytes(), &MAX).is_none() && none.head.is_empty());
    }
}
