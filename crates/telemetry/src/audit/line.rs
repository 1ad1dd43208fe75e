//! What a line of an audit log says.  Neither arguments nor results are in it, no token, and of ids
//! that open something the end alone.

use std::{borrow::Cow, sync::Arc, time::Duration};

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
/// Most lines are shorter.
const LINE_LEN: usize = 320;
/// How a line begins; the time is put in its place when it is ended.
const BEGIN: &[u8] = b"{\"time\":\"0000-00-00T00:00:00.000000Z\",\"event\":\"";
const TIME_AT: usize = 9;

/// The name of a member, as it stands between another one and its value.
macro_rules! member {
    ($name:literal) => {
        concat!(",\"", $name, "\":")
    };
}

/// The same with the quote that a text begins with.
macro_rules! text {
    ($name:literal) => {
        concat!(",\"", $name, "\":\"")
    };
}

/// What is written down of one server.
#[derive(Debug)]
pub(crate) struct Audited {
    pub(crate) audit: Audit,
    server: Arc<str>,
    /// How the lines of its requests begin.
    begin: Json,
}

/// A request, while it is under way: its line, as far as it is known.
#[derive(Debug)]
pub(crate) struct Line {
    json: Json,
    /// The code or reason of an error, with its name.
    error: Option<Box<str>>,
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
#[derive(Debug)]
struct Json(Vec<u8>);

// === impl Audited ===

impl Audited {
    pub(crate) fn new(audit: Audit, server: &Arc<str>) -> Self {
        let mut begin = Json::begin("request");
        begin.text(text!("server"), server);
        Self { audit, server: Arc::clone(server), begin }
    }

    /// Begins the line of a request.
    pub(crate) fn line(
        &self,
        method: Method,
        exchange: &Exchange,
        session: Option<&SessionId>,
    ) -> Line {
        let (message, caller) = (&exchange.message, &exchange.caller);
        let is_modern = exchange.version.is_some_and(|it| it.era() == Era::Modern);
        let (target, meta) = about(method, message, is_modern);
        let client = meta.and_then(|meta| pick(meta, [CLIENT_INFO]).ok()?[0]).and_then(client);
        let trail = caller.trail.as_deref();
        let mut json = Json::after(&self.begin);
        if let Some(via) = trail.map(|it| &*it.at).filter(|via| **via != *self.server) {
            json.text(text!("via"), via);
        }
        json.who(caller, session.or_else(|| trail?.session.as_ref()));
        json.raw(member!("client"), client.as_deref());
        json.plain(text!("method"), method.as_str());
        json.raw(member!("target"), target.as_deref());
        Line { json, error: None, sent: message.as_bytes().len(), received: 0 }
    }

    /// Writes down a session that begins, by what its client says of itself, or ends.
    pub(crate) fn session(
        &self,
        event: &'static str,
        caller: Option<&Caller>,
        (session, client): (Option<&SessionId>, Option<&str>),
    ) {
        let mut json = Json::begin(event);
        json.text(text!("server"), &self.server);
        match caller {
            Some(caller) => json.who(caller, session),
            None => json.session(session),
        }
        json.raw(member!("client"), client);
        self.audit.write(json.end());
    }
}

// === impl Line ===

impl Line {
    /// Notes the error that it was answered with, by its code; its words are the server's.
    pub(crate) fn answered(&mut self, error: &Message) {
        let code = error.pick(["code"]).ok().and_then(|it| it[0]);
        let code = code.filter(|it| it.len() < 12);
        self.error = code.map(|code| [member!("code"), code].concat().into());
    }

    /// Notes why there is no answer.
    pub(crate) fn failed(&mut self, error: &TransportError) {
        let said = written(shortened(&error.said().to_string()));
        self.error = Some([member!("reason"), &said].concat().into());
    }

    /// Writes it down.
    pub(crate) fn end(&mut self, audit: &Audit, outcome: Outcome, after: Duration) {
        let json = &mut self.json;
        json.plain(text!("outcome"), outcome.as_str());
        json.raw("", self.error.as_deref());
        let us = u64::try_from(after.as_micros()).unwrap_or(u64::MAX);
        json.number(member!("us"), us);
        json.number(member!("in"), self.sent as u64);
        json.number(member!("out"), self.received as u64);
        audit.write(json.end());
    }
}

/// What a request is about, as JSON, and its `_meta` where there may be one of interest.
fn about(
    method: Method,
    message: &Message,
    is_modern: bool,
) -> (Option<Cow<'_, str>>, Option<&str>) {
    if method.target() == Some("name")
        && !is_modern
        && let Some(name) = message.name()
    {
        return (bounded(name), None);
    }
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
        Some("taskId") => target.and_then(end_of).map(Cow::Owned),
        _ => target.and_then(bounded),
    };
    (target, meta)
}

