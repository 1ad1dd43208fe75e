//! From a configuration to a house: each server's rooms, put together.
//!
//! Nothing is started here.

mod behind;
mod eras;
pub(crate) mod joints;
pub(crate) mod next;
mod shape;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use aggregate::{Rights, Shaped};
use auth::{Access, Guard, Token, TokenHash};
use era::front::Front;
use gateway_config::{
    Accept, Compat, Config, EndpointStyle, Isolation, ServerConfig, Startup, TokenScope,
    TokenSecret, Upstream,
};
use hyper::StatusCode;
use mcp_jsonrpc::{
    Era, Limits,
    transport::{InboxMax, Transport},
};
use router::server::{self, CallTimeouts, Options, ReplayMax, Restart, Server, Wire};
use telemetry::{Audit, AuditOptions, Counts, Observed, Place, Watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use transport_sse::body::Patience;
use transport_streamable::mirror::Mirrors;

pub use behind::{Behind, BehindError, Way};
pub use eras::front;
pub(crate) use eras::front_options;

use crate::{
    door::{Door, Entry},
    home,
    joint::{self, Joints},
    origin::Origins,
};

/// The whole house.
pub fn door(config: &Config) -> Result<Door, BehindError> {
    let audit = audit(config)?;
    let behind = Behind::new(config).audited(audit.clone());
    let mut servers = BTreeMap::new();
    let guard = guard(config);
    for server in config.enabled() {
        let taken =
            |name: &str| servers.values().any(|it: &Arc<Entry>| &**it.rooms.server.name() == name);
        let name = name_shown(config, &guard, &server.name, taken);
        let entry = fresh(config, server, &name, &behind)?;
        servers.insert(server.name.clone(), Arc::new(entry));
    }
    let (began, draining) = (Instant::now(), CancellationToken::new());
    let (joints, _) = joints::joints(config, &servers, (&Joints::new(), audit.as_ref()))?;
    Ok(Door { servers, joints, audit, ..empty(config, began, draining) })
}

/// A house for its owner alone, who may use everything: of all servers, or of a group's, which are
/// called this in it.
pub(crate) fn opened(mut config: Config, group: Option<&str>) -> Result<(Door, String), String> {
    if let Some(group) = group
        && !config.groups.contains_key(group)
    {
        let names: Vec<&str> = config.groups.keys().map(String::as_str).collect();
        return Err(match names.as_slice() {
            [] => format!("there is no group `{group}`, nor any other"),
            names => format!("there is no group `{group}`; there is {}", names.join(", ")),
        });
    }
    config.servers.values_mut().for_each(|it| it.guard = gateway_config::Guard::Open);
    config.groups.values_mut().for_each(|it| it.guard = gateway_config::Guard::Open);
    config.aggregate.enabled = true;
    let name = group.map_or_else(|| joint::ALL.to_owned(), |group| format!("g/{group}"));
    Ok((door(&config).map_err(|error| error.to_string())?, name))
}

/// The door of a house without servers.
fn empty(config: &Config, began: Instant, draining: CancellationToken) -> Door {
    let version = config.server_version.clone();
    Door {
        name: config.server_name.clone(),
        version: version.unwrap_or_else(|| env!("CARGO_PKG_VERSION").to_owned()),
        base_path: config.base_path.clone(),
        guard: guard(config),
        origins: Origins::new(config),
        servers: BTreeMap::new(),
        joints: Joints::new(),
        disabled: config
            .servers
            .values()
            .filter(|it| it.disabled)
            .map(|it| it.name.clone())
            .collect(),
        removed: BTreeSet::new(),
        counts: counts(config),
        audit: None,
        began,
        draining,
    }
}

/// The name that a server has in logs and errors: its own, unless that holds a token, which some
/// write into the path for clients that can send no header.
fn name_shown(
    config: &Config,
    guard: &Guard,
    name: &str,
    is_taken: impl Fn(&str) -> bool,
) -> String {
    /// A shorter secret may stand in a word by chance.
    const LEN_MIN: usize = 8;
    let is_secret = |segment: &str| {
        config.tokens.iter().any(|entry| match &entry.secret {
            TokenSecret::Plain(secret) => {
                LEN_MIN <= secret.expose().len() && segment.contains(secret.expose())
            }
            _ => false,
        })
    };
    let masked = guard.masked(name);
    let segments = masked.split('/').map(|it| if is_secret(it) { "***" } else { it });
    let mut shown = segments.collect::<Vec<_>>().join("/");
    while shown != name && is_taken(&shown) {
        shown.push('*');
    }
    shown
}

/// One server's rooms, from the back to the front.
fn fresh(
    config: &Config,
    server: &ServerConfig,
    name: &str,
    behind: &Behind,
) -> Result<Entry, BehindError> {
    let mut named = server.clone();
    named.name = name.to_owned();
    let rooms = rooms(config, &named, behind)?;
    let outermost = outermost(config, server, &rooms);
    let sse =
        transport_sse::server::Server::new(Arc::clone(&outermost), sse_options(config, server));
    let mut entry = entry(config, server, rooms, (outermost, Arc::new(sse)));
    entry.vital = entry.required;
    Ok(entry)
}

/// What clients' sessions are with.
pub fn outermost(config: &Config, server: &ServerConfig, rooms: &Rooms) -> Arc<dyn Transport> {
    rooms.observed(shaped(config, server, &rooms.front))
}

fn shaped(config: &Config, server: &ServerConfig, front: &Front) -> Arc<dyn Transport> {
    let front = Arc::new(front.clone());
    let (shape, of_tokens) = (shape::shape(&server.shape), shape::of_tokens(&config.tokens));
    if shape.is_none() && of_tokens.is_empty() {
        return front;
    }
    let rights = Rights::new(move |caller| {
        let shape = caller.subject.as_deref().and_then(|name| of_tokens.get(name));
        Some(shape.into_iter().cloned().collect())
    });
    Arc::new(Shaped::new(front, shape.into_iter().collect(), rights))
}

/// The rooms in front of a server.
fn entry(
    config: &Config,
    server: &ServerConfig,
    rooms: Rooms,
    (outermost, sse): (Arc<dyn Transport>, Arc<transport_sse::server::Server>),
) -> Entry {
    let mcp_path = format!("{}/{}/mcp", config.base_path, server.name);
    let options = streamable_options(config, server, rooms.way.mirrors.clone());
    let streamable = transport_streamable::server::Server::new(outermost, &*mcp_path, options);
    Entry {
        member: rooms.observed_at(Place::Member, rooms.server.unkept()),
        rooms,
        streamable,
        sse,
        access: access(config, server),
        transport: server.upstream.kind(),
        ca: next::stamp_of(server),
        routes: home::routes(&config.base_path, server),
        messages_path: format!("{}/{}/message", config.base_path, server.name),
        required: server.startup == Startup::Required,
        vital: false,
        logged: server.log_enabled,
        unknown_session: match config.compat {
            Compat::Tbxark => StatusCode::BAD_REQUEST,
            _ => StatusCode::NOT_FOUND,
        },
    }
}

/// What there is for one server, behind whatever clients it has: sessions and links, clients and
/// servers of either era.
#[derive(Clone, Debug)]
pub struct Rooms {
    /// For clients of every revision.
    pub front: Front,
    /// Their sessions, and the links that carry them.
    pub server: Server,
    /// To a server of any revision.
    pub way: Way,
    /// Where it goes what is seen of it, from its beginning to its end, however often it is
    /// configured anew; none where nothing is to be seen.
    pub watch: Option<Watch>,
}

/// One server's rooms.
pub fn rooms(
    config: &Config,
    server: &ServerConfig,
    behind: &Behind,
) -> Result<Rooms, BehindError> {
    let way = behind.connect(server)?;
    let transport = Arc::clone(&way.transport);
    let routed = Server::new(&server.name, transport, options(config, server));
    let front = front(config, Some(server), Arc::new(routed.clone()));
    let audit = behind.audit.clone();
    let watch = Watch::new(routed.name(), counts(config), audit, Place::Server);
    Ok(Rooms { front, server: routed, way, watch })
}

/// Where it is written down who asks what, if anywhere.
pub fn audit(config: &Config) -> Result<Option<Audit>, BehindError> {
    let Some(audit) = &config.audit else { return Ok(None) };
    let (file, path) = (audit.file.clone(), audit.file.clone());
    let (queue_bytes_max, wait_timeout) = (audit.queue_bytes_max, audit.wait_timeout);
    let audit = Audit::open(AuditOptions { file, queue_bytes_max, wait_timeout });
    audit.map(Some).map_err(|error| BehindError::Audit { path, error })
}

/// Where something is counted, if anything is.
fn counts(config: &Config) -> Option<Arc<Counts>> {
    config.metrics.then(Arc::default)
}

impl Rooms {
    /// The same transport, looked at where anything is to be seen.
    fn observed(&self, transport: Arc<dyn Transport>) -> Arc<dyn Transport> {
        match self.watch.clone() {
            Some(watch) => Arc::new(Observed::new(transport, watch)),
            None => transport,
        }
    }

    fn observed_at(&self, place: Place, transport: Arc<dyn Transport>) -> Arc<dyn Transport> {
        match &self.watch {
            Some(watch) => Arc::new(Observed::new(transport, watch.at(place))),
            None => transport,
        }
    }

    /// What is counted of it, if anything is.
    pub(crate) fn counts(&self) -> Option<&Arc<Counts>> {
        self.watch.as_ref()?.counts()
    }

    /// Takes no new work, lets what runs end for up to `grace`, and ends the server.  Whoever comes
    /// meanwhile is told `why`.
    pub async fn shut_down(&self, grace: Duration, why: &'static str) {
        // At once: what clients of the one wait for runs in sessions of the other.
        tokio::join!(self.front.shut_down(grace), self.server.shut_down(grace, why));
        self.way.transport.shut_down().await;
    }
}

fn options(config: &Config, server: &ServerConfig) -> Options {
    let is_child = matches!(server.upstream, Upstream::Stdio(_));
    Options {
        isolation: match server.isolation {
            Isolation::Shared => server::Isolation::Shared,
            Isolation::Caller => server::Isolation::Caller,
            Isolation::Session => server::Isolation::Session,
            Isolation::Request => server::Isolation::Request,
            _ => server::Isolation::Auto,
        },
        modern: true,
        // Where there is no handshake there is nothing to choose.
        version: eras::pinned(server).filter(|pinned| pinned.era() == Era::Legacy),
        wire: if is_child { Wire::Child } else { Wire::Http },
        startup: match server.startup {
            Startup::Lazy => server::Startup::Lazy,
            _ => server::Startup::Eager,
        },
        start_timeout: server.start_timeout,
        restart: Restart {
            backoff_min: server.restart.backoff_min,
            backoff_max: server.restart.backoff_max,
            crash_loop_count: server.restart.crash_loop_count,
            crash_loop_window: server.restart.crash_loop_window,
        },
        call: CallTimeouts {
            first_byte_timeout: server.first_byte_timeout,
            idle_timeout: server.idle_timeout,
            total_timeout: server.request_timeout,
        },
        session_max: server.session_max,
        stateless_max: server.session_max,
        listen_max: config.limits.listen_max,
        session_idle_timeout: config.timeouts.session_idle_timeout,
        link_max: if is_child { server.child_max } else { server.session_max },
        link_queue_max: server.child_queue_max,
        link_wait_timeout: server.child_wait_timeout,
        link_idle_timeout: server.child_idle_timeout,
        warm_count: server.warm_count,
        ping_interval: server.ping_interval,
        ping_timeout: server.ping_timeout,
        roots: server.roots.iter().map(|root| root.as_str().into()).collect(),
        stream_max: config.limits.stream_max,
        in_flight_max: config.limits.in_flight_max,
        inbox: inbox(config),
        replay: ReplayMax {
            bytes_max: config.limits.replay_bytes_max,
            len_max: config.limits.replay_len_max,
            timeout: config.timeouts.replay_timeout,
        },
        ..Options::default()
    }
}

fn inbox(config: &Config) -> InboxMax {
    inbox_of(&config.limits)
}

fn inbox_of(limits: &gateway_config::Limits) -> InboxMax {
    InboxMax { queue_len_max: limits.queue_len_max, queue_bytes_max: limits.queue_bytes_max }
}

fn body_patience(config: &Config) -> Patience {
    Patience {
        part_timeout: config.timeouts.body_read_timeout,
        total_timeout: config.timeouts.body_total_timeout,
    }
}

/// What is taken from clients.
fn front_limits(config: &Config) -> Limits {
    Limits {
        message_len_max: config.limits.body_len_max,
        depth_max: config.limits.depth_max,
        batch_len_max: config.limits.batch_len_max,
    }
}

fn sse_options(config: &Config, server: &ServerConfig) -> transport_sse::server::ServerOptions {
    let absolute = config.endpoint_style == EndpointStyle::Absolute;
    let base = config.public_url.as_ref().filter(|_| absolute).and_then(|url| {
        let uri = url.uri();
        Some(Arc::from(format!("{}://{}", uri.scheme_str()?, uri.authority()?)))
    });
    transport_sse::server::ServerOptions {
        base_url: base,
        body_len_max: config.limits.body_len_max,
        body_patience: body_patience(config),
        keep_alive: server.keep_alive_interval,
        outbox: inbox(config),
        replay: InboxMax {
            queue_len_max: config.limits.replay_len_max,
            queue_bytes_max: config.limits.replay_bytes_max,
        },
        reconnect_timeout: config.timeouts.sse_reconnect_timeout,
        in_flight_max: config.limits.in_flight_max,
        session_count_max: server.session_max,
        limits: front_limits(config),
        ..transport_sse::server::ServerOptions::default()
    }
}

fn streamable_options(
    config: &Config,
    server: &ServerConfig,
    mirrors: Option<Arc<dyn Mirrors>>,
) -> transport_streamable::server::ServerOptions {
    transport_streamable::server::ServerOptions {
        body_len_max: config.limits.body_len_max,
        body_patience: body_patience(config),
        keep_alive: server.keep_alive_interval,
        strict_accept: config.accept == Accept::Strict,
        modern: true,
        mirrors,
        carried: config.affinity_header.as_deref().and_then(|it| it.parse().ok()),
        limits: front_limits(config),
        ..transport_streamable::server::ServerOptions::default()
    }
}

fn guard(config: &Config) -> Guard {
    let tokens = config.tokens.iter().map(|entry| match &entry.secret {
        TokenSecret::Plain(secret) => Token::new(&entry.name, secret.expose()),
        TokenSecret::Sha256(hash) => Token::hashed(&entry.name, TokenHash::from_bytes(*hash)),
        // A kind of secret this version does not know opens nothing.
        _ => Token::hashed(&entry.name, TokenHash::from_bytes([0; 32])),
    });
    Guard::new(tokens.collect()).allow_raw(config.compat == Compat::Tbxark)
}

/// Which tokens open a server: those it names, or those that are not for others alone.
fn access(config: &Config, server: &ServerConfig) -> Access {
    if config.is_open(server) {
        return Access::Anybody;
    }
    if let gateway_config::Guard::Tokens(names) = &server.guard {
        return Access::Tokens(names.iter().map(|name| name.as_str().into()).collect());
    }
    let opens = |scope: &TokenScope| match scope {
        TokenScope::All => true,
        TokenScope::Only(servers) => servers.contains(&server.name),
        _ => false,
    };
    let tokens = config.tokens.iter().filter(|entry| opens(&entry.servers));
    Access::Tokens(tokens.map(|entry| entry.name.as_str().into()).collect())
}
