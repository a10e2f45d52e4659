//! How a record is replaced: a new file is written beside it, synced, and renamed over it.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use tempfile::Builder;

use super::content::session_of;
use super::lock::Lock;
use super::{access, failed};
use crate::store::StoreError;

const ENDING: &str = ".tmp";

/// Replaces the file at `path`, whose lock the caller has. After an error it is the old one or the new one,
/// and whole.
pub(super) fn replace(path: &Path, content: &[u8]) -> Result<(), StoreError> {
    let (Some(directory), Some(stem)) = (path.parent(), path.file_stem()) else {
        return Err(StoreError::new(format!("{} is no file", path.display())));
    };
    let unwritten = |error| failed("write", path, error);
    let mut prefix = stem.to_os_string();
    prefix.push(".");
    // Created for us alone (0600), under a name that did not exist; removed when dropped.
    let mut file = Builder::new()
        .prefix(&prefix)
        .suffix(ENDING)
        .tempfile_in(directory)
        .map_err(unwritten)?;
    file.write_all(content).map_err(unwritten)?;
    // Before the rename, or a power cut might leave the new name on an empty file.
    file.as_file().sync_all().map_err(unwritten)?;
    file.persist(path).map_err(|error| unwritten(error.error))?;
    access::sync_directory(directory).map_err(unwritten)
}

/// Removes what processes that were killed left half written. Each is removed under its session's lock, so
/// nobody is writing it; where somebody has the lock, it stays for the next time.
pub(super) fn remove_leftovers(directory: &Path) {
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    for path in entries.flatten().map(|entry| entry.path()) {
        let Some(session) = session_of(&path, ENDING) else {
            continue;
        };
        if let Ok(Some(_lock)) = Lock::try_take(&directory.join(format!("{session}.lock"))) {
            // It contains a token, but nothing depends on it; an error is no reason to stop a swap.
            let _ = fs::remove_file(&path);
        }
    }
}
