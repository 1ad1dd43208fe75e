//! What came of the matrix, as a document: `docs/MATRIX.md`.

use std::{collections::BTreeMap, path::Path};

use mcp_jsonrpc::ProtocolVersion;
use translate::ROWS;

use crate::{
    behind::BEHIND,
    cell::{Cell, Outcomes},
    demo::{self, Driven},
    eras,
    features::{FEATURES, Outcome},
    front::FRONTS,
};

const HEAD: &str = "\
# Every feature, between every pair of revisions, through every pair of wires

Written by the test `matrix` of the gateway (`BLESS=1 cargo test -p gateway --test matrix -- --test-threads 1` writes it anew): \
what is here has come through the program as a whole. Whatever reached either side was checked against the \
schema of the revision spoken there, and every cell was played by two clients at once whose ids and progress \
tokens were equal. Payloads were compared byte for byte.

`=`: it arrives as it was said. A name: it arrives, or is refused, as that row of [the table](TRANSLATION.md) \
has it. `–`: there is no such thing between these two.

A client that asks for a later revision than its server has is told the server's own, and speaks it: nothing \
lies between the two then.
";

/// Where the part of the document begins that is about 2026-07-28.
const ERAS: &str = "\n## With 2026-07-28\n";

const ERAS_HEAD: &str = "
The demonstration server again, told by `protocol` which revision it is spoken to in, so that every feature crosses \
between the eras: clients of 2026-07-28 before servers of each revision (over Streamable HTTP and stdio), and clients \
of each before servers of it (over all wires). Both sides hold what they hear against their schema. A name is what lies \
between by [the table](TRANSLATION.md); what is asserted is in `bins/gateway/tests/matrix/eras` and `demo`.
";

/// Compares what came with the document, or writes it.
pub(crate) fn check(outcomes: &[(Cell, Outcomes)], driven: &[Driven]) {
    part(&(document(outcomes) + &demo_server(driven)), true);
}

/// The same for what lies between the eras.
pub(crate) fn check_eras(driven: &[eras::Driven]) {
    let modern = ProtocolVersion::V2026_07_28;
    let mut by_pair: BTreeMap<(ProtocolVersion, ProtocolVersion), &BTreeMap<&str, Outcome>> =
        BTreeMap::new();
    for (cell, outcomes) in driven {
        let known = by_pair.entry((cell.client, cell.server)).or_insert(outcomes);
        assert_eq!(*known, outcomes, "{cell}: it depends on the wires");
    }
    let table =
        |out: &mut String,
         of: &[ProtocolVersion],
         names: &[&str],
         pair: &dyn Fn(ProtocolVersion) -> (ProtocolVersion, ProtocolVersion)| {
            of.iter().for_each(|version| *out += &format!(" {version} |"));
            *out += &format!("\n|---|{}\n", "---|".repeat(of.len()));
            for name in names {
                let cells = of.iter().map(|version| shown(&by_pair[&pair(*version)][name]));
                *out += &format!("| {name} | {} |\n", cells.collect::<Vec<_>>().join(" | "));
            }
        };
    let mut out = format!("{ERAS}{ERAS_HEAD}\n### Clients of 2026-07-28\n\n| feature \\ server |");
    let names: Vec<_> = eras::FEATURES.iter().map(|(name, _)| *name).collect();
    table(&mut out, &ProtocolVersion::ALL, &names, &|server| (modern, server));
    out += "\n### Servers of 2026-07-28\n\n| feature \\ client |";
    let names: Vec<_> = demo::FEATURES.iter().map(|(name, ..)| *name).collect();
    table(&mut out, &ProtocolVersion::LEGACY, &names, &|client| (client, modern));
    part(&out, false);
}

/// Compares one of the two parts of the document, or writes it.
fn part(part: &str, first: bool) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/MATRIX.md");
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    let (head, tail) = found.split_at(found.find(ERAS).unwrap_or(found.len()));
    if std::env::var_os("BLESS").is_some() {
        let whole = if first { format!("{part}{tail}") } else { format!("{head}{part}") };
        std::fs::write(&path, whole).unwrap();
        return;
    }
    let found = if first { head } else { tail };
    assert_eq!(found, part, "{} (BLESS=1 writes it anew)", path.display());
}

