//! Properties of every sequence of transitions, and of the serialized form.
//!
//! - [`size`]: how large a record is besides its tokens

mod size;

use std::time::Duration;

use proptest::prelude::*;

use super::commit::{Commit, CommitDecision, Rival};
use super::lease::{Candidate, DoubtfulBy, LeaseStatus, Own};
use super::testkit::{KEY_CLIENT, LEASE_DURATION, NOW, ONE, TWO, active, pair, rejected};
use super::*;

#[derive(Debug, Clone, Copy)]
enum Step {
    Lease(bool),
    Wait(u16),
    Release(bool),
    Commit(bool),
    Reject,
    LogOut,
    Replace,
    SendAgain(bool),
    Doubt(bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        any::<bool>().prop_map(Step::Lease),
        (0..90_u16).prop_map(Step::Wait),
        any::<bool>().prop_map(Step::Release),
        any::<bool>().prop_map(Step::Commit),
        Just(Step::Reject),
        Just(Step::LogOut),
        Just(Step::Replace),
        any::<bool>().prop_map(Step::SendAgain),
        any::<bool>().prop_map(Step::Doubt),
    ]
}

/// Two instances act on one record as the rotation does. Each remembers the lease that it got.
struct World {
    record: Record,
    now: StoreTime,
    leases: [Option<Commit>; 2],
    issued: u32,
}

impl World {
    fn candidate(second: bool) -> Candidate {
        if second { TWO } else { ONE }
    }

    fn fetched_under(&mut self, record: &Record) -> Commit {
        self.issued += 1;
        let lease = record.lease.as_ref().unwrap();
        Commit {
            holder: lease.holder(),
            base: record.pair_id(),
            predecessor: lease.digest,
            superseded: Vec::new(),
            rival: Rival::Wins,
            family: record.family,
            sign_ins: record.sign_ins,
            upstream: record.upstream,
            pair: pair(&format!("issued {}", self.issued)),
            seen: None,
        }
    }

    fn apply(&mut self, step: Step) {
        let before = self.record.clone();
        match step {
            Step::Wait(seconds) => self.now = self.now.after(Duration::from_secs(seconds.into())),
            Step::Lease(second) if before.state == RecordState::Active => {
                let by = Self::candidate(second);
                let next = match before.lease_status(Own::default(), self.now, LEASE_DURATION) {
                    LeaseStatus::Free => before.leased(by, before.digest(), self.now),
                    LeaseStatus::Stale => before.resent(by, self.now),
                    LeaseStatus::Unsent | LeaseStatus::Unclear | LeaseStatus::Live { .. } => {
                        return;
                    }
                };
                self.leases[usize::from(second)] = Some(self.fetched_under(&next));
                self.record = next;
            }
            Step::SendAgain(second) => {
                let Some(commit) = self.leases[usize::from(second)].clone() else {
                    return;
                };
                if before
                    .lease
                    .as_ref()
                    .is_some_and(|lease| lease.is_of(commit.holder))
                {
                    let next = before.resent(Self::candidate(second), self.now);
                    self.leases[usize::from(second)] = Some(self.fetched_under(&next));
                    self.record = next;
                }
            }
            Step::Doubt(second) => {
                if let Some(commit) = &self.leases[usize::from(second)] {
                    let pause = NotBefore {
                        until: self.now.after(Duration::from_secs(2)),
                        class: Class::Unknown,
                        code: None,
                        failures: before.failures() + 1,
                    };
                    let by = DoubtfulBy::Silence;
                    self.record =
                        before.doubted(commit.holder, by, pause, LEASE_DURATION, self.now);
                }
            }
            Step::Release(second) => {
                if let Some(commit) = &self.leases[usize::from(second)]
                    && let Some(next) = before.released(commit.holder, None)
                {
                    self.record = next;
                }
            }
            Step::Commit(second) => {
                if let Some(commit) = &self.leases[usize::from(second)]
                    && let CommitDecision::Write(next) =
                        commit.judge(Some(&before), &before.key, self.now)
                {
                    self.record = *next;
                }
            }
            Step::Reject if before.state == RecordState::Active => {
                self.record = before.ended(rejected(before.digest()));
            }
            Step::LogOut => self.record = before.ended(RecordState::LoggedOut),
            Step::Replace => {
                self.issued += 1;
                let fresh = pair(&format!("issued {}", self.issued));
                let family = TokenFamily::from_bits(1_000 + u128::from(self.issued));
                self.record = before.replaced(family, Some(fresh), 0);
            }
            Step::Lease(_) | Step::Reject => {}
        }
    }
}

