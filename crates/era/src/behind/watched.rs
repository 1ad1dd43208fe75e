//! Sessions of the server's own, watched for signs that it is of another era now.

use std::{
    fmt,
    sync::{
        Arc, Mutex, OnceLock, PoisonError, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::{FutureExt, future::BoxFuture};
use mcp_jsonrpc::{
    Era, Id, Kind, Message, RpcError,
    modern::{self, Discovered},
    transport::{
        Caller, Endpoint, ErrorKind, EventId, EventStream, Exchange, Opening, Reply, Session,
        TransportError,
    },
};
use tokio::time::Instant;

use super::{Inner, Verdict, discover, unwritten};

/// The longest that what was discovered is believed, whatever the server says.
const TTL_MAX: Duration = Duration::from_secs(24 * 3600);

/// A session with a handshake: it is the server's own from its first answer on.
pub(super) struct Watched {
    session: Arc<dyn Session>,
    /// How it was opened, where the server was asked for its era in it before.
    asked: Option<Opening>,
    /// What took its place.
    instead: OnceLock<Arc<dyn Session>>,
    settled: Arc<AtomicBool>,
    home: Weak<Inner>,
}

/// The way to a server that keeps no sessions.
pub(super) struct Wire {
    pub(super) session: Arc<dyn Session>,
    /// What it says about itself, and until when that holds.
    discovered: Mutex<(Message, Instant)>,
    over: AtomicBool,
    /// How many have it; once none has, nobody takes it again.
    holders: AtomicUsize,
    home: Weak<Inner>,
}

/// A share in a wire: with the last one it ends.
pub(super) struct Held {
    wire: Arc<Wire>,
    is_released: AtomicBool,
}

// === impl Watched ===

impl Watched {
    pub(super) fn new(
        session: Arc<dyn Session>,
        asked: Option<Opening>,
        home: &Arc<Inner>,
    ) -> Self {
        let (settled, home) = (Arc::default(), Arc::downgrade(home));
        Self { session, asked, instead: OnceLock::new(), settled, home }
    }

    fn session(&self) -> &Arc<dyn Session> {
        self.instead.get().unwrap_or(&self.session)
    }

    /// Greets another process: this one was slow to answer what it was asked before, has answered
    /// by now that it needs no handshake, and takes none after that (as servers on the SDK for
    /// Python do).  None where there is no other, or that one does not take it either.
    async fn greet_another(&self, home: &Inner, exchange: Exchange) -> Option<Reply> {
        let opening = self.asked.clone()?;
        let another = home.transport.open(opening).await.ok()?;
        let answer = ask(&*another, exchange).await;
        match answer {
            Ok(answer) if answer.kind() == Kind::Response && self.instead.get().is_none() => {
                let first = Arc::clone(&self.session);
                home.tasks.spawn(async move { first.close().await });
                // What it said before it answered went with it; nobody was to hear that.
                self.instead.set(another).ok()?;
                home.decide(Verdict::Both);
                Some(Reply::Single(answer))
            }
            _ => {
                another.close().await;
                None
            }
        }
    }
}

impl Session for Watched {
    fn endpoint(&self) -> Endpoint {
        self.session().endpoint()
    }

    fn send(&self, exchange: Exchange) -> BoxFuture<'_, Result<Reply, TransportError>> {
        if self.settled.load(Ordering::Relaxed) || exchange.message.method() != Some("initialize") {
            return self.session().send(exchange);
        }
        async move {
            let again = exchange.clone();
            let said = self.session().send(exchange).await;
            let is_other = match &said {
                Ok(Reply::Single(answer)) if answer.kind() == Kind::Error => {
                    let code = answer.read::<RpcError>().map_or(0, |error| error.code);
                    matches!(code, RpcError::UNSUPPORTED_VERSION | RpcError::METHOD_NOT_FOUND)
                }
                Ok(_) => {
                    self.settled.store(true, Ordering::Relaxed);
                    false
                }
                Err(error) => matches!(error.kind(), ErrorKind::Status(400 | 404 | 405)),
            };
            if let Some(home) = self.home.upgrade().filter(|_| is_other) {
                if let Some(reply) = self.greet_another(&home, again).await {
                    self.settled.store(true, Ordering::Relaxed);
                    return Ok(reply);
                }
                home.forget(Era::Legacy, "it refuses `initialize`");
            }
            said
        }
        .boxed()
    }

    fn listen(&self, after: Option<EventId>) -> BoxFuture<'_, Result<EventStream, TransportError>> {
        self.session().listen(after)
    }

    fn keep(&self, of: &[Id], events: EventStream) -> EventStream {
        self.session().keep(of, events)
    }

    fn is_open(&self) -> bool {
        self.session().is_open()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.session().close()
    }
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.session().fmt(f)
    }
}

// === impl Wire ===

impl Wire {
    /// One that whoever opened it has.
    pub(super) fn begin(session: Arc<dyn Session>, discovered: Message, home: &Inner) -> Held {
        let until = Instant::now() + ttl(&discovered);
        let discovered = Mutex::new((discovered, until));
        let (over, holders) = (AtomicBool::new(false), AtomicUsize::new(1));
        let home = Weak::clone(&home.me);
        let wire = Arc::new(Self { session, discovered, over, holders, home });
        Held { wire, is_released: AtomicBool::new(false) }
    }

