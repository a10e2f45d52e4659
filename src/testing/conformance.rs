//! What every implementation of a trait must do, as suites to call from one's own tests.
//!
//! Each suite panics at the first thing that is wrong and says what was expected. They use keys of
//! their own, drawn at random, so they can run against a store that is in use, and side by side.
//!
//! ```
//! use evertoken::MemoryStore;
//! use evertoken::testing::conformance;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let store = MemoryStore::new();
//! conformance::shared_token_store(store.clone(), store.clone()).await;
//! conformance::searchable_token_store(store).await;
//! # }
//! ```

mod records;

use std::sync::Arc;
use std::time::Duration;

use self::records::{every_kind, key, nonce, record, retired};
use crate::record::Record;
use crate::store::{Loaded, Revision, StoreTime, Swap, TokenStore};
use crate::token::{Digest, Key};

/// Longer than any store needs to notice a change.
const PATIENCE: Duration = Duration::from_secs(10);

/// Contenders for one swap.
const RACERS: u64 = 8;

type Store = Arc<dyn TokenStore>;

/// What every [`TokenStore`] must do.
pub async fn token_store(store: impl TokenStore) {
    let store: Store = Arc::new(store);
    run(&store, &store).await;
}

/// The same for two handles on one storage: two connections, two processes' files. What one writes, the
/// other reads, and notices.
pub async fn shared_token_store(one: impl TokenStore, other: impl TokenStore) {
    let (one, other): (Store, Store) = (Arc::new(one), Arc::new(other));
    run(&one, &other).await;
    run(&other, &one).await;
}

/// What a [`TokenStore`] with a [`find`](TokenStore::find) of its own must do besides.
pub async fn searchable_token_store(store: impl TokenStore) {
    let store: Store = Arc::new(store);
    let keys = [key("found"), key("found too")];
    let old = Digest::of(format!("old {:?}", nonce()));
    for key in &keys {
        write(&store, key, None, &record(key, 1)).await;
        let seen = revision(&store, key).await;
        let mut next = record(key, 2);
        next.retired = vec![retired(Digest::of(format!("{old} {}", key.label)))];
        write(&store, key, seen, &next).await;
    }
    for key in &keys {
        let current = record(key, 2).digest();
        let past = Digest::of(format!("{old} {}", key.label));
        for (digest, what) in [(current, "current"), (past, "retired")] {
            let found = found(&store, &digest).await;
            assert_eq!(found.as_ref(), Some(key), "find by the {what} digest");
        }
        let replaced = found(&store, &record(key, 1).digest()).await;
        assert_eq!(
            replaced, None,
            "find by a digest that the record no longer has"
        );
    }
}

async fn run(one: &Store, other: &Store) {
    an_absent_key(one).await;
    swaps(one, other).await;
    a_revision_is_never_given_twice(one, other).await;
    records_come_back_equal(one, other).await;
    keys_are_independent(one, other).await;
    one_of_many_wins(one, other).await;
    changes_are_noticed(one, other).await;
    nothing_is_found_that_is_not_there(one, other).await;
}

async fn an_absent_key(store: &Store) {
    let key = key("absent");
    let Loaded { entry, now } = load(store, &key).await;
    assert!(entry.is_none(), "a key that nobody wrote has no entry");
    // 2020: a store that counts from its own start, or in seconds, is far below.
    let plausible = StoreTime::from_millis(1_577_836_800_000);
    assert!(
        now > plausible,
        "the store's time is in milliseconds since 1970"
    );
    match swap(store, &key, Some(Revision::new(1)), &record(&key, 1)).await {
        Swap::Lost(None) => {}
        answer => panic!("a swap against a revision that is not there is lost: {answer:?}"),
    }
    let entry = load(store, &key).await.entry;
    assert!(entry.is_none(), "a lost swap writes nothing");
}

async fn swaps(one: &Store, other: &Store) {
    let key = key("swaps");
    let (first, second, third) = (record(&key, 1), record(&key, 2), record(&key, 3));
    let created = write(one, &key, None, &first).await;
    expect_entry(other, &key, &first, created).await;

    let answer = swap(other, &key, None, &second).await;
    expect_lost(answer, &first, created, "a second creation");
    expect_entry(one, &key, &first, created).await;

    let replaced = write(other, &key, Some(created), &second).await;
    expect_entry(one, &key, &second, replaced).await;

    let answer = swap(one, &key, Some(created), &third).await;
    expect_lost(answer, &second, replaced, "a swap against an old revision");
    expect_entry(other, &key, &second, replaced).await;
}

async fn a_revision_is_never_given_twice(one: &Store, other: &Store) {
    let key = key("revisions");
    let (first, second) = (record(&key, 1), record(&key, 2));
    let mut given = vec![write(one, &key, None, &first).await];
    for store in [other, one, other, one] {
        for next in [&second, &first] {
            let revision = write(store, &key, given.last().copied(), next).await;
            assert!(
                !given.contains(&revision),
                "{revision:?} was given before, so a swap that slept since would win"
            );
            given.push(revision);
        }
    }
}

async fn records_come_back_equal(one: &Store, other: &Store) {
    let key = key("equal")
        .tenant("dikü")
        .subject("o'Brien \"the\" \\ ?%_*;--")
        .scope("write read")
        .audience("https://api.example.org/a?b=c&d=%20");
    let mut seen = None;
    for record in every_kind(&key) {
        let revision = write(one, &key, seen, &record).await;
        expect_entry(other, &key, &record, revision).await;
        seen = Some(revision);
    }
}

