//! How a new pair gets into a record, and how a session ends or begins anew.

use super::lease::Holder;
use super::past::REFRESHED_LIMIT;
use super::{Origin, Record, RecordState, StoredPair};
use crate::clock::StoreTime;
use crate::token::{Digest, Key, PairId, TokenFamily};

/// A pair that was read from the server and is to be stored.
#[derive(Debug, Clone)]
pub(crate) struct Commit {
    /// The lease it was fetched under.
    pub(crate) holder: Holder,
    /// What the record was when it was leased.
    pub(crate) base: PairId,
    /// The token that was exchanged for it.
    pub(crate) predecessor: Digest,
    /// Tokens that were exchanged before that one, and whose successors never got here.
    pub(crate) passed: Vec<Digest>,
    /// The family it belongs to: the base's, or a new one after a sign-in.
    pub(crate) family: TokenFamily,
    /// The count of sign-ins of that family.
    pub(crate) sign_ins: u64,
    pub(crate) rival: Rival,
    pub(crate) pair: StoredPair,
}

/// What becomes of a pair whose key has come to hold another sign-in's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rival {
    /// Theirs stays: the user signed in anew.
    Wins,
    /// Nobody coordinates sign-ins. Theirs stays as long as it is good.
    WinsWhileGood,
    /// The same, but ours is given out already: the later one stays.
    Loses,
}

/// What is to be done with it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum CommitDecision {
    /// This record is to be written.
    Write(Box<Record>),
    /// It is there already: a swap that seemed to fail had been applied.
    Committed,
    /// The user logged out meanwhile: ours is to be revoked.
    LoggedOut,
    /// Theirs is another session: ours is to be revoked, theirs adopted.
    Superseded,
    /// It is there no more: it had been committed, and was rotated on. Or so many pairs were committed after it that the record would not
    /// know of it any more.
    Passed,
    /// A later lease was committed first: theirs is adopted, ours kept until theirs has been accepted.
    Outrun,
    /// The token we got is itself known to be dead: a server that echoes it.
    Condemned,
}

/// What becomes of a pair that was given at start.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Seeding {
    /// The record knows its token: what was rotated from it counts, or that it is over.
    Known,
    /// The store says so, and the record that was read does not. It is to be read again: either its token has left the
    /// record, or another instance has just stored it.
    KnownToStore,
    /// This record is to be written: there was no session.
    Begins(Box<Record>),
    /// This record would be written over another session that goes on.
    Displaces(Box<Record>),
}

impl Commit {
    /// Judges what the store holds now.
    pub(crate) fn judge(
        &self,
        record: Option<&Record>,
        key: &Key,
        now: StoreTime,
    ) -> CommitDecision {
        let Some(record) = record else {
            let mut first =
                Record::first(key.clone(), self.family, self.pair.clone(), self.sign_ins);
            first.version = self.base.version.saturating_add(self.rotations(None));
            first.committed_number = self.holder.number;
            first.next_number = self.holder.number.saturating_add(1);
            return CommitDecision::Write(Box::new(first));
        };
        let ours = self.pair.pair.digest(key);
        let same_number = record.committed_number == self.holder.number;
        // First, because a logout may have followed on a commit that seemed to fail.
        if record.state == RecordState::LoggedOut {
            return CommitDecision::LoggedOut;
        }
        let began_here = self.family != self.base.family;
        if record.family == self.family && record.digest() == ours && (same_number || began_here) {
            return CommitDecision::Committed;
        }
        if record.family != self.base.family && record.family != self.family {
            let is_good = record.state == RecordState::Active
                && record.pair.is_some()
                && record.access_expires_at().is_none_or(|end| now < end);
            return match self.rival {
                // A store that was set back shows a session that was replaced.
                _ if record.sign_ins < self.sign_ins => {
                    CommitDecision::Write(Box::new(self.instead_of(record, ours)))
                }
                Rival::WinsWhileGood if !is_good => {
                    CommitDecision::Write(Box::new(self.instead_of(record, ours)))
                }
                Rival::Loses => CommitDecision::Write(Box::new(self.instead_of(record, ours))),
                Rival::Wins | Rival::WinsWhileGood => CommitDecision::Superseded,
            };
        }
        // Written over what was rotated from it, it would be sent though it is spent. A sign-in may bring the access token
        // of the one before it.
        let was_used = record.digest() != ours && record.retired().any(|past| *past == ours);
        if record.family == self.family && (was_used || self.is_long_ago(record)) {
            return CommitDecision::Passed;
        }
        // The same number can only be somebody else's where instances do not coordinate.
        if record.committed_number > self.holder.number || same_number {
            if !began_here || record.family == self.family {
                return CommitDecision::Outrun;
            }
            // Of two sessions the later sign-in counts, here as in a look.
            let is_later = record.sign_ins < self.sign_ins;
            return match is_later && record.state.refused() != Some(ours) {
                true => CommitDecision::Write(Box::new(self.instead_of(record, ours))),
                false => CommitDecision::Superseded,
            };
        }
        if record.state.refused() == Some(ours) {
            return CommitDecision::Condemned;
        }
        CommitDecision::Write(Box::new(self.onto(record, ours)))
    }

