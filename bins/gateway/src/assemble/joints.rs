//! All servers as one, and groups of them, put together.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use aggregate::{About, Aggregate, Member, Options, Rights, Stale};
use auth::Access;
use catalogue::{Limits, PageLimits, Settings, Shape, names};
use era::{
    behind::{Behind, BehindOptions},
    front::FrontOptions,
};
use gateway_config::{
    Config, GroupConfig, GroupServer, Guard, Isolation, Naming, Prefix, ServerConfig, Shaping,
    Startup, TokenScope, Upstream,
};
use mcp_jsonrpc::{
    Era,
    transport::{Caller, Transport},
};
use router::server::Server;
use seal::{Clock, Keyring, SealError};
use telemetry::{Audit, Place, Watch};
use transport_stdio::client::Children;

use super::{Rooms, Way, entry, front, shape, sse_options};
use crate::{
    door::Entry,
    joint::{self, ALL, Joint, Joints},
};

/// How much longer a call may take here than its server allows: its own word is heard first.
const LATER: Duration = Duration::from_secs(5);

/// What one door to many servers is configured to be.
struct Plan<'a> {
    name: String,
    naming: &'a Naming,
    search: bool,
    servers: Vec<(&'a ServerConfig, Option<&'a GroupServer>)>,
    shape: Option<&'a Shaping>,
    guard: &'a Guard,
}

/// What changes for a door to many servers that stands already.
pub(crate) struct Change {
    joint: Arc<Joint>,
    members: Vec<Member>,
    options: Options,
    treatment: Treatment,
}

/// How clients are treated, by each room in front of what is behind.
type Treatment = (
    router::server::Options,
    FrontOptions,
    Arc<dyn Transport>,
    transport_sse::server::ServerOptions,
);

/// The doors to many servers that a configuration wants, and what changes for those that are there.
pub(crate) fn joints(
    config: &Config,
    servers: &BTreeMap<String, Arc<Entry>>,
    (standing, audit): (&Joints, Option<&Audit>),
) -> Result<(Joints, Vec<Change>), SealError> {
    let (mut joints, mut changes) = (Joints::new(), Vec::new());
    for plan in plans(config) {
        let (members, options) =
            (members(config, &plan, servers), aggregate_options(config, &plan));
        let alike = stand_in(config, &plan);
        let standing = standing.get(&plan.name);
        let aggregate = match standing {
            Some(joint) => joint.aggregate.clone(),
            None => {
                let keyring = Keyring::fresh(Clock::system())?;
                Aggregate::new(&plan.name, members.clone(), options.clone(), keyring)
            }
        };
        let treatment = super::options(config, &alike);
        let rooms = match standing {
            Some(joint) => joint.entry.rooms.clone(),
            None => rooms(config, &alike, &aggregate, (&treatment, audit)),
        };
        // Its shapes are those of its members.
        let outermost = rooms.observed(Arc::new(rooms.front.clone()));
        let sse_options = sse_options(config, &alike);
        let sse = match standing {
            Some(joint) => Arc::clone(&joint.entry.sse),
            None => {
                let sse =
                    transport_sse::server::Server::new(Arc::clone(&outermost), sse_options.clone());
                Arc::new(sse)
            }
        };
        let mut entry = entry(config, &alike, rooms, (Arc::clone(&outermost), sse));
        let path = format!("{}{}", config.base_path, joint::path_of(&plan.name));
        entry.access = access(config, &plan);
        entry.transport = "aggregate";
        entry.routes = vec![format!("{path}/mcp"), format!("{path}/sse")];
        entry.messages_path = format!("{path}/message");
        let joint = Arc::new(Joint { entry: Arc::new(entry), aggregate });
        if standing.is_some() {
            let front = super::front_options(config, Some(&alike));
            let treatment = (treatment, front, outermost, sse_options);
            changes.push(Change { joint: Arc::clone(&joint), members, options, treatment });
        }
        joints.insert(plan.name, joint);
    }
    Ok((joints, changes))
}

