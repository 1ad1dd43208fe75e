//! What a server's life looks like from outside.

use std::sync::Arc;

use serde::Serialize;

/// Where a server is in its life (DESIGN: servers' life).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Not started yet: the first request starts it.
    Idle,
    /// Being started for the first time.
    Starting,
    /// Its last handshake succeeded.
    Ready,
    /// Failed; tried again after a pause.
    Backoff,
    /// Failed too often; tried again only when somebody asks.
    Parked,
    /// Shutting down.
    Closed,
}

/// A server's life at one moment.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The server's name.
    pub name: Arc<str>,
    /// Where it is in its life.
    pub state: State,
    /// For how long, in seconds.
    pub state_secs: u64,
    /// What went wrong last, with the server's last words, also when all is well again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<Arc<str>>,
    /// What the server calls itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_info: Option<Arc<str>>,
    /// The revision it last spoke.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol_version: Option<&'static str>,
    /// Sessions that clients have open.
    pub sessions: usize,
    /// Sessions open behind, each a child process or a session of an HTTP server.
    pub links: usize,
    /// Requests being answered.
    pub in_flight: usize,
    /// Streams that listen for changes and belong to no session (2026-07-28).
    pub listening: usize,
    /// How often the server died or was lost unexpectedly.
    pub restarts: u64,
    /// Who waits for a child or a session of it, since there are as many as may be.
    pub waiting: usize,
    /// How many waited in vain.
    pub turned_away: u64,
    /// Notifications that could not be said to be anybody's, on sessions that several clients
    /// share.
    pub dropped: u64,
    /// Questions of the server's that no client could be asked.
    pub refused: u64,
    /// Children that were replaced because they did not answer a `ping`.
    pub hung: u64,
}
