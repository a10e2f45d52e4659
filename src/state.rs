//! Everything that one lock protects: the pair that is held, its pair id and the rotation in flight change together.
//!
//! This module never awaits and never calls user code, so the lock is held for microseconds. A rotation changes the state
//! through [`epoch::Current`] only.
//!
//! What callers get while a rotation is in flight, by what the rotation reports ([`Progress`]):
//!
//! ```text
//! begin_flight ─► Running ──► Done(token)   each waiter gets the token
//!                  │   ▲  └─► Done(error)   each waiter gets the error
//!                  │   │  └─► Retry         each waiter decides again
//!                  ▼   │
//!                 Waiting    another instance holds the lease: a caller with a valid token goes on with it
//!                 Pausing    an attempt failed, the next one has its time: a caller whose deadline is earlier gets the error
//!                 Unstored   the server issued a pair that is not stored yet: callers get it, unless the settings forbid that
//! ```

mod cooldown;
mod decision;
mod epoch;
mod held;
mod presence;
mod waiting;

use std::sync::Arc;
use std::time::Duration;

pub use self::cooldown::Rejection;
pub(crate) use self::cooldown::{Cause, Failure, Timer};
use self::cooldown::{Pause, Rejections};
pub(crate) use self::decision::{Decided, Decision, Notice};
use self::held::Attempts;
pub(crate) use self::held::{
    ClockReading, Committed, HeldAtLogout, HeldPair, LogoutStage, Seed, UnclearRequest,
};
pub(crate) use self::presence::Presence;
pub(crate) use self::waiting::{Due as DeadlinePassed, Room, Waiter, Wakeups, timer as room_timer};
use crate::clock::Timestamp;
use crate::error::{EndReason, Error};
use crate::record::Record;
use crate::schedule::Due;
use crate::settings::Settings;
use crate::snapshot::Token;
use crate::store::StoreError;
use crate::strategy::OnExpiry;
use crate::token::{PairId, TokenFamily, TokenPair};
use crate::user_code::Moment;

/// What a rotation needs to know of the pair that it finds.
#[derive(Debug, Clone)]
pub(crate) struct PairStatus {
    pub(crate) usable: Option<Token>,
    pub(crate) due: Due,
    pub(crate) pair_id: Option<PairId>,
    /// Whether no request came within the access token's lifetime, and the strategy ends such sessions.
    pub(crate) is_idle: bool,
    pub(crate) refresh_is_good: bool,
}

/// How far a rotation is, for the callers that wait for it.
#[derive(Debug, Clone)]
pub(crate) enum Progress {
    /// The rotation is at work.
    Running,
    /// The rotation waits for another instance, or for a lease to expire. A caller with a valid token does not wait for that.
    Waiting,
    /// An attempt failed with this error, and the next attempt begins at this time.
    Pausing(Error, Timestamp),
    /// The server issued a pair, and storing it fails with this error. The rotation keeps the pair and tries again.
    Unstored(Error),
    /// The rotation is over, and this is the answer for each waiter, unless the user has logged out or signed in since this
    /// epoch.
    Done(Result<Token, Error>, u64),
    /// The rotation is over without a result: each waiter decides again.
    Retry,
}

impl Progress {
    /// Whether it is the last report of its rotation.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self, Self::Done(..) | Self::Retry)
    }
}

/// The rotation in flight.
#[derive(Debug)]
struct UnderWay {
    room: Arc<Room>,
    began: Timestamp,
}

/// A token that an API rejected behind a redirect, so that the manager replaced it.
#[derive(Debug)]
struct BehindRedirect {
    rejected: PairId,
    at: Timestamp,
    /// The token that took the place of the rejected one, once that is known.
    next: Option<PairId>,
}

