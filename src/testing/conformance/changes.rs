//! What a waiting instance needs of a store: notice of each change of its key, and one time that advances, by which an
//! instance measures the age of a lease.

use std::time::Duration;

use tokio::task::{JoinHandle, yield_now};
use tokio::time::{sleep, timeout};

use super::{PATIENCE, Store, key, load, record, swap, write};
use crate::clock::{Clock, SystemClock};
use crate::store::{Revision, StoreTime, Swap};
use crate::token::Key;

/// Time for a waiter to begin. No check depends on whether it is enough.
const BEGIN: Duration = Duration::from_millis(50);

type Waiter = JoinHandle<()>;

fn waiter(store: &Store, key: &Key, seen: Option<Revision>) -> Waiter {
    let (store, key) = (store.clone(), key.clone());
    tokio::spawn(async move { store.changed(&key, seen).await })
}

/// A waiter on each of these handles.
fn waiters(handles: &[Store], key: &Key, seen: Option<Revision>) -> Vec<Waiter> {
    handles
        .iter()
        .map(|store| waiter(store, key, seen))
        .collect()
}

async fn expect_noticed(waiters: impl IntoIterator<Item = Waiter>, what: &str) {
    for waiter in waiters {
        match timeout(PATIENCE, waiter).await {
            Ok(Ok(())) => {}
            Ok(Err(died)) => panic!("a waiter panicked: {died}"),
            Err(_) => panic!("{what}"),
        }
    }
}

/// Creations, replacements, and changes before the wait began.
pub(super) async fn are_noticed(handles: &[Store]) {
    let key = key("changes");
    let mut seen = None;
    let mut old = Vec::new();
    for (version, writer) in (1..).zip(handles) {
        let waiters_now = waiters(handles, &key, seen);
        sleep(BEGIN).await;
        let next = write(writer, &key, seen, &record(&key, version)).await;
        expect_noticed(waiters_now, "`changed` did not notice a swap").await;
        old.push(seen);
        for old in &old {
            let what = "`changed` waits although the record has changed already";
            expect_noticed(waiters(handles, &key, *old), what).await;
        }
        seen = Some(next);
    }
    let absent = key.clone().label(format!("{} absent", key.label));
    let what = "`changed` waits for a revision of a key that has none";
    expect_noticed([waiter(&handles[0], &absent, seen)], what).await;
}

/// A store that first reads and then subscribes misses a change in between.
pub(super) async fn are_noticed_while_a_waiter_begins(handles: &[Store]) {
    let key = key("moments");
    let mut seen = None;
    for round in 0..24 {
        let (one, other) = (&handles[round % 2], &handles[2]);
        let waiter = waiter(one, &key, seen);
        for _ in 0..round {
            yield_now().await;
        }
        seen = Some(write(other, &key, seen, &record(&key, round as u64)).await);
        expect_noticed([waiter], "`changed` missed a swap that came while it began").await;
    }
}

/// Several waiters on one handle and on several handles, also if other waiters give up.
pub(super) async fn reach_every_waiter(handles: &[Store]) {
    let key = key("waiters");
    let other_key = key.clone().label(format!("{} other", key.label));
    let mut seen = write(&handles[0], &key, None, &record(&key, 1)).await;
    let other_seen = write(&handles[0], &other_key, None, &record(&other_key, 1)).await;
    let others = waiters(handles, &other_key, Some(other_seen));
    for version in 2..5 {
        let mut waiters = Vec::new();
        for store in handles {
            let gives_up = waiter(store, &key, Some(seen));
            waiters.extend([(); 3].map(|()| waiter(store, &key, Some(seen))));
            let gives_up_too = waiter(store, &key, Some(seen));
            // A waiter that is dropped before its first poll.
            drop(store.changed(&key, Some(seen)));
            sleep(BEGIN).await;
            gives_up.abort();
            gives_up_too.abort();
        }
        sleep(BEGIN).await;
        seen = write(&handles[1], &key, Some(seen), &record(&key, version)).await;
        expect_noticed(waiters, "one of several waiters did not notice a swap").await;
    }
    let next = record(&other_key, 2);
    write(&handles[2], &other_key, Some(other_seen), &next).await;
    let what = "a waiter did not notice a swap after other waiters had gone";
    expect_noticed(others, what).await;
}

pub(super) async fn of_other_keys_are_not_noticed(handles: &[Store]) {
    let [key, absent, busy] = ["quiet", "quiet and absent", "busy"].map(key);
    let seen = write(&handles[0], &key, None, &record(&key, 1)).await;
    let mut waiting = waiters(handles, &key, Some(seen));
    waiting.extend(waiters(handles, &absent, None));
    let mut busy_seen = None;
    for (version, writer) in (1..=8).zip(handles.iter().cycle()) {
        sleep(BEGIN).await;
        busy_seen = Some(write(writer, &busy, busy_seen, &record(&busy, version)).await);
        let lost = swap(writer, &key, None, &record(&key, 2)).await;
        assert!(matches!(lost, Swap::Lost(_)), "a second creation is lost");
    }
    sleep(BEGIN * 4).await;
    let all_wait = waiting.iter().all(|waiter| !waiter.is_finished());
    assert!(
        all_wait,
        "`changed` returned although the key has not changed"
    );
    write(&handles[0], &key, Some(seen), &record(&key, 2)).await;
    write(&handles[0], &absent, None, &record(&absent, 1)).await;
    let what = "`changed` did not notice a swap after those of another key";
    expect_noticed(waiting, what).await;
}

/// 2020. A store that counts from its own start, or in seconds, is far below.
const PLAUSIBLE: StoreTime = StoreTime::from_millis(1_577_836_800_000);

/// 2200. A store that counts in microseconds is far above.
const IMPLAUSIBLE: StoreTime = StoreTime::from_millis(7_258_118_400_000);

/// How far two readings may contradict each other, and how long a reading may stay the same: a fraction of the lease
/// duration that is measured by them.
const SLACK: Duration = Duration::from_secs(5);

pub(super) async fn time_is_one_and_goes_on(handles: &[Store]) {
    let first = read(handles).await;
    let plausible = first
        .iter()
        .all(|now| (PLAUSIBLE..IMPLAUSIBLE).contains(now));
    assert!(plausible, "the store's time is in milliseconds since 1970");
    let start = SystemClock.now();
    let mut latest = first.clone();
    while latest.iter().zip(&first).any(|(now, first)| now <= first) {
        sleep(Duration::from_millis(20)).await;
        let took = SystemClock.now().since(start);
        assert!(took < SLACK, "the store's time stands still");
        let now = read(handles).await;
        for (now, latest) in now.iter().zip(&latest) {
            assert!(now.after(SLACK) >= *latest, "the store's time went back");
        }
        latest = now;
    }
}

/// Reads the time by every handle, one right after the other.
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
            let apart = one.since(*other);
            assert!(apart <= took + SLACK, "two handles have two times");
        }
    }
    times
}
