//! Removing files: those that ended processes left behind, and those of sessions that nothing depends on any more.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use super::access::{self, GroupAccess};
use super::content::{Found, record_of, session_of};
use super::liveness::{self, Liveness};
use super::lock::{self, Lock};
use super::{FileStore, failed, search, swap};
use crate::store::{StoreError, StoreTime};

/// Removes files that were half written, proofs of dead holders whose lease is gone, and the past tokens of sessions
/// without a record. Each file is removed under its session's lock, so no process is writing it. While another process
/// has the lock, the file stays.
pub(super) fn clean_up(directory: &Path, group: GroupAccess) {
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    for path in entries.flatten().map(|entry| entry.path()) {
        let of = |ending| session_of(&path, ending);
        let record = |session| directory.join(format!("{session}.json"));
        // Nearly all past tokens are of a session with a record: the lock is not taken for those.
        let past = of(search::PAST_ENDING).filter(|session| !exists(&record(*session)));
        let Some(session) = of(swap::ENDING).or_else(|| of(liveness::ENDING)).or(past) else {
            continue;
        };
        let record = record(session);
        let Ok(mut lock) = Lock::open(lock::path(&record)) else {
            continue;
        };
        if matches!(lock.try_take(), Ok(true)) && !is_needed(&path, &record, group) {
            // Nothing depends on the removal, so an error does not stop a swap.
            let _ = fs::remove_file(&path);
        }
    }
}

/// Whether there is a record; `true` where that is not known.
fn exists(record: &Path) -> bool {
    !matches!(record.try_exists(), Ok(false))
}

fn is_needed(path: &Path, record: &Path, group: GroupAccess) -> bool {
    if session_of(path, search::PAST_ENDING).is_some() {
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
            .and_then(|found| found.holder())
            .is_some_and(|owner| liveness::path(record, owner) == path),
        Err(_) => true,
    }
}

/// Removes the sessions of which every token expired longer ago than the retention. Returns their number.
pub(super) fn purge(store: &FileStore) -> Result<u64, StoreError> {
    let directory = &store.directory;
    access::check_directory(directory, store.group)?;
    let unlisted = |error| failed("list the directory", directory, error);
    let before = StoreTime::from(store.clock.wall()).before(store.retention);
    let (mut purged, mut failure) = (0, None);
    for entry in fs::read_dir(directory).map_err(unlisted)? {
        let path = entry.map_err(unlisted)?.path();
        if record_of(&path).is_none() {
            continue;
        }
        match purge_one(store, &path, before) {
            Ok(is_purged) => purged += u64::from(is_purged),
            Err(error) => failure = Some(error),
        }
    }
    failure.map_or(Ok(purged), Err)
}

fn purge_one(store: &FileStore, path: &Path, before: StoreTime) -> Result<bool, StoreError> {
    // Checked without the lock first: most sessions stay.
    if expired(store, path, before)?.is_none() {
        return Ok(false);
    }
    let mut lock = Lock::open(lock::path(path))?;
    if !lock.try_take()? {
        return Ok(false);
    }
    let Some(found) = expired(store, path, before)? else {
        return Ok(false);
    };
    if !lock.has_name()? {
        return Ok(false);
    }
    match fs::remove_file(path) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(failed("remove", path, error)),
    }
    liveness::settle(path, None, found.holder(), store.group);
    let _ = fs::remove_file(search::past_path(path));
    // The lock file is removed last: from then on another process may create and lock a file of that name. A lock file
    // that stays does no harm.
    let _ = fs::remove_file(lock::path(path));
    Ok(true)
}

/// The session, if every token of it expired before that time and the holder of its lease is not alive.
fn expired(store: &FileStore, path: &Path, before: StoreTime) -> Result<Option<Found>, StoreError> {
    let Some(found) = Found::read(path, store.group)? else {
        return Ok(None);
    };
    // A copy under another name does not belong to a session.
    if !found.belongs_at(path) {
        return Ok(None);
    }
    let holder = found.holder();
    if holder.is_some_and(|owner| Liveness::of(path, owner, store.group) == Liveness::Alive) {
        return Ok(None);
    }
    let seen = store.read(&found.outline.record.key)?;
    let until = seen.and_then(|seen| seen.entry.0.needed_until());
    Ok(until.is_some_and(|until| until < before).then_some(found))
}
