//! How messages travel: one trait, whichever way the wire works.
//!
//! A [`Transport`] is a way to reach a peer; a [`Session`] is one conversation over it.  The two
//! halves of a transport crate meet here.  Its *client* half implements `Transport`, its *server*
//! half is handed one and offers it to the network.  The router between them implements
//! `Transport` too, so halves compose without knowing of each other:
//!
//! ```text
//! HTTP, stdin ──▶ server half ──▶ router ──▶ client half ──▶ HTTP, child process
//!                 (is handed a)   (is a)     (is a)
//!                  Transport      Transport   Transport
//! ```
//!
//! Calls go to the right, answers are what calls return.  Nothing here calls back.
//!
//! # What a session promises
//!
//! * **Scope.**  [`Session::send`] carries one message and returns what the peer says *to it*.
//!   What the peer says unasked comes from [`Session::listen`].
//! * **Backpressure.**  A [`Reply::Stream`] is pulled.  Nobody who does not poll is sent more than
//!   a bounded queue's worth.
//! * **Cancellation.**  Dropping the future of `send`, or its stream, abandons the request.  The
//!   client half tells the peer in the way the peer's era wants: by closing the stream (modern,
//!   HTTP) or by `notifications/cancelled` (legacy, and stdio in both).  [`abandon`] says why.
//! * **Resumption.**  `listen(Some(id))` goes on after that event, where the peer keeps a log.
//! * **End.**  Dropping the last handle ends the session; [`Session::close`] does so and waits.
//!
//! # Sessions of a revision without sessions
//!
//! An [`Opening`] in [`V2026_07_28`](crate::ProtocolVersion::V2026_07_28) yields a session that
//! keeps nothing of one exchange for the next, and that any number of callers may share:
//!
//! * It has no id, needs no `initialize`, and hears nothing unasked: `listen` is
//!   [`ErrorKind::Unsupported`].  What is to be heard of changes is the reply to a
//!   `subscriptions/listen`: a stream that begins with the acknowledgement and ends with the
//!   result, if it ends well.
//! * Each request says all about itself in `params._meta` ([`modern`](crate::modern)), whoever
//!   sends it has seen to that, and its [`Exchange::version`] says the same.  Fields that mirror
//!   the body are made anew by each client half; [`Exchange::carried`] holds the others.
//! * Requests of equal ids may be under way at once, of several callers or of one.  A wire of one
//!   shared channel re-numbers them, and with them what names a request by its id:
//!   `subscriptionId` and `cancelled.requestId`.
//! * A stream holds notifications and the response, never a request.  Dropping it cancels.
//! * A transport that cannot speak it, or whose peer does not, says [`ErrorKind::Unsupported`] to
//!   the opening, having moved nothing that the peer could take for a request.

mod ear;
mod error;
mod event;
mod exchange;
pub mod func;
mod inbox;
mod reason;
mod spare;
pub mod switchboard;

use std::{fmt, sync::Arc};

use futures::future::BoxFuture;

use crate::{Id, ProtocolVersion};

pub use ear::Ear;
pub use error::{ErrorKind, TransportError};
pub use event::{Endpoint, Event, EventId, EventStream, SessionId};
pub use exchange::{Caller, Exchange, Opening, Reply, Trail};
pub use inbox::{Inbox, InboxMax};
pub use reason::{abandon, reason};

/// A way to reach an MCP peer.
pub trait Transport: fmt::Debug + Send + Sync + 'static {
    /// Opens a session.
    ///
    /// For a stateless peer this moves no byte and yields a session without an id.
    fn open(&self, opening: Opening) -> BoxFuture<'_, Result<Arc<dyn Session>, TransportError>>;

    /// Finds a session by the id its endpoint announced.
    ///
    /// A session answers to the caller that opened it and to no one else: for anybody else it is
    /// [`ErrorKind::NoSession`], exactly as if it had never been.
    fn find(&self, id: &SessionId, caller: &Caller) -> Result<Arc<dyn Session>, TransportError>;

    /// Whether a session with a handshake that is opened now costs the peer nothing: neither a
    /// process, nor a session of its own.
    fn is_light(&self) -> bool {
        false
    }

    /// Finds out what [`is_light`](Self::is_light) says, where that takes asking the peer.
    fn settle<'a>(&'a self, caller: &'a Caller) -> BoxFuture<'a, ()> {
        let _ = caller;
        Box::pin(async {})
    }
}

/// One conversation with a peer.
pub trait Session: fmt::Debug + Send + Sync + 'static {
    /// Where this session takes messages, and under which id.
    ///
    /// An endpoint is of one hop.  No stream carries it, so that no router can pass the address
    /// of a server on to a client.
    fn endpoint(&self) -> Endpoint;

    /// Carries one message to the peer and returns what it says to that message.
    fn send(&self, exchange: Exchange) -> BoxFuture<'_, Result<Reply, TransportError>>;

    /// What the peer says unasked, from now on or after a given event.
    ///
    /// Where what comes after that event is not all known any more, an error says so, and what is
    /// known comes after it.
    fn listen(&self, after: Option<EventId>) -> BoxFuture<'_, Result<EventStream, TransportError>>;

    /// Keeps what goes down a stream in front: the answers to these requests, or, where there
    /// are none, what [`listen`](Self::listen) yields.
    ///
    /// The same events come back with ids, which `listen` goes on after; the first is an
    /// [`Event::Pause`] with the stream's own.  Answers are read to their end also when the
    /// stream is dropped.  A session that keeps nothing hands the events back as they are.
    fn keep(&self, of: &[Id], events: EventStream) -> EventStream {
        let _ = of;
        events
    }

    /// The revision that was agreed on with whoever uses it, where it knows: not before the
    /// handshake, and a wire that passes everything on need never know.
    fn version(&self) -> Option<ProtocolVersion> {
        None
    }

    /// Whether it can still carry an exchange, as far as is known without asking the peer.
    ///
    /// The wires of one shared channel know when it ended; the others always say yes, and learn
    /// from the next exchange.
    fn is_open(&self) -> bool {
        true
    }

    /// Ends the session and waits until the peer knows, or cannot be told.
    fn close(&self) -> BoxFuture<'_, ()>;
}
