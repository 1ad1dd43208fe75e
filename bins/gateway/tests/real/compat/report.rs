//! What came of it, as a document: `docs/COMPATIBILITY.md`.
//!
//! Three tests write it, in parts: one for each client, one for both eras, and one for restarts.

use std::{
    fs::{self, File},
    path::Path,
};

use super::{
    driver::{Front, Kind},
    probes::{Cell, Feature},
    restart::{After, Outcome},
    site::pinned,
};

/// The part that shows what becomes of sessions.
pub(crate) const RESTARTS: &str = "restarts";

/// One line of the table.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) kind: Kind,
    /// What it is, and how it is reached.
    pub(crate) server: (String, &'static str),
    pub(crate) front: Front,
    pub(crate) cells: Vec<(Feature, Cell)>,
}

const THIRD_PARTY: &str = include_str!("../../../../../fixtures/real/third-party/package.json");
const FASTMCP: &str = include_str!("../../../../../fixtures/real/requirements-fastmcp.txt");
const PYTHON: &str = include_str!("../../../../../fixtures/real/requirements-clients.txt");
const RUST: &str = include_str!("../../../../../fixtures/rmcp/Cargo.toml");
const NODE: &str = include_str!("../../../../../fixtures/real/package.json");

/// The client's name and version.
pub(crate) fn title(kind: Kind) -> String {
    let version = |package: &str, pins: &str| {
        pinned(package, pins).rsplit(' ').next().unwrap_or_default().to_owned()
    };
    match kind {
        Kind::Inspector => format!(
            "MCP Inspector {}, `--cli`",
            version("@modelcontextprotocol/inspector", THIRD_PARTY)
        ),
        Kind::McpRemote => format!(
            "mcp-remote {}, with the TypeScript SDK {} on its own stdio",
            version("mcp-remote", THIRD_PARTY),
            version("@modelcontextprotocol/sdk", NODE)
        ),
        Kind::FastMcp => format!(
            "FastMCP {} (Python SDK {})",
            version("fastmcp", FASTMCP),
            version("mcp", FASTMCP)
        ),
        Kind::Python => format!("Python SDK {}", version("mcp", PYTHON)),
        Kind::Rust => format!("Rust SDK (rmcp) {}", version("rmcp", RUST)),
        Kind::TypeScript => {
            format!("TypeScript SDK {}", version("@modelcontextprotocol/sdk", NODE))
        }
    }
}

/// What a client cannot do by itself, and what stands behind a `–`.
const fn note(kind: Kind) -> &'static str {
    match kind {
        Kind::Inspector => {
            "Each of its operations is a run of its own and a session. It offers no completion and \
             no progress, has no roots to tell, declares neither sampling nor elicitation, and shows no notification: \
             `logging` is `–` although the level is set, and so is `list_changed`. It is compared \
             with the TypeScript SDK at the server itself: a server on stdio would be started \
             by each operation. So it is not driven at all of them."
        }
        Kind::McpRemote => {
            "It is a server on stdio in front of one over HTTP: what it is itself compared with \
             at servers on stdio is the TypeScript SDK, which drives it."
        }
        Kind::FastMcp => {
            "It would ask for 2026-07-28 first; it was made to begin with `initialize`, here as at \
             the servers themselves."
        }
        Kind::Rust => "It has no HTTP+SSE.",
        Kind::Python | Kind::TypeScript => "",
    }
}

const HEAD: &str = "\
# Clients and servers of others

Written by the tests `compat` of the gateway (`BLESS=1 cargo xtask test compat` writes it anew): what is here \
has come through the program as a whole, between these versions. How they are pinned and installed is in \
[fixtures/real](../fixtures/real/README.md).

## Client, server, transports and features

`=`: what the client is told through the gateway, over this transport in front, equals what the server itself \
tells it; of the demo server, which has no other door, that it is the same over each transport in front. \
`–`: the client offers nothing of the kind, or not all of it; what exactly is said below its table. Empty: the \
server offers nothing of the kind, or is not asked. Every session speaks 2025-11-25 and comes with a bearer token.

