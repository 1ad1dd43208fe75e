//! The clients, and what they do.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{FutureExt, StreamExt, stream};
use mcp_jsonrpc::{
    Id, Kind, Message, RpcError,
    transport::{
        Caller, EventId, EventStream, Exchange, Opening, Reply, Session, SessionId, Transport,
    },
};
use router::server::{Options, Server};
use serde_json::json;
use tokio::task::AbortHandle;
use tokio_util::task::TaskTracker;

use super::{
    model::{Call, End, Listener, Model, TOKEN},
    server::{CLIENT, Script, Way},
};

/// Who the clients are: the caller, whether a server can ask it something, what it speaks.
pub const CLIENTS: [(&str, bool, &str); 6] = [
    ("ann", false, "2025-06-18"),
    ("ann", false, "2025-06-18"),
    ("ann", true, "2025-06-18"),
    ("bob", false, "2025-06-18"),
    ("bob", true, "2025-11-25"),
    ("bob", false, "2025-03-26"),
];
/// How long what an old server does may take after it was replaced.
const GRACE: Duration = Duration::from_secs(30);

/// Clients on one side, a server on the other, the router between.
pub struct World {
    pub script: Arc<Script>,
    pub server: Server,
    pub options: Options,
    /// Whether sessions are kept beyond their place.
    pub keeps: bool,
    pub tasks: TaskTracker,
    model: Mutex<Model>,
}

impl World {
    pub fn new(script: Arc<Script>, server: Server, options: Options, keeps: bool) -> Arc<Self> {
        let (tasks, model) = (TaskTracker::new(), Mutex::default());
        Arc::new(Self { script, server, options, keeps, tasks, model })
    }

    pub fn model(&self) -> MutexGuard<'_, Model> {
        self.model.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fault(&self, what: String) {
        self.model().faults.push(what);
    }

    /// A new session in the place of the last, which is left alone.
    pub fn open(self: &Arc<Self>, slot: usize) {
        let (caller, asks, version) = CLIENTS[slot];
        let who = {
            let it = &mut self.model().slots[slot];
            if it.busy {
                return;
            }
            (it.busy, it.id, it.closed) = (true, None, false);
            it.sessions += 1;
            format!("{CLIENT}{slot}-{}", it.sessions)
        };
        let world = Arc::clone(self);
        self.tasks.spawn(async move {
            let id = world.greet(&who, (caller, asks, version)).await;
            let it = &mut world.model().slots[slot];
            (it.busy, it.id) = (false, id);
        });
    }

    async fn greet(
        &self,
        who: &str,
        (caller, asks, version): (&str, bool, &str),
    ) -> Option<SessionId> {
        let caller = Caller::named(caller);
        let opening = Opening { caller: caller.clone(), version: None, at: "/script/mcp".into() };
        let session = self.server.open(opening).await.ok()?;
        let capabilities = if asks { json!({ "roots": {} }) } else { json!({}) };
        let params = json!({
            "protocolVersion": version,
            "capabilities": capabilities,
            "clientInfo": { "name": who, "version": "1" },
        });
        let hello = Message::request(&Id::from(0), "initialize", &params).expect("a request");
        let reply = session.send(Exchange::new(hello, caller.clone())).await;
        let Ok(Reply::Single(answer)) = reply else { return None };
        if answer.kind() != Kind::Response {
            self.fault(format!("{who} was refused: {answer:?}"));
        }
        let hello = Message::notification("notifications/initialized", &json!({}));
        let hello = Exchange::new(hello.expect("a notification"), caller);
        drop(session.send(hello).await);
        session.endpoint().session
    }

    /// The session of a client, by its id, as every request finds it.
    fn find(&self, slot: usize) -> Option<(Arc<dyn Session>, String)> {
        let caller = Caller::named(CLIENTS[slot].0);
        let (id, who, closed) = {
            let it = &self.model().slots[slot];
            (it.id.clone()?, format!("{CLIENT}{slot}-{}", it.sessions), it.closed)
        };
        if self.server.find(&id, &Caller::named("mallory")).is_ok() {
            self.fault(format!("the session of {who} was found by somebody else"));
        }
        match self.server.find(&id, &caller) {
            Ok(_) if closed => self.fault(format!("the session of {who} is closed, and was found")),
            Ok(session) => return Some((session, who)),
            Err(error) if self.keeps && !closed => {
                self.fault(format!("the session of {who} was not found: {error}"));
            }
            Err(_) => (),
        }
        None
    }

