//! The command line.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use clap::{Args, Parser, Subcommand, ValueEnum};

/// The hidden command by which the gateway starts itself as the supervisor of a child.
pub const SUPERVISE: &str = "__supervise";

const SERVE_EXAMPLES: &str = "\
Examples:
  gateway serve gateway.json
  gateway serve -- npx -y @modelcontextprotocol/server-filesystem /tmp
  gateway serve";
const RELOAD_NOTES: &str = "\
A gateway that was started with a file takes over its changes by itself, and on SIGHUP.
This command does it now and tells what came of it.

Exit codes: 0, the configuration holds; 1, no gateway was reached; 2, the configuration is wrong
and the one before stays.";
const STDIO_EXAMPLES: &str = "\
Examples:
  gateway stdio postgres --config gateway.json
  gateway stdio --config gateway.json
  gateway stdio --group dev --config gateway.json
  gateway stdio https://mcp.example.org/mcp --header 'Authorization: Bearer TOKEN'";

/// One door to any number of MCP servers.
///
/// Any MCP client, over stdio, HTTP+SSE or Streamable HTTP, works with any MCP server behind,
/// whatever transport and protocol revision each of them speaks.
#[derive(Debug, Parser)]
#[command(name = "gateway", version, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve MCP servers: those of a configuration, one given as a command, or a demonstration
    #[command(after_help = SERVE_EXAMPLES)]
    Serve(Serve),
    /// Have a running gateway read its configuration again; exit code 2 if that is wrong
    #[command(after_help = RELOAD_NOTES)]
    Reload(Reload),
    /// Say what a configuration means, secrets masked; exit code 2 if it is wrong
    Check(Check),
    /// Offer servers on standard input and output, for clients that only speak stdio
    #[command(after_help = STDIO_EXAMPLES)]
    Stdio(Stdio),
    /// Start the servers of a configuration, and say which tools they have, under which names
    Tools(Tools),
    /// Show or rotate the keys that session ids are sealed with
    Key(Key),
    /// Ask a running gateway how its servers are; exit code 1 if one is not well
    Status(Status),
}