    /// Whether so many pairs were committed since that ours, if it was the one before them, has left the record. The server has
    /// accepted theirs ever since, so not much is lost where ours was never committed. The number of a lease does not say how many
    /// committed: each sending takes one.
    fn is_long_ago(&self, record: &Record) -> bool {
        let next = self.base.version.saturating_add(1);
        let rotations = record.version.saturating_sub(next);
        record.committed_number > self.holder.number && rotations > REFRESHED_LIMIT as u64
    }

    fn onto(&self, record: &Record, ours: Digest) -> Record {
        let mut next = record.clone();
        if record.digest() != ours {
            next.retire_current();
        }
        self.forbid_used(&mut next, ours);
        next.family = self.family;
        // Not "ours + 1": the store may have lost writes, and a version must follow the record's.
        next.version = record.version.saturating_add(self.rotations(Some(record)));
        next.pair = Some(self.pair.clone());
        next.state = RecordState::Active;
        next.not_before = None;
        next.sign_ins = next.sign_ins.max(self.sign_ins);
        next.committed_number = self.holder.number;
        next.next_number = next.next_number.max(self.holder.number.saturating_add(1));
        // A newer lease of somebody else stays: he has not found out yet.
        next.lease = next.lease.filter(|lease| !lease.is_of(self.holder));
        next
    }

    /// Ours in place of the pair of another sign-in.
    fn instead_of(&self, record: &Record, ours: Digest) -> Record {
        let mut next = record.replaced(self.family, Some(self.pair.clone()), 0);
        next.sign_ins = record.sign_ins.max(self.sign_ins);
        // A server may bring the same refresh token again.
        next.past.forget(&ours);
        self.forbid_used(&mut next, ours);
        next.version = record.version.saturating_add(self.rotations(Some(record)));
        next.committed_number = self.holder.number;
        next.next_number = next.next_number.max(self.holder.number.saturating_add(1));
        next
    }

    /// What was exchanged for it is used up, even if the record has moved on from that.
    fn forbid_used(&self, next: &mut Record, ours: Digest) {
        for used in self.passed.iter().chain([&self.predecessor]) {
            next.forbid(*used, ours);
        }
    }

    /// How many rotations it brings: those that were passed over count as well, unless the record has them.
    fn rotations(&self, record: Option<&Record>) -> u64 {
        let is_new =
            |used: &&Digest| record.is_none_or(|record| !record.retired().any(|it| it == *used));
        (self.passed.iter().filter(is_new).count() as u64).saturating_add(1)
    }
}

impl Record {
    /// The session is over; the lease goes with it. The pair stays: its access token is served to its
    /// end.
    #[must_use]
    pub(crate) fn ended(&self, state: RecordState) -> Self {
        Self {
            state,
            lease: None,
            not_before: None,
            ..self.clone()
        }
    }

    /// Without the pair, which was revoked after a logout.
    #[must_use]
    pub(crate) fn cleared(&self) -> Self {
        let mut next = self.clone();
        next.retire_current();
        next.pair = None;
        next
    }

    /// A first pair given at start. It counts only if the record never knew its token: after a
    /// restart the stored pair wins, or the seed would spend a used token.
    pub(crate) fn seeded(
        record: Option<&Self>,
        key: &Key,
        family: TokenFamily,
        pair: StoredPair,
        sign_ins: u64,
        now: StoreTime,
    ) -> Seeding {
        let Some(record) = record else {
            let first = Self::first(key.clone(), family, pair, sign_ins.saturating_add(1));
            return Seeding::Begins(Box::new(first));
        };
        if record.knows(&pair.pair.digest(key)) {
            return Seeding::Known;
        }
        let next = Box::new(record.replaced(family, Some(pair), sign_ins));
        if record.is_live(now) {
            Seeding::Displaces(next)
        } else {
            Seeding::Begins(next)
        }
    }

    /// Whether the session goes on, as far as anybody knows: it has not ended, and one of its tokens may be good.
    fn is_live(&self, now: StoreTime) -> bool {
        let Some(stored) = self
            .pair
            .as_ref()
            .filter(|_| self.state == RecordState::Active)
        else {
            return false;
        };
        let is_good = |end: Option<StoreTime>| end.is_none_or(|end| now < end);
        stored.pair.access.is_some() && is_good(self.access_expires_at())
            || stored.pair.refresh.is_some() && is_good(self.refresh_expires_at())
    }

    /// The user signed in anew: another family, with the key's numbers. Without a pair, the next
    /// rotation signs in. `sign_ins` is the highest count that the caller has seen.
    #[must_use]
    pub(crate) fn replaced(
        &self,
        family: TokenFamily,
        pair: Option<StoredPair>,
        sign_ins: u64,
    ) -> Self {
        let mut next = self.clone();
        next.retire_current();
        next.family = family;
        next.version = next.version.saturating_add(1);
        next.pair = pair;
        next.state = RecordState::Active;
        next.sign_ins = next.sign_ins.max(sign_ins).saturating_add(1);
        next.lease = None;
        next.not_before = None;
        next
    }

    /// Notes a digest as used, unless it is `current` or noted already.
    fn forbid(&mut self, digest: Digest, current: Digest) {
        if digest != current && digest != self.key.digest() && !self.past.knows(&digest) {
            self.past.note(digest, Origin::Endpoint, None);
        }
    }
}

#[cfg(test)]
mod tests;
