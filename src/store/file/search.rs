//! The search for the session of a token, and the past tokens that have left a record.
//!
//! An index has what was read of each file. The index only decides which files are read first, and which need not be
//! read again: the answer is always that of a file at this moment.
//!
//! Past tokens that have left a record are in a file beside it. That file is a hint: without it, a used token of long ago
//! is not found. So a problem of the file is never the error of a call, and the file is not synced. It begins with the
//! digest of its session; a file that begins with another digest is ignored.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::Mutex as Order;

use super::access::{self, GroupAccess};
use super::content::{Found, Stamp, record_of};
use super::swap::temporary;
use super::{FileStore, failed};
use crate::record::Record;
use crate::store::StoreError;
use crate::store::blocking;
use crate::token::{Digest, Key};

/// The ending of a file with past tokens.
pub(super) const PAST_ENDING: &str = ".past";

/// How many past tokens are remembered. At one rotation in ten minutes, these are the tokens of two days.
const PAST_LIMIT: usize = 256;

/// The most tokens in a file before old ones are removed. Most swaps append one token.
const LONGEST_PAST: usize = 2 * PAST_LIMIT;

/// What was read of each file. The clones of a store share it.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// Never locked while a file is read.
    files: Mutex<Files>,
    /// Locked for each reading of the directory, until its result is in `files`. Searches queue for it without a thread.
    pub(super) order: Arc<Order<()>>,
    /// The number of the reading that began last.
    pub(super) begun: AtomicU64,
    /// The number of files that were read.
    pub(super) reads: AtomicU64,
}

#[derive(Debug, Clone, Default)]
struct Files {
    known: Arc<HashMap<Digest, Arc<Known>>>,
    /// The error of a file that could not be read.
    unread: Option<StoreError>,
    /// The number of the reading with this result.
    reading: u64,
}

#[derive(Debug, Clone, Default)]
struct Known {
    path: PathBuf,
    /// The stamp of the file; `None` if the file has to be read again anyway.
    stamp: Option<Stamp>,
    refresh: Vec<Short>,
    /// The tokens that have left the record, the oldest first.
    past: Vec<Short>,
    access: Option<Short>,
    /// The marks of the provider's session and user.
    upstream: Vec<Short>,
}

/// The first 8 of the 16 bytes of a digest: enough to find a file.
type Short = u64;

fn short(digest: &Digest) -> Short {
    let mut start = [0; 8];
    start.copy_from_slice(&digest.as_bytes()[..8]);
    Short::from_be_bytes(start)
}

/// What a search looks for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Name {
    /// A refresh token, current or past.
    Refresh(Digest),
    /// A current access token.
    Access(Digest),
    /// A mark of the provider's session or user.
    Upstream(Digest),
}

impl Name {
    fn may_be_in(self, known: &Known) -> bool {
        match self {
            Self::Refresh(digest) => {
                let short = short(&digest);
                known.refresh.contains(&short) || known.past.contains(&short)
            }
            Self::Access(digest) => known.access == Some(short(&digest)),
            Self::Upstream(mark) => known.upstream.contains(&short(&mark)),
        }
    }

