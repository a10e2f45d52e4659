//! The one reader of time: everything else in the crate is told what time it is.
//!
//! Three clocks are needed, because each lies in its own way. The monotonic clock stands still while
//! a laptop sleeps, so a token would look fresh after a night. The wall clock is stepped, forwards
//! and backwards. `CLOCK_BOOTTIME` does neither, but costs more than the hot path should pay. So
//! the hot path asks two coarse clocks and is quiet only if both agree that nothing is due, and
//! everything else is measured by [`Clock::now`], which counts suspend.

pub(crate) mod span;
mod store_time;

use std::fmt::Debug;
use std::ops::Add;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::{Instant, timeout_at};

pub use self::store_time::StoreTime;
pub(crate) use self::store_time::whole_millis;

/// A moment of one process: nanoseconds from an arbitrary origin, counting suspend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// Makes the moment that is `nanos` nanoseconds after the origin.
    #[must_use]
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    pub(crate) const fn as_nanos(self) -> i64 {
        self.0
    }

    /// Returns the time from `earlier` to this moment; zero if `earlier` is not earlier.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// `span` before this moment; it may lie before the origin.
    #[must_use]
    pub fn before(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(nanos(span)))
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(nanos(span)))
    }
}

/// A cheap reading of two clocks, for the hot path; each in nanoseconds from an origin of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Coarse {
    /// Never goes back; need not count suspend.
    pub monotonic: i64,
    /// The wall clock; it counts suspend and may be stepped.
    pub wall: i64,
}

impl Coarse {
    /// Before every reading: with it as the limit, nothing is quiet.
    pub const PAST: Self = Self {
        monotonic: i64::MIN,
        wall: i64::MIN,
    };

    /// Whether both clocks say that `limit` has not been reached.
    #[must_use]
    #[inline]
    pub fn is_before(self, limit: Self) -> bool {
        self.monotonic < limit.monotonic && self.wall < limit.wall
    }
}

impl Add<Duration> for Coarse {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        Self {
            monotonic: self.monotonic.saturating_add(nanos(span)),
            wall: self.wall.saturating_add(nanos(span)),
        }
    }
}

/// Reads the time.
pub trait Clock: Debug + Send + Sync + 'static {
    /// Returns the time of a clock that never goes back and counts suspend where the system has one.
    fn now(&self) -> Timestamp;

    /// Returns the time of the wall clock, since the Unix epoch.
    fn wall(&self) -> Duration;

    /// Returns the time of both clocks as cheaply as possible; both parts may lag by some milliseconds.
    fn coarse(&self) -> Coarse;
}

impl<C: Clock + ?Sized> Clock for Arc<C> {
    fn now(&self) -> Timestamp {
        (**self).now()
    }

    fn wall(&self) -> Duration {
        (**self).wall()
    }

    fn coarse(&self) -> Coarse {
        (**self).coarse()
    }
}

/// The operating system's clocks.
///
/// `now` is `CLOCK_BOOTTIME` on Linux, `CLOCK_MONOTONIC` (which counts sleep there) on macOS, and the
/// standard library's monotonic clock elsewhere.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp(system::now())
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the one reader of the wall clock"
    )]
    fn wall(&self) -> Duration {
        // A wall clock before 1970 is wrong, but it must not end a program.
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or(Duration::ZERO)
    }

    #[inline]
    fn coarse(&self) -> Coarse {
        system::coarse()
    }
}

fn nanos(span: Duration) -> i64 {
    i64::try_from(span.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(unix)]
mod system {
    use rustix::time::{ClockId, clock_gettime};

    use super::Coarse;

    #[cfg(any(target_os = "linux", target_os = "android"))]
    const CLOCKS: [ClockId; 3] = [
        ClockId::Boottime,
        ClockId::MonotonicCoarse,
        ClockId::RealtimeCoarse,
    ];
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    const CLOCKS: [ClockId; 3] = [ClockId::Monotonic, ClockId::Monotonic, ClockId::Realtime];

    #[inline]
    fn read(clock: ClockId) -> i64 {
        let time = clock_gettime(clock);
        time.tv_sec
            .saturating_mul(1_000_000_000)
            .saturating_add(time.tv_nsec)
    }

    pub(super) fn now() -> i64 {
        read(CLOCKS[0])
    }

    #[inline]
    pub(super) fn coarse() -> Coarse {
        Coarse {
            monotonic: read(CLOCKS[1]),
            wall: read(CLOCKS[2]),
        }
    }
}

#[cfg(not(unix))]
mod system {
    use std::sync::LazyLock;
    use std::time::Instant;

    use super::{Clock, Coarse, SystemClock, nanos};

    #[expect(
        clippy::disallowed_methods,
        reason = "the one reader of the monotonic clock"
    )]
    pub(super) fn now() -> i64 {
        static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);
        nanos(ORIGIN.elapsed())
    }

    #[inline]
    pub(super) fn coarse() -> Coarse {
        Coarse {
            monotonic: now(),
            wall: nanos(SystemClock.wall()),
        }
    }
}

/// Pauses from a first to a longest one, each twice as long as the one before it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Backoff {
    next: Duration,
    longest: Duration,
}

impl Backoff {
    pub(crate) const fn new(first: Duration, longest: Duration) -> Self {
        Self {
            next: first,
            longest,
        }
    }

