//! Our own schema: every key, what it used to be called, and what else people write.

mod foreign;

use self::foreign::{GATEWAY_RENAMED, SERVER_RENAMED};
pub(crate) use self::foreign::{SERVER_ALIASES, SERVER_IGNORED};
use crate::{
    group::AggregateConfig,
    settings::{Limits, Restart, Timeouts},
};

/// One key, for the reference.
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) default: String,
    pub(crate) meaning: String,
}

/// An object of the schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    Top,
    Gateway,
    Tls,
    Token,
    Log,
    Audit,
    Limits,
    Timeouts,
    Server,
    Tools,
    Filter,
    Override,
    Argument,
    Aggregate,
    Group,
    GroupServer,
    Restart,
    /// An object of a foreign dialect, of which we know the keys we take and no others.
    Foreign,
}

type Row = (&'static str, &'static str, &'static str, &'static str);

const TOP: &[Row] = &[
    ("gateway", "object", "`{}`", "The gateway itself."),
    (
        "mcpServers",
        "object",
        "`{}`",
        "The servers behind, by name. An entry of another product's file can be pasted. A name is a route: letters, digits, `-`, `_`, `.`.",
    ),
    (
        "groups",
        "object",
        "`{}`",
        "Chosen parts of several servers as one, at `/g/NAME/mcp` and `/g/NAME/sse`: see [AGGREGATE.md](AGGREGATE.md).",
    ),
    ("$schema", "string", "", "For editors; ignored."),
];

const GATEWAY: &[Row] = &[
    (
        "listen",
        "string or list",
        "`127.0.0.1:9090`",
        "Where to listen: `127.0.0.1:9090`, `:9090` (every interface), `name:9090`, `unix:/path`. Anything but this machine wants `tokens`, or `insecure`.",
    ),
    (
        "publicUrl",
        "URL",
        "",
        "How clients see the gateway from outside. Its path is the mount path, unless `basePath` is given.",
    ),
    ("basePath", "string", "empty", "What all routes begin with, such as `/tools`."),
    (
        "endpointStyle",
        "`relative`, `absolute`",
        "`relative`",
        "How the SSE transport names its message endpoint: a path, or a whole URL below `publicUrl`.",
    ),
    ("tls", "object", "", "TLS in front."),
    (
        "tokens",
        "object or list",
        "`{}`",
        "Who may come in: a name and its token, or an object; a list of tokens without names.",
    ),
    (
        "allowedOrigins",
        "list",
        "`[]`",
        "Origins whose pages may call from a browser (CORS): `https://app.example`, or `*`.",
    ),
    (
        "affinityHeader",
        "string",
        "none",
        "The HTTP field by which clients of 2026-07-28 tell their conversations apart (ISOLATION.md).",
    ),
    (
        "allowedHosts",
        "list",
        "`[]`",
        "`Host` values that are ours, beside the addresses listened on and `publicUrl`'s.",
    ),
    (
        "insecure",
        "boolean",
        "`false`",
        "Serve strangers from outside this machine without any token.",
    ),
    (
        "accept",
        "`lenient`, `strict`",
        "`lenient`",
        "Whether a request with a missing or partial `Accept` is served or gets 406.",
    ),
    (
        "compat",
        "`off`, `tbxark`",
        "`off`",
        "`tbxark`: a raw token without `Bearer` passes, an unknown SSE session answers 400. On in files with `mcpProxy`.",
    ),
    ("log", "object", "", "Logging."),
    (
        "metrics",
        "boolean",
        "`false`",
        "Whether what passes is counted, and `/metrics` says it to Prometheus: see [OPERATIONS.md](OPERATIONS.md#metrics).",
    ),
    (
        "audit",
        "object",
        "",
        "Where it is written down who asked what of which server: see [OPERATIONS.md](OPERATIONS.md#the-audit-log).",
    ),
    ("limits", "object", "", "What bounds the gateway."),
    ("timeouts", "object", "", "How long things may take."),
    ("aggregate", "object", "", "How all servers are offered as one, at `/mcp` and `/sse`."),
    (
        "watch",
        "boolean",
        "`true`",
        "Whether a change of this file, or of a file that it names, is taken over at once. SIGHUP and `gateway reload` always work.",
    ),
    (
        "control",
        "path or `off`",
        "by the port",
        "The unix socket that `gateway reload` speaks to, for this user alone: `$XDG_RUNTIME_DIR/mcp-gateway/PORT.sock`, or below the folder for temporary files.",
    ),
    (
        "stateDir",
        "path or `none`",
        "by the user",
        "Where what survives a restart is kept: `~/.local/state/mcp-gateway`, for root `/var/lib/mcp-gateway`, under systemd its `StateDirectory`. `none`: in memory, and sessions end with the gateway. `--state-dir` wins.",
    ),
    (
        "sessionKeyRotation",
        "duration",
        "`720h`",
        "How long session ids are sealed with the same key. Those sealed before stay good.",
    ),
    (
        "shutdownGrace",
        "duration",
        "`10s`",
        "What running requests get when the gateway is told to end.",
    ),
    (
        "name",
        "string",
        "`mcp-gateway`",
        "What the gateway calls itself where it speaks for itself.",
    ),
    ("version", "string", "its own", "The version it gives beside."),
];