#[derive(Debug)]
pub(crate) struct State {
    held: Option<Box<HeldPair>>,
    /// The pair of this manager, where another instance's pair was committed after it. It is kept until an API has accepted
    /// the other pair once.
    spare: Option<Box<HeldPair>>,
    end: Option<EndReason>,
    flight: Option<UnderWay>,
    pause: Pause,
    rejections: Rejections,
    behind_redirect: Option<Box<BehindRedirect>>,
    /// The highest next number that was seen in a record.
    pub(crate) next_number: u64,
    /// The highest count of sign-ins that was seen in a record.
    pub(crate) sign_ins: u64,
    attempts: Attempts,
    /// The lease whose request is over, and whose answer was unclear.
    unclear: Option<Box<UnclearRequest>>,
    seed: Option<Arc<Seed>>,
    /// How far a logout of this manager is, until another session takes the place of the one that was logged out of.
    pub(crate) logout_stage: Option<LogoutStage>,
    /// The sessions that the user has logged out of here: a store that is set back may show one as active again.
    logged_out: Vec<TokenFamily>,
    /// How often the user logged out.
    pub(crate) logouts: u64,
    /// Counts the user's logouts and sign-ins. What was read before the last of them is outdated.
    pub(crate) epoch: u64,
    /// Whether subscribers were warned that the session ends if the pair that is held is not rotated.
    warned: bool,
    /// Whether a task is about to report the session's end, and reads the store first.
    pub(crate) is_reporting: bool,
    /// When a rotation began last, which reads the store.
    reloaded: Option<Timestamp>,
    /// Whether the endpoint could sign in when it was asked last.
    pub(crate) can_sign_in: bool,
    pub(crate) is_closed: bool,
    /// Whether the manager's runtime was shut down: nothing can be rotated after that.
    pub(crate) is_runtime_gone: bool,
    /// How many pairs the server issued to this manager that it serves, or has served.
    pub(crate) rotations: u64,
    /// How many attempts to store a pair failed.
    pub(crate) store_failures: u64,
    /// Why something was not stored, where the manager has given up storing it.
    pub(crate) given_up: Option<StoreError>,
    /// When browsers presented the session; `None` if none did.
    presence: Option<Box<Presence>>,
}

impl State {
    pub(crate) fn new(seed: Option<Arc<Seed>>, can_sign_in: bool) -> Self {
        Self {
            held: None,
            spare: None,
            end: None,
            flight: None,
            pause: Pause::default(),
            rejections: Rejections::default(),
            behind_redirect: None,
            next_number: 1,
            sign_ins: 0,
            attempts: Attempts::default(),
            unclear: None,
            seed,
            logout_stage: None,
            logged_out: Vec::new(),
            logouts: 0,
            epoch: 0,
            warned: false,
            is_reporting: false,
            reloaded: None,
            can_sign_in,
            is_closed: false,
            is_runtime_gone: false,
            rotations: 0,
            store_failures: 0,
            given_up: None,
            presence: None,
        }
    }

    pub(crate) fn held(&self) -> Option<&HeldPair> {
        self.held.as_deref()
    }

    pub(crate) fn seed(&self) -> Option<&(TokenPair, Timestamp)> {
        let seed = self.seed.as_deref().filter(|_| self.held.is_none());
        seed.map(Seed::pair)
    }

    /// The seed is answered: another session is held, the store knows the seed, or a logout of it is stored.
    pub(crate) fn forget_seed(&mut self) {
        if let Some(seed) = self.seed.take() {
            seed.answer();
        }
    }

    pub(crate) fn flight(&self) -> Option<Waiter> {
        let flight = self.flight.as_ref();
        flight.map(|flight| Waiter::new(&flight.room))
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.end.is_some()
    }

    /// Why the session has ended, if it has.
    #[cfg(feature = "gateway")]
    pub(crate) fn end(&self) -> Option<&EndReason> {
        self.end.as_ref()
    }

    /// Whether the user logged out of the session.
    pub(crate) fn is_logged_out_of(&self) -> bool {
        self.end == Some(EndReason::LoggedOut)
    }

    /// Why the session is over. It is over as well where each token that is held has expired, and neither a caller nor a timer
    /// has noticed that yet.
    pub(crate) fn end_by(&self, now: Timestamp) -> Option<EndReason> {
        if self.end.is_some() || self.can_sign_in || self.flight.is_some() {
            return self.end.clone();
        }
        let schedule = &self.held.as_ref()?.schedule;
        let ending = schedule.ending.filter(|ending| now >= ending.at)?;
        let by_strategy = schedule.on_expiry == OnExpiry::End && !ending.is_final;
        match by_strategy {
            true => (!self.pause.has_failed()).then_some(EndReason::Idle),
            false => Some(EndReason::Expired),
        }
    }

    pub(crate) fn pair_id(&self) -> Option<PairId> {
        self.held.as_ref().map(|held| held.pair_id)
    }

    /// Notes the counts of a record, because a store that is set back does not show them again.
    pub(crate) fn saw(&mut self, record: &Record) {
        self.next_number = self.next_number.max(record.next_number);
        self.sign_ins = self.sign_ins.max(record.sign_ins);
    }

    /// Whether the token that is held may still be served.
    pub(crate) fn usable(&self, now: Timestamp) -> Option<&Token> {
        // A logout is absolute; any other end leaves the access token its time.
        if self.end == Some(EndReason::LoggedOut) {
            return None;
        }
        let held = self.held.as_ref().filter(|_| !self.rejections.current)?;
        let in_time = held.schedule.expires_at.is_none_or(|end| now < end);
        // A server that issues expired tokens is believed once per cool-down: the callers that waited get what it issued,
        // and no instance calls it again meanwhile.
        held.token().filter(|_| in_time || self.pause.is_stall(now))
    }

