//! A swap: the record is compared and replaced under its lock.
//!
//! To replace a record, a new file is written beside it, synced, and renamed over it. All steps that can fail come before
//! the rename, while nothing has changed. After the rename every reader has the new record, so the failure of a later
//! step is reported, and is not a failure of the swap.

use std::fs::File;
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use tempfile::{Builder, NamedTempFile};
use zeroize::Zeroizing;

use super::content::{Stamp, Stored, holder, next_revision, untouched, written};
use super::lock::{self, Lock, LockQueue};
use super::{FileStore, access, failed, liveness, search};
use crate::clock::{Clock, SystemClock};
use crate::record::Record;
use crate::store::blocking;
use crate::store::codec::Flaw;
use crate::store::{Revision, StoreError, Swap, refuse_other_key};
use crate::token::Key;

/// The ending of files that are being written.
pub(super) const ENDING: &str = ".tmp";

/// Waits for the lock as long as this future is polled. If it is dropped, a swap that has begun is carried out entirely or
/// not at all.
pub(super) async fn swap(
    store: &FileStore,
    key: &Key,
    seen: Option<Revision>,
    next: &Record,
) -> Result<Swap, StoreError> {
    let began = SystemClock.now();
    let caller = Arc::new(());
    let attempt = Attempt {
        store: store.clone(),
        key: key.clone(),
        seen,
        next: next.clone(),
        record: Zeroizing::default(),
        path: store.path(key),
        caller: Arc::downgrade(&caller),
    };
    let mut attempt = blocking(move || attempt.prepared()).await?;
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
    /// The bytes of `next`.
    record: Zeroizing<Vec<u8>>,
    path: PathBuf,
    caller: Weak<()>,
}

impl Attempt {
    /// All the work, and all the errors, that do not need the lock.
    fn prepared(mut self) -> Result<Self, StoreError> {
        refuse_other_key(&self.key, &self.next)?;
        access::check_directory(&self.store.directory, self.store.group)?;
        self.store.clean_up();
        let written = self.store.codec.write(&self.next);
        self.record = written.map_err(|flaw: Flaw| flaw.of(untouched(&self.path)))?;
        Ok(self)
    }

    /// `None` if another process has the lock.
    fn make(&self, turn: &LockQueue) -> Result<Option<Swap>, StoreError> {
        // Where possible, the record of a caller that gave up is not written later.
        if self.caller.strong_count() == 0 {
            return Err(StoreError::new("the caller of this swap has given up"));
        }
        let mut lock = Lock::open(lock::path(&self.path))?;
        if !lock.try_take()? {
            return Ok(None);
        }
        turn.has_lock();
        self.swap(&lock)
    }

    /// The swap under the lock. `None` if the lock was lost.
    fn swap(&self, lock: &Lock) -> Result<Option<Swap>, StoreError> {
        let group = self.store.group;
        let held = self.store.read(&self.key)?;
        let record = held.as_ref().map(|held| &held.content);
        let before = record.and_then(holder);
        let revision = held.as_ref().map(|held| held.revision);
        if revision != self.seen {
            liveness::settle(&self.path, before, None, group);
            return Ok(Some(Swap::Lost(held.map(Stored::entry))));
        }
        let revision = next_revision(revision, self.store.clock.wall());
        let content = written(&self.path, revision, &self.record)?;
        let replacement = Replacement::prepare(&self.store, &self.path, &content)?;
        // If the lock file has lost its name, a process that has locked another file of that name may have written.
        if !lock.has_name()? || self.was_replaced(held.as_ref().map(|held| held.stamp))? {
            return Ok(None);
        }
        // Every instance writes the leases of others again; only the holder of a lease makes it.
        if let (Some(held), Some(lease)) = (record, &self.next.lease)
            && lease.number == held.next_number
        {
            liveness::begin(&self.path, lease.owner);
        }
        // If this fails, the lease may have been written all the same. So its proof of life stays.
        replacement.persist(&self.path)?;
        liveness::settle(&self.path, holder(&self.next), before, group);
        self.note_past(record);
        Ok(Some(Swap::Swapped(revision)))
    }

    /// Keeps the digests of the past tokens that leave the record with this swap.
    fn note_past(&self, held: Option<&Record>) {
        let left = held.map_or_else(Vec::new, |held| held.leaving(&self.next));
        if !left.is_empty()
            && let Err(error) = search::remember(&self.path, &left, self.store.group)
        {
            tracing::debug!(path = %self.path.display(), %error, "the past tokens of a record could not be written: the store does not find the session by one of them");
        }
        self.store.index.note(&self.next, &left);
    }

