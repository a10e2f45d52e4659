//! Records as files: one for each key, replaced as a whole.
//!
//! - [`content`]: what a file holds, and which files are refused
//! - [`access`]: who else may read it
//! - [`lock`]: who may replace it
//! - [`lock_queue`]: who in this process may
//! - [`replace`]: how it is replaced
//! - [`swap`]: all of these, in order
//! - [`watch`]: who waits for a change
//! - [`liveness`]: whether the holder of a lease is alive
//! - [`search`]: whose digest it is
//! - [`past`]: the past tokens that have left a record
//! - [`cleanup`]: what others left behind
//! - [`purge`]: sessions that nothing depends on any more

mod access;
mod cleanup;
mod content;
mod liveness;
mod lock;
mod lock_queue;
mod past;
mod purge;
mod replace;
mod search;
mod swap;
#[cfg(test)]
mod tests;
mod watch;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;

pub use self::access::GroupAccess;
use self::content::{Content, Stamp};
use self::liveness::Liveness;
use self::replace::Disk;
use self::search::{Index, Name};
use super::codec::Flaw;
use super::{Codec, Loaded, Revision, Sealer, StoreError, Swap, TokenStore};
use crate::clock::{Clock, SystemClock};
use crate::record::{Lease, Record};
use crate::token::{Digest, Key};

/// How long a session stays after its last token expired.
const RETENTION: Duration = Duration::from_secs(30 * 24 * 3_600);

/// Keeps each record in a file of its own, so that a restart goes on with the pair that was rotated last.
///
/// The file is `<digest of the key>.json`; beside it there is an empty `.lock` file, which only
/// [`purge`](Self::purge) removes. Processes of one user on one machine can share a directory: a replacement is
/// compared and written under the lock, and readers need none. Swaps of one process queue for it, and those that
/// wait hold up no thread. Of all in a process who wait for a change, one looks for all, every 25 ms. Clones are
/// cheap.
///
/// A record is replaced by renaming a new file over it, which is synced to the disk before, and the directory
/// after. So it is whole at any time, whatever is killed or switched off. Where a directory cannot be synced, as on
/// CIFS and some shared folders of virtual machines, a power cut can undo the last replacements. A swap that was
/// dropped or timed out is carried out entirely or not at all. A file that is not a whole record of its key is
/// never written over: every call returns an error that names it.
///
/// # Who may read it
///
/// Files are created with mode 0600 and directories with 0700. A file that the group or others can access,
/// a directory that they can write to, and what belongs to a user other than this one and root is refused: its
/// tokens are not a secret any more, or its content is another user's. What the group may do is a setting
/// ([`with_group`](Self::with_group)), because container platforms give access to it at every mount. On Windows
/// there are no such modes, and the directory's access list decides alone. With a [`Sealer`] the tokens are encrypted
/// as well.
///
/// # When a process dies that holds a lease
///
/// Before a lease is written, its process makes a file `<digest of the key>.<owner>.alive`, and keeps it locked
/// until the lease is out of the record. The system frees the lock when the process ends, however it ends. So
/// those who wait for the lease learn at once that its holder is dead, and that the token may be spent;
/// what they do then is what the server's profile permits about such a token:
///
/// - where the endpoint can sign in, it does so at once;
/// - else it is [sent again](crate::ServerProfile::resend) at once;
/// - where that is not permitted, the session ends once its access token has expired.
///
/// Death is proven or it is not known, and what is not known is waited for. So a process that is stopped, that
/// hangs, or that dropped its store or its runtime and goes on, is left alone for the lease duration, and so is the
/// holder of a lease whose file was removed, was copied from elsewhere, or is from before a restart of the
/// machine. On Windows nothing is proven. Who swaps a new lease into a record is taken for its holder:
/// leases that others make in another store must not be copied from there.
///
/// The file is removed with the lease; one whose lease is gone, at the first swap of a store that is
/// opened later. Removing one by hand does no harm. All of them that a process has in a directory are names of one
/// file, so they take one descriptor. Where a file cannot have several names, as on FAT, a process proves the lives
/// of 16 leases at a time.
///
/// # How long sessions stay
///
/// Nothing is removed by itself. [`purge`](Self::purge) removes the sessions of which every token has expired
/// 30 days ago ([`retention`](Self::retention)).
///
/// # Searching
///
/// The first [`find`](TokenStore::find) of a store and its clones reads every file; later ones read what has changed,
/// and for a token of a known session that session's file alone.
///
/// The last 256 tokens that have left a record because it keeps newer ones are found too. Their digests are in the file
/// `<digest of the key>.past`, which is written only when one leaves. Without the file, or with one that is damaged or
/// another session's, those tokens are not found, and nothing else changes. What a sealer proves, it proves of the
/// record: a writer to the directory can put digests of its choice into that file.
///
/// # Time
///
/// The store's time is the machine's wall clock, the only one that survives a restart. If it is stepped
/// forward by more than the [lease duration](crate::Builder::lease_duration) while an instance is rotating, that
/// one's lease looks stale to others: they take its token for spent, as they would if it had died. After a
/// step back, the lease of an instance that died is waited for that much longer.
///
/// Revisions are microseconds of that clock, but at least one more than before. So they do not come
/// again when a file is deleted and written anew, unless the clock was stepped back in between.
///
/// # Where not
///
/// The file system has to know locks and atomic renames, as local ones do. Machines that share a directory
/// over the network have two clocks, and locks that depend on the server: give them a store that is meant
/// for several machines.
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
    /// Whether the directory was searched for what killed processes left.
    swept: Arc<AtomicBool>,
}

