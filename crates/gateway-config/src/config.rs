//! What a configuration comes to: checked, typed, and complete.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    fs::File,
    io::Read,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    command,
    dialect::{self, Dialect},
    env::{Env, NotingEnv, SystemEnv},
    file::FILE_LEN_MAX,
    group::{AggregateConfig, GroupConfig},
    problem::{ConfigError, Note, Origin, Problem},
    secret::{Secret, Text},
    server::{ServerConfig, Upstream},
    settings::{Limits, Timeouts},
    shaping::Shaping,
    url::Url,
    words::{Accept, Compat, EndpointStyle, LogFormat, LogLevel},
};

/// The port that is listened on when nobody says which.
pub const PORT: u16 = 9090;

/// Everything the gateway has to know, with every default filled in.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Whose file it was.
    pub dialect: Dialect,
    /// Where to listen; never empty.
    pub listen: Vec<Listen>,
    /// How clients see us from outside, if anybody said.
    pub public_url: Option<Url>,
    /// What all routes begin with: empty, or `/a/b` without a slash at the end.
    pub base_path: String,
    /// How the SSE transport names its message endpoint.
    pub endpoint_style: EndpointStyle,
    /// Certificate and key for TLS in front; `None`: plain HTTP.
    pub tls: Option<Tls>,
    /// Who may come in. Names and secrets are unique.
    pub tokens: Vec<TokenEntry>,
    /// Origins that browsers may call from (`https://app.example`, or `*`).
    pub allowed_origins: Vec<String>,
    /// The field by which a client of 2026-07-28 tells its conversations apart, in lower case.
    pub affinity_header: Option<String>,
    /// `Host` values that are ours beside the addresses listened on.
    pub allowed_hosts: Vec<String>,
    /// Whether to serve strangers who come from outside this machine.
    pub insecure: bool,
    /// What a missing `Accept` means.
    pub accept: Accept,
    /// Whose deviations are kept.
    pub compat: Compat,
    /// How and what to log.
    pub log: Log,
    /// Whether what passes is counted, for Prometheus.
    pub metrics: bool,
    /// Where it is written down who asked what; nowhere, unless somebody says.
    pub audit: Option<Audit>,
    /// What bounds us.
    pub limits: Limits,
    /// How long things may take.
    pub timeouts: Timeouts,
    /// Whether a change of the file, or of a file that it names, is taken over at once.
    pub watch: bool,
    /// Where this machine's user tells the gateway what to do.
    pub control: Control,
    /// Where sessions are kept.
    pub state_dir: StateDir,
    /// How long session ids are sealed with the same key.
    pub session_key_rotation: Duration,
    /// What running requests get when the gateway is told to end.
    pub shutdown_grace: Duration,
    /// What the gateway calls itself where it speaks for itself.
    pub server_name: String,
    /// The version it gives beside; `None`: its own.
    pub server_version: Option<String>,
    /// The servers behind, by name.
    pub servers: BTreeMap<String, ServerConfig>,
    /// How all of them are offered as one.
    pub aggregate: AggregateConfig,
    /// Chosen parts of several, by name.
    pub groups: BTreeMap<String, GroupConfig>,
    /// What the operator should know.
    pub notes: Vec<Note>,
    /// What was said in the file, by the path of our own schema.
    pub(crate) given: BTreeMap<String, Given>,
}

/// A value that somebody gave, as it may be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// The value; secrets are masked.
    pub shown: String,
    /// Who gave it.
    pub origin: Origin,
}

/// A place to listen at.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Listen {
    /// This port of every interface, IPv6 and IPv4 (`:9090`).
    Any(u16),
    /// This address.
    Tcp(SocketAddr),
    /// A name, resolved when listening begins.
    Name {
        /// The host's name.
        host: String,
        /// The port.
        port: u16,
    },
    /// A unix socket (`unix:/run/mcp-gateway.sock`).
    Unix(PathBuf),
}

/// Where sessions are kept, so that they survive a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum StateDir {
    /// Where the system keeps such things for who runs the gateway.
    #[default]
    Usual,
    /// Nowhere: they end with the process.
    None,
    /// Here.
    At(PathBuf),
}

/// TLS in front.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tls {
    /// The chain, as a PEM file.
    pub cert: PathBuf,
    /// Its private key, as a PEM file.
    pub key: PathBuf,
}

/// An audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Audit {
    /// The file.
    pub file: PathBuf,
    /// How many bytes of lines may wait to be written.
    pub queue_bytes_max: usize,
    /// How long a request waits that cannot be written down.
    pub wait_timeout: Duration,
}

