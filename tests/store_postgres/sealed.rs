//! Pairs that are sealed at rest.

use evertoken::store::SealError;
use evertoken::{PostgresStore, TokenStore};

use crate::scene::{
    Database, access_token, digest, entry, key, leased, put, record, refresh_token, rotate, told,
};
use crate::seal::FakeSealer;

async fn sealed(database: &Database, secret: &str) -> PostgresStore {
    database.open().await.sealed(FakeSealer::new(secret))
}

/// The columns `record` and `pair` of the session.
fn stored(database: &Database) -> String {
    database.sql(
        "SELECT convert_from(record, 'UTF8'), encode(pair, 'escape') FROM evertoken_pair \
         WHERE retired_at IS NULL",
    )
}

#[tokio::test]
async fn w13_the_database_contains_no_token_and_everything_else_is_readable() {
    let database = Database::new();
    let store = sealed(&database, "secret").await;
    let revision = rotate(&store, &key(), 3).await;
    let text = stored(&database);
    for number in 1..=3 {
        assert!(!text.contains(&access_token(number)) && !text.contains(&refresh_token(number)));
    }
    for part in [&*digest(3).to_string(), "diku"] {
        assert!(text.contains(part), "{text}");
    }
    assert_eq!(database.rows("state, jti").last().unwrap(), "ACTIVE|jti-3");
    let held = Some((record(&key(), 3), revision));
    assert_eq!(entry(&store, &key()).await, held);
    for number in 1..=3 {
        assert_eq!(store.find(&digest(number)).await.unwrap(), Some(key()));
        let plain = database.open().await;
        assert_eq!(plain.find(&digest(number)).await.unwrap(), Some(key()));
    }
}

#[tokio::test]
async fn w13_a_record_that_cannot_be_opened_is_refused_and_left() {
    let database = Database::new();
    let store = sealed(&database, "secret").await;
    let revision = put(&store, None, &record(&key(), 1)).await;
    let before = database.rows("*");
    let plain = database.open().await;
    let error = told(&plain.load(&key()).await.unwrap_err());
    assert!(error.contains("give the store the sealer"), "{error}");
    let wrong = sealed(&database, "another").await;
    let error = told(&wrong.load(&key()).await.unwrap_err());
    assert!(error.contains(&SealError::Refused.to_string()), "{error}");
    let lost = wrong.swap(&key(), None, &record(&key(), 2)).await;
    told(&lost.unwrap_err());
    for altered in [
        "pair = set_byte(pair, 99, 255 - get_byte(pair, 99))",
        "pair = NULL",
    ] {
        database.sql(&format!("UPDATE evertoken_pair SET {altered}"));
        told(&store.load(&key()).await.unwrap_err());
    }
    assert_ne!(database.rows("*"), before);
    assert_eq!(database.rows("revision"), [revision.number().to_string()]);
}

#[tokio::test]
async fn a_plain_session_that_is_permitted_is_sealed_when_it_is_written_next() {
    let database = Database::new();
    let plain = database.open().await;
    let first = record(&key(), 1);
    let revision = put(&plain, None, &first).await;
    assert!(stored(&database).contains(&refresh_token(1)));
    let strict = sealed(&database, "secret").await;
    let error = told(&strict.load(&key()).await.unwrap_err());
    assert!(error.contains("`accept_plain(true)`"), "{error}");
    let store = strict.accept_plain(true);
    assert_eq!(entry(&store, &key()).await, Some((first.clone(), revision)));
    put(&store, Some(revision), &leased(&first)).await;
    assert!(!stored(&database).contains(&refresh_token(1)));
}
