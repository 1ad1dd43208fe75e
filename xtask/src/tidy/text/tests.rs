use std::path::Path;

use super::*;

fn complaints_of(path: &str, text: &str) -> usize {
    source(Path::new(path), text).len()
}

#[test]
fn the_head_and_length_of_a_source() {
    assert_eq!(complaints_of("a/src/lib.rs", "//! What it is.\n"), 0);
    assert_eq!(complaints_of("a/src/lib.rs", "use std;\n"), 1);
    assert_eq!(complaints_of("a/src/tests.rs", "use std;\n"), 0);
    assert_eq!(complaints_of("a/src/b/mod.rs", "//! What it is.\n"), 1);
    assert_eq!(complaints_of("fuzz/fuzz_targets/a.rs", "#![no_main]\n//! What it is.\n"), 0);
    let long = "//! What it is.\n".to_owned() + &"\n".repeat(LINE_COUNT_MAX);
    assert_eq!(complaints_of("a/src/lib.rs", &long), 1);
}

#[test]
fn what_is_left_behind() {
    for (words, _) in LEFT_BEHIND {
        let text = format!("//! What it is.\n{words}\n");
        assert_eq!(complaints_of("a/src/lib.rs", &text), 1, "{words}");
    }
}

#[test]
fn places_of_one_machine() {
    for place in MACHINE {
        assert_eq!(machine_paths(&format!("see {place}x")).len(), 1, "{place}");
        assert_eq!(machine_paths(&format!("\"{place}x\"")).len(), 1, "{place}");
        assert_eq!(machine_paths(&format!("./a{place}x, https://host.example{place}")).len(), 0);
    }
}

#[test]
fn a_lock_without_addresses() {
    assert_eq!(lock("{\"version\": \"1.0.0\"}").len(), 0);
    let resolved = concat!("\"resol", "ved\": \"https://regi", "stry.example/a.tgz\"");
    assert_eq!(lock(resolved).len(), 2);
}

#[test]
fn a_changelog_that_is_open() {
    assert_eq!(changelog("# Changes\n\n## [Unreleased]\n").len(), 0);
    assert_eq!(changelog("# Changes\n\n## [1.0.0]\n").len(), 1);
}

#[test]
fn links_that_lead_nowhere() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = "[a](src/main.rs#L1) [b](https://host.example/x) [c](#here)\n```\n[d](no)\n```\n[e](gone.md)";
    assert_eq!(links(dir, text), ["5: the link to gone.md leads nowhere"]);
}
