//! An event that is too long: read over to its end, of which only as much is kept as says whom it
//! was for.

use bytes::Bytes;
use mcp_jsonrpc::Salvaged;

use super::{Block, Data, EVENT_ID_LEN_MAX};

/// How much of each end of its data is kept.
const END_LEN_MAX: usize = Salvaged::END_LEN;

/// Up to this size a line is kept until its end has come: as long as one with an id may be.
const LINE_LEN_MAX: usize = EVENT_ID_LEN_MAX + 16;

/// What is kept of an event that is too long.
#[derive(Debug, Default)]
pub(super) struct Long {
    /// How long its data is.
    pub(super) len: usize,
    head: Vec<u8>,
    tail: Vec<u8>,
    /// The beginning of the line that is being read, and how long that is so far.
    line: Vec<u8>,
    line_len: usize,
    /// Whether that line is data, once it is too long to be anything else that matters.
    is_data: Option<bool>,
}

// === impl Long ===

impl Long {
    /// Goes on from what was read of an event before it was too long: its data, and the beginning
    /// of a line.
    pub(super) fn of(data: Data, line: &[u8]) -> Self {
        let mut it = Self::default();
        if let Some(data) = data.into_bytes() {
            it.next_data(&data);
        }
        it.take(line);
        it
    }

    /// Takes more of the line that is being read.
    pub(super) fn take(&mut self, piece: &[u8]) {
        let room = LINE_LEN_MAX.saturating_sub(self.line.len()).min(piece.len());
        let (held, rest) = piece.split_at_checked(room).unwrap_or((piece, &[]));
        self.line.extend_from_slice(held);
        self.line_len = self.line_len.saturating_add(piece.len());
        if rest.is_empty() {
            return;
        }
        let is_data = match self.is_data {
            Some(is_data) => is_data,
            None => {
                let line = std::mem::take(&mut self.line);
                let value = line.strip_prefix(b"data:");
                if let Some(value) = value {
                    self.next_data(value.strip_prefix(b" ").unwrap_or(value));
                }
                let is_data = value.is_some();
                // Full, so that nothing more is held.
                self.line = line;
                *self.is_data.insert(is_data)
            }
        };
        if is_data {
            self.more_data(rest);
        }
    }

    /// Takes the end of the line; whether it was empty, so that the event ends.
    pub(super) fn end_line(&mut self, block: &mut Block) -> bool {
        if self.line_len == 0 {
            return true;
        }
        let line = std::mem::take(&mut self.line);
        self.line_len = 0;
        if self.is_data.take().is_none() {
            block.take(Bytes::from(line));
            if let Some(data) = std::mem::take(&mut block.data).into_bytes() {
                self.next_data(&data);
            }
        }
        false
    }

    /// What can be made out of its message.
    pub(super) fn salvaged(&self) -> Salvaged {
        let at = self.tail.len().saturating_sub(END_LEN_MAX);
        Salvaged::from_ends(&self.head, self.tail.get(at..).unwrap_or_default())
    }

    /// How many bytes it takes.
    #[cfg(test)]
    pub(super) fn size(&self) -> usize {
        self.head.capacity() + self.tail.capacity() + self.line.capacity()
    }

    fn next_data(&mut self, data: &[u8]) {
        if self.len != 0 {
            self.more_data(b"\n");
        }
        self.more_data(data);
    }

    fn more_data(&mut self, data: &[u8]) {
        self.len = self.len.saturating_add(data.len());
        let room = END_LEN_MAX.saturating_sub(self.head.len()).min(data.len());
        self.head.extend_from_slice(data.get(..room).unwrap_or_default());
        let from = data.len().saturating_sub(END_LEN_MAX);
        self.tail.extend_from_slice(data.get(from..).unwrap_or_default());
        if 2 * END_LEN_MAX < self.tail.len() {
            self.tail.drain(..self.tail.len() - END_LEN_MAX);
        }
    }
}
