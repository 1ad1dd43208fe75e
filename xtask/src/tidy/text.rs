//! What a file must say, and what it must not.

use std::path::Path;

/// A file longer than this has more than one subject.
const LINE_COUNT_MAX: usize = 500;

/// What is not left behind in a source file, written so that this one is not found.
const LEFT_BEHIND: &[(&str, &str)] = &[
    (concat!("#[", "ignore"), "a test that does not run protects nothing"),
    (concat!("#[should", "_panic"), "say which error is expected, and match on it"),
    (concat!("to", "do!("), "finish it"),
    (concat!("unimple", "mented!("), "finish it"),
];

/// Places of one machine.
const MACHINE: &[&str] = &[concat!("/ro", "ot/"), concat!("/wo", "rk/")];

pub(super) fn source(path: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    if path.file_name().is_some_and(|name| name == "mod.rs") {
        found.push("name the file after its module, not mod.rs".to_owned());
    }
    if LINE_COUNT_MAX < text.lines().count() {
        found.push(format!("more than {LINE_COUNT_MAX} lines"));
    }
    if !path.ends_with("tests.rs") && !text.starts_with("//! ") && !fuzz_target(text) {
        found.push("the first line says what the file is for".to_owned());
    }
    for (words, why) in LEFT_BEHIND {
        found.extend(lines_with(text, words).map(|line| format!("{line}: `{words}`: {why}")));
    }
    found
}

/// A fuzz target may start with the attribute that takes its `main` away.
fn fuzz_target(text: &str) -> bool {
    text.starts_with("#![no_main]\n//! ")
}

pub(super) fn machine_paths(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, line) in text.lines().enumerate() {
        for place in MACHINE {
            let starts = line.match_indices(place).map(|it| it.0);
            // In the middle of a path it is nobody's root.
            let mut bare = starts.filter(|it| {
                let before = line.get(..*it).and_then(|it| it.chars().next_back());
                before.is_none_or(|it| !it.is_alphanumeric() && !"./}-_".contains(it))
            });
            if bare.next().is_some() {
                found.push(format!("{}: {place} is a place of one machine", at + 1));
            }
        }
    }
    found
}

/// A lock of npm: exact versions and their sums, but no place to fetch them from.
pub(super) fn lock(text: &str) -> Vec<String> {
    let words = [concat!("\"resol", "ved\""), concat!("://regi", "stry.")];
    let mut found = Vec::new();
    for word in words {
        let lines = lines_with(text, word);
        found.extend(lines.map(|line| format!("{line}: {word} ties the lock to one registry")));
    }
    found
}

pub(super) fn changelog(text: &str) -> Vec<String> {
    let heads = ["## [Unreleased]", "## Unreleased"];
    if text.lines().any(|line| heads.iter().any(|it| line.starts_with(it))) {
        return Vec::new();
    }
    vec!["has no section `## [Unreleased]`".to_owned()]
}

/// Relative links that lead nowhere.
pub(super) fn links(dir: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut code = false;
    for (at, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            code = !code;
        }
        let after = line.split("](").skip(1).filter(|_| !code);
        for target in after.filter_map(|it| it.split([')', '#', ' ']).next()) {
            let elsewhere = target.contains("://") || target.starts_with("mailto:");
            if !target.is_empty() && !elsewhere && !dir.join(target).exists() {
                found.push(format!("{}: the link to {target} leads nowhere", at + 1));
            }
        }
    }
    found
}

fn lines_with(text: &str, words: &str) -> impl Iterator<Item = usize> {
    text.lines().enumerate().filter(move |(_, line)| line.contains(words)).map(|(at, _)| at + 1)
}

#[cfg(test)]
mod tests;
