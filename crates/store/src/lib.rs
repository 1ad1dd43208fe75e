//! What outlives the process: the state directory, the keys in it, and small records.
//!
//! * [`StateDir`]: where it is, and that it is nobody else's.
//! * [`KeyFile`]: the keys that session ids are sealed with, their rotation.
//! * [`Store`]: records of a few bytes that expire, in [`Memory`] or in a [`Disk`] file.
//!
//! A record is written when something happens that a restart must not forget, never for a request
//! as such.  What `save` has confirmed survives `kill -9` and a power cut.

mod dir;
mod disk;
mod error;
mod keys;
mod memory;

use std::fmt;

use bytes::Bytes;
use futures::future::BoxFuture;

pub use dir::StateDir;
pub use disk::{Disk, DiskMax};
pub use error::{StateError, StoreError};
pub use keys::{KeyFile, Rotation};
pub use memory::Memory;

/// What a record is found by: random, and unique among all that use the store.
pub type RecordKey = [u8; 16];

/// Resolves once a write is as durable as the store makes it, or is known to have failed.
///
/// The write is under way before this is first polled, and goes on where it is dropped.
pub type Saving = BoxFuture<'static, Result<(), StoreError>>;

/// Keeps small records until they expire.
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// The record under a key, unless it has expired.  Takes microseconds; asks no network.
    ///
    /// # Errors
    /// It cannot be read.
    fn load(&self, key: &RecordKey) -> Result<Option<Bytes>, StoreError>;

    /// Keeps a record in the place of what was under its key, until `expires` (seconds since
    /// 1970).  Writes under one key happen in the order they were asked for.
    ///
    /// A write that fails is kept in memory all the same: it is lost with the process.
    fn save(&self, key: RecordKey, record: Bytes, expires: u64) -> Saving;

    /// Forgets a record.
    fn remove(&self, key: RecordKey) -> Saving;
}
