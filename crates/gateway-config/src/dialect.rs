//! Whose file it is, and reading it.

use std::fmt;

use crate::{
    check,
    config::Config,
    env::Env,
    file::{self, Member, Node, Value},
    problem::{ConfigError, Problem},
    reader::Cx,
    schema::{self, Scope},
};

mod clients;
pub(crate) mod entry;
mod own;
mod tbxark;
mod upstream;

/// Whose way of writing a file has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Dialect {
    /// Our own: `gateway` and `mcpServers`. Unknown keys are errors.
    Own,
    /// TBXark/mcp-proxy, version 2: `mcpProxy` and `mcpServers`.
    Tbxark,
    /// sparfenyuk/mcp-proxy's named servers: `mcpServers` with `enabled`, `transportType`.
    Sparfenyuk,
    /// VS Code's `mcp.json`: `servers`.
    VsCode,
    /// open-webui/mcpo.
    Mcpo,
    /// Any other client's `mcpServers`: Claude, Cline, Gemini, Windsurf, Cursor, …
    Client,
}

/// Keys of a server's entry that only other products write.
const FOREIGN: &[(&str, Dialect)] = &[
    ("disabled_tools", Dialect::Mcpo),
    ("client_header_forwarding", Dialect::Mcpo),
    ("autoApprove", Dialect::Client),
    ("alwaysAllow", Dialect::Client),
    ("disabledTools", Dialect::Client),
    ("excludeTools", Dialect::Client),
    ("includeTools", Dialect::Client),
    ("httpUrl", Dialect::Client),
    ("serverUrl", Dialect::Client),
    ("trust", Dialect::Client),
    ("enabled", Dialect::Sparfenyuk),
    ("transportType", Dialect::Sparfenyuk),
];

/// Reads a text of any dialect.
pub(crate) fn read(text: &str, env: &dyn Env) -> Result<Config, ConfigError> {
    let root = file::parse(text).map_err(ConfigError::new)?;
    let Some(members) = root.members() else {
        let what = format!("want an object, `{{ … }}`, not {}", root.kind());
        let place = Some(root.place);
        return Err(ConfigError::one(Problem { place, ..Problem::whole(what) }));
    };
    let dialect = detect(&root, members).map_err(ConfigError::one)?;
    let mut cx = Cx::new(env, dialect);
    let mut config = Config { dialect, ..Config::default() };
    match dialect {
        Dialect::Own => own::read(&mut cx, &root, &mut config),
        Dialect::Tbxark => tbxark::read(&mut cx, &root, &mut config),
        _ => clients::read(&mut cx, &root, &mut config),
    }
    check::references(&mut cx, &config);
    if !cx.problems.is_empty() {
        return Err(ConfigError::new(cx.problems));
    }
    (config.notes, config.given) = (cx.notes, cx.given);
    Ok(config)
}

fn detect(root: &Node, members: &[Member]) -> Result<Dialect, Problem> {
    let place_of = |key: &str| root.get(key).map(|node| node.place);
    if let (Some(_), Some(place)) = (root.get("gateway"), place_of("mcpProxy")) {
        return Err(Problem {
            key: "mcpProxy".to_owned(),
            place: Some(place),
            what: "`gateway` and `mcpProxy` are two ways to say the same".to_owned(),
            help: Some("keep one; `gateway` has more keys, see the reference".to_owned()),
        });
    }
    if root.get("gateway").is_some() {
        return Ok(Dialect::Own);
    }
    if root.get("mcpProxy").is_some() {
        return Ok(Dialect::Tbxark);
    }
    if root.get("clients").is_some() && root.get("mcpServers").is_none() {
        return Err(tbxark::first_version(root));
    }
    if root.get("mcpServers").is_none() && root.get("servers").is_some() {
        return Ok(Dialect::VsCode);
    }
    let Some(servers) = root.get("mcpServers").and_then(Node::members) else {
        return nothing(root, members);
    };
    let has = |key: &str| servers.iter().any(|server| server.node.get(key).is_some());
    let mut marks = FOREIGN.iter().filter(|(key, _)| has(key)).map(|(_, dialect)| *dialect);
    if let Some(dialect) = marks.next() {
        return Ok(dialect);
    }
    // Not one of ours, and no slip of the pen either: some client's whole settings file.
    let strange = |member: &&Member| {
        Scope::Top.keys().iter().all(|key| key.name != member.key)
            && Scope::Top.did_you_mean(&member.key).is_none_or(|help| help.starts_with("known"))
    };
    let number = |member: &Member| {
        let timeout = member.node.get("timeout").map(|node| &node.value);
        matches!(timeout, Some(Value::Number(_)))
    };
    match members.iter().find(strange).is_some() || servers.iter().any(number) {
        true => Ok(Dialect::Client),
        false => Ok(Dialect::Own),
    }
}

/// There are no servers in it. If it says nothing of servers at all, that is an error.
fn nothing(root: &Node, members: &[Member]) -> Result<Dialect, Problem> {
    if root.get("mcpServers").is_some() {
        // Not an object: our own reader says so.
        return Ok(Dialect::Own);
    }
    let near = |member: &Member| {
        let known = schema::nearest(&member.key, ["mcpServers", "gateway", "mcpProxy", "servers"])?;
        Some((member.place, format!("`{}`: did you mean `{known}`?", member.key)))
    };
    let near = members.iter().find_map(near);
    Err(Problem {
        key: String::new(),
        place: near.as_ref().map(|(place, _)| *place),
        what: "there are no servers in it: want `mcpServers` (or `servers`, as in VS Code)"
            .to_owned(),
        help: near.map(|(_, help)| help),
    })
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Own => "our own schema",
            Self::Tbxark => "TBXark/mcp-proxy, version 2",
            Self::Sparfenyuk => "sparfenyuk/mcp-proxy, named servers",
            Self::VsCode => "VS Code",
            Self::Mcpo => "mcpo",
            Self::Client => "an MCP client's mcpServers",
        })
    }
}
