//! The wrapper of a clock. A reading that a panic took is replaced by the last one, so that time stands still.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use parking_lot::Mutex;

use super::caught;
use crate::clock::{Clock, Coarse, SystemClock, Timestamp};

/// The readings of all clocks at one moment. They are taken before the state is locked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    pub(crate) now: Timestamp,
    pub(crate) wall: Duration,
    pub(crate) coarse: Coarse,
}

/// The wrapper of the system's clock, or of a user's clock.
#[derive(Debug)]
pub(crate) struct UserClock {
    /// `None` is the system's clock, which the hot path reads directly.
    code: Option<Arc<dyn Clock>>,
    /// The last readings, which stand in for a reading that a panic took.
    last: Mutex<Moment>,
}

impl UserClock {
    /// Wraps a user's clock, or returns the system's clock, which all managers share.
    pub(crate) fn of(code: Option<Arc<dyn Clock>>) -> Arc<Self> {
        static SYSTEM: LazyLock<Arc<UserClock>> = LazyLock::new(|| Arc::new(UserClock::new(None)));
        match code {
            Some(code) => Arc::new(Self::new(Some(code))),
            None => Arc::clone(&SYSTEM),
        }
    }

    fn new(code: Option<Arc<dyn Clock>>) -> Self {
        Self {
            code,
            last: Mutex::new(Moment {
                now: Timestamp::from_nanos(0),
                wall: Duration::ZERO,
                coarse: Coarse::PAST,
            }),
        }
    }

    /// Whether this is the system's clock, on which all sessions agree.
    pub(crate) fn is_system(&self) -> bool {
        self.code.is_none()
    }

    pub(crate) fn moment(&self) -> Moment {
        Moment {
            now: self.now(),
            wall: self.wall(),
            coarse: self.read(
                "Clock::coarse",
                |clock| clock.coarse(),
                |last| &mut last.coarse,
            ),
        }
    }

    /// Takes the first readings, which have no earlier ones to stand in for them. Returns the method's name if one
    /// panics.
    pub(crate) fn first_moment(&self) -> Result<Moment, &'static str> {
        if let Some(code) = &self.code {
            caught("Clock::now", || code.now()).ok_or("Clock::now")?;
            caught("Clock::wall", || code.wall()).ok_or("Clock::wall")?;
            caught("Clock::coarse", || code.coarse()).ok_or("Clock::coarse")?;
        }
        Ok(self.moment())
    }

    /// The last readings of a user's clock, for places where user code must not be called.
    pub(crate) fn last(&self) -> Moment {
        match &self.code {
            Some(_) => *self.last.lock(),
            None => self.moment(),
        }
    }

    fn read<T: Copy>(
        &self,
        name: &'static str,
        read: impl FnOnce(&dyn Clock) -> T,
        last: impl FnOnce(&mut Moment) -> &mut T,
    ) -> T {
        let Some(code) = &self.code else {
            return read(&SystemClock);
        };
        let reading = caught(name, || read(&**code));
        let mut kept = self.last.lock();
        let kept = last(&mut kept);
        if let Some(reading) = reading {
            *kept = reading;
        }
        *kept
    }
}

impl Clock for UserClock {
    fn now(&self) -> Timestamp {
        self.read("Clock::now", |clock| clock.now(), |last| &mut last.now)
    }

    fn wall(&self) -> Duration {
        self.read("Clock::wall", |clock| clock.wall(), |last| &mut last.wall)
    }

    #[inline]
    fn coarse(&self) -> Coarse {
        match &self.code {
            None => SystemClock.coarse(),
            // After a panic, the latest possible reading sends the caller down the slow path.
            Some(code) => caught("Clock::coarse", || code.coarse()).unwrap_or(Coarse {
                monotonic: i64::MAX,
                wall: i64::MAX,
            }),
        }
    }
}
