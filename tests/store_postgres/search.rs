//! Whose a token is, and that it is looked for by an index.

use evertoken::TokenStore;
use serde_json::json;

use crate::scene::{Database, digest, entry, form, key, made_of, put, record, rotate};

#[tokio::test]
async fn past_tokens_that_never_had_a_row_are_found_too() {
    let database = Database::new();
    let store = database.open().await;
    // Written by another store, or after the rows were lost: of its four past tokens none is here.
    put(&store, None, &record(&key(), 5)).await;
    for number in 1..=5 {
        assert_eq!(
            store.find(&digest(number)).await.unwrap(),
            Some(key()),
            "{number}"
        );
    }
    let (_, revision) = entry(&store, &key()).await.unwrap();
    let mut next = form(&key(), 6);
    let stray = json!({ "digest": digest(99), "until": null });
    next["retired"].as_array_mut().unwrap().push(stray);
    put(&store, Some(revision), &made_of(&next)).await;
    assert_eq!(store.find(&digest(99)).await.unwrap(), Some(key()));
    let columns = "encode(digest, 'hex'), state, record IS NULL";
    let named = database.rows(columns);
    assert_eq!(named.len(), 7, "each past token has one row: {named:?}");
    assert_eq!(named[6], format!("{}|INACTIVE|t", digest(99)));
}

#[tokio::test]
async fn pairs_that_were_never_stored_themselves_are_found_as_past_ones() {
    let database = Database::new();
    let store = database.open().await;
    let revision = put(&store, None, &record(&key(), 1)).await;
    // Written behind: of those in between nobody heard.
    put(&store, Some(revision), &record(&key(), 8)).await;
    for number in 1..=8 {
        let found = store.find(&digest(number)).await.unwrap();
        assert_eq!(found, Some(key()), "{number}");
    }
    let count = "SELECT count(*), count(DISTINCT digest), count(version) FROM evertoken_pair";
    assert_eq!(database.sql(count), "8|8|2");
}

/// How large the table is must not matter to a session.
#[tokio::test]
async fn no_call_reads_the_whole_table() {
    let database = Database::new();
    let store = database.open().await;
    database.sql(
        "INSERT INTO evertoken_pair (key_digest, key, state, digest, changed_at, retired_at, revision) \
         SELECT sha256((n % 100)::text::bytea), '{}', 'INACTIVE', sha256(n::text::bytea), now(), now(), 0 \
         FROM generate_series(1, 50000) AS n; \
         ANALYZE evertoken_pair",
    );
    let scans = "SELECT pg_stat_force_next_flush(); \
                 SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'evertoken_pair'";
    let before = database.sql(scans);
    // More often than a plan is made for one execution.
    rotate(&store, &key(), 20).await;
    for number in 12..=20 {
        let found = store.find(&digest(number)).await.unwrap();
        assert_eq!(found, Some(key()));
        assert!(entry(&store, &key()).await.is_some());
    }
    drop(store);
    // A connection tells what it did at its end, if not before.
    let ours = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'evertoken' \
                AND datname = current_database()";
    while database.sql(ours) != "0" {
        tokio::task::yield_now().await;
    }
    assert_eq!(database.sql(scans), before);
}

#[tokio::test]
async fn a_digest_is_found_only_while_the_record_knows_it() {
    let database = Database::new();
    let store = database.open().await;
    rotate(&store, &key(), 3).await;
    let other = key().label("other");
    rotate(&store, &other, 1).await;
    // The same first token in two sessions: either may be meant.
    let found = store.find(&digest(1)).await.unwrap().unwrap();
    assert!(found == key() || found == other);
    assert_eq!(store.find(&digest(3)).await.unwrap(), Some(key()));
    let (_, revision) = entry(&store, &key()).await.unwrap();
    let mut forgetful = form(&key(), 4);
    forgetful["retired"] = json!([]);
    put(&store, Some(revision), &made_of(&forgetful)).await;
    assert_eq!(store.find(&digest(3)).await.unwrap(), None);
    assert_eq!(store.find(&digest(1)).await.unwrap(), Some(other));
}
