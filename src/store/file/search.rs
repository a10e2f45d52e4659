//! Whose digest it is. What the files know is kept in an index, which only says where to look first and which files
//! need not be read again: the answer is always what a file says at that moment.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::Mutex as Order;

use super::access::{self, GroupAccess};
use super::content::{Found, Stamp, record_of};
use super::{FileStore, blocking, failed, past};
use crate::record::Record;
use crate::store::StoreError;
use crate::token::{Digest, Key};

/// What was read of each file. It is shared by the clones of a store.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// Locked for moments only: nothing is read from the disk meanwhile.
    files: Mutex<Files>,
    /// Held for each reading of the directory, until its result is in `files`. Searches queue for it without a thread.
    pub(super) order: Arc<Order<()>>,
    /// The number of the reading that was begun last.
    pub(super) begun: AtomicU64,
    /// How many files were read.
    pub(super) reads: AtomicU64,
}

#[derive(Debug, Clone, Default)]
struct Files {
    known: Arc<HashMap<Digest, Arc<Known>>>,
    /// Why one could not be read.
    unread: Option<StoreError>,
    /// The number of the reading that this is the result of.
    reading: u64,
}

#[derive(Debug, Clone)]
struct Known {
    path: PathBuf,
    /// What the file looked like; `None` if it has to be read again anyway.
    stamp: Option<Stamp>,
    refresh: Vec<Short>,
    /// Of those that have left the record, the oldest first.
    past: Vec<Short>,
    access: Option<Short>,
}

/// The start of a digest: enough to find a file, and a quarter of the memory.
type Short = u64;

fn short(digest: &Digest) -> Short {
    let mut start = [0; 8];
    start.copy_from_slice(&digest.as_bytes()[..8]);
    Short::from_be_bytes(start)
}

/// What is looked for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Name {
    /// A refresh token, current or past.
    Refresh(Digest),
    /// A current access token.
    Access(Digest),
}

impl Name {
    fn may_be_in(self, known: &Known) -> bool {
        match self {
            Self::Refresh(digest) => {
                let short = short(&digest);
                known.refresh.contains(&short) || known.past.contains(&short)
            }
            Self::Access(digest) => known.access == Some(short(&digest)),
        }
    }

    /// Whether the session whose record was found at `path` has it.
    fn is_of(self, found: &Found, path: &Path, group: GroupAccess) -> bool {
        found.belongs_at(path)
            && match self {
                Self::Refresh(digest) => {
                    found.outline.knows(&digest) || past::read(path, group).contains(&digest)
                }
                Self::Access(digest) => found.outline.access_digest() == Some(digest),
            }
    }
}

pub(super) async fn search(store: &FileStore, name: Name) -> Result<Option<Key>, StoreError> {
    let one = store.clone();
    let begun = store.index.begun.load(Ordering::SeqCst);
    let found = blocking(move || {
        access::check_directory(&one.directory, one.group)?;
        Ok(one.index.look_up(&one, name))
    });
    if let Some(key) = found.await? {
        return Ok(Some(key));
    }
    // Nothing that is kept can say that no file has it.
    search_after(begun, store, name).await
}

/// By a reading of the directory with a higher number than `begun`.
pub(super) async fn search_after(
    begun: u64,
    store: &FileStore,
    name: Name,
) -> Result<Option<Key>, StoreError> {
    let order = store.index.order.clone().lock_owned().await;
    let store = store.clone();
    blocking(move || {
        // Until the reading ends, also if its search is dropped before.
        let _order = order;
        let index = &store.index;
        // One that began after the search did serves for it.
        if index.files.lock().reading <= begun {
            index.refresh(&store);
        }
        let unread = index.files.lock().unread.clone();
        match (index.look_up(&store, name), unread) {
            (Some(key), _) => Ok(Some(key)),
            (None, None) => Ok(None),
            // Every file that can be read is asked before one that cannot is an error: "none" would be a guess then.
            (None, Some(error)) => Err(error),
        }
    })
    .await
}

