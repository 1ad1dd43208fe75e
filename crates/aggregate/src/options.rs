//! How servers are shown as one, and how long anybody waits for them.

use std::time::Duration;

use catalogue::{Limits, Settings};
use mcp_jsonrpc::transport::InboxMax;

/// How servers are shown as one, and how long anybody waits for them.
#[derive(Clone, Debug)]
pub struct Options {
    /// What it says of itself.
    pub about: About,
    /// How names are made, lists are cut, instructions are joined.
    pub view: Settings,
    /// How much of each server's lists is kept.
    pub limits: Limits,
    /// How long an answer about all servers waits for one of them; without it then, and what is
    /// missing is named.
    pub member_timeout: Duration,
    /// How long a session with a server may take to open, where the way there knows no shorter
    /// time.
    pub open_timeout: Duration,
    /// How long a server may take for each page of its lists.
    pub page_timeout: Duration,
    /// How long a list is taken for what it was, of a server that neither announces changes nor
    /// says how long it may be kept.
    pub list_ttl: Duration,
    /// What is answered from a list that may have changed.
    pub stale: Stale,
    /// The least time between two announcements of changes, and between two looks at one server's
    /// lists.
    pub debounce: Duration,
    /// Before a server that could not be asked is asked again: at first.
    pub retry_min: Duration,
    /// And at most; it doubles with each failure.
    pub retry_max: Duration,
    /// How long lists are kept that no session uses.
    pub scope_idle_timeout: Duration,
    /// Of how many scopes lists are kept that no session uses.
    pub scope_max: usize,
    /// To how many sessions servers may list something alone, each server counted for itself; the
    /// others are shown what all are.
    pub own_max: usize,
    /// How many questions of servers may be open with one client.
    pub questions_max: usize,
    /// How much that servers say unasked may wait for one session.
    pub inbox: InboxMax,
    /// Whether three tools that search are shown in the place of all.
    pub search: bool,
}

/// What an aggregate says of itself.
#[derive(Clone, Debug)]
pub struct About {
    /// Its name, in `serverInfo`.
    pub name: String,
    /// Its version, in `serverInfo`.
    pub version: String,
}

/// What is answered from a list that may have changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stale {
    /// What it is now: the answer waits, up to [`Options::member_timeout`].
    #[default]
    Wait,
    /// What it was; that it changed is announced.
    Serve,
}

// === impl Options ===

impl Options {
    /// The defaults: 10 s for a server, 2 minutes to open a session with one, 60 s for a page, 5 minutes for a list, 250 ms between
    /// announcements, 1 s to 1 minute before a server is asked again.
    pub fn new(about: About) -> Self {
        Self {
            about,
            view: Settings::default(),
            limits: Limits::default(),
            member_timeout: Duration::from_secs(10),
            open_timeout: Duration::from_secs(120),
            page_timeout: Duration::from_secs(60),
            list_ttl: Duration::from_secs(5 * 60),
            stale: Stale::default(),
            debounce: Duration::from_millis(250),
            retry_min: Duration::from_secs(1),
            retry_max: Duration::from_secs(60),
            scope_idle_timeout: Duration::from_secs(5 * 60),
            scope_max: 1000,
            own_max: 1000,
            questions_max: 256,
            inbox: InboxMax::default(),
            search: false,
        }
    }
}
