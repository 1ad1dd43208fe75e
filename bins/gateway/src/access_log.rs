//! One line for every request, also for those refused before any route.

use std::{
    borrow::Cow,
    fmt::{self, Write},
    sync::Arc,
    time::Duration,
};

use hyper::{Method, Request, Response, Uri};
use mcp_jsonrpc::transport::Caller;
use router::route::Door as Way;
use serde::Serialize;
use telemetry::{Audit, Counts, Refused, counts::TurnedAway, stamp};
use tokio::time::Instant;
use tracing::{Level, debug, info};
use transport_sse::{body::Outgoing, note::Note};

use crate::{
    door::{Door, Entry},
    log,
};

/// How much of a path or a reason is logged.
const TEXT_LEN_MAX: usize = 300;

/// The line of one request, while it is answered.
#[derive(Debug)]
pub(crate) struct Line {
    began: Instant,
    method: Option<Method>,
    uri: Option<Uri>,
    /// What is shown for a path that holds a secret.
    path: Option<String>,
    server: Option<(Arc<str>, Way)>,
    caller: Option<Arc<str>>,
    /// Only worth a line at `debug`, unless it is refused.
    quiet: bool,
    /// Where it was sent from.
    address: Option<Arc<str>>,
    /// Where it is counted: as the server's it is for, or as nobody's.
    counts: Option<Arc<Counts>>,
}

/// What a line says, as both formats write it.
#[derive(Debug, Serialize)]
pub(crate) struct Said<'a> {
    method: &'a str,
    path: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    caller: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rpc: Option<&'a str>,
    status: u16,
    us: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

// === impl Line ===

impl Line {
    /// Begins with what the request says.  Its query is left out: it may hold a session id.
    pub(crate) fn begin<B>(request: &Request<B>) -> Self {
        Self::of(Some(request.method()), Some(request.uri()))
    }

    /// Begins with what could be read of something that is no request.
    pub(crate) fn of(method: Option<&Method>, uri: Option<&Uri>) -> Self {
        let (method, uri) = (method.cloned(), uri.cloned());
        let (path, server, caller) = (None, None, None);
        let (began, quiet, address, counts) = (Instant::now(), false, None, None);
        Self { began, method, uri, path, server, caller, quiet, address, counts }
    }

    /// The same, sent from this address.
    pub(crate) fn from(mut self, address: Option<Arc<str>>) -> Self {
        self.address = address;
        self
    }

    /// The same, to be counted here, if anything is.
    pub(crate) fn counted(mut self, counts: Option<&Arc<Counts>>) -> Self {
        self.counts = counts.cloned();
        self
    }

    /// Adds the server it is for, and the name by which its path means that.
    pub(crate) fn server(&mut self, route: &str, entry: &Entry, way: Way) {
        let name = entry.rooms.server.name();
        if route != &**name {
            self.path = self.uri.as_ref().map(|uri| uri.path().replacen(route, name, 1));
        }
        self.server = Some((Arc::clone(name), way));
        self.quiet = !entry.logged;
        self.counts = entry.rooms.counts().cloned();
    }

    /// Adds who sent it, who is told where from.
    pub(crate) fn caller(&mut self, caller: &mut Caller) {
        self.caller.clone_from(&caller.subject);
        caller.address.clone_from(&self.address);
    }