proptest! {
    #[test]
    fn numbers_and_versions_never_go_back_and_a_used_token_is_never_current_again(
        steps in proptest::collection::vec(step(), 0..60)
    ) {
        let mut world = World { record: active(), now: NOW, leases: [None, None], issued: 0 };
        for step in steps {
            let before = world.record.clone();
            world.apply(step);
            let after = &world.record;
            prop_assert!(after.next_number >= before.next_number);
            prop_assert!(after.committed_number < after.next_number);
            prop_assert!(after.committed_number >= before.committed_number);
            prop_assert!(after.version >= before.version);
            if let Some(lease) = &after.lease {
                prop_assert!(lease.number < after.next_number);
            }
            if after.digest() != before.digest() {
                prop_assert!(after.knows(&before.digest()), "a past token is remembered");
                prop_assert!(!before.knows(&after.digest()), "and never current again");
                prop_assert!(after.version > before.version);
            }
            if before.not_before.is_some() && after.not_before.is_none() {
                let is_new = after.digest() != before.digest() || after.family != before.family;
                prop_assert!(is_new || after.state != RecordState::Active, "a pause is forgotten");
            }
            // A doubt about the current token goes only with that token, or with an end of the session.
            if let Some(lease) = &before.lease
                && lease.doubtful.is_some()
                && lease.digest == after.digest()
                && after.state == before.state
                && after.family == before.family
            {
                let kept = after.lease.as_ref().and_then(|lease| lease.doubtful);
                prop_assert_eq!(kept, lease.doubtful);
            }
        }
    }

    #[test]
    fn a_record_reads_back_as_it_was_written(steps in proptest::collection::vec(step(), 0..20)) {
        let mut world = World { record: active(), now: NOW, leases: [None, None], issued: 0 };
        for step in steps {
            world.apply(step);
        }
        let text = serde_json::to_string(&world.record).unwrap();
        prop_assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), world.record);
    }
}

#[test]
fn fields_of_later_versions_are_carried_along() {
    let mut value = serde_json::to_value(active()).unwrap();
    value["colour"] = "blue".into();
    let record: Record = serde_json::from_value(value).unwrap();
    let written = serde_json::to_value(record.leased(ONE, record.digest(), NOW)).unwrap();
    assert_eq!(written["colour"], "blue");
}

/// An unknown field describes the part that holds it, and not the part that replaces it.
#[test]
fn fields_of_later_versions_are_dropped_with_the_part_that_holds_them() {
    let mut value = serde_json::to_value(active().leased(ONE, active().digest(), NOW)).unwrap();
    for part in ["key", "pair", "state", "lease"] {
        value[part]["colour"] = part.into();
    }
    let record: Record = serde_json::from_value(value).unwrap();
    let colours = |record: &Record| {
        let written = serde_json::to_value(record).unwrap();
        ["key", "pair", "state", "lease"].map(|part| written[part].get("colour").is_some())
    };
    assert_eq!(colours(&record), [true; 4]);
    let taken_over = record.leased(TWO, record.digest(), NOW);
    assert_eq!(colours(&taken_over), [true, true, true, false]);
    let replaced = record.replaced(TokenFamily::from_bits(2), Some(pair("r2")), 0);
    assert_eq!(colours(&replaced), [true, false, true, false]);
    let ended = record.ended(RecordState::LoggedOut);
    assert_eq!(colours(&ended)[..3], [true, true, false]);
}

