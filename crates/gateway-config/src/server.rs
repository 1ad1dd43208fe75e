//! What is known of one server behind: how to reach it, and how to treat it.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use crate::{
    secret::{Secret, Text},
    settings::{Limits, Restart, Timeouts},
    shaping::Shaping,
    url::Url,
    words::{Isolation, Prefix, Startup},
};

/// One server behind. Two are equal if nothing about them has to change on a reload.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerConfig {
    /// Its name, which is also its route. It may hold `/` (TBXark's secret paths).
    pub name: String,
    /// How to reach it.
    pub upstream: Upstream,
    /// Not to be started nor served; its routes say so.
    pub disabled: bool,
    /// When it is started.
    pub startup: Startup,
    /// How long a request waits for it to start.
    pub start_timeout: Duration,
    /// From a request to the end of its answer.
    pub request_timeout: Duration,
    /// From a request to the first part of its answer.
    pub first_byte_timeout: Duration,
    /// Between two parts of an answer.
    pub idle_timeout: Duration,
    /// What a child gets between closed stdin, SIGTERM and SIGKILL.
    pub stop_timeout: Duration,
    /// Between two comments on a silent stream in front.
    pub keep_alive_interval: Duration,
    /// Who shares a session with it.
    pub isolation: Isolation,
    /// Who may come in.
    pub guard: Guard,
    /// Which of its things exist for clients, and how they are shown.
    pub shape: Shaping,
    /// What precedes the names of its tools where many servers are one; `None`: its name.
    pub alias: Option<String>,
    /// When it does; `None`: as for all.
    pub prefix: Option<Prefix>,
    /// Whether it is one of those that are offered as one at `/mcp`.
    pub aggregated: bool,
    /// One message from it, in bytes.
    pub message_len_max: usize,
    /// Its sessions in front.
    pub session_max: usize,
    /// Its child processes.
    pub child_max: usize,
    /// Who may wait for one of them.
    pub child_queue_max: usize,
    /// And for how long.
    pub child_wait_timeout: Duration,
    /// How long a child that sessions share is kept when none uses it.
    pub child_idle_timeout: Duration,
    /// Children started before anybody needs them.
    pub warm_count: usize,
    /// After how much silence it is asked whether it is there.
    pub ping_interval: Duration,
    /// How long a child may take to say so.
    pub ping_timeout: Duration,
    /// What a session that several clients share answers to `roots/list`: `file:` URIs.
    pub roots: Vec<String>,
    /// What happens when it dies.
    pub restart: Restart,
    /// Which revision is spoken to it.
    pub protocol: Protocol,
    /// Whether its requests are logged at `info` (else at `debug`).
    pub log_enabled: bool,
}

/// How a server is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Upstream {
    /// A process of our own, over its stdin and stdout.
    Stdio(Stdio),
    /// HTTP+SSE of revision 2024-11-05.
    Sse(Remote),
    /// Streamable HTTP.
    Streamable(Remote),
    /// Not said which: Streamable HTTP first, then HTTP+SSE.
    Http(Remote),
    /// The demonstration server inside the gateway.
    Demo,
}

/// A process to start. There is no shell between.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stdio {
    /// The program: a path, or a name looked up in `PATH`.
    pub program: Text,
    /// Its arguments.
    pub args: Vec<Text>,
    /// Variables added to its environment.
    pub env: BTreeMap<String, Secret>,
    /// Whether it gets the gateway's whole environment, or a small part.
    pub inherit_env: bool,
    /// Where it runs; `None`: where the gateway does.
    pub cwd: Option<PathBuf>,
    /// The command line that was split into program and arguments, if one was.
    pub split_from: Option<Text>,
}

/// An HTTP server to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Remote {
    /// Its endpoint.
    pub url: Url,
    /// Header lines added to each request, by lower-case name; names and values are valid ones.
    pub headers: BTreeMap<String, Secret>,
    /// A file of certificates (PEM) to trust beside the system's.
    pub ca: Option<PathBuf>,
    /// Whether any certificate will do.
    pub insecure_tls: bool,
    /// Connecting, TLS included.
    pub connect_timeout: Duration,
}

/// Who may come in to a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Guard {
    /// Every token whose scope includes it; everybody, if there are no tokens at all.
    #[default]
    Inherit,
    /// Everybody.
    Open,
    /// The tokens of these names only.
    Tokens(Vec<String>),
}

/// Which revision of the protocol is spoken to a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Protocol {
    /// The newest that it knows.
    #[default]
    Auto,
    /// This one: `2025-06-18`, say.
    Pinned(String),
}

// === impl ServerConfig ===

impl ServerConfig {
    /// A server with every setting at its default.
    pub fn new(name: impl Into<String>, upstream: Upstream) -> Self {
        Self::with(name.into(), upstream, &Limits::default(), &Timeouts::default())
    }

    pub(crate) fn with(
        name: String,
        upstream: Upstream,
        limits: &Limits,
        timeouts: &Timeouts,
    ) -> Self {
        Self {
            name,
            upstream,
            disabled: false,
            startup: Startup::default(),
            start_timeout: timeouts.start_timeout,
            request_timeout: timeouts.request_timeout,
            first_byte_timeout: timeouts.first_byte_timeout,
            idle_timeout: timeouts.idle_timeout,
            stop_timeout: timeouts.stop_timeout,
            keep_alive_interval: timeouts.keep_alive_interval,
            isolation: Isolation::default(),
            guard: Guard::default(),
            shape: Shaping::default(),
            alias: None,
            prefix: None,
            aggregated: true,
            message_len_max: limits.message_len_max,
            session_max: limits.session_max,
            child_max: limits.child_max,
            child_queue_max: limits.child_queue_max,
            child_wait_timeout: timeouts.child_wait_timeout,
            child_idle_timeout: timeouts.child_idle_timeout,
            warm_count: 0,
            ping_interval: timeouts.ping_interval,
            ping_timeout: timeouts.ping_timeout,
            roots: Vec::new(),
            restart: Restart::default(),
            protocol: Protocol::default(),
            log_enabled: true,
        }
    }

    /// Its routes below the mount path, the ones to tell people about.
    pub fn routes(&self) -> [String; 2] {
        [format!("/{}/mcp", self.name), format!("/{}/sse", self.name)]
    }
}

// === impl Upstream ===

impl Upstream {
    /// The kind, as `type` spells it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Stdio(_) => "stdio",
            Self::Sse(_) => "sse",
            Self::Streamable(_) => "streamable-http",
            Self::Http(_) => "auto",
            Self::Demo => "demo",
        }
    }

    /// The HTTP server, if it is one.
    pub fn remote(&self) -> Option<&Remote> {
        match self {
            Self::Sse(remote) | Self::Streamable(remote) | Self::Http(remote) => Some(remote),
            _ => None,
        }
    }

    pub(crate) fn remote_mut(&mut self) -> Option<&mut Remote> {
        match self {
            Self::Sse(remote) | Self::Streamable(remote) | Self::Http(remote) => Some(remote),
            _ => None,
        }
    }
}

// === impl Stdio ===

impl Stdio {
    /// A process with nothing added to its environment.
    pub fn new(program: Text, args: Vec<Text>) -> Self {
        Self {
            program,
            args,
            env: BTreeMap::new(),
            inherit_env: false,
            cwd: None,
            split_from: None,
        }
    }
}

// === impl Remote ===

impl Remote {
    /// A server with nothing special about it.
    pub fn new(url: Url) -> Self {
        let connect_timeout = Timeouts::default().connect_timeout;
        Self { url, headers: BTreeMap::new(), ca: None, insecure_tls: false, connect_timeout }
    }
}
