//! Every file of `fixtures/config`, and what is understood of it or complained about it.
//!
//! `BLESS=1` writes what came instead of comparing.

use std::{
    fs,
    path::{Path, PathBuf},
};

use gateway_config::{Config, FixedEnv};

pub(crate) fn folder(of: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/config").join(of)
}

pub(crate) fn env() -> FixedEnv {
    let vars = [
        ("MCP_PROXY_TOKEN", "0123456789abcdef0123"),
        ("GITHUB_TOKEN", "ghp_verysecret"),
        ("AMAP_KEY", "amap-verysecret"),
        ("CI_TOKEN", "ci-verysecret-0123456789"),
        ("EMPTY", ""),
    ];
    let files = [
        ("/etc/gateway/alice.token", "alice-verysecret-0123456789\n"),
        ("/etc/gateway/dev.env", "# for work\nexport A=\"1 2\"\nB=verysecret # no\n\nC='x'\n"),
    ];
    FixedEnv {
        vars: vars.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        files: files.map(|(path, text)| (path.into(), text.to_owned())).into(),
        base: "/etc/gateway".into(),
    }
}

/// Each file's name and text.
pub(crate) fn files(of: &str) -> Vec<(PathBuf, String)> {
    let entries = fs::read_dir(folder(of)).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|it| it == "json"))
        .filter(|path| !path.to_string_lossy().contains(".understood."))
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "no files in {of}");
    paths.into_iter().map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

#[track_caller]
fn compare(path: &Path, came: &str) {
    if std::env::var_os("BLESS").is_some() {
        fs::write(path, came).unwrap();
    }
    let expected = fs::read_to_string(path).unwrap_or_default();
    assert_eq!(came, expected, "{} (BLESS=1 writes it anew)", path.display());
}

#[test]
fn good_files_are_understood() {
    for (path, text) in files("good") {
        let config = Config::parse(&text, &env())
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        compare(&path.with_extension("understood.txt"), &config.render_masked());
        compare(&path.with_extension("understood.json"), &format!("{}\n", config.render_json()));
    }
}

#[test]
fn bad_files_are_complained_about() {
    for (path, text) in files("bad") {
        let Err(error) = Config::parse(&text, &env()) else { panic!("{}", path.display()) };
        compare(&path.with_extension("error.txt"), &format!("{error}\n"));
    }
}
