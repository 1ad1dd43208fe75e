//! Cuts what a peer writes into lines, copying little and searching each byte once.

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use memchr::memchr;
use tokio::io::{AsyncRead, AsyncReadExt};

/// How much room a read gets at least.
const READ_LEN: usize = 16 << 10;
/// A line longer than this takes its whole buffer with it, so that it is freed with the line.
const KEEP_LEN_MAX: usize = 64 << 10;
/// How much of each end is kept of a line that is too long.
const END_LEN: usize = 4 << 10;

/// The lines of a byte stream.
///
/// A line that lies in the buffer as a whole is lent from it.  One that does not grows there, by
/// doubling, and the search goes on where it stopped.
#[derive(Debug)]
pub(crate) struct Lines<R> {
    read: R,
    buf: BytesMut,
    /// How far the buffer holds no line break.
    searched: usize,
    len_max: usize,
    skipping: Option<TooLong>,
    ended: bool,
}

/// What was found.
#[derive(Debug)]
pub(crate) enum Line {
    /// A line, without its break and what blank space is around it; never empty.
    Whole(Bytes),
    /// A line that was longer than allowed.
    TooLong(TooLong),
}

/// What is left of a line that was longer than allowed.
#[derive(Debug, Default)]
pub(crate) struct TooLong {
    /// How long it was, in bytes.
    pub(crate) len: u64,
    /// How it began.
    pub(crate) head: Vec<u8>,
    /// How it ended.
    pub(crate) tail: Vec<u8>,
}

// === impl Lines ===

impl<R: AsyncRead + Unpin> Lines<R> {
    /// The lines of this stream, up to `len_max` bytes each.
    pub(crate) fn new(read: R, len_max: usize) -> Self {
        let buf = BytesMut::new();
        Self { read, buf, searched: 0, len_max, skipping: None, ended: false }
    }

    /// The next line that is not blank; none at the end of the stream, where a last line needs no
    /// break.  Nothing is lost when the future is dropped.
    ///
    /// # Errors
    ///
    /// What the stream says when it cannot be read.
    pub(crate) async fn next(&mut self) -> io::Result<Option<Line>> {
        loop {
            while let Some(line) = self.cut() {
                match line {
                    Line::Whole(line) if line.is_empty() => (),
                    line => return Ok(Some(line)),
                }
            }
            if self.ended {
                return Ok(None);
            }
            if self.buf.capacity() - self.buf.len() < READ_LEN / 4 {
                self.buf.reserve(READ_LEN.max(self.buf.len()));
            }
            self.ended = self.read.read_buf(&mut self.buf).await? == 0;
        }
    }

    /// Takes a line from the buffer, if there is a whole one, or the last.
    fn cut(&mut self) -> Option<Line> {
        let found = memchr(b'\n', self.buf.get(self.searched..).unwrap_or_default());
        let Some(found) = found.map(|at| self.searched + at) else {
            self.searched = self.buf.len();
            return self.cut_partial();
        };
        self.searched = 0;
        if self.skipping.is_some() || self.len_max < found {
            let mut skipped = self.skipping.take().unwrap_or_default();
            skipped.add(self.buf.get(..found).unwrap_or_default());
            self.buf.advance(found + 1);
            return Some(Line::TooLong(skipped));
        }
        let mut line = self.buf.split_to(found + 1).freeze();
        if KEEP_LEN_MAX < line.len() {
            self.buf = BytesMut::from(&*self.buf);
        }
        line.truncate(found);
        Some(Line::Whole(trimmed(line)))
    }

    /// What to do with a line that has no end yet.
    fn cut_partial(&mut self) -> Option<Line> {
        if self.skipping.is_some() || self.len_max < self.buf.len() {
            self.skipping.get_or_insert_default().add(&self.buf);
            // What it had grown to is freed.
            self.buf = BytesMut::new();
            self.searched = 0;
        }
        if !self.ended {
            return None;
        }
        if let Some(skipped) = self.skipping.take() {
            return Some(Line::TooLong(skipped));
        }
        self.searched = 0;
        let rest = std::mem::take(&mut self.buf).freeze();
        (!rest.is_empty()).then(|| Line::Whole(trimmed(rest)))
    }
}

// === impl TooLong ===

impl TooLong {
    fn add(&mut self, more: &[u8]) {
        self.len += more.len() as u64;
        let missing = END_LEN.saturating_sub(self.head.len()).min(more.len());
        self.head.extend_from_slice(more.get(..missing).unwrap_or_default());
        self.tail.extend_from_slice(more.get(more.len().saturating_sub(END_LEN)..).unwrap_or(more));
        let excess = self.tail.len().saturating_sub(END_LEN);
        self.tail.drain(..excess);
    }
}

/// Without a byte order mark, and without blank space at either end.
fn trimmed(mut line: Bytes) -> Bytes {
    if line.starts_with(b"\xef\xbb\xbf") {
        line.advance(3);
    }
    let trimmed = line.trim_ascii();
    if trimmed.len() == line.len() {
        return line;
    }
    line.slice_ref(trimmed)
}

#[cfg(test)]
mod tests;
