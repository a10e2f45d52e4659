//! Records for the tests of one kind of store, and calls of a store that must succeed or fail.
#![allow(dead_code, unreachable_pub)]
#![allow(clippy::expect_used, clippy::unwrap_used)]

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use evertoken::protocol::{Digest, Record};
use evertoken::store::{Revision, Swap};
use evertoken::testing::AuthorizationServer;
use evertoken::{Error, Event, Key, StoreError, TokenManager, TokenStore};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

/// The time at which the pairs were issued: in 2023, so that everything that expires has expired.
pub const ISSUED: u64 = 1_700_000_000_000;

/// A lifetime that no test outlasts.
pub const LONG: u64 = 3_600_000_000_000;

pub fn key() -> Key {
    Key::new("https://id.example.org/token", "importer").tenant("diku")
}

/// The serialized record of a key. Its tokens contain the number.
pub fn form(key: &Key, number: u64) -> Value {
    json!({
        "format": 3, "key": key, "family": "0123456789abcdef0123456789abcdef", "version": number,
        "pair": {
            "issued_at": ISSUED,
            "access_token": format!("access-sesame-{number}"),
            "refresh_token": format!("refresh-sesame-{number}"),
        },
        "state": { "is": "active" }, "lease": null,
        "next_number": 1, "committed_number": 0, "past": {},
    })
}

pub fn made_of(form: &Value) -> Record {
    serde_json::from_value(form.clone()).unwrap()
}

/// The record, edited as JSON.
pub fn edited(record: &Record, edit: impl FnOnce(&mut Value)) -> Record {
    let mut form = serde_json::to_value(record).unwrap();
    edit(&mut form);
    made_of(&form)
}

/// The record with a lease on its token.
pub fn leased(record: &Record) -> Record {
    edited(record, |form| {
        let number = form["next_number"].as_u64().unwrap();
        form["lease"] = json!({
            "owner": "fedcba9876543210fedcba9876543210", "number": number,
            "digest": record.digest(), "since": ISSUED,
        });
        form["next_number"] = (number + 1).into();
    })
}

