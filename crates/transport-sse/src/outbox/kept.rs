//! What went down a stream and may have been lost: kept for who comes back.
//!
//! Of almost all that is said nothing is ever asked for again, and many sessions keep more than a
//! processor's caches hold.  So short messages lie one behind the other in one piece of memory,
//! which is gone through once around, and are read again where they are asked for.

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;
use mcp_jsonrpc::{Limits, Message, transport::InboxMax};
use tokio::time::Instant;
use tracing::warn;

/// A longer message is kept as it is, and not copied.
const COPIED_LEN_MAX: usize = 4 << 10;

/// What was read, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Kept {
    entries: VecDeque<Entry>,
    /// The short ones.
    copies: VecDeque<u8>,
    /// How long all are together.
    bytes: usize,
}

#[derive(Debug)]
struct Entry {
    /// When it was read.
    at: Instant,
    what: What,
}

#[derive(Debug)]
enum What {
    /// So many bytes of the copies.
    Copy(u32),
    Long(Box<Message>),
}

// === impl Kept ===

impl Kept {
    /// Keeps what is read now, and as much of what was read before as there is room for.
    pub(super) fn keep(&mut self, message: &Message, max: InboxMax) {
        let bytes = message.as_bytes();
        let what = match u32::try_from(bytes.len()) {
            Ok(len) if bytes.len() <= COPIED_LEN_MAX => {
                self.copies.extend(bytes.iter());
                What::Copy(len)
            }
            _ => What::Long(Box::new(message.clone())),
        };
        self.bytes += bytes.len();
        self.entries.push_back(Entry { at: Instant::now(), what });
        while max.queue_len_max < self.entries.len() || max.queue_bytes_max < self.bytes {
            self.forget();
        }
    }

    /// Lets go of what was read so long ago.
    pub(super) fn sweep(&mut self, age: Duration) {
        while self.entries.front().is_some_and(|it| age <= it.at.elapsed()) {
            self.forget();
        }
        if self.entries.is_empty() {
            // With the room that it took.
            *self = Self::default();
        }
    }

    /// Takes the last that was read out again.
    pub(super) fn take_back(&mut self) -> Option<Message> {
        let entry = self.entries.pop_back()?;
        self.bytes = self.bytes.saturating_sub(entry.what.len());
        let len = match entry.what {
            What::Long(message) => return Some(*message),
            What::Copy(len) => len as usize,
        };
        let copy = self.copies.split_off(self.copies.len().saturating_sub(len));
        // It was a message within whatever bounds there are.
        let limits = Limits { depth_max: usize::MAX, ..Limits::default() };
        let message = Message::parse_within(Bytes::from(Vec::from(copy)), &limits);
        message.inspect_err(|error| warn!(%error, "what was kept cannot be read again")).ok()
    }

    /// Lets go of the oldest.
    fn forget(&mut self) {
        let Some(entry) = self.entries.pop_front() else { return };
        self.bytes = self.bytes.saturating_sub(entry.what.len());
        if let What::Copy(len) = entry.what {
            self.copies.drain(..(len as usize).min(self.copies.len()));
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}

impl What {
    fn len(&self) -> usize {
        match self {
            Self::Copy(len) => *len as usize,
            Self::Long(message) => message.as_bytes().len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: InboxMax = InboxMax { queue_len_max: 8, queue_bytes_max: 64 << 10 };

    /// A message this long, and no shorter than about 60 bytes.
    fn message(n: usize, len: usize) -> Message {
        let of = |text: String| {
            let params = serde_json::json!({ "n": n, "text": text });
            Message::notification("n", &params).unwrap()
        };
        let shortest = of(String::new()).as_bytes().len();
        of("x".repeat(len.saturating_sub(shortest)))
    }

    #[test]
    fn the_newest_are_kept_and_come_back_last_first() {
        let mut kept = Kept::default();
        let lens = [0, 100, COPIED_LEN_MAX, COPIED_LEN_MAX + 1, 300, 20_000, 0, 70, 80, 90, 0];
        // Round and round, so that what is copied comes to lie across the end.
        for n in 0..500 {
            let len = lens.get(n % lens.len()).copied().unwrap_or_default();
            kept.keep(&message(n, len), MAX);
            assert!(kept.len() <= MAX.queue_len_max && kept.bytes <= MAX.queue_bytes_max);
            let copied = |it: &Entry| match it.what {
                What::Copy(len) => len as usize,
                What::Long(_) => 0,
            };
            assert_eq!(kept.copies.len(), kept.entries.iter().map(copied).sum::<usize>());
        }
        let (len, mut bytes) = (kept.len(), kept.bytes);
        for n in (0..500).rev().take(len) {
            let found = kept.take_back().unwrap();
            let len = lens.get(n % lens.len()).copied().unwrap_or_default();
            assert_eq!(found.as_bytes(), message(n, len).as_bytes());
            bytes -= found.as_bytes().len();
            assert_eq!(kept.bytes, bytes);
        }
        assert!(kept.take_back().is_none() && kept.bytes == 0 && kept.copies.is_empty());
    }

    /// Deeper than serde_json reads by itself, and with all that is odd in a text.
    #[test]
    fn whatever_was_a_message_is_one_again() {
        let deep = format!("{}{}", "[".repeat(500), "]".repeat(500));
        let params = format!(r#"{{"n":{deep},"a":"\u0000\ud83d\ude00 \"é\"","a":1e999}}"#);
        let said = format!(r#" {{"method":"n", "params":{params},"jsonrpc":"2.0" }}"#);
        let said = Message::parse(said).unwrap();
        assert!(said.as_bytes().len() <= COPIED_LEN_MAX);
        let mut kept = Kept::default();
        kept.keep(&said, MAX);
        assert!(matches!(kept.entries.front().unwrap().what, What::Copy(_)));
        let back = kept.take_back().unwrap();
        assert_eq!((back.as_bytes(), back.body()), (said.as_bytes(), said.body()));
    }

    #[test]
    fn what_is_longer_than_all_that_may_be_kept_is_not_kept() {
        let mut kept = Kept::default();
        kept.keep(&message(1, 100), MAX);
        kept.keep(&message(2, MAX.queue_bytes_max + 1), MAX);
        assert!(kept.take_back().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_old_goes_with_its_room() {
        let mut kept = Kept::default();
        kept.keep(&message(1, 100), MAX);
        tokio::time::advance(Duration::from_secs(5)).await;
        kept.keep(&message(2, 5000), MAX);
        tokio::time::advance(Duration::from_secs(5)).await;
        kept.sweep(Duration::from_secs(10));
        assert_eq!((kept.len(), kept.copies.len()), (1, 0));
        tokio::time::advance(Duration::from_secs(5)).await;
        kept.sweep(Duration::from_secs(10));
        assert_eq!((kept.len(), kept.copies.capacity(), kept.entries.capacity()), (0, 0, 0));
    }
}
