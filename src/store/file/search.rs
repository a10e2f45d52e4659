//! Whose digest it is. What the files know is kept in an index, which only says where to look first and which files
//! need not be read again: the answer is always what a file says at that moment.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::Mutex as Order;

use super::content::{Found, Stamp, record_of};
use super::{FileStore, access, blocking, failed};
use crate::record::Record;
use crate::store::StoreError;
use crate::token::{Digest, Key};

/// What was read of each file. It is shared by the clones of a store.
#[derive(Debug, Default)]
pub(super) struct Index {
    files: Mutex<Files>,
    /// Searches that have to read the directory queue without a thread.
    pub(super) order: Order<()>,
    /// How many times the directory was begun to be read.
    pub(super) begun: AtomicU64,
    /// How many files were read.
    pub(super) reads: AtomicU64,
}

#[derive(Debug, Default)]
struct Files {
    known: HashMap<Digest, Known>,
    /// Why one could not be read.
    unread: Option<StoreError>,
}

#[derive(Debug)]
struct Known {
    path: PathBuf,
    /// What the file looked like; `None` if it has to be read again anyway.
    stamp: Option<Stamp>,
    digests: Vec<Short>,
}

/// The start of a digest: enough to find a file, and a quarter of the memory.
type Short = u64;

fn short(digest: &Digest) -> Short {
    let mut start = [0; 8];
    start.copy_from_slice(&digest.as_bytes()[..8]);
    Short::from_be_bytes(start)
}

pub(super) async fn search(store: &FileStore, digest: &Digest) -> Result<Option<Key>, StoreError> {
    let (one, digest) = (store.clone(), *digest);
    let begun = store.index.begun.load(Ordering::SeqCst);
    let found = blocking(move || {
        access::check_directory(&one.directory, one.group)?;
        Ok(one.index.look_up(&one, &digest))
    });
    if let Some(key) = found.await? {
        return Ok(Some(key));
    }
    // Nothing that is kept can say that no file has it.
    let _order = store.index.order.lock().await;
    let store = store.clone();
    blocking(move || {
        let index = &store.index;
        // A reading that began after this search did serves for it.
        if index.begun.load(Ordering::SeqCst) == begun {
            index.refresh(&store);
        }
        let unread = index.files.lock().unread.clone();
        match (index.look_up(&store, &digest), unread) {
            (Some(key), _) => Ok(Some(key)),
            (None, None) => Ok(None),
            // Every file that can be read is asked before one that cannot is an error: "none" would be a guess then.
            (None, Some(error)) => Err(error),
        }
    })
    .await
}

impl Index {
    fn look_up(&self, store: &FileStore, digest: &Digest) -> Option<Key> {
        let short = short(digest);
        let candidates: Vec<_> = self
            .files
            .lock()
            .known
            .iter()
            .filter(|(_, known)| known.digests.contains(&short))
            .map(|(_, known)| known.path.clone())
            .collect();
        candidates.iter().find_map(|path| {
            self.reads.fetch_add(1, Ordering::Relaxed);
            let found = Found::read(path, store.group).ok()??;
            (found.belongs_at(path) && found.outline.knows(digest))
                .then_some(found.outline.record.key)
        })
    }

    /// Reads what has changed.
    fn refresh(&self, store: &FileStore) {
        let mut files = self.files.lock();
        self.begun.fetch_add(1, Ordering::SeqCst);
        let before = std::mem::take(&mut *files).known;
        if let Err(error) = files.read(store, before) {
            let directory = &store.directory;
            files.unread = Some(failed("list the directory", directory, error));
        }
    }

    /// What this store has just written, so that it is found without reading the directory. Not where that would
    /// wait for a search.
    pub(super) fn note(&self, record: &Record) {
        if let Some(mut files) = self.files.try_lock()
            && let Some(known) = files.known.get_mut(&record.key.digest())
        {
            known.stamp = None;
            known.digests = digests(record).map(|digest| short(&digest)).collect();
        }
    }
}

impl Files {
    fn read(&mut self, store: &FileStore, mut before: HashMap<Digest, Known>) -> io::Result<()> {
        for entry in fs::read_dir(&store.directory)? {
            let path = entry?.path();
            let Some(session) = record_of(&path) else {
                continue;
            };
            let known = before
                .remove(&session)
                .filter(|known| known.stamp.is_some());
            if let Some(known) = known
                && known.stamp == Stamp::of(&path)
            {
                self.known.insert(session, known);
                continue;
            }
            match Known::read(store, &path) {
                Ok(Some(known)) => {
                    self.known.insert(session, known);
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
        // A copy under another name belongs to no session.
        let digests = match found.belongs_at(path) {
            true => {
                let digests = digests(&found.outline.record);
                let current = found.outline.digest();
                let digests = digests.chain(std::iter::once(current));
                digests.map(|digest| short(&digest)).collect()
            }
            false => Vec::new(),
        };
        Ok(Some(Self {
            path: path.to_owned(),
            stamp,
            digests,
        }))
    }
}

/// What [`Record::knows`].
fn digests(record: &Record) -> impl Iterator<Item = Digest> {
    let condemned = record.state.condemned();
    let current = std::iter::once(record.digest());
    current.chain(condemned).chain(record.retired().copied())
}
