//! Several token managers that share one store and one server. Each stands for an instance on a machine of its own. The
//! store fails as a test scripts it, and a test reads and edits its records.

use std::ops::Deref;
use std::time::Duration;

use evertoken::clock::StoreTime;
use evertoken::protocol::{Digest, Lease, Record};
use evertoken::store::{Loaded, Revision, Swap};
use evertoken::testing::{AuthorizationServerBuilder, CallFault, FaultyStore, StoreCall};
use evertoken::{
    Builder, EndpointError, Error, Key, MemoryStore, OnRequest, OnSeedConflict, Resend, StoreError,
    TokenEndpoint, TokenManager, TokenStore, async_trait,
};
use serde_json::{Value, json};

pub(crate) use crate::support::{Counts, TTL, callers, ends, failures, page, reason, refusal};
use crate::support::{World, loaded};
pub(crate) use crate::support::{built, served};

pub(crate) const LEASE_DURATION: Duration = Duration::from_secs(60);

pub(crate) type Cluster = World<FaultStore>;

pub(crate) fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

impl Cluster {
    /// A strict server.
    pub(crate) fn strict() -> Self {
        Self::ruled(|server| server)
    }

    /// A server with these rules.
    pub(crate) fn ruled(
        rules: impl FnOnce(AuthorizationServerBuilder) -> AuthorizationServerBuilder,
    ) -> Self {
        World::with(rules).with_store(FaultStore::new)
    }

    /// A strict server whose profile forbids to send a token again.
    pub(crate) fn without_resending() -> Self {
        let mut cluster = Self::strict();
        cluster.profile = cluster.profile.resend(Resend::Never);
        cluster
    }

    /// A strict server, and an instance that has loaded the session.
    pub(crate) async fn warm() -> (Self, TokenManager) {
        let cluster = Self::strict();
        let node = cluster.warm_node().await;
        (cluster, node)
    }

    /// A strict server, and an instance whose access token has expired.
    pub(crate) async fn expired() -> (Self, TokenManager) {
        let (cluster, node) = Self::warm().await;
        cluster.expire().await;
        (cluster, node)
    }

    /// A strict server, and an instance that has rotated once.
    pub(crate) async fn begun() -> (Self, TokenManager) {
        let cluster = Self::strict();
        let node = cluster.begun_node().await;
        (cluster, node)
    }

    /// A strict server, an instance that has rotated once, and another one that has loaded the session.
    pub(crate) async fn two() -> (Self, TokenManager, TokenManager) {
        let (cluster, one) = Self::begun().await;
        let two = cluster.warm_node().await;
        (cluster, one, two)
    }

    pub(crate) fn node_builder(&self) -> Builder {
        self.shared(OnRequest::default())
    }

    /// The same with another endpoint.
    pub(crate) fn node_builder_at(&self, endpoint: impl TokenEndpoint) -> Builder {
        self.builder_at(endpoint, OnRequest::default())
            .store(self.store.clone())
    }

    /// An instance.
    pub(crate) fn node(&self) -> TokenManager {
        built(self.node_builder())
    }

    /// An instance with a new pair for its seed, as after a sign-in of the user there.
    pub(crate) fn signed_in_node(&self) -> TokenManager {
        let builder = self.node_builder().seed(self.server.issue());
        built(builder.on_seed_conflict(OnSeedConflict::Replace))
    }

    /// An instance that has loaded the session.
    pub(crate) async fn warm_node(&self) -> TokenManager {
        loaded(self.node_builder()).await
    }

    /// An instance that has loaded the session and whose callers wait for up to 3,000 s.
    pub(crate) async fn patient_node(&self) -> TokenManager {
        loaded(self.node_builder().wait(seconds(3_000))).await
    }

    /// An instance that has rotated once, so that its client is known to work at this server.
    pub(crate) async fn begun_node(&self) -> TokenManager {
        let node = self.warm_node().await;
        node.rotate().await.expect("is rotated");
        node
    }

    /// The store's time in milliseconds, as a record stores it.
    pub(crate) fn store_now(&self) -> u64 {
        use evertoken::clock::Clock;
        u64::try_from(self.clock.wall().as_millis()).expect("fits")
    }

    pub(crate) async fn record(&self) -> Record {
        self.store.record(&self.key()).await.expect("a record")
    }

    /// The record in its serialized form.
    pub(crate) async fn json(&self) -> Value {
        self.store.json(&self.key()).await
    }

    /// Writes a record over the one that the store holds: a failover that lost writes, or another instance.
    pub(crate) async fn put(&self, record: &Record) {
        self.store.put(&self.key(), record).await;
    }

    /// Changes the record as another instance does.
    pub(crate) async fn edit(&self, change: impl FnOnce(&mut Value)) {
        let mut json = self.json().await;
        change(&mut json);
        self.put(&serde_json::from_value(json).expect("a record"))
            .await;
    }

    /// Changes one field of the record.
    pub(crate) async fn set(&self, field: &str, value: impl Into<Value>) {
        self.edit(|record| record[field] = value.into()).await;
    }

    /// Another instance writes this state into the record, and removes the lease.
    pub(crate) async fn end(&self, state: Value) {
        self.edit(|record| {
            record["state"] = state;
            record["lease"] = Value::Null;
        })
        .await;
    }

    /// The store applies the next swap, and its answer is lost.
    pub(crate) fn lose_answer_of_swap(&self) {
        self.store
            .fail_next(StoreCall::Swap, 1, CallFault::LoseAnswer);
    }

    /// Writes a lease on the current token by an instance that no longer runs.
    pub(crate) async fn plant_lease(&self) {
        let digest = self.record().await.digest().to_string();
        self.edit(|record| {
            let number = record["next_number"].clone();
            record["next_number"] = (number.as_u64().expect("a number") + 1).into();
            record["lease"] = json!({
                "owner": "0123456789abcdef0123456789abcdef",
                "number": number, "digest": digest, "since": self.store_now(),
            });
        })
        .await;
    }
}

/// Whether the error reports a page with this status.
pub(crate) fn is_page(error: &Error, status: u16) -> bool {
    matches!(error.endpoint(), Some(EndpointError::Page { quote, .. }) if quote.status == Some(status))
}

/// Whether the error reports that the server answered 503.
pub(crate) fn is_503(error: &Error) -> bool {
    matches!(error.endpoint(), Some(EndpointError::Unavailable { quote, .. }) if quote.status == Some(503))
}

/// Whether the error reports that the server refused the client with this code.
pub(crate) fn is_refused(error: &Error, code: &str) -> bool {
    matches!(error.endpoint(), Some(EndpointError::Refused { quote, .. }) if quote.code.as_deref() == Some(code))
}

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
