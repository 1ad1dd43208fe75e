//! Our own schema: `gateway` and `mcpServers`.

use crate::{
    config::{Audit, Config, Control, Given, Listen, Log, StateDir, Tls, TokenScope},
    dialect::entry,
    file::{Node, Value, join},
    group,
    problem::Origin,
    reader::{Cx, Object, Read},
    schema::Scope,
    secret::MASK,
    shaping::{self, Shaping},
    tokens::{self, Tokens},
    url::Url,
    words::{Accept, Compat, EndpointStyle, LogFormat, LogLevel},
};

pub(crate) fn read(cx: &mut Cx<'_>, root: &Node, config: &mut Config) {
    let Some(mut top) = cx.object(root, "") else { return };
    top.ignore(&["$schema"]);
    if let Some(mut object) = cx.inner(&mut top, "gateway") {
        gateway(cx, &mut object, config);
        cx.finish(object, Scope::Gateway);
    }
    match top.take("mcpServers") {
        Some((node, path)) => entry::servers(cx, node, &path, config, &mut |_, _, _| {}),
        None => cx.note("mcpServers", "there are no servers: nothing will be served"),
    }
    if let Some((node, path)) = top.take("groups") {
        group::groups(cx, node, &path, config);
    }
    cx.finish(top, Scope::Top);
}

fn gateway(cx: &mut Cx<'_>, object: &mut Object<'_>, config: &mut Config) {
    listen(cx, object, config);
    let url = cx.text(object, "publicUrl");
    if let Some(url) = url.and_then(|text| public_url(cx, text)) {
        base_path(cx, url.origin.clone(), url.value.path().to_owned(), config);
        cx.set("gateway.publicUrl", &mut config.public_url, Some(url.map(Some)));
    }
    if let Some(path) = cx.plain(object, "basePath") {
        base_path(cx, path.origin, path.value, config);
    }
    let style = cx.word(object, "endpointStyle", EndpointStyle::WORDS);
    if let Some(style) = &style
        && style.value == EndpointStyle::Absolute
        && !object.has("publicUrl")
    {
        let help = "write `publicUrl` too, or leave the style at \"relative\"".to_owned();
        cx.problem(style.at(), "an absolute endpoint needs a URL", Some(help));
    }
    cx.set("gateway.endpointStyle", &mut config.endpoint_style, style);
    tls(cx, object, config);
    let mut table = Tokens::default();
    if let Some((node, path)) = object.take("tokens") {
        read_tokens(cx, node, &path, &mut table);
    }
    config.tokens = table.into_entries();
    origins(cx, object, config);
    affinity(cx, object, config);
    let hosts = cx.names(object, "allowedHosts");
    cx.set("gateway.allowedHosts", &mut config.allowed_hosts, hosts);
    let insecure = cx.flag(object, "insecure");
    cx.set("gateway.insecure", &mut config.insecure, insecure);
    let accept = cx.word(object, "accept", Accept::WORDS);
    cx.set("gateway.accept", &mut config.accept, accept);
    let compat = cx.word(object, "compat", Compat::WORDS);
    cx.set("gateway.compat", &mut config.compat, compat);
    rest(cx, object, config);
}

fn rest(cx: &mut Cx<'_>, object: &mut Object<'_>, config: &mut Config) {
    if let Some(mut inner) = cx.inner(object, "log") {
        log(cx, &mut inner, &mut config.log);
        cx.finish(inner, Scope::Log);
    }
    let metrics = cx.flag(object, "metrics");
    cx.set("gateway.metrics", &mut config.metrics, metrics);
    audit(cx, object, config);
    if let Some(mut inner) = cx.inner(object, "limits") {
        config.limits.read(cx, &mut inner, "gateway.limits");
        cx.finish(inner, Scope::Limits);
    }
    if let Some(mut inner) = cx.inner(object, "timeouts") {
        config.timeouts.read(cx, &mut inner, "gateway.timeouts");
        cx.finish(inner, Scope::Timeouts);
    }
    if let Some(mut inner) = cx.inner(object, "aggregate") {
        group::aggregate(cx, &mut inner, &mut config.aggregate);
        cx.finish(inner, Scope::Aggregate);
    }
    let watch = cx.flag(object, "watch");
    cx.set("gateway.watch", &mut config.watch, watch);
    control(cx, object, config);
    state(cx, object, config);
    let grace = cx.duration(object, "shutdownGrace");
    cx.set("gateway.shutdownGrace", &mut config.shutdown_grace, grace);
    let name = cx.plain(object, "name");
    cx.set("gateway.name", &mut config.server_name, name);
    let version = cx.plain(object, "version");
    cx.set("gateway.version", &mut config.server_version, version.map(|it| it.map(Some)));
}

