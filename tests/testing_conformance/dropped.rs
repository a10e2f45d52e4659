use std::collections::VecDeque;
use std::time::Duration;

use evertoken::protocol::Record;
use evertoken::store::{Loaded, Revision, Swap};
use evertoken::testing::conformance::store;
use evertoken::{Key, StoreError, TokenStore, async_trait};
use parking_lot::Mutex;
use tokio::task::yield_now;

use crate::flaw::{Flaw, Handle, edited, flawed};

type Answer = Result<Swap, StoreError>;

/// Writes a part of the record first, slowly enough for a drop in between.
#[derive(Debug)]
struct InTwoSteps;

#[async_trait]
impl Flaw for InTwoSteps {
    async fn swap(&self, at: &Handle, key: &Key, seen: Option<Revision>, next: &Record) -> Answer {
        if !key.label.starts_with("dropped") {
            return at.memory.swap(key, seen, next).await;
        }
        let part = edited(next, |form| form["filler"] = "".into());
        match at.memory.swap(key, seen, &part).await? {
            Swap::Swapped(revision) => {
                yield_now().await;
                at.memory.swap(key, Some(revision), next).await
            }
            lost => Ok(lost),
        }
    }
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "a swap that was dropped was carried out in part")]
async fn a_dropped_swap_is_carried_out_entirely_or_not_at_all() {
    store(flawed(InTwoSteps)).await;
}

/// Gives a new revision first, and writes the record then.
#[derive(Debug)]
struct Renumbering;

#[async_trait]
impl Flaw for Renumbering {
    async fn swap(&self, at: &Handle, key: &Key, seen: Option<Revision>, next: &Record) -> Answer {
        let held = at.memory.load(key).await?.entry;
        let Some((record, revision)) = held.filter(|_| key.label.starts_with("dropped")) else {
            return at.memory.swap(key, seen, next).await;
        };
        if Some(revision) != seen {
            return at.memory.swap(key, seen, next).await;
        }
        let Swap::Swapped(revision) = at.memory.swap(key, seen, &record).await? else {
            panic!("a swap without a rival was lost");
        };
        yield_now().await;
        at.memory.swap(key, Some(revision), next).await
    }
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "a swap that was dropped was carried out in part")]
async fn a_dropped_swap_gives_no_revision_without_its_record() {
    store(flawed(Renumbering)).await;
}

/// A lock that a dropped call never releases.
#[derive(Debug, Default)]
struct Locking(Mutex<bool>);

impl Locking {
    async fn lock(&self) {
        while std::mem::replace(&mut *self.0.lock(), true) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        yield_now().await;
    }

    fn unlock(&self) {
        *self.0.lock() = false;
    }
}

#[async_trait]
impl Flaw for Locking {
    async fn swap(&self, at: &Handle, key: &Key, seen: Option<Revision>, next: &Record) -> Answer {
        self.lock().await;
        let answer = at.memory.swap(key, seen, next).await;
        self.unlock();
        answer
    }
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "swap was not answered within 30s")]
async fn a_handle_works_after_a_dropped_call() {
    store(flawed(Locking::default())).await;
}

/// A dropped swap is carried out much later, whatever was written by then.
#[derive(Debug)]
struct Belated;

#[async_trait]
impl Flaw for Belated {
    async fn swap(&self, at: &Handle, key: &Key, seen: Option<Revision>, next: &Record) -> Answer {
        struct Later(Option<(Handle, Key, Record)>);
        impl Drop for Later {
            fn drop(&mut self) {
                let Some((at, key, next)) = self.0.take() else {
                    return;
                };
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(190)).await;
                    at.put(&key, &next).await;
                });
            }
        }
        let mut later = Later(Some((at.clone(), key.clone(), next.clone())));
        yield_now().await;
        later.0 = None;
        at.memory.swap(key, seen, next).await
    }
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "the record that was swapped in is loaded")]
async fn a_dropped_swap_that_happens_late_compares() {
    store(flawed(Belated)).await;
}

/// Gives the next answer to the next call, whichever call it belongs to.
#[derive(Debug, Default)]
struct Crossing(Mutex<VecDeque<Loaded>>);

#[async_trait]
impl Flaw for Crossing {
    async fn load(&self, at: &Handle, key: &Key) -> Result<Loaded, StoreError> {
        let loaded = at.memory.load(key).await?;
        if !["dropped load", "the load after"]
            .iter()
            .any(|label| key.label.starts_with(label))
        {
            return Ok(loaded);
        }
        self.0.lock().push_back(loaded);
        yield_now().await;
        Ok(self.0.lock().pop_front().unwrap())
    }
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "the record that was swapped in is loaded")]
async fn the_answer_to_a_dropped_call_is_not_given_to_the_next_call() {
    store(flawed(Crossing::default())).await;
}
