//! A directory, a key, and records for it.

#[cfg(unix)]
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use evertoken::protocol::Record;
use evertoken::store::Revision;
use evertoken::{FileStore, Key, TokenStore};
use serde_json::{Value, json};
use tempfile::TempDir;

pub(crate) use crate::records::{edited, entry, key, put, told};
use crate::records::{form, made_of};

pub(crate) const LATER_FIELD: &str = "of_a_later_version";

/// A private directory, whatever the umask.
pub(crate) fn directory() -> TempDir {
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    builder.permissions(PermissionsExt::from_mode(0o700));
    builder.tempdir().unwrap()
}

pub(crate) fn open(directory: impl AsRef<Path>) -> FileStore {
    FileStore::new(directory).unwrap()
}

/// A record of a key. Its tokens contain the number, and so does a field of a later version.
pub(crate) fn record(key: &Key, number: u64) -> Record {
    let mut form = form(key, number);
    form[LATER_FIELD] = json!({ "number": number, "filler": "" });
    made_of(&form)
}

/// The same record with this number of additional bytes.
pub(crate) fn long_record(key: &Key, number: u64, filler: usize) -> Record {
    let long = |form: &mut Value| form[LATER_FIELD]["filler"] = "x".repeat(filler).into();
    edited(&record(key, number), long)
}

#[cfg(unix)]
pub(crate) fn set_mode(path: impl AsRef<Path>, mode: u32) {
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}

#[cfg(unix)]
pub(crate) fn mode(path: impl AsRef<Path>) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// The number of a record. Panics if the record is not whole.
pub(crate) fn number(record: &Record) -> u64 {
    let form = serde_json::to_value(record).unwrap();
    let number = form[LATER_FIELD]["number"].as_u64().unwrap();
    let filler = form[LATER_FIELD]["filler"].as_str().unwrap().len();
    assert_eq!(*record, long_record(record.key(), number, filler));
    number
}

pub(crate) fn path(directory: impl AsRef<Path>, key: &Key) -> PathBuf {
    directory.as_ref().join(format!("{}.json", key.digest()))
}

pub(crate) fn lock_path(directory: impl AsRef<Path>, key: &Key) -> PathBuf {
    path(directory, key).with_extension("lock")
}

/// The record in the file, without the envelope.
pub(crate) fn json_in(directory: impl AsRef<Path>, key: &Key) -> Value {
    let text = std::fs::read_to_string(path(directory, key)).unwrap();
    let mut form: Value = serde_json::from_str(&text).unwrap();
    form["record"].take()
}

/// The files with this ending, in order.
pub(crate) fn files(directory: impl AsRef<Path>, ending: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|found| found == ending));
    paths.sort();
    paths
}

/// A directory with the first record of the key, a store of the directory, and the revision of the record.
pub(crate) async fn stored() -> (TempDir, FileStore, Revision) {
    let directory = directory();
    let store = open(&directory);
    let revision = put(&store, None, &record(&key(), 1)).await;
    (directory, store, revision)
}

/// Asserts that the file cannot be loaded or overwritten, and stays as it is. Returns the error.
pub(crate) async fn refused(store: &FileStore, directory: &Path, key: &Key) -> String {
    let path = path(directory, key);
    let before = std::fs::read(&path).unwrap();
    let error = told(&store.load(key).await.unwrap_err());
    assert!(error.contains(&path.display().to_string()), "{error}");
    for seen in [None, Some(Revision::new(1))] {
        let failed = store.swap(key, seen, &record(key, 9)).await.unwrap_err();
        assert_eq!(told(&failed), error);
    }
    assert_eq!(std::fs::read(&path).unwrap(), before);
    assert_eq!(files(directory, "tmp").len(), 0);
    error
}
