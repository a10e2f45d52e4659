//! The past tokens that have left a record are found by the file beside it; a problem of that file does not stop a
//! rotation.

use std::fs;
use std::path::PathBuf;

use evertoken::protocol::{Digest, Record};
use evertoken::store::{Revision, Swap};
use evertoken::{FileStore, Key, TokenStore};
use serde_json::json;
use tempfile::TempDir;

use crate::records::names;
use crate::scene::{directory, edited, entry, files, key, open, path, put, record};
#[cfg(unix)]
use crate::scene::{mode, set_mode};
use crate::seal::FakeSealer;

/// How many past tokens of the token endpoint stay in a record.
const INSIDE: u64 = 8;

/// How many past tokens that have left the record are found.
const OUTSIDE: u64 = 256;

fn digest(number: u64) -> Digest {
    record(&key(), number).digest()
}

/// The record of a session after this number of rotations.
fn rotated(key: &Key, number: u64) -> Record {
    let past = number.saturating_sub(INSIDE).max(1)..number;
    let names = names(past.map(digest));
    edited(&record(key, number), |form| {
        form["past"]["refreshed"] = names.into()
    })
}

/// Writes the first twenty records of a session.
async fn rotate(store: &FileStore) -> Revision {
    let mut seen = None;
    for number in 1..=20 {
        seen = Some(put(store, seen, &rotated(&key(), number)).await);
    }
    seen.unwrap()
}

fn beside(directory: &TempDir, key: &Key) -> PathBuf {
    path(directory, key).with_extension("past")
}

async fn is_found(store: &FileStore, number: u64) -> bool {
    let found = store.find(&digest(number)).await.unwrap();
    assert!(found.as_ref().is_none_or(|found| *found == key()));
    found.is_some()
}

#[tokio::test]
async fn the_last_tokens_that_have_left_a_record_are_found_by_every_store() {
    let directory = directory();
    let writer = open(&directory);
    let reader = open(&directory).sealed(FakeSealer::new("which a search does not need"));
    let mut seen = None;
    let last = INSIDE + 2 * OUTSIDE + 20;
    for number in 1..=last {
        seen = Some(put(&writer, seen, &rotated(&key(), number)).await);
        // Both stores have read the directory before.
        if number == INSIDE || number == OUTSIDE {
            assert!(is_found(&writer, 1).await && is_found(&reader, 1).await);
        }
        if number == INSIDE + 1 {
            assert_eq!(files(&directory, "past").len(), 0, "none has left");
        }
    }
    let first = last - INSIDE - OUTSIDE;
    for store in [&writer, &reader, &open(&directory)] {
        for number in first..=last {
            assert!(is_found(store, number).await, "{number}");
        }
        for number in [1, first - 1, last + 1] {
            assert!(!is_found(store, number).await, "{number}");
        }
        assert_eq!(store.find(&Digest::of("foreign")).await.unwrap(), None);
    }
    let file = fs::metadata(beside(&directory, &key())).unwrap();
    assert!(file.len() <= 16 * (1 + 2 * OUTSIDE), "{}", file.len());
    #[cfg(unix)]
    assert_eq!(mode(beside(&directory, &key())), 0o600);
    assert_eq!(files(&directory, "tmp").len(), 0);
}

#[tokio::test]
async fn past_tokens_in_a_missing_torn_or_foreign_file_are_not_found_and_not_an_error() {
    let directory = directory();
    let store = open(&directory);
    let mut seen = rotate(&store).await;
    let file = beside(&directory, &key());
    let other = beside(&directory, &key().label("another"));
    let whole = fs::read(&file).unwrap();
    assert_eq!(whole.len(), 16 * (1 + 11));
    let mut foreign = key().label("another").digest().as_bytes().to_vec();
    foreign.extend(Digest::of("foreign").as_bytes());
    let contents = [
        None,
        Some(Vec::new()),
        Some(whole[..3].to_vec()),
        Some(foreign.clone()),
        Some(vec![0; 1 << 20]),
        Some(whole[..whole.len() - 5].to_vec()),
    ];
    for (round, content) in contents.into_iter().enumerate() {
        let number = 20 + round as u64;
        let is_torn = round == 5;
        let _ = fs::remove_file(&file);
        if let Some(content) = content {
            fs::write(&file, content).unwrap();
            #[cfg(unix)]
            set_mode(&file, 0o600);
        }
        for store in [&store, &open(&directory)] {
            assert!(is_found(store, number).await && is_found(store, number - INSIDE).await);
            assert!(!is_found(store, 11).await);
            assert_eq!(is_found(store, 10).await, is_torn);
            assert_eq!(store.find(&Digest::of("foreign")).await.unwrap(), None);
        }
        seen = put(&store, Some(seen), &rotated(&key(), number + 1)).await;
        for store in [&store, &open(&directory)] {
            assert!(is_found(store, number - INSIDE).await, "what left last");
            assert_eq!(is_found(store, 10).await, is_torn);
        }
        assert_eq!(fs::read(&file).unwrap().len() % 16, 0);
    }
    assert!(!other.exists());
}

