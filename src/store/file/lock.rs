//! The lock of a record, which the process that replaces the record holds, and the queue of this process for it.
//!
//! The lock is on a file beside the record: each write replaces the record's own file, and a lock on that file with it.
//! A lock on a file that lost its name protects nothing: the next process creates another file and locks that. So a
//! lock counts only if the locked file still has the name.
//!
//! A free lock goes to the process that tries at that moment, and thousands of callers that try cost thousands of
//! threads. So of each process one caller tries, and the others queue: in order, and without a thread.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Mutex as Order, OwnedMutexGuard};

use super::content::file_id;
use super::{failed, if_there, shared};
use crate::clock::{Clock, SystemClock, Timestamp};
use crate::store::Share;
use crate::store::StoreError;

/// How often a lock file is opened anew because it was removed. Each removal has to fall between opening and locking, so
/// two in a row mean a program that does nothing else.
const OPENINGS: u32 = 16;

/// The lock of one record. It is released when this value is dropped, and by the system when the process ends, however
/// it ends.
///
/// The lock is only tried: a call that blocks until the lock is free could not be given up.
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
        let file = options.open(&path).map_err(failed("open", &path))?;
        Ok(Self { file, path })
    }

    /// Whether this process has the lock now. `false` if another process has it.
    pub(super) fn try_take(&mut self) -> Result<bool, StoreError> {
        for _ in 0..OPENINGS {
            match self.file.try_lock() {
                Ok(()) if self.has_name()? => return Ok(true),
                Ok(()) => *self = Self::open(self.path.clone())?,
                Err(TryLockError::WouldBlock) => return Ok(false),
                Err(TryLockError::Error(error)) => return Err(failed("lock", &self.path)(error)),
            }
        }
        Err(StoreError::new(format!(
            "cannot lock {}, because another program removes it again and again; exclude the directory from that \
             program's work",
            self.path.display()
        )))
    }

    /// Whether the locked file still has the name under which other processes lock it.
    pub(super) fn has_name(&self) -> Result<bool, StoreError> {
        let is_same = if_there(is_same(&self.file, &self.path));
        let is_same = is_same.map_err(failed("inspect", &self.path))?;
        Ok(is_same.unwrap_or(false))
    }
}

pub(super) fn path(record: &Path) -> PathBuf {
    record.with_extension("lock")
}

/// Whether `path` is the name of this file. On systems where files have no number, an open file keeps its name.
pub(super) fn is_same(file: &File, path: &Path) -> io::Result<bool> {
    Ok(file_id(&file.metadata()?) == file_id(&fs::symlink_metadata(path)?))
}

/// The pauses between attempts double from the first to the longest. On a fast disk a write takes about as long as the
/// first pause. Many more than 200 attempts a second would cost noticeable time; with many fewer, a process that writes
/// all the time would rarely be met between two writes.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(5);

/// The time that a pause counts at most: after the machine slept, the time of the sleep does not count as waiting.
const LONGEST_COUNTED: Duration = Duration::from_millis(50);

/// One queue for each lock, however many stores were opened.
static QUEUES: Mutex<BTreeMap<PathBuf, Weak<Queue>>> = Mutex::new(BTreeMap::new());

#[derive(Debug, Default)]
struct Queue {
    order: Arc<Order<()>>,
    /// How long this process has waited for the lock since the queue was made, in microseconds.
    waited: AtomicU64,
    /// The value of `waited` when this process last had the lock.
    waited_at_lock: AtomicU64,
}

/// The head of the queue: the right to try the lock. The next caller gets it when this value is dropped.
#[derive(Debug)]
pub(super) struct LockQueue<C = SystemClock> {
    queue: Arc<Queue>,
    _order: OwnedMutexGuard<()>,
    clock: C,
    /// The start of the call. Since then, the call was prepared, and the callers before it had their turn.
    began: Timestamp,
    /// The value of the queue's `waited` when this caller began to queue.
    arrived: u64,
    /// The time up to which the waiting is counted.
    counted: Timestamp,
    share: Share,
    pause: Duration,
}

impl<C: Clock> LockQueue<C> {
    /// Queues, for a call that began at `began` by this clock.
    pub(super) async fn wait(lock: &Path, clock: C, began: Timestamp) -> Self {
        let queue = shared(&QUEUES, lock.to_owned(), Queue::default);
        let arrived = queue.waited.load(Ordering::Relaxed);
        Self {
            _order: queue.order.clone().lock_owned().await,
            queue,
            counted: clock.now(),
            clock,
            began,
            arrived,
            share: Share::current(),
            pause: FIRST_PAUSE,
        }
    }

    /// Notes that this process has the lock. The waiting before that does not count for the callers behind this one.
    pub(super) fn has_lock(&self) {
        let waited = self.queue.waited.load(Ordering::Relaxed);
        self.queue.waited_at_lock.store(waited, Ordering::Relaxed);
    }