#[test]
fn a_sealed_record_and_a_record_of_an_unknown_format_are_refused() {
    for (format, reason) in [
        (0, "the record has format 0"),
        (
            1,
            "the record has format 1, the layout of an unreleased version",
        ),
        (
            2,
            "the record has format 2, the layout of an unreleased version",
        ),
        (SEALED_FORMAT, "the record is sealed"),
        (SEALED_FORMAT + 1, "the record has format 5"),
    ] {
        let mut value = serde_json::to_value(active()).unwrap();
        value["format"] = format.into();
        let error = serde_json::from_value::<Record>(value).unwrap_err();
        assert!(error.to_string().contains(reason), "{error}");
    }
}

#[test]
fn the_debug_form_of_a_record_does_not_show_its_tokens() {
    let shown = format!("{:?}", active());
    assert!(
        !shown.contains("r1") && !shown.contains("access for"),
        "{shown}"
    );
}

#[test]
fn the_seed_of_a_family_is_remembered_after_a_thousand_rotations() {
    let key = Key::new("issuer", KEY_CLIENT);
    let mut seed = pair("seed");
    seed.origin = Origin::Seed;
    let mut record = Record::first(key.clone(), TokenFamily::from_bits(1), seed, 1);
    for round in 0..1_000 {
        let leased = record.leased(ONE, record.digest(), NOW);
        let commit = Commit {
            holder: ONE.holder(record.next_number),
            base: record.pair_id(),
            predecessor: record.digest(),
            superseded: Vec::new(),
            rival: Rival::Wins,
            family: record.family,
            sign_ins: record.sign_ins,
            upstream: record.upstream,
            pair: pair(&format!("r{round}")),
            seen: None,
        };
        let CommitDecision::Write(next) = commit.judge(Some(&leased), &key, NOW) else {
            panic!("not written");
        };
        record = *next;
    }
    assert!(record.knows(&Digest::of("seed")));
    assert!(record.knows(&Digest::of("r998")) && record.knows(&Digest::of("r999")));
    assert_eq!(record.retired().count(), past::REFRESHED_LIMIT + 1);
}

#[test]
fn the_last_sixteen_seeds_and_the_last_sixteen_replacements_are_remembered() {
    let mut record = active();
    for round in 0..40 {
        for origin in [Origin::Seed, Origin::Replacement] {
            let mut brought = pair(&format!("{origin:?} {round}"));
            brought.origin = origin;
            brought.pair.lifetime.refresh = Duration::from_secs(1).into();
            record = record.replaced(TokenFamily::from_bits(2), Some(brought), 0);
        }
    }
    record = record.replaced(TokenFamily::from_bits(3), Some(pair("last")), 0);
    for origin in [Origin::Seed, Origin::Replacement] {
        let knows = |round| record.knows(&Digest::of(format!("{origin:?} {round}")));
        assert!((24..40).all(knows), "{origin:?}");
        assert!(!(0..24).any(knows), "{origin:?}");
    }
    assert!(record.knows(&Digest::of("r1")));
}

