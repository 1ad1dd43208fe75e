//! The file of keys: made once, read by whoever shares the directory, rotated.

use std::{
    fs::{self, File, OpenOptions},
    io::{ErrorKind, Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    thread,
    time::Duration,
};

use seal::{Clock, Key, KeyId, Keyring};
use serde::{Deserialize, Serialize};

use crate::{StateDir, StateError};

const FILE: &str = "session-keys.json";
const LOCK: &str = "session-keys.lock";
/// What the layout of the file is called.
const VERSION: u32 = 1;
/// A longer file is none of ours.
const FILE_LEN_MAX: u64 = 1 << 20;
/// How many keys are kept; the oldest go.
const KEYS_MAX: usize = 256;
/// How long another process may take to change the file.
const LOCK_TRIES_MAX: u32 = 40;
const LOCK_PAUSE: Duration = Duration::from_millis(50);
/// From when on a new key seals, where there are others: by then all who share the directory
/// have read the file again.
const NOTICE: Duration = Duration::from_secs(120);

/// The file of keys in a state directory.
#[derive(Debug)]
pub struct KeyFile {
    path: PathBuf,
    lock: PathBuf,
    clock: Clock,
    /// Between two attempts to lock it.
    lock_pause: Duration,
    /// What the file looked like when it was last read.
    seen: Mutex<Option<Look>>,
}

/// When keys are made, and how long they open.
#[derive(Clone, Copy, Debug)]
pub struct Rotation {
    /// How long a key seals.
    pub every: Duration,
    /// How long what is sealed may have to open.
    pub keep: Duration,
}

/// Enough to tell that a file was replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Look {
    inode: u64,
    len: u64,
    changed: (i64, i64),
}

#[derive(Deserialize, Serialize)]
struct Written {
    version: u32,
    keys: Vec<WrittenKey>,
}

#[derive(Deserialize, Serialize)]
struct WrittenKey {
    id: String,
    from: u64,
    secret: String,
}

// === impl KeyFile ===

impl KeyFile {
    /// The file of keys in this directory.  Nothing is read yet.
    pub fn new(dir: &StateDir, clock: Clock) -> Self {
        let (path, lock) = (dir.path().join(FILE), dir.path().join(LOCK));
        Self { path, lock, clock, lock_pause: LOCK_PAUSE, seen: Mutex::default() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The keys; a first one is made where there is none.
    ///
    /// # Errors
    /// The file cannot be read or made, others may read it, or it is none of ours.
    pub fn load(&self) -> Result<Vec<Key>, StateError> {
        if let Some(keys) = self.read()? {
            return Ok(keys);
        }
        let _lock = self.lock()?;
        // Another process may have been quicker.
        if let Some(keys) = self.read()? {
            return Ok(keys);
        }
        let keys = vec![Key::new(self.clock.now())?];
        self.write(&keys)?;
        Ok(keys)
    }

    /// Makes a new key and forgets those that nothing needs any more; with `revoke`, all others,
    /// so that nothing they sealed opens again.
    ///
    /// # Errors
    /// As [`load`](Self::load), and if the file is locked for long.
    pub fn rotate(&self, keep: Duration, revoke: bool) -> Result<Vec<Key>, StateError> {
        let _lock = self.lock()?;
        let mut keys = match revoke {
            true => Vec::new(),
            false => self.read()?.unwrap_or_default(),
        };
        self.add(&mut keys, keep)?;
        Ok(keys)
    }

    /// Brings a keyring up to date with the file, and the file with the time: to be called every
    /// minute, by every process that shares the directory.
    ///
    /// # Errors
    /// As [`load`](Self::load); the keyring stays as it is.
    pub fn keep_up(&self, keyring: &Keyring, rotation: Rotation) -> Result<(), StateError> {
        let is_due = |keys: &[Key]| {
            let newest = keys.iter().map(Key::from).max().unwrap_or_default();
            newest.saturating_add(rotation.every.as_secs()) <= self.clock.now()
        };
        if self.look() != *self.seen.lock().unwrap_or_else(PoisonError::into_inner) {
            keyring.replace(self.load()?)?;
        }
        if is_due(&keyring.keys()) {
            let _lock = self.lock()?;
            let mut keys = self.read()?.unwrap_or_default();
            if is_due(&keys) {
                self.add(&mut keys, rotation.keep)?;
            }
            keyring.replace(keys)?;
        }
        Ok(())
    }

    /// Adds a key, drops those that nothing needs, and writes the file.  Under the lock.
    fn add(&self, keys: &mut Vec<Key>, keep: Duration) -> Result<(), StateError> {
        let now = self.clock.now();
        let notice = if keys.is_empty() { 0 } else { NOTICE.as_secs() };
        keys.push(Key::new(now + notice)?);
        keys.sort_by_key(Key::from);
        // The newest first.  A key is needed until all it sealed before the next one is too old.
        keys.reverse();
        let mut next: Option<u64> = None;
        keys.retain(|key| {
            let needed = next.is_none_or(|next| now < next.saturating_add(keep.as_secs()));
            next = Some(key.from());
            needed
        });
        keys.truncate(KEYS_MAX);
        self.write(keys)
    }

    fn read(&self) -> Result<Option<Vec<Key>>, StateError> {
        let cannot = |error| StateError::io(&self.path, "read", error);
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(cannot(error)),
        };
        let about = file.metadata().map_err(cannot)?;
        let mode = about.mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(StateError::Readable { path: self.path.clone(), mode });
        }
        let mut text = String::new();
        file.take(FILE_LEN_MAX).read_to_string(&mut text).map_err(cannot)?;
        let keys =
            parse(&text).map_err(|what| StateError::Malformed { path: self.path.clone(), what })?;
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(Look::at(&about));
        Ok(Some(keys))
    }

