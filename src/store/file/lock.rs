//! Who may replace a record. The lock is on a file beside it: the record's own is replaced with every
//! write, and with it whatever locks it.
//!
//! A lock on a file that lost its name protects nothing: the next caller creates another file and locks that. So a
//! lock counts only if the file that is locked is the one that has the name.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use super::failed;
use crate::store::StoreError;

/// How often a lock file is opened anew because it was removed. Each time a removal has to fall between opening and
/// locking, so two in a row are a program that does nothing else.
const OPENINGS: u32 = 16;

/// The lock of one record. It is released when this is dropped, and by the system when its process ends,
/// however it ends.
///
/// It is never waited for by the system: a call that blocks cannot be given up.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
    path: PathBuf,
}

impl Lock {
    pub(super) fn open(path: PathBuf) -> Result<Self, StoreError> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        match options.open(&path) {
            Ok(file) => Ok(Self { file, path }),
            Err(error) => Err(failed("open", &path, error)),
        }
    }

    /// Whether we have it now, because nobody else had it.
    pub(super) fn try_take(&mut self) -> Result<bool, StoreError> {
        for _ in 0..OPENINGS {
            match self.file.try_lock() {
                Ok(()) if self.has_name()? => return Ok(true),
                Ok(()) => *self = Self::open(self.path.clone())?,
                Err(TryLockError::WouldBlock) => return Ok(false),
                Err(TryLockError::Error(error)) => return Err(failed("lock", &self.path, error)),
            }
        }
        Err(StoreError::new(format!(
            "cannot lock {}, because another program removes it again and again; exclude the directory from \
             what tidies up there",
            self.path.display()
        )))
    }

    /// Whether the file that is locked still has the name under which others lock it.
    pub(super) fn has_name(&self) -> Result<bool, StoreError> {
        match is_same(&self.file, &self.path) {
            Ok(is_same) => Ok(is_same),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(failed("look at", &self.path, error)),
        }
    }
}

pub(super) fn path(record: &Path) -> PathBuf {
    record.with_extension("lock")
}

/// Whether `path` is the name of this file.
#[cfg(unix)]
pub(super) fn is_same(file: &File, path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;

    let (file, named) = (file.metadata()?, std::fs::symlink_metadata(path)?);
    Ok((file.dev(), file.ino()) == (named.dev(), named.ino()))
}

/// A file that is open keeps its name.
#[cfg(not(unix))]
pub(super) fn is_same(_: &File, _: &Path) -> io::Result<bool> {
    Ok(true)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_lock_on_a_file_that_was_removed_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.lock");
        let mut waiting = Lock::open(path.clone()).unwrap();
        std::fs::remove_file(&path).unwrap();
        let mut other = Lock::open(path.clone()).unwrap();
        assert!(other.try_take().unwrap());
        assert!(!waiting.try_take().unwrap(), "both have it");
        assert!(other.has_name().unwrap());
        drop(other);
        assert!(waiting.try_take().unwrap());
        std::fs::remove_file(&path).unwrap();
        assert!(!waiting.has_name().unwrap());
    }
}
