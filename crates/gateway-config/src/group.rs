//! Many servers as one: all of them, and groups of some.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    config::Config,
    dialect::entry,
    file::{Node, Value, join},
    names,
    quantity::{show_duration, show_size},
    reader::{Cx, Object, Read},
    schema::{Key, Scope},
    server::Guard,
    shaping::{self, Shaping},
    words::{Prefix, Stale},
};

/// How servers are shown as one, where a group says nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AggregateConfig {
    /// Whether all servers are offered as one, at `/mcp` and `/sse`.
    pub enabled: bool,
    /// How names are made.
    pub naming: Naming,
    /// Whether three tools that search stand in the place of all, at `/mcp` and `/sse`.
    pub search: bool,
    /// What is answered from a list that may have changed.
    pub stale: Stale,
    /// How long an answer about all servers waits for one of them.
    pub member_wait_timeout: Duration,
    /// How long a list holds of a server that neither announces changes nor says how long.
    pub list_ttl: Duration,
    /// The least time between two announcements of changes.
    pub debounce: Duration,
    /// All servers' instructions together, in bytes.
    pub instructions_len_max: usize,
    /// Entries kept of one server's lists.
    pub entries_max: usize,
    /// What they may take, in bytes.
    pub entries_bytes_max: usize,
}

/// How names of tools and prompts are made.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Naming {
    /// When a name is preceded by its server's alias.
    pub prefix: Prefix,
    /// What stands between.
    pub separator: String,
    /// The longest name.
    pub len_max: usize,
}

/// Chosen parts of several servers, as one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupConfig {
    /// Its name, which is its route: `/g/NAME/mcp`.
    pub name: String,
    /// Its servers, by name.
    pub servers: BTreeMap<String, GroupServer>,
    /// What is shown of each.
    pub shape: Shaping,
    /// Who may come in; whoever does sees the servers that its token opens.
    pub guard: Guard,
    /// How names are made.
    pub naming: Naming,
    /// Whether three tools that search stand in the place of all.
    pub search: bool,
}

/// One server in a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupServer {
    /// What precedes the names of its tools here.
    pub alias: Option<String>,
    /// When it does.
    pub prefix: Option<Prefix>,
    /// What is shown of it here.
    pub shape: Shaping,
}

impl Default for Naming {
    fn default() -> Self {
        Self { prefix: Prefix::default(), separator: "__".to_owned(), len_max: 64 }
    }
}

impl Default for AggregateConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            naming: Naming::default(),
            search: false,
            stale: Stale::default(),
            member_wait_timeout: Duration::from_secs(10),
            list_ttl: Duration::from_secs(5 * 60),
            debounce: Duration::from_millis(250),
            instructions_len_max: 16 << 10,
            entries_max: 10_000,
            entries_bytes_max: 32 << 20,
        }
    }
}

// === impl AggregateConfig ===

