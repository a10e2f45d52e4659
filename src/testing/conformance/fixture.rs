//! What the suites share: keys and records that no other run uses, and calls of a store. An error of a call fails the
//! suite, and so does a call without an answer within [`PATIENCE`]: a suite never hangs.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use crate::record::past::Past;
use crate::record::{
    Class, DoubtfulBy, Lease, NotBefore, Origin, Owner, Record, RecordState, StoredPair,
};
use crate::store::{Loaded, Revision, StoreError, StoreTime, Swap, TokenStore};
use crate::token::{Digest, Key, RefreshExpiry, TokenFamily, TokenPair, Validity, random};

pub(super) type Store = Arc<dyn TokenStore>;

/// Longer than any call takes, and than any store takes to notice a change, also with a thousand waiters.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

async fn answer<T>(call: &str, answer: impl Future<Output = Result<T, StoreError>>) -> T {
    match timeout(PATIENCE, answer).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => panic!("{call} failed: {error:?}"),
        Err(_) => panic!("{call} was not answered within {PATIENCE:?}"),
    }
}

pub(super) async fn load(store: &Store, key: &Key) -> Loaded {
    answer("load", store.load(key)).await
}

pub(super) async fn entry(store: &Store, key: &Key) -> Option<(Record, Revision)> {
    load(store, key).await.entry
}

pub(super) async fn swap(store: &Store, key: &Key, seen: Option<Revision>, next: &Record) -> Swap {
    answer("swap", store.swap(key, seen, next)).await
}

/// A swap that has to win.
pub(super) async fn write(
    store: &Store,
    key: &Key,
    seen: Option<Revision>,
    next: &Record,
) -> Revision {
    match swap(store, key, seen, next).await {
        Swap::Swapped(revision) => revision,
        Swap::Lost(entry) => panic!("a swap against {seen:?} was lost to {entry:?}"),
    }
}

pub(super) async fn found(store: &Store, digest: &Digest) -> Option<Key> {
    answer("find", store.find(digest)).await
}

pub(super) async fn found_by_access(store: &Store, digest: &Digest) -> Option<Key> {
    answer("find_by_access", store.find_by_access(digest)).await
}

pub(super) async fn expect_entry(store: &Store, key: &Key, record: &Record, revision: Revision) {
    assert_eq!(
        entry(store, key).await.as_ref(),
        Some(&(record.clone(), revision)),
        "the record that was swapped in is loaded"
    );
}

/// Characters of a record that a store may refuse.
pub(super) const FAR_TOO_LONG: usize = 3_000_000;

/// A key that no other run uses.
pub(super) fn key(purpose: &str) -> Key {
    Key::new("https://id.example.org/token", "conformance").label(format!("{purpose} {}", nonce()))
}

pub(super) fn nonce() -> String {
    match random() {
        Ok(bits) => format!("{bits:032x}"),
        Err(error) => panic!("no random numbers: {error}"),
    }
}

/// The record of a key at this version. Equal arguments give equal records.
pub(super) fn record(key: &Key, version: u64) -> Record {
    let name = Digest::of(format!("{} {version}", key.digest()));
    let pair = TokenPair::new(format!("access {name}"))
        .refresh_token(format!("refresh {name}"))
        .expires_in(Duration::from_secs(600));
    let stored = StoredPair {
        issued_at: StoreTime::from_millis(1_700_000_000_123),
        origin: if version == 1 {
            Origin::Seed
        } else {
            Origin::Endpoint
        },
        pair,
    };
    let mut record = Record::first(key.clone(), family(key), stored, 1);
    record.version = version;
    record
}

/// The record with a filler of this number of characters, which differs between versions.
pub(super) fn sized(key: &Key, version: u64, length: usize) -> Record {
    let mut record = record(key, version);
    let name = record.digest().to_string();
    let mut filler = name.repeat(length / name.len() + 1);
    filler.truncate(length);
    record.unknown.insert("filler".to_owned(), filler.into());
    record
}

/// A family of the key, from its digest.
fn family(key: &Key) -> TokenFamily {
    match key.digest().to_string().parse() {
        Ok(family) => family,
        Err(error) => panic!("a digest is hexadecimal: {error}"),
    }
}

pub(super) fn access_digest(record: &Record) -> Digest {
    match record.access_digest() {
        Some(digest) => digest,
        None => panic!("a record of the suite has an access token"),
    }
}

/// Past tokens that the token endpoint issued, the oldest first.
pub(super) fn past(digests: impl IntoIterator<Item = Digest>) -> Past {
    let until = StoreTime::from_millis(1_700_000_600_000);
    let mut past = Past::default();
    for digest in digests {
        past.note(digest, Origin::Endpoint, Some(until));
    }
    past
}

/// A record with every field, one with hardly any, and one of each end.
pub(super) fn every_kind(key: &Key) -> Vec<Record> {
    let mut full = record(key, u64::MAX >> 1);
    full.next_number = 8;
    full.committed_number = 7;
    full.lease = Some(lease(full.digest()));
    full.sign_ins = 3;
    full.not_before = Some(NotBefore {
        until: StoreTime::from_millis(1_700_000_002_000),
        class: Class::Page,
        code: Some("404".to_owned()),
        failures: 2,
    });
    // More past tokens of each origin than a record keeps.
    for origin in [Origin::Endpoint, Origin::Seed, Origin::Replacement] {
        for number in 0..20 {
            let digest = Digest::of(format!("{origin:?} {number}"));
            full.past
                .note(digest, origin, Some(StoreTime::from_millis(1)));
        }
    }
    let unknown = serde_json::json!({ "nested": [1, null, "ü"] });
    full.unknown
        .insert("of_a_later_version".to_owned(), unknown);
    if let Some(stored) = &mut full.pair {
        stored.pair.token_type = Some("bearer".to_owned());
        stored.pair.scope = Some("write read".into());
        stored.pair.lifetime.refresh_expiry = RefreshExpiry::Absolute;
        stored.pair.lifetime.refresh = Validity::Never;
        stored.pair.lifetime.refresh_in = Some(Duration::from_millis(1_234));
    }

    let mut bare = record(key, 1);
    if let Some(stored) = &mut bare.pair {
        stored.pair = TokenPair::from_refresh_token("\"refresh\" \\ \u{1F511} ~");
    }

    let digest = full.digest();
    let ends = [
        RecordState::Rejected {
            digest,
            code: Some("invalid_grant".to_owned()),
            description: Some("used \u{1F511} before".to_owned()),
        },
        RecordState::OutcomeUnknown { digest },
        RecordState::LoggedOut,
        RecordState::Expired,
        RecordState::Idle,
    ];
    let ended = ends.map(|state| {
        let mut record = record(key, 2);
        record.state = state;
        record.pair = None;
        record
    });
    [full, bare].into_iter().chain(ended).collect()
}

fn lease(digest: Digest) -> Lease {
    let owner = match Owner::random() {
        Ok(owner) => owner,
        Err(error) => panic!("no random numbers: {error}"),
    };
    Lease {
        owner,
        number: 7,
        nonce: u64::MAX,
        digest,
        since: StoreTime::from_millis(1_700_000_001_000),
        duration: Duration::from_secs(60),
        doubtful: Some(StoreTime::from_millis(1_700_000_000_999)),
        by: Some(DoubtfulBy::Unavailable),
        before: Some(DoubtfulBy::Silence),
        sendings: 2,
        released: true,
    }
}
