//! The pauses in which nothing is sent: after a failure, with its doubling, and after a rejection where another rotation
//! would not help.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::error::Error;
use crate::schedule::Schedule;
use crate::settings::CoolDown;

/// What failed last, if nothing has succeeded since.
#[derive(Debug, Default)]
pub(super) struct Pause {
    last: Option<Box<Last>>,
    /// What the endpoint answered last. A failure of the store does not make the pause after it shorter.
    answer: Option<Box<Failure>>,
}

#[derive(Debug)]
struct Last {
    /// In a row.
    count: u32,
    /// Whether the token was still good.
    early: bool,
    /// Nothing is tried before.
    until: Timestamp,
    /// The worker tries nothing before this either; `None` if it never does.
    timer_from: Option<Timestamp>,
    /// `None` if the server issued a pair that brought no progress.
    error: Option<Error>,
    /// Whether another instance has failed, and not this one.
    is_told: bool,
}

/// A failure that was counted.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    /// With the pause as the time after which to try again.
    pub(crate) error: Error,
    pub(crate) pause: Duration,
    pub(crate) until: Timestamp,
    /// How many there were in a row.
    pub(crate) count: u32,
    /// Whether it is another instance's, whose configuration may be wrong where ours is right.
    pub(crate) is_told: bool,
    /// Whether there is nothing to try until the access token is over, which an API may say.
    pub(crate) is_final: bool,
}

/// What a pause depends on besides the failures before.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cause {
    /// How many failures in a row the record counts, of all instances.
    pub(crate) recorded: u32,
    /// The pause is not shorter than this.
    pub(crate) least: Duration,
    /// Whether another way is gone at once.
    pub(crate) has_no_pause: bool,
    /// Whether it is the longest pause, because a human has to act.
    pub(crate) is_longest: bool,
    /// What the worker makes of it.
    pub(crate) timer: Timer,
    /// The share by which the pause is shortened, 0 to 1.
    pub(crate) jitter: f64,
}

/// When the worker tries again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Timer {
    /// After the pause.
    #[default]
    AfterPause,
    /// After the longest pause.
    AfterLongest,
    /// Never: accounts get locked. A caller may.
    Never,
}

impl Timer {
    fn from(self, until: Timestamp, longest: Timestamp) -> Option<Timestamp> {
        match self {
            Self::AfterPause => Some(until),
            Self::AfterLongest => Some(until.max(longest)),
            Self::Never => None,
        }
    }
}

impl Pause {
    pub(super) fn has_failed(&self) -> bool {
        self.last.is_some()
    }

    pub(super) fn ends_at(&self) -> Option<Timestamp> {
        self.last.as_ref().map(|failure| failure.until)
    }

    /// When the worker may try again; `None` if it never does.
    pub(super) fn timer_from(&self) -> Option<Timestamp> {
        match &self.last {
            Some(failure) => failure.timer_from,
            None => Some(Timestamp::from_nanos(0)),
        }
    }

    /// How much of it is left; `None` when it is over.
    pub(super) fn remaining(&self, now: Timestamp) -> Option<Duration> {
        let until = self.ends_at().filter(|until| now < *until)?;
        Some(until.since(now))
    }

    /// What those are told who need a token during the pause.
    pub(super) fn error(&self, now: Timestamp) -> Option<Error> {
        let error = self.last.as_ref()?.error.clone()?;
        Some(error.with_retry_after(self.remaining(now)?))
    }

    /// What failed last, and how long nothing is tried for it.
    pub(super) fn last_error(&self, now: Timestamp) -> Option<Error> {
        let error = self.last.as_ref()?.error.clone()?;
        Some(error.with_retry_after(self.remaining(now).unwrap_or_default()))
    }

    /// Whether the server is being left alone because it issued nothing new.
    pub(super) fn is_stall(&self, now: Timestamp) -> bool {
        let stalled = self
            .last
            .as_ref()
            .is_some_and(|failure| failure.error.is_none());
        stalled && self.remaining(now).is_some()
    }

