use std::sync::atomic::{AtomicUsize, Ordering};

use evertoken::protocol::Record;
use evertoken::store::{Loaded, Revision, Swap};
use evertoken::testing::conformance::store;
use evertoken::{Key, MemoryStore, StoreError, TokenStore, async_trait};
use tokio::task::yield_now;

use crate::flaw::{Flaw, Handle, flawed};

type Answer = Result<Swap, StoreError>;

/// Replaces without comparing.
#[derive(Debug)]
struct Careless;

#[async_trait]
impl Flaw for Careless {
    async fn swap(&self, at: &Handle, key: &Key, seen: Option<Revision>, next: &Record) -> Answer {
        match at.revision(key).await {
            None => at.memory.swap(key, seen, next).await,
            Some(_) => Ok(Swap::Swapped(at.put(key, next).await)),
        }
    }
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "a second creation is lost")]
async fn a_swap_compares() {
    store(flawed(Careless)).await;
}

/// Accepts a swap against a later revision.
#[derive(Debug)]
struct Trusting;

#[async_trait]
impl Flaw for Trusting {
    async fn swap(&self, at: &Handle, key: &Key, seen: Option<Revision>, next: &Record) -> Answer {
        let held = at.revision(key).await;
        let trusted = match (held, seen) {
            (Some(held), Some(seen)) if held.number() < seen.number() => Some(held),
            _ => seen,
        };
        at.memory.swap(key, trusted, next).await
    }
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "a swap against a later revision is lost")]
async fn a_swap_compares_for_equality() {
    store(flawed(Trusting)).await;
}

/// Creates the record that a swap was to replace.
#[derive(Debug)]
struct Creating;

#[async_trait]
impl Flaw for Creating {
    async fn swap(&self, at: &Handle, key: &Key, seen: Option<Revision>, next: &Record) -> Answer {
        if at.revision(key).await.is_none() && seen.is_some() {
            at.put(key, next).await;
            return Ok(Swap::Lost(None));
        }
        at.memory.swap(key, seen, next).await
    }
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "a lost swap writes nothing")]
async fn a_lost_swap_writes_nothing() {
    store(flawed(Creating)).await;
}

/// Answers a lost swap without the current record.
#[derive(Debug)]
struct Mute;

#[async_trait]
impl Flaw for Mute {
    async fn swap(&self, at: &Handle, key: &Key, seen: Option<Revision>, next: &Record) -> Answer {
        Ok(match at.memory.swap(key, seen, next).await? {
            Swap::Lost(_) => Swap::Lost(None),
            swapped => swapped,
        })
    }
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "lost to the current entry: Lost(None)")]
async fn a_lost_race_is_answered_with_the_winner() {
    store(flawed(Mute)).await;
}

/// Counts revisions to five, and begins again.
#[derive(Debug)]
struct Repeating;

fn folded(revision: Revision) -> Revision {
    Revision::new(revision.number() % 5)
}

#[async_trait]
impl Flaw for Repeating {
    async fn load(&self, at: &Handle, key: &Key) -> Result<Loaded, StoreError> {
        let mut loaded = at.memory.load(key).await?;
        loaded.entry = loaded
            .entry
            .map(|(record, revision)| (record, folded(revision)));
        Ok(loaded)
    }

    async fn swap(&self, at: &Handle, key: &Key, seen: Option<Revision>, next: &Record) -> Answer {
        let held = at.revision(key).await;
        let same = held.map(folded) == seen;
        let seen = if same {
            held
        } else {
            Some(Revision::new(u64::MAX))
        };
        Ok(match at.memory.swap(key, seen, next).await? {
            Swap::Swapped(revision) => Swap::Swapped(folded(revision)),
            Swap::Lost(entry) => {
                Swap::Lost(entry.map(|(record, revision)| (record, folded(revision))))
            }
        })
    }
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "was given before")]
async fn no_revision_is_reused() {
    store(flawed(Repeating)).await;
}

/// The first handles have a storage of their own.
#[derive(Debug)]
struct Divided(MemoryStore);

#[async_trait]
impl Flaw for Divided {
    async fn load(&self, at: &Handle, key: &Key) -> Result<Loaded, StoreError> {
        let memory = if at.number < 4 { &at.memory } else { &self.0 };
        memory.load(key).await
    }
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "the record that was swapped in is loaded")]
async fn a_later_handle_has_the_same_storage() {
    store(flawed(Divided(MemoryStore::new()))).await;
}

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