    /// Whether the session whose record was found at `path` has the token.
    fn is_of(self, found: &Found, path: &Path, group: GroupAccess) -> bool {
        found.belongs_at(path)
            && match self {
                Self::Refresh(digest) => {
                    found.content.knows(&digest) || past(path, group).contains(&digest)
                }
                Self::Access(digest) => found.content.access_digest() == Some(digest),
                Self::Upstream(mark) => found.content.record.upstream().any(|its| *its == mark),
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
    // "Not found" needs a reading of the directory: the index may be out of date.
    search_after(begun, store, name).await
}

/// Searches every file, after a reading of the directory that begins now.
pub(super) async fn search_all(store: &FileStore, name: Name) -> Result<Vec<Key>, StoreError> {
    let begun = store.index.begun.load(Ordering::SeqCst);
    let order = store.index.order.clone().lock_owned().await;
    let store = store.clone();
    blocking(move || {
        let _order = order;
        access::check_directory(&store.directory, store.group)?;
        let index = &store.index;
        index.refresh_after(begun, &store);
        let Files { known, unread, .. } = index.files.lock().clone();
        // A file that cannot be read may be one of them.
        unread.map_or(Ok(()), Err)?;
        let mut keys = Vec::new();
        for known in known.values().filter(|known| name.may_be_in(known)) {
            let path = &known.path;
            index.reads.fetch_add(1, Ordering::Relaxed);
            let found = Found::read(path, store.group)?;
            let its = found.filter(|found| name.is_of(found, path, store.group));
            keys.extend(its.map(|found| found.content.record.key));
        }
        Ok(keys)
    })
    .await
}

/// Searches by a reading of the directory with a higher number than `begun`.
pub(super) async fn search_after(
    begun: u64,
    store: &FileStore,
    name: Name,
) -> Result<Option<Key>, StoreError> {
    let order = store.index.order.clone().lock_owned().await;
    let store = store.clone();
    blocking(move || {
        // Locked until the reading ends, even if the search is dropped before.
        let _order = order;
        let index = &store.index;
        index.refresh_after(begun, &store);
        let unread = index.files.lock().unread.clone();
        match (index.look_up(&store, name), unread) {
            // A file that cannot be read is an error only if the others do not have the token: "not found" would be a
            // guess then.
            (None, Some(error)) => Err(error),
            (key, _) => Ok(key),
        }
    })
    .await
}

impl Index {
    fn look_up(&self, store: &FileStore, name: Name) -> Option<Key> {
        let known = self.files.lock().known.clone();
        let mut candidates = known.values().filter(|known| name.may_be_in(known));
        candidates.find_map(|known| {
            let path = &known.path;
            self.reads.fetch_add(1, Ordering::Relaxed);
            let found = Found::read(path, store.group).ok()??;
            let is_it = name.is_of(&found, path, store.group);
            is_it.then_some(found.content.record.key)
        })
    }

    /// Reads the files that have changed, unless a reading with a higher number than `begun` was finished: that one began after
    /// the search. The caller has locked `order`.
    fn refresh_after(&self, begun: u64, store: &FileStore) {
        if self.files.lock().reading <= begun {
            self.refresh(store);
        }
    }

    /// Reads the files that have changed. The caller has locked `order`.
    fn refresh(&self, store: &FileStore) {
        let reading = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
        let before = self.files.lock().known.clone();
        let (mut known, mut unread) = (HashMap::with_capacity(before.len()), None);
        let mut read = || -> io::Result<()> {
            for entry in fs::read_dir(&store.directory)? {
                let path = entry?.path();
                let Some(session) = record_of(&path) else {
                    continue;
                };
                match Known::read(store, &path, before.get(&session)) {
                    Ok(found) => known.extend(found.map(|found| (session, found))),
                    Err(error) => unread = Some(error),
                }
            }
            Ok(())
        };
        if let Err(error) = read() {
            unread = Some(failed("list the directory", &store.directory)(error));
        }
        *self.files.lock() = Files {
            known: Arc::new(known),
            unread,
            reading,
        };
    }

    /// Notes a record that this store has just written, so that it is found without a reading of the directory. A reading
    /// that is under way replaces the note, and may have read the old file: then the stamp differs at the next reading.
    pub(super) fn note(&self, record: &Record, left: &[Digest]) {
        let mut files = self.files.lock();
        let session = record.key.digest();
        if files.known.contains_key(&session)
            && let Some(known) = Arc::make_mut(&mut files.known).get_mut(&session)
        {
            let known = Arc::make_mut(known);
            known.stamp = None;
            known.refresh = digests(record).map(|digest| short(&digest)).collect();
            known.past.extend(left.iter().map(short));
            let surplus = known.past.len().saturating_sub(PAST_LIMIT);
            known.past.drain(..surplus);
            known.access = record.access_digest().as_ref().map(short);
            known.upstream = record.upstream().map(short).collect();
        }
    }
}

impl Known {
    /// Reads the file, unless it is as it was `before`. `None` if there is no file.
    fn read(
        store: &FileStore,
        path: &Path,
        before: Option<&Arc<Self>>,
    ) -> Result<Option<Arc<Self>>, StoreError> {
        if let Some(before) = before.filter(|before| before.stamp.is_some())
            && before.stamp == Stamp::of(path)
        {
            return Ok(Some(before.clone()));
        }
        let now = store.clock.wall();
        store.index.reads.fetch_add(1, Ordering::Relaxed);
        let Some(found) = Found::read(path, store.group)? else {
            return Ok(None);
        };
        let mut known = Self {
            path: path.to_owned(),
            stamp: found.stamp.is_settled(now).then_some(found.stamp),
            ..Self::default()
        };
        // A copy under another name does not belong to a session.
        if found.belongs_at(path) {
            let outline = &found.content;
            let digests = digests(&outline.record).chain([outline.digest()]);
            known.refresh = digests.map(|digest| short(&digest)).collect();
            known.past = past(path, store.group).iter().map(short).collect();
            known.access = outline.access_digest().as_ref().map(short);
            known.upstream = outline.record.upstream().map(short).collect();
        }
        Ok(Some(Arc::new(known)))
    }
}

/// The tokens that the record [knows](Record::knows).
fn digests(record: &Record) -> impl Iterator<Item = Digest> {
    let condemned = record.state.condemned();
    let current = std::iter::once(record.digest());
    current.chain(condemned).chain(record.retired().copied())
}

/// The path of the past tokens of the record at `record`.
pub(super) fn past_path(record: &Path) -> PathBuf {
    record.with_extension(&PAST_ENDING[1..])
}

/// The tokens that have left the record at `record`, the oldest first.
fn past(record: &Path, group: GroupAccess) -> Vec<Digest> {
    let file = PastFile::open(record, group, OpenOptions::new().read(true));
    let mut names = file.map_or_else(Vec::new, |file| file.names);
    names.drain(..names.len().saturating_sub(PAST_LIMIT));
    names
}

/// Adds the tokens that have just left the record at `record`. The caller has the lock of the record.
pub(super) fn remember(record: &Path, left: &[Digest], group: GroupAccess) -> io::Result<()> {
    let session = record_of(record).ok_or(ErrorKind::InvalidFilename)?;
    let past = PastFile::open(record, group, OpenOptions::new().read(true).append(true));
    let mut names = match past {
        Some(mut past) if past.is_whole && past.names.len() + left.len() <= LONGEST_PAST => {
            return past.file.write_all(&bytes(left));
        }
        past => past.map_or_else(Vec::new, |past| past.names),
    };
    names.extend_from_slice(left);
    names.drain(..names.len().saturating_sub(PAST_LIMIT));
    // A new file, because a search reads without the lock.
    let path = past_path(record);
    let mut file = temporary(&path)?;
    names.insert(0, session);
    file.write_all(&bytes(&names))?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// A file with the past tokens of a session.
struct PastFile {
    file: File,
    names: Vec<Digest>,
    /// Whether the last digest is whole. After a power cut during a write it is not.
    is_whole: bool,
}

impl PastFile {
    /// `None` if the file is missing or must not be used, does not belong to the session of `record`, or is longer than
    /// any that is written here.
    fn open(record: &Path, group: GroupAccess, options: &OpenOptions) -> Option<Self> {
        let path = past_path(record);
        // A link leads to another file, and opening a pipe would block.
        if !fs::symlink_metadata(&path).ok()?.is_file() {
            return None;
        }
        let mut file = options.open(&path).ok()?;
        let metadata = file.metadata().ok()?;
        access::check(&path, &metadata, group).ok()?;
        let most = (LONGEST_PAST + 1) * Digest::LENGTH;
        let length = usize::try_from(metadata.len()).ok()?;
        let mut bytes = vec![0; Some(length).filter(|length| *length <= most)?];
        file.read_exact(&mut bytes).ok()?;
        let (names, rest) = bytes.as_chunks();
        let mut names = names.iter().copied().map(Digest::from_bytes);
        if names.next() != record_of(record) {
            return None;
        }
        Some(Self {
            file,
            names: names.collect(),
            is_whole: rest.is_empty(),
        })
    }
}

fn bytes(names: &[Digest]) -> Vec<u8> {
    let bytes = names.iter().flat_map(Digest::as_bytes);
    bytes.copied().collect()
}