const TLS: &[Row] = &[
    ("cert", "path", "required", "The certificate chain (PEM)."),
    ("key", "path", "required", "Its private key (PEM)."),
];

const TOKEN: &[Row] = &[
    ("secret", "string", "", "The token; better `${VAR}` or `${file:path}` than written out."),
    ("sha256", "string", "", "Its SHA-256 in 64 hex digits, instead of `secret`."),
    ("servers", "`all` or list", "`all`", "Which servers it opens."),
    ("tools", "object", "", "Which of their tools exist for it: see `mcpServers.NAME.tools`."),
    ("prompts", "object", "", "Which of their prompts exist for it."),
    ("resources", "object", "", "Which of their resources exist for it."),
];

const LOG: &[Row] = &[
    ("format", "`text`, `json`", "`text`", "For people, or one JSON object a line."),
    ("level", "`error`, `warn`, `info`, `debug`, `trace`", "`info`", "This and everything graver."),
];

const AUDIT: &[Row] = &[
    (
        "file",
        "path",
        "required",
        "The file that lines are added to; made with mode 0600, and made anew where it was moved away.",
    ),
    ("queueBytesMax", "size", "`4MiB`", "Lines that wait to be written; beyond, requests wait."),
    (
        "wait",
        "duration",
        "`5s`",
        "How long a request waits that cannot be written down; then it is refused.",
    ),
];

