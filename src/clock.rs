//! The one reader of time: everything else in the crate is told what time it is.
//!
//! Three clocks are needed, because each lies in its own way. The monotonic clock stands still while
//! a laptop sleeps, so a token would look fresh after a night. The wall clock is stepped, forwards
//! and backwards. `CLOCK_BOOTTIME` does neither, but costs more than the hot path should pay. So
//! the hot path asks two coarse clocks and is quiet only if both agree that nothing is due, and
//! everything else is measured by [`Clock::now`], which counts suspend.

mod backoff;
mod deadline;
pub(crate) mod span;
mod store_time;

use std::fmt::Debug;
use std::ops::Add;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub(crate) use self::backoff::Backoff;
pub(crate) use self::deadline::{Deadline, LATE};
pub use self::store_time::StoreTime;
#[cfg(any(feature = "redis", feature = "postgres"))]
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

#[cfg(test)]
mod tests {
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
}
