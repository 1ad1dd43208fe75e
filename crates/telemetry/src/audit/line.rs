//! What a line of an audit log says.  Neither arguments nor results are in it, no token, and of ids
//! that open something the end alone.

use std::time::Duration;

use mcp_jsonrpc::{
    Era, Message,
    modern::CLIENT_INFO,
    object::pick,
    transport::{Caller, Exchange, SessionId, TransportError},
};

use super::Audit;
use crate::{Method, Outcome, cut, stamp};

/// How much of a name, a URI or a reason is written down, in characters.
const TEXT_LEN_MAX: usize = 256;
/// How much of an id that opens something, at its end.
const END_LEN: usize = 6;

/// A request, while it is under way.
#[derive(Debug)]
pub(crate) struct Line {
    caller: Caller,
    session: Option<SessionId>,
    method: Method,
    /// JSON texts.
    target: Option<Box<str>>,
    client: Option<Box<str>>,
    pub(crate) code: Option<Box<str>>,
    reason: Option<Box<str>>,
    sent: usize,
    pub(crate) received: usize,
}

/// One that got no further than the door.
#[derive(Debug)]
pub struct Refused<'a> {
    /// The server it was for.
    pub server: &'a str,
    /// Who sent it, where that is known.
    pub caller: Option<&'a str>,
    /// Where from.
    pub address: Option<&'a str>,
    /// The method, where it was read.
    pub method: Option<&'a str>,
    /// The status it was answered with.
    pub status: u16,
    /// Why, in words.
    pub reason: Option<&'a str>,
}

/// A line while it is written.
struct Json(String);

// === impl Line ===

impl Line {
    pub(crate) fn new(method: Method, exchange: &Exchange, session: Option<&SessionId>) -> Self {
        let message = &exchange.message;
        let is_modern = exchange.version.is_some_and(|it| it.era() == Era::Modern);
        let names = [method.target().unwrap_or("_meta"), if is_modern { "_meta" } else { "" }];
        // What names it twice may be read otherwise by whoever carries it out.
        let (target, meta) = match message.pick(names) {
            Ok([target, meta]) => (target, meta.filter(|_| is_modern)),
            Err(_) => (Some("\"(unreadable)\""), None),
        };
        let target = match method.as_str() {
            "completion/complete" => target.and_then(|it| either(it, ["name", "uri"])),
            "tasks/list" => None,
            _ => target,
        };
        let target = match method.target() {
            Some("taskId") => target.and_then(end_of),
            _ => target.and_then(bounded),
        };
        let client = meta.and_then(|meta| pick(meta, [CLIENT_INFO]).ok()?[0]).and_then(client);
        let session = session.cloned();
        let session = session.or_else(|| exchange.caller.trail.as_ref()?.session.clone());
        Self {
            caller: exchange.caller.clone(),
            session,
            method,
            target,
            client,
            code: None,
            reason: None,
            sent: message.as_bytes().len(),
            received: 0,
        }
    }

    /// Notes the error that it was answered with, by its code; its words are the server's.
    pub(crate) fn answered(&mut self, error: &Message) {
        let code = error.pick(["code"]).ok().and_then(|it| it[0]);
        self.code = code.filter(|it| it.len() < 12).map(Into::into);
    }

    /// Notes why there is no answer.
    pub(crate) fn failed(&mut self, error: &TransportError) {
        let said = error.said().to_string();
        self.reason = Some(shortened(&said).into());
    }

    /// Writes it down.
    pub(crate) fn end(&self, audit: &Audit, server: &str, outcome: Outcome, after: Duration) {
        let mut json = Json::begin("request");
        json.text("server", server);
        if let Some(trail) = &self.caller.trail
            && *trail.at != *server
        {
            json.text("via", &trail.at);
        }
        json.who(&self.caller, self.session.as_ref());
        json.raw("client", self.client.as_deref());
        json.text("method", self.method.as_str());
        json.raw("target", self.target.as_deref());
        json.text("outcome", outcome.as_str());
        json.raw("code", self.code.as_deref());
        if let Some(reason) = &self.reason {
            json.text("reason", reason);
        }
        let us = u64::try_from(after.as_micros()).unwrap_or(u64::MAX);
        for (name, value) in [("us", us), ("in", self.sent as u64), ("out", self.received as u64)] {
            json.number(name, value);
        }
        audit.write(&json.end());
    }
}

/// A session that begins, by what its client says of itself, or ends.
pub(crate) fn session(
    (audit, server): (&Audit, &str),
    event: &'static str,
    caller: Option<&Caller>,
    (session, client): (Option<&SessionId>, Option<&str>),
) {
    let mut json = Json::begin(event);
    json.text("server", server);
    match caller {
        Some(caller) => json.who(caller, session),
        None => json.session(session),
    }
    json.raw("client", client);
    audit.write(&json.end());
}

