//! What files hold, in short, so that a change is told from a mere touch.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    hash::{DefaultHasher, Hasher},
    io::{self, Read},
    path::{Path, PathBuf},
};

/// How much of a file is looked at: none that a configuration names is longer.
const FILE_LEN_MAX: u64 = 16 << 20;

/// What each of some files holds; none where it cannot be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Stamps(BTreeMap<PathBuf, Option<u64>>);

/// What a file holds, in a number.
pub(crate) fn stamp(path: &Path) -> Option<u64> {
    let read = || -> io::Result<u64> {
        let mut file = File::open(path)?.take(FILE_LEN_MAX);
        let mut hasher = DefaultHasher::new();
        let mut buffer = vec![0; 16 << 10];
        loop {
            let length = file.read(&mut buffer)?;
            match buffer.get(..length) {
                Some(read) if !read.is_empty() => hasher.write(read),
                _ => return Ok(hasher.finish()),
            }
        }
    };
    read().ok()
}

// === impl Stamps ===

impl Stamps {
    /// Those of these files, as they are now.
    pub(super) fn of(files: BTreeSet<PathBuf>) -> Self {
        Self(files.into_iter().map(|path| (path.clone(), stamp(&path))).collect())
    }

    /// Those of the same files, as they are now.
    pub(super) fn again(&self) -> Self {
        Self(self.0.keys().map(|path| (path.clone(), stamp(path))).collect())
    }

    /// Where `other` knows a file as well, what `other` says of it.
    pub(super) fn or(mut self, other: &Self) -> Self {
        for (path, stamp) in &mut self.0 {
            if let Some(other) = other.0.get(path) {
                *stamp = *other;
            }
        }
        self
    }

    /// With the files that only `other` knows.
    pub(super) fn and(mut self, other: &Self) -> Self {
        for (path, stamp) in &other.0 {
            self.0.entry(path.clone()).or_insert(*stamp);
        }
        self
    }

    /// Whether one of these files is other than `was` says.
    pub(super) fn differ(&self, was: &Self, files: &[&PathBuf]) -> bool {
        files.iter().any(|path| self.0.get(*path) != was.0.get(*path))
    }

    pub(super) fn files(&self) -> impl Iterator<Item = &Path> {
        self.0.keys().map(PathBuf::as_path)
    }
}