/// A list of past tokens, in the form of a record.
pub fn names(digests: impl IntoIterator<Item = Digest>) -> String {
    let digests = digests.into_iter();
    let bytes: Vec<_> = digests.flat_map(|digest| *digest.as_bytes()).collect();
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

pub async fn entry(store: &impl TokenStore, key: &Key) -> Option<(Record, Revision)> {
    store.load(key).await.unwrap().entry
}

/// A swap that must not be lost.
pub async fn put(store: &impl TokenStore, seen: Option<Revision>, next: &Record) -> Revision {
    match store.swap(next.key(), seen, next).await.unwrap() {
        Swap::Swapped(revision) => revision,
        Swap::Lost(entry) => panic!("lost to {entry:?}"),
    }
}

/// A task that swaps.
pub fn swapping<S: TokenStore + Clone>(
    store: &S,
    seen: Revision,
    next: Record,
) -> JoinHandle<Result<Swap, StoreError>> {
    let store = store.clone();
    tokio::spawn(async move { store.swap(next.key(), Some(seen), &next).await })
}

/// A task that waits for a change of the record.
pub fn waiting<S: TokenStore + Clone>(
    store: &S,
    key: Key,
    seen: impl Into<Option<Revision>>,
) -> JoinHandle<()> {
    let (store, seen) = (store.clone(), seen.into());
    tokio::spawn(async move { store.changed(&key, seen).await })
}

/// The error with all its causes, as a program prints it.
pub fn told(error: &StoreError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    assert!(!text.contains("sesame") && !format!("{error:?}").contains("sesame"));
    text
}

/// The error of the store that a manager reports whose time-out is two seconds.
pub async fn told_in_two_seconds(store: impl TokenStore) -> String {
    let server = AuthorizationServer::builder().build();
    let tokens = TokenManager::builder(server.endpoint())
        .store(store)
        .store_timeout(Duration::from_secs(2))
        .seed(server.issue())
        .build()
        .unwrap();
    let mut events = tokens.subscribe();
    assert!(matches!(tokens.try_token(), Err(Error::Pending)));
    match events.recv().await {
        Some(Event::Failed {
            error: Error::Store { source, .. },
            ..
        }) => told(&source),
        answered => panic!("the store answers: {answered:?}"),
    }
}

/// Checks that a swap answers the time of the store, whether the swap is won or lost.
pub async fn assert_swaps_are_timed(store: impl TokenStore) {
    for seen in [None, None, Some(Revision::new(1))] {
        let before = store.load(&key()).await.unwrap().now;
        let next = made_of(&form(&key(), 1));
        let (_, now) = store.swap_timed(&key(), seen, &next).await.unwrap();
        let after = store.load(&key()).await.unwrap().now;
        let now = now.expect("a time");
        assert!(
            (before..=after).contains(&now),
            "{before:?} {now:?} {after:?}"
        );
        assert!(now.as_millis() > ISSUED);
    }
}

/// Records as a manager writes them, with tokens of ordinary length.
pub mod ordinary {
    use super::*;

    /// The lengths of a token that is a JWT of ordinary length, and of an opaque one.
    const ACCESS: usize = 1_024;
    const REFRESH: usize = 200;

    /// A text of digits that do not repeat.
    fn token(kind: &str, number: u64, length: usize) -> String {
        let digests = (0..).map(|part| Digest::of(format!("{kind} {number} {part}")).to_string());
        let mut token = digests.take(length / 32 + 1).collect::<String>();
        token.truncate(length);
        token
    }

    /// A record of a session that began with a seed.
    pub fn record(number: u64) -> Record {
        let refresh = |number| Digest::of(token("refresh", number, REFRESH));
        let past = names((number.saturating_sub(8).max(2)..number).map(refresh));
        let seeds = names((number > 1).then(|| refresh(1)));
        edited(&made_of(&form(&key(), number)), |form| {
            form["pair"] = json!({
                "issued_at": ISSUED, "origin": if number == 1 { "seed" } else { "endpoint" },
                "access_token": token("access", number, ACCESS),
                "refresh_token": token("refresh", number, REFRESH),
                "lifetime": {
                    "access": { "known": { "total": LONG } },
                    "refresh": { "known": { "total": 2 * LONG } },
                },
                "token_type": "Bearer", "scope": ["read", "write"],
            });
            form["sign_ins"] = 1.into();
            form["next_number"] = number.into();
            form["committed_number"] = (number - 1).into();
            form["past"] = json!({ "refreshed": past, "seeds": seeds, "until": ISSUED + 2 * LONG });
        })
    }

    /// The first record with another access token, and the digest of that token.
    pub fn other() -> (Record, Digest) {
        let access = token("another", 1, ACCESS);
        let digest = Digest::of(&access);
        (
            edited(&record(1), |form| {
                form["pair"]["access_token"] = access.into()
            }),
            digest,
        )
    }

    pub fn leased(number: u64) -> Record {
        let record = record(number);
        edited(&record, |form| {
            form["lease"] = json!({
                "owner": "fedcba9876543210fedcba9876543210", "number": number,
                "nonce": u64::MAX - number, "digest": record.digest(), "since": ISSUED + number,
                "duration": 60_000, "doubtful": null, "by": null, "before": null, "sendings": 0,
                "released": false,
            });
            form["next_number"] = (number + 1).into();
        })
    }

    /// Rotations, each with a lease and a commit.
    pub async fn rotate_to(
        store: &impl TokenStore,
        mut seen: Revision,
        from: u64,
        to: u64,
    ) -> Revision {
        for number in from..to {
            seen = put(store, Some(seen), &leased(number)).await;
            seen = put(store, Some(seen), &record(number + 1)).await;
        }
        seen
    }
}