impl Index {
    fn look_up(&self, store: &FileStore, name: Name) -> Option<Key> {
        let known = self.files.lock().known.clone();
        let mut candidates = known
            .values()
            .filter(|known| name.may_be_in(known))
            .map(|known| &known.path);
        candidates.find_map(|path| {
            self.reads.fetch_add(1, Ordering::Relaxed);
            let found = Found::read(path, store.group).ok()??;
            name.is_of(&found, path, store.group)
                .then_some(found.outline.record.key)
        })
    }

    /// Reads what has changed. One at a time, by `order`.
    fn refresh(&self, store: &FileStore) {
        let reading = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
        let before = self.files.lock().known.clone();
        let files = Files::read(store, &before, reading);
        *self.files.lock() = files;
    }

    /// What this store has just written, so that it is found without reading the directory. A reading that is under way
    /// takes the place of it, and may have read the file before: then the file looks different at the next one.
    pub(super) fn note(&self, record: &Record, left: &[Digest]) {
        let mut files = self.files.lock();
        let session = record.key.digest();
        if files.known.contains_key(&session)
            && let Some(known) = Arc::make_mut(&mut files.known).get_mut(&session)
        {
            let mut past = known.past.clone();
            past.extend(left.iter().map(short));
            past.drain(..past.len().saturating_sub(past::LIMIT));
            *known = Arc::new(Known {
                path: known.path.clone(),
                stamp: None,
                refresh: digests(record).map(|digest| short(&digest)).collect(),
                past,
                access: record.access_digest().as_ref().map(short),
            });
        }
    }
}

impl Files {
    fn read(store: &FileStore, before: &HashMap<Digest, Arc<Known>>, reading: u64) -> Self {
        let mut files = Self {
            reading,
            ..Self::default()
        };
        let mut known = HashMap::with_capacity(before.len());
        if let Err(error) = files.read_into(&mut known, store, before) {
            files.unread = Some(failed("list the directory", &store.directory, error));
        }
        files.known = Arc::new(known);
        files
    }

    fn read_into(
        &mut self,
        files: &mut HashMap<Digest, Arc<Known>>,
        store: &FileStore,
        before: &HashMap<Digest, Arc<Known>>,
    ) -> io::Result<()> {
        for entry in fs::read_dir(&store.directory)? {
            let path = entry?.path();
            let Some(session) = record_of(&path) else {
                continue;
            };
            let known = before.get(&session);
            if let Some(known) = known.filter(|known| known.stamp.is_some())
                && known.stamp == Stamp::of(&path)
            {
                files.insert(session, known.clone());
                continue;
            }
            match Known::read(store, &path) {
                Ok(Some(known)) => {
                    files.insert(session, Arc::new(known));
                }
                Ok(None) => {}
                Err(error) => self.unread = Some(error),
            }
        }
        Ok(())
    }
}

impl Known {
    fn read(store: &FileStore, path: &Path) -> Result<Option<Self>, StoreError> {
        let now = store.clock.wall();
        store.index.reads.fetch_add(1, Ordering::Relaxed);
        let Some(found) = Found::read(path, store.group)? else {
            return Ok(None);
        };
        let stamp = found.stamp.is_settled(now).then_some(found.stamp);
        let mut known = Self {
            path: path.to_owned(),
            stamp,
            refresh: Vec::new(),
            past: Vec::new(),
            access: None,
        };
        // A copy under another name belongs to no session.
        if found.belongs_at(path) {
            let digests = digests(&found.outline.record);
            let digests = digests.chain([found.outline.digest()]);
            known.refresh = digests.map(|digest| short(&digest)).collect();
            known.past = past::read(path, store.group).iter().map(short).collect();
            known.access = found.outline.access_digest().as_ref().map(short);
        }
        Ok(Some(known))
    }
}

/// What [`Record::knows`].
fn digests(record: &Record) -> impl Iterator<Item = Digest> {
    let condemned = record.state.condemned();
    let current = std::iter::once(record.digest());
    current.chain(condemned).chain(record.retired().copied())
}
