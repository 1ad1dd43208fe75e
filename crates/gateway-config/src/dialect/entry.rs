//! One server's entry: the same reader for all dialects, which differ in a few rules.

use crate::{
    config::{Config, Given},
    dialect::{Dialect, upstream},
    file::{Node, Value, join},
    group, names,
    problem::{Note, Origin},
    reader::{Cx, Object, Read},
    schema::{SERVER_IGNORED, Scope, did_you_mean},
    server::{Guard, Protocol, ServerConfig, Upstream},
    shaping::{self, Filter},
    words::{Isolation, Startup},
};

/// The revisions that a server can be pinned to.
const REVISIONS: &[&str] = &["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25", MODERN];
const MODERN: &str = "2026-07-28";

/// What becomes of a server's `oauth`.
pub(crate) const NO_OAUTH: &str =
    "`oauth` is not done yet: the gateway does not sign in to this server; set `headers` instead";

/// Keys of the dialect, taken from an entry after those that all have.
pub(crate) type More<'f> = &'f mut dyn FnMut(&mut Cx<'_>, &mut Object<'_>, &mut ServerConfig);

/// Reads all entries into `config.servers`.
pub(crate) fn servers(
    cx: &mut Cx<'_>,
    node: &Node,
    path: &str,
    config: &mut Config,
    more: More<'_>,
) {
    let Some(mut object) = cx.object(node, path) else { return };
    let mut none = true;
    for member in object.take_all() {
        none = false;
        let at = (join(path, &member.key), member.place);
        let Some(name) = route(cx, &member.key, (&at.0, at.1), config) else { continue };
        let Some(object) = cx.object(&member.node, &at.0) else { continue };
        let before = cx.problems.len();
        let server = server(cx, object, &name, config, more);
        if server.as_ref().map_or_else(|| is_disabled(&member.node), |server| server.disabled) {
            // It is off: what is wrong with it stops nobody, but may be read.
            let problems = cx.problems.split_off(before.min(cx.problems.len()));
            let note = |key, text| Note { key, text: format!("(disabled) {text}") };
            cx.notes.extend(problems.into_iter().map(|it| note(it.key, it.what)));
        }
        match server {
            Some(server) => drop(config.servers.insert(name, server)),
            // Nothing of it is left to have an origin.
            None => {
                let ours = format!("mcpServers.{name}.");
                cx.given.retain(|key, _| !key.starts_with(&ours));
            }
        }
    }
    if none {
        cx.note(path, "there are no servers: nothing will be served");
    }
}

/// The name under which an entry is served. Where people did not know that it would be a route,
/// it is made one.
fn route(
    cx: &mut Cx<'_>,
    key: &str,
    (path, place): (&str, crate::problem::Place),
    config: &Config,
) -> Option<String> {
    let bad = names::check(key, cx.is_tbxark()).err();
    let name = match bad {
        None => key.to_owned(),
        // A reserved name would be legal elsewhere, and somebody may have its URL written down.
        Some(bad) if cx.is_own() || cx.is_tbxark() || names::RESERVED.contains(&key) => {
            let help = format!("call it \"{}\", say", bad.suggestion);
            cx.problem((path, Some(place)), bad.what, Some(help));
            return None;
        }
        Some(bad) => {
            cx.note(path, format!("served as `{}`: {}", bad.suggestion, bad.what));
            bad.suggestion
        }
    };
    if config.servers.contains_key(&name) {
        let what = format!("there is another server that is served as `{name}`");
        cx.problem((path, Some(place)), what, Some("rename one of them".to_owned()));
        return None;
    }
    Some(name)
}

/// Whether an entry is off, before anything of it is understood.
fn is_disabled(node: &Node) -> bool {
    let flag = |node: &Node, key, wanted| matches!(node.get(key).map(|node| &node.value), Some(Value::Bool(flag)) if *flag == wanted);
    flag(node, "disabled", true)
        || flag(node, "enabled", false)
        || node.get("options").is_some_and(|options| flag(options, "disabled", true))
}

fn server(
    cx: &mut Cx<'_>,
    mut object: Object<'_>,
    name: &str,
    config: &Config,
    more: More<'_>,
) -> Option<ServerConfig> {
    object.ignore(SERVER_IGNORED);
    let upstream = upstream::read(cx, &mut object, name, config);
    let missing = upstream.is_none();
    // Even without, the rest is read, for its complaints.
    let upstream = upstream.unwrap_or(Upstream::Demo);
    let mut server =
        ServerConfig::with(name.to_owned(), upstream, &config.limits, &config.timeouts);
    settings(cx, &mut object, &mut server);
    timeout(cx, &mut object, &mut server);
    tools(cx, &mut object, &mut server);
    guard(cx, &mut object, &mut server);
    more(cx, &mut object, &mut server);
    cx.finish(object, Scope::Server);
    (!missing).then_some(server)
}

