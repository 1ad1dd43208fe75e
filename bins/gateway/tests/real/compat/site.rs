//! The servers behind, all at once behind one gateway, and the doors that they have themselves.

use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::{
    TOKEN,
    probes::{self, Feature, Probe, call, tools},
};
use crate::{
    client::Wire,
    http,
    parts::Parts,
    rig::{Gateway, Scratch},
    servers::{Everything, PASSWORD, Postgres, PostgresMcp, postgres_mcp_entry},
};

/// A server behind.
#[derive(Debug)]
pub(crate) struct Server {
    /// Its name in the configuration.
    pub(crate) name: &'static str,
    /// What it is, and of which version.
    what: String,
    /// How the gateway reaches it.
    behind: &'static str,
    /// Its entry in the configuration.
    entry: Value,
    /// How it is started as a child, if it can be.
    command: Option<Value>,
    /// Its own port, if it has one.
    pub(crate) url: Option<(Wire, String)>,
    /// Whether it asks its clients.
    pub(crate) asks: bool,
    pub(crate) probes: Vec<Probe>,
}

impl Server {
    fn child_of(name: &'static str, what: String, entry: Value, probes: Vec<Probe>) -> Self {
        let command = Some(entry.clone());
        Self { name, what, behind: "stdio", entry, command, url: None, asks: false, probes }
    }

    /// How a client would start it.
    pub(crate) fn child(&self) -> Option<Value> {
        let mut connect = self.command.clone()?;
        connect["transport"] = json!("stdio");
        // The oldest way to begin is what the gateway is compared with.
        connect["mode"] = json!("legacy");
        Some(connect)
    }

    /// Its name in the table, and its transport.
    pub(crate) fn row(&self) -> (String, &'static str) {
        (self.what.clone(), self.behind)
    }
}

/// Everything that runs.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) servers: Vec<Server>,
    // First the gateway ends, then what is behind it.
    pub(crate) gateway: Gateway,
    _everything: [Everything; 2],
    _postgres_mcp: PostgresMcp,
    _database: Postgres,
    _files: Scratch,
}

impl Site {
    pub(crate) fn start(parts: &Parts) -> Self {
        let files = Scratch::new();
        let database = Postgres::start(parts);
        let uri = database.uri("postgres");
        let postgres_mcp = PostgresMcp::start(parts, &uri);
        let everything = [Wire::Sse, Wire::Streamable].map(|wire| Everything::start(parts, wire));
        let mut servers = vec![demo()];
        servers.extend(everywhere(parts, &everything));
        servers.extend([filesystem(parts, &files), memory(parts, &files)]);
        servers.extend([fetch(parts), time(parts), git(parts, &files)]);
        servers.push(Server {
            command: Some(postgres_mcp_entry(parts, &uri)),
            url: Some((Wire::Sse, postgres_mcp.url.clone())),
            ..Server::child_of(
                "postgres",
                pinned(
                    "postgres-mcp",
                    include_str!("../../../../../fixtures/real/requirements-postgres.txt"),
                ),
                json!({ "type": "sse", "url": postgres_mcp.url }),
                tools(
                    ("execute_sql", json!({ "sql": "select * from sensors order by id" })),
                    ("explain_query", json!({})),
                ),
            )
        });
        if let Some(server) = servers.last_mut() {
            server.behind = "HTTP+SSE";
        }
        let entries: serde_json::Map<String, Value> =
            servers.iter().map(|it| (it.name.to_owned(), it.entry.clone())).collect();
        let config = json!({
            "gateway": { "tokens": { "tests": TOKEN } },
            "mcpServers": entries,
        });
        let gateway = Gateway::start(parts, &config, &[]);
        Self {
            servers,
            gateway,
            _everything: everything,
            _postgres_mcp: postgres_mcp,
            _database: database,
            _files: files,
        }
    }

    /// No log shows what nobody may know.
    pub(crate) fn keeps_its_secrets(&self) {
        let log = self.gateway.process.said();
        for secret in [TOKEN, PASSWORD] {
            assert!(!log.contains(secret), "the log shows {secret}");
        }
    }
}

const NODE_PINS: &str = include_str!("../../../../../fixtures/real/package.json");
const PYTHON_PINS: &str = include_str!("../../../../../fixtures/real/requirements-servers.txt");

/// A package and its version, as a file of pins has it.
pub(crate) fn pinned(package: &str, pins: &str) -> String {
    let short = package.rsplit('/').next().unwrap_or(package);
    let version = pins.lines().find_map(|line| {
        let line = line.trim().trim_end_matches(',');
        let npm = line.strip_prefix(&format!("\"{package}\": \""));
        let version = npm.and_then(|it| it.strip_suffix('"'));
        let cargo = line.strip_prefix(&format!("{package} = {{ version = \"="));
        let cargo = cargo.and_then(|it| it.split('"').next());
        version.or(cargo).or_else(|| line.strip_prefix(&format!("{package}==")))
    });
    format!("{short} {}", version.unwrap_or_else(|| panic!("{package} is not pinned")))
}