fn state(cx: &mut Cx<'_>, object: &mut Object<'_>, config: &mut Config) {
    if let Some(read) = cx.path(object, "stateDir") {
        let is_none = read.value == cx.env.base().join("none");
        let read = read.map(|path| if is_none { StateDir::None } else { StateDir::At(path) });
        cx.set("gateway.stateDir", &mut config.state_dir, Some(read));
    }
    let rotation = cx.duration(object, "sessionKeyRotation");
    cx.set("gateway.sessionKeyRotation", &mut config.session_key_rotation, rotation);
}

fn control(cx: &mut Cx<'_>, object: &mut Object<'_>, config: &mut Config) {
    let Some(read) = cx.path(object, "control") else { return };
    let is_off = read.value == cx.env.base().join("off");
    let read = read.map(|path| if is_off { Control::Off } else { Control::At(path) });
    cx.set("gateway.control", &mut config.control, Some(read));
}

fn audit(cx: &mut Cx<'_>, object: &mut Object<'_>, config: &mut Config) {
    let Some(mut inner) = cx.inner(object, "audit") else { return };
    let file = cx.path(&mut inner, "file");
    let (queue, wait) = (cx.size(&mut inner, "queueBytesMax"), cx.duration(&mut inner, "wait"));
    let (path, place, complete) = (inner.path.clone(), inner.place, inner.has("file"));
    cx.finish(inner, Scope::Audit);
    let Some(file) = file else {
        if !complete {
            cx.problem((&path, Some(place)), "want `file`: where lines are added", None);
        }
        return;
    };
    let mut audit = Audit::to(file.value.clone());
    cx.set("gateway.audit.file", &mut audit.file, Some(file));
    cx.set("gateway.audit.queueBytesMax", &mut audit.queue_bytes_max, queue);
    cx.set("gateway.audit.wait", &mut audit.wait_timeout, wait);
    config.audit = Some(audit);
}

fn log(cx: &mut Cx<'_>, object: &mut Object<'_>, log: &mut Log) {
    let format = cx.word(object, "format", LogFormat::WORDS);
    cx.set("gateway.log.format", &mut log.format, format);
    let level = cx.word(object, "level", LogLevel::WORDS);
    cx.set("gateway.log.level", &mut log.level, level);
}

fn listen(cx: &mut Cx<'_>, object: &mut Object<'_>, config: &mut Config) {
    let Some((node, path)) = object.take("listen") else { return };
    if let Value::Number(number) = &node.value {
        let help = format!(
            "write \"127.0.0.1:{number}\" (this machine alone) or \":{number}\" (every interface)"
        );
        cx.problem((&path, Some(node.place)), "a port alone does not say where", Some(help));
        return;
    }
    let texts = match &node.value {
        Value::Text(_) => cx.text_of(node, &path).into_iter().collect(),
        _ => cx.list_of(node, &path, false),
    };
    let mut found = Vec::new();
    for text in &texts {
        match Listen::parse(text.value.expose()) {
            Ok(Listen::Unix(path)) => found.push(Listen::Unix(cx.env.base().join(path))),
            Ok(listen) => found.push(listen),
            Err(error) => cx.problem(text.at(), error.to_string(), None),
        }
    }
    let shown: Vec<String> = found.iter().map(ToString::to_string).collect();
    match texts.into_iter().next() {
        Some(first) if !found.is_empty() => {
            let read = Read { value: found, shown: shown.join(", "), origin: first.origin };
            cx.set("gateway.listen", &mut config.listen, Some(read));
        }
        Some(_) => {}
        // Not a list of strings was said already; an empty one is our own complaint.
        None if matches!(&node.value, Value::List(list) if list.is_empty()) => {
            cx.problem((&path, Some(node.place)), "nowhere to listen: the list is empty", None);
        }
        None => {}
    }
}

