use std::fs::OpenOptions;
use std::time::Duration;

use evertoken::TokenStore;
use evertoken::clock::{Clock, SystemClock};
use tokio::runtime::Builder;
use tokio::time::timeout;

use crate::scene::{directory, entry, key, lock_path, number, open, put, record};

#[test]
fn a_swap_whose_caller_gave_up_does_not_wait_for_the_lock() {
    let directory = directory();
    let mut options = OpenOptions::new();
    let lock = options
        .create(true)
        .append(true)
        .open(lock_path(&directory, &key()))
        .unwrap();
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
    runtime.block_on(async {
        put(&store, None, &record(&key(), 2)).await;
    });
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
