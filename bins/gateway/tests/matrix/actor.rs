//! A client with a script: it asks, answers, and checks whatever it hears.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Condvar, Mutex, PoisonError},
};

use mcp_jsonrpc::ProtocolVersion;

use crate::{
    cell::Cell,
    front::{Front, Wire},
    process::PATIENCE,
    puppet::lock,
    rig::Gateway,
    said::{Said, inside, text},
    schema::{self, Role},
};

/// A client.
pub(crate) struct Actor {
    wire: Wire,
    /// Tells this client's payloads from its double's.
    pub(crate) tag: &'static str,
    pub(crate) cell: Cell,
    /// What it was told to speak.
    pub(crate) told: ProtocolVersion,
    pub(crate) hello: String,
    pub(crate) greeting: Said,
    sent: HashMap<String, (String, bool)>,
    aside: VecDeque<Said>,
    last: i64,
    ignored: Option<String>,
}

/// Where a client and its double wait for each other.
#[derive(Default)]
pub(crate) struct Meeting(Mutex<(usize, bool)>, Condvar);

impl Meeting {
    /// Waits for the other; false if it will not come.
    pub(crate) fn join(&self) -> bool {
        let mut state = lock(&self.0);
        state.0 += 1;
        self.1.notify_all();
        let turn = state.0.div_ceil(2) * 2;
        let waits = |state: &mut (usize, bool)| state.0 < turn && !state.1;
        let met = self.1.wait_timeout_while(state, PATIENCE, waits);
        let state = met.unwrap_or_else(PoisonError::into_inner).0;
        turn <= state.0
    }

    pub(crate) fn leave(&self) {
        lock(&self.0).1 = true;
        self.1.notify_all();
    }
}

/// What a client of this revision can do.
pub(crate) fn capabilities(version: ProtocolVersion) -> &'static str {
    match version {
        ProtocolVersion::V2024_11_05 | ProtocolVersion::V2025_03_26 => {
            r#"{"roots":{"listChanged":true},"sampling":{ }}"#
        }
        ProtocolVersion::V2025_06_18 => {
            r#"{"roots":{"listChanged":true},"sampling":{},"elicitation":{},"experimental":{"n":{"x":1e400}}}"#
        }
        _ => {
            r#"{"roots":{"listChanged":true},"sampling":{"tools":{},"context":{}},"elicitation":{"form":{},"url":{}},"tasks":{"list":{},"cancel":{},"requests":{"sampling":{"createMessage":{}},"elicitation":{"create":{}}}}}"#
        }
    }
}

impl Actor {
    /// A client that has begun.
    pub(crate) fn begin(gateway: &Gateway, cell: Cell, tag: &'static str, can: &str) -> Self {
        Self::begin_at(gateway, cell, tag, can, &cell.server_name())
    }

