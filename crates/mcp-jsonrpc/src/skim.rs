//! Where the values of a JSON text lie: one pass over the bytes, nothing kept, long texts at the
//! speed of `memchr`.
//!
//! Whatever is accepted here any strict reader accepts; what is not may still be JSON (deeper
//! nesting than is counted here, names with escapes where that matters): `serde_json` has the last
//! word on it, and the words for what is wrong.

use std::ops::Range;

/// How deep arrays and objects may nest to be told apart here.
pub(crate) const DEPTH_MAX: usize = 512;

/// Up to this length texts are looked through eight bytes at a time, which is a whole number of
/// them: most are shorter.
const SHORT: usize = 32;

const ONES: u64 = u64::MAX / 255;

/// A place in a text.
#[derive(Debug)]
pub(crate) struct Skim<'a> {
    text: &'a [u8],
    at: usize,
}

/// The members of an object, as far as they were gone through.
#[derive(Debug)]
pub(crate) struct Members {
    is_first: bool,
}

/// The elements of an array, as far as they were gone through.
#[derive(Debug)]
pub(crate) struct Elements {
    is_first: bool,
}

/// Where a name lies, and its value.
type Member = (Range<usize>, Range<usize>);

/// What is open: for each level whether it is an object.
struct Open {
    objects: [u64; DEPTH_MAX / 64],
    depth: usize,
    max: usize,
}