impl Change {
    /// Takes it over.  Sessions go on, and are told what has changed.
    pub(crate) fn apply(self) {
        let (options, front, outermost, sse) = self.treatment;
        let rooms = &self.joint.entry.rooms;
        rooms.front.reconfigure(front);
        rooms.server.reconfigure(options);
        self.joint.entry.sse.reconfigure(outermost, sse);
        self.joint.aggregate.reconfigure(self.members, self.options);
    }
}

/// The rooms in front of many servers.
fn rooms(
    config: &Config,
    alike: &ServerConfig,
    aggregate: &Aggregate,
    (options, audit): (&router::server::Options, Option<&Audit>),
) -> Rooms {
    let pin = BehindOptions { pin: Some(Era::Legacy), ..BehindOptions::default() };
    let behind = Behind::new(Arc::new(aggregate.clone()), &alike.name, pin);
    let way = Way { transport: Arc::new(behind), children: Children::default(), mirrors: None };
    let transport = Arc::clone(&way.transport);
    let server = Server::new(&alike.name, transport, options.clone());
    let front = front(config, Some(alike), Arc::new(server.clone()));
    let counts = super::counts(config);
    let watch = Watch::new(server.name(), counts, audit.cloned(), Place::Door);
    Rooms { front, server, way, watch }
}

fn plans(config: &Config) -> Vec<Plan<'_>> {
    let mut plans = Vec::new();
    let all = &config.aggregate;
    let aggregated: Vec<_> = config.aggregated().map(|it| (it, None)).collect();
    if all.enabled && !aggregated.is_empty() {
        let (name, naming, search) = (ALL.to_owned(), &all.naming, all.search);
        let guard = &Guard::Inherit;
        plans.push(Plan { name, naming, search, servers: aggregated, shape: None, guard });
    }
    plans.extend(config.groups.values().map(|group| of_group(config, group)));
    plans
}

fn of_group<'a>(config: &'a Config, group: &'a GroupConfig) -> Plan<'a> {
    let enabled = |(name, it): (&'a String, &'a GroupServer)| {
        let server = config.servers.get(name).filter(|server| !server.disabled)?;
        Some((server, Some(it)))
    };
    Plan {
        name: format!("g/{}", group.name),
        naming: &group.naming,
        search: group.search,
        servers: group.servers.iter().filter_map(enabled).collect(),
        shape: Some(&group.shape),
        guard: &group.guard,
    }
}

/// A server's configuration by which the rooms in front of many are treated.
fn stand_in(config: &Config, plan: &Plan<'_>) -> ServerConfig {
    let mut alike = ServerConfig::new(plan.name.clone(), Upstream::Demo);
    let most = |of: fn(&ServerConfig) -> Duration| {
        plan.servers.iter().map(|(it, _)| of(it)).max().unwrap_or_default().saturating_add(LATER)
    };
    alike.isolation = Isolation::Session;
    alike.startup = Startup::Lazy;
    alike.first_byte_timeout = most(|it| it.first_byte_timeout);
    alike.idle_timeout = most(|it| it.idle_timeout);
    alike.request_timeout = most(|it| it.request_timeout);
    alike.start_timeout = config.aggregate.member_wait_timeout.saturating_add(LATER);
    alike.session_max = config.limits.session_max;
    alike.keep_alive_interval = config.timeouts.keep_alive_interval;
    alike
}

