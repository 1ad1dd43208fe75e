//! Nothing secret is shown: not by `Debug`, not by what is rendered, not by an error.

use gateway_config::Config;

use crate::golden::{env, files};

/// What the environment and the fixtures hold that nobody may see.
const SECRETS: &[&str] = &[
    "verysecret",
    "0123456789abcdef",
    "hunter2",
    "pa%20ss",
    "abcdef",
    "12345",
    "u:p@",
    "YOUR_TOKEN",
    "SpecificToken",
    "DefaultToken",
    "aaaaaaaa",
    "bbbbbbbb",
];

#[test]
fn good_files() {
    for (path, text) in files("good") {
        let config = Config::parse(&text, &env()).unwrap();
        let all = format!("{config:#?}\n{}\n{}", config.render_masked(), config.render_json());
        for secret in SECRETS {
            let at = all.find(secret).map(|at| &all[at.saturating_sub(80)..]);
            assert!(at.is_none(), "{}: {secret} in {:.160}", path.display(), at.unwrap());
        }
    }
}

#[test]
fn bad_files() {
    for (path, text) in files("bad") {
        let error = Config::parse(&text, &env()).unwrap_err();
        let all = format!("{error:#?}\n{error}");
        for secret in SECRETS {
            assert!(!all.contains(secret), "{}: {secret} in {all}", path.display());
        }
    }
}
