//! What lets a session outlive its place in the table, and this process.
//!
//! A session's id says what it takes to begin it again: who opened it, with which server, when,
//! in which revision, and what the client said in its `initialize`.  It is sealed, so nobody can
//! make one up, and it opens for its own caller and its own server alone.  What an id cannot say
//! is in a record: the log level, the subscriptions, the `initialize` of a client that was told
//! its id before (HTTP+SSE) or that has much to say, and that a session was closed.

use std::{collections::BTreeSet, fmt::Write, sync::Arc, time::Duration};

use bytes::Bytes;
use mcp_jsonrpc::{
    Id, Message, ProtocolVersion,
    transport::{Caller, ErrorKind, SessionId, TransportError},
};
use seal::{Keyring, Purpose};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use store::{RecordKey, Store};

use crate::handshake::Hello;

/// The longest `params` of an `initialize` that an id carries, in bytes; longer ones are kept in
/// a record, since every request repeats its session's id.
const HELLO_LEN_MAX: usize = 768;
/// How long a revision's name is.
const VERSION_LEN: usize = 10;

/// What sessions are kept with.
#[derive(Clone, Debug)]
pub struct Keeping {
    /// Seals ids.
    pub keyring: Keyring,
    /// Keeps what an id cannot say.
    pub store: Arc<dyn Store>,
    /// How long an id is good for, from its session's beginning.
    pub age_max: Duration,
}

/// What an id says.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) key: RecordKey,
    pub(crate) issued: u64,
    pub(crate) hello: Option<Hello>,
}

/// What an id does not say.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(crate) struct Record {
    /// Its client, or its caller's rights, ended it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    closed: bool,
    /// The revision, and the `params` of `initialize`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hello: Option<(String, Box<RawValue>)>,
    /// The `params` of the last `logging/setLevel`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    level: Option<Box<RawValue>>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    subscriptions: BTreeSet<Box<str>>,
}

/// All that a session begins again with.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) said: Said,
    pub(crate) hello: Hello,
    /// Whether what it said at `initialize` is in a record, and not in the id.
    pub(crate) is_recorded: bool,
    pub(crate) log_level: Option<Message>,
    pub(crate) subscriptions: BTreeSet<Box<str>>,
}

// === impl Keeping ===

impl Keeping {
    /// An id for a session, with what was said at `initialize` if that is not too long.
    pub(crate) fn seal(
        &self,
        server: &str,
        caller: &Caller,
        (key, issued): (&RecordKey, u64),
        hello: Option<&Hello>,
    ) -> Option<SessionId> {
        let hello = hello.filter(|hello| is_short(hello));
        let mut plain = [&key[..], &issued.to_be_bytes()].concat();
        if let Some(hello) = hello {
            plain.extend_from_slice(hello.version.as_str().as_bytes());
            plain.extend_from_slice(hello.message.body()?.as_bytes());
        }
        let text = self.keyring.seal(Purpose::Session, &bound(server, caller), &plain);
        SessionId::new(&text.ok()?)
    }

    /// What an id says to this server when this caller brings it; none if it was not made here,
    /// for them, or is too old.
    pub(crate) fn open(&self, server: &str, caller: &Caller, id: &SessionId) -> Option<Said> {
        let bound = bound(server, caller);
        let plain = self.keyring.open(Purpose::Session, &bound, id.as_str())?;
        let (key, rest) = plain.split_first_chunk::<16>()?;
        let (issued, rest) = rest.split_first_chunk::<8>()?;
        let issued = u64::from_be_bytes(*issued);
        if self.expires(issued) <= self.keyring.clock().now() {
            return None;
        }
        let hello = match rest.split_at_checked(VERSION_LEN) {
            None => None,
            Some((version, params)) => {
                let params = RawValue::from_string(std::str::from_utf8(params).ok()?.to_owned());
                Some(hello(std::str::from_utf8(version).ok()?, &params.ok()?)?)
            }
        };
        Some(Said { key: *key, issued, hello })
    }

    /// When what belongs to a session may be forgotten.
    pub(crate) fn expires(&self, issued: u64) -> u64 {
        issued.saturating_add(self.age_max.as_secs())
    }

    /// Adds to what an id says what it does not; none if its session was closed, or cannot be
    /// begun again.
    pub(crate) fn complete(&self, mut said: Said) -> Option<Kept> {
        let record = match self.store.load(&said.key) {
            Ok(record) => record,
            Err(error) => {
                tracing::warn!(%error, "a session goes on without its record");
                None
            }
        };
        let record = match record {
            Some(record) => serde_json::from_slice(&record).ok()?,
            None => Record::default(),
        };
        if record.closed {
            return None;
        }
        let recorded = record.hello.as_ref().and_then(|(version, params)| hello(version, params));
        let is_recorded = said.hello.is_none();
        let hello = said.hello.take().or(recorded)?;
        let level = record.level.as_deref();
        let level = level.map(|params| Message::request(&Id::from(0), "logging/setLevel", &params));
        let (log_level, subscriptions) = (level.and_then(Result::ok), record.subscriptions);
        Some(Kept { said, hello, is_recorded, log_level, subscriptions })
    }
}

/// Whether an id can say it.
pub(crate) fn is_short(hello: &Hello) -> bool {
    let version = hello.version.as_str().len() == VERSION_LEN;
    version && hello.message.body().is_some_and(|params| params.len() <= HELLO_LEN_MAX)
}

// === impl Record ===

impl Record {
    /// Of a session that is open.
    pub(crate) fn of(
        hello: Option<&Hello>,
        log_level: Option<&Message>,
        subscriptions: BTreeSet<Box<str>>,
    ) -> Self {
        let raw = |message: &Message| RawValue::from_string(message.body()?.to_owned()).ok();
        let hello =
            hello.and_then(|hello| Some((hello.version.as_str().to_owned(), raw(&hello.message)?)));
        Self { closed: false, hello, level: log_level.and_then(raw), subscriptions }
    }

    /// Of a session that was closed.
    pub(crate) fn closed() -> Bytes {
        // There may be very many of them in memory.
        Bytes::from_static(br#"{"closed":true}"#)
    }

    pub(crate) fn written(&self) -> Bytes {
        // Strings and what was JSON before: it cannot fail.
        serde_json::to_vec(self).unwrap_or_default().into()
    }
}

/// What an id is bound to.  A caller without a name is not one whose name is empty.
fn bound<'a>(server: &'a str, caller: &'a Caller) -> [&'a [u8]; 3] {
    match &caller.subject {
        None => [server.as_bytes(), b"anybody", b""],
        Some(subject) => [server.as_bytes(), b"caller", subject.as_bytes()],
    }
}

/// What a client said at `initialize`, from what was kept of it.
fn hello(version: &str, params: &RawValue) -> Option<Hello> {
    let message = Message::request(&Id::from(0), "initialize", &params).ok()?;
    let mut hello = Hello::read(message).ok()?;
    hello.version = version.parse::<ProtocolVersion>().ok()?;
    Some(hello)
}

/// What a session is found by: 128 bits that nobody can guess.
pub(crate) fn new_key() -> Result<RecordKey, TransportError> {
    let mut key = RecordKey::default();
    getrandom::fill(&mut key).map_err(|error| {
        let what = "the system has no randomness";
        TransportError::new(ErrorKind::Unsupported, what).because(error)
    })?;
    Ok(key)
}

/// An id that says nothing.
pub(crate) fn plain_id(key: &RecordKey) -> Option<SessionId> {
    let mut text = String::with_capacity(2 * key.len());
    for byte in key {
        write!(text, "{byte:02x}").ok()?;
    }
    SessionId::new(&text)
}
