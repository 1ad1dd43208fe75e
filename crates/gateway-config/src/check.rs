//! What only the whole can tell: references between its parts, and who could come in.

use crate::{
    config::{Config, Listen, TokenScope},
    file::join,
    reader::Cx,
    schema::did_you_mean,
    server::{Guard, ServerConfig},
};

/// Strangers from outside this machine could use servers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "listening at {} would let everybody who reaches it use {} without a token; {}",
    show(.listen), list(.servers), way_out(.listen)
)]
pub struct ExposureError {
    /// The addresses that are not of this machine alone.
    pub listen: Vec<Listen>,
    /// The servers that want no token, by name.
    pub servers: Vec<String>,
}

fn show(listen: &[Listen]) -> String {
    listen.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn list(servers: &[String]) -> String {
    match servers {
        [first, second, third, rest @ ..] if !rest.is_empty() => {
            format!("{first}, {second}, {third} and {} more servers", rest.len())
        }
        _ => servers.join(", "),
    }
}

fn way_out(listen: &[Listen]) -> String {
    let port = listen.iter().find_map(|listen| match listen {
        Listen::Any(port) | Listen::Name { port, .. } => Some(*port),
        Listen::Tcp(address) => Some(address.port()),
        Listen::Unix(_) => None,
    });
    let port = port.unwrap_or(crate::PORT);
    format!(
        "either give it tokens (\"tokens\": {{\"me\": \"${{MCP_TOKEN}}\"}} in `gateway`, \
         \"authTokens\" in TBXark's files), or listen at 127.0.0.1:{port}, or say that it is meant: \
         --insecure"
    )
}

impl Config {
    /// Refuses to serve strangers from outside this machine, unless [`Config::insecure`] says so.
    /// To be asked after the command line has changed what it changes.
    ///
    /// # Errors
    /// An address is neither loopback nor a unix socket, and some server wants no token. The words
    /// name the ways out.
    pub fn check_exposure(&self) -> Result<(), ExposureError> {
        let outside = self.listen.iter().filter(|listen| !listen.is_local());
        let listen: Vec<Listen> = outside.cloned().collect();
        let open = self.enabled().filter(|server| self.is_open(server));
        let servers: Vec<String> = open.map(|server| server.name.clone()).collect();
        if self.insecure || listen.is_empty() || servers.is_empty() {
            return Ok(());
        }
        Err(ExposureError { listen, servers })
    }

    /// Whether a server can be used without any token.
    pub fn is_open(&self, server: &ServerConfig) -> bool {
        match server.guard {
            Guard::Open => true,
            Guard::Inherit => self.tokens.is_empty(),
            Guard::Tokens(_) => false,
        }
    }
}

/// Names that have to be somebody's.
pub(crate) fn references(cx: &mut Cx<'_>, config: &Config) {
    // Entries that were refused would only be complained of a second time.
    if !cx.problems.is_empty() {
        return;
    }
    for token in &config.tokens {
        let TokenScope::Only(servers) = &token.servers else { continue };
        for server in servers.iter().filter(|name| !config.servers.contains_key(*name)) {
            let help = did_you_mean(server, config.servers.keys().map(String::as_str));
            let key = join("gateway.tokens", &token.name);
            complain(cx, &key, format!("there is no server {server:?}"), help);
        }
    }
    for group in config.groups.values() {
        let ours = join("groups", &group.name);
        for server in group.servers.keys().filter(|name| !config.servers.contains_key(*name)) {
            let help = did_you_mean(server, config.servers.keys().map(String::as_str));
            let key = format!("{ours}.servers");
            complain(cx, &key, format!("there is no server {server:?}"), help);
        }
        let Guard::Tokens(names) = &group.guard else { continue };
        for name in names.iter().filter(|name| config.tokens.iter().all(|it| it.name != **name)) {
            let help = did_you_mean(name, config.tokens.iter().map(|entry| entry.name.as_str()));
            let what = format!("there is no token {name:?} in `gateway.tokens`");
            complain(cx, &format!("{ours}.tokens"), what, help);
        }
    }
    for server in config.servers.values() {
        let Guard::Tokens(names) = &server.guard else { continue };
        for name in names {
            let known = |entry: &&crate::TokenEntry| entry.name == *name;
            let key = format!("mcpServers.{}.tokens", server.name);
            match config.tokens.iter().find(known).map(|entry| &entry.servers) {
                None => {
                    let known = config.tokens.iter().map(|entry| entry.name.as_str());
                    let help = did_you_mean(name, known);
                    complain(
                        cx,
                        &key,
                        format!("there is no token {name:?} in `gateway.tokens`"),
                        help,
                    );
                }
                Some(TokenScope::Only(servers)) if !servers.contains(&server.name) => {
                    let what = format!("the token {name:?} does not open this server");
                    let help = format!("add \"{}\" to its `servers`", server.name);
                    complain(cx, &key, what, Some(help));
                }
                Some(_) => {}
            }
        }
    }
}

/// Complains at the place where a value was given.
fn complain(cx: &mut Cx<'_>, ours: &str, what: String, help: Option<String>) {
    let at = match cx.given.get(ours).map(|given| &given.origin) {
        Some(crate::Origin::File { key, place, .. }) => (key.clone(), Some(*place)),
        _ => (ours.to_owned(), None),
    };
    cx.problem((&at.0, at.1), what, help);
}

#[cfg(test)]
mod tests;