/// A public URL has no query and no password.
pub(crate) fn public_url(cx: &mut Cx<'_>, text: Read<crate::secret::Text>) -> Option<Read<Url>> {
    match Url::read(&text.value) {
        Ok((url, None)) if url.uri().query().is_none() => {
            Some(Read { shown: url.to_string(), ..text.map(|_| url) })
        }
        Ok((_, None)) => {
            cx.problem(text.at(), "a public URL has no query (`?…`)", None);
            None
        }
        Ok((_, Some(_))) => {
            cx.problem(text.at(), "a public URL has no password (`…@`)", None);
            None
        }
        Err(what) => {
            let help = "for example \"https://mcp.example.com/tools\"".to_owned();
            cx.problem(text.at(), what, Some(help));
            None
        }
    }
}

/// Sets the mount path from a path as written.
pub(crate) fn base_path(cx: &mut Cx<'_>, origin: Origin, path: String, config: &mut Config) {
    let trimmed = path.trim_matches('/');
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    let good = |segment: &str| {
        !segment.is_empty() && !matches!(segment, "." | "..") && segment.bytes().all(plain)
    };
    if !trimmed.is_empty() && !trimmed.split('/').all(good) {
        let read = Read { value: (), shown: String::new(), origin };
        let what = "not a mount path: want \"/a/b\" of letters, digits, `-`, `_`, `.`, `~`";
        cx.problem(read.at(), what, None);
        return;
    }
    let value = if trimmed.is_empty() { String::new() } else { format!("/{trimmed}") };
    let read = Read {
        shown: if value.is_empty() { "/".to_owned() } else { value.clone() },
        value,
        origin,
    };
    cx.set("gateway.basePath", &mut config.base_path, Some(read));
}

fn tls(cx: &mut Cx<'_>, object: &mut Object<'_>, config: &mut Config) {
    let Some(mut inner) = cx.inner(object, "tls") else { return };
    let cert = cx.path(&mut inner, "cert");
    let key = cx.path(&mut inner, "key");
    let (path, place) = (inner.path.clone(), inner.place);
    let complete = inner.has("cert") && inner.has("key");
    cx.finish(inner, Scope::Tls);
    match (cert, key) {
        (Some(cert), Some(key)) => {
            let shown = format!("{} and {}", cert.value.display(), key.value.display());
            let tls = Tls { cert: cert.value, key: key.value };
            let read = Read { value: Some(tls), shown, origin: cert.origin };
            cx.set("gateway.tls", &mut config.tls, Some(read));
        }
        _ if complete => {}
        _ => cx.problem((&path, Some(place)), "want both `cert` and `key`", None),
    }
}

fn origins(cx: &mut Cx<'_>, object: &mut Object<'_>, config: &mut Config) {
    let Some(read) = cx.names(object, "allowedOrigins") else { return };
    for origin in &read.value {
        let authority = origin.split_once("://").map(|(_, authority)| authority);
        let good = authority.is_some_and(|it| !it.is_empty() && !it.contains(['/', '?', '#', ' ']));
        if !good && origin != "*" {
            let what = format!("{origin:?} is no origin");
            let help = "want \"https://app.example\" without a path, or \"*\"".to_owned();
            cx.problem(read.at(), what, Some(help));
        }
    }
    cx.set("gateway.allowedOrigins", &mut config.allowed_origins, Some(read));
}

