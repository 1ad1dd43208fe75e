//! Records in memory: gone with the process.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use futures::{FutureExt, future};
use seal::Clock;

use crate::{RecordKey, Saving, Store, StoreError};

/// What a record costs in memory beside its bytes, at most: its places in two tables, which may
/// be half empty.
pub(crate) const RECORD_COST: usize = 192;

/// Records in memory.  When there are too many, those that would expire first go first.
#[derive(Debug)]
pub struct Memory {
    records: Mutex<Records>,
    clock: Clock,
    bytes_max: usize,
}

#[derive(Debug, Default)]
struct Records {
    /// None: whatever is below is forgotten.
    by_key: HashMap<RecordKey, (u64, Option<Bytes>)>,
    by_expiry: BTreeSet<(u64, RecordKey)>,
    bytes: usize,
}

/// A record, or that there is none, and until when.
pub(crate) type Entry = (RecordKey, u64, Option<Bytes>);

// === impl Memory ===

impl Memory {
    /// At most so many bytes of records, counting 192 for each beside its own.
    pub fn new(clock: Clock, bytes_max: usize) -> Self {
        Self { records: Mutex::default(), clock, bytes_max }
    }

    pub(crate) fn put(&self, (key, expires, record): Entry) {
        let now = self.clock.now();
        let mut records = self.records();
        records.take(&key);
        records.bytes += cost(record.as_ref());
        records.by_expiry.insert((expires, key));
        records.by_key.insert(key, (expires, record));
        while let Some(&(expires, key)) = records.by_expiry.first()
            && (expires <= now || self.bytes_max < records.bytes)
        {
            records.take(&key);
        }
    }

    /// None: nothing is known.  Some(None): it is known that there is nothing.
    pub(crate) fn get(&self, key: &RecordKey) -> Option<Option<Bytes>> {
        let now = self.clock.now();
        let (expires, record) = self.records().by_key.get(key).cloned()?;
        (now < expires).then_some(record)
    }

    /// Everything.
    pub(crate) fn all(&self) -> Vec<Entry> {
        let records = self.records();
        let all = records.by_key.iter();
        all.map(|(key, (expires, record))| (*key, *expires, record.clone())).collect()
    }

    pub(crate) fn clear(&self) {
        *self.records() = Records::default();
    }

    fn records(&self) -> MutexGuard<'_, Records> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Records {
    fn take(&mut self, key: &RecordKey) {
        if let Some((expires, record)) = self.by_key.remove(key) {
            self.by_expiry.remove(&(expires, *key));
            self.bytes -= cost(record.as_ref());
        }
    }
}

impl Store for Memory {
    fn load(&self, key: &RecordKey) -> Result<Option<Bytes>, StoreError> {
        Ok(self.get(key).flatten())
    }

    fn save(&self, key: RecordKey, record: Bytes, expires: u64) -> Saving {
        self.put((key, expires, Some(record)));
        future::ready(Ok(())).boxed()
    }

    fn remove(&self, key: RecordKey) -> Saving {
        self.records().take(&key);
        future::ready(Ok(())).boxed()
    }
}

pub(crate) fn cost(record: Option<&Bytes>) -> usize {
    RECORD_COST + record.map_or(0, Bytes::len)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn key(number: u8) -> RecordKey {
        [number; 16]
    }

    #[tokio::test]
    async fn a_record_is_kept_until_it_expires() {
        let clock = Clock::still(100);
        let memory = Memory::new(clock.clone(), 1 << 20);
        memory.save(key(1), "a".into(), 110).await.unwrap();
        memory.save(key(1), "b".into(), 120).await.unwrap();
        memory.save(key(2), "c".into(), 110).await.unwrap();
        clock.advance(Duration::from_secs(15));
        assert_eq!(memory.load(&key(1)).unwrap().unwrap(), "b");
        assert_eq!(memory.load(&key(2)).unwrap(), None);
        memory.remove(key(1)).await.unwrap();
        assert_eq!(memory.load(&key(1)).unwrap(), None);
    }

    #[tokio::test]
    async fn when_there_is_no_room_the_oldest_go() {
        let memory = Memory::new(Clock::still(0), 10 * (RECORD_COST + 1));
        for number in 0..20 {
            memory.save(key(number), "x".into(), 100 + u64::from(number)).await.unwrap();
        }
        let kept = (0..20).filter(|&it| memory.load(&key(it)).unwrap().is_some());
        assert_eq!(kept.collect::<Vec<_>>(), (10..20).collect::<Vec<_>>());
        assert_eq!(memory.records().bytes, 10 * (RECORD_COST + 1));
        assert_eq!(memory.records().by_expiry.len(), 10);
    }
}
