use std::future::pending;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;

use evertoken::protocol::Record;
use evertoken::store::{Loaded, Revision, StoreTime, Swap};
use evertoken::testing::conformance::store;
use evertoken::{Key, StoreError, TokenStore, async_trait};
use tokio::sync::Notify;
use tokio::task::yield_now;

use crate::flaw::{Answer, Flaw, Handle, assert_found, assert_refused, flawed};

#[derive(Debug)]
enum Changes {
    /// Notices nothing.
    Deaf,
    /// Only the first handle notices changes.
    HalfDeaf,
    /// Waits for changes of records that exist, and for no creation.
    Uncreative,
    /// Waits for a creation, whatever was seen before.
    Patient,
    /// Waits for the next change, whatever has changed before.
    Forgetful,
    /// Reads the record first, and subscribes then.
    Hasty,
    /// Notifies one waiter at a time.
    Single,
    /// A waiter that is dropped ends the subscriptions of other waiters.
    Unsubscribing,
}

/// Counts itself where it is dropped before it is over.
struct Subscription<'a>(&'a AtomicU64, bool);

impl Drop for Subscription<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(self.1.into(), SeqCst);
    }
}

#[async_trait]
impl Flaw for Changes {
    async fn changed(&self, at: &Handle, key: &Key, seen: Option<Revision>) {
        let held = at.revision(key).await;
        match self {
            Self::Deaf => pending().await,
            Self::HalfDeaf if at.number > 0 => pending().await,
            Self::Uncreative if seen.is_none() => pending().await,
            Self::Patient => at.memory.changed(key, held.and(seen)).await,
            Self::Forgetful => at.memory.changed(key, held).await,
            Self::Hasty if held != seen => {}
            Self::Hasty => {
                yield_now().await;
                at.memory.changed(key, at.revision(key).await).await;
            }
            Self::Single if key.label.starts_with("waiters") => {
                let number = at.count.fetch_add(1, SeqCst) + 1;
                at.memory.changed(key, seen).await;
                if at.count.load(SeqCst) != number {
                    pending().await
                }
            }
            Self::Unsubscribing => {
                let dropped = at.count.load(SeqCst);
                let mut subscription = Subscription(&at.count, true);
                at.memory.changed(key, seen).await;
                subscription.1 = false;
                if key.label.ends_with("other") && at.count.load(SeqCst) != dropped {
                    pending().await
                }
            }
            _ => at.memory.changed(key, seen).await,
        }
    }
}

#[test]
fn the_suite_finds_that_a_store_does_not_notice_a_change() {
    use Changes::*;
    assert_found([
        (Deaf, "`changed` did not notice a swap"),
        (HalfDeaf, "`changed` did not notice a swap"),
        (Uncreative, "`changed` did not notice a swap"),
        (
            Patient,
            "`changed` waits for a revision of a key that has none",
        ),
        (Forgetful, "waits although the record has changed already"),
        (Hasty, "missed a swap that came while it began"),
        (Single, "one of several waiters did not notice a swap"),
        (Unsubscribing, "after other waiters had gone"),
    ]);
}

/// Wakes every waiter at every swap.
#[derive(Debug)]
struct Overhearing {
    written: Notify,
    by_lost_swaps: bool,
}

#[async_trait]
impl Flaw for Overhearing {
    async fn swap(&self, at: &Handle, key: &Key, seen: Option<Revision>, next: &Record) -> Answer {
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

#[test]
fn the_suite_finds_that_a_store_notices_another_key_or_a_lost_swap() {
    let overhearing = [false, true].map(|by_lost_swaps| {
        let written = Notify::new();
        let flaw = Overhearing {
            written,
            by_lost_swaps,
        };
        (flaw, "returned although the key has not changed")
    });
    assert_found(overhearing);
}

/// Computes a time from the handle's number, the number of the load, and the right time.
type Time = fn(u64, u64, u64) -> u64;

/// Answers another time.
#[derive(Debug)]
struct Wrong(Time);

#[async_trait]
impl Flaw for Wrong {
    async fn load(&self, at: &Handle, key: &Key) -> Result<Loaded, StoreError> {
        let mut loaded = at.memory.load(key).await?;
        let count = at.count.fetch_add(1, SeqCst);
        let wrong = self.0(at.number as u64, count, loaded.now.as_millis());
        loaded.now = StoreTime::from_millis(wrong);
        Ok(loaded)
    }
}

async fn answers(time: Time) {
    store(flawed(Wrong(time))).await;
}

const NOW: u64 = 1_700_000_000_000;
const HOUR: u64 = 3_600_000;

#[test]
fn the_suite_finds_a_time_in_another_unit_or_from_another_start() {
    let units: [(&str, Time); 3] = [
        ("from the start of the store", |_, count, _| count),
        ("in seconds", |_, _, now| now / 1_000),
        ("in microseconds", |_, _, now| now * 1_000),
    ];
    for (case, time) in units {
        assert_refused(case, answers(time), "milliseconds since 1970");
    }
}

#[tokio::test]
async fn the_suite_accepts_a_coarse_time() {
    answers(|_, _, now| now / 1_000 * 1_000).await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "two handles have two times")]
async fn the_suite_finds_that_each_handle_has_a_time_of_its_own() {
    answers(|number, _, now| now + number * HOUR).await;
}

#[tokio::test]
#[should_panic(expected = "time went back")]
async fn the_suite_finds_a_time_that_goes_back() {
    // An hour less from some reading on.
    answers(|_, count, _| if count < 60 { NOW } else { NOW - HOUR }).await;
}

/// The suite finds the flaw within five seconds.
#[tokio::test]
#[should_panic(expected = "time stands still")]
async fn the_suite_finds_a_time_that_stands_still() {
    answers(|_, _, _| NOW).await;
}