    /// Whether there is nothing to try until the access token is over.
    pub(super) fn is_final(&self) -> bool {
        self.answer.as_ref().is_some_and(|answer| answer.is_final)
    }

    /// The failure after which nothing is sent for the longest.
    pub(super) fn longest(&self, now: Timestamp) -> Option<Failure> {
        let last = self.last.as_ref().and_then(|last| {
            Some(Failure {
                error: last.error.clone()?,
                pause: Duration::ZERO,
                until: last.until,
                count: last.count,
                is_told: last.is_told,
                is_final: false,
            })
        });
        let failures = last.into_iter().chain(self.answer.as_deref().cloned());
        let longest = failures.max_by_key(|failure| failure.until)?;
        let pause = longest.until.since(now);
        (!pause.is_zero()).then(|| Failure {
            error: longest.error.with_retry_after(pause),
            pause,
            ..longest
        })
    }

    /// How many failures in a row there were.
    pub(super) fn count(&self) -> u32 {
        self.last.as_ref().map_or(0, |failure| failure.count)
    }

    /// A pause after an error, while the token is still good (`early`) or not. Returns how long it is.
    pub(super) fn after_error(
        &mut self,
        error: Error,
        cause: Cause,
        early: bool,
        next_need: Option<Timestamp>,
        cool_down: CoolDown,
        now: Timestamp,
    ) -> Duration {
        // That there is no session is not a failure that may last longer the longer it lasts: a user may sign in at
        // another instance any moment.
        let lasts = !matches!(error, Error::NoSession);
        let before = match &self.last {
            // Once the token is needed, the patience of the early failures does not count any more.
            Some(failure) if failure.early != early => 0,
            Some(failure) => failure.count.max(cause.recorded),
            None => cause.recorded,
        };
        let before = if lasts { before } else { 0 };
        let count = before.saturating_add(1);
        let asked = error.endpoint().and_then(|error| error.retry_after());
        let usual = match cause.is_longest {
            true => cool_down.longest,
            false => cool_down.after(count, early),
        };
        // Instances that failed together do not come back together.
        let usual = usual.saturating_sub(usual.mul_f64(cause.jitter * LARGEST_CUT));
        let own = now + usual.max(cause.least);
        // It does not outlast the moment from which the token is needed. But what the server asks for
        // holds, needed or not: it would only ask again.
        let until = match next_need {
            Some(need) if cause.least.is_zero() && !cause.is_longest => own.min(need),
            _ => own,
        };
        let until = until.max(now + asked.unwrap_or_default().min(cool_down.retry_after_limit));
        let until = if cause.has_no_pause { now } else { until };
        let timer_from = cause.timer.from(until, now + cool_down.longest);
        let timer_from = self.timer_from_after(timer_from, error.endpoint().is_some());
        self.last = Some(Box::new(Last {
            count,
            early,
            until,
            timer_from,
            error: Some(error.clone()),
            is_told: false,
        }));
        let pause = until.since(now);
        if error.endpoint().is_some() {
            self.answer = Some(Box::new(Failure {
                error,
                pause,
                until,
                count,
                is_told: false,
                is_final: false,
            }));
        }
        pause
    }

    /// When the worker tries again after one more failure: never where a sign-in was refused before, until a pair is held or
    /// the user does something; and not sooner for a failure of the store.
    fn timer_from_after(&self, next: Option<Timestamp>, is_answer: bool) -> Option<Timestamp> {
        match self.last.as_ref().map(|last| last.timer_from) {
            Some(None) => None,
            Some(before) if !is_answer => Some(next?.max(before?)),
            _ => next,
        }
    }

    /// Another instance has failed, in this way.
    pub(super) fn learn(
        &mut self,
        failure: &Failure,
        early: bool,
        timer: Timer,
        longest: Timestamp,
    ) {
        self.last = Some(Box::new(Last {
            count: failure.count,
            early,
            until: failure.until,
            timer_from: self.timer_from_after(timer.from(failure.until, longest), true),
            error: Some(failure.error.clone()),
            is_told: true,
        }));
        self.answer = Some(Box::new(failure.clone()));
    }

