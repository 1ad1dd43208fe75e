//! The server behind: it does what the script says, when the script says so, and notes what it
//! should not have heard.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream};
use mcp_jsonrpc::{
    Id, Kind, Message, RpcError,
    transport::{
        Caller, Endpoint, ErrorKind, Event, EventId, EventStream, Exchange, Inbox, InboxMax,
        Opening, Reply, Session, SessionId, Transport, TransportError,
    },
};
use serde_json::{Value, json};
use tokio::time::Instant;

/// What a client is called begins with.
pub const CLIENT: &str = "client-";
/// The server says nothing about a request that is as old as the longest that may run.
const OLD: Duration = Duration::from_secs(50 * 60);

/// All servers that were started, and what they heard.
#[derive(Debug, Default)]
pub struct Script(Mutex<State>);

#[derive(Debug, Default)]
pub struct State {
    pub talks: Vec<Talk>,
    pub pending: Vec<Pending>,
    /// The calls that arrived, by name.
    pub executed: HashSet<String>,
    /// What must not be.
    pub faults: Vec<String>,
    /// Whether no server can be started.
    pub broken: bool,
    /// Whether a start takes its time.
    pub slow: bool,
}

/// One server that runs, or ran.
#[derive(Debug)]
pub struct Talk {
    life: Life,
    /// The client whose own it is; none where several may share it.
    owner: Option<String>,
    unasked: Arc<Inbox>,
    said: u64,
    /// Questions that wait for an answer.
    asked: HashSet<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Runs,
    /// As a process that ended.
    Dead,
    /// As a session that an HTTP server has forgotten.
    Forgotten,
}

/// A call that waits for its answer.
#[derive(Debug)]
pub struct Pending {
    talk: usize,
    pub name: String,
    /// Whose it is.
    who: String,
    id: Id,
    token: Value,
    progress: u64,
    inbox: Arc<Inbox>,
    since: Instant,
}

/// The way to it.
#[derive(Clone, Debug)]
pub struct Way(pub Arc<Script>);

#[derive(Debug)]
struct Handle(Arc<Script>, usize);

impl Script {
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_running(&self, talk: usize) -> bool {
        self.talks.get(talk).is_some_and(|it| it.life == Life::Runs)
    }

    /// How many run.
    pub fn running(&self) -> usize {
        self.talks.iter().filter(|it| it.life == Life::Runs).count()
    }

    /// Answers the `n`-th call that waits; with its name.
    pub fn answer(&mut self, n: usize, is_error: bool) -> Option<String> {
        let at = n.checked_rem(self.pending.len())?;
        let Pending { id, name, inbox, .. } = self.pending.remove(at);
        let answer = match is_error {
            true => Message::error(Some(&id), &RpcError::new(-32000, name.clone())),
            false => Message::response(&id, &json!({ "name": name })),
        };
        inbox.finish(Ok(Some(answer.expect("an answer"))));
        Some(name)
    }

    /// Says how far the `n`-th call is, on its own stream.
    pub fn progress(&mut self, n: usize) {
        let Some(at) = n.checked_rem(self.pending.len()) else { return };
        let Some(call) = self.pending.get_mut(at) else { return };
        call.progress += 1;
        let params =
            json!({ "progressToken": call.token, "progress": call.progress, "message": call.name });
        push(&call.inbox, Message::notification("notifications/progress", &params));
    }

    /// Says something unasked that is for one client alone.
    pub fn say(&mut self, n: usize) {
        let Some((talk, who)) = self.someone(n) else { return };
        let Some(it) = self.talks.get_mut(talk) else { return };
        it.said += 1;
        let data = json!({ "who": who, "talk": talk, "seq": it.said });
        let params = json!({ "level": "info", "data": data });
        push(&it.unasked, Message::notification("notifications/message", &params));
    }

    /// Says that its tools have changed, which is for all.
    pub fn announce(&self, n: usize) {
        let Some(at) = n.checked_rem(self.talks.len()) else { return };
        if let Some(it) = self.talks.get(at).filter(|it| it.life == Life::Runs) {
            push(
                &it.unasked,
                Message::notification("notifications/tools/list_changed", &json!({})),
            );
        }
    }

