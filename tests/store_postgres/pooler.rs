//! Behind a PgBouncer.

use evertoken::store::Swap;
use evertoken::testing::conformance;
use evertoken::{Key, PostgresStore, TokenStore};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

use crate::proxy::Logs;
use crate::scene::{
    Database, LISTENING, digest, entry, key, leased, put, record, refusal, swapping, told, waiting,
};
use crate::services::{PgBouncer, PoolMode, skipped};

fn pooler(database: &Database, mode: PoolMode) -> PgBouncer {
    PgBouncer::start(&database.server, mode).unwrap_or_else(|missing| panic!("{missing}"))
}

/// Several instances swap at once, and one of them wins each time.
async fn crowd(store: &PostgresStore, key: &Key) {
    let mut seen = put(store, None, &record(key, 1)).await;
    for number in 2..20 {
        let swaps = [(); 4].map(|()| swapping(store, seen, record(key, number)));
        let mut won = Vec::new();
        for swap in swaps {
            if let Swap::Swapped(revision) = swap.await.unwrap().unwrap() {
                won.push(revision);
            }
        }
        assert_eq!(won.len(), 1);
        seen = won[0];
    }
}

#[tokio::test]
async fn a_pooler_that_mixes_up_prepared_statements_is_refused_at_the_start() {
    let database = Database::new();
    let pooler = pooler(&database, PoolMode::Transaction);
    let url = pooler.url(&database.url);
    let advice = "put `statement-cache-capacity=0`";
    for attempt in 0..3 {
        let error = refusal(&url).await;
        assert!(error.contains(advice), "{attempt}: {error}");
    }
    // The listening connection has a server connection to itself.
    let options: PgConnectOptions = url.parse().unwrap();
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .connect_lazy_with(options.extra_float_digits(None));
    let refused = PostgresStore::from_pool(pool).await;
    let error = told(&refused.unwrap_err());
    assert!(error.contains(advice), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_names_for_statements_the_store_works_behind_such_a_pooler() {
    let database = Database::new();
    let pooler = pooler(&database, PoolMode::Transaction);
    for spelling in ["statement-cache-capacity", "statement_cache_capacity"] {
        let url = format!("{}?{spelling}=0", pooler.url(&database.url));
        let open = async || PostgresStore::connect(&url).await.unwrap();
        conformance::searchable_store(open).await;
        let store = open().await;
        crowd(&store, &key().label(format!("{spelling} crowd"))).await;
        let label = key().label(spelling);
        let seen = put(&store, None, &record(&label, 1)).await;
        let seen = put(&store, Some(seen), &leased(&record(&label, 1))).await;
        // By polling: notifications do not arrive.
        let waiting = waiting(&store, label.clone(), seen);
        put(&open().await, Some(seen), &record(&label, 2)).await;
        waiting.await.unwrap();
        assert!(store.find(&digest(1)).await.unwrap().is_some());
        let patient = store.retention(std::time::Duration::MAX);
        assert_eq!(patient.purge().await.unwrap(), 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pooler_in_session_mode_is_used_as_a_server() {
    is_used_as_a_server(PoolMode::Session).await;
}

/// The setting that the documentation advises for a pooler in transaction mode. Debian 12 has an older PgBouncer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pooler_that_keeps_names_apart_is_used_as_a_server() {
    match PgBouncer::knows_names().unwrap_or_else(|missing| panic!("{missing}")) {
        true => is_used_as_a_server(PoolMode::TransactionWithNames).await,
        false => skipped(
            "a_pooler_that_keeps_names_apart_is_used_as_a_server, because `pgbouncer` is older than 1.21; put a \
             newer one first on the PATH",
        ),
    }
}

async fn is_used_as_a_server(mode: PoolMode) {
    let database = Database::new();
    let pooler = pooler(&database, mode);
    let url = pooler.url(&database.url);
    let open = async || PostgresStore::connect(&url).await.unwrap();
    conformance::searchable_store(open).await;
    let store = open().await;
    let crowded = key().label("crowd");
    crowd(&store, &crowded).await;
    assert_eq!(store.find(&digest(19)).await.unwrap(), Some(crowded));
}

/// A listener there would spoil a connection that other clients get.
#[tokio::test]
async fn a_store_does_not_listen_behind_a_pooler_in_transaction_mode() {
    let (logs, _guard) = Logs::of(tracing::Level::WARN);
    let database = Database::new();
    let pooler = pooler(&database, PoolMode::Transaction);
    let url = format!("{}?statement-cache-capacity=0", pooler.url(&database.url));
    let store = PostgresStore::connect(&url).await.unwrap();
    let mut seen = put(&store, None, &record(&key(), 1)).await;
    for number in 2..5 {
        let waiters = [(); 20].map(|()| waiting(&store, key(), seen));
        seen = put(&store, Some(seen), &record(&key(), number)).await;
        for waiter in waiters {
            waiter.await.unwrap();
        }
    }
    assert_eq!(database.sql(LISTENING), "0");
    let text = logs.text();
    let reports = text.matches("notifications do not arrive").count();
    assert_eq!(reports, 1, "{text}");
    let reason = "a pooler in transaction mode is in front of PostgreSQL";
    assert!(text.contains(reason), "{text}");
}

#[tokio::test]
async fn a_store_that_does_not_listen_because_of_its_url_reports_the_url_and_not_a_pooler() {
    let (logs, _guard) = Logs::of(tracing::Level::WARN);
    let database = Database::new();
    let url = format!("{}?statement-cache-capacity=0", database.url);
    let store = PostgresStore::connect(&url).await.unwrap();
    let seen = put(&store, None, &record(&key(), 1)).await;
    let waiter = waiting(&store, key(), seen);
    put(&store, Some(seen), &record(&key(), 2)).await;
    waiter.await.unwrap();
    let text = logs.text();
    let advice = "take `statement-cache-capacity=0` out of the URL";
    assert!(text.contains(advice), "{text}");
    assert!(!text.contains("is in front of PostgreSQL"), "{text}");
}

#[tokio::test]
async fn statements_have_names_unless_the_url_forbids_it() {
    let database = Database::new();
    for (parameters, has_names) in [("", true), ("?statement-cache-capacity=0", false)] {
        let url = format!("{}{parameters}", database.url);
        let pool = PgPoolOptions::new().max_connections(1).connect_lazy(&url);
        let pool = pool.unwrap();
        let store = PostgresStore::from_pool(pool.clone()).await.unwrap();
        let label = key().label(parameters);
        put(&store, None, &record(&label, 1)).await;
        assert!(entry(&store, &label).await.is_some());
        let names = "SELECT count(*) > 0 FROM pg_prepared_statements";
        let names = sqlx::query_scalar::<_, bool>(names).persistent(false);
        assert_eq!(names.fetch_one(&pool).await.unwrap(), has_names);
    }
}

/// The tables have the right version, the rights are there, and one statement fails all the same.
#[tokio::test]
async fn a_statement_that_cannot_be_carried_out_fails_at_the_start() {
    let database = Database::new();
    drop(database.open().await);
    let table = "ALTER TABLE evertoken_pair";
    for (broken, mended) in [
        ("RENAME COLUMN jti TO other", "RENAME COLUMN other TO jti"),
        (
            "ADD CONSTRAINT none CHECK (version > 0) NOT VALID",
            "DROP CONSTRAINT none",
        ),
        (
            "RENAME COLUMN needed_until TO other",
            "RENAME COLUMN other TO needed_until",
        ),
    ] {
        database.sql(&format!("{table} {broken}"));
        let error = refusal(&database.url).await;
        let beginning = "cannot connect to PostgreSQL: ";
        assert!(error.starts_with(beginning), "{broken}: {error}");
        database.sql(&format!("{table} {mended}"));
        drop(database.open().await);
    }
    assert!(database.rows("*").is_empty(), "the check leaves nothing");
}
