//! The ways to the servers behind.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use gateway_config::{Config, Remote, ServerConfig, Stdio, Upstream};
use mcp_jsonrpc::transport::{Transport, switchboard::SwitchboardMax};
use telemetry::Audit;
use tracing::warn;
use transport_sse::http::{HttpClient, HttpOptions, HttpTarget, TargetError, TlsError};
use transport_stdio::{
    Limits, StderrMax, Timeouts,
    client::{Children, Spawn},
    supervise::Supervisor,
};
use transport_streamable::mirror::Mirrors;

use super::eras;
use crate::cli;

/// Values of a child's environment that are at least as long are masked in what it says.
const SECRET_LEN_MIN: usize = 8;

/// Makes the client halves, which share their pools of connections.
#[derive(Debug)]
pub struct Behind {
    limits: gateway_config::Limits,
    timeouts: gateway_config::Timeouts,
    http: Mutex<BTreeMap<HttpKey, HttpClient>>,
    supervisor: Option<Supervisor>,
    /// Where it is written down who asks what of servers.
    pub(super) audit: Option<Audit>,
}

/// The way to one server.
#[derive(Clone, Debug)]
pub struct Way {
    /// Whichever era it is of.
    pub transport: Arc<era::behind::Behind>,
    /// The children that it will have.
    pub children: Children,
    /// What calls of its tools mirror into fields (2026-07-28), where it is reached over HTTP.
    pub mirrors: Option<Arc<dyn Mirrors>>,
}

/// Servers that are reached in the same way share connections.
type HttpKey = (Option<PathBuf>, bool, Duration);

/// Why a server cannot be reached as configured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BehindError {
    /// Its URL or its headers are wrong.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// Its certificates cannot be read.
    #[error("server `{server}`: {error}")]
    Tls {
        /// The server.
        server: String,
        /// What is wrong.
        #[source]
        error: TlsError,
    },
    /// Its audit log cannot be opened.
    #[error("the audit log {path}: {error}; say in `gateway.audit` where else")]
    Audit {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        error: std::io::Error,
    },
    /// The system gives no random numbers for keys.
    #[error(transparent)]
    Seal(#[from] seal::SealError),
    /// It is of a kind that this version does not know.
    #[error("server `{0}` is of a kind that this version does not serve")]
    Unknown(String),
}

// === impl Behind ===

impl Behind {
    /// With the bounds of a configuration.
    pub fn new(config: &Config) -> Self {
        let (limits, timeouts) = (config.limits.clone(), config.timeouts.clone());
        Self { limits, timeouts, http: Mutex::default(), supervisor: supervisor(), audit: None }
    }

    /// The same, for servers of which it is written down here who asks what.
    #[must_use]
    pub fn audited(self, audit: Option<Audit>) -> Self {
        Self { audit, ..self }
    }

    /// What of the whole configuration decides how a server is reached, in a form that can be
    /// compared.
    pub(super) fn settings(config: &Config) -> [u128; 10] {
        let (limits, timeouts) = (&config.limits, &config.timeouts);
        let counts = [
            limits.depth_max,
            limits.batch_len_max,
            limits.queue_len_max,
            limits.queue_bytes_max,
            limits.stderr_lines_max,
            limits.stderr_bytes_max,
            limits.round_max,
        ];
        let [a, b, c, d, e, f, g] = counts.map(|it| u128::try_from(it).unwrap_or(u128::MAX));
        let times = [timeouts.write_timeout, timeouts.probe_timeout, timeouts.parked_timeout];
        let [h, i, j] = times.map(|it| it.as_nanos());
        [a, b, c, d, e, f, g, h, i, j]
    }

    /// The way to one server.
    pub fn connect(&self, server: &ServerConfig) -> Result<Way, BehindError> {
        let (mut children, mut mirrors) = (Children::default(), None);
        let transport: Arc<dyn Transport> = match &server.upstream {
            Upstream::Stdio(stdio) => {
                let spawn = self.spawn(server, stdio);
                children = spawn.children.clone();
                Arc::new(spawn)
            }
            Upstream::Demo => Arc::new(demo_server::transport()),
            Upstream::Sse(remote) => {
                let (target, http) = self.remote(server, remote)?;
                Arc::new(self.sse(server, target, http))
            }
            Upstream::Streamable(remote) => {
                let (target, http) = self.remote(server, remote)?;
                let streamable = self.streamable(server, target, http);
                mirrors = Some(streamable.mirrors());
                Arc::new(streamable)
            }
            Upstream::Http(remote) => {
                let (target, http) = self.remote(server, remote)?;
                let sse = self.sse(server, target.clone(), http.clone());
                let streamable = self.streamable(server, target, http);
                mirrors = Some(streamable.mirrors());
                Arc::new(transport_streamable::client::Auto::new(streamable, sse))
            }
            _ => return Err(BehindError::Unknown(server.name.clone())),
        };
        let options = eras::behind_options(server, (&self.limits, &self.timeouts));
        let transport = Arc::new(era::behind::Behind::new(transport, &server.name, options));
        Ok(Way { transport, children, mirrors })
    }

