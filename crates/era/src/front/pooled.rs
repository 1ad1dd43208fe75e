//! One session with a server that has a handshake, kept for many requests.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use futures::StreamExt;
use mcp_jsonrpc::{
    Id, Kind, Message, ProtocolVersion,
    params::Initialized,
    transport::{ErrorKind, Event, Exchange, Inbox, Opening, Reply, Session, TransportError},
};
use serde::{Deserialize, Serialize};
use serde_json::{json, value::RawValue};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::{
    FrontOptions, Inner,
    listen::Hearer,
    pool::{Seat, Who},
    task::TaskTools,
    wants::{Can, Level},
};

/// How long after a call was abandoned its server may still ask because of it.
const LATE_MAX: std::time::Duration = std::time::Duration::from_secs(60);

/// How long what a server calls itself may be to be told whole with each of its results.
const INFO_LEN_MAX: usize = 1024;

/// One session, and what runs in it.
pub(super) struct Pooled {
    pub(super) session: Arc<dyn Session>,
    pub(super) who: Who,
    pub(super) can: Can,
    pub(super) version: ProtocolVersion,
    pub(super) known: Arc<Known>,
    pub(super) front: Weak<Inner>,
    pub(super) opened: Instant,
    pub(super) state: Mutex<State>,
    /// The level that the server was told; held while it is told another.
    level: tokio::sync::Mutex<Option<Level>>,
    /// How many want to hear of each resource; held while the server is told.
    pub(super) subscribed: tokio::sync::Mutex<HashMap<Box<str>, usize>>,
    /// Which tools can be called as tasks alone.
    pub(super) task_tools: TaskTools,
    /// Cancelled when it is over.
    pub(super) over: CancellationToken,
    /// Given up when it is closed.
    seat: Mutex<Option<Seat>>,
}

/// What a server said of itself at `initialize`.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) answer: Message,
    pub(super) server_info: Option<Box<RawValue>>,
    pub(super) declares: Declares,
}

/// What a server can tell of.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Declares {
    pub(super) logging: bool,
    pub(super) tools_changed: bool,
    pub(super) prompts_changed: bool,
    pub(super) resources_changed: bool,
    pub(super) subscribe: bool,
    /// Calls of tools may be tasks (2025-11-25).
    pub(super) task_calls: bool,
}

pub(super) struct State {
    last: i64,
    pub(super) calls: HashMap<i64, Running>,
    /// Until then a call that was abandoned may be the cause of a question.
    pub(super) late_until: Option<Instant>,
    /// `roots/list` that waits for somebody who can be asked.
    pub(super) held: Option<(Message, Instant)>,
    /// What a client answered to it, and when.
    pub(super) roots: Option<(Box<RawValue>, Instant)>,
    pub(super) hearers: Vec<Arc<Hearer>>,
    idle_since: Instant,
    retired: bool,
    /// Until then a log can have been for a request that was answered.
    pub(super) logs_until: Option<Instant>,
}

/// A request that runs.
pub(super) struct Running {
    /// What is said to it from elsewhere than its own reply.
    pub(super) inbox: Arc<Inbox>,
    /// Whether it can be answered with questions.
    pub(super) parks: bool,
    pub(super) level: Option<Level>,
}

/// What a request wants of the session that carries it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    /// It can be answered with questions.
    pub(super) parks: bool,
    /// From which level on its client wants to hear of the log.
    pub(super) level: Option<Level>,
    /// No other that can be answered with questions is to run beside it.
    pub(super) sole: bool,
}

/// One request's place in a session.  If it was sent and not answered when this is dropped, the
/// server is told that nobody waits any more.
pub(super) struct Place {
    pub(super) pooled: Arc<Pooled>,
    pub(super) id: i64,
    pub(super) inbox: Arc<Inbox>,
    parks: bool,
    pub(super) sent: bool,
    pub(super) answered: bool,
    /// The task that the server has begun for it, as long as that runs.
    pub(super) task: Option<Box<str>>,
}

// === impl State ===

impl State {
    /// Whether a question may be for a request that was abandoned.
    pub(super) fn may_ask_late(&self) -> bool {
        self.late_until.is_some_and(|until| Instant::now() < until)
    }
}

// === impl Pooled ===

