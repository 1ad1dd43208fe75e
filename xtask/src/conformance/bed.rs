//! What the suite is pointed at: a fixture server in each transport, and the gateway before them.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::{Value, json};

use super::{
    checks::{self, Scenarios},
    part::{Part, Start},
};

/// How long one run of the suite may take: all scenarios for servers take 2 to 6 s, one for clients
/// 1 s, and the suite itself gives that one up after 60 s.
const SUITE_TIMEOUT: Duration = Duration::from_mins(3);
/// How long the probes of one way through may take; they take 1 s.
const PROBES_TIMEOUT: Duration = Duration::from_secs(90);

/// The last revision with sessions, and the one without.
pub(crate) const LEGACY: &str = "2025-11-25";
pub(crate) const MODERN: &str = "2026-07-28";

/// The programs and folders that everything below is made of.
#[derive(Debug)]
pub(crate) struct Tools {
    /// A Node.js as new as the suite wants it.
    pub(crate) node: PathBuf,
    /// The gateway under test.
    pub(crate) gateway: PathBuf,
    /// Our JavaScript: the fixture server, the shim, the clients.
    pub(crate) scripts: PathBuf,
    /// Where the two versions of the suite are.
    pub(crate) modules: PathBuf,
    /// Where results go.
    pub(crate) out: PathBuf,
}

/// A version of the suite.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Suite {
    /// 0.1.16: a cheap second opinion.
    Older,
    /// 0.2.0-alpha.12: the one that decides.
    Newer,
}

/// A name in the configuration, its name in the tables, and how the fixture server is started.
const BEHIND: [(&str, &str, &[&str]); 7] = [
    ("child", "stdio", &["stdio"]),
    ("child-legacy", "stdio, sessions only", &["stdio-legacy"]),
    ("child-modern", "stdio, 2026-07-28 only", &["stdio-stateless"]),
    ("old", "SSE", &["sse", "0"]),
    ("sessions", "Streamable", &["http-legacy", "0"]),
    ("modern", "Streamable, 2026-07-28 only", &["http-stateless", "0"]),
    ("eras", "Streamable, both eras", &["http", "0"]),
];
/// A name, its name in the tables, and the server behind a gateway of its own, which is asked at
/// `/mcp`: of one server the names are those of all servers as one.
const ALONE: [(&str, &str, &str); 2] =
    [("all-child", "stdio", "child"), ("all-eras", "Streamable, both eras", "eras")];
/// A server that wants a token, behind a gateway that wants another.
const GUARDED: (&str, &str) = ("guarded", "Streamable, tokens");
const TOKEN_BEHIND: &str = "the-servers-token";
const TOKEN_IN_FRONT: &str = "the-gateways-token";

/// A fixture server to compare with, the gateway, and the fixture servers behind it.
#[derive(Debug)]
pub(crate) struct Bed {
    /// Where fixture servers are reached without the gateway, by their names in the configuration.
    pub(crate) direct: BTreeMap<&'static str, String>,
    /// The gateway, without a path.
    pub(crate) gateway: String,
    pub(crate) routes: Vec<Door>,
    _parts: Vec<Part>,
}

/// A route of the gateway.
#[derive(Debug)]
pub(crate) struct Door {
    /// The name of its server in the configuration.
    pub(crate) name: &'static str,
    /// What it is called in the tables.
    pub(crate) shown: &'static str,
    /// Where the suite finds it.
    pub(crate) url: String,
}

/// One scenario for clients, and who plays it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Role<'a> {
    pub(crate) scenario: &'a str,
    /// What the suite's server speaks.
    pub(crate) revision: &'a str,
    /// What the client before the gateway speaks; without the gateway if there is none.
    pub(crate) front: Option<&'a str>,
}

/// What one probe came to.
#[derive(Debug)]
pub(crate) struct Probe {
    pub(crate) name: String,
    /// Every message that belongs to it, byte for byte; else what went wrong.
    pub(crate) answer: String,
    pub(crate) came: bool,
}

