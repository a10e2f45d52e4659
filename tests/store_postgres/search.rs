//! The search for the session of a token, by an index.

use evertoken::TokenStore;
use evertoken::protocol::Digest;
use evertoken::store::{Revision, Swap};
use serde_json::json;

use crate::scene::{
    Database, access_token, digest, entry, form, key, made_of, names, put, record, refresh_token,
    rotate, told,
};

fn access_digest(number: u64) -> Digest {
    Digest::of(access_token(number))
}

#[tokio::test]
async fn past_tokens_without_a_row_of_their_own_are_found_too() {
    let database = Database::new();
    let store = database.open().await;
    // A record that another store wrote, or whose rows were lost: none of its four past tokens has a row.
    put(&store, None, &record(&key(), 5)).await;
    for number in 1..=5 {
        let found = store.find(&digest(number)).await.unwrap();
        assert_eq!(found, Some(key()), "{number}");
    }
    let (_, revision) = entry(&store, &key()).await.unwrap();
    let mut next = form(&key(), 6);
    next["past"]["seeds"] = names([digest(99)]).into();
    put(&store, Some(revision), &made_of(&next)).await;
    assert_eq!(store.find(&digest(99)).await.unwrap(), Some(key()));
    let columns = "encode(digest, 'hex'), state, record IS NULL";
    let named = database.rows(columns);
    assert_eq!(named.len(), 7, "each past token has one row: {named:?}");
    assert_eq!(named[6], format!("{}|INACTIVE|t", digest(99)));
}

#[tokio::test]
async fn pairs_that_were_never_stored_are_found_as_past_ones() {
    let database = Database::new();
    let store = database.open().await;
    let revision = put(&store, None, &record(&key(), 1)).await;
    // Written behind: the pairs in between were never stored.
    put(&store, Some(revision), &record(&key(), 8)).await;
    for number in 1..=8 {
        let found = store.find(&digest(number)).await.unwrap();
        assert_eq!(found, Some(key()), "{number}");
    }
    let count = "SELECT count(*), count(DISTINCT digest), count(version) FROM evertoken_pair";
    assert_eq!(database.sql(count), "8|8|2");
}

/// The size of the table does not matter to a session.
#[tokio::test]
async fn no_call_reads_the_whole_table() {
    let database = Database::new();
    let store = database.open().await;
    database.sql(
        "INSERT INTO evertoken_pair (key_digest, key, state, digest, changed_at, retired_at, revision) \
         SELECT substr(sha256((n % 100)::text::bytea), 1, 16), '{}', 'INACTIVE', \
         substr(sha256(n::text::bytea), 1, 16), now(), now(), 0 \
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
        let found = store.find_by_access(&access_digest(number)).await.unwrap();
        assert_eq!(found, Some(key()));
        let found = store.find_by_upstream(&digest(number)).await;
        assert_eq!(found.unwrap(), Some(Vec::new()));
        assert!(entry(&store, &key()).await.is_some());
    }
    drop(store);
    database.until_alone().await;
    assert_eq!(database.sql(scans), before);
}

#[tokio::test]
async fn a_token_that_has_left_the_record_is_found_by_its_row() {
    let database = Database::new();
    let store = database.open().await;
    let revision = rotate(&store, &key(), 20).await;
    let (record, _) = entry(&store, &key()).await.unwrap();
    assert!(!record.knows(&digest(1)), "it remembers the last eight");
    for number in 1..=20 {
        let found = store.find(&digest(number)).await.unwrap();
        assert_eq!(found, Some(key()), "{number}");
    }
    let mut forgetful = form(&key(), 21);
    forgetful["past"] = json!({});
    put(&store, Some(revision), &made_of(&forgetful)).await;
    assert_eq!(store.find(&digest(20)).await.unwrap(), Some(key()));
}

#[tokio::test]
async fn of_two_sessions_with_one_token_the_one_that_has_it_now_is_found() {
    let database = Database::new();
    let store = database.open().await;
    let other = key().label("other");
    rotate(&store, &other, 1).await;
    rotate(&store, &key(), 3).await;
    assert_eq!(store.find(&digest(1)).await.unwrap(), Some(other));
    assert_eq!(store.find(&digest(3)).await.unwrap(), Some(key()));
}

#[tokio::test]
async fn an_access_token_is_found_unless_its_swap_was_lost() {
    let database = Database::new();
    let store = database.open().await;
    rotate(&store, &key(), 3).await;
    for (number, owner) in [(2, Some(key())), (3, Some(key())), (4, None)] {
        let found = store.find_by_access(&access_digest(number)).await;
        assert_eq!(found.unwrap(), owner, "{number}");
    }
    // A digest of one kind of token does not find the other kind.
    assert_eq!(store.find(&access_digest(3)).await.unwrap(), None);
    assert_eq!(store.find_by_access(&digest(3)).await.unwrap(), None);
    for seen in [None, Some(Revision::new(1))] {
        let swap = store.swap(&key(), seen, &record(&key(), 9)).await.unwrap();
        assert!(matches!(swap, Swap::Lost(Some(_))));
    }
    for number in [4, 8, 9] {
        assert_eq!(store.find(&digest(number)).await.unwrap(), None, "{number}");
    }
    let found = store.find_by_access(&access_digest(9)).await.unwrap();
    assert_eq!(found, None);
    let bare = json!({ "issued_at": 0, "refresh_token": refresh_token(4) });
    let mut form = form(&key(), 4);
    form["pair"] = bare;
    let (_, revision) = entry(&store, &key()).await.unwrap();
    put(&store, Some(revision), &made_of(&form)).await;
    assert_eq!(database.rows("access_digest IS NULL").last().unwrap(), "t");
}

/// A row that was copied under another key does not belong to a session.
#[tokio::test]
async fn a_row_with_the_key_of_another_session_is_not_found() {
    let database = Database::new();
    let store = database.open().await;
    rotate(&store, &key(), 2).await;
    for key_of_it in ["json_build_object('issuer', 'x', 'client_id', 'y')", "'1'"] {
        database.sql(&format!("UPDATE evertoken_pair SET key = {key_of_it}"));
        for number in 1..=2 {
            let found = store.find(&digest(number)).await;
            match key_of_it {
                "'1'" => assert!(told(&found.unwrap_err()).contains("its key cannot be read")),
                _ => assert_eq!(found.unwrap(), None),
            }
        }
    }
}
