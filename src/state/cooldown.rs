//! The pauses in which nothing is sent: after a failure, with its doubling, and after a rejection where another rotation
//! would not help.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::error::Error;
use crate::schedule::Schedule;
use crate::settings::CoolDown;

/// The last failure, if nothing has succeeded since.
#[derive(Debug, Default)]
pub(super) struct Pause {
    last: Option<Box<Last>>,
    /// The last failure of the endpoint. A later failure of the store does not make the pause after it shorter.
    answer: Option<Box<Failure>>,
}

#[derive(Debug)]
struct Last {
    /// How many failures there were in a row.
    count: u32,
    /// Whether the access token was still valid.
    early: bool,
    /// The manager tries nothing before this moment.
    until: Timestamp,
    /// The timer tries nothing before this moment; `None` if it does not try again at all.
    timer_from: Option<Timestamp>,
    /// The failure's error; `None` if the server issued a pair that is not newer than the one before.
    error: Option<Error>,
    /// Whether another instance failed, and not this one.
    is_of_another: bool,
}

/// A failure that was counted.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    /// The error for callers. Its `retry_after` is what is left of the pause.
    pub(crate) error: Error,
    pub(crate) pause: Duration,
    pub(crate) until: Timestamp,
    /// How many failures there were in a row.
    pub(crate) count: u32,
    /// Whether another instance failed, whose configuration may be wrong where this one's is right.
    pub(crate) is_of_another: bool,
    /// Whether nothing can be tried before the access token is over. An API that rejects the token may end it earlier.
    pub(crate) is_final: bool,
}

impl Failure {
    /// A failure of this instance, `count` failures in a row, with a pause from `now` on.
    pub(crate) fn new(error: Error, pause: Duration, now: Timestamp, count: u32) -> Self {
        Self {
            error,
            pause,
            until: now + pause,
            count,
            is_of_another: false,
            is_final: false,
        }
    }
}

/// What the length of a pause depends on, besides the number of failures before it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cause {
    /// How many failures in a row of all instances the record counts.
    pub(crate) recorded: u32,
    /// The pause is not shorter than this.
    pub(crate) least: Duration,
    /// Whether the next attempt takes another way at once, without a pause.
    pub(crate) has_no_pause: bool,
    /// Whether the pause is the longest one, because a human has to act.
    pub(crate) is_longest: bool,
    /// When the timer tries again.
    pub(crate) timer: Timer,
    /// The share by which the pause is shortened, 0 to 1.
    pub(crate) jitter: f64,
}

/// When the timer tries again after a failure.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Timer {
    /// After the pause.
    #[default]
    AfterPause,
    /// After the longest pause.
    AfterLongest,
    /// The timer does not try again, because servers lock accounts after repeated refusals. A caller may.
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

    /// When the timer may try again; `None` if it does not try again at all.
    pub(super) fn timer_from(&self) -> Option<Timestamp> {
        match &self.last {
            Some(failure) => failure.timer_from,
            None => Some(Timestamp::from_nanos(0)),
        }
    }

    /// How much of the pause is left; `None` when it is over.
    pub(super) fn remaining(&self, now: Timestamp) -> Option<Duration> {
        let until = self.ends_at().filter(|until| now < *until)?;
        Some(until.since(now))
    }

    /// The error for callers that need a token during the pause.
    pub(super) fn error(&self, now: Timestamp) -> Option<Error> {
        self.last_error(now)
            .filter(|_| self.remaining(now).is_some())
    }

    /// The last error, with what is left of its pause.
    pub(super) fn last_error(&self, now: Timestamp) -> Option<Error> {
        let error = self.last.as_ref()?.error.clone()?;
        Some(error.with_retry_after(self.remaining(now).unwrap_or_default()))
    }

    /// Whether the pause is there because the server issued nothing new.
    pub(super) fn is_stall(&self, now: Timestamp) -> bool {
        self.stalls() > 0 && self.remaining(now).is_some()
    }

    /// Whether nothing can be tried before the access token is over.
    pub(super) fn is_final(&self) -> bool {
        self.answer.as_ref().is_some_and(|answer| answer.is_final)
    }

    /// Whether the pause after an answer of the endpoint is not over yet.
    pub(super) fn is_after_answer(&self, now: Timestamp) -> bool {
        let answer = self.answer.as_ref();
        answer.is_some_and(|answer| now < answer.until)
    }

    /// Of the last failures, the one whose pause is the longest from now.
    pub(super) fn longest(&self, now: Timestamp) -> Option<Failure> {
        let last = self.last.as_ref().and_then(|last| {
            Some(Failure {
                error: last.error.clone()?,
                pause: Duration::ZERO,
                until: last.until,
                count: last.count,
                is_of_another: last.is_of_another,
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

    /// Begins the pause after an error; `early` says whether the access token is still valid. Returns how long the pause is,
    /// and how many failures there were in a row.
    pub(super) fn after_error(
        &mut self,
        error: Error,
        cause: Cause,
        early: bool,
        next_need: Option<Timestamp>,
        cool_down: CoolDown,
        now: Timestamp,
    ) -> (Duration, u32) {
        // The pause does not double where there is no session: a user may sign in at another instance any moment.
        let lasts = !matches!(error, Error::NoSession);
        let before = match &self.last {
            _ if !lasts => 0,
            // Once the token has expired, the failures before that do not make the pause longer.
            Some(failure) if failure.early != early => 0,
            Some(failure) => failure.count.max(cause.recorded),
            None => cause.recorded,
        };
        let count = before.saturating_add(1);
        let asked = error.endpoint().and_then(|error| error.retry_after());
        let usual = match cause.is_longest {
            true => cool_down.longest,
            false => cool_down.after(count, early),
        };
        // Instances that failed at the same time must not come back at the same time.
        let usual = usual.saturating_sub(usual.mul_f64(cause.jitter * LARGEST_CUT));
        let own = now + usual.max(cause.least);
        // The pause ends at the moment from which a new token is needed. A pause that the server asks for (`Retry-After`)
        // holds beyond that moment, because the server would only ask for it again.
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
            is_of_another: false,
        }));
        let pause = until.since(now);
        if error.endpoint().is_some() {
            self.answer = Some(Box::new(Failure::new(error, pause, now, count)));
        }
        (pause, count)
    }

    /// When the timer tries again after one more failure. After a refused sign-in it does not, until a pair is held or the user
    /// signs in or logs out. A failure of the store does not bring the moment forward.
    fn timer_from_after(&self, next: Option<Timestamp>, is_answer: bool) -> Option<Timestamp> {
        match self.last.as_ref().map(|last| last.timer_from) {
            Some(None) => None,
            Some(before) if !is_answer => Some(next?.max(before?)),
            _ => next,
        }
    }

    /// Another instance failed with this failure.
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
            is_of_another: true,
        }));
        self.answer = Some(Box::new(failure.clone()));
    }

    /// How often in a row the server issued nothing new.
    pub(super) fn stalls(&self) -> u32 {
        let stalled = self.last.as_ref().filter(|failure| failure.error.is_none());
        stalled.map_or(0, |failure| failure.count)
    }

    /// The server issued nothing new, once more than `before`: a pause begins. The pause ends at the token's `expiry` at the
    /// latest, because the server may issue another one by then.
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
            is_of_another: false,
        }));
    }
}

