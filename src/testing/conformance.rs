//! Suites that check a store of your own: call them from your tests.
//!
//! Each suite panics at the first fault and reports what it expected. The suites draw keys of their own at random, so they
//! can run against a store that is in use, and side by side. They never delete a record. They need real time, and a
//! runtime with several threads to find faults of concurrency. A fast store takes some seconds.
//!
//! ```
//! use evertoken::MemoryStore;
//! use evertoken::testing::conformance;
//!
//! # #[tokio::main(flavor = "multi_thread", worker_threads = 2)]
//! # async fn main() {
//! let memory = MemoryStore::new();
//! conformance::store(async || memory.clone()).await;
//! conformance::searchable_store(async || memory.clone()).await;
//! conformance::searchable_by_access_store(async || memory.clone()).await;
//! conformance::searchable_by_upstream_store(async || memory.clone()).await;
//! # }
//! ```
//!
//! The suites check:
//!
//! - swaps: a swap compares, a lost race is answered with the winner, and the store never reuses a revision
//! - contention: of a thousand swaps of one revision one wins, and no increment is lost
//! - torn records: a reader sees whole records only
//! - dropped calls: a swap whose future is dropped is carried out entirely or not at all
//! - changes: a waiter notices each change of its key, and no change of another key
//! - contents: a record of any length comes back equal, and a record that is too long is refused or kept whole
//! - keys: keys that look alike are different keys
//! - time: all handles have one time, which advances
//! - search: the key of a present or past token, and the keys of all sessions of a provider's session or user
//! - secrecy: neither the store's `Debug` form nor an error shows a token
//! - seals: a store with a sealer accepts sealed records only

mod changes;
mod contents;
mod swaps;
mod upstream;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use crate::record::marks::Marks;
use crate::record::past::Past;
use crate::record::{
    Class, DoubtfulBy, Lease, NotBefore, Origin, Owner, Record, RecordState, StoredPair,
};
use crate::store::{Loaded, Revision, StoreError, StoreTime, Swap, TokenStore};
use crate::token::{Digest, Key, RefreshExpiry, TokenFamily, TokenPair, Validity, random};

/// Enough for three writers and one reader.
const HANDLES: usize = 4;

/// Checks what every [`TokenStore`] must do. Each call of `open` gives another handle on *one* storage: another connection,
/// or the store of another process. The other handles read and notice what one handle writes.
///
/// # Panics
///
/// At the first fault of the store.
pub async fn store<S: TokenStore>(open: impl AsyncFn() -> S) {
    let handles = handles(&open).await;
    swaps::an_absent_key_has_no_entry(&handles).await;
    swaps::a_swap_compares(&handles).await;
    swaps::a_revision_is_never_reused(&handles).await;
    changes::time_is_one_and_goes_on(&handles).await;
    contents::records_come_back_equal(&handles).await;
    contents::fields_of_a_later_version_survive(&handles).await;
    contents::long_records_are_kept_or_refused_whole(&handles).await;
    contents::keys_are_independent(&handles).await;
    swaps::one_of_many_wins(&handles).await;
    swaps::no_increment_is_lost(&handles).await;
    swaps::readers_see_whole_records_only(&handles).await;
    swaps::a_swap_happens_entirely_or_not_at_all(&handles).await;
    swaps::a_creation_happens_entirely_or_not_at_all(&handles).await;
    swaps::the_answer_to_a_load_is_not_given_to_the_next_call(&handles).await;
    changes::are_noticed(&handles).await;
    changes::are_noticed_while_a_waiter_begins(&handles).await;
    changes::reach_every_waiter(&handles).await;
    changes::of_other_keys_are_not_noticed(&handles).await;
    contents::a_search_finds_no_other_key(&handles).await;
    contents::a_lost_swap_enters_no_token(&handles).await;
    contents::no_token_is_in_debug_forms_and_errors(&handles).await;
    swaps::a_later_handle_reads_and_writes(&handles, Arc::new(open().await)).await;
}

/// Checks what a [`TokenStore`] with a [`find`](TokenStore::find) of its own must do besides. `open` is as for [`store`].
///
/// # Panics
///
/// At the first fault of the store.
pub async fn searchable_store<S: TokenStore>(open: impl AsyncFn() -> S) {
    let handles = handles(&open).await;
    contents::a_digest_leads_to_its_key(&handles).await;
    contents::a_token_that_has_left_its_record_is_found_under_its_key_or_not_at_all(&handles).await;
}

/// Checks what a [`TokenStore`] with a [`find_by_access`](TokenStore::find_by_access) of its own must do besides. `open` is
/// as for [`store`].
///
/// # Panics
///
/// At the first fault of the store.
pub async fn searchable_by_access_store<S: TokenStore>(open: impl AsyncFn() -> S) {
    let handles = handles(&open).await;
    contents::an_access_token_leads_to_its_key(&handles).await;
}

/// Checks what a [`TokenStore`] with a [`find_by_upstream`](TokenStore::find_by_upstream) of its own must do besides. `open` is
/// as for [`store`].
///
/// # Panics
///
/// At the first fault of the store.
pub async fn searchable_by_upstream_store<S: TokenStore>(open: impl AsyncFn() -> S) {
    let handles = handles(&open).await;
    upstream::a_mark_leads_to_all_its_keys(&handles).await;
    upstream::a_mark_that_left_its_record_leads_nowhere(&handles).await;
    upstream::a_lost_swap_enters_no_mark(&handles).await;
}

