//! Decides how a new pair gets into a record, and how a session ends or begins again.
//!
//! A decision here never replaces a pair that may be newer, and never makes a token current that the record knows as
//! used: such a token would be sent although it is spent.

use super::browser::Seen;
use super::lease::Holder;
use super::marks::Marks;
use super::past::REFRESHED_LIMIT;
use super::{Origin, Record, RecordState, StoredPair};
use crate::clock::StoreTime;
use crate::token::{Digest, Key, PairId, TokenFamily};

/// A pair that was read from the server and is to be stored.
#[derive(Debug, Clone)]
pub(crate) struct Commit {
    /// The holder of the lease under which the pair was requested.
    pub(crate) holder: Holder,
    /// The pair id of the record when it was leased.
    pub(crate) base: PairId,
    /// The token that was exchanged for the pair.
    pub(crate) predecessor: Digest,
    /// Tokens that were exchanged before the predecessor, and whose pairs were never stored.
    pub(crate) superseded: Vec<Digest>,
    /// The family of the pair: the family of `base`, or a new one after a sign-in.
    pub(crate) family: TokenFamily,
    /// The count of sign-ins of that family.
    pub(crate) sign_ins: u64,
    /// What the sign-in of that family said of the provider's session.
    pub(crate) upstream: Option<Marks>,
    pub(crate) rival: Rival,
    pub(crate) pair: StoredPair,
    /// What this instance knows of the browser.
    pub(crate) seen: Option<Seen>,
}

/// What becomes of a pair if the record has come to hold the pair of another sign-in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rival {
    /// The stored pair stays, because the user signed in again.
    Wins,
    /// Instances do not coordinate their sign-ins. The stored pair stays as long as it is good.
    WinsWhileGood,
    /// Instances do not coordinate their sign-ins, and callers already have the new pair: the new pair stays.
    Loses,
}

/// What is to be done with a pair that is to be stored.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum CommitDecision {
    /// This record is to be written.
    Write(Box<Record>),
    /// The record already holds the pair: a swap that seemed to fail had been applied.
    Committed,
    /// The user logged out meanwhile. The new pair is to be revoked.
    LoggedOut,
    /// The record holds another session. The new pair is to be revoked, the stored one adopted.
    Superseded,
    /// The pair was committed before, and has been rotated since. The decision is the same if so many pairs were
    /// committed since that the record would no longer know this one.
    Passed,
    /// A pair of a later lease was committed first. The stored pair is adopted, and the new one is kept as a spare
    /// until the server has accepted the stored one.
    Outrun,
    /// The server returned a token that it had already rejected.
    Condemned,
}

/// What becomes of a seed, which is a pair that was given at start.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Seeding {
    /// The record knows the seed's token, so the record's own pair or end counts.
    Known,
    /// The store knows the seed's token, but the record that was read does not. The record is to be loaded again:
    /// either the token has left the record, or another instance has just stored it.
    KnownToStore,
    /// This record is to be written, because there was no session.
    Begins(Box<Record>),
    /// This record would be written over another session that is still active.
    Displaces(Box<Record>),
}

