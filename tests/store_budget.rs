//! A store knows how long its manager waits, and reports the reason of a failure before that.
#![allow(missing_docs, clippy::expect_used, clippy::unwrap_used)]

use std::error::Error;
use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use evertoken::protocol::Record;
use evertoken::store::{Loaded, Revision, Swap, budget};
use evertoken::testing::AuthorizationServer;
use evertoken::{FileStore, Key, MemoryStore, StoreError, TokenManager, TokenStore, async_trait};
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
    assert!(
        budgets.iter().all(|budget| *budget == Some(TIMEOUT)),
        "{budgets:?}"
    );
    assert_eq!(budget(), None);
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manager_learns_of_a_lock_however_little_time_it_gives() {
    let mut directory = tempfile::Builder::new();
    directory.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700));
    let directory = directory.tempdir().unwrap();
    let server = AuthorizationServer::builder().build();
    let tokens = TokenManager::builder(server.endpoint())
        .store(FileStore::new(directory.path()).unwrap())
        .store_timeout(TIMEOUT)
        .seed(server.issue())
        .build()
        .unwrap();
    let name = format!("{}.lock", tokens.key().digest());
    let lock = File::create(directory.path().join(name)).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    lock.set_permissions(mode).unwrap();
    lock.lock().unwrap();
    let error = tokens.token().await.unwrap_err();
    let mut told = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        told.push_str(&format!(": {error}"));
        cause = error.source();
    }
    assert!(
        told.contains("could not be locked within 1.6 s, because another process has locked it"),
        "{told}"
    );
}
