//! Many swaps of one process.

use std::fs::File;

use evertoken::TokenStore;
use evertoken::store::Swap;
use tokio::runtime::Builder;

use crate::scene::{directory, entry, key, lock_path, open, put, record};

/// Other work needs the threads, too.
const THREADS: usize = 2;

fn runtime() -> tokio::runtime::Runtime {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(2).max_blocking_threads(THREADS);
    builder.enable_all().build().unwrap()
}

#[test]
fn n12_a_thousand_swaps_at_once_are_all_answered_and_one_wins() {
    runtime().block_on(async {
        let directory = directory();
        let (one, other) = (open(&directory), open(&directory));
        let seen = put(&one, None, &record(&key(), 0)).await;
        let swaps: Vec<_> = (1..=1_000)
            .map(|number| {
                let store = if number % 2 == 0 { &one } else { &other }.clone();
                tokio::spawn(async move {
                    store
                        .swap(&key(), Some(seen), &record(&key(), number))
                        .await
                        .unwrap()
                })
            })
            .collect();
        let mut won = 0;
        for swap in swaps {
            won += u64::from(matches!(swap.await.unwrap(), Swap::Swapped(_)));
        }
        assert_eq!(won, 1);
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
        let swaps: Vec<_> = (1..=100)
            .map(|number| {
                let store = store.clone();
                tokio::spawn(async move {
                    store
                        .swap(&key(), Some(seen), &record(&key(), number))
                        .await
                        .unwrap()
                })
            })
            .collect();
        for number in 0..100 {
            let other = key().label(format!("{number}"));
            put(&store, None, &record(&other, 1)).await;
            assert_eq!(entry(&store, &key()).await.unwrap().1, seen);
        }
        assert!(swaps.iter().all(|swap| !swap.is_finished()));
        drop(lock);
        let mut won = 0;
        for swap in swaps {
            won += u64::from(matches!(swap.await.unwrap(), Swap::Swapped(_)));
        }
        assert_eq!(won, 1);
    });
}
