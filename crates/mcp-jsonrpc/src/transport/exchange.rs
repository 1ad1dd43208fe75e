//! One message on its way, and what came back.

use std::{
    fmt,
    hash::{Hash, Hasher},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use futures::StreamExt;

use super::{ErrorKind, Event, EventStream, SessionId, TransportError};
use crate::{Era, Message, ProtocolVersion};

/// How a session begins.
#[derive(Clone, Debug)]
pub struct Opening {
    /// Who opens it.
    pub caller: Caller,
    /// The revision the caller speaks, where the wire says so before the first message.
    pub version: Option<ProtocolVersion>,
    /// Where the caller is to post: the address of the endpoint in front.
    pub at: Arc<str>,
}

/// One message on its way to a peer, with all that the wire carries beside the body.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// What to say.
    pub message: Message,
    /// Who says it.
    pub caller: Caller,
    /// The revision it is said in; none where the wire does not say, and no handshake has.
    pub version: Option<ProtocolVersion>,
    /// Fields to pass on unread: `Mcp-Param-*`, `traceparent` and their like.
    pub carried: Vec<(Box<str>, Box<str>)>,
}

/// What a peer says to one message.
pub enum Reply {
    /// Taken, and no more to say: the fate of notifications and responses.
    Accepted,
    /// The response.
    Single(Message),
    /// Whatever leads up to the response, and the response last.
    Stream(EventStream),
}

/// Who is behind a message, as far as the front door could tell.
///
/// It is the same caller wherever it calls from, and by whichever way.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The subject of the token; none for a caller that needed no token.
    pub subject: Option<Arc<str>>,
    /// What the token allows.
    pub scopes: Arc<[Box<str>]>,
    /// Where it calls from this time, for who writes that down.
    pub address: Option<Arc<str>>,
    /// By which way its request came, where that is to be known of it.
    pub trail: Option<Arc<Trail>>,
}

/// How a request came to one of many servers that are one in front, for who sees it at both ends.
#[derive(Debug)]
pub struct Trail {
    /// The door it came in by.
    pub at: Arc<str>,
    /// The session it is of there.
    pub session: Option<SessionId>,
    passed: AtomicBool,
}

impl Opening {
    /// For transports that only begin with a handshake.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`] where the revision has none (2026-07-28).
    pub fn with_handshake(&self) -> Result<(), TransportError> {
        match self.version.map(ProtocolVersion::era) {
            None | Some(Era::Legacy) => Ok(()),
            Some(Era::Modern) => {
                let what = "revisions without a handshake are not spoken here";
                Err(TransportError::new(ErrorKind::Unsupported, what))
            }
        }
    }
}

impl Exchange {
    /// A message by itself.
    pub fn new(message: Message, caller: Caller) -> Self {
        Self { message, caller, version: None, carried: Vec::new() }
    }
}

impl Caller {
    /// Nobody in particular.
    pub fn anonymous() -> Self {
        Self { subject: None, scopes: Arc::from([]), address: None, trail: None }
    }

    /// Somebody by this name, without scopes.
    pub fn named(subject: impl Into<Arc<str>>) -> Self {
        Self { subject: Some(subject.into()), ..Self::anonymous() }
    }
}

impl PartialEq for Caller {
    fn eq(&self, other: &Self) -> bool {
        (&self.subject, &self.scopes) == (&other.subject, &other.scopes)
    }
}

impl Eq for Caller {}

impl Hash for Caller {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.subject, &self.scopes).hash(state);
    }
}

impl Trail {
    /// Of a request that has come in by this door, in this session.
    pub fn new(at: Arc<str>, session: Option<SessionId>) -> Self {
        Self { at, session, passed: AtomicBool::new(false) }
    }

    /// Notes that it has come to a server.
    pub fn pass(&self) {
        self.passed.store(true, Ordering::Relaxed);
    }

    /// Whether it has come to one.
    pub fn has_passed(&self) -> bool {
        self.passed.load(Ordering::Relaxed)
    }
}

impl Reply {
    /// Waits for the response; what comes before it is told to `before`.
    ///
    /// # Errors
    ///
    /// Those of the stream, and [`ErrorKind::Protocol`] where it ends without a response.
    pub async fn answer(self, mut before: impl FnMut(Message)) -> Result<Message, TransportError> {
        let mut events = match self {
            Self::Single(message) => return Ok(message),
            Self::Stream(events) => events,
            Self::Accepted => return Err(TransportError::unanswered()),
        };
        while let Some(event) = events.next().await {
            match event? {
                Event::Message { message, .. } if message.is_answer() => return Ok(message),
                Event::Message { message, .. } => before(message),
                Event::Pause { .. } => (),
            }
        }
        Err(TransportError::unanswered())
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accepted => f.write_str("Accepted"),
            Self::Single(message) => f.debug_tuple("Single").field(message).finish(),
            Self::Stream(_) => f.write_str("Stream(..)"),
        }
    }
}
