//! From one configuration to the next: what stays, what is put together anew, what goes.
//!
//! Nothing happens here.  All that can fail has failed, or not, before anything is changed.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use era::front::FrontOptions;
use gateway_config::{Config, ServerConfig};
use mcp_jsonrpc::transport::Transport;
use router::server::Options;
use transport_sse::server::{Server as SseServer, ServerOptions as SseOptions};

use super::{
    Behind, BehindError, Rooms, Way, access, empty, entry, fresh, front_options, joints,
    name_shown, options, outermost, sse_options,
};
use crate::{
    door::{Door, Entry},
    reload,
};

/// How many names of removed servers are remembered.
const REMOVED_MAX: usize = 256;

/// What has to be done for one server.
pub(crate) enum Step {
    /// Start it.
    Add(Arc<Entry>),
    /// Put this in the place of what is behind, and wait for the old children to end.
    Replace { front: Front, way: Way, old: Way },
    /// Treat its clients otherwise, and tell them if the tools offered to them have changed.
    Treat { front: Front, tools: bool },
    /// End it.
    Remove(Arc<Entry>),
}

/// What a server's sessions are treated by from now on.
pub(crate) struct Front {
    pub(crate) rooms: Rooms,
    pub(crate) options: Options,
    pub(crate) front_options: FrontOptions,
    sse: Arc<SseServer>,
    transport: Arc<dyn Transport>,
    sse_options: SseOptions,
}

impl Front {
    /// Lets HTTP+SSE sessions go on by what holds now.
    pub(crate) fn apply_sse(&self) {
        self.sse.reconfigure(Arc::clone(&self.transport), self.sse_options.clone());
    }
}

/// The next door, and how to get there.
pub(crate) struct Next {
    pub(crate) door: Door,
    pub(crate) steps: Vec<(String, Step)>,
    /// What changes for doors to many servers.
    pub(crate) changes: Vec<joints::Change>,
}

/// Puts together what `config` wants, out of what stands as `was` wanted it.
///
/// `is_touched` says of a server that is configured as before whether a file that it reads for
/// itself has changed.
pub(crate) fn next(
    (was, door): (&Config, &Door),
    config: &Config,
    is_touched: impl Fn(&ServerConfig) -> bool,
) -> Result<Next, BehindError> {
    let behind = Behind::new(config).audited(door.audit.clone());
    let rooms_differ = Behind::settings(was) != Behind::settings(config);
    let fronts_differ = fronts_differ(was, config);
    let mut next = empty(config, door.began, door.draining.clone());
    next.counts.clone_from(&door.counts);
    next.audit.clone_from(&door.audit);
    let mut steps = Vec::new();
    for server in config.enabled() {
        let name = server.name.clone();
        let old = door.servers.get(&name).zip(was.servers.get(&name));
        let Some((old_entry, old)) = old else {
            let taken = |shown: &str| {
                next.servers.values().any(|it: &Arc<Entry>| &**it.rooms.server.name() == shown)
            };
            let shown = name_shown(config, &next.guard, &name, taken);
            let mut entry = fresh(config, server, &shown, &behind)?;
            entry.vital = false;
            let entry = Arc::new(entry);
            steps.push((name.clone(), Step::Add(Arc::clone(&entry))));
            next.servers.insert(name, entry);
            continue;
        };
        let is_other = rooms_differ || is_touched(server) || behind_of(old) != behind_of(server);
        let is_same = old == server && access(config, server) == old_entry.access;
        if is_same && !is_other && !fronts_differ {
            next.servers.insert(name, Arc::clone(old_entry));
            continue;
        }
        let mut rooms = old_entry.rooms.clone();
        let transport = outermost(config, server, &rooms);
        let front = Front {
            rooms: rooms.clone(),
            options: options(config, server),
            front_options: front_options(config, Some(server)),
            sse: Arc::clone(&old_entry.sse),
            transport: Arc::clone(&transport),
            sse_options: sse_options(config, server),
        };
        let step = if is_other {
            let mut named = server.clone();
            named.name = rooms.server.name().to_string();
            let way = behind.connect(&named)?;
            let old = std::mem::replace(&mut rooms.way, way.clone());
            Step::Replace { front, way, old }
        } else {
            Step::Treat { front, tools: old.shape.tools != server.shape.tools }
        };
        let sse = Arc::clone(&old_entry.sse);
        let mut entry = entry(config, server, rooms, (transport, sse));
        entry.vital = old_entry.vital && !is_other;
        // Who uses it among others goes on with it.
        entry.member = Arc::clone(&old_entry.member);
        steps.push((name.clone(), step));
        next.servers.insert(name, Arc::new(entry));
    }
    let gone = door.servers.iter().filter(|(name, _)| !next.servers.contains_key(*name));
    steps.extend(gone.map(|(name, entry)| (name.clone(), Step::Remove(Arc::clone(entry)))));
    next.removed = removed(door, &next.servers);
    let (joints, changes) =
        joints::joints(config, &next.servers, (&door.joints, door.audit.as_ref()))?;
    next.joints = joints;
    Ok(Next { door: next, steps, changes })
}

/// What the file of certificates holds that a server is trusted by.
pub(crate) fn stamp_of(server: &ServerConfig) -> Option<u64> {
    reload::stamp(server.upstream.remote()?.ca.as_ref()?)
}

fn removed(door: &Door, now: &BTreeMap<String, Arc<Entry>>) -> BTreeSet<String> {
    let names = door.servers.keys().chain(&door.removed).filter(|name| !now.contains_key(*name));
    names.take(REMOVED_MAX).cloned().collect()
}

/// Whether something has changed that every server's clients are treated by.
fn fronts_differ(was: &Config, config: &Config) -> bool {
    let shapes = |it: &Config| -> Vec<_> {
        it.tokens.iter().map(|token| (token.name.clone(), token.shape.clone())).collect()
    };
    let all = |it: &Config| {
        (
            shapes(it),
            it.limits.clone(),
            it.timeouts.clone(),
            it.public_url.clone(),
            it.endpoint_style,
            it.accept,
            it.compat,
        )
    };
    all(was) != all(config)
}

/// What of a server's entry decides how it is reached and run: all but what is known here to
/// concern its clients alone.
fn behind_of(server: &ServerConfig) -> ServerConfig {
    let plain = ServerConfig::new("", gateway_config::Upstream::Demo);
    let mut server = server.clone();
    server.disabled = plain.disabled;
    server.request_timeout = plain.request_timeout;
    server.first_byte_timeout = plain.first_byte_timeout;
    server.idle_timeout = plain.idle_timeout;
    server.keep_alive_interval = plain.keep_alive_interval;
    server.guard = plain.guard;
    server.shape = plain.shape;
    server.alias = plain.alias;
    server.prefix = plain.prefix;
    server.aggregated = plain.aggregated;
    server.session_max = plain.session_max;
    server.log_enabled = plain.log_enabled;
    // Starting what runs is no news to it.
    server.startup = plain.startup;
    server
}