    /// Writes beside and renames: nobody ever reads half of it.
    fn write(&self, keys: &[Key]) -> Result<(), StateError> {
        let cannot = |error| StateError::io(&self.path, "written", error);
        let beside = self.path.with_extension("new");
        match fs::remove_file(&beside) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(cannot(error)),
            _ => (),
        }
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside);
        let mut file = file.map_err(cannot)?;
        file.write_all(render(keys).as_bytes()).and_then(|()| file.sync_all()).map_err(cannot)?;
        fs::rename(&beside, &self.path).map_err(cannot)?;
        if let Some(dir) = self.path.parent() {
            File::open(dir).and_then(|dir| dir.sync_all()).map_err(cannot)?;
        }
        let look = file.metadata().map(|about| Look::at(&about)).map_err(cannot)?;
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(look);
        Ok(())
    }

    fn look(&self) -> Option<Look> {
        fs::metadata(&self.path).ok().map(|about| Look::at(&about))
    }

    /// Keeps other processes from changing the file until it is dropped.
    #[expect(
        clippy::disallowed_methods,
        reason = "a start or a turn of the keys, on no runtime's thread for long"
    )]
    fn lock(&self) -> Result<File, StateError> {
        let cannot = |error| StateError::io(&self.lock, "written", error);
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(&self.lock);
        let file = file.map_err(cannot)?;
        for _ in 0..LOCK_TRIES_MAX {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(fs::TryLockError::WouldBlock) => thread::sleep(self.lock_pause),
                Err(fs::TryLockError::Error(error)) => return Err(cannot(error)),
            }
        }
        Err(StateError::Busy { path: self.path.clone() })
    }
}

impl Look {
    fn at(about: &fs::Metadata) -> Self {
        // Not when it was renamed: that is another change of the same file.
        let changed = (about.mtime(), about.mtime_nsec());
        Self { inode: about.ino(), len: about.len(), changed }
    }
}

fn parse(text: &str) -> Result<Vec<Key>, String> {
    let written: Written = serde_json::from_str(text).map_err(|error| error.to_string())?;
    if written.version != VERSION {
        return Err(format!("its version is {}, and {VERSION} is known", written.version));
    }
    if written.keys.is_empty() {
        return Err("it holds no key".to_owned());
    }
    let keys = written.keys.iter().map(|key| {
        let id = unhex(&key.id).ok_or("an id is not 8 hex digits")?;
        let secret = unhex(&key.secret).ok_or("a secret is not 64 hex digits")?;
        Key::from_parts(KeyId(id), key.from, secret).map_err(|error| error.to_string())
    });
    keys.collect()
}

fn render(keys: &[Key]) -> String {
    let keys = keys.iter().map(|key| WrittenKey {
        id: key.id().to_string(),
        from: key.from(),
        secret: key.secret().iter().map(|byte| format!("{byte:02x}")).collect(),
    });
    let written = Written { version: VERSION, keys: keys.collect() };
    serde_json::to_string_pretty(&written).unwrap_or_default() + "\n"
}

fn unhex<const LEN: usize>(text: &str) -> Option<[u8; LEN]> {
    let digits: Vec<u8> = text
        .chars()
        .map(|digit| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect::<Option<_>>()?;
    let (pairs, rest) = digits.as_chunks::<2>();
    let bytes: Vec<u8> = pairs.iter().map(|[high, low]| high << 4 | low).collect();
    rest.is_empty().then(|| bytes.try_into().ok())?
}

#[cfg(test)]
mod tests;
