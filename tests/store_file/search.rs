//! A search answers by the current files, whatever was read before; and a change of a file is noticed.

use std::fs::{self, File};
use std::time::Duration;

use evertoken::protocol::Digest;
use evertoken::store::Revision;
use evertoken::testing::TestClock;
use evertoken::{FileStore, Key, TokenStore};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::scene::{directory, entry, key, open, path, put, record, stored, told};

async fn found(store: &FileStore, number: u64) -> Option<Key> {
    store.find(&digest(number)).await.unwrap()
}

fn digest(number: u64) -> Digest {
    record(&key(), number).digest()
}

#[tokio::test]
async fn a_search_follows_what_other_stores_write_replace_and_remove() {
    let directory = directory();
    let (store, other) = (open(&directory), open(&directory));
    assert_eq!(found(&store, 1).await, None);
    let revision = put(&other, None, &record(&key(), 1)).await;
    assert_eq!(found(&store, 1).await, Some(key()));
    let next = record(&key(), 2);
    put(&other, Some(revision), &next).await;
    assert_eq!(found(&store, 1).await, None);
    assert_eq!(found(&store, 2).await, Some(key()));
    fs::remove_file(path(&directory, &key())).unwrap();
    assert_eq!(found(&store, 2).await, None);
}

/// Another program writes into the file, so the directory's time does not change.
#[tokio::test]
async fn a_file_that_was_changed_in_place_is_read_again() {
    let (directory, store, _) = stored().await;
    assert_eq!(found(&store, 1).await, Some(key()));
    let path = path(&directory, &key());
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("sesame-1", "sesame-2")).unwrap();
    assert_eq!(found(&store, 1).await, None);
    assert_eq!(found(&store, 2).await, Some(key()));
}

#[tokio::test]
async fn a_copy_under_another_name_does_not_belong_to_a_session() {
    let (directory, store, _) = stored().await;
    let (file, copy) = (
        path(&directory, &key()),
        path(&directory, &key().label("copy")),
    );
    fs::rename(&file, &copy).unwrap();
    assert_eq!(found(&store, 1).await, None);
    fs::rename(&copy, &file).unwrap();
    assert_eq!(found(&store, 1).await, Some(key()));
    // A backup beside the record does not hide it.
    let backup = file.with_extension("bak.json");
    fs::copy(&file, &backup).unwrap();
    let (_, revision) = entry(&store, &key()).await.unwrap();
    put(&open(&directory), Some(revision), &record(&key(), 2)).await;
    let anew = open(&directory);
    for store in [&store, &anew] {
        assert_eq!(found(store, 2).await, Some(key()));
        assert_eq!(found(store, 1).await, None);
    }
}

#[tokio::test]
async fn an_unreadable_file_is_an_error_only_if_no_other_file_has_the_digest() {
    let (directory, store, _) = stored().await;
    let broken = path(&directory, &key().label("broken"));
    fs::copy(path(&directory, &key()), &broken).unwrap();
    fs::write(&broken, "{").unwrap();
    for _ in 0..2 {
        assert_eq!(found(&store, 1).await, Some(key()));
        let error = told(&store.find(&digest(2)).await.unwrap_err());
        assert!(error.contains(&broken.display().to_string()), "{error}");
    }
    fs::remove_file(&broken).unwrap();
    assert_eq!(found(&store, 2).await, None);
    assert!(entry(&store, &key()).await.is_some());
}

/// A wait for a change that has not happened yet.
async fn watched(store: FileStore, seen: Revision) -> JoinHandle<()> {
    let watch = tokio::spawn(async move { store.changed(&key(), Some(seen)).await });
    sleep(Duration::from_millis(100)).await;
    assert!(!watch.is_finished());
    watch
}

#[tokio::test(start_paused = true)]
async fn a_change_is_noticed_within_fifty_milliseconds() {
    let directory = directory();
    let clock = TestClock::new();
    let mut seen = None;
    for (number, pause) in [0, 1, 24, 499, 1_000, 7_777].into_iter().enumerate() {
        let watcher = open(&directory);
        let watch = tokio::spawn(async move {
            watcher.changed(&key(), seen).await;
            Instant::now()
        });
        clock.advance(Duration::from_millis(pause)).await;
        assert!(!watch.is_finished(), "nothing has changed yet");
        let store = open(&directory).with_clock(clock.clone());
        seen = Some(put(&store, seen, &record(&key(), number as u64)).await);
        let written = Instant::now();
        let noticed = watch.await.unwrap();
        assert!(noticed - written <= Duration::from_millis(50));
    }
}

#[tokio::test(start_paused = true)]
async fn a_removed_file_is_a_change() {
    let (directory, store, seen) = stored().await;
    let watch = watched(store, seen).await;
    fs::remove_file(path(&directory, &key())).unwrap();
    let noticed = timeout(Duration::from_millis(50), watch).await;
    noticed.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_change_without_a_new_stamp_is_noticed_too() {
    let (directory, store, seen) = stored().await;
    let path = path(&directory, &key());
    let text = fs::read_to_string(&path).unwrap();
    let modified = fs::metadata(&path).unwrap().modified().unwrap();
    let watch = watched(store, seen).await;
    let (old, new) = (seen.number(), seen.number() + 1);
    fs::write(&path, text.replace(&old.to_string(), &new.to_string())).unwrap();
    let file = File::options().write(true).open(&path).unwrap();
    file.set_modified(modified).unwrap();
    let noticed = timeout(Duration::from_millis(600), watch).await;
    noticed.unwrap().unwrap();
}