/// A process that can write to the store can write any record.
#[test]
fn numbers_at_their_maximum_do_not_overflow() {
    let key = Key::new("issuer", KEY_CLIENT);
    let mut record = active();
    record.version = u64::MAX;
    record.next_number = u64::MAX;
    record.committed_number = u64::MAX;
    let mut stored = pair("r1");
    stored.issued_at = StoreTime::from_millis(u64::MAX);
    stored.pair = stored
        .pair
        .expires_in(Duration::MAX)
        .refresh_expires_in(Duration::MAX);
    record.pair = Some(stored);
    let leased = record.leased(ONE, record.digest(), NOW);
    assert_eq!(leased.next_number, u64::MAX);
    let taken = leased.resent(TWO, NOW);
    assert!(taken.released(TWO.holder(u64::MAX), None).is_some());
    let _ = taken.lease_status(Own::default(), NOW, Duration::MAX);
    let replaced = record.replaced(TokenFamily::from_bits(2), Some(pair("r2")), 0);
    assert_eq!(replaced.version, u64::MAX);
    let held = reconcile::Summary {
        pair_id: record.pair_id(),
        digest: record.digest(),
        number: u64::MAX,
        sign_ins: u64::MAX,
        upstream: None,
    };
    let forwarded = Record::forwarded(Some(&active()), &key, held, pair("r2"), u64::MAX);
    assert_eq!(forwarded.next_number, u64::MAX);
    let commit = Commit {
        holder: TWO.holder(u64::MAX),
        base: record.pair_id(),
        predecessor: record.digest(),
        superseded: vec![Digest::of("superseded")],
        family: record.family,
        sign_ins: u64::MAX,
        upstream: None,
        rival: Rival::Loses,
        pair: pair("r3"),
        seen: None,
    };
    for found in [None, Some(&active()), Some(&record), Some(&replaced)] {
        let _ = commit.judge(found, &key, NOW);
    }
}

const HOUR: Duration = Duration::from_secs(3_600);

fn lasting(access: Duration, refresh: Duration) -> Record {
    let stored = StoredPair {
        issued_at: NOW,
        origin: Origin::Endpoint,
        pair: TokenPair::new("access")
            .refresh_token("refresh")
            .expires_in(access)
            .refresh_expires_in(refresh),
    };
    Record {
        pair: Some(stored),
        ..active()
    }
}

fn past(until: Option<StoreTime>) -> Past {
    let mut past = Past::default();
    past.note(Digest::of("past"), Origin::Endpoint, until);
    past
}

#[test]
fn a_record_is_needed_until_its_last_token_has_expired() {
    let mut record = lasting(HOUR, 2 * HOUR);
    assert_eq!(record.access_expires_at(), Some(NOW.after(HOUR)));
    assert_eq!(record.needed_until(), Some(NOW.after(2 * HOUR)));
    record.past = past(Some(NOW.after(3 * HOUR)));
    assert_eq!(record.needed_until(), Some(NOW.after(3 * HOUR)));
    assert_eq!(
        lasting(2 * HOUR, HOUR).needed_until(),
        Some(NOW.after(2 * HOUR))
    );
}

#[test]
fn a_record_is_needed_for_good_where_an_expiry_is_unknown() {
    let mut record = lasting(HOUR, HOUR);
    record.past = past(None);
    assert_eq!(record.needed_until(), None, "a past token");
    record.pair = Some(pair("r1"));
    record.past = Past::default();
    assert_eq!(record.needed_until(), None, "the current token");
    let vacant = Record::vacant(Key::new("issuer", "client"), TokenFamily::from_bits(1));
    assert_eq!(vacant.needed_until(), None, "a sign-in to come");
}

#[test]
fn a_record_reports_the_end_that_it_stores() {
    let record = active();
    assert_eq!(record.end(), None);
    let ended = record.ended(RecordState::LoggedOut);
    assert_eq!(ended.end(), Some(EndReason::LoggedOut));
}

#[test]
fn a_pause_lasts_until_its_end_but_not_longer_than_the_longest_pause() {
    let mut record = active();
    let hour = Duration::from_secs(3_600);
    assert_eq!(record.remaining_pause(NOW, hour), None);
    record.not_before = Some(NotBefore {
        until: NOW.after(2 * hour),
        class: Class::Page,
        code: None,
        failures: 3,
    });
    assert_eq!(record.failures(), 3);
    let remaining = |now| {
        record
            .remaining_pause(now, hour)
            .map(|(remaining, _)| remaining)
    };
    assert_eq!(remaining(NOW), Some(hour));
    assert_eq!(
        remaining(NOW.after(2 * hour - Duration::from_secs(1))),
        Some(Duration::from_secs(1))
    );
    assert_eq!(remaining(NOW.after(2 * hour)), None);
}
