//! A store that fails on request, and that can be looked into and tampered with.

use std::collections::VecDeque;
use std::sync::Arc;

use evertoken::store::{Loaded, Revision, StoreTime, Swap};
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
    /// Whether a swap is answered with the store's time.
    says_time: bool,
    /// By how many milliseconds its clock was stepped forwards.
    ahead: i64,
    loads: u32,
}

impl Faults {
    fn stepped(&self, now: StoreTime) -> StoreTime {
        StoreTime::from_millis(now.as_millis().saturating_add_signed(self.ahead))
    }
}

impl FaultStore {
    pub(crate) fn new(inner: MemoryStore) -> Self {
        Self {
            inner,
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

    /// Answers swaps with its time from now on.
    pub(crate) fn say_time(&self) {
        self.faults.lock().says_time = true;
    }

    /// Its clock is stepped forwards by so many milliseconds, or back.
    pub(crate) fn step(&self, ahead: i64) {
        self.faults.lock().ahead += ahead;
    }

    /// How often it was loaded.
    pub(crate) fn loads(&self) -> u32 {
        self.faults.lock().loads
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
        let mut loaded = self.inner.load(key).await?;
        let mut faults = self.faults.lock();
        faults.loads += 1;
        loaded.now = faults.stepped(loaded.now);
        Ok(loaded)
    }

    async fn swap_timed(
        &self,
        key: &Key,
        seen: Option<Revision>,
        next: &Record,
    ) -> Result<(Swap, Option<StoreTime>), StoreError> {
        let swap = self.swap(key, seen, next).await?;
        let now = self.inner.load(key).await?.now;
        let faults = self.faults.lock();
        Ok((swap, faults.says_time.then_some(faults.stepped(now))))
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