impl Commit {
    /// Decides what is to be done, given the `record` that the store holds now.
    pub(crate) fn judge(
        &self,
        record: Option<&Record>,
        key: &Key,
        now: StoreTime,
    ) -> CommitDecision {
        let Some(record) = record else {
            let family = self.family;
            let first = Record::first(key.clone(), family, self.pair.clone(), self.sign_ins);
            return CommitDecision::Write(Box::new(self.numbered(first, self.base.version, None)));
        };
        let ours = self.pair.pair.digest(key);
        let replacing = || CommitDecision::Write(Box::new(self.instead_of(record, ours)));
        let is_refused =
            matches!(record.state, RecordState::Rejected { digest, .. } if digest == ours);
        let same_number = record.committed_number == self.holder.number;
        // This check comes first, because a logout may have followed a commit that seemed to fail.
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
                _ if record.sign_ins < self.sign_ins => replacing(),
                Rival::WinsWhileGood if !is_good => replacing(),
                Rival::Loses => replacing(),
                Rival::Wins | Rival::WinsWhileGood => CommitDecision::Superseded,
            };
        }
        // Written over the pair that was rotated from it, this pair would be sent although it is spent. The family is
        // compared because a sign-in may bring the access token of the session before it.
        let was_used = record.digest() != ours && record.retired().any(|past| *past == ours);
        if record.family == self.family && (was_used || self.is_long_ago(record)) {
            return CommitDecision::Passed;
        }
        // Another instance can have the same number only if instances do not coordinate.
        if record.committed_number > self.holder.number || same_number {
            if !began_here || record.family == self.family {
                return CommitDecision::Outrun;
            }
            // Of two sessions the later sign-in counts, as in `reconcile`.
            let is_later = record.sign_ins < self.sign_ins;
            return match is_later && !is_refused {
                true => replacing(),
                false => CommitDecision::Superseded,
            };
        }
        if is_refused {
            return CommitDecision::Condemned;
        }
        CommitDecision::Write(Box::new(self.onto(record, ours)))
    }

    /// Whether so many pairs were committed since that this pair, had it been committed before them, has left the
    /// record. If it never was, little is lost: the server has accepted the stored pairs ever since. The number of a
    /// lease does not show how many pairs were committed, because each sending takes a number.
    fn is_long_ago(&self, record: &Record) -> bool {
        let next = self.base.version.saturating_add(1);
        let rotations = record.version.saturating_sub(next);
        record.committed_number > self.holder.number && rotations > REFRESHED_LIMIT as u64
    }

    fn onto(&self, record: &Record, ours: Digest) -> Record {
        let mut next = record.clone();
        // The note of it may not be stored yet.
        if let (Some(browser), Some(seen)) = (&mut next.browser, self.seen)
            && record.family == self.family
        {
            browser.learn(seen);
        }
        if record.digest() != ours {
            next.retire_current();
        }
        self.forbid_used(&mut next, ours);
        next.family = self.family;
        next.pair = Some(self.pair.clone());
        next.state = RecordState::Active;
        next.not_before = None;
        next.sign_ins = next.sign_ins.max(self.sign_ins);
        // A newer lease of another instance stays, because that instance does not know of this pair yet.
        next.lease = next.lease.filter(|lease| !lease.is_of(self.holder));
        // Not the version of `base`: the store may have lost writes, and a version must follow the record's.
        self.numbered(next, record.version, Some(record))
    }

    /// The record with this pair in place of the pair of another sign-in.
    fn instead_of(&self, record: &Record, ours: Digest) -> Record {
        let mut next = record.replaced(self.family, Some(self.pair.clone()), 0);
        next.sign_ins = record.sign_ins.max(self.sign_ins);
        // A server may issue the same refresh token again.
        next.past.forget(&ours);
        self.forbid_used(&mut next, ours);
        self.numbered(next, record.version, Some(record))
    }

    /// The `next` record with the numbers of this commit. Its version follows `version` by the rotations that the
    /// `record` does not count yet.
    fn numbered(&self, mut next: Record, version: u64, record: Option<&Record>) -> Record {
        next.upstream = self.upstream;
        next.version = version.saturating_add(self.rotations(record));
        next.committed_number = self.holder.number;
        next.next_number = next.next_number.max(self.holder.number.saturating_add(1));
        next
    }

    /// Notes the exchanged tokens as used, also if the record has moved on from them.
    fn forbid_used(&self, next: &mut Record, ours: Digest) {
        for used in self.superseded.iter().chain([&self.predecessor]) {
            next.forbid(*used, ours);
        }
    }

    /// How many rotations this pair brings. Tokens in `superseded` count as well, unless the record knows them.
    fn rotations(&self, record: Option<&Record>) -> u64 {
        let is_new =
            |used: &&Digest| record.is_none_or(|record| !record.retired().any(|it| it == *used));
        (self.superseded.iter().filter(is_new).count() as u64).saturating_add(1)
    }
}

impl Record {
    /// The record of an ended session, without a lease. The pair stays, because its access token is served until it
    /// expires. After a logout, no logout of the provider has anything left to end.
    #[must_use]
    pub(crate) fn ended(&self, state: RecordState) -> Self {
        Self {
            upstream: self.upstream.filter(|_| state != RecordState::LoggedOut),
            state,
            lease: None,
            not_before: None,
            ..self.clone()
        }
    }

    /// The record without its pair, which was revoked after a logout.
    #[must_use]
    pub(crate) fn cleared(&self) -> Self {
        let mut next = self.clone();
        next.retire_current();
        next.pair = None;
        next
    }

    /// Decides what becomes of a seed. A seed counts only if the record never knew its token: after a restart the
    /// stored pair wins, because the seed's token is used.
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
        match record.is_live(now) {
            true => Seeding::Displaces(next),
            false => Seeding::Begins(next),
        }
    }

    /// Whether the session is active as far as the record shows: it has not ended, and one of its tokens may be good.
    fn is_live(&self, now: StoreTime) -> bool {
        let is_good = |end: Option<StoreTime>| end.is_none_or(|end| now < end);
        self.state == RecordState::Active
            && self.pair.as_ref().is_some_and(|StoredPair { pair, .. }| {
                pair.access.is_some() && is_good(self.access_expires_at())
                    || pair.refresh.is_some() && is_good(self.refresh_expires_at())
            })
    }

    /// The record after a new sign-in: another family, with the numbers of the key. Without a pair, the next rotation
    /// signs in. `sign_ins` is the highest count that the caller has seen.
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
        next.upstream = None;
        next
    }

    /// Notes a digest as used, unless it is `current` or already noted.
    fn forbid(&mut self, digest: Digest, current: Digest) {
        // The digest of the key, which is the dearest of these to make, comes last: a token that was retired is known.
        if digest != current && !self.past.knows(&digest) && digest != self.key.digest() {
            self.past.note(digest, Origin::Endpoint, None);
        }
    }
}

#[cfg(test)]
mod tests;
