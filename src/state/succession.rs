//! How one pair, or one session, takes the place of another.

use super::{HeldAtLogout, HeldPair, LogoutStage, Pause, Progress, State};
use crate::error::EndReason;
use crate::token::TokenFamily;

/// How many sessions that were left are remembered: a store is not set back by more sign-ins than these.
const LOGGED_OUT_LIMIT: usize = 64;

impl State {
    /// The user does something with the session: a rotation under way goes on for nobody, and whoever
    /// waited for it decides again.
    fn next_epoch(&mut self) {
        self.epoch += 1;
        self.over = None;
        if let Some(flight) = self.flight.take() {
            drop(flight.room.report(Progress::Again));
        }
    }

    /// A pair takes the place of the one held, whose token is not served any more.
    pub(super) fn begin(&mut self, held: HeldPair) {
        self.next_number = self.next_number.max(held.number.saturating_add(1));
        self.sign_ins = self.sign_ins.max(held.sign_ins);
        // What was outrun in another session is nothing to fall back on in this one.
        self.spare
            .take_if(|spare| spare.pair_id.family != held.pair_id.family);
        // The token that may be spent is not needed any more; or it is echoed, and good again.
        self.over = None;
        self.held = Some(Box::new(held));
        self.end = None;
        self.logout_stage = None;
        self.rejections.renew();
        self.pause = Pause::default();
        self.warned = false;
        self.seed = None;
    }

    /// The pair that is held has another version in the record, where it was written over another: what is known of its
    /// tokens stays. Returns whether it is that pair.
    pub(super) fn rename(&mut self, held: &HeldPair) -> bool {
        let is_over = self.end.is_some() || self.logout_stage.is_some();
        let is_same = |old: &HeldPair| {
            old.pair_id.family == held.pair_id.family
                && (old.number, old.digest) == (held.number, held.digest)
                && old.pair.access == held.pair.access
        };
        match self.held.as_mut().filter(|old| !is_over && is_same(old)) {
            Some(old) => {
                old.pair_id = held.pair_id;
                old.sign_ins = old.sign_ins.max(held.sign_ins);
                old.served.clone_from(&held.served);
                old.pair.access.clone_from(&held.pair.access);
                true
            }
            None => false,
        }
    }

    /// A pair that the user brings, in place of whatever is being done about the session that was.
    pub(crate) fn begin_anew(&mut self, held: HeldPair) {
        self.begin(held);
        self.next_epoch();
    }

    /// The session begins anew, with a sign-in to come.
    pub(crate) fn reopen(&mut self) {
        // A rotation of a session that goes on is what is wanted.
        if self.logout_stage.is_some() || self.end.is_some() {
            self.next_epoch();
        }
        if self.logout_stage.is_some() {
            self.seed = None;
        }
        self.logout_stage = None;
        self.end = None;
        self.pause = Pause::default();
    }

    pub(crate) fn logout_stage(&self) -> Option<LogoutStage> {
        self.logout_stage
    }

    pub(crate) fn logouts(&self) -> u64 {
        self.logouts
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The user logs out: what is left of the session is handed over, with whether its end is news.
    pub(crate) fn log_out(&mut self) -> (HeldAtLogout, bool) {
        self.logouts += 1;
        self.next_epoch();
        self.logout_stage = Some(LogoutStage::Asked);
        let held = self
            .held
            .as_deref()
            .into_iter()
            .chain(self.spare.as_deref());
        let families: Vec<TokenFamily> = held.map(|held| held.pair_id.family).collect();
        families
            .into_iter()
            .for_each(|family| self.remember_left(family));
        let had = HeldAtLogout {
            held: self.held.take().map(|held| *held),
            spare: self.spare.take().map(|spare| *spare),
            // Until the logout is stored, so that another one knows it too.
            seed: self.seed.as_deref().cloned(),
        };
        (had, self.set_end(EndReason::LoggedOut))
    }

    /// Whether the user has logged out of this family here.
    pub(crate) fn has_left(&self, family: TokenFamily) -> bool {
        self.logged_out.contains(&family)
    }

    fn remember_left(&mut self, family: TokenFamily) {
        if !self.has_left(family) {
            let surplus = (self.logged_out.len() + 1).saturating_sub(LOGGED_OUT_LIMIT);
            self.logged_out.drain(..surplus);
            self.logged_out.push(family);
        }
    }

    /// The logout is stored.
    pub(crate) fn logout_stored(&mut self, family: TokenFamily) {
        self.remember_left(family);
        if self.logout_stage == Some(LogoutStage::Asked) {
            self.logout_stage = Some(LogoutStage::Written(family));
            self.seed = None;
        }
    }
}
