//! A swap: compared and written under the record's lock.

use std::path::PathBuf;
use std::sync::{Arc, Weak};

use zeroize::Zeroizing;

use super::content::{Stamp, next_revision, untouched, written};
use super::lock::{self, Lock};
use super::lock_queue::LockQueue;
use super::replace::Replacement;
use super::{FileStore, access, blocking, liveness, past};
use crate::clock::{Clock, SystemClock};
use crate::record::{Lease, Owner, Record};
use crate::store::codec::Flaw;
use crate::store::{Revision, StoreError, Swap};
use crate::token::Key;

/// Waits for the lock as long as this is polled, and for nothing once it is dropped: what has begun by then
/// is carried out, or is not.
pub(super) async fn swap(
    store: &FileStore,
    key: &Key,
    seen: Option<Revision>,
    next: &Record,
) -> Result<Swap, StoreError> {
    let began = SystemClock.now();
    let caller = Arc::new(());
    let mut attempt = Attempt {
        store: store.clone(),
        key: key.clone(),
        seen,
        next: next.clone(),
        record: Zeroizing::default(),
        path: store.path(key),
        lock: None,
        caller: Arc::downgrade(&caller),
    };
    attempt = blocking(move || attempt.prepared()).await?;
    let lock_path = lock::path(&attempt.path);
    let mut turn = LockQueue::wait(&lock_path, SystemClock, began).await;
    loop {
        let made = blocking(move || {
            let answer = attempt.make(&turn)?;
            Ok((attempt, turn, answer))
        });
        let answer;
        (attempt, turn, answer) = made.await?;
        if let Some(answer) = answer {
            return Ok(answer);
        }
        turn.pause(&lock_path).await?;
    }
}

struct Attempt {
    store: FileStore,
    key: Key,
    seen: Option<Revision>,
    next: Record,
    /// `next` as bytes.
    record: Zeroizing<Vec<u8>>,
    path: PathBuf,
    lock: Option<Lock>,
    caller: Weak<()>,
}

impl Attempt {
    /// All that can be done, and can fail, without the lock.
    fn prepared(mut self) -> Result<Self, StoreError> {
        if self.next.key != self.key {
            return Err(StoreError::new(format!(
                "the record of another session cannot be written to {}",
                self.path.display()
            )));
        }
        access::check_directory(&self.store.directory, self.store.group)?;
        self.store.clean_up();
        let written = self.store.codec.write(&self.next);
        self.record = written.map_err(|flaw: Flaw| flaw.of(untouched(&self.path)))?;
        Ok(self)
    }

    /// `None` if another process has the lock.
    fn make(&mut self, turn: &LockQueue) -> Result<Option<Swap>, StoreError> {
        // A caller that gave up is not to find its record written later, where that can be avoided.
        if self.caller.strong_count() == 0 {
            return Err(StoreError::new("nobody waits for this swap any more"));
        }
        let mut lock = match self.lock.take() {
            Some(lock) => lock,
            None => Lock::open(lock::path(&self.path))?,
        };
        if !lock.try_take()? {
            self.lock = Some(lock);
            return Ok(None);
        }
        turn.has_lock();
        self.swap(&lock)
    }

    /// Under the lock; `None` if the lock was lost.
    fn swap(&self, lock: &Lock) -> Result<Option<Swap>, StoreError> {
        let group = self.store.group;
        let (held, stamp) = match self.store.read(&self.key)? {
            Some(seen) => (Some(seen.entry), Some(seen.stamp)),
            None => (None, None),
        };
        let before = held.as_ref().and_then(|(record, _)| owner(record));
        let revision = held.as_ref().map(|(_, revision)| *revision);
        if revision != self.seen {
            liveness::settle(&self.path, before, None, group);
            return Ok(Some(Swap::Lost(held)));
        }
        let revision = next_revision(revision, self.store.clock.wall());
        let content = written(&self.path, revision, &self.record)?;
        let replacement = Replacement::prepare(&self.path, &content, self.store.disk)?;
        // Who has locked another file, since the name was taken from ours, may have written meanwhile.
        if !lock.has_name()? || self.was_replaced(stamp)? {
            return Ok(None);
        }
        if let Some(lease) = self.fresh_lease(held.as_ref().map(|(record, _)| record)) {
            liveness::begin(&self.path, lease.owner);
        }
        // If that fails, the lease may stand all the same: its proof of life stays.
        replacement.put(&self.path)?;
        liveness::settle(&self.path, owner(&self.next), before, group);
        self.has_left(held.as_ref().map(|(record, _)| record));
        Ok(Some(Swap::Swapped(revision)))
    }

    /// Keeps the names of the past tokens that were in the record and are not any more.
    fn has_left(&self, held: Option<&Record>) {
        let left = held.map_or_else(Vec::new, |held| held.leaving(&self.next));
        if !left.is_empty()
            && let Err(error) = past::enter(&self.path, &left, self.store.group)
        {
            tracing::debug!(path = %self.path.display(), %error, "past tokens are not found by their digests");
        }
        self.store.index.note(&self.next, &left);
    }

    /// Whether the record is another one than was read when its file looked like this. A file that looks different
    /// may hold the same: some file systems number files anew at any time.
    fn was_replaced(&self, stamp: Option<Stamp>) -> Result<bool, StoreError> {
        if Stamp::of(&self.path) == stamp {
            return Ok(false);
        }
        let seen = self.store.read(&self.key)?;
        Ok(seen.map(|seen| seen.entry.1) != self.seen)
    }

    /// The lease, if it is made by this swap: it is its maker's who swaps, while anybody carries the leases of
    /// others along.
    fn fresh_lease(&self, held: Option<&Record>) -> Option<&Lease> {
        let (held, lease) = (held?, self.next.lease.as_ref()?);
        (lease.number == held.next_number).then_some(lease)
    }
}

fn owner(record: &Record) -> Option<Owner> {
    Some(record.lease.as_ref()?.owner)
}
