//! What processes that ended left behind.

use std::fs;
use std::path::Path;

use super::access::GroupAccess;
use super::content::{Found, session_of};
use super::liveness::{self, Liveness};
use super::lock::{self, Lock};
use super::{past, replace};

/// Removes what was half written, what proves the death of a holder whose lease is gone, and the past tokens of a
/// session that has no record. Each is removed
/// under its session's lock, so nothing is writing it; where the lock is taken, it stays for the
/// next time.
pub(super) fn clean_up(directory: &Path, group: GroupAccess) {
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    for path in entries.flatten().map(|entry| entry.path()) {
        let of = |ending| session_of(&path, ending);
        let record = |session| directory.join(format!("{session}.json"));
        // Nearly all of them are of a session that goes on: no lock is taken for those.
        let past = of(past::ENDING).filter(|session| !exists(&record(*session)));
        let Some(session) = of(replace::ENDING)
            .or_else(|| of(liveness::ENDING))
            .or(past)
        else {
            continue;
        };
        let record = record(session);
        let Ok(mut lock) = Lock::open(lock::path(&record)) else {
            continue;
        };
        if matches!(lock.try_take(), Ok(true)) && !is_needed(&path, &record, group) {
            // Nothing depends on it; an error is no reason to stop a swap.
            let _ = fs::remove_file(&path);
        }
    }
}

/// Where that cannot be said, too.
fn exists(record: &Path) -> bool {
    !matches!(record.try_exists(), Ok(false))
}

fn is_needed(path: &Path, record: &Path, group: GroupAccess) -> bool {
    if session_of(path, past::ENDING).is_some() {
        return exists(record);
    }
    if session_of(path, liveness::ENDING).is_none() {
        return false;
    }
    if Liveness::at(path, group) == Liveness::Alive {
        return true;
    }
    match Found::read(record, group) {
        Ok(found) => found
            .and_then(|found| found.candidate())
            .is_some_and(|owner| liveness::path(record, owner) == path),
        Err(_) => true,
    }
}
