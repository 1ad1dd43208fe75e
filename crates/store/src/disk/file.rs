//! The file itself: what is in it, and one transaction of it.

use std::{
    fs::OpenOptions,
    io,
    os::unix::fs::OpenOptionsExt,
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use redb::{
    Database, DatabaseError, ReadableDatabase, ReadableTable, StorageError, Table, TableDefinition,
    TableError, backends::FileBackend,
};

use crate::{RecordKey, memory::Entry};

/// A record's expiry and its bytes, by its key.
const RECORDS: TableDefinition<'_, &RecordKey, (u64, &[u8])> = TableDefinition::new("records");
/// The keys by expiry.
const EXPIRY: TableDefinition<'_, (u64, &RecordKey), ()> = TableDefinition::new("expiry");
/// Of what is cached: records are few, and each is read once.
const CACHE_BYTES_MAX: usize = 1 << 20;
/// What a record costs in the file beside its bytes, about.
const RECORD_COST: usize = 64;
/// How many expired records one transaction clears away.
const EXPIRED_LEN_MAX: usize = 1024;

/// The file, open.
#[derive(Debug)]
pub(super) struct File {
    db: Database,
    bytes: AtomicUsize,
    bytes_max: usize,
}

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum FileError {
    #[error("another process uses it: give each gateway a state directory of its own")]
    Locked,
    #[error("{0}")]
    Damaged(redb::Error),
    #[error("{0}")]
    Io(io::Error),
    #[error("{0}")]
    Other(redb::Error),
}

type Records<'t> = Table<'t, &'static RecordKey, (u64, &'static [u8])>;
type Expiry<'t> = Table<'t, (u64, &'static RecordKey), ()>;

// === impl File ===

impl File {
    pub(super) fn open(path: &Path, bytes_max: usize) -> Result<Self, FileError> {
        let mut opening = OpenOptions::new();
        let opening = opening.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = opening.open(path).map_err(FileError::Io)?;
        let file = FileBackend::new(file).map_err(FileError::opening)?;
        // A file that somebody else changed is to be found out here, not in the middle of work.
        let mut builder = Database::builder();
        builder.set_cache_size(CACHE_BYTES_MAX).set_check_integrity_on_open(true);
        let db = builder.create_with_backend(file).map_err(FileError::opening)?;
        let opened = Self { db, bytes: AtomicUsize::new(0), bytes_max };
        opened.count().map_err(FileError::of)?;
        Ok(opened)
    }

    /// The record under a key, unless it has expired.
    pub(super) fn load(&self, key: &RecordKey, now: u64) -> Result<Option<Bytes>, FileError> {
        self.read(key, now).map_err(FileError::of)
    }

    /// Writes all of it or nothing, and returns when the disk has it.
    pub(super) fn write(&self, entries: &[Entry], now: u64) -> Result<(), FileError> {
        let before = self.bytes.load(Ordering::Relaxed);
        let bytes = self.commit(entries, now, before).map_err(FileError::of)?;
        self.bytes.store(bytes, Ordering::Relaxed);
        Ok(())
    }

    fn count(&self) -> Result<(), redb::Error> {
        let read = self.db.begin_read()?;
        let records = match read.open_table(RECORDS) {
            Err(TableError::TableDoesNotExist(_)) => return Ok(()),
            records => records?,
        };
        let mut bytes = 0;
        for record in records.iter()? {
            bytes += RECORD_COST + record?.1.value().1.len();
        }
        self.bytes.store(bytes, Ordering::Relaxed);
        Ok(())
    }

    fn read(&self, key: &RecordKey, now: u64) -> Result<Option<Bytes>, redb::Error> {
        let read = self.db.begin_read()?;
        let records = match read.open_table(RECORDS) {
            Err(TableError::TableDoesNotExist(_)) => return Ok(None),
            records => records?,
        };
        let Some(found) = records.get(key)? else { return Ok(None) };
        let (expires, record) = found.value();
        Ok((now < expires).then(|| Bytes::copy_from_slice(record)))
    }

    /// Returns how much there is then.
    fn commit(&self, entries: &[Entry], now: u64, mut bytes: usize) -> Result<usize, redb::Error> {
        let write = self.db.begin_write()?;
        {
            let mut records = write.open_table(RECORDS)?;
            let mut expiry = write.open_table(EXPIRY)?;
            for (key, expires, record) in entries {
                bytes = bytes.saturating_sub(take(&mut records, &mut expiry, key)?);
                if let Some(record) = record {
                    records.insert(key, (*expires, &**record))?;
                    expiry.insert((*expires, key), ())?;
                    bytes += RECORD_COST + record.len();
                }
            }
            let mut expired = 0;
            while let Some((expires, key)) = first(&expiry)?
                && (self.bytes_max < bytes || (expires <= now && expired < EXPIRED_LEN_MAX))
            {
                bytes = bytes.saturating_sub(take(&mut records, &mut expiry, &key)?);
                expired += 1;
            }
        }
        write.commit()?;
        Ok(bytes)
    }
}

/// Which record expires first.
fn first(expiry: &Expiry<'_>) -> Result<Option<(u64, RecordKey)>, StorageError> {
    Ok(expiry.first()?.map(|(first, _)| {
        let (expires, key) = first.value();
        (expires, *key)
    }))
}

/// Takes a record out; how much there is less.
fn take(
    records: &mut Records<'_>,
    expiry: &mut Expiry<'_>,
    key: &RecordKey,
) -> Result<usize, StorageError> {
    let Some((expires, len)) = records.remove(key)?.map(|it| (it.value().0, it.value().1.len()))
    else {
        return Ok(0);
    };
    expiry.remove((expires, key))?;
    Ok(RECORD_COST + len)
}

impl FileError {
    fn opening(error: DatabaseError) -> Self {
        match error {
            DatabaseError::DatabaseAlreadyOpen => Self::Locked,
            error => Self::of(error.into()),
        }
    }

    fn of(error: redb::Error) -> Self {
        match error {
            redb::Error::Io(error) if error.kind() == io::ErrorKind::InvalidData => {
                Self::Damaged(redb::Error::Io(error))
            }
            error @ (redb::Error::Corrupted(_)
            | redb::Error::TableTypeMismatch { .. }
            | redb::Error::UpgradeRequired(_)) => Self::Damaged(error),
            error => Self::Other(error),
        }
    }
}
