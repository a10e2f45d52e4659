use std::sync::Arc;
use std::time::Duration;

use super::{UserCodeError, guarded};
use crate::record::{Lease, Record};
use crate::store::{Loaded, Revision, StoreError, StoreTime, Swap, TokenStore, with_budget};
use crate::token::{Digest, Key};

/// A user's store, as the crate calls it: each call takes `limit` at the most.
#[derive(Debug)]
pub(crate) struct UserStore {
    code: Arc<dyn TokenStore>,
    limit: Duration,
}

impl UserStore {
    pub(crate) fn new(code: Arc<dyn TokenStore>, limit: Duration) -> Self {
        Self { code, limit }
    }

    pub(crate) async fn load(&self, key: &Key) -> Result<Loaded, StoreError> {
        let loading = async { self.code.load(key).await };
        let loading = with_budget(self.limit, loading);
        settled("loading", guarded(self.limit, loading).await)
    }

    /// With the store's time of the swap, where the store learns that on the way.
    pub(crate) async fn swap_timed(
        &self,
        key: &Key,
        seen: Option<Revision>,
        next: &Record,
    ) -> Result<(Swap, Option<StoreTime>), StoreError> {
        let swapping = async { self.code.swap_timed(key, seen, next).await };
        let swapping = with_budget(self.limit, swapping);
        settled("storing", guarded(self.limit, swapping).await)
    }

    pub(crate) async fn find(&self, digest: &Digest) -> Result<Option<Key>, StoreError> {
        let finding = async { self.code.find(digest).await };
        let finding = with_budget(self.limit, finding);
        settled("searching", guarded(self.limit, finding).await)
    }

    /// Returns when the record may have changed, or after `limit`.
    pub(crate) async fn changed(&self, key: &Key, seen: Option<Revision>, limit: Duration) {
        let changed = async { self.code.changed(key, seen).await };
        if guarded(limit, changed).await == Err(UserCodeError::Panicked) {
            // Or the record would be read without a pause.
            tokio::time::sleep(limit).await;
        }
    }

    pub(crate) async fn holder_is_dead(&self, key: &Key, lease: &Lease) -> bool {
        let asking = async { self.code.holder_is_dead(key, lease).await };
        let asking = with_budget(self.limit, asking);
        guarded(self.limit, asking).await == Ok(true)
    }
}

fn settled<T>(
    doing: &str,
    answer: Result<Result<T, StoreError>, UserCodeError>,
) -> Result<T, StoreError> {
    answer.unwrap_or_else(|error| Err(StoreError::new(format!("{doing} {error}"))))
}
