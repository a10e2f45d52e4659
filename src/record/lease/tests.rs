use super::*;
use crate::record::Class;
use crate::record::testkit::{LEASE_DURATION, NOW, ONE, TWO, active};

const LATER: StoreTime = StoreTime::from_millis(NOW.as_millis() + 60_000);

fn unsent(unsent: &[Holder]) -> Own<'_> {
    Own {
        unsent,
        unclear: None,
    }
}

fn number(record: &Record) -> u64 {
    record.lease.as_ref().unwrap().number
}

#[test]
fn a_lease_is_live_for_others_until_the_lease_duration_is_over() {
    let record = active();
    let record = record.leased(ONE, record.digest(), NOW);
    let just_before = StoreTime::from_millis(LATER.as_millis() - 1);
    let stale_in = Duration::from_millis(1);
    assert_eq!(
        record.lease_status(Own::default(), just_before, LEASE_DURATION),
        LeaseStatus::Live { stale_in }
    );
    assert_eq!(
        record.lease_status(Own::default(), LATER, LEASE_DURATION),
        LeaseStatus::Stale
    );
}

#[test]
fn an_instance_knows_its_lease_only_if_owner_and_number_match() {
    let record = active();
    let record = record.leased(ONE, record.digest(), NOW);
    let ours = number(&record);
    assert_eq!(
        record.lease_status(unsent(&[ONE.holder(ours)]), NOW, LEASE_DURATION),
        LeaseStatus::Unsent
    );
    assert!(matches!(
        record.lease_status(unsent(&[TWO.holder(ours)]), NOW, LEASE_DURATION),
        LeaseStatus::Live { .. }
    ));
    assert!(matches!(
        record.lease_status(unsent(&[ONE.holder(ours + 1)]), NOW, LEASE_DURATION),
        LeaseStatus::Live { .. }
    ));
}

#[test]
fn a_lease_of_a_clone_with_the_same_owner_and_number_is_not_the_instances_own() {
    let record = active();
    let clone = Candidate { nonce: 99, ..ONE };
    let record = record.leased(clone, record.digest(), NOW);
    let ours = ONE.holder(number(&record));
    assert!(matches!(
        record.lease_status(unsent(&[ours]), NOW, LEASE_DURATION),
        LeaseStatus::Live { .. }
    ));
    assert_eq!(record.released(ours, None), None);
}

#[test]
fn a_lease_lasts_for_its_own_duration_if_that_is_longer_than_the_readers_lease_duration() {
    let record = active();
    let lease_duration = 2 * LEASE_DURATION;
    let patient = Candidate {
        lease_duration,
        ..ONE
    };
    let record = record.leased(patient, record.digest(), NOW);
    let stale_in = LEASE_DURATION;
    assert_eq!(
        record.lease_status(Own::default(), LATER, LEASE_DURATION),
        LeaseStatus::Live { stale_in }
    );
    let much_later = LATER.after(LEASE_DURATION);
    assert_eq!(
        record.lease_status(Own::default(), much_later, LEASE_DURATION),
        LeaseStatus::Stale
    );
    // A reader with a longer lease duration of its own respects the lease for longer.
    assert!(matches!(
        record.lease_status(Own::default(), much_later, 3 * LEASE_DURATION),
        LeaseStatus::Live { .. }
    ));
}

#[test]
fn a_lease_on_a_past_token_leaves_the_current_token_free() {
    let record = active();
    let record = record.leased(ONE, Digest::of("an older token"), NOW);
    assert_eq!(
        record.lease_status(Own::default(), NOW, LEASE_DURATION),
        LeaseStatus::Free
    );
}

#[test]
fn taking_over_a_stale_lease_makes_it_doubtful_since_the_first_lease() {
    let record = active();
    let record = record.leased(ONE, record.digest(), NOW).resent(TWO, LATER);
    let lease = record.lease.as_ref().unwrap();
    assert_eq!(
        (lease.owner, lease.doubtful, lease.since),
        (TWO.owner, Some(NOW), LATER)
    );
    // A second takeover does not move the beginning of the doubt.
    let again = record.resent(ONE, LATER.after(LEASE_DURATION));
    assert_eq!(again.lease.unwrap().doubtful, Some(NOW));
}

#[test]
fn retaking_an_ambiguous_lease_inherits_its_doubt() {
    let record = active();
    let plain = record.leased(ONE, record.digest(), NOW).retaken(ONE, LATER);
    assert_eq!(plain.lease.unwrap().doubtful, None);
    let doubtful = record
        .leased(ONE, record.digest(), NOW)
        .resent(TWO, LATER)
        .retaken(TWO, LATER);
    assert_eq!(doubtful.lease.unwrap().doubtful, Some(NOW));
}

