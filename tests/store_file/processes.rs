//! Several processes on one directory, and some that are killed.

use std::collections::BTreeSet;
use std::fs::File;

use evertoken::clock::{Clock, SystemClock};
use evertoken::{Key, TokenStore};

use crate::process::{ANSWERS, COUNTS, Process};
use crate::scene::{directory, entry, files, key, lock_path, number, open, path, put, record};

#[tokio::test]
async fn two_processes_that_count_in_one_record_lose_no_swap() {
    let directory = directory();
    let processes = [(); 2].map(|()| Process::start("count", "", directory.path()));
    processes.into_iter().for_each(Process::succeeds);
    let (record, _) = entry(&open(&directory), &key()).await.unwrap();
    assert_eq!(number(&record), 2 * COUNTS);
}

/// Each of two processes waits for the other's writes. The delay is printed: half of a round trip, including a write
/// that is synced to the disk.
#[tokio::test]
async fn a_process_notices_each_change_that_another_makes() {
    let directory = directory();
    let store = open(&directory);
    let process = Process::start("answer", "", directory.path());
    let mut seen = None;
    let mut halves = Vec::new();
    for asked in (1..2 * ANSWERS).step_by(2) {
        let start = SystemClock.now();
        let asking = put(&store, seen, &record(&key(), asked)).await;
        store.changed(&key(), Some(asking)).await;
        let (found, revision) = entry(&store, &key()).await.unwrap();
        assert_eq!(number(&found), asked + 1);
        seen = Some(revision);
        halves.push(SystemClock.now().since(start) / 2);
    }
    process.succeeds();
    halves.sort();
    let [median, last] = [halves.len() / 2, halves.len() - 1].map(|at| halves[at]);
    println!("changes by another process were noticed in {median:?}, and in {last:?} at most");
}

#[tokio::test]
async fn fm11_a_killed_writer_leaves_a_whole_record_and_the_next_writer_continues() {
    let directory = directory();
    let store = open(&directory);
    put(&store, None, &record(&key(), 0)).await;
    for round in 0..20_usize {
        let (_, before) = entry(&store, &key()).await.unwrap();
        let mut writer = Process::start("write", "", directory.path());
        let mut seen = BTreeSet::new();
        // Reads without a pause: `number` detects a record that is not whole.
        while seen.len() < 3 + round {
            writer.assert_running();
            let (record, revision) = entry(&store, &key()).await.unwrap();
            number(&record);
            if revision != before {
                seen.insert(revision.number());
            }
        }
        writer.kill();
        let (record, revision) = entry(&store, &key()).await.unwrap();
        number(&record);
        // A new store, as after a restart, cleans up.
        put(&open(&directory), Some(revision), &record).await;
        assert_eq!(files(&directory, "tmp").len(), 0);
        assert_eq!(files(&directory, "json").len(), 1);
    }
}

/// A long record, so that the file is seen while it grows.
#[cfg(unix)]
#[tokio::test]
async fn fm38_the_temporary_file_is_private_from_its_creation_on() {
    use std::os::unix::fs::PermissionsExt;

    use crate::scene::mode;

    let directory = directory();
    let mut writer = Process::start("write", "umask 0", directory.path());
    let mut seen = BTreeSet::new();
    while seen.len() < 20 {
        writer.assert_running();
        for path in files(&directory, "tmp") {
            if let Ok(metadata) = std::fs::symlink_metadata(&path) {
                assert_eq!(metadata.permissions().mode() & 0o7777, 0o600);
                seen.insert(path);
            }
        }
    }
    writer.kill();
    for ending in ["json", "lock"] {
        let path = &files(&directory, ending)[0];
        assert_eq!(mode(path), 0o600, "{path:?}");
    }
    open(&directory).load(&key()).await.unwrap();
}

#[tokio::test]
async fn fm11_files_of_a_killed_process_are_removed_unless_another_process_writes_them() {
    let directory = directory();
    let at = |name: String| directory.path().join(name);
    let [ours, dead, live] = [key(), key().label("dead"), key().label("live")];
    let leftover = |key: &Key| at(format!("{}.a1B2c3.tmp", key.digest()));
    let foreign = at("notes.tmp".to_owned());
    let keys = [&ours, &dead, &live].map(leftover);
    for path in keys.iter().chain([&foreign]) {
        std::fs::write(path, "{\"revision\":1,\"record\":{\"form").unwrap();
    }
    let lock = File::create(lock_path(&directory, &live)).unwrap();
    lock.lock().unwrap();

    let store = open(&directory);
    put(&store, None, &record(&ours, 1)).await;
    let left = files(&directory, "tmp");
    let mut expected = vec![leftover(&live), foreign];
    expected.sort();
    assert_eq!(left, expected);
    assert_eq!(files(&directory, "json"), [path(&directory, &ours)]);
}