#[cfg(unix)]
#[tokio::test]
async fn past_tokens_behind_a_link_a_directory_or_a_wrong_mode_are_not_an_error() {
    let directory = directory();
    let store = open(&directory);
    let seen = rotate(&store).await;
    let file = beside(&directory, &key());
    let elsewhere = directory.path().join("elsewhere");
    fs::rename(&file, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &file).unwrap();
    let before = fs::read(&elsewhere).unwrap();
    assert!(!is_found(&open(&directory), 5).await);
    let seen = put(&store, Some(seen), &rotated(&key(), 21)).await;
    assert_eq!(fs::read(&elsewhere).unwrap(), before, "the link's target");
    assert!(is_found(&open(&directory), 12).await);
    set_mode(&file, 0o644);
    assert!(!is_found(&open(&directory), 12).await);
    let seen = put(&store, Some(seen), &rotated(&key(), 22)).await;
    assert!(is_found(&open(&directory), 13).await);
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    put(&store, Some(seen), &rotated(&key(), 23)).await;
    assert!(is_found(&open(&directory), 23).await);
    assert!(!is_found(&open(&directory), 14).await);
    assert_eq!(files(&directory, "tmp").len(), 0);
}

#[tokio::test]
async fn a_lost_swap_notes_no_past_token() {
    let directory = directory();
    let store = open(&directory);
    let seen = rotate(&store).await;
    put(&store, Some(seen), &rotated(&key(), 21)).await;
    let before = fs::read(beside(&directory, &key())).unwrap();
    let brought = names([Digest::of("brought")]);
    let lost = edited(&record(&key(), 40), |form| {
        form["past"]["seeds"] = brought.into()
    });
    let swap = store.swap(&key(), Some(seen), &lost).await.unwrap();
    assert!(matches!(swap, Swap::Lost(_)));
    assert_eq!(fs::read(beside(&directory, &key())).unwrap(), before);
    for store in [&store, &open(&directory)] {
        assert!(!is_found(store, 40).await);
        assert_eq!(store.find(&Digest::of("brought")).await.unwrap(), None);
    }
}

#[tokio::test]
async fn the_past_tokens_of_a_copy_under_another_name_are_not_found() {
    let directory = directory();
    let store = open(&directory);
    rotate(&store).await;
    let copy = key().label("copy");
    fs::rename(path(&directory, &key()), path(&directory, &copy)).unwrap();
    fs::rename(beside(&directory, &key()), beside(&directory, &copy)).unwrap();
    for store in [&store, &open(&directory)] {
        assert!(!is_found(store, 20).await && !is_found(store, 5).await);
    }
    // The copy does not hide the session of that name either.
    fs::remove_file(path(&directory, &copy)).unwrap();
    put(&store, None, &rotated(&copy, 30)).await;
    let found = open(&directory).find(&digest(5)).await.unwrap();
    assert_eq!(found, None);
}

#[tokio::test]
async fn a_purge_and_the_next_process_remove_past_tokens_with_their_session() {
    let directory = directory();
    let [kept, gone] = [key(), key().label("gone")];
    let expired = |number| {
        let known = json!({ "known": { "total": 1 } });
        edited(&rotated(&gone, number), |form| {
            form["pair"]["lifetime"] = json!({ "access": known, "refresh": known });
            form["past"]["until"] = 1.into();
        })
    };
    let store = open(&directory);
    rotate(&store).await;
    let seen = put(&store, None, &expired(19)).await;
    put(&store, Some(seen), &expired(20)).await;
    assert_eq!(files(&directory, "past").len(), 2);
    assert_eq!(store.purge().await.unwrap(), 1);
    assert_eq!(files(&directory, "past"), [beside(&directory, &kept)]);
    // A killed purge leaves such a file, and so does an operator who moves a record away.
    fs::copy(beside(&directory, &kept), beside(&directory, &gone)).unwrap();
    let (_, seen) = entry(&store, &kept).await.unwrap();
    put(&open(&directory), Some(seen), &rotated(&kept, 21)).await;
    assert_eq!(files(&directory, "past"), [beside(&directory, &kept)]);
    assert!(is_found(&open(&directory), 5).await);
}

#[tokio::test]
async fn a_current_access_token_leads_to_its_session_plain_and_sealed() {
    let access = |number| Digest::of(format!("access-sesame-{number}"));
    for sealer in [None, Some(FakeSealer::new("secret"))] {
        let directory = directory();
        let store = match sealer {
            None => open(&directory),
            Some(sealer) => open(&directory).sealed(sealer),
        };
        let anew = open(&directory);
        assert_eq!(store.find_by_access(&access(1)).await.unwrap(), None);
        let seen = put(&store, None, &record(&key(), 1)).await;
        for store in [&store, &anew] {
            let found = store.find_by_access(&access(1)).await.unwrap();
            assert_eq!(found, Some(key()));
        }
        put(&store, Some(seen), &record(&key(), 2)).await;
        for store in [&store, &anew, &open(&directory)] {
            assert_eq!(store.find_by_access(&access(1)).await.unwrap(), None);
            let found = store.find_by_access(&access(2)).await.unwrap();
            assert_eq!(found, Some(key()));
            // Each kind of token has its own call.
            assert_eq!(store.find(&access(2)).await.unwrap(), None);
            assert_eq!(store.find_by_access(&digest(2)).await.unwrap(), None);
        }
    }
}