impl FileStore {
    /// A store in this directory, which is created if it is missing, with those above it. A relative path
    /// counts from the current directory of this moment.
    ///
    /// # Errors
    ///
    /// If it cannot be created, is not a directory, can be written to by the group or by others, or belongs to
    /// a user other than this one and root.
    pub fn new(directory: impl AsRef<Path>) -> Result<Self, StoreError> {
        Self::with_group(directory, GroupAccess::None)
    }

    /// The same where the group has access to the directory and to the files in it, as on a volume that a container
    /// platform mounts. Every process that shares the directory needs it.
    ///
    /// # Errors
    ///
    /// As for [`new`](Self::new), but for what is permitted.
    pub fn with_group(directory: impl AsRef<Path>, group: GroupAccess) -> Result<Self, StoreError> {
        let directory = directory.as_ref();
        let directory = std::path::absolute(directory)
            .map_err(|error| failed("find the directory", directory, error))?;
        access::create_private(&directory)
            .map_err(|error| failed("create the directory", &directory, error))?;
        access::check_directory(&directory, group)?;
        Ok(Self {
            directory: directory.into(),
            group,
            codec: Codec::plain(),
            clock: Arc::new(SystemClock),
            retention: RETENTION,
            disk: Disk::default(),
            index: Arc::default(),
            swept: Arc::default(),
        })
    }

    /// Seals the records, and refuses plain ones, see [`Codec`].
    #[must_use]
    pub fn sealed(mut self, sealer: impl Sealer) -> Self {
        self.codec = self.codec.with_sealer(sealer);
        self
    }

    /// Accepts plain records although there is a sealer, and seals them when they are written next: for the time in
    /// which a store that was used without a sealer is given one. Default: no.
    #[must_use]
    pub fn accept_plain(mut self, accept: bool) -> Self {
        self.codec = self.codec.accept_plain(accept);
        self
    }

    /// Takes the store's time from the wall clock of another clock. Default: [`SystemClock`].
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

    /// Removes the sessions of which every token has expired longer ago than the [retention](Self::retention).
    /// Returns the number of sessions.
    ///
    /// Nothing else removes them, so this is for now and then, from one instance or from all of them. A session that
    /// is being written at that moment, or whose lease's holder is alive, stays for the next time, and so does one
    /// with a token whose expiry is not known. A process with a sealed store needs the sealer.
    ///
    /// # Errors
    ///
    /// If the directory or a file in it cannot be read, or a file not be removed. All other sessions are purged
    /// before that is returned.
    pub async fn purge(&self) -> Result<u64, StoreError> {
        let store = self.clone();
        blocking(move || purge::purge(&store)).await
    }

    fn path(&self, key: &Key) -> PathBuf {
        self.directory.join(format!("{}.json", key.digest()))
    }

    fn read(&self, key: &Key) -> Result<Option<Seen>, StoreError> {
        access::check_directory(&self.directory, self.group)?;
        let path = self.path(key);
        let Some(content) = Content::read(&path, self.group)? else {
            content::refuse_unreleased(&self.directory, key)?;
            return Ok(None);
        };
        let unreadable = |flaw: Flaw| flaw.of(content::untouched(&path));
        let (revision, record) = content.parts().map_err(unreadable)?;
        let record = self.codec.read(key, record).map_err(unreadable)?;
        Ok(Some(Seen {
            entry: (record, revision),
            stamp: content.stamp(),
        }))
    }

    /// Once, before the first lock is taken: what a process left that ended is removed under the lock of its
    /// session, which must not be ours by then.
    fn clean_up(&self) {
        if !self.swept.swap(true, Ordering::Relaxed) {
            cleanup::clean_up(&self.directory, self.group);
        }
    }
}

/// What was read, and what its file looked like.
struct Seen {
    entry: (Record, Revision),
    stamp: Stamp,
}

#[async_trait]
impl TokenStore for FileStore {
    async fn load(&self, key: &Key) -> Result<Loaded, StoreError> {
        let (store, key) = (self.clone(), key.clone());
        blocking(move || {
            let seen = store.read(&key)?;
            Ok(Loaded {
                entry: seen.map(|seen| seen.entry),
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

    async fn holder_is_dead(&self, key: &Key, lease: &Lease) -> bool {
        let (path, owner, group) = (self.path(key), lease.owner, self.group);
        let liveness = blocking(move || Ok(Liveness::of(&path, owner, group))).await;
        matches!(liveness, Ok(Liveness::Over))
    }
}

/// Runs `work` where it may block. It goes on if the caller is dropped.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        // What a panicking sealer says may hold what it was given.
        Err(died) if died.is_panic() => Err(StoreError::new("the file store's work panicked")),
        Err(_) => Err(StoreError::new("the runtime is shutting down")),
    }
}

fn failed(what: &str, path: &Path, error: std::io::Error) -> StoreError {
    StoreError::with_source(format!("cannot {what} {}", path.display()), error)
}
