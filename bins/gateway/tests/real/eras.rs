//! Official SDKs of both generations, each as a client and as a server, with the gateway between
//! them: whatever revision each speaks, a client is told what the server itself would tell it.

mod site;
mod visit;

use std::{
    sync::{Mutex, PoisonError},
    thread,
};

use serde_json::{Value, json};

use self::{
    site::{SERVERS, Server, Site, is_modern},
    visit::{FEATURES, Seen, cancel, visit},
};
use crate::{
    client::{Client, Sdk, Wire, over},
    compat::{report, site::pinned},
    parts::{Parts, SCRIPTED},
};

/// The SDKs that the clients are written on.
const CLIENTS: [Sdk; 4] = SERVERS;

/// One line of the table.
#[derive(Clone, Debug)]
struct Row {
    client: Sdk,
    server: (Sdk, &'static str),
    front: &'static str,
    features: Vec<&'static str>,
    /// The server's name, and how to connect to it.
    at: String,
    connect: Value,
}

impl Row {
    /// Whether this client has still to cancel something there.
    fn is_left(&self, client: Sdk) -> bool {
        self.client == client && !self.features.contains(&"cancelling")
    }
}

#[test]
fn every_client_works_with_every_server() {
    let Some(parts) = Parts::need(SCRIPTED) else { return };
    let site = Site::start(&parts);
    let (parts, site) = (&parts, &site);
    let measured = beside(CLIENTS.map(|sdk| move || directly(parts, site, sdk)));
    let (clients, measures): (Vec<_>, Vec<_>) = measured.into_iter().unzip();
    // What one client hears is not to be taken for what another was to hear.
    let turns: Vec<Mutex<()>> = site.servers.iter().map(|_| Mutex::default()).collect();
    let (measures, turns) = (&measures, &turns);
    let visits = clients.into_iter().zip(CLIENTS).enumerate();
    let told = beside(
        visits.map(|(at, (client, sdk))| move || through(site, sdk, client, (at, measures), turns)),
    );
    let (mut rows, mut differences) = (Vec::new(), Vec::new());
    for ((sdk, mut client), told, differs) in told {
        rows.extend(told);
        differences.extend(differs);
        for row in rows.iter_mut().filter(|it| it.is_left(sdk)) {
            let way = format!("{:?} at {} over {}", row.client, row.at, row.front);
            cancel(&mut client, &row.connect, row.server.0, &way);
            row.features.push("cancelling");
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    for server in &site.servers {
        let version = if is_modern(server.sdk) { "2026-07-28" } else { "2025-11-25" };
        let (name, version) = (format!("server={}", server.name), format!("version={version}"));
        site.gateway.logged(&["ready", &name, &version]);
    }
    report::check("eras", &table(&rows));
}

/// Does all of these at once.
fn beside<T: Send, W: FnOnce() -> T + Send>(work: impl IntoIterator<Item = W>) -> Vec<T> {
    thread::scope(|scope| {
        let running: Vec<_> = work.into_iter().map(|work| scope.spawn(work)).collect();
        // All of them come to their end before the first complaint is heard.
        let ended: Vec<_> = running.into_iter().map(|it| it.join()).collect();
        ended.into_iter().map(|it| it.unwrap_or_else(|_| panic!("a client failed"))).collect()
    })
}

/// What each server itself says to a client of this SDK, in the revision that the two agree upon.
fn directly(parts: &Parts, site: &Site, sdk: Sdk) -> (Client, Vec<Seen>) {
    let mut client = Client::start(parts, sdk);
    let measure = |server| {
        let way = format!("{sdk:?} at {server:?} directly");
        visit(&mut client, &site.directly(parts, server), (server, false), &way)
    };
    let seen = SERVERS.map(measure).into();
    (client, seen)
}

/// What the gateway says to a client instead, and where that is something else.
fn through(
    site: &Site,
    sdk: Sdk,
    mut client: Client,
    (at, measures): (usize, &[Vec<Seen>]),
    turns: &[Mutex<()>],
) -> ((Sdk, Client), Vec<Row>, Vec<String>) {
    let (mut rows, mut differences) = (Vec::new(), Vec::new());
    let count = site.servers.len();
    // Each begins elsewhere.
    let begin = at * count / CLIENTS.len();
    for turn in (0..count).map(|it| (begin + it) % count) {
        let server = &site.servers[turn];
        let measured = SERVERS.iter().position(|it| *it == server.sdk).unwrap();
        for (front, connect) in fronts(site, server) {
            let way = format!("{sdk:?} at {} over {front}", server.name);
            let alone = turns[turn].lock().unwrap_or_else(PoisonError::into_inner);
            let seen = visit(&mut client, &connect, (server.sdk, true), &way);
            drop(alone);
            let revision = if is_modern(sdk) { "2026-07-28" } else { "2025-11-25" };
            assert!(seen.revision.is_none_or(|it| it == revision), "{way}");
            // What it can do is what it says in its own revision.
            let own = CLIENTS.iter().position(|it| *it == server.sdk).unwrap();
            let expect = &measures[own][measured].capabilities;
            if seen.capabilities != *expect {
                differences.push(format!("{way}: {} instead of {expect}", seen.capabilities));
            }
            differences.extend(compare(&way, &measures[at][measured].said, &seen.said));
            let features = seen.said.iter().map(|it| it.0).collect();
            let (at, its) = (server.name.clone(), (server.sdk, server.behind));
            rows.push(Row { client: sdk, server: its, front, features, at, connect });
        }
    }
    rows.sort_by_key(|it| (SERVERS.iter().position(|sdk| *sdk == it.server.0), it.server.1));
    ((sdk, client), rows, differences)
}

/// The ways to a server: `gateway stdio` only where the server is a child too.
fn fronts(site: &Site, server: &Server) -> Vec<(&'static str, Value)> {
    let url = site.gateway.url(&server.name, Wire::Streamable);
    let mut fronts = vec![("Streamable HTTP", over(Wire::Streamable, &url, None))];
    if server.behind == "stdio" {
        let program = env!("CARGO_BIN_EXE_gateway");
        let child = json!({ "transport": "stdio", "command": program, "args": ["stdio", url] });
        fronts.push(("stdio", child));
    }
    fronts
}

fn compare(
    way: &str,
    expect: &[(&'static str, Value)],
    said: &[(&'static str, Value)],
) -> Vec<String> {
    // These are not measured but seen to work.
    const SEEN: [&str; 3] = ["list_changed", "updated", "cancelling"];
    let measured = |it: &&(&str, Value)| !SEEN.contains(&it.0);
    let pairs = said.iter().filter(measured).zip(expect.iter().filter(measured));
    let differs = |((feature, said), (_, expect)): (&(_, Value), &(_, Value))| {
        (said != expect).then(|| format!("{way}: {feature}: {said} instead of {expect}"))
    };
    pairs.filter_map(differs).collect()
}

fn title(sdk: Sdk) -> String {
    let (name, package, pins) = match sdk {
        Sdk::Python => (
            "Python SDK",
            "mcp",
            include_str!("../../../../fixtures/real/requirements-clients.txt"),
        ),
        Sdk::Python2 => (
            "Python SDK",
            "mcp",
            include_str!("../../../../fixtures/real/requirements-fastmcp.txt"),
        ),
        Sdk::TypeScript => (
            "TypeScript SDK",
            "@modelcontextprotocol/sdk",
            include_str!("../../../../fixtures/real/package.json"),
        ),
        Sdk::TypeScript2 => (
            "TypeScript SDK",
            "@modelcontextprotocol/client",
            include_str!("../../../../fixtures/real/typescript-2/package.json"),
        ),
        other => panic!("{other:?} is not compared here"),
    };
    let version = pinned(package, pins);
    format!("{name} {}", version.rsplit(' ').next().unwrap_or_default())
}

fn table(rows: &[Row]) -> String {
    let mut out = "\
## Both eras

The official SDKs of both generations, each as a client and as a server ([fixtures/servers](../fixtures/servers/README.md)), \
before and behind the same gateway. A client of the second generation asks for 2026-07-28 first, and gets it at every URL; one of the \
first speaks 2025-11-25, and gets that. Behind, the gateway finds out by itself what a server speaks, but for the Python SDK 2.x on stdio, where it is configured. \
`=`: what the client is told equals what the same client is told by the server itself, in the revision that those two agree upon; \
in `list_changed`, `updated` and `cancelling`, that it arrives. `≈`: the server does not say for which call it logs (nor does its SDK), \
so that in 2026-07-28 what is heard before the call's answer, or a moment after it, is told, and what comes later is not. Empty: the server has nothing of the kind.

| column | what was compared |
|---|---|
| connect | name, version and instructions of the server; its capabilities are those it tells in its own revision |
| elicitation, sampling, roots, all of them | what the client was asked in mid-call, and the answer of the call, which is what it said |
| list_changed, updated | `subscriptions/listen` or `resources/subscribe` in front, whichever the client has, and the news |
| cancelling | a call that the client cancels ends at the server |
| logging | what is logged on the levels that were asked for |

| client | speaks | server | behind | in front |"
        .to_owned();
    FEATURES.iter().for_each(|it| out += &format!(" {it} |"));
    out += &format!("\n|---|---|---|---|---|{}\n", ":-:|".repeat(FEATURES.len()));
    for Row { client, server, front, features, .. } in rows {
        let speaks = if is_modern(*client) { "2026-07-28" } else { "2025-11-25" };
        let (client, behind) = (title(*client), format!("{} | {}", title(server.0), server.1));
        out += &format!("| {client} | {speaks} | {behind} | {front} |");
        let cell = |it: &&str| match *it {
            it if features.contains(&it) => " = |",
            "logging" => " ≈ |",
            _ => "  |",
        };
        FEATURES.iter().for_each(|it| out += cell(it));
        out += "\n";
    }
    out
}
