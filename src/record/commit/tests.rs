use super::*;
use crate::record::testkit::{KEY_CLIENT, NOW, ONE, TWO, active, pair, rejected};

fn key() -> Key {
    Key::new("issuer", KEY_CLIENT)
}

/// A record that ONE leases, and the commit of the pair that ONE was issued.
fn leased(token: &str) -> (Record, Commit) {
    let record = active();
    let leased = record.leased(ONE, record.digest(), NOW);
    let commit = Commit {
        holder: ONE.holder(record.next_number),
        base: record.pair_id(),
        predecessor: record.digest(),
        superseded: Vec::new(),
        family: record.family,
        sign_ins: record.sign_ins,
        upstream: record.upstream,
        rival: Rival::Wins,
        pair: pair(token),
        seen: None,
    };
    (leased, commit)
}

fn written(decision: CommitDecision) -> Record {
    match decision {
        CommitDecision::Write(record) => *record,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_commit_writes_the_version_of_the_record_plus_one_and_removes_its_own_lease() {
    let (mut record, commit) = leased("r2");
    // The store's version is not the one of the lease: the store lost a write.
    record.version = 40;
    let committed = written(commit.judge(Some(&record), &key(), NOW));
    assert_eq!(committed.version, 41);
    assert_eq!(committed.lease, None);
    assert_eq!(committed.committed_number, commit.holder.number);
    assert!(
        committed
            .retired()
            .any(|digest| *digest == commit.predecessor)
    );
}

#[test]
fn a_commit_leaves_a_newer_live_lease_in_place() {
    let (record, commit) = leased("r2");
    let taken = record.resent(TWO, NOW);
    let committed = written(commit.judge(Some(&taken), &key(), NOW));
    assert_eq!(committed.lease, taken.lease);
}

#[test]
fn an_echoed_refresh_token_is_not_retired() {
    let (record, commit) = leased("r1");
    let committed = written(commit.judge(Some(&record), &key(), NOW));
    assert_eq!(committed.digest(), record.digest());
    assert_eq!(committed.retired().count(), 0);
}

#[test]
fn a_commit_recognises_its_own_pair_after_a_swap_that_seemed_to_fail() {
    let (record, commit) = leased("r2");
    let committed = written(commit.judge(Some(&record), &key(), NOW));
    assert_eq!(
        commit.judge(Some(&committed), &key(), NOW),
        CommitDecision::Committed
    );
}

#[test]
fn a_pair_that_is_committed_after_the_logout_is_never_stored() {
    let (record, commit) = leased("r2");
    let out = record.ended(RecordState::LoggedOut);
    assert_eq!(
        commit.judge(Some(&out), &key(), NOW),
        CommitDecision::LoggedOut
    );
}

#[test]
fn a_record_of_another_family_supersedes_the_commit() {
    let (record, commit) = leased("r2");
    let replaced = record.replaced(TokenFamily::from_bits(9), Some(pair("fresh")), 0);
    assert_eq!(
        commit.judge(Some(&replaced), &key(), NOW),
        CommitDecision::Superseded
    );
}

#[test]
fn a_replaced_session_does_not_keep_the_lease_of_an_earlier_sign_in() {
    let record = active().leased(ONE, key().digest(), NOW);
    let replaced = record.replaced(TokenFamily::from_bits(9), Some(pair("fresh")), 0);
    assert_eq!(replaced.lease, None);
}

/// A sign-in, committed into a record that has come to hold another sign-in.
fn rivals(rival: Rival) -> (Record, Commit) {
    let (_, commit) = leased("ours");
    let vacant = Record::vacant(key(), TokenFamily::from_bits(1));
    let theirs = vacant.replaced(TokenFamily::from_bits(2), Some(pair("theirs")), 0);
    let ours = Commit {
        base: vacant.pair_id(),
        predecessor: key().digest(),
        family: TokenFamily::from_bits(3),
        rival,
        ..commit
    };
    (theirs, ours)
}

#[test]
fn a_good_rival_wins_unless_callers_already_have_the_new_pair() {
    let (theirs, ours) = rivals(Rival::WinsWhileGood);
    assert_eq!(
        ours.judge(Some(&theirs), &key(), NOW),
        CommitDecision::Superseded
    );
    let (theirs, ours) = rivals(Rival::Loses);
    let committed = written(ours.judge(Some(&theirs), &key(), NOW));
    assert_eq!((committed.family, committed.version), (ours.family, 2));
    assert!(committed.retired().any(|digest| *digest == theirs.digest()));
    assert_eq!(
        ours.judge(Some(&committed), &key(), NOW),
        CommitDecision::Committed
    );
}

#[test]
fn an_ended_rival_is_replaced_and_a_logged_out_one_is_not() {
    let (mut theirs, ours) = rivals(Rival::WinsWhileGood);
    for state in [RecordState::Expired, RecordState::Idle] {
        let committed = written(ours.judge(Some(&theirs.ended(state)), &key(), NOW));
        assert_eq!(committed.family, ours.family);
    }
    let out = theirs.ended(RecordState::LoggedOut);
    assert_eq!(
        ours.judge(Some(&out), &key(), NOW),
        CommitDecision::LoggedOut
    );
    if let Some(stored) = &mut theirs.pair {
        stored.pair = stored
            .pair
            .clone()
            .expires_in(std::time::Duration::from_secs(1));
    }
    assert_eq!(
        ours.judge(Some(&theirs), &key(), NOW),
        CommitDecision::Superseded
    );
    let later = NOW.after(std::time::Duration::from_secs(1));
    assert_eq!(
        written(ours.judge(Some(&theirs), &key(), later)).family,
        ours.family
    );
}

#[test]
fn pairs_that_were_never_stored_count_and_their_tokens_are_retired() {
    let (record, mut commit) = leased("r4");
    commit.superseded = vec![commit.predecessor, Digest::of("r2")];
    commit.predecessor = Digest::of("r3");
    let committed = written(commit.judge(Some(&record), &key(), NOW));
    assert_eq!(committed.version, record.version + 3);
    let retired: Vec<_> = committed.retired().copied().collect();
    assert_eq!(retired, ["r1", "r2", "r3"].map(Digest::of));
}

/// A record into which TWO has committed under a later lease, and the commit of the pair that ONE was issued.
fn outrun() -> (Record, Commit) {
    let (record, commit) = leased("ours");
    let taken = record.resent(TWO, NOW);
    let theirs = Commit {
        holder: TWO.holder(record.next_number),
        pair: pair("theirs"),
        ..commit.clone()
    };
    let committed = written(theirs.judge(Some(&taken), &key(), NOW));
    (committed, commit)
}

#[test]
fn a_commit_is_outrun_by_the_commit_of_a_later_lease() {
    let (committed, commit) = outrun();
    assert_eq!(
        commit.judge(Some(&committed), &key(), NOW),
        CommitDecision::Outrun
    );
}

/// Some issuers repeat an access token until it expires, without a refresh token. The pair is known by the digest of
/// the access token, which an earlier session has left among the past ones.
#[test]
fn a_sign_in_that_brings_the_token_of_an_earlier_session_is_committed() {
    let (mut record, commit) = leased("ours");
    record.forbid(commit.pair.pair.digest(&key()), Digest::of("another"));
    let ours = Commit {
        family: TokenFamily::from_bits(3),
        ..commit
    };
    let committed = written(ours.judge(Some(&record), &key(), NOW));
    assert_eq!(committed.family, ours.family);
}

#[test]
fn a_pair_whose_token_is_past_had_been_committed() {
    let (record, commit) = leased("ours");
    let committed = written(commit.judge(Some(&record), &key(), NOW));
    let theirs = Commit {
        holder: TWO.holder(committed.next_number),
        base: committed.pair_id(),
        predecessor: committed.digest(),
        pair: pair("theirs"),
        ..commit.clone()
    };
    let rotated = written(theirs.judge(Some(&committed), &key(), NOW));
    assert_eq!(
        commit.judge(Some(&rotated), &key(), NOW),
        CommitDecision::Passed
    );
}

/// Such a pair, kept as a spare, would be sent although it may be spent: the record no longer knows its digest.
#[test]
fn a_pair_older_than_the_digests_of_the_record_is_not_a_spare() {
    let (record, commit) = leased("ours");
    for had_committed in [true, false] {
        let mut latest = match had_committed {
            true => written(commit.judge(Some(&record), &key(), NOW)),
            false => record.clone(),
        };
        for round in 1..=20 {
            let leased = latest.leased(TWO, latest.digest(), NOW);
            let theirs = Commit {
                holder: TWO.holder(latest.next_number),
                base: latest.pair_id(),
                predecessor: latest.digest(),
                pair: pair(&format!("theirs {round}")),
                ..commit.clone()
            };
            latest = written(theirs.judge(Some(&leased), &key(), NOW));
            // The number is one higher if the pair itself was one of those committed.
            let is_spare = !had_committed && round <= REFRESHED_LIMIT + 1;
            let expected = match is_spare {
                true => CommitDecision::Outrun,
                false => CommitDecision::Passed,
            };
            let decision = commit.judge(Some(&latest), &key(), NOW);
            assert_eq!(decision, expected, "{had_committed} {round}");
        }
    }
}

#[test]
fn a_sign_in_that_was_outrun_is_superseded() {
    let (committed, commit) = outrun();
    let ours = Commit {
        family: TokenFamily::from_bits(3),
        ..commit
    };
    assert_eq!(
        ours.judge(Some(&committed), &key(), NOW),
        CommitDecision::Superseded
    );
    // The pair had been committed, and another instance has rotated it since.
    let rotated = Record {
        family: ours.family,
        ..committed
    };
    assert_eq!(
        ours.judge(Some(&rotated), &key(), NOW),
        CommitDecision::Outrun
    );
}

#[test]
fn a_commit_overrides_the_rejection_of_its_predecessor_but_not_of_its_own_token() {
    let (record, commit) = leased("r2");
    for state in [
        rejected(commit.predecessor),
        RecordState::OutcomeUnknown {
            digest: commit.predecessor,
        },
    ] {
        let committed = written(commit.judge(Some(&record.ended(state)), &key(), NOW));
        assert_eq!(committed.state, RecordState::Active);
    }
    let digest = commit.pair.pair.digest(&key());
    let dead = record.ended(rejected(digest));
    assert_eq!(
        commit.judge(Some(&dead), &key(), NOW),
        CommitDecision::Condemned
    );
}

#[test]
fn a_record_that_the_store_lost_is_written_again_with_its_numbers() {
    let (record, commit) = leased("r2");
    let committed = written(commit.judge(None, &key(), NOW));
    assert_eq!(committed.version, record.version + 1);
    assert!(committed.next_number > commit.holder.number);
}

#[test]
fn a_seed_counts_only_if_the_store_never_knew_its_token() {
    let (record, commit) = leased("r2");
    let committed = written(commit.judge(Some(&record), &key(), NOW));
    let family = TokenFamily::from_bits(9);
    let seeded = |record: &Record, token: &str| {
        Record::seeded(Some(record), &key(), family, pair(token), 0, NOW)
    };
    assert_eq!(seeded(&committed, "r2"), Seeding::Known, "current");
    assert_eq!(seeded(&committed, "r1"), Seeding::Known, "retired");
    let ended = committed.ended(rejected(committed.digest()));
    assert_eq!(seeded(&ended, "r2"), Seeding::Known, "ended");
    assert!(matches!(seeded(&ended, "r9"), Seeding::Begins(_)));
    let Seeding::Displaces(fresh) = seeded(&committed, "r9") else {
        panic!("the session goes on");
    };
    assert_eq!(fresh.family, family);
    assert_eq!(fresh.next_number, committed.next_number);
    assert!(fresh.version > committed.version);
    assert!(fresh.knows(&committed.digest()));
    let begun = Record::seeded(None, &key(), family, pair("r1"), 0, NOW);
    assert!(matches!(begun, Seeding::Begins(_)));
}

/// A sign-in is committed after a rotation of the session before it.
#[test]
fn a_sign_in_is_written_over_a_rotation_of_the_session_before_it() {
    let before = active();
    let (_, commit) = leased("theirs");
    let theirs = written(commit.judge(Some(&before), &key(), NOW));
    let ours = Commit {
        holder: ONE.holder(commit.holder.number),
        base: before.pair_id(),
        predecessor: key().digest(),
        family: TokenFamily::from_bits(3),
        sign_ins: before.sign_ins + 1,
        pair: pair("ours"),
        ..commit
    };
    let committed = written(ours.judge(Some(&theirs), &key(), NOW));
    assert_eq!(
        (committed.family, committed.digest()),
        (ours.family, Digest::of("ours"))
    );
    assert!(committed.retired().any(|digest| *digest == theirs.digest()));
    // A later sign-in stays.
    let mut later = theirs;
    later.sign_ins = ours.sign_ins + 1;
    assert_eq!(
        ours.judge(Some(&later), &key(), NOW),
        CommitDecision::Superseded
    );
}

#[test]
fn a_refresh_token_that_a_sign_in_brings_again_is_not_retired() {
    let (_, commit) = leased("theirs");
    let theirs = written(commit.judge(Some(&active()), &key(), NOW));
    let ours = Commit {
        predecessor: key().digest(),
        family: TokenFamily::from_bits(3),
        sign_ins: theirs.sign_ins + 1,
        pair: pair("theirs"),
        ..commit
    };
    let committed = written(ours.judge(Some(&theirs), &key(), NOW));
    assert_eq!(
        (committed.family, committed.digest()),
        (ours.family, theirs.digest())
    );
    assert!(committed.retired().all(|digest| *digest != theirs.digest()));
    // A token that the server rejected does not become active again.
    let state = rejected(theirs.digest());
    let dead = Record { state, ..theirs };
    assert_eq!(
        ours.judge(Some(&dead), &key(), NOW),
        CommitDecision::Superseded
    );
}

#[test]
fn a_token_whose_outcome_was_unknown_is_good_again_if_the_server_issues_it() {
    let (record, commit) = leased("r1");
    let state = RecordState::OutcomeUnknown {
        digest: record.digest(),
    };
    let unknown = Record { state, ..record };
    let committed = written(commit.judge(Some(&unknown), &key(), NOW));
    assert_eq!(committed.state, RecordState::Active);
}

/// A sign-in after an end may bring the token of the former session, which the record has noted as used.
#[test]
fn a_current_refresh_token_does_not_count_as_rotated() {
    let (record, commit) = leased("r1");
    let mut record = record;
    let current = record.digest();
    record.past.note(current, Origin::Endpoint, None);
    let committed = written(commit.judge(Some(&record), &key(), NOW));
    assert_eq!(committed.committed_number, commit.holder.number);
}

/// A logout of the provider has nothing left to end there, and must not end another session.
#[test]
fn a_logout_and_another_sign_in_remove_the_marks_and_no_other_end_does() {
    let mut record = active();
    record.upstream = Marks::new(&key(), Some("sid"), Some("sub"));
    let kept = [
        RecordState::Expired,
        RecordState::Idle,
        rejected(record.digest()),
    ];
    for state in kept {
        assert_eq!(record.ended(state).upstream, record.upstream);
    }
    assert_eq!(record.ended(RecordState::LoggedOut).upstream, None);
    let other = TokenFamily::from_bits(2);
    assert_eq!(record.replaced(other, Some(pair("r2")), 0).upstream, None);
}
