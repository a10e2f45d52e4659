use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{Loaded, Revision, StoreError, StoreTime, Swap, TokenStore};
use crate::clock::{Clock, SystemClock, Timestamp};
use crate::record::Record;
use crate::token::{Digest, Key};

/// Keeps records in this process. Clones share them, so several managers in one process rotate one
/// session as if they were machines; a restart forgets everything.
#[derive(Debug, Clone)]
pub struct MemoryStore {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    clock: Arc<dyn Clock>,
    /// When the store was made, by both clocks.
    made: (Timestamp, Duration),
    entries: Mutex<HashMap<Key, (Record, Revision)>>,
    changed: Notify,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::with_clock(SystemClock)
    }

    /// An empty store whose time is another clock's.
    #[must_use]
    pub fn with_clock(clock: impl Clock) -> Self {
        Self {
            shared: Arc::new(Shared {
                made: (clock.now(), clock.wall()),
                clock: Arc::new(clock),
                entries: Mutex::default(),
                changed: Notify::new(),
            }),
        }
    }

    /// Not the wall clock, although it starts with that: where it is stepped, a claim that is a second old
    /// would look stale, and its token would be spent by two.
    fn now(&self) -> StoreTime {
        let (now, wall) = self.shared.made;
        (wall + self.shared.clock.now().since(now)).into()
    }

    fn revision(&self, key: &Key) -> Option<Revision> {
        self.shared
            .entries
            .lock()
            .get(key)
            .map(|(_, revision)| *revision)
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
        Ok(Loaded {
            entry: self.shared.entries.lock().get(key).cloned(),
            now: self.now(),
        })
    }

    async fn swap(
        &self,
        key: &Key,
        seen: Option<Revision>,
        next: &Record,
    ) -> Result<Swap, StoreError> {
        let mut entries = self.shared.entries.lock();
        let held = entries.get(key);
        let revision = held.map(|(_, revision)| *revision);
        if revision != seen {
            return Ok(Swap::Lost(held.cloned()));
        }
        let revision = Revision::new(revision.map_or(0, Revision::number) + 1);
        entries.insert(key.clone(), (next.clone(), revision));
        drop(entries);
        self.shared.changed.notify_waiters();
        Ok(Swap::Swapped(revision))
    }

    async fn changed(&self, key: &Key, seen: Option<Revision>) {
        loop {
            // Listens before it looks, or a change between the two would be missed.
            let mut changed = std::pin::pin!(self.shared.changed.notified());
            changed.as_mut().enable();
            if self.revision(key) != seen {
                return;
            }
            changed.await;
        }
    }

    async fn find(&self, digest: &Digest) -> Result<Option<Key>, StoreError> {
        let entries = self.shared.entries.lock();
        let found = entries.iter().find(|(_, (record, _))| record.knows(digest));
        Ok(found.map(|(key, _)| key.clone()))
    }

    async fn find_by_access(&self, digest: &Digest) -> Result<Option<Key>, StoreError> {
        let entries = self.shared.entries.lock();
        let has = |record: &Record| record.access_digest().as_ref() == Some(digest);
        let found = entries.iter().find(|(_, (record, _))| has(record));
        Ok(found.map(|(key, _)| key.clone()))
    }
}
