//! What was understood, for people and for programs, with every secret masked.

use std::{collections::BTreeMap, fmt::Write};

use serde::Serialize;

use crate::{
    config::{Config, TokenScope},
    group::GroupConfig,
    problem::Origin,
    quantity::{show_duration, show_size},
    secret::MASK,
    server::{Guard, Protocol, ServerConfig, Stdio, Upstream},
};

/// The JSON form. Members may be added to it, but not renamed.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct View {
    understood_as: String,
    listen: Vec<String>,
    public_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    affinity_header: Option<String>,
    base_path: String,
    tls: bool,
    tokens: Vec<TokenView>,
    servers: Vec<ServerView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    all: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    groups: Vec<GroupView>,
    given: BTreeMap<String, GivenView>,
    notes: Vec<NoteView>,
}

#[derive(Serialize)]
struct TokenView {
    name: String,
    servers: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ServerView {
    name: String,
    disabled: bool,
    transport: &'static str,
    routes: Vec<String>,
    /// A URL, or a program.
    target: String,
    args: Vec<String>,
    env: Vec<String>,
    headers: Vec<String>,
    inherit_env: bool,
    startup: String,
    isolation: String,
    guard: String,
    tools: Option<String>,
    protocol: String,
    start_timeout: String,
    request_timeout: String,
    message_len_max: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct GroupView {
    name: String,
    routes: Vec<String>,
    servers: Vec<String>,
    guard: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    tools: Option<String>,
    prefix: String,
    search: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct GivenView {
    value: String,
    by: &'static str,
    key: Option<String>,
    line: Option<usize>,
    column: Option<usize>,
    variables: Vec<String>,
}

#[derive(Serialize)]
struct NoteView {
    key: String,
    text: String,
}

// === impl Config ===

impl Config {
    /// What was understood, for people: the whole, each server, what was given and where, and what
    /// should be known. Nothing of it is secret. The same configuration gives the same text.
    pub fn render_masked(&self) -> String {
        let mut out = String::new();
        // Writing to a string cannot fail, and what was written is good in any case.
        match self.write(&self.view(), &mut out) {
            Ok(()) | Err(std::fmt::Error) => out,
        }
    }

    /// The same for programs: one JSON object.
    pub fn render_json(&self) -> String {
        serde_json::to_string_pretty(&self.view()).unwrap_or_default()
    }

    fn view(&self) -> View {
        View {
            understood_as: self.dialect.to_string(),
            listen: self.listen.iter().map(ToString::to_string).collect(),
            public_url: self.public_url.as_ref().map(ToString::to_string),
            affinity_header: self.affinity_header.clone(),
            base_path: self.base_path.clone(),
            tls: self.tls.is_some(),
            tokens: self
                .tokens
                .iter()
                .map(|token| TokenView {
                    name: token.name.clone(),
                    servers: match &token.servers {
                        TokenScope::All => vec!["*".to_owned()],
                        TokenScope::Only(servers) => servers.clone(),
                    },
                })
                .collect(),
            servers: self.servers.values().map(|server| self.server(server)).collect(),
            all: (self.aggregate.enabled && self.aggregated().next().is_some())
                .then(|| ["/mcp", "/sse"].map(|it| format!("{}{it}", self.base_path)).to_vec()),
            groups: self.groups.values().map(|group| self.group(group)).collect(),
            given: self
                .given()
                .map(|(key, given)| {
                    let view = GivenView::new(&given.shown, &given.origin);
                    (key.to_owned(), view)
                })
                .collect(),
            notes: self
                .notes
                .iter()
                .map(|note| NoteView { key: note.key.clone(), text: note.text.clone() })
                .collect(),
        }
    }

    fn server(&self, server: &ServerConfig) -> ServerView {
        let (target, stdio) = match &server.upstream {
            Upstream::Stdio(stdio) => (stdio.program.to_string(), Some(stdio)),
            Upstream::Demo => ("built in".to_owned(), None),
            other => (other.remote().map(|it| it.url.to_string()).unwrap_or_default(), None),
        };
        let args = |stdio: &Stdio| stdio.args.iter().map(ToString::to_string).collect();
        let remote = server.upstream.remote();
        ServerView {
            name: server.name.clone(),
            disabled: server.disabled,
            transport: server.upstream.kind(),
            routes: server.routes().map(|route| format!("{}{route}", self.base_path)).to_vec(),
            target,
            args: stdio.map(args).unwrap_or_default(),
            env: stdio.map(|it| it.env.keys().cloned().collect()).unwrap_or_default(),
            headers: remote.map(|it| it.headers.keys().cloned().collect()).unwrap_or_default(),
            inherit_env: stdio.is_some_and(|stdio| stdio.inherit_env),
            startup: server.startup.to_string(),
            isolation: server.isolation.to_string(),
            guard: self.guard(server),
            tools: server.shape.tools.shown(),
            protocol: match &server.protocol {
                Protocol::Auto => "auto".to_owned(),
                Protocol::Pinned(revision) => revision.clone(),
            },
            start_timeout: show_duration(server.start_timeout),
            request_timeout: show_duration(server.request_timeout),
            message_len_max: show_size(server.message_len_max),
        }
    }

    fn group(&self, group: &GroupConfig) -> GroupView {
        let route = |door| format!("{}/g/{}/{door}", self.base_path, group.name);
        GroupView {
            name: group.name.clone(),
            routes: vec![route("mcp"), route("sse")],
            servers: group.servers.keys().cloned().collect(),
            guard: match &group.guard {
                Guard::Inherit => "whom its servers are open to".to_owned(),
                Guard::Open => "everybody, as far as its servers are".to_owned(),
                Guard::Tokens(names) => format!("token {}", names.join(", ")),
            },
            tools: group.shape.tools.shown(),
            prefix: group.naming.prefix.to_string(),
            search: group.search,
        }
    }

    /// Who may come in, in words.
    fn guard(&self, server: &ServerConfig) -> String {
        let names: Vec<&str> = match &server.guard {
            _ if self.is_open(server) => return "everybody".to_owned(),
            Guard::Tokens(names) => names.iter().map(String::as_str).collect(),
            _ => {
                let opens = |scope: &TokenScope| match scope {
                    TokenScope::All => true,
                    TokenScope::Only(servers) => servers.contains(&server.name),
                };
                let tokens = self.tokens.iter().filter(|token| opens(&token.servers));
                tokens.map(|token| token.name.as_str()).collect()
            }
        };
        if names.is_empty() { "nobody".to_owned() } else { format!("token {}", names.join(", ")) }
    }

    fn write(&self, view: &View, out: &mut String) -> std::fmt::Result {
        writeln!(out, "understood as  {}", view.understood_as)?;
        writeln!(out, "listen         {}", view.listen.join(", "))?;
        if let Some(url) = &view.public_url {
            writeln!(out, "public URL     {url}")?;
        }
        if !view.base_path.is_empty() {
            writeln!(out, "mount path     {}", view.base_path)?;
        }
        if view.tls {
            writeln!(out, "TLS            on")?;
        }
        for token in &view.tokens {
            let servers = token.servers.join(", ").replace('*', "every server");
            writeln!(out, "token          {} opens {servers}", token.name)?;
        }
        for server in &view.servers {
            writeln!(
                out,
                "\nserver {}{}",
                server.name,
                if server.disabled { " (disabled)" } else { "" }
            )?;
            server.write(out)?;
        }
        if let Some(routes) = &view.all {
            writeln!(out, "\nall servers as one")?;
            writeln!(out, "  routes           {}", routes.join("  "))?;
        }
        view.groups.iter().try_for_each(|group| group.write(out))?;
        if !view.given.is_empty() {
            writeln!(out, "\ngiven")?;
            let width = self.given.keys().map(String::len).max().unwrap_or(0).min(44);
            for (key, given) in self.given() {
                writeln!(out, "  {key:width$} = {}  <- {}", given.shown, given.origin)?;
            }
        }
        if !self.notes.is_empty() {
            writeln!(out, "\nnotes")?;
            self.notes.iter().try_for_each(|note| writeln!(out, "  {note}"))?;
        }
        Ok(())
    }
}

// === impl ServerView ===

impl ServerView {
    fn write(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "  routes           {}", self.routes.join("  "))?;
        let quote = |arg: &String| match arg.is_empty() || arg.contains(char::is_whitespace) {
            true => format!("{arg:?}"),
            false => arg.clone(),
        };
        let args: Vec<String> =
            std::iter::once(&self.target).chain(&self.args).map(quote).collect();
        writeln!(out, "  {:16} {}", self.transport, args.join(" "))?;
        let masked = |names: &[String], between: &str| {
            let pairs: Vec<_> = names.iter().map(|name| format!("{name}{between}{MASK}")).collect();
            pairs.join("  ")
        };
        if !self.env.is_empty() {
            writeln!(out, "  environment      {}", masked(&self.env, "="))?;
        }
        if self.inherit_env {
            writeln!(out, "  environment      all of the gateway's")?;
        }
        if !self.headers.is_empty() {
            writeln!(out, "  headers          {}", masked(&self.headers, ": "))?;
        }
        if let Some(tools) = &self.tools {
            writeln!(out, "  tools            {tools}")?;
        }
        writeln!(out, "  open to          {}", self.guard)?;
        writeln!(out, "  startup          {}, isolation {}", self.startup, self.isolation)
    }
}

// === impl GroupView ===

impl GroupView {
    fn write(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "\ngroup {}", self.name)?;
        writeln!(out, "  routes           {}", self.routes.join("  "))?;
        writeln!(out, "  servers          {}", self.servers.join(", "))?;
        if let Some(tools) = &self.tools {
            writeln!(out, "  tools            {tools}")?;
        }
        writeln!(out, "  open to          {}", self.guard)?;
        let search = if self.search { ", found by search" } else { "" };
        writeln!(out, "  names            prefix {}{search}", self.prefix)
    }
}

// === impl GivenView ===

impl GivenView {
    fn new(shown: &str, origin: &Origin) -> Self {
        let value = shown.to_owned();
        let by =
            |by| Self { value, by, key: None, line: None, column: None, variables: Vec::new() };
        match origin {
            Origin::Default => by("default"),
            Origin::Dialect(whose) => Self { key: Some((*whose).to_owned()), ..by("dialect") },
            Origin::File { key, place, variables } => Self {
                key: Some(key.clone()),
                line: Some(place.line),
                column: Some(place.column),
                variables: variables.clone(),
                ..by("file")
            },
        }
    }
}
