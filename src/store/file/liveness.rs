//! Proof that the holder of a lease is alive, or that it is not: a file beside the record, which the holder's
//! process keeps locked until the lease is out of the record. Who can lock it knows that the process
//! has ended; only its end frees the lock while the file has its name.
//!
//! It must never be wrong about a death, and may always know nothing. So a file
//!
//! - is locked before it gets its name, which is before its lease is written;
//! - is kept by the process and not by a store, which might be opened anew for every call;
//! - loses its name before its lock, and is compared with what has the name after it was locked;
//! - says which file on which machine it is, so that a copy proves nothing.
//!
//! All proofs of a process in one directory are names (hard links) of one file, because a process with a thousand
//! leases must not run out of descriptors.
//!
//! Files get and lose their names under the lock of the record.

mod names;

use std::fs::{self, File, Metadata, TryLockError};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

pub(super) use self::names::{begin, settle};
use super::access::{self, GroupAccess};
use super::content::session_of;
use crate::record::Owner;

pub(super) const ENDING: &str = ".alive";

/// In bytes; more than a mark has.
const LIMIT: u64 = 256;

/// What is known of the holder of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Liveness {
    Alive,
    Over,
    Unknown,
}

impl Liveness {
    pub(super) fn of(record: &Path, owner: Owner, group: GroupAccess) -> Self {
        Self::at(&path(record, owner), group)
    }

    pub(super) fn at(path: &Path, group: GroupAccess) -> Self {
        Self::look(path, group).unwrap_or(Self::Unknown)
    }

    fn look(path: &Path, group: GroupAccess) -> io::Result<Self> {
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
        if access::check(path, &metadata, group).is_err() || metadata.len() > LIMIT {
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

/// Which file it is, on which device.
pub(super) type FileId = (u64, u64);

/// The file that has this name.
#[cfg(unix)]
pub(super) fn file_id(path: &Path) -> Option<FileId> {
    use std::os::unix::fs::MetadataExt;

    let metadata = fs::symlink_metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

#[cfg(not(unix))]
pub(super) fn file_id(_: &Path) -> Option<FileId> {
    None
}