impl Audit {
    /// To this file, with the usual bounds: 4 MiB, 5 s.
    pub fn to(file: PathBuf) -> Self {
        Self { file, queue_bytes_max: 4 << 20, wait_timeout: Duration::from_secs(5) }
    }
}

/// One token that lets somebody in.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TokenEntry {
    /// Its name, for logs and for servers' lists.
    pub name: String,
    /// What the caller has to know.
    pub secret: TokenSecret,
    /// Which servers it opens.
    pub servers: TokenScope,
    /// What is shown of them to who brings it.
    pub shape: Shaping,
}

/// What a caller has to know. `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TokenSecret {
    /// The token itself.
    Plain(Secret),
    /// Its SHA-256.
    Sha256([u8; 32]),
}

/// Which servers a token opens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenScope {
    /// Every one that does not name its tokens itself.
    #[default]
    All,
    /// These.
    Only(Vec<String>),
}

/// The unix socket by which a running gateway is told what to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Control {
    /// Where it is found by the port.
    #[default]
    Auto,
    /// There is none.
    Off,
    /// Here.
    At(PathBuf),
}

/// Logging.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Log {
    /// How lines look.
    pub format: LogFormat,
    /// What is logged.
    pub level: LogLevel,
}

// === impl Config ===

impl Default for Config {
    /// No servers, and every setting at its default.
    fn default() -> Self {
        Self {
            dialect: Dialect::Own,
            listen: vec![Listen::Tcp(SocketAddr::from(([127, 0, 0, 1], PORT)))],
            public_url: None,
            base_path: String::new(),
            endpoint_style: EndpointStyle::default(),
            tls: None,
            tokens: Vec::new(),
            allowed_origins: Vec::new(),
            affinity_header: None,
            allowed_hosts: Vec::new(),
            insecure: false,
            accept: Accept::default(),
            compat: Compat::default(),
            log: Log::default(),
            metrics: false,
            audit: None,
            limits: Limits::default(),
            timeouts: Timeouts::default(),
            watch: true,
            control: Control::default(),
            state_dir: StateDir::default(),
            session_key_rotation: Duration::from_secs(30 * 24 * 3600),
            shutdown_grace: Duration::from_secs(10),
            server_name: "mcp-gateway".to_owned(),
            server_version: None,
            servers: BTreeMap::new(),
            aggregate: AggregateConfig::default(),
            groups: BTreeMap::new(),
            notes: Vec::new(),
            given: BTreeMap::new(),
        }
    }
}

