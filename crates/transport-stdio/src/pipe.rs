//! One peer over a pair of byte streams, a message a line; no process.
//!
//! For peers that are reached by other means: a socket, the two ends of a `duplex` in a test.
//! (2026-07-28, transports: custom transports over byte streams reuse the framing of stdio.)

use std::sync::Arc;

use futures::{FutureExt, future::BoxFuture};
use mcp_jsonrpc::transport::{
    Endpoint, ErrorKind, EventId, EventStream, Exchange, Reply, Session, TransportError,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};
use tracing::{debug, warn};

use crate::{
    Limits,
    line::Lines,
    noise::{Masked, Noise},
    outbox::Outbox,
    wire::{Reason, Wire},
};

/// A session over a pair of byte streams.
///
/// It ends when either stream does, when it is closed, or with its last handle.  What is asked
/// first decides of which era it is, as with a [`Process`](crate::client::Process).
#[derive(Debug)]
pub struct Pipe {
    uri: Arc<str>,
    wire: Arc<Wire>,
    tasks: TaskTracker,
    stop: CancellationToken,
    _stop: DropGuard,
}

// === impl Pipe ===

impl Pipe {
    /// Starts to talk to the peer called `name`: reads what it says from the first stream, and
    /// writes to the second.
    pub fn new<R, W>(name: &str, (read, write): (R, W), limits: Limits) -> Self
    where
        R: AsyncRead + Send + Unpin + 'static,
        W: AsyncWrite + Send + 'static,
    {
        let name: Arc<str> = name.into();
        let outbox = Outbox::new(write, &limits);
        let (wire, cancellations) = Wire::new(Arc::clone(&name), outbox, limits);
        let (wire, tasks, stop) = (Arc::new(wire), TaskTracker::new(), CancellationToken::new());

        let writing = Arc::clone(&wire);
        tasks.spawn(async move {
            if let Err(error) = writing.outbox.run(cancellations).await {
                debug!(%error, "peer cannot be written to");
            }
        });
        let reading = Arc::clone(&wire);
        let stopped = stop.clone();
        let uri = Arc::from(format!("pipe:{name}"));
        tasks.spawn(async move {
            let mut lines = Lines::new(read, limits.message.message_len_max);
            let mut noise = Noise::new(Arc::clone(&name), Masked::default());
            let what = tokio::select! {
                ended = reading.hear(&mut lines, &mut noise) => match ended {
                    Ok(()) => "it closed the connection",
                    Err(error) => {
                        warn!(server = &*name, %error, "peer cannot be read");
                        "it cannot be read any more"
                    }
                },
                () = reading.outbox.closed() => "it takes no more messages",
                () = stopped.cancelled() => "the session is closed",
            };
            reading.outbox.close();
            let reason = move |_| TransportError::new(ErrorKind::Closed, what).of(&name);
            reading.hang_up(Arc::new(reason) as Arc<Reason>);
        });
        tasks.close();
        Self { uri, wire, tasks, stop: stop.clone(), _stop: stop.drop_guard() }
    }

    /// How many requests wait for their answer.
    pub fn in_flight(&self) -> usize {
        self.wire.in_flight()
    }
}

impl Session for Pipe {
    fn endpoint(&self) -> Endpoint {
        Endpoint { uri: Arc::clone(&self.uri), session: None }
    }

    fn send(&self, exchange: Exchange) -> BoxFuture<'_, Result<Reply, TransportError>> {
        self.wire.send(exchange).boxed()
    }

    fn listen(&self, _: Option<EventId>) -> BoxFuture<'_, Result<EventStream, TransportError>> {
        async { Ok(self.wire.listen()) }.boxed()
    }

    fn is_open(&self) -> bool {
        self.wire.is_open()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.stop.cancel();
        self.tasks.wait().boxed()
    }
}

#[cfg(test)]
mod tests;