/// `gateway serve`.
#[derive(Clone, Debug, Args)]
pub struct Serve {
    /// The configuration file (JSON; comments are allowed)
    #[arg(value_name = "FILE", conflicts_with_all = ["config", "command"])]
    pub file: Option<PathBuf>,
    /// The same, as an option
    #[arg(short, long, value_name = "FILE", conflicts_with = "command")]
    pub config: Option<PathBuf>,
    /// Where to listen instead: 127.0.0.1:9090, :9090, name:9090, unix:/path
    #[arg(short, long, value_name = "ADDR")]
    pub listen: Vec<String>,
    /// Where what survives a restart is kept; `none`: nowhere, and sessions end with the gateway
    #[arg(long, value_name = "DIR", env = "MCP_GATEWAY_STATE_DIR")]
    pub state_dir: Option<String>,
    /// Serve strangers: allow addresses that others can reach without any token
    #[arg(long)]
    pub insecure: bool,
    /// How the log looks
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
    /// What is logged
    #[arg(long, value_enum, value_name = "LEVEL")]
    pub log_level: Option<LogLevel>,
    /// The command of one server to serve, after `--`
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// `gateway reload`.
#[derive(Debug, Args)]
pub struct Reload {
    /// The configuration file of the gateway that is meant, where several run
    #[arg(short, long, value_name = "FILE", env = "MCP_GATEWAY_CONFIG")]
    pub config: Option<PathBuf>,
    /// The address of the gateway that is meant
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// The socket of the gateway that is meant, as `gateway.control` says
    #[arg(long, value_name = "PATH", conflicts_with_all = ["url"])]
    pub control: Option<PathBuf>,
    /// Write JSON
    #[arg(long)]
    pub json: bool,
}

/// `gateway check`.
#[derive(Debug, Args)]
pub struct Check {
    /// The configuration file
    #[arg(value_name = "FILE", required_unless_present = "config")]
    pub file: Option<PathBuf>,
    /// The same, as an option
    #[arg(short, long, value_name = "FILE", conflicts_with = "file")]
    pub config: Option<PathBuf>,
    /// Write JSON
    #[arg(long)]
    pub json: bool,
}

/// `gateway tools`.
#[derive(Debug, Args)]
pub struct Tools {
    /// The configuration file
    #[arg(short, long, value_name = "FILE", env = "MCP_GATEWAY_CONFIG")]
    pub config: PathBuf,
    /// Those of a group, under their names there
    #[arg(short, long, value_name = "NAME")]
    pub group: Option<String>,
    /// Those of one server alone
    #[arg(short, long, value_name = "NAME")]
    pub server: Option<String>,
    /// How long to wait for a server, in seconds
    #[arg(long, value_name = "SECS", default_value_t = 60)]
    pub wait: u64,
    /// Write JSON
    #[arg(long)]
    pub json: bool,
    /// What is logged, on standard error
    #[arg(long, value_enum, value_name = "LEVEL", default_value = "error")]
    pub log_level: LogLevel,
}

/// `gateway stdio`.
#[derive(Debug, Args)]
pub struct Stdio {
    /// A server of the configuration, or the URL of a remote one; without: all servers as one
    #[arg(value_name = "NAME|URL", conflicts_with = "group")]
    pub server: Option<String>,
    /// The servers of a group, as one
    #[arg(short, long, value_name = "NAME")]
    pub group: Option<String>,
    /// The configuration file
    #[arg(short, long, value_name = "FILE", env = "MCP_GATEWAY_CONFIG")]
    pub config: Option<PathBuf>,
    /// A header to send to a remote server, as 'Name: value'; may be repeated
    #[arg(short = 'H', long = "header", value_name = "HEADER")]
    pub headers: Vec<String>,
    /// How the remote server is reached
    #[arg(long, value_enum, default_value = "auto")]
    pub transport: RemoteTransport,
    /// What is logged, on standard error
    #[arg(long, value_enum, value_name = "LEVEL", default_value = "warn")]
    pub log_level: LogLevel,
}

/// `gateway key`.
#[derive(Debug, Args)]
pub struct Key {
    /// What to do with them.
    #[command(subcommand)]
    pub action: KeyAction,
}

/// What to do with the keys.
#[derive(Debug, Subcommand)]
pub enum KeyAction {
    /// Show which there are; a first one is made where there is none
    List(KeyPlace),
    /// Make a new one; what was sealed before stays good for as long as sessions may live
    Rotate {
        /// Where they are.
        #[command(flatten)]
        place: KeyPlace,
        /// Forget all others, so that no id from before is good any more
        #[arg(long)]
        revoke: bool,
    },
}

/// Where the keys are.
#[derive(Debug, Args)]
pub struct KeyPlace {
    /// The configuration file that the gateway is started with
    #[arg(short, long, value_name = "FILE", env = "MCP_GATEWAY_CONFIG")]
    pub config: Option<PathBuf>,
    /// The state directory
    #[arg(long, value_name = "DIR", env = "MCP_GATEWAY_STATE_DIR")]
    pub state_dir: Option<String>,
}

/// `gateway status`.
#[derive(Debug, Args)]
pub struct Status {
    /// The gateway's address
    #[arg(value_name = "URL", default_value = "http://127.0.0.1:9090")]
    pub url: String,
    /// A token of the gateway's
    #[arg(long, value_name = "TOKEN", env = "MCP_GATEWAY_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// Write JSON
    #[arg(long)]
    pub json: bool,
}

/// How the log looks.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// What is logged.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum LogLevel {
    /// What broke.
    Error,
    /// What needs somebody's attention.
    Warn,
    /// Every request, and the life of every server.
    Info,
    /// What helps to find out why.
    Debug,
    /// Everything.
    Trace,
}

/// How a remote server is reached.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum RemoteTransport {
    /// Streamable HTTP first, then HTTP+SSE.
    Auto,
    /// Streamable HTTP.
    Streamable,
    /// HTTP+SSE.
    Sse,
}

impl Serve {
    /// The same, with the file where it is looked for, however it was named.
    #[must_use]
    pub fn settled(mut self) -> Self {
        self.config = self.config.or_else(|| self.file.take());
        self
    }
}

impl Check {
    /// The configuration file, however it was named; empty only where nothing was parsed.
    pub fn file(&self) -> &Path {
        self.config.as_deref().or(self.file.as_deref()).unwrap_or_else(|| Path::new(""))
    }
}

impl From<LogFormat> for gateway_config::LogFormat {
    fn from(format: LogFormat) -> Self {
        match format {
            LogFormat::Text => Self::Text,
            LogFormat::Json => Self::Json,
        }
    }
}

impl From<LogLevel> for gateway_config::LogLevel {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Error => Self::Error,
            LogLevel::Warn => Self::Warn,
            LogLevel::Info => Self::Info,
            LogLevel::Debug => Self::Debug,
            LogLevel::Trace => Self::Trace,
        }
    }
}

/// Whether these arguments are for the process that supervises children.
pub fn is_supervisor(mut args: impl Iterator<Item = OsString>) -> bool {
    args.nth(1).is_some_and(|arg| arg == SUPERVISE)
}
