//! When a new pair is stored: before callers get it, or after.

use std::fmt;
use std::sync::{Arc, LazyLock};

use serde::Deserialize;
use serde::de::Deserializer;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The default number of pairs that may wait to be stored.
const QUEUE: u32 = 1_024;

/// The default number of retries at short intervals for storing a pair.
const RETRIES: u32 = 5;

/// Whether callers wait until a new pair is stored.
///
/// *Write-through*, the default, stores a pair before a caller gets it. If the process dies, every pair that was used
/// is in the store.
///
/// *Write-behind* gives callers the pair at once and stores the pair in the background, so that callers do not wait for
/// the store. In return, a process that dies in between loses the pair, and on a strict server the session too. Use
/// write-behind only where the store is slow, rotations are frequent, and a new sign-in is possible. It needs
/// [`Coordination::None`](crate::Coordination::None): with leases it gains nothing, because a lease is stored before
/// each rotation in any case, and building a manager fails. `benches/stores.rs` measures both.
///
/// Clones share workers and queue: give clones of one value to all managers of a process that share a store.
///
/// ```
/// use evertoken::Persistence;
///
/// let persistence = Persistence::write_behind(4).queue(256).retries(8);
/// assert!(!persistence.is_write_through());
/// assert!(Persistence::write_behind(0).is_write_through());
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Persistence {
    workers: Permits,
    queue: Permits,
    retries: u32,
}

/// Reads `[refresh.persistence]` of a configuration.
impl<'de> Deserialize<'de> for Persistence {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(default, deny_unknown_fields)]
        struct Keys {
            workers: u32,
            queue: u32,
            retries: u32,
        }

        impl Default for Keys {
            fn default() -> Self {
                Self {
                    workers: 0,
                    queue: QUEUE,
                    retries: RETRIES,
                }
            }
        }

        let keys = Keys::deserialize(deserializer)?;
        let many = |number| usize::try_from(number).unwrap_or(usize::MAX);
        let persistence = Self::write_behind(many(keys.workers));
        Ok(persistence.queue(many(keys.queue)).retries(keys.retries))
    }
}

impl Persistence {
    /// A pair is stored before a caller gets it.
    #[must_use]
    pub fn write_through() -> Self {
        // One value for all managers, because write-through uses neither workers nor queue.
        static WITHOUT_WORKERS: LazyLock<Persistence> =
            LazyLock::new(|| Persistence::write_behind(0));
        WITHOUT_WORKERS.clone()
    }

    /// Callers get a pair at once, and one of the `workers` stores it. Each worker stores one pair at a time. With 0
    /// workers, this is write-through.
    #[must_use]
    pub fn write_behind(workers: usize) -> Self {
        Self {
            workers: Permits::new(workers),
            queue: Permits::new(QUEUE as usize),
            retries: RETRIES,
        }
    }

    /// Sets how many sessions may have a pair that waits to be stored. If the queue is full, a rotation waits until its
    /// pair is stored, like write-through. Default: 1,024; at least 1.
    #[must_use]
    pub fn queue(mut self, pairs: usize) -> Self {
        self.queue = Permits::new(pairs);
        self
    }

    /// Sets how often storing a pair is retried with pauses that double from 50 ms. After that, the manager retries
    /// every 5 s until the pair is stored or the manager is dropped. Default: 5.
    #[must_use]
    pub fn retries(mut self, times: u32) -> Self {
        self.retries = times;
        self
    }

    /// Whether a pair is stored before a caller gets it.
    #[must_use]
    pub fn is_write_through(&self) -> bool {
        self.workers.count == 0
    }

    pub(crate) fn has_queue(&self) -> bool {
        self.queue.count > 0
    }

    /// Takes a place in the queue. Returns `None` with write-through, and if the queue is full.
    pub(crate) fn permit(&self) -> Option<OwnedSemaphorePermit> {
        if self.is_write_through() {
            return None;
        }
        Arc::clone(&self.queue.semaphore).try_acquire_owned().ok()
    }

    /// Waits for a worker, in the order of the calls. The result is always `Some`, because the semaphore is never
    /// closed.
    pub(crate) async fn worker(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.workers.semaphore)
            .acquire_owned()
            .await
            .ok()
    }

    /// Whether the next attempt after this many failures is one at a short interval.
    pub(crate) fn retries_soon(&self, failures: u32) -> bool {
        failures <= self.retries
    }
}

/// Write-through.
impl Default for Persistence {
    fn default() -> Self {
        Self::write_through()
    }
}

/// A number of workers, or of places in the queue. Clones share them, and only clones are equal.
#[derive(Clone)]
struct Permits {
    semaphore: Arc<Semaphore>,
    count: usize,
}

impl Permits {
    fn new(count: usize) -> Self {
        let semaphore = Arc::new(Semaphore::new(count.min(Semaphore::MAX_PERMITS)));
        Self { semaphore, count }
    }
}

impl PartialEq for Permits {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.semaphore, &other.semaphore)
    }
}

impl fmt::Debug for Permits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.count.fmt(f)
    }
}
