//! A search answers by the current files, whatever was read before.

use std::fs;

use evertoken::protocol::Digest;
use evertoken::{FileStore, Key, TokenStore};

use crate::scene::{directory, entry, key, open, path, put, record, told};

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
    let directory = directory();
    let store = open(&directory);
    put(&store, None, &record(&key(), 1)).await;
    assert_eq!(found(&store, 1).await, Some(key()));
    let path = path(&directory, &key());
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("sesame-1", "sesame-2")).unwrap();
    assert_eq!(found(&store, 1).await, None);
    assert_eq!(found(&store, 2).await, Some(key()));
}

#[tokio::test]
async fn a_copy_under_another_name_does_not_belong_to_a_session() {
    let directory = directory();
    let store = open(&directory);
    put(&store, None, &record(&key(), 1)).await;
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
    let directory = directory();
    let store = open(&directory);
    put(&store, None, &record(&key(), 1)).await;
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
