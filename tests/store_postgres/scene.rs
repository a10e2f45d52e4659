//! A database, a key, and records for it.

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use evertoken::protocol::{Digest, Record};
use evertoken::store::Revision;
use evertoken::{Key, PostgresStore};
use serde_json::{Value, json};
use sqlx::{PgPool, Transaction};

use crate::records;
pub(crate) use crate::records::{
    ISSUED, LONG, edited, entry, key, leased, made_of, names, put, swapping, told, waiting,
};
use crate::services::Postgres;

pub(crate) const HOUR: u64 = 3_600_000;

/// The number of the connections of stores, and of those that listen.
pub(crate) const CONNECTIONS: &str = "SELECT count(*) FROM pg_stat_activity \
     WHERE application_name = 'evertoken' AND datname = current_database()";
pub(crate) const LISTENING: &str = "SELECT count(*) FROM pg_stat_activity \
     WHERE query LIKE 'LISTEN%' AND datname = current_database()";

/// The error of connecting.
pub(crate) async fn refusal(url: &str) -> String {
    told(&PostgresStore::connect(url).await.unwrap_err())
}

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

    /// Waits until the connections of the stores have ended. The server counts what a connection did at its end.
    pub(crate) async fn until_alone(&self) {
        while self.sql(CONNECTIONS) != "0" {
            tokio::task::yield_now().await;
        }
    }

    /// A transaction that has carried out this SQL, and holds its locks.
    pub(crate) async fn holder(&self, sql: &str) -> Transaction<'static, sqlx::Postgres> {
        let pool = PgPool::connect(&self.url).await.unwrap();
        let mut holder = pool.begin().await.unwrap();
        sqlx::query(sql).execute(&mut *holder).await.unwrap();
        holder
    }

    /// These columns of every row, the oldest first.
    pub(crate) fn rows(&self, columns: &str) -> Vec<String> {
        let rows = self.sql(&format!("SELECT {columns} FROM evertoken_pair ORDER BY id"));
        rows.lines().map(str::to_owned).collect()
    }
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

/// The serialized record of a key after this number of rotations. Its tokens live an hour and a day, and the record
/// has the last eight past tokens.
pub(crate) fn form(key: &Key, number: u64) -> Value {
    let known = |total: u64| json!({ "known": { "total": total } });
    let mut form = records::form(key, number);
    form["pair"]["access_token"] = access_token(number).into();
    form["pair"]["lifetime"] = json!({ "access": known(HOUR), "refresh": known(24 * HOUR) });
    form["next_number"] = number.into();
    form["committed_number"] = (number - 1).into();
    let past = (number.saturating_sub(8).max(1)..number).map(digest);
    form["past"] = json!({ "refreshed": names(past) });
    form
}

/// The same record with tokens that do not expire soon.
pub(crate) fn record(key: &Key, number: u64) -> Record {
    edited(&made_of(&form(key, number)), |form| {
        for token in ["access", "refresh"] {
            form["pair"]["lifetime"][token] = json!({ "known": { "total": LONG } });
        }
    })
}

/// The record of an ended session.
pub(crate) fn ended(record: &Record, state: &Value) -> Record {
    edited(record, |form| form["state"] = state.clone())
}

/// The access token of the session's current pair, as it is stored.
pub(crate) const STORED: &str = "SELECT convert_from(pair, 'UTF8')::json->>'access_token' FROM evertoken_pair WHERE state = 'ACTIVE'";

/// Rotates this number of times, each under a lease. Returns the last revision.
pub(crate) async fn rotate(store: &PostgresStore, key: &Key, pairs: u64) -> Revision {
    let mut revision = put(store, None, &record(key, 1)).await;
    for number in 2..=pairs {
        revision = put(store, Some(revision), &leased(&record(key, number - 1))).await;
        revision = put(store, Some(revision), &record(key, number)).await;
    }
    revision
}
