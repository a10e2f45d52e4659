//! The size of a record without its tokens.

use super::*;
use crate::record::marks::Marks;
use crate::token::TokenPair;

/// The largest size of a record besides its pair, in bytes.
const LIMIT: usize = 2_048;

fn key() -> Key {
    Key::new("https://id.example.org/realms/library/token", "importer")
        .tenant("diku")
        .subject("0f5a9a4e-7a2c-4a7e-9d9d-3c1f1f0f8a55")
        .scope("openid offline_access records.read records.write")
        .audience("https://api.example.org")
        .label("nightly import")
}

fn stored(refresh: &str, origin: Origin) -> StoredPair {
    let pair = TokenPair::new("a".repeat(900))
        .refresh_token(refresh)
        .expires_in(Duration::from_secs(600))
        .refresh_expires_in(Duration::from_secs(86_400));
    StoredPair {
        issued_at: NOW,
        origin,
        pair,
    }
}

fn length(value: &impl Serialize) -> usize {
    serde_json::to_string(value).unwrap().len()
}

fn besides_the_pair(record: &Record) -> usize {
    length(record) - record.pair.as_ref().map_or(0, length)
}

fn rotated(record: &Record, round: u64) -> Record {
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
        pair: stored(&format!("refresh {round:032}"), Origin::Endpoint),
        seen: None,
    };
    match commit.judge(Some(&leased), &record.key, NOW) {
        CommitDecision::Write(next) => *next,
        other => panic!("{other:?}"),
    }
}

/// A record after this many rotations in a row, with a lease.
fn after(rotations: u64) -> Record {
    let seed = stored("seed", Origin::Seed);
    let mut record = Record::first(key(), TokenFamily::from_bits(u128::MAX), seed, 1);
    for round in 0..rotations {
        record = rotated(&record, round);
    }
    record.leased(ONE, record.digest(), NOW)
}

/// A record with every part, and with more past tokens of each kind than it keeps.
fn full() -> Record {
    let mut record = after(20);
    for round in 0..20 {
        for origin in [Origin::Seed, Origin::Replacement] {
            let brought = stored(&format!("{origin:?} {round}"), origin);
            record = record.replaced(TokenFamily::from_bits(u128::MAX), Some(brought), 0);
            record = rotated(&record, 100 * round + record.sign_ins);
        }
    }
    assert_eq!(
        record.retired().count(),
        past::REFRESHED_LIMIT + 2 * past::BROUGHT_LIMIT
    );
    record.version = 1_000_000;
    record.upstream = Marks::new(&key(), Some("sid"), Some("sub"));
    record.next_number = 1_000_001;
    record.committed_number = 1_000_000;
    record.lease = Some(Lease {
        owner: Owner::from_bits(u128::MAX),
        number: 1_000_000,
        nonce: u64::MAX,
        digest: record.digest(),
        since: NOW,
        duration: LEASE_DURATION,
        doubtful: Some(NOW),
        by: Some(DoubtfulBy::Unavailable),
        before: Some(DoubtfulBy::Unavailable),
        sendings: 100,
        released: false,
    });
    record.not_before = Some(NotBefore {
        until: NOW,
        class: Class::SignInRefused,
        code: Some("temporarily_unavailable".to_owned()),
        failures: 100,
    });
    record
}

#[test]
fn a_full_record_takes_less_than_two_kilobytes_besides_the_pair() {
    let record = full();
    let besides = besides_the_pair(&record);
    println!("{besides} bytes besides the pair");
    assert!(besides < LIMIT, "{besides}");
}

#[test]
fn a_record_does_not_grow_with_its_age() {
    let [young, old] = [10, 10_000].map(after);
    println!("{} and {} bytes", length(&young), length(&old));
    let measures: [fn(&Record) -> usize; 2] = [|record| length(record), besides_the_pair];
    for measure in measures {
        let (young, old) = (measure(&young), measure(&old));
        assert!(old * 10 <= young * 11, "{young} bytes became {old}");
    }
}