impl AggregateConfig {
    pub(crate) const NAMES: &'static [&'static str] = &[
        "enabled",
        "prefix",
        "separator",
        "nameLenMax",
        "search",
        "stale",
        "memberWait",
        "listTtl",
        "debounce",
        "instructionsLenMax",
        "entriesMax",
        "entriesBytesMax",
    ];

    pub(crate) fn keys() -> Vec<Key> {
        let it = Self::default();
        let rows: [(&str, String, &str); 12] = [
            (
                "boolean",
                it.enabled.to_string(),
                "Whether all servers are offered as one, at `/mcp` and `/sse`: see [AGGREGATE.md](AGGREGATE.md).",
            ),
            (
                "`conflict`, `always`, `never`",
                it.naming.prefix.to_string(),
                "When the names of tools and prompts are preceded by their server's: where two servers have one name; always; never, and a hash tells them apart.",
            ),
            (
                "string",
                it.naming.separator.clone(),
                "What stands between: 1 to 8 letters, digits, `_` or `-`.",
            ),
            (
                "count",
                it.naming.len_max.to_string(),
                "The longest name, from 32 to 128 characters; longer ones are shortened, with a hash.",
            ),
            (
                "boolean",
                it.search.to_string(),
                "Whether three tools, which find, describe and call, stand in the place of all.",
            ),
            (
                "`wait`, `serve`",
                it.stale.to_string(),
                "What is answered from a list that may have changed: what it is now, or what it was, with news to come.",
            ),
            (
                "duration",
                show_duration(it.member_wait_timeout),
                "How long an answer about all servers waits for one of them; then it names what is missing.",
            ),
            (
                "duration",
                show_duration(it.list_ttl),
                "How long a list holds of a server that neither announces changes nor says for how long.",
            ),
            (
                "duration",
                show_duration(it.debounce),
                "The least time between two announcements of changes.",
            ),
            (
                "size",
                show_size(it.instructions_len_max),
                "All servers' instructions together; the longest are cut.",
            ),
            (
                "count",
                it.entries_max.to_string(),
                "Tools, prompts, resources and templates kept of one server; the rest is left out, and the answer says so.",
            ),
            ("size", show_size(it.entries_bytes_max), "What these may take."),
        ];
        let key =
            |(name, (kind, default, meaning)): (&&'static str, (&'static str, String, &str))| Key {
                name,
                kind,
                default,
                meaning: meaning.to_owned(),
            };
        Self::NAMES.iter().zip(rows).map(key).collect()
    }
}

/// `gateway.aggregate`.
pub(crate) fn aggregate(cx: &mut Cx<'_>, object: &mut Object<'_>, it: &mut AggregateConfig) {
    let ours = |key: &str| format!("gateway.aggregate.{key}");
    let enabled = cx.flag(object, "enabled");
    cx.set(&ours("enabled"), &mut it.enabled, enabled);
    naming(cx, object, "gateway.aggregate", &mut it.naming);
    let search = cx.flag(object, "search");
    cx.set(&ours("search"), &mut it.search, search);
    let stale = cx.word(object, "stale", Stale::WORDS);
    cx.set(&ours("stale"), &mut it.stale, stale);
    for (key, slot) in [
        ("memberWait", &mut it.member_wait_timeout),
        ("listTtl", &mut it.list_ttl),
        ("debounce", &mut it.debounce),
    ] {
        let read = cx.duration(object, key);
        cx.set(&ours(key), slot, read);
    }
    for (key, slot) in [
        ("instructionsLenMax", &mut it.instructions_len_max),
        ("entriesBytesMax", &mut it.entries_bytes_max),
    ] {
        let read = cx.size(object, key);
        cx.set(&ours(key), slot, read);
    }
    let entries = cx.count(object, "entriesMax");
    cx.set(&ours("entriesMax"), &mut it.entries_max, entries);
}

/// `prefix`, `separator`, `nameLenMax`.
fn naming(cx: &mut Cx<'_>, object: &mut Object<'_>, ours: &str, naming: &mut Naming) {
    let prefix = cx.word(object, "prefix", Prefix::WORDS);
    cx.set(&format!("{ours}.prefix"), &mut naming.prefix, prefix);
    if let Some(read) = cx.plain(object, "separator") {
        if (1..=8).contains(&read.value.len()) && is_plain(&read.value) {
            cx.set(&format!("{ours}.separator"), &mut naming.separator, Some(read));
        } else {
            cx.problem(read.at(), "want 1 to 8 letters, digits, `_` or `-`", None);
        }
    }
    if let Some(read) = cx.count(object, "nameLenMax") {
        if (32..=128).contains(&read.value) {
            cx.set(&format!("{ours}.nameLenMax"), &mut naming.len_max, Some(read));
        } else {
            cx.problem(read.at(), "want a length from 32 to 128", None);
        }
    }
}

