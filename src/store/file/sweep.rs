//! What processes that ended left behind.

use std::fs;
use std::path::Path;

use super::content::{self, session_of};
use super::life::{self, Life};
use super::lock::{self, Lock};
use super::replace;
use crate::record::Owner;
use crate::store::StoreError;

/// Removes what was half written, and what proves the death of somebody whose claim is gone. Each is removed
/// under its session's lock, so nobody is writing it; where somebody has the lock, it stays for the
/// next time.
pub(super) fn sweep(directory: &Path) {
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    for path in entries.flatten().map(|entry| entry.path()) {
        let of = |ending| session_of(&path, ending);
        let Some(session) = of(replace::ENDING).or_else(|| of(life::ENDING)) else {
            continue;
        };
        let record = directory.join(format!("{session}.json"));
        let Ok(lock) = Lock::open(lock::path(&record)) else {
            continue;
        };
        if matches!(lock.try_take(), Ok(true)) && !is_needed(&path, &record) {
            // Nothing depends on it; an error is no reason to stop a swap.
            let _ = fs::remove_file(&path);
        }
    }
}

fn is_needed(path: &Path, record: &Path) -> bool {
    if session_of(path, life::ENDING).is_none() {
        return false;
    }
    if Life::at(path) == Life::Alive {
        return true;
    }
    match claimant(record) {
        Ok(owner) => owner.is_some_and(|owner| life::path(record, owner) == path),
        Err(_) => true,
    }
}

/// Whose claim is in a record.
fn claimant(record: &Path) -> Result<Option<Owner>, StoreError> {
    let outline = content::outline(record)?;
    Ok(outline.and_then(|outline| Some(outline.record.claim?.owner)))
}
