//! Modes and owners.

use std::fs;
use std::os::unix::fs::{chown, symlink};
use std::path::Path;

use evertoken::store::GroupAccess;
use evertoken::{FileStore, TokenStore};

use crate::process::Process;
use crate::scene::{
    directory, entry, key, mode, open, path, put, record, refused, set_mode, stored, told,
};

#[tokio::test]
async fn fm38_files_are_private_and_directories_too() {
    let directory = directory();
    let [outer, inner] = ["outer", "outer/inner"].map(|name| directory.path().join(name));
    let store = open(&inner);
    let revision = put(&store, None, &record(&key(), 1)).await;
    put(&store, Some(revision), &record(&key(), 2)).await;
    assert_eq!((mode(&outer), mode(&inner)), (0o700, 0o700));
    assert_eq!(mode(path(&inner, &key())), 0o600);
    assert_eq!(mode(path(&inner, &key()).with_extension("lock")), 0o600);
}

#[tokio::test]
async fn fm38_a_file_that_others_can_access_is_refused_until_its_mode_is_corrected() {
    let (directory, store, _) = stored().await;
    let file = path(&directory, &key());
    for wrong in [0o644, 0o640, 0o620, 0o604, 0o602, 0o666] {
        set_mode(&file, wrong);
        let error = refused(&store, directory.path(), &key()).await;
        assert!(error.contains(&format!("0{wrong:o}")), "{error}");
        let chmod = format!("chmod 600 '{}'", file.display());
        assert!(error.contains(&chmod), "{error}");
        assert_eq!(mode(&file), wrong);
    }
    set_mode(&file, 0o600);
    assert_eq!(entry(&store, &key()).await.unwrap().0, record(&key(), 1));
}

#[tokio::test]
async fn fm38_a_directory_that_others_can_write_to_is_refused_at_every_call() {
    let directory = directory();
    let inner = directory.path().join("inner");
    let store = open(&inner);
    let revision = put(&store, None, &record(&key(), 1)).await;
    for wrong in [0o720, 0o770, 0o702, 0o777] {
        set_mode(&inner, wrong);
        let next = record(&key(), 2);
        let errors = [
            FileStore::new(&inner).unwrap_err(),
            store.load(&key()).await.unwrap_err(),
            store.swap(&key(), Some(revision), &next).await.unwrap_err(),
            store.find(&next.digest()).await.unwrap_err(),
        ];
        for error in errors.iter().map(told) {
            let chmod = format!("chmod 700 '{}'", inner.display());
            assert!(error.contains(&format!("0{wrong:o}")), "{error}");
            assert!(error.contains(&chmod), "{error}");
        }
    }
    // A directory that was made by hand: its names are not secret.
    for right in [0o700, 0o755] {
        set_mode(&inner, right);
        assert_eq!(entry(&open(&inner), &key()).await.unwrap().1, revision);
    }
}

/// Kubernetes leaves a volume like this for a pod with an `fsGroup`.
#[tokio::test]
async fn fm38_a_volume_that_a_platform_opened_to_the_group_is_used_where_that_is_permitted() {
    let directory = directory();
    let inner = directory.path().join("inner");
    let store = open(&inner);
    let revision = put(&store, None, &record(&key(), 1)).await;
    let file = path(&inner, &key());
    set_mode(&file, 0o660);
    set_mode(&inner, 0o2770);
    for refusing in [GroupAccess::None, GroupAccess::Read] {
        let error = told(&FileStore::with_group(&inner, refusing).unwrap_err());
        assert!(error.contains("`group = \"write\"`"), "{error}");
    }
    let store = FileStore::with_group(&inner, GroupAccess::Write).unwrap();
    assert_eq!(entry(&store, &key()).await.unwrap().1, revision);
    let revision = put(&store, Some(revision), &record(&key(), 2)).await;
    assert_eq!(mode(&file), 0o600, "what it writes is private");

    set_mode(&inner, 0o750);
    set_mode(&file, 0o640);
    let error = refused(&open(&inner), &inner, &key()).await;
    assert!(error.contains("`group = \"read\"`"), "{error}");
    let store = FileStore::with_group(&inner, GroupAccess::Read).unwrap();
    assert_eq!(entry(&store, &key()).await.unwrap().1, revision);
    let found = store.find(&record(&key(), 2).digest()).await.unwrap();
    assert_eq!(found, Some(key()));
}

#[tokio::test]
async fn a_file_of_another_user_is_refused() {
    let (directory, store, _) = stored().await;
    // Only root can give a file to another user.
    if chown(path(&directory, &key()), Some(1), None).is_err() {
        return;
    }
    let error = refused(&store, directory.path(), &key()).await;
    assert!(error.contains("belongs to user 1"), "{error}");
}

#[tokio::test]
async fn a_link_in_place_of_a_record_is_neither_followed_nor_replaced() {
    let (directory, store, _) = stored().await;
    let (file, target) = (path(&directory, &key()), directory.path().join("target"));
    fs::rename(&file, &target).unwrap();
    symlink(&target, &file).unwrap();
    let error = refused(&store, directory.path(), &key()).await;
    assert!(error.contains("symbolic link"), "{error}");
    assert!(fs::symlink_metadata(&file).unwrap().is_symlink());
}

#[test]
fn a_relative_directory_is_fixed_when_the_store_is_made() {
    let directory = directory();
    let shell = format!("cd '{}'", directory.path().display());
    Process::start("relative", &shell, Path::new("session")).succeeds();
    assert!(path(directory.path().join("session"), &key()).exists());
}
