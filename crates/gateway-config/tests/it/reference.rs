//! `docs/CONFIG.md` is what the tables say, and the tables are what the reader reads.

use std::{fs, path::Path};

use gateway_config::{Config, FixedEnv, reference};

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
        _ => match title.strip_prefix("gateway.") {
            Some(inner) => gateway(&format!("\"{inner}\": {{{member}}}")),
            None => {
                server(&format!("\"{}\": {{{member}}}", title.strip_prefix("mcpServers.NAME.")?))
            }
        },
    })
}