    /// Whether the record was replaced since it was read and its file had this stamp. A file with another stamp may hold
    /// the same record: some file systems number files anew at any time.
    fn was_replaced(&self, stamp: Option<Stamp>) -> Result<bool, StoreError> {
        if Stamp::of(&self.path) == stamp {
            return Ok(false);
        }
        let held = self.store.read(&self.key)?;
        Ok(held.map(|held| held.revision) != self.seen)
    }
}

/// How a file and a directory are synced to the disk.
#[derive(Debug, Clone, Copy)]
pub(super) struct Disk {
    pub(super) sync_file: fn(&File) -> io::Result<()>,
    pub(super) sync_directory: fn(&File) -> io::Result<()>,
}

impl Default for Disk {
    fn default() -> Self {
        Self {
            sync_file: File::sync_all,
            sync_directory: File::sync_all,
        }
    }
}

/// A new file that only needs to be renamed.
struct Replacement {
    file: NamedTempFile,
    /// Opened before the rename: an error of opening must not follow the rename.
    directory: Option<File>,
    disk: Disk,
}

impl Replacement {
    /// The replacement of the file at `path`, whose lock the caller has.
    fn prepare(store: &FileStore, path: &Path, content: &[u8]) -> Result<Self, StoreError> {
        let (parent, disk) = (&store.directory, store.disk);
        let directory = open_directory(parent).map_err(failed("open the directory", parent))?;
        let mut file = temporary(path).map_err(failed("create a new file for", path))?;
        let written = file.write_all(content);
        written.map_err(failed("write the new file for", path))?;
        // Before the rename: otherwise a power cut may leave an empty file under the name.
        if let Err(error) = (disk.sync_file)(file.as_file())
            && !is_unsupported(&error)
        {
            return Err(failed("sync the new file for", path)(error));
        }
        Ok(Self {
            file,
            directory,
            disk,
        })
    }

    /// Renames the new file. After an error the file at `path` is the old one or the new one, and whole.
    fn persist(self, path: &Path) -> Result<(), StoreError> {
        static REPORTED: AtomicBool = AtomicBool::new(false);

        let renamed = self.file.persist(path).map_err(|error| error.error);
        renamed.map_err(failed("rename the new file to", path))?;
        if let Some(directory) = self.directory
            && let Err(error) = (self.disk.sync_directory)(&directory)
            && !is_unsupported(&error)
            && !REPORTED.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(
                path = %path.display(),
                %error,
                "cannot sync the directory: the record is replaced for every reader, and a power cut may undo that; \
                 check the disk"
            );
        }
        Ok(())
    }
}

/// The directory as a file. `None` where a directory cannot be opened as a file, or must not be read.
fn open_directory(directory: &Path) -> io::Result<Option<File>> {
    if !cfg!(unix) {
        return Ok(None);
    }
    let is_missed =
        |error: &io::Error| error.kind() == ErrorKind::PermissionDenied || is_unsupported(error);
    match File::open(directory) {
        Err(error) if is_missed(&error) => Ok(None),
        directory => directory.map(Some),
    }
}

/// Whether the file system lacks the operation, as CIFS, some shared folders of virtual machines and some file systems in
/// user space lack the syncing of directories. Every program has the same risk there.
fn is_unsupported(error: &io::Error) -> bool {
    #[cfg(unix)]
    if let Some(errno) = rustix::io::Errno::from_io_error(error) {
        use rustix::io::Errno;

        // EBADF: some systems want a directory to be open for writing, which is not possible.
        return [
            Errno::INVAL,
            Errno::NOTSUP,
            Errno::OPNOTSUPP,
            Errno::NOSYS,
            Errno::NOTTY,
            Errno::BADF,
            Errno::ISDIR,
        ]
        .contains(&errno);
    }
    matches!(
        error.kind(),
        ErrorKind::Unsupported | ErrorKind::InvalidInput
    )
}

/// A new file beside the record at `path`, for this user alone (0600). It is removed when it is dropped.
pub(super) fn temporary(path: &Path) -> io::Result<NamedTempFile> {
    let (Some(directory), Some(stem)) = (path.parent(), path.file_stem()) else {
        return Err(ErrorKind::InvalidFilename.into());
    };
    let mut prefix = stem.to_os_string();
    prefix.push(".");
    let mut builder = Builder::new();
    builder.prefix(&prefix).suffix(ENDING);
    builder.tempfile_in(directory)
}