impl<'a> Skim<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text: text.as_bytes(), at: 0 }
    }

    /// How far it has come.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// Goes into the object that begins here; none if none does.
    pub(crate) fn open_object(&mut self) -> Option<Members> {
        self.blank();
        self.take(b'{')?;
        Some(Members { is_first: true })
    }

    /// Goes into the array that begins here; none if none does.
    pub(crate) fn open_array(&mut self) -> Option<Elements> {
        self.blank();
        self.take(b'[')?;
        Some(Elements { is_first: true })
    }

    /// Whether nothing but blanks is left.
    pub(crate) fn is_over(&mut self) -> bool {
        self.blank();
        self.at == self.text.len()
    }

    /// Goes behind the value that begins here: where it lies; none as in [`value`](Self::value).
    pub(crate) fn ahead(&mut self, depth_max: usize) -> Option<Range<usize>> {
        let start = self.at;
        self.value(depth_max)?;
        Some(start..self.at)
    }

    /// Goes behind the value that begins here; none if it is not well-formed, or nests deeper.
    fn value(&mut self, depth_max: usize) -> Option<()> {
        // Most values are no containers.
        if !matches!(self.peek()?, b'{' | b'[') {
            return self.scalar();
        }
        let max = depth_max.min(DEPTH_MAX);
        let mut open = Open { objects: [0; DEPTH_MAX / 64], depth: 0, max };
        loop {
            self.blank();
            match self.peek()? {
                b'{' => {
                    open.push(true)?;
                    if !self.is_empty_to(b'}') {
                        self.name()?;
                        continue;
                    }
                    open.pop();
                }
                b'[' => {
                    open.push(false)?;
                    if !self.is_empty_to(b']') {
                        continue;
                    }
                    open.pop();
                }
                _ => self.scalar()?,
            }
            // Behind a value: what ends with it, and whether another one follows.
            loop {
                let Some(is_object) = open.top() else { return Some(()) };
                self.blank();
                let next = self.peek()?;
                self.at += 1;
                match next {
                    b'}' if is_object => open.pop(),
                    b']' if !is_object => open.pop(),
                    b',' if is_object => {
                        self.blank();
                        self.name()?;
                        break;
                    }
                    b',' => break,
                    _ => return None,
                }
            }
        }
    }

    /// Goes behind what opens an array or object; and behind its end, if that comes next.
    fn is_empty_to(&mut self, end: u8) -> bool {
        self.at += 1;
        self.blank();
        self.take(end).is_some()
    }

    fn name(&mut self) -> Option<()> {
        self.string()?;
        self.blank();
        self.take(b':')
    }

    fn scalar(&mut self) -> Option<()> {
        match self.peek()? {
            b'"' => self.string().map(drop),
            b't' => self.word(b"true"),
            b'f' => self.word(b"false"),
            b'n' => self.word(b"null"),
            _ => self.number(),
        }
    }

    fn word(&mut self, word: &[u8]) -> Option<()> {
        self.text.get(self.at..)?.starts_with(word).then_some(())?;
        self.at += word.len();
        Some(())
    }

    fn number(&mut self) -> Option<()> {
        if self.peek()? == b'-' {
            self.at += 1;
        }
        if self.peek()? == b'0' {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Some(())
    }

    fn digits(&mut self) -> Option<()> {
        self.peek()?.is_ascii_digit().then_some(())?;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        Some(())
    }

    /// Goes behind a string; where its inside lies.
    fn string(&mut self) -> Option<Range<usize>> {
        self.take(b'"')?;
        let start = self.at;
        loop {
            match self.plain()? {
                b'"' => {
                    let inside = start..self.at;
                    self.at += 1;
                    return Some(inside);
                }
                b'\\' => {
                    self.at += 1;
                    self.escape()?;
                }
                _ => return None,
            }
        }
    }

    /// Goes to the next byte of a string that is not itself: its end, an escape, or one that may
    /// not be there.
    fn plain(&mut self) -> Option<u8> {
        let rest = self.text.get(self.at..)?;
        let mut seen = 0;
        while seen < SHORT
            && let Some(word) = rest.get(seen..)?.first_chunk::<8>()
        {
            let found = specials(u64::from_le_bytes(*word));
            if found != 0 {
                return self.forward(seen + found.trailing_zeros() as usize / 8);
            }
            seen += 8;
        }
        let rest = rest.get(seen..)?;
        if seen < SHORT {
            let is_special = |byte: &u8| matches!(byte, b'"' | b'\\' | ..=0x1f);
            return self.forward(seen + rest.iter().position(is_special)?);
        }
        let found = memchr::memchr2(b'"', b'\\', rest)?;
        // Without a way out before the end, so that many are compared at once.
        let least = rest.get(..found)?.iter().fold(u8::MAX, |least, byte| least.min(*byte));
        if least < 0x20 { None } else { self.forward(seen + found) }
    }

    fn forward(&mut self, len: usize) -> Option<u8> {
        self.at += len;
        self.peek()
    }

    fn escape(&mut self) -> Option<()> {
        let byte = self.peek()?;
        self.at += 1;
        match byte {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(()),
            b'u' => {
                let digits = self.text.get(self.at..self.at + 4)?;
                self.at += 4;
                digits.iter().all(u8::is_ascii_hexdigit).then_some(())
            }
            _ => None,
        }
    }

    fn blank(&mut self) {
        while self.peek().is_some_and(is_blank) {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then_some(())?;
        self.at += 1;
        Some(())
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }
}

impl Members {
    /// The next member: where its name lies, without quotes, and its value.  The first `None` says
    /// that the object is not well-formed, or nests deeper than this; the second is its end.
    pub(crate) fn next(&mut self, skim: &mut Skim<'_>, depth_max: usize) -> Option<Option<Member>> {
        let Some(name) = self.name(skim)? else { return Some(None) };
        Some(Some((name, skim.ahead(depth_max)?)))
    }

    /// Where the name of the next member lies; its value is ahead.  As [`next`](Self::next).
    pub(crate) fn name(&mut self, skim: &mut Skim<'_>) -> Option<Option<Range<usize>>> {
        let is_first = std::mem::replace(&mut self.is_first, false);
        skim.blank();
        match skim.peek()? {
            b'}' => {
                skim.at += 1;
                return Some(None);
            }
            b',' if !is_first => {
                skim.at += 1;
                skim.blank();
            }
            b'"' if is_first => (),
            _ => return None,
        }
        let name = skim.string()?;
        skim.blank();
        skim.take(b':')?;
        skim.blank();
        Some(Some(name))
    }
}

impl Elements {
    /// Whether there is another element, which is ahead then; none as in
    /// [`Members::next`].
    pub(crate) fn is_another(&mut self, skim: &mut Skim<'_>) -> Option<bool> {
        let is_first = std::mem::replace(&mut self.is_first, false);
        skim.blank();
        match skim.peek()? {
            b']' => {
                skim.at += 1;
                return Some(false);
            }
            b',' if !is_first => {
                skim.at += 1;
                skim.blank();
            }
            _ if is_first => (),
            _ => return None,
        }
        Some(true)
    }
}

impl Open {
    fn push(&mut self, is_object: bool) -> Option<()> {
        if self.depth == self.max {
            return None;
        }
        let bit = 1_u64 << (self.depth % 64);
        let word = self.objects.get_mut(self.depth / 64)?;
        *word = if is_object { *word | bit } else { *word & !bit };
        self.depth += 1;
        Some(())
    }

    fn pop(&mut self) {
        self.depth -= 1;
    }

    fn top(&self) -> Option<bool> {
        let at = self.depth.checked_sub(1)?;
        Some(self.objects.get(at / 64)? >> (at % 64) & 1 == 1)
    }
}

/// Sets the highest bit of the first byte that is a quote, a backslash or a control character;
/// whether others are set behind it means nothing (Mycroft).
fn specials(word: u64) -> u64 {
    let is = |byte: u8| {
        let same = word ^ (ONES * u64::from(byte));
        same.wrapping_sub(ONES) & !same
    };
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    (control | is(b'"') | is(b'\\')) & (ONES << 7)
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

#[cfg(test)]
mod tests;
