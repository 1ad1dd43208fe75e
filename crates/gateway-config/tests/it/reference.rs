//! `docs/CONFIG.md` is what the tables say, and the tables are what the reader reads.

use std::{fs, path::Path};

use gateway_config::{Config, FixedEnv, Limits, PROBLEM_COUNT_MAX, Restart, Timeouts, reference};

#[test]
fn the_document_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/CONFIG.md");
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, reference()).unwrap();
    }
    let Ok(document) = fs::read_to_string(&path) else { return };
    assert_eq!(document, reference(), "{} (BLESS=1 writes it anew)", path.display());
}

/// Every key of the reference, given `null`, is known; and one that is not in it is not.
#[test]
fn every_key_is_read() {
    let mut title = String::new();
    let mut count = 0;
    for line in reference().lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            title = heading.trim_matches('`').to_owned();
        }
        let Some(key) = line.strip_prefix("| `").and_then(|rest| rest.split('`').next()) else {
            continue;
        };
        for (key, known) in [(key, true), ("noSuchKey", false)] {
            let text = place(&title, key);
            let text = text.unwrap_or_else(|| panic!("no place for {title}"));
            let error =
                Config::parse(&text, &FixedEnv::default()).err().map(|error| error.to_string());
            let unknown = error.unwrap_or_default().contains("unknown key");
            assert_eq!(unknown, !known, "{title} {key}");
        }
        count += 1;
    }
    assert!(count > 85, "only {count} keys found");
}

/// Key and default of each row of a table.
fn rows(title: &str) -> Vec<(String, String)> {
    let reference = reference();
    let table = reference.split(&format!("## `{title}`\n")).nth(1).unwrap();
    let table = table.split("\n## ").next().unwrap();
    let cell = |text: &str| text.trim().trim_matches('`').to_owned();
    let lines = table.lines().filter(|line| line.starts_with("| `"));
    lines
        .map(|line| line.split('|').collect::<Vec<_>>())
        .map(|row| (cell(row[1]), cell(row[3])))
        .collect()
}

/// The bounds and waits that come of a file which has these members in one of three objects.
fn settings(title: &str, members: &str) -> (Limits, Timeouts, Restart) {
    let object = format!("{{{members}}}");
    let (gateway, server) = match title.strip_prefix("gateway.") {
        Some(key) => (format!("\"{key}\": {object}"), String::new()),
        None => (String::new(), format!(", \"restart\": {object}")),
    };
    let text = format!(
        "{{\"gateway\": {{{gateway}}}, \"mcpServers\": {{\"a\": {{\"type\": \"demo\"{server}}}}}}}"
    );
    let config = Config::parse(&text, &FixedEnv::default()).unwrap();
    (config.limits, config.timeouts, config.servers["a"].restart.clone())
}

/// Each bound and wait: its default is what the reference says, and its key changes it.
#[test]
fn every_setting_has_its_default_and_can_be_changed() {
    let default = (Limits::default(), Timeouts::default(), Restart::default());
    for title in ["gateway.limits", "gateway.timeouts", "mcpServers.NAME.restart"] {
        let rows = rows(title);
        assert!(rows.len() >= 4, "{title}");
        let member = |(key, value): &(String, String)| match value.parse::<usize>() {
            Ok(count) => format!("\"{key}\": {count}"),
            Err(_) => format!("\"{key}\": \"{value}\""),
        };
        let all: Vec<String> = rows.iter().map(member).collect();
        assert_eq!(settings(title, &all.join(", ")), default, "{title}");
        for (key, value) in rows {
            let other = match value.parse::<usize>() {
                Ok(_) => "7".to_owned(),
                Err(_) if value.ends_with('B') => "\"7KiB\"".to_owned(),
                Err(_) => "\"7s\"".to_owned(),
            };
            assert_ne!(settings(title, &format!("\"{key}\": {other}")), default, "{title} {key}");
        }
    }
}

/// A file of nothing but mistakes: so many are listed, the rest is counted.
#[test]
fn complaints_have_a_limit() {
    let bad: Vec<String> = (0..60).map(|at| format!("\"x{at:02}\": {{}}")).collect();
    let text = format!("{{\"mcpServers\": {{{}}}}}", bad.join(", "));
    let error = Config::parse(&text, &FixedEnv::default()).unwrap_err();
    assert_eq!(error.problems().len(), PROBLEM_COUNT_MAX + 1);
    assert!(error.to_string().ends_with("\nand 10 more"));
}

/// A file with this key, and nothing else of note.
fn place(title: &str, key: &str) -> Option<String> {
    let member = format!("\"{key}\": null");
    let gateway = |inside: &str| format!("{{\"gateway\": {{{inside}}}, \"mcpServers\": {{}}}}");
    let server = |inside: &str| {
        format!(
            "{{\"gateway\": {{}}, \"mcpServers\": {{\"a\": {{\"type\": \"demo\", {inside}}}}}}}"
        )
    };
    Some(match title {
        "The file" => format!("{{\"gateway\": {{}}, {member}}}")
            .replace("{\"gateway\": {}, \"gateway\"", "{\"gateway\""),
        "gateway" => gateway(&member),
        "gateway.tokens.NAME" => gateway(&format!("\"tokens\": {{\"a\": {{{member}}}}}")),
        "mcpServers.NAME" if key == "type" => {
            "{\"gateway\": {}, \"mcpServers\": {\"a\": {\"type\": null}}}".to_owned()
        }
        "mcpServers.NAME" => server(&member),
        "groups.NAME" => format!(
            "{{\"gateway\": {{}}, \"mcpServers\": {{}}, \"groups\": {{\"a\": {{{member}}}}}}}"
        ),
        "groups.NAME.servers.NAME" => format!(
            "{{\"gateway\": {{}}, \"mcpServers\": {{\"a\": {{\"type\": \"demo\"}}}}, \
             \"groups\": {{\"a\": {{\"servers\": {{\"a\": {{{member}}}}}}}}}}}"
        ),
        "mcpServers.NAME.tools.override.NAME" => {
            server(&format!("\"tools\": {{\"override\": {{\"a\": {{{member}}}}}}}"))
        }
        "mcpServers.NAME.tools.override.NAME.arguments.NAME" => server(&format!(
            "\"tools\": {{\"override\": {{\"a\": {{\"arguments\": {{\"b\": {{{member}}}}}}}}}}}"
        )),
        _ => match title.strip_prefix("gateway.") {
            Some(inner) => gateway(&format!("\"{inner}\": {{{member}}}")),
            None => {
                server(&format!("\"{}\": {{{member}}}", title.strip_prefix("mcpServers.NAME.")?))
            }
        },
    })
}
