//! How a server is reached: `command` or `url`, and which of the transports.

use std::collections::BTreeMap;

use http::{HeaderName, HeaderValue};

use crate::{
    command,
    config::{Config, Given},
    dialect::{Dialect, entry},
    reader::{Cx, Object, Read},
    schema::did_you_mean,
    secret::{MASK, Secret, Text},
    server::{Remote, Stdio, Upstream},
    url::Url,
};

/// Keys that only a process has, and only an HTTP server.
const STDIO_KEYS: &[&str] = &["args", "env", "envFile", "inheritEnv", "cwd"];
const REMOTE_KEYS: &[&str] = &["headers", "ca", "insecureTls", "connectTimeout"];

/// Header lines that the gateway writes itself.
const OWN_HEADERS: &[&str] = &[
    "accept",
    "accept-encoding",
    "connection",
    "content-length",
    "content-type",
    "host",
    "keep-alive",
    "last-event-id",
    "mcp-protocol-version",
    "mcp-session-id",
    "origin",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Stdio,
    Sse,
    Streamable,
    Http,
    Demo,
}

/// Every spelling met, without `-` and `_` and in lower case.
const KINDS: &[(&str, Kind)] = &[
    ("stdio", Kind::Stdio),
    ("local", Kind::Stdio),
    ("sse", Kind::Sse),
    ("streamablehttp", Kind::Streamable),
    ("streamable", Kind::Streamable),
    ("http", Kind::Http),
    ("remote", Kind::Http),
    ("auto", Kind::Http),
    ("demo", Kind::Demo),
];

pub(crate) fn read(
    cx: &mut Cx<'_>,
    object: &mut Object<'_>,
    name: &str,
    config: &Config,
) -> Option<Upstream> {
    let before = cx.problems.len();
    let kind = kind(cx, object);
    let command = cx.text(object, "command").filter(|it| !it.value.expose().is_empty());
    let url = url_of(cx, object);
    if before != cx.problems.len() {
        complain_only(cx, object);
        return None;
    }
    let at = (object.path.clone(), Some(object.place));
    let at = (at.0.as_str(), at.1);
    match (command, url) {
        (Some(_), Some(_)) if !cx.is_tbxark() => {
            complain_only(cx, object);
            cx.problem(at, "want one of `command` and `url`, not both", None);
            None
        }
        (Some(command), url) => {
            if url.is_some() {
                cx.note(at.0, "`command` wins over `url`, as there");
            }
            misplaced(cx, object, REMOTE_KEYS, "a server with `url`");
            if !cx.is_tbxark() && kind.is_some_and(|(kind, _)| kind != Kind::Stdio) {
                cx.problem(at, "a server with `command` speaks stdio: `type` says otherwise", None);
                return None;
            }
            stdio(cx, object, name, command)
        }
        (None, Some((url, streamable))) => {
            misplaced(cx, object, STDIO_KEYS, "a server with `command`");
            let remote = remote(cx, object, name, config, url)?;
            let kind = kind.or_else(|| streamable.then_some((Kind::Streamable, false)));
            speaks(cx, kind, remote, at)
        }
        (None, None) => {
            complain_only(cx, object);
            match kind {
                Some((Kind::Demo, _)) => return Some(Upstream::Demo),
                Some((Kind::Stdio, _)) => cx.problem(at, "`command` is missing", None),
                Some(_) => cx.problem(at, "`url` is missing", None),
                None => {
                    let help =
                        "`command` and `args` of a program to start, or the `url` of a server";
                    cx.problem(at, "want one of `command` and `url`", Some(help.to_owned()));
                }
            }
            None
        }
    }
}

/// The transport of an HTTP server: as `type` says, or as the dialect and the URL suggest.
fn speaks(
    cx: &mut Cx<'_>,
    kind: Option<(Kind, bool)>,
    remote: Remote,
    at: (&str, Option<crate::problem::Place>),
) -> Option<Upstream> {
    let looks_sse = remote.url.path().trim_end_matches('/').ends_with("/sse");
    Some(match kind {
        Some((Kind::Sse, _)) => Upstream::Sse(remote),
        Some((Kind::Streamable, _)) => Upstream::Streamable(remote),
        // There the word stands for trying both.
        Some((Kind::Http, _)) if cx.dialect == Dialect::VsCode => Upstream::Http(remote),
        Some((Kind::Http, _)) if looks_sse => Upstream::Http(remote),
        Some((Kind::Http, true)) => Upstream::Http(remote),
        Some((Kind::Http, false)) => Upstream::Streamable(remote),
        Some((Kind::Stdio, _)) => {
            cx.problem(at, "`command` is missing", None);
            return None;
        }
        Some((Kind::Demo, _)) => {
            cx.problem(at, "the demonstration server has no `url`", None);
            return None;
        }
        None if looks_sse => Upstream::Sse(remote),
        None if matches!(cx.dialect, Dialect::Tbxark | Dialect::Mcpo) => Upstream::Sse(remote),
        None => Upstream::Http(remote),
    })
}

