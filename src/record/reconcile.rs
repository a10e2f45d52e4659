//! Compares a record with the pair that an instance holds: which of the two is newer, and which side has to change.
//!
//! The comparison goes by the count of sign-ins and by the number of the lease, never by time: clocks differ, and a
//! store may be set back to an older state.

use std::cmp::Ordering;

use super::marks::Marks;
use super::{Record, RecordState, StoredPair};
use crate::token::{Digest, Key, PairId};

/// What the comparison needs of the pair that an instance holds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Summary {
    pub(crate) pair_id: PairId,
    pub(crate) digest: Digest,
    /// The number of the lease under which the pair was committed.
    pub(crate) number: u64,
    /// The count of sign-ins of its family.
    pub(crate) sign_ins: u64,
    /// What that sign-in said of the provider's session.
    pub(crate) upstream: Option<Marks>,
}

/// What a record means to an instance, which holds a pair or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reconciled {
    /// Neither the store nor the instance holds a session.
    Vacant,
    /// The record holds the pair that the instance holds.
    Current,
    /// The record holds a pair that replaces the held one.
    Adopt,
    /// The store lost a write: the held pair is to be written again, see [`Record::forwarded`].
    Forward,
    /// The user logged out. That overrides everything: the held pair is to be revoked.
    LoggedOut,
}

/// Compares the record that the store holds with the held pair.
pub(crate) fn reconcile(record: Option<&Record>, held: Option<Summary>) -> Reconciled {
    let (record, held) = match (record, held) {
        (None, None) => return Reconciled::Vacant,
        (None, Some(_)) => return Reconciled::Forward,
        (Some(record), _) if record.state == RecordState::LoggedOut => {
            return Reconciled::LoggedOut;
        }
        (Some(_), None) => return Reconciled::Adopt,
        (Some(record), Some(held)) => (record, held),
    };
    // The store lost everything, and an instance that can sign in has only begun to do so.
    if record.pair.is_none() && record.version == 0 {
        return Reconciled::Forward;
    }
    // A store that was set back shows a session that was replaced.
    if record.family != held.pair_id.family {
        return match record.sign_ins < held.sign_ins {
            true => Reconciled::Forward,
            false => Reconciled::Adopt,
        };
    }
    // The number of the lease decides, whatever the versions say: a store that was set back counts versions again
    // from an older one.
    let by_number = record.committed_number.cmp(&held.number);
    if by_number.is_eq() && record.digest() != held.digest {
        return Reconciled::Adopt;
    }
    match by_number.then(record.version.cmp(&held.pair_id.version)) {
        Ordering::Less => Reconciled::Forward,
        Ordering::Equal => Reconciled::Current,
        Ordering::Greater => Reconciled::Adopt,
    }
}

