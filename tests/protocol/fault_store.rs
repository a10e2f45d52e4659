//! A store that fails on request, and that can be looked into and tampered with.

use std::collections::VecDeque;
use std::sync::Arc;

use evertoken::store::{Loaded, Revision, Swap};
use evertoken::testing::TestClock;
use evertoken::{Key, MemoryStore, Record, StoreError, TokenStore, async_trait};
use parking_lot::Mutex;
use serde_json::Value;

/// What becomes of a swap.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fate {
    /// As usual.
    Works,
    /// It is applied, and the answer lost.
    AppliedUnanswered,
    /// It never arrives.
    Lost,
}

#[derive(Debug, Clone)]
pub(crate) struct FaultStore {
    inner: MemoryStore,
    faults: Arc<Mutex<Faults>>,
}

#[derive(Debug, Default)]
struct Faults {
    swaps: VecDeque<Fate>,
    down: bool,
}

impl FaultStore {
    pub(crate) fn new(clock: TestClock) -> Self {
        Self {
            inner: MemoryStore::with_clock(clock),
            faults: Arc::default(),
        }
    }

    /// The next swaps meet these fates.
    pub(crate) fn swaps(&self, fates: impl IntoIterator<Item = Fate>) {
        self.faults.lock().swaps.extend(fates);
    }

    pub(crate) fn set_down(&self, down: bool) {
        self.faults.lock().down = down;
    }

    pub(crate) async fn record(&self, key: &Key) -> Option<Record> {
        let loaded = self.inner.load(key).await.expect("memory");
        loaded.entry.map(|(record, _)| record)
    }

    /// The record as it is serialized.
    pub(crate) async fn json(&self, key: &Key) -> Value {
        let record = self.record(key).await.expect("a record");
        serde_json::to_value(record).expect("serializes")
    }

    /// Writes a record over whatever is there: a failover that lost writes, or another instance.
    pub(crate) async fn put(&self, key: &Key, record: &Record) {
        let seen = self
            .inner
            .load(key)
            .await
            .expect("memory")
            .entry
            .map(|(_, revision)| revision);
        let swapped = self.inner.swap(key, seen, record).await.expect("memory");
        assert!(matches!(swapped, Swap::Swapped(_)));
    }

    /// Changes the record as another instance would.
    pub(crate) async fn edit(&self, key: &Key, change: impl FnOnce(&mut Value)) {
        let mut json = self.json(key).await;
        change(&mut json);
        let record = serde_json::from_value(json).expect("a record");
        self.put(key, &record).await;
    }

    fn check(&self) -> Result<(), StoreError> {
        if self.faults.lock().down {
            return Err(StoreError::new("the store is down"));
        }
        Ok(())
    }
}

#[async_trait]
impl TokenStore for FaultStore {
    async fn load(&self, key: &Key) -> Result<Loaded, StoreError> {
        self.check()?;
        self.inner.load(key).await
    }

    async fn swap(
        &self,
        key: &Key,
        seen: Option<Revision>,
        next: &Record,
    ) -> Result<Swap, StoreError> {
        self.check()?;
        let fate = self.faults.lock().swaps.pop_front().unwrap_or(Fate::Works);
        match fate {
            Fate::Works => self.inner.swap(key, seen, next).await,
            Fate::AppliedUnanswered => {
                self.inner.swap(key, seen, next).await?;
                Err(StoreError::new("the answer was lost"))
            }
            Fate::Lost => Err(StoreError::new("the request was lost")),
        }
    }

    async fn changed(&self, key: &Key, seen: Option<Revision>) {
        self.inner.changed(key, seen).await;
    }
}
