//! Whose turn it is. A lock that is free goes to whoever looks at that moment, and thousands who look cost
//! thousands of threads. So of each process one looks for all, and the others queue: in order, and without
//! a thread.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Mutex as Order, OwnedMutexGuard};

use crate::clock::{Clock, SystemClock};
use crate::store::StoreError;
use crate::store::budget::Share;

/// Pauses between looks, doubling from the first to the last. A write takes about as long as the first
/// on a fast disk; with many more than 200 looks a second the waiting would be felt, and with many
/// fewer somebody who writes all the time would rarely be found between two writes.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(5);

/// What a pause counts for at most: a machine that slept meanwhile was no process that was stopped.
const COUNTED: Duration = Duration::from_millis(50);

/// One for each lock, whoever opened the store.
static QUEUES: Mutex<BTreeMap<PathBuf, Weak<Queue>>> = Mutex::new(BTreeMap::new());

#[derive(Debug, Default)]
struct Queue {
    order: Arc<Order<()>>,
    /// For how long this process has waited for the lock since there is this queue, in microseconds.
    waited: AtomicU64,
    /// The same, when it had the lock last.
    had: AtomicU64,
}

impl Queue {
    fn of(lock: &Path) -> Arc<Self> {
        let mut queues = QUEUES.lock();
        if let Some(queue) = queues.get(lock).and_then(Weak::upgrade) {
            return queue;
        }
        queues.retain(|_, queue| queue.strong_count() > 0);
        let queue = Arc::<Self>::default();
        queues.insert(lock.to_owned(), Arc::downgrade(&queue));
        queue
    }
}

/// The right to look. Whoever is next gets it when this is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    queue: Arc<Queue>,
    _order: OwnedMutexGuard<()>,
    /// What the process had waited when this one began to.
    arrived: u64,
    /// How long another process may have the lock. It reads and writes a small file, which takes milliseconds, or
    /// a second on a busy disk; a process that takes longer was stopped.
    limit: Duration,
    pause: Duration,
}

impl Turn {
    pub(super) async fn wait(lock: &Path) -> Self {
        let queue = Queue::of(lock);
        let arrived = queue.waited.load(Ordering::Relaxed);
        let order = queue.order.clone().lock_owned().await;
        Self {
            queue,
            _order: order,
            arrived,
            limit: Share::current().work,
            pause: FIRST_PAUSE,
        }
    }

    /// We have the lock, so nobody who has it now is in the way of those behind us.
    pub(super) fn has_lock(&self) {
        let waited = self.queue.waited.load(Ordering::Relaxed);
        self.queue.had.store(waited, Ordering::Relaxed);
    }

    /// Until the next look. It is an error if another process has had the lock for all the time that is due
    /// to it; those behind us, who have seen as much of it, need not wait as long again.
    pub(super) async fn pause(&mut self, lock: &Path) -> Result<(), StoreError> {
        let waited = self.queue.waited.load(Ordering::Relaxed);
        let since = self.arrived.max(self.queue.had.load(Ordering::Relaxed));
        if Duration::from_micros(waited.saturating_sub(since)) >= self.limit {
            return Err(StoreError::new(format!(
                "{} has been locked by another process for {} s; is it stopped?",
                lock.display(),
                self.limit.as_secs_f64()
            )));
        }
        let start = SystemClock.now();
        tokio::time::sleep(self.pause).await;
        let took = SystemClock.now().since(start).min(COUNTED);
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.queue.waited.fetch_add(took, Ordering::Relaxed);
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        Ok(())
    }
}