#[test]
fn releasing_a_plain_lease_frees_the_token() {
    let record = active();
    let leased = record.leased(ONE, record.digest(), NOW);
    let holder = ONE.holder(number(&leased));
    let freed = leased.released(holder, None).unwrap();
    assert_eq!(
        freed.lease_status(Own::default(), NOW, LEASE_DURATION),
        LeaseStatus::Free
    );
}

#[test]
fn releasing_a_doubtful_lease_leaves_it_in_place_and_stale() {
    let record = active();
    let doubtful = record.leased(ONE, record.digest(), NOW).resent(TWO, LATER);
    let holder = TWO.holder(number(&doubtful));
    let released = doubtful.released(holder, None).unwrap();
    assert_eq!(
        released.lease_status(Own::default(), LATER, LEASE_DURATION),
        LeaseStatus::Stale
    );
    assert_eq!(released.lease.as_ref().unwrap().doubtful, Some(NOW));
    assert!(number(&released) == holder.number);
}

#[test]
fn an_instance_cannot_release_the_lease_of_another() {
    let record = active();
    let leased = record.leased(ONE, record.digest(), NOW);
    let number = number(&leased);
    assert_eq!(leased.released(TWO.holder(number), None), None);
    assert_eq!(leased.released(ONE.holder(number + 1), None), None);
}

#[test]
fn a_lease_that_begins_after_the_stores_time_does_not_panic() {
    let record = active();
    let record = record.leased(ONE, record.digest(), LATER);
    let stale_in = LEASE_DURATION;
    assert_eq!(
        record.lease_status(Own::default(), NOW, LEASE_DURATION),
        LeaseStatus::Live { stale_in }
    );
}

/// A record that ONE leases at NOW and whose token is left doubtful at LATER, with a pause of four seconds.
fn doubted(by: DoubtfulBy) -> (Record, Holder) {
    let record = active();
    let record = record.leased(ONE, record.digest(), NOW);
    let holder = ONE.holder(number(&record));
    let pause = NotBefore {
        until: LATER.after(Duration::from_secs(4)),
        class: Class::Unknown,
        code: None,
        failures: 1,
    };
    (
        record.doubted(holder, by, pause, LEASE_DURATION, LATER),
        holder,
    )
}

#[test]
fn a_lease_does_not_go_stale_in_its_holders_own_pause() {
    let (record, holder) = doubted(DoubtfulBy::Silence);
    let lease = record.lease.as_ref().unwrap();
    assert_eq!((lease.since, lease.doubtful), (LATER, Some(NOW)));
    let last = LATER.after(Duration::from_secs(63));
    assert!(matches!(
        record.lease_status(Own::default(), last, LEASE_DURATION),
        LeaseStatus::Live { .. }
    ));
    let own = Own {
        unsent: &[],
        unclear: Some(holder),
    };
    assert_eq!(
        record.lease_status(own, last, LEASE_DURATION),
        LeaseStatus::Unclear
    );
    assert_eq!(record.failures(), 1);
    let stale = last.after(Duration::from_secs(1));
    assert_eq!(
        record.lease_status(Own::default(), stale, LEASE_DURATION),
        LeaseStatus::Stale
    );
}

#[test]
fn a_lease_for_resending_has_its_own_number_and_nonce_so_that_one_of_two_clones_sends() {
    let (record, holder) = doubted(DoubtfulBy::Unavailable);
    let renewed = record.resent(Candidate { nonce: 7, ..ONE }, LATER);
    let lease = renewed.lease.as_ref().unwrap();
    assert_eq!((lease.number, lease.nonce), (holder.number + 1, 7));
    assert_eq!(
        (lease.by, lease.sendings, lease.doubtful),
        (Some(DoubtfulBy::Silence), 1, Some(NOW))
    );
    let own = Own {
        unsent: &[],
        unclear: Some(holder),
    };
    assert!(matches!(
        renewed.lease_status(own, LATER, LEASE_DURATION),
        LeaseStatus::Live { .. }
    ));
}

#[test]
fn a_released_lease_is_stale_also_for_its_holder() {
    let (record, holder) = doubted(DoubtfulBy::Silence);
    let released = record.released(holder, None).unwrap();
    let own = Own {
        unsent: &[],
        unclear: Some(holder),
    };
    assert_eq!(
        released.lease_status(own, LATER, LEASE_DURATION),
        LeaseStatus::Stale
    );
    assert_eq!(released.failures(), 1, "the pause stays");
}

