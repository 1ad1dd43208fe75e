//! What comes down a stream.

use std::{
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use futures::stream::BoxStream;

use super::TransportError;
use crate::Message;

/// The events of one reply or of one `listen`.  Dropping it says that nobody listens any more.
pub type EventStream = BoxStream<'static, Result<Event, TransportError>>;

/// What comes down a stream.
#[derive(Clone, Debug)]
pub enum Event {
    /// A message; with an id where the peer can resume after it.
    Message {
        /// Where to go on from, after a disconnection.
        id: Option<EventId>,
        /// What the peer says.
        message: Message,
    },
    /// Nothing but a place to resume from and how long to wait before doing so.
    Pause {
        /// Where to go on from.
        id: Option<EventId>,
        /// How long the peer wants to be left alone.
        retry: Option<Duration>,
    },
}

impl Event {
    /// The bytes of its message.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Message { message, .. } => message.as_bytes().len(),
            Self::Pause { .. } => 0,
        }
    }
}

impl From<Message> for Event {
    /// A message that cannot be resumed after.
    fn from(message: Message) -> Self {
        Self::Message { id: None, message }
    }
}

/// The address of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Where to post to, or whom to write to.
    pub uri: Arc<str>,
    /// The session's id; none for a stateless peer, nor before the peer assigned one.
    pub session: Option<SessionId>,
}

/// A session's id: visible ASCII, and as secret as a password.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionId(Arc<str>);

/// An event's id: opaque to all but the log it came from.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct EventId(Arc<str>);

impl SessionId {
    /// The longest id taken from a peer; ours say what a session begins again with, and those of
    /// a gateway behind do too.
    const LEN_MAX: usize = 2048;

    /// How much of an id a table looks at.
    const HASHED_LEN: usize = 16;

    /// Takes an id from the wire; none if it is no id.
    pub fn new(text: &str) -> Option<Self> {
        // Without a way out in the middle, so that many are looked at at once.
        let odd = |odd, byte| odd | !matches!(byte, 0x21..=0x7e);
        let visible = !text.bytes().fold(false, odd);
        (visible && !text.is_empty() && text.len() <= Self::LEN_MAX).then(|| Self(text.into()))
    }

    /// The id as it goes on the wire.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its last six characters: enough to tell two sessions of a log apart, too little to take
    /// one over.
    pub fn short(&self) -> &str {
        let len = self.0.len();
        if len <= 24 { "…" } else { self.0.get(len - 6..).unwrap_or_default() }
    }
}

/// The end of it alone: ids in a table are of our own making, long, and random at their ends.
impl Hash for SessionId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let bytes = self.0.as_bytes();
        match bytes.last_chunk::<{ Self::HASHED_LEN }>() {
            Some(end) => state.write_u128(u128::from_le_bytes(*end)),
            None => bytes.hash(state),
        }
    }
}

/// Shows enough to tell two sessions apart, too little to take one over.
impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionId(…{})", self.short())
    }
}

/// Shows its end alone: what it begins with may name the session.
impl fmt::Debug for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = self.0.char_indices().rev().nth(7).and_then(|(at, _)| self.0.get(at..));
        write!(f, "EventId(…{})", end.unwrap_or(&self.0))
    }
}

impl EventId {
    /// Takes an id from the wire; none if it cannot go on one line.
    pub fn new(text: &str) -> Option<Self> {
        let fits =
            !text.is_empty() && memchr::memchr3(b'\n', b'\r', b'\0', text.as_bytes()).is_none();
        fits.then(|| Self(text.into()))
    }

    /// The id as it goes on the wire.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
