//! Swaps on a disk that refuses a step, and the cost of searches.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use serde_json::json;
use tempfile::TempDir;

use super::swap::Disk;
use super::{FileStore, lock};
use crate::record::Record;
use crate::store::{Revision, Swap, TokenStore};
use crate::token::Key;

pub(super) fn directory() -> TempDir {
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700));
    builder.tempdir().unwrap()
}

pub(super) fn key(label: usize) -> Key {
    Key::new("https://id.example.org/token", "importer").label(label.to_string())
}

pub(super) fn record(label: usize, version: u64) -> Record {
    let form = json!({
        "format": 3, "key": key(label), "family": "0123456789abcdef0123456789abcdef", "version": version,
        "pair": {
            "issued_at": 1_700_000_000_000_u64,
            "access_token": format!("access {label} {version}"),
            "refresh_token": format!("refresh {label} {version}"),
        },
        "state": { "is": "active" }, "lease": null,
        "next_number": 1, "committed_number": 0, "past": {},
    });
    serde_json::from_value(form).unwrap()
}

pub(super) fn leased(record: &Record) -> Record {
    let mut form = serde_json::to_value(record).unwrap();
    form["lease"] = json!({
        "owner": "fedcba9876543210fedcba9876543210", "number": form["next_number"], "digest": record.digest(),
        "since": 1_700_000_000_000_u64,
    });
    form["next_number"] = 2.into();
    serde_json::from_value(form).unwrap()
}

pub(super) async fn put(store: &FileStore, seen: Option<Revision>, next: &Record) -> Revision {
    match store.swap(next.key(), seen, next).await.unwrap() {
        Swap::Swapped(revision) => revision,
        Swap::Lost(_) => panic!("the swap is lost"),
    }
}

fn names(directory: &Path, ending: &str) -> usize {
    let entries = fs::read_dir(directory).unwrap().flatten();
    let paths = entries.map(|entry| entry.path());
    paths
        .filter(|path| path.extension().is_some_and(|found| found == ending))
        .count()
}

#[cfg(unix)]
mod disk {
    use rustix::io::Errno;

    use super::*;

    fn refuses_with(errno: Errno) -> io::Result<()> {
        Err(errno.into())
    }

    fn with(directory: &TempDir, disk: Disk) -> FileStore {
        let mut store = FileStore::new(directory.path()).unwrap();
        store.disk = disk;
        store
    }

    /// A directory cannot be synced on CIFS and on some file systems in user space.
    #[tokio::test]
    async fn a_session_rotates_in_a_directory_that_cannot_be_synced() {
        let refusals: [fn(&File) -> io::Result<()>; 5] = [
            |_| refuses_with(Errno::INVAL),
            |_| refuses_with(Errno::NOTSUP),
            |_| refuses_with(Errno::NOSYS),
            |_| refuses_with(Errno::BADF),
            // At that step, every reader has the new record already.
            |_| refuses_with(Errno::IO),
        ];
        for sync_directory in refusals {
            let directory = directory();
            let disk = Disk {
                sync_directory,
                ..Disk::default()
            };
            let store = with(&directory, disk);
            let mut seen = None;
            for version in 1..4 {
                seen = Some(put(&store, seen, &record(0, version)).await);
                let entry = store.load(&key(0)).await.unwrap().entry;
                assert_eq!(entry, seen.map(|seen| (record(0, version), seen)));
            }
        }
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_synced_is_an_error_unless_the_file_system_cannot_sync() {
        let directory = directory();
        let unsupported = Disk {
            sync_file: |_| refuses_with(Errno::INVAL),
            ..Disk::default()
        };
        let seen = put(&with(&directory, unsupported), None, &record(0, 1)).await;
        let broken = Disk {
            sync_file: |_| refuses_with(Errno::IO),
            ..Disk::default()
        };
        let next = record(0, 2);
        let store = with(&directory, broken);
        let swap = store.swap(next.key(), Some(seen), &next).await;
        let error = swap.unwrap_err().to_string();
        assert!(error.contains("cannot sync the new file for"), "{error}");
        let entry = FileStore::new(&directory).unwrap().load(&key(0)).await;
        assert_eq!(entry.unwrap().entry, Some((record(0, 1), seen)));
        assert_eq!(names(directory.path(), "tmp"), 0);
    }

    /// A failed lease leaves no proof of life: otherwise each attempt would take one more descriptor.
    #[tokio::test]
    async fn a_lease_that_could_not_be_written_leaves_no_proof_of_life() {
        let directory = directory();
        let broken = Disk {
            sync_file: |_| refuses_with(Errno::IO),
            ..Disk::default()
        };
        let store = FileStore::new(&directory).unwrap();
        let seen = put(&store, None, &record(0, 1)).await;
        let leased = leased(&record(0, 1));
        let failing = with(&directory, broken);
        let swap = failing.swap(leased.key(), Some(seen), &leased).await;
        swap.unwrap_err();
        assert_eq!(names(directory.path(), "alive"), 0);
        put(&store, Some(seen), &leased).await;
        assert_eq!(names(directory.path(), "alive"), 1);
    }

    static RIVAL: Mutex<Option<(PathBuf, PathBuf)>> = Mutex::new(None);

    /// Removes the lock file, and replaces the session's record by another one, once.
    fn rival_comes(file: &File) -> io::Result<()> {
        if let Some((from, to)) = RIVAL.lock().unwrap().take() {
            fs::remove_file(lock::path(&to))?;
            fs::rename(from, to)?;
        }
        file.sync_all()
    }

    #[tokio::test]
    async fn a_swap_whose_lock_file_is_removed_meanwhile_does_not_overwrite_another_record() {
        let (ours, theirs) = (directory(), directory());
        let store = FileStore::new(&ours).unwrap();
        let seen = put(&store, None, &record(0, 1)).await;
        let elsewhere = FileStore::new(&theirs).unwrap();
        let first = put(&elsewhere, None, &record(0, 1)).await;
        let rival = put(&elsewhere, Some(first), &record(0, 2)).await;
        let paths = (elsewhere.path(&key(0)), store.path(&key(0)));
        *RIVAL.lock().unwrap() = Some(paths);
        let watched = Disk {
            sync_file: rival_comes,
            ..Disk::default()
        };
        let next = record(0, 3);
        let store = with(&ours, watched);
        let swap = store.swap(next.key(), Some(seen), &next).await;
        match swap.unwrap() {
            Swap::Lost(entry) => assert_eq!(entry, Some((record(0, 2), rival))),
            Swap::Swapped(_) => panic!("the other record was overwritten"),
        }
    }
}

/// The cost of searches, and what they wait for.
mod search {
    use std::pin::Pin;
    use std::sync::Arc;
    use std::sync::atomic::Ordering;
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::task::Poll;
    use std::time::Duration;