/// `type` or one of its other names, and whether it was an unclear word for "over HTTP".
fn kind(cx: &mut Cx<'_>, object: &mut Object<'_>) -> Option<(Kind, bool)> {
    let mut found = None;
    for key in ["transportType", "transport", "type"] {
        let Some(read) = cx.plain(object, key).filter(|it| !it.value.is_empty()) else { continue };
        let word = read.value.to_ascii_lowercase().replace(['-', '_'], "");
        match KINDS.iter().find(|(known, _)| *known == word) {
            Some((_, kind)) => {
                let unclear = matches!(word.as_str(), "remote" | "auto");
                found = Some((*kind, unclear || key == "transportType"));
            }
            None if matches!(word.as_str(), "ws" | "websocket") => {
                cx.problem(read.at(), "WebSockets are no transport of MCP", None);
            }
            None => {
                let known = ["stdio", "sse", "streamable-http", "http", "auto", "demo"];
                let what = format!("want one of {}", crate::reader::quoted(&known));
                let help = did_you_mean(&read.value, known);
                cx.problem(read.at(), what, help);
            }
        }
    }
    found
}

/// `url` or one of its other names, and whether the name says that it is Streamable HTTP.
fn url_of(cx: &mut Cx<'_>, object: &mut Object<'_>) -> Option<(Read<Text>, bool)> {
    let mut found = None;
    for (key, streamable) in [("serverUrl", false), ("url", false), ("httpUrl", true)] {
        let read = cx.text(object, key).filter(|it| !it.value.expose().is_empty());
        found = read.map(|read| (read, streamable)).or(found);
    }
    found
}

/// Reads what is of no use any more, for its complaints.
fn complain_only(cx: &mut Cx<'_>, object: &mut Object<'_>) {
    if let Some((node, path)) = object.take("args") {
        cx.list_of(node, &path, true);
    }
    cx.pairs(object, "env");
    cx.pairs(object, "headers");
    object.ignore(STDIO_KEYS);
    object.ignore(REMOTE_KEYS);
}

/// Keys that belong to the other sort of server.
fn misplaced(cx: &mut Cx<'_>, object: &mut Object<'_>, keys: &[&str], whose: &str) {
    for key in keys {
        let Some((node, path)) = object.take(key) else { continue };
        let what = format!("`{key}` belongs to {whose}");
        if cx.is_own() {
            cx.problem((&path, Some(node.place)), what, None);
        } else {
            cx.note(&path, format!("{what}: ignored"));
        }
    }
}

fn stdio(
    cx: &mut Cx<'_>,
    object: &mut Object<'_>,
    name: &str,
    command: Read<Text>,
) -> Option<Upstream> {
    let ours = |key: &str| format!("mcpServers.{name}.{key}");
    let args = match object.take("args") {
        Some((node, path)) => cx.list_of(node, &path, true),
        None => Vec::new(),
    };
    args.iter().for_each(|arg| unreplaced(cx, arg));
    let args = args.into_iter().map(|arg| arg.value).collect();
    let at = command.at();
    let mut stdio = match command::read(command.value.clone(), args, cx.env) {
        Ok((stdio, note)) => {
            if let Some(note) = note {
                cx.note(at.0, note);
            }
            stdio
        }
        Err(fault) => {
            cx.problem(at, fault.what, fault.help);
            object.ignore(STDIO_KEYS);
            return None;
        }
    };
    if matches!(cx.dialect, Dialect::Tbxark | Dialect::Mcpo) {
        stdio.inherit_env = true;
        let whose = if cx.is_tbxark() { "TBXark" } else { "mcpo" };
        entry::implied(cx, &ours("inheritEnv"), "true", whose);
    }
    let inherit = cx.flag(object, "inheritEnv");
    cx.set(&ours("inheritEnv"), &mut stdio.inherit_env, inherit);
    let cwd = cx.path(object, "cwd");
    cx.set(&ours("cwd"), &mut stdio.cwd, cwd.map(|it| it.map(Some)));
    environment(cx, object, name, &mut stdio);
    Some(Upstream::Stdio(stdio))
}

/// Mentions what a shell would have replaced.
fn unreplaced(cx: &mut Cx<'_>, arg: &Read<Text>) {
    let value = arg.value.expose();
    // A value that a variable brought in is as it should be.
    if !arg.value.variables().is_empty() {
        return;
    }
    let (_, after) = value.split_once('$').unwrap_or_default();
    let variable =
        after.bytes().next().is_some_and(|byte| byte.is_ascii_uppercase() || byte == b'_');
    if variable || value.starts_with("~/") {
        let what =
            "there is no shell here: `$NAME` and `~` stay as they are; write ${NAME}, ${HOME}";
        cx.note(arg.at().0, what);
    }
}