    /// The pause before the next attempt. The pause after that attempt is twice as long.
    pub(crate) fn next_pause(&mut self) -> Duration {
        let pause = self.next.min(self.longest);
        self.next = pause.saturating_mul(2);
        pause
    }

    /// The pause after the `failures`-th failure in a row, counted from 1.
    pub(crate) fn after(self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1);
        let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
        self.next.saturating_mul(factor).min(self.longest)
    }
}

/// A timer that fires so late was due while the process did not run. A busy machine may have timers that are as late: then the
/// wait is a little longer than asked for.
pub(crate) const LATE: Duration = Duration::from_millis(100);

/// How much longer the wait is then: an answer that arrived meanwhile is read in milliseconds.
const MOMENT: Duration = Duration::from_secs(1);

/// The deadline of one wait.
///
/// A process that was stopped and goes on finds its timers due, and the answer that it waits for as well. The timers come
/// first: without this type an answer that arrived in time would be given up unread, and with the answer of a token endpoint
/// the session.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline {
    /// `None` if the deadline is too far away to be expressed.
    until: Option<Instant>,
    is_renewed: bool,
}

impl Deadline {
    pub(crate) fn new(limit: Duration) -> Self {
        Self {
            until: Instant::now().checked_add(limit),
            is_renewed: false,
        }
    }

    /// Awaits `work` until the deadline; `None` when the deadline has passed.
    pub(crate) async fn wait_for<F: Future>(&self, work: F) -> Option<F::Output> {
        match self.until {
            Some(until) => timeout_at(until, work).await.ok(),
            None => Some(work.await),
        }
    }

    /// Moves the deadline by a moment, once, if the process noticed the deadline long after it had passed. Returns whether the
    /// deadline was moved.
    pub(crate) fn renew(&mut self) -> bool {
        let is_late = self.until.is_some_and(|until| until.elapsed() >= LATE);
        if self.is_renewed || !is_late {
            return false;
        }
        self.is_renewed = true;
        self.until = Some(Instant::now() + MOMENT);
        true
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;

    #[test]
    fn the_system_clock_goes_forward() {
        let (first, second) = (SystemClock.now(), SystemClock.now());
        assert!(first <= second);
        assert!(SystemClock.wall() > Duration::from_secs(1_700_000_000));
        assert!(Coarse::PAST.is_before(SystemClock.coarse()));
    }

    #[test]
    fn either_coarse_clock_alone_ends_the_quiet() {
        let limit = Coarse {
            monotonic: 10,
            wall: 10,
        };
        assert!(
            Coarse {
                monotonic: 9,
                wall: 9
            }
            .is_before(limit)
        );
        assert!(
            !Coarse {
                monotonic: 10,
                wall: 9
            }
            .is_before(limit)
        );
        assert!(
            !Coarse {
                monotonic: 9,
                wall: 10
            }
            .is_before(limit)
        );
    }

    #[test]
    fn spans_saturate_instead_of_panicking() {
        let now = Timestamp::from_nanos(5);
        assert_eq!(now.since(now + Duration::MAX), Duration::ZERO);
        assert_eq!((now + Duration::MAX).before(Duration::MAX), Timestamp(0));
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_stay_there() {
        let [first, longest] = [1, 6].map(Duration::from_secs);
        let mut backoff = Backoff::new(first, longest);
        let counted: Vec<_> = (1..=5).map(|failures| backoff.after(failures)).collect();
        let walked: Vec<_> = (1..=5).map(|_| backoff.next_pause()).collect();
        assert_eq!(counted, [1, 2, 4, 6, 6].map(Duration::from_secs));
        assert_eq!(walked, counted);
        assert_eq!(Backoff::new(first, longest).after(u32::MAX), longest);
        assert_eq!(Backoff::new(longest, first).next_pause(), first);
    }

    const LIMIT: Duration = Duration::from_millis(20);

    /// The answer of work that takes this long and then some turns of other tasks, as reading from a socket does, if the process
    /// is stopped for so long after it began.
    async fn outcome(work: Duration, stopped: Duration) -> Option<u32> {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        tokio::spawn(async move {
            tokio::time::sleep(work).await;
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            let _ = sender.send(7);
        });
        let mut receiver = pin!(receiver);
        let mut deadline = Deadline::new(LIMIT);
        tokio::task::yield_now().await;
        std::thread::sleep(stopped);
        loop {
            match deadline.wait_for(&mut receiver).await {
                Some(answer) => return answer.ok(),
                None if deadline.renew() => {}
                None => return None,
            }
        }
    }

    #[tokio::test]
    async fn an_answer_that_arrived_while_the_process_was_stopped_is_read() {
        assert_eq!(outcome(LIMIT / 2, 10 * LIMIT).await, Some(7));
    }

    #[tokio::test]
    async fn a_wait_ends_although_the_answer_does_not_come() {
        let started = Instant::now();
        assert_eq!(outcome(Duration::from_secs(60), 10 * LIMIT).await, None);
        assert!(started.elapsed() < 10 * MOMENT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_running_process_waits_until_its_deadline_and_not_longer() {
        let started = Instant::now();
        let mut deadline = Deadline::new(LIMIT);
        assert_eq!(deadline.wait_for(std::future::pending::<()>()).await, None);
        assert!(!deadline.renew());
        assert_eq!(started.elapsed(), LIMIT);
        let endless = Deadline::new(Duration::MAX);
        assert_eq!(endless.wait_for(std::future::ready(1)).await, Some(1));
    }
}
