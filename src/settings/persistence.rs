use std::fmt;
use std::sync::{Arc, LazyLock};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Pairs that may wait to be stored, by default.
const QUEUE: usize = 1_024;

/// How often storing a pair is tried again at short intervals, by default.
const RETRIES: u32 = 5;

/// Whether callers wait until a new pair is stored.
///
/// *Write-through*, the default, stores a pair before anybody is given it. Whatever happens to the process,
/// a pair that was used is in the store.
///
/// *Write-behind* gives it out at once and stores it in the background. It takes the store's time off the
/// callers who wait for a rotation, and nothing else: the lease is stored first in any case, and stays until
/// the pair is. In return, a process that dies in between loses the pair, and on a strict server the session
/// with it. It is worth that only where the store is slow, rotations are frequent, and sessions can be begun
/// anew; `benches/stores.rs` measures both.
///
/// Clones share workers and queue: give one to all the managers of a process that share a store.
///
/// ```
/// use evertoken::Persistence;
///
/// let persistence = Persistence::write_behind(4).queue(256).retries(8);
/// assert!(!persistence.is_write_through());
/// assert!(Persistence::write_behind(0).is_write_through());
/// ```
#[derive(Clone)]
pub struct Persistence {
    workers: Arc<Semaphore>,
    queue: Arc<Semaphore>,
    /// As they were given, for whoever has to judge them.
    size: Size,
    retries: u32,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Size {
    workers: usize,
    queue: usize,
}

impl Persistence {
    /// A pair is stored before anybody is given it.
    #[must_use]
    pub fn write_through() -> Self {
        // Shared, as nothing queues for it.
        static WITHOUT_WORKERS: LazyLock<Persistence> =
            LazyLock::new(|| Persistence::write_behind(0));
        WITHOUT_WORKERS.clone()
    }

    /// A pair is given out at once, and stored by one of so many `workers`, each of which stores one pair at a
    /// time. Without any, this is write-through.
    #[must_use]
    pub fn write_behind(workers: usize) -> Self {
        let size = Size {
            workers,
            queue: QUEUE,
        };
        Self {
            workers: permits(size.workers),
            queue: permits(size.queue),
            size,
            retries: RETRIES,
        }
    }

    /// How many sessions may have a pair that waits to be stored. Where there is no room, a rotation waits for
    /// its pair to be stored, as write-through does. Default: 1,024; at least 1.
    #[must_use]
    pub fn queue(mut self, pairs: usize) -> Self {
        self.size.queue = pairs;
        self.queue = permits(pairs);
        self
    }

    /// How often storing a pair is tried again with pauses that double from 50 ms; after these it is tried every
    /// 5 s, until it is stored or its manager is gone. Default: 5.
    #[must_use]
    pub fn retries(mut self, times: u32) -> Self {
        self.retries = times;
        self
    }

    /// Whether a pair is stored before anybody is given it.
    #[must_use]
    pub fn is_write_through(&self) -> bool {
        self.size.workers == 0
    }

    pub(crate) fn has_no_queue(&self) -> bool {
        self.size.queue == 0
    }

    /// A place in the queue, if there is one and it is to be used.
    pub(crate) fn permit(&self) -> Option<OwnedSemaphorePermit> {
        if self.is_write_through() {
            return None;
        }
        Arc::clone(&self.queue).try_acquire_owned().ok()
    }

    /// Waits for a worker, in the order of asking.
    pub(crate) async fn worker(&self) -> Option<OwnedSemaphorePermit> {
        // They are never closed.
        Arc::clone(&self.workers).acquire_owned().await.ok()
    }

    /// Whether the next attempt after so many failures comes soon.
    pub(crate) fn retries_soon(&self, failures: u32) -> bool {
        failures <= self.retries
    }
}

/// Equal ones share their workers and their queue.
impl PartialEq for Persistence {
    fn eq(&self, other: &Self) -> bool {
        let is_shared =
            Arc::ptr_eq(&self.workers, &other.workers) && Arc::ptr_eq(&self.queue, &other.queue);
        is_shared && self.size == other.size && self.retries == other.retries
    }
}

impl fmt::Debug for Persistence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Persistence")
            .field("workers", &self.size.workers)
            .field("queue", &self.size.queue)
            .field("retries", &self.retries)
            .finish()
    }
}

/// Write-through.
impl Default for Persistence {
    fn default() -> Self {
        Self::write_through()
    }
}

fn permits(count: usize) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(count.min(Semaphore::MAX_PERMITS)))
}