/// `alias` and `prefix`, of a server.
pub(crate) fn called(
    cx: &mut Cx<'_>,
    object: &mut Object<'_>,
    ours: &str,
    (alias, prefix): (&mut Option<String>, &mut Option<Prefix>),
) {
    if let Some(read) = cx.plain(object, "alias") {
        if (1..=64).contains(&read.value.len()) && is_plain(&read.value) {
            cx.set(&format!("{ours}.alias"), alias, Some(read.map(Some)));
        } else {
            cx.problem(read.at(), "want 1 to 64 letters, digits, `_` or `-`", None);
        }
    }
    let read = cx.word(object, "prefix", Prefix::WORDS);
    cx.set(&format!("{ours}.prefix"), prefix, read.map(|it| it.map(Some)));
}

fn is_plain(text: &str) -> bool {
    text.bytes().all(|it| it.is_ascii_alphanumeric() || matches!(it, b'_' | b'-'))
}

/// `groups`.
pub(crate) fn groups(cx: &mut Cx<'_>, node: &Node, path: &str, config: &mut Config) {
    let Some(mut object) = cx.object(node, path) else { return };
    for member in object.take_all() {
        let at = join(path, &member.key);
        if let Err(bad) = names::check_group(&member.key) {
            let help = format!("call it \"{}\", say", bad.suggestion);
            cx.problem((&at, Some(member.place)), bad.what, Some(help));
            continue;
        }
        let Some(object) = cx.object(&member.node, &at) else { continue };
        let group = group(cx, object, &member.key, &config.aggregate);
        config.groups.insert(group.name.clone(), group);
    }
}

fn group(
    cx: &mut Cx<'_>,
    mut object: Object<'_>,
    name: &str,
    defaults: &AggregateConfig,
) -> GroupConfig {
    let ours = join("groups", name);
    let mut group = GroupConfig {
        name: name.to_owned(),
        servers: BTreeMap::new(),
        shape: Shaping::default(),
        guard: Guard::default(),
        naming: defaults.naming.clone(),
        search: defaults.search,
    };
    match object.take("servers") {
        Some((node, path)) => servers(cx, node, &path, (&ours, &mut group)),
        None => {
            let what = "which `servers`? Name them in a list, or as an object with more to say";
            cx.problem((&object.path, Some(object.place)), what, None);
        }
    }
    shaping::all(cx, &mut object, &ours, &mut group.shape);
    entry::tokens(cx, &mut object, &format!("{ours}.tokens"), &mut group.guard);
    naming(cx, &mut object, &ours, &mut group.naming);
    let search = cx.flag(&mut object, "search");
    cx.set(&format!("{ours}.search"), &mut group.search, search);
    cx.finish(object, Scope::Group);
    group
}

fn servers(cx: &mut Cx<'_>, node: &Node, path: &str, (ours, group): (&str, &mut GroupConfig)) {
    if let Value::List(_) = node.value {
        let names = cx.list_of(node, path, false);
        let shown: Vec<&str> = names.iter().map(|it| it.value.shown()).collect();
        let shown = shown.join(", ");
        let Some(origin) = names.first().map(|it| it.origin.clone()) else { return };
        let all = names.into_iter().map(|it| (it.value.into_value(), GroupServer::default()));
        let read = Read { value: all.collect(), shown, origin };
        return cx.set(&format!("{ours}.servers"), &mut group.servers, Some(read));
    }
    let Some(mut object) = cx.object(node, path) else { return };
    let mut found = BTreeMap::new();
    for member in object.take_all() {
        let Some(mut inner) = cx.object(&member.node, &join(path, &member.key)) else { continue };
        let ours = format!("{ours}.servers.{}", member.key);
        let mut it = GroupServer::default();
        called(cx, &mut inner, &ours, (&mut it.alias, &mut it.prefix));
        shaping::all(cx, &mut inner, &ours, &mut it.shape);
        cx.finish(inner, Scope::GroupServer);
        found.insert(member.key.clone(), it);
    }
    let shown = found.keys().cloned().collect::<Vec<_>>().join(", ");
    let origin = crate::problem::Origin::File {
        key: path.to_owned(),
        place: node.place,
        variables: Vec::new(),
    };
    let read = Read { value: found, shown, origin };
    cx.set(&format!("{ours}.servers"), &mut group.servers, Some(read));
}
