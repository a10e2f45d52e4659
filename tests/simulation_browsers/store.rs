//! The store that instances share, and the way of each instance to it. It can be down, slow, and set back to an earlier state.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use evertoken::clock::Clock as _;
use evertoken::protocol::{Digest, Record};
use evertoken::store::{Loaded, Revision, StoreTime, Swap};
use evertoken::testing::TestClock;
use evertoken::{Key, StoreError, TokenStore, async_trait};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::gate::{Gate, Gone};
use crate::observer::Observer;
use crate::scenario::{Point, millis};

pub(crate) struct Storage {
    clock: TestClock,
    observer: Arc<Observer>,
    held: Mutex<Held>,
    /// The number of changes.
    changes: watch::Sender<u64>,
    pub(crate) latency_ms: Mutex<u64>,
    pub(crate) is_down: Mutex<bool>,
}

#[derive(Default)]
struct Held {
    entries: HashMap<Digest, (Record, Revision)>,
    /// Every write that the store has not lost, the latest last.
    writes: Vec<Record>,
    /// No revision is used twice, also where the store was set back.
    last: u64,
}

impl Held {
    fn put(&mut self, record: Record) -> Revision {
        self.last += 1;
        let revision = Revision::new(self.last);
        let key = record.key().digest();
        self.entries.insert(key, (record, revision));
        revision
    }
}

impl Storage {
    pub(crate) fn new(clock: TestClock, observer: Arc<Observer>, latency_ms: u64) -> Self {
        Self {
            clock,
            observer,
            held: Mutex::default(),
            changes: watch::Sender::new(0),
            latency_ms: Mutex::new(latency_ms),
            is_down: Mutex::new(false),
        }
    }

    fn entry(&self, key: &Key) -> Option<(Record, Revision)> {
        self.held.lock().entries.get(&key.digest()).cloned()
    }

    /// Whether the pair of this token is the current one of a record.
    pub(crate) fn holds(&self, digest: &Digest) -> bool {
        let held = self.held.lock();
        let mut records = held.entries.values();
        records.any(|(record, _)| record.digest() == *digest)
    }

    /// A replica that missed the last writes takes over.
    pub(crate) fn set_back(&self, writes: usize) {
        let mut held = self.held.lock();
        let kept = held.writes.len().saturating_sub(writes);
        let lost = held.writes.split_off(kept);
        for record in &lost {
            let key = record.key().digest();
            let older = held.writes.iter().rfind(|it| it.key() == record.key());
            match older.cloned() {
                Some(older) => drop(held.put(older)),
                None => drop(held.entries.remove(&key)),
            }
        }
        let is_commit = |record: &Record| {
            let now = held.entries.get(&record.key().digest());
            now.is_none_or(|(now, _)| now.digest() != record.digest())
        };
        let lost = lost
            .iter()
            .map(|record| (record.digest(), is_commit(record)));
        let lost: Vec<_> = lost.collect();
        drop(held);
        self.observer.set_back(&lost);
        self.changes.send_modify(|count| *count += 1);
    }

    fn swap(&self, key: &Key, seen: Option<Revision>, next: &Record) -> Swap {
        let mut held = self.held.lock();
        let now = held.entries.get(&key.digest());
        if now.map(|(_, revision)| *revision) != seen {
            return Swap::Lost(now.cloned());
        }
        let revision = held.put(next.clone());
        held.writes.push(next.clone());
        drop(held);
        self.observer.stored(&next.digest());
        self.changes.send_modify(|count| *count += 1);
        Swap::Swapped(revision)
    }

    /// The session that knows a token, also by an earlier record that has since dropped it.
    fn whose(&self, digest: &Digest) -> Option<Key> {
        let held = self.held.lock();
        let knows = held.writes.iter().find(|record| record.knows(digest));
        knows.map(|record| record.key().clone())
    }
}

#[derive(Clone)]
pub(crate) struct SimStore {
    pub(crate) storage: Arc<Storage>,
    pub(crate) gate: Arc<Gate>,
}

impl fmt::Debug for SimStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimStore").finish_non_exhaustive()
    }
}

fn gone(_: Gone) -> StoreError {
    StoreError::new("the instance is gone")
}

impl SimStore {
    /// The way to the store, or the way back.
    async fn way(&self) -> Result<(), StoreError> {
        let latency_ms = *self.storage.latency_ms.lock();
        if latency_ms > 0 {
            sleep(millis(latency_ms) / 2).await;
        }
        self.gate.runs().await.map_err(gone)?;
        match *self.storage.is_down.lock() {
            true => Err(StoreError::new("the store is down")),
            false => Ok(()),
        }
    }
}

#[async_trait]
impl TokenStore for SimStore {
    async fn load(&self, key: &Key) -> Result<Loaded, StoreError> {
        self.way().await?;
        let entry = self.storage.entry(key);
        let wall = self.storage.clock.wall();
        self.way().await?;
        Ok(Loaded {
            entry,
            now: StoreTime::from_millis(u64::try_from(wall.as_millis()).unwrap()),
        })
    }

    async fn swap(
        &self,
        key: &Key,
        seen: Option<Revision>,
        next: &Record,
    ) -> Result<Swap, StoreError> {
        self.gate.pass(Point::BeforeSwap).await.map_err(gone)?;
        self.way().await?;
        let swap = self.storage.swap(key, seen, next);
        self.way().await?;
        self.gate.pass(Point::AfterSwap).await.map_err(gone)?;
        Ok(swap)
    }

    async fn find(&self, digest: &Digest) -> Result<Option<Key>, StoreError> {
        self.way().await?;
        let found = self.storage.whose(digest);
        self.way().await?;
        Ok(found)
    }

    async fn changed(&self, key: &Key, seen: Option<Revision>) {
        let mut changes = self.storage.changes.subscribe();
        let is_other = |_: &u64| self.storage.entry(key).map(|(_, it)| it) != seen;
        let _ = changes.wait_for(is_other).await;
        let _ = self.gate.runs().await;
    }
}
