//! Removing sessions that nothing depends on any more.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use super::content::{Found, record_of};
use super::liveness::{self, Liveness};
use super::lock::{self, Lock};
use super::{FileStore, access, failed, past};
use crate::store::{StoreError, StoreTime};

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
    // Without the lock first: most sessions stay.
    if over(store, path, before)?.is_none() {
        return Ok(false);
    }
    let mut lock = Lock::open(lock::path(path))?;
    if !lock.try_take()? {
        return Ok(false);
    }
    let Some(found) = over(store, path, before)? else {
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
    liveness::settle(path, None, found.candidate(), store.group);
    let _ = fs::remove_file(past::path(path));
    // Last: from then on another caller may have a lock of the same name. One that stays does no harm.
    let _ = fs::remove_file(lock::path(path));
    Ok(true)
}

/// The session, if every token of it expired before that time and nothing is being done with it.
fn over(store: &FileStore, path: &Path, before: StoreTime) -> Result<Option<Found>, StoreError> {
    let Some(found) = Found::read(path, store.group)? else {
        return Ok(None);
    };
    // A copy under another name belongs to no session.
    if !found.belongs_at(path) {
        return Ok(None);
    }
    let holder = found.candidate();
    if holder.is_some_and(|owner| Liveness::of(path, owner, store.group) == Liveness::Alive) {
        return Ok(None);
    }
    let seen = store.read(&found.outline.record.key)?;
    let until = seen.and_then(|seen| seen.entry.0.needed_until());
    Ok(until.is_some_and(|until| until < before).then_some(found))
}
