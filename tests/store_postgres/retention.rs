//! How long rows stay.

use std::time::Duration;

use evertoken::TokenStore;
use serde_json::json;

use crate::scene::{
    Database, HOUR, digest, ended, entry, form, key, leased, made_of, put, record, rotate,
};

const ROWS: &str =
    "SELECT count(*), count(*) FILTER (WHERE record IS NOT NULL) FROM evertoken_pair";

fn age(database: &Database, days: u32, what: &str) {
    database.sql(&format!(
        "UPDATE evertoken_pair SET retired_at = retired_at - interval '{days} days' WHERE {what}"
    ));
}

#[tokio::test]
async fn a_rotation_deletes_old_rows_of_its_session() {
    let database = Database::new();
    let store = database.open().await;
    let other = key().label("other");
    let mut revision = rotate(&store, &key(), 21).await;
    rotate(&store, &other, 3).await;
    age(&database, 29, "true");
    revision = put(&store, Some(revision), &record(&key(), 22)).await;
    assert_eq!(database.sql(ROWS), "25|2", "younger than 30 days");
    age(&database, 2, "version < 21");
    let mut count = 25;
    for number in 23..30 {
        let before = count;
        revision = put(&store, Some(revision), &record(&key(), number)).await;
        let rows = database.sql(ROWS);
        count = rows.split('|').next().unwrap().parse().unwrap();
        assert!(count > before - 8, "a few at a time: {before}, {count}");
    }
    // Of 29 pairs those before the 21st are deleted; the other session's are not.
    assert_eq!(database.sql(ROWS), "12|2");
    assert_eq!(store.find(&digest(25)).await.unwrap(), Some(key()));
}

#[tokio::test]
async fn a_row_stays_while_the_record_knows_its_token() {
    let database = Database::new();
    let store = database.open().await.retention(Duration::ZERO);
    let revision = rotate(&store, &key(), 20).await;
    // The last eight pairs, and the current one.
    let versions: Vec<_> = (12..=20).map(|version: u64| version.to_string()).collect();
    assert_eq!(database.rows("version"), versions);
    for number in 12..=20 {
        let found = store.find(&digest(number)).await.unwrap();
        assert_eq!(found, Some(key()), "{number}");
    }
    assert_eq!(store.purge().await.unwrap(), 8);
    put(&store, Some(revision), &record(&key(), 21)).await;
    assert_eq!(store.find(&digest(13)).await.unwrap(), Some(key()));
    assert_eq!(store.find(&digest(12)).await.unwrap(), None, "forgotten");
}

#[tokio::test]
async fn a_lease_deletes_no_row() {
    let database = Database::new();
    let store = database.open().await;
    let revision = rotate(&store, &key(), 3).await;
    age(&database, 31, "true");
    put(&store, Some(revision), &leased(&record(&key(), 3))).await;
    assert_eq!(database.sql(ROWS), "3|1");
}

#[tokio::test]
async fn a_purge_deletes_every_old_row_and_every_expired_session() {
    let database = Database::new();
    let store = database.open().await.retention(Duration::from_secs(60));
    let keys: Vec<_> = ["a", "b", "c", "d"].map(|label| key().label(label)).into();
    for key in &keys[..2] {
        rotate(&store, key, 5).await;
    }
    let expired = json!({ "is": "expired" });
    // Every token of the third session has expired; the expiry of the fourth session is unknown.
    let mut over = form(&keys[2], 1);
    over["past"] = json!({});
    put(&store, None, &ended(&made_of(&over), &expired)).await;
    over = form(&keys[3], 1);
    over["pair"]["lifetime"]["refresh"] = json!("unknown");
    put(&store, None, &ended(&made_of(&over), &expired)).await;
    assert_eq!(database.sql(ROWS), "12|4");
    let patient = store.clone().retention(Duration::MAX);
    assert_eq!(patient.purge().await.unwrap(), 0);
    rotate(&patient, &key().label("patient"), 3).await;
    database.sql("DELETE FROM evertoken_pair WHERE key->>'label' = 'patient'");
    age(&database, 1, "key->>'label' = 'a'");
    let year = Duration::from_millis(365 * 24 * HOUR);
    let purged = store.clone().retention(year).purge().await.unwrap();
    assert_eq!(purged, 1, "the session that ran out in 2023");
    assert_eq!(store.purge().await.unwrap(), 4);
    assert_eq!(database.sql(ROWS), "7|3");
    for (key, is_there) in keys.iter().zip([true, true, false, true]) {
        assert_eq!(entry(&store, key).await.is_some(), is_there, "{key}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rotations_and_purges_at_once_do_not_block_each_other() {
    let database = Database::new();
    let store = database.open().await.retention(Duration::ZERO);
    let rotating = (0..6).map(|label| {
        let store = store.clone();
        tokio::spawn(async move { rotate(&store, &key().label(label.to_string()), 40).await })
    });
    let rotating: Vec<_> = rotating.collect();
    let purging = (0..3).map(|_| {
        let store = store.clone();
        tokio::spawn(async move {
            loop {
                store.purge().await.unwrap();
            }
        })
    });
    let purging: Vec<_> = purging.collect();
    for session in rotating {
        session.await.unwrap();
    }
    for purge in purging {
        assert!(!purge.is_finished(), "it failed: {:?}", purge.await);
        purge.abort();
    }
    store.purge().await.unwrap();
    assert_eq!(database.sql(ROWS), "6|6");
}
