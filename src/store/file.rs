//! Records as files: one file for each key, replaced as a whole.
//!
//! - [`access`]: which users may read and change the files
//! - [`content`]: the content of a file, and which files are refused
//! - [`lock`]: the lock of a record, and the queue for it
//! - [`swap`]: how a record is compared and replaced
//! - [`watch`]: waiting for changes
//! - [`liveness`]: whether the holder of a lease is alive
//! - [`search`]: the session of a token, and past tokens
//!
//! This store never writes over a file that is not a whole record of its key, and never trusts a file that other users can
//! change.

mod access;
mod content;
mod liveness;
mod lock;
mod search;
mod swap;
/// What a configuration says of a file store.
#[cfg(feature = "config")]
#[derive(serde::Deserialize)]
pub(crate) struct Parameters {
    #[serde(deserialize_with = "crate::parameters::path")]
    path: std::path::PathBuf,
    #[serde(default)]
    group: GroupAccess,
    seal: Option<crate::seal::Keys>,
    seal_accepts_plain: Option<bool>,
}

#[cfg(feature = "config")]
impl crate::parameters::FromParameters for FileStore {
    type Parameters = Parameters;

    async fn from_parameters(parameters: Parameters) -> Result<Self, ConfigError> {
        let codec = Codec::configured(parameters.seal, parameters.seal_accepts_plain).await?;
        let store = Self::with_group(parameters.path, parameters.group)
            .map_err(|error| ConfigError::not_made("path", error.into()))?;
        Ok(Self { codec, ..store })
    }
}

#[cfg(test)]
mod tests;
mod watch;

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;

pub use self::access::GroupAccess;
use self::content::{Found, Stored, record_of, session_of};
use self::liveness::Liveness;
use self::lock::Lock;
use self::search::{Index, Name};
use self::swap::Disk;
use super::blocking;
use super::codec::sealing_settings;
use super::{Codec, Loaded, Revision, Sealer, StoreError, StoreTime, Swap, TokenStore};
use crate::clock::{Clock, SystemClock};
#[cfg(feature = "config")]
use crate::parameters::ConfigError;
use crate::record::{Lease, Record};
use crate::token::{Digest, Key};

/// How long a session stays after its last token expired.
const RETENTION: Duration = Duration::from_secs(30 * 24 * 3_600);

