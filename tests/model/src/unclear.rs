//! Answers that do not show whether the token is spent: `rotation/unclear.rs`.

use crate::instance::{Leased, Phase, UnclearRequest, Write};
use crate::record::lease::{Permit, permits};
use crate::row::{By, NOW, Name, not_before};
use crate::turn::{Swap, Turn};

impl Turn<'_> {
    /// `unclear`, up to its swap.
    pub(crate) fn unclear(&mut self, by: By) {
        let Phase::Sent(leased, _) = self.rotation().phase else {
            return;
        };
        self.me().unclear = Some(UnclearRequest {
            name: leased.name,
            by,
        });
        let has_no_pause = permits(Some(by.real()), self.config.resend, false) != Permit::Send;
        let pause = not_before(match has_no_pause {
            true => 0,
            false => self.fail(),
        });
        let record = leased.record.record();
        let holder = leased.name.holder();
        let doubted = record.doubted(holder, by.real(), pause, self.lease_duration(), NOW);
        let write = self.write(&doubted, leased.fresh);
        self.go(Phase::Doubt(leased, write));
    }

    /// `unclear` after silence, in a copy of the instance, whose connection is broken. The copy has slept since the
    /// sending, so the request may go on elsewhere, and the copy treats the lease as one of another instance.
    pub(crate) fn slept(&mut self) {
        self.fail();
        self.go(Phase::Reconciled);
    }

    /// The swap of `unclear`, and `apply_permit` up to its own.
    pub(crate) fn doubted(&mut self, leased: Leased, write: Write) {
        match self.swap(write) {
            Swap::Swapped => {
                let record = write.next.record();
                if self.permit(&record) == Permit::Nothing {
                    let released = record.released(leased.name.holder(), None);
                    let released = released.expect("the doubt was just written");
                    let write = self.write(&released, true);
                    return self.go(Phase::Yield(leased.name, write));
                }
            }
            Swap::Lost => self.me().forget_lease(leased.name),
            Swap::Error => {}
        }
        self.go(Phase::Reconciled);
    }

    /// The swap of `apply_permit`.
    pub(crate) fn yielded(&mut self, lease: Name, write: Write) {
        if self.swap(write) == Swap::Error {
            return self.failed();
        }
        self.me().forget_lease(lease);
        self.go(Phase::Reconciled);
    }

    /// `release_unclear`, up to its swap.
    pub(crate) fn release_unclear(&mut self) {
        let unclear = self.me().unclear;
        let (Some(unclear), false) = (unclear, self.load_fails()) else {
            return self.gone();
        };
        let lease = unclear.name;
        let released = self.world.store.and_then(|row| {
            let mut record = row.record();
            let ours = record.lease.as_mut().filter(|it| it.is_of(lease.holder()));
            // The doubt note could not be stored, and the token may be spent nevertheless.
            if let Some(ours) = ours {
                ours.doubt(unclear.by.real());
            }
            record.released(lease.holder(), None)
        });
        match released {
            Some(released) => {
                let write = self.write(&released, true);
                self.go(Phase::ReleaseUnclearSwap(lease, write));
            }
            None => {
                self.me().forget_lease(lease);
                self.gone();
            }
        }
    }

    /// The swap of `release_unclear`.
    pub(crate) fn release_unclear_swap(&mut self, lease: Name, write: Write) {
        if self.swap(write) == Swap::Swapped {
            self.me().forget_lease(lease);
        }
        self.gone();
    }
}
