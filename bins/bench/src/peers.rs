//! Programs of others that do what the gateway does, or a part of it: how each is started, and
//! between what it can stand.
//!
//! Each is configured as its own documentation does it, for as much as it can give: what it logs
//! by default it logs, to a file, as the gateway does.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    str::FromStr,
};

use serde_json::json;

use crate::{
    client::Wire,
    error::{Failure, Result},
    modern::Era,
};

/// A program of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Peer {
    /// The web server, as a reverse proxy: it knows nothing of MCP.
    Nginx,
    /// `mcp-proxy` of PyPI, by sparfenyuk.
    Sparfenyuk,
    /// `mcp-proxy` of npm, by punkpeye.
    Punkpeye,
    /// `supergateway` of npm.
    Supergateway,
    /// The proxy of `fastmcp` of PyPI.
    FastMcp,
    /// The crate `mcp-proxy`, by joshrotenberg.
    Joshrotenberg,
    /// `mcpo` of PyPI: in front it speaks OpenAPI.
    Mcpo,
}

/// Where each was installed, and which version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Parts(BTreeMap<Peer, (String, PathBuf)>);

/// How to start one.
#[derive(Debug)]
pub(crate) struct Start {
    /// The program.
    pub(crate) program: PathBuf,
    /// Its arguments.
    pub(crate) args: Vec<String>,
    /// Where it offers what was wanted.
    pub(crate) path: &'static str,
}

/// What stands behind a peer.
#[derive(Debug)]
pub(crate) enum Behind<'a> {
    /// A child to start.
    Child(&'a Path, &'a [String]),
    /// A server to connect to.
    Http(Wire, SocketAddr),
}

impl Peer {
    /// All of them.
    pub(crate) const ALL: [Self; 7] = [
        Self::Nginx,
        Self::Sparfenyuk,
        Self::Punkpeye,
        Self::Supergateway,
        Self::FastMcp,
        Self::Joshrotenberg,
        Self::Mcpo,
    ];

    /// Its name on the command line and in reports.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Sparfenyuk => "sparfenyuk",
            Self::Punkpeye => "punkpeye",
            Self::Supergateway => "supergateway",
            Self::FastMcp => "fastmcp",
            Self::Joshrotenberg => "joshrotenberg",
            Self::Mcpo => "mcpo",
        }
    }

    /// The package it is in.
    pub(crate) fn package(self) -> &'static str {
        match self {
            Self::Nginx => "nginx of the system or of Debian",
            Self::Sparfenyuk => "mcp-proxy of PyPI",
            Self::Punkpeye => "mcp-proxy of npm",
            Self::Supergateway => "supergateway of npm",
            Self::FastMcp => "fastmcp of PyPI",
            Self::Joshrotenberg => "mcp-proxy of crates.io",
            Self::Mcpo => "mcpo of PyPI",
        }
    }

    /// What it puts before the names of tools.
    pub(crate) fn prefix(self) -> &'static str {
        if self == Self::Joshrotenberg { "up_" } else { "" }
    }

    /// What its clients speak where those of the gateway would speak `front`.
    pub(crate) fn front(self, front: Wire) -> Wire {
        if self == Self::Mcpo { Wire::OpenApi } else { front }
    }

    /// Why it cannot stand between these two; `None` if it can.
    pub(crate) fn cannot(self, front: Wire, behind: Wire) -> Option<&'static str> {
        let modern = [front, behind].iter().any(|it| it.era() == Era::Modern);
        match self {
            Self::Nginx if behind.is_child() => Some("it starts no programs"),
            Self::Nginx if front != behind => Some("it does not translate"),
            Self::Nginx => None,
            _ if modern => Some("not measured between other eras than 2025-11-25"),
            Self::Sparfenyuk | Self::Punkpeye | Self::Supergateway if behind != Wire::Stdio => {
                Some("HTTP in front goes with stdio behind, and only with that")
            }
            Self::Joshrotenberg if front == Wire::Sse || behind == Wire::Sse => {
                Some("it has no HTTP+SSE")
            }
            _ => None,
        }
    }

    /// Its command line, with whatever files that needs in `folder`.
    ///
    /// # Errors
    /// [`Failure::Process`] when it is not installed, [`Failure::Io`] when a file cannot be written.
    pub(crate) fn start(
        self,
        parts: &Parts,
        (front, behind): (Wire, &Behind<'_>),
        addr: SocketAddr,
        folder: &Path,
    ) -> Result<Start> {
        let Some((_, program)) = parts.0.get(&self) else {
            let text = format!("{} is not installed", self.package());
            return Err(Failure::Process(text));
        };
        let port = addr.port().to_string();
        let args = match self {
            Self::Nginx => nginx(behind, addr, folder)?,
            Self::Sparfenyuk => {
                let mut args = words(&["--host", "127.0.0.1", "--port", &port, "--"]);
                args.extend(behind.command());
                args
            }
            Self::Punkpeye => {
                let mut args = words(&["--host", "127.0.0.1", "--port", &port, "--"]);
                args.extend(behind.command());
                args
            }
            Self::Supergateway => {
                let command = behind.command().join(" ");
                let mut args = words(&["--port", &port, "--stdio", &command]);
                args.extend(words(match front {
                    Wire::Sse => &["--outputTransport", "sse"],
                    // Without sessions it would start a child for each request.
                    _ => &["--outputTransport", "streamableHttp", "--stateful"],
                }));
                args
            }
            Self::FastMcp => {
                let server = behind.json();
                let config = json!({"mcpServers": {"up": server}}).to_string();
                let file = write(folder, "mcp.json", &config)?;
                let transport = if front == Wire::Sse { "sse" } else { "http" };
                words(&[
                    "run",
                    &file,
                    "--transport",
                    transport,
                    "--host",
                    "127.0.0.1",
                    "--port",
                    &port,
                ])
            }
            Self::Joshrotenberg => {
                let text = joshrotenberg(behind, addr);
                words(&["--config", &write(folder, "proxy.toml", &text)?])
            }
            Self::Mcpo => {
                let mut args = words(&["--host", "127.0.0.1", "--port", &port]);
                match behind {
                    Behind::Child(..) => args.push("--".to_owned()),
                    Behind::Http(Wire::Sse, _) => {
                        args.extend(words(&["--server-type", "sse", "--"]));
                    }
                    Behind::Http(..) => {
                        args.extend(words(&["--server-type", "streamable-http", "--"]));
                    }
                }
                args.extend(behind.command());
                args
            }
        };
        let path = match (self, front) {
            (Self::Joshrotenberg, _) => "/",
            (Self::Mcpo, _) => "",
            _ => front.path(),
        };
        Ok(Start { program: program.clone(), args, path })
    }
}

