//! One client, and its session if it begins with a handshake: what is asked, what is answered, and
//! in which order.

use std::{
    io,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::{BufMut, Bytes, BytesMut};
use futures::{
    FutureExt, StreamExt,
    future::{self, BoxFuture},
    stream::FuturesUnordered,
};
use mcp_jsonrpc::{
    Era, Frame, Id, Kind, Message, ParseError, ProtocolVersion, RpcError, Salvaged, batch,
    params::Initialized,
    transport::{
        Caller, ErrorKind, Event, EventId, EventStream, Exchange, Opening, Reply, Session,
        Transport, TransportError,
    },
};
use memchr::memmem;
use tokio::{
    io::AsyncRead,
    sync::Notify,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::{ServeMax, era::Pin, modern::UnderWay, refuse_first, unread};
use crate::{
    line::{Line, Lines},
    outbox::{Haste, Outbox, Unsaid},
};

/// How long to wait at least before listening again.
const LISTEN_AGAIN_MIN: Duration = Duration::from_secs(1);

/// A conversation with one client.
pub(super) struct Talk<'a> {
    pub(super) transport: &'a dyn Transport,
    pub(super) caller: Caller,
    pub(super) era: Pin,
    /// Of a client that begins with a handshake.
    session: OnceLock<Arc<dyn Session>>,
    /// Of a client that does not.
    pub(super) under_way: UnderWay,
    outbox: &'a Outbox,
    max: ServeMax,
    in_flight: AtomicUsize,
    /// Whether a notification is on its way that nothing may overtake.
    held: AtomicBool,
    released: Notify,
    /// What the client was told to speak.
    version: OnceLock<ProtocolVersion>,
    /// Told with each answer: what cannot be listened to before the handshake may be after it.
    answered: Notify,
    /// When the client has not read for too long.
    stuck: CancellationToken,
}

impl<'a> Talk<'a> {
    pub(super) fn new(
        transport: &'a dyn Transport,
        caller: Caller,
        outbox: &'a Outbox,
        max: ServeMax,
    ) -> Self {
        Self {
            transport,
            caller,
            era: Pin::default(),
            session: OnceLock::new(),
            under_way: UnderWay::default(),
            outbox,
            max,
            in_flight: AtomicUsize::new(0),
            held: AtomicBool::new(false),
            released: Notify::new(),
            version: OnceLock::new(),
            answered: Notify::new(),
            stuck: CancellationToken::new(),
        }
    }

    /// Talks until either side ends.
    pub(super) async fn run<R>(&self, lines: &mut Lines<R>) -> Result<(), TransportError>
    where
        R: AsyncRead + Send + Unpin,
    {
        // What is new is polled in the order in which it came, which is the order it is sent in.
        let mut calls = FuturesUnordered::new();
        let mut listening: BoxFuture<'_, ()> = future::pending().boxed();
        let ended = loop {
            let reads = !self.held.load(Ordering::Relaxed) && self.has_room(calls.len());
            tokio::select! {
                line = lines.next(), if reads => match line {
                    Ok(Some(line)) => match self.read(line) {
                        Ok(frame) => {
                            let era = self.era.era_of(&frame);
                            if era == Era::Legacy && self.session.get().is_none() {
                                if let Err(error) = self.begin().await {
                                    refuse_first(lines, self.outbox, &self.max, (&error, frame))
                                        .await;
                                    return Err(error);
                                }
                                listening = self.listen().boxed();
                            }
                            calls.push(self.take(frame, era));
                        }
                        Err(refused) => calls.push(refused),
                    },
                    Ok(None) => break Ok(()),
                    Err(error) => break Err(unreadable(error)),
                },
                Some(()) = calls.next() => (),
                () = self.released.notified() => (),
                () = &mut listening => {
                    let what = "the session behind has ended";
                    break Err(TransportError::new(ErrorKind::Closed, what));
                }
                () = self.stuck.cancelled() => return Err(unread(&self.max)),
            }
        };
        self.under_way.end_listens();
        let listens = ended.is_ok();
        let drain = async {
            loop {
                tokio::select! {
                    done = calls.next() => if done.is_none() { break },
                    () = &mut listening, if listens => break,
                }
            }
        };
        if timeout(self.max.drain_timeout, drain).await.is_err() {
            warn!(in_flight = calls.len(), "the client has left before its answers came");
        }
        ended
    }

    /// Refusals take their place among the calls, too, until the client reads them.
    fn has_room(&self, calls: usize) -> bool {
        calls < self.max.in_flight_max.saturating_mul(2)
    }

    /// Opens the session of a client that begins with a handshake.
    async fn begin(&self) -> Result<(), TransportError> {
        let session = self.transport.open(self.opening()).await?;
        self.session.get_or_init(|| session);
        Ok(())
    }

    pub(super) fn opening(&self) -> Opening {
        Opening { caller: self.caller.clone(), version: None, at: Arc::from("stdio:") }
    }

    /// Ends the session, if there is one.
    pub(super) async fn close(&self) {
        if let Some(session) = self.session.get() {
            session.close().await;
        }
    }

    fn session(&self) -> Result<&dyn Session, TransportError> {
        let closed = || TransportError::new(ErrorKind::Closed, "there is no session");
        self.session.get().map(|session| &**session).ok_or_else(closed)
    }

    /// What a line says; what to do about it where it says nothing.
    fn read(&self, line: Line) -> Result<Frame, BoxFuture<'_, ()>> {
        let line = match line {
            Line::Whole(line) => line,
            Line::TooLong(it) => {
                let max = self.max.limits.message.message_len_max;
                let len = usize::try_from(it.len).unwrap_or(usize::MAX);
                let found = Salvaged::from_ends(&it.head, &it.tail);
                let id = found.id.filter(|_| found.asks);
                return Err(self.refuse(&ParseError::TooLarge { len, max }, id));
            }
        };
        let read = Frame::parse_within(line.clone(), &self.max.limits.message);
        read.map_err(|error| self.refuse(&error, id_of(&line)))
    }

    /// What to do about it.
    fn take(&self, frame: Frame, era: Era) -> BoxFuture<'_, ()> {
        match (frame, era) {
            (Frame::One(message), Era::Modern) => self.take_modern(message),
            (Frame::Batch(_), Era::Modern) => {
                let what = "2026-07-28 has no batches: one message a line";
                self.refuse(&ParseError::Envelope(what), None)
            }
            (Frame::One(message), Era::Legacy) if message.kind() == Kind::Request => {
                async { self.say(self.answer(message).await).await }.boxed()
            }
            (Frame::One(message), Era::Legacy) => self.tell_in_order(message),
            (Frame::Batch(messages), Era::Legacy) => self.batch(messages).boxed(),
        }
    }

    fn refuse(&self, error: &ParseError, id: Option<Id>) -> BoxFuture<'_, ()> {
        info!(%error, id = ?id, "refused a line");
        let error = RpcError::new(error.code(), error.to_string());
        let answer = Message::error(id.as_ref(), &error).ok();
        async { self.say(answer).await }.boxed()
    }

    /// Passes on what needs no answer; nothing is read meanwhile, for a while.
    fn tell_in_order(&self, message: Message) -> BoxFuture<'_, ()> {
        self.held.store(true, Ordering::Relaxed);
        let tell = async {
            let mut telling = std::pin::pin!(self.tell(message));
            let in_order = timeout(self.max.order_timeout, &mut telling).await;
            self.held.store(false, Ordering::Relaxed);
            self.released.notify_one();
            if in_order.is_err() {
                telling.await;
            }
        };
        tell.boxed()
    }

    async fn tell(&self, message: Message) {
        let exchange = Exchange::new(message, self.caller.clone());
        let about = exchange.message.clone();
        let told = async { self.session()?.send(exchange).await };
        if let Err(error) = told.await {
            // A notification has no answer that could say so.
            warn!(message = ?about, %error, "not delivered");
        }
    }

    /// Answers the requests of a batch with an array of their answers (2025-03-26, JSON-RPC §6).
    ///
    /// One that may not be sent has nothing done about it; whoever waits for an answer gets it.
    async fn batch(&self, messages: Vec<Message>) {
        if let Some(words) = batch::objection(self.version.get().copied(), &messages) {
            info!(words, "refused a batch");
            let asked = messages.iter().filter(|message| message.kind() == Kind::Request);
            let ids: Vec<Option<&Id>> = asked.map(Message::id).collect();
            let error = RpcError::new(RpcError::INVALID_REQUEST, words);
            for id in if ids.is_empty() { vec![None] } else { ids } {
                self.say(Message::error(id, &error).ok()).await;
            }
            return;
        }
        let answers = messages.into_iter().map(async |message| match message.kind() {
            Kind::Request => self.answer(message).await,
            _ => {
                self.tell(message).await;
                None
            }
        });
        let answers: Vec<Message> = future::join_all(answers).await.into_iter().flatten().collect();
        if answers.is_empty() {
            return;
        }
        let mut line = BytesMut::new();
        for answer in &answers {
            line.put_u8(if line.is_empty() { b'[' } else { b',' });
            line.extend_from_slice(&answer.to_line());
        }
        line.put_u8(b']');
        self.say_line(line.freeze()).await;
    }

    /// The answer to a request; what leads up to it is said on the way.  None if the client has
    /// taken the request back.
    async fn answer(&self, request: Message) -> Option<Message> {
        let (id, method) = (request.id().cloned()?, request.method().map(str::to_owned));
        let begins = method.as_deref() == Some("initialize");
        let answer = self.report(&id, method.as_deref(), self.ask(request)).await?;
        if begins && let Ok(began) = answer.read::<Initialized<'_>>() {
            began.version().parse().map(|it| self.version.get_or_init(|| it)).ok();
        }
        Some(answer)
    }

    /// What comes of a request, and a line of log that says so.
    pub(super) async fn report(
        &self,
        id: &Id,
        method: Option<&str>,
        asking: impl Future<Output = Result<Message, TransportError>>,
    ) -> Option<Message> {
        let since = Instant::now();
        let answer = asking.await;
        let ms = since.elapsed().as_millis();
        let id_shown = tracing::field::display(id);
        match answer {
            Ok(answer) => {
                info!(method, id = id_shown, ms, kind = ?answer.kind(), "answered");
                self.answered.notify_waiters();
                Some(answer)
            }
            Err(error) if error.kind() == &ErrorKind::Cancelled => {
                info!(method, id = id_shown, ms, "cancelled");
                None
            }
            Err(error) => {
                warn!(method, id = id_shown, ms, %error, "failed");
                refusal(Some(id), &error)
            }
        }
    }

    async fn ask(&self, request: Message) -> Result<Message, TransportError> {
        let _place = Place::take(self)?;
        let exchange = Exchange::new(request, self.caller.clone());
        match self.session()?.send(exchange).await? {
            Reply::Single(answer) => Ok(answer),
            Reply::Stream(events) => self.relay(events, Era::Legacy).await,
            Reply::Accepted => Err(unanswered()),
        }
    }

    /// Says what leads up to an answer.
    pub(super) async fn relay(
        &self,
        mut events: EventStream,
        era: Era,
    ) -> Result<Message, TransportError> {
        while let Some(event) = events.next().await {
            match event? {
                Event::Message { message, .. } if message.is_answer() => return Ok(message),
                Event::Message { message, .. }
                    if era == Era::Modern && message.kind() == Kind::Request =>
                {
                    warn!(?message, "a request to a client that is asked nothing: dropped");
                }
                Event::Message { message, .. } => self.say(Some(message)).await,
                Event::Pause { .. } => (),
            }
        }
        Err(TransportError::new(ErrorKind::Closed, "it ended without an answer"))
    }

    /// Says what the session says unasked; returns when that has ended for good.
    async fn listen(&self) {
        let mut after = None;
        let mut wait = LISTEN_AGAIN_MIN;
        loop {
            let Ok(session) = self.session() else { return future::pending().await };
            match session.listen(after.clone()).await {
                Ok(events) => {
                    if self.overhear(events, &mut after, &mut wait).await {
                        wait = LISTEN_AGAIN_MIN;
                    }
                }
                Err(error) if error.kind() == &ErrorKind::Unsupported => {
                    return future::pending().await;
                }
                Err(error) => debug!(%error, "cannot listen"),
            }
            if !session.is_open() {
                return;
            }
            let again = wait.min(self.max.listen_again_max);
            tokio::select! {
                () = sleep(again) => wait = again * 2,
                // There may be something to listen to now: but not at every answer.
                () = self.answered.notified() => sleep(LISTEN_AGAIN_MIN / 20).await,
            }
        }
    }

    /// Whether anything was heard.
    async fn overhear(
        &self,
        mut events: EventStream,
        after: &mut Option<EventId>,
        wait: &mut Duration,
    ) -> bool {
        let mut heard = false;
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Message { id, message }) => {
                    heard = true;
                    *after = id.or_else(|| after.take());
                    self.say(Some(message)).await;
                }
                Ok(Event::Pause { id, retry }) => {
                    *after = id.or_else(|| after.take());
                    *wait = retry.unwrap_or(*wait);
                }
                Err(error) => {
                    debug!(%error, "nothing more to hear");
                    break;
                }
            }
        }
        heard
    }

    pub(super) async fn say(&self, message: Option<Message>) {
        if let Some(message) = message {
            self.say_line(message.to_line()).await;
        }
    }

    async fn say_line(&self, line: Bytes) {
        // A client that is gone is found so by whoever writes.
        if self.outbox.say_line(line, Haste::Now).await == Err(Unsaid::Timeout) {
            self.stuck.cancel();
        }
    }
}