fn settings(cx: &mut Cx<'_>, object: &mut Object<'_>, server: &mut ServerConfig) {
    let name = server.name.clone();
    let ours = |key: &str| format!("mcpServers.{name}.{key}");
    let enabled = cx.flag(object, "enabled");
    let enabled =
        enabled.map(|read| Read { shown: (!read.value).to_string(), ..read.map(|it| !it) });
    cx.set(&ours("disabled"), &mut server.disabled, enabled);
    let disabled = cx.flag(object, "disabled");
    cx.set(&ours("disabled"), &mut server.disabled, disabled);
    let startup = cx.word(object, "startup", Startup::WORDS);
    cx.set(&ours("startup"), &mut server.startup, startup);
    let isolation = cx.word(object, "isolation", Isolation::WORDS);
    cx.set(&ours("isolation"), &mut server.isolation, isolation);
    let log = cx.flag(object, "logEnabled");
    cx.set(&ours("logEnabled"), &mut server.log_enabled, log);
    for (key, slot) in [
        ("startTimeout", &mut server.start_timeout),
        ("firstByteTimeout", &mut server.first_byte_timeout),
        ("idleTimeout", &mut server.idle_timeout),
        ("requestTimeout", &mut server.request_timeout),
        ("stopTimeout", &mut server.stop_timeout),
        ("keepAlive", &mut server.keep_alive_interval),
        ("childWait", &mut server.child_wait_timeout),
        ("childIdle", &mut server.child_idle_timeout),
        ("pingInterval", &mut server.ping_interval),
        ("pingTimeout", &mut server.ping_timeout),
    ] {
        let read = cx.duration(object, key);
        cx.set(&ours(key), slot, read);
    }
    let len = cx.size(object, "messageLenMax");
    cx.set(&ours("messageLenMax"), &mut server.message_len_max, len);
    for (key, slot) in [
        ("sessionMax", &mut server.session_max),
        ("childMax", &mut server.child_max),
        ("childQueueMax", &mut server.child_queue_max),
        ("warm", &mut server.warm_count),
    ] {
        let read = cx.count(object, key);
        cx.set(&ours(key), slot, read);
    }
    roots(cx, object, server);
    if let Some(mut inner) = cx.inner(object, "restart") {
        server.restart.read(cx, &mut inner, &ours("restart"));
        if server.restart.backoff_min > server.restart.backoff_max {
            let at = (inner.path.clone(), Some(inner.place));
            cx.problem((&at.0, at.1), "`backoffMin` is longer than `backoffMax`", None);
        }
        cx.finish(inner, Scope::Restart);
    }
    if let Some(read) = cx.plain(object, "protocol") {
        match read.value.as_str() {
            "auto" => {
                cx.set(&ours("protocol"), &mut server.protocol, Some(read.map(|_| Protocol::Auto)));
            }
            MODERN if matches!(server.upstream, Upstream::Sse(_)) => {
                let help = "leave `protocol` out, or reach it by `streamable-http`";
                let what = format!("{MODERN} is not spoken over HTTP+SSE");
                cx.problem(read.at(), what, Some(help.to_owned()));
            }
            revision if REVISIONS.contains(&revision) => {
                let read = read.map(Protocol::Pinned);
                cx.set(&ours("protocol"), &mut server.protocol, Some(read));
            }
            other => {
                let help = did_you_mean(other, REVISIONS.iter().copied());
                let what = format!("want \"auto\" or one of {}", crate::reader::quoted(REVISIONS));
                cx.problem(read.at(), what, help);
            }
        }
    }
}

/// `timeout`: of every product, in its own unit. In our schema it is refused by its name.
fn timeout(cx: &mut Cx<'_>, object: &mut Object<'_>, server: &mut ServerConfig) {
    if cx.is_own() {
        return;
    }
    if cx.dialect == Dialect::Sparfenyuk {
        return object.ignore(&["timeout"]);
    }
    let Some((node, path)) = object.take("timeout") else { return };
    let number = matches!(node.value, Value::Number(_));
    if number && (!cx.is_tbxark() || server.upstream.remote().is_none()) {
        let what = "a number's unit differs from product to product: ignored; write \
                    `requestTimeout` with one, \"60s\" say";
        return cx.note(&path, what);
    }
    let read = cx.duration(object, "timeout");
    let ours = format!("mcpServers.{}.requestTimeout", server.name);
    cx.set(&ours, &mut server.request_timeout, read);
}