/// Checks what a [`TokenStore`] that takes a [`Sealer`](crate::seal::Sealer) must do besides. All three closures open
/// handles on one storage: without a sealer, with a sealer, and with the same sealer and the permission to
/// [accept plain records](crate::store::Codec::accept_plain).
///
/// # Panics
///
/// At the first fault of the store.
pub async fn sealed_store<S: TokenStore>(
    plain: impl AsyncFn() -> S,
    sealed: impl AsyncFn() -> S,
    accepting: impl AsyncFn() -> S,
) {
    let handles: contents::SealHandles = [
        Arc::new(plain().await),
        Arc::new(sealed().await),
        Arc::new(accepting().await),
    ];
    contents::sealed_records_come_back_equal_and_need_their_sealer(&handles).await;
    contents::a_seal_cannot_be_removed(&handles).await;
    contents::plain_records_are_sealed_at_their_next_swap(&handles).await;
}

async fn handles<S: TokenStore>(open: &impl AsyncFn() -> S) -> Vec<Store> {
    let mut handles: Vec<Store> = Vec::with_capacity(HANDLES);
    for _ in 0..HANDLES {
        handles.push(Arc::new(open().await));
    }
    handles
}

type Store = Arc<dyn TokenStore>;

/// What a store holds for a key.
type Entry = (Record, Revision);

/// Longer than any call takes, and than any store takes to notice a change, also with a thousand waiters.
const PATIENCE: Duration = Duration::from_secs(30);

async fn answer<T>(call: &str, answer: impl Future<Output = Result<T, StoreError>>) -> T {
    match timeout(PATIENCE, answer).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => panic!("{call} failed: {error:?}"),
        Err(_) => panic!("{call} was not answered within {PATIENCE:?}"),
    }
}

async fn load(store: &Store, key: &Key) -> Loaded {
    answer("load", store.load(key)).await
}

async fn entry(store: &Store, key: &Key) -> Option<Entry> {
    load(store, key).await.entry
}

async fn swap(store: &Store, key: &Key, seen: Option<Revision>, next: &Record) -> Swap {
    answer("swap", store.swap(key, seen, next)).await
}

/// A swap that has to win.
async fn write(store: &Store, key: &Key, seen: Option<Revision>, next: &Record) -> Revision {
    match swap(store, key, seen, next).await {
        Swap::Swapped(revision) => revision,
        Swap::Lost(entry) => panic!("a swap against {seen:?} was lost to {entry:?}"),
    }
}

async fn expect_entry(
    stores: impl IntoIterator<Item = &Store>,
    key: &Key,
    record: &Record,
    revision: Revision,
) {
    let written = Some((record.clone(), revision));
    for store in stores {
        let loaded = entry(store, key).await;
        assert_eq!(loaded, written, "the record that was swapped in is loaded");
    }
}

/// Characters of a record that a store may refuse.
const FAR_TOO_LONG: usize = 3_000_000;

/// A key that no other run uses.
fn key(purpose: &str) -> Key {
    Key::new("https://id.example.org/token", "conformance").label(format!("{purpose} {}", nonce()))
}

fn nonce() -> String {
    let bits = random().unwrap_or_else(|error| panic!("no random numbers: {error}"));
    format!("{bits:032x}")
}

/// The record of a key at this version. Equal arguments give equal records.
fn record(key: &Key, version: u64) -> Record {
    let name = Digest::of(format!("{} {version}", key.digest()));
    let pair = TokenPair::new(format!("access {name}"))
        .refresh_token(format!("refresh {name}"))
        .expires_in(Duration::from_secs(600));
    let origin = if version == 1 {
        Origin::Seed
    } else {
        Origin::Endpoint
    };
    let issued_at = StoreTime::from_millis(1_700_000_000_123);
    let stored = StoredPair {
        pair,
        issued_at,
        origin,
    };
    let mut record = Record::first(key.clone(), family(key), stored, 1);
    record.version = version;
    record
}

/// The record with a filler of this number of characters, which differs between versions.
fn sized(key: &Key, version: u64, length: usize) -> Record {
    let mut record = record(key, version);
    let name = record.digest().to_string();
    let mut filler = name.repeat(length / name.len() + 1);
    filler.truncate(length);
    record.unknown.insert("filler".to_owned(), filler.into());
    record
}

/// A family of the key, from its digest.
fn family(key: &Key) -> TokenFamily {
    let family = key.digest().to_string().parse();
    family.unwrap_or_else(|error| panic!("a digest is hexadecimal: {error}"))
}

fn access_digest(record: &Record) -> Digest {
    let digest = record.access_digest();
    digest.unwrap_or_else(|| panic!("a record of the suite has an access token"))
}

/// Past tokens that the token endpoint issued, the oldest first.
fn past(digests: impl IntoIterator<Item = Digest>) -> Past {
    let until = StoreTime::from_millis(1_700_000_600_000);
    let mut past = Past::default();
    for digest in digests {
        past.note(digest, Origin::Endpoint, Some(until));
    }
    past
}

/// A record with every field, one with hardly any, and one of each end.
fn every_kind(key: &Key) -> Vec<Record> {
    let mut full = record(key, u64::MAX >> 1);
    full.next_number = 8;
    full.committed_number = 7;
    full.lease = Some(lease(full.digest()));
    full.sign_ins = 3;
    full.upstream = Marks::new(key, Some("sid"), Some("sub"));
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
            let until = Some(StoreTime::from_millis(1));
            full.past.note(digest, origin, until);
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
    let ended = ends.map(|state| Record {
        state,
        pair: None,
        ..record(key, 2)
    });
    [full, bare].into_iter().chain(ended).collect()
}

fn lease(digest: Digest) -> Lease {
    Lease {
        owner: Owner::random().unwrap_or_else(|error| panic!("no random numbers: {error}")),
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
