//! The store of a cluster: it fails as a test scripts it, and a test reads and edits its records.

use std::ops::Deref;

use evertoken::protocol::Record;
use evertoken::testing::{FaultyStore, TestClock};
use evertoken::{Key, MemoryStore};
use serde_json::Value;

#[derive(Debug, Clone)]
pub(crate) struct FaultStore(FaultyStore);

impl Deref for FaultStore {
    type Target = FaultyStore;

    fn deref(&self) -> &FaultyStore {
        &self.0
    }
}

impl FaultStore {
    pub(crate) fn new(clock: TestClock) -> Self {
        Self(FaultyStore::new(MemoryStore::with_clock(clock)))
    }

    /// The store as a manager takes it.
    pub(crate) fn connection(&self) -> FaultyStore {
        self.0.clone()
    }

    pub(crate) async fn record(&self, key: &Key) -> Option<Record> {
        self.0.record(key).await.expect("memory")
    }

    /// The record in its serialized form.
    pub(crate) async fn json(&self, key: &Key) -> Value {
        let record = self.record(key).await.expect("a record");
        serde_json::to_value(record).expect("serializes")
    }

    /// Writes a record over the one that the store holds: a failover that lost writes, or another instance.
    pub(crate) async fn put(&self, key: &Key, record: &Record) {
        self.0.set_back(key, record).await.expect("memory");
    }

    /// Changes the record as another instance does.
    pub(crate) async fn edit(&self, key: &Key, change: impl FnOnce(&mut Value)) {
        let mut json = self.json(key).await;
        change(&mut json);
        let record = serde_json::from_value(json).expect("a record");
        self.put(key, &record).await;
    }
}
