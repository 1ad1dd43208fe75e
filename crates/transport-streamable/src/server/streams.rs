//! Streams in front, kept by the session, so that who loses one can go on with it.

use std::{sync::Arc, time::Duration};

use futures::{Stream, StreamExt};
use hyper::Response;
use mcp_jsonrpc::{
    Id, ProtocolVersion,
    transport::{Event, EventStream, Session},
};
use tracing::debug;
use transport_sse::{
    body::Outgoing,
    respond,
    stream::{Chunk, EventBody},
    wire,
};

/// How a client is told of a stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner {
    /// Whether it takes events without a message, from which it learns where to resume.
    pub(super) primes: bool,
    /// After how much silence a comment is sent.
    pub(super) keep_alive: Duration,
}

/// The stream that answers these requests, or, where there are none, listens.
pub(super) fn keep(
    session: &Arc<dyn Session>,
    of: &[Id],
    events: impl Stream<Item = Event> + Send + 'static,
    manner: Manner,
) -> Response<Outgoing> {
    respond_with(session.keep(of, events.map(Ok).boxed()), manner)
}

/// The response that a stream makes.
pub(super) fn respond_with(events: EventStream, manner: Manner) -> Response<Outgoing> {
    let chunks = events.filter_map(move |event| {
        std::future::ready(match event {
            Ok(Event::Pause { .. }) if !manner.primes => None,
            Ok(event) => Some(Chunk::Event(event)),
            Err(error) => {
                debug!(%error, "said as a comment on a stream");
                Some(Chunk::Encoded(wire::encode_comment(&error.said().to_string())))
            }
        })
    });
    respond::events(EventBody::new(chunks, manner.keep_alive))
}

/// Whether clients of a revision take events without a message: older SDKs fail over their empty
/// data.
pub(super) fn primes(version: Option<ProtocolVersion>) -> bool {
    version.is_some_and(|version| ProtocolVersion::V2025_11_25 <= version)
}