fn environment(cx: &mut Cx<'_>, object: &mut Object<'_>, name: &str, stdio: &mut Stdio) {
    if let Some(file) = cx.path(object, "envFile") {
        match cx.env.read(&file.value) {
            Ok(text) => stdio.env.extend(dotenv(&text)),
            Err(error) => {
                let what = format!("cannot read {}: {error}", file.value.display());
                cx.problem(file.at(), what, None);
            }
        }
    }
    for (key, read) in cx.pairs(object, "env") {
        if key.is_empty() || key.contains(['=', '\0']) {
            cx.problem(read.at(), "this is no name of a variable", None);
            continue;
        }
        let ours = format!("mcpServers.{name}.env.{key}");
        let origin = read.origin.clone();
        cx.given.insert(ours, Given { shown: MASK.to_owned(), origin });
        stdio.env.insert(key, Secret::new(read.value.expose()));
    }
}

/// `NAME=value` lines: `export` before, quotes around and comments after are dropped.
fn dotenv(text: &str) -> BTreeMap<String, Secret> {
    let mut found = BTreeMap::new();
    for line in text.lines() {
        let line = line.trim();
        let line = line.strip_prefix("export ").unwrap_or(line);
        let Some((name, value)) = line.split_once('=') else { continue };
        let (name, value) = (name.trim(), value.trim());
        if name.is_empty() || name.starts_with('#') {
            continue;
        }
        let quoted = |quote: char| value.strip_prefix(quote)?.split_once(quote);
        let value = match (quoted('"'), quoted('\'')) {
            (Some((inside, _)), _) => inside.replace("\\n", "\n"),
            (None, Some((inside, _))) => inside.to_owned(),
            (None, None) => value.split(" #").next().unwrap_or(value).trim_end().to_owned(),
        };
        found.insert(name.to_owned(), Secret::new(value));
    }
    found
}

fn remote(
    cx: &mut Cx<'_>,
    object: &mut Object<'_>,
    name: &str,
    config: &Config,
    text: Read<Text>,
) -> Option<Remote> {
    let ours = |key: &str| format!("mcpServers.{name}.{key}");
    let read = Url::read(&text.value);
    let mut headers = headers(cx, object, name);
    let (url, user) = match read {
        Ok(found) => found,
        Err(what) => {
            cx.problem(
                text.at(),
                what,
                Some("for example \"http://127.0.0.1:8686/sse\"".to_owned()),
            );
            object.ignore(REMOTE_KEYS);
            return None;
        }
    };
    if let Some(user) = user {
        headers.entry("authorization".to_owned()).or_insert(user);
        cx.note(text.at().0, "what stands before the `@` is sent as an `Authorization` header");
    }
    let mut remote = Remote { headers, ..Remote::new(url) };
    remote.connect_timeout = config.timeouts.connect_timeout;
    let connect = cx.duration(object, "connectTimeout");
    cx.set(&ours("connectTimeout"), &mut remote.connect_timeout, connect);
    let ca = cx.path(object, "ca");
    cx.set(&ours("ca"), &mut remote.ca, ca.map(|it| it.map(Some)));
    let insecure = cx.flag(object, "insecureTls");
    cx.set(&ours("insecureTls"), &mut remote.insecure_tls, insecure);
    if remote.insecure_tls {
        cx.note(&object.path, "any certificate of this server is accepted");
    }
    Some(remote)
}

fn headers(cx: &mut Cx<'_>, object: &mut Object<'_>, name: &str) -> BTreeMap<String, Secret> {
    let mut found = BTreeMap::new();
    for (key, read) in cx.pairs(object, "headers") {
        let Ok(header) = HeaderName::from_bytes(key.as_bytes()) else {
            cx.problem(read.at(), "this is no name of a header", None);
            continue;
        };
        if OWN_HEADERS.contains(&header.as_str()) {
            cx.note(read.at().0, "the gateway writes this header itself: ignored");
            continue;
        }
        let value = read.value.expose().trim();
        if HeaderValue::from_str(value).is_err() {
            let what = "a header's value is one line of visible ASCII characters";
            cx.problem(read.at(), what, None);
            continue;
        }
        let ours = format!("mcpServers.{name}.headers.{key}");
        let origin = read.origin.clone();
        cx.given.insert(ours, Given { shown: MASK.to_owned(), origin });
        if found.insert(header.as_str().to_owned(), Secret::new(value)).is_some() {
            cx.problem(read.at(), "this header is given twice", None);
        }
    }
    found
}
