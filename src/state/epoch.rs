//! The one way in which a rotation changes the state, and how one pair or one session takes the place of another.
//!
//! The user's logouts and sign-ins are counted as epochs. A rotation that began in an earlier epoch changes nothing any more:
//! its pair would be one user's pair in another user's session.

use std::ops::Deref;
use std::time::Duration;

use super::cooldown::{Cause, Failure, Timer};
use super::{
    Committed, HeldAtLogout, HeldPair, LogoutStage, Pause, Progress, Seed, State, Wakeups,
};
use crate::clock::Timestamp;
use crate::error::{EndReason, Error};
use crate::settings::Settings;
use crate::token::TokenFamily;

/// The state, for a rotation in whose epoch it still is.
#[derive(Debug)]
pub(crate) struct Current<'a>(&'a mut State);

impl State {
    /// The state for a rotation that began in `epoch`; `None` if the user has logged out or signed in since.
    pub(crate) fn in_epoch(&mut self, epoch: u64) -> Option<Current<'_>> {
        (self.epoch == epoch).then_some(Current(self))
    }
}

impl Deref for Current<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        self.0
    }
}

impl Current<'_> {
    /// Holds a newer pair instead of the one that is held, whose token is not served any more. Returns `false` for a pair of a
    /// session that was logged out of, which does not come back.
    pub(crate) fn hold(&mut self, held: HeldPair) -> bool {
        match self.0.logout_stage {
            Some(LogoutStage::Asked) => return false,
            Some(LogoutStage::Written(family)) if family == held.pair_id.family => return false,
            _ => {}
        }
        if !self.0.rename(&held) {
            self.0.begin(held);
        }
        true
    }

    /// Keeps a pair of this manager over which another instance committed its own, until an API has accepted that one once.
    pub(crate) fn keep_spare(&mut self, spare: HeldPair) {
        self.0.spare = Some(Box::new(spare));
    }

    /// Takes the spare, if it is of this family. A spare of another family is dropped and not revoked, because its grant may
    /// live on elsewhere.
    pub(crate) fn take_spare(&mut self, family: TokenFamily) -> Option<HeldPair> {
        let spare = self.0.spare.take()?;
        (spare.pair_id.family == family).then_some(*spare)
    }

    /// Ends the session. Returns whether it had not ended for this reason before.
    pub(crate) fn end(&mut self, reason: EndReason) -> bool {
        self.0.set_end(reason)
    }

    /// Subscribers were warned that the session will end.
    pub(crate) fn warned(&mut self) {
        self.0.warned = true;
    }

    /// The rotation is over.
    pub(crate) fn clear_flight(&mut self) {
        self.0.flight = None;
    }

    /// Counts a failure and begins its pause. Returns how long the pause is, and how many failures there were in a row.
    pub(crate) fn fail(
        &mut self,
        error: Error,
        cause: Cause,
        settings: &Settings,
        now: Timestamp,
    ) -> (Duration, u32) {
        let early = self.usable(now).is_some();
        let held = self.held.as_ref();
        let need = held.and_then(|held| held.schedule.next_need(now));
        let cool_down = settings.cool_down;
        let pause = &mut self.0.pause;
        pause.after_error(error, cause, early, need, cool_down, now)
    }

    /// Another instance failed: this manager tries nothing before that instance's pause is over.
    pub(crate) fn learn_of_failure(
        &mut self,
        failure: &Failure,
        timer: Timer,
        settings: &Settings,
        now: Timestamp,
    ) {
        let early = self.usable(now).is_some();
        let longest = now + settings.cool_down.longest;
        self.0.pause.learn(failure, early, timer, longest);
    }

    /// The server issued nothing new, once more than `before`.
    pub(crate) fn stall(&mut self, before: u32, settings: &Settings, now: Timestamp) {
        let expiry = self.held.as_ref().and_then(|held| held.schedule.expires_at);
        let cool_down = settings.cool_down;
        self.0.pause.after_stall(before, expiry, cool_down, now);
    }

    /// The server issued a pair: the next one is not fetched at once, even if an API rejects this one, unless the pair may be
    /// older than it seems.
    pub(crate) fn issued(&mut self, now: Timestamp, may_be_old: bool) {
        self.0.rejections.issued(now, may_be_old);
        self.0.rotations += 1;
    }
}

/// How many sessions that the user logged out of are remembered. A store is hardly ever set back by more sign-ins than that.
const LOGGED_OUT_LIMIT: usize = 64;

