//! Which crate may use which, and what every manifest says.

/// Which of our crates may use which.  A new arrow is a decision: it is made here.
const ARROWS: &[(&str, &[&str])] = &[
    ("mcp-jsonrpc", &[]),
    ("auth", &["mcp-jsonrpc"]),
    ("translate", &["mcp-jsonrpc"]),
    ("catalogue", &["mcp-jsonrpc", "seal"]),
    ("aggregate", &["catalogue", "mcp-jsonrpc", "seal", "translate"]),
    ("seal", &[]),
    ("store", &["seal"]),
    ("era", &["mcp-jsonrpc", "seal", "translate"]),
    ("router", &["mcp-jsonrpc", "seal", "store", "translate"]),
    ("transport-stdio", &["mcp-jsonrpc"]),
    ("transport-sse", &["mcp-jsonrpc"]),
    ("transport-streamable", &["mcp-jsonrpc", "transport-sse"]),
    ("gateway-config", &[]),
    ("telemetry", &["mcp-jsonrpc"]),
    ("demo-server", &["mcp-jsonrpc"]),
    (
        "gateway",
        &[
            "aggregate",
            "auth",
            "catalogue",
            "demo-server",
            "era",
            "gateway-config",
            "mcp-jsonrpc",
            "router",
            "seal",
            "store",
            "telemetry",
            "transport-sse",
            "transport-stdio",
            "transport-streamable",
        ],
    ),
    ("gateway-bench", &[]),
    ("fixtures", &[]),
    ("xtask", &[]),
];

/// What any crate may use in its tests.
const FOR_TESTS: &[&str] = &["demo-server", "fixtures", "translate"];

/// What a manifest must not leave out.
const ALWAYS: &[&str] = &[
    "version.workspace = true",
    "edition.workspace = true",
    "rust-version.workspace = true",
    "license.workspace = true",
    "publish.workspace = true",
    "description = ",
    "[lints]\nworkspace = true",
];

pub(super) fn complaints(text: &str) -> Vec<String> {
    let Some(name) = text.lines().find_map(|line| line.strip_prefix("name = ")) else {
        return Vec::new();
    };
    // What is a workspace of its own is no part of the house: the fuzz targets, and a client on the
    // Rust SDK.
    if text.lines().any(|line| line == "[workspace]") {
        return Vec::new();
    }
    let name = name.trim_matches('"');
    let Some((_, allowed)) = ARROWS.iter().find(|(of, _)| *of == name) else {
        return vec![format!("{name} has no arrows in xtask/src/tidy/manifest.rs")];
    };
    let mut found = Vec::new();
    for (tests, dep) in dependencies(text) {
        let ours = ARROWS.iter().any(|(name, _)| *name == dep);
        let may = allowed.contains(&dep) || (tests && FOR_TESTS.contains(&dep));
        if ours && !may && dep != name {
            found.push(format!("{name} may not use {dep}"));
        }
    }
    let left_out = ALWAYS.iter().filter(|it| !text.contains(**it));
    found.extend(left_out.map(|it| format!("leaves out `{}`", it.replace('\n', " "))));
    found
}

/// The names under every table of dependencies, and whether they are for tests alone.
fn dependencies(text: &str) -> impl Iterator<Item = (bool, &str)> {
    let mut table = "";
    text.lines().filter_map(move |line| {
        if line.starts_with('[') {
            table = line;
            return None;
        }
        if !table.ends_with("dependencies]") || line.starts_with('#') {
            return None;
        }
        let name = line.split(['.', ' ', '=']).next().filter(|it| !it.is_empty())?;
        Some((table.ends_with("dev-dependencies]"), name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrows(text: &str) -> Vec<String> {
        let mut found = complaints(text);
        found.retain(|it| !it.starts_with("leaves out"));
        found
    }

    #[test]
    fn an_arrow_against_the_grain() {
        let text = "name = \"transport-sse\"\n[dependencies]\nbytes = \"1\"\nrouter.workspace = true\n[lints]\n";
        assert_eq!(arrows(text), ["transport-sse may not use router"]);
        let target =
            "name = \"auth\"\n[target.'cfg(unix)'.dependencies]\nrouter = { workspace = true }\n";
        assert_eq!(arrows(target), ["auth may not use router"]);
    }

    #[test]
    fn tests_may_use_more() {
        let text = "name = \"router\"\n[dev-dependencies]\ndemo-server.workspace = true\n";
        assert_eq!(arrows(text), Vec::<String>::new());
        let more = "name = \"router\"\n[dev-dependencies]\nauth.workspace = true\n";
        assert_eq!(arrows(more), ["router may not use auth"]);
    }

    #[test]
    fn a_manifest_that_goes_its_own_way() {
        let found = complaints("name = \"auth\"\nversion = \"7\"\n");
        assert!(found.contains(&"leaves out `version.workspace = true`".to_owned()), "{found:?}");
        assert!(found.contains(&"leaves out `[lints] workspace = true`".to_owned()), "{found:?}");
        assert_eq!(complaints("name = \"new\"\n").len(), 1);
    }
}
