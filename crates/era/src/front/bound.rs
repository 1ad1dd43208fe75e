//! Tasks of a server of 2026-07-28, each for the caller for whom it was begun.
//!
//! Whoever knows the id of a task may ask for it, answer in it and end it: the server does not
//! know the gateway's callers (2026-07-28, tasks extension: security).  So a caller with a name
//! gets the id sealed, for itself and this server; any other text stands for no task: its server is
//! asked about one that there cannot be, and says so in its own words.  A caller without a name is nobody to be told apart from others, and gets the server's own ids.

use std::{collections::HashMap, fmt, sync::Arc};

use futures::{FutureExt, StreamExt, future::BoxFuture};
use mcp_jsonrpc::{
    Kind, Message, ParseError, RpcError,
    modern::{self, Outcome},
    object::{Object, raw},
    transport::{
        Caller, Endpoint, ErrorKind, Event, EventId, EventStream, Exchange, Reply, Session,
        TransportError,
    },
};
use seal::Purpose;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Inner, pooled::unwritten, wants::invalid};

/// How long a server's id of a task may be, in bytes: more than that is sealed for nobody.
const TASK_ID_LEN_MAX: usize = 4096;

/// A session of the inner transport whose caller has a name.
pub(super) struct Bound {
    session: Arc<dyn Session>,
    front: Arc<Inner>,
}

/// What the ids in an exchange are called on either side.
struct Names {
    front: Arc<Inner>,
    caller: Caller,
    /// By the server's id: as the client wrote it.
    known: HashMap<Box<str>, Box<str>>,
}

/// Parameters and results that name one task.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Named<'a> {
    #[serde(borrow, default)]
    task_id: Option<&'a RawValue>,
}

/// Parameters that name several.
#[derive(Deserialize)]
struct Listed<'a> {
    #[serde(borrow)]
    notifications: ListedIds<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListedIds<'a> {
    #[serde(borrow, default)]
    task_ids: Option<&'a RawValue>,
}

// === impl Bound ===

impl Bound {
    pub(super) fn new(session: Arc<dyn Session>, front: &Arc<Inner>) -> Self {
        Self { session, front: Arc::clone(front) }
    }

    fn names(&self, exchange: &Exchange) -> Names {
        let caller = exchange.caller.clone();
        Names { front: Arc::clone(&self.front), caller, known: HashMap::new() }
    }

    /// A request that may be answered with a task.
    async fn call(&self, exchange: Exchange) -> Result<Reply, TransportError> {
        let names = self.names(&exchange);
        Ok(match self.session.send(exchange).await? {
            Reply::Single(answer) => Reply::Single(names.begun(answer)?),
            Reply::Stream(events) => Reply::Stream(
                events
                    .map(move |event| match event? {
                        Event::Message { id, message } if message.is_answer() => {
                            Ok(Event::Message { id, message: names.begun(message)? })
                        }
                        event => Ok(event),
                    })
                    .boxed(),
            ),
            Reply::Accepted => Reply::Accepted,
        })
    }

    /// A request about one task.
    async fn about(&self, mut exchange: Exchange) -> Result<Reply, TransportError> {
        let message = &exchange.message;
        let mut names = self.names(&exchange);
        let named: Named<'_> = match message.body() {
            None => return self.session.send(exchange).await,
            Some(_) => match message.read() {
                Ok(named) => named,
                Err(error) => return refused(message, invalid(format!("`params`: {error}"))),
            },
        };
        // Without one it is the server's to say what is wrong.
        let Some(given) = named.task_id else { return self.session.send(exchange).await };
        let task = names.open(given)?;
        exchange.message = message.with_part(given, &task).map_err(unwritten)?;
        Ok(match self.session.send(exchange).await? {
            Reply::Single(answer) => Reply::Single(names.named(&answer)?),
            Reply::Stream(events) => Reply::Stream(
                events
                    .map(move |event| match event? {
                        Event::Message { id, message } => {
                            Ok(Event::Message { id, message: names.named(&message)? })
                        }
                        event => Ok(event),
                    })
                    .boxed(),
            ),
            Reply::Accepted => Reply::Accepted,
        })
    }

    /// A stream of what changes: of this caller's tasks, and no other's.
    async fn listening(&self, mut exchange: Exchange) -> Result<Reply, TransportError> {
        let mut names = self.names(&exchange);
        if exchange.message.mentions("taskIds") {
            let message = &exchange.message;
            let listed: Result<Listed<'_>, ParseError> = message.read();
            let ids = match listed {
                Ok(listed) => listed.notifications.task_ids,
                Err(error) => return refused(message, invalid(format!("`params`: {error}"))),
            };
            if let Some(ids) = ids.filter(|ids| ids.get() != "null") {
                let Ok(given) = serde_json::from_str::<Vec<&RawValue>>(ids.get()) else {
                    return refused(message, invalid("`taskIds` is no list"));
                };
                let tasks = given.iter().map(|given| names.open(given));
                let tasks = tasks.collect::<Result<Vec<_>, _>>()?;
                exchange.message = message.with_part(ids, &tasks).map_err(unwritten)?;
            }
        }
        Ok(match self.session.send(exchange).await? {
            Reply::Stream(events) => Reply::Stream(
                events.filter_map(move |event| std::future::ready(names.told(event))).boxed(),
            ),
            reply => reply,
        })
    }
}

impl Session for Bound {
    fn endpoint(&self) -> Endpoint {
        self.session.endpoint()
    }