impl State {
    /// The user logs out or signs in: a rotation in flight has no waiters any more, because each of them decides again.
    /// Returns the waiters to be woken with the state unlocked: a waker is code of an executor, and may drop a manager.
    fn next_epoch(&mut self) -> Wakeups {
        self.epoch += 1;
        self.unclear = None;
        let flight = self.flight.take();
        flight.map_or_else(Wakeups::default, |flight| {
            flight.room.report(Progress::Retry)
        })
    }

    /// Holds this pair instead of the one that is held, whose token is not served any more.
    pub(super) fn begin(&mut self, held: HeldPair) {
        let Committed {
            number, sign_ins, ..
        } = held.committed;
        self.next_number = self.next_number.max(number.saturating_add(1));
        self.sign_ins = self.sign_ins.max(sign_ins);
        // A spare of another session is of no use in this one.
        self.spare
            .take_if(|spare| spare.pair_id.family != held.pair_id.family);
        // The token that may be spent is not needed any more, or the server issued the same token again, which is good then.
        self.unclear = None;
        self.forget_presence(&held);
        self.held = Some(Box::new(held));
        self.end = None;
        self.logout_stage = None;
        self.rejections.renew();
        self.pause = Pause::default();
        self.warned = false;
        self.forget_seed();
    }

    /// The pair that is held has another version in the record, because it was written over another pair. What is known of its
    /// tokens stays. Returns whether the pair is the one that is held.
    pub(super) fn rename(&mut self, held: &HeldPair) -> bool {
        let is_over = self.end.is_some() || self.logout_stage.is_some();
        let is_same = |old: &HeldPair| {
            old.pair_id.family == held.pair_id.family
                && (old.committed.number, old.digest) == (held.committed.number, held.digest)
                && old.pair.access == held.pair.access
        };
        match self.held.as_mut().filter(|old| !is_over && is_same(old)) {
            Some(old) => {
                old.pair_id = held.pair_id;
                let sign_ins = &mut old.committed.sign_ins;
                *sign_ins = held.committed.sign_ins.max(*sign_ins);
                old.served.clone_from(&held.served);
                old.pair.access.clone_from(&held.pair.access);
                true
            }
            None => false,
        }
    }

    /// Holds a pair that the user brings. It replaces the session before, and whatever was done about that one.
    pub(crate) fn begin_anew(&mut self, held: HeldPair) -> Wakeups {
        self.begin(held);
        self.next_epoch()
    }

    /// Begins the session anew: the next rotation signs in.
    pub(crate) fn reopen(&mut self) -> Wakeups {
        // A session that goes on keeps its rotation, which is what the caller wants.
        let is_over = self.logout_stage.is_some() || self.end.is_some();
        let wakeups = match is_over {
            true => self.next_epoch(),
            false => Wakeups::default(),
        };
        if self.logout_stage.is_some() {
            self.forget_seed();
        }
        self.logout_stage = None;
        self.end = None;
        self.pause = Pause::default();
        wakeups
    }

    /// The user logs out. Returns what the manager held, whether the session had not ended before, and the waiters to be woken.
    pub(crate) fn log_out(&mut self) -> (HeldAtLogout, bool, Wakeups) {
        self.logouts += 1;
        let wakeups = self.next_epoch();
        self.logout_stage = Some(LogoutStage::Asked);
        let had = HeldAtLogout {
            held: self.held.take(),
            spare: self.spare.take(),
            // The seed stays until the logout is stored, so that a second logout knows it too.
            seed: self.seed.as_deref().map(Seed::pair).cloned(),
        };
        for held in had.held.iter().chain(&had.spare) {
            self.remember_logged_out(held.pair_id.family);
        }
        (had, self.set_end(EndReason::LoggedOut), wakeups)
    }

    /// Whether the user has logged out of this family here.
    pub(crate) fn is_logged_out(&self, family: TokenFamily) -> bool {
        self.logged_out.contains(&family)
    }

    fn remember_logged_out(&mut self, family: TokenFamily) {
        if !self.is_logged_out(family) {
            let surplus = (self.logged_out.len() + 1).saturating_sub(LOGGED_OUT_LIMIT);
            self.logged_out.drain(..surplus);
            self.logged_out.push(family);
        }
    }

    /// The logout of this family is stored.
    pub(crate) fn logout_stored(&mut self, family: TokenFamily) {
        self.remember_logged_out(family);
        if self.logout_stage == Some(LogoutStage::Asked) {
            self.logout_stage = Some(LogoutStage::Written(family));
            self.forget_seed();
        }
    }
}