fn members(
    config: &Config,
    plan: &Plan<'_>,
    servers: &BTreeMap<String, Arc<Entry>>,
) -> Vec<Member> {
    let of_tokens = Arc::new(shape::of_tokens(&config.tokens));
    let member = |(server, here): &(&ServerConfig, Option<&GroupServer>)| {
        let entry = servers.get(&server.name)?;
        let here = *here;
        let alias = here.and_then(|it| it.alias.as_deref()).or(server.alias.as_deref());
        let prefix = here.and_then(|it| it.prefix).or(server.prefix);
        let shapes = [Some(&server.shape), plan.shape, here.map(|it| &it.shape)];
        let (access, of_tokens) = (entry.access.clone(), Arc::clone(&of_tokens));
        Some(Member {
            // As it is called in logs and errors too.
            name: Arc::clone(entry.rooms.server.name()),
            alias: alias.unwrap_or(entry.rooms.server.name()).into(),
            prefix: prefix.map(prefix_of),
            transport: Arc::clone(&entry.member),
            shapes: shapes.into_iter().flatten().filter_map(shape::shape).collect(),
            rights: Rights::new(move |caller| rights(&access, &of_tokens, caller)),
        })
    };
    plan.servers.iter().filter_map(member).collect()
}

fn rights(
    access: &Access,
    of_tokens: &BTreeMap<Box<str>, Arc<Shape>>,
    caller: &Caller,
) -> Option<Vec<Arc<Shape>>> {
    let shape = caller.subject.as_deref().and_then(|name| of_tokens.get(name));
    access.admits(caller).then(|| shape.into_iter().cloned().collect())
}

fn prefix_of(prefix: Prefix) -> names::Prefix {
    match prefix {
        Prefix::Always => names::Prefix::Always,
        Prefix::Never => names::Prefix::Never,
        _ => names::Prefix::Conflict,
    }
}

fn aggregate_options(config: &Config, plan: &Plan<'_>) -> Options {
    let it = &config.aggregate;
    let version = config.server_version.clone();
    let name = match plan.name.strip_prefix("g/") {
        Some(group) => format!("{}/{group}", config.server_name),
        None => config.server_name.clone(),
    };
    let version = version.unwrap_or_else(|| env!("CARGO_PKG_VERSION").to_owned());
    let naming = plan.naming;
    let naming = names::Naming::new(prefix_of(naming.prefix), &naming.separator, naming.len_max);
    let starts = plan.servers.iter().map(|(it, _)| it.start_timeout).max().unwrap_or_default();
    Options {
        view: Settings {
            // What cannot be was refused with the configuration.
            naming: naming.unwrap_or_default(),
            pages: PageLimits::default(),
            instructions_len_max: Some(it.instructions_len_max),
        },
        limits: Limits {
            items_max: it.entries_max,
            bytes_max: it.entries_bytes_max,
            ..Limits::default()
        },
        member_timeout: it.member_wait_timeout,
        open_timeout: starts.saturating_add(LATER),
        list_ttl: it.list_ttl,
        stale: if it.stale == gateway_config::Stale::Serve { Stale::Serve } else { Stale::Wait },
        debounce: it.debounce,
        search: plan.search,
        inbox: super::inbox(config),
        ..Options::new(About { name, version })
    }
}

/// Who may come in: whoever may use one of its servers, and of a group that names its tokens they
/// alone.
fn access(config: &Config, plan: &Plan<'_>) -> Access {
    let is_open = plan.servers.iter().any(|(it, _)| config.is_open(it));
    let all_open = plan.servers.iter().all(|(it, _)| config.is_open(it));
    match plan.guard {
        Guard::Tokens(names) => Access::Tokens(names.iter().map(|it| it.as_str().into()).collect()),
        Guard::Open => Access::Anybody,
        // Whoever has a token brings it, so that it is shown what it opens.
        _ if all_open && is_open => Access::Anybody,
        _ => {
            let opens = |scope: &TokenScope, server: &ServerConfig| match scope {
                TokenScope::All => true,
                TokenScope::Only(names) => names.contains(&server.name),
                _ => false,
            };
            let tokens = config.tokens.iter().filter(|token| {
                plan.servers.iter().any(|(it, _)| match &it.guard {
                    Guard::Tokens(names) => names.contains(&token.name),
                    Guard::Open => true,
                    _ => opens(&token.servers, it),
                })
            });
            Access::Tokens(tokens.map(|it| it.name.as_str().into()).collect())
        }
    }
}