fn document(outcomes: &[(Cell, Outcomes)]) -> String {
    let mut by_pair: BTreeMap<(ProtocolVersion, ProtocolVersion), BTreeMap<&str, Outcome>> =
        BTreeMap::new();
    for (cell, outcomes) in outcomes {
        let Ok(outcomes) = outcomes else { panic!("{cell} has failed") };
        let known = by_pair.entry((cell.server, cell.client)).or_insert_with(|| outcomes.clone());
        assert_eq!(known, outcomes, "{cell}: it depends on the wires");
    }
    let mut out = HEAD.to_owned();
    for server in ProtocolVersion::LEGACY {
        out += &format!("\n## Servers of {server}\n\n| feature \\ client |");
        ProtocolVersion::LEGACY.iter().for_each(|client| out += &format!(" {client} |"));
        out += "\n|---|---|---|---|---|\n";
        for (feature, _) in FEATURES {
            let cells = ProtocolVersion::LEGACY.map(|it| shown(&by_pair[&(server, it)][feature]));
            out += &format!("| {feature} | {} |\n", cells.join(" | "));
        }
    }
    out + &wires(outcomes)
}

fn shown(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Same => "=".to_owned(),
        Outcome::Absent => "–".to_owned(),
        Outcome::Rows(rows) => {
            let known = |name: &&str| ROWS.iter().any(|row| row.name == *name);
            assert!(rows.iter().all(known), "{rows:?}");
            rows.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
        }
    }
}

/// Which pairs of revisions were driven through which pair of wires.
fn wires(outcomes: &[(Cell, Outcomes)]) -> String {
    let mut out = "\n## Which pairs were driven where\n\nAs client → server, with all features.\n\n| in front \\ behind |".to_owned();
    BEHIND.iter().for_each(|behind| out += &format!(" {behind:?} |"));
    out += "\n|---|---|---|---|\n";
    for front in FRONTS {
        out += &format!("| {front:?} |");
        for behind in BEHIND {
            let here = outcomes.iter().filter(|(it, _)| (it.front, it.behind) == (front, behind));
            let mut pairs: Vec<String> =
                here.map(|(it, _)| format!("{} → {}", it.client, it.server)).collect();
            pairs.sort();
            let different = pairs.iter().filter(|it| it[..10] != it[it.len() - 10..]).count();
            assert!(2 <= different, "{front:?} and {behind:?}: {pairs:?}");
            out += &format!(" {} |", pairs.join("<br>"));
        }
        out.push('\n');
    }
    out
}

/// What the demonstration server has, and where it was driven.
fn demo_server(driven: &[Driven]) -> String {
    let mut out = "\n## The demonstration server\n\nIt speaks the revision of its client. `=`: whatever stands between, its client hears the same, byte for byte, and of the schema. `–`: the revision has nothing of the kind.\n\n| feature \\ client |".to_owned();
    ProtocolVersion::LEGACY.iter().for_each(|client| out += &format!(" {client} |"));
    out += "\n|---|---|---|---|---|\n";
    for (feature, since, _) in demo::FEATURES {
        let cells = ProtocolVersion::LEGACY.map(|it| if *since <= it { "=" } else { "–" });
        out += &format!("| {feature} | {} |\n", cells.join(" | "));
    }
    out += "\n| in front \\ where it stands |";
    demo::STANDS.iter().for_each(|(_, name)| out += &format!(" {name} |"));
    out += "\n|---|---|---|---|---|\n";
    for front in FRONTS {
        out += &format!("| {front:?} |");
        for (stand, _) in demo::STANDS {
            let here = driven.iter().filter(|it| (it.cell.front, it.cell.behind) == (front, stand));
            let mut clients: Vec<_> = here.map(|it| it.cell.client.as_str()).collect();
            clients.sort_unstable();
            assert_eq!(clients.len(), ProtocolVersion::LEGACY.len(), "{front:?} and {stand:?}");
            out += &format!(" {} |", clients.join("<br>"));
        }
        out.push('\n');
    }
    out
}
