//! Swaps on a disk that refuses a step.
//!
//! - [`search`]: what searches cost, and for what they wait

mod search;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use serde_json::json;
use tempfile::TempDir;

use super::replace::Disk;
use super::{FileStore, lock};
use crate::record::Record;
use crate::store::{Revision, Swap, TokenStore};
use crate::token::Key;

fn directory() -> TempDir {
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700));
    builder.tempdir().unwrap()
}

fn key(label: usize) -> Key {
    Key::new("https://id.example.org/token", "importer").label(label.to_string())
}

fn record(label: usize, version: u64) -> Record {
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

fn leased(record: &Record) -> Record {
    let mut form = serde_json::to_value(record).unwrap();
    form["lease"] = json!({
        "owner": "fedcba9876543210fedcba9876543210", "number": form["next_number"], "digest": record.digest(),
        "since": 1_700_000_000_000_u64,
    });
    form["next_number"] = 2.into();
    serde_json::from_value(form).unwrap()
}

async fn put(store: &FileStore, seen: Option<Revision>, next: &Record) -> Revision {
    match store.swap(next.key(), seen, next).await.unwrap() {
        Swap::Swapped(revision) => revision,
        Swap::Lost(_) => panic!("it is lost"),
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

    /// As on CIFS, and on some file systems in user space.
    #[tokio::test]
    async fn a_directory_that_cannot_be_synced_does_not_keep_a_session_from_rotating() {
        let refusals: [fn(&File) -> io::Result<()>; 5] = [
            |_| refuses_with(Errno::INVAL),
            |_| refuses_with(Errno::NOTSUP),
            |_| refuses_with(Errno::NOSYS),
            |_| refuses_with(Errno::BADF),
            // The record is replaced for every reader by then.
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
    async fn a_file_that_cannot_be_synced_is_an_error_unless_no_file_can_be() {
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

    /// Or a process that has no descriptor left would lose one more with each attempt.
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

    /// Takes the name from the lock, and puts another record in place of the session's, once.
    fn rival_comes(file: &File) -> io::Result<()> {
        if let Some((from, to)) = RIVAL.lock().unwrap().take() {
            fs::remove_file(lock::path(&to))?;
            fs::rename(from, to)?;
        }
        file.sync_all()
    }

    #[tokio::test]
    async fn a_swap_whose_lock_file_is_removed_meanwhile_does_not_write_over_another() {
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
            Swap::Swapped(_) => panic!("the other record is lost"),
        }
    }
}