    use tokio::sync::Notify;

    use super::*;
    use crate::clock::{Clock, Coarse, SystemClock, Timestamp};
    use crate::store::file::search::{Name, search_after};
    use crate::token::Digest;

    /// A clock whose wall time is an hour ahead, so that every file counts as settled.
    #[derive(Debug)]
    struct Ahead;

    impl Clock for Ahead {
        fn now(&self) -> Timestamp {
            SystemClock.now()
        }

        fn wall(&self) -> Duration {
            SystemClock.wall() + Duration::from_secs(3_600)
        }

        fn coarse(&self) -> Coarse {
            SystemClock.coarse()
        }
    }

    fn ahead(directory: &TempDir) -> FileStore {
        FileStore::new(directory).unwrap().with_clock(Ahead)
    }

    async fn found(store: &FileStore, digest: &Digest) -> (Option<Key>, u64) {
        let reads = || store.index.reads.load(Ordering::Relaxed);
        let before = reads();
        let key = store.find(digest).await.unwrap();
        (key, reads() - before)
    }

    #[tokio::test]
    async fn a_search_reads_the_changed_files_and_the_file_of_the_session_that_it_finds() {
        let directory = directory();
        let writer = FileStore::new(&directory).unwrap();
        let mut seen = Vec::new();
        for label in 0..20 {
            seen.push(put(&writer, None, &record(label, 1)).await);
        }
        let store = ahead(&directory);
        let digest = |label, version| record(label, version).digest();
        assert_eq!(found(&store, &digest(7, 1)).await, (Some(key(7)), 20 + 1));
        assert_eq!(found(&store, &digest(8, 1)).await, (Some(key(8)), 1));
        assert_eq!(found(&store, &digest(8, 2)).await, (None, 0));
        put(&writer, Some(seen[8]), &record(8, 2)).await;
        assert_eq!(found(&store, &digest(8, 2)).await, (Some(key(8)), 1 + 1));
        // The index does not have this token any more, so no file is read.
        assert_eq!(found(&store, &digest(8, 1)).await, (None, 0));
    }

    #[tokio::test]
    async fn a_record_that_this_store_has_written_is_found_without_reading_other_files() {
        let directory = directory();
        let store = ahead(&directory);
        let mut seen = Vec::new();
        for label in 0..20 {
            seen.push(put(&store, None, &record(label, 1)).await);
        }
        let digest = |label, version| record(label, version).digest();
        assert_eq!(found(&store, &digest(7, 1)).await, (Some(key(7)), 20 + 1));
        put(&store, Some(seen[7]), &record(7, 2)).await;
        assert_eq!(found(&store, &digest(7, 2)).await, (Some(key(7)), 1));
    }