impl Tools {
    /// Starts the fixture servers and the gateway.
    ///
    /// # Errors
    ///
    /// Says what did not start, and its last words.
    pub(crate) fn bed(&self) -> Result<Bed, String> {
        let mut parts = Vec::new();
        let mut servers = serde_json::Map::new();
        let mut direct = BTreeMap::new();
        for (name, _, args) in BEHIND {
            let kind = args.first().copied().unwrap_or_default();
            let entry = if kind.starts_with("stdio") {
                json!({"command": self.node, "args": [self.script("everything.mjs"), kind]})
            } else {
                let url = self.everything(&mut parts, name, args, &[])?;
                let kind = if kind == "sse" { "sse" } else { "streamable-http" };
                let entry = json!({"type": kind, "url": url});
                direct.insert(name, url);
                entry
            };
            servers.insert(name.to_owned(), with(entry, "tokens", json!("open")));
        }
        let env = [("EVERYTHING_TOKEN", TOKEN_BEHIND)];
        let url = self.everything(&mut parts, GUARDED.0, &["http", "0"], &env)?;
        let header = json!({"Authorization": format!("Bearer {TOKEN_BEHIND}")});
        let entry = json!({"type": "streamable-http", "url": url, "headers": header});
        servers.insert(GUARDED.0.to_owned(), entry);
        let config = json!({
            "gateway": {"listen": "127.0.0.1:0", "tokens": {"suite": TOKEN_IN_FRONT}},
            "mcpServers": &servers,
        });
        let gateway = self.gateway(&mut parts, "gateway", &config)?;
        // The suite checks `Host` only on `localhost`.
        let local = |url: String| url.replacen("127.0.0.1", "localhost", 1);
        let door =
            |(name, shown, _)| Door { name, shown, url: local(format!("{gateway}/{name}/mcp")) };
        let mut routes: Vec<Door> = BEHIND.map(door).into();
        let shim = self.shim(&mut parts, &format!("{gateway}/{}/mcp", GUARDED.0))?;
        routes.push(Door { name: GUARDED.0, shown: GUARDED.1, url: local(shim) });
        for (name, shown, behind) in ALONE {
            let mut server = servers.get(behind).cloned().unwrap_or_default();
            server.as_object_mut().and_then(|it| it.remove("tokens"));
            let config = json!({
                "gateway": {"listen": "127.0.0.1:0"},
                "mcpServers": {behind: server},
            });
            let gateway = self.gateway(&mut parts, name, &config)?;
            routes.push(Door { name, shown, url: local(format!("{gateway}/mcp")) });
        }
        let direct = direct.into_iter().map(|(name, url)| (name, local(url))).collect();
        Ok(Bed { direct, gateway, routes, _parts: parts })
    }

    /// Runs all of a suite's scenarios for servers against `url`.
    pub(crate) fn server(
        &self,
        (suite, revision): (Suite, &str),
        url: &str,
        name: &str,
    ) -> Result<Scenarios, String> {
        let set: &[&str] = match suite {
            Suite::Older => &["--suite", "all", "--spec-version", revision],
            Suite::Newer => &["--requirements", revision],
        };
        self.suite(suite, name, &[&["server", "--url", url], set].concat(), &[])
    }

    /// Runs one scenario for clients: the gateway is the client, or `through.mjs` itself.
    pub(crate) fn client(&self, part: &str, role: Role<'_>) -> Result<Scenarios, String> {
        let Role { scenario, revision, front } = role;
        let name = format!("{part}/{}/{scenario}", front.unwrap_or("direct"));
        let command = format!("{} {}", self.node.display(), self.script("through.mjs"));
        let config = json!({
            "gateway": {"listen": "127.0.0.1:0"},
            "mcpServers": {"up": {"url": "{UPSTREAM}"}},
        });
        let gateway = json!([self.gateway, "serve", "--config", "{DIR}/gateway.json"]).to_string();
        let files = json!({ "gateway.json": config }).to_string();
        let url = if front.is_none() { "direct" } else { "{GATEWAY}/up/mcp" };
        let front = front.unwrap_or(revision);
        let env =
            [("GW_CMD", &*gateway), ("GW_FILES", &files), ("GW_URL", url), ("GW_FRONT", front)];
        let args = [
            &["client", "--command", &command, "--timeout", "60000", "--force"][..],
            &["--scenario", scenario, "--spec-version", revision],
        ]
        .concat();
        self.suite(Suite::Newer, &name, &args, &env)
    }

