//! The file of an audit log: only ever added to, and made anew where it was moved away.

use std::{
    fs::{self, Metadata},
    io::{self, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// Who owns it may read and write it; nobody else anything.
const MODE: u32 = 0o600;

/// The file that stands at a path.
#[derive(Debug)]
pub(super) struct File {
    path: PathBuf,
    file: fs::File,
    /// Where the system keeps it: another file at the same path is another.
    place: (u64, u64),
}

// === impl File ===

impl File {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        // A pipe that nobody reads is an error, and not something to wait for.
        let flags = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or_default();
        let mut options = fs::OpenOptions::new();
        options.append(true).create(true).mode(MODE).custom_flags(flags);
        let file = options.open(path)?;
        let place = place(&file.metadata()?);
        Ok(Self { path: path.to_owned(), file, place })
    }

    /// Writes what of these lines has not been written; `done` says how much has.
    ///
    /// # Errors
    /// Those of the file.  What is left is to be tried again.
    pub(super) fn write(&mut self, lines: &[u8], done: &mut usize) -> io::Result<()> {
        let stands = fs::metadata(&self.path).map(|it| place(&it));
        if stands.as_ref().ok() != Some(&self.place) {
            *self = Self::open(&self.path)?;
            // A line of which the old file has a part is written to the new one as a whole.
            let so_far = lines.get(..*done).unwrap_or_default();
            *done = so_far.iter().rposition(|it| *it == b'\n').map_or(0, |at| at + 1);
        }
        while let Some(rest) = lines.get(*done..).filter(|rest| !rest.is_empty()) {
            match self.file.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(len) => *done += len,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn place(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}
