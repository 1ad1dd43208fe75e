//! What no other tool looks at: arrows between crates, lengths, heads, locks, links, leftovers.

mod manifest;
mod text;

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::run::{Outcome, Task};

/// Checks the whole tree and prints every complaint.
pub(crate) fn check(root: &Path) -> Outcome {
    let mut complaints = Vec::new();
    for path in files(root) {
        let Ok(text) = fs::read_to_string(root.join(&path)) else { continue };
        let found = file(root, &path, &text);
        complaints.extend(found.into_iter().map(|it| format!("{}: {it}", path.display())));
    }
    println!("$ tidy: {} complaints", complaints.len());
    for complaint in &complaints {
        println!("{complaint}");
    }
    match complaints.len() {
        0 => Outcome::Done,
        n => Outcome::Failed(format!("{n} complaints of tidy")),
    }
}

fn file(root: &Path, path: &Path, body: &str) -> Vec<String> {
    let mut found = text::machine_paths(body);
    let name = path.file_name().and_then(|it| it.to_str()).unwrap_or_default();
    match (name, path.extension().and_then(|it| it.to_str())) {
        ("Cargo.toml", _) => found.extend(manifest::complaints(body)),
        ("package-lock.json", _) => found.extend(text::lock(body)),
        ("CHANGELOG.md", _) => found.extend(text::changelog(body)),
        (_, Some("rs")) => found.extend(text::source(path, body)),
        _ => {}
    }
    if path.extension().is_some_and(|it| it == "md") {
        let dir = root.join(path.parent().unwrap_or_else(|| Path::new("")));
        found.extend(text::links(&dir, body));
    }
    found
}

/// Every file that is, or would be, in the repository.
fn files(root: &Path) -> Vec<PathBuf> {
    let words = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    match Task::new(root, "git").args(&words).output() {
        Ok(list) => list.split('\0').filter(|it| !it.is_empty()).map(PathBuf::from).collect(),
        // A tarball has no index, and nothing in it that is not meant to be.
        Err(_) => walk(root, Path::new("")),
    }
}

fn walk(root: &Path, dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root.join(dir)).into_iter().flatten().flatten() {
        let path = dir.join(entry.file_name());
        if ["target", ".git", "node_modules"].iter().any(|it| path.ends_with(it)) {
            continue;
        }
        if root.join(&path).is_dir() {
            found.extend(walk(root, &path));
        } else {
            found.push(path);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The root of the tree, and the files in it as the walk finds them.
    #[test]
    fn both_ways_find_this_file() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let this = Path::new("xtask/src/tidy.rs");
        assert!(files(root).iter().any(|it| it == this));
        assert!(walk(root, Path::new("")).iter().any(|it| it == this));
    }
}
