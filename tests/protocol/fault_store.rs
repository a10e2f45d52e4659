//! The store of a cluster: it fails as a test scripts it, and a test reads and edits its records.

use std::ops::Deref;

use evertoken::clock::StoreTime;
use evertoken::protocol::{Digest, Lease, Record};
use evertoken::store::{Loaded, Revision, Swap};
use evertoken::testing::FaultyStore;
use evertoken::{Key, MemoryStore, StoreError, TokenStore, async_trait};
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
    pub(crate) fn new(inner: MemoryStore) -> Self {
        Self(FaultyStore::new(inner))
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

#[async_trait]
impl TokenStore for FaultStore {
    async fn load(&self, key: &Key) -> Result<Loaded, StoreError> {
        self.0.load(key).await
    }

    async fn swap(
        &self,
        key: &Key,
        seen: Option<Revision>,
        next: &Record,
    ) -> Result<Swap, StoreError> {
        self.0.swap(key, seen, next).await
    }

    async fn swap_timed(
        &self,
        key: &Key,
        seen: Option<Revision>,
        next: &Record,
    ) -> Result<(Swap, Option<StoreTime>), StoreError> {
        self.0.swap_timed(key, seen, next).await
    }

    async fn changed(&self, key: &Key, seen: Option<Revision>) {
        self.0.changed(key, seen).await;
    }

    async fn find(&self, digest: &Digest) -> Result<Option<Key>, StoreError> {
        self.0.find(digest).await
    }

    async fn find_by_access(&self, digest: &Digest) -> Result<Option<Key>, StoreError> {
        self.0.find_by_access(digest).await
    }

    async fn holder_is_dead(&self, key: &Key, lease: &Lease) -> bool {
        self.0.holder_is_dead(key, lease).await
    }
}