/// A place among the requests under way.
pub(super) struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    pub(super) fn take(talk: &'a Talk<'_>) -> Result<Self, TransportError> {
        let (count, max) = (&talk.in_flight, talk.max.in_flight_max);
        let more = |count| (count < max).then_some(count + 1);
        match count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more) {
            Ok(_) => Ok(Self(count)),
            Err(_) => Err(TransportError::new(ErrorKind::Exhausted, "too many requests at once")),
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What the client is told of an error.
pub(super) fn refusal(id: Option<&Id>, error: &TransportError) -> Option<Message> {
    let code = match error.kind() {
        ErrorKind::Invalid(code) => *code,
        _ => RpcError::INTERNAL,
    };
    Message::error(id, &RpcError::new(code, error.said().to_string())).ok()
}

/// The id under which a malformed line is refused: none of what may be an answer, for that id is
/// not one of the client's own.
fn id_of(line: &[u8]) -> Option<Id> {
    let found = Salvaged::from_line(line);
    let answers = ["\"result\"", "\"error\""];
    if !found.asks && answers.iter().any(|it| memmem::find(line, it.as_bytes()).is_some()) {
        return None;
    }
    Message::salvage_id(line).or(found.id)
}

pub(super) fn unanswered() -> TransportError {
    let what = "the request was taken, and no answer will come";
    TransportError::new(ErrorKind::Protocol, what)
}

fn unreadable(error: io::Error) -> TransportError {
    TransportError::new(ErrorKind::Closed, "the client cannot be read").because(error)
}
