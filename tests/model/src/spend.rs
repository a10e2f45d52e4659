//! Sending a token, answers without a pair, and the pause after a failed attempt: `rotation/spend.rs`,
//! `rotation/failure.rs`, and the loop of `Rotation::run`.

use crate::instance::{Leased, Phase, Write};
use crate::notes;
use crate::record::RecordState;
use crate::record::lease::{LeaseStatus, Own};
use crate::row::{NOW, Row, Status, digest, not_before, ticks};
use crate::turn::{Swap, Turn};

impl Turn<'_> {
    /// `send`: the instance sends the token, or the send window has passed.
    pub(crate) fn send(&mut self, leased: Leased) {
        if leased.age >= self.window() || self.rotation().orphan {
            return self.go(Phase::Release {
                leased,
                tried: false,
                failed: false,
            });
        }
        self.me().sending();
        notes::sent(self.world, self.config, self.instance, &leased);
        self.go(Phase::Sent(leased, None));
    }

    /// The request did not reach the server, or the server reports that it has not spent the token.
    pub(crate) fn not_sent(&mut self) {
        if let Phase::Sent(leased, None) = self.rotation().phase {
            notes::not_sent(self.world, leased.token(), leased.lease());
            self.fail();
            self.go(Phase::Release {
                leased,
                tried: false,
                failed: true,
            });
        }
    }

    /// `refused`, from its load on.
    pub(crate) fn refused(&mut self, leased: Leased) {
        if self.load_fails() {
            return self.refusal_unstored(leased);
        }
        let ours = leased.token();
        let Some(row) = self.world.store else {
            return self.go(Phase::Reconciled);
        };
        if row.token != Some(ours) || row.state != Status::Active {
            return self.go(Phase::Reconciled);
        }
        let record = row.record();
        let theirs = row
            .lease
            .filter(|mark| mark.name != leased.name && mark.token == ours);
        if let Some(mark) = theirs
            && let LeaseStatus::Live { stale_in } =
                record.lease_status(Own::default(), NOW, self.lease_duration())
            && !self.is_abandoned(&mark)
        {
            return self.go(Phase::RefusedWait {
                leased,
                fresh: true,
                left: ticks(stale_in),
            });
        }
        // A spare of another family is dropped.
        let spare = if self.rotation().orphan {
            None
        } else {
            self.me().spare.take()
        };
        let spare = spare.filter(|spare| {
            spare.family == row.family && !record.knows(&crate::row::digest(spare.token))
        });
        if let Some(spare) = spare {
            return self.commit_spare(leased, row, spare);
        }
        let ended = record.ended(RecordState::Rejected {
            digest: digest(ours),
            code: None,
            description: None,
        });
        let write = self.write(&ended, true);
        self.go(Phase::Reject(leased, write));
    }

    /// The swap of `refused`.
    pub(crate) fn reject(&mut self, leased: Leased, write: Write) {
        match self.swap(write) {
            Swap::Lost => self.go(Phase::Refused(leased)),
            Swap::Swapped if self.rotation().orphan => self.go(Phase::Reconciled),
            Swap::Swapped => self.finish(),
            Swap::Error => self.refusal_unstored(leased),
        }
    }

    /// The instance keeps the verdict until it is stored, as long as a caller waits.
    fn refusal_unstored(&mut self, leased: Leased) {
        self.fail();
        if self.me().waits() {
            self.go(Phase::Refused(leased));
        } else {
            self.finish();
        }
    }

    /// One attempt of `release`.
    pub(crate) fn release(&mut self, mut leased: Leased, tried: bool, failed: bool) {
        let (name, holder) = (leased.name, leased.name.holder());
        let length = match self.rotation().orphan {
            true => 0,
            false => self.config.pause,
        };
        let pause = failed.then(|| not_before(length));
        let record = leased.record.record();
        let Some(next) = record.released(holder, pause) else {
            self.me().forget_lease(name);
            return self.go(Phase::Reconciled);
        };
        let write = self.write(&next, leased.fresh);
        match self.swap(write) {
            Swap::Swapped => {
                self.me().forget_lease(name);
                self.go(Phase::Reconciled);
            }
            Swap::Lost => match self.world.store {
                Some(newer) => {
                    leased.record = Row { ..newer };
                    leased.fresh = true;
                    self.go(Phase::Release {
                        leased,
                        tried,
                        failed,
                    });
                }
                None => self.go(Phase::Reconciled),
            },
            Swap::Error if !tried => self.go(Phase::Release {
                leased,
                tried: true,
                failed,
            }),
            Swap::Error => {
                self.me().attempted(name);
                self.go(Phase::Reconciled);
            }
        }
    }

    /// `Rotation::fail`. Returns for how many ticks the instance sends nothing. A rotation without a waiter does not
    /// count a failure.
    pub(crate) fn fail(&mut self) -> u8 {
        if self.rotation().orphan {
            return 0;
        }
        let pause = self.config.pause;
        self.me().pause = pause;
        pause
    }

    /// `forbids`. Returns for how many ticks the instance must send nothing, by its own memory and the record.
    pub(crate) fn forbidden(&mut self, row: &Row) -> u8 {
        let me = self.me();
        me.pause = me.pause.max(row.pause);
        me.pause
    }

    /// `wait_for_pause_end`.
    pub(crate) fn wait_for_pause_end(&mut self, left: u8) {
        self.go(Phase::Pause { fresh: true, left });
    }

    /// A call of the store has failed. The instance repeats the call after a pause.
    pub(crate) fn failed(&mut self) {
        let pause = self.fail();
        if self.rotation().orphan {
            self.finish();
        } else if pause > 0 {
            self.wait_for_pause_end(pause);
        } else {
            self.go(Phase::Reconciled);
        }
    }
}