#[test]
fn a_token_that_may_be_spent_is_sent_again_only_as_the_profile_permits() {
    let (page, _) = doubted(DoubtfulBy::Unavailable);
    let (silence, _) = doubted(DoubtfulBy::Silence);
    let record = active();
    let unsaid = record.leased(ONE, record.digest(), NOW);
    let permits = |record: &Record, resend, sign_in| {
        let lease = record.lease.as_ref().unwrap();
        lease.permits(resend, sign_in)
    };
    use Permit::{Nothing, Send, SignIn};
    for (resend, of_page, of_silence, page_with_sign_in) in [
        (Resend::Always, Send, Send, Send),
        (Resend::WhenUnavailable, Send, Nothing, Send),
        (Resend::Never, Nothing, Nothing, SignIn),
    ] {
        assert_eq!(permits(&page, resend, false), of_page);
        assert_eq!(permits(&silence, resend, false), of_silence);
        assert_eq!(permits(&unsaid, resend, false), of_silence);
        assert_eq!(permits(&page, resend, true), page_with_sign_in);
        assert_eq!(permits(&silence, resend, true), SignIn);
        assert_eq!(permits(&unsaid, resend, true), SignIn);
    }
}

#[test]
fn an_unknown_kind_of_doubt_counts_as_silence() {
    let (record, _) = doubted(DoubtfulBy::Unavailable);
    let mut form = serde_json::to_value(record.lease.unwrap()).unwrap();
    assert_eq!(form["by"], "unavailable");
    form["by"] = "something_new".into();
    let lease: Lease = serde_json::from_value(form).unwrap();
    assert_eq!(lease.by, Some(DoubtfulBy::Silence));
}

#[test]
fn a_released_lease_under_which_nothing_was_sent_keeps_the_former_doubt() {
    for by in [DoubtfulBy::Unavailable, DoubtfulBy::Silence] {
        let (record, _) = doubted(by);
        let renewed = record.resent(TWO, LATER);
        let holder = renewed.lease.as_ref().unwrap().holder();
        let released = renewed.released(holder, None).unwrap();
        assert_eq!(released.lease.unwrap().by, Some(by));
    }
}

#[test]
fn a_page_after_a_silence_does_not_make_the_token_unspent() {
    let (record, _) = doubted(DoubtfulBy::Silence);
    for known in [true, false] {
        let mut renewed = record.resent(TWO, LATER);
        let lease = renewed.lease.as_mut().unwrap();
        if !known {
            lease.before = None;
        }
        lease.doubt(DoubtfulBy::Unavailable);
        assert_eq!(lease.by, Some(DoubtfulBy::Silence));
    }
}

/// Without coordination a token is sent beside a lease, under which another request may be under way.
#[test]
fn a_doubt_noted_beside_a_lease_does_not_answer_the_request_of_its_holder() {
    use DoubtfulBy::{Silence, Unavailable};
    let (doubtful, holder) = doubted(Unavailable);
    let plain = active();
    let plain = plain.leased(ONE, plain.digest(), NOW);
    let again = doubtful.resent(TWO, LATER);
    // The first holder did not record the answer to its request.
    let taken_over = plain.resent(TWO, LATER);
    for (record, by, before, noted) in [
        // No request is under way.
        (&doubtful, Some(Silence), Some(Silence), Silence),
        (&doubtful, Some(Unavailable), Some(Unavailable), Unavailable),
        // A first or a second sending is under way, which may spend the token.
        (&plain, None, Some(Unavailable), Unavailable),
        (&again, Some(Silence), Some(Unavailable), Unavailable),
        (&again, Some(Silence), Some(Silence), Silence),
        (&taken_over, Some(Silence), Some(Silence), Unavailable),
    ] {
        let next = record.noted(noted);
        let lease = next.lease.as_ref().unwrap();
        assert_eq!((lease.by, lease.before), (by, before), "{record:?}");
        assert!(lease.doubtful.is_some());
        assert_eq!(lease.holder(), record.lease.as_ref().unwrap().holder());
    }
    assert_eq!(doubtful.lease.unwrap().holder(), holder);
    // A noted silence stays a silence, and the holder does not wipe it.
    let noted = plain.noted(Silence);
    let holder = noted.lease.as_ref().unwrap().holder();
    let released = noted.released(holder, None).unwrap();
    assert_eq!(released.lease.unwrap().by, Some(Silence));
}