impl Pooled {
    /// Opens a session and shakes hands on behalf of clients that can do this.
    pub(super) async fn open(
        front: &Arc<Inner>,
        who: Who,
        can: Can,
        client: Option<Box<RawValue>>,
        seat: Seat,
    ) -> Result<Arc<Self>, TransportError> {
        let opening =
            Opening { caller: who.caller.clone(), version: None, at: Arc::clone(&who.at) };
        let session = front.behind.open(opening).await?;
        let (known, version) = greet(&session, &who, &can, client).await?;
        let now = Instant::now();
        let state = State {
            last: 0,
            calls: HashMap::new(),
            late_until: None,
            held: None,
            roots: None,
            hearers: Vec::new(),
            idle_since: now,
            retired: false,
            logs_until: None,
        };
        let pooled = Arc::new(Self {
            session,
            who,
            can,
            version,
            known: Arc::new(known),
            front: Arc::downgrade(front),
            opened: now,
            state: Mutex::new(state),
            level: tokio::sync::Mutex::default(),
            subscribed: tokio::sync::Mutex::default(),
            task_tools: TaskTools::default(),
            over: CancellationToken::new(),
            seat: Mutex::new(Some(seat)),
        });
        let events = pooled.session.listen(None).await?;
        let ear = Arc::clone(&pooled).hear(events);
        let stop = front.stop.clone();
        front.tasks.spawn(async move { stop.run_until_cancelled(ear).await });
        Ok(pooled)
    }

    /// Whether it can still carry a request, as far as is known.
    pub(super) fn is_open(&self) -> bool {
        !self.over.is_cancelled() && self.session.is_open()
    }

