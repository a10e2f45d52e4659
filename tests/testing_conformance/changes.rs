use std::future::pending;
use std::sync::atomic::{AtomicU64, Ordering};

use evertoken::protocol::Record;
use evertoken::store::{Loaded, Revision, StoreTime, Swap};
use evertoken::testing::conformance::store;
use evertoken::{Key, StoreError, TokenStore, async_trait};
use tokio::sync::Notify;
use tokio::task::yield_now;

use crate::flaw::{Flaw, Handle, flawed};

/// Notices nothing.
#[derive(Debug)]
struct Deaf;

#[async_trait]
impl Flaw for Deaf {
    async fn changed(&self, _: &Handle, _: &Key, _: Option<Revision>) {
        pending().await
    }
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "`changed` did not notice a swap")]
async fn changes_are_noticed() {
    store(flawed(Deaf)).await;
}

/// Only the first handle notices changes.
#[derive(Debug)]
struct HalfDeaf;

#[async_trait]
impl Flaw for HalfDeaf {
    async fn changed(&self, at: &Handle, key: &Key, seen: Option<Revision>) {
        if at.number == 0 {
            return at.memory.changed(key, seen).await;
        }
        pending().await
    }
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "`changed` did not notice a swap")]
async fn changes_by_another_handle_are_noticed() {
    store(flawed(HalfDeaf)).await;
}

/// Waits for changes of records that exist, and for no creation.
#[derive(Debug)]
struct Uncreative;

#[async_trait]
impl Flaw for Uncreative {
    async fn changed(&self, at: &Handle, key: &Key, seen: Option<Revision>) {
        if seen.is_none() {
            pending().await
        }
        at.memory.changed(key, seen).await;
    }
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "`changed` did not notice a swap")]
async fn creations_are_noticed() {
    store(flawed(Uncreative)).await;
}

/// Waits for a creation, whatever was seen before.
#[derive(Debug)]
struct Patient;

#[async_trait]
impl Flaw for Patient {
    async fn changed(&self, at: &Handle, key: &Key, seen: Option<Revision>) {
        let held = at.revision(key).await;
        at.memory
            .changed(key, if held.is_none() { None } else { seen })
            .await;
    }
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "`changed` waits for a revision of a key that has none")]
async fn a_record_that_is_gone_is_a_change() {
    store(flawed(Patient)).await;
}

/// Waits for the next change, whatever has changed before.
#[derive(Debug)]
struct Forgetful;

#[async_trait]
impl Flaw for Forgetful {
    async fn changed(&self, at: &Handle, key: &Key, _: Option<Revision>) {
        at.memory.changed(key, at.revision(key).await).await;
    }
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "waits although the record has changed already")]
async fn a_change_before_the_wait_is_noticed() {
    store(flawed(Forgetful)).await;
}

/// Reads the record first, and subscribes then.
#[derive(Debug)]
struct Hasty;

#[async_trait]
impl Flaw for Hasty {
    async fn changed(&self, at: &Handle, key: &Key, seen: Option<Revision>) {
        if at.revision(key).await != seen {
            return;
        }
        yield_now().await;
        at.memory.changed(key, at.revision(key).await).await;
    }
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "missed a swap that came while it began")]
async fn a_change_between_reading_and_subscribing_is_noticed() {
    store(flawed(Hasty)).await;
}

/// Notifies one waiter at a time.
#[derive(Debug, Default)]
struct Single(AtomicU64);

#[async_trait]
impl Flaw for Single {
    async fn changed(&self, at: &Handle, key: &Key, seen: Option<Revision>) {
        if !key.label.starts_with("waiters") {
            return at.memory.changed(key, seen).await;
        }
        let number = self.0.fetch_add(1, Ordering::SeqCst) + 1;
        at.memory.changed(key, seen).await;
        if self.0.load(Ordering::SeqCst) != number {
            pending().await
        }
    }
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "one of several waiters did not notice a swap")]
async fn every_waiter_is_notified() {
    store(flawed(Single::default())).await;
}

/// A waiter that is dropped ends the subscriptions of other waiters.
#[derive(Debug, Default)]
struct Unsubscribing(AtomicU64);

