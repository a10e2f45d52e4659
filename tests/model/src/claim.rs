//! Claiming a token: `rotation/claim.rs`.

use crate::instance::{Claimed, Phase, Write};
use crate::record::claim::{Permit, Standing};
use crate::record::{Record, State};
use crate::row::{Mark, NOW, Row, TICK, claimant, digest, holder, ticks};
use crate::symmetry::LIVES;
use crate::world::{Swap, Turn};

impl Turn<'_> {
    /// `Rotation::claim`, up to its call of the store.
    pub(crate) fn claim(&mut self, row: &Row) {
        let record = row.record();
        let me = self.owner();
        let unsent: Vec<_> = self
            .me()
            .unsent()
            .into_iter()
            .map(|number| holder(me, number))
            .collect();
        let quarantine = TICK * self.config.quarantine.into();
        let standing = record.standing(&unsent, NOW, quarantine);
        let is_ours = standing == Standing::Ours;
        let next = match (standing, row.claim.as_ref(), record.claim.as_ref()) {
            (Standing::Live { stale_in }, Some(mark), _) => {
                if !self.is_given_up(mark) {
                    return self.go(Phase::Wait {
                        fresh: true,
                        left: ticks(stale_in),
                    });
                }
                self.take_over(&record)
            }
            (Standing::Stale, ..) => self.take_over(&record),
            (Standing::Ours, _, Some(claim))
                if claim
                    .replay_left(&self.config.profile(), NOW)
                    .is_some_and(|left| left.is_zero()) =>
            {
                self.take_over(&record)
            }
            (Standing::Ours, ..) => Some(record.retaken(claimant(me), NOW)),
            _ => {
                let token = row.token.expect("a pair is claimed");
                Some(record.claimed(claimant(me), digest(token), NOW))
            }
        };
        if let Some(next) = next {
            self.write_claim(&next, is_ours);
        }
    }

    /// `is_given_up`, where the store's clock is everybody's.
    pub(crate) fn is_given_up(&self, mark: &Mark) -> bool {
        let instance = &self.world.instances[usize::from(mark.owner / LIVES)];
        self.config.death_shows && instance.life != Some(mark.owner % LIVES)
    }

    /// `take_over`; `None` if that was to end the session, or to wait.
    fn take_over(&mut self, record: &Record) -> Option<Record> {
        let claim = record.claim.as_ref()?;
        let quarantine = TICK * self.config.quarantine.into();
        match claim.permits(&self.config.profile(), false, quarantine, NOW) {
            Permit::Send(again) => {
                let me = claimant(self.owner());
                Some(record.taken_over(me, again, NOW))
            }
            Permit::Wait(left) => {
                self.go(Phase::Wait {
                    fresh: true,
                    left: ticks(left),
                });
                None
            }
            Permit::SignIn | Permit::Nothing => {
                self.end_unknown(record);
                None
            }
        }
    }

    pub(crate) fn end_unknown(&mut self, record: &Record) {
        let digest = record.digest();
        let write = self.write(&record.ended(State::OutcomeUnknown { digest }), true);
        self.go(Phase::Bring(write));
    }

    /// `write_claim`, up to its swap.
    pub(crate) fn write_claim(&mut self, next: &Record, continues: bool) {
        let write = self.write(next, true);
        let number = write.next.claim.expect("a claim is written").number;
        let age = match self.rotation().attempt {
            Some((attempted, age)) if continues || attempted == number => age,
            _ => 0,
        };
        self.rotation().attempt = Some((number, age));
        let is_first = self.me().unsent & (1 << number) == 0;
        self.me().unsent |= 1 << number;
        self.go(Phase::Claim {
            write,
            age,
            is_first,
        });
    }

    /// The swap of `write_claim`.
    pub(crate) fn claimed(&mut self, write: Write, age: u8, is_first: bool) {
        let number = write.next.claim.expect("a claim is written").number;
        match self.swap(write) {
            Swap::Swapped => self.go(Phase::Send(Claimed {
                record: write.next,
                fresh: true,
                number,
                age,
            })),
            Swap::Lost => {
                if is_first {
                    self.me().unsent &= !(1 << number);
                }
                self.go(Phase::Look);
            }
            Swap::Error => {
                self.me().unsent |= 1 << number;
                self.finish();
            }
        }
    }
}
