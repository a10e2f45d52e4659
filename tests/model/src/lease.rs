//! Leasing a token: `rotation/lease.rs`.

use std::time::Duration;

use crate::instance::{Leased, Phase, Write};
use crate::record::lease::{Holder, LeaseStatus, Own, Permit};
use crate::record::{Record, RecordState};
use crate::row::{Mark, NOW, Name, Row, TICK, candidate, digest, ticks};
use crate::symmetry::LIVES;
use crate::turn::{Swap, Turn};

impl Turn<'_> {
    pub(crate) fn lease_duration(&self) -> Duration {
        TICK * self.config.lease_durations[self.instance].into()
    }

    pub(crate) fn window(&self) -> u8 {
        self.config.send_windows[self.instance]
    }

    /// `Rotation::lease`, up to its call of the store.
    pub(crate) fn lease(&mut self, row: &Row) {
        let forbidden = self.forbidden(row);
        if forbidden > 0 {
            return self.wait_for_pause_end(forbidden);
        }
        let record = row.record();
        let status = self.lease_status(row);
        let next = match (status, row.lease.as_ref()) {
            (LeaseStatus::Live { stale_in }, Some(mark)) => {
                if !self.is_abandoned(mark) {
                    return self.go(Phase::Wait {
                        fresh: true,
                        left: ticks(stale_in),
                    });
                }
                self.take_over(&record)
            }
            (LeaseStatus::Stale | LeaseStatus::Unclear, _) => self.take_over(&record),
            (LeaseStatus::Unsent, _) => {
                let by = candidate(self.draw(), self.lease_duration());
                Some(record.retaken(by, NOW))
            }
            _ => {
                let token = row.token.expect("a pair is leased");
                let by = candidate(self.draw(), self.lease_duration());
                Some(record.leased(by, digest(token), NOW))
            }
        };
        if let Some(next) = next {
            self.write_lease(&next, status == LeaseStatus::Unsent);
        }
    }

    /// `Record::lease_status`, by what this instance remembers of its own leases.
    fn lease_status(&mut self, row: &Row) -> LeaseStatus {
        let lease_duration = self.lease_duration();
        let me = self.me();
        let unsent: Vec<Holder> = match me.slept {
            true => Vec::new(),
            false => me.unsent.iter().map(|lease| lease.holder()).collect(),
        };
        let own = Own {
            unsent: &unsent,
            unclear: me.unclear.map(|unclear| unclear.name.holder()),
        };
        row.record().lease_status(own, NOW, lease_duration)
    }

    /// `is_abandoned`, when all instances use the store's clock.
    pub(crate) fn is_abandoned(&self, mark: &Mark) -> bool {
        let owner = mark.name.owner;
        let instance = &self.world.instances[usize::from(owner / LIVES)];
        let is_dead = instance.life.is_none() || self.world.dead & (1 << owner) != 0;
        self.config.death_shows && is_dead
    }

    /// `take_over`; `None` if the take-over ended the session.
    fn take_over(&mut self, record: &Record) -> Option<Record> {
        // The instance's own lease, whose doubt note could not be stored.
        let mut noted = record.clone();
        if let (Some(lease), Some(unclear)) = (&mut noted.lease, self.me().unclear)
            && lease.is_of(unclear.name.holder())
            && (lease.by.is_none() || lease.before != lease.by)
        {
            lease.doubt(unclear.by.real());
        }
        let record = &noted;
        match self.permit(record) {
            Permit::Send => {
                let by = candidate(self.draw(), self.lease_duration());
                Some(record.resent(by, NOW))
            }
            Permit::SignIn | Permit::Nothing => {
                self.end_unknown(record);
                None
            }
        }
    }

    pub(crate) fn permit(&self, record: &Record) -> Permit {
        let lease = record.lease.as_ref().expect("the pair is leased");
        lease.permits(self.config.resend, false)
    }

    /// `end_unknown`, and `serve_until_expiry` without a held access token.
    fn end_unknown(&mut self, record: &Record) {
        let digest = record.digest();
        let write = self.write(&record.ended(RecordState::OutcomeUnknown { digest }), true);
        self.go(Phase::Bring(write));
    }

    /// `write_lease`, up to its swap.
    fn write_lease(&mut self, next: &Record, continues: bool) {
        let write = self.write(next, true);
        let name = Name::of(&write.next);
        let age = match self.rotation().attempt {
            Some((attempted, age)) if continues || attempted == name.number => age,
            _ => 0,
        };
        self.rotation().attempt = Some((name.number, age));
        self.me().attempted(name);
        self.go(Phase::Lease { write, age });
    }

    /// The swap of `write_lease`.
    pub(crate) fn leased(&mut self, write: Write, age: u8) {
        let name = Name::of(&write.next);
        match self.swap(write) {
            Swap::Swapped => self.go(Phase::Send(Leased {
                record: write.next,
                fresh: true,
                name,
                age,
            })),
            Swap::Lost => {
                self.me().forget_lease(name);
                self.go(Phase::Reconciled);
            }
            Swap::Error => self.failed(),
        }
    }
}
