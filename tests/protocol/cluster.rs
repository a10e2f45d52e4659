//! Several token managers that share one store and one server. Each stands for an instance on a machine of its own.

use std::time::Duration;

use evertoken::testing::AuthorizationServerBuilder;
use evertoken::{Builder, OnRequest, TokenEndpoint, TokenManager};

use crate::fault_store::FaultStore;
pub(crate) use crate::support::{Counts, TTL, callers, ends, page, reason, refusal};
use crate::support::{World, loaded};

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
        self.node_builder().build().expect("builds")
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

    /// Writes a lease on the current token by an instance that no longer runs.
    pub(crate) async fn plant_lease(&self) {
        let now = serde_json::to_value(self.store_now()).expect("a number");
        let key = self.key();
        let digest = self
            .store
            .record(&key)
            .await
            .expect("a record")
            .digest()
            .to_string();
        self.store
            .edit(&key, |record| {
                let number = record["next_number"].clone();
                record["next_number"] = (number.as_u64().expect("a number") + 1).into();
                record["lease"] = serde_json::json!({
                    "owner": "0123456789abcdef0123456789abcdef",
                    "number": number, "digest": digest, "since": now,
                });
            })
            .await;
    }
}