    /// One more share, unless the last one was given up.
    pub(super) fn hold(self: &Arc<Self>) -> Option<Held> {
        let one_more = |holders: usize| (0 < holders).then_some(holders + 1);
        self.holders.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more).ok()?;
        Some(Held { wire: Arc::clone(self), is_released: AtomicBool::new(false) })
    }

    /// What the server says about itself: as it said it, while that holds.
    pub(super) async fn discovered(&self, caller: &Caller) -> Result<Message, TransportError> {
        let (known, until) = self.known();
        if Instant::now() < until {
            return Ok(known);
        }
        match ask(self, discover(caller)?).await {
            Ok(answer) if answer.read::<Discovered<'_>>().is_ok() => {
                let until = Instant::now() + ttl(&answer);
                let mut discovered = self.discovered.lock().unwrap_or_else(PoisonError::into_inner);
                *discovered = (answer.clone().detached(), until);
                Ok(answer)
            }
            // What it said last is better than nothing: it may be busy.
            Ok(_) => Ok(known),
            Err(error) if *error.kind() == ErrorKind::Timeout => Ok(known),
            Err(error) => Err(error),
        }
    }

    /// It is of another era now.
    fn is_other(&self) {
        self.over.store(true, Ordering::Release);
        if let Some(home) = self.home.upgrade() {
            home.forget(Era::Modern, "it does not take a request of 2026-07-28");
        }
    }

    /// What a client hears of an error that may be about the gateway's own part of its request:
    /// never that, for no client can do anything about it.
    fn refused(&self, answer: Message) -> Result<Message, TransportError> {
        let Ok(error) = answer.read::<RpcError>() else { return Ok(answer) };
        match error.code {
            RpcError::UNSUPPORTED_VERSION => {
                self.is_other();
                let kind = ErrorKind::Unavailable { retry_after: None };
                let what = "it does not speak 2026-07-28 any more";
                // Nothing was done: whoever sends it again finds out what it speaks.
                Err(TransportError::new(kind, what).unsent())
            }
            RpcError::HEADER_MISMATCH => {
                let said: String = error.message.chars().take(200).collect();
                let words =
                    format!("the server did not take what the gateway said of a request: {said}");
                let error = RpcError::new(RpcError::INTERNAL, words);
                Message::error(answer.id(), &error).map_err(unwritten)
            }
            _ => Ok(answer),
        }
    }

    fn known(&self) -> (Message, Instant) {
        self.discovered.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Session for Wire {
    fn endpoint(&self) -> Endpoint {
        self.session.endpoint()
    }

    fn send(&self, exchange: Exchange) -> BoxFuture<'_, Result<Reply, TransportError>> {
        let discovers = exchange.message.method() == Some(modern::DISCOVER);
        async move {
            let said = self.session.send(exchange).await;
            match said {
                Ok(Reply::Single(answer)) if answer.kind() == Kind::Error => {
                    if discovers {
                        self.is_other();
                        return Ok(Reply::Single(answer));
                    }
                    self.refused(answer).map(Reply::Single)
                }
                Err(error) => {
                    let is_other = matches!(
                        error.kind(),
                        ErrorKind::Status(400 | 404 | 405) | ErrorKind::NoSession
                    );
                    if is_other {
                        self.is_other();
                    }
                    Err(error)
                }
                said => said,
            }
        }
        .boxed()
    }

    fn listen(&self, after: Option<EventId>) -> BoxFuture<'_, Result<EventStream, TransportError>> {
        self.session.listen(after)
    }

    fn is_open(&self) -> bool {
        !self.over.load(Ordering::Acquire)
            && 0 < self.holders.load(Ordering::Acquire)
            && self.session.is_open()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.over.store(true, Ordering::Release);
        self.session.close()
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").field("session", &self.session).finish_non_exhaustive()
    }
}

// === impl Held ===

impl Held {
    pub(super) fn downgrade(&self) -> Weak<Wire> {
        Arc::downgrade(&self.wire)
    }

    pub(super) fn wire(&self) -> &Arc<Wire> {
        &self.wire
    }

    /// Gives it up; whether it was the last.
    fn release(&self) -> bool {
        !self.is_released.swap(true, Ordering::AcqRel)
            && self.wire.holders.fetch_sub(1, Ordering::AcqRel) == 1
    }
}

impl std::ops::Deref for Held {
    type Target = Wire;

    fn deref(&self) -> &Wire {
        &self.wire
    }
}

impl Session for Held {
    fn endpoint(&self) -> Endpoint {
        self.wire.endpoint()
    }

    fn send(&self, exchange: Exchange) -> BoxFuture<'_, Result<Reply, TransportError>> {
        self.wire.send(exchange)
    }

    fn listen(&self, after: Option<EventId>) -> BoxFuture<'_, Result<EventStream, TransportError>> {
        self.wire.listen(after)
    }

    fn is_open(&self) -> bool {
        !self.is_released.load(Ordering::Acquire) && self.wire.is_open()
    }

    /// Ends the wire where nobody else has it.
    fn close(&self) -> BoxFuture<'_, ()> {
        async {
            if self.release() {
                self.wire.close().await;
            }
        }
        .boxed()
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.wire.fmt(f)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.release();
    }
}

fn ttl(discovered: &Message) -> Duration {
    let said: Option<Discovered<'_>> = discovered.read().ok();
    let ms = said.and_then(|said| said.ttl_ms).filter(|ms| ms.is_finite() && 0.0 < *ms);
    Duration::from_millis(ms.unwrap_or_default() as u64).min(TTL_MAX)
}

/// Asks, and waits for the answer; what comes before it is for nobody.
pub(super) async fn ask(
    session: &dyn Session,
    exchange: Exchange,
) -> Result<Message, TransportError> {
    session.send(exchange).await?.answer(drop).await
}
