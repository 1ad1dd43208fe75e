//! Official SDKs of every generation, each as a client and as a server, with the gateway between
//! them: whatever revision each speaks, a client is told what the server itself would tell it.

mod guests;
mod site;
mod visit;

use std::{
    sync::{Mutex, PoisonError},
    thread,
};

use serde_json::Value;

use self::{
    guests::{GUESTS, Guest},
    site::{MODERN, SERVERS, Server, Site, Way},
    visit::{FEATURES, Host, Seen, cancel, visit},
};
use crate::{
    client::{Client, Sdk},
    compat::{report, site::pinned},
    parts::{Parts, SCRIPTED},
};

/// One line of the table.
#[derive(Debug)]
struct Row {
    guest: Guest,
    server: Server,
    front: Way,
    features: Vec<&'static str>,
    connect: Value,
}

/// What each server itself says to one client.
type Measures = Vec<(Sdk, Seen)>;

#[test]
fn every_client_works_with_every_server() {
    let Some(parts) = Parts::need(SCRIPTED) else { return };
    let site = Site::start(&parts);
    let (parts, site) = (&parts, &site);
    let measured = beside(GUESTS.map(|guest| move || directly(parts, site, guest)));
    let (clients, measures): (Vec<Client>, Vec<Measures>) = measured.into_iter().unzip();
    // What one client hears is not to be taken for what another was to hear.
    let turns: Vec<Mutex<()>> = SERVERS.iter().map(|_| Mutex::default()).collect();
    let (measures, turns) = (measures.as_slice(), turns.as_slice());
    let visits = clients.into_iter().enumerate();
    let told =
        beside(visits.map(|(at, client)| move || through(site, client, (at, measures), turns)));
    let (clients, told): (Vec<_>, Vec<_>) = told.into_iter().map(|it| (it.0, (it.1, it.2))).unzip();
    let (rows, differences): (Vec<_>, Vec<_>) = told.into_iter().unzip();
    // Only now: what each leaves behind would be in the way of its next visits.
    let visits = clients.into_iter().zip(rows);
    let rows = beside(visits.map(|(client, rows)| move || cancelled(client, rows, turns)));
    let differences = differences.concat();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    for server in SERVERS {
        let name = format!("server={}", server.name());
        let version = format!("version={}", server.speaks);
        // Whoever comes first decides how one that has both eras is spoken to.
        let version = if server.has_both() { "version=" } else { &version };
        site.gateway.logged(&["ready", &name, version]);
    }
    let mut rows: Vec<Row> = rows.into_iter().flatten().collect();
    rows.sort_by_key(|it| (it.guest.place(), at(&it.server), it.front));
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

/// What each server that it visits says to a client itself, in the revision that the two agree upon.
fn directly(parts: &Parts, site: &Site, guest: Guest) -> (Client, Measures) {
    let mut client = Client::start(parts, guest.sdk);
    let mut measures = Measures::new();
    for server in SERVERS.iter().filter(|it| !guest.ways(it).is_empty()) {
        if measures.iter().all(|it| it.0 != server.sdk) {
            let way = format!("{guest:?} at {:?} directly", server.sdk);
            let connect = guest.directly(server, site.directly(parts, server.sdk));
            measures.push((
                server.sdk,
                visit(&mut client, &connect, Host::itself(server), guest, &way),
            ));
        }
    }
    (client, measures)
}

/// What the gateway says to a client instead, and where that is something else.
fn through(
    site: &Site,
    mut client: Client,
    (at, measures): (usize, &[Measures]),
    turns: &[Mutex<()>],
) -> (Client, Vec<Row>, Vec<String>) {
    let guest = GUESTS[at];
    let (mut rows, mut differences) = (Vec::new(), Vec::new());
    let count = SERVERS.len();
    // Each begins elsewhere.
    let begin = at * count / GUESTS.len();
    for turn in (0..count).map(|it| (begin + it) % count) {
        let server = SERVERS[turn];
        for front in guest.ways(&server) {
            let way = format!("{guest:?} at {} over {front:?}", server.name());
            let connect = guest.prepared(site.through(&server, front));
            let alone = turns[turn].lock().unwrap_or_else(PoisonError::into_inner);
            let seen = visit(&mut client, &connect, Host::behind(&server, guest), guest, &way);
            drop(alone);
            assert!(seen.revision.as_deref().is_none_or(|it| it == guest.agrees(&server)), "{way}");
            // What it can do is what it says in its own revision.
            let own = match server.sdk {
                _ if server.has_both() => at,
                // Set to a revision with a handshake, it is what this one hears.
                Sdk::FastMcp => sdk_at(Sdk::Python),
                sdk => sdk_at(sdk),
            };
            let mut expect = measure(&measures[own], server.sdk).capabilities.clone();
            if guest.speaks < "2025-03-26" && guest.spoken_behind(&server) == MODERN {
                // That had no word for it.
                expect.as_object_mut().unwrap().remove("completions");
            }
            if seen.capabilities != expect {
                differences.push(format!("{way}: {} instead of {expect}", seen.capabilities));
            }
            let expect = &measure(&measures[at], server.sdk).said;
            let more = guest.is_told_more(&server);
            differences.extend(compare(&way, expect, &seen.said, more));
            let features = seen.said.iter().map(|it| it.0).collect();
            rows.push(Row { guest, server, front, features, connect });
        }
    }
    (client, rows, differences)
}

/// Where the first of these clients stands among all.
fn sdk_at(sdk: Sdk) -> usize {
    GUESTS.iter().position(|it| it.sdk == sdk).unwrap()
}

fn measure(measures: &Measures, sdk: Sdk) -> &Seen {
    &measures.iter().find(|it| it.0 == sdk).unwrap().1
}

/// What a client has still to cancel.
fn cancelled(mut client: Client, mut rows: Vec<Row>, turns: &[Mutex<()>]) -> Vec<Row> {
    for row in rows.iter_mut().filter(|it| !it.features.contains(&"cancelling")) {
        let Row { guest, server, front, .. } = *row;
        if Guest::cancels(server.sdk) {
            let way = format!("{guest:?} at {} over {front:?}", server.name());
            let alone = turns[at(&server)].lock().unwrap_or_else(PoisonError::into_inner);
            cancel(&mut client, &row.connect, Host::behind(&server, guest), guest, &way);
            drop(alone);
            row.features.push("cancelling");
        }
    }
    rows
}

/// Where a server stands among all.
fn at(server: &Server) -> usize {
    SERVERS.iter().position(|it| it == server).unwrap()
}

fn compare(
    way: &str,
    expect: &[(&'static str, Value)],
    said: &[(&'static str, Value)],
    more: bool,
) -> Vec<String> {
    // These are not measured but seen to work.
    const SEEN: [&str; 3] = ["list_changed", "updated", "cancelling"];
    let measured = |it: &&(&str, Value)| !(SEEN.contains(&it.0) || more && ASKED.contains(&it.0));
    let pairs = said.iter().filter(measured).zip(expect.iter().filter(measured));
    let differs = |((feature, said), (_, expect)): (&(_, Value), &(_, Value))| {
        (said != expect).then(|| format!("{way}: {feature}: {said} instead of {expect}"))
    };
    pairs.filter_map(differs).collect()
}

/// What a server asks in mid-call.
const ASKED: [&str; 4] = ["elicitation", "sampling", "roots", "all of them"];

fn title(sdk: Sdk) -> String {
    let (name, package, pins) = match sdk {
        Sdk::PythonOld => {
            ("Python SDK", "mcp", include_str!("../../../../fixtures/real/requirements-old.txt"))
        }
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
        Sdk::FastMcp => (
            "FastMCP",
            "fastmcp",
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
        Sdk::Rust => ("Rust SDK", "rmcp", include_str!("../../../../fixtures/rmcp/Cargo.toml")),
        Sdk::Inspector => panic!("{sdk:?} is not compared here"),
    };
    let version = pinned(package, pins);
    format!("{name} {}", version.rsplit(' ').next().unwrap_or_default())
}

fn table(rows: &[Row]) -> String {
    let mut out = "\
## Both eras

The official SDKs of both generations, each as a client and as a server ([fixtures/servers](../fixtures/servers/README.md)), \
before and behind the same gateway. A client that knows 2026-07-28 asks for it first, and gets it at every URL but those of HTTP+SSE, \
which is older; any other speaks what it knows, and gets that. Behind, the gateway finds out by itself what a server speaks, but for the \
lines marked *set*, where the configuration names the revision (`protocol`) of a server that knows others too. A server that has both eras is spoken to as its client speaks. \
`=`: what the client is told equals what the same client is told by the server itself, in the revision that those two agree upon; \
in `list_changed`, `updated` and `cancelling`, that it arrives. `≈`: the server does not say for which call it logs (nor does its SDK), \
so that in 2026-07-28 what is heard before the call's answer, or a moment after it, is told, and what comes later is not. `–`: FastMCP refuses to ask anything in 2026-07-28, and what the client is told of that equals what it is told directly; \
`+`: set to a revision with a handshake, it asks, and clients of 2026-07-28 are asked too. Empty: the server has nothing of the kind, \
the client offers no words for it, or its revision has none.

| column | what was compared |
|---|---|
| connect | name, version and instructions of the server; its capabilities are those it tells in its own revision |
| elicitation, sampling, roots, all of them | what the client was asked in mid-call, and the answer of the call, which is what it said |
| list_changed, updated | `subscriptions/listen` or `resources/subscribe` in front, whichever the client has, and the news |
| cancelling | a call that the client cancels ends at the server |
| logging | what is logged on the levels that were asked for |

| client | speaks | in front | server | speaks | behind |"
        .to_owned();
    FEATURES.iter().for_each(|it| out += &format!(" {it} |"));
    out += &format!("\n|---|---|---|---|---|---|{}\n", ":-:|".repeat(FEATURES.len()));
    for Row { guest, server, front, features, .. } in rows {
        let set = if server.pinned { ", *set*" } else { "" };
        let (client, server_title) = (title(guest.sdk), title(server.sdk));
        let (front, behind) = (front.name(), server.behind.name());
        out += &format!("| {client} | {} | {front} ", guest.agrees(server));
        out += &format!("| {server_title} | {}{set} | {behind} |", guest.spoken_behind(server));
        let cell = |it: &&str| match *it {
            it if ASKED.contains(&it) && guest.is_told_more(server) => " + |",
            it if ASKED.contains(&it) && guest.is_refused(server) => " – |",
            it if features.contains(&it) => " = |",
            "logging" if guest.logs() => " ≈ |",
            _ => "  |",
        };
        FEATURES.iter().for_each(|it| out += cell(it));
        out += "\n";
    }
    out
}
