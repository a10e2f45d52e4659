//! Who may replace a record. The lock is on a file beside it: the record's own is replaced with every
//! write, and with it whatever locks it.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

use super::failed;
use crate::store::StoreError;

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
    pub(super) fn try_take(&self) -> Result<bool, StoreError> {
        match self.file.try_lock() {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => Err(failed("lock", &self.path, error)),
        }
    }
}

pub(super) fn path(record: &Path) -> PathBuf {
    record.with_extension("lock")
}
