//! Records as files: one for each key, replaced as a whole.
//!
//! - [`content`]: what a file holds, and which files are refused
//! - [`access`]: who else may read it
//! - [`lock`]: who may replace it
//! - [`replace`]: how it is replaced

mod access;
mod content;
mod lock;
mod replace;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;

use self::content::{Content, Stamp};
use self::lock::Lock;
use super::codec::{Flaw, Outline};
use super::{Codec, Loaded, Revision, Sealer, StoreError, Swap, TokenStore};
use crate::clock::{Clock, SystemClock};
use crate::record::Record;
use crate::token::{Digest, Key};

/// How often a waiter looks: half of the 50 ms in which a change is to be noticed, so that the look itself
/// may take as long.
const LOOK_EVERY: Duration = Duration::from_millis(25);

/// Every so many looks the file is read although it looks the same. Two writes within one tick of the file
/// system's clock, to files of one length in one place, cannot be told apart from outside.
const READ_EVERY: u32 = 20;

/// Keeps each record in a file of its own, so that a restart goes on with the pair that was rotated last.
///
/// The file is `<digest of the key>.json`; besides it there is an empty `.lock` file, which is never
/// removed. Processes of one user on one machine can share a directory: a replacement is compared and
/// written under the lock, and readers need none. Clones are cheap.
///
/// A record is replaced by renaming a new file over it, and synced to the disk before that counts. So it is
/// whole at any time, whatever is killed or switched off. A swap that was dropped or timed out is
/// carried out entirely or not at all. A file that is no whole record of its key is never written over:
/// every call returns an error that names it.
///
/// # Who may read it
///
/// Files are created with mode 0600 and directories with 0700. A file that the group or others can access,
/// a directory that they can write to, and what belongs to another user is refused: its tokens are no
/// secret any more, or its content is somebody else's. On Windows there are no such modes, and the directory's access
/// list decides alone. With a [`Sealer`] the tokens are encrypted as well.
///
/// # Time
///
/// The store's time is the machine's wall clock, the only one that survives a restart. If it is stepped
/// forward by more than the [quarantine](crate::Builder::quarantine) while an instance is rotating, that
/// one's claim looks stale to others: they take its token for spent, as they would if it had died. After a
/// step back, the claim of an instance that died is waited for that much longer.
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
    codec: Codec,
    clock: Arc<dyn Clock>,
    /// Whether the directory was searched for what killed processes left.
    swept: Arc<AtomicBool>,
}

impl FileStore {
    /// A store in this directory, which is created if it is missing, with those above it. A relative path
    /// counts from the current directory of this moment.
    ///
    /// # Errors
    ///
    /// If it cannot be created, is no directory, can be written to by others or belongs to another user.
    pub fn new(directory: impl AsRef<Path>) -> Result<Self, StoreError> {
        let directory = directory.as_ref();
        let directory = std::path::absolute(directory)
            .map_err(|error| failed("find the directory", directory, error))?;
        access::create_private(&directory)
            .map_err(|error| failed("create the directory", &directory, error))?;
        access::check_directory(&directory)?;
        Ok(Self {
            directory: directory.into(),
            codec: Codec::plain(),
            clock: Arc::new(SystemClock),
            swept: Arc::default(),
        })
    }

    /// Seals the pairs. Plain records are read, and sealed when they are written next.
    #[must_use]
    pub fn sealed(mut self, sealer: impl Sealer) -> Self {
        self.codec = Codec::sealed(sealer);
        self
    }

    /// Takes the store's time from the wall clock of another clock. Default: [`SystemClock`].
    #[must_use]
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    fn path(&self, key: &Key) -> PathBuf {
        self.directory.join(format!("{}.json", key.digest()))
    }