    /// How often in a row the server brought nothing new.
    pub(super) fn stalls(&self) -> u32 {
        let stalled = self.last.as_ref().filter(|failure| failure.error.is_none());
        stalled.map_or(0, |failure| failure.count)
    }

    /// The server brought nothing new, for one more time than `before`: it is left alone for a while.
    /// A token that is still valid is not served past its `expiry` for it: by then there may be another.
    pub(super) fn after_stall(
        &mut self,
        before: u32,
        expiry: Option<Timestamp>,
        cool_down: CoolDown,
        now: Timestamp,
    ) {
        let count = before.saturating_add(1);
        let own = now + cool_down.after(count, true);
        let until = match expiry {
            Some(expiry) if now < expiry => own.min(expiry),
            _ => own,
        };
        self.last = Some(Box::new(Last {
            count,
            early: true,
            until,
            timer_from: Some(until),
            error: None,
            is_told: false,
        }));
    }
}

/// The share of a pause by which it is shortened at the most.
const LARGEST_CUT: f64 = 0.2;

/// What becomes of a rejection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rejection {
    /// The token is not current any more: a newer one is there already.
    Outdated,
    /// The token is not served any more; a rotation is under way.
    Rotating,
    /// It was rejected so soon after it was issued that another rotation would not help, or in the pause after a rotation
    /// that failed. It is served on, and a later rejection counts.
    TooSoon,
    /// There is nothing to rotate with. It is served on.
    NotRotatable,
    /// The session has ended, and with this rejection its last token has.
    Ended,
}

/// The rejections of late.
#[derive(Debug, Default)]
pub(super) struct Rejections {
    /// Whether the token that is held was rejected, so that it is not served any more.
    pub(super) current: bool,
    /// Rotations in a row that were forced by a rejection, with no token accepted in between.
    in_a_row: u32,
    /// Whether the token that is held was rejected, and too soon for that to count.
    too_soon: bool,
    /// When this manager was last issued a pair, if that was new.
    issued_at: Option<Timestamp>,
    /// Whether that is the one that is held.
    issued_this: bool,
}

impl Rejections {
    /// Another token is held.
    pub(super) fn renew(&mut self) {
        self.current = false;
        self.too_soon = false;
        self.issued_this = false;
    }

    pub(super) fn issued_this(&self) -> bool {
        self.issued_this
    }

    /// A pair was issued: the next is not fetched at once, whatever an API says of this one. If it may be older than it
    /// counts, an API is right to reject its token at once.
    pub(super) fn issued(&mut self, now: Timestamp, may_be_old: bool) {
        self.issued_at = (!may_be_old).then_some(now);
        self.issued_this = true;
    }

    /// An API accepted the token that is held.
    pub(super) fn forget(&mut self) {
        self.in_a_row = 0;
    }

    /// Judges the rejection of the token that is held.
    pub(super) fn judge(
        &mut self,
        schedule: &Schedule,
        was_accepted: bool,
        is_in_flight: bool,
        cool_down: CoolDown,
        now: Timestamp,
    ) -> Rejection {
        let age = schedule.age(now);
        // A token that nobody rejected for so long was a good one, unlike one that had to wait for it.
        if was_accepted || (age >= cool_down.longest && !self.too_soon) {
            self.in_a_row = 0;
        }
        let patience = match self.in_a_row {
            0 => Duration::ZERO,
            count => cool_down.after(count, false),
        };
        let just_issued = self.issued_at.map(|at| now.since(at));
        let too_early = just_issued.is_some_and(|since| since < schedule.shortest_interval);
        if (age < patience || too_early) && !is_in_flight {
            self.too_soon = true;
            return Rejection::TooSoon;
        }
        self.current = true;
        self.in_a_row = self.in_a_row.saturating_add(1);
        Rejection::Rotating
    }
}
