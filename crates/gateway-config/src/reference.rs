//! The reference of all keys, made from the tables that the reader itself uses.

use crate::{
    names::RESERVED,
    schema::{SERVER_ALIASES, SERVER_IGNORED, Scope},
};

const HEAD: &str = "\
# Configuration

One JSON file; comments and trailing commas are allowed. `gateway check FILE` prints what was
understood. This reference is generated from the tables that the reader uses.

```jsonc
{
  \"gateway\": {
    \"listen\": \":9090\",
    \"tokens\": {\"laptop\": \"${MCP_TOKEN}\"},
  },
  \"mcpServers\": {
    \"fetch\": {\"command\": \"uvx\", \"args\": [\"mcp-server-fetch\"]},
    \"postgres\": {\"url\": \"http://127.0.0.1:8686/sse\"},
  },
}
```

Strings may hold references, which are replaced after parsing: `${VAR}`, `${VAR:-default}`,
`${env:VAR}`, `${file:path}` (relative to this file, its last line break dropped), and `$$` for a `$`.
A variable that is not set is an error. Keys are never replaced.

Durations have units: `500ms`, `15s`, `5m`, `1h`, `1h30m`. Sizes too: `16KiB`, `64MiB`, or a number of
bytes. A key that is not listed here is an error.

Files of TBXark/mcp-proxy (`mcpProxy`), of sparfenyuk/mcp-proxy, of mcpo, of VS Code (`servers`) and
of other MCP clients are read as they are; there, unknown keys are mentioned and ignored, `$VAR` counts
as a reference in TBXark's, and every key of a server listed here may be used as well.
";

/// Markdown: every key with its type, its default and its meaning.
pub fn reference() -> String {
    let mut out = HEAD.to_owned();
    for (title, scope) in [
        ("The file", Scope::Top),
        ("`gateway`", Scope::Gateway),
        ("`gateway.tls`", Scope::Tls),
        ("`gateway.tokens.NAME`", Scope::Token),
        ("`gateway.log`", Scope::Log),
        ("`gateway.audit`", Scope::Audit),
        ("`gateway.limits`", Scope::Limits),
        ("`gateway.timeouts`", Scope::Timeouts),
        ("`gateway.aggregate`", Scope::Aggregate),
        ("`mcpServers.NAME`", Scope::Server),
        ("`mcpServers.NAME.tools`", Scope::Tools),
        ("`mcpServers.NAME.tools.override.NAME`", Scope::Override),
        ("`mcpServers.NAME.tools.override.NAME.arguments.NAME`", Scope::Argument),
        ("`mcpServers.NAME.prompts`", Scope::Filter),
        ("`mcpServers.NAME.restart`", Scope::Restart),
        ("`groups.NAME`", Scope::Group),
        ("`groups.NAME.servers.NAME`", Scope::GroupServer),
    ] {
        out.push_str(&format!(
            "\n## {title}\n\n| key | type | default | meaning |\n|---|---|---|---|\n"
        ));
        for key in scope.keys() {
            let default = if key.default.is_empty()
                || key.default.contains(['`', ' '])
                || key.default.starts_with(char::is_alphabetic)
            {
                key.default
            } else {
                format!("`{}`", key.default)
            };
            out.push_str(&format!(
                "| `{}` | {} | {default} | {} |\n",
                key.name, key.kind, key.meaning
            ));
        }
    }
    out.push_str("\n## Other names\n\nSo that an entry can be pasted, a server also takes:\n\n");
    for (alias, meaning) in SERVER_ALIASES {
        out.push_str(&format!("- `{alias}`: {meaning}\n"));
    }
    let ignored: Vec<String> = SERVER_IGNORED.iter().map(|key| format!("`{key}`")).collect();
    out.push_str(&format!("\nand ignores {}.\n", ignored.join(", ")));
    let reserved: Vec<String> = RESERVED.iter().map(|name| format!("`{name}`")).collect();
    out.push_str(&format!(
        "\n## Names that are taken\n\nThe gateway's own routes: {}.\n",
        reserved.join(", ")
    ));
    out
}
