//! A session over one pair of byte streams: who asked what, what goes out, and what came in.

use std::{
    io,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use mcp_jsonrpc::{
    Frame, Kind, Message, ParseError, RpcError, Salvaged,
    transport::{
        ErrorKind, EventStream, Exchange, Reply, TransportError, switchboard::Switchboard,
    },
};
use tokio::{io::AsyncRead, sync::mpsc};

use crate::{
    Limits,
    line::{Line, Lines},
    noise::Noise,
    outbox::{Haste, Outbox, Said, Unsaid},
};

/// A message longer than this is read where it holds nobody up.
const READ_HERE_LEN_MAX: usize = 1 << 20;

/// What a session says of its end: to those who wait (`true`), and to those who come later.
pub(crate) type Reason = dyn Fn(bool) -> TransportError + Send + Sync;

/// One peer, and all who talk to it.
#[derive(Debug)]
pub(crate) struct Wire {
    /// The server's name.
    name: Arc<str>,
    board: Switchboard,
    pub(crate) outbox: Outbox,
    limits: Limits,
    ended: OnceLock<Ended>,
}

struct Ended(Arc<Reason>);

impl std::fmt::Debug for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ended")
    }
}

impl Wire {
    /// Nobody has said anything yet; cancellations come down the receiver, for the outbox.
    pub(crate) fn new(
        name: Arc<str>,
        outbox: Outbox,
        limits: Limits,
    ) -> (Self, mpsc::Receiver<Box<Message>>) {
        let (board, cancellations) = Switchboard::new(limits.board);
        (Self { name, board, outbox, limits, ended: OnceLock::new() }, cancellations)
    }

    /// Carries one message to the peer and waits for what it says to that.
    pub(crate) async fn send(&self, exchange: Exchange) -> Result<Reply, TransportError> {
        if exchange.message.kind() == Kind::Request {
            return self.ask(&exchange.message).await;
        }
        let Some(message) = self.board.tell(exchange.message) else {
            return Ok(Reply::Accepted);
        };
        if let Some(Ended(reason)) = self.ended.get() {
            return Err(reason(false).unsent());
        }
        match self.outbox.say(&message, Haste::Now).await {
            Ok(_) => Ok(Reply::Accepted),
            Err(Unsaid::Timeout) => Err(self.unread()),
            Err(Unsaid::Closed) => Err(match self.ended.get() {
                Some(Ended(reason)) => reason(false).unsent(),
                None => self.error(ErrorKind::Closed, "the server takes no more messages"),
            }),
        }
    }

    async fn ask(&self, message: &Message) -> Result<Reply, TransportError> {
        // Before the request is entered: one that was never sent need not be cancelled.
        if self.outbox.room(message.as_bytes().len()).await == Err(Unsaid::Timeout) {
            return Err(self.unread());
        }
        let (message, asked) = self.board.ask(message).map_err(|error| self.named(error))?;
        let haste = if asked.is_alone() { Haste::Now } else { Haste::Gathered };
        match self.outbox.say(&message, haste).await {
            // Nothing is written to a peer that is about to be found dead: the reason comes soon.
            Ok(Said::Written) | Err(Unsaid::Closed) => {
                asked.reply().await.map_err(|error| self.named(error))
            }
            Ok(Said::Queued(number, since)) => tokio::select! {
                biased;
                reply = asked.reply() => reply.map_err(|error| self.named(error)),
                () = self.outbox.overdue(number, since) => Err(self.unread()),
            },
            Err(Unsaid::Timeout) => Err(self.unread()),
        }
    }

    /// What the peer says unasked.
    pub(crate) fn listen(&self) -> EventStream {
        self.board.listen()
    }

    /// Whether the peer has not hung up.
    pub(crate) fn is_open(&self) -> bool {
        self.ended.get().is_none() && self.board.is_open()
    }

    /// How many requests wait for their answer.
    pub(crate) fn in_flight(&self) -> usize {
        self.board.in_flight()
    }

    /// How much the peer said for nobody, while it was spoken to without a handshake.
    pub(crate) fn unclaimed(&self) -> u64 {
        self.board.unclaimed()
    }

