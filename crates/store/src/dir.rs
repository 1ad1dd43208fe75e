//! The directory that state is kept in: ours alone.

use std::{
    fs,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
};

use crate::StateError;

/// Others may write.
const WRITABLE: u32 = 0o022;

/// A directory that nobody else can write into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateDir(PathBuf);

// === impl StateDir ===

impl StateDir {
    /// Uses a directory, and makes it (mode 0700) where it is not there.
    ///
    /// # Errors
    /// It cannot be made, is no directory, or others may write into it.
    pub fn open(path: &Path) -> Result<Self, StateError> {
        let mut making = fs::DirBuilder::new();
        let made = making.recursive(true).mode(0o700).create(path);
        made.map_err(|error| StateError::io(path, "created", error))?;
        let about = fs::metadata(path).map_err(|error| StateError::io(path, "read", error))?;
        let mode = about.permissions().mode() & 0o7777;
        if mode & WRITABLE != 0 {
            return Err(StateError::Writable { path: path.to_owned(), mode });
        }
        Ok(Self(path.to_owned()))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_made_for_nobody_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b");
        assert_eq!(StateDir::open(&path).unwrap().path(), path);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o700);
        StateDir::open(&path).unwrap();
    }

    #[test]
    fn others_may_not_write() {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        StateDir::open(dir.path()).unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o770)).unwrap();
        let error = StateDir::open(dir.path()).unwrap_err().to_string();
        assert!(error.contains("(mode 0770): run `chmod 700 "), "{error}");
    }

    #[test]
    fn a_file_is_no_directory() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = StateDir::open(file.path()).unwrap_err().to_string();
        assert!(error.contains("cannot be created"), "{error}");
    }
}
