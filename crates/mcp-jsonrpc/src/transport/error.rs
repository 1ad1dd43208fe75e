//! Why a message did not travel.

use std::{borrow::Cow, error::Error, fmt, sync::Arc, time::Duration};

/// Why a message did not travel.
///
/// Three readers: [`kind`](Self::kind) is for the program that decides what to do;
/// [`said`](Self::said) is for the caller; `Display` and the chain of sources are for the log.
pub struct TransportError(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    what: Cow<'static, str>,
    server: Option<Arc<str>>,
    hint: Option<Box<str>>,
    may_have_run: bool,
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// What somebody can do about a [`TransportError`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The session is unknown, over, or someone else's: open another.
    NoSession,
    /// The peer is gone, and the request with it: what it did before that is unknown.
    Closed,
    /// The peer cannot be reached or started now: nothing has been sent, so try again later.  A
    /// peer that was reached and says so itself is [`Status`](Self::Status).
    Unavailable {
        /// When it may be worth it.
        retry_after: Option<Duration>,
    },
    /// The peer wants credentials; its challenge, word for word.
    Unauthorized(Option<Box<str>>),
    /// The peer answered with this HTTP status and no JSON-RPC.
    Status(u16),
    /// The peer does not do this at all.
    Unsupported,
    /// The peer broke the protocol.
    Protocol,
    /// The caller's message is wrong: the JSON-RPC code that says how.
    Invalid(i32),
    /// A message, body or line is longer than allowed.
    TooLarge,
    /// There are as many sessions, children, streams or requests in flight as there may be.
    Exhausted,
    /// Nothing came in time.
    Timeout,
    /// The caller took the request back.
    Cancelled,
}

impl TransportError {
    /// An error of this kind; `what` says in a phrase what happened.  It is for the caller too.
    pub fn new(kind: ErrorKind, what: impl Into<Cow<'static, str>>) -> Self {
        let (what, may_have_run) = (what.into(), false);
        Self(Box::new(Inner { kind, what, server: None, hint: None, may_have_run, source: None }))
    }

    /// The error of a request to which its peer said all it had to say, and no response.
    pub fn unanswered() -> Self {
        Self::new(ErrorKind::Protocol, "it ended its reply without an answer")
    }

    /// The peer sent a message that is longer than `max` bytes, which is all that is taken.
    pub fn too_large(max: usize) -> Self {
        let what = "it sent a message longer than `messageLenMax`";
        let hint = format!(
            "at most {max} bytes are taken; if it is meant to send so much, raise `messageLenMax`"
        );
        Self::new(ErrorKind::TooLarge, what).hint(hint)
    }

    /// Adds the error behind this one: for the log alone.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Names the server it happened to, unless that is known.
    #[must_use]
    pub fn of(mut self, server: &Arc<str>) -> Self {
        self.0.server.get_or_insert_with(|| Arc::clone(server));
        self
    }

    /// Adds what the caller and the operator should know or do, replacing what was there: a
    /// server's last words, or a remedy.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<Box<str>>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// The same of an exchange that has certainly not reached the peer.
    #[must_use]
    pub fn unsent(mut self) -> Self {
        self.0.kind = ErrorKind::Unavailable { retry_after: None };
        self
    }

    /// The same of a request that the peer may have carried out, and that is not sent again: where
    /// the peer is gone, or somebody between here and there has answered in its stead.
    #[must_use]
    pub fn may_have_run(mut self) -> Self {
        self.0.may_have_run =
            matches!(self.0.kind, ErrorKind::Closed | ErrorKind::Status(502..=504));
        self
    }

    /// What can be done about it.
    pub fn kind(&self) -> &ErrorKind {
        &self.0.kind
    }

    /// The server it happened to.
    pub fn server(&self) -> Option<&str> {
        self.0.server.as_deref()
    }

    /// What happened, to which server, and what to do: one sentence or two for the caller.
    pub fn said(&self) -> impl fmt::Display + '_ {
        Said { inner: &self.0, names_server: true }
    }

    /// The same where it is clear which server is meant.
    pub fn said_of_it(&self) -> impl fmt::Display + '_ {
        Said { inner: &self.0, names_server: false }
    }

    /// Whether the exchange has certainly not reached the peer, so that it may be sent again.
    pub fn is_unsent(&self) -> bool {
        matches!(self.0.kind, ErrorKind::NoSession | ErrorKind::Unavailable { .. })
    }
}

struct Said<'a> {
    inner: &'a Inner,
    names_server: bool,
}

impl fmt::Display for Said<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = self.inner;
        if let (Some(server), true) = (&inner.server, self.names_server) {
            write!(f, "server `{server}`: ")?;
        }
        f.write_str(&inner.what)?;
        match &inner.kind {
            ErrorKind::Status(status) => write!(f, " (HTTP {status})")?,
            ErrorKind::Unauthorized(_) => f.write_str(" (it wants other credentials)")?,
            _ => (),
        }
        if let Some(hint) = &inner.hint {
            write!(f, "; {hint}")?;
        }
        if inner.may_have_run {
            f.write_str("; the request may have been carried out, and was not sent again")?;
        }
        Ok(())
    }
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.said().fmt(f)?;
        let mut source = self.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}

impl fmt::Debug for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransportError")
            .field("kind", &self.0.kind)
            .field("what", &self.0.what)
            .field("server", &self.0.server)
            .field("hint", &self.0.hint)
            .field("source", &self.0.source)
            .finish()
    }
}

impl Error for TransportError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}