impl Config {
    /// Reads a file, with the process's environment, and paths relative to the file's folder.
    ///
    /// # Errors
    /// It cannot be read, or [`Config::parse`] has complaints.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        Self::load_noting(path).0
    }

    /// The same, and every file whose change may change the configuration: the file itself, those
    /// that it takes values from, whether they could be read or not, and certificates and keys.
    pub fn load_noting(path: &Path) -> (Result<Self, ConfigError>, BTreeSet<PathBuf>) {
        let base = path.parent().unwrap_or_else(|| Path::new(""));
        let base = std::path::absolute(base).unwrap_or_else(|_| base.to_owned());
        let env = NotingEnv::new(SystemEnv::new(base));
        let read = Self::read(path, &env);
        let mut files = env.into_noted();
        files.insert(path.to_owned());
        if let Ok(config) = &read {
            let tls = config.tls.iter().flat_map(|tls| [&tls.cert, &tls.key]);
            let ca = config.enabled().filter_map(|server| server.upstream.remote()?.ca.as_ref());
            files.extend(tls.chain(ca).cloned());
        }
        (read, files)
    }

    fn read(path: &Path, env: &dyn Env) -> Result<Self, ConfigError> {
        let fail = |what: String| ConfigError::one(Problem::whole(what)).in_file(path);
        let cannot = |error: std::io::Error| fail(format!("cannot be read: {error}"));
        let mut bytes = Vec::new();
        // One byte more than allowed, to know.
        let len_max = u64::try_from(FILE_LEN_MAX).unwrap_or(u64::MAX).saturating_add(1);
        let file = File::open(path).map_err(cannot)?;
        file.take(len_max).read_to_end(&mut bytes).map_err(cannot)?;
        if bytes.len() > FILE_LEN_MAX {
            return Err(fail(format!(
                "longer than {FILE_LEN_MAX} bytes: this is no configuration"
            )));
        }
        let text = String::from_utf8(bytes)
            .map_err(|error| fail(format!("is not UTF-8: {}", error.utf8_error())))?;
        Self::parse(&text, env).map_err(|error| error.in_file(path))
    }

    /// Reads a text of any dialect.
    ///
    /// # Errors
    /// Everything that is wrong with it, each with its place and its path of keys.
    pub fn parse(text: &str, env: &dyn Env) -> Result<Self, ConfigError> {
        dialect::read(text, env)
    }

    /// One server, from a command, as in `gateway serve -- npx -y some-server /tmp`. Its name is
    /// made from the command: `server-filesystem` becomes `filesystem`.
    ///
    /// # Errors
    /// The command is empty, or one that only a shell understands.
    pub fn for_command(program: &str, args: &[String]) -> Result<Self, ConfigError> {
        let args: Vec<Text> = args.iter().map(Text::new).collect();
        let parsed = command::read(Text::new(program), args, &SystemEnv::new(""));
        let (stdio, note) = parsed.map_err(|fault| {
            let problem = Problem { help: fault.help, ..Problem::whole(fault.what) };
            ConfigError::one(problem)
        })?;
        let name = command::name(&stdio);
        let mut config = Self::one(ServerConfig::new(name, Upstream::Stdio(stdio)));
        config.notes.extend(note.map(|text| Note { key: "command".to_owned(), text }));
        Ok(config)
    }

    /// The demonstration server alone, on loopback.
    pub fn demo() -> Self {
        Self::one(ServerConfig::new("demo", Upstream::Demo))
    }

    fn one(server: ServerConfig) -> Self {
        Self { servers: [(server.name.clone(), server)].into(), ..Self::default() }
    }

    /// Where a value came from, by its path in our own schema, such as `gateway.listen` or
    /// `mcpServers.fetch.startTimeout`.
    pub fn origin(&self, key: &str) -> Origin {
        self.given.get(key).map(|given| given.origin.clone()).unwrap_or_default()
    }

    /// Every value that somebody gave, by its path in our own schema: all others are defaults.
    pub fn given(&self) -> impl Iterator<Item = (&str, &Given)> {
        self.given.iter().map(|(key, given)| (key.as_str(), given))
    }

    /// The servers that are offered as one.
    pub fn aggregated(&self) -> impl Iterator<Item = &ServerConfig> {
        self.enabled().filter(|server| server.aggregated)
    }

    /// The servers that are to be served.
    pub fn enabled(&self) -> impl Iterator<Item = &ServerConfig> {
        self.servers.values().filter(|server| !server.disabled)
    }
}

// === impl TokenSecret ===

impl fmt::Debug for TokenSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain(_) => "Plain(***)",
            Self::Sha256(_) => "Sha256(***)",
        })
    }
}

// === impl Listen ===

impl Listen {
    /// Whether only this machine can reach it.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Any(_) => false,
            Self::Tcp(address) => address.ip().to_canonical().is_loopback(),
            Self::Name { host, .. } => {
                let host = host.to_ascii_lowercase();
                host == "localhost" || host.ends_with(".localhost")
            }
            Self::Unix(_) => true,
        }
    }

    /// Reads `127.0.0.1:9090`, `[::1]:9090`, `name:9090`, `:9090`, `unix:/path`.
    ///
    /// # Errors
    /// It is none of these; the error gives the forms.
    pub fn parse(text: &str) -> Result<Self, ListenError> {
        let text = text.trim();
        if let Some(path) = text.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return if path.is_empty() { Err(ListenError) } else { Ok(Self::Unix(path.into())) };
        }
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Ok(Self::Tcp(address));
        }
        let (host, port) = text.rsplit_once(':').ok_or(ListenError)?;
        let port = port.parse().map_err(|_| ListenError)?;
        if host.is_empty() || host == "*" {
            return Ok(Self::Any(port));
        }
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        if !host.bytes().all(plain) {
            return Err(ListenError);
        }
        Ok(match host.parse::<IpAddr>() {
            Ok(ip) => Self::Tcp(SocketAddr::new(ip, port)),
            Err(_) => Self::Name { host: host.to_owned(), port },
        })
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any(port) => write!(f, ":{port}"),
            Self::Tcp(address) => address.fmt(f),
            Self::Name { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// This is nothing to listen at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not an address to listen at: want \"127.0.0.1:9090\" (this machine alone), \":9090\" (every \
     interface), \"name:9090\" or \"unix:/path\""
)]
pub struct ListenError;

#[cfg(test)]
mod tests;