/// What a client that begins says of itself: its name and version as a JSON text.
pub(crate) fn client_of(initialize: &Message) -> Option<Box<str>> {
    client(initialize.pick(["clientInfo"]).ok()?[0]?)
}

/// Says of how many lines there is nothing but their number.
pub(super) fn lost(count: u64, lines: &mut Vec<u8>) {
    if count > 0 {
        let mut json = Json::begin("lost");
        json.number("lines", count);
        lines.extend_from_slice(json.end().as_bytes());
    }
}

impl Audit {
    /// Writes down a request that got no further than the door.
    pub fn refused(&self, it: &Refused<'_>) {
        if it.method.is_some_and(|method| !Method::of(method).is_content()) {
            return;
        }
        let mut json = Json::begin("refused");
        json.text("server", it.server);
        for (name, value) in [
            ("caller", it.caller),
            ("address", it.address),
            ("method", it.method),
            ("reason", it.reason),
        ] {
            if let Some(value) = value {
                json.text(name, shortened(value));
            }
        }
        json.number("status", u64::from(it.status));
        self.write(&json.end());
    }
}

// === impl Json ===

impl Json {
    fn begin(event: &'static str) -> Self {
        let mut out = String::with_capacity(384);
        out.push_str("{\"time\":\"");
        stamp::now(&mut out);
        for part in ["\",\"event\":\"", event, "\""] {
            out.push_str(part);
        }
        Self(out)
    }

    fn name(&mut self, name: &str) {
        for part in [",\"", name, "\":"] {
            self.0.push_str(part);
        }
    }

    /// What is JSON already.
    fn raw(&mut self, name: &str, json: Option<&str>) {
        if let Some(json) = json {
            self.name(name);
            self.0.push_str(json);
        }
    }

    /// A text; most have nothing in them that would have to be escaped.
    fn text(&mut self, name: &str, value: &str) {
        self.name(name);
        if value.bytes().all(is_plain) {
            for part in ["\"", value, "\""] {
                self.0.push_str(part);
            }
        } else {
            self.0.push_str(&written(value));
        }
    }

    fn number(&mut self, name: &str, value: u64) {
        self.name(name);
        stamp::number(value, &mut self.0);
    }

    fn who(&mut self, caller: &Caller, session: Option<&SessionId>) {
        for (name, value) in [("caller", &caller.subject), ("address", &caller.address)] {
            if let Some(value) = value {
                self.text(name, value);
            }
        }
        self.session(session);
    }

    fn session(&mut self, session: Option<&SessionId>) {
        if let Some(session) = session {
            self.text("session", session.short());
        }
    }

    fn end(mut self) -> String {
        self.0.push_str("}\n");
        self.0
    }
}

fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\')
}

/// A text as JSON.
fn written(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_else(|_| "\"\"".to_owned())
}

fn shortened(text: &str) -> &str {
    cut::shortened(text, TEXT_LEN_MAX)
}

/// A text as it is written in JSON, of which no more is kept than may be.
fn bounded(json: &str) -> Option<Box<str>> {
    let inner = json.strip_prefix('"')?.strip_suffix('"')?;
    if inner.len() <= TEXT_LEN_MAX && inner.bytes().all(is_plain) {
        return Some(json.into());
    }
    let text: String = serde_json::from_str(json).ok()?;
    Some(written(shortened(&text)).into())
}

/// Enough of an id to tell it from others.
fn end_of(json: &str) -> Option<Box<str>> {
    let text: String = serde_json::from_str(json).ok()?;
    let long = text.chars().count() > 2 * END_LEN;
    let end: String = text.chars().rev().take(END_LEN).collect();
    let end = if long { end.chars().rev().collect() } else { String::new() };
    Some(written(&format!("…{end}")).into())
}

/// The first of these members that there is.
fn either<'a>(json: &'a str, names: [&str; 2]) -> Option<&'a str> {
    let [first, second] = pick(json, names).ok()?;
    first.or(second)
}

/// Name and version of a client, as one JSON text.
fn client(info: &str) -> Option<Box<str>> {
    let [name, version] = pick(info, ["name", "version"]).ok()?;
    let text = |json: Option<&str>| json.and_then(|it| serde_json::from_str::<String>(it).ok());
    let name = text(name)?;
    let said = match text(version) {
        Some(version) => format!("{}/{}", shortened(&name), shortened(&version)),
        None => name,
    };
    Some(written(shortened(&said)).into())
}
