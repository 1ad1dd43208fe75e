//! TBXark/mcp-proxy: `mcpProxy` and `mcpServers`, with the keys of February and September 2026.

use crate::{
    config::{Config, Given, Listen, TokenScope},
    dialect::{entry, own},
    file::{Node, Value},
    problem::{Origin, Problem},
    reader::{Cx, Object, Read},
    schema::Scope,
    secret::{MASK, Text},
    server::{Guard, ServerConfig},
    shaping::{self, Filter},
    tokens::{self, Tokens},
    words::{Compat, Startup},
};

const US: &str = "TBXark";

/// Of `options`, at the proxy or at a server.
#[derive(Default)]
struct Options {
    required: Option<Read<bool>>,
    log_enabled: Option<Read<bool>>,
    disabled: Option<Read<bool>>,
    /// `None`: the key is absent or null. Empty: no token is wanted.
    tokens: Option<(Vec<Read<Text>>, Origin)>,
    tools: Option<Read<Filter>>,
}

pub(crate) fn read(cx: &mut Cx<'_>, root: &Node, config: &mut Config) {
    let Some(mut top) = cx.object(root, "") else { return };
    config.compat = Compat::Tbxark;
    entry::implied(cx, "gateway.compat", config.compat.as_str(), US);
    let mut defaults = Options::default();
    if let Some(mut proxy) = cx.inner(&mut top, "mcpProxy") {
        defaults = self::proxy(cx, &mut proxy, config);
        cx.finish(proxy, Scope::Foreign);
    }
    let mut table = Tokens::default();
    let global: Vec<String> = defaults
        .tokens
        .iter()
        .flat_map(|(tokens, _)| tokens.iter())
        .enumerate()
        .filter_map(|(at, read)| {
            add(cx, &format!("token-{}", at + 1), read, TokenScope::All, &mut table)
        })
        .collect();
    match top.take("mcpServers") {
        Some((node, path)) => {
            entry::servers(cx, node, &path, config, &mut |cx, object, server| {
                options_of(cx, object, server, &defaults, &mut table);
                if server.guard == Guard::Inherit && global.is_empty() {
                    // There it has no token; here, that others have one would shut it.
                    server.guard = Guard::Open;
                    entry::implied(cx, &format!("mcpServers.{}.tokens", server.name), "open", US);
                }
            });
        }
        None => cx.note("mcpServers", "there are no servers: nothing will be served"),
    }
    if table.is_empty() {
        // Nobody has a token: then all inherit that, and nothing needs saying.
        config.servers.values_mut().for_each(|server| server.guard = Guard::Inherit);
        cx.given.retain(|key, given| {
            !(key.ends_with(".tokens") && given.origin == Origin::Dialect(US))
        });
    }
    config.tokens = table.into_entries();
    cx.finish(top, Scope::Foreign);
}

fn proxy(cx: &mut Cx<'_>, object: &mut Object<'_>, config: &mut Config) -> Options {
    address(cx, object, config);
    if let Some(url) = cx.text(object, "baseURL") {
        base_url(cx, url, config);
    }
    if let Some(name) = cx.plain(object, "name").filter(|name| !name.value.is_empty()) {
        cx.set("gateway.name", &mut config.server_name, Some(name));
    }
    if let Some(version) = cx.plain(object, "version").filter(|it| !it.value.is_empty()) {
        cx.set("gateway.version", &mut config.server_version, Some(version.map(Some)));
    }
    if let Some(kind) = cx.plain(object, "type")
        && !matches!(kind.value.as_str(), "" | "sse" | "streamable-http")
    {
        let text = "neither \"sse\" nor \"streamable-http\"; both are always served";
        cx.note(kind.at().0, text);
    }
    let grace = cx.duration(object, "startupGracePeriod");
    cx.set("gateway.timeouts.start", &mut config.timeouts.start_timeout, grace);
    let connect = cx.duration(object, "connectTimeout");
    cx.set("gateway.timeouts.connect", &mut config.timeouts.connect_timeout, connect);
    let Some(mut inner) = cx.inner(object, "options") else { return Options::default() };
    let connect = cx.duration(&mut inner, "connectTimeout");
    cx.set("gateway.timeouts.connect", &mut config.timeouts.connect_timeout, connect);
    let options = options(cx, &mut inner);
    cx.finish(inner, Scope::Foreign);
    options
}

