//! A server half on a pair of byte streams: the gateway's own stdin and stdout.

mod era;
mod modern;
mod talk;

use std::{sync::Arc, time::Duration};

use mcp_jsonrpc::{
    Frame, Kind,
    transport::{Caller, ErrorKind, Transport, TransportError},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::mpsc,
    time::timeout,
};
use tracing::debug;

use self::talk::{Talk, refusal};
use crate::{
    Limits,
    line::{Line, Lines},
    outbox::{Haste, Outbox},
};

/// How much one client may ask at once, and how long it is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServeMax {
    /// How long messages may be, and how much may wait to be written.
    ///
    /// Here `write_timeout` is for a client that does not read what it has asked for; after it the
    /// session ends.
    pub limits: Limits,
    /// How many requests may be under way.  The next ones are refused, not kept waiting.
    pub in_flight_max: usize,
    /// How long a notification holds back what comes behind it: so that a request does not
    /// overtake `notifications/initialized` on its way to a server.
    pub order_timeout: Duration,
    /// How long what is under way may take when the client has closed its end.
    pub drain_timeout: Duration,
    /// How long to wait at most before listening again, where the server has ended that.
    pub listen_again_max: Duration,
}

impl Default for ServeMax {
    /// 1,024 requests; 5 s for notifications, 5 s to drain, 30 s between attempts to listen.  A
    /// client that does not read is waited for 5 minutes.
    fn default() -> Self {
        Self {
            limits: Limits { write_timeout: Duration::from_secs(300), ..Limits::default() },
            in_flight_max: 1024,
            order_timeout: Duration::from_secs(5),
            drain_timeout: Duration::from_secs(5),
            listen_again_max: Duration::from_secs(30),
        }
    }
}

/// Offers a transport to the client at the other end of two byte streams, until that closes its
/// end.
///
/// What the client says first decides of which era it is, and it is kept to that.  One that begins
/// with a handshake has one session, opened then and closed at the end.  One that does not
/// (2026-07-28) has each request carried by itself; `notifications/cancelled` takes one back, and
/// at the end all that listens gets its result.  A `server/discover` decides nothing.
///
/// Requests are answered as their answers come.  A line that is no message is answered with the
/// code that JSON-RPC has for it; errors behind become JSON-RPC errors.  An array of messages is
/// answered with an array where 2025-03-26 is spoken, which alone has them.
///
/// Reading `tokio::io::stdin()` holds up the end of a runtime until one more line comes: a program
/// should end with `std::process::exit` or `Runtime::shutdown_background`.
///
/// # Errors
///
/// What the transport said where no session could be opened: the client is told, in answer to its
/// first request.  [`ErrorKind::Closed`] when the session behind has ended for good or the client
/// cannot be read, [`ErrorKind::Timeout`] when the client does not read.
///
/// ```
/// use std::sync::Arc;
/// use mcp_jsonrpc::{Message, transport::{Caller, Reply, func::from_fn}};
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
/// use transport_stdio::server::{ServeMax, serve};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let pong = from_fn(async |asked| {
///     let id = asked.message.id().expect("a request has one");
///     Ok(Reply::Single(Message::response(id, &"pong").expect("a text is JSON")))
/// });
/// // In a program: `tokio::io::stdin()` and `tokio::io::stdout()`.
/// let (mut client, server) = tokio::io::duplex(1024);
/// client.write_all(b"{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"ping\"}\n").await?;
/// client.shutdown().await?;
/// let streams = tokio::io::split(server);
/// serve(Arc::new(pong), streams, Caller::anonymous(), ServeMax::default()).await?;
///
/// let mut answer = String::new();
/// client.read_to_string(&mut answer).await?;
/// assert_eq!(answer, "{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":\"pong\"}\n");
/// # Ok(())
/// # }
/// ```
pub async fn serve<R, W>(
    transport: Arc<dyn Transport>,
    (read, write): (R, W),
    caller: Caller,
    max: ServeMax,
) -> Result<(), TransportError>
where
    R: AsyncRead + Send + Unpin,
    W: AsyncWrite + Send + 'static,
{
    let outbox = Outbox::new(write, &max.limits);
    let lines = Lines::new(read, max.limits.message.message_len_max);
    // Nobody cancels anything here: the queue for that has no sender.
    let (_, none) = mpsc::channel(1);
    let talk = async {
        let ended = converse(&*transport, lines, caller, &outbox, max).await;
        if timeout(max.drain_timeout, outbox.written()).await.is_err() {
            debug!("the client has not read all that was said");
        }
        ended
    };
    let ended = tokio::select! {
        biased;
        ended = talk => ended,
        written = outbox.run(none) => {
            debug!(?written, "the client is gone");
            Ok(())
        }
    };
    outbox.close();
    ended
}

async fn converse<R: AsyncRead + Send + Unpin>(
    transport: &dyn Transport,
    mut lines: Lines<R>,
    caller: Caller,
    outbox: &Outbox,
    max: ServeMax,
) -> Result<(), TransportError> {
    let talk = Talk::new(transport, caller, outbox, max);
    let ended = talk.run(&mut lines).await;
    talk.close().await;
    ended
}

/// Tells the client why there is no session, in answer to the first thing it asks.
async fn refuse_first<R: AsyncRead + Unpin>(
    lines: &mut Lines<R>,
    outbox: &Outbox,
    max: &ServeMax,
    (error, first): (&TransportError, Frame),
) {
    let mut said = Some(first);
    loop {
        if let Some(Frame::One(asked)) = &said
            && asked.kind() == Kind::Request
            && let Some(answer) = refusal(asked.id(), error)
        {
            if outbox.say(&answer, Haste::Now).await.is_err() {
                debug!("the client is gone");
            }
            return;
        }
        said = match lines.next().await {
            Ok(Some(Line::Whole(line))) => Frame::parse_within(line, &max.limits.message).ok(),
            Ok(Some(Line::TooLong(_))) => None,
            Ok(None) | Err(_) => return,
        };
    }
}

/// What ends a session whose client does not read.
fn unread(max: &ServeMax) -> TransportError {
    let patience = max.limits.write_timeout.as_secs_f32();
    let what = format!("the client has not read what it was sent for {patience} s");
    TransportError::new(ErrorKind::Timeout, what)
}

#[cfg(test)]
mod modern_tests;
#[cfg(test)]
mod tests;
