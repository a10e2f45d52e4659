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

use crate::clock::{Clock, SystemClock, Timestamp};
use crate::store::StoreError;
use crate::store::call::Share;

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
pub(super) struct LockQueue<C = SystemClock> {
    queue: Arc<Queue>,
    _order: OwnedMutexGuard<()>,
    clock: C,
    /// When the call began. The file was prepared and others had their turn since.
    began: Timestamp,
    /// What the process had waited when this one began to.
    arrived: u64,
    /// Until when the waiting is counted.
    counted: Timestamp,
    share: Share,
    pause: Duration,
}

impl<C: Clock> LockQueue<C> {
    /// For a call that began at `began` by this clock.
    pub(super) async fn wait(lock: &Path, clock: C, began: Timestamp) -> Self {
        let queue = Queue::of(lock);
        let arrived = queue.waited.load(Ordering::Relaxed);
        let order = queue.order.clone().lock_owned().await;
        Self {
            queue,
            _order: order,
            counted: clock.now(),
            clock,
            began,
            arrived,
            share: Share::current(),
            pause: FIRST_PAUSE,
        }
    }

    /// We have the lock, so nobody who has it now is in the way of those behind us.
    pub(super) fn has_lock(&self) {
        let waited = self.queue.waited.load(Ordering::Relaxed);
        self.queue.had.store(waited, Ordering::Relaxed);
    }

    /// Until the next look. It is an error if the call's time is over and another process has had the lock for a good
    /// part of it; those behind us, who have seen as much of it, need not wait as long again.
    pub(super) async fn pause(&mut self, lock: &Path) -> Result<(), StoreError> {
        // Looking takes as long as the pauses where threads are scarce.
        self.count();
        if self.is_over() {
            return Err(StoreError::new(format!(
                "{} could not be locked within {} s, because another process has locked it; is it stopped?",
                lock.display(),
                self.share.work.as_secs_f64()
            )));
        }
        tokio::time::sleep(self.pause).await;
        self.count();
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        Ok(())
    }

    /// Adds the time since the last count to what the process has waited.
    fn count(&mut self) {
        let now = self.clock.now();
        let took = now.since(self.counted).min(COUNTED);
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.queue.waited.fetch_add(took, Ordering::Relaxed);
        self.counted = now;
    }

    /// A process that has had the lock for less than half of the reserve may be writing, also on a busy disk; the other
    /// half is for the error to get to the caller.
    fn is_over(&self) -> bool {
        let waited = self.queue.waited.load(Ordering::Relaxed);
        let since = self.arrived.max(self.queue.had.load(Ordering::Relaxed));
        let held = Duration::from_micros(waited.saturating_sub(since));
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

    /// Stands still unless it is moved. Sleeps take none of its time.
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

    /// What the call of 2 s has taken when it gives up: `before` it has its turn, and 40 ms for each look.
    async fn given_up_after(name: &str, before: &[Duration]) -> Option<Duration> {
        let (lock, clock) = (PathBuf::from(name), Still::default());
        let began = clock.now();
        with_budget(Duration::from_secs(2), async {
            let (first, later) = before.split_first().unwrap();
            clock.move_on(*first);
            let mut turn = LockQueue::wait(&lock, clock.clone(), began).await;
            for look in 0..1_000 {
                let slept = later.get(look).copied().unwrap_or_default();
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
    async fn the_time_that_looks_take_counts_as_the_pauses_do() {
        let given_up = given_up_after("looks", &[Duration::ZERO]).await;
        assert_eq!(given_up, Some(Duration::from_millis(1_600)));
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_call_took_before_its_turn_is_not_waited_once_more() {
        let given_up = given_up_after("late", &[Duration::from_millis(1_000)]).await;
        assert_eq!(given_up, Some(Duration::from_millis(1_600)));
        // With no time left, a process that writes is given five looks to finish.
        let given_up = given_up_after("too late", &[Duration::from_millis(1_600)]).await;
        assert_eq!(given_up, Some(Duration::from_millis(1_600 + 5 * 40)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_machine_that_slept_does_not_take_a_lock_for_held_meanwhile() {
        let night = Duration::from_secs(8 * 3_600);
        let given_up = given_up_after("night", &[Duration::ZERO, night]).await;
        // 50 ms of the night count, and four looks of 40 ms come after it.
        assert_eq!(given_up, Some(night + Duration::from_millis(5 * 40)));
    }
}