fn demo() -> Server {
    Server {
        command: None,
        behind: "built in",
        asks: true,
        ..Server::child_of(
            "demo",
            "the demo server".to_owned(),
            json!({ "type": "demo" }),
            probes::demo(),
        )
    }
}

fn reference(package: &str) -> String {
    pinned(&format!("@modelcontextprotocol/{package}"), NODE_PINS)
}

/// server-everything, over each of its transports.
fn everywhere(parts: &Parts, over: &[Everything; 2]) -> [Server; 3] {
    let child = json!({ "command": "node", "args": [parts.reference("everything"), "stdio"] });
    let on = |name, behind, entry, url| Server {
        behind,
        command: Some(child.clone()),
        url,
        asks: true,
        ..Server::child_of(
            name,
            reference("server-everything"),
            entry,
            probes::everything(behind != "Streamable HTTP"),
        )
    };
    let [sse, streamable] = over.each_ref().map(|it| it.url.clone());
    [
        on("everything-stdio", "stdio", child.clone(), None),
        on(
            "everything-sse",
            "HTTP+SSE",
            json!({ "type": "sse", "url": sse }),
            Some((Wire::Sse, sse)),
        ),
        on(
            "everything-streamable",
            "Streamable HTTP",
            json!({ "type": "http", "url": streamable }),
            Some((Wire::Streamable, streamable)),
        ),
    ]
}

fn filesystem(parts: &Parts, files: &Scratch) -> Server {
    let file = files.write("note.txt", "written by the test\n");
    Server::child_of(
        "filesystem",
        reference("server-filesystem"),
        json!({ "command": "node", "args": [parts.reference("filesystem"), files.text()] }),
        tools(
            ("read_text_file", json!({ "path": file })),
            ("read_text_file", json!({ "path": "/etc/hostname" })),
        ),
    )
}

fn memory(parts: &Parts, files: &Scratch) -> Server {
    let entity = json!({
        "type": "entity", "name": "roof", "entityType": "place", "observations": ["it is cold"],
    });
    let graph = files.write("memory.jsonl", &entity.to_string());
    Server::child_of(
        "memory",
        reference("server-memory"),
        json!({
            "command": "node",
            "args": [parts.reference("memory")],
            "env": { "MEMORY_FILE_PATH": graph },
        }),
        tools(("search_nodes", json!({ "query": "roof" })), ("search_nodes", json!({}))),
    )
}

fn fetch(parts: &Parts) -> Server {
    let page = http::page("a page of the test");
    let mut probes = tools(
        ("fetch", json!({ "url": page, "raw": true })),
        ("fetch", json!({ "url": "http://127.0.0.1:1/", "raw": true })),
    );
    probes.extend(probes::prompts("fetch", &json!({ "url": page })));
    Server::child_of(
        "fetch",
        pinned("mcp-server-fetch", PYTHON_PINS),
        json!({
            "command": parts.python("servers", "mcp-server-fetch"),
            "args": ["--allow-private-ips", "--ignore-robots-txt"],
        }),
        probes,
    )
}

fn time(parts: &Parts) -> Server {
    let noon =
        json!({ "source_timezone": "UTC", "time": "12:00", "target_timezone": "Asia/Kolkata" });
    let nowhere =
        json!({ "source_timezone": "UTC", "time": "12:00", "target_timezone": "Nowhere/AtAll" });
    Server::child_of(
        "time",
        pinned("mcp-server-time", PYTHON_PINS),
        json!({
            "command": parts.python("servers", "mcp-server-time"),
            "args": ["--local-timezone", "Europe/Berlin"],
        }),
        tools(("convert_time", noon), ("convert_time", nowhere)),
    )
}

fn git(parts: &Parts, files: &Scratch) -> Server {
    let repository = files.path().join("repository");
    let path = repository.to_str().unwrap().to_owned();
    let run = |words: &[&str]| {
        let mut command = Command::new("git");
        command.args(["-c", "user.name=test", "-c", "user.email=test@example.org"]);
        command.args(words).current_dir(files.path()).stdin(Stdio::null());
        let ended = command.output().unwrap_or_else(|error| panic!("git: {error}"));
        assert!(ended.status.success(), "git {words:?}: {ended:?}");
    };
    run(&["init", "--quiet", &path]);
    std::fs::write(repository.join("note.txt"), "kept\n").unwrap();
    run(&["-C", &path, "add", "note.txt"]);
    run(&["-C", &path, "commit", "--quiet", "--message", "a note"]);
    let mut probes = tools(
        ("git_log", json!({ "repo_path": path })),
        ("git_show", json!({ "repo_path": path, "revision": "no-such-revision" })),
    );
    probes.push(call(Feature::Call, "git_status", &json!({ "repo_path": path })));
    Server::child_of(
        "git",
        pinned("mcp-server-git", PYTHON_PINS),
        json!({ "command": parts.python("servers", "mcp-server-git"), "args": ["--repository", path] }),
        probes,
    )
}
