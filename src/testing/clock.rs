use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::clock::{Clock, Coarse, Timestamp};

/// 2023-11-14T22:13:20Z: a wall clock that no test mistakes for the real one.
const EPOCH: Duration = Duration::from_secs(1_700_000_000);

/// How often [`TestClock::advance`] lets the other tasks run at the end of its span. A task that a timer woke wakes the
/// next task, and so on. A test with a longer chain of tasks waits for its result instead.
const ROUNDS: usize = 32;

/// A clock that follows tokio's time, and can be suspended and stepped as well.
///
/// In a runtime that was started paused, tokio's time stands still while any task can run, and jumps to the next timer
/// when no task can. This clock reads tokio's time, so code that waits for a timer (a strategy's worker, a back-off) and
/// code that compares times (an expiry) agree. Paused time exists on a current-thread runtime only. On any other runtime
/// the clock follows real time, and must be read on the runtime on which it was made.
///
/// Clones are one clock. Two clocks made apart advance together, but are suspended and stepped apart: one for the client
/// and one for the server are two machines.
///
/// ```
/// use std::time::Duration;
/// use evertoken::clock::Clock;
/// use evertoken::testing::TestClock;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// let clock = TestClock::new();
/// let start = clock.now();
/// clock.advance(Duration::from_secs(3_600)).await;
/// clock.suspend(Duration::from_secs(60));
/// assert_eq!(clock.now().since(start), Duration::from_secs(3_660));
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct TestClock {
    start: Instant,
    shifts: Arc<Shifts>,
}

/// Nanoseconds on top of tokio's time.
#[derive(Debug, Default)]
struct Shifts {
    suspended: AtomicI64,
    stepped: AtomicI64,
}

impl TestClock {
    /// A clock whose [`wall`](Clock::wall) is 2023-11-14T22:13:20Z now.
    #[must_use]
    pub fn new() -> Self {
        Self {
            start: Instant::now(),
            shifts: Arc::default(),
        }
    }

    /// Lets `span` pass. Each timer within it, also at its very end, fires at its own time, and the timer's task runs before
    /// the next timer fires.
    ///
    /// This is a sleep, which paused time skips, so any other sleep advances the clock as well. `tokio::time::advance` jumps
    /// over the timers and fires all of them late. Timers are exact to the millisecond.
    pub async fn advance(&self, span: Duration) {
        tokio::time::sleep(span).await;
        for _ in 0..ROUNDS {
            tokio::task::yield_now().await;
        }
    }

    /// Suspends the machine for `span`: `now` and `wall` jump, but the monotonic clock and tokio's timers do not.
    pub fn suspend(&self, span: Duration) {
        let suspended = &self.shifts.suspended;
        suspended.fetch_add(nanos(span), Ordering::SeqCst);
    }

    /// Steps the wall clock, and only that, forwards.
    pub fn step_wall(&self, forward: Duration) {
        let stepped = &self.shifts.stepped;
        stepped.fetch_add(nanos(forward), Ordering::SeqCst);
    }

    /// Steps the wall clock, and only that, back. The wall clock stops at the Unix epoch.
    pub fn step_wall_back(&self, back: Duration) {
        self.shifts.stepped.fetch_sub(nanos(back), Ordering::SeqCst);
    }

    fn monotonic(&self) -> i64 {
        nanos(self.start.elapsed())
    }

    fn boot(&self) -> i64 {
        self.monotonic()
            .saturating_add(self.shifts.suspended.load(Ordering::SeqCst))
    }

    fn wall_nanos(&self) -> i64 {
        nanos(EPOCH)
            .saturating_add(self.boot())
            .saturating_add(self.shifts.stepped.load(Ordering::SeqCst))
            .max(0)
    }
}

impl Default for TestClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_nanos(self.boot())
    }

    fn wall(&self) -> Duration {
        Duration::from_nanos(self.wall_nanos().unsigned_abs())
    }

    fn coarse(&self) -> Coarse {
        Coarse {
            monotonic: self.monotonic(),
            wall: self.wall_nanos(),
        }
    }
}

/// At most a hundred years, so that the sum of several spans does not overflow.
fn nanos(span: Duration) -> i64 {
    const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);
    i64::try_from(span.min(CENTURY).as_nanos()).unwrap_or(i64::MAX)
}

/// Waits for the way of a request, whose answer is there after this latency: the first half of it.
pub(super) async fn there(latency: Duration) {
    pass(half(latency)).await;
}

/// Waits for the way of the answer: the second half of the latency.
pub(super) async fn back(latency: Duration) {
    pass(latency - half(latency)).await;
}

/// In whole milliseconds, the resolution of timers: two halves of an odd number of them take 1 ms too long.
fn half(latency: Duration) -> Duration {
    let millis = (latency / 2).as_millis();
    Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
}

/// Waits as long as this number of records takes.
pub(super) async fn work(time_per_record: Duration, records: u64) {
    let records = u32::try_from(records).unwrap_or(u32::MAX);
    pass(time_per_record.saturating_mul(records)).await;
}

/// Waits until the sender's value is as asked.
pub(super) async fn until<T>(sender: &watch::Sender<T>, is_reached: impl FnMut(&T) -> bool) {
    // The wait fails only without a sender, which the caller lends.
    let _ = sender.subscribe().wait_for(is_reached).await;
}

/// Waits for this span. A span of zero sets no timer.
pub(super) async fn pass(span: Duration) {
    if !span.is_zero() {
        tokio::time::sleep(span).await;
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn advance_fires_every_timer_within_the_span_at_its_own_time() {
        let clock = TestClock::new();
        let start = clock.now();
        let fired = Arc::new(Mutex::new(Vec::new()));
        for wait in [3, 1, 5, 2] {
            let (clock, fired) = (clock.clone(), fired.clone());
            tokio::spawn(async move {
                tokio::time::sleep(wait * SECOND).await;
                fired.lock().push(clock.now().since(start).as_secs());
            });
        }
        clock.advance(5 * SECOND).await;
        assert_eq!(*fired.lock(), [1, 2, 3, 5]);
        assert_eq!(clock.now().since(start), 5 * SECOND);
        assert_eq!(clock.wall(), EPOCH + 5 * SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn a_suspend_moves_every_clock_but_the_monotonic_one() {
        let clock = TestClock::new();
        let (now, coarse) = (clock.now(), clock.coarse());
        clock.suspend(SECOND);
        assert_eq!(clock.now().since(now), SECOND);
        assert_eq!(clock.wall(), EPOCH + SECOND);
        assert_eq!(clock.coarse().monotonic, coarse.monotonic);
        assert_eq!(clock.coarse().wall, (coarse + SECOND).wall);
    }

    #[tokio::test(start_paused = true)]
    async fn a_step_moves_the_wall_clock_alone() {
        let clock = TestClock::new();
        let now = clock.now();
        clock.step_wall(3 * SECOND);
        clock.step_wall_back(5 * SECOND);
        assert_eq!(clock.wall(), EPOCH - 2 * SECOND);
        assert_eq!(clock.now(), now);
        clock.step_wall_back(Duration::MAX);
        assert_eq!(clock.wall(), Duration::ZERO);
    }

    #[test]
    fn a_test_clock_needs_no_runtime() {
        let clock = TestClock::new();
        assert!(clock.wall() >= EPOCH);
        assert!(clock.now() <= clock.now());
    }
}
