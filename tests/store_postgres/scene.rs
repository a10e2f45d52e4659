//! A database, a key, and records for it.

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use evertoken::protocol::{Digest, Record};
use evertoken::store::{Revision, Swap};
use evertoken::{Key, PostgresStore, StoreError, TokenStore};
use serde_json::{Value, json};

use crate::services::Postgres;

/// The time at which the pairs were issued: in 2023, so that everything that expires has expired.
pub(crate) const ISSUED: u64 = 1_700_000_000_000;

pub(crate) const HOUR: u64 = 3_600_000;
/// A test does not run longer than until then.
pub(crate) const LONG: u64 = 1_000_000 * HOUR;

/// A database for one test, on a server that the tests of this process share.
pub(crate) struct Database {
    pub(crate) server: Arc<Postgres>,
    pub(crate) url: String,
}

impl Database {
    pub(crate) fn new() -> Self {
        let server = Postgres::shared().unwrap_or_else(|missing| panic!("{missing}"));
        let url = server.database();
        Self { server, url }
    }

    pub(crate) async fn open(&self) -> PostgresStore {
        PostgresStore::connect(&self.url).await.unwrap()
    }

    /// Runs SQL as an administrator. Columns are separated by `|`.
    pub(crate) fn sql(&self, sql: &str) -> String {
        self.server.sql_in(&self.url, sql)
    }

    /// The error of SQL that has to fail.
    pub(crate) fn refused(&self, sql: &str) -> String {
        self.server.try_sql(&self.url, sql).expect_err(sql)
    }

    /// These columns of every row, the oldest first.
    pub(crate) fn rows(&self, columns: &str) -> Vec<String> {
        let rows = self.sql(&format!("SELECT {columns} FROM evertoken_pair ORDER BY id"));
        rows.lines().map(str::to_owned).collect()
    }
}

pub(crate) fn key() -> Key {
    Key::new("https://id.example.org/token", "importer").tenant("diku")
}

pub(crate) fn access_token(number: u64) -> String {
    let claims = format!(r#"{{"jti":"jti-{number}","sub":"sesame"}}"#);
    let [header, claims] =
        [r#"{"alg":"none"}"#, &claims].map(|part| BASE64_URL_SAFE_NO_PAD.encode(part));
    format!("{header}.{claims}.sesame")
}

pub(crate) fn refresh_token(number: u64) -> String {
    format!("refresh-sesame-{number}")
}

pub(crate) fn digest(number: u64) -> Digest {
    Digest::of(refresh_token(number))
}

/// A list of past tokens, in the form of a record.
pub(crate) fn names(digests: impl IntoIterator<Item = Digest>) -> String {
    let digests = digests.into_iter();
    let bytes: Vec<_> = digests.flat_map(|digest| *digest.as_bytes()).collect();
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// The serialized record of a key after this number of rotations. Its tokens live an hour and a day, and the record
/// has the last eight past tokens.
pub(crate) fn form(key: &Key, number: u64) -> Value {
    let past = names((number.saturating_sub(8).max(1)..number).map(digest));
    json!({
        "format": 3, "key": key, "family": "0123456789abcdef0123456789abcdef", "version": number,
        "pair": {
            "issued_at": ISSUED,
            "access_token": access_token(number),
            "refresh_token": refresh_token(number),
            "lifetime": {
                "access": { "known": { "total": HOUR } }, "refresh": { "known": { "total": 24 * HOUR } },
            },
        },
        "state": { "is": "active" }, "lease": null,
        "next_number": number, "committed_number": number - 1, "past": { "refreshed": past },
    })
}

/// The same record with tokens that do not expire soon.
pub(crate) fn valid_form(key: &Key, number: u64) -> Value {
    let mut form = form(key, number);
    for token in ["access", "refresh"] {
        form["pair"]["lifetime"][token] = json!({ "known": { "total": LONG } });
    }
    form
}

pub(crate) fn record(key: &Key, number: u64) -> Record {
    made_of(&valid_form(key, number))
}

pub(crate) fn made_of(form: &Value) -> Record {
    serde_json::from_value(form.clone()).unwrap()
}

/// The record with a lease on its token.
pub(crate) fn leased(record: &Record) -> Record {
    let mut form = serde_json::to_value(record).unwrap();
    form["lease"] = json!({
        "owner": "fedcba9876543210fedcba9876543210", "number": form["next_number"], "digest": record.digest(),
        "since": ISSUED,
    });
    form["next_number"] = (form["next_number"].as_u64().unwrap() + 1).into();
    made_of(&form)
}

/// The record of an ended session.
pub(crate) fn ended(record: &Record, state: &Value) -> Record {
    let mut form = serde_json::to_value(record).unwrap();
    form["state"] = state.clone();
    made_of(&form)
}

pub(crate) async fn entry(store: &PostgresStore, key: &Key) -> Option<(Record, Revision)> {
    store.load(key).await.unwrap().entry
}

/// The access token of the session's current pair, as it is stored.
pub(crate) const STORED: &str = "SELECT convert_from(pair, 'UTF8')::json->>'access_token' FROM evertoken_pair WHERE state = 'ACTIVE'";

/// A swap that must not be lost.
pub(crate) async fn put(store: &PostgresStore, seen: Option<Revision>, next: &Record) -> Revision {
    match store.swap(next.key(), seen, next).await.unwrap() {
        Swap::Swapped(revision) => revision,
        Swap::Lost(entry) => panic!("lost to {entry:?}"),
    }
}

/// Rotates this number of times, each under a lease. Returns the last revision.
pub(crate) async fn rotate(store: &PostgresStore, key: &Key, pairs: u64) -> Revision {
    let mut revision = put(store, None, &record(key, 1)).await;
    for number in 2..=pairs {
        revision = put(store, Some(revision), &leased(&record(key, number - 1))).await;
        revision = put(store, Some(revision), &record(key, number)).await;
    }
    revision
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