/// The largest share by which a pause is shortened at random.
const LARGEST_CUT: f64 = 0.2;

/// What the manager makes of a rejected token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rejection {
    /// The token is not current any more: the manager holds a newer one.
    Outdated,
    /// The token is not served any more, and a rotation is in flight.
    Rotating,
    /// The API rejected the token so soon after it was issued that another rotation would not help, or in the pause after a
    /// rotation that failed. The token is served on, and a later rejection counts.
    TooSoon,
    /// The manager cannot refresh: there is no refresh token, and the endpoint cannot sign in. The token is served on.
    NotRotatable,
    /// The session had ended already, and with this rejection its last access token is not served any more.
    Ended,
}

/// What is known of recent rejections.
#[derive(Debug, Default)]
pub(super) struct Rejections {
    /// Whether an API rejected the token that is held, so that it is not served any more.
    pub(super) current: bool,
    /// How many rotations in a row followed from a rejection, without an accepted token in between.
    in_a_row: u32,
    /// Whether an API rejected the token that is held too soon for the rejection to count.
    too_soon: bool,
    /// When the server last issued a new pair to this manager.
    issued_at: Option<Timestamp>,
    /// Whether that pair is the one that is held.
    pub(super) issued_this: bool,
}

impl Rejections {
    /// Another token is held from now on.
    pub(super) fn renew(&mut self) {
        self.current = false;
        self.too_soon = false;
        self.issued_this = false;
    }

    /// The server issued a pair: the next one is not fetched at once, even if an API rejects this one. A pair that may be older
    /// than it seems (`may_be_old`) does not count, because an API is right to reject its token at once.
    pub(super) fn issued(&mut self, now: Timestamp, may_be_old: bool) {
        self.issued_at = (!may_be_old).then_some(now);
        self.issued_this = true;
    }

    /// Whether an API rejected a token, and has accepted none since.
    pub(super) fn are_recent(&self) -> bool {
        self.current || self.too_soon || self.in_a_row > 0
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
        // A token that no API rejected for so long was a good one. A token whose rejection came too soon was not.
        if was_accepted || (age >= cool_down.longest && !self.too_soon) {
            self.in_a_row = 0;
        }
        let served_on = match self.in_a_row {
            0 => Duration::ZERO,
            count => cool_down.after(count, false),
        };
        let just_issued = self.issued_at.map(|at| now.since(at));
        let too_early = just_issued.is_some_and(|since| since < schedule.shortest_interval);
        if (age < served_on || too_early) && !is_in_flight {
            self.too_soon = true;
            return Rejection::TooSoon;
        }
        self.current = true;
        self.in_a_row = self.in_a_row.saturating_add(1);
        Rejection::Rotating
    }
}
