//! The store's time: all that a lease's age is measured by.

use std::time::Duration;

use tokio::time::sleep;

use super::calls::{Store, load};
use super::records::key;
use crate::clock::{Clock, SystemClock};
use crate::store::StoreTime;

/// 2020: a store that counts from its own start, or in seconds, is far below.
const PLAUSIBLE: StoreTime = StoreTime::from_millis(1_577_836_800_000);

/// 2200: one that counts in microseconds is far above.
const IMPLAUSIBLE: StoreTime = StoreTime::from_millis(7_258_118_400_000);

/// How far two readings may contradict each other, and for how long a reading may stay the same: a fraction of the lease duration that is counted by them.
const SLACK: Duration = Duration::from_secs(5);

pub(super) async fn is_one_and_goes_on(handles: &[Store]) {
    let first = read(handles).await;
    for now in &first {
        assert!(
            (PLAUSIBLE..IMPLAUSIBLE).contains(now),
            "the store's time is in milliseconds since 1970"
        );
    }
    let start = SystemClock.now();
    let mut latest = first.clone();
    while latest.iter().zip(&first).any(|(now, first)| now <= first) {
        sleep(Duration::from_millis(20)).await;
        assert!(
            SystemClock.now().since(start) < SLACK,
            "the store's time stands still"
        );
        let now = read(handles).await;
        for (now, latest) in now.iter().zip(&latest) {
            assert!(now.after(SLACK) >= *latest, "the store's time went back");
        }
        latest = now;
    }
}

/// By every handle, one right after the other.
async fn read(handles: &[Store]) -> Vec<StoreTime> {
    let key = key("time");
    let mut times = Vec::new();
    let start = SystemClock.now();
    for store in handles {
        times.push(load(store, &key).await.now);
    }
    let took = SystemClock.now().since(start);
    for one in &times {
        for other in &times {
            assert!(
                one.since(*other) <= took + SLACK,
                "two handles have two times"
            );
        }
    }
    times
}
