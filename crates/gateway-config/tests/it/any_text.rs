//! No text makes the reader panic, and none makes it show what a variable holds.

use gateway_config::{Config, PROBLEM_COUNT_MAX};
use proptest::prelude::*;

use crate::golden::{env, files};

#[track_caller]
fn check(text: &str) {
    match Config::parse(text, &env()) {
        Ok(config) => {
            let shown = format!("{config:?}{}{}", config.render_masked(), config.render_json());
            assert!(!shown.contains("verysecret"), "{shown}");
            drop(config.check_exposure());
        }
        Err(error) => {
            assert!((1..=PROBLEM_COUNT_MAX + 1).contains(&error.problems().len()));
            assert!(!error.to_string().contains("verysecret"), "{error}");
        }
    }
}

/// Pieces that files are made of.
fn piece() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"gateway\"",
        "\"mcpProxy\"",
        "\"mcpServers\"",
        "\"servers\"",
        "\"a\"",
        "\"command\"",
        "\"url\"",
        "\"options\"",
        "\"authTokens\"",
        "\"timeout\"",
        "\"listen\"",
        "\"${CI_TOKEN}\"",
        "\"$\"",
        "\"${\"",
        "\"http://u:p@h/sse?x\"",
        "\"x y | z\"",
        "1e999",
        "-0",
        "60",
        "true",
        "null",
        "// c\n",
        "/*",
        "\"\\ud800\"",
        "\u{feff}",
        "\"5s\"",
        "\"=\"",
    ]);
    prop_oneof![9 => known.prop_map(str::to_owned), 1 => any::<String>()]
}

proptest! {
    #[test]
    fn arbitrary(text in any::<String>()) {
        check(&text);
    }

    #[test]
    fn pieces(pieces in prop::collection::vec(piece(), 0..40)) {
        check(&pieces.concat());
    }

    /// A value of a server, in every dialect.
    #[test]
    fn values(
        head in prop::sample::select(vec!["\"gateway\":{},", "\"mcpProxy\":{},", "\"theme\":1,", ""]),
        key in prop::sample::select(vec![
            "command", "args", "env", "url", "headers", "type", "timeout", "options", "tools",
            "restart", "cwd", "protocol", "tokens", "startTimeout", "envFile", "disabledTools",
        ]),
        value in prop_oneof![
            any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap_or_default()),
            "[-0-9.e]{1,30}",
            prop::collection::vec(piece(), 1..8).prop_map(|pieces| pieces.concat()),
        ],
    ) {
        // A folder, a name, a list of names are no secrets, and are shown as they are.
        let plain = matches!(key, "cwd" | "envFile" | "tokens" | "tools" | "disabledTools");
        let value = if plain { value.replace("CI_TOKEN", "MCP_PROXY_TOKEN") } else { value };
        check(&format!("{{{head}\"mcpServers\":{{\"a\":{{\"{key}\":{value}}}}}}}"));
    }

    /// A fixture with a byte changed somewhere.
    #[test]
    fn bent_fixtures(file in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), with in any::<char>()) {
        let files = files("good");
        let (_, text) = file.get(&files);
        let mut chars: Vec<char> = text.chars().collect();
        let at = at.index(chars.len());
        chars[at] = with;
        check(&chars.into_iter().collect::<String>());
    }
}