    /// Asks something; `within` the stream of a call, or unasked.
    pub fn ask(&mut self, n: usize, within: bool) {
        let Some((talk, who)) = self.someone(n) else { return };
        let Some(it) = self.talks.get_mut(talk) else { return };
        it.said += 1;
        it.asked.insert(it.said);
        let id = Id::from(i64::try_from(it.said).expect("a small number"));
        let params = json!({ "who": who, "talk": talk, "seq": it.said });
        let question = Message::request(&id, "roots/list", &params);
        let call = self.pending.iter().find(|call| call.talk == talk && call.who == who);
        match call.filter(|_| within) {
            Some(call) => push(&call.inbox, question),
            None => push(&it.unasked, question),
        }
    }

    /// A server that runs, and a client that what it says can be about: the one whose own it is,
    /// or one that waits for it.
    fn someone(&self, n: usize) -> Option<(usize, String)> {
        let own = self.talks.iter().enumerate().filter(|(_, it)| it.life == Life::Runs);
        let own = own.filter_map(|(at, it)| Some((at, it.owner.clone()?)));
        let waiting = self.pending.iter().filter(|call| call.since.elapsed() < OLD);
        let waiting = waiting.map(|call| (call.talk, call.who.clone()));
        let all: Vec<_> = own.chain(waiting).filter(|(talk, _)| self.is_running(*talk)).collect();
        all.get(n.checked_rem(all.len())?).cloned()
    }

    /// Ends the `n`-th server that runs.
    pub fn kill(&mut self, n: usize, forgets: bool) {
        let running: Vec<usize> = (0..self.talks.len()).filter(|it| self.is_running(*it)).collect();
        if let Some(at) = n.checked_rem(running.len()) {
            self.end(running[at], if forgets { Life::Forgotten } else { Life::Dead });
        }
    }

    fn end(&mut self, talk: usize, life: Life) {
        let Some(it) = self.talks.get_mut(talk) else { return };
        it.life = life;
        it.unasked.finish(Ok(None));
        self.pending.retain(|call| {
            if call.talk == talk {
                call.inbox.finish(Err(TransportError::new(ErrorKind::Closed, "it ended")));
            }
            call.talk != talk
        });
    }

    /// What a running server does with a message.
    fn take(&mut self, talk: usize, message: &Message) -> Taken {
        let body: Value = serde_json::from_slice(message.as_bytes()).expect("JSON");
        let Some(id) = message.id().filter(|_| message.kind() == Kind::Request) else {
            if message.is_answer() {
                self.answered(talk, &body);
            }
            return Taken::Now(Reply::Accepted);
        };
        let now =
            |value: Value| Taken::Now(Reply::Single(Message::response(id, &value).expect("JSON")));
        let params = &body["params"];
        match message.method().unwrap_or_default() {
            "initialize" => {
                let name = params["clientInfo"]["name"].as_str().unwrap_or_default();
                self.talks[talk].owner = name.starts_with(CLIENT).then(|| name.to_owned());
                now(json!({
                    "protocolVersion": params["protocolVersion"],
                    "capabilities": { "tools": { "listChanged": true }, "logging": {} },
                    "serverInfo": { "name": "script", "version": talk.to_string() },
                }))
            }
            "tools/call" => {
                let name = params["name"].as_str().unwrap_or_default().to_owned();
                let who = params["arguments"]["who"].as_str().unwrap_or_default().to_owned();
                if !self.executed.insert(name.clone()) {
                    self.faults.push(format!("{name} was executed twice"));
                }
                let owner = &self.talks[talk].owner;
                if owner.as_ref().is_some_and(|it| *it != who) {
                    self.faults.push(format!("{name} came to the server of {owner:?}"));
                }
                let inbox =
                    Inbox::new(InboxMax { queue_len_max: 10_000, queue_bytes_max: 1 << 24 });
                let streams = params["arguments"]["streams"] == true;
                self.pending.push(Pending {
                    talk,
                    name,
                    who,
                    id: id.clone(),
                    token: params["_meta"]["progressToken"].clone(),
                    progress: 0,
                    inbox: Arc::clone(&inbox),
                    since: Instant::now(),
                });
                if streams { Taken::Streams(inbox) } else { Taken::Waits(inbox) }
            }
            "ping" | "logging/setLevel" => now(json!({})),
            method => {
                let error = RpcError::new(RpcError::METHOD_NOT_FOUND, method.to_owned());
                Taken::Now(Reply::Single(Message::error(Some(id), &error).expect("an error")))
            }
        }
    }

