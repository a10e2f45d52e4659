//! How a new pair gets into a record, and how a session ends or begins anew.

use super::claim::Holder;
use super::{Origin, Record, State, StoredPair};
use crate::store::StoreTime;
use crate::token::{Digest, Identity, Key, Lineage};

/// A pair that was read from the server and is to be stored.
#[derive(Debug, Clone)]
pub(crate) struct Landing {
    /// The claim it was fetched under.
    pub(crate) holder: Holder,
    /// What the record was when it was claimed.
    pub(crate) base: Identity,
    /// The token that was exchanged for it.
    pub(crate) predecessor: Digest,
    /// Tokens that were exchanged before that one, and whose successors never got here.
    pub(crate) passed: Vec<Digest>,
    /// The lineage it belongs to: the base's, or a new one after a sign-in.
    pub(crate) lineage: Lineage,
    /// The count of sign-ins of that lineage.
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
pub(crate) enum Verdict {
    /// This record is to be written.
    Write(Box<Record>),
    /// It is there already: a swap that seemed to fail had landed.
    Landed,
    /// The user logged out meanwhile: ours is to be revoked.
    LoggedOut,
    /// Theirs is another session: ours is to be revoked, theirs adopted.
    Superseded,
    /// It is there no more: it had landed, and was rotated on.
    Passed,
    /// A later claim was committed first: theirs is adopted, ours kept until theirs has been accepted.
    Outrun,
    /// The token we got is itself known to be dead: a server that echoes it.
    Condemned,
}

/// What becomes of a pair that was given at start.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Seeding {
    /// The record knows its token: what was rotated from it counts, or that it is over.
    Known,
    /// This record is to be written: there was no session.
    Begins(Box<Record>),
    /// This record would be written over another session that goes on.
    Displaces(Box<Record>),
}

impl Landing {
    /// Judges what the store holds now.
    pub(crate) fn judge(&self, record: Option<&Record>, key: &Key, now: StoreTime) -> Verdict {
        let Some(record) = record else {
            let mut first =
                Record::first(key.clone(), self.lineage, self.pair.clone(), self.sign_ins);
            first.version = self.base.version.saturating_add(self.rotations(None));
            first.committed_number = self.holder.number;
            first.next_number = self.holder.number.saturating_add(1);
            return Verdict::Write(Box::new(first));
        };
        let ours = self.pair.pair.digest(key);
        let same_number = record.committed_number == self.holder.number;
        // First, because a logout may have followed on a landing that seemed to fail.
        if record.state == State::LoggedOut {
            return Verdict::LoggedOut;
        }
        let began_here = self.lineage != self.base.lineage;
        if record.lineage == self.lineage && record.digest() == ours && (same_number || began_here)
        {
            return Verdict::Landed;
        }
        if record.lineage != self.base.lineage && record.lineage != self.lineage {
            let is_good = record.state == State::Active
                && record.pair.is_some()
                && record.access_expires_at().is_none_or(|end| now < end);
            return match self.rival {
                // A store that was set back shows a session that was replaced.
                _ if record.sign_ins < self.sign_ins => {
                    Verdict::Write(Box::new(self.instead_of(record, ours, now)))
                }
                Rival::WinsWhileGood if !is_good => {
                    Verdict::Write(Box::new(self.instead_of(record, ours, now)))
                }
                Rival::Loses => Verdict::Write(Box::new(self.instead_of(record, ours, now))),
                Rival::Wins | Rival::WinsWhileGood => Verdict::Superseded,
            };
        }
        // Written over what was rotated from it, it would be sent though it is spent. A sign-in may bring the access token
        // of the one before it.
        if record.lineage == self.lineage && record.retired().any(|past| *past == ours) {
            return Verdict::Passed;
        }
        // The same number can only be somebody else's where instances do not coordinate.
        if record.committed_number > self.holder.number || same_number {
            // A session of its own is nothing to fall back on in the one before.
            return if began_here && record.lineage != self.lineage {
                Verdict::Superseded
            } else {
                Verdict::Outrun
            };
        }
        if record.state.condemned() == Some(ours) {
            return Verdict::Condemned;
        }
        Verdict::Write(Box::new(self.onto(record, ours, now)))
    }

    fn onto(&self, record: &Record, ours: Digest, now: StoreTime) -> Record {
        let mut next = record.clone();
        if record.digest() != ours {
            next.retire_current(now);
        }
        self.forbid_used(&mut next, ours);
        next.lineage = self.lineage;
        // Not "ours + 1": the store may have lost writes, and a version must follow the record's.
        next.version = record.version.saturating_add(self.rotations(Some(record)));
        next.pair = Some(self.pair.clone());
        next.state = State::Active;
        next.not_before = None;
        next.sign_ins = next.sign_ins.max(self.sign_ins);
        next.committed_number = self.holder.number;
        next.next_number = next.next_number.max(self.holder.number.saturating_add(1));
        // A newer claim of somebody else stays: he has not found out yet.
        next.claim = next.claim.filter(|claim| !claim.is_of(self.holder));
        next
    }

