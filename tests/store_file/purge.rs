//! The sessions that a purge removes.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use evertoken::protocol::Record;
use evertoken::store::Swap;
use evertoken::testing::TestClock;
use evertoken::{FileStore, Key, TokenStore};
use serde_json::json;

use crate::records::leased;
use crate::scene::{
    directory, edited, entry, files, key, lock_path, open, path, put, record, told,
};

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(24 * 3_600);

/// Tokens that were issued when a [`TestClock`] starts: the access token lives an hour, the refresh token this long.
fn lasting(key: &Key, refresh: Option<Duration>) -> Record {
    let known = |total: Duration| json!({ "known": { "total": 1_000 * total.as_secs() } });
    let refresh = refresh.map_or(json!("unknown"), known);
    let lifetime = json!({ "access": known(HOUR), "refresh": refresh });
    edited(&record(key, 1), |form| form["pair"]["lifetime"] = lifetime)
}

fn store(directory: impl AsRef<Path>, clock: &TestClock) -> FileStore {
    open(directory).with_clock(clock.clone())
}

#[tokio::test]
async fn a_session_is_removed_when_its_last_token_expired_thirty_days_ago() {
    let directory = directory();
    let clock = TestClock::new();
    let store = store(&directory, &clock);
    let keys = ["a day", "a year", "unknown"].map(|label| key().label(label));
    for (key, refresh) in keys.iter().zip([Some(DAY), Some(365 * DAY), None]) {
        put(&store, None, &lasting(key, refresh)).await;
    }
    assert_eq!(store.purge().await.unwrap(), 0);
    clock.step_wall(31 * DAY - HOUR);
    assert_eq!(store.purge().await.unwrap(), 0, "thirty days are not over");
    clock.step_wall(HOUR);
    let patient = store.clone().retention(Duration::MAX);
    assert_eq!(patient.purge().await.unwrap(), 0);
    assert_eq!(store.purge().await.unwrap(), 1);
    let left = files(&directory, "json");
    let mut expected: Vec<_> = keys[1..].iter().map(|key| path(&directory, key)).collect();
    expected.sort();
    assert_eq!(left, expected);
    assert!(!lock_path(&directory, &keys[0]).exists());
    // The session can begin again.
    put(&store, None, &lasting(&keys[0], None)).await;
    let at_once = store.clone().retention(Duration::ZERO);
    assert_eq!(at_once.purge().await.unwrap(), 0);
    clock.step_wall(365 * DAY);
    assert_eq!(at_once.purge().await.unwrap(), 1);
}

#[tokio::test]
async fn a_session_that_is_being_written_or_rotated_stays() {
    let directory = directory();
    let clock = TestClock::new();
    let store = store(&directory, &clock).retention(Duration::ZERO);
    let [written, rotated] = ["written", "rotated"].map(|label| key().label(label));
    put(&store, None, &lasting(&written, Some(DAY))).await;
    let first = lasting(&rotated, Some(DAY));
    let seen = put(&store, None, &first).await;
    let seen = put(&store, Some(seen), &leased(&first)).await;
    clock.step_wall(2 * DAY);
    let lock = File::open(lock_path(&directory, &written)).unwrap();
    lock.lock().unwrap();
    assert_eq!(store.purge().await.unwrap(), 0);
    drop(lock);
    let is_rotated = cfg!(unix);
    assert_eq!(store.purge().await.unwrap(), if is_rotated { 1 } else { 2 });
    if is_rotated {
        put(&store, Some(seen), &first).await;
        assert_eq!(store.purge().await.unwrap(), 1);
    }
    assert_eq!(files(&directory, "json").len(), 0);
}

#[tokio::test]
async fn an_unreadable_file_is_an_error_and_the_other_sessions_are_purged() {
    let directory = directory();
    let clock = TestClock::new();
    let store = store(&directory, &clock).retention(Duration::ZERO);
    for label in ["a", "b", "c"] {
        put(&store, None, &lasting(&key().label(label), Some(DAY))).await;
    }
    let broken = path(&directory, &key().label("b"));
    std::fs::write(&broken, "{").unwrap();
    clock.step_wall(2 * DAY);
    let error = told(&store.purge().await.unwrap_err());
    assert!(error.contains(&broken.display().to_string()), "{error}");
    assert_eq!(files(&directory, "json"), [broken]);
}

/// Each writer continues with the record that it finds, or begins anew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writing_and_purging_at_once_lose_no_swap() {
    let directory = directory();
    let clock = TestClock::new();
    clock.step_wall(2 * DAY);
    let store = store(&directory, &clock).retention(Duration::ZERO);
    let (purger, is_over) = (store.clone(), Arc::new(AtomicBool::new(false)));
    let ends = is_over.clone();
    // The purge is not aborted: an aborted purge would continue for a while, and hold a lock.
    let purging = tokio::spawn(async move {
        while !ends.load(Ordering::Relaxed) {
            purger.purge().await.unwrap();
        }
    });
    let writing = (0..4).map(|label: u32| {
        let (store, key) = (store.clone(), key().label(label.to_string()));
        tokio::spawn(async move {
            let next = lasting(&key, Some(DAY));
            let mut seen = None;
            for _ in 0..50 {
                seen = match store.swap(&key, seen, &next).await.unwrap() {
                    Swap::Swapped(revision) => Some(revision),
                    Swap::Lost(entry) => {
                        assert_eq!(entry, None, "only the purge is in the way");
                        None
                    }
                };
            }
        })
    });
    for writer in writing.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    is_over.store(true, Ordering::Relaxed);
    purging.await.unwrap();
    store.purge().await.unwrap();
    assert_eq!(files(&directory, "json").len(), 0);
    assert!(entry(&store, &key().label("0")).await.is_none());
}
