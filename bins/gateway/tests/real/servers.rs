//! Real servers that are not the gateway's children: they have a port of their own.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::Path,
    process::{Command, Stdio},
};

use serde_json::{Value, json};

use crate::{
    client::Wire,
    parts::Parts,
    process::{Process, on_a_port},
    rig::Scratch,
};

/// The password of every test's database: no log may show it.
pub(crate) const PASSWORD: &str = "correct-horse-battery";

/// server-everything on a port.
#[derive(Debug)]
pub(crate) struct Everything {
    pub(crate) url: String,
    _process: Process,
}

impl Everything {
    pub(crate) fn start(parts: &Parts, wire: Wire) -> Self {
        let (word, path, ready) = match wire {
            Wire::Sse => ("sse", "sse", "running on port"),
            Wire::Streamable => ("streamableHttp", "mcp", "listening on port"),
        };
        on_a_port(|port| {
            let mut command = Command::new("node");
            command.arg(parts.reference("everything")).arg(word).env("PORT", port.to_string());
            let mut process = Process::start("server-everything", command, "TERM");
            let up = process.says(ready);
            let url = format!("http://127.0.0.1:{port}/{path}");
            up.then_some(Self { url, _process: process })
        })
    }
}

/// A PostgreSQL with two small databases.
#[derive(Debug)]
pub(crate) struct Postgres {
    port: u16,
    // Before the folder: first it ends, then its data go.
    _process: Process,
    _data: Scratch,
}

/// What the databases hold; single-user mode takes one statement a line.
const SEED: &str = "\
create database timescale;
create table sensors (id int primary key, name text not null);
insert into sensors values (1, 'cellar'), (2, 'roof'), (3, 'Küche');
";
const SEED_TIMESCALE: &str = "\
create table readings (sensor int, celsius numeric);
insert into readings select 1 + n % 3, 20 + n / 10.0 from generate_series(1, 30) n;
";

impl Postgres {
    pub(crate) fn start(parts: &Parts) -> Self {
        let scratch = Scratch::new();
        let data = scratch.path().join("data");
        fs::create_dir(&data).unwrap();
        let user = Unprivileged::of(&data);
        let password = scratch.write("password", PASSWORD);
        fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let initdb = parts.postgres("initdb");
        let mut command = user.command(&initdb);
        command.arg("-D").arg(&data).args(["-U", "gateway", "--auth=scram-sha-256", "--no-sync"]);
        command.args(["--encoding=UTF8", "--locale=C", "--pwfile", &password]);
        quietly(command);
        let postgres = parts.postgres("postgres");
        for (database, seed) in [("postgres", SEED), ("timescale", SEED_TIMESCALE)] {
            let mut command = user.command(&postgres);
            command.args(["--single", "-F", "-D"]).arg(&data).arg(database);
            let seed = scratch.write("seed.sql", seed);
            command.stdin(fs::File::open(seed).unwrap());
            quietly(command);
        }
        let (port, process) = on_a_port(|port| {
            let mut command = user.command(&postgres);
            command.arg("-D").arg(&data).args(["-F", "-p", &port.to_string()]);
            for setting in
                ["listen_addresses=127.0.0.1", "unix_socket_directories=", "shared_buffers=16MB"]
            {
                command.args(["-c", setting]);
            }
            // QUIT ends it at once, its own children too; there is nothing to save.
            let mut process = Process::start("PostgreSQL", command, "QUIT");
            process.says("ready to accept connections").then_some((port, process))
        });
        Self { port, _process: process, _data: scratch }
    }

    /// A connection string for one of its databases.
    pub(crate) fn uri(&self, database: &str) -> String {
        format!("postgresql://gateway:{PASSWORD}@127.0.0.1:{}/{database}", self.port)
    }
}

/// crystaldba's postgres-mcp on a port, over HTTP+SSE.
#[derive(Debug)]
pub(crate) struct PostgresMcp {
    pub(crate) url: String,
    _process: Process,
}

impl PostgresMcp {
    pub(crate) fn start(parts: &Parts, uri: &str) -> Self {
        on_a_port(|port| {
            let mut command = Command::new(parts.python("postgres", "postgres-mcp"));
            command.args(["--transport", "sse", "--sse-host", "127.0.0.1", "--sse-port"]);
            command.arg(port.to_string()).env("DATABASE_URI", uri);
            // It ends at the second TERM only, and holds nothing worth the wait.
            let mut process = Process::start("postgres-mcp", command, "KILL");
            let up = process.says("Uvicorn running on");
            up.then_some(Self { url: format!("http://127.0.0.1:{port}/sse"), _process: process })
        })
    }
}

/// The same as a child of the gateway.
pub(crate) fn postgres_mcp_entry(parts: &Parts, uri: &str) -> Value {
    json!({ "command": parts.python("postgres", "postgres-mcp"), "env": { "DATABASE_URI": uri } })
}

/// PostgreSQL refuses to run as root: then it runs as the user whom Debian's package makes.
#[derive(Debug)]
struct Unprivileged(Option<(u32, u32)>);

impl Unprivileged {
    /// Somebody who may own this folder, and owns it from now on.
    fn of(data: &Path) -> Self {
        if fs::metadata(data).unwrap().uid() != 0 {
            return Self(None);
        }
        let users = fs::read_to_string("/etc/passwd").unwrap();
        let mut known = users.lines().filter_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            Some((*fields.first()?, (fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?)))
        });
        let found = known
            .find(|it| it.0 == "postgres")
            .or_else(|| users.contains("nobody:").then_some(("nobody", (65_534, 65_534))));
        let (_, (uid, gid)) = found.unwrap_or_else(|| panic!("there is no user but root"));
        chown(data, Some(uid), Some(gid)).unwrap();
        Self(Some((uid, gid)))
    }

    fn command(&self, program: &Path) -> Command {
        let Some((uid, gid)) = self.0 else { return Command::new(program) };
        let mut command = Command::new("setpriv");
        command.arg(format!("--reuid={uid}")).arg(format!("--regid={gid}"));
        command.arg("--clear-groups").arg(program);
        command
    }
}

/// Runs a command that has an end and must succeed.
fn quietly(mut command: Command) {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let ended = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&ended.stderr);
    let wrong = said.lines().any(|line| line.contains("ERROR:") || line.contains("FATAL:"));
    assert!(ended.status.success() && !wrong, "{command:?}: {}: {said}", ended.status);
}