/// `roots`: what is answered for clients that share a session.
fn roots(cx: &mut Cx<'_>, object: &mut Object<'_>, server: &mut ServerConfig) {
    let Some(read) = cx.names(object, "roots") else { return };
    if let Some(root) = read.value.iter().find(|root| !root.starts_with("file://")) {
        let help = format!("write \"file://{root}\", if that is a folder's absolute path");
        cx.problem(read.at(), "a root is a `file://` URI", Some(help));
        return;
    }
    cx.set(&format!("mcpServers.{}.roots", server.name), &mut server.roots, Some(read));
}

/// `tools`, and the other names for it; `prompts` and `resources`.
fn tools(cx: &mut Cx<'_>, object: &mut Object<'_>, server: &mut ServerConfig) {
    let mut found: Vec<Read<Filter>> = Vec::new();
    let ours = format!("mcpServers.{}", server.name);
    if let Some(mut inner) = cx.inner(object, "tools") {
        found.extend(shaping::filter(cx, &mut inner));
        shaping::overrides(cx, &mut inner, &ours, &mut server.shape);
        cx.finish(inner, Scope::Tools);
    }
    if let Some(read) = cx.names(object, "includeTools") {
        let filter = Filter { allow: Some(shaping::rules(cx, &read.value)), ..Filter::default() };
        let shown = format!("allow {}", read.shown);
        found.push(Read { shown, ..read.map(|_| filter) });
    }
    for key in ["disabledTools", "disabled_tools", "excludeTools"] {
        // Clients write an empty list where nothing is meant.
        let names = cx.names(object, key).filter(|names| !names.value.is_empty());
        let Some(read) = names else { continue };
        let filter = Filter { block: shaping::rules(cx, &read.value), ..Filter::default() };
        let shown = format!("block {}", read.shown);
        found.push(Read { shown, ..read.map(|_| filter) });
    }
    if let [_, second, ..] = found.as_slice() {
        let what = "the tools are filtered twice: put both into `tools`, as `allow` and `block`";
        let at = second.at();
        return cx.problem(at, what, None);
    }
    cx.set(&format!("{ours}.tools"), &mut server.shape.tools, found.pop());
    shaping::others(cx, object, &ours, &mut server.shape);
    group::called(cx, object, &ours, (&mut server.alias, &mut server.prefix));
    let aggregated = cx.flag(object, "aggregate");
    cx.set(&format!("{ours}.aggregate"), &mut server.aggregated, aggregated);
}

fn guard(cx: &mut Cx<'_>, object: &mut Object<'_>, server: &mut ServerConfig) {
    let ours = format!("mcpServers.{}.tokens", server.name);
    tokens(cx, object, &ours, &mut server.guard);
}

/// `tokens`: `inherit`, `open`, or names.
pub(crate) fn tokens(cx: &mut Cx<'_>, object: &mut Object<'_>, ours: &str, guard: &mut Guard) {
    let Some(read) = cx.names(object, "tokens") else { return };
    if read.value.is_empty() {
        let help = "write \"open\" if everybody may come in".to_owned();
        return cx.problem(read.at(), "nobody could come in: the list is empty", Some(help));
    }
    let read = read.map(|names| match names.as_slice() {
        [word] if word == "inherit" => Guard::Inherit,
        [word] if word == "open" => Guard::Open,
        _ => Guard::Tokens(names),
    });
    cx.set(ours, guard, Some(read));
}

/// `connectTimeout`, which TBXark has had in two places.
pub(crate) fn connect_timeout(cx: &mut Cx<'_>, object: &mut Object<'_>, server: &mut ServerConfig) {
    let read = cx.duration(object, "connectTimeout");
    let ours = format!("mcpServers.{}.connectTimeout", server.name);
    if let Some(remote) = server.upstream.remote_mut() {
        cx.set(&ours, &mut remote.connect_timeout, read);
    }
}

/// Remembers what a dialect implies.
pub(crate) fn implied(cx: &mut Cx<'_>, ours: &str, shown: &str, whose: &'static str) {
    let given = Given { shown: shown.to_owned(), origin: Origin::Dialect(whose) };
    cx.given.insert(ours.to_owned(), given);
}
