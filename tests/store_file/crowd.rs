//! Many swaps of one process, and swaps whose callers give up.

use std::fs::File;
use std::time::Duration;

use evertoken::clock::{Clock, SystemClock};
use evertoken::store::{Revision, Swap};
use evertoken::{FileStore, TokenStore};
use futures_util::future::join_all;
use tokio::runtime::Builder;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::scene::{directory, entry, key, lock_path, number, open, put, record};

/// Other work needs the threads, too.
const THREADS: usize = 2;

fn runtime() -> tokio::runtime::Runtime {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(2).max_blocking_threads(THREADS);
    builder.enable_all().build().unwrap()
}

fn swap(store: &FileStore, seen: Revision, number: usize) -> JoinHandle<Swap> {
    let store = store.clone();
    let next = record(&key(), number as u64);
    tokio::spawn(async move { store.swap(&key(), Some(seen), &next).await.unwrap() })
}

async fn assert_one_wins(swaps: Vec<JoinHandle<Swap>>) {
    let swaps = join_all(swaps).await.into_iter();
    let won = swaps.filter(|swap| matches!(swap, Ok(Swap::Swapped(_))));
    assert_eq!(won.count(), 1);
}

#[test]
fn n12_a_thousand_swaps_at_once_are_all_answered_and_one_wins() {
    runtime().block_on(async {
        let directory = directory();
        let (one, other) = (open(&directory), open(&directory));
        let seen = put(&one, None, &record(&key(), 0)).await;
        let swaps = (1..=1_000).map(|number| swap([&one, &other][number % 2], seen, number));
        assert_one_wins(swaps.collect()).await;
    });
}

#[test]
fn swaps_that_wait_for_another_process_occupy_no_thread() {
    let directory = directory();
    let store = open(&directory);
    runtime().block_on(async {
        let seen = put(&store, None, &record(&key(), 0)).await;
        // A lock through another file description counts as another process's lock.
        let lock = File::open(lock_path(&directory, &key())).unwrap();
        lock.lock().unwrap();
        let swaps: Vec<_> = (1..=100).map(|number| swap(&store, seen, number)).collect();
        for number in 0..100 {
            let other = key().label(format!("{number}"));
            put(&store, None, &record(&other, 1)).await;
            assert_eq!(entry(&store, &key()).await.unwrap().1, seen);
        }
        assert!(swaps.iter().all(|swap| !swap.is_finished()));
        drop(lock);
        assert_one_wins(swaps).await;
    });
}

#[test]
fn a_swap_whose_caller_gave_up_does_not_wait_for_the_lock() {
    let directory = directory();
    let lock = File::create(lock_path(&directory, &key())).unwrap();
    lock.lock().unwrap();
    let store = open(&directory);
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let start = SystemClock.now();
    runtime.block_on(async {
        let next = record(&key(), 1);
        let key = key();
        let swap = store.swap(&key, None, &next);
        timeout(Duration::from_millis(50), swap).await.unwrap_err();
    });
    // Waits until the threads are free.
    drop(runtime);
    assert!(SystemClock.now().since(start) < Duration::from_secs(2));

    lock.unlock().unwrap();
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(put(&store, None, &record(&key(), 2)));
}

#[tokio::test]
async fn a_swap_that_times_out_at_any_point_is_carried_out_entirely_or_not_at_all() {
    let directory = directory();
    let (store, key) = (open(&directory), key());
    put(&store, None, &record(&key, 0)).await;
    let mut last = 0;
    for attempt in 1..=200 {
        let (_, revision) = entry(&store, &key).await.unwrap();
        let next = record(&key, attempt);
        let swap = store.swap(&key, Some(revision), &next);
        let _ = timeout(Duration::from_micros(attempt * 20), swap).await;
        let (found, _) = entry(&store, &key).await.unwrap();
        assert!(number(&found) == last || number(&found) <= attempt);
        assert!(number(&found) >= last, "an older record came back");
        last = number(&found);
    }
}