    fn send(&self, exchange: Exchange) -> BoxFuture<'_, Result<Reply, TransportError>> {
        let message = &exchange.message;
        match message.method().filter(|_| message.kind() == Kind::Request) {
            // Whoever has not declared the extension gets none.
            Some("tools/call") if message.mentions("extensions") => self.call(exchange).boxed(),
            Some(modern::LISTEN) => self.listening(exchange).boxed(),
            Some(method) if method.starts_with("tasks/") => self.about(exchange).boxed(),
            _ => self.session.send(exchange),
        }
    }

    fn listen(&self, after: Option<EventId>) -> BoxFuture<'_, Result<EventStream, TransportError>> {
        self.session.listen(after)
    }

    fn is_open(&self) -> bool {
        self.session.is_open()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.session.close()
    }
}

impl fmt::Debug for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bound").field("session", &self.session).finish_non_exhaustive()
    }
}

// === impl Names ===

impl Names {
    /// The server's id of a task that a client names; one that no task can have, where it is none
    /// of this caller's.
    fn open(&mut self, given: &RawValue) -> Result<Box<str>, TransportError> {
        match self.own(given) {
            Some((task, given)) => {
                self.known.insert(task.clone(), given);
                Ok(task)
            }
            // Nobody could know what this is, and no server has made it.
            None => self.seal(""),
        }
    }

    fn own(&self, given: &RawValue) -> Option<(Box<str>, Box<str>)> {
        let given: String = serde_json::from_str(given.get()).ok()?;
        let options = self.front.options();
        let bound = bound(&self.caller, &options.server);
        let plain = self.front.keyring().ok()?.open(Purpose::Task, &bound, &given)?;
        let task = String::from_utf8(plain).ok().filter(|task| !task.is_empty())?;
        Some((task.into(), given.into()))
    }

    /// As the client calls a task of the server's.
    fn seal(&self, task: &str) -> Result<Box<str>, TransportError> {
        if let Some(known) = self.known.get(task) {
            return Ok(known.clone());
        }
        if TASK_ID_LEN_MAX < task.len() {
            let what = format!("it calls a task by more than {TASK_ID_LEN_MAX} bytes");
            return Err(TransportError::new(ErrorKind::Protocol, what).may_have_run());
        }
        let options = self.front.options();
        let bound = bound(&self.caller, &options.server);
        let sealed = self.front.keyring()?.seal(Purpose::Task, &bound, task.as_bytes());
        let sealed = sealed.map_err(|error| {
            let what = "the id of a task could not be sealed";
            TransportError::new(ErrorKind::Exhausted, what).because(error).may_have_run()
        })?;
        Ok(sealed.into())
    }

    /// An answer that may be a task.
    fn begun(&self, answer: Message) -> Result<Message, TransportError> {
        let is_task = answer.kind() == Kind::Response
            && answer.mentions("taskId")
            && answer
                .read::<Outcome<'_>>()
                .is_ok_and(|it| it.result_type.as_deref() == Some("task"));
        if is_task { self.named(&answer) } else { Ok(answer) }
    }

    /// A message that names a task, as the client is told it.
    fn named(&self, message: &Message) -> Result<Message, TransportError> {
        let unreadable = |error: ParseError| {
            let what = "what it says of a task cannot be read";
            TransportError::new(ErrorKind::Protocol, what).because(error)
        };
        if message.kind() == Kind::Error || !message.mentions("taskId") {
            return Ok(message.clone());
        }
        let whole: &RawValue = message.read().map_err(unreadable)?;
        let mut said = Object::read(whole).map_err(unreadable)?;
        let Some(task) = said.text("taskId") else { return Ok(message.clone()) };
        said.set("taskId", &self.seal(&task)?).map_err(unwritten)?;
        message.with_part(whole, &said).map_err(unwritten)
    }

    /// What is said down a stream of changes; none where it is about a task of somebody else.
    fn told(&self, event: Result<Event, TransportError>) -> Option<Result<Event, TransportError>> {
        let (id, message) = match event {
            Ok(Event::Message { id, message }) => (id, message),
            event => return Some(event),
        };
        let told = match message.method() {
            Some(modern::TASK_CHANGED) => {
                let named: Named<'_> = message.read().ok()?;
                let task: String = serde_json::from_str(named.task_id?.get()).ok()?;
                self.known.get(&*task)?;
                self.named(&message)
            }
            Some(modern::ACKNOWLEDGED) if message.mentions("taskIds") => {
                self.acknowledged(&message).map_err(unwritten)
            }
            _ => Ok(message),
        };
        Some(told.map(|message| Event::Message { id, message }))
    }

    /// What of the tasks that were named the server will tell of.
    fn acknowledged(&self, message: &Message) -> Result<Message, ParseError> {
        let listed: Listed<'_> = message.read()?;
        let Some(ids) = listed.notifications.task_ids else { return Ok(message.clone()) };
        let tasks: Vec<String> = serde_json::from_str(ids.get()).unwrap_or_default();
        let known = tasks.iter().filter_map(|task| self.known.get(task.as_str()));
        let known = raw(&known.collect::<Vec<_>>())?;
        message.with_part(ids, &known)
    }
}

/// What an id is bound to.
fn bound<'a>(caller: &'a Caller, server: &'a str) -> [&'a [u8]; 2] {
    [server.as_bytes(), caller.subject.as_deref().unwrap_or_default().as_bytes()]
}

fn refused(request: &Message, error: RpcError) -> Result<Reply, TransportError> {
    Message::error(request.id(), &error).map(Reply::Single).map_err(unwritten)
}
