use std::fs::{File, TryLockError};
use std::time::Duration;

use evertoken::TokenStore;
use evertoken::clock::{Clock, SystemClock};
use rustix::process::{Pid, Signal, kill_process};

use crate::process::Process;
use crate::scene::{directory, entry, key, lock_path, open, put, record, told};

/// The limit is four seconds of real time.
#[tokio::test]
async fn a_lock_whose_holder_is_stopped_is_named_and_one_whose_holder_is_dead_is_free() {
    let directory = directory();
    let store = open(&directory);
    let first = record(&key(), 1);
    let revision = put(&store, None, &first).await;
    let lock = lock_path(&directory, &key());
    let mut holder = Process::start("lock", "", &lock);
    let file = File::open(&lock).unwrap();
    while !matches!(file.try_lock(), Err(TryLockError::WouldBlock)) {
        holder.assert_running();
        file.unlock().unwrap();
        std::thread::yield_now();
    }
    let id = Pid::from_raw(holder.id().try_into().unwrap()).unwrap();
    kill_process(id, Signal::STOP).unwrap();

    let (next, key_of) = (record(&key(), 2), key());
    let start = SystemClock.now();
    let swaps = [(); 4].map(|()| store.swap(&key_of, Some(revision), &next));
    for answer in futures_util::future::join_all(swaps).await {
        let error = told(&answer.unwrap_err());
        assert!(error.contains(&lock.display().to_string()), "{error}");
        assert!(
            error.contains("check whether that process is stopped"),
            "{error}"
        );
    }
    // All swaps waited at the same time, although only one of them tried the lock.
    assert!(SystemClock.now().since(start) < Duration::from_secs(12));
    // Readers do not need the lock.
    assert_eq!(entry(&store, &key()).await, Some((first, revision)));

    holder.kill();
    put(&store, Some(revision), &next).await;
}