    fn read(&self, key: &Key) -> Result<Option<Seen>, StoreError> {
        access::check_directory(&self.directory)?;
        let path = self.path(key);
        let Some(content) = Content::read(&path)? else {
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

    /// Once, before the first lock is taken: what a killed process left is removed under the lock of its
    /// session, which must not be ours by then.
    fn sweep(&self) {
        if !self.swept.swap(true, Ordering::Relaxed) {
            replace::remove_leftovers(&self.directory);
        }
    }

    fn replace(
        &self,
        key: &Key,
        seen: Option<Revision>,
        next: &Record,
        caller: &Weak<()>,
    ) -> Result<Swap, StoreError> {
        let path = self.path(key);
        if next.key != *key {
            return Err(StoreError::new(format!(
                "the record of another session cannot be written to {}",
                path.display()
            )));
        }
        access::check_directory(&self.directory)?;
        self.sweep();
        let record = self
            .codec
            .write(next)
            .map_err(|flaw| flaw.of(content::untouched(&path)))?;
        let _lock = Lock::take(&path.with_extension("lock"), caller)?;
        let held = self.read(key)?.map(|seen| seen.entry);
        let before = held.as_ref().map(|(_, revision)| *revision);
        if before != seen {
            return Ok(Swap::Lost(held));
        }
        let revision = content::next_revision(before, self.clock.wall());
        let content = content::written(&path, revision, &record)?;
        replace::replace(&path, &content)?;
        Ok(Swap::Swapped(revision))
    }

    /// The session whose file this is, if it knows the digest.
    fn owner_of(path: &Path, digest: &Digest) -> Result<Option<Key>, StoreError> {
        let Some(content) = Content::read(path)? else {
            return Ok(None);
        };
        let unreadable = |flaw: Flaw| flaw.of(content::untouched(path));
        let (_, record) = content.parts().map_err(unreadable)?;
        let outline = Outline::read(record).map_err(unreadable)?;
        Ok(outline.knows(digest).then_some(outline.record.key))
    }

    /// Every file that can be read is asked before one that cannot is an error: "nobody's" would be a
    /// guess then.
    fn search(&self, digest: &Digest) -> Result<Option<Key>, StoreError> {
        access::check_directory(&self.directory)?;
        let unlisted = |error| failed("list the directory", &self.directory, error);
        let mut unread = None;
        for entry in fs::read_dir(&self.directory).map_err(unlisted)? {
            let path = entry.map_err(unlisted)?.path();
            if content::session_of(&path, ".json").is_none() {
                continue;
            }
            match Self::owner_of(&path, digest) {
                // A copy under another name is nobody's.
                Ok(Some(key)) if self.path(&key) == path => return Ok(Some(key)),
                Ok(_) => {}
                Err(error) => unread = Some(error),
            }
        }
        unread.map_or(Ok(None), Err)
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
        // Dropped with this future. What it started cannot be stopped, but it need not wait for the lock
        // any more.
        let caller = Arc::new(());
        let waited_for = Arc::downgrade(&caller);
        let (store, key, next) = (self.clone(), key.clone(), next.clone());
        blocking(move || store.replace(&key, seen, &next, &waited_for)).await
    }

    async fn changed(&self, key: &Key, seen: Option<Revision>) {
        let mut known: Option<Option<Stamp>> = None;
        let mut look = 0;
        loop {
            let (store, key) = (self.clone(), key.clone());
            let known_now = known.filter(|_| look != 0);
            let looked = blocking(move || {
                let looks_the_same = known_now == Some(Stamp::of(&store.path(&key)));
                (!looks_the_same).then(|| store.read(&key)).transpose()
            });
            // What cannot be read may be mended; whoever waits has a limit.
            if let Ok(Some(found)) = looked.await {
                if found.as_ref().map(|found| found.entry.1) != seen {
                    return;
                }
                known = Some(found.map(|found| found.stamp));
            }
            look = (look + 1) % READ_EVERY;
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn find(&self, digest: &Digest) -> Result<Option<Key>, StoreError> {
        let (store, digest) = (self.clone(), *digest);
        blocking(move || store.search(&digest)).await
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
