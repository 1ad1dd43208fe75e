//! The open event streams of a server of ours, by session.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use tokio::sync::mpsc;

/// This many events may wait for a slow reader; then its sender waits.
const EVENTS_MAX: usize = 64;
/// This many sessions may be open.
pub(crate) const SESSIONS_MAX: usize = 100_000;

/// The table of sessions.  Ids are numbers in order, not secrets: all of this is on loopback, and
/// nothing of it serves anybody but the generator.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    last: AtomicU64,
    open: Mutex<HashMap<u64, mpsc::Sender<Bytes>>>,
}

/// The reading end of a session's stream; dropped, the session leaves the table.
#[derive(Debug)]
pub(crate) struct Stream {
    /// Whole events.
    pub(crate) events: mpsc::Receiver<Bytes>,
    _member: Option<Member>,
}

#[derive(Debug)]
struct Member {
    table: Arc<Streams>,
    id: u64,
}

impl Streams {
    /// Opens a session with a stream; `None` when there are too many.
    pub(crate) fn open(self: &Arc<Self>) -> Option<(u64, mpsc::Sender<Bytes>, Stream)> {
        let id = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        let (sender, events) = mpsc::channel(EVENTS_MAX);
        let mut open = self.lock();
        if SESSIONS_MAX <= open.len() {
            return None;
        }
        open.insert(id, sender.clone());
        let member = Member { table: Arc::clone(self), id };
        Some((id, sender, Stream { events, _member: Some(member) }))
    }

    /// The writing end of a session's stream.
    pub(crate) fn find(&self, id: u64) -> Option<mpsc::Sender<Bytes>> {
        self.lock().get(&id).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, mpsc::Sender<Bytes>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stream {
    /// A stream that belongs to no session of a table.
    pub(crate) fn alone() -> (mpsc::Sender<Bytes>, Self) {
        let (sender, events) = mpsc::channel(EVENTS_MAX);
        (sender, Self { events, _member: None })
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.table.lock().remove(&self.id);
    }
}

/// A session's id as it stands in headers and queries: as long as those of real servers.
pub(crate) fn id_text(id: u64) -> String {
    format!("{id:032x}")
}

/// The id in a text of [`id_text`].
pub(crate) fn id_of(text: &str) -> Option<u64> {
    (text.len() == 32).then(|| u64::from_str_radix(text, 16).ok()).flatten()
}

/// The id in the query of a message endpoint, `sessionId=…`.
pub(crate) fn id_in_query(query: Option<&str>) -> Option<u64> {
    query?.split('&').find_map(|pair| id_of(pair.strip_prefix("sessionId=")?))
}

/// A message as an event.
pub(crate) fn event(name: &str, data: &[u8]) -> Bytes {
    let mut event = Vec::with_capacity(name.len() + data.len() + 18);
    for part in [b"event: ", name.as_bytes(), b"\ndata: ", data, b"\n\n"] {
        event.extend_from_slice(part);
    }
    event.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_stream_leaves_the_table() {
        let table = Arc::new(Streams::default());
        let (id, _, stream) = table.open().unwrap();
        assert!(table.find(id).is_some());
        drop(stream);
        assert!(table.find(id).is_none());
    }

    #[test]
    fn ids_survive_their_text() {
        assert_eq!(id_of(&id_text(77)), Some(77));
        assert_eq!(id_in_query(Some(&format!("a=b&sessionId={}", id_text(77)))), Some(77));
        for text in ["", "77", "zz", &"f".repeat(32)] {
            assert_eq!(id_of(text), None, "{text}");
        }
        assert_eq!(id_in_query(Some("session=1")), None);
    }
}
