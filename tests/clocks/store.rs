//! A store on another machine, whose clock is its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use evertoken::protocol::Record;
use evertoken::store::{Loaded, Revision, Swap};
use evertoken::testing::TestClock;
use evertoken::{Key, MemoryStore, StoreError, TokenStore, async_trait};

#[derive(Debug, Clone)]
pub(crate) struct StoreElsewhere {
    inner: MemoryStore,
    /// In seconds.
    ahead: Arc<AtomicI64>,
}

impl StoreElsewhere {
    pub(crate) fn new(clock: &TestClock) -> Self {
        Self {
            inner: MemoryStore::with_clock(clock.clone()),
            ahead: Arc::default(),
        }
    }

    /// Steps its clock by so many seconds.
    pub(crate) fn step(&self, seconds: i64) {
        self.ahead.fetch_add(seconds, Ordering::SeqCst);
    }
}

#[async_trait]
impl TokenStore for StoreElsewhere {
    async fn load(&self, key: &Key) -> Result<Loaded, StoreError> {
        let mut loaded = self.inner.load(key).await?;
        let ahead = self.ahead.load(Ordering::SeqCst);
        let span = Duration::from_secs(ahead.unsigned_abs());
        loaded.now = if ahead < 0 {
            loaded.now.before(span)
        } else {
            loaded.now.after(span)
        };
        Ok(loaded)
    }

    async fn swap(
        &self,
        key: &Key,
        seen: Option<Revision>,
        next: &Record,
    ) -> Result<Swap, StoreError> {
        self.inner.swap(key, seen, next).await
    }

    async fn changed(&self, key: &Key, seen: Option<Revision>) {
        self.inner.changed(key, seen).await;
    }
}