/// `addr`, as Go's `net.Listen` reads it: nothing means port 80 of every interface.
fn address(cx: &mut Cx<'_>, object: &mut Object<'_>, config: &mut Config) {
    match cx.text(object, "addr").filter(|addr| !addr.value.expose().is_empty()) {
        None => {
            config.listen = vec![Listen::Any(80)];
            entry::implied(cx, "gateway.listen", ":80", US);
        }
        Some(addr) => match Listen::parse(addr.value.expose()) {
            Ok(listen) => {
                let read = Read { shown: listen.to_string(), ..addr.map(|_| vec![listen]) };
                cx.set("gateway.listen", &mut config.listen, Some(read));
            }
            Err(error) => cx.problem(addr.at(), error.to_string(), None),
        },
    }
}

/// `baseURL`: a URL; a path alone; and a `host:port`, which is there read as a scheme and has no
/// effect.
fn base_url(cx: &mut Cx<'_>, text: Read<Text>, config: &mut Config) {
    let value = text.value.expose().trim().to_owned();
    if value.is_empty() {
        return;
    }
    if value.starts_with('/') {
        own::base_path(cx, text.origin, value, config);
        return;
    }
    let named = |host: &str| host.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic());
    if !value.contains("://") && value.split_once(':').is_some_and(|(host, _)| named(host)) {
        let what = "has no `http://`, so it is no URL: ignored, as there";
        return cx.note(text.at().0, what);
    }
    if let Some(url) = own::public_url(cx, text) {
        own::base_path(cx, url.origin.clone(), url.value.path().to_owned(), config);
        cx.set("gateway.publicUrl", &mut config.public_url, Some(url.map(Some)));
    }
}

fn options(cx: &mut Cx<'_>, object: &mut Object<'_>) -> Options {
    let found = Options {
        required: cx.flag(object, "panicIfInvalid"),
        log_enabled: cx.flag(object, "logEnabled"),
        disabled: cx.flag(object, "disabled"),
        tokens: object.take("authTokens").map(|(node, path)| {
            let key = path.clone();
            let origin = Origin::File { key, place: node.place, variables: Vec::new() };
            (cx.list_of(node, &path, false), origin)
        }),
        tools: tool_filter(cx, object),
    };
    for key in ["pingInterval", "autoReconnect", "reconnectInterval"] {
        if let Some((_, path)) = object.take(key) {
            let what = "not needed: the gateway watches its servers and reconnects by itself";
            cx.note(&path, what);
        }
    }
    found
}

fn tool_filter(cx: &mut Cx<'_>, object: &mut Object<'_>) -> Option<Read<Filter>> {
    let mut inner = cx.inner(object, "toolFilter")?;
    let mode = cx.plain(&mut inner, "mode");
    let list = cx.names(&mut inner, "list");
    let path = inner.path.clone();
    cx.finish(inner, Scope::Foreign);
    let list = list?.map(|names| {
        let parts = names.iter().flat_map(|name| name.split(','));
        parts.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect::<Vec<_>>()
    });
    if list.value.is_empty() {
        cx.note(&path, "the list is empty: no filter, as there");
        return None;
    }
    let shown = |how: &str| format!("{how} {}", list.shown);
    match mode.as_ref().map(|mode| mode.value.to_ascii_lowercase()).as_deref() {
        Some("allow") => {
            let filter =
                Filter { allow: Some(shaping::rules(cx, &list.value)), ..Filter::default() };
            Some(Read { shown: shown("allow"), ..list.map(|_| filter) })
        }
        Some("block") => {
            let filter = Filter { block: shaping::rules(cx, &list.value), ..Filter::default() };
            Some(Read { shown: shown("block"), ..list.map(|_| filter) })
        }
        _ => {
            cx.note(&path, "`mode` is neither \"allow\" nor \"block\": NO filter, as there");
            None
        }
    }
}

