//! A server that does what its client tells it to, in one revision.
//!
//! A request may bring a script, in its `_meta`: steps that the server takes before it answers.
//! So each test says in one place what the server does and what its client should see of it.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, Ordering},
        mpsc::{Sender, channel},
    },
};

use mcp_jsonrpc::ProtocolVersion;
use serde_json::value::RawValue;

use crate::{
    process::PATIENCE,
    said::{Said, inside, text},
    schema::{self, Role},
};

/// What is heard when a call that hung was cancelled.
pub(crate) const HUNG: &str = "hung";

/// Writes one message to the client.
pub(crate) type Say = Arc<dyn Fn(&str) + Send + Sync>;

/// One session of a server.
pub(crate) struct Puppet {
    pub(crate) version: ProtocolVersion,
    hello: Mutex<Option<String>>,
    heard: Mutex<Vec<Said>>,
    more: Condvar,
    asked: Mutex<HashMap<String, Asked>>,
    /// The ids and the progress tokens of what is being answered.
    in_flight: Mutex<HashSet<String>>,
    last: AtomicI64,
    unasked: Mutex<(Vec<String>, Option<Say>)>,
}

struct Asked {
    method: String,
    task: bool,
    answer: Sender<Said>,
}

/// What was wrong with messages that reached a server.
pub(crate) static COMPLAINTS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Where two requests wait for each other, so that both are certainly under way.
static MEETINGS: LazyLock<(Mutex<HashMap<String, usize>>, Condvar)> =
    LazyLock::new(Default::default);

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a server of this revision can do; `hidden` is left out.
pub(crate) fn capabilities(version: ProtocolVersion, hidden: &[&str]) -> String {
    let mut all = vec![
        ("experimental", r#"{"x":{"n":1e400}}"#),
        ("logging", "{ }"),
        ("prompts", r#"{"listChanged":true}"#),
        ("resources", r#"{"listChanged":true,"subscribe":true}"#),
        ("tools", r#"{"listChanged":true, "odd":"\u00e9"}"#),
    ];
    if ProtocolVersion::V2025_03_26 <= version {
        all.push(("completions", "{}"));
    }
    if ProtocolVersion::V2025_11_25 <= version {
        all.push(("tasks", r#"{"list":{},"cancel":{},"requests":{"tools":{"call":{}}}}"#));
    }
    let shown = all.iter().filter(|(name, _)| !hidden.contains(name));
    let shown: Vec<String> = shown.map(|(name, value)| format!("\"{name}\":{value}")).collect();
    format!("{{{}}}", shown.join(","))
}

/// The result of `initialize`.
pub(crate) fn greeting(version: ProtocolVersion, capabilities: &str) -> String {
    format!(
        r#"{{"capabilities":{capabilities}, "protocolVersion":"{version}","serverInfo":{{"name":"puppet","title":"P\u00fcppet","version":"1","websiteUrl":"https://example.org","icons":[{{"src":"https://example.org/i.png","sizes":["48x48"]}}],"n":1e400}},"instructions":"say \"what\" to do\n","_meta":{{"x/y":-0}}}}"#
    )
}

impl Puppet {
    pub(crate) fn new(version: ProtocolVersion) -> Arc<Self> {
        Arc::new(Self {
            version,
            hello: Mutex::default(),
            heard: Mutex::default(),
            more: Condvar::new(),
            asked: Mutex::default(),
            in_flight: Mutex::default(),
            last: AtomicI64::new(0),
            unasked: Mutex::default(),
        })
    }

    /// From now on what is said unasked goes here.
    pub(crate) fn listen(&self, say: Say) {
        let mut unasked = lock(&self.unasked);
        unasked.0.drain(..).for_each(|text| say(&text));
        unasked.1 = Some(say);
    }

    pub(crate) fn say_unasked(&self, text: &str) {
        let mut unasked = lock(&self.unasked);
        match unasked.1.clone() {
            Some(say) => say(text),
            None => unasked.0.push(text.to_owned()),
        }
    }

    /// Takes a message; returns when a request has been answered, as far as it is.
    pub(crate) fn take(&self, text: &str, say: &Say) {
        // No client of the gateway's may be sent a batch, and no server either.
        if text.trim_start().starts_with('[') {
            return self.complain(format!("a batch: {text}"));
        }
        let said = Said::read(text);
        if let (true, Some(id)) = (said.is("server/discover"), &said.id)
            && lock(&self.hello).is_none()
        {
            // It may be asked which era it is of, before anything else.
            let error = r#"{"code":-32601,"message":"no such method"}"#;
            return say(&format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#));
        }
        match (&said.method, &said.id) {
            (Some(method), _) => self.check(&said, Role::Said(method)),
            (None, Some(id)) => return self.answered(id, said.clone()),
            (None, None) => return self.complain(format!("neither question nor answer: {text}")),
        }
        let Some(id) = &said.id else {
            lock(&self.heard).push(said);
            return self.more.notify_all();
        };
        let mut names = vec![format!("the id {id}")];
        let token = said.param(&["_meta", "progressToken"]);
        names.extend(token.map(|token| format!("the token {token}")));
        for name in &names {
            if !lock(&self.in_flight).insert(name.clone()) {
                self.complain(format!("{name} is in use already: {text}"));
            }
        }
        let body = self.answer(&said, say);
        lock(&self.in_flight).retain(|name| !names.contains(name));
        if let Some(body) = body {
            say(&format!(r#"{{"jsonrpc":"2.0", "id":{id},{body}}}"#));
        }
    }

    fn answered(&self, id: &str, said: Said) {
        let Some(asked) = lock(&self.asked).remove(id) else {
            return self.complain(format!("an answer to nothing: {}", said.text));
        };
        self.check(
            &said,
            Role::Answer { to: &asked.method, task: asked.task && said.error.is_none() },
        );
        drop(asked.answer.send(said));
    }

    fn check(&self, said: &Said, role: Role<'_>) {
        if let Some(complaint) = schema::complaint(self.version, &said.text, role) {
            self.complain(complaint);
        }
    }

    fn complain(&self, what: String) {
        let who = lock(&self.hello).as_deref().and_then(|it| inside(it, &["clientInfo", "name"]));
        lock(&COMPLAINTS).push(format!("server of {}, client {who:?}: {what}", self.version));
    }

    /// The `result` or the `error`; none where there is no answer.
    fn answer(&self, said: &Said, say: &Say) -> Option<String> {
        let method = said.method.as_deref().unwrap_or_default();
        if method == "initialize" {
            lock(&self.hello).clone_from(&said.params);
            let greeting = greeting(self.version, &capabilities(self.version, &[]));
            return Some(format!("\"result\":{greeting}"));
        }
        let steps = said.param(&["_meta", "x/script"]);
        let steps: Vec<HashMap<String, Box<RawValue>>> = match &steps {
            Some(steps) => serde_json::from_str(steps).unwrap(),
            None => Vec::new(),
        };
        let mut collected: Vec<String> = Vec::new();
        for step in steps {
            let (what, how) = step.into_iter().next().unwrap();
            let how = how.get();
            match &*what {
                "result" | "error" => return Some(format!("\"{what}\":{how}")),
                "say" => say(how),
                "unasked" => self.say_unasked(how),
                "mirror" => collected.push(said.params.clone().unwrap()),
                "hello" => collected.push(lock(&self.hello).clone().unwrap()),
                "progress" => {
                    let token = said.param(&["_meta", "progressToken"]).unwrap();
                    let params = format!(r#"{{"progressToken":{token},{}"#, &how[1..]);
                    let method = "notifications/progress";
                    say(&format!(r#"{{"jsonrpc":"2.0","method":"{method}","params":{params}}}"#));
                }
                "ask" => collected.push(self.ask(how, say)),
                "wait" => collected.push(self.wait(&text(how), |_| true)?.text),
                "meet" => meet(&text(how)),
                "hang" => {
                    let id = said.id.clone();
                    let named = |it: &Said| it.param(&["requestId"]) == id;
                    let cancelled = self.wait("notifications/cancelled", named);
                    // For whoever asks about it later; by another name, lest it be taken away from
                    // a call that has not seen it yet.
                    let hung = cancelled.map(|said| Said { method: Some(HUNG.to_owned()), ..said });
                    lock(&self.heard).extend(hung);
                    self.more.notify_all();
                    return None;
                }
                other => panic!("no step {other}"),
            }
        }
        let content = if method == "tools/call" { r#""content":[],"# } else { "" };
        Some(format!(r#""result":{{{content}"collected":[{}]}}"#, collected.join(",")))
    }

    /// Asks the client; returns its answer.
    fn ask(&self, how: &str, say: &Say) -> String {
        let part = |name: &str| inside(how, &[name]);
        let number = self.last.fetch_add(1, Ordering::Relaxed);
        let id = if number % 2 == 0 { format!("\"q\\\"{number}\"") } else { number.to_string() };
        let (method, (answer, answered)) = (text(&part("method").unwrap()), channel());
        let params = part("params").map(|it| format!(",\"params\":{it}")).unwrap_or_default();
        let question = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}"{params}}}"#);
        let task = part("params").is_some_and(|it| inside(&it, &["task"]).is_some());
        lock(&self.asked).insert(id.clone(), Asked { method, task, answer });
        if part("unasked").is_some() {
            self.say_unasked(&question);
        } else {
            say(&question);
        }
        if let Some(reason) = part("cancel") {
            say(&format!(
                r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{{"requestId":{id},"reason":{reason}}}}}"#
            ));
            lock(&self.asked).remove(&id);
            return id;
        }
        match answered.recv_timeout(PATIENCE) {
            Ok(answer) => answer.text,
            Err(_) => {
                self.complain(format!("never answered: {question}"));
                "null".to_owned()
            }
        }
    }

    /// Waits for a notification, and forgets it.
    fn wait(&self, method: &str, fits: impl Fn(&Said) -> bool) -> Option<Said> {
        let place = |heard: &Vec<Said>| heard.iter().position(|it| it.is(method) && fits(it));
        let waits = |heard: &mut Vec<Said>| place(heard).is_none();
        let heard = self.more.wait_timeout_while(lock(&self.heard), PATIENCE, waits);
        let mut heard = heard.unwrap_or_else(PoisonError::into_inner).0;
        let found = place(&heard).map(|at| heard.remove(at));
        drop(heard);
        if found.is_none() {
            self.complain(format!("never heard: {method}"));
        }
        found
    }
}

/// Waits for another request that comes to the same place.
fn meet(place: &str) {
    let (places, more) = &*MEETINGS;
    let mut there = lock(places);
    let count = there.entry(place.to_owned()).or_default();
    *count += 1;
    let turn = count.div_ceil(2) * 2;
    more.notify_all();
    let alone = |there: &mut HashMap<String, usize>| there[place] < turn;
    let met = more.wait_timeout_while(there, PATIENCE, alone);
    drop(met.unwrap_or_else(PoisonError::into_inner));
}