const SERVER: &[Row] = &[
    (
        "type",
        "`stdio`, `sse`, `streamable-http`, `http`, `auto`, `demo`",
        "by the other keys",
        "How to reach it. With `url` alone: `sse` if its path ends in `/sse`, else `auto`: Streamable HTTP first, then SSE. `http` is Streamable HTTP.",
    ),
    (
        "command",
        "string",
        "",
        "A program to start, without a shell. A whole command line is split.",
    ),
    ("args", "list", "`[]`", "Its arguments."),
    ("env", "object", "`{}`", "Variables of its environment."),
    ("envFile", "path", "", "A file of `NAME=value` lines; `env` wins."),
    (
        "inheritEnv",
        "boolean",
        "`false`",
        "Give it the gateway's whole environment, not only a small part. `true` in TBXark's and mcpo's files, as there.",
    ),
    ("cwd", "path", "the gateway's", "Where it runs."),
    (
        "url",
        "URL",
        "",
        "An HTTP server to connect to. `user:password@` becomes an `Authorization` header.",
    ),
    ("headers", "object", "`{}`", "Header lines for each request to it."),
    ("ca", "path", "", "Certificates to trust beside the system's (PEM)."),
    ("insecureTls", "boolean", "`false`", "Accept any certificate of it."),
    ("disabled", "boolean", "`false`", "Do not start it; its routes answer 503 and say so."),
    (
        "startup",
        "`eager`, `lazy`, `required`",
        "`eager`",
        "With the gateway; with the first request; with the gateway, which ends if it fails.",
    ),
    (
        "isolation",
        "`auto`, `shared`, `caller`, `session`, `request`",
        "`auto`",
        "Who shares a session with it, and so a child: see [ISOLATION.md](ISOLATION.md).",
    ),
    (
        "tokens",
        "`inherit`, `open` or list",
        "`inherit`",
        "Who may come in: every token that opens it; everybody; the tokens of these names.",
    ),
    ("tools", "object", "", "Which of its tools exist for clients, and how they are shown."),
    ("prompts", "object", "", "Which of its prompts exist for clients."),
    ("resources", "object", "", "Which of its resources and templates exist for clients, by URI."),
    (
        "alias",
        "string",
        "its name",
        "What precedes the names of its tools where many servers are one.",
    ),
    ("prefix", "`conflict`, `always`, `never`", "`gateway.aggregate.prefix`", "When it does."),
    ("aggregate", "boolean", "`true`", "Whether it is one of those offered as one at `/mcp`."),
    (
        "protocol",
        "`auto` or a revision",
        "`auto`",
        "Which revision of the protocol is spoken to it: what it speaks is found out, or `2026-07-28`, say. See [OPERATIONS.md](OPERATIONS.md#which-revision-a-server-speaks).",
    ),
    (
        "logEnabled",
        "boolean",
        "`true`",
        "Whether its requests are logged at `info`, or only at `debug`; those refused always are.",
    ),
    ("startTimeout", "duration", "`timeouts.start`", "How long a request waits for it to start."),
    ("connectTimeout", "duration", "`timeouts.connect`", "Connecting to it."),
    (
        "firstByteTimeout",
        "duration",
        "`timeouts.firstByte`",
        "From a request to the first part of its answer.",
    ),
    ("idleTimeout", "duration", "`timeouts.idle`", "Between two parts of an answer."),
    (
        "requestTimeout",
        "duration",
        "`timeouts.request`",
        "From a request to the end of its answer.",
    ),
    (
        "stopTimeout",
        "duration",
        "`timeouts.stop`",
        "Between closing its stdin, SIGTERM and SIGKILL.",
    ),
    (
        "keepAlive",
        "duration",
        "`timeouts.keepAlive`",
        "Between two comments on its silent streams.",
    ),
    ("messageLenMax", "size", "`limits.messageLenMax`", "One message from it."),
    ("sessionMax", "count", "`limits.sessionMax`", "Its sessions."),
    ("childMax", "count", "`limits.childMax`", "Its child processes."),
    ("childQueueMax", "count", "`limits.childQueueMax`", "Who may wait for one of them."),
    ("childWait", "duration", "`timeouts.childWait`", "And for how long."),
    (
        "childIdle",
        "duration",
        "`timeouts.childIdle`",
        "How long a shared session with it is kept when no client uses it.",
    ),
    ("warm", "count", "none", "Children started ahead, of which new sessions take theirs."),
    (
        "pingInterval",
        "duration",
        "`timeouts.pingInterval`",
        "After how much silence it is asked whether it is there.",
    ),
    (
        "pingTimeout",
        "duration",
        "`timeouts.pingTimeout`",
        "How long a child without work may take to say so; then it is replaced.",
    ),
    (
        "roots",
        "list",
        "",
        "What a session that clients share answers to `roots/list`: `file://` URIs.",
    ),
    ("restart", "object", "", "What happens when it dies."),
];

const TOOLS: &[Row] = &[
    (
        "allow",
        "list",
        "",
        "These only: names, patterns (`get_*`, `?`), or what their annotations say (`readOnlyHint=true`).",
    ),
    ("block", "list", "", "None of these."),
    ("override", "object", "", "Tools that are shown otherwise, by their servers' names for them."),
];

const FILTER: &[Row] = &[
    ("allow", "list", "", "These only: names or URIs, or patterns of them."),
    ("block", "list", "", "None of these."),
];

const OVERRIDE: &[Row] = &[
    ("name", "string", "", "Its name for clients."),
    ("description", "string", "", "Its description for clients."),
    ("arguments", "object", "", "Its arguments, as far as something about them is otherwise."),
];

const ARGUMENT: &[Row] = &[
    ("hide", "boolean", "", "It is not there."),
    ("value", "any", "", "It is not there, and the server is always told this."),
    ("default", "any", "", "The server is told this by whoever says nothing else."),
];