/// What a client that begins says of itself: its name and version as a JSON text.
pub(crate) fn client_of(initialize: &Message) -> Option<Box<str>> {
    client(initialize.pick(["clientInfo"]).ok()?[0]?)
}

/// Says of how many lines there is nothing but their number.
pub(super) fn lost(count: u64, lines: &mut Vec<u8>) {
    if count > 0 {
        let mut json = Json::begin("lost");
        json.number(member!("lines"), count);
        lines.extend_from_slice(json.end());
    }
}

impl Audit {
    /// Writes down a request that got no further than the door.
    pub fn refused(&self, it: &Refused<'_>) {
        if it.method.is_some_and(|method| !Method::of(method).is_content()) {
            return;
        }
        let mut json = Json::begin("refused");
        json.text(text!("server"), it.server);
        for (name, value) in [
            (text!("caller"), it.caller),
            (text!("address"), it.address),
            (text!("method"), it.method),
            (text!("reason"), it.reason),
        ] {
            if let Some(value) = value {
                json.text(name, shortened(value));
            }
        }
        json.number(member!("status"), u64::from(it.status));
        self.write(json.end());
    }
}

// === impl Json ===

impl Json {
    fn begin(event: &'static str) -> Self {
        let mut out = BEGIN.to_vec();
        out.extend_from_slice(event.as_bytes());
        out.push(b'"');
        Self(out)
    }

    /// One that begins as this one.
    fn after(begin: &Self) -> Self {
        let mut out = Vec::with_capacity(LINE_LEN.max(begin.0.len()));
        out.extend_from_slice(&begin.0);
        Self(out)
    }

    /// What is JSON already.
    fn raw(&mut self, name: &'static str, json: Option<&str>) {
        if let Some(json) = json {
            self.0.extend_from_slice(name.as_bytes());
            self.0.extend_from_slice(json.as_bytes());
        }
    }

    /// A text, whose name has its first quote; most have nothing in them that would have to be
    /// escaped.
    fn text(&mut self, name: &'static str, value: &str) {
        if is_plain(value) {
            self.plain(name, value);
        } else {
            let value = written(value);
            self.0.extend_from_slice(name.as_bytes());
            self.0.extend_from_slice(value.as_bytes().get(1..).unwrap_or_default());
        }
    }

    /// A text that has nothing in it that would have to be escaped.
    fn plain(&mut self, name: &'static str, value: &str) {
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(value.as_bytes());
        self.0.push(b'"');
    }

    fn number(&mut self, name: &'static str, value: u64) {
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(stamp::digits(value, &mut [0; 20]));
    }

    fn who(&mut self, caller: &Caller, session: Option<&SessionId>) {
        if let Some(subject) = &caller.subject {
            self.text(text!("caller"), subject);
        }
        if let Some(address) = &caller.address {
            self.text(text!("address"), address);
        }
        self.session(session);
    }

    fn session(&mut self, session: Option<&SessionId>) {
        if let Some(session) = session {
            self.text(text!("session"), session.short());
        }
    }

    /// The line as a whole, with the time that it is now.
    fn end(&mut self) -> &[u8] {
        self.0.extend_from_slice(b"}\n");
        if let Some(time) = self.0.get_mut(TIME_AT..TIME_AT + stamp::LEN) {
            time.copy_from_slice(&stamp::bytes());
        }
        &self.0
    }
}

/// Whether a text is written in JSON as it is.
fn is_plain(text: &str) -> bool {
    let is_odd = |byte: u8| !matches!(byte, b' '..=b'~') | matches!(byte, b'"' | b'\\');
    // Without a way out in the middle, so that many are looked at at once.
    !text.bytes().fold(false, |odd, byte| odd | is_odd(byte))
}

/// A text as JSON.
fn written(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_else(|_| "\"\"".to_owned())
}

fn shortened(text: &str) -> &str {
    cut::shortened(text, TEXT_LEN_MAX)
}

/// A text as it is written in JSON, of which no more is kept than may be.
fn bounded(json: &str) -> Option<Cow<'_, str>> {
    let inner = json.strip_prefix('"')?.strip_suffix('"')?;
    if inner.len() <= TEXT_LEN_MAX && is_plain(inner) {
        return Some(json.into());
    }
    let text: String = serde_json::from_str(json).ok()?;
    Some(written(shortened(&text)).into())
}

/// Enough of an id to tell it from others.
fn end_of(json: &str) -> Option<String> {
    let text: String = serde_json::from_str(json).ok()?;
    let long = text.chars().count() > 2 * END_LEN;
    let end: String = text.chars().rev().take(END_LEN).collect();
    let end = if long { end.chars().rev().collect() } else { String::new() };
    Some(written(&format!("…{end}")))
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
