//! A server, a key, and records for it.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use evertoken::protocol::{Digest, Record};
use evertoken::store::{Revision, StoreTime, Swap};
use evertoken::{Key, RedisStore, StoreError, TokenStore};
use redis::aio::MultiplexedConnection;
use redis::{Client, FromRedisValue, ToRedisArgs};
use serde_json::json;

use crate::services::Redis;

/// A server for this test alone, or a failure that names what to install.
pub(crate) fn server() -> Redis {
    with(&["--save", "", "--appendonly", "no"])
}

pub(crate) fn with(options: &[&str]) -> Redis {
    Redis::start_with(options).unwrap_or_else(|missing| panic!("{missing}"))
}

pub(crate) async fn open(server: &Redis) -> RedisStore {
    RedisStore::connect(&server.url()).await.unwrap()
}

pub(crate) fn key() -> Key {
    Key::new("https://id.example.org/token", "importer").tenant("diku")
}

/// A record of a key. Its tokens contain the number.
pub(crate) fn record(key: &Key, number: u64) -> Record {
    lasting(key, number, None)
}

/// The same record, with this expiry of its tokens.
pub(crate) fn lasting(key: &Key, number: u64, until: Option<StoreTime>) -> Record {
    let issued = until.unwrap_or_default().before(Duration::from_secs(600));
    let known = json!({ "known": { "total": 600_000 } });
    let lifetime = match until {
        Some(_) => json!({ "access": known, "refresh": known }),
        None => json!({}),
    };
    let form = json!({
        "format": 3, "key": key, "family": "0123456789abcdef0123456789abcdef", "version": number,
        "pair": {
            "issued_at": issued.as_millis(),
            "access_token": format!("access-sesame-{number}"),
            "refresh_token": format!("refresh-sesame-{number}"),
            "lifetime": lifetime,
        },
        "state": { "is": "active" }, "lease": null,
        "next_number": 1, "committed_number": 0, "past": {},
    });
    serde_json::from_value(form).unwrap()
}

/// The record with a lease on its token.
pub(crate) fn leased(record: &Record) -> Record {
    let mut form = serde_json::to_value(record).unwrap();
    form["lease"] = json!({
        "owner": "fedcba9876543210fedcba9876543210", "number": 1, "digest": record.digest(), "since": 0,
    });
    form["next_number"] = 2.into();
    serde_json::from_value(form).unwrap()
}

/// The record with these past tokens in this list, by the numbers of their records.
pub(crate) fn with_past(
    record: &Record,
    list: &str,
    numbers: impl IntoIterator<Item = u64>,
) -> Record {
    let mut form = serde_json::to_value(record).unwrap();
    let digests = numbers.into_iter().map(digest);
    let bytes: Vec<_> = digests.flat_map(|digest| *digest.as_bytes()).collect();
    form["past"][list] = BASE64_URL_SAFE_NO_PAD.encode(bytes).into();
    serde_json::from_value(form).unwrap()
}

/// The digest of the refresh token of the record with this number.
pub(crate) fn digest(number: u64) -> Digest {
    Digest::of(format!("refresh-sesame-{number}"))
}

/// The digest of its access token.
pub(crate) fn access_digest(number: u64) -> Digest {
    Digest::of(format!("access-sesame-{number}"))
}

/// The key of the record in Redis.
pub(crate) fn name(key: &Key) -> String {
    format!("evertoken:{{{}}}", key.digest())
}

pub(crate) async fn entry(store: &RedisStore, key: &Key) -> Option<(Record, Revision)> {
    store.load(key).await.unwrap().entry
}

/// A swap that must not be lost.
pub(crate) async fn put(store: &RedisStore, seen: Option<Revision>, next: &Record) -> Revision {
    match store.swap(next.key(), seen, next).await.unwrap() {
        Swap::Swapped(revision) => revision,
        Swap::Lost(entry) => panic!("lost to {entry:?}"),
    }
}

/// The error with all its causes, as a program prints it.
pub(crate) fn told(error: &StoreError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    assert!(!text.contains("sesame") && !format!("{error:?}").contains("sesame"));
    text
}

/// Another client of the server.
pub(crate) struct Other(MultiplexedConnection);

impl Other {
    pub(crate) async fn at(server: &Redis) -> Self {
        let client = Client::open(server.url()).unwrap();
        let connection = client.get_multiplexed_async_connection().await;
        Self(connection.unwrap())
    }

    pub(crate) async fn does<T: FromRedisValue>(&mut self, command: impl ToRedisArgs) -> T {
        let mut call = redis::Cmd::new();
        call.arg(command);
        call.query_async(&mut self.0).await.unwrap()
    }
}

/// Waits until the condition is true.
pub(crate) async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let came = tokio::time::timeout(Duration::from_secs(60), waiting).await;
    assert!(came.is_ok(), "it never came: {what}");
}