    /// Since when nothing runs in it and nobody listens.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        let state = self.state();
        (state.calls.is_empty() && state.hearers.is_empty()).then_some(state.idle_since)
    }

    /// Takes no more requests, if nothing runs in it.
    pub(super) fn retire(&self) -> bool {
        let mut state = self.state();
        let idle = state.calls.is_empty() && state.hearers.is_empty();
        state.retired |= idle;
        idle
    }

    /// It is of no use any more.
    pub(super) fn condemn(&self) {
        self.over.cancel();
    }

    pub(super) async fn close(&self) {
        self.over.cancel();
        let seat = self.seat.lock().unwrap_or_else(PoisonError::into_inner).take();
        if seat.is_some() {
            self.session.close().await;
        }
    }

    /// Takes a place for a request; none where there is none.
    pub(super) fn enter(self: &Arc<Self>, max: usize, wanted: Wanted) -> Option<Place> {
        let Wanted { parks, level, sole } = wanted;
        let front = self.front.upgrade()?;
        let mut state = self.state();
        if state.retired || max <= state.calls.len() || self.over.is_cancelled() {
            return None;
        }
        if sole && (state.calls.values().any(|call| call.parks) || state.may_ask_late()) {
            return None;
        }
        state.last += 1;
        let id = state.last;
        let inbox = Inbox::new(front.options().inbox);
        state.calls.insert(id, Running { inbox: Arc::clone(&inbox), parks, level });
        drop(state);
        let pooled = Arc::clone(self);
        Some(Place { pooled, id, inbox, parks, sent: false, answered: false, task: None })
    }

    /// An id for a further request of one that has a place.
    pub(super) fn another_id(&self) -> Id {
        let mut state = self.state();
        state.last += 1;
        Id::from(state.last)
    }

    /// Says something, and waits for no answer.
    pub(super) async fn tell(&self, message: Message) {
        let method = message.method().unwrap_or("(answer)").to_owned();
        if let Err(error) = self.session.send(self.exchange(message)).await {
            debug!(method, %error, "the server was not told");
        }
    }

    pub(super) fn exchange(&self, message: Message) -> Exchange {
        let mut exchange = Exchange::new(message, self.who.caller.clone());
        exchange.version = Some(self.version);
        exchange
    }

    /// Asks the server something of the gateway's own.
    pub(super) async fn ask(
        self: &Arc<Self>,
        method: &str,
        params: &serde_json::Value,
    ) -> Result<Message, TransportError> {
        let front = self.front.upgrade().ok_or_else(gone)?;
        let own = Wanted { parks: false, level: None, sole: false };
        let mut place = self.enter(usize::MAX, own).ok_or_else(gone)?;
        let request = Message::request(&Id::from(place.id), method, params).map_err(unwritten)?;
        place.sent = true;
        let answer = async {
            match self.session.send(self.exchange(request)).await? {
                Reply::Single(answer) => Ok(answer),
                Reply::Accepted => Err(TransportError::unanswered()),
                Reply::Stream(mut events) => loop {
                    match events.next().await {
                        Some(Ok(Event::Message { message, .. })) if message.is_answer() => {
                            break Ok(message);
                        }
                        Some(Ok(Event::Message { message, .. })) => {
                            self.route(&front, message).await;
                        }
                        Some(Ok(Event::Pause { .. })) => (),
                        Some(Err(error)) => break Err(error),
                        None => break Err(TransportError::unanswered()),
                    }
                },
            }
        };
        let answer = tokio::time::timeout(front.options().ask_timeout, answer).await;
        let answer = answer.map_err(|_| {
            TransportError::new(ErrorKind::Timeout, format!("it did not answer `{method}` in time"))
        })?;
        place.answered = true;
        answer
    }

    /// Sees to it that the server logs what a request wants to hear.
    pub(super) async fn raise(self: &Arc<Self>, wanted: Option<Level>) {
        let Some(wanted) = wanted.filter(|_| self.known.declares.logging) else { return };
        let mut level = self.level.lock().await;
        if level.is_some_and(|level| level <= wanted) {
            return;
        }
        *level = self.set_level(wanted).await.or(*level);
    }

    /// Lets the server log as little as can be, now that nobody wants to hear it.
    pub(super) async fn quieten(self: &Arc<Self>) {
        let Ok(mut level) = self.level.try_lock() else { return };
        if level.is_some_and(|level| level < Level::LEAST) {
            *level = self.set_level(Level::LEAST).await.or(*level);
        }
    }

    async fn set_level(self: &Arc<Self>, level: Level) -> Option<Level> {
        let answer = self.ask("logging/setLevel", &json!({ "level": level.name() })).await;
        match answer {
            Ok(answer) if answer.kind() == Kind::Response => Some(level),
            Ok(_) => None,
            Err(error) => {
                debug!(%error, "the server was not told what to log");
                None
            }
        }
    }

    /// Refuses `roots/list` that has waited for long enough.
    pub(super) async fn refuse_late(self: &Arc<Self>, options: &FrontOptions) {
        let late = {
            let mut state = self.state();
            state.held.take_if(|(_, since)| options.roots_hold_timeout <= since.elapsed())
        };
        if let (Some((question, _)), Some(front)) = (late, self.front.upgrade()) {
            self.refuse(&front, &question, "no request came that a client could be asked in").await;
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Pooled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pooled").field("version", &self.version).finish_non_exhaustive()
    }
}

// === impl Place ===

impl Drop for Place {
    fn drop(&mut self) {
        let task = self.task.take();
        let abandoned = self.sent && !self.answered || task.is_some();
        {
            let mut state = self.pooled.state();
            state.note_end(self.id, self.answered);
            let now = Instant::now();
            state.idle_since = now;
            if abandoned && self.parks {
                state.late_until = Some(now + LATE_MAX);
            }
        }
        let left = Pooled::left_in(&self.inbox);
        if (!abandoned && left.is_empty())
            || tokio::runtime::Handle::try_current().is_err()
            || !self.pooled.is_open()
        {
            return;
        }
        let Some(front) = self.pooled.front.upgrade() else { return };
        let params = json!({ "requestId": self.id, "reason": "its client does not wait any more" });
        let cancelled = Message::notification("notifications/cancelled", &params).ok();
        let pooled = Arc::clone(&self.pooled);
        front.clone().tasks.spawn(async move {
            for question in left {
                pooled.refuse(&front, &question, "the request it belongs to has ended").await;
            }
            match task {
                Some(task) => pooled.end_task(&task).await,
                None => {
                    if let Some(cancelled) = cancelled.filter(|_| abandoned) {
                        pooled.tell(cancelled).await;
                    }
                }
            }
        });
    }
}