    /// Ours in place of the pair of another sign-in.
    fn instead_of(&self, record: &Record, ours: Digest, now: StoreTime) -> Record {
        let mut next = record.replaced(self.lineage, Some(self.pair.clone()), 0, now);
        next.sign_ins = record.sign_ins.max(self.sign_ins);
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
    /// The session is over; the claim goes with it. The pair stays: its access token is served to its
    /// end.
    #[must_use]
    pub(crate) fn ended(&self, state: State) -> Self {
        Self {
            state,
            claim: None,
            not_before: None,
            ..self.clone()
        }
    }

    /// Without the pair, which was revoked after a logout.
    #[must_use]
    pub(crate) fn cleared(&self, now: StoreTime) -> Self {
        let mut next = self.clone();
        next.retire_current(now);
        next.pair = None;
        next
    }

    /// A first pair given at start. It counts only if the record never knew its token: after a
    /// restart the stored pair wins, or the seed would spend a used token.
    pub(crate) fn seeded(
        record: Option<&Self>,
        key: &Key,
        lineage: Lineage,
        pair: StoredPair,
        sign_ins: u64,
        now: StoreTime,
    ) -> Seeding {
        let Some(record) = record else {
            let first = Self::first(key.clone(), lineage, pair, sign_ins.saturating_add(1));
            return Seeding::Begins(Box::new(first));
        };
        if record.knows(&pair.pair.digest(key)) {
            return Seeding::Known;
        }
        let next = Box::new(record.replaced(lineage, Some(pair), sign_ins, now));
        if record.is_live(now) {
            Seeding::Displaces(next)
        } else {
            Seeding::Begins(next)
        }
    }

    /// Whether the session goes on, as far as anybody knows: it has not ended, and one of its tokens may be good.
    fn is_live(&self, now: StoreTime) -> bool {
        let Some(stored) = self.pair.as_ref().filter(|_| self.state == State::Active) else {
            return false;
        };
        let is_good = |end: Option<StoreTime>| end.is_none_or(|end| now < end);
        stored.pair.access.is_some() && is_good(self.access_expires_at())
            || stored.pair.refresh.is_some() && is_good(self.refresh_expires_at())
    }

    /// The user signed in anew: another lineage, with the key's numbers. Without a pair, the next
    /// rotation signs in. `sign_ins` is the highest count that the caller has seen.
    #[must_use]
    pub(crate) fn replaced(
        &self,
        lineage: Lineage,
        pair: Option<StoredPair>,
        sign_ins: u64,
        now: StoreTime,
    ) -> Self {
        let mut next = self.clone();
        next.retire_current(now);
        next.lineage = lineage;
        next.version = next.version.saturating_add(1);
        next.pair = pair;
        next.state = State::Active;
        next.sign_ins = next.sign_ins.max(sign_ins).saturating_add(1);
        next.claim = None;
        next.not_before = None;
        next
    }

    /// Notes a digest as used, unless it is `current` or noted already.
    fn forbid(&mut self, digest: Digest, current: Digest) {
        if digest != current
            && digest != self.key.digest()
            && !self.retired().any(|known| *known == digest)
        {
            self.retired.push(super::Retired {
                digest,
                until: None,
                origin: Origin::Endpoint,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
        use crate::record::testkit::{KEY_CLIENT, NOW, ONE, TWO, active, pair, rejected};

    fn key() -> Key {
        Key::new("issuer", KEY_CLIENT)
    }

    /// A record claimed by ONE, and the landing of what ONE was issued.
    fn claimed(token: &str) -> (Record, Landing) {
        let record = active();
        let claimed = record.claimed(ONE, record.digest(), NOW);
        let landing = Landing {
            holder: ONE.holder(record.next_number),
            base: record.identity(),
            predecessor: record.digest(),
            passed: Vec::new(),
            lineage: record.lineage,
            sign_ins: record.sign_ins,
            rival: Rival::Wins,
            pair: pair(token),
        };
        (claimed, landing)
    }

    fn written(verdict: Verdict) -> Record {
        match verdict {
            Verdict::Write(record) => *record,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn landing_writes_the_records_version_plus_one_and_takes_our_claim_out() {
        let (mut record, landing) = claimed("r2");
        // The store lost a write while we were away.
        record.version = 40;
        let landed = written(landing.judge(Some(&record), &key(), NOW));
        assert_eq!(landed.version, 41);
        assert_eq!(landed.claim, None);
        assert_eq!(landed.committed_number, landing.holder.number);
        assert!(
            landed
                .retired()
                .any(|digest| *digest == landing.predecessor)
        );
    }

    #[test]
    fn landing_leaves_a_newer_live_claim_in_place() {
        let (record, landing) = claimed("r2");
        let taken = record.resent(TWO, NOW);
        let landed = written(landing.judge(Some(&taken), &key(), NOW));
        assert_eq!(landed.claim, taken.claim);
    }

    #[test]
    fn an_echoed_refresh_token_is_not_retired() {
        let (record, landing) = claimed("r1");
        let landed = written(landing.judge(Some(&record), &key(), NOW));
        assert_eq!(landed.digest(), record.digest());
        assert_eq!(landed.retired().count(), 0);
    }

    #[test]
    fn a_swap_that_seemed_to_fail_had_landed() {
        let (record, landing) = claimed("r2");
        let landed = written(landing.judge(Some(&record), &key(), NOW));
        assert_eq!(landing.judge(Some(&landed), &key(), NOW), Verdict::Landed);
    }

    #[test]
    fn a_pair_landing_after_the_logout_is_never_stored() {
        let (record, landing) = claimed("r2");
        let out = record.ended(State::LoggedOut);
        assert_eq!(landing.judge(Some(&out), &key(), NOW), Verdict::LoggedOut);
    }

    #[test]
    fn another_lineage_supersedes_ours() {
        let (record, landing) = claimed("r2");
        let replaced = record.replaced(Lineage::from_bits(9), Some(pair("fresh")), 0, NOW);
        assert_eq!(
            landing.judge(Some(&replaced), &key(), NOW),
            Verdict::Superseded
        );
    }

    #[test]
    fn a_new_session_is_not_claimed_by_a_sign_in_to_the_one_before() {
        let record = active().claimed(ONE, key().digest(), NOW);
        let replaced = record.replaced(Lineage::from_bits(9), Some(pair("fresh")), 0, NOW);
        assert_eq!(replaced.claim, None);
    }

    /// A sign-in of ours, into a key that has come to hold another's.
    fn rivals(rival: Rival) -> (Record, Landing) {
        let (_, landing) = claimed("ours");
        let vacant = Record::vacant(key(), Lineage::from_bits(1));
        let theirs = vacant.replaced(Lineage::from_bits(2), Some(pair("theirs")), 0, NOW);
        let ours = Landing {
            base: vacant.identity(),
            predecessor: key().digest(),
            lineage: Lineage::from_bits(3),
            rival,
            ..landing
        };
        (theirs, ours)
    }

    #[test]
    fn a_rival_that_is_good_wins_unless_ours_is_given_out() {
        let (theirs, ours) = rivals(Rival::WinsWhileGood);
        assert_eq!(ours.judge(Some(&theirs), &key(), NOW), Verdict::Superseded);
        let (theirs, ours) = rivals(Rival::Loses);
        let landed = written(ours.judge(Some(&theirs), &key(), NOW));
        assert_eq!((landed.lineage, landed.version), (ours.lineage, 2));
        assert!(landed.retired().any(|digest| *digest == theirs.digest()));
        assert_eq!(ours.judge(Some(&landed), &key(), NOW), Verdict::Landed);
    }

    #[test]
    fn a_rival_that_is_over_gives_way_and_one_that_logged_out_does_not() {
        let (mut theirs, ours) = rivals(Rival::WinsWhileGood);
        for state in [State::Expired, State::Idle] {
            let landed = written(ours.judge(Some(&theirs.ended(state)), &key(), NOW));
            assert_eq!(landed.lineage, ours.lineage);
        }
        let out = theirs.ended(State::LoggedOut);
        assert_eq!(ours.judge(Some(&out), &key(), NOW), Verdict::LoggedOut);
        if let Some(stored) = &mut theirs.pair {
            stored.pair = stored
                .pair
                .clone()
                .expires_in(std::time::Duration::from_secs(1));
        }
        assert_eq!(ours.judge(Some(&theirs), &key(), NOW), Verdict::Superseded);
        let later = NOW.after(std::time::Duration::from_secs(1));
        assert_eq!(
            written(ours.judge(Some(&theirs), &key(), later)).lineage,
            ours.lineage
        );
    }

    #[test]
    fn pairs_that_were_passed_over_count_and_are_retired() {
        let (record, mut landing) = claimed("r4");
        landing.passed = vec![landing.predecessor, Digest::of("r2")];
        landing.predecessor = Digest::of("r3");
        let landed = written(landing.judge(Some(&record), &key(), NOW));
        assert_eq!(landed.version, record.version + 3);
        let retired: Vec<_> = landed.retired().copied().collect();
        assert_eq!(retired, ["r1", "r2", "r3"].map(Digest::of));
    }

    /// A record into which TWO has landed under a later claim, and the landing of what ONE was issued.
    fn outrun() -> (Record, Landing) {
        let (record, landing) = claimed("ours");
        let taken = record.resent(TWO, NOW);
        let theirs = Landing {
            holder: TWO.holder(record.next_number),
            pair: pair("theirs"),
            ..landing.clone()
        };
        let landed = written(theirs.judge(Some(&taken), &key(), NOW));
        (landed, landing)
    }

    #[test]
    fn a_later_claim_committed_first_outruns_ours() {
        let (landed, landing) = outrun();
        assert_eq!(landing.judge(Some(&landed), &key(), NOW), Verdict::Outrun);
    }

    /// An issuer that repeats its access token until that expires, without a refresh token: the pair is known by the access
    /// token's digest, which an earlier session has left among the past ones.
    #[test]
    fn a_sign_in_that_brings_the_token_of_an_earlier_session_is_landed() {
        let (mut record, landing) = claimed("ours");
        record.forbid(landing.pair.pair.digest(&key()), Digest::of("another"));
        let ours = Landing {
            lineage: Lineage::from_bits(3),
            ..landing
        };
        let landed = written(ours.judge(Some(&record), &key(), NOW));
        assert_eq!(landed.lineage, ours.lineage);
    }

    #[test]
    fn a_pair_that_is_among_the_past_ones_had_landed() {
        let (record, landing) = claimed("ours");
        let landed = written(landing.judge(Some(&record), &key(), NOW));
        let theirs = Landing {
            holder: TWO.holder(landed.next_number),
            base: landed.identity(),
            predecessor: landed.digest(),
            pair: pair("theirs"),
            ..landing.clone()
        };
        let rotated = written(theirs.judge(Some(&landed), &key(), NOW));
        assert_eq!(landing.judge(Some(&rotated), &key(), NOW), Verdict::Passed);
    }

    #[test]
    fn a_sign_in_that_was_outrun_gives_way_for_good() {
        let (landed, landing) = outrun();
        let ours = Landing {
            lineage: Lineage::from_bits(3),
            ..landing
        };
        assert_eq!(ours.judge(Some(&landed), &key(), NOW), Verdict::Superseded);
        // Ours had landed, and somebody has rotated it since.
        let rotated = Record {
            lineage: ours.lineage,
            ..landed
        };
        assert_eq!(ours.judge(Some(&rotated), &key(), NOW), Verdict::Outrun);
    }

    #[test]
    fn ours_overrides_a_verdict_on_its_predecessor_but_not_one_on_itself() {
        let (record, landing) = claimed("r2");
        for state in [
            rejected(landing.predecessor),
            State::OutcomeUnknown {
                digest: landing.predecessor,
            },
        ] {
            let landed = written(landing.judge(Some(&record.ended(state)), &key(), NOW));
            assert_eq!(landed.state, State::Active);
        }
        let digest = landing.pair.pair.digest(&key());
        let dead = record.ended(rejected(digest));
        assert_eq!(landing.judge(Some(&dead), &key(), NOW), Verdict::Condemned);
    }

    #[test]
    fn a_record_that_vanished_is_written_anew_with_its_numbers() {
        let (record, landing) = claimed("r2");
        let landed = written(landing.judge(None, &key(), NOW));
        assert_eq!(landed.version, record.version + 1);
        assert!(landed.next_number > landing.holder.number);
    }

    #[test]
    fn a_seed_counts_only_if_the_store_never_knew_its_token() {
        let (record, landing) = claimed("r2");
        let landed = written(landing.judge(Some(&record), &key(), NOW));
        let lineage = Lineage::from_bits(9);
        let seeded = |record: &Record, token: &str| {
            Record::seeded(Some(record), &key(), lineage, pair(token), 0, NOW)
        };
        assert_eq!(seeded(&landed, "r2"), Seeding::Known, "current");
        assert_eq!(seeded(&landed, "r1"), Seeding::Known, "retired");
        let ended = landed.ended(rejected(landed.digest()));
        assert_eq!(seeded(&ended, "r2"), Seeding::Known, "ended");
        assert!(matches!(seeded(&ended, "r9"), Seeding::Begins(_)));
        let Seeding::Displaces(fresh) = seeded(&landed, "r9") else {
            panic!("the session goes on");
        };
        assert_eq!(fresh.lineage, lineage);
        assert_eq!(fresh.next_number, landed.next_number);
        assert!(fresh.version > landed.version);
        assert!(fresh.knows(&landed.digest()));
        let begun = Record::seeded(None, &key(), lineage, pair("r1"), 0, NOW);
        assert!(matches!(begun, Seeding::Begins(_)));
    }
}
