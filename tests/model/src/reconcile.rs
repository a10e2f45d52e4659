//! Comparing the instance's pair with the stored record: `Rotation::reconcile`, `judge` and `enforce_logout`.

use crate::instance::{LogoutStage, Phase, Write};
use crate::record::reconcile::{Reconciled, reconcile};
use crate::record::{Record, RecordState};
use crate::row::{Held, Row, Status, key, stored};
use crate::server::revoke;
use crate::turn::{Swap, Turn};

impl Turn<'_> {
    /// One iteration of the loop in `Rotation::run`, up to the next call.
    pub(crate) fn reconcile(&mut self) {
        if self.load_fails() {
            return self.failed();
        }
        let row = self.world.store;
        if self.keeps_out(row) {
            return;
        }
        if self.rotation().orphan {
            return self.finish();
        }
        let held = self.me().held;
        let record = row.map(|row| row.record());
        match reconcile(record.as_ref(), held.map(Held::summary)) {
            Reconciled::Vacant => self.finish(),
            Reconciled::LoggedOut => self.clean_up(row.as_ref()),
            Reconciled::Forward => {
                let Some(held) = held else { return };
                let number = self.me().next_number.into();
                let pair = stored(held.token);
                let next = Record::forwarded(record.as_ref(), key(), held.summary(), pair, number);
                let write = self.write(&next, true);
                self.go(Phase::Bring(write));
            }
            Reconciled::Adopt => {
                let Some(row) = row else { return };
                if !self.adopt(&row) {
                    return self.go(Phase::Reconciled);
                }
                self.judge(&row);
            }
            Reconciled::Current => {
                let Some(row) = row else { return };
                self.me().saw(&row);
                self.judge(&row);
            }
        }
    }

    /// `Session::adopt`.
    fn adopt(&mut self, row: &Row) -> bool {
        let Some(token) = row.token else { return true };
        self.me().saw(row);
        self.hold(Held::of(row, token))
    }

    /// `Rotation::judge`. The model has no access tokens: a caller that asks for a newer pair has none.
    fn judge(&mut self, row: &Row) {
        if row.state != Status::Active || row.token.is_none() {
            return self.finish();
        }
        let pair_id = self.me().held.map(Held::pair_id);
        let rotation = self.rotation();
        if rotation.fresh_start {
            rotation.fresh_start = false;
            rotation.seen = pair_id;
        }
        if pair_id != rotation.seen {
            return self.finish();
        }
        self.lease(row);
    }

    /// `logout::enforce_logout`: a session that this instance has logged out does not come back. Returns whether it
    /// chose the next step.
    fn keeps_out(&mut self, row: Option<Row>) -> bool {
        let stage = self.me().logout_stage;
        let Some(row) = row.filter(|_| stage != Some(LogoutStage::Asked)) else {
            if stage.is_some() {
                self.finish();
            }
            return stage.is_some();
        };
        let me = self.me();
        // A session that the user has begun since the logout is written over this record.
        let is_past = me.held.is_some_and(|held| held.sign_ins > row.sign_ins);
        let is_logged_out = me.out & (1 << row.family) != 0 && !is_past;
        if !is_logged_out || row.state == Status::LoggedOut {
            return false;
        }
        let write = self.write(&row.record().ended(RecordState::LoggedOut), true);
        self.go(Phase::Bring(write));
        true
    }

    /// `logout::clean_up`; the waiters get their answer afterwards.
    fn clean_up(&mut self, row: Option<&Row>) {
        let me = self.me();
        let ours = [me.held.take(), me.spare.take()];
        me.end_logged_out();
        let theirs = row.and_then(|row| row.token);
        for held in ours.into_iter().flatten() {
            if Some(held.token) != theirs {
                revoke(&mut self.world.truths, held.token);
            }
        }
        let (Some(row), Some(token)) = (row, theirs) else {
            return self.finish();
        };
        revoke(&mut self.world.truths, token);
        let write = self.write(&row.record().cleared(), true);
        self.go(Phase::Clear(write));
    }

    /// A swap of any instance, after which the instance loads the store again.
    pub(crate) fn bring(&mut self, write: Write) {
        match self.swap(write) {
            Swap::Swapped | Swap::Lost => self.go(Phase::Reconciled),
            Swap::Error => self.failed(),
        }
    }
}
