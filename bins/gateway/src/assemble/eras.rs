//! Servers and clients with a handshake and without (2026-07-28): what stands between them.

use std::sync::Arc;

use era::{
    behind::BehindOptions,
    front::{Front, FrontOptions},
};
use gateway_config::{Config, Limits, Protocol, ServerConfig, Timeouts, Upstream};
use mcp_jsonrpc::{Era, ProtocolVersion, transport::Transport};

use super::inbox;

/// The revision that a server is pinned to, if it is.
pub(super) fn pinned(server: &ServerConfig) -> Option<ProtocolVersion> {
    match &server.protocol {
        Protocol::Pinned(revision) => revision.parse().ok(),
        _ => None,
    }
}

/// How clients of 2026-07-28 are treated in front of `inner`, whatever that speaks: one server, or
/// many as one.
pub fn front(config: &Config, server: Option<&ServerConfig>, inner: Arc<dyn Transport>) -> Front {
    Front::new(inner, front_options(config, server))
}

/// The same, for one that stands already.
pub(crate) fn front_options(config: &Config, server: Option<&ServerConfig>) -> FrontOptions {
    let (limits, timeouts) = (&config.limits, &config.timeouts);
    // Each may want a child of its own: one that nobody uses gives way before there are too many.
    let session_max = server.map_or(limits.session_max, |server| match server.upstream {
        Upstream::Stdio(_) => server.session_max.min(server.child_max),
        _ => server.session_max,
    });
    let idle = server.map_or(timeouts.child_idle_timeout, |server| server.child_idle_timeout);
    let defaults = FrontOptions::default();
    FrontOptions {
        server: server.map(|server| server.name.as_str().into()).unwrap_or_default(),
        affinity: config.affinity_header.as_deref().map(Arc::from),
        session_max,
        session_idle_timeout: idle.min(timeouts.session_idle_timeout),
        calls_per_session_max: defaults.calls_per_session_max.min(limits.in_flight_max),
        sole_sessions_max: match server.map(|server| &server.upstream) {
            // A question comes down the stream of the request that it belongs to.
            Some(Upstream::Streamable(_)) => 0,
            _ => defaults.sole_sessions_max,
        },
        parked_max: limits.parked_max,
        parked_per_caller_max: limits.parked_per_caller_max,
        parked_timeout: timeouts.parked_timeout,
        rounds_max: rounds_max(limits),
        listen_max: limits.listen_max,
        roots: server.map(roots).unwrap_or_default(),
        inbox: inbox(config),
        ..defaults
    }
}

/// How a server's era is found out, and what clients with a handshake get of one that has none.
pub(super) fn behind_options(
    server: &ServerConfig,
    (limits, timeouts): (&Limits, &Timeouts),
) -> BehindOptions {
    let is_child = matches!(server.upstream, Upstream::Stdio(_));
    let defaults = BehindOptions::default();
    BehindOptions {
        pin: pinned(server).map(ProtocolVersion::era).or(match server.upstream {
            // HTTP+SSE has no other.
            Upstream::Sse(_) => Some(Era::Legacy),
            _ => None,
        }),
        is_child,
        // Over HTTP silence says nothing of the era, so there is nothing to be won by giving up
        // before the server has had the time to start.
        probe_timeout: if is_child { timeouts.probe_timeout } else { server.start_timeout },
        // Whoever opens a session waits for it, within the time that this may take.
        greeting_timeout: defaults.greeting_timeout.min(server.start_timeout / 3),
        rounds_max: rounds_max(limits),
        answer_timeout: timeouts.parked_timeout,
        roots: roots(server),
        inbox: super::inbox_of(limits),
        ..defaults
    }
}

fn rounds_max(limits: &Limits) -> u32 {
    u32::try_from(limits.round_max).unwrap_or(u32::MAX)
}

fn roots(server: &ServerConfig) -> Arc<[Box<str>]> {
    server.roots.iter().map(|root| root.as_str().into()).collect()
}