impl Record {
    /// The held pair, written over a record that the store has lost or has set back. The lease of another instance
    /// stays, numbers never go back, and the token that the record held counts as used.
    pub(crate) fn forwarded(
        record: Option<&Self>,
        key: &Key,
        held: Summary,
        pair: StoredPair,
        next_number: u64,
    ) -> Self {
        let PairId {
            family,
            mut version,
        } = held.pair_id;
        let first = || Self::first(key.clone(), family, pair.clone(), held.sign_ins);
        let mut next = record.cloned().unwrap_or_else(first);
        let is_same_session = record.is_some_and(|it| it.family == family);
        if next.digest() != held.digest {
            next.retire_current();
            // The pause belonged to the pair that the record held.
            next.not_before = None;
            // Two pairs of one session never share a pair id.
            if is_same_session {
                version = version.max(next.version.saturating_add(1));
            }
        }
        next.family = family;
        next.version = version;
        next.pair = Some(pair);
        // A server that returns its tokens unchanged may have rejected this very token since.
        if next.state.condemned() != Some(held.digest) {
            next.state = RecordState::Active;
        }
        next.sign_ins = next.sign_ins.max(held.sign_ins);
        next.upstream = held.upstream;
        next.committed_number = held.number;
        let next_number = next_number.max(held.number.saturating_add(1));
        next.next_number = next.next_number.max(next_number);
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::testkit::{KEY_CLIENT, NOW, ONE, TWO, active, pair, rejected};
    use crate::token::TokenFamily;

    fn held(record: &Record) -> Summary {
        Summary {
            pair_id: record.pair_id(),
            digest: record.digest(),
            number: record.committed_number,
            sign_ins: record.sign_ins,
            upstream: record.upstream,
        }
    }

    fn rotated(record: &Record, token: &str) -> Record {
        let mut next = record.leased(ONE, record.digest(), NOW);
        next.committed_number = next.next_number - 1;
        next.lease = None;
        next.version += 1;
        next.pair = Some(pair(token));
        next
    }

    #[test]
    fn a_newer_version_and_another_family_are_adopted() {
        let first = active();
        let second = rotated(&first, "r2");
        assert_eq!(
            reconcile(Some(&second), Some(held(&first))),
            Reconciled::Adopt
        );
        let mut other = first.clone();
        other.family = TokenFamily::from_bits(99);
        assert_eq!(
            reconcile(Some(&other), Some(held(&second))),
            Reconciled::Adopt
        );
        assert_eq!(reconcile(Some(&first), None), Reconciled::Adopt);
        assert_eq!(
            reconcile(Some(&first), Some(held(&first))),
            Reconciled::Current
        );
        assert_eq!(reconcile(None, None), Reconciled::Vacant);
    }

    #[test]
    fn a_record_older_than_the_held_pair_is_written_forward() {
        let first = active();
        let second = rotated(&first, "r2");
        assert_eq!(
            reconcile(Some(&first), Some(held(&second))),
            Reconciled::Forward
        );
        assert_eq!(reconcile(None, Some(held(&second))), Reconciled::Forward);
        let mut condemned = first.clone();
        condemned.state = rejected(first.digest());
        assert_eq!(
            reconcile(Some(&condemned), Some(held(&second))),
            Reconciled::Forward
        );
    }

    #[test]
    fn a_later_pair_is_adopted_although_the_store_lost_earlier_versions() {
        let first = active();
        let second = rotated(&first, "r2");
        let third = rotated(&second, "r3");
        let mut fourth = rotated(&third, "r4");
        fourth.version = second.version;
        assert_eq!(
            reconcile(Some(&fourth), Some(held(&third))),
            Reconciled::Adopt
        );
    }

    #[test]
    fn writing_forward_keeps_the_lease_of_another_instance_and_the_numbers() {
        let first = active();
        let second = rotated(&first, "r2");
        let mut old = first.leased(TWO, first.digest(), NOW);
        old.next_number = 9;
        old.state = rejected(first.digest());
        let key = Key::new("issuer", KEY_CLIENT);
        let forwarded = Record::forwarded(Some(&old), &key, held(&second), pair("r2"), 5);
        assert_eq!(forwarded.lease, old.lease);
        assert_eq!(forwarded.next_number, 9);
        assert_eq!(forwarded.state, RecordState::Active);
        assert_eq!(
            (forwarded.version, forwarded.digest()),
            (second.version, second.digest())
        );
        assert!(forwarded.retired().any(|digest| *digest == first.digest()));

        let from_nothing = Record::forwarded(None, &key, held(&second), pair("r2"), 5);
        assert_eq!(
            reconcile(Some(&from_nothing), Some(held(&second))),
            Reconciled::Current
        );
        assert_eq!(from_nothing.next_number, 5);
    }

    #[test]
    fn a_pair_of_an_earlier_lease_is_replaced_whatever_its_version() {
        let first = active();
        let theirs = rotated(&rotated(&first, "r2-theirs"), "r3-theirs");
        let mut ours = held(&rotated(&first, "r2-ours"));
        ours.number = theirs.committed_number + 1;
        assert!(ours.pair_id.version < theirs.version);
        assert_eq!(reconcile(Some(&theirs), Some(ours)), Reconciled::Forward);
    }

    #[test]
    fn a_forwarded_pair_gets_a_higher_version_than_the_pair_it_replaces() {
        let first = active();
        let theirs = rotated(&first, "r2-theirs");
        let mut ours = held(&rotated(&first, "r2-ours"));
        ours.number += 1;
        assert_eq!(reconcile(Some(&theirs), Some(ours)), Reconciled::Forward);
        let key = Key::new("issuer", KEY_CLIENT);
        let forwarded = Record::forwarded(Some(&theirs), &key, ours, pair("r2-ours"), 0);
        assert_eq!(forwarded.version, theirs.version + 1);
        // The instance that wrote the record takes the version from it.
        assert_eq!(reconcile(Some(&forwarded), Some(ours)), Reconciled::Adopt);
    }

    #[test]
    fn of_two_pairs_of_one_version_the_higher_lease_number_wins_and_on_a_tie_the_record() {
        let first = active();
        let theirs = rotated(&first, "r2-theirs");
        let mut ours = held(&rotated(&first, "r2-ours"));
        assert_eq!(reconcile(Some(&theirs), Some(ours)), Reconciled::Adopt);
        ours.number += 1;
        assert_eq!(reconcile(Some(&theirs), Some(ours)), Reconciled::Forward);
        ours.number -= 2;
        assert_eq!(reconcile(Some(&theirs), Some(ours)), Reconciled::Adopt);
    }

    #[test]
    fn a_record_that_never_had_a_pair_does_not_replace_the_held_one() {
        let first = active();
        let vacant = Record::vacant(Key::new("issuer", KEY_CLIENT), TokenFamily::from_bits(99));
        assert_eq!(
            reconcile(Some(&vacant), Some(held(&first))),
            Reconciled::Forward
        );
        assert_eq!(reconcile(Some(&vacant), None), Reconciled::Adopt);
    }

    #[test]
    fn a_logged_out_record_overrides_every_held_pair() {
        let first = active();
        let second = rotated(&first, "r2");
        let mut out = first.clone();
        out.state = RecordState::LoggedOut;
        assert_eq!(
            reconcile(Some(&out), Some(held(&second))),
            Reconciled::LoggedOut
        );
        assert_eq!(reconcile(Some(&out), None), Reconciled::LoggedOut);
    }
}