    /// An answer to a question: of whoever it was for, and once.
    fn answered(&mut self, talk: usize, answer: &Value) {
        let seq = answer["id"].as_u64().unwrap_or_default();
        let it = &mut self.talks[talk];
        if !it.asked.remove(&seq) {
            self.faults
                .push(format!("server {talk} was answered to what it did not ask: {answer}"));
        }
        let result = &answer["result"];
        if result.is_object()
            && (result["talk"] != talk
                || result["seq"] != seq
                || it.owner.as_deref() != result["who"].as_str())
        {
            let owner = &it.owner;
            self.faults.push(format!("server {talk} of {owner:?} was given the answer {answer}"));
        }
    }
}

/// What becomes of a message.
enum Taken {
    Now(Reply),
    /// A stream of progress, and the answer.
    Streams(Arc<Inbox>),
    /// The answer alone.
    Waits(Arc<Inbox>),
}

fn push(inbox: &Inbox, message: Result<Message, mcp_jsonrpc::ParseError>) {
    // What finds no room is not said.
    drop(inbox.push(message.expect("a message").into()));
}

fn events(inbox: Arc<Inbox>) -> EventStream {
    stream::poll_fn(move |cx| inbox.poll_next(cx)).boxed()
}

impl Transport for Way {
    fn open(&self, _: Opening) -> BoxFuture<'_, Result<Arc<dyn Session>, TransportError>> {
        async {
            let slow = self.0.state().slow;
            if slow {
                tokio::time::sleep(Duration::from_secs(3)).await;
            }
            let mut state = self.0.state();
            if state.broken {
                return Err(TransportError::new(ErrorKind::Closed, "it does not start").unsent());
            }
            let (unasked, asked) = (Inbox::new(InboxMax::default()), HashSet::new());
            state.talks.push(Talk { life: Life::Runs, owner: None, unasked, said: 0, asked });
            let handle = Handle(Arc::clone(&self.0), state.talks.len() - 1);
            Ok(Arc::new(handle) as Arc<dyn Session>)
        }
        .boxed()
    }

    fn find(&self, _: &SessionId, _: &Caller) -> Result<Arc<dyn Session>, TransportError> {
        Err(TransportError::new(ErrorKind::NoSession, "it keeps none"))
    }
}

impl Handle {
    fn life(&self) -> Life {
        self.0.state().talks[self.1].life
    }
}

impl Session for Handle {
    fn endpoint(&self) -> Endpoint {
        Endpoint { uri: "script:".into(), session: None }
    }

    fn send(&self, exchange: Exchange) -> BoxFuture<'_, Result<Reply, TransportError>> {
        async move {
            match self.life() {
                Life::Runs => (),
                Life::Dead => {
                    return Err(TransportError::new(ErrorKind::Closed, "it died").unsent());
                }
                Life::Forgotten => {
                    return Err(TransportError::new(ErrorKind::NoSession, "it is forgotten"));
                }
            }
            let taken = self.0.state().take(self.1, &exchange.message);
            let inbox = match taken {
                Taken::Now(reply) => return Ok(reply),
                Taken::Streams(inbox) => return Ok(Reply::Stream(events(inbox))),
                Taken::Waits(inbox) => inbox,
            };
            let mut events = events(inbox);
            while let Some(event) = events.next().await {
                if let Event::Message { message, .. } = event?
                    && message.is_answer()
                {
                    return Ok(Reply::Single(message));
                }
            }
            Err(TransportError::new(ErrorKind::Closed, "it ended"))
        }
        .boxed()
    }

    fn listen(&self, _: Option<EventId>) -> BoxFuture<'_, Result<EventStream, TransportError>> {
        async move {
            let state = self.0.state();
            match &state.talks[self.1] {
                Talk { life: Life::Forgotten, .. } => {
                    Err(TransportError::new(ErrorKind::NoSession, "it is forgotten"))
                }
                talk => Ok(events(Arc::clone(&talk.unasked))),
            }
        }
        .boxed()
    }

    fn is_open(&self) -> bool {
        self.life() != Life::Dead
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        async { self.0.state().end(self.1, Life::Dead) }.boxed()
    }
}