    /// Calls a tool; `kept` as a client of Streamable HTTP does that can come back for its answer.
    pub fn ask(self: &Arc<Self>, slot: usize, streams: bool, kept: bool) {
        let Some((session, who)) = self.find(slot) else { return };
        let mut model = self.model();
        let it = &mut model.slots[slot];
        it.calls += 1;
        let (id, name) = (it.calls, format!("{who}-call-{}", it.calls));
        let params = json!({
            "name": name,
            "arguments": { "who": who, "streams": streams },
            "_meta": { "progressToken": TOKEN },
        });
        let request = Message::request(&Id::from(id), "tools/call", &params).expect("a request");
        let exchange = Exchange::new(request, Caller::named(CLIENTS[slot].0));
        let n = model.calls.len();
        let (world, carrier) = (Arc::clone(self), Arc::clone(&session));
        let sent = {
            let (world, name) = (Arc::clone(self), name.clone());
            world.carry(Arc::clone(&session), exchange, name, kept.then(|| Id::from(id)))
        };
        let reader = self.tasks.spawn(async move {
            let events = match kept {
                true => carrier.keep(&[Id::from(id)], sent),
                false => sent,
            };
            world.read(n, 0, events).await;
        });
        let reader = Some(reader.abort_handle());
        model.calls.push(Call {
            name,
            who,
            session,
            id,
            kept,
            turn: 0,
            reader,
            last: None,
            progress: 0,
            warned: false,
            end: None,
            expects: None,
            spoiled: false,
        });
    }

    /// What is said to a request.  With an id, errors are answers, as they are on a stream.
    fn carry(
        self: Arc<Self>,
        session: Arc<dyn Session>,
        exchange: Exchange,
        name: String,
        id: Option<Id>,
    ) -> EventStream {
        let world = Arc::clone(&self);
        let sent = async move {
            match session.send(exchange).await {
                Ok(Reply::Single(message)) => stream::iter([Ok(message.into())]).boxed(),
                Ok(Reply::Stream(events)) => events,
                Ok(Reply::Accepted) => stream::empty().boxed(),
                Err(error) => stream::iter([Err(error)]).boxed(),
            }
        };
        let events = sent.flatten_stream().map(move |event| {
            let error = match event {
                Err(error) => error,
                event => return event,
            };
            if error.is_unsent() && world.script.state().executed.contains(&name) {
                world.fault(format!("{name} was executed, and called unsent: {error}"));
            }
            let Some(id) = &id else { return Err(error) };
            let error = RpcError::new(RpcError::INTERNAL, error.said().to_string());
            Ok(Message::error(Some(id), &error).expect("an error").into())
        });
        events.boxed()
    }

    async fn read(&self, n: usize, turn: u32, mut events: EventStream) {
        while let Some(event) = events.next().await {
            self.model().hears(n, turn, event);
        }
        let mut model = self.model();
        let Some(call) = model.calls.get_mut(n).filter(|call| call.turn == turn) else { return };
        call.reader = None;
        if call.end.is_none() {
            let what = format!("the stream of {} ended without an answer", call.name);
            model.faults.push(what);
        }
    }

    /// The client of a call loses its connection.
    pub fn lose(&self, n: usize) {
        let mut model = self.model();
        let waiting = model.waiting(|call| call.reader.is_some());
        let Some(n) = n.checked_rem(waiting.len()).map(|at| waiting[at]) else { return };
        let call = &mut model.calls[n];
        if let Some(reader) = call.reader.take() {
            reader.abort();
        }
        // It may end meanwhile, and be forgotten.
        (call.spoiled, call.expects) = (true, None);
    }

    /// Goes on with the stream of a call, whether it was lost or not.
    pub fn resume(self: &Arc<Self>, n: usize) {
        let model = self.model();
        let waiting = model.waiting(|call| call.kept && call.last.is_some());
        let Some(n) = n.checked_rem(waiting.len()).map(|at| waiting[at]) else { return };
        drop(model);
        self.resume_call(n);
    }

    fn resume_call(self: &Arc<Self>, n: usize) {
        let world = Arc::clone(self);
        let reader = self.tasks.spawn(async move {
            let (session, last) = {
                let call = &world.model().calls[n];
                if call.end.is_some() {
                    return;
                }
                (Arc::clone(&call.session), call.last.clone())
            };
            let resumed = session.listen(last).await;
            let turn = {
                let call = &mut world.model().calls[n];
                call.turn += 1;
                match &resumed {
                    Err(_) => {
                        call.end.get_or_insert(End::Failed);
                        return;
                    }
                    Ok(_) => call.turn,
                }
            };
            if let Ok(events) = resumed {
                world.read(n, turn, events).await;
            }
        });
        let call = &mut self.model().calls[n];
        call.reader = Some(reader.abort_handle());
        call.spoiled = true;
    }

