use std::fs::{File, TryLockError};

use evertoken::TokenStore;
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

    let next = record(&key(), 2);
    let error = store.swap(&key(), Some(revision), &next).await.unwrap_err();
    let error = told(&error);
    assert!(error.contains(&lock.display().to_string()), "{error}");
    assert!(error.contains("is it stopped?"), "{error}");
    // Readers need no lock.
    assert_eq!(entry(&store, &key()).await, Some((first, revision)));

    holder.kill();
    put(&store, Some(revision), &next).await;
}
