//! Sending a token, and answers that are no pair: `rotation/spend.rs`.

use crate::instance::{Claimed, Phase, Then, Write};
use crate::property;
use crate::record::State;
use crate::record::claim::{Again, Permit, Standing};
use crate::row::{NOW, Row, Status, TICK, claimant, digest, holder, ticks};
use crate::server::Answer;
use crate::world::{Swap, Turn};

impl Turn<'_> {
    fn holder(&mut self, claimed: &Claimed) -> crate::record::claim::Holder {
        holder(self.owner(), claimed.number)
    }

    /// `send`: the token goes out, or the window has passed.
    pub(crate) fn send(&mut self, claimed: Claimed) {
        let record = claimed.record.record();
        let claim = record.claim.as_ref().expect("it was written");
        let replay_left = claim.replay_left(&self.config.profile(), NOW);
        let is_open =
            claimed.age < self.config.send_window && replay_left.is_none_or(|left| !left.is_zero());
        if !is_open || self.rotation().orphan {
            return self.go(Phase::Release {
                claimed,
                tried: false,
                then: Then::Look,
            });
        }
        self.me().unsent = 0;
        property::sent(self.world, self.config, claimed.token(), claimed.claim());
        self.go(Phase::Sent(claimed, None));
    }

    pub(crate) fn not_sent(&mut self) {
        if let Phase::Sent(claimed, None) = self.rotation().phase {
            property::not_sent(self.world, claimed.token(), claimed.claim());
            self.go(Phase::Release {
                claimed,
                tried: false,
                then: Then::Fail,
            });
        }
    }

    /// `again`, up to its swap: nobody knows what became of the token.
    pub(crate) fn unread(&mut self) {
        let Phase::Sent(claimed, answer) = self.rotation().phase else {
            return;
        };
        if let Some(Answer::Issued(_)) = answer {
            property::lost(self.world);
        }
        let holder = self.holder(&claimed);
        let doubted = claimed.record.record().doubted(holder);
        let write = self.write(&doubted, claimed.fresh);
        self.go(Phase::Doubt(claimed, write));
    }

    /// The rest of `again`.
    pub(crate) fn doubted(&mut self, _: Claimed, write: Write) {
        if self.swap(write) != Swap::Swapped {
            return self.go(Phase::Look);
        }
        let record = write.next.record();
        let Some(claim) = &record.claim else {
            return self.go(Phase::Look);
        };
        let quarantine = TICK * self.config.quarantine.into();
        match claim.permits(&self.config.profile(), false, quarantine, NOW) {
            Permit::Send(Again::Replay) => {
                let next = record.taken_over(claimant(self.owner()), Again::Replay, NOW);
                self.write_claim(&next, false);
            }
            Permit::SignIn | Permit::Nothing => self.end_unknown(&record),
            Permit::Send(Again::LastResort) | Permit::Wait(_) => self.go(Phase::Look),
        }
    }

    /// `refused`, from its load on.
    pub(crate) fn refused(&mut self, claimed: Claimed) {
        if self.load_fails() {
            return self.finish();
        }
        let ours = claimed.token();
        let Some(row) = self.world.store else {
            return self.go(Phase::Look);
        };
        if row.token != Some(ours) || row.state != Status::Active {
            return self.go(Phase::Look);
        }
        let record = row.record();
        let (me, number) = (self.owner(), claimed.number);
        let theirs = row
            .claim
            .filter(|mark| (mark.owner, mark.number) != (me, number) && mark.token == ours);
        if let Some(mark) = theirs
            && let Standing::Live { stale_in } =
                record.standing(&[], NOW, TICK * self.config.quarantine.into())
            && !self.is_given_up(&mark)
        {
            return self.go(Phase::RefusedWait {
                claimed,
                fresh: true,
                left: ticks(stale_in),
            });
        }
        // One of another lineage is dropped.
        let spare = if self.rotation().orphan {
            None
        } else {
            self.me().spare.take()
        };
        let spare = spare.filter(|spare| {
            spare.lineage == row.lineage && !record.knows(&crate::row::digest(spare.token))
        });
        if let Some(spare) = spare {
            return self.land_spare(claimed, row, spare);
        }
        let digest = digest(ours);
        let write = self.write(&record.ended(State::Rejected { digest }), true);
        self.go(Phase::Reject(claimed, write));
    }

    /// The swap of `refused`.
    pub(crate) fn reject(&mut self, claimed: Claimed, write: Write) {
        match self.swap(write) {
            Swap::Lost => self.go(Phase::Refused(claimed)),
            Swap::Swapped if self.rotation().orphan => self.go(Phase::Look),
            Swap::Swapped | Swap::Error => self.finish(),
        }
    }

    /// One attempt of `release`.
    pub(crate) fn release(&mut self, mut claimed: Claimed, tried: bool, then: Then) {
        let number = claimed.number;
        let holder = self.holder(&claimed);
        let record = claimed.record.record();
        let Some(next) = record.released(holder) else {
            self.me().unsent &= !(1 << number);
            return self.after_release(then);
        };
        let write = self.write(&next, claimed.fresh);
        match self.swap(write) {
            Swap::Swapped => {
                self.me().unsent &= !(1 << number);
                self.after_release(then);
            }
            Swap::Lost => match self.world.store {
                Some(newer) => {
                    claimed.record = Row { ..newer };
                    claimed.fresh = true;
                    self.go(Phase::Release {
                        claimed,
                        tried,
                        then,
                    });
                }
                None => self.after_release(then),
            },
            Swap::Error if !tried => self.go(Phase::Release {
                claimed,
                tried: true,
                then,
            }),
            Swap::Error => {
                self.me().unsent |= 1 << number;
                self.after_release(then);
            }
        }
    }

    fn after_release(&mut self, then: Then) {
        match then {
            Then::Look => self.go(Phase::Look),
            Then::Fail => self.finish(),
        }
    }
}