    /// Whether a rotation could bring a new pair.
    fn rotatable(&self, now: Timestamp) -> bool {
        let can_bring =
            self.can_sign_in || self.held.as_ref().is_none_or(|held| held.can_refresh(now));
        can_bring && !self.is_runtime_gone
    }

    /// What a rotation needs to know of the pair that it finds.
    pub(crate) fn status(&self, moment: Moment) -> PairStatus {
        let now = moment.now;
        let held = self.held.as_ref();
        let due = held.map_or(Due::Expired, |held| held.due(moment));
        PairStatus {
            usable: self.usable(now).cloned(),
            due,
            pair_id: self.pair_id(),
            // Where a request came in time and its rotation failed, the session was not idle.
            is_idle: due == Due::Expired
                && !self.rejections.current
                && !self.pause.has_failed()
                && held.is_some_and(|held| {
                    held.served.is_some() && held.schedule.on_expiry == OnExpiry::End
                }),
            refresh_is_good: held.is_some_and(|held| held.can_refresh(now)),
        }
    }

    /// The failure whose pause is not over yet.
    pub(crate) fn pause(&self, now: Timestamp) -> Option<Failure> {
        self.pause.longest(now)
    }

    pub(crate) fn cooling(&self, now: Timestamp) -> bool {
        self.pause.remaining(now).is_some()
    }

    /// When the timer has to begin a rotation, if no caller begins one before.
    pub(crate) fn wake_at(&self, moment: Moment) -> Option<Timestamp> {
        let now = moment.now;
        if self.is_closed || self.end.is_some() || self.flight.is_some() || !self.rotatable(now) {
            return None;
        }
        if self.is_unattended() {
            return None;
        }
        let schedule = &self.held.as_ref()?.schedule;
        let late = schedule.at_the_latest(now, moment.wall);
        // The age is measured by the clock that ran further, and the result is a moment of our clock.
        let wake_at = now + schedule.wake_at?.since(late);
        self.pause.timer_from().map(|from| wake_at.max(from))
    }

    /// Whether the plan has the timer rotate the pair that is held by now.
    pub(crate) fn timer_is_due(&self, moment: Moment) -> bool {
        let now = moment.now;
        let is_due = |held: &HeldPair| {
            let late = held.schedule.at_the_latest(now, moment.wall);
            held.schedule.wake_at.is_some_and(|at| at <= late)
        };
        let may = !self.is_closed && self.end.is_none() && self.rotatable(now);
        may && !self.is_unattended()
            && self.held().is_some_and(is_due)
            && self.pause.timer_from().is_some_and(|from| from <= now)
    }

    /// Whether a rotation is in flight, and its last report is this one.
    fn is_at(&self, is_it: impl FnOnce(&Progress) -> bool) -> bool {
        let flight = self.flight.as_ref();
        flight.is_some_and(|flight| flight.room.peek(is_it))
    }

    /// Whether the rotation in flight waits for the end of a pause.
    pub(crate) fn is_pausing(&self) -> bool {
        self.is_at(|at| matches!(at, Progress::Pausing(..)))
    }

    /// Whether a caller waits for the rotation in flight.
    pub(crate) fn has_waiters(&self) -> bool {
        let flight = self.flight.as_ref();
        flight.is_some_and(|flight| flight.room.has_callers())
    }

    /// The next notice of the session's end, and when it is due.
    pub(crate) fn next_notice(&self, settings: &Settings) -> Option<(Timestamp, Notice)> {
        let is_in_flight = self.flight.is_some() && !self.is_pausing();
        let is_busy = is_in_flight || self.is_reporting;
        if self.is_closed || self.end.is_some() || is_busy || self.can_sign_in {
            return None;
        }
        let held = self.held.as_ref()?;
        // A request came in time and its rotation failed, so the session was not idle.
        if held.schedule.on_expiry == OnExpiry::End && self.pause.has_failed() {
            return None;
        }
        let (at, notice) = decision::next_notice(&held.schedule, self.warned, settings)?;
        // After the store could not be read, the next notice waits for the pause to end.
        Some((self.pause.ends_at().map_or(at, |end| at.max(end)), notice))
    }

    /// Whether the manager knows what the store does not report to a session that is loaded anew: leases that may be its own, the
    /// doubt about a token, a pause, and that an API rejects new tokens. A state that holds no pair has rejected none, and has a
    /// pause worth keeping only after an answer of the endpoint, such as a refused sign-in: a key without a session, and a
    /// failure of the store, leave at once.
    pub(crate) fn is_not_stored(&self, now: Timestamp) -> bool {
        let is_holding = self.held.is_some();
        let is_in_doubt = self.unclear.is_some() || self.spare.is_some();
        !self.attempts.is_empty()
            || is_in_doubt
            || self.cooling(now) && (is_holding || self.pause.is_after_answer(now))
            || is_holding && self.rejections.are_recent()
    }