/// Keeps each record in a file of its own, so that a restarted process continues with the pair that was rotated last.
///
/// The file is `<digest of the key>.json`; beside it there is an empty `.lock` file, which only [`purge`](Self::purge)
/// removes. Processes of one user on one machine can share a directory: a record is compared and replaced under the lock,
/// and readers do not need the lock. Swaps of one process queue for the lock; a swap that waits does not occupy a thread.
/// Of all callers in a process that wait for a change, one polls for all, every 25 ms. Clones are cheap.
///
/// A record is replaced by renaming a new file over it. The file is synced to the disk before the rename, and the
/// directory after it. So the record is whole at any time, even if a process is killed or the machine is switched off.
/// Where a directory cannot be synced, as on CIFS and some shared folders of virtual machines, a power cut can undo the
/// last replacements. A swap that was dropped or timed out is carried out entirely or not at all. A file that is not a
/// whole record of its key is never written over: every call returns an error that names the file.
///
/// # Access
///
/// Files are created with mode 0600 and directories with 0700. The store refuses a file that the group or others can
/// access, a directory that they can write to, and files and directories of a user other than this one and root: their
/// tokens are not secret any more, or their content is another user's. What the group may do is a setting
/// ([`with_group`](Self::with_group)), because container platforms give access to it at every mount. On Windows there are
/// no such modes, and only the directory's access list counts. With a [`Sealer`] the tokens are encrypted as well.
///
/// # When a process dies that holds a lease
///
/// Before a lease is written, its process creates a file `<digest of the key>.<owner>.alive`, and keeps the file locked
/// until the lease has left the record. The system frees the lock when the process ends, however it ends. So instances
/// that wait for the lease learn at once that its holder is dead, and that the token may be spent. The server's profile
/// decides what they do about such a token:
///
/// - where the endpoint can sign in, they sign in at once;
/// - else they [send the token again](crate::ServerProfile::resend) at once;
/// - where that is not permitted, the session ends when its access token has expired.
///
/// A death is proven or unknown; instances wait where it is unknown. So a process that is stopped, that hangs, or that
/// dropped its store or its runtime and continues, is left alone for the lease duration. The same is true for the holder of
/// a lease whose file was removed, was copied from elsewhere, or is from before a restart of the machine. On Windows
/// nothing is proven. The process that swaps a new lease into a record counts as the lease's holder: do not copy leases
/// from another store.
///
/// The file is removed with the lease. A file whose lease is gone is removed at the first swap of a store that is opened
/// later. Removing a file by hand does no harm. All such files of a process in a directory are names of one file, so they
/// take one descriptor. Where a file cannot have several names, as on FAT, a process proves the lives of 16 leases at a
/// time.
///
/// # How long sessions stay
///
/// Nothing is removed by itself. [`purge`](Self::purge) removes the sessions of which every token expired 30 days ago
/// ([`retention`](Self::retention)).
///
/// # Searching
///
/// The first [`find`](TokenStore::find) of a store and its clones reads every file. Later ones read the files that have
/// changed; for a token of a known session they read that session's file alone.
///
/// The last 256 tokens that have left a record because the record keeps newer ones are found too. Their digests are in the
/// file `<digest of the key>.past`, which is written only when a token leaves. If that file is missing, damaged, or
/// another session's, those tokens are not found, and nothing else changes. A seal proves the record and not that file: a
/// user who can write to the directory can put any digests into it.
///
/// # Time
///
/// The store's time is the machine's wall clock, the only clock that survives a restart. If it is stepped forward by more
/// than the [lease duration](crate::Builder::lease_duration) while an instance is rotating, other instances take that
/// lease for stale and its token for spent, as if the holder had died. After a step back, instances wait that much longer
/// for the lease of an instance that died.
///
/// Revisions are microseconds of that clock, but at least one more than before. So they do not repeat when a file is
/// deleted and written anew, unless the clock was stepped back in between.
///
/// # Where not to use it
///
/// The file system has to have locks and atomic renames, as local file systems do. Machines that share a directory over the
/// network have two clocks, and locks that depend on the server: use a store for several machines instead.
///
/// ```
/// use evertoken::FileStore;
///
/// # let directory = tempfile::tempdir()?;
/// # let session = directory.path().join("session");
/// let store = FileStore::new(session)?;
/// // TokenManager::builder(endpoint).store(store)
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct FileStore {
    directory: Arc<Path>,
    group: GroupAccess,
    codec: Codec,
    clock: Arc<dyn Clock>,
    retention: Duration,
    disk: Disk,
    index: Arc<Index>,
    /// Whether the files that ended processes left were removed.
    is_cleaned_up: Arc<AtomicBool>,
}

impl FileStore {
    /// Makes a store in this directory. The directory is created if it is missing, with those above it. A relative path
    /// counts from the current directory at this moment.
    ///
    /// # Errors
    ///
    /// If the directory cannot be created, is not a directory, can be written to by the group or by others, or belongs to
    /// a user other than this one and root.
    pub fn new(directory: impl AsRef<Path>) -> Result<Self, StoreError> {
        Self::with_group(directory, GroupAccess::None)
    }

    /// Makes a store in a directory that the group may access, as on a volume that a container platform mounts. Every
    /// process that shares the directory needs the same setting.
    ///
    /// # Errors
    ///
    /// As for [`new`](Self::new), except for the access that `group` permits.
    pub fn with_group(directory: impl AsRef<Path>, group: GroupAccess) -> Result<Self, StoreError> {
        let directory = directory.as_ref();
        let directory =
            std::path::absolute(directory).map_err(failed("find the directory", directory))?;
        access::create_private(&directory).map_err(failed("create the directory", &directory))?;
        access::check_directory(&directory, group)?;
        Ok(Self {
            directory: directory.into(),
            group,
            codec: Codec::plain(),
            clock: Arc::new(SystemClock),
            retention: RETENTION,
            disk: Disk::default(),
            index: Arc::default(),
            is_cleaned_up: Arc::default(),
        })
    }

