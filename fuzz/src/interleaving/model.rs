//! What each client must have heard, and what it heard.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use mcp_jsonrpc::{
    Kind, Message,
    transport::{Event, EventId, Session, SessionId, TransportError},
};
use serde_json::Value;
use tokio::task::AbortHandle;

use super::clients::CLIENTS;

/// What every client calls its progress.
pub const TOKEN: u64 = 7;

#[derive(Default)]
pub struct Model {
    pub slots: [Slot; CLIENTS.len()],
    pub calls: Vec<Call>,
    pub listeners: Vec<Listener>,
    pub questions: Vec<(Arc<dyn Session>, Message, Value)>,
    /// What was said unasked, and to whom.
    heard: HashSet<(String, u64, u64)>,
    pub faults: Vec<String>,
}

/// One client's present session.
#[derive(Default)]
pub struct Slot {
    pub sessions: u32,
    pub calls: i64,
    pub busy: bool,
    pub id: Option<SessionId>,
    pub closed: bool,
}

pub struct Call {
    pub name: String,
    pub who: String,
    pub session: Arc<dyn Session>,
    pub id: i64,
    pub kept: bool,
    /// How often its reader changed, and whether there is one.
    pub turn: u32,
    pub reader: Option<AbortHandle>,
    pub last: Option<EventId>,
    pub progress: u64,
    /// It was told that something may be missing.
    pub warned: bool,
    pub end: Option<End>,
    /// What it has to hear, since its server said so while it listened.
    pub expects: Option<End>,
    /// Its client did something that may end it otherwise.
    pub spoiled: bool,
}

pub struct Listener {
    pub who: String,
    pub session: Arc<dyn Session>,
    pub reader: AbortHandle,
    pub last: Option<EventId>,
    pub order: HashMap<u64, u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Answered,
    Failed,
}

impl Model {
    /// The calls that are not over, and of which this holds.
    pub fn waiting(&self, of: impl Fn(&Call) -> bool) -> Vec<usize> {
        let calls = self.calls.iter().enumerate();
        calls.filter(|(_, call)| call.end.is_none() && of(call)).map(|(n, _)| n).collect()
    }

    /// The reader of a call hears something.
    pub fn hears(&mut self, n: usize, turn: u32, event: Result<Event, TransportError>) {
        let call = &mut self.calls[n];
        let name = call.name.clone();
        if call.turn != turn {
            self.faults.push(format!("two read the stream of {name}: {event:?}"));
            return;
        }
        let message = match event {
            Ok(Event::Pause { id, .. }) => return call.last = id.or_else(|| call.last.take()),
            Ok(Event::Message { id, message }) => {
                call.last = id.or_else(|| call.last.take());
                message
            }
            Err(_) if call.kept => return call.warned = true,
            Err(_) => return call.end = Some(End::Failed),
        };
        let body: Value = serde_json::from_slice(message.as_bytes()).expect("JSON");
        if call.end.is_some() {
            self.faults.push(format!("{name} heard more than its answer: {body}"));
        } else if message.is_answer() {
            let is_error = message.kind() == Kind::Error;
            call.end = Some(if is_error { End::Failed } else { End::Answered });
            let whose = if is_error { Some(&*name) } else { body["result"]["name"].as_str() };
            if body["id"] != call.id || whose != Some(&name) {
                self.faults.push(format!("{name} was answered {body}"));
            }
        } else if message.method() == Some("notifications/progress") {
            let params = &body["params"];
            let progress = params["progress"].as_u64().unwrap_or_default();
            let next = call.progress + 1;
            let fits = progress == next || (call.warned && next < progress);
            if params["progressToken"] != TOKEN || params["message"] != *name || !fits {
                self.faults.push(format!("{name} is at {}, and heard {body}", call.progress));
            }
            call.progress = progress;
        } else {
            let (who, session) = (call.who.clone(), Arc::clone(&call.session));
            self.hears_unasked(&who, session, message, &body);
        }
    }

    /// A listener hears something.
    pub fn overhears(&mut self, n: usize, event: Result<Event, TransportError>) {
        let Some(listener) = self.listeners.get_mut(n) else { return };
        let message = match event {
            Ok(Event::Pause { id, .. }) => return listener.last = id,
            Ok(Event::Message { id, message }) => {
                listener.last = id;
                message
            }
            Err(_) => return,
        };
        let body: Value = serde_json::from_slice(message.as_bytes()).expect("JSON");
        let said = said(&body);
        if let (Some(talk), Some(seq)) = (said["talk"].as_u64(), said["seq"].as_u64())
            && listener.order.insert(talk, seq).is_some_and(|last| seq <= last)
        {
            self.faults.push(format!("{} heard in the wrong order: {body}", listener.who));
        }
        let (who, session) = (listener.who.clone(), Arc::clone(&listener.session));
        self.hears_unasked(&who, session, message, &body);
    }

    fn hears_unasked(
        &mut self,
        who: &str,
        session: Arc<dyn Session>,
        message: Message,
        body: &Value,
    ) {
        match message.method() {
            Some("notifications/tools/list_changed" | "notifications/cancelled") => return,
            Some("notifications/message" | "roots/list") => (),
            _ => return self.faults.push(format!("{who} heard {body}")),
        }
        let said = said(body);
        let (talk, seq) = (said["talk"].as_u64(), said["seq"].as_u64());
        if said["who"] != who {
            self.faults.push(format!("{who} heard what is another's: {body}"));
        }
        let once = (who.to_owned(), talk.unwrap_or_default(), seq.unwrap_or_default());
        if !self.heard.insert(once) {
            self.faults.push(format!("{who} heard twice: {body}"));
        }
        if message.kind() == Kind::Request {
            let said = said.clone();
            self.questions.push((session, message, said));
        }
    }

    /// Whether a call waits for its end and somebody reads it.
    pub fn is_waiting(&self) -> bool {
        !self.waiting(|call| call.reader.is_some()).is_empty()
    }

    /// How many calls came to an end, and what must have been heard and was not.
    pub fn check(&mut self) -> usize {
        for call in &self.calls {
            if call.end.is_none() && call.reader.is_some() {
                self.faults.push(format!("{} waits for ever", call.name));
            }
            if call.expects.is_some() && call.end != call.expects {
                let (name, end, expects) = (&call.name, call.end, call.expects);
                self.faults.push(format!("{name} was {end:?}, not {expects:?}"));
            }
        }
        self.calls.iter().filter(|call| call.end.is_some()).count()
    }
}

/// What the server said of itself and of whom it meant.
fn said(body: &Value) -> &Value {
    let params = &body["params"];
    if params["data"].is_object() { &params["data"] } else { params }
}
