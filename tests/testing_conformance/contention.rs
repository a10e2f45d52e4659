use std::sync::atomic::{AtomicUsize, Ordering};

use evertoken::protocol::Record;
use evertoken::store::{Revision, Swap};
use evertoken::testing::conformance::store;
use evertoken::{Key, StoreError, TokenStore, async_trait};
use tokio::task::yield_now;

use crate::flaw::{Flaw, Handle, flawed};

/// Compares first, and writes a little later.
#[derive(Debug)]
struct Slow {
    /// The flaw concerns keys whose label begins with this text.
    label: &'static str,
}

#[async_trait]
impl Flaw for Slow {
    async fn swap(
        &self,
        at: &Handle,
        key: &Key,
        seen: Option<Revision>,
        next: &Record,
    ) -> Result<Swap, StoreError> {
        if !key.label.starts_with(self.label) || at.revision(key).await != seen {
            return at.memory.swap(key, seen, next).await;
        }
        yield_now().await;
        Ok(Swap::Swapped(at.put(key, next).await))
    }
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "two swaps of one revision won")]
async fn comparing_and_writing_are_one_step() {
    store(flawed(Slow { label: "race" })).await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "an increment was lost")]
async fn no_increment_is_lost() {
    store(flawed(Slow {
        label: "increments",
    }))
    .await;
}

/// Answers at most this number of swaps at once.
#[derive(Debug, Default)]
struct Crowded(AtomicUsize);

#[async_trait]
impl Flaw for Crowded {
    async fn swap(
        &self,
        at: &Handle,
        key: &Key,
        seen: Option<Revision>,
        next: &Record,
    ) -> Result<Swap, StoreError> {
        let others = self.0.fetch_add(1, Ordering::SeqCst);
        yield_now().await;
        let answer = at.memory.swap(key, seen, next).await;
        self.0.fetch_sub(1, Ordering::SeqCst);
        if others < 500 {
            answer
        } else {
            Err(StoreError::new("too many"))
        }
    }
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "one of 1000 concurrent swaps panicked")]
async fn a_thousand_concurrent_swaps_are_answered() {
    store(flawed(Crowded::default())).await;
}

/// Answers a lost swap with the revision that the swap was made against.
#[derive(Debug, Default)]
struct Confused(AtomicUsize);

#[async_trait]
impl Flaw for Confused {
    async fn swap(
        &self,
        at: &Handle,
        key: &Key,
        seen: Option<Revision>,
        next: &Record,
    ) -> Result<Swap, StoreError> {
        if key.label.starts_with("increments") && self.0.fetch_add(1, Ordering::SeqCst) == 100 {
            return Ok(Swap::Lost(at.memory.load(key).await?.entry));
        }
        at.memory.swap(key, seen, next).await
    }
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "a contender panicked")]
async fn no_swap_is_lost_to_the_revision_it_was_made_against() {
    store(flawed(Confused::default())).await;
}
