//! Instances that are set up unlike one another do not send one token twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use evertoken::store::{Loaded, Revision, Swap};
use evertoken::{Key, MemoryStore, OnRequest, Record, StoreError, TokenStore, async_trait};

use crate::support::{SECOND, World, loaded, settle};

/// The answer to the next swap takes 70 s.
#[derive(Debug, Clone)]
struct Slow(MemoryStore, Arc<AtomicBool>);

#[async_trait]
impl TokenStore for Slow {
    async fn load(&self, key: &Key) -> Result<Loaded, StoreError> {
        self.0.load(key).await
    }

    async fn swap(
        &self,
        key: &Key,
        seen: Option<Revision>,
        next: &Record,
    ) -> Result<Swap, StoreError> {
        let swapped = self.0.swap(key, seen, next).await;
        if self.1.swap(false, Ordering::SeqCst) {
            tokio::time::sleep(70 * SECOND).await;
        }
        swapped
    }

    async fn changed(&self, key: &Key, seen: Option<Revision>) {
        self.0.changed(key, seen).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_instance_with_a_shorter_lease_duration_leaves_a_lease_alone_for_as_long_as_it_says() {
    let world = World::new(600 * SECOND);
    let slow = Slow(world.store.clone(), Arc::default());
    let is_slow = Arc::clone(&slow.1);
    let patient = world
        .builder(OnRequest::default())
        .store(slow)
        .lease_duration(200 * SECOND)
        .store_timeout(75 * SECOND)
        .wait(300 * SECOND);
    let hasty = world
        .shared(OnRequest::default())
        .lease_duration(60 * SECOND)
        .wait(300 * SECOND);
    let (patient, hasty) = (loaded(patient).await, loaded(hasty).await);
    world.clock.advance(600 * SECOND).await;
    is_slow.store(true, Ordering::SeqCst);
    let first = tokio::spawn(async move { patient.token().await });
    settle().await;
    let second = tokio::spawn(async move { hasty.token().await });
    let (first, second) = (
        first.await.unwrap().unwrap(),
        second.await.unwrap().unwrap(),
    );
    assert_eq!(first.expose(), second.expose());
    world.assert_exchanges(1);
}
