use std::sync::atomic::{AtomicU64, Ordering};

use evertoken::store::{Loaded, StoreTime};
use evertoken::testing::conformance::store;
use evertoken::{Key, StoreError, TokenStore, async_trait};

use crate::flaw::{Flaw, Handle, flawed};

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
