//! Storing and publishing a pair that was issued: `rotation/commit.rs` and `rotation/persist.rs`.

use crate::instance::{Leased, Phase, Unstored};
use crate::notes;
use crate::record::commit::{Commit, CommitDecision, Rival};
use crate::row::{Held, NOW, Row, digest, family, key, stored};
use crate::server::{Truths, revoke};
use crate::token::PairId;
use crate::turn::{Outcome, Swap, Turn};

impl Turn<'_> {
    /// `Rotation::commit`, up to the first attempt to store.
    pub(crate) fn commit(&mut self, leased: Leased, token: u8) {
        let unstored = Unstored {
            fresh: leased.fresh,
            ..unstored(&leased, leased.record, leased.token(), token)
        };
        self.go(Phase::Commit(unstored));
    }

    /// `commit_spare`, up to the first attempt to store.
    pub(crate) fn commit_spare(&mut self, leased: Leased, row: Row, spare: Held) {
        let refused = row.token.expect("a refused pair");
        let unstored = Unstored {
            spare: true,
            ..unstored(&leased, row, refused, spare.token)
        };
        self.go(Phase::Commit(unstored));
    }

    /// One attempt of `persist`, and `apply_outcome` or the next iteration of the loop in `store`.
    pub(crate) fn persist(&mut self, mut unstored: Unstored) {
        let commit = Commit {
            holder: unstored.name.holder(),
            base: PairId {
                family: family(unstored.base.0),
                version: unstored.base.1.into(),
            },
            predecessor: digest(unstored.predecessor),
            superseded: Vec::new(),
            family: family(unstored.held.family),
            sign_ins: unstored.held.sign_ins.into(),
            upstream: None,
            rival: Rival::Wins,
            pair: stored(unstored.held.token),
            seen: None,
        };
        let record = unstored.seen.map(|row| row.record());
        let decision = commit.judge(record.as_ref(), key(), NOW);
        let CommitDecision::Write(next) = decision else {
            // This step makes no call, so it cannot fail.
            if self.outcome != Outcome::Good {
                self.world.faults.store -= 1;
            }
            return self.apply_outcome(unstored, &decision);
        };
        let write = self.write(&next, unstored.fresh);
        match self.swap(write) {
            Swap::Swapped => self.committed(unstored, write.next.pair_id()),
            lost => {
                if lost == Swap::Error && self.config.serves_unstored && !unstored.published {
                    self.publish(unstored.held);
                    unstored.published = true;
                }
                unstored.seen = self.world.store;
                unstored.fresh = true;
                self.go(Phase::Commit(unstored));
            }
        }
    }

    fn apply_outcome(&mut self, unstored: Unstored, decision: &CommitDecision) {
        let ours = unstored.held.token;
        match decision {
            CommitDecision::Committed => {
                let row = unstored.seen.expect("the store holds a record");
                self.committed(unstored, row.pair_id());
            }
            CommitDecision::LoggedOut => {
                revoke(&mut self.world.truths, ours);
                if self.rotation().orphan {
                    return self.go(Phase::Reconciled);
                }
                self.me().end_logged_out();
                self.finish();
            }
            CommitDecision::Superseded => {
                notes::superseded(self.world, unstored.seen, unstored.held);
                revoke(&mut self.world.truths, ours);
                self.go(Phase::Reconciled);
            }
            CommitDecision::Passed => self.go(Phase::Reconciled),
            CommitDecision::Outrun => {
                if !self.rotation().orphan {
                    self.me().spare = Some(unstored.held);
                }
                self.go(Phase::Reconciled);
            }
            CommitDecision::Condemned if self.rotation().orphan => self.go(Phase::Reconciled),
            CommitDecision::Condemned => self.finish(),
            CommitDecision::Write(_) => {}
        }
    }

    /// `publish_committed`.
    fn committed(&mut self, unstored: Unstored, pair_id: (u8, u8)) {
        let (family, version) = pair_id;
        let held = Held {
            family,
            version,
            ..unstored.held
        };
        let current = self.me().held.map(Held::pair_id);
        let is_outdated =
            unstored.published && current.is_some_and(|it| it.0 == pair_id.0 && it.1 > pair_id.1);
        let is_new = !unstored.published || current != Some(pair_id);
        if is_new && !is_outdated && !self.publish(held) || unstored.spare {
            return self.go(Phase::Reconciled);
        }
        self.finish();
    }

    /// `Session::publish`.
    fn publish(&mut self, held: Held) -> bool {
        !self.rotation().orphan && self.hold(held)
    }
}

/// A pair that this lease brought, on top of this record.
fn unstored(leased: &Leased, row: Row, predecessor: u8, token: u8) -> Unstored {
    let held = Held {
        version: row.version + 1,
        number: leased.name.number,
        ..Held::of(&row, token)
    };
    Unstored {
        held,
        name: leased.name,
        base: row.pair_id(),
        predecessor,
        seen: Some(row),
        fresh: true,
        published: false,
        spare: false,
    }
}

/// Whether the pair of `token` can still be exchanged.
pub(crate) fn is_live(truths: &Truths, token: u8) -> bool {
    truths[usize::from(token)].life == crate::server::Life::Live
}
