//! A store knows how long its manager waits. The stores that come with the crate report the reason of a failure before
//! that: tests/store_file/limits.rs, tests/store_redis/server.rs, tests/store_postgres/outage.rs.
#![allow(missing_docs, clippy::expect_used, clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use evertoken::protocol::Record;
use evertoken::store::{Loaded, Revision, Swap, budget};
use evertoken::testing::AuthorizationServer;
use evertoken::{Key, MemoryStore, StoreError, TokenManager, TokenStore, async_trait};
use parking_lot::Mutex;

const TIMEOUT: Duration = Duration::from_secs(2);

/// A store around another one, which does not pass anything on.
#[derive(Debug, Default)]
struct Around {
    memory: MemoryStore,
    budgets: Arc<Mutex<Vec<Option<Duration>>>>,
}

#[async_trait]
impl TokenStore for Around {
    async fn load(&self, key: &Key) -> Result<Loaded, StoreError> {
        self.budgets.lock().push(budget());
        self.memory.load(key).await
    }

    async fn swap(
        &self,
        key: &Key,
        seen: Option<Revision>,
        next: &Record,
    ) -> Result<Swap, StoreError> {
        self.budgets.lock().push(budget());
        self.memory.swap(key, seen, next).await
    }
}

#[tokio::test]
async fn a_store_of_ones_own_learns_its_budget_at_every_call() {
    let server = AuthorizationServer::builder().build();
    let store = Around::default();
    let budgets = store.budgets.clone();
    let tokens = TokenManager::builder(server.endpoint())
        .store(store)
        .store_timeout(TIMEOUT)
        .seed(server.issue())
        .build()
        .unwrap();
    tokens.rotate().await.unwrap();
    assert!(tokens.logout().await.is_complete());
    let budgets = budgets.lock();
    assert!(budgets.len() >= 4, "{budgets:?}");
    let is_told = budgets.iter().all(|budget| *budget == Some(TIMEOUT));
    assert!(is_told, "{budgets:?}");
    assert_eq!(budget(), None);
}
