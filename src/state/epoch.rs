//! The one way in which a rotation changes the state. What the user does with the session is counted, and a rotation
//! that began before that holds, keeps, ends and reports nothing any more: it would be one user's pair in another
//! user's session.

use std::ops::Deref;
use std::time::Duration;

use super::pause::{Cause, Failure, Timer};
use super::{HeldPair, LogoutStage, State};
use crate::clock::Timestamp;
use crate::error::{EndReason, Error};
use crate::settings::Settings;
use crate::token::TokenFamily;

/// The state, as long as the user has done nothing since the rotation began that changes it.
#[derive(Debug)]
pub(crate) struct Current<'a>(&'a mut State);

impl State {
    /// The state for a rotation that began in `epoch`; `None` if the user has done something since.
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
    /// A newer pair takes the place of the one held, whose token is not served any more. Returns whether it
    /// may: nothing of a session that was logged out comes back.
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

    /// The pair that was given at start begins its session.
    pub(crate) fn begin_seeded(&mut self, held: HeldPair) {
        self.0.begin(held);
    }

    /// Keeps a pair of ours that another instance's outran, until that one has been accepted once.
    pub(crate) fn keep_spare(&mut self, spare: HeldPair) {
        self.0.spare = Some(Box::new(spare));
    }

    /// The pair that was kept, if it is of this family. One of another family is dropped, and not revoked: its grant
    /// may live on elsewhere.
    pub(crate) fn take_spare(&mut self, family: TokenFamily) -> Option<HeldPair> {
        let spare = self.0.spare.take()?;
        (spare.pair_id.family == family).then_some(*spare)
    }

    /// Returns whether that is news.
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

    /// Counts a failure: nothing is tried for a while. Returns how long that is, and how many there were in a row.
    pub(crate) fn fail(
        &mut self,
        error: Error,
        cause: Cause,
        settings: &Settings,
        now: Timestamp,
    ) -> (Duration, u32) {
        let early = self.usable(now).is_some();
        let schedule = self.held.as_ref().map(|held| &held.schedule);
        let need = schedule.and_then(|schedule| schedule.next_need(now));
        let cool_down = settings.cool_down;
        let pause = &mut self.0.pause;
        let left = pause.after_error(error, cause, early, need, cool_down, now);
        (left, pause.count())
    }

    /// Another instance has failed: nothing is tried before its pause is over.
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

    /// The server brought nothing new, for one more time than `before`.
    pub(crate) fn stall(&mut self, before: u32, settings: &Settings, now: Timestamp) {
        let expiry = self.held.as_ref().and_then(|held| held.schedule.expires_at);
        let cool_down = settings.cool_down;
        self.0.pause.after_stall(before, expiry, cool_down, now);
    }

    /// A pair was issued: the next is not fetched at once, whatever an API says of this one, unless it may be older than it
    /// counts.
    pub(crate) fn issued(&mut self, now: Timestamp, may_be_old: bool) {
        self.0.rejections.issued(now, may_be_old);
    }
}