    /// Waits until the next attempt.
    ///
    /// It is an error if the call's time is over and another process has had the lock for a good part of it. The callers
    /// behind, whose waiting is counted by the same queue, do not wait as long again.
    pub(super) async fn pause(&mut self, lock: &Path) -> Result<(), StoreError> {
        // Where threads are scarce, an attempt takes as long as a pause.
        self.count();
        if self.is_over() {
            return Err(StoreError::new(format!(
                "{} could not be locked within {} s, because another process has locked it; check whether that \
                 process is stopped",
                lock.display(),
                self.share.work.as_secs_f64()
            )));
        }
        tokio::time::sleep(self.pause).await;
        self.count();
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        Ok(())
    }

    /// Adds the time since the last count to the process's waiting.
    fn count(&mut self) {
        let now = self.clock.now();
        let took = now.since(self.counted).min(LONGEST_COUNTED);
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.queue.waited.fetch_add(took, Ordering::Relaxed);
        self.counted = now;
    }

    /// Whether the call gives up. A process that has had the lock for less than half of the reserve may be writing, even on
    /// a busy disk. The other half is for the error's way to the caller.
    fn is_over(&self) -> bool {
        let waited = self.queue.waited.load(Ordering::Relaxed);
        let at_lock = self.queue.waited_at_lock.load(Ordering::Relaxed);
        let held = Duration::from_micros(waited.saturating_sub(at_lock.max(self.arrived)));
        let took = self.counted.since(self.began);
        took >= self.share.work && held >= self.share.reserve / 2
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicI64;

    use super::*;
    use crate::clock::Coarse;
    use crate::store::with_budget;

    /// A clock that stands still unless a test moves it. Sleeps do not move it.
    #[derive(Debug, Clone, Default)]
    struct Still(Arc<AtomicI64>);

    impl Still {
        fn move_on(&self, span: Duration) {
            let nanos = i64::try_from(span.as_nanos()).unwrap();
            self.0.fetch_add(nanos, Ordering::Relaxed);
        }
    }

    impl Clock for Still {
        fn now(&self) -> Timestamp {
            Timestamp::from_nanos(self.0.load(Ordering::Relaxed))
        }

        fn wall(&self) -> Duration {
            Duration::ZERO
        }

        fn coarse(&self) -> Coarse {
            Coarse::PAST
        }
    }

    /// How long a call of 2 s has taken when it gives up. The first of `spans` passes before the call's turn, the others
    /// with the attempts, each of which takes 40 ms.
    async fn given_up_after(name: &str, spans: &[Duration]) -> Option<Duration> {
        let (lock, clock) = (PathBuf::from(name), Still::default());
        let began = clock.now();
        with_budget(Duration::from_secs(2), async {
            let (first, later) = spans.split_first().unwrap();
            clock.move_on(*first);
            let mut turn = LockQueue::wait(&lock, clock.clone(), began).await;
            for attempt in 0..1_000 {
                let slept = later.get(attempt).copied().unwrap_or_default();
                clock.move_on(Duration::from_millis(40) + slept);
                if turn.pause(&lock).await.is_err() {
                    return Some(clock.now().since(began));
                }
            }
            None
        })
        .await
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_of_the_attempts_counts_as_the_pauses_do() {
        let given_up = given_up_after("attempts", &[Duration::ZERO]).await;
        assert_eq!(given_up, Some(Duration::from_millis(1_600)));
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_before_a_calls_turn_is_not_waited_once_more() {
        let given_up = given_up_after("late", &[Duration::from_millis(1_000)]).await;
        assert_eq!(given_up, Some(Duration::from_millis(1_600)));
        // Without time left, a process that writes gets five attempts to finish.
        let given_up = given_up_after("too late", &[Duration::from_millis(1_600)]).await;
        assert_eq!(given_up, Some(Duration::from_millis(1_600 + 5 * 40)));
    }

    #[tokio::test(start_paused = true)]
    async fn the_sleep_of_the_machine_does_not_count_as_waiting_for_the_lock() {
        let night = Duration::from_secs(8 * 3_600);
        let given_up = given_up_after("night", &[Duration::ZERO, night]).await;
        // 50 ms of the night count, and four attempts of 40 ms follow it.
        assert_eq!(given_up, Some(night + Duration::from_millis(5 * 40)));
    }

    #[cfg(unix)]
    #[test]
    fn a_lock_on_a_file_that_was_removed_does_not_count() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.lock");
        let mut waiting = Lock::open(path.clone()).unwrap();
        std::fs::remove_file(&path).unwrap();
        let mut other = Lock::open(path.clone()).unwrap();
        assert!(other.try_take().unwrap());
        assert!(!waiting.try_take().unwrap(), "both have the lock");
        assert!(other.has_name().unwrap());
        drop(other);
        assert!(waiting.try_take().unwrap());
        std::fs::remove_file(&path).unwrap();
        assert!(!waiting.has_name().unwrap());
    }
}