    /// Takes a call back.
    pub fn cancel(self: &Arc<Self>, n: usize) {
        let mut model = self.model();
        let waiting = model.waiting(|_| true);
        let Some(n) = n.checked_rem(waiting.len()).map(|at| waiting[at]) else { return };
        let call = &mut model.calls[n];
        (call.spoiled, call.expects) = (true, None);
        let cancelled = json!({ "requestId": call.id });
        let cancelled = Message::notification("notifications/cancelled", &cancelled);
        self.tell(&call.session, cancelled.expect("a notification"));
    }

    /// Answers a question, and perhaps twice.
    pub fn reply(self: &Arc<Self>, n: usize, again: bool) {
        let mut model = self.model();
        let Some(at) = n.checked_rem(model.questions.len()) else { return };
        let (session, question, said) = match again {
            true => model.questions[at].clone(),
            false => model.questions.swap_remove(at),
        };
        let answer = Message::response(question.id().expect("a question"), &said);
        self.tell(&session, answer.expect("an answer"));
    }

    fn tell(self: &Arc<Self>, session: &Arc<dyn Session>, message: Message) {
        let session = Arc::clone(session);
        self.tasks.spawn(async move {
            drop(session.send(Exchange::new(message, Caller::anonymous())).await);
        });
    }

    /// Ends a session.
    pub fn close(self: &Arc<Self>, slot: usize) {
        let Some((session, who)) = self.find(slot) else { return };
        let mut model = self.model();
        for call in model.calls.iter_mut().filter(|call| call.who == who) {
            (call.spoiled, call.expects) = (true, None);
        }
        let (world, epoch) = (Arc::clone(self), model.slots[slot].sessions);
        self.tasks.spawn(async move {
            {
                let it = &mut world.model().slots[slot];
                it.closed |= it.sessions == epoch;
            }
            session.close().await;
        });
    }

    /// Listens to a session; `again` goes on where another left off.
    pub fn listen(self: &Arc<Self>, slot: usize) {
        let Some((session, who)) = self.find(slot) else { return };
        let n = self.model().listeners.len();
        let reader = self.hear(n, Arc::clone(&session), None);
        let order = HashMap::new();
        self.model().listeners.push(Listener { who, session, reader, last: None, order });
    }

    fn hear(
        self: &Arc<Self>,
        n: usize,
        session: Arc<dyn Session>,
        after: Option<EventId>,
    ) -> AbortHandle {
        let world = Arc::clone(self);
        let reader = self.tasks.spawn(async move {
            let resumed = after.is_some();
            let Ok(events) = session.listen(after).await else { return };
            // What is gone on with is kept already.
            let mut events = if resumed { events } else { session.keep(&[], events) };
            while let Some(event) = events.next().await {
                world.model().overhears(n, event);
            }
        });
        reader.abort_handle()
    }

    /// Ends a stream that listens, and goes on with it if `again`.
    pub fn unlisten(self: &Arc<Self>, n: usize, again: bool) {
        let model = self.model();
        let Some(n) = n.checked_rem(model.listeners.len()) else { return };
        let Listener { reader, session, last, .. } = &model.listeners[n];
        reader.abort();
        let (session, last) = (Arc::clone(session), last.clone());
        drop(model);
        if again && last.is_some() {
            let reader = self.hear(n, session, last);
            self.model().listeners[n].reader = reader;
        }
    }

    /// Puts another server in the place of the one there is.
    pub fn reload(self: &Arc<Self>) {
        let way = Arc::new(Way(Arc::clone(&self.script)));
        let replaced = self.server.replace(way, self.options.clone(), GRACE);
        self.tasks.spawn(replaced);
    }

    /// The server answers a call: whoever waits for it hears so.
    pub fn answer(&self, n: usize, is_error: bool) -> bool {
        let answered = self.script.state().answer(n, is_error);
        let Some(name) = &answered else { return false };
        let mut model = self.model();
        let call = model.calls.iter_mut().find(|call| call.name == *name);
        if let Some(call) = call.filter(|it| it.reader.is_some() && it.end.is_none() && !it.spoiled)
        {
            call.expects = Some(if is_error { End::Failed } else { End::Answered });
        }
        true
    }

    /// Comes back for every answer that was lost and can be had.
    pub fn resume_all(self: &Arc<Self>) {
        let lost =
            self.model().waiting(|call| call.kept && call.last.is_some() && call.reader.is_none());
        lost.into_iter().for_each(|n| self.resume_call(n));
    }

    /// Ends whatever clients still hold.
    pub fn leave(&self) {
        let mut model = self.model();
        model.listeners.drain(..).for_each(|it| it.reader.abort());
        model.questions.clear();
        for call in std::mem::take(&mut model.calls) {
            if let Some(reader) = call.reader {
                reader.abort();
            }
        }
    }
}