impl FromStr for Peer {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|it| it.text() == text).ok_or(())
    }
}

impl Parts {
    /// Reads what `cargo xtask bench` wrote: a line `name=version path` for each that is there.
    ///
    /// # Errors
    /// [`Failure::Io`] when it cannot be read, [`Failure::Usage`] when it is something else.
    pub(crate) fn read(file: &Path) -> Result<Self> {
        let what = || format!("{}", file.display());
        let text = std::fs::read_to_string(file).map_err(Failure::io(what()))?;
        Self::parse(&text).ok_or_else(|| Failure::Usage(format!("{}: not understood", what())))
    }

    fn parse(text: &str) -> Option<Self> {
        let line = |line: &str| {
            let (name, rest) = line.split_once('=')?;
            let (version, path) = rest.split_once(' ')?;
            Some((name.parse().ok()?, (version.to_owned(), PathBuf::from(path))))
        };
        text.lines().map(line).collect::<Option<_>>().map(Self)
    }

    /// Which version of it is there.
    pub(crate) fn version(&self, peer: Peer) -> Option<&str> {
        self.0.get(&peer).map(|it| it.0.as_str())
    }
}

impl Behind<'_> {
    /// The words that name it on a command line.
    fn command(&self) -> Vec<String> {
        match self {
            Self::Child(program, args) => {
                let program = program.to_string_lossy().into_owned();
                std::iter::once(program).chain(args.iter().cloned()).collect()
            }
            Self::Http(..) => vec![self.url()],
        }
    }

    fn url(&self) -> String {
        match self {
            Self::Child(..) => String::new(),
            Self::Http(wire, addr) => format!("http://{addr}{}", wire.path()),
        }
    }

    /// As an entry of `mcpServers`.
    fn json(&self) -> serde_json::Value {
        match self {
            Self::Child(program, args) => json!({"command": program, "args": args}),
            Self::Http(wire, _) => {
                let transport = if *wire == Wire::Sse { "sse" } else { "http" };
                json!({"url": self.url(), "transport": transport})
            }
        }
    }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|it| (*it).to_owned()).collect()
}

fn write(folder: &Path, name: &str, text: &str) -> Result<String> {
    let file = folder.join(name);
    std::fs::write(&file, text).map_err(Failure::io(format!("{}", file.display())))?;
    Ok(file.to_string_lossy().into_owned())
}

/// A worker for each processor, connections behind that stay, bodies and events that pass at once.
fn nginx(behind: &Behind<'_>, addr: SocketAddr, folder: &Path) -> Result<Vec<String>> {
    let Behind::Http(_, to) = behind else {
        return Err(Failure::Process("it starts no programs".to_owned()));
    };
    let at = folder.join("nginx");
    std::fs::create_dir_all(&at).map_err(Failure::io(format!("{}", at.display())))?;
    let at = at.display();
    // Of those that root's nginx would look for in places of the system.
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|it| format!("  {it}_temp_path {at}/{it};\n"))
        .concat();
    let config = format!(
        "user root;
worker_processes auto;
worker_rlimit_nofile 40000;
daemon off;
pid {at}/pid;
error_log stderr;
events {{ worker_connections 16384; }}
http {{
  access_log {at}/access.log;
{temporary}  keepalive_requests 1000000000;
  client_max_body_size 64m;
  upstream up {{ server {to}; keepalive 1024; keepalive_requests 1000000000; }}
  server {{
    listen {addr} backlog=4096;
    location / {{
      proxy_pass http://up;
      proxy_http_version 1.1;
      proxy_set_header Connection \"\";
      proxy_buffering off;
      proxy_request_buffering off;
      proxy_read_timeout 1h;
    }}
  }}
}}
"
    );
    Ok(words(&["-c", &write(folder, "nginx.conf", &config)?, "-p", &at.to_string()]))
}

fn joshrotenberg(behind: &Behind<'_>, addr: SocketAddr) -> String {
    let backend = match behind {
        Behind::Child(program, args) => {
            format!("transport = \"stdio\"\ncommand = {}\nargs = {}\n", json!(program), json!(args))
        }
        Behind::Http(..) => format!("transport = \"http\"\nurl = {}\n", json!(behind.url())),
    };
    format!(
        "[proxy]\nname = \"bench\"\nseparator = \"_\"\n\n[proxy.listen]\nhost = \"{}\"\nport = {}\n\n[[backends]]\nname = \"up\"\n{backend}",
        addr.ip(),
        addr.port()
    )
}

#[cfg(test)]
mod tests;
