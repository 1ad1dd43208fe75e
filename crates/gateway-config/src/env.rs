//! What a configuration may ask of its surroundings: variables and files, and nothing else.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    env::VarError,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

/// The longest file that `${file:…}` or `envFile` reads, in bytes.
pub const VALUE_LEN_MAX: usize = 64 << 10;

/// The environment that references are looked up in.
///
/// A trait, so that tests and fuzzing touch neither the process's variables nor a disk.
pub trait Env {
    /// A variable's value.
    ///
    /// # Errors
    /// There is none of that name, or it is not Unicode.
    fn var(&self, name: &str) -> Result<String, VarError>;

    /// A file's text. Paths are absolute, or relative to [`Env::base`] already joined to it.
    ///
    /// # Errors
    /// It cannot be read, is not UTF-8, or is longer than [`VALUE_LEN_MAX`].
    fn read(&self, path: &Path) -> io::Result<String>;

    /// Whether there is a file (or folder) of this name.
    fn exists(&self, path: &Path) -> bool;

    /// The folder that relative paths start from: the configuration file's.
    fn base(&self) -> &Path;
}

/// The real one.
#[derive(Clone, Debug)]
pub struct SystemEnv {
    base: PathBuf,
}

/// The real one, which remembers what files it was asked for.
#[derive(Debug)]
pub(crate) struct NotingEnv {
    inner: SystemEnv,
    noted: RefCell<BTreeSet<PathBuf>>,
}

/// One of given variables and files, for tests.
#[derive(Clone, Debug, Default)]
pub struct FixedEnv {
    /// The variables.
    pub vars: BTreeMap<String, String>,
    /// The files, by full path.
    pub files: BTreeMap<PathBuf, String>,
    /// Where relative paths start from.
    pub base: PathBuf,
}

// === impl SystemEnv ===

impl SystemEnv {
    /// The process's variables; relative paths start from `base`.
    pub fn new(base: impl Into<PathBuf>) -> Self {
        Self { base: base.into() }
    }
}

impl Env for SystemEnv {
    fn var(&self, name: &str) -> Result<String, VarError> {
        std::env::var(name)
    }

    fn read(&self, path: &Path) -> io::Result<String> {
        let mut text = String::new();
        // One byte more than allowed, to know.
        let len = u64::try_from(VALUE_LEN_MAX).unwrap_or(u64::MAX).saturating_add(1);
        File::open(path)?.take(len).read_to_string(&mut text)?;
        if text.len() > VALUE_LEN_MAX {
            let what = format!("longer than {VALUE_LEN_MAX} bytes");
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, what));
        }
        Ok(text)
    }

    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }

    fn base(&self) -> &Path {
        &self.base
    }
}

// === impl NotingEnv ===

impl NotingEnv {
    pub(crate) fn new(inner: SystemEnv) -> Self {
        Self { inner, noted: RefCell::default() }
    }

    /// The files it was asked for.
    pub(crate) fn into_noted(self) -> BTreeSet<PathBuf> {
        self.noted.into_inner()
    }
}

impl Env for NotingEnv {
    fn var(&self, name: &str) -> Result<String, VarError> {
        self.inner.var(name)
    }

    fn read(&self, path: &Path) -> io::Result<String> {
        self.noted.borrow_mut().insert(path.to_owned());
        self.inner.read(path)
    }

    fn exists(&self, path: &Path) -> bool {
        self.inner.exists(path)
    }

    fn base(&self) -> &Path {
        self.inner.base()
    }
}

// === impl FixedEnv ===

impl Env for FixedEnv {
    fn var(&self, name: &str) -> Result<String, VarError> {
        self.vars.get(name).cloned().ok_or(VarError::NotPresent)
    }

    fn read(&self, path: &Path) -> io::Result<String> {
        self.files.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn exists(&self, path: &Path) -> bool {
        self.files.contains_key(path)
    }

    fn base(&self) -> &Path {
        &self.base
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_file_has_a_limit() {
        let folder = std::env::temp_dir().join(format!("gateway-config-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("value");
        let env = SystemEnv::new(&folder);
        std::fs::write(&path, "x".repeat(VALUE_LEN_MAX)).unwrap();
        assert_eq!(env.read(&path).unwrap().len(), VALUE_LEN_MAX);
        std::fs::write(&path, "x".repeat(VALUE_LEN_MAX + 1)).unwrap();
        assert_eq!(env.read(&path).unwrap_err().to_string(), "longer than 65536 bytes");
        assert!(env.exists(&path));
        std::fs::remove_dir_all(&folder).unwrap();
        assert!(!env.exists(&path));
    }
}