| column | what was compared |
|---|---|
| connect | capabilities, name, version and instructions of the server |
| tools | the whole list |
| calls | texts, images and structured content of results |
| errors | results with `isError`, JSON-RPC errors with code and data |
| resources, templates, prompts | the lists, a document, a prompt |
| completion | what an argument is completed to |
| progress | that each step arrives, in order, before the answer |
| logging | that a level is set and a line of log arrives |
| sampling, elicitation, roots | the server's question, and its answer with what the client said |
| list_changed | that it arrives, and of the demo server the list after it |

<!-- inspector -->
<!-- end of inspector -->

<!-- mcp-remote -->
<!-- end of mcp-remote -->

<!-- fastmcp -->
<!-- end of fastmcp -->

<!-- python -->
<!-- end of python -->

<!-- rust -->
<!-- end of rust -->

<!-- typescript -->
<!-- end of typescript -->

<!-- eras -->
<!-- end of eras -->

<!-- restarts -->
<!-- end of restarts -->
";

/// The tables of this part.
pub(crate) fn servers(rows: &[Row]) -> String {
    let mut out = String::new();
    if let Some(first) = rows.first() {
        out += &format!("### {}\n\n", title(first.kind));
        if !note(first.kind).is_empty() {
            out += &format!("{}\n\n", note(first.kind));
        }
        out += "| server | behind | in front |";
        Feature::ALL.iter().for_each(|it| out += &format!(" {} |", it.1));
        out += &format!("\n|---|---|---|{}\n", ":-:|".repeat(Feature::ALL.len()));
        for row in rows {
            let cells = Feature::ALL.map(|(feature, _)| shown(row, feature)).join(" | ");
            let (server, behind) = &row.server;
            out += &format!("| {server} | {behind} | {} | {cells} |\n", row.front.name());
        }
    }
    out
}

fn shown(row: &Row, feature: Feature) -> &'static str {
    match row.cells.iter().find(|it| it.0 == feature).map(|it| it.1) {
        Some(Cell::Same) => "=",
        Some(Cell::Unable) => "–",
        None => "",
    }
}

/// What each client did when the gateway was killed and came back.
pub(crate) fn restarts(outcomes: &[Outcome]) -> String {
    let mut out = "\
## Tokens, and a gateway that is killed

Each client was refused with a wrong bearer token and let in with the right one. Then the gateway was killed \
(`kill -9`) while all of them were connected to server-filesystem, a child of it, and started again on its port, \
with its state directory.

| client | in front | wrong token | after the restart |
|---|---|---|---|
"
    .to_owned();
    for Outcome { kind, front, after } in outcomes {
        let after = match after {
            After::GoesOn if *kind == Kind::McpRemote => "goes on; its own client notices nothing",
            After::GoesOn => "goes on with its session",
            After::ConnectsAnew if *kind == Kind::TypeScript => {
                "errors until it connects anew [^nameless]"
            }
            After::ConnectsAnew => "silence until it connects anew [^silent]",
            After::NoSession => "– each operation is a session of its own",
        };
        out += &format!("| {} | {} | refused | {after} |\n", title(*kind), front.name());
    }
    out += "\n[^silent]: The gateway still has the session, but this client never opens the stream \
            again on which its answers would come.\n\
            [^nameless]: It opens the stream again, but leaves out `Last-Event-ID`, which would \
            say whose it is; so it is given a new session, and does not initialize it.";
    out
}

/// Compares a part with the document, or writes it there.
pub(crate) fn check(part: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/COMPATIBILITY.md");
    let (begin, end) = (format!("<!-- {part} -->\n"), format!("<!-- end of {part} -->"));
    let expected = format!("{begin}\n{text}\n{end}");
    if std::env::var_os("BLESS").is_some() {
        // The other test may write at the same time.
        let lock = File::open(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).unwrap();
        lock.lock().unwrap();
        let found = fs::read_to_string(&path).unwrap_or_else(|_| HEAD.to_owned());
        let (before, rest) = found.split_once(&begin).unwrap();
        let (_, after) = rest.split_once(&end).unwrap();
        fs::write(&path, format!("{before}{expected}{after}")).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    let from_begin = found.split_once(&begin).map(|it| it.1).unwrap_or_default();
    let found = from_begin.split_once(&end).map(|it| it.0).unwrap_or_default();
    let expected = format!("\n{text}\n");
    assert_eq!(found, expected, "{} (BLESS=1 writes it anew)", path.display());
}