async fn greet(
    session: &Arc<dyn Session>,
    who: &Who,
    can: &Can,
    client: Option<Box<RawValue>>,
) -> Result<(Known, ProtocolVersion), TransportError> {
    let capabilities: &RawValue =
        serde_json::from_str(&can.declared).map_err(|error| unwritten(error.into()))?;
    let ours = concat!(r#"{"name":"mcp-gateway","version":""#, env!("CARGO_PKG_VERSION"), "\"}");
    let client = client.as_deref().map_or("", RawValue::get);
    let client_info: &RawValue =
        serde_json::from_str(if client.starts_with('{') { client } else { ours })
            .map_err(|error| unwritten(error.into()))?;
    let protocol_version = ProtocolVersion::LATEST_LEGACY.as_str();
    let params = Greeting { protocol_version, capabilities, client_info };
    let request = Message::request(&Id::from(0), "initialize", &params).map_err(unwritten)?;
    let reply = session.send(Exchange::new(request, who.caller.clone())).await?;
    let answer = reply.answer(drop).await?;
    if answer.kind() == Kind::Error {
        let said: String = answer.body().unwrap_or_default().chars().take(512).collect();
        let kind = ErrorKind::Unavailable { retry_after: None };
        return Err(TransportError::new(kind, "it refused `initialize`").hint(said));
    }
    let (known, version) = Known::read(answer.detached())?;
    let initialized = Message::notification("notifications/initialized", &json!({}));
    let mut told = Exchange::new(initialized.map_err(unwritten)?, who.caller.clone());
    told.version = Some(version);
    session.send(told).await?;
    Ok((known, version))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Greeting<'a> {
    protocol_version: &'static str,
    capabilities: &'a RawValue,
    client_info: &'a RawValue,
}

// === impl Known ===

impl Known {
    fn read(answer: Message) -> Result<(Self, ProtocolVersion), TransportError> {
        #[derive(Deserialize)]
        struct Info<'a> {
            #[serde(borrow, default, rename = "serverInfo")]
            info: Option<&'a RawValue>,
        }
        let malformed = |error: mcp_jsonrpc::ParseError| {
            let what = "its answer to `initialize` cannot be read";
            TransportError::new(ErrorKind::Protocol, what).because(error)
        };
        let said: Initialized<'_> = answer.read().map_err(malformed)?;
        let version = said.version();
        let version = version.parse::<ProtocolVersion>().map_err(|_| {
            let asked: String = version.chars().take(32).collect();
            let what = format!("it wants to speak `{asked}`, which is no revision known here");
            TransportError::new(ErrorKind::Protocol, what)
        })?;
        let declares = said.capabilities.map(Declares::read).unwrap_or_default();
        let info: Info<'_> = answer.read().map_err(malformed)?;
        let server_info = info.info.and_then(short);
        Ok((Self { server_info, declares, answer: answer.clone() }, version))
    }
}

// === impl Declares ===

impl Declares {
    fn read(capabilities: &RawValue) -> Self {
        let said: serde_json::Value = serde_json::from_str(capabilities.get()).unwrap_or_default();
        let is = |path: &str| said.pointer(path).and_then(|it| it.as_bool()) == Some(true);
        Self {
            logging: said.get("logging").is_some_and(|it| it.is_object()),
            tools_changed: is("/tools/listChanged"),
            prompts_changed: is("/prompts/listChanged"),
            resources_changed: is("/resources/listChanged"),
            subscribe: is("/resources/subscribe"),
            task_calls: said.pointer("/tasks/requests/tools/call").is_some_and(|it| it.is_object()),
        }
    }
}

/// What a server calls itself, for each of its results: without pictures and the like where that
/// would be long.
fn short(info: &RawValue) -> Option<Box<RawValue>> {
    #[derive(Deserialize, Serialize)]
    struct Short<'a> {
        #[serde(borrow)]
        name: &'a RawValue,
        #[serde(borrow)]
        version: &'a RawValue,
    }
    if info.get().len() <= INFO_LEN_MAX {
        return info.get().starts_with('{').then(|| info.to_owned());
    }
    let short: Short<'_> = serde_json::from_str(info.get()).ok()?;
    serde_json::value::to_raw_value(&short).ok()
}

pub(super) fn unwritten(error: mcp_jsonrpc::ParseError) -> TransportError {
    TransportError::new(ErrorKind::Protocol, "a message could not be written").because(error)
}

fn gone() -> TransportError {
    TransportError::new(ErrorKind::NoSession, "the session with the server is over")
}