    /// Writes it.  The duration ends where the head of the response is ready: a stream goes on.
    ///
    /// The gateway's own log is written directly, since this line is most of it; inside somebody
    /// else's service it is an event like any other.
    pub(crate) fn end(self, response: &mut Response<Outgoing>, door: &Door) {
        let path = shortened(self.uri.as_ref().map_or("-", Uri::path));
        let path = match (&self.path, &self.server) {
            (Some(shown), _) => Cow::Borrowed(shortened(shown)),
            // A route is known not to hold a secret; of what is none, nothing is known.
            (None, Some(_)) => Cow::Borrowed(path),
            (None, None) => door.guard.masked(path),
        };
        let note = response.body_mut().take_note().unwrap_or_default();
        let elapsed = self.began.elapsed();
        self.count(response.status().as_u16(), &note, elapsed);
        let said = Said {
            method: self.method.as_ref().map_or("-", Method::as_str),
            path: &path,
            server: self.server.as_ref().map(|(name, _)| &**name),
            route: self.server.as_ref().map(|(_, way)| way.as_str()),
            caller: self.caller.as_deref(),
            session: note.session.as_ref().map(|it| it.short()),
            rpc: note.rpc_method.as_deref().map(shortened),
            status: response.status().as_u16(),
            us: u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX),
            reason: note.reason.as_deref().map(shortened),
        };
        if let Some(audit) = &door.audit
            && 400 <= said.status
            && !note.carried
        {
            said.write_down(audit, self.address.as_deref());
        }
        let quiet = self.quiet && said.status < 400;
        match log::requests() {
            Some(requests) => requests.write(&said, if quiet { Level::DEBUG } else { Level::INFO }),
            None if quiet => debug!("request {said}"),
            None => info!("request {said}"),
        }
    }

    fn count(&self, code: u16, note: &Note, elapsed: Duration) {
        let Some(counts) = &self.counts else { return };
        counts.answered(code);
        if note.refused && 400 <= code {
            counts.turned_away(TurnedAway::with(code));
        }
        let is_stream = matches!(self.server, Some((_, Way::Sse)));
        if is_stream && code == 200 && self.method == Some(Method::GET) {
            counts.sse_set_up(elapsed);
        }
    }
}

impl Said<'_> {
    /// Has it written down that this was refused, where it was for a server.
    fn write_down(&self, audit: &Audit, address: Option<&str>) {
        let Some(server) = self.server else { return };
        let (caller, method, status) = (self.caller, self.rpc, self.status);
        audit.refused(&Refused { server, caller, address, method, status, reason: self.reason });
    }

    /// As text.  What a client or server wrote is quoted, its control characters escaped.
    pub(crate) fn write(&self, out: &mut String) {
        // No control character or space gets into a URI's path.
        for part in ["method=", self.method, " path=", self.path] {
            out.push_str(part);
        }
        for (name, value) in [
            ("server", self.server),
            ("route", self.route),
            ("caller", self.caller),
            ("session", self.session),
            ("rpc", self.rpc),
        ] {
            if let Some(value) = value {
                quote(name, value, out);
            }
        }
        for (name, value) in [(" status=", u64::from(self.status)), (" us=", self.us)] {
            out.push_str(name);
            stamp::number(value, out);
        }
        if let Some(reason) = self.reason {
            quote("reason", reason, out);
        }
    }
}

impl fmt::Display for Said<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::with_capacity(256);
        self.write(&mut text);
        f.write_str(&text)
    }
}

/// Adds a value in quotes; most have nothing in them that would have to be escaped.
fn quote(name: &str, value: &str, out: &mut String) {
    for part in [" ", name, "="] {
        out.push_str(part);
    }
    // Without a way out in the middle, so that many are looked at at once.
    let is_odd = |byte: u8| !matches!(byte, b' '..=b'~') | matches!(byte, b'"' | b'\\');
    if !value.bytes().fold(false, |odd, byte| odd | is_odd(byte)) {
        for part in ["\"", value, "\""] {
            out.push_str(part);
        }
    } else {
        // Writing to a string cannot fail.
        write!(out, "{value:?}").ok();
    }
}

fn shortened(text: &str) -> &str {
    telemetry::shortened(text, TEXT_LEN_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_wrote_cannot_forge_a_line() {
        let said = Said {
            method: "POST",
            path: "/a/mcp",
            server: Some("a"),
            route: Some("mcp"),
            caller: None,
            session: Some("abc123"),
            rpc: Some("x\n2026 INFO y\" status=200"),
            status: 400,
            us: 7,
            reason: Some("\u{1b}[31m"),
        };
        assert_eq!(
            said.to_string(),
            r#"method=POST path=/a/mcp server="a" route="mcp" session="abc123" rpc="x\n2026 INFO y\" status=200" status=400 us=7 reason="\u{1b}[31m""#
        );
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let long = "ü".repeat(TEXT_LEN_MAX + 1);
        assert_eq!(shortened(&long).chars().count(), TEXT_LEN_MAX);
        assert_eq!(shortened("short"), "short");
    }
}