    /// Tells everybody that it is over, and why.
    pub(crate) fn hang_up(&self, reason: Arc<Reason>) {
        let late = AtomicBool::new(false);
        if self.ended.set(Ended(Arc::clone(&reason))).is_err() {
            return;
        }
        let late = Arc::new(late);
        let told = Arc::clone(&late);
        self.board.hang_up(move || reason(!told.load(Ordering::Relaxed)));
        late.store(true, Ordering::Relaxed);
    }

    /// Passes on what the peer says, until it stops.  Dropping the future loses at most the
    /// message that is being passed on.
    pub(crate) async fn hear<R: AsyncRead + Unpin>(
        &self,
        lines: &mut Lines<R>,
        noise: &mut Noise,
    ) -> io::Result<()> {
        while let Some(line) = lines.next().await? {
            match line {
                Line::Whole(line) if READ_HERE_LEN_MAX < line.len() => {
                    let (board, limits) = (self.board.clone(), self.limits.message);
                    let taken = tokio::task::spawn_blocking(move || take(&board, &limits, line));
                    match taken.await {
                        Ok(Ok(())) => (),
                        Ok(Err((error, line))) => self.refuse(&error, &line, noise),
                        Err(error) => return Err(io::Error::other(error)),
                    }
                }
                Line::Whole(line) => {
                    if let Err((error, line)) = take(&self.board, &self.limits.message, line) {
                        self.refuse(&error, &line, noise);
                    }
                }
                Line::TooLong(it) => {
                    let max = self.limits.message.message_len_max;
                    let what = format!(
                        "a message of {} bytes; at most {max} are taken (`messageLenMax`)",
                        it.len
                    );
                    self.give_up(&what, &Salvaged::from_ends(&it.head, &it.tail), noise);
                }
            }
        }
        Ok(())
    }

    /// A line that is no message: noise, or something that somebody may be waiting for.
    fn refuse(&self, error: &ParseError, line: &[u8], noise: &mut Noise) {
        if line.starts_with(b"{\"") && memchr::memmem::find(line, b"\"jsonrpc\"").is_some() {
            self.give_up(&error.to_string(), &Salvaged::from_line(line), noise);
        } else {
            noise.heard(line);
        }
    }

    /// Tells whoever waits for it that a message of the peer's was unreadable.
    fn give_up(&self, what: &str, salvaged: &Salvaged, noise: &mut Noise) {
        noise.broken(what, salvaged.id.as_ref());
        let Some(id) = salvaged.id.as_ref().filter(|_| !salvaged.asks) else { return };
        let said = format!("server `{}`: its answer cannot be read: {what}", self.name);
        if let Ok(answer) = Message::error(Some(id), &RpcError::new(RpcError::INTERNAL, said)) {
            self.board.dispatch(answer);
        }
    }

    fn unread(&self) -> TransportError {
        let (waiting, timeout) = (self.outbox.waiting(), self.outbox.timeout());
        let what = format!(
            "it has not read its input for {} s ({waiting} messages wait)",
            timeout.as_secs_f32()
        );
        self.error(ErrorKind::Timeout, what).hint("it may be stuck, or busy with something long")
    }

    fn error(
        &self,
        kind: ErrorKind,
        what: impl Into<std::borrow::Cow<'static, str>>,
    ) -> TransportError {
        self.named(TransportError::new(kind, what))
    }

    fn named(&self, error: TransportError) -> TransportError {
        error.of(&self.name)
    }
}

/// Reads a line and passes its messages on; hands back what is none.
fn take(
    board: &Switchboard,
    limits: &mcp_jsonrpc::Limits,
    line: Bytes,
) -> Result<(), (ParseError, Bytes)> {
    match Frame::parse_within(line.clone(), limits) {
        Ok(Frame::One(message)) => board.dispatch(message),
        Ok(Frame::Batch(messages)) => messages.into_iter().for_each(|it| board.dispatch(it)),
        Err(error) => return Err((error, line)),
    }
    Ok(())
}