    sealing_settings!();

    /// Takes the store's time from the wall clock of `clock`. Default: [`SystemClock`].
    #[must_use]
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// How long a session stays after its last token expired. Default: 30 days.
    #[must_use]
    pub fn retention(mut self, retention: Duration) -> Self {
        self.retention = retention;
        self
    }

    /// Removes the sessions of which every token expired longer ago than the [retention](Self::retention). Returns the
    /// number of sessions.
    ///
    /// Nothing else removes them, so call this now and then, from one instance or from all of them. A session stays for
    /// the next time while it is being written or while the holder of its lease is alive. A session with a token of
    /// unknown expiry always stays. A process with a sealed store needs the sealer.
    ///
    /// # Errors
    ///
    /// If the directory or a file in it cannot be read, or a file cannot be removed. All other sessions are purged before
    /// the error is returned.
    pub async fn purge(&self) -> Result<u64, StoreError> {
        let store = self.clone();
        blocking(move || store.purge_all()).await
    }

    fn path(&self, key: &Key) -> PathBuf {
        self.directory.join(format!("{}.json", key.digest()))
    }

    fn read(&self, key: &Key) -> Result<Option<Stored<Record>>, StoreError> {
        access::check_directory(&self.directory, self.group)?;
        let decode = |record: &[u8]| self.codec.read(key, record);
        let stored = content::read(&self.path(key), self.group, decode)?;
        if stored.is_none() {
            content::refuse_unreleased(&self.directory, key)?;
        }
        Ok(stored)
    }

    /// Removes, once, what ended processes left: files that were half written, proofs of dead holders whose lease is gone,
    /// and the past tokens of sessions without a record. Each file is removed under its session's lock, so no process is
    /// writing it, and the caller must not have a lock yet. While another process has the lock, the file stays.
    fn clean_up(&self) {
        if self.is_cleaned_up.swap(true, Ordering::Relaxed) {
            return;
        }
        let Ok(entries) = fs::read_dir(&self.directory) else {
            return;
        };
        for path in entries.flatten().map(|entry| entry.path()) {
            let of = |ending| session_of(&path, ending);
            let record = |session| self.directory.join(format!("{session}.json"));
            // Nearly all past tokens are of a session with a record: the lock is not taken for those.
            let past = of(search::PAST_ENDING).filter(|session| !exists(&record(*session)));
            let Some(session) = of(swap::ENDING).or_else(|| of(liveness::ENDING)).or(past) else {
                continue;
            };
            let record = record(session);
            let Ok(mut lock) = Lock::open(lock::path(&record)) else {
                continue;
            };
            if matches!(lock.try_take(), Ok(true)) && !is_needed(&path, &record, self.group) {
                // Nothing depends on the removal, so an error does not stop a swap.
                let _ = fs::remove_file(&path);
            }
        }
    }

    /// Removes the sessions of which every token expired longer ago than the retention. Returns their number.
    fn purge_all(&self) -> Result<u64, StoreError> {
        let directory = &self.directory;
        access::check_directory(directory, self.group)?;
        let unlisted = failed("list the directory", directory);
        let before = StoreTime::from(self.clock.wall()).before(self.retention);
        let (mut purged, mut failure) = (0, None);
        for entry in fs::read_dir(directory).map_err(&unlisted)? {
            let path = entry.map_err(&unlisted)?.path();
            if record_of(&path).is_none() {
                continue;
            }
            match self.purge_one(&path, before) {
                Ok(is_purged) => purged += u64::from(is_purged),
                Err(error) => failure = Some(error),
            }
        }
        failure.map_or(Ok(purged), Err)
    }