    /// Asks what the suite has no word for, through `front` at `at`.
    pub(crate) fn probes(&self, name: &str, front: &str, at: &str) -> Result<Vec<Probe>, String> {
        let script = self.script("probes.mjs");
        let out = self.empty(name)?.join("answers.json");
        let path = out.to_string_lossy();
        let part = self.start(name, &self.node, &[&*script, front, at, &*path], &[])?;
        part.wait(PROBES_TIMEOUT)?;
        let text = fs::read_to_string(&out).map_err(|_| format!("{name}: {}", part.said()))?;
        let found: Vec<Value> =
            serde_json::from_str(&text).map_err(|error| format!("{name}: {error}"))?;
        let probe = |it: &Value| {
            let text = |at| it.get(at).and_then(Value::as_str).unwrap_or_default().to_owned();
            let came = it.get(2).and_then(Value::as_bool).unwrap_or_default();
            Probe { name: text(0), answer: text(1), came }
        };
        Ok(found.iter().map(probe).collect())
    }

    /// How the fixture server is started as a child.
    pub(crate) fn child(&self) -> String {
        json!([self.node, self.script("everything.mjs"), "stdio"]).to_string()
    }

    /// How a client of stdio is brought to `url`.
    pub(crate) fn relay(&self, url: &str) -> String {
        json!([self.gateway, "stdio", url]).to_string()
    }

    fn suite(
        &self,
        suite: Suite,
        name: &str,
        args: &[&str],
        env: &[(&str, &str)],
    ) -> Result<Scenarios, String> {
        let folder = if suite == Suite::Newer { "suite-20" } else { "suite-16" };
        let index = self.modules.join(folder).join("dist/index.js");
        let (index, out) = (index.to_string_lossy(), self.empty(name)?);
        let path = out.to_string_lossy();
        let args = [&[&*index], args, &["-o", &*path]].concat();
        let part = self.start(name, &self.node, &args, env)?;
        part.wait(SUITE_TIMEOUT)?;
        let found = checks::read(&out)?;
        if found.is_empty() {
            return Err(format!("{name}: the suite left no result: {}", part.said()));
        }
        Ok(found)
    }

    fn everything(
        &self,
        parts: &mut Vec<Part>,
        name: &str,
        args: &[&str],
        env: &[(&str, &str)],
    ) -> Result<String, String> {
        let script = self.script("everything.mjs");
        let args = [&[&*script], args].concat();
        let part = self.start(&format!("server-{name}"), &self.node, &args, env)?;
        let url = part.address("everything: ")?;
        parts.push(part);
        Ok(url)
    }

    fn gateway(&self, parts: &mut Vec<Part>, name: &str, config: &Value) -> Result<String, String> {
        let file = self.out.join(name).with_extension("json");
        let text = format!("{config:#}\n");
        fs::write(&file, text).map_err(|error| format!("{}: {error}", file.display()))?;
        let args = ["serve", "--config", &*file.to_string_lossy()];
        let part = self.start(name, &self.gateway, &args, &[("NO_COLOR", "1")])?;
        let url = part.address("listening on ")?;
        parts.push(part);
        Ok(url)
    }

    fn shim(&self, parts: &mut Vec<Part>, target: &str) -> Result<String, String> {
        let script = self.script("unprefix.mjs");
        let env = [("UNPREFIX_TOKEN", TOKEN_IN_FRONT)];
        let part = self.start("shim", &self.node, &[&script, "0", target, ""], &env)?;
        let url = part.address("unprefix: ")?;
        parts.push(part);
        Ok(url)
    }

    fn start(
        &self,
        name: &str,
        program: &Path,
        args: &[&str],
        env: &[(&str, &str)],
    ) -> Result<Part, String> {
        Part::start(&Start { dir: &self.out, name, program, args, env })
    }

    fn script(&self, name: &str) -> String {
        self.scripts.join(name).to_string_lossy().into_owned()
    }

    /// An empty folder for what a run leaves.
    fn empty(&self, name: &str) -> Result<PathBuf, String> {
        let dir = self.out.join("found").join(name);
        // What an earlier run left is not what this one found; that it left nothing is well.
        drop(fs::remove_dir_all(&dir));
        fs::create_dir_all(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
        Ok(dir)
    }
}

fn with(mut entry: Value, key: &str, value: Value) -> Value {
    if let Some(entry) = entry.as_object_mut() {
        entry.insert(key.to_owned(), value);
    }
    entry
}