fn options_of(
    cx: &mut Cx<'_>,
    object: &mut Object<'_>,
    server: &mut ServerConfig,
    defaults: &Options,
    table: &mut Tokens,
) {
    let own = match cx.inner(object, "options") {
        Some(mut inner) => {
            entry::connect_timeout(cx, &mut inner, server);
            let options = options(cx, &mut inner);
            cx.finish(inner, Scope::Foreign);
            options
        }
        None => Options::default(),
    };
    let ours = format!("mcpServers.{}", server.name);
    let required = own.required.or_else(|| defaults.required.clone());
    if let Some(required) = required.filter(|required| required.value) {
        let read =
            Read { shown: Startup::Required.to_string(), ..required.map(|_| Startup::Required) };
        cx.set(&format!("{ours}.startup"), &mut server.startup, Some(read));
    }
    let log = own.log_enabled.or_else(|| defaults.log_enabled.clone());
    cx.set(&format!("{ours}.logEnabled"), &mut server.log_enabled, log);
    cx.set(&format!("{ours}.disabled"), &mut server.disabled, own.disabled);
    cx.set(&format!("{ours}.tools"), &mut server.shape.tools, own.tools);
    if let Some((tokens, origin)) = own.tokens {
        let scope = TokenScope::Only(vec![server.name.clone()]);
        let name = |at: usize| format!("{}-{}", server.name, at + 1);
        let names: Vec<String> = tokens
            .iter()
            .enumerate()
            .filter_map(|(at, read)| add(cx, &name(at), read, scope.clone(), table))
            .collect();
        let (guard, shown) = match names.is_empty() {
            true => (Guard::Open, "open".to_owned()),
            false => (Guard::Tokens(names.clone()), names.join(", ")),
        };
        let read = Read { value: guard, shown, origin };
        cx.set(&format!("{ours}.tokens"), &mut server.guard, Some(read));
    }
    if object.has("oauth") {
        object.ignore(&["oauth"]);
        cx.note(&object.path, entry::NO_OAUTH);
    }
}

fn add(
    cx: &mut Cx<'_>,
    name: &str,
    read: &Read<Text>,
    scope: TokenScope,
    table: &mut Tokens,
) -> Option<String> {
    let secret = tokens::secret(cx, read)?;
    let name = table.add(name, secret, scope);
    let given = Given { shown: MASK.to_owned(), origin: read.origin.clone() };
    cx.given.entry(format!("gateway.tokens.{name}")).or_insert(given);
    Some(name)
}

/// A file of version 1, which nobody reads any more: how it looks in version 2. Its values are not
/// repeated, they may be secrets.
pub(crate) fn first_version(root: &Node) -> Problem {
    let keys = |node: &Node, skip: &[&str]| {
        let members = node.members().unwrap_or_default().iter();
        let members = members.filter(|member| !skip.contains(&member.key.as_str()));
        members.map(|member| format!("{:?}: …", member.key)).collect::<Vec<_>>()
    };
    let mut proxy =
        root.get("server").map(|it| keys(it, &["globalAuthTokens"])).unwrap_or_default();
    if root.get("server").and_then(|it| it.get("globalAuthTokens")).is_some() {
        proxy.push("\"options\": {\"authTokens\": […]}".to_owned());
    }
    let server = |name: &str, client: &Node| {
        let mut parts = client.get("config").map(|it| keys(it, &[])).unwrap_or_default();
        if let Some(Value::Text(kind)) = client.get("type").map(|node| &node.value)
            && matches!(kind.as_str(), "sse" | "streamable-http")
        {
            parts.push(format!("\"transportType\": {kind:?}"));
        }
        let options = keys(client, &["type", "config"]);
        if !options.is_empty() {
            parts.push(format!("\"options\": {{{}}}", options.join(", ")));
        }
        format!("        {name:?}: {{{}}}", parts.join(", "))
    };
    let clients = root.get("clients").and_then(Node::members).unwrap_or_default();
    let servers: Vec<String> =
        clients.iter().take(20).map(|client| server(&client.key, &client.node)).collect();
    let help = format!(
        "write it as version 2:\n      {{\n      \"mcpProxy\": {{{}}},\n      \"mcpServers\": {{\n{}\n      }}\n      }}",
        proxy.join(", "),
        servers.join(",\n")
    );
    let key = "clients".to_owned();
    let place = root.get("clients").map(|node| node.place);
    let what = "a file of TBXark/mcp-proxy's first version, which is not read".to_owned();
    Problem { key, place, what, help: Some(help) }
}