    pub(crate) fn is_unstored(&self) -> bool {
        self.is_at(|at| matches!(at, Progress::Unstored(_)))
    }

    /// The last failure, if nothing has succeeded since.
    pub(crate) fn failure(&self, now: Timestamp) -> Option<Error> {
        self.pause.last_error(now)
    }

    /// The error of a session that is over, with the last failure as its source where the reason itself explains nothing.
    pub(crate) fn ended(&self, reason: EndReason, now: Timestamp) -> Error {
        let failed = match reason {
            EndReason::Expired | EndReason::OutcomeUnknown => self.failure(now),
            _ => None,
        };
        let failed = failed.filter(|error| !matches!(error, Error::Ended { .. }));
        Error::Ended {
            reason,
            source: failed.map(Arc::new),
        }
    }

    /// Why a rotation that a caller asked for cannot begin now.
    pub(crate) fn obstacle(&self, now: Timestamp) -> Option<Error> {
        if self.is_closed {
            return Some(Error::ShutDown);
        }
        if self.is_runtime_gone {
            return Some(Error::RuntimeGone);
        }
        if let Some(reason) = self.end.as_ref().filter(|_| self.cooling(now)) {
            return Some(self.ended(reason.clone(), now));
        }
        self.pause.error(now)
    }

    /// A rotation begins, whose waiters are in this room.
    pub(crate) fn begin_flight(&mut self, room: Arc<Room>, began: Timestamp) {
        self.reloaded = Some(began);
        self.flight = Some(UnderWay { room, began });
    }

    /// Returns whether the session had not ended for this reason before.
    fn set_end(&mut self, reason: EndReason) -> bool {
        let is_new = self.end.as_ref() != Some(&reason);
        // Another end leaves the access token its time.
        if reason == EndReason::LoggedOut {
            self.held = None;
            self.spare = None;
        }
        self.end = Some(reason);
        is_new
    }

    /// How often in a row the server issued nothing new.
    pub(crate) fn stalls(&self) -> u32 {
        self.pause.stalls()
    }

    /// Whether the server issued the pair that is held to this manager. Otherwise the manager found it in the store.
    pub(crate) fn was_issued(&self, pair_id: PairId) -> bool {
        self.pair_id() == Some(pair_id) && self.rejections.issued_this
    }

    /// An API rejected the token of this pair.
    pub(crate) fn reject(
        &mut self,
        pair_id: PairId,
        settings: &Settings,
        now: Timestamp,
    ) -> Rejection {
        let Some(held) = self.held.as_ref().filter(|held| held.pair_id == pair_id) else {
            return Rejection::Outdated;
        };
        if self.end.is_some() {
            self.rejections.current = true;
            return Rejection::Ended;
        }
        if self.rejections.current {
            return Rejection::Rotating;
        }
        if !self.rotatable(now) {
            return Rejection::NotRotatable;
        }
        // Nothing can bring a newer token before the pause is over, and the rejection may be a mistake of the API.
        let is_final = self.pause.is_final();
        if (self.flight.is_none() || self.is_pausing()) && self.cooling(now) && !is_final {
            return Rejection::TooSoon;
        }
        let accepted = held.token().is_some_and(Token::accepted);
        self.rejections.judge(
            &held.schedule,
            accepted,
            self.flight.is_some(),
            settings.cool_down,
            now,
        )
    }

    /// Whether a rejection counts that came from behind a redirect, where the HTTP client may have removed the token. For a
    /// while it does not count for the token that replaced one that was rejected in this way, because rotating has not
    /// helped.
    pub(crate) fn counts_behind_redirect(
        &mut self,
        of: PairId,
        now: Timestamp,
        while_marked: Duration,
    ) -> bool {
        let Some(behind) = self.behind_redirect.as_mut() else {
            return true;
        };
        if behind.rejected == of {
            return true;
        }
        let is_next = *behind.next.get_or_insert(of) == of;
        if !is_next || now.since(behind.at) >= while_marked {
            self.behind_redirect = None;
            return true;
        }
        false
    }

    /// An API behind a redirect rejected this token, which is being replaced.
    pub(crate) fn rejected_behind_redirect(&mut self, of: PairId, at: Timestamp) {
        self.behind_redirect = Some(Box::new(BehindRedirect {
            rejected: of,
            at,
            next: None,
        }));
    }

    /// An API behind a redirect accepted a token.
    pub(crate) fn accepted_behind_redirect(&mut self) {
        self.behind_redirect = None;
    }

    /// An API accepted this token. If it is the one that is held, another instance's pair works, and the spare is not needed.
    pub(crate) fn accept(&mut self, pair_id: PairId) {
        if self.pair_id() == Some(pair_id) {
            self.rejections.forget();
            self.spare = None;
        }
    }
}
