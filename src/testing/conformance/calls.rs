//! Calls of a store, whose errors are failures of the suite.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use crate::record::Record;
use crate::store::{Loaded, Revision, StoreError, Swap, TokenStore};
use crate::token::{Digest, Key};

pub(super) type Store = Arc<dyn TokenStore>;

/// Longer than any call needs, and than any store needs to notice a change; also when a thousand wait.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

async fn answer<T>(call: &str, answer: impl Future<Output = Result<T, StoreError>>) -> T {
    match timeout(PATIENCE, answer).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => panic!("{call} failed: {error:?}"),
        Err(_) => panic!("{call} is not answered"),
    }
}

pub(super) async fn load(store: &Store, key: &Key) -> Loaded {
    answer("load", store.load(key)).await
}

pub(super) async fn entry(store: &Store, key: &Key) -> Option<(Record, Revision)> {
    load(store, key).await.entry
}

pub(super) async fn swap(store: &Store, key: &Key, seen: Option<Revision>, next: &Record) -> Swap {
    answer("swap", store.swap(key, seen, next)).await
}

/// A swap that has to win.
pub(super) async fn write(
    store: &Store,
    key: &Key,
    seen: Option<Revision>,
    next: &Record,
) -> Revision {
    match swap(store, key, seen, next).await {
        Swap::Swapped(revision) => revision,
        Swap::Lost(entry) => panic!("a swap against {seen:?} was lost to {entry:?}"),
    }
}

pub(super) async fn found(store: &Store, digest: &Digest) -> Option<Key> {
    answer("find", store.find(digest)).await
}

pub(super) async fn found_by_access(store: &Store, digest: &Digest) -> Option<Key> {
    answer("find_by_access", store.find_by_access(digest)).await
}

pub(super) async fn expect_entry(store: &Store, key: &Key, record: &Record, revision: Revision) {
    assert_eq!(
        entry(store, key).await.as_ref(),
        Some(&(record.clone(), revision)),
        "what was swapped in is what is loaded"
    );
}