    /// The same, with the server of this name.
    pub(crate) fn begin_at(
        gateway: &Gateway,
        cell: Cell,
        tag: &'static str,
        can: &str,
        server: &str,
    ) -> Self {
        let mut wire = Wire::connect(gateway, cell.front, server);
        let hello = format!(
            r#"{{"capabilities":{can}, "protocolVersion":"{}","clientInfo":{{"name":"{cell} {tag}","version":"1", "title":"\u00fc"}},"n":[1e400]}}"#,
            cell.client
        );
        let request =
            format!(r#"{{"jsonrpc":"2.0","id":0,"method":"initialize","params":{hello}}}"#);
        wire.say(&request);
        let greeting = Said::read(&wire.hear());
        let version = greeting.out(&["protocolVersion"]);
        let told: ProtocolVersion = text(&version).parse().unwrap();
        let role = Role::Answer { to: "initialize", task: false };
        assert_eq!(schema::complaint(told, &greeting.text, role), None);
        assert_eq!(greeting.id.as_deref(), Some("0"));
        wire.say(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
        wire.speak(told);
        let (sent, aside) = (HashMap::new(), VecDeque::new());
        Self { wire, tag, cell, told, hello, greeting, sent, aside, last: 0, ignored: None }
    }

    /// Whether something lies between the revisions of the two sides.
    pub(crate) fn is_bridged(&self) -> bool {
        self.told != self.cell.server
    }

    /// Says this, word for word.
    pub(crate) fn say(&mut self, text: &str) {
        self.wire.say(text);
    }

    /// Sends a request with these parameters, under the next id; returns the id.
    pub(crate) fn send(&mut self, method: &str, params: &str) -> String {
        self.last += 1;
        let id = self.last.to_string();
        self.send_as(&id, method, params);
        id
    }

    pub(crate) fn send_as(&mut self, id: &str, method: &str, params: &str) {
        self.expect_answer(id, method, params);
        self.say(&request(id, method, params));
    }

    /// That an answer under this id will come.
    pub(crate) fn expect_answer(&mut self, id: &str, method: &str, params: &str) {
        let task = inside(params, &["task"]).is_some();
        self.sent.insert(id.to_owned(), (method.to_owned(), task));
    }

    pub(crate) fn notify(&mut self, method: &str, params: &str) {
        self.say(&notification(method, params));
    }

    /// The next message that is wanted. Questions whether it is there are answered on the way.
    #[track_caller]
    fn next(&mut self, what: &str, wanted: impl Fn(&Said) -> bool) -> Said {
        if let Some(at) = self.aside.iter().position(&wanted) {
            return self.aside.remove(at).unwrap();
        }
        loop {
            let text = self.wire.hear();
            for said in Said::all(&text) {
                self.check(&said);
                if said.is("ping") {
                    let id = said.id.unwrap();
                    self.say(&format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#));
                } else {
                    self.aside.push_back(said);
                }
            }
            if let Some(at) = self.aside.iter().position(&wanted) {
                return self.aside.remove(at).unwrap();
            }
            assert!(self.aside.len() < 20, "{what} does not come: {:#?}", self.aside);
        }
    }

    #[track_caller]
    fn check(&mut self, said: &Said) {
        let complaint = match (&said.method, &said.id) {
            (Some(method), _) => schema::complaint(self.told, &said.text, Role::Said(method)),
            (None, Some(id)) => {
                let sent = self.sent.remove(id);
                let (to, task) = sent.unwrap_or_else(|| panic!("answers nothing: {}", said.text));
                let task = task && said.error.is_none();
                schema::complaint(self.told, &said.text, Role::Answer { to: &to, task })
            }
            (None, None) => Some(format!("neither question nor answer: {}", said.text)),
        };
        assert_eq!(complaint, None);
    }

    /// The answer under this id.
    #[track_caller]
    pub(crate) fn answer(&mut self, id: &str) -> Said {
        let is_it = |said: &Said| said.method.is_none() && said.id.as_deref() == Some(id);
        self.next(&format!("the answer to {id}"), is_it)
    }

    /// What the server says, or asks, by this method.
    #[track_caller]
    pub(crate) fn told(&mut self, method: &str) -> Said {
        self.next(method, |said| said.is(method))
    }

    #[track_caller]
    pub(crate) fn ask(&mut self, method: &str, params: &str) -> Said {
        let id = self.send(method, params);
        self.answer(&id)
    }

    /// Answers a question of the server's.
    pub(crate) fn reply(&mut self, question: &Said, body: &str) {
        let id = question.id.as_deref().unwrap();
        self.say(&format!(r#"{{"jsonrpc":"2.0", "id":{id},{body}}}"#));
    }

    /// That an answer need not come any more.  Nothing is to be said to a request that was
    /// cancelled, but the POST of one has to be answered by something.
    #[track_caller]
    pub(crate) fn forget(&mut self, id: &str) {
        if self.cell.front == Front::Streamable {
            let answer = self.answer(id);
            let code = answer.error.and_then(|error| inside(&error, &["code"]));
            assert_eq!(code.as_deref(), Some("-32603"), "{}", answer.text);
        }
    }

    /// Forgets what has come by this method and what may still come, as after a cancellation.
    pub(crate) fn ignore(&mut self, method: &str) {
        self.aside.retain(|said| !said.is(method));
        self.ignored = Some(method.to_owned());
    }

    /// What has come that nobody has asked for.
    pub(crate) fn leftovers(&self) -> Vec<String> {
        let mut rest: Vec<String> = self.aside.iter().map(|said| said.text.clone()).collect();
        rest.extend(self.wire.rest());
        if let Some(ignored) = &self.ignored {
            rest.retain(|text| !Said::read(text).is(ignored));
        }
        rest
    }
}

pub(crate) fn request(id: &str, method: &str, params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{params}}}"#)
}

pub(crate) fn notification(method: &str, params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","method":"{method}","params":{params}}}"#)
}

/// Parameters that bring a script, and whatever else they hold; the same token for all who want to
/// hear of progress.
pub(crate) fn script(rest: &str, steps: &str) -> String {
    let comma = if rest.is_empty() { "" } else { "," };
    let token = if steps.contains(r#"{"progress":"#) { r#""progressToken":"p","# } else { "" };
    format!(r#"{{{rest}{comma}"_meta":{{{token}"x/script":[{steps}]}}}}"#)
}