/// What is somebody else's to read, or a secret, names no conversation.
fn affinity(cx: &mut Cx<'_>, object: &mut Object<'_>, config: &mut Config) {
    const TAKEN: [&str; 10] = [
        "authorization",
        "connection",
        "cookie",
        "host",
        "last-event-id",
        "origin",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    const TAKEN_PREFIXES: [&str; 4] = ["accept", "content-", "mcp-", "proxy-"];
    let Some(read) = cx.plain(object, "affinityHeader") else { return };
    let Ok(name) = http::HeaderName::from_bytes(read.value.as_bytes()) else {
        let help = "want the name of an HTTP field, such as \"X-Conversation-Id\"".to_owned();
        return cx.problem(read.at(), "is no field's name", Some(help));
    };
    let name = name.as_str();
    if TAKEN.contains(&name) || TAKEN_PREFIXES.iter().any(|it| name.starts_with(it)) {
        let what = format!("`{name}` says something else, or is a secret");
        let help = "want a field of your clients' own, such as \"X-Conversation-Id\"".to_owned();
        return cx.problem(read.at(), what, Some(help));
    }
    let name = name.to_owned();
    cx.set("gateway.affinityHeader", &mut config.affinity_header, Some(read.map(|_| Some(name))));
}

fn read_tokens(cx: &mut Cx<'_>, node: &Node, path: &str, table: &mut Tokens) {
    if let Value::List(_) = node.value {
        for (at, read) in cx.list_of(node, path, false).into_iter().enumerate() {
            token(cx, &format!("token-{}", at + 1), &read, TokenScope::All, table);
        }
        return;
    }
    let Some(mut object) = cx.object(node, path) else { return };
    for member in object.take_all() {
        let path = join(path, &member.key);
        if let Value::Text(_) = member.node.value {
            if let Some(read) = cx.text_of(&member.node, &path) {
                token(cx, &member.key, &read, TokenScope::All, table);
            }
        } else if let Some(inner) = cx.object(&member.node, &path) {
            token_object(cx, &member.key, inner, table);
        }
    }
}

fn token_object(cx: &mut Cx<'_>, name: &str, mut object: Object<'_>, table: &mut Tokens) {
    let secret = cx.text(&mut object, "secret");
    let sha256 = cx.text(&mut object, "sha256");
    let scope = match cx.names(&mut object, "servers") {
        Some(read) if read.value == ["all"] || read.value == ["*"] => TokenScope::All,
        Some(read) => TokenScope::Only(read.value),
        None => TokenScope::All,
    };
    let mut shape = Shaping::default();
    shaping::all(cx, &mut object, &format!("gateway.tokens.{name}"), &mut shape);
    let (path, place) = (object.path.clone(), object.place);
    let given = object.has("secret") || object.has("sha256");
    cx.finish(object, Scope::Token);
    match (secret, sha256) {
        (Some(read), None) => token(cx, name, &read, scope, table),
        (None, Some(read)) => match tokens::sha256(read.value.expose()) {
            Some(secret) => keep(cx, name, &read, (secret, scope), table),
            None => cx.problem(read.at(), "want 64 hex digits", None),
        },
        (None, None) if given => {}
        _ => {
            let what = "want one of `secret` and `sha256`";
            cx.problem((&path, Some(place)), what, None);
        }
    }
    if let Some(slot) = table.shape(name) {
        *slot = shape;
    }
}

fn token(
    cx: &mut Cx<'_>,
    name: &str,
    read: &Read<crate::secret::Text>,
    scope: TokenScope,
    table: &mut Tokens,
) {
    if let Some(secret) = tokens::secret(cx, read) {
        keep(cx, name, read, (secret, scope), table);
    }
}

fn keep(
    cx: &mut Cx<'_>,
    name: &str,
    read: &Read<crate::secret::Text>,
    (secret, scope): (crate::config::TokenSecret, TokenScope),
    table: &mut Tokens,
) {
    if let Some(first) = table.find(&secret) {
        let what = format!("the same token as `{first}`: one caller would have two names");
        return cx.problem(read.at(), what, None);
    }
    let name = table.add(name, secret, scope);
    let given = Given { shown: MASK.to_owned(), origin: read.origin.clone() };
    cx.given.insert(format!("gateway.tokens.{name}"), given);
}