    fn purge_one(&self, path: &Path, before: StoreTime) -> Result<bool, StoreError> {
        // Checked without the lock first: most sessions stay.
        if self.expired(path, before)?.is_none() {
            return Ok(false);
        }
        let mut lock = Lock::open(lock::path(path))?;
        if !lock.try_take()? {
            return Ok(false);
        }
        let Some(found) = self.expired(path, before)? else {
            return Ok(false);
        };
        let remove = || if_there(fs::remove_file(path)).map_err(failed("remove", path));
        if !lock.has_name()? || remove()?.is_none() {
            return Ok(false);
        }
        liveness::settle(path, None, found.holder(), self.group);
        let _ = fs::remove_file(search::past_path(path));
        // The lock file is removed last: from then on another process may create and lock a file of that name. A lock file
        // that stays does no harm.
        let _ = fs::remove_file(lock::path(path));
        Ok(true)
    }

    /// The session, if every token of it expired before that time and the holder of its lease is not alive.
    fn expired(&self, path: &Path, before: StoreTime) -> Result<Option<Found>, StoreError> {
        // A copy under another name does not belong to a session.
        let found = Found::read(path, self.group)?.filter(|found| found.belongs_at(path));
        let Some(found) = found else {
            return Ok(None);
        };
        let holder = found.holder();
        if holder.is_some_and(|owner| Liveness::of(path, owner, self.group) == Liveness::Alive) {
            return Ok(None);
        }
        let stored = self.read(&found.content.record.key)?;
        let until = stored.and_then(|stored| stored.content.needed_until());
        Ok(until.is_some_and(|until| until < before).then_some(found))
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
    let holder = Found::read(record, group).map(|found| found?.holder());
    let proof = holder.map(|owner| Some(liveness::path(record, owner?)));
    proof.map_or(true, |proof| proof.as_deref() == Some(path))
}

#[async_trait]
impl TokenStore for FileStore {
    async fn load(&self, key: &Key) -> Result<Loaded, StoreError> {
        let (store, key) = (self.clone(), key.clone());
        blocking(move || {
            Ok(Loaded {
                entry: store.read(&key)?.map(Stored::entry),
                now: store.clock.wall().into(),
            })
        })
        .await
    }

    async fn swap(
        &self,
        key: &Key,
        seen: Option<Revision>,
        next: &Record,
    ) -> Result<Swap, StoreError> {
        swap::swap(self, key, seen, next).await
    }

    async fn changed(&self, key: &Key, seen: Option<Revision>) {
        watch::changed(self, key, seen).await;
    }

    async fn find(&self, digest: &Digest) -> Result<Option<Key>, StoreError> {
        search::search(self, Name::Refresh(*digest)).await
    }

    async fn find_by_access(&self, digest: &Digest) -> Result<Option<Key>, StoreError> {
        search::search(self, Name::Access(*digest)).await
    }

    async fn find_by_upstream(&self, mark: &Digest) -> Result<Option<Vec<Key>>, StoreError> {
        let found = search::search_all(self, Name::Upstream(*mark)).await?;
        Ok(Some(found))
    }

    async fn holder_is_dead(&self, key: &Key, lease: &Lease) -> bool {
        let (path, owner, group) = (self.path(key), lease.owner, self.group);
        let liveness = blocking(move || Ok(Liveness::of(&path, owner, group))).await;
        matches!(liveness, Ok(Liveness::Dead))
    }
}

/// The value of this key while it is in use, and a new one otherwise.
fn shared<K: Ord, T>(
    values: &Mutex<BTreeMap<K, Weak<T>>>,
    key: K,
    new: impl FnOnce() -> T,
) -> Arc<T> {
    let mut values = values.lock();
    if let Some(value) = values.get(&key).and_then(Weak::upgrade) {
        return value;
    }
    values.retain(|_, value| value.strong_count() > 0);
    let value = Arc::new(new());
    values.insert(key, Arc::downgrade(&value));
    value
}

/// The error of a step on a file.
fn failed(what: &str, path: &Path) -> impl Fn(io::Error) -> StoreError {
    move |error| StoreError::with_source(format!("cannot {what} {}", path.display()), error)
}

/// `None` where there is no file.
fn if_there<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        result => result.map(Some),
    }
}
