//! Records in the memory of this process.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{Loaded, Revision, StoreError, StoreTime, Swap, TokenStore, refuse_other_key};
use crate::clock::{Clock, SystemClock, Timestamp};
use crate::record::Record;
use crate::token::{Digest, Key};

/// Keeps records in this process. Clones share the records, so several managers in one process rotate one session as
/// instances on several machines do. A restart loses all records.
///
/// The records are not sealed: they never leave the process, which would hold the key of the seal beside them.
#[derive(Debug, Clone)]
pub struct MemoryStore {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    clock: Arc<dyn Clock>,
    /// The time at which the store was made, by the monotonic clock and by the wall clock.
    made: (Timestamp, Duration),
    /// By the digest of the key.
    entries: Mutex<HashMap<Digest, Box<(Record, Revision)>>>,
    changed: Notify,
}

impl MemoryStore {
    /// Makes an empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::with_clock(SystemClock)
    }

    /// Makes an empty store that takes its time from `clock`.
    #[must_use]
    pub fn with_clock(clock: impl Clock) -> Self {
        Self::sharing(Arc::new(clock))
    }

    pub(crate) fn sharing(clock: Arc<dyn Clock>) -> Self {
        Self {
            shared: Arc::new(Shared {
                made: (clock.now(), clock.wall()),
                clock,
                entries: Mutex::default(),
                changed: Notify::new(),
            }),
        }
    }

    /// The store's time: the wall clock when the store was made, and the monotonic clock since. The wall clock alone may
    /// be stepped: then a lease that is a second old would look stale, and two instances would spend its token.
    fn now(&self) -> StoreTime {
        let (now, wall) = self.shared.made;
        (wall + self.shared.clock.now().since(now)).into()
    }

    fn find(&self, is_it: impl Fn(&Record) -> bool) -> Option<Key> {
        let entries = self.shared.entries.lock();
        let mut records = entries.values().map(|entry| &entry.0);
        let found = records.find(|record| is_it(record));
        found.map(|record| record.key().clone())
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl TokenStore for MemoryStore {
    async fn load(&self, key: &Key) -> Result<Loaded, StoreError> {
        let entry = self.shared.entries.lock().get(&key.digest()).cloned();
        // The clock is the program's, and is not read under the lock.
        Ok(Loaded {
            entry: entry.map(|entry| *entry),
            now: self.now(),
        })
    }

    async fn swap(
        &self,
        key: &Key,
        seen: Option<Revision>,
        next: &Record,
    ) -> Result<Swap, StoreError> {
        refuse_other_key(key, next)?;
        let mut entries = self.shared.entries.lock();
        let held = entries.get(&key.digest());
        let revision = held.map(|entry| entry.1);
        if revision != seen {
            return Ok(Swap::Lost(held.map(|entry| (**entry).clone())));
        }
        let revision = Revision::new(revision.map_or(0, Revision::number) + 1);
        entries.insert(key.digest(), Box::new((next.clone(), revision)));
        drop(entries);
        self.shared.changed.notify_waiters();
        Ok(Swap::Swapped(revision))
    }

    async fn changed(&self, key: &Key, seen: Option<Revision>) {
        let digest = key.digest();
        loop {
            // The waiter listens before it reads: a change between the two would be missed otherwise.
            let mut changed = std::pin::pin!(self.shared.changed.notified());
            changed.as_mut().enable();
            let held = self.shared.entries.lock().get(&digest).map(|entry| entry.1);
            if held != seen {
                return;
            }
            changed.await;
        }
    }

    async fn find(&self, digest: &Digest) -> Result<Option<Key>, StoreError> {
        Ok(self.find(|record| record.knows(digest)))
    }

    async fn find_by_access(&self, digest: &Digest) -> Result<Option<Key>, StoreError> {
        Ok(self.find(|record| record.access_digest().as_ref() == Some(digest)))
    }

    async fn find_by_upstream(&self, mark: &Digest) -> Result<Option<Vec<Key>>, StoreError> {
        let entries = self.shared.entries.lock();
        let records = entries.values().map(|entry| &entry.0);
        let found = records.filter(|record| record.upstream().any(|its| its == mark));
        Ok(Some(found.map(|record| record.key().clone()).collect()))
    }
}
