//! Who may replace a record. The lock is on a file beside it: the record's own is replaced with every
//! write, and with it whatever locks it.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;
use std::sync::Weak;
use std::thread;
use std::time::Duration;

use super::failed;
use crate::store::StoreError;

/// How long another may hold the lock. He reads and writes a small file, which takes milliseconds, or a
/// second on a disk that is busy; whoever takes longer was stopped. A manager gives its store 5 s by default,
/// and is to learn from us what is in the way.
const LIMIT: Duration = Duration::from_secs(4);

/// Pauses between attempts, doubling from the first to the last. A write takes about as long as the first
/// on a fast disk; with many more than 200 attempts a second the waiting would be felt, and with many
/// fewer somebody who writes all the time would rarely be found between two writes.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(5);

/// Released when dropped, and by the system when its process ends, however it ends.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    /// Waits for the lock, as long as there is a caller who waits for us. It is never waited for by the
    /// system: a call that blocks cannot be given up.
    pub(super) fn take(path: &Path, caller: &Weak<()>) -> Result<Self, StoreError> {
        let file = open(path)?;
        let mut pause = FIRST_PAUSE;
        let mut waited = Duration::ZERO;
        loop {
            // Somebody who gave up is not to find his record written later, where that can be avoided.
            if caller.strong_count() == 0 {
                return Err(StoreError::new("nobody waits for this swap any more"));
            }
            if lock(&file, path)? {
                return Ok(Self { _file: file });
            }
            if waited >= LIMIT {
                return Err(StoreError::new(format!(
                    "{} has been locked by another process for {} s; is it stopped?",
                    path.display(),
                    LIMIT.as_secs()
                )));
            }
            thread::sleep(pause);
            waited += pause;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// `None` if somebody else has it.
    pub(super) fn try_take(path: &Path) -> Result<Option<Self>, StoreError> {
        let file = open(path)?;
        Ok(lock(&file, path)?.then_some(Self { _file: file }))
    }
}

fn open(path: &Path) -> Result<File, StoreError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
        .open(path)
        .map_err(|error| failed("open", path, error))
}

/// Whether nobody else has the lock.
fn lock(file: &File, path: &Path) -> Result<bool, StoreError> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(failed("lock", path, error)),
    }
}