struct Subscription<'a>(&'a AtomicU64, bool);

impl Drop for Subscription<'_> {
    fn drop(&mut self) {
        if self.1 {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
}

#[async_trait]
impl Flaw for Unsubscribing {
    async fn changed(&self, at: &Handle, key: &Key, seen: Option<Revision>) {
        let dropped = self.0.load(Ordering::SeqCst);
        let mut subscription = Subscription(&self.0, true);
        at.memory.changed(key, seen).await;
        subscription.1 = false;
        if key.label.ends_with("other") && self.0.load(Ordering::SeqCst) != dropped {
            pending().await
        }
    }
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "after other waiters had gone")]
async fn a_dropped_waiter_does_not_end_the_wait_of_another() {
    store(flawed(Unsubscribing::default())).await;
}

/// Wakes every waiter at every swap.
#[derive(Debug, Default)]
struct Overhearing {
    written: Notify,
    by_lost_swaps: bool,
}

#[async_trait]
impl Flaw for Overhearing {
    async fn swap(
        &self,
        at: &Handle,
        key: &Key,
        seen: Option<Revision>,
        next: &Record,
    ) -> Result<Swap, StoreError> {
        let answer = at.memory.swap(key, seen, next).await;
        if matches!(answer, Ok(Swap::Lost(_))) == self.by_lost_swaps {
            self.written.notify_waiters();
        }
        answer
    }

    async fn changed(&self, at: &Handle, key: &Key, seen: Option<Revision>) {
        tokio::select! {
            () = at.memory.changed(key, seen) => {}
            () = self.written.notified() => {}
        }
    }
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "returned although the key has not changed")]
async fn changes_of_other_keys_are_not_noticed() {
    store(flawed(Overhearing::default())).await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "returned although the key has not changed")]
async fn lost_swaps_are_not_noticed() {
    let by_lost_swaps = true;
    store(flawed(Overhearing {
        by_lost_swaps,
        ..Overhearing::default()
    }))
    .await;
}

/// Answers another time, computed from the handle's number, the number of the load, and the right time.
#[derive(Debug)]
struct Wrong(AtomicU64, fn(u64, u64, u64) -> u64);

#[async_trait]
impl Flaw for Wrong {
    async fn load(&self, at: &Handle, key: &Key) -> Result<Loaded, StoreError> {
        let mut loaded = at.memory.load(key).await?;
        let count = self.0.fetch_add(1, Ordering::SeqCst);
        let wrong = self.1(at.number as u64, count, loaded.now.as_millis());
        loaded.now = StoreTime::from_millis(wrong);
        Ok(loaded)
    }
}

async fn answers(time: fn(u64, u64, u64) -> u64) {
    store(flawed(Wrong(AtomicU64::new(0), time))).await;
}

const NOW: u64 = 1_700_000_000_000;
const HOUR: u64 = 3_600_000;

#[tokio::test(start_paused = true)]
#[should_panic(expected = "milliseconds since 1970")]
async fn time_is_not_counted_from_the_start_of_the_store() {
    answers(|_, count, _| count).await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "milliseconds since 1970")]
async fn time_is_not_counted_in_seconds() {
    answers(|_, _, now| now / 1_000).await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "milliseconds since 1970")]
async fn time_is_not_counted_in_microseconds() {
    answers(|_, _, now| now * 1_000).await;
}

#[tokio::test]
async fn time_may_be_coarse() {
    answers(|_, _, now| now / 1_000 * 1_000).await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "two handles have two times")]
async fn time_is_one_for_all_handles() {
    answers(|number, _, now| now + number * HOUR).await;
}

#[tokio::test]
#[should_panic(expected = "time went back")]
async fn time_does_not_go_back() {
    // An hour less from some reading on.
    answers(|_, count, _| if count < 60 { NOW } else { NOW - HOUR }).await;
}

/// The suite finds the flaw within five seconds.
#[tokio::test]
#[should_panic(expected = "time stands still")]
async fn time_advances() {
    answers(|_, _, _| NOW).await;
}
