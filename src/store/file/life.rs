//! Proof that the holder of a claim is alive, or that it is not: a file beside the record, which the holder's
//! process keeps locked until the claim is out of the record. Whoever can lock it knows that the process
//! has ended; only its end frees the lock while the file has its name.
//!
//! It must never be wrong about a death, and may always know nothing. So a file
//!
//! - is locked before it gets its name, which is before its claim is written;
//! - is kept by the process and not by a store, which might be opened anew for every call;
//! - loses its name before its lock, and is compared with what has the name after it was locked;
//! - says which file on which machine it is, so that a copy proves nothing.
//!
//! Files get and lose their names under the lock of the record.

use std::collections::BTreeMap;
use std::fs::{self, File, Metadata, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use parking_lot::Mutex;

use super::content::session_of;
use super::{access, replace};
use crate::record::Owner;

pub(super) const ENDING: &str = ".alive";

/// In bytes; more than a mark has.
const LIMIT: u64 = 256;

/// The files of claims that this process made. Nothing in here is ever unlocked but by closing it: a process
/// that was forked may share it.
static OURS: Mutex<BTreeMap<PathBuf, File>> = Mutex::new(BTreeMap::new());

/// What is known of the holder of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Life {
    Alive,
    Over,
    Unknown,
}

impl Life {
    pub(super) fn of(record: &Path, owner: Owner) -> Self {
        Self::at(&path(record, owner))
    }

    pub(super) fn at(path: &Path) -> Self {
        Self::look(path).unwrap_or(Self::Unknown)
    }

    fn look(path: &Path) -> io::Result<Self> {
        // Neither a link nor a pipe, which would be waited for.
        if !fs::symlink_metadata(path)?.is_file() {
            return Ok(Self::Unknown);
        }
        let mut file = File::open(path)?;
        // Shared: of two who look, neither is to take the other for the holder.
        match file.try_lock_shared() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(Self::Alive),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        let metadata = file.metadata()?;
        if access::check(path, &metadata).is_err() || metadata.len() > LIMIT {
            return Ok(Self::Unknown);
        }
        let mut found = String::new();
        file.read_to_string(&mut found)?;
        let is_original = mark(&metadata).is_some_and(|mark| mark == found);
        // It may have lost its name, and then its lock, since it was opened.
        let is_still_there = mark(&fs::symlink_metadata(path)?) == mark(&metadata);
        Ok(if is_original && is_still_there {
            Self::Over
        } else {
            Self::Unknown
        })
    }
}

/// Before a claim of this process is written. Without the file nothing can be proven, and that is no reason
/// to write no claim.
pub(super) fn begin(record: &Path, owner: Owner) {
    let path = path(record, owner);
    match create(record, &path) {
        Ok(Some(file)) => {
            // What it replaces has no name any more, so it may lose its lock.
            OURS.lock().insert(path, file);
        }
        Ok(None) => {}
        Err(error) => tracing::debug!(path = %path.display(), %error, "no proof of life"),
    }
}

fn create(record: &Path, path: &Path) -> io::Result<Option<File>> {
    let mut file = replace::temporary(record)?;
    let Some(mark) = mark(&file.as_file().metadata()?) else {
        return Ok(None);
    };
    file.write_all(mark.as_bytes())?;
    file.as_file().try_lock()?;
    Ok(Some(file.persist(path).map_err(|error| error.error)?))
}

/// The claim in the record is this one's, or nobody's; before, it may have been `before`'s. What proves
/// the lives of others is not needed any more.
pub(super) fn settle(record: &Path, standing: Option<Owner>, before: Option<Owner>) {
    let standing = standing.map(|owner| path(record, owner));
    let is_over = |path: &PathBuf| Some(path) != standing.as_ref();
    let mut ours = OURS.lock();
    let of_this_record: Vec<PathBuf> = ours
        .range(record.with_extension("")..)
        .map(|(path, _)| path.clone())
        .take_while(|path| is_of(path, record))
        .filter(is_over)
        .collect();
    for path in of_this_record {
        // Where it cannot be removed, it stays locked.
        if is_gone(fs::remove_file(&path)) {
            ours.remove(&path);
        }
    }
    drop(ours);
    // Left by somebody whose claim was taken over; one who lives removes his own.
    if let Some(path) = before.map(|owner| path(record, owner)).filter(is_over)
        && Life::at(&path) != Life::Alive
    {
        let _ = fs::remove_file(path);
    }
}

fn is_gone(removed: io::Result<()>) -> bool {
    removed.map_or_else(|error| error.kind() == io::ErrorKind::NotFound, |()| true)
}

pub(super) fn path(record: &Path, owner: Owner) -> PathBuf {
    record.with_extension(format!("{owner}{ENDING}"))
}

fn is_of(path: &Path, record: &Path) -> bool {
    path.parent() == record.parent()
        && session_of(path, ENDING)
            .is_some_and(|session| Some(session) == session_of(record, ".json"))
}

/// What tells a file from its copies: which one it is, on which start of which machine. `None` where that
/// cannot be said; nothing is proven there.
#[cfg(unix)]
fn mark(metadata: &Metadata) -> Option<String> {
    use std::os::unix::fs::MetadataExt;
    use std::sync::OnceLock;

    /// Only Linux says. Elsewhere it is empty, and a copy on another machine that happens to be the
    /// same file on the same device is taken for this one.
    static BOOT: OnceLock<String> = OnceLock::new();
    let boot = BOOT.get_or_init(|| {
        let id = fs::read_to_string("/proc/sys/kernel/random/boot_id");
        id.unwrap_or_default().trim().to_owned()
    });
    Some(format!("{boot} {} {}\n", metadata.dev(), metadata.ino()))
}

#[cfg(not(unix))]
fn mark(_: &Metadata) -> Option<String> {
    None
}
