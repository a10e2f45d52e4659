//! A store that fails, or does not answer, for a while.

use std::sync::Arc;

use async_trait::async_trait;
use evertoken::protocol::{Digest, Lease, Record};
use evertoken::store::{Loaded, Revision, Swap};
use evertoken::{Key, StoreError, TokenStore};
use tokio::sync::watch;

/// What is wrong with the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Each call fails at once.
    Fails,
    /// Each call waits until the trouble is over.
    DoesNotAnswer,
}

#[derive(Debug)]
pub(crate) struct ShakyStore {
    store: Arc<dyn TokenStore>,
    trouble: watch::Receiver<Option<Trouble>>,
}

impl ShakyStore {
    pub(crate) fn new(
        store: Arc<dyn TokenStore>,
        trouble: watch::Receiver<Option<Trouble>>,
    ) -> Self {
        Self { store, trouble }
    }

    async fn check(&self) -> Result<(), StoreError> {
        let trouble = *self.trouble.borrow();
        match trouble {
            None => Ok(()),
            Some(Trouble::Fails) => Err(StoreError::new("the disk is full")),
            Some(Trouble::DoesNotAnswer) => {
                self.over().await;
                Ok(())
            }
        }
    }

    async fn over(&self) {
        let mut trouble = self.trouble.clone();
        // Without a sender the faults is over, and the trouble with it.
        let _ = trouble.wait_for(Option::is_none).await;
    }
}

#[async_trait]
impl TokenStore for ShakyStore {
    async fn load(&self, key: &Key) -> Result<Loaded, StoreError> {
        self.check().await?;
        self.store.load(key).await
    }

    async fn swap(
        &self,
        key: &Key,
        seen: Option<Revision>,
        next: &Record,
    ) -> Result<Swap, StoreError> {
        self.check().await?;
        self.store.swap(key, seen, next).await
    }

    async fn changed(&self, key: &Key, seen: Option<Revision>) {
        self.store.changed(key, seen).await;
        self.over().await;
    }

    async fn find(&self, digest: &Digest) -> Result<Option<Key>, StoreError> {
        self.check().await?;
        self.store.find(digest).await
    }

    async fn holder_is_dead(&self, key: &Key, lease: &Lease) -> bool {
        self.store.holder_is_dead(key, lease).await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use evertoken::MemoryStore;
    use tokio::time::timeout;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_store_in_trouble_fails_or_waits_and_answers_again_afterwards() {
        let faults = watch::Sender::new(Some(Trouble::Fails));
        let store = ShakyStore::new(Arc::new(MemoryStore::new()), faults.subscribe());
        let key = Key::new("issuer", "client");
        assert!(store.load(&key).await.is_err());
        faults.send_replace(Some(Trouble::DoesNotAnswer));
        let waiting = timeout(Duration::from_secs(60), store.load(&key)).await;
        assert!(waiting.is_err());
        let (loaded, _) = tokio::join!(store.load(&key), async { faults.send_replace(None) });
        assert!(loaded.is_ok());
        assert!(store.load(&key).await.is_ok());
    }
}