const GROUP: &[Row] = &[
    (
        "servers",
        "list or object",
        "required",
        "Its servers: their names; or an object of them, with what is special about each here.",
    ),
    ("tools", "object", "", "Which tools of all of them exist here: see `mcpServers.NAME.tools`."),
    ("prompts", "object", "", "Which prompts exist here."),
    ("resources", "object", "", "Which resources exist here."),
    (
        "tokens",
        "`inherit`, `open` or list",
        "`inherit`",
        "Who may come in. Whoever does sees those of its servers that are open to it anyway.",
    ),
    ("prefix", "`conflict`, `always`, `never`", "`gateway.aggregate.prefix`", "As there."),
    ("separator", "string", "`gateway.aggregate.separator`", "As there."),
    ("nameLenMax", "count", "`gateway.aggregate.nameLenMax`", "As there."),
    ("search", "boolean", "`gateway.aggregate.search`", "As there."),
];

const GROUP_SERVER: &[Row] = &[
    ("alias", "string", "the server's", "What precedes the names of its tools here."),
    ("prefix", "`conflict`, `always`, `never`", "the server's", "When it does."),
    ("tools", "object", "", "Which of its tools exist here."),
    ("prompts", "object", "", "Which of its prompts exist here."),
    ("resources", "object", "", "Which of its resources exist here."),
];

// === impl Scope ===

impl Scope {
    fn rows(self) -> &'static [Row] {
        match self {
            Self::Top => TOP,
            Self::Gateway => GATEWAY,
            Self::Tls => TLS,
            Self::Token => TOKEN,
            Self::Log => LOG,
            Self::Audit => AUDIT,
            Self::Server => SERVER,
            Self::Tools => TOOLS,
            Self::Filter => FILTER,
            Self::Override => OVERRIDE,
            Self::Argument => ARGUMENT,
            Self::Group => GROUP,
            Self::GroupServer => GROUP_SERVER,
            Self::Limits | Self::Timeouts | Self::Aggregate | Self::Restart | Self::Foreign => &[],
        }
    }

    /// Every key, in the order of the reference.
    pub(crate) fn keys(self) -> Vec<Key> {
        match self {
            Self::Limits => Limits::keys(),
            Self::Timeouts => Timeouts::keys(),
            Self::Restart => Restart::keys(),
            Self::Aggregate => AggregateConfig::keys(),
            _ => self.rows().iter().map(Key::from).collect(),
        }
    }

    fn names(self) -> Vec<&'static str> {
        match self {
            Self::Limits => Limits::NAMES.to_vec(),
            Self::Timeouts => Timeouts::NAMES.to_vec(),
            Self::Restart => Restart::NAMES.to_vec(),
            Self::Aggregate => AggregateConfig::NAMES.to_vec(),
            _ => self.rows().iter().map(|(name, ..)| *name).collect(),
        }
    }

    /// What to write instead of a key that once was, or is somebody else's.
    pub(crate) fn renamed(self, key: &str) -> Option<&'static str> {
        let table = match self {
            Self::Gateway => GATEWAY_RENAMED,
            Self::Server => SERVER_RENAMED,
            _ => &[],
        };
        table.iter().find(|(old, _)| *old == key).map(|(_, help)| *help)
    }

    pub(crate) fn did_you_mean(self, key: &str) -> Option<String> {
        did_you_mean(key, self.names()).or_else(|| {
            let known: Vec<_> = self.names().iter().map(|name| format!("`{name}`")).collect();
            (!known.is_empty() && known.len() <= 5)
                .then(|| format!("known are {}", known.join(", ")))
        })
    }
}

impl From<&Row> for Key {
    fn from((name, kind, default, meaning): &Row) -> Self {
        Self { name, kind, default: (*default).to_owned(), meaning: (*meaning).to_owned() }
    }
}

/// The nearest known word, if it is near enough to be meant.
pub(crate) fn did_you_mean<'w>(
    word: &'w str,
    known: impl IntoIterator<Item = &'w str>,
) -> Option<String> {
    nearest(word, known).map(|known| format!("did you mean `{known}`?"))
}

/// Near enough: one slip in three letters.
pub(crate) fn nearest<'w>(word: &str, known: impl IntoIterator<Item = &'w str>) -> Option<&'w str> {
    // The distance is quadratic in the length, and no key of ours is longer.
    let word: String = word.chars().take(64).flat_map(char::to_lowercase).collect();
    let distance = |known: &&str| strsim::osa_distance(&word, &known.to_lowercase());
    let known = known.into_iter().min_by_key(distance)?;
    (distance(&known) <= (known.len() / 3).max(1)).then_some(known)
}