    #[tokio::test]
    async fn simultaneous_searches_read_the_directory_once() {
        let directory = directory();
        let store = ahead(&directory);
        for label in 0..20 {
            put(&store, None, &record(label, 1)).await;
        }
        let unknown = Digest::of("unknown");
        let order = store.index.order.lock().await;
        let searches = (0..20).map(|_| store.find(&unknown));
        let mut searches = futures_util::future::join_all(searches);
        let begun = std::future::poll_fn(|context| {
            Poll::Ready(Pin::new(&mut searches).poll(context).is_pending())
        });
        assert!(begun.await);
        drop(order);
        for found in searches.await {
            assert_eq!(found.unwrap(), None);
        }
        assert_eq!(store.index.reads.load(Ordering::Relaxed), 20);
        assert_eq!(store.index.begun.load(Ordering::Relaxed), 1);
    }

    /// A clock with a gate. A search reads the clock before each file, and so waits at the gate.
    #[derive(Debug, Clone, Default)]
    struct Gate {
        closed: Arc<Mutex<Option<Receiver<()>>>>,
        reached: Arc<Notify>,
    }

    impl Gate {
        /// Stops the next reader, until the sender is dropped.
        fn close(&self) -> Sender<()> {
            let (sender, receiver) = channel();
            *self.closed.lock().unwrap() = Some(receiver);
            sender
        }
    }

    impl Clock for Gate {
        fn now(&self) -> Timestamp {
            Ahead.now()
        }

        fn wall(&self) -> Duration {
            let closed = self.closed.lock().unwrap().take();
            if let Some(closed) = closed {
                self.reached.notify_one();
                closed.recv().unwrap_err();
            }
            Ahead.wall()
        }

        fn coarse(&self) -> Coarse {
            Ahead.coarse()
        }
    }

    fn gated(directory: &TempDir) -> (FileStore, Gate) {
        let gate = Gate::default();
        let store = FileStore::new(directory).unwrap();
        (store.with_clock(gate.clone()), gate)
    }

    async fn in_time<T>(answer: impl Future<Output = T>) -> T {
        let limit = Duration::from_secs(30);
        tokio::time::timeout(limit, answer).await.unwrap()
    }

    #[tokio::test]
    async fn a_known_session_is_found_while_another_search_reads_the_directory() {
        let directory = directory();
        let (store, gate) = gated(&directory);
        let seen = put(&store, None, &record(0, 1)).await;
        let digest = |label, version| record(label, version).digest();
        assert_eq!(found(&store, &digest(0, 1)).await, (Some(key(0)), 1 + 1));
        put(&store, None, &record(1, 1)).await;
        let open = gate.close();
        let reader = store.clone();
        let reading = tokio::spawn(async move { reader.find(&digest(1, 1)).await.unwrap() });
        gate.reached.notified().await;
        assert_eq!(in_time(found(&store, &digest(0, 1))).await.0, Some(key(0)));
        put(&store, Some(seen), &record(0, 2)).await;
        assert_eq!(in_time(found(&store, &digest(0, 2))).await.0, Some(key(0)));
        assert!(!reading.is_finished());
        drop(open);
        assert_eq!(reading.await.unwrap(), Some(key(1)));
        // The record is found whether the reading has seen it or not.
        assert_eq!(found(&store, &digest(0, 2)).await.0, Some(key(0)));
    }

    #[tokio::test]
    async fn a_reading_whose_search_was_given_up_serves_the_searches_before_it() {
        let directory = directory();
        let (store, gate) = gated(&directory);
        put(&store, None, &record(0, 1)).await;
        let begun = store.index.begun.load(Ordering::Relaxed);
        let open = gate.close();
        let other = store.clone();
        let given_up = tokio::spawn(async move { other.find(&Digest::of("unknown")).await });
        gate.reached.notified().await;
        given_up.abort();
        assert!(given_up.await.unwrap_err().is_cancelled());
        let one = store.clone();
        let earlier =
            async move { search_after(begun, &one, Name::Refresh(record(0, 1).digest())).await };
        let earlier = tokio::spawn(earlier);
        // Time enough for a search that does not wait to read the directory.
        for _ in 0..100 {
            tokio::task::spawn_blocking(|| ()).await.unwrap();
        }
        assert!(!earlier.is_finished());
        drop(open);
        assert_eq!(in_time(earlier).await.unwrap().unwrap(), Some(key(0)));
        assert_eq!(store.index.begun.load(Ordering::Relaxed), begun + 1);
    }
}
