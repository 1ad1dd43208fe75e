//! What can be wrong with the state directory and what is in it.

use std::{io, path::PathBuf, sync::Arc};

/// Why a record was not read or kept.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// It is longer than a record may be.
    #[error("a record of {len} bytes is longer than {max}")]
    TooLong {
        /// How long it is.
        len: usize,
        /// How long it may be.
        max: usize,
    },
    /// The file cannot be used, now at least.
    #[error("{0}")]
    Unavailable(Arc<str>),
    /// The disk takes too long; the write may yet happen.
    #[error("the disk did not confirm a write within {0} s")]
    Slow(u64),
}

/// Why the state directory cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// Something in it cannot be read or written.
    #[error("{path}: cannot be {what}: {error}", path = path.display())]
    Io {
        /// What it is.
        path: PathBuf,
        /// What was to be done to it.
        what: &'static str,
        /// Why not.
        #[source]
        error: io::Error,
    },
    /// Others may read the keys.
    #[error(
        "{path} can be read by others (mode {mode:04o}), and whoever reads it can take sessions \
         over: run `chmod 600 {path}`, and `gateway key rotate --revoke` if somebody may have",
        path = path.display()
    )]
    Readable {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// Others may write into the directory.
    #[error(
        "{path} can be written by others (mode {mode:04o}): run `chmod 700 {path}`",
        path = path.display()
    )]
    Writable {
        /// The directory.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// It is no file of keys.
    #[error("{path} is not a file of keys: {what}; remove it to begin with a new key", path = path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// Another process holds the lock.
    #[error("{path} is being changed by another process", path = path.display())]
    Busy {
        /// The file that is locked.
        path: PathBuf,
    },
    /// No key can be made.
    #[error("no key can be made: {0}")]
    Key(#[from] seal::SealError),
}

impl StateError {
    pub(crate) fn io(path: impl Into<PathBuf>, what: &'static str, error: io::Error) -> Self {
        Self::Io { path: path.into(), what, error }
    }
}