    fn spawn(&self, server: &ServerConfig, stdio: &Stdio) -> Spawn {
        let env = stdio.env.iter().map(|(name, value)| (name.into(), value.expose().into()));
        // What is shorter is hardly a secret, and masking it would make last words unreadable.
        let masked =
            stdio.env.values().map(|it| it.expose()).filter(|it| SECRET_LEN_MIN <= it.len());
        Spawn {
            args: stdio.args.iter().map(|arg| arg.expose().into()).collect(),
            env: env.collect(),
            inherit_env: stdio.inherit_env,
            dir: stdio.cwd.clone(),
            supervisor: self.supervisor.clone(),
            masked: masked.map(Into::into).collect(),
            limits: Limits {
                message: self.messages(server),
                board: self.board(),
                write_timeout: self.timeouts.write_timeout,
                ..Limits::default()
            },
            stderr: StderrMax {
                lines_max: self.limits.stderr_lines_max,
                bytes_max: self.limits.stderr_bytes_max,
                ..StderrMax::default()
            },
            timeouts: Timeouts {
                exit_timeout: server.stop_timeout,
                term_timeout: server.stop_timeout,
                ..Timeouts::default()
            },
            ..Spawn::new(&*server.name, stdio.program.expose())
        }
    }

    fn sse(
        &self,
        server: &ServerConfig,
        target: HttpTarget,
        http: HttpClient,
    ) -> transport_sse::client::Connect {
        let options = transport_sse::client::ClientOptions {
            limits: self.messages(server),
            waiting: self.board(),
            ..transport_sse::client::ClientOptions::default()
        };
        transport_sse::client::Connect::new(target, http, options)
    }

    fn streamable(
        &self,
        server: &ServerConfig,
        target: HttpTarget,
        http: HttpClient,
    ) -> transport_streamable::client::Connect {
        let options = transport_streamable::client::ClientOptions {
            limits: self.messages(server),
            ..transport_streamable::client::ClientOptions::default()
        };
        transport_streamable::client::Connect::new(target, http, options)
    }

    fn remote(
        &self,
        server: &ServerConfig,
        remote: &Remote,
    ) -> Result<(HttpTarget, HttpClient), BehindError> {
        let headers = remote.headers.iter().map(|(name, value)| (name.as_str(), value.expose()));
        let target = HttpTarget::new(&*server.name, &remote.url.uri().to_string(), headers)?;
        let key = (remote.ca.clone(), remote.insecure_tls, remote.connect_timeout);
        let mut clients = self.http.lock().unwrap_or_else(PoisonError::into_inner);
        let client = clients.entry(key).or_insert_with(|| {
            HttpClient::new(HttpOptions {
                connect_timeout: remote.connect_timeout,
                ca_file: remote.ca.clone(),
                insecure_tls: remote.insecure_tls,
                ..HttpOptions::default()
            })
        });
        if target.is_tls() {
            let tls = |error| BehindError::Tls { server: server.name.clone(), error };
            client.prepare_tls().map_err(tls)?;
        }
        Ok((target, client.clone()))
    }

    fn messages(&self, server: &ServerConfig) -> mcp_jsonrpc::Limits {
        mcp_jsonrpc::Limits {
            message_len_max: server.message_len_max,
            depth_max: self.limits.depth_max,
            batch_len_max: self.limits.batch_len_max,
        }
    }

    fn board(&self) -> SwitchboardMax {
        let inbox = super::inbox_of(&self.limits);
        SwitchboardMax { inbox, ..SwitchboardMax::default() }
    }
}

/// This very program, as the keeper of a child.
fn supervisor() -> Option<Supervisor> {
    let found = Supervisor::this_program(cli::SUPERVISE);
    found.inspect_err(|error| warn!(%error, "children are not supervised")).ok()
}