async fn keys_are_independent(one: &Store, other: &Store) {
    let base = key("keys");
    let label = &base.label;
    let mut keys = vec![
        base.clone().tenant("x"),
        base.clone().subject("x"),
        base.clone().audience("x"),
        base.clone().scope("x"),
        base.clone().scope("x y"),
    ];
    let endings = [
        "", " ", "x", "X", "/x", "_x", "\\x", "\n", "é", "e\u{301}", "%", "/../x",
    ];
    keys.extend(endings.map(|ending| base.clone().label(format!("{label}{ending}"))));
    keys.push(
        base.clone()
            .label(format!("{label}{}", "long".repeat(1_000))),
    );
    let mut revisions = Vec::new();
    for key in &keys {
        let absent = load(one, key).await.entry.is_none();
        assert!(absent, "the entry of another key is not that of {key}");
        revisions.push(write(one, key, None, &record(key, 1)).await);
    }
    for (key, revision) in keys.iter().zip(revisions) {
        expect_entry(other, key, &record(key, 1), revision).await;
    }
}

async fn one_of_many_wins(one: &Store, other: &Store) {
    let key = key("race");
    let mut seen = None;
    for round in 0..4 {
        let racers = (1..=RACERS).map(|number| {
            let store = if number % 2 == 0 { one } else { other }.clone();
            let (key, record) = (key.clone(), record(&key, round * RACERS + number));
            tokio::spawn(async move { (swap(&store, &key, seen, &record).await, record) })
        });
        let mut won = None;
        let mut lost = Vec::new();
        for racer in racers.collect::<Vec<_>>() {
            match racer.await {
                Ok((Swap::Swapped(revision), record)) => {
                    let winner = won.replace((record, revision));
                    assert!(winner.is_none(), "two swaps of one revision won");
                }
                Ok((Swap::Lost(entry), _)) => lost.push(entry),
                Err(died) => panic!("a swap died: {died}"),
            }
        }
        let Some((record, revision)) = won else {
            panic!("no swap of the current revision won");
        };
        for entry in lost {
            assert_eq!(
                entry.as_ref(),
                Some(&(record.clone(), revision)),
                "a lost race answers what the store holds"
            );
        }
        expect_entry(one, &key, &record, revision).await;
        seen = Some(revision);
    }
}

async fn changes_are_noticed(one: &Store, other: &Store) {
    let key = key("changes");
    let mut seen = None;
    for version in 1..4 {
        let next = record(&key, version);
        let writes = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            write(other, &key, seen, &next).await
        };
        let watch = tokio::time::timeout(PATIENCE, one.changed(&key, seen));
        let (watched, revision) = tokio::join!(watch, writes);
        assert!(watched.is_ok(), "`changed` did not notice a swap");

        for store in [one, other] {
            let late = tokio::time::timeout(PATIENCE, store.changed(&key, seen)).await;
            assert!(
                late.is_ok(),
                "`changed` waits although the record has changed already"
            );
        }
        seen = Some(revision);
    }
}

async fn nothing_is_found_that_is_not_there(one: &Store, other: &Store) {
    let key = key("find");
    let record = record(&key, 1);
    let absent = found(one, &record.digest()).await;
    assert_eq!(absent, None, "find by a digest that nobody wrote");
    write(one, &key, None, &record).await;
    let current = found(other, &record.digest()).await;
    assert!(
        current.is_none_or(|found| found == key),
        "find by a digest answers its own key or none"
    );
}

async fn load(store: &Store, key: &Key) -> Loaded {
    match store.load(key).await {
        Ok(loaded) => loaded,
        Err(error) => panic!("load failed: {error:?}"),
    }
}

async fn revision(store: &Store, key: &Key) -> Option<Revision> {
    load(store, key).await.entry.map(|(_, revision)| revision)
}

async fn swap(store: &Store, key: &Key, seen: Option<Revision>, next: &Record) -> Swap {
    match store.swap(key, seen, next).await {
        Ok(answer) => answer,
        Err(error) => panic!("swap failed: {error:?}"),
    }
}

/// A swap that has to win.
async fn write(store: &Store, key: &Key, seen: Option<Revision>, next: &Record) -> Revision {
    match swap(store, key, seen, next).await {
        Swap::Swapped(revision) => revision,
        Swap::Lost(entry) => panic!("a swap against {seen:?} was lost to {entry:?}"),
    }
}

async fn found(store: &Store, digest: &Digest) -> Option<Key> {
    match store.find(digest).await {
        Ok(found) => found,
        Err(error) => panic!("find failed: {error:?}"),
    }
}

async fn expect_entry(store: &Store, key: &Key, record: &Record, revision: Revision) {
    let entry = load(store, key).await.entry;
    assert_eq!(
        entry.as_ref(),
        Some(&(record.clone(), revision)),
        "what was swapped in is what is loaded"
    );
}

fn expect_lost(answer: Swap, record: &Record, revision: Revision, what: &str) {
    match answer {
        Swap::Lost(Some(entry)) => {
            assert_eq!(
                entry,
                (record.clone(), revision),
                "{what} is lost to the current entry"
            );
        }
        answer => panic!("{what} is lost to the current entry: {answer:?}"),
    }
}
