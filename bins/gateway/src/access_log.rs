//! One line for every request, also for those refused before any route.

use hyper::{Method, Request, Response};
use mcp_jsonrpc::transport::Caller;
use router::route::Door as Way;
use tokio::time::Instant;
use tracing::info;
use transport_sse::{body::Outgoing, note::Note};

/// How much of a path or a reason is logged.
const TEXT_LEN_MAX: usize = 300;

/// The line of one request, while it is answered.
#[derive(Debug)]
pub(crate) struct Line {
    began: Instant,
    method: Method,
    path: String,
    server: Option<(String, Way)>,
    caller: Option<std::sync::Arc<str>>,
}

// === impl Line ===

impl Line {
    /// Begins with what the request says.  Its query is left out: it may hold a session id.
    pub(crate) fn begin<B>(request: &Request<B>) -> Self {
        let path = request.uri().path().chars().take(TEXT_LEN_MAX).collect();
        let method = request.method().clone();
        Self { began: Instant::now(), method, path, server: None, caller: None }
    }

    /// Adds the server it is for.
    pub(crate) fn server(&mut self, name: &str, way: Way) {
        self.server = Some((name.to_owned(), way));
    }

    /// Adds who sent it.
    pub(crate) fn caller(&mut self, caller: &Caller) {
        self.caller.clone_from(&caller.subject);
    }

    /// Writes it.  The duration ends where the head of the response is ready: a stream goes on.
    pub(crate) fn end(self, response: &mut Response<Outgoing>) {
        if !tracing::enabled!(tracing::Level::INFO) {
            return;
        }
        let note = response.extensions_mut().remove::<Note>().unwrap_or_default();
        let reason =
            note.reason.as_deref().map(|it| it.chars().take(TEXT_LEN_MAX).collect::<String>());
        let (server, route) = match &self.server {
            Some((name, way)) => (Some(name.as_str()), Some(way.as_str())),
            None => (None, None),
        };
        info!(
            method = %self.method,
            path = %self.path,
            server,
            route,
            caller = self.caller.as_deref(),
            session = note.session.as_ref().map(|it| it.short()),
            rpc = note.rpc_method.as_deref(),
            status = response.status().as_u16(),
            us = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX),
            reason,
            "request",
        );
    }
}
