//! The table as a document for people: `docs/TRANSLATION.md`.

use mcp_jsonrpc::ProtocolVersion;

use crate::row::{Loss, ROWS, Row, Way};

const HEAD: &str = "\
# Between revisions

Generated from the table in `crates/translate`: `BLESS=1 cargo test -p translate` writes it anew.

A client and a server behind the gateway agree on a revision each on its own. The client is told \
its own revision or an older one, never a later one. The server is offered the client's (or the \
one that `protocol` sets) and may choose another.

Where both sides speak the same revision nothing is read or changed: messages pass byte for byte. \
Where they differ, members that an older revision does not know (`title`, `icons`, `annotations`, \
`_meta`, `structuredContent`, `execution`, `size`, …) pass as well, since no schema forbids them and \
clients skip them. So do unknown methods and notifications, and errors with their code, words and \
data. What remains is in the tables below: a name, what it is about, the first revision that has it, \
and what becomes of it on its way to a peer that is older.

Batches are of 2025-03-26 alone. A client's are taken apart and answered together; a server's are \
taken apart. None is ever sent to a server, nor to a client that sent none.
";

const MATRIX: &str = "
## Which rows lie between which revisions

Beside rows of the first table, for a server of the revision on the left and a client of the one on \
top. `unknown-content` and what else came after 2025-11-25 is left out here: it lies between any two.
";

/// The document.
pub fn document() -> String {
    let mut out = HEAD.to_owned();
    for (way, title) in [
        (Way::ToClient, "On the way to an older client"),
        (Way::ToServer, "On the way to an older server, or on behalf of an older client"),
        (Way::Down, "Between a server of 2026-07-28 and a client with a handshake"),
        (Way::Up, "Between a server with a handshake and a client of 2026-07-28"),
    ] {
        out += &format!(
            "\n## {title}\n\n| name | what | since | becomes | lost |\n|---|---|---|---|---|\n"
        );
        for row in ROWS.iter().filter(|row| row.way == way) {
            let Row { name, payload, since, treatment, .. } = row;
            let lost = match row.loss {
                Loss::Nothing => "nothing",
                Loss::Some(what) => what,
                Loss::Refused => "all of it: refused",
            };
            out += &format!("| `{name}` | {payload} | {since} | {treatment} | {lost} |\n");
        }
    }
    out += MATRIX;
    out += "\n| server \\ client |";
    for client in ProtocolVersion::LEGACY {
        out += &format!(" {client} |");
    }
    out += "\n|---|---|---|---|---|\n";
    for server in ProtocolVersion::LEGACY {
        out += &format!("| {server} |");
        for client in ProtocolVersion::LEGACY {
            let rows: Vec<String> =
                between(client, server).map(|it| format!("`{}`", it.name)).collect();
            let cell = if rows.is_empty() { "–".to_owned() } else { rows.join(", ") };
            out += &format!(" {cell} |");
        }
        out.push('\n');
    }
    out
}

/// The rows that a server of one revision can make necessary for a client of another.
pub fn between(
    client: ProtocolVersion,
    server: ProtocolVersion,
) -> impl Iterator<Item = &'static Row> {
    ROWS.iter().copied().filter(move |row| {
        row.way == Way::ToClient && row.is_new_to(client) && !row.is_new_to(server)
    })
}
